package oauth

import (
	"context"
	"crypto/subtle"
	"slices"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// Token types (RFC 8693, section 3).
const (
	accessTokenType = "urn:ietf:params:oauth:token-type:access_token"
	jwtType         = "urn:ietf:params:oauth:token-type:jwt"
)

// exchange answers token exchange (RFC 8693): an agent asks for a token with which it acts for the
// subject of another agent's token. The new token is delegation, never impersonation: the agent is
// appended to the chain of actors by us, and no request can say otherwise.
//
// Who may exchange a token is said in the token: its may_act claim names the agent, and nobody else
// can do it. The holder put it there when it asked for the token. A token without may_act cannot be
// exchanged, so a token that is stolen, or seen by a server that it was presented to, is worth nothing
// here. The key that the subject token is bound to need not be proved: the agent that is named has
// authenticated, and gets a token bound to a key of its own.
//
// In every respect the new token is at most what the exchanged one is: scope, each of the
// authorization_details, audience, expiry, trust; and it counts only as long as the exchanged one.
func (s *Server) exchange(ctx context.Context, req *request) ([]byte, error) {
	form, o := req.form, &req.order
	if t := form.Get("requested_token_type"); t != "" && t != accessTokenType && t != jwtType {
		return nil, badRequest("requested_token_type must be "+accessTokenType, nil)
	}
	subject, view, err := s.exchangeable(form.Get("subject_token"), form.Get("subject_token_type"), "subject_token", req)
	if err != nil {
		return nil, err
	}
	if err := s.actor(req); err != nil {
		return nil, err
	}
	me := req.client.Agent.ID
	p := subject.claims
	switch {
	case p.MayAct == nil || subtle.ConstantTimeCompare([]byte(p.MayAct.Subject), []byte(me)) != 1:
		return nil, badRequest("the subject_token does not say that this client may act (may_act)", nil)
	case slices.Contains(subject.chain, me):
		return nil, badRequest("the client is in the chain of the subject_token already", nil)
	case len(subject.chain)+subject.persons() > s.cfg.Depth:
		return nil, badRequest("the subject_token has been delegated as often as it can be", nil)
	case slices.Contains(subject.chain, authz.AgentID(o.mayAct)):
		return nil, badRequest("may_act names an agent that is in the chain already", nil)
	}

	o.subject = p.Subject
	o.actor = &token.Actor{Subject: string(me), ID: p.ID, Actor: p.Actor}
	o.chain, o.person = append([]authz.AgentID{me}, subject.chain...), subject.person
	o.ancestors = append([]tokenID{subject.id}, subject.ancestors...)
	o.parent, o.ceiling, o.authTime, o.trust = digest(form.Get("subject_token")), p.Expires, p.AuthTime, view.trust
	o.amr, o.most = p.AMR, view.acr
	switch {
	case o.txn == "":
		o.txn = p.Txn
	case p.Txn != "" && o.txn != p.Txn:
		return nil, badRequest("txn is not that of the subject_token", nil)
	}
	if err := s.want(req, view.details, p.Audience, p.Audience); err != nil {
		return nil, err
	}
	return s.issue(ctx, o)
}

// exchangeable verifies a token that is presented for exchange: one of ours, and one that counts now.
// Which of the two it is not, nobody is told.
func (s *Server) exchangeable(text, typ, parameter string, req *request) (*passport, *view, error) {
	switch {
	case text == "" || typ == "":
		return nil, nil, badRequest(parameter+" or "+parameter+"_type is missing", nil)
	case typ != accessTokenType && typ != jwtType:
		return nil, nil, badRequest(parameter+"_type must be "+accessTokenType, nil)
	}
	p, err := s.verify(text, req.now)
	if err != nil {
		return nil, nil, badRequest("the "+parameter+" is not accepted", err)
	}
	v, err := s.live(p, req.now)
	if err != nil {
		return nil, nil, err
	}
	if !v.active {
		return nil, nil, badRequest("the "+parameter+" is not accepted", nil)
	}
	return p, v, nil
}

// actor checks the actor_token, if there is one (RFC 8693, section 2.1). Because the client itself will
// be the actor, the token can only be one of its own: issued to it, for no one else, and bound to the
// key that this request is proved with. It adds nothing to what authentication says.
func (s *Server) actor(req *request) error {
	text, typ := req.form.Get("actor_token"), req.form.Get("actor_token_type")
	if text == "" && typ == "" {
		return nil
	}
	p, _, err := s.exchangeable(text, typ, "actor_token", req)
	if err != nil {
		return err
	}
	me := req.client
	if len(p.chain) != 1 || p.person != "" || p.chain[0] != me.Agent.ID || p.claims.ClientID != me.ID || p.claims.Confirmation != req.order.confirm {
		return badRequest("the actor_token is not one of the client's own", nil)
	}
	return nil
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
