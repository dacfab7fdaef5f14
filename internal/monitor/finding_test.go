package monitor_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// abroad is a catalog by which every act in these tests, all of which come from Germany, breaks a rule.
const abroad = `
conduct:
  deviation: off
  escalation: off
  performance: off
  compliance: {regions: [{countries: [US]}]}
`

// usual is a catalog by which none does.
const usual = `
conduct: {deviation: off, escalation: off, performance: off, compliance: off}
`

func bot(id, owner string) *registration {
	return &registration{id: id, owner: owner, purpose: "orders", version: "1"}
}

// work is an act that nothing is wrong with but from where it comes.
var work = act{session: "s", action: "order.change", class: "write", resource: "o-1", effect: authz.Allow}

func (w *world) finding(id string) conduct.Finding {
	w.t.Helper()
	f, err := w.m.Finding(w.t.Context(), id)
	if err != nil {
		w.t.Fatalf("Finding(%q): %v", id, err)
	}
	return f
}

func TestFindingsFold(t *testing.T) {
	w := newWorld(t)
	w.publish(abroad)
	g := bot("a", "team")
	w.put(g)
	first := w.does(g, work)
	id := conduct.ID(first, 0)
	f := w.finding(id)
	if f.Agent != "a" || f.Kind != "compliance.region" || f.Class != "write" || f.State != conduct.Open || f.Count != 1 || f.Session != "s" || !f.At.Equal(w.now) || f.AsOf != first {
		t.Errorf("the finding of entry %d is %+v", first, f)
	}
	for range 20 {
		w.now = w.now.Add(time.Minute)
		w.does(g, work)
	}
	last := int64(len(w.log))
	f = w.finding(id)
	if f.Count != 21 || !f.LastAt.Equal(w.now) || f.AsOf != last || len(f.Evidence) != conduct.MaxEvidence || f.Evidence[0] != first || f.Evidence[7] != last {
		t.Errorf("after 20 repetitions the finding is %+v", f)
	}
	if got := all(t, w.m, 10); len(got) != 1 {
		t.Errorf("%d findings within the cooldown, want 1", len(got))
	}
	w.does(g, act{session: "s", action: "order.read", class: "read", effect: authz.Allow})
	w.now = w.now.Add(time.Hour)
	w.does(g, work)
	got := all(t, w.m, 10)
	if len(got) != 3 || got[0].Class != "write" || got[1].Class != "read" || got[0].Count != 1 {
		t.Errorf("findings of another class and after the cooldown: %+v", got)
	}
	trusted, c := w.m.Conduct("a", "write", w.now)
	if diff := cmp.Diff([]string{"compliance.region"}, c.Findings); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
	if trusted.Rank() >= authz.NeutralTrust.Rank() || c.Lowest.Rank() > trusted.Rank() {
		t.Errorf("trust after findings is %v, the lowest %v", trusted, c.Lowest)
	}
	_, later := w.m.Conduct("a", "write", w.now.Add(8*24*time.Hour))
	if len(later.Findings) != 0 {
		t.Errorf("kinds after a week are %q, want none", later.Findings)
	}
	w.now = w.now.Add(8 * 24 * time.Hour)
	w.must(audit.Heartbeat, "safeconduct", unknown)
	rep, err := w.m.Report("a", w.now)
	if err != nil || len(rep.Findings) != 0 || rep.Decisions != 23 || rep.AsOf != int64(len(w.log)) || len(rep.Classes) != conduct.Classes {
		t.Errorf("Report after a week = %+v, %v", rep, err)
	}
}

// A grave finding is not pushed out of what is remembered by many mild ones, and what falls out stays in
// the table, beyond judging.
func TestFindingsBounded(t *testing.T) {
	w := newWorld(t)
	w.publish(abroad)
	g := bot("a", "team")
	w.put(g)
	grave := conduct.ID(w.does(g, work), 0)
	if _, err := w.m.Judge(t.Context(), "admin:bob", "it is so", grave, conduct.Confirmed); err != nil {
		t.Fatal(err)
	}
	var second string
	for i := range 40 {
		w.now = w.now.Add(61 * time.Minute)
		seq := w.does(g, work)
		if i == 0 {
			second = conduct.ID(seq, 0)
		}
	}
	rep, err := w.m.Report("a", w.now)
	if err != nil || len(rep.Findings) != 16 || rep.Findings[15].ID != grave || rep.Findings[0].AsOf != int64(len(w.log)) {
		t.Errorf("of 41 findings the report has %d, %v, want 16, newest first, with the confirmed one", len(rep.Findings), err)
	}
	if got := all(t, w.m, 10); len(got) != 41 {
		t.Errorf("the table has %d findings, want 41", len(got))
	}
	if _, err := w.m.Judge(t.Context(), "admin:bob", "w", second, conduct.Dismissed); !errors.Is(err, authz.ErrConflict) {
		t.Errorf("judging what fell out: %v, want authz.ErrConflict", err)
	}
}

