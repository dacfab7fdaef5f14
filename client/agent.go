package client

import (
	"cmp"
	"context"
	"crypto"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// An Agent is a registered agent, seen from its own side: the authorization server that knows it, its
// id there, and its private key. It authenticates by private_key_jwt (RFC 7523) and binds its tokens
// to the key by DPoP (RFC 9449), so that a stolen token is of no use. It is safe for concurrent use;
// its fields are set before.
type Agent struct {
	// HTTP talks to the authorization server. Its default is the one of Client.
	HTTP *http.Client

	// Attempts is how often at most something is asked while the server is unavailable: 3 by default.
	Attempts int

	// RotateBefore is how long before the key expires the agent replaces it by itself, when it next
	// needs a token: never by default. It needs a key file. One process rotates a file's key; others
	// that use the file take the new key up when the old one is refused. There is time for that: the
	// server accepts both for an hour or so.
	RotateBefore time.Duration

	// Now is the clock, time.Now by default.
	Now func() time.Time

	issuer, id string
	file       string // "" if the key is not in one
	held       atomic.Pointer[held]
	nonce      atomic.Pointer[string] // the newest of the authorization server
	rotating   sync.Mutex             // one rotation at a time
	unsettled  atomic.Bool            // a rotation may have been interrupted before this process began

	mu      sync.Mutex // guards what follows
	found   *Metadata
	foundAt time.Time
}

// held is the key that is in use. It never changes: a rotation holds another one.
type held struct {
	signer  *token.Signer
	private crypto.Signer
	expires time.Time // zero: never, or not known
}

// LoadAgent returns the agent whose key, issuer and id stand in a key file that Enrol has made.
func LoadAgent(file string) (*Agent, error) {
	k, err := readKeyFile(file)
	if err != nil {
		return nil, err
	}
	if k.issuer == "" || k.agent == "" {
		return nil, &Error{Message: file + " does not say whose key it is", Code: "incomplete",
			Hint: "enrol the agent, which makes such a file; or name the issuer and the agent", kind: authz.ErrInvalid}
	}
	a, err := NewAgent(k.issuer, k.agent, k.key)
	if err != nil {
		return nil, err
	}
	a.file = file
	a.unsettled.Store(true) // settle looks whether there is a next key
	return a, a.hold(k.key, k.expires)
}

// NewAgent returns the agent of that id at the issuer, with a key from anywhere: an HSM, a KMS, or
// LoadKey. Only Ed25519 and P-256 keys sign.
func NewAgent(issuer, id string, key crypto.Signer) (*Agent, error) {
	if _, err := parseIssuer(issuer); err != nil {
		return nil, err
	}
	if id == "" {
		return nil, authz.Errorf(authz.ErrInvalid, "an agent has an id")
	}
	a := &Agent{HTTP: newHTTP(), Attempts: 3, issuer: issuer, id: id}
	if err := a.hold(key, time.Time{}); err != nil {
		return nil, err
	}
	return a, nil
}

// ID returns the agent's id, which is its client_id.
func (a *Agent) ID() string { return a.id }

// Issuer returns the URL of the authorization server.
func (a *Agent) Issuer() string { return a.issuer }

// KeyID returns the id of the key in use, its RFC 7638 thumbprint.
func (a *Agent) KeyID() string { return a.held.Load().signer.Key().ID }

// Expires returns when the key in use expires, zero if it does not or that is not known.
func (a *Agent) Expires() time.Time { return a.held.Load().expires }

func (a *Agent) hold(key crypto.Signer, expires time.Time) error {
	s, err := token.NewSigner(key)
	if err != nil {
		return err
	}
	a.held.Store(&held{s, key, expires})
	return nil
}

func (a *Agent) now() time.Time {
	if a.Now != nil {
		return a.Now()
	}
	return time.Now()
}

// metadataAge is how long what the server says of itself is believed.
const metadataAge = time.Hour

// Metadata returns what the authorization server says of itself, asking it at most once an hour.
func (a *Agent) Metadata(ctx context.Context) (*Metadata, error) {
	a.mu.Lock()
	m, at := a.found, a.foundAt
	a.mu.Unlock()
	now := a.now()
	if m != nil && now.Sub(at) < metadataAge {
		return m, nil
	}
	var fresh *Metadata
	err := retry(ctx, a.Attempts, func() (err error) {
		fresh, err = Discover(ctx, a.issuer, a.HTTP)
		return err
	})
	if err == nil {
		err = fresh.accepts(a.held.Load().signer.Algorithm())
	}
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.found, a.foundAt = fresh, now
	return fresh, nil
}

// endpoint returns the URL that the metadata names, or else that path below the issuer.
func (a *Agent) endpoint(ctx context.Context, pick func(*Metadata) string, path string) (string, error) {
	m, err := a.Metadata(ctx)
	if err != nil {
		return "", err
	}
	return cmp.Or(pick(m), strings.TrimSuffix(a.issuer, "/")+path), nil
}

// Introspect asks what is true of a token now (RFC 7662). An agent may ask of its own only.
func (a *Agent) Introspect(ctx context.Context, accessToken string) (*Introspection, error) {
	where, err := a.endpoint(ctx, func(m *Metadata) string { return m.IntrospectionEndpoint }, "/oauth2/introspect")
	if err != nil {
		return nil, err
	}
	answer, _, err := a.post(ctx, where, url.Values{"token": {accessToken}, "token_type_hint": {"access_token"}}, false)
	if err != nil {
		return nil, err
	}
	return parseIntrospection(answer)
}

// Revoke takes back a token of the agent, and every token that was made from it (RFC 7009). To revoke
// what is unknown or has ended succeeds.
func (a *Agent) Revoke(ctx context.Context, accessToken string) error {
	where, err := a.endpoint(ctx, func(m *Metadata) string { return m.RevocationEndpoint }, "/oauth2/revoke")
	if err != nil {
		return err
	}
	_, _, err = a.post(ctx, where, url.Values{"token": {accessToken}, "token_type_hint": {"access_token"}}, false)
	return err
}
