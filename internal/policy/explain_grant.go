package policy

import (
	"slices"
	"time"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// proposeGrant adds the moves that change how the agent's capabilities cover the act: to lower an
// argument to the limit of a capability, to wait for its schedule, to be granted one.
func (x *explainer) proposeGrant(a atom) keys {
	cat, agent := x.set.cat, x.f.Agent
	if cat == nil || agent == nil || !x.derived() {
		return 0
	}
	name, named := a.lit.(types.String)
	var all keys
	if a.on.kind != capabilitiesQuantity {
		for _, id := range agent.Capabilities {
			if k, ok := cat.Capability(id); ok && (!named || string(name) == id) && slices.Contains(x.exceeded(), id) {
				all |= x.within(k)
			}
		}
	}
	var ask []string
	if named && a.is == contains {
		ask = []string{string(name)}
	} else if a.on.kind == withinQuantity {
		groups := x.set.ActionGroups(x.req.Action.Name)
		for _, k := range cat.Capabilities() {
			if len(ask) < maxProposals && slices.ContainsFunc(k.Actions, func(n string) bool { return slices.Contains(groups, n) }) {
				ask = append(ask, k.ID)
			}
		}
	}
	for _, id := range ask {
		if _, ok := cat.Capability(id); ok && !slices.Contains(agent.Capabilities, id) {
			all |= x.add(grantMove(id))
		}
	}
	return all
}

// proposeCarrying adds the moves with which the agent could carry a capability in a passport: to wait
// for its schedule, or to be granted it.
func (x *explainer) proposeCarrying(id string) keys {
	if x.f.Agent == nil || !x.derived() {
		return 0
	}
	k, ok := x.set.cat.Capability(id)
	switch {
	case !ok:
		return 0
	case slices.Contains(x.f.Agent.Capabilities, id):
		return x.within(k)
	}
	return x.add(grantMove(id))
}

// exceeded returns the capabilities of which a limit stands in the way.
func (x *explainer) exceeded() []string {
	var out []string
	for _, e := range x.f.Grant.Exceeded {
		if i := slices.Index([]byte(e), '/'); i > 0 {
			out = append(out, e[:i])
		}
	}
	return out
}

// within adds the moves that bring the act within a capability's limits.
func (x *explainer) within(k *catalog.Capability) keys {
	var all keys
	p := parties(*x.req)[0]
	q, flt := x.set.query(&p, x.f, everything)
	if flt != nil {
		return 0
	}
	for _, e := range x.f.Grant.Exceeded {
		for arg, most := range k.Limits.Amount {
			if e != k.ID+"/amount."+arg {
				continue
			}
			on := quantity{argsQuantity, []string{arg}}
			now := q.lookup(on)
			limit, err := types.ParseDecimal(decimalText(most))
			if err != nil {
				continue
			}
			var v types.Value = limit
			if _, long := now.(types.Long); long {
				n, _ := countOf(limit)
				v = types.Long(n / 10000)
			}
			all |= x.add(stateMove(on, now, v))
		}
		if e == k.ID+"/schedule" {
			soonest := time.Time{}
			for _, name := range k.Limits.Schedules {
				if at, ok := x.set.cat.NextOpen(name, x.f.At); ok && (soonest.IsZero() || at.Before(soonest)) {
					soonest = at
				}
			}
			if soonest.After(x.f.At) {
				all |= x.add(waitMove(soonest, x.zone))
			}
		}
	}
	return all
}

// decimalText writes a number as Cedar's decimals are written.
func decimalText(s string) string {
	for i := range len(s) {
		if s[i] == '.' {
			return s
		}
	}
	return s + ".0"
}

// derived reports whether the grant among the facts is what the catalog says, so that it can be
// derived again.
func (x *explainer) derived() bool {
	if x.set.cat == nil || x.f.Agent == nil {
		return false
	}
	g := x.set.Grant(x.req, x.f.Agent, x.f)
	return slices.Equal(g.Within, x.f.Grant.Within) && slices.Equal(g.Exceeded, x.f.Grant.Exceeded) && g.Essential == x.f.Grant.Essential
}

// Grant returns how the capabilities of an agent cover a request of which the facts say at least class,
// region and open schedules, within what the passport carries that the request presents.
func (s *Set) Grant(req *authz.Request, who *authz.Agent, f *authz.Facts) authz.Grant {
	return s.cat.Grant(who, catalog.Act{
		Action:       req.Action.Name,
		Resource:     req.Resource.Ref,
		Groups:       s.ActionGroups(req.Action.Name),
		Arguments:    req.Action.Properties,
		Class:        f.Class,
		Jurisdiction: f.Region,
		Schedules:    f.Schedules,
		Passport:     req.Observed.Passport,
	})
}

// Covers reports whether a capability of the catalog lets do what a request asks for, whoever asks and whatever its
// limits are.
func (s *Set) Covers(capability string, req *authz.Request) bool {
	return s.cat.Covers(capability, catalog.Act{
		Action:   req.Action.Name,
		Resource: req.Resource.Ref,
		Groups:   s.ActionGroups(req.Action.Name),
	})
}
