package approval_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// Whatever is done, in whatever order, by two replicas that hear of it at different times: nothing is
// approved without enough different persons who may, no approval is used more often than its scope says,
// and everybody who reads the log has the same asks, also who reads it again when they are forgotten.
func TestModel(t *testing.T) {
	var approved, used, lost, joined int
	rapid.Check(t, func(r *rapid.T) {
		m := &model{w: open(t, organisation), r: r}
		m.w.another()
		m.w.another()
		m.play(rapid.IntRange(5, 40).Draw(r, "steps"))
		m.w.agree()
		m.judge(&approved, &used, &lost, &joined)
		everybody := []approval.Person{who("anna"), who("ben"), who("carl"), who("dora"), who("emil"), who("olga"), who("mike"), who("zoe", "finance")}
		m.w.inboxes(everybody...)
		m.w.forgetful()
		m.w.inboxes(everybody...)
		if t.Failed() {
			r.Fatal("see above")
		}
	})
	if testing.Short() {
		return
	}
	if approved == 0 || used == 0 || lost == 0 || joined == 0 {
		t.Errorf("%d asks were approved, %d approvals used, %d uses lost, %d asks joined: want some of each", approved, used, lost, joined)
	}
}

type model struct {
	w    *world
	r    *rapid.T
	asks []string
	lost int
}

func (m *model) one(label string, of ...string) string { return rapid.SampledFrom(of).Draw(m.r, label) }

// play does things at random. Errors do not matter: the judge looks at what came of it.
func (m *model) play(steps int) {
	people := []string{"anna", "ben", "carl", "dora", "emil", "olga", "mike", "zoe"}
	for i := range steps {
		d := m.w.log.desks[rapid.IntRange(0, 2).Draw(m.r, "desk")]
		p := who(m.one("person", people...))
		if p.ID == "zoe" {
			p = who("zoe", "finance")
		}
		var id string
		if len(m.asks) > 0 {
			id = m.one("ask", m.asks...)
		}
		switch op := m.one("op", "ask", "ask", "answer", "answer", "answer", "answer", "use", "use", "pass", "sweep", "cancel", "revoke", "break", "review", "away", "robot", "disable"); op {
		case "ask":
			a := about(payment(), int64(i+1), m.one("routes", "one", "two", "three", "pair", "wide", "late", "robot", "safe", "duty"))
			if rapid.Bool().Draw(m.r, "bulk") {
				a.Bulk = true
				it := a.Items[0]
				it.Routes, it.Resource.ID, it.Decision = []string{"safe", "one"}, "de2", 0
				a.Items = append(a.Items, it)
			}
			if rapid.Bool().Draw(m.r, "for a person") {
				a.Bound.OnBehalf = []authz.Ref{{Type: "user", ID: "ben"}}
			}
			if made, _, err := d.Ask(ctx, a); err == nil && !slices.Contains(m.asks, made.ID) {
				m.asks = append(m.asks, made.ID)
			}
		case "answer", "break":
			v, err := d.View(ctx, p, id)
			if err != nil {
				continue
			}
			m.w.log.pass(time.Duration(rapid.IntRange(0, 700).Draw(m.r, "seconds of reading")) * time.Second)
			r := approval.Reply{Yes: rapid.IntRange(0, 9).Draw(m.r, "yes") > 0, View: v.Seq}
			if r.Yes && op == "answer" && rapid.Bool().Draw(m.r, "far") {
				r.Scope = approval.Scope{Uses: 3, Class: rapid.Bool().Draw(m.r, "class")}
			}
			if op == "break" {
				_, _ = d.BreakGlass(ctx, p, id, "now", r)
			} else {
				_, _ = d.Answer(ctx, p, id, r)
			}
		case "robot":
			_, _ = d.AnswerAs(ctx, "scanner", id, yes)
		case "use":
			a, err := d.Get(ctx, id)
			if err != nil {
				continue
			}
			for _, it := range a.Items {
				if g := it.Approval; g != nil {
					req := payment()
					req.Resource, req.OnBehalf, req.Approval = it.Resource, a.Bound.OnBehalf, &authz.ApprovalRef{ID: g.ID}
					// Two replicas judge before either has drawn.
					held, _ := d.Holds(req, authz.Public, nil, m.w.log.Now())
					for range 2 {
						if held == nil {
							continue
						}
						if _, err := m.raw(a.ID, held.ID); err != nil {
							m.lost++
						}
					}
				}
			}
		case "pass":
			m.w.log.pass(time.Duration(rapid.IntRange(1, 3600).Draw(m.r, "seconds")) * time.Second)
		case "sweep":
			if err := d.Sweep(ctx); err != nil {
				m.r.Fatalf("Sweep: %v", err)
			}
		case "cancel":
			_, _ = d.Cancel(ctx, "pep:gate", id, "", "")
		case "revoke":
			_, _ = d.Revoke(ctx, "admin:anna", id, "why")
		case "review":
			_, _ = d.Review(ctx, p, id, rapid.Bool().Draw(m.r, "justified"), "because")
		case "disable":
			m.w.person(p.ID, true)
			m.w.log.pass(time.Second)
		case "away":
			a := approval.Away{Person: m.one("who", people...), Deputy: p.ID, Until: m.w.log.Now().Add(time.Hour)}
			if a.Person == "zoe" {
				a.Claims = map[string][]string{"groups": {"finance"}}
			}
			_ = d.PutAway(ctx, "person:"+a.Person, a)
		}
	}
}

