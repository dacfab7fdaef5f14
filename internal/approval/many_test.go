package approval_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// many returns a desk without tables that has n pending asks of as many agents as it takes.
func many(t testing.TB, n int) *world {
	t.Helper()
	w := open(t, organisation)
	w.cfg.Store = none{}
	w.log.desks = nil
	w.Desk = w.another()
	for i := range n {
		wantKind(t, "asking", w.asked(i, fmt.Sprint("agent", i/200)), nil)
	}
	return w
}

// asked records an ask as another replica does, which looks at nothing before.
func (w *world) asked(i int, agent string) error {
	req := payment()
	req.Subject.ID = agent
	req.Resource.ID = fmt.Sprint("de", i)
	a := about(req, int64(i+1), "late")
	a.ID = "arq_" + fmt.Sprintf("%026s", base26(i))
	body, err := json.Marshal(&a)
	if err != nil {
		return err
	}
	_, err = w.log.Commit(ctx, audit.Draft{Kind: audit.ApprovalAsked, Actor: a.Requester, Body: body})
	return err
}

// base26 writes a number in 26 letters.
func base26(i int) string {
	b := []byte("aaaaaaaaaaaaaaaaaaaaaaaaaa")
	for n := len(b) - 1; i > 0; n-- {
		b[n], i = byte('a'+i%26), i/26
	}
	return string(b)
}

// However many replicas record asks, no more than so many wait.
func TestTooManyWait(t *testing.T) {
	if testing.Short() {
		t.Log("20,000 asks take some seconds")
		return
	}
	const most = 20_000
	w := many(t, most)
	wantKind(t, "one more", w.asked(most, "another"), authz.ErrConflict)
	_, _, err := w.Ask(ctx, about(payment(), 1_000_000, "one"))
	wantKind(t, "Ask", err, authz.ErrForbidden)
	w.log.pass(30 * time.Minute)
	began := time.Now()
	wantKind(t, "Sweep", w.Sweep(ctx), nil)
	t.Logf("%d asks expired in %v", most, time.Since(began))
	if s := w.Stats(time.Hour); s.Pending != 0 || s.Expired != most {
		t.Errorf("%d are pending and %d expired, want all expired", s.Pending, s.Expired)
	}
	wantKind(t, "one more, when all have ended", w.asked(most, "another"), nil)

	const share = 25_000 // of one requester, however many agents it asks for
	for i := most + 1; i < share; i++ {
		wantKind(t, "one more", w.asked(i, fmt.Sprint("more", i/200)), nil)
	}
	a := distinct(2_000_000, "another", "s1")
	_, _, err = w.Ask(ctx, a)
	wantKind(t, "one more than the requester's share", err, authz.ErrForbidden)
	a.Requester = "pep:other"
	_, _, err = w.Ask(ctx, a)
	wantKind(t, "another requester's", err, nil)

	w.log.pass(time.Hour)
	wantKind(t, "Sweep", w.Sweep(ctx), nil)
	w.log.pass(2 * approval.Retention)
	wantKind(t, "one of the next day", w.asked(share, "another"), nil)
	wantKind(t, "Sweep", w.Sweep(ctx), nil)
	all, err := w.List(ctx, approval.Filter{Limit: 10})
	wantKind(t, "List", err, nil)
	if len(all) != 1 {
		t.Errorf("%d asks are kept a day later, want 1", len(all))
	}
	if n := w.Asks("agent0", "s1", w.log.Now()); n != (authz.Asks{}) {
		t.Errorf("Asks of an agent whose asks are forgotten = %+v, want none", n)
	}
}

// A half is a store that has the asks that came after so many entries.
type half struct {
	none
	asks []approval.Ask
}

func (h half) OpenAsks(_ context.Context, _ time.Time, after string, limit int) (page []approval.Ask, err error) {
	for i := range h.asks {
		if h.asks[i].ID > after && len(page) < limit {
			page = append(page, h.asks[i])
		}
	}
	return page, nil
}

func (h half) AsksAsOf(context.Context) (int64, error) { return h.asks[len(h.asks)-1].Seq, nil }

// BenchmarkReplay is what it costs to read 5,000 asks again of which nothing is kept, while 20,000 newer ones
// wait that were loaded.
func BenchmarkReplay(b *testing.B) {
	const n, loaded = 25_000, 20_000
	w := open(b, organisation)
	w.cfg.Store, w.log.desks = none{}, nil
	var h half
	for i := range n {
		wantKind(b, "asking", w.asked(i, fmt.Sprint("agent", i/100)), nil)
		if i < n-loaded {
			continue
		}
		var a approval.Ask
		e := w.log.entries[i]
		if err := json.Unmarshal(e.Body, &a); err != nil {
			b.Fatal(err)
		}
		a.Status, a.Seq, a.AsOf, a.AskedAt, a.ExpiresAt = approval.Pending, e.Seq, e.Seq, e.At, e.At.Add(time.Hour)
		a.Items[0].Status = approval.Pending
		h.asks = append(h.asks, a)
	}
	w.cfg.Store = h
	for b.Loop() {
		b.StopTimer()
		d := approval.New(w.cfg)
		wantKind(b, "Load", d.Load(ctx), nil)
		b.StartTimer()
		for _, e := range w.log.entries[:n-loaded] {
			d.Apply(ctx, e) // the verdict is not what counts here
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*(n-loaded)), "ns/ask")
}

// BenchmarkSweep is what sweeping costs each second while 20,000 asks wait and none is due.
func BenchmarkSweep(b *testing.B) {
	w := many(b, 20_000)
	for b.Loop() {
		if err := w.Sweep(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
