package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// A service answers with what the test says and remembers the last request.
type service struct {
	*httptest.Server
	calls  atomic.Int64
	path   string
	header http.Header
	body   string
}

func serve(t *testing.T, answer func(n int64, w http.ResponseWriter, r *http.Request)) (*service, *client.Client) {
	t.Helper()
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		s.path, s.header, s.body = r.URL.Path, r.Header, string(b)
		answer(s.calls.Add(1), w, r)
	}))
	t.Cleanup(s.Close)
	c, err := client.New(s.URL+"/", "token-1")
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func says(status int, body string) func(int64, http.ResponseWriter, *http.Request) {
	return func(_ int64, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

var request = authz.Request{
	Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}},
	OnBehalf: []authz.Ref{{Type: "user", ID: "alice"}},
	Action:   authz.Action{Name: "pay", Properties: authz.Claimed(`{"amount":"1.00"}`)},
	Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "1"}, Properties: authz.Claimed(`{"status":"open"}`)},
	Context:  authz.Claimed(`{"confidence":0.5}`),
	Observed: authz.Observed{Address: netip.MustParseAddr("192.0.2.1"), Session: "s", Task: "refund", PEP: "ignored", RequestID: "ignored",
		Provenance: &authz.Provenance{Prompt: []string{"amount"}}},
}

func TestDecideSends(t *testing.T) {
	s, c := serve(t, says(200, `{"decision":true,"context":{"evaluation_id":"d42","code":"allowed","obligations":[{"id":"o","type":"custom","properties":{}}]}}`))
	c.Obligations = []string{"custom"}
	d, err := c.Decide(t.Context(), request)
	if err != nil || !d.Allowed() || d.Seq != 42 || len(d.Obligations) != 1 {
		t.Errorf("Decide = %+v, %v", d, err)
	}
	if s.path != "/access/v1/evaluation" || s.header.Get("Authorization") != "Bearer token-1" || s.header.Get("Content-Type") != "application/json" {
		t.Errorf("sent to %s with %v", s.path, s.header)
	}
	var got, want any
	const text = `{"subject":{"type":"agent","id":"bot"},"action":{"name":"pay","properties":{"amount":"1.00"}},
		"resource":{"type":"invoice","id":"1","properties":{"status":"open"}},
		"context":{"confidence":0.5,"on_behalf_of":[{"type":"user","id":"alice"}],
		"observed":{"ip":"192.0.2.1","session":"s","task":"refund","provenance":{"prompt":["amount"]},"supported_obligations":["custom"]}}}`
	if err := json.Unmarshal([]byte(s.body), &got); err != nil {
		t.Fatalf("%v: %s", err, s.body)
	}
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestContextsThatAreEmpty(t *testing.T) {
	s, c := serve(t, says(200, `{"decision":true}`))
	for _, r := range []struct {
		context authz.Claimed
		session string
		want    string // "" if none is sent
	}{
		{nil, "", ``}, {authz.Claimed(`{}`), "", `{}`}, {nil, "s", `{"observed":{"session":"s"}}`},
		{authz.Claimed(` { } `), "s", `{"observed":{"session":"s"}}`}, {authz.Claimed(`{"a":{}}`), "s", `{"observed":{"session":"s"},"a":{}}`},
	} {
		req := authz.Request{Context: r.context, Observed: authz.Observed{Session: r.session}}
		if _, err := c.Decide(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		var sent struct{ Context json.RawMessage }
		if err := json.Unmarshal([]byte(s.body), &sent); err != nil || string(sent.Context) != r.want {
			t.Errorf("%s with session %q: sent %s (%v), want %s", r.context, r.session, sent.Context, err, r.want)
		}
	}
}

// Whatever goes wrong, the decision refuses, and the error has its kind.
func TestDecideRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		kind   error
		code   string
	}{
		"denied":         {200, `{"decision":false,"context":{"evaluation_id":"d1","code":"no_permit"}}`, nil, "no_permit"},
		"bare denial":    {200, `{"decision":false}`, nil, "no_permit"},
		"empty object":   {200, `{}`, nil, "no_permit"},
		"not JSON":       {200, `<html>`, authz.ErrUnavailable, "unavailable"},
		"text decision":  {200, `{"decision":"true"}`, authz.ErrUnavailable, "unavailable"},
		"invalid":        {400, `{"decision":false,"error":{"code":"invalid","message":"subject is missing","request_id":"r"}}`, authz.ErrInvalid, "invalid_request"},
		"unknown token":  {401, ``, authz.ErrUnauthenticated, "unavailable"},
		"forbidden":      {403, `{}`, authz.ErrForbidden, "unavailable"},
		"redirect":       {302, ``, authz.ErrUnavailable, "unavailable"},
		"broken":         {500, `{"error":"text, as AuthZEN has it"}`, authz.ErrUnavailable, "unavailable"},
		"allow with 503": {503, `{"decision":true}`, authz.ErrUnavailable, "unavailable"},
	} {
		_, cl := serve(t, says(c.status, c.body))
		cl.Attempts = 1
		d, err := cl.Decide(t.Context(), request)
		if d.Allowed() || d.Code != c.code {
			t.Errorf("%s: effect %v, code %s; want a refusal, %s", name, d.Effect, d.Code, c.code)
		}
		if c.kind == nil && err != nil || c.kind != nil && !errors.Is(err, c.kind) {
			t.Errorf("%s: error %v, want %v", name, err, c.kind)
		}
	}
	c, err := client.New("http://127.0.0.1:1", "t")
	if err != nil {
		t.Fatal(err)
	}
	if d, err := c.Decide(t.Context(), request); d.Allowed() || !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("nobody there: %v, %v", d.Effect, err)
	}
}

