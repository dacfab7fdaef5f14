package api_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/token"
)

var askedAt = time.Date(2026, 3, 2, 12, 0, 0, 250e6, time.UTC)

// until is when a refusal at askedAt can be asked about no longer.
const until = "2026-03-02T12:10:00Z"

// A requestDoor is a door whose refusals can be asked about: its decisions are recorded, and its desk keeps
// asks as the real one does, but for the judging of answers, which tests give by hand.
type requestDoor struct {
	*door
	unread
	now       time.Time
	recorded  map[int64]audit.Entry
	asks      map[string]*approval.Ask
	refuseAsk error
	signer    *token.Signer
	down      bool // whether nobody can sign or verify
	callbacks map[string]bool
	facts     func(*authz.Facts) // changes those of what is recorded
	refusal   authz.Decision
}

func (d *requestDoor) Entry(_ context.Context, seq int64) (audit.Entry, error) {
	if e, ok := d.recorded[seq]; ok {
		return e, nil
	}
	return audit.Entry{}, authz.Errorf(authz.ErrNotFound, "no entry %d", seq)
}
func (d *requestDoor) Prove(context.Context, int64) (*audit.EntryProof, error) { return nil, nil }
func (d *requestDoor) ProveGrowth(context.Context, int64) (*audit.GrowthProof, error) {
	return nil, nil
}

func (d *requestDoor) Ask(_ context.Context, a approval.Ask) (*approval.Ask, bool, error) {
	if d.refuseAsk != nil {
		return nil, false, d.refuseAsk
	}
	for _, o := range d.asks {
		if a.Key != "" && o.Key == a.Key && o.Print != a.Print {
			return nil, false, approval.ErrKeyTaken
		}
		if o.Items[0].Decision == a.Items[0].Decision {
			if o.Status == approval.Pending {
				return o, true, nil
			}
			return nil, false, approval.ErrDecisionUsed
		}
	}
	a.ID = fmt.Sprintf("arq_%026d", len(d.asks)+1)
	a.AskedAt, a.ExpiresAt, a.Status = d.now, d.now.Add(time.Hour), approval.Pending
	d.asks[a.ID] = &a
	return &a, false, nil
}

func (d *requestDoor) Keyed(key string) (*approval.Ask, error) {
	for _, a := range d.asks {
		if a.Key == key {
			return a, nil
		}
	}
	return nil, authz.Errorf(authz.ErrNotFound, "no ask of that key")
}

func (d *requestDoor) Get(_ context.Context, id string) (*approval.Ask, error) {
	if a, ok := d.asks[id]; ok {
		return a, nil
	}
	return nil, authz.Errorf(authz.ErrNotFound, "no ask %q", id)
}

func (d *requestDoor) Cancel(_ context.Context, actor, id, reason, comment string) (*approval.Ask, error) {
	a := d.asks[id]
	if a.Status != approval.Pending {
		return nil, authz.Errorf(authz.ErrConflict, "it has ended")
	}
	a.Why = actor + ": " + reason + ": " + comment
	d.end(a, approval.Cancelled)
	return a, nil
}

// end ends an ask, and gives approvals if it is approved.
func (d *requestDoor) end(a *approval.Ask, status approval.Status, items ...approval.Status) {
	a.Status, a.ClosedAt = status, d.now
	for i := range a.Items {
		it := &a.Items[i]
		if it.Status = status; items != nil {
			it.Status = items[i]
		}
		if it.Status == approval.Approved {
			it.Approval = &approval.Grant{ID: fmt.Sprintf("apr_%s_%d", a.ID, i), At: d.now, Until: d.now.Add(15 * time.Minute)}
		}
	}
}

var errDown = authz.Errorf(authz.ErrUnavailable, "no key signs")

func (d *requestDoor) SignBinding(_ context.Context, b *token.Binding) (string, error) {
	if d.down {
		return "", errDown
	}
	return b.Sign(d.signer)
}

func (d *requestDoor) verify(text, typ string) ([]byte, error) {
	if d.down {
		return nil, errDown
	}
	j, err := token.Parse(text)
	if err != nil {
		return nil, err
	}
	if !j.Is(typ) {
		return nil, authz.Errorf(authz.ErrInvalid, "it is no %s", typ)
	}
	return j.Payload, j.Verify(d.signer.Key())
}

func (d *requestDoor) VerifyBinding(_ context.Context, text string) (*token.Binding, error) {
	p, err := d.verify(text, token.BindingType)
	if err != nil {
		return nil, err
	}
	return token.ParseBinding(p)
}

