package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/token"
)

// An order is a token that a client may ask for, as far as its request goes. Whether it gets the
// token is the judge's to say.
type order struct {
	grant   string
	client  *Client
	uses    []*Use
	address netip.Addr

	subject string
	actor   *token.Actor
	chain   []authz.AgentID // who acts, then every agent it acts for, nearest first; the subject last, if it is one
	person  string          // id of the person who is the subject, "" if an agent is
	mayAct  string

	audience []string
	details  []authz.Detail // by identifier
	confirm  token.Confirmation
	alg      string
	txn      string

	authTime  time.Time
	amr       []string    // how the subject authenticated
	acr       []string    // one of which the token must reach, the preferred first; none: any
	most      string      // the acr of the token that is exchanged: no other level is reached; "" if none is
	ceiling   time.Time   // when what it was granted by ends; zero if that does not matter
	trust     authz.Trust // at most
	ancestors []tokenID
	parent    string // digest of the token that is exchanged
	ask       string // auth_req_id by which a person was asked
	openID    bool   // whether an ID token goes along
}

// shortest is the shortest life that a token is worth issuing for.
const shortest = 5 * time.Second

// maxPayload bounds the claims of a token, so that its text stays below token.MaxToken.
const maxPayload = 5 << 10

// issue makes the token of an order and returns the answer to the client (RFC 6749, section 5.1). It
// asks the judge whether the agent may carry each capability, now and for as long as the token is to
// live; what is refused is left out, and if nothing is left, nothing is issued. The decisions and the
// token are recorded before the answer leaves, and the entry of the token uses up the assertions.
func (s *Server) issue(ctx context.Context, o *order) ([]byte, error) {
	if err := s.cfg.Fresh(); err != nil {
		return nil, err
	}
	if len(o.details) == 0 {
		return nil, &Error{Status: http.StatusBadRequest, Code: accessDenied, Description: "no capability is granted"}
	}
	now := s.cfg.Now()
	id, err := s.newID(ctx)
	if err != nil {
		return nil, err
	}
	p := &token.Passport{
		Issuer: s.cfg.Issuer, Subject: o.subject, ClientID: o.client.ID, Audience: o.audience, ID: id.String(),
		IssuedAt: now.Truncate(time.Second), Expires: now.Add(s.cfg.Lifetime).Truncate(time.Second), AuthTime: o.authTime.Truncate(time.Second),
		AMR: o.amr, Txn: o.txn, Actor: o.actor, Confirmation: o.confirm,
	}
	p.NotBefore = p.IssuedAt
	if o.mayAct != "" {
		p.MayAct = &token.Actor{Subject: o.mayAct}
	}
	if !o.ceiling.IsZero() && o.ceiling.Before(p.Expires) {
		p.Expires = o.ceiling
	}

	trust, conduct := s.trust(o.chain, o.trust)
	auth := authenticationOf(p, o.client.Method, o.person)
	if p.ACR, err = s.reached(o, &auth, now); err != nil {
		return nil, err
	}
	if p.ACR == "" {
		p.ACR = acr(trust)
	} else {
		conduct = leveled(conduct, trust)
	}
	p.Conduct, auth.ACR = conduct, p.ACR
	q := question{o.chain, o.person, origin{address: o.address, method: o.client.Method, grant: o.grant}, o.audience, passportOf(p, auth, o.details, len(o.chain)-1)}
	verdict, err := s.judge(&q, o.details, now)
	if err != nil {
		return nil, err
	}
	granted, refused := verdict.granted, verdict.refused
	if len(granted) > 0 {
		var late []Refusal
		if p.Expires, granted, late, err = s.clip(&q, granted, now, p.Expires); err != nil {
			return nil, err
		}
		refused = append(refused, late...)
	}
	if len(granted) == 0 {
		return nil, s.denied(ctx, o, verdict.drafts, refused)
	}

	p.Scope = make([]string, len(granted))
	for i := range granted {
		p.Scope[i] = granted[i].Identifier
		if !bare(&granted[i]) {
			p.Details = append(p.Details, granted[i])
		}
	}
	p.Status = &token.StatusRef{Index: int64(id.index()), URI: s.listURL(id.block())}

	signer, err := s.cfg.Keys.TokenSigner(o.alg)
	if err != nil {
		return nil, err
	}
	payload := p.Append(make([]byte, 0, 1024))
	if len(payload) > maxPayload {
		return nil, badDetails("what is asked for does not fit into one token", nil)
	}
	text, err := signer.Sign(token.PassportType, payload)
	if err != nil {
		return nil, err
	}
	drafts := append(verdict.drafts, s.issued(o, p, id, signer.Key().ID, text, refused, len(verdict.drafts)))
	if _, err := s.cfg.Log.CommitAll(ctx, drafts...); err != nil {
		return nil, notIssued(o, err)
	}
	// Whatever was recorded before the token is in effect here: a revocation that came in between, too.
	if s.lost(o.client) {
		return nil, clientRevoked
	}
	idToken := ""
	if o.openID {
		if idToken, err = s.idToken(signer, o, p); err != nil {
			return nil, err
		}
	}
	return answer(o, p, text, idToken, now, refused), nil
}

