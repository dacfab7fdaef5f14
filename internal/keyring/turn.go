package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Steps that the ring takes by itself are recorded under this actor.
const itself = "safeconduct"

// recheck is how long Run sleeps at most: after the machine has slept, or its clock was set, nobody
// wakes a timer.
const recheck = time.Minute

// Ensure takes every step that is due, and returns what Check says then.
func (r *Ring) Ensure(ctx context.Context) error {
	r.turn.Lock()
	defer r.turn.Unlock()
	if err := r.steps(ctx); err != nil {
		return err
	}
	return r.Check()
}

// Check returns nil if each slot has an active key that this process can sign with. Otherwise it
// returns authz.ErrUnavailable if that may pass by itself, and authz.ErrInvalid if somebody must act.
func (r *Ring) Check() error {
	var errs []error
	v, now := r.view.Load(), r.cfg.Now()
	for _, slot := range r.cfg.Slots {
		k := v.active[slot]
		switch {
		case k == nil || k.StateAt(now) != Active:
			errs = append(errs, authz.Errorf(authz.ErrUnavailable, "no key for signing a %s by %s is active", slot.Use, slot.Algorithm))
		case v.signers[k.ID] == nil:
			errs = append(errs, authz.Errorf(authz.ErrInvalid, "signing key %s (%s, %s) cannot be used by this process: all replicas need the same sealing key and the same key management services", k.ID, slot.Use, k.Source))
		}
	}
	return errors.Join(errs...)
}

