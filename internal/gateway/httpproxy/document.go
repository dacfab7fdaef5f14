package httpproxy

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/route"
)

// A Document is the configuration of the door.
type Document struct {
	gateway.Common `yaml:",inline"`

	Upstreams map[string]Server `yaml:"upstreams"`

	route.Rules `yaml:",inline"`

	table *route.Table
}

// A Server is an upstream as it is written.
type Server struct {
	URL        string `yaml:"url"`
	Credential string `yaml:"credential"` // one of credentials
	Insecure   bool   `yaml:"insecure"`   // permits http to another host; whoever is between sees the credential too
	CA         string `yaml:"ca"`         // file of certificates (PEM) that are trusted in place of the system's
	KeepHost   bool   `yaml:"keep_host"`  // pass the Host header on as the agent wrote it
	Cookies    bool   `yaml:"cookies"`    // pass Set-Cookie to the agent
}

// maxFile is how many bytes an OpenAPI document can have.
const maxFile = 8 << 20

// Load reads a document.
func Load(path string) (*Document, error) {
	d := new(Document)
	if err := gateway.Load(path, d); err != nil {
		return nil, err
	}
	if d.table == nil { // Check was not called, or there is nothing in it
		return nil, authz.Errorf(authz.ErrInvalid, "%s: there are no routes", path)
	}
	return d, nil
}

// Table returns the routes.
func (d *Document) Table() *route.Table { return d.table }

// Check adds what is wrong with the document, and makes its table.
func (d *Document) Check(ps *gateway.Problems) {
	names := slices.Sorted(maps.Keys(d.Upstreams))
	if len(names) == 0 {
		ps.Add("upstreams", "names none, so that nothing could be passed on")
	}
	for _, name := range names {
		u := d.Upstreams[name]
		if _, err := NewUpstream(name, u.URL, TLSConfig{}); err != nil {
			ps.Add("upstreams."+name+".url", "is wrong: %v", err)
		}
		ps.Exposed("upstreams."+name+".url", u.URL, u.Insecure)
		if _, ok := d.Credentials[u.Credential]; !ok && u.Credential != "" {
			ps.Add("upstreams."+name+".credential", "is wrong: there is no credential %q", u.Credential)
		}
	}
	if len(names) == 1 {
		for i := range d.Routes {
			if d.Routes[i].Upstream == "" {
				d.Routes[i].Upstream = names[0]
			}
		}
		for i := range d.OpenAPI {
			if d.OpenAPI[i].Upstream == "" {
				d.OpenAPI[i].Upstream = names[0]
			}
		}
	}
	if len(d.Routes)+len(d.OpenAPI) == 0 {
		ps.Add("routes", "names none, so that everything would be refused")
		return
	}
	known := func(path, name string) {
		if _, ok := d.Upstreams[name]; !ok {
			ps.Add(path+".upstream", "is wrong: there is no upstream %q", name)
		}
	}
	for i := range d.Routes {
		known("routes["+strconv.Itoa(i)+"]", d.Routes[i].Upstream)
	}
	for i := range d.OpenAPI {
		known("openapi["+strconv.Itoa(i)+"]", d.OpenAPI[i].Upstream)
	}
	t, problems := d.Compile(d.open)
	for _, p := range problems {
		ps.Add(p.Path, "is wrong: %s", p.Message)
	}
	d.table = t
}

// open reads a file that the document names.
func (d *Document) open(name string) ([]byte, error) {
	f, err := os.Open(d.Path(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", name, maxFile)
	}
	return text, err
}

// FailOpen returns the names of the routes that allow what cannot be decided.
func (d *Document) FailOpen() []string {
	var names []string
	for _, r := range d.table.Routes() {
		if r.OnUnavailable == "allow" {
			names = append(names, r.Name)
		}
	}
	return names
}

// Open makes the gateway and the proxy of a document. It starts nothing.
func (d *Document) Open(ctx context.Context, o gateway.Options) (*gateway.Gateway, *Proxy, error) {
	o.Door, o.FailOpen = "http", d.FailOpen()
	g, err := gateway.Open(ctx, &d.Common, o)
	if err != nil {
		return nil, nil, err
	}
	ups := map[string]*Upstream{}
	for name, s := range d.Upstreams {
		t := TLSConfig{Certificate: g.Credentials.TLS(s.Credential)}
		if s.CA != "" {
			pem, err := os.ReadFile(d.Path(s.CA))
			if err != nil {
				return nil, nil, authz.Errorf(authz.ErrInvalid, "upstream %s: %w", name, err)
			}
			if t.Roots = x509.NewCertPool(); !t.Roots.AppendCertsFromPEM(pem) {
				return nil, nil, authz.Errorf(authz.ErrInvalid, "upstream %s: %s has no certificate", name, s.CA)
			}
		}
		u, err := NewUpstream(name, s.URL, t)
		if err != nil {
			return nil, nil, err
		}
		u.Credential, u.KeepHost, u.Cookies = s.Credential, s.KeepHost, s.Cookies
		ups[name] = u
	}
	g.Watch(func() []gateway.Server {
		var out []gateway.Server
		for name, u := range ups {
			s := gateway.Server{Name: name, OK: true}
			if since := u.failed.Load(); since != nil {
				s.OK, s.Since = false, *since
			}
			out = append(out, s)
		}
		return out
	})
	p, err := New(Config{
		Gate: Of(g), Enforcer: g.Enforcer, Client: g.Client, Table: d.table, Upstreams: ups, Logger: g.Logger, Realm: g.Realm(""),
		Public: g.PublicURL, BodyTime: d.Limits.BodyTime,
		Stopping: g.Stopping(), Observe: g.Metrics.Requested,
	})
	return g, p, err
}
