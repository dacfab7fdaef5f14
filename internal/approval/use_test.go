package approval_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
)

// What an approval holds for: the very act and nothing else, unless its scope says so.
func TestHolds(t *testing.T) {
	amount := func(v string) func(*authz.Request) {
		return func(r *authz.Request) { r.Action.Properties = authz.Claimed(`{"to":"de1","amount":` + v + `}`) }
	}
	resource := func(typ, id string) func(*authz.Request) {
		return func(r *authz.Request) { r.Resource = entity(typ, id, `{"currency":"CHF"}`) }
	}
	both := func(fs ...func(*authz.Request)) func(*authz.Request) {
		return func(r *authz.Request) {
			for _, f := range fs {
				f(r)
			}
		}
	}
	out, foreign := authz.ApprovalOutOfScope, authz.ApprovalUnverifiable
	type wants map[string]string
	acts := []struct {
		name   string
		change func(*authz.Request)
	}{
		{"the very act", nil},
		{"at another time", func(r *authz.Request) { r.Context = authz.Claimed(`{"time":"later","purpose":"rent"}`) }},
		{"written otherwise", amount("4.0e2")},
		{"for another purpose", func(r *authz.Request) { r.Context = authz.Claimed(`{"purpose":"fun"}`) }},
		{"for no purpose", func(r *authz.Request) { r.Context = nil }},
		{"with more context", func(r *authz.Request) { r.Context = authz.Claimed(`{"purpose":"rent","force":true}`) }},
		{"another action", func(r *authz.Request) { r.Action.Name = "refund" }},
		{"less", amount("399.99")},
		{"more, within what some permit", amount("500")},
		{"much more", amount("1000.01")},
		{"less than nothing", amount("-1")},
		{"the amount as text", amount(`"400"`)},
		{"any amount", amount(`"as many as there are"`)},
		{"one more argument", func(r *authz.Request) {
			r.Action.Properties = authz.Claimed(`{"to":"de1","amount":400,"urgent":true}`)
		}},
		{"another argument", func(r *authz.Request) { r.Action.Properties = authz.Claimed(`{"to":"de2","amount":400}`) }},
		{"another account", resource("account", "de2")},
		{"another account, more", both(resource("account", "de2"), amount("500"))},
		{"another thing", resource("card", "de1")},
		{"for somebody", func(r *authz.Request) { r.OnBehalf = []authz.Ref{{Type: "user", ID: "zoe"}} }},
		{"with a passport's act", func(r *authz.Request) {
			r.Subject.Properties = authz.Claimed(`{"act":{"sub":"x"},"team":"rent"}`)
		}},
		{"another agent", func(r *authz.Request) { r.Subject.ID = "thief" }},
		{"a person of that name", func(r *authz.Request) { r.Subject.Type = "user" }},
		{"through another enforcement point", func(r *authz.Request) { r.Observed.PEP = "other" }},
		{"no such approval", func(r *authz.Request) { r.Approval.ID = "apr_aaaaaaaaaaaaaaaaaaaaaaaaaa" }},
		{"no approval", func(r *authz.Request) { r.Approval = nil }},
	}
	always := wants{"another agent": foreign, "a person of that name": foreign, "no such approval": foreign, "no approval": foreign}
	plain := []string{"the very act", "at another time", "written otherwise", "with a passport's act", "through another enforcement point"}
	for _, c := range []struct {
		name, routes string
		scope        approval.Scope
		hold         []string
	}{
		{"one use", "wide", approval.Scope{}, nil},
		{"several uses", "wide", approval.Scope{Uses: 3}, nil},
		{"up to an amount", "half", approval.Scope{Amounts: map[string]string{"amount": "500"}}, []string{"less", "more, within what some permit"}},
		{"a class of resources", "half", approval.Scope{Class: true}, []string{"another account"}},
		{"a class of resources up to an amount", "half", approval.Scope{Class: true, Amounts: map[string]string{"amount": "500"}},
			[]string{"less", "more, within what some permit", "another account", "another account, more"}},
		{"any arguments", "wide", approval.Scope{Class: true, Arguments: true},
			[]string{"less", "more, within what some permit", "much more", "less than nothing", "the amount as text", "any amount",
				"one more argument", "another argument", "another account", "another account, more"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := open(t, organisation)
			a, err := w.answer(w.ask(c.routes), who("anna"), approval.Reply{Yes: true, Scope: c.scope})
			wantKind(t, "Answer", err, nil)
			hold := map[string]bool{}
			for _, name := range append(plain, c.hold...) {
				hold[name] = true
			}
			for _, act := range acts {
				want := out
				if hold[act.name] {
					want = "holds"
				} else if why := always[act.name]; why != "" {
					want = why
				}
				if got := w.holds(a, 0, act.change); got != want {
					t.Errorf("%s: %q, want %q", act.name, got, want)
				}
			}
		})
	}
}