func (d *requestDoor) SignState(_ context.Context, a *token.ApprovalState) (string, error) {
	if d.down {
		return "", errDown
	}
	return a.Sign(d.signer)
}

func (d *requestDoor) VerifyState(_ context.Context, text string) (*token.ApprovalState, error) {
	p, err := d.verify(text, token.ApprovalStateType)
	if err != nil {
		return nil, err
	}
	return token.ParseApprovalState(p)
}

func (d *requestDoor) Allowed(_ context.Context, pep, endpoint string) error {
	if d.callbacks[pep+" "+endpoint] {
		return nil
	}
	return authz.Errorf(authz.ErrForbidden, "%s may not be called back there", pep)
}

const requestCatalog = `
approvers:
  finance: {members: [{type: user, id: anna}]}
  board: {members: [{type: user, id: bob}]}
approvals:
  default: finance
  volatile: [time, confidence]
  routes:
    finance: {title: Finance, approvers: [finance]}
    board: {title: The board, approvers: [board]}
`

func openRequests(t testing.TB, change ...func(*api.Config)) *requestDoor {
	t.Helper()
	cat, err := catalog.Parse("catalog.yaml", []byte(requestCatalog))
	if err != nil {
		t.Fatal(err)
	}
	d := &requestDoor{now: askedAt, recorded: map[int64]audit.Entry{}, asks: map[string]*approval.Ask{}, callbacks: map[string]bool{}}
	if d.signer, _, err = token.GenerateSigner("EdDSA", rand.Reader); err != nil {
		t.Fatal(err)
	}
	d.refusal = authz.Decision{
		Effect: authz.RequireApproval, Code: authz.CodeApprovalRequired, Remedies: []string{"approval"}, Routes: []string{"finance"}, Catalog: 3, PolicySet: 3,
		Reasons: []authz.Reason{{Code: "large_payment", Message: "Payments above 100 need a person."}},
	}
	set := func(c *api.Config) {
		c.Now, c.Log, c.Passports = func() time.Time { return d.now }, d, new(fixedPassports)
		c.Requests = &api.Requests{
			Desk: d, Signer: d, KeySet: "https://pdp.example.com/.well-known/jwks.json", Callbacks: d,
			Active:  func() *catalog.Catalog { return cat },
			Catalog: func(context.Context, int64) (*catalog.Catalog, error) { return cat, nil },
		}
	}
	d.door = openDoor(t, append([]func(*api.Config){set}, change...)...)
	d.pdp.answer = func(req authz.Request) (authz.Decision, error) {
		return d.record(req, d.refusal), nil
	}
	return d
}

// record makes an entry of a decision.
func (d *requestDoor) record(req authz.Request, dec authz.Decision) authz.Decision {
	dec.At, dec.Seq = d.now, int64(len(d.recorded)+100)
	rec := pdp.Record{Request: req, Decision: dec, Facts: authz.Facts{Class: authz.Confidential, Labels: []string{"pii"}}}
	if req.Agent() != "" {
		rec.Facts.Agent = &authz.Agent{ID: req.Agent(), Owner: "carol", Creator: "dave"}
	}
	if d.facts != nil {
		d.facts(&rec.Facts)
	}
	body, err := json.Marshal(rec)
	if err != nil {
		d.Fatal(err)
	}
	d.recorded[dec.Seq] = audit.Entry{Seq: dec.Seq, At: d.now, Kind: audit.DecisionMade, Body: body}
	return dec
}

// An answered is an answer, as JSON.
type answered struct {
	testing.TB
	status int
	header http.Header
	text   string
	body   map[string]any
}

func (d *requestDoor) call(method, path, body string, headers ...string) *answered {
	d.Helper()
	r := d.send(method, path, body, headers...)
	a := &answered{TB: d.TB, status: r.StatusCode, header: r.Header, text: text(d.TB, r)}
	if err := json.Unmarshal([]byte(a.text), &a.body); err != nil {
		d.Fatalf("%s %s answered %d %s: no JSON object", method, path, a.status, a.text)
	}
	return a
}

