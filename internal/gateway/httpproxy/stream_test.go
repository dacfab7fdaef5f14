package httpproxy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway/httpproxy"
)

const anything = `
routes:
  - {match: "* /{rest...}", action: use, resource: {type: Thing, id: {value: all}}, upstream: api, timeout: 2s}
  - {match: "GET /socket", action: talk, resource: {type: Thing, id: {value: socket}}, upstream: api, websocket: true, recheck: 1s}
  - {match: "POST /small", action: use, resource: {type: Thing, id: {value: small}}, upstream: api, max_body: 1KiB}
`

func TestBothWaysAtOnce(t *testing.T) {
	b := open(t, anything, upstream(t, func(w http.ResponseWriter, r *http.Request) { // says every line again
		rc := http.NewResponseController(w)
		if err := rc.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		w.Header().Set("Trailer", "Lines")
		w.Header().Set("Content-Type", "text/event-stream")
		n := 0
		for s := bufio.NewScanner(r.Body); s.Scan(); n++ {
			fmt.Fprintln(w, s.Text())
			if err := rc.Flush(); err != nil {
				t.Error(err)
			}
		}
		w.Header().Set("Lines", fmt.Sprint(n))
	}))
	pr, pw := io.Pipe()
	r, err := http.NewRequest("POST", b.URL+"/talk", pr)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer good")
	go func() { _, _ = io.WriteString(pw, "first\n") }()
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	for i, want := range []string{"first\n", "second\n", "third\n"} {
		if i > 0 {
			if _, err := io.WriteString(pw, want); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := in.ReadString('\n'); err != nil || got != want { // before the next one was sent
			t.Fatalf("line %d = %q, %v, want %q", i, got, err, want)
		}
	}
	pw.Close()
	if _, err := io.ReadAll(in); err != nil {
		t.Fatal(err)
	}
	if got := resp.Trailer.Get("Lines"); got != "3" {
		t.Errorf("trailer = %q, want 3", got)
	}
}

func TestLargeBodiesAreNotHeld(t *testing.T) {
	const size = 256 << 20
	b := open(t, anything, upstream(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || n != size {
			t.Errorf("upstream received %d bytes, %v, want %d", n, err, size)
		}
		_, _ = io.Copy(w, io.LimitReader(zeros{}, size))
	}))
	r, err := http.NewRequest("PUT", b.URL+"/large", io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer good")
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
		t.Errorf("received %d bytes, %v, want %d", n, err, size)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapSys > 128<<20 {
		t.Errorf("the heap has grown to %d MiB for bodies of %d MiB", m.HeapSys>>20, size>>20)
	}
	if o := b.judge.outcome(t); o.Size != size {
		t.Errorf("outcome = %+v, want size %d", o, size)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestBodyTooLarge(t *testing.T) {
	b := open(t, anything, upstream(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	if resp, _ := b.do(t, "POST", "/small", strings.Repeat("x", 1025)); resp.StatusCode != 413 {
		t.Errorf("1025 bytes = %d, want 413", resp.StatusCode)
	}
	if resp, _ := b.do(t, "POST", "/small", strings.Repeat("x", 1024)); resp.StatusCode != 200 {
		t.Errorf("1024 bytes = %d, want 200", resp.StatusCode)
	}
	r, err := http.NewRequest("POST", b.URL+"/small", io.MultiReader(strings.NewReader(strings.Repeat("x", 1025)))) // of unknown length
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer good")
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("1025 bytes in chunks = %d, want 413", resp.StatusCode)
	}
}

func TestClientThatGoesEndsTheUpstreamsRequest(t *testing.T) {
	ended := make(chan struct{})
	b := open(t, anything, upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(ended)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", b.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer good")
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the upstream's request went on")
	}
	b.judge.outcome(t)
}

func TestInformationalResponses(t *testing.T) {
	b := open(t, anything, upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</s.css>; rel=preload")
		w.Header().Set("Safeconduct-Decision", "forged")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusOK)
	}))
	var hints textproto.MIMEHeader
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error { hints = h; return nil }})
	r, err := http.NewRequestWithContext(ctx, "GET", b.URL+"/page", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer good")
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if hints.Get("Link") == "" || hints.Get("Safeconduct-Decision") != "" {
		t.Errorf("early hints = %v, want the link and no decision", hints)
	}
	if got := resp.Header.Values("Safeconduct-Decision"); len(got) != 1 || got[0] != "d1" {
		t.Errorf("decision = %q, want d1", got)
	}
}

