package catalog

import (
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A Route is a way to an approval: who decides an ask, by how many of them, and how far they may go.
// Policies name it by @approvers; one that a policy does not name goes by the default route.
type Route struct {
	ID    string
	Title string // the ID by default

	Approvers []string // groups; each person in one of them may answer
	Quorum    int      // how many different persons must say yes; 1 by default
	Self      bool     // whether the person for whom an agent acts may answer, too; never who submitted the ask
	Passkey   bool     // whether each yes needs a fresh passkey assertion over the act

	Escalate []string      // groups that may answer as well once nobody has answered for EscalateAfter
	After    time.Duration // silence after which Escalate is asked; 0: never
	Pending  time.Duration // how long an ask waits for an answer; then it has expired, which is a refusal. 1 hour by default
	Lasts    time.Duration // how long an approval of one act holds at most; 15 minutes by default

	// How far an approver may go beyond one use of the very act. Zero values permit nothing beyond.
	Uses      int64             // most uses; -1: as many as there are until it ends
	Class     bool              // any resource of the same type and data class
	ClassFor  time.Duration     // how long an approval of a class or of more than one use holds at most; Lasts by default
	Amounts   map[string]string // argument -> largest value up to which one may approve, a decimal as text
	Arguments bool              // any arguments (only with Class)

	Evaluator  string        // id of an external evaluator (in the server's configuration) that is asked first; "" for none
	BreakGlass []string      // groups whose members may approve alone, at once, with a reason and a review afterwards
	Review     time.Duration // within which another person must review a broken glass; 24 hours by default

	Notify  []string      // ids of channels (in the server's configuration) that are told
	Reading time.Duration // an answer faster than this after viewing is suspicious; 3 seconds by default
}

// AskBudget bounds how much is asked of persons. 0 is no bound.
type AskBudget struct {
	Session  int64 // asks of one session; 20 by default
	Hour     int64 // asks of one agent in an hour; 60 by default
	Pending  int64 // asks of one agent that wait for an answer; 30 by default
	Approver int64 // asks that one person is told of in an hour; beyond, others of the group are told, and the rest waits in the inbox; 30 by default
}

// DefaultAskBudget is that of a catalog that says nothing of asking.
func DefaultAskBudget() AskBudget { return AskBudget{Session: 20, Hour: 60, Pending: 30, Approver: 30} }

// An Assurance is a level of authentication that policies can demand by @remedy("step_up") and
// @assurance. It is reached by an authentication that meets all that is declared.
type Assurance struct {
	ID      string
	Title   string        // the ID by default
	ACR     string        // acr_value of the step-up obligation, and of tokens that reach it
	AMR     []string      // amr_values: methods that must all have been used
	Methods []string      // one of them must be how the agent authenticated as a client; none: any
	Bound   []string      // one of them must be how the token is bound: dpop, mtls; none: any
	Person  bool          // whether a person must have authenticated, not the agent, and by what is known
	MaxAge  time.Duration // how old the authentication may be; 0: as old as the token
}

// Route returns the approval route of that id.
func (c *Catalog) Route(id string) (*Route, bool) {
	r, ok := c.routes[id]
	return r, ok
}

// DefaultRoute returns the id of the route that policies mean which name none, "" if there is none.
func (c *Catalog) DefaultRoute() string { return c.defaultRoute }

// Routes returns the declared routes, sorted by id.
func (c *Catalog) Routes() []*Route {
	return sorted(c.routes, func(r *Route) string { return r.ID })
}

// AskBudget returns the bounds of asking.
func (c *Catalog) AskBudget() AskBudget { return c.asks }

// Volatile returns the names of the members of a request's context that do not belong to what a person
// approves, because they change from one moment to the next: time and confidence by default. Sorted.
func (c *Catalog) Volatile() []string { return c.volatile }

// Assurance returns the level of that id.
func (c *Catalog) Assurance(id string) (*Assurance, bool) {
	a, ok := c.assurances[id]
	return a, ok
}

// Assurances returns the declared levels, sorted by id.
func (c *Catalog) Assurances() []*Assurance {
	return sorted(c.assurances, func(a *Assurance) string { return a.ID })
}

// Assured returns the ids of the levels that an authentication reaches at a moment, sorted. What it says
// of its own acr counts for nothing: levels decide what acr a token has, not the reverse.
func (c *Catalog) Assured(a *authz.Authentication, at time.Time) []string {
	if a == nil {
		return nil
	}
	var ids []string
	for id, l := range c.assurances {
		if l.reached(a, at) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// skew is by how much the clock of who authenticated may be ahead of ours.
const skew = time.Minute

// reached reports whether the authentication meets all that the level declares. What is not known of it
// is not met.
func (l *Assurance) reached(a *authz.Authentication, at time.Time) bool {
	one := func(of []string, s string) bool { return len(of) == 0 || slices.Contains(of, s) }
	if !l.demands() || l.Person && (a.Person == "" || len(a.AMR) == 0) || !one(l.Methods, a.Method) || !one(l.Bound, a.Bound) {
		return false
	}
	for _, m := range l.AMR {
		if !slices.Contains(a.AMR, m) {
			return false
		}
	}
	return l.MaxAge == 0 || !a.At.IsZero() && at.Sub(a.At) <= l.MaxAge && a.At.Sub(at) <= skew
}

// demands reports whether there is anything that an authentication must meet.
func (l *Assurance) demands() bool {
	return len(l.AMR) > 0 || len(l.Methods) > 0 || len(l.Bound) > 0 || l.Person || l.MaxAge > 0
}

// personType is the type of those who sign in, as the catalog's members name it.
const personType = "user"

// Has reports whether a person is in the group at a moment: named, or by claims, and on call if the
// member is bound to a schedule. Open are the names of the schedules that are open then. A claim holds if
// one of its values is the one that the member names. Types of persons are compared without regard to case.
func (g *Approvers) Has(person authz.Ref, claims map[string][]string, open []string) bool {
	return slices.ContainsFunc(g.Members, func(m Approver) bool {
		return m.is(person, claims) && (m.During == "" || slices.Contains(open, m.During))
	})
}

func (m *Approver) is(person authz.Ref, claims map[string][]string) bool {
	if len(m.Claims) == 0 {
		return person.ID != "" && m.Person.ID == person.ID && strings.EqualFold(m.Person.Type, person.Type)
	}
	for claim, value := range m.Claims {
		if value == "" || !slices.Contains(claims[claim], value) {
			return false
		}
	}
	return true
}
