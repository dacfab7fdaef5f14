package policy

import (
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// stored holds the entities that do not depend on a request: those of the catalog, and actions.
type stored struct {
	entities  map[types.EntityUID]*storedEntity
	fromAsker map[types.EntityType]map[string]bool // attributes that a request may state
}

type storedEntity struct {
	entity    types.Entity
	missing   []string          // required attributes that it lacks, as paths without their root
	ancestors []types.EntityUID // itself first
	marks     []mark            // in the set's index
}

// newStored compiles the catalog's entities by the schema.
func newStored(s *schema, cat *catalog.Catalog, ps *Problems) *stored {
	st := &stored{
		entities:  make(map[types.EntityUID]*storedEntity),
		fromAsker: make(map[types.EntityType]map[string]bool),
	}
	problem := func(hint, format string, args ...any) {
		ps.add(Problem{File: catalogFile, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	if cat != nil {
		names := make([]string, 0, len(s.kinds))
		for name := range s.kinds {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			st.addType(s, cat, name, ps)
		}
	}
	for _, a := range s.actions {
		st.entities[a.uid] = &storedEntity{entity: a.entity, ancestors: a.groups}
	}
	for uid := range s.resolved.Actions {
		if st.entities[uid] == nil {
			groups := s.groupsOf(uid)
			st.entities[uid] = &storedEntity{
				entity:    types.Entity{UID: uid, Parents: types.NewEntityUIDSet(groups[1:]...)},
				ancestors: groups,
			}
		}
	}
	for uid, e := range st.entities {
		if e.ancestors == nil {
			var cycle bool
			if e.ancestors, cycle = st.closure(uid); cycle {
				problem("", "%s is its own ancestor", uid)
			}
		}
	}
	return st
}

// catalogFile is the name under which problems of the catalog are reported.
const catalogFile = "catalog"

func (st *stored) addType(s *schema, cat *catalog.Catalog, name string, ps *Problems) {
	var line, column int
	problem := func(hint, format string, args ...any) {
		ps.add(Problem{File: catalogFile, Line: line, Column: column, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	kind := s.kinds[name]
	if t, ok := cat.Type(name); ok {
		for _, p := range t.RequestProperties {
			if kind.typ == agentEntity {
				problem("", "no request may state properties of agents; the registry does")
				break
			}
			if kind.shape == nil || kind.shape.attrs[p].typ == nil {
				problem("declare the attribute in the schema, or leave it out of request_properties", "type %s has no attribute %q that a request could state", name, p)
				continue
			}
			if st.fromAsker[kind.typ] == nil {
				st.fromAsker[kind.typ] = make(map[string]bool)
			}
			st.fromAsker[kind.typ][p] = true
		}
	}
	for _, c := range cat.Entities(name) {
		line, column = c.Place()
		uid := types.NewEntityUID(kind.typ, types.String(c.ID))
		switch {
		case kind.typ == agentEntity:
			problem("register the agent instead", "%s: agents are not declared in the catalog", c.Ref)
			continue
		case kind.values != nil && !kind.values[uid.ID]:
			problem("", "%s is not one of the values that the schema enumerates", c.Ref)
			continue
		case st.entities[uid] != nil:
			problem("", "%s is declared twice, under two names of its type", c.Ref)
			continue
		}
		e := &storedEntity{entity: types.Entity{UID: uid}}
		st.entities[uid] = e
		if kind.shape != nil {
			m := make(types.RecordMap)
			missing, _, f := s.decode(m, name, kind.shape, c.Properties, nil, nil, nil)
			if f != nil {
				problem("", "%s: %s", c.Ref, f.detail)
				continue
			}
			e.entity.Attributes = types.NewRecord(m)
			for _, path := range kind.shape.missing(missing, name, m) {
				e.missing = append(e.missing, path[len(name):])
			}
		}
		var parents []types.EntityUID
		for _, p := range c.Parents {
			pk := s.kinds[p.Type]
			if pk == nil || !slices.Contains(s.resolved.Entities[kind.typ].ParentTypes, pk.typ) {
				problem(fmt.Sprintf("write `entity %s in [%s]` in the schema", kind.typ, p.Type), "%s cannot be in %s: the schema does not allow it", c.Ref, p)
				continue
			}
			parents = append(parents, types.NewEntityUID(pk.typ, types.String(p.ID)))
		}
		e.entity.Parents = types.NewEntityUIDSet(parents...)
	}
}

// closure returns an entity, its parents, theirs, and so on, and whether the entity is among them.
func (st *stored) closure(uid types.EntityUID) ([]types.EntityUID, bool) {
	out := []types.EntityUID{uid}
	seen := map[types.EntityUID]bool{uid: true}
	cycle := false
	for i := 0; i < len(out); i++ {
		e := st.entities[out[i]]
		if e == nil {
			continue
		}
		parents := e.entity.Parents.Slice()
		slices.SortFunc(parents, compareUID)
		for _, p := range parents {
			cycle = cycle || p == uid
			if !seen[p] {
				seen[p] = true
				out = append(out, p)
			}
		}
	}
	return out, cycle
}

// entities are what one request is judged by: its subject, its resource and the acting agent, and
// behind them what is stored.
type entities struct {
	stored    *stored
	principal types.Entity
	resource  types.Entity
	agent     *types.Entity // nil if none acts
}

// Get implements types.EntityGetter.
func (e *entities) Get(uid types.EntityUID) (types.Entity, bool) {
	switch {
	case uid == e.principal.UID:
		return e.principal, true
	case uid == e.resource.UID:
		return e.resource, true
	case e.agent != nil && uid == e.agent.UID:
		return *e.agent, true
	}
	if s := e.stored.entities[uid]; s != nil {
		return s.entity, true
	}
	return types.Entity{}, false
}

// entity returns what is known of an entity of a request: what is stored, overlaid by those of the
// request's properties that the catalog lets requests state. root names it in messages.
func (s *Set) entity(root string, kind *entityKind, e *authz.Entity) (out types.Entity, missing []string, f *fault) {
	uid := types.NewEntityUID(kind.typ, types.String(e.ID))
	known := s.stored.entities[uid]
	if known != nil {
		out = known.entity
	} else {
		out.UID = uid
	}
	if kind.values != nil && !kind.values[uid.ID] {
		return out, nil, &fault{code: authz.CodeTypeUnknown, detail: fmt.Sprintf("%s %s is not one of the values that the schema enumerates", root, e.Ref)}
	}
	allowed := s.stored.fromAsker[kind.typ]
	if kind.shape == nil {
		return out, nil, nil
	}
	if len(allowed) == 0 || len(e.Properties) <= len("{}") {
		if known == nil {
			return out, kind.shape.missing(nil, root, nil), nil
		}
		for _, path := range known.missing {
			missing = append(missing, root+path)
		}
		return out, missing, nil
	}
	said := make(types.RecordMap)
	missing, _, f = s.schema.decode(said, root, kind.shape, e.Properties, allowed, nil, nil)
	if f != nil {
		return out, nil, f
	}
	if known != nil {
		for name, v := range out.Attributes.All() {
			if _, ok := said[name]; !ok {
				said[name] = v
			}
		}
	}
	out.Attributes = types.NewRecord(said)
	return out, kind.shape.missing(missing, root, said), nil
}
