package monitor_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

// A faulty store fails when it is told to: before or after it has done what was asked for.
type faulty struct {
	monitor.Store
	fail func() (before, after bool)
}

var errDown = errors.New("store is down")

func (f *faulty) do(call func() error) error {
	before, after := f.fail()
	if before {
		return errDown
	}
	if err := call(); err != nil {
		return err
	}
	if after {
		return errDown
	}
	return nil
}

func (f *faulty) PutMonitorHead(ctx context.Context, old, next monitor.Head) error {
	return f.do(func() error { return f.Store.PutMonitorHead(ctx, old, next) })
}

func (f *faulty) PutMonitorAgents(ctx context.Context, epoch int64, ks []monitor.Kept) error {
	return f.do(func() error { return f.Store.PutMonitorAgents(ctx, epoch, ks) })
}

func (f *faulty) SweepMonitor(ctx context.Context, h monitor.Head, ks []monitor.Kept) error {
	return f.do(func() error { return f.Store.SweepMonitor(ctx, h, ks) })
}

func (f *faulty) PutFindings(ctx context.Context, format int64, fs []conduct.Finding) error {
	return f.do(func() error { return f.Store.PutFindings(ctx, format, fs) })
}

// Replicas that share tables, each at its own pace, some of them stopped and begun again, while others
// write, with a store that fails now and then, leave in the tables what a monitor that is begun anew can go on from.
func TestReplicas(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	w.live(rand.New(rand.NewPCG(13, 14)), 10, 900)
	want, findings := w.m.State(), all(t, w.m, 100)
	loaded := 0
	rapid.Check(t, func(rt *rapid.T) {
		head, _, err := w.db.MonitorHead(ctx)
		if err == nil {
			err = w.db.PutMonitorHead(ctx, head, monitor.Head{Epoch: head.Epoch + 1})
		}
		if err != nil {
			rt.Fatal(err)
		}
		failing, busy := true, -1
		var replicas []*monitor.Monitor
		store := &faulty{Store: w.db, fail: func() (before, after bool) {
			if !failing {
				return false, false
			}
			n := rapid.IntRange(0, 19).Draw(rt, "fails")
			if n > 12 && n < 18 && busy >= 0 { // another replica writes in between
				first := busy
				busy = -1
				if err := replicas[(first+n%2+1)%len(replicas)].Keep(ctx); err != nil && !errors.Is(err, errDown) {
					rt.Fatal(err)
				}
				busy = first
			}
			return n == 18, n == 19
		}}
		begin := func() *monitor.Monitor {
			m := monitor.New(monitor.Config{Store: store, Log: w, Catalog: w.catalog})
			if err := m.Load(ctx); err != nil {
				rt.Fatal(err)
			}
			return m
		}
		replicas = []*monitor.Monitor{begin(), begin(), begin()}
		apply := func(m *monitor.Monitor, to int64) {
			for seq := m.Seq(); seq < to; seq++ {
				if err := m.Apply(ctx, w.log[seq]); m.Seq() != seq+1 {
					rt.Fatal(err)
				}
			}
		}
		for range rapid.IntRange(5, 25).Draw(rt, "steps") {
			i := rapid.IntRange(0, len(replicas)-1).Draw(rt, "replica")
			m := replicas[i]
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0:
				replicas[i] = begin() // what it knew is lost
			case 1, 2, 3, 4:
				busy = i
				err := m.Keep(ctx)
				busy = -1
				if err != nil && !errors.Is(err, errDown) {
					rt.Fatal(err)
				}
			default:
				apply(m, min(m.Seq()+rapid.Int64Range(1, 200).Draw(rt, "entries"), int64(len(w.log))))
			}
		}
		failing = false
		m := begin()
		if m.Seq() > 0 {
			loaded++
		}
		apply(m, int64(len(w.log)))
		if !bytes.Equal(m.State(), want) {
			rt.Fatal("what a new replica concludes from what was kept differs")
		}
		// The others bring in order what they meet.
		for _, m := range append(replicas, m) {
			apply(m, int64(len(w.log)))
			if !bytes.Equal(m.State(), want) {
				rt.Fatal("what an old replica concludes differs")
			}
			if err := m.Keep(ctx); err != nil {
				rt.Fatal(err)
			}
			again := begin()
			if again.Seq() != int64(len(w.log)) || !bytes.Equal(again.State(), want) {
				rt.Fatalf("after all is kept, Seq() = %d, want %d and the same state", again.Seq(), len(w.log))
			}
		}
		if diff := cmp.Diff(findings, all(t, begin(), 50)); diff != "" {
			rt.Fatalf("findings (-want +got):\n%s", diff)
		}
	})
	if loaded == 0 && !testing.Short() {
		t.Error("nothing was ever loaded")
	}
}

