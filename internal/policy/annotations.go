package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/internal/catalog"
)

// annotationKeys is the whole vocabulary. An unknown key is an error: what a policy says of itself
// is never silently ignored.
var annotationKeys = []string{"id", "title", "mode", "not_before", "expires", "remedy", "approvers", "assurance", "obligations", "reason"}

// annotate reads r's annotations into r.
func annotate(r *rule, file string, cat *catalog.Catalog, ps *Problems) {
	problem := func(key, hint, format string, args ...any) {
		t := r.annotation(key)
		ps.add(Problem{File: file, Line: t.line, Column: t.column, Policy: r.id, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	for _, a := range r.ast.Annotations {
		key, value := string(a.Key), string(a.Value)
		if value == "" {
			problem(key, "", "@%s has no value", key)
			continue
		}
		switch key {
		case "id":
			if len(value) > maxName || strings.ContainsFunc(value, badInName) {
				problem(key, "", "@id must be at most %d characters, none of them a space or a control character", maxName)
			}
		case "title":
			r.title = value
		case "mode":
			switch value {
			case "enforce":
				r.mode = enforce
			case "shadow":
				r.mode = shadow
			case "disabled":
				r.mode = disabled
			default:
				problem(key, "one of enforce, shadow, disabled", "unknown mode %q", value)
			}
		case "not_before", "expires":
			t, err := time.Parse(time.RFC3339, value)
			if err != nil || t.IsZero() {
				problem(key, `write a date with time and zone, as in "2026-01-31T18:00:00+01:00"`, "@%s is not an RFC 3339 time: %q", key, value)
				continue
			}
			r.dated = true
			if key == "expires" {
				r.expires = t
			} else {
				r.notBefore = t
			}
		case "remedy":
			switch {
			case !r.forbid:
				problem(key, "a permit needs no remedy; put the condition into a forbid of its own", "@remedy on a permit")
			case value == approval.String():
				r.remedy = approval
			case value == stepUp.String():
				r.remedy = stepUp
			default:
				problem(key, "one of approval, step_up", "unknown remedy %q", value)
			}
		case "approvers":
			r.approvers(value, cat, problem)
		case "assurance":
			r.assurance(value, cat, problem)
		case "obligations":
			for _, id := range strings.Fields(value) {
				if cat == nil {
					problem(key, "declare it in the catalog", "unknown obligation %q", id)
					continue
				}
				o, ok := cat.Obligation(id)
				if !ok {
					problem(key, "declare it in the catalog", "unknown obligation %q", id)
					continue
				}
				r.obligations = append(r.obligations, o)
			}
			if len(strings.Fields(value)) == 0 {
				problem(key, "", "@%s has no value", key)
			}
		case "reason":
			r.reason = value
			if cat != nil {
				if _, ok := cat.Reason(value); ok {
					continue
				}
			}
			problem(key, "declare it in the catalog", "unknown reason %q", value)
		default:
			hint := suggest(key, annotationKeys)
			if hint == "" {
				hint = "one of @" + strings.Join(annotationKeys, ", @")
			}
			problem(key, hint, "unknown annotation @%s", key)
		}
	}
	r.allot(cat, problem)
	if !r.notBefore.IsZero() && !r.expires.IsZero() && !r.notBefore.Before(r.expires) {
		problem("expires", "", "@expires is not after @not_before")
	}
}

// maxName bounds ids of policies.
const maxName = 200

func badInName(r rune) bool { return r <= ' ' || r == 0x7f }
