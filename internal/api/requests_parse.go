package api

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
)

// A submission is the body of an access request (ARAP, Access Request Submission).
type submission struct {
	subject  authz.Entity
	items    []submitted // one, unless bulk
	bulk     bool
	context  authz.Claimed
	seen     *sight
	denial   *denial
	access   requestedAccess
	callback *approval.Callback
	client   json.RawMessage
	actor    []actorName // of client.actor: the chain, nearest first

	justification string
}

// A submitted is one act that is asked for.
type submitted struct {
	action   authz.Action
	resource authz.Entity
	denial   *denial // nil: that of the submission
	access   *requestedAccess

	hasAction, hasResource bool
}

// A denial says which refusal is asked about: what the refusal said itself.
type denial struct {
	evaluation, template, token string
	expires                     time.Time
}

// requestedAccess is how far and how fast the requester wants it. It decides nothing.
type requestedAccess struct {
	until                   time.Time
	emergency, hasEmergency bool
}

// An actorName is who is said to act: an identifier, and who gave it, "" if that is not said.
type actorName struct{ id, issuer string }

// Bounds of a submission.
const (
	maxSubmission     = 512 << 10
	maxClient         = 8 << 10
	maxCallbackState  = 4 << 10
	maxBindingToken   = 8 << 10
	maxTemplate       = 2048
	maxIdempotencyKey = 255
)

