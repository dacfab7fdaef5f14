package escalation

import (
	"fmt"
	"slices"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

// maxRefused is how many different things that an agent was refused are remembered: two more than the
// rules can ask for (see internal/catalog).
const maxRefused = 12

// A refusal is one thing that the agent was refused, lately: an act on a resource. It is kept in 18 bytes.
type refusal struct {
	seq     number // of the newest
	at      [2]uint16
	thing   [2]uint16
	session uint16 // 12 bits of the newest known session's hash; and in how many in a row: see sessions
	meta    uint16 // 11 bits of the action's hash, the class, whether a capability covers it
}

func halves(x uint32) [2]uint16         { return [2]uint16{uint16(x), uint16(x >> 16)} }
func whole(h [2]uint16) uint32          { return uint32(h[0]) | uint32(h[1])<<16 }
func (q *refusal) sessions() uint16     { return q.session & 15 }
func (q *refusal) in() uint16           { return q.session >> 4 }
func (q *refusal) action() uint16       { return q.meta >> 5 }
func (q *refusal) class() conduct.Class { return conduct.Class(q.meta >> 1 & 15) }
func (q *refusal) covered() bool        { return q.meta&1 != 0 }

// forget drops what is out of the window. The newest stands last.
func (s *State) forget(since uint32) {
	n := 0
	for n < len(s.refused) && whole(s.refused[n].at) < since {
		n++
	}
	if n > 0 {
		s.refused = append(s.refused[:0], s.refused[n:]...)
	}
}

// note remembers a refusal. Known is what was remembered of the same thing before, zero if nothing was;
// fresh is whether the agent was refused it now for the first time.
func (s *State) note(a *act) (known refusal, fresh bool) {
	i := slices.IndexFunc(s.refused, func(q refusal) bool { return q.thing == halves(a.thing) })
	if i >= 0 {
		known = s.refused[i]
	}
	if !a.reaching {
		return known, false
	}
	q := refusal{seq: pack(a.Seq), at: halves(a.now), thing: halves(a.thing)}
	q.meta = uint16(conduct.Hash(a.Action))<<5 | uint16(a.Class&15)<<1
	if a.Classed || len(a.Within)+len(a.Exceeded) > 0 {
		q.meta |= 1
	}
	q.session = session12(a.session) << 4
	if q.session != 0 {
		q.session |= 1
	}
	if i >= 0 {
		q.session = follow(known.session, q.session)
		copy(s.refused[i:], s.refused[i+1:])
		s.refused[len(s.refused)-1] = q
		return known, false
	}
	if len(s.refused) == maxRefused {
		copy(s.refused, s.refused[1:])
		s.refused[maxRefused-1] = q
		return known, true
	}
	if len(s.refused) == cap(s.refused) { // grow by little: most agents are refused little
		s.refused = append(make([]refusal, 0, min(maxRefused, cap(s.refused)+max(2, cap(s.refused)/2))), s.refused...)
	}
	s.refused = append(s.refused, q)
	return known, true
}

// session12 is what is kept of a session's hash; never 0 of one that is known.
func session12(session uint32) uint16 {
	if session == 0 {
		return 0
	}
	return uint16(max(1, session>>20))
}

// follow returns the sessions of a thing that was refused in old ones and is now refused in another.
func follow(old, now uint16) uint16 {
	switch {
	case now == 0:
		return old
	case old == 0:
		return now
	case old>>4 == now>>4:
		return old
	}
	return now&^15 | min(15, old&15+1)
}

// launders finds an act that is refused in one session after the other, or is refused in several and at
// last allowed in a new one. Three sessions within a window each after the other are low: a job that is
// badly set up and started anew looks the same. Only grave acts are more than that.
func (s *State) launders(a *act, known refusal) {
	mine := session12(a.session)
	if mine == 0 || known.in() == 0 || known.in() == mine {
		return
	}
	action, resource := a.quoted()
	n := known.sessions() + 1
	severity := conduct.Low
	switch {
	case a.Allowed() && n >= 3:
		if grave(a.Class) {
			severity = conduct.Medium
		}
		for i := range s.refused { // it was told once
			if s.refused[i].thing == known.thing {
				s.refused[i].session = mine<<4 | 1
			}
		}
		a.say(Laundering, severity, a.Class, fmt.Sprintf("%s on %s was refused in %d sessions, one after the other, and was allowed in the next.", action, resource, n-1), known.seq.seq())
	case a.reaching && n >= 3:
		if grave(a.Class) && n >= 5 {
			severity = conduct.Medium
		}
		a.say(Laundering, severity, a.Class, fmt.Sprintf("%s on %s is refused in the %dth session, one after the other.", action, resource, n), known.seq.seq())
	}
}

// creeps finds an agent that is refused ever other things. Over-reach is about those that no capability
// of the agent covers, creep about all. By weight:
//
//	low     three that nothing covers, or one of a grave class; more than Refusals of any kind
//	medium  more than Refusals, by several actions or twice as many
//	high    twice as many, by three actions or more, that nothing covers or of a grave class
//
// A list that was put together badly is one action on many things. It is low until it is long.
func (s *State) creeps(a *act) {
	bare := s.tally(func(q *refusal) bool { return !q.covered() })
	all := s.tally(func(*refusal) bool { return true })
	most := a.rules.Refusals
	twice := min(2*most, maxRefused)
	weigh := func(t tally) int {
		switch {
		case t.things <= most:
			return 0
		case t.things >= twice && t.actions >= 3 && (t.bare == t.things || t.grave >= 3):
			return 3
		case t.things >= twice || t.actions >= 2:
			return 2
		}
		return 1
	}
	over, creep := weigh(bare), weigh(all)
	if over == 0 && (bare.things >= 3 || bare.grave > 0) {
		over = 1
	}
	action, resource := a.quoted()
	covered := a.Classed || len(a.Within)+len(a.Exceeded) > 0
	switch {
	case !covered && over > 0 && over >= creep:
		sentence := fmt.Sprintf("No capability of the agent covers %s on %s.", action, resource)
		if bare.things > 1 {
			sentence = fmt.Sprintf("No capability of the agent covers %s on %s, nor %d other things that it was refused within %s.", action, resource, bare.things-1, a.rules.Window)
		}
		a.say(OverReach, conduct.Severity(over-1), a.Class, sentence, s.seqs(false)...)
	case creep > 0:
		a.say(ScopeCreep, conduct.Severity(creep-1), a.Class,
			fmt.Sprintf("Refused %s on %s: %d different things within %s.", action, resource, all.things, a.rules.Window), s.seqs(true)...)
	}
}

// A tally counts what was refused.
type tally struct{ things, actions, bare, grave int }

func (s *State) tally(of func(*refusal) bool) (t tally) {
	var seen [maxRefused]uint16
	for i := range s.refused {
		q := &s.refused[i]
		if !of(q) {
			continue
		}
		t.things++
		if !q.covered() {
			t.bare++
		}
		if grave(q.class()) {
			t.grave++
		}
		if !slices.Contains(seen[:t.actions], q.action()) {
			seen[t.actions] = q.action()
			t.actions++
		}
	}
	return t
}

// seqs are the numbers of the refusals: of all, or of those that nothing covers.
func (s *State) seqs(all bool) []int64 {
	list := make([]int64, 0, maxRefused+1)
	for i := range s.refused {
		if all || !s.refused[i].covered() {
			list = append(list, s.refused[i].seq.seq())
		}
	}
	return list
}
