package trust_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// What findings do to agents with so many days of good work, by the default rules: the table of docs/monitoring.md.
func TestWhatFindingsCost(t *testing.T) {
	for _, c := range []struct {
		days  int
		level string
		score float64
		after [4]string // level and score after one finding, low to critical
	}{
		{0, "medium", 0.5492, [4]string{"medium 0.5079", "medium 0.4181", "low 0.1995", "none 0.0822"}},
		{3, "medium", 0.8065, [4]string{"medium 0.7816", "medium 0.7195", "low 0.4908", "none 0.2677"}},
		{5, "high", 0.8569, [4]string{"high 0.8374", "medium 0.7878", "medium 0.5863", "low 0.3529"}},
		{14, "high", 0.9146, [4]string{"high 0.9022", "high 0.8699", "medium 0.7224", "low 0.5052"}},
		{60, "high", 0.9348, [4]string{"high 0.9253", "high 0.8999", "medium 0.7789", "low 0.5821"}},
	} {
		l := begin(defaults())
		l.work(conduct.Write, c.days, 4)
		if l.level(conduct.Write) != c.level || l.score(conduct.Write) != c.score {
			t.Errorf("after %d days: %s %v, want %s %v", c.days, l.level(conduct.Write), l.score(conduct.Write), c.level, c.score)
		}
		for sev, want := range c.after {
			one := l.copyOf()
			one.find(conduct.Write, conduct.Severity(sev), "s")
			if got := fmt.Sprintf("%s %.4f", one.level(conduct.Write), one.score(conduct.Write)); got != want {
				t.Errorf("after %d days and a finding %v: %s, want %s", c.days, conduct.Severity(sev), got, want)
			}
			if got, want := one.s.Quarantined(), strings.HasPrefix(want, "none"); got != want {
				t.Errorf("after %d days and a finding %v: quarantined %v, want %v", c.days, conduct.Severity(sev), got, want)
			}
			if got := one.level(conduct.Read); !one.s.Quarantined() && got != "medium" {
				t.Errorf("a finding about writing took reading to %s, want medium", got)
			}
		}
	}
}

// rest lets the agent work at four sessions a day until it stands at a level, and returns how long that took.
func (l *life) rest(c conduct.Class, level string) time.Duration {
	from := l.now
	for l.now.Sub(from) < 200*day {
		l.seq++
		for i := range 10 {
			l.now = from.Add(l.now.Sub(from).Truncate(6*time.Hour) + time.Duration(i)*3*time.Minute)
			if l.good(c, fmt.Sprint("rest ", l.seq)); l.level(c) == level {
				return l.now.Sub(from)
			}
		}
		l.now = from.Add(l.now.Sub(from).Truncate(6*time.Hour) + 6*time.Hour)
	}
	return -1
}

// How long trust takes to earn and to regain, by the default rules.
func TestHowLongTrustTakes(t *testing.T) {
	l := begin(defaults())
	if got := l.rest(conduct.Write, "high").Truncate(time.Hour); got != 108*time.Hour {
		t.Errorf("from the beginning to high: %v, want 108h", got)
	}
	for _, c := range []struct {
		days int
		sev  conduct.Severity
		want string
	}{
		{0, conduct.High, "low medium 72h"},
		{5, conduct.Medium, "medium high 120h"},
		{14, conduct.High, "medium high 792h"},
		{14, conduct.Critical, "low medium 24h high 2040h"},
	} {
		l := begin(defaults())
		l.work(conduct.Write, c.days, 4)
		was := l.level(conduct.Write)
		l.find(conduct.Write, c.sev, "s")
		got := l.level(conduct.Write)
		from := l.now
		for _, level := range []string{"low", "medium", "high"} {
			if now, _ := trust.ParseLevel(l.level(conduct.Write)); l.level(conduct.Write) == was || level <= now.String() && level != "medium" && level != "high" {
				continue
			} else if up, _ := trust.ParseLevel(level); up > now {
				l.rest(conduct.Write, level)
				got += fmt.Sprintf(" %s %.0fh", level, math.Ceil(l.now.Sub(from).Hours()/24)*24)
			}
		}
		if got != c.want {
			t.Errorf("a finding %v after %d days: %s, want %s", c.sev, c.days, got, c.want)
		}
	}
}