// lost reports whether the credential that a client authenticated with has been revoked since.
func (s *Server) lost(c *Client) bool {
	for _, id := range []string{c.Key, c.ID} { // a key, or the URL of the document that names it
		if cred, err := s.cfg.Agents.Credential(id); err == nil && !cred.RevokedAt.IsZero() {
			return true
		}
	}
	return false
}

// clientRevoked answers a client whose credential was revoked while it was being served.
var clientRevoked = noClient("the credential was revoked meanwhile")

// denied records that nothing was granted, which uses up the assertions, and returns the error that
// says why.
func (s *Server) denied(ctx context.Context, o *order, drafts []audit.Draft, refused []Refusal) error {
	if used, ok := usedDraft("agent:"+string(o.client.Agent.ID), o.uses); ok {
		drafts = append(drafts, used)
	}
	if _, err := s.cfg.Log.CommitAll(ctx, drafts...); err != nil {
		return notIssued(o, err)
	}
	e := &Error{Status: http.StatusBadRequest, Code: accessDenied, Description: "none of the capabilities is granted now"}
	if len(refused) > 0 {
		e.Description, e.Refused = refused[0].Message, refused
	}
	return e
}

// notIssued returns the error for a token that was recorded and must not be given out, or was not
// recorded.
func notIssued(o *order, err error) error {
	switch {
	case errors.Is(err, errUsed):
		return usedError(o.grant)
	case errors.Is(err, errRevoked) && o.ask != "":
		return badGrant("the person has taken the authorization back", err)
	case errors.Is(err, errRevoked):
		return &Error{Status: http.StatusBadRequest, Code: invalidRequest, Description: "the subject_token is not accepted", Cause: err}
	}
	return err
}

// usedError answers an assertion that was used before.
func usedError(grant string) error {
	if grant == grantCIBA {
		return badGrant("the auth_req_id is not accepted", errUsed)
	}
	if grant == grantAssertion {
		return &Error{Status: http.StatusBadRequest, Code: invalidGrant, Description: "the assertion is not accepted", Cause: errUsed}
	}
	return clientReplayed
}

