package pdp_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// spine is a log that a desk follows, in one step.
type spine struct {
	mu    sync.Mutex
	kinds []audit.Kind
	desk  *approval.Desk
	now   time.Time
}

func (s *spine) Record(_ context.Context, drafts ...audit.Draft) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := int64(len(s.kinds) + 1)
	for _, d := range drafts {
		s.kinds = append(s.kinds, d.Kind)
	}
	return first, nil
}

func (s *spine) Commit(ctx context.Context, d audit.Draft) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kinds = append(s.kinds, d.Kind)
	seq := int64(len(s.kinds))
	return seq, s.desk.Apply(ctx, audit.Entry{Seq: seq, At: s.now, Kind: d.Kind, Actor: d.Actor, Body: d.Body})
}

func (s *spine) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *spine) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// An errand is a payment for which persons were asked at a desk, and of which they have approved.
type errand struct {
	*pdp.PDP
	log *spine
	ask *approval.Ask
	req authz.Request // refers to the approval
}

func newErrand(t *testing.T) *errand {
	t.Helper()
	p, _, _ := asking(t)
	s := &spine{now: p.Now()}
	cat, err := catalog.Parse("catalog.yaml", []byte(askCatalog))
	if err != nil {
		t.Fatal(err)
	}
	s.desk = approval.New(approval.Config{
		Store: storetest.Open(t), Log: s, Now: s.Now,
		Catalog: func(context.Context, int64) (*catalog.Catalog, error) { return cat, nil },
	})
	if err := s.desk.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Approvals, p.Log, p.Now = s.desk, s, s.Now

	req := pay(500, "")
	req.Context = authz.Claimed(`{"purpose":"rent","confidence":0.9}`)
	d, err := p.Decide(t.Context(), req)
	if err != nil || d.Effect != authz.RequireApproval {
		t.Fatalf("Decide = %v, %v; want require_approval", d.Effect, err)
	}
	a, _, err := s.desk.Ask(t.Context(), approval.Ask{
		Kind: approval.Access, Catalog: 1, Agent: req.Agent(), Owner: "o", Requester: "pep:test", PEP: "test",
		Bound: approval.Bound{Subject: req.Subject, Context: authz.Claimed(`{"purpose":"rent"}`), Members: []string{"purpose"}},
		Items: []approval.Item{{Action: req.Action, Resource: req.Resource, Decision: d.Seq, Routes: d.Routes, Data: authz.Internal}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ann := approval.Person{ID: "ann"}
	view, err := s.desk.View(t.Context(), ann, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	s.pass(10 * time.Second)
	if a, err = s.desk.Answer(t.Context(), ann, a.ID, approval.Reply{Yes: true, View: view.Seq}); err != nil || a.Items[0].Approval == nil {
		t.Fatalf("Answer = %+v, %v; want an approval", a, err)
	}
	req.Approval = &authz.ApprovalRef{ID: a.Items[0].Approval.ID}
	return &errand{p, s, a, req}
}

// What persons approved is one use of the very act, and policy has the last word.
func TestApprovalOfOneAct(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*errand)
		want   string // "" if it is allowed
	}{
		"the very act":          {func(*errand) {}, ""},
		"asked by another door": {func(e *errand) { e.req.Observed.PEP = "other" }, ""},
		"less sure of itself": {func(e *errand) {
			e.req.Context = authz.Claimed(`{"confidence":0.1,"purpose":"rent"}`)
		}, ""},
		"a larger sum": {func(e *errand) {
			e.req.Action.Properties = authz.Claimed(`{"amount":501}`)
		}, authz.ApprovalOutOfScope},
		"for another purpose": {func(e *errand) {
			e.req.Context = authz.Claimed(`{"purpose":"fun"}`)
		}, authz.ApprovalOutOfScope},
		"from another ledger": {func(e *errand) { e.req.Resource.ID = "second" }, authz.ApprovalOutOfScope},
		"on somebody's behalf": {func(e *errand) {
			e.req.OnBehalf = []authz.Ref{{Type: authz.AgentType, ID: "payer"}}
		}, authz.ApprovalOutOfScope},
		"by another agent": {func(e *errand) { e.req.Subject.ID = "second" }, authz.ApprovalUnverifiable},
		"by a guess": {func(e *errand) {
			e.req.Approval = &authz.ApprovalRef{ID: "apr_" + e.req.Approval.ID}
		}, authz.ApprovalUnverifiable},
		"by the number of the ask": {func(e *errand) {
			e.req.Approval = &authz.ApprovalRef{ID: e.ask.ID}
		}, authz.ApprovalUnverifiable},
		"too late":     {func(e *errand) { e.log.pass(15 * time.Minute) }, authz.ApprovalExpired},
		"just in time": {func(e *errand) { e.log.pass(15*time.Minute - time.Second) }, ""},
		"after it was taken back": {func(e *errand) {
			if _, err := e.log.desk.Revoke(t.Context(), "admin:root", e.ask.ID, "a mistake"); err != nil {
				t.Error(err)
			}
		}, authz.ApprovalExpired},
		"after the policies changed": {func(e *errand) {
			e.Policies = active{compile(t, schemaText, askPolicies+`@id("stop") forbid (principal, action in Action::"money", resource);`, askCatalog)}
		}, authz.ApprovalPolicyDenied},
		"after the agent was stopped": {func(e *errand) {
			e.Agents = registry{"payer": {ID: "payer", State: authz.AgentSuspended}}
		}, authz.ApprovalPolicyDenied},
	} {
		t.Run(name, func(t *testing.T) {
			e := newErrand(t)
			agents := e.Agents.(registry)
			agents["second"] = agents["payer"]
			tt.change(e)
			for use := range 2 { // the second comes too late in any case
				d, err := e.Decide(t.Context(), e.req)
				if err != nil {
					t.Fatal(err)
				}
				want := tt.want
				if use == 1 && want == "" {
					want = authz.ApprovalExpired
				}
				if d.Unapproved != want || d.Allowed() != (want == "") {
					t.Errorf("use %d: %v %s, unapproved %q, want %q", use+1, d.Effect, d.Code, d.Unapproved, want)
				}
			}
			if got, err := e.log.desk.Get(t.Context(), e.ask.ID); err != nil || got.Items[0].Approval.Used != used(tt.want) {
				t.Errorf("used %d times, %v; want %d", got.Items[0].Approval.Used, err, used(tt.want))
			}
		})
	}
}

// used is how often an approval is used if that comes of it.
func used(why string) int64 {
	if why == "" {
		return 1
	}
	return 0
}

// Of many who use it at once one is allowed.
func TestRaceAtTheDesk(t *testing.T) {
	e := newErrand(t)
	const racers = 8
	results := make(chan bool, racers)
	for range racers {
		go func() {
			d, err := e.Decide(t.Context(), e.req)
			if err != nil {
				t.Error(err)
			}
			results <- d.Allowed()
		}()
	}
	allowed := 0
	for range racers {
		if <-results {
			allowed++
		}
	}
	got, err := e.log.desk.Get(t.Context(), e.ask.ID)
	if err != nil || allowed != 1 || got.Items[0].Approval.Used != 1 {
		t.Errorf("%d of %d were allowed, used %d times, %v; want one", allowed, racers, got.Items[0].Approval.Used, err)
	}
}
