package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// How often the service is looked at, and how old the last good look may be.
const (
	lookEvery = 5 * time.Second
	lookGood  = 20 * time.Second
	// tokenEvery is how often it is asked whether it takes the gateway's token. One that it does not is asked about at every look.
	tokenEvery = time.Minute
)

// health is whether the service answers, and takes the gateway's token, as it was last seen.
type health struct {
	mu      sync.Mutex
	good    time.Time // when it last answered that it is ready
	err     error     // of the last look
	taken   time.Time // when it last took the token
	refused error     // why it did not, if that was later
}

// token takes note of what the service answered to something that the token was shown with. What /readyz tells everybody does not
// name the token's file; the log does.
func (h *health) token(g *Gateway, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch refused := g.tokenRefused(err); {
	case refused != nil:
		if h.refused == nil {
			g.Logger.Error("the service refuses the gateway's token", "err", refused, "hint", g.tokenHint())
		}
		h.refused = errors.New("the service refuses the gateway's token")
	case !errors.Is(err, authz.ErrUnavailable) && !errors.Is(err, context.Canceled):
		if h.refused != nil {
			g.Logger.Info("the service takes the gateway's token again")
		}
		h.taken, h.refused = g.now(), nil
	}
}

// stale reports whether the token must be asked about.
func (h *health) stale(g *Gateway) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refused != nil || g.now().Sub(h.taken) >= tokenEvery
}

// run returns what looks at the service, and reports what was not yet.
func (h *health) run(g *Gateway) func(context.Context) error {
	return func(ctx context.Context) error {
		t := time.NewTicker(lookEvery)
		defer t.Stop()
		for {
			h.look(ctx, g)
			g.tellOpen()
			select {
			case <-ctx.Done():
				return nil
			case <-t.C:
			}
		}
	}
}

