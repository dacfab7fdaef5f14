package server_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/server"
	"github.com/safeconduct/safeconduct/internal/token"
)

// agents of examples/agentdojo that tests enrol.
const (
	banker = "banking.gpt-4o-2024-05-13"
	teller = "banking.gpt-3.5-turbo-0125"
	clerk  = "workspace.gpt-4o-2024-05-13"
)

// An enrolled agent is one that has registered a key with a running server.
type enrolled struct {
	*running
	id         string
	key, proof *token.Signer
	private    crypto.Signer // of key
	nonce      string        // the newest that the server gave for proofs
}

// agentdojo returns the configuration of the example organisation.
func agentdojo(t testing.TB) server.Config {
	t.Helper()
	return load(t, "../../examples/agentdojo/safeconduct.yaml")
}

// enrolment returns a fresh enrolment token for an agent.
func (r *running) enrolment(id string) string {
	r.Helper()
	var e struct{ Token string }
	r.into(r.do("POST", "/v1/agents/"+id+"/enrolment", adminToken, `{"why":"test"}`), &e)
	return e.Token
}

// enrol gives an agent a key of the algorithm.
func (r *running) enrol(id, alg string) *enrolled {
	r.Helper()
	a := &enrolled{running: r, id: id}
	var err error
	if a.key, a.private, err = token.GenerateSigner(alg, rand.Reader); err != nil {
		r.Fatal(err)
	}
	if a.proof, _, err = token.GenerateSigner(alg, rand.Reader); err != nil {
		r.Fatal(err)
	}
	enrolment := r.enrolment(id)
	hash := sha256.Sum256([]byte(enrolment))
	now := time.Now().Unix()
	proof, err := a.key.SignWithKey("key-proof+jwt", fmt.Appendf(nil, `{"aud":%q,"iat":%d,"exp":%d,"jti":%q,"nonce":%q}`,
		r.URL(), now, now+60, rand.Text(), base64.RawURLEncoding.EncodeToString(hash[:])))
	if err != nil {
		r.Fatal(err)
	}
	if got := r.do("POST", "/oauth2/enroll", "", fmt.Sprintf(`{"token":%q,"proof":%q}`, enrolment, proof)); got.status >= 300 {
		r.Fatalf("enrolling %s: %d %s", id, got.status, got.body)
	}
	return a
}

// jwk returns the private key as a JWK (RFC 8037, RFC 7518).
func (a *enrolled) jwk() map[string]string {
	a.Helper()
	var m map[string]string
	var public map[string]any
	if err := json.Unmarshal(a.key.Key().JWK(), &public); err != nil {
		a.Fatal(err)
	}
	m = map[string]string{}
	for _, name := range []string{"kty", "crv", "x", "y"} {
		if v, ok := public[name].(string); ok {
			m[name] = v
		}
	}
	switch k := a.private.(type) {
	case ed25519.PrivateKey:
		m["d"] = base64.RawURLEncoding.EncodeToString(k.Seed())
	case *ecdsa.PrivateKey:
		d, err := k.Bytes()
		if err != nil {
			a.Fatal(err)
		}
		m["d"] = base64.RawURLEncoding.EncodeToString(d)
	}
	return m
}

// post sends a form of the agent's with a fresh client assertion and, at the token endpoint, a proof.
func (a *enrolled) post(path string, form url.Values) reply {
	a.Helper()
	for try := 0; ; try++ {
		now := time.Now()
		assertion, err := a.key.Sign("client-authentication+jwt", fmt.Appendf(nil, `{"iss":%q,"sub":%q,"aud":%q,"iat":%d,"exp":%d,"jti":%q}`,
			a.id, a.id, a.URL(), now.Unix(), now.Unix()+60, rand.Text()))
		if err != nil {
			a.Fatal(err)
		}
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
		headers := []string{"Content-Type", "application/x-www-form-urlencoded"}
		if path == "/oauth2/token" {
			headers = append(headers, "DPoP", a.prove("POST", path, ""))
		}
		got := a.do("POST", path, "", form.Encode(), headers...)
		if n := got.header.Get("DPoP-Nonce"); n != "" {
			a.nonce = n
		}
		if try == 0 && strings.Contains(got.body, "use_dpop_nonce") {
			continue
		}
		return got
	}
}

// prove returns a DPoP proof with the newest nonce.
func (a *enrolled) prove(method, path, access string) string {
	a.Helper()
	p, err := token.SignProof(a.proof, token.Proof{ID: rand.Text(), Nonce: a.nonce, Method: method, URL: a.URL() + path, IssuedAt: time.Now()}, access)
	if err != nil {
		a.Fatal(err)
	}
	return p
}

// passport returns a passport with that scope.
func (a *enrolled) passport(scope string, more ...string) string {
	a.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {scope}}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	got := a.post("/oauth2/token", form)
	var body struct {
		Token string `json:"access_token"`
	}
	a.into(got, &body)
	return body.Token
}

// introspected says what an enforcement point is told of a token.
func (r *running) introspected(access string) (said struct {
	Active bool
	Scope  string
}) {
	r.Helper()
	r.into(r.do("POST", "/oauth2/introspect", pepToken, url.Values{"token": {access}}.Encode(),
		"Content-Type", "application/x-www-form-urlencoded"), &said)
	return said
}
