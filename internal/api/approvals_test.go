package api_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/people"
	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/stop"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

const inboxCatalog = `
reasons: {over-limit: {message: "The amount is above what agents pay alone.", detail: "Finance wants to see these."}}
approvers:
  finance: {title: Finance, members: [{type: user, id: anna}, {type: user, id: ben}, {type: user, id: olga}]}
  heads: {title: Heads, members: [{type: user, id: carl}, {type: user, id: dora}]}
approvals:
  default: one
  routes:
    one: {title: One of finance, approvers: [finance], break_glass: [heads], review: 2h, uses: 5, class: true, amounts: {amount: "1000"}}
    two: {title: Two of finance, approvers: [finance], quorum: 2}
    key: {title: With a passkey, approvers: [finance], passkey: true, break_glass: [heads], review: 2h}
`

// An inbox is a door over a real desk. Its log is a list, its clock is set by hand.
type inbox struct {
	*door
	unread
	desk  *approval.Desk
	cat   *catalog.Catalog
	stops *stop.Board

	mu      sync.Mutex
	now     time.Time
	entries []audit.Entry
	finds   int // how often it was searched
}

// Persons who can call: by the tokens anna-token and so on, and by the sessions of cookies of the same names.
var inboxPersons = []string{"anna", "ben", "carl", "dora", "olga", "zoe"}

type inboxCallers struct{ tokens }

func (inboxCallers) Authenticate(token string) (*caller.Caller, error) {
	if id, ok := strings.CutSuffix(token, "-token"); ok && (slices.Contains(inboxPersons, id) || id == "gone") {
		return &caller.Caller{ID: "c-" + id, Name: id, Role: caller.Approver}, nil
	}
	return tokens{}.Authenticate(token)
}

func (b *inbox) Now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *inbox) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *inbox) Commit(ctx context.Context, d audit.Draft) (int64, error) {
	b.mu.Lock()
	e := audit.Entry{Seq: int64(len(b.entries) + 1), At: b.now, Kind: d.Kind, Actor: d.Actor, Body: d.Body}
	b.entries = append(b.entries, e)
	b.mu.Unlock()
	return e.Seq, b.desk.Apply(ctx, e)
}

func (b *inbox) Entry(_ context.Context, seq int64) (audit.Entry, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if seq < 1 || seq > int64(len(b.entries)) {
		return audit.Entry{}, authz.Errorf(authz.ErrNotFound, "no entry has the number %d", seq)
	}
	return b.entries[seq-1], nil
}

func (*inbox) Prove(context.Context, int64) (*audit.EntryProof, error) {
	return nil, errors.New("unused")
}
func (*inbox) ProveGrowth(context.Context, int64) (*audit.GrowthProof, error) {
	return nil, errors.New("unused")
}

// Find finds as much as the index would for what the story asks.
func (b *inbox) Find(_ context.Context, q audit.Query) (out []audit.Entry, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.finds++
	for i := len(b.entries) - 1; i >= 0 && (q.Limit == 0 || len(out) < q.Limit); i-- {
		e := b.entries[i]
		if e.Seq <= q.After || q.Before > 0 && e.Seq >= q.Before {
			continue
		}
		if q.Session != "" && !strings.Contains(string(e.Body), `"session":"`+q.Session+`"`) {
			continue
		}
		if (q.Kind == "" || e.Kind == q.Kind) && strings.Contains(string(e.Body), q.Text) && !e.At.Before(q.From) && (q.To.IsZero() || !e.At.After(q.To)) {
			out = append(out, e)
		}
	}
	return out, nil
}

// Person implements api.Persons.
func (b *inbox) person(id string) (*people.Person, error) {
	if id == "gone" {
		return &people.Person{ID: id, Disabled: true}, nil
	}
	if !slices.Contains(inboxPersons, id) {
		return nil, authz.Errorf(authz.ErrNotFound, "no person %q", id)
	}
	return &people.Person{ID: id, Name: strings.ToUpper(id), Names: []string{id + "@login.example"}, Passkeys: []people.Passkey{{ID: "key-of-" + id}, {ID: "old", RevokedAt: b.now}}}, nil
}

type inboxDoor struct{ b *inbox }

func (d inboxDoor) Person(_ http.ResponseWriter, r *http.Request) (*people.Session, error) {
	c, err := r.Cookie("session")
	if err != nil {
		return nil, authz.Errorf(authz.ErrUnauthenticated, "nobody is signed in")
	}
	id, roles, _ := strings.Cut(c.Value, "/")
	p, err := d.b.person(id)
	if err != nil {
		return nil, authz.Errorf(authz.ErrUnauthenticated, "nobody is signed in")
	}
	for _, r := range strings.Fields(strings.ReplaceAll(roles, "+", " ")) {
		p.Roles = append(p.Roles, people.Role(r))
	}
	return &people.Session{Person: p, Roles: p.Granted()}, nil
}

// VerifyAssertion takes the assertion {"digest": "HEX of the digest"}.
func (d inboxDoor) VerifyAssertion(p *people.Person, digest [32]byte, assertion json.RawMessage) (json.RawMessage, error) {
	if string(assertion) != fmt.Sprintf(`{"digest":"%x"}`, digest) {
		return nil, authz.Errorf(authz.ErrForbidden, "the assertion is over something else")
	}
	return json.RawMessage(fmt.Sprintf(`{"person":%q}`, p.ID)), nil
}

type inboxPeople struct{ b *inbox }

func (p inboxPeople) Person(id string) (*people.Person, error) { return p.b.person(id) }

type inboxPolicies struct {
	api.PolicyAdmin
	set *policy.Set
}

func (p inboxPolicies) Compiled(_ context.Context, n int64) (*policy.Set, error) {
	if n != 7 {
		return nil, authz.Errorf(authz.ErrNotFound, "there is no version %d", n)
	}
	return p.set, nil
}

func (p inboxPolicies) Active() *policy.Set { return p.set }

type inboxAgents struct {
	api.AgentAdmin
	api.Fleet
}

