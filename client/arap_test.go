package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// The rules of the AuthZEN Access Request and Approval Profile (ARAP) for enforcement points, each as a
// test that names its section. The service is a script, so that it can say what ours never would.

// A script answers requests by method and path, one answer after the other; the last is repeated.
type script struct {
	answers map[string][]string // "STATUS HEADER: VALUE\nBODY", or a body
	asked   []putRequest
}

type putRequest struct {
	at     time.Time
	line   string
	header http.Header
	body   string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	line := r.Method + " " + r.URL.Path
	if r.URL.Host != "pdp.example.com" {
		line = r.Method + " " + r.URL.String()
	}
	s.asked = append(s.asked, putRequest{time.Now(), line, r.Header, string(body)})
	list := s.answers[line]
	if len(list) == 0 {
		return nil, fmt.Errorf("nothing is at %s", line)
	}
	text := list[0]
	if len(list) > 1 {
		s.answers[line] = list[1:]
	}
	resp := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Request: r}
	if text[0] != '{' {
		head, rest, _ := strings.Cut(text, "\n")
		status, header, _ := strings.Cut(head, " ")
		fmt.Sscan(status, &resp.StatusCode)
		if name, value, ok := strings.Cut(header, ": "); ok {
			resp.Header.Set(name, value)
		}
		text = rest
	}
	resp.Body = io.NopCloser(strings.NewReader(text))
	return resp, nil
}

// lines returns what was asked, but for the decisions.
func (s *script) lines() string {
	var out []string
	for _, r := range s.asked {
		if !strings.HasSuffix(r.line, "/access/v1/evaluation") {
			out = append(out, r.line)
		}
	}
	return strings.Join(out, ", ")
}

func (s *script) last(line string) *putRequest {
	for i := len(s.asked) - 1; i >= 0; i-- {
		if s.asked[i].line == line {
			return &s.asked[i]
		}
	}
	return nil
}

const (
	submitLine   = "POST /access/v1/requests"
	evaluateLine = "POST /access/v1/evaluation"
	statusLine   = "GET /access/v1/requests/arq_1"
)

// offered is a refusal that can be asked about. Every test runs at the bubble's time, 2000-01-01.
func offered(more string) string {
	return `{"decision":false,"context":{"evaluation_id":"d7","evaluated_at":"2000-01-01T00:00:00.5Z","reason":"approval_required","code":"approval_required",
	"access_request":{"endpoint":"https://pdp.example.com/access/v1/requests","template":"one","expires_at":"2000-01-01T00:10:00.25Z","binding_token":"a.b.c"` + more + `}}}`
}

func task(status, more string) string {
	return `{"task":{"id":"arq_1","status":"` + status + `","status_endpoint":"https://pdp.example.com/access/v1/requests/arq_1","expires_at":"2000-01-01T01:00:00Z","links":{"cancel":"https://pdp.example.com/access/v1/requests/arq_1/cancel"}}` + more + `}`
}

const approvalObject = `{"id":"apr_1","approved_at":"2000-01-01T00:00:30Z","approved_until":"2000-01-01T00:15:00Z","state":{"z":1.50,"a":["<&>"]},"later":true}`

const reevaluate = `,"result":{"mode":"reevaluate","approval":` + approvalObject + `}`

const permitted = `{"decision":true,"context":{"evaluation_id":"d9","approval":{"id":"apr_1","approved_until":"2000-01-01T00:15:00Z"}}}`

// act is what everybody wants to do here.
var act = authz.Request{
	Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}, Properties: authz.Claimed(`{"act":{"sub":"alice"}}`)},
	Action:   authz.Action{Name: "pay", Properties: authz.Claimed(`{"amount":"900.00"}`)},
	Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "7"}, Properties: authz.Claimed(`{"currency":"EUR"}`)},
	Context:  authz.Claimed(`{"purpose":"rent"}`),
	OnBehalf: []authz.Ref{{Type: "user", ID: "alice"}},
}

