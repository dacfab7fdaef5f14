package server

import (
	"context"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/feed"
	"github.com/safeconduct/safeconduct/internal/oauth"
)

// WrapLog puts f's store between the log and the database.
func (c *Config) WrapLog(f func(audit.Store) audit.Store) { c.wrapLog = f }

// SetNow sets the service's clock.
func (c *Config) SetNow(now func() time.Time) { c.now = now }

// Now tells the time by that clock.
func (c *Config) Now() time.Time {
	if c.now == nil {
		return time.Now()
	}
	return c.now()
}

// Settings returns the names of everything that a configuration file may say.
func Settings() (names []string) {
	for name := range new(Config).members("") {
		names = append(names, name)
	}
	return names
}

// LoadWorkloads reads a workloads file into the configuration of clients.
func LoadWorkloads(path string, c *oauth.ClientConfig) error { return loadWorkloads(path, c) }

// FeedTo tells one reader.
func (s *Server) FeedTo(ctx context.Context, send func(name string, seq int64, data any) error) error {
	return (&edgeDoor{s.ledger, s.oauth, s}).Feed(ctx, feed.Start{Name: "edge:gate"}, send)
}

// TurnAt has readers told of those agents of whom something changes by time alone until then.
func (s *Server) TurnAt(at time.Time) { s.teller.turn(at) }

// Acted has readers told of an agent as if it had just acted, and of an alert as if it had just been put.
func (s *Server) Acted(id authz.AgentID, alert string) {
	s.teller.mu.Lock()
	defer s.teller.mu.Unlock()
	s.teller.agent(id, false)
	for r := range s.teller.readers {
		remark(&r.alerts, alert)
	}
	s.teller.wakeAll()
}
