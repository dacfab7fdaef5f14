package sequence

import "unsafe"

// A Context is where acts are counted, by themselves and after each other.
type Context uint64

// ContextOf returns the context of a task. Level tells contexts of different kinds apart.
func ContextOf(level uint8, task uint32) Context {
	return Context(mix(uint64(task)<<8 | uint64(level)))
}

// A Table counts acts, in an open-addressing hash table of bounded size: for each context how many there were
// and how many different ones; for each act in it how often it came and how many different ones followed; and how often each
// of these did. It grows by doubling, up to a bound that the caller names. The zero Table is empty.
//
// A slot holds a part of a hash, what is counted, whether it was touched since the last call of Forget, how many
// different ones followed, and the count: 19, 2, 1, 3 and 7 bits of a uint32, or 32, 2, 1, 8 and 21 of a uint64. What
// followed is counted up to what fits; a count that is full halves all counts. A slot is found within eight places
// from the one that its hash says.
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

// What a slot counts. Only an edge, the zero kind, is evicted.
const (
	edge  = iota // how often an act came after another
	node         // how often an act came, and how many different ones came after it
	root         // how many acts there were
	types        // how many different ones
)

// A layout says where in a slot things are.
type layout struct{ count, follow, kind uint }

func (t *Table[S]) layout() layout {
	if unsafe.Sizeof(S(0)) == 4 {
		return layout{count: 7, follow: 3, kind: 7 + 3 + 1}
	}
	return layout{count: 21, follow: 8, kind: 21 + 8 + 1}
}

// tag returns a slot without what changes in it.
func (t *Table[S]) tag(h uint64, kind S) S {
	shift, l := 64-8*unsafe.Sizeof(S(0)), t.layout()
	return S(h>>shift)&^(1<<(l.kind+2)-1) | kind<<l.kind
}

func (t *Table[S]) mask() S     { return 1<<t.layout().count - 1 }
func (t *Table[S]) touched() S  { return 1 << (t.layout().kind - 1) }
func (t *Table[S]) changing() S { return 1<<t.layout().kind - 1 }
func (t *Table[S]) kind(s S) S  { return s >> t.layout().kind & 3 }
func (t *Table[S]) full(s S) S {
	if l := t.layout(); t.kind(s) == root || t.kind(s) == types { // nothing follows these
		return 1<<(l.count+l.follow) - 1
	}
	return t.mask()
}

func (t *Table[S]) rootTag(c Context) S           { return t.tag(uint64(c), root) }
func (t *Table[S]) typesTag(c Context) S          { return t.tag(uint64(c), types) }
func (t *Table[S]) nodeTag(c Context, w Symbol) S { return t.tag(nodeHash(c, w), node) }
func (t *Table[S]) edgeTag(c Context, prev, w Symbol) S {
	return t.tag(mix(nodeHash(c, prev)+uint64(w)), edge)
}

func nodeHash(c Context, w Symbol) uint64 { return mix(uint64(c) ^ uint64(w)) }

// home returns where the search for a tag begins.
func (t *Table[S]) home(tag S, in []S) int {
	return int(uint64(tag) >> (8*unsafe.Sizeof(S(0)) - 19) * uint64(len(in)) >> 19)
}

