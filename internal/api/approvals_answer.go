package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/caller"
)

type askID struct {
	ID string `path:"id" json:"-" doc:"of the ask: arq_..."`
}

type viewAsk struct{ askID }

// An AskViewing is that somebody looked at an ask. An answer names it.
type AskViewing struct {
	View int64     `json:"view" doc:"number of the entry; an answer within ten minutes needs it"`
	At   time.Time `json:"at"`
}

// viewAsk records that a person looks. It is told apart from reading, so that a program which reads all asks
// has not made anybody look at them.
func (s *Server) viewAsk(r *http.Request, c *call, in viewAsk) (AskViewing, error) {
	if _, err := s.askOf(r.Context(), c, in.ID); err != nil {
		return AskViewing{}, err
	}
	p, err := c.person()
	if err != nil {
		return AskViewing{}, err
	}
	v, err := s.Approvals.View(r.Context(), p, in.ID)
	return AskViewing{v.Seq, v.At}, err
}

// An answerForm is an answer before it is signed.
type answerForm struct {
	Yes     *bool          `json:"yes" doc:"true approves, false refuses"`
	Items   []int          `json:"items,omitempty" doc:"which acts, by their place in items; all, if left out"`
	Scope   approval.Scope `json:"scope,omitzero" doc:"how far a yes goes, within what the route permits; one use of the very act, if left out"`
	Comment string         `json:"comment,omitempty" doc:"to whom it may concern; 2000 bytes at most. The agent is told of a refusal's"`
	View    int64          `json:"view" doc:"number of the entry by which the person looked at it"`
}

// check returns authz.ErrInvalid and what is wrong with an answer to a.
func (f *answerForm) check(a *approval.Ask) error {
	switch {
	case f.Yes == nil:
		return invalid("yes is missing: true approves, false refuses")
	case len(f.Comment) > approval.MaxText:
		return invalid("comment has more than %d bytes", approval.MaxText)
	case !*f.Yes && !scopeless(&f.Scope):
		return invalid("a refusal has no scope")
	case len(f.Items) > len(a.Items):
		return invalid("items names more acts than there are")
	}
	for i, n := range f.Items {
		if n < 0 || n >= len(a.Items) || slices.Contains(f.Items[:i], n) {
			return invalid("items names the act %d, which is none, or twice", n)
		}
	}
	return nil
}

// scopeless reports whether a scope is the zero one.
func scopeless(s *approval.Scope) bool {
	return s.Uses == 0 && s.Until.IsZero() && !s.Class && !s.Arguments && len(s.Amounts) == 0
}

func (f *answerForm) reply() approval.Reply {
	return approval.Reply{Yes: *f.Yes, Items: f.Items, Scope: f.Scope, Comment: f.Comment, View: f.View}
}

type challengeAsk struct {
	askID
	answerForm
	BreakGlass string `json:"break_glass,omitempty" doc:"to break the glass instead of answering: the reason, as it will be sent. Besides it there is the view only"`
}

// digest returns what is to be signed, or authz.ErrInvalid.
func (in *challengeAsk) digest(a *approval.Ask) ([32]byte, error) {
	if in.BreakGlass == "" {
		if err := in.check(a); err != nil {
			return [32]byte{}, err
		}
		return approval.Digest(a, *in.Yes, in.Items, in.Scope, in.View), nil
	}
	if in.Yes != nil || len(in.Items) > 0 || !scopeless(&in.Scope) || in.Comment != "" {
		return [32]byte{}, invalid("break_glass approves all acts, once each: leave yes, items, scope and comment out")
	}
	if err := checkGlass("break_glass", in.BreakGlass); err != nil {
		return [32]byte{}, err
	}
	return approval.GlassDigest(a, in.BreakGlass, in.View), nil
}

// checkGlass returns authz.ErrInvalid unless a member says why the glass is broken.
func checkGlass(member, reason string) error {
	if reason == "" || len(reason) > approval.MaxText {
		return invalid("%s is missing: say why it cannot wait, in 1 to %d bytes", member, approval.MaxText)
	}
	return nil
}

// A AnswerChallenge is what a passkey is to sign for one answer.
type AnswerChallenge struct {
	Digest   string   `json:"digest" doc:"base64url: the challenge of the WebAuthn assertion"`
	Passkeys []string `json:"passkeys" doc:"ids of the person's passkeys, base64url: allowCredentials"`
}

// challengeAsk returns the digest of an answer: what is signed names the act, the answer and its scope, or
// that the glass is broken and why, so that the signature is good for nothing else.
func (s *Server) challengeAsk(r *http.Request, c *call, in challengeAsk) (AnswerChallenge, error) {
	a, err := s.askOf(r.Context(), c, in.ID)
	if err != nil {
		return AnswerChallenge{}, err
	}
	if _, err := c.person(); err != nil {
		return AnswerChallenge{}, err
	}
	digest, err := in.digest(a)
	if err != nil {
		return AnswerChallenge{}, err
	}
	out := AnswerChallenge{Digest: base64.RawURLEncoding.EncodeToString(digest[:]), Passkeys: []string{}}
	for i := range c.session.Person.Passkeys {
		if k := &c.session.Person.Passkeys[i]; k.RevokedAt.IsZero() {
			out.Passkeys = append(out.Passkeys, k.ID)
		}
	}
	return out, nil
}

