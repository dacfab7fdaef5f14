package oauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/oauth"
)

// certify returns a certificate of a key; the issuer is itself if parent is nil.
func certify(t testing.TB, key crypto.Signer, tmpl *x509.Certificate, parent *tls.Certificate) tls.Certificate {
	t.Helper()
	if tmpl.SerialNumber == nil {
		tmpl.SerialNumber = big.NewInt(1)
	}
	signer, ca := key, tmpl
	if parent != nil {
		signer, ca = parent.PrivateKey.(crypto.Signer), parent.Leaf
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// selfSigned returns a certificate of a key that is valid from an hour ago for two hours.
func selfSigned(t testing.TB, d *desk, key crypto.Signer) tls.Certificate {
	return certify(t, key, &x509.Certificate{NotBefore: d.Now().Add(-time.Hour), NotAfter: d.Now().Add(time.Hour)}, nil)
}

func TestSelfSigned(t *testing.T) {
	d := newDesk(t, nil)
	for _, alg := range []string{"EdDSA", "ES256", "RS256"} {
		h := d.agent("a-"+map[string]string{"EdDSA": "ed", "ES256": "ec", "RS256": "rsa"}[alg], alg)
		got := d.post("/authenticate", url.Values{"client_id": {h.id}}, selfSigned(t, d, h.key))
		wantClient(t, got, h.id, h.id, "self_signed_tls_client_auth")
		if got.Key != h.pub.ID || !got.Certificate || got.Use {
			t.Errorf("%s: key %q, certificate %v, single use %v; want key %q, true, false", alg, got.Key, got.Certificate, got.Use, h.pub.ID)
		}
	}
}

func TestAssertionOverMutualTLS(t *testing.T) {
	d := newDesk(t, nil)
	h := d.agent("a1", "EdDSA")
	form := url.Values{"client_assertion_type": {jwtBearer}, "client_assertion": {h.jws(t, h.header("EdDSA"), d.claims("a1"))}}
	wantClient(t, d.post("/authenticate", form, selfSigned(t, d, newHolder(t, "x", "ES256").key)), "a1", "a1", "private_key_jwt")
}

func TestSelfSignedRefused(t *testing.T) {
	d := newDesk(t, nil)
	h := d.agent("a1", "EdDSA")
	during := func(from, to time.Duration) tls.Certificate {
		return certify(t, h.key, &x509.Certificate{NotBefore: d.Now().Add(from), NotAfter: d.Now().Add(to)}, nil)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, id string
		cert     tls.Certificate
		want     string
	}{
		{"no client_id", "", selfSigned(t, d, h.key), "client_id is missing"},
		{"expired", "a1", during(-2*time.Hour, -time.Second), "expired or is not valid yet"},
		{"not valid yet", "a1", during(time.Minute, time.Hour), "expired or is not valid yet"},
		{"key that cannot be registered", "a1", selfSigned(t, d, p384), "none of Ed25519"},
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

func TestSelfSignedOneAnswer(t *testing.T) {
	d := newDesk(t, nil)
	_, unknown, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	known, other, revoked, suspended := d.agent("known", "EdDSA"), d.agent("other", "EdDSA"), d.agent("revoked", "EdDSA"), d.agent("suspended", "EdDSA")
	d.book.set("suspended", authz.AgentSuspended)
	d.book.change(revoked.pub.ID, func(c *oauth.Credential) { c.RevokedAt = d.Now() })
	try := func(id string, key crypto.Signer) who {
		return d.post("/authenticate", url.Values{"client_id": {id}}, selfSigned(t, d, key))
	}
	want := d.assert(flip(known.jws(t, known.header("EdDSA"), d.claims("known"))))
	wantRefused(t, want, 401, "invalid_client", "client authentication failed")
	for name, got := range map[string]who{
		"unknown agent":            try("nobody", unknown),
		"unknown agent, known key": try("nobody", known.key),
		"unknown key":              try("known", unknown),
		"key of another agent":     try("known", other.key),
		"revoked key":              try("revoked", revoked.key),
		"suspended agent":          try("suspended", suspended.key),
	} {
		t.Run(name, func(t *testing.T) {
			if !sameAnswer(got, want) {
				t.Errorf("answer %d %q, want the one of a bad signature: %d %q", got.Status, got.body, want.Status, want.body)
			}
		})
	}
}
