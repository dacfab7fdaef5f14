package oauth

import (
	"slices"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// Bearer returns who holds a token, if it is one of ours for that audience and counts now, and how the token is bound. It is
// Passport for a decision point elsewhere, which checks itself that whoever presents the token is who it is bound to:
// nothing of that is looked at here, except that a token which is bound to nothing does not count unless bearer tokens are allowed.
// authz.ErrUnauthenticated: the token does not count. authz.ErrUnavailable: nobody can say.
func (s *Server) Bearer(text, audience string) (b authz.Bearer, c token.Confirmation, err error) {
	now := s.cfg.Now()
	p, err := s.verify(text, now)
	if err != nil {
		return b, c, err
	}
	if audience == "" || !slices.Contains(p.claims.Audience, audience) {
		return b, c, unauthenticated(errAudience)
	}
	if p.claims.Confirmation == (token.Confirmation{}) && !s.cfg.AllowBearer {
		return b, c, unauthenticated(errUnbound)
	}
	v, err := s.live(p, now)
	if err != nil {
		return b, c, err
	}
	if !v.active {
		return b, c, unauthenticated(errInactive)
	}
	return s.bearer(p, v, audience), p.claims.Confirmation, nil
}

func unauthenticated(cause error) error { return authz.Errorf(authz.ErrUnauthenticated, "%w", cause) }

// bearer returns who holds a token that counts, and what is left of it for an audience.
func (s *Server) bearer(p *passport, v *view, audience string) authz.Bearer {
	details := v.details
	if slices.ContainsFunc(details, func(d authz.Detail) bool { return elsewhere(d, audience) }) {
		details = slices.DeleteFunc(slices.Clone(details), func(d authz.Detail) bool { return elsewhere(d, audience) })
	}
	return authz.Bearer{Agent: p.chain[0], OnBehalf: behalfOf(p.chain, p.person), Passport: *passportOf(p.claims, v.auth, details, len(p.chain)-1)}
}
