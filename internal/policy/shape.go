package policy

import (
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// A shape is the part of a value that some policy reads: all of it, or the attributes named. A
// policy reaches a value by its attributes only, so what no policy names need not be built, and no
// outcome can depend on it. A nil shape is a value that nobody reads.
type shape struct {
	all   bool
	parts map[types.String]*shape
}

// everything is the shape of a value that is wanted whole.
var everything = &shape{all: true}

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
