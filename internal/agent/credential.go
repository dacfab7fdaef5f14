package agent

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// Kinds of credentials.
const (
	KindKey      = "key"      // a public key that is registered here
	KindDocument = "document" // the URL of a client ID metadata document, which names the keys

	// kindRegistration is a registration access token (RFC 7592), by its hash. It changes keys and
	// authenticates nobody, so it is not among the others.
	kindRegistration = "registration"
)

// MaxActive is how many credentials of one agent can be active at once.
const MaxActive = 8

// A Credential is what an agent authenticates with: a public key, or the document that names its
// keys. It belongs to one agent for ever, also when it has expired or was revoked, so that an old
// signature is never taken for another agent's. Values never change once they are shared.
type Credential struct {
	Agent authz.AgentID   `json:"agent"`
	ID    string          `json:"id"` // of a key its RFC 7638 thumbprint, of a document its https URL
	Kind  string          `json:"kind"`
	Key   *token.Key      `json:"-"` // nil for documents
	JWK   json.RawMessage `json:"jwk,omitempty"`

	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: it does not expire
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	Replaces  string    `json:"replaces,omitempty"` // the key that this one was rotated in for
	Why       string    `json:"why"`                // of the newest change

	Since int64 `json:"since"` // number of the log entry that registered it
	AsOf  int64 `json:"as_of"` // number of the log entry that changed it last
}

// Active reports whether the credential authenticates its agent at that time, which is now or later:
// what was revoked is refused at once, also by a clock that is behind. Whether the agent may act is
// another question.
func (c *Credential) Active(at time.Time) bool {
	return c.RevokedAt.IsZero() && (c.ExpiresAt.IsZero() || at.Before(c.ExpiresAt))
}

// setKey makes k the credential's key. We name keys by their thumbprints, whatever others do.
func (c *Credential) setKey(k *token.Key) {
	own := *k
	own.Name = own.ID
	c.ID, c.Kind, c.Key, c.JWK = own.ID, KindKey, &own, own.JWK()
}

// An account is what the registry knows of how one agent authenticates.
type account struct {
	enrolment    *Enrolment    // pending; nil if there is none
	registration *Credential   // the access token that is good; nil if there is none
	all          []*Credential // but registration, by Since
	live         []*Credential // those of all that were active at the newest change, by Since
	asOf         int64         // number of the newest entry that changed anything of it
}

// put makes c the newest state of its credential. The caller holds the registry's lock.
func (a *account) put(c *Credential, at time.Time) {
	a.asOf = max(a.asOf, c.AsOf)
	if c.Kind == kindRegistration {
		switch {
		case c.RevokedAt.IsZero():
			a.registration = c
		case a.registration != nil && a.registration.ID == c.ID:
			a.registration = nil
		}
		return
	}
	a.all = slices.DeleteFunc(a.all, func(have *Credential) bool { return have.ID == c.ID })
	i, _ := slices.BinarySearchFunc(a.all, c.Since, func(have *Credential, since int64) int { return cmp.Compare(have.Since, since) })
	a.all = slices.Insert(a.all, i, c)
	a.live = nil
	for _, have := range a.all {
		if have.Active(at) {
			a.live = append(a.live, have)
		}
	}
}

// account returns an agent's account, making it if need be, and the id to write into it, which is
// shared with the agent's. The caller holds r.mu.
func (r *Registry) account(id authz.AgentID) (*account, authz.AgentID) {
	if a := r.byID[id]; a != nil {
		id = a.ID
	}
	a := r.accounts[id]
	if a == nil {
		a = &account{}
		r.accounts[id] = a
	}
	return a, id
}

// Credential returns the credential of that id, active or not, or authz.ErrNotFound. The value is
// shared: do not modify it.
func (r *Registry) Credential(id string) (*Credential, error) {
	r.mu.RLock()
	c := r.credentials[id]
	r.mu.RUnlock()
	if c == nil {
		return nil, authz.Errorf(authz.ErrNotFound, "no agent has a credential %.256q", id)
	}
	return c, nil
}

// Credentials returns all credentials that an agent ever had, the oldest first. The values are
// shared: do not modify them.
func (r *Registry) Credentials(id authz.AgentID) []*Credential {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if a := r.accounts[id]; a != nil {
		return slices.Clone(a.all)
	}
	return nil
}

// KeyFacts returns what policies can read of an agent's keys: how many are active, and since when
// and until when the newest of them is. A document is no key: what it names is not known here.
func (r *Registry) KeyFacts(id authz.AgentID, at time.Time) (f authz.Credential) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	a := r.accounts[id]
	if a == nil {
		return f
	}
	for _, c := range a.live {
		if c.Kind == KindKey && c.Active(at) {
			f.Keys++
			f.Since, f.ExpiresAt = c.CreatedAt, c.ExpiresAt
		}
	}
	return f
}

// Epoch returns the number of the newest entry that changed an agent, or what it authenticates with;
// 0 if the agent is not registered. What was concluded of an agent holds while its epoch stands.
func (r *Registry) Epoch(id authz.AgentID) int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.epoch(id)
}

// epoch is Epoch for who holds r.mu.
func (r *Registry) epoch(id authz.AgentID) (n int64) {
	if a := r.byID[id]; a != nil {
		n = a.AsOf
	}
	if a := r.accounts[id]; a != nil {
		n = max(n, a.asOf)
	}
	return n
}

// restore takes over what is stored of agents' credentials. The caller holds r.mu.
func (r *Registry) restore(es []Enrolment, cs []Credential) error {
	for i := range es {
		e := es[i]
		var a *account
		a, e.Agent = r.account(e.Agent)
		a.asOf = max(a.asOf, e.AsOf)
		if !e.Spent {
			r.setPending(a, &e)
		}
	}
	for _, c := range cs {
		if c.Kind == KindKey {
			k, err := token.ParseKey(c.JWK)
			if err != nil {
				return fmt.Errorf("reading key %q of agent %q: %w", c.ID, c.Agent, err)
			}
			c.setKey(k)
		}
		r.putCredential(c, c.CreatedAt) // what has expired since is left out at the next change
	}
	return nil
}

// putCredential makes c the newest state of its credential, at that time. The caller holds r.mu.
func (r *Registry) putCredential(c Credential, at time.Time) {
	var a *account
	a, c.Agent = r.account(c.Agent)
	p := r.intern.credential(c)
	a.put(p, at)
	if p.Kind != kindRegistration {
		r.credentials[p.ID] = p
	}
}
