package policy

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/safeconduct/safeconduct/authz"
)

// search tries sets of moves, the smallest first, and returns the changes of the first that suffices.
func (x *explainer) search() []authz.Change {
	slices.SortStableFunc(x.moves, func(a, b move) int {
		if c := cmp.Compare(a.rank(), b.rank()); c != 0 || a.key != b.key {
			return c
		}
		return cmp.Compare(a.distance(), b.distance())
	})
	x.moves = x.moves[:min(len(x.moves), maxMoves)]
	var chosen []*move
	for n := 1; n <= maxChanges; n++ {
		best := x.choose(n, 0, 0, &chosen)
		if best != nil {
			return best
		}
	}
	return nil
}

// choose tries all sets of n more moves from the given one on, in order. A set that allows is
// returned at once; failing that, the first that needs nothing but a remedy.
func (x *explainer) choose(n, from int, moved keys, chosen *[]*move) []authz.Change {
	if n == 0 {
		if !x.covers(moved) || x.trials >= maxTrials {
			return nil
		}
		return x.try(*chosen)
	}
	var fallback []authz.Change
	for i := from; i <= len(x.moves)-n; i++ {
		m := &x.moves[i]
		bit := x.key(m.key)
		if moved&bit != 0 {
			continue
		}
		*chosen = append(*chosen, m)
		found := x.choose(n-1, i+1, moved|bit, chosen)
		*chosen = (*chosen)[:len(*chosen)-1]
		if found == nil {
			continue
		}
		if last := found[len(found)-1].Kind; last != "approve" && last != "step_up" {
			return found
		}
		if fallback == nil {
			fallback = found
		}
	}
	return fallback
}

// covers reports whether everything that stands in the way has a move among the moved.
func (x *explainer) covers(moved keys) bool {
	for _, n := range x.needs {
		if n&moved == 0 {
			return false
		}
	}
	for _, permits := range x.wants {
		if !slices.ContainsFunc(permits, func(parts []keys) bool {
			return !slices.ContainsFunc(parts, func(k keys) bool { return k&moved == 0 })
		}) {
			return false
		}
	}
	return bits.OnesCount64(uint64(moved)) > 0
}

// try judges the request with the moves made, and returns their changes if that allows it, with the
// remedies that it takes.
func (x *explainer) try(moves []*move) []authz.Change {
	x.trials++
	req, f, ok := x.moved(moves)
	if !ok {
		return nil
	}
	if f.Agent != nil && f.Agent != x.f.Agent {
		defer x.set.agents.forget(f.Agent)
	}
	d := x.set.EvaluateAll(req, f)
	var out []authz.Change
	for _, m := range moves {
		out = append(out, m.change)
	}
	switch d.Effect {
	case authz.Allow:
		return out
	case authz.RequireApproval, authz.StepUp:
		if remedies := remedyChanges(&d); remedies != nil {
			return append(out, remedies...)
		}
	}
	return nil
}

// moved returns the request and the facts as they would be.
func (x *explainer) moved(moves []*move) (*authz.Request, *authz.Facts, bool) {
	req, f := *x.req, *x.f
	f.Approval = nil // it is bound to the act as it was asked for
	for _, m := range moves {
		ok := true
		switch {
		case m.grant != "":
			agent := *f.Agent
			agent.Capabilities = append(slices.Clone(agent.Capabilities), m.grant)
			slices.Sort(agent.Capabilities)
			f.Agent = &agent
		case !m.at.IsZero():
			f.At = m.at
			if x.set.cat != nil {
				f.Schedules = x.set.cat.Open(m.at)
			}
		case m.on.kind == claimedQuantity:
			req.Context, ok = state(req.Context, m.on.path, m.change.To)
		case m.on.kind == argsQuantity:
			req.Action.Properties, ok = state(req.Action.Properties, m.on.path, m.change.To)
		case m.on.kind == resourceQuantity:
			req.Resource.Properties, ok = state(req.Resource.Properties, m.on.path, m.change.To)
		case m.on.kind == subjectQuantity:
			req.Subject.Properties, ok = state(req.Subject.Properties, m.on.path, m.change.To)
		}
		if !ok {
			return nil, nil, false
		}
	}
	if x.set.cat != nil && !slices.Equal(req.Resource.Properties, x.req.Resource.Properties) {
		class, labels, region := x.set.cat.Classify(&x.req.Resource)
		if class == f.Class && region == f.Region && slices.Equal(labels, f.Labels) {
			f.Class, f.Labels, f.Region = x.set.cat.Classify(&req.Resource)
		}
	}
	if f.Agent != nil && x.derived() {
		f.Grant = x.set.Grant(&req, f.Agent, &f)
		f.Behalf = slices.Clone(f.Behalf)
		for i := range f.Behalf {
			f.Behalf[i].Grant = x.set.Grant(&req, f.Behalf[i].Agent, &f)
		}
	}
	return &req, &f, true
}

// forget drops an agent that was only supposed.
func (c *agents) forget(a *authz.Agent) {
	c.mu.Lock()
	delete(c.ent, a)
	c.mu.Unlock()
}
