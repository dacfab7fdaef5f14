// Package gateway is what all doors before other people's servers share: who is calling, what is asked before an
// act, which credentials the act is done with, what is told when it was refused, and what is said of the gateway
// itself.
//
// Nothing passes that was not decided. What cannot be decided is refused, but on routes that say on_unavailable:
// allow and only if the gateway was started with the flag that permits it; every such route is told to whoever
// looks at the gateway's health, and to the control plane.
//
// What an agent shows to the gateway ends there, and what the gateway shows to a server does not come back: tokens are
// not passed through, and credentials are put into requests after they were decided.
//
// What is not solved: the address of a caller is that of the connection, so behind a proxy it is the proxy's. Proofs of
// possession are remembered by this process alone: of several gateways behind one name each takes a proof once, unless they
// demand nonces. A server that answers with the headers it was sent shows its own credential to the agent.
package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/edge"
	"github.com/safeconduct/safeconduct/internal/gateway/secret"
	"github.com/safeconduct/safeconduct/internal/keyfile"
	"github.com/safeconduct/safeconduct/internal/outbound"
)

// Environment variables that say where the service is, and hold the token by which the gateway calls it, where the document
// does not.
const (
	URLVariable   = "SAFECONDUCT_URL"
	TokenVariable = "SAFECONDUCT_TOKEN"

	defaultURL = "http://127.0.0.1:8180"
)

// A Gateway is what the doors share while they run. Open makes one. One that has nothing but Enforcer, Client and Logger can ask;
// it tells nobody of itself.
type Gateway struct {
	Enforcer    *client.Enforcer // asks, and meets obligations
	Client      *client.Client   // of the control plane
	Verifier    *Verifier
	Credentials *Credentials
	Reports     *Reporter
	Metrics     *Metrics
	Logger      *slog.Logger

	common     *Common
	opts       Options
	now        func() time.Time
	point      *edge.Point            // nil if the service decides
	processors *processors            // nil if they are not the gateway's
	public     atomic.Pointer[string] // the public URL
	client     *oauthClient           // the gateway as a client; nil if it has no key
	health     health
	open       failOpen
	bound      bound                           // see Start
	servers    atomic.Pointer[func() []Server] // see Watch
	stopping   chan struct{}
}

// Open makes a gateway of a document that Load has read, or that a program has made, which it completes and checks. It reads
// files (tokens, keys, secrets) and starts nothing. Its errors are authz.ErrInvalid for what stands in the document or in the
// files.
func Open(ctx context.Context, c *Common, o Options) (*Gateway, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if len(o.Paths) == 0 {
		o.Paths = []string{""}
	}
	c.fill()
	ps := &Problems{file: c.file}
	if c.check(ps); ps.err() != nil {
		return nil, ps
	}
	g := &Gateway{common: c, opts: o, now: o.Now, Logger: o.Logger, stopping: make(chan struct{})}
	if o.Process {
		g.processors = newProcessors()
	}
	g.setPublic(c.PublicURL)
	switch {
	case len(o.FailOpen) > 0 && !o.AllowFailOpen:
		return nil, authz.Errorf(authz.ErrInvalid, "%s would allow when no decision can be had (on_unavailable: allow), and the gateway was not started with the flag that permits it",
			plural(len(o.FailOpen), "route", quoted(o.FailOpen)))
	case o.Stdio && c.Authorization.Type != authNone:
		return nil, authz.Errorf(authz.ErrInvalid, "over standard input nobody shows a token: the document must say authorization.type: none, and the subject")
	}
	if o.Door == doorEnvoy && c.Authorization.Type == authNone {
		return nil, authz.Errorf(authz.ErrInvalid, "behind Envoy every request must carry a token: with authorization.type: none whoever reaches Envoy would be the subject, from wherever")
	}
	for _, p := range o.Paths {
		if p != "" && (p[0] != '/' || strings.HasSuffix(p, "/") || strings.ContainsAny(p, "?#%")) {
			return nil, authz.Errorf(authz.ErrInvalid, "%.100q is no path of a door", p)
		}
	}
	roots, err := g.roots()
	if err != nil {
		return nil, err
	}
	tok, err := g.serviceToken()
	if err != nil {
		return nil, err
	}
	if g.Client, err = client.New(c.Service.URL, tok); err != nil {
		return nil, err
	}
	if roots != nil {
		g.Client.HTTP.Transport.(*http.Transport).TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	guard := &client.Guard{Client: g.Client}
	if c.Decide == decideLocal {
		g.point, err = edge.New(edge.Config{URL: c.Service.URL, Token: tok, Journal: c.Path(c.Journal), MaxStale: c.MaxStale, GeoIP: c.Path(c.GeoIP), Logger: o.Logger, Now: o.Now, HTTP: g.Client.HTTP})
		if err != nil {
			return nil, err
		}
		guard.Decider = g.point
	}
	g.Enforcer = &client.Enforcer{Guard: guard, Handlers: client.BuiltIn(o.Logger)}

	if g.client, err = newOAuthClient(g); err != nil {
		return nil, err
	}
	if g.Metrics, err = newMetrics(g); err != nil {
		return nil, err
	}
	g.Reports = newReporter(g)
	if g.Verifier, err = newVerifier(g, g.outbound(roots)); err != nil {
		return nil, err
	}
	if g.Credentials, err = newCredentials(g, roots); err != nil {
		return nil, err
	}
	g.open.init(o.FailOpen)
	for _, route := range o.FailOpen {
		g.Logger.WarnContext(ctx, "this route allows without a decision when none can be had", "route", route)
	}
	return g, nil
}

// outbound returns a client of authorization servers. Each of its users has one of its own: one server that is slow to answer takes
// up the requests that one client makes at once.
func (g *Gateway) outbound(roots *x509.CertPool, shown ...tls.Certificate) *outbound.Client {
	return outbound.New(outbound.Config{
		AllowPrivate: true, TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: shown},
		Timeout: g.common.Limits.TokenTime, MaxDocuments: 1000, MaxRequests: 64, Now: g.now,
	})
}