// What a newer program keeps an older one leaves alone.
func TestNewerFormat(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	w.live(rand.New(rand.NewPCG(15, 16)), 4, 100)
	newer := monitor.Head{Seq: 3, Format: monitor.Format + 1, State: []byte("x")}
	if err := w.db.PutMonitorHead(ctx, monitor.Head{}, newer); err != nil {
		t.Fatal(err)
	}
	if err := w.m.Keep(ctx); err != nil {
		t.Fatal(err)
	}
	if h, _, err := w.db.MonitorHead(ctx); err != nil || h.Format != newer.Format || h.Seq != 3 {
		t.Errorf("after Keep the head is %+v, %v, want %+v", h, err, newer)
	}
	m := w.monitor()
	if err := m.Load(ctx); err != nil || m.Seq() != 0 {
		t.Errorf("Load of a newer format: %v, Seq() = %d, want 0", err, m.Seq())
	}
}

// A store that is down holds up the log only when there is no more room for findings, and none is lost.
func TestStoreDown(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	down := true
	m := monitor.New(monitor.Config{Store: &faulty{Store: w.db, fail: func() (bool, bool) { return down, false }}, Log: w, Catalog: w.catalog})
	w.m = m
	w.publish(abroad)
	var agents []*registration
	for i := range 10 {
		agents = append(agents, bot(string(rune('a'+i)), "team"))
		w.put(agents[i])
	}
	var err error
	made := 0
	for ; err == nil && made < 20_000; made++ {
		if made%10 == 0 {
			w.now = w.now.Add(61 * 60 * 1e9)
		}
		_, err = w.record("decision.made", "pep:gateway", decision(w.now, agents[made%10], work))
	}
	if !errors.Is(err, errDown) || m.Seq() != int64(len(w.log))-1 {
		t.Fatalf("with a store that is down, after %d findings: %v, Seq() = %d", made, err, m.Seq())
	}
	if errors.Is(err, authz.ErrInvalid) || errors.Is(err, authz.ErrConflict) || errors.Is(err, authz.ErrNotFound) {
		t.Fatalf("%v would be taken for a verdict", err)
	}
	down = false
	if err := m.Apply(ctx, w.log[len(w.log)-1]); err != nil {
		t.Fatal(err)
	}
	if err := m.Keep(ctx); err != nil {
		t.Fatal(err)
	}
	if m.Queued() != 0 {
		t.Errorf("%d findings are still not written", m.Queued())
	}
	if got := len(all(t, m, 1000)); got != made {
		t.Errorf("%d findings are kept, want %d", got, made)
	}
}

// What is known when Run ends is kept.
func TestRun(t *testing.T) {
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.m.Run(ctx) }()
	w.live(rand.New(rand.NewPCG(17, 18)), 5, 300)
	stop()
	if err := <-done; err != nil {
		t.Fatalf("Run: %v", err)
	}
	m := w.monitor()
	if err := m.Load(t.Context()); err != nil || m.Seq() != int64(len(w.log)) || !bytes.Equal(m.State(), w.m.State()) {
		t.Errorf("after Run, Load: %v, Seq() = %d, want %d and the same state", err, m.Seq(), len(w.log))
	}
}
