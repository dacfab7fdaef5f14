package gateway

import (
	"path/filepath"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Common is what the documents of all doors have in common. A door's own document embeds it:
//
//	type Config struct {
//		gateway.Common `yaml:",inline"`
//		Routes []Route `yaml:"routes"`
//	}
type Common struct {
	// Name tells this gateway from others in reports and findings; the host's name by default.
	Name string `yaml:"name"`
	// Listen is the address to serve on, HOST:PORT; port 0 is any. Not read by a door that serves standard input.
	Listen string `yaml:"listen"`
	// PublicURL is the URL by which agents reach the gateway: the resource identifiers of its doors begin with it, DPoP
	// proofs name it. It is not taken from requests. By default http and the address of Listen, if that is loopback.
	PublicURL string `yaml:"public_url"`
	TLS       TLS    `yaml:"tls"`
	// Service is the control plane.
	Service Service `yaml:"service"`
	// Decide says where decisions are made: remote (default), by the service for each act; or local, in this process.
	Decide string `yaml:"decide"`
	// Journal is the directory of the decisions that are made here and have not reached the service. Needed by local.
	Journal string `yaml:"journal"`
	// MaxStale is how long local decides after it has last heard from the service: 1m by default.
	MaxStale time.Duration `yaml:"max_stale"`
	// GeoIP is a MaxMind file of countries, for local; the service's own, if it has one.
	GeoIP string `yaml:"geoip"`

	Authorization Authorization         `yaml:"authorization"`
	Credentials   map[string]Credential `yaml:"credentials"` // for servers behind the gateway, by name
	Secrets       Secrets               `yaml:"secrets"`
	// Client is the gateway as an OAuth client of other authorization servers.
	Client ClientConfig `yaml:"client"`
	Health Health       `yaml:"health"`
	Limits Limits       `yaml:"limits"`
	// CA is a PEM file of authorities that are trusted beside the system's, by whatever the gateway calls: the service,
	// authorization servers.
	CA string `yaml:"ca"`

	file, dir string
}

// TLS serves HTTPS.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// ClientCertificates asks clients for a certificate, to which tokens can be bound (RFC 8705). None is demanded,
	// and who issued it does not count.
	ClientCertificates bool `yaml:"client_certificates"`
}

// Service is the control plane.
type Service struct {
	// URL is its address; the environment variable SAFECONDUCT_URL by default, and then http://127.0.0.1:8180.
	URL string `yaml:"url"`
	// TokenFile holds the token of a caller of role pep, or edge if decisions are made here. Environment variable
	// SAFECONDUCT_TOKEN in its place.
	TokenFile string `yaml:"token_file"`
	// Issuer is what the service calls itself in passports, its public URL; the URL by default.
	Issuer string `yaml:"issuer"`
}

// Authorization says who may come.
type Authorization struct {
	// Type is oauth (default): every request carries a token; or none: whoever reaches the gateway is Subject. None is
	// only for loopback and standard input.
	Type     string      `yaml:"type"`
	Subject  authz.Ref   `yaml:"subject"`
	OnBehalf []authz.Ref `yaml:"on_behalf"`

	// NoPassports refuses passports of our own service. They are accepted by default.
	NoPassports bool `yaml:"no_passports"`
	// Bearer accepts passports that are bound to no key. Whoever steals one can use it.
	Bearer bool `yaml:"bearer"`
	// Servers are other authorization servers whose tokens are accepted.
	Servers []AuthServer `yaml:"servers"`
	// Scopes are what clients are told to ask for: with passports, the ids of capabilities.
	Scopes []string `yaml:"scopes"`
	// Nonce demands a nonce of ours in DPoP proofs (RFC 9449 section 9).
	Nonce bool `yaml:"nonce"`
	// Skew is how far clocks may be apart: 30s by default.
	Skew time.Duration `yaml:"skew"`
}

// AuthServer is another authorization server.
type AuthServer struct {
	Issuer string `yaml:"issuer"`
	// KeySet is the URL of its keys; asked of the server by default (RFC 8414, OpenID Connect Discovery).
	KeySet string `yaml:"jwks_uri"`
	// Types are the values of the header typ that are accepted: at+jwt by default (RFC 9068). "JWT" accepts older servers'.
	// An ID token of the same server has that type too; its audience is the client, and so it is refused.
	Types []string `yaml:"types"`
	// Audience is accepted in place of the resource identifier, for servers that know no RFC 8707.
	Audience string `yaml:"audience"`
	// Subject says who acts: claim client_id, as an agent, by default.
	Subject ClaimRef `yaml:"subject"`
	// OnBehalf says for whom: claim sub, as a person ("user"), by default; nobody if it equals the subject's, or if the
	// claim is "-".
	OnBehalf ClaimRef `yaml:"on_behalf"`
	// Scopes are what a token of it must have all of.
	Scopes []string `yaml:"scopes"`
	// RequireBound refuses tokens that are bound to no key.
	RequireBound bool `yaml:"require_bound"`
}

