package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// A spine is the log and its follower, in one step: Commit numbers an entry, applies it to every
// replica and returns the first one's verdict. It fails on cue.
type spine struct {
	mu       sync.Mutex
	entries  []audit.Entry
	replicas []audit.Applier
	down     error
	late     time.Duration // that has passed beside the minute before each entry
}

var start = time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)

func (s *spine) Commit(ctx context.Context, d audit.Draft) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return 0, s.down
	}
	seq := int64(len(s.entries) + 1)
	e := audit.Entry{Seq: seq, At: s.at(seq), Kind: d.Kind, Actor: d.Actor, Body: d.Body}
	s.entries = append(s.entries, e)
	var verdict error
	for i, r := range s.replicas {
		if err := r.Apply(ctx, e); i == 0 {
			verdict = err
		}
	}
	return seq, verdict
}

// at returns the time of the entry of that number, should it be written now. The caller holds s.mu.
func (s *spine) at(seq int64) time.Time {
	return start.Add(time.Duration(seq)*time.Minute + s.late)
}

// now is a clock that agrees with the log's: the time of the newest entry, or later.
func (s *spine) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(int64(len(s.entries)))
}

// pass lets time pass.
func (s *spine) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late += d
}

// open returns a loaded registry on a database of its own, first replica of a new spine.
func open(t testing.TB) (*agent.Registry, *spine) {
	t.Helper()
	s := &spine{}
	r := agent.NewRegistry(agent.Config{Store: storetest.Open(t), Log: s, Now: s.now})
	if err := r.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.replicas = append(s.replicas, r)
	return r, s
}

func bot(id string) authz.Agent {
	return authz.Agent{
		ID: authz.AgentID(id), Owner: "anna", Purpose: "orders", Version: "1", Creator: "admin:anna",
		State: authz.AgentActive, Capabilities: []string{"read-orders"},
	}
}

func wantKind(t testing.TB, what string, err, kind error) {
	t.Helper()
	if kind == nil && err != nil || kind != nil && !errors.Is(err, kind) {
		t.Fatalf("%s: error %v, want %v", what, err, kind)
	}
}

func TestRegistry(t *testing.T) {
	ctx := context.Background()
	r, _ := open(t)
	_, err := r.Agent("bot")
	wantKind(t, "Agent before it is registered", err, authz.ErrNotFound)

	a := bot("bot")
	a.Capabilities = []string{"write", "read-orders", "write"} // in any order, and twice
	got, err := r.Put(ctx, "admin:anna", "new", a, 0)
	wantKind(t, "Put", err, nil)
	want := a
	want.Capabilities = []string{"read-orders", "write"}
	want.CreatedAt, want.UpdatedAt, want.Revision, want.AsOf = start.Add(time.Minute), start.Add(time.Minute), 1, 1
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("Put (-want +got):\n%s", diff)
	}

	_, err = r.Put(ctx, "admin:anna", "again", a, 0)
	wantKind(t, "Put of an id that is taken", err, authz.ErrConflict)
	_, err = r.Put(ctx, "admin:anna", "stale", a, 2)
	wantKind(t, "Put of a revision that is not there", err, authz.ErrConflict)
	_, err = r.Put(ctx, "admin:anna", "nobody", bot("other"), 1)
	wantKind(t, "Put of a revision of nobody", err, authz.ErrNotFound)

	a.Version = "2"
	got, err = r.Put(ctx, "admin:anna", "new model", a, 1)
	wantKind(t, "Put of the next revision", err, nil)
	if got.Version != "2" || got.Revision != 2 || !got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.After(want.UpdatedAt) {
		t.Errorf("second revision = %+v, want version 2, revision 2, created as before, updated later", got)
	}
}

