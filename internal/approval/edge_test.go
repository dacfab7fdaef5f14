package approval_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
)

// What was one too many stays so when it is read again by who knows that others have ended since.
func TestBoundsOnReplay(t *testing.T) {
	w := open(t, organisation)
	for i := range 200 {
		wantKind(t, "asking", w.asked(i, "payer"), nil)
	}
	wantKind(t, "one more", w.asked(200, "payer"), authz.ErrConflict)
	all, err := w.List(ctx, approval.Filter{Limit: 50})
	wantKind(t, "List", err, nil)
	for _, a := range all {
		_, err := w.Cancel(ctx, "pep:gate", a.ID, "", "")
		wantKind(t, "Cancel", err, nil)
	}
	wantKind(t, "one more, later", w.asked(201, "payer"), nil)
	w.agree()
	if n := w.Asks("payer", "s1", start); n.Pending != 151 || n.Session != 201 {
		t.Errorf("Asks = %+v, want 151 pending of 201", n)
	}
}

func TestFail(t *testing.T) {
	w := open(t, organisation)
	a, err := w.Fail(ctx, "safeconduct", w.ask("one").ID, "the evaluator is gone")
	wantKind(t, "Fail", err, nil)
	if a.Status != approval.Failed || a.Why != "the evaluator is gone" || !a.ClosedAt.Equal(start) {
		t.Errorf("ask = %s, want it failed, and why", text(a))
	}
	_, err = w.Fail(ctx, "safeconduct", a.ID, "again")
	wantKind(t, "Fail again", err, authz.ErrConflict)
	w.agree()
}

// Whoever has said yes by a route has broken the silence.
func TestSilenceIsBroken(t *testing.T) {
	w := open(t, organisation+"    slow: {title: Two, approvers: [finance], quorum: 2, escalate: [heads], after: 5m}\n")
	heard, silent := w.ask("slow"), w.ask("slow", "safe")
	w.approve(heard, who("anna"))
	w.approve(silent, who("dora"))
	w.log.pass(5 * time.Minute)
	wantKind(t, "Sweep", w.Sweep(ctx), nil)
	n := len(w.log.entries)
	for _, c := range []struct {
		name string
		a    *approval.Ask
		want bool
	}{{"where anna said yes", heard, false}, {"where only dora did, by another route", silent, true}} {
		a, err := w.Get(ctx, c.a.ID)
		wantKind(t, "Get", err, nil)
		if got := !a.Escalated.IsZero(); got != c.want {
			t.Errorf("%s: escalated %v, want %v", c.name, got, c.want)
		}
	}
	wantKind(t, "Sweep again", w.Sweep(ctx), nil)
	if len(w.log.entries) != n {
		t.Errorf("sweeping again recorded %d entries, want none", len(w.log.entries)-n)
	}
	w.agree()
}

// An amount that one of the acts does not have cannot be chosen for all.
func TestMostIsWhatAllHave(t *testing.T) {
	w := open(t, organisation)
	a := about(payment(), 1, "half")
	a.Bulk = true
	for i, args := range []string{`{"amount":"20","to":"x"}`, `{"to":"y"}`} {
		it := a.Items[0]
		it.Action.Properties, it.Decision = authz.Claimed(args), int64(i+2)
		a.Items = append(a.Items, it)
	}
	made, _, err := w.Ask(ctx, a)
	wantKind(t, "Ask", err, nil)
	s, err := w.Standing(ctx, made, who("anna"))
	wantKind(t, "Standing", err, nil)
	if diff := cmp.Diff(approval.Scope{Uses: 3, Class: true, Until: start.Add(2 * time.Hour)}, s.Most); diff != "" {
		t.Errorf("most (-want +got):\n%s", diff)
	}
	_, err = w.answer(made, who("anna"), approval.Reply{Yes: true, Scope: approval.Scope{Amounts: map[string]string{"amount": "400"}}})
	wantKind(t, "an amount for all", err, authz.ErrInvalid)
	_, err = w.answer(made, who("anna"), approval.Reply{Yes: true, Items: []int{0, 1}, Scope: approval.Scope{Amounts: map[string]string{"amount": "400"}}})
	wantKind(t, "an amount for those that have it", err, nil)
	_, err = w.answer(made, who("ben"), approval.Reply{Items: []int{2}})
	wantKind(t, "the last", err, nil)
	if s := w.Stats(time.Hour); s.Approved != 1 || s.Denied != 0 || s.Median != 15*time.Second {
		t.Errorf("Stats = %+v, want one that was approved in part, after 15 s", s)
	}
}

// A person or a thing asks, too, and what it asks counts for itself.
func TestSubjectThatIsNoAgent(t *testing.T) {
	w := open(t, organisation)
	req := payment()
	req.Subject = entity("service", "nightly", "")
	a := about(req, 1, "one")
	a.Owner, a.Creator = "", ""
	made, _, err := w.Ask(ctx, a)
	wantKind(t, "Ask", err, nil)
	made = w.approve(made, who("anna"))
	if got := w.holds(made, 0, func(r *authz.Request) { r.Subject = req.Subject }); got != "holds" {
		t.Errorf("it %s, want that it holds", got)
	}
	held, _ := w.Holds(&authz.Request{}, authz.Public, nil, start)
	if held != nil {
		t.Errorf("Holds of nothing = %+v", held)
	}
	req.Approval = &authz.ApprovalRef{ID: made.Items[0].Approval.ID}
	held, why := w.Holds(req, authz.Public, nil, w.log.Now())
	if held == nil {
		t.Fatal(why)
	}
	if _, err := w.Use(ctx, held, req); err != nil {
		t.Errorf("Use = %v", err)
	}
	if actor := w.log.entries[len(w.log.entries)-1].Actor; actor != "pep:gate" {
		t.Errorf("it was used by %s, want pep:gate", actor)
	}
	w.agree()
}
