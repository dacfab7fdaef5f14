package streamable_test

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
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/streamable"
)

const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// answered is what a server answers to a call; server/discover and tools/list are answered as they should be.
func upstream(t testing.TB, serve http.HandlerFunc) *httptest.Server {
	t.Helper()
	return newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Mcp-Method") {
		case "server/discover":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"public"}}`)
		case "tools/list":
			w.Header().Set("Content-Type", "application/json")
			b, _ := io.ReadAll(r.Body)
			var f struct{ ID json.RawMessage }
			_ = json.Unmarshal(b, &f)
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","tools":[{"name":"t","inputSchema":{"type":"object"}}],"ttlMs":0,"cacheScope":"public"}}`, f.ID)
		default:
			serve(w, r)
		}
	}))
}

func newServer(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

// send sends a POST as alice. Headers are NAME, VALUE; "" takes one away.
func send(t testing.TB, r *rig, body string, headers ...string) *http.Response {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL+"/mcp", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			q.Header.Del(headers[i])
		} else {
			q.Header[http.CanonicalHeaderKey(headers[i])] = []string{headers[i+1]}
		}
	}
	resp, err := as(t, "alice").Do(q)
	if err != nil {
		t.Fatalf("POST: %v", err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

var modernCall = []string{"Mcp-Protocol-Version", v2026, "Mcp-Method", "tools/call", "Mcp-Name", "t"}

const callBody = `{"jsonrpc":"2.0","id":"c1","method":"tools/call","params":{"name":"t","arguments":{"x":"y"},` + meta + `}}`

func read(t testing.TB, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return string(b) + "<broken off>"
	}
	return string(b)
}

// What a hostile client sends is refused, with the status that the specification wants.
func TestHostileClients(t *testing.T) {
	var reached atomic.Int64
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"jsonrpc":"2.0","id":"c1","result":{"content":[]}}`)
	})
	r := raise(t, func(c *streamable.Config) {
		c.MaxMessage = 64 << 10
		c.BodyTime = 300 * time.Millisecond
		c.PublicURL = "https://gw.example"
	},
		streamable.Upstream{Name: "one", URL: up.URL})
	with := func(h ...string) []string { return append(append([]string{}, modernCall...), h...) }
	for _, c := range []struct {
		name    string
		body    string
		headers []string
		status  int
		want    string
	}{
		{"batch", "[" + callBody + "]", modernCall, 400, "-32600"},
		{"two messages", callBody + callBody, modernCall, 400, ""},
		{"duplicate name", `{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`, nil, 400, ""},
		{"duplicate name deep", strings.Replace(callBody, `"x":"y"`, `"x":"y","x":"z"`, 1), modernCall, 400, ""},
		{"not JSON", `{"jsonrpc":"2.0",`, nil, 400, "-32700"},
		{"id null", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, nil, 400, ""},
		{"control character in method", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\\u0000b\"}", nil, 400, ""},
		{"deep", `{"jsonrpc":"2.0","id":1,"method":"ping","params":` + strings.Repeat(`{"a":`, 500) + "1" + strings.Repeat("}", 500) + "}", nil, 400, ""},
		{"large", strings.Replace(callBody, `"y"`, `"`+strings.Repeat("y", 70<<10)+`"`, 1), modernCall, 413, ""},
		{"no accept", callBody, with("Accept", "application/json"), 406, ""},
		{"text", callBody, with("Content-Type", "text/plain"), 415, ""},
		{"compressed", callBody, with("Content-Encoding", "gzip"), 415, ""},
		{"origin", callBody, with("Origin", "https://evil.example"), 403, ""},
		{"origin null", callBody, with("Origin", "null"), 403, ""},
		{"method header differs", callBody, with("Mcp-Method", "tools/list"), 400, "-32020"},
		{"name header differs", callBody, with("Mcp-Name", "u"), 400, "-32020"},
		{"name header missing", callBody, with("Mcp-Name", ""), 400, "-32020"},
		{"version header differs", callBody, with("Mcp-Protocol-Version", v2025), 400, "-32020"},
		{"version header missing", callBody, with("Mcp-Protocol-Version", ""), 400, "-32020"},
		{"argument header differs", callBody, with("Mcp-Param-X", "z"), 400, "-32020"},
		{"unknown version", strings.Replace(callBody, v2026, "2099-01-01", 1), with("Mcp-Protocol-Version", "2099-01-01"), 400, "-32022"},
		{"no capabilities", strings.Replace(callBody, `,"io.modelcontextprotocol/clientCapabilities":{}`, "", 1), modernCall, 400, "-32602"},
		{"headers without _meta", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}`, modernCall, 400, "-32020"},
		{"a response", `{"jsonrpc":"2.0","id":1,"result":{}}`, nil, 400, ""},
		{"no session", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, nil, 400, ""},
		{"strange session", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, []string{"Mcp-Session-Id", "x"}, 404, ""},
		{"no token", callBody, with("Authorization", "-"), 200, `"c1"`}, // set by the client again: it passes
	} {
		t.Run(c.name, func(t *testing.T) {
			before := reached.Load()
			resp := send(t, r, c.body, c.headers...)
			got := read(t, resp)
			if resp.StatusCode != c.status || !strings.Contains(got, c.want) {
				t.Errorf("POST %.80s = %d %s, want %d with %q", c.body, resp.StatusCode, got, c.status, c.want)
			}
			if c.status != 200 && reached.Load() != before {
				t.Error("the server saw it")
			}
		})
	}
	t.Run("base64 name", func(t *testing.T) {
		if resp := send(t, r, callBody, with("Mcp-Name", "=?base64?dA==?=", "Mcp-Param-X", "y")...); resp.StatusCode != 200 {
			t.Errorf("status = %d, want 200: %s", resp.StatusCode, read(t, resp))
		}
	})
	t.Run("nobody", func(t *testing.T) {
		resp, err := http.Post(r.URL+"/mcp", "application/json", strings.NewReader(callBody))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != 401 {
			t.Errorf("status without a token = %d, want 401", resp.StatusCode)
		}
	})
	raw := func(t *testing.T, text string) string {
		t.Helper()
		c, err := net.Dial("tcp", r.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return err.Error()
		}
		_ = resp.Body.Close()
		return resp.Status
	}
	head := "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer alice\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
	for name, c := range map[string]struct{ text, want string }{
		"slow body":       {head + "Content-Length: 100\r\n\r\n{", "408"},
		"two lengths":     {head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", "400"},
		"both lengths":    {head + "Content-Length: 4\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "50"},
		"foreign host":    {strings.Replace(head, "127.0.0.1", "evil.example", 1) + "Content-Length: 2\r\n\r\n{}", "403"},
		"other method":    {strings.Replace(head, "POST", "PUT", 1) + "Content-Length: 2\r\n\r\n{}", "405"},
		"header injected": {head + "Mcp-Name: a\x00b\r\nContent-Length: 2\r\n\r\n{}", "400"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := raw(t, c.text); !strings.HasPrefix(got, c.want) {
				t.Errorf("status = %q, want %s", got, c.want)
			}
		})
	}
}

// What a hostile server answers reaches the client as an error, or is broken off.
func TestHostileServers(t *testing.T) {
	for _, c := range []struct {
		name, kind, body string
		want             string // in what the client gets
		never            string // must not be in it
	}{
		{"good", "application/json", `{"jsonrpc":"2.0","id":"c1","result":{"content":[{"type":"text","text":"ok"}]}}`, `"text":"ok"`, "broken"},
		{"id last", "application/json", `{"result":{"content":[]},"jsonrpc":"2.0","id":"c1"}`, `{"jsonrpc":"2.0","id":"c1","result":{"content":[]}}`, "broken"},
		{"line breaks", "application/json", "{\n\"jsonrpc\":\r\n\"2.0\",\"id\":\"c1\",\"result\":{\n\"content\":[]\n}}\n", `"result":{"content":[]}}`, "broken"},
		{"cache", "application/json", `{"jsonrpc":"2.0","id":"c1","result":{"cacheScope":"public","x":{"cacheScope":"public"}}}`, `{"cacheScope":"private","x":{"cacheScope":"public"}}`, ""},
		{"foreign id", "application/json", `{"jsonrpc":"2.0","id":"c2","result":{"secret":1}}`, "-32603", "secret"},
		{"foreign id last", "application/json", `{"jsonrpc":"2.0","result":{"a":1},"id":"c2"}`, "-32603", `"result"`},
		{"no id", "application/json", `{"jsonrpc":"2.0","result":{"a":1}}`, "-32603", `"result"`},
		{"result twice", "application/json", `{"jsonrpc":"2.0","id":"c1","result":{"a":1},"result":{"a":2}}`, "-32603", `"result"`},
		{"result and error", "application/json", `{"jsonrpc":"2.0","id":"c1","result":{"a":1},"error":{"code":1,"message":"x"}}`, "-32603", `"result"`},
		{"result and method", "application/json", `{"jsonrpc":"2.0","id":"c1","method":"ping","result":{"a":1}}`, "-32603", `"a"`},
		{"escaped second id", "application/json", `{"jsonrpc":"2.0","id":"c1","\u0069d":"c1","result":{"a":1}}`, "-32603", `"a"`},
		{"unknown member", "application/json", `{"jsonrpc":"2.0","id":"c1","x":1,"result":{}}`, "-32603", ""},
		{"not 2.0", "application/json", `{"jsonrpc":"1.0","id":"c1","result":{"a":1}}`, "-32603", `"a"`},
		{"no version", "application/json", `{"id":"c1","result":{"a":1}}`, "-32603", `"result"`},
		{"batch", "application/json", `[{"jsonrpc":"2.0","id":"c1","result":{}}]`, "-32603", ""},
		{"not JSON", "application/json", `{"jsonrpc":"2.0","id":"c1","result":{"a":nul}}`, "-32603", `"result"`},
		{"trailing", "application/json", `{"jsonrpc":"2.0","id":"c1","result":{"a":1}} {}`, "-32603", `"result"`},
		{"mismatched", "application/json", `{"jsonrpc":"2.0","id":"c1","result":{"a":[}]}`, "-32603", `"result"`},
		{"bad UTF-8", "application/json", "{\"jsonrpc\":\"2.0\",\"id\":\"c1\",\"result\":{\"a\":\"\xff\"}}", "-32603", `"result"`},
		{"raw line break in text", "application/json", "{\"jsonrpc\":\"2.0\",\"id\":\"c1\",\"result\":{\"a\":\"\n\"}}", "-32603", `"result"`},
		{"array as result", "application/json", `{"jsonrpc":"2.0","id":"c1","result":[1]}`, "-32603", ""},
		{"deep", "application/json", `{"jsonrpc":"2.0","id":"c1","result":{"a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}}`, "-32603", `"result"`},
		{"html", "text/html", `<html>`, "-32603", "html>"},
		{"empty", "application/json", ``, "-32603", ""},
		{"error", "application/json", `{"jsonrpc":"2.0","id":"c1","error":{"code":-32602,"message":"no"}}`, `"code":-32602`, "result"},
		{"stream", "text/event-stream", "event: message\nid: 1\ndata: {\"jsonrpc\":\"2.0\",\ndata: \"id\":\"c1\",\"result\":{\"a\":1}}\n\n", "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"c1\",\"result\":{\"a\":1}}\n\n", "id: 1"},
		{"stream CR", "text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"id\":\"c1\",\rdata:\"result\":{\"a\":1}}\r\r", `"result":{"a":1}}` + "\n\n", "\r"},
		{"notification", "text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\"}}\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"c1\",\"result\":{}}\n\n", "notifications/message", "broken"},
		{"injected event", "text/event-stream", "event: evil\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"c1\",\"result\":{\"evil\":1}}\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"c1\",\"result\":{}}\n\n", `"result":{}}`, "evil"},
		{"comment", "text/event-stream", ": hello\n\nretry: 1\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"c1\",\"result\":{}}\n\n", `"result":{}}`, "hello"},
		{"request on the stream", "text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"sampling/createMessage\",\"params\":{}}\n\n", "-32603", "sampling"},
		{"two answers", "text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"id\":\"c1\",\"result\":{\"a\":1}}\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"c1\",\"result\":{\"a\":2}}\n\n", `{"a":1}`, `{"a":2}`},
		{"no answer", "text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n", "-32603", ""},
		{"unfinished event", "text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"id\":\"c1\",\"result\":{\"a\":1}}", "-32603", `"result"`},
		{"long field", "text/event-stream", strings.Repeat("x", 5000) + ": 1\n\n", "-32603", "xxxx"},
	} {
		t.Run(c.name, func(t *testing.T) {
			up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.kind)
				w.Header().Set("Set-Cookie", "a=b")
				w.Header().Set("Www-Authenticate", "Bearer")
				w.Header().Set("X-Evil", "1")
				for i := range c.body { // byte by byte: where it is cut must not matter
					_, _ = io.WriteString(w, c.body[i:i+1])
					if i%7 == 0 && len(c.body) < 500 {
						w.(http.Flusher).Flush()
					}
				}
			})
			r := raise(t, nil, streamable.Upstream{Name: "one", URL: up.URL})
			resp := send(t, r, callBody, modernCall...)
			got := read(t, resp)
			if !strings.Contains(got, c.want) || c.never != "" && strings.Contains(got, c.never) {
				t.Errorf("client gets %d %q, want %q in it and never %q", resp.StatusCode, got, c.want, c.never)
			}
			for _, h := range []string{"Set-Cookie", "Www-Authenticate", "X-Evil"} {
				if v := resp.Header.Get(h); v != "" {
					t.Errorf("the server's %s passed: %q", h, v)
				}
			}
		})
	}
}

