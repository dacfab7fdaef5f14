package audit_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
)

// A journal remembers what callers were told.
type journal struct {
	mu    sync.Mutex
	acked map[int64]string
	given map[string]bool // everything that was ever handed in
}

// check verifies the whole log and compares it with what callers were told: what was acknowledged
// is there under its number, and nothing is there twice or out of thin air.
func (j *journal) check(t testing.TB, store audit.Store) {
	t.Helper()
	mustVerify(t, store)
	j.mu.Lock()
	defer j.mu.Unlock()
	seen := map[string]int64{}
	es := all(t, store)
	for _, e := range es {
		if e.Kind == audit.Heartbeat {
			continue
		}
		if was, ok := seen[string(e.Body)]; ok {
			t.Fatalf("%s is recorded as %d and as %d", e.Body, was, e.Seq)
		}
		seen[string(e.Body)] = e.Seq
		if !j.given[string(e.Body)] {
			t.Fatalf("entry %d, %s, was never handed in", e.Seq, e.Body)
		}
	}
	for seq, body := range j.acked {
		if seen[body] != seq {
			t.Fatalf("%s was acknowledged as %d and is recorded as %d", body, seq, seen[body])
		}
	}
}

func (j *journal) record(ctx context.Context, l *audit.Log, bodies ...string) error {
	var ds []audit.Draft
	j.mu.Lock()
	for _, b := range bodies {
		j.given[b] = true
		ds = append(ds, audit.Draft{Kind: "k", Actor: "a", Body: []byte(b)})
	}
	j.mu.Unlock()
	seq, err := l.Record(ctx, ds...)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, b := range bodies {
		if was, ok := j.acked[seq+int64(i)]; ok {
			return fmt.Errorf("number %d was given to %s and to %s", seq+int64(i), was, b)
		}
		j.acked[seq+int64(i)] = b
	}
	return nil
}

// Two replicas, many callers, and stores that fail in every way at random: the log stays whole,
// acknowledged entries stay, and service resumes by itself. The log is verified again and again.
func TestRandomFaults(t *testing.T) {
	for s := range uint64(12) {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomFaults(t, s) })
		})
	}
}

func randomFaults(t *testing.T, seed uint64) {
	memory := &audittest.Memory{}
	j := &journal{acked: map[int64]string{}, given: map[string]bool{}}
	var (
		mu     sync.Mutex
		rnd    = rand.New(rand.NewPCG(seed, 7))
		rate   = 0.0 // how many calls of a hundred fail
		stores [2]*audittest.Faulty
		logs   [2]*audit.Log
	)
	for i := range stores {
		stores[i] = &audittest.Faulty{Store: memory}
		stores[i].On(func(string) audittest.Cue {
			mu.Lock()
			defer mu.Unlock()
			if rnd.Float64() >= rate {
				return audittest.Fine
			}
			return audittest.Cue(1 + rnd.IntN(4))
		})
		logs[i], _ = start(t, stores[i], audit.Config{BatchEntries: 20, QueueEntries: 40, Patience: 200 * time.Millisecond,
			Heartbeat: time.Second, MemoryBytes: 3000})
	}
	follower := follow(t, logs[1], audit.FollowerConfig{})
	refused := 0
	for round, r := range []float64{0, 0.1, 0.5, 0.9, 0, 1, 0.3} {
		mu.Lock()
		rate = r
		mu.Unlock()
		var wg sync.WaitGroup
		for c := range 12 {
			wg.Go(func() {
				for i := range 8 {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					err := j.record(ctx, logs[c%2], fmt.Sprintf(`{"id":"%d/%d/%d"}`, round, c, i))
					cancel()
					switch {
					case err == nil:
					case errors.Is(err, authz.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded):
						mu.Lock()
						refused++
						mu.Unlock()
					default:
						t.Error(err)
					}
				}
			})
		}
		wg.Go(func() { // what came late lands in the midst of it
			for range 20 {
				time.Sleep(50 * time.Millisecond)
				stores[0].Land()
				stores[1].Land()
				mustVerify(t, memory)
			}
		})
		wg.Wait()
		j.check(t, memory)
	}
	mu.Lock()
	rate = 0
	mu.Unlock()
	time.Sleep(5 * time.Second)
	stores[0].Land()
	stores[1].Land()
	for i, l := range logs {
		if err := j.record(t.Context(), l, fmt.Sprintf(`{"id":"last %d"}`, i)); err != nil {
			t.Errorf("replica %d has not resumed: %v", i, err)
		}
	}
	time.Sleep(time.Second)
	if err := follower.Fresh(); err != nil {
		t.Errorf("follower has not resumed: %v", err)
	}
	j.check(t, memory)
	head, err := memory.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if follower.Seq() < head.Entries-2 {
		t.Errorf("follower is at %d of %d", follower.Seq(), head.Entries)
	}
	if refused == 0 {
		t.Error("no call was refused: the faults did not bite")
	}
}

