package pdp_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

const askPolicies = `
@id("pay") permit (principal is Agent, action in Action::"money", resource) when { context.observed.grant.within.contains("payments") };
@id("read") @obligations("tell") permit (principal, action == Action::"read", resource == Ledger::"main");
@id("read-old") permit (principal, action == Action::"read", resource == Ledger::"old");
@id("large") @remedy("approval") forbid (principal is Agent, action in Action::"money", resource)
  when { context has args && context.args has amount && context.args.amount > 100 };
@id("huge") @remedy("approval") @approvers("board") forbid (principal is Agent, action in Action::"money", resource)
  when { context has args && context.args has amount && context.args.amount > 1000 };
@id("odd") @remedy("step_up") @assurance("person") forbid (principal is Agent, action in Action::"money", resource)
  when { context has args && context.args has amount && context.args.amount == 777 };
@id("key") @remedy("step_up") @assurance("key") forbid (principal is Agent, action in Action::"money", resource)
  when { context has args && context.args has amount && context.args.amount == 7 };
@id("closed") forbid (principal, action in Action::"money", resource) when { resource has status && resource.status == "closed" };
@id("old") @remedy("approval") forbid (principal is Agent, action == Action::"read", resource == Ledger::"old");
`

const askCatalog = catalogText + `
approvers: {desk: {members: [{type: user, id: ann}]}}
approvals:
  default: desk
  asks: {session: 2, pending: 5}
  routes: {desk: {approvers: [desk]}, board: {approvers: [desk]}}
assurance:
  key: {methods: [private_key_jwt], max_age: 1m}
  person: {person: true, amr: [mfa], bound: [dpop]}
`

// desk is approvals by their ids, each for whatever is asked, with a number of uses, in one order with a
// log.
type desk struct {
	mu       sync.Mutex
	log      *memory
	routes   map[string][]string
	uses     map[string]int
	why      map[string]string // ids of those that do not hold
	fail     error
	asks     authz.Asks
	asked    []string // of whom Asks was asked
	consults int
}

func (d *desk) Holds(req *authz.Request, _ authz.DataClass, _ []string, at time.Time) (*authz.Approval, string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.consults++
	id := req.Approval.ID
	switch {
	case d.routes[id] == nil:
		return nil, d.why[id]
	case d.uses[id] == 0:
		return nil, authz.ApprovalExpired
	}
	return &authz.Approval{ID: id, Ask: "arq_" + id, Routes: d.routes[id], By: []string{"person:ann"}, Until: at.Add(time.Minute), Single: d.uses[id] == 1}, ""
}

func (d *desk) Use(ctx context.Context, a *authz.Approval, req *authz.Request) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return 0, d.fail
	}
	if d.uses[a.ID] == 0 {
		return 0, authz.Errorf(authz.ErrConflict, "it is used up")
	}
	d.uses[a.ID]--
	return d.log.Record(ctx, audit.Draft{Kind: audit.ApprovalUsed, Actor: "agent:" + req.Subject.ID, Body: []byte(a.ID)})
}

func (d *desk) Asks(agent authz.AgentID, session string, _ time.Time) authz.Asks {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, string(agent)+"/"+session)
	return d.asks
}

func asking(t testing.TB) (*pdp.PDP, *memory, *desk) {
	t.Helper()
	p, log := newPDP(t)
	p.Policies = active{compile(t, schemaText, askPolicies, askCatalog)}
	d := &desk{
		log:    log,
		routes: map[string][]string{"one": {"desk"}, "both": {"board", "desk"}, "many": {"desk"}},
		uses:   map[string]int{"one": 1, "both": 1, "many": 100},
		why:    map[string]string{"old": authz.ApprovalExpired, "else": authz.ApprovalOutOfScope, "false": authz.ApprovalUnverifiable, "mute": ""},
	}
	p.Approvals = d
	return p, log, d
}

// pay is a payment that refers to an approval, unless its id is "".
func pay(amount int, approval string) authz.Request {
	r := ask("payer", "pay", "main", fmt.Sprintf(`{"amount":%d}`, amount))
	if approval != "" {
		r.Approval = &authz.ApprovalRef{ID: approval}
	}
	return r
}