func TestStates(t *testing.T) {
	ctx := context.Background()
	r, _ := open(t)
	_, err := r.SetState(ctx, "admin:anna", "why", "bot", authz.AgentSuspended, 0)
	wantKind(t, "SetState of nobody", err, authz.ErrNotFound)
	_, err = r.Put(ctx, "admin:anna", "new", bot("bot"), 0)
	wantKind(t, "Put", err, nil)

	enter := func(state authz.AgentState, why string) {
		t.Helper()
		a, err := r.SetState(ctx, "admin:anna", why, "bot", state, 0)
		wantKind(t, "SetState "+string(state), err, nil)
		if a.State != state || a.StateReason != why {
			t.Errorf("SetState(%s, %q) leaves %s, %q", state, why, a.State, a.StateReason)
		}
	}
	enter(authz.AgentSuspended, "on leave")
	enter(authz.AgentActive, "back")
	enter(authz.AgentQuarantined, "odd")
	enter(authz.AgentSuspended, "odder")
	enter(authz.AgentActive, "cleared up")
	_, err = r.SetState(ctx, "admin:anna", "why", "bot", authz.AgentSuspended, 1)
	wantKind(t, "SetState of an old revision", err, authz.ErrConflict)
	_, err = r.SetState(ctx, "admin:anna", "why", "bot", "asleep", 0)
	wantKind(t, "SetState of a state that is none", err, authz.ErrInvalid)
	_, err = r.SetState(ctx, "admin:anna", "", "bot", authz.AgentSuspended, 0)
	wantKind(t, "SetState without why", err, authz.ErrInvalid)

	// Retired is for good.
	enter(authz.AgentRetired, "replaced")
	_, err = r.SetState(ctx, "admin:anna", "oops", "bot", authz.AgentActive, 0)
	wantKind(t, "SetState of a retired agent", err, authz.ErrConflict)
	have, _ := r.Agent("bot")
	_, err = r.Put(ctx, "admin:anna", "oops", bot("bot"), have.Revision)
	wantKind(t, "Put of a retired agent", err, authz.ErrConflict)
	_, err = r.Put(ctx, "admin:anna", "reuse", bot("bot"), 0)
	wantKind(t, "Put of a retired agent's id", err, authz.ErrConflict)
}

func TestPutRefuses(t *testing.T) {
	ctx := context.Background()
	r, s := open(t)
	refuse := func(message string, change func(*authz.Agent)) {
		t.Helper()
		a := bot("bot")
		change(&a)
		_, err := r.Put(ctx, "admin:anna", "why", a, 0)
		if !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), message) {
			t.Errorf("Put = %v, want ErrInvalid with %q", err, message)
		}
	}
	for _, id := range []string{"", "Bot", "-bot", "bot/1", "bot bot", "bôt", "bot\x00", strings.Repeat("b", 129)} {
		refuse("id ", func(a *authz.Agent) { a.ID = authz.AgentID(id) })
	}
	refuse("owner is missing", func(a *authz.Agent) { a.Owner = "" })
	refuse("owner is missing; purpose is missing", func(a *authz.Agent) { a.Owner, a.Purpose = "", "" })
	refuse("version is longer", func(a *authz.Agent) { a.Version = strings.Repeat("1", 257) })
	refuse("purpose is not printable", func(a *authz.Agent) { a.Purpose = "a\nb" })
	refuse("purpose is not printable", func(a *authz.Agent) { a.Purpose = "a\xff" })
	refuse("state", func(a *authz.Agent) { a.State = "asleep" })
	refuse("more than 256 capabilities", func(a *authz.Agent) {
		for i := range 300 {
			a.Capabilities = append(a.Capabilities, fmt.Sprint("c", i))
		}
	})
	refuse("capability", func(a *authz.Agent) { a.Capabilities = []string{""} })
	refuse("more than 32 labels", func(a *authz.Agent) {
		a.Labels = map[string]string{}
		for i := range 33 {
			a.Labels[fmt.Sprint("l", i)] = "x"
		}
	})
	refuse("label", func(a *authz.Agent) { a.Labels = map[string]string{"a": strings.Repeat("x", 300)} })
	if _, err := r.Put(ctx, "admin:anna", "", bot("bot"), 0); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("Put without why = %v, want ErrInvalid", err)
	}
	if _, err := r.Put(ctx, "admin:anna", "why", bot("bot"), -1); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("Put with a negative revision = %v, want ErrInvalid", err)
	}
	if len(s.entries) != 0 {
		t.Errorf("%d entries are recorded of what was refused, want none", len(s.entries))
	}
}

// What is granted must be declared. An agent whose capability was withdrawn can still be stopped.
func TestCapabilitiesAreDeclared(t *testing.T) {
	ctx := context.Background()
	s := &spine{}
	declared := true
	r := agent.NewRegistry(agent.Config{Store: storetest.Open(t), Log: s, Known: func(c string) bool {
		return declared && c == "read-orders"
	}})
	s.replicas = []audit.Applier{r}
	a := bot("bot")
	a.Capabilities = []string{"read-orders", "reed-orders"}
	_, err := r.Put(ctx, "admin:anna", "why", a, 0)
	if !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), `"reed-orders" is not in the active catalog`) {
		t.Errorf("Put of an unknown capability = %v, want ErrInvalid that names it", err)
	}
	_, err = r.Put(ctx, "admin:anna", "why", bot("bot"), 0)
	wantKind(t, "Put", err, nil)
	declared = false
	_, err = r.SetState(ctx, "admin:anna", "why", "bot", authz.AgentSuspended, 0)
	wantKind(t, "SetState after the capability was withdrawn", err, nil)
}