func (inboxAgents) Agent(id authz.AgentID) (*authz.Agent, error) {
	if id != "bot" {
		return nil, authz.Errorf(authz.ErrNotFound, "no agent %q", id)
	}
	return &authz.Agent{ID: "bot", Owner: "olga", Purpose: "accounts-payable", Version: "3", State: authz.AgentActive}, nil
}

func openInbox(t *testing.T) *inbox {
	t.Helper()
	b := &inbox{now: time.Date(2026, 11, 27, 16, 0, 0, 0, time.UTC)}
	var err error
	if b.cat, err = catalog.Parse("catalog.yaml", []byte(inboxCatalog)); err != nil {
		t.Fatal(err)
	}
	set, err := policy.Compile(policy.Source{}, b.cat)
	if err != nil {
		t.Fatal(err)
	}
	b.desk = approval.New(approval.Config{Store: storetest.Open(t), Log: b, Now: b.Now,
		Catalog: func(context.Context, int64) (*catalog.Catalog, error) { return b.cat, nil }})
	if err := b.desk.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.door = openDoor(t, func(c *api.Config) {
		c.Callers, c.Approvals, c.Door, c.Persons = inboxCallers{}, b.desk, inboxDoor{b}, inboxPeople{b}
		c.Log, c.Index, c.Now = b, b, b.Now
		b.stops = stop.NewBoard(stop.Config{Now: b.Now})
		c.Stops = b.stops
		c.Policies, c.Agents, c.Conduct = inboxPolicies{set: set}, inboxAgents{}, &fixedConduct{}
	})
	return b
}

// refusal records a decision that refused the bot's payment, and returns its number.
func (b *inbox) refusal(args string) int64 {
	b.Helper()
	req := authz.Request{
		Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}}, Action: authz.Action{Name: "pay", Properties: authz.Claimed(args)},
		Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "1"}},
		Observed: authz.Observed{PEP: "gateway", Provenance: &authz.Provenance{Prompt: []string{"amount"}, Untrusted: []string{"to"}}},
	}
	rec := pdp.Record{Request: req, Facts: authz.Facts{Grant: authz.Grant{Class: "money"}, Trust: authz.Trust{Level: "low", Score: 0.3}, Risk: authz.Risk{Level: "elevated"}}}
	rec.Decision = authz.Decision{Effect: authz.RequireApproval, Code: authz.CodeApprovalRequired, Routes: []string{"one"},
		Fired: []authz.Fired{{Policy: "limits", Effect: "forbid", Reason: "over-limit", Remedy: "approval"}, {Policy: "shady", Effect: "forbid", Shadow: true}}}
	body, err := json.Marshal(rec)
	if err != nil {
		b.Fatal(err)
	}
	seq, err := b.Commit(b.Context(), audit.Draft{Kind: audit.DecisionMade, Actor: "pep:gateway", Body: body})
	if err != nil {
		b.Fatal(err)
	}
	return seq
}

const inboxArgs = `{"amount":400,"to":"DE1","note":"rent"}`

// ask asks for the bot's payment by a route.
func (b *inbox) ask(route, args string) *approval.Ask { return b.askOwned(route, args, "olga") }

// askOwned asks as if the bot were somebody's.
func (b *inbox) askOwned(route, args, owner string) *approval.Ask {
	b.Helper()
	seq := b.refusal(args)
	a, _, err := b.desk.Ask(b.Context(), approval.Ask{
		Kind: approval.Access, Catalog: 7, Agent: "bot", Owner: owner, Session: "s1", PEP: "gateway", Requester: "pep:gateway",
		Bound: approval.Bound{Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}}, Members: []string{}},
		Items: []approval.Item{{Action: authz.Action{Name: "pay", Properties: authz.Claimed(args)}, Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: fmt.Sprint(seq)}},
			Decision: seq, Routes: []string{route}, Data: authz.Confidential, Labels: []string{"pii"}}},
		Justification: "The rent is due.",
	})
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// as sends a request with the token of somebody.
func (b *inbox) as(who, method, path, body string, want int) string {
	b.Helper()
	r := b.send(method, path, body, "Authorization", "Bearer "+who+"-token")
	got := text(b, r)
	if r.StatusCode != want {
		b.Fatalf("%s %s as %s: status %d, want %d: %s", method, path, who, r.StatusCode, want, got)
	}
	return got
}

func (b *inbox) view(who, id string) int64 {
	b.Helper()
	var v api.AskViewing
	if err := json.Unmarshal([]byte(b.as(who, "POST", "/v1/approvals/"+id+"/view", "{}", 200)), &v); err != nil || v.View == 0 {
		b.Fatalf("viewing: %+v, %v", v, err)
	}
	return v.View
}

func (b *inbox) answer(who, id, rest string, want int) string {
	b.Helper()
	view := b.view(who, id)
	b.pass(5 * time.Second)
	return b.as(who, "POST", "/v1/approvals/"+id+"/answer", fmt.Sprintf(`{"view":%d,%s}`, view, rest), want)
}

func has(t testing.TB, what, got string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if !strings.Contains(got, w) {
			t.Errorf("%s: %s\nwant it with %s", what, got, w)
		}
	}
}

func hasNot(t testing.TB, what, got string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if strings.Contains(got, w) {
			t.Errorf("%s: %s\nwant it without %s", what, got, w)
		}
	}
}

