package policy

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	cedarschema "github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"

	"github.com/safeconduct/safeconduct/authz"
)

// schemaFile is the name under which problems of the operator's schema are reported.
const schemaFile = "schema.cedarschema"

// Cedar names of what the base schema declares and this package fills in.
const (
	agentEntity      types.EntityType = "Agent"
	purposeEntity    types.EntityType = "Purpose"
	capabilityEntity types.EntityType = authz.CapabilityType
	observedType                      = "Observed"
)

// aliases of AuthZEN types that are not spelled like the Cedar type. A type of the operator's own
// with that very name goes before, except that "agent" is always the registered agent.
var aliases = map[string]types.EntityType{"agent": agentEntity, "user": "User"}

// A schema is the base schema and the operator's, resolved, and laid out for decoding requests.
type schema struct {
	resolved *resolved.Schema
	observed resolved.RecordType
	actions  map[string]*action     // by AuthZEN name
	kinds    map[string]*entityKind // by AuthZEN name, aliases included
	byType   map[types.EntityType]*entityKind
	groups   map[string]bool          // names of actions and action groups
	base     map[types.EntityUID]bool // actions that the base schema declares

	entityTypes map[string]types.EntityType // what kinds says, for references
}

// An action is one that requests can name.
type action struct {
	name       string
	uid        types.EntityUID
	entity     types.Entity      // with its groups, those of its groups, and so on
	groups     []types.EntityUID // itself first, then the same
	groupNames []string          // sorted, itself included
	marks      []mark            // in the set's index
	shape      *shape            // which parts of the context some rule reads that speaks of the action
	timeless   *shape            // likewise, some rule that does not read the exact time
	principals []types.EntityType
	resources  []types.EntityType
	claimed    *valueType // nil if the schema declares none
	args       *valueType
	claimedOpt bool // whether the context may lack claimed, or args
	argsOpt    bool
}

// An entityKind is an entity type that requests can name.
type entityKind struct {
	typ    types.EntityType
	shape  *valueType            // nil if it has no attributes
	values map[types.String]bool // of an enumeration, else nil
	tags   resolved.IsType
}

// actsOn reports whether the action applies to a principal and a resource of those types.
func (a *action) actsOn(principal, resource types.EntityType) bool {
	return slices.Contains(a.principals, principal) && slices.Contains(a.resources, resource)
}

var schemaPlace = regexp.MustCompile(`:?(\d+):(\d+): `)

