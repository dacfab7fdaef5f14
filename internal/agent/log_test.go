package agent_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// commits hands drafts to a follower that is made later, because it needs the registry first.
type commits struct{ *audit.Follower }

// The same on the real log: two replicas on one database, many callers, and one verdict a change.
func TestOnTheLog(t *testing.T) {
	db := storetest.Open(t)
	key, err := audit.NewKey(rand.Reader, "agents.example")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	var rs [2]*agent.Registry
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