// find returns the slot of a tag, or nil.
func (t *Table[S]) find(tag S) *S {
	if len(t.slots) == 0 {
		return nil
	}
	ignore := t.changing()
	i := t.home(tag, t.slots)
	for range min(window, len(t.slots)) {
		if s := t.slots[i]; s&^ignore == tag && s != tag {
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
		return int(*s & t.full(*s))
	}
	return 0
}

// Context returns how many acts were counted in c, and how many different ones: 0, 0 for one that is not known.
func (t *Table[S]) Context(c Context) (n, kinds int) {
	if n = t.count(t.rootTag(c)); n == 0 {
		return 0, 0
	}
	return n, max(1, t.count(t.typesTag(c))) // one is not written down
}

// Count returns how often w was counted in c; for Start, how many sessions began in it.
func (t *Table[S]) Count(c Context, w Symbol) int { return t.count(t.nodeTag(c, w)) }

// CountAfter returns how often w was counted after prev.
func (t *Table[S]) CountAfter(c Context, prev, w Symbol) int { return t.count(t.edgeTag(c, prev, w)) }

// Add counts w in c, in a table of at most most slots. Start counts sessions, and is no act. It reports false, and counts nothing,
// if the table is full of what it must not forget; and also, with grow false, if w is new to it.
func (t *Table[S]) Add(c Context, w Symbol, most int, grow bool) bool {
	tag, rt, tt := t.nodeTag(c, w), t.rootTag(c), t.typesTag(c)
	if t.find(tag) != nil {
		t.increment(tag)
		if w != Start {
			t.increment(rt)
			t.touch(tt)
		}
		return true
	}
	if !grow {
		return false
	}
	if w == Start {
		return t.insert(tag, most)
	}
	n, kinds := t.Context(c)
	switch {
	case n == 0:
		if s := t.find(tt); s != nil { // of a context that was forgotten
			*s = 0
		}
		if !t.insert(rt, most) {
			return false
		}
	case kinds == 1 && t.find(tt) == nil && !t.insert(tt, most):
		return false
	}
	if !t.insert(tag, most) {
		if s := t.find(rt); n == 0 && s != nil {
			*s = 0
		}
		return false
	}
	if n > 0 {
		t.increment(rt)
		t.increment(tt)
	}
	return true
}

// AddAfter counts w after prev, which must have been added. More is whether something else was counted after it
// in the same session already: then prev is counted once more, so that what followed is never more often than it was.
func (t *Table[S]) AddAfter(c Context, prev, w Symbol, more bool, most int, grow bool) bool {
	nt, et := t.nodeTag(c, prev), t.edgeTag(c, prev, w)
	if t.find(nt) == nil {
		return false
	}
	if t.find(et) == nil {
		if !grow || !t.insert(et, most) {
			return false
		}
		if s := t.find(nt); s != nil {
			l := t.layout()
			if one := S(1) << l.count; *s>>l.count&(1<<l.follow-1) < 1<<l.follow-1 {
				*s += one
			}
		}
	} else {
		t.increment(et)
	}
	if more {
		t.increment(nt)
		if prev != Start {
			t.increment(t.rootTag(c))
		}
	}
	return true
}

func (t *Table[S]) touch(tag S) {
	if s := t.find(tag); s != nil {
		*s |= t.touched()
	}
}

// increment counts one more in a slot.
func (t *Table[S]) increment(tag S) {
	s := t.find(tag)
	if s == nil {
		return
	}
	if *s&t.full(*s) == t.full(*s) {
		t.halve()
		if s = t.find(tag); s == nil {
			return
		}
	}
	*s = (*s + 1) | t.touched()
}

// halve rounds edges down, and what they are divided by up, so that nothing in the table becomes more probable,
// nor, but for rounding, what is not in it.
func (t *Table[S]) halve() {
	for i, s := range t.slots {
		m := t.full(s)
		n := s & m
		switch {
		case n == 0:
			continue
		case t.kind(s) == types:
			continue // as many as before
		case t.kind(s) == edge:
			n /= 2
		case t.kind(s) == node:
			n = (n + 1) / 2
		default: // nodes were rounded up, so many of them at most
			kinds := S(max(1, t.count(s&^t.changing()|types<<t.layout().kind)))
			n = min(m, (n+kinds+1)/2)
		}
		if n == 0 {
			t.slots[i] = 0
		} else {
			t.slots[i] = s&^m | n
		}
	}
}

// insert puts a tag with the count 1 into the table.
func (t *Table[S]) insert(tag S, most int) bool {
	s := tag | t.touched() | 1
	for len(t.slots) < most {
		if t.place(t.slots, s, false) {
			return true
		}
		if !t.grow(min(most, max(window, 2*len(t.slots)))) {
			break
		}
	}
	return t.place(t.slots, s, true)
}

// place puts a slot at a free place of its window. If there is none and it may evict, it takes the place
// of an edge that was counted once only: the first that is no longer in use, or else the first.
func (t *Table[S]) place(in []S, s S, evict bool) bool {
	if len(in) == 0 {
		return false
	}
	weakest := -1
	i := t.home(s&^t.changing(), in)
	for range min(window, len(in)) {
		switch old := in[i]; {
		case old == 0:
			in[i] = s
			return true
		case t.kind(old) != edge || old&t.mask() > 1:
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
	wide := make([]S, to)
	for _, edges := range []bool{false, true} {
		for _, s := range t.slots {
			if s != 0 && (t.kind(s) == edge) == edges && !t.place(wide, s, false) && !edges {
				return false
			}
		}
	}
	t.slots = wide
	return true
}

// Forget empties the slots that were not touched since the call before it that did, if that is at least
// so many days ago; it then returns true. The first call only starts the clock. What is used goes on counting; what is
// not is forgotten after once to twice the time.
func (t *Table[S]) Forget(day, after uint16) bool {
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
