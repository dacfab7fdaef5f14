package approval_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
)

func decode(t testing.TB, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// person records that somebody was disabled, or enabled.
func (w *world) person(id string, disabled bool) {
	w.t.Helper()
	w.log.pass(time.Second)
	_, err := w.log.Commit(ctx, audit.Draft{Kind: audit.PersonPut, Actor: "admin:root", Body: fmt.Appendf(nil, `{"id":%q,"name":"x","disabled":%t,"if_as_of":1,"why":"left"}`, id, disabled)})
	wantKind(w.t, "person.put", err, nil)
}

func TestDisabledPerson(t *testing.T) {
	for what, story := range map[string]func(*testing.T, *world){
		"a yes counts no more": func(t *testing.T, w *world) {
			a := w.ask("two")
			w.approve(a, who("anna"))
			w.person("anna", true)
			wantStatus(t, w.approve(a, who("ben")), approval.Pending)
			wantStatus(t, w.approve(a, who("zoe", "finance")), approval.Approved)
		},
		"nor does one in the person's stead": func(t *testing.T, w *world) {
			a := w.ask("two")
			wantKind(t, "PutAway", w.PutAway(ctx, "person:anna", approval.Away{Person: "anna", Deputy: "carl", Until: start.Add(time.Hour)}), nil)
			w.approve(a, who("carl"))
			w.person("anna", true)
			wantStatus(t, w.approve(a, who("ben")), approval.Pending)
		},
		"nor the scope that it bounded": func(t *testing.T, w *world) {
			a := about(payment(), 5, "wide", "two")
			made, _, err := w.Ask(ctx, a)
			wantKind(t, "Ask", err, nil)
			w.approve(made, who("anna"))
			w.person("anna", true)
			w.approve(made, who("ben"))
			got := w.approve(made, who("zoe", "finance"))
			wantStatus(t, got, approval.Approved)
			held, why := w.Holds(referring(got), authz.Confidential, []string{"pii"}, w.log.Now())
			if held == nil {
				t.Fatal(why)
			}
			if diff := cmp.Diff([]string{"person:ben", "person:zoe"}, held.By); diff != "" {
				t.Errorf("By (-want +got):\n%s", diff)
			}
		},
		"who is enabled again says it again": func(t *testing.T, w *world) {
			a := w.ask("two")
			w.approve(a, who("anna"))
			w.person("anna", true)
			w.person("anna", false)
			wantStatus(t, w.approve(a, who("anna")), approval.Pending)
			wantStatus(t, w.approve(a, who("ben")), approval.Approved)
		},
		"an approval that was given holds": func(t *testing.T, w *world) {
			a := w.approve(w.ask("one"), who("anna"))
			w.person("anna", true)
			if got := w.holds(a, 0, nil); got != "holds" {
				t.Errorf("the approval %s", got)
			}
		},
		"of several acts, those that are approved stay so": func(t *testing.T, w *world) {
			b := about(payment(), 5, "one")
			it := b.Items[0]
			it.Resource.ID, it.Decision, it.Routes = "de2", 6, []string{"two"}
			b.Items, b.Bulk = append(b.Items, it), true
			a, _, err := w.Ask(ctx, b)
			wantKind(t, "Ask", err, nil)
			w.approve(a, who("anna"))
			w.person("anna", true)
			a = w.approve(a, who("ben"))
			if a.Items[0].Status != approval.Approved || a.Items[1].Status != approval.Pending {
				t.Errorf("acts are %s and %s, want approved and pending", a.Items[0].Status, a.Items[1].Status)
			}
			if held, why := w.Holds(referring(a), authz.Confidential, []string{"pii"}, w.log.Now()); held == nil || !cmp.Equal(held.By, []string{"person:anna"}) {
				t.Errorf("Holds = %+v, %s, want it by anna", held, why)
			}
		},
		"a no stays": func(t *testing.T, w *world) {
			a := w.ask("two")
			_, err := w.answer(a, who("anna"), no)
			wantKind(t, "anna says no", err, nil)
			w.person("anna", true)
			got, err := w.Get(ctx, a.ID)
			wantKind(t, "Get", err, nil)
			wantStatus(t, got, approval.Denied)
		},
		"the absence ends, and those in which the person stands in": func(t *testing.T, w *world) {
			for absent, deputy := range map[string]string{"anna": "carl", "ben": "anna", "emil": "dora", "olga": "anna"} {
				wantKind(t, "PutAway", w.PutAway(ctx, "person:"+absent, approval.Away{Person: absent, Deputy: deputy, Until: start.Add(time.Hour)}), nil)
			}
			a := w.ask("one")
			w.person("anna", true)
			w.person("anna", false)
			_, err := w.answer(a, who("carl"), yes)
			wantKind(t, "the deputy answers", err, authz.ErrForbidden)
			for what, all := range map[string][]approval.Away{"desk": w.Aways(), "another": w.another().Aways()} {
				if len(all) != 1 || all[0].Person != "emil" {
					t.Errorf("%s: away are %s, want emil only", what, text(all))
				}
			}
		},
		"without the role of an approver the absences end, and what was said stays": func(t *testing.T, w *world) {
			roles := func(id, roles string) {
				t.Helper()
				w.log.pass(time.Second)
				_, err := w.log.Commit(ctx, audit.Draft{Kind: audit.PersonPut, Actor: "admin:root", Body: fmt.Appendf(nil, `{"id":%q,"name":"x","roles":%s,"if_as_of":1,"why":"moved"}`, id, roles)})
				wantKind(t, "person.put", err, nil)
			}
			for absent, deputy := range map[string]string{"anna": "carl", "ben": "anna", "emil": "dora", "olga": "dora"} {
				wantKind(t, "PutAway", w.PutAway(ctx, "person:"+absent, approval.Away{Person: absent, Deputy: deputy, Until: start.Add(time.Hour)}), nil)
			}
			two := w.ask("two")
			w.approve(two, who("anna"))
			roles("emil", `["viewer","approver"]`)
			roles("olga", `[]`)
			roles("anna", `["viewer"]`)
			roles("anna", `["viewer","approver"]`)
			one := w.ask("one")
			_, err := w.answer(one, who("carl"), yes)
			wantKind(t, "the deputy answers", err, authz.ErrForbidden)
			for what, all := range map[string][]approval.Away{"desk": w.Aways(), "another": w.another().Aways()} {
				if len(all) != 2 || all[0].Person != "emil" || all[1].Person != "olga" {
					t.Errorf("%s: away are %s, want emil and olga only", what, text(all))
				}
			}
			if got, err := w.Get(ctx, two.ID); err != nil || !got.Answers[0].Void.IsZero() {
				t.Errorf("a yes that was given before counts no more: %s, %v", text(got.Answers), err)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := open(t, organisation)
			w.another()
			story(t, w)
			w.agree()
		})
	}
}

// A process that died while it wrote down what the entry made has done so for some asks only: the next one
// does the rest.
func TestDisabledHalfWay(t *testing.T) {
	w := open(t, organisation)
	a, b := w.ask("two"), payment()
	w.approve(a, who("anna"))
	b.Resource.ID = "de2"
	other, _, err := w.Ask(ctx, about(b, 77, "two"))
	wantKind(t, "Ask", err, nil)
	w.approve(other, who("anna"))
	row, err := w.cfg.Store.Ask(ctx, other.ID)
	wantKind(t, "Ask", err, nil)
	e := audit.Entry{Seq: int64(len(w.log.entries) + 1), At: w.log.Now(), Kind: audit.PersonPut, Actor: "admin:root", Body: []byte(`{"id":"anna","disabled":true}`)}
	half, err := w.cfg.Store.Ask(ctx, a.ID)
	wantKind(t, "Ask", err, nil)
	half.AsOf, half.Answers[0].Void = e.Seq, e.At
	wantKind(t, "PutAsk", w.cfg.Store.PutAsk(ctx, half), nil)
	d := w.late(&meddled{}, 0)
	wantKind(t, "Apply", d.Apply(ctx, e), nil)
	got, err := d.Get(ctx, other.ID)
	wantKind(t, "Get", err, nil)
	if got.Answers[0].Void.IsZero() || !row.Answers[0].Void.IsZero() {
		t.Errorf("answers were %s and are %s, want the yes void then only", text(row.Answers), text(got.Answers))
	}
}

// referring is the payment, by the approval of the first act.
func referring(a *approval.Ask) *authz.Request {
	req := payment()
	req.Approval = &authz.ApprovalRef{ID: a.Items[0].Approval.ID}
	return req
}

// A deputy is named without a passkey, and so its passkey is none of the absent person's.
func TestDeputyWithPasskey(t *testing.T) {
	w := open(t, organisation)
	for _, p := range []string{"anna", "dora"} {
		wantKind(t, "PutAway", w.PutAway(ctx, "person:"+p, approval.Away{Person: p, Deputy: "carl", Until: start.Add(time.Hour)}), nil)
	}
	key := approval.Reply{Yes: true, Evidence: json.RawMessage(`{"signature":"x"}`)}
	a := w.ask("key")
	s, err := w.Standing(ctx, a, who("carl"))
	wantKind(t, "Standing", err, nil)
	if len(s.Routes) != 0 || !s.Refuse || s.For != "anna" || s.Why == "" {
		t.Errorf("standing of the deputy = %+v, want a no only, and why", s)
	}
	_, err = w.answer(a, who("carl"), key)
	wantKind(t, "the deputy says yes", err, authz.ErrForbidden)
	_, err = w.answer(a, who("carl"), no)
	wantKind(t, "the deputy says no", err, nil)

	req := payment()
	req.Resource.ID = "de2"
	both, _, err := w.Ask(ctx, about(req, 5, "key", "safe"))
	wantKind(t, "Ask", err, nil)
	got, err := w.answer(both, who("carl"), yes)
	wantKind(t, "the deputy says yes by the other route", err, nil)
	if diff := cmp.Diff([]string{"safe"}, got.Answers[0].Routes); diff != "" || got.Answers[0].For != "dora" {
		t.Errorf("the yes for %s counts for (-want +got):\n%s", got.Answers[0].For, diff)
	}
	wantStatus(t, got, approval.Pending)
	got, err = w.answer(both, who("ben"), key)
	wantKind(t, "ben says yes", err, nil)
	wantStatus(t, got, approval.Approved)
	w.agree()
}
