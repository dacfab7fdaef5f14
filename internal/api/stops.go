package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/stop"
)

// StopAdmin knows what persons have stopped, and stops and lifts. *stop.Board is one.
type StopAdmin interface {
	// Standing returns the stops that stand now, sorted by id.
	Standing() []stop.Stop
	// Stops returns up to limit stops, also those that stand no more, newest first, put before an entry (0: any).
	Stops(ctx context.Context, before int64, limit int) ([]stop.Stop, error)
	// Holding returns the ids of the stops that concern a request at a moment.
	Holding(f *authz.Facts, at time.Time, covers func(capability string) bool) []string
	Put(ctx context.Context, actor string, s stop.Stop) (stop.Stop, error)
	Lift(ctx context.Context, actor, why, id string) (stop.Stop, error)
}

// A StopView is a stop as it is shown.
type StopView struct {
	stop.Stop
	Standing bool `json:"standing" doc:"whether it holds now: it was not lifted, and its time is not over"`
	Agents   int  `json:"agents" doc:"how many registered agents are in its scope now, the retired ones left out; 0 of one that does not hold"`
}

func (s *Server) stopView(x stop.Stop) StopView {
	v := StopView{Stop: x, Standing: x.Stands(s.Now())}
	if v.Standing {
		v.Agents = s.stoppedAgents(&x.Scope, nil)
	}
	return v
}

// stopViews shows stops, and looks at every agent once for all that stand.
func (s *Server) stopViews(all []stop.Stop) []StopView {
	now, views, standing := s.Now(), make([]StopView, len(all)), []*StopView(nil)
	for i, x := range all {
		views[i] = StopView{Stop: x, Standing: x.Stands(now)}
		if views[i].Standing {
			standing = append(standing, &views[i])
		}
	}
	if len(standing) == 0 {
		return views
	}
	s.agentsWhere(agent.Filter{}, "", func(*authz.Agent) bool { return true }, func(a *authz.Agent) {
		for _, v := range standing {
			if v.Scope.About(a) && (v.Scope.Capability == "" || slices.Contains(a.Capabilities, v.Scope.Capability)) {
				v.Agents++
			}
		}
	})
	return views
}

// stoppedAgents counts the agents in a scope, and shows them to f. Of a capability they are those to whom it is granted.
func (s *Server) stoppedAgents(scope *stop.Scope, f func(*authz.Agent)) int {
	return s.agentsWhere(agent.Filter{Owner: scope.Owner, Purpose: scope.Purpose, Capability: scope.Capability}, scope.Agent, scope.About, f)
}

// agentsWhere counts the agents that a filter and is select, and shows them to f. It looks at one if that is named.
func (s *Server) agentsWhere(filter agent.Filter, one authz.AgentID, is func(*authz.Agent) bool, f func(*authz.Agent)) (n int) {
	look := func(a *authz.Agent) {
		if a.State == authz.AgentRetired || !is(a) {
			return
		}
		if n++; f != nil {
			f(a)
		}
	}
	if one != "" {
		if a, err := s.Agents.Agent(one); err == nil && (filter.Capability == "" || slices.Contains(a.Capabilities, filter.Capability)) {
			look(a)
		}
		return n
	}
	for after := authz.AgentID(""); ; {
		page := s.Agents.Agents(filter, after, agent.MaxPage)
		for _, a := range page {
			look(a)
		}
		if len(page) < agent.MaxPage {
			return n
		}
		after = page[len(page)-1].ID
	}
}

type listStops struct {
	All    bool   `query:"all" doc:"also those that were lifted and those whose time is over, newest first; the standing ones, sorted by id, if left out"`
	Before string `query:"before" doc:"with all: begin with the one that is next older, as next says"`
	Limit  int    `query:"limit" doc:"with all: at most so many, 100 by default and 1000 at most"`
}

