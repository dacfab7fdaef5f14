package server_test

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// clientCertificate returns a certificate of a key; it is its own issuer if parent is nil.
func clientCertificate(key crypto.Signer, tmpl x509.Certificate, parent *tls.Certificate) tls.Certificate {
	tmpl.SerialNumber, tmpl.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Minute)
	if tmpl.NotAfter.IsZero() {
		tmpl.NotAfter = time.Now().Add(time.Hour)
	}
	signer, ca := key, &tmpl
	if parent != nil {
		signer, ca = parent.PrivateKey.(crypto.Signer), parent.Leaf
	}
	der := must(x509.CreateCertificate(rand.Reader, &tmpl, ca, key.Public(), signer))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: must(x509.ParseCertificate(der))}
}

// by returns the server as a client reaches it that shows those certificates.
func (r *running) by(pool *x509.CertPool, certs ...tls.Certificate) *running {
	q := *r
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}}
	q.http = &http.Client{Timeout: 20 * time.Second, Transport: transport}
	r.Cleanup(transport.CloseIdleConnections)
	return &q
}

// thumbprint is the x5t#S256 of a certificate (RFC 8705, section 3.1).
func thumbprint(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// overTLS sends a token request without an assertion and without a proof.
func (r *running) overTLS(id string, pairs ...string) reply {
	r.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"read-ledger"}}
	if id != "" {
		form.Set("client_id", id)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return r.send("POST", "/oauth2/token", form.Encode(), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
}

// asks asks about its own act with a token and nothing but the connection.
func (r *running) asks(access string) reply {
	r.Helper()
	return r.send("POST", "/access/v1/evaluation", evaluation("", "list_entries", "", ""),
		http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + access}})
}

// An agent authenticates by a certificate of its own making whose key it has registered, and its token
// is bound to that certificate (RFC 8705).
func TestMutualTLS(t *testing.T) {
	cfg := passports(t)
	var pool *x509.CertPool
	cfg.TLS, pool = certificate(t)
	cfg.TLS.ClientCertificates = true
	s := start(t, cfg).by(pool)
	for _, alg := range []string{"EdDSA", "ES256", "PS256"} {
		t.Run(alg, func(t *testing.T) {
			id := map[string]string{"EdDSA": "clerk", "ES256": "helper", "PS256": "third"}[alg]
			p := s.party(id, alg)
			cert := clientCertificate(p.key, x509.Certificate{}, nil)
			over := s.by(pool, cert)
			var g granted
			s.into(over.overTLS(id), &g)
			claims := claimsOf(t, g.Token)
			if got := fmt.Sprint(claims["cnf"]); got != "map[x5t#S256:"+thumbprint(cert)+"]" || g.Type != "Bearer" {
				t.Errorf("a %s token bound to %s, want Bearer and x5t#S256 %s", g.Type, got, thumbprint(cert))
			}
			if got := fmt.Sprint(s.introspect(g.Token)["cnf"]); got != fmt.Sprint(claims["cnf"]) {
				t.Errorf("introspected as bound to %s", got)
			}
			if rep := over.asks(g.Token); rep.status != 200 || !decided(t, rep) {
				t.Errorf("with its certificate: %d %s", rep.status, rep.body)
			}
			others := map[string]*running{
				"without a certificate":           s.by(pool),
				"with another's certificate":      s.by(pool, clientCertificate(newKey("EdDSA"), x509.Certificate{}, nil)),
				"with another of the agent's own": s.by(pool, clientCertificate(p.key, x509.Certificate{NotAfter: time.Now().Add(2 * time.Hour)}, nil)),
			}
			for name, other := range others {
				rep := other.asks(g.Token)
				if rep.status != 401 || !strings.Contains(rep.header.Get("Www-Authenticate"), `error="invalid_token"`) {
					t.Errorf("%s: %d %s %q", name, rep.status, rep.body, rep.header.Get("Www-Authenticate"))
				}
			}
			// An enforcement point tells which certificate it saw.
			for seen, want := range map[string]bool{thumbprint(cert): true, thumbprint(clientCertificate(p.key, x509.Certificate{}, nil)): false, "": false} {
				rep := s.ask("/access/v1/evaluation", evaluation("", "list_entries", "",
					object{"observed": object{"passport": object{"token": g.Token, "audience": s.issuer(), "certificate": seen}}}.json()))
				if rep.status != 200 || decided(t, rep) != want {
					t.Errorf("seen with certificate %q: %d %s, want %v", seen, rep.status, rep.body, want)
				}
			}
			wantError(t, over.overTLS(""), 401, "invalid_client")
			wantError(t, over.overTLS("doomed"), 401, "invalid_client")
			wantError(t, over.overTLS("nobody"), 401, "invalid_client")
			wantError(t, s.by(pool).overTLS(id), 401, "invalid_client")
			wantError(t, s.by(pool, clientCertificate(newKey(map[string]string{"PS256": "EdDSA"}[alg]), x509.Certificate{}, nil)).overTLS(id), 401, "invalid_client")
			wantError(t, s.by(pool, clientCertificate(p.key, x509.Certificate{NotAfter: time.Now().Add(-time.Second)}, nil)).overTLS(id), 401, "invalid_client")

			// Authenticated by a key and bound to the connection's certificate are two things: with a
			// proof the token is bound to its key, whatever the connection.
			q := *p
			q.running, q.nonce = over, ""
			if cnf := claimsOf(t, q.token("read-ledger").Token)["cnf"].(map[string]any); cnf["jkt"] == nil {
				t.Errorf("bound to %v", cnf)
			}
		})
	}
}

