package escalation

import (
	"fmt"
	"slices"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// A denial is something that an agent was refused, for all agents to be compared with. All but seq, at and
// class are hashes of names, 0 where there is none.
type denial struct {
	resource, action              uint32
	agent, owner, session, behalf uint32 // behalf: for whom it acted, the nearest
	at                            uint32
	seq                           number
	class                         conduct.Class
}

func (d denial) id() uint32 { return d.resource }

// away counts what an agent tried that was denied elsewhere.
type away struct {
	things [3]uint32 // that were counted, oldest first
	at     uint32    // of the newest
	points uint8
}

// Points of trying what was denied elsewhere. In one session, or on behalf of the other agent, the same act
// tells at once, another act on the same resource when there are two; agents that have nothing but the owner in
// common (and may each know nothing of the other) tell by three things.
const (
	awaySame, awayOther, awayOwner       = 3, 2, 1
	awayLow, awayMedium, awayHigh  uint8 = 3, 6, 9
)

// triesElsewhere finds what was denied here and is tried elsewhere: by another agent in the same session,
// on behalf of each other, or of the same owner; or by the same agent on behalf of somebody else.
//
// It is low at first: a helper that is asked when one's own means fail is how agents are often built. It is
// medium if it goes through, the same act and of a grave class, or if there are two such things, and high for
// three of a grave class.
func (s *State) triesElsewhere(f *Fleet, a *act) {
	mine := denial{resource: a.resource, agent: a.agent, session: a.session, at: a.now, class: a.Class}
	rows := f.denied.bucket(a.resource)
	known := rows != nil && slices.ContainsFunc(rows[:], func(d denial) bool { return d.resource == a.resource })
	if !known && !a.reaching {
		return
	}
	mine.action, mine.owner = name(a.Action), name(a.Owner)
	if len(a.OnBehalf) > 0 {
		mine.behalf = name(a.OnBehalf[0].ID)
	}
	if known && (a.Allowed() || a.reaching) {
		if d, points := s.denied(rows, a, &mine); points > 0 {
			s.blame(a, d, points)
		}
	}
	if !a.reaching {
		return
	}
	mine.seq = pack(a.Seq)
	rows = f.denied.open(a.resource)
	i := slices.IndexFunc(rows[:], func(d denial) bool {
		return d.resource == mine.resource && d.action == mine.action && d.agent == mine.agent && d.session == mine.session && d.behalf == mine.behalf
	})
	if i < 0 {
		i = place(rows, a.since, func(d *denial) uint32 { return d.agent }, func(d *denial) uint32 { return d.at })
	}
	rows[i] = mine
}

// denied returns the denial that tells most of what the agent does now, and how much.
func (s *State) denied(rows *[ways]denial, a *act, mine *denial) (best denial, points uint8) {
	for i := range rows {
		d := &rows[i]
		if d.resource != mine.resource || d.at < a.since {
			continue
		}
		same := d.action == mine.action
		if !same && (a.Class < d.class || a.Class == conduct.Read) {
			continue // less than what was denied
		}
		var p uint8
		session := d.session != 0 && d.session == mine.session
		switch {
		case d.agent == mine.agent:
			if same && d.behalf != mine.behalf && (session || d.behalf == 0) {
				p = awaySame
			}
		case session, d.behalf == mine.agent, a.actsFor(d.agent):
			if p = awayOther; same {
				p = awaySame
			}
		case d.owner != 0 && d.owner == mine.owner && same:
			p = awayOwner
		}
		if p > points || p == points && p > 0 && d.seq.seq() > best.seq.seq() {
			best, points = *d, p
		}
	}
	return best, points
}

// actsFor reports whether the act is on behalf of an agent.
func (a *act) actsFor(agent uint32) bool {
	return slices.ContainsFunc(a.OnBehalf, func(r authz.Ref) bool { return r.Type == authz.AgentType && name(r.ID) == agent })
}

// blame counts a thing once, and says so from awayLow points on.
func (s *State) blame(a *act, d denial, points uint8) {
	w := &s.away
	if w.at < a.since {
		*w = away{}
	}
	if slices.Contains(w.things[:], a.thing) {
		return
	}
	copy(w.things[:], w.things[1:])
	w.things[len(w.things)-1] = a.thing
	w.points, w.at = min(w.points+points, 100), a.now
	if w.points < awayLow {
		return
	}
	severity := conduct.Low
	switch same := points == awaySame; {
	case w.points >= awayHigh && grave(a.Class):
		severity = conduct.High
	case w.points >= awayMedium, same && a.Allowed() && grave(a.Class):
		severity = conduct.Medium
	}
	action, resource := a.quoted()
	by := "another agent"
	if d.agent == a.agent {
		by = "the same agent, for somebody else,"
	}
	how := "tried"
	if a.Allowed() {
		how = "done"
	}
	a.say(Elsewhere, severity, a.Class, fmt.Sprintf("%s on %s is %s after %s was denied it %d s before.", action, resource, how, by, a.now-min(a.now, d.at)), d.seq.seq())
}
