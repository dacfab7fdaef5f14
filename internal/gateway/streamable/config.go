package streamable

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// A Document is what an operator says of this door: mcp.yaml.
type Document struct {
	gateway.Common `yaml:",inline"`
	mcp.Options    `yaml:",inline"`

	// Endpoint is the path of the endpoint: /mcp by default.
	Endpoint string `yaml:"endpoint"`
	// Upstreams are the servers. With more than one, names are SERVER__NAME and SERVER+URI.
	Upstreams []Upstream `yaml:"upstreams"`
	// Origins are those from which pages in a browser may come, SCHEME://HOST[:PORT], beside the public URL's own.
	Origins []string `yaml:"origins"`
	Bounds  Bounds   `yaml:"bounds"`
}

// Bounds are what is kept and waited for at most; see Config.
type Bounds struct {
	Message     int           `yaml:"message"`      // bytes of a message: 4 MiB by default
	Result      int           `yaml:"result"`       // bytes of a result that must be held: 32 MiB
	Held        int           `yaml:"held"`         // bytes of results that are held for all requests together: 256 MiB
	Sessions    int           `yaml:"sessions"`     // 20000
	PerCaller   int           `yaml:"per_caller"`   // sessions of one caller: 1000
	Processes   int           `yaml:"processes"`    // 64
	SessionIdle time.Duration `yaml:"session_idle"` // 30m
	ProcessIdle time.Duration `yaml:"process_idle"` // 10m
	BodyTime    time.Duration `yaml:"body_time"`    // for a request to arrive: 30s
	CallTime    time.Duration `yaml:"call_time"`    // 30m
	HelloTime   time.Duration `yaml:"hello_time"`   // for a server to introduce itself: 10s
	ListTime    time.Duration `yaml:"list_time"`    // for a server's part in a list of several servers: 5s
}

// Check adds to ps what is wrong with d.
func (d *Document) Check(ps *gateway.Problems) {
	d.Options.Check(ps)
	if d.Endpoint == "" {
		d.Endpoint = "/mcp"
	}
	if !strings.HasPrefix(d.Endpoint, "/") || strings.ContainsAny(d.Endpoint, "{}?# ") || d.Endpoint == "/" {
		ps.Add("endpoint", "is a path such as /mcp, not %.60q", d.Endpoint)
	}
	if len(d.Upstreams) == 0 {
		ps.Add("upstreams", "there is no server behind the gateway")
	}
	names := map[string]bool{}
	for i := range d.Upstreams {
		u := &d.Upstreams[i]
		path := "upstreams[" + strconv.Itoa(i) + "]"
		if err := u.Check(); err != nil {
			ps.Add(path, "%v", err)
		}
		ps.Exposed(path+".url", u.URL, u.Insecure)
		if names[u.Name] {
			ps.Add(path+".name", "another server is called %q", u.Name)
		}
		names[u.Name] = true
		if _, ok := d.Credentials[u.Credential]; !ok && u.Credential != "" {
			ps.Add(path+".credential", "there is no credential %q", u.Credential)
		}
	}
	for i, o := range d.Origins {
		if p, err := url.Parse(o); err != nil || p.Host == "" || originOf(p) != o {
			ps.Add("origins["+strconv.Itoa(i)+"]", "is SCHEME://HOST[:PORT], not %.60q", o)
		}
	}
	b := &d.Bounds
	if min(b.Message, b.Result, b.Held, b.Sessions, b.PerCaller, b.Processes) < 0 ||
		min(b.SessionIdle, b.ProcessIdle, b.BodyTime, b.CallTime, b.HelloTime, b.ListTime) < 0 {
		ps.Add("bounds", "no bound is negative")
	}
}

// Config returns the configuration of the Door that d describes, before the gateway g.
func (d *Document) Config(g *gateway.Gateway) Config {
	ups := make([]Upstream, len(d.Upstreams))
	for i, u := range d.Upstreams {
		u.Dir = d.Path(u.Dir)
		ups[i] = u
	}
	b := d.Bounds
	return Config{
		Verify: g.Verifier.Verify, Apply: g.Credentials.Apply, Refused: g.Credentials.Refused,
		Transport: func(u Upstream) http.RoundTripper {
			if u.Credential == "" {
				return Transport(nil)
			}
			return Transport(g.Credentials.TLS(u.Credential))
		},
		Upstreams: ups, PublicURL: g.PublicURL(), Origins: d.Origins,
		MaxMessage: b.Message, MaxResult: b.Result, MaxHeld: b.Held, MaxSessions: b.Sessions, MaxPerCaller: b.PerCaller, MaxChildren: b.Processes,
		SessionIdle: b.SessionIdle, ChildIdle: b.ProcessIdle, BodyTime: b.BodyTime, CallTime: b.CallTime, HelloTime: b.HelloTime, ListTime: b.ListTime,
		Logger: g.Logger,
	}
}