func TestInboxShowsWhatIsNeededToJudge(t *testing.T) {
	b := openInbox(t)
	a := b.ask("one", inboxArgs)
	got := b.as("anna", "GET", "/v1/approvals/"+a.ID, "", 200)
	has(t, "the ask", got,
		`"sentence":"The agent \"bot\" asks to do \"pay\" on \"invoice\"`,
		`"arguments":{"amount":400,"to":"DE1","note":"rent"}`,
		`{"name":"amount","value":400,"from":"prompt"}`, `{"name":"to","value":"DE1","from":"untrusted"}`, `{"name":"note","value":"rent","from":"unknown"}`,
		`"policy":"limits","reason":"over-limit","message":"The amount is above what agents pay alone.","detail":"Finance wants to see these."`,
		`"trust":{"level":"low","score":0.3}`, `"risk":"elevated"`, `"class":"money"`, `"data":"confidential"`,
		`"purpose":"accounts-payable"`, `"owner":"olga"`, `"kind":"deviation.sequence"`,
		`Once, the agent \"bot\" may do \"pay\" on \"invoice\"`, `with exactly these arguments, within 15 minutes of the approval.`,
		`"most":"5 times at most, the agent \"bot\" may do \"pay\" on any \"invoice\" whose data is confidential or less sensitive`,
		`\"amount\" up to 1000 and the other arguments as asked`,
		`"routes":["one"]`, `came from what others can write to`, `open findings about the agent`,
		`"justification":"The rent is due."`, `"quorum":1`)
	hasNot(t, "the ask", got, "shady", "callback", `"requester_client"`)

	b.answer("anna", a.ID, `"yes":false,"comment":"not this one"`, 200)
	next := b.ask("one", `{"amount":401}`)
	has(t, "a similar ask", b.as("ben", "GET", "/v1/approvals/"+next.ID, "", 200), `"similar":[{"id":"`+a.ID, `\"person:anna\" refused: \"not this one\"`)

	// Carl, who may break the glass of the one, has no business with the other.
	two := b.ask("two", `{"amount":402}`)
	b.answer("anna", two.ID, `"yes":false,"comment":"nor this"`, 200)
	next = b.ask("one", `{"amount":403}`)
	got = b.as("carl", "GET", "/v1/approvals/"+next.ID, "", 200)
	has(t, "similar asks that concern carl", got, `"similar":[{"id":"`+a.ID)
	hasNot(t, "similar asks that concern carl", got, two.ID, "nor this")
}

func TestInboxListsWhatConcernsOne(t *testing.T) {
	b := openInbox(t)
	one, two := b.ask("one", inboxArgs), b.ask("two", inboxArgs)
	ids := func(who, query string) string {
		t.Helper()
		var list api.List[api.AskView]
		if err := json.Unmarshal([]byte(b.as(who, "GET", "/v1/approvals"+query, "", 200)), &list); err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, v := range list.Items {
			name := "one"
			if v.ID == two.ID {
				name = "two"
			}
			out = append(out, name)
		}
		return strings.Join(out, " ")
	}
	for _, tt := range []struct{ who, query, want string }{
		{"anna", "", "two one"}, {"anna", "?mine=true", "two one"}, {"carl", "", "one"}, {"zoe", "", ""},
		{"admin", "", "two one"}, {"audit", "?status=pending", "two one"}, {"admin", "?status=approved", ""},
		{"admin", "?agent=bot&session=s1", "two one"}, {"admin", "?agent=other", ""}, {"admin", "?limit=1", "two"}, {"admin", "?after=" + two.ID, "one"},
		{"olga", "?mine=true", "two one"}, // she may refuse both, and is one of two
	} {
		if got := ids(tt.who, tt.query); got != tt.want {
			t.Errorf("GET /v1/approvals%s as %s = %q, want %q", tt.query, tt.who, got, tt.want)
		}
	}
	b.answer("anna", two.ID, `"yes":true`, 200)
	if got := ids("anna", "?mine=true"); got != "two one" && got != "one" { // who has said yes may still refuse
		t.Errorf("after her yes, anna has %q", got)
	}
	b.as("admin", "GET", "/v1/approvals?mine=true", "", 400)
	b.as("admin", "GET", "/v1/approvals?status=odd", "", 400)
	b.as("admin", "GET", "/v1/approvals?limit=1001", "", 400)
	b.as("pep", "GET", "/v1/approvals", "", 403)
	b.as("gone", "GET", "/v1/approvals", "", 403)
	b.as("nobody", "GET", "/v1/approvals", "", 401)
	b.as("zoe", "GET", "/v1/approvals/"+one.ID, "", 404)
	b.as("zoe", "POST", "/v1/approvals/"+one.ID+"/view", "{}", 404)
	b.as("anna", "GET", "/v1/approvals/arq_none", "", 404)

	// It has ended: those who might have answered may know how, and nobody else.
	b.answer("anna", one.ID, `"yes":true`, 200)
	has(t, "what ben sees", b.as("ben", "GET", "/v1/approvals/"+one.ID, "", 200), `"status":"approved"`, `the ask has ended`)
	b.as("zoe", "GET", "/v1/approvals/"+one.ID, "", 404)
}

