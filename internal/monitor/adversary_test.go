package monitor_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// The adversaries of docs/monitoring.md, played against a whole monitor by the rules that hold where nobody
// declares any. Each test states what its adversary gains at worst, and holds that bound.

// classes are those of capabilities.
var classes = []string{"read", "write", "egress", "money", "admin"}

// A player is an agent that somebody plays, and the world that watches it.
type player struct {
	*world
	g    *registration
	work int // sessions so far
}

func play(t testing.TB, id, owner string) *player {
	w := newWorld(t)
	return w.join(id, owner)
}

func (w *world) join(id, owner string) *player {
	g := &registration{id: id, owner: owner, purpose: "orders", version: "1"}
	w.put(g)
	return &player{world: w, g: g}
}

// day is a day's honest work: four sessions in the morning and the afternoon, in each of which ten orders are read
// and changed.
func (p *player) day() {
	p.t.Helper()
	morning := p.now
	for i := range 4 {
		p.now = morning.Add(time.Duration(2*i) * time.Hour)
		p.session()
	}
	p.now = morning.Add(24 * time.Hour)
}

// session is a session of honest work. It returns the numbers of the changes.
func (p *player) session() (changes []int64) {
	p.t.Helper()
	p.work++
	for j := range 10 {
		order := fmt.Sprint("o-", (p.work*3+j)%40)
		for _, x := range []act{
			{action: "order.read", class: "read", resource: order},
			{action: "order.change", class: "write", resource: order, args: fmt.Sprintf(`{"amount":%d}`, 10+j)},
		} {
			x.session, x.task, x.effect = fmt.Sprintf("%s-%d", p.g.id, p.work), "orders", authz.Allow
			seq := p.does(p.g, x)
			if p.now = p.now.Add(20 * time.Second); x.class == "write" {
				changes = append(changes, seq)
			}
		}
	}
	return changes
}

func (p *player) days(n int) {
	p.t.Helper()
	for range n {
		p.day()
	}
}

// strike is an act that its policies let through and that no agent should do: it changes a policy. The nth is
// another one than those before.
func (p *player) strike(n int, session string) int64 {
	p.t.Helper()
	rec := decision(p.now, p.g, act{session: session, action: "policy.change", class: "write", resource: fmt.Sprint("p-", n), effect: authz.Allow})
	rec.Request.Resource.Type = "Policy"
	return p.must(audit.DecisionMade, "pep:gateway", rec)
}

func (p *player) level(class string) string { return p.trust(class).Level }

func (p *player) trust(class string) authz.Trust {
	t, _ := p.m.Conduct(authz.AgentID(p.g.id), class, p.now)
	return t
}

func (p *player) standing(class conduct.Class) trust.Standing {
	p.t.Helper()
	r, err := p.m.Report(authz.AgentID(p.g.id), p.now)
	if err != nil {
		p.t.Fatal(err)
	}
	return r.Classes[class]
}

// says reports what came of a decision.
func (p *player) says(who conduct.Reporter, by string, seq int64, r conduct.Result) {
	p.t.Helper()
	o := outcome(p.g, seq, p.log[seq-1].At, r)
	o.Reporter, o.By, o.Session = who, by, fmt.Sprint("of ", seq)
	if _, err := p.record(audit.OutcomeReported, by, o); err != nil {
		p.t.Fatal(err)
	}
}

// unfound fails if anything was found of an agent: the honest are not lowered.
func (p *player) unfound() {
	p.t.Helper()
	fs, err := p.m.Findings(p.t.Context(), monitor.Filter{Agent: authz.AgentID(p.g.id)}, "", 10)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range fs {
		p.t.Errorf("honest work was found to be %s %s in %s: %s", f.Severity, f.Kind, f.Class, f.Sentence)
	}
}

// Trust-building, then a strike. Three months of good work buy no more than three weeks do, and of acts
// that monitors notice two go through at level high after the first finding; the third takes the level, in every
// class. Harm that a person reports takes it at once.
func TestAdversaryBuildsTrustThenStrikes(t *testing.T) {
	for _, days := range []int{0, 6, 21, 90} {
		p := play(t, "sleeper", "acme")
		p.days(days)
		p.unfound()
		want := "high"
		if days < 4 {
			want = "medium"
		}
		if got := p.level("write"); got != want {
			t.Fatalf("after %d days of good work: %s, want %s", days, got, want)
		}
		if got := p.standing(conduct.Write).Alpha; got > 45 {
			t.Errorf("after %d days of good work: alpha %v, want 45 at most", days, got)
		}
		autonomous := 0
		for n := range 10 {
			if p.level("write") == "high" {
				autonomous++
			}
			p.strike(n, "strike")
			p.now = p.now.Add(time.Second)
		}
		t.Logf("after %d days of good work %d acts went through at level high; then %s", days, autonomous, p.level("write"))
		if autonomous > 3 {
			t.Errorf("after %d days of good work %d acts went through at level high, want 3 at most: two after the first finding", days, autonomous)
		}
		for class, most := range map[string]int64{"read": 2, "write": 2, "egress": 1, "money": 1, "admin": 1} {
			if got := p.trust(class); got.Rank() > most {
				t.Errorf("after %d days of good work, then ten strikes: %s in %s", days, got.Level, class)
			}
		}
	}
}