// A class is of resources that are no more sensitive and have no other labels.
func TestHoldsForClass(t *testing.T) {
	w := open(t, organisation)
	a, err := w.answer(w.ask("wide"), who("anna"), approval.Reply{Yes: true, Scope: approval.Scope{Class: true}})
	wantKind(t, "Answer", err, nil)
	for _, c := range []struct {
		data   authz.DataClass
		labels []string
		want   string
	}{
		{authz.Confidential, []string{"pii", "financial"}, ""},
		{authz.Public, nil, ""},
		{authz.Restricted, nil, authz.ApprovalOutOfScope},
		{authz.Internal, []string{"phi"}, authz.ApprovalOutOfScope},
		{authz.Internal, []string{"financial", "phi"}, authz.ApprovalOutOfScope},
	} {
		req := payment()
		req.Resource.ID = "de2"
		req.Approval = &authz.ApprovalRef{ID: a.Items[0].Approval.ID}
		if got, why := w.Holds(req, c.data, c.labels, w.log.Now()); why != c.want || (got != nil) != (c.want == "") {
			t.Errorf("Holds for a %s resource with %v = %v, %q, want %q", c.data, c.labels, got, why, c.want)
		}
	}
}

func TestScopeIsBounded(t *testing.T) {
	try := func(t *testing.T, routes string, scope approval.Scope, change func(*approval.Ask)) (*approval.Ask, error) {
		t.Helper()
		w := open(t, organisation)
		a := about(payment(), 1, routes)
		if routes == "wide half" {
			a.Items[0].Routes = []string{"wide", "half"}
		}
		if change != nil {
			change(&a)
		}
		made, _, err := w.Ask(ctx, a)
		wantKind(t, "Ask", err, nil)
		return w.answer(made, who("anna"), approval.Reply{Yes: true, Scope: scope})
	}
	amounts := func(limit string) approval.Scope { return approval.Scope{Amounts: map[string]string{"amount": limit}} }
	for _, c := range []struct {
		name, routes string
		scope        approval.Scope
	}{
		{"a second use where one is permitted", "one", approval.Scope{Uses: 2}},
		{"uses without end", "wide", approval.Scope{Uses: -1}},
		{"uses that are no number", "wide", approval.Scope{Uses: -2}},
		{"one more use than permitted", "wide", approval.Scope{Uses: 6}},
		{"a class where none is permitted", "one", approval.Scope{Class: true}},
		{"any arguments where none are permitted", "half", approval.Scope{Class: true, Arguments: true}},
		{"any arguments without a class", "wide", approval.Scope{Arguments: true}},
		{"more than the most", "half", amounts("500.01")},
		{"less than what was asked for", "half", amounts("399")},
		{"no amount", "half", amounts("lots")},
		{"an argument that has no bound", "half", approval.Scope{Amounts: map[string]string{"to": "5"}}},
		{"the wider of two routes", "wide half", approval.Scope{Uses: 5}},
		{"an end that is past", "one", approval.Scope{Until: start.Add(-time.Second)}},
	} {
		if _, err := try(t, c.routes, c.scope, nil); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: error %v, want ErrInvalid", c.name, err)
		}
	}
	for _, c := range []struct {
		name, routes string
		scope        approval.Scope
		change       func(*approval.Ask)
		want         time.Duration // from the answer
	}{
		{"one use lasts as the route says", "one", approval.Scope{}, nil, 15 * time.Minute},
		{"an end that is too late is brought forward", "one", approval.Scope{Until: start.Add(100 * time.Hour)}, nil, 15 * time.Minute},
		{"an end may be chosen", "one", approval.Scope{Until: start.Add(65 * time.Second)}, nil, time.Minute},
		{"a class lasts longer", "wide", approval.Scope{Class: true}, nil, 4 * time.Hour},
		{"the shorter of two routes", "wide half", approval.Scope{Uses: 2}, nil, 2 * time.Hour},
		{"no longer than was asked for", "wide", approval.Scope{Uses: 2}, func(a *approval.Ask) { a.RequestedUntil = start.Add(time.Hour + 5*time.Second) }, time.Hour},
	} {
		a, err := try(t, c.routes, c.scope, c.change)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if g := a.Items[0].Approval; !g.Until.Equal(g.At.Add(c.want)) {
			t.Errorf("%s: it holds for %v, want %v", c.name, g.Until.Sub(g.At), c.want)
		}
	}
}

