package trust

import (
	"fmt"
	"time"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// A Standing explains trust in one class to a person.
type Standing struct {
	Class    string    `json:"class"`
	Level    string    `json:"level"`
	Score    float64   `json:"score"` // lower credible bound
	Mean     float64   `json:"mean"`
	Alpha    float64   `json:"alpha"`
	Beta     float64   `json:"beta"`
	Since    time.Time `json:"since,omitzero"` // when it came to this level by its conduct
	Lowered  bool      `json:"lowered,omitempty"`
	Causes   []Cause   `json:"causes,omitempty"`  // what moved it most lately, newest first; at most 4
	Restore  []string  `json:"restore,omitempty"` // what would bring it a level up: sentences
	Earliest time.Time `json:"earliest,omitzero"` // and when at the earliest
	Override *Override `json:"override,omitempty"`
	Bound    string    `json:"bound,omitempty"` // the floor or ceiling that holds
}

// A Cause is one thing that moved trust.
type Cause struct {
	Seq   int64     `json:"seq"`
	At    time.Time `json:"at"`
	What  string    `json:"what"`  // finding kind, outcome.wrong and others, restored, renewed, set by hand to a level
	Moved float64   `json:"moved"` // evidence: for the agent positive, against it negative
}

// Standing explains trust in a class.
func (s *State) Standing(r *catalog.TrustRules, who Who, c conduct.Class, at time.Time) Standing {
	s.by(r)
	c = min(c, conduct.Admin)
	m := minute(at)
	level, o, bound := s.final(r, &who, c, at)
	a, b := s.posterior(r, c, m)
	l := s.ladder[c]
	st := Standing{
		Class: c.String(), Level: level.String(), Score: s.score(r, c, m), Mean: a / (a + b), Alpha: a, Beta: b,
		Since: moment(s.since(r, c, m)), Lowered: l.lowered() || s.taken, Bound: bound, Causes: s.recent(c),
	}
	say := func(format string, args ...any) { st.Restore = append(st.Restore, fmt.Sprintf(format, args...)) }
	if s.taken {
		say("The agent is quarantined: a person must restore it, or dismiss the critical finding that brought it there.")
	}
	if o != nil {
		st.Override = o.open(who)
		switch {
		case o.expires != 0:
			say("The level is set by hand to %s, until %s; then conduct decides again, which gives %s today.", o.level, stamp(st.Override.Expires), s.at(r, c, m))
		default:
			say("The level is set by hand to %s, until it is taken back; conduct gives %s today.", o.level, s.at(r, c, m))
		}
	}
	if _, ceiling := bounds(r, &who, c); s.at(r, c, m) >= ceiling && ceiling < High {
		say("The rules allow no more than %s here, whatever the agent earns.", ceiling)
	}
	if now := s.at(r, c, m); now < High {
		var earliest uint32
		sentence := s.way(r, c, now, m, &earliest)
		say("%s", sentence)
		if !s.taken && earliest != 0 {
			st.Earliest = moment(earliest)
		}
		if now == None && !s.taken {
			say("At none an agent may only do what the catalog calls essential, and clean acts of that kind count. Where there is nothing of the kind, a person must restore it.")
		}
	}
	return st
}

// way says what brings an agent one level up in a class by its conduct, and when at the earliest.
func (s *State) way(r *catalog.TrustRules, c conduct.Class, now Level, m uint32, earliest *uint32) string {
	k, l := &s.class[c], s.ladder[c]
	text := "To " + (now + 1).String() + ":"
	*earliest = max(s.since(r, c, m)+dwell(r, now), m)
	if l.lowered() {
		acts, sessions := max(r.Canary-int(k.canary), 0), max(canarySessions(r)-k.sessions(), 0)
		switch {
		case acts == 0 && sessions == 0:
			text += " the clean acts of probation are done"
		case sessions == 0:
			text += fmt.Sprintf(" %s", count(acts, "more clean act"))
		default:
			text += fmt.Sprintf(" %s in %s", count(max(acts, sessions), "more clean act"), count(sessions, "more session"))
		}
		if acts+sessions > 0 && now < Medium && c > conduct.Read {
			text += fmt.Sprintf(", here or in a milder class than %s", c)
		}
		text += fmt.Sprintf(", not before %s", stamp(moment(*earliest)))
	} else {
		text += fmt.Sprintf(" clean sessions, not before %s", stamp(moment(*earliest)))
	}
	score := s.score(r, c, m)
	if score >= r.Enter[now] {
		return text + "."
	}
	days, ok := s.soonest(r, c, now, m)
	text += fmt.Sprintf("; and a score of %.2f, which is %.4f now", r.Enter[now], score)
	if !ok {
		*earliest = 0
		return text + ": out of reach within a year, unless findings are dismissed."
	}
	*earliest = max(*earliest, (m/dayMinutes+days)*dayMinutes)
	if days == 0 {
		return text + ": within reach today."
	}
	return text + fmt.Sprintf(": at %g clean sessions a day, the most that counts, in %s.", r.Daily, count(int(days), "day"))
}

// soonest returns in how many days at the earliest the score enters the level above now, with all that a day can
// add gained on every day; false if not within a year.
func (s *State) soonest(r *catalog.TrustRules, c conduct.Class, now Level, m uint32) (uint32, bool) {
	k := &s.class[c]
	good := float64(float64(k.good) * fade(k.at, m, r.GoodHalfLife))
	room := r.Daily
	if uint16(m/dayMinutes) == s.day {
		room -= float64(float64(k.today) * grain)
	}
	for d := range uint32(366) {
		then := m + d*dayMinutes
		if d > 0 {
			good = float64(good * fade(m, m+dayMinutes, r.GoodHalfLife))
			room = r.Daily
		}
		good = min(good+max(room, 0), most(r))
		if lower(r.PriorAlpha+good, r.PriorBeta+s.against(r, c, then), r.Quantile) >= r.Enter[now] {
			return d, true
		}
	}
	return 0, false
}

// since returns the minute in which the agent came to its level by conduct, fading included.
func (s *State) since(r *catalog.TrustRules, c conduct.Class, m uint32) uint32 {
	k := &s.class[c]
	if s.ladder[c].level() < High || s.at(r, c, m) == High {
		return k.since
	}
	lo, hi := k.at, m // at hi it has faded
	for lo < hi {
		if mid := lo + (hi-lo)/2; s.fades(r, c, mid) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return hi
}

// recent returns the newest causes in a class.
func (s *State) recent(c conduct.Class) (all []Cause) {
	for i := int(s.listed) - 1; i >= 0 && len(all) < 4; i-- {
		if q := &s.causes[i]; q.in(c) {
			all = append(all, Cause{Seq: int64(q.key >> 8), At: moment(q.minute), What: q.what.Value(), Moved: 0 - float64(float64(q.weight)*grain)})
		}
	}
	return all
}

// Next returns when the agent's level in some class changes by itself at the earliest after a time (an
// override ends, evidence fades below a threshold), rounded up to the minute; zero if it will not within a day.
func (s *State) Next(r *catalog.TrustRules, who Who, at time.Time) time.Time {
	s.by(r)
	levels := s.Levels(r, who, at)
	for m, end := minute(at), minute(at)+dayMinutes; m < end; {
		next := end + 1
		s.look(r, m)
		if s.until < end {
			next = s.until + 1
		}
		if s.further != nil {
			for i := range s.further.overrides {
				const us = 60 * 1_000_000
				if e := s.further.overrides[i].expires; e != 0 {
					if k := uint32((e + us - 1) / us); k > m {
						next = min(next, k)
					}
				}
			}
		}
		if next > end {
			break
		}
		if s.Levels(r, who, moment(next)) != levels {
			return moment(next)
		}
		m = next
	}
	return time.Time{}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04Z") }
