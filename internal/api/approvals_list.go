package api

import (
	"net/http"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/caller"
)

type listAsks struct {
	Mine    bool   `query:"mine" doc:"only those that wait for the answer of the person who calls"`
	Status  string `query:"status" doc:"only asks that have come so far: pending, approved, denied, expired, cancelled, failed, partial"`
	Agent   string `query:"agent" doc:"only asks of this agent"`
	Route   string `query:"route" doc:"only asks that go by this route"`
	Urgent  bool   `query:"urgent" doc:"only asks that wait, and are an emergency, were escalated, or end within ten minutes"`
	Session string `query:"session" doc:"only asks of this session"`
	Review  bool   `query:"review" doc:"only broken glass that waits for a review"`
	After   string `query:"after" doc:"begin after the ask of this id"`
	Limit   int    `query:"limit" doc:"at most so many, 100 by default and 1000 at most"`
}

// listAsks lists what concerns the person who calls, or everything to those who look after asks.
func (s *Server) listAsks(r *http.Request, c *call, in listAsks) (List[AskView], error) {
	list := List[AskView]{Items: []AskView{}}
	n, err := pageSize(in.Limit)
	if err != nil {
		return list, err
	}
	f := approval.Filter{Mine: in.Mine, Agent: authz.AgentID(in.Agent), Route: in.Route, Session: in.Session, Review: in.Review, After: in.After, Limit: n}
	if in.Urgent {
		f.Is = func(a *approval.Ask) bool { return urgent(a, s.Now()) }
	}
	if f.Status, err = parseAskStatus(in.Status); err != nil {
		return list, err
	}
	if p, err := c.person(); err == nil && (in.Mine || !c.readsAll()) {
		f.Person = &p
	} else if in.Mine {
		return list, invalid("mine is for persons who answer: administrators and auditors answer nothing")
	}
	asks, err := s.Approvals.List(r.Context(), f)
	if err != nil {
		return list, err
	}
	now := s.Now()
	for _, a := range asks {
		v := viewOf(a)
		v.Status = statusAt(a, now)
		list.Items = append(list.Items, v)
	}
	if len(asks) == n {
		list.Next = asks[n-1].ID
	}
	return list, nil
}

// parseAskStatus returns the status of that name, "" of none.
func parseAskStatus(s string) (approval.Status, error) {
	switch st := approval.Status(s); st {
	case "", approval.Pending, approval.Approved, approval.Denied, approval.Expired, approval.Cancelled, approval.Failed, approval.Partial:
		return st, nil
	}
	return "", invalid("unknown status %.64q: one of pending, approved, denied, expired, cancelled, failed, partial", s)
}

type askStats struct {
	Window int64 `query:"window_seconds" doc:"of how many seconds, an hour by default and a day at most"`
}

// AskStats are numbers of asks over a window. Times are in milliseconds.
type AskStats struct {
	Since    time.Time     `json:"since"`
	Until    time.Time     `json:"until"`
	Asks     int64         `json:"asks"`
	Joined   int64         `json:"joined" doc:"asks for the very same that somebody was asked already"`
	Pending  int64         `json:"pending" doc:"waiting now"`
	Approved int64         `json:"approved"`
	Denied   int64         `json:"denied"`
	Expired  int64         `json:"expired"`
	Median   int64         `json:"median_ms" doc:"from ask to end, of those that a person ended"`
	P90      int64         `json:"p90_ms"`
	Persons  []PersonStats `json:"persons" doc:"by person; a person is told of nobody else"`
}

// PersonStats are one approver's.
type PersonStats struct {
	Person     string `json:"person"`
	Answers    int64  `json:"answers"`
	Yes        int64  `json:"yes"`
	Fast       int64  `json:"fast" doc:"answers faster than the route's reading time"`
	MedianRead int64  `json:"median_read_ms" doc:"from looking to answering"`
}

func (s *Server) askStats(_ *http.Request, c *call, in askStats) (AskStats, error) {
	window := time.Hour
	if in.Window > 0 {
		window = time.Duration(min(in.Window, int64(approval.Retention/time.Second)+1)) * time.Second
	}
	if window > approval.Retention {
		return AskStats{}, invalid("window_seconds is above %d, a day", int64(approval.Retention/time.Second))
	}
	st := s.Approvals.Stats(window)
	out := AskStats{
		Since: st.Since, Until: st.Until, Asks: st.Asks, Joined: st.Joined, Pending: st.Pending, Approved: st.Approved,
		Denied: st.Denied, Expired: st.Expired, Median: st.Median.Milliseconds(), P90: st.P90.Milliseconds(), Persons: []PersonStats{},
	}
	for _, p := range st.Persons {
		if !c.readsAll() && (c.session == nil || c.session.Person.ID != p.Person) {
			continue
		}
		out.Persons = append(out.Persons, PersonStats{p.Person, p.Answers, p.Yes, p.Fast, p.MedianRead.Milliseconds()})
	}
	return out, nil
}

