// Package httpproxy stands before HTTP servers: every request is told to be an act by a route, decided, and only then
// passed on, with a credential that the agent never sees.
//
// Nothing passes without a decision. What is decided is what is passed on: the path and the query byte for byte, the
// header without what belongs to the connection, the body as it was read. Where two readers could disagree the request
// is refused. Bodies and responses are streamed, unless a route maps from the body or an obligation changes the
// response; then they are held whole, up to a bound.
//
// It does not see what a WebSocket carries: the decision is about the connection, and is made again while it is open.
package httpproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/route"
)

// Headers between an agent and the proxy.
const (
	DecisionHeader = "Safeconduct-Decision" // of responses: the id of the decision
	ApprovalHeader = "Safeconduct-Approval" // of requests: the id of an approval that was given before
	TriedHeader    = "Safeconduct-Tried"    // of responses: ?1 if the act was tried and not done (RFC 9651, 3.3.6)
)

// A Gate says who comes, and with which credential requests are passed on. Of returns that of a gateway.
type Gate interface {
	// Verify returns who sent r. A *gateway.Challenge is the answer to who did not say so.
	Verify(r *http.Request) (*gateway.Who, error)
	// Ask returns the question whether w may do all of reqs.
	Ask(w *gateway.Who, reqs ...authz.Request) client.Question
	// Apply puts the named credential into r; see gateway.Credentials.
	Apply(ctx context.Context, name string, w *gateway.Who, r *http.Request) error
	// Refused takes note of the answer 401, and reports whether Apply may help.
	Refused(name string, w *gateway.Who, resp *http.Response) (again bool)
	// Unavailable reports whether an act of the route may happen although no decision could be had.
	Unavailable(route string, err error) (allow bool)
}

// Config is what a Proxy needs.
type Config struct {
	Gate     Gate
	Enforcer *client.Enforcer
	// Client is whom persons are asked through, for routes whose approval is ask or wait. nil: nobody is asked.
	Client    *client.Client
	Table     *route.Table
	Upstreams map[string]*Upstream
	Logger    *slog.Logger // slog.Default() by default
	Realm     client.Realm // of challenges that ask for stronger authentication
	// Public returns the URL by which agents reach the proxy, of which upstreams are told scheme and host; "" if that is not
	// known. May be nil.
	Public func() string
	// BodyTime is how long a body that is read here may take, and how long one that is passed on may pause: 30s.
	BodyTime time.Duration
	// Timeout is how long an upstream may take until its response begins, where the route does not say: 60s.
	Timeout time.Duration
	// Observe is told of every request that took a route: what came of it, one of the Outcomes, and how long it took, negative
	// for a WebSocket. May be nil.
	Observe func(route, outcome string, took time.Duration)
	// Stopping is closed when connections that would go on for ever are to end. May be nil.
	Stopping <-chan struct{}
}

// What came of a request.
const (
	OutcomePassed    = "passed"    // the upstream's response was passed on
	OutcomeRefused   = "refused"   // by a decision
	OutcomeUndecided = "undecided" // refused because no decision could be had
	OutcomeMalformed = "malformed" // refused without asking
	OutcomeFailed    = "failed"    // allowed, and there is no response of the upstream that could be passed on
)

// A Proxy is an http.Handler. New makes one; Run reports outcomes while it is used.
type Proxy struct {
	cfg      Config
	log      *slog.Logger
	errors   *log.Logger // of httputil
	asks     *asks
	outcomes chan outcome
	buffers  buffers
}

type outcome struct {
	permit *client.Permit
	client.Outcome
}

const (
	maxOutcomes = 4096
	reporters   = 16
)

// New returns a Proxy. authz.ErrInvalid: a route names an upstream that there is not.
func New(cfg Config) (*Proxy, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.BodyTime <= 0 {
		cfg.BodyTime = 30 * time.Second
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = time.Minute
	}
	for _, r := range cfg.Table.Routes() {
		if cfg.Upstreams[r.Upstream] == nil {
			return nil, authz.Errorf(authz.ErrInvalid, "%s: there is no upstream %q", r.Origin, r.Upstream)
		}
	}
	return &Proxy{cfg: cfg, log: cfg.Logger, errors: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug), asks: newAsks(), outcomes: make(chan outcome, maxOutcomes)}, nil
}

// Run reports outcomes until ctx ends, and then those that are left, no longer than some seconds.
func (p *Proxy) Run(ctx context.Context) error {
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var wg sync.WaitGroup
	for range reporters {
		wg.Go(func() {
			for {
				select {
				case o := <-p.outcomes:
					p.report(last, o)
					continue
				default:
				}
				select {
				case o := <-p.outcomes:
					p.report(last, o)
				case <-ctx.Done():
					if len(p.outcomes) == 0 || last.Err() != nil {
						return
					}
				}
			}
		})
	}
	<-ctx.Done()
	stop := time.AfterFunc(5*time.Second, cancel)
	defer stop.Stop()
	wg.Wait()
	return nil
}

