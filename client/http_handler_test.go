package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// asksFor is the question that a request of these tests is.
func asksFor(r *http.Request) (client.Question, error) {
	switch r.URL.Path {
	case "/nobody":
		return client.Question{}, client.ErrNoToken
	case "/forged":
		return client.Question{}, authz.Errorf(authz.ErrUnauthenticated, "the proof was shown before")
	case "/invalid":
		return client.Question{}, authz.Errorf(authz.ErrInvalid, "no such invoice")
	case "/panic":
		panic("no")
	case "/broken":
		return client.Question{}, errors.New("the database is away")
	}
	return one, nil
}

// answerOf is what a handler answers to one request, and what was told of it.
func answerOf(t *testing.T, e *client.Enforcer, next http.HandlerFunc, o client.HandlerOptions, path string) (*http.Response, string) {
	t.Helper()
	s := httptest.NewServer(e.Handler(next, asksFor, o))
	defer s.Close()
	resp, err := s.Client().Get(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp, "cut off"
	}
	return resp, string(body)
}

func jsonText(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("ETag", `"1"`)
		_, _ = io.WriteString(w, text)
	}
}

// Every way of being refused is told as the standards have it, and nothing of it reaches the handler.
func TestHandlerRefuses(t *testing.T) {
	realm := client.Realm{Name: `the "shop"`, Metadata: "https://shop.example.com/.well-known/oauth-protected-resource"}
	const tail = `, resource_metadata="https://shop.example.com/.well-known/oauth-protected-resource", algs="EdDSA ES256"`
	coded := func(code string, more ...authz.Obligation) client.Answer {
		a := refuses("e9", more...)
		a.Code, a.Reasons = code, []authz.Reason{{Code: code, Message: "Not today."}}
		return a
	}
	wait := coded(authz.CodeApprovalRequired)
	wait.Reason, wait.NextAction, wait.RetryAfter = authz.ApprovalPending, client.NextRetry, 5*time.Second
	for _, tt := range []struct {
		name, path string
		a          client.Answer
		status     int
		code       string
		challenge  string
		retry      string
	}{
		{"refused", "/", coded(authz.CodeNoPermit), 403, "no_permit", "", ""},
		{"a passport that does not count", "/", coded(authz.CodePassportInvalid), 401, "passport_invalid", `DPoP realm="the shop", error="invalid_token"` + tail, ""},
		{"one that does not suffice", "/", coded(authz.CodePassport), 403, "passport_insufficient", `DPoP realm="the shop", error="insufficient_scope"` + tail, ""},
		{"step-up", "/", coded(authz.CodeStepUpRequired, duty("s", "step-up", `{"acr_value":"phr\"x"}`)), 401, "step_up_required",
			`DPoP realm="the shop", error="insufficient_user_authentication", acr_values="phrx"` + tail, ""},
		{"not understood", "/", coded(authz.CodeInvalid), 400, "invalid_request", "", ""},
		{"no decision", "/", coded(authz.CodeUnavailable), 503, "unavailable", "", "1"},
		{"wait", "/", wait, 403, "approval_required", "", "5"},
		{"an obligation that nobody meets", "/", allows("e9", duty("o", "dance", `{}`)), 403, "obligation_unmet", "", ""},
		{"nobody asks", "/nobody", client.Answer{}, 401, "unauthenticated", `DPoP realm="the shop"` + tail, ""},
		{"presented wrongly", "/forged", client.Answer{}, 401, "unauthenticated", `DPoP realm="the shop", error="invalid_token"` + tail, ""},
		{"no question", "/invalid", client.Answer{}, 400, "invalid_request", "", ""},
		{"the question panics", "/panic", client.Answer{}, 500, "internal", "", ""},
		{"the question fails", "/broken", client.Answer{}, 500, "internal", "", ""},
	} {
		var log bytes.Buffer
		e := before(judges(tt.a))
		if strings.HasPrefix(tt.name, "step-up") {
			e = before(judges(tt.a), client.Handlers{"step-up": func(context.Context, *client.Duty) error { return errors.New("nobody is here") }})
		}
		resp, body := answerOf(t, e, func(http.ResponseWriter, *http.Request) { t.Errorf("%s: the handler ran", tt.name) },
			client.HandlerOptions{Realm: realm, Logger: slog.New(slog.NewTextHandler(&log, nil))}, tt.path)
		var p struct {
			Type, Title, Detail, Code string
			Status                    int
			ID                        string `json:"evaluation_id"`
		}
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Errorf("%s: %v: %s", tt.name, err, body)
		}
		got := fmt.Sprintln(resp.StatusCode, p.Status, p.Code, resp.Header.Get("WWW-Authenticate"), resp.Header.Get("Retry-After"), resp.Header.Get("Content-Type"), p.Title, p.Type)
		want := fmt.Sprintln(tt.status, tt.status, tt.code, tt.challenge, tt.retry, "application/problem+json", http.StatusText(tt.status), "about:blank")
		if got != want {
			t.Errorf("%s: (-want +got):\n%s", tt.name, cmp.Diff(want, got))
		}
		if strings.Contains(body, "database") || strings.Contains(body, "dance") {
			t.Errorf("%s: it tells what went wrong inside: %s", tt.name, body)
		}
		if tt.path == "/" && p.ID != "e9" {
			t.Errorf("%s: evaluation_id %q", tt.name, p.ID)
		}
		if logged := strings.Contains(log.String(), "request not let through"); logged != (tt.status >= 500) {
			t.Errorf("%s: logged %s", tt.name, log.String())
		}
	}
}

