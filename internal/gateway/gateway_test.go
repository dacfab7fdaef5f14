package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway"
)

// A controlPlane takes in reports, and is ready or not.
type controlPlane struct {
	*httptest.Server
	mu      sync.Mutex
	down    bool
	reports []map[string]any
	told    chan map[string]any
}

func newControlPlane(t testing.TB) *controlPlane {
	c := &controlPlane{told: make(chan map[string]any, 100)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case c.down:
			http.Error(w, "down", http.StatusServiceUnavailable)
		case r.URL.Path == "/v1/enforcement/reports":
			var report map[string]any
			if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
				t.Errorf("a report: %v", err)
			}
			c.reports = append(c.reports, report)
			c.told <- report
			io.WriteString(w, `{"entry":1}`)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *controlPlane) set(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// next returns the next report of that kind.
func (c *controlPlane) next(t testing.TB, kind string) map[string]any {
	t.Helper()
	for {
		select {
		case r := <-c.told:
			if r["kind"] == kind {
				return r
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no report of the kind %s", kind)
		}
	}
}

// serve serves a door until the test ends, and returns its URL and what ends it.
func serve(t testing.TB, text string, o gateway.Options, handler http.Handler) (g *gateway.Gateway, url string, stop func() error) {
	t.Helper()
	addr := make(chan net.Addr, 1)
	o.Listening = func(a net.Addr) { addr <- a }
	if os.Getenv(gateway.TokenVariable) == "" {
		t.Setenv(gateway.TokenVariable, "sc_pep_of_a_test")
	}
	if o.Paths == nil {
		o.Paths = []string{"/mcp"}
	}
	g, err := gateway.Open(t.Context(), load(t, text), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Bind(t.Context()); err != nil { // so that the hello of Run names the address
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- g.Serve(ctx, handler) }()
	go func() { done <- g.Run(ctx) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return errors.Join(<-done, <-done)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	select {
	case a := <-addr:
		return g, "http://" + a.String(), stop
	case err := <-done:
		t.Fatalf("the gateway does not serve: %v", err)
	}
	return nil, "", nil
}

func get(t testing.TB, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// options asks what a server as a whole can do (RFC 9110, section 9.3.7).
func options(t *testing.T, url string) int {
	t.Helper()
	addr := strings.TrimPrefix(url, "http://")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "OPTIONS * HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", addr); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func TestServe(t *testing.T) {
	cp := newControlPlane(t)
	doc := lines("name: gw-1", "listen: 127.0.0.1:0", "service: {url: "+cp.URL+"}")
	g, url, stop := serve(t, doc, gateway.Options{Version: "1.2", Door: "http", AllowFailOpen: true, FailOpen: []string{"search", "read"}},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.RequestURI == "*" {
				w.WriteHeader(http.StatusTeapot)
			}
			fmt.Fprint(w, "door ", r.URL.Path)
		}))
	if g.PublicURL() != url {
		t.Errorf("PublicURL = %q, want %q", g.PublicURL(), url)
	}
	hello := cp.next(t, "hello")
	want := map[string]any{"kind": "hello", "gateway": "gw-1", "version": "1.2", "detail": map[string]any{"decide": "remote", "doors": []any{"http"}, "fail_open": []any{"read", "search"}, "url": url}}
	if diff := cmp.Diff(want, hello); diff != "" {
		t.Errorf("hello (-want +got):\n%s", diff)
	}
	if status, body := get(t, url+"/mcp"); status != 200 || body != "door /mcp" {
		t.Errorf("the door: %d %q", status, body)
	}
	if status, body := get(t, url+"/healthz"); status != 200 || body != "ok\nwarning: these routes allow when no decision can be had (on_unavailable: allow): read, search\n" {
		t.Errorf("/healthz: %d %q", status, body)
	}
	r := request("GET", url)
	g.Look(r)
	status, body := get(t, url+"/readyz")
	var ready struct {
		Ready    bool
		FailOpen []string `json:"fail_open"`
		Warning  string
		Parts    []struct {
			Name, Why string
			OK        bool
		}
	}
	if err := json.Unmarshal([]byte(body), &ready); err != nil || status != 200 || !ready.Ready || !slices.Equal(ready.FailOpen, []string{"read", "search"}) || ready.Warning == "" {
		t.Errorf("/readyz: %d %s", status, body)
	}
	since := time.Date(2026, 11, 27, 16, 0, 0, 0, time.UTC)
	g.Watch(func() []gateway.Server {
		return []gateway.Server{{Name: "mail", Since: since}, {Name: "files", OK: true}, {Name: "bank", Since: since}}
	})
	if status, body := get(t, url+"/healthz"); status != 200 || !strings.HasSuffix(body, "search\nwarning: the server bank does not answer since 2026-11-27T16:00:00Z\nwarning: the server mail does not answer since 2026-11-27T16:00:00Z\n") {
		t.Errorf("/healthz with servers that do not answer: %d %q", status, body)
	}
	if status, body := get(t, url+"/readyz"); status != 200 || !strings.Contains(body, `"servers_down":[{"name":"bank","since":"2026-11-27T16:00:00Z"},{"name":"mail",`) {
		t.Errorf("/readyz with servers that do not answer: %d %s", status, body)
	}
	if err := g.Metrics.Gauge("test_sessions", "For the test.", func() float64 { return 7 }); err != nil {
		t.Error(err)
	}
	g.Metrics.Requested("GET /balance", "passed", 20*time.Millisecond)
	g.Metrics.Requested("GET /balance", "passed", -1)
	_, numbers := get(t, url+"/metrics")
	for _, want := range []string{
		`safeconduct_gateway_server_up{server="bank"} 0`, `safeconduct_gateway_server_up{server="files"} 1`, "test_sessions 7",
		`safeconduct_gateway_requests_total{outcome="passed",route="GET /balance"} 2`, `safeconduct_gateway_request_seconds_count{route="GET /balance"} 1`,
	} {
		if !strings.Contains(numbers, want+"\n") {
			t.Errorf("/metrics does not say %s:\n%s", want, numbers)
		}
	}
	if status, body := get(t, url+"/metrics"); status != 200 || !strings.Contains(body, `safeconduct_gateway_allowed_unavailable_total{route="read"} 0`) || !strings.Contains(body, `safeconduct_gateway_info{decide="remote",door="http",version="1.2"} 1`) || !strings.Contains(body, "safeconduct_gateway_ready 1") {
		t.Errorf("/metrics: %d %s", status, body)
	}
	if status := options(t, url); status != http.StatusTeapot {
		t.Errorf("OPTIONS * = %d, want the door's answer", status)
	}
	if err := stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	cp.next(t, "bye")
	select {
	case <-g.Stopping():
	default:
		t.Error("Stopping is not closed")
	}
}

func TestNotReady(t *testing.T) {
	cp := newControlPlane(t)
	now := newClock()
	g := open(t, lines("listen: 127.0.0.1:8190", "service: {url: "+cp.URL+"}"), gateway.Options{Now: now.Now})
	ready := func() (int, string) {
		rec := httptest.NewRecorder()
		g.Handler().ServeHTTP(rec, request("GET", "http://x/readyz"))
		return rec.Code, rec.Body.String()
	}
	if status, body := ready(); status != 503 || !strings.Contains(body, "has not been asked yet") {
		t.Errorf("at first: %d %s", status, body)
	}
	look := func() { g.Look(request("GET", "http://x")) }
	look()
	if status, body := ready(); status != 200 {
		t.Errorf("the service answers: %d %s", status, body)
	}
	cp.set(true)
	look()
	if status, body := ready(); status != 200 {
		t.Errorf("a moment later: %d %s", status, body)
	}
	now.add(21 * time.Second)
	look()
	if status, body := ready(); status != 503 || !strings.Contains(body, `"name":"decisions","ok":false,"why":"the service is not ready (status 503)"`) {
		t.Errorf("the service is down for a while: %d %s", status, body)
	}
}

// The page for operators can have an address of its own; then agents do not reach it.
func TestHealthApart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	health := l.Addr().String()
	l.Close()
	cp := newControlPlane(t)
	_, url, _ := serve(t, lines("listen: 127.0.0.1:0", "health: {listen: \""+health+"\"}", "service: {url: "+cp.URL+"}"), gateway.Options{},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "door ", r.URL.Path) }))
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if _, body := get(t, url+path); body != "door "+path {
			t.Errorf("GET %s of the door: %q", path, body)
		}
		if status, body := get(t, "http://"+health+path); status == 404 || strings.HasPrefix(body, "door") {
			t.Errorf("GET %s apart: %d %q", path, status, body)
		}
	}
}

