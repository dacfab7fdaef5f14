package monitor_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

const asksCatalog = `
approvers: {desk: {members: [{type: user, id: anna}, {type: user, id: ben}]}}
approvals: {default: desk, routes: {desk: {approvers: [desk], break_glass: [desk], review: 2h}}}
`

// asks records that an agent asks persons for something, and returns the id of the ask.
func (w *world) asks(g *registration, action, resource string) string {
	w.t.Helper()
	id := fmt.Sprint("arq_", len(w.log)+1)
	ask := approval.Ask{
		ID: id, Kind: approval.Access, Agent: authz.AgentID(g.id), Session: "s1", Requester: "pep:gateway",
		Items: []approval.Item{{Action: authz.Action{Name: action}, Resource: authz.Entity{Ref: authz.Ref{Type: "order", ID: resource}}, Routes: []string{"desk"}}},
	}
	w.must(audit.ApprovalAsked, "pep:gateway", ask)
	return id
}

// answers records that a person views an ask, waits, and answers.
func (w *world) answers(person, id string, takes time.Duration, yes, glass bool) {
	w.t.Helper()
	w.must(audit.ApprovalViewed, "person:"+person, map[string]any{"ask": id})
	w.now = w.now.Add(takes)
	w.must(audit.ApprovalAnswer, "person:"+person, map[string]any{"ask": id, "yes": yes, "broke_glass": glass})
}

// ask records something of asking, as it may come.
func (w *world) ask(rng *rand.Rand, g *registration, i int) {
	w.t.Helper()
	id := w.asks(g, []string{"order.pay", "mail.send", "x"}[rng.IntN(3)], fmt.Sprint("o-", rng.IntN(5)))
	person := []string{"anna", "ben", "cem"}[rng.IntN(3)]
	switch k := rng.IntN(10); {
	case k < 6:
		w.answers(person, id, time.Duration(rng.IntN(4000))*time.Millisecond, i%4 != 0, false)
	case k < 8:
		w.answers(person, id, time.Second, true, true)
		if k == 7 {
			w.must(audit.ApprovalReview, "person:dora", map[string]any{"ask": id, "justified": true})
		}
	default:
		w.must(audit.ApprovalMoved, "safeconduct", map[string]any{"ask": id, "to": "expired"})
	}
}

func (w *world) kinds(f monitor.Filter) (got []string) {
	w.t.Helper()
	fs, err := w.m.Findings(w.t.Context(), f, "", 100)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range slices.Backward(fs) {
		got = append(got, fmt.Sprintf("%s %s %s%s %s %d", f.Kind, f.Severity, f.Agent, f.Person, f.Class, f.Count))
	}
	return got
}

