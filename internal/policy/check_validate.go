package policy

import (
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
	return distinct(flatten(v.Policy("", &q)))
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
