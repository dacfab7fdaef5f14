package keyring_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/keyring"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
	"github.com/safeconduct/safeconduct/internal/token"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const (
	hour = time.Hour
	day  = 24 * time.Hour
)

// A clock is set by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

func (c *clock) pass(d time.Duration) { c.set(c.now().Add(d)) }

// A tape is a log in memory: what is committed is applied at once, by every ring on it.
type tape struct {
	mu      sync.Mutex
	entries []audit.Entry
	rings   []*keyring.Ring
	before  func() // called once, before the next entry
	away    bool   // nothing can be recorded
}

// A pen commits for one ring, and returns that ring's verdict.
type pen struct {
	tape *tape
	ring **keyring.Ring
}

func (p pen) Commit(ctx context.Context, d audit.Draft) (int64, error) {
	if f := p.tape.before; f != nil {
		p.tape.before = nil
		f()
	}
	l := p.tape
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return 0, authz.Errorf(authz.ErrUnavailable, "the log is away")
	}
	e := audit.Entry{Seq: int64(len(l.entries)) + 1, At: start, Kind: d.Kind, Actor: d.Actor, Body: d.Body}
	l.entries = append(l.entries, e)
	var verdict error
	for _, r := range l.rings {
		if err := r.Apply(ctx, e); r == *p.ring {
			verdict = err
		}
	}
	return e.Seq, verdict
}

// A world is a store, a log and a sealing key, on which rings are replicas.
type world struct {
	*clock
	tape  tape
	store keyring.Store
	seal  *keyring.SealingKey
}

func newWorld(t testing.TB) *world {
	t.Helper()
	seal, err := keyring.NewSealingKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &world{clock: &clock{at: start}, store: storetest.Open(t), seal: seal}
}

// make returns a loaded ring; change may change its configuration.
func (w *world) make(change ...func(*keyring.Config)) (*keyring.Ring, error) {
	var ring *keyring.Ring
	c := keyring.Config{Store: w.store, Log: pen{&w.tape, &ring}, Seal: w.seal, Now: w.now}
	for _, f := range change {
		f(&c)
	}
	ring, err := keyring.New(c)
	if err != nil {
		return nil, err
	}
	if err := ring.Load(context.Background()); err != nil {
		return nil, err
	}
	w.tape.mu.Lock()
	defer w.tape.mu.Unlock()
	w.tape.rings = append(w.tape.rings, ring)
	return ring, nil
}

// ring is make and Ensure, neither of which may fail.
func (w *world) ring(t testing.TB, change ...func(*keyring.Config)) *keyring.Ring {
	t.Helper()
	r, err := w.make(change...)
	if err != nil {
		t.Fatal(err)
	}
	ensure(t, r)
	return r
}

// forget takes every ring off the log, as if their processes had ended.
func (w *world) forget() {
	w.tape.mu.Lock()
	defer w.tape.mu.Unlock()
	w.tape.rings = nil
}

func ensure(t testing.TB, rings ...*keyring.Ring) {
	t.Helper()
	for i, r := range rings {
		if err := r.Ensure(context.Background()); err != nil {
			t.Fatalf("Ensure of ring %d: %v", i, err)
		}
	}
}

// states returns the states of a slot's keys, in the order of publication.
func states(r *keyring.Ring, slot keyring.Slot) (all []keyring.State) {
	for _, k := range r.Keys() {
		if k.Slot() == slot {
			all = append(all, k.State)
		}
	}
	return all
}

// wantStates compares what all rings say of a slot.
func wantStates(t testing.TB, rings []*keyring.Ring, slot keyring.Slot, want ...keyring.State) {
	t.Helper()
	for i, r := range rings {
		if diff := cmp.Diff(want, states(r, slot)); diff != "" {
			t.Errorf("ring %d, keys of %v (-want +got):\n%s", i, slot, diff)
		}
	}
}

// inSet returns the ids of the key set, each with its use and algorithm as a parser sees them.
func inSet(t testing.TB, r *keyring.Ring) map[string]bool {
	t.Helper()
	doc, etag := r.Set()
	if len(etag) < 10 {
		t.Errorf("entity tag %q", etag)
	}
	keys, err := token.ParseKeySet(doc)
	if err != nil {
		t.Fatalf("parsing the key set %s: %v", doc, err)
	}
	ids := map[string]bool{}
	for _, k := range keys {
		ids[k.ID] = true
	}
	var raw struct{ Keys []map[string]any }
	if err := json.Unmarshal(doc, &raw); err != nil {
		t.Fatal(err)
	}
	for _, k := range raw.Keys {
		for name := range k {
			if name == "d" || name == "k" {
				t.Errorf("the key set holds a private member %q", name)
			}
		}
	}
	return ids
}

// sign signs as an issuer would and verifies as a resource server of the same moment would.
func sign(t testing.TB, r *keyring.Ring, use keyring.Use, alg string) string {
	t.Helper()
	s, err := r.Signer(use, alg)
	if err != nil {
		t.Fatalf("Signer(%s, %s): %v", use, alg, err)
	}
	text, err := s.Sign(token.PassportType, []byte(`{"sub":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	verify(t, r, use, text)
	return text
}

func verify(t testing.TB, r *keyring.Ring, use keyring.Use, text string) {
	t.Helper()
	j, err := token.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := r.Key(use, j.KeyID)
	if err != nil {
		t.Fatalf("Key(%s, %s): %v", use, j.KeyID, err)
	}
	if err := j.Verify(k); err != nil {
		t.Fatal(err)
	}
}

func kidOf(t testing.TB, text string) string {
	t.Helper()
	j, err := token.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return j.KeyID
}

// halves returns how many private halves are stored.
func (w *world) halves(t testing.TB) int {
	t.Helper()
	all, err := w.store.SealedKeys(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// broken is a store that fails on cue.
type broken struct {
	keyring.Store
	sealed, keys atomic.Int32 // how often PutSealedKey and PutSigningKeys fail
}

func (b *broken) PutSealedKey(ctx context.Context, s keyring.Sealed) error {
	if b.sealed.Add(-1) >= 0 {
		return authz.Errorf(authz.ErrUnavailable, "the store is away")
	}
	return b.Store.PutSealedKey(ctx, s)
}

func (b *broken) PutSigningKeys(ctx context.Context, keys ...keyring.Record) error {
	if b.keys.Add(-1) >= 0 {
		return authz.Errorf(authz.ErrUnavailable, "the store is away")
	}
	return b.Store.PutSigningKeys(ctx, keys...)
}
