package streamable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// An endpoint serves a Door's HTTP: one path, POST, GET and DELETE.
type endpoint struct {
	*Door
	gate Gate
}

// Serve returns the handler of the endpoint, which has every request judged by gate.
func (d *Door) Serve(gate Gate) http.Handler {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.judges = append(d.judges, gate)
	return &endpoint{d, gate}
}

// An asker is a client with a request.
type asker struct {
	who     *gateway.Who
	modern  bool
	version string
	session *session // nil if modern
	glance  glance
	header  http.Header // what goes on of the agent's
	reply   *reply
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if err := e.origin(r); err != nil {
		refuse(w, http.StatusForbidden, codeRequest, err.Error())
		return
	}
	if o := r.Header.Get("Origin"); o != "" {
		h.Set("Access-Control-Allow-Origin", o)
		h.Set("Access-Control-Expose-Headers", "Mcp-Session-Id, WWW-Authenticate, DPoP-Nonce")
		h.Add("Vary", "Origin")
		if r.Method == http.MethodOptions {
			h.Set("Access-Control-Allow-Methods", "POST, GET, DELETE")
			h.Set("Access-Control-Allow-Headers", "Authorization, DPoP, Content-Type, Accept, Mcp-Protocol-Version, Mcp-Session-Id, Mcp-Method, Mcp-Name, Last-Event-ID")
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	switch r.Method {
	case http.MethodPost, http.MethodGet, http.MethodDelete:
	default:
		h.Set("Allow", "POST, GET, DELETE")
		refuse(w, http.StatusMethodNotAllowed, codeRequest, "the endpoint knows POST, GET and DELETE")
		return
	}
	who, err := e.cfg.Verify(r)
	if err != nil {
		var c *gateway.Challenge
		if errors.As(err, &c) {
			c.WriteTo(w)
			return
		}
		refuse(w, http.StatusUnauthorized, codeRequest, "who sends this is not known")
		return
	}
	switch r.Method {
	case http.MethodPost:
		e.post(w, r, who)
	case http.MethodGet:
		e.get(w, r, who)
	case http.MethodDelete:
		if s := e.find(w, r, who); s != nil {
			e.end(r.Context(), s)
			w.WriteHeader(http.StatusNoContent)
		}
	}
}

// find returns the session that a request of a revision before 2026-07-28 belongs to, or answers why there is none.
func (e *endpoint) find(w http.ResponseWriter, r *http.Request, who *gateway.Who) *session {
	id, ok := one(r.Header, headerSession)
	version, okv := one(r.Header, headerVersion)
	switch {
	case !ok || !okv:
		refuse(w, http.StatusBadRequest, codeRequest, "a header is there more than once")
	case version == v2026 && r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST")
		refuse(w, http.StatusMethodNotAllowed, codeRequest, v2026+" knows POST alone")
	case id == "":
		refuse(w, http.StatusBadRequest, codeRequest, "Mcp-Session-Id is missing: begin with initialize")
	case version != "" && !slices.Contains(legacy, version):
		refuse(w, http.StatusBadRequest, codeRequest, "this revision of the protocol is not spoken here")
	default:
		if s := e.session(id, who); s != nil {
			return s
		}
		refuse(w, http.StatusNotFound, codeRequest, "there is no such session")
	}
	return nil
}

// body reads the body of a POST, or answers why it is refused.
func (e *endpoint) body(w http.ResponseWriter, r *http.Request) []byte {
	kind, params, err := mediaType(r.Header.Get("Content-Type"))
	if charset := params["charset"]; err != nil || kind != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") ||
		len(r.Header["Content-Type"]) != 1 || r.Header.Get("Content-Encoding") != "" {
		refuse(w, http.StatusUnsupportedMediaType, codeRequest, "Content-Type must be application/json, without encoding")
		return nil
	}
	if !acceptable(r.Header, "application/json", "text/event-stream") {
		refuse(w, http.StatusNotAcceptable, codeRequest, "Accept must name application/json and text/event-stream")
		return nil
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(e.cfg.BodyTime))
	if r.ContentLength > int64(e.cfg.MaxMessage) {
		w.Header().Set("Connection", "close")
		refuse(w, http.StatusRequestEntityTooLarge, codeRequest, "the message is too large")
		return nil
	}
	var b []byte
	if r.ContentLength >= 0 {
		b = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, b)
	} else {
		b, err = io.ReadAll(http.MaxBytesReader(w, r.Body, int64(e.cfg.MaxMessage)))
	}
	_ = rc.SetReadDeadline(time.Time{})
	if err != nil {
		w.Header().Set("Connection", "close")
		if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
			refuse(w, http.StatusRequestEntityTooLarge, codeRequest, "the message is too large")
		} else {
			refuse(w, http.StatusRequestTimeout, codeRequest, "the message did not arrive")
		}
		return nil
	}
	return b
}