// The offer of a refusal goes to whoever asked, who can then ask persons.
func TestHandlerTellsOffers(t *testing.T) {
	e := enforcer(t, &script{answers: map[string][]string{evaluateLine: {offered(`,"display":{"title":"Ask"}`)}}}, client.Handlers{})
	resp, body := answerOf(t, e, nil, client.HandlerOptions{}, "/")
	var p map[string]any
	if err := json.Unmarshal([]byte(body), &p); err != nil || resp.StatusCode != 403 {
		t.Fatalf("%d, %v: %s", resp.StatusCode, err, body)
	}
	want := map[string]any{
		"type": "about:blank", "title": "Forbidden", "status": 403.0, "code": "approval_required", "evaluation_id": "d7",
		"evaluated_at": "2000-01-01T00:00:00.5Z", "reason": "approval_required",
		"access_request": map[string]any{"endpoint": "https://pdp.example.com/access/v1/requests", "template": "one", "expires_at": "2000-01-01T00:10:00.25Z",
			"binding_token": "a.b.c", "display": map[string]any{"title": "Ask"}},
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What obligations are to change of a response is changed, or nobody sees it.
func TestHandlerMasks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		next   http.HandlerFunc
		status int
		body   string // "" for a problem
		told   string
	}{
		{"json", jsonText(`{"iban":"DE1","n":1}`), 200, `{"iban":"***","n":1}`, "e1  hide"},
		{"nothing", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 204, "-", "e1  hide"},
		{"json that tells of a failure", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(422)
			_, _ = io.WriteString(w, `{"iban":"DE1"}`)
		}, 422, `{"iban":"***"}`, "e1 schema hide"},
		{"no type", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, `{"iban":"DE1"}`) }, 200, `{"iban":"***"}`, "e1  hide"},
		{"no JSON", func(w http.ResponseWriter, r *http.Request) { http.Error(w, `DE1`, 500) }, 500, "", "e1 tool"},
		{"JSON that says it is a text", func(w http.ResponseWriter, r *http.Request) { http.Error(w, `"DE1"`, 200) }, 500, "", "e1"},
		{"broken JSON", jsonText(`{"iban":"DE1"`), 500, "", "e1"},
		{"the name twice", jsonText(`{"iban":"DE1","iban":"DE1"}`), 500, "", "e1"},
		{"too long", jsonText(`{"iban":"DE1","x":"` + strings.Repeat("x", 1000) + `"}`), 500, "", "e1"},
		{"a part", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(206); _, _ = io.WriteString(w, `"DE1"`) }, 500, "", "e1"},
		{"compressed", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			jsonText(`{"iban":"DE1"}`)(w, r)
		}, 500, "", "e1"},
		{"what was asked for in parts", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" || r.Header.Get("Accept-Encoding") != "identity" {
				t.Errorf("it was asked with %v", r.Header)
			}
			jsonText(`{"iban":"DE1"}`)(w, r)
		}, 200, `{"iban":"***"}`, "e1  hide"},
		{"it cannot be flushed", func(w http.ResponseWriter, r *http.Request) {
			if _, ok := w.(http.Flusher); ok || http.NewResponseController(w).Flush() == nil {
				t.Error("it can be flushed")
			}
			jsonText(`{"iban":"DE1"}`)(w, r)
		}, 200, `{"iban":"***"}`, "e1  hide"},
	} {
		j := judges(allows("e1", maskDuty("iban")))
		resp, body := answerOf(t, before(j), tt.next, client.HandlerOptions{MaxMasked: 500}, "/")
		switch tt.body {
		case "":
			if resp.StatusCode != tt.status || strings.Contains(body, "DE1") || !strings.Contains(body, client.CodeWithheld) || resp.Header.Get("ETag") != "" {
				t.Errorf("%s: %d %s %v", tt.name, resp.StatusCode, body, resp.Header)
			}
		default:
			if resp.StatusCode != tt.status || body != strings.TrimSuffix(tt.body, "-") || resp.Header.Get("ETag") != "" {
				t.Errorf("%s: %d %s %v, want %d %s", tt.name, resp.StatusCode, body, resp.Header, tt.status, tt.body)
			}
		}
		if got := strings.Join(j.told, ", "); got != tt.told {
			t.Errorf("%s: told %q, want %q", tt.name, got, tt.told)
		}
	}
}

