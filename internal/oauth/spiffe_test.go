package oauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/outbound"
)

// A trust is a trust domain that makes SVIDs, with go-spiffe and go-jose.
type trust struct {
	t      testing.TB
	td     spiffeid.TrustDomain
	ca     tls.Certificate
	jwtKey *ecdsa.PrivateKey
	kid    string
	bundle *spiffebundle.Bundle
}

func newTrust(t testing.TB, name, kid string) *trust {
	t.Helper()
	p := &trust{t: t, td: spiffeid.RequireTrustDomainFromString(name), kid: kid, jwtKey: p256(t)}
	p.ca = certify(t, p256(t), &x509.Certificate{
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, URIs: []*url.URL{p.td.ID().URL()},
	}, nil)
	p.bundle = spiffebundle.New(p.td)
	p.bundle.AddX509Authority(p.ca.Leaf)
	if err := p.bundle.AddJWTAuthority(kid, p.jwtKey.Public()); err != nil {
		t.Fatal(err)
	}
	return p
}

func p256(t testing.TB) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// save writes the bundle into a file.
func (p *trust) save(path string) {
	p.t.Helper()
	b, err := p.bundle.Marshal()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// jwt returns a JWT-SVID.
func (p *trust) jwt(path string, aud []string, expires time.Time) string {
	p.t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.jwtKey, KeyID: p.kid}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		p.t.Fatal(err)
	}
	text, err := jwt.Signed(s).Claims(jwt.Claims{
		Subject: p.td.IDString() + path, Audience: aud, Expiry: jwt.NewNumericDate(expires), IssuedAt: jwt.NewNumericDate(time.Now()),
	}).Serialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

