package oauth_test

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/outbound"
)

// A cluster is an issuer of workloads' tokens, as a Kubernetes API server is one.
type cluster struct {
	*httptest.Server
	path string // of the issuer

	mu    sync.Mutex
	keys  []*holder
	kids  []string
	asked map[string]int
	edit  func(path string, doc map[string]any) bool // false: 404
}

func newCluster(t testing.TB, path string) (*cluster, *holder) {
	t.Helper()
	h := newHolder(t, "", "RS256")
	c := &cluster{path: path, keys: []*holder{h}, kids: []string{"k1"}, asked: map[string]int{}}
	c.Server = httptest.NewTLSServer(c)
	t.Cleanup(c.Close)
	return c, h
}

func (c *cluster) issuer() string { return c.URL + c.path }

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[r.URL.Path]++
	doc := map[string]any{"issuer": c.issuer(), "jwks_uri": c.URL + "/openid/v1/jwks"}
	if r.URL.Path == "/openid/v1/jwks" {
		var keys []any
		for i, h := range c.keys {
			var m map[string]any
			if err := json.Unmarshal(h.pub.JWK(), &m); err != nil {
				panic(err)
			}
			m["kid"] = c.kids[i]
			keys = append(keys, m)
		}
		doc = map[string]any{"keys": keys}
	} else if r.URL.Path != c.path+"/.well-known/openid-configuration" && c.edit == nil {
		w.WriteHeader(404)
		return
	}
	if c.edit != nil && !c.edit(r.URL.Path, doc) {
		w.WriteHeader(404)
		return
	}
	_ = json.NewEncoder(w).Encode(doc)
}

// fetcher reaches the cluster.
func (c *cluster) fetcher(d *desk) *outbound.Client {
	roots := x509.NewCertPool()
	roots.AddCert(c.Certificate())
	return outbound.New(outbound.Config{AllowPrivate: true, RootCAs: roots, Now: d.Now})
}

// serviceAccount are the claims of a token that Kubernetes makes.
func serviceAccount(d *desk, issuer, namespace, name string) map[string]any {
	now := d.Now()
	return map[string]any{
		"iss": issuer, "sub": "system:serviceaccount:" + namespace + ":" + name, "aud": []string{deskIssuer}, "jti": "j1",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]any{"name": name, "uid": "u-1"}},
	}
}

var kubernetes = []oauth.Rule{
	{Agent: "orders", Conditions: []oauth.Condition{
		{Claim: "kubernetes.io.namespace", Is: "shop"},
		{Claim: "kubernetes.io.serviceaccount.name", In: []string{"orders", "orders-canary"}},
	}},
	{Agent: "twin", Conditions: []oauth.Condition{{Claim: "sub", Is: "system:serviceaccount:shop:shared"}}},
	{Agent: "twin-2", Conditions: []oauth.Condition{{Claim: "sub", Is: "system:serviceaccount:shop:shared"}}},
	{Agent: "suspended", Conditions: []oauth.Condition{{Claim: "sub", Is: "system:serviceaccount:shop:suspended"}}},
	{Agent: "unregistered", Conditions: []oauth.Condition{{Claim: "sub", Is: "system:serviceaccount:shop:unregistered"}}},
}

// workloadDesk is a desk that trusts the cluster.
func workloadDesk(t testing.TB, c *cluster, edit func(*oauth.WorkloadIssuer)) *desk {
	d := newDesk(t, func(d *desk, cfg *oauth.Config) {
		w := oauth.WorkloadIssuer{Issuer: c.issuer(), Fetch: c.fetcher(d), Rules: kubernetes}
		if edit != nil {
			edit(&w)
		}
		cfg.Clients.Workloads = []oauth.WorkloadIssuer{w}
	})
	for _, id := range []string{"orders", "twin", "twin-2"} {
		d.book.set(id, authz.AgentActive)
	}
	d.book.set("suspended", authz.AgentSuspended)
	return d
}

