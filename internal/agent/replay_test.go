package agent_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A moment is what the tables hold after some entry.
type moment struct {
	agents     []authz.Agent
	enrolments map[authz.AgentID][]agent.Enrolment
	keys       map[authz.AgentID][]agent.Credential
}

func look(t *testing.T, db agent.Store) moment {
	t.Helper()
	agents, err := db.Agents(t.Context(), "", 100)
	wantKind(t, "Agents", err, nil)
	es, cs, err := db.Credentials(t.Context(), "", "z")
	wantKind(t, "Credentials", err, nil)
	m := moment{agents: agents, enrolments: map[authz.AgentID][]agent.Enrolment{}, keys: map[authz.AgentID][]agent.Credential{}}
	for _, e := range es {
		m.enrolments[e.Agent] = append(m.enrolments[e.Agent], e)
	}
	for _, c := range cs {
		m.keys[c.Agent] = append(m.keys[c.Agent], c)
	}
	return m
}

// A torn store is read while others write: its agents are of one moment, and the credentials of
// each agent of another that is not before it. What is written to it is lost.
type torn struct {
	hole
	agents []authz.Agent
	of     map[authz.AgentID]moment
}

func (s *torn) Agents(_ context.Context, after authz.AgentID, _ int) (rest []authz.Agent, err error) {
	for _, a := range s.agents {
		if a.ID > after {
			rest = append(rest, a)
		}
	}
	return rest, nil
}

func (s *torn) Credentials(_ context.Context, after, last authz.AgentID) (es []agent.Enrolment, cs []agent.Credential, err error) {
	for id, m := range s.of {
		if id > after && id <= last {
			es = append(es, m.enrolments[id]...)
			cs = append(cs, m.keys[id]...)
		}
	}
	return es, cs, nil
}

// A history is random changes of a few agents that share a few keys, among them many that are
// refused, and the same bodies again later.
type history struct {
	*testing.T
	*rand.Rand
	r      *agent.Registry
	s      *spine
	keys   []*token.Key
	tokens []string
}

var historyIDs = []authz.AgentID{"a", "b", "c"}

func (h *history) step() {
	ctx := h.Context()
	id := historyIDs[h.IntN(len(historyIDs))]
	key := h.keys[h.IntN(len(h.keys))]
	url := fmt.Sprintf("https://agents.example/%d", h.IntN(2))
	all := h.r.Credentials(id)
	some := ""
	if len(all) > 0 {
		some = all[h.IntN(len(all))].ID
	}
	var err error
	switch h.IntN(13) {
	case 0:
		_, err = h.r.Put(ctx, "admin:anna", "new", bot(string(id)), 0)
	case 1:
		state := []authz.AgentState{authz.AgentActive, authz.AgentSuspended}[h.IntN(2)]
		if h.IntN(12) == 0 {
			state = authz.AgentRetired
		}
		_, err = h.r.SetState(ctx, "admin:anna", "state", id, state, 0)
	case 2, 3:
		var e agent.Enrolment
		if e, err = h.r.Enrol(ctx, "admin:anna", "new", id, time.Hour); err == nil {
			h.tokens = append(h.tokens, e.Token)
		}
	case 4, 5, 6:
		if n := len(h.tokens); n > 0 {
			_, err = h.r.Register(ctx, h.tokens[n-1-h.IntN(min(n, 2))], key)
		}
	case 7, 8:
		_, err = h.r.Rotate(ctx, "agent:"+string(id), id, some, key)
	case 9: // without asking first whether it can be, also of agents that are not registered yet
		_, err = h.s.Commit(ctx, audit.Draft{Kind: audit.CredentialPut, Actor: "admin:anna",
			Body: fmt.Appendf(nil, `{"agent":%q,"op":"link","id":%q,"why":"link"}`, id, url)})
	case 10:
		if h.IntN(4) == 0 {
			some = ""
		}
		_, err = h.r.RevokeCredential(ctx, "admin:anna", "revoke", id, some)
	case 12:
		err = h.r.KeepRegistration(ctx, "agent:"+string(id), id, sha256.Sum256([]byte{byte(h.IntN(3))}))
	case 11: // an entry of before, as another replica would write it that has not read the log to its end
		if n := len(h.s.entries); n > 0 {
			e := h.s.entries[h.IntN(n)]
			_, err = h.s.Commit(ctx, audit.Draft{Kind: e.Kind, Actor: e.Actor, Body: e.Body})
		}
	}
	if err != nil && !errors.Is(err, authz.ErrConflict) && !errors.Is(err, authz.ErrNotFound) && !errors.Is(err, authz.ErrUnauthenticated) && !errors.Is(err, authz.ErrInvalid) {
		h.Fatalf("a change: %v", err)
	}
}

// knows returns everything that a registry says of the agents.
func knows(r *agent.Registry, at time.Time) map[string]any {
	all := map[string]any{"agents": r.After("", 100)}
	for _, id := range historyIDs {
		e, _ := r.Enrolment(id, at)
		all["enrolment of "+string(id)] = e
		all["registration of "+string(id)], _ = r.Registration(id)
		all["keys of "+string(id)] = r.Credentials(id)
		all["facts of "+string(id)] = r.KeyFacts(id, at)
		all["epoch of "+string(id)] = r.Epoch(id)
		for _, c := range r.Credentials(id) {
			all["credential "+c.ID], _ = r.Credential(c.ID)
		}
	}
	all["due"] = len(r.Due(90*day, at))
	return all
}