// What persons say of an agent's asks is evidence about the agent, and how they say it about themselves.
func TestAsking(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	w.publish(asksCatalog)
	bot := &registration{id: "bot", owner: "sales", purpose: "orders", version: "1"}
	w.put(bot)
	w.does(bot, act{session: "s", action: "order.pay", class: "money", resource: "o", effect: authz.Allow})
	before, _ := w.m.Conduct("bot", "money", w.now)
	for i := range 5 {
		w.now = w.now.Add(time.Hour)
		w.answers("anna", w.asks(bot, "order.pay", fmt.Sprint("o-", i)), time.Minute, false, false)
	}
	if diff := cmp.Diff([]string{"asking.refused low bot money 1"}, w.kinds(monitor.Filter{Agent: "bot"})); diff != "" {
		t.Errorf("findings about bot (-want +got):\n%s", diff)
	}
	after, is := w.m.Conduct("bot", "money", w.now)
	if !(after.Score < before.Score) || !slices.Equal(is.Findings, []string{"asking.refused"}) {
		t.Errorf("trust went from %+v to %+v with findings %q, want it lowered by asking.refused", before, after, is.Findings)
	}

	w.publish(asksCatalog + "conduct: {cooldown: 24h}\n")
	lowest, _ := w.m.Conduct("bot", "", w.now)
	for i := range 6 {
		w.now = w.now.Add(time.Minute * 10)
		w.answers("ben", w.asks(bot, "mail.send", fmt.Sprint("m-", i)), time.Second, true, false)
	}
	w.answers("ben", w.asks(bot, "order.pay", "glass"), time.Second, true, true)
	seq := len(w.log)
	w.now = w.now.Add(3 * time.Hour)
	w.must(audit.Heartbeat, "safeconduct", unknown)
	want := []string{"asking.rubber_stamp low ben every 2", "asking.overdue_review medium ben every 1"}
	got := slices.DeleteFunc(w.kinds(monitor.Filter{Kind: "asking"}), func(s string) bool { return strings.Contains(s, "bot") })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings about persons (-want +got):\n%s", diff)
	}
	if now, _ := w.m.Conduct("bot", "", w.now); now.Level != lowest.Level {
		t.Errorf("trust in the agent went from %+v to %+v by what a person did", lowest, now)
	}
	fs, err := w.m.Findings(ctx, monitor.Filter{Kind: "asking.overdue_review"}, "", 1)
	if err != nil || len(fs) != 1 {
		t.Fatalf("Findings = %v, %v, want one", fs, err)
	}
	f := fs[0]
	if f.Person != "ben" || f.Agent != "" || !slices.Equal(f.Evidence, []int64{int64(seq)}) || !strings.Contains(f.Sentence, `"bot"`) {
		t.Errorf("the overdue review is %+v, want one about ben with entry %d as evidence", f, seq)
	}

	// It is judged like others, kept like others, and concluded again from the log.
	judged, err := w.m.Judge(ctx, "admin:eve", "he was on a plane", f.ID, conduct.Acknowledged)
	if err != nil || judged.State != conduct.Acknowledged || judged.Person != "ben" {
		t.Fatalf("Judge = %+v, %v", judged, err)
	}
	if _, err := w.m.Judge(ctx, "admin:eve", "again", f.ID, conduct.Acknowledged); !errors.Is(err, authz.ErrConflict) {
		t.Errorf("Judge again = %v, want authz.ErrConflict", err)
	}
	if err := w.m.Keep(ctx); err != nil {
		t.Fatal(err)
	}
	again := w.monitor()
	if err := again.Load(ctx); err != nil || again.Seq() != w.m.Seq() {
		t.Fatalf("Load: %v, as of entry %d, want %d", err, again.Seq(), w.m.Seq())
	}
	if !bytes.Equal(again.State(), w.m.State()) {
		t.Error("what was kept and read is not what was known")
	}
	w.m = again
	if _, err := w.m.Judge(ctx, "admin:eve", "no, he was not", f.ID, conduct.Confirmed); err != nil {
		t.Errorf("Judge after Load: %v", err)
	}
	if err := w.m.Keep(ctx); err != nil {
		t.Fatal(err)
	}
	check, err := monitor.CheckFindings(ctx, w, w.catalog, w.db, int64(len(w.log)))
	if err != nil || !check.OK() {
		t.Errorf("CheckFindings = %+v, %v, want no differences", check, err)
	}
	w.now = w.now.AddDate(0, 0, 9)
	w.must(audit.Heartbeat, "safeconduct", unknown)
	w.now = w.now.AddDate(0, 0, 1)
	w.must(audit.Heartbeat, "safeconduct", unknown)
	stamp := conductID(t, w, "asking.rubber_stamp")
	if _, err := w.m.Judge(ctx, "admin:eve", "too late", stamp, conduct.Dismissed); !errors.Is(err, authz.ErrConflict) {
		t.Errorf("Judge of a finding that is no longer open = %v, want authz.ErrConflict", err)
	}
	if _, err := w.m.Judge(ctx, "admin:eve", "never too late", f.ID, conduct.Acknowledged); err != nil {
		t.Errorf("Judge of a confirmed finding: %v", err)
	}
}

func conductID(t *testing.T, w *world, kind string) string {
	t.Helper()
	fs, err := w.m.Findings(t.Context(), monitor.Filter{Kind: kind}, "", 1)
	if err != nil || len(fs) == 0 {
		t.Fatalf("Findings(%s) = %v, %v", kind, fs, err)
	}
	return fs[0].ID
}

