// Package agent is the registry of agents: who they are, for whom and for what they work, what they
// are granted, and whether they may act at all.
//
// A registered agent is a value that never changes; a change makes the next revision. Changes are
// recorded in the log and take effect when the entry is applied, on every replica in the same order,
// so that replicas never disagree about a revision. A retired agent stays retired: its id is not
// given to another.
//
// Beside the agents stands what they authenticate with: public keys, registered with a token that is
// good once, rotated with an overlap, revoked in one step; and documents that name keys. A key belongs
// to one agent for ever. Private keys are never seen here, and whether somebody holds one is for the
// caller to find out.
//
// The registry is memory: whoever decides reads it without waiting. Of an agent it holds the newest
// revision, of credentials all that ever were.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// Store is the durable side of a Registry.
type Store interface {
	// Agents returns up to limit agents whose ids follow the given one, in the order of ids.
	Agents(ctx context.Context, after authz.AgentID, limit int) ([]authz.Agent, error)

	// PutAgent keeps a unless a newer revision (by AsOf) is kept already.
	PutAgent(ctx context.Context, a authz.Agent) error

	// Credentials returns what is kept of the agents whose ids follow after, up to and including last,
	// in the order in which Agents returns them. What it returns of one agent stood at one moment.
	Credentials(ctx context.Context, after, last authz.AgentID) ([]Enrolment, []Credential, error)

	// PutCredentials keeps an enrolment, unless it is nil, in place of the agent's earlier one, and
	// each credential, all or nothing. What is kept in a newer revision (by AsOf) stays as it is.
	PutCredentials(ctx context.Context, e *Enrolment, cs []Credential) error
}

// A Committer records a change and waits until it is in effect. *audit.Follower is one.
type Committer interface {
	Commit(ctx context.Context, d audit.Draft) (int64, error)
}

// Config is what a Registry needs. Store and Log must be set.
type Config struct {
	Store Store
	Log   Committer

	// Known reports whether a capability is declared in the active catalog, whose ids an agent can
	// be granted. If it is nil every well-formed id can be granted; a capability that is not
	// declared covers nothing in any case.
	Known func(capability string) bool

	// KeyLifetime is how long a registered key can be used: 90 days by default. If it is negative
	// keys do not expire, and a key that was lost unnoticed is good until somebody revokes it.
	KeyLifetime time.Duration

	// Overlap is how long a key goes on after another has replaced it: an hour by default, and not
	// at all if it is negative. So long a stolen key goes on, too; revoking ends it at once.
	Overlap time.Duration

	// Remind is how long before a key expires Run begins to tell of it: 14 days by default.
	Remind time.Duration

	Now    func() time.Time // time.Now by default
	Logger *slog.Logger     // silent by default
}

// A Registry knows the agents. It is safe for concurrent use once loaded.
type Registry struct {
	cfg Config

	mu     sync.RWMutex
	byID   map[authz.AgentID]*authz.Agent
	sorted []*authz.Agent // by id
	intern interner       // used by whoever applies, one at a time

	accounts    map[authz.AgentID]*account
	credentials map[string]*Credential // by id
	pending     map[string]*Enrolment  // by the hash of the token

	dueSoon atomic.Int64 // see DueSoon
}

// NewRegistry returns an empty registry, to be loaded.
func NewRegistry(cfg Config) *Registry {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&cfg.KeyLifetime, 90 * 24 * time.Hour}, {&cfg.Overlap, time.Hour}, {&cfg.Remind, 14 * 24 * time.Hour}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Registry{cfg: cfg}
	r.clear()
	return r
}

// clear forgets everything.
func (r *Registry) clear() {
	r.byID, r.sorted, r.intern = map[authz.AgentID]*authz.Agent{}, nil, interner{}
	r.accounts, r.credentials, r.pending = map[authz.AgentID]*account{}, map[string]*Credential{}, map[string]*Enrolment{}
}

