package people

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// Bounds of passkeys.
const (
	MaxPasskeys    = 10  // active ones of a person
	maxAllPasskeys = 100 // also revoked ones, which are kept for ever
	maxCredential  = 1023
	maxRecord      = 16 << 10
	maxTitle       = 60
)

// What a passkey.put entry does.
const (
	opRegister = "register" // a passkey, with an enrolment
	opRevoke   = "revoke"   // one passkey, and the sessions that began with it
)

// RevokePasskey makes a passkey count no more, and ends the sessions that began with it. Revoking twice
// changes nothing. It returns authz.ErrInvalid, or authz.ErrNotFound.
func (r *Registry) RevokePasskey(ctx context.Context, actor, why, id, passkey string) (*Person, error) {
	return r.commit(ctx, audit.PasskeyPut, actor, &passkeyChange{Person: id, Op: opRevoke, ID: passkey, Why: why})
}

// passkeyChange is the body of a passkey.put entry.
type passkeyChange struct {
	Person    string          `json:"person"`
	Op        string          `json:"op"`
	ID        string          `json:"id"`
	Title     string          `json:"title,omitempty"`
	Record    json.RawMessage `json:"record,omitempty"`
	Count     int64           `json:"count,omitempty"`
	Enrolment string          `json:"enrolment,omitempty"` // hash of the token that is used up
	Why       string          `json:"why"`
}

func (c *passkeyChange) person() string { return c.Person }

func (c *passkeyChange) check() error {
	if b, err := base64.RawURLEncoding.Strict().DecodeString(c.ID); err != nil || len(b) == 0 || len(b) > maxCredential {
		return authz.Errorf(authz.ErrInvalid, "%.64q is no passkey's id", c.ID)
	}
	switch c.Op {
	case opRegister:
		if c.Title == "" || len(c.Title) > maxTitle || !printable(c.Title) {
			return authz.Errorf(authz.ErrInvalid, "a passkey's title is 1 to %d bytes of printable text", maxTitle)
		}
		if len(c.Record) == 0 || len(c.Record) > maxRecord {
			return authz.Errorf(authz.ErrInvalid, "a passkey's record has 1 to %d bytes", maxRecord)
		}
		if c.Count < 0 || c.Count > math.MaxUint32 {
			return authz.Errorf(authz.ErrInvalid, "a passkey's signature counter is out of bounds")
		}
		if !validHash(c.Enrolment) {
			return authz.Errorf(authz.ErrInvalid, "an enrolment's hash is no SHA-256 in hex")
		}
	case opRevoke:
	default:
		return authz.Errorf(authz.ErrInvalid, "unknown change of a passkey: %.32q", c.Op)
	}
	return checkWhy(c.Why)
}

func (c *passkeyChange) alter(r *Registry, a *Account, at time.Time, seq int64) (bool, error) {
	p := &a.Person
	if c.Op == opRevoke {
		i := slices.IndexFunc(p.Passkeys, func(k Passkey) bool { return k.ID == c.ID })
		if i < 0 {
			return false, authz.Errorf(authz.ErrNotFound, "person %q has no passkey %.64q", p.ID, c.ID)
		}
		if !p.Passkeys[i].Active() {
			return false, nil
		}
		p.Passkeys[i].RevokedAt, p.AsOf = at, seq
		a.Sessions = slices.DeleteFunc(a.Sessions, func(s login) bool { return s.Passkey == c.ID })
		return true, nil
	}
	e := a.Enrolment
	if e == nil || e.Hash != c.Enrolment || !at.Before(e.ExpiresAt) || p.Disabled {
		return false, errSpent
	}
	if r.passkeys[c.ID] != "" {
		return false, authz.Errorf(authz.ErrConflict, "the passkey was registered before: make a new one")
	}
	active := 0
	for _, k := range p.Passkeys {
		if k.Active() {
			active++
		}
	}
	if active >= MaxPasskeys || len(p.Passkeys) >= maxAllPasskeys {
		return false, authz.Errorf(authz.ErrConflict, "person %q has %d passkeys, %d of them active, which is the most", p.ID, len(p.Passkeys), active)
	}
	p.Passkeys = append(p.Passkeys, Passkey{ID: c.ID, Title: c.Title, Record: c.Record, Count: c.Count, CreatedAt: at})
	p.AsOf, a.Enrolment = seq, nil
	return true, nil
}
