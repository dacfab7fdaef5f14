package oauth_test

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/token"
)

const bearerGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// A token that is got over mutual TLS is bound to the certificate (RFC 8705, section 3).
func TestCertificateBound(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	h.member("alice", "read-mail")
	key := newHolder(t, "alice", "ES256")
	h.set(func() {
		h.creds = append(h.creds, &oauth.Credential{Agent: "alice", ID: key.pub.ID, Key: key.pub, CreatedAt: h.now.Add(-time.Hour)})
	})
	cert := certify(t, key.key, &x509.Certificate{NotBefore: h.now.Add(-time.Hour), NotAfter: h.now.Add(time.Hour)}, nil).Leaf
	ask := func(pairs ...string) *outcome {
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"alice"}}
		req := httptest.NewRequest("POST", houseIssuer+"/oauth2/token", strings.NewReader(form.Encode()))
		req.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i < len(pairs); i += 2 {
			req.Header.Set(pairs[i], pairs[i+1])
		}
		w := httptest.NewRecorder()
		r.server.Handler().ServeHTTP(w, req)
		out := &outcome{Status: w.Code, Header: w.Header(), Body: w.Body.Bytes()}
		if err := json.Unmarshal(out.Body, out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	out := ask()
	if out.Status != 200 || out.Type != "Bearer" {
		t.Fatalf("answer = %d %s", out.Status, out.Body)
	}
	sum := sha256.Sum256(cert.Raw)
	hash := base64.RawURLEncoding.EncodeToString(sum[:])
	if c := h.claims(out.Token).Confirmation; c != (token.Confirmation{X5TS256: hash}) {
		t.Errorf("cnf = %+v, want x5t#S256 %s", c, hash)
	}
	if got := h.requests[len(h.requests)-1].Observed; got.Method != "self_signed_tls_client_auth" || got.Passport.Bound != "mtls" {
		t.Errorf("the judge was told %+v, %+v", got, got.Passport)
	}
	present := authz.Presented{Token: out.Token, Scheme: "bearer", Certificate: hash, Audience: mailServer}
	if _, err := r.server.Passport(t.Context(), present); err != nil {
		t.Errorf("with its certificate: %v", err)
	}
	for name, other := range map[string]string{"no certificate": "", "another certificate": token.AccessTokenHash("x")} {
		p := present
		p.Certificate = other
		if _, err := r.server.Passport(t.Context(), p); err == nil {
			t.Errorf("with %s it is taken", name)
		}
	}
	// With a proof, it is bound to the proof's key instead.
	m := &member{h: h, id: "alice", proof: newSigner(t, "EdDSA")}
	out = ask("DPoP", m.proofFor(""))
	wantError(t, "no nonce", out, 400, "use_dpop_nonce")
	out = ask("DPoP", m.proofFor(out.Header.Get("DPoP-Nonce")))
	if c := h.claims(out.Token).Confirmation; c != (token.Confirmation{JKT: m.proof.Key().ID}) {
		t.Errorf("cnf = %+v, want jkt", c)
	}
}

// The assertion of a trusted workload issuer gets the token of the agent that it speaks of.
func TestJWTBearerGrant(t *testing.T) {
	cluster := newSigner(t, "ES256")
	single := newSigner(t, "ES256")
	h := newHouse(t, 2, func(c *oauth.Config) {
		for name, s := range map[string]*token.Signer{"https://cluster.example": cluster, "https://ci.example": single} {
			c.Clients.Workloads = append(c.Clients.Workloads, oauth.WorkloadIssuer{
				Issuer: name, Keys: fmt.Appendf(nil, `{"keys":[%s]}`, s.Key().JWK()), SingleUse: s == single,
				Rules: []oauth.Rule{{Agent: "alice", Conditions: []oauth.Condition{{Claim: "sub", Is: "workload:alice"}}}},
			})
		}
	})
	alice, bob := h.member("alice", "read-mail"), h.member("bob", "read-mail")
	assertion := func(s *token.Signer, iss, sub string) string {
		now := h.Now().Unix()
		text, err := s.Sign("JWT", fmt.Appendf(nil, `{"iss":%q,"sub":%q,"aud":%q,"jti":%q,"iat":%d,"exp":%d}`, iss, sub, houseIssuer, rand.Text(), now, now+60))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	r := h.replicas[0]
	nonce := r.post("/oauth2/token", url.Values{"grant_type": {bearerGrant}}, "DPoP", alice.proofFor("")).Header.Get("DPoP-Nonce")
	ask := func(form url.Values) *outcome {
		form.Set("grant_type", bearerGrant)
		return r.post("/oauth2/token", form, "DPoP", alice.proofFor(nonce))
	}
	good := func() url.Values {
		return url.Values{"assertion": {assertion(cluster, "https://cluster.example", "workload:alice")}}
	}
	out := ask(good())
	if out.Status != 200 || out.Scope != "read-mail" {
		t.Fatalf("answer = %d %s", out.Status, out.Body)
	}
	if p := h.claims(out.Token); p.Subject != "alice" || p.ClientID != "alice" || p.Actor != nil {
		t.Errorf("claims = %+v", p)
	}
	rec, err := oauth.ParseIssued(h.of(audit.TokenIssued)[0].Body)
	if err != nil || rec.Method != "workload" || rec.Grant != bearerGrant {
		t.Errorf("recorded %+v, %v", rec, err)
	}
	if !r.introspect(out.Token).Active {
		t.Error("the token is not active")
	}

	// The agent may authenticate besides, and nobody else.
	both := func(m *member) url.Values {
		form := m.form()
		form.Set("assertion", good().Get("assertion"))
		return form
	}
	if out := ask(both(alice)); out.Status != 200 {
		t.Errorf("authenticated as the same: %s", out.Body)
	}
	wantError(t, "authenticated as another", ask(both(bob)), 400, "invalid_grant")
	wantError(t, "no assertion", ask(url.Values{}), 400, "invalid_request")
	for name, form := range map[string]url.Values{
		"nonsense":              {"assertion": {"abc"}},
		"another workload":      {"assertion": {assertion(cluster, "https://cluster.example", "workload:bob")}},
		"another issuer":        {"assertion": {assertion(cluster, "https://evil.example", "workload:alice")}},
		"another issuer's key":  {"assertion": {assertion(single, "https://cluster.example", "workload:alice")}},
		"a client's assertion":  {"assertion": {alice.assertion()}},
		"one of our own tokens": {"assertion": {out.Token}},
	} {
		wantError(t, name, ask(form), 400, "invalid_grant")
	}

	// An assertion that is good for once is good for once, wherever it is used again.
	once := url.Values{"assertion": {assertion(single, "https://ci.example", "workload:alice")}}
	if out := ask(once); out.Status != 200 {
		t.Fatalf("single use: %s", out.Body)
	}
	wantError(t, "used again", ask(once), 400, "invalid_grant")
	h.settle()
	r = h.replicas[1]
	nonce = r.post("/oauth2/token", once, "DPoP", alice.proofFor("")).Header.Get("DPoP-Nonce")
	wantError(t, "used again at another replica", ask(once), 400, "invalid_grant")
}
