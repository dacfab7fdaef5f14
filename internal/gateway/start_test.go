package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway"
)

// hintOf returns what an error says about what to do.
func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// A token that the service does not take ends the start, and the error says which and how to get another.
func TestStartAsksForTheToken(t *testing.T) {
	admin := service(t)
	var made struct {
		Token string `json:"token"`
	}
	err := admin.Do(t.Context(), http.MethodPost, "/v1/callers", map[string]string{"name": "gw", "role": "edge", "why": "test"}, &made)
	if err != nil || made.Token == "" {
		t.Fatalf("a token of the role edge: %v", err)
	}
	for name, c := range map[string]struct {
		token, decide string
		want, hint    string // "" if it starts
	}{
		"an enforcement point":                    {pepToken, "remote", "", ""},
		"a decision point that asks":              {made.Token, "remote", "", ""},
		"a decision point":                        {made.Token, "local", "", ""},
		"nobody":                                  {"sc_pep_unknown", "remote", "it does not know it", "--role pep"},
		"an administrator":                        {adminToken, "remote", "it is not of the role pep", "--role pep"},
		"an enforcement point, to decide by":      {pepToken, "local", "it is not of the role edge", "--role edge"},
		"nobody, to decide by what is told there": {"sc_edge_unknown", "local", "it does not know it", "--role edge"},
	} {
		file := filepath.Join(t.TempDir(), "pep.token")
		if err := os.WriteFile(file, []byte(c.token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		g := open(t, lines("listen: 127.0.0.1:0", "public_url: http://127.0.0.1:8190", "decide: "+c.decide, "journal: "+t.TempDir(), "service: {url: "+admin.URL()+", token_file: "+file+"}"), gateway.Options{})
		err := g.Start(t.Context())
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q and the file", name, err, c.want)
		}
		if h := hintOf(err); !strings.Contains(h, "safeconduct caller create NAME "+c.hint) || !strings.Contains(h, file) {
			t.Errorf("%s: the hint is %q", name, h)
		}
	}
	t.Setenv(gateway.TokenVariable, "sc_pep_unknown")
	g := open(t, lines("listen: 127.0.0.1:0", "service: {url: "+admin.URL()+"}"), gateway.Options{})
	if err := g.Start(t.Context()); err == nil || !strings.Contains(err.Error(), gateway.TokenVariable) {
		t.Errorf("a token of the environment: %v", err)
	}
}

func TestOpenRefusesAnEmptyToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pep.token")
	if err := os.WriteFile(file, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"empty": file, "none": file + "x"} {
		_, err := gateway.Open(t.Context(), load(t, lines("listen: 127.0.0.1:8190", "service: {token_file: "+path+"}")), gateway.Options{})
		if !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), path) || !strings.Contains(hintOf(err), "--role pep") {
			t.Errorf("%s: %v (%s)", name, err, hintOf(err))
		}
	}
}

// A service that is not there ends no start.
func TestStartWithoutTheService(t *testing.T) {
	cp := newControlPlane(t)
	cp.set(true)
	var log bytes.Buffer
	g := open(t, lines("listen: 127.0.0.1:0", "service: {url: "+cp.URL+"}"), gateway.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "the service does not answer"); n != 1 || !strings.Contains(log.String(), cp.URL) {
		t.Errorf("logged %d times:\n%s", n, &log)
	}
}