func TestAdversaryStrikesUnseen(t *testing.T) {
	p := play(t, "sleeper", "acme")
	p.days(90)
	var seqs []int64
	for range 3 { // what no monitor sees
		seqs = append(seqs, p.does(p.g, act{session: "s", task: "orders", action: "order.change", class: "write", resource: "o-1", effect: authz.Allow}))
	}
	p.says(conduct.ReporterPerson, "admin:ada", seqs[0], conduct.ResultHarmful)
	if got := p.level("write"); got != "medium" {
		t.Errorf("after harm that a person reported: %s, want medium at once", got)
	}
	for range 10 {
		p.day()
	}
	if got := p.level("write"); got == "high" {
		t.Error("ten days later: high again")
	}
}

// Trust takes three days at least to build, whatever is done: by flooding it, with harmless acts of one session or
// of as many as there are acts, with praise, with new versions.
func TestAdversaryFloods(t *testing.T) {
	for _, c := range []struct {
		name    string
		session func(n int) string
		most    float64 // alpha after a day
	}{
		{"one session", func(int) string { return "one" }, 6},
		{"no session", func(int) string { return "" }, 6},
		{"a session an act", func(n int) string { return fmt.Sprint("s", n) }, 9},
	} {
		p := play(t, "flood", "acme")
		for d := range 3 {
			for n := range 1500 {
				seq := p.does(p.g, act{session: c.session(d*1500 + n), task: "orders", action: "order.read", class: "read", resource: fmt.Sprint("o-", n%40), effect: authz.Allow})
				if n%100 == 0 {
					o := outcome(p.g, seq, p.now, conduct.ResultRight)
					o.Class, o.By, o.Session = "read", fmt.Sprint("admin:friend", n), c.session(d*1500+n)
					p.record(audit.OutcomeReported, o.By, o)
				}
				p.now = p.now.Add(25 * time.Second)
			}
			if d == 0 {
				if got := p.standing(conduct.Read).Alpha; got > c.most {
					t.Errorf("%s: alpha after a day of 1500 acts = %v, want at most %v", c.name, got, c.most)
				}
			}
			if got := p.level("read"); got == "high" {
				t.Errorf("%s: high on day %d", c.name, d+1)
			}
			p.now = start.Add(time.Duration(d+1) * 24 * time.Hour)
		}
	}
}

// Flooding does not shorten probation, and pushes nothing against the agent out of memory.
func TestAdversaryFloodsAfterAStrike(t *testing.T) {
	p := play(t, "flood", "acme")
	p.days(21)
	for n := range 4 {
		p.strike(n, "strike")
	}
	struck, beta := p.trust("write"), p.standing(conduct.Write).Beta
	if struck.Level == "high" {
		t.Fatal("still high after four strikes")
	}
	for n := range 3000 {
		p.does(p.g, act{session: fmt.Sprint("s", n), task: "orders", action: "order.change", class: "write", resource: fmt.Sprint("o-", n%40), effect: authz.Allow})
		p.now = p.now.Add(time.Second)
		if n%10 == 0 { // and mildly bad ones
			p.does(p.g, act{session: fmt.Sprint("s", n), action: "order.grab", resource: fmt.Sprint("x-", n), effect: authz.Deny})
		}
	}
	st := p.standing(conduct.Write)
	if got := p.trust("write"); got.Rank() > struck.Rank() {
		t.Errorf("%s after a flood of an hour, and %s after the strike", got.Level, struck.Level)
	}
	if st.Beta < beta-0.1 {
		t.Errorf("beta went from %v to %v by flooding", beta, st.Beta)
	}
	rep, err := p.m.Report("flood", p.now)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Learning {
		t.Error("monitors learn of an agent on probation")
	}
}

// Slow drift: an agent that misbehaves a little, and between that earns what can be earned. What is found medium once in five
// days costs it level high within two months; before, it has had eight such acts at most.
func TestAdversaryDrifts(t *testing.T) {
	p := play(t, "drift", "acme")
	p.days(21)
	acts := 0
	for p.level("write") == "high" && acts < 30 {
		p.strike(acts, fmt.Sprint("d", acts)) // two at once are medium
		p.strike(acts+100, fmt.Sprint("d", acts))
		acts++
		p.days(5)
	}
	t.Logf("two strikes together once in five days were borne %d times at level high", acts)
	if acts > 8 {
		t.Errorf("one medium finding in five days was borne %d times at level high, want 8 at most", acts)
	}
	if got := p.level("admin"); got == "high" {
		t.Errorf("and it is at %s with rights, in which it has shown nothing", got)
	}
}