// guarded runs Guard.Do over a script and returns whether the act happened, and why not.
func guarded(t *testing.T, s *script, change ...func(*client.Guard)) (did bool, err error) {
	t.Helper()
	c, err := client.New("https://pdp.example.com", "t0ken")
	if err != nil {
		t.Fatal(err)
	}
	c.HTTP = &http.Client{Transport: s, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	g := &client.Guard{Client: c, Ask: func(context.Context, authz.Request, *client.Answer) *client.AccessRequest {
		return &client.AccessRequest{Justification: "The rent is due."}
	}}
	for _, f := range change {
		f(g)
	}
	err = g.Do(t.Context(), act, func(context.Context) error { did = true; return nil })
	if did != (err == nil) {
		t.Errorf("the act happened: %v, and the error is %v", did, err)
	}
	return did, err
}

func TestARAP(t *testing.T) {
	const until = "2000-01-01T00:15:00Z"
	for _, tt := range []struct {
		name  string // section: rule
		s     map[string][]string
		did   bool
		asked string // lines but for decisions
		check func(t *testing.T, s *script, err error)
	}{
		{"PEP Processing Rules: decision false is a denial, whatever it offers", map[string][]string{
			evaluateLine: {offered("")}, submitLine: {task("denied", "")}}, false, submitLine, nil},
		{"PEP Processing Rules: nothing is submitted without access_request", map[string][]string{
			evaluateLine: {`{"decision":false,"context":{"reason":"approval_required","code":"approval_required","evaluation_id":"d7","remedies":["approval"]}}`}}, false, "", nil},
		{"Access Request Submission: only for decision false", map[string][]string{
			evaluateLine: {`{"decision":true,"context":{"evaluation_id":"d7","access_request":{"expires_at":"2000-01-01T00:10:00Z","binding_token":"x"}}}`}}, true, "", nil},
		{"Requestable Denial Context: an offer needs an end", map[string][]string{
			evaluateLine: {`{"decision":false,"context":{"evaluation_id":"d7","access_request":{"binding_token":"x"}}}`}}, false, "", nil},
		{"Requestable Denial Context: an offer needs what binds it", map[string][]string{
			evaluateLine: {`{"decision":false,"context":{"access_request":{"expires_at":"2000-01-01T00:10:00Z"}}}`}}, false, "", nil},
		{"PEP Processing Rules: the endpoint of the denial is used", map[string][]string{
			evaluateLine: {strings.Replace(offered(""), "/requests", "/elsewhere", 1)}, "POST /access/v1/elsewhere": {task("denied", "")}}, false, "POST /access/v1/elsewhere", nil},
		{"PEP Processing Rules: else that of the metadata", map[string][]string{
			evaluateLine:                             {strings.Replace(offered(""), `"endpoint":"https://pdp.example.com/access/v1/requests",`, "", 1)},
			"GET /.well-known/authzen-configuration": {`{"access_request_endpoint":"https://pdp.example.com/access/v1/requests"}`},
			submitLine:                               {task("denied", "")}}, false, "GET /.well-known/authzen-configuration, " + submitLine, nil},
		{"Trusting URLs: nothing is sent to another origin", map[string][]string{
			evaluateLine: {strings.Replace(offered(""), "pdp.example.com", "evil.example.com", 1)}}, false, "", func(t *testing.T, _ *script, err error) {
			if !errors.Is(err, authz.ErrForbidden) || !strings.Contains(err.Error(), "another origin") {
				t.Errorf("error %v, want that the origin is another", err)
			}
		}},
		{"Trusting URLs: nor is a task followed there", map[string][]string{
			evaluateLine: {offered("")}, submitLine: {strings.Replace(task("pending", ""), "pdp.example.com", "evil.example.com", 1)}}, false, submitLine, nil},
		{"Trusting URLs: nor is a schema read there", map[string][]string{
			evaluateLine: {offered(`,"request_schema_url":"https://evil.example.com/schema"`)}}, false, "", nil},
		{"PEP Processing Rules: what was refused is preserved, and how it is bound", map[string][]string{
			evaluateLine: {offered("")}, submitLine: {task("denied", "")}}, false, submitLine, func(t *testing.T, s *script, _ error) {
			sameText(t, s.last(submitLine).body, `{"subject":{"type":"agent","id":"bot","properties":{"act":{"sub":"alice"}}},"action":{"name":"pay","properties":{"amount":"900.00"}},
			"resource":{"type":"invoice","id":"7","properties":{"currency":"EUR"}},"context":{"purpose":"rent","on_behalf_of":[{"type":"user","id":"alice"}],"business_justification":"The rent is due."},
			"denial":{"evaluation_id":"d7","evaluated_at":"2000-01-01T00:00:00.5Z","expires_at":"2000-01-01T00:10:00.25Z","reason":"approval_required","binding_token":"a.b.c","template":"one"}}`)
		}},
		{"PEP Processing Rules: evaluation_id when there is no binding_token", map[string][]string{
			evaluateLine: {strings.Replace(offered(""), `,"binding_token":"a.b.c"`, "", 1)}, submitLine: {task("denied", "")}}, false, submitLine, func(t *testing.T, s *script, _ error) {
			if body := s.last(submitLine).body; !strings.Contains(body, `"evaluation_id":"d7"`) || strings.Contains(body, "binding_token") {
				t.Errorf("submitted %s, want evaluation_id alone", body)
			}
		}},
		{"PEP Processing Rules: an idempotency key, the same when it is sent again", map[string][]string{
			evaluateLine: {offered("")}, submitLine: {"503 Retry-After: 1\n{}", task("denied", "")}}, false, submitLine + ", " + submitLine, func(t *testing.T, s *script, _ error) {
			a, b := s.asked[1].header.Get("Idempotency-Key"), s.asked[2].header.Get("Idempotency-Key")
			if len(a) != 32 || a != b {
				t.Errorf("keys %q and %q, want the same of 32 characters", a, b)
			}
		}},
		{"Machine-Readable Forms: nothing incomplete is submitted", map[string][]string{
			evaluateLine:  {offered(`,"request_schema_url":"https://pdp.example.com/schema"`)},
			"GET /schema": {`{"properties":{"context":{"required":["cost_center"]}}}`}}, false, "GET /schema", nil},
		{"Machine-Readable Forms: what nobody can tell is not guessed at", map[string][]string{
			evaluateLine:  {offered(`,"request_schema_url":"https://pdp.example.com/schema"`)},
			"GET /schema": {`{"properties":{"requested_access":{}},"$ref":"#/x"}`}}, false, "GET /schema", nil},
		{"Machine-Readable Forms: conditions are told", map[string][]string{
			evaluateLine:  {offered(`,"request_schema_url":"https://pdp.example.com/schema"`)},
			"GET /schema": {`{"if":{"properties":{"context":{"required":["purpose"]}}},"then":{"required":["requested_access"]}}`}}, false, "GET /schema", nil},
		{"Machine-Readable Forms: what is there is enough", map[string][]string{
			evaluateLine:  {offered(`,"request_schema_url":"https://pdp.example.com/schema"`)},
			"GET /schema": {`{"required":["context"],"properties":{"context":{"required":["business_justification"]}}}`}, submitLine: {task("denied", "")}}, false, "GET /schema, " + submitLine, nil},
		{"Catalog References: values are not made up", map[string][]string{
			evaluateLine: {offered(`,"request_catalogs_url":"https://pdp.example.com/catalogs"`)}}, false, "", nil},
		{"Access Request Response: a synchronous end needs no polling", map[string][]string{
			evaluateLine: {offered(""), permitted}, submitLine: {"201 X: y\n" + task("approved", reevaluate)}}, true, submitLine, nil},
		{"Completion Semantics: asked again with the approval, unchanged", map[string][]string{
			evaluateLine: {offered(""), permitted}, submitLine: {"202 X: y\n" + task("pending", "")}, statusLine: {task("approved", reevaluate)}}, true, submitLine + ", " + statusLine, func(t *testing.T, s *script, _ error) {
			var q struct {
				Context struct {
					Approval json.RawMessage `json:"approval"`
					Purpose  string          `json:"purpose"`
				} `json:"context"`
			}
			if err := json.Unmarshal([]byte(s.last(evaluateLine).body), &q); err != nil {
				t.Fatal(err)
			}
			sameText(t, string(q.Context.Approval), approvalObject)
			if !strings.Contains(string(q.Context.Approval), `1.50`) || q.Context.Purpose != "rent" {
				t.Errorf("asked again with %s, want the approval as it was", s.last(evaluateLine).body)
			}
		}},
		{"Completion Semantics: an approval alone permits nothing", map[string][]string{
			evaluateLine: {offered(""), `{"decision":false,"context":{"reason":"policy_denied","next_action":"none"}}`}, submitLine: {task("approved", reevaluate)}}, false, submitLine, nil},
		{"Task Status Values: an unknown status is not approved", map[string][]string{
			evaluateLine: {offered(""), permitted}, submitLine: {task("blessed", reevaluate)}, statusLine: {task("blessed", reevaluate), "404 X: y\n{}"}}, false, submitLine + ", " + statusLine + ", " + statusLine, nil},
		{"Completion Semantics: an unknown mode is not approved", map[string][]string{
			evaluateLine: {offered(""), permitted}, submitLine: {task("approved", strings.Replace(reevaluate, "reevaluate", "grant", 1))}}, false, submitLine, nil},
		{"Completed Task Response: a result of a denial is no approval", map[string][]string{
			evaluateLine: {offered(""), permitted}, submitLine: {task("denied", reevaluate)}}, false, submitLine, nil},
		{"Completed Task Response: approved without a result is none", map[string][]string{
			evaluateLine: {offered(""), permitted}, submitLine: {task("approved", "")}}, false, submitLine, nil},
		{"Completion Semantics: an approval needs its end", map[string][]string{
			evaluateLine: {offered(""), permitted}, submitLine: {task("approved", `,"result":{"mode":"reevaluate","approval":{"id":"apr_1"}}`)}}, false, submitLine, nil},
		{"Completion Semantics: nor is one used after its end", map[string][]string{
			evaluateLine: {offered(""), offered("")}, submitLine: {task("approved", strings.Replace(reevaluate, until, "1999-12-31T23:59:59Z", 1))}}, false, submitLine, func(t *testing.T, s *script, _ error) {
			if body := s.last(evaluateLine).body; strings.Contains(body, "apr_1") {
				t.Errorf("asked again with an approval that is over: %s", body)
			}
		}},
		{"Completion Semantics: access ends with the approval", map[string][]string{
			evaluateLine: {offered(""), strings.Replace(permitted, until, "1999-12-31T23:59:59Z", 1)}, submitLine: {task("approved", reevaluate)}}, false, submitLine, nil},
		{"Completion Semantics: an end that cannot be read is no permission", map[string][]string{
			evaluateLine: {offered(""), strings.Replace(permitted, until, "tomorrow", 1)}, submitLine: {task("approved", reevaluate)}}, false, submitLine, nil},
		{"Completion Semantics: next_action retry waits as long as it says", map[string][]string{
			evaluateLine: {offered(""), `{"decision":false,"context":{"next_action":"retry","retry_after":40,"reason":"grant_pending"}}`, permitted}, submitLine: {task("approved", reevaluate)}}, true, submitLine, func(t *testing.T, s *script, _ error) {
			if d := s.asked[3].at.Sub(s.asked[2].at); d != 40*time.Second {
				t.Errorf("waited %v, want 40 s", d)
			}
		}},
		{"Completion Semantics: and ends when the approval does", map[string][]string{
			evaluateLine: {offered(""), `{"decision":false,"context":{"next_action":"retry"}}`}, submitLine: {task("approved", reevaluate)}}, false, submitLine, func(t *testing.T, s *script, _ error) {
			first, last := s.asked[2].at, s.asked[len(s.asked)-1].at
			if n := len(s.asked); n < 10 || last.After(time.Date(2000, 1, 1, 0, 15, 0, 0, time.UTC)) || s.asked[3].at.Sub(first) < 3*time.Second {
				t.Errorf("asked %d times from %v to %v, want growing pauses until the approval ends", n, first, last)
			}
		}},
		{"Completion Semantics: next_action request without an offer is none", map[string][]string{
			evaluateLine: {offered(""), `{"decision":false,"context":{"next_action":"request"}}`}, submitLine: {task("approved", reevaluate)}}, false, submitLine, nil},
		{"Completion Semantics: next_action none ends it, whatever is offered", map[string][]string{
			evaluateLine: {strings.Replace(offered(""), `"code"`, `"next_action":"none","code"`, 1)}}, false, "", nil},
		{"Task Status Endpoint: Retry-After is waited for", map[string][]string{
			evaluateLine: {offered(""), permitted}, submitLine: {"202 Retry-After: 90\n" + task("pending", "")}, statusLine: {task("approved", reevaluate)}}, true, submitLine + ", " + statusLine, func(t *testing.T, s *script, _ error) {
			if d := s.last(statusLine).at.Sub(s.last(submitLine).at); d < 90*time.Second {
				t.Errorf("polled after %v, want 90 s", d)
			}
		}},
		{"Task Status Endpoint: polls grow apart, a minute at most, and end with the task", map[string][]string{
			evaluateLine: {offered("")}, submitLine: {task("pending", "")}, statusLine: {task("pending", "")}}, false, "*", func(t *testing.T, s *script, _ error) {
			var most time.Duration
			for i := 2; i < len(s.asked); i++ {
				most = max(most, s.asked[i].at.Sub(s.asked[i-1].at))
			}
			end := s.asked[len(s.asked)-1].at
			if n := len(s.asked); n < 60 || n > 140 || most > time.Minute || most < 30*time.Second || end.After(time.Date(2000, 1, 1, 1, 0, 2, 0, time.UTC)) {
				t.Errorf("%d polls, %v apart at most, the last at %v; want about one a minute until one o'clock", n, most, end)
			}
		}},
		{"Availability: a service that is away is asked again", map[string][]string{
			evaluateLine: {offered(""), permitted}, submitLine: {task("pending", "")}, statusLine: {"502 X: y\n", task("approved", reevaluate)}}, true, submitLine + ", " + statusLine + ", " + statusLine, nil},
		{"Error Responses: a task that is gone is not approved", map[string][]string{
			evaluateLine: {offered("")}, submitLine: {task("pending", "")},
			statusLine: {"410 Content-Type: application/problem+json\n" + `{"type":"urn:openid:authzen:access-request:error:task_expired","title":"gone","status":410}`}}, false, submitLine + ", " + statusLine, func(t *testing.T, _ *script, err error) {
			var e *client.Error
			if !errors.As(err, &e) || e.Code != "task_expired" || e.Message != "gone" {
				t.Errorf("error %v, want the problem task_expired", err)
			}
		}},
		{"PEP Processing Rules: nothing is inferred from an id, link or text", map[string][]string{
			evaluateLine: {offered(""), permitted}, submitLine: {`{"task":{"id":"arq_approved","status":"failed","display":{"title":"Approved!"},"links":{"ticket":"https://pdp.example.com/approved"}}}`}}, false, submitLine, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: tt.s}
				did, err := guarded(t, s)
				if did != tt.did {
					t.Errorf("the act happened: %v, want %v: %v", did, tt.did, err)
				}
				if tt.asked != "*" && s.lines() != tt.asked {
					t.Errorf("asked %q, want %q", s.lines(), tt.asked)
				}
				if tt.check != nil {
					tt.check(t, s, err)
				}
			})
		})
	}
}

