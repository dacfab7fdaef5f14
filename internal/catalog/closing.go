package catalog

import "time"

// A closing is when a schedule closes that is open from a moment until then.
type closing struct {
	from, until time.Time
	ever        bool // whether it closes at all; if not, until is when to look again
}

// Closes returns the first moment after the given one at which the schedule, which is open then, is
// not open any more. It reports false if there is no such schedule, if it is not open, or if it stays
// open for a year.
func (c *Catalog) Closes(name string, at time.Time) (time.Time, bool) {
	s, ok := c.schedules.find(name)
	if !ok {
		return time.Time{}, false
	}
	k := s.closing.Load()
	if k == nil || at.Before(k.from) || !at.Before(k.until) {
		if !s.open(at) {
			return time.Time{}, false
		}
		k = s.closes(at)
		s.closing.Store(k)
	}
	return k.until, k.ever
}

// closes returns when the schedule, which is open at a moment, closes.
func (s *schedule) closes(at time.Time) *closing {
	end := at.AddDate(1, 0, 0)
	for t := at; t.Before(end); {
		next, ok := s.turn(t)
		if !ok {
			break
		}
		if t = next; !s.open(t) {
			return &closing{at, t, true}
		}
	}
	return &closing{at, at.AddDate(0, 0, 1), false}
}

// turn returns the first moment after the given one at which a window may close: the end of one that
// began within a day, or a change of the clocks.
func (s *schedule) turn(after time.Time) (best time.Time, found bool) {
	consider := func(t time.Time) {
		if t.After(after) && (!found || t.Before(best)) {
			best, found = t, true
		}
	}
	local := after.In(s.zone)
	shift := time.Duration(0) // by how much the clocks change nearby
	start, end := local.ZoneBounds()
	for _, change := range []time.Time{start, end} {
		if change.IsZero() || change.Sub(after).Abs() > 49*time.Hour {
			continue
		}
		consider(change)
		_, offset := change.Zone()
		_, earlier := change.Add(-time.Second).In(s.zone).Zone()
		shift = time.Duration(offset-earlier) * time.Second
	}
	year, month, date := local.Date()
	for i := range s.windows {
		for day := range 3 { // today, and the two days after it
			t := time.Date(year, month, date+day, 0, s.windows[i].to, 0, 0, s.zone)
			consider(t)
			if shift != 0 { // an hour on the clock that comes twice
				consider(t.Add(shift))
				consider(t.Add(-shift))
			}
		}
	}
	return best, found
}
