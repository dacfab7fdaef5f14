// Package stop is the kill switch: it keeps what persons have stopped, and says of a request whether it is.
//
// A stop is a fact, not a rule: the decision point refuses whatever a standing stop concerns before it asks
// any policy, and no approval or trust lifts it. It stands until somebody lifts it with a reason, or
// until the time that was said when it was put. What a capability covers is the catalog's to say; a catalog that does not
// declare one that is stopped cannot be published (see Board.Declared).
//
// A stop is an entry of the log. An id is used once: the first entry that puts it counts, and the first that lifts
// it, so that nobody narrows a stop by putting another one in its place. What stands is in memory; if it
// cannot be read, the process does not start, and if an entry cannot be applied, nothing is decided.
//
// The package does not end what is already under way: a tool that an agent was allowed to call before runs on.
package stop

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// Bounds of the board and of what is on it.
const (
	maxStanding = 200
	spare       = 8 // beyond that, for stops of everything: whoever cannot stop each can still stop all
	maxPage     = 1000
	maxName     = 128
	maxValue    = 512
	maxWhy      = 1000
	maxLife     = 366 * 24 * time.Hour
)

// A Stop stops everything in its scope.
type Stop struct {
	ID    string    `json:"id"`
	Scope Scope     `json:"scope"`
	Why   string    `json:"why"`
	Until time.Time `json:"until,omitzero" doc:"when it ends by itself; never, if it is not set"`
	PutBy string    `json:"put_by"`
	PutAt time.Time `json:"put_at"`
	AsOf  int64     `json:"as_of" doc:"number of the log entry that put it"`

	LiftedBy  string    `json:"lifted_by,omitempty"`
	LiftedAt  time.Time `json:"lifted_at,omitzero"`
	LiftedWhy string    `json:"lifted_why,omitempty"`
	LiftedSeq int64     `json:"lifted_as_of,omitzero" doc:"number of the log entry that lifted it"`
}

// Lifted reports whether somebody has lifted it.
func (s *Stop) Lifted() bool { return s.LiftedSeq != 0 }

// Stands reports whether the stop holds at a moment.
func (s *Stop) Stands(at time.Time) bool {
	return !s.Lifted() && (s.Until.IsZero() || at.Before(s.Until))
}

// A Scope is what a stop concerns: requests for which all that is set holds. Everything must be said: the
// zero Scope is no scope.
type Scope struct {
	Everything bool          `json:"everything,omitzero" doc:"every request of everybody"`
	Owner      string        `json:"owner,omitempty" doc:"agents of this owner, and whoever acts for one"`
	Purpose    string        `json:"purpose,omitempty" doc:"agents of this purpose, and whoever acts for one"`
	Agent      authz.AgentID `json:"agent,omitempty" doc:"this agent, and whoever acts for it"`
	Capability string        `json:"capability,omitempty" doc:"what this capability of the catalog lets do, whoever does it"`
}

// IsZero reports whether nothing is said.
func (c Scope) IsZero() bool { return c == Scope{} }

// whole reports whether the scope concerns agents as such, whatever they do.
func (c *Scope) whole() bool { return c.Capability == "" }

// about reports whether an agent is in the scope, whatever it does.
func (c *Scope) about(a *authz.Agent) bool {
	return (c.Owner == "" || a.Owner == c.Owner) && (c.Purpose == "" || a.Purpose == c.Purpose) && (c.Agent == "" || a.ID == c.Agent)
}

// concerns reports whether a request is in the scope. What concerns an agent concerns also what another does
// for it.
func (c *Scope) concerns(f *authz.Facts, covers func(capability string) bool) bool {
	if c.IsZero() {
		return true // of a record that this program does not understand
	}
	if c.Capability != "" && !covers(c.Capability) {
		return false
	}
	if c.Owner == "" && c.Purpose == "" && c.Agent == "" {
		return true
	}
	return f.Agent != nil && c.about(f.Agent) || slices.ContainsFunc(f.Behalf, func(d authz.Delegator) bool { return c.about(d.Agent) })
}

