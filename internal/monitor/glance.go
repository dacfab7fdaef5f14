package monitor

import (
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// A Glance is what a list shows of an agent's conduct.
type Glance struct {
	Level       trust.Level // the lowest over the classes, as subscribers were told last
	Lowered     bool        // it is below where it was, and on probation
	Quarantined bool
	Open        int   // findings that are open
	Gravest     int64 // of them, as authz.Conduct has it: 1 low to 4 critical; 0 if there are none
}

// Glance returns what a list shows of an agent at a time, and whether anything is known of it. It works out no score:
// it is for who looks at very many.
func (m *Monitor) Glance(id authz.AgentID, at time.Time) (g Glance, known bool) {
	known = m.look(id, func(a *agent, _ *rules) {
		g = Glance{Level: slices.Min(a.levels[:]), Lowered: a.lowered, Quarantined: a.quarantined}
		for _, f := range a.findings {
			if end := m.core.end(f); f.State != conduct.Dismissed && (end == 0 || end > at.UnixMicro()) {
				g.Open++
				g.Gravest = max(g.Gravest, int64(f.Severity)+1)
			}
		}
	})
	return g, known
}
