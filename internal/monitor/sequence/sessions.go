package sequence

// AddAlone counts w, or for Start a session, in a table of at most most slots, but not how many acts there were in c: PAfter
// can be asked then, and P cannot. It reports false, and counts nothing, if the table is full of what it must not forget.
func (t *Table[S]) AddAlone(c Context, w Symbol, most int) bool {
	tag := t.nodeTag(c, w)
	if t.find(tag) == nil {
		return t.insert(tag, most)
	}
	t.increment(tag)
	return true
}

// within stands before what a session has anywhere.
const within = ^Symbol(0)

// AddSession counts a session that has w anywhere, in a table of at most most slots. Count does not say how many these are,
// for w is counted once more for each other act that comes after it. It is forgotten like what followed what, and reports false
// if it counts nothing: the table is full, or grow is false and w is new.
func (t *Table[S]) AddSession(c Context, w Symbol, most int, grow bool) bool {
	tag := t.edgeTag(c, within, w)
	if t.find(tag) == nil {
		return grow && t.insert(tag, most)
	}
	t.increment(tag)
	return true
}

// CountSessions returns how many sessions AddSession counted.
func (t *Table[S]) CountSessions(c Context, w Symbol) int { return t.CountAfter(c, within, w) }
