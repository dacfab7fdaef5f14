package caller_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// A tape is a log in memory: what is committed is applied at once, by every registry on it.
type tape struct {
	entries []audit.Entry
	all     []*caller.Registry
}

func (l *tape) Commit(ctx context.Context, d audit.Draft) (int64, error) {
	e := audit.Entry{Seq: int64(len(l.entries)) + 1, At: time.Date(2026, 1, 2, 3, 4, len(l.entries), 0, time.UTC), Kind: d.Kind, Actor: d.Actor, Body: d.Body}
	l.entries = append(l.entries, e)
	var verdict error
	for _, r := range l.all {
		if err := r.Apply(ctx, e); err != nil {
			verdict = err
		}
	}
	return e.Seq, verdict
}

func newRegistry(t *testing.T, l *tape, db *store.DB) *caller.Registry {
	t.Helper()
	r := caller.NewRegistry(db, l)
	if err := r.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.all = append(l.all, r)
	return r
}

func TestCreateAuthenticateRevoke(t *testing.T) {
	l, db := &tape{}, storetest.Open(t)
	r := newRegistry(t, l, db)
	ctx := t.Context()
	root, _, err := r.Create(ctx, "safeconduct", "test", "root", caller.Administrator)
	if err != nil {
		t.Fatal(err)
	}
	n := len(l.entries)
	if _, err := r.Revoke(ctx, "admin:root", "test", root.ID); !errors.Is(err, authz.ErrConflict) || len(l.entries) != n {
		t.Errorf("revoking the last administrator: %v, %d entries; want authz.ErrConflict and none", err, len(l.entries)-n)
	}
	for role, prefix := range map[caller.Role]string{caller.Administrator: "sc_admin_", caller.Auditor: "sc_audit_", caller.PEP: "sc_pep_", caller.Edge: "sc_edge_", caller.Approver: "sc_appr_", caller.Viewer: "sc_view_", caller.Operator: "sc_oper_", caller.Author: "sc_auth_"} {
		c, token, err := r.Create(ctx, "admin:root", "test", "eve", role)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(token, prefix) || len(token) != len(prefix)+43 {
			t.Errorf("%s: token of %d characters does not begin with %s", role, len(token), prefix)
		}
		who, err := r.Authenticate(token)
		if err != nil || who.ID != c.ID || who.Role != role || who.Name != "eve" {
			t.Errorf("%s: Authenticate = %+v, %v", role, who, err)
		}
		for _, wrong := range []string{"", token + "x", token[:len(token)-1], strings.ToUpper(token)} {
			if who, err := r.Authenticate(wrong); !errors.Is(err, authz.ErrUnauthenticated) || who != nil {
				t.Errorf("a wrong token: %+v, %v", who, err)
			}
		}
		for _, e := range l.entries {
			if strings.Contains(string(e.Body), token) {
				t.Error("the log holds a token")
			}
		}
		if text, _ := json.Marshal(r.Callers()); strings.Contains(string(text), c.Hash) && c.Hash != "" {
			t.Error("the list shows a hash")
		}
		if _, err := r.Revoke(ctx, "admin:root", "test", c.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Authenticate(token); !errors.Is(err, authz.ErrUnauthenticated) {
			t.Errorf("a revoked token: %v", err)
		}
		n := len(l.entries)
		if again, err := r.Revoke(ctx, "admin:root", "test", c.ID); err != nil || again.RevokedAt.IsZero() || len(l.entries) != n {
			t.Errorf("revoking twice: %+v, %v", again, err)
		}
	}
	if _, err := r.Revoke(ctx, "admin:root", "test", "nobody"); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("revoking nobody: %v", err)
	}
}

