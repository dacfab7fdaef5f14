package catalog

import (
	"github.com/goccy/go-yaml/ast"
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
			"limits": func(n ast.Node) { r.limits(n, k) },
		})
		if k.Class == "" {
			r.at(at, "%s has no class: one of read, write, egress, money, admin", what)
		}
		if len(k.Actions) == 0 {
			r.at(at, "%s lists no actions", what)
		}
		k.setDetail()
		r.c.capabilities[id] = k
	})
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
