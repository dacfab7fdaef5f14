package policy

import (
	"iter"
	"slices"
	"strconv"

	"github.com/cedar-policy/cedar-go"
	cedarpolicy "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	cedarast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// A plan is a policy taken apart for explanations: the parts that must all hold for it to be
// satisfied, and what each of them says of quantities that somebody could change.
type plan struct {
	fixed   []part // nobody could change anything that they read
	movable []part
}

// A part is one of the conditions that a policy joins.
type part struct {
	id    cedar.PolicyID // its place among the fixed, or the movable ones
	test  *cedar.Policy  // permits when the part holds
	atoms []atom

	met, unmet []wish // what the clock should say for it to hold, or not to; nil if that depends on something else
}

// An atom relates a changeable quantity to a value that may be told.
type atom struct {
	on   quantity
	is   relation
	with cedarast.IsNode // nil if the relation has no other side
	lit  types.Value     // the other side, if it is the same for every request
}

// A quantity is something that the agent, a person, an operator or the passage of time could change.
// Everything else, and above all risk, trust, conduct and networks, is none: it is never proposed.
type quantity struct {
	kind quantityKind
	path []string // of the attribute, below the kind's root
}

type quantityKind uint8

const (
	claimedQuantity quantityKind = iota
	argsQuantity
	resourceQuantity
	subjectQuantity
	schedulesQuantity
	hourQuantity
	weekdayQuantity
	atQuantity
	epochQuantity
	withinQuantity
	exceededQuantity
	capabilitiesQuantity
)

func (k quantityKind) isTime() bool { return schedulesQuantity <= k && k <= epochQuantity }

// A relation says how a quantity, on the left, and the other side relate.
type relation uint8

const (
	less relation = iota
	lessOrEqual
	greater
	greaterOrEqual
	equal
	unequal
	contains    // the quantity is a set that contains the value
	containsAll // likewise, all values
	containsAny // likewise, one of the values
	oneOf       // the value is a set that contains the quantity
	truth       // the quantity is true
	present     // the quantity is there
	empty       // the quantity is an empty set
)

// planOf returns the rule's plan, which is made when it is first asked for.
func planOf(r *rule) *plan {
	if p := r.plan.Load(); p != nil {
		return p
	}
	p := new(plan)
	scope := scopeless(r.ast)
	scope.Conditions = nil
	if scope.Principal != (cedarast.ScopeTypeAll{}) || scope.Resource != (cedarast.ScopeTypeAll{}) {
		p.add(part{test: compilePart(scope)})
	}
	for _, c := range r.ast.Conditions {
		p.split(c.Body, c.Condition == cedarast.ConditionWhen)
	}
	r.plan.Store(p)
	return p
}

// split adds the parts of a condition that must be as wanted.
func (p *plan) split(n cedarast.IsNode, want bool) {
	switch n := n.(type) {
	case cedarast.NodeTypeNot:
		p.split(n.Arg, !want)
		return
	case cedarast.NodeTypeAnd:
		if want {
			p.split(n.Left, want)
			p.split(n.Right, want)
			return
		}
	case cedarast.NodeTypeOr:
		if !want {
			p.split(n.Left, want)
			p.split(n.Right, want)
			return
		}
	}
	test := cedarast.Permit()
	if want {
		test.When(cedarast.NewNode(n))
	} else {
		test.Unless(cedarast.NewNode(n))
	}
	p.add(part{test: compilePart(test), atoms: atomsOf(n), met: wishes(n, want), unmet: wishes(n, !want)})
}

func (p *plan) add(made part) {
	list := &p.movable
	if len(made.atoms) == 0 && made.met == nil && made.unmet == nil {
		list = &p.fixed
	}
	made.id = cedar.PolicyID(strconv.Itoa(len(*list)))
	*list = append(*list, made)
}

// tests are parts as Cedar is given them.
type tests []part

// All implements cedar.PolicyIterator.
func (t tests) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for i := range t {
			if !yield(t[i].id, t[i].test) {
				return
			}
		}
	}
}

// holding reports which of the parts hold. What it returns is good until the next call.
func (q *query) holding(parts []part) []bool {
	q.held = q.held[:0]
	if len(parts) == 0 {
		return q.held
	}
	_, diag := cedar.Authorize(tests(parts), &q.entities, q.request)
	reasons := diag.Reasons
	for i := range parts {
		holds := len(reasons) > 0 && reasons[0].PolicyID == parts[i].id
		if holds {
			reasons = reasons[1:]
		}
		q.held = append(q.held, holds)
	}
	return q.held
}

func compilePart(p *cedarast.Policy) *cedar.Policy {
	return cedar.NewPolicyFromAST((*cedarpolicy.Policy)(p))
}

// atomsOf collects the atoms of an expression, in the order of the text.
func atomsOf(n cedarast.IsNode) []atom {
	var out []atom
	cedarast.Inspect(cedarast.NewNode(n), func(n cedarast.IsNode) bool {
		a, ok := atomOf(n)
		if ok {
			out = append(out, a)
		}
		return !ok
	})
	return out
}