func (s *Server) listStops(r *http.Request, _ *caller.Identity, in listStops) (List[StopView], error) {
	var list List[StopView]
	n, err := pageSize(in.Limit)
	if err != nil {
		return list, err
	}
	all := s.Stops.Standing()
	if in.All {
		before := int64(0)
		if in.Before != "" {
			if before, err = strconv.ParseInt(in.Before, 10, 64); err != nil || before < 1 {
				return list, invalid("before is no number of an entry: %.64q", in.Before)
			}
		}
		if all, err = s.Stops.Stops(r.Context(), before, n); err != nil {
			return list, err
		}
		if len(all) == n {
			list.Next = strconv.FormatInt(all[n-1].AsOf, 10)
		}
	}
	list.Items = s.stopViews(all)
	return list, nil
}

type stopID struct {
	ID string `path:"id" json:"-"`
}

type putStop struct {
	stopID `json:"-"`
	Scope  stop.Scope `json:"scope" doc:"what is stopped: all that is set must hold"`
	Until  time.Time  `json:"until,omitzero" doc:"when it ends by itself, at most a year ahead; when somebody lifts it, if left out"`
	reason
}

func (s *Server) putStop(r *http.Request, who *caller.Identity, in putStop) (StopView, error) {
	if err := s.knownScope(&in.Scope); err != nil {
		return StopView{}, err
	}
	x, err := s.Stops.Put(r.Context(), who.Actor(), stop.Stop{ID: in.ID, Scope: in.Scope, Until: in.Until, Why: in.Why})
	if err != nil {
		return StopView{}, err
	}
	return s.stopView(x), nil
}

// knownScope returns authz.ErrInvalid if a scope names an agent or a capability that there is not: whoever mistypes one in
// a hurry must not think that it is stopped.
func (s *Server) knownScope(scope *stop.Scope) error {
	if err := scope.Check(); err != nil {
		return err
	}
	if scope.Agent != "" {
		if _, err := s.Agents.Agent(scope.Agent); err != nil {
			return err
		}
	}
	if set := s.Policies.Active(); scope.Capability != "" && set != nil {
		if _, ok := set.Catalog().Capability(scope.Capability); !ok {
			return invalid("the catalog has no capability %.128q", scope.Capability)
		}
	}
	return nil
}

type liftStop struct {
	stopID `json:"-"`
	reason
}

func (s *Server) liftStop(r *http.Request, who *caller.Identity, in liftStop) (StopView, error) {
	x, err := s.Stops.Lift(r.Context(), who.Actor(), in.Why, in.ID)
	if err != nil {
		return StopView{}, err
	}
	return s.stopView(x), nil
}

type previewStop struct {
	Scope     stop.Scope `json:"scope,omitzero" doc:"what would be stopped"`
	Lift      string     `json:"lift,omitempty" doc:"instead of scope: id of a standing stop that would be lifted"`
	Decisions int        `json:"decisions,omitempty" doc:"how many of the newest decisions to look at, 500 by default and 2000 at most"`
}

// previewStop says what a stop would change, or what lifting one would.
func (s *Server) previewStop(r *http.Request, _ *caller.Identity, in previewStop) (Preview, error) {
	x, lifting := stop.Stop{ID: "preview", Scope: in.Scope}, in.Lift != ""
	if lifting {
		standing := s.Stops.Standing()
		i := slices.IndexFunc(standing, func(x stop.Stop) bool { return x.ID == in.Lift })
		switch {
		case !in.Scope.IsZero():
			return Preview{}, invalid("say either what would be stopped, scope, or which stop would be lifted, lift")
		case i < 0:
			return Preview{}, authz.Errorf(authz.ErrNotFound, "no stop %.128q stands", in.Lift)
		}
		x = standing[i]
	} else if err := s.knownScope(&in.Scope); err != nil {
		return Preview{}, err
	}
	return s.preview(r.Context(), in.Decisions, x.Scope.Agent, func(f func(*authz.Agent)) int { return s.stoppedAgents(&x.Scope, f) },
		func(m *moment) bool {
			if !x.Concerns(&m.before, m.covers) {
				return false
			}
			m.after = m.before
			if lifting {
				m.after.Stops = slices.DeleteFunc(slices.Clone(m.before.Stops), func(id string) bool { return id == x.ID })
			} else {
				m.after.Stops = append(slices.Clone(m.before.Stops), x.ID)
			}
			return true
		})
}
