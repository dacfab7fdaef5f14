package oauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/oauth"
)

// A pki is a certificate authority with an intermediate one.
type pki struct {
	t             testing.TB
	root, between tls.Certificate
}

func newPKI(t testing.TB) *pki {
	t.Helper()
	ca := func(name string, parent *tls.Certificate) tls.Certificate {
		return certify(t, p256(t), &x509.Certificate{
			Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}, parent)
	}
	p := &pki{t: t, root: ca("Root", nil)}
	p.between = ca("Intermediate", &p.root)
	return p
}

// roots returns the authority's certificates, to be trusted.
func (p *pki) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.root.Leaf)
	return pool
}

// cert returns a certificate for a client with the intermediate one behind it. It is valid from a
// minute ago for an hour.
func (p *pki) cert(key crypto.Signer, edit func(*x509.Certificate)) tls.Certificate {
	p.t.Helper()
	tmpl := &x509.Certificate{
		NotBefore: time.Now().Add(-time.Minute).Truncate(time.Second), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	tmpl.NotAfter = tmpl.NotBefore.Add(time.Hour)
	edit(tmpl)
	c := certify(p.t, key, tmpl, &p.between)
	c.Certificate = append(c.Certificate, p.between.Certificate...)
	return c
}

// dns returns an edit that sets names of hosts.
func dns(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

// certified are the rules of the tests.
var certified = []oauth.CertificateRule{
	{Agent: "orders", DNS: "Orders.agents.example.com"},
	{Agent: "orders", Subject: "CN=orders,OU=Agents,O=Example"},
	{Agent: "batch", URI: "urn:example:agent:batch"},
	{Agent: "mail", Email: "Mail@Agents.example.com"},
	{Agent: "edge", IP: "2001:db8:0::1"},
	{Agent: "edge", IP: "192.0.2.7"},
	{Agent: "suspended", DNS: "suspended.agents.example.com"},
	{Agent: "unregistered", DNS: "unregistered.agents.example.com"},
}

// certifiedDesk is a desk that trusts an authority's certificates of at most an hour.
func certifiedDesk(t testing.TB, p *pki, more ...oauth.CertificateAuthority) *desk {
	d := newDesk(t, func(_ *desk, c *oauth.Config) {
		c.Clients.Certificates = true
		c.Clients.Authorities = append(more, oauth.CertificateAuthority{Name: "agents.pem", Roots: p.roots(), Rules: certified, MaxLifetime: time.Hour})
	})
	for _, id := range []string{"orders", "batch", "mail", "edge"} {
		d.book.set(id, authz.AgentActive)
	}
	d.book.set("suspended", authz.AgentSuspended)
	return d
}

func TestCertifiedName(t *testing.T) {
	p := newPKI(t)
	d := certifiedDesk(t, p)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, agent string
		key         crypto.Signer
		edit        func(*x509.Certificate)
	}{
		{"host", "orders", p256(t), dns("orders.agents.example.com")},
		{"host in another case", "orders", p256(t), dns("ORDERS.Agents.Example.com")},
		{"one of several hosts", "orders", p256(t), dns("localhost", "orders.agents.example.com", "*.example.com")},
		{"subject", "orders", p256(t), func(c *x509.Certificate) {
			c.Subject = pkix.Name{Organization: []string{"Example"}, OrganizationalUnit: []string{"Agents"}, CommonName: "orders"}
		}},
		{"host and subject of one agent", "orders", p256(t), func(c *x509.Certificate) {
			c.Subject = pkix.Name{Organization: []string{"Example"}, OrganizationalUnit: []string{"Agents"}, CommonName: "orders"}
			c.DNSNames = []string{"orders.agents.example.com"}
		}},
		{"URI", "batch", newHolder(t, "", "EdDSA").key, func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "urn", Opaque: "example:agent:batch"}} }},
		{"email", "mail", rsaKey(), func(c *x509.Certificate) { c.EmailAddresses = []string{"Mail@agents.EXAMPLE.com"} }},
		{"IPv6", "edge", p384, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP("2001:db8::1")} }},
		{"IPv4", "edge", p256(t), func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 7)} }},
		{"for servers too", "orders", p256(t), func(c *x509.Certificate) {
			c.DNSNames, c.ExtKeyUsage = []string{"orders.agents.example.com"}, append(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := d.post("/authenticate", url.Values{"client_id": {tt.agent}}, p.cert(tt.key, tt.edit))
			wantClient(t, got, tt.agent, tt.agent, "tls_client_auth")
			if !got.Certificate || got.Use {
				t.Errorf("certificate %v, single use %v; want true, false", got.Certificate, got.Use)
			}
			if (got.Key == "") != (tt.key == p384) {
				t.Errorf("key = %q for a %T", got.Key, tt.key)
			}
			// The other agents are not it.
			for _, id := range []string{"orders", "batch", "mail", "edge"} {
				if id != tt.agent {
					wantRefused(t, d.post("/authenticate", url.Values{"client_id": {id}}, p.cert(tt.key, tt.edit)), 401, "invalid_client", "client authentication failed")
				}
			}
		})
	}
}