func TestInboxTakesAnswers(t *testing.T) {
	b := openInbox(t)
	a := b.ask("one", inboxArgs)
	path := "/v1/approvals/" + a.ID
	view := b.view("anna", a.ID)
	for _, tt := range []struct {
		who, body string
		want      int
		has       string
	}{
		{"anna", fmt.Sprintf(`{"view":%d}`, view), 400, "yes is missing"},
		{"anna", fmt.Sprintf(`{"view":%d,"yes":true,"items":[1]}`, view), 400, "the act 1"},
		{"anna", fmt.Sprintf(`{"view":%d,"yes":true,"items":[0,0]}`, view), 400, ""},
		{"anna", fmt.Sprintf(`{"view":%d,"yes":false,"scope":{"uses":2}}`, view), 400, "no scope"},
		{"anna", fmt.Sprintf(`{"view":%d,"yes":true,"scope":{"uses":6}}`, view), 400, ""},
		{"anna", fmt.Sprintf(`{"view":%d,"yes":true,"comment":%q}`, view, strings.Repeat("x", approval.MaxText+1)), 400, "comment"},
		{"anna", fmt.Sprintf(`{"view":%d,"yes":true,"as":"ben"}`, view), 400, ""},
		{"anna", `{"yes":true}`, 0, ""},                             // without having looked
		{"ben", fmt.Sprintf(`{"view":%d,"yes":true}`, view), 0, ""}, // another's look
		{"admin", fmt.Sprintf(`{"view":%d,"yes":true}`, view), 403, ""},
		{"audit", fmt.Sprintf(`{"view":%d,"yes":true}`, view), 403, ""},
		{"pep", fmt.Sprintf(`{"view":%d,"yes":true}`, view), 403, ""},
		{"olga", fmt.Sprintf(`{"view":%d,"yes":true}`, view), 0, ""},
		{"zoe", fmt.Sprintf(`{"view":%d,"yes":true}`, view), 404, ""},
	} {
		r := b.send("POST", path+"/answer", tt.body, "Authorization", "Bearer "+tt.who+"-token")
		got := text(t, r)
		if tt.want != 0 && r.StatusCode != tt.want || r.StatusCode < 400 || r.StatusCode >= 500 || !strings.Contains(got, tt.has) {
			t.Errorf("%s answers %.80s: status %d, want %d with %q: %s", tt.who, tt.body, r.StatusCode, tt.want, tt.has, got)
		}
	}
	got := b.as("anna", "POST", path+"/answer", fmt.Sprintf(`{"view":%d,"yes":true,"scope":{"uses":3},"comment":"as agreed"}`, view), 200)
	has(t, "the answer", got, `"status":"approved"`, `"by":"person:anna"`, `"comment":"as agreed"`, `"uses":3`, `"passkey":false`)
	hasNot(t, "the answer", got, "apr_")
	b.as("ben", "POST", path+"/view", "{}", 409) // it has ended

	has(t, "revoked", b.as("ben", "POST", path+"/revoke", `{"why":"the account changed"}`, 200), `"revoked_at":`, `"why":"the account changed"`)
	b.as("zoe", "POST", path+"/revoke", `{"why":"x"}`, 404)
	b.as("anna", "POST", path+"/revoke", `{}`, 400)
	b.as("audit", "POST", path+"/revoke", `{"why":"x"}`, 403)

	waits := b.ask("one", `{"amount":1}`)
	b.as("anna", "POST", "/v1/approvals/"+waits.ID+"/cancel", `{"why":"x"}`, 403)
	b.as("admin", "POST", "/v1/approvals/"+waits.ID+"/cancel", `{}`, 400)
	has(t, "cancelled", b.as("admin", "POST", "/v1/approvals/"+waits.ID+"/cancel", `{"why":"by mistake"}`, 200), `"status":"cancelled"`)
	b.as("admin", "POST", "/v1/approvals/"+waits.ID+"/cancel", `{"why":"again"}`, 409)
}

// A browser's session counts for our own pages only.
// Who reads all asks by another role may do with them what an approver may whom they concern, and nothing else: not by having looked at
// them either. An administrator takes back any, and answers none.
func TestInboxRoles(t *testing.T) {
	b := openInbox(t)
	a := b.ask("one", inboxArgs)
	by := func(session, method, path, body string, want int) string {
		t.Helper()
		r := b.send(method, path, body, "Authorization", "", "Cookie", "session="+session, "X-Safeconduct-Request", "1")
		got := text(t, r)
		if r.StatusCode != want {
			t.Errorf("%s %s as %s: %d, want %d: %s", method, path, session, r.StatusCode, want, got)
		}
		return got
	}
	path := "/v1/approvals/" + a.ID
	for session, want := range map[string]int{"zoe": 404, "zoe/viewer": 403, "zoe/operator": 403, "zoe/auditor": 200, "zoe/auditor+approver": 200, "zoe/administrator": 200, "anna/auditor+approver": 200} {
		by(session, "GET", path, "", want)
		if got := by(session, "GET", "/v1/approvals", "", map[bool]int{true: 403, false: 200}[want == 403]); want == 200 != strings.Contains(got, a.ID) {
			t.Errorf("the list of %s: %s", session, got)
		}
	}
	by("zoe/auditor", "GET", "/v1/approvals?mine=true", "", 400)
	if got := by("zoe/auditor+approver", "GET", "/v1/approvals?mine=true", "", 200); strings.Contains(got, a.ID) {
		t.Errorf("what waits for zoe: %s", got)
	}
	by("zoe/auditor+approver", "POST", path+"/view", "{}", 404)
	by("zoe/auditor+approver", "POST", path+"/revoke", `{"why":"x"}`, 404)
	by("zoe/auditor+approver", "POST", path+"/answer", `{"yes":true,"view":1}`, 404)
	by("zoe/administrator", "POST", path+"/view", "{}", 403)
	by("zoe/administrator", "POST", path+"/answer", `{"yes":true,"view":1}`, 403)
	by("anna/viewer", "POST", path+"/view", "{}", 403)
	by("anna/operator+viewer", "POST", path+"/answer", `{"yes":true,"view":1}`, 403)
	by("anna/viewer", "GET", "/v1/approvals/stats", "", 200)
	b.answer("anna", a.ID, `"yes":true`, 200)
	by("zoe/auditor+approver", "POST", path+"/revoke", `{"why":"x"}`, 404)
	by("zoe/administrator", "POST", path+"/revoke", `{"why":"taken back"}`, 200)
}

func TestInboxTakesSessions(t *testing.T) {
	b := openInbox(t)
	a := b.ask("one", inboxArgs)
	for _, tt := range []struct {
		name, method, path string
		headers            []string
		want               int
	}{
		{"reading needs no header", "GET", "/v1/approvals/" + a.ID, nil, 200},
		{"changing needs the header", "POST", "/v1/approvals/" + a.ID + "/view", nil, 403},
		{"with the header", "POST", "/v1/approvals/" + a.ID + "/view", []string{"X-Safeconduct-Request", "1", "Sec-Fetch-Site", "same-origin"}, 200},
		{"of another site", "POST", "/v1/approvals/" + a.ID + "/view", []string{"X-Safeconduct-Request", "1", "Sec-Fetch-Site", "cross-site"}, 403},
		{"of a sister site", "POST", "/v1/approvals/" + a.ID + "/view", []string{"X-Safeconduct-Request", "1", "Sec-Fetch-Site", "same-site"}, 403},
		{"a session that is none", "GET", "/v1/approvals", []string{"Cookie", "session=mallory"}, 401},
		{"what is for administrators", "POST", "/v1/approvals/" + a.ID + "/cancel", []string{"X-Safeconduct-Request", "1"}, 403},
		{"no other route", "GET", "/v1/agents", nil, 403},
		{"a bad token is not mended by a session", "GET", "/v1/approvals", []string{"Authorization", "Bearer x"}, 401},
	} {
		headers := append([]string{"Authorization", "", "Cookie", "session=anna"}, tt.headers...)
		body := ""
		if tt.method == "POST" {
			body = "{}"
		}
		if r := b.send(tt.method, tt.path, body, headers...); r.StatusCode != tt.want {
			t.Errorf("%s: status %d, want %d: %s", tt.name, r.StatusCode, tt.want, text(t, r))
		}
	}
}