func TestWorkload(t *testing.T) {
	for _, path := range []string{"", "/clusters/c1"} {
		c, h := newCluster(t, path)
		d := workloadDesk(t, c, nil)
		text := h.jws(t, map[string]any{"alg": "RS256", "kid": "k1"}, serviceAccount(d, c.issuer(), "shop", "orders"))
		for range 3 {
			got := d.assert(text)
			wantClient(t, got, "orders", "orders", "workload")
			if got.Use {
				t.Error("a service account's token is used up, and Kubernetes makes one an hour")
			}
		}
		wantClient(t, d.assert(text, "client_id", "orders"), "orders", "orders", "workload")
		wantClient(t, d.post("/workload", url.Values{"assertion": {text}}), "orders", "orders", "workload")
		if n := c.asked["/openid/v1/jwks"]; n != 1 {
			t.Errorf("keys were asked for %d times, want 1", n)
		}
		shared := h.jws(t, map[string]any{"alg": "RS256", "kid": "k1"}, serviceAccount(d, c.issuer(), "shop", "shared"))
		wantClient(t, d.assert(shared, "client_id", "twin-2"), "twin-2", "twin-2", "workload")
	}
}

func TestWorkloadRefused(t *testing.T) {
	c, h := newCluster(t, "")
	d := workloadDesk(t, c, nil)
	stranger := newHolder(t, "", "ES256")
	head := map[string]any{"alg": "RS256", "kid": "k1", "typ": "JWT"}
	good := func(changes ...any) map[string]any {
		return with(serviceAccount(d, c.issuer(), "shop", "orders"), changes...)
	}
	of := func(namespace, name string) string {
		return h.jws(t, head, serviceAccount(d, c.issuer(), namespace, name))
	}
	in := func(by time.Duration) int64 { return d.Now().Add(by).Unix() }
	const failed, audience = "client authentication failed", "aud of the workload's token"
	for _, tt := range []struct{ name, text, id, want string }{
		{"issuer that is not trusted", h.jws(t, head, good("iss", "https://other.example")), "", "iss and sub"},
		{"audience of another", h.jws(t, head, good("aud", "https://kubernetes.default.svc")), "", audience},
		{"two audiences", h.jws(t, head, good("aud", []string{deskIssuer, "https://kubernetes.default.svc"})), "", audience},
		{"audience is the token endpoint", h.jws(t, head, good("aud", deskIssuer+"/oauth2/token")), "", audience},
		{"expired", h.jws(t, head, good("exp", in(0))), "", "has expired"},
		{"lives too long", h.jws(t, head, good("exp", in(3*time.Hour))), "", "too far ahead"},
		{"nbf ahead", h.jws(t, head, good("nbf", in(time.Minute))), "", "not valid yet"},
		{"iat ahead", h.jws(t, head, good("iat", in(time.Minute))), "", "not valid yet"},
		{"key in the header", stranger.jws(t, map[string]any{"alg": "ES256", "jwk": stranger.pub.JWK()}, good()), "", "bring its key along"},
		{"DPoP proof", h.jws(t, with(head, "typ", "dpop+jwt"), good()), "", "typ of the workload's token"},
		{"alg none", h.jws(t, with(head, "alg", "none"), good()), "", "cannot be read"},
		{"bad signature", flip(h.jws(t, head, good())), "", failed},
		{"another's key", stranger.jws(t, map[string]any{"alg": "ES256", "kid": "k1"}, good()), "", failed},
		{"unknown kid", h.jws(t, with(head, "kid", "k9"), good()), "", failed},
		{"namespace of another", of("other", "orders"), "", failed},
		{"name of another", of("shop", "other"), "", failed},
		{"no such claim", h.jws(t, head, good("kubernetes.io", nil)), "", failed},
		{"claim of another type", h.jws(t, head, good("kubernetes.io", []string{"shop"})), "", failed},
		{"claim by two ways", h.jws(t, head, good("kubernetes.io.namespace", "shop")), "", failed},
		{"rules of two agents", of("shop", "shared"), "", failed},
		{"client_id of another", of("shop", "orders"), "twin", failed},
		{"suspended agent", of("shop", "suspended"), "", failed},
		{"unknown agent", of("shop", "unregistered"), "", failed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var more []string
			if tt.id != "" {
				more = []string{"client_id", tt.id}
			}
			wantRefused(t, d.assert(tt.text, more...), 401, "invalid_client", tt.want)
		})
	}
	want := d.assert(of("shop", "unregistered"))
	for name, got := range map[string]who{"suspended": d.assert(of("shop", "suspended")), "no rule": d.assert(of("x", "y")), "bad signature": d.assert(flip(of("shop", "orders")))} {
		if !sameAnswer(got, want) {
			t.Errorf("%s: answer %q, want the one of an unknown agent: %q", name, got.body, want.body)
		}
	}
}

