// Package oauth is the authorization server for agents: it authenticates them, issues short-lived,
// sender-constrained passports (RFC 6749, RFC 9068, RFC 8693), says what is true of them now
// (RFC 7662), and takes them back (RFC 7009).
//
// Issuing is a decision: the policies judge whether the agent may carry each capability at this
// moment, and the answer is recorded before the token leaves. A token is never the last word:
// whoever presents one is judged again, by the state of now.
//
// Reading touches memory only. What must happen once in an installation, the use of an assertion,
// is decided by the log: the entry that issues a token carries the assertion's hash, and every
// replica refuses the second entry that carries the same.
//
// For a person behind the agent there is OpenID Connect's Client-Initiated Backchannel Authentication:
// the agent says whom to ask, the person answers at the desk, and the token names the person as its
// subject and the agent as who acts.
//
// The package keeps no tokens and no secrets of clients, signs nobody in, and has no authorization
// endpoint: nobody is redirected here.
package oauth

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/token"
)

// Agents is what the server needs of the registry. The adapter of *agent.Registry stands in
// internal/server; a Credential that it returns is shared and never changed.
type Agents interface {
	// Agent returns the agent of that id, whatever its state, or authz.ErrNotFound.
	Agent(id authz.AgentID) (*authz.Agent, error)
	// Epoch returns the number of the newest entry that changed the agent or one of its credentials.
	Epoch(id authz.AgentID) int64
	// Credential returns the credential of that key id or document URL, active or not, or authz.ErrNotFound.
	Credential(id string) (*Credential, error)
	// Credentials returns all credentials of an agent, oldest first.
	Credentials(id authz.AgentID) []*Credential
}

// Enrolment is how agents come by credentials.
type Enrolment interface {
	// PendingEnrolment returns who may enrol with the token, or authz.ErrUnauthenticated.
	PendingEnrolment(token string, at time.Time) (authz.AgentID, error)
	Register(ctx context.Context, token string, key *token.Key) (*Credential, error)
	Rotate(ctx context.Context, actor string, agent authz.AgentID, old string, key *token.Key) (*Credential, error)
	RevokeCredential(ctx context.Context, actor, why string, agent authz.AgentID, id string) (*Credential, error)
}

// A Credential is how an agent proves who it is: a key, or the document that names its keys.
type Credential struct {
	Agent     authz.AgentID
	ID        string     // key id (RFC 7638 thumbprint), or the https URL of a client ID metadata document
	Key       *token.Key // nil for a document
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
	RevokedAt time.Time // zero: not revoked
}

// Active reports whether the credential counts at a moment. That it was registered is known by its
// entry; the clock of whoever recorded that may be a little ahead of ours.
func (c *Credential) Active(at time.Time) bool {
	return (c.ExpiresAt.IsZero() || at.Before(c.ExpiresAt)) && c.RevokedAt.IsZero()
}

// Keys are the server's own signing keys. The adapter of *keyring.Ring stands in internal/server.
type Keys interface {
	// TokenSigner returns the active signer of tokens for an algorithm, "EdDSA" or "ES256", or
	// authz.ErrUnavailable.
	TokenSigner(alg string) (*token.Signer, error)
	// StatusSigner returns the active signer of status lists, or authz.ErrUnavailable.
	StatusSigner() (*token.Signer, error)
	// TokenKey returns the key of that id if tokens signed by it count now, or authz.ErrNotFound.
	TokenKey(kid string) (*token.Key, error)
	// Set returns the JWK set of all keys whose signatures count, and its entity tag.
	Set() (doc []byte, etag string)
	// Historical returns, as one JSON document, all keys there ever were.
	Historical() ([]byte, error)
}

// A Judge decides whether an agent may carry a capability. The adapter of *pdp.PDP stands in
// internal/server.
type Judge interface {
	// Judge answers each request as of a moment and records nothing; the drafts record what was
	// decided. authz.ErrUnavailable: nothing can be decided.
	Judge(reqs []authz.Request, at time.Time) (decisions []authz.Decision, drafts []audit.Draft, err error)
	// Generation changes whenever the same questions might be answered otherwise though no agent
	// has changed and no time has passed: the policies' version, and a count of changes of risk.
	Generation() (policies, risks int64)
}

// A Log records changes. *audit.Follower is one.
type Log interface {
	// CommitAll records the drafts as consecutive entries, waits until this process has applied
	// them, and returns the number of the first and the appliers' verdict.
	CommitAll(ctx context.Context, drafts ...audit.Draft) (first int64, err error)
}

// Callers are the holders of API tokens, who may introspect and, if administrators, revoke.
type Callers interface {
	// Caller returns the name in the log and the role of who holds the token, or authz.ErrUnauthenticated.
	Caller(token string) (actor, role string, err error)
}

// A Client is who authenticated at one of our endpoints: always a registered, active agent.
type Client struct {
	Agent       *authz.Agent
	ID          string            // client_id: the agent's id, or the URL of its client ID metadata document
	Method      string            // private_key_jwt, tls_client_auth, self_signed_tls_client_auth, spiffe_jwt, spiffe_x509, workload
	Key         string            // key id or thumbprint of what it authenticated with, "" if there is none
	Since       time.Time         // since when that credential is known; zero if it is not one of ours
	Certificate *x509.Certificate // of the TLS connection, if the client authenticated by it
	Use         *Use              // the single-use assertion it authenticated with; nil if there was none
}

// A Use is a single-use assertion. It is used up when the token that it was presented for is recorded.
type Use struct {
	Hash  [16]byte // of its issuer and jti; see UseOf
	Until time.Time
}

