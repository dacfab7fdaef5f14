package oauth

import (
	"net/url"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// Kept is how much the server remembers of what the log said.
type Kept struct{ Used, Revoked, Children, Blocks, Asks int }

// Kept returns how much there is.
func (s *Server) Kept() (k Kept) {
	t := &s.state
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, bucket := range t.used {
		k.Used += len(bucket)
	}
	k.Revoked, k.Children, k.Blocks, k.Asks = len(t.revoked), len(t.children), len(t.blocks), len(t.asks)+len(t.taken)
	return k
}

// ParseForm is parseForm.
var ParseForm = parseForm

// Ask is ask.
func Ask(scope, details string, held []authz.Detail, cat *catalog.Catalog) ([]authz.Detail, error) {
	out, err := ask(scope, details, held, cat)
	return out.details, err
}

// WithinHeld returns an error unless d is within what is held.
func WithinHeld(d *authz.Detail, held []authz.Detail) error {
	of := findDetail(held, d.Identifier)
	if of == nil {
		return authz.Errorf(authz.ErrForbidden, "not held")
	}
	return catalog.Narrows(d, of)
}

// ReadsHead reports whether the head of a token.issued body can be read.
func ReadsHead(body []byte) bool {
	_, ok := parseHead(body)
	return ok
}

// Paths returns what the server answers at, below the issuer.
func (s *Server) Paths() (out []string) {
	routes, err := s.routes()
	if err != nil {
		panic(err)
	}
	for _, r := range routes {
		out = append(out, r.path)
	}
	return out
}

// TokenErrors are the codes of errors of the token endpoint.
var TokenErrors = []string{
	invalidRequest, invalidClient, invalidGrant, unsupportedGrantType, invalidScope, invalidTarget, invalidDetails,
	invalidProof, useNonce, accessDenied, temporarily,
}

// PersonErrors are the codes of errors that have to do with persons, and with how somebody authenticated.
var PersonErrors = []string{authorizationPending, slowDown, expiredToken, unknownUser, invalidMessage, unmetAuthentication}

// ParseDetails is parseDetails.
var ParseDetails = parseDetails

// ParseSigned returns the parameters of a signed request.
func ParseSigned(payload []byte) (url.Values, error) {
	r, err := parseSigned(payload)
	if err != nil {
		return nil, err
	}
	return r.rest, nil
}

// IsMessage is isMessage.
var IsMessage = isMessage