// Store is the durable side of a Board.
type Store interface {
	// StandingStops returns every stop that is not lifted, also those whose time is over, in the order of ids.
	StandingStops(ctx context.Context) ([]Stop, error)
	// Stops returns up to limit stops, also lifted ones, whose AsOf is below before, newest first.
	Stops(ctx context.Context, before int64, limit int) ([]Stop, error)
	// Stop returns the stop of that id, or authz.ErrNotFound.
	Stop(ctx context.Context, id string) (Stop, error)
	// PutStop keeps s if no stop of that id is kept; it returns authz.ErrConflict if another one is, by AsOf.
	PutStop(ctx context.Context, s Stop) error
	// LiftStop keeps that s was lifted, if the one that is kept is not; it returns authz.ErrConflict if it was lifted by
	// another entry.
	LiftStop(ctx context.Context, s Stop) error
}

// A Committer records a change and waits until it is in effect. *audit.Follower is one.
type Committer interface {
	Commit(ctx context.Context, d audit.Draft) (int64, error)
}

// Config is what a Board needs. Store and Log must be set.
type Config struct {
	Store Store
	Log   Committer
	// Two is whether a stop is lifted by somebody else than who put it. Stops are put by one.
	Two bool
	Now func() time.Time // time.Now by default
}

// A Board holds the stops that are not lifted. It is safe for concurrent use once loaded.
type Board struct {
	cfg Config

	mu         sync.RWMutex
	stops      map[string]*Stop // values never change once they are here
	list       []*Stop          // the same, sorted by id
	generation atomic.Int64
	some       atomic.Int64 // how many there are; 0 lets readers skip the lock
}

// NewBoard returns an empty board, to be loaded.
func NewBoard(cfg Config) *Board {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Board{cfg: cfg, stops: map[string]*Stop{}}
}

// Load reads what stands. It must return before the board is used.
func (b *Board) Load(ctx context.Context) error {
	all, err := b.cfg.Store.StandingStops(ctx)
	if err != nil {
		return fmt.Errorf("loading stops: %w", err)
	}
	b.Replace(all)
	return nil
}

// Replace takes these stops in place of all that are there.
func (b *Board) Replace(all []Stop) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stops = make(map[string]*Stop, len(all))
	for i := range all {
		if !all[i].Lifted() { // also if its time is over: our clock may be ahead
			b.stops[all[i].ID] = &all[i]
		}
	}
	b.changed()
}

// changed brings what is derived from b.stops up to date. The caller holds b.mu.
func (b *Board) changed() {
	list := make([]*Stop, 0, len(b.stops))
	for _, s := range b.stops {
		list = append(list, s)
	}
	slices.SortFunc(list, func(x, y *Stop) int { return strings.Compare(x.ID, y.ID) })
	b.list = list
	b.some.Store(int64(len(list)))
	b.generation.Add(1)
}

// Generation returns a number that grows with every change. That a stop's time is over is no change.
func (b *Board) Generation() int64 { return b.generation.Load() }

