// Package keyring holds the server's own signing keys: which there are, which one signs, which ones
// count, and which ones once did.
//
// Every key is published before it signs, signs for a bounded period, is kept for verifying until
// what it signed last has expired, and is remembered for good. Its private half is made here and lies
// sealed in the store, or it never leaves a key management service; it is destroyed, or no longer
// used, when its period ends. Rotation is automatic, and any replica may do it: each step is an entry
// of the log that names the state it was decided in, so the first entry counts and the others change
// nothing. No leader is elected, and no key is made twice.
//
// Two clocks bound a key. What moves it are entries, in an order that all replicas share; but a
// period that has ended by this process's clock has ended even if no entry says so yet. When nobody
// can say which key signs, nobody signs.
//
// The package is not the log's own key, which signs checkpoints (audit.Key), and it does not know what
// is signed. A process that holds a key in memory cannot protect it from whoever reads that memory;
// only a key management service can.
package keyring

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/token"
)

// Algorithms by which keys sign (RFC 8037, RFC 7518).
const (
	EdDSA = "EdDSA" // Ed25519
	ES256 = "ES256" // ECDSA on P-256
)

// clockSkew is how far the clocks of replicas may differ before a key's dates are doubted.
const clockSkew = 5 * time.Minute

// Store is the durable side of a Ring.
type Store interface {
	// SigningKeys returns every key there ever was, in the order in which they were published.
	SigningKeys(ctx context.Context) ([]Record, error)

	// PutSigningKeys keeps all of them, or none, in one transaction; a key of which a newer revision
	// (by AsOf) is kept stays as it is.
	PutSigningKeys(ctx context.Context, keys ...Record) error

	// SealedKeys returns the sealed private halves.
	SealedKeys(ctx context.Context) ([]Sealed, error)

	// PutSealedKey keeps one. It returns authz.ErrConflict if one of that id is kept.
	PutSealedKey(ctx context.Context, s Sealed) error

	// DeleteSealedKey forgets one; that there is none is no error.
	DeleteSealedKey(ctx context.Context, id string) error
}

// Sealed is the sealed private half of the key of that id.
type Sealed struct {
	ID        string
	Data      []byte
	CreatedAt time.Time
}

// A Committer records a change and waits until it is in effect. *audit.Follower is one.
type Committer interface {
	Commit(ctx context.Context, d audit.Draft) (int64, error)
}

// A Config is what a Ring needs: Store, Log and Seal; the rest has defaults.
type Config struct {
	Store Store
	Log   Committer
	Seal  Sealer // of software keys; may be nil if all slots are External

	// Slots are the uses and algorithms that always have an active key, the preferred one of a use
	// first. By default: tokens by EdDSA and by ES256, status lists by EdDSA.
	Slots []Slot

	// Publish is how long a key is in the key set before it signs, 24 h by default: longer than
	// anybody caches the set. Active is how long it signs, 30 days by default. VerifyOnly is how long
	// its signatures count afterwards, 1 h by default: longer than anything lives that it signs.
	Publish, Active, VerifyOnly time.Duration

	// External says which slots have their keys in a key management service, and where.
	External []External

	// ReplaceLost makes new keys at once in place of active ones whose private half cannot be opened
	// here. Without it the process refuses to start in such a case. It is for one start after the
	// sealing key was lost; a replica with a wrong sealing key would replace the others' keys.
	ReplaceLost bool

	Now    func() time.Time // time.Now by default
	Rand   io.Reader        // crypto/rand by default
	Logger *slog.Logger     // silent by default
}

func (c Config) withDefaults() (Config, error) {
	if len(c.Slots) == 0 {
		c.Slots = []Slot{{Token, EdDSA}, {Token, ES256}, {Status, EdDSA}}
	}
	for _, p := range []struct {
		d    *time.Duration
		none time.Duration
	}{{&c.Publish, 24 * time.Hour}, {&c.Active, 30 * 24 * time.Hour}, {&c.VerifyOnly, time.Hour}} {
		if *p.d == 0 {
			*p.d = p.none
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, authz.Errorf(authz.ErrInvalid, format, args...)) }
	if c.Publish < time.Minute {
		bad("a key is published at least 1m before it signs, not %v", c.Publish)
	}
	if c.Active <= c.Publish || c.Active > 2*366*24*time.Hour {
		bad("a key signs for longer than it is published before (%v), and for at most 2 years, not %v", c.Publish, c.Active)
	}
	if c.VerifyOnly < 10*time.Minute || c.VerifyOnly > 366*24*time.Hour {
		bad("a key verifies for 10m to 1 year after it has signed last, not %v", c.VerifyOnly)
	}
	for i, s := range c.Slots {
		if _, err := ParseSlot(string(s.Use) + "/" + s.Algorithm); err != nil {
			errs = append(errs, err)
		}
		if slices.Contains(c.Slots[:i], s) {
			bad("%s keys by %s are listed twice", s.Use, s.Algorithm)
		}
		if c.Seal == nil && !slices.ContainsFunc(c.External, func(x External) bool { return x.slot() == s }) {
			bad("%s keys by %s are software keys, and there is no key to seal them with", s.Use, s.Algorithm)
		}
	}
	for i := range c.External {
		if err := c.External[i].check(); err != nil {
			errs = append(errs, err)
		} else if !slices.Contains(c.Slots, c.External[i].slot()) {
			bad("%s keys by %s are external, and no such keys are wanted", c.External[i].Use, c.External[i].Algorithm)
		}
	}
	return c, errors.Join(errs...)
}

