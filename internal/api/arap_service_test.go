package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/token"
)

// withoutToken returns a submission bound by its evaluation_id alone.
func withoutToken(refused *answered, changes ...string) string {
	return submission(refused, append([]string{fmt.Sprintf(`"binding_token":%q,`, binding(refused)), ""}, changes...)...)
}

func binding(refused *answered) string {
	return refused.at("context.access_request.binding_token").(string)
}

// signed returns a submission with a binding token that is changed, and signed by our key.
func (d *requestDoor) signed(refused *answered, change func(*token.Binding)) string {
	d.Helper()
	b := d.binding(refused)
	change(b)
	text, err := b.Sign(d.signer)
	if err != nil {
		d.Fatal(err)
	}
	return submission(refused, binding(refused), text)
}

// bundle returns a submission of two refusals.
func bundle(a, b *answered, changes ...string) string {
	item := func(refused *answered, resource string) string {
		return fmt.Sprintf(`{"resource":{"type":"account","id":%q},"action":{"name":"pay","properties":{"amount":500,"to":"NL01"}},"denial":{"evaluation_id":%q,"expires_at":%q,"binding_token":%q}}`,
			resource, refused.at("context.evaluation_id"), refused.at("context.access_request.expires_at"), binding(refused))
	}
	body := `{"subject":{"type":"agent","id":"bot"},"context":{"tenant":"acme"},"items":[` + item(a, "7") + `,` + item(b, "8") + `]}`
	for i := 0; i+1 < len(changes); i += 2 {
		body = strings.ReplaceAll(body, changes[i], changes[i+1])
	}
	return body
}

// two returns the refusals of two payments, of accounts 7 and 8.
func (d *requestDoor) two() (a, b *answered) {
	return d.evaluate(paymentRequest), d.evaluate(strings.Replace(paymentRequest, `"id":"7"`, `"id":"8"`, 1))
}

// otherPEP is another enforcement point, and again the same one with another token.
var otherPEP = withCallers(map[string]*caller.Caller{
	"other-token": {ID: "c4", Name: "other", Role: caller.PEP}, "second-token": {ID: "c5", Name: "gateway", Role: caller.PEP},
})

var agentHeaders = []string{"Authorization", "DPoP h.bot.s", "Dpop", "proof"}

func asAgent(submission string) string {
	return strings.Replace(submission, `,"observed":{"session":"s1"},"on_behalf_of":[{"type":"user","id":"dora"}]`, "", 1)
}

