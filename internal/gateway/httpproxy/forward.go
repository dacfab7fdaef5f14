package httpproxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/route"
)

// A transfer is the request that is passed on, and its response.
type transfer struct {
	*passage
	whole  bool
	tried  bool
	began  time.Time
	own    context.Context // its cause says why the transfer ended
	cancel context.CancelCauseFunc
	clock  *time.Timer // until the response begins
	status int
	fault  string
	stalls atomic.Bool  // the agent's body paused too long
	bytes  atomic.Int64 // of the response, or of what a WebSocket carried to the agent
}

var (
	errTooSlow = errors.New("the upstream took too long")
	errNoMore  = errors.New("the WebSocket is no longer allowed")
	errHints   = errors.New("the upstream gives no response but informational ones")
)

// forward passes the request on, and its response back.
func (s *passage) forward() {
	ctx, rt := s.r.Context(), s.match.Route
	t := &transfer{passage: s, began: time.Now()}
	if s.permit != nil {
		begun, end, err := s.permit.Begin(ctx)
		if err != nil {
			s.undecided(err, false)
			return
		}
		defer end()
		ctx, t.whole, t.tried = begun, s.permit.Whole(), s.permit.Tried()
	}
	s.outcome = OutcomeFailed
	t.own, t.cancel = context.WithCancelCause(ctx)
	defer t.cancel(nil)
	limit := rt.Timeout
	if limit <= 0 {
		limit = s.p.cfg.Timeout
	}
	t.clock = time.AfterFunc(limit, func() { t.cancel(errTooSlow) })
	defer t.clock.Stop()
	defer t.report()
	if !s.held && s.r.ProtoMajor == 1 {
		_ = http.NewResponseController(s.w).EnableFullDuplex() // both ways at once; where that cannot be, one after the other
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:        t.rewrite,
		Transport:      t,
		ModifyResponse: t.response,
		ErrorHandler:   t.failed,
		BufferPool:     &s.p.buffers,
		ErrorLog:       s.p.errors,
	}
	proxy.ServeHTTP(&writer{ResponseWriter: s.w, t: t}, s.r.WithContext(t.own))
}

// report reports what came of the act, also when the connection broke.
func (t *transfer) report() {
	if t.permit == nil {
		return
	}
	cause := recover()
	o := client.Outcome{Latency: time.Since(t.began), Size: t.bytes.Load(), Fault: t.fault}
	if cause != nil && o.Fault == "" && t.r.Context().Err() == nil {
		o.Fault, t.outcome = client.FaultTool, OutcomeFailed // the response broke off
	}
	t.p.done(context.WithoutCancel(t.r.Context()), outcome{t.permit, o})
	if cause != nil {
		panic(cause) // of httputil, so that the agent sees a response that broke off
	}
}

// rewrite makes the request that is passed on: what was decided about, and nothing that was not.
func (t *transfer) rewrite(pr *httputil.ProxyRequest) {
	out := pr.Out
	t.up.target(out, pr.In)
	h := t.in.Header                                               // nobody reads it any more
	for _, name := range []string{"Connection", "Upgrade", "Te"} { // what httputil has put there: of a WebSocket, of trailers
		if v := out.Header[name]; v != nil && (t.socket || name == "Te") {
			h[name] = v
		}
	}
	if h["User-Agent"] == nil {
		h["User-Agent"] = []string{""} // else net/http would write its own
	}
	out.Header = h
	t.requestBody(out)
	if t.whole {
		for _, name := range []string{"Range", "If-Range"} {
			delete(h, name)
		}
		h.Set("Accept-Encoding", "identity")
	}
	if t.tried {
		t.try(out)
	}
}

// try has the upstream try the act.
func (t *transfer) try(out *http.Request) {
	d := t.match.Route.DryRun
	if name, value, ok := strings.Cut(d.Header, ":"); ok {
		out.Header.Set(name, strings.TrimSpace(value))
		return
	}
	if out.URL.RawQuery != "" {
		out.URL.RawQuery += "&"
	}
	out.URL.RawQuery += d.Query
}

