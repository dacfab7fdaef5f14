package people

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// EnrolmentPrefix begins every enrolment token of a person, so that one found in the wrong place can be told.
const EnrolmentPrefix = "sc_person_"

// How long an enrolment link can be used.
const (
	DefaultEnrolment = 24 * time.Hour
	MaxEnrolment     = 7 * 24 * time.Hour
)

// An Enrolment lets a person register one passkey with a token that can be used once.
type Enrolment struct {
	Token     string    `json:"-"` // only of a new one
	Hash      string    `json:"hash"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	AsOf      int64     `json:"as_of"` // number of the log entry that made it
}

// ErrToken is the one answer to every enrolment token that is no good, whatever is wrong with it.
var ErrToken = authz.Errorf(authz.ErrUnauthenticated, "the link is unknown, used or expired: ask for a new one")

// errSpent is the verdict on an entry whose enrolment is no good: usually another entry came first.
var errSpent = authz.Errorf(authz.ErrConflict, "the link was used, replaced or withdrawn, or has expired")

// Enrol makes a token with which a person can register a passkey within ttl, DefaultEnrolment if it is 0.
// The token cannot be had again, and takes the place of an earlier one that is pending. It returns
// authz.ErrInvalid, authz.ErrForbidden to the person themselves, authz.ErrNotFound, or authz.ErrConflict if the
// person is disabled.
func (r *Registry) Enrol(ctx context.Context, actor, why, id string, ttl time.Duration) (Enrolment, error) {
	if err := notSelf(actor, id); err != nil {
		return Enrolment{}, err
	}
	if ttl == 0 {
		ttl = DefaultEnrolment
	}
	text := secret(EnrolmentPrefix)
	c := &enrolmentChange{Person: id, Hash: hash(text), TTL: int64(ttl / time.Second), Why: why}
	if _, err := r.commit(ctx, audit.PersonEnrolment, actor, c); err != nil {
		return Enrolment{}, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	a := r.byID[r.pending[c.Hash]]
	if a == nil { // another one has taken its place already
		return Enrolment{}, authz.Errorf(authz.ErrConflict, "enrolling person %q: somebody else did at the same time", id)
	}
	made := *a.Enrolment
	made.Token = text
	return made, nil
}

// Enrolment returns what is pending of a person's enrolment at that time, without the token.
func (r *Registry) Enrolment(id string, at time.Time) (Enrolment, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if a := r.byID[id]; a != nil && a.Enrolment != nil && at.Before(a.Enrolment.ExpiresAt) {
		return *a.Enrolment, true
	}
	return Enrolment{}, false
}

// PendingEnrolment returns the person who can register a passkey with a token at that time, or ErrToken.
// What it looks up is the hash of a secret of 256 bits, so its time tells nothing of a token.
func (r *Registry) PendingEnrolment(text string, at time.Time) (*Person, error) {
	h := hash(text)
	r.mu.RLock()
	defer r.mu.RUnlock()
	a := r.byID[r.pending[h]]
	if a == nil || a.Enrolment == nil || a.Enrolment.Hash != h || !at.Before(a.Enrolment.ExpiresAt) || a.Person.Disabled {
		return nil, ErrToken
	}
	return &a.Person, nil
}

// Register registers a passkey for the person for whom a token was made, and uses the token up. Whoever
// calls it has verified the registration; only ID, Title, Record and Count of k count. Of those who use
// one token at the same time one succeeds. It returns ErrToken, authz.ErrInvalid, or authz.ErrConflict if
// the passkey is registered already or the person has MaxPasskeys active ones; the token can then be used
// again.
func (r *Registry) Register(ctx context.Context, text string, k Passkey) (*Person, error) {
	p, err := r.PendingEnrolment(text, r.cfg.Now())
	if err != nil {
		return nil, err
	}
	c := &passkeyChange{Person: p.ID, Op: opRegister, ID: k.ID, Title: k.Title, Record: k.Record, Count: k.Count,
		Enrolment: hash(text), Why: "registered with a link"}
	p, err = r.commit(ctx, audit.PasskeyPut, p.Actor(), c)
	if errors.Is(err, errSpent) {
		return nil, ErrToken
	}
	return p, err
}

// enrolmentChange is the body of a person.enrolment entry.
type enrolmentChange struct {
	Person string `json:"person"`
	Hash   string `json:"hash"`        // SHA-256 of the token in hex
	TTL    int64  `json:"ttl_seconds"` // from the time of the entry
	Why    string `json:"why"`
}

func (c *enrolmentChange) person() string { return c.Person }

func (c *enrolmentChange) check() error {
	if !validHash(c.Hash) {
		return authz.Errorf(authz.ErrInvalid, "an enrolment's hash is no SHA-256 in hex")
	}
	if c.TTL < 60 || c.TTL > int64(MaxEnrolment/time.Second) {
		return authz.Errorf(authz.ErrInvalid, "a link can be used for at least a minute and at most %d days", MaxEnrolment/(24*time.Hour))
	}
	return checkWhy(c.Why)
}

func (c *enrolmentChange) alter(r *Registry, a *Account, at time.Time, seq int64) (bool, error) {
	if a.Person.Disabled {
		return false, authz.Errorf(authz.ErrConflict, "person %q is disabled", c.Person)
	}
	if r.pending[c.Hash] != "" {
		return false, authz.Errorf(authz.ErrConflict, "the enrolment was made before")
	}
	a.Enrolment = &Enrolment{Hash: c.Hash, CreatedAt: at, ExpiresAt: at.Add(time.Duration(c.TTL) * time.Second), AsOf: seq}
	return true, nil
}

// EnrolmentURL is the link by which a person enrols, at a service that is known under public. The token is
// in the fragment, which browsers send to nobody. Browsers know no passkeys of addresses; on loopback the
// link says localhost instead.
func EnrolmentURL(public, token string) string {
	return Reachable(public) + "/enrol#" + token
}

// Reachable returns the address under which browsers use passkeys at a service that is known under
// public: public itself, without a slash at its end, but for localhost in the place of a loopback address.
func Reachable(public string) string {
	public = strings.TrimRight(public, "/")
	u, err := url.Parse(public)
	if err != nil {
		return public
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.IsLoopback() {
		host := "localhost"
		if port := u.Port(); port != "" {
			host += ":" + port
		}
		u.Host = host
		return u.String()
	}
	return public
}

// secret returns a new token: a prefix and 256 bits of chance.
func secret(prefix string) string {
	var b [32]byte
	rand.Read(b[:]) // never fails
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// hash returns the SHA-256 of a token in hex.
func hash(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

func validHash(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && hex.EncodeToString(b) == s
}