func TestEffects(t *testing.T) {
	for code, want := range map[string]authz.Effect{"approval_required": authz.RequireApproval, "step_up_required": authz.StepUp, "forbidden": authz.Deny} {
		_, c := serve(t, says(200, `{"decision":false,"context":{"code":"`+code+`","reasons":[{"code":"x","message":"m"}],"changes":[{"who":"agent","kind":"set","hint":"h","to":5}],"remedies":["approval"]}}`))
		d, err := c.Decide(t.Context(), request)
		if err != nil || d.Effect != want || d.Allowed() || len(d.Reasons) != 1 || string(d.Changes[0].To) != "5" || d.Remedies[0] != "approval" {
			t.Errorf("%s: %+v, %v", code, d, err)
		}
	}
}

// Only what is unavailable is asked again, and a change is sent once.
func TestRetries(t *testing.T) {
	recovering := func(n int64, w http.ResponseWriter, _ *http.Request) {
		if n < 3 {
			w.WriteHeader(503)
			return
		}
		io.WriteString(w, `{"decision":true}`)
	}
	s, c := serve(t, recovering)
	if d, err := c.Decide(t.Context(), request); err != nil || !d.Allowed() || s.calls.Load() != 3 {
		t.Errorf("recovering: %v, %v after %d calls", d.Effect, err, s.calls.Load())
	}
	for name, f := range map[string]func(c *client.Client) error{
		"refusal": func(c *client.Client) error { _, err := c.Decide(context.Background(), request); return err },
		"invalid": func(c *client.Client) error { return c.Do(context.Background(), "GET", "/v1/agents", nil, nil) },
	} {
		s, c := serve(t, says(map[string]int{"refusal": 200, "invalid": 400}[name], `{"decision":false}`))
		_ = f(c)
		if n := s.calls.Load(); n != 1 {
			t.Errorf("%s: sent %d times", name, n)
		}
	}
	s, c = serve(t, says(503, ``))
	if err := c.Do(t.Context(), "PUT", "/v1/agents/a", map[string]string{"why": "x"}, nil); !errors.Is(err, authz.ErrUnavailable) || s.calls.Load() != 1 {
		t.Errorf("a change: %v after %d calls", err, s.calls.Load())
	}
	if err := c.Do(t.Context(), "GET", "/v1/agents/a", nil, nil); !errors.Is(err, authz.ErrUnavailable) || s.calls.Load() != 4 {
		t.Errorf("a reading: %v after %d calls", err, s.calls.Load())
	}
}

