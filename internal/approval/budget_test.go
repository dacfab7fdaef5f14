package approval_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// frugal is the organisation's catalog, with bounds of asking.
func frugal(asks string) string {
	return strings.Replace(organisation, "asks: {session: 0, hour: 0, pending: 0}", "asks: "+asks, 1)
}

// distinct is the i-th ask of an agent, in a session.
func distinct(i int, agent, session string) approval.Ask {
	req := payment()
	req.Subject.ID, req.Resource.ID, req.Observed.Session = agent, fmt.Sprint("de", i), session
	return about(req, int64(i+1), "one")
}

// bulk gives an ask so many acts.
func bulk(a approval.Ask, n int) approval.Ask {
	a.Bulk = true
	for i := 1; i < n; i++ {
		it := a.Items[0]
		it.Decision, it.Resource.ID = it.Decision+int64(i)*1000, fmt.Sprint(it.Resource.ID, "-", i)
		a.Items = append(a.Items, it)
	}
	return a
}

// What was refused before the budget was used up is not asked after it.
func TestBudget(t *testing.T) {
	for _, c := range []struct {
		name, asks string
		ask        func(w *world, i int) (approval.Ask, time.Duration) // and how much later
		ended      bool                                                // whether each is cancelled at once
		taken      int                                                 // of 10
	}{
		{"a session's", "{session: 3, hour: 0, pending: 0}", nil, false, 3},
		{"a session's, cancelled", "{session: 3, hour: 0, pending: 0}", nil, true, 3},
		{"without a bound", "{session: 0, hour: 0, pending: 0}", nil, false, 10},
		{"of other sessions", "{session: 3, hour: 0, pending: 0}", func(_ *world, i int) (approval.Ask, time.Duration) {
			return distinct(i, "payer", fmt.Sprint("s", i/2)), 0
		}, false, 10},
		{"an hour's", "{session: 0, hour: 4, pending: 0}", func(_ *world, i int) (approval.Ask, time.Duration) {
			return distinct(i, "payer", fmt.Sprint("s", i)), 0
		}, true, 4},
		{"of several hours", "{session: 0, hour: 4, pending: 0}", func(_ *world, i int) (approval.Ask, time.Duration) {
			return distinct(i, "payer", "s1"), 16 * time.Minute
		}, true, 10},
		{"what waits", "{session: 0, hour: 0, pending: 5}", nil, false, 5},
		{"what waits no more", "{session: 0, hour: 0, pending: 5}", nil, true, 10},
		{"in bulk", "{session: 7, hour: 0, pending: 0}", func(_ *world, i int) (approval.Ask, time.Duration) {
			return bulk(distinct(i, "payer", "s1"), 2), 0
		}, false, 3},
		{"in bulk, what waits", "{session: 0, hour: 0, pending: 7}", func(_ *world, i int) (approval.Ask, time.Duration) {
			return bulk(distinct(i, "payer", "s1"), 2), 0
		}, false, 3},
		{"too many in bulk", "{session: 0, hour: 7, pending: 0}", func(_ *world, i int) (approval.Ask, time.Duration) {
			return bulk(distinct(i, "payer", "s1"), 8), 0
		}, false, 0},
		{"the same", "{session: 1, hour: 1, pending: 1}", func(*world, int) (approval.Ask, time.Duration) {
			return distinct(0, "payer", "s1"), 0
		}, false, 10},
		{"of other agents", "{session: 1, hour: 1, pending: 1}", func(_ *world, i int) (approval.Ask, time.Duration) {
			return distinct(i, fmt.Sprint("agent", i), "s1"), 0
		}, false, 10},
		{"tokens", "{session: 0, hour: 3, pending: 0}", func(_ *world, i int) (approval.Ask, time.Duration) {
			a := bulk(distinct(i, "payer", ""), 3)
			a.Kind, a.Person = approval.CIBA, "zoe"
			return a, 0
		}, false, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := open(t, frugal(c.asks))
			w.another()
			taken := 0
			for i := range 10 {
				a, later := distinct(i, "payer", "s1"), time.Duration(0)
				if c.ask != nil {
					a, later = c.ask(w, i)
				}
				w.log.pass(later)
				n := len(w.log.entries)
				made, _, err := w.Ask(ctx, a)
				if err == nil {
					taken++
					if c.ended {
						_, err := w.Cancel(ctx, a.Requester, made.ID, "", "")
						wantKind(t, "Cancel", err, nil)
					}
					continue
				}
				wantKind(t, "one too many", err, authz.ErrForbidden)
				if len(w.log.entries) != n {
					t.Errorf("what was refused is recorded")
				}
			}
			if taken != c.taken {
				t.Errorf("%d of 10 are taken, want %d", taken, c.taken)
			}
			w.agree()
		})
	}
}