// A trustDomain makes SVIDs.
type trustDomain struct {
	id     spiffeid.TrustDomain
	ca     tls.Certificate
	jwtKey crypto.Signer
}

func newTrustDomain(name string) *trustDomain {
	d := &trustDomain{id: spiffeid.RequireTrustDomainFromString(name), jwtKey: newKey("ES256")}
	d.ca = clientCertificate(newKey("ES256"), x509.Certificate{IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, URIs: []*url.URL{d.id.ID().URL()}}, nil)
	return d
}

// bundle returns the domain's trust bundle.
func (d *trustDomain) bundle() []byte {
	b := spiffebundle.New(d.id)
	b.AddX509Authority(d.ca.Leaf)
	if err := b.AddJWTAuthority("k1", d.jwtKey.Public()); err != nil {
		panic(err)
	}
	return must(b.Marshal())
}

func (d *trustDomain) x509(path string) tls.Certificate {
	return clientCertificate(newKey("ES256"), x509.Certificate{URIs: []*url.URL{must(url.Parse(d.id.IDString() + path))},
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}, &d.ca)
}

func (d *trustDomain) jwt(path, audience string) string {
	return compact(`{"alg":"ES256","kid":"k1","typ":"JWT"}`,
		object{"sub": d.id.IDString() + path, "aud": []string{audience}, "exp": time.Now().Unix() + 300, "iat": time.Now().Unix()}.json(), d.jwtKey)
}

// A kubernetes is a cluster that issues service account tokens and lets only those who have one read
// its keys.
type kubernetes struct {
	*httptest.Server
	key   crypto.Signer
	asked chan string // paths
}

func newKubernetes(t *testing.T, reader string) *kubernetes {
	k := &kubernetes{key: newKey("RS256"), asked: make(chan string, 100)}
	k.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+reader {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		k.asked <- r.URL.Path
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			fmt.Fprint(w, object{"issuer": k.URL, "jwks_uri": k.URL + "/openid/v1/jwks", "response_types_supported": []string{"id_token"},
				"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"}}.json())
		case "/openid/v1/jwks":
			w.Header().Set("Content-Type", "application/jwk-set+json")
			fmt.Fprint(w, object{"keys": []object{publicJWK(k.key).but("kid", "sa-1", "use", "sig", "alg", "RS256")}}.json())
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(k.Close)
	return k
}

