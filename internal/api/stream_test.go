package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/live"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

// fixedSignals sends each subscriber what send is given. Like a monitor, it cuts off who is four behind.
type fixedSignals struct {
	mu   sync.Mutex
	subs map[chan monitor.Signal]bool
}

func (f *fixedSignals) Seq() int64 { return 41 }

func (f *fixedSignals) Subscribe(ctx context.Context) <-chan monitor.Signal {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := make(chan monitor.Signal, 4)
	if f.subs == nil {
		f.subs = map[chan monitor.Signal]bool{}
	}
	f.subs[c] = true
	context.AfterFunc(ctx, func() { f.cut(c) })
	return c
}

func (f *fixedSignals) cut(c chan monitor.Signal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.subs[c] {
		delete(f.subs, c)
		close(c)
	}
}

func (f *fixedSignals) send(s monitor.Signal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.subs {
		select {
		case c <- s:
		default:
			delete(f.subs, c)
			close(c)
		}
	}
}

func (f *fixedSignals) subscribers() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.subs)
}

// revocable is an Authenticator whose tokens are good until they are revoked.
type revocable struct {
	tokens
	revoked atomic.Bool
}

func (r *revocable) Authenticate(token string) (*caller.Caller, error) {
	if r.revoked.Load() {
		return nil, authz.Errorf(authz.ErrUnauthenticated, "the bearer token is unknown or revoked")
	}
	return r.tokens.Authenticate(token)
}

// A streaming is a service whose connections are pipes, with the deadlines of the real one: in a bubble
// of synctest its hours pass at once.
type streaming struct {
	*testing.T
	signals  *fixedSignals
	callers  *revocable
	stopping chan struct{}
	server   *http.Server
	pipes    pipes
	door     *api.Server
	conn     net.Conn // our end of the newest connection
}

func serveStreams(t *testing.T, change ...func(*api.Config)) *streaming {
	t.Helper()
	s := &streaming{T: t, signals: &fixedSignals{}, callers: &revocable{}, stopping: make(chan struct{}), pipes: pipes{make(chan net.Conn), make(chan struct{})}}
	openDoor(t, append(change, func(c *api.Config) {
		c.Signals, c.Callers, c.Stopping = s.signals, s.callers, s.stopping
		var err error
		if s.door, err = api.New(*c); err != nil {
			t.Fatal(err)
		}
	})...)
	h, err := s.door.Handler()
	if err != nil {
		t.Fatal(err)
	}
	s.server = &http.Server{Handler: h, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second, IdleTimeout: 2 * time.Minute,
		Protocols: new(http.Protocols)}
	s.server.Protocols.SetHTTP1(true)
	s.server.Protocols.SetUnencryptedHTTP2(true)
	s.server.RegisterOnShutdown(func() { close(s.stopping) })
	go s.server.Serve(&s.pipes)
	t.Cleanup(func() { s.server.Close() })
	return s
}

// get asks for a path and returns the answer, whose body ends when the test does.
func (s *streaming) get(path, token string) *http.Response {
	s.Helper()
	return s.ask("GET", path, token)
}

func (s *streaming) ask(method, path, token string) *http.Response {
	s.Helper()
	ours, theirs := net.Pipe()
	s.pipes.conns <- theirs
	s.conn = ours
	s.Cleanup(func() { ours.Close() })
	req, err := http.NewRequest(method, "http://pdp.example.com"+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if err := req.Write(ours); err != nil {
		s.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(ours), req)
	if err != nil {
		s.Fatal(err)
	}
	return r
}

// follow asks for a stream and returns a function that reads its next block of lines, "" at the end.
func (s *streaming) follow(query, token string) func() string {
	s.Helper()
	r := s.get("/v1/stream"+query, token)
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/event-stream" || r.Header.Get("Cache-Control") != "no-store" {
		s.Fatalf("GET /v1/stream%s = %d, %v", query, r.StatusCode, r.Header)
	}
	return blocks(s.T, r.Body)
}

// blocks returns a function that reads the next block of lines, "" at the end.
func blocks(t *testing.T, body io.Reader) func() string {
	lines := bufio.NewReader(body)
	return func() (block string) {
		t.Helper()
		for !strings.HasSuffix(block, "\n\n") && block != "\n" {
			line, err := lines.ReadString('\n')
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatal(err)
				}
				return block
			}
			block += line
		}
		return block
	}
}

