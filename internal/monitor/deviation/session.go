package deviation

import (
	"slices"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/sequence"
)

// A session is what is remembered of one of an agent's present sessions. An agent whose enforcement point keeps none
// has an endless one, of which every day counts anew.
type session struct {
	id      uint32          // hash; 0 if there is none
	prev    sequence.Symbol // the newest act that was done
	alt     sequence.Symbol // the newest before it that was not odd, if prev is; else the same as prev
	drift   float32         // how rare it was: what it has added to the sum of drift
	prevSeq int64           // number of the entry of prev
	used    [4]uint32       // a set of 128 bits: the acts that were done
	learned [4]uint32       // likewise: the pairs that were learned, and what some pair was learned of
	n       uint16          // acts that were learned
	day     uint16          // since 1970; on another one the session counts anew
	flags   flags
	trail   uint8 // how strange prev was, in trailUnit parts of a bit
}

// trailUnit is how many parts of a bit a trail is counted in.
const trailUnit = 16

// Flags are what has been decided about a session.
type flags uint8

const (
	counted  flags = 1 << iota // it has taken its share off the sum of drift
	doubted                    // it was odd,
	mute                       // and the scores of its acts do not count as benign ones
	begun                      // it has been decided whether it teaches:
	own                        // the agent's own baseline,
	shared                     // and those of its purpose and the fleet
	allFlags = 1<<iota - 1
)

func (f flags) has(flag flags) bool { return f&flag != 0 }

func hashOf(session string) uint32 { return max(uint32(conduct.Hash(session)>>32), 1) }

func dayOf(ev *conduct.Event) uint16 { return uint16(ev.At.Unix() / 86400) }

// find returns where the session of an event is kept, or -1.
func (s *State) find(ev *conduct.Event) int {
	id := hashOf(ev.Session)
	return slices.IndexFunc(s.sessions[:], func(n session) bool { return n.id == id })
}

// session returns the session of an event as the newest one. It takes the place of the one that was quiet longest.
func (s *State) session(ev *conduct.Event, day uint16) *session {
	i := s.find(ev)
	if i < 0 {
		i = len(s.sessions) - 1
		s.sessions[i] = session{id: hashOf(ev.Session), day: day}
	}
	if i > 0 {
		now := s.sessions[i]
		copy(s.sessions[1:i+1], s.sessions[:i])
		s.sessions[0] = now
	}
	now := &s.sessions[0]
	if now.day != day {
		now.day, now.n, now.drift, now.flags = day, 0, 0, 0
	}
	return now
}

// did reports whether an act was done in the session before. A few that were not may seem so, and always do after the
// same acts.
func (n *session) did(w sequence.Symbol) bool {
	bit := uint32(w) * 0x9e3779b1 >> 25
	return n.used[bit/32]&(1<<(bit%32)) != 0
}

// once reports whether a pair has not been learned of the session yet, and notes it. A few pairs are never learned
// of a session, because they seem learned.
func (n *session) once(prev, w sequence.Symbol) bool {
	h := (uint64(prev)<<32 | uint64(w)) * 0x9e3779b97f4a7c15
	bit := h >> 57
	if n.learned[bit/32]&(1<<(bit%32)) != 0 {
		return false
	}
	n.learned[bit/32] |= 1 << (bit % 32)
	return true
}

// advance notes that an act was done.
func (n *session) advance(ev *conduct.Event, x *Features) {
	if !x.odd() {
		n.alt = x.symbol
	}
	n.prev, n.prevSeq = x.symbol, ev.Seq
	n.trail = uint8(trailUnit * max(0, min(trailMost, x.mean())))
	bit := uint32(x.symbol) * 0x9e3779b1 >> 25
	n.used[bit/32] |= 1 << (bit % 32)
}
