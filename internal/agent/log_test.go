package agent_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// commits hands drafts to a follower that is made later, because it needs the registry first.
type commits struct{ *audit.Follower }

// onTheLog returns two replicas on one database, with a log and a follower each.
func onTheLog(t *testing.T) (rs [2]*agent.Registry) {
	t.Helper()
	db := storetest.Open(t)
	key, err := audit.NewKey(rand.Reader, "agents.example")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	for i := range rs {
		l, err := audit.New(db, audit.Config{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		c := &commits{}
		rs[i] = agent.NewRegistry(agent.Config{Store: db, Log: c})
		wantKind(t, "Load", rs[i].Load(ctx), nil)
		c.Follower = audit.NewFollower(l, audit.FollowerConfig{Appliers: []audit.Applier{rs[i]}})
		running.Go(func() {
			if err := l.Run(ctx); err != nil {
				t.Errorf("Log.Run: %v", err)
			}
		})
		running.Go(func() {
			if err := c.Run(ctx); err != nil {
				t.Errorf("Follower.Run: %v", err)
			}
		})
	}
	return rs
}

// The same on the real log: two replicas on one database, many callers, and one verdict a change.
func TestOnTheLog(t *testing.T) {
	ctx := t.Context()
	rs := onTheLog(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := map[int]int{}
	for i := range 40 {
		wg.Go(func() {
			n := i / 4 // four callers register the same agent
			_, err := rs[i%2].Put(ctx, "admin:anna", "new", bot(fmt.Sprintf("bot-%d", n)), 0)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won[n]++
			case !errors.Is(err, authz.ErrConflict):
				t.Errorf("Put = %v, want ErrConflict", err)
			}
		})
	}
	wg.Wait()
	for n := range 10 {
		if won[n] != 1 {
			t.Errorf("agent %d was registered %d times, want once", n, won[n])
		}
	}
	// A change on either replica is in effect there when it returns, whoever was last before.
	for i := range 10 {
		a, err := rs[i%2].SetState(ctx, "admin:anna", "round", "bot-0", []authz.AgentState{authz.AgentSuspended, authz.AgentActive}[i/2%2], 0)
		wantKind(t, "SetState", err, nil)
		if a.Revision < int64(i+2) {
			t.Errorf("revision after %d changes = %d", i+1, a.Revision)
		}
	}
	wantKind(t, "retiring", retire(ctx, rs[0]), nil)
	wantKind(t, "retiring again, elsewhere", retire(ctx, rs[1]), authz.ErrConflict)
	if diff := cmp.Diff(rs[0].After("", 100), rs[1].After("", 100)); diff != "" {
		t.Errorf("the replicas differ (-first +second):\n%s", diff)
	}
}

func retire(ctx context.Context, r *agent.Registry) error {
	_, err := r.SetState(ctx, "admin:anna", "replaced", "bot-0", authz.AgentRetired, 0)
	return err
}

// Of those who race with one enrolment token, on two replicas, one registers its key; the others hear
// what everybody hears whose token is no good.
func TestEnrolmentRaces(t *testing.T) {
	ctx := t.Context()
	rs := onTheLog(t)
	for round := range 5 {
		id := authz.AgentID(fmt.Sprintf("bot-%d", round))
		_, err := rs[0].Put(ctx, "admin:anna", "new", bot(string(id)), 0)
		wantKind(t, "Put", err, nil)
		e, err := rs[0].Enrol(ctx, "admin:anna", "new", id, 0)
		wantKind(t, "Enrol", err, nil)
		for _, err := rs[1].PendingEnrolment(e.Token, time.Now()); err != nil; _, err = rs[1].PendingEnrolment(e.Token, time.Now()) {
			runtime.Gosched() // until the other replica has read the entry
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for i := range 8 {
			key := newKey(t)
			wg.Go(func() {
				c, err := rs[i%2].Register(ctx, e.Token, key)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && c.Agent == id && c.ID == key.ID:
					won++
				case err == nil:
					t.Errorf("Register = %+v, want key %s of %s", c, key.ID, id)
				case !errors.Is(err, authz.ErrUnauthenticated) || err.Error() != noGood:
					t.Errorf("Register = %v, want ErrUnauthenticated, %q", err, noGood)
				}
			})
		}
		wg.Wait()
		if won != 1 {
			t.Errorf("%d of 8 who raced with one token registered a key, want 1", won)
		}
		// A change through either replica waits until that one has read everything before it.
		for _, r := range rs {
			_, err := r.RevokeCredential(ctx, "admin:anna", "round is over", id, "")
			wantKind(t, "RevokeCredential", err, nil)
			if all := r.Credentials(id); len(all) != 1 || all[0].RevokedAt.IsZero() {
				t.Errorf("credentials after the race: %+v, want one, revoked", all)
			}
		}
	}
}