// What comes after a yes is seen: who else is needed, what was taken back, and until when it was wished.
func TestInboxTellsHowFarItHasCome(t *testing.T) {
	b := openInbox(t)
	two := b.ask("two", inboxArgs)
	b.answer("olga", two.ID, `"yes":true`, 200)
	has(t, "after the owner's yes", b.as("olga", "GET", "/v1/approvals/"+two.ID, "", 200),
		`"ways":[{"route":"two","title":"Two of finance","yes":["person:olga"],"more":1}]`, `"approve":false`, `"refuse":true`, `"why":"you have said yes; 1 more needed"`)
	has(t, "to another", b.as("anna", "GET", "/v1/approvals/"+two.ID, "", 200), `"approve":true`, `"more":1`)
	has(t, "approved", b.answer("anna", two.ID, `"yes":true`, 200), `"status":"approved"`)
	hasNot(t, "approved", b.as("anna", "GET", "/v1/approvals/"+two.ID, "", 200), `"revoked":`, `"more":1`)
	has(t, "revoked", b.as("anna", "POST", "/v1/approvals/"+two.ID+"/revoke", `{"why":"a mistake"}`, 200), `"status":"approved","revoked":true`)
	has(t, "the list", b.as("anna", "GET", "/v1/approvals", "", 200), `"status":"approved","revoked":true`)
	has(t, "what is like it", b.as("anna", "GET", "/v1/approvals/"+b.ask("one", inboxArgs).ID, "", 200), `"status":"approved","revoked":true`)

	wished := approval.Ask{
		Kind: approval.Access, Catalog: 7, Agent: "bot", Owner: "olga", Session: "s2", Requester: "pep:gateway", Bulk: true, RequestedUntil: b.Now().Add(3 * time.Minute),
		Bound: approval.Bound{Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}}, Members: []string{}},
	}
	for i := range 2 {
		wished.Items = append(wished.Items, approval.Item{Action: authz.Action{Name: "pay", Properties: authz.Claimed(inboxArgs)}, Decision: b.refusal(inboxArgs),
			Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: fmt.Sprint(i)}}, Routes: []string{"one"}, Data: authz.Confidential})
	}
	made, _, err := b.desk.Ask(t.Context(), wished)
	if err != nil {
		t.Fatal(err)
	}
	has(t, "with a wish", b.as("anna", "GET", "/v1/approvals/"+made.ID, "", 200), `"requested_until":"2026-11-27T16:03:`,
		`within 15 minutes of the approval, and until 2026-11-27T16:03:`, `at the latest, as the requester wishes.`,
		`"Act 2 of 2, to do \"pay\" on \"invoice\" \"1\": The argument \"to\" came from what others can write to."`)
}

