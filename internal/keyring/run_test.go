package keyring_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/keyring"
)

// Two replicas run by themselves for a quarter of a year. At every hour there is a key to sign with,
// whatever was signed in the hour before verifies on both, and no key is older than its period.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		now := func(c *keyring.Config) { c.Now = time.Now }
		one, two := w.ring(t, now), w.ring(t, now)
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for _, r := range []*keyring.Ring{one, two} {
			group.Go(func() {
				if err := r.Run(ctx); err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		}
		begin := time.Now()
		signedWith := map[string]int{}
		var last []string
		for range 92 * 24 {
			time.Sleep(time.Hour - time.Second)
			for _, text := range last {
				verify(t, one, keyring.Token, text)
				verify(t, two, keyring.Token, text)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			last = []string{sign(t, one, keyring.Token, ""), sign(t, two, keyring.Token, keyring.ES256)}
			for _, text := range last {
				signedWith[kidOf(t, text)]++
			}
			sign(t, two, keyring.Status, "")
		}
		cancel()
		group.Wait()
		if diff := cmp.Diff(one.Historical(), two.Historical()); diff != "" {
			t.Errorf("replicas differ:\n%s", diff)
		}
		if len(signedWith) != 8 {
			t.Errorf("signed with %d keys in %v, want 4 of each algorithm", len(signedWith), time.Since(begin))
		}
		if n := len(one.Keys()); n != 12 {
			t.Errorf("%d keys were made, want 4 in each of 3 slots", n)
		}
		for _, k := range one.Keys() {
			if k.Activated > 0 && k.ActiveUntil.Sub(k.ActiveAt) > 30*day || k.Activated > 0 && k.PublishedAt.After(begin) && k.ActiveAt.Sub(k.PublishedAt) < day {
				t.Errorf("%s: published %v, active %v to %v", k.ID, k.PublishedAt, k.ActiveAt, k.ActiveUntil)
			}
		}
		if n := w.halves(t); n != 3 {
			t.Errorf("%d private halves are stored, want 3", n)
		}
	})
}

// What fails is told and tried again; a private half that nobody knows is forgotten after a day.
func TestRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := &broken{Store: w.store}
		w.store = b
		said := &words{}
		r := w.ring(t, func(c *keyring.Config) { c.Now, c.Logger = time.Now, slog.New(slog.NewTextHandler(said, nil)) })
		if err := w.store.PutSealedKey(t.Context(), keyring.Sealed{ID: "orphan", Data: []byte("x"), CreatedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(29*day - time.Minute)
		if n := w.halves(t); n != 3 {
			t.Errorf("%d private halves are stored, want 3", n)
		}
		b.sealed.Store(2)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for _, slot := range slots {
			wantStates(t, []*keyring.Ring{r}, slot, keyring.Active, keyring.Published)
		}
		if !strings.Contains(said.String(), "not in order") {
			t.Errorf("nothing was said of the failure: %s", said)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// Asking for a signer that is overdue wakes Run, which may not know that the machine slept.
func TestRunWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.ring(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		w.pass(40 * day) // and no timer has noticed
		if _, err := r.Signer(keyring.Token, ""); !errors.Is(err, authz.ErrUnavailable) {
			t.Errorf("Signer = %v, want authz.ErrUnavailable", err)
		}
		synctest.Wait()
		sign(t, r, keyring.Token, "")
		cancel()
		<-done
	})
}

// words is what was said.
type words struct {
	mu sync.Mutex
	b  strings.Builder
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}
