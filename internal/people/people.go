// Package people knows the persons who sign in, as opposed to agents and to callers of the API with a token:
// those who answer, and those who watch and administer. A person is made by an administrator and enrols a
// passkey by a single-use link, or signs in with the organisation's identity provider; a second kind of link
// signs in once without either. Sessions are entries of the log, so that every replica knows them and signing
// out ends them everywhere.
//
// What a person may do, their roles say; what a role is, is not for this package. A person of whom no role is
// said is an approver. Nobody changes what is kept of themselves, nor makes a link for themselves.
//
// Of links and sessions only the SHA-256 of their tokens is recorded, stored and kept in memory, and of
// passkeys only public parts, so neither the database nor the log can be used to answer as somebody. What
// belongs to one person belongs to nobody else for ever: an id, a passkey, and an account of the identity
// provider unless an administrator takes it away. One human being is one person: whom the identity provider
// brings does not become another one beside a person who is known by the same e-mail address or name.
//
// The package verifies no assertion and speaks no protocol; internal/signin does.
package people

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// A Person can sign in. Values are immutable once shared.
type Person struct {
	ID       string              `json:"id"`
	Name     string              `json:"name"`
	Email    string              `json:"email,omitempty"`
	Issuer   string              `json:"issuer,omitempty"` // of the identity provider, with Subject; "" for passkeys only
	Subject  string              `json:"subject,omitempty"`
	Claims   map[string][]string `json:"claims,omitempty"` // as an administrator set them; a session may bring others
	Names    []string            `json:"names,omitempty"`  // by which the identity provider knows the account, the newest first: see Known
	Roles    []Role              `json:"roles,omitempty"`  // as an administrator set them: see Granted
	Disabled bool                `json:"disabled,omitempty"`
	Passkeys []Passkey           `json:"passkeys,omitempty"` // the oldest first, also the revoked ones
	AsOf     int64               `json:"as_of"`              // number of the log entry that changed the person or a passkey last
}

// A Passkey is a WebAuthn credential of a person.
type Passkey struct {
	ID        string          `json:"id"` // base64url of the credential id
	Title     string          `json:"title"`
	Record    json.RawMessage `json:"record"`          // what the WebAuthn library keeps: public parts only
	Count     int64           `json:"count,omitempty"` // signature counter at the last sign-in; 0 of passkeys that have none
	CreatedAt time.Time       `json:"created_at"`
	UsedAt    time.Time       `json:"used_at,omitzero"` // of the last sign-in
	RevokedAt time.Time       `json:"revoked_at,omitzero"`
}

// Active reports whether the passkey counts.
func (k *Passkey) Active() bool { return k.RevokedAt.IsZero() }

// Passkey returns the active passkey of that id.
func (p *Person) Passkey(id string) (Passkey, bool) {
	for _, k := range p.Passkeys {
		if k.ID == id && k.Active() {
			return k, true
		}
	}
	return Passkey{}, false
}

// Actor is the person's name in the audit log.
func (p *Person) Actor() string { return "person:" + p.ID }

// An Account is everything that is kept of one person. Values are immutable once shared.
type Account struct {
	Person    Person      `json:"person"`
	Enrolment *Enrolment  `json:"enrolment,omitempty"` // that can still be used
	Link      *Link       `json:"link,omitempty"`      // that can still be used
	Sessions  []login     `json:"sessions,omitempty"`  // the oldest first
	Used      []challenge `json:"used,omitempty"`      // challenges that sessions began with, the oldest first
	AsOf      int64       `json:"as_of"`               // number of the log entry that made this version
}

// Store is the durable side of a Registry. *store.DB is one.
type Store interface {
	// Accounts returns every account. What it returns stood at one moment.
	Accounts(ctx context.Context) ([]Account, error)

	// PutAccount keeps a unless a newer version (by AsOf) is kept already.
	PutAccount(ctx context.Context, a Account) error
}

// A Committer records a change and waits until it is in effect. *audit.Follower is one.
type Committer interface {
	Commit(ctx context.Context, d audit.Draft) (int64, error)
}

