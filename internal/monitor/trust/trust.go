// Package trust turns evidence into trust: for each class of capability a Beta posterior that forgets, a
// level that follows its lower credible bound, lost at once and regained by steps. It is arithmetic: no
// clock, no I/O, and the same evidence gives the same trust, bit for bit.
//
// Reading never changes what will be read. Between two pieces of evidence scores move by fading alone; a
// level can fall by that, from high to medium, and never rises by it: who was lowered must show canary acts.
//
// What evidence is true is not decided here. A monitor that finds what is not there costs an agent a level
// until a person dismisses the finding.
package trust

import (
	"time"
	"unsafe"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// Who is the agent that bounds (floors and ceilings) are looked up for.
type Who struct {
	Agent   authz.AgentID
	Purpose string
}

// A State is the trust in one agent. It is bounded: 224 bytes, and 272 more for one against which
// something was said; levels set by hand come on top. It is not safe for concurrent use.
type State struct {
	class   [conduct.Classes]standing
	ladder  [conduct.Classes]ladder
	listed  uint8             // how many of causes there are
	faded   uint8             // classes, as bits, whose level has fallen by fading
	taken   bool              // quarantined
	days    [buckets]uint8    // on which day, modulo 256, a bucket was used last
	tags    [buckets]uint16   // by which session
	day     uint16            // since 1970: of what was gained "today"
	owner   uint16            // a hash
	from    uint32            // minute from which on faded is known,
	until   uint32            // and through which; 0 if it is not
	rules   uint32            // print of the rules that scores were worked out by
	causes  *[maxCauses]cause // what can still be judged
	further *further
}

// A standing is what is known in one class.
type standing struct {
	good, bad float32 // evidence as of minute at; bad without what is listed as causes
	at        uint32  // minute of the newest evidence
	since     uint32  // minute in which it came to its level
	scoredAt  uint32  // minute in which it had the score scored, in parts of 10,000; 0 if that is not known
	scored    uint16
	today     uint16 // gained on State.day, in grains
	canary    uint16 // clean acts since it was lowered, or came to its level
	seen      uint16 // of which sessions: one bit for each of sixteen by hash
	acts      uint32 // gained by the session of each bucket: four bits each, in tenths of a session
}

// further is what most agents do not need.
type further struct {
	reporters [reporters]reporter
	day       uint16 // that reporters are of
	overrides []override
}

// Start returns the state of an agent that begins at a time. Lowest holds the lowest level, by class, of
// the agents of the same owner that are lowered (see Lowest): whoever registers again starts no higher.
// High where there is none. Owned says whose the agent is.
//
// A new agent starts at level medium at most, whatever its purpose has earned.
func Start(r *catalog.TrustRules, prior Prior, lowest [conduct.Classes]Level, at time.Time) *State {
	s := &State{}
	s.by(r)
	m := minute(at)
	prior.cap(r.PriorMost)
	for c := range s.class {
		k := &s.class[c]
		k.good, k.bad, k.at, k.since = down(min(prior[c].Good, most(r))), up(prior[c].Bad), m, m
		l := min(entered(r, s.score(r, conduct.Class(c), m)), Medium)
		s.ladder[c] = step(l, l, 0)
		if lowest[c] < l {
			s.ladder[c] = step(lowest[c], l, 1) // a fall that no dismissal of a finding of its own undoes
		}
	}
	return s
}

// Owned says whose the agent is: what the agents of one owner earn counts for those of the purpose in one
// bounded share.
func (s *State) Owned(owner string) { s.owner = uint16(conduct.Hash(owner) >> 17) }

// Renew begins anew for a new version or model of the agent: what spoke for the old one is gone, but for
// what speaks for any new agent; what spoke against it and how far it was lowered stays. Canary acts and
// dwell begin again.
func (s *State) Renew(r *catalog.TrustRules, prior Prior, at time.Time) {
	s.by(r)
	m := minute(at)
	prior.cap(r.PriorMost)
	for i := range s.class {
		c, k := conduct.Class(i), &s.class[i]
		s.settle(r, c, m)
		k.good = min(k.good, down(prior[i].Good))
		k.scoredAt = 0
		l := s.ladder[i]
		now := held(r, min(l.level(), Medium), s.score(r, c, m))
		if l.lowered() {
			s.ladder[i] = step(now, l.was(), l.falls())
		} else {
			s.ladder[i] = step(now, now, 0)
		}
		k.since = m
		s.again(c)
	}
	s.note("renewed", conduct.Every, 0, m)
	s.until = 0
}

// Lowered reports whether the agent is, by its own conduct or by that of its owner's other agents, below
// where it was in some class: it is on probation. Monitors learn nothing of it then.
func (s *State) Lowered(*catalog.TrustRules, time.Time) bool {
	if s.taken {
		return true
	}
	for _, l := range s.ladder {
		if l.lowered() {
			return true
		}
	}
	return false
}

// Lowest lowers into by the classes in which the agent is lowered: what Start takes, for all agents of an owner.
func (s *State) Lowest(into *[conduct.Classes]Level) {
	for c, l := range s.ladder {
		if s.taken {
			into[c] = None
		} else if l.lowered() {
			into[c] = min(into[c], l.level())
		}
	}
}

// Quarantined reports whether conduct has taken everything from the agent until a person restores it.
func (s *State) Quarantined() bool { return s.taken }

// Size returns about how many bytes of memory the state takes.
func (s *State) Size() int {
	n := int(unsafe.Sizeof(*s))
	if s.causes != nil {
		n += int(unsafe.Sizeof(*s.causes))
	}
	if f := s.further; f != nil {
		n += int(unsafe.Sizeof(*f))
		for i := range f.overrides {
			o := &f.overrides[i]
			n += int(unsafe.Sizeof(*o)) + len(o.author) + len(o.why)
		}
	}
	return n
}

// minute returns the number of the minute that a time lies in.
func minute(at time.Time) uint32 { return uint32(max(at.Unix(), 0) / 60) }

// moment returns when a minute begins; no time for minute 0.
func moment(m uint32) time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.Unix(int64(m)*60, 0).UTC()
}

// minutes returns how many minutes a length of time has, the begun one included.
func minutes(d time.Duration) uint32 {
	return uint32(min(max(int64((d+time.Minute-1)/time.Minute), 0), 1<<31))
}
