package policy

import (
	"maps"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	cedarast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"

	"github.com/safeconduct/safeconduct/authz"
)

// For the comparisons with Cedar's own corpus and implementation, which have no observed context,
// no catalog and no agents.

var ValidatePolicy = validatePolicy

// ParsePolicies reads a policy text as Compile does.
func ParsePolicies(name, text string) ([]*cedar.Policy, error) {
	var ps Problems
	var out []*cedar.Policy
	for _, r := range parsePolicies([]File{{Name: name, Text: text}}, &ps) {
		out = append(out, r.policy)
	}
	return out, ps.Err()
}

// A Bench is a Set with nothing but policies and entities.
type Bench struct{ set *Set }

// NewBench arranges and indexes the policies as Compile does. The schema may be nil.
func NewBench(policies *cedar.PolicySet, rs *resolved.Schema, em types.EntityMap) *Bench {
	s := &Set{
		schema: &schema{actions: make(map[string]*action)},
		stored: &stored{entities: make(map[types.EntityUID]*storedEntity)},
		memo:   newMemo(),
		agents: newAgents(),
	}
	for uid, e := range em {
		s.stored.entities[uid] = &storedEntity{entity: e}
	}
	if rs != nil {
		s.schema.resolved = rs
	}
	for uid, e := range s.stored.entities {
		e.ancestors, _ = s.stored.closure(uid)
	}
	all := maps.Collect(policies.All())
	var rules []*rule
	for _, id := range slices.Sorted(maps.Keys(all)) {
		ast := (*cedarast.Policy)(all[id].AST())
		rules = append(rules, &rule{id: string(id), policy: all[id], ast: ast, forbid: ast.Effect == cedarast.EffectForbid})
	}
	s.arrange(rules)
	return &Bench{s}
}

// Judge returns our answer, and which policies were satisfied and which erred in each of the two
// sets, among those that the index found.
func (b *Bench) Judge(req cedar.Request) (allowed bool, forbidding, permitting, erring []string) {
	s := b.set
	entity := func(uid types.EntityUID) types.Entity {
		if e := s.stored.entities[uid]; e != nil {
			return e.entity
		}
		return types.Entity{UID: uid}
	}
	groups, _ := s.stored.closure(req.Action)
	q := &query{
		action:   &action{uid: req.Action, groups: groups, marks: s.index.marks(nil, groups)},
		request:  req,
		entities: entities{stored: s.stored, principal: entity(req.Principal), resource: entity(req.Resource)},
	}
	var d authz.Decision
	s.judge(&d, q, &authz.Request{}, &authz.Facts{}, noRemedy, new(needs))

	w := walk{
		principal: s.marks(nil, &q.entities.principal),
		resource:  s.marks(nil, &q.entities.resource),
	}
	w.list = s.index.candidates(nil, w.principal, q.action.marks, w.resource)
	w.split(s, &authz.Facts{})
	ids := func(c class) (satisfied []string) {
		var fired authz.Decision
		w.run(s, q, w.of(c), &fired)
		for _, f := range fired.Fired {
			if f.Error == "" {
				satisfied = append(satisfied, f.Policy)
			} else {
				erring = append(erring, f.Policy)
			}
		}
		return satisfied
	}
	forbidding, permitting = ids(forbids), ids(permits)
	slices.Sort(erring)
	return d.Allowed(), forbidding, permitting, erring
}