// A person who is asked for a token may answer, and is told whether that takes a passkey.
func TestInboxAsksForTokens(t *testing.T) {
	b := openInbox(t)
	a, _, err := b.desk.Ask(t.Context(), approval.Ask{
		Kind: approval.CIBA, Catalog: 7, Agent: "bot", Owner: "olga", Person: "zoe", Passkey: true, Message: "W4SCT", Requester: "agent:bot", ExpiresAt: b.Now().Add(2 * time.Minute),
		Bound: approval.Bound{Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}}, Members: []string{}},
		Items: []approval.Item{{Action: authz.Action{Name: "token"}, Resource: authz.Entity{Ref: authz.Ref{Type: "capability", ID: "pay"}}, Data: authz.Confidential}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := b.as("zoe", "GET", "/v1/approvals/"+a.ID, "", 200)
	has(t, "who is asked", got, `"approve":true,"routes":[],"refuse":true`, `"passkey":true`)
	hasNot(t, "who is asked", got, "does not lead", `"why"`)
	b.as("anna", "GET", "/v1/approvals/"+a.ID, "", 404)
}

// Whoever owns the agent does not decide alone, also if the record names the owner by an address which only
// the identity provider knows; and not by being away.
func TestInboxKnowsOwnersByTheirNames(t *testing.T) {
	b := openInbox(t)
	a := b.askOwned("one", inboxArgs, "Anna@Login.example")
	view := b.view("anna", a.ID)
	b.pass(5 * time.Second)
	body := fmt.Sprintf(`{"view":%d,"yes":true}`, view)
	has(t, "the owner by token", b.as("anna", "POST", "/v1/approvals/"+a.ID+"/answer", body, 403), "does not decide alone")
	r := b.send("POST", "/v1/approvals/"+a.ID+"/answer", body, "Authorization", "", "Cookie", "session=anna", "X-Safeconduct-Request", "1", "Sec-Fetch-Site", "same-origin")
	if got := text(t, r); r.StatusCode != 403 || !strings.Contains(got, "does not decide alone") {
		t.Errorf("the owner by session: %d %s, want 403", r.StatusCode, got)
	}
	until := b.Now().Add(time.Hour).Format(time.RFC3339)
	b.as("anna", "PUT", "/v1/approvals/away", `{"deputy":"zoe","until":"`+until+`","why":"x"}`, 200)
	has(t, "the owner's deputy", b.as("zoe", "GET", "/v1/approvals/"+a.ID, "", 200), "does not decide alone")
	has(t, "somebody else", b.answer("ben", a.ID, `"yes":true`, 200), `"status":"approved"`)
}

func TestInboxTakesPasskeys(t *testing.T) {
	b := openInbox(t)
	a := b.ask("key", inboxArgs)
	path := "/v1/approvals/" + a.ID
	view := b.view("anna", a.ID)
	b.pass(5 * time.Second)
	plain := fmt.Sprintf(`"view":%d,"yes":true`, view)
	b.as("anna", "POST", path+"/answer", "{"+plain+"}", 403)
	var c api.AnswerChallenge
	if err := json.Unmarshal([]byte(b.as("anna", "POST", path+"/challenge", "{"+plain+"}", 200)), &c); err != nil || len(c.Digest) != 43 || !slices.Equal(c.Passkeys, []string{"key-of-anna"}) {
		t.Fatalf("challenge %+v, %v; want a digest of 43 characters, and the passkey that counts", c, err)
	}
	b.as("anna", "POST", path+"/challenge", fmt.Sprintf(`{"view":%d}`, view), 400)
	b.as("admin", "POST", path+"/challenge", "{"+plain+"}", 403)
	digest := approval.Digest(a, true, nil, approval.Scope{}, view)
	no := approval.Digest(a, false, nil, approval.Scope{}, view)
	b.as("anna", "POST", path+"/answer", fmt.Sprintf(`{%s,"assertion":{"digest":"%x"}}`, plain, no), 403)
	has(t, "signed", b.as("anna", "POST", path+"/answer", fmt.Sprintf(`{%s,"assertion":{"digest":"%x"}}`, plain, digest), 200), `"passkey":true`, `"status":"approved"`)
}

func TestInboxTakesAnswersForTheVerySame(t *testing.T) {
	b := openInbox(t)
	one, two, other := b.ask("one", inboxArgs), b.ask("one", `{"note":"rent", "to":"DE1","amount":400}`), b.ask("one", `{"amount":400.0,"to":"DE1","note":"rent"}`)
	body := func(yes string, asks ...*approval.Ask) string {
		var parts []string
		for _, a := range asks {
			parts = append(parts, fmt.Sprintf(`{"id":%q,"view":%d}`, a.ID, b.view("anna", a.ID)))
		}
		b.pass(5 * time.Second)
		return `{"asks":[` + strings.Join(parts, ",") + `],` + yes + `}`
	}
	const path = "/v1/approvals/answers"
	has(t, "another number", b.as("anna", "POST", path, body(`"yes":true`, one, other), 400), "something else")
	has(t, "twice", b.as("anna", "POST", path, body(`"yes":true`, one, one), 400), "twice")
	b.as("anna", "POST", path, body(`"yes":true`, one), 400)
	b.as("anna", "POST", path, body(`"comment":"x"`, one, two), 400)
	b.as("admin", "POST", path, body(`"yes":true`, one, two), 403)
	b.as("zoe", "POST", path, body(`"yes":true`, one, two), 404)
	has(t, "both", b.as("anna", "POST", path, body(`"yes":true,"comment":"the run"`, one, two), 200),
		`{"results":[{"id":"`+one.ID+`","status":"approved"},{"id":"`+two.ID+`","status":"approved"}]}`)
	three, four := b.ask("one", inboxArgs), b.ask("one", inboxArgs)
	text := body(`"yes":true`, three, four)
	b.answer("ben", four.ID, `"yes":false`, 200)
	has(t, "one of them has ended", b.as("anna", "POST", path, text, 200), `{"id":"`+three.ID+`","status":"approved"}`, `"id":"`+four.ID+`","error":{"code":"conflict"`)
}

func TestInboxBreaksGlass(t *testing.T) {
	b := openInbox(t)
	a := b.ask("one", inboxArgs)
	path := "/v1/approvals/" + a.ID
	view := b.view("carl", a.ID)
	b.as("carl", "POST", path+"/break-glass", fmt.Sprintf(`{"view":%d}`, view), 400)
	b.as("admin", "POST", path+"/break-glass", fmt.Sprintf(`{"view":%d,"reason":"x"}`, view), 403)
	has(t, "broken", b.as("carl", "POST", path+"/break-glass", fmt.Sprintf(`{"view":%d,"reason":"the plant stands still"}`, view), 200), `"status":"approved"`, `"reason":"the plant stands still"`, `"broke_glass":true`)
	has(t, "waits for a review", b.as("dora", "GET", "/v1/approvals?review=true", "", 200), a.ID)
	b.as("carl", "POST", path+"/review", `{"justified":true,"comment":"it did"}`, 403)
	b.as("dora", "POST", path+"/review", `{"justified":true}`, 400)
	b.as("dora", "POST", path+"/review", `{"comment":"x"}`, 400)
	has(t, "reviewed", b.as("dora", "POST", path+"/review", `{"justified":false,"comment":"it did not"}`, 200), `"verdict":"unjustified"`)
	b.as("dora", "POST", path+"/review", `{"justified":true,"comment":"x"}`, 409)
}

// What a passkey has signed for a plain yes does not break the glass, nor for another reason; and what it has
// signed for that is no answer.
func TestInboxBreaksGlassWithPasskeys(t *testing.T) {
	b := openInbox(t)
	a := b.ask("key", inboxArgs)
	path := "/v1/approvals/" + a.ID
	const why = "the plant stands still"
	view := b.view("carl", a.ID)
	answer := fmt.Sprintf(`"view":%d,"yes":true`, view)
	glass := fmt.Sprintf(`"view":%d,"reason":%q`, view, why)
	challenge := func(who, body string) string {
		t.Helper()
		var c api.AnswerChallenge
		if err := json.Unmarshal([]byte(b.as(who, "POST", path+"/challenge", "{"+body+"}", 200)), &c); err != nil {
			t.Fatal(err)
		}
		digest, err := base64.RawURLEncoding.DecodeString(c.Digest)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`,"assertion":{"digest":"%x"}`, digest)
	}
	for _, body := range []string{`,"yes":true`, `,"yes":false`, `,"items":[0]`, `,"scope":{"uses":2}`, `,"comment":"x"`} {
		b.as("carl", "POST", path+"/challenge", fmt.Sprintf(`{"view":%d,"break_glass":%q%s}`, view, why, body), 400)
	}
	b.as("carl", "POST", path+"/challenge", fmt.Sprintf(`{"view":%d,"break_glass":%q}`, view, strings.Repeat("x", approval.MaxText+1)), 400)
	signed := challenge("carl", fmt.Sprintf(`"view":%d,"break_glass":%q`, view, why))
	other := challenge("carl", fmt.Sprintf(`"view":%d,"break_glass":"another reason"`, view))
	later := challenge("carl", fmt.Sprintf(`"view":%d,"break_glass":%q`, view+1, why))
	plain := challenge("carl", answer)
	for what, assertion := range map[string]string{"none": "", "for a yes": plain, "for another reason": other, "for another view": later} {
		got := b.as("carl", "POST", path+"/break-glass", "{"+glass+assertion+"}", 403)
		if !strings.Contains(got, "something else") && assertion != "" {
			t.Errorf("an assertion %s: %s, want that it is over something else", what, got)
		}
	}
	seen := b.view("anna", a.ID)
	b.pass(5 * time.Second)
	mixed := challenge("anna", fmt.Sprintf(`"view":%d,"break_glass":%q`, seen, why))
	has(t, "answered by what breaks the glass", b.as("anna", "POST", path+"/answer", fmt.Sprintf(`{"view":%d,"yes":true,"comment":%q%s}`, seen, why, mixed), 403), "something else")
	has(t, "broken", b.as("carl", "POST", path+"/break-glass", "{"+glass+signed+"}", 200), `"status":"approved"`, `"passkey":true`, `"broke_glass":true`)
	if want := fmt.Sprintf(`,"assertion":{"digest":"%x"}`, approval.GlassDigest(a, why, view)); signed != want {
		t.Errorf("signed %s, want %s", signed, want)
	}
}

