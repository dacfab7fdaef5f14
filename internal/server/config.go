package server

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/keyring"
	"github.com/safeconduct/safeconduct/internal/people"
	"github.com/safeconduct/safeconduct/internal/signin"
)

// A Config is everything that can be set. Its zero value serves on loopback with a SQLite database
// in Data, which Default fills in.
type Config struct {
	// Listen is the address to listen on, 127.0.0.1:8180 by default. Port 0 takes a free one.
	// Without TLS, an address that others can reach sends bearer tokens in the clear.
	Listen string

	// PublicURL is the address under which enforcement points know the service; by default it is
	// made of Listen. Metadata is made of it alone, never of what a request says.
	PublicURL string

	// Data is the directory of the database, the log's key, and a lock that keeps a second
	// process out. By default it lies under the user's state directory.
	Data string

	// Postgres is a connection string. If it is set, the database is there, and Data holds only
	// the log's key, which all replicas must share.
	Postgres string

	TLS          TLS
	Organisation Organisation
	Log          Log
	OAuth        OAuth
	Keys         Keys
	SignIn       SignIn
	Notify       Notify
	Stops        Stops
	Telemetry    Telemetry
	Limits       api.Limits

	// AdminToken and PEPToken are the first administrator's and the first enforcement point's
	// bearer tokens. They come from the environment, never from the file. If they are empty, and
	// no such caller exists, they are generated and shown once.
	AdminToken, PEPToken string

	file  string         // where the Config was read from
	lines map[string]int // line of each member that was set

	wrapLog func(audit.Store) audit.Store // in tests: what stands between the log and its store
	now     func() time.Time              // in tests: the service's clock
}

// TLS names a certificate and its key, in PEM files. Both or neither.
type TLS struct {
	Cert, Key string

	// ClientCertificates asks clients for a certificate, by which agents may authenticate (RFC 8705).
	// Browsers then ask their users which one to show.
	ClientCertificates bool
}

// OAuth configures the authorization server.
type OAuth struct {
	// Audiences are the resource servers, as absolute URLs, that passports may be issued for besides
	// the service itself.
	Audiences []string
	// Lifetime of passports, 5 minutes by default and at most.
	Lifetime time.Duration
	// Depth is how often a passport may be delegated: 4 by default, at most 8.
	Depth int
	// Algorithm signs passports: EdDSA by default, or ES256.
	Algorithm string
	// TokenURLAudience accepts the token endpoint's URL as the audience of client assertions, which
	// lets another server's operator impersonate a client that is talked into using that server.
	TokenURLAudience bool
	// AllowBearer issues passports that are bound to no key. Whoever steals one can use it.
	AllowBearer bool
	// Documents accepts client ID metadata documents that an administrator has linked to an agent.
	Documents bool
	// Registration opens dynamic client registration to holders of an enrolment token.
	Registration bool
	// Workloads is the file that names trusted workload issuers and SPIFFE trust domains.
	Workloads string
	// KeyLifetime is how long an agent's key counts after its registration, 90 days by default.
	KeyLifetime time.Duration
	// KeyOverlap is how long a key counts after it was rotated, an hour by default.
	KeyOverlap time.Duration
}

// SignIn configures how persons sign in who answer what agents ask. Without Issuer, by passkeys alone.
type SignIn struct {
	// Issuer is the organisation's identity provider (OpenID Connect), an https URL.
	Issuer string
	// Name is what the page calls it.
	Name string
	// ClientID and the file of the secret are those of this service at the provider. Without a secret it
	// is a public client; PKCE is used always.
	ClientID, ClientSecretFile string
	// Scopes are asked for besides openid: profile and email by default.
	Scopes []string
	// Claims are those of the ID token that groups of approvers may ask for: groups by default.
	Claims []string
	// Provision makes a person of whoever signs in at the provider; otherwise an administrator must have
	// put them.
	Provision bool
	// Session is how long a person stays signed in at most, and Idle for how long in a browser where nobody is.
	Session, Idle time.Duration
	// Roles are given by the provider, beside those that administrators set: each is ROLE/CLAIM=VALUE, such as
	// operator/groups=agent-operations. Danger: whoever can set the claim at the provider gives the role.
	Roles []string
}

// Stops configures the kill switch.
type Stops struct {
	// SecondPerson is whether a stop is lifted by somebody else than who put it. Whoever puts one then needs
	// another to undo a mistake.
	SecondPerson bool
}

