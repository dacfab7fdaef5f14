package approval

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// A judge says whose answer to an ask counts, and for what, at one moment.
type judge struct {
	ask     *Ask
	catalog *catalog.Catalog
	at      time.Time
	open    []string // schedules
	aways   []Away   // in which the person who answers stands in for others, sorted by them
}

// judge returns the judge of an ask for an entry of that number and time, for whom a person may stand in.
func (d *Desk) judge(ctx context.Context, a *Ask, seq int64, at time.Time, deputy string) (*judge, error) {
	c, err := d.catalogs.catalog(ctx, a.Catalog)
	if err != nil {
		return nil, err
	}
	return &judge{ask: a, catalog: c, at: at, open: c.Open(at), aways: d.standsFor(deputy, seq, at)}, nil
}

// routes returns the declared ones of those ids.
func (j *judge) routes(ids []string) (rs []*catalog.Route) {
	for _, id := range ids {
		if r, ok := j.catalog.Route(id); ok {
			rs = append(rs, r)
		}
	}
	return rs
}

// allRoutes returns the ids of the routes of all items that a filter selects, sorted.
func (a *Ask) allRoutes(want func(*Item) bool) (ids []string) {
	for i := range a.Items {
		if it := &a.Items[i]; want(it) {
			ids = append(ids, it.Routes...)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func waiting(it *Item) bool  { return it.Status == Pending }
func whatever(it *Item) bool { return true }

// in reports whether a person is in one of the groups.
func (j *judge) in(groups []string, p *Person) bool {
	return slices.ContainsFunc(groups, func(id string) bool {
		g, ok := j.catalog.Approvers(id)
		return ok && g.Has(p.Ref(), p.Claims, j.open)
	})
}

// escalated reports whether those to whom the route escalates may answer too.
func (j *judge) escalated(r *catalog.Route) bool {
	return r.After > 0 && !j.ask.Escalated.IsZero() && !j.at.Before(j.ask.AskedAt.Add(r.After))
}

// answers reports whether a person is one of those who answer by a route.
func (j *judge) answers(r *catalog.Route, p *Person) bool {
	return j.in(r.Approvers, p) || j.escalated(r) && j.in(r.Escalate, p)
}

// bare is the id of a person, or of who else an actor's name or an agent's record names.
func bare(name string) string {
	for _, kind := range [...]string{personActor, "admin:", "user:"} {
		if rest, ok := strings.CutPrefix(name, kind); ok {
			return rest
		}
	}
	return name
}

// nameClaims are claims by which records may know a person.
var nameClaims = [...]string{"email", "preferred_username", "upn"}

// is reports whether a name in a record means the person. It errs on the side of yes: who is taken for
// somebody else has to find another who answers.
func (p *Person) is(name string) bool {
	if name = bare(name); name == "" {
		return false
	}
	same := func(s string) bool { return strings.EqualFold(s, name) }
	return same(p.ID) || slices.ContainsFunc(p.Names, same) ||
		slices.ContainsFunc(nameClaims[:], func(claim string) bool { return slices.ContainsFunc(p.Claims[claim], same) })
}

// means reports whether a subject that is no agent means the person.
func (p *Person) means(r authz.Ref) bool { return r.Type != authz.AgentType && p.is(r.ID) }

// asks reports whether the ask is the person's own: submitted by it, or for it.
func (a *Ask) asks(p *Person) bool {
	return a.submits(p) || slices.ContainsFunc(a.Bound.OnBehalf, p.means)
}

// submits reports whether the person submitted the ask, or is its subject.
func (a *Ask) submits(p *Person) bool {
	person := strings.HasPrefix(a.Requester, personActor) || strings.HasPrefix(a.Requester, "admin:")
	return person && p.is(a.Requester) || p.means(a.Bound.Subject.Ref)
}

// interested reports whether the person owns or made the agent that asks, or one on whose behalf it does,
// and so does not decide alone.
func (a *Ask) interested(p *Person) bool {
	return p.is(a.Owner) || p.is(a.Creator) || slices.ContainsFunc(a.Owners, p.is)
}

// namesOf returns those names of the person by which the ask knows somebody: no others need be recorded.
func (a *Ask) namesOf(p *Person) (names []string) {
	all := slices.Clone(p.Names)
	for _, claim := range nameClaims {
		all = append(all, p.Claims[claim]...)
	}
	for _, name := range all {
		one := &Person{ID: name}
		if name != "" && !slices.Contains(names, name) && (a.asks(one) || a.interested(one)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// selfish returns those of the routes by which a person may answer for whom the agent acts.
func (j *judge) selfish(p *Person, ids []string) (open []string) {
	if j.ask.submits(p) {
		return nil
	}
	for _, r := range j.routes(ids) {
		if r.Self {
			open = append(open, r.ID)
		}
	}
	return open
}

// A seat is what a person may say to an ask, and as whom.
type seat struct {
	yes, no []string // ids of the routes for which a yes, a no counts, sorted
	as      string   // whose deputy the person is; "" if its own
	close   bool     // whether it is that of somebody who owns or made the agent
	why     string   // why a yes counts for no route
}

// seat returns the person's seat among the routes of ids. The person's own comes before that of a deputy. A
// deputy says no by a route that demands a passkey, but not yes: the absent person has named the deputy
// without one.
func (j *judge) seat(p *Person, ids []string) seat {
	if j.ask.Kind == CIBA {
		if p.ID == j.ask.Person {
			return seat{yes: ids, no: ids}
		}
		return seat{why: "somebody else is asked"}
	}
	if j.ask.asks(p) {
		if s := j.own(p, p, j.selfish(p, ids)); len(s.no) > 0 {
			return s
		}
		return seat{why: "nobody answers what was asked by or for the same person, unless the route lets whom the agent acts for answer"}
	}
	if s := j.own(p, p, ids); len(s.no) > 0 {
		return s
	}
	var lent seat
	for i := range j.aways {
		away := &j.aways[i]
		absent := &Person{ID: away.Person, Claims: away.Claims, Names: away.Names}
		if j.ask.asks(absent) {
			continue
		}
		s := j.own(absent, p, ids)
		s.as = away.Person
		if n := len(s.yes); n > 0 {
			s.yes = slices.DeleteFunc(s.yes, func(id string) bool { r, ok := j.catalog.Route(id); return !ok || r.Passkey })
			if len(s.yes) == 0 {
				s.why = "by a route that demands a passkey nobody says yes as a deputy"
			}
		}
		if len(s.yes) > 0 {
			return s
		}
		if len(lent.no) == 0 {
			lent = s
		}
	}
	if len(lent.no) > 0 {
		return lent
	}
	return seat{why: "the routes of this ask do not lead to this person, or not now"}
}

// own returns the seat that p has by its groups, when by takes it.
func (j *judge) own(p, by *Person, ids []string) (s seat) {
	s.close = j.ask.interested(p) || j.ask.interested(by)
	for _, r := range j.routes(ids) {
		if !j.answers(r, p) {
			continue
		}
		s.no = append(s.no, r.ID)
		if r.Quorum < 2 && s.close {
			s.why = "whoever owns or made the agent does not decide alone"
			continue
		}
		s.yes = append(s.yes, r.ID)
	}
	if len(s.yes) > 0 {
		s.why = ""
	}
	return s
}

// breaks reports whether a person may break the glass for items of those routes: all must say so, and it is
// nobody who asked, or owns or made the agent.
func (j *judge) breaks(p *Person, ids []string) bool {
	rs := j.routes(ids)
	return j.ask.Kind == Access && len(rs) > 0 && len(rs) == len(ids) && !j.ask.asks(p) && !j.ask.interested(p) &&
		!slices.ContainsFunc(rs, func(r *catalog.Route) bool { return !j.in(r.BreakGlass, p) })
}

// reviews reports whether a person may review the broken glass: one of those who could have answered, or
// broken it, and neither who did nor who asked, owns or made the agent.
func (j *judge) reviews(p *Person) bool {
	b := j.ask.Broken
	if b == nil || b.Verdict != "" || b.By == personActor+p.ID || j.ask.asks(p) || j.ask.interested(p) {
		return false
	}
	return slices.ContainsFunc(j.routes(j.ask.allRoutes(whatever)), func(r *catalog.Route) bool {
		return j.in(r.Approvers, p) || j.in(r.Escalate, p) || j.in(r.BreakGlass, p)
	})
}

// said reports whether a person, or the one for whom it stands in, has said yes to an item, in whatever seat,
// and that counts.
func (a *Ask) said(item int, by, as string) bool {
	is := func(id string) bool { return id != "" && (id == by || id == as) }
	return slices.ContainsFunc(a.Answers, func(w Answer) bool {
		return w.counts() && w.about(item) && (is(strings.TrimPrefix(w.By, personActor)) || is(w.For))
	})
}

// about reports whether the answer is about an item.
func (w *Answer) about(item int) bool { return len(w.Items) == 0 || slices.Contains(w.Items, item) }

// complete reports whether enough has been said for an item: for each of its routes as many different yes
// as its quorum, among them that of a person who neither owns nor made the agent, or those of two persons.
func (j *judge) complete(item int) bool {
	it := &j.ask.Items[item]
	if j.ask.Kind == CIBA {
		return j.ask.said(item, j.ask.Person, "")
	}
	return !slices.ContainsFunc(it.Routes, func(id string) bool {
		r, ok := j.catalog.Route(id)
		return !ok || !j.gone(r, item)
	})
}

// gone reports whether a route is gone to its end for an item.
func (j *judge) gone(r *catalog.Route, item int) bool {
	all, persons, free := map[string]bool{}, map[string]bool{}, false
	for i := range j.ask.Answers {
		w := &j.ask.Answers[i]
		if !w.counts() || !w.about(item) || !slices.Contains(w.Routes, r.ID) {
			continue
		}
		seat := w.By
		if w.For != "" {
			seat = personActor + w.For
		}
		all[seat] = true
		if strings.HasPrefix(w.By, personActor) {
			persons[seat] = true
			free = free || !w.Close
		}
	}
	return len(all) >= max(r.Quorum, 1) && (len(persons) == 0 || free || len(persons) >= 2)
}

// known returns those of a person's claims by which the groups of the ask's routes know their members.
func (j *judge) known(claims map[string][]string) map[string][]string {
	var kept map[string][]string
	for _, r := range j.routes(j.ask.allRoutes(whatever)) {
		for _, id := range slices.Concat(r.Approvers, r.Escalate, r.BreakGlass) {
			g, ok := j.catalog.Approvers(id)
			if !ok {
				continue
			}
			for _, m := range g.Members {
				for claim, value := range m.Claims {
					if slices.Contains(claims[claim], value) && !slices.Contains(kept[claim], value) {
						if kept == nil {
							kept = map[string][]string{}
						}
						kept[claim] = append(kept[claim], value)
					}
				}
			}
		}
	}
	for claim := range kept {
		slices.Sort(kept[claim])
	}
	return kept
}
