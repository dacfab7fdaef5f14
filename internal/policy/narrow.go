package policy

import (
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// A narrower finds validators for policies. Cedar's validator looks at every action of its schema
// for every policy, so that the time to check a set grows with the product of both. A narrower gives
// it a schema in which only those actions apply to anything that the policy's scope leaves, which
// are those by which the validator judges; and of the others only those that the policy names.
type narrower struct {
	full    *resolved.Schema
	uids    []types.EntityUID                              // of all actions, sorted
	members map[types.EntityUID][]types.EntityUID          // of an action group, itself included
	inside  map[types.EntityType]map[types.EntityType]bool // types that can be in a type, itself included
	known   map[string]*validate.Validator
}

func newNarrower(s *schema) *narrower {
	n := &narrower{
		full:    s.resolved,
		members: make(map[types.EntityUID][]types.EntityUID),
		inside:  make(map[types.EntityType]map[types.EntityType]bool),
		known:   make(map[string]*validate.Validator),
	}
	for uid := range s.resolved.Actions {
		n.uids = append(n.uids, uid)
	}
	slices.SortFunc(n.uids, compareUID)
	for _, uid := range n.uids {
		for _, group := range s.groupsOf(uid) {
			n.members[group] = append(n.members[group], uid)
		}
	}
	return n
}

// validator returns a strict validator that judges p as one of the whole schema would.
func (n *narrower) validator(p *ast.Policy) *validate.Validator {
	named := actionsNamed(p)
	actions, all := n.uids, true
	if _, ok := p.Action.(ast.ScopeTypeAll); !ok {
		actions, all = nil, false
		for _, uid := range scopeActions(p.Action) {
			actions = append(actions, n.members[uid]...)
		}
	}
	principals, resources := n.typesOf(p.Principal), n.typesOf(p.Resource)
	if all && principals == nil && resources == nil {
		named = nil // the whole schema
	}
	key := n.key(p, named)
	if v := n.known[key]; v != nil {
		return v
	}
	s := *n.full
	if !all || principals != nil || resources != nil {
		s.Actions = make(map[types.EntityUID]resolved.Action)
		n.addTypes(&s)
		for _, uid := range named {
			n.add(&s, uid)
		}
		for _, uid := range actions {
			a := n.full.Actions[uid]
			fits := a.AppliesTo != nil && meets(a.AppliesTo.Principals, principals) && meets(a.AppliesTo.Resources, resources)
			if fits || !all {
				n.add(&s, uid)
			}
			if fits {
				s.Actions[uid] = a
			}
		}
	}
	v := validate.New(&s, validate.WithStrict())
	n.known[key] = v
	return v
}

// add puts an action and its groups into s, applying to nothing.
func (n *narrower) add(s *resolved.Schema, uid types.EntityUID) {
	a, known := n.full.Actions[uid]
	if _, have := s.Actions[uid]; have || !known {
		return
	}
	a.AppliesTo = nil
	s.Actions[uid] = a
	for p := range a.Entity.Parents.All() {
		n.add(s, p)
	}
}

// addTypes puts one action of every type into s, by which the validator knows the type.
func (n *narrower) addTypes(s *resolved.Schema) {
	var last types.EntityType
	for _, uid := range n.uids {
		if uid.Type != last {
			n.add(s, uid)
			last = uid.Type
		}
	}
}

// key returns what tells apart the schemas of two policies.
func (n *narrower) key(p *ast.Policy, named []types.EntityUID) string {
	var b strings.Builder
	part := func(s ...string) {
		for _, s := range s {
			b.WriteString(s)
			b.WriteByte(0)
		}
	}
	for _, s := range [...]ast.IsScopeNode{p.Principal, p.Resource} {
		switch s := s.(type) {
		case ast.ScopeTypeEq:
			part("is", string(s.Entity.Type))
		case ast.ScopeTypeIs:
			part("is", string(s.Type))
		case ast.ScopeTypeIn:
			part("in", string(s.Entity.Type))
		case ast.ScopeTypeIsIn:
			part("is", string(s.Type))
		default:
			part("all")
		}
	}
	if _, ok := p.Action.(ast.ScopeTypeAll); ok {
		part("all")
	}
	for _, uid := range scopeActions(p.Action) {
		part(string(uid.Type), string(uid.ID))
	}
	part("")
	for _, uid := range named {
		part(string(uid.Type), string(uid.ID))
	}
	return b.String()
}

// typesOf returns the types that a scope leaves, nil if all.
func (n *narrower) typesOf(s ast.IsScopeNode) map[types.EntityType]bool {
	switch s := s.(type) {
	case ast.ScopeTypeEq:
		return map[types.EntityType]bool{s.Entity.Type: true}
	case ast.ScopeTypeIs:
		return map[types.EntityType]bool{s.Type: true}
	case ast.ScopeTypeIsIn:
		return map[types.EntityType]bool{s.Type: true}
	case ast.ScopeTypeIn:
		return n.typesIn(s.Entity.Type)
	}
	return nil
}

// typesIn returns the types whose entities can be in one of type t, t included.
func (n *narrower) typesIn(t types.EntityType) map[types.EntityType]bool {
	if in := n.inside[t]; in != nil {
		return in
	}
	in := map[types.EntityType]bool{t: true}
	for grown := true; grown; {
		grown = false
		for name, e := range n.full.Entities {
			if !in[name] && slices.ContainsFunc(e.ParentTypes, func(p types.EntityType) bool { return in[p] }) {
				in[name], grown = true, true
			}
		}
	}
	n.inside[t] = in
	return in
}

// meets reports whether one of list is among the types that a scope leaves.
func meets(list []types.EntityType, left map[types.EntityType]bool) bool {
	return left == nil && len(list) > 0 || slices.ContainsFunc(list, func(t types.EntityType) bool { return left[t] })
}

func scopeActions(s ast.IsActionScopeNode) []types.EntityUID {
	switch s := s.(type) {
	case ast.ScopeTypeEq:
		return []types.EntityUID{s.Entity}
	case ast.ScopeTypeIn:
		return []types.EntityUID{s.Entity}
	case ast.ScopeTypeInSet:
		return s.Entities
	}
	return nil
}

// actionsNamed returns what p names that could be an action: entities, sorted, each once.
func actionsNamed(p *ast.Policy) []types.EntityUID {
	out := slices.Clone(scopeActions(p.Action))
	for _, s := range [...]ast.IsScopeNode{p.Principal, p.Resource} {
		switch s := s.(type) {
		case ast.ScopeTypeEq:
			out = append(out, s.Entity)
		case ast.ScopeTypeIn:
			out = append(out, s.Entity)
		case ast.ScopeTypeIsIn:
			out = append(out, s.Entity)
		}
	}
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			if v, ok := n.(ast.NodeValue); ok {
				if uid, ok := v.Value.(types.EntityUID); ok {
					out = append(out, uid)
				}
			}
			return true
		})
	}
	out = slices.DeleteFunc(out, func(uid types.EntityUID) bool {
		return uid.Type != "Action" && !strings.HasSuffix(string(uid.Type), "::Action")
	})
	slices.SortFunc(out, compareUID)
	return slices.Compact(out)
}
