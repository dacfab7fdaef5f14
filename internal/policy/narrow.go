package policy

import (
	"slices"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// A narrower finds validators for policies. Cedar's validator looks at every action of its schema
// for every policy, so that the time to check a set grows with the product of both. A narrower gives
// it a schema in which only those actions apply to anything that the policy's scope leaves, which
// are those by which the validator judges; and of the others only those that the policy names. It
// is safe for concurrent use.
type narrower struct {
	full    *resolved.Schema
	uids    []types.EntityUID                      // of all actions, sorted
	samples []types.EntityUID                      // one action of every type, by which the validator knows the type
	members map[types.EntityUID][]types.EntityUID  // of an action group, itself included
	asked   map[types.EntityType][]types.EntityUID // the actions that apply to a principal type
	on      map[types.EntityType][]types.EntityUID // and to a resource type

	below map[types.EntityType][]types.EntityType // the types that can be directly in a type

	mu     sync.Mutex
	inside map[types.EntityType]map[types.EntityType]bool // types that can be in a type, itself included
	known  map[string]*validate.Validator
}

// newNarrower returns a narrower of a schema, of which r is all or a part: actions may be missing that
// apply to something.
func newNarrower(s *schema, r *resolved.Schema) *narrower {
	n := &narrower{
		full:    r,
		members: make(map[types.EntityUID][]types.EntityUID),
		asked:   make(map[types.EntityType][]types.EntityUID),
		on:      make(map[types.EntityType][]types.EntityUID),
		below:   make(map[types.EntityType][]types.EntityType),
		inside:  make(map[types.EntityType]map[types.EntityType]bool),
		known:   make(map[string]*validate.Validator),
	}
	for name, e := range r.Entities {
		for _, parent := range e.ParentTypes {
			n.below[parent] = append(n.below[parent], name)
		}
	}
	for uid := range r.Actions {
		n.uids = append(n.uids, uid)
	}
	slices.SortFunc(n.uids, compareUID)
	for i, uid := range n.uids {
		if i == 0 || uid.Type != n.uids[i-1].Type {
			n.samples = append(n.samples, uid)
		}
		for _, group := range s.groupsOf(uid) {
			n.members[group] = append(n.members[group], uid)
		}
		if to := r.Actions[uid].AppliesTo; to != nil {
			for _, t := range to.Principals {
				n.asked[t] = append(n.asked[t], uid)
			}
			for _, t := range to.Resources {
				n.on[t] = append(n.on[t], uid)
			}
		}
	}
	return n
}

// validator returns a strict validator that judges p as one of the whole schema would.
func (n *narrower) validator(p *ast.Policy) *validate.Validator {
	named := actionsNamed(p)
	principals, resources := n.typesOf(p.Principal), n.typesOf(p.Resource)
	_, all := p.Action.(ast.ScopeTypeAll)
	whole := all && principals == nil && resources == nil
	if whole {
		named = nil
	}
	key := n.key(p, named)
	n.mu.Lock()
	v := n.known[key]
	n.mu.Unlock()
	if v != nil {
		return v
	}
	s := *n.full
	if !whole {
		s.Actions = make(map[types.EntityUID]resolved.Action)
		for _, uid := range n.samples {
			n.add(&s, uid)
		}
		for _, uid := range named {
			n.add(&s, uid)
		}
		for _, uid := range n.reached(p.Action, principals, resources) {
			n.add(&s, uid)
			a := n.full.Actions[uid]
			if a.AppliesTo != nil && meets(a.AppliesTo.Principals, principals) && meets(a.AppliesTo.Resources, resources) {
				s.Actions[uid] = a
			}
		}
	}
	v = validate.New(&s, validate.WithStrict())
	n.mu.Lock()
	n.known[key] = v
	n.mu.Unlock()
	return v
}

// reaches reports whether an action applies to what the policy's scope leaves.
func (n *narrower) reaches(p *ast.Policy) bool {
	principals, resources := n.typesOf(p.Principal), n.typesOf(p.Resource)
	list := n.uids
	if _, all := p.Action.(ast.ScopeTypeAll); !all || principals != nil || resources != nil {
		list = n.reached(p.Action, principals, resources)
	}
	return slices.ContainsFunc(list, func(uid types.EntityUID) bool {
		to := n.full.Actions[uid].AppliesTo
		return to != nil && meets(to.Principals, principals) && meets(to.Resources, resources)
	})
}

// reached returns the actions that a policy may speak of: those of its scope, or if that is open,
// those that apply to one of the types that the rest of the scope leaves. At least one of these is
// then given.
func (n *narrower) reached(scope ast.IsActionScopeNode, principals, resources map[types.EntityType]bool) []types.EntityUID {
	var out []types.EntityUID
	if _, all := scope.(ast.ScopeTypeAll); !all {
		for _, uid := range scopeActions(scope) {
			out = append(out, n.members[uid]...)
		}
		return out
	}
	by, left := n.on, resources
	if resources == nil {
		by, left = n.asked, principals
	}
	for t := range left {
		out = append(out, by[t]...)
	}
	return out
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
	n.mu.Lock()
	defer n.mu.Unlock()
	if in := n.inside[t]; in != nil {
		return in
	}
	in := map[types.EntityType]bool{t: true}
	for list := []types.EntityType{t}; len(list) > 0; list = list[1:] {
		for _, below := range n.below[list[0]] {
			if !in[below] {
				in[below] = true
				list = append(list, below)
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