// An append whose outcome is unknown is looked up, not repeated.
func TestUnknownOutcome(t *testing.T) {
	for _, cue := range []audittest.Cue{audittest.Before, audittest.After} {
		synctest.Test(t, func(t *testing.T) {
			memory := &audittest.Memory{}
			store := &audittest.Faulty{Store: memory}
			l, _ := start(t, store, audit.Config{Heartbeat: -1})
			fill(t, l, 1)
			fails := 1
			store.On(func(m string) audittest.Cue {
				if m == "Append" && fails > 0 {
					fails--
					return cue
				}
				return audittest.Fine
			})
			seq, err := l.Record(t.Context(), draft("k", `{"once":true}`))
			if err != nil || seq != 2 {
				t.Errorf("cue %d: Record = %d, %v, want 2", cue, seq, err)
			}
			if n := len(all(t, memory)); n != 2 {
				t.Errorf("cue %d: %d entries, want 2", cue, n)
			}
			mustVerify(t, memory)
		})
	}
}

// An append that was given up may land later; nothing that comes after is lost or misnumbered.
func TestLateAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := &audittest.Memory{}
		store := &audittest.Faulty{Store: memory}
		l, _ := start(t, store, audit.Config{Heartbeat: -1, Patience: 100 * time.Millisecond})
		fill(t, l, 1)
		store.On(func(m string) audittest.Cue {
			if m == "Append" {
				return audittest.Late
			}
			return audittest.Fine
		})
		if _, err := l.Record(t.Context(), draft("k", `{"late":true}`)); !errors.Is(err, authz.ErrUnavailable) {
			t.Errorf("Record = %v, want ErrUnavailable", err)
		}
		store.On(nil)
		store.Land() // several attempts: one of them at most may count
		seq, err := l.Record(t.Context(), draft("k", `{"next":true}`))
		if err != nil || seq != 3 {
			t.Errorf("Record = %d, %v, want 3", seq, err)
		}
		if n := len(all(t, memory)); n != 3 {
			t.Errorf("%d entries, want 3", n)
		}
		time.Sleep(time.Second)
		mustVerify(t, memory)
	})
}

// While the store is gone callers are refused soon, not after everybody's patience in turn.
func TestOutageRefusesSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &audittest.Faulty{Store: &audittest.Memory{}}
		l, _ := start(t, store, audit.Config{Heartbeat: -1})
		fill(t, l, 1)
		store.On(func(string) audittest.Cue { return audittest.Before })
		begin := time.Now()
		for range 10 {
			if _, err := l.Record(t.Context(), draft("k", `{}`)); !errors.Is(err, authz.ErrUnavailable) {
				t.Errorf("Record = %v, want ErrUnavailable", err)
			}
		}
		if took := time.Since(begin); took > 4*time.Second {
			t.Errorf("10 refusals took %v", took)
		}
		store.On(nil)
		fill(t, l, 1)
	})
}

// What was queued when the log is stopped is still committed.
func TestStopFinishesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := &audittest.Memory{}
		j := &journal{acked: map[int64]string{}, given: map[string]bool{}}
		l, stop := start(t, memory, audit.Config{Heartbeat: -1, BatchEntries: 5})
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if err := j.record(t.Context(), l, fmt.Sprintf(`{"i":%d}`, i)); err != nil && !errors.Is(err, authz.ErrUnavailable) {
					t.Error(err)
				}
			})
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		j.check(t, memory)
		if n := len(all(t, memory)); n != len(j.acked) {
			t.Errorf("%d entries, %d acknowledged", n, len(j.acked))
		}
		if r := mustVerify(t, memory); r.Signed != r.Batches {
			t.Errorf("%d of %d batches are signed", r.Signed, r.Batches)
		}
	})
}
