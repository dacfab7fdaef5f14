package keyring_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/keyring"
)

var (
	tokenEd  = keyring.Slot{Use: keyring.Token, Algorithm: keyring.EdDSA}
	tokenES  = keyring.Slot{Use: keyring.Token, Algorithm: keyring.ES256}
	statusEd = keyring.Slot{Use: keyring.Status, Algorithm: keyring.EdDSA}
	slots    = []keyring.Slot{tokenEd, tokenES, statusEd}
)

// One key of each slot lives its life, with the usual periods.
func TestLife(t *testing.T) {
	w := newWorld(t)
	one := w.ring(t)
	two := w.ring(t)
	rings := []*keyring.Ring{one, two}
	for _, slot := range slots {
		wantStates(t, rings, slot, keyring.Active)
	}
	if n := w.halves(t); n != 3 {
		t.Errorf("%d private halves are stored, want 3", n)
	}
	first := sign(t, one, keyring.Token, "")
	if again := sign(t, two, keyring.Token, keyring.EdDSA); kidOf(t, again) != kidOf(t, first) {
		t.Error("two replicas sign with different keys")
	}
	for _, slot := range slots {
		sign(t, two, slot.Use, slot.Algorithm)
	}
	if _, _, err := one.Key(keyring.Status, kidOf(t, first)); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("a key for tokens verifies a status list: %v", err)
	}
	_, etag := one.Set()

	w.pass(29*day - time.Second)
	ensure(t, two, one)
	wantStates(t, rings, tokenEd, keyring.Active)
	w.pass(time.Second) // 24 h before the end
	ensure(t, two, one)
	wantStates(t, rings, tokenEd, keyring.Active, keyring.Published)
	if _, changed := one.Set(); changed == etag {
		t.Error("a key is published, and the entity tag of the key set stays")
	}
	if got := len(inSet(t, two)); got != 6 {
		t.Errorf("%d keys in the set, want 6", got)
	}
	if kid := kidOf(t, sign(t, one, keyring.Token, "")); kid != kidOf(t, first) {
		t.Error("a key that was just published signs")
	}

	w.pass(day)
	ensure(t, one, two)
	wantStates(t, rings, tokenEd, keyring.VerifyOnly, keyring.Active)
	second := sign(t, one, keyring.Token, "")
	if kidOf(t, second) == kidOf(t, first) {
		t.Error("the first key signs after its period")
	}
	verify(t, two, keyring.Token, first)
	if n := w.halves(t); n != 3 {
		t.Errorf("%d private halves are stored, want the 3 active ones", n)
	}

	w.pass(hour - time.Second)
	verify(t, two, keyring.Token, first)
	w.pass(time.Second) // the log does not say yet that the first key is history
	for _, r := range rings {
		if _, _, err := r.Key(keyring.Token, kidOf(t, first)); !errors.Is(err, authz.ErrNotFound) {
			t.Errorf("a key past its time to verify: %v", err)
		}
		if inSet(t, r)[kidOf(t, first)] {
			t.Error("a key past its time to verify is in the key set")
		}
	}
	wantStates(t, rings, tokenEd, keyring.Historical, keyring.Active)
	ensure(t, two)
	past := one.Historical()
	if diff := cmp.Diff(past, two.Historical()); diff != "" {
		t.Errorf("replicas tell different pasts:\n%s", diff)
	}
	if len(past) != 6 {
		t.Fatalf("%d keys in the past, want 6", len(past))
	}
	p := past[0]
	if p.State != keyring.Historical || p.ID != kidOf(t, first) || !(p.Published < p.Activated && p.Activated < p.Retired && p.Retired < p.Historical) || p.Revoked != 0 {
		t.Errorf("the first key's past is out of order: %+v", p)
	}
	if !p.ActiveAt.Equal(start) || !p.ActiveUntil.Equal(start.Add(30*day)) || len(p.JWK) == 0 {
		t.Errorf("the first key's past: %+v", p)
	}
	for _, e := range w.tape.entries {
		if e.Kind != audit.KeyPut || e.Actor != "safeconduct" || strings.Contains(string(e.Body), `"d":`) {
			t.Errorf("entry %+v %s", e, e.Body)
		}
	}
}