// A change that cannot be recorded changes nothing.
func TestPutUnrecorded(t *testing.T) {
	ctx := context.Background()
	r, s := open(t)
	s.down = authz.Errorf(authz.ErrUnavailable, "the log is down")
	_, err := r.Put(ctx, "admin:anna", "why", bot("bot"), 0)
	wantKind(t, "Put while the log is down", err, authz.ErrUnavailable)
	_, err = r.Agent("bot")
	wantKind(t, "Agent afterwards", err, authz.ErrNotFound)
}

// Of many who change the same revision one succeeds, and every replica has the same agents, also one
// that is started in the middle, from the tables, and sees old entries again.
func TestReplicasAgree(t *testing.T) {
	ctx := context.Background()
	db := storetest.Open(t)
	s := &spine{}
	var rs [3]*agent.Registry
	for i := range 2 {
		rs[i] = agent.NewRegistry(agent.Config{Store: db, Log: s})
		s.replicas = append(s.replicas, rs[i])
	}
	_, err := rs[0].Put(ctx, "admin:anna", "new", bot("bot"), 0)
	wantKind(t, "Put", err, nil)
	change := func(n int) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		have, _ := rs[0].Agent("bot")
		for i := range n {
			wg.Go(func() {
				a := bot("bot")
				a.Version = fmt.Sprint(i)
				_, err := rs[i%2].Put(ctx, "admin:anna", "race", a, have.Revision)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
				} else if !errors.Is(err, authz.ErrConflict) {
					t.Errorf("Put = %v, want ErrConflict", err)
				}
			})
		}
		wg.Wait()
		if won != 1 {
			t.Errorf("%d of %d who changed one revision succeeded, want 1", won, n)
		}
	}
	change(8)
	change(8)

	rs[2] = agent.NewRegistry(agent.Config{Store: db, Log: s})
	wantKind(t, "Load", rs[2].Load(ctx), nil)
	for _, e := range s.entries {
		if err := rs[2].Apply(ctx, e); err != nil && !errors.Is(err, authz.ErrConflict) {
			t.Errorf("Apply(%d) = %v, want nil or a verdict", e.Seq, err)
		}
	}
	s.replicas = append(s.replicas, rs[2])
	change(4)
	want, _ := rs[0].Agent("bot")
	if want.Revision != 4 {
		t.Errorf("revision = %d, want 4", want.Revision)
	}
	for i, r := range rs[1:] {
		got, _ := r.Agent("bot")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("replica %d differs (-first +it):\n%s", i+1, diff)
		}
	}
}

// Entries that nobody of ours would have written are refused, the same everywhere.
func TestApplyRefuses(t *testing.T) {
	r, _ := open(t)
	refuse := func(body string) {
		t.Helper()
		err := r.Apply(context.Background(), audit.Entry{Seq: 1, At: start, Kind: audit.AgentPut, Body: []byte(body)})
		wantKind(t, "Apply of "+body, err, authz.ErrInvalid)
	}
	refuse(``)
	refuse(`[]`)
	refuse(`{}`)
	refuse(`{"agent": {"id": 5}}`)
	bad := bot("bot")
	bad.Capabilities = []string{"b", "a"}
	body, err := json.Marshal(agent.Change{Agent: bad, Why: "why"})
	if err != nil {
		t.Fatal(err)
	}
	refuse(string(body))
	if err := r.Apply(context.Background(), audit.Entry{Seq: 2, Kind: audit.DecisionMade, Body: []byte(`{}`)}); err != nil {
		t.Errorf("Apply of another kind = %v, want nil", err)
	}
}

// Load after Reopen finds what was there, whatever the size of a page.
func TestLoad(t *testing.T) {
	ctx := context.Background()
	db := storetest.Open(t)
	s := &spine{}
	r := agent.NewRegistry(agent.Config{Store: db, Log: s})
	s.replicas = []audit.Applier{r}
	for i := range 1001 {
		if _, err := r.Put(ctx, "admin:anna", "new", bot(fmt.Sprintf("bot-%04d", i)), 0); err != nil {
			t.Fatal(err)
		}
	}
	again := agent.NewRegistry(agent.Config{Store: storetest.Reopen(t, db), Log: s})
	wantKind(t, "Load", again.Load(ctx), nil)
	if diff := cmp.Diff(r.Agents(agent.Filter{}, "", 2000), again.Agents(agent.Filter{}, "", 2000)); diff != "" {
		t.Errorf("after Load (-before +after):\n%s", diff)
	}
	if got := again.Len(); got != 1001 {
		t.Errorf("Len = %d, want 1001", got)
	}
}
