package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go/types"
	cedarast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// lint warns of what compiles and is probably not meant.
func (c *checker) lint(r *rule) {
	if r.mode != disabled && r.forbid && r.reason == "" {
		c.at(r, r.statement.head(), SeverityWarning, `add @reason("...") with a reason of the catalog, so that the refused learn why`,
			"forbid without @reason")
	}
	if r.mode == disabled {
		return
	}
	switch {
	case r.remedy == approval && len(r.routes) == 0:
		c.at(r, r.annotation("remedy"), SeverityWarning, `add @approvers("...") with a route of the catalog, or give the catalog a default route (approvals.default)`,
			"nobody can be asked to lift this: the policy names no approvers, and the catalog no default route")
	case r.remedy == stepUp && r.level == "":
		c.at(r, r.annotation("remedy"), SeverityWarning, `add @assurance("...") with a level of the catalog`,
			"nothing lifts this: the policy names no level of assurance to step up to")
	}
}

// review warns of what only a check looks for, and whoever compiles need not wait for.
func (c *checker) review(rules []*rule) {
	for _, r := range rules {
		c.dates(r)
		c.open(r)
		c.silence(r)
	}
	if c.narrow != nil {
		c.each(rules, (*checker).idle)
		c.each(rules, (*checker).bars)
	}
	c.permits(rules)
}

// dates warns of policies that are over.
func (c *checker) dates(r *rule) {
	if r.mode == disabled || r.expires.IsZero() || c.now.Before(r.expires) {
		return
	}
	hint := "remove the policy or move the date"
	if r.mode == shadow {
		hint = "its trial is over and nothing is recorded of it any more: enforce it, remove it, or move the date"
	}
	c.at(r, r.annotation("expires"), SeverityWarning, hint, "the policy expired at %s", r.expires.Format(time.RFC3339))
}

// open warns of policies for everybody and everything.
func (c *checker) open(r *rule) {
	_, anyone := r.ast.Principal.(cedarast.ScopeTypeAll)
	_, anyhow := r.ast.Action.(cedarast.ScopeTypeAll)
	_, anything := r.ast.Resource.(cedarast.ScopeTypeAll)
	always := !slices.ContainsFunc(r.ast.Conditions, func(cond cedarast.ConditionType) bool {
		v, constant := cond.Body.(cedarast.NodeValue)
		return !constant || v.Value != types.Boolean(cond.Condition == cedarast.ConditionWhen)
	})
	over := !r.expires.IsZero() && !c.now.Before(r.expires)
	if over || r.mode == disabled || !anyone || !anyhow || !anything || !always {
		return
	}
	if r.forbid {
		c.at(r, r.statement.head(), SeverityWarning, `to stop everything for a while this serves; otherwise name a principal, an action or a resource, or add a condition`,
			"the policy forbids everything to everybody")
		return
	}
	c.at(r, r.statement.head(), SeverityWarning, "name a principal, an action or a resource, or add a condition",
		"the policy permits everything to everybody that no forbid refuses")
}

// silence warns of a forbid that fires only for those who say something of themselves: who keeps
// silent escapes it.
func (c *checker) silence(r *rule) {
	if !r.forbid || r.mode == disabled {
		return
	}
	for _, cond := range r.ast.Conditions {
		if cond.Condition == cedarast.ConditionUnless {
			continue
		}
		if name, ok := asksClaim(cond.Body); ok && !slices.Contains(c.required, name) {
			c.at(r, r.statement.head(), SeverityWarning,
				"forbid it unless the claim is there and good: `unless { context.claimed has "+name+" && ... }`, or require the signal in the catalog if it is one",
				"a caller that does not state %q escapes this forbid", name)
		}
	}
}

// asksClaim returns the claim whose presence n requires by a `has` of its outermost conjunction.
func asksClaim(n cedarast.IsNode) (name string, ok bool) {
	switch n := n.(type) {
	case cedarast.NodeTypeAnd:
		if name, ok := asksClaim(n.Left); ok {
			return name, true
		}
		return asksClaim(n.Right)
	case cedarast.NodeTypeHas:
		of, ok := n.Arg.(cedarast.NodeTypeAccess)
		if !ok || of.Value != "claimed" {
			return "", false
		}
		v, ok := of.Arg.(cedarast.NodeTypeVariable)
		return string(n.Value), ok && v.Name == "context"
	}
	return "", false
}

// idle warns of a policy that is in order and whose conditions can never hold.
func (c *checker) idle(r *rule) {
	if len(r.ast.Conditions) > 0 && len(r.statement.clauses) > 0 && c.neverHolds(r.ast) {
		c.at(r, r.statement.clauses[0].tokens[0], SeverityWarning, "", "these conditions can never hold: the policy never fires")
	}
}

// bars warns of a forbid for every action that makes no sense for those of the base schema: whatever it
// cannot be evaluated for is denied.
func (c *checker) bars(r *rule) {
	if _, all := r.ast.Action.(cedarast.ScopeTypeAll); !all || !r.forbid || r.mode == disabled || c.strict == c.narrow.validator(r.ast) {
		return
	}
	if errs := validatePolicy(c.narrow.validator(r.ast), r.ast); len(errs) > 0 {
		first := slices.MinFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) }) // they come in any order
		c.at(r, r.statement.head(), SeverityWarning, "name the actions or the types of resource that it is for",
			"this cannot be evaluated when an agent asks for a passport or to register a client, so that it may be denied: %s", first)
	}
}

// neverHolds reports whether the validator knows the conditions to be false for every request: it
// does not look at what stands behind such a one, even if that has the wrong type.
func (c *checker) neverHolds(p *cedarast.Policy) bool {
	q := *p
	q.Conditions = append(slices.Clone(p.Conditions), cedarast.ConditionType{
		Condition: cedarast.ConditionWhen,
		Body:      cedarast.NodeValue{Value: types.String("")},
	})
	return len(validatePolicy(c.strict, &q)) == 0
}

// permits warns if nothing is permitted.
func (c *checker) permits(rules []*rule) {
	for _, r := range rules {
		if !r.forbid && r.mode == enforce && (r.expires.IsZero() || c.now.Before(r.expires)) {
			return
		}
	}
	if len(rules) > 0 {
		c.ps.add(Problem{Severity: SeverityWarning, Message: "no policy permits anything", Hint: "what no policy permits is denied"})
	}
}
