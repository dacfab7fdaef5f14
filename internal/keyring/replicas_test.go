package keyring_test

import (
	"context"
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/keyring"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// A replica is a ring on a log and a follower of its own.
type replica struct {
	ring   *keyring.Ring
	follow *audit.Follower
	stop   func()
}

// applying calls a ring that is made after its follower.
type applying struct{ ring *keyring.Ring }

func (a *applying) Apply(ctx context.Context, e audit.Entry) error { return a.ring.Apply(ctx, e) }

func startReplica(t *testing.T, db *store.DB, key *audit.Key, seal *keyring.SealingKey, c *clock) *replica {
	t.Helper()
	log, err := audit.New(db, audit.Config{Key: key, Poll: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var a applying
	r := &replica{follow: audit.NewFollower(log, audit.FollowerConfig{Appliers: []audit.Applier{&a}})}
	if r.ring, err = keyring.New(keyring.Config{Store: db, Log: r.follow, Seal: seal, Now: c.now}); err != nil {
		t.Fatal(err)
	}
	a.ring = r.ring
	if err := r.ring.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for _, run := range []func(context.Context) error{log.Run, r.follow.Run} {
		group.Go(func() {
			if err := run(ctx); err != nil {
				t.Errorf("running: %v", err)
			}
		})
	}
	r.stop = sync.OnceFunc(func() { cancel(); group.Wait() })
	t.Cleanup(r.stop)
	return r
}

// Replicas on a real log and a real database step all at once. They agree on every key, and each key
// was made once.
func TestReplicas(t *testing.T) {
	cfg := storetest.Config(t)
	dbs := []*store.DB{storetest.OpenConfig(t, cfg)}
	for range 2 {
		if cfg.Postgres != "" {
			dbs = append(dbs, storetest.OpenConfig(t, cfg))
		} else { // SQLite is one process's
			dbs = append(dbs, dbs[0])
		}
	}
	key, err := audit.NewKey(rand.Reader, "test.example/log")
	if err != nil {
		t.Fatal(err)
	}
	seal, c := newSeal(t), &clock{at: start}
	var all []*replica
	for _, db := range dbs {
		all = append(all, startReplica(t, db, key, seal, c))
	}
	step := func() {
		t.Helper()
		var group sync.WaitGroup
		for _, r := range all {
			group.Go(func() {
				if err := r.ring.Ensure(t.Context()); err != nil {
					t.Errorf("Ensure: %v", err)
				}
			})
		}
		group.Wait()
		var newest int64
		for _, r := range all {
			newest = max(newest, r.follow.Seq())
		}
		for _, r := range all {
			if err := r.follow.Wait(t.Context(), newest); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(all[0].ring.Historical(), r.ring.Historical()); diff != "" {
				t.Fatalf("replicas differ:\n%s", diff)
			}
			if kidOf(t, sign(t, r.ring, keyring.Token, "")) != kidOf(t, sign(t, all[0].ring, keyring.Token, "")) {
				t.Error("replicas sign with different keys")
			}
		}
	}
	step()
	for cycle := range 3 {
		for _, d := range []time.Duration{29 * day, day, hour} {
			c.pass(d)
			step()
		}
		for _, slot := range slots {
			if n := len(states(all[1].ring, slot)); n != cycle+2 {
				t.Errorf("cycle %d: %d keys of %v, want %d", cycle, n, slot, cycle+2)
			}
		}
		sealed, err := dbs[0].SealedKeys(t.Context())
		if err != nil || len(sealed) != 3 {
			t.Errorf("cycle %d: %d private halves, %v; want 3", cycle, len(sealed), err)
		}
	}
	id := kidOf(t, sign(t, all[2].ring, keyring.Token, ""))
	if _, err := all[2].ring.Revoke(t.Context(), "admin:root", "leaked", id); err != nil {
		t.Fatal(err)
	}
	step()
	for _, r := range all {
		if inSet(t, r.ring)[id] {
			t.Error("the revoked key is in a replica's set")
		}
		r.stop()
	}
	again := startReplica(t, dbs[0], key, seal, c)
	if diff := cmp.Diff(all[0].ring.Historical(), again.ring.Historical()); diff != "" {
		t.Errorf("after a restart: %s", diff)
	}
}
