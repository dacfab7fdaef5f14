package catalog

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/safeconduct/safeconduct/authz"
)

func (r *reader) entities(n ast.Node) {
	lines := map[authz.Ref]int{}
	places := map[authz.Ref]ast.Node{}
	r.list(n, "entities", func(v ast.Node) {
		e := &Stored{}
		var parents []ast.Node
		r.object(v, "an entity", fields{
			"type":       func(n ast.Node) { e.Type = r.ident(n, "type") },
			"id":         func(n ast.Node) { e.ID = r.entityID(n) },
			"properties": func(n ast.Node) { e.Properties = r.document.properties(n, "properties") },
			"parents": func(n ast.Node) {
				r.list(n, "parents", func(v ast.Node) {
					p := r.ref(v)
					if p.Type == "" || p.ID == "" {
						return
					}
					if len(e.Parents) == maxParents {
						r.at(v, "%s has more than %d parents", e.Ref, maxParents)
						return
					}
					if slices.Contains(e.Parents, p) {
						r.at(v, "parent %s is listed twice", p)
						return
					}
					e.Parents, parents = append(e.Parents, p), append(parents, v)
				})
			},
		})
		if e.Type == "" || e.ID == "" {
			r.at(v, "an entity has a type and an id")
			return
		}
		if strings.EqualFold(e.Type, authz.AgentType) {
			r.at(v, "agents are registered, not declared: remove %s", e.Ref)
			return
		}
		if e.Type == authz.CapabilityType {
			r.at(v, "capabilities are declared under capabilities: remove %s", e.Ref)
			return
		}
		if line, twice := lines[e.Ref]; twice {
			r.at(v, "%s is declared twice; first in line %d", e.Ref, line)
			return
		}
		if t := first(r.value(v)); t != nil {
			lines[e.Ref] = t.Position.Line
			e.line, e.column = int32(t.Position.Line), int32(t.Position.Column)
		}
		places[e.Ref] = v
		r.mention(MentionsType, e.Type, "entity "+e.Ref.String(), v)
		r.c.entities[e.Ref] = e
		r.c.byType[e.Type] = append(r.c.byType[e.Type], e)
		r.later = append(r.later, func() {
			for i, p := range e.Parents {
				if r.c.entities[p] == nil {
					r.at(parents[i], "%s: parent %s is not declared", e.Ref, p)
				}
			}
		})
	})
	r.later = append(r.later, func() { r.acyclic(places) })
}

func (r *reader) entityID(n ast.Node) string {
	s := r.text(n, "id")
	if len(s) > 4*maxName {
		r.at(n, "id is longer than %d bytes", 4*maxName)
		return ""
	}
	return s
}

func (r *reader) ref(n ast.Node) (ref authz.Ref) {
	r.object(n, "a reference", fields{
		"type": func(n ast.Node) { ref.Type = r.ident(n, "type") },
		"id":   func(n ast.Node) { ref.ID = r.entityID(n) },
	})
	if ref.Type == "" || ref.ID == "" {
		r.at(n, "a reference has a type and an id")
	}
	return ref
}

// acyclic complains of entities that are above themselves. It takes away, again and again, those
// that have no parent left.
func (r *reader) acyclic(places map[authz.Ref]ast.Node) {
	left := map[authz.Ref]int{}
	children := map[authz.Ref][]authz.Ref{}
	var free []authz.Ref
	for ref, e := range r.c.entities {
		for _, p := range e.Parents {
			if r.c.entities[p] != nil {
				left[ref]++
				children[p] = append(children[p], ref)
			}
		}
		if left[ref] == 0 {
			free = append(free, ref)
		}
	}
	for len(free) > 0 {
		ref := free[len(free)-1]
		free = free[:len(free)-1]
		delete(left, ref)
		for _, child := range children[ref] {
			if left[child]--; left[child] == 0 {
				free = append(free, child)
			}
		}
	}
	if len(left) == 0 {
		return
	}
	// What is left is on a circle or below one, so that whoever goes up from it comes round.
	at := slices.MinFunc(slices.Collect(maps.Keys(left)), compareRefs)
	for seen := map[authz.Ref]bool{}; !seen[at]; {
		seen[at] = true
		for _, p := range r.c.entities[at].Parents {
			if left[p] > 0 {
				at = p
				break
			}
		}
	}
	r.at(places[at], "%s is its own ancestor", at)
}

func compareRefs(a, b authz.Ref) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID))
}
