package catalog

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Bounds of what can be said of asking people.
const (
	maxGroups    = 256       // approver groups
	maxMembers   = 1000      // of an approver group
	maxClaims    = 16        // of a member
	maxRoutes    = 256       // of approval
	maxNamed     = 32        // groups, channels or amounts of a route
	maxQuorum    = 16        // persons who must agree
	maxUses      = 1_000_000 // of one approval
	maxVolatile  = 64        // members of the context
	maxAsks      = 100_000   // of a budget
	longestGrant = 90 * day  // of an approval
)

func (r *reader) approvers(n ast.Node) {
	r.each(n, "approvers", func(id string, at, v ast.Node) {
		if !r.keyName(id, at, "approver group") {
			return
		}
		if len(r.c.approvers) == maxGroups {
			r.at(at, "there are more than %d approver groups", maxGroups)
			return
		}
		g := &Approvers{ID: id}
		r.object(v, "approver group "+id, fields{
			"title": func(n ast.Node) { g.Title = r.text(n, "title") },
			"members": func(n ast.Node) {
				r.list(n, "members", func(v ast.Node) { g.Members = append(g.Members, r.approver(v)) })
			},
		})
		switch {
		case len(g.Members) == 0:
			r.at(at, "approver group %s has no members", id)
		case len(g.Members) > maxMembers:
			r.at(at, "approver group %s has more than %d members: say who they are by claims", id, maxMembers)
		}
		r.c.approvers[id] = g
	})
}

func (r *reader) approver(n ast.Node) (a Approver) {
	r.object(n, "a member", fields{
		"type": func(n ast.Node) { a.Person.Type = r.ident(n, "type") },
		"id":   func(n ast.Node) { a.Person.ID = r.entityID(n) },
		"claims": func(n ast.Node) {
			a.Claims = map[string]string{}
			r.each(n, "claims", func(claim string, at, v ast.Node) {
				if claim == "" || len(claim) > maxName || len(a.Claims) == maxClaims {
					r.at(at, "a claim has a name of at most %d bytes, and a member has at most %d claims", maxName, maxClaims)
					return
				}
				a.Claims[claim] = r.named(v, "claim "+claim)
			})
		},
		"during": func(n ast.Node) {
			if a.During = r.ident(n, "during"); a.During != "" {
				r.refer(n, "during", "schedule", a.During, func() ([]string, bool) {
					_, ok := r.c.schedules.find(a.During)
					return r.c.Schedules(), ok
				})
			}
		},
	})
	switch person := a.Person.Type != "" && a.Person.ID != ""; {
	case person == (len(a.Claims) > 0), !person && !a.Person.IsZero():
		r.at(n, "a member is a person (type and id) or everybody with the same claims")
	case person:
		r.mention(MentionsType, a.Person.Type, "approvers", n)
	}
	return a
}

// refer checks, when the whole document has been read, that what a node names is declared.
func (r *reader) refer(at ast.Node, by, what, name string, declared func() ([]string, bool)) {
	r.later = append(r.later, func() {
		if all, ok := declared(); !ok {
			r.at(at, "%s: %s %q is not declared%s", by, what, name, r.suggest(name, all))
		}
	})
}

// groups reads a list of approver groups that must be declared.
func (r *reader) groups(n ast.Node, by, what string) []string {
	all := r.names(n, what, func(s string, at ast.Node) {
		r.refer(at, by, "approver group", s, func() ([]string, bool) {
			_, ok := r.c.approvers[s]
			return sortedKeys(r.c.approvers), ok
		})
	})
	r.few(n, what, len(all))
	return r.any(n, what, all)
}

// any complains of a list in which nothing stands.
func (r *reader) any(n ast.Node, what string, list []string) []string {
	if s, ok := r.value(n).(*ast.SequenceNode); ok && len(s.Values) == 0 {
		r.at(n, "%s is empty: name some, or leave it out", what)
	}
	return list
}

// few complains of a list of a route that is too long.
func (r *reader) few(n ast.Node, what string, count int) {
	if count > maxNamed {
		r.at(n, "%s has more than %d elements", what, maxNamed)
	}
}

// approvals reads how persons are asked. What is not given stays as it is without the section.
func (r *reader) approvals(n ast.Node) {
	r.object(n, "approvals", fields{
		"default": func(n ast.Node) {
			if r.c.defaultRoute = r.ident(n, "default"); r.c.defaultRoute != "" {
				r.refer(n, "default", "route", r.c.defaultRoute, func() ([]string, bool) {
					_, ok := r.c.routes[r.c.defaultRoute]
					return sortedKeys(r.c.routes), ok
				})
			}
		},
		"volatile": func(n ast.Node) {
			r.c.volatile = r.texts(n, "volatile", nil)
			if len(r.c.volatile) > maxVolatile {
				r.at(n, "volatile has more than %d members", maxVolatile)
			}
		},
		"asks": func(n ast.Node) {
			b := &r.c.asks
			count := func(what string, to *int64) func(ast.Node) {
				return func(n ast.Node) { *to = r.number(n, what, 0, maxAsks) }
			}
			r.object(n, "asks", fields{
				"session": count("session", &b.Session), "hour": count("hour", &b.Hour),
				"pending": count("pending", &b.Pending), "approver": count("approver", &b.Approver),
			})
		},
		"routes": func(n ast.Node) {
			r.each(n, "routes", func(id string, at, v ast.Node) {
				switch {
				case !r.keyName(id, at, "route"):
				case len(r.c.routes) == maxRoutes:
					r.at(at, "there are more than %d routes", maxRoutes)
				default:
					r.c.routes[id] = r.route(id, at, v)
				}
			})
		},
	})
}

