package catalog

import (
	"maps"
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/safeconduct/safeconduct/authz"
)

// A reader builds a Catalog out of a document. What refers to other sections is checked last.
type reader struct {
	*document
	c     *Catalog
	later []func()
}

// read compiles d. If d has problems afterwards the Catalog is not to be used.
func read(d *document) *Catalog {
	c := &Catalog{
		zone:         time.UTC,
		capabilities: map[string]*Capability{},
		types:        map[string]*Type{},
		obligations:  map[string]authz.Obligation{},
		reasons:      map[string]Reason{},
		approvers:    map[string]*Approvers{},
		entities:     map[authz.Ref]*Stored{},
		byType:       map[string][]*Stored{},
		weights:      DefaultWeights(),
	}
	c.signals.always = []string{}
	r := &reader{document: d, c: c}
	var rules []*rule
	weighed := false
	d.object(d.root, "a catalog", fields{
		"zone":          func(n ast.Node) { c.zone = r.location(n) },
		"capabilities":  r.capabilities,
		"types":         r.types,
		"default_class": func(n ast.Node) { c.classes.setFallback(d.class(n)) },
		"classify":      func(n ast.Node) { rules = r.classify(n) },
		"schedules":     r.schedules,
		"networks":      r.networks,
		"obligations":   r.obligations,
		"reasons":       r.reasons,
		"approvers":     r.approvers,
		"entities":      r.entities,
		"signals":       r.signals,
		"risk":          func(n ast.Node) { weighed = r.risk(n) },
	})
	for _, check := range r.later {
		check()
	}
	c.classes.compile(c.types, rules)
	if !weighed && len(c.networks.names) > 0 {
		c.weights.UnknownZone = defaultUnknownZone
	}
	for _, s := range c.schedules.all {
		if s.zone == nil {
			s.zone = c.zone
		}
	}
	for _, list := range c.byType {
		slices.SortFunc(list, func(a, b *Stored) int { return compareRefs(a.Ref, b.Ref) })
	}
	return c
}

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
			"actions": func(n ast.Node) { k.Actions = r.texts(n, "actions") },
			"limits":  func(n ast.Node) { r.limits(n, k) },
		})
		if k.Class == "" {
			r.at(at, "%s has no class: one of read, write, egress, money, admin", what)
		}
		if len(k.Actions) == 0 {
			r.at(at, "%s lists no actions", what)
		}
		r.c.capabilities[id] = k
	})
}

// unserved is a limit that is known, so that it can be refused for what it is.
const unserved = "count"

