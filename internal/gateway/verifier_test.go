package gateway_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/token"
)

const (
	public   = "https://gw.example.com"
	resource = public + "/mcp"
)

// A clock is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now().Truncate(time.Second)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// document is a whole document, which a test changes.
func document(extra ...string) string {
	return lines(append([]string{"name: test", "listen: 127.0.0.1:0", "public_url: " + public, "service: {url: http://127.0.0.1:1, issuer: https://auth.example.com}"}, extra...)...)
}

func load(t testing.TB, text string) *gateway.Common {
	t.Helper()
	var c struct {
		gateway.Common `yaml:",inline"`
	}
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := gateway.Load(file, &c); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return &c.Common
}

// open opens a gateway of a document, with one door at /mcp.
func open(t testing.TB, text string, o gateway.Options) *gateway.Gateway {
	t.Helper()
	t.Setenv(gateway.TokenVariable, "sc_pep_of_a_test")
	if o.Paths == nil {
		o.Paths = []string{"/mcp"}
	}
	g, err := gateway.Open(t.Context(), load(t, text), o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// request is one to the door, with headers as pairs of name and value.
func request(method, target string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.RemoteAddr = "192.0.2.7:4711"
	for pair := range slices.Chunk(headers, 2) {
		r.Header.Add(pair[0], pair[1])
	}
	return r
}

func challenge(t testing.TB, err error) *gateway.Challenge {
	t.Helper()
	var c *gateway.Challenge
	if !errors.As(err, &c) {
		t.Fatalf("got %v, want a challenge", err)
	}
	return c
}

func TestNoToken(t *testing.T) {
	f := newForeign(t)
	g := open(t, document("authorization:", "  scopes: [read-mail, send-mail]", "  servers: [{issuer: \""+f.URL+"\"}]"), gateway.Options{})
	_, err := g.Verifier.Verify(request("POST", resource))
	c := challenge(t, err)
	w := httptest.NewRecorder()
	c.WriteTo(w)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("status %d, want 401", w.Code)
	}
	want := []string{
		`Bearer resource_metadata="https://gw.example.com/.well-known/oauth-protected-resource/mcp", scope="read-mail send-mail"`,
		`DPoP resource_metadata="https://gw.example.com/.well-known/oauth-protected-resource/mcp", scope="read-mail send-mail", algs="EdDSA Ed25519 ES256 PS256 RS256"`,
	}
	if diff := cmp.Diff(want, w.Header().Values("WWW-Authenticate")); diff != "" {
		t.Errorf("WWW-Authenticate (-want +got):\n%s", diff)
	}
	if !errors.Is(c, authz.ErrUnauthenticated) {
		t.Errorf("the challenge is no authz.ErrUnauthenticated")
	}

	// And there the client learns where to get a token.
	rec := httptest.NewRecorder()
	g.Mounted(http.NotFoundHandler()).ServeHTTP(rec, request("GET", public+"/.well-known/oauth-protected-resource/mcp"))
	var m map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &m); err != nil || rec.Code != 200 {
		t.Fatalf("metadata: %d %s", rec.Code, rec.Body)
	}
	wantMeta := map[string]any{
		"resource": resource, "authorization_servers": []any{"https://auth.example.com", f.URL}, "scopes_supported": []any{"read-mail", "send-mail"},
		"bearer_methods_supported": []any{"header"}, "resource_name": "test",
		"dpop_signing_alg_values_supported":     []any{"EdDSA", "Ed25519", "ES256", "PS256", "RS256"},
		"authorization_details_types_supported": []any{"capability"},
	}
	if diff := cmp.Diff(wantMeta, m); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	for _, path := range []string{"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/other", "/.well-known/safeconduct/client"} {
		rec := httptest.NewRecorder()
		g.Mounted(http.NotFoundHandler()).ServeHTTP(rec, request("GET", public+path))
		if rec.Code != http.StatusNotFound {
			t.Errorf("GET %s: %d, want 404", path, rec.Code)
		}
	}
}

func TestForeignToken(t *testing.T) {
	f := newForeign(t)
	now := newClock()
	g := open(t, document("authorization: {servers: [{issuer: \""+f.URL+"\", scopes: [mail.read]}]}"), gateway.Options{Now: now.Now})
	for _, kid := range []string{"ed", "ec"} {
		text := f.sign(kid, f.claims(now.Now(), resource), nil)
		w, err := g.Verifier.Verify(request("POST", resource, "Authorization", "Bearer "+text))
		if err != nil {
			t.Fatalf("%s: %v", kid, err)
		}
		if w.Subject.Ref != (authz.Ref{Type: "agent", ID: "travel-bot"}) || !slices.Equal(w.OnBehalf, []authz.Ref{{Type: "user", ID: "anna"}}) || w.Presented != nil {
			t.Errorf("%s: %+v", kid, w)
		}
		if w.Address.String() != "192.0.2.7" || w.Token != text || !w.Expires.Equal(now.Now().Add(5*time.Minute)) || w.Claims["sub"] != "anna" {
			t.Errorf("%s: %+v", kid, w)
		}
		q := g.Ask(w, authz.Request{Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "somebody-else"}}, OnBehalf: []authz.Ref{{Type: "user", ID: "root"}}, Action: authz.Action{Name: "send"}})
		if r := q.Requests[0]; r.Subject.ID != "travel-bot" || r.OnBehalf[0].ID != "anna" || r.Observed.Address != w.Address || r.Action.Name != "send" {
			t.Errorf("%s: the question is %+v", kid, r)
		}
		if c := g.Verifier.Scopes(request("POST", resource), w, "mail.send"); c != nil {
			t.Errorf("%s: scopes that it has: %v", kid, c)
		}
		c := g.Verifier.Scopes(request("POST", resource), w, "mail.delete")
		if c == nil || c.Status != 403 || !strings.Contains(c.Header()["Www-Authenticate"][0], `scope="mail.read mail.send mail.delete", error="insufficient_scope"`) {
			t.Errorf("%s: a scope that it has not: %+v", kid, c)
		}
	}
	if n := f.count("/jwks"); n != 1 {
		t.Errorf("the key set was asked for %d times, want once", n)
	}
}