// again judges the last decision of the log once more, by what is recorded of it.
func again(t testing.TB, p *pdp.PDP, log *memory, d authz.Decision) *pdp.Record {
	t.Helper()
	rec, err := pdp.ParseRecord(log.entries[len(log.entries)-1].Body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, rec.Decision, equalRecords); diff != "" {
		t.Errorf("recorded decision differs (-answered +recorded):\n%s", diff)
	}
	if d.Unapproved != rec.Decision.Unapproved || !cmp.Equal(d.Approval, rec.Decision.Approval, equalRecords) {
		t.Errorf("recorded: approval %v, unapproved %q; answered %v, %q", rec.Decision.Approval, rec.Decision.Unapproved, d.Approval, d.Unapproved)
	}
	if a := rec.Again(p.Policies.Active()); !pdp.Agrees(&a, &d) || a.Unapproved != d.Unapproved || !cmp.Equal(a.Approval, d.Approval, equalRecords) {
		t.Errorf("judged again it is %+v, was %+v", a, d)
	}
	return rec
}

// What comes of requests that refer to approvals, and of those that could.
func TestDecideByApproval(t *testing.T) {
	closed := pay(500, "one")
	closed.Resource.ID = "old"
	for _, tt := range []struct {
		name       string
		req        authz.Request
		effect     authz.Effect
		code       string
		routes     []string
		unapproved string
		uses       int // drawn
	}{
		{"nobody was asked", pay(500, ""), authz.RequireApproval, authz.CodeApprovalRequired, []string{"desk"}, "", 0},
		{"it was approved", pay(500, "one"), authz.Allow, authz.CodeAllowed, nil, "", 1},
		{"it needs none", pay(5, "one"), authz.Allow, authz.CodeAllowed, nil, "", 0},
		{"by one of two routes", pay(5000, "one"), authz.RequireApproval, authz.CodeApprovalRequired, []string{"board"}, authz.ApprovalOutOfScope, 0},
		{"by both", pay(5000, "both"), authz.Allow, authz.CodeAllowed, nil, "", 1},
		{"it is over", pay(500, "old"), authz.RequireApproval, authz.CodeApprovalRequired, []string{"desk"}, authz.ApprovalExpired, 0},
		{"for something else", pay(500, "else"), authz.RequireApproval, authz.CodeApprovalRequired, []string{"desk"}, authz.ApprovalOutOfScope, 0},
		{"nobody knows it", pay(500, "false"), authz.RequireApproval, authz.CodeApprovalRequired, []string{"desk"}, authz.ApprovalUnverifiable, 0},
		{"nobody says why", pay(500, "mute"), authz.RequireApproval, authz.CodeApprovalRequired, []string{"desk"}, authz.ApprovalUnverifiable, 0},
		{"one that is over where none is needed", pay(5, "old"), authz.Allow, authz.CodeAllowed, nil, "", 0},
		{"a policy that nobody lifts", closed, authz.Deny, authz.CodeForbidden, nil, authz.ApprovalPolicyDenied, 0},
		{"a step-up besides", pay(777, "one"), authz.StepUp, authz.CodeStepUpRequired, nil, authz.ApprovalPending, 0},
		{"an agent that may not act", func() authz.Request { r := pay(500, "one"); r.Subject.ID = "gone"; return r }(),
			authz.Deny, authz.CodeAgentInactive, nil, authz.ApprovalPolicyDenied, 0},
	} {
		p, log, desk := asking(t)
		before := desk.uses["one"] + desk.uses["both"]
		d, err := p.Decide(t.Context(), tt.req)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if d.Effect != tt.effect || d.Code != tt.code || !slices.Equal(d.Routes, tt.routes) || d.Unapproved != tt.unapproved {
			t.Errorf("%s: %v %s, routes %v, unapproved %q; want %v %s, %v, %q", tt.name, d.Effect, d.Code, d.Routes, d.Unapproved, tt.effect, tt.code, tt.routes, tt.unapproved)
		}
		if drawn := before - desk.uses["one"] - desk.uses["both"]; drawn != tt.uses || d.Lifted != (tt.uses > 0) || (d.Approval != nil) != d.Lifted {
			t.Errorf("%s: %d uses drawn, lifted %v, approval %v; want %d", tt.name, drawn, d.Lifted, d.Approval, tt.uses)
		}
		if n := len(log.entries); n != tt.uses+1 || d.Seq != int64(n) {
			t.Errorf("%s: %d entries, decision %d; want the use before the decision", tt.name, n, d.Seq)
		}
		rec := again(t, p, log, d)
		if tt.uses > 0 && (d.Approval.Use != 1 || rec.Facts.Approval == nil || rec.Facts.Approval.Use != 1 || rec.Facts.Approval.By[0] != "person:ann") {
			t.Errorf("%s: approval %+v, recorded %+v; want the use and who approved", tt.name, d.Approval, rec.Facts.Approval)
		}
	}
}

