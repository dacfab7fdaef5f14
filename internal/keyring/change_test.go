package keyring_test

import (
	"errors"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/keyring"
)

func TestRevoke(t *testing.T) {
	for _, tt := range []struct {
		state   keyring.State // of the key that is revoked
		before  time.Duration // how much of the first key's life passes, in steps
		replace bool          // another key of the slot becomes active
	}{
		{keyring.Active, 0, true},
		{keyring.Active, 29 * day, true}, // the next key is published
		{keyring.Published, 29 * day, false},
		{keyring.VerifyOnly, 30 * day, false},
		{keyring.Historical, 31 * day, false},
	} {
		w := newWorld(t)
		one, two := w.ring(t), w.ring(t)
		for _, at := range []time.Duration{29 * day, 30 * day, 31 * day} {
			if tt.before >= at {
				w.set(start.Add(at))
				ensure(t, one)
			}
		}
		var id string
		for _, k := range one.Keys() {
			if k.Slot() == tokenEd && k.State == tt.state {
				id = k.ID
			}
		}
		signing := kidOf(t, sign(t, two, keyring.Token, ""))
		_, etag := two.Set()
		was := inSet(t, two)[id]

		got, err := one.Revoke(t.Context(), "admin:root", "leaked", id)
		if err != nil || got.State != keyring.Revoked || got.Why != "leaked" || got.Signs || !got.RevokedAt.Equal(w.now()) {
			t.Errorf("%s: Revoke = %+v, %v", tt.state, got, err)
		}
		for i, r := range []*keyring.Ring{one, two} {
			if inSet(t, r)[id] {
				t.Errorf("%s: ring %d has the revoked key in its set", tt.state, i)
			}
			if _, now := r.Set(); (now != etag) != was {
				t.Errorf("%s: the entity tag of ring %d changed: %v", tt.state, i, now != etag)
			}
			if _, _, err := r.Key(keyring.Token, id); !errors.Is(err, authz.ErrNotFound) {
				t.Errorf("%s: ring %d verifies by the revoked key: %v", tt.state, i, err)
			}
			if kid := kidOf(t, sign(t, r, keyring.Token, "")); (kid != signing) != tt.replace || kid == id {
				t.Errorf("%s: ring %d signs with %s, before with %s, revoked was %s", tt.state, i, kid, signing, id)
			}
		}
		ensure(t, two, one)
		if n := w.halves(t); tt.before < 29*day && n != 3 || tt.before == 29*day && n < 5 {
			t.Errorf("%s: %d private halves are stored", tt.state, n)
		}
		n := len(w.tape.entries)
		if again, err := two.Revoke(t.Context(), "admin:root", "again", id); err != nil || again.Why != "leaked" || len(w.tape.entries) != n {
			t.Errorf("%s: revoking twice: %+v, %v", tt.state, again, err)
		}
		if e := one.Historical(); e[0].State == keyring.Revoked && e[0].Revoked == 0 {
			t.Errorf("%s: the past does not say when: %+v", tt.state, e[0])
		}
	}
	w := newWorld(t)
	r := w.ring(t)
	if _, err := r.Revoke(t.Context(), "admin:root", "w", "nobody"); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("revoking nobody: %v", err)
	}
	if _, err := r.Revoke(t.Context(), "admin:root", "", r.Keys()[0].ID); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("revoking without a reason: %v", err)
	}
}

// Nobody can make a key: the revoked one is revoked all the same.
func TestRevokeWithoutSuccessor(t *testing.T) {
	w := newWorld(t)
	b := &broken{Store: w.store}
	w.store = b
	r := w.ring(t)
	b.sealed.Store(1)
	id := kidOf(t, sign(t, r, keyring.Token, ""))
	if got, err := r.Revoke(t.Context(), "admin:root", "leaked", id); err != nil || got.State != keyring.Revoked {
		t.Errorf("Revoke = %+v, %v", got, err)
	}
	if _, err := r.Signer(keyring.Token, ""); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("Signer = %v, want authz.ErrUnavailable", err)
	}
	if inSet(t, r)[id] {
		t.Error("the revoked key is in the set")
	}
	ensure(t, r)
	sign(t, r, keyring.Token, "")
}

