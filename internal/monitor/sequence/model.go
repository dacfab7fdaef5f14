package sequence

// A Place is where an act happens.
type Place struct {
	Task uint32 // hash of what kind of task it belongs to; 0 if unknown
	Prev Symbol // what came before it
}

// level tells the contexts of acts from those that others count in the same tables, which have other levels.
const level = 1

// Bounds of tables, in slots.
const (
	OwnMost    = 256  // 1 KiB an agent
	SharedMost = 8192 // 64 KiB a purpose
)

// A Model is the tables that say how usual an act is, from the agent's own to that of all agents. Own may
// be nil: then its purpose speaks for it.
type Model struct {
	Own     *Own
	Purpose *Shared
	Fleet   *Shared
}

// P returns the probability that w comes next, interpolated from all agents to those of the purpose, from there to
// those of the purpose at the task, and to the agent itself at the task, of which is known only what came after what. The
// lowest level is that all symbols that are known are alike, and so is one that nobody knows.
func (m Model) P(at Place, w Symbol) float64 {
	any := ContextOf(level, 0)
	_, known := m.Fleet.Context(any)
	p := both(m.Fleet, any, at.Prev, w, 1/float64(known+1))
	p = both(m.Purpose, any, at.Prev, w, p)
	task := ContextOf(level, at.Task)
	if at.Task != 0 {
		p = both(m.Purpose, task, at.Prev, w, p)
	}
	if m.Own != nil {
		p = m.Own.PAfter(task, at.Prev, w, p)
	}
	return p
}

func both(t *Shared, c Context, prev, w Symbol, p float64) float64 {
	return t.PAfter(c, prev, w, t.P(c, w, p))
}

// Surprise returns how surprising w is, in bits: 0 if it had to come.
func (m Model) Surprise(at Place, w Symbol) float64 { return Bits(m.P(at, w)) }

// Absence returns how rare sessions are that have w anywhere, in bits: of the task if it is known, or else of the
// purpose. It does not mind the order of acts. A level counts what the one above it says
// like upper sessions.
func (m Model) Absence(task uint32, w Symbol) float64 {
	any, c := ContextOf(level, 0), ContextOf(level, task)
	_, known := m.Fleet.Context(any)
	p := share(m.Purpose.CountSessions(any, w), m.Purpose.Count(any, Start), 1/float64(known+1))
	if task != 0 {
		p = share(m.Purpose.CountSessions(c, w), m.Purpose.Count(c, Start), p)
	}
	if m.Own != nil {
		p = share(m.Own.Count(c, w), m.Own.Count(c, Start), p)
	}
	return Bits(p)
}

// upper is how many sessions the level above counts for in Absence: few, for a task has its own acts.
const upper = 0.25

func share(with, sessions int, p float64) float64 {
	return (float64(min(with, sessions)) + float64(upper*p)) / (float64(sessions) + upper)
}

// Sessions returns how many sessions of a task the purpose's agents had; of all tasks if task is 0.
func (m Model) Sessions(task uint32) int { return m.Purpose.Count(ContextOf(level, task), Start) }

// Times returns in how many sessions the purpose's agents did w there.
func (m Model) Times(at Place, w Symbol) int {
	return m.Purpose.CountAfter(ContextOf(level, at.Task), at.Prev, w)
}

// A Lesson says what of an act is learned.
type Lesson struct {
	First  bool // it comes for the first time in its session
	Pair   bool // it comes for the first time after prev
	More   bool // something else came after prev in the session before
	Shared bool // the purpose's and the fleet's tables learn too,
	Grow   bool // even what is new to them
}

// Learn counts w. It returns how much was new to the shared tables.
func (m Model) Learn(at Place, w Symbol, l Lesson) (news int) {
	any, task := ContextOf(level, 0), ContextOf(level, at.Task)
	if l.Shared {
		news = learn(m.Fleet, any, at.Prev, w, l, SharedMost, l.Grow)
		news += learn(m.Purpose, any, at.Prev, w, l, SharedMost, l.Grow)
		if at.Task != 0 {
			news += learn(m.Purpose, task, at.Prev, w, l, SharedMost, l.Grow)
		}
	}
	if m.Own != nil {
		m.Own.learn(task, at.Prev, w, l)
	}
	return news
}

// learn counts in tables of many agents.
func learn(t *Shared, c Context, prev, w Symbol, l Lesson, most int, grow bool) (news int) {
	if t.Count(c, w) == 0 {
		news++
	}
	if l.First && t.CountSessions(c, w) == 0 {
		news++
	}
	if prev == Start && l.Pair && !l.More {
		t.Add(c, Start, most, grow)
	} else if l.Pair && t.Count(c, prev) == 0 { // it came before learning began
		t.Add(c, prev, most, grow)
	}
	if l.First {
		t.Add(c, w, most, grow)
		t.AddSession(c, w, most, grow)
	}
	if l.Pair {
		if t.CountAfter(c, prev, w) == 0 {
			news++
		}
		t.AddAfter(c, prev, w, l.More, most, grow)
	}
	return news
}

// learn counts in an agent's own table, which is small: neither how many acts there were at a task, nor in which sessions
// an act came, for which Count stands in.
func (t *Table[S]) learn(c Context, prev, w Symbol, l Lesson) {
	if l.Pair && (prev == Start && !l.More || t.Count(c, prev) == 0) {
		t.AddAlone(c, prev, OwnMost)
	}
	if l.First {
		t.AddAlone(c, w, OwnMost)
	}
	if l.Pair {
		t.AddAfter(c, prev, w, l.More, OwnMost, true)
	}
}