// TestARAPSubmission has the sentences of the profile about the Access Request Endpoint.
func TestARAPSubmission(t *testing.T) {
	refusedFor := func(t *testing.T, change ...func(*api.Config)) (*requestDoor, *answered) {
		d := openRequests(t, change...)
		return d, d.evaluate(paymentRequest)
	}
	checkRules(t, []rule{
		{"Access Request Service Processing Rules", "MUST authenticate and authorize before accepting submissions", func(t *testing.T) {
			d, refused := refusedFor(t, otherPEP)
			a := d.submit(submission(refused), "Authorization", "")
			a.problem(401, "")
			if a.header.Get("Www-Authenticate") == "" { // RFC 6750
				t.Error("no challenge")
			}
			for _, who := range []string{"audit-token", "admin-token"} {
				d.submit(submission(refused), "Authorization", "Bearer "+who).problem(403, "")
			}
			d.submit(submission(refused), "Authorization", "Bearer other-token").problem(400, "invalid_denial_binding")
			d.asked(submission(refused), "Authorization", "Bearer second-token")
		}},
		{"Access Request Service Processing Rules", "an agent may ask about itself, and about nobody else", func(t *testing.T) {
			d, refused := refusedFor(t)
			_, ask := d.asked(asAgent(submission(refused)), agentHeaders...)
			if ask.Requester != "agent:bot" || ask.PEP != "gateway" {
				t.Errorf("asked by %s about a refusal to %s", ask.Requester, ask.PEP)
			}
			other := d.evaluate(strings.Replace(paymentRequest, `"bot"`, `"scout"`, 1))
			d.submit(asAgent(submission(other, `"id":"bot"`, `"id":"scout"`)), agentHeaders...).problem(400, "invalid_denial_binding")
		}},
		{"Access Request Service Processing Rules", "MUST reject what is based on no requestable denial", func(t *testing.T) {
			for name, change := range map[string]func(*authz.Decision){
				"a permission":    func(d *authz.Decision) { d.Effect = authz.Allow },
				"a plain refusal": func(d *authz.Decision) { d.Effect = authz.Deny },
				"no route":        func(d *authz.Decision) { d.Routes = nil },
			} {
				t.Run(name, func(t *testing.T) {
					d := openRequests(t)
					like := d.evaluate(paymentRequest)
					change(&d.refusal)
					refused := d.evaluate(paymentRequest)
					d.submit(withoutToken(like, like.at("context.evaluation_id").(string), refused.at("context.evaluation_id").(string))).problem(400, "not_requestable")
				})
			}
		}},
		{"Access Request Submission", "a denial without binding material MUST be rejected", func(t *testing.T) {
			d, refused := refusedFor(t)
			d.submit(withoutToken(refused, `"evaluation_id":"d100",`, "")).problem(400, "invalid_denial_binding")
			d.submit(paymentRequest).problem(400, "invalid_denial_binding")
			d.submit(submission(refused, `"expires_at"`, `"expired_at"`)).problem(400, "invalid_denial_binding")
		}},
		{"Access Request Submission", "a binding that does not cover the act MUST be rejected", func(t *testing.T) {
			d, refused := refusedFor(t)
			for _, change := range [][2]string{
				{`"amount":500`, `"amount":501`}, {`"to":"NL01"`, `"to":"NL02"`}, {`"id":"7"`, `"id":"8"`}, {`"type":"account"`, `"type":"vault"`},
				{`"name":"pay"`, `"name":"drain"`}, {`"tenant":"acme",`, ``}, {`"tenant":"acme"`, `"tenant":"other"`}, {`"tenant":"acme"`, `"tenant":null`},
				{`"id":"bot"`, `"id":"bot","properties":{}`}, {`"id":"bot"`, `"id":"scout"`}, {`"to":"NL01"`, `"to":"NL01","fast":true`},
				{`"dora"`, `"eve"`},
			} {
				d.submit(submission(refused, change[0], change[1])).problem(400, "invalid_denial_binding")
				d.submit(withoutToken(refused, change[0], change[1])).problem(400, "invalid_denial_binding")
			}
			if len(d.asks) > 0 {
				t.Errorf("%d asks came of it", len(d.asks))
			}
		}},
		{"Access Request Submission", "submission-time augmentations do not change what is bound", func(t *testing.T) {
			d, refused := refusedFor(t)
			_, ask := d.asked(submission(refused, `"time":"10:00"`, `"time":"10:07","ticket":"T-1"`, `"amount":500`, `"amount":5.0E2`))
			if string(ask.Bound.Context) != `{"tenant":"acme"}` || string(ask.Items[0].Action.Properties) != `{"amount":500,"to":"NL01"}` {
				t.Errorf("bound to the context %s and the arguments %s", ask.Bound.Context, ask.Items[0].Action.Properties)
			}
		}},
		{"Binding Token Integrity", "MUST verify the token's integrity", func(t *testing.T) {
			d, refused := refusedFor(t)
			good := binding(refused)
			stranger := openRequests(t)
			for name, text := range map[string]string{
				"changed": good[:len(good)-4] + "AAAA", "cut": good[:len(good)-1], "no token": "x",
				"of another key": binding(stranger.evaluate(paymentRequest)),
				"of another use": d.state(func(*token.ApprovalState) {}),
			} {
				t.Run(name, func(t *testing.T) { d.submit(submission(refused, good, text)).problem(400, "invalid_denial_binding") })
			}
		}},
		{"Binding Token Integrity", "MUST reject a token whose aud does not include us, or of another iss", func(t *testing.T) {
			d, refused := refusedFor(t)
			d.submit(d.signed(refused, func(b *token.Binding) { b.Audience = []string{"https://other.example.com"} })).problem(400, "invalid_denial_binding")
			d.submit(d.signed(refused, func(b *token.Binding) { b.Issuer = "https://other.example.com" })).problem(400, "invalid_denial_binding")
			d.asked(d.signed(refused, func(b *token.Binding) { b.Audience = append(b.Audience, "https://other.example.com") }))
		}},
		{"Binding Token Integrity", "MUST verify that denial.expires_at matches the protected value", func(t *testing.T) {
			d, refused := refusedFor(t)
			d.submit(submission(refused, until, "2026-03-02T13:10:00Z")).problem(400, "invalid_denial_binding")
			d.submit(submission(refused, until, "2026-03-02T12:09:59Z")).problem(400, "invalid_denial_binding")
			d.asked(submission(refused, until, "2026-03-02T13:10:00+01:00"))
		}},
		{"Binding Token Integrity", "MUST enforce the earlier of exp and denial.expires_at", func(t *testing.T) {
			d, refused := refusedFor(t)
			d.submit(d.signed(refused, func(b *token.Binding) { b.Expires = askedAt.Add(-time.Second) })).problem(410, "expired_denial")
			d.now = askedAt.Add(10 * time.Minute)
			d.submit(d.signed(refused, func(b *token.Binding) { b.Expires = askedAt.Add(time.Hour) })).problem(410, "expired_denial")
		}},
		{"Binding Token Integrity", "the token and denial.evaluation_id are of one evaluation", func(t *testing.T) {
			d, refused := refusedFor(t)
			d.evaluate(paymentRequest)
			d.submit(submission(refused, `"evaluation_id":"d100"`, `"evaluation_id":"d101"`)).problem(400, "invalid_denial_binding")
			d.asked(submission(refused, `"evaluation_id":"d100",`, ""))
		}},
		{"Binding Token Integrity", "SHOULD detect replay: one refusal is asked about once", func(t *testing.T) {
			d, refused := refusedFor(t)
			_, ask := d.asked(submission(refused))
			if _, again := d.asked(submission(refused)); again != ask {
				t.Errorf("the same submission while the first waits is %s, want %s", again.ID, ask.ID)
			}
			d.end(ask, approval.Denied)
			d.submit(submission(refused)).problem(400, "invalid_denial_binding")
		}},
		{"Binding Token Integrity", "verifiers tolerate additional claims", func(t *testing.T) {
			d, refused := refusedFor(t)
			j, err := token.Parse(binding(refused))
			if err != nil {
				t.Fatal(err)
			}
			text, err := d.signer.Sign(token.BindingType, append(j.Payload[:len(j.Payload)-1:len(j.Payload)-1], `,"risk":7}`...))
			if err != nil {
				t.Fatal(err)
			}
			d.asked(submission(refused, binding(refused), text))
		}},
		{"Access Request Service Processing Rules", "MUST resolve evaluation_id, and compare with what was recorded", func(t *testing.T) {
			d, refused := refusedFor(t)
			d.otherEntry(7)
			for _, id := range []string{"d7", "d999", "100", "d0", "x"} {
				d.submit(withoutToken(refused, `"d100"`, `"`+id+`"`)).problem(400, "invalid_denial_binding")
			}
			d.asked(withoutToken(refused))
		}},
		{"Access Request Service Processing Rules", "MUST enforce freshness against the recorded expires_at, not the echoed one", func(t *testing.T) {
			d, refused := refusedFor(t)
			d.now = askedAt.Add(9 * time.Minute)
			d.asked(withoutToken(refused, until, "2026-03-02T12:01:00Z"))
			d.now = askedAt.Add(10 * time.Minute)
			d.submit(withoutToken(refused, until, "2027-01-01T00:00:00Z")).problem(410, "expired_denial")
		}},
		{"Access Request Service Processing Rules", "MUST reject submissions after expires_at", func(t *testing.T) {
			d, refused := refusedFor(t)
			d.now = askedAt.Add(10 * time.Minute)
			d.submit(submission(refused)).problem(410, "expired_denial")
		}},
		{"Overbroad Approval", "MUST NOT treat template, requested_access or display as policy", func(t *testing.T) {
			d, refused := refusedFor(t)
			d.submit(submission(refused, `"template":"finance"`, `"template":"board"`)).problem(400, "invalid_denial_binding")
			_, ask := d.asked(submission(refused, `"denial":`, `"requested_access":{"requested_until":"2027-01-01T00:00:00Z","emergency":true,"role":"root"},"denial":`))
			if !ask.Emergency || ask.RequestedUntil.Year() != 2027 || ask.Items[0].Routes[0] != "finance" || ask.Status != approval.Pending {
				t.Errorf("asked %+v", *ask)
			}
		}},
		{"Emergency Access", "SHOULD require a business justification", func(t *testing.T) {
			d, refused := refusedFor(t)
			d.submit(submission(refused, `"denial":`, `"requested_access":{"emergency":true},"denial":`, `,"business_justification":"The invoice is due."`, "")).problem(400, "")
		}},
		{"Access Request Submission", "client.actor and client.source MUST NOT be relied upon; they are kept for audit", func(t *testing.T) {
			d, refused := refusedFor(t)
			_, ask := d.asked(submission(refused, `"denial":`, `"client":{"id":"app","source":{"session_id":"s-9"},"more":1},"denial":`))
			if string(ask.Client) != `{"id":"app","source":{"session_id":"s-9"},"more":1}` || ask.Session != "s1" || ask.Requester != "pep:gateway" {
				t.Errorf("asked %+v", *ask)
			}
		}},
		{"Delegation and On-Behalf-Of", "MUST reject a chain of actors that cannot be verified", func(t *testing.T) {
			for _, actor := range []string{
				`{"id":"stranger"}`, `{"id":"bot","issuer":"https://other.example.com"}`, `{"id":"bot","act":{"sub":"stranger"}}`, `{"id":"bot","act":{"sub":"dora","act":{"sub":"stranger","iss":"x"}}}`,
			} {
				d, refused := refusedFor(t)
				d.submit(submission(refused, `"denial":`, `"client":{"actor":`+actor+`},"denial":`)).problem(400, "invalid_denial_binding")
			}
			for _, actor := range []string{`{"id":"bot"}`, `{"id":"bot","issuer":"https://pdp.example.com","type":"ai_agent"}`, `{"id":"bot","act":{"sub":"dora"}}`} {
				d, refused := refusedFor(t)
				d.asked(submission(refused, `"denial":`, `"client":{"actor":`+actor+`},"denial":`))
			}
			d, refused := refusedFor(t)
			d.submit(submission(refused, `"id":"bot"`, `"id":"bot","properties":{"act":{"sub":"stranger"}}`)).problem(400, "invalid_denial_binding")
			d.submit(submission(refused, `"denial":`, `"client":{"actor":{"issuer":"x"}},"denial":`)).problem(400, "")
		}},
		{"Delegation and On-Behalf-Of", "an actor that the evaluation named may be kept in the subject or moved to client.actor", func(t *testing.T) {
			act := `"id":"bot","properties":{"team":"x","act":{"sub":"app","iss":"https://idp.example.com"}}`
			for _, change := range [][]string{
				{`"id":"bot"`, act},
				{`"id":"bot"`, `"id":"bot","properties":{"team":"x"}`, `"denial":`, `"client":{"actor":{"id":"app","issuer":"https://idp.example.com"}},"denial":`},
			} {
				d := openRequests(t)
				d.asked(submission(d.evaluate(strings.Replace(paymentRequest, `"id":"bot"`, act, 1)), change...))
			}
		}},
		{"Access Request Submission", "SHOULD treat the same Idempotency-Key and body as the same request, also when it has ended", func(t *testing.T) {
			d, refused := refusedFor(t)
			body := submission(refused)
			first, ask := d.asked(body, "Idempotency-Key", "k1")
			var v map[string]json.RawMessage
			if err := json.Unmarshal([]byte(body), &v); err != nil {
				t.Fatal(err)
			}
			reordered, _ := json.MarshalIndent(v, "", "  ")
			d.submit(string(reordered), "Idempotency-Key", "k1").is("task.id", first.at("task.id"))
			d.end(ask, approval.Denied)
			d.now = d.now.Add(time.Hour) // the refusal cannot be asked about any more
			late := d.submit(body, "Idempotency-Key", "k1")
			if late.is("task.id", ask.ID); late.status != http.StatusCreated {
				t.Errorf("answered %d %s", late.status, late.text)
			}
		}},
		{"Access Request Submission", "a different body under the same key MUST be rejected", func(t *testing.T) {
			d, refused := refusedFor(t)
			d.asked(submission(refused), "Idempotency-Key", "k1")
			d.submit(submission(refused, "The invoice is due.", "Please."), "Idempotency-Key", "k1").problem(409, "duplicate_request")
			// Two that come at once are told apart by the desk.
			d.refuseAsk = approval.ErrKeyTaken
			d.submit(submission(refused), "Idempotency-Key", "k2").problem(409, "duplicate_request")
		}},
		{"Access Request Submission", "a submission that was joined to another is known by its key as well", func(t *testing.T) {
			d, refused := refusedFor(t)
			_, ask := d.asked(submission(refused), "Idempotency-Key", "k1")
			body := submission(refused, "The invoice is due.", "Please.")
			if _, joined := d.asked(body, "Idempotency-Key", "k2"); joined != ask {
				t.Fatalf("joined to %s, want %s", joined.ID, ask.ID)
			}
			d.end(ask, approval.Denied)
			d.now = d.now.Add(time.Hour)
			d.submit(body, "Idempotency-Key", "k2").is("task.id", ask.ID)
			d.submit(submission(refused), "Idempotency-Key", "k2").problem(409, "duplicate_request")
			delete(d.asks, ask.ID)
			d.submit(body, "Idempotency-Key", "k2").problem(410, "expired_denial")
		}},
		{"Idempotency Key Abuse", "SHOULD scope keys to the caller", func(t *testing.T) {
			d, refused := refusedFor(t)
			_, ask := d.asked(submission(refused), "Idempotency-Key", "k1")
			other := d.evaluate(paymentRequest)
			if _, b := d.asked(asAgent(submission(other)), append(agentHeaders, "Idempotency-Key", "k1")...); b == ask || b.Key == ask.Key {
				t.Errorf("the agent's submission under the key of the gateway is the gateway's, %s", ask.ID)
			}
			for _, key := range []string{strings.Repeat("k", 300), "a\tb"} {
				d.submit(submission(refused), "Idempotency-Key", key).problem(400, "")
			}
		}},
		{"Availability", "SHOULD apply rate limits to submissions", func(t *testing.T) {
			d, refused := refusedFor(t)
			d.refuseAsk = authz.Errorf(authz.ErrForbidden, "too many asks")
			if a := d.submit(submission(refused)); a.header.Get("Retry-After") == "" {
				t.Errorf("answered %d %s without Retry-After", a.status, a.text)
			} else {
				a.problem(429, "")
			}
		}},
		{"Extensibility", "members that are not known MUST be ignored", func(t *testing.T) {
			d, refused := refusedFor(t)
			d.asked(submission(refused, `"denial":{`, `"vendor.example.com/x":{"a":[1]},"requested_access":{"x":1},"denial":{"x":1,"reason":"r","evaluated_at":"2026",`))
		}},
		{"Error Responses", "errors of the endpoint are application/problem+json", func(t *testing.T) {
			d, refused := refusedFor(t)
			for _, body := range []string{
				`{}`, `[]`, `{"subject":{"type":"agent","id":"bot"}}`, `{"subject":{"type":"agent"}}`, `{"subject":5}`, `{"items":[]}`, `x`, `{"subject":{"type":"a","id":"b"},"subject":{}}`,
				submission(refused, `"denial":{`, `"denial":{"expires_at":"noon","x":{`) + `}`, submission(refused, `"denial":`, `"items":[],"denial":`),
				submission(refused, `"denial":`, `"requested_access":{"emergency":"yes"},"denial":`), submission(refused, `"denial":`, `"requested_access":{"requested_until":"2020-01-01T00:00:00Z"},"denial":`),
				submission(refused, `"The invoice is due."`, `7`), submission(refused, `The invoice`, `\u001b[2J`), submission(refused, `The invoice`, strings.Repeat("x", 2001)),
				submission(refused, `"denial":`, `"client":"me","denial":`), submission(refused, `"denial":`, `"client":{"id":"`+strings.Repeat("x", 9000)+`"},"denial":`),
			} {
				d.submit(body).problem(400, "")
			}
			d.call("POST", "/access/v1/requests", submission(refused), "Content-Type", "text/plain").problem(400, "")
			d.down = true
			d.submit(submission(refused)).problem(503, "")
		}},
		{"Requests", "where nobody can be asked there is no endpoint", func(t *testing.T) {
			d, refused := refusedFor(t)
			none := openRequests(t, func(c *api.Config) { c.Requests = nil })
			none.submit(submission(refused)).problem(503, "")
			d.call("GET", "/access/v1/requests/arq_x", "").problem(404, "unknown_task")
			none.call("GET", "/access/v1/requests/arq_x", "").problem(503, "")
			none.call("GET", "/access/v1/requests/schemas/finance", "").problem(503, "")
		}},
	})
}