// Load reads the stored agents and their credentials. It must return before the registry is used.
func (r *Registry) Load(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clear()
	pages := []authz.AgentID{""} // where they begin, in the order of the store
	for page := 1000; ; {
		agents, err := r.cfg.Store.Agents(ctx, pages[len(pages)-1], page)
		if err != nil {
			return fmt.Errorf("loading agents: %w", err)
		}
		for _, a := range agents {
			p := r.intern.agent(a)
			r.byID[p.ID] = p
		}
		if len(agents) > 0 {
			pages = append(pages, agents[len(agents)-1].ID)
		}
		if len(agents) < page {
			break
		}
	}
	r.sorted = slices.SortedFunc(maps.Values(r.byID), func(a, b *authz.Agent) int { return compare(a, b.ID) })

	// Credentials after all agents, so that they are never older than their agent: see applyCredential.
	for i := 1; i < len(pages); i++ {
		es, cs, err := r.cfg.Store.Credentials(ctx, pages[i-1], pages[i])
		if err != nil {
			return fmt.Errorf("loading credentials: %w", err)
		}
		if err := r.restore(es, cs); err != nil {
			return fmt.Errorf("loading credentials: %w", err)
		}
	}
	return nil
}

// Agent returns the newest revision of an agent, or authz.ErrNotFound. The value is shared: do not
// modify it.
func (r *Registry) Agent(id authz.AgentID) (*authz.Agent, error) {
	r.mu.RLock()
	a := r.byID[id]
	r.mu.RUnlock()
	if a == nil {
		return nil, authz.Errorf(authz.ErrNotFound, "agent %.128q is not registered", id)
	}
	return a, nil
}

// A Change is the body of an agent.put entry: the whole record, the revision that it replaces (0 if
// the agent is new), and why. Revision, times and AsOf of the record are set when it is applied.
type Change struct {
	Agent      authz.Agent `json:"agent"`
	IfRevision int64       `json:"if_revision"`
	Why        string      `json:"why"`
}

// Put registers an agent, if ifRevision is 0, or changes the agent that has that revision, and
// returns what is then registered. It returns authz.ErrInvalid and every problem of the record, or
// authz.ErrConflict if the agent has another revision or is retired.
func (r *Registry) Put(ctx context.Context, actor, why string, a authz.Agent, ifRevision int64) (*authz.Agent, error) {
	a.Capabilities = slices.Compact(slices.Sorted(slices.Values(a.Capabilities)))
	if a.State == "" {
		a.State = authz.AgentActive
	}
	change := Change{Agent: a, IfRevision: ifRevision, Why: why}
	problems := change.problems()
	if r.cfg.Known != nil {
		for _, c := range a.Capabilities {
			if !r.cfg.Known(c) {
				problems = append(problems, fmt.Sprintf("capability %.128q is not in the active catalog", c))
			}
		}
	}
	if len(problems) > 0 {
		return nil, authz.Errorf(authz.ErrInvalid, "agent %.128q: %s", a.ID, strings.Join(problems, "; "))
	}
	return r.commit(ctx, actor, change)
}

// SetState suspends, quarantines, retires or restores an agent; why becomes its state's reason. If
// ifRevision is 0 whichever revision stands is changed. It returns authz.ErrNotFound,
// authz.ErrInvalid, or authz.ErrConflict if the agent has another revision or is retired.
func (r *Registry) SetState(ctx context.Context, actor, why string, id authz.AgentID, state authz.AgentState, ifRevision int64) (*authz.Agent, error) {
	for try := 1; ; try++ {
		have, err := r.Agent(id)
		if err != nil {
			return nil, err
		}
		a := *have
		a.State, a.StateReason = state, why
		change := Change{Agent: a, IfRevision: ifRevision, Why: why}
		if ifRevision == 0 {
			change.IfRevision = have.Revision
		}
		// Capabilities are not asked about: an agent can be stopped whatever the catalog says.
		if problems := change.problems(); len(problems) > 0 {
			return nil, authz.Errorf(authz.ErrInvalid, "agent %q: %s", id, strings.Join(problems, "; "))
		}
		got, err := r.commit(ctx, actor, change)
		if ifRevision == 0 && errors.Is(err, authz.ErrConflict) && have.State != authz.AgentRetired && try < 5 {
			continue // somebody else was faster
		}
		return got, err
	}
}

