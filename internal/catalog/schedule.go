package catalog

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// A calendar knows which schedules are open when.
type calendar struct {
	all    []*schedule // sorted by name
	opened atomic.Pointer[opened]
}

// opened is the answer for one minute. Schedules open and close on whole minutes, so it is the
// answer for all of the minute.
type opened struct {
	minute int64 // since 1970
	names  []string
}

// A schedule is open while one of its windows is. Windows are read on the wall clock of the
// schedule's zone: when the clocks go forward an hour of the night is missing from them, and when
// they go back it comes twice.
type schedule struct {
	name     string
	zone     *time.Location
	windows  []window
	holidays map[int]bool // days, see dayOf, on which no window begins

	closing atomic.Pointer[closing] // what was found out last
}

// A window opens at from on each of its days and closes at to, on the day after if to is not later.
type window struct {
	days        [7]bool // by time.Weekday
	from, to    int     // minutes since midnight; to is not part of the window
	first, last int     // days, see dayOf, on which it may begin
}

const (
	minutesOfDay = 24 * 60
	earliestDay  = -1 << 31
	latestDay    = 1<<31 - 1
)

// Open returns the names of the schedules that are open at a moment, sorted. The slice is shared: do
// not modify it.
func (c *Catalog) Open(at time.Time) []string {
	minute := at.Unix() / 60
	if at.Unix() < 0 {
		minute-- // far in the past; any consistent answer will do
	}
	if o := c.schedules.opened.Load(); o != nil && o.minute == minute {
		return o.names
	}
	o := &opened{minute: minute, names: []string{}}
	for _, s := range c.schedules.all {
		if s.open(at) {
			o.names = append(o.names, s.name)
		}
	}
	c.schedules.opened.Store(o)
	return o.names
}

// Schedules returns the names of the declared schedules, sorted.
func (c *Catalog) Schedules() []string {
	names := make([]string, len(c.schedules.all))
	for i, s := range c.schedules.all {
		names[i] = s.name
	}
	return names
}

// NextOpen returns the first moment, not before the given one, at which the schedule is open. It
// reports false if there is no such schedule, or if it does not open within two years and as many
// days as it has holidays.
func (c *Catalog) NextOpen(name string, after time.Time) (time.Time, bool) {
	s, ok := c.schedules.find(name)
	if !ok {
		return time.Time{}, false
	}
	return s.next(after)
}

func (c *calendar) find(name string) (*schedule, bool) {
	i, ok := slices.BinarySearchFunc(c.all, name, func(s *schedule, name string) int { return strings.Compare(s.name, name) })
	if !ok {
		return nil, false
	}
	return c.all[i], true
}

// open reports whether the schedule is open at a moment.
func (s *schedule) open(at time.Time) bool {
	local := at.In(s.zone)
	day, minute := dayOf(local.Date()), local.Hour()*60+local.Minute()
	for i := range s.windows {
		w := &s.windows[i]
		if w.from < w.to {
			if w.from <= minute && minute < w.to && s.begins(w, day) {
				return true
			}
			continue
		}
		if minute >= w.from && s.begins(w, day) || minute < w.to && s.begins(w, day-1) {
			return true
		}
	}
	return false
}

// begins reports whether a window opens on a day.
func (s *schedule) begins(w *window, day int) bool {
	return w.days[weekday(day)] && w.first <= day && day <= w.last && !s.holidays[day]
}

// next returns the first moment, not before the given one, at which the schedule is open.
func (s *schedule) next(after time.Time) (best time.Time, found bool) {
	if s.open(after) {
		return after, true
	}
	for i := range s.windows {
		w := &s.windows[i]
		// Yesterday's window may reach into today.
		day := max(dayOf(after.In(s.zone).Date())-1, w.first)
		for end := day + 2*366 + len(s.holidays); day <= min(end, w.last); day++ {
			// The clocks may change a day later than a window begins, so that what is found first is
			// not the first.
			if found && day > dayOf(best.In(s.zone).Date()) {
				break
			}
			if !s.begins(w, day) {
				continue
			}
			if t, ok := s.opening(w, day, after); ok && (!found || t.Before(best)) {
				best, found = t, true
			}
		}
	}
	return best, found
}

// opening returns the first moment after the given one at which the window that begins on a day
// opens. Besides the hour on the clock, which may come twice, it can be the moment at which the
// clock is changed.
func (s *schedule) opening(w *window, day int, after time.Time) (best time.Time, found bool) {
	consider := func(t time.Time) {
		if t.Before(after) || found && !t.Before(best) || !s.open(t) {
			return
		}
		best, found = t, true
	}
	year, month, date := dateOf(day)
	begin := time.Date(year, month, date, 0, w.from, 0, 0, s.zone)
	consider(begin)
	for _, at := range []time.Time{begin, begin.AddDate(0, 0, 1)} {
		start, end := at.ZoneBounds()
		for _, change := range []time.Time{start, end} {
			if change.IsZero() || change.Sub(begin).Abs() > 49*time.Hour {
				continue
			}
			consider(change)
			_, offset := change.Zone()
			_, earlier := change.Add(-time.Second).In(s.zone).Zone()
			shift := time.Duration(offset-earlier) * time.Second
			consider(begin.Add(shift))
			consider(begin.Add(-shift))
		}
	}
	return best, found
}

// dayOf numbers the days of the calendar, 1970-01-01 being 0.
func dayOf(year int, month time.Month, day int) int {
	return int(floorDiv(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix(), 24*60*60))
}

// dateOf returns the date of a day so numbered.
func dateOf(day int) (int, time.Month, int) {
	return time.Unix(int64(day)*24*60*60, 0).UTC().Date()
}

func weekday(day int) time.Weekday {
	return time.Weekday(((day+4)%7 + 7) % 7) // 1970-01-01 was a Thursday
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