// TestARAPBundles has the sentences of the profile about submissions of several items.
func TestARAPBundles(t *testing.T) {
	checkRules(t, []rule{
		{"Access Request Submission", "resource and action MUST be omitted beside items", func(t *testing.T) {
			d := openRequests(t)
			a, b := d.two()
			d.submit(bundle(a, b, `"items":`, `"action":{"name":"pay"},"items":`)).problem(400, "")
			d.submit(bundle(a, b, `{"resource":{"type":"account","id":"8"},`, `{`)).problem(400, "")
		}},
		{"Access Request Submission", "every item is bound by its own denial", func(t *testing.T) {
			d := openRequests(t)
			a, b := d.two()
			sent, ask := d.asked(bundle(a, b))
			if !ask.Bulk || len(ask.Items) != 2 || ask.Items[0].Decision != 100 || ask.Items[1].Decision != 101 || ask.Items[1].Resource.ID != "8" {
				t.Errorf("asked %+v", ask.Items)
			}
			sent.is("task.items.0.resource.id", "7")
			sent.is("task.items.1.resource.id", "8")
			sent.is("task.items.1.action.name", "pay")
			sent.is("task.items.1.status", "pending")
		}},
		{"Access Request Submission", "an item whose denial does not cover it MUST be rejected, and the bundle with it", func(t *testing.T) {
			d := openRequests(t)
			a, b := d.two()
			d.submit(bundle(b, a)).problem(400, "invalid_denial_binding")
			d.submit(bundle(a, a, `"id":"8"`, `"id":"7"`)).problem(400, "invalid_denial_binding")
			d.submit(bundle(a, b, `"denial":`, `"denied":`)).problem(400, "invalid_denial_binding")
			// A denial beside the items MUST cover all of them; ours are of one act each.
			beside := fmt.Sprintf(`"denial":{"evaluation_id":"d100","expires_at":%q},"items":`, until)
			d.submit(bundle(a, b, `"denial":`, `"denied":`, `"items":`, beside)).problem(400, "invalid_denial_binding")
			if len(d.asks) > 0 {
				t.Errorf("%d asks came of it", len(d.asks))
			}
		}},
		{"Access Request Submission", "the items have one context and one version of the catalog", func(t *testing.T) {
			d := openRequests(t)
			a := d.evaluate(paymentRequest)
			d.refusal.Catalog = 4
			b := d.evaluate(strings.Replace(paymentRequest, `"id":"7"`, `"id":"8"`, 1))
			d.submit(bundle(a, b)).problem(400, "invalid_denial_binding")
		}},
		{"Access Request Submission", "requested_access of an item takes precedence", func(t *testing.T) {
			d := openRequests(t)
			a, b := d.two()
			_, ask := d.asked(bundle(a, b, `"items":[{`, `"requested_access":{"requested_until":"2026-03-03T00:00:00Z"},"items":[{"requested_access":{"requested_until":"2026-03-04T00:00:00Z"},`))
			if ask.RequestedUntil.Day() != 4 {
				t.Errorf("wanted until %v", ask.RequestedUntil)
			}
		}},
		{"Access Request Submission", "items are bounded", func(t *testing.T) {
			d := openRequests(t)
			item := `{"resource":{"type":"account","id":"7"},"action":{"name":"pay"}}`
			d.submit(`{"subject":{"type":"agent","id":"bot"},"items":[`+strings.Repeat(item+",", approval.MaxItems)+item+`]}`).problem(400, "")
		}},
		{"Completed Task Response", "each approved item MUST include its own result, and there is none for all", func(t *testing.T) {
			d := openRequests(t)
			_, ask := d.asked(bundle(d.two()))
			d.end(ask, approval.Partial, approval.Approved, approval.Denied)
			a := d.call("GET", "/access/v1/requests/"+ask.ID, "")
			a.is("task.status", "partial")
			a.is("task.items.0.status", "approved")
			a.is("task.items.0.result.mode", "reevaluate")
			a.is("task.items.0.result.approval.id", ask.Items[0].Approval.ID)
			a.is("task.items.1.status", "denied")
			a.is("task.items.1.result", nil)
			a.is("result", nil)
		}},
	})
}
