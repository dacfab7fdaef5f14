package notify_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/notify"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// Whatever happens in whatever order to two processes, asks, the receiver and the clock: what counts as told
// was received; what was received once and recorded is not sent again; in the end nothing waits; and both
// processes see the same.
func TestAnyOrder(t *testing.T) {
	seeds := 12
	if testing.Short() {
		seeds = 3
	}
	states := map[notify.State]int{}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { anyOrder(t, rand.New(rand.NewPCG(uint64(seed), 5)), seed%2 == 1, states) })
	}
	if !testing.Short() && (states[notify.Told] == 0 || states[notify.Dead] == 0 || states[notify.Moot] == 0) {
		t.Errorf("ends of all courses: %v, want some of each", states)
	}
}

// anyOrder is one course of events. With dying, processes die between sending and recording. It counts the
// ends of deliveries.
func anyOrder(t *testing.T, r *rand.Rand, dying bool, states map[notify.State]int) {
	srv := newReceiver(t)
	var mu sync.Mutex
	got, away, dead := map[string]int{}, false, false
	srv.answers(func(w http.ResponseWriter, m received) {
		mu.Lock()
		defer mu.Unlock()
		if away {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		got[m.Header.Get("Webhook-Id")]++
	})
	all := []string{notify.Asked, notify.Escalated, notify.Ended}
	cs := notify.Channels{
		Channels:  map[string]notify.Channel{"hook": {Webhook: srv.webhook("/in"), Events: all}, "chat": {Webhook: srv.webhook("/in"), Events: all}},
		Callbacks: map[string]notify.Callback{"gateway": {Allow: []string{srv.URL}, Secrets: [][]byte{secret}, Client: srv.client()}},
	}
	db, at := storetest.Open(t), newClock()
	hs := []*house{openOn(t, db, at, cs), openOn(t, db, at, cs)}
	for _, h := range hs {
		h.log.fail = func(d audit.Draft) error {
			mu.Lock()
			defer mu.Unlock()
			if dead && d.Actor == "safeconduct" {
				return authz.Errorf(authz.ErrUnavailable, "dead")
			}
			return nil
		}
	}
	// together has each process read the log to its end, and take part.
	together := func(f func(h *house)) {
		seq, err := db.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, h := range hs {
			if err := h.log.Wait(t.Context(), seq.Entries); err != nil {
				t.Fatal(err)
			}
			wg.Go(func() { f(h) })
		}
		wg.Wait()
	}
	asks, ended := 0, map[string]bool{}
	for range 60 {
		h := hs[r.IntN(2)]
		id := fmt.Sprintf("arq_%d", r.IntN(max(asks, 1)))
		switch r.IntN(9) {
		case 0, 1:
			if asks < 6 {
				h.ask(fmt.Sprintf("arq_%d", asks), "money", func(a *approval.Ask) { a.Callback = &approval.Callback{Endpoint: srv.URL + "/in"} })
				asks++
			}
		case 2:
			if asks > 0 && !ended[id] {
				ended[id] = true
				bothMove(hs, h, id, func(a *approval.Ask) { a.Status, a.ClosedAt = approval.Denied, at.now() })
			}
		case 3:
			if asks > 0 && !ended[id] {
				bothMove(hs, h, id, func(a *approval.Ask) { a.Escalated = at.now() })
			}
		case 4:
			mu.Lock()
			away = !away
			mu.Unlock()
		case 5:
			mu.Lock()
			dead = dying && !dead
			mu.Unlock()
		case 6:
			at.advance(time.Duration(r.IntN(8)) * time.Hour)
		case 7:
			if ds, err := h.Deliveries(t.Context(), notify.Query{State: notify.Dead}, 1); err == nil && len(ds) == 1 {
				if _, err := h.Retry(t.Context(), "admin:root", "try", ds[0].ID); err != nil {
					t.Fatal(err)
				}
			}
		default:
			together((*house).pass)
		}
	}
	mu.Lock()
	away, dead = false, false
	mu.Unlock()
	for range 4 {
		at.advance(2 * time.Hour)
		together((*house).pass)
	}
	if ds, err := hs[0].Deliveries(t.Context(), notify.Query{State: notify.Waiting}, 1000); err != nil || len(ds) != 0 {
		t.Errorf("there wait %+v, %v; want nothing", ds, err)
	}
	ds, err := hs[0].Deliveries(t.Context(), notify.Query{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, d := range ds {
		n := got[d.ID]
		states[d.State]++
		switch {
		case d.State == notify.Told && n == 0:
			t.Errorf("%s is told, and was never received", d.ID)
		case d.State == notify.Moot && n > 0 && !dying:
			t.Errorf("%s is moot, and was received", d.ID)
		case n > 1 && !dying:
			t.Errorf("%s was received %d times although nobody died", d.ID, n)
		case n == 1 && d.State != notify.Told && !dying:
			t.Errorf("%s was received and is %s", d.ID, d.State)
		}
		delete(got, d.ID)
	}
	if len(got) > 0 {
		t.Errorf("received what nobody knows of: %v", got)
	}
}

// bothMove records by one process that something happened to an ask; the desks of both do the same.
func bothMove(hs []*house, by *house, id string, f func(*approval.Ask)) {
	for _, h := range hs {
		h.desk.mu.Lock()
		h.desk.next[id] = f
		h.desk.mu.Unlock()
	}
	by.move(id, f)
	seq, err := by.db.Head(by.t.Context())
	if err != nil {
		by.t.Fatal(err)
	}
	for _, h := range hs { // before the next is said of the same ask
		if err := h.log.Wait(by.t.Context(), seq.Entries); err != nil {
			by.t.Fatal(err)
		}
	}
}
