package catalog

import (
	"github.com/goccy/go-yaml/ast"

	"github.com/safeconduct/safeconduct/authz"
)

func (r *reader) capabilities(n ast.Node) {
	r.each(n, "capabilities", func(id string, at, v ast.Node) {
		if !r.keyName(id, at, "capability") {
			return
		}
		k := &Capability{ID: id}
		what := "capability " + id
		r.object(v, what, fields{
			"title": func(n ast.Node) { k.Title = r.text(n, "title") },
			"class": func(n ast.Node) {
				if k.grave = r.oneOf(n, "class", capabilityClasses); k.grave >= 0 {
					k.Class = capabilityClasses[k.grave]
				} else {
					k.Class = "?" // complained of already
				}
			},
			"actions": func(n ast.Node) {
				k.Actions = r.texts(n, "actions", func(s string, at ast.Node) { r.mention(MentionsGroup, s, what, at) })
			},
			"limits":    func(n ast.Node) { r.limits(n, k) },
			"essential": func(n ast.Node) { k.Essential = r.truth(n, "essential") },
		})
		if k.Class == "" {
			r.at(at, "%s has no class: one of read, write, egress, money, admin", what)
		}
		if len(k.Actions) == 0 {
			r.at(at, "%s lists no actions", what)
		}
		k.setDetail()
		r.c.capabilities[id] = k
		r.storeCapability(k, at)
	})
}

// storeCapability makes a capability an entity as well, so that policies and searches know those of
// passports by their class.
func (r *reader) storeCapability(k *Capability, at ast.Node) {
	e := &Stored{Ref: authz.Ref{Type: authz.CapabilityType, ID: k.ID}}
	e.Properties = append(quote(authz.Claimed(`{"class":`), k.Class), '}')
	if k.Title != "" {
		e.Properties = append(e.Properties[:len(e.Properties)-1], `,"title":`...)
		e.Properties = append(quote(e.Properties, k.Title), '}')
	}
	if t := first(at); t != nil {
		e.line, e.column = int32(t.Position.Line), int32(t.Position.Column)
	}
	r.c.entities[e.Ref] = e
	r.c.byType[e.Type] = append(r.c.byType[e.Type], e)
}

// unserved is a limit that is known, so that it can be refused for what it is.
const unserved = "count"

func (r *reader) limits(n ast.Node, k *Capability) {
	l := &k.Limits
	r.object(n, "limits", fields{
		"class":   func(n ast.Node) { l.Class = r.class(n) },
		"regions": func(n ast.Node) { l.Regions = r.some(n, "regions", r.texts(n, "regions", nil)) },
		"schedules": func(n ast.Node) {
			l.Schedules = r.some(n, "schedules", r.names(n, "schedules", func(s string, at ast.Node) {
				r.later = append(r.later, func() {
					if _, ok := r.c.schedules.find(s); !ok {
						r.at(at, "capability %s: schedule %q is not declared%s", k.ID, s, r.suggest(s, r.c.Schedules()))
					}
				})
			}))
		},
		"amount": func(n ast.Node) {
			l.Amount = map[string]string{}
			r.each(n, "amount", func(argument string, at, v ast.Node) {
				r.mentionArgument(argument, k, at)
				text, ok := r.written(v)
				most, exact := parseDecimal(text)
				if !ok || !exact {
					r.at(v, "the most of %s must be a decimal number that is not negative, such as 100 or \"99.50\", not %s", argument, kind(r.value(v)))
					return
				}
				l.Amount[argument] = text
				k.amounts = append(k.amounts, amount{argument, most, k.ID + "/amount." + argument})
			})
		},
		unserved: func(n ast.Node) {
			r.at(n, "limits by count need a history of acts, which is not served yet: leave the limit out")
		},
	})
}

// some complains of a list that allows nothing.
func (r *reader) some(n ast.Node, what string, list []string) []string {
	if s, ok := r.value(n).(*ast.SequenceNode); ok && len(s.Values) == 0 {
		r.at(n, "%s is empty, which would allow nothing: leave it out, or name some", what)
	}
	if list == nil {
		return []string{}
	}
	return list
}