// at returns the value at a path of members and indexes, nil if there is none.
func (a *answered) at(path string) any {
	var v any = a.body
	for _, name := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[name]
		case []any:
			var i int
			if fmt.Sscan(name, &i); i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

func (a *answered) is(path string, want any) {
	a.Helper()
	if got := a.at(path); fmt.Sprint(got) != fmt.Sprint(want) {
		a.Errorf("%s = %v, want %v: %d %s", path, got, want, a.status, a.text)
	}
}

// problem checks an error of the draft's type.
func (a *answered) problem(status int, name string) {
	a.Helper()
	want := "about:blank"
	if name != "" {
		want = "urn:openid:authzen:access-request:error:" + name
	}
	if a.status != status || a.at("type") != want || a.header.Get("Content-Type") != "application/problem+json" || a.at("status") != float64(status) {
		a.Errorf("answered %d %s %s, want a problem %d %s", a.status, a.header.Get("Content-Type"), a.text, status, want)
	}
}

const paymentRequest = `{"subject":{"type":"agent","id":"bot"},"action":{"name":"pay","properties":{"amount":500,"to":"NL01"}},"resource":{"type":"account","id":"7"},"context":{"tenant":"acme","time":"10:00","observed":{"session":"s1"},"on_behalf_of":[{"type":"user","id":"dora"}]}}`

// evaluate asks for a decision.
func (d *requestDoor) evaluate(body string, headers ...string) *answered {
	d.Helper()
	a := d.call("POST", "/access/v1/evaluation", body, headers...)
	if a.status != 200 {
		d.Fatalf("evaluation answered %d %s", a.status, a.text)
	}
	return a
}

// submission returns the body of an access request about a refusal, changed by old, new pairs.
func submission(refused *answered, changes ...string) string {
	denial := map[string]any{"evaluation_id": refused.at("context.evaluation_id"), "expires_at": refused.at("context.access_request.expires_at")}
	for _, name := range []string{"binding_token", "template"} {
		if v := refused.at("context.access_request." + name); v != nil {
			denial[name] = v
		}
	}
	text, _ := json.Marshal(denial)
	body := strings.TrimSuffix(paymentRequest, "}") + `,"denial":` + string(text) + `}`
	body = strings.Replace(body, `"tenant":"acme"`, `"tenant":"acme","business_justification":"The invoice is due."`, 1)
	for i := 0; i+1 < len(changes); i += 2 {
		before := body
		if body = strings.ReplaceAll(body, changes[i], changes[i+1]); body == before {
			panic("the submission does not hold " + changes[i] + ": " + body)
		}
	}
	return body
}

func (d *requestDoor) submit(body string, headers ...string) *answered {
	d.Helper()
	return d.call("POST", "/access/v1/requests", body, headers...)
}

// asked submits, and returns the ask that came of it.
func (d *requestDoor) asked(body string, headers ...string) (*answered, *approval.Ask) {
	d.Helper()
	a := d.submit(body, headers...)
	id, _ := a.at("task.id").(string)
	ask := d.asks[id]
	if a.status != http.StatusAccepted || ask == nil {
		d.Fatalf("submission answered %d %s", a.status, a.text)
	}
	return a, ask
}

// withCallers adds callers by their tokens.
func withCallers(more map[string]*caller.Caller) func(*api.Config) {
	return func(c *api.Config) { c.Callers = moreCallers{tokens{}, more} }
}

type moreCallers struct {
	tokens
	more map[string]*caller.Caller
}

func (m moreCallers) Authenticate(token string) (*caller.Caller, error) {
	if c, ok := m.more[token]; ok {
		return c, nil
	}
	return m.tokens.Authenticate(token)
}

// TestAccessRequest goes the whole way: refusal, request, approval, and what the enforcement point sends then.
func TestAccessRequest(t *testing.T) {
	d := openRequests(t)
	refused := d.evaluate(paymentRequest)
	refused.is("decision", false)
	refused.is("context.access_request.endpoint", "https://pdp.example.com/access/v1/requests")
	refused.is("context.access_request.expires_at", until)
	refused.is("context.access_request.template", "finance")
	refused.is("context.access_request.display.description", "It must be approved by: Finance.")

	sent, ask := d.asked(submission(refused))
	want := approval.Ask{
		Kind: approval.Access, Requester: "pep:gateway", PEP: "gateway", Agent: "bot", Owner: "carol", Session: "s1", Catalog: 3,
		Justification: "The invoice is due.",
		Bound: approval.Bound{
			Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}}, OnBehalf: []authz.Ref{{Type: "user", ID: "dora"}},
			Context: authz.Claimed(`{"tenant":"acme"}`), Members: []string{"tenant"},
		},
	}
	if ask.Kind != want.Kind || ask.Requester != want.Requester || ask.PEP != want.PEP || ask.Agent != want.Agent || ask.Owner != want.Owner || ask.Creator != "dave" ||
		ask.Session != want.Session || ask.Catalog != want.Catalog || ask.Justification != want.Justification ||
		string(ask.Bound.Context) != string(want.Bound.Context) || !slices.Equal(ask.Bound.Members, want.Bound.Members) || !slices.Equal(ask.Bound.OnBehalf, want.Bound.OnBehalf) {
		t.Errorf("asked %+v, want %+v", *ask, want)
	}
	if it := ask.Items[0]; it.Decision != 100 || !slices.Equal(it.Routes, []string{"finance"}) || it.Data != authz.Confidential || !slices.Equal(it.Labels, []string{"pii"}) || string(it.Action.Properties) != `{"amount":500,"to":"NL01"}` {
		t.Errorf("asked for %+v", it)
	}
	sent.is("task.status", "pending")
	sent.is("task.expires_at", "2026-03-02T13:00:00.25Z")

	d.now = d.now.Add(time.Minute)
	d.end(ask, approval.Approved)
	done := d.call("GET", "/access/v1/requests/"+ask.ID, "")
	done.is("task.status", "approved")
	done.is("result.mode", "reevaluate")
	reference, err := json.Marshal(done.at("result.approval"))
	if err != nil {
		t.Fatal(err)
	}

	d.pdp.answer = func(req authz.Request) (authz.Decision, error) {
		dec := authz.Decision{Effect: authz.Allow, Code: authz.CodeAllowed, Lifted: true, Approval: &authz.Approval{ID: req.Approval.ID, Until: d.now.Add(14 * time.Minute)}}
		return d.record(req, dec), nil
	}
	again := d.evaluate(strings.Replace(paymentRequest, `"tenant"`, `"approval":`+string(reference)+`,"tenant"`, 1))
	again.is("decision", true)
	again.is("context.approval.id", done.at("result.approval.id"))
	again.is("context.approval.approved_until", "2026-03-02T12:15:00.25Z")
	if got := d.last(); got.Approval.ID != done.at("result.approval.id") || string(got.Context) != `{"tenant":"acme","time":"10:00"}` {
		t.Errorf("decided %+v with context %s, want the approval apart from the context", got.Approval, got.Context)
	}
}