func TestInboxKnowsWhoIsAway(t *testing.T) {
	b := openInbox(t)
	const path = "/v1/approvals/away"
	until := b.Now().Add(24 * time.Hour).Format(time.RFC3339)
	for _, body := range []string{
		`{"deputy":"zoe","why":"x"}`, `{"deputy":"anna","until":"` + until + `","why":"x"}`, `{"until":"` + until + `","why":"x"}`,
		`{"deputy":"zoe","until":"` + until + `"}`, `{"deputy":"zoe","until":"2026-11-27T15:00:00Z","why":"x"}`, `{"deputy":"zoe","until":"2027-11-27T15:00:00Z","why":"x"}`,
	} {
		b.as("anna", "PUT", path, body, 400)
	}
	b.as("anna", "PUT", path, `{"person":"ben","deputy":"zoe","until":"`+until+`","why":"x"}`, 403)
	b.as("anna", "PUT", path, `{"deputy":"mallory","until":"`+until+`","why":"x"}`, 404)
	b.as("anna", "PUT", path, `{"deputy":"gone","until":"`+until+`","why":"x"}`, 400)
	b.as("admin", "PUT", path, `{"person":"gone","deputy":"zoe","until":"`+until+`","why":"x"}`, 400)
	b.as("admin", "PUT", path, `{"person":"gone","why":"x"}`, 200)
	b.as("audit", "PUT", path, `{"person":"ben","deputy":"zoe","until":"`+until+`","why":"x"}`, 403)
	b.as("admin", "PUT", path, `{"deputy":"zoe","until":"`+until+`","why":"x"}`, 400)
	has(t, "away", b.as("anna", "PUT", path, `{"deputy":"zoe","until":"`+until+`","why":"holidays"}`, 200), `"person":"anna","deputy":"zoe"`)
	has(t, "to the deputy", b.as("zoe", "GET", path, "", 200), `"person":"anna"`)
	hasNot(t, "to others", b.as("ben", "GET", path, "", 200), "anna")
	a := b.ask("one", inboxArgs)
	has(t, "answered by the deputy", b.answer("zoe", a.ID, `"yes":true`, 200), `"by":"person:zoe","for":"anna"`)
	b.as("admin", "PUT", path, `{"person":"anna","why":"back"}`, 200)
	hasNot(t, "back", b.as("admin", "GET", path, "", 200), "anna")
}

func TestInboxCounts(t *testing.T) {
	b := openInbox(t)
	b.answer("anna", b.ask("one", inboxArgs).ID, `"yes":true`, 200)
	b.answer("ben", b.ask("one", inboxArgs).ID, `"yes":false`, 200)
	b.ask("one", inboxArgs)
	has(t, "to all", b.as("audit", "GET", "/v1/approvals/stats", "", 200), `"asks":3`, `"pending":1`, `"approved":1`, `"denied":1`, `"person":"anna"`, `"person":"ben"`, `"median_read_ms":5000`)
	hasNot(t, "to a person", b.as("anna", "GET", "/v1/approvals/stats?window_seconds=60", "", 200), "ben")
	b.as("anna", "GET", "/v1/approvals/stats?window_seconds=86401", "", 400)
}