// submission reads a whole body. Members that the draft does not have are ignored, as it demands.
func (p *parser) submission() (*submission, error) {
	s := new(submission)
	var single submitted
	var hasSubject bool
	err := p.object("the body", func(name []byte) (err error) {
		switch string(name) {
		case "subject":
			hasSubject = true
			s.subject, err = p.entity("subject")
		case "resource":
			single.hasResource = true
			single.resource, err = p.entity("resource")
		case "action":
			single.hasAction = true
			single.action, err = p.action()
		case "items":
			s.bulk = true
			err = p.submittedItems(s)
		case "context":
			s.context, s.seen, _, err = p.context()
		case "denial":
			s.denial, err = p.denial("denial")
		case "requested_access":
			s.access, err = p.requestedAccess("requested_access")
		case "callback":
			s.callback, err = p.callback()
		case "client":
			err = p.client(s)
		default:
			err = p.skip()
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case !hasSubject || s.subject.Type == "" || s.subject.ID == "":
		return nil, invalid("subject is missing, or lacks its type or id")
	case s.bulk && (single.hasResource || single.hasAction):
		return nil, invalid("resource and action are left out beside items")
	case s.bulk && len(s.items) == 0:
		return nil, invalid("items is empty")
	case !s.bulk:
		s.items = []submitted{single}
	}
	for i := range s.items {
		if err := s.items[i].complete(); err != nil {
			return nil, err
		}
	}
	s.justification, err = justification(s.context)
	return s, err
}

func (it *submitted) complete() error {
	if it.action.Name == "" || it.resource.Type == "" || it.resource.ID == "" {
		return invalid("an act needs an action with a name, and a resource with a type and an id")
	}
	return nil
}

func (p *parser) submittedItems(s *submission) error {
	return p.array("items", func() error {
		if len(s.items) == approval.MaxItems {
			return invalid("items has more than %d elements", approval.MaxItems)
		}
		var it submitted
		err := p.object("an element of items", func(name []byte) (err error) {
			switch string(name) {
			case "resource":
				it.resource, err = p.entity("items.resource")
			case "action":
				it.action, err = p.action()
			case "denial":
				it.denial, err = p.denial("items.denial")
			case "requested_access":
				var a requestedAccess
				a, err = p.requestedAccess("items.requested_access")
				it.access = &a
			default:
				err = p.skip()
			}
			return err
		})
		s.items = append(s.items, it)
		return err
	})
}

func (p *parser) denial(what string) (*denial, error) {
	d := new(denial)
	err := p.object(what, func(name []byte) (err error) {
		switch string(name) {
		case "evaluation_id":
			d.evaluation, err = p.str(what, ".evaluation_id", 64)
		case "template":
			d.template, err = p.str(what, ".template", maxTemplate)
		case "binding_token":
			d.token, err = p.str(what, ".binding_token", maxBindingToken)
		case "expires_at":
			d.expires, err = p.time(what, ".expires_at")
		default: // reason and evaluated_at are in our record
			err = p.skip()
		}
		return err
	})
	return d, err
}

func (p *parser) requestedAccess(what string) (a requestedAccess, err error) {
	err = p.object(what, func(name []byte) (err error) {
		switch string(name) {
		case "requested_until":
			a.until, err = p.time(what, ".requested_until")
		case "emergency":
			a.hasEmergency = true
			a.emergency, err = p.boolean(what, ".emergency")
		default:
			err = p.skip()
		}
		return err
	})
	return a, err
}

// over returns a with what it leaves out taken from b.
func (a *requestedAccess) over(b requestedAccess) requestedAccess {
	if a == nil {
		return b
	}
	if !a.until.IsZero() {
		b.until = a.until
	}
	if a.hasEmergency {
		b.emergency = a.emergency
	}
	return b
}

func (p *parser) callback() (*approval.Callback, error) {
	c := new(approval.Callback)
	err := p.object("callback", func(name []byte) (err error) {
		switch string(name) {
		case "endpoint":
			c.Endpoint, err = p.str("callback", ".endpoint", maxURL)
		case "state":
			var raw []byte
			if raw, err = p.raw(); err == nil && len(raw) > maxCallbackState {
				err = invalid("callback.state has more than %d bytes", maxCallbackState)
			}
			c.State = raw
		case "events":
			err = p.array("callback.events", func() error {
				e, err := p.str("an element of ", "callback.events", 32)
				if err != nil {
					return err
				}
				switch approval.Status(e) {
				case approval.Approved, approval.Denied, approval.Expired, approval.Cancelled, approval.Failed, approval.Partial:
				default:
					return invalid("callback.events has an element that is none of approved, denied, expired, cancelled, failed, partial: %.32q", e)
				}
				if len(c.Events) == 16 {
					return invalid("callback.events has more than 16 elements")
				}
				c.Events = append(c.Events, e)
				return nil
			})
		default:
			err = p.skip()
		}
		return err
	})
	if err == nil && c.Endpoint == "" {
		err = invalid("callback.endpoint is missing")
	}
	return c, err
}

// client keeps who says to submit, as it is, and reads the actors it claims.
func (p *parser) client(s *submission) error {
	raw, err := p.raw()
	if err != nil {
		return err
	}
	if len(raw) > maxClient {
		return invalid("client has more than %d bytes", maxClient)
	}
	s.client = raw
	sub := newParser(raw, p.lim)
	defer sub.free()
	return sub.object("client", func(name []byte) (err error) {
		if string(name) != "actor" {
			return sub.skip()
		}
		s.actor, err = sub.actors("client.actor", "id", "issuer")
		return err
	})
}

// actors reads an actor and, in its members "act", those before it. The names of the members are those of
// client.actor for the first, and those of a token for the others (ARAP, Delegation).
func (p *parser) actors(what, id, issuer string) (chain []actorName, err error) {
	var who actorName
	var rest []actorName
	err = p.object(what, func(name []byte) (err error) {
		switch string(name) {
		case id:
			who.id, err = p.str(what, "."+id, maxID)
		case issuer:
			who.issuer, err = p.str(what, "."+issuer, maxURL)
		case "act":
			rest, err = p.actors(what+".act", "sub", "iss")
		default:
			err = p.skip()
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case who.id == "":
		return nil, invalid("%s.%s is missing", what, id)
	case len(rest) == maxPersons:
		return nil, invalid("%s names more than %d actors", what, maxPersons)
	}
	return append([]actorName{who}, rest...), nil
}

func (p *parser) time(what, member string) (time.Time, error) {
	text, err := p.str(what, member, 64)
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, invalid("%s%s is no RFC 3339 time: %.64q", what, member, text)
	}
	return t.UTC(), nil
}

func (p *parser) boolean(what, member string) (bool, error) {
	switch p.dec.PeekKind() {
	case 't', 'f':
	default:
		return false, invalid("%s%s must be true or false", what, member)
	}
	v, err := p.raw()
	return string(v) == "true", err
}

// justification returns why the requester asks: the context's member business_justification. It is the words of
// an agent, or of a text that was injected into it: whoever shows it must show it as such.
func justification(context authz.Claimed) (string, error) {
	if len(context) == 0 {
		return "", nil
	}
	var c struct {
		Why json.RawMessage `json:"business_justification"`
	}
	if err := json.Unmarshal(context, &c); err != nil || len(c.Why) == 0 || string(c.Why) == "null" {
		return "", err
	}
	var why string
	if json.Unmarshal(c.Why, &why) != nil || len(why) > approval.MaxText {
		return "", invalid("context.business_justification must be text of at most %d bytes", approval.MaxText)
	}
	if strings.ContainsFunc(why, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 }) {
		return "", invalid("context.business_justification has control characters")
	}
	return why, nil
}
