package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/risk"
)

// Bounds of a preview.
const (
	previewDecisions    = 500
	maxPreviewDecisions = 2000
	previewPage         = 250
	previewTime         = 3 * time.Second
	maxPreviews         = 2 // at once
	previewShown        = 50
	previewExamples     = 20
)

// A Preview says what an alert or a stop would change if it were made now. The newest decisions are judged twice by the active
// policies and what was recorded of their moments, with all that is open now: once as things stand, once with the
// alert or the stop as the only difference. Nothing is changed or recorded.
type Preview struct {
	At        time.Time         `json:"at"`
	PolicySet int64             `json:"policy_set" doc:"version of the policies by which it was judged"`
	Agents    int               `json:"agents" doc:"registered agents that can be in its scope, the retired ones left out"`
	Affected  []PreviewAgent    `json:"affected" doc:"some of them, at most 50: those with decisions in the scope first, and of these those with most that would change"`
	Resources []PreviewResource `json:"resources" doc:"what the decisions in the scope were about, at most 50, those with most that would change first"`
	Levels    []PreviewLevel    `json:"levels" doc:"levels of risk of the decisions in the scope, before and after"`
	Changes   []PreviewChange   `json:"changes" doc:"what would come out otherwise, and how often, most often first"`
	Examples  []PreviewExample  `json:"examples" doc:"some of the decisions that would come out otherwise, at most 20, newest first"`
	LookedAt  int               `json:"looked_at" doc:"how many of the newest decisions were looked at"`
	Unread    int               `json:"unread,omitempty" doc:"how many of those that were looked at could not be read and were passed over: what would come of them is not known"`
	InScope   int               `json:"in_scope" doc:"how many of those that were looked at are in the scope"`
	Changed   int               `json:"changed" doc:"how many of these would come out otherwise"`
	Since     time.Time         `json:"since,omitzero" doc:"when the oldest that was looked at was made"`
	Complete  bool              `json:"complete" doc:"false: the time was up before as many were looked at as were asked for"`
}

// A PreviewAgent is an agent in the scope.
type PreviewAgent struct {
	ID        authz.AgentID    `json:"id"`
	Owner     string           `json:"owner,omitempty"`
	Purpose   string           `json:"purpose,omitempty"`
	State     authz.AgentState `json:"state,omitempty"`
	Decisions int              `json:"decisions" doc:"of it, in the scope"`
	Changed   int              `json:"changed" doc:"how many of these would come out otherwise"`
	Before    string           `json:"risk_before,omitempty" doc:"the highest level of risk among them"`
	After     string           `json:"risk_after,omitempty"`
}

// A PreviewResource is what decisions in the scope were about.
type PreviewResource struct {
	authz.Ref
	Decisions int `json:"decisions"`
	Changed   int `json:"changed"`
}

// A PreviewLevel counts decisions by their levels of risk.
type PreviewLevel struct {
	Before    string `json:"before"`
	After     string `json:"after"`
	Decisions int    `json:"decisions"`
}

// A PreviewChange counts decisions that would come out otherwise.
type PreviewChange struct {
	Before    PreviewOutcome `json:"before"`
	After     PreviewOutcome `json:"after"`
	Decisions int            `json:"decisions"`
}

// A PreviewOutcome is what comes out of a decision.
type PreviewOutcome struct {
	Effect authz.Effect `json:"effect"`
	Code   string       `json:"code"`
}

// A PreviewExample is a decision that would come out otherwise.
type PreviewExample struct {
	Decision   string         `json:"decision"`
	At         time.Time      `json:"at"`
	Subject    authz.Ref      `json:"subject"`
	Action     string         `json:"action"`
	Resource   authz.Ref      `json:"resource"`
	Before     PreviewOutcome `json:"before"`
	After      PreviewOutcome `json:"after"`
	RiskBefore string         `json:"risk_before"`
	RiskAfter  string         `json:"risk_after"`
}

// A moment is that of a recorded decision: what is known of it as things stand, and as they would.
type moment struct {
	rec           *pdp.Record
	before, after authz.Facts
	covers        func(capability string) bool
}