// sameText compares JSON.
func sameText(t *testing.T, got, want string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	if string(x) != string(y) {
		t.Errorf("got  %s\nwant %s", x, y)
	}
}

// Next follows next_action, then the reason, then the offer.
func TestNext(t *testing.T) {
	offer := &client.Offer{}
	for _, tt := range []struct {
		action, reason string
		offer          *client.Offer
		want           string
	}{
		{"request", "", offer, "request"}, {"request", "", nil, "none"}, {"retry", "policy_denied", nil, "retry"}, {"none", "approval_expired", offer, "none"},
		{"", "approval_expired", offer, "request"}, {"", "approval_expired", nil, "none"}, {"", "out_of_scope", offer, "request"},
		{"", "grant_pending", offer, "retry"}, {"", "policy_denied", offer, "none"}, {"", "approval_unverifiable", offer, "none"},
		{"", "", offer, "request"}, {"", "", nil, "none"}, {"dance", "grant_pending", nil, "retry"}, {"dance", "odd", offer, "request"}, {"dance", "odd", nil, "none"},
	} {
		a := &client.Answer{NextAction: tt.action, Reason: tt.reason, Offer: tt.offer}
		if got := a.Next(); got != tt.want {
			t.Errorf("Next of %q because of %q, offer %v = %s, want %s", tt.action, tt.reason, tt.offer != nil, got, tt.want)
		}
	}
}

