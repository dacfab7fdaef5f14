package client

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// An Enrolment is how an agent gets its first key registered. The private key never leaves it.
type Enrolment struct {
	Issuer string // URL of the authorization server
	Token  string // the single-use enrolment token that an administrator made

	// File is the key file that is made, with a fresh key; it must not exist. One that a failed
	// enrolment at the same issuer left behind is used again.
	File string
	// Algorithm of the fresh key: "EdDSA", the default, or "ES256".
	Algorithm string
	// Key is used instead of a file and a fresh key.
	Key crypto.Signer

	HTTP *http.Client // as Agent has it
	Now  func() time.Time
}

const (
	proofJWT  = "key-proof+jwt"
	proofLife = time.Minute
)

// Enrol registers an agent's first key with its authorization server and returns the agent. The key
// is durable in its file before the server hears of it, so that no crash loses it.
func Enrol(ctx context.Context, e Enrolment) (*Agent, error) {
	if (e.File == "") == (e.Key == nil) {
		return nil, authz.Errorf(authz.ErrInvalid, "an enrolment has either a file or a key")
	}
	if e.Token == "" {
		return nil, authz.Errorf(authz.ErrInvalid, "an enrolment needs the token that an administrator made for it")
	}
	hc := e.HTTP
	if hc == nil {
		hc = newHTTP()
	}
	if _, err := Discover(ctx, e.Issuer, hc); err != nil { // is it who it should be, before it sees the token
		return nil, err
	}
	key := e.Key
	if e.File != "" {
		k, err := firstKey(&e)
		if err != nil {
			return nil, err
		}
		key = k
	}
	a, err := NewAgent(e.Issuer, "-", key) // the server says who it is
	if err != nil {
		return nil, err
	}
	a.HTTP, a.Now = hc, e.Now
	reg, err := a.enrol(ctx, e.Token)
	if err != nil {
		return nil, err // the file stays: an answer may have been lost on its way
	}
	a.id = reg.ClientID
	if e.File != "" {
		k := &keyFile{issuer: e.Issuer, agent: a.id, expires: reg.expires(), key: key}
		if err := k.save(e.File, false); err != nil {
			return nil, err
		}
		a.file = e.File
	}
	return a, a.hold(key, reg.expires())
}

// firstKey returns the key for an enrolment by file, durably saved.
func firstKey(e *Enrolment) (crypto.Signer, error) {
	if k, err := readKeyFile(e.File); err == nil && k.agent == "" && k.issuer == e.Issuer {
		return k.key, nil
	}
	key, err := generate(e.Algorithm)
	if err != nil {
		return nil, err
	}
	return key, (&keyFile{issuer: e.Issuer, key: key}).save(e.File, true)
}

// A registration is what the server says of a key that it has registered.
type registration struct {
	ClientID  string `json:"client_id"`
	KeyID     string `json:"kid"`
	Issuer    string `json:"issuer"`
	ExpiresAt string `json:"expires_at"` // RFC 3339, "" if it does not expire
}

func (r *registration) expires() time.Time {
	t, err := time.Parse(time.RFC3339, r.ExpiresAt)
	if err != nil {
		return time.Time{}
	}
	return t
}

// parseRegistration reads what the server says of the key of h.
func (a *Agent) parseRegistration(answer []byte, h *held) (*registration, error) {
	var r registration
	if err := json.Unmarshal(answer, &r); err != nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "the server's answer is no registration: %w", err)
	}
	if r.ClientID == "" || r.KeyID != h.signer.Key().ID || r.Issuer != "" && r.Issuer != a.issuer {
		return nil, authz.Errorf(authz.ErrUnavailable, "the server says that it has registered key %.100q of %.100q at %.200q, which was not asked", r.KeyID, r.ClientID, r.Issuer)
	}
	return &r, nil
}

func (a *Agent) enrol(ctx context.Context, enrolmentToken string) (*registration, error) {
	hash := sha256.Sum256([]byte(enrolmentToken))
	h := a.held.Load()
	var reg *registration
	lost := false // an answer, so that the key may be registered already
	err := retry(ctx, a.Attempts, func() error {
		proof, err := a.keyProof(h, base64.RawURLEncoding.EncodeToString(hash[:]))
		if err != nil {
			return err
		}
		body, err := json.Marshal(map[string]string{"token": enrolmentToken, "proof": proof})
		if err != nil {
			return authz.Errorf(authz.ErrInvalid, "encoding the enrolment: %w", err)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(a.issuer, "/")+"/oauth2/enroll", bytes.NewReader(body))
		if err != nil {
			return authz.Errorf(authz.ErrInvalid, "making the request: %w", err)
		}
		req.Header.Set("Content-Type", "application/json")
		_, answer, err := roundTrip(a.HTTP, req, maxOAuth)
		if err != nil {
			lost = lost || errors.Is(err, authz.ErrUnavailable)
			return err
		}
		reg, err = a.parseRegistration(answer, h)
		return err
	})
	var e *Error
	if errors.As(err, &e) && errors.Is(err, authz.ErrUnauthenticated) {
		e.Hint = "an enrolment token counts once and for a short time: ask an administrator for another"
		if lost {
			e.Hint = "the server was cut off before: if it lists the key as an agent's, the key is registered, and used by naming the issuer and the agent"
		}
	}
	return reg, err
}

// keyProof shows that we have the private key of h: it signs who should register it, and for an
// enrolment which token it goes with, so that a proof is of no use beside another token.
func (a *Agent) keyProof(h *held, nonce string) (string, error) {
	now := a.now()
	claims := map[string]any{"aud": a.issuer, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(proofLife).Unix()}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", authz.Errorf(authz.ErrInvalid, "encoding the proof: %w", err)
	}
	proof, err := h.signer.SignWithKey(proofJWT, payload)
	if err != nil {
		return "", authz.Errorf(authz.ErrUnavailable, "signing the proof: %w", err)
	}
	return proof, nil
}
