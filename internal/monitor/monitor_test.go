package monitor_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// all returns all findings, newest first, read page by page.
func all(t testing.TB, m *monitor.Monitor, limit int) (found []conduct.Finding) {
	t.Helper()
	for before := ""; ; {
		fs, err := m.Findings(context.Background(), monitor.Filter{}, before, limit)
		if err != nil {
			t.Fatalf("Findings: %v", err)
		}
		if found = append(found, fs...); len(fs) < limit {
			return found
		}
		before = fs[len(fs)-1].ID
	}
}

// The same log gives the same state and the same findings: taken in at once, or with restarts anywhere, with
// or without what was kept, and whatever is read meanwhile.
func TestDeterminism(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	w.live(rand.New(rand.NewPCG(1, 2)), 12, 1500)
	want, wantFindings := w.m.State(), all(t, w.m, 7)
	if len(wantFindings) < 10 {
		t.Fatalf("%d findings are too few to tell anything", len(wantFindings))
	}
	log := w.log

	restarted := 0
	rapid.Check(t, func(rt *rapid.T) {
		// Begun anew on tables that hold nothing of agents, or what the run before has left there.
		if rapid.Bool().Draw(rt, "empty") {
			head, _, err := w.db.MonitorHead(ctx)
			if err == nil {
				err = w.db.PutMonitorHead(ctx, head, monitor.Head{Epoch: head.Epoch + 1})
			}
			if err != nil {
				rt.Fatal(err)
			}
		}
		m := w.monitor()
		if err := m.Load(ctx); err != nil {
			rt.Fatal(err)
		}
		stops := rapid.SliceOfN(rapid.IntRange(1, len(log)-1), 1, 4).Draw(rt, "stops")
		for seq := m.Seq(); seq < int64(len(log)); {
			e := log[seq]
			if err := m.Apply(ctx, e); err != nil && !errors.Is(err, authz.ErrInvalid) && !errors.Is(err, authz.ErrNotFound) && !errors.Is(err, authz.ErrConflict) {
				rt.Fatalf("entry %d: %v", e.Seq, err)
			}
			seq++
			if e.Seq%7 == 0 {
				m.Conduct("bot-0", "write", e.At.Add(time.Hour))
				m.Report("bot-5", e.At)
			}
			for _, stop := range stops {
				if stop != int(e.Seq) {
					continue
				}
				if restarted == 0 || rapid.Bool().Draw(rt, "keep") {
					if err := m.Keep(ctx); err != nil {
						rt.Fatal(err)
					}
				}
				m = w.monitor()
				if err := m.Load(ctx); err != nil {
					rt.Fatal(err)
				}
				if m.Seq() > seq {
					rt.Fatalf("Seq() = %d after a restart at %d", m.Seq(), seq)
				}
				if m.Seq() > 0 && m.Seq() < int64(len(log)) {
					restarted++
				}
				seq = m.Seq()
			}
			if seq < e.Seq { // each stop once
				stops = nil
			}
		}
		if got := m.State(); !bytes.Equal(got, want) {
			rt.Fatalf("the state differs in %d of %d bytes from the one without restarts", differing(got, want), len(want))
		}
		if diff := cmp.Diff(wantFindings, all(t, m, 100)); diff != "" {
			rt.Fatalf("findings (-want +got):\n%s", diff)
		}
		if err := m.Keep(ctx); err != nil {
			rt.Fatal(err)
		}
		again := w.monitor()
		if err := again.Load(ctx); err != nil || again.Seq() != int64(len(log)) || !bytes.Equal(again.State(), want) {
			rt.Fatalf("Load: %v, Seq %d, want %d and the same state", err, again.Seq(), len(log))
		}
	})
	if restarted == 0 {
		t.Error("nothing was ever loaded")
	}
}

func differing(a, b []byte) (n int) {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			n++
		}
	}
	return n + max(len(a), len(b)) - min(len(a), len(b))
}

