package keyring

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// An event is what a key.put entry says of a key.
type event string

const (
	publish  event = "publish"  // there is a new key
	activate event = "activate" // it signs from now on, and the one that signed before only verifies
	retire   event = "retire"   // it signs no more, and none takes its place
	expire   event = "expire"   // it is history
	revoke   event = "revoke"
)

// entry is the body of a key.put entry. It holds public parts only.
type entry struct {
	Event event     `json:"event"`
	ID    string    `json:"kid"`
	At    time.Time `json:"at"` // by the clock of who wrote it; the log's own time may have been dragged ahead

	// Of publish.
	Use       Use             `json:"use,omitempty"`
	Algorithm string          `json:"alg,omitempty"`
	JWK       json.RawMessage `json:"jwk,omitempty"`
	Source    string          `json:"source,omitempty"`
	NotBefore time.Time       `json:"not_before,omitzero"`

	// Of activate and retire: how long the key signs, and how long it verifies.
	Until       time.Time `json:"until,omitzero"`
	VerifyUntil time.Time `json:"verify_until,omitzero"`
	// Of activate: how long the key that it replaces verifies.
	FormerUntil time.Time `json:"former_until,omitzero"`

	// IfAsOf, if not nil, is the number of the newest entry that moved a key of the slot, 0 if none did:
	// the state in which this step was decided. If another entry came first, this one changes nothing.
	IfAsOf *int64 `json:"if_as_of,omitempty"`

	Why string `json:"why,omitempty"`
}

// check returns authz.ErrInvalid and what is wrong with e.
func (e *entry) check() error {
	bad := func(format string, args ...any) error { return authz.Errorf(authz.ErrInvalid, format, args...) }
	if e.ID == "" || len(e.ID) > 64 {
		return bad("the id of a signing key has 1 to 64 characters")
	}
	if e.At.IsZero() {
		return bad("a step of signing key %s has no time", e.ID)
	}
	switch e.Event {
	case publish:
		if _, err := ParseUse(string(e.Use)); err != nil {
			return err
		}
		if e.NotBefore.Before(e.At) {
			return bad("signing key %s is to sign before it is published", e.ID)
		}
		if e.Source == "" || len(e.Source) > maxName {
			return bad("the source of signing key %s has 1 to %d characters", e.ID, maxName)
		}
	case activate:
		if !e.Until.After(e.At) || e.VerifyUntil.Before(e.Until) || !e.FormerUntil.After(e.At) {
			return bad("the periods of signing key %s are out of order", e.ID)
		}
	case retire:
		if !e.VerifyUntil.After(e.At) {
			return bad("the periods of signing key %s are out of order", e.ID)
		}
	case revoke:
		if e.Why == "" {
			return bad("say why signing key %s is revoked", e.ID)
		}
	case expire:
	default:
		return bad("unknown step %.20q of a signing key", e.Event)
	}
	if len(e.Why) > 1000 {
		return bad("say why in at most 1000 characters")
	}
	return nil
}

