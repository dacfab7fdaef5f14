// Package enforcement knows the enforcement points: what they say of themselves, and how far the journals of those
// that decide by themselves have come into the log.
//
// Both are made of entries of the log and of nothing else, so that every replica knows the same. What an
// enforcement point says is its word: that it fails closed is not proven by its saying so.
package enforcement

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// A Point is an enforcement point as it has described itself. Values are immutable once shared.
type Point struct {
	Caller    string    `json:"caller"`            // by whose token it reports: pep:NAME, edge:NAME
	Gateway   string    `json:"gateway"`           // what it calls itself
	Version   string    `json:"version,omitempty"` // of its program
	Doors     []string  `json:"doors"`             // what it guards: mcp, http
	Embedded  bool      `json:"embedded"`          // it decides by itself, by what the service tells it
	FailOpen  []Route   `json:"fail_open"`         // what it lets through if there is no decision, sorted by name
	Allowed   int64     `json:"allowed"`           // acts that it says it let through without a decision
	AllowedAt time.Time `json:"allowed_at,omitzero"`
	Tools     []Tool    `json:"tools"` // that are not as they were pinned, sorted
	HelloAt   time.Time `json:"hello_at,omitzero"`
	LastAt    time.Time `json:"last_at"`          // of its newest report
	Stopped   bool      `json:"stopped,omitzero"` // it said that it stops
	AsOf      int64     `json:"as_of"`            // number of the entry that made this version
}

// A Route is one that fails open.
type Route struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since"` // when it was first told
}

// A Tool is one whose descriptor is not the one that was pinned.
type Tool struct {
	Server string    `json:"server"`
	Tool   string    `json:"tool"`
	Since  time.Time `json:"since"`
}

// Name is how findings name the point.
func (p *Point) Name() string { return PointName(p.Caller, p.Gateway) }

// PointName is the name of the point of a caller and what it calls itself.
func PointName(caller, gateway string) string { return caller + "/" + gateway }

// Store is the durable side of Points.
type Store interface {
	// EnforcementPoints returns all points.
	EnforcementPoints(ctx context.Context) ([]Point, error)
	// PutEnforcementPoint keeps p unless a newer version (by AsOf) is kept already.
	PutEnforcementPoint(ctx context.Context, p Point) error
	// DropEnforcementPoint forgets a point, unless it has a newer version than one of that entry.
	DropEnforcementPoint(ctx context.Context, caller, gateway string, asOf int64) error
}

// Bounds of what is remembered. Of more points one goes of the caller who has the most, so that none makes those of others
// forgotten: of those that fail closed, if there are any, the one that was heard of least lately.
const (
	maxPoints = 4096
	maxOf     = 64  // of a caller
	maxList   = 256 // routes or tools of a point
)

// Points are the enforcement points that have reported. They are safe for concurrent use once loaded.
type Points struct {
	store Store

	mu  sync.RWMutex
	all map[pointKey]*Point
}

type pointKey struct{ caller, gateway string }

// NewPoints returns Points that know nothing yet: see Load.
func NewPoints(store Store) *Points { return &Points{store: store, all: map[pointKey]*Point{}} }

