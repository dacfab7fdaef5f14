package trust

import (
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// A Level is how far an agent is trusted in a class.
type Level uint8

// The levels.
const (
	None Level = iota
	Low
	Medium
	High
)

var levelNames = [...]string{"none", "low", "medium", "high"}

// String returns the level's name, as authz.Trust has it.
func (l Level) String() string { return levelNames[min(l, High)] }

// ParseLevel returns the level of that name, and whether there is one.
func ParseLevel(s string) (Level, bool) {
	for i, n := range levelNames {
		if n == s {
			return Level(i), true
		}
	}
	return None, false
}

// A ladder is where an agent stands in a class: its level (2 bits), where it stood before it was lowered
// (2 bits; its level if it is not), and how often it has fallen since (4 bits).
type ladder uint8

func step(level, was Level, falls int) ladder {
	return ladder(level) | ladder(max(was, level))<<2 | ladder(min(falls, 15))<<4
}

func (l ladder) level() Level  { return Level(l & 3) }
func (l ladder) was() Level    { return Level(l >> 2 & 3) }
func (l ladder) falls() int    { return int(l >> 4) }
func (l ladder) lowered() bool { return l.level() < l.was() }

// entered returns the highest level that a score enters.
func entered(r *catalog.TrustRules, score float64) Level {
	l := High
	for l > None && score < r.Enter[l-1] {
		l--
	}
	return l
}

// held returns the highest level, from l down, that a score still holds.
func held(r *catalog.TrustRules, l Level, score float64) Level {
	for l > None && score < r.Leave[l-1] {
		l--
	}
	return l
}

// fall takes from the agent what the score of the minute no longer holds, and at least so many levels, and
// reports whether that was anything. Probation begins anew by it. What one cause takes, also in several
// steps, is one fall: again is whether the agent has fallen by this one before.
func (s *State) fall(r *catalog.TrustRules, c conduct.Class, m uint32, least Level, again bool) bool {
	l := s.ladder[c]
	now := held(r, l.level(), s.score(r, c, m))
	now = min(now, l.level()-min(least, l.level()))
	if now == l.level() {
		return false
	}
	falls := l.falls()
	if !again || falls == 0 {
		falls++
	}
	s.ladder[c] = step(now, l.was(), falls)
	s.class[c].since = m
	s.again(c)
	s.until = 0
	return true
}

// at returns the agent's level in a class by its own conduct. From high it falls by fading alone, when
// nothing has spoken for it for long; that is no lowering, and evidence brings it back without canaries. Below
// medium, where agents are of whom nothing is known, nobody falls by fading; nor does one that is lowered,
// whose level moves by what it does only.
func (s *State) at(r *catalog.TrustRules, c conduct.Class, m uint32) Level {
	l := s.ladder[c]
	if l.level() < High {
		return l.level()
	}
	if m > s.until || m < s.from {
		s.look(r, m)
	}
	if s.faded>>c&1 != 0 {
		return Medium
	}
	return High
}

const dayMinutes = 24 * 60

// look works out which classes have fallen by fading by a minute, and how long that will hold: a day at most.
func (s *State) look(r *catalog.TrustRules, m uint32) {
	s.faded, s.from, s.until = 0, m, m+dayMinutes
	for i, l := range s.ladder {
		c := conduct.Class(i)
		if l.level() < High {
			continue
		}
		if s.fades(r, c, m) {
			s.faded |= 1 << c
			continue
		}
		if !s.fades(r, c, s.until) {
			continue
		}
		lo, hi := m, s.until // it holds at lo, and no longer at hi
		for hi-lo > 1 {
			if mid := lo + (hi-lo)/2; s.fades(r, c, mid) {
				hi = mid
			} else {
				lo = mid
			}
		}
		s.until = lo
	}
}

// fades reports whether level high is lost by fading at a minute. What speaks against the agent is taken as it
// was when there was evidence last: so the answer, once true, stays true, whoever asks when.
func (s *State) fades(r *catalog.TrustRules, c conduct.Class, m uint32) bool {
	k := &s.class[c]
	a := r.PriorAlpha + float64(float64(k.good)*fade(k.at, m, r.GoodHalfLife))
	b := r.PriorBeta + s.against(r, c, k.at)
	return lower(a, b, r.Quantile) < r.Leave[High-1]
}

// Levels returns the levels of all classes at a time.
func (s *State) Levels(r *catalog.TrustRules, who Who, at time.Time) (all [conduct.Classes]Level) {
	for c := range all {
		all[c] = s.Stands(r, who, conduct.Class(c), at)
	}
	return all
}

// Stands returns the level in a class at a time, as Level does, without working out a score: it costs a hundredth.
func (s *State) Stands(r *catalog.TrustRules, who Who, c conduct.Class, at time.Time) Level {
	s.by(r)
	l, _, _ := s.final(r, &who, min(c, conduct.Admin), at)
	return l
}

// Level returns trust in a class at a time; with conduct.Every the lowest level over the classes, and the
// lowest score.
func (s *State) Level(r *catalog.TrustRules, who Who, c conduct.Class, at time.Time) authz.Trust {
	s.by(r)
	m := minute(at)
	if c < conduct.Classes {
		l, _, _ := s.final(r, &who, c, at)
		return authz.Trust{Level: l.String(), Score: s.score(r, c, m)}
	}
	lowest, score := High, 1.0
	for c := range conduct.Class(conduct.Classes) {
		l, _, _ := s.final(r, &who, c, at)
		lowest, score = min(lowest, l), min(score, s.score(r, c, m))
	}
	return authz.Trust{Level: lowest.String(), Score: score}
}

// final returns the level that decisions go by, the override that it is by, if it is, and the bound, if one
// holds: quarantine before all; a level set by hand before conduct and floors; a ceiling over both.
func (s *State) final(r *catalog.TrustRules, who *Who, c conduct.Class, at time.Time) (Level, *override, string) {
	if s.taken {
		return None, nil, "quarantine"
	}
	l := s.at(r, c, minute(at))
	o := s.hand(c, at)
	if o != nil {
		l = o.level
	}
	bound := ""
	floor, ceiling := bounds(r, who, c)
	if o == nil && l < floor {
		l, bound = floor, "floor "+floor.String()
	}
	if l > ceiling {
		l, bound = ceiling, "ceiling "+ceiling.String()
	}
	return l, o, bound
}

// bounds returns the highest floor and the lowest ceiling of those that match.
func bounds(r *catalog.TrustRules, who *Who, c conduct.Class) (floor, ceiling Level) {
	ceiling = High
	for i := range r.Bounds {
		b := &r.Bounds[i]
		if b.Agent != "" && b.Agent != string(who.Agent) || b.Purpose != "" && b.Purpose != who.Purpose || b.Class != "" && b.Class != c.String() {
			continue
		}
		if b.Floor != "" {
			l, _ := ParseLevel(b.Floor)
			floor = max(floor, l)
		}
		if b.Ceiling != "" {
			l, _ := ParseLevel(b.Ceiling) // of one that is not known: none
			ceiling = min(ceiling, l)
		}
	}
	return floor, ceiling
}
