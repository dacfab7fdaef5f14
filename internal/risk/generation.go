package risk

import (
	"sync/atomic"
	"time"
)

// Generation returns a number that grows with every change of an alert or a threat indicator, for
// those who keep what they found out. What expires is no change; see NextChange.
func (b *Book) Generation() int64 { return b.generation.Load() }

// NextChange returns the first moment after the given one at which an alert or a threat indicator
// expires, unless it is changed before. (Both begin when they are put, never later.) It looks ten
// minutes ahead, which is longer than any passport lives, and reports false if nothing expires until
// then.
func (b *Book) NextChange(after time.Time) (time.Time, bool) {
	if b.open.Load() == 0 {
		return time.Time{}, false
	}
	generation := b.Generation()
	if n := b.changes.known.Load(); n != nil && n.generation == generation && !after.Before(n.from) && after.Before(n.until) {
		return n.moment()
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	n := b.changes.next(after)
	n.generation = b.Generation() // which does not change while b.mu is held
	b.changes.known.Store(n)
	return n.moment()
}

// ahead is how many minutes NextChange looks ahead.
const ahead = 10

// A timetable knows when things expire: how many at each moment, by minutes. The zero timetable is
// empty.
type timetable struct {
	minutes map[int64]map[int64]int // minute since 1970 -> nanosecond since 1970 -> how many
	known   atomic.Pointer[nextChange]
}

// A nextChange is what is known of a while in which nothing expires.
type nextChange struct {
	generation  int64
	from, until time.Time
	any         bool // whether something expires then
}

func (n *nextChange) moment() (time.Time, bool) {
	if !n.any {
		return time.Time{}, false
	}
	return n.until, true
}

func minuteOf(t time.Time) int64 { return t.Unix() / 60 }

func (t *timetable) add(at time.Time) {
	if t.minutes == nil {
		t.minutes = make(map[int64]map[int64]int)
	}
	m := t.minutes[minuteOf(at)]
	if m == nil {
		m = make(map[int64]int)
		t.minutes[minuteOf(at)] = m
	}
	m[at.UnixNano()]++
}

func (t *timetable) remove(at time.Time) {
	m := t.minutes[minuteOf(at)]
	if m == nil {
		return
	}
	if m[at.UnixNano()]--; m[at.UnixNano()] <= 0 {
		delete(m, at.UnixNano())
	}
	if len(m) == 0 {
		delete(t.minutes, minuteOf(at))
	}
}

// next returns what happens after a moment.
func (t *timetable) next(after time.Time) *nextChange {
	for minute := minuteOf(after); minute <= minuteOf(after)+ahead; minute++ {
		best, found := int64(0), false
		for at := range t.minutes[minute] {
			if at > after.UnixNano() && (!found || at < best) {
				best, found = at, true
			}
		}
		if found {
			return &nextChange{from: after, until: time.Unix(0, best).UTC(), any: true}
		}
	}
	// Nothing is known of what comes later, so this holds for a moment only.
	return &nextChange{from: after, until: after.Add(time.Second)}
}