// Apply brings a key.put entry into effect: first in the store, then in memory. What an entry does
// depends on the entries before it only, so all replicas come to the same keys.
func (r *Ring) Apply(ctx context.Context, e audit.Entry) error {
	if e.Kind != audit.KeyPut {
		return nil
	}
	var body entry
	if err := json.Unmarshal(e.Body, &body); err != nil {
		return authz.Errorf(authz.ErrInvalid, "reading key.put entry %d: %v", e.Seq, err)
	}
	if err := body.check(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// A row is written only after everything that earlier entries did was, so the newest row says how
	// far all of them are current.
	if e.Seq <= r.asOf {
		return nil
	}
	old := r.view.Load()
	moved, err := old.move(&body, e.Seq)
	if err != nil || len(moved) == 0 {
		return err
	}
	rows := make([]Record, len(moved))
	for i, k := range moved {
		rows[i] = *k
	}
	if err := r.cfg.Store.PutSigningKeys(ctx, rows...); err != nil {
		return fmt.Errorf("storing signing key %s: %w", body.ID, err)
	}
	for _, k := range moved {
		if k.State == Published || k.State == Active {
			if err := r.attach(ctx, k); err != nil {
				return err
			}
		} else if err := r.destroy(ctx, k); err != nil {
			return err
		}
	}
	keys := slices.Clone(old.keys)
	for _, k := range moved {
		if i := slices.IndexFunc(keys, func(o *Record) bool { return o.ID == k.ID }); i >= 0 {
			keys[i] = k
		} else {
			keys = append(keys, k)
		}
	}
	r.asOf = e.Seq
	r.show(keys)
	r.nudge()
	return nil
}

// attach opens the private half of a software key, unless it is open. That it cannot be opened is
// told, and is no reason to stop reading the log; that the store cannot be read now is. A key
// management service may take its time, so its keys are attached by whoever takes the next step.
func (r *Ring) attach(ctx context.Context, k *Record) error {
	if r.signers[k.ID] != nil || k.Source != Software {
		return nil
	}
	sealed, err := r.sealed(ctx)
	if err != nil {
		return err
	}
	s, err := r.open(k, sealed)
	if err != nil {
		r.cfg.Logger.ErrorContext(ctx, "a signing key cannot be used by this process", "kid", k.ID, "err", err)
		return nil
	}
	r.signers[k.ID] = s
	return nil
}

// destroy forgets the private half of k: nobody will sign with it again.
func (r *Ring) destroy(ctx context.Context, k *Record) error {
	delete(r.signers, k.ID)
	if k.Source != Software {
		return nil
	}
	if err := r.cfg.Store.DeleteSealedKey(ctx, k.ID); err != nil {
		return fmt.Errorf("destroying signing key %s: %w", k.ID, err)
	}
	return nil
}

// move returns the keys that the entry numbered seq changes, as they are afterwards; none if it
// changes nothing.
func (v *view) move(e *entry, seq int64) ([]*Record, error) {
	k := v.byID[e.ID]
	slot := Slot{e.Use, e.Algorithm}
	if e.Event != publish {
		if k == nil {
			return nil, authz.Errorf(authz.ErrNotFound, "no signing key %s", e.ID)
		}
		slot = k.Slot()
	}
	if have := v.slotAsOf(slot); e.IfAsOf != nil && *e.IfAsOf != have {
		return nil, authz.Errorf(authz.ErrConflict, "the %s keys by %s were moved by entry %d meanwhile", slot.Use, slot.Algorithm, have)
	}
	if e.Event == publish {
		if k != nil {
			return nil, authz.Errorf(authz.ErrConflict, "signing key %s is known already", e.ID)
		}
		k = &Record{ID: e.ID, Use: e.Use, Algorithm: e.Algorithm, State: Published, Source: e.Source, JWK: e.JWK,
			PublishedAt: e.At, NotBefore: e.NotBefore, Published: seq, AsOf: seq}
		if err := k.parse(); err != nil {
			return nil, err
		}
		k.JWK = k.key.JWK() // whatever else the entry says
		if p := v.find(slot, Published); p != nil {
			return nil, authz.Errorf(authz.ErrConflict, "signing key %s is the next one already", p.ID)
		}
		return []*Record{k}, nil
	}
	next := *k
	next.AsOf = seq
	moved := []*Record{&next}
	wrong := func() ([]*Record, error) {
		return nil, authz.Errorf(authz.ErrConflict, "signing key %s is %s: it cannot %s", k.ID, k.State, e.Event)
	}
	switch e.Event {
	case activate:
		if k.State != Published {
			return wrong()
		}
		next.State, next.ActiveAt, next.ActiveUntil, next.VerifyUntil, next.Activated = Active, e.At, e.Until, e.VerifyUntil, seq
		if former := v.active[slot]; former != nil {
			f := *former
			f.AsOf = seq
			f.stop(e.At, e.FormerUntil, seq)
			moved = append(moved, &f)
		}
	case retire:
		if k.State != Active {
			return wrong()
		}
		next.stop(e.At, e.VerifyUntil, seq)
	case expire: // a published key that is given up never signed anything
		if k.State != VerifyOnly && k.State != Published {
			return wrong()
		}
		next.State, next.PastAt, next.Historical = Historical, e.At, seq
	case revoke:
		if k.State == Revoked {
			return nil, nil
		}
		next.State, next.RevokedAt, next.Revoked, next.Why = Revoked, e.At, seq, e.Why
	}
	return moved, nil
}

// stop makes k verify only. What was promised when it became active is not prolonged.
func (k *Record) stop(at, until time.Time, seq int64) {
	k.State, k.RetiredAt, k.Retired = VerifyOnly, at, seq
	if until.Before(k.VerifyUntil) {
		k.VerifyUntil = until
	}
	if at.Before(k.ActiveUntil) {
		k.ActiveUntil = at
	}
}

// find returns the key of the slot in that state of the log; there is at most one that is published
// and one that is active.
func (v *view) find(slot Slot, s State) *Record {
	for _, k := range v.keys {
		if k.State == s && k.Slot() == slot {
			return k
		}
	}
	return nil
}

// slotAsOf returns the number of the newest entry that moved a key of the slot, 0 if none did.
func (v *view) slotAsOf(slot Slot) (seq int64) {
	for _, k := range v.keys {
		if k.Slot() == slot {
			seq = max(seq, k.AsOf)
		}
	}
	return seq
}

// commit records a step and waits until it is in effect.
func (r *Ring) commit(ctx context.Context, actor string, e entry) error {
	if err := e.check(); err != nil {
		return err
	}
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding a step of a signing key: %w", err)
	}
	if _, err := r.cfg.Log.Commit(ctx, audit.Draft{Kind: audit.KeyPut, Actor: actor, Body: body}); err != nil {
		return fmt.Errorf("recording a step of a signing key: %w", err)
	}
	return nil
}
