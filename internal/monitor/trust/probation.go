package trust

import (
	"time"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// rise takes an agent one level up in a class if it may: it has been long enough where it is, its score enters the
// next level, and, if it was lowered, it has shown canary acts of several sessions since.
//
// It is asked when something has spoken for the agent and at no other time, so that nobody rises by waiting. An
// agent that was never lowered needs no canary acts, since nothing has to be disproved; but it needs the
// dwell, so that high is never reached in a rush.
func (s *State) rise(r *catalog.TrustRules, c conduct.Class, m uint32) {
	l, k := s.ladder[c], &s.class[c]
	if l.level() == High || m < k.since+dwell(r, l.level()) {
		return
	}
	if l.lowered() && (int(k.canary) < r.Canary || k.sessions() < canarySessions(r)) {
		return
	}
	if s.score(r, c, m) < r.Enter[l.level()] {
		return
	}
	up := l.level() + 1
	if l.lowered() && up < l.was() {
		s.ladder[c] = step(up, l.was(), l.falls())
	} else {
		s.ladder[c] = step(up, up, 0)
		s.forgive(c)
	}
	k.since = m
	s.again(c)
	s.until = 0
}

// probation counts a clean act in a class as a canary act, wherever the agent was lowered: in the class itself, and,
// below medium, in every graver one. For below medium policies may leave an agent nothing to do in a class, and
// whoever may not act could never show that it acts well. That is enough to be asked about again, at
// medium; high is regained in the class itself. What the act says for the agent it says in its own class alone.
func (s *State) probation(r *catalog.TrustRules, c conduct.Class, session uint64, m uint32) {
	for k := c; k < conduct.Classes; k++ {
		if l := s.ladder[k]; l.lowered() && (k == c || l.level() < Medium) {
			s.class[k].canaried(session)
			s.rise(r, k, m)
		}
	}
}

// disturb begins probation anew: something of weight spoke against the agent.
func (s *State) disturb(c conduct.Class, m uint32) {
	if s.ladder[c].lowered() {
		s.class[c].since = m
		s.again(c)
	}
}

// dwell returns how many minutes an agent stays at a level at least.
func dwell(r *catalog.TrustRules, l Level) uint32 {
	return minutes([...]time.Duration{None: r.DwellNone, Low: r.DwellLow, Medium: r.DwellMedium, High: 0}[l])
}

func canarySessions(r *catalog.TrustRules) int { return min(r.CanarySessions, maxSessions) }