// Without obligations about it a response goes out as it is written, and streams.
func TestHandlerStreams(t *testing.T) {
	j := judges(allows("e1"))
	next, went := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(before(j).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(went)
		_, _ = io.WriteString(w, "first")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-next
		n, err := io.Copy(w, strings.NewReader(" second"))
		w.(http.Flusher).Flush()
		if n != 7 || err != nil {
			t.Error(n, err)
		}
	}), asksFor, client.HandlerOptions{}))
	defer s.Close()
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "first" {
		t.Fatalf("%s, %v", first, err)
	}
	close(next)
	rest, err := io.ReadAll(resp.Body)
	if err != nil || string(rest) != " second" {
		t.Errorf("%q, %v", rest, err)
	}
	<-went
	resp.Body.Close()

	hijacked := httptest.NewServer(before(j).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 299 Mine\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
	}), asksFor, client.HandlerOptions{}))
	defer hijacked.Close()
	if resp, err = hijacked.Client().Get(hijacked.URL); err != nil || resp.StatusCode != 299 {
		t.Fatalf("%+v, %v", resp, err)
	}
	resp.Body.Close()
}

// A request that may only be tried is, and one that panics is told as a fault.
func TestHandlerTries(t *testing.T) {
	j := judges(allows("e1", duty("d", "custom", `{"obligation":"dry-run"}`)))
	does := func(http.ResponseWriter, *http.Request) { t.Error("it was done") }
	_, body := answerOf(t, before(j), does, client.HandlerOptions{Try: jsonText(`{"would":1}`)}, "/")
	if body != `{"would":1}` {
		t.Errorf("tried: %s", body)
	}
	if resp, _ := answerOf(t, before(j), does, client.HandlerOptions{}, "/"); resp.StatusCode != 403 {
		t.Errorf("nobody can try: %d", resp.StatusCode)
	}
	for _, a := range []client.Answer{allows("e1"), allows("e1", maskDuty("a"))} {
		j := judges(a)
		s := httptest.NewUnstartedServer(before(j).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), asksFor, client.HandlerOptions{}))
		s.Start()
		if resp, err := s.Client().Get(s.URL); err == nil {
			t.Errorf("it answered %d", resp.StatusCode)
			resp.Body.Close()
		}
		s.Close()
		if len(j.told) != 1 || !strings.HasPrefix(j.told[0], "e1 tool") {
			t.Errorf("told %q", j.told)
		}
	}
	refused := before(judges(refuses("e1")))
	resp, body := answerOf(t, refused, does, client.HandlerOptions{Refuse: func(w http.ResponseWriter, _ *http.Request, err error, told *client.HTTPRefusal) {
		w.WriteHeader(told.Status + 1)
		fmt.Fprint(w, errors.Is(err, authz.ErrForbidden))
	}}, "/")
	if resp.StatusCode != 404 || body != "true" {
		t.Errorf("in its own words: %d %s", resp.StatusCode, body)
	}
}