// A result that turns out to be none after much of it was sent is broken off: the client cannot take it for an answer.
func TestBrokenOff(t *testing.T) {
	for name, end := range map[string]string{"foreign id": `"},"id":"c2"}`, "no JSON": `"`, "second result": `"},"id":"c1","result":{}}`, "second id": `"},"id":"c1","id":"c1"}`} {
		for _, kind := range []string{"application/json", "text/event-stream"} {
			up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", kind)
				before, after := "", ""
				if kind != "application/json" {
					before, after = "data: ", "\n\n"
				}
				fmt.Fprint(w, before, `{"jsonrpc":"2.0","result":{"a":"`, strings.Repeat("x", 100<<10), end, after)
			})
			r := raise(t, nil, streamable.Upstream{Name: "one", URL: up.URL})
			resp := send(t, r, callBody, modernCall...)
			if got := read(t, resp); !strings.HasSuffix(got, "<broken off>") || strings.Contains(got, "\n\n") {
				t.Errorf("%s in %s: the client gets %d bytes, ending in %q", name, kind, len(got), got[len(got)-30:])
			}
		}
	}
}

// Statuses of servers, redirects, and credentials.
func TestServersStatus(t *testing.T) {
	var last atomic.Value
	status := http.StatusFound
	up := upstream(t, func(w http.ResponseWriter, q *http.Request) {
		last.Store(q.Header.Clone())
		w.Header().Set("Location", "http://169.254.169.254/")
		w.WriteHeader(status)
	})
	r := raise(t, nil, streamable.Upstream{Name: "one", URL: up.URL, Credential: "upstream-secret"})
	for _, c := range []struct {
		status int
		want   string
	}{{302, "redirect"}, {401, "credential"}, {403, "credential"}, {500, "status 500"}, {200, "content"}} {
		status = c.status
		resp := send(t, r, callBody, append([]string{"Cookie", "x=y", "Dpop", "proof", "X-Other", "1", "Traceparent", "00-1-2-00", "X-Forwarded-For", "1.2.3.4"}, modernCall...)...)
		if got := read(t, resp); resp.StatusCode != 200 || !strings.Contains(got, "-32603") || !strings.Contains(got, c.want) {
			t.Errorf("server's status %d becomes %d %s, want %q", c.status, resp.StatusCode, got, c.want)
		}
	}
	h := last.Load().(http.Header)
	if got := h.Get("Authorization"); got != "Bearer upstream-secret" {
		t.Errorf("Authorization = %q, want the gateway's own", got)
	}
	for _, n := range []string{"Cookie", "Dpop", "X-Other", "X-Forwarded-For"} {
		if h.Get(n) != "" {
			t.Errorf("the agent's %s reached the server", n)
		}
	}
	if h.Get("Traceparent") == "" {
		t.Error("Traceparent did not reach the server")
	}
	up.CloseClientConnections()
	up.Close()
	if got := read(t, send(t, r, callBody, modernCall...)); !strings.Contains(got, "cannot be reached") {
		t.Errorf("a server that is down gives %s", got)
	}
	if c := r.door.Health(); c[0].OK || strings.Contains(c[0].Error, "127.0.0.1") {
		t.Errorf("Health = %+v, want it down, and no address", c)
	}
}