// pipes is a net.Listener.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

const started = "retry: 3000\nid: 41\nevent: start\ndata: {\"seq\":41}\n\n"

var (
	found   = monitor.Signal{Seq: 50, Type: "finding", At: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), Agent: "bot", Finding: &conduct.Finding{ID: "f50.0", Sentence: "two\nlines"}}
	lowered = monitor.Signal{Seq: 50, Type: "trust", Agent: "bot", Class: "money", From: "high", To: "low"}
	other   = monitor.Signal{Seq: 51, Type: "trust", Agent: "cat", Class: "read", From: "low", To: "medium"}
)

const (
	loweredEvent = "id: 50\nevent: trust\ndata: {\"seq\":50,\"type\":\"trust\",\"at\":\"0001-01-01T00:00:00Z\",\"agent\":\"bot\",\"class\":\"money\",\"from\":\"high\",\"to\":\"low\"}\n\n"
	otherEvent   = "id: 51\nevent: trust\ndata: {\"seq\":51,\"type\":\"trust\",\"at\":\"0001-01-01T00:00:00Z\",\"agent\":\"cat\",\"class\":\"read\",\"from\":\"low\",\"to\":\"medium\"}\n\n"
)

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveStreams(t)
		for query, want := range map[string][]string{
			"":                      {loweredEvent, otherEvent},
			"?agent=bot":            {loweredEvent},
			"?type=trust":           {loweredEvent, otherEvent},
			"?agent=cat&type=trust": {otherEvent},
			"?type=quarantine":      nil,
		} {
			next := s.follow(query, "audit-token")
			if got := next(); got != started {
				t.Errorf("%s: a stream begins with %q, want %q", query, got, started)
			}
			for _, sig := range []monitor.Signal{found, lowered, other} {
				s.signals.send(sig)
				synctest.Wait()
			}
			if query == "" || query == "?agent=bot" {
				got := next()
				if !strings.HasPrefix(got, "id: 50\nevent: finding\ndata: {") || !strings.Contains(got, `"sentence":"two\nlines"`) || strings.Count(got, "\n") != 4 {
					t.Errorf("%s: got %q, want a finding in one line", query, got)
				}
			}
			for _, w := range want {
				if diff := cmp.Diff(w, next()); diff != "" {
					t.Errorf("%s (-want +got):\n%s", query, diff)
				}
			}
			// Nothing else comes but heartbeats, however long: no deadline of the server ends a stream.
			for range 100 {
				before := time.Now()
				if got := next(); got != ":\n\n" {
					t.Fatalf("%s: got %q, want a heartbeat", query, got)
				}
				if d := time.Since(before); d > 15*time.Second {
					t.Errorf("%s: a heartbeat after %s, want 15 s at most", query, d)
				}
			}
		}
	})
}

func TestStreamRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveStreams(t, func(c *api.Config) { c.Limits.Streams = 2 })
		for _, tt := range []struct {
			query, token string
			status       int
		}{
			{"", "nobody", 401},
			{"", "pep-token", 403},
			{"?type=love", "audit-token", 400},
			{"?since=4", "audit-token", 400},
			{"", "admin-token", 200},
			{"", "audit-token", 200},
			{"", "audit-token", 503},
		} {
			if r := s.get("/v1/stream"+tt.query, tt.token); r.StatusCode != tt.status {
				t.Errorf("GET /v1/stream%s by %s = %d, want %d", tt.query, tt.token, r.StatusCode, tt.status)
			}
		}
		if got := s.door.Streams(); got != 2 {
			t.Errorf("%d streams are open, want 2", got)
		}
	})
}

// Who asks HEAD is told what a stream is, and gets none.
func TestStreamHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveStreams(t)
		r := s.ask("HEAD", "/v1/stream", "audit-token")
		synctest.Wait()
		if r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/event-stream" || s.door.Streams() != 0 {
			t.Errorf("HEAD /v1/stream = %d, %v, and %d streams are open; want 200 and none", r.StatusCode, r.Header, s.door.Streams())
		}
	})
}

