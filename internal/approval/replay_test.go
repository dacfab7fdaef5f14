package approval_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// kept are the rows of the tables that the entries so far can have made.
type kept struct {
	Asks  map[string]approval.Ask
	Aways []approval.Away
}

func (w *world) kept() kept {
	w.t.Helper()
	k := kept{Asks: map[string]approval.Ask{}}
	for _, e := range w.log.entries {
		if e.Kind != audit.ApprovalAsked {
			continue
		}
		var a approval.Ask
		decode(w.t, e.Body, &a)
		if row, err := w.cfg.Store.Ask(ctx, a.ID); err == nil {
			k.Asks[a.ID] = row
		}
	}
	var err error
	k.Aways, err = w.cfg.Store.Aways(ctx)
	wantKind(w.t, "Aways", err, nil)
	return k
}

// forgetful lets three days pass, after which one ask is new, and all others are forgotten. It checks that
// a desk that starts then, and reads the whole log again, changes no row and has the same in memory.
func (w *world) forgetful() *approval.Desk {
	w.t.Helper()
	wantKind(w.t, "Sweep", w.Sweep(ctx), nil) // what was joined is written down
	w.log.pass(72 * time.Hour)
	late := payment()
	late.Resource.ID = "late"
	_, _, err := w.Ask(ctx, about(late, 0, "one"))
	wantKind(w.t, "Ask", err, nil)
	for _, d := range w.log.desks {
		wantKind(w.t, "Sweep", d.Sweep(ctx), nil)
	}
	rows, n := w.kept(), len(w.log.entries)
	list := func(d *approval.Desk) []*approval.Ask {
		all, err := d.List(ctx, approval.Filter{Limit: approval.MaxPage})
		wantKind(w.t, "List", err, nil)
		return all
	}
	again := w.another()
	want := list(again)
	for _, e := range w.log.entries[:n] {
		again.Apply(ctx, e)
	}
	if diff := cmp.Diff(rows, w.kept()); diff != "" {
		w.t.Errorf("rows, before and after the log was read again (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(want, list(again)); diff != "" {
		w.t.Errorf("in memory (-loaded +read again):\n%s", diff)
	}
	wantKind(w.t, "Sweep", again.Sweep(ctx), nil)
	if more := w.log.entries[n:]; len(more) != 0 {
		w.t.Errorf("%d entries are recorded, the first %s %s, want none", len(more), more[0].Kind, more[0].Body)
	}
	return again
}

// Nothing that is forgotten comes back when the whole log is read again, and nothing is judged anew.
func TestReplayOfTheForgotten(t *testing.T) {
	w := open(t, organisation)
	away := func(until time.Time) {
		t.Helper()
		a := approval.Away{Person: "anna", Until: until}
		if !until.IsZero() {
			a.Deputy = "carl"
		}
		wantKind(t, "PutAway", w.PutAway(ctx, "person:anna", a), nil)
	}
	away(start.Add(time.Hour))
	keyed := about(payment(), 1, "one")
	keyed.Key, keyed.Print = "key", "print"
	old, _, err := w.Ask(ctx, keyed)
	wantKind(t, "Ask", err, nil)
	wantStatus(t, w.approve(old, who("carl")), approval.Approved)
	away(time.Time{})
	w.forgetful()

	keyed.Items[0].Decision = 2
	next, joined, err := w.Ask(ctx, keyed)
	wantKind(t, "Ask", err, nil)
	if joined {
		t.Fatal("an ask was joined to one that is forgotten")
	}
	for _, e := range w.log.entries {
		w.log.desks[1].Apply(ctx, e)
	}
	for i, d := range w.log.desks {
		if got, err := d.Keyed("key"); err != nil || got.ID != next.ID {
			t.Errorf("desk %d: Keyed = %s, %v, want the newer ask", i, text(got), err)
		}
	}
	got, err := w.log.desks[1].Get(ctx, old.ID)
	wantKind(t, "Get", err, nil)
	wantStatus(t, got, approval.Approved)
}

// A meddled store does something after the first read of a kind.
type meddled struct {
	approval.Store
	afterAsks, afterAways func()
}

func (m *meddled) OpenAsks(ctx context.Context, since time.Time, after string, limit int) ([]approval.Ask, error) {
	page, err := m.Store.OpenAsks(ctx, since, after, limit)
	if f := m.afterAsks; f != nil {
		m.afterAsks = nil
		f()
	}
	return page, err
}

func (m *meddled) Aways(ctx context.Context) ([]approval.Away, error) {
	all, err := m.Store.Aways(ctx)
	if f := m.afterAways; f != nil {
		m.afterAways = nil
		f()
	}
	return all, err
}

// late loads a desk while another applies entries, and lets it catch up from an entry on.
func (w *world) late(m *meddled, from int) *approval.Desk {
	w.t.Helper()
	m.Store = w.cfg.Store
	cfg := w.cfg
	cfg.Store = m
	d := approval.New(cfg)
	wantKind(w.t, "Load", d.Load(ctx), nil)
	for _, e := range w.log.entries[from:] {
		d.Apply(ctx, e)
	}
	return d
}

// A desk that loads while a deputy answers and the absence ends takes the answer as the others do, whatever
// it has read by then.
func TestLoadWhileDeputyAnswers(t *testing.T) {
	for what, m := range map[string]func(func()) *meddled{
		"once asks are read":     func(f func()) *meddled { return &meddled{afterAsks: f} },
		"once absences are read": func(f func()) *meddled { return &meddled{afterAways: f} },
	} {
		t.Run(what, func(t *testing.T) {
			w := open(t, organisation)
			wantKind(t, "PutAway", w.PutAway(ctx, "person:anna", approval.Away{Person: "anna", Deputy: "carl", Until: start.Add(time.Hour)}), nil)
			a := w.ask("one")
			d := w.late(m(func() {
				w.approve(a, who("carl"))
				wantKind(t, "PutAway", w.PutAway(ctx, "person:anna", approval.Away{Person: "anna"}), nil)
			}), 2)
			got, err := d.Get(ctx, a.ID)
			wantKind(t, "Get", err, nil)
			wantStatus(t, got, approval.Approved)
			if n := len(d.Aways()); n != 0 {
				t.Errorf("%d are away, want none", n)
			}
		})
	}
}

// A desk that loads page by page, while others ask, misses none and keeps them in order.
func TestLoadWhileOthersAsk(t *testing.T) {
	w := open(t, organisation)
	const page = 500
	for i := range page {
		wantKind(t, "asking", w.asked(1000+i, fmt.Sprint("agent", i/200)), nil)
	}
	d := w.late(&meddled{afterAsks: func() {
		w.log.pass(time.Minute)
		wantKind(t, "asking", w.asked(5, "agent9"), nil)
		w.log.pass(time.Minute)
		wantKind(t, "asking", w.asked(5000, "agent9"), nil)
	}}, 0)
	for what, f := range map[string]approval.Filter{"all": {Limit: 1000}, "pending ones": {Limit: 1000, Status: approval.Pending}, "an agent's": {Limit: 10, Agent: "agent9"}} {
		want, err := w.List(ctx, f)
		wantKind(t, "List", err, nil)
		got, err := d.List(ctx, f)
		wantKind(t, "List", err, nil)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-desk +late):\n%s", what, diff)
		}
	}
	at := w.log.Now().Add(time.Hour - 30*time.Second)
	if diff := cmp.Diff(w.Asks("agent9", "s1", at), d.Asks("agent9", "s1", at)); diff != "" {
		t.Errorf("Asks (-desk +late):\n%s", diff)
	}
}

