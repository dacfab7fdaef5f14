package server_test

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/server"
)

// What changes in an agent's conduct is told at once, also where requests are traced, and a stream that is
// open does not hold up the end of the service.
func TestStream(t *testing.T) {
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer collector.Close()
	cfg := organisation(t, testdata("search"))
	cfg.Telemetry = server.Telemetry{Endpoint: collector.URL, Sample: 1}
	s := start(t, cfg)
	if r := s.do("PUT", "/v1/agents/bot-1", adminToken, `{"owner":"ops","purpose":"billing","version":"1","if_revision":0,"why":"new"}`); r.status != 200 {
		t.Fatalf("registering an agent: %d: %s", r.status, r.body)
	}

	req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL()+"/v1/stream?agent=bot-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	resp, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	next := func(want string) {
		t.Helper()
		for lines.Scan() {
			if line := lines.Text(); strings.HasPrefix(line, "data:") {
				if !strings.Contains(line, want) {
					t.Errorf("told %s, want %s", line, want)
				}
				return
			}
		}
		t.Fatalf("the stream ended before %s: %v", want, lines.Err())
	}
	next(`{"seq":`)
	if r := s.do("POST", "/v1/agents/bot-1/trust", adminToken, `{"class":"money","level":"none","ttl_seconds":60,"why":"a drill"}`); r.status != 200 {
		t.Fatalf("setting trust: %d: %s", r.status, r.body)
	}
	next(`"class":"money","from":"medium","to":"none"`)
	if page := s.do("GET", "/metrics", "", ""); !strings.Contains(page.body, "\nsafeconduct_streams 1\n") {
		t.Error("the metrics do not say that one stream is open")
	}

	began := time.Now()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the service took %s to stop with a stream open", took)
	}
	for lines.Scan() {
	}
	if err := lines.Err(); err != nil {
		t.Errorf("the stream ended with %v, want a clean end", err)
	}
}

// Decisions, and what people change, are told as they happen, and again to who comes back.
func TestStreamOfEvents(t *testing.T) {
	s := start(t, organisation(t, testdata("search")))
	follow := func(query, after string) func() (id, event, data string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL()+"/v1/stream"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+adminToken)
		if after != "" {
			req.Header.Set("Last-Event-ID", after)
		}
		resp, err := s.http.Do(req)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(err, resp.StatusCode)
		}
		t.Cleanup(func() { resp.Body.Close() })
		lines := bufio.NewScanner(resp.Body)
		return func() (id, event, data string) {
			for lines.Scan() {
				name, value, _ := strings.Cut(lines.Text(), ": ")
				switch name {
				case "id":
					id = value
				case "event":
					event = value
				case "data":
					return id, event, value
				}
			}
			t.Fatalf("the stream ended: %v", lines.Err())
			return "", "", ""
		}
	}
	next := follow("?types=decision,agent,alert,policy,trust", "")
	first, event, _ := next()
	if event != "start" {
		t.Errorf("a stream begins with %s", event)
	}
	s.do("PUT", "/v1/agents/bot-1", adminToken, `{"owner":"ops","purpose":"billing","version":"1","if_revision":0,"why":"new"}`)
	s.do("POST", "/access/v1/evaluation", pepToken, `{"subject":{"type":"user","id":"alice"},"action":{"name":"view"},"resource":{"type":"record","id":"101"}}`)
	s.do("POST", "/v1/agents/bot-1/trust", adminToken, `{"class":"money","level":"none","ttl_seconds":60,"why":"a drill"}`)
	s.do("PUT", "/v1/alerts/drill", adminToken, `{"kind":"drill","severity":"low","expires_at":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`","why":"a drill"}`)
	check := func(next func() (id, event, data string)) {
		t.Helper()
		for _, want := range [][2]string{{"agent", `"agent":"bot-1"`}, {"decision", `"subject":"user:alice"`}, {"trust", `"agent":"bot-1"`}, {"alert", `"id":"drill"`}} {
			id, event, data := next()
			if event != want[0] || id == "" || !strings.Contains(data, want[1]) {
				t.Errorf("told %s %s: %s, want %s", id, event, data, want)
			}
		}
	}
	check(next)
	again := follow("?types=decision,agent,alert,policy,trust", first)
	again()
	check(again)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}