// Of several who say yes, the narrowest counts.
func TestNarrowestCounts(t *testing.T) {
	text := organisation + "    both: {title: Two, approvers: [finance], quorum: 2, uses: 5, class: true, class_for: 3h, arguments: true, amounts: {amount: \"900\"}}\n"
	for _, c := range []struct{ anna, ben, want approval.Scope }{
		{approval.Scope{}, approval.Scope{Uses: 5, Class: true, Arguments: true}, approval.Scope{}},
		{approval.Scope{Uses: 4}, approval.Scope{Uses: 3}, approval.Scope{Uses: 3}},
		{approval.Scope{Uses: 4, Class: true}, approval.Scope{Uses: 5}, approval.Scope{Uses: 4}},
		{approval.Scope{Class: true, Arguments: true}, approval.Scope{Class: true, Amounts: map[string]string{"amount": "700"}},
			approval.Scope{Class: true, Amounts: map[string]string{"amount": "700"}}},
		{approval.Scope{Amounts: map[string]string{"amount": "800"}}, approval.Scope{Amounts: map[string]string{"amount": "0700.0"}},
			approval.Scope{Amounts: map[string]string{"amount": "0700.0"}}},
		{approval.Scope{Amounts: map[string]string{"amount": "800"}}, approval.Scope{}, approval.Scope{}},
		{approval.Scope{Class: true, Arguments: true}, approval.Scope{Class: true, Arguments: true}, approval.Scope{Class: true, Arguments: true}},
		{approval.Scope{Until: start.Add(time.Hour)}, approval.Scope{Until: start.Add(time.Minute)}, approval.Scope{Until: start.Add(time.Minute)}},
		{approval.Scope{Until: start.Add(time.Hour)}, approval.Scope{}, approval.Scope{Until: start.Add(time.Hour)}},
	} {
		w := open(t, text)
		a := w.ask("both")
		_, err := w.answer(a, who("anna"), approval.Reply{Yes: true, Scope: c.anna})
		wantKind(t, "Answer of anna", err, nil)
		a, err = w.answer(a, who("ben"), approval.Reply{Yes: true, Scope: c.ben})
		wantKind(t, "Answer of ben", err, nil)
		if diff := cmp.Diff(c.want, a.Items[0].Approval.Scope); diff != "" {
			t.Errorf("scopes %+v and %+v (-want +got):\n%s", c.anna, c.ben, diff)
		}
		w.agree()
	}
}

func TestUse(t *testing.T) {
	w := open(t, organisation)
	other := w.another()
	a, err := w.answer(w.ask("wide"), who("anna"), approval.Reply{Yes: true, Scope: approval.Scope{Uses: 3}})
	wantKind(t, "Answer", err, nil)
	req := payment()
	req.Approval = &authz.ApprovalRef{ID: a.Items[0].Approval.ID}
	for i, d := range []*approval.Desk{w.Desk, other, w.Desk} {
		held, why := d.Holds(req, authz.Confidential, nil, w.log.Now())
		if held == nil {
			t.Fatalf("use %d: %s, want that it holds", i, why)
		}
		if held.Single != (i == 2) || held.Use != 0 || !cmp.Equal(held.By, []string{"person:anna"}) || !cmp.Equal(held.Routes, []string{"wide"}) {
			t.Errorf("use %d: held %+v, want anna's, of the route wide, the last: %v", i, held, i == 2)
		}
		seq, err := d.Use(ctx, held, req)
		wantKind(t, "Use", err, nil)
		if seq != int64(len(w.log.entries)) {
			t.Errorf("use %d is entry %d, want %d", i, seq, len(w.log.entries))
		}
	}
	if got := w.holds(a, 0, nil); got != authz.ApprovalExpired {
		t.Errorf("after three uses it %s, want %s", got, authz.ApprovalExpired)
	}
	_, err = w.Use(ctx, &authz.Approval{ID: a.Items[0].Approval.ID, Ask: a.ID}, req)
	wantKind(t, "a fourth use", err, authz.ErrConflict)
	w.agree()
}

// Of many who draw the only use at the same time, one wins.
func TestUseRace(t *testing.T) {
	w := open(t, organisation)
	desks := []*approval.Desk{w.Desk, w.another(), w.another()}
	a := w.approve(w.ask("one"), who("anna"))
	req := payment()
	req.Approval = &authz.ApprovalRef{ID: a.Items[0].Approval.ID}
	held, why := w.Holds(req, authz.Confidential, nil, w.log.Now())
	if held == nil || !held.Single {
		t.Fatalf("held %+v, %q, want a single use", held, why)
	}
	var won, lost atomic.Int64
	var racing sync.WaitGroup
	for i := range 30 {
		racing.Go(func() {
			switch _, err := desks[i%3].Use(ctx, held, req); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, authz.ErrConflict):
				lost.Add(1)
			default:
				t.Errorf("Use: %v", err)
			}
		})
	}
	racing.Wait()
	if won.Load() != 1 || lost.Load() != 29 {
		t.Errorf("%d won and %d lost, want 1 and 29", won.Load(), lost.Load())
	}
	w.agree()
}