// A stream ends when the service stops, within what Shutdown waits.
func TestStreamEndsAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveStreams(t)
		next := s.follow("", "admin-token")
		next()
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		ended := make(chan error)
		go func() { ended <- s.server.Shutdown(ctx) }()
		if got := next(); got != "" {
			t.Errorf("got %q, want the end", got)
		}
		if err := <-ended; err != nil || s.signals.subscribers() != 0 {
			t.Errorf("Shutdown = %v with %d subscribers, want nil, 0", err, s.signals.subscribers())
		}
	})
}

// A token that is revoked ends its streams, before the next signal or within a heartbeat.
func TestStreamEndsWithTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveStreams(t)
		next, idle := s.follow("", "admin-token"), s.follow("?agent=nobody", "admin-token")
		next()
		idle()
		synctest.Wait()
		s.callers.revoked.Store(true)
		s.signals.send(lowered)
		if got := next(); got != "" {
			t.Errorf("got %q after the token was revoked, want the end", got)
		}
		if got := idle(); got != "" {
			t.Errorf("got %q after the token was revoked, want the end", got)
		}
	})
}

// Who does not read is cut off, and takes no place any more; so is who has gone.
func TestStreamEndsForTheSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveStreams(t)
		next := s.follow("", "admin-token")
		next()
		start := time.Now()
		s.signals.send(lowered) // and nobody reads it
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if s.signals.subscribers() != 0 || s.door.Streams() != 0 {
			t.Errorf("after %s unread there are %d subscribers and %d streams, want none", time.Since(start), s.signals.subscribers(), s.door.Streams())
		}

		next = s.follow("", "admin-token")
		next()
		synctest.Wait()
		for range 6 { // one is being written, four are waiting, the sixth is too many
			s.signals.send(lowered)
			synctest.Wait()
		}
		got := 0
		for next() == loweredEvent {
			got++
		}
		if got != 5 || s.signals.subscribers() != 0 {
			t.Errorf("%d events came before a reader that fell behind was cut off, want 5; subscribers %d", got, s.signals.subscribers())
		}

		next = s.follow("", "admin-token")
		next()
		s.conn.Close()
		synctest.Wait()
		if s.signals.subscribers() != 0 || s.door.Streams() != 0 {
			t.Errorf("when the reader is gone there are %d subscribers and %d streams, want none", s.signals.subscribers(), s.door.Streams())
		}
	})
}

