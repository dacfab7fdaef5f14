package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"
)

// Reads reports whether some policy, of those that are not disabled, may read what a path of attributes leads to from the
// context: Reads("observed", "asks"). However its text spells that, and whatever else stands in it: what counts is what was
// compiled. One that takes a record whole reads all of it.
func (s *Set) Reads(path ...string) bool {
	for _, a := range s.schema.actions {
		at := a.shape
		for _, name := range path {
			at = at.part(types.String(name))
		}
		if at != nil {
			return true
		}
	}
	return false
}

// Requires reports whether the catalog requires a signal of some action.
func (s *Set) Requires(signal string) bool {
	if s.cat == nil {
		return false
	}
	for name := range s.schema.actions {
		if slices.Contains(s.cat.RequiredSignals(name), signal) {
			return true
		}
	}
	return false
}
