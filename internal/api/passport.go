package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/caller"
)

// Passports verifies the tokens of agents. *oauth.Server is one.
type Passports interface {
	// Passport returns who presents a token and what it carries now. authz.ErrUnauthenticated: the
	// token, or the proof that it is its bearer's, does not count; the error may be a Challenge.
	// authz.ErrUnavailable: nobody can say.
	Passport(ctx context.Context, p authz.Presented) (authz.Bearer, error)
}

// A Challenge is an error that says how a token must be presented.
type Challenge interface {
	error
	Header() string    // value of the WWW-Authenticate header (RFC 9449, section 7.1)
	DPoPNonce() string // of the DPoP-Nonce header (RFC 9449, section 9); "" if there is none
}

// Bounds of what is presented.
const (
	maxPassport = 8 << 10 // bytes of a token, or of a proof
	maxURL      = 2048
	maxAudience = 512
)

// agentRole is the role of agents that ask for themselves. No caller of the registry has it.
const agentRole caller.Role = "agent"

var agentRoles = []caller.Role{agentRole}

const noPassports = "this service does not accept passports: it issues none"

// admitAgent authenticates an agent by its own token, if the request carries one: by DPoP
// (RFC 9449), or bound to the certificate of the connection (RFC 8705). It reports false if it
// carries none, so that somebody else may be asking.
func (s *Server) admitAgent(r *http.Request, c *call) (bool, error) {
	p, ok, err := s.presented(r)
	if !ok && err == nil {
		return false, nil
	}
	if err == nil && s.Passports == nil {
		err = authz.Errorf(authz.ErrUnauthenticated, "%s", noPassports)
	}
	var b authz.Bearer
	if err == nil {
		b, err = s.Passports.Passport(r.Context(), p)
	}
	if err != nil {
		s.refused(r, err)
		return true, err
	}
	c.bearer, c.method = &b, b.Passport.Bound
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		c.address = a.Addr().Unmap().WithZone("")
	}
	c.is(caller.Identity{Name: string(b.Agent), Roles: agentRoles})
	return true, nil
}

// presented returns the token that a request carries in its Authorization header, if it is an agent's:
// the scheme is DPoP, or the token is a JWT, which no caller's token is.
func (s *Server) presented(r *http.Request) (p authz.Presented, ok bool, err error) {
	header := r.Header["Authorization"]
	if len(header) != 1 {
		return p, false, nil
	}
	scheme, token, ok := strings.Cut(header[0], " ")
	p = authz.Presented{Token: token, Scheme: strings.ToLower(scheme)}
	if !ok || p.Scheme != "dpop" && (p.Scheme != "bearer" || strings.Count(token, ".") != 2) {
		return p, false, nil
	}
	proofs := r.Header["Dpop"]
	switch {
	case len(token) > maxPassport, len(proofs) > 0 && len(proofs[0]) > maxPassport:
		return p, true, authz.Errorf(authz.ErrUnauthenticated, "the token or its proof is larger than %d bytes", maxPassport)
	case len(proofs) > 1: // RFC 9449, section 4.3
		return p, true, authz.Errorf(authz.ErrUnauthenticated, "there is more than one DPoP proof")
	case len(proofs) == 1:
		p.Proof = proofs[0]
	}
	public := strings.TrimRight(s.PublicURL, "/")
	p.Method, p.URL, p.Audience, p.OwnNonce = r.Method, public+r.URL.EscapedPath(), public, true
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
		p.Certificate = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return p, true, nil
}

// refused notes a token that did not count.
func (s *Server) refused(r *http.Request, err error) {
	if !errors.Is(err, authz.ErrUnauthenticated) {
		return
	}
	s.Metrics.AuthFailed()
	if s.failures.allow(s.Now()) {
		s.Logger.WarnContext(r.Context(), "passport not accepted", "remote", r.RemoteAddr, "path", r.URL.Path, "err", err)
	}
}