func (r *reader) limits(n ast.Node, k *Capability) {
	l := &k.Limits
	r.object(n, "limits", fields{
		"class":   func(n ast.Node) { l.Class = r.class(n) },
		"regions": func(n ast.Node) { l.Regions = r.some(n, "regions", r.texts(n, "regions")) },
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

// texts reads a list of texts, sorted; none may be repeated.
func (r *reader) texts(n ast.Node, what string) []string {
	all := []string{}
	seen := map[string]bool{}
	r.list(n, what, func(v ast.Node) {
		switch s := r.text(v, what); {
		case s == "":
		case len(s) > maxName:
			r.at(v, "%s: %q is longer than %d bytes", what, shorten(s), maxName)
		case seen[s]:
			r.at(v, "%s lists %q twice", what, s)
		default:
			seen[s] = true
			all = append(all, s)
		}
	})
	slices.Sort(all)
	return all
}

func (r *reader) obligations(n ast.Node) {
	r.each(n, "obligations", func(id string, at, v ast.Node) {
		if !r.keyName(id, at, "obligation") {
			return
		}
		o := authz.Obligation{ID: id}
		r.object(v, "obligation "+id, fields{
			"type":       func(n ast.Node) { o.Type = r.text(n, "type") },
			"properties": func(n ast.Node) { o.Properties = []byte(r.document.properties(n, "properties")) },
		})
		if o.Type == "" {
			r.at(at, "obligation %s has no type", id)
		}
		r.c.obligations[id] = o
	})
}

// builtin are the codes of decisions, which an operator's reason must not be taken for.
var builtin = []string{
	authz.CodeAllowed, authz.CodeNoPermit, authz.CodeForbidden, authz.CodePolicyError, authz.CodeSignalMissing,
	authz.CodeApprovalRequired, authz.CodeStepUpRequired, authz.CodeObligation, authz.CodeAgentUnknown,
	authz.CodeAgentInactive, authz.CodeTypeUnknown, authz.CodeInvalid, authz.CodeUnavailable,
}

func (r *reader) reasons(n ast.Node) {
	r.each(n, "reasons", func(id string, at, v ast.Node) {
		if !r.keyName(id, at, "reason") {
			return
		}
		if slices.Contains(builtin, id) {
			r.at(at, "reason %q is the name of a code of ours: choose another", id)
		}
		reason := Reason{ID: id}
		r.object(v, "reason "+id, fields{
			"message": func(n ast.Node) { reason.Message = r.text(n, "message") },
			"detail":  func(n ast.Node) { reason.Detail = r.text(n, "detail") },
		})
		if reason.Message == "" {
			r.at(at, "reason %s has no message for the agent", id)
		}
		r.c.reasons[id] = reason
	})
}

func (r *reader) approvers(n ast.Node) {
	r.each(n, "approvers", func(id string, at, v ast.Node) {
		if !r.keyName(id, at, "approver group") {
			return
		}
		g := &Approvers{ID: id}
		r.object(v, "approver group "+id, fields{
			"title": func(n ast.Node) { g.Title = r.text(n, "title") },
			"members": func(n ast.Node) {
				r.list(n, "members", func(v ast.Node) { g.Members = append(g.Members, r.approver(v)) })
			},
		})
		if len(g.Members) == 0 {
			r.at(at, "approver group %s has no members", id)
		}
		r.c.approvers[id] = g
	})
}

func (r *reader) approver(n ast.Node) (a Approver) {
	r.object(n, "a member", fields{
		"type": func(n ast.Node) { a.Person.Type = r.ident(n, "type") },
		"id":   func(n ast.Node) { a.Person.ID = r.text(n, "id") },
		"claims": func(n ast.Node) {
			a.Claims = map[string]string{}
			r.each(n, "claims", func(claim string, _, v ast.Node) { a.Claims[claim] = r.text(v, "claim "+claim) })
		},
	})
	switch person := a.Person.Type != "" && a.Person.ID != ""; {
	case person == (len(a.Claims) > 0), !person && !a.Person.IsZero():
		r.at(n, "a member is a person (type and id) or everybody with the same claims")
	}
	return a
}

func (r *reader) signals(n ast.Node) {
	s := &r.c.signals
	list := func(n ast.Node) []string {
		return r.names(n, "signals", func(name string, at ast.Node) {
			if !slices.Contains(signalNames, name) {
				r.at(at, "signal %q is not known%s: one of %s", name, r.suggest(name, signalNames), enumerate(signalNames))
			}
		})
	}
	s.actions = map[string][]string{}
	r.object(n, "signals", fields{
		"always": func(n ast.Node) { s.always = join(list(n), nil) },
		"actions": func(n ast.Node) {
			r.each(n, "actions", func(action string, _, v ast.Node) { s.actions[action] = list(v) })
		},
	})
	for action, own := range s.actions {
		s.actions[action] = join(own, s.always)
	}
}

// risk reports whether the weight of unknown zones was given.
func (r *reader) risk(n ast.Node) (unknownZone bool) {
	w := &r.c.weights
	points := func(n ast.Node) int64 { return r.number(n, "points", 0, 100) }
	bySeverity := func(table *[4]int64) func(ast.Node) {
		f := fields{}
		for i, s := range Severities {
			f[s] = func(n ast.Node) { table[i] = points(n) }
		}
		return func(n ast.Node) { r.object(n, "severities", f) }
	}
	byClass := fields{}
	for c := authz.Restricted; c <= authz.Public; c++ {
		byClass[c.String()] = func(n ast.Node) { w.Class[c] = points(n) }
	}
	r.object(n, "risk", fields{
		"class":        func(n ast.Node) { r.object(n, "classes", byClass) },
		"unknown_zone": func(n ast.Node) { w.UnknownZone, unknownZone = points(n), true },
		"alert":        bySeverity(&w.Alert),
		"indicator":    bySeverity(&w.Indicator),
		"levels": func(n ast.Node) {
			level := func(at *int64) func(ast.Node) {
				return func(n ast.Node) { *at = r.number(n, "the lowest score of a level", 1, 100) }
			}
			r.object(n, "levels", fields{
				"elevated": level(&w.Elevated), "high": level(&w.High), "critical": level(&w.Critical),
			})
			if w.Elevated > w.High || w.High > w.Critical {
				r.at(n, "levels must rise: elevated %d, high %d, critical %d", w.Elevated, w.High, w.Critical)
			}
		},
	})
	return unknownZone
}

// location reads an IANA time zone.
func (r *reader) location(n ast.Node) *time.Location {
	s := r.text(n, "zone")
	if s == "" {
		return time.UTC
	}
	l, err := time.LoadLocation(s)
	if err != nil || s == "Local" {
		r.at(n, "time zone %q is not known: use an IANA name such as Europe/Berlin", s)
		return time.UTC
	}
	return l
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
