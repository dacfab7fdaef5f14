// Package caller knows who may call the service: people, programs and enforcement points that hold
// a bearer token, each with one role. An approver's token speaks for a person of internal/people, whom its
// name is the id of; whether there is such a person, and whether they may answer, is not for this package.
//
// Persons who are signed in call without a token. What they may do is said in the same words: an Identity is
// whoever calls, and its roles are what it may do (identity.go).
//
// A token is 256 bits of chance. Only its SHA-256 is stored, recorded and kept in memory, so neither
// the database nor the log can be used to call. Callers are made and revoked through the log, like
// everything else: a revoked token is refused by every replica as soon as it has read the entry.
//
// Agents are not callers: an agent acts, and an enforcement point asks on its behalf.
package caller

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// A Caller is somebody who holds a token. Values are immutable once shared.
type Caller struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Role      Role      `json:"role"`
	Hash      string    `json:"-"` // of the token: SHA-256 in hex
	CreatedAt time.Time `json:"created_at"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	AsOf      int64     `json:"as_of"` // number of the log entry that made or revoked it
}

// Store is the durable side of a Registry.
type Store interface {
	// Callers returns every caller, also the revoked ones.
	Callers(ctx context.Context) ([]Caller, error)

	// PutCaller keeps c unless a newer revision (by AsOf) is kept already.
	PutCaller(ctx context.Context, c Caller) error
}

// A Registry knows the callers. It is safe for concurrent use once loaded.
type Registry struct {
	store Store
	log   Committer
	rand  io.Reader

	mu     sync.Mutex // serialises those who replace the table
	byID   map[string]Caller
	byHash atomic.Pointer[map[[sha256.Size]byte]*Caller] // those not revoked; read without a lock
}

// A Committer records a change and waits until it is in effect. *audit.Follower is one.
type Committer interface {
	Commit(ctx context.Context, d audit.Draft) (int64, error)
}

// NewRegistry returns an empty registry, to be loaded.
func NewRegistry(store Store, log Committer) *Registry {
	r := &Registry{store: store, log: log, rand: rand.Reader, byID: map[string]Caller{}}
	r.byHash.Store(&map[[sha256.Size]byte]*Caller{})
	return r
}

// Load reads the stored callers. It must return before the registry is used.
func (r *Registry) Load(ctx context.Context) error {
	all, err := r.store.Callers(ctx)
	if err != nil {
		return fmt.Errorf("loading callers: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.byID)
	for _, c := range all {
		r.byID[c.ID] = c
	}
	r.index()
	return nil
}

// index makes the table of hashes anew. The caller holds r.mu.
func (r *Registry) index() {
	m := make(map[[sha256.Size]byte]*Caller, len(r.byID))
	for _, c := range r.byID {
		var h [sha256.Size]byte
		if b, err := hex.DecodeString(c.Hash); err == nil && len(b) == len(h) && c.RevokedAt.IsZero() {
			copy(h[:], b)
			m[h] = &c
		}
	}
	r.byHash.Store(&m)
}

// Authenticate returns the caller who holds the token, or authz.ErrUnauthenticated.
// What it compares are hashes of 256-bit secrets, so its time tells nothing of a token.
func (r *Registry) Authenticate(token string) (*Caller, error) {
	h := sha256.Sum256([]byte(token))
	if c := (*r.byHash.Load())[h]; c != nil {
		var want [sha256.Size]byte
		if n, err := hex.Decode(want[:], []byte(c.Hash)); err == nil && subtle.ConstantTimeCompare(want[:n], h[:]) == 1 {
			return c, nil
		}
	}
	return nil, authz.Errorf(authz.ErrUnauthenticated, "the bearer token is unknown or revoked")
}

// Callers returns every caller, also the revoked ones, sorted by id.
func (r *Registry) Callers() []Caller {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Caller, 0, len(r.byID))
	for _, c := range r.byID {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Caller) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Any reports whether a caller of that role could call now.
func (r *Registry) Any(role Role) bool {
	for _, c := range *r.byHash.Load() {
		if c.Role == role {
			return true
		}
	}
	return false
}

// entry is the body of a caller.put entry. It holds the hash of the token, never the token.
type entry struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Role    Role   `json:"role"`
	Hash    string `json:"hash"`
	Revoked bool   `json:"revoked,omitempty"`
	Why     string `json:"why"`

	// IfAsOf, if not nil, is the AsOf of the caller that this entry replaces, 0 if there is to be none.
	// If another entry came first, this one changes nothing.
	IfAsOf *int64 `json:"if_as_of,omitempty"`
}

// Create makes a caller with a new token and returns both. The token cannot be had again.
// It returns authz.ErrInvalid for a bad name or role, and authz.ErrConflict if the name is taken.
func (r *Registry) Create(ctx context.Context, actor, why, name string, role Role) (Caller, string, error) {
	var id [10]byte
	if _, err := io.ReadFull(r.rand, id[:]); err != nil {
		return Caller{}, "", fmt.Errorf("making a caller: %w", err)
	}
	token, err := r.newToken(role)
	if err != nil {
		return Caller{}, "", err
	}
	c, err := r.put(ctx, actor, entry{ID: "c" + hex.EncodeToString(id[:]), Name: name, Role: role, Hash: hash(token), Why: why})
	return c, token, err
}

// newToken returns a fresh token of the role.
func (r *Registry) newToken(role Role) (string, error) {
	known, ok := roles[role]
	if !ok {
		_, err := ParseRole(string(role))
		return "", err
	}
	var secret [32]byte
	if _, err := io.ReadFull(r.rand, secret[:]); err != nil {
		return "", fmt.Errorf("making a token: %w", err)
	}
	return known.prefix + base64.RawURLEncoding.EncodeToString(secret[:]), nil
}

// Ensure makes sure that the caller of that fixed id exists, holds the token, and is not revoked.
// An empty token means: if no caller of the role can call, make one and return its token.
// It is how the first callers come to be; the log says that the service itself made them.
//
// Replicas may do it at once. The first entry counts, and whoever comes second learns of it by
// authz.ErrConflict, with nothing changed: there is such a caller, and the token is another's.
func (r *Registry) Ensure(ctx context.Context, id, name string, role Role, token string) (made string, err error) {
	const actor, why = "safeconduct", "first caller of its role"
	r.mu.Lock() // one look at both: what is replaced below is what was seen when a token was needed
	have, ok := r.byID[id]
	called := r.Any(role)
	r.mu.Unlock()
	if token == "" {
		if called {
			return "", nil
		}
		if made, err = r.newToken(role); err != nil {
			return "", err
		}
		token = made
	} else if len(token) < 20 || len(token) > 200 {
		return "", authz.Errorf(authz.ErrInvalid, "the first %s token must have 20 to 200 characters", role)
	}
	if ok && have.RevokedAt.IsZero() && have.Hash == hash(token) {
		return "", nil
	}
	_, err = r.put(ctx, actor, entry{ID: id, Name: name, Role: role, Hash: hash(token), Why: why, IfAsOf: &have.AsOf})
	if errors.Is(err, authz.ErrConflict) && r.holds(id, token) {
		return "", nil // another replica was given the same
	}
	if err != nil {
		return "", fmt.Errorf("making the first %s: %w", role, err)
	}
	return made, nil
}

// holds reports whether the caller of that id can call with that token.
func (r *Registry) holds(id, token string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.byID[id]
	return ok && c.RevokedAt.IsZero() && c.Hash == hash(token)
}

// Revoke refuses a caller's token from now on. It returns authz.ErrNotFound if there is no such
// caller, and authz.ErrConflict if it is the last administrator's; revoking twice changes nothing.
func (r *Registry) Revoke(ctx context.Context, actor, why, id string) (Caller, error) {
	r.mu.Lock()
	c, ok := r.byID[id]
	last := c.Role == Administrator && r.last(id)
	r.mu.Unlock()
	switch {
	case !ok:
		return Caller{}, authz.Errorf(authz.ErrNotFound, "no caller %q", id)
	case !c.RevokedAt.IsZero():
		return c, nil
	case last:
		return Caller{}, errLast(c.Name)
	}
	return r.put(ctx, actor, entry{ID: c.ID, Name: c.Name, Role: c.Role, Hash: c.Hash, Revoked: true, Why: why})
}

// put records e, waits for Apply, and returns the caller as it then stands.
func (r *Registry) put(ctx context.Context, actor string, e entry) (Caller, error) {
	if err := e.check(); err != nil {
		return Caller{}, err
	}
	body, err := json.Marshal(e)
	if err != nil {
		return Caller{}, fmt.Errorf("encoding a caller: %w", err)
	}
	if _, err := r.log.Commit(ctx, audit.Draft{Kind: audit.CallerPut, Actor: actor, Body: body}); err != nil {
		return Caller{}, fmt.Errorf("recording a caller: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[e.ID], nil
}

// check returns authz.ErrInvalid and what is wrong with e.
func (e *entry) check() error {
	if _, err := ParseRole(string(e.Role)); err != nil {
		return err
	}
	if e.Name == "" || len(e.Name) > 100 || strings.ContainsFunc(e.Name, func(c rune) bool { return c <= ' ' || c == 0x7f || c == ':' }) {
		return authz.Errorf(authz.ErrInvalid, "a caller's name has 1 to 100 characters, no spaces and no colon: %.120q", e.Name)
	}
	if e.ID == "" || len(e.ID) > 64 {
		return authz.Errorf(authz.ErrInvalid, "a caller's id has 1 to 64 characters")
	}
	if b, err := hex.DecodeString(e.Hash); err != nil || len(b) != sha256.Size {
		return authz.Errorf(authz.ErrInvalid, "a caller's hash is no SHA-256 in hex")
	}
	if e.Why == "" || len(e.Why) > 1000 {
		return authz.Errorf(authz.ErrInvalid, "say why, in 1 to 1000 characters")
	}
	return nil
}

// Apply brings a caller.put entry into effect: first in the store, then in memory.
func (r *Registry) Apply(ctx context.Context, e audit.Entry) error {
	if e.Kind != audit.CallerPut {
		return nil
	}
	var body entry
	if err := json.Unmarshal(e.Body, &body); err != nil {
		return authz.Errorf(authz.ErrInvalid, "reading caller.put entry %d: %v", e.Seq, err)
	}
	if err := body.check(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	have, ok := r.byID[body.ID]
	if ok && have.AsOf >= e.Seq {
		return nil // seen before
	}
	if body.IfAsOf != nil && *body.IfAsOf != have.AsOf {
		return authz.Errorf(authz.ErrConflict, "caller %s was made or changed by entry %d meanwhile", body.ID, have.AsOf)
	}
	if body.Revoked && have.Role == Administrator && have.RevokedAt.IsZero() && r.last(have.ID) {
		return errLast(have.Name)
	}
	for _, other := range r.byID {
		if other.ID != body.ID && other.Name == body.Name && other.Role == body.Role && other.RevokedAt.IsZero() && !body.Revoked {
			return authz.Errorf(authz.ErrConflict, "a caller of role %s is named %q already", body.Role, body.Name)
		}
	}
	c := Caller{ID: body.ID, Name: body.Name, Role: body.Role, Hash: body.Hash, CreatedAt: e.At, AsOf: e.Seq}
	if ok {
		c.CreatedAt = have.CreatedAt
	}
	if body.Revoked {
		c.RevokedAt = e.At
	}
	if err := r.store.PutCaller(ctx, c); err != nil {
		return fmt.Errorf("storing caller %s: %w", c.ID, err)
	}
	r.byID[c.ID] = c
	r.index()
	return nil
}

func errLast(name string) error {
	return authz.Errorf(authz.ErrConflict, "%s is the last administrator's token: make another one first", name)
}

// last reports whether nobody but the caller of that id has an administrator's token. Persons who are administrators
// do not count: a provider that is away, or a lost passkey, would lock everybody out. The caller holds r.mu.
func (r *Registry) last(id string) bool {
	for _, c := range r.byID {
		if c.ID != id && c.Role == Administrator && c.RevokedAt.IsZero() {
			return false
		}
	}
	return true
}

// hash returns the SHA-256 of a token in hex.
func hash(token string) string {
	h := sha256.Sum256([]byte(token))
	return hex.EncodeToString(h[:])
}
