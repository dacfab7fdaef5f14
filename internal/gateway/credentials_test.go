package gateway_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/secret"
)

// withSecrets makes a file of secrets and returns the lines of a document that name it.
func withSecrets(t testing.TB, secrets map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "secrets")
	f, err := secret.Open(file, file+".key", true)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range secrets {
		if err := f.Put(name, value, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	return "secrets: {file: " + file + ", key: " + file + ".key}"
}

// withKey makes the gateway's key and returns the lines of a document that name it.
func withKey(t testing.TB) (line string, public any) {
	t.Helper()
	k := edKey(t)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "gateway.key")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, k.Public()
}

// shows applies a credential to a request as an agent would have sent it.
func shows(t testing.TB, g *gateway.Gateway, name string, w *gateway.Who, headers ...string) (http.Header, error) {
	t.Helper()
	r := request("POST", "https://api.example.com/v1/mail?q=1", headers...)
	err := g.Credentials.Apply(t.Context(), name, w, r)
	return r.Header, err
}

var agentShows = []string{
	"Authorization", "DPoP agent-token", "DPoP", "agent-proof", "Cookie", "session=agent", "Proxy-Authorization", "Basic agent", "X-Forwarded-For", "203.0.113.9",
	"X-Forwarded-User", "admin", "Forwarded", "for=203.0.113.9", "X-Real-Ip", "203.0.113.9", "X_Forwarded_User", "admin", "X-Client-Cert", "forged", "Content-Type", "application/json",
	"X-Request-Id", "r1",
}

func TestStaticHeader(t *testing.T) {
	g := open(t, document(withSecrets(t, map[string]string{"github": "ghp_0123", "maps": "k-1"}), "credentials:",
		"  github: {type: header, value: secret:github}",
		"  maps: {type: header, header: X-Api-Key, value: secret:maps, keep: [Cookie, X-Forwarded-*]}",
		"  raw: {type: header, prefix: \"token \", value: secret:github}",
	), gateway.Options{})
	for _, c := range []struct {
		name string
		want http.Header
	}{
		{"", http.Header{"Content-Type": {"application/json"}, "X-Request-Id": {"r1"}}},
		{"github", http.Header{"Authorization": {"Bearer ghp_0123"}, "Content-Type": {"application/json"}, "X-Request-Id": {"r1"}}},
		{"raw", http.Header{"Authorization": {"token ghp_0123"}, "Content-Type": {"application/json"}, "X-Request-Id": {"r1"}}},
		{"maps", http.Header{"X-Api-Key": {"k-1"}, "Cookie": {"session=agent"}, "X-Forwarded-For": {"203.0.113.9"}, "Content-Type": {"application/json"}, "X-Request-Id": {"r1"}}},
	} {
		got, err := shows(t, g, c.name, &gateway.Who{}, append([]string{"X-Api-Key", "agent", "X_Api_Key", "agent"}, agentShows...)...)
		if err != nil {
			t.Errorf("%q: %v", c.name, err)
		}
		if c.name != "maps" {
			delete(got, "X-Api-Key") // what no credential names passes
			delete(got, "X_api_key")
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.name, diff)
		}
	}
	if got, err := shows(t, g, "unknown", &gateway.Who{}, agentShows...); !errors.Is(err, authz.ErrInvalid) || got.Get("Authorization") != "" {
		t.Errorf("an unknown credential: %v, %v", got, err)
	}
}

// A secret that is replaced while the gateway runs is used soon; one that is gone refuses.
func TestSecretsChange(t *testing.T) {
	now := newClock()
	dir := t.TempDir()
	file := filepath.Join(dir, "secrets")
	store, err := secret.Open(file, file+".key", true)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Put("api", "one", now.Now()); err != nil {
		t.Fatal(err)
	}
	g := open(t, document("secrets: {file: "+file+"}", "credentials: {api: {type: header, value: secret:api}}"), gateway.Options{Now: now.Now})
	want := func(value string) {
		t.Helper()
		h, err := shows(t, g, "api", nil)
		if h.Get("Authorization") != value || (err == nil) != (value != "") {
			t.Errorf("Authorization %q, %v, want %q", h.Get("Authorization"), err, value)
		}
	}
	want("Bearer one")
	if err := store.Put("api", "second", now.Now()); err != nil {
		t.Fatal(err)
	}
	now.add(3 * time.Second)
	want("Bearer second")
	if err := secret.Remove(file, "api"); err != nil {
		t.Fatal(err)
	}
	now.add(3 * time.Second)
	want("")
	if _, err := shows(t, g, "api", nil); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("a secret that is gone: %v", err)
	}
}