// snapshot returns the stops that are not lifted, sorted by id; nobody changes them.
func (b *Board) snapshot() []*Stop {
	if !b.Some() {
		return nil
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.list
}

// Some reports whether anything may be stopped.
func (b *Board) Some() bool { return b.some.Load() > 0 }

// Holding returns the ids of the stops that concern a request at a moment, sorted; nil if none does. covers says
// whether a capability covers the act. It touches memory only.
func (b *Board) Holding(f *authz.Facts, at time.Time, covers func(capability string) bool) (ids []string) {
	for _, s := range b.snapshot() {
		if s.Stands(at) && s.Scope.concerns(f, covers) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// Agent returns the id of a stop that concerns everything that an agent does at a moment, "" if there is none.
func (b *Board) Agent(a *authz.Agent, at time.Time) string {
	for _, s := range b.snapshot() {
		if s.Stands(at) && s.Scope.whole() && s.Scope.about(a) {
			return s.ID
		}
	}
	return ""
}

// Standing returns copies of the stops that stand now, sorted by id.
func (b *Board) Standing() []Stop {
	now := b.cfg.Now()
	out := []Stop{}
	for _, s := range b.snapshot() {
		if s.Stands(now) {
			out = append(out, *s)
		}
	}
	return out
}

// Stops returns up to limit stops, also those that were lifted and those whose time is over, newest first, of
// which the newest is older than the entry before; 0 is none.
func (b *Board) Stops(ctx context.Context, before int64, limit int) ([]Stop, error) {
	if before <= 0 {
		before = 1<<63 - 1
	}
	return b.cfg.Store.Stops(ctx, before, min(limit, maxPage))
}

// Stop returns the stop of that id, or authz.ErrNotFound.
func (b *Board) Stop(ctx context.Context, id string) (Stop, error) {
	return b.cfg.Store.Stop(ctx, id)
}

// Declared returns authz.ErrConflict if a capability is not declared that a stop names which stands now: without it the stop would
// cover nothing.
func (b *Board) Declared(declares func(capability string) bool) error {
	for _, s := range b.Standing() {
		if c := s.Scope.Capability; c != "" && !declares(c) {
			return authz.Errorf(authz.ErrConflict, "the catalog does not declare the capability %q any more, and stop %q names it: declare it, or lift the stop first", c, s.ID)
		}
	}
	return nil
}

// Concerns reports whether a stop would concern a request, if it stood.
func (s *Stop) Concerns(f *authz.Facts, covers func(capability string) bool) bool {
	return s.Scope.concerns(f, covers)
}

// About reports whether an agent is in the scope, whatever it does: a capability is not looked at.
func (c *Scope) About(a *authz.Agent) bool { return c.about(a) }

// Check returns authz.ErrInvalid, and everything that is wrong with a scope.
func (c *Scope) Check() error {
	if problems := c.problems(); len(problems) > 0 {
		return authz.Errorf(authz.ErrInvalid, "%s", strings.Join(problems, "; "))
	}
	return nil
}

func (c *Scope) problems() (all []string) {
	named := Scope{Owner: c.Owner, Purpose: c.Purpose, Agent: c.Agent, Capability: c.Capability}
	switch {
	case c.IsZero():
		all = append(all, "scope is missing: say everything, or an owner, a purpose, an agent or a capability")
	case c.Everything && !named.IsZero():
		all = append(all, "everything leaves nothing to name besides: leave it out, or owner, purpose, agent and capability")
	}
	for _, f := range []struct{ name, value string }{
		{"owner", c.Owner}, {"purpose", c.Purpose}, {"agent", string(c.Agent)}, {"capability", c.Capability},
	} {
		if len(f.value) > maxValue || !printable(f.value) {
			all = append(all, f.name+" of the scope is not printable text, or too long")
		}
	}
	return all
}

// problems returns everything that is wrong with a stop, but for its end.
func (s *Stop) problems() []string {
	all := append(nameProblems(s.ID), s.Scope.problems()...)
	return append(all, whyProblems(s.Why)...)
}

func nameProblems(s string) []string {
	ok := s != "" && len(s) <= maxName
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || i > 0 && strings.IndexByte("._:-", c) >= 0
	}
	if ok {
		return nil
	}
	return []string{fmt.Sprintf("id %.128q is not a name: use letters, digits and . _ : -, beginning with a letter or digit, at most %d of them", s, maxName)}
}

func whyProblems(why string) []string {
	switch {
	case why == "":
		return []string{"why is missing"}
	case len(why) > maxWhy || !printable(why):
		return []string{"why is not printable text, or too long"}
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
