package policy

import (
	"slices"

	"github.com/safeconduct/safeconduct/authz"
)

// approval reads the routes by which persons have approved the case's act; all of them must be declared.
func (r *reader) approval(b *branch, set *Set) *authz.Approval {
	if b.kind == nullBranch {
		return nil
	}
	a := &authz.Approval{ID: "apr_case", Ask: "arq_case", Routes: r.set(b, "approval")}
	r.declared(b, "approval", "approval route", a.Routes, routesOf(set.cat))
	return a
}

// assured reads the levels of assurance that the bearer's authentication reaches; all must be declared.
func (r *reader) assured(b *branch, set *Set) []string {
	levels := r.set(b, "assured")
	r.declared(b, "assured", "level of assurance", levels, levelsOf(set.cat))
	return levels
}

// declared faults ids that the catalog does not declare.
func (r *reader) declared(b *branch, what, kind string, ids, known []string) {
	for _, id := range ids {
		if !slices.Contains(known, id) {
			hint := suggest(id, known)
			if hint == "" {
				hint = "the catalog does not declare it"
			}
			r.fail(b.errorf("%s: unknown %s %q: %s", what, kind, id, hint))
		}
	}
}

// asks reads how much the acting agent has asked persons of late.
func (r *reader) asks(b *branch) (a authz.Asks) {
	count := func(into *int64, what string) func(*branch) {
		return func(v *branch) { *into = int64(r.count(v, what)) }
	}
	r.members(b, "asks", map[string]func(*branch){
		"session": count(&a.Session, "asks.session"),
		"hour":    count(&a.Hour, "asks.hour"),
		"pending": count(&a.Pending, "asks.pending"),
	})
	return a
}