func TestClientCredentials(t *testing.T) {
	f := newForeign(t)
	key, pub := withKey(t)
	now := newClock()
	g := open(t, document(withSecrets(t, map[string]string{"mail": "s3cret&=+"}), "client: {key: "+key+", metadata: true}", "credentials:",
		"  basic: {type: client_credentials, issuer: \""+f.URL+"\", client_id: \"gw:1\", secret: secret:mail, resource: https://api.example.com/v1, scopes: [mail.read, mail.send]}",
		"  post: {type: client_credentials, token_url: \""+f.URL+"/token\", client_id: gw, auth: post, secret: secret:mail, audience: mail-api}",
		"  key: {type: client_credentials, issuer: \""+f.URL+"\", resource: https://api.example.com/v1}",
		"  public: {type: client_credentials, issuer: \""+f.URL+"\", client_id: gw, auth: none, resource: https://api.example.com/v1}",
	), gateway.Options{Now: now.Now})
	for _, c := range []struct {
		name string
		want url.Values
		auth string
	}{
		{"basic", url.Values{"grant_type": {"client_credentials"}, "resource": {"https://api.example.com/v1"}, "scope": {"mail.read mail.send"}}, "Basic " + base64.StdEncoding.EncodeToString([]byte("gw%3A1:s3cret%26%3D%2B"))},
		{"post", url.Values{"grant_type": {"client_credentials"}, "audience": {"mail-api"}, "client_id": {"gw"}, "client_secret": {"s3cret&=+"}}, ""},
		{"public", url.Values{"grant_type": {"client_credentials"}, "resource": {"https://api.example.com/v1"}, "client_id": {"gw"}}, ""},
		{"key", nil, ""},
	} {
		f.with(func() { f.forms, f.headers = nil, nil })
		h, err := shows(t, g, c.name, nil, agentShows...)
		if err != nil || h.Get("Authorization") != "Bearer issued" {
			t.Errorf("%s: %v, %v", c.name, h, err)
			continue
		}
		form, header := f.forms[0], f.headers[0]
		if c.name == "key" {
			assertion := form.Get("client_assertion")
			id := public + "/.well-known/safeconduct/client"
			claims := jwt.MapClaims{}
			if _, err := jwt.ParseWithClaims(assertion, claims, func(*jwt.Token) (any, error) { return pub, nil }, jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithAudience(f.URL), jwt.WithIssuer(id), jwt.WithSubject(id), jwt.WithExpirationRequired()); err != nil {
				t.Errorf("the assertion: %v (%v)", err, claims)
			}
			if form.Get("client_id") != id || form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || claims["jti"] == "" {
				t.Errorf("the form is %v", form)
			}
			// And the document says the same of the gateway.
			rec := httptest.NewRecorder()
			g.Mounted(http.NotFoundHandler()).ServeHTTP(rec, request("GET", id))
			var doc struct {
				ClientID string `json:"client_id"`
				Method   string `json:"token_endpoint_auth_method"`
				Keys     struct{ Keys []map[string]any }
				JWKS     struct{ Keys []map[string]any } `json:"jwks"`
			}
			if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil || doc.ClientID != id || doc.Method != "private_key_jwt" || len(doc.JWKS.Keys) != 1 || doc.JWKS.Keys[0]["d"] != nil {
				t.Errorf("the document is %s", rec.Body)
			}
			continue
		}
		if diff := cmp.Diff(c.want, form); diff != "" {
			t.Errorf("%s: the form (-want +got):\n%s", c.name, diff)
		}
		if got := header.Get("Authorization"); got != c.auth {
			t.Errorf("%s: Authorization %q, want %q", c.name, got, c.auth)
		}
	}
}

