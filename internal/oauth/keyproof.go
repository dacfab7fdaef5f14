package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/safeconduct/safeconduct/internal/token"
)

// keyProofType is the typ of a proof that its sender holds the private key of the public key in its
// header. The type is ours: no standard has one for this.
const keyProofType = "key-proof+jwt"

// invalidKeyProof is the code of the error for a proof that does not prove it.
const invalidKeyProof = "invalid_proof"

func badProof(description string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: invalidKeyProof, Description: description}
}

// proofClaims are the claims of a key proof.
type proofClaims struct {
	Audience  string  `json:"aud"`
	Subject   string  `json:"sub"`
	ID        string  `json:"jti"`
	Nonce     string  `json:"nonce"`
	IssuedAt  float64 `json:"iat"`
	NotBefore float64 `json:"nbf"`
	Expires   float64 `json:"exp"`
}

// keyProof returns the key that a proof proves possession of. The proof must be for us and of now.
// nonce, if not "", ties it to an enrolment token: a proof that somebody saw cannot be used with
// another. A proof may name the agent as its sub, and must then name the right one, if that is known.
//
// Proofs are not remembered: what they are good for can be done once in any case.
func (c *clients) keyProof(text, nonce, agent string) (*token.Key, error) {
	if text == "" {
		return nil, badProof("proof is missing: want a JWS of the type " + keyProofType + " that the new key signed")
	}
	jws, err := token.Parse(text)
	if err != nil {
		return nil, badProof("the proof cannot be read: want a compact JWS of a JSON object, signed with EdDSA, ES256, PS256 or RS256")
	}
	var p proofClaims
	if err := json.Unmarshal(jws.Payload, &p); err != nil {
		return nil, badProof("the proof's claims cannot be read")
	}
	now := float64(c.cfg.Now().UnixMilli()) / 1000
	skew, most := c.cfg.Skew.Seconds(), (maxAssertion + c.cfg.Skew).Seconds()
	switch {
	case !jws.Is(keyProofType):
		return nil, badProof("typ of the proof must be " + keyProofType)
	case jws.JWK == nil:
		return nil, badProof("the proof must have the public key as jwk in its header")
	case p.Audience != c.cfg.Issuer:
		return nil, badProof("aud of the proof must be " + c.cfg.Issuer)
	case p.ID == "" || len(p.ID) > maxJTI:
		return nil, badProof("jti of the proof must have 1 to 256 characters")
	case p.IssuedAt < now-most || p.IssuedAt > now+skew || p.NotBefore > now+skew:
		return nil, badProof("iat of the proof is missing, too long ago or in the future")
	case p.Expires <= now || p.Expires > now+most:
		return nil, badProof("exp of the proof is missing, past, or more than 5 minutes ahead")
	case p.Subject != "" && agent != "" && p.Subject != agent:
		return nil, badProof("sub of the proof is another agent")
	case nonce != "" && subtle.ConstantTimeCompare([]byte(p.Nonce), []byte(nonce)) != 1:
		return nil, badProof("nonce of the proof must be the base64url SHA-256 of the enrolment token")
	}
	if err := jws.Verify(jws.JWK); err != nil {
		return nil, badProof("the proof's signature is not valid")
	}
	return jws.JWK, nil
}

// enrolmentNonce is what a proof for an enrolment token carries as its nonce.
func enrolmentNonce(enrolment string) string {
	h := sha256.Sum256([]byte(enrolment))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// rfc3339 returns a time as our answers have it, "" if it is none.
func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
