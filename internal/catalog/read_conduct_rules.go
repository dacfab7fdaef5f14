package catalog

import (
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"
)

func (r *reader) deviation(n ast.Node) {
	d := &r.c.conduct.Deviation
	r.object(n, "deviation", fields{
		"alpha":    func(n ast.Node) { r.decimal(n, "alpha", 0.00001, 0.5, &d.Alpha) },
		"traces":   func(n ast.Node) { d.Traces = int(r.number(n, "traces", 1, 10_000)) },
		"drift":    func(n ast.Node) { r.decimal(n, "drift", 1, 1000, &d.Drift) },
		"remember": func(n ast.Node) { d.Remember = r.duration(n, "remember", time.Hour, 3660*day) },
	})
}

func (r *reader) escalation(n ast.Node) {
	e := &r.c.conduct.Escalation
	r.object(n, "escalation", fields{
		"window":   func(n ast.Node) { e.Window = r.duration(n, "window", minWindow, maxWindow) },
		"refusals": func(n ast.Node) { e.Refusals = int(r.number(n, "refusals", 2, maxRefusals)) },
		"probes":   func(n ast.Node) { e.Probes = int(r.number(n, "probes", 3, maxProbes)) },
		"protected": func(n ast.Node) {
			own := DefaultConduct().Escalation.Protected
			e.Protected = r.names(n, "protected", func(s string, at ast.Node) {
				if !slices.Contains(own, s) { // ours are protected whether the schema has them or not
					r.mention(MentionsType, s, "protected", at)
				}
			})
			if len(e.Protected) > maxProtected {
				r.at(n, "there are more than %d protected types", maxProtected)
			}
		},
		"excused": func(n ast.Node) {
			own := DefaultConduct().Escalation.Excused
			e.Excused = r.names(n, "excused", func(s string, at ast.Node) {
				r.later = append(r.later, func() {
					if _, ok := r.c.reasons[s]; !ok && !slices.Contains(own, s) {
						r.at(at, "excused: reason %q is not declared%s", s, r.suggest(s, sortedKeys(r.c.reasons)))
					}
				})
			})
			if len(e.Excused) > maxExcused {
				r.at(n, "there are more than %d excused reasons", maxExcused)
			}
		},
	})
}

func (r *reader) performance(n ast.Node) {
	p := &r.c.conduct.Performance
	share := func(what string, x *float64) func(ast.Node) {
		return func(n ast.Node) { r.decimal(n, what, 0, 1, x) }
	}
	r.object(n, "performance", fields{
		"accuracy": share("accuracy", &p.Accuracy),
		"errors":   share("errors", &p.Errors),
		"brier":    share("brier", &p.Brier),
		"least":    func(n ast.Node) { p.Least = int(r.number(n, "least", 1, 10_000)) },
		"loop":     func(n ast.Node) { p.Loop = int(r.number(n, "loop", 2, 60)) },
		"schema":   func(n ast.Node) { p.Schema = int(r.number(n, "schema", 1, 60)) },
		"drift":    func(n ast.Node) { r.decimal(n, "drift", 1, 1000, &p.Drift) },
		"half_life": func(n ast.Node) {
			p.HalfLife = r.duration(n, "a half-life", time.Hour, longest)
		},
		"person":   share("the word of a person", &p.Person),
		"pep":      share("the word of an enforcement point", &p.PEP),
		"operator": share("the word of an operator", &p.Operator),
		"reporter": func(n ast.Node) { r.decimal(n, "reporter", 0, 60, &p.Reporter) },
		"session":  func(n ast.Node) { r.decimal(n, "session", 0, 60, &p.Session) },
	})
}

func (r *reader) asking(n ast.Node) {
	a := &r.c.conduct.Asking
	r.object(n, "asking", fields{
		"many":    func(n ast.Node) { a.Many = int(r.number(n, "many", 1, 10_000)) },
		"usual":   func(n ast.Node) { r.decimal(n, "usual", 1, 1000, &a.Usual) },
		"refused": func(n ast.Node) { r.decimal(n, "refused", 0.01, 1, &a.Refused) },
		"fast":    func(n ast.Node) { r.decimal(n, "fast", 0.01, 1, &a.Fast) },
		"least":   func(n ast.Node) { a.Least = int(r.number(n, "least", 1, 16)) },
	})
}