// A Ring knows the keys. It is safe for concurrent use once loaded.
type Ring struct {
	cfg    Config
	vaults []*vault // one for each member of cfg.External; set by Load

	kick   chan struct{} // asks Run to look at the clock
	turn   sync.Mutex    // held by whoever takes steps, so that one process makes one key at a time
	spares map[Slot]spare

	mu      sync.Mutex // serialises those who replace what follows
	asOf    int64      // number of the newest entry that moved a key
	signers map[string]*token.Signer

	view atomic.Pointer[view] // read without a lock
}

// A view is all keys at some entry of the log, and the key set at some moment. It is immutable.
type view struct {
	keys    []*Record // in the order of publication
	byID    map[string]*Record
	signers map[string]*token.Signer
	active  map[Slot]*Record

	set   []byte // the key set as of its moment, and until when it stays so
	etag  string
	until time.Time
}

// New returns a ring without keys, to be loaded, or authz.ErrInvalid and all that is wrong with c.
func New(c Config) (*Ring, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Ring{cfg: c, kick: make(chan struct{}, 1), spares: map[Slot]spare{}, signers: map[string]*token.Signer{}}
	r.show(nil)
	return r, nil
}

// Load reads the stored keys and opens the private halves that are needed. It must return before the
// ring is used, and is called once. A private half that is there and cannot be opened is
// authz.ErrInvalid, unless Config.ReplaceLost is set.
func (r *Ring) Load(ctx context.Context) error {
	if err := r.openVaults(ctx); err != nil {
		return err
	}
	all, err := r.cfg.Store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("loading signing keys: %w", err)
	}
	sealed, err := r.sealed(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	keys := make([]*Record, len(all))
	for i := range all {
		k := &all[i]
		if err := k.parse(); err != nil {
			return err
		}
		keys[i] = k
		r.asOf = max(r.asOf, k.AsOf)
		if k.State != Published && k.State != Active {
			continue
		}
		s, err := r.open(k, sealed)
		switch {
		case err == nil:
			r.signers[k.ID] = s
		case r.replaces(k):
			r.cfg.Logger.WarnContext(ctx, "a signing key cannot be opened and will be replaced", "kid", k.ID, "source", k.Source, "err", err)
		default:
			errs = append(errs, err)
		}
	}
	r.show(keys)
	return errors.Join(errs...)
}

// Close releases the key management services. Nothing signs with their keys any more.
func (r *Ring) Close() error {
	var errs []error
	for _, v := range r.vaults {
		errs = append(errs, v.close())
	}
	return errors.Join(errs...)
}

// show makes the keys what readers see. The caller holds r.mu, or nobody else knows r.
func (r *Ring) show(keys []*Record) {
	v := &view{keys: keys, byID: make(map[string]*Record, len(keys)), signers: make(map[string]*token.Signer, len(r.signers)), active: map[Slot]*Record{}}
	for _, k := range keys {
		v.byID[k.ID] = k
		if k.State == Active {
			v.active[k.Slot()] = k
		}
		if s := r.signers[k.ID]; s != nil {
			v.signers[k.ID] = s
		}
	}
	v.render(r.cfg.Now())
	r.view.Store(v)
}

// Signer returns who signs for the use by the algorithm, the use's preferred one if it is "". It
// returns authz.ErrUnavailable if there is no active key, or its period has ended, or this process
// cannot sign with it.
func (r *Ring) Signer(use Use, alg string) (*token.Signer, error) {
	if alg == "" {
		for _, s := range r.cfg.Slots {
			if s.Use == use {
				alg = s.Algorithm
				break
			}
		}
	}
	v := r.view.Load()
	k := v.active[Slot{use, alg}]
	if k == nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "no key for signing a %s by %.20q is active", use, alg)
	}
	if k.StateAt(r.cfg.Now()) != Active {
		r.nudge()
		return nil, authz.Errorf(authz.ErrUnavailable, "the period of signing key %s has ended, and none has taken its place", k.ID)
	}
	s := v.signers[k.ID]
	if s == nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "signing key %s cannot be used by this process", k.ID)
	}
	return s, nil
}

// Key returns the key of that use and id, for verifying, if its signatures count now: it is published,
// active or verify-only. Otherwise it returns authz.ErrNotFound.
func (r *Ring) Key(use Use, id string) (*token.Key, State, error) {
	now := r.cfg.Now()
	if k := r.view.Load().byID[id]; k != nil && k.Use == use && k.verifies(now) {
		return k.key, k.StateAt(now), nil
	}
	return nil, "", authz.Errorf(authz.ErrNotFound, "no key of ours for this use has the id %.60q", id)
}

// Keys returns every key, in the order of publication.
func (r *Ring) Keys() []Info {
	v, now := r.view.Load(), r.cfg.Now()
	all := make([]Info, len(v.keys))
	for i := range v.keys {
		all[i] = v.info(v.keys[i], now)
	}
	return all
}

// info returns k as it stands at a moment.
func (v *view) info(k *Record, now time.Time) Info {
	i := Info{Record: *k}
	i.State = k.StateAt(now)
	i.Signs = i.State == Active && v.signers[k.ID] != nil
	return i
}

// Historical returns every key there ever was, in the order of publication, for verifying the past.
func (r *Ring) Historical() []Past {
	v, now := r.view.Load(), r.cfg.Now()
	all := make([]Past, len(v.keys))
	for i, k := range v.keys {
		all[i] = k.past(now)
	}
	return all
}

// nudge asks Run to look at the clock.
func (r *Ring) nudge() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}
