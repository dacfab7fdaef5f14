package oauth_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/oauth"
)

func TestPrivateKeyJWT(t *testing.T) {
	d := newDesk(t, nil)
	for _, alg := range []string{"EdDSA", "Ed25519", "ES256", "RS256", "PS256"} {
		id := "a-" + strings.ToLower(alg)
		var h *holder
		if alg == "PS256" { // the one RSA key is registered already
			id, h = "a-rs256", newHolder(t, "a-rs256", alg)
		} else {
			h = d.agent(id, alg)
		}
		got := d.assert(h.jws(t, h.header(alg), d.claims(id)))
		wantClient(t, got, id, id, "private_key_jwt")
		if got.Key != h.pub.ID || !got.Use || got.Certificate {
			t.Errorf("%s: key %q, single use %v, certificate %v; want key %q, true, false", alg, got.Key, got.Use, got.Certificate, h.pub.ID)
		}
	}
}

func TestPrivateKeyJWTAccepted(t *testing.T) {
	d := newDesk(t, nil)
	h := d.agent("a1", "EdDSA")
	head, claims := h.header("EdDSA"), func(changes ...any) map[string]any { return with(d.claims("a1"), changes...) }
	in := func(by time.Duration) int64 { return d.Now().Add(by).Unix() }
	for name, jws := range map[string]string{
		"no typ":                    h.jws(t, with(head, "typ", nil), claims()),
		"typ of the revision":       h.jws(t, with(head, "typ", "client-authentication+jwt"), claims()),
		"typ with application":      h.jws(t, with(head, "typ", "application/client-authentication+jwt"), claims()),
		"typ in lower case":         h.jws(t, with(head, "typ", "jwt"), claims()),
		"no kid":                    h.jws(t, with(head, "kid", nil), claims()),
		"kid of the client's own":   h.jws(t, with(head, "kid", "key-1"), claims()),
		"audience as a list of one": h.jws(t, head, claims("aud", []string{deskIssuer})),
		"no iat":                    h.jws(t, head, claims("iat", nil)),
		"iat ahead within skew":     h.jws(t, head, claims("iat", in(30*time.Second))),
		"iat five minutes ago":      h.jws(t, head, claims("iat", in(-5*time.Minute))),
		"nbf ahead within skew":     h.jws(t, head, claims("nbf", in(30*time.Second))),
		"exp five minutes ahead":    h.jws(t, head, claims("exp", in(5*time.Minute))),
		"exp a second ahead":        h.jws(t, head, claims("exp", in(time.Second))),
		"claims of others":          h.jws(t, head, claims("scope", "x", "nonce", map[string]any{"a": 1})),
	} {
		t.Run(name, func(t *testing.T) {
			wantClient(t, d.assert(jws), "a1", "a1", "private_key_jwt")
		})
	}
	t.Run("client_id", func(t *testing.T) {
		wantClient(t, d.assert(h.jws(t, head, claims()), "client_id", "a1"), "a1", "a1", "private_key_jwt")
	})
	t.Run("either key of a rotation, without kid", func(t *testing.T) {
		next := newHolder(t, "a1", "EdDSA")
		d.book.add(&oauth.Credential{Agent: "a1", ID: next.pub.ID, Key: next.pub, CreatedAt: d.Now()})
		for _, k := range []*holder{h, next} {
			got := d.assert(k.jws(t, with(head, "kid", nil), claims()))
			wantClient(t, got, "a1", "a1", "private_key_jwt")
			if got.Key != k.pub.ID {
				t.Errorf("key = %q, want %q", got.Key, k.pub.ID)
			}
		}
	})
}

