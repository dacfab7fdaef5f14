package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/server"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

const (
	adminToken = "test-administrator-token-0123456789"
	pepToken   = "test-enforcement-token-0123456789"
)

// A running is a real server on a free port of the loopback.
type running struct {
	testing.TB
	*server.Server
	cfg  server.Config
	http *http.Client
	stop func() error
}

// load reads a configuration and gives it a directory, a port and tokens of the test's own.
func load(t testing.TB, file string) server.Config {
	t.Helper()
	var cfg server.Config
	if file != "" {
		var err error
		if cfg, err = server.Load(file); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Listen, cfg.Data, cfg.Log.Key = "127.0.0.1:0", t.TempDir(), ""
	cfg.Postgres = storetest.Config(t).Postgres
	cfg.AdminToken, cfg.PEPToken = adminToken, pepToken
	return cfg
}

// start runs a server until the test ends or stop is called, and waits until it can decide.
func start(t testing.TB, cfg server.Config) *running {
	t.Helper()
	s, err := server.New(t.Context(), cfg, "test", slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	r := &running{TB: t, Server: s, cfg: cfg, http: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}}
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		r.http.CloseIdleConnections()
		select {
		case err := <-done:
			return err
		case <-time.After(30 * time.Second):
			return fmt.Errorf("the server does not stop")
		}
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("stopping the server: %v", err)
		}
	})
	select {
	case <-s.Up():
	case err := <-done:
		done <- err
		t.Fatalf("the server did not start: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("the server does not come up")
	}
	return r
}

// testWriter writes the program's log to the test's.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	defer func() { _ = recover() }() // the test may be over
	w.t.Logf("%s", bytes.TrimSpace(b))
	return len(b), nil
}

// A reply is a response that has been read.
type reply struct {
	status int
	header http.Header
	body   string
}

// do sends one request with a token; headers are name, value pairs.
func (r *running) do(method, path, token, body string, headers ...string) reply {
	r.Helper()
	req, err := http.NewRequest(method, r.URL()+path, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if method != "GET" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if req.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	resp, err := r.http.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	content := io.Reader(resp.Body)
	if resp.Header.Get("Content-Type") == "text/event-stream" { // it has no end: its first event is enough
		content = io.LimitReader(content, int64(len("retry: 3000\nid: ")))
	}
	b, err := io.ReadAll(content)
	if err != nil {
		r.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(b)}
}

// ask posts as the enforcement point.
func (r *running) ask(path, body string) reply {
	r.Helper()
	return r.do("POST", path, pepToken, body)
}

// into decodes a reply that must be 200.
func (r *running) into(rep reply, out any) {
	r.Helper()
	if rep.status != 200 {
		r.Fatalf("status %d: %s", rep.status, rep.body)
	}
	if err := json.Unmarshal([]byte(rep.body), out); err != nil {
		r.Fatalf("%v: %s", err, rep.body)
	}
}

const certification = "../../examples/authzen-certification/safeconduct.yaml"

func testdata(elem ...string) string {
	return filepath.Join(append([]string{"..", "api", "testdata"}, elem...)...)
}

var discardLogger = slog.New(slog.DiscardHandler)

func isKind(err, kind error) bool { return errors.Is(err, kind) }
