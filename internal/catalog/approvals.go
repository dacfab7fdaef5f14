package catalog

import (
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A Route is a way to an approval: who decides an ask, by how many of them, and how far they may go.
// Policies name it by @approvers; one that a policy does not name goes by the default route.
type Route struct {
	ID    string
	Title string

	Approvers []string // groups; each person in one of them may answer
	Quorum    int      // how many different persons must say yes; 1 by default
	Passkey   bool     // whether each yes needs a fresh passkey assertion over the act

	Escalate []string      // groups that may answer as well once nobody has answered for EscalateAfter
	After    time.Duration // silence after which Escalate is asked; 0: never
	Pending  time.Duration // how long an ask waits for an answer; then it has expired, which is a refusal. 1 hour by default
	Lasts    time.Duration // how long an approval of one act holds at most; 15 minutes by default

	// How far an approver may go beyond one use of the very act. Zero values permit nothing beyond.
	Uses      int64             // most uses
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
	Session  int64 // asks of one session
	Hour     int64 // asks of one agent in an hour
	Pending  int64 // asks of one agent that wait for an answer
	Approver int64 // asks that one person is told of in an hour; beyond, others of the group are told, and the rest waits in the inbox
}

// An Assurance is a level of authentication that policies can demand by @remedy("step_up") and
// @assurance. It is reached by an authentication that meets all that is declared.
type Assurance struct {
	ID      string
	Title   string
	ACR     string        // acr_value of the step-up obligation, and of tokens that reach it
	AMR     []string      // amr_values: methods that must all have been used
	Methods []string      // one of them must be how the agent authenticated as a client; none: any
	Bound   []string      // one of them must be how the token is bound: dpop, mtls; none: any
	Person  bool          // whether a person must have authenticated, not the agent
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

// Assured returns the ids of the levels that an authentication reaches at a moment, sorted.
func (c *Catalog) Assured(a *authz.Authentication, at time.Time) []string { return nil }

// Has reports whether a person is in the group at a moment: named, or by claims, and on call if the
// member is bound to a schedule. Open are the names of the schedules that are open then.
func (g *Approvers) Has(person authz.Ref, claims map[string][]string, open []string) bool {
	return false
}