type answerAsk struct {
	askID
	answerForm
	Assertion json.RawMessage `json:"assertion,omitempty" doc:"WebAuthn assertion over the digest of this answer, if the route wants one: what navigator.credentials.get returns, as JSON"`
}

func (s *Server) answerAsk(r *http.Request, c *call, in answerAsk) (AskView, error) {
	a, err := s.askOf(r.Context(), c, in.ID)
	if err != nil {
		return AskView{}, err
	}
	p, err := c.person()
	if err != nil {
		return AskView{}, err
	}
	if err := in.check(a); err != nil {
		return AskView{}, err
	}
	reply := in.reply()
	digest := approval.Digest(a, reply.Yes, reply.Items, reply.Scope, reply.View)
	if reply.Evidence, err = s.evidence(c, digest, in.Assertion); err != nil {
		return AskView{}, err
	}
	return s.shown(s.Approvals.Answer(r.Context(), p, in.ID, reply))
}

// evidence verifies a passkey assertion over the digest of a reply, if there is one.
func (s *Server) evidence(c *call, digest [32]byte, assertion json.RawMessage) (json.RawMessage, error) {
	if len(assertion) == 0 || bytes.Equal(assertion, []byte("null")) {
		return nil, nil
	}
	if s.Door == nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "passkeys are not verified here")
	}
	return s.Door.VerifyAssertion(c.session.Person, digest, assertion)
}

// shown returns what the desk answered, as it is shown.
func (s *Server) shown(a *approval.Ask, err error) (AskView, error) {
	if err != nil {
		return AskView{}, err
	}
	v := viewOf(a)
	v.Status = statusAt(a, s.Now())
	return v, nil
}

type breakGlass struct {
	askID
	Reason    string          `json:"reason" doc:"why it cannot wait, 1 to 2000 bytes; somebody else reviews it afterwards"`
	View      int64           `json:"view" doc:"number of the entry by which the person looked at it"`
	Assertion json.RawMessage `json:"assertion,omitempty" doc:"WebAuthn assertion over the digest of this reason, if the route wants one: ask for the challenge with break_glass"`
}

func (s *Server) breakGlass(r *http.Request, c *call, in breakGlass) (AskView, error) {
	a, err := s.askOf(r.Context(), c, in.ID)
	if err != nil {
		return AskView{}, err
	}
	p, err := c.person()
	if err != nil {
		return AskView{}, err
	}
	if err := checkGlass("reason", in.Reason); err != nil {
		return AskView{}, err
	}
	reply := approval.Reply{Yes: true, View: in.View}
	if reply.Evidence, err = s.evidence(c, approval.GlassDigest(a, in.Reason, in.View), in.Assertion); err != nil {
		return AskView{}, err
	}
	return s.shown(s.Approvals.BreakGlass(r.Context(), p, in.ID, in.Reason, reply))
}

type reviewAsk struct {
	askID
	Justified *bool  `json:"justified" doc:"whether breaking the glass was justified"`
	Comment   string `json:"comment" doc:"why, 1 to 2000 bytes"`
}

func (s *Server) reviewAsk(r *http.Request, c *call, in reviewAsk) (AskView, error) {
	if _, err := s.askOf(r.Context(), c, in.ID); err != nil {
		return AskView{}, err
	}
	p, err := c.person()
	if err != nil {
		return AskView{}, err
	}
	if in.Justified == nil || in.Comment == "" || len(in.Comment) > approval.MaxText {
		return AskView{}, invalid("a review says justified, true or false, and a comment of 1 to %d bytes", approval.MaxText)
	}
	return s.shown(s.Approvals.Review(r.Context(), p, in.ID, *in.Justified, in.Comment))
}

type endAsk struct {
	askID
	reason
}

func (in *endAsk) check() error {
	if w := in.why(); w == "" || len(w) > 1000 {
		return invalid("why is missing: say why, in 1 to 1000 characters")
	}
	return nil
}

func (s *Server) cancelAsk(r *http.Request, c *call, in endAsk) (AskView, error) {
	if err := in.check(); err != nil {
		return AskView{}, err
	}
	return s.shown(s.Approvals.Cancel(r.Context(), c.who.Actor(), in.ID, "cancelled", in.Why))
}

// revokeAsk takes approvals back: an administrator any, a person what they could have refused.
func (s *Server) revokeAsk(r *http.Request, c *call, in endAsk) (AskView, error) {
	if err := in.check(); err != nil {
		return AskView{}, err
	}
	if !c.who.Can(caller.Administrator) {
		if _, err := s.askOf(r.Context(), c, in.ID); err != nil {
			return AskView{}, err
		}
	}
	return s.shown(s.Approvals.Revoke(r.Context(), c.who.Actor(), in.ID, in.Why))
}
