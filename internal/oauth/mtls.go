package oauth

import (
	"context"
	"crypto/x509"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// certificate authenticates by the certificate of a TLS connection (RFC 8705): an X.509-SVID of a
// trust domain, or one whose public key the agent registered. That the client holds the private key
// was proved in the handshake.
func (c *clients) certificate(ctx context.Context, chain []*x509.Certificate, id string) (*Client, error) {
	leaf := chain[0]
	if len(leaf.URIs) == 1 && leaf.URIs[0].Scheme == "spiffe" {
		if td, err := spiffeid.FromURI(leaf.URIs[0]); err == nil && c.domains[td.TrustDomain()] != nil {
			return c.x509SVID(ctx, chain, id)
		}
	}
	return c.selfSigned(leaf, id)
}

// selfSigned authenticates by a registered key (RFC 8705, section 2.2). Who signed the certificate
// does not matter: the key is what was registered.
func (c *clients) selfSigned(cert *x509.Certificate, id string) (*Client, error) {
	if id == "" {
		return nil, badClient("client_id is missing, which mutual TLS needs (RFC 8705, section 2)")
	}
	now := c.cfg.Now()
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return nil, badClient("the client certificate has expired or is not valid yet")
	}
	key, err := token.NewKey(cert.PublicKey)
	if err != nil {
		return nil, badClient("the client certificate's key is none of Ed25519, P-256 and RSA of 2048 to 4096 bits")
	}
	agent := c.active(authz.AgentID(id))
	cred, err := c.cfg.Agents.Credential(key.ID)
	if agent == nil || err != nil || cred.Agent != agent.ID || cred.Key == nil || !cred.Active(now) {
		return nil, noClient("no active agent of that name has an active key that is the certificate's")
	}
	return &Client{Agent: agent, ID: string(agent.ID), Method: methodSelfSigned, Key: cred.ID, Since: cred.CreatedAt, Certificate: cert}, nil
}