// An agent that does nothing keeps high for four weeks, then is at medium as if nothing were known, and earns
// high again without canary acts.
func TestIdleAgentsFade(t *testing.T) {
	l := begin(defaults())
	l.work(conduct.Write, 20, 4)
	idle := l.now
	for l.level(conduct.Write) == "high" {
		next := l.s.Next(l.r, trust.Who{}, l.now)
		if next.IsZero() {
			next = l.now.Add(day)
		}
		l.now = next
	}
	if got := l.now.Sub(idle).Round(time.Hour); got != 689*time.Hour {
		t.Errorf("high fades after %v, want 689h", got)
	}
	st := l.standing(conduct.Write)
	if st.Lowered || !st.Since.Equal(l.now) || l.s.Lowered(l.r, l.now) {
		t.Errorf("after fading: %+v, want it not lowered, since %v", st, l.now)
	}
	l.now = l.now.Add(400 * day)
	if got := l.score(conduct.Write); got != 0.5492 {
		t.Errorf("score after a year is %v, want that of the prior, 0.5492", got)
	}
	if got := l.rest(conduct.Write, "high"); got < 3*day || got > 6*day {
		t.Errorf("high again after %v, want three days at least", got)
	}
}

// The level that an agent lost in a class comes back by canary acts of several sessions, and by nothing else.
func TestProbation(t *testing.T) {
	l := begin(defaults())
	l.work(conduct.Write, 20, 4)
	l.find(conduct.Write, conduct.Critical, "s")
	l.now = l.now.Add(25 * time.Hour)
	if got := l.level(conduct.Write); got != "low" || l.score(conduct.Write) < l.r.Enter[1] {
		t.Fatalf("after a day: %s at %v, want low still, with a score that is good enough for more", got, l.score(conduct.Write))
	}
	step := func(acts int, session, want string) {
		t.Helper()
		for range acts {
			l.good(conduct.Write, session)
		}
		if got := l.level(conduct.Write); got != want {
			t.Errorf("after %d acts in %s: %s, want %s", acts, session, got, want)
		}
	}
	step(50, "one", "low") // of one session
	st := l.standing(conduct.Write)
	want := []string{"To medium: 2 more clean acts in 2 more sessions, here or in a milder class than write, not before " + l.now.Format("2006-01-02 15:04Z") + "."}
	if diff := cmp.Diff(want, st.Restore); diff != "" {
		t.Errorf("what restores it (-want +got):\n%s", diff)
	}
	for i := range 20 {
		if l.level(conduct.Write) == "medium" {
			if i < 2 {
				t.Errorf("medium after %d more sessions, want two at least", i)
			}
			break
		}
		l.good(conduct.Write, fmt.Sprint("more", i))
	}
	if got := l.level(conduct.Write); got != "medium" {
		t.Fatalf("after acts of many sessions: %s, want medium", got)
	}
	if !l.s.Lowered(l.r, l.now) {
		t.Error("at medium, and high before: want it lowered still")
	}
	// At medium a new dwell begins, and only acts of the class count.
	l.now = l.now.Add(4 * day)
	for i := range 40 {
		l.good(conduct.Read, fmt.Sprint("reading", i))
	}
	if got := l.standing(conduct.Write).Restore; len(got) == 0 || !strings.Contains(got[0], "10 more clean acts in 3 more sessions") {
		t.Errorf("after reading: %q, want all canary acts outstanding", got)
	}
}

// Below medium clean acts of milder classes count as canary acts, for policies may leave nothing to do in the class.
func TestMilderActsLeadToMedium(t *testing.T) {
	l := begin(defaults())
	l.work(conduct.Egress, 20, 4)
	l.find(conduct.Egress, conduct.Critical, "s")
	alpha := l.standing(conduct.Egress).Alpha
	l.now = l.now.Add(25 * time.Hour)
	for i := range 30 {
		l.good(conduct.Admin, fmt.Sprint("a", i))
	}
	if got := l.level(conduct.Egress); got != "low" {
		t.Errorf("after acts of a graver class: %s, want low", got)
	}
	for i := range 30 {
		l.good(conduct.Read, fmt.Sprint("r", i))
	}
	if got := l.standing(conduct.Egress); got.Level != "medium" || got.Alpha > alpha {
		t.Errorf("after reading: %+v, want medium, and no evidence in egress", got)
	}
	for range 30 {
		l.now = l.now.Add(day)
		for i := range 10 {
			l.good(conduct.Read, fmt.Sprint("e", l.now, i))
		}
	}
	if got := l.level(conduct.Egress); got != "medium" {
		t.Errorf("after a month of reading: %s, want medium still", got)
	}
}

