package policy

import (
	"cmp"
	"encoding/binary"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/safeconduct/safeconduct/authz"
)

// A query is a request with its facts, in Cedar's terms, and what became of it.
type query struct {
	action    *action
	principal *entityKind
	resource  *entityKind
	request   cedar.Request
	entities  entities
	marks     []mark       // of the principal in the set's index, if they are known already
	grant     *authz.Grant // of the agent that is judged; nil if the subject is none
	walk      walk
	fault     *fault // what is wrong with the request; nil if nothing is, or if it was not judged

	context, words types.RecordMap // for building the request
	part, key      []byte          // what words, and context, hold
	lasting        bool            // whether another request may soon have the same context
	held           []bool          // for explaining
}

// query turns a request and its facts into Cedar's terms, with as much of the context as want says
// or, if it is nil, at least as the rules read that could apply, or says what is wrong with it. Nothing of what the caller says reaches observed values.
func (s *Set) query(req *authz.Request, f *authz.Facts, want *shape) (*query, *fault) {
	q := new(query)
	if flt := s.fill(q, req, f, want); flt != nil {
		return nil, flt
	}
	return q, nil
}

// A hearing is a request while it is judged: a query for each party that is heard.
type hearing struct {
	queries []*query
	heard   int // how many of them are in use
}

// hearings are used again: one that is free holds nothing of what was judged in it.
var hearings = sync.Pool{New: func() any { return new(hearing) }}

// next returns an empty query for one more party.
func (h *hearing) next() *query {
	if h.heard == len(h.queries) {
		h.queries = append(h.queries, new(query))
	}
	h.heard++
	return h.queries[h.heard-1]
}

func (h *hearing) free() {
	for _, q := range h.queries[:h.heard] {
		clear(q.context)
		clear(q.words)
		q.walk.reset()
		*q = query{context: q.context, words: q.words, part: q.part[:0], key: q.key[:0], walk: q.walk, held: q.held[:0]}
	}
	h.heard = 0
	hearings.Put(h)
}

// fill is query into a q that is empty.
func (s *Set) fill(q *query, req *authz.Request, f *authz.Facts, want *shape) *fault {
	a := s.schema.actions[req.Action.Name]
	if a == nil {
		return &fault{code: authz.CodeTypeUnknown, detail: "unknown action"}
	}
	pk, rk := s.schema.kinds[req.Subject.Type], s.schema.kinds[req.Resource.Type]
	switch {
	case pk == nil:
		return &fault{code: authz.CodeTypeUnknown, detail: "unknown subject type"}
	case rk == nil:
		return &fault{code: authz.CodeTypeUnknown, detail: "unknown resource type"}
	case !a.actsOn(pk.typ, rk.typ):
		return &fault{code: authz.CodeTypeUnknown, detail: "the action does not go with the types of subject and resource"}
	case strings.IndexByte(req.Subject.ID, 0) >= 0:
		return invalid("subject.id", "contains a NUL character")
	case strings.IndexByte(req.Resource.ID, 0) >= 0:
		return invalid("resource.id", "contains a NUL character")
	}
	if f.At.IsZero() {
		return &fault{code: authz.CodeSignalMissing, missing: []string{"time"}}
	}
	q.action, q.principal, q.resource, q.entities.stored = a, pk, rk, s.stored
	missing := f.Missing
	add := func(more []string) {
		if len(more) > 0 {
			missing = append(missing[:len(missing):len(missing)], more...)
		}
	}
	var acting *agentForm
	if f.Agent != nil {
		acting = s.agent(f.Agent, &f.Conduct)
		q.entities.agent = &acting.entity
	}
	if pk.typ == agentEntity {
		if q.grant = &f.Grant; f.Agent == nil || string(f.Agent.ID) != req.Subject.ID {
			// An agent for which another acts is judged by what it was granted and how it behaved itself.
			d := delegator(f, req.Subject.ID)
			if d == nil {
				return &fault{code: authz.CodeAgentUnknown, detail: "agent " + req.Subject.ID + " is not registered"}
			}
			own := *f
			own.Grant = d.Grant
			f, q.grant = &own, &d.Grant
			acting = s.agent(d.Agent, &d.Conduct)
		}
		q.entities.principal, q.marks = acting.entity, acting.marks
	} else {
		e, more, flt := s.entity("subject", pk, &req.Subject)
		if flt != nil {
			return flt
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
			return flt
		}
		add(more)
		q.entities.resource = e
	}
	if want == nil {
		// A context without the exact time may serve again.
		if q.walk.begin(s, q, f); q.walk.exact(s) {
			want = a.shape
		} else {
			want = a.timeless
		}
	}
	if q.context == nil {
		q.context, q.words = make(types.RecordMap, 3), make(types.RecordMap, 8)
	}
	q.key, q.lasting = appendText(q.key[:0], req.Action.Name), true
	if w := want.part("observed"); w != nil {
		q.context["observed"] = s.observed(q, req, f, w)
	}
	more, flt := s.said(q, "claimed", "claimed", a.claimed, a.claimedOpt, req.Context, want)
	if flt != nil {
		return flt
	}
	add(more)
	more, flt = s.said(q, "args", "action", a.args, a.argsOpt, req.Action.Properties, want)
	if flt != nil {
		return flt
	}
	add(more)
	if len(missing) > 0 {
		return &fault{code: authz.CodeSignalMissing, missing: missing}
	}
	q.request = cedar.Request{
		Principal: q.entities.principal.UID,
		Action:    a.uid,
		Resource:  q.entities.resource.UID,
		Context:   s.contextOf(q),
	}
	return nil
}

