//go:build unix

package policy_test

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// A replica is a library that follows a real log. The library is made first, and asks for the
// follower only when it publishes.
type replica struct {
	*audit.Follower
	library *policy.Library
}

// While 10,000 policies are published, compiled and switched to, no replica stops deciding: neither
// the one that publishes nor one that learns of it from the log.
func TestPublicationDoesNotRefuse(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles 10,000 policies")
	}
	db := storetest.Open(t)
	key, err := audit.NewKey(rand.Reader, "policies.example")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	var rs [2]*replica
	for i := range rs {
		log, err := audit.New(db, audit.Config{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		r := new(replica)
		r.library = policy.NewLibrary(policy.LibraryConfig{Store: db, Log: r})
		wantKind(t, "Load", r.library.Load(ctx), nil)
		r.Follower = audit.NewFollower(log, audit.FollowerConfig{Appliers: []audit.Applier{r.library}})
		running.Go(func() {
			if err := log.Run(ctx); err != nil {
				t.Errorf("Log.Run: %v", err)
			}
		})
		running.Go(func() {
			if err := r.Run(ctx); err != nil {
				t.Errorf("Follower.Run: %v", err)
			}
		})
		rs[i] = r
	}
	many := benchSource(500)
	src := policy.Source{Schema: many.Schema, Files: many.Files[:1]}
	v, err := rs[0].library.Publish(ctx, policy.Publication{Source: &src, Author: "ann", Message: "few"})
	wantKind(t, "Publish", err, nil)
	arrived := func(n int64) {
		for deadline := time.Now().Add(time.Minute); rs[1].library.Active() == nil || rs[1].library.Active().Version() < n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("version %d does not arrive: %v", n, rs[1].Fresh())
			}
		}
	}
	arrived(v.Number)

	var done, refused atomic.Bool
	var deciding sync.WaitGroup
	for i, r := range rs {
		deciding.Go(func() {
			req, f := benchRequest()
			last := int64(0)
			for ; !done.Load(); time.Sleep(time.Millisecond) {
				if err := r.Fresh(); err != nil {
					refused.Store(true)
					t.Logf("replica %d refuses while a version is published: %v", i, err)
				}
				d := r.library.Active().Evaluate(req, f)
				if d.Effect != authz.Allow || d.PolicySet < last {
					t.Errorf("replica %d says %v by version %d after %d", i, d.Effect, d.PolicySet, last)
					return
				}
				last = d.PolicySet
			}
		})
	}
	begun, cpu := time.Now(), cpuTime(t)
	v, err = rs[0].library.Publish(ctx, policy.Publication{Source: &many, Author: "ann", Message: "many", IfVersion: v.Number})
	published := time.Since(begun)
	if err == nil {
		arrived(v.Number)
	}
	elsewhere := time.Since(begun) - published
	cpu = cpuTime(t) - cpu
	t.Logf("published after %v, in effect elsewhere %v later; %v of processor time for both", published, elsewhere, cpu)
	done.Store(true)
	deciding.Wait()
	wantKind(t, "Publish", err, nil)
	for i, r := range rs {
		if got := r.library.Active().Len(); got != 10_000 {
			t.Errorf("replica %d has %d policies, want 10000", i, got)
		}
	}
	if cpu > 8*time.Second { // both together; a replica may be stale for 5 s
		t.Errorf("the publication took %v of processor time, want at most 8s", cpu)
	}
	switch {
	case refused.Load() && elsewhere < 4*time.Second:
		t.Error("a replica refused while a version was published")
	case refused.Load():
		t.Skipf("this machine gives the process too little time: %v for %v of work", time.Since(begun), cpu)
	}
}

// cpuTime returns the processor time that this process has taken so far.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