// hostile starts an upstream that writes what it likes.
func hostile(t *testing.T, f func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					f(c)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestHostileUpstreams(t *testing.T) {
	for _, c := range []struct {
		name   string
		f      func(net.Conn)
		status int // 0: the response breaks off
		fault  string
	}{
		{"silent", func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }, 504, client.FaultTimeout},
		{"gone", func(net.Conn) {}, 502, client.FaultTool},
		{"no HTTP", func(c net.Conn) { fmt.Fprint(c, "220 mail ESMTP\r\n") }, 502, client.FaultTool},
		{"endless header", func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := fmt.Fprint(c, "X-A: "+strings.Repeat("a", 1000)+"\r\n"); err != nil {
					return
				}
			}
		}, 502, client.FaultTool},
		{"endless hints", func(c net.Conn) {
			for {
				if _, err := fmt.Fprint(c, "HTTP/1.1 103 Early Hints\r\nLink: "+strings.Repeat("a", 1000)+"\r\n\r\n"); err != nil {
					return
				}
			}
		}, 502, client.FaultTool},
		{"too short", func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort") }, 0, client.FaultTool},
		{"too long", func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}, 200, ""},
		{"two lengths", func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc")
		}, 502, client.FaultTool},
		{"bad chunks", func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
		}, 0, client.FaultTool},
		{"switches unasked", func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		}, 502, client.FaultTool},
		{"a header of two lines", func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nX-A: a\rSet-Cookie: x=y\r\nContent-Length: 0\r\n\r\n")
		}, 502, client.FaultTool},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t, strings.ReplaceAll(anything, "timeout: 2s", "timeout: 300ms"), hostile(t, c.f))
			r, err := http.NewRequest("GET", b.URL+"/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer good")
			tr := &http.Transport{MaxResponseHeaderBytes: 10 << 20}
			defer tr.CloseIdleConnections()
			status := 0
			resp, err := tr.RoundTrip(r)
			if err == nil {
				status = resp.StatusCode
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if c.status == 0 && err == nil || c.status != 0 && (err != nil || status != c.status) {
				t.Errorf("= %d, %v, want %d", status, err, c.status)
			}
			if o := b.judge.outcome(t); o.Fault != c.fault {
				t.Errorf("outcome = %+v, want fault %q", o, c.fault)
			}
		})
	}
}

func TestSlowBodies(t *testing.T) {
	b := open(t, payments+"\n  - {match: POST /stream, action: use, resource: {type: Thing, id: {value: x}}, upstream: api}\n",
		upstream(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }),
		func(c *httpproxy.Config) { c.BodyTime = 200 * time.Millisecond })
	for _, path := range []string{"/accounts/7/payments", "/stream"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(b.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", path)
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%s: %v, want an answer although the body does not come", path, err)
		}
		if resp.StatusCode != 408 {
			t.Errorf("%s = %d, want that it took too long", path, resp.StatusCode)
		}
	}
}

// sockets is an upstream that says again what a WebSocket says.
func sockets(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		typ, text, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), typ, text) != nil {
			return
		}
	}
}

func (b *bench) dial(ctx context.Context) (*websocket.Conn, *http.Response, error) {
	return websocket.Dial(ctx, b.URL+"/socket", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer good"}}})
}

func TestWebSocket(t *testing.T) {
	b := open(t, anything, upstream(t, sockets))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, resp, err := b.dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if got := resp.Header.Get(httpproxy.DecisionHeader); got != "d1" {
		t.Errorf("decision = %q, want d1", got)
	}
	large := bytes.Repeat([]byte("x"), 30000)
	for _, text := range [][]byte{[]byte("hello"), large} {
		if err := c.Write(ctx, websocket.MessageText, text); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("Read = %d bytes, %v, want what was said", len(got), err)
		}
	}
	// It is decided again while it is open, and ends when that is a refusal.
	b.judge.outcome(t) // of a second decision
	b.judge.set(deny(authz.CodeForbidden))
	if _, _, err := c.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("Read = %v, want the connection to end", err)
	}
	if o := b.judge.outcome(t); o.Fault != "" || o.Size < int64(len(large)) {
		t.Errorf("outcome = %+v, want no fault, and what was carried", o)
	}
	if !strings.Contains(b.log.String(), "websocket closed: no longer allowed") {
		t.Error("the log does not say why it was closed")
	}
}

