package approval

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// A Filter selects asks.
type Filter struct {
	Person  *Person // only those that the person may answer, or has answered
	Mine    bool    // with Person: only those that wait for the person's answer
	Status  Status
	Agent   authz.AgentID
	Route   string // of any of its acts
	Session string
	Is      func(*Ask) bool // nil selects all
	Review  bool            // only broken glass that waits for a review; with Person, for one that the person may give
	After   string          // id of the last ask of the page before
	Limit   int             // 1..1000
}

// MaxPage is how many asks List returns at most.
const MaxPage = 1000

// List returns asks that are pending or retained, newest first. authz.ErrInvalid: the ask to go on from is
// not among them any more, or the limit is none. For a person, asks whose catalog cannot be read are left
// out: who may answer them, nobody knows.
func (d *Desk) List(ctx context.Context, f Filter) ([]*Ask, error) {
	if f.Limit < 1 || f.Limit > MaxPage {
		return nil, authz.Errorf(authz.ErrInvalid, "a page has 1 to %d asks", MaxPage)
	}
	before := int64(math.MaxInt64)
	if f.After != "" {
		last := d.record(f.After)
		if last == nil {
			return nil, authz.Errorf(authz.ErrInvalid, "there is no ask %.64q to go on from", f.After)
		}
		before = last.ask.Seq
	}
	now := d.cfg.Now()
	look := d.glance(ctx, &f)
	page := []*Ask{}
	for {
		some := d.before(before, &f, stride)
		if len(some) == 0 {
			return page, nil
		}
		before = some[len(some)-1].ask.Seq
		for _, r := range some {
			a := r.ask
			if f.Agent != "" && a.Agent != f.Agent || f.Session != "" && a.Session != f.Session || !a.retained(now) {
				continue
			}
			if f.Review && (a.Broken == nil || a.Broken.Verdict != "") || f.Person != nil && !look(r) {
				continue
			}
			if f.Route != "" && !slices.ContainsFunc(a.Items, func(it Item) bool { return slices.Contains(it.Routes, f.Route) }) {
				continue
			}
			if a = a.at(now); f.Status != "" && a.Status != f.Status || f.Is != nil && !f.Is(a) {
				continue
			}
			if f.Person != nil {
				s, err := d.Standing(ctx, a, *f.Person)
				if unreadable(err) {
					continue
				} else if err != nil {
					return nil, err
				}
				switch {
				case f.Review && !s.Review,
					f.Mine && !f.Review && len(s.Routes) == 0 && !s.Refuse,
					!f.Mine && !f.Review && !s.any() && !a.took(f.Person.ID):
					continue
				}
			}
			if page = append(page, a); len(page) == f.Limit {
				return page, nil
			}
		}
	}
}

// stride is how many asks List looks at before it lets others at them.
const stride = 1024

// glance returns what reports, sooner than Standing, that an ask is nothing to the person of a filter. Most
// asks of a large installation are none of a person's business, and what leads to a person are groups: it
// looks once for all asks of the same routes.
func (d *Desk) glance(ctx context.Context, f *Filter) func(*record) bool {
	if f.Person == nil {
		return nil
	}
	p := f.Person
	whose := []*Person{p}
	for _, away := range d.standsFor(p.ID, math.MaxInt64, d.cfg.Now()) {
		whose = append(whose, &Person{ID: away.Person, Claims: away.Claims, Names: away.Names})
	}
	type way struct {
		version int64
		route   string
		further bool
	}
	leads := map[way]bool{}
	mine := f.Mine && !f.Review
	leading := func(w way) bool {
		yes, known := leads[w]
		if !known {
			c, err := d.catalogs.catalog(ctx, w.version)
			yes = err != nil && !unreadable(err) || err == nil && leadsTo(c, w.route, whose, w.further, !mine)
			leads[w] = yes
		}
		return yes
	}
	return func(r *record) bool {
		a := r.ask
		switch {
		case r.unread:
			return false
		case a.Status != Pending && (a.Broken == nil || a.Broken.Verdict != ""):
			return !f.Mine && a.took(p.ID)
		case a.Kind == CIBA:
			return a.Person == p.ID || a.took(p.ID)
		case !f.Mine && a.took(p.ID):
			return true
		}
		further := !a.Escalated.IsZero() || a.Broken != nil
		for i := range a.Items {
			for _, id := range a.Items[i].Routes {
				if leading(way{a.Catalog, id, further}) {
					return true
				}
			}
		}
		return false
	}
}

// leadsTo reports whether a route may lead to one of the persons, at whatever hour: as those who answer, with
// further those to whom it escalates, and with alone those who break the glass.
func leadsTo(c *catalog.Catalog, route string, whose []*Person, further, alone bool) bool {
	r, ok := c.Route(route)
	if !ok {
		return false
	}
	ids := slices.Clone(r.Approvers)
	if further {
		ids = append(ids, r.Escalate...)
	}
	if alone {
		ids = append(ids, r.BreakGlass...)
	}
	return slices.ContainsFunc(ids, func(id string) bool {
		g, ok := c.Approvers(id)
		if !ok {
			return false
		}
		var open []string
		for i := range g.Members {
			open = append(open, g.Members[i].During)
		}
		return slices.ContainsFunc(whose, func(p *Person) bool { return g.Has(p.Ref(), p.Claims, open) })
	})
}

