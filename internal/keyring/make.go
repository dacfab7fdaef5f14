package keyring

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// make makes the next key of a slot that is in the state asOf, and publishes it. The private half is
// durable before the entry is recorded: a crash in between leaves a sealed half that nobody knows, and
// never a published key that nobody has. The caller holds r.turn.
func (r *Ring) make(ctx context.Context, actor, why string, slot Slot, asOf int64, now, notBefore time.Time) error {
	e := entry{Event: publish, At: now, Use: slot.Use, Algorithm: slot.Algorithm, NotBefore: notBefore, IfAsOf: &asOf, Why: why}
	if r.isExternal(slot) {
		s, name, err := r.makeExternal(slot)
		if err != nil {
			return err
		}
		e.ID, e.JWK, e.Source = s.Key().ID, s.Key().JWK(), name
		r.mu.Lock()
		r.signers[e.ID] = s
		r.mu.Unlock()
		err = r.commit(ctx, actor, e)
		if errors.Is(err, authz.ErrConflict) && r.view.Load().byID[e.ID] == nil { // not the same key, published by another replica
			r.mu.Lock()
			delete(r.signers, e.ID)
			r.mu.Unlock()
			if derr := r.drop(slot, name); derr != nil {
				r.cfg.Logger.WarnContext(ctx, "a key was made in the key management service for nothing", "name", name, "err", derr)
			}
		}
		return err
	}
	s, err := r.makeSoftware(ctx, slot, now)
	if err != nil {
		return err
	}
	e.ID, e.JWK, e.Source = s.Key().ID, s.Key().JWK(), Software
	err = r.commit(ctx, actor, e)
	if errors.Is(err, authz.ErrConflict) { // another replica was first, for certain: this key is nobody's
		if derr := r.cfg.Store.DeleteSealedKey(ctx, e.ID); derr != nil {
			r.cfg.Logger.WarnContext(ctx, "an unused signing key is not deleted", "kid", e.ID, "err", derr)
		}
	}
	return err
}

// makeSoftware draws a key and stores its private half, sealed.
func (r *Ring) makeSoftware(ctx context.Context, slot Slot, now time.Time) (*token.Signer, error) {
	s, private, err := token.GenerateSigner(slot.Algorithm, r.cfg.Rand)
	if err != nil {
		return nil, fmt.Errorf("drawing a signing key: %w", err)
	}
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("encoding a signing key: %w", err)
	}
	defer clear(plain)
	id := s.Key().ID
	data, err := r.cfg.Seal.Seal(plain, bindingOf(slot, id))
	if err != nil {
		return nil, fmt.Errorf("sealing a signing key: %w", err)
	}
	if err := r.cfg.Store.PutSealedKey(ctx, Sealed{ID: id, Data: data, CreatedAt: now}); err != nil {
		return nil, fmt.Errorf("storing a signing key: %w", err)
	}
	return s, nil
}

// bindingOf is what a sealed private half belongs to. It is authenticated with it, so that the sealed
// halves of two keys cannot change places.
func bindingOf(slot Slot, id string) []byte {
	return []byte("safeconduct signing key\n" + string(slot.Use) + "\n" + slot.Algorithm + "\n" + id)
}

// sealed returns the sealed private halves by id.
func (r *Ring) sealed(ctx context.Context) (map[string][]byte, error) {
	all, err := r.cfg.Store.SealedKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("loading sealed signing keys: %w", err)
	}
	m := make(map[string][]byte, len(all))
	for _, s := range all {
		m[s.ID] = s.Data
	}
	return m, nil
}

// open opens the private half of k, and makes sure that it is that of k. It returns authz.ErrInvalid
// if it cannot.
func (r *Ring) open(k *Record, sealed map[string][]byte) (*token.Signer, error) {
	if k.Source != Software {
		return r.openExternal(k)
	}
	data, ok := sealed[k.ID]
	switch {
	case !ok:
		return nil, authz.Errorf(authz.ErrInvalid, "the private half of signing key %s is missing", k.ID)
	case r.cfg.Seal == nil:
		return nil, authz.Errorf(authz.ErrInvalid, "signing key %s is sealed, and there is no key to open it with", k.ID)
	}
	plain, err := r.cfg.Seal.Open(data, bindingOf(k.Slot(), k.ID))
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "opening signing key %s: %w", k.ID, err)
	}
	defer clear(plain)
	private, err := x509.ParsePKCS8PrivateKey(plain)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "decoding signing key %s: it is damaged", k.ID) // never what it says
	}
	s, ok := private.(crypto.Signer)
	if !ok {
		return nil, authz.Errorf(authz.ErrInvalid, "signing key %s cannot sign", k.ID)
	}
	return signerOf(k, s)
}

// signerOf returns a signer of k by s, or authz.ErrInvalid if s is not k's private half.
func signerOf(k *Record, s crypto.Signer) (*token.Signer, error) {
	signer, err := token.NewSigner(s)
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "signing key %s: %w", k.ID, err)
	}
	if signer.Key().ID != k.ID || signer.Algorithm() != k.Algorithm {
		return nil, authz.Errorf(authz.ErrInvalid, "the private half of signing key %s is that of %s", k.ID, signer.Key().ID)
	}
	return signer, nil
}

// replaces reports whether a key whose private half cannot be opened is to be replaced: if the
// configuration says so, or if the key is in a key management service that the slot does not use any
// more.
func (r *Ring) replaces(k *Record) bool {
	return r.cfg.ReplaceLost || k.Source != Software && !r.isExternal(k.Slot())
}
