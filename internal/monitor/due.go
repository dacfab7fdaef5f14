package monitor

import (
	"container/heap"
	"slices"
	"strings"
)

// A timetable knows which agent must be looked at next: a heap by time, and by id where times are the same,
// so that the order is one of the log's and not of ours.
type timetable struct{ agents []*agent }

// maxTicks is how many agents are looked at by one entry. What is left is by the next.
const maxTicks = 256

func (t *timetable) Len() int           { return len(t.agents) }
func (t *timetable) Less(i, j int) bool { return earlier(t.agents[i], t.agents[j]) < 0 }
func (t *timetable) Swap(i, j int) {
	t.agents[i], t.agents[j] = t.agents[j], t.agents[i]
	t.agents[i].place, t.agents[j].place = int32(i), int32(j)
}
func (t *timetable) Push(x any) {
	a := x.(*agent)
	a.place = int32(len(t.agents))
	t.agents = append(t.agents, a)
}
func (t *timetable) Pop() any {
	n := len(t.agents) - 1
	a := t.agents[n]
	t.agents[n] = nil
	t.agents, a.place = t.agents[:n], -1
	return a
}

func earlier(a, b *agent) int {
	switch {
	case a.due < b.due:
		return -1
	case a.due > b.due:
		return 1
	}
	return strings.Compare(string(a.id), string(b.id))
}

// put gives a the place that its due time asks for.
func (t *timetable) put(a *agent) {
	switch {
	case a.due == 0:
		t.remove(a)
	case a.place < 0:
		heap.Push(t, a)
	default:
		heap.Fix(t, int(a.place))
	}
}

func (t *timetable) remove(a *agent) {
	if a.place >= 0 {
		heap.Remove(t, int(a.place))
	}
}

// sort orders all anew after many have changed.
func (t *timetable) sort() {
	slices.SortFunc(t.agents, earlier)
	for i, a := range t.agents {
		a.place = int32(i)
	}
}

// ticks looks at the agents whose time has come by the present entry, as many as one entry may. Each is
// looked at once: if it must be again, it is by a later entry.
func (c *core) ticks() {
	now := c.at.UnixMicro()
	var late []*agent
	for range maxTicks {
		if len(c.due.agents) == 0 || c.due.agents[0].due > now {
			break
		}
		a := c.due.agents[0]
		c.change(a, func() { c.tick(a) })
		if a.due != 0 && a.due <= now {
			c.due.remove(a)
			late = append(late, a)
		}
	}
	for _, a := range late {
		c.due.put(a)
	}
}

// tick looks at an agent whose time has come.
func (c *core) tick(a *agent) {
	k := &c.rules.Load().conduct
	a.compliance.Tick(&c.compliance, &k.Compliance, c.at, c.emit) // also while it is off: then it drops what is due
	c.fade(a)
	c.conclude(a, "")
	c.review(a)
	c.chart(a)
	c.settle(a)
}