func (s *Server) listAways(_ *http.Request, c *call, _ none) (List[approval.Away], error) {
	list := List[approval.Away]{Items: []approval.Away{}}
	for _, a := range s.Approvals.Aways() {
		if c.readsAll() || a.Person == c.session.Person.ID || a.Deputy == c.session.Person.ID {
			list.Items = append(list.Items, shown(a))
		}
	}
	return list, nil
}

// shown is an absence without what the desk knows of the person for it.
func shown(a approval.Away) approval.Away {
	a.Claims, a.Names = nil, nil
	return a
}

type putAway struct {
	Person string    `json:"person,omitempty" doc:"who is away; the person who calls, if left out"`
	Deputy string    `json:"deputy,omitempty" doc:"who answers instead"`
	Until  time.Time `json:"until,omitzero" doc:"until when; left out, the absence is over"`
	reason
}

// maxAway is how long an absence can be.
const maxAway = 90 * 24 * time.Hour

func (s *Server) putAway(r *http.Request, c *call, in putAway) (approval.Away, error) {
	if w := in.why(); w == "" || len(w) > 1000 {
		return approval.Away{}, invalid("why is missing: say why, in 1 to 1000 characters")
	}
	if c.session != nil {
		self := c.session.Person.ID
		switch {
		case in.Person == "":
			in.Person = self
		case in.Person == self:
		case !c.who.Can(caller.Administrator):
			return approval.Away{}, authz.Errorf(authz.ErrForbidden, "a person says of nobody else that they are away")
		case in.Deputy == self:
			return approval.Away{}, authz.Errorf(authz.ErrForbidden, "nobody makes themselves the deputy of somebody else")
		}
	}
	a := approval.Away{Person: in.Person, Deputy: in.Deputy, Until: in.Until, Why: in.Why}
	now := s.Now()
	switch {
	case a.Person == "":
		return a, invalid("person is missing: who is away")
	case a.Until.IsZero() && a.Deputy != "":
		return a, invalid("until is missing: say how long the deputy answers")
	case a.Until.IsZero():
	case a.Deputy == "":
		return a, invalid("deputy is missing: who answers instead")
	case a.Deputy == a.Person:
		return a, invalid("nobody is their own deputy")
	case !a.Until.After(now) || a.Until.After(now.Add(maxAway)):
		return a, invalid("until must be in the future, at most 90 days ahead")
	}
	if s.Persons != nil {
		if err := s.lends(c, &a); err != nil {
			return a, err
		}
	}
	if c.session != nil && c.session.Person.ID == a.Person { // what the identity provider says of the person counts too
		a.Claims = c.session.Claims
	}
	if err := s.Approvals.PutAway(r.Context(), c.who.Actor(), a); err != nil {
		return a, err
	}
	for _, have := range s.Approvals.Aways() {
		if have.Person == a.Person {
			return shown(have), nil
		}
	}
	return shown(a), nil
}

// lends checks that an absence is of somebody who may answer, and lends that to somebody who may, too, and notes by what
// groups know who is away. The roles of others are those that an administrator gave: what the identity provider gives
// somebody is known only while they are signed in.
func (s *Server) lends(c *call, a *approval.Away) error {
	p, err := s.Persons.Person(a.Person)
	if err != nil {
		return err
	}
	who := approverOf(p, p.Claims)
	a.Claims, a.Names = who.Claims, who.Names
	if a.Deputy == "" {
		return nil
	}
	self := c.session != nil && c.session.Person.ID == a.Person && c.who.Can(caller.Approver)
	if !self && !p.Answers() {
		return invalid("the person %.64q may not answer: there is nothing to answer instead", a.Person)
	}
	deputy, err := s.Persons.Person(a.Deputy)
	if err == nil && !deputy.Answers() {
		err = invalid("the person %.64q may not answer, and so not instead of anybody: a deputy has the role approver, and is not disabled", a.Deputy)
	}
	return err
}