// Over HTTP/2 a deadline is the stream's own and would end it: it must be taken away again.
func TestStreamHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveStreams(t)
		only := new(http.Protocols)
		only.SetUnencryptedHTTP2(true)
		tr := &http.Transport{Protocols: only, DialContext: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			s.pipes.conns <- theirs
			return ours, nil
		}}
		defer tr.CloseIdleConnections()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", "http://pdp.example.com/v1/stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer audit-token")
		r, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if r.ProtoMajor != 2 || r.StatusCode != 200 {
			t.Fatalf("%s %d, want HTTP/2 and 200", r.Proto, r.StatusCode)
		}
		next := blocks(t, r.Body)
		next()
		for range 20 {
			if got := next(); got != ":\n\n" {
				t.Fatalf("got %q, want a heartbeat", got)
			}
		}
		s.signals.send(lowered)
		if diff := cmp.Diff(loweredEvent, next()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// A reader that names types follows what happens, is told a part of it if it wants, and comes back where it was.
func TestStreamOfEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := live.NewHub(live.Config{}, 7)
		var log pastEntries
		s := serveStreams(t, func(c *api.Config) { c.Live, c.Index = hub, &log })
		happen := func(agent, effect string) {
			body := fmt.Sprintf(`{"request":{"subject":{"type":"agent","id":%q},"action":{"name":"pay"},"resource":{"type":"invoice","id":"1"}},"decision":{"effect":%q,"code":"c"}}`, agent, effect)
			e := audit.Entry{Seq: hub.Seq() + 1, At: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), Kind: audit.DecisionMade, Body: []byte(body)}
			log = append(log, e)
			hub.Watch(e, nil)
		}
		event := func(seq int, agent, effect string) string {
			return fmt.Sprintf("id: %[1]d\nevent: decision\ndata: {\"id\":\"d%[1]d\",\"seq\":%[1]d,\"at\":\"2026-11-24T12:00:00Z\",\"agent\":%[2]q,\"action\":\"pay\",\"resource\":{\"type\":\"invoice\",\"id\":\"1\"},\"effect\":%[3]q,\"code\":\"c\"}\n\n", seq, agent, effect)
		}
		want := func(next func() string, blocks ...string) {
			t.Helper()
			for _, w := range blocks {
				if diff := cmp.Diff(w, next()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		}
		all, bot, refused := s.follow("?types=all", "audit-token"), s.follow("?types=decision,alert&agent=bot", "audit-token"), s.follow("?types=decision&effects=deny,step_up", "audit-token")
		for _, next := range []func() string{all, bot, refused} {
			want(next, "retry: 3000\nid: 7\nevent: start\ndata: {\"seq\":7}\n\n")
		}
		happen("bot", "allow")
		happen("cat", "deny")
		want(all, event(8, "bot", "allow"), event(9, "cat", "deny"))
		want(bot, event(8, "bot", "allow"))
		want(refused, event(9, "cat", "deny"))
		want(bot, ":\n\n", ":\n\n")

		want(s.follow("?types=decision&last=1", "audit-token"), "retry: 3000\nid: 9\nevent: start\ndata: {\"seq\":9}\n\n", event(9, "cat", "deny"))
		want(s.resume("?types=all", 8), "retry: 3000\nevent: start\ndata: {\"seq\":9}\n\n", event(9, "cat", "deny"), ":\n\n")

		few := s.follow("?types=decision&rate=2", "audit-token")
		few()
		for range 10 {
			for range 10 {
				happen("bot", "allow")
			}
			time.Sleep(100 * time.Millisecond)
		}
		told := 0
		for block := few(); ; block = few() {
			if sample, ok := strings.CutPrefix(block, "event: sample\n"); ok {
				if !strings.Contains(sample, fmt.Sprintf(`"told":%d,"of":`, told)) {
					t.Errorf("%d decisions were told in a second, and the reader is told of %s", told, sample)
				}
				break
			}
			told++
		}
		if told > 2 {
			t.Errorf("%d decisions were told in a second, want 2 at most", told)
		}
		for query, status := range map[string]int{
			"?types=love": 400, "?types=decision,": 400, "?types=all&type=trust": 400, "?rate=5": 400, "?types=all&rate=1001": 400,
			"?types=all&effects=perhaps": 400, "?types=all&last=201": 400,
		} {
			if r := s.get("/v1/stream"+query, "audit-token"); r.StatusCode != status {
				t.Errorf("GET /v1/stream%s = %d, want %d", query, r.StatusCode, status)
			}
		}
	})
}

// resume asks for a stream as a browser that was cut off after an event.
func (s *streaming) resume(query string, after int64) func() string {
	s.Helper()
	ours, theirs := net.Pipe()
	s.pipes.conns <- theirs
	s.Cleanup(func() { ours.Close() })
	req, err := http.NewRequest("GET", "http://pdp.example.com/v1/stream"+query, nil)
	if err != nil {
		s.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer audit-token")
	req.Header.Set("Last-Event-ID", strconv.FormatInt(after, 10))
	if err := req.Write(ours); err != nil {
		s.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(ours), req)
	if err != nil {
		s.Fatal(err)
	}
	return blocks(s.T, r.Body)
}

// What a reader names twice is searched for once.
func TestStreamOfRepeatedEffects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counted := &countedFinds{}
		s := serveStreams(t, func(c *api.Config) { c.Live, c.Index = live.NewHub(live.Config{}, 7), counted })
		s.follow("?types=decision&last=200&effects=deny"+strings.Repeat(",deny,allow", 20), "audit-token")()
		if counted.n != 2 {
			t.Errorf("the log was searched %d times for two effects", counted.n)
		}
	})
}

// countedFinds is a Finder that finds nothing, and counts.
type countedFinds struct {
	pastEntries
	n int
}

func (c *countedFinds) Find(context.Context, audit.Query) ([]audit.Entry, error) {
	c.n++
	return nil, nil
}

// pastEntries is a Finder of decisions.
type pastEntries []audit.Entry

func (*pastEntries) Search(context.Context, audit.Query) (found audit.Found, _ error) { return }

func (p *pastEntries) Find(_ context.Context, q audit.Query) (found []audit.Entry, _ error) {
	for _, e := range slices.Backward(*p) {
		if (q.Before == 0 || e.Seq < q.Before) && e.Seq > q.After && len(found) < q.Limit {
			found = append(found, e)
		}
	}
	return found, nil
}