// While the agent is on probation anything of weight begins it anew.
func TestProbationIsDisturbed(t *testing.T) {
	l := begin(defaults())
	l.work(conduct.Write, 14, 4)
	l.find(conduct.Write, conduct.Critical, "s")
	l.now = l.now.Add(23 * time.Hour)
	for i := range 20 {
		l.good(conduct.Write, fmt.Sprint(i))
	}
	l.tell(conduct.Write, conduct.ReporterPerson, "admin:ada", conduct.ResultWrong, "")
	l.now = l.now.Add(2 * time.Hour)
	for i := range 20 {
		l.good(conduct.Write, fmt.Sprint("b", i))
	}
	if got := l.level(conduct.Write); got != "low" {
		t.Errorf("25 hours after it was lowered and 2 after it was wrong: %s, want low", got)
	}
}

// What a session did wrong counts twice its gravest at most; what another did comes on top.
func TestOneSessionIsOneMistake(t *testing.T) {
	l := begin(defaults())
	for range 30 {
		l.find(conduct.Write, conduct.Medium, "one")
	}
	if got, want := l.standing(conduct.Write).Beta, 1+2*l.r.Severity[conduct.Medium]; got != want {
		t.Errorf("beta after thirty findings of one session = %v, want %v", got, want)
	}
	l.find(conduct.Every, conduct.Medium, "another")
	if got, want := l.standing(conduct.Write).Beta, 1+3*l.r.Severity[conduct.Medium]; got != want {
		t.Errorf("beta after one of another session = %v, want %v", got, want)
	}
	if got, want := l.standing(conduct.Admin).Beta, 1+l.r.Severity[conduct.Medium]; got != want {
		t.Errorf("beta of admin after a finding in every class = %v, want %v", got, want)
	}
}

// A finding that was the only reason of a fall gives the level back; one of two does not.
func TestDismissalAndLevels(t *testing.T) {
	l := begin(defaults())
	l.work(conduct.Write, 14, 4)
	a := l.find(conduct.Write, conduct.High, "a")
	b := l.find(conduct.Write, conduct.High, "b")
	if got := l.level(conduct.Write); got != "low" {
		t.Fatalf("after two findings: %s, want low", got)
	}
	l.judge(a, conduct.Dismissed)
	if got := l.level(conduct.Write); got != "low" {
		t.Errorf("with one of two dismissed: %s, want low, by probation up", got)
	}
	l.judge(b, conduct.Dismissed)
	if got := l.level(conduct.Write); got != "high" || l.s.Lowered(l.r, l.now) {
		t.Errorf("with both dismissed: %s, want high", got)
	}
	l.judge(b, conduct.Confirmed)
	if got, beta := l.level(conduct.Write), l.standing(conduct.Write).Beta; got != "medium" || beta != 1+2*l.r.Severity[conduct.High] {
		t.Errorf("with one confirmed after all: %s, beta %v, want medium, and twice its weight", got, beta)
	}
}

// A dismissed critical finding ends the quarantine that it brought, if nothing else keeps the agent down.
func TestQuarantineEnds(t *testing.T) {
	l := begin(defaults())
	f := l.find(conduct.Every, conduct.Critical, "a")
	if !l.s.Quarantined() || l.level(conduct.Every) != "none" || !l.s.Lowered(l.r, l.now) {
		t.Fatalf("after a critical finding: quarantined %v at %s", l.s.Quarantined(), l.level(conduct.Every))
	}
	for i := range 100 { // nothing moves it
		l.now = l.now.Add(time.Hour)
		l.good(conduct.Read, fmt.Sprint(i))
	}
	if got := l.standing(conduct.Read); got.Alpha > 5 || got.Bound != "quarantine" || !got.Earliest.IsZero() || len(got.Restore) == 0 {
		t.Errorf("in quarantine: %+v", got)
	}
	l.judge(f, conduct.Dismissed)
	if l.s.Quarantined() || l.level(conduct.Every) != "medium" {
		t.Errorf("after the dismissal: quarantined %v at %s, want medium", l.s.Quarantined(), l.level(conduct.Every))
	}

	l.find(conduct.Every, conduct.Critical, "b")
	l.s.Override(l.r, &trust.Override{Level: "low", Restore: true}, conduct.Every, 1, l.now)
	if l.s.Quarantined() || l.level(conduct.Write) != "low" {
		t.Errorf("restored: quarantined %v at %s, want low", l.s.Quarantined(), l.level(conduct.Write))
	}
	if st := l.standing(conduct.Write); st.Beta < 20 || len(st.Causes) == 0 || st.Causes[0].What != "restored" {
		t.Errorf("restored: %+v, want the posterior as it was", st)
	}
	l.find(conduct.Write, conduct.Low, "c")
	if got := l.level(conduct.Write); got != "none" {
		t.Errorf("a little against one that was restored: %s, want none", got)
	}
}

