package approval_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// commits hands drafts to a follower that is made later, because it needs the desk first.
type commits struct{ *audit.Follower }

// onTheLog returns as many replicas on one database, with a log and a follower each.
func onTheLog(t testing.TB, n int) (desks []*approval.Desk, wait func()) {
	t.Helper()
	db, c := storetest.Open(t), parse(t, organisation)
	key, err := audit.NewKey(rand.Reader, "asks.example")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	var followers []*audit.Follower
	for range n {
		l, err := audit.New(db, audit.Config{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		cs := &commits{}
		d := approval.New(approval.Config{Store: db, Log: cs, Now: time.Now, Catalog: func(context.Context, int64) (*catalog.Catalog, error) { return c, nil }})
		wantKind(t, "Load", d.Load(ctx), nil)
		cs.Follower = audit.NewFollower(l, audit.FollowerConfig{Appliers: []audit.Applier{d}})
		desks, followers = append(desks, d), append(followers, cs.Follower)
		for _, run := range []func(context.Context) error{l.Run, cs.Run, d.Run} {
			running.Go(func() {
				if err := run(ctx); err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		}
	}
	return desks, func() {
		last := int64(0)
		for _, f := range followers {
			last = max(last, f.Seq())
		}
		for _, f := range followers {
			wantKind(t, "Wait", f.Wait(ctx, last), nil)
		}
	}
}

// approved has anna approve a payment by the route, on the first desk.
func approved(t testing.TB, d *approval.Desk, decision int64, scope approval.Scope) (*approval.Ask, *authz.Request) {
	t.Helper()
	req := payment()
	req.Resource.ID = fmt.Sprint("de", decision)
	a, _, err := d.Ask(ctx, about(req, decision, "wide"))
	wantKind(t, "Ask", err, nil)
	v, err := d.View(ctx, who("anna"), a.ID)
	wantKind(t, "View", err, nil)
	a, err = d.Answer(ctx, who("anna"), a.ID, approval.Reply{Yes: true, View: v.Seq, Scope: scope})
	wantKind(t, "Answer", err, nil)
	req.Approval = &authz.ApprovalRef{ID: a.Items[0].Approval.ID}
	return a, req
}

// On the real log: of those who draw the last use at once, on whichever replica, as many win as there are uses.
func TestRaceOnTheLog(t *testing.T) {
	desks, wait := onTheLog(t, 2)
	for round := range 5 {
		uses := int64(round%3 + 1)
		a, req := approved(t, desks[round%2], int64(round+1), approval.Scope{Uses: uses})
		wait()
		var won atomic.Int64
		var racing sync.WaitGroup
		for i := range 16 {
			racing.Go(func() {
				d := desks[i%2]
				held, why := d.Holds(req, authz.Public, nil, time.Now())
				if held == nil {
					if why != authz.ApprovalExpired {
						t.Errorf("Holds = %q, want it, or %s", why, authz.ApprovalExpired)
					}
					return
				}
				switch _, err := d.Use(ctx, held, req); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, authz.ErrConflict):
					t.Errorf("Use = %v, want ErrConflict", err)
				}
			})
		}
		racing.Wait()
		if won.Load() != uses {
			t.Errorf("%d draws of %d uses won", won.Load(), uses)
		}
		wait()
		for i, d := range desks {
			got, err := d.Get(ctx, a.ID)
			wantKind(t, "Get", err, nil)
			if g := got.Items[0].Approval; g.Used != uses {
				t.Errorf("desk %d counts %d uses, want %d", i, g.Used, uses)
			}
		}
	}
	all := func(d *approval.Desk) []*approval.Ask {
		list, err := d.List(ctx, approval.Filter{Limit: 100})
		wantKind(t, "List", err, nil)
		return list
	}
	if diff := cmp.Diff(all(desks[0]), all(desks[1])); diff != "" {
		t.Errorf("two desks (-one +other):\n%s", diff)
	}
}

// Two replicas that are asked the very same at once have one ask.
func TestAskRaceOnTheLog(t *testing.T) {
	desks, wait := onTheLog(t, 2)
	for round := range 5 {
		req := payment()
		req.Resource.ID = fmt.Sprint("de", round)
		ids := make([]string, 20)
		var made atomic.Int64
		var asking sync.WaitGroup
		for i := range ids {
			asking.Go(func() {
				a, joined, err := desks[i%2].Ask(ctx, about(req, int64(round*100+i), "one"))
				if err != nil {
					t.Errorf("Ask: %v", err)
					return
				}
				if ids[i] = a.ID; !joined {
					made.Add(1)
				}
			})
		}
		asking.Wait()
		wait()
		for _, id := range ids {
			if id != ids[0] {
				t.Fatalf("round %d has the asks %s and %s, want one", round, ids[0], id)
			}
		}
		a, err := desks[0].Get(ctx, ids[0])
		wantKind(t, "Get", err, nil)
		if made.Load() != 1 || a.Joined < 19 {
			t.Errorf("round %d: %d made it, and %d were joined, want 1 and 19 or more", round, made.Load(), a.Joined)
		}
	}
}

// BenchmarkAskJoined is the rate at which a flood of the same ask is joined to one, on the real log.
func BenchmarkAskJoined(b *testing.B) {
	desks, _ := onTheLog(b, 1)
	first, _, err := desks[0].Ask(ctx, about(payment(), 1, "one"))
	wantKind(b, "Ask", err, nil)
	b.SetParallelism(64)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			a, joined, err := desks[0].Ask(ctx, about(payment(), 2, "one"))
			if err != nil || !joined || a.ID != first.ID {
				b.Errorf("Ask = %v, %v, want it joined", joined, err)
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "asks/s")
	b.ReportMetric(float64(newestEntry(desks[0], first.ID)), "entries")
}

func newestEntry(d *approval.Desk, id string) int64 {
	a, err := d.Get(ctx, id)
	if err != nil {
		return 0
	}
	return a.AsOf
}

// BenchmarkHolds is what a reference to an approval costs a decision.
func BenchmarkHolds(b *testing.B) {
	for name, scope := range map[string]approval.Scope{
		"act":   {},
		"class": {Class: true, Amounts: map[string]string{"amount": "1000"}},
	} {
		b.Run(name, func(b *testing.B) {
			w := open(b, organisation)
			_, req := approved(b, w.Desk, 1, scope)
			b.ReportAllocs()
			for b.Loop() {
				if held, why := w.Holds(req, authz.Public, nil, start); held == nil {
					b.Fatal(why)
				}
			}
		})
	}
}

// BenchmarkAsks is what every decision pays for knowing how much the agent has asked.
func BenchmarkAsks(b *testing.B) {
	w := open(b, organisation)
	w.ask("one")
	b.ReportAllocs()
	for b.Loop() {
		if n := w.Asks("payer", "s1", start); n.Pending != 1 {
			b.Fatal(n)
		}
	}
}