func TestPrivateKeyJWTRefused(t *testing.T) {
	d := newDesk(t, nil)
	h := d.agent("a1", "EdDSA")
	d.agent("a2", "EdDSA")
	head, claims := h.header("EdDSA"), func(changes ...any) map[string]any { return with(d.claims("a1"), changes...) }
	in := func(by time.Duration) int64 { return d.Now().Add(by).Unix() }
	const unreadable, audience = "cannot be read", "aud of the client assertion must be " + deskIssuer
	for _, tt := range []struct{ name, jws, want string }{
		{"not a JWS", "x", unreadable},
		{"two parts", "e30.e30", unreadable},
		{"five parts", "a.b.c.d.e", unreadable},
		{"too long", h.jws(t, head, claims("x", strings.Repeat("x", 9000))), unreadable},
		{"alg none", h.jws(t, with(head, "alg", "none"), claims()), unreadable},
		{"alg HS256", h.jws(t, with(head, "alg", "HS256"), claims()), unreadable},
		{"alg missing", h.jws(t, with(head, "alg", nil), claims()), unreadable},
		{"crit", h.jws(t, with(head, "crit", []string{"exp"}), claims()), unreadable},
		{"jku", h.jws(t, with(head, "jku", "https://evil.example/keys"), claims()), unreadable},
		{"x5c", h.jws(t, with(head, "x5c", []string{"AA"}), claims()), unreadable},
		{"a claim twice", h.jws(t, head, []byte(`{"iss":"a1","iss":"a1","sub":"a1","aud":"`+deskIssuer+`","exp":1}`)), unreadable},
		{"payload no object", h.jws(t, head, []byte(`[]`)), unreadable},
		{"payload not UTF-8", h.jws(t, head, []byte("{\"sub\":\"\xff\"}")), unreadable},
		{"no sub", h.jws(t, head, claims("sub", nil)), unreadable},
		{"no aud", h.jws(t, head, claims("aud", nil)), unreadable},
		{"no exp", h.jws(t, head, claims("exp", nil)), unreadable},
		{"exp as text", h.jws(t, head, claims("exp", "soon")), unreadable},
		{"key in the header", h.jws(t, with(head, "jwk", h.pub.JWK()), claims()), "not bring it along"},
		{"typ of a passport", h.jws(t, with(head, "typ", "at+jwt"), claims()), "typ of the client assertion"},
		{"typ of a DPoP proof", h.jws(t, with(head, "typ", "dpop+jwt"), claims()), "typ of the client assertion"},
		{"typ of a key proof", h.jws(t, with(head, "typ", "key-proof+jwt"), claims()), "typ of the client assertion"},
		{"no iss", h.jws(t, head, claims("iss", nil)), "iss and sub"},
		{"iss is another", h.jws(t, head, claims("iss", "a2")), "iss and sub"},
		{"audience is the token endpoint", h.jws(t, head, claims("aud", deskIssuer+"/oauth2/token")), audience},
		{"audience is another server", h.jws(t, head, claims("aud", "https://other.example")), audience},
		{"audience with a slash", h.jws(t, head, claims("aud", deskIssuer+"/")), audience},
		{"audience is one of two", h.jws(t, head, claims("aud", []string{deskIssuer, "https://other.example"})), audience},
		{"audience twice", h.jws(t, head, claims("aud", []string{deskIssuer, deskIssuer})), audience},
		{"no jti", h.jws(t, head, claims("jti", nil)), "jti of the client assertion"},
		{"jti too long", h.jws(t, head, claims("jti", strings.Repeat("j", 257))), "jti of the client assertion"},
		{"expired", h.jws(t, head, claims("exp", in(0))), "has expired"},
		{"expired within skew", h.jws(t, head, claims("exp", in(-time.Second))), "has expired"},
		{"exp too far ahead", h.jws(t, head, claims("exp", in(5*time.Minute+31*time.Second))), "at most 5 minutes"},
		{"nbf ahead", h.jws(t, head, claims("nbf", in(31*time.Second))), "not valid yet"},
		{"iat ahead", h.jws(t, head, claims("iat", in(31*time.Second))), "in the future"},
		{"iat long ago", h.jws(t, head, claims("iat", in(-5*time.Minute-31*time.Second))), "too long ago"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantRefused(t, d.assert(tt.jws), 401, "invalid_client", tt.want)
		})
	}
	good := func() string { return h.jws(t, head, claims()) }
	for _, tt := range []struct {
		name string
		form url.Values
		auth string
		want string
	}{
		{"nothing", url.Values{}, "", "client_assertion is missing"},
		{"client_id alone", url.Values{"client_id": {"a1"}}, "", "client_assertion is missing"},
		{"no assertion", url.Values{"client_assertion_type": {jwtBearer}}, "", "client_assertion is missing"},
		{"no type", url.Values{"client_assertion": {good()}}, "", "client_assertion_type"},
		{"type SAML", url.Values{"client_assertion": {good()}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:saml2-bearer"}}, "", "client_assertion_type"},
		{"client_id of another", url.Values{"client_assertion": {good()}, "client_assertion_type": {jwtBearer}, "client_id": {"a2"}}, "", "client_id is another"},
		{"client_secret_post", url.Values{"client_id": {"a1"}, "client_secret": {"x"}}, "", "secrets are not accepted"},
		{"client_secret beside an assertion", url.Values{"client_assertion": {good()}, "client_assertion_type": {jwtBearer}, "client_secret": {"x"}}, "", "secrets are not accepted"},
		{"client_secret_basic", url.Values{}, "Basic YTE6eA==", "secrets are not accepted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := d.send("POST", "/authenticate", "application/x-www-form-urlencoded", tt.form.Encode(), tt.auth)
			wantRefused(t, got, 401, "invalid_client", tt.want)
		})
	}
}