func TestOverridesAndBounds(t *testing.T) {
	l := begin(defaults())
	who := trust.Who{Agent: "a1", Purpose: "trial"}
	set := func(c conduct.Class, level string, hours int) {
		o := &trust.Override{Level: level, Author: "admin:ada", Why: "an audit"}
		if hours > 0 {
			o.Expires = l.now.Add(time.Duration(hours) * time.Hour)
		}
		l.s.Override(l.r, o, c, 7, l.now)
	}
	want := func(c conduct.Class, level string) {
		t.Helper()
		if got := l.s.Level(l.r, who, c, l.now).Level; got != level {
			t.Errorf("%v: %s, want %s", c, got, level)
		}
	}
	set(conduct.Write, "high", 10)
	set(conduct.Money, "low", 0)
	want(conduct.Write, "high")
	want(conduct.Money, "low")
	want(conduct.Every, "low")
	if got, want := l.s.Next(l.r, who, l.now), l.now.Add(10*time.Hour); !got.Equal(want) {
		t.Errorf("Next = %v, want %v, when a level set by hand ends", got, want)
	}
	st := l.s.Standing(l.r, who, conduct.Write, l.now)
	if st.Override == nil || st.Override.Author != "admin:ada" || st.Override.Why != "an audit" || len(st.Restore) != 2 {
		t.Errorf("Standing = %+v, want it to show who set the level, and why", st)
	}
	l.r.Bounds = []catalog.TrustBound{
		{Purpose: "trial", Ceiling: "medium"}, {Purpose: "other", Ceiling: "none"}, {Agent: "a1", Class: "money", Floor: "medium"}, {Class: "admin", Floor: "high"},
	}
	want(conduct.Write, "medium") // a ceiling holds over a hand
	want(conduct.Money, "low")    // a hand goes below a floor
	want(conduct.Admin, "medium") // a ceiling holds over a floor
	l.now = l.now.Add(10 * time.Hour)
	l.r.Bounds = nil
	want(conduct.Write, "medium")
	set(conduct.Every, "none", 1)
	want(conduct.Money, "none")
	want(conduct.Read, "none")
	l.now = l.now.Add(time.Hour)
	want(conduct.Money, "medium") // the newest word was on every class
	set(conduct.Read, "low", 1)
	set(conduct.Read, "", 0)
	want(conduct.Read, "medium")
}

// A reporter moves so much in a class in a day, for an agent and against it; an agent's own word and praise for what
// was refused count for nothing.
func TestReportersAreBounded(t *testing.T) {
	l := begin(defaults())
	beta := func() float64 { return l.standing(conduct.Write).Beta }
	for range 50 {
		l.tell(conduct.Write, conduct.ReporterPEP, "pep:gate", conduct.ResultWrong, "")
	}
	if got, want := beta(), 1+l.r.Reporter; got != want {
		t.Errorf("beta after fifty complaints of one reporter = %v, want %v", got, want)
	}
	l.tell(conduct.Write, conduct.ReporterPEP, "pep:other", conduct.ResultWrong, "")
	if got, want := beta(), 1+l.r.Reporter+l.r.Wrong*l.r.PEP; got != want {
		t.Errorf("beta after another's = %v, want %v", got, want)
	}
	for i := range 100 { // many strangers share one bound
		l.tell(conduct.Write, conduct.ReporterPEP, fmt.Sprint("pep:", i), conduct.ResultHarmful, "")
	}
	if got, most := beta(), 1+6*l.r.Reporter; got > most {
		t.Errorf("beta after a hundred strangers' = %v, want at most %v", got, most)
	}
	was := beta()
	l.tell(conduct.Write, conduct.ReporterPerson, "admin:ada", conduct.ResultHarmful, "")
	if got := beta(); got <= was {
		t.Errorf("beta = %v, and %v after a person's word: strangers used it up", was, got)
	}

	l = begin(defaults())
	l.tell(conduct.Write, conduct.ReporterAgent, "agent:a", conduct.ResultRight, "s")
	refused := &conduct.Outcome{Class: "write", At: l.now, Reporter: conduct.ReporterPerson, By: "admin:ada", Result: conduct.ResultRight}
	l.s.Outcome(l.r, l.p, refused, conduct.Write)
	if got := l.standing(conduct.Write).Alpha; got != l.r.PriorAlpha {
		t.Errorf("alpha after an agent's praise of itself, and praise of what was refused = %v, want %v", got, l.r.PriorAlpha)
	}
	l.tell(conduct.Write, conduct.ReporterAgent, "agent:a", conduct.ResultWrong, "s")
	if got, want := beta(), 1+l.r.Wrong*l.r.Operator; got != want {
		t.Errorf("beta after an agent's word against itself = %v, want %v", got, want)
	}
}

