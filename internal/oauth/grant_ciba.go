package oauth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// redeemable is how long after the answer an authorization can be turned into a token. It is shorter than
// what a process that starts reads again of the log, so that every replica knows that it was used.
const redeemable = 5 * time.Minute

// ciba answers the grant of an auth_req_id (CIBA Core 1.0, section 10.1): the agent acts for the person.
func (s *Server) ciba(ctx context.Context, req *request) ([]byte, error) {
	o, id := &req.order, req.form.Get("auth_req_id")
	if id == "" || !isName(id) {
		return nil, badRequest("auth_req_id is missing, or is none", nil)
	}
	if o.mayAct != "" || req.form.Has("scope") || req.form.Has("authorization_details") || req.form.Has("acr_values") || req.form.Has("max_age") {
		return nil, badRequest("what the token carries was said when the person was asked: send auth_req_id only", nil)
	}
	c, err := s.cfg.Desk.Consent(ctx, id)
	if errors.Is(err, authz.ErrNotFound) || err == nil && (c.Agent != req.client.Agent.ID || c.Terms.ClientID != req.client.ID) {
		return nil, badGrant("the auth_req_id is not accepted", err)
	} else if err != nil {
		return nil, err
	}
	// Whoever polls is not given anything, so that nothing is recorded. Its assertion is used up here only.
	wait := func(code, description string) ([]byte, error) {
		s.spend(o.uses, req.now)
		return nil, &Error{Status: http.StatusBadRequest, Code: code, Description: description}
	}
	// No answer is later than the ask's end, which never changes.
	last := c.Expires.Add(redeemable)
	switch {
	case c.Status == ConsentPending && !req.now.Before(c.Expires), c.Status == ConsentExpired:
		return wait(expiredToken, "nobody has answered in time")
	case c.Status == ConsentPending && s.polls.tooSoon(id, req.now, c.Expires):
		return wait(slowDown, "polled too soon: wait five seconds longer each time")
	case c.Status == ConsentPending:
		return wait(authorizationPending, "the person has not answered yet")
	case c.Status != ConsentApproved || len(c.Details) == 0:
		return wait(accessDenied, "the person has not authorized it")
	case !req.now.Before(c.AnsweredAt.Add(redeemable)), !req.now.Before(last), !c.Until.IsZero() && !req.now.Before(c.Until):
		return wait(expiredToken, "the authorization was not used in time")
	}
	// The same for every try, however the ask stands: it is found by both.
	use := &Use{Hash: UseOf(grantCIBA, id), Until: last}
	if s.used(use) {
		return nil, badGrant("the auth_req_id is not accepted", errUsed)
	}
	o.uses = append(o.uses, use)
	o.subject, o.person, o.chain = personPrefix+c.Person, c.Person, []authz.AgentID{c.Agent}
	o.actor = &token.Actor{Subject: string(c.Agent)}
	o.details, o.audience, o.mayAct = c.Details, c.Terms.Audience, c.Terms.MayAct
	o.acr, o.amr, o.ask, o.openID = c.Terms.ACR, c.AMR, id, c.Terms.OpenID
	if len(c.AMR) > 0 {
		o.authTime = c.AnsweredAt
	}
	if _, active := s.cfg.People.Epoch(c.Person); !active {
		return wait(accessDenied, "the person has not authorized it")
	}
	if len(o.audience) > 1 && o.confirm == (token.Confirmation{}) {
		return nil, badTarget("a token that is bound to no key can be for one resource only")
	}
	return s.issue(ctx, o)
}

func badGrant(description string, cause error) *Error {
	return &Error{Status: http.StatusBadRequest, Code: invalidGrant, Description: description, Cause: cause}
}
