package gateway

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// A Reporter tells the control plane what happens here. Reports are courtesy to people who watch: what was decided is in the
// log without them.
type Reporter struct {
	g     *Gateway
	queue chan report
	again chan struct{} // asks for a hello, since none was taken yet

	mu      sync.Mutex
	lost    int
	hello   map[string]any // what a door adds to hellos
	greeted bool           // a hello was taken
}

type report struct {
	kind   string
	detail map[string]any
}

const (
	maxReports  = 256 // that wait
	helloEvery  = 10 * time.Minute
	byeTime     = 2 * time.Second
	reportTries = 4
	firstRest   = time.Second // before a report is sent again; each rest is twice the one before
)

func newReporter(g *Gateway) *Reporter {
	return &Reporter{g: g, queue: make(chan report, maxReports), again: make(chan struct{}, 1)}
}

// Report sends a report later. It never waits, and never blocks an act: what does not fit into the queue is counted and lost.
// detail must not be changed afterwards. Nothing in it may be a secret. A nil Reporter tells nobody.
func (r *Reporter) Report(kind string, detail map[string]any) {
	if r == nil {
		return
	}
	select {
	case r.queue <- report{kind, detail}:
	default:
		r.drop(1)
	}
}

// Hello adds to what the gateway says of itself when it begins and now and then: servers behind it, tools that are pinned.
func (r *Reporter) Hello(detail map[string]any) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hello = detail
}

func (r *Reporter) drop(n int) {
	r.mu.Lock()
	r.lost += n
	r.mu.Unlock()
	r.g.Metrics.reports.WithLabelValues("dropped").Add(float64(n))
}

// greeting returns what the gateway says of itself.
func (r *Reporter) greeting() report {
	g := r.g
	r.mu.Lock()
	defer r.mu.Unlock()
	d := maps.Clone(r.hello)
	if d == nil {
		d = map[string]any{}
	}
	d["decide"] = g.common.Decide
	d["fail_open"] = append([]string{}, slices.Sorted(slices.Values(g.opts.FailOpen))...)
	if g.opts.Door != "" {
		d["doors"] = []string{g.opts.Door}
	}
	if u := g.PublicURL(); u != "" {
		d["url"] = u
	}
	if r.lost > 0 {
		d["reports_lost"] = r.lost
	}
	return report{client.ReportHello, d}
}

// greet has a hello said if none was taken yet: the service answers now.
func (r *Reporter) greet() {
	if r.hasGreeted() {
		return
	}
	select {
	case r.again <- struct{}{}:
	default:
	}
}

func (r *Reporter) hasGreeted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.greeted
}

// run sends reports, one after the other, until ctx ends. Then it says goodbye, if it has said hello: of a gateway that never
// served nothing is to be told, and another one may go by its name.
func (r *Reporter) run(ctx context.Context) error {
	t := time.NewTicker(helloEvery)
	defer t.Stop()
	r.send(ctx, r.greeting())
	for {
		select {
		case <-ctx.Done():
			if !r.hasGreeted() {
				return nil
			}
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), byeTime)
			defer cancel()
			_ = r.once(ctx, report{kind: client.ReportBye})
			return nil
		case <-t.C:
			r.send(ctx, r.greeting())
		case <-r.again:
			if !r.hasGreeted() {
				r.send(ctx, r.greeting())
			}
		case next := <-r.queue:
			r.send(ctx, next)
		}
	}
}

// send sends one report, again while the service is unavailable. What it does not take is lost.
func (r *Reporter) send(ctx context.Context, next report) {
	rest := firstRest
	for try := 1; ; try++ {
		err := r.once(ctx, next)
		switch {
		case err == nil:
			r.g.Metrics.reports.WithLabelValues("sent").Inc()
			return
		case ctx.Err() != nil:
			r.drop(1)
			return
		case try == reportTries || !errors.Is(err, authz.ErrUnavailable):
			r.g.Logger.WarnContext(ctx, "a report was not taken", "kind", next.kind, "err", err)
			r.drop(1)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(rest):
		}
		rest *= 2
	}
}

func (r *Reporter) once(ctx context.Context, next report) error {
	err := r.g.Client.Report(ctx, client.EnforcementReport{Kind: next.kind, Gateway: r.g.common.Name, Version: r.g.opts.Version, Detail: next.detail})
	if r.g.point == nil || r.g.tokenRefused(err) != nil { // a decision point needs more than to be let report
		r.g.health.token(r.g, err)
	}
	if err == nil && next.kind == client.ReportHello {
		r.mu.Lock()
		r.greeted = true
		r.mu.Unlock()
	}
	return err
}
