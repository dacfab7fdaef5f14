package stop_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/stop"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

var start = time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)

// A spine is the log and its follower, in one step. Its clock is set by hand.
type spine struct {
	mu      sync.Mutex
	entries []audit.Entry
	boards  []*stop.Board
	now     time.Time
}

func (s *spine) Commit(ctx context.Context, d audit.Draft) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seq := int64(len(s.entries) + 1)
	e := audit.Entry{Seq: seq, At: s.now, Kind: d.Kind, Actor: d.Actor, Body: d.Body}
	s.entries = append(s.entries, e)
	var verdict error
	for i, b := range s.boards {
		if err := b.Apply(ctx, e); i == 0 {
			verdict = err
		}
	}
	return seq, verdict
}

func wantKind(t *testing.T, what string, err, kind error) {
	t.Helper()
	if kind == nil && err != nil || kind != nil && !errors.Is(err, kind) {
		t.Fatalf("%s: error %v, want %v", what, err, kind)
	}
}

func each(t *testing.T, two bool, f func(t *testing.T, b *stop.Board, s *spine, cfg stop.Config)) {
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		s := &spine{now: start}
		cfg := stop.Config{Store: storetest.OpenConfig(t, config(t)), Log: s, Two: two, Now: func() time.Time { return s.now }}
		b := stop.NewBoard(cfg)
		wantKind(t, "Load", b.Load(t.Context()), nil)
		s.boards = append(s.boards, b)
		f(t, b, s, cfg)
	})
}

// moment returns the facts of a request of bot for boss.
func moment() *authz.Facts {
	return &authz.Facts{
		Agent:  &authz.Agent{ID: "bot", Owner: "sales", Purpose: "orders"},
		Behalf: []authz.Delegator{{Agent: &authz.Agent{ID: "boss", Owner: "finance", Purpose: "planning"}}},
	}
}

func TestScope(t *testing.T) {
	covers := func(capability string) bool { return capability == "pay" }
	is := func(scope stop.Scope, want bool) {
		t.Helper()
		s := stop.Stop{Scope: scope}
		if got := s.Concerns(moment(), covers); got != want {
			t.Errorf("%+v concerns the request: %v, want %v", scope, got, want)
		}
	}
	is(stop.Scope{Everything: true}, true)
	is(stop.Scope{}, true) // of a record that this program does not understand
	is(stop.Scope{Agent: "bot"}, true)
	is(stop.Scope{Agent: "boss"}, true)
	is(stop.Scope{Agent: "bob"}, false)
	is(stop.Scope{Owner: "sales"}, true)
	is(stop.Scope{Owner: "finance"}, true)
	is(stop.Scope{Owner: "legal"}, false)
	is(stop.Scope{Purpose: "planning"}, true)
	is(stop.Scope{Purpose: "plan"}, false)
	is(stop.Scope{Capability: "pay"}, true)
	is(stop.Scope{Capability: "read"}, false)
	is(stop.Scope{Owner: "sales", Purpose: "orders"}, true)
	is(stop.Scope{Owner: "sales", Purpose: "planning"}, false) // which is no one agent
	is(stop.Scope{Agent: "bot", Capability: "pay"}, true)
	is(stop.Scope{Agent: "bob", Capability: "pay"}, false)
	for _, bad := range []stop.Scope{{}, {Everything: true, Agent: "bot"}, {Owner: "a\nb"}} {
		wantKind(t, "Check", bad.Check(), authz.ErrInvalid)
	}
}