// A large result streams: it is never held.
func TestStreams(t *testing.T) {
	const size = 10 << 20
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	gate := make(chan struct{})
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"jsonrpc":"2.0","id":"c1","result":{"content":[{"type":"text","text":"`)
		for range size / len(chunk) / 2 {
			_, _ = w.Write(chunk)
		}
		w.(http.Flusher).Flush()
		<-gate // the first half must be with the client before the second exists
		for range size / len(chunk) / 2 {
			_, _ = w.Write(chunk)
		}
		fmt.Fprint(w, `"}]}}`)
	})
	r := raise(t, nil, streamable.Upstream{Name: "one", URL: up.URL}, streamable.Upstream{Name: "two", URL: up.URL})
	resp := send(t, r, strings.Replace(callBody, `"name":"t"`, `"name":"one__t"`, 1), append(modernCall, "Mcp-Name", "one__t")...)
	half := make([]byte, size/2)
	if _, err := io.ReadFull(resp.Body, half); err != nil {
		t.Fatal(err)
	}
	half = nil
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 24<<20 {
		t.Errorf("heap is %d MiB in the middle of a result of 10 MiB", m.HeapAlloc>>20)
	}
	close(gate)
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || n < size/2 {
		t.Errorf("the rest: %d bytes, %v", n, err)
	}
}

// A client that goes away is told to the server.
func TestDisconnect(t *testing.T) {
	gone := make(chan struct{})
	up := upstream(t, func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		<-q.Context().Done()
		close(gone)
	})
	r := raise(t, nil, streamable.Upstream{Name: "one", URL: up.URL})
	ctx, cancel := context.WithCancel(t.Context())
	q, _ := http.NewRequestWithContext(ctx, http.MethodPost, r.URL+"/mcp", strings.NewReader(callBody))
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(modernCall); i += 2 {
		q.Header.Set(modernCall[i], modernCall[i+1])
	}
	resp, err := as(t, "alice").Do(q)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = resp.Body.Close()
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Error("the server still serves a client that has gone")
	}
}

