package monitor

import (
	"time"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// An owner is who answers for agents. Whoever is lowered lowers where its owner's next agent starts,
// and so does one that was lowered when it was retired, or given to another owner: registering again is no
// way out.
type owner struct {
	name    string
	agents  int
	lowered map[*agent]struct{}
	left    [conduct.Classes]trust.Level // the lowest of those that are gone
	until   time.Time                    // left counts so long
}

// remembered is how long levels of agents that are gone count: by then what spoke against one fades, too.
const remembered = 90 * 24 * time.Hour

// own makes an owner answer for a.
func (c *core) own(a *agent, name string) {
	o := c.owners[name]
	if o == nil {
		o = &owner{name: name}
		c.owners[name] = o
	}
	o.agents++
	a.owner = o
}

// leave notes how low a is that its owner is about to lose.
func (c *core) leave(a *agent) {
	if !a.trust.Lowered(&c.rules.Load().conduct.Trust, c.at) {
		return
	}
	o := a.owner
	if !c.at.Before(o.until) {
		o.left = high
	}
	a.trust.Lowest(&o.left)
	o.until = c.at.Add(remembered)
}

// disown ends that a's owner answers for it.
func (c *core) disown(a *agent) {
	o := a.owner
	delete(o.lowered, a)
	a.lowered = false
	o.agents--
}

// sweep forgets, once a day, owners, retired agents, asks, journals and findings of persons that count no more.
func (c *core) sweep() {
	for name, o := range c.owners {
		if o.agents == 0 && !c.at.Before(o.until) {
			delete(c.owners, name)
		}
	}
	c.asking.Sweep(c.at)
	c.forgivePeople()
	c.journals.Sweep(c.at)
	for id, at := range c.retired {
		if c.at.UnixMicro()-at > (24 * time.Hour).Microseconds() {
			delete(c.retired, id)
		}
	}
}

// high is where nobody is lowered.
var high = [conduct.Classes]trust.Level{trust.High, trust.High, trust.High, trust.High, trust.High}

// lowest returns the lowest level, by class, of an owner's agents that are lowered.
func (c *core) lowest(o *owner) (levels [conduct.Classes]trust.Level) {
	levels = high
	if c.at.Before(o.until) {
		levels = o.left
	}
	for a := range o.lowered {
		a.trust.Lowest(&levels) // the same in any order
	}
	return levels
}

// mark notes whether a is lowered. The caller holds the lock of the shard.
func (c *core) mark(a *agent, lowered bool) {
	if lowered == a.lowered {
		return
	}
	a.lowered = lowered
	if !lowered {
		delete(a.owner.lowered, a)
		return
	}
	if a.owner.lowered == nil {
		a.owner.lowered = map[*agent]struct{}{}
	}
	a.owner.lowered[a] = struct{}{}
}