func (r *reader) route(id string, at, v ast.Node) *Route {
	q := &Route{ID: id, Quorum: 1, Pending: time.Hour, Lasts: 15 * time.Minute, Reading: 3 * time.Second}
	what := "route " + id
	given := map[string]ast.Node{} // members, by name
	f := fields{
		"title":     func(n ast.Node) { q.Title = r.text(n, "title") },
		"approvers": func(n ast.Node) { q.Approvers = r.groups(n, what, "approvers") },
		"quorum":    func(n ast.Node) { q.Quorum = int(r.number(n, "quorum", 1, maxQuorum)) },
		"self":      func(n ast.Node) { q.Self = r.truth(n, "self") },
		"passkey":   func(n ast.Node) { q.Passkey = r.truth(n, "passkey") },

		"escalate": func(n ast.Node) { q.Escalate = r.groups(n, what, "escalate") },
		"after":    func(n ast.Node) { q.After = r.duration(n, "after", time.Second, 30*day) },
		"pending":  func(n ast.Node) { q.Pending = r.duration(n, "pending", time.Second, 30*day) },
		"lasts":    func(n ast.Node) { q.Lasts = r.duration(n, "lasts", time.Second, longestGrant) },

		"uses":      func(n ast.Node) { q.Uses = r.uses(n) },
		"class":     func(n ast.Node) { q.Class = r.truth(n, "class") },
		"class_for": func(n ast.Node) { q.ClassFor = r.duration(n, "class_for", time.Second, longestGrant) },
		"arguments": func(n ast.Node) { q.Arguments = r.truth(n, "arguments") },
		"amounts":   func(n ast.Node) { q.Amounts = r.amounts(n) },

		"evaluator":   func(n ast.Node) { q.Evaluator = r.ident(n, "evaluator") },
		"break_glass": func(n ast.Node) { q.BreakGlass = r.groups(n, what, "break_glass") },
		"review":      func(n ast.Node) { q.Review = r.duration(n, "review", time.Minute, 30*day) },

		"notify": func(n ast.Node) {
			q.Notify = r.names(n, "notify", nil)
			r.few(n, "notify", len(q.Notify))
		},
		"reading": func(n ast.Node) { q.Reading = r.duration(n, "reading", 0, 10*time.Minute) },
	}
	for name, read := range maps.Clone(f) {
		f[name] = func(n ast.Node) { given[name] = n; read(n) }
	}
	before := len(r.problems)
	r.object(v, what, f)
	if len(r.problems) == before {
		r.sound(q, given, at)
	}
	if q.Title == "" {
		q.Title = id
	}
	if q.ClassFor == 0 {
		q.ClassFor = q.Lasts
	}
	if q.Review == 0 && len(q.BreakGlass) > 0 {
		q.Review = day
	}
	r.later = append(r.later, func() { r.attainable(q, at) })
	return q
}

// sound complains of members of a route that mean nothing without, or beside, another.
func (r *reader) sound(q *Route, given map[string]ast.Node, at ast.Node) {
	if given["approvers"] == nil {
		r.at(at, "route %s has no approvers", q.ID)
	}
	needs := func(member string, ok bool, why string) {
		if n := given[member]; n != nil && !ok {
			r.at(n, "route %s: %s", q.ID, why)
		}
	}
	needs("escalate", q.After > 0, "escalate without after: say after which silence these groups are asked")
	needs("after", len(q.Escalate) > 0, "after without escalate: say who is asked then")
	needs("after", q.After < q.Pending, "after "+spell(q.After)+" nobody is asked any more, because an ask waits for "+spell(q.Pending)+" at most")
	needs("class_for", q.Class || q.Uses > 1 || q.Uses < 0, "class_for bounds approvals of a class or of several uses: permit class or uses")
	needs("arguments", !q.Arguments || q.Class, "arguments are approved with a class only: permit class, or bound single ones under amounts")
	needs("review", len(q.BreakGlass) > 0, "review without break_glass: say who may break the glass")
}

// attainable complains of a route that can never be gone to its end: its groups name fewer persons than
// must agree. Who are described by claims may be any number.
func (r *reader) attainable(q *Route, at ast.Node) {
	persons := map[string]bool{}
	for _, id := range slices.Concat(q.Approvers, q.Escalate) {
		g := r.c.approvers[id]
		if g == nil {
			return // complained of already
		}
		for _, m := range g.Members {
			switch {
			case len(m.Claims) > 0:
				return
			case strings.EqualFold(m.Person.Type, personType):
				persons[m.Person.ID] = true
			}
		}
	}
	if len(q.Approvers) > 0 && len(persons) < q.Quorum {
		r.at(at, "route %s has a quorum of %d, and its groups have %d persons (of the type %s)", q.ID, q.Quorum, len(persons), personType)
	}
}

// uses reads how often an approval can be used at most; -1 for as often as there is time.
func (r *reader) uses(n ast.Node) int64 {
	if s, ok := r.value(n).(*ast.StringNode); ok && s.Value == "unlimited" {
		return -1
	}
	return r.number(n, "uses", 1, maxUses)
}

// amounts reads up to which values of arguments one may approve.
func (r *reader) amounts(n ast.Node) map[string]string {
	all := map[string]string{}
	r.each(n, "amounts", func(argument string, at, v ast.Node) {
		text, ok := r.written(v)
		_, exact := parseDecimal(text)
		switch {
		case argument == "" || len(argument) > maxName:
			r.at(at, "the name of an argument has 1 to %d bytes", maxName)
		case len(all) == maxNamed:
			r.at(at, "amounts has more than %d arguments", maxNamed)
		case !ok || !exact:
			r.at(v, "the most of %s must be a decimal number that is not negative, such as 100 or \"99.50\", not %s", argument, kind(r.value(v)))
		default:
			all[argument] = text
		}
	})
	return all
}