// Several acts are asked about together, and each has its own approval.
func TestAskTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: map[string][]string{evaluateLine: {offered("")}, submitLine: {task("pending", "")},
			statusLine: {strings.Replace(task("partial", reevaluate), `"links"`, `"items":[{"status":"denied"`+reevaluate+`},{"status":"approved"`+reevaluate+`},{"status":"approved"}],"links"`, 1)}}}
		c, err := client.New("https://pdp.example.com", "t0ken")
		if err != nil {
			t.Fatal(err)
		}
		c.HTTP = &http.Client{Transport: s}
		var r client.AccessRequest
		for i := range 3 {
			req := act
			req.Resource.ID = fmt.Sprint(i)
			a, err := c.Evaluate(t.Context(), req, nil)
			if err != nil || a.Allowed() || a.Offer == nil {
				t.Fatalf("%+v, %v", a, err)
			}
			r.Acts = append(r.Acts, client.Refused{Request: req, Offer: a.Offer})
		}
		other := r
		other.Acts = append(other.Acts[:2:2], client.Refused{Request: authz.Request{Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "x"}}}, Offer: r.Acts[0].Offer})
		if _, err := c.RequestAccess(t.Context(), other); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("acts of different subjects: %v, want ErrInvalid", err)
		}
		for name, r := range map[string]client.AccessRequest{
			"nothing":             {},
			"no offer":            {Acts: []client.Refused{{Request: act}}},
			"changed context":     {Acts: r.Acts[:1], Context: map[string]any{"purpose": "fun"}},
			"changed for persons": {Acts: r.Acts[:1], Context: map[string]any{"on_behalf_of": []string{}}},
		} {
			if _, err := c.RequestAccess(t.Context(), r); !errors.Is(err, authz.ErrInvalid) {
				t.Errorf("%s: %v, want ErrInvalid", name, err)
			}
		}
		if s.lines() != "" {
			t.Fatalf("asked %s, want nothing so far", s.lines())
		}
		task, err := c.RequestAccess(t.Context(), r)
		if err == nil {
			task, err = c.AwaitApproval(t.Context(), task)
		}
		if err != nil || task.Status != client.TaskPartial {
			t.Fatalf("%+v, %v", task, err)
		}
		for i, want := range []bool{false, true, false, false} {
			if got := task.Approval(i) != nil; got != want {
				t.Errorf("act %d is approved: %v, want %v: neither the task's status nor its result count for it", i, got, want)
			}
		}
		if body := s.last(submitLine).body; strings.Count(body, `"denial"`) != 3 || strings.Contains(body, `"action":{"name":"pay","properties":{"amount":"900.00"}},"context"`) {
			t.Errorf("submitted %s, want three items with denials of their own", body)
		}
		if _, err := c.Cancel(t.Context(), task, "enough"); err == nil {
			t.Error("a cancellation that nobody answers succeeded")
		}
		if text := fmt.Sprint(task.Approval(1)); strings.Contains(text, "apr_1") {
			t.Errorf("an approval prints as %q, with its id", text)
		}
	})
}

