package sequence

import (
	"encoding/binary"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

// A Seen is a bounded set of things of a few kinds, each with the day on which it was last seen. Every kind has
// the same number of places, which grows by doubling up to a bound that the caller names; a newcomer to
// places that are full takes that of what was seen longest ago, which then looks new. A thing takes 4 bytes: 20 bits
// of its hash and 12 bits of the day. The zero Seen is empty.
type Seen struct{ slots []uint32 }

const (
	dayBits = 12
	dayMask = 1<<dayBits - 1
)

// probe is how many places of its kind are looked at for a thing.
const probe = 32

func tagOf(thing uint64) uint32 { return max(uint32(mix(thing)>>44), 1) << dayBits }

// places returns those where a thing can be.
func (s *Seen) places(kind, kinds int, tag uint32) []uint32 {
	each := len(s.slots) / kinds
	mine := s.slots[kind*each : (kind+1)*each]
	if each <= probe {
		return mine
	}
	block := int(uint64(tag>>dayBits) * uint64(each/probe) >> 20)
	return mine[block*probe : (block+1)*probe]
}

// Age returns how many days ago a thing was last seen, and whether it was, that long at most.
func (s *Seen) Age(kind, kinds int, thing uint64, day uint16, remember int) (age int, ok bool) {
	tag := tagOf(thing)
	for _, p := range s.places(kind, kinds, tag) {
		if p&^dayMask == tag {
			age = since(p, day)
			return age, age <= remember
		}
	}
	return 0, false
}

// since returns how many days ago a place was used. A day in the future, as after a clock was set back, is today.
func since(p uint32, day uint16) int {
	age := int(uint32(day)-p) & dayMask
	if age > dayMask/2 {
		return 0
	}
	return age
}

// Add notes that a thing was seen, in a set with room for at most most things of a kind: a power of two, or fewer
// than 32.
func (s *Seen) Add(kind, kinds int, thing uint64, day uint16, most int) {
	tag := tagOf(thing)
	entry := tag | uint32(day)&dayMask
	for {
		oldest, free := -1, -1
		places := s.places(kind, kinds, tag)
		for i, p := range places {
			switch {
			case p&^dayMask == tag:
				places[i] = entry
				return
			case p == 0:
				if free < 0 {
					free = i
				}
			case oldest < 0 || since(p, day) > since(places[oldest], day):
				oldest = i
			}
		}
		each := len(s.slots) / kinds
		switch {
		case free >= 0:
			places[free] = entry
			return
		case each < most:
			s.grow(kinds, min(most, max(4, 2*each)))
		default:
			places[oldest] = entry
			return
		}
	}
}

// grow gives every kind more places. What finds none is forgotten.
func (s *Seen) grow(kinds, each int) {
	old, before := s.slots, len(s.slots)/kinds
	s.slots = make([]uint32, kinds*each)
	for i, p := range old {
		if p == 0 {
			continue
		}
		places := s.places(i/before, kinds, p&^dayMask)
		for j := range places {
			if places[j] == 0 {
				places[j] = p
				break
			}
		}
	}
}

// Size returns how many bytes the places take.
func (s *Seen) Size() int { return 4 * len(s.slots) }

// Append appends the set in the form that Read reads.
func (s *Seen) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.slots)))
	for _, p := range s.slots {
		b = binary.LittleEndian.AppendUint32(b, p)
	}
	return b
}

// Read reads a set with room for at most most things of a kind that Append wrote. It returns
// authz.ErrInvalid, and the set is empty, if Append did not write it.
func (s *Seen) Read(r *conduct.Reader, kinds, most int) error {
	*s = Seen{}
	n := r.Count(kinds * most)
	each := n / kinds
	if r.Err() == nil && (n%kinds != 0 || each > probe && each%probe != 0) || len(r.Rest()) < 4*n {
		return errDamaged()
	}
	var slots []uint32
	for range n {
		slots = append(slots, r.Uint32())
	}
	if err := r.Err(); err != nil {
		return err
	}
	s.slots = slots
	return nil
}
