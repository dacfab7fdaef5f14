package catalog

import (
	"context"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A Day is a day of a schedule's calendar, from midnight to midnight in its zone.
type Day struct {
	Date    string        // 2006-01-02
	Weekday string        // mon, tue, ...
	Holiday bool          // on which no window of the schedule begins
	Begins  time.Time     // the day's first moment
	Length  time.Duration // 24 hours, but where the clocks change
	Open    []Opening     // in order
}

// An Opening is a time within a day for which a schedule is open. From and To are in the zone of the
// schedule: what the clock on the wall says.
type Opening struct{ From, To time.Time }

// maxDays bounds a calendar.
const maxDays = 400

// Days returns the calendar of a schedule: the days from one date to another, both included. It
// returns authz.ErrNotFound if there is no such schedule, and authz.ErrInvalid if those are no dates or
// more than 400 days.
func (c *Catalog) Days(ctx context.Context, name, from, to string) ([]Day, error) {
	s, ok := c.schedules.find(name)
	if !ok {
		return nil, authz.Errorf(authz.ErrNotFound, "there is no schedule %q", name)
	}
	a, err := time.Parse(time.DateOnly, from)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "%.32q is no date: write it as 2026-12-24", from)
	}
	b, err := time.Parse(time.DateOnly, to)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "%.32q is no date: write it as 2026-12-24", to)
	}
	first, last := dayOf(a.Date()), dayOf(b.Date())
	if last < first || last-first >= maxDays {
		return nil, authz.Errorf(authz.ErrInvalid, "a calendar has 1 to %d days", maxDays)
	}
	days := make([]Day, 0, last-first+1)
	for day := first; day <= last; day++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		begins, ends := s.midnight(day), s.midnight(day+1)
		days = append(days, Day{
			Date: dateText(day), Weekday: dayNames[weekday(day)], Holiday: s.holidays[day], Begins: begins, Length: ends.Sub(begins), Open: s.openings(begins, ends),
		})
	}
	return days, nil
}

// midnight returns the first moment of a day: where the clocks go forward at midnight, the one after.
func (s *schedule) midnight(day int) time.Time {
	year, month, date := dateOf(day)
	t := time.Date(year, month, date, 0, 0, 0, 0, s.zone)
	if d := dayOf(t.Date()); d < day { // midnight does not come, and Date took the hour before
		_, change := t.ZoneBounds()
		return change.In(s.zone)
	}
	if start, _ := t.ZoneBounds(); !start.IsZero() && dayOf(start.In(s.zone).Date()) == day && start.Before(t) {
		return start.In(s.zone)
	}
	return t
}

// openings returns when the schedule is open between two moments.
func (s *schedule) openings(from, to time.Time) []Opening {
	out := []Opening{}
	for t := from; t.Before(to); {
		opens, ok := s.next(t)
		if !ok || !opens.Before(to) {
			break
		}
		k := s.closes(opens)
		closes := k.until
		if !k.ever || closes.After(to) {
			closes = to
		}
		out = append(out, Opening{opens.In(s.zone), closes.In(s.zone)})
		t = closes
	}
	return out
}
