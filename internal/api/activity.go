package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/activity"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

// Activity knows what agents did. It may lag behind the log by a moment. *activity.Book is one.
type Activity interface {
	SessionReader
	DelegationReader
	// Seq returns the number of the newest entry that was taken in.
	Seq() int64
	// Seen returns when some agents were seen, and how often lately; without those that never were.
	Seen(ctx context.Context, ids []authz.AgentID, at time.Time) (map[authz.AgentID]activity.Seen, error)
	// Use returns what an agent used of its capabilities since the beginning of a time's week.
	Use(ctx context.Context, id authz.AgentID, since, now time.Time) (activity.Use, error)
}

// A SessionReader knows the sessions of agents.
type SessionReader interface {
	Sessions(ctx context.Context, id authz.AgentID, before int64, limit int) ([]activity.Session, error)
	// Session returns a session as each agent in it sees it, or authz.ErrNotFound.
	Session(ctx context.Context, name string) ([]activity.Session, error)
}

// A DelegationReader knows who acted for whom.
type DelegationReader interface {
	ActsFor(ctx context.Context, id authz.AgentID) ([]activity.Delegation, error)
	ActedBy(ctx context.Context, principal authz.Ref) ([]activity.Delegation, error)
}

// active returns what knows what agents did.
func (s *Server) active() (Activity, error) {
	if s.Activity == nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "what agents did is not followed here")
	}
	return s.Activity, nil
}

type readUse struct {
	agentID
	Days int `query:"days" json:"-" doc:"how far back, 1 to 91 days; 28 if left out. It is rounded to the beginning of a week"`
}

// An AgentUse compares what an agent is granted with what it used.
type AgentUse struct {
	Agent    authz.AgentID          `json:"agent"`
	Revision int64                  `json:"revision" doc:"of the agent that is compared"`
	From     time.Time              `json:"from" doc:"what was before counts only in ever"`
	To       time.Time              `json:"to"`
	AsOf     int64                  `json:"as_of" doc:"number of the newest log entry that was taken in"`
	FirstAt  time.Time              `json:"first_at,omitzero" doc:"when the agent was given a decision first"`
	Decided  int64                  `json:"decided" doc:"decisions that it was given since then"`
	Granted  []GrantedUse           `json:"granted" doc:"by id"`
	Former   []FormerUse            `json:"former" doc:"capabilities that it used, and is not granted any more"`
	Outside  activity.CapabilityUse `json:"outside" doc:"acts that none of its capabilities covers"`
	Unused   []string               `json:"unused" doc:"granted capabilities that could be taken away: not asked for since from, by an agent that is registered for a week or was given 10 decisions"`
}

// A GrantedUse is a capability that an agent is granted, and how it was used.
type GrantedUse struct {
	ID       string                 `json:"id"`
	Declared bool                   `json:"declared" doc:"whether the active catalog knows it; what it does not know covers nothing"`
	Title    string                 `json:"title,omitempty"`
	Class    string                 `json:"class,omitempty" doc:"read, write, egress, money, admin"`
	Actions  []string               `json:"may" doc:"actions and groups of actions that it allows"`
	Limits   GrantedLimits          `json:"limits"`
	Unused   bool                   `json:"unused"`
	Use      activity.CapabilityUse `json:"use"`
}

// GrantedLimits are the limits of a capability as the active catalog has them.
type GrantedLimits struct {
	Class     string            `json:"class,omitempty" doc:"the most sensitive class of data"`
	Amount    map[string]string `json:"amount,omitempty" doc:"the largest value, by argument"`
	Regions   []string          `json:"regions,omitempty"`
	Schedules []string          `json:"schedules,omitempty"`
}

// A FormerUse is a capability that an agent used and is not granted.
type FormerUse struct {
	ID  string                 `json:"id"`
	Use activity.CapabilityUse `json:"use"`
}