// A ring that starts later knows the same, and entries seen twice change nothing.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	one := w.ring(t)
	for range 12 {
		w.pass(10 * day)
		ensure(t, one)
	}
	if _, err := one.Revoke(t.Context(), "admin:root", "leaked", one.Keys()[0].ID); err != nil {
		t.Fatal(err)
	}
	signed := sign(t, one, keyring.Token, keyring.ES256)
	entries := w.tape.entries
	w.forget()
	two := w.ring(t)
	verify(t, two, keyring.Token, signed)
	compare := func(when string) {
		t.Helper()
		if diff := cmp.Diff(one.Keys(), two.Keys(), cmpopts.IgnoreUnexported(keyring.Record{})); diff != "" {
			t.Errorf("%s: (-before +after)\n%s", when, diff)
		}
	}
	compare("after a restart")
	for _, e := range entries {
		if err := two.Apply(t.Context(), e); err != nil {
			t.Errorf("entry %d again: %v", e.Seq, err)
		}
	}
	compare("after the whole log again")
	if len(w.tape.entries) != len(entries) {
		t.Errorf("%d entries were written by starting again", len(w.tape.entries)-len(entries))
	}
	// And from the log alone, without the table.
	empty := newWorld(t)
	empty.clock, empty.seal = w.clock, w.seal
	three, err := empty.make()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := three.Apply(t.Context(), e); err != nil {
			t.Errorf("entry %d: %v", e.Seq, err)
		}
	}
	if diff := cmp.Diff(one.Historical(), three.Historical()); diff != "" {
		t.Errorf("from the log alone: (-before +after)\n%s", diff)
	}
	if _, err := three.Signer(keyring.Token, ""); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("a ring without the private halves signs: %v", err)
	}
}

// Whoever decides a step that another replica has taken changes nothing, and leaves nothing behind.
func TestRaces(t *testing.T) {
	w := newWorld(t)
	one, err := w.make()
	if err != nil {
		t.Fatal(err)
	}
	two, err := w.make()
	if err != nil {
		t.Fatal(err)
	}
	rings := []*keyring.Ring{one, two}
	race := func(what string) {
		t.Helper()
		raced := false
		w.tape.before = func() { raced = true; ensure(t, two) }
		ensure(t, one)
		w.tape.before = nil
		if !raced {
			t.Errorf("%s: nothing was to be done", what)
		}
		for _, slot := range slots {
			if diff := cmp.Diff(states(one, slot), states(two, slot)); diff != "" {
				t.Errorf("%s: replicas differ:\n%s", what, diff)
			}
		}
	}
	race("first start")
	for _, slot := range slots {
		wantStates(t, rings, slot, keyring.Active)
	}
	if n := w.halves(t); n != 3 {
		t.Errorf("%d private halves after a race, want 3", n)
	}
	w.pass(29 * day)
	race("publication")
	w.pass(day)
	race("activation")
	w.pass(hour)
	race("history")
	for _, slot := range slots {
		wantStates(t, rings, slot, keyring.Historical, keyring.Active)
	}
	if n := w.halves(t); n != 3 {
		t.Errorf("%d private halves after races, want 3", n)
	}
}

// A replica that reads the log late finds a table that is ahead of it, and comes to the same keys.
func TestLateReplica(t *testing.T) {
	w := newWorld(t)
	late, err := w.make()
	if err != nil {
		t.Fatal(err)
	}
	w.forget()
	one := w.ring(t)
	for _, d := range []time.Duration{29 * day, day, hour, 28 * day, day} {
		w.pass(d)
		ensure(t, one)
	}
	if _, err := one.Revoke(t.Context(), "admin:root", "leaked", kidOf(t, sign(t, one, keyring.Token, ""))); err != nil {
		t.Fatal(err)
	}
	want := one.Historical()
	for _, e := range w.tape.entries {
		if err := late.Apply(t.Context(), e); err != nil {
			t.Errorf("entry %d, late: %v", e.Seq, err)
		}
	}
	if diff := cmp.Diff(want, late.Historical()); diff != "" {
		t.Errorf("the late replica differs:\n%s", diff)
	}
	n := len(w.tape.entries)
	ensure(t, late)
	for _, slot := range slots {
		sign(t, late, slot.Use, slot.Algorithm)
	}
	if len(w.tape.entries) != n {
		t.Error("the late replica moved keys")
	}
	w.forget()
	if diff := cmp.Diff(want, w.ring(t).Historical()); diff != "" {
		t.Errorf("the late replica has changed the table:\n%s", diff)
	}
}

