package audit_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
)

// A slow store takes its time to append.
type slow struct {
	audittest.Memory
	takes time.Duration
}

func (s *slow) Append(ctx context.Context, old audit.Head, seg audit.Segment) error {
	time.Sleep(s.takes)
	return s.Memory.Append(ctx, old, seg)
}

// Callers that come again soon after they were told share a batch, and those that are not back yet
// are not waited for longer than a commit takes.
func TestCallersGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = 500 * time.Microsecond
		store := &slow{takes: takes}
		l, _ := start(t, store, audit.Config{Heartbeat: -1})
		record := func() (took time.Duration) {
			begin := time.Now()
			if _, err := l.Record(t.Context(), draft("k", `{}`)); err != nil {
				t.Error(err)
			}
			return time.Since(begin)
		}
		record()

		// Who is alone waits for his commit and for nothing else.
		for range 3 {
			if took := record(); took != takes {
				t.Errorf("alone, a record takes %v, want %v", took, takes)
			}
		}

		// Eight callers think for 20 to 160 microseconds in between.
		before, _ := store.Head(t.Context())
		const callers, rounds = 8, 50
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for range rounds {
					time.Sleep(time.Duration(c+1) * 20 * time.Microsecond)
					if took := record(); took > 3*takes {
						t.Errorf("a record takes %v, want at most %v: what is under way, the wait, and its own commit", took, 3*takes)
					}
				}
			})
		}
		wg.Wait()
		after, _ := store.Head(t.Context())
		if n := after.Batches - before.Batches; n > rounds+4 {
			t.Errorf("%d callers have made %d batches in %d rounds", callers, n, rounds)
		}

		// The others do not come again: one is held up once, then he is alone.
		time.Sleep(20 * time.Microsecond)
		if took := record(); took > 2*takes {
			t.Errorf("the first alone takes %v, want at most %v", took, 2*takes)
		}
		if took := record(); took != takes {
			t.Errorf("the second alone takes %v, want %v", took, takes)
		}

		// After a pause nobody is held up.
		for range callers {
			wg.Go(func() { record() })
		}
		wg.Wait()
		time.Sleep(time.Minute)
		if took := record(); took != takes {
			t.Errorf("after a pause, a record takes %v, want %v", took, takes)
		}
	})
}

// However slow the store is, a batch is held open for a millisecond at most.
func TestGatherIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = 400 * time.Millisecond
		l, _ := start(t, &slow{takes: takes}, audit.Config{Heartbeat: -1})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := l.Record(t.Context(), draft("k", `{}`)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		begin := time.Now()
		if _, err := l.Record(t.Context(), draft("k", `{}`)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > takes+time.Millisecond {
			t.Errorf("a record takes %v, want at most %v", took, takes+time.Millisecond)
		}
	})
}