func TestCreateRefuses(t *testing.T) {
	l := &tape{}
	r := newRegistry(t, l, storetest.Open(t))
	ctx := t.Context()
	for _, c := range []struct {
		name, why string
		role      caller.Role
	}{
		{"", "w", caller.PEP}, {"a b", "w", caller.PEP}, {"a:b", "w", caller.PEP}, {strings.Repeat("x", 101), "w", caller.PEP},
		{"a\x00", "w", caller.PEP}, {"a", "", caller.PEP}, {"a", strings.Repeat("x", 1001), caller.PEP}, {"a", "w", "king"}, {"a", "w", ""},
	} {
		if _, token, err := r.Create(ctx, "admin:root", c.why, c.name, c.role); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("Create(%q, %q, %q) = token of %d bytes, %v; want authz.ErrInvalid", c.why, c.name, c.role, len(token), err)
		}
	}
	if len(l.entries) != 0 {
		t.Errorf("%d entries of refused callers", len(l.entries))
	}
	c, _, err := r.Create(ctx, "admin:root", "w", "a", caller.PEP)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Create(ctx, "admin:root", "w", "a", caller.PEP); !errors.Is(err, authz.ErrConflict) {
		t.Errorf("the same name and role: %v, want authz.ErrConflict", err)
	}
	if _, _, err := r.Create(ctx, "admin:root", "w", "a", caller.Auditor); err != nil {
		t.Errorf("the same name in another role: %v", err)
	}
	if _, err := r.Revoke(ctx, "admin:root", "w", c.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Create(ctx, "admin:root", "w", "a", caller.PEP); err != nil {
		t.Errorf("the name of a revoked caller: %v", err)
	}
}

// Replicas agree, one that starts later knows the same, and entries seen twice change nothing.
func TestReplicas(t *testing.T) {
	l, db := &tape{}, storetest.Open(t)
	one, two := newRegistry(t, l, db), newRegistry(t, l, db)
	ctx := t.Context()
	a, tokenA, err := one.Create(ctx, "admin:root", "w", "a", caller.PEP)
	if err != nil {
		t.Fatal(err)
	}
	_, tokenB, err := two.Create(ctx, "admin:root", "w", "b", caller.Administrator)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.Revoke(ctx, "admin:root", "w", a.ID); err != nil {
		t.Fatal(err)
	}
	three := newRegistry(t, &tape{}, db)
	for _, r := range []*caller.Registry{one, two, three} {
		for range 2 {
			if _, err := r.Authenticate(tokenA); !errors.Is(err, authz.ErrUnauthenticated) {
				t.Errorf("revoked: %v", err)
			}
			if _, err := r.Authenticate(tokenB); err != nil {
				t.Errorf("created elsewhere: %v", err)
			}
			if diff := cmp.Diff(one.Callers(), r.Callers()); diff != "" {
				t.Errorf("replicas differ:\n%s", diff)
			}
			for _, e := range l.entries { // all of it again
				if err := r.Apply(ctx, e); err != nil {
					t.Errorf("entry %d again: %v", e.Seq, err)
				}
			}
		}
	}
}

func TestEnsure(t *testing.T) {
	l, db := &tape{}, storetest.Open(t)
	r := newRegistry(t, l, db)
	ctx := t.Context()
	ensure := func(token string) string {
		t.Helper()
		made, err := r.Ensure(ctx, "first", "admin", caller.Administrator, token)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	made := ensure("")
	if _, err := r.Authenticate(made); err != nil || made == "" {
		t.Fatalf("the made token: %v", err)
	}
	if again := ensure(""); again != "" {
		t.Error("a second token was made")
	}
	const given = "given-token-of-an-administrator"
	for range 2 {
		if ensure(given) != "" {
			t.Error("a token was made where one was given")
		}
	}
	if len(l.entries) != 2 {
		t.Errorf("%d entries, want 2", len(l.entries))
	}
	if _, err := r.Authenticate(made); !errors.Is(err, authz.ErrUnauthenticated) {
		t.Errorf("the token that was replaced: %v", err)
	}
	if _, err := r.Authenticate(given); err != nil {
		t.Errorf("the token that was given: %v", err)
	}
	if _, err := r.Ensure(ctx, "first", "admin", caller.Administrator, "short"); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("a short token: %v", err)
	}
}

func TestApplyRefusesForeignBodies(t *testing.T) {
	r := newRegistry(t, &tape{}, storetest.Open(t))
	for _, body := range []string{``, `[]`, `{}`, `{"id":"x","name":"n","role":"king","hash":"00","why":"w"}`, `{"id":"x","name":"","role":"pep","hash":"00","why":"w"}`} {
		e := audit.Entry{Seq: 1, Kind: audit.CallerPut, Body: json.RawMessage(body)}
		if err := r.Apply(t.Context(), e); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: %v, want authz.ErrInvalid", body, err)
		}
	}
	if err := r.Apply(t.Context(), audit.Entry{Seq: 2, Kind: audit.DecisionMade}); err != nil {
		t.Errorf("an entry of another kind: %v", err)
	}
	if n := len(r.Callers()); n != 0 {
		t.Errorf("%d callers", n)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	l := &tape{}
	r := caller.NewRegistry(storetest.Open(b), l)
	l.all = append(l.all, r)
	var token string
	for _, name := range []string{"a", "b", "c"} {
		var err error
		if _, token, err = r.Create(b.Context(), "admin:root", "w", name, caller.PEP); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Authenticate(token); err != nil {
			b.Fatal(err)
		}
	}
}

