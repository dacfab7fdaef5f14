package monitor_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// A finding that grows graver is what decisions see at once, not only after a restart.
func TestGraverRepetitionIsSeen(t *testing.T) {
	w := newWorld(t)
	w.publish(abroad)
	g := bot("a", "team")
	w.put(g)
	rec := decision(w.now, g, work)
	rec.Facts.Country = "" // cannot be shown to be allowed: low
	w.must(audit.DecisionMade, "pep:gateway", rec)
	if _, c := w.m.Conduct("a", "write", w.now); c.Gravest != 1 {
		t.Fatalf("the gravest of one low finding is %d, want 1", c.Gravest)
	}
	generation := w.m.Generation()
	w.does(g, work) // from where it must not be: medium
	if _, c := w.m.Conduct("a", "write", w.now); c.Gravest != 2 || len(all(t, w.m, 10)) != 1 {
		t.Errorf("after a graver repetition the gravest is %d of %d findings, want 2 of 1", c.Gravest, len(all(t, w.m, 10)))
	}
	if w.m.Generation() == generation {
		t.Error("what decisions may depend on has changed, and the generation has not")
	}
}

// Giving a lowered agent to somebody else does not clear its owner: the next agent starts as low.
func TestTransferIsNoFreshStart(t *testing.T) {
	w := newWorld(t)
	g := bot("a", "team")
	w.put(g)
	w.sink(g)
	low := w.level("a")
	g.owner = "others"
	w.put(g)
	if got := w.level("a"); got != low {
		t.Errorf("with another owner the agent is at %s, want %s", got, low)
	}
	for _, owner := range []string{"team", "others"} {
		next := bot("next-of-"+owner, owner)
		next.purpose = "of " + owner // of which nothing is known
		w.put(next)
		if got := w.level(authz.AgentID("next-of-" + owner)); got != low {
			t.Errorf("the next agent of %s starts at %s, want %s", owner, got, low)
		}
	}
}

// When rules change while there are more agents to look at than an entry may, a monitor that is started from
// what was kept looks at them in the same order as one that was not.
func TestRestartWhileRulesChange(t *testing.T) {
	w := newWorld(t)
	w.publish(abroad)
	for i := range 700 {
		g := bot(fmt.Sprintf("a%d", i), "team")
		w.put(g)
		if i%3 == 0 { // a finding, which fades sooner by the rules to come
			w.does(g, work)
		}
		w.now = w.now.Add(time.Second)
	}
	w.now = w.now.Add(3 * time.Hour)
	w.publish("conduct: {keep: 1h, deviation: off, escalation: off, performance: off, compliance: off}")
	if err := w.m.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	seq := w.m.Seq()
	w.now = w.now.Add(time.Second)
	w.must(audit.Heartbeat, "safeconduct", unknown)
	want := w.m.State()
	m := w.monitor()
	if err := m.Load(t.Context()); err != nil || m.Seq() != seq {
		t.Fatalf("Load: %v, Seq %d, want %d", err, m.Seq(), seq)
	}
	if err := m.Apply(t.Context(), w.log[seq]); err != nil {
		t.Fatal(err)
	}
	if got := m.State(); !bytes.Equal(got, want) {
		t.Errorf("the state differs in %d bytes from the one without a restart", differing(got, want))
	}
}

// Receipts that are due when compliance is turned off are forgotten, not kept for when it is on again.
func TestComplianceOffForgetsReceipts(t *testing.T) {
	const receipts = "conduct: {deviation: off, escalation: off, performance: off, compliance: {receipts: {within: 10m, classes: [write]}}}"
	w := newWorld(t)
	w.publish(receipts)
	g := bot("a", "team")
	w.put(g)
	w.does(g, work)
	w.publish(usual)
	w.now = w.now.Add(time.Hour)
	w.must(audit.Heartbeat, "safeconduct", unknown)
	w.publish(receipts)
	w.now = w.now.Add(time.Hour)
	w.must(audit.Heartbeat, "safeconduct", unknown)
	if got := all(t, w.m, 10); len(got) != 0 {
		t.Errorf("a receipt that was not asked for when it came due is found missing: %+v", got)
	}
}

// What an administrator tries out, the agent has not done: it speaks neither against it nor for it.
func TestQuestionsOfAdministratorsAreNoActs(t *testing.T) {
	w := newWorld(t)
	w.publish(abroad)
	g := bot("a", "team")
	w.put(g)
	rec := decision(w.now, g, work)
	rec.Request.Observed.PEP = "admin:anna"
	w.must(audit.DecisionMade, "admin:anna", rec)
	if rep, err := w.m.Report("a", w.now); err != nil || rep.Decisions != 0 || len(rep.Findings) != 0 {
		t.Errorf("after a question of an administrator: %+v, %v, want nothing of it", rep, err)
	}
	w.does(g, work)
	if rep, err := w.m.Report("a", w.now); err != nil || rep.Decisions != 1 || len(rep.Findings) != 1 {
		t.Errorf("after an act: %+v, %v, want one finding", rep, err)
	}
}
