package oauth

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A view is what is true of a token now. It holds as long as its mark does.
type view struct {
	mark    mark
	active  bool
	details []authz.Detail // what it may still carry, by identifier
	trust   authz.Trust    // the least of its chain
	auth    authz.Authentication
	acr     string // what it reaches now: that of a level of assurance, or of trust
	answer  []byte // of introspection
}

// A mark is when a view was made, and everything it was made from: if all is the same, so is the view.
// Policies can read the second, so that is how long a view holds at most.
type mark struct {
	second          int64
	policies, risks int64
	revocations     int64
	epochs          [maxDepth + 1]int64 // of the agents of the chain, and of the person behind them
}

func (s *Server) mark(p *passport, now time.Time) (m mark) {
	m.second = now.Unix()
	m.policies, m.risks = s.cfg.Judge.Generation()
	m.revocations = s.state.changes.Load()
	for i, id := range p.chain {
		m.epochs[i] = s.cfg.Agents.Epoch(id)
	}
	if p.person != "" && s.cfg.People != nil {
		m.epochs[len(p.chain)], _ = s.cfg.People.Epoch(p.person)
	}
	return m
}

// inactive is all that anybody learns of a token that does not count (RFC 7662, section 2.2).
var inactive = []byte(`{"active":false}`)

// live returns what is true now of a token that verify returned. The error is authz.ErrUnavailable if
// nothing can be said.
func (s *Server) live(p *passport, now time.Time) (*view, error) {
	if err := s.cfg.Fresh(); err != nil {
		return nil, err
	}
	// The mark is read first: what changes meanwhile makes the view stale, not wrong.
	m := s.mark(p, now)
	if v := p.view.Load(); v != nil && v.mark == m {
		return v, nil
	}
	v := &view{mark: m, answer: inactive}
	revoked, from, began := s.state.standing(p.id, p.ancestors)
	v.auth = authenticationOf(p.claims, from.method, p.person)
	if !revoked && s.standing(p, began) {
		trust, conduct := s.trust(p.chain, ceilingOf(p.claims))
		v.trust = trust
		if v.acr = acr(trust); s.reaches(p.claims.ACR, &v.auth, now) {
			v.acr, conduct = p.claims.ACR, leveled(conduct, trust)
		}
		v.auth.ACR = v.acr // decisions read no other level of a token that was exchanged
		q := question{p.chain, p.person, from, p.claims.Audience, passportOf(p.claims, v.auth, p.details, len(p.chain)-1)}
		verdict, err := s.judge(&q, p.details, now)
		if err != nil {
			return nil, err
		}
		if v.active, v.details = len(verdict.granted) > 0, verdict.granted; v.active {
			v.answer = s.introspected(p, v, conduct)
		}
	}
	// A process that has not read of the token yet says what it can, and looks again at the next call.
	if from.grant != "" {
		p.view.Store(v)
	}
	return v, nil
}

// standing reports whether every agent of the chain is active and the person behind them may sign in, and none has had a credential revoked
// since the first token of the chain was recorded. Whoever stole a key may have got tokens by it; when
// the key goes, so do they, and the agent gets new ones by its other key. What came first is what the
// log says it is; if it has not been read yet, auth_time counts, which is in seconds, and so too early.
func (s *Server) standing(p *passport, began time.Time) bool {
	if began.IsZero() {
		began = p.claims.AuthTime
	}
	if began.IsZero() { // a person was asked, and it is not known when the person authenticated
		began = p.claims.IssuedAt.Add(-maxLifetime)
	}
	if p.person != "" {
		if s.cfg.People == nil {
			return false
		}
		if _, active := s.cfg.People.Epoch(p.person); !active {
			return false
		}
	}
	for _, id := range p.chain {
		a, err := s.cfg.Agents.Agent(id)
		if err != nil || a.State != authz.AgentActive {
			return false
		}
		for _, c := range s.cfg.Agents.Credentials(id) {
			if !c.RevokedAt.IsZero() && !began.After(c.RevokedAt) {
				return false
			}
		}
	}
	return true
}

// A Challenge says what is wrong with how a token was presented, and what the WWW-Authenticate header
// must say of it (RFC 6750, section 3, and RFC 9449, sections 7.1 and 9). It is authz.ErrUnauthenticated.
type Challenge struct {
	Scheme string // DPoP or Bearer
	Code   string // invalid_token, invalid_dpop_proof or use_dpop_nonce
	Nonce  string // for the DPoP-Nonce header, "" if none
	cause  error
}

// Error returns what is wrong, for the presenter.
func (c *Challenge) Error() string { return c.cause.Error() }

// Unwrap returns the kind of the error. That of the cause is left out: a proof that cannot be read is
// answered like every other one that proves nothing.
func (c *Challenge) Unwrap() error { return authz.ErrUnauthenticated }

