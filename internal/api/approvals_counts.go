package api

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
)

// soon is how little time an ask has left that is urgent.
const soon = 10 * time.Minute

// urgent reports whether an ask that waits should not wait any longer: the requester says so, nobody has answered for so
// long that others were asked, or it is over soon.
func urgent(a *approval.Ask, at time.Time) bool {
	return statusAt(a, at) == approval.Pending && (a.Emergency || !a.Escalated.IsZero() || !a.ExpiresAt.IsZero() && a.ExpiresAt.Sub(at) <= soon)
}

// AskCounts are numbers of asks that the caller may see, of those that wait and those that ended within a day.
type AskCounts struct {
	Mine     int                     `json:"mine" doc:"that wait for the answer of the person who calls; 0 for whoever answers nothing"`
	Review   int                     `json:"review" doc:"broken glass that waits for a review, by the person who calls or, for readers of all, by anybody"`
	Urgent   int                     `json:"urgent" doc:"that wait, and are an emergency, were escalated, or end within ten minutes"`
	Statuses map[approval.Status]int `json:"statuses"`
	Routes   []AskCount              `json:"routes" doc:"of those that wait, by route, most first, at most 50"`
	Agents   []AskCount              `json:"agents" doc:"likewise by agent"`
	Partial  bool                    `json:"partial" doc:"there are more than 1000: only the newest are counted"`
}

// AskCount is how many asks there are of something.
type AskCount struct {
	Name string `json:"name"`
	Asks int    `json:"asks"`
}

// countAsks counts what the caller may see.
func (s *Server) countAsks(r *http.Request, c *call, _ none) (AskCounts, error) {
	out := AskCounts{Statuses: map[approval.Status]int{}}
	f := approval.Filter{Limit: approval.MaxPage}
	p, err := c.person()
	answers := err == nil
	if answers && !c.readsAll() {
		f.Person = &p
	}
	all, err := s.Approvals.List(r.Context(), f)
	if err != nil {
		return out, err
	}
	now := s.Now()
	out.Partial = len(all) == approval.MaxPage
	routes, agents := map[string]int{}, map[string]int{}
	for _, a := range all {
		status := statusAt(a, now)
		out.Statuses[status]++
		if status != approval.Pending {
			continue
		}
		if urgent(a, now) {
			out.Urgent++
		}
		if a.Agent != "" {
			agents[string(a.Agent)]++
		}
		var ids []string
		for i := range a.Items {
			ids = append(ids, a.Items[i].Routes...)
		}
		slices.Sort(ids)
		for _, id := range slices.Compact(ids) {
			routes[id]++
		}
	}
	out.Routes, out.Agents = most(routes), most(agents)
	f.Review = true
	broken, err := s.Approvals.List(r.Context(), f)
	if err != nil {
		return out, err
	}
	out.Review = len(broken)
	if answers {
		mine, err := s.Approvals.List(r.Context(), approval.Filter{Person: &p, Mine: true, Limit: approval.MaxPage})
		if err != nil {
			return out, err
		}
		out.Mine = len(mine)
	}
	return out, nil
}

// most returns the names with the highest counts.
func most(counts map[string]int) []AskCount {
	out := []AskCount{}
	for name, n := range counts {
		out = append(out, AskCount{name, n})
	}
	slices.SortFunc(out, func(a, b AskCount) int { return cmp.Or(cmp.Compare(b.Asks, a.Asks), cmp.Compare(a.Name, b.Name)) })
	return out[:min(len(out), 50)]
}

// An AskChoice is a scope that a person may give a yes. Narrower ones may be given, too: fewer uses, an earlier end, lower amounts.
type AskChoice struct {
	Title    string         `json:"title"`
	Sentence string         `json:"sentence" doc:"what such a yes permits; of an ask of several acts, for the first of them"`
	Scope    approval.Scope `json:"scope" doc:"as an answer takes it"`
}

// choices returns the scopes that a person may choose from, the narrowest first. None for whoever may not approve, and for an
// ask for a token, which has one scope only.
func (s *Server) choices(a *approval.Ask, st *approval.Standing, lasts func(wide bool) time.Duration) []AskChoice {
	out := []AskChoice{}
	if st == nil || !st.Approve || a.Kind != approval.Access || len(a.Items) == 0 {
		return out
	}
	it := &a.Items[0]
	add := func(title string, scope approval.Scope, wide bool) {
		out = append(out, AskChoice{title, allows(a, it, scope, lasts(wide)), scope})
	}
	once := "Once, this very act"
	if len(a.Items) > 1 {
		once = "Each act once, as asked"
	}
	add(once, approval.Scope{}, false)
	m := st.Most
	wide := m
	wide.Class, wide.Arguments, wide.Amounts = false, false, nil
	again := "again, "
	if m.Uses == 0 {
		again = ""
	} else {
		add("The same again, until it ends", wide, true)
	}
	if len(m.Amounts) > 0 {
		x := wide
		x.Amounts = m.Amounts
		add("The same "+again+"up to an amount", x, true)
	}
	if m.Class {
		x := wide
		x.Class = true
		add("Any "+quoted(it.Resource.Type)+" that is no more sensitive", x, true)
		if len(m.Amounts) > 0 && !m.Arguments {
			x.Amounts = m.Amounts
			add("Any such "+quoted(it.Resource.Type)+", up to an amount", x, true)
		}
		if m.Arguments {
			x.Arguments, x.Amounts = true, nil
			add("Any such "+quoted(it.Resource.Type)+", with any arguments", x, true)
		}
	}
	return out
}

// stoppedBy returns the ids of the stops that an approval of an ask would run into.
func (s *Server) stoppedBy(a *approval.Ask) []string {
	set := s.Policies.Active()
	if set == nil {
		return nil
	}
	f := authz.Facts{}
	f.Agent, _ = s.Agents.Agent(a.Agent)
	for _, ref := range a.Bound.OnBehalf {
		if ref.Type == authz.AgentType {
			if d, err := s.Agents.Agent(authz.AgentID(ref.ID)); err == nil {
				f.Behalf = append(f.Behalf, authz.Delegator{Agent: d})
			}
		}
	}
	var ids []string
	for i := range a.Items {
		req := authz.Request{Subject: a.Bound.Subject, Action: a.Items[i].Action, Resource: a.Items[i].Resource}
		ids = append(ids, s.Stops.Holding(&f, s.Now(), func(capability string) bool { return set.Covers(capability, &req) })...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
