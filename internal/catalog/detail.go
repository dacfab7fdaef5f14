package catalog

import (
	"slices"

	"github.com/safeconduct/safeconduct/authz"
)

// DetailOf returns a capability as an element of authorization_details, with all the limits that the
// catalog sets. Its actions are not listed: which they are is the catalog's to say, and a passport
// names actions only to carry fewer. It reports false if there is no such capability.
func (c *Catalog) DetailOf(capability string) (authz.Detail, bool) {
	k, ok := c.capabilities[capability]
	if !ok {
		return authz.Detail{}, false
	}
	return k.detail, true
}

// setDetail makes what DetailOf returns, once the capability has been read. The lists are the
// capability's own.
func (k *Capability) setDetail() {
	k.detail = authz.Detail{Type: authz.DetailType, Identifier: k.ID}
	l := authz.Limits{Amount: k.Limits.Amount, Regions: k.Limits.Regions, Schedules: k.Limits.Schedules}
	if k.Limits.Class != nil {
		l.Class = k.Limits.Class.String()
	}
	if l.Class != "" || len(l.Amount) > 0 || len(l.Regions) > 0 || len(l.Schedules) > 0 {
		k.detail.Limits = &l
	}
}

// Narrows returns nil if child carries nothing that parent does not: the same capability, no other
// actions and locations, and no limit that is left out or wider. Names are compared as they are
// written, so an action is not within a group of actions. It returns authz.ErrInvalid if one of them
// cannot be read, and else authz.ErrForbidden with what is wider.
func Narrows(child, parent *authz.Detail) error {
	for _, d := range []*authz.Detail{child, parent} {
		if err := checkDetail(d); err != nil {
			return err
		}
	}
	wider := func(what string) error {
		return authz.Errorf(authz.ErrForbidden, "capability %.128q: %s goes beyond what was granted", child.Identifier, what)
	}
	if child.Identifier != parent.Identifier {
		return authz.Errorf(authz.ErrForbidden, "capability %.128q was not granted", child.Identifier)
	}
	c, p := limitsOf(child), limitsOf(parent)
	for _, list := range []struct {
		what          string
		child, parent []string
	}{
		{"actions", child.Actions, parent.Actions},
		{"locations", child.Locations, parent.Locations},
		{"limits.regions", c.Regions, p.Regions},
		{"limits.schedules", c.Schedules, p.Schedules},
	} {
		if !subset(list.child, list.parent) {
			return wider(list.what)
		}
	}
	if p.Class != "" && (c.Class == "" || rankOf(c.Class) > rankOf(p.Class)) {
		return wider("limits.class")
	}
	for argument, most := range p.Amount {
		n, ok := c.Amount[argument]
		if !ok {
			return wider("limits.amount." + argument)
		}
		a, _ := parseDecimal(n)
		b, _ := parseDecimal(most)
		if a.compare(&b) > 0 {
			return wider("limits.amount." + argument)
		}
	}
	return nil
}

// checkDetail returns authz.ErrInvalid if a limit cannot be read.
func checkDetail(d *authz.Detail) error {
	bad := func(what, value string) error {
		return authz.Errorf(authz.ErrInvalid, "capability %.128q: %s %.64q cannot be read", d.Identifier, what, value)
	}
	if d.Type != authz.DetailType {
		return bad("type", d.Type)
	}
	l := limitsOf(d)
	if l.Class != "" {
		if _, err := authz.ParseDataClass(l.Class); err != nil {
			return bad("limits.class", l.Class)
		}
	}
	for argument, most := range l.Amount {
		if _, ok := parseDecimal(most); !ok {
			return bad("limits.amount."+argument, most)
		}
	}
	return nil
}

var noLimits authz.Limits

// limitsOf returns the limits of a detail, which are none if it says nothing of them.
func limitsOf(d *authz.Detail) *authz.Limits {
	if d.Limits == nil {
		return &noLimits
	}
	return d.Limits
}

// subset reports whether a list names nothing that the other does not. An empty list is every name.
func subset(child, parent []string) bool {
	if len(parent) == 0 {
		return true
	}
	return len(child) > 0 && !slices.ContainsFunc(child, func(s string) bool { return !slices.Contains(parent, s) })
}

// rankOf returns the rank of a class by its name, the strictest one's if there is no such class.
func rankOf(class string) int64 {
	c, _ := authz.ParseDataClass(class)
	return c.Rank()
}

// narrowed appends what stands in the way of an act because of what a passport carries of a
// capability. If it carries the capability several times, once within its limits is enough.
func narrowed(list []string, p *authz.Passport, capability string, act *Act) []string {
	start, carried := len(list), false
	for i := range p.Details {
		d := &p.Details[i]
		if d.Type != authz.DetailType || d.Identifier != capability || !act.among(d.Actions) {
			continue
		}
		carried = true
		before := len(list)
		if list = beyond(list, d, act); len(list) == before {
			return list[:start]
		}
	}
	if !carried {
		return append(list, capability+"/passport")
	}
	slices.Sort(list[start:])
	return list[:start+len(slices.Compact(list[start:]))]
}

// among reports whether the act is among actions and groups; all acts are among none. The issue of a
// passport is not one of a capability's actions, and its resource names the capability.
func (act *Act) among(actions []string) bool {
	if len(actions) == 0 || act.Action == authz.ActionIssue {
		return true
	}
	return slices.Contains(actions, act.Action) ||
		slices.ContainsFunc(act.Groups, func(g string) bool { return slices.Contains(actions, g) })
}

// beyond appends the limits of a passport that stand in the way of an act. A limit that cannot be
// read does.
func beyond(list []string, d *authz.Detail, act *Act) []string {
	l := limitsOf(d)
	if len(l.Schedules) > 0 && !act.within(l.Schedules) {
		list = append(list, d.Identifier+"/passport.schedule")
	}
	if act.Action == authz.ActionIssue {
		return list
	}
	if l.Class != "" {
		if most, err := authz.ParseDataClass(l.Class); err != nil || act.Class.Rank() > most.Rank() {
			list = append(list, d.Identifier+"/passport.class")
		}
	}
	for argument, text := range l.Amount {
		most, ok := parseDecimal(text)
		if a := (amount{argument: argument, most: most}); !ok || !a.holds(act.Arguments) {
			list = append(list, d.Identifier+"/passport.amount."+argument)
		}
	}
	if len(l.Regions) > 0 && !slices.Contains(l.Regions, act.Jurisdiction) {
		list = append(list, d.Identifier+"/passport.region")
	}
	return list
}