// requestBody sets the body that is passed on.
func (t *transfer) requestBody(out *http.Request) {
	switch {
	case t.held:
		delete(out.Header, "Expect")
		out.Trailer = nil
		out.ContentLength = int64(len(t.in.Body))
		out.TransferEncoding = nil
		out.Body, out.GetBody = http.NoBody, nil
		if len(t.in.Body) > 0 {
			out.Body = io.NopCloser(bytes.NewReader(t.in.Body))
		}
	case out.Body != nil && out.Body != http.NoBody:
		b := &body{ReadCloser: out.Body, t: t, in: t.r, out: out, rc: http.NewResponseController(t.w), pause: t.p.cfg.BodyTime, left: t.match.Route.MaxBody}
		if b.left == 0 {
			b.left = -1
		}
		out.Trailer = t.trailers()
		out.Body = b
	}
}

// trailers returns those of the request that may be passed on, without values, which follow the body.
func (t *transfer) trailers() http.Header {
	h := route.Trailers(t.r.Trailer)
	gateway.Strip(h)
	for name := range h {
		if t.match.Route.Mapped(name) {
			delete(h, name)
		}
	}
	return h
}

// A body is that of the agent's request, as it is passed on: it must not pause too long, nor be too large.
type body struct {
	io.ReadCloser
	t       *transfer
	in, out *http.Request
	rc      *http.ResponseController
	pause   time.Duration
	left    int64 // -1: no bound
	set     time.Time
}

var errTooLarge = errors.New("the body is larger than the route allows")

// Read reads on, and passes the trailers at the end.
func (b *body) Read(buf []byte) (int, error) {
	if now := time.Now(); now.Sub(b.set) > b.pause/8 {
		b.set = now
		_ = b.rc.SetReadDeadline(now.Add(b.pause))
	}
	if b.left >= 0 && int64(len(buf)) > b.left+1 {
		buf = buf[:b.left+1]
	}
	n, err := b.ReadCloser.Read(buf)
	if b.left >= 0 {
		if b.left -= int64(n); b.left < 0 {
			b.left = 0
			n, err = 0, errTooLarge
		}
	}
	if isTimeout(err) {
		b.t.stalls.Store(true)
	}
	if errors.Is(err, io.EOF) {
		_ = b.rc.SetReadDeadline(time.Time{}) // after any other error what is left of the body must not be waited for
		for name := range b.out.Trailer {
			b.out.Trailer[name] = b.in.Trailer[name]
		}
	}
	return n, err
}

// RoundTrip sends the request with the upstream's credential, and once more if the upstream does not accept that
// and another can be had. A body that has been streamed cannot be sent again.
func (t *transfer) RoundTrip(out *http.Request) (*http.Response, error) {
	replay := out.Body == nil || out.Body == http.NoBody || t.held
	for again := false; ; again = true {
		if err := t.p.cfg.Gate.Apply(out.Context(), t.up.Credential, t.who, out); err != nil {
			return nil, fmt.Errorf("applying the credential: %w", err)
		}
		t.tell(out.Header)
		for name := range out.Trailer { // what a header says, the credential for one, is not said again
			if out.Header[name] != nil {
				delete(out.Trailer, name)
			}
		}
		resp, err := t.up.transport.RoundTrip(out)
		t.up.seen(err)
		if err != nil || resp.StatusCode != http.StatusUnauthorized || again || !replay || !t.p.cfg.Gate.Refused(t.up.Credential, t.who, resp) {
			return resp, err
		}
		resp.Body.Close()
		out = out.Clone(out.Context())
		if t.held && len(t.in.Body) > 0 {
			out.Body = io.NopCloser(bytes.NewReader(t.in.Body))
		}
	}
}

// tell says to the upstream where the request came from.
func (t *transfer) tell(h http.Header) {
	set := func(name, value string) {
		if h[name] == nil { // else the credential keeps what a proxy before us has said
			h[name] = []string{value}
		}
	}
	if ip := t.who.Address; ip.IsValid() {
		set("X-Forwarded-For", ip.Unmap().WithZone("").String())
	}
	host, scheme := "", map[bool]string{true: "https", false: "http"}[t.r.TLS != nil]
	if t.p.cfg.Public != nil {
		if u, err := url.Parse(t.p.cfg.Public()); err == nil && u.Host != "" {
			host, scheme = u.Host, u.Scheme
		}
	}
	if t.match.Route.Host != "" { // the agent's word was decided about
		host = t.r.Host
	}
	if host != "" {
		set("X-Forwarded-Host", host)
	}
	set("X-Forwarded-Proto", scheme)
	if t.id != "" {
		h.Set(DecisionHeader, t.id)
	}
}