// account returns a token as the TokenRequest API makes it; pairs bend its claims.
func (k *kubernetes) account(namespace, name, audience string, pairs ...any) string {
	now := time.Now().Unix()
	claims := object{"aud": []string{audience}, "exp": now + 3600, "iat": now, "nbf": now, "iss": k.URL, "jti": rand.Text(),
		"sub":           "system:serviceaccount:" + namespace + ":" + name,
		"kubernetes.io": object{"namespace": namespace, "serviceaccount": object{"name": name, "uid": "1"}, "pod": object{"name": name + "-1", "uid": "2"}}}
	return compact(`{"alg":"RS256","kid":"sa-1"}`, claims.but(pairs...).json(), k.key)
}

// Agents authenticate by what the platform they run on has given them, as a file says that is named in
// the configuration: SPIFFE identities, X.509 and JWT, and service account tokens of a cluster that is
// found by discovery, in a private network, with a certificate of its own.
func TestWorkloads(t *testing.T) {
	domain, foreign := newTrustDomain("example.org"), newTrustDomain("example.org")
	const reader = "token-of-our-own-service-account"
	k := newKubernetes(t, reader)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"bundle.json": string(domain.bundle()),
		"ca.pem":      string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.Certificate().Raw})),
		"reader":      reader + "\n",
		"workloads.yaml": `
private_networks: [127.0.0.0/8]
issuers:
  - issuer: ` + k.URL + `
    ca_file: ca.pem
    bearer_file: reader
    agents:
      - agent: third
        claims:
          - {claim: sub, is: "system:serviceaccount:books:third"}
          - {claim: kubernetes.io.namespace, is: books}
spiffe:
  - trust_domain: example.org
    bundle_file: bundle.json
    agents:
      - {path: /ns/books/sa/clerk, agent: clerk}
      - path: "/agent/{agent}"
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := passports(t)
	var pool *x509.CertPool
	cfg.TLS, pool = certificate(t)
	cfg.TLS.ClientCertificates = true
	cfg.OAuth.Workloads = filepath.Join(dir, "workloads.yaml")
	s := start(t, cfg).by(pool)

	t.Run("X.509-SVID", func(t *testing.T) {
		for path, id := range map[string]string{"/ns/books/sa/clerk": "clerk", "/agent/helper": "helper"} {
			cert := domain.x509(path)
			over := s.by(pool, cert)
			for _, name := range []string{"", id, "spiffe://example.org" + path} {
				var g granted
				s.into(over.overTLS(name), &g)
				claims := claimsOf(t, g.Token)
				if claims["sub"] != id || claims["client_id"] != id || fmt.Sprint(claims["cnf"]) != "map[x5t#S256:"+thumbprint(cert)+"]" {
					t.Errorf("%s as %q: %v", path, name, claims)
				}
				if rep := over.asks(g.Token); rep.status != 200 || !decided(t, rep) {
					t.Errorf("at the resource: %d %s", rep.status, rep.body)
				}
				if rep := s.by(pool, domain.x509(path)).asks(g.Token); rep.status != 401 {
					t.Errorf("with the next SVID: %d %s", rep.status, rep.body)
				}
			}
			wantError(t, over.overTLS("third"), 401, "invalid_client")
		}
		for name, cert := range map[string]tls.Certificate{"path of nobody": domain.x509("/ns/books/sa/nobody"), "agent that is none": domain.x509("/agent/nobody"),
			"another authority": foreign.x509("/agent/helper"), "self-signed": clientCertificate(newKey("ES256"), x509.Certificate{URIs: []*url.URL{must(url.Parse("spiffe://example.org/agent/helper"))}}, nil)} {
			t.Run(name, func(t *testing.T) { wantError(t, s.by(pool, cert).overTLS(""), 401, "invalid_client") })
		}
	})

	stranger := &party{running: s, alg: "EdDSA", key: newKey("EdDSA"), proof: newKey("EdDSA")}
	assert := func(text, kind string) *try {
		tr := stranger.ask("read-ledger", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:"+kind)
		tr.assertion = func() string { return text }
		return tr
	}
	t.Run("JWT-SVID", func(t *testing.T) {
		for _, kind := range []string{"jwt-spiffe", "jwt-bearer"} {
			g := assert(domain.jwt("/ns/books/sa/clerk", s.issuer()), kind).token()
			if claims := claimsOf(t, g.Token); claims["sub"] != "clerk" || fmt.Sprint(claims["cnf"]) == "" || !strings.EqualFold(g.Type, "DPoP") {
				t.Errorf("%s: %v", kind, claims)
			}
			for name, text := range map[string]string{"another audience": domain.jwt("/ns/books/sa/clerk", "https://other.example"),
				"another authority": foreign.jwt("/ns/books/sa/clerk", s.issuer()), "path of nobody": domain.jwt("/x", s.issuer())} {
				t.Run(kind+", "+name, func(t *testing.T) { wantError(t, assert(text, kind).send(), 401, "invalid_client") })
			}
		}
	})

	t.Run("service account", func(t *testing.T) {
		bearer := func(text string) *try {
			tr := stranger.ask("read-ledger").set("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion", text)
			tr.noAssertion = true
			return tr
		}
		text := k.account("books", "third", s.issuer())
		for name, tr := range map[string]*try{"as a client assertion": assert(text, "jwt-bearer"), "by the JWT bearer grant": bearer(text)} {
			g := tr.token()
			if claims := claimsOf(t, g.Token); claims["sub"] != "third" || claims["client_id"] != "third" || claims["cnf"] == nil {
				t.Errorf("%s: %v", name, claims)
			}
			if !s.presented(stranger, g.Token, "list_entries", "") {
				t.Errorf("%s: the token cannot be used", name)
			}
		}
		now := time.Now().Unix()
		other := *k
		other.key = newKey("ES256")
		for name, text := range map[string]string{
			"another account":          k.account("books", "other", s.issuer()),
			"another namespace":        k.account("mail", "third", s.issuer()),
			"namespace of another":     k.account("books", "third", s.issuer(), "kubernetes.io", object{"namespace": "mail"}),
			"the cluster's audience":   k.account("books", "third", "https://kubernetes.default.svc"),
			"two audiences":            k.account("books", "third", s.issuer(), "aud", []string{s.issuer(), k.URL}),
			"expired":                  k.account("books", "third", s.issuer(), "exp", now-1),
			"for too long":             k.account("books", "third", s.issuer(), "exp", now+10*24*3600),
			"not valid yet":            k.account("books", "third", s.issuer(), "nbf", now+120),
			"another cluster":          k.account("books", "third", s.issuer(), "iss", "https://127.0.0.1:1"),
			"another key":              other.account("books", "third", s.issuer()),
			"signature of another one": text[:strings.LastIndexByte(text, '.')] + k.account("books", "other", s.issuer())[strings.LastIndexByte(k.account("books", "other", s.issuer()), '.'):],
		} {
			t.Run(name, func(t *testing.T) {
				wantError(t, assert(text, "jwt-bearer").send(), 401, "invalid_client")
				wantError(t, bearer(text).send(), 400, "invalid_grant")
			})
		}
		if n := len(k.asked); n > 4 {
			t.Errorf("the cluster was asked %d times", n)
		}
		s.state("third", "suspended")
		wantError(t, assert(k.account("books", "third", s.issuer()), "jwt-bearer").send(), 401, "invalid_client")
		wantError(t, bearer(k.account("books", "third", s.issuer())).send(), 400, "invalid_grant")
	})

	for _, method := range []string{"spiffe_jwt", "spiffe_x509"} {
		if rep := s.do("GET", "/.well-known/oauth-authorization-server", "", ""); !strings.Contains(rep.body, `"`+method+`"`) {
			t.Errorf("the metadata does not name %s", method)
		}
	}
}
