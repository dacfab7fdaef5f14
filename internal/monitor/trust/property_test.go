package trust_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// Whatever happened before: one more thing against an agent raises no score and no level, now or later.
func TestMoreAgainstAnAgentNeverRaisesIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := begin(defaults())
		a.live(acts(t, "acts", 15, true), nil)
		b := a.copyOf()
		sev := conduct.Severity(rapid.IntRange(0, 3).Draw(t, "severity"))
		class := conduct.Class(rapid.IntRange(0, 5).Draw(t, "class"))
		b.find(class, sev, rapid.SampledFrom([]string{"a", "b", "z"}).Draw(t, "session"))
		for range 8 {
			for c := range conduct.Class(conduct.Classes) {
				x, y := a.s.Level(a.r, trust.Who{}, c, a.now), b.s.Level(b.r, trust.Who{}, c, b.now)
				if y.Score > x.Score || y.Rank() > x.Rank() {
					t.Fatalf("%v at %v: %v, and %v after a finding %v in %v", c, a.now, x, y, sev, class)
				}
			}
			wait := time.Duration(rapid.IntRange(0, 20_000).Draw(t, "wait")) * time.Minute
			a.now, b.now = a.now.Add(wait), b.now.Add(wait)
		}
	})
}

// No level rises by more than a step, nor before it has lasted for its dwell.
func TestLevelsRiseByStepsAndDwell(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := begin(defaults())
		dwell := map[trust.Level]time.Duration{trust.None: l.r.DwellNone, trust.Low: l.r.DwellLow, trust.Medium: l.r.DwellMedium}
		was := l.levels()
		since := [conduct.Classes]time.Time{monday, monday, monday, monday, monday}
		check := func(what any) {
			for c, now := range l.levels() {
				if now == was[c] {
					continue
				}
				if now > was[c] && (now > was[c]+1 || l.now.Sub(since[c]) < dwell[was[c]]-time.Minute) {
					t.Fatalf("%v rose from %v to %v after %v by %v, want one step after %v at least",
						conduct.Class(c), was[c], now, l.now.Sub(since[c]), what, dwell[was[c]])
				}
				was[c], since[c] = now, l.now
			}
		}
		l.live(acts(t, "acts", 30, false), func(a act) { check(a) })
		for range 12 { // a long good time, so that levels do rise
			l.now = l.now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "wait")) * time.Minute)
			for i := range 60 {
				l.good(conduct.Class(i%3), fmt.Sprint(l.now, i/6))
				check("good acts")
			}
		}
	})
}

// Nothing is gained by flooding: one session adds at most what a session can, and a day what a day can, in a class.
func TestAFloodIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := begin(defaults())
		before := l.standing(conduct.Write).Alpha
		sessions := rapid.IntRange(1, 300).Draw(t, "sessions")
		for i := range rapid.SampledFrom([]int{1, 50, 3000}).Draw(t, "acts") {
			name := fmt.Sprint("s", i%sessions)
			l.good(conduct.Write, name)
			if i%5 == 0 {
				l.tell(conduct.Write, conduct.ReporterPerson, fmt.Sprint("admin:", i%40), conduct.ResultRight, name)
			}
		}
		most := l.r.Daily
		if sessions == 1 {
			most = l.r.Session
		}
		if got := l.standing(conduct.Write).Alpha - before; got > most+1e-6 {
			t.Errorf("%d sessions of one day added %v, want at most %v", sessions, got, most)
		}
	})
}

// A session that goes on for days is one session still.
func TestALongSessionIsOneSession(t *testing.T) {
	l := begin(defaults())
	for range 20 {
		for range 100 {
			l.good(conduct.Write, "endless")
		}
		l.now = l.now.Add(day)
	}
	if got := l.standing(conduct.Write).Alpha; got > l.r.PriorAlpha+l.r.Session {
		t.Errorf("alpha after one session of twenty days is %v, want at most %v", got, l.r.PriorAlpha+l.r.Session)
	}
}

// Time alone raises no level. Only a level that was set by hand ends by time.
func TestWaitingRaisesNoLevel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := begin(defaults())
		l.live(acts(t, "acts", 30, false), nil)
		was := l.levels()
		for range 30 {
			l.now = l.now.Add(time.Duration(rapid.IntRange(0, 60_000).Draw(t, "wait")) * time.Minute)
			now := l.levels()
			for c := range now {
				if now[c] > was[c] {
					t.Fatalf("%v rose from %v to %v by waiting until %v", conduct.Class(c), was[c], now[c], l.now)
				}
			}
			was = now
		}
	})
}

// Reading changes nothing: who was read at any times, in any order, stands where one does that never was.
func TestReadingChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := acts(t, "acts", 25, true)
		a, b := begin(defaults()), begin(defaults())
		other := defaults()
		other.Quantile, other.Leave = 0.2, [3]float64{0.3, 0.6, 0.9}
		a.live(all, nil)
		b.live(all, func(act) {
			for range rapid.IntRange(0, 4).Draw(t, "reads") {
				at := b.now.Add(time.Duration(rapid.IntRange(-100, 200_000).Draw(t, "at")) * time.Minute)
				c := conduct.Class(rapid.IntRange(0, 5).Draw(t, "class"))
				r := b.r
				if rapid.IntRange(0, 4).Draw(t, "rules") == 0 {
					r = other
				}
				b.s.Level(r, trust.Who{}, c, at)
				b.s.Standing(r, trust.Who{}, c, at)
				b.s.Next(r, trust.Who{}, at)
			}
		})
		if x, y := a.s.Append(nil), b.s.Append(nil); !bytes.Equal(x, y) {
			t.Fatalf("states differ after reading:\n%x\n%x", x, y)
		}
		for range 10 {
			a.now = a.now.Add(time.Duration(rapid.IntRange(0, 50_000).Draw(t, "wait")) * time.Minute)
			c := conduct.Class(rapid.IntRange(0, 5).Draw(t, "class"))
			if x, y := a.s.Level(a.r, trust.Who{}, c, a.now), b.s.Level(b.r, trust.Who{}, c, a.now); x != y {
				t.Fatalf("Level(%v, %v) = %v, and %v of one that was read before", c, a.now, x, y)
			}
		}
	})
}

