package activity

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Seen is what a list shows of an agent.
type Seen struct {
	First     time.Time // when it was given a decision first
	At        time.Time // and last
	Decisions int64     // in the last seven days
	Refusals  int64     // of them refused
}

// Seen returns what lists show of some agents at a time. Those that were never seen are not among them.
func (b *Book) Seen(ctx context.Context, ids []authz.AgentID, at time.Time) (map[authz.AgentID]Seen, error) {
	out := make(map[authz.AgentID]Seen, len(ids))
	for _, id := range ids {
		a, err := b.agent(ctx, id)
		if err != nil {
			return nil, err
		}
		if a.First == 0 {
			continue
		}
		s := Seen{First: moment(a.First), At: moment(a.Last)}
		s.Decisions, s.Refusals = a.lately(at)
		out[id] = s
	}
	return out, nil
}

// agent returns what is known of an agent as a whole; nothing is no error.
func (b *Book) agent(ctx context.Context, id authz.AgentID) (*agentState, error) {
	en, err := b.one(ctx, id, kindAgent, "")
	if errors.Is(err, authz.ErrNotFound) {
		return &agentState{}, nil
	} else if err != nil {
		return nil, err
	}
	return en.state.(*agentState), nil
}

// one returns a row as it is now, or authz.ErrNotFound. It is the caller's own.
func (b *Book) one(ctx context.Context, id authz.AgentID, kind, name string) (*entry, error) {
	b.mu.Lock()
	if en := b.rows[key{id, kind, name}]; en != nil && en.seq > 0 {
		r := en.row()
		b.mu.Unlock()
		return read(&r)
	}
	b.mu.Unlock()
	r, err := b.cfg.Store.Activity(ctx, Format, id, kind, name)
	if err != nil {
		return nil, err
	}
	return read(&r)
}

