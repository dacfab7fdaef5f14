package agent

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/token"
)

// EnrolmentPrefix begins every enrolment token, so that one found in the wrong place can be told.
const EnrolmentPrefix = "sc_enrol_"

// How long an enrolment token can be used.
const (
	DefaultEnrolment = 24 * time.Hour
	MaxEnrolment     = 30 * 24 * time.Hour
)

// An Enrolment lets an agent register one key with a token that can be used once. Of the token only
// its SHA-256 is recorded, stored and kept in memory.
type Enrolment struct {
	Agent     authz.AgentID `json:"agent"`
	Token     string        `json:"-"` // only of a new one
	Hash      string        `json:"hash"`
	CreatedAt time.Time     `json:"created_at"`
	ExpiresAt time.Time     `json:"expires_at"`
	Spent     bool          `json:"spent,omitempty"` // used, or withdrawn
	AsOf      int64         `json:"as_of"`           // number of the log entry that changed it last
}

// errToken is the one answer to every enrolment token that is no good, whatever is wrong with it.
var errToken = authz.Errorf(authz.ErrUnauthenticated, "the enrolment token is unknown, used or expired")

// errSpent is the verdict on an entry whose enrolment token is no good: usually another entry came first.
var errSpent = authz.Errorf(authz.ErrConflict, "the enrolment token was used, replaced or withdrawn, or has expired")

// Enrol makes a token with which a key can be registered for an agent within ttl, DefaultEnrolment
// if it is 0. The token cannot be had again, and takes the place of an earlier one that is pending.
// It returns authz.ErrInvalid, authz.ErrNotFound, or authz.ErrConflict if the agent is retired.
func (r *Registry) Enrol(ctx context.Context, actor, why string, id authz.AgentID, ttl time.Duration) (Enrolment, error) {
	if ttl == 0 {
		ttl = DefaultEnrolment
	}
	var secret [32]byte
	rand.Read(secret[:]) // never fails
	text := EnrolmentPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
	c := enrolmentChange{Agent: id, Hash: hash(text), TTL: int64(ttl / time.Second), Why: why}
	if err := c.check(); err != nil {
		return Enrolment{}, err
	}
	if err := r.mayAuthenticate(id); err != nil {
		return Enrolment{}, err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return Enrolment{}, fmt.Errorf("encoding an enrolment: %w", err)
	}
	if _, err := r.cfg.Log.Commit(ctx, audit.Draft{Kind: audit.EnrolmentPut, Actor: actor, Body: body}); err != nil {
		return Enrolment{}, fmt.Errorf("enrolling agent %q: %w", id, err)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.pending[c.Hash]
	if e == nil { // another one has taken its place already
		return Enrolment{}, authz.Errorf(authz.ErrConflict, "enrolling agent %q: somebody else did at the same time", id)
	}
	made := *e
	made.Token = text
	return made, nil
}

// PendingEnrolment returns the agent for which a key can be registered with a token at that time. It
// returns authz.ErrUnauthenticated and always the same message for a token that is unknown, used,
// replaced, withdrawn or expired, or whose agent is retired. What it looks up is the hash of a secret
// of 256 bits, so its time tells nothing of a token.
func (r *Registry) PendingEnrolment(text string, at time.Time) (authz.AgentID, error) {
	h := hash(text)
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.pending[h]
	if e == nil || !at.Before(e.ExpiresAt) {
		return "", errToken
	}
	if a := r.byID[e.Agent]; a == nil || a.State == authz.AgentRetired {
		return "", errToken
	}
	return e.Agent, nil
}

// Enrolment returns what is pending of an agent's enrolment at that time, without the token.
func (r *Registry) Enrolment(id authz.AgentID, at time.Time) (Enrolment, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if a := r.accounts[id]; a != nil && a.enrolment != nil && at.Before(a.enrolment.ExpiresAt) {
		return *a.enrolment, true
	}
	return Enrolment{}, false
}

// Register registers a key for the agent that a token was made for, and uses the token up. Whoever
// calls it has made sure that the caller holds the private key. Of those who use one token at the
// same time one succeeds. It returns the error of PendingEnrolment, authz.ErrInvalid, or
// authz.ErrConflict if the key is registered already or the agent has MaxActive active ones; the
// token can then be used again.
func (r *Registry) Register(ctx context.Context, text string, key *token.Key) (*Credential, error) {
	id, err := r.PendingEnrolment(text, r.cfg.Now())
	if err != nil {
		return nil, err
	}
	c := &credentialChange{Agent: id, Op: opRegister, JWK: key.JWK(), Enrolment: hash(text), Lifetime: seconds(r.cfg.KeyLifetime), Why: "registered with an enrolment token"}
	if err := r.change(ctx, "agent:"+string(id), c); err != nil {
		if errors.Is(err, errSpent) {
			return nil, errToken
		}
		return nil, err
	}
	return r.Credential(key.ID)
}

// enrolmentChange is the body of an enrolment.put entry.
type enrolmentChange struct {
	Agent authz.AgentID `json:"agent"`
	Hash  string        `json:"hash"`        // SHA-256 of the token in hex
	TTL   int64         `json:"ttl_seconds"` // from the time of the entry
	Why   string        `json:"why"`
}

func (c *enrolmentChange) check() error {
	if !ValidID(c.Agent) {
		return authz.Errorf(authz.ErrInvalid, "%.128q is no agent's id", c.Agent)
	}
	if b, err := hex.DecodeString(c.Hash); err != nil || len(b) != sha256.Size {
		return authz.Errorf(authz.ErrInvalid, "an enrolment's hash is no SHA-256 in hex")
	}
	if c.TTL < 60 || c.TTL > seconds(MaxEnrolment) {
		return authz.Errorf(authz.ErrInvalid, "an enrolment token can be used for at least a minute and at most %d days", MaxEnrolment/(24*time.Hour))
	}
	return checkWhy(c.Why)
}

// applyEnrolment brings an enrolment.put entry into effect.
func (r *Registry) applyEnrolment(ctx context.Context, e audit.Entry) error {
	var c enrolmentChange
	if err := json.Unmarshal(e.Body, &c); err != nil {
		return authz.Errorf(authz.ErrInvalid, "entry %d: %w", e.Seq, err)
	}
	if err := c.check(); err != nil {
		return fmt.Errorf("entry %d: %w", e.Seq, err)
	}
	if r.Epoch(c.Agent) >= e.Seq {
		return nil // seen before
	}
	if err := r.mayAuthenticate(c.Agent); err != nil {
		return err
	}
	return r.keep(ctx, e, c.Agent, &Enrolment{
		Agent: c.Agent, Hash: c.Hash, CreatedAt: e.At, ExpiresAt: e.At.Add(time.Duration(c.TTL) * time.Second), AsOf: e.Seq,
	}, nil)
}

// mayAuthenticate returns authz.ErrNotFound or authz.ErrConflict if nothing can be registered for an agent.
func (r *Registry) mayAuthenticate(id authz.AgentID) error {
	a, err := r.Agent(id)
	if err != nil {
		return err
	}
	if a.State == authz.AgentRetired {
		return authz.Errorf(authz.ErrConflict, "agent %q is retired, which is for good", id)
	}
	return nil
}

// setPending makes e the account's pending enrolment, or nothing if e is nil. The caller holds r.mu.
func (r *Registry) setPending(a *account, e *Enrolment) {
	if a.enrolment != nil {
		delete(r.pending, a.enrolment.Hash)
	}
	if a.enrolment = e; e != nil {
		r.pending[e.Hash] = e
	}
}

// hash returns the SHA-256 of a token in hex.
func hash(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}
