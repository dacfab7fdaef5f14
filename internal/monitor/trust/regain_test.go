package trust_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

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
	if text, err := json.Marshal(l.standing(conduct.Write).Causes); err != nil || strings.Contains(string(text), "-0,") || strings.Contains(string(text), "-0}") {
		t.Errorf("causes are written %s, %v, want no negative zero", text, err)
	}
	l.find(conduct.Write, conduct.Low, "c")
	if got := l.level(conduct.Write); got != "none" {
		t.Errorf("a little against one that was restored: %s, want none", got)
	}
}
