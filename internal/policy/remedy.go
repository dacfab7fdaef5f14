package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// maxRoutes bounds by how many routes one ask goes, which is what an approval.Desk takes, and so how many
// a policy names.
const maxRoutes = 16

// approvers reads @approvers: ids of routes, separated by commas.
func (r *rule) approvers(value string, cat *catalog.Catalog, problem func(key, hint, format string, args ...any)) {
	ids := strings.Split(value, ",")
	if len(ids) > maxRoutes {
		problem("approvers", "", "@approvers names more than %d routes", maxRoutes)
		return
	}
	for _, id := range ids {
		id = strings.TrimSpace(id)
		known := false
		if cat != nil {
			_, known = cat.Route(id)
		}
		switch {
		case id == "":
			problem("approvers", "separate the ids of routes by commas", "@approvers has an empty name")
		case !known:
			problem("approvers", declare(id, routesOf(cat), "approvals.routes"), "unknown approval route %q", id)
		case slices.Contains(r.routes, id):
			problem("approvers", "", "the approval route %q is named twice", id)
		default:
			r.routes = append(r.routes, id)
		}
	}
	slices.Sort(r.routes)
}

// assurance reads @assurance: the id of a level.
func (r *rule) assurance(value string, cat *catalog.Catalog, problem func(key, hint, format string, args ...any)) {
	if cat != nil {
		if level, ok := cat.Assurance(value); ok {
			r.level, r.stepUp = level.ID, stepUpTo(level)
			return
		}
	}
	problem("assurance", declare(value, levelsOf(cat), "assurance"), "unknown level of assurance %q", value)
}

// declare returns the hint for an id that the catalog does not declare.
func declare(id string, known []string, section string) string {
	if hint := suggest(id, known); hint != "" {
		return hint
	}
	return "declare it in the catalog, under " + section
}

// routesOf returns the ids of the routes that a catalog, which may be nil, declares.
func routesOf(cat *catalog.Catalog) []string {
	var ids []string
	if cat != nil {
		for _, route := range cat.Routes() {
			ids = append(ids, route.ID)
		}
	}
	return ids
}

// levelsOf returns the ids of the levels of assurance that a catalog, which may be nil, declares.
func levelsOf(cat *catalog.Catalog) []string {
	var ids []string
	if cat != nil {
		for _, level := range cat.Assurances() {
			ids = append(ids, level.ID)
		}
	}
	return ids
}

// stepUpType is the type of obligations to authenticate more strongly.
const stepUpType = "step-up"

// stepUpTo returns the obligation of the AuthZEN obligations profile to reach a level. Its id holds a
// colon, which no id of the catalog does.
func stepUpTo(level *catalog.Assurance) *authz.Obligation {
	properties, err := json.Marshal(struct {
		ACR string   `json:"acr_value"`
		AMR []string `json:"amr_values,omitempty"`
	}{level.ACR, level.AMR})
	if err != nil {
		panic(fmt.Sprintf("writing strings: %v", err))
	}
	return &authz.Obligation{ID: stepUpType + ":" + level.ID, Type: stepUpType, Properties: properties}
}

// allot checks that what leads to a remedy stands with that remedy, and gives a forbid that a person can
// lift the default route if it names none.
func (r *rule) allot(cat *catalog.Catalog, problem func(key, hint, format string, args ...any)) {
	for _, a := range r.ast.Annotations {
		switch {
		case a.Key == "approvers" && r.remedy != approval:
			problem("approvers", `write @remedy("approval") beside it, or leave it out`, "@approvers without @remedy(%q)", approval)
		case a.Key == "assurance" && r.remedy != stepUp:
			problem("assurance", `write @remedy("step_up") beside it, or leave it out`, "@assurance without @remedy(%q)", stepUp)
		}
	}
	if r.remedy == approval && r.routes == nil && cat != nil && cat.DefaultRoute() != "" {
		r.routes = []string{cat.DefaultRoute()}
	}
}

// liftedBy reports whether the facts hold the remedy of a forbid: an approval by all of its routes, or its
// level of assurance.
func (r *rule) liftedBy(f *authz.Facts) bool {
	switch r.remedy {
	case approval:
		return f.Approval != nil && len(r.routes) > 0 && !slices.ContainsFunc(r.routes, func(id string) bool {
			return !slices.Contains(f.Approval.Routes, id)
		})
	case stepUp:
		return r.level != "" && slices.Contains(f.Assured, r.level)
	}
	return false
}

// needs are what the forbids of all parties need that fire and that no remedy has lifted.
type needs struct {
	routes []string            // to approvals
	stepUp []*authz.Obligation // to levels of assurance
	closed *rule               // the first to whose remedy nothing leads
}

// add notes what the rules need, and returns which remedies.
func (n *needs) add(rules []*rule) (needed remedy) {
	for _, r := range rules {
		needed |= r.remedy
		switch {
		case len(r.routes) > 0:
			n.routes = append(n.routes, r.routes...)
		case r.stepUp == nil && n.closed == nil:
			n.closed = r
		case r.stepUp != nil && !slices.ContainsFunc(n.stepUp, func(have *authz.Obligation) bool { return have.ID == r.stepUp.ID }):
			n.stepUp = append(n.stepUp, r.stepUp)
		}
	}
	return needed
}

// settle completes the answer for all parties: it says which ways lead to what it needs, unless there is
// something to which none does.
func (s *Set) settle(d *authz.Decision, f *authz.Facts, n *needs) {
	if d.Effect != authz.RequireApproval && d.Effect != authz.StepUp {
		return
	}
	if r := n.closed; r != nil {
		also(d, fmt.Sprintf("nothing leads to the remedy of policy %s", r.id))
		return
	}
	if d.Effect == authz.RequireApproval {
		if message, detail := spent(&s.asks, &f.Asks); message != "" {
			obligations := d.Obligations
			d.Refuse(authz.CodeAskBudget, message)
			d.Obligations = obligations
			also(d, detail)
			return
		}
		slices.Sort(n.routes)
		if n.routes = slices.Compact(n.routes); len(n.routes) > maxRoutes {
			also(d, fmt.Sprintf("nothing is offered: more than %d routes would have to be gone", maxRoutes))
			return
		}
		d.Routes = n.routes
	}
	for _, o := range n.stepUp {
		d.Obligations = append(d.Obligations, *o)
	}
}

// also tells the operator one thing more.
func also(d *authz.Decision, detail string) {
	if d.Detail != "" {
		d.Detail += "; "
	}
	d.Detail += detail
}

// spent says, to the agent and to the operator, which bound of asking is reached; nothing if none is.
func spent(most *catalog.AskBudget, asked *authz.Asks) (message, detail string) {
	for _, b := range [...]struct {
		name, message string
		most, asked   int64
	}{
		{"session", "A person could approve this, but enough has been asked in this session.", most.Session, asked.Session},
		{"hour", "A person could approve this, but the agent has asked enough within an hour. Try again later.", most.Hour, asked.Hour},
		{"pending", "A person could approve this, but enough of what the agent asked waits for an answer. Try again when that is answered.", most.Pending, asked.Pending},
	} {
		if b.most > 0 && b.asked >= b.most {
			return b.message, fmt.Sprintf("asked %d of %d (asks.%s)", b.asked, b.most, b.name)
		}
	}
	return "", ""
}
