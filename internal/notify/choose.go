package notify

import (
	"context"
	"fmt"
	"time"

	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/people"
)

// choose returns the persons who are told of an event themselves, sorted by id: those who may answer now,
// or review, and have an address. Who was told of as many asks in the last hour as the catalog permits is
// left out; the ask waits in the inbox. An escalation goes to those who have not been told before.
func (n *Notifier) choose(ctx context.Context, d *Delivery, a *approval.Ask) (chosen []string, err error) {
	c, err := n.catalog(ctx, a.Catalog)
	if err != nil || c == nil {
		return nil, err
	}
	now := n.cfg.Now()
	most := c.AskBudget().Approver
	if d.Event == Broken { // there is one review, and it is owed
		most = 0
	}
	for _, p := range n.cfg.People.People() {
		if len(chosen) == maxPersons {
			break
		}
		if p.Disabled || p.Email == "" {
			continue
		}
		concerned, err := n.concerned(ctx, c, d.Event, a, p, now)
		if err != nil {
			return nil, err
		}
		if !concerned {
			continue
		}
		first, err := n.cfg.Store.TellPerson(ctx, p.ID, a.ID, d.Event, now, now.Add(-time.Hour), most)
		if err != nil {
			return nil, fmt.Errorf("noting whom ask %s is told: %w", a.ID, err)
		}
		if first == "" || d.Event == Escalated && first == Asked {
			continue
		}
		chosen = append(chosen, p.ID)
	}
	return chosen, nil
}

// concerned reports whether a person has something to do because of an event.
func (n *Notifier) concerned(ctx context.Context, c *catalog.Catalog, event string, a *approval.Ask, p *people.Person, now time.Time) (bool, error) {
	who := approval.Person{ID: p.ID, Claims: p.Claims, Names: p.Known()}
	switch event {
	case Asked, Escalated:
		if a.Kind == approval.CIBA && a.Person != p.ID {
			return false, nil
		}
		s, err := n.cfg.Asks.Standing(ctx, a, who)
		if err != nil {
			return false, fmt.Errorf("asking what %s may do with ask %s: %w", p.ID, a.ID, err)
		}
		return len(s.Routes) > 0 || a.Kind == approval.CIBA, nil
	case Broken:
		if a.Broken == nil || a.Broken.By == p.ID || a.Broken.By == "person:"+p.ID {
			return false, nil
		}
		open := c.Open(now)
		for _, r := range routes(a, c) {
			for _, id := range r.Approvers {
				if g, ok := c.Approvers(id); ok && g.Has(who.Ref(), who.Claims, open) {
					return true, nil
				}
			}
		}
	}
	return false, nil
}
