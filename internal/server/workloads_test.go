package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/server"
)

// A certifier is an authority that signs by an intermediate one.
type certifier struct{ root, between tls.Certificate }

func newCertifier() *certifier {
	ca := func(name string, parent *tls.Certificate) tls.Certificate {
		return clientCertificate(newKey("ES256"), x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(24 * time.Hour)}, parent)
	}
	c := &certifier{root: ca("Root", nil)}
	c.between = ca("Intermediate", &c.root)
	return c
}

// client returns a certificate for a client, with the intermediate one behind it.
func (c *certifier) client(tmpl x509.Certificate) tls.Certificate {
	tmpl.KeyUsage, tmpl.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	out := clientCertificate(newKey("ES256"), tmpl, &c.between)
	out.Certificate = append(out.Certificate, c.between.Certificate...)
	return out
}

// pemOf returns certificates as a file has them.
func pemOf(certs ...tls.Certificate) (text string) {
	for _, c := range certs {
		text += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))
	}
	return text
}

// folder writes files into a new directory and returns it.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// everything is a workloads file that says all that one can say.
const everything = `
private_networks: [10.96.0.0/12, "fd00::/8"]
issuers:
  - issuer: https://cluster.example
    keys_file: keys.json
    max_lifetime: 1h30m
    agents:
      - agent: reconciler
        claims:
          - {claim: kubernetes.io.namespace, is: payments}
          - {claim: event_name, in: [push, workflow_dispatch]}
          - {claim: groups, has: agents}
      - {agent: other, claims: [{claim: sub, is: x}]}
  - issuer: https://ci.example
    keys_url: https://ci.example/keys
    ca_file: ca.pem
    bearer_file: reader
    single_use: true
    agents:
      - {agent: release-bot, claims: [{claim: sub, is: y}]}
spiffe:
  - trust_domain: prod.example.com
    bundle_file: bundle.json
    max_lifetime: 10m
    agents:
      - {path: /ns/payments/sa/reconciler, agent: reconciler}
      - path: "/agent/{agent}"
  - trust_domain: other.example.com
    bundle_file: /etc/bundle.json
    bundle_url: https://bundles.example.com/
    endpoint_id: spiffe://other.example.com/endpoint
    agents: [{path: /a, agent: a}]
certificates:
  - ca_file: agents.pem
    max_lifetime: 24h
    agents:
      - {agent: porter, dns: porter.agents.example.com}
      - {agent: porter, uri: "urn:example:porter"}
      - {agent: mail, email: mail@example.com}
      - {agent: edge, ip: 192.0.2.7}
      - {agent: ledger, subject: "CN=ledger,OU=Agents,O=Example"}
`

func TestLoadWorkloads(t *testing.T) {
	c := newCertifier()
	dir := folder(t, map[string]string{"workloads.yaml": everything, "keys.json": `{"keys":[]}`, "ca.pem": pemOf(c.root), "agents.pem": "A comment\n" + pemOf(c.root, c.between)})
	got := oauth.ClientConfig{Documents: true}
	if err := server.LoadWorkloads(filepath.Join(dir, "workloads.yaml"), &got); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.root.Leaf)
	roots.AddCert(c.between.Leaf)
	want := oauth.ClientConfig{
		Documents: true, // what was set before stays
		Workloads: []oauth.WorkloadIssuer{{
			Issuer: "https://cluster.example", Keys: []byte(`{"keys":[]}`), MaxLifetime: 90 * time.Minute,
			Rules: []oauth.Rule{
				{Agent: "reconciler", Conditions: []oauth.Condition{
					{Claim: "kubernetes.io.namespace", Is: "payments"}, {Claim: "event_name", In: []string{"push", "workflow_dispatch"}}, {Claim: "groups", Has: "agents"}}},
				{Agent: "other", Conditions: []oauth.Condition{{Claim: "sub", Is: "x"}}},
			},
		}, {
			Issuer: "https://ci.example", KeysURL: "https://ci.example/keys", SingleUse: true,
			Rules: []oauth.Rule{{Agent: "release-bot", Conditions: []oauth.Condition{{Claim: "sub", Is: "y"}}}},
		}},
		SPIFFE: []oauth.TrustDomain{{
			Name: "prod.example.com", BundleFile: filepath.Join(dir, "bundle.json"), MaxLifetime: 10 * time.Minute, AllowPrivate: true,
			Paths: []oauth.SPIFFEPath{{Path: "/ns/payments/sa/reconciler", Agent: "reconciler"}, {Path: "/agent/{agent}"}},
		}, {
			Name: "other.example.com", BundleFile: "/etc/bundle.json", BundleURL: "https://bundles.example.com/",
			EndpointID: "spiffe://other.example.com/endpoint", AllowPrivate: true, Paths: []oauth.SPIFFEPath{{Path: "/a", Agent: "a"}},
		}},
		Authorities: []oauth.CertificateAuthority{{
			Name: "agents.pem", Roots: roots, MaxLifetime: 24 * time.Hour,
			Rules: []oauth.CertificateRule{
				{Agent: "porter", DNS: "porter.agents.example.com"}, {Agent: "porter", URI: "urn:example:porter"}, {Agent: "mail", Email: "mail@example.com"},
				{Agent: "edge", IP: "192.0.2.7"}, {Agent: "ledger", Subject: "CN=ledger,OU=Agents,O=Example"},
			},
		}},
	}
	fetch := cmp.Options{cmpopts.IgnoreFields(oauth.WorkloadIssuer{}, "Fetch"), cmpopts.IgnoreFields(oauth.TrustDomain{}, "Fetch")}
	if diff := cmp.Diff(want, got, fetch); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, w := range got.Workloads {
		if w.Fetch == nil {
			t.Errorf("issuer %s: nothing to fetch with", w.Issuer)
		}
	}
	for _, d := range got.SPIFFE {
		if d.Fetch == nil {
			t.Errorf("trust domain %s: nothing to fetch with", d.Name)
		}
	}
}

