package trust_test

import (
	"fmt"
	"testing"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

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
