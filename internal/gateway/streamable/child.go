package streamable

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// A child is a process that serves MCP on its standard input and output, for one caller.
type child struct {
	d   *Door
	u   *upstream
	key childKey

	ready chan struct{} // closed once it was started and has introduced itself, or has not
	err   error         // why not
	era   bool          // it is spoken to by 2026-07-28
	facts *facts        // what it said of itself

	cmd   *exec.Cmd
	out   sync.Mutex // of stdin
	stdin io.WriteCloser

	mu       sync.Mutex
	closing  bool
	calls    map[string]*childCall // by the id that the process knows
	next     int64
	sessions map[*session]struct{} // that have used it
	used     time.Time
	over     bool          // it has ended
	gone     chan struct{} // closed when the process has ended
}

type childKey struct {
	caller string // Who.Key
	server int
	modern bool // the era of the client
}

// A childCall is a request that the process has not answered yet.
type childCall struct {
	s      *session
	frames chan *mcp.Frame // what comes before the answer
	answer chan []byte
	id     json.RawMessage // as the client knows it
	token  json.RawMessage // for progress, as the client knows it
}

var errGone = errors.New("the process has ended")

// childLeg is the way of one client to a child.
type childLeg struct {
	c *child
	s *session // nil of a client without session
}

func (l *childLeg) modern() bool { return l.c.era }

// child returns the leg to the caller's process, which is started if it does not run.
func (d *Door) child(ctx context.Context, a *asker, u *upstream) (leg, error) {
	key := childKey{a.who.Key, u.index, a.modern}
	d.mu.Lock()
	c := d.children[key]
	var oldest *child
	switch {
	case c != nil:
	case d.stopped:
		d.mu.Unlock()
		return nil, &fault{"the gateway is stopping", errGone}
	default:
		if len(d.children) >= d.cfg.MaxChildren {
			if oldest = d.idlest(); oldest == nil {
				d.mu.Unlock()
				return nil, &fault{"too many servers run for callers now", errGone}
			}
			delete(d.children, oldest.key)
		}
		c = &child{
			d: d, u: u, key: key, ready: make(chan struct{}), gone: make(chan struct{}),
			calls: make(map[string]*childCall), sessions: make(map[*session]struct{}), used: d.cfg.Now(),
		}
		d.children[key] = c
		hello := hello{version: v2025, caps: json.RawMessage("{}"), info: d.info}
		if a.session != nil {
			hello.version, hello.caps, hello.info = a.session.version, a.session.caps, a.session.info
		}
		d.spawn(func(stop context.Context) { c.run(stop, hello) })
	}
	d.mu.Unlock()
	if oldest != nil {
		oldest.close()
	}
	select {
	case <-c.ready:
	case <-d.stop.Done():
		return nil, &fault{"the gateway is stopping", errGone}
	case <-ctx.Done():
		return nil, &fault{"the request was cancelled", context.Cause(ctx)}
	}
	if c.err != nil {
		return nil, c.err
	}
	if a.session != nil {
		c.mu.Lock()
		c.sessions[a.session] = struct{}{}
		c.mu.Unlock()
	}
	return &childLeg{c, a.session}, nil
}

// idlest returns the child that has been idle for longest. d.mu is held.
func (d *Door) idlest() *child {
	var found *child
	for _, c := range d.children {
		c.mu.Lock()
		idle := len(c.calls) == 0
		used := c.used
		c.mu.Unlock()
		select {
		case <-c.ready:
		default:
			idle = false
		}
		if idle && (found == nil || used.Before(found.used)) {
			found = c
		}
	}
	return found
}

// sweepChildren ends processes that nobody has used for long.
func (d *Door) sweepChildren() {
	before := d.cfg.Now().Add(-d.cfg.ChildIdle)
	var old []*child
	d.mu.Lock()
	for key, c := range d.children {
		c.mu.Lock()
		if len(c.calls) == 0 && c.used.Before(before) {
			old = append(old, c)
			delete(d.children, key)
		}
		c.mu.Unlock()
	}
	d.mu.Unlock()
	for _, c := range old {
		c.close()
	}
}

func (d *Door) endChildren() {
	d.mu.Lock()
	var all []*child
	for _, c := range d.children {
		all = append(all, c)
	}
	clear(d.children)
	d.mu.Unlock()
	for _, c := range all {
		c.close()
	}
	for _, c := range all {
		<-c.gone
	}
}