func (r *reader) compliance(n ast.Node) {
	c := &r.c.conduct.Compliance
	r.object(n, "compliance", fields{
		"receipts": r.receipts,
		"purposes": func(n ast.Node) {
			c.Purposes = map[string][]string{}
			r.each(n, "purposes", func(purpose string, at, v ast.Node) {
				what := "purpose " + shorten(purpose)
				if purpose == "" || len(purpose) > maxName {
					r.at(at, "a purpose has a name of at most %d bytes", maxName)
				}
				c.Purposes[purpose] = r.some(v, what, r.names(v, what, func(id string, at ast.Node) {
					r.later = append(r.later, func() {
						if r.c.capabilities[id] == nil {
							r.at(at, "%s: capability %q is not declared%s", what, id, r.suggest(id, sortedKeys(r.c.capabilities)))
						}
					})
				}))
			})
		},
		"regions": func(n ast.Node) {
			r.list(n, "regions", func(v ast.Node) {
				if c.Regions = append(c.Regions, r.regionRule(v)); len(c.Regions) == maxRules+1 {
					r.at(v, "there are more than %d rules of regions", maxRules)
				}
			})
		},
		"retention": func(n ast.Node) {
			r.list(n, "retention", func(v ast.Node) {
				if c.Retention = append(c.Retention, r.retentionRule(v)); len(c.Retention) == maxRules+1 {
					r.at(v, "there are more than %d rules of retention", maxRules)
				}
			})
		},
	})
}

// receipts reads which acts must be followed by an outcome, and when.
func (r *reader) receipts(n ast.Node) {
	c := &r.c.conduct.Compliance
	r.object(n, "receipts", fields{
		"within": func(n ast.Node) { c.Receipt = r.duration(n, "within", time.Second, 30*day) },
		"classes": func(n ast.Node) {
			c.ReceiptFor = r.some(n, "classes", r.names(n, "classes", func(s string, at ast.Node) {
				if !slices.Contains(capabilityClasses, s) {
					r.at(at, "class %q is not known%s: one of %s", s, r.suggest(s, capabilityClasses), enumerate(capabilityClasses))
				}
			}))
		},
		"obligations": func(n ast.Node) { c.ReceiptObliged = r.truth(n, "obligations") },
	})
	asks := len(c.ReceiptFor) > 0 || c.ReceiptObliged
	switch {
	case c.Receipt == 0 && asks:
		r.at(n, "receipts say of which acts, and not within what time: give within, such as 15m")
	case c.Receipt > 0 && !asks:
		r.at(n, "receipts are asked for of no act: give classes, or obligations: true")
	}
}

func (r *reader) regionRule(n ast.Node) (q RegionRule) {
	r.object(n, "a rule of regions", fields{
		"labels":        func(n ast.Node) { q.Labels = r.names(n, "labels", nil) },
		"jurisdictions": func(n ast.Node) { q.Jurisdictions = r.texts(n, "jurisdictions", nil) },
		"countries": func(n ast.Node) {
			q.Countries = r.some(n, "countries", r.texts(n, "countries", func(s string, at ast.Node) {
				if len(s) != 2 || s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' {
					r.at(at, "country %q is not a code of ISO 3166-1: write two capital letters, such as CH", shorten(s))
				}
			}))
		},
	})
	if q.Countries == nil {
		r.at(n, "the rule has no countries from which the data may be used")
	}
	return q
}

func (r *reader) retentionRule(n ast.Node) (q RetentionRule) {
	before := len(r.problems)
	r.object(n, "a rule of retention", fields{
		"type": func(n ast.Node) {
			if q.Type = r.ident(n, "type"); q.Type != "" {
				r.mention(MentionsType, q.Type, "retention", n)
			}
		},
		"property": func(n ast.Node) { q.Property = r.named(n, "property") },
		"keep":     func(n ast.Node) { q.Keep = r.duration(n, "keep", time.Minute, longest) },
	})
	if len(r.problems) == before && (q.Type == "" || q.Property == "" || q.Keep == 0) {
		r.at(n, "a rule of retention has a type, the property that says when, and how long after it to keep")
	}
	return q
}
