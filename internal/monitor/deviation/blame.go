package deviation

import (
	"fmt"
	"slices"

	"github.com/safeconduct/safeconduct/internal/conduct"
)

// tellWithin is for how many minutes an alarm waits for an agent to be told of. A finding is about an agent and made
// when it acts: who does not act has nothing to lose yet.
const tellWithin = 60

// A contender is one of those that did most in a minute.
type contender struct {
	agent   uint64 // hash; 0 if there is none
	n       uint16 // its acts in the minute; at most 65,535
	classes [conduct.Classes]uint16
	newest  [conduct.MaxEvidence - 1]int64 // numbers of its newest entries, since it is one of them, oldest first
}

// contenders are those that did most. How many acts an agent does in a minute is known of each agent, so that the
// first is exactly the one that did most; the others are there in case it does not come back.
type contenders [4]contender

// add notes an act of an agent, its nth of the minute.
func (c *contenders) add(agent uint64, n uint16, ev *conduct.Event) {
	least := 0
	for i := range c {
		if c[i].agent == agent {
			c[i].note(n, ev)
			return
		}
		if c[i].n < c[least].n {
			least = i
		}
	}
	if n > c[least].n {
		c[least] = contender{agent: agent}
		c[least].note(n, ev)
	}
}

func (c *contender) note(n uint16, ev *conduct.Event) {
	c.n = n
	k := &c.classes[min(ev.Class, conduct.Admin)]
	*k = max(*k, *k+1) // stays at the most
	copy(c.newest[:], c.newest[1:])
	c.newest[len(c.newest)-1] = ev.Seq
}

// class returns the class of most of the acts, or Every.
func (c *contender) class() conduct.Class {
	all, most := 0, 0
	for i, n := range c.classes {
		all += int(n)
		if n > c.classes[most] {
			most = i
		}
	}
	if 2*int(c.classes[most]) > all {
		return conduct.Class(most)
	}
	return conduct.Every
}

// An alarm is a minute that was a surge and that some agent is yet to be told of.
type alarm struct {
	minute         uint32 // since 1970; 0 if there is none
	acts, refused  uint32
	usual, usually float32 // acts a minute that were usual, and the share of refused ones
	rate, share    bool    // which of them surged
	who            contenders
}

func (a *alarm) severity() conduct.Severity {
	if a.rate && a.share {
		return conduct.Medium
	}
	return conduct.Low
}

// raise makes b the alarm, unless another one waits that is as grave: or identities that change every minute would
// never be told of.
func (a *alarm) raise(b *alarm) {
	if a.minute != 0 && b.minute-a.minute <= tellWithin && b.severity() <= a.severity() {
		return
	}
	slices.SortStableFunc(b.who[:], func(x, y contender) int { return int(y.n) - int(x.n) })
	*a = *b
}

// tell emits a finding if the event is of the agent that did most; from a minute later on also if it is one of the next
// three. It waits until so many minutes after the alarm.
func (a *alarm) tell(purpose string, ev *conduct.Event, agent uint64, now, wait uint32, emit func(conduct.Draft)) {
	if now-a.minute > tellWithin {
		a.minute = 0
		return
	}
	i := slices.IndexFunc(a.who[:], func(c contender) bool { return c.agent == agent && c.n > 0 })
	if i < 0 || now < a.minute+wait || i > 0 && now < a.minute+wait+1 {
		return
	}
	c := &a.who[i]
	d := conduct.Draft{Kind: Surge, Severity: a.severity(), Class: c.class(), Sentence: a.sentence(purpose, c)}
	for _, seq := range c.newest {
		if seq != 0 {
			d.Evidence = append(d.Evidence, seq)
		}
	}
	d.Evidence = append(d.Evidence, ev.Seq)
	a.minute = 0
	emit(d)
}

func (a *alarm) sentence(purpose string, c *contender) string {
	did := fmt.Sprintf("Agents of %s asked for %d acts within a minute, where %.0f are usual", purpose, a.acts, a.usual)
	share := fmt.Sprintf("where it is %.1f%% as a rule; this one %d", 100*a.usually, c.n)
	switch {
	case !a.share:
		return fmt.Sprintf("%s; this one for %d of them.", did, c.n)
	case !a.rate:
		return fmt.Sprintf("Agents of %s were refused %d of %d acts within a minute, %s of them.", purpose, a.refused, a.acts, share)
	}
	return fmt.Sprintf("%s, and were refused %d of them, %s times.", did, a.refused, share)
}