// took reports whether the person has answered or reviewed the ask.
func (a *Ask) took(id string) bool {
	is := func(actor string) bool {
		rest, ok := strings.CutPrefix(actor, personActor)
		return ok && rest == id
	}
	for i := range a.Answers {
		if w := &a.Answers[i]; w.For == id || is(w.By) {
			return true
		}
	}
	return a.Broken != nil && is(a.Broken.Reviewer)
}

// Similar returns up to limit ended asks of the same agent, action and type of resource, newest first. It
// looks at the newest of that agent, at most 500.
func (d *Desk) Similar(ctx context.Context, a *Ask, limit int) ([]*Ask, error) {
	const depth = 500
	ended, err := d.cfg.Store.EndedAsks(ctx, a.Agent, a.Seq, depth)
	if err != nil {
		return nil, fmt.Errorf("finding similar asks: %w", err)
	}
	found := []*Ask{}
	for i := range ended {
		b := &ended[i]
		like := b.Kind == a.Kind && b.ID != a.ID && slices.ContainsFunc(b.Items, func(x Item) bool {
			return slices.ContainsFunc(a.Items, func(y Item) bool { return x.Action.Name == y.Action.Name && x.Resource.Type == y.Resource.Type })
		})
		if like && (a.Agent != "" || b.Bound.Subject.Ref == a.Bound.Subject.Ref) {
			if found = append(found, b); len(found) >= limit {
				break
			}
		}
	}
	return found, nil
}

// A Standing says whether a person may answer an ask, and for which of its routes.
type Standing struct {
	Approve    bool     `json:"approve"`       // whether the person's yes would count
	Routes     []string `json:"routes"`        // for which it would; none of an ask for a token
	Refuse     bool     `json:"refuse"`        // whether the person's no would count
	For        string   `json:"for,omitempty"` // as deputy of
	BreakGlass bool     `json:"break_glass"`   // may approve alone, with a reason
	Review     bool     `json:"review"`        // may say whether breaking the glass was justified
	Passkey    bool     `json:"passkey"`       // a yes needs a passkey assertion
	Why        string   `json:"why,omitempty"` // why the person's yes would not count
	Most       Scope    `json:"most"`          // the widest scope that the person may choose
}

// any reports whether the person may do anything.
func (s *Standing) any() bool { return len(s.Routes) > 0 || s.Refuse || s.BreakGlass || s.Review }

// Standing returns what the person may do with an ask now.
func (d *Desk) Standing(ctx context.Context, a *Ask, p Person) (Standing, error) {
	now := d.cfg.Now()
	a = a.at(now)
	j, err := d.judge(ctx, a, 1<<63-1, now, p.ID)
	if err != nil {
		return Standing{}, err
	}
	s := Standing{Routes: []string{}, Review: j.reviews(&p)}
	if a.Status != Pending {
		s.Why = "the ask has ended"
		return s, nil
	}
	ids := a.allRoutes(waiting)
	seat := j.seat(&p, ids)
	s.Why, s.For = seat.why, seat.as
	alone := a.Kind == CIBA && a.Person == p.ID
	s.Refuse = len(seat.no) > 0 || alone
	items := j.unsaid(seat.yes, p.ID, seat.as)
	if len(seat.yes) > 0 || alone {
		if len(items) == 0 {
			s.Why = "this person, or whom it stands in for, has said yes already"
		} else {
			s.Approve = true
			s.Routes = append(s.Routes, seat.yes...)
		}
	}
	s.BreakGlass = j.breaks(&p, ids)
	s.Passkey = a.Passkey || slices.ContainsFunc(j.routes(ids), func(r *catalog.Route) bool {
		return r.Passkey && (s.BreakGlass || slices.Contains(seat.yes, r.ID))
	})
	if a.Kind == Access && len(s.Routes) > 0 {
		s.Most = j.most(items)
	}
	return s, nil
}

// unsaid returns the pending items for which a yes by the routes would count.
func (j *judge) unsaid(ids []string, by, as string) (items []int) {
	for i := range j.ask.Items {
		it := &j.ask.Items[i]
		mine := j.ask.Kind == CIBA || slices.ContainsFunc(it.Routes, func(id string) bool { return slices.Contains(ids, id) })
		if it.Status == Pending && mine && !j.ask.said(i, by, as) {
			items = append(items, i)
		}
	}
	return items
}

// most returns the widest scope that can be chosen for all of the items at once.
func (j *judge) most(items []int) Scope {
	var rs []*catalog.Route
	for _, i := range items {
		rs = append(rs, j.routes(j.ask.Items[i].Routes)...)
	}
	m := most(rs)
	for name := range m.Amounts {
		for _, i := range items {
			if v, ok := members(j.ask.Items[i].Action.Properties)[name]; !ok || !catalog.AtMost(v, m.Amounts[name]) {
				m.Amounts = without(m.Amounts, name)
				break
			}
		}
	}
	m.Until = j.at.Add(lasts(rs, m)).UTC()
	if u := j.ask.RequestedUntil; !u.IsZero() && u.Before(m.Until) {
		m.Until = u
	}
	return m
}

// without returns a copy of m that lacks a name, nil if nothing is left.
func without(m map[string]string, name string) map[string]string {
	var rest map[string]string
	for k, v := range m {
		if k != name {
			if rest == nil {
				rest = map[string]string{}
			}
			rest[k] = v
		}
	}
	return rest
}
