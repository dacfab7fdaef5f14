package keyring

import (
	"context"
	"errors"

	"github.com/safeconduct/safeconduct/authz"
)

// Rotate begins the rotation of the keys of a use, or of all if use is "": the next key of each slot
// is published now, and becomes active after the usual time. With atOnce it becomes active at once,
// and verifiers that cached the key set will meet a key that they do not know yet.
// It returns the next key of each slot, or the active one if that is it.
func (r *Ring) Rotate(ctx context.Context, actor, why string, use Use, atOnce bool) ([]Info, error) {
	if use != "" {
		if _, err := ParseUse(string(use)); err != nil {
			return nil, err
		}
	}
	r.turn.Lock()
	defer r.turn.Unlock()
	var all []Info
	for _, slot := range r.cfg.Slots {
		if use != "" && slot.Use != use {
			continue
		}
		k, err := r.rotate(ctx, actor, why, slot, atOnce)
		if err != nil {
			return all, err
		}
		v := r.view.Load()
		all = append(all, v.info(v.byID[k.ID], r.now()))
	}
	if len(all) == 0 {
		return nil, authz.Errorf(authz.ErrNotFound, "no %s keys are wanted by the configuration", use)
	}
	return all, nil
}

func (r *Ring) rotate(ctx context.Context, actor, why string, slot Slot, atOnce bool) (*Record, error) {
	next := r.view.Load().find(slot, Published)
	if next == nil {
		now := r.now()
		notBefore := now.Add(r.cfg.Publish)
		if atOnce {
			notBefore = now
		}
		err := r.make(ctx, actor, why, slot, r.view.Load().slotAsOf(slot), now, notBefore)
		if next = r.view.Load().find(slot, Published); next == nil {
			if err == nil {
				err = authz.Errorf(authz.ErrConflict, "the %s keys by %s are being rotated by somebody else", slot.Use, slot.Algorithm)
			}
			return nil, err
		}
		if err != nil && !errors.Is(err, authz.ErrConflict) { // with a conflict, another's key is the next one
			return nil, err
		}
	}
	if !atOnce {
		return next, nil
	}
	v := r.view.Load()
	if v.signers[next.ID] == nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "signing key %s cannot be used by this process", next.ID)
	}
	asOf := v.slotAsOf(slot)
	now := r.now()
	e := r.activating(next, now)
	e.At, e.IfAsOf, e.Why = now, &asOf, why
	return next, r.commit(ctx, actor, e)
}

// Revoke takes a key out of the key set, at once and for good: what it signed does not count any more,
// and its private half is destroyed. If it was active, the next key takes its place, or a new one that
// verifiers may not know yet. It returns the key as it then stands, and authz.ErrNotFound if there is
// none; revoking twice changes nothing. If there is no key to take the place, the key is revoked all
// the same, and nobody signs until there is one.
func (r *Ring) Revoke(ctx context.Context, actor, why, id string) (Info, error) {
	k := r.view.Load().byID[id]
	if k == nil {
		return Info{}, authz.Errorf(authz.ErrNotFound, "no signing key %.60q", id)
	}
	if k.State != Revoked { // whatever else is under way, and whatever state it is in by now
		if err := r.commit(ctx, actor, entry{Event: revoke, ID: id, At: r.now(), Why: why}); err != nil {
			return Info{}, err
		}
		r.turn.Lock()
		if err := r.steps(ctx); err != nil {
			r.cfg.Logger.ErrorContext(ctx, "no key takes the place of a revoked one", "kid", id, "err", err)
		}
		r.turn.Unlock()
	}
	v := r.view.Load()
	return v.info(v.byID[id], r.cfg.Now()), nil
}
