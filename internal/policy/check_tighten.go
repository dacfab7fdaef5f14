package policy

import (
	"github.com/cedar-policy/cedar-go/types"
	cedarast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// tighten returns n with every comparison a < b written as a < b && (a == b || true), and likewise
// for the other orders. The value is the same, but the validator must then find that a and b have
// one type: cedar-go 1.9 checks only that each is a Long, a datetime or a duration, and lets pass a
// comparison of two kinds, which Cedar refuses and which errs whenever it is evaluated.
func tighten(n cedarast.IsNode) cedarast.IsNode {
	pair := func(b cedarast.BinaryNode) cedarast.BinaryNode {
		return cedarast.BinaryNode{Left: tighten(b.Left), Right: tighten(b.Right)}
	}
	order := func(b cedarast.BinaryNode, n cedarast.IsNode) cedarast.IsNode {
		same := cedarast.NodeTypeEquals{BinaryNode: b}
		return cedarast.NodeTypeAnd{BinaryNode: cedarast.BinaryNode{Left: n, Right: cedarast.NodeTypeOr{
			BinaryNode: cedarast.BinaryNode{Left: same, Right: cedarast.NodeValue{Value: types.True}},
		}}}
	}
	switch n := n.(type) {
	case cedarast.NodeTypeLessThan:
		return order(n.BinaryNode, cedarast.NodeTypeLessThan{BinaryNode: pair(n.BinaryNode)})
	case cedarast.NodeTypeLessThanOrEqual:
		return order(n.BinaryNode, cedarast.NodeTypeLessThanOrEqual{BinaryNode: pair(n.BinaryNode)})
	case cedarast.NodeTypeGreaterThan:
		return order(n.BinaryNode, cedarast.NodeTypeGreaterThan{BinaryNode: pair(n.BinaryNode)})
	case cedarast.NodeTypeGreaterThanOrEqual:
		return order(n.BinaryNode, cedarast.NodeTypeGreaterThanOrEqual{BinaryNode: pair(n.BinaryNode)})

	case cedarast.NodeTypeAnd:
		n.BinaryNode = pair(n.BinaryNode)
		return n
	case cedarast.NodeTypeOr:
		n.BinaryNode = pair(n.BinaryNode)
		return n
	case cedarast.NodeTypeEquals:
		n.BinaryNode = pair(n.BinaryNode)
		return n
	case cedarast.NodeTypeNotEquals:
		n.BinaryNode = pair(n.BinaryNode)
		return n
	case cedarast.NodeTypeIn:
		n.BinaryNode = pair(n.BinaryNode)
		return n
	case cedarast.NodeTypeAdd:
		n.BinaryNode = pair(n.BinaryNode)
		return n
	case cedarast.NodeTypeSub:
		n.BinaryNode = pair(n.BinaryNode)
		return n
	case cedarast.NodeTypeMult:
		n.BinaryNode = pair(n.BinaryNode)
		return n
	case cedarast.NodeTypeContains:
		n.BinaryNode = pair(n.BinaryNode)
		return n
	case cedarast.NodeTypeContainsAll:
		n.BinaryNode = pair(n.BinaryNode)
		return n
	case cedarast.NodeTypeContainsAny:
		n.BinaryNode = pair(n.BinaryNode)
		return n
	case cedarast.NodeTypeHasTag:
		n.BinaryNode = pair(n.BinaryNode)
		return n
	case cedarast.NodeTypeGetTag:
		n.BinaryNode = pair(n.BinaryNode)
		return n

	case cedarast.NodeTypeNot:
		n.Arg = tighten(n.Arg)
		return n
	case cedarast.NodeTypeNegate:
		n.Arg = tighten(n.Arg)
		return n
	case cedarast.NodeTypeIsEmpty:
		n.Arg = tighten(n.Arg)
		return n
	case cedarast.NodeTypeAccess:
		n.Arg = tighten(n.Arg)
		return n
	case cedarast.NodeTypeHas:
		n.Arg = tighten(n.Arg)
		return n
	case cedarast.NodeTypeLike:
		n.Arg = tighten(n.Arg)
		return n
	case cedarast.NodeTypeIs:
		n.Left = tighten(n.Left)
		return n
	case cedarast.NodeTypeIsIn:
		n.Left, n.Entity = tighten(n.Left), tighten(n.Entity)
		return n
	case cedarast.NodeTypeIfThenElse:
		return cedarast.NodeTypeIfThenElse{If: tighten(n.If), Then: tighten(n.Then), Else: tighten(n.Else)}
	case cedarast.NodeTypeSet:
		return cedarast.NodeTypeSet{Elements: tightenAll(n.Elements)}
	case cedarast.NodeTypeExtensionCall:
		return cedarast.NodeTypeExtensionCall{Name: n.Name, Args: tightenAll(n.Args)}
	case cedarast.NodeTypeRecord:
		list := make([]cedarast.RecordElementNode, len(n.Elements))
		for i, e := range n.Elements {
			list[i] = cedarast.RecordElementNode{Key: e.Key, Value: tighten(e.Value)}
		}
		return cedarast.NodeTypeRecord{Elements: list}
	}
	return n // a value or a variable
}

func tightenAll(list []cedarast.IsNode) []cedarast.IsNode {
	out := make([]cedarast.IsNode, len(list))
	for i, n := range list {
		out[i] = tighten(n)
	}
	return out
}