// x509 returns an X.509-SVID.
func (p *trust) x509(path string, edit func(*x509.Certificate)) tls.Certificate {
	p.t.Helper()
	u, err := url.Parse(p.td.IDString() + path)
	if err != nil {
		p.t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{u},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if edit != nil {
		edit(tmpl)
	}
	return certify(p.t, p256(p.t), tmpl, &p.ca)
}

// paths map SPIFFE IDs to agents in the tests.
var paths = []oauth.SPIFFEPath{
	{Path: "/ns/shop/sa/orders", Agent: "orders"},
	{Path: "/ns/*/sa/batch", Agent: "batch"},
	{Path: "/agent/{agent}"},
}

// spiffeDesk is a desk that trusts example.org by a file.
func spiffeDesk(t testing.TB, p *trust) (*desk, string) {
	file := filepath.Join(t.TempDir(), "bundle.json")
	p.save(file)
	d := newDesk(t, func(_ *desk, c *oauth.Config) {
		c.Clients.Certificates = true
		c.Clients.SPIFFE = []oauth.TrustDomain{{Name: "example.org", BundleFile: file, Paths: paths}}
	})
	for _, id := range []string{"orders", "batch", "a1", "suspended"} {
		d.book.set(id, authz.AgentActive)
	}
	d.book.set("suspended", authz.AgentSuspended)
	return d, file
}

const jwtSPIFFE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"

func (d *desk) svid(text string, more ...string) who {
	d.t.Helper()
	form := url.Values{"client_assertion_type": {jwtSPIFFE}, "client_assertion": {text}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return d.post("/authenticate", form)
}

func TestJWTSVID(t *testing.T) {
	p := newTrust(t, "example.org", "k1")
	d, _ := spiffeDesk(t, p)
	aud, soon := []string{deskIssuer}, time.Now().Add(5*time.Minute)
	for path, want := range map[string]string{"/ns/shop/sa/orders": "orders", "/ns/night/sa/batch": "batch", "/agent/a1": "a1"} {
		text := p.jwt(path, aud, soon)
		wantClient(t, d.svid(text), want, want, "spiffe_jwt")
		wantClient(t, d.svid(text, "client_id", want), want, want, "spiffe_jwt")
		wantClient(t, d.svid(text, "client_id", "spiffe://example.org"+path), want, want, "spiffe_jwt")
		wantClient(t, d.assert(text), want, want, "spiffe_jwt") // with the type of RFC 7523
		wantClient(t, d.post("/workload", url.Values{"assertion": {text}}), want, want, "spiffe_jwt")
	}
	if got, want := d.server.Methods(), []string{"private_key_jwt", "spiffe_jwt", "self_signed_tls_client_auth", "spiffe_x509"}; !slices.Equal(got, want) {
		t.Errorf("methods = %q, want %q", got, want)
	}
}

func TestJWTSVIDRefused(t *testing.T) {
	p, foreign := newTrust(t, "example.org", "k1"), newTrust(t, "foreign.example", "k1")
	impostor := newTrust(t, "example.org", "k1") // of the same name, with other keys
	d, _ := spiffeDesk(t, p)
	aud, soon := []string{deskIssuer}, time.Now().Add(5*time.Minute)
	const failed = "client authentication failed"
	other := newTrust(t, "example.org", "k2")
	for _, tt := range []struct{ name, text, id, want string }{
		{"not a JWT", "x", "", "cannot be read"},
		{"too long", strings.Repeat("x", 9000), "", "cannot be read"},
		{"audience of another", p.jwt("/agent/a1", []string{"https://other.example"}, soon), "", "not for"},
		{"two audiences", p.jwt("/agent/a1", []string{deskIssuer, "https://other.example"}, soon), "", "nothing else"},
		{"no audience", p.jwt("/agent/a1", nil, soon), "", "not for"},
		{"expired", p.jwt("/agent/a1", aud, time.Now().Add(-time.Second)), "", "has expired"},
		{"expires too far ahead", p.jwt("/agent/a1", aud, time.Now().Add(2*time.Hour)), "", "too far ahead"},
		{"trust domain that is not trusted", foreign.jwt("/agent/a1", aud, soon), "", "not trusted"},
		{"bad signature", flip(p.jwt("/agent/a1", aud, soon)), "", failed},
		{"another's key of that kid", impostor.jwt("/agent/a1", aud, soon), "", failed},
		{"unknown kid", other.jwt("/agent/a1", aud, soon), "", failed},
		{"path that is mapped to nobody", p.jwt("/ns/shop/sa/other", aud, soon), "", failed},
		{"path with more segments", p.jwt("/agent/a1/x", aud, soon), "", failed},
		{"no path", p.jwt("", aud, soon), "", failed},
		{"unknown agent", p.jwt("/agent/nobody", aud, soon), "", failed},
		{"suspended agent", p.jwt("/agent/suspended", aud, soon), "", failed},
		{"client_id of another", p.jwt("/agent/a1", aud, soon), "orders", failed},
		{"client_id of another SPIFFE ID", p.jwt("/agent/a1", aud, soon), "spiffe://example.org/agent/orders", failed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var more []string
			if tt.id != "" {
				more = []string{"client_id", tt.id}
			}
			wantRefused(t, d.svid(tt.text, more...), 401, "invalid_client", tt.want)
			if tt.id == "" {
				wantRefused(t, d.post("/workload", url.Values{"assertion": {tt.text}}), 400, "invalid_grant", "")
			}
		})
	}
}

func TestX509SVID(t *testing.T) {
	p := newTrust(t, "example.org", "k1")
	d, _ := spiffeDesk(t, p)
	for path, want := range map[string]string{"/ns/shop/sa/orders": "orders", "/agent/a1": "a1"} {
		cert := p.x509(path, nil)
		for _, form := range []url.Values{{}, {"client_id": {want}}, {"client_id": {"spiffe://example.org" + path}}} {
			got := d.post("/authenticate", form, cert)
			wantClient(t, got, want, want, "spiffe_x509")
			if !got.Certificate {
				t.Errorf("%s: no certificate to bind tokens to", path)
			}
		}
	}
}

func TestX509SVIDRefused(t *testing.T) {
	p, impostor, foreign := newTrust(t, "example.org", "k1"), newTrust(t, "example.org", "k1"), newTrust(t, "foreign.example", "k1")
	d, _ := spiffeDesk(t, p)
	const failed = "client authentication failed"
	for _, tt := range []struct {
		name, id string
		cert     tls.Certificate
		want     string
	}{
		{"another's authority", "", impostor.x509("/agent/a1", nil), failed},
		{"trust domain that is not trusted", "", foreign.x509("/agent/a1", nil), "client_id is missing"}, // and so is no SVID
		{"expired", "", p.x509("/agent/a1", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), failed},
		{"not valid yet", "", p.x509("/agent/a1", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), failed},
		{"authority as leaf", "", p.x509("/agent/a1", func(c *x509.Certificate) { c.IsCA = true }), failed},
		{"may sign certificates", "", p.x509("/agent/a1", func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign; c.IsCA = true }), failed},
		{"two names", "", p.x509("/agent/a1", func(c *x509.Certificate) {
			c.URIs = append(c.URIs, &url.URL{Scheme: "spiffe", Host: "example.org", Path: "/agent/b"})
		}), "client_id is missing"},
		{"unknown agent", "", p.x509("/agent/nobody", nil), failed},
		{"suspended agent", "", p.x509("/agent/suspended", nil), failed},
		{"client_id of another", "orders", p.x509("/agent/a1", nil), failed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			form := url.Values{}
			if tt.id != "" {
				form.Set("client_id", tt.id)
			}
			wantRefused(t, d.post("/authenticate", form, tt.cert), 401, "invalid_client", tt.want)
		})
	}
}

