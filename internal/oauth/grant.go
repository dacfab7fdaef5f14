package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/token"
)

// Grant types.
const (
	grantClient    = "client_credentials"                              // RFC 6749, section 4.4
	grantAssertion = "urn:ietf:params:oauth:grant-type:jwt-bearer"     // RFC 7523, section 2.1
	grantExchange  = "urn:ietf:params:oauth:grant-type:token-exchange" // RFC 8693
	grantCIBA      = "urn:openid:params:grant-type:ciba"               // CIBA Core 1.0, section 10.1
)

// A request is what a client sent to the token endpoint, and what is known of it.
type request struct {
	form    url.Values
	client  *Client
	catalog *catalog.Catalog
	now     time.Time
	order   order // what all grants have in common is filled in
}

// token answers the token endpoint (RFC 6749, section 3.2).
//
// Parameters of ours besides the registered ones: may_act names the agent that may exchange the token
// for one of its own (it becomes the claim of that name), and access_token_signing_alg is EdDSA or
// ES256.
func (s *Server) token(w http.ResponseWriter, r *http.Request) error {
	form, err := s.form(r)
	if err != nil {
		return err
	}
	grant := form.Get("grant_type")
	var serve func(context.Context, *request) ([]byte, error)
	switch grant {
	case "":
		return badRequest("grant_type is missing", nil)
	case grantClient:
		serve = s.clientCredentials
	case grantAssertion:
		serve = s.jwtBearer
	case grantExchange:
		serve = s.exchange
	case grantCIBA:
		serve = s.ciba
	}
	if serve == nil || grant == grantCIBA && s.cfg.Desk == nil {
		return &Error{Status: http.StatusBadRequest, Code: unsupportedGrantType, Description: "this grant_type is not supported"}
	}
	req := &request{form: form, now: s.cfg.Now(), catalog: s.cfg.Catalog()}
	if req.catalog == nil {
		return authz.Errorf(authz.ErrUnavailable, "no catalog is published")
	}
	// The proof first: a client without a nonce keeps its assertion for the second try.
	proof, err := s.proof(r, req.now)
	if err != nil {
		return err
	}
	if err := s.identify(r, req, grant); err != nil {
		return err
	}
	if err := s.prepare(r, req, grant, proof); err != nil {
		return err
	}
	body, err := serve(r.Context(), req)
	if err != nil {
		return err
	}
	if proof != nil {
		w.Header()["Dpop-Nonce"] = []string{s.nonce()}
	}
	writeAnswer(w, http.StatusOK, jsonType, body)
	return nil
}

// identify finds out who asks. By the assertion of a JWT bearer grant an agent identifies itself; it
// may authenticate as the same one besides (RFC 7523, section 3.1).
func (s *Server) identify(r *http.Request, req *request, grant string) (err error) {
	if grant == grantAssertion {
		assertion := req.form.Get("assertion")
		if assertion == "" {
			return badRequest("assertion is missing", nil)
		}
		bearer, err := s.workload(r.Context(), assertion)
		if err != nil {
			return err
		}
		req.client, req.order.uses = bearer, []*Use{bearer.Use}
		if !req.form.Has("client_assertion") {
			return s.fresh(req, grant)
		}
	}
	client, err := s.authenticate(r, req.form)
	if err != nil {
		return err
	}
	if req.client != nil && req.client.Agent.ID != client.Agent.ID {
		return &Error{Status: http.StatusBadRequest, Code: invalidGrant, Description: "the assertion is not accepted"}
	}
	req.client, req.order.uses = client, append(req.order.uses, client.Use)
	return s.fresh(req, grant)
}

// fresh refuses assertions that this process knows to be used. The log has the last word.
func (s *Server) fresh(req *request, grant string) error {
	if s.used(req.order.uses...) {
		if grant == grantCIBA { // the auth_req_id comes later
			return clientReplayed
		}
		return usedError(grant)
	}
	return nil
}