// Harm that a person reports takes a level at once, one a day of one person.
func TestHarmTakesALevel(t *testing.T) {
	l := begin(defaults())
	l.work(conduct.Write, 30, 4)
	for _, want := range []string{"medium", "low", "none"} {
		for range 5 {
			l.tell(conduct.Write, conduct.ReporterPerson, "admin:ada", conduct.ResultHarmful, "s")
		}
		if got := l.level(conduct.Write); got != want {
			t.Errorf("after harm on another day: %s, want %s", got, want)
		}
		l.now = l.now.Add(day)
	}
	if !l.s.Quarantined() {
		t.Error("harm took the last level, and the agent is not quarantined")
	}
}

// New agents start where their purpose's others are: with so much evidence at most, and at medium at most.
func TestNewAgentsStartWhereTheEvidenceIs(t *testing.T) {
	r := defaults()
	p := new(trust.Pool)
	at := monday
	serve := func(owner string, days int, bad bool) {
		s := trust.Start(r, p.Prior(r, at), unknown, at)
		s.Owned(owner)
		for d := range days {
			for i := range 40 {
				s.Good(r, p, conduct.Read, uint64(1000+d*40+i), at.Add(time.Duration(d)*day))
			}
		}
		if bad {
			s.Finding(r, p, &conduct.Finding{ID: "f1.0", Severity: conduct.High, At: at}, conduct.Read, nil, 1, at)
		}
	}
	fresh := func() authz.Trust {
		return trust.Start(r, p.Prior(r, at), unknown, at).Level(r, trust.Who{}, conduct.Read, at)
	}
	if got, want := fresh(), (authz.Trust{Level: "medium", Score: 0.5492}); got != want {
		t.Errorf("the first of a purpose starts at %+v, want %+v", got, want)
	}
	for range 50 {
		serve("acme", 10, false)
	}
	if got, want := fresh(), (authz.Trust{Level: "medium", Score: 0.6518}); got != want {
		t.Errorf("after fifty good agents of one owner one starts at %+v, want %+v, the half of what is possible", got, want)
	}
	for _, owner := range []string{"b", "c", "d", "e"} {
		serve(owner, 10, false)
	}
	if got, want := fresh(), (authz.Trust{Level: "medium", Score: 0.7168}); got != want {
		t.Errorf("after good agents of several owners one starts at %+v, want %+v", got, want)
	}
	for range 50 {
		serve("bad", 0, true)
	}
	if got := fresh(); got.Level == "none" || got.Score < 0.4 {
		t.Errorf("after fifty bad agents of one owner one starts at %+v, want the others' evidence to hold it", got)
	}
}

// Whoever is on probation vouches for nobody.
func TestTheLoweredVouchForNobody(t *testing.T) {
	l := begin(defaults())
	l.find(conduct.Read, conduct.High, "s")
	before := l.p.Prior(l.r, l.now)[conduct.Read].Good
	l.work(conduct.Read, 1, 2)
	if got := l.p.Prior(l.r, l.now)[conduct.Read].Good; got > before {
		t.Errorf("the pool has %v for newcomers, and had %v before a lowered agent worked", got, before)
	}
}

// How much an agent can afford that otherwise earns all that can be earned: what is bearable for years, and what is not.
func TestSlowDriftIsBounded(t *testing.T) {
	for _, c := range []struct {
		sev   conduct.Severity
		every int // days
		most  int // findings until it is no longer at high; 0 if it stays
	}{
		{conduct.Medium, 11, 0}, {conduct.Medium, 10, 19}, {conduct.Medium, 5, 7}, {conduct.Medium, 3, 6},
		{conduct.Low, 3, 0}, {conduct.Low, 2, 47}, {conduct.Low, 1, 26},
	} {
		l := begin(defaults())
		l.work(conduct.Write, 20, 4)
		n := 0
		for n < 70 && l.level(conduct.Write) == "high" {
			l.find(conduct.Write, c.sev, fmt.Sprint("drift", n))
			n++
			l.work(conduct.Write, c.every, 4)
		}
		if c.most == 0 && n < 70 || c.most > 0 && n > c.most {
			t.Errorf("a finding %v every %d days took level high after %d, want %d (0: never)", c.sev, c.every, n, c.most)
		}
	}
}

