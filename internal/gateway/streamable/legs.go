package streamable

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// A leg is a way to a server.
type leg interface {
	// call sends a request, and gives what comes back to the call's scanner, until it has the answer. Errors of
	// the server that arrive as a message go there too. If ctx ends first, the server is told.
	call(ctx context.Context, c *call) error
	// tell sends a notification or a response.
	tell(ctx context.Context, who *gateway.Who, f *mcp.Frame) error
	// modern reports whether the server is spoken to by 2026-07-28.
	modern() bool
}

// A call is a request on its way to one server.
type call struct {
	who    *gateway.Who
	frame  *mcp.Frame // as the server gets it, but for the id
	method string
	header http.Header // what goes on of the agent's
	scan   *scanner
	// asked answers a request that the server makes on the way: nil if it goes to the client, who answers later.
	asked func(leg, *mcp.Frame) *mcp.Frame
	open  func() error // the answer will be a stream; may be nil
	most  int          // bytes of the answer, if it is held; 0: Config.MaxResult
}

func newBody(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }

// whole makes a call and returns its answer, which is held.
func (d *Door) whole(ctx context.Context, l leg, c *call) (*mcp.Frame, error) {
	buf := bounded{max: d.cfg.MaxResult, all: &d.held}
	if c.most > 0 {
		buf.max = c.most
	}
	defer buf.release()
	var got *mcp.Frame
	c.scan = &scanner{as: c.frame.ID, max: d.cfg.MaxMessage, out: &buf, begin: func() error { return nil }}
	c.scan.frame = func(f *mcp.Frame) error {
		if f.Response() {
			got = f
		}
		return nil
	}
	if err := l.call(ctx, c); err != nil {
		return nil, err
	}
	if got != nil {
		return got, nil
	}
	f, err := mcp.ParseFrame(buf.b, len(buf.b))
	if err != nil {
		return nil, &fault{"the server's answer is refused: it is not strict JSON", err}
	}
	return f, nil
}

// bounded is a buffer.
type bounded struct {
	b   []byte
	max int
	all *held // that it is part of; may be nil
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.b)+len(p) > b.max {
		return 0, errLarge
	}
	if b.all != nil && !b.all.take(len(p)) {
		return 0, errHeld
	}
	b.b = append(b.b, p...)
	return len(p), nil
}

// release gives back what the buffer takes of all that is held, once nobody needs it any more.
func (b *bounded) release() {
	if b.all != nil {
		b.all.give(len(b.b))
	}
	b.b = nil
}

// held counts the bytes of results that are held for all requests together.
type held struct {
	n   atomic.Int64
	max int64
}

var errHeld = errors.New("the gateway holds as much as it may for all requests together: try again later")

func (h *held) take(n int) bool {
	if h.n.Add(int64(n)) > h.max {
		h.n.Add(-int64(n))
		return false
	}
	return true
}

func (h *held) give(n int) { h.n.Add(-int64(n)) }

// modernLeg speaks 2026-07-28 over HTTP: nothing is kept between requests.
type modernLeg struct {
	d *Door
	u *upstream
}

func (l *modernLeg) modern() bool { return true }

func (l *modernLeg) tell(context.Context, *gateway.Who, *mcp.Frame) error { return nil }

func (l *modernLeg) call(ctx context.Context, c *call) error {
	h := http.Header{"Accept": {"application/json, text/event-stream"}}
	for n, v := range c.header {
		h[n] = v
	}
	h.Set(headerVersion, v2026)
	h.Set(headerMethod, c.frame.Method)
	switch c.frame.Method {
	case "tools/call", "prompts/get":
		h.Set(headerName, encodeHeader(textIn(c.frame.Params, "name")))
	case "resources/read":
		h.Set(headerName, encodeHeader(textIn(c.frame.Params, "uri")))
	}
	c.scan.want = c.frame.ID
	resp, err := l.d.send(ctx, l.u, c.who, http.MethodPost, h, c.frame.Append(nil))
	if err != nil {
		return err
	}
	if _, _, err = l.d.read(ctx, l.u, l, c, resp); err == nil && !c.scan.answered {
		return &fault{fmt.Sprintf("server %q ended its stream without an answer", l.u.Name), io.ErrUnexpectedEOF}
	}
	return err
}