func TestTokenURLAudience(t *testing.T) {
	d := newDesk(t, func(_ *desk, c *oauth.Config) { c.Clients.TokenURLAudience = true })
	h := d.agent("a1", "EdDSA")
	for _, aud := range []string{deskIssuer, deskIssuer + "/oauth2/token"} {
		wantClient(t, d.assert(h.jws(t, h.header("EdDSA"), with(d.claims("a1"), "aud", aud))), "a1", "a1", "private_key_jwt")
	}
	both := []string{deskIssuer, deskIssuer + "/oauth2/token"}
	wantRefused(t, d.assert(h.jws(t, h.header("EdDSA"), with(d.claims("a1"), "aud", both))), 401, "invalid_client", "aud of")
}

// strangers returns assertions of clients who are not, or do not prove to be, active agents.
func strangers(t testing.TB, d *desk) map[string]string {
	state := func(id string, s authz.AgentState) *holder { h := d.agent(id, "EdDSA"); d.book.set(id, s); return h }
	change := func(id string, f func(*oauth.Credential)) *holder {
		h := d.agent(id, "EdDSA")
		d.book.change(h.pub.ID, f)
		return h
	}
	good := func(h *holder) string { return h.jws(t, h.header("EdDSA"), d.claims(h.id)) }
	as := func(h *holder, id string, header ...any) string {
		return h.jws(t, with(h.header("EdDSA"), header...), d.claims(id))
	}
	known, other, nobody := d.agent("known", "EdDSA"), d.agent("other", "EdDSA"), newHolder(t, "nobody", "EdDSA")
	p256 := d.agent("p256", "ES256")
	return map[string]string{
		"unknown agent":                      good(nobody),
		"unknown agent without kid":          as(nobody, "nobody", "kid", nil),
		"unknown agent, known key":           as(known, "nobody"),
		"unknown key":                        as(nobody, "known"),
		"unknown key without kid":            as(nobody, "known", "kid", nil),
		"known kid, bad signature":           flip(good(known)),
		"known kid, signed by another key":   as(nobody, "known", "kid", known.pub.ID),
		"key of another agent":               as(other, "known"),
		"key of another agent, own kid":      as(other, "known", "kid", known.pub.ID),
		"alg does not fit the key":           p256.jws(t, with(p256.header("ES256"), "kid", known.pub.ID), d.claims("known")),
		"alg confusion":                      as(known, "known", "alg", "ES256"),
		"suspended agent":                    good(state("suspended", authz.AgentSuspended)),
		"quarantined agent":                  good(state("quarantined", authz.AgentQuarantined)),
		"retired agent":                      good(state("retired", authz.AgentRetired)),
		"revoked key":                        good(change("revoked", func(c *oauth.Credential) { c.RevokedAt = d.Now() })),
		"expired key":                        good(change("expired", func(c *oauth.Credential) { c.ExpiresAt = d.Now() })),
		"document that is not linked":        as(nobody, "https://client.example/metadata"),
		"document URL that cannot be one":    as(nobody, "https://client.example"),
		"suspended agent with bad signature": flip(good(state("both", authz.AgentSuspended))),
	}
}

func TestOneAnswerForStrangers(t *testing.T) {
	for name, documents := range map[string]bool{"": false, "with documents": true} {
		d := newDesk(t, func(_ *desk, c *oauth.Config) { c.Clients.Documents = documents })
		all := strangers(t, d)
		want := d.assert(all["unknown agent"])
		wantRefused(t, want, 401, "invalid_client", "client authentication failed")
		for what, jws := range all {
			if got := d.assert(jws); !sameAnswer(got, want) {
				t.Errorf("%s %s: answer %d %q %v, want the one of an unknown agent: %d %q %v", what, name, got.Status, got.body, got.header, want.Status, want.body, want.header)
			}
		}
	}
}