// A single use is for one decision, in a batch too, and in a race.
func TestApprovalIsUsedOnce(t *testing.T) {
	p, _, _ := asking(t)
	for i, want := range []string{authz.CodeAllowed, authz.CodeApprovalRequired} {
		if d, err := p.Decide(t.Context(), pay(500, "one")); err != nil || d.Code != want {
			t.Errorf("decision %d: %s, %v; want %s", i, d.Code, err, want)
		}
	}
	p, log, _ := asking(t)
	decisions, err := p.DecideAll(t.Context(), []pdp.Item{{Request: pay(500, "one")}, {Request: pay(500, "one")}, {Request: pay(500, "many")}}, pdp.ExecuteAll)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range decisions {
		got = append(got, d.Code+" "+d.Unapproved)
	}
	want := []string{"allowed ", "approval_required approval_expired", "allowed "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a batch (-want +got):\n%s", diff)
	}
	if len(log.entries) != 5 || decisions[0].Seq != 3 || decisions[0].Approval.Use != 1 || decisions[2].Approval.Use != 2 {
		t.Errorf("a batch: %d entries, first decision %d by use %v; want two uses, then three decisions", len(log.entries), decisions[0].Seq, decisions[0].Approval)
	}

	// All have judged by the same approval when the first draws it.
	p, _, desk := asking(t)
	const racers = 16
	gate := &gated{desk: desk, wait: make(chan struct{}), arrived: make(chan struct{}, racers)}
	p.Approvals, p.Log = gate, &locked{}
	desk.log = &memory{}
	results := make(chan authz.Decision, racers)
	for range racers {
		go func() {
			d, err := p.Decide(t.Context(), pay(500, "one"))
			if err != nil {
				t.Error(err)
			}
			results <- d
		}()
	}
	for range racers {
		<-gate.arrived
	}
	close(gate.wait)
	allowed := 0
	for range racers {
		switch d := <-results; {
		case d.Allowed():
			allowed++
		case d.Unapproved != authz.ApprovalExpired || d.Effect != authz.RequireApproval || len(d.Routes) != 1:
			t.Errorf("a loser is told %v %s, want that the approval is over, and where to ask", d.Effect, d.Unapproved)
		}
	}
	if allowed != 1 {
		t.Errorf("%d of %d were allowed by a single use, want one", allowed, racers)
	}
}

// gated holds uses back until all are there.
type gated struct {
	*desk
	wait, arrived chan struct{}
}

func (g *gated) Use(ctx context.Context, a *authz.Approval, req *authz.Request) (int64, error) {
	g.arrived <- struct{}{}
	<-g.wait
	return g.desk.Use(ctx, a, req)
}

// locked is a memory for many.
type locked struct {
	mu sync.Mutex
	memory
}

func (l *locked) Record(ctx context.Context, drafts ...audit.Draft) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.memory.Record(ctx, drafts...)
}