// ClaimRef makes a claim an entity.
type ClaimRef struct {
	Type   string            `yaml:"type"`
	Claim  string            `yaml:"claim"`
	Prefix string            `yaml:"prefix"` // put before the claim's value
	Names  map[string]string `yaml:"names"`  // value to id; a value that is not in it is refused
}

// Secrets is where secrets are kept, which the configuration names as secret:NAME.
type Secrets struct {
	File string `yaml:"file"`
	Key  string `yaml:"key"` // file of the key under which values are sealed
}

// ClientConfig is the gateway as an OAuth client.
type ClientConfig struct {
	// Key is the file of the key by which it authenticates (private_key_jwt).
	Key string `yaml:"key"`
	// Metadata serves a client ID metadata document, whose URL is the client_id. Needs an https public URL.
	Metadata bool   `yaml:"metadata"`
	Name     string `yaml:"name"` // shown to people
	// AllowLoopback lets the document stand at http on this host, for tests.
	AllowLoopback bool `yaml:"allow_loopback"`
}

// Health is the page for operators.
type Health struct {
	// Listen is an address of its own for /healthz, /readyz and /metrics. By default they are served by the door itself,
	// to everybody who can reach it.
	Listen string `yaml:"listen"`
}

// Limits bound a door's HTTP server.
type Limits struct {
	Header      int           `yaml:"header"`      // bytes of a request's header: 64 KiB by default
	HeaderTime  time.Duration `yaml:"header_time"` // 10s
	BodyTime    time.Duration `yaml:"body_time"`   // how long a request's body may take to arrive: 2m
	WriteTime   time.Duration `yaml:"write_time"`  // how long a client may take for 64 KiB of an answer: 1m
	IdleTime    time.Duration `yaml:"idle_time"`   // 2m
	Stop        time.Duration `yaml:"stop"`        // how long requests may take to end at the end: 10s
	Connections int           `yaml:"connections"` // open at once: 20000
	PerAddress  int           `yaml:"per_address"` // of them, of one address (IPv6: a /64): a quarter, but at least 64, by default
	TokenTime   time.Duration `yaml:"token_time"`  // how long asking for a credential may take: 10s
	Tokens      int           `yaml:"tokens"`      // credentials kept: 10000
	Proofs      int           `yaml:"proofs"`      // proofs remembered, of half a minute to a minute: 1048576, of one caller at most half of them
}

// A Credential is how the gateway shows itself to a server behind it.
type Credential struct {
	// Type is none, header, client_credentials or token_exchange. Each can be joined by a client certificate.
	Type string `yaml:"type"`

	// Header and Value: of type header. The value is secret:NAME, Prefix stands before it.
	Header string  `yaml:"header"` // Authorization by default
	Prefix *string `yaml:"prefix"` // "Bearer " by default, if Header is Authorization
	Value  string  `yaml:"value"`

	// Agent is the key file of an agent that our own service knows: tokens are got there, as that agent, and shown with
	// proofs (RFC 9449). For an exchange, the agent's passport must name it in may_act.
	Agent string `yaml:"agent"`
	// Issuer or TokenURL: where tokens are got elsewhere.
	Issuer   string `yaml:"issuer"`
	TokenURL string `yaml:"token_url"`
	// SubjectIssuers are the authorization servers whose tokens are sent there to be exchanged: Issuer alone by default, and of
	// an agent the service. Whoever is sent a token could use it where the agent can.
	SubjectIssuers []string `yaml:"subject_issuers"`
	ClientID       string   `yaml:"client_id"` // the URL of the client's metadata document by default, if there is one
	// Auth is how the gateway authenticates there: basic, post, private_key_jwt (default if the gateway has a
	// key), none, mtls.
	Auth   string `yaml:"auth"`
	Secret string `yaml:"secret"` // secret:NAME
	// Resource and Audience say what the token is for (RFC 8707; RFC 8693). One of them is needed.
	Resource string   `yaml:"resource"`
	Audience string   `yaml:"audience"`
	Scopes   []string `yaml:"scopes"`
	// Actor adds a token of the gateway's own as actor_token (RFC 8693 section 2.1), so that the chain of actors names it:
	// got by client credentials at the same server, for that audience.
	Actor string `yaml:"actor"`

	// Keep lists headers of the agent that are passed on although they usually are not: Cookie, Forwarded,
	// X-Forwarded-*. What an agent authenticates by can never be kept.
	Keep []string `yaml:"keep"`

	// Cert and Key are a client certificate for the server.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Path returns a path of the document: relative ones are relative to the document's directory.
func (c *Common) Path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}