// response judges a response before the agent sees any of it.
func (t *transfer) response(res *http.Response) error {
	if !t.whole {
		t.clock.Stop()
	}
	t.status = res.StatusCode
	t.fault = faultOf(res.StatusCode)
	switch res.StatusCode {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired:
		return errCredential
	case http.StatusSwitchingProtocols:
		if !t.socket {
			return errors.New("the upstream switches protocols, and was not asked to")
		}
		t.watch()
	}
	t.up.cleanse(res.Header)
	if t.whole {
		if err := t.mask(res); err != nil {
			return err
		}
	} else if res.StatusCode != http.StatusSwitchingProtocols {
		t.up.cleanse(res.Trailer)
		res.Body = &responseBody{res.Body, t.up, res}
	}
	if t.id != "" {
		res.Header.Set(DecisionHeader, t.id)
	}
	if t.tried {
		res.Header.Set(TriedHeader, "?1")
	}
	t.outcome = OutcomePassed
	return nil
}

// A responseBody is that of a response that is passed on as it is. Behind it come trailers, of which agents see as much as
// of headers.
type responseBody struct {
	io.ReadCloser
	up  *Upstream
	res *http.Response
}

// Read reads on. The trailers are there when it returns io.EOF.
func (b *responseBody) Read(buf []byte) (int, error) {
	n, err := b.ReadCloser.Read(buf)
	if errors.Is(err, io.EOF) {
		b.up.cleanse(b.res.Trailer)
	}
	return n, err
}

// errCredential is that an upstream did not accept what the gateway showed: no agent can do anything about it.
var errCredential = errors.New("the upstream does not accept the gateway's credential")

// faultOf returns how an act failed whose response has that status, "" if it did not.
func faultOf(status int) string {
	switch {
	case status == http.StatusGatewayTimeout || status == http.StatusRequestTimeout:
		return client.FaultTimeout
	case status == http.StatusBadRequest || status == http.StatusUnprocessableEntity || status == http.StatusUnsupportedMediaType:
		return client.FaultSchema
	case status >= 500:
		return client.FaultTool
	}
	return ""
}

// failed answers in place of a response that cannot be had or shown.
func (t *transfer) failed(_ http.ResponseWriter, _ *http.Request, err error) {
	ctx := t.r.Context()
	t.outcome = OutcomeFailed
	if t.fault == "" {
		t.fault = client.FaultTool
	}
	attrs := []any{"route", t.match.Route.Name, "upstream", t.up.Name, "decision", t.id, "err", err}
	var hidden *client.WithheldError
	switch {
	case errors.As(err, &hidden):
		t.fault = faultOf(t.status)
		t.p.log.WarnContext(ctx, "response withheld", append(attrs, "cause", hidden.Cause)...)
		h := client.RefuseHTTP(err, client.Realm{})
		h.Header = h.Header.Clone()
		t.refuse(h, "")
	case errors.Is(err, errTooLarge):
		t.fault = client.FaultSchema
		t.tooLarge()
	case t.stalls.Load():
		t.fault = client.FaultSchema
		t.w.Header().Set("Connection", "close")
		t.problem(http.StatusRequestTimeout, "body_timeout", "The body took too long. Whether the act happened is not known.")
	case errors.Is(context.Cause(t.own), errTooSlow):
		t.fault = client.FaultTimeout
		t.p.log.WarnContext(ctx, "upstream too slow", attrs...)
		t.problem(http.StatusGatewayTimeout, "upstream_timeout", "The upstream took too long. Whether the act happened is not known.")
	case ctx.Err() != nil:
		t.fault = ""
		if t.status == 0 {
			t.fault = client.FaultTimeout // whoever asked did not wait
		}
		panic(http.ErrAbortHandler) // an answer that nobody wrote would be 200
	case errors.Is(err, errCredential), errors.Is(err, authz.ErrForbidden):
		t.p.log.ErrorContext(ctx, "upstream refuses the gateway", attrs...)
		t.problem(http.StatusBadGateway, "upstream_unauthenticated", "The upstream does not accept the gateway's credential.")
	case errors.Is(err, authz.ErrUnavailable):
		t.p.log.ErrorContext(ctx, "credential for upstream not to be had", attrs...)
		t.w.Header().Set("Retry-After", "5")
		t.problem(http.StatusServiceUnavailable, "credential_unavailable", "The gateway has no credential for the upstream at the moment.")
	default:
		t.p.log.WarnContext(ctx, "upstream failed", attrs...)
		t.problem(http.StatusBadGateway, "upstream_failed", "The upstream gave no response that could be read. Whether the act happened is not known.")
	}
}

