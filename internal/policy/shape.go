package policy

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// A shape is the part of a value that some policy reads: all of it, or the attributes named. A
// policy reaches a value by its attributes only, so what no policy names need not be built, and no
// outcome can depend on it. A nil shape is a value that nobody reads.
type shape struct {
	all   bool
	parts map[types.String]*shape
	id    uint64 // the same for shapes that are alike, once they are kept in shapes; everything's is 0

	observed *members // of the shape of some action's context.observed; nil of others
}

// everything is the shape of a value that is wanted whole.
var everything = &shape{all: true}

// nothing is the shape of a record of which no attribute is wanted.
var nothing = new(shape)

// part returns the shape of an attribute, nil if nobody reads it.
func (s *shape) part(name types.String) *shape {
	if s == nil {
		return nil
	}
	if s.all {
		return everything
	}
	return s.parts[name]
}

// has reports whether anybody reads the attribute.
func (s *shape) has(name types.String) bool { return s.part(name) != nil }

// add notes that somebody reads what the path leads to, with all that is in it.
func (s *shape) add(path []types.String) {
	for _, name := range path {
		if s.all {
			return
		}
		if s.parts == nil {
			s.parts = make(map[types.String]*shape)
		}
		next := s.parts[name]
		if next == nil {
			next = new(shape)
			s.parts[name] = next
		}
		s = next
	}
	s.all, s.parts = true, nil
}

// read adds what the node reads of the context.
func (s *shape) read(n ast.IsNode) {
	path, ok := contextPath(n)
	if ok {
		s.add(path)
		return
	}
	first := true
	ast.Inspect(ast.NewNode(n), func(child ast.IsNode) bool {
		if first { // n itself
			first = false
			return true
		}
		s.read(child)
		return false
	})
}

// contextPath returns the attributes by which n leads from the context, and whether it does so.
// `context.a has b` reads whether there is a context.a.b, which is answered by having it.
func contextPath(n ast.IsNode) ([]types.String, bool) {
	switch n := n.(type) {
	case ast.NodeTypeVariable:
		return nil, n.Name == "context"
	case ast.NodeTypeAccess:
		path, ok := contextPath(n.Arg)
		return append(path, n.Value), ok
	case ast.NodeTypeHas:
		path, ok := contextPath(n.Arg)
		return append(path, n.Value), ok
	}
	return nil, false
}

// join adds what other reads.
func (s *shape) join(other *shape) {
	if s.all || other == nil {
		return
	}
	if other.all {
		s.all, s.parts = true, nil
		return
	}
	for name, p := range other.parts {
		if s.parts == nil {
			s.parts = make(map[types.String]*shape, len(other.parts))
		}
		if s.parts[name] == nil {
			s.parts[name] = new(shape)
		}
		s.parts[name].join(p)
	}
}

// shapes keeps one shape of each kind, by what they say.
type shapes map[string]*shape

// keep returns the kept shape that is like s, which is not to be changed any more.
func (k shapes) keep(s *shape) *shape {
	if s.all {
		return everything
	}
	var text []byte
	for _, name := range slices.Sorted(maps.Keys(s.parts)) {
		s.parts[name] = k.keep(s.parts[name])
		text = binary.AppendUvarint(appendText(text, string(name)), s.parts[name].id)
	}
	if have := k[string(text)]; have != nil {
		return have
	}
	s.id = uint64(len(k) + 1)
	k[string(text)] = s
	return s
}

// actionShapes sets, of each action, what the rules that speak of it read of the context.
func actionShapes(actions map[string]*action, rules []*rule) {
	var any shape
	exact, within := make(map[types.EntityUID]*shape), make(map[types.EntityUID]*shape)
	at := func(m map[types.EntityUID]*shape, uid types.EntityUID) *shape {
		if m[uid] == nil {
			m[uid] = new(shape)
		}
		return m[uid]
	}
	for _, r := range rules {
		var read shape
		for _, c := range r.ast.Conditions {
			read.read(c.Body)
		}
		switch scope := r.ast.Action.(type) {
		case ast.ScopeTypeEq:
			at(exact, scope.Entity).join(&read)
		case ast.ScopeTypeIn:
			at(within, scope.Entity).join(&read)
		case ast.ScopeTypeInSet:
			for _, e := range scope.Entities {
				at(within, e).join(&read)
			}
		default:
			any.join(&read)
		}
	}
	kept := make(shapes)
	for _, a := range actions {
		var s shape
		s.join(&any)
		s.join(exact[a.uid])
		for _, g := range a.groups {
			s.join(within[g])
		}
		a.shape = kept.keep(&s)
		if o := a.shape.part("observed"); o != nil && o != everything && o.observed == nil {
			o.observed = readsOf(o)
		}
	}
}