func (s *Server) readUse(r *http.Request, _ *caller.Identity, in readUse) (AgentUse, error) {
	switch {
	case in.Days == 0:
		in.Days = 28
	case in.Days > 7*activity.Weeks:
		return AgentUse{}, invalid("days is above %d", 7*activity.Weeks)
	}
	act, err := s.active()
	if err != nil {
		return AgentUse{}, err
	}
	a, err := s.Agents.Agent(authz.AgentID(in.ID))
	if err != nil {
		return AgentUse{}, err
	}
	now := s.Now()
	use, err := act.Use(r.Context(), a.ID, now.Add(-time.Duration(in.Days)*24*time.Hour), now)
	if err != nil {
		return AgentUse{}, err
	}
	out := AgentUse{
		Agent: a.ID, Revision: a.Revision, From: use.From, To: now.UTC().Truncate(time.Microsecond), AsOf: use.AsOf, FirstAt: use.First, Decided: use.Decisions,
		Granted: []GrantedUse{}, Former: []FormerUse{}, Outside: filled(use.Outside), Unused: []string{},
	}
	var cat *catalog.Catalog
	if set := s.Policies.Active(); set != nil {
		cat = set.Catalog()
	}
	for _, id := range a.Capabilities {
		g := GrantedUse{ID: id, Actions: []string{}, Use: filled(use.Capabilities[id])}
		if cat != nil {
			g.declare(cat)
		}
		g.Unused = g.Use.Used == 0
		if g.Unused && g.Use.Refused == 0 {
			out.Unused = append(out.Unused, id)
		}
		out.Granted = append(out.Granted, g)
		delete(use.Capabilities, id)
	}
	if now.Sub(a.CreatedAt) < 7*24*time.Hour && use.Decisions < 10 { // too young to be judged by what it did not do
		out.Unused = []string{}
	}
	for id, u := range use.Capabilities {
		out.Former = append(out.Former, FormerUse{id, filled(u)})
	}
	slices.SortFunc(out.Former, func(a, b FormerUse) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out, nil
}

// filled returns u with lists that are empty rather than null.
func filled(u activity.CapabilityUse) activity.CapabilityUse {
	for _, l := range []*[]activity.Count{&u.Actions, &u.Types, &u.Classes} {
		if *l == nil {
			*l = []activity.Count{}
		}
	}
	return u
}

func (g *GrantedUse) declare(cat *catalog.Catalog) {
	k, ok := cat.Capability(g.ID)
	if !ok {
		return
	}
	g.Declared, g.Title, g.Class, g.Actions = true, k.Title, k.Class, k.Actions
	l := &k.Limits
	g.Limits = GrantedLimits{Amount: l.Amount, Regions: l.Regions, Schedules: l.Schedules}
	if l.Class != nil {
		g.Limits.Class = l.Class.String()
	}
}

type readTrustHistory struct {
	agentID
	From   time.Time `query:"from" json:"-" doc:"not earlier than; 90 days ago if left out"`
	To     time.Time `query:"to" json:"-" doc:"not later than; now if left out"`
	Points int       `query:"points" json:"-" doc:"at most so many, 300 if left out and 1000 at most; of more, those that nothing moved are thinned first"`
}

// A TrustHistory is how trust in an agent moved.
type TrustHistory struct {
	Agent  authz.AgentID   `json:"agent"`
	From   time.Time       `json:"from"`
	To     time.Time       `json:"to"`
	Points []monitor.Point `json:"points" doc:"oldest first; between them scores fade"`
	Left   int             `json:"left,omitempty" doc:"how many points were thinned out of this answer"`
}

func (s *Server) readTrustHistory(r *http.Request, _ *caller.Identity, in readTrustHistory) (TrustHistory, error) {
	now := s.Now()
	if in.To.IsZero() {
		in.To = now
	}
	if in.From.IsZero() {
		in.From = in.To.Add(-90 * 24 * time.Hour)
	}
	switch {
	case !in.From.Before(in.To):
		return TrustHistory{}, invalid("from is not before to")
	case in.Points == 0:
		in.Points = 300
	case in.Points > 1000:
		return TrustHistory{}, invalid("points is above 1000")
	}
	end := in.To
	if end.Equal(now) {
		end = end.Add(time.Minute) // and the present
	}
	points, err := s.Conduct.History(r.Context(), authz.AgentID(in.ID), in.From, end)
	if err != nil {
		return TrustHistory{}, err
	}
	out := TrustHistory{Agent: authz.AgentID(in.ID), From: in.From.UTC(), To: in.To.UTC(), Points: thin(points, in.Points)}
	out.Left = len(points) - len(out.Points)
	return out, nil
}

// thin returns at most n of the points, the last one always: first those go that nothing moved, evenly, and then the oldest.
func thin(points []monitor.Point, n int) []monitor.Point {
	over := len(points) - n
	if over <= 0 {
		return append([]monitor.Point{}, points...)
	}
	still := 0
	for _, p := range points[:len(points)-1] {
		if len(p.Moved) == 0 {
			still++
		}
	}
	out := make([]monitor.Point, 0, len(points))
	seen, gone := 0, 0
	for i, p := range points {
		if len(p.Moved) == 0 && i < len(points)-1 {
			if seen++; gone < min(over, still)*seen/still {
				gone++
				continue
			}
		}
		out = append(out, p)
	}
	return out[len(out)-min(n, len(out)):]
}

// A DelegationTree is who made an agent and whom it made, and who acted for whom. It is one step in each direction: what is
// beyond is asked for in the same way.
type DelegationTree struct {
	Agent     authz.AgentID      `json:"agent"`
	Creator   Principal          `json:"creator" doc:"who registered it, as it is on record"`
	Ancestors []AgentBrief       `json:"ancestors" doc:"the agents that made it, the nearest first; 8 at most"`
	Made      []AgentBrief       `json:"made" doc:"agents whose creator it is; 100 at most"`
	MadeTotal int                `json:"made_total"`
	ActsFor   []DelegationTarget `json:"acts_for" doc:"for whom it acted, the newest first; 100 at most"`
	ActedBy   []DelegationTarget `json:"acted_by" doc:"who acted for it, by id; 100 at most"`
	AsOf      int64              `json:"as_of" doc:"number of the newest log entry of those"`
}

// A Principal is somebody, and the agent that it is, if it is one that is registered.
type Principal struct {
	authz.Ref
	Agent *AgentBrief `json:"agent,omitempty"`
}

// An AgentBrief is who an agent is, in a line.
type AgentBrief struct {
	ID      authz.AgentID    `json:"id"`
	Purpose string           `json:"purpose"`
	Owner   string           `json:"owner"`
	State   authz.AgentState `json:"state"`
	Trust   string           `json:"trust" doc:"the lowest level over the classes, or unknown"`
}

// A DelegationTarget is the other end of a delegation.
type DelegationTarget struct {
	Principal
	FirstAt time.Time `json:"first_at"`
	LastAt  time.Time `json:"last_at"`
	Calls   int64     `json:"calls"`
	Refused int64     `json:"refused"`
	Depth   int       `json:"depth" doc:"1: directly; more: through others"`
}

func (s *Server) brief(a *authz.Agent, at time.Time) AgentBrief {
	b := AgentBrief{ID: a.ID, Purpose: a.Purpose, Owner: a.Owner, State: a.State, Trust: unknownTrust}
	if g, ok := s.Conduct.Glance(a.ID, at); ok {
		b.Trust = g.Level.String()
	}
	return b
}

func (s *Server) principal(ref authz.Ref, at time.Time) Principal {
	p := Principal{Ref: ref}
	if ref.Type == authz.AgentType {
		if a, err := s.Agents.Agent(authz.AgentID(ref.ID)); err == nil {
			b := s.brief(a, at)
			p.Agent = &b
		}
	}
	return p
}

const (
	maxAncestors = 8
	maxMade      = 100
)

func (s *Server) readDelegation(r *http.Request, _ *caller.Identity, in agentID) (DelegationTree, error) {
	a, err := s.Agents.Agent(authz.AgentID(in.ID))
	if err != nil {
		return DelegationTree{}, err
	}
	now := s.Now()
	out := DelegationTree{Agent: a.ID, Creator: Principal{Ref: authz.Ref{ID: a.Creator}}, Ancestors: []AgentBrief{}, Made: []AgentBrief{}, ActsFor: []DelegationTarget{}, ActedBy: []DelegationTarget{}}
	for up := a; len(out.Ancestors) < maxAncestors; {
		next, err := s.Agents.Agent(authz.AgentID(up.Creator))
		if err != nil || next.ID == a.ID || slices.ContainsFunc(out.Ancestors, func(b AgentBrief) bool { return b.ID == next.ID }) {
			break
		}
		b := s.brief(next, now)
		if up == a {
			out.Creator = Principal{Ref: authz.Ref{Type: authz.AgentType, ID: a.Creator}, Agent: &b}
		}
		out.Ancestors = append(out.Ancestors, b)
		up = next
	}
	var made []*authz.Agent
	s.Agents.Each(agent.Filter{}, "", now, func(b *authz.Agent, _ agent.Holding) bool {
		if b.Creator == string(a.ID) {
			if out.MadeTotal++; out.MadeTotal <= maxMade {
				made = append(made, b)
			}
		}
		return true
	})
	for _, b := range made {
		out.Made = append(out.Made, s.brief(b, now))
	}
	if s.Activity == nil {
		return out, nil
	}
	out.AsOf = s.Activity.Seq()
	acts, err := s.Activity.ActsFor(r.Context(), a.ID)
	if err != nil {
		return out, err
	}
	for i := range acts {
		out.ActsFor = append(out.ActsFor, target(s.principal(acts[i].Principal, now), &acts[i]))
	}
	by, err := s.Activity.ActedBy(r.Context(), authz.Ref{Type: authz.AgentType, ID: string(a.ID)})
	if err != nil {
		return out, err
	}
	for i := range by {
		out.ActedBy = append(out.ActedBy, target(s.principal(authz.Ref{Type: authz.AgentType, ID: string(by[i].Agent)}, now), &by[i]))
	}
	return out, nil
}

func target(p Principal, d *activity.Delegation) DelegationTarget {
	return DelegationTarget{Principal: p, FirstAt: d.FirstAt, LastAt: d.LastAt, Calls: d.Calls, Refused: d.Refused, Depth: d.Depth}
}
