// Package monitor watches what agents do. It follows the log, concludes findings, and turns them into
// trust that the next decision reads.
//
// What it knows is a function of the log: of the entries in their order, of the rules (catalog.Conduct)
// that a policy.publish entry among them names, and of nothing else. Time is the time of entries. So
// every replica concludes the same, whoever has the log can conclude it again (see Replay), and what is
// kept between starts is only there to start sooner: if it is missing or damaged, it is worked out anew.
//
// The memory that an agent takes is bounded whatever it does. Monitors lower trust and ask; they do not
// stop an act by themselves: decisions are for policies.
package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/performance"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// A Config is what a Monitor needs. Store, Log and Catalog must be set.
type Config struct {
	Store Store
	Log   interface { // *audit.Follower
		Commit(ctx context.Context, d audit.Draft) (int64, error)
	}
	// Catalog returns the catalog of a published version. *policy.Library has it. authz.ErrNotFound and
	// authz.ErrInvalid mean for good that there is none: the rules before go on. Other errors hold up the log.
	Catalog func(ctx context.Context, version int64) (*catalog.Catalog, error)
	Now     func() time.Time // time.Now by default
	Logger  *slog.Logger     // silent by default
}

// A Monitor is the state of all agents' conduct. It is safe for concurrent use once loaded.
//
// One entry at a time is taken in, under mu. Readers take the lock of the shard that an agent is in,
// which is held no longer than an entry about one of its agents takes.
type Monitor struct {
	cfg Config

	mu    sync.Mutex
	core  *core
	queue queue // findings to be written
	keep  keep  // what must be kept

	keeping    sync.Mutex // held by who writes a snapshot, before mu
	seq        atomic.Int64
	generation atomic.Uint64
	listeners  listeners
}

// New returns a Monitor that knows nothing yet: see Load.
func New(cfg Config) *Monitor {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Monitor{cfg: cfg}
	m.forget()
	return m
}

// forget makes m know nothing. The caller holds m.mu, or is alone.
func (m *Monitor) forget() {
	m.core = newCore(m.cfg.Catalog, m)
	m.queue, m.keep = newQueue(), keep{whole: true, wake: make(chan struct{}, 1)}
	m.seq.Store(0)
}

// Seq returns the number of the newest entry that is taken in.
func (m *Monitor) Seq() int64 { return m.seq.Load() }

// Apply takes in an entry. See audit.Applier. Entries that were taken in before it passes over; that one
// is left out is a fault of the caller.
func (m *Monitor) Apply(ctx context.Context, e audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.Seq <= m.core.seq {
		return nil
	}
	// Findings that could not be written are written before more are made: nothing is lost.
	if m.queue.full() {
		if err := m.flush(ctx); err != nil {
			return fmt.Errorf("keeping findings: %w", err)
		}
	}
	err := m.core.apply(ctx, &e)
	if m.core.seq != e.Seq {
		return err
	}
	m.seq.Store(e.Seq)
	m.keep.count(m.queue.len() + len(m.queue.points))
	if errors.Is(err, authz.ErrInvalid) && e.Kind == audit.DecisionMade {
		m.cfg.Logger.WarnContext(ctx, "the record of a decision cannot be watched", "entry", e.Seq, "error", err)
	}
	return err
}

// Generation changes whenever the level of some agent, its findings or its quarantine change.
func (m *Monitor) Generation() uint64 { return m.generation.Load() }

// A Report explains the trust in an agent to a person.
type Report struct {
	Agent       authz.AgentID        `json:"agent"`
	Purpose     string               `json:"purpose"`
	Version     string               `json:"version"`
	AsOf        int64                `json:"as_of"`            // number of the newest entry that is taken in
	Shadow      bool                 `json:"shadow,omitempty"` // decisions do not go by it
	Quarantined bool                 `json:"quarantined,omitempty"`
	Learning    bool                 `json:"learning"` // false while trust is lowered
	Classes     []trust.Standing     `json:"classes"`  // by class, mildest first
	Performance performance.Standing `json:"performance"`
	Findings    []conduct.Finding    `json:"findings"`  // the open ones, newest first; at most 16
	Decisions   int64                `json:"decisions"` // that were taken in
}

// A Filter selects findings. Empty members match everything.
type Filter struct {
	Agent    authz.AgentID
	Kind     string // a kind, or what stands before its dot
	Severity string // this or graver
	State    conduct.Verdict
}

// A Signal is something that subscribers are told at once.
type Signal struct {
	Seq     int64            `json:"seq"`  // number of the entry by which it came
	Type    string           `json:"type"` // finding (new, repeated or judged), trust (a level changed), quarantine
	At      time.Time        `json:"at"`
	Agent   authz.AgentID    `json:"agent"` // "" if it is about a person or an enforcement point
	Finding *conduct.Finding `json:"finding,omitempty"`
	Class   string           `json:"class,omitempty"` // of trust
	From    string           `json:"from,omitempty"`  // level before; of quarantine, whether it was
	To      string           `json:"to,omitempty"`    // level now; of quarantine, whether it is
}
