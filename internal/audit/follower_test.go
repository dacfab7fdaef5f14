package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
)

// An applierFunc is an Applier.
type applierFunc func(ctx context.Context, e audit.Entry) error

func (f applierFunc) Apply(ctx context.Context, e audit.Entry) error { return f(ctx, e) }

// follow runs a follower until the test ends.
func follow(t testing.TB, l *audit.Log, cfg audit.FollowerConfig) *audit.Follower {
	t.Helper()
	f := audit.NewFollower(l, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Follower.Run: %v", err)
		}
	})
	return f
}

// A register is a state machine: a body {"v":n} is accepted if n is one more than the value.
type register struct {
	mu sync.Mutex
	v  int
}

func (r *register) Apply(_ context.Context, e audit.Entry) error {
	if e.Kind != "reg.set" {
		return nil
	}
	var body struct{ V int }
	if err := json.Unmarshal(e.Body, &body); err != nil {
		return authz.Errorf(authz.ErrInvalid, "no value")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if body.V != r.v+1 {
		return authz.Errorf(authz.ErrConflict, "value is %d", r.v)
	}
	r.v = body.V
	return nil
}

// Many callers on two replicas try the same changes: each succeeds for one of them, and every
// replica agrees.
func TestCommitVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &audittest.Memory{}
		var (
			regs [2]register
			fs   [2]*audit.Follower
			wins [31]atomic.Int32
			last atomic.Int64
		)
		for i := range fs {
			l, _ := start(t, store, audit.Config{Heartbeat: -1})
			fs[i] = follow(t, l, audit.FollowerConfig{Appliers: []audit.Applier{&regs[i]}})
		}
		var wg sync.WaitGroup
		for c := range 6 {
			wg.Go(func() {
				for v := 1; v <= 30; v++ {
					seq, err := fs[c%2].Commit(t.Context(), draft("reg.set", `{"v":%d}`, v))
					switch {
					case err == nil:
						wins[v].Add(1)
					case !errors.Is(err, authz.ErrConflict):
						t.Errorf("Commit: %v", err)
					}
					last.Store(max(seq, last.Load()))
				}
			})
		}
		wg.Wait()
		for i := range fs {
			if err := fs[i].Wait(t.Context(), last.Load()); err != nil {
				t.Fatal(err)
			}
			if regs[i].v != 30 {
				t.Errorf("replica %d has value %d, want 30", i, regs[i].v)
			}
		}
		for v := 1; v <= 30; v++ {
			if n := wins[v].Load(); n != 1 {
				t.Errorf("value %d was set %d times", v, n)
			}
		}
	})
}

// An applier that fails for an unknown reason is asked again until it succeeds, and nothing is
// decided meanwhile.
func TestApplierRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			broken  atomic.Bool
			applied []int64
		)
		l, _ := start(t, &audittest.Memory{}, audit.Config{Heartbeat: -1})
		f := follow(t, l, audit.FollowerConfig{Appliers: []audit.Applier{
			applierFunc(func(_ context.Context, e audit.Entry) error {
				if broken.Load() {
					return errors.New("disk full")
				}
				applied = append(applied, e.Seq)
				return nil
			}),
			applierFunc(func(context.Context, audit.Entry) error { return authz.Errorf(authz.ErrNotFound, "no such agent") }),
		}})
		time.Sleep(time.Second)
		if err := f.Fresh(); err != nil {
			t.Fatalf("Fresh of an empty log: %v", err)
		}
		broken.Store(true)
		done := make(chan error)
		go func() {
			seq, err := f.Commit(t.Context(), draft("k", `{}`))
			if seq != 1 {
				err = fmt.Errorf("committed as %d: %w", seq, err)
			}
			done <- err
		}()
		time.Sleep(time.Second)
		if err := f.Fresh(); !errors.Is(err, authz.ErrUnavailable) {
			t.Errorf("Fresh while an applier fails = %v, want ErrUnavailable", err)
		}
		broken.Store(false)
		if err := <-done; !errors.Is(err, authz.ErrNotFound) {
			t.Errorf("Commit = %v, want ErrNotFound", err)
		}
		if err := f.Fresh(); err != nil {
			t.Errorf("Fresh after the applier recovered: %v", err)
		}
		if f.Seq() != 1 || len(applied) != 1 {
			t.Errorf("Seq = %d, applied %v, want entry 1 once", f.Seq(), applied)
		}
	})
}

