package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// An index finds the rules whose scope can match a request: by resource, then action, then
// principal. It may return a rule that does not match and never leaves out one that does: a rule
// that is not a candidate would have evaluated to false without an error.
//
// In a rule's scope, a resource is a mark: that of an entity, for `==` and `in`, that of a type, for
// `is`, or the mark anything; likewise a principal and an action. A request bears many marks:
// anything, its type's, its entity's, and those of the entity's ancestors. Only what some rule names
// has a mark, so that most entities bear two.
type index struct {
	entities map[types.EntityUID]mark
	types    map[types.EntityType]mark
	places   map[spot]*bucket
}

// A mark numbers an entity or a type that some rule's scope names.
type mark int32

const anything mark = 0

type spot struct{ resource, action mark }

// A bucket holds the numbers of the rules of one resource and one action.
type bucket struct {
	anyone []int32
	only   map[mark][]int32 // by principal
}

// newIndex indexes the rules by their numbers.
func newIndex(rules []*rule) *index {
	x := &index{
		entities: make(map[types.EntityUID]mark),
		types:    make(map[types.EntityType]mark),
		places:   make(map[spot]*bucket),
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

func (x *index) entity(uid types.EntityUID) mark {
	m, ok := x.entities[uid]
	if !ok {
		m = mark(len(x.entities) + len(x.types) + 1)
		x.entities[uid] = m
	}
	return m
}

func (x *index) scope(s ast.IsScopeNode) mark {
	switch s := s.(type) {
	case ast.ScopeTypeAll:
		return anything
	case ast.ScopeTypeEq:
		return x.entity(s.Entity)
	case ast.ScopeTypeIn:
		return x.entity(s.Entity)
	case ast.ScopeTypeIsIn:
		return x.entity(s.Entity)
	case ast.ScopeTypeIs:
		m, ok := x.types[s.Type]
		if !ok {
			m = mark(len(x.entities) + len(x.types) + 1)
			x.types[s.Type] = m
		}
		return m
	}
	return anything // not known: every request looks there
}

func (x *index) actions(s ast.IsScopeNode) []mark {
	if s, ok := s.(ast.ScopeTypeInSet); ok {
		marks := make([]mark, 0, len(s.Entities))
		for _, uid := range s.Entities {
			marks = append(marks, x.entity(uid))
		}
		slices.Sort(marks)
		return slices.Compact(marks)
	}
	return []mark{x.scope(s)}
}

// marks returns the marks that an entity of that type with those ancestors, itself included, bears.
func (x *index) marks(list []mark, typ types.EntityType, ancestors []types.EntityUID) []mark {
	list = append(list, anything)
	if m, ok := x.types[typ]; ok {
		list = append(list, m)
	}
	for _, uid := range ancestors {
		if m, ok := x.entities[uid]; ok {
			list = append(list, m)
		}
	}
	return list
}

// candidates appends to list the numbers of the rules whose scope could match the marks, sorted,
// each once.
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

// marks returns the marks of an entity of a request.
func (s *Set) marks(list []mark, e *types.Entity) []mark {
	if known := s.stored.entities[e.UID]; known != nil {
		return append(list, known.marks...)
	}
	list = s.index.marks(list, e.UID.Type, nil)
	if m, ok := s.index.entities[e.UID]; ok {
		list = append(list, m)
	}
	for parent := range e.Parents.All() { // of agents: their purpose
		if known := s.stored.entities[parent]; known != nil {
			list = append(list, known.marks[1:]...)
		}
		if m, ok := s.index.entities[parent]; ok {
			list = append(list, m)
		}
	}
	return list
}