// Nothing said is nothing trusted, and private networks are out of bounds unless they are named.
func TestLoadWorkloadsDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "issuers: []\n"} {
		var got oauth.ClientConfig
		if err := server.LoadWorkloads(filepath.Join(folder(t, map[string]string{"f": text}), "f"), &got); err != nil {
			t.Errorf("%q: %v", text, err)
		} else if diff := cmp.Diff(oauth.ClientConfig{}, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	var got oauth.ClientConfig
	dir := folder(t, map[string]string{"f": "spiffe: [{trust_domain: example.org, bundle_file: b, agents: [{path: /a, agent: a}]}]"})
	if err := server.LoadWorkloads(filepath.Join(dir, "f"), &got); err != nil || len(got.SPIFFE) != 1 || got.SPIFFE[0].AllowPrivate || got.SPIFFE[0].MaxLifetime != 0 {
		t.Errorf("a trust domain alone: %+v, %v", got.SPIFFE, err)
	}
}

func TestLoadWorkloadsRefused(t *testing.T) {
	c := newCertifier()
	leaf := c.client(x509.Certificate{DNSNames: []string{"a.example"}})
	broken := strings.Replace(pemOf(c.root), "\n", "\n!", 1)
	dir := folder(t, map[string]string{
		"ca.pem": pemOf(c.root), "empty": "", "text": "no certificate\n", "leaf.pem": pemOf(c.root, leaf), "big": strings.Repeat(" ", 1<<20+1),
		"key.pem":     string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})) + pemOf(c.root),
		"broken.pem":  broken + pemOf(c.root),
		"garbage.pem": pemOf(c.root) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})),
	})
	file := filepath.Join(dir, "workloads.yaml")
	for _, tt := range []struct{ name, text, want string }{
		{"no YAML", "issuers: [", "workloads.yaml"},
		{"a list", "- a\n", "workloads.yaml"},
		{"unknown member", "isuers: []", `unknown field "isuers"`},
		{"unknown member of an issuer", "issuers: [{issuer: https://a.example, audience: x}]", `unknown field "audience"`},
		{"unknown member of a claim", "issuers: [{issuer: https://a.example, agents: [{agent: a, claims: [{claim: sub, matches: x}]}]}]", `unknown field "matches"`},
		{"unknown member of a trust domain", "spiffe: [{name: x}]", `unknown field "name"`},
		{"unknown member of an authority", "certificates: [{ca_file: ca.pem, crl: x}]", `unknown field "crl"`},
		{"unknown kind of name", "certificates: [{ca_file: ca.pem, agents: [{agent: a, cn: x}]}]", `unknown field "cn"`},
		{"member twice", "issuers: []\nissuers: []\n", "issuers"},
		{"nested too deeply", strings.Repeat("[", 200), "nested too deeply"},
		{"a number that should be a list", "issuers: 1", "workloads.yaml"},
		{"network that is none", "private_networks: [10.0.0.1]", "private_networks"},

		{"no such key set", "issuers: [{issuer: https://a.example, keys_file: none}]", "none"},
		{"no such ca_file of an issuer", "issuers: [{issuer: https://a.example, ca_file: none}]", "none"},
		{"ca_file without certificates", "issuers: [{issuer: https://a.example, ca_file: text}]", "no certificate"},
		{"key set that is too large", "issuers: [{issuer: https://a.example, keys_file: big}]", "larger than"},
		{"bearer_file without ca_file", "issuers: [{issuer: https://a.example, bearer_file: text}]", "bearer_file needs ca_file"},
		{"lifetime that is none", "issuers: [{issuer: https://a.example, max_lifetime: long}]", "max_lifetime"},
		{"negative lifetime", "issuers: [{issuer: https://a.example, max_lifetime: -1h}]", "max_lifetime"},
		{"lifetime zero", "spiffe: [{trust_domain: example.org, max_lifetime: 0s}]", `trust domain "example.org": max_lifetime`},

		{"authority without file", "certificates: [{agents: [{agent: a, dns: a.example}]}]", "ca_file is missing"},
		{"no such file", "certificates: [{ca_file: none.pem}]", "none.pem"},
		{"empty file", "certificates: [{ca_file: empty}]", "no certificate"},
		{"file without certificates", "certificates: [{ca_file: text}]", "no certificate"},
		{"file that is too large", "certificates: [{ca_file: big}]", "larger than"},
		{"file with a client's certificate", "certificates: [{ca_file: leaf.pem}]", "certificate 2 () is no authority's"},
		{"file with a key", "certificates: [{ca_file: key.pem}]", "block 1 is no certificate"},
		{"file with a broken block", "certificates: [{ca_file: broken.pem}]", "broken"},
		{"file with garbage", "certificates: [{ca_file: garbage.pem}]", "block 2 is no certificate"},
		{"lifetime of certificates", "certificates: [{ca_file: ca.pem, max_lifetime: a day}]", `certificates of "ca.pem": max_lifetime`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			err := server.LoadWorkloads(file, new(oauth.ClientConfig))
			if !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "workloads.yaml") {
				t.Errorf("LoadWorkloads(%.80q) = %v, want invalid: workloads.yaml ... %s", tt.text, err, tt.want)
			}
		})
	}
	if err := server.LoadWorkloads(filepath.Join(dir, "none.yaml"), new(oauth.ClientConfig)); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), "oauth.workloads") {
		t.Errorf("no such file: %v", err)
	}
	if err := server.LoadWorkloads(filepath.Join(dir, "big"), new(oauth.ClientConfig)); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("file that is too large: %v", err)
	}
}

