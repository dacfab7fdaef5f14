package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
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
			return err
		}
		reg, err = a.parseRegistration(answer, h)
		return err
	})
	var e *Error
	if errors.As(err, &e) && errors.Is(err, authz.ErrUnauthenticated) {
		e.Hint = "an enrolment token counts once and for a short time: ask an administrator for another"
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

// nextSuffix is added to the name of a key file for the key that replaces it, from before the server
// hears of it until it stands in the file itself.
const nextSuffix = ".next"

// Rotate replaces the key in use: the old key authenticates, the next proves that we have it. The
// server accepts both for a while, so that tokens and requests under way are not lost. An agent whose
// key is in a file draws the next one itself, and next is nil; others give it.
func (a *Agent) Rotate(ctx context.Context, next crypto.Signer) error {
	if (a.file == "") == (next == nil) {
		return authz.Errorf(authz.ErrInvalid, "the next key is drawn for a key file, and given without one")
	}
	a.rotating.Lock()
	defer a.rotating.Unlock()
	return a.rotate(ctx, next)
}

// rotate is Rotate. a.rotating is held.
func (a *Agent) rotate(ctx context.Context, next crypto.Signer) error {
	old := a.held.Load()
	if next == nil {
		k, err := a.nextKey(old)
		if err != nil {
			return err
		}
		next = k
	}
	signer, err := token.NewSigner(next)
	if err != nil {
		return err
	}
	h := &held{signer: signer, private: next}
	where, err := a.endpoint(ctx, func(*Metadata) string { return "" }, "/oauth2/keys")
	if err != nil {
		return err
	}
	var answer []byte
	err = retry(ctx, a.Attempts, func() error {
		proof, err := a.keyProof(h, "")
		if err != nil {
			return err
		}
		answer, _, err = a.post(ctx, where, map[string][]string{"proof": {proof}}, false)
		return err
	})
	var reg *registration
	if err == nil {
		reg, err = a.parseRegistration(answer, h)
	}
	switch {
	case err == nil:
		h.expires = reg.expires()
	case a.knows(ctx, h): // an answer was lost, or another process was first
		h.expires = old.expires // rather too early
	default:
		return err
	}
	return a.adopt(h)
}

// nextKey returns the key that replaces old, durably saved beside the key file.
func (a *Agent) nextKey(old *held) (crypto.Signer, error) {
	for tries := 0; ; tries++ {
		k, err := readKeyFile(a.file + nextSuffix)
		if err == nil {
			return k.key, nil
		}
		if !errors.Is(err, authz.ErrNotFound) {
			return nil, err
		}
		key, err := generate(old.signer.Algorithm())
		if err != nil {
			return nil, err
		}
		err = (&keyFile{issuer: a.issuer, agent: a.id, key: key}).save(a.file+nextSuffix, true)
		if err == nil || !errors.Is(err, authz.ErrConflict) || tries > 0 {
			return key, err
		}
	}
}

// knows reports whether the server accepts the key of h: to revoke no token at all takes nothing but
// authentication (RFC 7009 section 2.2).
func (a *Agent) knows(ctx context.Context, h *held) bool {
	ok, err := a.asks(ctx, h)
	return err == nil && ok
}

func (a *Agent) asks(ctx context.Context, h *held) (bool, error) {
	where, err := a.endpoint(ctx, func(m *Metadata) string { return m.RevocationEndpoint }, "/oauth2/revoke")
	if err != nil {
		return false, err
	}
	_, err = a.postBy(ctx, h, where, map[string][]string{"token": {"none"}}, false)
	if isCode(err, CodeInvalidClient) {
		return false, nil
	}
	return err == nil, err
}

// adopt makes h the key in use, in the file first.
func (a *Agent) adopt(h *held) error {
	if a.file != "" {
		k := &keyFile{issuer: a.issuer, agent: a.id, expires: h.expires, key: h.private}
		if err := k.save(a.file, false); err != nil {
			return err
		}
		if err := os.Remove(a.file + nextSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing what was the next key: %w", err)
		}
	}
	a.held.Store(h)
	return nil
}

// settle finishes a rotation that a crash interrupted, and begins one that is due. A rotation that
// fails while the key still counts is no error: there will be another occasion.
func (a *Agent) settle(ctx context.Context) error {
	if !a.unsettled.Load() && !a.due() {
		return nil
	}
	a.rotating.Lock()
	defer a.rotating.Unlock()
	if a.unsettled.Load() {
		if err := a.resume(ctx); err != nil {
			return err
		}
	}
	if a.due() {
		if err := a.rotate(ctx, nil); err != nil && !a.now().Before(a.Expires()) {
			return fmt.Errorf("replacing the key, which has expired: %w", err)
		}
	}
	return nil
}

func (a *Agent) due() bool {
	until := a.Expires()
	return a.RotateBefore > 0 && a.file != "" && !until.IsZero() && !a.now().Before(until.Add(-a.RotateBefore))
}

// resume takes up a next key that was left behind if the server has registered it. If it has not,
// the key waits for the next rotation.
func (a *Agent) resume(ctx context.Context) error {
	k, err := readKeyFile(a.file + nextSuffix)
	if errors.Is(err, authz.ErrNotFound) {
		a.unsettled.Store(false)
		return nil
	} else if err != nil {
		return err
	}
	signer, err := token.NewSigner(k.key)
	if err != nil {
		return err
	}
	h, old := &held{signer, k.key, cmp.Or(k.expires, a.Expires())}, a.held.Load()
	known := h.signer.Key().ID == old.signer.Key().ID
	if !known {
		if known, err = a.asks(ctx, h); err != nil {
			return nil // the old key counts for now; it is asked again before the next token
		}
	}
	if known {
		if err := a.adopt(h); err != nil {
			return err
		}
	}
	a.unsettled.Store(false)
	return nil
}

// reload takes up the key that stands in the file now, if it is another than that of h, and reports
// whether another key is in use.
func (a *Agent) reload(h *held) bool {
	if now := a.held.Load(); now != h {
		return true
	}
	if a.file == "" {
		return false
	}
	k, err := readKeyFile(a.file)
	if err != nil || k.agent != a.id || k.issuer != a.issuer {
		return false
	}
	signer, err := token.NewSigner(k.key)
	if err != nil || signer.Key().ID == h.signer.Key().ID {
		return false
	}
	return a.held.CompareAndSwap(h, &held{signer, k.key, k.expires}) || a.held.Load() != h
}