// What was kept and is damaged, in part missing, or of another version is not used.
func TestDamage(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	w.live(rand.New(rand.NewPCG(3, 4)), 8, 800)
	want, findings := w.m.State(), all(t, w.m, 100)
	if err := w.m.Keep(ctx); err != nil {
		t.Fatal(err)
	}
	head, _, err := w.db.MonitorHead(ctx)
	if err != nil {
		t.Fatal(err)
	}
	agents, err := w.db.MonitorAgents(ctx, head, "", 100)
	if err != nil || len(agents) < 5 {
		t.Fatal(len(agents), err)
	}
	sound := func(what string) {
		t.Helper()
		m := w.monitor()
		if err := m.Load(ctx); err != nil {
			t.Fatalf("%s: Load: %v", what, err)
		}
		if m.Seq() != 0 {
			t.Errorf("%s: Seq() = %d, want 0", what, m.Seq())
		}
		for _, e := range w.log {
			m.Apply(ctx, e)
		}
		if !bytes.Equal(m.State(), want) {
			t.Errorf("%s: what is worked out anew differs", what)
		}
		if diff := cmp.Diff(findings, all(t, m, 100)); diff != "" {
			t.Errorf("%s: findings (-want +got):\n%s", what, diff)
		}
		if err := m.Keep(ctx); err != nil {
			t.Fatalf("%s: Keep: %v", what, err)
		}
		again := w.monitor()
		if err := again.Load(ctx); err != nil || again.Seq() != int64(len(w.log)) || !bytes.Equal(again.State(), want) {
			t.Errorf("%s: after it was kept again, Load: %v, Seq() = %d, want %d", what, err, again.Seq(), len(w.log))
		}
	}
	epoch := func() int64 {
		t.Helper()
		h, _, err := w.db.MonitorHead(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return h.Epoch
	}
	broken := agents[2]
	broken.State = bytes.Clone(broken.State)
	broken.State[len(broken.State)/2] ^= 1
	for what, damage := range map[string]func() error{
		"a damaged agent": func() error { return w.db.PutMonitorAgents(ctx, epoch(), []monitor.Kept{broken}) },
		"a missing agent": func() error {
			return w.db.SweepMonitor(ctx, monitor.Head{Epoch: epoch(), Seq: head.Seq + 1}, agents[1:2])
		},
		"an agent of another": func() error {
			other := agents[0]
			other.Agent = "stranger"
			return w.db.PutMonitorAgents(ctx, epoch(), []monitor.Kept{other})
		},
		"an agent that was lost": func() error {
			return w.db.PutMonitorAgents(ctx, epoch(), []monitor.Kept{{Agent: agents[1].Agent, Seq: head.Seq}})
		},
		"a damaged head": func() error {
			h, _, err := w.db.MonitorHead(ctx)
			if err != nil {
				return err
			}
			next := h
			next.State = bytes.Clone(h.State)
			next.State[5] ^= 1
			return w.db.PutMonitorHead(ctx, h, next)
		},
		"an older format": func() error {
			h, _, err := w.db.MonitorHead(ctx)
			if err != nil {
				return err
			}
			next := h
			next.Format--
			return w.db.PutMonitorHead(ctx, h, next)
		},
	} {
		if err := damage(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		sound(what)
	}
}

// Tables that somebody has emptied are filled again.
func TestTablesDeleted(t *testing.T) {
	ctx := t.Context()
	for _, table := range []string{"monitor_head", "monitor_agent", "finding"} {
		w := newWorld(t)
		w.live(rand.New(rand.NewPCG(5, 6)), 6, 500)
		want, findings := w.m.State(), all(t, w.m, 100)
		if err := w.m.Keep(ctx); err != nil {
			t.Fatal(err)
		}
		w.db = storetest.Empty(t, w.db, table)
		m := w.monitor()
		if err := m.Load(ctx); err != nil || m.Seq() != 0 {
			t.Errorf("without %s: Load: %v, Seq() = %d, want 0", table, err, m.Seq())
		}
		for _, e := range w.log {
			m.Apply(ctx, e)
		}
		if err := m.Keep(ctx); err != nil {
			t.Fatal(err)
		}
		again := w.monitor()
		if err := again.Load(ctx); err != nil || again.Seq() != int64(len(w.log)) || !bytes.Equal(again.State(), want) {
			t.Errorf("without %s: after it was kept again, Load: %v, Seq() = %d, want %d", table, err, again.Seq(), len(w.log))
		}
		if diff := cmp.Diff(findings, all(t, again, 100)); diff != "" {
			t.Errorf("without %s: findings (-want +got):\n%s", table, diff)
		}
	}
}