func (p *Proxy) report(ctx context.Context, o outcome) {
	if err := o.permit.Done(ctx, o.Outcome); err != nil {
		p.log.WarnContext(ctx, "outcome not reported", "decisions", o.permit.Decisions(), "err", err)
	}
}

// done has an outcome reported. If too many wait, the request waits too: what happened is not forgotten.
func (p *Proxy) done(ctx context.Context, o outcome) {
	select {
	case p.outcomes <- o:
	default:
		p.report(ctx, o)
	}
}

// A passage is one request on its way.
type passage struct {
	p      *Proxy
	w      http.ResponseWriter
	r      *http.Request
	who    *gateway.Who
	match  *route.Match
	up     *Upstream
	in     route.Input
	held   bool // in.Body is the body
	asked  client.Question
	permit *client.Permit // nil: the route allows what could not be decided
	id     string         // of the decision
	socket bool           // it opens a WebSocket
	act    askKey
	task   *client.Task // of the persons who were asked about the act; nil if nobody was

	outcome string // so far
}

// ServeHTTP decides and passes on.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := &passage{p: p, w: w, r: r}
	if err := s.target(); err != nil {
		p.log.InfoContext(r.Context(), "request refused", "why", err.Error())
		w.Header().Set("Connection", "close") // who writes so may have written a second request behind it
		s.problem(http.StatusBadRequest, "malformed_request", err.Error())
		return
	}
	if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
		// It may have had a length too, which net/http does not tell. Then what follows on the connection is not to be
		// trusted (RFC 9112, section 6.1).
		w.Header().Set("Connection", "close")
	}
	who, err := p.cfg.Gate.Verify(r)
	if err != nil {
		var c *gateway.Challenge
		if errors.As(err, &c) {
			c.WriteTo(w)
			return
		}
		p.log.ErrorContext(r.Context(), "caller not verified", "err", err)
		s.problem(http.StatusInternalServerError, client.CodeInternal, "It could not be told who asks.")
		return
	}
	s.who = who
	var ok bool
	if s.match, ok = p.cfg.Table.Match(r.Method, s.in.Host, s.in.Path); !ok {
		p.log.WarnContext(r.Context(), "no route, refused", "method", r.Method, "host", s.in.Host, "path", fmt.Sprintf("%.256s", s.in.Path), "caller", who.Key)
		s.problem(http.StatusNotFound, "no_route", "No route of this gateway takes the request, and nothing passes without one.")
		return
	}
	s.up = p.cfg.Upstreams[s.match.Route.Upstream]
	s.outcome = OutcomeMalformed
	if p.cfg.Observe != nil {
		began := time.Now()
		defer func() {
			took := time.Since(began)
			if s.socket {
				took = -1
			}
			p.cfg.Observe(s.match.Route.Name, s.outcome, took)
		}()
	}
	if !s.header() || !s.body() || !s.ask() {
		return
	}
	s.forward()
}

// target reads where the request goes, and refuses what others could read in another way.
func (s *passage) target() error {
	r := s.r
	raw, query, _ := strings.Cut(r.RequestURI, "?")
	path := r.URL.EscapedPath()
	switch {
	case r.RequestURI == "*":
		return errors.New("the target is no path")
	case strings.HasPrefix(raw, "/"):
		if raw != path || query != r.URL.RawQuery { // r was changed on its way here, or is read in two ways
			return errors.New("the path is not written as it is read")
		}
	case r.URL.User != nil:
		return errors.New("the target has a user")
	}
	if err := route.Check(r.Method, r.Host, path, r.URL.RawQuery, r.Header); err != nil {
		return err
	}
	host, err := route.HostName(r.Host)
	if err != nil {
		return err
	}
	s.in = route.Input{Method: r.Method, Host: host, Path: path, RawQuery: r.URL.RawQuery, Header: route.Forwarded(r.Header)}
	return nil
}

// header reads what the request wants of the connection. It answers if it returns false.
func (s *passage) header() bool {
	s.in.Claims = s.who.Claims
	rt := s.match.Route
	upgrade := s.r.Header["Upgrade"]
	switch {
	case len(upgrade) == 0 || !mentions(s.r.Header["Connection"], "upgrade") || s.r.ProtoMajor != 1:
	case len(upgrade) == 1 && strings.EqualFold(upgrade[0], "websocket"):
		if !rt.WebSocket {
			s.problem(http.StatusForbidden, "no_websocket", "The route opens no WebSocket.")
			return false
		}
		s.socket = true
	default: // such as h2c: it is not done, which a server may (RFC 9110, section 7.8), so that nothing hides in it
	}
	if rt.DryRun != nil && rt.DryRun.Query != "" {
		name, _, _ := strings.Cut(rt.DryRun.Query, "=")
		if hasParameter(s.in.RawQuery, name) {
			s.problem(http.StatusBadRequest, "malformed_request", "The parameter by which an act is tried is the gateway's to set.")
			return false
		}
	}
	return true
}

