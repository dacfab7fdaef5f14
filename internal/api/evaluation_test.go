package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
)

const whole = `{"subject":{"type":"agent","id":"bot"},"action":{"name":"pay"},"resource":{"type":"invoice","id":"1"}}`

func TestEvaluationReadsRequest(t *testing.T) {
	d := openDoor(t)
	r := d.post("/access/v1/evaluation", `{
		"resource": {"id": "1", "type": "invoice", "properties": {"status": "open"}, "more": [1, {"x": null}]},
		"action": {"name": "p\u0061y", "properties": {"amount": "12.50"}},
		"subject": {"type": "agent", "id": "bot", "properties": null},
		"context": {"confidence": 0.5, "observed": {"ip": "::ffff:192.0.2.7", "session": "s1", "task": "refund",
			"provenance": {"prompt": ["amount"], "untrusted": ["iban"]}, "supported_obligations": ["mask"]},
			"purpose": "x \" y", "on_behalf_of": [{"type": "user", "id": "alice", "extra": 1}, {"type": "user", "id": "bob"}]},
		"future": {"nested": true}
	}`, "X-Request-ID", "req-1")
	if r.StatusCode != 200 {
		t.Fatalf("status %d: %s", r.StatusCode, text(t, r))
	}
	got := d.last()
	want := authz.Request{
		Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}},
		OnBehalf: []authz.Ref{{Type: "user", ID: "alice"}, {Type: "user", ID: "bob"}},
		Action:   authz.Action{Name: "pay", Properties: authz.Claimed(`{"amount": "12.50"}`)},
		Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "1"}, Properties: authz.Claimed(`{"status": "open"}`)},
		Context:  authz.Claimed(`{"confidence": 0.5,"purpose": "x \" y"}`),
		Observed: authz.Observed{
			Address: netip.MustParseAddr("192.0.2.7"), Session: "s1", Task: "refund", PEP: "gateway", RequestID: "req-1",
			Provenance:  &authz.Provenance{Prompt: []string{"amount"}, Untrusted: []string{"iban"}},
			Obligations: []string{"mask"},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if got, want := text(t, r), `{"decision":true,"context":{"evaluation_id":"d7","code":"allowed"}}`; got != want {
		t.Errorf("answer %s, want %s", got, want)
	}
	if got := r.Header.Get("X-Request-ID"); got != "req-1" {
		t.Errorf("X-Request-ID %q, want req-1", got)
	}
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
}

func TestContextWithoutObservation(t *testing.T) {
	d := openDoor(t)
	for context, want := range map[string]string{
		`{"a":1}`:                      `{"a":1}`,
		`{}`:                           ``,
		`null`:                         ``,
		`{"observed":{}}`:              ``,
		`{"supported_obligations":[]}`: ``,
		`{"a":{"observed":1},"observed":{},"b":[]}`: `{"a":{"observed":1},"b":[]}`,
		`{"\u006fbserved":{},"b":[]}`:               `{"b":[]}`, // escaped is the same name
	} {
		r := d.post("/access/v1/evaluation", whole[:len(whole)-1]+`,"context":`+context+`}`)
		if r.StatusCode != 200 {
			t.Errorf("context %s: status %d: %s", context, r.StatusCode, text(t, r))
			continue
		}
		if got := string(d.last().Context); got != want {
			t.Errorf("context %s: claimed %s, want %s", context, got, want)
		}
	}
	d.post("/access/v1/evaluation", whole[:len(whole)-1]+`,"context":{"supported_obligations":[]}}`)
	if got := d.last().Observed.Obligations; got == nil || len(got) != 0 {
		t.Errorf("supported_obligations [] became %#v: an empty list is not silence", got)
	}
	d.post("/access/v1/evaluation", whole)
	if got := d.last().Observed.Obligations; got != nil {
		t.Errorf("no supported_obligations became %#v", got)
	}
}

