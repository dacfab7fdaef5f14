package approval

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Stats are the desk's numbers over a window.
type Stats struct {
	Since    time.Time     `json:"since"`
	Until    time.Time     `json:"until"`
	Asks     int64         `json:"asks"`   // made in the window; those that were joined to another do not count
	Joined   int64         `json:"joined"` // to the asks that were made in the window
	Pending  int64         `json:"pending"`
	Approved int64         `json:"approved"` // ended in the window; those of which a part was approved count
	Denied   int64         `json:"denied"`
	Expired  int64         `json:"expired"`
	Median   time.Duration `json:"median"` // from ask to end, of those that an answer ended
	P90      time.Duration `json:"p90"`
	Persons  []PersonStats `json:"persons"` // sorted by person
}

// PersonStats are one approver's.
type PersonStats struct {
	Person     string        `json:"person"`
	Answers    int64         `json:"answers"`
	Yes        int64         `json:"yes"`
	Fast       int64         `json:"fast"` // answered faster than the route's Reading
	MedianRead time.Duration `json:"median_read"`
}

// Stats returns the numbers of the last while (at most Retention), as far as they are in memory.
func (d *Desk) Stats(window time.Duration) Stats {
	now := d.cfg.Now().UTC()
	s := Stats{Since: now.Add(-min(max(window, 0), Retention)), Until: now, Persons: []PersonStats{}}
	d.mu.RLock()
	asks := make([]*Ask, 0, len(d.order))
	for _, id := range d.order {
		asks = append(asks, d.records[id].ask)
	}
	d.mu.RUnlock()

	var waited []time.Duration
	reads := map[string][]time.Duration{}
	persons := map[string]*PersonStats{}
	within := func(t time.Time) bool { return !t.Before(s.Since) && !t.After(now) }
	for _, a := range asks {
		a = a.at(now)
		if within(a.AskedAt) {
			s.Asks++
			s.Joined += a.Joined
		}
		if a.Status == Pending {
			s.Pending++
		} else if within(a.ClosedAt) {
			switch a.outcome() {
			case Approved:
				s.Approved++
			case Denied:
				s.Denied++
			case Expired:
				s.Expired++
			}
			if n := len(a.Answers); n > 0 && a.Answers[n-1].At.Equal(a.ClosedAt) {
				waited = append(waited, a.ClosedAt.Sub(a.AskedAt))
			}
		}
		for i := range a.Answers {
			w := &a.Answers[i]
			id, ok := strings.CutPrefix(w.By, personActor)
			if !ok || !within(w.At) {
				continue
			}
			p := persons[id]
			if p == nil {
				p = &PersonStats{Person: id}
				persons[id] = p
			}
			p.Answers++
			if w.Yes {
				p.Yes++
			}
			if w.Fast {
				p.Fast++
			}
			reads[id] = append(reads[id], time.Duration(w.Read)*time.Millisecond)
		}
	}
	s.Median, s.P90 = quantile(waited, 0.5), quantile(waited, 0.9)
	for id, p := range persons {
		p.MedianRead = quantile(reads[id], 0.5)
		s.Persons = append(s.Persons, *p)
	}
	slices.SortFunc(s.Persons, func(a, b PersonStats) int { return cmp.Compare(a.Person, b.Person) })
	return s
}

// outcome is the status that an ended ask counts as.
func (a *Ask) outcome() Status {
	if a.Status != Partial {
		return a.Status
	}
	for _, s := range []Status{Approved, Denied, Expired} {
		if slices.ContainsFunc(a.Items, func(it Item) bool { return it.Status == s }) {
			return s
		}
	}
	return Cancelled
}

// quantile returns the q-quantile of the durations, 0 of none. It sorts them.
func quantile(ds []time.Duration, q float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[min(int(q*float64(len(ds))), len(ds)-1)]
}

// Waiting returns how many asks wait for an answer, and since when the oldest does.
func (d *Desk) Waiting() (n int64, oldest time.Time) {
	now := d.cfg.Now()
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, q := range d.open { // in the order in which they were asked
		if a := d.records[q.id].ask; now.Before(a.ExpiresAt) {
			if n == 0 {
				oldest = a.AskedAt
			}
			n++
		}
	}
	return n, oldest
}
