package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A rule is a sentence of a draft that says MUST or SHOULD, and what shows that it is kept.
type rule struct {
	section, says string
	test          func(t *testing.T)
}

func checkRules(t *testing.T, rules []rule) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.section+": "+r.says, r.test)
	}
}

// evaluateWith evaluates the payment with an approval reference, and a decision that says of it why it does not help.
func (d *requestDoor) evaluateWith(reference string, answer func(req authz.Request) authz.Decision) *answered {
	d.Helper()
	d.pdp.answer = func(req authz.Request) (authz.Decision, error) { return d.record(req, answer(req)), nil }
	return d.evaluate(strings.Replace(paymentRequest, `"tenant"`, `"approval":`+reference+`,"tenant"`, 1))
}

// unapproved is the refusal, for a request whose approval does not help.
func (d *requestDoor) unapproved(why string) func(authz.Request) authz.Decision {
	return func(authz.Request) authz.Decision {
		dec := d.refusal
		dec.Unapproved = why
		return dec
	}
}

// approved returns the result of an ask that was approved.
func (d *requestDoor) approved() (id string, reference string) {
	d.Helper()
	_, ask := d.asked(submission(d.evaluate(paymentRequest)))
	d.end(ask, "approved")
	got := d.call("GET", "/access/v1/requests/"+ask.ID, "")
	text, err := json.Marshal(got.at("result.approval"))
	if err != nil {
		d.Fatal(err)
	}
	return got.at("result.approval.id").(string), string(text)
}

// binding returns what the binding token of a refusal says.
func (d *requestDoor) binding(refused *answered) *token.Binding {
	d.Helper()
	text, _ := refused.at("context.access_request.binding_token").(string)
	b, err := d.VerifyBinding(d.Context(), text)
	if err != nil {
		d.Fatalf("binding token %q: %v", text, err)
	}
	return b
}