// Every process slept. What has ended has ended, and signing begins again with new keys.
func TestSlept(t *testing.T) {
	for _, tt := range []struct {
		slept    time.Duration
		verifies bool
	}{{30*day + time.Minute, true}, {30*day + hour, false}, {70 * day, false}} {
		w := newWorld(t)
		r := w.ring(t)
		text := sign(t, r, keyring.Token, "")
		w.pass(tt.slept)
		if s, err := r.Signer(keyring.Token, ""); !errors.Is(err, authz.ErrUnavailable) || s != nil {
			t.Errorf("slept %v: a key signs after its period: %v", tt.slept, err)
		}
		if err := r.Check(); !errors.Is(err, authz.ErrUnavailable) {
			t.Errorf("slept %v: Check = %v, want authz.ErrUnavailable", tt.slept, err)
		}
		if _, _, err := r.Key(keyring.Token, kidOf(t, text)); (err == nil) != tt.verifies {
			t.Errorf("slept %v: verifies: %v", tt.slept, err)
		}
		if inSet(t, r)[kidOf(t, text)] != tt.verifies {
			t.Errorf("slept %v: the key set has the key: %v", tt.slept, !tt.verifies)
		}
		ensure(t, r)
		if kidOf(t, sign(t, r, keyring.Token, "")) == kidOf(t, text) {
			t.Errorf("slept %v: the same key signs again", tt.slept)
		}
		if past := r.Historical()[0]; past.ActiveUntil.Sub(past.ActiveAt) != 30*day {
			t.Errorf("slept %v: the first key was active until %v", tt.slept, past.ActiveUntil)
		}
	}
}

// The clock of one replica is a year ahead for a while. The keys that it made do not sign for a year.
func TestClockAhead(t *testing.T) {
	w := newWorld(t)
	ahead := &clock{at: start}
	one, two := w.ring(t), w.ring(t, func(c *keyring.Config) { c.Now = ahead.now })
	ahead.set(start.Add(365 * day))
	ensure(t, two)
	ahead.set(w.now())
	wrong := kidOf(t, sign(t, one, keyring.Token, ""))
	ensure(t, one, two)
	wantStates(t, []*keyring.Ring{one, two}, tokenEd, keyring.Historical, keyring.Active, keyring.Published)
	w.pass(day)
	ahead.pass(day)
	ensure(t, one, two)
	right := sign(t, one, keyring.Token, "")
	if kidOf(t, right) == wrong {
		t.Error("the key of the wrong clock signs after a day")
	}
	w.pass(hour)
	ahead.pass(hour)
	for i, r := range []*keyring.Ring{one, two} {
		if _, _, err := r.Key(keyring.Token, wrong); !errors.Is(err, authz.ErrNotFound) {
			t.Errorf("ring %d: the key of the wrong clock verifies: %v", i, err)
		}
	}
	ensure(t, two, one)
	for range 29 * 24 {
		w.pass(hour)
		ahead.pass(hour)
		ensure(t, one, two)
	}
	for _, k := range one.Keys() {
		if k.State == keyring.Active && k.ActiveUntil.After(w.now().Add(30*day)) {
			t.Errorf("key %+v is active until %v, it is %v", k, k.ActiveUntil, w.now())
		}
	}
}

// All clocks are set back. The active key seems to come from the future: it is replaced in due time.
func TestClockBack(t *testing.T) {
	w := newWorld(t)
	r := w.ring(t)
	w.pass(-10 * day)
	first := sign(t, r, keyring.Token, "")
	ensure(t, r)
	wantStates(t, []*keyring.Ring{r}, tokenEd, keyring.Active, keyring.Published)
	w.pass(day)
	ensure(t, r)
	if kidOf(t, sign(t, r, keyring.Token, "")) == kidOf(t, first) {
		t.Error("the key from the future signs on")
	}
	w.pass(time.Minute - 5*time.Minute) // replicas differ by less than that
	n := len(w.tape.entries)
	ensure(t, r)
	if len(w.tape.entries) != n {
		t.Error("a small step back has moved keys")
	}
}