// read gives the body of an answer to the call's scanner. It returns the last event's id and when to ask again, for a
// stream that ended before the answer.
func (d *Door) read(ctx context.Context, u *upstream, l leg, c *call, resp *http.Response) (last string, retry time.Duration, err error) {
	if resp.StatusCode != http.StatusOK {
		f, err := d.unexpected(u, resp)
		if err != nil {
			return "", 0, err
		}
		if resp.StatusCode == http.StatusNotFound && f.Error.Code != codeMethod {
			return "", 0, &fault{fmt.Sprintf("server %q answered with status 404", u.Name), errLost}
		}
		f.ID, c.scan.answered = c.scan.as, true
		return "", 0, c.scan.frame(f)
	}
	defer resp.Body.Close()
	kind, _, _ := mediaType(resp.Header.Get("Content-Type"))
	hear := c.scan.frame
	c.scan.frame = func(f *mcp.Frame) error {
		d.overhear(u, f)
		switch {
		case !f.Request():
			return hear(f)
		case l.modern(): // 2026-07-28, Streamable HTTP, receiving messages: none are sent
			return errMessage
		case c.asked == nil:
			return d.answerLater(ctx, u, l, c.who, errorFrame(f.ID, codeMethod, "nobody is here to be asked"))
		}
		if answer := c.asked(l, f); answer != nil {
			return d.answerLater(ctx, u, l, c.who, answer)
		}
		return nil
	}
	defer func() { c.scan.frame = hear }()
	var to io.Writer
	var events *eventReader
	switch kind {
	case "application/json":
		to = c.scan
	case "text/event-stream":
		events = &eventReader{msg: c.scan}
		to = events
		if c.open != nil {
			if err := c.open(); err != nil {
				return "", 0, err
			}
		}
	default:
		return "", 0, &fault{fmt.Sprintf("server %q answered with a type of content that MCP does not have", u.Name), errOtherEra}
	}
	buf := make([]byte, 1<<10) // streams may be silent for long
	for {
		n, err := resp.Body.Read(buf)
		if n == 1<<10 && len(buf) == n {
			big, _ := buffers.Get().(*[]byte)
			defer buffers.Put(big)
			copy(*big, buf)
			buf = *big
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return "", 0, d.badMessage(ctx, u, err)
			}
			if events != nil && c.scan.answered {
				return "", 0, nil
			}
		}
		if err == nil {
			continue
		}
		if events != nil {
			if ctx.Err() != nil {
				return "", 0, &fault{"the request was cancelled", context.Cause(ctx)}
			}
			return events.lastID, events.retry, nil
		}
		if err != io.EOF {
			return "", 0, &fault{fmt.Sprintf("server %q broke off its answer", u.Name), err}
		}
		if err := c.scan.end(); err != nil {
			return "", 0, d.badMessage(ctx, u, err)
		}
		return "", 0, nil
	}
}

func (d *Door) badMessage(ctx context.Context, u *upstream, err error) error {
	for _, e := range []error{errGrammar, errMessage, errID, errLarge, errEvent, errFlood, errHeld} {
		if errors.Is(err, e) {
			d.cfg.Logger.WarnContext(ctx, "a server's message was refused", "server", u.Name, "error", err)
			return &fault{fmt.Sprintf("the answer of server %q was refused: %v", u.Name, err), err}
		}
	}
	return err
}

// legacyLeg is a session with a server that speaks a revision before 2026-07-28.
type legacyLeg struct {
	d       *Door
	u       *upstream
	id      string // of the session, as the server gave it; may be ""
	version string
	calls   atomic.Int64
	answers atomic.Int64 // to the server's own requests, under way
}