// What is asked at once counts as what is asked one after the other.
func TestBudgetAtOnce(t *testing.T) {
	w := open(t, frugal("{session: 5, hour: 0, pending: 0}"))
	var taken, refused atomic.Int64
	var asking sync.WaitGroup
	for i := range 60 {
		asking.Go(func() {
			if _, _, err := w.Ask(ctx, distinct(i, "payer", "s1")); err == nil {
				taken.Add(1)
			} else {
				refused.Add(1)
			}
		})
	}
	asking.Wait()
	if taken.Load() != 5 || refused.Load() != 55 {
		t.Errorf("%d are taken and %d refused, want 5 and 55", taken.Load(), refused.Load())
	}
	// The very same, of which none is there yet, is one ask.
	for i := range 60 {
		asking.Go(func() {
			a := distinct(1000, "payer", "s2")
			a.Items[0].Decision += int64(i)
			if _, _, err := w.Ask(ctx, a); err != nil {
				t.Errorf("one of many for the same: %v", err)
			}
		})
	}
	asking.Wait()
	if got := w.Asks("payer", "s2", start); got.Session != 1 {
		t.Errorf("Asks = %+v, want that the same counts once", got)
	}
	w.agree()
}

// What is being recorded counts, and the very same of it only once.
func TestBudgetWhileRecording(t *testing.T) {
	w := open(t, frugal("{session: 1, hour: 0, pending: 0}"))
	meanwhile := func() {}
	cfg := w.cfg
	cfg.Log = committer(func(ctx context.Context, d audit.Draft) (int64, error) {
		f := meanwhile
		meanwhile = func() {}
		f()
		return w.log.Commit(ctx, d)
	})
	*w.Desk = *approval.New(cfg)
	var same *approval.Ask
	meanwhile = func() {
		_, _, err := w.Ask(ctx, distinct(2, "payer", "s1"))
		wantKind(t, "another, while one is recorded", err, authz.ErrForbidden)
		meanwhile = func() {}
		same, _, err = w.Ask(ctx, distinct(1, "payer", "s1"))
		wantKind(t, "the same, while it is recorded", err, nil)
	}
	a, joined, err := w.Ask(ctx, distinct(1, "payer", "s1"))
	wantKind(t, "Ask", err, nil)
	if !joined || a.ID != same.ID {
		t.Errorf("ask %s, joined %v, want it joined to %s, which was recorded before", a.ID, joined, same.ID)
	}
	_, err = w.Cancel(ctx, "pep:gate", a.ID, "", "")
	wantKind(t, "Cancel", err, nil)
	_, _, err = w.Ask(ctx, distinct(2, "payer", "s1"))
	wantKind(t, "another of the session", err, authz.ErrForbidden)
	_, _, err = w.Ask(ctx, distinct(2, "payer", "s2"))
	wantKind(t, "another of another session", err, nil)
}