func TestJudge(t *testing.T) {
	w := newWorld(t)
	w.publish(abroad)
	g := bot("a", "team")
	w.put(g)
	id := conduct.ID(w.does(g, work), 0)
	before, _ := w.m.Conduct("a", "write", w.now)
	judge := func(id, why string, v conduct.Verdict, want error) conduct.Finding {
		t.Helper()
		f, err := w.m.Judge(t.Context(), "admin:bob", why, id, v)
		if !errors.Is(err, want) {
			t.Errorf("Judge(%q, %q) = %v, want %v", id, v, err, want)
		}
		return f
	}
	judge("f999.0", "w", conduct.Dismissed, authz.ErrNotFound)
	judge("x", "w", conduct.Dismissed, authz.ErrInvalid)
	judge(id, "w", "perhaps", authz.ErrInvalid)
	judge(id, " ", conduct.Dismissed, authz.ErrInvalid)
	f := judge(id, "seen", conduct.Acknowledged, nil)
	if f.State != conduct.Acknowledged || f.JudgedBy != "admin:bob" || f.Why != "seen" || !f.JudgedAt.Equal(w.now) || f.AsOf != int64(len(w.log)) {
		t.Errorf("the acknowledged finding is %+v", f)
	}
	judge(id, "again", conduct.Acknowledged, authz.ErrConflict)
	judge(id, "no", conduct.Dismissed, nil)
	after, c := w.m.Conduct("a", "write", w.now)
	if after.Score <= before.Score || len(c.Findings) != 0 {
		t.Errorf("after a dismissal trust is %v, findings %q; before it was %v", after, c.Findings, before)
	}
	judge(id, "yes, after all", conduct.Confirmed, nil)
	worse, c := w.m.Conduct("a", "write", w.now)
	if worse.Score > before.Score || len(c.Findings) != 1 {
		t.Errorf("after a confirmation trust is %v, findings %q; before it was %v", worse, c.Findings, before)
	}
	// A mistake in the log changes nothing, on any replica.
	for _, body := range []any{[]byte(`{"finding":7}`), conduct.Judgement{Finding: id, Verdict: "perhaps", Why: "w"}, conduct.Judgement{Finding: "f1.7", Verdict: conduct.Confirmed, Why: "w"}} {
		if _, err := w.record(audit.FindingJudged, "admin:bob", body); !errors.Is(err, authz.ErrInvalid) && !errors.Is(err, authz.ErrConflict) {
			t.Errorf("finding.judged %v: %v", body, err)
		}
	}
}

func TestSet(t *testing.T) {
	w := newWorld(t)
	g := bot("a", "team")
	w.put(g)
	for what, c := range map[string]struct {
		o    trust.Override
		want error
	}{
		"unknown agent": {trust.Override{Agent: "b", Class: "write", Level: "low", Why: "w"}, authz.ErrNotFound},
		"unknown class": {trust.Override{Agent: "a", Class: "x", Level: "low", Why: "w"}, authz.ErrInvalid},
		"unknown level": {trust.Override{Agent: "a", Class: "write", Level: "x", Why: "w"}, authz.ErrInvalid},
		"no reason":     {trust.Override{Agent: "a", Class: "write", Level: "low"}, authz.ErrInvalid},
		"over already":  {trust.Override{Agent: "a", Class: "write", Level: "low", Why: "w", Expires: w.now}, authz.ErrInvalid},
		"restore":       {trust.Override{Agent: "a", Class: "write", Restore: true, Why: "w"}, authz.ErrInvalid},
	} {
		if _, err := w.m.Set(t.Context(), "admin:bob", c.o); !errors.Is(err, c.want) {
			t.Errorf("%s: Set = %v, want %v", what, err, c.want)
		}
	}
	rep, err := w.m.Set(t.Context(), "admin:bob", trust.Override{Agent: "a", Class: "write", Level: "none", Why: "stop", Expires: w.now.Add(time.Hour), Author: "somebody else"})
	if err != nil || rep.Classes[1].Level != "none" || rep.Classes[1].Override == nil || rep.Classes[1].Override.Author != "admin:bob" {
		t.Fatalf("Set = %+v, %v, want level none by admin:bob", rep, err)
	}
	for _, c := range []struct {
		class string
		after time.Duration
		level string
	}{{"write", 0, "none"}, {"read", 0, "medium"}, {"", 0, "none"}, {"unheard-of", 0, "none"}, {"write", 2 * time.Hour, "medium"}} {
		if got, _ := w.m.Conduct("a", c.class, w.now.Add(c.after)); got.Level != c.level {
			t.Errorf("trust in class %q after %v = %v, want %s", c.class, c.after, got, c.level)
		}
	}
}