// What can be read and makes no sense stops the authorization server from being made.
func TestWorkloadsRules(t *testing.T) {
	dir := folder(t, map[string]string{"ca.pem": pemOf(newCertifier().root)})
	file := filepath.Join(dir, "workloads.yaml")
	for text, want := range map[string]string{
		"issuers: [{issuer: https://a.example}]":                                                                 "no rule",
		"issuers: [{issuer: https://a.example, agents: [{agent: a}]}]":                                           "without conditions",
		"issuers: [{issuer: https://a.example, agents: [{agent: a, claims: [{claim: sub}]}]}]":                   "want one of is, in and has",
		"issuers: [{issuer: http://a.example, agents: [{agent: a, claims: [{claim: sub, is: x}]}]}]":             "https",
		"spiffe: [{trust_domain: example.org, agents: [{path: /a, agent: a}]}]":                                  "bundle",
		"certificates: [{ca_file: ca.pem}]":                                                                      "no rule",
		"certificates: [{ca_file: ca.pem, agents: [{dns: a.example}]}]":                                          "no agent",
		"certificates: [{ca_file: ca.pem, agents: [{agent: a}]}]":                                                "want one of dns, uri, email, ip and subject",
		"certificates: [{ca_file: ca.pem, agents: [{agent: a, dns: a.example, uri: 'urn:a:b'}]}]":                "want one of dns, uri, email, ip and subject",
		"certificates: [{ca_file: ca.pem, agents: [{agent: a, dns: '*.example'}]}]":                              "without wildcards",
		"certificates: [{ca_file: ca.pem, agents: [{agent: a, ip: 10.0.0.0/8}]}]":                                "ip",
		"certificates: [{ca_file: ca.pem, agents: [{agent: a, subject: 'CN=a, O=b'}]}]":                          `" O" is not a type`,
		"certificates: [{ca_file: ca.pem, agents: [{agent: a, dns: a.example}, {agent: b, dns: A.example}]}]":    "another rule has that dns",
		"certificates: [{ca_file: ca.pem, max_lifetime: 1h, agents: [{agent: a, dns: a.example}, {agent: b}] }]": "want one of",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var c oauth.ClientConfig
		if err := server.LoadWorkloads(file, &c); err != nil {
			t.Errorf("%s: reading: %v", text, err)
			continue
		}
		if _, err := oauth.New(oauth.Config{Issuer: "https://as.example", Clients: c}); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: New = %v, want invalid: %s", text, err, want)
		}
	}
}

