package performance_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/performance"
)

var monday = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

// A desk tells a State of outcomes, five hours apart, and keeps what it emits.
type desk struct {
	performance.State
	rules  catalog.PerformanceRules
	at     time.Time
	seq    int64
	frozen bool
	drafts []conduct.Draft
}

func newDesk() *desk {
	return &desk{rules: catalog.DefaultConduct().Performance, at: monday, seq: 100}
}

// tell tells of the outcome of an allowed act in money, by a person unless change says otherwise.
func (d *desk) tell(change func(*conduct.Outcome)) {
	d.at = d.at.Add(5 * time.Hour)
	d.seq += 2
	o := conduct.Outcome{
		Seq: d.seq, At: d.at, Decision: d.seq - 1, Agent: "bot", Class: "money", Action: "pay", Session: fmt.Sprint("s", d.seq),
		Decided: d.at.Add(-time.Minute), Allowed: true, Reporter: conduct.ReporterPerson, By: "admin:ann",
	}
	change(&o)
	d.Outcome(nil, &d.rules, &o, !d.frozen, func(f conduct.Draft) { d.drafts = append(d.drafts, f) })
}

// judge tells whether an act was right, of which the agent said how sure it was; below 0 it said nothing.
func (d *desk) judge(right bool, said float64) {
	d.tell(func(o *conduct.Outcome) {
		if o.Result = conduct.ResultWrong; right {
			o.Result = conduct.ResultRight
		}
		if said >= 0 {
			o.Said = &said
		}
	})
}

// run tells, as an enforcement point, how an act went.
func (d *desk) run(fault conduct.Fault, latency, size int64) {
	d.tell(func(o *conduct.Outcome) {
		o.Reporter, o.By, o.Fault, o.Latency, o.Size = conduct.ReporterPEP, "pep:gate", fault, latency, size
	})
}

// kinds returns the kinds of what was emitted, in order, each once.
func (d *desk) kinds() []conduct.Kind {
	var out []conduct.Kind
	for _, f := range d.drafts {
		if !slices.Contains(out, f.Kind) {
			out = append(out, f.Kind)
		}
	}
	return out
}

func (d *desk) want(t *testing.T, kinds ...conduct.Kind) {
	t.Helper()
	if diff := cmp.Diff(kinds, d.kinds()); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	for _, f := range d.drafts {
		if n := len(f.Evidence); n == 0 || n > conduct.MaxEvidence || f.Evidence[n-1] > d.seq || !slices.IsSorted(f.Evidence) {
			t.Errorf("%s: evidence %v", f.Kind, f.Evidence)
		}
		if !strings.HasSuffix(f.Sentence, ".") || len(f.Sentence) > 300 {
			t.Errorf("%s: %q is no sentence", f.Kind, f.Sentence)
		}
	}
}

func TestAccuracy(t *testing.T) {
	d := newDesk()
	d.rules.HalfLife = 0 // nine are nine
	for range 9 {
		d.judge(false, -1)
	}
	d.want(t) // too little is known
	d.judge(false, -1)
	d.want(t, performance.KindAccuracy)
	want := conduct.Draft{Kind: performance.KindAccuracy, Severity: conduct.High, Class: conduct.Every, Evidence: []int64{118, 120},
		Sentence: "Of the agent's acts that were judged, 0 % were right; at least 80 % should be."}
	if diff := cmp.Diff(want, d.drafts[0]); diff != "" {
		t.Errorf("finding (-want +got):\n%s", diff)
	}

	good := newDesk()
	for i := range 500 {
		good.judge(i%10 != 0, -1) // nine in ten
	}
	good.want(t)
	s := good.Standing()
	if s.Judged < 50 || s.Accuracy < 0.8 || s.Accuracy > 0.9 {
		t.Errorf("of nine in ten: %+v", s)
	}
	for i := range 200 {
		good.judge(i%2 != 0, -1)
	}
	good.want(t, performance.KindAccuracy)
	if got := good.drafts[0].Severity; got != conduct.Medium {
		t.Errorf("severity %v, want medium", got)
	}
}

