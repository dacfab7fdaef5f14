package policy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// An expectation is what a case wants of its decision. What it does not mention may be anything.
type expectation struct {
	outcome     string
	code        *string
	reasons     []string // codes that must be among the reasons
	obligations []string // ids, exactly; nil if not mentioned
	remedies    []string // exactly; nil if not mentioned
	routes      []string // to the approval, exactly; nil if not mentioned
	lifted      *bool    // whether an approval was needed, and was there
	fired       []string // policies that must fire
	quiet       []string // policies that must not fire
	only        []string // all that fire, exactly; nil if not mentioned
	detail      *string  // part of the operator's detail
}

func (r *reader) expectation(b *branch) expectation {
	var e expectation
	r.members(b, "expect", map[string]func(*branch){
		"outcome": func(v *branch) {
			e.outcome = r.oneOf(v, "outcome", "allow", "deny", "require_approval", "step_up")
		},
		"code":        func(v *branch) { s := r.text(v, "code"); e.code = &s },
		"reason":      func(v *branch) { e.reasons = r.texts(v, "reason") },
		"obligations": func(v *branch) { e.obligations = r.set(v, "obligations") },
		"remedies":    func(v *branch) { e.remedies = r.set(v, "remedies") },
		"routes":      func(v *branch) { e.routes = r.set(v, "routes") },
		"lifted":      func(v *branch) { b := r.truth(v, "lifted"); e.lifted = &b },
		"fired":       func(v *branch) { e.fired = r.set(v, "fired") },
		"not_fired":   func(v *branch) { e.quiet = r.set(v, "not_fired") },
		"only_fired":  func(v *branch) { e.only = r.set(v, "only_fired") },
		"detail":      func(v *branch) { s := r.text(v, "detail"); e.detail = &s },
	})
	if b.kind == mapBranch && e.outcome == "" {
		r.fail(b.errorf("expect needs an outcome"))
	}
	return e
}

// compare returns how d differs from what is expected.
func (e *expectation) compare(d *authz.Decision) []Difference {
	var out []Difference
	differ := func(what, got, want string) {
		out = append(out, Difference{what, orNothing(got), orNothing(want)})
	}
	list := func(what string, got, want []string) {
		slices.Sort(got)
		if want != nil && !slices.Equal(slices.Compact(got), want) {
			differ(what, strings.Join(got, ", "), strings.Join(want, ", "))
		}
	}
	if got := d.Effect.String(); got != e.outcome {
		differ("outcome", got+" ("+d.Code+")", e.outcome)
	}
	if e.code != nil && d.Code != *e.code {
		differ("code", d.Code, *e.code)
	}
	var reasons, obligations, fired, erred []string
	for _, r := range d.Reasons {
		reasons = append(reasons, r.Code)
	}
	for _, o := range d.Obligations {
		obligations = append(obligations, o.ID)
	}
	for _, p := range d.Fired {
		if p.Error == "" {
			fired = append(fired, p.Policy)
		} else {
			erred = append(erred, p.Policy)
		}
	}
	for _, want := range e.reasons {
		if !slices.Contains(reasons, want) {
			differ("reason", strings.Join(reasons, ", "), want)
		}
	}
	list("obligations", obligations, e.obligations)
	list("remedies", slices.Clone(d.Remedies), e.remedies)
	list("routes", slices.Clone(d.Routes), e.routes)
	if e.lifted != nil && d.Lifted != *e.lifted {
		differ("lifted", strconv.FormatBool(d.Lifted), strconv.FormatBool(*e.lifted))
	}
	list("fired", slices.Clone(fired), e.only)
	for _, want := range e.fired {
		if !slices.Contains(fired, want) {
			got := strings.Join(fired, ", ")
			if slices.Contains(erred, want) {
				got += " (" + want + " could not be evaluated)"
			}
			differ("fired", got, want)
		}
	}
	for _, not := range e.quiet {
		if slices.Contains(fired, not) {
			differ("fired", not, "not "+not)
		}
	}
	if e.detail != nil && !strings.Contains(d.Detail, *e.detail) {
		differ("detail", d.Detail, "..."+*e.detail+"...")
	}
	return out
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