// A presented passport and an approval go together into one question.
func TestEvaluatePresented(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: map[string][]string{evaluateLine: {offered(""), permitted}, submitLine: {task("approved", reevaluate)}}}
		c, err := client.New("https://pdp.example.com", "t0ken")
		if err != nil {
			t.Fatal(err)
		}
		c.HTTP = &http.Client{Transport: s}
		p := authz.Presented{Token: "a.b.c", Audience: "https://bank.example.com"}
		a, err := c.EvaluatePresented(t.Context(), p, act, nil)
		if err != nil || a.Offer == nil {
			t.Fatalf("%+v, %v", a, err)
		}
		tk, err := c.RequestAccess(t.Context(), client.AccessRequest{Acts: []client.Refused{{Request: act, Offer: a.Offer}}})
		if err != nil {
			t.Fatal(err)
		}
		if a, err = c.EvaluatePresented(t.Context(), p, act, tk.Approval(0)); err != nil || !a.Allowed() {
			t.Errorf("%+v, %v", a, err)
		}
		body := s.last(evaluateLine).body
		for _, want := range []string{`"passport":{"token":"a.b.c"`, `"id":"apr_1"`} {
			if !strings.Contains(body, want) {
				t.Errorf("asked %s, want it with %s", body, want)
			}
		}
		if strings.Contains(s.last(submitLine).body, "passport") {
			t.Errorf("the passport went into the access request: %s", s.last(submitLine).body)
		}
	})
}