// body bounds the body, and reads it if the route needs it. It answers if it returns false.
func (s *passage) body() bool {
	rt := s.match.Route
	if rt.MaxBody > 0 && s.r.ContentLength > rt.MaxBody {
		s.tooLarge()
		return false
	}
	if s.r.Body == nil || s.r.Body == http.NoBody || s.r.ContentLength == 0 {
		s.held = rt.NeedsBody
		return true
	}
	if !rt.NeedsBody {
		s.in.Follows = true
		return true
	}
	rc := http.NewResponseController(s.w)
	_ = rc.SetReadDeadline(time.Now().Add(s.p.cfg.BodyTime)) // where there are none, the server's own hold
	body, err := io.ReadAll(io.LimitReader(s.r.Body, rt.MaxBody+1))
	if err == nil && int64(len(body)) <= rt.MaxBody {
		_ = rc.SetReadDeadline(time.Time{}) // else what is left of the body must not be waited for
	}
	switch {
	case err != nil && errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		s.w.Header().Set("Connection", "close")
		s.problem(http.StatusRequestTimeout, "body_timeout", "The body took too long.")
		return false
	case err != nil:
		s.w.Header().Set("Connection", "close")
		s.problem(http.StatusBadRequest, "malformed_request", "The body could not be read.")
		return false
	case int64(len(body)) > rt.MaxBody:
		s.tooLarge()
		return false
	}
	s.in.Body, s.held = body, true
	return true
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func (s *passage) tooLarge() {
	s.w.Header().Set("Connection", "close")
	s.problem(http.StatusRequestEntityTooLarge, "body_too_large", fmt.Sprintf("The body has more than %d bytes.", s.match.Route.MaxBody))
}

// ask has the act decided. It answers if it returns false.
func (s *passage) ask() bool {
	ctx, rt := s.r.Context(), s.match.Route
	req, err := s.match.Request(&s.in)
	if err != nil {
		var e *route.Error
		if !errors.As(err, &e) {
			e = &route.Error{Status: http.StatusBadRequest, Message: err.Error()}
		}
		s.p.log.InfoContext(ctx, "request refused", "route", rt.Name, "why", e.Message, "caller", s.who.Key)
		s.problem(e.Status, "malformed_request", e.Message)
		return false
	}
	if rt.NoMask || s.socket {
		req.Observed.Obligations = s.p.without("mask", rt.DryRun != nil)
	}
	if !s.present(&req) {
		return false
	}
	s.asked = s.p.cfg.Gate.Ask(s.who, req)
	s.p.asks.find(s, req)
	s.permit, err = s.p.cfg.Enforcer.Permit(ctx, s.asked, rt.DryRun != nil)
	if err != nil {
		open := rt.OnUnavailable == "allow" && s.task == nil && gateway.Undecided(err) // not if it was refused, and persons were asked
		if err = s.persons(ctx, err); err != nil {
			return s.undecided(err, open)
		}
	}
	s.id = strings.Join(s.permit.Decisions(), " ")
	s.outcome = OutcomeRefused
	if s.permit.Whole() && (rt.NoMask || s.socket) {
		s.p.log.ErrorContext(ctx, "decision demands what the route cannot do, refused", "route", rt.Name, "decision", s.id)
		s.problem(http.StatusForbidden, client.CodeUnmet, "It is allowed only with obligations that cannot be met here.")
		return false
	}
	return true
}

// without returns the types of obligations that are met here but one.
func (p *Proxy) without(typ string, canTry bool) []string {
	out := []string{}
	for _, t := range p.cfg.Enforcer.Types() {
		if t != typ && (canTry || t != "dry-run") {
			out = append(out, t)
		}
	}
	return out
}

// undecided refuses, or lets the act pass if it is open: the route allows what could not be decided, and it was not.
func (s *passage) undecided(err error, open bool) bool {
	ctx, rt := s.r.Context(), s.match.Route
	s.outcome = OutcomeUndecided
	var refused *client.RefusedError
	if !errors.As(err, &refused) || refused.Answer == nil {
		s.p.log.ErrorContext(ctx, "no decision, refused", "route", rt.Name, "err", err)
		s.refuse(client.RefuseHTTP(err, s.realm()), "")
		return false
	}
	if open && s.p.cfg.Gate.Unavailable(rt.Name, err) {
		return true
	}
	if s.id = refused.Answer.DecisionID(); s.id != "" || refused.Answer.Code != authz.CodeUnavailable {
		s.outcome = OutcomeRefused
	}
	attrs := []any{"route", rt.Name, "decision", s.id, "code", refused.Answer.Code, "caller", s.who.Key}
	if refused.Cause != nil {
		s.p.log.WarnContext(ctx, "refused", append(attrs, "err", refused.Cause)...)
	} else {
		s.p.log.InfoContext(ctx, "refused", attrs...)
	}
	s.refuse(client.RefuseHTTP(err, s.realm()), s.p.asks.tell(s))
	return false
}

// realm is that of challenges to this caller, in the scheme it used.
func (s *passage) realm() client.Realm {
	realm := s.p.cfg.Realm
	if scheme, _, _ := strings.Cut(s.r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "bearer") {
		realm.Scheme = "Bearer"
	}
	return realm
}