// A store or a log that fails leaves no key that is published and cannot sign.
func TestFailures(t *testing.T) {
	w := newWorld(t)
	b := &broken{Store: w.store}
	b.sealed.Store(1)
	w.store = b
	r, err := w.make()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Ensure(t.Context()); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("the private half could not be stored: %v", err)
	}
	if n := len(states(r, tokenEd)); n != 0 {
		t.Errorf("%d keys without a private half", n)
	}
	ensure(t, r)
	w.pass(29 * day)
	b.keys.Store(1)
	if err := r.Ensure(t.Context()); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("the public half could not be stored: %v", err)
	}
	// What a follower does: it applies the entry until that succeeds.
	if err := r.Apply(t.Context(), w.tape.entries[6]); err != nil {
		t.Fatal(err)
	}
	ensure(t, r)
	wantStates(t, []*keyring.Ring{r}, tokenEd, keyring.Active, keyring.Published)
	w.pass(day)
	ensure(t, r)
	for _, slot := range slots {
		sign(t, r, slot.Use, slot.Algorithm)
	}
}

// While nothing can be recorded, keys are not made again and again.
func TestLogAway(t *testing.T) {
	w := newWorld(t)
	s, uri := newSafe(t)
	r := w.ring(t, func(c *keyring.Config) {
		c.External = []keyring.External{{Use: keyring.Token, Algorithm: keyring.ES256, KMS: uri, Key: "testsafe:{id}"}}
	})
	w.pass(40 * day)
	w.tape.away = true
	for range 10 {
		w.pass(time.Minute)
		if err := r.Ensure(t.Context()); !errors.Is(err, authz.ErrUnavailable) {
			t.Errorf("Ensure = %v, want authz.ErrUnavailable", err)
		}
	}
	if len(s.keys) != 2 || w.halves(t) != 4 {
		t.Errorf("%d keys in the service and %d private halves in the store, want 2 and 4", len(s.keys), w.halves(t))
	}
	w.tape.away = false
	ensure(t, r)
	for _, slot := range slots {
		wantStates(t, []*keyring.Ring{r}, slot, keyring.Historical, keyring.Active)
		sign(t, r, slot.Use, slot.Algorithm)
	}
	if len(s.keys) != 2 || w.halves(t) != 2 {
		t.Errorf("%d keys in the service and %d private halves in the store, want 2 and 2", len(s.keys), w.halves(t))
	}
}

