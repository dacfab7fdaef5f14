package catalog

import (
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Bounds of what can be said of conduct. They keep a slip of the pen from making trust worthless, and a
// monitor's memory from growing with the rules.
const (
	maxBounds    = 1000             // floors and ceilings of trust
	maxRules     = 64               // of regions, of retention
	maxProtected = 64               // types that no agent should act on
	maxExcused   = 64               // reasons of refusals that do not count
	day          = 24 * time.Hour   // as durations are written
	longest      = 100 * 365 * day  // of any duration
	heaviest     = 1000             // weight of evidence, in clean sessions
	maxRefusals  = 10               // what an agent's state of internal/monitor/escalation can tell apart
	maxProbes    = 12               // likewise
	maxWindow    = 24 * time.Hour   // of escalation
	minWindow    = 10 * time.Second // of escalation
)

// levelNames are the levels of trust, lowest first.
var levelNames = []string{"none", "low", "medium", "high"}

// conduct reads what is declared of watching agents. What is not given stays as DefaultConduct has it.
func (r *reader) conduct(n ast.Node) {
	c := &r.c.conduct
	r.object(n, "conduct", fields{
		"mode":        func(n ast.Node) { c.Shadow = r.oneOf(n, "mode", []string{"enforce", "shadow"}) == 1 },
		"cooldown":    func(n ast.Node) { c.Cooldown = r.duration(n, "cooldown", 0, 30*day) },
		"keep":        func(n ast.Node) { c.Keep = r.duration(n, "keep", time.Hour, 366*day) },
		"trust":       r.trust,
		"deviation":   r.unlessOff("deviation", &c.Deviation.Off, r.deviation),
		"escalation":  r.unlessOff("escalation", &c.Escalation.Off, r.escalation),
		"performance": r.unlessOff("performance", &c.Performance.Off, r.performance),
		"compliance":  r.unlessOff("compliance", &c.Compliance.Off, r.compliance),
		"asking":      r.unlessOff("asking", &c.Asking.Off, r.asking),
	})
}

// unlessOff reads the rules of a monitor, or that it is off.
func (r *reader) unlessOff(what string, off *bool, read func(ast.Node)) func(ast.Node) {
	return func(n ast.Node) {
		switch v := r.value(n).(type) {
		case *ast.StringNode, *ast.BoolNode:
			if *off = v.GetToken().Value == "off"; !*off {
				r.at(n, "%s must be an object with named members, or off, not %s", what, kind(v))
			}
		default:
			read(n)
		}
	}
}

func (r *reader) trust(n ast.Node) {
	t := &r.c.conduct.Trust
	weight := func(what string, w *float64) func(ast.Node) {
		return func(n ast.Node) { r.decimal(n, what, 0, heaviest, w) }
	}
	share := func(what string, w *float64) func(ast.Node) {
		return func(n ast.Node) { r.decimal(n, what, 0, 1, w) }
	}
	dwell := func(d *time.Duration) func(ast.Node) {
		return func(n ast.Node) { *d = r.duration(n, "a dwell", 0, 366*day) }
	}
	r.object(n, "trust", fields{
		"prior": func(n ast.Node) {
			r.object(n, "prior", fields{
				"alpha": func(n ast.Node) { r.decimal(n, "alpha", 0.1, 100, &t.PriorAlpha) },
				"beta":  func(n ast.Node) { r.decimal(n, "beta", 0.1, 100, &t.PriorBeta) },
				"most":  func(n ast.Node) { r.decimal(n, "most", 0, 100, &t.PriorMost) },
			})
		},
		"quantile": func(n ast.Node) { r.decimal(n, "quantile", 0.001, 0.5, &t.Quantile) },
		"levels":   r.trustLevels,
		"half_life": func(n ast.Node) {
			r.object(n, "half_life", fields{
				"good": func(n ast.Node) { t.GoodHalfLife = r.duration(n, "a half-life", time.Hour, longest) },
				"bad":  func(n ast.Node) { t.BadHalfLife = r.duration(n, "a half-life", time.Hour, longest) },
			})
		},
		"severity": func(n ast.Node) {
			f := fields{}
			for i, s := range Severities {
				f[s] = weight("the weight of a severity", &t.Severity[i])
			}
			r.object(n, "severities", f)
			if !slices.IsSorted(t.Severity[:]) {
				r.at(n, "weights must rise with severity: low %v, medium %v, high %v, critical %v", t.Severity[0], t.Severity[1], t.Severity[2], t.Severity[3])
			}
		},
		"gain": func(n ast.Node) {
			r.object(n, "gain", fields{
				"session": func(n ast.Node) { r.decimal(n, "session", 0.01, 100, &t.Session) },
				"day":     func(n ast.Node) { r.decimal(n, "day", 0.01, heaviest, &t.Daily) },
				"most":    func(n ast.Node) { r.decimal(n, "most", 1, heaviest, &t.Most) },
			})
			if t.Session > t.Daily || t.Daily > t.Most {
				r.at(n, "gain must rise: session %v, day %v, most %v", t.Session, t.Daily, t.Most)
			}
		},
		"outcomes": func(n ast.Node) {
			r.object(n, "outcomes", fields{
				"right":    weight("the weight of an outcome", &t.Right),
				"wrong":    weight("the weight of an outcome", &t.Wrong),
				"harmful":  weight("the weight of an outcome", &t.Harmful),
				"reverted": weight("the weight of an outcome", &t.Reverted),
			})
		},
		"reporters": func(n ast.Node) {
			r.object(n, "reporters", fields{
				"person":   share("the word of a person", &t.Person),
				"pep":      share("the word of an enforcement point", &t.PEP),
				"operator": share("the word of an operator", &t.Operator),
				"most":     weight("what a reporter can move", &t.Reporter),
			})
		},
		"dwell": func(n ast.Node) {
			r.object(n, "dwell", fields{
				"none": dwell(&t.DwellNone), "low": dwell(&t.DwellLow), "medium": dwell(&t.DwellMedium),
			})
		},
		"canary": func(n ast.Node) {
			r.object(n, "canary", fields{
				"acts":     func(n ast.Node) { t.Canary = int(r.number(n, "acts", 0, 10_000)) },
				"sessions": func(n ast.Node) { t.CanarySessions = int(r.number(n, "sessions", 0, 12)) },
			})
			if t.CanarySessions > t.Canary {
				r.at(n, "%d acts cannot be of %d sessions", t.Canary, t.CanarySessions)
			}
		},
		"quarantine": func(n ast.Node) { t.Quarantine = r.truth(n, "quarantine") },
		"bounds": func(n ast.Node) {
			r.list(n, "bounds", func(v ast.Node) {
				if len(t.Bounds) == maxBounds {
					r.at(v, "there are more than %d bounds", maxBounds)
					return
				}
				t.Bounds = append(t.Bounds, r.trustBound(v))
			})
		},
	})
}

// trustLevels reads from which scores on an agent is at a level, and below which it no longer is.
func (r *reader) trustLevels(n ast.Node) {
	t := &r.c.conduct.Trust
	scores := func(what string, at *[3]float64) func(ast.Node) {
		f := fields{}
		for i, l := range levelNames[1:] {
			f[l] = func(n ast.Node) { r.decimal(n, "a score", 0, 1, &at[i]) }
		}
		return func(n ast.Node) {
			r.object(n, what, f)
			if at[0] >= at[1] || at[1] >= at[2] {
				r.at(n, "%s: levels must rise: low %v, medium %v, high %v", what, at[0], at[1], at[2])
			}
		}
	}
	r.object(n, "levels", fields{"enter": scores("enter", &t.Enter), "leave": scores("leave", &t.Leave)})
	for i, l := range levelNames[1:] {
		if t.Leave[i] >= t.Enter[i] {
			r.at(n, "level %s is entered at %v and must be left below that, not at %v: an agent on the edge would go up and down with every act", l, t.Enter[i], t.Leave[i])
		}
	}
}

func (r *reader) trustBound(n ast.Node) (b TrustBound) {
	floor, ceiling, before := -1, -1, len(r.problems)
	r.object(n, "a bound", fields{
		"agent":   func(n ast.Node) { b.Agent = r.named(n, "agent") },
		"purpose": func(n ast.Node) { b.Purpose = r.named(n, "purpose") },
		"class": func(n ast.Node) {
			if i := r.oneOf(n, "class", capabilityClasses); i >= 0 {
				b.Class = capabilityClasses[i]
			}
		},
		"floor":   func(n ast.Node) { floor = r.oneOf(n, "floor", levelNames) },
		"ceiling": func(n ast.Node) { ceiling = r.oneOf(n, "ceiling", levelNames) },
	})
	if floor >= 0 {
		b.Floor = levelNames[floor]
	}
	if ceiling >= 0 {
		b.Ceiling = levelNames[ceiling]
	}
	switch {
	case len(r.problems) > before: // complained of already
	case floor < 0 && ceiling < 0:
		r.at(n, "the bound says nothing: give it a floor or a ceiling")
	case ceiling >= 0 && floor > ceiling:
		r.at(n, "the floor %s is above the ceiling %s", b.Floor, b.Ceiling)
	}
	return b
}
