package keyring

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A Use is what a key signs. A key has one use, so that what was signed for one purpose can never be
// taken for another.
type Use string

const (
	Token  Use = "token"  // passports, and signed answers about them
	Status Use = "status" // status lists
)

// ParseUse returns the use of that name, or authz.ErrInvalid.
func ParseUse(s string) (Use, error) {
	switch u := Use(s); u {
	case Token, Status:
		return u, nil
	}
	return "", authz.Errorf(authz.ErrInvalid, "unknown use %.40q of a key: token or status", s)
}

// A Slot is a place for one signing key at a time.
type Slot struct {
	Use       Use    `json:"use"`
	Algorithm string `json:"alg"` // EdDSA or ES256
}

// ParseSlot reads USE/ALG, for example token/ES256, or returns authz.ErrInvalid.
func ParseSlot(text string) (Slot, error) {
	use, alg, _ := strings.Cut(text, "/")
	if _, err := ParseUse(use); err != nil {
		return Slot{}, err
	}
	if alg != EdDSA && alg != ES256 {
		return Slot{}, authz.Errorf(authz.ErrInvalid, "keys sign by EdDSA or ES256, not by %.20q", alg)
	}
	return Slot{Use(use), alg}, nil
}

// A State is how far a key has come. Keys only ever move on.
type State string

const (
	Published  State = "published"   // in the key set, and does not sign yet: verifiers learn of it in time
	Active     State = "active"      // signs
	VerifyOnly State = "verify-only" // signs no more; what it signed last is still in use
	Historical State = "historical"  // out of the key set, kept for verifying the past
	Revoked    State = "revoked"     // out of the key set, at once and for good
)

// Software is the Source of keys that lie sealed in the store.
const Software = "software"

// A Record is a key and its life so far. Its times are those of the process that wrote the entries;
// the numbers of the entries are the order that everybody agrees on. Values are immutable once shared.
type Record struct {
	ID        string          `json:"kid"` // RFC 7638 thumbprint
	Use       Use             `json:"use"`
	Algorithm string          `json:"alg"`
	State     State           `json:"state"`  // as of the log; see StateAt
	Source    string          `json:"source"` // Software, or the key's name in its key management service
	JWK       json.RawMessage `json:"jwk"`    // public members only

	PublishedAt time.Time `json:"published_at"`
	NotBefore   time.Time `json:"not_before"` // when it is to become active
	ActiveAt    time.Time `json:"active_at,omitzero"`
	ActiveUntil time.Time `json:"active_until,omitzero"` // it never signs from then on, whatever the log says later
	VerifyUntil time.Time `json:"verify_until,omitzero"` // nobody is to trust it from then on
	RetiredAt   time.Time `json:"retired_at,omitzero"`
	PastAt      time.Time `json:"historical_at,omitzero"`
	RevokedAt   time.Time `json:"revoked_at,omitzero"`
	Why         string    `json:"why,omitempty"` // of the revocation

	// Numbers of the entries that moved it; 0 if none did.
	Published  int64 `json:"published"`
	Activated  int64 `json:"activated,omitempty"`
	Retired    int64 `json:"retired,omitempty"`
	Historical int64 `json:"historical,omitempty"`
	Revoked    int64 `json:"revoked,omitempty"`
	AsOf       int64 `json:"as_of"` // the newest of them

	key *token.Key
}

// Slot returns where the key belongs.
func (k *Record) Slot() Slot { return Slot{k.Use, k.Algorithm} }

// StateAt returns the key's state at a moment. The log is slower than the clock when every process
// slept, or when it cannot be written: a period that has ended has ended all the same.
func (k *Record) StateAt(at time.Time) State {
	s := k.State
	if s == Active && !at.Before(k.ActiveUntil) {
		s = VerifyOnly
	}
	if s == VerifyOnly && !at.Before(k.VerifyUntil) {
		s = Historical
	}
	return s
}

// verifies reports whether signatures of the key count at a moment.
func (k *Record) verifies(at time.Time) bool {
	switch k.StateAt(at) {
	case Published, Active, VerifyOnly:
		return true
	}
	return false
}

// mistimed reports whether the key claims to have begun well after a moment: whoever wrote so had a
// clock that was ahead, and the end of the key's period cannot be relied on.
func (k *Record) mistimed(at time.Time) bool { return k.ActiveAt.After(at.Add(clockSkew)) }

// parse reads the key of the JWK. It must be the one that the record names.
func (k *Record) parse() error {
	key, err := token.ParseKey(k.JWK)
	if err != nil {
		return authz.Errorf(authz.ErrInvalid, "reading signing key %.60q: %w", k.ID, err)
	}
	if key.ID != k.ID {
		return authz.Errorf(authz.ErrInvalid, "signing key %.60q has the thumbprint %s", k.ID, key.ID)
	}
	if k.Algorithm != EdDSA && k.Algorithm != ES256 || !slices.Contains(key.Algorithms(), k.Algorithm) {
		return authz.Errorf(authz.ErrInvalid, "signing key %s does not sign by %.20q", k.ID, k.Algorithm)
	}
	k.key = key
	return nil
}

// An Info is a key as operators see it.
type Info struct {
	Record
	Signs bool `json:"signs"` // this process can sign with it now
}

// A Past is a key as everybody may see it, for verifying what was signed at any time: a signature
// counts as evidence only if the number of the log entry that includes it is above Activated, and
// below Historical and Revoked as far as these are not 0.
type Past struct {
	ID          string          `json:"kid"`
	Use         Use             `json:"use"`
	Algorithm   string          `json:"alg"`
	State       State           `json:"state"`
	JWK         json.RawMessage `json:"jwk"`
	PublishedAt time.Time       `json:"published_at"`
	ActiveAt    time.Time       `json:"active_at,omitzero"`
	ActiveUntil time.Time       `json:"active_until,omitzero"`
	RetiredAt   time.Time       `json:"retired_at,omitzero"`
	RevokedAt   time.Time       `json:"revoked_at,omitzero"`
	Published   int64           `json:"published"`
	Activated   int64           `json:"activated,omitempty"`
	Retired     int64           `json:"retired,omitempty"`
	Historical  int64           `json:"historical,omitempty"`
	Revoked     int64           `json:"revoked,omitempty"`
}

func (k *Record) past(at time.Time) Past {
	return Past{
		ID: k.ID, Use: k.Use, Algorithm: k.Algorithm, State: k.StateAt(at), JWK: k.JWK,
		PublishedAt: k.PublishedAt, ActiveAt: k.ActiveAt, ActiveUntil: k.ActiveUntil, RetiredAt: k.RetiredAt, RevokedAt: k.RevokedAt,
		Published: k.Published, Activated: k.Activated, Retired: k.Retired, Historical: k.Historical, Revoked: k.Revoked,
	}
}
