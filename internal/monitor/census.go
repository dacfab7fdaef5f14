package monitor

import (
	"slices"

	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// A Census counts the agents whose conduct is known.
type Census struct {
	Levels      [4]int // by the lowest level over the classes: none, low, medium, high
	Quarantined int
}

// Census counts agents by their levels as subscribers were told last.
func (m *Monitor) Census() (c Census) {
	for i := range m.core.shards {
		s := &m.core.shards[i]
		s.mu.Lock()
		for _, a := range s.agents {
			c.Levels[min(slices.Min(a.levels[:]), trust.High)]++
			if a.quarantined {
				c.Quarantined++
			}
		}
		s.mu.Unlock()
	}
	return c
}