func TestJWTBearerRefused(t *testing.T) {
	c, h := newCluster(t, "")
	d := workloadDesk(t, c, nil)
	own := d.agent("a1", "EdDSA")
	head := map[string]any{"alg": "RS256", "kid": "k1"}
	good := serviceAccount(d, c.issuer(), "shop", "orders")
	for _, tt := range []struct{ name, assertion, want string }{
		{"nothing", "", "cannot be read"},
		{"no JWS", "x.y.z", "cannot be read"},
		{"no aud", h.jws(t, head, with(good, "aud", nil)), "cannot be read"},
		{"issuer that is not trusted", h.jws(t, head, with(good, "iss", "https://other.example")), "issuer is not trusted"},
		{"an agent's own key", own.jws(t, own.header("EdDSA"), d.claims("a1")), "issuer is not trusted"},
		{"SPIFFE ID, and no trust domain", h.jws(t, head, with(good, "iss", nil, "sub", "spiffe://example.org/x")), "issuer is not trusted"},
		{"audience of another", h.jws(t, head, with(good, "aud", "x")), "aud of the workload's token"},
		{"bad signature", flip(h.jws(t, head, good)), "the assertion is not accepted"},
		{"unknown agent", h.jws(t, head, serviceAccount(d, c.issuer(), "shop", "unregistered")), "the assertion is not accepted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantRefused(t, d.post("/workload", url.Values{"assertion": {tt.assertion}}), 400, "invalid_grant", tt.want)
		})
	}
}

func TestWorkloadSingleUse(t *testing.T) {
	c, h := newCluster(t, "")
	d := workloadDesk(t, c, func(w *oauth.WorkloadIssuer) { w.SingleUse = true })
	head := map[string]any{"alg": "RS256", "kid": "k1"}
	claims := with(serviceAccount(d, c.issuer(), "shop", "orders"), "exp", d.Now().Add(5*time.Minute).Unix())
	got := d.assert(h.jws(t, head, claims))
	wantClient(t, got, "orders", "orders", "workload")
	if !got.Use {
		t.Error("the token is not used up, want it to be")
	}
	wantRefused(t, d.assert(h.jws(t, head, with(claims, "jti", nil))), 401, "invalid_client", "jti of")
	wantRefused(t, d.assert(h.jws(t, head, with(claims, "exp", d.Now().Add(6*time.Minute).Unix()))), 401, "invalid_client", "too far ahead")
}

func TestWorkloadKeysRotate(t *testing.T) {
	c, h := newCluster(t, "")
	d := workloadDesk(t, c, nil)
	wantClient(t, d.assert(h.jws(t, map[string]any{"alg": "RS256", "kid": "k1"}, serviceAccount(d, c.issuer(), "shop", "orders"))), "orders", "orders", "workload")
	next := newHolder(t, "", "ES256")
	c.mu.Lock()
	c.keys, c.kids = append(c.keys, next), append(c.kids, "k2")
	c.mu.Unlock()
	text := next.jws(t, map[string]any{"alg": "ES256", "kid": "k2"}, serviceAccount(d, c.issuer(), "shop", "orders"))
	for range 5 { // whoever shows a kid that is not there does not make us ask again and again
		wantRefused(t, d.assert(text), 401, "invalid_client", "failed")
	}
	if n := c.asked["/openid/v1/jwks"]; n != 1 {
		t.Errorf("keys were asked for %d times, want 1", n)
	}
	d.advance(time.Minute)
	wantClient(t, d.assert(text), "orders", "orders", "workload")
}

