package monitor_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

// points returns the history of every agent of w.live up to w's time.
func points(t *testing.T, w *world, m *monitor.Monitor, agents int) map[string][]monitor.Point {
	t.Helper()
	out := map[string][]monitor.Point{}
	for i := range agents {
		id := fmt.Sprintf("bot-%d", i)
		ps, err := m.History(t.Context(), authz.AgentID(id), start, w.now)
		if err != nil && !errors.Is(err, authz.ErrNotFound) {
			t.Fatal(err)
		}
		out[id] = ps
	}
	return out
}

// How trust moved follows from the log: what was kept and gone on from says the same as what is worked out anew.
func TestHistoryReplay(t *testing.T) {
	w := newWorld(t)
	w.live(rand.New(rand.NewPCG(21, 22)), 8, 600)
	if err := w.m.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept := len(w.log)
	w.live(rand.New(rand.NewPCG(23, 24)), 8, 1000)
	want := points(t, w, w.m, 8)
	moved := 0
	for _, ps := range want {
		for i, p := range ps {
			if i > 0 && i < len(ps)-1 && p.Nth <= ps[i-1].Nth {
				t.Errorf("point %d has number %d, the one before %d", i, p.Nth, ps[i-1].Nth)
			}
			for _, b := range p.Classes {
				if b.Score > b.Mean || b.Mean > b.Upper {
					t.Errorf("entry %d: the mean %v of %s is not between %v and %v", p.Seq, b.Mean, b.Class, b.Score, b.Upper)
				}
			}
			moved += len(p.Moved)
		}
	}
	if moved < 50 {
		t.Fatalf("only %d things moved trust", moved)
	}
	again := w.monitor() // another process, which had kept less
	if err := again.Load(t.Context()); err != nil || again.Seq() != int64(kept) {
		t.Fatalf("Load: entry %d, %v, want %d", again.Seq(), err, kept)
	}
	for _, e := range w.log[kept:] {
		again.Apply(t.Context(), e) // some change nothing
	}
	if diff := cmp.Diff(want, points(t, w, again, 8)); diff != "" {
		t.Errorf("gone on from what was kept (-want +got):\n%s", diff)
	}
	if err := again.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := w.monitor()
	if err := last.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, points(t, w, last, 8)); diff != "" {
		t.Errorf("all kept (-want +got):\n%s", diff)
	}
	anew := newWorld(t)
	anew.log, anew.yaml, anew.now = w.log, w.yaml, w.now
	for _, e := range w.log {
		anew.m.Apply(t.Context(), e)
	}
	if diff := cmp.Diff(want, points(t, anew, anew.m, 8)); diff != "" {
		t.Errorf("from the beginning (-want +got):\n%s", diff)
	}
}

// Points are bounded, and the newest are all there.
func TestHistoryBound(t *testing.T) {
	w := newWorld(t)
	g := bot("often", "team")
	w.put(g)
	for i := range 3000 {
		w.now = w.now.Add(time.Minute)
		w.must("trust.put", "admin:bob", map[string]any{"agent": g.id, "class": "every", "level": []string{"low", "high"}[i%2], "why": "w"})
	}
	if err := w.m.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	ps, err := w.m.History(t.Context(), authz.AgentID(g.id), start, w.now)
	if err != nil {
		t.Fatal(err)
	}
	if len(ps) < 256 || len(ps) > 1025 {
		t.Errorf("%d points are kept of 3001, want between 256 and 1024, and now", len(ps))
	}
	for i := len(ps) - 250; i < len(ps)-1; i++ {
		if ps[i].Seq != ps[i-1].Seq+1 {
			t.Errorf("entry %d follows %d", ps[i].Seq, ps[i-1].Seq)
		}
	}
	if _, err := w.m.History(t.Context(), "nobody", start, w.now); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("History(nobody): %v, want not found", err)
	}
	if gl, ok := w.m.Glance(authz.AgentID(g.id), w.now); !ok || gl.Level.String() != "high" || gl.Open != 0 {
		t.Errorf("Glance = %+v, %v", gl, ok)
	}
}