func TestCertifiedNameOneAnswer(t *testing.T) {
	p, other := newPKI(t), newPKI(t)
	d := certifiedDesk(t, p)
	want := d.post("/authenticate", url.Values{"client_id": {"orders"}}, selfSigned(t, d, p256(t)))
	wantRefused(t, want, 401, "invalid_client", "client authentication failed")
	const orders = "orders.agents.example.com"
	edit := func(f func(*x509.Certificate)) tls.Certificate {
		return p.cert(p256(t), func(c *x509.Certificate) { c.DNSNames = []string{orders}; f(c) })
	}
	alone := p.cert(p256(t), dns(orders))
	alone.Certificate = alone.Certificate[:1]
	long := p.cert(p256(t), dns(orders))
	for range 8 {
		long.Certificate = append(long.Certificate, p.between.Certificate[0])
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	byLeaf := edit(func(*x509.Certificate) {})
	bySubscriber := certify(t, p256(t), &x509.Certificate{NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Minute),
		DNSNames: []string{orders}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, &byLeaf)
	bySubscriber.Certificate = append(bySubscriber.Certificate, byLeaf.Certificate...)
	for name, tt := range map[string]struct {
		id   string
		cert tls.Certificate
	}{
		"another authority":              {"orders", other.cert(p256(t), dns(orders))},
		"no intermediate certificate":    {"orders", alone},
		"too many certificates":          {"orders", long},
		"signed by a client":             {"orders", bySubscriber},
		"for servers only":               {"orders", edit(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })},
		"for any use":                    {"orders", edit(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} })},
		"for no use that is named":       {"orders", edit(func(c *x509.Certificate) { c.ExtKeyUsage = nil })},
		"key is not for signatures":      {"orders", edit(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement })},
		"authority as client":            {"orders", edit(func(c *x509.Certificate) { c.IsCA = true })},
		"lives too long":                 {"orders", edit(func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(time.Second) })},
		"weak key":                       {"orders", p.cert(weak, dns(orders))},
		"no name":                        {"orders", p.cert(p256(t), dns())},
		"unknown name":                   {"orders", p.cert(p256(t), dns("other.agents.example.com"))},
		"wildcard":                       {"orders", p.cert(p256(t), dns("*.agents.example.com"))},
		"name with a dot behind it":      {"orders", p.cert(p256(t), dns(orders+"."))},
		"host as common name":            {"orders", p.cert(p256(t), func(c *x509.Certificate) { c.Subject.CommonName = orders })},
		"host as URI":                    {"orders", p.cert(p256(t), func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "https", Host: orders}} })},
		"subject with less":              {"orders", p.cert(p256(t), func(c *x509.Certificate) { c.Subject.CommonName = "orders" })},
		"address in another case":        {"mail", p.cert(p256(t), func(c *x509.Certificate) { c.EmailAddresses = []string{"mail@agents.example.com"} })},
		"names of two agents":            {"orders", p.cert(p256(t), dns(orders, "unregistered.agents.example.com"))},
		"names of two agents, the other": {"orders", p.cert(p256(t), dns("suspended.agents.example.com", orders))},
		"host of one and URI of another": {"batch", edit(func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "urn", Opaque: "example:agent:batch"}} })},
		"suspended agent":                {"suspended", p.cert(p256(t), dns("suspended.agents.example.com"))},
		"agent that is not registered":   {"unregistered", p.cert(p256(t), dns("unregistered.agents.example.com"))},
		"another agent's":                {"batch", p.cert(p256(t), dns(orders))},
		"client_id is the name":          {orders, p.cert(p256(t), dns(orders))},
		"client_id of nobody":            {"nobody", p.cert(p256(t), dns(orders))},
		"SPIFFE ID of a domain unheard of": {"orders", p.cert(p256(t), func(c *x509.Certificate) {
			c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/orders"}}
		})},
	} {
		t.Run(name, func(t *testing.T) {
			if got := d.post("/authenticate", url.Values{"client_id": {tt.id}}, tt.cert); !sameAnswer(got, want) {
				t.Errorf("answer %d %q, want the one of an unknown certificate: %d %q", got.Status, got.body, want.Status, want.body)
			}
		})
	}
}