// One token is asked for once, whoever waits; it is kept until shortly before its end, and dropped once when it is refused.
func TestTokensAreKept(t *testing.T) {
	f := newForeign(t)
	now := newClock()
	n := 0
	f.answer = func(url.Values, http.Header) (int, map[string]any) {
		n++
		return 200, map[string]any{"access_token": "t" + string(rune('0'+n)), "token_type": "bearer", "expires_in": "300"}
	}
	g := open(t, document(withSecrets(t, map[string]string{"s": "x"}), "credentials: {a: {type: client_credentials, issuer: \""+f.URL+"\", client_id: gw, secret: secret:s, audience: a}}"), gateway.Options{Now: now.Now})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if h, err := shows(t, g, "a", nil); err != nil || h.Get("Authorization") != "Bearer t1" {
				t.Errorf("%v, %v", h, err)
			}
		})
	}
	wg.Wait()
	is := func(want string) {
		t.Helper()
		if h, err := shows(t, g, "a", nil); err != nil || h.Get("Authorization") != "Bearer "+want {
			t.Errorf("%v, %v, want %s", h, err, want)
		}
	}
	now.add(4 * time.Minute)
	is("t1")
	now.add(31 * time.Second)
	is("t2")
	refused := func(shown string) bool {
		r := request("POST", "https://api.example.com", "Authorization", "Bearer "+shown)
		return g.Credentials.Refused("a", nil, &http.Response{StatusCode: 401, Request: r})
	}
	if !refused("t2") {
		t.Error("a refused token is not worth trying again")
	}
	is("t3")
	if !refused("t2") {
		t.Error("a request that still had the old token is not worth trying again")
	}
	is("t3")
	if refused("t3") {
		t.Error("a token that was got because the one before was refused is dropped at once")
	}
	is("t3")
	now.add(time.Minute)
	if !refused("t3") {
		t.Error("a token that was good for a minute is not worth replacing")
	}
	is("t4")
	if f.count("/token") != 4 {
		t.Errorf("%d requests for tokens, want 4", f.count("/token"))
	}
}

// What servers answer instead of tokens.
func TestNoCredential(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		answer map[string]any
		kind   error
	}{
		{"not for this", 400, map[string]any{"error": "invalid_grant", "error_description": "no\n\x1b[31m"}, authz.ErrForbidden},
		{"not for this audience", 400, map[string]any{"error": "invalid_target"}, authz.ErrForbidden},
		{"not this client", 401, map[string]any{"error": "invalid_client"}, authz.ErrUnavailable},
		{"broken", 500, map[string]any{"error": "invalid_grant"}, authz.ErrUnavailable},
		{"elsewhere", 302, nil, authz.ErrUnavailable},
		{"no token", 200, map[string]any{"token_type": "Bearer"}, authz.ErrUnavailable},
		{"another type", 200, map[string]any{"access_token": "x", "token_type": "DPoP"}, authz.ErrUnavailable},
		{"a line break", 200, map[string]any{"access_token": "x\r\nX-Evil: 1", "token_type": "Bearer"}, authz.ErrUnavailable},
		{"no life", 200, map[string]any{"access_token": "x", "token_type": "Bearer", "expires_in": -1}, authz.ErrUnavailable},
		{"too large", 200, map[string]any{"access_token": strings.Repeat("x", 20000), "token_type": "Bearer"}, authz.ErrUnavailable},
	} {
		f := newForeign(t)
		f.answer = func(url.Values, http.Header) (int, map[string]any) { return c.status, c.answer }
		g := open(t, document(withSecrets(t, map[string]string{"s": "x"}), "credentials: {a: {type: client_credentials, token_url: \""+f.URL+"/token\", client_id: gw, secret: secret:s, audience: a}}"), gateway.Options{Now: newClock().Now})
		for range 3 {
			h, err := shows(t, g, "a", nil, agentShows...)
			if !errors.Is(err, c.kind) || h.Get("Authorization") != "" || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("%s: %v, %q, want %v", c.name, h, err, c.kind)
			}
		}
		if n := f.count("/token"); n != 1 {
			t.Errorf("%s: asked %d times at once, want once in a while", c.name, n)
		}
	}
}