// Sessions belong to whoever opened them, end, and are bounded.
func TestSessions(t *testing.T) {
	now := time.Now()
	var ahead atomic.Int64
	srv := sdkServer(t, "one", []string{v2025}, false)
	r := raise(t, func(c *streamable.Config) {
		c.MaxPerCaller, c.SessionIdle = 2, time.Minute
		c.Now = func() time.Time { return now.Add(time.Duration(ahead.Load())) }
	}, streamable.Upstream{Name: "one", URL: srv.URL})
	hello := `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`
	begin := func() (string, string) {
		resp := send(t, r, hello)
		return resp.Header.Get("Mcp-Session-Id"), read(t, resp)
	}
	a, text := begin()
	if len(a) < 26 || !strings.Contains(text, `"protocolVersion":"2025-06-18"`) {
		t.Fatalf("session %q, %s", a, text)
	}
	b, _ := begin()
	if c, text := begin(); c != "" || !strings.Contains(text, "too many sessions") {
		t.Errorf("a third session: %q, %s", c, text)
	}
	if a == b {
		t.Error("two sessions have one id")
	}
	const ping = `{"jsonrpc":"2.0","id":2,"method":"ping"}`
	if resp := send(t, r, ping, "Mcp-Session-Id", a); resp.StatusCode != 200 {
		t.Errorf("ping = %d %s", resp.StatusCode, read(t, resp))
	}
	q, _ := http.NewRequest(http.MethodPost, r.URL+"/mcp", strings.NewReader(ping))
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Accept", "*/*")
	q.Header.Set("Mcp-Session-Id", a)
	resp, err := as(t, "mallory").Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("another caller's session = %d, want 404", resp.StatusCode)
	}
	del := func(id string) int {
		q, _ := http.NewRequest(http.MethodDelete, r.URL+"/mcp", nil)
		q.Header.Set("Mcp-Session-Id", id)
		resp, err := as(t, "alice").Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if got := del(a); got != 204 {
		t.Errorf("DELETE = %d, want 204", got)
	}
	if resp := send(t, r, ping, "Mcp-Session-Id", a); resp.StatusCode != 404 {
		t.Errorf("after DELETE = %d, want 404", resp.StatusCode)
	}
	ahead.Store(int64(2 * time.Minute))
	r.door.Sweep(t.Context())
	if resp := send(t, r, ping, "Mcp-Session-Id", b); resp.StatusCode != 404 {
		t.Errorf("after two idle minutes = %d, want 404", resp.StatusCode)
	}
	if s, _ := r.door.Counts(); s != 0 {
		t.Errorf("%d sessions are left", s)
	}
}

// A token's end ends the streams that it opened.
func TestExpiry(t *testing.T) {
	srv := sdkServer(t, "one", []string{v2025}, false)
	r := raise(t, func(c *streamable.Config) {
		verify := c.Verify
		c.Verify = func(q *http.Request) (*gateway.Who, error) {
			w, err := verify(q)
			if w != nil && q.Method == http.MethodGet {
				w.Expires = time.Now().Add(50 * time.Millisecond)
			}
			return w, err
		}
	}, streamable.Upstream{Name: "one", URL: srv.URL})
	resp := send(t, r, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`)
	id := resp.Header.Get("Mcp-Session-Id")
	q, _ := http.NewRequest(http.MethodGet, r.URL+"/mcp", nil)
	q.Header.Set("Accept", "text/event-stream")
	q.Header.Set("Mcp-Session-Id", id)
	got, err := as(t, "alice").Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	done := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, got.Body); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Error("the stream outlives its token")
	}
}

func TestConfig(t *testing.T) {
	for name, ups := range map[string][]streamable.Upstream{
		"none":       nil,
		"no name":    {{URL: "http://a"}},
		"bad name":   {{Name: "a__b", URL: "http://a"}},
		"plus":       {{Name: "a+b", URL: "http://a"}},
		"twice":      {{Name: "a", URL: "http://a"}, {Name: "a", URL: "http://b"}},
		"both":       {{Name: "a", URL: "http://a", Command: []string{"x"}}},
		"neither":    {{Name: "a"}},
		"file":       {{Name: "a", URL: "file:///etc/passwd"}},
		"user":       {{Name: "a", URL: "http://u:p@a/"}},
		"revision":   {{Name: "a", URL: "http://a", Revision: "2024-11-05"}},
		"credential": {{Name: "a", Command: []string{"x"}, Credential: "c"}},
	} {
		if _, err := streamable.New(streamable.Config{Upstreams: ups}); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("New(%s) = %v, want authz.ErrInvalid", name, err)
		}
	}
}