// prepare fills in what the orders of all grants have in common.
func (s *Server) prepare(r *http.Request, req *request, grant string, proof *token.Proof) (err error) {
	o := &req.order
	o.grant, o.client, o.address = grant, req.client, s.cfg.Address(r)
	switch {
	case proof != nil:
		o.confirm.JKT = proof.Key.ID
	case req.client.Certificate != nil: // RFC 8705, section 3
		sum := sha256.Sum256(req.client.Certificate.Raw)
		o.confirm.X5TS256 = base64.RawURLEncoding.EncodeToString(sum[:])
	case !s.cfg.AllowBearer:
		return &Error{Status: http.StatusBadRequest, Code: invalidRequest, Nonce: s.nonce(),
			Description: "tokens are bound to a key: send a DPoP proof (RFC 9449), or authenticate by a certificate"}
	}
	if o.alg = req.form.Get("access_token_signing_alg"); o.alg == "" {
		o.alg = s.cfg.Algorithm
	} else if o.alg != "EdDSA" && o.alg != "ES256" {
		return badRequest("access_token_signing_alg must be EdDSA or ES256", nil)
	}
	if o.mayAct = req.form.Get("may_act"); o.mayAct != "" {
		if o.mayAct == string(req.client.Agent.ID) || !isName(o.mayAct) {
			return badRequest("may_act must be the id of another agent", nil)
		}
	}
	if o.acr, err = parseACR(req.form.Get("acr_values")); err != nil {
		return err
	}
	if o.txn = req.form.Get("txn"); o.txn != "" && !isName(o.txn) {
		return badRequest("txn must be at most 128 characters without spaces", nil)
	}
	return nil
}

// isName reports whether s can be the id of an agent or of a transaction. Whether there is such an
// agent is not said.
func isName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return len(s) <= 128
}

// clientCredentials answers the grant of that name: the agent acts for itself.
func (s *Server) clientCredentials(ctx context.Context, req *request) ([]byte, error) {
	o := &req.order
	o.subject, o.chain, o.authTime = string(o.client.Agent.ID), []authz.AgentID{o.client.Agent.ID}, req.now
	if err := s.want(req, bareDetails(o.client.Agent.Capabilities), s.audience, s.audience[:1]); err != nil {
		return nil, err
	}
	return s.issue(ctx, o)
}

// jwtBearer answers the grant of an assertion (RFC 7523, section 2.1). The assertions that are accepted
// speak of workloads, which are agents, so the token is the one that the agent had got by
// authenticating with them.
func (s *Server) jwtBearer(ctx context.Context, req *request) ([]byte, error) {
	return s.clientCredentials(ctx, req)
}

// want reads which capabilities are asked for, out of those held, and for which audience.
func (s *Server) want(req *request, held []authz.Detail, possible, otherwise []string) error {
	if err := recent(req); err != nil {
		return err
	}
	out, err := ask(req.form.Get("scope"), req.form.Get("authorization_details"), held, req.catalog)
	if err != nil {
		return err
	}
	o := &req.order
	o.details = out.details
	if o.audience, err = target(req.form, possible, otherwise); err != nil {
		return err
	}
	if len(o.audience) > 1 && o.confirm == (token.Confirmation{}) {
		return badTarget("a token that is bound to no key can be for one resource only")
	}
	return located(o.details, o.audience, out.named)
}

// recent refuses who authenticated longer ago than max_age says, which is in seconds (RFC 9470, section 4).
func recent(req *request) error {
	text := req.form.Get("max_age")
	if text == "" {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return badRequest("max_age must be a number of seconds", err)
	}
	if at := req.order.authTime; at.IsZero() || req.now.Sub(at) > time.Duration(n)*time.Second {
		return unmet("the authentication is older than max_age")
	}
	return nil
}

// located refuses capabilities that are bound to other resource servers than the token is for: whoever
// named them has made a mistake.
func located(details []authz.Detail, audience []string, named bool) error {
	for i := range details {
		if named && len(details[i].Locations) > 0 && !overlap(details[i].Locations, audience) {
			return badTarget("the locations of a capability are not among the resources of the token")
		}
	}
	return nil
}

func badRequest(description string, cause error) *Error {
	return &Error{Status: http.StatusBadRequest, Code: invalidRequest, Description: description, Cause: cause}
}