// What only an enforcement point may say is refused from others, whatever it is.
func TestOnlyEnforcementPointsObserve(t *testing.T) {
	d := openDoor(t)
	for _, context := range []string{`{"observed":{}}`, `{"supported_obligations":[]}`, `{"on_behalf_of":[]}`} {
		for _, path := range []string{"/access/v1/evaluation", "/access/v1/evaluations", "/access/v1/search/action"} {
			r := d.post(path, whole[:len(whole)-1]+`,"context":`+context+`}`, "Authorization", "Bearer admin-token")
			if r.StatusCode != http.StatusForbidden {
				t.Errorf("%s with context %s as administrator: status %d, want 403", path, context, r.StatusCode)
			}
		}
		item := `{"evaluations":[` + whole[:len(whole)-1] + `,"context":` + context + `}]}`
		if r := d.post("/access/v1/evaluations", item, "Authorization", "Bearer admin-token"); r.StatusCode != http.StatusForbidden {
			t.Errorf("batch item with context %s as administrator: status %d, want 403", context, r.StatusCode)
		}
	}
	if n := len(d.pdp.asked); n != 0 {
		t.Errorf("the PDP was asked %d times", n)
	}
	if r := d.post("/access/v1/evaluation", whole, "Authorization", "Bearer admin-token"); r.StatusCode != 200 {
		t.Errorf("as administrator: status %d, want 200", r.StatusCode)
	}
	if got := d.last().Observed.PEP; got != "admin:root" {
		t.Errorf("an administrator's PEP is %q, want admin:root", got)
	}
	if r := d.post("/access/v1/evaluation", whole, "Authorization", "Bearer audit-token"); r.StatusCode != http.StatusForbidden {
		t.Errorf("as auditor: status %d, want 403", r.StatusCode)
	}
}

func nest(n int) string { return strings.Repeat(`[`, n) + strings.Repeat(`]`, n) }

