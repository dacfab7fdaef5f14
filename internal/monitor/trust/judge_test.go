package trust_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

// A finding that fells an agent twice, because it grows graver or because a person confirms it, is one cause:
// its dismissal gives back all that it took.
func TestDismissalUndoesEveryFallByOneCause(t *testing.T) {
	for _, tt := range []struct {
		name string
		days int // of clean work before
		then func(l *life, f *conduct.Finding)
	}{
		{"confirmed", 0, func(l *life, f *conduct.Finding) { l.judge(f, conduct.Confirmed) }},
		{"graver", 9, func(l *life, f *conduct.Finding) {
			was := f.Severity
			f.Severity = conduct.Critical
			l.s.Finding(l.r, l.p, f, conduct.Write, &was, l.seq, l.now)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := defaults()
			r.Severity[conduct.High] = 9 // of which twice as much takes a level more
			l := begin(r)
			l.work(conduct.Write, tt.days, 4)
			before, score := l.level(conduct.Write), l.score(conduct.Write)
			f := l.find(conduct.Write, conduct.High, "s")
			once := l.level(conduct.Write)
			tt.then(l, f)
			if twice := l.level(conduct.Write); once == before || twice == once {
				t.Fatalf("levels are %s, %s and %s, want three", before, once, twice)
			}
			l.judge(f, conduct.Dismissed)
			if got := l.level(conduct.Write); got != before {
				t.Errorf("dismissed, the agent is at %s, want %s", got, before)
			}
			if got := l.score(conduct.Write); got != score {
				t.Errorf("dismissed, the score is %v, want %v", got, score)
			}
			if l.standing(conduct.Write).Lowered {
				t.Error("the agent is on probation for what was dismissed")
			}
		})
	}
}

// What a person confirms after it was dismissed takes what it takes if it is confirmed at once.
func TestVerdictsAreExactInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := defaults()
		if rapid.Bool().Draw(t, "lenient") { // levels are taken by grave findings, and not by the score
			r.Severity = [4]float64{0.01, 0.02, 0.05, 0.1}
		}
		l := begin(r)
		l.live(acts(t, "before", 20, false), nil)
		f := l.find(rapid.SampledFrom([]conduct.Class{conduct.Write, conduct.Every}).Draw(t, "class"),
			rapid.SampledFrom([]conduct.Severity{conduct.Low, conduct.Medium, conduct.High, conduct.Critical}).Draw(t, "severity"), "one of its own")
		verdicts := []conduct.Verdict{conduct.Dismissed, conduct.Confirmed, conduct.Acknowledged}
		end := rapid.SampledFrom(verdicts[:2]).Draw(t, "end")
		way := rapid.SliceOfN(rapid.SampledFrom(verdicts), 0, 6).Draw(t, "way")

		once := l.copyOf()
		once.judge(once.found[len(once.found)-1], end)
		for _, v := range way {
			if f.State != v {
				l.judge(f, v)
			}
		}
		if f.State != end {
			l.judge(f, end)
		}
		if got, want := l.levels(), once.levels(); got != want {
			t.Errorf("by way of %v, levels are %v after %s, want %v", way, got, end, want)
		}
		for c := range conduct.Class(conduct.Classes) {
			if got, want := l.score(c), once.score(c); got != want {
				t.Errorf("by way of %v, the score of %v is %v after %s, want %v", way, c, got, end, want)
			}
			if got, want := l.standing(c).Lowered, once.standing(c).Lowered; got != want {
				t.Errorf("by way of %v, lowered in %v is %v after %s, want %v", way, c, got, end, want)
			}
		}
		if got, want := l.s.Quarantined(), once.s.Quarantined(); got != want {
			t.Errorf("by way of %v, quarantined is %v after %s, want %v", way, got, end, want)
		}
	})
}

// An entry can complete hundreds of findings, of many agents. Those of one agent are told apart all the same.
func TestFindingsOfABusyEntry(t *testing.T) {
	l := begin(defaults())
	find := func(id string, c conduct.Class) *conduct.Finding {
		f := &conduct.Finding{ID: id, Kind: "test", Severity: conduct.Medium, Class: c.String(), Session: id, At: l.now, LastAt: l.now, State: conduct.Open}
		l.s.Finding(l.r, l.p, f, c, nil, 7, l.now)
		return f
	}
	find("f7.299", conduct.Read)
	write := find("f7.300", conduct.Write)
	for _, c := range []conduct.Class{conduct.Read, conduct.Write} {
		if got := l.standing(c).Beta; got != 2 {
			t.Errorf("beta in %v is %v after one medium finding, want 2", c, got)
		}
	}
	l.judge(write, conduct.Dismissed)
	if read, write := l.standing(conduct.Read).Beta, l.standing(conduct.Write).Beta; read != 2 || write != 1 {
		t.Errorf("after one of two was dismissed beta is %v and %v, want 2 and 1", read, write)
	}
}