// What the request alone tells is said plainly.
func TestCertifiedNameRefused(t *testing.T) {
	p := newPKI(t)
	d := certifiedDesk(t, p)
	during := func(from, to time.Duration) tls.Certificate {
		return p.cert(p256(t), func(c *x509.Certificate) {
			c.DNSNames, c.NotBefore, c.NotAfter = []string{"orders.agents.example.com"}, d.Now().Add(from), d.Now().Add(to)
		})
	}
	good := during(-time.Minute, time.Minute)
	wantRefused(t, d.post("/authenticate", url.Values{}, good), 401, "invalid_client", "client_id is missing")
	id := url.Values{"client_id": {"orders"}}
	wantRefused(t, d.post("/authenticate", id), 401, "invalid_client", "client did not authenticate")
	wantRefused(t, d.post("/authenticate", id, during(-time.Hour, -time.Second)), 401, "invalid_client", "expired")
	wantRefused(t, d.post("/authenticate", id, during(time.Second, time.Minute)), 401, "invalid_client", "not valid yet")
	wantClient(t, d.post("/authenticate", id, good), "orders", "orders", "tls_client_auth")

	d.book.set("orders", authz.AgentSuspended) // the kill switch
	wantRefused(t, d.post("/authenticate", id, good), 401, "invalid_client", "client authentication failed")
	d.book.set("orders", authz.AgentActive)
	d.advance(2 * time.Minute) // by our own clock
	wantRefused(t, d.post("/authenticate", id, good), 401, "invalid_client", "expired")
}

// The authority's own certificates expire by our clock, too.
func TestAuthorityExpires(t *testing.T) {
	p := newPKI(t)
	d := newDesk(t, func(_ *desk, c *oauth.Config) {
		c.Clients.Authorities = []oauth.CertificateAuthority{{Roots: p.roots(), Rules: certified}}
	})
	d.book.set("orders", authz.AgentActive)
	year := p.cert(p256(t), func(c *x509.Certificate) {
		dns("orders.agents.example.com")(c)
		c.NotAfter = time.Now().AddDate(1, 0, 0)
	})
	id := url.Values{"client_id": {"orders"}}
	wantClient(t, d.post("/authenticate", id, year), "orders", "orders", "tls_client_auth")
	d.advance(25 * time.Hour)
	wantRefused(t, d.post("/authenticate", id, year), 401, "invalid_client", "client authentication failed")
}

