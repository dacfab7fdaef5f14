package gateway

import "net/http"

// A Verifier says who sent a request.
type Verifier struct{}

// Verify returns who sent r. The error is a *Challenge: write it as the answer.
func (v *Verifier) Verify(r *http.Request) (*Who, error) { return nil, &Challenge{Status: 401} }

// Scopes returns the challenge that asks for a token with more scopes (RFC 6750 section 3.1: insufficient_scope), nil if
// w has them all.
func (v *Verifier) Scopes(r *http.Request, w *Who, scopes ...string) *Challenge { return nil }

// A Challenge refuses a request that did not say who sends it, or not well enough.
type Challenge struct {
	Status  int    // 400, 401, 403 or 503
	Code    string // RFC 6750 section 3.1, RFC 9449: invalid_token, invalid_dpop_proof, use_dpop_nonce, ...; "" if no token came
	Message string

	header http.Header
}

// Error says what was wrong.
func (c *Challenge) Error() string { return c.Message }

// Header returns the answer's header: WWW-Authenticate, DPoP-Nonce.
func (c *Challenge) Header() http.Header { return c.header }

// WriteTo writes the whole answer.
func (c *Challenge) WriteTo(w http.ResponseWriter) { w.WriteHeader(c.Status) }