func TestApprovalEnds(t *testing.T) {
	w := open(t, organisation)
	a := w.approve(w.ask("one"), who("anna"))
	w.log.pass(15*time.Minute - time.Second)
	if got := w.holds(a, 0, nil); got != "holds" {
		t.Errorf("just before its end it is %s", got)
	}
	w.log.pass(time.Second)
	if got := w.holds(a, 0, nil); got != authz.ApprovalExpired {
		t.Errorf("at its end it is %s, want %s", got, authz.ApprovalExpired)
	}
	_, err := w.Use(ctx, &authz.Approval{ID: a.Items[0].Approval.ID, Ask: a.ID}, payment())
	wantKind(t, "Use at the end", err, authz.ErrConflict)
	_, err = w.Revoke(ctx, "admin:anna", a.ID, "too late")
	wantKind(t, "Revoke at the end", err, authz.ErrConflict)

	b := w.approve(w.ask("one"), who("anna"))
	_, err = w.Revoke(ctx, "admin:anna", b.ID, "")
	wantKind(t, "Revoke without a reason", err, authz.ErrInvalid)
	b, err = w.Revoke(ctx, "admin:anna", b.ID, "wrong account")
	wantKind(t, "Revoke", err, nil)
	if g := b.Items[0].Approval; b.Status != approval.Approved || g.Why != "wrong account" || g.Revoked.IsZero() {
		t.Errorf("after Revoke: %s, want approved, and revoked", text(b))
	}
	if got := w.holds(b, 0, nil); got != authz.ApprovalExpired {
		t.Errorf("revoked, it is %s, want %s", got, authz.ApprovalExpired)
	}
	w.agree()
}

// The items of a bulk ask stand for themselves.
func TestItems(t *testing.T) {
	w := open(t, organisation)
	w.another()
	a := about(payment(), 1, "one")
	a.Bulk = true
	for i, route := range []string{"safe", "two", "one"} {
		it := a.Items[0]
		it.Resource.ID, it.Decision, it.Routes = "de"+string(rune('2'+i)), int64(i+2), []string{route}
		a.Items = append(a.Items, it)
	}
	made, _, err := w.Ask(ctx, a)
	wantKind(t, "Ask", err, nil)
	statuses := func(a *approval.Ask) (all []approval.Status) {
		for i := range a.Items {
			all = append(all, a.Items[i].Status)
		}
		return append(all, a.Status)
	}
	step := func(what string, a *approval.Ask, err error, want ...approval.Status) {
		t.Helper()
		wantKind(t, what, err, nil)
		if diff := cmp.Diff(want, statuses(a)); diff != "" {
			t.Fatalf("after %s (-want +got):\n%s", what, diff)
		}
	}
	_, err = w.answer(made, who("anna"), approval.Reply{Yes: true, Items: []int{0, 1}})
	wantKind(t, "anna answers about what leads elsewhere", err, authz.ErrForbidden)
	_, err = w.answer(made, who("anna"), approval.Reply{Yes: true, Items: []int{1, 0}})
	wantKind(t, "indexes that do not grow", err, authz.ErrInvalid)
	_, err = w.answer(made, who("anna"), approval.Reply{Yes: true, Items: []int{4}})
	wantKind(t, "an index that is none", err, authz.ErrInvalid)
	const p, ok, den, exp = approval.Pending, approval.Approved, approval.Denied, approval.Expired
	got, err := w.answer(made, who("anna"), yes)
	step("anna's yes to all", got, err, ok, p, p, ok, p)
	if diff := cmp.Diff([]int{0, 2, 3}, got.Answers[0].Items); diff != "" {
		t.Errorf("anna's answer is about (-want +got):\n%s", diff)
	}
	if state := w.holds(got, 3, func(r *authz.Request) { r.Resource.ID = "de4" }); state != "holds" {
		t.Errorf("the approval of the last act %s while others wait, want that it holds", state)
	}
	_, err = w.answer(made, who("ben"), approval.Reply{Items: []int{0}})
	wantKind(t, "ben refuses what has ended", err, authz.ErrConflict)
	got, err = w.answer(made, who("dora"), approval.Reply{Items: []int{1}})
	step("dora's no", got, err, ok, den, p, ok, p)
	w.log.pass(time.Hour)
	wantKind(t, "Sweep", w.Sweep(ctx), nil)
	got, err = w.Get(ctx, made.ID)
	step("an hour", got, err, ok, den, exp, ok, approval.Partial)
	w.agree()
}
