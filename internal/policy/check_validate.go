package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	cedarast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// validatePolicy checks p against the schema and returns what cedar-go's strict validator finds,
// one error at a time. Unlike that validator it reads several conditions as Cedar does, as one
// conjunction: what the first one asks for with `has`, the second one may read, and what can never
// be reached is not checked.
func validatePolicy(v *validate.Validator, p *cedarast.Policy) []error {
	q := *p
	q.Conditions = conjoin(p.Conditions)
	for i, c := range q.Conditions {
		q.Conditions[i].Body = tighten(c.Body)
	}
	return alike(distinct(flatten(v.Policy("", &q))))
}

// ofAction is how the validator says for which action something is wrong.
var ofAction = regexp.MustCompile(` in context for \S*Action::"(?:[^"\\]|\\.)*"`)

// alike joins errors that differ only in the action that they are told for: one slip in a policy about
// many actions is one error, not as many as there are actions.
func alike(list []error) []error {
	type group struct {
		first string // in order of the actions: the validator has none
		count int
	}
	groups := make(map[string]*group)
	var order []string
	for _, err := range list {
		msg := err.Error()
		key := ofAction.ReplaceAllLiteralString(msg, "")
		g := groups[key]
		if g == nil {
			g = &group{first: msg}
			groups[key] = g
			order = append(order, key)
		}
		g.count++
		g.first = min(g.first, msg)
	}
	out := make([]error, len(order))
	for i, key := range order {
		msg := groups[key].first
		switch n := groups[key].count - 1; {
		case n == 1:
			msg += ", and likewise for another action"
		case n > 1:
			msg += fmt.Sprintf(", and likewise for %d other actions", n)
		}
		out[i] = errors.New(msg)
	}
	return out
}

// distinct drops errors whose text has been seen.
func distinct(list []error) []error {
	seen := make(map[string]bool, len(list))
	return slices.DeleteFunc(list, func(e error) bool {
		defer func() { seen[e.Error()] = true }()
		return seen[e.Error()]
	})
}

// conjoin returns the conditions as a single one.
func conjoin(list []cedarast.ConditionType) []cedarast.ConditionType {
	if len(list) < 2 {
		return slices.Clone(list)
	}
	var body cedarast.IsNode
	for _, c := range list {
		n := c.Body
		if c.Condition == cedarast.ConditionUnless {
			n = cedarast.NodeTypeNot{UnaryNode: cedarast.UnaryNode{Arg: n}}
		}
		if body == nil {
			body = n
		} else {
			body = cedarast.NodeTypeAnd{BinaryNode: cedarast.BinaryNode{Left: body, Right: n}}
		}
	}
	return []cedarast.ConditionType{{Condition: cedarast.ConditionWhen, Body: body}}
}

// flatten takes joined errors apart.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	j, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var out []error
	for _, e := range j.Unwrap() {
		out = append(out, flatten(e)...)
	}
	return out
}
