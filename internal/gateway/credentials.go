package gateway

import (
	"context"
	"crypto/tls"
	"net/http"
)

// Credentials are what the gateway shows to the servers behind it.
type Credentials struct{}

// Apply removes what the agent showed from r, a request that is about to be sent, and puts the named credential in its place; the
// name "" is that of none. authz.ErrUnavailable: it cannot be had now. authz.ErrForbidden: whoever issues it refused.
func (c *Credentials) Apply(ctx context.Context, name string, w *Who, r *http.Request) error {
	return nil
}

// Refused takes note of the answer 401 to a request that Apply prepared, and reports whether it is worth trying again
// with what Apply puts there then.
func (c *Credentials) Refused(name string, w *Who, resp *http.Response) (again bool) { return false }

// TLS returns the client certificate of a credential, to be shown to the server; nil if it has none.
func (c *Credentials) TLS(name string) *tls.Certificate { return nil }

// Strip removes from h what an agent says to the gateway alone: its credentials and what proxies would say.
func Strip(h http.Header) {}
