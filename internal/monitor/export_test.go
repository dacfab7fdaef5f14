package monitor

import (
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

// State returns all that m has concluded, in the form in which it is kept.
func (m *Monitor) State() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.core.appendFleet(nil)
	for _, a := range m.core.sorted() {
		b = appendAgent(conduct.AppendText(b, string(a.id)), a)
	}
	return b
}

func (c *core) sorted() (all []*agent) {
	for i := range c.shards {
		for _, a := range c.shards[i].agents {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b *agent) int { return strings.Compare(string(a.id), string(b.id)) })
	return all
}

// Largest returns about how many bytes of memory the largest agent takes, and all agents together.
func (m *Monitor) Largest() (largest, sum int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.core.sorted() {
		n := a.size()
		largest, sum = max(largest, n), sum+n
	}
	return largest, sum
}

// Parts returns how many bytes the parts of all agents' states take together.
func (m *Monitor) Parts() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := map[string]int{}
	for _, a := range m.core.sorted() {
		n["trust"] += a.trust.Size()
		n["deviation"] += a.deviation.Size()
		n["escalation"] += a.escalation.Size()
		n["performance"] += a.performance.Size()
		n["compliance"] += a.compliance.Size()
		n["asking"] += a.asking.Size()
	}
	return n
}

// size returns about how many bytes of memory a takes.
func (a *agent) size() int {
	n := int(unsafe.Sizeof(*a)) + len(a.id) + a.trust.Size() + 4*cap(a.reports) + 16*cap(a.kinds) + 8*cap(a.findings)
	n += a.deviation.Size() + a.escalation.Size() + a.performance.Size() + a.compliance.Size() + a.asking.Size()
	for _, f := range a.findings {
		n += int(unsafe.Sizeof(*f)) + len(f.ID) + len(f.Sentence) + len(f.Session) + 8*cap(f.Evidence) + len(f.JudgedBy) + len(f.Why)
	}
	return n
}

// Queued returns how many findings are not written yet.
func (m *Monitor) Queued() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.queue.len()
}

// Pause begins a snapshot and gives it up, and returns how long nothing was taken in meanwhile: when it
// began, and while the first agents were put into their form.
func (m *Monitor) Pause() (cut, encode time.Duration, dirty, fleet int) {
	began := time.Now()
	m.mu.Lock()
	s := m.cut(Head{Epoch: 1})
	m.mu.Unlock()
	cut, dirty, fleet = time.Since(began), len(s.agents), len(s.head.State)
	began = time.Now()
	m.mu.Lock()
	for _, a := range s.agents[:min(chunk, len(s.agents))] {
		s.take(a)
	}
	m.mu.Unlock()
	encode = time.Since(began)
	m.mu.Lock()
	m.restore(s)
	m.mu.Unlock()
	return cut, encode, dirty, fleet
}