func (e *endpoint) post(w http.ResponseWriter, r *http.Request, who *gateway.Who) {
	b := e.body(w, r)
	if b == nil {
		return
	}
	f, err := mcp.ParseFrame(b, e.cfg.MaxMessage)
	if err != nil {
		code := codeRequest
		if !json.Valid(b) {
			code = codeParse
		}
		refuse(w, http.StatusBadRequest, code, err.Error())
		return
	}
	a := &asker{who: who, glance: look(f.Params), header: make(http.Header)}
	for _, n := range passed {
		if v, ok := one(r.Header, n); ok && v != "" {
			a.header[n] = []string{v}
		}
	}
	if a.glance.version != "" && f.Method != "initialize" {
		e.postModern(w, r, a, f)
		return
	}
	if v := r.Header.Get(headerVersion); v == v2026 || r.Header.Get(headerMethod) != "" {
		refuse2026(w, f, codeHeader, "the headers are those of "+v2026+", the body is not: _meta has no "+metaVersion)
		return
	}
	e.postLegacy(w, r, a, f)
}

func refuse2026(w http.ResponseWriter, f *mcp.Frame, code int, message string) {
	out := errorFrame(f.ID, code, message)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write(out.Append(nil))
}

// postModern serves a message of 2026-07-28.
func (e *endpoint) postModern(w http.ResponseWriter, r *http.Request, a *asker, f *mcp.Frame) {
	a.modern, a.version = true, v2026
	if f.Response() {
		refuse(w, http.StatusBadRequest, codeRequest, "clients of "+v2026+" send no responses")
		return
	}
	if wrong := mirrored(r.Header, f, &a.glance); wrong != "" {
		refuse2026(w, f, codeHeader, wrong)
		return
	}
	if a.glance.version != v2026 {
		out := errorFrame(f.ID, codeVersion, "Unsupported protocol version")
		supported, _ := json.Marshal(append([]string{v2026}, legacy...))
		out.Error.Data = set(set(nil, "requested", quote(a.glance.version)), "supported", supported)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write(out.Append(nil))
		return
	}
	if a.glance.caps == nil && f.Request() {
		refuse2026(w, f, codeParams, "_meta has no "+metaCaps)
		return
	}
	if f.Notification() {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	for n, v := range r.Header {
		if strings.HasPrefix(n, headerParam) {
			a.header[n] = v
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), e.callTime(f))
	defer cancel()
	a.reply = newReply(w, true, &e.cfg)
	defer a.reply.stop()
	e.request(ctx, a, f)
}

func (e *endpoint) callTime(f *mcp.Frame) time.Duration {
	if f.Method == "subscriptions/listen" {
		return 24 * time.Hour
	}
	return e.cfg.CallTime
}

// postLegacy serves a message of an earlier revision.
func (e *endpoint) postLegacy(w http.ResponseWriter, r *http.Request, a *asker, f *mcp.Frame) {
	var key string
	if f.Method == "initialize" {
		if !f.Request() {
			refuse(w, http.StatusBadRequest, codeRequest, "initialize is a request")
			return
		}
		a.session = e.newSession(a.who)
	} else if a.session = e.find(w, r, a.who); a.session == nil {
		return
	}
	s := a.session
	a.version = s.version
	switch {
	case f.Response():
		e.response(w, r, a, f)
		return
	case f.Notification():
		e.notification(r.Context(), a, f)
		w.WriteHeader(http.StatusAccepted)
		return
	}
	ctx, stop := context.WithTimeout(r.Context(), e.cfg.CallTime)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	key = f.Key()
	if !s.fly(key, cancel) {
		refuse2026(w, f, codeRequest, "a request with that id is under way, or the session has ended")
		return
	}
	defer func() { s.land(key, e.cfg.Now()) }()
	a.reply = newReply(w, false, &e.cfg)
	defer a.reply.stop()
	if f.Method == "initialize" {
		e.initialize(ctx, w, a, f)
		return
	}
	e.request(ctx, a, f)
}

// response takes the client's answer to a server's request where it belongs.
func (e *endpoint) response(w http.ResponseWriter, r *http.Request, a *asker, f *mcp.Frame) {
	asked, ok := a.session.answered(f)
	if !ok {
		refuse(w, http.StatusBadRequest, codeRequest, "nobody asked that")
		return
	}
	out := *f
	out.ID = asked.id
	ctx, stop := context.WithTimeout(r.Context(), e.cfg.HelloTime)
	defer stop()
	if err := asked.leg.tell(ctx, a.who, &out); err != nil {
		refuse(w, http.StatusBadGateway, codeInternal, err.Error())
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// notification does what a client's notification asks for.
func (e *endpoint) notification(ctx context.Context, a *asker, f *mcp.Frame) {
	switch f.Method {
	case "notifications/cancelled":
		each(f.Params, func(name string, v json.RawMessage) {
			if name == "requestId" {
				a.session.cancel((&mcp.Frame{ID: v}).Key())
			}
		})
	case "notifications/roots/list_changed":
		ctx, stop := context.WithTimeout(ctx, e.cfg.HelloTime)
		defer stop()
		for _, l := range e.legs(a.session) {
			_ = l.tell(ctx, a.who, f)
		}
	}
}

// legs returns the legs that a session has.
func (d *Door) legs(s *session) []leg {
	var out []leg
	for i := range s.slots {
		if !s.slots[i].mu.TryLock() {
			continue // it is being made
		}
		if l := s.slots[i].leg; l != nil {
			out = append(out, l)
		}
		s.slots[i].mu.Unlock()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.children {
		c.mu.Lock()
		if _, ok := c.sessions[s]; ok && !c.era {
			out = append(out, &childLeg{c, s})
		}
		c.mu.Unlock()
	}
	return out
}

// get serves the stream that a client reads between its requests.
func (e *endpoint) get(w http.ResponseWriter, r *http.Request, who *gateway.Who) {
	if !acceptable(r.Header, "text/event-stream") {
		refuse(w, http.StatusNotAcceptable, codeRequest, "Accept must name text/event-stream")
		return
	}
	s := e.find(w, r, who)
	if s == nil {
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	ctx, stop := until(ctx, who)
	defer stop()
	st := &stream{frames: make(chan *mcp.Frame, streamBuffer), cancel: cancel, ctx: ctx}
	if !s.listen(st) {
		refuse(w, http.StatusNotFound, codeRequest, "there is no such session")
		return
	}
	defer s.unlisten(st)
	rep := newReply(w, false, &e.cfg)
	defer rep.stop()
	if rep.open() != nil {
		return
	}
	for i, u := range e.ups {
		if s.slots[i].mu.TryLock() { // if not, whoever makes it sees the stream
			if l := s.slots[i].leg; l != nil {
				e.hear(s, st, u, l, who)
			}
			s.slots[i].mu.Unlock()
		}
	}
	for {
		select {
		case f := <-st.frames:
			if rep.notify(f) != nil {
				return
			}
		case <-ctx.Done():
			return
		case <-e.stop.Done():
			return
		}
	}
}

// until ends a context when the token that opened it does.
func until(ctx context.Context, who *gateway.Who) (context.Context, context.CancelFunc) {
	if who.Expires.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(ctx, who.Expires, errExpired)
}

// peer is the client's side, for the Gate.
func (e *endpoint) peer(a *asker) *mcp.Peer {
	p := &mcp.Peer{Who: a.who, Version: a.version, Notify: a.reply.notify}
	if a.session != nil {
		p.Session = a.session.label // the tasks of earlier revisions are others: asked for in each call, of another shape
	} else {
		each(a.glance.caps, func(name string, v json.RawMessage) {
			if name == "extensions" {
				each(v, func(name string, _ json.RawMessage) { p.Tasks = p.Tasks || name == "io.modelcontextprotocol/tasks" })
			}
		})
	}
	return p
}

// request has a request judged, and passes it on.
func (e *endpoint) request(ctx context.Context, a *asker, f *mcp.Frame) {
	judged, q := ctx, (*quest)(nil)
	if f.Method == "tools/call" {
		e.stale(e.cfg.ToolsKept)
		u, _ := e.server("tool", a.glance.name)
		q = &quest{of: u}
		judged = context.WithValue(ctx, questKey{}, q)
	}
	pa := e.gate.Admit(judged, e.peer(a), f)
	if pa.Answer != nil {
		if q != nil && pa.Answer.Error != nil && pa.Answer.Error.Code == codeInternal {
			if lost := q.lost.Load(); lost != nil { // say whose tools are not known
				e.answer(a, errorFrame(f.ID, codeInternal, lost.text+": what the tool is is not known, and the call is refused"))
				return
			}
		}
		e.answer(a, pa.Answer)
		return
	}
	if pa.Forward == nil {
		e.answer(a, errorFrame(f.ID, codeInternal, "the request was not decided"))
		return
	}
	ctx, stop := pa.Limit(ctx)
	defer stop()
	f = pa.Forward
	switch {
	case f.Method == "ping":
		e.finish(ctx, a, pa, &mcp.Frame{ID: f.ID, Result: json.RawMessage("{}")})
	case f.Method == "server/discover":
		if !a.modern {
			e.finish(ctx, a, pa, errorFrame(f.ID, codeMethod, "Method not found"))
			return
		}
		e.finish(ctx, a, pa, e.discover(ctx, a, f))
	case f.Method == "subscriptions/listen":
		e.listen(ctx, a, pa, f)
	case f.Method == "logging/setLevel":
		e.finish(ctx, a, pa, e.setLevel(ctx, a, f))
	case lists[f.Method] != "" && len(e.ups) > 1:
		out := e.list(ctx, a, f)
		n := len(out.Result)
		if !e.held.take(n) {
			n, out = 0, errorFrame(f.ID, codeInternal, errHeld.Error())
		}
		defer e.held.give(n)
		e.finish(ctx, a, pa, out)
	default:
		e.forward(ctx, a, pa, f)
	}
}

// answer sends an answer that is whole.
func (e *endpoint) answer(a *asker, f *mcp.Frame) {
	_ = a.reply.answer(f)
}

// finish sends the answer of the gateway's own making, or one that was held, as the obligations leave it.
func (e *endpoint) finish(ctx context.Context, a *asker, pa *mcp.Passage, f *mcp.Frame) {
	out := pa.Result(ctx, f)
	if out == nil {
		out = errorFrame(f.ID, codeInternal, "the result is withheld")
	}
	e.answer(a, out)
}

// forward sends a request to the server it belongs to, and what comes back to the client.
func (e *endpoint) forward(ctx context.Context, a *asker, pa *mcp.Passage, f *mcp.Frame) {
	u, params, err := e.route(f.Method, f.Params)
	if err != nil {
		code := codeParams
		if errors.Is(err, authz.ErrNotFound) {
			code = codeMethod
		}
		e.finish(ctx, a, pa, errorFrame(f.ID, code, err.Error()))
		return
	}
	out := *f
	out.Params = params
	var held bounded
	defer func() { held.release() }()
	var answer *mcp.Frame
	for again := true; ; again = false {
		scan := &scanner{as: f.ID, max: e.cfg.MaxMessage, uris: escaped(e.uriPrefix(u)), private: true, out: a.reply, begin: a.reply.begin}
		if pa.Whole {
			held.release()
			held = bounded{max: e.cfg.MaxResult, all: &e.held}
			scan.out, scan.begin = &held, func() error { return nil }
		}
		scan.frame = func(g *mcp.Frame) error {
			if g.Response() {
				answer = g
				return nil
			}
			if g = pa.Beside(g); g == nil {
				return nil
			}
			return a.reply.notify(e.outward(u, g))
		}
		var l leg
		if l, err = e.leg(ctx, a, u); err == nil {
			err = e.over(ctx, a, u, l, &out, scan)
		}
		// A server that answers 404 within a session did nothing: it does not know the session (2025-11-25, session management).
		// Without one it may have done what it was asked.
		old, _ := l.(*legacyLeg)
		lost := errors.Is(err, errLost) && old != nil && old.id != ""
		if err == nil || !again || !lost || scan.result || answer != nil {
			if err == nil && !pa.Whole && answer == nil {
				err = a.reply.end()
				pa.Streamed(scan.written, err)
				if err != nil {
					panic(http.ErrAbortHandler)
				}
				return
			}
			if err != nil && !pa.Whole && scan.result && !a.reply.retract() {
				// Some of it is with the client. What is not whole must not look so.
				pa.Streamed(scan.written, err)
				panic(http.ErrAbortHandler)
			}
			break
		}
	}
	if err == nil && answer == nil {
		if answer, err = mcp.ParseFrame(held.b, len(held.b)); err != nil {
			err = &fault{fmt.Sprintf("the answer of server %q was refused: it is not strict JSON", u.Name), err}
		}
	}
	if err != nil {
		answer = e.faulty(ctx, f.ID, err)
	}
	e.finish(ctx, a, pa, answer)
}

// over makes a call over a leg, bridging the revisions of both sides.
func (e *endpoint) over(ctx context.Context, a *asker, u *upstream, l leg, f *mcp.Frame, scan *scanner) error {
	out := *f
	switch {
	case a.modern && !l.modern():
		out.Params = legacyParams(f.Params)
		scan.add = []member{{"resultType", `"complete"`}}
		if lists[f.Method] != "" || f.Method == "resources/read" {
			scan.add = append(scan.add, member{"ttlMs", "0"}, member{"cacheScope", `"private"`})
		}
	case !a.modern && l.modern():
		out.Params = e.modernParams(f.Params)
	}
	c := &call{who: a.who, frame: &out, method: f.Method, scan: scan, header: e.onward(a, l), open: a.reply.open}
	if pa := scan.out; pa != a.reply { // nothing of it is sent before it is whole
		c.open = nil
	}
	var asked []string
	c.asked = func(l leg, g *mcp.Frame) *mcp.Frame {
		if g.Method == "ping" {
			return &mcp.Frame{ID: g.ID, Result: json.RawMessage("{}")}
		}
		if a.session != nil {
			if q := a.session.ask(l, g); q != nil {
				asked = append(asked, q.Key())
				if a.reply.notify(q) == nil {
					return nil
				}
			}
		}
		return errorFrame(g.ID, codeMethod, "nobody is here to be asked")
	}
	err := l.call(ctx, c)
	for _, key := range asked {
		a.session.unask(key)
	}
	if err != nil && errors.Is(err, errLost) {
		if old, ok := l.(*legacyLeg); ok && a.session != nil {
			a.session.lose(u, old)
		} else if ok {
			if s, err := e.bridged(a.who); err == nil {
				s.lose(u, old)
			}
		} else {
			u.forget()
		}
	}
	return err
}

// onward returns the agent's headers that go on to a leg.
func (e *endpoint) onward(a *asker, l leg) http.Header {
	h := make(http.Header, len(a.header))
	for n, v := range a.header {
		if l.modern() || !strings.HasPrefix(n, headerParam) {
			h[n] = v
		}
	}
	return h
}

// faulty returns the answer to a request that failed on the way.
func (e *endpoint) faulty(ctx context.Context, id json.RawMessage, err error) *mcp.Frame {
	var f *fault
	if errors.As(err, &f) {
		return errorFrame(id, codeInternal, f.text)
	}
	if errors.Is(err, authz.ErrUnavailable) {
		return errorFrame(id, codeInternal, err.Error())
	}
	e.cfg.Logger.ErrorContext(ctx, "a request failed", "error", err)
	return errorFrame(id, codeInternal, "internal error")
}

// escaped returns s as it stands within a JSON text.
func escaped(s string) string {
	q := quote(s)
	return string(q[1 : len(q)-1])
}

// leg returns the way to a server, in the revision that needs the least bridging.
func (d *Door) leg(ctx context.Context, a *asker, u *upstream) (leg, error) {
	if u.url == nil {
		if err := u.down(d.cfg.Now()); err != nil {
			return nil, err
		}
		return d.child(ctx, a, u)
	}
	s := a.session
	if s == nil {
		var err error
		if s, err = d.bridged(a.who); err != nil && u.Revision != v2026 {
			return nil, err
		}
	}
	if s != nil {
		s.busy.Add(1)
		defer s.busy.Add(-1)
	}
	modern := func() (leg, error) {
		f, err := d.probe(ctx, u, a.who)
		if err != nil {
			return nil, err
		}
		f.by = a.who.Key
		u.learn(a.modern, f)
		return &modernLeg{d, u}, nil
	}
	old := func() (leg, error) {
		l, err := d.legacy(ctx, s, u, a.who)
		if err != nil {
			return nil, err
		}
		return l, nil
	}
	if k := u.known(a.modern, d.cfg.Now()); k != nil {
		if k.modern {
			return &modernLeg{d, u}, nil
		}
		return old()
	}
	if u.Revision != v2025 && (a.modern || u.Revision == v2026) {
		l, err := modern()
		if err == nil || u.Revision == v2026 || !errors.Is(err, errOtherEra) && !errors.Is(err, errLost) {
			return l, err
		}
		return old()
	}
	l, err := old()
	if err == nil || u.Revision == v2025 || !errors.Is(err, errOtherEra) && !errors.Is(err, errLost) {
		return l, err
	}
	return modern()
}
