package policy

import (
	"cmp"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/safeconduct/safeconduct/authz"
)

// A query is a request with its facts, in Cedar's terms.
type query struct {
	action    *action
	principal *entityKind
	resource  *entityKind
	request   cedar.Request
	entities  entities
}

// query turns a request and its facts into Cedar's terms, with as much of the context as want says,
// or says what is wrong with it. Nothing of what the caller says reaches observed values.
func (s *Set) query(req *authz.Request, f *authz.Facts, want *shape) (*query, *fault) {
	a := s.schema.actions[req.Action.Name]
	if a == nil {
		return nil, &fault{code: authz.CodeTypeUnknown, detail: "unknown action"}
	}
	pk, rk := s.schema.kinds[req.Subject.Type], s.schema.kinds[req.Resource.Type]
	switch {
	case pk == nil:
		return nil, &fault{code: authz.CodeTypeUnknown, detail: "unknown subject type"}
	case rk == nil:
		return nil, &fault{code: authz.CodeTypeUnknown, detail: "unknown resource type"}
	case !a.actsOn(pk.typ, rk.typ):
		return nil, &fault{code: authz.CodeTypeUnknown, detail: "the action does not go with the types of subject and resource"}
	case strings.IndexByte(req.Subject.ID, 0) >= 0:
		return nil, invalid("subject.id", "contains a NUL character")
	case strings.IndexByte(req.Resource.ID, 0) >= 0:
		return nil, invalid("resource.id", "contains a NUL character")
	}
	if f.At.IsZero() {
		return nil, &fault{code: authz.CodeSignalMissing, missing: []string{"time"}}
	}
	q := &query{action: a, principal: pk, resource: rk, entities: entities{stored: s.stored}}
	missing := f.Missing
	add := func(more []string) {
		if len(more) > 0 {
			missing = append(missing[:len(missing):len(missing)], more...)
		}
	}
	if f.Agent != nil {
		q.entities.agent = s.agents.entity(f.Agent)
	}
	if pk.typ == agentEntity {
		if f.Agent == nil || string(f.Agent.ID) != req.Subject.ID {
			return nil, &fault{code: authz.CodeAgentUnknown, detail: "the acting agent is not registered"}
		}
		q.entities.principal = *q.entities.agent
	} else {
		e, more, flt := s.entity("subject", pk, &req.Subject)
		if flt != nil {
			return nil, flt
		}
		add(more)
		q.entities.principal = e
	}
	if rk.typ == agentEntity {
		// Of another agent only the name is known, so that reading its attributes errs.
		q.entities.resource.UID = types.NewEntityUID(agentEntity, types.String(req.Resource.ID))
		if q.entities.agent != nil && q.entities.agent.UID == q.entities.resource.UID {
			q.entities.resource = *q.entities.agent
		}
	} else {
		e, more, flt := s.entity("resource", rk, &req.Resource)
		if flt != nil {
			return nil, flt
		}
		add(more)
		q.entities.resource = e
	}
	context := make(types.RecordMap, 3)
	context["observed"] = s.observed(req, f, want.part("observed"))
	more, flt := s.said(context, "claimed", "claimed", a.claimed, a.claimedOpt, req.Context)
	if flt != nil {
		return nil, flt
	}
	add(more)
	more, flt = s.said(context, "args", "action", a.args, a.argsOpt, req.Action.Properties)
	if flt != nil {
		return nil, flt
	}
	add(more)
	if len(missing) > 0 {
		return nil, &fault{code: authz.CodeSignalMissing, missing: missing}
	}
	q.request = cedar.Request{
		Principal: q.entities.principal.UID,
		Action:    a.uid,
		Resource:  q.entities.resource.UID,
		Context:   types.NewRecord(context),
	}
	return q, nil
}

// said adds what the caller says to the context under the given name, if the schema knows of it.
func (s *Set) said(context types.RecordMap, name types.String, root string, t *valueType, optional bool, text authz.Claimed) ([]string, *fault) {
	if t == nil || optional && len(text) == 0 {
		return nil, nil
	}
	m, missing, f := s.schema.decode(root, t, text, nil)
	if f != nil {
		return nil, f
	}
	context[name] = types.NewRecord(m)
	return t.missing(missing, root, m), nil
}

func compareUID(a, b types.EntityUID) int {
	return cmp.Or(strings.Compare(string(a.Type), string(b.Type)), strings.Compare(string(a.ID), string(b.ID)))
}
