package oauth

import (
	"context"
	"crypto/sha256"
	"net/http"
	"net/url"
)

// ClientConfig says how agents may authenticate.
type ClientConfig struct{}

// clients is what authentication keeps between requests.
type clients struct{}

func newClients(cfg Config) (*clients, error) { return &clients{}, nil }

// authenticate returns who sent a form. An *Error with the code invalid_client is the one answer for
// every unknown agent, key and signature, and for agents that are not active.
func (s *Server) authenticate(r *http.Request, form url.Values) (*Client, error) {
	return nil, &Error{Status: http.StatusUnauthorized, Code: invalidClient, Description: "client authentication failed"}
}

// workload returns the agent that a trusted workload issuer's assertion speaks of (JWT bearer grant,
// RFC 7523 section 2.1). An *Error has the code invalid_grant.
func (s *Server) workload(ctx context.Context, assertion string) (*Client, error) {
	return nil, &Error{Status: http.StatusBadRequest, Code: invalidGrant, Description: "the assertion is not accepted"}
}

// UseOf returns the hash of a single-use assertion.
func UseOf(issuer, jti string) (h [16]byte) {
	sum := sha256.Sum256([]byte(issuer + "\x00" + jti))
	copy(h[:], sum[:])
	return h
}

// clientRoutes are the endpoints at which agents enrol and register.
func (s *Server) clientRoutes() []route { return nil }
