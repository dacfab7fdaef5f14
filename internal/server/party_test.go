package server_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/server"
	"github.com/safeconduct/safeconduct/internal/token"
)

// passports returns the configuration of the organisation of testdata/passports.
func passports(t testing.TB) server.Config {
	t.Helper()
	cfg := load(t, "")
	cfg.Organisation = server.Organisation{
		Catalog: "testdata/passports/catalog.yaml", Schema: "testdata/passports/schema.cedarschema",
		Policies: []string{"testdata/passports/policies.cedar"}, Agents: "testdata/passports/agents.yaml",
	}
	return cfg
}

// A clock is that of a server, and goes ahead of ours as the test says.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// An object is a JOSE header or a set of claims, which a test bends as it likes.
type object map[string]any

// but returns the object with other members: name, value pairs. A nil value leaves the member out.
func (o object) but(pairs ...any) object {
	out := maps.Clone(o)
	for i := 0; i+1 < len(pairs); i += 2 {
		if name := pairs[i].(string); pairs[i+1] == nil {
			delete(out, name)
		} else {
			out[name] = pairs[i+1]
		}
	}
	return out
}

func (o object) json() string { return string(must(json.Marshal(o))) }

// compact signs whatever a test wants, with the algorithm that the header names; the standard library
// does it, so that nothing is refused for being wrong.
func compact(header, payload string, key crypto.PrivateKey) string {
	var h struct{ Alg string }
	_ = json.Unmarshal([]byte(header), &h) // what cannot be read is signed in some way
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	sum := sha256.Sum256([]byte(input))
	var sig []byte
	switch key := key.(type) {
	case ed25519.PrivateKey:
		sig = ed25519.Sign(key, []byte(input))
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			panic(err)
		}
		sig = make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
	case *rsa.PrivateKey:
		if h.Alg == "RS256" {
			sig = must(rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:]))
		} else {
			sig = must(rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], nil))
		}
	case []byte:
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(input))
		sig = mac.Sum(nil)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// newKey draws a key for an algorithm.
