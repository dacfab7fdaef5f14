package streamable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// A Door is a gateway's MCP endpoint before many servers. New makes one, Serve gives its handler, Run does what goes on
// in the background.
type Door struct {
	cfg     Config
	ups     []*upstream
	info    json.RawMessage // the gateway itself, as an implementation
	origins []string
	host    string // that the public URL names

	held held

	mu        sync.Mutex
	sessions  map[string]*session // by label
	bridges   map[string]*session // by Who.Key
	perCaller map[string]int      // sessions by Who.Key
	children  map[childKey]*child
	judges    []Gate    // that Serve was given
	asked     time.Time // when Fetch last asked the servers, or it was last said that what it got is old
	stopped   bool

	stop   context.Context //nolint:containedctx // ends what spawn started
	cancel context.CancelFunc
	group  sync.WaitGroup
	gate   sync.Mutex // of group, once gone
	gone   bool
}

// Config is what a Door needs.
type Config struct {
	// Verify says who sent a request. The error is a *gateway.Challenge, or it is answered by 401.
	Verify func(*http.Request) (*gateway.Who, error)
	// Apply puts the named credential into a request that goes to a server, in the place of what the agent showed.
	Apply func(ctx context.Context, credential string, w *gateway.Who, r *http.Request) error
	// Refused says that a server answered 401, and reports whether to try once more. May be nil.
	Refused func(credential string, w *gateway.Who, resp *http.Response) bool
	// Secret returns the value of a secret by name, for the environment of children. May be nil if none is named.
	Secret func(name string) (string, error)
	// Transport makes the connections to a server. By default, one that follows no proxy and no redirect.
	Transport func(Upstream) http.RoundTripper

	Upstreams []Upstream
	PublicURL string   // by which agents reach the gateway; its origin is one from which pages may come
	Origins   []string // further ones: SCHEME://HOST[:PORT]
	Version   string   // of this program

	MaxMessage   int           // bytes of a message that is held: 4 MiB by default
	MaxResult    int           // bytes of a result that is held because it must be whole: 32 MiB
	MaxHeld      int           // bytes of results that are held for all requests together: 256 MiB
	MaxSessions  int           // 20000
	MaxPerCaller int           // sessions of one caller: 1000
	MaxChildren  int           // processes: 64
	SessionIdle  time.Duration // after which a session ends: 30m
	ChildIdle    time.Duration // after which a process ends: 10m
	BodyTime     time.Duration // for the body of a request to arrive: 30s
	CallTime     time.Duration // for a call: 30m
	HelloTime    time.Duration // for a server to introduce itself: 10s
	ListTime     time.Duration // for a server's part in a list of several servers: 5s
	WriteTime    time.Duration // for a client to take a piece of an answer: 60s
	Beat         time.Duration // between signs of life on a silent stream: 15s
	ToolsKept    time.Duration // after which servers are asked for their tools again before a call: 5m

	Logger *slog.Logger
	Now    func() time.Time
}

// An Upstream is one server behind the gateway: a URL or a command.
type Upstream struct {
	// Name keeps its tools apart: lower case letters, digits, - and single _, at most 32.
	Name string `yaml:"name"`
	// URL is its endpoint for streamable HTTP.
	URL string `yaml:"url"`
	// Credential names the gateway's credential for it; none by default.
	Credential string `yaml:"credential"`
	// Insecure permits http to another host; whoever is between sees the credential and all else.
	Insecure bool `yaml:"insecure"`
	// Command starts it, with its arguments. Each caller gets a process of its own.
	Command []string `yaml:"command"`
	// Env is its environment, beside PATH, HOME, LANG, TMPDIR and TZ. Values may be secret:NAME.
	Env map[string]string `yaml:"env"`
	// Dir is its working directory; the gateway's by default.
	Dir string `yaml:"dir"`
	// Revision pins the revision of the protocol: 2026-07-28, 2025-11-25; by default, the server is asked.
	Revision string `yaml:"revision"`

	index int
}

// A Gate judges what clients ask: *mcp.Gate.
type Gate interface {
	Admit(ctx context.Context, p *mcp.Peer, f *mcp.Frame) *mcp.Passage
	Learn(f *mcp.Frame)
	Stale() // the tools of a server may be others now
}

