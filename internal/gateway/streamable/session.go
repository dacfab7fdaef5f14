package streamable

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// A session is what is kept of one client that began with initialize, or of one caller whose requests of 2026-07-28 go to servers
// that want sessions ("bridge").
type session struct {
	label   string // names it in decisions; the client's id is not kept, only this hash of it
	key     string // Who.Key of whoever opened it
	bridge  bool
	version string
	caps    json.RawMessage // what the client can be asked
	info    json.RawMessage

	used  atomic.Int64 // unix nanoseconds
	busy  atomic.Int64 // requests and streams under way
	asks  atomic.Int64
	slots []slot // one a server

	mu      sync.Mutex
	who     *gateway.Who // as last seen
	flights map[string]context.CancelCauseFunc
	pending map[string]ask
	stream  *stream
	closed  bool
}

// A slot holds the leg to one server.
type slot struct {
	mu  sync.Mutex // while it is made
	leg *legacyLeg
}

// An ask is a request of a server that the client has not answered yet.
type ask struct {
	leg leg
	id  json.RawMessage // as the server knows it
}

const maxAsks = 64

// label returns the name of the session with that id.
func label(id string) string {
	h := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(h[:16])
}

func (d *Door) newSession(who *gateway.Who) *session {
	s := &session{key: who.Key, who: who, slots: make([]slot, len(d.ups))}
	s.used.Store(d.cfg.Now().UnixNano())
	return s
}

// open keeps a new session of a client and returns its id. authz.ErrUnavailable: there are too many.
func (d *Door) open(s *session) (string, error) {
	id := rand.Text()
	s.label = label(id)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return "", authz.Errorf(authz.ErrUnavailable, "the gateway is stopping")
	}
	if len(d.sessions) >= d.cfg.MaxSessions || d.perCaller[s.key] >= d.cfg.MaxPerCaller {
		return "", authz.Errorf(authz.ErrUnavailable, "there are too many sessions")
	}
	d.sessions[s.label] = s
	d.perCaller[s.key]++
	return id, nil
}

// session returns the session with that id, nil if this caller has none.
func (d *Door) session(id string, who *gateway.Who) *session {
	d.mu.Lock()
	s := d.sessions[label(id)]
	d.mu.Unlock()
	if s == nil || s.key != who.Key {
		return nil
	}
	s.touch(who, d.cfg.Now())
	return s
}

// bridged returns the session of a caller whose own requests have none.
func (d *Door) bridged(who *gateway.Who) (*session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.bridges[who.Key]
	if s == nil {
		if len(d.bridges) >= d.cfg.MaxSessions || d.stopped {
			return nil, authz.Errorf(authz.ErrUnavailable, "there are too many sessions")
		}
		s = d.newSession(who)
		s.bridge, s.version, s.caps, s.info = true, v2025, json.RawMessage("{}"), d.info
		d.bridges[who.Key] = s
	}
	s.touch(who, d.cfg.Now())
	return s, nil
}

func (s *session) touch(who *gateway.Who, now time.Time) {
	s.used.Store(now.UnixNano())
	s.mu.Lock()
	s.who = who
	s.mu.Unlock()
}

// sweep ends sessions that nobody has used for long.
func (d *Door) sweep(ctx context.Context) {
	before := d.cfg.Now().Add(-d.cfg.SessionIdle).UnixNano()
	var old []*session
	d.mu.Lock()
	for _, m := range []map[string]*session{d.sessions, d.bridges} {
		for _, s := range m {
			if s.used.Load() < before && s.busy.Load() == 0 {
				old = append(old, s)
			}
		}
	}
	d.mu.Unlock()
	for _, s := range old {
		d.end(ctx, s)
	}
}

// end ends a session, here and with the servers.
func (d *Door) end(ctx context.Context, s *session) {
	d.mu.Lock()
	if s.bridge {
		if d.bridges[s.key] == s {
			delete(d.bridges, s.key)
		}
	} else if d.sessions[s.label] == s {
		delete(d.sessions, s.label)
		if d.perCaller[s.key]--; d.perCaller[s.key] == 0 {
			delete(d.perCaller, s.key)
		}
	}
	d.mu.Unlock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	flights, st, who := s.flights, s.stream, s.who
	s.flights, s.stream, s.pending = nil, nil, nil
	s.mu.Unlock()
	for _, cancel := range flights {
		cancel(errEnded)
	}
	if st != nil {
		st.cancel(errEnded)
	}
	d.leaveChildren(s)
	for i := range s.slots {
		s.slots[i].mu.Lock()
		l := s.slots[i].leg
		s.slots[i].leg = nil
		s.slots[i].mu.Unlock()
		if l != nil {
			d.spawn(func(stop context.Context) {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
				defer cancel()
				l.bye(ctx, who)
			})
		}
	}
}

// fly notes a request under way, so that it can be cancelled. False: one with that id is under way.
func (s *session) fly(key string, cancel context.CancelCauseFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.flights[key] != nil {
		return false
	}
	if s.flights == nil {
		s.flights = make(map[string]context.CancelCauseFunc)
	}
	s.flights[key] = cancel
	s.busy.Add(1)
	return true
}

func (s *session) land(key string, now time.Time) {
	s.used.Store(now.UnixNano())
	s.busy.Add(-1)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flights, key)
}