// A Config is what a Registry needs.
type Config struct {
	Store Store
	Log   Committer
	Now   func() time.Time // time.Now by default

	// Session is how long one lasts after signing in: DefaultSession if it is 0, at most MaxSession.
	Session time.Duration
}

// MaxPeople is how many persons there can be.
const MaxPeople = 10_000

// A Registry knows the persons and their sessions. It is safe for concurrent use once loaded.
type Registry struct {
	cfg Config

	mu       sync.RWMutex
	byID     map[string]*Account
	passkeys map[string]string   // id to person, also of revoked ones
	accounts map[identity]string // of the identity provider, to person
	pending  map[string]string   // hash of an enrolment to person
	links    map[string]string   // hash of a link to person
	sessions map[string]string   // hash of a session to person
	ranked   int                 // how many of byID are
	asOf     int64               // entries up to it have been judged
}

// An identity is an account of an identity provider.
type identity struct{ issuer, subject string }

// NewRegistry returns an empty registry, to be loaded.
func NewRegistry(cfg Config) *Registry {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Session == 0 {
		cfg.Session = DefaultSession
	}
	return &Registry{
		cfg: cfg, byID: map[string]*Account{}, passkeys: map[string]string{}, accounts: map[identity]string{},
		pending: map[string]string{}, links: map[string]string{}, sessions: map[string]string{},
	}
}