// An agent that goes on when its budget for asking is used up is told of by the decisions.
func TestAskBudget(t *testing.T) {
	w := newWorld(t)
	w.publish(asksCatalog)
	bot := &registration{id: "bot", owner: "sales", purpose: "orders", version: "1"}
	w.put(bot)
	for range 5 {
		rec := decision(w.now, bot, act{session: "s", action: "order.pay", class: "money", resource: "o", effect: authz.Deny})
		rec.Decision.Code = authz.CodeAskBudget
		w.must(audit.DecisionMade, "pep:gateway", rec)
	}
	if got := w.kinds(monitor.Filter{Kind: "asking"}); len(got) != 1 || !strings.HasPrefix(got[0], "asking.many low bot") {
		t.Errorf("findings are %q, want asking.many", got)
	}
}

// What the desk records is what is watched.
func TestAskingAtTheDesk(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	w.publish(asksCatalog)
	bot := &registration{id: "bot", owner: "sales", purpose: "orders", version: "1"}
	w.put(bot)
	w.desk = approval.New(approval.Config{Store: w.db, Log: w, Catalog: w.catalog, Now: func() time.Time { return w.now }})
	if err := w.desk.Load(ctx); err != nil {
		t.Fatal(err)
	}
	anna, ben := approval.Person{ID: "anna"}, approval.Person{ID: "ben"}
	ask := func(n int) *approval.Ask {
		t.Helper()
		subject := authz.Entity{Ref: authz.Ref{Type: authz.AgentType, ID: "bot"}}
		a, _, err := w.desk.Ask(ctx, approval.Ask{
			Kind: approval.Access, Catalog: 1, Bound: approval.Bound{Subject: subject}, Agent: "bot", Owner: "sales", PEP: "gateway", Requester: "pep:gateway",
			Items: []approval.Item{{
				Action: authz.Action{Name: "order.pay"}, Resource: authz.Entity{Ref: authz.Ref{Type: "order", ID: fmt.Sprint("o-", n)}},
				Decision: int64(len(w.log)), Routes: []string{"desk"}, Data: authz.Internal,
			}},
		})
		if err != nil {
			t.Fatalf("Ask: %v", err)
		}
		return a
	}
	answer := func(p approval.Person, a *approval.Ask, yes bool, answer func(approval.Reply) (*approval.Ask, error)) {
		t.Helper()
		v, err := w.desk.View(ctx, p, a.ID)
		if err != nil {
			t.Fatalf("View: %v", err)
		}
		w.now = w.now.Add(time.Second)
		if _, err := answer(approval.Reply{Yes: yes, View: v.Seq}); err != nil {
			t.Fatalf("answer of %s: %v", p.ID, err)
		}
	}
	for i := range 12 {
		w.now = w.now.Add(10 * time.Minute)
		a, p := ask(i), anna
		if i%2 == 0 {
			p = ben
		}
		answer(p, a, p.ID == "anna", func(r approval.Reply) (*approval.Ask, error) { return w.desk.Answer(ctx, p, a.ID, r) })
	}
	a := ask(99)
	answer(ben, a, true, func(r approval.Reply) (*approval.Ask, error) {
		return w.desk.BreakGlass(ctx, ben, a.ID, "The parcel leaves in a minute.", r)
	})
	b := ask(100)
	answer(ben, b, true, func(r approval.Reply) (*approval.Ask, error) {
		return w.desk.BreakGlass(ctx, ben, b.ID, "So does this.", r)
	})
	if _, err := w.desk.Review(ctx, anna, b.ID, true, "It did."); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(3 * time.Hour)
	w.must(audit.Heartbeat, "safeconduct", unknown)
	want := []string{"asking.refused low bot write 1", "asking.rubber_stamp low anna every 2", "asking.overdue_review medium ben every 1"}
	if diff := cmp.Diff(want, w.kinds(monitor.Filter{Kind: "asking"})); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}
