package sequence

// A Place is where an act happens.
type Place struct {
	Task uint32 // hash of what kind of task it belongs to; 0 if unknown
	Prev Symbol // what came before it
}

// Levels of contexts. They are part of what is kept: a level never changes its number.
const (
	levelAny      = iota + 1 // whatever came before
	levelPrev                // after prev
	levelTask                // in the task
	levelTaskPrev            // in the task after prev
)

// Bounds of tables, in slots.
const (
	OwnMost    = 192  // 768 bytes an agent
	SharedMost = 8192 // 64 KiB a purpose
)

// A Model is the tables that say how usual an act is, from the agent's own to that of all agents. Own may
// be nil: then its purpose speaks for it.
type Model struct {
	Own     *Own
	Purpose *Shared
	Fleet   *Shared
}

// P returns the probability that w comes next, interpolated from all agents to those of the purpose, to the
// agent itself, then from the purpose at the task to the agent at the task. The lowest level is that all symbols that are
// known are alike, and so is one that nobody knows.
func (m Model) P(at Place, w Symbol) float64 {
	any, prev := ContextOf(levelAny, 0, 0), ContextOf(levelPrev, 0, at.Prev)
	_, known := m.Fleet.Context(any)
	p := 1 / float64(known+1)
	p = m.Fleet.P(any, w, p)
	p = m.Fleet.P(prev, w, p)
	p = m.Purpose.P(any, w, p)
	p = m.Purpose.P(prev, w, p)
	if m.Own != nil {
		p = m.Own.P(prev, w, p)
	}
	if at.Task == 0 {
		return p
	}
	task, taskPrev := ContextOf(levelTask, at.Task, 0), ContextOf(levelTaskPrev, at.Task, at.Prev)
	p = m.Purpose.P(task, w, p)
	p = m.Purpose.P(taskPrev, w, p)
	if m.Own != nil {
		p = m.Own.P(task, w, p)
		p = m.Own.P(taskPrev, w, p)
	}
	return p
}

// Surprise returns how surprising w is, in bits: 0 if it had to come.
func (m Model) Surprise(at Place, w Symbol) float64 { return Bits(m.P(at, w)) }

// Absence returns how rare sessions are that have w anywhere, in bits: of the task if it is known, or else of the purpose.
// It does not mind the order of acts. Each level counts for one session of the level above it.
func (m Model) Absence(task uint32, w Symbol) float64 {
	any, start := ContextOf(levelAny, 0, 0), ContextOf(levelPrev, 0, Start)
	_, known := m.Fleet.Context(any)
	p := 1 / float64(known+1)
	p = share(m.Purpose, any, start, w, p)
	if task == 0 {
		return Bits(p)
	}
	any, start = ContextOf(levelTask, task, 0), ContextOf(levelTaskPrev, task, Start)
	p = share(m.Purpose, any, start, w, p)
	if m.Own != nil {
		p = share(m.Own, any, start, w, p)
	}
	return Bits(p)
}

func share[S interface{ uint32 | uint64 }](t *Table[S], c, start Context, w Symbol, lower float64) float64 {
	sessions, _ := t.Context(start)
	return (float64(min(t.Count(c, w), sessions)) + lower) / float64(sessions+1)
}

// Sessions returns how many sessions of a task the purpose's agents had; of all tasks if task is 0.
func (m Model) Sessions(task uint32) int {
	c := ContextOf(levelPrev, 0, Start)
	if task != 0 {
		c = ContextOf(levelTaskPrev, task, Start)
	}
	n, _ := m.Purpose.Context(c)
	return n
}

// Times returns how often the purpose's agents did w there.
func (m Model) Times(at Place, w Symbol) int {
	if at.Task != 0 {
		return m.Purpose.Count(ContextOf(levelTaskPrev, at.Task, at.Prev), w)
	}
	return m.Purpose.Count(ContextOf(levelPrev, 0, at.Prev), w)
}

// A Lesson says which tables learn of an act.
type Lesson struct {
	First  bool // w comes for the first time in its session: contexts without prev count it
	Pair   bool // it comes for the first time after prev: contexts with prev do
	Own    bool // the agent's table learns
	Shared bool // the purpose's and the fleet's do
	Grow   bool // they may also note what is new to them
}

// Learn counts w. It returns how much was new to the shared tables.
func (m Model) Learn(at Place, w Symbol, l Lesson) (news int) {
	any, prev := ContextOf(levelAny, 0, 0), ContextOf(levelPrev, 0, at.Prev)
	task, taskPrev := ContextOf(levelTask, at.Task, 0), ContextOf(levelTaskPrev, at.Task, at.Prev)
	add := func(t *Shared, c Context) {
		if t.Count(c, w) == 0 {
			news++
		}
		t.Add(c, w, SharedMost, l.Grow)
	}
	if l.Shared && l.First {
		add(m.Fleet, any)
		add(m.Purpose, any)
	}
	if l.Shared && l.Pair {
		add(m.Fleet, prev)
		add(m.Purpose, prev)
	}
	if l.Own && l.Pair && m.Own != nil {
		m.Own.Add(prev, w, OwnMost, true)
	}
	if at.Task == 0 {
		return news
	}
	if l.Shared && l.First {
		add(m.Purpose, task)
	}
	if l.Shared && l.Pair {
		add(m.Purpose, taskPrev)
	}
	if l.Own && m.Own != nil {
		if l.First {
			m.Own.Add(task, w, OwnMost, true)
		}
		if l.Pair {
			m.Own.Add(taskPrev, w, OwnMost, true)
		}
	}
	return news
}