func moment(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// A Use is what an agent used of its capabilities.
type Use struct {
	From         time.Time // what was before counts only in Ever
	AsOf         int64     // number of the newest entry that was taken in
	First        time.Time // when the agent was given a decision first
	Decisions    int64     // since the beginning
	Capabilities map[string]CapabilityUse
	Outside      CapabilityUse // acts that none of its capabilities covers
}

// A CapabilityUse is how a capability was used.
type CapabilityUse struct {
	Used     int64             `json:"used" doc:"acts that were allowed, and that it covers"`
	Alone    int64             `json:"alone" doc:"of them those that no other capability of the agent covers"`
	Refused  int64             `json:"refused" doc:"acts that it covers, and that were refused nevertheless"`
	LastUsed time.Time         `json:"last_used,omitzero" doc:"in the window"`
	Ever     int64             `json:"ever" doc:"acts since the beginning"`
	EverLast time.Time         `json:"ever_last,omitzero"`
	Actions  []Count           `json:"actions" doc:"the most frequent first"`
	Types    []Count           `json:"types" doc:"of resources, likewise"`
	Classes  []Count           `json:"classes" doc:"of data, likewise"`
	Exceeded []Count           `json:"exceeded,omitempty" doc:"limits that stood in the way"`
	Amounts  map[string]string `json:"amounts,omitempty" doc:"the largest value of each argument that is a number, of acts that were allowed"`
}

// Use returns what an agent used of its capabilities since a time, which is taken as the beginning of its week; at most
// Weeks weeks back.
func (b *Book) Use(ctx context.Context, id authz.AgentID, since, now time.Time) (Use, error) {
	oldest := week(now.UnixMicro()) - Weeks
	first := max(week(since.UnixMicro()), oldest)
	out := Use{From: weekBegins(first), AsOf: b.Seq(), Capabilities: map[string]CapabilityUse{}}
	whole, err := b.agent(ctx, id)
	if err != nil {
		return out, err
	}
	out.First, out.Decisions = moment(whole.First), whole.Decisions
	weeks, err := b.newest(ctx, id, kindUse, 0, Weeks+2)
	if err != nil {
		return out, err
	}
	sums := map[string]*capabilityState{}
	for _, en := range weeks {
		if w, err := strconv.ParseInt(en.key.name, 10, 64); err != nil || w < first {
			continue
		}
		for id, c := range en.state.(*useState).Capabilities {
			if sums[id] == nil {
				sums[id] = &capabilityState{}
			}
			sums[id].merge(c)
		}
	}
	for id := range whole.Used {
		if sums[id] == nil {
			sums[id] = &capabilityState{}
		}
	}
	for id, c := range sums {
		u := CapabilityUse{
			Used: c.Used, Alone: c.Alone, Refused: c.Refused, LastUsed: moment(c.Last), Ever: whole.Used[id].Count, EverLast: moment(whole.Used[id].Last),
			Actions: counts(c.Actions), Types: counts(c.Types), Classes: counts(c.Classes), Amounts: c.Amounts,
		}
		if len(c.Exceeded) > 0 {
			u.Exceeded = counts(c.Exceeded)
		}
		if id == "" {
			out.Outside = u
		} else {
			out.Capabilities[id] = u
		}
	}
	return out, nil
}

// A Session is what is known of a session of an agent.
type Session struct {
	ID        string        `json:"id"`
	Agent     authz.AgentID `json:"agent"`
	FirstAt   time.Time     `json:"first_at"`
	LastAt    time.Time     `json:"last_at"`
	Begun     int64         `json:"begun" doc:"number of its first entry"`
	Seq       int64         `json:"seq" doc:"number of its newest entry"`
	Task      string        `json:"task,omitempty" doc:"what kind of task it is"`
	PEP       string        `json:"pep,omitempty" doc:"the enforcement point that asked last"`
	Action    string        `json:"action,omitempty" doc:"of the newest call"`
	OnBehalf  authz.Ref     `json:"on_behalf,omitzero" doc:"for whom the newest call was, the nearest"`
	Calls     int64         `json:"calls"`
	Allowed   int64         `json:"allowed"`
	Asked     int64         `json:"asked" doc:"calls that were refused until persons agree, or somebody authenticates more strongly"`
	Untrusted int64         `json:"untrusted" doc:"calls with arguments from untrusted content"`
	Outcomes  int64         `json:"outcomes" doc:"reports of what came of it"`
	Bad       int64         `json:"bad" doc:"of them those that speak against the agent"`

	Entries []int64 `json:"-"` // numbers of its decisions and outcomes, oldest first; the newest 1,024
}

func (en *entry) session() Session {
	s := en.state.(*sessionState)
	return Session{
		ID: en.key.name, Agent: en.key.agent, FirstAt: moment(s.First), LastAt: moment(s.Last), Begun: s.Begun, Seq: en.seq, Task: s.Task, PEP: s.PEP,
		Action: s.Action, OnBehalf: s.OnBehalf, Calls: s.Calls, Allowed: s.Allowed, Asked: s.Asked, Untrusted: s.Suspect, Outcomes: s.Outcomes, Bad: s.Bad,
		Entries: s.entries(),
	}
}

// Sessions returns up to limit sessions of an agent whose newest entries are numbered below before (0 for all), the newest
// first.
func (b *Book) Sessions(ctx context.Context, id authz.AgentID, before int64, limit int) ([]Session, error) {
	rows, err := b.newest(ctx, id, kindSession, before, limit)
	if err != nil {
		return nil, err
	}
	out := make([]Session, 0, len(rows))
	for _, en := range rows {
		out = append(out, en.session())
	}
	return out, nil
}

// maxParties is how many agents of a session, or behind a principal, are told.
const maxParties = 100

// Session returns a session as every agent in it sees it, by id of the agent; authz.ErrNotFound if there is none of that name.
func (b *Book) Session(ctx context.Context, name string) ([]Session, error) {
	rows, err := b.named(ctx, kindSession, name)
	if err != nil {
		return nil, err
	}
	var out []Session
	for _, en := range rows {
		out = append(out, en.session())
	}
	if len(out) == 0 {
		return nil, authz.Errorf(authz.ErrNotFound, "no session %.128q is known", name)
	}
	return out, nil
}

// named returns the rows of a kind and a name, by agent.
func (b *Book) named(ctx context.Context, kind, name string) ([]*entry, error) {
	rows, err := b.cfg.Store.ActivityNamed(ctx, Format, kind, name, "", maxParties)
	if err != nil {
		return nil, err
	}
	found := map[authz.AgentID]*entry{}
	for i := range rows {
		en, err := read(&rows[i])
		if err != nil {
			return nil, err
		}
		found[en.key.agent] = en
	}
	b.mu.Lock()
	for _, en := range b.dirty {
		if en.key.kind == kind && en.key.name == name {
			r := en.row()
			own, err := read(&r)
			if err != nil {
				b.mu.Unlock()
				return nil, err
			}
			found[en.key.agent] = own
		}
	}
	b.mu.Unlock()
	out := make([]*entry, 0, len(found))
	for _, en := range found {
		out = append(out, en)
	}
	slices.SortFunc(out, func(a, b *entry) int { return strings.Compare(string(a.key.agent), string(b.key.agent)) })
	return out[:min(maxParties, len(out))], nil
}

// A Delegation is that an agent acted for somebody.
type Delegation struct {
	Agent     authz.AgentID `json:"agent"`     // who acted
	Principal authz.Ref     `json:"principal"` // for whom
	FirstAt   time.Time     `json:"first_at"`
	LastAt    time.Time     `json:"last_at"`
	Calls     int64         `json:"calls"`
	Refused   int64         `json:"refused"`
	Depth     int           `json:"depth" doc:"1: it acted for it directly; more: through others"`
}

func (en *entry) delegation() Delegation {
	s := en.state.(*behalfState)
	d := Delegation{Agent: en.key.agent, FirstAt: moment(s.First), LastAt: moment(s.Last), Calls: s.Calls, Refused: s.Refused, Depth: s.Depth}
	d.Principal.Type, d.Principal.ID, _ = strings.Cut(en.key.name, ":")
	return d
}

// ActsFor returns for whom an agent acted, the newest first: at most 100 principals.
func (b *Book) ActsFor(ctx context.Context, id authz.AgentID) ([]Delegation, error) {
	rows, err := b.newest(ctx, id, kindBehalf, 0, maxParties)
	return delegations(rows), err
}

// ActedBy returns which agents acted for a principal, by id: at most 100.
func (b *Book) ActedBy(ctx context.Context, principal authz.Ref) ([]Delegation, error) {
	rows, err := b.named(ctx, kindBehalf, principal.Type+":"+principal.ID)
	return delegations(rows), err
}

func delegations(rows []*entry) []Delegation {
	out := make([]Delegation, 0, len(rows))
	for _, en := range rows {
		out = append(out, en.delegation())
	}
	return out
}
