package token

import (
	"strconv"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Types of what the access request profile signs. Both are ours: the draft leaves them open.
const (
	BindingType       = "authzen-binding+jwt"  // a binding_token
	ApprovalStateType = "authzen-approval+jwt" // an approval.state
)

// A Binding has the claims of a binding_token (ARAP, Binding Token Integrity), in the hashed form: it proves
// to who takes access requests that we refused just this act, and until when it may be asked about.
type Binding struct {
	Issuer        string
	Audience      []string
	ID            string // jti
	IssuedAt      time.Time
	Expires       time.Time
	DenialExpires time.Time // denial_expires_at, in whole seconds
	Members       []string  // binding_context_members; may be empty, never nil
	Hash          string    // binding_hash
	Evaluation    string    // evaluation_id
}

// Sign returns the binding_token. authz.ErrInvalid: it would be longer than MaxToken.
func (b *Binding) Sign(s *Signer) (string, error) {
	p := appendIssued(nil, b.Issuer, b.Audience, b.ID, b.IssuedAt, b.Expires)
	p = appendText(p, `,"denial_expires_at":`, b.DenialExpires.UTC().Format(time.RFC3339))
	p = appendBinding(p, b.Members, b.Hash)
	p = appendText(p, `,"evaluation_id":`, b.Evaluation)
	return s.Sign(BindingType, append(p, '}'))
}

// ParseBinding reads the payload of a verified JWS of BindingType. It returns authz.ErrInvalid if a claim is
// missing or is not as we write it. Claims that it does not know are skipped: the draft lets others add some.
func ParseBinding(payload []byte) (*Binding, error) {
	b := new(Binding)
	err := readObject("the binding token", payload, func(r *reader, name string) {
		switch name {
		case "iss":
			b.Issuer = r.text()
		case "aud":
			b.Audience = r.oneOrMore()
		case "jti":
			b.ID = r.text()
		case "iat":
			b.IssuedAt = r.second()
		case "exp":
			b.Expires = r.second()
		case "denial_expires_at":
			b.DenialExpires = r.stamp()
		case "binding_context_members":
			b.Members = r.boundMembers()
		case "binding_hash":
			b.Hash = r.hash()
		case "evaluation_id":
			b.Evaluation = r.text()
		default:
			r.skip()
		}
	})
	if err != nil {
		return nil, err
	}
	if b.Issuer == "" || b.Audience == nil || b.ID == "" || b.IssuedAt.IsZero() || b.Expires.IsZero() ||
		b.DenialExpires.IsZero() || b.Members == nil || b.Hash == "" || b.Evaluation == "" {
		return nil, authz.Errorf(authz.ErrInvalid, "the binding token lacks one of iss, aud, jti, iat, exp, denial_expires_at, binding_context_members, binding_hash, evaluation_id")
	}
	return b, nil
}

// An ApprovalState has the claims of an approval.state (ARAP, Completion Semantics): who gave an approval, to
// which ask, for which act. It grants nothing by itself: whether the approval holds, and how far, is looked
// up by its id.
type ApprovalState struct {
	Issuer     string
	Audience   []string // the decision points that may verify it
	IssuedAt   time.Time
	Expires    time.Time // approved_until, or earlier
	Approval   string    // approval_id
	Task       string    // task_id: of the access request
	Evaluation string    // evaluation_id: of the denial
	Members    []string  // binding_context_members; may be empty, never nil
	Hash       string    // binding_hash: of the approved act
}

// Sign returns the approval.state. authz.ErrInvalid: it would be longer than MaxToken.
func (a *ApprovalState) Sign(s *Signer) (string, error) {
	p := appendIssued(nil, a.Issuer, a.Audience, "", a.IssuedAt, a.Expires)
	p = appendText(p, `,"approval_id":`, a.Approval)
	p = appendText(p, `,"task_id":`, a.Task)
	p = appendText(p, `,"evaluation_id":`, a.Evaluation)
	return s.Sign(ApprovalStateType, append(appendBinding(p, a.Members, a.Hash), '}'))
}

// ParseApprovalState reads the payload of a verified JWS of ApprovalStateType. It returns authz.ErrInvalid if
// a claim is missing or is not as we write it. Claims that it does not know are skipped.
func ParseApprovalState(payload []byte) (*ApprovalState, error) {
	a := new(ApprovalState)
	err := readObject("the approval state", payload, func(r *reader, name string) {
		switch name {
		case "iss":
			a.Issuer = r.text()
		case "aud":
			a.Audience = r.oneOrMore()
		case "iat":
			a.IssuedAt = r.second()
		case "exp":
			a.Expires = r.second()
		case "approval_id":
			a.Approval = r.text()
		case "task_id":
			a.Task = r.text()
		case "evaluation_id":
			a.Evaluation = r.text()
		case "binding_context_members":
			a.Members = r.boundMembers()
		case "binding_hash":
			a.Hash = r.hash()
		default:
			r.skip()
		}
	})
	if err != nil {
		return nil, err
	}
	if a.Issuer == "" || a.Audience == nil || a.IssuedAt.IsZero() || a.Expires.IsZero() || a.Approval == "" || a.Task == "" || a.Members == nil || a.Hash == "" {
		return nil, authz.Errorf(authz.ErrInvalid, "the approval state lacks one of iss, aud, iat, exp, approval_id, task_id, binding_context_members, binding_hash")
	}
	return a, nil
}

// appendIssued begins an object with the claims that say who made it, for whom, and for how long.
func appendIssued(b []byte, issuer string, audience []string, id string, at, until time.Time) []byte {
	b = append(b, `{"iss":`...)
	b = appendString(b, issuer)
	b = append(b, `,"aud":`...)
	if len(audience) == 1 {
		b = appendString(b, audience[0])
	} else {
		b = appendStrings(b, audience)
	}
	b = appendText(b, `,"jti":`, id)
	b = append(b, `,"iat":`...)
	b = strconv.AppendInt(b, at.Unix(), 10)
	b = append(b, `,"exp":`...)
	return strconv.AppendInt(b, until.Unix(), 10)
}

func appendBinding(b []byte, members []string, hash string) []byte {
	b = append(b, `,"binding_context_members":`...)
	b = appendStrings(b, members)
	return appendText(b, `,"binding_hash":`, hash)
}

// stamp returns the RFC 3339 time that comes next, in whole seconds.
func (r *reader) stamp() time.Time {
	t, err := time.Parse(time.RFC3339, r.text())
	if err != nil || t.Nanosecond() != 0 {
		r.fail("must be an RFC 3339 time in whole seconds")
		return time.Time{}
	}
	return t.UTC()
}

// boundMembers returns the array of names that comes next, which may be empty.
func (r *reader) boundMembers() []string {
	list := []string{}
	r.elements(func() {
		if list = append(list, r.text()); len(list) > MaxMembers {
			r.fail("names more than %d members", MaxMembers)
		}
	})
	return list
}