// Bad input is a 4xx with a reason, says decision:false, and never reaches the PDP.
func TestBadInput(t *testing.T) {
	d := openDoor(t)
	with := func(member string) string { return whole[:len(whole)-1] + "," + member + "}" }
	for name, c := range map[string]struct {
		body    string
		status  int
		says    string
		headers []string
	}{
		"empty":                {"", 400, "empty", nil},
		"blank":                {" \n ", 400, "empty", nil},
		"array":                {"[]", 400, "must be a JSON object", nil},
		"malformed":            {whole[:40], 400, "", nil},
		"two values":           {whole + whole, 400, "", nil},
		"trailing":             {whole + "x", 400, "", nil},
		"duplicate":            {with(`"action":{"name":"pay"}`), 400, "duplicate", nil},
		"duplicate below":      {with(`"context":{"a":1,"a":2}`), 400, "duplicate", nil},
		"duplicate by escape":  {with(`"context":{"a":1,"\u0061":2}`), 400, "duplicate", nil},
		"duplicate in ignored": {with(`"foo":{"a":1,"a":2}`), 400, "duplicate", nil},
		"invalid UTF-8":        {with("\"context\":{\"a\":\"\xff\"}"), 400, "UTF-8", nil},
		"lone surrogate":       {with(`"context":{"a":"\ud800"}`), 400, "", nil},
		"NUL":                  {with(`"context":{"a":"x\u0000"}`), 400, "NUL", nil},
		"NUL in a name":        {with(`"context":{"\u0000":1}`), 400, "NUL", nil},
		"raw NUL":              {with("\"context\":{\"a\":\"\x00\"}"), 400, "", nil},
		"deep":                 {with(`"context":{"a":` + nest(40) + `}`), 400, "deep", nil},
		"very deep":            {nest(100_000), 400, "deep", nil},
		"no subject":           {`{"action":{"name":"a"},"resource":{"type":"t","id":"i"}}`, 400, "subject is missing", nil},
		"no subject type":      {`{"subject":{"id":"s"},"action":{"name":"a"},"resource":{"type":"t","id":"i"}}`, 400, "subject.type", nil},
		"subject string":       {`{"subject":"s","action":{"name":"a"},"resource":{"type":"t","id":"i"}}`, 400, "subject must be", nil},
		"action number":        {`{"subject":{"type":"t","id":"s"},"action":{"name":1},"resource":{"type":"t","id":"i"}}`, 400, "action.name must be a string", nil},
		"properties array":     {`{"subject":{"type":"t","id":"s","properties":[]},"action":{"name":"a"},"resource":{"type":"t","id":"i"}}`, 400, "subject.properties must be", nil},
		"context string":       {with(`"context":"x"`), 400, "context must be", nil},
		"long id":              {strings.Replace(whole, `"bot"`, `"`+strings.Repeat("x", 5000)+`"`, 1), 400, "subject.id has more", nil},
		"large context":        {with(`"context":{"a":"` + strings.Repeat("x", 70_000) + `"}`), 400, "context has more", nil},
		"large body":           {with(`"a":"` + strings.Repeat("x", 1<<20) + `"`), 413, "larger", nil},
		"bad ip":               {with(`"context":{"observed":{"ip":"300.1.1.1"}}`), 400, "IP address", nil},
		"task too long":        {with(`"context":{"observed":{"task":"` + strings.Repeat("t", 129) + `"}}`), 400, "task has more than 128 bytes", nil},
		"task of signs":        {with(`"context":{"observed":{"task":"a\u0007b"}}`), 400, "task has characters", nil},
		"unknown observation":  {with(`"context":{"observed":{"mood":"fine"}}`), 400, "mood", nil},
		"person for a person":  {strings.Replace(with(`"context":{"on_behalf_of":[{"type":"user","id":"a"}]}`), `"agent"`, `"user"`, 1), 400, "on_behalf_of", nil},
		"no content type":      {whole, 400, "Content-Type", []string{"Content-Type", ""}},
		"text":                 {whole, 400, "Content-Type", []string{"Content-Type", "text/plain"}},
		"form":                 {whole, 400, "Content-Type", []string{"Content-Type", "application/x-www-form-urlencoded"}},
		"latin-1":              {whole, 400, "UTF-8", []string{"Content-Type", "application/json; charset=latin1"}},
		"gzip":                 {whole, 400, "encoded", []string{"Content-Encoding", "gzip"}},
		"no token":             {whole, 401, "bearer token", []string{"Authorization", ""}},
		"wrong scheme":         {whole, 401, "bearer token", []string{"Authorization", "Basic cGVwLXRva2Vu"}},
		"wrong token":          {whole, 401, "unknown or revoked", []string{"Authorization", "Bearer secret-123"}},
	} {
		for _, path := range []string{"/access/v1/evaluation", "/access/v1/evaluations"} {
			r := d.post(path, c.body, c.headers...)
			body := text(t, r)
			if r.StatusCode != c.status {
				t.Errorf("%s on %s: status %d, want %d: %s", name, path, r.StatusCode, c.status, body)
				continue
			}
			var got struct {
				Decision *bool
				Error    api.ErrorDetail
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil || got.Decision == nil || *got.Decision || got.Error.Code == "" || got.Error.RequestID != r.Header.Get("X-Request-ID") {
				t.Errorf("%s on %s: answer %s (%v), want decision:false and an error with the request's id", name, path, body, err)
			}
			if !strings.Contains(got.Error.Message, c.says) {
				t.Errorf("%s on %s: message %q, want it to say %q", name, path, got.Error.Message, c.says)
			}
		}
	}
	if n := len(d.pdp.asked); n != 0 {
		t.Errorf("the PDP was asked %d times, with %+v", n, d.pdp.asked[0])
	}
	if strings.Contains(d.log.String(), "secret-123") {
		t.Error("the program's log holds a token")
	}
}

func TestGoodContentTypes(t *testing.T) {
	d := openDoor(t)
	for _, ct := range []string{"application/json", "Application/JSON", "application/json; charset=UTF-8", "application/json;charset=utf-8"} {
		if r := d.post("/access/v1/evaluation", whole, "Content-Type", ct); r.StatusCode != 200 {
			t.Errorf("Content-Type %q: status %d", ct, r.StatusCode)
		}
	}
}

func TestRequestID(t *testing.T) {
	d := openDoor(t)
	for given, echoed := range map[string]bool{
		"bfe9eb29-ab87-4ca3-be83-a1d5d8305716": true,
		strings.Repeat("x", 128):               true,
		strings.Repeat("x", 129):               false,
		"with blank":                           false,
		"esc\x1b[0m":                           false,
		"":                                     false,
	} {
		r := d.post("/access/v1/evaluation", whole, "X-Request-ID", given)
		got := r.Header.Get("X-Request-ID")
		if (got == given) != echoed || got == "" {
			t.Errorf("X-Request-ID %q came back as %q; echoed should be %v", given, got, echoed)
		}
	}
}

// An error of the PDP is an HTTP error that says decision:false besides, and keeps its cause to us.
func TestPDPErrors(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
		says   string
	}{
		{authz.Errorf(authz.ErrUnavailable, "the log cannot be written"), 503, "unavailable", "the log cannot be written"},
		{fmt.Errorf("wrapped: %w", authz.ErrInvalid), 400, "invalid", "wrapped"},
		{errors.New("secret detail"), 500, "internal", "internal error"},
	} {
		d := openDoor(t)
		d.pdp.answer = func(authz.Request) (authz.Decision, error) {
			return authz.Decision{Effect: authz.Allow}, c.err // even so
		}
		for _, path := range []string{"/access/v1/evaluation", "/access/v1/evaluations"} {
			for _, body := range []string{whole, `{"evaluations":[` + whole + `]}`} {
				if path == "/access/v1/evaluation" && body != whole {
					continue
				}
				r := d.post(path, body)
				got := text(t, r)
				if r.StatusCode != c.status || !strings.HasPrefix(got, `{"decision":false,"error":{"code":"`+c.code+`"`) || !strings.Contains(got, c.says) || strings.Contains(got, "secret detail") {
					t.Errorf("%s with %v: status %d, %s; want %d and %s", path, c.err, r.StatusCode, got, c.status, c.code)
				}
			}
		}
	}
}

