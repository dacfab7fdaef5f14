package api

import (
	"net/http"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// A question is an AuthZEN request as it was written, before it is known to be complete.
// In a batch, what an item leaves out is taken whole from the members beside "evaluations".
type question struct {
	subject, resource       authz.Entity
	action                  authz.Action
	context                 authz.Claimed
	seen                    *sight
	approval                *authz.ApprovalRef // that it refers to; nil if it refers to none
	bearer                  *authz.Bearer      // whose passport was presented; nil if none was
	hasSubject, hasResource bool
	hasAction, hasContext   bool
	items                   []pdp.Item // of "evaluations", before they inherit
	questions               []question // their questions, likewise
	semantics               pdp.Semantics
	pageToken               string
	pageLimit               int
}

// What a request's path allows beside the four entities.
type form uint8

const (
	single    form = iota
	batch          // "evaluations" and "options"
	searching      // "page"
	element        // an element of "evaluations"
)

// question reads a whole request body.
func (p *parser) question(f form) (q question, err error) {
	q.semantics = pdp.ExecuteAll
	err = p.object("the body", func(name []byte) (err error) {
		switch string(name) {
		case "subject":
			q.hasSubject = true
			q.subject, err = p.entity("subject")
		case "resource":
			q.hasResource = true
			q.resource, err = p.entity("resource")
		case "action":
			q.hasAction = true
			q.action, err = p.action()
		case "context":
			q.hasContext = true
			q.context, q.seen, q.approval, err = p.context()
		case "evaluations":
			if f != batch {
				return p.skip()
			}
			err = p.evaluations(&q)
		case "options":
			if f != batch {
				return p.skip()
			}
			err = p.options(&q)
		case "page":
			if f != searching {
				return p.skip()
			}
			err = p.page(&q)
		default: // "receivers MUST ignore unknown fields" (AuthZEN 1.0, section 10.1.1)
			err = p.skip()
		}
		return err
	})
	return q, err
}

// evaluations reads the elements of a batch. One that cannot be understood does not spoil the rest.
func (p *parser) evaluations(q *question) error {
	if p.dec.PeekKind() == 'n' {
		return p.skip()
	}
	return p.array("evaluations", func() error {
		if len(q.items) == p.lim.Batch {
			return invalid("evaluations has more than %d elements", p.lim.Batch)
		}
		text, err := p.raw()
		if err != nil {
			return err
		}
		sub := newParser(text, p.lim)
		defer sub.free()
		item, err := sub.question(element)
		q.questions = append(q.questions, item)
		q.items = append(q.items, pdp.Item{Err: err})
		return nil
	})
}

func (p *parser) options(q *question) error {
	return p.object("options", func(name []byte) error {
		if string(name) != "evaluations_semantic" {
			return p.skip()
		}
		s, err := p.str("options", ".evaluations_semantic", maxName)
		if err != nil {
			return err
		}
		switch q.semantics = pdp.Semantics(s); q.semantics {
		case pdp.ExecuteAll, pdp.DenyOnFirstDeny, pdp.PermitOnFirstPermit:
			return nil
		}
		return invalid("options.evaluations_semantic is none of execute_all, deny_on_first_deny, permit_on_first_permit: %.64q", s)
	})
}

// inherit gives q what it leaves out, from d.
func (q *question) inherit(d *question) {
	if !q.hasSubject {
		q.subject, q.hasSubject = d.subject, d.hasSubject
	}
	if !q.hasAction {
		q.action, q.hasAction = d.action, d.hasAction
	}
	if !q.hasResource {
		q.resource, q.hasResource = d.resource, d.hasResource
	}
	if !q.hasContext {
		q.context, q.seen, q.approval = d.context, d.seen, d.approval
	}
}

// request returns the question as a Request, if the caller may ask it and it is complete.
func (s *Server) request(r *http.Request, c *call, q *question) (authz.Request, error) {
	if err := s.bear(r, c, q); err != nil {
		return authz.Request{}, err
	}
	if err := q.complete(true, true, true); err != nil {
		return authz.Request{}, err
	}
	req := authz.Request{Subject: q.subject, Action: q.action, Resource: q.resource, Context: q.context}
	if err := q.look(&req, c); err != nil || q.approval == nil {
		return req, err
	}
	if req.Observed.Listing {
		return req, invalid("context.observed.listing says that there is no act, so there is no approval of one")
	}
	var err error
	req.Approval, err = s.refer(r.Context(), q.approval)
	return req, err
}

// mayLook returns authz.ErrForbidden if q says what was observed and who is no enforcement point.
func (q *question) mayLook(who *caller.Identity) error {
	if q.seen == nil || who.Enforces() {
		return nil
	}
	return authz.Errorf(authz.ErrForbidden, "only an enforcement point (role pep or edge) may send context.observed, context.supported_obligations or context.on_behalf_of")
}

// look sets what was observed of r. Only an enforcement point may say what it saw.
func (q *question) look(r *authz.Request, c *call) error {
	who := c.who
	if err := q.mayLook(who); err != nil {
		return err
	}
	r.Observed.Address, r.Observed.Method = c.address, c.method
	if q.seen != nil {
		if q.seen.onBehalf != nil && r.Subject.Type != authz.AgentType {
			return invalid("context.on_behalf_of needs a subject of type %q", authz.AgentType)
		}
		r.Observed, r.OnBehalf = q.seen.observed, q.seen.onBehalf
	}
	q.carry(r)
	r.Observed.RequestID = c.id
	// No enforcement point's name holds a colon, so an administrator who tries a request out is
	// never taken for one.
	r.Observed.PEP = who.Point()
	return nil
}

// complete returns authz.ErrInvalid if a required member is missing. The flags say whether the
// subject and the resource need an id, and whether there must be an action.
func (q *question) complete(subjectID, action, resourceID bool) error {
	switch {
	case !q.hasSubject:
		return invalid("subject is missing")
	case q.subject.Type == "":
		return invalid("subject.type is missing")
	case subjectID && q.subject.ID == "":
		return invalid("subject.id is missing")
	case action && !q.hasAction:
		return invalid("action is missing")
	case action && q.action.Name == "":
		return invalid("action.name is missing")
	case !q.hasResource:
		return invalid("resource is missing")
	case q.resource.Type == "":
		return invalid("resource.type is missing")
	case resourceID && q.resource.ID == "":
		return invalid("resource.id is missing")
	}
	return nil
}
