package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// approvers reads @approvers: ids of routes, separated by commas.
func (r *rule) approvers(value string, cat *catalog.Catalog, problem func(key, hint, format string, args ...any)) {
	for id := range strings.SplitSeq(value, ",") {
		id = strings.TrimSpace(id)
		if known := routesOf(cat); !slices.Contains(known, id) {
			hint := suggest(id, known)
			if hint == "" {
				hint = "declare it in the catalog, under approvals.routes"
			}
			problem("approvers", hint, "unknown approval route %q", id)
			continue
		}
		if slices.Contains(r.routes, id) {
			problem("approvers", "", "the approval route %q is named twice", id)
			continue
		}
		r.routes = append(r.routes, id)
	}
	slices.Sort(r.routes)
}

// assurance reads @assurance: the id of a level.
func (r *rule) assurance(value string, cat *catalog.Catalog, problem func(key, hint, format string, args ...any)) {
	if known := levelsOf(cat); !slices.Contains(known, value) {
		hint := suggest(value, known)
		if hint == "" {
			hint = "declare it in the catalog, under assurance"
		}
		problem("assurance", hint, "unknown level of assurance %q", value)
		return
	}
	level, _ := cat.Assurance(value)
	r.level, r.stepUp = level.ID, stepUpTo(level)
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
	return &authz.Obligation{ID: "step-up:" + level.ID, Type: "step-up", Properties: properties}
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
	nobody bool                // whether one needs an approval that nobody can give
	stepUp []*authz.Obligation // to levels of assurance
}

// add notes what the rules need, and returns which remedies.
func (n *needs) add(rules []*rule) (needed remedy) {
	for _, r := range rules {
		needed |= r.remedy
		switch {
		case r.remedy == stepUp && r.stepUp != nil:
			if !slices.ContainsFunc(n.stepUp, func(have *authz.Obligation) bool { return have.ID == r.stepUp.ID }) {
				n.stepUp = append(n.stepUp, r.stepUp)
			}
		case r.remedy == approval && len(r.routes) == 0:
			n.nobody = true
		case r.remedy == approval:
			n.routes = append(n.routes, r.routes...)
		}
	}
	return needed
}

// settle completes the answer for all parties: the ways to what it needs, if they are open.
func (s *Set) settle(d *authz.Decision, f *authz.Facts, n *needs) {
	if d.Effect != authz.RequireApproval && d.Effect != authz.StepUp {
		return
	}
	if d.Effect == authz.RequireApproval && !n.nobody {
		if message, detail := spent(&s.asks, &f.Asks); message != "" {
			obligations := d.Obligations
			d.Refuse(authz.CodeAskBudget, message)
			d.Obligations, d.Detail = obligations, detail
			return
		}
		slices.Sort(n.routes)
		d.Routes = slices.Compact(n.routes)
	}
	for _, o := range n.stepUp {
		d.Obligations = append(d.Obligations, *o)
	}
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