// TestStrangersWaitAlike measures the fastest of many tries for each kind of stranger: none may be
// answered in half the time of another.
func TestStrangersWaitAlike(t *testing.T) {
	if testing.Short() {
		t.Skip("measures time")
	}
	d := newDesk(t, nil)
	all := strangers(t, d)
	delete(all, "alg does not fit the key") // P-256 takes longer, whoever uses it
	delete(all, "alg confusion")
	fastest := map[string]time.Duration{}
	r := httptest.NewRequest("POST", "/authenticate", nil)
	for range 300 {
		for what, jws := range all {
			form := url.Values{"client_assertion_type": {jwtBearer}, "client_assertion": {jws}}
			start := time.Now()
			if _, err := d.server.Authenticate(r, form); err == nil {
				t.Fatalf("%s: authenticated", what)
			}
			if took := time.Since(start); fastest[what] == 0 || took < fastest[what] {
				fastest[what] = took
			}
		}
	}
	for a, ta := range fastest {
		for b, tb := range fastest {
			if ta*2 < tb {
				t.Errorf("%s takes %v, %s takes %v: want less of a difference", a, ta, b, tb)
			}
		}
	}
}

// FuzzAuthenticate shows that whatever is no assertion of ours has an answer of RFC 6749 and no other.
func FuzzAuthenticate(f *testing.F) {
	d := newDesk(f, func(_ *desk, c *oauth.Config) {
		c.Clients.Documents = true
		c.Clients.Workloads = []oauth.WorkloadIssuer{{
			Issuer: "https://issuer.example", Keys: fmt.Appendf(nil, `{"keys":[%s]}`, newHolder(f, "", "ES256").pub.JWK()),
			Rules: []oauth.Rule{{Agent: "known", Conditions: []oauth.Condition{{Claim: "sub", Is: "x"}}}},
		}}
	})
	h := d.agent("known", "EdDSA")
	for _, jws := range strangers(f, d) {
		f.Add(jwtBearer, jws, "")
	}
	f.Add(jwtBearer, flip(h.jws(f, h.header("EdDSA"), with(d.claims("known"), "iss", "https://issuer.example"))), "known")
	f.Add("urn:ietf:params:oauth:client-assertion-type:jwt-spiffe", "e30.e30.AA", "spiffe://x/y")
	r := httptest.NewRequest(http.MethodPost, "/oauth2/token", nil)
	f.Fuzz(func(t *testing.T, kind, assertion, id string) {
		cl, err := d.server.Authenticate(r, url.Values{"client_assertion_type": {kind}, "client_assertion": {assertion}, "client_id": {id}})
		if e, ok := errors.AsType[*oauth.Error](err); !ok || e.Status != 401 || e.Code != "invalid_client" {
			t.Errorf("Authenticate(%q, %q, %q) = %+v, %v", kind, assertion, id, cl, err)
		}
	})
}

func TestUseOf(t *testing.T) {
	if oauth.UseOf("a", "bc") == oauth.UseOf("ab", "c") {
		t.Error("UseOf does not tell the issuer from the jti")
	}
	if again := oauth.UseOf("a", "b"); again != oauth.UseOf("a", "b") {
		t.Error("UseOf differs from itself")
	}
	if oauth.UseOf("a", strings.Repeat("b", 1000)) == oauth.UseOf("a", strings.Repeat("b", 1001)) {
		t.Error("UseOf does not read all of a long jti")
	}
}

func TestMethods(t *testing.T) {
	for asked, want := range map[bool][]string{false: {"private_key_jwt"}, true: {"private_key_jwt", "self_signed_tls_client_auth"}} {
		d := newDesk(t, func(_ *desk, c *oauth.Config) { c.Clients.Certificates = asked })
		if got := d.server.Methods(); !slices.Equal(got, want) {
			t.Errorf("clients are asked for certificates: %v; methods = %q, want %q", asked, got, want)
		}
	}
}

func BenchmarkPrivateKeyJWT(b *testing.B) {
	d := newDesk(b, nil)
	h := d.agent("a1", "EdDSA")
	form := url.Values{"client_assertion_type": {jwtBearer}, "client_assertion": {h.jws(b, h.header("EdDSA"), d.claims("a1"))}}
	r := httptest.NewRequest(http.MethodPost, "/oauth2/token", nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.server.Authenticate(r, form); err != nil {
			b.Fatal(err)
		}
	}
}