// raw records a use without looking whether any is left, as a replica does that is behind.
func (m *model) raw(ask, grant string) (int64, error) {
	return m.w.log.Commit(ctx, audit.Draft{Kind: audit.ApprovalUsed, Actor: "agent:payer", Body: []byte(fmt.Sprintf(`{"ask":%q,"approval":%q}`, ask, grant))})
}

// judge checks what came of it, by its own reading of the rules.
func (m *model) judge(approved, used, lost, joined *int) {
	quorum := map[string]int{"one": 1, "two": 2, "three": 3, "pair": 2, "wide": 1, "late": 1, "robot": 1, "safe": 1, "duty": 1}
	for _, id := range m.asks {
		a, err := m.w.Get(ctx, id)
		if err != nil {
			m.r.Fatalf("Get: %v", err)
		}
		*joined += int(a.Joined)
		for i := range a.Items {
			it := &a.Items[i]
			if (it.Approval != nil) != (it.Status == approval.Approved) {
				m.r.Fatalf("item %d is %s, with the approval %+v", i, it.Status, it.Approval)
			}
			if it.Approval == nil {
				continue
			}
			*approved++
			g := it.Approval
			limit := max(g.Scope.Uses, 1)
			if g.Used > limit || int64(len(g.Uses)) != g.Used || limit > 5 {
				m.r.Fatalf("approval %s was used %d times, %v, want at most %d", g.ID, g.Used, g.Uses, limit)
			}
			*used += int(g.Used)
			if g.Until.After(g.At.Add(4 * time.Hour)) {
				m.r.Fatalf("approval %s holds for %v", g.ID, g.Until.Sub(g.At))
			}
			if a.Broken != nil && a.Broken.At.Equal(g.At) {
				if by := strings.TrimPrefix(a.Broken.By, "person:"); by != "dora" && by != "emil" {
					m.r.Fatalf("%s broke the glass", by)
				}
				continue
			}
			for _, route := range it.Routes {
				voices, persons, free := map[string]bool{}, map[string]bool{}, 0
				for _, w := range a.Answers {
					if !w.Yes || w.Broke || len(w.Items) > 0 && !slices.Contains(w.Items, i) || !slices.Contains(w.Routes, route) || w.At.After(g.At) || !w.Void.IsZero() && !w.Void.After(g.At) {
						continue
					}
					by, person := strings.CutPrefix(w.By, "person:")
					for _, p := range []string{by, w.For} {
						if p == "" {
							continue
						}
						if voices[p] {
							m.r.Fatalf("%s counts twice for item %d: %s", p, i, text(a.Answers))
						}
						voices[p] = true
					}
					if !person {
						voices[by] = true
						continue
					}
					if w.View == 0 || w.Read > 600_000 {
						m.r.Fatalf("%s answered what it has not looked at: %s", by, text(w))
					}
					for _, o := range a.Bound.OnBehalf {
						if by == o.ID || w.For == o.ID {
							m.r.Fatalf("%s answered what was asked for %s", by, o.ID)
						}
					}
					persons[by] = true
					if by != "olga" && w.For != "olga" && by != "mike" && w.For != "mike" {
						free++
					}
				}
				n := len(persons)
				if voices["evaluator:scanner"] {
					n++
				}
				if n < quorum[route] {
					m.r.Fatalf("item %d was approved by %d for the route %s, want %d: %s", i, n, route, quorum[route], text(a.Answers))
				}
				if len(persons) == 1 && free == 0 {
					m.r.Fatalf("item %d was approved by nobody but who owns or made the agent: %s", i, text(a.Answers))
				}
			}
		}
	}
	*lost += m.lost
}