// TestOwnersOfDelegators: whoever owns an agent on whose behalf another asks is known to the desk.
func TestOwnersOfDelegators(t *testing.T) {
	d := openRequests(t)
	d.facts = func(f *authz.Facts) {
		f.Behalf = []authz.Delegator{
			{Agent: &authz.Agent{ID: "payer", Owner: "olga", Creator: "admin:mike"}},
			{Agent: &authz.Agent{ID: "boss", Owner: "anna", Creator: "admin:mike"}},
		}
	}
	_, ask := d.asked(submission(d.evaluate(paymentRequest)))
	if want := []string{"admin:mike", "anna", "olga"}; ask.Owner != "carol" || ask.Creator != "dave" || !slices.Equal(ask.Owners, want) {
		t.Errorf("the ask is of %s and %s, and of %q, want carol and dave, and %q", ask.Owner, ask.Creator, ask.Owners, want)
	}
}

// TestOwnersOfItems: what another owned when one of the items was refused counts too.
func TestOwnersOfItems(t *testing.T) {
	d := openRequests(t)
	first := d.evaluate(paymentRequest)
	d.facts = func(f *authz.Facts) { f.Agent.Owner = "eve" }
	second := d.evaluate(strings.Replace(paymentRequest, `"id":"7"`, `"id":"8"`, 1))
	item := func(r *answered, account string) string {
		return fmt.Sprintf(`{"action":{"name":"pay","properties":{"amount":500,"to":"NL01"}},"resource":{"type":"account","id":%q},"denial":{"evaluation_id":%q,"expires_at":%q}}`,
			account, r.at("context.evaluation_id"), r.at("context.access_request.expires_at"))
	}
	_, ask := d.asked(`{"subject":{"type":"agent","id":"bot"},"context":{"tenant":"acme","time":"10:00"},"items":[` + item(first, "7") + "," + item(second, "8") + `]}`)
	if want := []string{"dave", "eve"}; ask.Owner != "carol" || !slices.Equal(ask.Owners, want) {
		t.Errorf("the ask is of %s, and of %q, want carol, and %q", ask.Owner, ask.Owners, want)
	}
}