var (
	errEnded     = errors.New("the session has ended")
	errReplaced  = errors.New("another stream of the session was opened")
	errCancelled = errors.New("the client has cancelled the request")
	errExpired   = errors.New("the token has expired")
)

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

var upstreamName = regexp.MustCompile(`^[a-z0-9]+([_-][a-z0-9]+)*$`)

// New returns a Door. authz.ErrInvalid: what is wrong with the configuration.
func New(cfg Config) (*Door, error) {
	defaults(&cfg)
	d := &Door{
		cfg: cfg, sessions: make(map[string]*session), bridges: make(map[string]*session),
		perCaller: make(map[string]int), children: make(map[childKey]*child), origins: cfg.Origins,
	}
	d.held.max = int64(cfg.MaxHeld)
	d.stop, d.cancel = context.WithCancel(context.Background())
	d.info = set(set(nil, "version", quote(cfg.Version)), "name", quote("safeconduct"))
	if cfg.PublicURL != "" {
		u, err := url.Parse(cfg.PublicURL)
		if err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "public URL: %v", err)
		}
		d.origins = append(d.origins, originOf(u))
		d.host = u.Hostname()
	}
	if len(cfg.Upstreams) == 0 {
		return nil, authz.Errorf(authz.ErrInvalid, "there is no server behind the gateway: upstreams is empty")
	}
	for i, u := range cfg.Upstreams {
		if err := u.Check(); err != nil {
			return nil, err
		}
		for _, other := range d.ups {
			if other.Name == u.Name {
				return nil, authz.Errorf(authz.ErrInvalid, "two servers are called %q", u.Name)
			}
		}
		up := &upstream{Upstream: u}
		up.index = i
		if u.URL != "" {
			up.url, _ = url.Parse(u.URL)
			up.http = cfg.Transport(u)
		}
		d.ups = append(d.ups, up)
	}
	return d, nil
}

// Check returns what is wrong with u, as authz.ErrInvalid.
func (u *Upstream) Check() error {
	if !upstreamName.MatchString(u.Name) || len(u.Name) > 32 {
		return authz.Errorf(authz.ErrInvalid, "%q is no name of a server: lower case letters and digits, joined by single - or _, at most 32", u.Name)
	}
	if (u.URL == "") == (len(u.Command) == 0) {
		return authz.Errorf(authz.ErrInvalid, "server %q needs a url or a command, and not both", u.Name)
	}
	if u.URL != "" {
		p, err := url.Parse(u.URL)
		if err != nil || p.Scheme != "http" && p.Scheme != "https" || p.Host == "" || p.User != nil || p.Fragment != "" {
			return authz.Errorf(authz.ErrInvalid, "server %q: %q is no http or https URL, without user and fragment", u.Name, u.URL)
		}
	} else if u.Credential != "" {
		return authz.Errorf(authz.ErrInvalid, "server %q is a command: secrets go into its env, not into a credential", u.Name)
	}
	switch u.Revision {
	case "", v2026, v2025:
		return nil
	}
	return authz.Errorf(authz.ErrInvalid, "server %q: revision %q is neither %s nor %s", u.Name, u.Revision, v2026, v2025)
}

func defaults(c *Config) {
	def := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	long := func(t *time.Duration, v time.Duration) {
		if *t == 0 {
			*t = v
		}
	}
	def(&c.MaxMessage, 4<<20)
	def(&c.MaxResult, 32<<20)
	def(&c.MaxHeld, max(256<<20, c.MaxResult))
	def(&c.MaxSessions, 20000)
	def(&c.MaxPerCaller, 1000)
	def(&c.MaxChildren, 64)
	long(&c.SessionIdle, 30*time.Minute)
	long(&c.ChildIdle, 10*time.Minute)
	long(&c.BodyTime, 30*time.Second)
	long(&c.CallTime, 30*time.Minute)
	long(&c.HelloTime, 10*time.Second)
	long(&c.ListTime, 5*time.Second)
	long(&c.WriteTime, time.Minute)
	long(&c.Beat, 15*time.Second)
	long(&c.ToolsKept, 5*time.Minute)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	if c.Transport == nil {
		c.Transport = func(Upstream) http.RoundTripper { return Transport(nil) }
	}
}