// issued returns the entry that records a token.
func (s *Server) issued(o *order, p *token.Passport, id tokenID, kid, text string, refused []Refusal, decisions int) audit.Draft {
	rec := Issued{
		ID: p.ID, IssuedAt: p.IssuedAt.Unix(), Expires: p.Expires.Unix(), Ancestors: make([]string, len(o.ancestors)), Method: o.client.Method,
		AuthReqID: o.ask, Grant: o.grant, ClientID: p.ClientID, Key: o.client.Key, Subject: p.Subject, MayAct: o.mayAct, Audience: p.Audience,
		Scope: p.Scope, Details: p.Details, ACR: p.ACR, AMR: p.AMR, Txn: p.Txn, Bound: p.Confirmation,
		Refused: refused, Signer: kid, Digest: digest(text), Parent: o.parent, Decisions: decisions,
	}
	if !p.AuthTime.IsZero() {
		rec.AuthTime = p.AuthTime.Unix()
	}
	if o.address.IsValid() {
		rec.Address = o.address.String()
	}
	rec.Uses = recordedUses(o.uses)
	for i, a := range o.ancestors {
		rec.Ancestors[i] = a.String()
	}
	for a := o.actor; a != nil; a = a.Actor {
		rec.Actors = append(rec.Actors, a.Subject)
	}
	return audit.Draft{Kind: audit.TokenIssued, Actor: "agent:" + string(o.client.Agent.ID), Body: rec.Append(make([]byte, 0, 1024))}
}

// digest returns the SHA-256 of a token in base64url.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// answer returns the answer to a client that gets a token (RFC 6749 5.1, RFC 8693 2.2.1, RFC 9396 7).
// Beside the registered members it names what was asked for and refused.
func answer(o *order, p *token.Passport, text, idToken string, now time.Time, refused []Refusal) []byte {
	b := make([]byte, 0, len(text)+512)
	b = append(b, `{"access_token":"`...)
	b = append(b, text...)
	b = append(b, `","token_type":"`...)
	b = append(b, tokenType(p.Confirmation)...)
	b = append(b, `","expires_in":`...)
	b = strconv.AppendInt(b, int64(p.Expires.Sub(now)/time.Second), 10)
	b = append(b, `,"scope":`...)
	b = appendScope(b, p.Scope)
	if len(p.Details) > 0 {
		b = append(b, `,"authorization_details":`...)
		b = token.AppendDetails(b, p.Details)
	}
	if o.grant == grantExchange {
		b = append(b, `,"issued_token_type":"`+accessTokenType+`"`...)
	}
	b = appendText(b, `,"id_token":`, idToken)
	if len(refused) > 0 {
		b = append(b, `,"refused":`...)
		b = appendRefusals(b, refused)
	}
	return append(b, '}')
}

// appendScope appends a scope as a JSON string.
func appendScope(b []byte, ids []string) []byte {
	b = append(b, '"')
	for i, id := range ids {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, id...) // no character of a scope needs an escape
	}
	return append(b, '"')
}

// tokenType is how a token is presented: with a proof (RFC 9449), or alone.
func tokenType(c token.Confirmation) string {
	if c.JKT != "" {
		return "DPoP"
	}
	return "Bearer"
}

// boundBy names the binding of a token, as policies see it.
func boundBy(c token.Confirmation) string {
	switch {
	case c.JKT != "":
		return "dpop"
	case c.X5TS256 != "":
		return "mtls"
	}
	return "none"
}

// passportOf returns what decisions read of a token.
func passportOf(p *token.Passport, auth authz.Authentication, details []authz.Detail, depth int) *authz.Passport {
	return &authz.Passport{ID: p.ID, Details: details, Bound: auth.Bound, Depth: depth, Expires: p.Expires, Auth: auth}
}

// acrPrefix begins the acr of tokens that reach no level of assurance: it is followed by the level of trust.
const acrPrefix = "urn:safeconduct:trust:"

func acr(t authz.Trust) string { return acrPrefix + t.Level }

// trust returns the least trust of a chain of agents and of what was said of it before, and the
// conduct of who acts.
func (s *Server) trust(chain []authz.AgentID, most authz.Trust) (authz.Trust, *token.Conduct) {
	var conduct *token.Conduct
	least := most
	for i, id := range chain {
		t, c := s.cfg.Conduct(id)
		if i == 0 {
			conduct = c
		}
		if least.Level == "" || t.Rank() < least.Rank() || t.Rank() == least.Rank() && t.Score < least.Score {
			least = t
		}
	}
	return least, conduct
}