func (h *health) look(ctx context.Context, g *Gateway) {
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	err := g.probe(ctx)
	if err == nil && h.stale(g) {
		if asked := g.askToken(ctx); errors.Is(asked, authz.ErrUnavailable) {
			err = asked
		} else if g.tokenRefused(asked) == nil {
			g.Reports.greet()
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err = err; err == nil {
		h.good = g.now()
	}
}

// probe asks the service once whether it is ready.
func (g *Gateway) probe(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.common.Service.URL+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := g.Client.HTTP.Do(req)
	if err != nil {
		return authz.Errorf(authz.ErrUnavailable, "the service does not answer")
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return authz.Errorf(authz.ErrUnavailable, "the service is not ready (status %d)", resp.StatusCode)
	}
	return nil
}

// notReady returns why no decision can be had now, nil if one can.
func (g *Gateway) notReady() error {
	g.health.mu.Lock()
	defer g.health.mu.Unlock()
	if g.point != nil { // which goes on for a while by what it knows
		st := g.point.Status()
		switch {
		case (st.Err != nil || !st.Ready) && g.health.refused != nil:
			return g.health.refused
		case st.Err != nil:
			return st.Err
		case !st.Ready:
			return errors.New("the decision point has not been told everything yet")
		}
		return nil
	}
	switch {
	case g.health.refused != nil:
		return g.health.refused
	case !g.health.good.IsZero() && g.now().Sub(g.health.good) < lookGood:
		return nil
	case g.health.err != nil:
		return g.health.err
	}
	return errors.New("the service has not been asked yet")
}

// status is what /readyz says.
type status struct {
	Ready    bool     `json:"ready"`
	Parts    []part   `json:"parts"`
	FailOpen []string `json:"fail_open,omitempty"` // routes that allow without a decision
	Warning  string   `json:"warning,omitempty"`
	Decide   string   `json:"decide"`
	Door     string   `json:"door,omitempty"`
	Version  string   `json:"version,omitempty"`
	Pending  int64    `json:"records_pending,omitempty"`
	// Of a decision point in this process: how long ago the service was heard of, and why it is asked all the same.
	Age    float64 `json:"heard_seconds_ago,omitempty"`
	Remote string  `json:"asks_the_service_because,omitempty"`
	// And up to which entry of the log everything is known, and which policies it decides by.
	Entry    int64 `json:"entry,omitempty"`
	Policies int64 `json:"policies,omitempty"`
	// Servers behind the gateway that do not answer. The gateway is ready all the same: others may.
	Down []downServer `json:"servers_down,omitempty"`
}

type part struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Why  string `json:"why,omitempty"`
}

const failOpenWarning = "these routes allow when no decision can be had (on_unavailable: allow)"

func (g *Gateway) status() status {
	s := status{Decide: g.common.Decide, Door: g.opts.Door, Version: g.opts.Version}
	decide := part{Name: "decisions", OK: true}
	if err := g.notReady(); err != nil {
		decide.OK, decide.Why = false, clip(err.Error(), 200)
	}
	s.Parts = []part{decide}
	if g.point != nil {
		st := g.point.Status()
		s.Pending, s.Remote, s.Entry, s.Policies = st.Pending, st.Remote, st.Seq, st.Version
		if !st.Heard.IsZero() {
			s.Age = g.now().Sub(st.Heard).Round(time.Millisecond).Seconds()
		}
	}
	select {
	case <-g.stopping:
		s.Parts = append(s.Parts, part{Name: "server", Why: "it is stopping"})
	default:
		s.Parts = append(s.Parts, part{Name: "server", OK: true})
	}
	s.Ready = !slices.ContainsFunc(s.Parts, func(p part) bool { return !p.OK })
	if len(g.opts.FailOpen) > 0 {
		s.FailOpen, s.Warning = slices.Sorted(slices.Values(g.opts.FailOpen)), failOpenWarning
	}
	s.Down = g.down()
	return s
}

// healthText returns what /healthz says.
func (g *Gateway) healthText() string {
	s := g.status()
	var b strings.Builder
	b.WriteString("ok\n")
	if len(s.FailOpen) > 0 {
		b.WriteString("warning: " + failOpenWarning + ": " + strings.Join(s.FailOpen, ", ") + "\n")
	}
	for _, d := range s.Down {
		fmt.Fprintf(&b, "warning: the server %s does not answer since %s\n", d.Name, d.Since.Format(time.RFC3339))
	}
	switch {
	case s.Decide != decideLocal:
	case s.Entry == 0:
		fmt.Fprintf(&b, "decides here: has not heard of the service, %d records to send\n", s.Pending)
	default:
		fmt.Fprintf(&b, "decides here: by policies %d and the log up to entry %d, heard of the service %.1fs ago, %d records to send\n", s.Policies, s.Entry, s.Age, s.Pending)
	}
	return b.String()
}

// Handler serves what is not the door's: /healthz, /readyz and /metrics, unless they have an address of their own; protected
// resource metadata (RFC 9728); and the client's own metadata document. Serve does it by itself.
func (g *Gateway) Handler() http.Handler {
	mux := http.NewServeMux()
	if g.common.Health.Listen == "" {
		g.healthRoutes(mux)
	}
	mux.HandleFunc("GET "+resourceWellKnown, g.serveResource)
	mux.HandleFunc("GET "+resourceWellKnown+"/", g.serveResource)
	mux.HandleFunc("GET "+clientWellKnown, g.serveClient)
	return mux
}

func (g *Gateway) healthRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write([]byte(g.healthText()))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		s := g.status()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !s.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(s)
	})
	mux.Handle("GET /metrics", g.Metrics.handler())
}

// Owns reports whether a path is the gateway's own, and not the door's.
func (g *Gateway) Owns(path string) bool {
	switch path {
	case resourceWellKnown, clientWellKnown:
		return true
	case "/healthz", "/readyz", "/metrics":
		return g.common.Health.Listen == ""
	}
	return strings.HasPrefix(path, resourceWellKnown+"/")
}