// Load reads what is kept. It must return before the Points are used.
func (ps *Points) Load(ctx context.Context) error {
	all, err := ps.store.EnforcementPoints(ctx)
	if err != nil {
		return fmt.Errorf("loading enforcement points: %w", err)
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	clear(ps.all)
	for i := range all {
		ps.all[pointKey{all[i].Caller, all[i].Gateway}] = &all[i]
	}
	return nil
}

// Apply takes in an enforcement.reported entry. See audit.Applier.
func (ps *Points) Apply(ctx context.Context, e audit.Entry) error {
	if e.Kind != audit.EnforcementTold {
		return nil
	}
	r, err := ParseReport(e.Body)
	if err != nil {
		return err
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	k := pointKey{e.Actor, r.Gateway}
	have := ps.all[k]
	if have != nil && have.AsOf >= e.Seq {
		return nil // seen before
	}
	p := &Point{Caller: k.caller, Gateway: k.gateway}
	if have != nil {
		*p = *have
	}
	p.take(r, e.At)
	p.AsOf = e.Seq
	if have == nil {
		if old := ps.surplus(k.caller); old != nil {
			if err := ps.store.DropEnforcementPoint(ctx, old.Caller, old.Gateway, old.AsOf); err != nil {
				return fmt.Errorf("forgetting an enforcement point: %w", err)
			}
			delete(ps.all, pointKey{old.Caller, old.Gateway})
		}
	}
	if err := ps.store.PutEnforcementPoint(ctx, *p); err != nil {
		return fmt.Errorf("storing an enforcement point: %w", err)
	}
	ps.all[k] = p
	return nil
}

// surplus returns the point that must go if there is to be another one of a caller, nil if none must. The caller holds ps.mu.
func (ps *Points) surplus(caller string) (old *Point) {
	of := map[string]int{}
	for k := range ps.all {
		of[k.caller]++
	}
	if of[caller] < maxOf {
		if len(ps.all) < maxPoints {
			return nil
		}
		most := caller
		for c, n := range of {
			if n > of[most] || n == of[most] && c < most {
				most = c
			}
		}
		caller = most
	}
	for k, p := range ps.all {
		if k.caller == caller && (old == nil || p.goesBefore(old)) {
			old = p
		}
	}
	return old
}

// goesBefore reports whether p is forgotten before q.
func (p *Point) goesBefore(q *Point) bool {
	if a, b := p.open(), q.open(); a != b {
		return b
	}
	return p.AsOf < q.AsOf
}

// open reports whether p lets through what cannot be decided, or did.
func (p *Point) open() bool { return len(p.FailOpen) > 0 || p.Allowed > 0 }

// take brings p up to date. It changes no list in place.
func (p *Point) take(r *Report, at time.Time) {
	p.LastAt, p.Stopped = at, r.Kind == Bye
	if r.Version != "" {
		p.Version = r.Version
	}
	d := &r.told
	switch r.Kind {
	case Hello:
		p.HelloAt, p.Doors, p.Embedded = at, slices.Compact(slices.Sorted(slices.Values(d.Doors))), d.Decide == DecideLocal
		before := p.FailOpen
		p.FailOpen = nil
		for _, name := range d.FailOpen {
			p.opens(before, name, at)
		}
	case FailOpen:
		p.opens(p.FailOpen, d.Route, at)
	case AllowedUnavailable:
		p.Allowed, p.AllowedAt = p.Allowed+max(1, d.Count), at
	case ToolChanged, ToolApproved:
		t := Tool{d.Server, d.Tool, at}
		tools := slices.Clone(p.Tools)
		i, found := slices.BinarySearchFunc(tools, t, compareTools)
		switch {
		case r.Kind == ToolApproved && found:
			tools = slices.Delete(tools, i, i+1)
		case r.Kind == ToolChanged && !found && len(tools) < maxList:
			tools = slices.Insert(tools, i, t)
		}
		p.Tools = tools
	}
}

// opens adds a route that fails open, since when an earlier list says it did.
func (p *Point) opens(before []Route, name string, at time.Time) {
	if name == "" || len(p.FailOpen) >= maxList {
		return
	}
	byName := func(r Route, name string) int { return strings.Compare(r.Name, name) }
	i, found := slices.BinarySearchFunc(p.FailOpen, name, byName)
	if found {
		return
	}
	r := Route{name, at}
	if j, ok := slices.BinarySearchFunc(before, name, byName); ok {
		r = before[j]
	}
	p.FailOpen = slices.Insert(slices.Clone(p.FailOpen), i, r)
}

func compareTools(a, b Tool) int {
	if c := strings.Compare(a.Server, b.Server); c != 0 {
		return c
	}
	return strings.Compare(a.Tool, b.Tool)
}

// All returns all points, sorted by caller and what they call themselves.
func (ps *Points) All() []Point {
	ps.mu.RLock()
	all := make([]Point, 0, len(ps.all))
	for _, p := range ps.all {
		all = append(all, *p)
	}
	ps.mu.RUnlock()
	slices.SortFunc(all, func(a, b Point) int {
		if c := strings.Compare(a.Caller, b.Caller); c != 0 {
			return c
		}
		return strings.Compare(a.Gateway, b.Gateway)
	})
	return all
}

// Count returns how many points there are that have not said that they stop, how many of them decide by themselves,
// and how many routes of them fail open.
func (ps *Points) Count() (points, embedded, failOpen int) {
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	for _, p := range ps.all {
		if p.Stopped {
			continue
		}
		points++
		if p.Embedded {
			embedded++
		}
		failOpen += len(p.FailOpen)
	}
	return points, embedded, failOpen
}

// A Committer records a change and waits until it is in effect. *audit.Follower is one.
type Committer interface {
	Commit(ctx context.Context, d audit.Draft) (int64, error)
}

// Tell records what an enforcement point says of itself, waits until it is in effect, and returns the number of the
// entry. authz.ErrInvalid: see Report.Check.
func Tell(ctx context.Context, log Committer, actor string, r Report) (int64, error) {
	if err := r.Check(); err != nil {
		return 0, err
	}
	body, err := json.Marshal(&r)
	if err != nil {
		return 0, fmt.Errorf("encoding a report: %w", err)
	}
	seq, err := log.Commit(ctx, audit.Draft{Kind: audit.EnforcementTold, Actor: actor, Body: body})
	if err != nil {
		return seq, fmt.Errorf("recording a report: %w", err)
	}
	return seq, nil
}

// printable reports whether s is text of 1 to most bytes without control characters.
func printable(s string, most int) error {
	if s == "" || len(s) > most || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }) {
		return authz.Errorf(authz.ErrInvalid, "has 1 to %d bytes of printable text", most)
	}
	return nil
}