// A program of an agent asks before each request, and a refused one does not go out.
func TestGuarded(t *testing.T) {
	went := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		went += r.Method + " " + r.URL.Path + "\n"
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, "/secret", http.StatusFound)
		case "/late":
			w.WriteHeader(504)
		default:
			if r.Header.Get("Accept-Encoding") != "identity" && r.URL.Path == "/masked" {
				t.Errorf("asked with %v", r.Header)
			}
			jsonText(`{"iban":"DE1"}`)(w, r)
		}
	}))
	defer s.Close()
	answers := map[string]client.Answer{
		"/open": allows("e1"), "/away": allows("e2"), "/secret": refuses("e3"), "/masked": allows("e4", maskDuty("iban")), "/late": allows("e5"),
		"/gone": allows("e6", maskDuty("iban")), "/try": allows("e7", duty("d", "custom", `{"obligation":"dry-run"}`)),
	}
	j := &judge{answer: func(q *client.Question) ([]*client.Answer, error) {
		a := answers[q.Requests[0].Resource.ID]
		return []*client.Answer{&a}, nil
	}}
	g := &client.Guarded{Enforcer: before(j), Question: func(r *http.Request) (client.Question, error) {
		if r.URL.Path == "/panic" {
			panic("no")
		}
		return client.Question{Requests: []authz.Request{{Action: authz.Action{Name: r.Method}, Resource: authz.Entity{Ref: authz.Ref{Type: "url", ID: r.URL.Path}}}}}, nil
	}}
	hc := &http.Client{Transport: g}
	get := func(path string) (string, error) {
		resp, err := hc.Post(s.URL+path, "application/json", strings.NewReader("{}"))
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if int64(len(b)) != resp.ContentLength {
			t.Errorf("%s: %d bytes, Content-Length %d", path, len(b), resp.ContentLength)
		}
		return string(b), err
	}
	for _, tt := range []struct{ path, body, told string }{
		{"/open", `{"iban":"DE1"}`, "e1"},
		{"/masked", `{"iban":"***"}`, "e4  hide"},
		{"/late", "", "e5 timeout"},
	} {
		j.told = nil
		if got, err := get(tt.path); err != nil || got != tt.body || strings.Join(j.told, ", ") != tt.told {
			t.Errorf("%s: %s, %v, told %q, want %q", tt.path, got, err, j.told, tt.told)
		}
	}
	went = ""
	for _, path := range []string{"/away", "/try", "/panic", "/unknown"} {
		_, err := get(path)
		if path == "/panic" {
			if err == nil {
				t.Errorf("%s: no error", path)
			}
			continue
		}
		if r, ok := errors.AsType[*client.RefusedError](err); !ok || r.Answer == nil {
			t.Errorf("%s: %v, want a refusal", path, err)
		}
	}
	if want := "POST /away\n"; went != want {
		t.Errorf("went out: %s, want %s", went, want)
	}
	s.Close()
	j.told = nil
	var w *client.WithheldError
	if _, err := get("/gone"); !errors.As(err, &w) || strings.Join(j.told, "") != "e6 tool hide" {
		t.Errorf("nobody there: %v, told %q", err, j.told)
	}
}

// The one who reads half of a response and closes it has it reported, once.
func TestGuardedBodyIsClosed(t *testing.T) {
	s := httptest.NewServer(jsonText(strings.Repeat(" ", 100000)))
	defer s.Close()
	j := judges(allows("e1"))
	hc := &http.Client{Transport: &client.Guarded{Enforcer: before(j), Question: func(*http.Request) (client.Question, error) { return one, nil }}}
	resp, err := hc.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil || len(j.told) != 0 {
		t.Errorf("%v, told %q", err, j.told)
	}
	resp.Body.Close()
	resp.Body.Close()
	if len(j.told) != 1 {
		t.Errorf("told %q", j.told)
	}
}
