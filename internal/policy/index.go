package policy

import (
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// An index finds the rules whose scope matches a request: by resource, then action, then principal.
//
// In a rule's scope, a resource is a mark: that of being an entity, for `==`, of being in one, for
// `in`, of a type, for `is`, or the mark anything; likewise a principal and an action. A request's
// resource bears several marks: anything, its type's, its own, and those of all it is in, itself
// included. Only what some rule names has a mark, so that most entities bear two.
//
// The index is exact, so that rules are evaluated without their scopes. The one exception is
// `is T in e`, which stands at being in e; such rules keep their scope (see scopeless).
type index struct {
	exact  map[types.EntityUID]mark
	inside map[types.EntityUID]mark
	types  map[types.EntityType]mark
	last   mark
	places map[spot]*bucket
}

// A mark numbers what some rule's scope asks for.
type mark int32

const anything mark = 0

// scopeless returns the policy as it is evaluated: without what the index has settled before, and as a permit, whatever its
// effect, which is its rule's to know.
func scopeless(p *ast.Policy) *ast.Policy {
	q := *p
	q.Effect = ast.EffectPermit
	q.Action = ast.ScopeTypeAll{}
	if _, ok := p.Principal.(ast.ScopeTypeIsIn); !ok {
		q.Principal = ast.ScopeTypeAll{}
	}
	if _, ok := p.Resource.(ast.ScopeTypeIsIn); !ok {
		q.Resource = ast.ScopeTypeAll{}
	}
	return &q
}

type spot struct{ resource, action mark }

// A bucket holds the numbers of the rules of one resource and one action.
type bucket struct {
	anyone []int32
	only   map[mark][]int32 // by principal
}

// newIndex indexes the rules by their numbers.
func newIndex(rules []*rule) *index {
	x := &index{
		exact:  make(map[types.EntityUID]mark),
		inside: make(map[types.EntityUID]mark),
		types:  make(map[types.EntityType]mark),
		places: make(map[spot]*bucket),
	}
	for n, r := range rules {
		resource, principal := x.scope(r.ast.Resource), x.scope(r.ast.Principal)
		for _, a := range x.actions(r.ast.Action) {
			b := x.places[spot{resource, a}]
			if b == nil {
				b = new(bucket)
				x.places[spot{resource, a}] = b
			}
			if principal == anything {
				b.anyone = append(b.anyone, int32(n))
				continue
			}
			if b.only == nil {
				b.only = make(map[mark][]int32)
			}
			b.only[principal] = append(b.only[principal], int32(n))
		}
	}
	return x
}

// number returns the mark of a key, a new one if it has none.
func number[K comparable](x *index, m map[K]mark, key K) mark {
	n, ok := m[key]
	if !ok {
		x.last++
		n = x.last
		m[key] = n
	}
	return n
}

func (x *index) scope(s ast.IsScopeNode) mark {
	switch s := s.(type) {
	case ast.ScopeTypeEq:
		return number(x, x.exact, s.Entity)
	case ast.ScopeTypeIn:
		return number(x, x.inside, s.Entity)
	case ast.ScopeTypeIsIn:
		return number(x, x.inside, s.Entity)
	case ast.ScopeTypeIs:
		return number(x, x.types, s.Type)
	case ast.ScopeTypeAll:
		return anything
	}
	panic(fmt.Sprintf("unknown scope %T", s))
}

func (x *index) actions(s ast.IsScopeNode) []mark {
	if s, ok := s.(ast.ScopeTypeInSet); ok {
		marks := make([]mark, 0, len(s.Entities))
		for _, uid := range s.Entities {
			marks = append(marks, number(x, x.inside, uid))
		}
		slices.Sort(marks)
		return slices.Compact(marks)
	}
	return []mark{x.scope(s)}
}

// marks appends the marks of an entity that is in the given ones, the first of which is itself.
func (x *index) marks(list []mark, in []types.EntityUID) []mark {
	list = append(list, anything)
	if m, ok := x.types[in[0].Type]; ok {
		list = append(list, m)
	}
	if m, ok := x.exact[in[0]]; ok {
		list = append(list, m)
	}
	return x.in(list, in)
}

func (x *index) in(list []mark, in []types.EntityUID) []mark {
	for _, uid := range in {
		if m, ok := x.inside[uid]; ok {
			list = append(list, m)
		}
	}
	return list
}

// candidates appends to list the numbers of the rules at the marks, sorted, each once.
func (x *index) candidates(list []int32, principal, action, resource []mark) []int32 {
	for _, r := range resource {
		for _, a := range action {
			b := x.places[spot{r, a}]
			if b == nil {
				continue
			}
			list = append(list, b.anyone...)
			if b.only == nil {
				continue
			}
			for _, p := range principal[1:] {
				list = append(list, b.only[p]...)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// marks appends the marks of an entity of a request.
func (s *Set) marks(list []mark, e *types.Entity) []mark {
	if known := s.stored.entities[e.UID]; known != nil {
		return append(list, known.marks...)
	}
	own := [...]types.EntityUID{e.UID}
	list = s.index.marks(list, own[:])
	for parent := range e.Parents.All() { // of agents: their purpose
		if known := s.stored.entities[parent]; known != nil {
			list = s.index.in(list, known.ancestors)
		} else {
			own[0] = parent
			list = s.index.in(list, own[:])
		}
	}
	return list
}