// A panic refuses and is logged with the request's id.
func TestPanic(t *testing.T) {
	d := openDoor(t)
	d.pdp.answer = func(authz.Request) (authz.Decision, error) { panic("ouch") }
	r := d.post("/access/v1/evaluation", whole, "X-Request-ID", "r-9")
	if got := text(t, r); r.StatusCode != 500 || !strings.HasPrefix(got, `{"decision":false`) || strings.Contains(got, "ouch") {
		t.Errorf("status %d, %s", r.StatusCode, got)
	}
	if !strings.Contains(d.log.String(), "r-9") || !strings.Contains(d.log.String(), "ouch") {
		t.Errorf("the log does not tell: %s", d.log)
	}
}

func TestAnswerForms(t *testing.T) {
	d := openDoor(t)
	d.pdp.answer = func(authz.Request) (authz.Decision, error) {
		return authz.Decision{
			Seq: 12, Effect: authz.StepUp, Code: authz.CodeStepUpRequired, PolicySet: 3, Detail: "for operators",
			Reasons:     []authz.Reason{{Code: "step_up_required", Message: "Sign in \"again\".\n", Party: "person"}, {Code: "late", Message: "ä"}},
			Changes:     []authz.Change{{Who: "agent", Kind: "lower", Target: "action.amount", To: json.RawMessage(`"5.00"`), Hint: "less"}, {Who: "time", Kind: "wait", Hint: "later"}},
			Remedies:    []string{"approval", "step_up"},
			Obligations: []authz.Obligation{{ID: "o1", Type: "step-up", Properties: json.RawMessage(`{"acr_value":"x"}`)}, {ID: "o2", Type: "custom"}},
			Fired:       []authz.Fired{{Policy: "secret-policy", Effect: "forbid"}},
		}, nil
	}
	r := d.post("/access/v1/evaluation", whole)
	want := `{"decision":false,"context":{"evaluation_id":"d12","code":"step_up_required",
		"reasons":[{"code":"step_up_required","message":"Sign in \"again\".\n","party":"person"},{"code":"late","message":"ä"}],
		"changes":[{"who":"agent","kind":"lower","target":"action.amount","to":"5.00","hint":"less"},{"who":"time","kind":"wait","hint":"later"}],
		"remedies":["approval","step_up"],
		"obligations":[{"id":"o1","type":"step-up","properties":{"acr_value":"x"}},{"id":"o2","type":"custom","properties":{}}]}}`
	got := text(t, r)
	if !sameJSON(t, got, want) {
		t.Errorf("answer %s, want %s", got, want)
	}
	var back api.EvaluationResponse // the form that the OpenAPI document describes
	dec := json.NewDecoder(strings.NewReader(got))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&back); err != nil {
		t.Errorf("the documented form does not hold the answer: %v", err)
	}
}

