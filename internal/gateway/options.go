package gateway

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// Options are what a door says when it opens a gateway.
type Options struct {
	Logger  *slog.Logger // slog.Default() by default
	Version string       // of the program, for reports
	Door    string       // which door: mcp, http, envoy
	Stdio   bool         // the door serves standard input: nobody comes over the network
	// Paths are those of the door's protected resources below the public URL, such as /mcp; one that is the public URL
	// itself ("") by default. A request belongs to the longest that its path begins with.
	Paths []string
	// AllowFailOpen permits routes that allow when no decision can be had. FailOpen lists them by name; without the
	// permission it must be empty, or Open refuses.
	AllowFailOpen bool
	FailOpen      []string
	// Listening is called once Serve listens. May be nil.
	Listening func(net.Addr)
	Now       func() time.Time // time.Now by default
}

// A Gateway is what the doors share while they run. Open makes one.
type Gateway struct {
	Enforcer    *client.Enforcer // asks, and meets obligations
	Client      *client.Client   // of the control plane
	Verifier    *Verifier
	Credentials *Credentials
	Reports     *Reporter
	Logger      *slog.Logger

	common   *Common
	opts     Options
	stopping chan struct{}
}

// Open makes a gateway. It reads files (tokens, keys, secrets) and starts nothing.
func Open(ctx context.Context, c *Common, o Options) (*Gateway, error) { return open(ctx, c, o) }

// Run does what goes on in the background, until ctx ends: the decision point if decisions are made here, reports.
func (g *Gateway) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Handler serves what is not the door's: /healthz, /readyz, /metrics, protected resource metadata (RFC 9728) and the client's own
// metadata document. Serve does it by itself.
func (g *Gateway) Handler() http.Handler { return http.NotFoundHandler() }

// Serve serves the door's handler and Handler on the address of the document, until ctx ends and the requests under way have.
func (g *Gateway) Serve(ctx context.Context, door http.Handler) error { <-ctx.Done(); return nil }

// Stopping is closed once Serve is about to stop: what would go on for ever, an idle stream, ends then.
func (g *Gateway) Stopping() <-chan struct{} { return g.stopping }

// PublicURL returns the URL by which agents reach the gateway, without a slash at its end.
func (g *Gateway) PublicURL() string { return g.common.PublicURL }

// Resource returns the resource identifier of the door at that path.
func (g *Gateway) Resource(path string) string { return g.common.PublicURL + path }

// Ask returns the question whether that caller may do all of reqs: subject, for whom, passport and address are filled in.
// What reqs say of these is replaced. Observed.Session, Task and the like are left as they are.
func (g *Gateway) Ask(w *Who, reqs ...authz.Request) client.Question {
	return client.Question{Requests: reqs}
}

// Fixed returns the caller of a door without tokens (authorization: none), nil if there are tokens.
func (g *Gateway) Fixed(a netip.Addr) *Who { return nil }

// Unavailable reports whether an act on the route may happen although no decision could be had, because of err. That is
// only so if the route is among Options.FailOpen, the flag permits it, and err is authz.ErrUnavailable. Every use is counted, logged and reported.
func (g *Gateway) Unavailable(route string, err error) (allow bool) { return false }