// Many identities: who is lowered and registers again, under the same owner, starts where it was; its new versions
// stay where they were; and to retire the first changes nothing of that.
func TestAdversaryTakesManyNames(t *testing.T) {
	p := play(t, "first", "acme")
	p.days(21)
	for n := range 4 {
		p.strike(n, "strike")
	}
	check := func(what string, q *player) {
		t.Helper()
		for _, class := range classes {
			if was, is := p.trust(class), q.trust(class); is.Rank() > was.Rank() {
				t.Errorf("%s: %s in %s, and the first is at %s", what, is.Level, class, was.Level)
			}
		}
	}
	check("a second agent", p.join("second", "acme"))
	for v := range 5 {
		old := p.trust("write")
		p.g.version = fmt.Sprint("v", v)
		p.put(p.g)
		if now := p.trust("write"); now.Rank() > old.Rank() || now.Score > old.Score {
			t.Errorf("version %d: %+v, the one before %+v", v, now, old)
		}
	}
	was := map[string]authz.Trust{}
	for _, class := range classes {
		was[class] = p.trust(class)
	}
	p.g.state = authz.AgentRetired
	p.put(p.g)
	for i := range 3 {
		q := p.join(fmt.Sprint("third", i), "acme")
		for _, class := range classes {
			if is := q.trust(class); is.Rank() > was[class].Rank() {
				t.Errorf("registered after the first was retired: %s in %s, want at most %s", is.Level, class, was[class].Level)
			}
		}
	}
}

// The good work of fifty agents of one owner lifts the fifty-first by no level, and its score by 0.11 at most.
func TestAdversaryVouchesForItself(t *testing.T) {
	w := newWorld(t)
	first := w.join("clean-0", "acme")
	neutral := first.trust("read").Score
	agents := []*player{first}
	for i := 1; i < 50; i++ {
		agents = append(agents, w.join(fmt.Sprint("clean-", i), "acme"))
	}
	for d := range 3 {
		for _, q := range agents {
			q.session()
		}
		w.now = start.Add(time.Duration(d+1) * 24 * time.Hour)
	}
	last := w.join("clean-last", "acme")
	for _, class := range []string{"read", "write"} {
		if got := last.trust(class); got.Level != "medium" || got.Score > neutral+0.11 {
			t.Errorf("after fifty clean agents of its owner a new one is at %+v in %s, want medium, at most %v", got, class, neutral+0.11)
		}
	}
}

// Outcome poisoning. One enforcement point that lies against an agent takes it from high in two days and no lower
// than medium in a week; one person that lies takes one level a day. One that lies for an agent cannot bring
// it to high before its dwell, nor lift one that is lowered without canary acts.
func TestAdversaryPoisonsOutcomes(t *testing.T) {
	for _, c := range []struct {
		who  conduct.Reporter
		by   string
		most []int64 // levels that the liar may have taken by the end of each day
	}{
		{conduct.ReporterPEP, "pep:liar", []int64{0, 1, 1, 1, 1, 1}},
		{conduct.ReporterOperator, "agent:liar", []int64{0, 1, 1, 1, 1, 1}},
		{conduct.ReporterAgent, "agent:victim", []int64{0, 1, 1, 1, 1, 1}},
		{conduct.ReporterPerson, "admin:liar", []int64{1, 2, 3}},
	} {
		p := play(t, "victim", "acme")
		p.days(21)
		for d, most := range c.most {
			morning := p.now
			for range 3 {
				for _, seq := range p.session() {
					p.says(c.who, c.by, seq, conduct.ResultHarmful)
				}
				p.now = p.now.Add(time.Hour)
			}
			if taken := 3 - p.trust("write").Rank(); taken > most {
				t.Errorf("%s took %d levels in %d days, want at most %d", c.who, taken, d+1, most)
			}
			if got := p.level("read"); got != "high" && !(c.who == conduct.ReporterPerson && d == 2) { // then it is quarantined
				t.Errorf("%s took reading to %s by words about writing", c.who, got)
			}
			p.now = morning.Add(24 * time.Hour)
		}
	}

	p := play(t, "friend", "acme")
	for d := range 3 {
		for range 8 {
			for _, seq := range p.session() {
				p.says(conduct.ReporterPEP, "pep:friend", seq, conduct.ResultRight)
				p.says(conduct.ReporterAgent, "agent:friend", seq, conduct.ResultRight)
			}
		}
		if got := p.standing(conduct.Write).Alpha; got > 5+4*float64(d+1) {
			t.Errorf("alpha after %d days of praise = %v, want at most four more a day", d+1, got)
		}
		if got := p.level("write"); got == "high" {
			t.Errorf("praised to high in %d days", d+1)
		}
		p.now = start.Add(time.Duration(d+1) * 24 * time.Hour)
	}
	for n := range 4 {
		p.strike(n, "strike")
	}
	was := p.trust("write")
	seq := p.does(p.g, act{session: "q", task: "orders", action: "order.read", class: "read", resource: "o-1", effect: authz.Allow})
	p.now = p.now.Add(30 * time.Hour)
	for n := range 40 {
		o := outcome(p.g, seq-int64(n), p.log[seq-1].At, conduct.ResultRight)
		o.By, o.Session = fmt.Sprint("admin:friend", n), fmt.Sprint("q", n)
		p.record(audit.OutcomeReported, o.By, o)
	}
	if now := p.trust("write"); now.Rank() > was.Rank() {
		t.Errorf("forty friends lifted a lowered agent from %s to %s without a canary act", was.Level, now.Level)
	}
}