func TestFailOpen(t *testing.T) {
	cp := newControlPlane(t)
	doc := lines("name: gw-1", "listen: 127.0.0.1:8190", "service: {url: "+cp.URL+"}")
	t.Setenv(gateway.TokenVariable, "x")
	if _, err := gateway.Open(t.Context(), load(t, doc), gateway.Options{FailOpen: []string{"search"}}); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), `"search"`) {
		t.Errorf("without the flag: %v", err)
	}
	unavailable := authz.Errorf(authz.ErrUnavailable, "the service does not answer")
	closed := open(t, doc, gateway.Options{AllowFailOpen: true})
	if closed.Unavailable("search", unavailable) {
		t.Error("a route that does not say so is let through")
	}

	var log bytes.Buffer
	now := newClock()
	g := open(t, doc, gateway.Options{AllowFailOpen: true, FailOpen: []string{"search"}, Now: now.Now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for name, c := range map[string]struct {
		route string
		err   error
		want  bool
	}{
		"unavailable":              {"search", unavailable, true},
		"wrapped":                  {"search", fmt.Errorf("asking: %w", unavailable), true},
		"refused":                  {"search", authz.Errorf(authz.ErrForbidden, "refused"), false},
		"not understood":           {"search", authz.Errorf(authz.ErrInvalid, "bad"), false},
		"not understood, and more": {"search", errors.Join(unavailable, authz.ErrInvalid), false},
		"the gateway's own token":  {"search", authz.Errorf(authz.ErrUnauthenticated, "no"), false},
		"something else":           {"search", errors.New("bug"), false},
		"nothing":                  {"search", nil, false},
		"another route":            {"pay", unavailable, false},
		"the caller left":          {"search", context.Canceled, false},
	} {
		if got := g.Unavailable(c.route, c.err); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	for range 50 {
		g.Unavailable("search", unavailable)
	}
	now.add(11 * time.Second)
	g.Unavailable("search", unavailable)
	if n := strings.Count(log.String(), `msg="allowed without a decision"`); n != 2 {
		t.Errorf("logged %d times, want 2:\n%s", n, &log)
	}
	rec := httptest.NewRecorder()
	g.Handler().ServeHTTP(rec, request("GET", "http://x/metrics"))
	if !strings.Contains(rec.Body.String(), `safeconduct_gateway_allowed_unavailable_total{route="search"} 53`) {
		t.Errorf("not every use was counted:\n%s", rec.Body)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	first, second := cp.next(t, "allowed_unavailable"), cp.next(t, "allowed_unavailable")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if a, b := first["detail"].(map[string]any), second["detail"].(map[string]any); a["route"] != "search" || a["count"].(float64)+b["count"].(float64) != 53 {
		t.Errorf("reported %v and %v", first, second)
	}
}

// Reports never hold up an act, and what does not fit is counted.
func TestReportsAreBounded(t *testing.T) {
	g := open(t, document(), gateway.Options{})
	for range 1000 {
		g.Reports.Report("tool_changed", map[string]any{"tool": "x"})
	}
	rec := httptest.NewRecorder()
	g.Handler().ServeHTTP(rec, request("GET", "http://x/metrics"))
	if !strings.Contains(rec.Body.String(), `safeconduct_gateway_reports_total{result="dropped"} 744`) {
		t.Errorf("dropped reports are not counted:\n%s", rec.Body)
	}
	var none *gateway.Gateway = &gateway.Gateway{}
	none.Reports.Report("tool_changed", nil) // a gateway that can only ask
	if none.Unavailable("x", authz.ErrUnavailable) || none.PublicURL() != "" {
		t.Error("an empty gateway lets through")
	}
}

// A client that sends its header or body slowly, or too much of it, is let go.
func TestServerIsBounded(t *testing.T) {
	cp := newControlPlane(t)
	read := make(chan error, 1)
	_, url, _ := serve(t, lines("listen: 127.0.0.1:0", "service: {url: "+cp.URL+"}", "limits: {header: 2048, header_time: 1s, body_time: 1s, connections: 3}"), gateway.Options{},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			if r.URL.Path == "/slow" {
				read <- err
			}
			if r.URL.Path == "/long" { // longer than a body may take: what comes after it has no deadline
				select {
				case <-time.After(1500 * time.Millisecond):
					fmt.Fprint(w, "done")
				case <-r.Context().Done():
				}
			}
		}))
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		return c
	}
	slow := dial()
	fmt.Fprint(slow, "POST / HTTP/1.1\r\nHost: x\r\n")
	if _, err := io.ReadAll(slow); err != nil {
		t.Errorf("a slow header: %v, want the connection closed", err)
	}
	slow.Close()
	body := dial()
	fmt.Fprint(body, "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
	if err := <-read; err == nil {
		t.Error("a slow body was read to its end")
	}
	body.Close()
	big := dial()
	fmt.Fprintf(big, "GET / HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", strings.Repeat("x", 8000))
	resp, err := http.ReadResponse(bufio.NewReader(big), nil)
	if err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a huge header: %v, %v", resp, err)
	}
	big.Close()
	long := dial()
	fmt.Fprint(long, "POST /long HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
	if resp, err = http.ReadResponse(bufio.NewReader(long), nil); err != nil || resp.StatusCode != 200 {
		t.Errorf("an answer that takes longer than a body may: %v, %v", resp, err)
	} else if b, err := io.ReadAll(resp.Body); string(b) != "done" {
		t.Errorf("an answer that takes longer than a body may: %q, %v", b, err)
	}
	long.Close()
	// One connection too many is closed, the others are served.
	var open []net.Conn
	for range 3 {
		for end := time.Now().Add(10 * time.Second); ; { // those that were closed above count until the server has seen it
			c := dial()
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err == nil && resp.StatusCode == 200 {
				open = append(open, c)
				break
			}
			c.Close()
			if time.Now().After(end) {
				t.Fatalf("a connection within the bound: %v, %v", resp, err)
			}
		}
	}
	over := dial()
	fmt.Fprint(over, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(over), nil); err == nil {
		t.Error("a connection beyond the bound is served")
	}
	for _, c := range append(open, over) {
		c.Close()
	}
}

func TestOpenRefuses(t *testing.T) {
	doc := document()
	t.Run("no token", func(t *testing.T) {
		t.Setenv(gateway.TokenVariable, "")
		if _, err := gateway.Open(t.Context(), load(t, doc), gateway.Options{}); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), "service.token_file") {
			t.Errorf("%v", err)
		}
	})
	t.Setenv(gateway.TokenVariable, "x")
	for name, c := range map[string]struct {
		doc  string
		o    gateway.Options
		want string
	}{
		"tokens over standard input":       {doc, gateway.Options{Stdio: true}, "authorization.type: none"},
		"the same agent for all of Envoy":  {lines("listen: 127.0.0.1:8190", "service: {url: http://127.0.0.1:1}", "authorization: {type: none, subject: {type: agent, id: a}}"), gateway.Options{Door: "envoy"}, "behind Envoy every request must carry a token"},
		"a path with a slash at its end":   {doc, gateway.Options{Paths: []string{"/mcp/"}}, "no path of a door"},
		"a secret that is not there":       {document(withSecrets(t, nil), "credentials: {a: {type: header, value: secret:none}}"), gateway.Options{}, "no secret of the name"},
		"a secret that fits no header":     {document(withSecrets(t, map[string]string{"a": "x\ny"}), "credentials: {a: {type: header, value: secret:a}}"), gateway.Options{}, "fits no header"},
		"no file of secrets":               {document("secrets: {file: /nonexistent/secrets}", "credentials: {a: {type: header, value: secret:a}}"), gateway.Options{}, "no key to the secrets"},
		"no key":                           {document("client: {key: /nonexistent}"), gateway.Options{}, "no key file"},
		"no certificate authority":         {document("ca: /nonexistent"), gateway.Options{}, "certificates of ca"},
		"an agent's key that is not there": {document("credentials: {a: {type: token_exchange, agent: /nonexistent, resource: https://x.example}}"), gateway.Options{}, "credentials.a"},
	} {
		if _, err := gateway.Open(t.Context(), load(t, c.doc), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