// contextOf returns the context of a query of which all members are known.
func (s *Set) contextOf(q *query) types.Record {
	if q.lasting {
		if known, ok := s.contexts.record(q.key).(types.Record); ok {
			return known
		}
	}
	r := types.NewRecord(q.context) // which copies
	if q.lasting {
		s.contexts.keep(q.key, r)
	}
	return r
}

// delegator returns what is known of an agent for which another acts, nil if it is none of those.
func delegator(f *authz.Facts, id string) *authz.Delegator {
	for i := range f.Behalf {
		if d := &f.Behalf[i]; d.Agent != nil && string(d.Agent.ID) == id {
			return d
		}
	}
	return nil
}

// said adds what the caller says to the context under the given name, if the schema knows of it.
// All of it is checked, also what nobody wants.
func (s *Set) said(q *query, name types.String, root string, t *valueType, optional bool, text authz.Claimed, want *shape) ([]string, *fault) {
	if t == nil || optional && len(text) == 0 {
		return nil, nil
	}
	clear(q.words)
	w := want.part(name)
	if w == nil {
		w = nothing // checked, and no more
	}
	key := appendText(append(q.part[:0], saidPart), string(name))
	key = binary.AppendUvarint(appendText(key, q.action.name), w.id)
	missing, key, f := s.schema.decode(q.words, root, t, text, nil, w, key)
	q.part = key
	if f != nil {
		return nil, f
	}
	missing = t.missing(missing, root, q.words)
	if !w.all && w.parts == nil {
		return missing, nil
	}
	q.context[name] = s.wanted(q, w)
	return missing, nil
}

// wanted returns the record of those of q.words that are wanted, which q.part tells.
func (s *Set) wanted(q *query, want *shape) types.Value {
	short := len(q.part) <= maxSaid
	if short {
		if r := s.parts.record(q.part); r != nil {
			q.key = appendText(append(q.key, saidPart), q.part)
			return r
		}
	}
	q.lasting = false // what was not said of late need not be said again
	for word := range q.words {
		if !want.has(word) {
			delete(q.words, word)
		}
	}
	r := types.NewRecord(q.words) // which copies
	if short {
		s.parts.keep(q.part, r)
	}
	return r
}

// maxSaid bounds, in bytes of its key, what is kept of that which callers say. Policies read little of it, and what they read
// is mostly short and said again and again: an amount, a domain, how sure an agent is.
const maxSaid = 160

func compareUID(a, b types.EntityUID) int {
	return cmp.Or(strings.Compare(string(a.Type), string(b.Type)), strings.Compare(string(a.ID), string(b.ID)))
}