func TestTokenExchange(t *testing.T) {
	f := newForeign(t)
	now := newClock()
	n := 0
	f.answer = func(form url.Values, _ http.Header) (int, map[string]any) {
		n++
		if form.Get("grant_type") == "client_credentials" {
			return 200, map[string]any{"access_token": "gateway-itself", "token_type": "Bearer", "expires_in": 300}
		}
		return 200, map[string]any{"access_token": "for-" + form.Get("subject_token"), "token_type": "Bearer", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "expires_in": 3600}
	}
	g := open(t, document(withSecrets(t, map[string]string{"s": "x"}), "authorization: {servers: [{issuer: \""+f.URL+"\"}]}", "credentials:",
		"  mail: {type: token_exchange, issuer: \""+f.URL+"\", client_id: gw, secret: secret:s, resource: https://api.example.com/v1, scopes: [mail.read], actor: \""+f.URL+"\"}"), gateway.Options{Now: now.Now})
	anna := &gateway.Who{Key: "anna", Token: "t-anna", Issuer: f.URL, Expires: now.Now().Add(5 * time.Minute)}
	bert := &gateway.Who{Key: "bert", Token: "t-bert", Issuer: f.URL, Expires: now.Now().Add(5 * time.Minute)}
	narrow := &gateway.Who{Key: "anna", Token: "t-anna-narrow", Issuer: f.URL, Expires: now.Now().Add(5 * time.Minute)}
	for range 2 {
		for _, w := range []*gateway.Who{anna, bert, narrow} {
			h, err := shows(t, g, "mail", w, agentShows...)
			if err != nil || h.Get("Authorization") != "Bearer for-"+w.Token {
				t.Errorf("%s: %v, %v", w.Token, h, err)
			}
		}
	}
	if n != 4 {
		t.Errorf("the server was asked %d times, want 3 exchanges and 1 token of the gateway", n)
	}
	want := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {"t-anna"}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "resource": {"https://api.example.com/v1"}, "scope": {"mail.read"},
		"actor_token": {"gateway-itself"}, "actor_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
	}
	if diff := cmp.Diff(want, f.forms[1]); diff != "" {
		t.Errorf("the exchange (-want +got):\n%s", diff)
	}
	// It ends with the token that it was exchanged for, whatever the server says.
	now.add(5*time.Minute + time.Second)
	if _, err := shows(t, g, "mail", anna); err != nil || n != 6 {
		t.Errorf("after the agent's token ended: %v, asked %d times, want anew", err, n)
	}
	for name, w := range map[string]*gateway.Who{"nobody": nil, "without a token": {Key: "x"}} {
		if h, err := shows(t, g, "mail", w); !errors.Is(err, authz.ErrForbidden) || h.Get("Authorization") != "" {
			t.Errorf("%s: %v, %v", name, h, err)
		}
	}
}

// What proxies say of who came, and from where, reaches no server, however it is written; what is to be kept is kept, but for what
// somebody authenticates by.
func TestWhatProxiesSay(t *testing.T) {
	g := open(t, document(withSecrets(t, map[string]string{"k": "key"}), "credentials:", "  none: {type: none}", "  keeps: {type: none, keep: ['X-Forwarded-*', X-Real-Ip, Via]}",
		"  user: {type: none, keep: [x-forwarded-user]}", "  key: {type: header, header: Bank-Pass, value: secret:k}"), gateway.Options{})
	everything := []string{
		"Remote-User", "X-Remote-User", "REMOTE_USER", "X-SSL-Client-S-DN", "X-SSL-Client-Verify", "SSL-Client-Cert", "SSL_CLIENT_CERT", "X-ARR-ClientCert", "CF-Connecting-IP", "True-Client-Ip",
		"X-Forwarded-Client-Cert", "X-Forwarded-User", "X-Forwarded-For", "X_Forwarded_For", "X-Auth-Request-Email", "X-Goog-Authenticated-User-Email", "Cf-Access-Jwt-Assertion", "X-Ms-Client-Principal-Name", "X-Remote-Extra-Scopes",
		"X-Real-Ip", "Via", "Accept", "X-Request-Id",
	}
	for name, want := range map[string][]string{
		"none":  {"Accept", "X-Request-Id"},
		"":      {"Accept", "X-Request-Id"},
		"keeps": {"Accept", "Via", "X-Forwarded-For", "X-Real-Ip", "X-Request-Id"},
		"user":  {"Accept", "X-Forwarded-User", "X-Request-Id"},
	} {
		r := request("GET", resource)
		for _, h := range everything {
			r.Header[http.CanonicalHeaderKey(h)] = []string{"x"}
		}
		if err := g.Credentials.Apply(t.Context(), name, &gateway.Who{}, r); err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(maps.Keys(r.Header)); !slices.Equal(got, want) {
			t.Errorf("%q passes %q, want %q", name, got, want)
		}
		r.Trailer = http.Header{"Api-Key": nil, "Client-Cert": nil, "True-Client-Ip": nil, "Remote_user": nil, "Private-Token": nil, "Authorization": nil, "Via": nil, "Checksum": nil}
		if err := g.Credentials.Apply(t.Context(), name, &gateway.Who{}, r); err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(maps.Keys(r.Trailer)); !slices.Equal(got, []string{"Checksum"}) {
			t.Errorf("%q passes the trailers %q", name, got)
		}
	}
	r := request("GET", resource)
	r.Trailer = http.Header{"Bank-Pass": nil, "Bank_pass": nil, "Checksum": nil}
	if err := g.Credentials.Apply(t.Context(), "key", &gateway.Who{}, r); err != nil || r.Header.Get("Bank-Pass") != "key" || len(r.Trailer) != 1 {
		t.Errorf("beside the credential's own header: %v, %v, the trailers %v", err, r.Header, r.Trailer)
	}
}

