package catalog

import (
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/safeconduct/safeconduct/authz"
)

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
			r.each(n, "actions", func(action string, at, v ast.Node) {
				r.mention(MentionsAction, action, "signals", at)
				s.actions[action] = list(v)
			})
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