func TestTell(t *testing.T) {
	w := newWorld(t)
	g := bot("a", "team")
	w.put(g)
	seq := w.does(g, work)
	decided := w.now
	tell := func(what string, want error, change func(o *conduct.Outcome)) {
		t.Helper()
		o := outcome(g, seq, decided, conduct.ResultRight)
		if change != nil {
			change(&o)
		}
		if _, err := w.m.Tell(t.Context(), o); !errors.Is(err, want) {
			t.Errorf("%s: Tell = %v, want %v", what, err, want)
		}
	}
	tell("another agent", authz.ErrNotFound, func(o *conduct.Outcome) { o.Agent = "b" })
	tell("no such result", authz.ErrInvalid, func(o *conduct.Outcome) { o.Result = "fine" })
	tell("no such class", authz.ErrInvalid, func(o *conduct.Outcome) { o.Class = "every" })
	tell("no reporter", authz.ErrInvalid, func(o *conduct.Outcome) { o.Reporter = "" })
	tell("of what is to come", authz.ErrInvalid, func(o *conduct.Outcome) { o.Decided = w.now.Add(time.Hour) })
	tell("at first", nil, nil)
	tell("again", authz.ErrConflict, nil)
	tell("again, otherwise", authz.ErrConflict, func(o *conduct.Outcome) { o.Result = conduct.ResultWrong })
	tell("by another", nil, func(o *conduct.Outcome) { o.By = "admin:eve" })
	w.now = w.now.Add(31 * 24 * time.Hour)
	tell("too late", authz.ErrConflict, func(o *conduct.Outcome) { o.By = "admin:late" })
	rep, err := w.m.Report("a", w.now)
	if err != nil || rep.Performance.Judged == 0 {
		t.Errorf("Report after outcomes = %+v, %v", rep, err)
	}
}

func TestFilter(t *testing.T) {
	w := newWorld(t)
	w.publish(abroad)
	var agents []*registration
	for i := range 3 {
		agents = append(agents, bot(fmt.Sprint("bot-", i), "team"))
		w.put(agents[i])
	}
	for i := range 30 {
		w.now = w.now.Add(time.Hour)
		w.does(agents[i%3], work)
	}
	if _, err := w.m.Judge(t.Context(), "admin:bob", "w", all(t, w.m, 100)[4].ID, conduct.Dismissed); err != nil {
		t.Fatal(err)
	}
	for _, kept := range []bool{false, true} {
		if kept {
			if err := w.m.Keep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for what, c := range map[string]struct {
			f    monitor.Filter
			want int
		}{
			"all":          {monitor.Filter{}, 30},
			"an agent's":   {monitor.Filter{Agent: "bot-1"}, 10},
			"a kind":       {monitor.Filter{Kind: "compliance.region"}, 30},
			"a monitor's":  {monitor.Filter{Kind: "compliance"}, 30},
			"part of one":  {monitor.Filter{Kind: "comp"}, 0},
			"a wildcard":   {monitor.Filter{Kind: "%"}, 0},
			"mild or more": {monitor.Filter{Severity: "low"}, 30},
			"critical":     {monitor.Filter{Severity: "critical"}, 0},
			"dismissed":    {monitor.Filter{State: conduct.Dismissed}, 1},
			"open":         {monitor.Filter{Agent: "bot-1", State: conduct.Open}, 9},
		} {
			n := 0
			for before := ""; ; n++ {
				fs, err := w.m.Findings(t.Context(), c.f, before, 1)
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if len(fs) == 0 {
					break
				}
				if before != "" && monitorOrder(fs[0].ID) >= monitorOrder(before) {
					t.Fatalf("%s: %s follows %s", what, fs[0].ID, before)
				}
				before = fs[0].ID
			}
			if n != c.want {
				t.Errorf("%s, kept %v: %d findings, want %d", what, kept, n, c.want)
			}
		}
	}
	for _, f := range []monitor.Filter{{Severity: "grave"}, {State: "perhaps"}} {
		if _, err := w.m.Findings(t.Context(), f, "", 1); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("Findings(%+v): %v, want authz.ErrInvalid", f, err)
		}
	}
	if _, err := w.m.Findings(t.Context(), monitor.Filter{}, "x", 1); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("Findings before no id: %v, want authz.ErrInvalid", err)
	}
}

func monitorOrder(id string) int64 {
	seq, n, _ := conduct.ParseID(id)
	return seq<<16 | int64(n)
}