// Run ends sessions and processes that nobody uses, until ctx ends; then all of them.
func (d *Door) Run(ctx context.Context) error {
	tick := time.NewTicker(min(d.cfg.SessionIdle, d.cfg.ChildIdle, time.Minute) / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.sweep(ctx)
			d.sweepChildren()
		case <-ctx.Done():
			d.Close()
			return nil
		}
	}
}

// Close ends every session and process, and waits for them.
func (d *Door) Close() {
	d.mu.Lock()
	d.stopped = true
	var all []*session
	for _, m := range []map[string]*session{d.sessions, d.bridges} {
		for _, s := range m {
			all = append(all, s)
		}
	}
	d.mu.Unlock()
	for _, s := range all {
		d.end(context.Background(), s)
	}
	d.endChildren()
	d.cancel()
	d.gate.Lock()
	d.gone = true
	d.gate.Unlock()
	d.group.Wait()
	for _, u := range d.ups {
		if t, ok := u.http.(interface{ CloseIdleConnections() }); ok {
			t.CloseIdleConnections()
		}
	}
}

// spawn runs f beside the request; Close waits for it. After Close nothing is run.
func (d *Door) spawn(f func(stop context.Context)) {
	d.gate.Lock()
	defer d.gate.Unlock()
	if !d.gone {
		d.group.Go(func() { f(d.stop) })
	}
}

const toolsChanged = "notifications/tools/list_changed"

// overhear looks at what a server says before it goes on, or nowhere: after its tools have changed, no call is decided on what it
// said of them before.
func (d *Door) overhear(u *upstream, f *mcp.Frame) {
	if f.Method == toolsChanged {
		u.changed()
		d.stale(0)
	}
	if params, clean := withoutOurs(f.Params); !clean {
		d.cfg.Logger.Warn("what only the gateway says was taken out of a server's message", "server", u.Name, "method", f.Method)
		f.Params = params
	}
}

// withoutOurs returns params without what only the gateway says, and whether nothing had to be taken out.
func withoutOurs(params json.RawMessage) (json.RawMessage, bool) {
	clean := true
	walk(params, func(name string) bool { return name == "_meta" }, func(_ string, meta json.RawMessage) {
		each(meta, func(name string, _ json.RawMessage) { clean = clean && !ours(name) })
	})
	if clean {
		return params, true
	}
	return edit(params, func(meta json.RawMessage) json.RawMessage {
		out := json.RawMessage("{}")
		each(meta, func(name string, v json.RawMessage) {
			if !ours(name) {
				out = set(out, name, v)
			}
		})
		return out
	}, "_meta"), false
}

// stale says that the tools of servers may be others now, if what is known of them is older than that.
func (d *Door) stale(older time.Duration) {
	now := d.cfg.Now()
	d.mu.Lock()
	old := older == 0 || !d.asked.IsZero() && now.Sub(d.asked) > older
	if old {
		d.asked = now
	}
	judges := d.judges
	d.mu.Unlock()
	if old {
		for _, g := range judges {
			g.Stale()
		}
	}
}

// A Condition is how a server behind the gateway is.
type Condition struct {
	Name  string    `json:"name"`
	OK    bool      `json:"ok"` // it last answered, or was not asked yet
	Since time.Time `json:"since"`
	Error string    `json:"error,omitempty"`
}

// Health returns how the servers behind the gateway are.
func (d *Door) Health() []Condition {
	var out []Condition
	for _, u := range d.ups {
		u.mu.Lock()
		c := Condition{Name: u.Name, OK: u.failed == nil, Since: u.since}
		if u.failed != nil {
			c.Error = fmt.Sprintf("server %q does not answer", u.Name)
		}
		u.mu.Unlock()
		out = append(out, c)
	}
	return out
}

// Counts are how many sessions and processes there are.
func (d *Door) Counts() (sessions, children int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.sessions) + len(d.bridges), len(d.children)
}