// Config configures a Server. Issuer, Agents, Enrolment, Keys, Judge, Log, Callers, Catalog and Fresh
// must be set.
type Config struct {
	// Issuer is our own name: an https URL without query, fragment and slash at the end. It may
	// have a path. Plain http is for tests.
	Issuer string

	Agents    Agents
	Enrolment Enrolment
	Keys      Keys
	Judge     Judge
	Log       Log
	Callers   Callers
	// Catalog returns the active catalog, nil if there is none.
	Catalog func() *catalog.Catalog
	// Fresh returns authz.ErrUnavailable if what this process knows is too old to go by.
	Fresh func() error

	// Desk and People let agents ask persons for authorization (CIBA). Without them nobody is asked.
	Desk   Desk
	People People

	// Clients says how agents may authenticate.
	Clients ClientConfig

	// Lifetime of tokens, 5 minutes by default and at most.
	Lifetime time.Duration
	// Depth is how often a token may be delegated: 4 by default, at most 8.
	Depth int
	// Skew is how far another's clock may differ from ours: 30 seconds by default, at most a minute.
	Skew time.Duration
	// Algorithm signs tokens unless the client asks otherwise: EdDSA by default, or ES256.
	Algorithm string
	// Audiences are the resource servers that tokens may be issued for besides ourselves. A client
	// that names no resource gets a token for the first, or for the issuer if there is none.
	Audiences []string
	// AllowBearer lets clients that neither prove possession of a key (DPoP) nor present a
	// certificate have tokens. Whoever steals such a token can use it; leave it off.
	AllowBearer bool

	// Conduct returns how far an agent is trusted, and what its tokens tell foreign verifiers of its
	// conduct, nil if nothing. By default every agent is trusted as one of whom nothing is known.
	Conduct func(authz.AgentID) (authz.Trust, *token.Conduct)
	// Address returns the client's network address, as the policies see it. The connection's
	// by default.
	Address func(*http.Request) netip.Addr

	Now    func() time.Time // time.Now by default
	Rand   io.Reader        // crypto/rand by default
	Logger *slog.Logger     // none by default
}

// withDefaults returns cfg with what was left out, or authz.ErrInvalid.
func (cfg Config) withDefaults() (Config, error) {
	bad := func(format string, args ...any) (Config, error) {
		return Config{}, authz.Errorf(authz.ErrInvalid, format, args...)
	}
	u, err := url.Parse(cfg.Issuer)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil ||
		strings.ContainsAny(cfg.Issuer, "?#") || strings.HasSuffix(cfg.Issuer, "/") || u.String() != cfg.Issuer {
		return bad("issuer %q: want an https URL without query, fragment, user and slash at the end", cfg.Issuer)
	}
	if cfg.Lifetime == 0 {
		cfg.Lifetime = maxLifetime
	}
	if cfg.Lifetime < minLifetime || cfg.Lifetime > maxLifetime {
		return bad("lifetime of tokens: want %v to %v, got %v", minLifetime, maxLifetime, cfg.Lifetime)
	}
	if cfg.Depth == 0 {
		cfg.Depth = 4
	}
	if cfg.Depth < 0 || cfg.Depth > maxDepth {
		return bad("depth of delegation: want 1 to %d, got %d", maxDepth, cfg.Depth)
	}
	if cfg.Skew == 0 {
		cfg.Skew = 30 * time.Second
	}
	if cfg.Skew < 0 || cfg.Skew > time.Minute {
		return bad("skew of clocks: want at most a minute, got %v", cfg.Skew)
	}
	if cfg.Algorithm == "" {
		cfg.Algorithm = "EdDSA"
	}
	if cfg.Algorithm != "EdDSA" && cfg.Algorithm != "ES256" {
		return bad("algorithm %q: want EdDSA or ES256", cfg.Algorithm)
	}
	for _, a := range cfg.Audiences {
		if err := checkResource(a); err != nil {
			return bad("audience %q: %v", a, err)
		}
	}
	if (cfg.Desk == nil) != (cfg.People == nil) {
		return bad("asking persons needs a desk and people")
	}
	if len(cfg.Clients.Pings) > 0 && (cfg.Desk == nil || cfg.Clients.Post == nil) {
		return bad("telling clients that a person has answered needs a desk, and something to tell them by")
	}
	for id, address := range cfg.Clients.Pings {
		if err := cfg.Clients.Post.Check(address); err != nil {
			return bad("notification endpoint of agent %q: %v", id, err)
		}
	}
	if cfg.Conduct == nil {
		cfg.Conduct = func(authz.AgentID) (authz.Trust, *token.Conduct) { return authz.NeutralTrust, nil }
	}
	if cfg.Address == nil {
		cfg.Address = connectionAddress
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg, nil
}

const (
	minLifetime = 10 * time.Second
	maxLifetime = 5 * time.Minute
	maxDepth    = 8
)

// connectionAddress returns the address of the other end of the connection.
func connectionAddress(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// A Server is the authorization server. It is safe for concurrent use.
type Server struct {
	cfg      Config
	clients  *clients // what authentication keeps
	state    state
	nonces   nonces
	ids      ids
	verified verified
	lists    lists
	polls    polls
	pings    pings
	audience []string // for which tokens can be
	path     string   // of the issuer, mostly none
	tokenURL string   // of the token endpoint
	handler  http.Handler

	described atomic.Pointer[described] // metadata
}

// New returns a server. It starts nothing.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, audience: cfg.audiences(), tokenURL: cfg.Issuer + tokenPath}
	if s.clients, err = newClients(cfg); err != nil {
		return nil, err
	}
	if err := s.nonces.init(cfg.Rand); err != nil {
		return nil, err
	}
	s.state.init(cfg.Now)
	s.verified.init()
	s.pings.init()
	if s.handler, err = s.newHandler(); err != nil {
		return nil, err
	}
	return s, nil
}
