package client

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

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