// Notify configures who is told of what agents ask.
type Notify struct {
	// Channels is the file that names channels, evaluators and callbacks, and their secrets.
	Channels string
}

// Keys configures the keys that sign passports and status lists.
type Keys struct {
	// Seal is the file of the key that seals the others at rest; seal.key in Data by default. It is made
	// at the first start. Replicas must share it.
	Seal string
	// SealText is that key itself; it comes from the environment, never from the file.
	SealText string
	// Former are files of keys that sealed earlier.
	Former []string
	// KMS names a key management service. With KMSKey, an RSA key in it, the file of Seal holds the
	// key encrypted to that one.
	KMS, KMSKey string
	// Slots are the uses and algorithms that always have a signing key, the preferred one of a use
	// first: token/EdDSA, token/ES256 and status/EdDSA by default.
	Slots []string
	// External are slots whose signing keys are in the key management service: USE/ALGORITHM=KEY.
	External []string
	// Publish, Active and VerifyOnly are the periods of a signing key.
	Publish, Active, VerifyOnly time.Duration
	// ReplaceLost makes new signing keys in place of those that cannot be opened. For one start.
	ReplaceLost bool
}

// Organisation names the files that declare it. Paths are relative to the configuration's file. At
// start, what differs from the active version is published, as author "config".
type Organisation struct {
	Catalog  string
	Schema   string
	Policies []string // patterns, as path/filepath.Glob has them
	Agents   string
	GeoIP    string // a MaxMind database of countries
}

// Log configures the audit log.
type Log struct {
	// Origin names the log in its checkpoints, host and path without a scheme. It is part of the
	// key that is made at the first start; changing it later is refused.
	Origin string
	// Key is the file of the signing key, Data/log.key by default. It is made if it is missing and the
	// log is empty. Replicas must share it.
	Key string
	// FormerKeys are the public halves of keys that signed for this log before Key. They are believed
	// as Key is; if they are named and Key is missing, a new one is made.
	FormerKeys []string
	// CheckpointInterval is how often a checkpoint is signed while the log grows; 1 s by default.
	CheckpointInterval time.Duration
	// Heartbeat is how long the log is silent before it says so; 10 s by default.
	Heartbeat time.Duration
	// MaxAge is how old what this process knows may be before it refuses to decide; 5 s by default.
	MaxAge time.Duration
}

// Telemetry configures traces. Nothing is sent unless Endpoint is set.
type Telemetry struct {
	Endpoint string  // of OTLP over HTTP, http://host:4318
	Sample   float64 // share of the requests that are traced, 0 to 1; 0.01 by default
}

// Default returns the configuration that serves without a file. Where the user has no home, Data is
// empty, and must be set.
func Default() Config {
	c := Config{Data: defaultData()}
	c.fill()
	return c
}

// defaultData returns the service's directory under the user's state directory, "" if there is none.
func defaultData() string {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "safeconduct")
}

// fill sets what was left out.
func (c *Config) fill() {
	def := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	lasts := func(p *time.Duration, d time.Duration) {
		if *p == 0 {
			*p = d
		}
	}
	def(&c.Listen, "127.0.0.1:8180")
	def(&c.Log.Origin, "safeconduct.local/log")
	if c.Data != "" {
		def(&c.Log.Key, filepath.Join(c.Data, "log.key"))
	}
	def(&c.OAuth.Algorithm, "EdDSA")
	lasts(&c.OAuth.Lifetime, 5*time.Minute)
	lasts(&c.OAuth.KeyLifetime, 90*24*time.Hour)
	lasts(&c.OAuth.KeyOverlap, time.Hour)
	if c.OAuth.Depth == 0 {
		c.OAuth.Depth = 4
	}
	lasts(&c.Keys.Publish, 24*time.Hour)
	lasts(&c.Keys.Active, 30*24*time.Hour)
	lasts(&c.Keys.VerifyOnly, time.Hour)
	lasts(&c.Log.CheckpointInterval, time.Second)
	lasts(&c.Log.Heartbeat, 10*time.Second)
	lasts(&c.Log.MaxAge, 5*time.Second)
	if c.Telemetry.Sample == 0 {
		c.Telemetry.Sample = 0.01
	}
	if c.now == nil {
		c.now = time.Now
	}
}

// Validate returns a *Problems with everything that is wrong with c, or nil.
func (c *Config) Validate() error {
	ps := c.problems()
	if c.Data == "" {
		ps.add(c.line("data"), "data must name a directory (--data): there is no home directory to make one in")
	}
	return ps.err()
}