// A gateway whose address is taken says nothing to the service; one that ends before it served says no goodbye.
func TestStartTakesTheAddress(t *testing.T) {
	cp := newControlPlane(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for setting, doc := range map[string]string{
		"listen":        lines("listen: "+taken.Addr().String(), "service: {url: "+cp.URL+"}"),
		"health.listen": lines("listen: 127.0.0.1:0", "health: {listen: "+taken.Addr().String()+"}", "service: {url: "+cp.URL+"}"),
	} {
		g := open(t, doc, gateway.Options{})
		if err := g.Start(t.Context()); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(hintOf(err), "in the document: "+setting) {
			t.Errorf("%s: %v (%s)", setting, err, hintOf(err))
		}
	}
	cp.set(true) // no hello is taken, and no goodbye follows
	g := open(t, lines("listen: 127.0.0.1:0", "service: {url: "+cp.URL+"}"), gateway.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cp.set(false)
	if err := g.Run(ctx); err != nil {
		t.Fatal(err)
	}
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if len(cp.reports) != 0 {
		t.Errorf("reported %v", cp.reports)
	}
}

// Serve serves what Start has taken.
func TestServeAfterStart(t *testing.T) {
	cp := newControlPlane(t)
	addr := make(chan net.Addr, 1)
	g := open(t, lines("listen: 127.0.0.1:0", "service: {url: "+cp.URL+"}"), gateway.Options{Listening: func(a net.Addr) { addr <- a }})
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	public := g.PublicURL()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, http.NotFoundHandler()) }()
	if a := <-addr; "http://"+a.String() != public {
		t.Errorf("serves %s, said %s", a, public)
	}
	if status, _ := get(t, public+"/healthz"); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A gateway whose token is revoked is not ready, and says why; with the token taken again, it is.
func TestReadyByTheToken(t *testing.T) {
	admin := service(t)
	now := newClock()
	t.Setenv(gateway.TokenVariable, "sc_pep_unknown")
	_, url, _ := serve(t, lines("listen: 127.0.0.1:0", "service: {url: "+admin.URL()+"}"), gateway.Options{Now: now.Now}, http.NotFoundHandler())
	body := ""
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(body, "the service refuses the gateway's token"); {
		status := 0
		if status, body = get(t, url+"/readyz"); status == http.StatusOK && strings.Contains(body, "refuses") || time.Now().After(deadline) {
			t.Fatalf("%d %s", status, body)
		}
	}
	if status, body := get(t, url+"/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", status, body)
	}
}

// The token is asked about now and then, and a gateway recovers.
func TestTokenIsAskedAboutAgain(t *testing.T) {
	var status atomic.Int32
	cp := newAnswering(t, func() int { return int(status.Load()) })
	now := newClock()
	var log bytes.Buffer
	g := open(t, lines("listen: 127.0.0.1:0", "service: {url: "+cp+"}"), gateway.Options{Now: now.Now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, c := range []struct {
		what   string
		status int
		after  time.Duration
		ready  bool
	}{
		{"taken", http.StatusOK, 0, true},
		{"revoked, and not asked about yet", http.StatusUnauthorized, 5 * time.Second, true},
		{"revoked", http.StatusUnauthorized, time.Minute, false},
		{"of another role", http.StatusForbidden, 5 * time.Second, false},
		{"taken again", http.StatusOK, 5 * time.Second, true},
		{"a service that knows no such reports", http.StatusNotFound, time.Minute, true},
	} {
		status.Store(int32(c.status))
		now.add(c.after)
		g.Look(request("GET", "http://x/"))
		if err := g.NotReady(); (err == nil) != c.ready {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), "--role pep") || !strings.Contains(log.String(), "again") {
		t.Errorf("%d errors are logged, want one, and that it is over:\n%s", n, &log)
	}
}

// What is cut off ends with a word.
func TestClip(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want string
	}{
		{"all of it", 9, "all of it"},
		{"the decision point knows nothing", 25, "the decision point ..."},
		{strings.Repeat("x", 30), 10, "xxxxxxx..."},
		{strings.Repeat("é", 30), 10, "ééé..."},
		{"a\nb", 10, "a b"},
	} {
		if got := gateway.Clip(c.text, c.n); got != c.want {
			t.Errorf("clip(%q, %d) = %q, want %q", c.text, c.n, got, c.want)
		}
	}
}

func TestDoorOf(t *testing.T) {
	for text, want := range map[string]string{
		"listen: 127.0.0.1:1\nupstreams: [{name: a, url: http://127.0.0.1:1}]\n": "mcp",
		"tools: {}\n": "mcp",
		"upstreams: {a: {url: http://127.0.0.1:1}}\nroutes: []\n": "http",
		"envoy: {listen: 127.0.0.1:1}\nroutes: []\n":              "envoy",
		"name: x\n": "",
		"[":         "",
	} {
		file := filepath.Join(t.TempDir(), "doc.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := gateway.DoorOf(file); got != want {
			t.Errorf("DoorOf(%q) = %q, want %q", text, got, want)
		}
	}
}

// newAnswering returns the URL of a service that is ready, and answers all else with a status.
func newAnswering(t *testing.T, status func() int) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			w.WriteHeader(status())
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}