func (l *legacyLeg) modern() bool { return false }

func (l *legacyLeg) header(c *call) http.Header {
	h := http.Header{"Accept": {"application/json, text/event-stream"}}
	if c != nil {
		for n, v := range c.header {
			h[n] = v
		}
	}
	if l.version != "" {
		h.Set(headerVersion, l.version)
	}
	if l.id != "" {
		h.Set(headerSession, l.id)
	}
	return h
}

func (l *legacyLeg) call(ctx context.Context, c *call) error {
	f := *c.frame
	f.ID = json.RawMessage(strconv.FormatInt(l.calls.Add(1), 10))
	c.scan.want = f.ID
	resp, err := l.d.send(ctx, l.u, c.who, http.MethodPost, l.header(c), f.Append(nil))
	if err != nil {
		if ctx.Err() != nil {
			l.cancel(ctx, c.who, f.ID)
		}
		return err
	}
	if c.method == "initialize" {
		if l.id, _ = one(resp.Header, headerSession); !clean(l.id) {
			drain(resp.Body)
			return &fault{fmt.Sprintf("server %q gave a session id that cannot be sent back", l.u.Name), errMessage}
		}
	}
	last, retry, err := l.d.read(ctx, l.u, l, c, resp)
	for tries := 0; err == nil && !c.scan.answered; tries++ {
		if last == "" || tries == maxResume {
			err = &fault{fmt.Sprintf("server %q ended its stream without an answer", l.u.Name), io.ErrUnexpectedEOF}
			break
		}
		last, retry, err = l.resume(ctx, c, last, retry)
	}
	if ctx.Err() != nil && !c.scan.answered {
		l.cancel(ctx, c.who, f.ID)
	}
	return err
}

const maxResume = 100

// resume goes on with a stream that the server closed before the answer (2025-11-25, resumability and redelivery).
func (l *legacyLeg) resume(ctx context.Context, c *call, last string, retry time.Duration) (string, time.Duration, error) {
	if c.scan.result || !clean(last) {
		return "", 0, &fault{fmt.Sprintf("server %q broke off its answer", l.u.Name), io.ErrUnexpectedEOF}
	}
	c.scan.reset()
	if retry == 0 {
		retry = time.Second
	}
	timer := time.NewTimer(min(retry, 30*time.Second))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return "", 0, &fault{"the request was cancelled", context.Cause(ctx)}
	}
	h := l.header(c)
	h.Set("Accept", "text/event-stream")
	h.Set("Last-Event-ID", last)
	resp, err := l.d.send(ctx, l.u, c.who, http.MethodGet, h, nil)
	if err != nil {
		return "", 0, err
	}
	id, again, err := l.d.read(ctx, l.u, l, c, resp)
	if id == "" {
		id = last
	}
	if again == 0 {
		again = retry
	}
	return id, again, err
}

// cancel tells the server that nobody waits any more.
func (l *legacyLeg) cancel(ctx context.Context, who *gateway.Who, id json.RawMessage) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	params := append([]byte(`{"requestId":`), id...)
	_ = l.tell(ctx, who, &mcp.Frame{Method: "notifications/cancelled", Params: append(params, '}')})
}

func (l *legacyLeg) tell(ctx context.Context, who *gateway.Who, f *mcp.Frame) error {
	resp, err := l.d.send(ctx, l.u, who, http.MethodPost, l.header(nil), f.Append(nil))
	if err != nil {
		return err
	}
	drain(resp.Body)
	if resp.StatusCode >= 300 {
		return &fault{fmt.Sprintf("server %q answered with status %d", l.u.Name, resp.StatusCode), errLost}
	}
	return nil
}

