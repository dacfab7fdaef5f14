// Package people knows the persons who answer: approvers, as opposed to agents and to callers of the API.
// A person is made by an administrator and enrols a passkey by a single-use link, or signs in with the
// organisation's identity provider. Sessions are entries of the log, so that every replica knows them and
// signing out ends them everywhere.
//
// The package verifies no assertion and speaks no protocol; internal/signin does.
package people

import (
	"context"
	"encoding/json"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// A Person answers asks. Values are immutable once shared.
type Person struct {
	ID       string              `json:"id"`
	Name     string              `json:"name"`
	Email    string              `json:"email,omitempty"`
	Issuer   string              `json:"issuer,omitempty"` // of the identity provider, with Subject; "" for passkeys only
	Subject  string              `json:"subject,omitempty"`
	Claims   map[string][]string `json:"claims,omitempty"` // as an administrator set them; a session may bring others
	Disabled bool                `json:"disabled,omitempty"`
	Passkeys []Passkey           `json:"passkeys,omitempty"`
	AsOf     int64               `json:"as_of"`
}

// A Passkey is a WebAuthn credential of a person.
type Passkey struct {
	ID        string          `json:"id"` // base64url of the credential id
	Title     string          `json:"title"`
	Record    json.RawMessage `json:"record"` // what the WebAuthn library keeps: public parts only
	CreatedAt time.Time       `json:"created_at"`
	UsedAt    time.Time       `json:"used_at,omitzero"`
	RevokedAt time.Time       `json:"revoked_at,omitzero"`
}

// A Session is a person who has signed in.
type Session struct {
	Person    *Person
	Claims    map[string][]string // the person's own, and those of the identity provider
	Method    string              // passkey or oidc
	At        time.Time           // of signing in
	ExpiresAt time.Time
}

// Store is the durable side of a Registry. *store.DB is one; H4 gives it its methods.
type Store interface{}

// A Committer records a change and waits until it is in effect. *audit.Follower is one.
type Committer interface {
	Commit(ctx context.Context, d audit.Draft) (int64, error)
}

// A Config is what a Registry needs.
type Config struct {
	Store Store
	Log   Committer
	Now   func() time.Time
}

// A Registry knows the persons and their sessions. It is safe for concurrent use once loaded.
type Registry struct{ cfg Config }

// NewRegistry returns an empty registry, to be loaded.
func NewRegistry(cfg Config) *Registry { return &Registry{cfg: cfg} }

// Load reads what is stored.
func (r *Registry) Load(ctx context.Context) error { return nil }

// Apply brings an entry into effect. It is an audit.Applier.
func (r *Registry) Apply(ctx context.Context, e audit.Entry) error { return nil }

// Person returns the person of that id, or authz.ErrNotFound.
func (r *Registry) Person(id string) (*Person, error) {
	return nil, authz.Errorf(authz.ErrNotFound, "no person %.64q", id)
}

// People returns everybody, sorted by id.
func (r *Registry) People() []*Person { return nil }

// Authenticate returns the session whose token this is, or authz.ErrUnauthenticated.
func (r *Registry) Authenticate(token string) (*Session, error) {
	return nil, authz.Errorf(authz.ErrUnauthenticated, "nobody is signed in")
}