// Load reads what is stored. It must return before the registry is used.
func (r *Registry) Load(ctx context.Context) error {
	all, err := r.cfg.Store.Accounts(ctx)
	if err != nil {
		return fmt.Errorf("loading people: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range all {
		r.put(&all[i])
	}
	return nil
}

// put makes a the newest version in memory. The caller holds r.mu.
func (r *Registry) put(a *Account) {
	id := a.Person.ID
	if have := r.byID[id]; have != nil {
		if have.Person.ranked() {
			r.ranked--
		}
		delete(r.accounts, identity{have.Person.Issuer, have.Person.Subject})
		if have.Enrolment != nil {
			delete(r.pending, have.Enrolment.Hash)
		}
		if have.Link != nil {
			delete(r.links, have.Link.Hash)
		}
		for _, s := range have.Sessions {
			delete(r.sessions, s.Hash)
		}
	}
	r.byID[id] = a
	if a.Person.ranked() {
		r.ranked++
	}
	for _, k := range a.Person.Passkeys {
		r.passkeys[k.ID] = id
	}
	if a.Person.Subject != "" {
		r.accounts[identity{a.Person.Issuer, a.Person.Subject}] = id
	}
	if a.Enrolment != nil {
		r.pending[a.Enrolment.Hash] = id
	}
	if a.Link != nil {
		r.links[a.Link.Hash] = id
	}
	for _, s := range a.Sessions {
		r.sessions[s.Hash] = id
	}
	r.asOf = max(r.asOf, a.AsOf)
}

// Apply brings an entry about persons into effect: first in the store, then in memory. It is an
// audit.Applier.
func (r *Registry) Apply(ctx context.Context, e audit.Entry) error {
	var c change
	switch e.Kind {
	case audit.PersonPut:
		c = new(personChange)
	case audit.PersonEnrolment:
		c = new(enrolmentChange)
	case audit.PersonLink:
		c = new(linkChange)
	case audit.PasskeyPut:
		c = new(passkeyChange)
	case audit.SessionPut:
		c = new(sessionChange)
	default:
		return nil
	}
	if err := json.Unmarshal(e.Body, c); err != nil {
		return authz.Errorf(authz.ErrInvalid, "entry %d: %w", e.Seq, err)
	}
	if err := c.check(); err != nil {
		return fmt.Errorf("entry %d: %w", e.Seq, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// Every row was written in the order of the log. So if one row is as new as this entry, the entry has
	// been judged, and what became of it is in the tables; judged again now, an entry that was refused
	// could take effect, because of what came after it.
	if r.asOf >= e.Seq {
		return nil
	}
	a, err := r.judge(c, e.At, e.Seq)
	if err != nil || a == nil {
		return err
	}
	if err := r.cfg.Store.PutAccount(ctx, *a); err != nil {
		return fmt.Errorf("keeping person %q: %w", a.Person.ID, err)
	}
	r.put(a)
	return nil
}

// A change is the body of an entry about one person.
type change interface {
	// check returns authz.ErrInvalid and what is wrong with the change, whatever is registered.
	check() error
	// person is whom it is about.
	person() string
	// alter changes a, which nobody else holds, or returns why it cannot; false: there is nothing to
	// change. It depends on the change and on the entries before it, on nothing else.
	alter(r *Registry, a *Account, at time.Time, seq int64) (bool, error)
}

// judge returns the account that c makes at that time, as the entry numbered seq, or why it cannot; nil
// if it changes nothing. The caller holds r.mu.
func (r *Registry) judge(c change, at time.Time, seq int64) (*Account, error) {
	var a Account
	if have := r.byID[c.person()]; have != nil {
		a = *have
		a.Person.Passkeys = slices.Clone(a.Person.Passkeys)
		a.Sessions = slices.DeleteFunc(slices.Clone(a.Sessions), func(s login) bool { return !at.Before(s.ExpiresAt) })
		a.Used = slices.DeleteFunc(slices.Clone(a.Used), func(u challenge) bool { return at.Sub(u.At) > keepUsed })
	} else if _, ok := c.(*personChange); !ok {
		return nil, authz.Errorf(authz.ErrNotFound, "no person %.64q", c.person())
	}
	changed, err := c.alter(r, &a, at, seq)
	if err != nil || !changed {
		return nil, err
	}
	a.AsOf = seq
	return &a, nil
}

// commit records c unless it is plain that it will not take effect, waits for Apply, and returns the
// person as it then stands.
func (r *Registry) commit(ctx context.Context, kind audit.Kind, actor string, c change) (*Person, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	r.mu.RLock()
	a, err := r.judge(c, r.cfg.Now(), 0)
	r.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	if a != nil {
		body, err := json.Marshal(c)
		if err != nil {
			return nil, fmt.Errorf("encoding a change of person %q: %w", c.person(), err)
		}
		if _, err := r.cfg.Log.Commit(ctx, audit.Draft{Kind: kind, Actor: actor, Body: body}); err != nil {
			return nil, fmt.Errorf("changing person %q: %w", c.person(), err)
		}
	}
	return r.Person(c.person())
}

// Person returns the person of that id, or authz.ErrNotFound.
func (r *Registry) Person(id string) (*Person, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if a := r.byID[id]; a != nil {
		return &a.Person, nil
	}
	return nil, authz.Errorf(authz.ErrNotFound, "no person %.64q", id)
}

// People returns everybody, sorted by id.
func (r *Registry) People() []*Person {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]*Person, 0, len(r.byID))
	for _, a := range r.byID {
		all = append(all, &a.Person)
	}
	slices.SortFunc(all, func(a, b *Person) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Ranked returns how many persons have a role that an administrator gave them, and are not disabled.
func (r *Registry) Ranked() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.ranked
}

// Holder returns the person who registered the passkey of that id, if it is active and the person is not
// disabled, or authz.ErrUnauthenticated.
func (r *Registry) Holder(passkey string) (*Person, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if a := r.byID[r.passkeys[passkey]]; a != nil && !a.Person.Disabled {
		if _, ok := a.Person.Passkey(passkey); ok {
			return &a.Person, nil
		}
	}
	return nil, authz.Errorf(authz.ErrUnauthenticated, "the passkey is unknown or revoked")
}

// ByIdentity returns the person who has that account of an identity provider, also a disabled one, or
// authz.ErrNotFound.
func (r *Registry) ByIdentity(issuer, subject string) (*Person, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if a := r.byID[r.accounts[identity{issuer, subject}]]; a != nil && subject != "" {
		return &a.Person, nil
	}
	return nil, authz.Errorf(authz.ErrNotFound, "no person has that account of the identity provider")
}