func TestApplyRefuses(t *testing.T) {
	w := newWorld(t)
	r := w.ring(t)
	known := r.Keys()
	id, es := known[0].ID, known[1]
	jwk := string(known[0].JWK)
	const at = `"at":"2026-01-02T03:04:05Z"`
	for _, tt := range []struct {
		body string
		want error
	}{
		{``, authz.ErrInvalid},
		{`[]`, authz.ErrInvalid},
		{`{}`, authz.ErrInvalid},
		{`{"event":"steal","kid":"` + id + `",` + at + `}`, authz.ErrInvalid},
		{`{"event":"expire","kid":"` + id + `"}`, authz.ErrInvalid},
		{`{"event":"revoke","kid":"` + id + `",` + at + `}`, authz.ErrInvalid},
		{`{"event":"revoke","kid":"nobody","why":"w",` + at + `}`, authz.ErrNotFound},
		{`{"event":"expire","kid":"` + id + `",` + at + `}`, authz.ErrConflict}, // active
		{`{"event":"activate","kid":"` + id + `",` + at + `,"until":"2026-01-02T03:04:05Z","verify_until":"2026-03-01T00:00:00Z","former_until":"2026-03-01T00:00:00Z"}`, authz.ErrInvalid},
		{`{"event":"activate","kid":"` + id + `",` + at + `,"until":"2026-02-01T00:00:00Z","verify_until":"2026-03-01T00:00:00Z","former_until":"2026-03-01T00:00:00Z"}`, authz.ErrConflict},
		{`{"event":"retire","kid":"` + id + `",` + at + `,"verify_until":"2026-03-01T00:00:00Z","if_as_of":1}`, authz.ErrConflict},
		{`{"event":"publish","kid":"` + id + `","use":"token","alg":"EdDSA","source":"software","not_before":"2026-01-03T00:00:00Z","jwk":` + jwk + `,` + at + `}`, authz.ErrConflict},
		{`{"event":"publish","kid":"x","use":"token","alg":"EdDSA","source":"software","not_before":"2026-01-03T00:00:00Z","jwk":` + jwk + `,` + at + `}`, authz.ErrInvalid},
		{`{"event":"publish","kid":"x","use":"login","alg":"EdDSA","source":"software","not_before":"2026-01-03T00:00:00Z","jwk":` + jwk + `,` + at + `}`, authz.ErrInvalid},
		{`{"event":"publish","kid":"x","use":"token","alg":"EdDSA","source":"software","not_before":"2025-01-03T00:00:00Z","jwk":` + jwk + `,` + at + `}`, authz.ErrInvalid},
		{`{"event":"publish","kid":"x","use":"token","alg":"EdDSA","source":"","not_before":"2026-01-03T00:00:00Z","jwk":` + jwk + `,` + at + `}`, authz.ErrInvalid},
		{`{"event":"publish","kid":"` + es.ID + `x","use":"token","alg":"EdDSA","source":"software","not_before":"2026-01-03T00:00:00Z","jwk":` + string(es.JWK) + `,` + at + `}`, authz.ErrInvalid},
		{`{"event":"publish","kid":"x","use":"token","alg":"EdDSA","source":"software","not_before":"2026-01-03T00:00:00Z","jwk":{"kty":"oct","k":"AAAA"},` + at + `}`, authz.ErrInvalid},
	} {
		e := audit.Entry{Seq: 1000, Kind: audit.KeyPut, Body: json.RawMessage(tt.body)}
		if err := r.Apply(t.Context(), e); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.body, err, tt.want)
		}
	}
	if err := r.Apply(t.Context(), audit.Entry{Seq: 1001, Kind: audit.DecisionMade}); err != nil {
		t.Errorf("an entry of another kind: %v", err)
	}
	if diff := cmp.Diff(known, r.Keys(), cmpopts.IgnoreUnexported(keyring.Record{})); diff != "" {
		t.Errorf("refused entries have changed keys:\n%s", diff)
	}
}

func TestConfig(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*keyring.Config){
		"publish":   func(c *keyring.Config) { c.Publish = time.Second },
		"active":    func(c *keyring.Config) { c.Active = 24 * time.Hour },
		"too long":  func(c *keyring.Config) { c.Active = 800 * day },
		"verify":    func(c *keyring.Config) { c.VerifyOnly = time.Minute },
		"use":       func(c *keyring.Config) { c.Slots = []keyring.Slot{{Use: "login", Algorithm: keyring.EdDSA}} },
		"algorithm": func(c *keyring.Config) { c.Slots = []keyring.Slot{{Use: keyring.Token, Algorithm: "RS256"}} },
		"twice":     func(c *keyring.Config) { c.Slots = []keyring.Slot{tokenEd, tokenEd} },
		"no seal":   func(c *keyring.Config) { c.Seal = nil },
		"pin in name": func(c *keyring.Config) {
			c.External = []keyring.External{{Use: keyring.Token, Algorithm: keyring.ES256, KMS: "pkcs11:token=t", Key: "pkcs11:object=o?pin-value=1"}}
		},
		"no name": func(c *keyring.Config) {
			c.External = []keyring.External{{Use: keyring.Token, Algorithm: keyring.ES256, KMS: "pkcs11:token=t"}}
		},
		"unknown service": func(c *keyring.Config) {
			c.External = []keyring.External{{Use: keyring.Token, Algorithm: keyring.ES256, KMS: "http://x", Key: "x"}}
		},
		"unwanted": func(c *keyring.Config) {
			c.External = []keyring.External{{Use: keyring.Status, Algorithm: keyring.ES256, KMS: "pkcs11:token=t", Key: "x"}}
		},
	} {
		if _, err := w.make(change); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: %v, want authz.ErrInvalid", name, err)
		}
	}
}