// An assertion is what counts if there is one (RFC 6749, section 2.3): the connection's certificate
// neither adds to it nor mends it.
func TestCertifiedNameAndAssertion(t *testing.T) {
	p := newPKI(t)
	d := certifiedDesk(t, p)
	h := d.agent("a1", "EdDSA")
	cert := p.cert(p256(t), dns("orders.agents.example.com"))
	form := func(text string, id ...string) url.Values {
		return url.Values{"client_assertion_type": {jwtBearer}, "client_assertion": {text}, "client_id": id}
	}
	got := d.post("/authenticate", form(h.jws(t, h.header("EdDSA"), d.claims("a1"))), cert)
	wantClient(t, got, "a1", "a1", "private_key_jwt")
	if got.Certificate {
		t.Error("an assertion's client has a certificate to bind tokens to")
	}
	for name, form := range map[string]url.Values{
		"client_id is the certificate's agent": form(h.jws(t, h.header("EdDSA"), d.claims("a1")), "orders"),
		"bad signature":                        form(flip(h.jws(t, h.header("EdDSA"), d.claims("a1")))),
		"bad signature, certificate's agent":   form(flip(h.jws(t, h.header("EdDSA"), d.claims("orders"))), "orders"),
		"no assertion but its type":            {"client_assertion_type": {jwtBearer}, "client_id": {"orders"}},
		"no type":                              {"client_assertion": {"x"}, "client_id": {"orders"}},
		"secret":                               {"client_secret": {"x"}, "client_id": {"orders"}},
	} {
		t.Run(name, func(t *testing.T) { wantRefused(t, d.post("/authenticate", form, cert), 401, "invalid_client", "") })
	}
}

// A key that was registered and has been revoked does not come back with an authority's certificate,
// and what another registered is no matter.
func TestCertifiedKeyThatIsRegistered(t *testing.T) {
	p := newPKI(t)
	d := certifiedDesk(t, p)
	h := d.agent("orders", "ES256")
	id := url.Values{"client_id": {"orders"}}
	cert, unknown := p.cert(h.key, dns("orders.agents.example.com")), p.cert(h.key, dns("other.agents.example.com"))
	wantClient(t, d.post("/authenticate", id, cert), "orders", "orders", "tls_client_auth")
	wantClient(t, d.post("/authenticate", id, unknown), "orders", "orders", "self_signed_tls_client_auth")
	wantClient(t, d.post("/authenticate", id, selfSigned(t, d, h.key)), "orders", "orders", "self_signed_tls_client_auth")
	d.book.change(h.pub.ID, func(c *oauth.Credential) { c.RevokedAt = d.Now() })
	for _, c := range []tls.Certificate{cert, unknown, selfSigned(t, d, h.key)} {
		wantRefused(t, d.post("/authenticate", id, c), 401, "invalid_client", "client authentication failed")
	}
	wantClient(t, d.post("/authenticate", id, p.cert(p256(t), dns("orders.agents.example.com"))), "orders", "orders", "tls_client_auth")

	d.book.change(h.pub.ID, func(c *oauth.Credential) { c.Agent = "batch" })
	got := d.post("/authenticate", id, cert)
	wantClient(t, got, "orders", "orders", "tls_client_auth")
	if got.Key != "" {
		t.Errorf("key = %q, which another has registered", got.Key)
	}
}

// Each authority speaks for the agents of its own rules; together they must not contradict each other.
func TestAuthorities(t *testing.T) {
	p, q := newPKI(t), newPKI(t)
	d := certifiedDesk(t, p, oauth.CertificateAuthority{Roots: q.roots(), Rules: []oauth.CertificateRule{{Agent: "batch", DNS: "orders.agents.example.com"}}},
		oauth.CertificateAuthority{Roots: p.roots(), Rules: []oauth.CertificateRule{{Agent: "batch", DNS: "batch.agents.example.com"}}})
	cert := func(p *pki, names ...string) tls.Certificate { return p.cert(p256(t), dns(names...)) }
	for _, tt := range []struct {
		id   string
		cert tls.Certificate
		ok   bool
	}{
		{"orders", cert(p, "orders.agents.example.com"), true},
		{"batch", cert(q, "orders.agents.example.com"), true},
		{"batch", cert(p, "batch.agents.example.com"), true},
		{"orders", cert(q, "orders.agents.example.com"), false},
		{"batch", cert(p, "orders.agents.example.com"), false},
		{"batch", cert(q, "batch.agents.example.com"), false},
		{"batch", cert(p, "batch.agents.example.com", "orders.agents.example.com"), false},
	} {
		got := d.post("/authenticate", url.Values{"client_id": {tt.id}}, tt.cert)
		if tt.ok {
			wantClient(t, got, tt.id, tt.id, "tls_client_auth")
		} else {
			wantRefused(t, got, 401, "invalid_client", "client authentication failed")
		}
	}
	if got, want := d.server.Methods(), []string{"private_key_jwt", "self_signed_tls_client_auth", "tls_client_auth"}; !slices.Equal(got, want) {
		t.Errorf("methods = %q, want %q", got, want)
	}
}