// What is written is what is read, and goes on as it would have; it stays within its bounds of memory.
func TestStatesAreKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := acts(t, "acts", 25, true)
		a := begin(defaults())
		a.live(all, nil)
		b := a.copyOf()
		if x, y := a.s.Append(nil), b.s.Append(nil); !bytes.Equal(x, y) {
			t.Fatalf("written again after reading:\n%x\n%x", x, y)
		}
		more := acts(t, "more", 15, true)
		a.live(more, nil)
		b.live(more, nil)
		if x, y := a.s.Append(nil), b.s.Append(nil); !bytes.Equal(x, y) {
			t.Fatalf("one that was kept went on to\n%x, the other to\n%x", y, x)
		}
		if x, y := a.p.Append(nil), b.p.Append(nil); !bytes.Equal(x, y) {
			t.Fatalf("pools went on to %x and %x", x, y)
		}
		a.s.Override(a.r, &trust.Override{}, conduct.Every, 1, a.now) // levels set by hand come on top
		if n := a.s.Size(); n > 500 {
			t.Errorf("Size = %d, want at most 500", n)
		}
	})
}

// A new version never stands higher than the old one did, and stays lowered if it was.
func TestRenewingGainsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := begin(defaults())
		l.live(acts(t, "acts", 25, true), nil)
		l.s.Override(l.r, &trust.Override{}, conduct.Every, 1, l.now)
		var prior trust.Prior
		for c := range prior {
			prior[c].Good = rapid.Float64Range(0, 100).Draw(t, "good")
		}
		levels, lowered := l.levels(), l.s.Lowered(l.r, l.now)
		var scores [conduct.Classes]float64
		for c := range scores {
			scores[c] = l.score(conduct.Class(c))
		}
		l.s.Renew(l.r, prior, l.now)
		for c, now := range l.levels() {
			if now > levels[c] || l.score(conduct.Class(c)) > scores[c] {
				t.Errorf("%v: a new version stands at %v (%v), the old one stood at %v (%v)", conduct.Class(c), now, l.score(conduct.Class(c)), levels[c], scores[c])
			}
		}
		if lowered && !l.s.Lowered(l.r, l.now) {
			t.Error("a new version is not lowered, and the old one was")
		}
	})
}

// Who registers again starts no higher than the lowest of the owner's agents that are lowered, and that by
// no dismissal of a finding of its own.
func TestRegisteringAgainGainsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := begin(defaults())
		first.live(acts(t, "acts", 25, false), nil)
		lowest := unknown
		first.s.Lowest(&lowest)
		second := begin(first.r)
		second.now = first.now
		second.s = trust.Start(first.r, first.p.Prior(first.r, first.now), lowest, first.now)
		for c, now := range second.levels() {
			if was := lowest[c]; now > was {
				t.Errorf("%v: the second starts at %v, and the first is at %v", conduct.Class(c), now, was)
			}
			if now > trust.Medium {
				t.Errorf("%v: a new agent starts at %v", conduct.Class(c), now)
			}
		}
		f := second.find(conduct.Read, conduct.High, "x")
		second.judge(f, conduct.Dismissed)
		if now := second.levels()[conduct.Read]; now > lowest[conduct.Read] {
			t.Errorf("the second came to %v by a finding that was dismissed, and the first is at %v", now, lowest[conduct.Read])
		}
	})
}

// A finding that is dismissed leaves nothing behind: the score is what it would have been.
func TestADismissalGivesEverythingBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := begin(defaults())
		a.work(conduct.Write, rapid.IntRange(0, 12).Draw(t, "days"), 4)
		a.find(conduct.Write, conduct.Low, "before")
		b := a.copyOf()
		class := rapid.SampledFrom([]conduct.Class{conduct.Write, conduct.Every}).Draw(t, "class")
		f := b.find(class, conduct.Severity(rapid.IntRange(0, 3).Draw(t, "severity")), "s")
		wait := time.Duration(rapid.SampledFrom([]int{0, 0, 7, 500, 3000}).Draw(t, "wait")) * time.Minute
		a.now, b.now = a.now.Add(wait), b.now.Add(wait)
		if wait == 0 && rapid.Bool().Draw(t, "confirmed first") { // later, high may have faded by it, which evidence brings back
			b.judge(f, conduct.Confirmed)
			b.judge(f, conduct.Acknowledged)
		}
		b.judge(f, conduct.Dismissed)
		for c := range conduct.Class(conduct.Classes) {
			x, y := a.standing(c), b.standing(c)
			if math.Abs(x.Alpha-y.Alpha) > 1e-4 || math.Abs(x.Beta-y.Beta) > 1e-6 || math.Abs(x.Score-y.Score) > 1.01e-4 || x.Level != y.Level || y.Lowered {
				t.Errorf("%v: %+v without the finding, and %+v after its dismissal", c, x, y)
			}
		}
	})
}