func TestStops(t *testing.T) {
	each(t, false, func(t *testing.T, b *stop.Board, s *spine, cfg stop.Config) {
		ctx := t.Context()
		none := func(string) bool { return false }
		put := func(id string, scope stop.Scope, life time.Duration) error {
			x := stop.Stop{ID: id, Scope: scope, Why: "incident 7"}
			if life != 0 {
				x.Until = s.now.Add(life)
			}
			_, err := b.Put(ctx, "operator:olga", x)
			return err
		}
		holds := func(what string, want ...string) {
			t.Helper()
			other := stop.NewBoard(cfg) // after a restart
			wantKind(t, "Load", other.Load(ctx), nil)
			for _, b := range []*stop.Board{b, other} {
				if diff := cmp.Diff(want, b.Holding(moment(), s.now, none)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
		}
		holds("nothing is stopped")
		wantKind(t, "a stop without a scope", put("x", stop.Scope{}, 0), authz.ErrInvalid)
		wantKind(t, "a stop without a name", put("", stop.Scope{Everything: true}, 0), authz.ErrInvalid)
		wantKind(t, "a stop that is over", put("x", stop.Scope{Everything: true}, -time.Second), authz.ErrInvalid)
		wantKind(t, "a stop for ever and a day", put("x", stop.Scope{Everything: true}, 367*24*time.Hour), authz.ErrInvalid)

		wantKind(t, "Put", put("b", stop.Scope{Agent: "bot"}, 0), nil)
		wantKind(t, "Put", put("a", stop.Scope{Everything: true}, time.Hour), nil)
		wantKind(t, "Put of another", put("c", stop.Scope{Agent: "bob"}, 0), nil)
		holds("two concern it", "a", "b")
		if got := b.Agent(&authz.Agent{ID: "bob"}, s.now); got != "a" {
			t.Errorf("bob is stopped by %q, want a", got)
		}
		wantKind(t, "the very same once more", put("b", stop.Scope{Agent: "bot"}, 0), nil)
		entries := len(s.entries)
		wantKind(t, "another in its place", put("b", stop.Scope{Agent: "bob"}, 0), authz.ErrConflict)
		wantKind(t, "a shorter one in its place", put("b", stop.Scope{Agent: "bot"}, time.Minute), authz.ErrConflict)
		if len(s.entries) != entries+2 {
			t.Errorf("%d entries say that somebody tried, want 2", len(s.entries)-entries)
		}
		holds("it stands as it was", "a", "b")

		s.now = start.Add(time.Hour)
		holds("one is over", "b")
		wantKind(t, "a name that was used", put("a", stop.Scope{Everything: true}, 0), authz.ErrConflict)

		_, err := b.Lift(ctx, "operator:otto", "", "b")
		wantKind(t, "lifting without a reason", err, authz.ErrInvalid)
		_, err = b.Lift(ctx, "operator:otto", "over", "d")
		wantKind(t, "lifting what is none", err, authz.ErrNotFound)
		x, err := b.Lift(ctx, "operator:olga", "over", "b")
		wantKind(t, "lifting", err, nil)
		if !x.Lifted() || x.LiftedBy != "operator:olga" || x.LiftedWhy != "over" || x.Why != "incident 7" || x.PutBy != "operator:olga" {
			t.Errorf("lifted: %+v", x)
		}
		holds("it is lifted")
		_, err = b.Lift(ctx, "operator:otto", "over", "b")
		wantKind(t, "lifting twice", err, authz.ErrConflict)

		all, err := b.Stops(ctx, 0, 2)
		wantKind(t, "Stops", err, nil)
		rest, err := b.Stops(ctx, all[1].AsOf, 2)
		wantKind(t, "Stops", err, nil)
		if got := []string{all[0].ID, all[1].ID, rest[0].ID}; len(rest) != 1 || cmp.Diff([]string{"c", "a", "b"}, got) != "" {
			t.Errorf("all stops are %v and %v", all, rest)
		}
		// Applying everything again changes nothing, and lets nothing stand in between that does not.
		for _, e := range s.entries {
			_ = b.Apply(ctx, e)
			holds("in a replay")
		}
		if got := b.Standing(); len(got) != 1 || got[0].ID != "c" {
			t.Errorf("%v stand, want c", got)
		}
	})
}

func TestSecondPerson(t *testing.T) {
	each(t, true, func(t *testing.T, b *stop.Board, s *spine, _ stop.Config) {
		_, err := b.Put(t.Context(), "operator:olga", stop.Stop{ID: "a", Scope: stop.Scope{Everything: true}, Why: "incident 7"})
		wantKind(t, "Put", err, nil)
		_, err = b.Lift(t.Context(), "operator:olga", "over", "a")
		wantKind(t, "lifting one's own", err, authz.ErrForbidden)
		_, err = b.Lift(t.Context(), "operator:otto", "over", "a")
		wantKind(t, "lifting another's", err, nil)
	})
}

// So many stops are too many, and everything can still be stopped.
func TestMost(t *testing.T) {
	each(t, false, func(t *testing.T, b *stop.Board, _ *spine, _ stop.Config) {
		put := func(id string, scope stop.Scope) error {
			_, err := b.Put(t.Context(), "operator:olga", stop.Stop{ID: id, Scope: scope, Why: "incident 7"})
			return err
		}
		for i := range 200 {
			wantKind(t, "Put", put(fmt.Sprint("a", i), stop.Scope{Agent: authz.AgentID(fmt.Sprint(i))}), nil)
		}
		wantKind(t, "one more", put("b", stop.Scope{Agent: "bot"}), authz.ErrConflict)
		for i := range 8 {
			wantKind(t, "everything", put(fmt.Sprint("c", i), stop.Scope{Everything: true}), nil)
		}
		wantKind(t, "everything, once more", put("d", stop.Scope{Everything: true}), authz.ErrConflict)
	})
}

// What a newer program wrote, or wrote otherwise, stops more than it says, never less: when it is applied as when it is loaded.
func TestScopeNotUnderstood(t *testing.T) {
	for _, scope := range []string{`{"planet":"mars"}`, `{"agent":["bob"]}`, `7`} {
		each(t, false, func(t *testing.T, b *stop.Board, s *spine, cfg stop.Config) {
			body := `{"id":"p","scope":` + scope + `,"why":"w"}`
			wantKind(t, "Apply", b.Apply(t.Context(), audit.Entry{Seq: 1, At: s.now, Kind: audit.StopPut, Actor: "operator:olga", Body: []byte(body)}), nil)
			other := stop.NewBoard(cfg)
			wantKind(t, "Load", other.Load(t.Context()), nil)
			for _, b := range []*stop.Board{b, other} {
				if got := b.Holding(moment(), s.now, func(string) bool { return false }); len(got) != 1 {
					t.Errorf("%s: %v hold, want p", scope, got)
				}
			}
		})
	}
}

// A clock that is ahead when stops are loaded, or in the entry of another, does not end those that stand by the right one.
func TestClocks(t *testing.T) {
	each(t, false, func(t *testing.T, b *stop.Board, s *spine, cfg stop.Config) {
		put := func(id string, scope stop.Scope) {
			t.Helper()
			_, err := b.Put(t.Context(), "operator:olga", stop.Stop{ID: id, Scope: scope, Why: "incident 7", Until: s.now.Add(time.Hour)})
			wantKind(t, "Put", err, nil)
		}
		put("a", stop.Scope{Agent: "bot"})
		s.now = start.Add(5 * time.Hour)
		other := stop.NewBoard(cfg)
		wantKind(t, "Load", other.Load(t.Context()), nil)
		put("b", stop.Scope{Agent: "bob"})
		s.now = start
		for _, b := range []*stop.Board{b, other} {
			if got := b.Holding(moment(), s.now, nil); len(got) != 1 || got[0] != "a" {
				t.Errorf("%v hold, want a", got)
			}
		}
	})
}

func TestDeclared(t *testing.T) {
	each(t, false, func(t *testing.T, b *stop.Board, s *spine, _ stop.Config) {
		_, err := b.Put(t.Context(), "operator:olga", stop.Stop{ID: "a", Scope: stop.Scope{Capability: "pay"}, Why: "incident 7"})
		wantKind(t, "Put", err, nil)
		wantKind(t, "a catalog with it", b.Declared(func(c string) bool { return c == "pay" }), nil)
		wantKind(t, "a catalog without it", b.Declared(func(c string) bool { return c == "read" }), authz.ErrConflict)
		_, err = b.Lift(t.Context(), "operator:olga", "over", "a")
		wantKind(t, "Lift", err, nil)
		wantKind(t, "when it is lifted", b.Declared(func(c string) bool { return false }), nil)
	})
}

// If what is stopped cannot be read, nothing starts; if it cannot be kept, the entry is tried again.
func TestStopsUnreadable(t *testing.T) {
	s := &spine{now: start}
	db := storetest.Open(t)
	b := stop.NewBoard(stop.Config{Store: db, Log: s, Now: func() time.Time { return s.now }})
	db.Close()
	wantKind(t, "Load", b.Load(t.Context()), authz.ErrUnavailable)
	err := b.Apply(t.Context(), audit.Entry{Seq: 1, At: start, Kind: audit.StopPut, Actor: "operator:olga", Body: []byte(`{"id":"a","scope":{"everything":true},"why":"w"}`)})
	wantKind(t, "Apply", err, authz.ErrUnavailable)
}