// cancel ends a request under way.
func (s *session) cancel(key string) {
	s.mu.Lock()
	cancel := s.flights[key]
	s.mu.Unlock()
	if cancel != nil {
		cancel(errCancelled)
	}
}

// ask keeps a request of a server until the client answers, and returns it with the id that the client gets; nil if the
// client cannot be asked that.
func (s *session) ask(l leg, f *mcp.Frame) *mcp.Frame {
	if !s.can(f.Method) {
		return nil
	}
	id := quote("gw-" + strconv.FormatInt(s.asks.Add(1), 10))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.pending) >= maxAsks {
		return nil
	}
	if s.pending == nil {
		s.pending = make(map[string]ask)
	}
	out := *f
	out.ID = id
	s.pending[out.Key()] = ask{l, f.ID}
	return &out
}

// can reports whether the client said that it can be asked so.
func (s *session) can(method string) bool {
	want := map[string]string{"sampling/createMessage": "sampling", "elicitation/create": "elicitation", "roots/list": "roots"}[method]
	ok := false
	each(s.caps, func(name string, _ json.RawMessage) { ok = ok || name == want && want != "" })
	return ok
}

// answered returns what the client's response answers.
func (s *session) answered(f *mcp.Frame) (ask, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.pending[f.Key()]
	delete(s.pending, f.Key())
	return a, ok
}

// unask drops an ask that cannot be answered any more.
func (s *session) unask(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, key)
}

// A stream is what a client reads between its requests (GET).
type stream struct {
	frames chan *mcp.Frame
	cancel context.CancelCauseFunc
	ctx    context.Context //nolint:containedctx // ends the readers of legs that are made while the stream is open
}

const streamBuffer = 64

// listen makes st the session's stream, in the place of one that was. False: the session is over.
func (s *session) listen(st *stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.stream != nil {
		s.stream.cancel(errReplaced)
	}
	s.stream = st
	s.busy.Add(1)
	return true
}

func (s *session) unlisten(st *stream) {
	s.busy.Add(-1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream == st {
		s.stream = nil
	}
}

// emit puts a message on the session's stream. False: there is none, or it is full.
func (s *session) emit(f *mcp.Frame) bool {
	s.mu.Lock()
	st := s.stream
	s.mu.Unlock()
	if st == nil {
		return false
	}
	select {
	case st.frames <- f:
		return true
	default:
		return false
	}
}

// current returns the stream, nil if there is none.
func (s *session) current() *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream
}

// legacy returns the session's leg to a server, and makes it if there is none.
func (d *Door) legacy(ctx context.Context, s *session, u *upstream, who *gateway.Who) (*legacyLeg, error) {
	slot := &s.slots[u.index]
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if slot.leg != nil {
		return slot.leg, nil
	}
	ctx, stop := context.WithTimeout(ctx, d.cfg.HelloTime)
	defer stop()
	l := &legacyLeg{d: d, u: u}
	f, err := l.hello(ctx, who, s.version, s.caps, s.info)
	if err != nil {
		return nil, err
	}
	f.by = who.Key
	u.learn(s.bridge, f)
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		l.bye(context.WithoutCancel(ctx), who)
		return nil, &fault{"the session has ended", errEnded}
	}
	slot.leg = l
	if st := s.current(); st != nil {
		d.hear(s, st, u, l, who)
	}
	return l, nil
}

// lose drops a leg whose session the server has forgotten.
func (s *session) lose(u *upstream, l *legacyLeg) {
	slot := &s.slots[u.index]
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if slot.leg == l {
		slot.leg = nil
	}
}

// hear reads what a server sends outside of requests, for as long as the stream is open.
func (d *Door) hear(s *session, st *stream, u *upstream, l *legacyLeg, who *gateway.Who) {
	d.spawn(func(stop context.Context) {
		ctx, cancel := context.WithCancel(st.ctx)
		defer cancel()
		defer context.AfterFunc(stop, cancel)()
		l.listen(ctx, who, func(l leg, f *mcp.Frame) *mcp.Frame { return d.outside(s, u, l, f) })
	})
}

// outside passes on what a server sent outside of requests, and returns what it is answered at once.
func (d *Door) outside(s *session, u *upstream, l leg, f *mcp.Frame) *mcp.Frame {
	if f.Notification() {
		s.emit(d.outward(u, f))
		return nil
	}
	if !f.Request() {
		return nil
	}
	if f.Method == "ping" {
		return &mcp.Frame{ID: f.ID, Result: json.RawMessage("{}")}
	}
	out := s.ask(l, f)
	if out == nil {
		return errorFrame(f.ID, codeMethod, "nobody is here to be asked")
	}
	if !s.emit(out) {
		s.unask(out.Key())
		return errorFrame(f.ID, codeMethod, "nobody is here to be asked")
	}
	return nil
}

// outward returns a notification of a server as clients see it.
func (d *Door) outward(u *upstream, f *mcp.Frame) *mcp.Frame {
	if len(d.ups) == 1 || f.Method != "notifications/resources/updated" {
		return f
	}
	out := *f
	out.Params = edit(f.Params, func(v json.RawMessage) json.RawMessage { return quote(d.uriPrefix(u) + unquote(v)) }, "uri")
	return &out
}