func TestWorkloadIssuerIsDown(t *testing.T) {
	c, h := newCluster(t, "")
	d := workloadDesk(t, c, nil)
	good := func() string {
		return h.jws(t, map[string]any{"alg": "RS256", "kid": "k1"}, serviceAccount(d, c.issuer(), "shop", "orders"))
	}
	wantClient(t, d.assert(good()), "orders", "orders", "workload")
	c.mu.Lock()
	c.edit = func(string, map[string]any) bool { return false }
	c.mu.Unlock()
	d.advance(59 * time.Minute)
	wantClient(t, d.assert(good()), "orders", "orders", "workload")
	d.advance(2 * time.Minute)
	wantRefused(t, d.assert(good()), 503, "temporarily_unavailable", "")
}

func TestWorkloadDiscovery(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(c *cluster) func(string, map[string]any) bool
		want int
	}{
		{"OpenID Connect", func(c *cluster) func(string, map[string]any) bool {
			return func(p string, _ map[string]any) bool { return !strings.Contains(p, "oauth-authorization-server") }
		}, 200},
		{"RFC 8414", func(c *cluster) func(string, map[string]any) bool {
			return func(p string, _ map[string]any) bool {
				return p == "/.well-known/oauth-authorization-server/t1" || p == "/openid/v1/jwks"
			}
		}, 200},
		{"none", func(c *cluster) func(string, map[string]any) bool {
			return func(string, map[string]any) bool { return false }
		}, 503},
		{"metadata of another issuer", func(c *cluster) func(string, map[string]any) bool {
			return func(_ string, m map[string]any) bool { m["issuer"] = c.URL; return true }
		}, 503},
		{"no jwks_uri", func(c *cluster) func(string, map[string]any) bool {
			return func(_ string, m map[string]any) bool { delete(m, "jwks_uri"); return true }
		}, 503},
		{"jwks_uri without TLS", func(c *cluster) func(string, map[string]any) bool {
			return func(_ string, m map[string]any) bool { m["jwks_uri"] = "http://10.0.0.1/keys"; return true }
		}, 503},
		{"no keys", func(c *cluster) func(string, map[string]any) bool {
			return func(_ string, m map[string]any) bool { delete(m, "keys"); return true }
		}, 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, h := newCluster(t, "/t1")
			d := workloadDesk(t, c, nil)
			c.edit = tt.edit(c)
			got := d.assert(h.jws(t, map[string]any{"alg": "RS256", "kid": "k1"}, serviceAccount(d, c.issuer(), "shop", "orders")))
			if got.Status != tt.want {
				t.Errorf("status = %d (%s), want %d", got.Status, got.body, tt.want)
			}
		})
	}
}

// TestWorkloadInPrivateNetwork shows that an issuer is not reached by accident.
func TestWorkloadInPrivateNetwork(t *testing.T) {
	c, h := newCluster(t, "")
	d := workloadDesk(t, c, func(w *oauth.WorkloadIssuer) { w.Fetch = nil })
	got := d.assert(h.jws(t, map[string]any{"alg": "RS256", "kid": "k1"}, serviceAccount(d, c.issuer(), "shop", "orders")))
	wantRefused(t, got, 503, "temporarily_unavailable", "")
	if len(c.asked) != 0 {
		t.Errorf("asked for %v, want nothing", c.asked)
	}
}

func TestWorkloadWithKnownKeys(t *testing.T) {
	c, h := newCluster(t, "")
	d := workloadDesk(t, c, func(w *oauth.WorkloadIssuer) {
		w.Fetch, w.Keys = nil, fmt.Appendf(nil, `{"keys":[%s]}`, h.pub.JWK())
	})
	claims := serviceAccount(d, c.issuer(), "shop", "orders")
	wantClient(t, d.assert(h.jws(t, map[string]any{"alg": "RS256"}, claims)), "orders", "orders", "workload")
	wantRefused(t, d.assert(h.jws(t, map[string]any{"alg": "RS256", "kid": "x"}, claims)), 401, "invalid_client", "failed")
	if len(c.asked) != 0 {
		t.Errorf("asked for %v, want nothing", c.asked)
	}
}