// preview looks at the newest decisions, of one agent if that is named. agents counts those in the scope and shows them to f.
// other reports whether a decision is in the scope, and sets what would be known of it.
func (s *Server) preview(ctx context.Context, n int, one authz.AgentID, agents func(f func(*authz.Agent)) int, other func(*moment) bool) (Preview, error) {
	now := s.Now()
	p := Preview{At: now.UTC(), Complete: true, Affected: []PreviewAgent{}, Resources: []PreviewResource{}, Levels: []PreviewLevel{},
		Changes: []PreviewChange{}, Examples: []PreviewExample{}}
	switch {
	case n == 0:
		n = previewDecisions
	case n < 0 || n > maxPreviewDecisions:
		return p, invalid("decisions is above %d", maxPreviewDecisions)
	}
	set := s.Policies.Active()
	if set == nil {
		return p, authz.Errorf(authz.ErrUnavailable, "no policy is published yet: there is nothing that it could change")
	}
	if s.previews.Add(1) > maxPreviews {
		s.previews.Add(-1)
		return p, authz.Errorf(authz.ErrUnavailable, "%d previews are being made: try again in a few seconds", maxPreviews)
	}
	defer s.previews.Add(-1)
	p.PolicySet = set.Version()

	limited, cancel := context.WithTimeout(ctx, previewTime)
	defer cancel()
	t := tallies{agents: map[authz.AgentID]*PreviewAgent{}, resources: map[authz.Ref]*PreviewResource{}, levels: map[PreviewLevel]int{}, changes: map[PreviewChange]int{}}
	for before := int64(0); p.LookedAt < n; {
		page, err := s.Index.Find(limited, audit.Query{Kind: audit.DecisionMade, Agent: string(one), Before: before, Limit: min(previewPage, n-p.LookedAt)})
		if limited.Err() != nil && ctx.Err() == nil || errors.Is(err, context.DeadlineExceeded) {
			p.Complete = false
			break
		} else if err != nil {
			return p, err
		}
		if len(page) == 0 {
			break
		}
		for i := range page {
			if limited.Err() != nil {
				p.Complete = false
				break
			}
			p.LookedAt, p.Since, before = p.LookedAt+1, page[i].At, page[i].Seq
			rec, err := pdp.ParseRecord(page[i].Body)
			if err != nil { // a newer program's, or damaged: whoever must stop something now sees what can be seen
				p.Unread++
				continue
			}
			if !rec.Listing { // of which no act was asked
				s.imagine(&p, &t, set, page[i].Seq, rec, now, other)
			}
		}
		if !p.Complete {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return p, err
	}
	t.into(&p, agents)
	return p, nil
}

// imagine judges one decision twice, if it is in the scope.
func (s *Server) imagine(p *Preview, t *tallies, set *policy.Set, seq int64, rec *pdp.Record, now time.Time, other func(*moment) bool) {
	m := moment{rec: rec, before: rec.Facts, covers: func(capability string) bool { return set.Covers(capability, &rec.Request) }}
	m.before.Risk = s.Risks.AssessIf(&rec.Request, &rec.Facts, now, "", nil)
	m.before.Stops = s.Stops.Holding(&rec.Facts, now, m.covers)
	if !other(&m) {
		return
	}
	p.InScope++
	was := rec.If(set, m.before)
	is := was
	if m.differs() {
		is = rec.If(set, m.after)
	}
	before, after := PreviewOutcome{was.Effect, was.Code}, PreviewOutcome{is.Effect, is.Code}
	changed := 0
	if before != after {
		changed = 1
		p.Changed++
		t.changes[PreviewChange{Before: before, After: after}]++
		if len(p.Examples) < previewExamples {
			p.Examples = append(p.Examples, PreviewExample{
				Decision: pdp.DecisionID(seq), At: rec.Decision.At, Subject: rec.Request.Subject.Ref, Action: rec.Request.Action.Name, Resource: rec.Request.Resource.Ref,
				Before: before, After: after, RiskBefore: m.before.Risk.Level, RiskAfter: m.after.Risk.Level,
			})
		}
	}
	t.levels[PreviewLevel{Before: m.before.Risk.Level, After: m.after.Risk.Level}]++
	r := of(t.resources, rec.Request.Resource.Ref, func(r authz.Ref) PreviewResource { return PreviewResource{Ref: r} })
	r.Decisions, r.Changed = r.Decisions+1, r.Changed+changed
	if id := rec.Request.Agent(); id != "" {
		a := of(t.agents, id, func(id authz.AgentID) PreviewAgent { return PreviewAgent{ID: id} })
		a.Decisions, a.Changed = a.Decisions+1, a.Changed+changed
		a.Before, a.After = higher(a.Before, m.before.Risk), higher(a.After, m.after.Risk)
	}
}

// differs reports whether anything that is judged by would be another thing.
func (m *moment) differs() bool {
	a, b := &m.before.Risk, &m.after.Risk
	return a.Level != b.Level || a.Score != b.Score || !slices.Equal(a.Alerts, b.Alerts) || !slices.Equal(m.before.Stops, m.after.Stops)
}

// higher returns the higher of two levels of risk; "" is none.
func higher(level string, r authz.Risk) string {
	if level == "" || r.Rank() > (authz.Risk{Level: level}).Rank() {
		return r.Level
	}
	return level
}

// tallies are what a preview counts.
type tallies struct {
	agents    map[authz.AgentID]*PreviewAgent
	resources map[authz.Ref]*PreviewResource
	levels    map[PreviewLevel]int
	changes   map[PreviewChange]int
}

// of returns what a map has under a key, made anew if it has nothing.
func of[K comparable, V any](m map[K]*V, k K, fresh func(K) V) *V {
	v := m[k]
	if v == nil {
		made := fresh(k)
		v = &made
		m[k] = v
	}
	return v
}

// into puts what was counted into p.
func (t *tallies) into(p *Preview, agents func(f func(*authz.Agent)) int) {
	var idle []PreviewAgent
	p.Agents = agents(func(a *authz.Agent) {
		if seen := t.agents[a.ID]; seen != nil {
			seen.Owner, seen.Purpose, seen.State = a.Owner, a.Purpose, a.State
		} else if len(idle) < previewShown {
			idle = append(idle, PreviewAgent{ID: a.ID, Owner: a.Owner, Purpose: a.Purpose, State: a.State})
		}
	})
	for _, a := range t.agents {
		p.Affected = append(p.Affected, *a)
	}
	slices.SortFunc(p.Affected, func(a, b PreviewAgent) int {
		return cmp.Or(cmp.Compare(b.Changed, a.Changed), cmp.Compare(b.Decisions, a.Decisions), cmp.Compare(a.ID, b.ID))
	})
	p.Affected = append(p.Affected, idle...)
	p.Affected = p.Affected[:min(len(p.Affected), previewShown)]
	for _, r := range t.resources {
		p.Resources = append(p.Resources, *r)
	}
	slices.SortFunc(p.Resources, func(a, b PreviewResource) int {
		return cmp.Or(cmp.Compare(b.Changed, a.Changed), cmp.Compare(b.Decisions, a.Decisions), cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID))
	})
	p.Resources = p.Resources[:min(len(p.Resources), previewShown)]
	for l, n := range t.levels {
		l.Decisions = n
		p.Levels = append(p.Levels, l)
	}
	slices.SortFunc(p.Levels, func(a, b PreviewLevel) int {
		return cmp.Or(cmp.Compare(b.Decisions, a.Decisions), cmp.Compare(a.Before, b.Before), cmp.Compare(a.After, b.After))
	})
	for c, n := range t.changes {
		c.Decisions = n
		p.Changes = append(p.Changes, c)
	}
	slices.SortFunc(p.Changes, func(a, b PreviewChange) int {
		return cmp.Or(cmp.Compare(b.Decisions, a.Decisions), cmp.Compare(a.Before.Code, b.Before.Code), cmp.Compare(a.After.Code, b.After.Code))
	})
}