func TestStory(t *testing.T) {
	b := openInbox(t)
	a := b.ask("one", inboxArgs)
	b.answer("anna", a.ID, `"yes":true,"comment":"as agreed"`, 200)
	a, err := b.desk.Get(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	req := authz.Request{Subject: a.Bound.Subject, Action: a.Items[0].Action, Resource: a.Items[0].Resource, Approval: &authz.ApprovalRef{ID: a.Items[0].Approval.ID}}
	held, why := b.desk.Holds(&req, authz.Confidential, []string{"pii"}, b.Now())
	if held == nil {
		t.Fatalf("the approval does not hold: %s", why)
	}
	use, err := b.desk.Use(t.Context(), held, &req)
	if err != nil {
		t.Fatal(err)
	}
	drawn := *held
	drawn.Use = use
	rec := pdp.Record{Request: req, Facts: authz.Facts{Approval: &drawn}, Decision: authz.Decision{Effect: authz.Allow, Code: authz.CodeAllowed, Lifted: true}}
	body, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Commit(t.Context(), audit.Draft{Kind: audit.DecisionMade, Actor: "pep:gateway", Body: body}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Commit(t.Context(), audit.Draft{Kind: audit.ApprovalUsed, Actor: "pep:gateway", // of another replica that came second
		Body: fmt.Appendf(nil, `{"ask":%q,"approval":%q,"act":"x"}`, a.ID, held.ID)}); !errors.Is(err, authz.ErrConflict) {
		t.Fatalf("the second use: %v, want a conflict", err)
	}
	b.ask("one", inboxArgs) // somebody else's

	var story api.Story
	if err := json.Unmarshal([]byte(b.as("audit", "GET", "/v1/approvals/"+a.ID+"/story", "", 200)), &story); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`Decision d1 refused "pay" on "invoice" "1": approval_required.`,
		`The agent "bot" asks to do "pay" on "invoice" "1".`,
		`"person:anna" looked at it.`,
		`"person:anna" approved it: "as agreed"`,
		`A use of the approval was drawn.`,
		`Decision d6 allowed "pay" on "invoice" "1" by it.`,
		`A use of the approval was drawn. It changed nothing: another entry came first.`,
	}
	var got []string
	for _, s := range story.Steps {
		got = append(got, s.What)
		if len(s.Body) == 0 {
			t.Errorf("entry %d is told to an auditor without its body", s.Seq)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the story is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if story := b.as("anna", "GET", "/v1/approvals/"+a.ID+"/story", "", 200); strings.Contains(story, `"body"`) || strings.Contains(story, "apr_") {
		t.Errorf("a person is told bodies of entries: %s", story)
	}
	b.as("zoe", "GET", "/v1/approvals/"+a.ID+"/story", "", 404)
}

// What an agent writes is shown as it is, and said so where it hides something.
func TestInboxWarnsOfHiddenText(t *testing.T) {
	b := openInbox(t)
	for _, tt := range []struct {
		args string
		want bool
	}{
		{`{"to":"DE1"}`, false}, {`{"to":"a\nb"}`, false}, {`{"to":"Żółć 日本"}`, false},
		{"{\"to\":\"DE1\u202e99\"}", true}, {`{"to":"DE1\u200b"}`, true}, {`{"to":"\u001b[31m"}`, true}, {"{\"t\u200do\":1}", true}, {`{"to":{"deep":["\u2066"]}}`, true},
	} {
		got := b.as("anna", "GET", "/v1/approvals/"+b.ask("one", tt.args).ID, "", 200)
		if has := strings.Contains(got, "characters that do not show"); has != tt.want {
			t.Errorf("an ask with %+q is warned of: %v, want %v", tt.args, has, tt.want)
		}
	}
}

// The page needs no guessing: the service says which scopes a yes may have, and what each permits.
func TestInboxOffersScopes(t *testing.T) {
	b := openInbox(t)
	ask := b.ask("one", inboxArgs)
	titles := func(who, id string) (out []string) {
		t.Helper()
		var d api.AskDetail
		if err := json.Unmarshal([]byte(b.as(who, "GET", "/v1/approvals/"+id, "", 200)), &d); err != nil {
			t.Fatal(err)
		}
		for _, c := range d.Choices {
			if c.Sentence == "" {
				t.Errorf("%q says nothing", c.Title)
			}
			out = append(out, c.Title)
			if who == "anna" && id == ask.ID {
				scope, err := json.Marshal(c.Scope)
				if err != nil {
					t.Fatal(err)
				}
				other := b.ask("one", fmt.Sprintf(`{"amount":400,"to":"DE1","note":"%d"}`, len(out)))
				b.as(who, "POST", "/v1/approvals/"+other.ID+"/answer", fmt.Sprintf(`{"yes":true,"view":%d,"scope":%s}`, b.view(who, other.ID), scope), 200)
			}
		}
		return out
	}
	want := []string{"Once, this very act", "The same again, until it ends", "The same again, up to an amount",
		`Any "invoice" that is no more sensitive`, `Any such "invoice", up to an amount`}
	if diff := cmp.Diff(want, titles("anna", ask.ID)); diff != "" {
		t.Errorf("choices (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Once, this very act"}, titles("anna", b.ask("two", inboxArgs).ID)); diff != "" {
		t.Errorf("of a route that permits nothing beyond (-want +got):\n%s", diff)
	}
	if got := titles("carl", ask.ID); len(got) != 0 {
		t.Errorf("who may only break the glass is offered %v", got)
	}
}

// Counts, and what to look at first.
func TestInboxCountsAndUrgency(t *testing.T) {
	b := openInbox(t)
	first, second := b.ask("one", inboxArgs), b.ask("two", `{"amount":1}`)
	counts := func(who string) (c api.AskCounts) {
		t.Helper()
		if err := json.Unmarshal([]byte(b.as(who, "GET", "/v1/approvals/counts", "", 200)), &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := counts("anna"); c.Mine != 2 || c.Statuses[approval.Pending] != 2 || c.Urgent != 0 || len(c.Routes) != 2 || len(c.Agents) != 1 {
		t.Errorf("anna's: %+v", c)
	}
	if c := counts("zoe"); c.Mine != 0 || c.Statuses[approval.Pending] != 0 {
		t.Errorf("of somebody whom nothing concerns: %+v", c)
	}
	if got := b.as("anna", "GET", "/v1/approvals?route=two", "", 200); strings.Contains(got, first.ID) || !strings.Contains(got, second.ID) {
		t.Errorf("by route: %s", got)
	}
	if got := b.as("anna", "GET", "/v1/approvals?urgent=true", "", 200); strings.Contains(got, "arq_") {
		t.Errorf("nothing is urgent yet: %s", got)
	}
	b.mu.Lock()
	b.now = b.now.Add(55 * time.Minute)
	b.mu.Unlock()
	if got := b.as("anna", "GET", "/v1/approvals?urgent=true", "", 200); !strings.Contains(got, first.ID) || counts("anna").Urgent != 2 {
		t.Errorf("before they end: %s", got)
	}
	b.stops.Replace([]stop.Stop{{ID: "inc-7", Scope: stop.Scope{Agent: "bot"}, AsOf: 1}})
	if got := b.as("anna", "GET", "/v1/approvals/"+first.ID, "", 200); !strings.Contains(got, "stopped by inc-7") {
		t.Errorf("an ask of a stopped agent does not say so: %s", got)
	}
}
