package policy

import (
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema/ast"
)

// nestedTypes reports whether the brackets of a schema are nested shallowly enough for a parser that
// recurses; if not, it returns the first that is too deep.
func nestedTypes(text string) (token, bool) {
	depth := 0
	for _, t := range scanTokens(text) {
		switch t.text {
		case "(", "[", "{", "<":
			if depth++; depth > maxSchemaDepth {
				return t, false
			}
		case ")", "]", "}", ">":
			depth--
		}
	}
	return token{}, true
}

// expansion returns how many attributes the schema has once every reference to a common type is
// replaced by the type, which is what resolving does: a few lines can stand for billions. It counts
// no further than just beyond maxExpansion.
func expansion(s *ast.Schema) int {
	e := expander{common: make(map[types.Path]ast.IsType), size: make(map[types.Path]int)}
	e.declare("", s.CommonTypes)
	for ns, d := range s.Namespaces {
		e.declare(ns, d.CommonTypes)
	}
	n := e.declarations("", s.Entities, s.Actions)
	for ns, d := range s.Namespaces {
		n = e.sum(n, e.declarations(ns, d.Entities, d.Actions))
	}
	for name, t := range e.common {
		ns, _, _ := cutLast(string(name))
		n = e.sum(n, e.of(types.Path(ns), t))
	}
	return n
}

type expander struct {
	common map[types.Path]ast.IsType
	size   map[types.Path]int // of common types; 0 while one is being counted: a cycle, refused later
}

func (e *expander) declare(ns types.Path, list ast.CommonTypes) {
	for name, t := range list {
		e.common[qualify(ns, string(name))] = t.Type
	}
}

func (e *expander) declarations(ns types.Path, entities ast.Entities, actions ast.Actions) int {
	n := 0
	for _, d := range entities {
		n = e.sum(n, e.of(ns, d.Shape))
		if d.Tags != nil {
			n = e.sum(n, e.of(ns, d.Tags))
		}
	}
	for _, a := range actions {
		if a.AppliesTo != nil && a.AppliesTo.Context != nil {
			n = e.sum(n, e.of(ns, a.AppliesTo.Context))
		}
	}
	return n
}

// of returns the size of a type that is written in a namespace.
func (e *expander) of(ns types.Path, t ast.IsType) int {
	switch t := t.(type) {
	case ast.SetType:
		return e.sum(1, e.of(ns, t.Element))
	case ast.RecordType:
		n := 1
		for _, a := range t {
			n = e.sum(n, e.of(ns, a.Type))
		}
		return n
	case ast.TypeRef:
		name := types.Path(t)
		if !strings.Contains(string(t), "::") && ns != "" {
			if q := qualify(ns, string(t)); e.common[q] != nil {
				name = q
			}
		}
		def := e.common[name]
		if def == nil {
			return 1
		}
		if n, ok := e.size[name]; ok {
			return n
		}
		e.size[name] = 0
		home, _, _ := cutLast(string(name))
		n := e.of(types.Path(home), def)
		e.size[name] = n
		return n
	}
	return 1
}

func (e *expander) sum(a, b int) int { return min(a+b, maxExpansion+1) }

func qualify(ns types.Path, name string) types.Path {
	if ns == "" {
		return types.Path(name)
	}
	return ns + "::" + types.Path(name)
}

// cutLast cuts a path before its last name.
func cutLast(path string) (ns, name string, ok bool) {
	if i := strings.LastIndex(path, "::"); i >= 0 {
		return path[:i], path[i+2:], true
	}
	return "", path, false
}
