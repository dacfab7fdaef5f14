package token

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// ProofType is the typ of a DPoP proof (RFC 9449, section 4.2).
const ProofType = "dpop+jwt"

// A Proof is a DPoP proof: somebody holds the key, and signed for one request.
type Proof struct {
	ID       string // jti
	Nonce    string // "" if there is none
	Method   string // htm
	URL      string // htu
	Hash     string // ath, "" if there is none
	IssuedAt time.Time
	Key      *Key // that signed it; its ID is the jkt of tokens bound to it
}

// Bounds of the claims of a proof. What is used once is remembered, and so must be short.
const (
	maxProofID  = 256
	maxNonce    = 512
	maxProofURL = 2 << 10
)

// ParseProof reads a DPoP proof and verifies its signature: checks 2 to 7 of RFC 9449, section 4.3.
// It returns authz.ErrInvalid for what is no proof, and authz.ErrUnauthenticated if the signature is
// not valid. Who calls it checks the rest with Check, and the nonce and the jti by memory.
func ParseProof(text string) (*Proof, error) {
	j, err := Parse(text)
	if err != nil {
		return nil, err
	}
	if !j.Is(ProofType) || j.JWK == nil {
		return nil, authz.Errorf(authz.ErrInvalid, "a DPoP proof has the type %s and its key in the header", ProofType)
	}
	p := &Proof{Key: j.JWK}
	err = readObject("the proof", j.Payload, func(r *reader, name string) {
		switch name {
		case "jti":
			p.ID = r.text()
		case "htm":
			p.Method = r.text()
		case "htu":
			p.URL = r.text()
		case "iat":
			p.IssuedAt = r.date()
		case "ath":
			p.Hash = r.hash()
		case "nonce":
			p.Nonce = r.text()
		default:
			r.skip()
		}
	})
	if err != nil {
		return nil, err
	}
	if p.ID == "" || p.Method == "" || p.URL == "" || p.IssuedAt.IsZero() {
		return nil, authz.Errorf(authz.ErrInvalid, "the proof lacks one of jti, htm, htu, iat")
	}
	if len(p.ID) > maxProofID || len(p.Nonce) > maxNonce || len(p.URL) > maxProofURL {
		return nil, authz.Errorf(authz.ErrInvalid, "the proof's jti, nonce or htu is too long")
	}
	if err := j.Verify(j.JWK); err != nil {
		return nil, err
	}
	return p, nil
}

// Check returns nil if p is for that request, and recent: checks 8, 9, 11 and 12 of RFC 9449, section
// 4.3. accessToken is the token that the request presents, "" if it presents none; a proof for a
// token is none for a request without one. Otherwise Check returns authz.ErrUnauthenticated.
func (p *Proof) Check(method, url, accessToken string, now time.Time, skew time.Duration) error {
	if p.Method != method {
		return authz.Errorf(authz.ErrUnauthenticated, "the proof is for another method")
	}
	want, err := target(url)
	if err != nil {
		return authz.Errorf(authz.ErrUnauthenticated, "the request's URL cannot be compared: %v", err)
	}
	if got, err := target(p.URL); err != nil || got != want {
		return authz.Errorf(authz.ErrUnauthenticated, "the proof is for another URL")
	}
	hash := ""
	if accessToken != "" {
		hash = AccessTokenHash(accessToken)
	}
	if subtle.ConstantTimeCompare([]byte(p.Hash), []byte(hash)) != 1 {
		return authz.Errorf(authz.ErrUnauthenticated, "the proof is for another access token, or for none where there is one")
	}
	if age := now.Sub(p.IssuedAt); age > skew || age < -skew {
		return authz.Errorf(authz.ErrUnauthenticated, "the proof is too old, or from the future")
	}
	return nil
}

// SignProof returns the proof p as s signs it. It takes p's ID, which must never have been used,
// Nonce, Method, URL, without query and fragment, and IssuedAt; the hash is that of accessToken, if
// there is one.
func SignProof(s *Signer, p Proof, accessToken string) (string, error) {
	url, err := target(p.URL)
	if err != nil {
		return "", err
	}
	if p.ID == "" || p.Method == "" || p.IssuedAt.IsZero() {
		return "", authz.Errorf(authz.ErrInvalid, "a proof needs an id, a method and a time")
	}
	b := make([]byte, 0, 256)
	b = appendText(append(b, `{"jti":`...), "", p.ID)
	b = appendText(b, `,"htm":`, p.Method)
	b = appendText(b, `,"htu":`, url)
	b = appendSecond(b, `,"iat":`, p.IssuedAt)
	if accessToken != "" {
		b = appendText(b, `,"ath":`, AccessTokenHash(accessToken))
	}
	b = append(appendText(b, `,"nonce":`, p.Nonce), '}')
	return s.SignWithKey(ProofType, b)
}

// AccessTokenHash returns the hash of a token as ath has it: SHA-256 in base64url.
func AccessTokenHash(token string) string {
	h := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(h[:])
}