// A decision never stands on a use that was not drawn: the request is judged as if there were none.
func TestUseThatIsNotDrawn(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"lost":            {authz.ErrConflict, authz.ApprovalExpired},
		"the log is down": {authz.ErrUnavailable, authz.ApprovalPending},
		"in time":         {context.DeadlineExceeded, authz.ApprovalPending},
		"unknown":         {authz.ErrNotFound, authz.ApprovalUnverifiable},
		"out of scope":    {authz.ErrForbidden, authz.ApprovalOutOfScope},
		"not an act":      {authz.ErrInvalid, authz.ApprovalOutOfScope},
	} {
		p, log, desk := asking(t)
		desk.fail = fmt.Errorf("drawing: %w", tt.err)
		d, err := p.Decide(t.Context(), pay(500, "one"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d.Effect != authz.RequireApproval || d.Lifted || d.Approval != nil || d.Unapproved != tt.want || !slices.Equal(d.Routes, []string{"desk"}) {
			t.Errorf("%s: %+v, want require_approval because of %s", name, d, tt.want)
		}
		if rec := again(t, p, log, d); rec.Facts.Approval != nil || rec.Facts.Unapproved != tt.want {
			t.Errorf("%s: recorded approval %v, unapproved %q; want none, %q", name, rec.Facts.Approval, rec.Facts.Unapproved, tt.want)
		}
	}

	// And what cannot be recorded is refused, though its use is lost.
	p, _, desk := asking(t)
	p.Log = &memory{err: authz.ErrUnavailable}
	for _, answer := range []func() (authz.Decision, error){
		func() (authz.Decision, error) { return p.Decide(t.Context(), pay(500, "one")) },
		func() (authz.Decision, error) {
			all, err := p.DecideAll(t.Context(), []pdp.Item{{Request: pay(500, "many")}}, pdp.ExecuteAll)
			return all[0], err
		},
	} {
		if d, err := answer(); !errors.Is(err, authz.ErrUnavailable) || d.Allowed() || d.Lifted {
			t.Errorf("with a log that is down: %+v, %v; want a refusal", d, err)
		}
	}
	if desk.uses["one"] != 0 || desk.uses["many"] != 99 {
		t.Errorf("uses left: %v", desk.uses)
	}
}

// Without approvals no reference holds, and nobody has asked.
func TestNoApprovals(t *testing.T) {
	p, log, _ := asking(t)
	p.Approvals = nil
	d, err := p.Decide(t.Context(), pay(500, "one"))
	if err != nil || d.Effect != authz.RequireApproval || d.Unapproved != authz.ApprovalUnverifiable {
		t.Errorf("Decide = %v %q, %v; want require_approval, approval_unverifiable", d.Effect, d.Unapproved, err)
	}
	again(t, p, log, d)
}

// Who judges without drawing uses does not look at approvals; who searches finds by them, and draws none.
func TestApprovalsElsewhere(t *testing.T) {
	p, _, desk := asking(t)
	decisions, drafts, err := p.Judge([]authz.Request{pay(500, "one")}, p.Now())
	if err != nil || decisions[0].Allowed() || decisions[0].Lifted || desk.consults != 0 || len(drafts) != 1 {
		t.Errorf("Judge = %+v, %v after %d looks; want a refusal, and none", decisions, err, desk.consults)
	}

	req := ask("payer", "read", "", "")
	for _, tt := range []struct {
		approval string
		want     []string
		obliged  int
	}{{"", []string{"main"}, 1}, {"one", []string{"main", "old"}, 2}} {
		if tt.approval != "" {
			req.Approval = &authz.ApprovalRef{ID: tt.approval}
		}
		found, err := p.SearchResources(t.Context(), req, pdp.Page{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, r := range found.Results {
			ids = append(ids, r.ID)
		}
		if !slices.Equal(ids, tt.want) || len(found.Obligations) != tt.obliged || len(found.Obligations[0]) != 1 || found.Obligations[0][0].ID != "tell" {
			t.Errorf("approved by %q: found %v with %v, want %v, the first with an obligation", tt.approval, ids, found.Obligations, tt.want)
		}
		if tt.obliged == 2 && len(found.Obligations[1]) != 0 {
			t.Errorf("obligations %v, want none with the second", found.Obligations)
		}
	}
	if desk.uses["one"] != 1 {
		t.Errorf("a search has drawn a use")
	}
	if found, err := p.SearchResources(t.Context(), ask("reader", "pay", "", ""), pdp.Page{Limit: 10}); err != nil || found.Obligations != nil {
		t.Errorf("obligations of nothing: %v, %v", found.Obligations, err)
	}
}

// How much an agent has asked is known of the decision, and can be too much.
func TestAskBudget(t *testing.T) {
	p, log, desk := asking(t)
	req := pay(500, "")
	req.Observed.Session = "s-1"
	desk.asks = authz.Asks{Session: 1, Hour: 7}
	d, err := p.Decide(t.Context(), req)
	if err != nil || d.Effect != authz.RequireApproval {
		t.Errorf("within the budget: %v, %v; want require_approval", d.Effect, err)
	}
	desk.asks.Session = 2
	d, err = p.Decide(t.Context(), req)
	if err != nil || d.Code != authz.CodeAskBudget || d.Routes != nil || d.Remedies != nil {
		t.Errorf("beyond it: %+v, %v; want ask_budget", d, err)
	}
	if rec := again(t, p, log, d); rec.Facts.Asks != (authz.Asks{Session: 2, Hour: 7}) {
		t.Errorf("recorded asks %+v", rec.Facts.Asks)
	}
	if _, err := p.Decide(t.Context(), ask("Clerk:carla", "read", "main", "")); err != nil {
		t.Fatal(err)
	}
	if want := []string{"payer/s-1", "payer/s-1"}; !slices.Equal(desk.asked, want) {
		t.Errorf("asked about %v, want %v: people have no budget", desk.asked, want)
	}
}

// Levels of assurance follow from the token that was presented, or from how the agent authenticated to us.
func TestAssurance(t *testing.T) {
	now := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	passport := func(bound string, a authz.Authentication) *authz.Passport {
		return &authz.Passport{ID: "j", Bound: bound, Expires: now.Add(time.Minute), Auth: a,
			Details: []authz.Detail{{Type: authz.DetailType, Identifier: "payments"}}}
	}
	exchanged := func(bound, acr string, a authz.Authentication) *authz.Passport {
		p := passport(bound, a)
		p.Depth, p.Auth.ACR = 1, acr
		return p
	}
	const keyACR, personACR = "urn:safeconduct:assurance:key", "urn:safeconduct:assurance:person"
	agent := authz.Authentication{Method: "private_key_jwt", At: now.Add(-30 * time.Second)}
	person := authz.Authentication{Person: "ann", AMR: []string{"mfa", "user"}, At: now.Add(-time.Hour)}
	for _, tt := range []struct {
		name     string
		passport *authz.Passport
		method   string
		want     []string
	}{
		{"nothing is known", nil, "", nil},
		{"the agent itself, now", nil, "private_key_jwt", []string{"key"}},
		{"the agent itself, in another way", nil, "dpop", nil},
		{"a token of a person", passport("dpop", person), "", []string{"person"}},
		{"a token of a person that anybody can use", passport("none", person), "", nil},
		{"a token of an agent", passport("dpop", authz.Authentication{Method: "private_key_jwt", At: now.Add(-30 * time.Second)}), "", []string{"key"}},
		{"a token of an agent, too old", passport("dpop", authz.Authentication{Method: "private_key_jwt", At: now.Add(-2 * time.Minute)}), "", nil},
		{"a token that does not say when", passport("dpop", authz.Authentication{Method: "private_key_jwt"}), "", nil},
		{"an exchanged token of no level", exchanged("dpop", "urn:safeconduct:trust:high", agent), "", nil},
		{"an exchanged token that tells no level", exchanged("dpop", "", agent), "private_key_jwt", nil},
		{"an exchanged token of the level", exchanged("dpop", keyACR, agent), "", []string{"key"}},
		{"an exchanged token of another level", exchanged("dpop", personACR, agent), "", nil},
		{"an exchanged token of a person", exchanged("dpop", personACR, person), "", []string{"person"}},
		{"an exchanged token of a person, by an agent with a key", exchanged("dpop", personACR,
			authz.Authentication{Person: "ann", AMR: person.AMR, Method: "private_key_jwt", At: now.Add(-time.Second)}), "", []string{"person"}},
		{"a token that says nothing", passport("dpop", authz.Authentication{}), "private_key_jwt", nil},
	} {
		p, log, _ := asking(t)
		for amount, level := range map[int]string{7: "key", 777: "person"} {
			req := pay(amount, "many")
			req.Observed.Passport, req.Observed.Method = tt.passport, tt.method
			d, err := p.Decide(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			want := authz.StepUp
			if slices.Contains(tt.want, level) {
				want = authz.Allow
			}
			if d.Effect != want {
				t.Errorf("%s: %d is %v %s, want %v", tt.name, amount, d.Effect, d.Detail, want)
			}
			if rec := again(t, p, log, d); !slices.Equal(rec.Facts.Assured, tt.want) {
				t.Errorf("%s: recorded levels %v, want %v", tt.name, rec.Facts.Assured, tt.want)
			}
			if d.Effect == authz.StepUp && (len(d.Obligations) != 1 || d.Obligations[0].ID != "step-up:"+level) {
				t.Errorf("%s: obligations %v, want the step to %s", tt.name, d.Obligations, level)
			}
		}
	}
}
