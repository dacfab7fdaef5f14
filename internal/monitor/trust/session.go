package trust

import (
	"math"
	"math/bits"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// buckets is how many sessions of a day an agent's gains are told apart by.
const buckets = 8

// tenths is into how many parts a session's gain is divided: a clean act is one.
const tenths = 10

// maxSessions is how many sessions of canary acts can be asked for at most, of the sixteen that
// standing.seen tells apart by hash.
const maxSessions = 12

// today begins a new day if it has come. Days are those of UTC.
func (s *State) today(m uint32) {
	day := uint16(m / dayMinutes)
	if day <= s.day {
		return
	}
	s.day = day
	for c := range s.class {
		s.class[c].today = 0
	}
}

// known returns the hash of the session that an act is counted for. Acts of which no session is known are
// those of one session a day.
func (s *State) known(session uint64) uint64 {
	if session == 0 {
		session = uint64(s.day) + 1
	}
	session *= 0x9e3779b97f4a7c15 // spreads what differs in few bits over all
	return session ^ session>>29
}

// bucket returns the bucket of a session. Sessions are told apart by hash, and the ones that share a bucket on one day
// share what a session can gain: nothing is gained by sessions without number, because a bucket is
// emptied for another session on another day only, and for the same session never.
func (s *State) bucket(session uint64) int {
	i := int(session >> 61)
	tag, today := uint16(session), uint8(s.day)
	if s.tags[i] != tag && s.days[i] != today {
		s.tags[i] = tag
		for c := range s.class {
			s.class[c].acts &^= 0xf << (4 * i)
		}
	}
	if s.tags[i] == tag {
		s.days[i] = today
	}
	return i
}

// gain returns how much of a weight a session, and the day, still have room for, and takes it.
func (s *State) gain(r *catalog.TrustRules, c conduct.Class, session uint64, w float64) float64 {
	if !(w > 0) || !(r.Session > 0) {
		return 0
	}
	k := &s.class[c]
	i := s.bucket(session)
	used := int(k.acts >> (4 * i) & 0xf)
	room := float64(float64(tenths-used)/tenths) * r.Session
	room = min(room, r.Daily-float64(float64(k.today)*grain))
	if w = min(w, room); !(w > 0) {
		return 0
	}
	parts := int(min(math.Ceil(float64(w/r.Session*tenths)-1e-9), tenths))
	k.acts = k.acts&^(0xf<<(4*i)) | uint32(min(used+max(parts, 1), tenths))<<(4*i)
	k.today = uint16(min(uint32(k.today)+uint32(grains(w)), math.MaxUint16))
	return w
}

// canaried counts a clean act since the agent came to its level.
func (k *standing) canaried(session uint64) {
	k.canary = uint16(min(uint32(k.canary)+1, math.MaxUint16))
	k.seen |= 1 << (session >> 56 & 15)
}

// again begins the count of canary acts anew.
func (s *State) again(c conduct.Class) { s.class[c].canary, s.class[c].seen = 0, 0 }

func (k *standing) sessions() int { return bits.OnesCount16(k.seen) }