func TestWebSocketIsRefusedBeforeItOpens(t *testing.T) {
	b := open(t, anything, upstream(t, func(http.ResponseWriter, *http.Request) { t.Error("the upstream was reached") }))
	for _, answer := range []func(authz.Request) (*client.Answer, error){
		deny(authz.CodeForbidden), allow(mask("a")),
		func(authz.Request) (*client.Answer, error) { return nil, errors.New("broken") },
	} {
		b.judge.set(answer)
		if c, resp, err := b.dial(t.Context()); err == nil {
			c.CloseNow()
			t.Error("a WebSocket was opened")
		} else if resp == nil || resp.StatusCode < 400 {
			t.Errorf("= %v, %v, want a refusal", resp, err)
		}
	}
}

func TestWebSocketEndsWithTheToken(t *testing.T) {
	b := open(t, anything, upstream(t, sockets))
	b.gate.expires = time.Now().Add(300 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, _, err := b.dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if _, _, err := c.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("Read = %v, want the connection to end", err)
	}
	if !strings.Contains(b.log.String(), "token no longer counts") {
		t.Error("the log does not say why it was closed")
	}
}

// A passport that says when it was shown is shown again with every later question.
func TestWebSocketOfAPassportWithAProof(t *testing.T) {
	b := open(t, anything, upstream(t, sockets))
	b.gate.passport = &authz.Presented{Token: "t", Proof: "p", Shown: time.Now()}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, _, err := b.dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	b.judge.outcome(t) // of the second decision
	b.judge.mu.Lock()
	defer b.judge.mu.Unlock()
	for i := range 2 {
		if got := b.judge.shown[i]; got == nil || *got != *b.gate.passport || !b.judge.asked[i].Subject.IsZero() {
			t.Errorf("question %d was with %+v for %+v, want the passport as it was shown", i+1, got, b.judge.asked[i].Subject)
		}
	}
}

// A WebSocket ends when its passport can be shown no more, although nobody says when it expires.
func TestWebSocketEndsWhenThePassportCannotBeShown(t *testing.T) {
	b := open(t, strings.ReplaceAll(anything, "recheck: 1s", "recheck: 1h"), upstream(t, sockets))
	b.gate.passport = &authz.Presented{Token: "t", Proof: "p", Shown: time.Now().Add(300*time.Millisecond - authz.MaxShown)}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, _, err := b.dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if _, _, err := c.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("Read = %v, want the connection to end", err)
	}
	if !strings.Contains(b.log.String(), "token no longer counts") {
		t.Error("the log does not say why it was closed")
	}
}

func TestWebSocketThatTheUpstreamRefuses(t *testing.T) {
	b := open(t, anything, upstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	_, resp, err := b.dial(t.Context())
	if err == nil || resp == nil || resp.StatusCode != http.StatusTeapot {
		t.Errorf("= %v, %v, want the upstream's answer", resp, err)
	}
	if text, _ := json.Marshal(b.judge.outcome(t)); !strings.Contains(string(text), "{") {
		t.Error("no outcome")
	}
}

func TestHTTP2(t *testing.T) {
	b := open(t, payments, upstream(t, echo))
	s := httptest.NewUnstartedServer(b.Config.Handler)
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	do := func(method, path, body string, header ...string) (*http.Response, string) {
		r, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer good")
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		resp, err := s.Client().Transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(text)
	}
	resp, text := do("POST", "/accounts/CH%2012/payments?ref=a", `{"amount": 1, "to": {"iban": "x"}}`, "Content-Type", "application/json")
	if resp.ProtoMajor != 2 || resp.StatusCode != 200 || !strings.Contains(text, `"uri":"/accounts/CH%2012/payments?ref=a"`) || !strings.Contains(text, `"X-Forwarded-Proto":["https"]`) {
		t.Errorf("= %s %d %s, want it passed on as it was sent", resp.Proto, resp.StatusCode, text)
	}
	for _, path := range []string{"/files/%2e%2e/x", "/files/a%2fb", "/files//x", "/files/a?_method=DELETE"} {
		if resp, text := do("GET", path, ""); resp.StatusCode != 400 {
			t.Errorf("GET %s = %d %s, want 400", path, resp.StatusCode, text)
		}
	}
	if resp, _ := do("POST", "/accounts/7/payments", `{"amount": 1, "amount": 2, "to": {"iban": "x"}}`, "Content-Type", "application/json"); resp.StatusCode != 400 {
		t.Errorf("a name twice = %d, want 400", resp.StatusCode)
	}
}