func TestWorkloadConfig(t *testing.T) {
	rules := []oauth.Rule{{Agent: "a", Conditions: []oauth.Condition{{Claim: "sub", Is: "x"}}}}
	good := oauth.WorkloadIssuer{Issuer: "https://issuer.example", Rules: rules}
	for name, ws := range map[string][]oauth.WorkloadIssuer{
		"no issuer":            {{Rules: rules}},
		"ourselves":            {{Issuer: deskIssuer, Rules: rules}},
		"without TLS":          {{Issuer: "http://issuer.example", Rules: rules}},
		"twice":                {good, good},
		"no rules":             {{Issuer: "https://issuer.example"}},
		"a rule for nobody":    {{Issuer: "https://issuer.example", Rules: []oauth.Rule{{Conditions: rules[0].Conditions}}}},
		"a rule for everybody": {{Issuer: "https://issuer.example", Rules: []oauth.Rule{{Agent: "a"}}}},
		"bad URL of keys":      {{Issuer: "x", KeysURL: "ftp://issuer.example/", Rules: rules}},
		"no keys":              {{Issuer: "x", Keys: []byte(`{"keys":[]}`), Rules: rules}},
		"bad keys":             {{Issuer: "x", Keys: []byte(`{`), Rules: rules}},
		"tokens for a week":    {{Issuer: "https://issuer.example", Rules: rules, MaxLifetime: 7 * 24 * time.Hour}},
	} {
		if _, err := oauth.New(oauth.Config{Issuer: deskIssuer, Clients: oauth.ClientConfig{Workloads: ws}}); err == nil {
			t.Errorf("%s: New = nil error, want one", name)
		}
	}
	if _, err := oauth.New(oauth.Config{Issuer: deskIssuer, Clients: oauth.ClientConfig{Workloads: []oauth.WorkloadIssuer{good}}}); err != nil {
		t.Errorf("New = %v, want nil", err)
	}
}

func TestConditions(t *testing.T) {
	const claims = `{"sub":"repo:org/app:ref:refs/heads/main","n":42,"f":1.50,"yes":true,"nil":null,"list":["a","b",3],"empty":"",
		"a":{"b":{"c":"deep"},"b.c":"twice"},"x.y":{"z":"dotted"},"k":{"l.m":"dotted too"},"o":{"p":"object"}}`
	is := func(claim, v string) oauth.Condition { return oauth.Condition{Claim: claim, Is: v} }
	for _, tt := range []struct {
		want bool
		c    oauth.Condition
	}{
		{true, is("sub", "repo:org/app:ref:refs/heads/main")},
		{false, is("sub", "repo:org/app:ref:refs/heads/mai")},
		{false, is("sub", "Repo:org/app:ref:refs/heads/main")},
		{false, is("sub", "*")},
		{true, is("n", "42")},
		{false, is("n", "42.0")},
		{true, is("f", "1.50")},
		{false, is("f", "1.5")},
		{true, is("yes", "true")},
		{false, is("nil", "null")},
		{false, is("missing", "x")},
		{false, is("list", "a")},
		{false, is("o", "object")},
		{true, is("o.p", "object")},
		{true, is("x.y.z", "dotted")},
		{true, is("k.l.m", "dotted too")},
		{false, is("a.b.c", "deep")}, // a.b and c, or a and b.c: two ways
		{false, is("a.b.c", "twice")},
		{false, is("sub.x", "x")},
		{true, oauth.Condition{Claim: "sub", In: []string{"x", "repo:org/app:ref:refs/heads/main"}}},
		{false, oauth.Condition{Claim: "sub", In: []string{"x", "y"}}},
		{false, oauth.Condition{Claim: "list", In: []string{"a", "b"}}},
		{true, oauth.Condition{Claim: "n", In: []string{"41", "42"}}},
		{true, oauth.Condition{Claim: "list", Has: "b"}},
		{true, oauth.Condition{Claim: "list", Has: "3"}},
		{false, oauth.Condition{Claim: "list", Has: "c"}},
		{false, oauth.Condition{Claim: "sub", Has: "repo:org/app:ref:refs/heads/main"}},
	} {
		if got := oauth.MeetsRule(oauth.Rule{Agent: "a", Conditions: []oauth.Condition{tt.c}}, claims); got != tt.want {
			t.Errorf("%+v met = %v, want %v", tt.c, got, tt.want)
		}
	}
	both := oauth.Rule{Agent: "a", Conditions: []oauth.Condition{is("n", "42"), is("yes", "false")}}
	if oauth.MeetsRule(both, claims) {
		t.Error("a rule is met by one of its conditions, want all")
	}
	if oauth.MeetsRule(oauth.Rule{Agent: "a"}, claims) {
		t.Error("a rule without conditions is met")
	}
	for _, r := range []oauth.Rule{
		{Agent: "a", Conditions: []oauth.Condition{{Claim: "x"}}},
		{Agent: "a", Conditions: []oauth.Condition{{Is: "x"}}},
		{Agent: "a", Conditions: []oauth.Condition{{Claim: "x", Is: "x", Has: "y"}}},
		{Agent: "a", Conditions: []oauth.Condition{{Claim: "x", Is: "x", In: []string{"y"}}}},
		{Agent: "a", Conditions: []oauth.Condition{{Claim: "x", In: []string{"y", ""}}}},
		{Agent: "a", Conditions: []oauth.Condition{{Claim: strings.Repeat("a.", 8) + "a", Is: "x"}}},
	} {
		if err := oauth.CheckRule(r); err == nil {
			t.Errorf("check of %+v = nil, want an error", r)
		}
	}
}