func TestErrors(t *testing.T) {
	_, c := serve(t, says(409, `{"error":{"code":"conflict","message":"revision 3 stands","request_id":"r1","problems":[{"file":"a.cedar","line":2,"message":"bad"}]}}`))
	err := c.Do(t.Context(), "PUT", "/v1/agents/a", struct{}{}, nil)
	var e *client.Error
	if !errors.As(err, &e) || e.Status != 409 || e.Code != "conflict" || e.RequestID != "r1" || err.Error() != "revision 3 stands" || len(e.Problems) != 1 || !errors.Is(err, authz.ErrConflict) {
		t.Errorf("%+v", err)
	}
}

func TestDecideAll(t *testing.T) {
	answer := `{"evaluations":[{"decision":true},{"decision":false,"context":{"code":"invalid_request","error":{"status":400,"message":"m"}}}]}`
	s, c := serve(t, func(_ int64, w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer) })
	reqs := []authz.Request{request, request}
	ds, err := c.DecideAll(t.Context(), reqs, "")
	if err != nil || len(ds) != 2 || !ds[0].Allowed() || ds[1].Allowed() || ds[1].Code != "invalid_request" {
		t.Errorf("DecideAll = %+v, %v", ds, err)
	}
	if !strings.Contains(s.body, `"evaluations_semantic":"execute_all"`) || !json.Valid([]byte(s.body)) {
		t.Errorf("sent %s", s.body)
	}
	if ds, err := c.DecideAll(t.Context(), reqs[:1], client.DenyOnFirstDeny); err == nil || len(ds) != 1 || ds[0].Allowed() {
		t.Errorf("more decisions than requests: %+v, %v", ds, err)
	}
	answer = `{"evaluations":[{"decision":true}]}`
	if ds, err := c.DecideAll(t.Context(), reqs, client.ExecuteAll); err == nil || len(ds) != 2 || ds[0].Allowed() || ds[1].Allowed() {
		t.Errorf("fewer decisions than requests: %+v, %v", ds, err)
	}
	if ds, err := c.DecideAll(t.Context(), reqs, client.PermitOnFirstPermit); err != nil || len(ds) != 1 || !ds[0].Allowed() {
		t.Errorf("a batch that ended: %+v, %v", ds, err)
	}
	if ds, err := c.DecideAll(t.Context(), nil, ""); err != nil || ds != nil {
		t.Errorf("no requests: %+v, %v", ds, err)
	}
}

func TestSearch(t *testing.T) {
	s, c := serve(t, says(200, `{"page":{"next_token":"t2"},"results":[{"type":"user","id":"a","name":"read"}]}`))
	refs, next, err := c.SearchSubjects(t.Context(), request, client.Page{Token: "t1", Limit: 2})
	if err != nil || next != "t2" || len(refs) != 1 || refs[0] != (authz.Ref{Type: "user", ID: "a"}) {
		t.Errorf("SearchSubjects = %v, %q, %v", refs, next, err)
	}
	if s.path != "/access/v1/search/subject" || strings.Contains(s.body, `"id":"bot"`) || !strings.Contains(s.body, `"page":{"token":"t1","limit":2}`) || !json.Valid([]byte(s.body)) {
		t.Errorf("sent to %s: %s", s.path, s.body)
	}
	if _, _, err := c.SearchResources(t.Context(), request, client.Page{}); err != nil || strings.Contains(s.body, `"id":"1"`) {
		t.Errorf("SearchResources: %v, sent %s", err, s.body)
	}
	names, _, err := c.SearchActions(t.Context(), request, client.Page{})
	if err != nil || len(names) != 1 || names[0] != "read" || strings.Contains(s.body, `"action"`) {
		t.Errorf("SearchActions = %v, %v, sent %s", names, err, s.body)
	}
}

func TestDeadline(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	_, c := serve(t, func(int64, http.ResponseWriter, *http.Request) { <-release })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if d, err := c.Decide(ctx, request); d.Allowed() || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", d.Effect, err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, url := range []string{"", "pdp.example.com", "ftp://x", "http://", "http://a?b", "http://a#b", "http://u:p@a"} {
		if _, err := client.New(url, "t"); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("New(%q): %v", url, err)
		}
	}
	if _, err := client.New("http://a", "to\nken"); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("a token with a line break: %v", err)
	}
}