// commit records a change unless it is already plain that it will not take effect.
func (r *Registry) commit(ctx context.Context, actor string, c Change) (*authz.Agent, error) {
	if err := r.check(&c); err != nil {
		return nil, err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encoding agent %q: %w", c.Agent.ID, err)
	}
	if _, err := r.cfg.Log.Commit(ctx, audit.Draft{Kind: audit.AgentPut, Actor: actor, Body: body}); err != nil {
		return nil, fmt.Errorf("changing agent %q: %w", c.Agent.ID, err)
	}
	return r.Agent(c.Agent.ID)
}

// Apply brings an entry about agents or their credentials into effect. See audit.Applier.
func (r *Registry) Apply(ctx context.Context, e audit.Entry) error {
	switch e.Kind {
	case audit.AgentPut:
		return r.applyAgent(ctx, e)
	case audit.EnrolmentPut:
		return r.applyEnrolment(ctx, e)
	case audit.CredentialPut:
		return r.applyCredential(ctx, e)
	}
	return nil
}

func (r *Registry) applyAgent(ctx context.Context, e audit.Entry) error {
	var c Change
	if err := json.Unmarshal(e.Body, &c); err != nil {
		return authz.Errorf(authz.ErrInvalid, "entry %d: %w", e.Seq, err)
	}
	if problems := c.problems(); len(problems) > 0 {
		return authz.Errorf(authz.ErrInvalid, "entry %d: %s", e.Seq, strings.Join(problems, "; "))
	}
	have, _ := r.Agent(c.Agent.ID)
	if have != nil && have.AsOf >= e.Seq {
		return nil // seen before
	}
	if err := r.check(&c); err != nil {
		return err
	}
	a := c.Agent
	a.Revision, a.AsOf = c.IfRevision+1, e.Seq
	a.CreatedAt, a.UpdatedAt = e.At, e.At
	if have != nil {
		a.CreatedAt = have.CreatedAt
	}
	if err := r.cfg.Store.PutAgent(ctx, a); err != nil {
		return fmt.Errorf("keeping agent %q: %w", a.ID, err)
	}
	r.put(a)
	return nil
}

// check returns authz.ErrConflict if the change does not go with what is registered. It depends on
// the change and on the entries before it, on nothing else.
func (r *Registry) check(c *Change) error {
	have, _ := r.Agent(c.Agent.ID)
	switch {
	case have == nil && c.IfRevision != 0:
		return authz.Errorf(authz.ErrNotFound, "agent %q is not registered", c.Agent.ID)
	case have == nil:
		return nil
	case c.IfRevision == 0:
		return authz.Errorf(authz.ErrConflict, "agent %q is registered already, in revision %d", have.ID, have.Revision)
	case c.IfRevision != have.Revision:
		return authz.Errorf(authz.ErrConflict, "agent %q is in revision %d, not %d", have.ID, have.Revision, c.IfRevision)
	case have.State == authz.AgentRetired:
		return authz.Errorf(authz.ErrConflict, "agent %q is retired, which is for good", have.ID)
	}
	return nil
}

// put makes a the newest revision in memory.
func (r *Registry) put(a authz.Agent) {
	p := r.intern.agent(a)
	r.mu.Lock()
	defer r.mu.Unlock()
	i, ok := r.find(p.ID)
	if ok {
		r.sorted[i] = p
	} else {
		r.sorted = slices.Insert(r.sorted, i, p)
	}
	r.byID[p.ID] = p
}

// find returns where an agent is in r.sorted, or would be. The caller holds r.mu.
func (r *Registry) find(id authz.AgentID) (int, bool) {
	return slices.BinarySearchFunc(r.sorted, id, compare)
}

func compare(a *authz.Agent, id authz.AgentID) int { return strings.Compare(string(a.ID), string(id)) }
