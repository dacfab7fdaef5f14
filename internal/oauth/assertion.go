package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// Bounds of client assertions.
const (
	maxAssertion = 5 * time.Minute // how far ahead exp may be
	maxJTI       = 256
)

// errUnreadable does not say what is wrong: whoever makes assertions has better tools than our answer.
var errUnreadable = badClient("the client assertion cannot be read: want a compact JWS with sub, aud and exp")

// assertion authenticates by a JWT (RFC 7523, section 2.2, as draft-ietf-oauth-rfc7523bis has it):
// one that the agent signed, or one of a workload issuer.
//
// First comes what the assertion says of itself, of which a client may be told what is wrong. Then
// what is registered is asked, and whatever fails there, fails alike and after the same work.
func (c *clients) assertion(ctx context.Context, text, id string) (*Client, error) {
	jws, err := token.Parse(text)
	if err != nil {
		return nil, errUnreadable
	}
	a, err := token.ParseAssertion(jws.Payload)
	if err != nil {
		return nil, errUnreadable
	}
	if w := c.workloads[a.Issuer]; w != nil {
		return w.authenticate(ctx, c, jws, a, id)
	}
	if len(c.domains) > 0 && strings.HasPrefix(a.Subject, "spiffe://") {
		return c.svid(ctx, text, id)
	}
	now := c.cfg.Now()
	if err := c.checkOwn(jws, a, id, now); err != nil {
		return nil, err
	}
	use := &Use{Hash: UseOf(a.Issuer, a.ID), Until: a.Expires}
	if strings.HasPrefix(a.Subject, "https://") {
		return c.document(ctx, jws, a.Subject, use, now)
	}
	agent := c.active(authz.AgentID(a.Subject))
	cred := c.verify(jws, agent, c.candidates(jws, agent, now))
	if cred == nil {
		return nil, noClient("no active agent of that name has an active key that made this signature")
	}
	return &Client{Agent: agent, ID: string(agent.ID), Method: methodKey, Key: cred.ID, Since: cred.CreatedAt, Use: use}, nil
}

// checkOwn checks what an assertion that an agent made says of itself.
func (c *clients) checkOwn(jws *token.JWS, a *token.Assertion, id string, now time.Time) error {
	switch skew := c.cfg.Skew; {
	case jws.Type != "" && !jws.Is("JWT") && !jws.Is("client-authentication+jwt"):
		return badClient("typ of the client assertion must be JWT or client-authentication+jwt")
	case jws.JWK != nil:
		return badClient("the client assertion must name its key by kid, not bring it along")
	case a.Issuer != a.Subject:
		return badClient("iss and sub of the client assertion must both be the client_id")
	case id != "" && id != a.Subject:
		return badClient("client_id is another than the client assertion's")
	case len(a.Audience) != 1 || !slices.Contains(c.audiences, a.Audience[0]):
		return badClient("aud of the client assertion must be " + c.cfg.Issuer + " and nothing else")
	case a.ID == "" || len(a.ID) > maxJTI:
		return badClient("jti of the client assertion must have 1 to 256 characters")
	case !now.Before(a.Expires):
		return badClient("the client assertion has expired")
	case a.Expires.After(now.Add(maxAssertion + skew)):
		return badClient("exp of the client assertion must be at most 5 minutes ahead")
	case a.NotBefore.After(now.Add(skew)):
		return badClient("the client assertion is not valid yet")
	case a.IssuedAt.After(now.Add(skew)):
		return badClient("iat of the client assertion is in the future")
	case !a.IssuedAt.IsZero() && a.IssuedAt.Before(now.Add(-maxAssertion-skew)):
		return badClient("iat of the client assertion is too long ago")
	}
	return nil
}

// tries is how many keys are tried for a signature: two, so that a client that does not name its key
// can rotate it.
const tries = 2

// candidates returns the keys of an active agent that may have made a signature: the one that it
// names or, if it names none of ours, the newest.
func (c *clients) candidates(jws *token.JWS, agent *authz.Agent, now time.Time) (out [tries]*Credential) {
	if agent == nil {
		return out
	}
	fits := func(cred *Credential) bool {
		return cred.Agent == agent.ID && cred.Key != nil && cred.Active(now) && slices.Contains(cred.Key.Algorithms(), jws.Algorithm)
	}
	if jws.KeyID != "" {
		if cred, err := c.cfg.Agents.Credential(jws.KeyID); err == nil {
			if fits(cred) {
				out[0] = cred
			}
			return out
		}
	}
	n := 0
	for _, cred := range slices.Backward(c.cfg.Agents.Credentials(agent.ID)) {
		if n < tries && fits(cred) {
			out[n] = cred
			n++
		}
	}
	return out
}

// verify returns the candidate that made a signature. Whoever fails costs us the same number of
// verifications by keys of the same kind, so that the time tells nothing of what is registered.
func (c *clients) verify(jws *token.JWS, agent *authz.Agent, candidates [tries]*Credential) *Credential {
	for _, cred := range candidates {
		key := c.decoys.key(jws.Algorithm)
		if cred != nil {
			key = cred.Key
		}
		if err := jws.Verify(key); err == nil && cred != nil && agent != nil {
			return cred
		}
	}
	return nil
}

// decoys are keys that belong to nobody. They stand in for the ones that a client does not have.
type decoys struct{ ed25519, p256, rsa *token.Key }

func newDecoys(rand io.Reader) (d decoys, err error) {
	var point [ed25519.SeedSize]byte
	modulus := make([]byte, 2048/8)
	if _, err := io.ReadFull(rand, point[:]); err != nil {
		return d, fmt.Errorf("making decoy keys: %w", err)
	}
	if _, err := io.ReadFull(rand, modulus); err != nil {
		return d, fmt.Errorf("making decoy keys: %w", err)
	}
	modulus[0] |= 0x80
	modulus[len(modulus)-1] |= 1
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand)
	if err != nil {
		return d, fmt.Errorf("making decoy keys: %w", err)
	}
	for _, k := range []struct {
		at  **token.Key
		pub any
	}{
		{&d.ed25519, ed25519.NewKeyFromSeed(point[:]).Public()},
		{&d.p256, &p256.PublicKey},
		{&d.rsa, &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: 65537}},
	} {
		if *k.at, err = token.NewKey(k.pub); err != nil {
			return d, fmt.Errorf("making decoy keys: %w", err)
		}
	}
	return d, nil
}

// key returns the decoy for an algorithm.
func (d *decoys) key(alg string) *token.Key {
	switch alg {
	case "ES256":
		return d.p256
	case "PS256", "RS256":
		return d.rsa
	}
	return d.ed25519
}