// What is not known, not done, or said by the agent for itself counts for nothing.
func TestNotCounted(t *testing.T) {
	d := newDesk()
	for range 200 {
		d.tell(func(o *conduct.Outcome) { o.Result, o.Allowed = conduct.ResultWrong, false })
		d.tell(func(o *conduct.Outcome) {
			o.Result, o.Reporter, o.By = conduct.ResultRight, conduct.ReporterAgent, "agent:bot"
		})
		d.tell(func(o *conduct.Outcome) {
			o.Reporter, o.By, o.Latency = conduct.ReporterAgent, "agent:bot", 1<<40
		})
		d.tell(func(o *conduct.Outcome) { o.Latency, o.Size = 1<<40, 1<<40 }) // a person has no clock there
	}
	d.want(t)
	if diff := cmp.Diff(performance.Standing{Bins: []performance.Bin{}}, d.Standing()); diff != "" {
		t.Errorf("standing (-want +got):\n%s", diff)
	}
	d.rules.Off = true
	for range 20 {
		d.judge(false, 1)
	}
	d.want(t)
	var none performance.State
	if got := none.Standing(); got.Judged != 0 || got.Bins == nil {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestFaults(t *testing.T) {
	d := newDesk()
	for i := range 300 {
		fault := conduct.FaultNone
		if i%50 == 7 {
			fault = conduct.FaultTool
		}
		d.run(fault, 0, 0)
	}
	d.want(t)
	if got := d.Standing().ErrorRate; got < 0.01 || got > 0.06 {
		t.Errorf("error rate %v, want about 0.02", got)
	}
	for range 6 {
		d.run(conduct.FaultTime, 0, 0)
	}
	d.want(t, performance.KindErrors)
	if f := d.drafts[0]; f.Severity != conduct.Low || !strings.Contains(f.Sentence, "used to") {
		t.Errorf("a rise: %+v", f)
	}

	bad := newDesk()
	for i := range 60 {
		fault := conduct.FaultNone
		if i%2 == 0 {
			fault = conduct.FaultTool
		}
		bad.run(fault, 0, 0)
	}
	bad.want(t, performance.KindErrors)
	if f := bad.drafts[0]; f.Severity != conduct.Medium || f.Class != conduct.Money || len(f.Evidence) != 2 {
		t.Errorf("many faults: %+v", f)
	}
}

func TestSchema(t *testing.T) {
	d := newDesk()
	for range 100 { // one in five is not again and again
		for range 4 {
			d.run(conduct.FaultNone, 0, 0)
		}
		d.run(conduct.FaultSchema, 0, 0)
	}
	d.want(t)
	d.run(conduct.FaultSchema, 0, 0)
	d.run(conduct.FaultSchema, 0, 0)
	if got := d.kinds(); len(got) != 1 || got[0] != performance.KindSchema {
		t.Errorf("three in a row: %v", got)
	}
}

// Latency and size are compared to the agent's own past: a rise that stays is found, one act is not.
func TestDrift(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	around := func(x int64) int64 { return x/2 + rng.Int64N(x) }
	for _, c := range []struct {
		kind conduct.Kind
		run  func(d *desk, x int64)
	}{
		{performance.KindLatency, func(d *desk, x int64) { d.run(conduct.FaultNone, x, around(2000)) }},
		{performance.KindSize, func(d *desk, x int64) { d.run(conduct.FaultNone, around(100), x) }},
	} {
		d := newDesk()
		for range 2000 {
			c.run(d, around(500))
		}
		c.run(d, 1<<40)
		c.run(d, 0)
		d.want(t)
		d.frozen = true
		n := 0
		for len(d.drafts) == 0 && n < 100 {
			c.run(d, around(2000))
			n++
		}
		d.want(t, c.kind)
		if n > 10 {
			t.Errorf("%s: found after %d, want at most 10", c.kind, n)
		}
		// Nothing of it has become normal, so that it is found again and again.
		for range 1000 {
			c.run(d, around(2000))
		}
		if got := len(d.drafts); got < 100 {
			t.Errorf("%s: found %d times while nothing is learned, want at least 100", c.kind, got)
		}
		d.frozen, d.drafts = false, nil
		for range 500 {
			c.run(d, around(2000))
		}
		d.drafts = nil
		for range 500 {
			c.run(d, around(2000))
		}
		d.want(t) // what is learned is normal
	}
}

func TestLoop(t *testing.T) {
	rules := catalog.DefaultConduct().Performance
	event := func(i int, session, args string) *conduct.Event {
		return &conduct.Event{Seq: int64(i), At: monday, Session: session, Action: "pay", Resource: authz.Ref{Type: "Account", ID: "own"},
			Args: []byte(args), Class: conduct.Money, Effect: authz.Allow}
	}
	// asks returns how many findings a sequence of calls gives, each a letter; capitals are of another session.
	asks := func(calls string, change func(*conduct.Event)) (drafts []conduct.Draft) {
		var s performance.State
		for i, c := range calls {
			ev := event(i, "s", `{"n":"`+strings.ToLower(string(c))+`"}`)
			if c < 'a' {
				ev.Session = "S"
			}
			if change != nil {
				change(ev)
			}
			s.Observe(nil, &rules, ev, true, func(d conduct.Draft) { drafts = append(drafts, d) })
		}
		return drafts
	}
	for _, c := range []struct {
		calls string
		want  int
	}{
		{"aaaa", 0},
		{"aaaaa", 1},
		{"aaaaaa", 2},
		{"abababab", 0},
		{"ababababab", 2},             // both
		{"aAaAaAaA", 0},               // four each in two sessions
		{"abcabcabcabc", 0},           // four each
		{"aaaabcdefghijk", 0},         // not again
		{"aabbaaccddae", 1},           // five of the last twelve
		{"abcdefgabcdefgabcdefga", 0}, // too far apart
		{strings.Repeat("a", 1000), 996},
	} {
		got := asks(c.calls, nil)
		if len(got) != c.want {
			t.Errorf("%.30s: %d findings, want %d", c.calls, len(got), c.want)
		}
	}
	got := asks("aaaaa", nil)
	want := []conduct.Draft{{Kind: performance.KindLoop, Severity: conduct.Medium, Class: conduct.Money, Evidence: []int64{4},
		Sentence: `The agent repeats itself: it has asked for the same "pay" of "Account", with the same arguments, 5 times of late.`}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a loop (-want +got):\n%s", diff)
	}
	if got := asks("aaaaa", func(ev *conduct.Event) { ev.Class = conduct.Read }); len(got) != 1 || got[0].Severity != conduct.Low {
		t.Errorf("of reading: %+v, want one that is low", got)
	}
	if got := asks("aaaaa", func(ev *conduct.Event) { ev.Issuing = true }); len(got) != 0 {
		t.Errorf("of asking for passports: %+v", got)
	}
	n := 0
	if got := asks("aaaaaaaa", func(ev *conduct.Event) { n++; ev.Resource.ID = fmt.Sprint(strings.Repeat("x", 1000), n) }); len(got) != 0 {
		t.Errorf("of other resources with long names: %+v", got)
	}
	rules.Loop = 20
	if got := asks(strings.Repeat("a", 20), nil); len(got) != 1 {
		t.Errorf("of twenty in a row, which the rules say: %d findings, want 1", len(got))
	}
}
