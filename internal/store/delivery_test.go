package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/notify"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func TestDeliveries(t *testing.T) {
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		ctx := t.Context()
		db := storetest.OpenConfig(t, config(t))
		at := time.Date(2026, 11, 27, 9, 0, 0, 123000, time.UTC)
		delivery := func(id, ask string, after time.Duration) notify.Delivery {
			return notify.Delivery{ID: id, Ask: ask, Kind: notify.ToChannel, Channel: "hook", Event: notify.Asked, State: notify.Waiting,
				At: at.Add(after), Since: at.Add(after), NextAt: at.Add(after), AsOf: 7}
		}
		list := func(q notify.Query, limit int, want ...string) {
			t.Helper()
			ds, err := db.Deliveries(ctx, q, limit)
			wantKind(t, "Deliveries", err, nil)
			var got []string
			for _, d := range ds {
				got = append(got, d.ID)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Deliveries(%+v, %d) (-want +got):\n%s", q, limit, diff)
			}
		}
		list(notify.Query{}, 10)
		a, b, c := delivery("a", "arq_1", 0), delivery("b", "arq_1", time.Second), delivery("c", "arq_2", time.Second)
		wantKind(t, "AddDeliveries", db.AddDeliveries(ctx, []notify.Delivery{a, b}), nil)
		changed := a
		changed.Ask = "arq_other"
		wantKind(t, "AddDeliveries of one that is there", db.AddDeliveries(ctx, []notify.Delivery{changed, c}), nil)
		got, err := db.Delivery(ctx, "a")
		wantKind(t, "Delivery", err, nil)
		if diff := cmp.Diff(a, got); diff != "" {
			t.Errorf("Delivery (-want +got):\n%s", diff)
		}
		_, err = db.Delivery(ctx, "none")
		wantKind(t, "Delivery of none", err, authz.ErrNotFound)
		_, err = db.Deliveries(ctx, notify.Query{Before: "none"}, 10)
		wantKind(t, "Deliveries before none", err, authz.ErrNotFound)

		list(notify.Query{}, 10, "c", "b", "a")
		list(notify.Query{}, 2, "c", "b")
		list(notify.Query{Before: "b"}, 10, "a")
		list(notify.Query{Ask: "arq_1"}, 10, "b", "a")
		list(notify.Query{State: notify.Dead}, 10)
		list(notify.Query{Due: at.Add(-time.Microsecond)}, 10)
		list(notify.Query{Due: at}, 10, "a")
		list(notify.Query{Due: at.Add(time.Minute)}, 10, "a", "b", "c")

		// Who has read an older version changes nothing.
		won := a
		won.Attempts, won.NextAt, won.Persons = 1, at.Add(time.Hour), []string{"anna"}
		wantKind(t, "ChangeDelivery", db.ChangeDelivery(ctx, won), nil)
		wantKind(t, "ChangeDelivery of an old version", db.ChangeDelivery(ctx, a), authz.ErrConflict)
		won.Version++
		got, err = db.Delivery(ctx, "a")
		wantKind(t, "Delivery", err, nil)
		if diff := cmp.Diff(won, got); diff != "" {
			t.Errorf("Delivery after a change (-want +got):\n%s", diff)
		}
		list(notify.Query{Due: at.Add(time.Minute)}, 10, "b", "c")
		gone := a
		gone.ID = "none"
		wantKind(t, "ChangeDelivery of none", db.ChangeDelivery(ctx, gone), authz.ErrConflict)

		// What has ended is forgotten, what waits is not.
		b.State, b.EndedAt = notify.Told, at.Add(time.Hour)
		wantKind(t, "ChangeDelivery", db.ChangeDelivery(ctx, b), nil)
		list(notify.Query{State: notify.Told}, 10, "b")
		wantKind(t, "ForgetDeliveries", db.ForgetDeliveries(ctx, at.Add(time.Hour)), nil)
		list(notify.Query{}, 10, "c", "b", "a")
		wantKind(t, "ForgetDeliveries", db.ForgetDeliveries(ctx, at.Add(1000*time.Hour)), nil)
		list(notify.Query{}, 10, "c", "a")
	})
}

// Of those who change the same version at once, one does.
func TestDeliveryRace(t *testing.T) {
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		ctx := t.Context()
		db := storetest.OpenConfig(t, config(t))
		at := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
		d := notify.Delivery{ID: "a", Ask: "arq_1", State: notify.Waiting, At: at, Since: at, NextAt: at, AsOf: 1}
		wantKind(t, "AddDeliveries", db.AddDeliveries(ctx, []notify.Delivery{d}), nil)
		for version := range int64(5) {
			d.Version = version
			var won atomic.Int64
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if err := db.ChangeDelivery(ctx, d); err == nil {
						won.Add(1)
					} else {
						wantKind(t, "ChangeDelivery", err, authz.ErrConflict)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Errorf("%d of 8 changed version %d, want 1", won.Load(), version)
			}
		}
	})
}

func TestTellPerson(t *testing.T) {
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		ctx := t.Context()
		db := storetest.OpenConfig(t, config(t))
		at := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
		tell := func(person, ask, event string, after time.Duration, most int64, want string) {
			t.Helper()
			now := at.Add(after)
			got, err := db.TellPerson(ctx, person, ask, event, now, now.Add(-time.Hour), most)
			wantKind(t, "TellPerson", err, nil)
			if got != want {
				t.Errorf("TellPerson(%s, %s, %s) after %v, at most %d = %q, want %q", person, ask, event, after, most, got, want)
			}
		}
		tell("anna", "1", "asked", 0, 2, "asked")
		tell("anna", "2", "asked", time.Minute, 2, "asked")
		tell("anna", "3", "asked", 2*time.Minute, 2, "")              // enough
		tell("anna", "1", "escalated", 2*time.Minute, 2, "asked")     // no other ask
		tell("ben", "3", "escalated", 2*time.Minute, 2, "escalated")  // another person
		tell("anna", "3", "asked", time.Hour+time.Second, 2, "asked") // the first is an hour ago
		tell("anna", "4", "asked", time.Hour+2*time.Second, 2, "")
		tell("anna", "4", "asked", time.Hour+2*time.Second, 0, "asked") // no bound
		for n := range 20 {
			tell("cleo", fmt.Sprint(n), "asked", 0, 0, "asked")
		}
		wantKind(t, "ForgetDeliveries", db.ForgetDeliveries(ctx, at.Add(1000*time.Hour)), nil)
		tell("anna", "5", "asked", time.Hour+3*time.Second, 1, "asked")
	})
}