func atomOf(n cedarast.IsNode) (atom, bool) {
	switch n := n.(type) {
	case cedarast.NodeTypeLessThan:
		return ordered(n.BinaryNode, less)
	case cedarast.NodeTypeLessThanOrEqual:
		return ordered(n.BinaryNode, lessOrEqual)
	case cedarast.NodeTypeGreaterThan:
		return ordered(n.BinaryNode, greater)
	case cedarast.NodeTypeGreaterThanOrEqual:
		return ordered(n.BinaryNode, greaterOrEqual)
	case cedarast.NodeTypeEquals:
		return ordered(n.BinaryNode, equal)
	case cedarast.NodeTypeNotEquals:
		return ordered(n.BinaryNode, unequal)
	case cedarast.NodeTypeContains:
		if a, ok := relate(n.Left, contains, n.Right); ok {
			return a, true
		}
		return relate(n.Right, oneOf, n.Left)
	case cedarast.NodeTypeContainsAll:
		return relate(n.Left, containsAll, n.Right)
	case cedarast.NodeTypeContainsAny:
		if a, ok := relate(n.Left, containsAny, n.Right); ok {
			return a, true
		}
		return relate(n.Right, containsAny, n.Left)
	case cedarast.NodeTypeIsEmpty:
		q, ok := quantityOf(n.Arg)
		return atom{on: q, is: empty}, ok
	case cedarast.NodeTypeHas:
		q, ok := quantityOf(cedarast.NodeTypeAccess(n))
		return atom{on: q, is: present}, ok
	case cedarast.NodeTypeExtensionCall:
		if is, ok := decimalOrder[string(n.Name)]; ok && len(n.Args) == 2 {
			return ordered(cedarast.BinaryNode{Left: n.Args[0], Right: n.Args[1]}, is)
		}
	case cedarast.NodeTypeAccess:
		q, ok := quantityOf(n)
		return atom{on: q, is: truth}, ok
	}
	return atom{}, false
}

var decimalOrder = map[string]relation{
	"lessThan": less, "lessThanOrEqual": lessOrEqual, "greaterThan": greater, "greaterThanOrEqual": greaterOrEqual,
}

// ordered is relate for a relation that can be turned round.
func ordered(b cedarast.BinaryNode, is relation) (atom, bool) {
	if a, ok := relate(b.Left, is, b.Right); ok {
		return a, true
	}
	turned := [...]relation{less: greater, lessOrEqual: greaterOrEqual, greater: less, greaterOrEqual: lessOrEqual, equal: equal, unequal: unequal}
	return relate(b.Right, turned[is], b.Left)
}

func relate(left cedarast.IsNode, is relation, right cedarast.IsNode) (atom, bool) {
	q, ok := quantityOf(left)
	if !ok || !tellable(right) {
		return atom{}, false
	}
	a := atom{on: q, is: is, with: right}
	if len(reads(right, eval.Env{})) == 0 {
		v, err := eval.Eval(right, eval.Env{})
		if err != nil {
			return atom{}, false
		}
		a.lit = v
	}
	return a, true
}

// quantityOf returns the quantity that an expression reads, if it reads one and nothing else.
func quantityOf(n cedarast.IsNode) (quantity, bool) {
	path, ok := pathOf(n)
	if !ok {
		return quantity{}, false
	}
	is := func(names ...string) bool { return slices.Equal(path, names) }
	switch {
	case len(path) > 2 && path[0] == "context" && path[1] == "claimed":
		return quantity{claimedQuantity, path[2:]}, true
	case len(path) > 2 && path[0] == "context" && path[1] == "args":
		return quantity{argsQuantity, path[2:]}, true
	case len(path) > 1 && path[0] == "resource":
		return quantity{resourceQuantity, path[1:]}, true
	case is("principal", "capabilities"), is("context", "observed", "agent", "capabilities"):
		return quantity{kind: capabilitiesQuantity}, true
	case len(path) > 1 && path[0] == "principal" && path[1] != "conduct":
		return quantity{subjectQuantity, path[1:]}, true
	case is("context", "observed", "time", "schedules"):
		return quantity{kind: schedulesQuantity}, true
	case is("context", "observed", "time", "hour"):
		return quantity{kind: hourQuantity}, true
	case is("context", "observed", "time", "weekday"):
		return quantity{kind: weekdayQuantity}, true
	case is("context", "observed", "time", "at"):
		return quantity{kind: atQuantity}, true
	case is("context", "observed", "time", "epoch"):
		return quantity{kind: epochQuantity}, true
	case is("context", "observed", "grant", "within"):
		return quantity{kind: withinQuantity}, true
	case is("context", "observed", "grant", "exceeded"):
		return quantity{kind: exceededQuantity}, true
	}
	return quantity{}, false
}

// tellable reports whether the value of an expression may be told to the agent: it is written in
// the policy, said by the caller, or an attribute of the resource. Nothing observed is, nor what is
// reached through the agent.
func tellable(n cedarast.IsNode) bool {
	ok := true
	cedarast.Inspect(cedarast.NewNode(n), func(n cedarast.IsNode) bool {
		path, is := pathOf(n)
		if !is {
			return ok
		}
		switch {
		case path[0] == "resource" && len(path) == 2, path[0] == "resource" && len(path) == 1:
		case path[0] == "context" && len(path) > 2 && (path[1] == "claimed" || path[1] == "args"):
		default:
			ok = false
		}
		return false
	})
	return ok
}