func TestRotate(t *testing.T) {
	w := newWorld(t)
	one, two := w.ring(t), w.ring(t)
	rings := []*keyring.Ring{one, two}
	first := sign(t, one, keyring.Token, "")
	w.pass(5 * day)
	got, err := one.Rotate(t.Context(), "admin:root", "exercise", keyring.Token, false)
	if err != nil || len(got) != 2 || got[0].State != keyring.Published || !got[0].NotBefore.Equal(w.now().Add(day)) {
		t.Fatalf("Rotate = %+v, %v", got, err)
	}
	wantStates(t, rings, tokenEd, keyring.Active, keyring.Published)
	wantStates(t, rings, tokenES, keyring.Active, keyring.Published)
	wantStates(t, rings, statusEd, keyring.Active)
	n := len(w.tape.entries)
	if again, err := two.Rotate(t.Context(), "admin:root", "exercise", keyring.Token, false); err != nil || again[0].ID != got[0].ID || len(w.tape.entries) != n {
		t.Errorf("Rotate again = %+v, %v; %d new entries", again, err, len(w.tape.entries)-n)
	}
	if kidOf(t, sign(t, two, keyring.Token, "")) != kidOf(t, first) {
		t.Error("rotation came at once")
	}
	w.pass(day)
	ensure(t, two, one)
	wantStates(t, rings, tokenEd, keyring.VerifyOnly, keyring.Active)
	verify(t, one, keyring.Token, first)

	w.pass(5 * day)
	all, err := two.Rotate(t.Context(), "admin:root", "now", "", true)
	if err != nil || len(all) != 3 {
		t.Fatalf("Rotate at once = %+v, %v", all, err)
	}
	for i, k := range all {
		if k.State != keyring.Active || !k.Signs || k.Slot() != slots[i] {
			t.Errorf("Rotate at once = %+v", k)
		}
	}
	if kid := kidOf(t, sign(t, one, keyring.Token, "")); kid != all[0].ID {
		t.Errorf("signs with %s, want %s", kid, all[0].ID)
	}
	ensure(t, one, two)
	wantStates(t, rings, tokenEd, keyring.Historical, keyring.VerifyOnly, keyring.Active)

	// What is published already becomes active.
	if _, err := one.Rotate(t.Context(), "admin:root", "soon", keyring.Status, false); err != nil {
		t.Fatal(err)
	}
	now, err := two.Rotate(t.Context(), "admin:root", "sooner", keyring.Status, true)
	if err != nil || len(now) != 1 || now[0].State != keyring.Active || !now[0].ActiveUntil.Equal(w.now().Add(30*day)) {
		t.Errorf("Rotate at once = %+v, %v", now, err)
	}
	if _, err := one.Rotate(t.Context(), "admin:root", "w", "login", false); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("an unknown use: %v", err)
	}
}

// A slot that is not wanted any more ends without a successor.
func TestUnwantedSlot(t *testing.T) {
	w := newWorld(t)
	w.ring(t)
	w.pass(29 * day)
	w.forget()
	r := w.ring(t, func(c *keyring.Config) { c.Slots = []keyring.Slot{tokenEd} })
	rings := []*keyring.Ring{r}
	sign(t, r, keyring.Token, keyring.ES256) // until its period ends
	wantStates(t, rings, tokenES, keyring.Active)
	w.pass(day)
	ensure(t, r)
	wantStates(t, rings, tokenES, keyring.VerifyOnly)
	wantStates(t, rings, tokenEd, keyring.VerifyOnly, keyring.Active)
	if _, err := r.Signer(keyring.Status, ""); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("an unwanted use signs: %v", err)
	}
	w.pass(hour)
	ensure(t, r)
	wantStates(t, rings, tokenES, keyring.Historical)
	if got := len(inSet(t, r)); got != 1 {
		t.Errorf("%d keys in the set, want 1", got)
	}
}
