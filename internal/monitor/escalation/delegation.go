package escalation

import (
	"fmt"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

// A grasp says in which classes an agent has had reach, or has had it through another: an edge of the
// graph of capabilities.
type grasp struct {
	key uint32
	day uint16 // of the newest act, in days since 1970
	had uint8  // classes, by bit
}

func (g grasp) id() uint32 { return g.key }

// delegates finds reach that an agent has only through another: an allowed act on behalf of one whose own
// capabilities do not cover it, while those of the acting agent do. Each edge is told once a class: that a
// helper helps is normal once it is known.
//
// Reach is low. Of a grave class, which nobody in the chain has had before, it is medium from the second in a
// day, and high from the fourth: one is how somebody set it up, several are how somebody uses it.
func (s *State) delegates(f *Fleet, a *act) {
	if !a.Allowed() || len(a.Within) == 0 {
		return
	}
	bit := uint8(1) << min(a.Class, conduct.Admin)
	today := uint16(a.now / (24 * 60 * 60))
	if a.learn && (s.own&bit == 0 || s.day != today) {
		s.own |= bit
		s.day = today
		f.learn(a.agent, s.own, today)
	}
	if len(a.Behalf) == 0 {
		return
	}
	nobody, found := true, -1
	for i := range a.Behalf {
		b := &a.Behalf[i]
		who := name(string(b.Agent))
		if len(b.Within) > 0 {
			nobody = false
			continue
		}
		edge := spread(spread(who) ^ a.agent) // one way
		if f.had(edge)&bit == 0 && found < 0 {
			found = i
		}
		nobody = nobody && f.had(who)&bit == 0
		if a.learn {
			f.learn(edge, bit, today)
		}
	}
	if found < 0 {
		return
	}
	if s.lentOn != today {
		s.lentOn, s.lent = today, 0
	}
	severity := conduct.Low
	if nobody && grave(a.Class) {
		if a.learn { // what is not learned is told again and again, and is one
			s.lent = min(s.lent+1, 100)
			f.learn(name(string(a.Behalf[found].Agent)), bit, today)
		}
		switch {
		case s.lent >= 4:
			severity = conduct.High
		case s.lent >= 2:
			severity = conduct.Medium
		}
	}
	action, _ := a.quoted()
	who := conduct.Quote(string(a.Behalf[found].Agent))
	a.say(Delegation, severity, a.Class, fmt.Sprintf("%s is done on behalf of agent %s, whose own capabilities do not cover it (class %s).", action, who, a.Class))
}

// had returns in which classes a key has had reach.
func (f *Fleet) had(key uint32) uint8 {
	if rows := f.reach.bucket(key); rows != nil {
		for i := range rows {
			if rows[i].key == key {
				return rows[i].had
			}
		}
	}
	return 0
}

// learn adds classes to those of a key. Who has not been seen for longest gives way, and is told of anew.
func (f *Fleet) learn(key uint32, had uint8, today uint16) {
	rows := f.reach.open(key)
	at := 0
	for i := range rows {
		if rows[i].key == key {
			rows[i].had |= had
			rows[i].day = max(rows[i].day, today)
			return
		}
		if rows[at].key != 0 && (rows[i].key == 0 || rows[i].day < rows[at].day) {
			at = i
		}
	}
	rows[at] = grasp{key: key, day: today, had: had}
}