func FuzzConditions(f *testing.F) {
	f.Add(`{"a":{"b":"c"}}`, "a.b", "c")
	f.Add(`{"a.b":[1]}`, "a.b", "1")
	f.Fuzz(func(t *testing.T, claims, claim, value string) {
		for _, c := range []oauth.Condition{{Claim: claim, Is: value}, {Claim: claim, In: []string{value}}, {Claim: claim, Has: value}} {
			r := oauth.Rule{Agent: "a", Conditions: []oauth.Condition{c}}
			if oauth.CheckRule(r) == nil && oauth.MeetsRule(r, claims) && !json.Valid([]byte(claims)) {
				t.Errorf("%q is no JSON and meets %+v", claims, c)
			}
		}
	})
}

func FuzzParseDiscovery(f *testing.F) {
	const issuer = "https://issuer.example/a"
	f.Add([]byte(`{"issuer":"https://issuer.example/a","jwks_uri":"https://issuer.example/keys"}`))
	f.Add([]byte(`{"issuer":"https://issuer.example/a","issuer":"x","jwks_uri":"https://issuer.example/keys"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		keys, err := oauth.ParseDiscovery(doc, issuer)
		if err != nil {
			return
		}
		var m struct {
			Issuer string `json:"issuer"`
		}
		if err := json.Unmarshal(doc, &m); err != nil || m.Issuer != issuer {
			t.Errorf("ParseDiscovery(%q) passes, issuer %q, %v", doc, m.Issuer, err)
		}
		if u, err := url.Parse(keys); err != nil || u.Host == "" {
			t.Errorf("ParseDiscovery(%q) = %q, which is no URL", doc, keys)
		}
	})
}

func TestDiscoveryURLs(t *testing.T) {
	for issuer, want := range map[string][2]string{
		"https://a.example":     {"https://a.example/.well-known/openid-configuration", "https://a.example/.well-known/oauth-authorization-server"},
		"https://a.example/":    {"https://a.example/.well-known/openid-configuration", "https://a.example/.well-known/oauth-authorization-server"},
		"https://a.example/t/1": {"https://a.example/t/1/.well-known/openid-configuration", "https://a.example/.well-known/oauth-authorization-server/t/1"},
	} {
		if got := oauth.DiscoveryURLs(issuer); len(got) != 2 || [2]string(got) != want {
			t.Errorf("DiscoveryURLs(%q) = %q, want %q", issuer, got, want)
		}
	}
}