// An ask whose catalog cannot be read any more is in nobody's way: it can only expire.
func TestUnreadableCatalog(t *testing.T) {
	for what, kind := range map[string]error{"stricter now": authz.ErrInvalid, "gone": authz.ErrNotFound} {
		t.Run(what, func(t *testing.T) {
			w := open(t, organisation)
			c, broken := parse(t, organisation), false
			w.cfg.Catalog = func(_ context.Context, v int64) (*catalog.Catalog, error) {
				if v == 8 && broken {
					return nil, authz.Errorf(kind, "version %d", v)
				}
				return c, nil
			}
			w.log.desks, w.Desk = nil, nil
			w.Desk = w.another()
			good := w.ask("late")
			ask := func(to string) *approval.Ask {
				req := payment()
				req.Resource.ID = to
				a := about(req, 0, "late")
				a.Catalog = 8
				made, _, err := w.Ask(ctx, a)
				wantKind(t, "Ask", err, nil)
				return made
			}
			bad, held := ask("de8"), w.approve(ask("de9"), who("anna"))

			broken = true
			d := w.another()
			w.log.desks, w.Desk = []*approval.Desk{d}, d
			anna := who("anna")
			for what, f := range map[string]approval.Filter{
				"anna's":                   {Person: &anna, Limit: 10, Status: approval.Pending},
				"those that wait for anna": {Person: &anna, Mine: true, Limit: 10},
			} {
				list, err := d.List(ctx, f)
				wantKind(t, "List of "+what, err, nil)
				if len(list) != 1 || list[0].ID != good.ID {
					t.Errorf("%s: %s, want the ask whose catalog can be read", what, text(list))
				}
			}
			req := payment()
			req.Resource.ID = "de9"
			req.Approval = &authz.ApprovalRef{ID: held.Items[0].Approval.ID}
			if got, why := d.Holds(req, authz.Public, nil, w.log.Now()); got != nil || why != authz.ApprovalUnverifiable {
				t.Errorf("Holds = %v, %s, want it unverifiable", got, why)
			}
			w.log.pass(15 * time.Minute)
			wantKind(t, "Sweep", d.Sweep(ctx), nil)
			for _, a := range []*approval.Ask{good, bad} {
				got, err := d.Get(ctx, a.ID)
				wantKind(t, "Get", err, nil)
				if got.Escalated.IsZero() != (a == bad) {
					t.Errorf("ask of catalog %d is escalated at %v", got.Catalog, got.Escalated)
				}
			}
			w.log.pass(15 * time.Minute)
			wantKind(t, "Sweep", d.Sweep(ctx), nil)
			for _, a := range []*approval.Ask{good, bad} {
				got, err := w.cfg.Store.Ask(ctx, a.ID)
				wantKind(t, "Ask", err, nil)
				wantStatus(t, &got, approval.Expired)
			}
		})
	}
}