// watch has the act of an open WebSocket decided again, and closes it when it is no longer allowed.
func (t *transfer) watch() {
	rt := t.match.Route
	if t.permit == nil { // it was allowed without a decision; what is decided later still counts
		t.p.log.WarnContext(t.r.Context(), "websocket opened without a decision", "route", rt.Name)
	}
	ctx := t.own
	go func() {
		tick := time.NewTicker(rt.Recheck)
		defer tick.Stop()
		var expired <-chan time.Time
		if e := t.until(); !e.IsZero() {
			timer := time.NewTimer(time.Until(e))
			defer timer.Stop()
			expired = timer.C
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.p.cfg.Stopping:
				t.cancel(errNoMore)
				return
			case <-expired:
				t.p.log.InfoContext(ctx, "websocket closed: the caller's token no longer counts", "route", rt.Name, "decision", t.id)
				t.cancel(errNoMore)
				return
			case <-tick.C:
				if err := t.still(ctx); err != nil {
					t.p.log.InfoContext(ctx, "websocket closed: no longer allowed", "route", rt.Name, "decision", t.id, "err", err)
					t.cancel(errNoMore)
					return
				}
			}
		}
	}()
}

// until returns when the caller's token ends, or can no longer be asked with; zero if it does not.
func (t *transfer) until() time.Time {
	end := t.who.Expires
	if p := t.asked.Presented; p != nil && p.Proof != "" && !p.Shown.IsZero() {
		if last := p.Shown.Add(authz.MaxShown); end.IsZero() || last.Before(end) {
			return last
		}
	}
	return end
}

// still reports why the act is not allowed any more.
func (t *transfer) still(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.match.Route.Recheck)
	defer cancel()
	permit, err := t.p.cfg.Enforcer.Permit(ctx, t.asked, false)
	if err != nil {
		return err
	}
	if permit.Whole() || permit.Tried() {
		return errNoMore
	}
	t.p.done(ctx, outcome{permit, client.Outcome{}})
	return nil
}

// A writer is the agent's side of a transfer.
type writer struct {
	http.ResponseWriter
	t     *transfer
	hints int
}

// maxHints is how many responses an upstream can give before its response (RFC 9110, section 15.2).
const maxHints = 20

// Unwrap serves http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader keeps from the agent what an upstream says before its response if nothing of that may be seen as it is.
func (w *writer) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		if w.hints++; w.hints > maxHints {
			w.t.cancel(errHints)
		}
		if w.t.whole || w.hints > maxHints {
			return
		}
		w.t.up.cleanse(w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts.
func (w *writer) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.t.bytes.Add(int64(n))
	return n, err
}

// Hijack counts what a WebSocket carries to the agent.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.t.clock.Stop()
	return &counted{conn, &w.t.bytes}, rw, nil
}

type counted struct {
	net.Conn
	n *atomic.Int64
}

// Write counts.
func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// buffers are those that responses are copied through.
type buffers struct{ pool sync.Pool }

// Get returns a buffer.
func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return *buf
	}
	return make([]byte, 32<<10)
}

// Put takes a buffer back.
func (b *buffers) Put(buf []byte) { b.pool.Put(&buf) }