// Fresh fails when the log cannot be read for longer than the bound, and recovers by itself.
func TestFreshNeedsTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &audittest.Faulty{Store: &audittest.Memory{}}
		l, _ := start(t, store, audit.Config{})
		f := audit.NewFollower(l, audit.FollowerConfig{})
		if err := f.Fresh(); !errors.Is(err, authz.ErrUnavailable) {
			t.Errorf("Fresh before Run = %v, want ErrUnavailable", err)
		}
		f = follow(t, l, audit.FollowerConfig{Stale: 5 * time.Second})
		time.Sleep(30 * time.Second)
		if err := f.Fresh(); err != nil {
			t.Errorf("Fresh of a quiet log: %v", err)
		}
		store.On(func(string) audittest.Cue { return audittest.Before })
		time.Sleep(4 * time.Second)
		if err := f.Fresh(); err != nil {
			t.Errorf("Fresh 4 s after the store went: %v", err)
		}
		time.Sleep(2 * time.Second)
		if err := f.Fresh(); !errors.Is(err, authz.ErrUnavailable) {
			t.Errorf("Fresh 6 s after the store went = %v, want ErrUnavailable", err)
		}
		store.On(nil)
		time.Sleep(time.Second)
		if err := f.Fresh(); err != nil {
			t.Errorf("Fresh after the store came back: %v", err)
		}
	})
}

// A replica that reads but is slow to apply is stale too.
func TestFreshNeedsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := start(t, &audittest.Memory{}, audit.Config{Heartbeat: -1})
		gate := make(chan struct{})
		f := follow(t, l, audit.FollowerConfig{Stale: 5 * time.Second, Appliers: []audit.Applier{
			applierFunc(func(context.Context, audit.Entry) error { <-gate; return nil }),
		}})
		if _, err := l.Record(t.Context(), draft("k", `{}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		if err := f.Fresh(); !errors.Is(err, authz.ErrUnavailable) {
			t.Errorf("Fresh while an entry waits to be applied = %v, want ErrUnavailable", err)
		}
		close(gate)
		synctest.Wait()
		if err := f.Fresh(); err != nil {
			t.Errorf("Fresh after it was applied: %v", err)
		}
	})
}

// State that is ahead of the log is of another log: nothing is decided by it.
func TestFollowerAheadOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &audittest.Memory{}
		l, _ := start(t, store, audit.Config{Heartbeat: -1})
		fill(t, l, 3)
		f := audit.NewFollower(l, audit.FollowerConfig{After: 4})
		if err := f.Run(t.Context()); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("Run after an entry that is not there = %v, want ErrInvalid", err)
		}
		// The search index is built again instead.
		if err := store.AppendIndex(t.Context(), 0, audit.IndexChunk, nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- audit.NewIndex(l, store).Run(ctx) }()
		synctest.Wait()
		if c, err := store.IndexCursor(ctx); c != 0 || err != nil {
			t.Errorf("the cursor of an index that does not fit = %d, %v, want 0", c, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Index.Run: %v", err)
		}
	})
}

// Of changes that are recorded together the first verdict is told, and a wait that was given up
// leaves nothing behind.
func TestCommitAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reg register
		l, _ := start(t, &audittest.Memory{}, audit.Config{Heartbeat: -1})
		f := follow(t, l, audit.FollowerConfig{Appliers: []audit.Applier{&reg}})
		set := func(v int) audit.Draft {
			return audit.Draft{Kind: "reg.set", Actor: "test", Body: json.RawMessage(fmt.Sprintf(`{"v":%d}`, v))}
		}
		if first, err := f.CommitAll(t.Context(), set(1), set(2)); first != 1 || err != nil {
			t.Errorf("CommitAll(1, 2) = %d, %v, want 1, nil", first, err)
		}
		first, err := f.CommitAll(t.Context(), set(3), set(9), set(4))
		if first != 3 || !errors.Is(err, authz.ErrConflict) {
			t.Errorf("CommitAll(3, 9, 4) = %d, %v, want 3 and a conflict", first, err)
		}
		if reg.v != 4 {
			t.Errorf("value is %d, want 4: what was refused does not stop what follows", reg.v)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := f.Wait(ctx, 1000); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait of an entry that does not come = %v, want %v", err, context.Canceled)
		}
		if err := f.Wait(t.Context(), first); err != nil {
			t.Errorf("Wait of an entry that was applied: %v", err)
		}
	})
}

// Whatever says that an entry changes nothing is said once, and the next entry is applied.
func TestVerdictsHoldNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kinds := map[string]error{
			"invalid": authz.ErrInvalid, "missing": authz.ErrNotFound, "conflict": authz.ErrConflict,
			"forbidden": authz.ErrForbidden, "unknown": authz.ErrUnauthenticated,
		}
		l, _ := start(t, &audittest.Memory{}, audit.Config{Heartbeat: -1})
		f := follow(t, l, audit.FollowerConfig{Appliers: []audit.Applier{
			applierFunc(func(_ context.Context, e audit.Entry) error {
				if kind := kinds[string(e.Kind)]; kind != nil {
					return authz.Errorf(kind, "refused")
				}
				return nil
			}),
		}})
		for name, kind := range kinds {
			if _, err := f.Commit(t.Context(), draft(audit.Kind(name), `{}`)); !errors.Is(err, kind) {
				t.Errorf("%s: %v, want %v", name, err, kind)
			}
		}
		time.Sleep(time.Second)
		if err := f.Fresh(); err != nil {
			t.Errorf("after verdicts: %v", err)
		}
	})
}
