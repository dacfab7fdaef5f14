package oauth

import (
	"context"
	"crypto/x509"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// certificate authenticates by the certificate of a TLS connection (RFC 8705): an X.509-SVID of a
// trust domain, one that an authority signed, or one whose public key the agent registered. That the
// client holds the private key was proved in the handshake.
func (c *clients) certificate(ctx context.Context, chain []*x509.Certificate, id string) (*Client, error) {
	leaf := chain[0]
	if len(leaf.URIs) == 1 && leaf.URIs[0].Scheme == "spiffe" {
		if td, err := spiffeid.FromURI(leaf.URIs[0]); err == nil && c.domains[td.TrustDomain()] != nil {
			return c.x509SVID(ctx, chain, id)
		}
	}
	if id == "" {
		return nil, badClient("client_id is missing, which mutual TLS needs (RFC 8705, section 2)")
	}
	if now := c.cfg.Now(); now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return nil, badClient("the client certificate has expired or is not valid yet")
	}
	return c.ofAgent(chain, authz.AgentID(id))
}

// ofAgent authenticates an agent by the name that an authority certified (RFC 8705, section 2.1) or by
// the key that it registered (section 2.2), for which it does not matter who signed the certificate. A
// key that was registered for the agent and counts no more does not count with an authority's
// certificate either: it may have been stolen.
func (c *clients) ofAgent(chain []*x509.Certificate, id authz.AgentID) (*Client, error) {
	leaf, now := chain[0], c.cfg.Now()
	key, err := token.NewKey(leaf.PublicKey)
	if err != nil && len(c.authorities) == 0 {
		return nil, badClient("the client certificate's key is none of Ed25519, P-256 and RSA of 2048 to 4096 bits")
	}
	who, unnamed := c.named(chain, now)
	agent := c.active(id)
	var cred *Credential // of the key, whoever registered it
	if key != nil {
		if cred, err = c.cfg.Agents.Credential(key.ID); err != nil || cred.Key == nil {
			cred = nil
		}
	}
	own := cred != nil && cred.Agent == id
	switch {
	case agent == nil:
		return nil, noClient("no active agent has that name")
	case own && !cred.Active(now):
		return nil, noClient("the certificate's key was the agent's, and counts no more")
	case unnamed == nil && who == id:
		cl := &Client{Agent: agent, ID: string(id), Method: methodTLS, Certificate: leaf}
		if key != nil && (cred == nil || own) { // what becomes of another's registration is not this agent's affair
			cl.Key = key.ID
		}
		return cl, nil
	case own:
		return &Client{Agent: agent, ID: string(id), Method: methodSelfSigned, Key: cred.ID, Since: cred.CreatedAt, Certificate: leaf}, nil
	case unnamed == nil:
		return nil, noClient("the certificate is another agent's")
	}
	return nil, noClient("the agent has not registered the certificate's key, and " + unnamed.Error())
}