// leaveChildren forgets a session that has ended.
func (d *Door) leaveChildren(s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.children {
		c.mu.Lock()
		delete(c.sessions, s)
		c.mu.Unlock()
	}
}

type hello struct {
	version    string
	caps, info json.RawMessage
}

// run starts the process, has it introduce itself, and reads what it says until it ends.
func (c *child) run(stop context.Context, h hello) {
	out, err := c.start()
	if err != nil {
		c.err = &fault{fmt.Sprintf("server %q cannot be started", c.u.Name), err}
		c.d.failed(stop, c.u, err)
		c.remove()
		close(c.gone)
		close(c.ready)
		return
	}
	defer context.AfterFunc(stop, c.close)()
	c.d.spawn(func(stop context.Context) {
		ctx, cancel := context.WithTimeout(stop, c.d.cfg.HelloTime)
		defer cancel()
		if c.err = c.hello(ctx, h); c.err != nil {
			c.close()
		}
		c.d.failed(stop, c.u, c.err)
		close(c.ready)
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.cmd.Wait()
		c.mu.Lock()
		c.over = true
		killGroup(c.cmd) // what it left behind
		c.mu.Unlock()
		// What left the group may hold the other end for ever: nobody waits for it.
		_ = out.SetReadDeadline(time.Now().Add(restTime))
	}()
	c.read(out)
	c.kill()
	<-ended
	_ = out.Close()
	c.remove() // before anybody is told: the next call must find room for another
	close(c.gone)
	<-c.ready
	c.d.cfg.Logger.Info("a server's process has ended", "server", c.u.Name, "state", c.cmd.ProcessState.String())
}

// restTime is how long what a process has said is still read after it has ended.
const restTime = 500 * time.Millisecond

// kill ends the process by force, with its group.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		killGroup(c.cmd)
		_ = c.cmd.Process.Kill() // it may have left its own group
	}
}

// remove makes way for another process.
func (c *child) remove() {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	if c.d.children[c.key] == c {
		delete(c.d.children, c.key)
	}
}

