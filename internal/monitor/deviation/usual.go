package deviation

import (
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/sequence"
	"github.com/safeconduct/safeconduct/internal/monitor/series"
)

// Bounds from which on something is out of the ordinary. They are far out on purpose: none of these says by itself that
// an agent does wrong.
const (
	farOut      = 6.0  // standard deviations of the logarithm to the base 2
	steady      = 0.5  // the least deviation: less than half again as much is never out of the ordinary
	weight      = 0.02 // of the newest number in an average
	rateLeast   = 30   // acts a minute, and minutes that must be known
	sizeLeast   = 4096 // bytes of arguments
	sizesKnown  = 50   // acts whose size must be known
	hoursKnown  = 99   // hours that must be known: what never happened in them is rarer than 1 in 100
	daysKnown   = 15   // working days on which it must have acted at one hour: three weeks at least
	placesEvent = 8    // zones of an event that are looked at
)

// grave returns medium for an act that leaves the organisation, moves money or administers, and low for others.
func grave(ev *conduct.Event) conduct.Severity {
	if ev.Class >= conduct.Egress {
		return conduct.Medium
	}
	return conduct.Low
}

// emitOne emits a finding of which an event is all the evidence.
func emitOne(ev *conduct.Event, kind conduct.Kind, severity conduct.Severity, sentence string, emit func(conduct.Draft)) {
	emit(conduct.Draft{Kind: kind, Severity: severity, Class: ev.Class, Evidence: []int64{ev.Seq}, Sentence: sentence})
}

// placesOf yields hashes of the network zones of an event and of its country.
func placesOf(ev *conduct.Event) iter.Seq2[uint64, string] {
	return func(yield func(uint64, string) bool) {
		if len(ev.Zones) == 0 && !yield(conduct.Hash("zone", ""), "outside all network zones") {
			return
		}
		for _, z := range ev.Zones[:min(len(ev.Zones), placesEvent)] {
			if !yield(conduct.Hash("zone", z), z) {
				return
			}
		}
		if ev.Country != "" {
			yield(conduct.Hash("country", ev.Country), ev.Country)
		}
	}
}

// judgePlace finds a network zone or a country that a known agent has not acted from.
func (s *State) judgePlace(r *catalog.DeviationRules, ev *conduct.Event, day uint16, emit func(conduct.Draft)) {
	if !s.grown(r) {
		return
	}
	for id, name := range placesOf(ev) {
		if _, ok := s.seen.Age(int(place), kinds, id, day, int(days(r))); ok {
			continue
		}
		where := "from " + quote(name)
		if len(ev.Zones) == 0 && name != ev.Country {
			where = name
		}
		emitOne(ev, Zone, grave(ev), fmt.Sprintf("It acted %s, for the first time in %d sessions.", where, s.began), emit)
	}
}

// judgeHour finds an hour at which a known agent never acts, nor an hour before or after: of working days and of weekends.
// An hour counts once on each day, however much is done in it.
func (s *State) judgeHour(r *catalog.DeviationRules, ev *conduct.Event, learn bool, emit func(conduct.Draft)) {
	if s.minute != 0 && uint32(ev.At.Unix()/3600) == s.minute/60 {
		return
	}
	kind, when := 0, "on a working day"
	if ev.Weekday == 0 || ev.Weekday == 6 {
		kind, when = 1, "at a weekend"
	}
	h := min(max(ev.Hour, 0), 23)
	known := [2]int{total(&s.hours[0]), total(&s.hours[1])}
	c := &s.hours[kind]
	around := int(c[h]) + int(c[(h+1)%24]) + int(c[(h+23)%24])
	switch all := known[0] + known[1]; {
	case !s.grown(r) || slices.Max(s.hours[0][:]) < daysKnown && slices.Max(s.hours[1][:]) < daysKnown:
	case all >= hoursKnown && known[kind] == 0:
		emitOne(ev, Hour, grave(ev), fmt.Sprintf("It acted %s, which it never did in the %d hours in which it was seen.", when, all), emit)
	case known[kind] >= hoursKnown && around == 0:
		emitOne(ev, Hour, grave(ev), fmt.Sprintf("It acted at %d o'clock %s, which it never did in the %d such hours in which it was seen.", h, when, known[kind]), emit)
	}
	if learn && ev.Allowed() {
		if c[h] == math.MaxUint8 {
			for i := range c {
				c[i] /= 2
			}
		}
		c[h]++
	}
}

func total(hours *[24]uint8) (n int) {
	for _, c := range hours {
		n += int(c)
	}
	return n
}

// above returns by how many standard deviations log2(x) is above an average of such logarithms.
func above(e *series.EWMA, x float64) float64 {
	return (-sequence.Bits(x) - e.Mean()) / max(e.Deviation(), steady)
}

// judgeRate finds a minute with many more acts than the agent's minutes have in which it acts. Such a minute does not
// become usual.
func (s *State) judgeRate(ev *conduct.Event, learn bool, emit func(conduct.Draft)) {
	if now := uint32(ev.At.Unix() / 60); now != s.minute {
		if n := float64(s.acts); n > 0 && learn && (s.rate.N() < rateLeast || above(&s.rate, n) < farOut) {
			s.rate.Add(-sequence.Bits(n), weight)
		}
		s.minute, s.acts = now, 0
	}
	s.acts = max(s.acts, s.acts+1) // stays at the most
	n := float64(s.acts)
	if s.acts < rateLeast || s.rate.N() < rateLeast || above(&s.rate, n) < farOut || s.acts > rateLeast && above(&s.rate, n-1) >= farOut {
		return
	}
	emitOne(ev, Rate, grave(ev), fmt.Sprintf("It acted %d times within a minute, far more often than in the %d minutes in which it was seen to act.", s.acts, s.rate.N()), emit)
}

// judgeSize finds arguments that are far larger than any before.
func (s *State) judgeSize(ev *conduct.Event, emit func(conduct.Draft)) {
	n := float64(len(ev.Args) + len(ev.Says))
	if n >= sizeLeast && s.size.N() >= sizesKnown && s.sizes.Rank(n) >= 1 && above(&s.size, n+1) >= farOut {
		emitOne(ev, Size, grave(ev), fmt.Sprintf("It called %s with %.0f bytes of arguments, far more than ever before.", quote(ev.Action), n), emit)
	}
}

// noteSize takes the size of arguments into what is usual.
func (s *State) noteSize(ev *conduct.Event) {
	n := float64(len(ev.Args) + len(ev.Says))
	s.size.Add(-sequence.Bits(n+1), weight)
	s.sizes.Add(n)
}
