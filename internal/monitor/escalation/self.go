package escalation

import (
	"fmt"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// self counts an agent's attempts on what rules over agents.
type self struct {
	first  number // of the first attempt
	points uint8
	at     [2]uint16 // of the newest
}

// Points of attempts on policies, grants or the registry. A single one is low, and so is asking for the
// same again a few times: it may have been curious, or ill instructed. Two different ones, or five times the
// same, are medium; three different ones, or two that go through on its own record, are high.
const (
	selfFresh, selfAgain, selfThrough, selfOwn = 4, 1, 4, 6
	selfMedium, selfHigh                       = 8, 12
)

// meddles finds attempts on the agent's own policies, grants or record, and reports whether this is one.
// Reading them where that is allowed is none.
func (s *State) meddles(a *act, fresh bool) bool {
	own := a.Resource.ID == string(a.Agent)
	ruler := protected(a.rules, a.Resource.Type)
	if !ruler && !(own && (a.Class == conduct.Admin || strings.EqualFold(a.Resource.Type, authz.AgentType))) {
		return false
	}
	through := a.Allowed() && a.Class != conduct.Read
	if !a.reaching && !through {
		return false
	}
	t := &s.self
	if whole(t.at) < a.since {
		*t = self{}
	}
	points := uint8(selfAgain)
	switch {
	case through && own:
		points = selfOwn
	case through:
		points = selfThrough
	case fresh:
		points = selfFresh
	}
	var evidence []int64
	if t.points > 0 {
		evidence = append(evidence, t.first.seq())
	} else {
		t.first = pack(a.Seq)
	}
	t.points = min(t.points+points, 100)
	t.at = halves(a.now)
	severity := conduct.Low
	switch {
	case t.points >= selfHigh:
		severity = conduct.High
	case t.points >= selfMedium:
		severity = conduct.Medium
	}
	action, resource := a.quoted()
	what := "tried"
	if through {
		what = "did"
	}
	whose := "which rules over agents"
	if own {
		whose = "its own record"
	}
	a.say(Self, severity, conduct.Every, fmt.Sprintf("The agent %s %s on %s, %s.", what, action, resource, whose), evidence...)
	return true
}