func TestEvaluations(t *testing.T) {
	d := openDoor(t)
	d.pdp.answer = func(r authz.Request) (authz.Decision, error) {
		if strings.HasPrefix(r.Resource.ID, "yes") {
			return authz.Decision{Seq: 1, Effect: authz.Allow, Code: authz.CodeAllowed}, nil
		}
		d := authz.Decision{Seq: 2}
		d.Refuse(authz.CodeNoPermit, "No.")
		return d, nil
	}
	res := func(id string) string { return `{"resource":{"type":"doc","id":"` + id + `"}}` }
	for _, c := range []struct {
		semantics string
		items     []string
		want      string // y, n, or e for an error
	}{
		{"", []string{res("yes1"), res("no"), res("yes2")}, "yny"},
		{"execute_all", []string{res("yes1"), `{}`, `"x"`, `{"resource":5}`, res("yes2")}, "yeeey"},
		{"deny_on_first_deny", []string{res("yes1"), res("no"), res("yes2")}, "yn"},
		{"deny_on_first_deny", []string{res("yes1"), `{}`, res("yes2")}, "ye"},
		{"permit_on_first_permit", []string{res("no"), `{"resource":null}`, res("yes2"), res("no")}, "ney"},
		{"permit_on_first_permit", []string{res("no"), `{}`}, "ne"},
	} {
		body := `{"evaluations":[` + strings.Join(c.items, ",") + `],"subject":{"type":"user","id":"a"},"action":{"name":"read"}`
		if c.semantics != "" {
			body += `,"options":{"evaluations_semantic":"` + c.semantics + `","other":1}`
		}
		r := d.post("/access/v1/evaluations", body+"}")
		got := text(t, r)
		var answer struct {
			Evaluations []api.EvaluationResponse
			Decision    *bool
		}
		if err := json.Unmarshal([]byte(got), &answer); err != nil || r.StatusCode != 200 {
			t.Errorf("%s %v: status %d, %v: %s", c.semantics, c.items, r.StatusCode, err, got)
			continue
		}
		letters := ""
		for _, e := range answer.Evaluations {
			switch {
			case e.Context.Error != nil && !e.Decision && e.Context.Error.Message != "":
				letters += "e"
			case e.Decision:
				letters += "y"
			default:
				letters += "n"
			}
		}
		if letters != c.want || answer.Decision != nil {
			t.Errorf("%s %v: %s, want %s (%s)", c.semantics, c.items, letters, c.want, got)
		}
	}
	for body, says := range map[string]string{
		`{"evaluations":[{}],"options":{"evaluations_semantic":"maybe"}}`: "evaluations_semantic",
		`{"evaluations":[{}],"options":{"evaluations_semantic":1}}`:       "must be a string",
		`{"evaluations":{}}`: "evaluations must be a JSON array",
		`{"evaluations":[` + strings.Repeat("{},", 300) + `{}]}`:                 "more than 256",
		`{"subject":1,"evaluations":[` + whole + `]}`:                            "subject must be",
		`{"evaluations":[{"context":{"a":1,"a":2}}]}`:                            "duplicate",
		`{"evaluations":[` + whole + `],"evaluations":[]}`:                       "duplicate",
		`{"evaluations":[` + strings.Replace(whole, `"1"`, "\"\xff\"", 1) + `]}`: "UTF-8",
		`{"evaluations":[` + strings.Replace(whole, `"1"`, `"\u0000"`, 1) + `]}`: "NUL",
	} {
		r := d.post("/access/v1/evaluations", body)
		if got := text(t, r); r.StatusCode != 400 || !strings.Contains(got, says) {
			t.Errorf("%.80s: status %d, %s; want 400 that says %q", body, r.StatusCode, got, says)
		}
	}
}