func TestBundleFileIsReadAgain(t *testing.T) {
	p := newTrust(t, "example.org", "k1")
	d, file := spiffeDesk(t, p)
	next := newTrust(t, "example.org", "k2")
	text := next.jwt("/agent/a1", []string{deskIssuer}, time.Now().Add(5*time.Minute))
	wantRefused(t, d.svid(text), 401, "invalid_client", "failed")
	next.save(file)
	if err := os.Chtimes(file, time.Now(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, d.svid(text), 401, "invalid_client", "failed") // it was looked at a moment ago
	d.advance(10 * time.Second)
	wantClient(t, d.svid(text), "a1", "a1", "spiffe_jwt")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.advance(10 * time.Second)
	wantClient(t, d.svid(text), "a1", "a1", "spiffe_jwt") // half written, it counts as it was
}

// TestFederationEndpoint fetches the bundle as go-spiffe serves it, with the profile https_web.
func TestFederationEndpoint(t *testing.T) {
	p := newTrust(t, "example.org", "k1")
	h, err := federation.NewHandler(p.td, p.bundle)
	if err != nil {
		t.Fatal(err)
	}
	down := false
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down {
			w.WriteHeader(500)
			return
		}
		h.ServeHTTP(w, r)
	}))
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	d := newDesk(t, func(d *desk, c *oauth.Config) {
		fetch := outbound.New(outbound.Config{AllowPrivate: true, RootCAs: roots, Now: d.Now})
		c.Clients.SPIFFE = []oauth.TrustDomain{{Name: "example.org", BundleURL: srv.URL, Fetch: fetch, Paths: paths, MaxLifetime: 24 * time.Hour}}
	})
	d.book.set("a1", authz.AgentActive)
	text := p.jwt("/agent/a1", []string{deskIssuer}, time.Now().Add(8*time.Hour))
	wantClient(t, d.svid(text), "a1", "a1", "spiffe_jwt")
	wantClient(t, d.post("/authenticate", url.Values{}, p.x509("/agent/a1", nil)), "a1", "a1", "spiffe_x509")

	next := p256(t)
	if err := p.bundle.AddJWTAuthority("k2", next.Public()); err != nil {
		t.Fatal(err)
	}
	rotated := &trust{t: t, td: p.td, jwtKey: next, kid: "k2"}
	second := rotated.jwt("/agent/a1", []string{deskIssuer}, time.Now().Add(8*time.Hour))
	wantRefused(t, d.svid(second), 401, "invalid_client", "failed") // it was asked a moment ago
	d.advance(time.Minute)
	wantClient(t, d.svid(second), "a1", "a1", "spiffe_jwt")

	down = true
	d.advance(59 * time.Minute)
	wantClient(t, d.svid(second), "a1", "a1", "spiffe_jwt") // for an hour the bundle counts on
	d.advance(2 * time.Minute)
	wantRefused(t, d.svid(second), 503, "temporarily_unavailable", "")
}

// TestFederationEndpointBySPIFFE fetches the bundle with the profile https_spiffe.
func TestFederationEndpointBySPIFFE(t *testing.T) {
	p := newTrust(t, "example.org", "k1")
	h, err := federation.NewHandler(p.td, p.bundle)
	if err != nil {
		t.Fatal(err)
	}
	for id, status := range map[string]int{"spiffe://example.org/spire/server": 200, "spiffe://example.org/other": 503} {
		cert := p.x509("/spire/server", nil)
		srv := httptest.NewUnstartedServer(h)
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		srv.Config.ErrorLog = log.New(io.Discard, "", 0) // who refuses the certificate is heard of here too
		srv.StartTLS()
		file := filepath.Join(t.TempDir(), "bundle.json")
		p.save(file)
		d := newDesk(t, func(_ *desk, c *oauth.Config) {
			c.Clients.SPIFFE = []oauth.TrustDomain{{Name: "example.org", BundleURL: srv.URL, BundleFile: file, EndpointID: id, AllowPrivate: true, Paths: paths}}
		})
		d.book.set("a1", authz.AgentActive)
		if got := d.svid(p.jwt("/agent/a1", []string{deskIssuer}, time.Now().Add(5*time.Minute))); got.Status != status {
			t.Errorf("endpoint as %s: status %d (%s), want %d", id, got.Status, got.body, status)
		}
		srv.Close()
	}
}