// A token goes to nobody but its own issuer, or whom the document names for it: whoever is sent it could use it here.
func TestExchangeOfForeignTokens(t *testing.T) {
	a, b := newForeign(t), newForeign(t)
	now := newClock()
	exchanged := func(url.Values, http.Header) (int, map[string]any) {
		return 200, map[string]any{"access_token": "issued", "token_type": "Bearer", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "expires_in": 300}
	}
	a.answer, b.answer = exchanged, exchanged
	g := open(t, document("authorization: {servers: [{issuer: \""+a.URL+"\"}, {issuer: \""+b.URL+"\"}]}", "credentials:",
		"  of-a: {type: token_exchange, issuer: \""+a.URL+"\", client_id: gw, auth: none, resource: \"https://files.example.com\"}",
		"  at-a-for-a: {type: token_exchange, token_url: \""+a.URL+"/token\", subject_issuers: [\""+a.URL+"\"], client_id: gw, auth: none, resource: \"https://files.example.com\"}",
		"  at-a-for-b: {type: token_exchange, issuer: \""+a.URL+"\", subject_issuers: [\""+b.URL+"\"], client_id: gw, auth: none, resource: \"https://files.example.com\"}"), gateway.Options{Now: now.Now})
	for _, c := range []struct {
		credential string
		of         *foreign
		ok         bool
	}{
		{"of-a", a, true}, {"of-a", b, false},
		{"at-a-for-a", a, true}, {"at-a-for-a", b, false},
		{"at-a-for-b", a, false}, {"at-a-for-b", b, true},
	} {
		before := len(a.forms)
		tok := c.of.sign("ed", c.of.claims(now.Now(), resource), nil)
		r := request("POST", resource, "Authorization", "Bearer "+tok)
		w, err := g.Verifier.Verify(r)
		if err != nil {
			t.Fatal(err)
		}
		err = g.Credentials.Apply(t.Context(), c.credential, w, r)
		if c.ok && (err != nil || r.Header.Get("Authorization") != "Bearer issued") {
			t.Errorf("%s, a token of %s: %v, %v", c.credential, c.of.URL, err, r.Header)
		}
		if !c.ok && (!errors.Is(err, authz.ErrForbidden) || len(a.forms) != before || r.Header.Get("Authorization") != "") {
			t.Errorf("%s, a token of %s: %v, %v, and %d requests for tokens, want a refusal and none", c.credential, c.of.URL, err, r.Header, len(a.forms)-before)
		}
	}
	if len(b.forms) > 0 {
		t.Errorf("the other server was asked for tokens: %v", b.forms)
	}
}

// What an agent shows goes no further, and what the gateway shows does not come back, nor into the log.
func TestNoPassThrough(t *testing.T) {
	f := newForeign(t)
	var log bytes.Buffer
	g := open(t, document(withSecrets(t, map[string]string{"api": "the-secret"}), "authorization: {servers: [{issuer: \""+f.URL+"\"}]}",
		"credentials: {api: {type: header, value: secret:api}}"), gateway.Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	var seen http.Header
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		io.WriteString(w, "done")
	}))
	defer up.Close()
	tok := f.sign("ed", f.claims(time.Now(), resource), nil)
	r := request("POST", resource, "Authorization", "Bearer "+tok, "Cookie", "a="+tok, "X-Forwarded-Access-Token", tok)
	w, err := g.Verifier.Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	out, err := http.NewRequestWithContext(t.Context(), "POST", up.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	out.Header = r.Header.Clone()
	if err := g.Credentials.Apply(t.Context(), "api", w, out); err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(out)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	var all strings.Builder
	if err := seen.Write(&all); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(all.String(), tok) || seen.Get("Authorization") != "Bearer the-secret" {
		t.Errorf("the server saw:\n%s", &all)
	}
	if strings.Contains(log.String(), "the-secret") || strings.Contains(log.String(), tok) {
		t.Errorf("the log says:\n%s", &log)
	}
}