// An ask that could not be recorded does not count.
func TestBudgetOfWhatFails(t *testing.T) {
	w := open(t, frugal("{session: 1, hour: 0, pending: 0}"))
	cfg := w.cfg
	cfg.Log = committer(func(context.Context, audit.Draft) (int64, error) { return 0, authz.ErrUnavailable })
	d := approval.New(cfg)
	for i := range 3 {
		_, _, err := d.Ask(ctx, distinct(i, "payer", "s1"))
		wantKind(t, "Ask", err, authz.ErrUnavailable)
	}
}

// An agent that ends its own asks takes no more than its share of the memory.
func TestShareOfAsks(t *testing.T) {
	w := open(t, organisation)
	w.cfg.Store, w.log.desks = none{}, nil
	w.Desk = w.another()
	for i := range 5000 {
		a, _, err := w.Ask(ctx, distinct(i, "payer", "s1"))
		wantKind(t, "Ask", err, nil)
		_, err = w.Cancel(ctx, "pep:gate", a.ID, "", "")
		wantKind(t, "Cancel", err, nil)
	}
	_, _, err := w.Ask(ctx, distinct(5000, "payer", "s1"))
	wantKind(t, "one too many", err, authz.ErrForbidden)
	_, _, err = w.Ask(ctx, distinct(5000, "other", "s1"))
	wantKind(t, "another agent's", err, nil)
	w.log.pass(approval.Retention + time.Hour)
	_, _, err = w.Ask(ctx, distinct(5001, "other", "s1"))
	wantKind(t, "another agent's, a day later", err, nil)
	wantKind(t, "Sweep", w.Sweep(ctx), nil)
	_, _, err = w.Ask(ctx, distinct(5002, "payer", "s1"))
	wantKind(t, "one more, when the others are forgotten", err, nil)
	if got := w.Asks("payer", "s1", w.log.Now()); got != (authz.Asks{Session: 1, Hour: 1, Pending: 1}) {
		t.Errorf("Asks = %+v, want 1 each", got)
	}
}

// Likewise by long asks.
func TestShareOfBytes(t *testing.T) {
	w := open(t, organisation)
	w.cfg.Store, w.log.desks = none{}, nil
	w.Desk = w.another()
	long := func(i int, agent string) approval.Ask {
		a := distinct(i, agent, "s1")
		a.Items[0].Action.Properties = authz.Claimed(fmt.Sprintf(`{"a":%q}`, strings.Repeat("x", 250_000)))
		return a
	}
	taken := 0
	for ; taken < 190; taken++ {
		if _, _, err := w.Ask(ctx, long(taken, "payer")); err != nil {
			wantKind(t, "one too many", err, authz.ErrForbidden)
			break
		}
	}
	if most := (512 << 20) / 20; taken < 50 || taken*250_000 > most {
		t.Errorf("%d asks of 250,000 bytes are kept for one agent, want some, and no more than %d bytes", taken, most)
	}
	_, _, err := w.Ask(ctx, long(200, "other"))
	wantKind(t, "another agent's", err, nil)
}

// What waits for another answer may be judged by a stricter catalog, and so by others.
func TestJoinByVersion(t *testing.T) {
	w := open(t, organisation)
	old, strict := parse(t, organisation), parse(t, strings.Replace(organisation, "approvers: [finance]\n      break_glass", "approvers: [heads]\n      break_glass", 1))
	w.cfg.Catalog = func(_ context.Context, v int64) (*catalog.Catalog, error) {
		if v == 8 {
			return strict, nil
		}
		return old, nil
	}
	w.log.desks = nil
	w.Desk = w.another()
	first := w.ask("one")
	a := about(payment(), 2, "one")
	a.Catalog = 8
	second, joined, err := w.Ask(ctx, a)
	wantKind(t, "Ask", err, nil)
	if joined || second.ID == first.ID {
		t.Fatalf("an ask by a newer catalog was joined to one by an older")
	}
	_, err = w.answer(second, who("anna"), yes)
	wantKind(t, "who may answer by the older catalog only", err, authz.ErrForbidden)
	_, err = w.answer(second, who("carl"), yes)
	wantKind(t, "who may answer by the newer", err, nil)
}