// A desk that starts at any point of the log, from tables that know more, ends where the others are.
func TestReplayFromAnywhere(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	w := open(t, organisation)
	for range 60 {
		a, _, err := w.Ask(ctx, about(payment(), int64(rnd.IntN(40)+1), "one", "two"))
		if err != nil {
			continue
		}
		for _, p := range []string{"anna", "ben"} {
			if rnd.IntN(3) > 0 {
				if b, err := w.answer(a, who(p), approval.Reply{Yes: rnd.IntN(5) > 0}); err == nil && b.Status == approval.Approved {
					for range 2 { // the second loses
						_, _ = w.log.Commit(ctx, audit.Draft{Kind: audit.ApprovalUsed, Actor: "agent:payer", Body: []byte(fmt.Sprintf(`{"ask":%q,"approval":%q}`, b.ID, b.Items[0].Approval.ID))})
					}
				}
			}
		}
		if rnd.IntN(4) == 0 {
			_ = w.PutAway(ctx, "person:anna", approval.Away{Person: "anna", Deputy: "dora", Until: w.log.Now().Add(time.Hour)})
		}
	}
	wantKind(t, "Sweep", w.Sweep(ctx), nil)
	all := func(d *approval.Desk) []*approval.Ask {
		list, err := d.List(ctx, approval.Filter{Limit: approval.MaxPage})
		wantKind(t, "List", err, nil)
		return list
	}
	want := all(w.Desk)
	for range 10 {
		from := rnd.IntN(len(w.log.entries))
		d := approval.New(w.cfg)
		wantKind(t, "Load", d.Load(ctx), nil)
		for _, e := range w.log.entries[from:] {
			d.Apply(ctx, e)
		}
		if diff := cmp.Diff(want, all(d)); diff != "" {
			t.Errorf("from entry %d on (-desk +replayed):\n%s", from+1, diff)
		}
		if diff := cmp.Diff(w.Aways(), d.Aways()); diff != "" {
			t.Errorf("absences from entry %d on (-desk +replayed):\n%s", from+1, diff)
		}
	}
}

// What changed nothing when it was recorded changes nothing when it is read again by who knows more.
func TestLosersStayLost(t *testing.T) {
	w := open(t, organisation)
	raw := func(kind audit.Kind, actor, body string) error {
		_, err := w.log.Commit(ctx, audit.Draft{Kind: kind, Actor: actor, Body: []byte(body)})
		return err
	}
	a := w.ask("one")
	twin := strings.Replace(string(w.log.entries[0].Body), a.ID, "arq_aaaaaaaaaaaaaaaaaaaaaaaaaa", 1)
	other := strings.Replace(twin, `"decision":1000000`, `"decision":7`, 1)
	wantKind(t, "the twin of a pending ask", raw(audit.ApprovalAsked, "pep:gate", other), nil)
	b := w.ask("two")
	wantKind(t, "dora looks", raw(audit.ApprovalViewed, "person:dora", fmt.Sprintf(`{"ask":%q}`, b.ID)), nil)
	wantKind(t, "dora answers, who is nobody's deputy yet", raw(audit.ApprovalAnswer, "person:dora",
		fmt.Sprintf(`{"ask":%q,"yes":true,"view":%d,"approvals":["apr_aaaaaaaaaaaaaaaaaaaaaaaaaa"]}`, b.ID, len(w.log.entries))), authz.ErrConflict)
	wantKind(t, "PutAway", w.PutAway(ctx, "person:anna", approval.Away{Person: "anna", Deputy: "dora", Until: w.log.Now().Add(time.Hour)}), nil)
	w.approve(a, who("ben"))
	wantKind(t, "the twin's twin, after the end", raw(audit.ApprovalAsked, "pep:gate", strings.Replace(twin, "arq_a", "arq_b", 1)), approval.ErrDecisionUsed)
	w.agree()
	if got, err := w.Get(ctx, b.ID); err != nil || len(got.Answers) != 0 {
		t.Errorf("ask %s has the answers %s, %v, want none", b.ID, text(got.Answers), err)
	}
}