// racing commits after somebody else did, once.
type racing struct {
	*tape
	first func()
}

func (l *racing) Commit(ctx context.Context, d audit.Draft) (int64, error) {
	if f := l.first; f != nil {
		l.first = nil
		f()
	}
	return l.tape.Commit(ctx, d)
}

// shelf is a store in memory.
type shelf struct{}

func (shelf) Callers(context.Context) ([]caller.Caller, error) { return nil, nil }
func (shelf) PutCaller(context.Context, caller.Caller) error   { return nil }

// locked is a tape on which several may commit.
type locked struct {
	mu sync.Mutex
	tape
}

func (l *locked) Commit(ctx context.Context, d audit.Draft) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tape.Commit(ctx, d)
}

// However two replicas' first steps fall between each other, one token is made, and it stays good.
func TestEnsureInterleaved(t *testing.T) {
	for range 3000 {
		l := &locked{}
		all := []*caller.Registry{caller.NewRegistry(shelf{}, l), caller.NewRegistry(shelf{}, l)}
		l.all = all
		made := make([]string, len(all))
		var wg sync.WaitGroup
		for i, r := range all {
			wg.Go(func() {
				var err error
				if made[i], err = r.Ensure(t.Context(), "first", "admin", caller.Administrator, ""); err != nil && !errors.Is(err, authz.ErrConflict) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if (made[0] == "") == (made[1] == "") {
			t.Fatalf("made %q, want one token", made)
		}
		for i, r := range all {
			if _, err := r.Authenticate(made[0] + made[1]); err != nil {
				t.Fatalf("registry %d refuses the token that was made: %v", i+1, err)
			}
		}
	}
}

// Replicas that start at once on an empty store do not take each other's first token away.
func TestEnsureAtOnce(t *testing.T) {
	const given = "given-token-of-an-administrator"
	for _, tt := range []struct {
		name, first, second string
		conflict            bool
	}{
		{"both make one", "", "", true},
		{"both are given the same", given, given, false},
		{"both are given, and differ", given, given + "-other", true},
	} {
		l, db := &tape{}, storetest.Open(t)
		one := newRegistry(t, l, db)
		race := &racing{tape: l}
		two := caller.NewRegistry(db, race)
		if err := two.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.all = append(l.all, two)
		kept := tt.first
		race.first = func() {
			made, err := one.Ensure(t.Context(), "first", "admin", caller.Administrator, tt.first)
			if err != nil {
				t.Fatalf("%s: the first: %v", tt.name, err)
			}
			if made != "" {
				kept = made
			}
		}
		made, err := two.Ensure(t.Context(), "first", "admin", caller.Administrator, tt.second)
		if errors.Is(err, authz.ErrConflict) != tt.conflict || made != "" {
			t.Errorf("%s: the second: %v, want a conflict: %v, and no token", tt.name, err, tt.conflict)
		}
		for i, r := range []*caller.Registry{one, two} {
			if _, err := r.Authenticate(kept); err != nil {
				t.Errorf("%s: registry %d refuses the first token: %v", tt.name, i+1, err)
			}
		}
	}
}

// The log names a caller by role and name; an approver is the person.
func TestActor(t *testing.T) {
	for role, want := range map[caller.Role]string{
		caller.Viewer: "viewer:anna", caller.Operator: "operator:anna", caller.Author: "author:anna",
		caller.Administrator: "admin:anna", caller.Auditor: "auditor:anna", caller.PEP: "pep:anna", caller.Edge: "edge:anna", caller.Approver: "person:anna",
	} {
		who := (&caller.Caller{Name: "anna", Role: role}).Identity()
		if got := who.Actor(); got != want {
			t.Errorf("Actor() of role %s = %q, want %q", role, got, want)
		}
	}
}