// passport reads "passport" of what an enforcement point saw: the agent's token, and how it was
// presented.
func (p *parser) passport() (*authz.Presented, error) {
	const what = "context.observed.passport"
	v := new(authz.Presented)
	err := p.object(what, func(name []byte) (err error) {
		switch string(name) {
		case "token":
			v.Token, err = p.str(what, ".token", maxPassport)
		case "proof":
			v.Proof, err = p.str(what, ".proof", maxPassport)
		case "method":
			v.Method, err = p.str(what, ".method", 32)
		case "url":
			v.URL, err = p.str(what, ".url", maxURL)
		case "certificate":
			v.Certificate, err = p.str(what, ".certificate", 64)
		case "audience":
			v.Audience, err = p.str(what, ".audience", maxAudience)
		case "shown_at":
			var text string
			if text, err = p.str(what, ".shown_at", 40); err != nil {
				return err
			}
			if v.Shown, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return invalid("%s.shown_at is no time as RFC 3339 has it: %.40q", what, text)
			}
		default:
			return invalid("%s has no member %.64q: one of token, proof, method, url, certificate, audience, shown_at", what, name)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case v.Token == "":
		return nil, invalid("%s.token is missing", what)
	case v.Audience == "":
		return nil, invalid("%s.audience is missing: the enforcement point's own name, for which the token must be", what)
	case v.Proof != "" && (v.Method == "" || v.URL == ""):
		return nil, invalid("%s.proof needs the method and the url of the request that it came with", what)
	}
	return v, nil
}

// bear settles who asks if a passport was presented: the subject is its bearer, and whatever else the
// request says of it is refused. A token that does not count is authz.ErrUnauthenticated. A token is
// verified once, also if several items of a batch are about it.
func (s *Server) bear(r *http.Request, c *call, q *question) error {
	b := c.bearer
	if q.seen != nil && q.seen.presented != nil {
		if err := q.mayLook(c.who); err != nil {
			return err
		}
		if !q.seen.verified {
			q.seen.verified = true
			if s.Passports == nil {
				q.seen.refusal = invalid("%s", noPassports)
			} else if q.seen.bearer, q.seen.refusal = s.Passports.Passport(r.Context(), *q.seen.presented); q.seen.refusal != nil {
				s.refused(r, q.seen.refusal)
			}
		}
		if q.seen.refusal != nil {
			return q.seen.refusal
		}
		b = &q.seen.bearer
	}
	if b == nil {
		return nil
	}
	who := authz.Ref{Type: authz.AgentType, ID: string(b.Agent)}
	if q.hasSubject && q.subject.Ref != who {
		return invalid("the subject is not the agent that the passport names: leave it out, or name the same")
	}
	q.subject.Ref, q.hasSubject, q.bearer = who, true, b
	return nil
}

// carry sets what the passport says of r. Whoever an enforcement point names besides is asked for as
// well, which can only narrow.
func (q *question) carry(r *authz.Request) {
	if q.bearer == nil {
		return
	}
	r.Observed.Passport = &q.bearer.Passport
	chain := slices.Clip(q.bearer.OnBehalf)
	for _, ref := range r.OnBehalf {
		if !slices.Contains(chain, ref) {
			chain = append(chain, ref)
		}
	}
	r.OnBehalf = chain
}

// isRefusal reports whether a question failed because of the token of the agent that it is about. The
// enforcement point's own token is in order, so its request is answered, by a refusal.
func (q *question) isRefusal(err error) bool {
	return q.seen != nil && q.seen.refusal != nil && errors.Is(err, authz.ErrUnauthenticated)
}

// challenge sets the headers of an answer that refuses a token.
func challenge(h http.Header, err error) {
	c, ok := errors.AsType[Challenge](err)
	if !ok {
		h.Set("Www-Authenticate", `Bearer realm="safeconduct"`)
		return
	}
	h.Set("Www-Authenticate", c.Header())
	if nonce := c.DPoPNonce(); nonce != "" {
		h.Set("Dpop-Nonce", nonce)
	}
}
