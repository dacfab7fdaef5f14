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
	Telemetry    Telemetry
	Limits       api.Limits

	// AdminToken and PEPToken are the first administrator's and the first enforcement point's
	// bearer tokens. They come from the environment, never from the file. If they are empty, and
	// no such caller exists, they are generated and shown once.
	AdminToken, PEPToken string

	file  string         // where the Config was read from
	lines map[string]int // line of each member that was set

	wrapLog func(audit.Store) audit.Store // in tests: what stands between the log and its store
}

// TLS names a certificate and its key, in PEM files. Both or neither.
type TLS struct{ Cert, Key string }

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
	lasts(&c.Log.CheckpointInterval, time.Second)
	lasts(&c.Log.Heartbeat, 10*time.Second)
	lasts(&c.Log.MaxAge, 5*time.Second)
	if c.Telemetry.Sample == 0 {
		c.Telemetry.Sample = 0.01
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
		{c.Telemetry.Endpoint != "" && !validEndpoint(c.Telemetry.Endpoint), "telemetry.endpoint", "must be an http or https URL"},
		{c.Telemetry.Sample < 0 || c.Telemetry.Sample > 1, "telemetry.sample", "must be from 0 to 1"},
		{c.Limits.Body < 0 || c.Limits.Body > 64<<20, "limits.body", "must be from 1 to 67108864"},
		{c.Limits.Object < 0 || c.Limits.Object > 192<<10, "limits.object", "must be from 1 to 196608: four of them must fit into one entry of the log"},
		{c.Limits.Depth < 0 || c.Limits.Depth > 1000, "limits.depth", "must be from 1 to 1000"},
		{c.Limits.Batch < 0 || c.Limits.Batch > 2048, "limits.batch", "must be from 1 to 2048"},
		{c.Limits.Results < 0 || c.Limits.Results > 100_000, "limits.results", "must be from 1 to 100000"},
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

func validOrigin(s string) bool {
	return s != "" && len(s) <= 200 && !strings.Contains(s, "://") && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c == '+' || c >= 0x7f
	})
}

func validFormer(l Log) bool {
	vs, err := verifiers(l.FormerKeys)
	return err == nil && !slices.ContainsFunc(vs, func(v note.Verifier) bool { return v.Name() != l.Origin })
}
