package gateway

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// failOpenRest is how often at most uses of one route are logged and reported; the ones between are counted.
const failOpenRest = 10 * time.Second

// failOpen keeps the routes that may allow without a decision, and how often they did.
type failOpen struct {
	mu     sync.Mutex
	routes map[string]*openRoute
}

type openRoute struct {
	untold int       // uses that were not reported yet
	told   time.Time // when they were, last
	cause  string    // of the last use
}

func (f *failOpen) init(routes []string) {
	f.routes = map[string]*openRoute{}
	for _, r := range routes {
		f.routes[r] = &openRoute{}
	}
}

// Unavailable reports whether an act on the route may happen although no decision could be had, because of err. That is
// only so if the route is among Options.FailOpen, which only the flag lets have members, and err is authz.ErrUnavailable: a
// refusal, or a question that was not understood, never is. Every use is counted, logged and reported.
func (g *Gateway) Unavailable(route string, err error) (allow bool) {
	if !g.opts.AllowFailOpen || !errors.Is(err, authz.ErrUnavailable) ||
		errors.Is(err, authz.ErrInvalid) || errors.Is(err, authz.ErrUnauthenticated) {
		return false
	}
	g.open.mu.Lock()
	r := g.open.routes[route]
	if r == nil {
		g.open.mu.Unlock()
		return false
	}
	r.untold++
	r.cause = clip(err.Error(), 200)
	g.open.mu.Unlock()
	g.Metrics.failedOpen.WithLabelValues(route).Inc()
	g.tellOpen()
	return true
}

// tellOpen logs and reports the uses that were not, of routes whose rest is over.
func (g *Gateway) tellOpen() {
	now := g.now()
	g.open.mu.Lock()
	defer g.open.mu.Unlock()
	for name, r := range g.open.routes {
		if r.untold == 0 || now.Sub(r.told) < failOpenRest {
			continue
		}
		g.Logger.WarnContext(context.Background(), "allowed without a decision", "route", name, "times", r.untold, "err", r.cause)
		g.Reports.Report(client.ReportAllowedUnavailable, map[string]any{"route": name, "count": r.untold, "error": r.cause})
		r.untold, r.told = 0, now
	}
}

// clip returns the first n bytes of s at most, to the end of a word if there is one, valid and without control characters. It
// ends in dots if it is not all of s.
func clip(s string, n int) string {
	const dots = "..."
	if len(s) <= n {
		return printable(s)
	}
	cut := s[:n-len(dots)]
	if i := strings.LastIndexByte(cut, ' '); i > len(cut)/2 {
		cut = cut[:i+1]
	}
	return printable(strings.ToValidUTF8(cut, "")) + dots
}