// DPoPNonce returns the value of the DPoP-Nonce header, "" if there is none (RFC 9449, section 9).
func (c *Challenge) DPoPNonce() string { return c.Nonce }

// Header returns the value of the WWW-Authenticate header.
func (c *Challenge) Header() string {
	h := c.Scheme + ` error="` + c.Code + `"`
	if c.Scheme == "DPoP" {
		h += `, algs="` + proofAlgs + `"`
	}
	return h
}

// Passport returns who presents a token, if it is one of ours for that audience, is bound to who
// presents it, and counts now. Its capabilities are those that are left of it for that audience.
// Errors are a *Challenge, which is authz.ErrUnauthenticated, or authz.ErrUnavailable.
//
// A proof that an enforcement point forwards is checked in all but its nonce and its having been used
// before, which only the enforcement point can know of.
func (s *Server) Passport(_ context.Context, pr authz.Presented) (authz.Bearer, error) {
	now := s.cfg.Now()
	p, err := s.verify(pr.Token, now)
	if err != nil {
		return authz.Bearer{}, s.challenge(pr, invalidToken, err)
	}
	if pr.Audience == "" || !slices.Contains(p.claims.Audience, pr.Audience) {
		return authz.Bearer{}, s.challenge(pr, invalidToken, errAudience)
	}
	if code, err := s.bound(&p.claims.Confirmation, &pr, now); err != nil {
		return authz.Bearer{}, s.challenge(pr, code, err)
	}
	v, err := s.live(p, now)
	if err != nil {
		return authz.Bearer{}, err
	}
	if !v.active {
		return authz.Bearer{}, s.challenge(pr, invalidToken, errInactive)
	}
	return s.bearer(p, v, pr.Audience), nil
}

// elsewhere reports whether a capability is for other resource servers only.
func elsewhere(d authz.Detail, audience string) bool {
	return len(d.Locations) > 0 && !slices.Contains(d.Locations, audience)
}

// bound returns an error and its code unless who presents a token is who it is bound to.
func (s *Server) bound(c *token.Confirmation, pr *authz.Presented, now time.Time) (code string, err error) {
	if c.X5TS256 != "" && subtle.ConstantTimeCompare([]byte(c.X5TS256), []byte(pr.Certificate)) != 1 {
		return invalidToken, errCertificate // RFC 8705, section 3
	}
	switch {
	case c.JKT == "" && pr.Scheme == "dpop":
		return invalidToken, errScheme
	case c.JKT == "" && c.X5TS256 == "" && !s.cfg.AllowBearer:
		return invalidToken, errUnbound
	case c.JKT == "":
		return "", nil
	case pr.Scheme == "bearer": // RFC 9449, section 7.1: no downgrade
		return invalidToken, errScheme
	case pr.Proof == "":
		return invalidProof, errNoProof
	}
	proof, err := token.ParseProof(pr.Proof)
	if err != nil {
		return invalidProof, err
	}
	if subtle.ConstantTimeCompare([]byte(proof.Key.ID), []byte(c.JKT)) != 1 {
		return invalidToken, errOtherKey
	}
	if pr.OwnNonce && proof.Nonce == "" {
		return useNonce, errNonce
	}
	at, ok := pr.ProofTime(now, s.cfg.Skew)
	if !ok {
		return invalidProof, errShown
	}
	if err := proof.Check(pr.Method, pr.URL, pr.Token, at, s.cfg.Skew); err != nil {
		return invalidProof, err
	}
	if pr.OwnNonce {
		switch s.nonces.accept(proof, now) {
		case proofStale:
			return useNonce, errNonce
		case proofSeen:
			return invalidProof, errProofUsed
		}
	}
	return "", nil
}

var (
	errAudience    = errors.New("the token is for somebody else")
	errInactive    = errors.New("the token does not count any more")
	errCertificate = errors.New("the token is bound to another certificate")
	errScheme      = errors.New("the token is presented by the wrong scheme")
	errUnbound     = errors.New("the token is bound to no key")
	errShown       = errors.New("the passport was shown too long ago, or is said to be shown in the future")
	errNoProof     = errors.New("the token is bound to a key, and no DPoP proof came with it")
	errOtherKey    = errors.New("the token is bound to another key")
	errNonce       = errors.New("the DPoP proof needs a nonce of this server")
	errProofUsed   = errors.New("the DPoP proof was used before")
)

func (s *Server) challenge(pr authz.Presented, code string, cause error) error {
	c := &Challenge{Scheme: "DPoP", Code: code, cause: cause}
	if pr.Scheme == "bearer" && pr.Certificate != "" {
		c.Scheme = "Bearer"
	}
	if pr.OwnNonce && c.Scheme == "DPoP" {
		c.Nonce = s.nonce()
	}
	return c
}
