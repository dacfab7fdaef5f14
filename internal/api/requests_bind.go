package api

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A refusal is one that is asked about, as the log has it, and what binds it.
type refusal struct {
	*pdp.Record
	seq     int64
	members []string
	context authz.Claimed // the members that count, only
}

const notOfYours = "there is no such refusal of a question that this caller, or the agent that it is, asked about itself"

// refusal verifies that an item of a submission is about a refusal that can be asked about, by the rules of
// ARAP, Access Request Service Processing Rules. What the token proves is compared first; then everything is
// compared again with the record of the decision, which alone says who must be asked.
func (s *Server) refusal(ctx context.Context, c *call, sub *submission, it *submitted) (*refusal, error) {
	d := it.denial
	if d == nil {
		d = sub.denial
	}
	switch {
	case d == nil:
		return nil, invalidBinding.because("denial is missing: it says which refusal this is about")
	case d.token == "" && d.evaluation == "":
		return nil, invalidBinding.because("denial has neither a binding_token nor an evaluation_id")
	case d.expires.IsZero():
		return nil, invalidBinding.because("denial.expires_at is missing")
	}
	evaluation := d.evaluation
	if d.token != "" {
		b, err := s.verifyBinding(ctx, sub, it, d)
		if err != nil {
			return nil, err
		}
		evaluation = b.Evaluation
	}
	ref, err := s.recorded(ctx, c, evaluation)
	if err != nil {
		return nil, err
	}
	until, ok := s.Requests.requestable(&ref.Decision)
	switch {
	case !ok:
		return nil, notRequestable.because("the decision " + evaluation + " is no refusal that persons can lift, or nobody is there to be asked")
	case s.Now().After(until):
		return nil, expiredDenial.because("the refusal could be asked about until " + until.Format(time.RFC3339))
	case d.template != "" && d.template != template(ref.Decision.Routes):
		return nil, invalidBinding.because("denial.template is not the one of the refusal")
	}
	members, hash, err := s.Requests.bind(ctx, &ref.Request, ref.Decision.Catalog)
	if errors.Is(err, authz.ErrInvalid) {
		return nil, notRequestable.because("the act cannot be told apart from others: " + err.Error())
	} else if err != nil {
		return nil, err
	}
	ref.members = members
	if err := s.same(sub, it, members, hash); err != nil {
		return nil, err
	}
	if sub.seen != nil && sub.seen.onBehalf != nil && !slices.Equal(sub.seen.onBehalf, ref.Request.OnBehalf) {
		return nil, invalidBinding.because("context.on_behalf_of is not the one of the refusal")
	}
	ref.context, err = token.Select(ref.Request.Context, members)
	return ref, err
}

// verifyBinding verifies a binding_token as ARAP, Binding Token Integrity, says, steps 1, 2, 4 and 5. Step 3, replay,
// is for the desk: it asks once about one decision, in the whole installation.
func (s *Server) verifyBinding(ctx context.Context, sub *submission, it *submitted, d *denial) (*token.Binding, error) {
	if s.Requests.Signer == nil {
		return nil, invalidBinding.because("denial.binding_token is none of ours")
	}
	b, err := s.Requests.Signer.VerifyBinding(ctx, d.token)
	if errors.Is(err, authz.ErrInvalid) || errors.Is(err, authz.ErrUnauthenticated) {
		return nil, invalidBinding.because("denial.binding_token is none of ours, or was changed")
	} else if err != nil {
		return nil, err
	}
	switch {
	case b.Issuer != s.public() || !slices.Contains(b.Audience, s.public()+requestsPath):
		return nil, invalidBinding.because("denial.binding_token is of, or for, another service")
	case d.evaluation != "" && d.evaluation != b.Evaluation:
		return nil, invalidBinding.because("denial.evaluation_id is not the one of denial.binding_token")
	case !d.expires.Equal(b.DenialExpires):
		return nil, invalidBinding.because("denial.expires_at is not the one of denial.binding_token")
	}
	if err := s.same(sub, it, b.Members, b.Hash); err != nil {
		return nil, err
	}
	deadline := b.Expires
	if d.expires.Before(deadline) {
		deadline = d.expires
	}
	if s.Now().After(deadline) {
		return nil, expiredDenial.because("the refusal could be asked about until " + deadline.Format(time.RFC3339))
	}
	return b, nil
}

// same returns nil if what is submitted is structurally equal to what was bound.
func (s *Server) same(sub *submission, it *submitted, members []string, hash string) error {
	got, err := token.BindingHash(sub.subject, it.action, it.resource, sub.context, members)
	if err != nil || got != hash {
		return invalidBinding.because("subject, action, resource or context are not those of the refusal")
	}
	return nil
}

// recorded returns the decision that an evaluation id names, if it is about the caller: an enforcement point asks
// about what it was refused itself, an agent about itself. To anybody else there is none.
func (s *Server) recorded(ctx context.Context, c *call, evaluation string) (*refusal, error) {
	none := invalidBinding.because(notOfYours)
	seq, err := pdp.ParseDecisionID(evaluation)
	if err != nil {
		return nil, none
	}
	e, err := s.Log.Entry(ctx, seq)
	switch {
	case errors.Is(err, authz.ErrNotFound):
		return nil, none
	case err != nil:
		return nil, err
	case e.Kind != audit.DecisionMade:
		return nil, none
	}
	rec, err := pdp.ParseRecord(e.Body)
	if err != nil {
		return nil, err
	}
	yours := rec.Request.Observed.PEP == c.who.Point()
	if !c.who.Enforces() {
		yours = rec.Request.Agent() == authz.AgentID(c.who.Name)
	}
	if !yours {
		return nil, none
	}
	return &refusal{Record: rec, seq: seq}, nil
}

// checkActors returns an error unless every actor that a submission claims is one that the refusal knows: the acting
// agent, those it acts for, or the chain that the enforcement point told when it asked for the decision. We
// are the issuer of agents. What is not verified is refused (ARAP, Delegation), so no answer is sought on its word.
func (s *Server) checkActors(sub *submission, ref *refusal) error {
	told, _ := s.actorsOf(ref.Request.Subject.Properties) // what does not read well there is no actor
	claimed, err := s.actorsOf(sub.subject.Properties)
	if err != nil {
		return invalidBinding.because("subject.properties.act cannot be verified: " + err.Error())
	}
	known := func(a actorName) bool {
		if slices.Contains(told, a) {
			return true
		}
		if a.issuer != "" && a.issuer != s.public() {
			return false
		}
		return a.id == ref.Request.Subject.ID || slices.ContainsFunc(ref.Request.OnBehalf, func(r authz.Ref) bool { return r.ID == a.id })
	}
	for _, a := range append(claimed, sub.actor...) {
		if !known(a) {
			return invalidBinding.because("the actors that the submission names are not those of the refusal")
		}
	}
	return nil
}

// actorsOf returns the chain in the member "act" of a subject's properties.
func (s *Server) actorsOf(properties authz.Claimed) (chain []actorName, err error) {
	if len(properties) == 0 {
		return nil, nil
	}
	p := newParser(properties, s.limits)
	defer p.free()
	err = p.object("subject.properties", func(name []byte) error {
		if string(name) != "act" || p.dec.PeekKind() != '{' {
			return p.skip()
		}
		chain, err = p.actors("subject.properties.act", "sub", "iss")
		return err
	})
	return chain, err
}