type previewAlert struct {
	ID        string        `json:"id,omitempty" doc:"of an open alert that this would change; a new one, if left out"`
	Kind      string        `json:"kind,omitempty" doc:"a name that policies can read"`
	Severity  risk.Severity `json:"severity,omitempty" doc:"low, medium, high or critical"`
	Scope     risk.Scope    `json:"scope,omitzero" doc:"what it would concern; everything, if left out"`
	Clear     string        `json:"clear,omitempty" doc:"instead of all of these: id of an open alert that would be cleared"`
	Decisions int           `json:"decisions,omitempty" doc:"how many of the newest decisions to look at, 500 by default and 2000 at most"`
}

// previewAlert says what an alert would change, or what clearing one would.
func (s *Server) previewAlert(r *http.Request, _ *caller.Identity, in previewAlert) (Preview, error) {
	raised := risk.Alert{ID: in.ID, Kind: in.Kind, Severity: in.Severity, Scope: in.Scope}
	scopes := []risk.Scope{in.Scope} // of the alert that is, and of the one that would be
	without := in.ID
	next := &raised
	open := s.Risks.Alerts()
	old := func(id string) (risk.Alert, bool) {
		i := slices.IndexFunc(open, func(a risk.Alert) bool { return a.ID == id })
		if i < 0 {
			return risk.Alert{}, false
		}
		return open[i], true
	}
	if in.Clear != "" {
		a, ok := old(in.Clear)
		switch {
		case in.Kind != "" || in.Severity != "" || in.Scope != (risk.Scope{}) || in.ID != "":
			return Preview{}, invalid("say either what would be raised, or which alert would be cleared, clear")
		case !ok:
			return Preview{}, authz.Errorf(authz.ErrNotFound, "no alert %.128q is open", in.Clear)
		}
		without, next, scopes = a.ID, nil, []risk.Scope{a.Scope}
	} else {
		if raised.ID == "" {
			raised.ID = "preview"
		}
		if err := raised.Check(); err != nil {
			return Preview{}, err
		}
		if a, ok := old(in.ID); ok {
			scopes = append(scopes, a.Scope)
		}
	}
	about := func(a *authz.Agent) bool {
		return slices.ContainsFunc(scopes, func(c risk.Scope) bool { return c.About(a) })
	}
	one := authz.AgentID("")
	filter := agent.Filter{}
	if len(scopes) == 1 {
		one, filter.Purpose = scopes[0].Agent, scopes[0].Purpose
	}
	return s.preview(r.Context(), in.Decisions, one, func(f func(*authz.Agent)) int { return s.agentsWhere(filter, one, about, f) },
		func(m *moment) bool {
			req := &m.rec.Request
			if !slices.ContainsFunc(scopes, func(c risk.Scope) bool { return c.Concerns(req, &m.before) }) {
				return false
			}
			m.after = m.before
			m.after.Risk = s.Risks.AssessIf(req, &m.before, s.Now(), without, next)
			return true
		})
}