// Run takes each step when it is due, until ctx ends. What fails is told and tried again.
func (r *Ring) Run(ctx context.Context) error {
	var cleaned time.Time
	for {
		r.turn.Lock()
		err := r.steps(ctx)
		r.turn.Unlock()
		if ctx.Err() != nil {
			return nil
		}
		wait := r.pause()
		if err != nil {
			r.cfg.Logger.ErrorContext(ctx, "signing keys are not in order", "err", err)
			wait = recheck
		}
		if now := time.Now(); now.Sub(cleaned) >= time.Hour {
			cleaned = now
			r.cleanUp(ctx)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-r.kick:
			if err != nil { // asked for by many, and not to be done by all of them
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
			}
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// pause is how long nothing is due, recheck at most.
func (r *Ring) pause() time.Duration {
	wait, now := recheck, r.cfg.Now()
	sooner := func(t time.Time) {
		if d := t.Sub(now); d > 0 && d < wait {
			wait = d
		}
	}
	for _, k := range r.view.Load().keys {
		switch k.State {
		case Published:
			sooner(k.NotBefore)
		case Active:
			sooner(k.ActiveUntil)
			sooner(k.ActiveUntil.Add(-r.cfg.Publish))
		case VerifyOnly:
			sooner(k.VerifyUntil)
		}
	}
	return wait
}

// steps takes steps until none is due. The caller holds r.turn.
func (r *Ring) steps(ctx context.Context) error {
	errs := r.attachExternal()
	for _, slot := range r.slots() {
		for range 20 { // a slot comes to rest after five
			more, err := r.step(ctx, slot)
			if errors.Is(err, authz.ErrConflict) { // another replica took it; look again
				errs = append(errs, r.attachExternal()...)
				continue
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s keys by %s: %w", slot.Use, slot.Algorithm, err))
			}
			if !more || err != nil {
				break
			}
		}
	}
	return errors.Join(errs...)
}

// slots returns those that are wanted, and those that still have keys.
func (r *Ring) slots() []Slot {
	all := slices.Clone(r.cfg.Slots)
	for _, k := range r.view.Load().keys {
		if s := k.Slot(); !slices.Contains(all, s) && k.State != Historical && k.State != Revoked {
			all = append(all, s)
		}
	}
	return all
}

// step takes the one step of a slot that is due first, and reports whether there was one.
func (r *Ring) step(ctx context.Context, slot Slot) (bool, error) {
	v, now := r.view.Load(), r.now()
	asOf := v.slotAsOf(slot)
	do := func(e entry) (bool, error) {
		e.At, e.IfAsOf = now, &asOf
		return true, r.commit(ctx, itself, e)
	}
	for _, k := range v.keys {
		if k.Slot() == slot && k.State == VerifyOnly && !now.Before(k.VerifyUntil) {
			return do(entry{Event: expire, ID: k.ID})
		}
	}
	active, next := v.active[slot], v.find(slot, Published)
	wanted := slices.Contains(r.cfg.Slots, slot)

	// A next key that this process can never use, and may replace, is given up; so is one that nobody
	// wants any more.
	if next != nil && (wanted && v.signers[next.ID] == nil && r.replaces(next) ||
		!wanted && !now.Before(next.NotBefore.Add(r.cfg.Active))) {
		return do(entry{Event: expire, ID: next.ID})
	}
	ended := active == nil || !now.Before(active.ActiveUntil) || wanted && v.signers[active.ID] == nil && r.replaces(active)
	switch {
	case !wanted && active != nil && ended:
		return do(r.retiring(active, now))
	case !wanted:
		return false, nil
	case next != nil && (ended || !now.Before(next.NotBefore)):
		if v.signers[next.ID] == nil {
			return false, authz.Errorf(authz.ErrUnavailable, "signing key %s is to become active and cannot be used by this process", next.ID)
		}
		return do(r.activating(next, now))
	case next == nil && ended:
		// Nothing signs: the new key cannot wait until everybody knows it.
		if err := r.make(ctx, itself, "", slot, asOf, now, now); err != nil {
			if active == nil || now.Before(active.ActiveUntil) || errors.Is(err, authz.ErrConflict) {
				return false, err
			}
			_, rerr := do(r.retiring(active, now)) // the record is to say that it ended
			return false, errors.Join(err, rerr)
		}
		return true, nil
	case next == nil && active.mistimed(now):
		r.cfg.Logger.WarnContext(ctx, "a signing key became active in the future: is a clock wrong?", "kid", active.ID, "active_at", active.ActiveAt)
		return true, r.make(ctx, itself, "", slot, asOf, now, now.Add(r.cfg.Publish))
	case next == nil && !now.Before(active.ActiveUntil.Add(-r.cfg.Publish)):
		return true, r.make(ctx, itself, "", slot, asOf, now, active.ActiveUntil)
	}
	return false, nil
}

// activating is the step that makes k active.
func (r *Ring) activating(k *Record, now time.Time) entry {
	until := now.Add(r.cfg.Active)
	return entry{Event: activate, ID: k.ID, Until: until, VerifyUntil: until.Add(r.cfg.VerifyOnly), FormerUntil: now.Add(r.cfg.VerifyOnly)}
}

// retiring is the step that ends k's signing with nobody in its place.
func (r *Ring) retiring(k *Record, now time.Time) entry {
	return entry{Event: retire, ID: k.ID, VerifyUntil: now.Add(r.cfg.VerifyOnly)}
}

// now is the time in the precision that is recorded.
func (r *Ring) now() time.Time { return r.cfg.Now().UTC().Truncate(time.Microsecond) }

// cleanUp forgets private halves that no entry ever spoke of: a process died between storing and
// recording, or another replica was first. They are left alone for a day, because an entry may still
// be on its way.
func (r *Ring) cleanUp(ctx context.Context) {
	all, err := r.cfg.Store.SealedKeys(ctx)
	if err != nil {
		return // next time
	}
	v, now := r.view.Load(), r.cfg.Now()
	for _, s := range all {
		if k := v.byID[s.ID]; k == nil && now.Sub(s.CreatedAt) > 24*time.Hour {
			if err := r.cfg.Store.DeleteSealedKey(ctx, s.ID); err != nil {
				r.cfg.Logger.WarnContext(ctx, "an unused signing key is not deleted", "kid", s.ID, "err", err)
			}
		}
	}
}