func (c *child) start() (*os.File, error) {
	cmd := exec.Command(c.u.Command[0], c.u.Command[1:]...) //nolint:gosec // the operator's command
	cmd.Dir = c.u.Dir
	for _, name := range []string{"PATH", "HOME", "LANG", "TMPDIR", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	for name, value := range c.u.Env {
		if ref, ok := strings.CutPrefix(value, "secret:"); ok {
			if c.d.cfg.Secret == nil {
				return nil, fmt.Errorf("there are no secrets")
			}
			var err error
			if value, err = c.d.cfg.Secret(ref); err != nil {
				return nil, fmt.Errorf("reading a secret: %w", err)
			}
		}
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	ownGroup(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, to, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	cmd.Stdout = to
	err = cmd.Start()
	_ = to.Close()
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	c.mu.Lock()
	c.cmd, c.stdin = cmd, in
	closing := c.closing
	c.mu.Unlock()
	if closing {
		c.kill()
	}
	return out, nil
}

// hello has the process introduce itself. A client's own era comes first, so that as little as possible must be bridged.
func (c *child) hello(ctx context.Context, h hello) error {
	var firstErr error
	for i, modern := range []bool{c.key.modern, !c.key.modern} {
		if c.u.Revision != "" && modern != (c.u.Revision == v2026) {
			continue
		}
		var f *facts
		var err error
		if modern {
			ctx, cancel := ctx, context.CancelFunc(func() {})
			if i == 0 && c.u.Revision == "" { // a server may never answer what it does not know
				ctx, cancel = context.WithTimeout(ctx, c.d.cfg.HelloTime/2)
			}
			f, err = c.discover(ctx)
			cancel()
		} else {
			f, err = c.initialize(ctx, h)
		}
		if err == nil {
			f.by = c.key.caller
			c.mu.Lock() // it may say something before it has answered
			c.era, c.facts = modern, f
			c.mu.Unlock()
			c.u.learn(c.key.modern, f)
			return nil
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	return firstErr
}

func (c *child) discover(ctx context.Context) (*facts, error) {
	got, err := c.ask(ctx, &mcp.Frame{Method: "server/discover", Params: c.d.modernParams(nil)})
	if err != nil {
		return nil, err
	}
	if got.Error != nil {
		return nil, &fault{fmt.Sprintf("server %q does not speak %s", c.u.Name, v2026), errOtherEra}
	}
	return discovered(c.u, got, c.d.cfg.Now())
}

func (c *child) initialize(ctx context.Context, h hello) (*facts, error) {
	got, err := c.ask(ctx, &mcp.Frame{Method: "initialize", Params: helloParams(h.version, h.caps, h.info)})
	if err != nil {
		return nil, err
	}
	f, err := greeted(c.u, got, c.d.cfg.Now())
	if err != nil {
		return nil, err
	}
	return f, c.write(&mcp.Frame{Method: "notifications/initialized"})
}

// ask sends a request of the gateway's own.
func (c *child) ask(ctx context.Context, f *mcp.Frame) (*mcp.Frame, error) {
	call, id := c.register(&childCall{})
	defer c.forget(id)
	f.ID = id
	if err := c.write(f); err != nil {
		return nil, c.ended()
	}
	select {
	case line := <-call.answer:
		return mcp.ParseFrame(line, len(line))
	case <-c.gone:
		return nil, c.ended()
	case <-ctx.Done():
		return nil, &fault{fmt.Sprintf("server %q does not introduce itself", c.u.Name), ctx.Err()}
	}
}

func (c *child) ended() error {
	return &fault{fmt.Sprintf("the process of server %q has ended; the next call starts another", c.u.Name), errGone}
}

func (c *child) register(call *childCall) (*childCall, json.RawMessage) {
	call.answer, call.frames = make(chan []byte, 1), make(chan *mcp.Frame, streamBuffer)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	id := json.RawMessage(strconv.FormatInt(c.next, 10))
	c.calls[string(id)] = call
	c.used = c.d.cfg.Now()
	return call, id
}

func (c *child) forget(id json.RawMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, string(id))
	c.used = c.d.cfg.Now()
}

func (c *child) write(f *mcp.Frame) error {
	b := append(f.Append(nil), '\n')
	c.out.Lock()
	defer c.out.Unlock()
	if t, ok := c.stdin.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = t.SetWriteDeadline(time.Now().Add(writeTime))
	}
	_, err := c.stdin.Write(b)
	if err != nil { // half a line may have been written
		_ = c.stdin.Close()
	}
	return err
}

// writeTime is how long a process may leave its input unread.
const writeTime = 10 * time.Second

// close ends the process: by the end of its input, and after two seconds by force.
func (c *child) close() {
	c.mu.Lock()
	c.closing = true
	started := c.cmd != nil
	c.mu.Unlock()
	if !started {
		return
	}
	_ = c.stdin.Close()
	c.d.spawn(func(stop context.Context) {
		timer := time.NewTimer(2 * time.Second)
		defer timer.Stop()
		select {
		case <-c.gone:
			return
		case <-timer.C:
		case <-stop.Done():
		}
		c.kill()
	})
}

// read reads lines until the process ends, or says something that is no message.
func (c *child) read(out io.Reader) {
	r := bufio.NewReaderSize(out, 64<<10)
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > c.d.cfg.MaxResult {
			c.d.cfg.Logger.Warn("a server's message was refused", "server", c.u.Name, "error", errLarge)
			return
		}
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if text := bytes.TrimSpace(line); len(text) > 0 {
			f, err := mcp.ParseFrame(text, len(text))
			if err != nil { // servers print what they should not; it is no message, and goes nowhere
				c.d.cfg.Logger.Warn("a server's message was refused", "server", c.u.Name, "error", err)
			} else if !f.Response() && len(text) > c.d.cfg.MaxMessage {
				c.d.cfg.Logger.Warn("a server's message was refused", "server", c.u.Name, "error", errLarge)
				if f.Request() {
					_ = c.write(errorFrame(f.ID, codeRequest, "the message is too large"))
				}
			} else {
				c.dispatch(f, text)
			}
			line = nil
		}
		if err != nil {
			return
		}
	}
}

func (c *child) dispatch(f *mcp.Frame, text []byte) {
	c.d.overhear(c.u, f)
	if f.Response() {
		c.mu.Lock()
		call := c.calls[string(f.ID)]
		c.mu.Unlock()
		if call != nil {
			select {
			case call.answer <- text:
			default: // a second answer
			}
		}
		return
	}
	if f.Method == "ping" && f.Request() {
		_ = c.write(&mcp.Frame{ID: f.ID, Result: json.RawMessage("{}")})
		return
	}
	call, f := c.about(f)
	if call != nil {
		select {
		case call.frames <- f:
			return
		default:
		}
	} else {
		c.mu.Lock()
		modern := c.era
		var all []*session
		for s := range c.sessions {
			all = append(all, s)
		}
		c.mu.Unlock()
		if f.Notification() {
			for _, s := range all {
				s.emit(c.d.outward(c.u, f))
			}
			return
		}
		if len(all) == 1 && !modern {
			if out := all[0].ask(&childLeg{c, all[0]}, f); out != nil {
				if all[0].emit(out) {
					return
				}
				all[0].unask(out.Key())
			}
		}
	}
	if f.Request() {
		_ = c.write(errorFrame(f.ID, codeMethod, "nobody is here to be asked"))
	}
}

// about returns the call to which a message of the process belongs, and the message as that call's client knows it; nil if
// it belongs to none.
func (c *child) about(f *mcp.Frame) (*childCall, *mcp.Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var call *childCall
	out := *f
	switch {
	case f.Method == "notifications/progress":
		out.Params = edit(f.Params, func(token json.RawMessage) json.RawMessage {
			if call = c.calls[string(token)]; call == nil || call.token == nil {
				call = nil
				return token
			}
			return call.token
		}, "progressToken")
		return call, &out
	case c.era:
		out.Params = edit(f.Params, func(id json.RawMessage) json.RawMessage {
			if call = c.calls[string(id)]; call == nil {
				return id
			}
			return call.id
		}, "_meta", metaListen)
		if call != nil {
			return call, &out
		}
	}
	if len(c.calls) == 1 { // whatever it says, it says because of the only call
		for _, only := range c.calls {
			if only.s != nil && only.s.current() != nil && f.Notification() {
				return nil, f
			}
			if only.id != nil {
				return only, f
			}
		}
	}
	return nil, f
}

func (l *childLeg) call(ctx context.Context, c *call) error {
	made := &childCall{s: l.s, id: c.frame.ID}
	f := *c.frame
	call, id := l.c.register(made)
	defer l.c.forget(id)
	f.Params = edit(f.Params, func(token json.RawMessage) json.RawMessage {
		l.c.mu.Lock()
		made.token = token
		l.c.mu.Unlock()
		return id
	}, "_meta", "progressToken")
	f.ID = id
	c.scan.want = id
	if err := l.c.write(&f); err != nil {
		return l.c.ended()
	}
	for {
		select {
		case f := <-call.frames:
			if err := l.before(ctx, c, f); err != nil {
				return err
			}
		case line := <-call.answer:
			for len(call.frames) > 0 {
				if err := l.before(ctx, c, <-call.frames); err != nil {
					return err
				}
			}
			if _, err := c.scan.Write(line); err != nil {
				return l.c.d.badMessage(ctx, l.c.u, err)
			}
			if err := c.scan.end(); err != nil {
				return l.c.d.badMessage(ctx, l.c.u, err)
			}
			return nil
		case <-l.c.gone:
			return l.c.ended()
		case <-ctx.Done():
			params := append([]byte(`{"requestId":`), id...)
			_ = l.c.write(&mcp.Frame{Method: "notifications/cancelled", Params: append(params, '}')})
			return &fault{"the request was cancelled", context.Cause(ctx)}
		}
	}
}

// before passes on what the process says before the answer.
func (l *childLeg) before(ctx context.Context, c *call, f *mcp.Frame) error {
	if !f.Request() {
		return c.scan.frame(f)
	}
	answer := errorFrame(f.ID, codeMethod, "nobody is here to be asked")
	if c.asked != nil && !l.c.era {
		answer = c.asked(l, f)
	}
	if answer != nil {
		return l.tell(ctx, c.who, answer)
	}
	return nil
}

func (l *childLeg) tell(_ context.Context, _ *gateway.Who, f *mcp.Frame) error {
	if err := l.c.write(f); err != nil {
		return l.c.ended()
	}
	return nil
}
