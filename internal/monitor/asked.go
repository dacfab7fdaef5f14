package monitor

import (
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/asking"
)

// asked takes in an entry about asking persons. What it cannot read it leaves to the desk to complain of.
func (c *core) asked(e *audit.Entry) {
	r := c.rules.Load()
	k := &r.conduct.Asking
	switch e.Kind {
	case audit.ApprovalAsked:
		ask := c.asking.Asked(r.routes, c.classOf, e.Seq, e.At, e.Body)
		if ask == nil {
			return
		}
		c.concerns(ask, func(a *agent) {
			a.asking.Asked(k, ask, !a.trust.Lowered(&r.conduct.Trust, e.At), c.emit)
		})
	case audit.ApprovalViewed:
		c.asking.Viewed(e.At, e.Actor, e.Body)
	case audit.ApprovalAnswer:
		an, ok := c.asking.Answered(k, e.Seq, e.At, e.Actor, e.Body, c.accuse)
		if !ok {
			return
		}
		c.concerns(an.Ask, func(a *agent) { a.asking.Answered(k, &an, c.emit) })
	case audit.ApprovalMoved:
		c.asking.Moved(e.Body)
	case audit.ApprovalReview:
		c.asking.Reviewed(e.Actor, e.Body)
	}
}

// concerns lets f look at the agent that asks, if anything is known of it, and concludes.
func (c *core) concerns(ask *asking.Ask, f func(*agent)) {
	a := c.agent(ask.Agent)
	if a == nil {
		return
	}
	c.change(a, func() {
		f(a)
		if len(c.drafts) > 0 && c.conclude(a, ask.Session) {
			c.review(a)
		}
		c.settle(a)
	})
}

// classOf returns the class of an action, as far as it is known: else it is more than reading.
func (c *core) classOf(action string) conduct.Class {
	if class, ok := c.classes[conduct.Hash(action)]; ok {
		return class
	}
	return conduct.Write
}