// An item takes whole entities from beside the batch, never parts of them.
func TestInheritance(t *testing.T) {
	d := openDoor(t)
	r := d.post("/access/v1/evaluations", `{
		"evaluations": [{}, {"subject": {"type": "user", "id": "bob"}, "context": {"b": 2}}, {"context": null}],
		"subject": {"type": "user", "id": "alice", "properties": {"role": "x"}},
		"action": {"name": "read", "properties": {"soft": true}},
		"resource": {"type": "doc", "id": "1"},
		"context": {"a": 1, "observed": {"session": "s"}}}`)
	if r.StatusCode != 200 || len(d.pdp.asked) != 3 {
		t.Fatalf("status %d, %d requests: %s", r.StatusCode, len(d.pdp.asked), text(t, r))
	}
	one, two, three := d.pdp.asked[0], d.pdp.asked[1], d.pdp.asked[2]
	if one.Subject.ID != "alice" || string(one.Subject.Properties) != `{"role": "x"}` || string(one.Context) != `{"a": 1}` || one.Observed.Session != "s" {
		t.Errorf("the first inherits wrongly: %+v", one)
	}
	if two.Subject.ID != "bob" || two.Subject.Properties != nil || string(two.Context) != `{"b": 2}` || two.Observed.Session != "" {
		t.Errorf("the second overrides wrongly: %+v", two)
	}
	if three.Context != nil || three.Observed.Session != "" {
		t.Errorf("the third says it has no context, and gets %+v", three)
	}
}

func FuzzEvaluation(f *testing.F) {
	f.Add(whole)
	f.Add(`{"evaluations":[` + whole + `,{}],"context":{"observed":{"ip":"192.0.2.1","provenance":{"prompt":["a"]}},"on_behalf_of":[{"type":"user","id":"a"}]}}`)
	f.Add(`{"subject":{"type":"user"},"action":{"name":"a"},"resource":{"type":"t","id":"i"},"page":{"limit":3,"token":"AAAA"}}`)
	f.Add(`{"a":"\\u0000","b":"\u0000"}`)
	d := openDoor(f)
	f.Fuzz(func(t *testing.T, body string) {
		d.TB = t
		for _, path := range []string{"/access/v1/evaluation", "/access/v1/evaluations", "/access/v1/search/subject"} {
			d.pdp.asked = nil
			r := d.post(path, body)
			answer := text(t, r)
			if !json.Valid([]byte(answer)) {
				t.Fatalf("%s: answer is not JSON: %s", path, answer)
			}
			if r.StatusCode == 500 {
				t.Fatalf("%s: internal error: %s", path, d.log)
			}
			for _, q := range d.pdp.asked {
				if r.StatusCode >= 400 {
					t.Errorf("%s: refused with %d after the PDP was asked", path, r.StatusCode)
				}
				for _, c := range []authz.Claimed{q.Subject.Properties, q.Action.Properties, q.Resource.Properties, q.Context} {
					if len(c) > 0 && (!json.Valid(c) || c[0] != '{') {
						t.Errorf("%s: claimed is no JSON object: %s", path, c)
					}
				}
				if strings.ContainsRune(q.Subject.ID+q.Resource.ID+q.Action.Name, 0) {
					t.Errorf("%s: NUL got through: %q", path, body)
				}
			}
		}
	})
}

// Where the database is, and as whom the service connects, is said in its own log and to nobody else.
func TestErrorsAreDiscreet(t *testing.T) {
	away := authz.Errorf(authz.ErrUnavailable, "database unavailable: %w", errors.New("dial tcp 10.9.8.7:5432: user=pdp"))
	d := openDoor(t, func(c *api.Config) {
		c.Ready = func(context.Context) []error { return []error{fmt.Errorf("store: %w", away)} }
	})
	d.pdp.answer = func(authz.Request) (authz.Decision, error) {
		return authz.Decision{}, fmt.Errorf("recording the decision: %w", away)
	}
	for _, r := range []*http.Response{d.post("/access/v1/evaluation", whole), d.send("GET", "/readyz", "")} {
		if got := text(t, r); r.StatusCode != 503 || strings.Contains(got, "10.9.8.7") || strings.Contains(got, "user=") || !strings.Contains(got, "database unavailable") {
			t.Errorf("status %d: %s", r.StatusCode, got)
		}
	}
	if !strings.Contains(d.log.String(), "10.9.8.7") {
		t.Errorf("the service's log does not tell: %s", d.log)
	}
}