func TestAuthorityConfig(t *testing.T) {
	roots := newPKI(t).roots()
	a := oauth.CertificateAuthority{Name: "agents.pem", Roots: roots, Rules: certified}
	try := func(a oauth.CertificateAuthority) error {
		_, err := oauth.New(oauth.Config{Issuer: deskIssuer, Clients: oauth.ClientConfig{Authorities: []oauth.CertificateAuthority{a}}})
		return err
	}
	if err := try(a); err != nil {
		t.Errorf("New with %d rules = %v", len(certified), err)
	}
	for name, a := range map[string]oauth.CertificateAuthority{
		"no roots":          {Rules: certified},
		"empty roots":       {Roots: x509.NewCertPool(), Rules: certified},
		"no rules":          {Roots: roots},
		"negative lifetime": {Roots: roots, Rules: certified, MaxLifetime: -1},
		"a name twice":      {Roots: roots, Rules: []oauth.CertificateRule{{Agent: "a", DNS: "a.example"}, {Agent: "b", DNS: "A.example"}}},
		"a subject twice":   {Roots: roots, Rules: []oauth.CertificateRule{{Agent: "a", Subject: "CN=a"}, {Agent: "a", Subject: "2.5.4.3=\\61"}}},
	} {
		if err := try(a); err == nil {
			t.Errorf("%s: New = nil error, want one", name)
		}
	}
	for _, r := range []oauth.CertificateRule{
		{}, {Agent: "a"}, {DNS: "a.example"}, {Agent: "a", DNS: "a.example", URI: "urn:a:b"}, {Agent: "a", IP: "192.0.2.1", Subject: "CN=a"},
		{Agent: "a", DNS: "*.example"}, {Agent: "a", DNS: "a.example."}, {Agent: "a", DNS: ".example"}, {Agent: "a", DNS: "a b"}, {Agent: "a", DNS: "bücher.example"},
		{Agent: "a", DNS: "-a.example"}, {Agent: "a", DNS: strings.Repeat("a", 64)}, {Agent: "a", DNS: strings.Repeat("a.", 127) + "a"},
		{Agent: "a", URI: "/a"}, {Agent: "a", URI: "a"}, {Agent: "a", URI: "HTTPS://a.example"}, {Agent: "a", URI: "https://a.example/ b"}, {Agent: "a", URI: "urn:a:b#"},
		{Agent: "a", Email: "a"}, {Agent: "a", Email: "@a.example"}, {Agent: "a", Email: "a@"}, {Agent: "a", Email: "a@b@c.example"}, {Agent: "a", Email: "a b@c.example"},
		{Agent: "a", IP: "192.0.2"}, {Agent: "a", IP: "192.0.2.0/24"}, {Agent: "a", IP: "fe80::1%eth0"}, {Agent: "a", IP: "localhost"},
		{Agent: "a", Subject: "a"}, {Agent: "a", Subject: "CN=a, O=b"},
	} {
		a.Rules = []oauth.CertificateRule{r}
		if err := try(a); err == nil || !strings.HasPrefix(err.Error(), `certificate authority "agents.pem": `) {
			t.Errorf("rule %+v: New = %v, want an error that names the authority", r, err)
		}
	}
}