// What rests on a reporter's word moves no more than the reporter can, in the class of the outcome, and takes no level of
// itself.
func TestFindingsDrawnFromOutcomes(t *testing.T) {
	l := begin(defaults())
	l.work(conduct.Write, 20, 4)
	for i := range 5 {
		o := &conduct.Outcome{Seq: int64(1000 + i), At: l.now, Allowed: true, Class: "write", Reporter: conduct.ReporterPEP, By: "pep:liar", Result: conduct.ResultWrong}
		l.s.Outcome(l.r, l.p, o, conduct.Write)
		f := &conduct.Finding{ID: fmt.Sprintf("f%d.0", o.Seq), Kind: "performance.accuracy", Severity: conduct.High, Class: "every", Session: fmt.Sprint(i), At: l.now}
		l.s.Told(l.r, l.p, f, nil, o, o.Seq)
	}
	if got, want := l.standing(conduct.Write).Beta, 1+l.r.Reporter; got > want+0.02 {
		t.Errorf("beta after five outcomes of one reporter and what was drawn from them = %v, want %v", got, want)
	}
	if got := l.standing(conduct.Read).Beta; got != 1 {
		t.Errorf("beta of reading after words about writing = %v, want 1", got)
	}
	if got := l.level(conduct.Write); got != "high" {
		t.Errorf("level after one day of one reporter = %s, want high", got)
	}
}

// One enforcement point that lies every day: on which day an agent falls to what, whether or not it goes on working.
func TestLiesOfOneReporterTakeTheirTime(t *testing.T) {
	for _, c := range []struct {
		before, sessions int
		want             string
	}{
		{0, 0, "low 1, none 6"}, {0, 4, "low 1"}, {21, 0, "medium 2, low 10, none 31"}, {21, 4, "medium 2, low 19"},
	} {
		l := begin(defaults())
		l.work(conduct.Write, c.before, 4)
		was := l.level(conduct.Write)
		var falls []string
		for d := range 60 {
			for range 10 {
				l.tell(conduct.Write, conduct.ReporterPEP, "pep:liar", conduct.ResultHarmful, "")
			}
			if now := l.level(conduct.Write); now != was {
				falls, was = append(falls, fmt.Sprint(now, " ", d+1)), now
			}
			if c.sessions > 0 {
				l.work(conduct.Write, 1, c.sessions)
			} else {
				l.now = l.now.Add(day)
			}
		}
		if got := strings.Join(falls, ", "); got != c.want {
			t.Errorf("%d good days before, %d sessions a day since: %s, want %s", c.before, c.sessions, got, c.want)
		}
	}
}

// An offence repeated in one session costs twice its weight a day.
func TestOneOffenceAllDayLong(t *testing.T) {
	l := begin(defaults())
	l.work(conduct.Write, 60, 4)
	for d, want := range []string{"high", "high", "medium"} {
		for range 24 {
			l.find(conduct.Write, conduct.Medium, "one")
		}
		if got := l.level(conduct.Write); got != want {
			t.Errorf("day %d of a medium offence: %s, want %s", d+1, got, want)
		}
		l.work(conduct.Write, 1, 4)
	}
}

// Other rules count from the next reading on.
func TestRulesChange(t *testing.T) {
	l := begin(defaults())
	l.work(conduct.Read, 10, 4)
	score := l.score(conduct.Read)
	l.r.PriorBeta = 3
	if got := l.score(conduct.Read); got >= score {
		t.Errorf("score with a worse prior = %v, and %v before", got, score)
	}
}

func TestLevelNames(t *testing.T) {
	for l := trust.None; l <= trust.High; l++ {
		got, ok := trust.ParseLevel(l.String())
		if got != l || !ok {
			t.Errorf("ParseLevel(%q) = %v, %v", l, got, ok)
		}
		if rank := (authz.Trust{Level: l.String()}).Rank(); rank != int64(l) {
			t.Errorf("rank of %v in authz = %d, want %d", l, rank, l)
		}
	}
	if _, ok := trust.ParseLevel("utter"); ok {
		t.Error(`ParseLevel("utter") is a level`)
	}
}
