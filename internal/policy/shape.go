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

// actionShapes sets, of each action, what the rules that speak of it read of the context, and what those of them read that do not
// read the exact time.
func actionShapes(actions map[string]*action, rules []*rule) {
	all, timeless := newReading(), newReading()
	for _, r := range rules {
		read := new(shape)
		for _, c := range r.ast.Conditions {
			read.read(c.Body)
		}
		now := read.part("observed").part("time")
		r.exact = now.has("at") || now.has("epoch")
		all.add(r, read)
		if !r.exact {
			timeless.add(r, read)
		}
	}
	kept := make(shapes)
	for _, a := range actions {
		a.shape, a.timeless = kept.keep(all.of(a)), kept.keep(timeless.of(a))
		for _, s := range [...]*shape{a.shape, a.timeless} {
			if o := s.part("observed"); o != nil && o != everything && o.observed == nil {
				o.observed = readsOf(o)
			}
		}
	}
}

// A reading is what rules read of the context, by the actions of which they speak.
type reading struct {
	any           *shape
	exact, within map[types.EntityUID]*shape
}

func newReading() *reading {
	return &reading{new(shape), make(map[types.EntityUID]*shape), make(map[types.EntityUID]*shape)}
}

// add notes what a rule reads.
func (r *reading) add(of *rule, read *shape) {
	at := func(m map[types.EntityUID]*shape, uid types.EntityUID) *shape {
		if m[uid] == nil {
			m[uid] = new(shape)
		}
		return m[uid]
	}
	switch scope := of.ast.Action.(type) {
	case ast.ScopeTypeEq:
		at(r.exact, scope.Entity).join(read)
	case ast.ScopeTypeIn:
		at(r.within, scope.Entity).join(read)
	case ast.ScopeTypeInSet:
		for _, e := range scope.Entities {
			at(r.within, e).join(read)
		}
	default:
		r.any.join(read)
	}
}

// of returns what is read for an action.
func (r *reading) of(a *action) *shape {
	s := new(shape)
	s.join(r.any)
	s.join(r.exact[a.uid])
	for _, g := range a.groups {
		s.join(r.within[g])
	}
	return s
}
