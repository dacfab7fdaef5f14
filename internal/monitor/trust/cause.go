package trust

import (
	"strconv"
	"strings"
	"unique"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// maxCauses is how many things that spoke against an agent are listed one by one. When there are more, the one
// that weighs least goes into the sum, where it fades, and can be taken back no more: else what never counted, because its
// session had counted enough, could be dismissed at the cost of what did.
const maxCauses = 8

// A cause is one thing that spoke against an agent, or another event that people want to see.
type cause struct {
	key     uint64                // number of the entry, and below it that of the finding in it, or notFinding
	what    unique.Handle[string] // kind of the finding, and others
	minute  uint32
	weight  uint16 // in grains
	session uint8  // a hash; causes of one session share a bound
	where   uint8  // class (3 bits), and in which classes the agent fell by it (5 bits)
}

// notFinding stands in the place of the number of a finding.
const notFinding = 0xff

func (q *cause) class() conduct.Class        { return conduct.Class(q.where & 7) }
func (q *cause) in(c conduct.Class) bool     { return q.class() == c || q.class() == conduct.Every }
func (q *cause) felled(c conduct.Class) bool { return q.where>>(3+c)&1 != 0 }
func (q *cause) fells(c conduct.Class)       { q.where |= 1 << (3 + c) }
func (q *cause) finding() bool               { return q.key&0xff != notFinding }

// now returns what a cause weighs at a minute.
func (q *cause) now(r *catalog.TrustRules, m uint32) float64 {
	return float64(float64(float64(q.weight)*grain) * fade(q.minute, m, r.BadHalfLife))
}

// keyOf returns the key of a finding: its ID is f and the number of the entry, and how many that entry had before, of
// all agents. Those of one agent come one after the other, fewer than notFinding, so that what is left tells them apart.
func keyOf(f *conduct.Finding, seq int64) uint64 {
	if id, ok := strings.CutPrefix(f.ID, "f"); ok {
		if entry, n, ok := strings.Cut(id, "."); ok {
			a, err := strconv.ParseUint(entry, 10, 55)
			b, err2 := strconv.ParseUint(n, 10, 32)
			if err == nil && err2 == nil {
				return a<<8 | b%notFinding
			}
		}
	}
	return uint64(seq) << 8
}

// find returns the cause of a key, or nil.
func (s *State) find(key uint64) *cause {
	for i := range s.listed {
		if s.causes[i].key == key {
			return &s.causes[i]
		}
	}
	return nil
}

// list adds a cause; s keeps the newest last. The caller has settled the classes that it concerns.
func (s *State) list(r *catalog.TrustRules, q cause, m uint32) *cause {
	if s.causes == nil {
		s.causes = new([maxCauses]cause)
	}
	if s.listed == maxCauses {
		least, w := 0, s.causes[0].now(r, m)
		for i := 1; i < maxCauses; i++ {
			if v := s.causes[i].now(r, m); v < w {
				least, w = i, v
			}
		}
		old := s.causes[least]
		s.unlist(least)
		for c := range conduct.Class(conduct.Classes) {
			if old.weight > 0 && old.in(c) {
				s.settle(r, c, m)
				s.class[c].bad = up(float64(s.class[c].bad) + old.now(r, s.class[c].at))
			}
		}
	}
	s.causes[s.listed] = q
	s.listed++
	return &s.causes[s.listed-1]
}

// unlist takes a cause from the list.
func (s *State) unlist(i int) {
	copy(s.causes[i:], s.causes[i+1:s.listed])
	s.listed--
	s.causes[s.listed] = cause{}
}

// note lists an event that weighs nothing.
func (s *State) note(what string, c conduct.Class, seq int64, m uint32) {
	// Only what weighs nothing gives way to it: a note moves no evidence.
	if s.listed == maxCauses {
		i := 0
		for i < maxCauses && s.causes[i].weight > 0 {
			i++
		}
		if i == maxCauses {
			return
		}
		s.unlist(i)
	}
	if s.causes == nil {
		s.causes = new([maxCauses]cause)
	}
	s.causes[s.listed] = cause{key: uint64(seq)<<8 | notFinding, what: unique.Make(what), minute: m, where: uint8(c)}
	s.listed++
}

// room returns how much a finding of a weight can still add to what its session has added within a day:
// twice the gravest of the session, less what is there. A session that went wrong is one mistake with many faces.
func (s *State) room(c conduct.Class, session uint8, w float64, m uint32) float64 {
	most := 0.0
	for k := range conduct.Class(conduct.Classes) {
		if c != k && c != conduct.Every {
			continue
		}
		gravest, sum := w, 0.0
		for i := range s.listed {
			q := &s.causes[i]
			if !q.finding() || q.session != session || !q.in(k) || m >= q.minute+dayMinutes {
				continue
			}
			v := float64(float64(q.weight) * grain)
			gravest, sum = max(gravest, v), sum+v
		}
		most = max(most, 2*gravest-sum)
	}
	return most
}

// forgive forgets by which causes the agent fell in a class: it has regained what it lost.
func (s *State) forgive(c conduct.Class) {
	for i := range s.listed {
		s.causes[i].where &^= 1 << (3 + c)
	}
}
