package trust

import (
	"math"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// reporters is how many reporters, in a class each, are told apart on one day.
const reporters = 6

// parts is what the weight that a reporter can move is counted in.
const parts = 240

// A reporter is what somebody has moved on the day in one class: the parts used of rules.Reporter.
type reporter struct {
	by        uint32 // a hash of who and of the class; 0 if nobody
	fore, con uint8
}

// wordOf returns how much the word of a reporter counts.
func wordOf(r *catalog.TrustRules, who conduct.Reporter) float64 {
	switch who {
	case conduct.ReporterPerson:
		return r.Person
	case conduct.ReporterPEP:
		return r.PEP
	}
	return min(r.Operator, r.PEP, r.Person)
}

// told returns how much a reporter can still move on the day.
func (s *State) told(r *catalog.TrustRules, o *conduct.Outcome, c conduct.Class, fore bool) float64 {
	u, ok := s.reporter(o, c)
	if !ok && !fore && o.Reporter == conduct.ReporterPerson {
		return r.Reporter
	}
	used := u.con
	if fore {
		used = u.fore
	}
	return float64(float64(parts-min(used, parts))/parts) * r.Reporter
}

// tell takes down what a reporter has moved.
func (s *State) tell(r *catalog.TrustRules, o *conduct.Outcome, c conduct.Class, fore bool, w float64) {
	u, ok := s.reporter(o, c)
	if !ok && !fore && o.Reporter == conduct.ReporterPerson {
		return
	}
	used := &u.con
	if fore {
		used = &u.fore
	}
	*used = uint8(min(float64(*used)+math.Ceil(float64(w/r.Reporter*parts)-1e-9), parts))
}

// reporter returns the record of who reports, and whether it is that one's own. When more have reported on one day
// than are told apart, the others share the last one's; only a person is then heard against an agent without a
// bound of the day, so that nobody can use up what a person has to say.
func (s *State) reporter(o *conduct.Outcome, c conduct.Class) (*reporter, bool) {
	f := s.rest()
	if f.day != s.day {
		f.day, f.reporters = s.day, [reporters]reporter{}
	}
	by := uint32(conduct.Hash(o.By, c.String())>>19) | 1
	for i := range f.reporters {
		u := &f.reporters[i]
		if u.by == 0 {
			u.by = by
		}
		if u.by == by {
			return u, true
		}
	}
	return &f.reporters[reporters-1], false
}

// rest returns what most agents do not need.
func (s *State) rest() *further {
	if s.further == nil {
		s.further = new(further)
	}
	return s.further
}