// An agent authenticates by a certificate of a trusted authority with its name in it, and its token is
// bound to that certificate (RFC 8705).
func TestCertificateAuthority(t *testing.T) {
	c, other := newCertifier(), newCertifier()
	cfg := passports(t)
	var pool *x509.CertPool
	cfg.TLS, pool = certificate(t)
	cfg.TLS.ClientCertificates = true
	cfg.OAuth.Workloads = filepath.Join(folder(t, map[string]string{"agents.pem": pemOf(c.root), "workloads.yaml": `
certificates:
  - ca_file: agents.pem
    agents:
      - {agent: clerk, dns: clerk.agents.example.com}
      - {agent: helper, subject: "CN=helper,O=Example"}
`}), "workloads.yaml")
	deaf := cfg
	deaf.TLS.ClientCertificates, deaf.Data = false, t.TempDir()
	if _, err := server.New(t.Context(), deaf, "test", slog.New(slog.DiscardHandler)); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), "tls.client_certificates") {
		t.Errorf("a service that asks for no certificates: %v, want invalid", err)
	}
	s := start(t, cfg).by(pool)
	clerk := x509.Certificate{DNSNames: []string{"clerk.agents.example.com"}}
	for id, tmpl := range map[string]x509.Certificate{"clerk": clerk, "helper": {Subject: pkix.Name{CommonName: "helper", Organization: []string{"Example"}}}} {
		cert := c.client(tmpl)
		over := s.by(pool, cert)
		var g granted
		s.into(over.overTLS(id), &g)
		claims := claimsOf(t, g.Token)
		if got := fmt.Sprint(claims["cnf"]); claims["sub"] != id || claims["client_id"] != id || got != "map[x5t#S256:"+thumbprint(cert)+"]" || g.Type != "Bearer" {
			t.Errorf("%s: a %s token %v, want Bearer and x5t#S256 %s", id, g.Type, claims, thumbprint(cert))
		}
		if rep := over.asks(g.Token); rep.status != 200 || !decided(t, rep) {
			t.Errorf("%s with its certificate: %d %s", id, rep.status, rep.body)
		}
		if rep := s.by(pool, c.client(tmpl)).asks(g.Token); rep.status != 401 {
			t.Errorf("%s with its next certificate: %d %s", id, rep.status, rep.body)
		}
		if rep := s.by(pool).asks(g.Token); rep.status != 401 {
			t.Errorf("%s without a certificate: %d %s", id, rep.status, rep.body)
		}
		wantError(t, over.overTLS(""), 401, "invalid_client")
		wantError(t, over.overTLS("third"), 401, "invalid_client")
		wantError(t, s.by(pool, other.client(tmpl)).overTLS(id), 401, "invalid_client")
	}
	if rep := s.do("GET", "/.well-known/oauth-authorization-server", "", ""); !strings.Contains(rep.body, `"tls_client_auth"`) {
		t.Error("the metadata does not name tls_client_auth")
	}
	s.state("clerk", "suspended")
	wantError(t, s.by(pool, c.client(clerk)).overTLS("clerk"), 401, "invalid_client")
}

// The certificates that docs/passports.md shows are read, and its rules are rules.
func TestCertificatesExample(t *testing.T) {
	dir := folder(t, map[string]string{"workloads.yaml": fenced(t, page(t, "passports.md"), "yaml", "certificates:"), "agents-ca.pem": pemOf(newCertifier().root)})
	var c oauth.ClientConfig
	if err := server.LoadWorkloads(filepath.Join(dir, "workloads.yaml"), &c); err != nil {
		t.Fatal(err)
	}
	if _, err := oauth.New(oauth.Config{Issuer: "https://as.example", Clients: c}); err != nil || len(c.Authorities) != 1 || len(c.Authorities[0].Rules) != 3 {
		t.Errorf("authorities %+v: %v", c.Authorities, err)
	}
}