// Tokens that must not count, and why.
func TestHostileTokens(t *testing.T) {
	f := newForeign(t)
	other := newForeign(t)
	now := newClock()
	big := rsaKey(t)
	f.keys["rs"] = big
	g := open(t, document("authorization: {servers: [{issuer: \""+f.URL+"\", scopes: [mail.read]}]}"), gateway.Options{Now: now.Now})
	ed := f.keys["ed"].(ed25519.PrivateKey)
	at := now.Now()
	good := func(change ...any) jwt.MapClaims { return f.claims(at, resource, change...) }
	payload := func(extra string) string {
		return fmt.Sprintf(`{"iss":%q,"sub":"anna","client_id":"travel-bot","aud":%q,"scope":"mail.read","exp":%d%s}`, f.URL, resource, at.Add(time.Minute).Unix(), extra)
	}
	const header = `{"alg":"EdDSA","typ":"at+jwt","kid":"ed"}`
	pub, err := x509.MarshalPKIXPublicKey(big.Public())
	if err != nil {
		t.Fatal(err)
	}
	none := jwt.NewWithClaims(jwt.SigningMethodNone, good())
	none.Header["typ"], none.Header["kid"] = "at+jwt", "ed"
	noneText, err := none.SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	ownJWK := map[string]any{"jwk": json.RawMessage(publicJWK(t, "mine", edKey(t)))}
	mine := edKey(t)
	ownJWK["jwk"] = json.RawMessage(publicJWK(t, "mine", mine))
	for _, c := range []struct {
		name, token string
		status      int
	}{
		{"an ordinary one, for comparison", forge(header, payload(""), ed), 0},
		{"by RSA, for comparison", f.sign("rs", good(), nil), 0},
		{"no signature (alg none)", noneText, 401},
		{"HS256 with the public key", signWith(t, pub, jwt.SigningMethodHS256, "rs", good(), nil), 401},
		{"HS256 with the text of the key set", signWith(t, []byte(publicJWK(t, "rs", big)), jwt.SigningMethodHS256, "rs", good(), nil), 401},
		{"signed by another key of that kid", signWith(t, edKey(t), jwt.SigningMethodEdDSA, "ed", good(), nil), 401},
		{"the key's algorithm is another", signWith(t, f.keys["ec"], jwt.SigningMethodES256, "ed", good(), nil), 401},
		{"a key that it brings along", signWith(t, mine, jwt.SigningMethodEdDSA, "ed", good(), ownJWK), 401},
		{"a key from elsewhere (jku)", f.sign("ed", good(), map[string]any{"jku": other.URL + "/jwks"}), 401},
		{"a certificate chain (x5u)", f.sign("ed", good(), map[string]any{"x5u": other.URL}), 401},
		{"critical extensions", f.sign("ed", good(), map[string]any{"crit": []string{"x"}, "x": 1}), 401},
		{"kid as a path", f.sign("ed", good(), map[string]any{"kid": "../../etc/passwd"}), 401},
		{"kid as a URL", f.sign("ed", good(), map[string]any{"kid": other.URL + "/jwks"}), 401},
		{"no kid where several keys fit", f.sign("ec", good(), map[string]any{"kid": nil}), 0}, // only one is ES256
		{"typ of an ID token", f.sign("ed", good(), map[string]any{"typ": "JWT"}), 401},
		{"no typ", f.sign("ed", good(), map[string]any{"typ": nil}), 401},
		{"typ of a proof", f.sign("ed", good(), map[string]any{"typ": "dpop+jwt"}), 401},
		{"another issuer", other.sign("ed", other.claims(at, resource), nil), 401},
		{"another issuer's word", f.sign("ed", good("iss", other.URL), nil), 401},
		{"the issuer with a slash", f.sign("ed", good("iss", f.URL+"/"), nil), 401},
		{"no issuer", f.sign("ed", good("iss", nil), nil), 401},
		{"the service's own name", f.sign("ed", good("iss", "https://auth.example.com"), nil), 503}, // whose keys cannot be had here
		{"another audience", f.sign("ed", good("aud", "https://gw.example.com/other"), nil), 401},
		{"the origin alone", f.sign("ed", good("aud", public), nil), 401},
		{"the audience as the beginning of another", f.sign("ed", good("aud", resource+"/x"), nil), 401},
		{"the audience in another case", f.sign("ed", good("aud", "https://GW.example.com/mcp"), nil), 401},
		{"no audience", f.sign("ed", good("aud", nil), nil), 401},
		{"an empty list of audiences", f.sign("ed", good("aud", []string{}), nil), 401},
		{"audiences that are no texts", f.sign("ed", good("aud", []any{resource, 1}), nil), 401},
		{"an audience in an object", f.sign("ed", good("aud", map[string]any{"x": resource}), nil), 401},
		{"one of several audiences", f.sign("ed", good("aud", []string{"https://a.example", resource}), nil), 0},
		{"expired", f.sign("ed", good("exp", at.Add(-31*time.Second).Unix()), nil), 401},
		{"expired within the skew", f.sign("ed", good("exp", at.Add(-29*time.Second).Unix()), nil), 0},
		{"no expiry", f.sign("ed", good("exp", nil), nil), 401},
		{"expiry as a text", f.sign("ed", good("exp", "9999999999"), nil), 401},
		{"expiry beyond all time", f.sign("ed", good("exp", 1e300), nil), 401},
		{"not valid yet", f.sign("ed", good("nbf", at.Add(time.Minute).Unix()), nil), 401},
		{"issued in the future", f.sign("ed", good("iat", at.Add(time.Minute).Unix()), nil), 401},
		{"a claim twice", forge(header, payload(`,"aud":"https://x.example"`), ed), 401},
		{"a claim twice, deep inside", forge(header, payload(`,"x":{"y":1,"y":2}`), ed), 401},
		{"bad UTF-8", forge(header, payload(",\"x\":\"\xff\""), ed), 401},
		{"something after the claims", forge(header, payload("")+"{}", ed), 401},
		{"a header twice", forge(`{"alg":"EdDSA","alg":"none","typ":"at+jwt","kid":"ed"}`, payload(""), ed), 401},
		{"bound to a key, shown as a bearer", f.sign("ed", good("cnf", map[string]string{"jkt": strings.Repeat("A", 43)}), nil), 401},
		{"bound to a certificate, and there is none", f.sign("ed", good("cnf", map[string]string{"x5t#S256": strings.Repeat("A", 43)}), nil), 401},
		{"bound in an unknown way", f.sign("ed", good("cnf", map[string]any{"kid": "x"}), nil), 401},
		{"bound to nothing", f.sign("ed", good("cnf", map[string]any{}), nil), 401},
		{"no client", f.sign("ed", good("client_id", nil), nil), 401},
		{"a client with a line break", f.sign("ed", good("client_id", "a\nb"), nil), 401},
		{"a scope is missing", f.sign("ed", good("scope", "mail.send"), nil), 403},
		{"no scope", f.sign("ed", good("scope", nil), nil), 403},
		{"scopes as a list", f.sign("ed", good("scope", nil, "scp", []string{"mail.read"}), nil), 0},
		{"too many actors", f.sign("ed", good("act", chain(9)), nil), 401},
		{"an actor without a name", f.sign("ed", good("act", map[string]any{"x": 1}), nil), 401},
		{"act as a text", f.sign("ed", good("act", "travel-bot"), nil), 401},
		{"huge", "ey" + strings.Repeat("A", 9000) + ".e30.AA", 400},
		{"deep", forge(header, `{"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+"}", ed), 401},
		{"encrypted", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAA.AAAA.AAAA", 401},
		{"two parts", "e30.e30", 401},
		{"opaque", "0123456789abcdef", 401},
		{"a broken signature", f.sign("ed", good(), nil) + "A", 401},
	} {
		w, err := g.Verifier.Verify(request("POST", resource, "Authorization", "Bearer "+c.token))
		status := 0
		if err != nil {
			ch := challenge(t, err)
			status = ch.Status
			if strings.Contains(ch.Message, c.token) || strings.Contains(strings.Join(ch.Header()["Www-Authenticate"], " "), c.token) {
				t.Errorf("%s: the challenge quotes the token", c.name)
			}
		}
		if status != c.status || (err == nil) != (w != nil) {
			t.Errorf("%s: %v, want status %d", c.name, err, c.status)
		}
	}
}

func chain(n int) map[string]any {
	m := map[string]any{"sub": fmt.Sprintf("actor-%d", n)}
	if n > 1 {
		m["act"] = chain(n - 1)
	}
	return m
}

// How tokens are shown.
func TestHeaders(t *testing.T) {
	f := newForeign(t)
	now := newClock()
	g := open(t, document("authorization: {servers: [{issuer: \""+f.URL+"\"}]}"), gateway.Options{Now: now.Now})
	tok := f.sign("ed", f.claims(now.Now(), resource), nil)
	for _, c := range []struct {
		name    string
		target  string
		headers []string
		status  int
	}{
		{"as it should be", resource, []string{"Authorization", "Bearer " + tok}, 0},
		{"the scheme in another case", resource, []string{"Authorization", "bEARER " + tok}, 0},
		{"in two headers", resource, []string{"Authorization", "Bearer " + tok, "Authorization", "Bearer " + tok}, 400},
		{"two in one header", resource, []string{"Authorization", "Bearer " + tok + ", Bearer " + tok}, 400},
		{"with two blanks", resource, []string{"Authorization", "Bearer  " + tok}, 400},
		{"with a tab", resource, []string{"Authorization", "Bearer\t" + tok}, 400},
		{"with a blank behind it", resource, []string{"Authorization", "Bearer " + tok + " "}, 400},
		{"no token", resource, []string{"Authorization", "Bearer "}, 400},
		{"no scheme", resource, []string{"Authorization", tok}, 400},
		{"by another scheme", resource, []string{"Authorization", "Basic YTpi"}, 401},
		{"empty", resource, []string{"Authorization", ""}, 400},
		{"in the query", resource + "?access_token=" + tok, nil, 400},
		{"in the query too", resource + "?a=1&access_token=x", []string{"Authorization", "Bearer " + tok}, 400},
		{"in the query, in disguise", resource + "?access%5ftoken=x", []string{"Authorization", "Bearer " + tok}, 400},
		{"in the query, after a semicolon", resource + "?a=1;access_token=x", []string{"Authorization", "Bearer " + tok}, 400},
		{"in the query, in another case", resource + "?Access_Token=x", []string{"Authorization", "Bearer " + tok}, 400},
		{"another parameter of the query", resource + "?my_access_token=x", []string{"Authorization", "Bearer " + tok}, 0},
		{"a bearer by the scheme DPoP", resource, []string{"Authorization", "DPoP " + tok}, 401},
		{"two proofs", resource, []string{"Authorization", "Bearer " + tok, "DPoP", "a", "DPoP", "b"}, 401},
		{"only a cookie", resource, []string{"Cookie", "access_token=" + tok}, 401},
		{"below the door's path", resource + "/sub", []string{"Authorization", "Bearer " + tok}, 0},
	} {
		_, err := g.Verifier.Verify(request("POST", c.target, c.headers...))
		status := 0
		if err != nil {
			status = challenge(t, err).Status
		}
		if status != c.status {
			t.Errorf("%s: %v, want status %d", c.name, err, c.status)
		}
	}
	// The body is not looked into (RFC 6750 section 2.2 is not supported).
	r := httptest.NewRequest("POST", resource, strings.NewReader("access_token="+tok))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if _, err := g.Verifier.Verify(r); challenge(t, err).Status != 401 {
		t.Errorf("a token in the body: %v", err)
	}
}

func TestClaimsToParties(t *testing.T) {
	f := newForeign(t)
	now := newClock()
	for _, c := range []struct {
		name   string
		config string
		change []any
		want   []string // "" is a refusal
	}{
		{"agent for a person", "", nil, []string{"agent:travel-bot", "user:anna"}},
		{"for itself", "", []any{"sub", "travel-bot"}, []string{"agent:travel-bot"}},
		{"nobody behind it", ", on_behalf: {claim: \"-\"}", nil, []string{"agent:travel-bot"}},
		{"azp", ", subject: {claim: azp, prefix: \"google:\"}", []any{"azp", "x"}, []string{"agent:google:x", "user:anna"}},
		{"names", ", subject: {names: {travel-bot: travel}}", nil, []string{"agent:travel", "user:anna"}},
		{"not among the names", ", subject: {names: {other: travel}}", nil, nil},
		{"the subject acts", ", subject: {type: user, claim: sub}", nil, []string{"user:anna"}},
		{"an actor", "", []any{"act", map[string]any{"sub": "filer"}}, []string{"agent:filer", "user:anna"}},
		{"actors", "", []any{"act", map[string]any{"sub": "filer", "act": map[string]any{"sub": "travel-bot"}}}, []string{"agent:filer", "agent:travel-bot", "user:anna"}},
		{"an actor by its client", "", []any{"act", map[string]any{"sub": "svc-1", "client_id": "filer"}}, []string{"agent:filer", "user:anna"}},
	} {
		g := open(t, document("authorization: {servers: [{issuer: \""+f.URL+"\""+c.config+"}]}"), gateway.Options{Now: now.Now})
		w, err := g.Verifier.Verify(request("POST", resource, "Authorization", "Bearer "+f.sign("ed", f.claims(now.Now(), resource, c.change...), nil)))
		var got []string
		if err == nil {
			got = append(got, w.Subject.String())
			for _, b := range w.OnBehalf {
				got = append(got, b.String())
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", c.name, err, diff)
		}
	}
}

// Callers that differ in anything that counts have different keys; tokens of one caller share theirs.
func TestCallerKeys(t *testing.T) {
	f := newForeign(t)
	now := newClock()
	g := open(t, document("authorization: {servers: [{issuer: \""+f.URL+"\"}]}"), gateway.Options{Now: now.Now})
	key := func(change ...any) string {
		w, err := g.Verifier.Verify(request("POST", resource, "Authorization", "Bearer "+f.sign("ed", f.claims(now.Now(), resource, change...), nil)))
		if err != nil {
			t.Fatal(err)
		}
		return w.Key
	}
	if a, b := key(), key("jti", "another", "scope", "less"); a != b {
		t.Errorf("two tokens of one caller: %q and %q", a, b)
	}
	seen := map[string]string{}
	for name, change := range map[string][]any{
		"ordinary": nil, "another person": {"sub", "bert"}, "another client": {"client_id", "other"}, "with an actor": {"act", map[string]any{"sub": "filer"}},
		"parts that run together": {"sub", "anna|travel-bot", "client_id", "x"}, "and apart": {"sub", "anna", "client_id", "travel-bot|x"},
	} {
		k := key(change...)
		if was, ok := seen[k]; ok {
			t.Errorf("%s and %s have the same key %q", name, was, k)
		}
		seen[k] = name
	}
}

// Where other claims than those of the client say who acts and for whom, they tell callers apart.
func TestCallerKeysOfMappedClaims(t *testing.T) {
	f := newForeign(t)
	now := newClock()
	g := open(t, document("authorization: {servers: [{issuer: \""+f.URL+"\", subject: {claim: agent_id}, on_behalf: {claim: person}}]}"), gateway.Options{Now: now.Now})
	seen := map[string]string{}
	for name, change := range map[string][]any{
		"a bot": {"agent_id", "bot-1", "person", "anna"}, "another bot": {"agent_id", "bot-2", "person", "anna"}, "for another person": {"agent_id", "bot-1", "person", "bert"},
		"for nobody": {"agent_id", "bot-1"}, "by an actor": {"agent_id", "bot-1", "person", "anna", "act", map[string]any{"sub": "x", "agent_id": "bot-1"}},
		"by another": {"agent_id", "bot-1", "person", "anna", "act", map[string]any{"sub": "x", "agent_id": "bot-2"}},
	} {
		w, err := g.Verifier.Verify(request("POST", resource, "Authorization", "Bearer "+f.sign("ed", f.claims(now.Now(), resource, change...), nil)))
		if err != nil {
			t.Fatal(err)
		}
		if was, ok := seen[w.Key]; ok {
			t.Errorf("%s and %s have the same key %q", name, was, w.Key)
		}
		seen[w.Key] = name
	}
}

// Keys are kept, are fetched anew for one that is not known, but not for whoever invents names, and outlive a short failure.
func TestIssuerKeys(t *testing.T) {
	f := newForeign(t)
	now := newClock()
	f.keys["next"], f.hidden["next"] = edKey(t), true
	g := open(t, document("authorization: {servers: [{issuer: \""+f.URL+"\"}]}"), gateway.Options{Now: now.Now})
	try := func(kid string) int {
		t.Helper()
		_, err := g.Verifier.Verify(request("POST", resource, "Authorization", "Bearer "+f.sign(kid, f.claims(now.Now(), resource), nil)))
		if err == nil {
			return 0
		}
		return challenge(t, err).Status
	}
	if s := try("ed"); s != 0 {
		t.Fatalf("the first token: %d", s)
	}
	for range 20 {
		if s := try("next"); s != 401 {
			t.Fatalf("a key that is not published: %d", s)
		}
	}
	if n := f.count("/jwks"); n != 1 {
		t.Errorf("20 tokens by an unknown key made the set be asked for %d times within a minute, want 1", n)
	}
	f.with(func() { f.hidden["next"] = false })
	now.add(time.Minute)
	if s := try("next"); s != 0 {
		t.Errorf("a key that was published: %d", s)
	}
	tok := f.sign("ed", f.claims(now.Now(), resource, "exp", now.Now().Add(time.Hour).Unix()), nil)
	if _, err := g.Verifier.Verify(request("POST", resource, "Authorization", "Bearer "+tok)); err != nil {
		t.Fatal(err)
	}

	// A server that is down stops nobody for a while.
	f.with(func() { f.down = true })
	now.add(6 * time.Minute)
	if s := try("ed"); s != 0 {
		t.Errorf("while the server is down for 6 minutes: %d", s)
	}
	now.add(20 * time.Minute)
	if s := try("ed"); s != 503 {
		t.Errorf("while the server is down for 26 minutes: %d, want 503", s)
	}

	// A key that is taken back counts no more, also with tokens that were verified before.
	f.with(func() { f.down = false; delete(f.keys, "ed"); f.keys["ed2"] = edKey(t) })
	now.add(2 * time.Minute)
	if _, err := g.Verifier.Verify(request("POST", resource, "Authorization", "Bearer "+tok)); err == nil {
		t.Error("a token by a key that was taken back counts")
	}
}

// Keys that may be kept for long outlive a failure as well as others.
func TestStaleKeys(t *testing.T) {
	f := newForeign(t)
	f.Server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		f.ServeHTTP(w, r)
	})
	now := newClock()
	g := open(t, document("authorization: {servers: [{issuer: \""+f.URL+"\"}]}"), gateway.Options{Now: now.Now})
	for _, c := range []struct {
		after  time.Duration
		down   bool
		status int
	}{
		{0, false, 0}, {59 * time.Minute, true, 0}, {2 * time.Minute, true, 0}, {13 * time.Minute, true, 0}, {2 * time.Minute, true, 503}, {2 * time.Minute, false, 0},
	} {
		now.add(c.after)
		f.with(func() { f.down = c.down })
		status := 0
		if _, err := g.Verifier.Verify(request("POST", resource, "Authorization", "Bearer "+f.sign("ed", f.claims(now.Now(), resource), nil))); err != nil {
			status = challenge(t, err).Status
		}
		if status != c.status {
			t.Errorf("%v later, the server is down: %v: %d, want %d", c.after, c.down, status, c.status)
		}
	}
}

func TestDiscovery(t *testing.T) {
	for name, c := range map[string]struct {
		edit   func(m map[string]any)
		status int
	}{
		"as it should be":        {nil, 0},
		"says to be another":     {func(m map[string]any) { m["issuer"] = "https://evil.example" }, 503},
		"keys by plain http":     {func(m map[string]any) { m["jwks_uri"] = "http://evil.example/jwks" }, 503},
		"names no keys":          {func(m map[string]any) { delete(m, "jwks_uri") }, 503},
		"says to be one of many": {func(m map[string]any) { m["issuer"] = []string{"x"} }, 503},
	} {
		f := newForeign(t)
		f.edit = c.edit
		g := open(t, document("authorization: {servers: [{issuer: \""+f.URL+"\"}]}"), gateway.Options{})
		_, err := g.Verifier.Verify(request("POST", resource, "Authorization", "Bearer "+f.sign("ed", f.claims(time.Now(), resource), nil)))
		status := 0
		if err != nil {
			ch := challenge(t, err)
			if status = ch.Status; status == 503 && (ch.Header().Get("Retry-After") == "" || !errors.Is(ch, authz.ErrUnavailable)) {
				t.Errorf("%s: %+v", name, ch)
			}
		}
		if status != c.status {
			t.Errorf("%s: %v, want status %d", name, err, c.status)
		}
	}
}

// A holder has a key that tokens are bound to.
type holder struct {
	t      testing.TB
	signer *token.Signer
}

func newHolder(t testing.TB, k crypto.Signer) *holder {
	t.Helper()
	s, err := token.NewSigner(k)
	if err != nil {
		t.Fatal(err)
	}
	return &holder{t, s}
}

func (h *holder) cnf() map[string]string { return map[string]string{"jkt": h.signer.Key().ID} }

func (h *holder) proof(tok string, p token.Proof) string {
	h.t.Helper()
	if p.ID == "" {
		p.ID = rand.Text()
	}
	text, err := token.SignProof(h.signer, p, tok)
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

func TestProofs(t *testing.T) {
	f := newForeign(t)
	now := newClock()
	g := open(t, document("authorization: {servers: [{issuer: \""+f.URL+"\", require_bound: true}]}"), gateway.Options{Now: now.Now})
	h, stranger := newHolder(t, ecKey(t)), newHolder(t, edKey(t))
	tok := f.sign("ed", f.claims(now.Now(), resource, "cnf", h.cnf()), nil)
	other := f.sign("ed", f.claims(now.Now(), resource, "cnf", h.cnf()), nil)
	is := func(p token.Proof) token.Proof {
		if p.Method == "" {
			p.Method = "POST"
		}
		if p.URL == "" {
			p.URL = resource
		}
		if p.IssuedAt.IsZero() {
			p.IssuedAt = now.Now()
		}
		return p
	}
	once := h.proof(tok, is(token.Proof{}))
	for _, c := range []struct {
		name, proof string
		scheme      string
		code        string
	}{
		{"as it should be", once, "DPoP", ""},
		{"used before", once, "DPoP", "invalid_dpop_proof"},
		{"for another method", h.proof(tok, is(token.Proof{Method: "GET"})), "DPoP", "invalid_dpop_proof"},
		{"for another path", h.proof(tok, is(token.Proof{URL: public + "/other"})), "DPoP", "invalid_dpop_proof"},
		{"for another host", h.proof(tok, is(token.Proof{URL: "https://evil.example/mcp"})), "DPoP", "invalid_dpop_proof"},
		{"for another scheme", h.proof(tok, is(token.Proof{URL: "http://gw.example.com/mcp"})), "DPoP", "invalid_dpop_proof"},
		{"for another token", h.proof(other, is(token.Proof{})), "DPoP", "invalid_dpop_proof"},
		{"for no token", h.proof("", is(token.Proof{})), "DPoP", "invalid_dpop_proof"},
		{"too old", h.proof(tok, is(token.Proof{IssuedAt: now.Now().Add(-31 * time.Second)})), "DPoP", "invalid_dpop_proof"},
		{"from the future", h.proof(tok, is(token.Proof{IssuedAt: now.Now().Add(31 * time.Second)})), "DPoP", "invalid_dpop_proof"},
		{"by another key", stranger.proof(tok, is(token.Proof{})), "DPoP", "invalid_token"},
		{"as a bearer", h.proof(tok, is(token.Proof{})), "Bearer", "invalid_token"},
		{"none", "", "DPoP", "invalid_dpop_proof"},
		{"the token itself", tok, "DPoP", "invalid_dpop_proof"},
		{"garbage", "x.y.z", "DPoP", "invalid_dpop_proof"},
		{"huge", strings.Repeat("x", 9000), "DPoP", "invalid_dpop_proof"},
	} {
		headers := []string{"Authorization", c.scheme + " " + tok}
		if c.proof != "" {
			headers = append(headers, "DPoP", c.proof)
		}
		_, err := g.Verifier.Verify(request("POST", "http://10.0.0.1:8080/mcp", headers...)) // what the request says of its host does not matter
		code := ""
		if err != nil {
			ch := challenge(t, err)
			code = ch.Code
			if !strings.HasPrefix(ch.Header()["Www-Authenticate"][1], "DPoP ") || !strings.Contains(ch.Header()["Www-Authenticate"][1], `error="`+code+`"`) {
				t.Errorf("%s: the challenge is %q", c.name, ch.Header()["Www-Authenticate"])
			}
		}
		if code != c.code {
			t.Errorf("%s: %v, want %q", c.name, err, c.code)
		}
	}
	// A token that is bound to nothing is refused here.
	_, err := g.Verifier.Verify(request("POST", resource, "Authorization", "Bearer "+f.sign("ed", f.claims(now.Now(), resource), nil)))
	if ch := challenge(t, err); ch.Code != "invalid_token" {
		t.Errorf("an unbound token: %v", ch)
	}
	// The same proof counts no more when it is old enough to be forgotten.
	now.add(2 * time.Minute)
	if _, err := g.Verifier.Verify(request("POST", resource, "Authorization", "DPoP "+tok, "DPoP", once)); err == nil {
		t.Error("a proof was accepted again after it was forgotten")
	}
}

// Proofs that cannot be remembered are refused, and only those of the caller that has its share.
func TestProofsAreBounded(t *testing.T) {
	f := newForeign(t)
	now := newClock()
	g := open(t, document("limits: {proofs: 1000}", "authorization: {servers: [{issuer: \""+f.URL+"\"}]}"), gateway.Options{Now: now.Now})
	show := func(h *holder, client string) error {
		tok := f.sign("ed", f.claims(now.Now(), resource, "client_id", client, "cnf", h.cnf()), nil)
		p := h.proof(tok, token.Proof{Method: "POST", URL: resource, IssuedAt: now.Now()})
		_, err := g.Verifier.Verify(request("POST", resource, "Authorization", "DPoP "+tok, "DPoP", p))
		return err
	}
	flood := func(h *holder, client string) (n int) {
		for ; n < 1000; n++ {
			if err := show(h, client); err != nil {
				if c := challenge(t, err); c.Status != 503 || !errors.Is(c, authz.ErrUnavailable) {
					t.Fatalf("proof %d: %+v", n, c)
				}
				return n
			}
		}
		return n
	}
	h := newHolder(t, edKey(t))
	if n := flood(h, "greedy"); n != 500 {
		t.Errorf("%d proofs of one agent were accepted, want half of 1000", n)
	}
	if err := show(newHolder(t, edKey(t)), "greedy"); err == nil {
		t.Error("by another key the same agent has another share")
	}
	if n := flood(newHolder(t, edKey(t)), "greedy too"); n != 250 {
		t.Errorf("%d proofs of a second one were accepted, want half of what was left", n)
	}
	for i := range 20 {
		if err := show(newHolder(t, edKey(t)), fmt.Sprintf("modest-%d", i)); err != nil {
			t.Errorf("another agent: %v", err)
		}
	}
	now.add(time.Minute + 2*time.Second)
	if err := show(h, "greedy"); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

// By default one agent may call 5,000 times a second for ever, also if its clock is as fast as it may be, and others beside it.
func TestProofsOfABusyAgent(t *testing.T) {
	const most, skew = 1 << 20, 30 * time.Second // the defaults
	for _, fast := range []time.Duration{0, skew} {
		accept, now, id := gateway.ProofMemory(most, skew), time.Unix(1_800_000_000, 0), 0
		show := func(caller string) {
			t.Helper()
			id++
			if v := accept(caller, strconv.Itoa(id), now.Add(fast), now); v != "fine" {
				t.Fatalf("proof %d, of %s, whose clock is fast by %v: %s", id, caller, fast, v)
			}
		}
		for second := range 90 {
			for range 5000 {
				show("busy")
			}
			for caller := range 100 {
				show(fmt.Sprintf("modest-%d", caller))
			}
			if v := accept("busy", strconv.Itoa(id-101), now.Add(fast), now); v != "seen" {
				t.Fatalf("after %d s a proof that was used before is %s", second, v)
			}
			now = now.Add(time.Second)
		}
	}
}

func TestNonces(t *testing.T) {
	f := newForeign(t)
	now := newClock()
	g := open(t, document("authorization: {nonce: true, servers: [{issuer: \""+f.URL+"\"}]}"), gateway.Options{Now: now.Now})
	h := newHolder(t, edKey(t))
	tok := f.sign("ed", f.claims(now.Now(), resource, "cnf", h.cnf(), "exp", now.Now().Add(time.Hour).Unix()), nil)
	show := func(nonce string) *gateway.Challenge {
		p := h.proof(tok, token.Proof{Method: "POST", URL: resource, IssuedAt: now.Now(), Nonce: nonce})
		_, err := g.Verifier.Verify(request("POST", resource, "Authorization", "DPoP "+tok, "DPoP", p))
		if err == nil {
			return nil
		}
		return challenge(t, err)
	}
	c := show("")
	if c == nil || c.Code != "use_dpop_nonce" || c.Header().Get("DPoP-Nonce") == "" {
		t.Fatalf("without a nonce: %+v", c)
	}
	if w := c.Header()["Www-Authenticate"]; strings.Contains(w[0], "error") || !strings.Contains(w[1], `error="use_dpop_nonce"`) {
		t.Errorf("the challenge is %q", w)
	}
	nonce := c.Header().Get("DPoP-Nonce")
	for range 3 {
		if c := show(nonce); c != nil {
			t.Errorf("with the nonce: %+v", c)
		}
	}
	// Answers carry the next one.
	rec := httptest.NewRecorder()
	g.Mounted(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })).ServeHTTP(rec, request("POST", resource))
	if rec.Header().Get("DPoP-Nonce") == "" {
		t.Error("an answer carries no nonce")
	}
	now.add(6 * time.Minute)
	for name, n := range map[string]string{"an old nonce": nonce, "an invented one": strings.Repeat("A", 32), "a short one": "A"} {
		if c := show(n); c == nil || c.Code != "use_dpop_nonce" {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestCertificates(t *testing.T) {
	f := newForeign(t)
	now := newClock()
	g := open(t, document("authorization: {servers: [{issuer: \""+f.URL+"\", require_bound: true}]}"), gateway.Options{Now: now.Now})
	cert := &x509.Certificate{Raw: []byte("a certificate")}
	sum := sha256.Sum256(cert.Raw)
	tok := f.sign("ed", f.claims(now.Now(), resource, "cnf", map[string]string{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}), nil)
	for _, c := range []struct {
		name string
		tls  *tls.ConnectionState
		ok   bool
	}{
		{"its own", &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}, true},
		{"another", &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: []byte("another")}}}, false},
		{"none", &tls.ConnectionState{}, false},
		{"no TLS", nil, false},
	} {
		r := request("POST", resource, "Authorization", "Bearer "+tok, "X-Client-Cert", "a certificate")
		r.TLS = c.tls
		_, err := g.Verifier.Verify(r)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Without tokens whoever reaches the door is the subject, but not the web pages that a person of this host looks at.
func TestNoAuthorization(t *testing.T) {
	g := open(t, lines("listen: 127.0.0.1:8190", "service: {url: http://127.0.0.1:1}", "authorization: {type: none, subject: {type: agent, id: files-helper}, on_behalf: [{type: user, id: anna}]}"), gateway.Options{})
	for _, c := range []struct {
		name    string
		target  string
		headers []string
		ok      bool
	}{
		{"a program", "http://127.0.0.1:8190/mcp", nil, true},
		{"through a proxy on this host", "http://127.0.0.1:8190/mcp", []string{"X-Forwarded-For", "203.0.113.9"}, false},
		{"through one that speaks RFC 7239", "http://127.0.0.1:8190/mcp", []string{"Forwarded", "for=203.0.113.9"}, false},
		{"by name", "http://localhost:8190/mcp", nil, true},
		{"by IPv6", "http://[::1]:8190/mcp", nil, true},
		{"a page of this host", "http://127.0.0.1:8190/mcp", []string{"Origin", "http://localhost:5173"}, true},
		{"a page of somebody else", "http://127.0.0.1:8190/mcp", []string{"Origin", "https://evil.example"}, false},
		{"an image in a page of somebody else", "http://127.0.0.1:8190/pay?to=mallory", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Referer", "https://evil.example/"}, false},
		{"a link in one", "http://127.0.0.1:8190/pay?to=mallory", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-User", "?1"}, false},
		{"an image in a page of another port", "http://localhost:8190/pay", []string{"Sec-Fetch-Site", "same-site"}, false},
		{"twice, and once from elsewhere", "http://127.0.0.1:8190/pay", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Site", "cross-site"}, false},
		{"what nobody has heard of", "http://127.0.0.1:8190/pay", []string{"Sec-Fetch-Site", "near"}, false},
		{"typed by a person", "http://127.0.0.1:8190/", []string{"Sec-Fetch-Site", "none"}, true},
		{"an image in a page of the door", "http://127.0.0.1:8190/a.png", []string{"Sec-Fetch-Site", "same-origin"}, true},
		{"a script in a page of this host", "http://127.0.0.1:8190/mcp", []string{"Origin", "http://localhost:6274", "Sec-Fetch-Site", "cross-site"}, true},
		{"a page of nowhere", "http://127.0.0.1:8190/mcp", []string{"Origin", "null"}, false},
		{"a name that resolves to this host", "http://evil.example:8190/mcp", nil, false},
		{"a name that begins like this host", "http://127.0.0.1.evil.example/mcp", nil, false},
	} {
		r := request("POST", c.target, c.headers...)
		r.RemoteAddr = "127.0.0.1:4711"
		w, err := g.Verifier.Verify(r)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil && (w.Subject.ID != "files-helper" || len(w.OnBehalf) != 1 || w.Token != "") {
			t.Errorf("%s: %+v", c.name, w)
		}
	}
	for address, ok := range map[string]bool{"127.0.0.1:4711": true, "[::1]:4711": true, "127.8.8.8:1": true, "[::ffff:127.0.0.1]:1": true, "192.0.2.7:4711": false, "10.0.0.1:1": false, "[fe80::1]:1": false, "": false, "@": false} {
		r := request("POST", "http://127.0.0.1:8190/mcp")
		r.RemoteAddr = address
		_, err := g.Verifier.Verify(r)
		if (err == nil) != ok {
			t.Errorf("from %q: %v, want it let in: %v", address, err, ok)
		}
		if err != nil && challenge(t, err).Status != 403 {
			t.Errorf("from %q: %v, want 403", address, err)
		}
	}
	rec := httptest.NewRecorder()
	g.Mounted(http.NotFoundHandler()).ServeHTTP(rec, request("GET", "http://127.0.0.1:8190/.well-known/oauth-protected-resource/mcp"))
	if rec.Code != 404 {
		t.Errorf("metadata where no tokens are asked for: %d", rec.Code)
	}
	if w := g.Fixed(netip.Addr{}); w != nil {
		t.Errorf("Fixed of a door on the network = %+v", w)
	}
	stdio := open(t, lines("service: {url: http://127.0.0.1:1}", "authorization: {type: none, subject: {type: agent, id: files-helper}}"), gateway.Options{Stdio: true})
	if w := stdio.Fixed(netip.Addr{}); w == nil || w.Subject.ID != "files-helper" {
		t.Errorf("Fixed = %+v", w)
	}
}

// Nothing that a caller shows is in the log.
func TestLogsHoldNoToken(t *testing.T) {
	f := newForeign(t)
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g := open(t, document("authorization: {servers: [{issuer: \""+f.URL+"\"}]}"), gateway.Options{Logger: logger})
	tok := f.sign("ed", f.claims(time.Now(), "https://x.example"), nil)
	if _, err := g.Verifier.Verify(request("POST", resource, "Authorization", "Bearer "+tok)); err == nil {
		t.Fatal("the token counts")
	}
	if strings.Contains(log.String(), tok[len(tok)-20:]) {
		t.Errorf("the log holds the token:\n%s", &log)
	}
}
