package trust_test

import (
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

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