// newSchema resolves the operator's schema together with the base schema. What it returns is nil
// if that was impossible.
func newSchema(text string, ps *Problems) *schema {
	problem := func(hint, format string, args ...any) {
		ps.add(Problem{File: schemaFile, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	if len(text) > maxSchema {
		problem("", "larger than %d bytes", maxSchema)
		return nil
	}
	if msg := badText(text); msg != "" {
		problem("", "%s", msg)
		return nil
	}
	if t, ok := nestedTypes(text); !ok {
		ps.add(Problem{File: schemaFile, Line: t.line, Column: t.column, Message: "nested too deeply"})
		return nil
	}
	var own, base cedarschema.Schema
	if err := base.UnmarshalCedar(baseSchema); err != nil {
		panic(fmt.Sprintf("base schema: %v", err))
	}
	if err := own.UnmarshalCedar([]byte(text)); err != nil {
		p := Problem{File: schemaFile, Message: err.Error()}
		if m := schemaPlace.FindStringSubmatchIndex(p.Message); m != nil {
			fmt.Sscan(p.Message[m[2]:m[3]], &p.Line)
			fmt.Sscan(p.Message[m[4]:m[5]], &p.Column)
			p.Message = p.Message[m[1]:]
		}
		ps.add(p)
		return nil
	}
	merged := base.AST()
	given := make(map[types.EntityUID]bool)
	for name := range merged.Actions {
		given[types.NewEntityUID("Action", types.String(name))] = true
	}
	clash := false
	taken := func(kind, name string) {
		clash = true
		problem("choose another name; the base schema cannot be changed", "%s %s is declared by the base schema", kind, name)
	}
	mergeInto(&merged.Entities, own.AST().Entities, "entity", taken)
	mergeInto(&merged.Enums, own.AST().Enums, "entity", taken)
	mergeInto(&merged.CommonTypes, own.AST().CommonTypes, "type", taken)
	mergeInto(&merged.Actions, own.AST().Actions, "action", taken)
	mergeInto(&merged.Namespaces, own.AST().Namespaces, "namespace", taken)
	for name := range merged.Enums {
		if _, ok := merged.Entities[name]; ok {
			taken("entity", string(name))
		}
	}
	if clash {
		return nil
	}
	if n := expansion(merged); n > maxExpansion {
		problem("", "too large when its types are written out: more than %d attributes", maxExpansion)
		return nil
	}
	r, err := cedarschema.NewSchemaFromAST(merged).Resolve()
	if err != nil {
		problem("", "%v", err)
		return nil
	}
	return layOut(r, given, cedarObserved(), problem)
}

// mergeInto adds the declarations of from to those of into, and calls taken for each that is in both.
func mergeInto[M ~map[K]V, K ~string, V any](into *M, from M, kind string, taken func(kind, name string)) {
	if *into == nil {
		*into = M{}
	}
	for name, d := range from {
		if _, ok := (*into)[name]; ok {
			taken(kind, string(name))
			continue
		}
		(*into)[name] = d
	}
}

// cedarObserved returns the resolved type of context.observed.
func cedarObserved() resolved.RecordType {
	var probe cedarschema.Schema
	text := string(baseSchema) + "\naction \"\" appliesTo { principal: [Agent], resource: [Agent], context: { observed: Observed } };\n"
	if err := probe.UnmarshalCedar([]byte(text)); err != nil {
		panic(fmt.Sprintf("base schema: %v", err))
	}
	r, err := probe.Resolve()
	if err != nil {
		panic(fmt.Sprintf("base schema: %v", err))
	}
	return r.Actions[types.NewEntityUID("Action", "")].AppliesTo.Context["observed"].Type.(resolved.RecordType)
}

func layOut(r *resolved.Schema, base map[types.EntityUID]bool, observed resolved.RecordType, problem func(hint, format string, args ...any)) *schema {
	s := &schema{
		resolved: r,
		observed: observed,
		actions:  make(map[string]*action),
		kinds:    make(map[string]*entityKind),
		byType:   make(map[types.EntityType]*entityKind),
		groups:   make(map[string]bool),
		base:     base,

		entityTypes: make(map[string]types.EntityType),
	}
	for t, e := range r.Entities {
		s.byType[t] = &entityKind{typ: t, shape: newValueType(e.Shape), tags: e.Tags}
	}
	for t, e := range r.Enums {
		k := &entityKind{typ: t, values: make(map[types.String]bool)}
		for _, v := range e.Values {
			k.values[v.ID] = true
		}
		s.byType[t] = k
	}
	for t, k := range s.byType {
		s.kinds[string(t)] = k
	}
	for name, t := range aliases {
		if k, own := s.kinds[name]; !own {
			s.kinds[name] = s.byType[t]
		} else if t == agentEntity {
			problem("choose another name", "entity %s would be taken for the registered agents, whose AuthZEN type is %q", k.typ, name)
		}
	}
	for name, k := range s.kinds {
		s.entityTypes[name] = k.typ
	}
	uids := make([]types.EntityUID, 0, len(r.Actions))
	for uid := range r.Actions {
		uids = append(uids, uid)
	}
	slices.SortFunc(uids, func(a, b types.EntityUID) int {
		return cmp.Or(strings.Compare(string(a.Type), string(b.Type)), strings.Compare(string(a.ID), string(b.ID)))
	})
	for _, uid := range uids {
		name := actionName(uid)
		if s.groups[name] {
			problem("rename one of them", "two actions are named %q in requests", name)
			continue
		}
		s.groups[name] = true
		if a := s.layOutAction(name, r.Actions[uid], problem); a != nil {
			s.actions[name] = a
		}
	}
	return s
}

// actionName returns the name that requests use for an action: its id, preceded by its namespace
// if it has one.
func actionName(uid types.EntityUID) string {
	if ns, ok := strings.CutSuffix(string(uid.Type), "::Action"); ok {
		return ns + "::" + string(uid.ID)
	}
	return string(uid.ID)
}

func (s *schema) layOutAction(name string, ra resolved.Action, problem func(hint, format string, args ...any)) *action {
	a := &action{name: name, uid: ra.Entity.UID, groups: s.groupsOf(ra.Entity.UID)}
	a.entity = types.Entity{UID: a.uid, Parents: types.NewEntityUIDSet(a.groups[1:]...)}
	for _, g := range a.groups {
		a.groupNames = append(a.groupNames, actionName(g))
	}
	slices.Sort(a.groupNames)
	if ra.AppliesTo == nil {
		return nil // a group, which no request can name
	}
	a.principals, a.resources = ra.AppliesTo.Principals, ra.AppliesTo.Resources
	const hint = "write `context: { observed: Observed, claimed: Claimed, args: { ... } }`; claimed and args may be left out"
	ok := true
	context := ra.AppliesTo.Context
	if o, has := context["observed"]; !has || o.Optional || !sameType(o.Type, s.observed) {
		problem(hint, "the context of action %q has no required `observed: Observed`", name)
		ok = false
	}
	for key, attr := range context {
		switch key {
		case "observed":
		case "claimed", "args":
			rec, is := attr.Type.(resolved.RecordType)
			if !is {
				problem(hint, "context.%s of action %q is not a record", key, name)
				ok = false
				continue
			}
			if key == "claimed" {
				a.claimed, a.claimedOpt = newValueType(rec), attr.Optional
			} else {
				a.args, a.argsOpt = newValueType(rec), attr.Optional
			}
		default:
			problem(hint, "the context of action %q has an attribute %q that nobody fills in", name, key)
			ok = false
		}
	}
	if !ok {
		return nil
	}
	return a
}

// groupsOf returns an action, then its groups, those of its groups, and so on. The resolver has
// refused cycles.
func (s *schema) groupsOf(uid types.EntityUID) []types.EntityUID {
	out := []types.EntityUID{uid}
	for i := 0; i < len(out); i++ {
		for p := range s.resolved.Actions[out[i]].Entity.Parents.All() {
			if !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// sameType reports whether two resolved types are the same.
func sameType(a, b resolved.IsType) bool {
	switch a := a.(type) {
	case resolved.SetType:
		b, ok := b.(resolved.SetType)
		return ok && sameType(a.Element, b.Element)
	case resolved.RecordType:
		b, ok := b.(resolved.RecordType)
		if !ok || len(a) != len(b) {
			return false
		}
		for name, x := range a {
			if y, ok := b[name]; !ok || x.Optional != y.Optional || !sameType(x.Type, y.Type) {
				return false
			}
		}
		return true
	}
	if _, ok := b.(resolved.SetType); ok {
		return false
	}
	if _, ok := b.(resolved.RecordType); ok {
		return false
	}
	return a == b
}

// KnowsType reports whether requests may name the type.
func (s *Set) KnowsType(name string) bool { return s.schema.kinds[name] != nil }

// KnowsAction reports whether the schema declares an action or a group of actions of that name.
func (s *Set) KnowsAction(name string) bool { return s.schema.groups[name] }

// Actions returns the names of the actions that requests may name, sorted.
func (s *Set) Actions() []string {
	out := make([]string, 0, len(s.schema.actions))
	for name := range s.schema.actions {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// ActionGroups returns the names of an action and of the groups it belongs to, sorted; nil if there
// is no such action. The slice is shared: do not modify it.
func (s *Set) ActionGroups(action string) []string {
	if a := s.schema.actions[action]; a != nil {
		return a.groupNames
	}
	return nil
}

// Applies reports whether the action exists and can be done by a subject of the one type to a
// resource of the other.
func (s *Set) Applies(action, subjectType, resourceType string) bool {
	a, p, r := s.schema.actions[action], s.schema.kinds[subjectType], s.schema.kinds[resourceType]
	return a != nil && p != nil && r != nil && a.actsOn(p.typ, r.typ)
}