// TestARAPDecisionPoint has the sentences of the AuthZEN Access Request and Approval Profile (draft 1) that say
// MUST or SHOULD of a decision point, by the sections in which they stand. Those of approvers are in
// internal/approval, those of enforcement points in client.
func TestARAPDecisionPoint(t *testing.T) {
	checkRules(t, []rule{
		{"Discovery", "MUST publish an access_request_endpoint, an HTTPS URI; SHOULD name the capability; MUST publish a jwks_uri", func(t *testing.T) {
			m := openRequests(t).call("GET", "/.well-known/authzen-configuration", "")
			m.is("access_request_endpoint", "https://pdp.example.com/access/v1/requests")
			m.is("capabilities", []string{"urn:openid:authzen:capability:access-request"})
			m.is("jwks_uri", "https://pdp.example.com/.well-known/jwks.json")
		}},
		{"Discovery", "a point where nobody can be asked publishes none of it", func(t *testing.T) {
			m := openRequests(t, func(c *api.Config) { c.Requests = nil }).call("GET", "/.well-known/authzen-configuration", "")
			m.is("access_request_endpoint", nil)
			m.is("jwks_uri", nil)
			m.is("capabilities", []string{})
		}},
		{"Requestable Denial Context", "MUST include the object only when the denial is eligible", func(t *testing.T) {
			for name, change := range map[string]func(*requestDoor){
				"a plain refusal":        func(d *requestDoor) { d.refusal.Effect = authz.Deny },
				"a step-up":              func(d *requestDoor) { d.refusal.Effect = authz.StepUp },
				"no route leads to it":   func(d *requestDoor) { d.refusal.Routes = nil },
				"too much asked already": func(d *requestDoor) { d.refusal.Effect, d.refusal.Code = authz.Deny, authz.CodeAskBudget },
				"a permission":           func(d *requestDoor) { d.refusal.Effect = authz.Allow },
			} {
				d := openRequests(t)
				change(d)
				if a := d.evaluate(paymentRequest); a.at("context.access_request") != nil {
					t.Errorf("%s: offered in %s", name, a.text)
				}
			}
		}},
		{"Requestable Denial Context", "MUST include expires_at, and a binding_token or an evaluation_id that can be resolved", func(t *testing.T) {
			a := openRequests(t).evaluate(paymentRequest)
			a.is("context.access_request.expires_at", until)
			a.is("context.evaluation_id", "d100")
			if a.at("context.access_request.binding_token") == nil {
				t.Errorf("no binding_token in %s", a.text)
			}
		}},
		{"Requestable Denial Context", "MUST NOT include the object when neither binding form is available", func(t *testing.T) {
			d := openRequests(t)
			d.pdp.answer = func(authz.Request) (authz.Decision, error) { return d.refusal, nil } // not recorded
			d.evaluate(paymentRequest).is("context.access_request", nil)
			// Of two accounts that one number stands for, nobody could say which was approved.
			d = openRequests(t)
			d.evaluate(strings.Replace(paymentRequest, "500", "9007199254740993", 1)).is("context.access_request", nil)
		}},
		{"Requestable Denial Context", "the object is for those only who may submit", func(t *testing.T) {
			d := openRequests(t)
			plain := strings.Replace(paymentRequest, `,"observed":{"session":"s1"},"on_behalf_of":[{"type":"user","id":"dora"}]`, "", 1)
			d.evaluate(plain, "Authorization", "Bearer admin-token").is("context.access_request", nil)
			if a := d.evaluate(plain, "Authorization", "DPoP h.bot.s", "Dpop", "proof"); a.at("context.access_request") == nil {
				t.Errorf("an agent that asks for itself is offered nothing: %s", a.text)
			}
		}},
		{"Evaluation Identifier", "MUST be stable and SHOULD be unique", func(t *testing.T) {
			d := openRequests(t)
			a, b := d.evaluate(paymentRequest), d.evaluate(paymentRequest)
			a.is("context.evaluation_id", "d100")
			b.is("context.evaluation_id", "d101")
		}},
		{"Evaluation Identifier", "MUST include evaluation_id without a binding_token", func(t *testing.T) {
			for name, d := range map[string]*requestDoor{
				"nothing is signed here": openRequests(t, func(c *api.Config) { c.Requests.Signer, c.Requests.KeySet = nil, "" }),
				"no key signs now":       openRequests(t),
			} {
				d.down = name == "no key signs now"
				a := d.evaluate(paymentRequest)
				a.is("context.access_request.binding_token", nil)
				a.is("context.evaluation_id", "d100")
				a.is("context.access_request.expires_at", until)
			}
		}},
		{"Evaluation Identifier", "MAY return evaluated_at", func(t *testing.T) {
			openRequests(t).evaluate(paymentRequest).is("context.evaluated_at", "2026-03-02T12:00:00.25Z")
		}},
		{"Machine-Readable Forms", "SHOULD include request_schema_url", func(t *testing.T) {
			d := openRequests(t)
			d.evaluate(paymentRequest).is("context.access_request.request_schema_url", "https://pdp.example.com/access/v1/requests/schemas/finance")
			s := d.call("GET", "/access/v1/requests/schemas/finance", "")
			if s.status != http.StatusOK || s.header.Get("Content-Type") != "application/schema+json" {
				t.Errorf("the schema answers %d %s", s.status, s.header.Get("Content-Type"))
			}
			s.is("description", "Asked: Finance.")
			d.call("GET", "/access/v1/requests/schemas/finance+board", "").is("description", "Asked: Finance, The board.")
			d.call("GET", "/access/v1/requests/schemas/nobody", "").problem(404, "")
		}},
		{"Catalog References", "MUST include request_schema_url when including request_catalogs_url: there are no catalogs", func(t *testing.T) {
			openRequests(t).evaluate(paymentRequest).is("context.access_request.request_catalogs_url", nil)
		}},
		{"PDP Processing Rules", "SHOULD include a stable machine-readable reason code", func(t *testing.T) {
			openRequests(t).evaluate(paymentRequest).is("context.reason", "approval_required")
		}},
		{"PDP Processing Rules", "MUST NOT include the object unless an endpoint is available", func(t *testing.T) {
			openRequests(t, func(c *api.Config) { c.Requests = nil }).evaluate(paymentRequest).is("context.access_request", nil)
		}},
		{"Binding Token Integrity", "MUST integrity-protect the token, SHOULD as a JWS with iss, aud, iat, exp, jti, denial_expires_at, binding_context_members, binding claims and evaluation_id", func(t *testing.T) {
			d := openRequests(t)
			b := d.binding(d.evaluate(paymentRequest))
			hash, err := token.BindingHash(authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}}, authz.Action{Name: "pay", Properties: authz.Claimed(`{"to":"NL01","amount":5e2}`)},
				authz.Entity{Ref: authz.Ref{Type: "account", ID: "7"}}, authz.Claimed(`{"tenant":"acme"}`), []string{"tenant"})
			if err != nil || b.Hash != hash || b.Issuer != "https://pdp.example.com" || b.Audience[0] != "https://pdp.example.com/access/v1/requests" || b.ID == "" ||
				!b.IssuedAt.Equal(askedAt.Truncate(time.Second)) || b.Expires.Format(time.RFC3339) != until || !b.DenialExpires.Equal(b.Expires) || b.Evaluation != "d100" {
				t.Errorf("binding token says %+v, want the hash %s, %v", b, hash, err)
			}
			if other := d.binding(d.evaluate(paymentRequest)); other.ID == b.ID {
				t.Errorf("two binding tokens have the jti %s", b.ID)
			}
		}},
		{"Authorization-Relevant Context", "MUST make the set explicit; SHOULD exclude volatile members", func(t *testing.T) {
			d := openRequests(t)
			b := d.binding(d.evaluate(strings.Replace(paymentRequest, `"tenant"`, `"confidence":0.5,"region":null,"approval":null,"reason":"x","evaluation_id":"d1","tenant"`, 1)))
			if got := strings.Join(b.Members, " "); got != "region tenant" {
				t.Errorf("binding_context_members are %q, want region and tenant", got)
			}
			if b := d.binding(d.evaluate(strings.Replace(paymentRequest, `"tenant":"acme",`, "", 1))); b.Members == nil || len(b.Members) > 0 {
				t.Errorf("binding_context_members without a context are %v, want []", b.Members)
			}
		}},
		{"Privacy Considerations", "a requestable denial SHOULD avoid exposing internal policy identifiers", func(t *testing.T) {
			d := openRequests(t)
			d.refusal.Fired = []authz.Fired{{Policy: "secret-policy-id", Effect: "forbid"}}
			if a := d.evaluate(paymentRequest); strings.Contains(a.text, "secret-policy-id") || strings.Contains(a.text, "anna") {
				t.Errorf("the refusal names a policy or an approver: %s", a.text)
			}
		}},
		{"Access Evaluations", "each refusal of a batch can be asked about by itself", func(t *testing.T) {
			d := openRequests(t)
			body := strings.TrimSuffix(paymentRequest, "}") + `,"evaluations":[{},{"resource":{"type":"account","id":"8"}},{"resource":5}]}`
			a := d.call("POST", "/access/v1/evaluations", body)
			for i, id := range []string{"0", "1"} {
				a.is("evaluations."+id+".context.evaluation_id", []string{"d100", "d101"}[i])
				a.is("evaluations."+id+".context.access_request.expires_at", until)
			}
			a.is("evaluations.2.context.access_request", nil)
			a.is("evaluations.2.decision", false)
		}},
		{"Completion Semantics", "the approval object comes back at context.approval unchanged, and is no claim of the moment", func(t *testing.T) {
			d := openRequests(t)
			id, reference := d.approved()
			d.evaluateWith(reference, func(authz.Request) authz.Decision {
				return authz.Decision{Effect: authz.Allow, Code: authz.CodeAllowed}
			})
			got := d.last()
			if got.Approval == nil || got.Approval.ID != id || len(got.Approval.State) == 0 || strings.Contains(string(got.Context), "approval") {
				t.Errorf("decided with the approval %+v and the context %s", got.Approval, got.Context)
			}
		}},
		{"Completion Semantics", "an item of a batch inherits the approval with the context, and one with a context of its own does not", func(t *testing.T) {
			d := openRequests(t)
			body := strings.Replace(paymentRequest, `"tenant"`, `"approval":{"id":"apr_x"},"tenant"`, 1)
			d.call("POST", "/access/v1/evaluations", strings.TrimSuffix(body, "}")+`,"evaluations":[{},{"context":{"tenant":"acme"}}]}`)
			if a, b := d.pdp.asked[0].Approval, d.pdp.asked[1].Approval; a == nil || a.ID != "apr_x" || b != nil {
				t.Errorf("the items refer to %+v and %+v, want the first only to apr_x", a, b)
			}
		}},
		{"Completion Semantics", "MUST verify that the identifiers of approval.id and approval.state match, and reject on mismatch", func(t *testing.T) {
			d := openRequests(t)
			id, reference := d.approved()
			for name, other := range map[string]string{
				"another id":       strings.Replace(reference, id, "apr_other", 1),
				"a changed state":  strings.Replace(reference, `"state":"ey`, `"state":"ex`, 1),
				"another object":   `{"id":"` + id + `","state":{"approval_id":"` + id + `"}}`,
				"a number":         `{"id":"` + id + `","state":7}`,
				"no token":         `{"id":"` + id + `","state":"open sesame"}`,
				"a binding token":  `{"id":"` + id + `","state":"` + d.evaluate(paymentRequest).at("context.access_request.binding_token").(string) + `"}`,
				"of another point": `{"id":"` + id + `","state":"` + d.state(func(a *token.ApprovalState) { a.Audience = []string{"https://other.example.com"}; a.Approval = id }) + `"}`,
				"of another iss":   `{"id":"` + id + `","state":"` + d.state(func(a *token.ApprovalState) { a.Issuer = "https://other.example.com"; a.Approval = id }) + `"}`,
			} {
				a := d.evaluateWith(other, d.unapproved(authz.ApprovalUnverifiable))
				if got := d.last().Approval; got == nil || !strings.HasPrefix(got.ID, "unverified:") {
					t.Errorf("%s: decided with the approval %+v, want one that nobody has", name, got)
				}
				a.is("context.reason", "approval_unverifiable")
				a.is("context.next_action", "none")
				a.is("context.access_request", nil)
			}
			// By the id alone it is looked up; and a state of null is none.
			d.evaluateWith(`{"id":"`+id+`","state":null}`, d.unapproved(authz.ApprovalExpired))
			if got := d.last().Approval; got == nil || got.ID != id || got.State != nil {
				t.Errorf("decided with the approval %+v, want %s alone", got, id)
			}
		}},
		{"Completion Semantics", "an approval whose state is ours, and that this replica has not heard of yet, is grant_pending: retry", func(t *testing.T) {
			d := openRequests(t)
			_, reference := d.approved()
			a := d.evaluateWith(reference, d.unapproved(authz.ApprovalUnverifiable))
			a.is("decision", false)
			a.is("context.reason", "grant_pending")
			a.is("context.next_action", "retry")
			a.is("context.retry_after", 1)
			a.is("context.access_request", nil)
			// Of another act, or when its time is over, it is none.
			other := strings.Replace(paymentRequest, `"tenant"`, `"approval":`+reference+`,"tenant"`, 1)
			d.evaluate(strings.Replace(other, `"bot"`, `"scout"`, 1)).is("context.reason", "approval_unverifiable")
			d.now = d.now.Add(16 * time.Minute)
			d.evaluate(other).is("context.reason", "approval_unverifiable")
		}},
		{"Completion Semantics", "while nobody can verify a state there is no answer", func(t *testing.T) {
			d := openRequests(t)
			_, reference := d.approved()
			d.down = true
			a := d.call("POST", "/access/v1/evaluation", strings.Replace(paymentRequest, `"tenant"`, `"approval":`+reference+`,"tenant"`, 1))
			if a.is("decision", false); a.status != http.StatusServiceUnavailable {
				t.Errorf("answered %d %s, want 503", a.status, a.text)
			}
		}},
		{"Completion Semantics", "a reference that is none is no question", func(t *testing.T) {
			d := openRequests(t)
			for _, reference := range []string{`"apr_x"`, `{}`, `{"id":""}`, `{"id":7}`, `{"id":"` + strings.Repeat("x", 200) + `"}`, `{"id":"x","state":"` + strings.Repeat("x", 10<<10) + `"}`, `[]`} {
				a := d.call("POST", "/access/v1/evaluation", strings.Replace(paymentRequest, `"tenant"`, `"approval":`+reference+`,"tenant"`, 1))
				if a.is("decision", false); a.status != http.StatusBadRequest {
					t.Errorf("approval %.40s: answered %d %s, want 400", reference, a.status, a.text)
				}
			}
		}},
		{"Completion Semantics", "SHOULD tell what to do next; request MUST come with a fresh access_request", func(t *testing.T) {
			d := openRequests(t)
			for _, c := range []struct{ why, next string }{
				{authz.ApprovalExpired, "request"}, {authz.ApprovalOutOfScope, "request"}, {authz.ApprovalPending, "retry"},
				{authz.ApprovalPolicyDenied, "request"}, {authz.ApprovalUnverifiable, "none"},
			} {
				a := d.evaluateWith(`{"id":"apr_x"}`, d.unapproved(c.why))
				a.is("decision", false)
				a.is("context.reason", c.why)
				a.is("context.next_action", c.next)
				if offered := a.at("context.access_request") != nil; c.next == "request" && !offered {
					t.Errorf("%s: request without a fresh access_request: %s", c.why, a.text)
				}
				if (a.at("context.retry_after") != nil) != (c.next == "retry") {
					t.Errorf("%s: retry_after in %s", c.why, a.text)
				}
			}
		}},
		{"Completion Semantics", "without a fresh access_request the next action is none", func(t *testing.T) {
			d := openRequests(t)
			d.refusal.Effect, d.refusal.Routes = authz.Deny, nil
			for _, why := range []string{authz.ApprovalExpired, authz.ApprovalOutOfScope, authz.ApprovalPolicyDenied} {
				a := d.evaluateWith(`{"id":"apr_x"}`, d.unapproved(why))
				a.is("context.reason", why)
				a.is("context.next_action", "none")
				a.is("context.access_request", nil)
			}
		}},
		{"Completion Semantics", "the response tells the approval and its expiry", func(t *testing.T) {
			d := openRequests(t)
			a := d.evaluateWith(`{"id":"apr_x"}`, func(authz.Request) authz.Decision {
				return authz.Decision{Effect: authz.Allow, Code: authz.CodeAllowed, Lifted: true, Approval: &authz.Approval{ID: "apr_x", Until: askedAt.Add(time.Minute)}}
			})
			a.is("context.approval", map[string]any{"id": "apr_x", "approved_until": "2026-03-02T12:01:00.25Z"})
			a.is("context.access_request", nil)
			a.is("context.next_action", nil)
		}},
		{"Completion Semantics", "MUST NOT authorize solely because an approval.id is known: the decision point decides", func(t *testing.T) {
			d := openRequests(t)
			_, reference := d.approved()
			d.evaluateWith(reference, d.unapproved(authz.ApprovalOutOfScope)).is("decision", false)
		}},
		{"Completion Semantics", "the JWS of a state MUST carry iss and aud, and SHOULD carry a kid", func(t *testing.T) {
			d := openRequests(t)
			id, reference := d.approved()
			var ref struct{ State string }
			if err := json.Unmarshal([]byte(reference), &ref); err != nil {
				t.Fatal(err)
			}
			j, err := token.Parse(ref.State)
			if err != nil || j.KeyID != d.signer.Key().ID || !j.Is(token.ApprovalStateType) {
				t.Fatalf("state %s is %+v, %v", ref.State, j, err)
			}
			st, err := token.ParseApprovalState(j.Payload)
			if err != nil || st.Issuer != "https://pdp.example.com" || st.Audience[0] != st.Issuer || st.Approval != id || st.Evaluation != "d100" || st.Task == "" {
				t.Errorf("state says %+v, %v", st, err)
			}
		}},
		{"Approval Replay", "approval results MUST expire", func(t *testing.T) {
			d := openRequests(t)
			_, reference := d.approved()
			if !strings.Contains(reference, `"approved_until":"2026-03-02T12:15:00.25Z"`) {
				t.Errorf("the result %s does not say until when", reference)
			}
		}},
		{"Search", "a reference in the context of a search is no claim", func(t *testing.T) {
			d := openRequests(t)
			body := strings.Replace(paymentRequest, `"tenant"`, `"approval":{"id":"apr_x"},"tenant"`, 1)
			if a := d.call("POST", "/access/v1/search/resource", strings.Replace(body, `,"id":"7"`, "", 1)); a.status != 200 || strings.Contains(string(d.last().Context), "approval") {
				t.Errorf("answered %d %s with the context %s", a.status, a.text, d.last().Context)
			}
		}},
	})
}

// state signs an approval.state.
func (d *requestDoor) state(change func(*token.ApprovalState)) string {
	d.Helper()
	a := &token.ApprovalState{
		Issuer: "https://pdp.example.com", Audience: []string{"https://pdp.example.com"}, IssuedAt: d.now, Expires: d.now.Add(time.Minute),
		Approval: "apr_x", Task: "arq_x", Members: []string{}, Hash: strings.Repeat("A", 43),
	}
	change(a)
	text, err := a.Sign(d.signer)
	if err != nil {
		d.Fatal(err)
	}
	return text
}

// TestRequestsConfig has what makes no service.
func TestRequestsConfig(t *testing.T) {
	for _, q := range []*api.Requests{{Signer: &requestDoor{}}, {KeySet: "https://pdp.example.com/jwks"}} {
		if _, err := api.New(api.Config{PublicURL: "https://pdp.example.com", Requests: q}); err == nil {
			t.Errorf("New with the requests %+v: no error", q)
		}
	}
}

// otherEntry records an entry that is no decision.
func (d *requestDoor) otherEntry(seq int64) {
	d.recorded[seq] = audit.Entry{Seq: seq, At: d.now, Kind: audit.AgentPut, Body: json.RawMessage(`{}`)}
}