func TestSPIFFEPath(t *testing.T) {
	for _, p := range []oauth.SPIFFEPath{
		{Path: "", Agent: "a"}, {Path: "/", Agent: "a"}, {Path: "x", Agent: "a"}, {Path: "/x/", Agent: "a"}, {Path: "/x"},
		{Path: "/{agent}", Agent: "a"}, {Path: "/{agent}/{agent}"},
	} {
		if err := oauth.CheckPath(p); err == nil {
			t.Errorf("check of %+v = nil, want an error", p)
		}
	}
	for _, tt := range []struct{ path, agent, id, want string }{
		{"/x", "a", "/x", "a"}, {"/x", "a", "/y", ""}, {"/x", "a", "/x/y", ""}, {"/*", "a", "/y", "a"}, {"/*", "a", "", ""},
		{"/{agent}", "", "/b", "b"}, {"/n/{agent}/x", "", "/n/b/x", "b"}, {"/n/{agent}/x", "", "/n/b/y", ""}, {"/x*", "a", "/xy", ""},
	} {
		p := oauth.SPIFFEPath{Path: tt.path, Agent: authz.AgentID(tt.agent)}
		if got := oauth.PathAgent(p, tt.id); got != tt.want {
			t.Errorf("agent of %s by %s = %q, want %q", tt.id, tt.path, got, tt.want)
		}
	}
}

func TestTrustDomainConfig(t *testing.T) {
	dir := t.TempDir()
	good, empty, other := filepath.Join(dir, "good"), filepath.Join(dir, "empty"), filepath.Join(dir, "other")
	newTrust(t, "example.org", "k1").save(good)
	for file, text := range map[string]string{empty: `{"keys":[]}`, other: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE"}))} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, td := range map[string]oauth.TrustDomain{
		"no name":                     {BundleFile: good, Paths: paths},
		"name with a scheme":          {Name: "spiffe://example.org", BundleFile: good, Paths: paths},
		"name in upper case":          {Name: "Example.org", BundleFile: good, Paths: paths},
		"no bundle":                   {Name: "example.org", Paths: paths},
		"file and URL":                {Name: "example.org", BundleFile: good, BundleURL: "https://example.org/", Paths: paths},
		"no such file":                {Name: "example.org", BundleFile: good + "x", Paths: paths},
		"empty bundle":                {Name: "example.org", BundleFile: empty, Paths: paths},
		"file that is no bundle":      {Name: "example.org", BundleFile: other, Paths: paths},
		"URL without TLS":             {Name: "example.org", BundleURL: "http://example.org/", Paths: paths},
		"endpoint id without bundle":  {Name: "example.org", BundleURL: "https://example.org/", EndpointID: "spiffe://example.org/x", Paths: paths},
		"endpoint id that is none":    {Name: "example.org", BundleURL: "https://example.org/", BundleFile: good, EndpointID: "x", Paths: paths},
		"no paths":                    {Name: "example.org", BundleFile: good},
		"bad path":                    {Name: "example.org", BundleFile: good, Paths: []oauth.SPIFFEPath{{Path: "x"}}},
		"tokens that live for a week": {Name: "example.org", BundleFile: good, Paths: paths, MaxLifetime: 7 * 24 * time.Hour},
	} {
		if _, err := oauth.New(oauth.Config{Issuer: deskIssuer, Clients: oauth.ClientConfig{SPIFFE: []oauth.TrustDomain{td}}}); err == nil {
			t.Errorf("%s: New = nil error, want one", name)
		}
	}
	td := oauth.TrustDomain{Name: "example.org", BundleFile: good, Paths: paths}
	if _, err := oauth.New(oauth.Config{Issuer: deskIssuer, Clients: oauth.ClientConfig{SPIFFE: []oauth.TrustDomain{td, td}}}); err == nil {
		t.Error("a trust domain twice: New = nil error, want one")
	}
}