// A replica that starts while others write loads its tables as they are, at no one moment, reads the
// log again from before that, and knows in the end what the others know. Nothing that was refused
// takes effect because of what came after it.
func TestRestartInTheMiddle(t *testing.T) {
	for seed := range uint64(6) {
		db := storetest.Open(t)
		s := &spine{}
		h := &history{T: t, Rand: rand.New(rand.NewPCG(seed, 7)), s: s}
		h.r = agent.NewRegistry(agent.Config{Store: db, Log: s, Now: s.now})
		s.replicas = []audit.Applier{h.r}
		for range 10 {
			h.keys = append(h.keys, newKey(t))
		}
		moments := []moment{look(t, db)}
		for len(s.entries) < 60 {
			h.step()
			for len(moments) <= len(s.entries) {
				moments = append(moments, look(t, db)) // a step records one entry at most
			}
		}
		n := len(s.entries)
		want := knows(h.r, s.now())
		replay := func(r *agent.Registry, after int) {
			for _, e := range s.entries[after:] {
				if err := r.Apply(t.Context(), e); err != nil && !errors.Is(err, authz.ErrConflict) && !errors.Is(err, authz.ErrNotFound) && !errors.Is(err, authz.ErrInvalid) {
					t.Fatalf("seed %d: Apply(%d) = %v, want nil or a verdict", seed, e.Seq, err)
				}
			}
		}
		for range 200 {
			at := h.IntN(n + 1)
			st := &torn{agents: moments[at].agents, of: map[authz.AgentID]moment{}}
			when := map[authz.AgentID]int{}
			for _, id := range historyIDs {
				when[id] = min(n, at+h.IntN(10))
				st.of[id] = moments[when[id]]
			}
			r := agent.NewRegistry(agent.Config{Store: st, Log: s, Now: s.now})
			wantKind(t, "Load", r.Load(t.Context()), nil)
			after := max(0, at-h.IntN(20))
			replay(r, after)
			if diff := cmp.Diff(want, knows(r, s.now())); diff != "" {
				t.Fatalf("seed %d: agents as of entry %d, credentials as of %v, log from %d (-want +got):\n%s", seed, at, when, after, diff)
			}
		}

		// The tables, too, do not change when all is applied once more, and are all that is needed.
		r := agent.NewRegistry(agent.Config{Store: db, Log: s, Now: s.now})
		wantKind(t, "Load", r.Load(t.Context()), nil)
		if diff := cmp.Diff(want, knows(r, s.now())); diff != "" {
			t.Fatalf("seed %d: after a restart (-want +got):\n%s", seed, diff)
		}
		replay(r, 0)
		if diff := cmp.Diff(moments[n], look(t, db), cmp.AllowUnexported(moment{})); diff != "" {
			t.Errorf("seed %d: tables after a replay of everything (-before +after):\n%s", seed, diff)
		}
	}
}

// A crash between what an entry changes in the tables and in memory leaves nothing behind: the entry
// is applied again. A store that fails makes Apply fail, and changes nothing.
func TestStoreFails(t *testing.T) {
	ctx := context.Background()
	s := &spine{}
	st := &failing{Store: storetest.Open(t)}
	r := agent.NewRegistry(agent.Config{Store: st, Log: s, Now: s.now})
	s.replicas = []audit.Applier{r}
	_, err := r.Put(ctx, "admin:anna", "new", bot("bot"), 0)
	wantKind(t, "Put", err, nil)
	e, err := r.Enrol(ctx, "admin:anna", "new", "bot", 0)
	wantKind(t, "Enrol", err, nil)
	key := newKey(t)
	st.err = authz.Errorf(authz.ErrUnavailable, "the disk is full")
	_, err = r.Register(ctx, e.Token, key)
	wantKind(t, "Register while the store fails", err, authz.ErrUnavailable)
	if _, err := r.Credential(key.ID); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("Credential = %v, want ErrNotFound", err)
	}
	st.err = nil
	wantKind(t, "Apply again", r.Apply(ctx, s.entries[2]), nil)
	wantActive(t, r, "bot", s.now(), key.ID)
	_, err = r.PendingEnrolment(e.Token, s.now())
	wantKind(t, "PendingEnrolment", err, authz.ErrUnauthenticated)
}

type failing struct {
	agent.Store
	err error
}

func (f *failing) PutCredentials(ctx context.Context, e *agent.Enrolment, cs []agent.Credential) error {
	if f.err != nil {
		return f.err
	}
	return f.Store.PutCredentials(ctx, e, cs)
}

// A stored key that cannot be read is not passed over.
func TestLoadRefuses(t *testing.T) {
	st := &torn{agents: []authz.Agent{bot("bot")}, of: map[authz.AgentID]moment{"bot": {
		keys: map[authz.AgentID][]agent.Credential{"bot": {{Agent: "bot", ID: "k", Kind: agent.KindKey, JWK: []byte(`{"kty":"oct"}`)}}},
	}}}
	wantKind(t, "Load", agent.NewRegistry(agent.Config{Store: st}).Load(t.Context()), authz.ErrInvalid)
}
