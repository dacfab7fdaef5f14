package sequence

import (
	"encoding/binary"
	"unsafe"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// A Context is what an act follows: see ContextOf.
type Context uint64

// ContextOf returns the context in which something is counted. Level tells contexts of different kinds
// apart.
func ContextOf(level uint8, task uint32, prev Symbol) Context {
	return Context(mix(mix(uint64(task)<<32|uint64(prev)) + uint64(level)))
}

// A Table counts what follows what, in an open-addressing hash table of bounded size: for each context
// how many acts followed it (n) and how many different ones (types), and for each act how often it did.
// It grows by doubling, up to a bound that the caller names. The zero Table is empty.
//
// A slot holds a part of a hash, what is counted (two bits), whether it was touched since the last call
// of Forget (one bit), and the count: 21, 2, 1 and 8 bits of a uint32, or 37, 2, 1 and 24 of a uint64. A
// slot can be found within eight places after the one that its hash says.
type Table[S interface{ uint32 | uint64 }] struct {
	slots  []S
	forgot uint16 // day of the last call of Forget that forgot
}

// Own counts for one agent, Shared for many.
type (
	Own    = Table[uint32]
	Shared = Table[uint64]
)

const window = 8 // places in which a slot can be

// What a slot counts. The zero kind is a pair, and only pairs are evicted.
const (
	pairs = iota
	total
	types
)

// widths returns how many bits of a slot are the count, and how many there are.
func (t *Table[S]) widths() (count, all uint) {
	if unsafe.Sizeof(S(0)) == 4 {
		return 8, 32
	}
	return 24, 64
}

// tag returns a slot without its count and its touch.
func (t *Table[S]) tag(h uint64, kind S) S {
	count, all := t.widths()
	return S(h>>(64-all))&^(1<<(count+3)-1) | kind<<(count+1)
}

func (t *Table[S]) mask() S    { c, _ := t.widths(); return 1<<c - 1 }
func (t *Table[S]) touched() S { c, _ := t.widths(); return 1 << c }

// kind returns what a slot counts.
func (t *Table[S]) kind(s S) S { c, _ := t.widths(); return s >> (c + 1) & 3 }

// home returns where the search for a tag begins.
func (t *Table[S]) home(tag S, in []S) int {
	_, all := t.widths()
	return int(uint64(tag) >> (all - 20) * uint64(len(in)) >> 20)
}

// find returns the slot of a tag, or nil.
func (t *Table[S]) find(tag S) *S {
	if len(t.slots) == 0 {
		return nil
	}
	ignore := t.mask() | t.touched()
	i := t.home(tag, t.slots)
	for range min(window, len(t.slots)) {
		if s := t.slots[i]; s&^ignore == tag && s&t.mask() != 0 {
			return &t.slots[i]
		}
		if i++; i == len(t.slots) {
			i = 0
		}
	}
	return nil
}

func (t *Table[S]) count(tag S) int {
	if s := t.find(tag); s != nil {
		return int(*s & t.mask())
	}
	return 0
}

func (t *Table[S]) pair(c Context, w Symbol) S {
	return t.tag(mix(uint64(c)^uint64(w)*0xd6e8feb86659fd93), pairs)
}

// Count returns how often w was counted in c.
func (t *Table[S]) Count(c Context, w Symbol) int { return t.count(t.pair(c, w)) }

// Context returns how much was counted in c, and how many different symbols: 0, 0 for one that is not known.
func (t *Table[S]) Context(c Context) (n, kinds int) {
	n = t.count(t.tag(uint64(c), total))
	if n == 0 {
		return 0, 0
	}
	return n, max(1, t.count(t.tag(uint64(c), types))) // one is not written down
}

// P returns the probability that w comes next in c, given that it has the probability lower if c is not
// known: (count(c, w) + types(c) lower) / (n(c) + types(c)). This is the interpolation that Witten and Bell
// call method C ("The Zero-Frequency Problem", IEEE Transactions on Information Theory 37, 1991).
func (t *Table[S]) P(c Context, w Symbol, lower float64) float64 {
	n, kinds := t.Context(c)
	if n == 0 {
		return lower
	}
	seen := min(t.Count(c, w), n) // more only if hashes are shared
	return (float64(seen) + float64(float64(kinds)*lower)) / float64(n+kinds)
}

// Add counts w in c, in a table of at most most slots. It reports false, and counts nothing, if the table
// is full of what it must not forget. With grow false nothing is counted that needs a new slot.
func (t *Table[S]) Add(c Context, w Symbol, most int, grow bool) bool {
	pt, nt, kt := t.pair(c, w), t.tag(uint64(c), total), t.tag(uint64(c), types)
	if t.find(pt) != nil && t.find(nt) != nil {
		t.increment(pt)
		t.increment(nt)
		if s := t.find(kt); s != nil {
			*s |= t.touched()
		}
		return true
	}
	if !grow {
		return false
	}
	n, kinds := t.Context(c)
	if n == 0 {
		if s := t.find(kt); s != nil { // of a context that was forgotten
			*s = 0
		}
		if !t.insert(nt, most) {
			return false
		}
	} else if kinds == 1 && !t.insert(kt, most) {
		return false
	}
	if t.find(pt) == nil && !t.insert(pt, most) {
		t.undo(n, kinds, nt, kt)
		return false
	}
	if t.find(pt) == nil || t.find(nt) == nil { // a table too small for both
		return false
	}
	if n > 0 {
		t.increment(kt)
		t.increment(nt)
	}
	return true
}

// undo takes back the slots that were made for a pair that found no place.
func (t *Table[S]) undo(n, kinds int, nt, kt S) {
	switch {
	case n == 0:
		*t.find(nt) = 0
	case kinds == 1:
		*t.find(kt) = 0
	}
}

// increment counts one more in a slot. What reaches the most that can be counted halves all counts.
func (t *Table[S]) increment(tag S) {
	s := t.find(tag)
	if s == nil {
		return
	}
	if *s&t.mask() == t.mask() {
		t.halve()
		if s = t.find(tag); s == nil {
			return
		}
	}
	*s = (*s + 1) | t.touched()
}

// halve rounds pairs down and what they are divided by up, so that nothing becomes more probable that is
// in the table, nor, but for rounding, what is not.
func (t *Table[S]) halve() {
	m := t.mask()
	for i, s := range t.slots {
		n := s & m
		if n == 0 {
			continue
		}
		if t.kind(s) != pairs {
			n++
		}
		if n /= 2; n == 0 {
			t.slots[i] = 0
		} else {
			t.slots[i] = s&^m | n
		}
	}
}

// insert puts a tag with the count 1 into the table.
func (t *Table[S]) insert(tag S, most int) bool {
	for {
		if t.place(t.slots, tag|t.touched()|1, len(t.slots) >= most) {
			return true
		}
		if len(t.slots) >= most || !t.grow(min(most, max(window, 2*len(t.slots)))) {
			return t.place(t.slots, tag|t.touched()|1, true)
		}
	}
}

// place puts a slot at a free place of its window. If there is none and it may evict, it takes the place
// of a pair that was counted once only: the first that is no longer in use, or else the first.
func (t *Table[S]) place(in []S, s S, evict bool) bool {
	if len(in) == 0 {
		return false
	}
	ignore := t.mask() | t.touched()
	weakest := -1
	i := t.home(s&^ignore, in)
	for range min(window, len(in)) {
		switch old := in[i]; {
		case old&t.mask() == 0:
			in[i] = s
			return true
		case t.kind(old) != pairs || old&t.mask() > 1:
		case weakest < 0 || in[weakest]&t.touched() != 0 && old&t.touched() == 0:
			weakest = i
		}
		if i++; i == len(in) {
			i = 0
		}
	}
	if !evict || weakest < 0 {
		return false
	}
	in[weakest] = s
	return true
}

// grow moves everything into a larger table, if what must not be forgotten finds a place there.
func (t *Table[S]) grow(to int) bool {
	if to <= len(t.slots) {
		return false
	}
	wide := make([]S, to)
	for _, contexts := range []bool{true, false} {
		for _, s := range t.slots {
			if s&t.mask() == 0 || (t.kind(s) != pairs) != contexts {
				continue
			}
			if !t.place(wide, s, false) && contexts {
				return false
			}
		}
	}
	t.slots = wide
	return true
}

// Forget empties the slots that were not touched since the call before it that did, if that is at least
// so many days ago; it then returns true. The first call only starts the clock. What is used goes on counting; what is not is
// forgotten after once to twice the time.
func (t *Table[S]) Forget(day uint16, after uint16) bool {
	if t.forgot == 0 {
		t.forgot = day
		return false
	}
	if int16(day-t.forgot) < int16(min(after, 1<<14)) {
		return false
	}
	t.forgot = day
	for i, s := range t.slots {
		if s&t.touched() == 0 {
			t.slots[i] = 0
		} else {
			t.slots[i] = s &^ t.touched()
		}
	}
	return true
}

// Size returns how many bytes the slots take.
func (t *Table[S]) Size() int { return len(t.slots) * int(unsafe.Sizeof(S(0))) }

// Append appends the table in the form that Read reads.
func (t *Table[S]) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(t.slots)))
	b = binary.AppendUvarint(b, uint64(t.forgot))
	empty := uint64(0)
	for _, s := range t.slots {
		if s == 0 {
			empty++
			continue
		}
		b = binary.AppendUvarint(b, empty)
		if empty = 0; unsafe.Sizeof(s) == 4 {
			b = binary.LittleEndian.AppendUint32(b, uint32(s))
		} else {
			b = binary.LittleEndian.AppendUint64(b, uint64(s))
		}
	}
	return binary.AppendUvarint(b, empty+1) // one beyond the end
}

// Read reads a table of at most most slots that Append wrote. It returns authz.ErrInvalid, and the table
// is empty, if Append did not write it.
func (t *Table[S]) Read(r *conduct.Reader, most int) error {
	*t = Table[S]{}
	n := r.Count(most)
	forgot := r.Count(1<<16 - 1)
	if r.Err() != nil {
		return r.Err()
	}
	var slots []S
	if n > 0 {
		slots = make([]S, n)
	}
	for i := 0; ; i++ {
		i += r.Count(n + 1)
		if r.Err() != nil {
			return r.Err()
		}
		if i == n+1 {
			break
		}
		if i >= n {
			return errDamaged()
		}
		if low := r.Uint32(); unsafe.Sizeof(S(0)) == 4 {
			slots[i] = S(low)
		} else {
			slots[i] = S(uint64(low) | uint64(r.Uint32())<<32)
		}
	}
	if r.Err() != nil {
		return r.Err()
	}
	t.slots, t.forgot = slots, uint16(forgot)
	return nil
}

// errDamaged is what Read returns for what Append does not write.
func errDamaged() error {
	return authz.Errorf(authz.ErrInvalid, "the kept state of a table is damaged")
}