// problems returns what is wrong with c, but for a directory that may still be named.
func (c *Config) problems() *Problems {
	ps := &Problems{file: c.file}
	for _, check := range []struct {
		bad  bool
		path string
		msg  string
	}{
		{!validListen(c.Listen), "listen", "must be HOST:PORT or :PORT, with a port from 0 to 65535"},
		{c.PublicURL != "" && !validURL(c.PublicURL), "public_url", "must be an absolute https URL without query or fragment (http only on loopback)"},
		{c.Postgres != "" && !strings.Contains(c.Postgres, "://") && !strings.Contains(c.Postgres, "="), "postgres", "must be a connection string: postgres://user@host/name, or key=value pairs"},
		{(c.TLS.Cert == "") != (c.TLS.Key == ""), "tls", "needs both cert and key"},
		{len(c.Organisation.Policies) > 0 && c.Organisation.Schema == "", "organisation.schema", "is needed beside policies"},
		{len(c.Organisation.Policies) > 0 && c.Organisation.Catalog == "", "organisation.catalog", "is needed beside policies"},
		{c.Organisation.Schema != "" && len(c.Organisation.Policies) == 0, "organisation.policies", "are needed beside a schema"},
		{!validOrigin(c.Log.Origin), "log.origin", "must be a host and a path without a scheme, blanks or '+': example.com/log"},
		{!validFormer(c.Log), "log.former_keys", "must be verifier keys of this log's origin: origin+hash+key"},
		{c.Log.CheckpointInterval < 100*time.Millisecond || c.Log.CheckpointInterval > time.Hour, "log.checkpoint_interval", "must be from 100ms to 1h"},
		{c.Log.Heartbeat < time.Second || c.Log.Heartbeat > time.Hour, "log.heartbeat", "must be from 1s to 1h"},
		{c.Log.MaxAge < time.Second || c.Log.MaxAge > time.Hour, "log.max_age", "must be from 1s to 1h"},
		{c.TLS.ClientCertificates && c.TLS.Cert == "", "tls.client_certificates", "needs tls.cert and tls.key: without TLS there are no client certificates"},
		{slices.ContainsFunc(c.OAuth.Audiences, func(a string) bool { return !validAudience(a) }), "oauth.audiences", "must be absolute URLs without fragment"},
		{c.OAuth.Lifetime < 10*time.Second || c.OAuth.Lifetime > 5*time.Minute, "oauth.lifetime", "must be from 10s to 5m"},
		{c.OAuth.Depth < 1 || c.OAuth.Depth > 8, "oauth.depth", "must be from 1 to 8"},
		{c.OAuth.Algorithm != "EdDSA" && c.OAuth.Algorithm != "ES256", "oauth.algorithm", "must be EdDSA or ES256"},
		{c.OAuth.KeyLifetime < time.Hour || c.OAuth.KeyLifetime > 10*365*24*time.Hour, "oauth.key_lifetime", "must be from 1h to 87600h"},
		{c.OAuth.KeyOverlap < time.Second || c.OAuth.KeyOverlap > 30*24*time.Hour, "oauth.key_overlap", "must be from 1s to 720h"},
		{c.Keys.KMS == "" && c.Keys.KMSKey != "", "keys.kms_key", "needs keys.kms"},
		{c.Keys.KMS == "" && len(c.Keys.External) > 0, "keys.external", "needs keys.kms"},
		{slices.ContainsFunc(c.Keys.External, func(e string) bool { _, err := keyring.ParseExternal(c.Keys.KMS, e); return err != nil }), "keys.external", "must be USE/ALGORITHM=KEY, such as token/ES256=pkcs11:id={id};object=safeconduct-{id}"},
		{slices.ContainsFunc(c.Keys.Slots, func(e string) bool { _, err := keyring.ParseSlot(e); return err != nil }), "keys.slots", "must be USE/ALGORITHM: token or status, EdDSA or ES256"},
		{c.Keys.Publish < time.Minute || c.Keys.Publish > 30*24*time.Hour, "keys.publish", "must be from 1m to 720h"},
		{c.Keys.Active < time.Hour || c.Keys.Active > 10*365*24*time.Hour, "keys.active", "must be from 1h to 87600h"},
		{c.Keys.VerifyOnly < 10*time.Minute || c.Keys.VerifyOnly > 30*24*time.Hour, "keys.verify_only", "must be from 10m to 720h"},
		{c.SignIn.Issuer != "" && !validURL(c.SignIn.Issuer), "sign_in.issuer", "must be an absolute https URL without query or fragment (http only on loopback)"},
		{c.SignIn.Issuer != "" && c.SignIn.ClientID == "", "sign_in.client_id", "is needed beside sign_in.issuer"},
		{c.SignIn.Issuer == "" && (c.SignIn.ClientID != "" || c.SignIn.ClientSecretFile != "" || c.SignIn.Provision), "sign_in.issuer", "is needed beside the other settings of an identity provider"},
		{c.SignIn.Issuer == "" && len(c.SignIn.Roles) > 0, "sign_in.roles", "needs sign_in.issuer: the identity provider gives them"},
		{slices.ContainsFunc(c.SignIn.Roles, func(g string) bool { _, err := signin.ParseGrant(g); return err != nil }), "sign_in.roles", "must be ROLE/CLAIM=VALUE, such as operator/groups=agent-operations; the role is one of administrator, auditor, operator, author, viewer, approver"},
		{c.SignIn.Idle != 0 && (c.SignIn.Idle < time.Minute || c.SignIn.Idle > people.MaxSession), "sign_in.idle", "must be from 1m to 24h"},
		{c.SignIn.Session != 0 && (c.SignIn.Session < time.Minute || c.SignIn.Session > people.MaxSession), "sign_in.session", "must be from 1m to 24h"},
		{c.Telemetry.Endpoint != "" && !validEndpoint(c.Telemetry.Endpoint), "telemetry.endpoint", "must be an http or https URL"},
		{c.Telemetry.Sample < 0 || c.Telemetry.Sample > 1, "telemetry.sample", "must be from 0 to 1"},
		{c.Limits.Body < 0 || c.Limits.Body > 64<<20, "limits.body", "must be from 1 to 67108864"},
		{c.Limits.Object < 0 || c.Limits.Object > 192<<10, "limits.object", "must be from 1 to 196608: four of them must fit into one entry of the log"},
		{c.Limits.Depth < 0 || c.Limits.Depth > 1000, "limits.depth", "must be from 1 to 1000"},
		{c.Limits.Batch < 0 || c.Limits.Batch > 2048, "limits.batch", "must be from 1 to 2048"},
		{c.Limits.Results < 0 || c.Limits.Results > 100_000, "limits.results", "must be from 1 to 100000"},
		{c.Limits.Feeds < 0 || c.Limits.Feeds > 100_000, "limits.feeds", "must be from 1 to 100000"},
		{c.Limits.FeedsEach < 0 || c.Limits.FeedsEach > 10_000, "limits.feeds_per_caller", "must be from 1 to 10000"},
		{c.AdminToken != "" && (len(c.AdminToken) < 20 || len(c.AdminToken) > 200), "SAFECONDUCT_ADMIN_TOKEN", "must have 20 to 200 characters"},
		{c.PEPToken != "" && (len(c.PEPToken) < 20 || len(c.PEPToken) > 200), "SAFECONDUCT_PEP_TOKEN", "must have 20 to 200 characters"},
		{c.AdminToken != "" && c.AdminToken == c.PEPToken, "SAFECONDUCT_PEP_TOKEN", "must differ from SAFECONDUCT_ADMIN_TOKEN"},
	} {
		if check.bad {
			ps.add(c.line(check.path), "%s %s", check.path, check.msg)
		}
	}
	return ps
}

// line returns the line on which a member, or the nearest one around it, was set; 0 if none was.
func (c *Config) line(path string) int {
	for {
		if n, ok := c.lines[path]; ok {
			return n
		}
		i := strings.LastIndexByte(path, '.')
		if i < 0 {
			return 0
		}
		path = path[:i]
	}
}

func validListen(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = net.LookupPort("tcp", port)
	return err == nil
}

func validURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname())
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func validEndpoint(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

func validAudience(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.IsAbs() && u.Fragment == "" && u.User == nil && len(s) <= 1024
}

func validOrigin(s string) bool {
	return s != "" && len(s) <= 200 && !strings.Contains(s, "://") && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c == '+' || c >= 0x7f
	})
}

func validFormer(l Log) bool {
	vs, err := verifiers(l.FormerKeys)
	return err == nil && !slices.ContainsFunc(vs, func(v note.Verifier) bool { return v.Name() != l.Origin })
}
