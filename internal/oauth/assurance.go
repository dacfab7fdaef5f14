package oauth

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/token"
)

// maxACR bounds the values of acr_values.
const maxACR = 8

// unmetAuthentication is the error for who cannot authenticate as strongly, or as lately, as is asked
// for (OpenID Connect Core Error Code unmet_authentication_requirements; RFC 9470, section 5).
const unmetAuthentication = "unmet_authentication_requirements"

// authenticationOf returns who authenticated for a token, how and when, but for what acr follows from
// it. The method is by which the client did that it was issued to.
func authenticationOf(p *token.Passport, method, person string) authz.Authentication {
	return authz.Authentication{AMR: p.AMR, Method: method, Bound: boundBy(p.Confirmation), At: p.AuthTime, Person: person}
}

// parseACR reads acr_values: values with one space between them, the preferred first.
func parseACR(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	values := strings.Split(text, " ")
	if len(values) > maxACR {
		return nil, badRequest("acr_values has more than 8 values", nil)
	}
	for _, v := range values {
		if v == "" || !isName(v) {
			return nil, badRequest("acr_values must be values of at most 128 characters with one space between them", nil)
		}
	}
	return values, nil
}

// reached returns the acr of the level of assurance that an authentication reaches: of those that the
// order names, the preferred one, or else an error; if it names none, the one that demands most, "" if
// there is none. A token that is exchanged for another reaches what that one did, or nothing.
func (s *Server) reached(o *order, auth *authz.Authentication, now time.Time) (string, error) {
	levels := s.assured(auth, now)
	if o.most != "" {
		levels = slices.DeleteFunc(levels, func(l *catalog.Assurance) bool { return l.ACR != o.most })
	}
	for _, want := range o.acr {
		if slices.ContainsFunc(levels, func(l *catalog.Assurance) bool { return l.ACR == want }) {
			return want, nil
		}
	}
	switch {
	case len(o.acr) > 0:
		return "", unmet("none of acr_values is reached by this authentication")
	case len(levels) == 0:
		return "", nil
	}
	return slices.MaxFunc(levels, func(a, b *catalog.Assurance) int { return demands(a) - demands(b) }).ACR, nil
}

// reaches reports whether an authentication reaches the level of that acr now.
func (s *Server) reaches(acr string, auth *authz.Authentication, now time.Time) bool {
	if strings.HasPrefix(acr, acrPrefix) {
		return false
	}
	return slices.ContainsFunc(s.assured(auth, now), func(l *catalog.Assurance) bool { return l.ACR == acr })
}

// assured returns the levels that an authentication reaches now and that have an acr, by id.
func (s *Server) assured(auth *authz.Authentication, now time.Time) (levels []*catalog.Assurance) {
	cat := s.cfg.Catalog()
	if cat == nil {
		return nil
	}
	for _, id := range cat.Assured(auth, now) {
		if l, ok := cat.Assurance(id); ok && l.ACR != "" {
			levels = append(levels, l)
		}
	}
	return levels
}

// demands counts what a level demands. A person is worth more than all the rest.
func demands(l *catalog.Assurance) int {
	n := len(l.AMR)
	for _, is := range []bool{len(l.Methods) > 0, len(l.Bound) > 0, l.MaxAge > 0} {
		if is {
			n++
		}
	}
	if l.Person {
		n += 1000
	}
	return n
}

// unmet returns the error for an authentication that does not suffice.
func unmet(description string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: unmetAuthentication, Description: description}
}

// leveled returns what a token tells of conduct if its acr does not tell the trust: no more of it than
// the least of the chain has. The score is rounded down to a tenth.
func leveled(c *token.Conduct, least authz.Trust) *token.Conduct {
	var out token.Conduct
	if c != nil {
		if c.Level == least.Level {
			return c
		}
		out = *c
	}
	out.Level = least.Level
	if score := math.Floor(least.Score*10+1e-9) / 10; c == nil || score < out.Score {
		out.Score = score
	}
	return &out
}

// ceilingOf returns the trust that a token was issued with, which it does not rise above: what its acr
// tells, or, if that is a level of assurance, its conduct. What cannot be read is none.
func ceilingOf(p *token.Passport) authz.Trust {
	if level, ok := strings.CutPrefix(p.ACR, acrPrefix); ok && level != "" {
		return authz.Trust{Level: level, Score: 1} // the score is compared within a level only
	}
	if p.Conduct != nil && p.Conduct.Level != "" {
		return authz.Trust{Level: p.Conduct.Level, Score: 1}
	}
	return authz.Trust{Level: "none"}
}