func newKey(alg string) crypto.Signer {
	switch alg {
	case "ES256":
		return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	case "PS256", "RS256":
		return rsaKey()
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// rsaKey takes its time to make; the keys of one test are as good for another.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })

// publicJWK returns the members of a key's JWK, without kid and alg.
func publicJWK(key crypto.Signer) object {
	var out object
	if err := json.Unmarshal(must(token.NewKey(key.Public())).JWK(), &out); err != nil {
		panic(err)
	}
	return out.but("kid", nil, "alg", nil, "use", nil)
}

// A party is an agent that has registered a key, and makes by hand what it sends.
type party struct {
	*running
	id, alg, kid string
	key, proof   crypto.Signer
	nonce        string // the newest that the server gave
}

// enrolment returns a fresh enrolment token for an agent.
func (r *running) enrolment(id string) string {
	r.Helper()
	var e struct{ Token string }
	r.into(r.do("POST", "/v1/agents/"+id+"/enrolment", adminToken, `{"why":"test"}`), &e)
	return e.Token
}

// party enrols an agent with a new key of the algorithm.
func (r *running) party(id, alg string) *party {
	r.Helper()
	return r.partyBy(id, alg, newKey(alg))
}

// partyBy enrols an agent with that key.
func (r *running) partyBy(id, alg string, key crypto.Signer) *party {
	r.Helper()
	p := &party{running: r, id: id, alg: alg, key: key, proof: newKey("EdDSA")}
	enrolment := r.enrolment(id)
	rep := r.do("POST", "/oauth2/enroll", "", object{"token": enrolment, "proof": p.keyProof(key, alg, enrolment)}.json())
	if rep.status != 201 {
		r.Fatalf("enrolling %s: %d %s", id, rep.status, rep.body)
	}
	p.kid = must(token.NewKey(key.Public())).ID
	return p
}

// keyProof proves possession of a key to be registered.
func (r *running) keyProof(key crypto.Signer, alg, enrolment string) string {
	claims := object{"aud": r.issuer(), "iat": r.cfg.Now().Unix(), "exp": r.cfg.Now().Unix() + 60, "jti": rand.Text()}
	if enrolment != "" {
		hash := sha256.Sum256([]byte(enrolment))
		claims["nonce"] = base64.RawURLEncoding.EncodeToString(hash[:])
	}
	return compact(object{"alg": alg, "typ": "key-proof+jwt", "jwk": publicJWK(key)}.json(), claims.json(), key)
}

// issuer is the name under which the server issues.
func (r *running) issuer() string {
	if r.cfg.PublicURL != "" {
		return r.cfg.PublicURL
	}
	return r.URL()
}

// A try is a request to the token endpoint that is in order, until a test bends it.
type try struct {
	p                    *party
	path                 string
	form                 url.Values
	head, claims         object // of the client assertion
	key                  any
	proofHead, proof     object
	proofKey             any
	assertion, proofText func() string // in place of what the objects say
	noAssertion, noProof bool
	headers              http.Header
}

// ask returns a request for a token with that scope; pairs are further parameters.
func (p *party) ask(scope string, pairs ...string) *try {
	now := p.cfg.Now().Unix()
	tr := &try{p: p, path: "/oauth2/token", key: p.key, proofKey: p.proof, headers: http.Header{},
		form:      url.Values{"grant_type": {"client_credentials"}},
		head:      object{"alg": p.alg, "kid": p.kid, "typ": "client-authentication+jwt"},
		claims:    object{"iss": p.id, "sub": p.id, "aud": p.issuer(), "iat": now, "exp": now + 60, "jti": rand.Text()},
		proofHead: object{"alg": "EdDSA", "typ": "dpop+jwt", "jwk": publicJWK(p.proof)},
		proof:     object{"jti": rand.Text(), "htm": "POST", "htu": p.issuer() + "/oauth2/token", "iat": now},
	}
	if scope != "" {
		tr.form.Set("scope", scope)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		tr.form.Add(pairs[i], pairs[i+1])
	}
	if p.nonce == "" {
		p.nonce = p.freshNonce()
	}
	tr.proof["nonce"] = p.nonce
	return tr
}

// freshNonce asks for a nonce, as every client does at first.
func (p *party) freshNonce() string {
	now := p.cfg.Now().Unix()
	proof := compact(object{"alg": "EdDSA", "typ": "dpop+jwt", "jwk": publicJWK(p.proof)}.json(),
		object{"jti": rand.Text(), "htm": "POST", "htu": p.issuer() + "/oauth2/token", "iat": now}.json(), p.proof)
	rep := p.do("POST", "/oauth2/token", "", "grant_type=client_credentials", "Content-Type", "application/x-www-form-urlencoded", "DPoP", proof)
	if got := code(rep); got != "use_dpop_nonce" || rep.header.Get("DPoP-Nonce") == "" {
		p.Fatalf("a proof without a nonce: %d %s", rep.status, rep.body)
	}
	return rep.header.Get("DPoP-Nonce")
}

// with changes claims of the assertion.
func (tr *try) with(pairs ...any) *try { tr.claims = tr.claims.but(pairs...); return tr }

// withHead changes the header of the assertion.
func (tr *try) withHead(pairs ...any) *try { tr.head = tr.head.but(pairs...); return tr }

// proving changes claims of the proof.
func (tr *try) proving(pairs ...any) *try { tr.proof = tr.proof.but(pairs...); return tr }

// provingHead changes the header of the proof.
func (tr *try) provingHead(pairs ...any) *try { tr.proofHead = tr.proofHead.but(pairs...); return tr }

// set sets parameters of the form.
func (tr *try) set(pairs ...string) *try {
	for i := 0; i+1 < len(pairs); i += 2 {
		tr.form.Set(pairs[i], pairs[i+1])
	}
	return tr
}

// send sends the request once.
func (tr *try) send() reply {
	tr.p.Helper()
	if !tr.noAssertion {
		text := ""
		if tr.assertion != nil {
			text = tr.assertion()
		} else {
			text = compact(tr.head.json(), tr.claims.json(), tr.key)
		}
		tr.form.Set("client_assertion", text)
		if !tr.form.Has("client_assertion_type") {
			tr.form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		}
	}
	if !tr.noProof {
		if tr.proofText != nil {
			tr.headers.Add("DPoP", tr.proofText())
		} else {
			tr.headers.Add("DPoP", compact(tr.proofHead.json(), tr.proof.json(), tr.proofKey))
		}
	}
	if tr.headers.Get("Content-Type") == "" {
		tr.headers.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return tr.p.send("POST", tr.path, tr.form.Encode(), tr.headers)
}

// send sends a request with exactly those headers.
func (r *running) send(method, path, body string, headers http.Header) reply {
	r.Helper()
	req, err := http.NewRequest(method, r.URL()+path, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	req.Header = headers
	resp, err := r.http.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(b)}
}

// granted is the answer of the token endpoint.
type granted struct {
	Token   string            `json:"access_token"`
	Type    string            `json:"token_type"`
	Expires int64             `json:"expires_in"`
	Scope   string            `json:"scope"`
	Details []json.RawMessage `json:"authorization_details"`
	Refused []struct{ Identifier, Code, Message string }
}

// token sends the request and returns what is granted.
func (tr *try) token() granted {
	tr.p.Helper()
	var g granted
	tr.p.into(tr.send(), &g)
	return g
}

// token returns a token with that scope.
func (p *party) token(scope string, pairs ...string) granted {
	p.Helper()
	return p.ask(scope, pairs...).token()
}

// claimsOf returns the claims of a token without verifying it.
func claimsOf(t testing.TB, text string) object {
	t.Helper()
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no compact JWS", text)
	}
	var out object
	if err := json.Unmarshal(must(base64.RawURLEncoding.DecodeString(parts[1])), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// code returns the error of an OAuth error answer.
func code(rep reply) string {
	var body struct{ Error string }
	_ = json.Unmarshal([]byte(rep.body), &body) // none, then
	return body.Error
}

// wantError checks an OAuth error answer: its status, code and form (RFC 6749, section 5.2).
func wantError(t *testing.T, rep reply, status int, want string) {
	t.Helper()
	if rep.status != status || code(rep) != want {
		t.Errorf("%d %s, want %d with the error %s", rep.status, rep.body, status, want)
	}
	wantErrorForm(t, rep)
}

// wantErrorForm checks how an error answer looks.
func wantErrorForm(t *testing.T, rep reply) {
	t.Helper()
	var body struct {
		Error       string
		Description string `json:"error_description"`
		URI         string `json:"error_uri"`
	}
	if err := json.Unmarshal([]byte(rep.body), &body); err != nil || body.Error == "" {
		t.Errorf("no error answer: %s", rep.body)
	}
	bad := func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' }
	if strings.ContainsFunc(body.Error, bad) || strings.ContainsFunc(body.Description, bad) || body.URI != "" {
		t.Errorf("an error answer with characters it must not have: %s", rep.body)
	}
	if got := rep.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q, want application/json", got)
	}
	if got := rep.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q, want no-store", got)
	}
}

// A showing is a request that an agent makes for itself with its token, which a test bends.
type showing struct {
	p               *party
	scheme, access  string
	path, body      string
	proofHead, with object
	key             any
	text            func() string
	none            bool
	headers         http.Header
}

// show returns a question about the agent's own act, with its token and a proof.
func (p *party) show(access, action, args string) *showing {
	hash := sha256.Sum256([]byte(access))
	sh := &showing{p: p, scheme: "DPoP", access: access, path: "/access/v1/evaluation", key: p.proof, headers: http.Header{},
		proofHead: object{"alg": "EdDSA", "typ": "dpop+jwt", "jwk": publicJWK(p.proof)},
		with: object{"jti": rand.Text(), "htm": "POST", "htu": p.issuer() + "/access/v1/evaluation", "iat": p.cfg.Now().Unix(),
			"ath": base64.RawURLEncoding.EncodeToString(hash[:])},
	}
	sh.body = evaluation("", action, args, "")
	if p.nonce == "" {
		p.nonce = p.freshNonce()
	}
	sh.with["nonce"] = p.nonce
	return sh
}

// evaluation is a question about the ledger.
func evaluation(subject, action, args, context string) string {
	q := `"resource":{"type":"Ledger","id":"main"},"action":{"name":"` + action + `"`
	if args != "" {
		q += `,"properties":` + args
	}
	q += "}"
	if subject != "" {
		q = `"subject":{"type":"Agent","id":"` + subject + `"},` + q
	}
	if context != "" {
		q += `,"context":` + context
	}
	return "{" + q + "}"
}

// but changes claims of the proof.
func (sh *showing) but(pairs ...any) *showing { sh.with = sh.with.but(pairs...); return sh }

// send sends the question once.
func (sh *showing) send() reply {
	sh.p.Helper()
	sh.headers.Set("Authorization", sh.scheme+" "+sh.access)
	sh.headers.Set("Content-Type", "application/json")
	if !sh.none {
		if sh.text != nil {
			sh.headers.Add("DPoP", sh.text())
		} else {
			sh.headers.Add("DPoP", compact(sh.proofHead.json(), sh.with.json(), sh.key))
		}
	}
	return sh.p.send("POST", sh.path, sh.body, sh.headers)
}

// form sends a form of the party's to an endpoint other than the token endpoint, authenticated.
func (p *party) form(path string, pairs ...string) reply {
	p.Helper()
	tr := p.ask("")
	tr.path, tr.noProof, tr.form = path, true, url.Values{}
	return tr.set(pairs...).send()
}

// introspect returns what an enforcement point is told of a token, all of it.
func (r *running) introspect(access string) (said object) {
	r.Helper()
	r.into(r.do("POST", "/oauth2/introspect", pepToken, url.Values{"token": {access}}.Encode(),
		"Content-Type", "application/x-www-form-urlencoded"), &said)
	return said
}

// active reports whether a token counts.
func (r *running) active(access string) bool {
	r.Helper()
	said := r.introspect(access)
	if said["active"] != true && len(said) != 1 {
		r.Errorf("an inactive token is introspected as %v", said)
	}
	return said["active"] == true
}

// exchange asks for a token by which the party acts for the subject of another.
func (p *party) exchange(subject, scope string, pairs ...string) *try {
	return p.ask(scope, pairs...).set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange",
		"subject_token", subject, "subject_token_type", "urn:ietf:params:oauth:token-type:access_token")
}

// decided returns what an answer decides.
func decided(t testing.TB, rep reply) bool {
	t.Helper()
	var d struct{ Decision *bool }
	if err := json.Unmarshal([]byte(rep.body), &d); err != nil || d.Decision == nil {
		t.Fatalf("no decision: %d %s", rep.status, rep.body)
	}
	return *d.Decision
}

// presented asks as an enforcement point whether the bearer of a token may do something; the proof
// is the one for the request there.
func (r *running) presented(p *party, access, action, args string) bool {
	r.Helper()
	hash := sha256.Sum256([]byte(access))
	const url = "https://books.example/ledger"
	proof := compact(object{"alg": "EdDSA", "typ": "dpop+jwt", "jwk": publicJWK(p.proof)}.json(),
		object{"jti": rand.Text(), "htm": "GET", "htu": url, "iat": r.cfg.Now().Unix(), "ath": base64.RawURLEncoding.EncodeToString(hash[:])}.json(), p.proof)
	rep := r.ask("/access/v1/evaluation", evaluation("", action, args, fmt.Sprintf(
		`{"observed":{"passport":{"token":%q,"proof":%q,"method":"GET","url":%q,"audience":%q}}}`, access, proof, url, r.issuer())))
	if rep.status != 200 {
		r.Fatalf("presenting a token: %d %s", rep.status, rep.body)
	}
	return decided(r, rep)
}

// state sets the state of an agent.
func (r *running) state(id, state string) {
	r.Helper()
	if rep := r.do("POST", "/v1/agents/"+id+"/state", adminToken, object{"state": state, "why": "test"}.json()); rep.status != 200 {
		r.Fatalf("making %s %s: %d %s", id, state, rep.status, rep.body)
	}
}