// A certificate authenticates the gateway at a token endpoint and at the server.
func TestClientCertificate(t *testing.T) {
	dir := t.TempDir()
	k := ecKey(t)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	as := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"access_token": base64.RawURLEncoding.EncodeToString(sum[:]), "token_type": "Bearer", "expires_in": 60})
	}))
	as.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	as.StartTLS()
	defer as.Close()
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: pkcs}, "ca.pem": {Type: "CERTIFICATE", Bytes: as.Certificate().Raw},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := open(t, document("ca: "+dir+"/ca.pem", "credentials: {a: {type: client_credentials, token_url: \""+as.URL+"/token\", client_id: gw, auth: mtls, audience: a, cert: "+dir+"/cert.pem, key: "+dir+"/key.pem}}"), gateway.Options{})
	sum := sha256.Sum256(der)
	h, err := shows(t, g, "a", nil)
	if want := "Bearer " + base64.RawURLEncoding.EncodeToString(sum[:]); err != nil || h.Get("Authorization") != want {
		t.Errorf("%v, %v, want %s", h, err, want)
	}
	if c := g.Credentials.TLS("a"); c == nil || !bytes.Equal(c.Certificate[0], der) || g.Credentials.TLS("") != nil {
		t.Errorf("TLS = %v", c)
	}
}

// A token endpoint that does not answer holds up nobody but who waits for its tokens: neither keys nor another server's tokens.
func TestSlowTokenEndpoint(t *testing.T) {
	release := make(chan struct{})
	asked := make(chan struct{}, 1000)
	f := newForeign(t)
	next := f.Server.Config.Handler
	f.Server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			asked <- struct{}{}
			<-release
			return
		}
		next.ServeHTTP(w, r)
	})
	text := []string{"limits: {token_time: 1m}", "authorization: {servers: [{issuer: \"" + f.URL + "\"}]}", "credentials:",
		"  quick: {type: client_credentials, issuer: \"" + f.URL + "\", client_id: gw, auth: none, audience: a}",
		"  slow: {type: token_exchange, token_url: \"" + f.URL + "/slow\", subject_issuers: [\"" + f.URL + "\"], client_id: gw, auth: none, audience: a}"}
	g := open(t, document(text...), gateway.Options{})
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range 200 {
		waiting.Go(func() {
			w := &gateway.Who{Key: "k", Token: fmt.Sprint(i), Issuer: f.URL}
			if err := g.Credentials.Apply(ctx, "slow", w, request("GET", "https://x.example")); err == nil {
				t.Error("a token that nobody gave was applied")
			}
		})
	}
	<-asked
	<-asked
	soon, done := context.WithTimeout(t.Context(), 5*time.Second)
	defer done()
	r := request("POST", resource, "Authorization", "Bearer "+f.sign("ed", f.claims(time.Now(), resource), nil)).WithContext(soon)
	if _, err := g.Verifier.Verify(r); err != nil {
		t.Errorf("verifying meanwhile: %v", err)
	}
	if err := g.Credentials.Apply(soon, "quick", nil, r); err != nil {
		t.Errorf("another credential meanwhile: %v", err)
	}
}

// Who waits for a token does not wait longer than he wants to, and the token is there for the next one.
func TestWaitingForTokens(t *testing.T) {
	release := make(chan struct{})
	as := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-release
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"access_token":"late","token_type":"Bearer","expires_in":60}`)
	}))
	defer as.Close()
	g := open(t, document("credentials: {a: {type: client_credentials, token_url: \""+as.URL+"/token\", client_id: gw, auth: none, audience: a}}"), gateway.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Credentials.Apply(ctx, "a", nil, request("POST", "https://x.example")) }()
	cancel()
	if err := <-done; !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("who left: %v", err)
	}
	close(release)
	if h, err := shows(t, g, "a", nil); err != nil || h.Get("Authorization") != "Bearer late" {
		t.Errorf("the next one: %v, %v", h, err)
	}
}
