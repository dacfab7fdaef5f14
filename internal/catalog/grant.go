package catalog

import (
	"slices"

	"github.com/safeconduct/safeconduct/authz"
)

// An Act is what a grant is measured by.
type Act struct {
	Action       string          // its name
	Resource     authz.Ref       // what it is done to
	Groups       []string        // the action groups it is in, directly or not
	Arguments    authz.Claimed   // its properties
	Class        authz.DataClass // of the resource
	Jurisdiction string          // of the resource, "" if unknown
	Schedules    []string        // names of the open ones, sorted

	// Passport is what the agent's token carries; nil if it presented none.
	Passport *authz.Passport
}

// An amount is the largest value of one argument.
type amount struct {
	argument string
	most     decimal
	exceeded string // what Grant.Exceeded says
}

// Grant returns how the agent's capabilities cover an act. A capability covers it if it lists the
// action or one of its groups; a capability that is not declared covers nothing. Limits of a
// covering capability that stand in the way are named capability/class, capability/amount.ARGUMENT,
// capability/region and capability/schedule. One capability within its limits is enough; what
// stands in the way of others is listed nevertheless.
//
// An argument that a limit names and that is missing, negative, or not one plain decimal (a JSON
// number, or a text of digits) is over the limit, whatever the limit is.
//
// A passport can only narrow: a capability that it does not carry, or carries for other actions,
// stands in its own way as capability/passport, and limits of the passport do so besides the
// catalog's, as capability/passport.class, capability/passport.amount.ARGUMENT,
// capability/passport.region and capability/passport.schedule. Whatever would be exceeded without the
// passport still is.
//
// The grant is essential if one of the capabilities within their limits is.
//
// Of the act of issuing a passport (authz.ActionIssue) for a capability, the capability covers it if
// the agent has it, and its only limit is its schedule.
func (c *Catalog) Grant(a *authz.Agent, act Act) authz.Grant {
	g := authz.Grant{Within: []string{}}
	if a == nil {
		return g
	}
	if act.Action == authz.ActionIssue && act.Resource.Type == authz.CapabilityType {
		return c.grantIssue(a, &act)
	}
	gravest := -1
	if len(a.Capabilities) > 0 {
		g.Within = make([]string, 0, min(len(a.Capabilities), 4))
	}
	for _, id := range a.Capabilities {
		k := c.capabilities[id]
		if k == nil || !k.covers(&act) {
			continue
		}
		gravest = max(gravest, k.grave)
		before := len(g.Exceeded)
		g.Exceeded = k.exceeded(g.Exceeded, &act)
		if act.Passport != nil {
			g.Exceeded = narrowed(g.Exceeded, act.Passport, k.ID, &act)
		}
		if len(g.Exceeded) == before {
			g.Within = append(g.Within, k.ID)
			g.Essential = g.Essential || k.Essential
		}
	}
	slices.Sort(g.Within)
	slices.Sort(g.Exceeded)
	if gravest >= 0 {
		g.Class = capabilityClasses[gravest]
	}
	return g
}

// Covers reports whether a capability covers an act, whoever does it and whatever its limits are; of the act of
// issuing a passport, whether it is for that capability.
func (c *Catalog) Covers(capability string, act Act) bool {
	if act.Action == authz.ActionIssue && act.Resource.Type == authz.CapabilityType {
		return act.Resource.ID == capability
	}
	k := c.capabilities[capability]
	return k != nil && k.covers(&act)
}

// covers reports whether the capability lists the action or one of its groups.
func (k *Capability) covers(act *Act) bool {
	if _, ok := slices.BinarySearch(k.Actions, act.Action); ok {
		return true
	}
	for _, group := range act.Groups {
		if _, ok := slices.BinarySearch(k.Actions, group); ok {
			return true
		}
	}
	return false
}

// exceeded appends the limits that stand in the way of an act.
func (k *Capability) exceeded(list []string, act *Act) []string {
	l := &k.Limits
	if l.Class != nil && act.Class.Rank() > l.Class.Rank() {
		list = append(list, k.ID+"/class")
	}
	for i := range k.amounts {
		a := &k.amounts[i]
		if !a.holds(act.Arguments) {
			list = append(list, a.exceeded)
		}
	}
	if l.Regions != nil {
		if _, ok := slices.BinarySearch(l.Regions, act.Jurisdiction); !ok {
			list = append(list, k.ID+"/region")
		}
	}
	if l.Schedules != nil && !act.within(l.Schedules) {
		list = append(list, k.ID+"/schedule")
	}
	return list
}

// within reports whether one of the schedules is open.
func (act *Act) within(schedules []string) bool {
	return slices.ContainsFunc(schedules, func(s string) bool {
		_, ok := slices.BinarySearch(act.Schedules, s)
		return ok
	})
}

// grantIssue returns how the agent's capabilities cover the issue of a passport.
func (c *Catalog) grantIssue(a *authz.Agent, act *Act) authz.Grant {
	g := authz.Grant{Within: []string{}}
	k := c.capabilities[act.Resource.ID]
	if k == nil || !slices.Contains(a.Capabilities, k.ID) {
		return g
	}
	g.Class = k.Class
	if k.Limits.Schedules != nil && !act.within(k.Limits.Schedules) {
		g.Exceeded = append(g.Exceeded, k.ID+"/schedule")
	}
	if act.Passport != nil {
		g.Exceeded = narrowed(g.Exceeded, act.Passport, k.ID, act)
	}
	if len(g.Exceeded) == 0 {
		g.Within = append(g.Within, k.ID)
		g.Essential = k.Essential
	}
	slices.Sort(g.Exceeded)
	return g
}

// holds reports whether the argument is there and not over the limit.
func (a *amount) holds(args authz.Claimed) bool {
	v, ok := member(args, a.argument)
	if !ok {
		return false
	}
	if v[0] == '"' {
		if v = v[1 : len(v)-1]; len(v) == 0 {
			return false
		}
	}
	n, ok := parseDecimal(v)
	return ok && n.compare(&a.most) <= 0
}
