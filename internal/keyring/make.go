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

// A spare is a key that was made, and whose entry could not be recorded.
type spare struct {
	key    *token.Key
	source string
	made   time.Time
}

// spareFor is how long a spare is kept: well below the time after which others clean it up.
const spareFor = 12 * time.Hour

// make makes the next key of a slot that is in the state asOf, and publishes it. The private half is
// durable before the entry is recorded: a crash in between leaves a half that nobody knows, and never a
// published key that nobody has. If the entry cannot be recorded, the key is used the next time, so
// that a log that is away does not fill an HSM. The caller holds r.turn.
func (r *Ring) make(ctx context.Context, actor, why string, slot Slot, asOf int64, now, notBefore time.Time) error {
	s, ok := r.spares[slot]
	if age := now.Sub(s.made); !ok || age < 0 || age > spareFor || r.view.Load().byID[s.key.ID] != nil {
		var err error
		if s, err = r.draw(ctx, slot, now); err != nil {
			return err
		}
		r.spares[slot] = s
	}
	err := r.commit(ctx, actor, entry{Event: publish, ID: s.key.ID, At: now, Use: slot.Use, Algorithm: slot.Algorithm,
		JWK: s.key.JWK(), Source: s.source, NotBefore: notBefore, IfAsOf: &asOf, Why: why})
	if err == nil {
		delete(r.spares, slot)
	}
	if errors.Is(err, authz.ErrConflict) { // for certain: another replica was first
		delete(r.spares, slot)
		if r.view.Load().byID[s.key.ID] == nil { // and not with the same key
			if derr := r.discard(ctx, slot, s); derr != nil {
				r.cfg.Logger.WarnContext(ctx, "a signing key was made for nothing and is not deleted", "kid", s.key.ID, "source", s.source, "err", derr)
			}
		}
	}
	return err
}

// draw makes a key of the slot.
func (r *Ring) draw(ctx context.Context, slot Slot, now time.Time) (spare, error) {
	if !r.isExternal(slot) {
		s, err := r.makeSoftware(ctx, slot, now)
		if err != nil {
			return spare{}, err
		}
		return spare{s.Key(), Software, now}, nil
	}
	s, name, err := r.makeExternal(slot)
	if err != nil {
		return spare{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.signers[s.Key().ID] = s
	return spare{s.Key(), name, now}, nil
}

// discard forgets a key that nobody will know.
func (r *Ring) discard(ctx context.Context, slot Slot, s spare) error {
	r.mu.Lock()
	delete(r.signers, s.key.ID)
	r.mu.Unlock()
	if s.source == Software {
		return r.cfg.Store.DeleteSealedKey(ctx, s.key.ID)
	}
	return r.drop(slot, s.source)
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
