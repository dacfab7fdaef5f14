package risk_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/risk"
)

func TestGenerationAndNextChange(t *testing.T) {
	ctx := context.Background()
	b, s, cfg := open(t, nil)
	next := func(b *risk.Book, after, want time.Duration) {
		t.Helper()
		for range 2 { // found out, and remembered
			got, ok := b.NextChange(start.Add(after))
			if ok != (want > 0) || ok && !got.Equal(start.Add(want)) {
				t.Errorf("NextChange(start + %v) = %v, %v, want start + %v", after, got, ok, want)
			}
		}
	}
	last := b.Generation()
	grows := func(what string, f func() error) {
		t.Helper()
		if err := f(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if g := b.Generation(); g <= last {
			t.Errorf("%s: Generation = %d, want more than %d", what, g, last)
		}
		last = b.Generation()
	}
	raise := func(id string, life time.Duration) func() error {
		return func() error {
			a := alert(id, "kind", "low", risk.Scope{})
			a.ExpiresAt = start.Add(life)
			_, err := b.RaiseAlert(ctx, "admin:anna", "why", a)
			return err
		}
	}
	next(b, 0, 0)
	grows("raising an alert", raise("a", time.Hour))
	next(b, 0, 0) // too far ahead
	next(b, 55*time.Minute, time.Hour)
	next(b, time.Hour, 0) // it has happened
	grows("raising another", raise("b", 4*time.Minute+time.Millisecond))
	next(b, 0, 4*time.Minute+time.Millisecond)
	grows("putting an indicator", func() error {
		i := indicator("i", risk.IndicatorAgent, "bot", "low")
		i.ExpiresAt = start.Add(4 * time.Minute)
		_, err := b.PutIndicator(ctx, "admin:anna", "why", i)
		return err
	})
	next(b, 0, 4*time.Minute)
	next(b, 4*time.Minute, 4*time.Minute+time.Millisecond)
	grows("extending the other", raise("b", 20*time.Minute))
	next(b, 4*time.Minute, 0)
	next(b, 15*time.Minute, 20*time.Minute)
	grows("clearing the indicator", func() error { return b.ClearIndicator(ctx, "admin:anna", "why", "i") })
	next(b, 0, 0)

	other := risk.NewBook(cfg) // after a restart
	if err := other.Load(ctx); err != nil {
		t.Fatal(err)
	}
	next(other, 15*time.Minute, 20*time.Minute)
	s.now = start.Add(3 * time.Hour) // what has expired long ago is forgotten
	grows("raising a third", raise("c", 5*time.Hour))
	next(b, 5*time.Hour-time.Minute, 5*time.Hour)
	next(b, 15*time.Minute, 0)
}

// What concerns an agent concerns what is done for it.
func TestAssessDelegation(t *testing.T) {
	ctx := context.Background()
	b, _, _ := open(t, nil)
	if _, err := b.RaiseAlert(ctx, "admin:anna", "why", alert("a", "leaver", "high", risk.Scope{Agent: "boss"})); err != nil {
		t.Fatal(err)
	}
	if _, err := b.RaiseAlert(ctx, "admin:anna", "why", alert("p", "outage", "high", risk.Scope{Purpose: "planning"})); err != nil {
		t.Fatal(err)
	}
	if _, err := b.PutIndicator(ctx, "admin:anna", "why", indicator("i", risk.IndicatorAgent, "boss", "high")); err != nil {
		t.Fatal(err)
	}
	req, f := moment()
	if got := b.Assess(req, f); len(got.Alerts) > 0 || len(got.Indicators) > 0 {
		t.Errorf("by itself: %+v, want nothing", got)
	}
	req.OnBehalf = []authz.Ref{{Type: "agent", ID: "boss"}, {Type: "User", ID: "boss"}}
	f.Behalf = []authz.Delegator{{Agent: &authz.Agent{ID: "boss", Purpose: "planning"}}}
	got := b.Assess(req, f)
	if diff := cmp.Diff([][]string{{"leaver", "outage"}, {"i"}}, [][]string{got.Alerts, got.Indicators}); diff != "" {
		t.Errorf("for boss: alerts and indicators (-want +got):\n%s", diff)
	}
}

func BenchmarkNextChange(b *testing.B) {
	book, _, _ := open(b, nil)
	ctx := context.Background()
	for n := range 200 {
		i := indicator(fmt.Sprint("i", n), risk.IndicatorAgent, fmt.Sprint("bot", n), "low")
		i.ExpiresAt = start.Add(time.Duration(n) * time.Second)
		if n > 0 {
			if _, err := book.PutIndicator(ctx, "admin:anna", "why", i); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		book.NextChange(start)
	}
}