// roots returns whom servers' certificates must come from; nil for those whom the system trusts.
func (g *Gateway) roots() (*x509.CertPool, error) {
	if g.common.CA == "" {
		return nil, nil
	}
	text, err := readBounded(g.common.Path(g.common.CA), maxDocument)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "reading the certificates of ca: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, authz.Errorf(authz.ErrInvalid, "%s has no certificate in PEM form", g.common.Path(g.common.CA))
	}
	return pool, nil
}

// serviceToken returns the token by which the gateway calls the service.
func (g *Gateway) serviceToken() (string, error) {
	file := g.common.Service.TokenFile
	if file == "" {
		tok := strings.TrimSpace(os.Getenv(TokenVariable))
		if tok == "" {
			return "", advise(authz.Errorf(authz.ErrInvalid, "the gateway has no token for %s: name its file in service.token_file, or set %s", g.common.Service.URL, TokenVariable), g.tokenHint())
		}
		return tok, nil
	}
	b, err := keyfile.Read(g.common.Path(file), 4<<10)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", advise(authz.Errorf(authz.ErrInvalid, "reading service.token_file: %w", err), g.tokenHint())
	case err != nil:
		return "", authz.Errorf(authz.ErrInvalid, "reading service.token_file: %w", err)
	}
	tok := strings.TrimSpace(string(b))
	if tok == "" {
		return "", advise(authz.Errorf(authz.ErrInvalid, "reading service.token_file: %s is empty", g.common.Path(file)), g.tokenHint())
	}
	return tok, nil
}

// secrets opens the file of secrets, if anything names one.
func (g *Gateway) secrets() (*secret.File, error) {
	named := func(c Credential) bool { return c.Value != "" || c.Secret != "" }
	for _, c := range g.common.Credentials {
		if named(c) {
			return secret.Open(g.common.Path(g.common.Secrets.File), g.common.Path(g.common.Secrets.Key), false)
		}
	}
	return nil, nil
}

// Run does what goes on in the background, until ctx ends: the decision point if decisions are made here, reports. It
// returns nil when ctx has ended, and why the decision point has ended if it does before.
func (g *Gateway) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 4)
	jobs := []func(context.Context) error{g.Reports.run, g.health.run(g)}
	if g.processors != nil {
		jobs = append(jobs, g.processors.run)
	}
	if g.point != nil {
		jobs = append(jobs, g.point.Run)
	}
	for _, job := range jobs {
		go func() { done <- job(ctx) }()
	}
	var first error
	for range jobs {
		err := <-done
		if err != nil && !errors.Is(err, context.Canceled) && first == nil {
			first = err
		}
		if err != nil || ctx.Err() != nil {
			cancel()
		}
	}
	return first
}

// Stopping is closed once Serve is about to stop: what would go on for ever, an idle stream, ends then.
func (g *Gateway) Stopping() <-chan struct{} { return g.stopping }

// PublicURL returns the URL by which agents reach the gateway, without a slash at its end; "" if they do not by any.
func (g *Gateway) PublicURL() string {
	if p := g.public.Load(); p != nil {
		return *p
	}
	return ""
}

func (g *Gateway) setPublic(u string) { g.public.Store(&u) }

// Resource returns the resource identifier of the door at that path (RFC 9728, RFC 8707): tokens must be for it.
func (g *Gateway) Resource(path string) string { return g.PublicURL() + path }

// resourceOf returns the path of the protected resource that a request path belongs to.
func (g *Gateway) resourceOf(path string) (string, bool) {
	best, found := "", false
	for _, p := range g.opts.Paths {
		if (p == "" || path == p || strings.HasPrefix(path, p+"/")) && (!found || len(p) > len(best)) {
			best, found = p, true
		}
	}
	return best, found
}

func plural(n int, noun, names string) string {
	if n == 1 {
		return "the " + noun + " " + names
	}
	return fmt.Sprintf("%d %ss (%s)", n, noun, names)
}

func quoted(names []string) string {
	out := slices.Sorted(slices.Values(names))
	for i := range out {
		out[i] = fmt.Sprintf("%.100q", out[i])
	}
	return strings.Join(out, ", ")
}