// hello begins the session.
func (l *legacyLeg) hello(ctx context.Context, who *gateway.Who, version string, caps, info json.RawMessage) (*facts, error) {
	f := &mcp.Frame{ID: json.RawMessage("0"), Method: "initialize", Params: helloParams(version, caps, info)}
	got, err := l.d.whole(ctx, l, &call{who: who, frame: f, method: f.Method})
	if err != nil {
		return nil, err
	}
	out, err := greeted(l.u, got, l.d.cfg.Now())
	if err != nil {
		return nil, err
	}
	l.version = out.version
	if err := l.tell(ctx, who, &mcp.Frame{Method: "notifications/initialized"}); err != nil {
		return nil, err
	}
	return out, nil
}

func helloParams(version string, caps, info json.RawMessage) json.RawMessage {
	p := set(nil, "clientInfo", info)
	p = set(p, "capabilities", caps)
	return set(p, "protocolVersion", quote(version))
}

// greeted reads the answer to initialize.
func greeted(u *upstream, got *mcp.Frame, now time.Time) (*facts, error) {
	if got.Error != nil {
		return nil, &fault{fmt.Sprintf("server %q refused to initialize", u.Name), errOtherEra}
	}
	out := &facts{at: now}
	each(got.Result, func(name string, v json.RawMessage) {
		switch name {
		case "protocolVersion":
			out.version = unquote(v)
		case "capabilities":
			out.capabilities = v
		case "serverInfo":
			out.info = v
		case "instructions":
			out.instructions = unquote(v)
		}
	})
	if !slices.Contains(legacy, out.version) {
		return nil, &fault{fmt.Sprintf("server %q wants a revision of the protocol that the gateway does not speak", u.Name), errOtherEra}
	}
	return out, nil
}

// bye ends the session.
func (l *legacyLeg) bye(ctx context.Context, who *gateway.Who) {
	if l.id == "" {
		return
	}
	ctx, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	if resp, err := l.d.send(ctx, l.u, who, http.MethodDelete, l.header(nil), nil); err == nil {
		drain(resp.Body)
	}
}

// listen reads what the server sends outside of any request, until ctx ends or the server does not offer it. What hear returns is
// sent to the server.
func (l *legacyLeg) listen(ctx context.Context, who *gateway.Who, hear func(leg, *mcp.Frame) *mcp.Frame) {
	last, retry := "", time.Second
	for ctx.Err() == nil {
		h := l.header(nil)
		h.Set("Accept", "text/event-stream")
		if last != "" {
			h.Set("Last-Event-ID", last)
		}
		resp, err := l.d.send(ctx, l.u, who, http.MethodGet, h, nil)
		if err == nil {
			if resp.StatusCode != http.StatusOK {
				drain(resp.Body)
				return
			}
			c := &call{who: who, scan: &scanner{max: l.d.cfg.MaxMessage}}
			c.scan.frame = func(f *mcp.Frame) error { hear(l, f); return nil }
			c.asked = hear
			id, again, err := l.d.read(ctx, l.u, l, c, resp)
			if err != nil {
				return
			}
			if id != "" && clean(id) {
				last = id
			}
			if again > 0 {
				retry = min(again, 30*time.Second)
			}
		}
		timer := time.NewTimer(retry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// How many answers to a server's own requests are under way at once: of one session with it, and of all.
const (
	maxAnswers    = 8
	maxAllAnswers = 256
)

var errFlood = errors.New("the server sends requests faster than it takes answers")

// answerLater sends the answer to a server's own request beside what is being read: the server may wait for it before it
// sends more. errFlood: too many are under way.
func (d *Door) answerLater(ctx context.Context, u *upstream, l leg, who *gateway.Who, f *mcp.Frame) error {
	old, ok := l.(*legacyLeg)
	if !ok {
		return errMessage
	}
	done := func() { old.answers.Add(-1); u.answers.Add(-1) }
	if n, all := old.answers.Add(1), u.answers.Add(1); n > maxAnswers || all > maxAllAnswers {
		done()
		return errFlood
	}
	d.spawn(func(stop context.Context) {
		defer done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		defer context.AfterFunc(stop, cancel)()
		_ = l.tell(ctx, who, f)
	})
	return nil
}
