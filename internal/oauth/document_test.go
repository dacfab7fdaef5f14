package oauth_test

import (
	"crypto/x509"
	"encoding/json"
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

// A publisher serves a client ID metadata document and the key set beside it.
type publisher struct {
	*httptest.Server

	mu    sync.Mutex
	doc   map[string]any
	keys  []any
	asked map[string]int
}

func newPublisher(t testing.TB) *publisher {
	p := &publisher{asked: map[string]int{}}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked[r.URL.Path]++
		switch r.URL.Path {
		case "/agent.json":
			_ = json.NewEncoder(w).Encode(p.doc)
		case "/keys.json":
			_ = json.NewEncoder(w).Encode(map[string]any{"keys": p.keys})
		default:
			http.Redirect(w, r, "/agent.json", http.StatusFound)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) url() string { return p.URL + "/agent.json" }

// jwk returns a key as a publisher has it, with a name of its own.
func jwk(t testing.TB, h *holder, kid string) map[string]any {
	var m map[string]any
	if err := json.Unmarshal(h.pub.JWK(), &m); err != nil {
		t.Fatal(err)
	}
	m["kid"] = kid
	return m
}

// publish sets a good document with the key inside, changed as with does.
func (p *publisher) publish(t testing.TB, h *holder, changes ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doc = with(map[string]any{
		"client_id": p.url(), "client_name": "An agent", "token_endpoint_auth_method": "private_key_jwt",
		"jwks": map[string]any{"keys": []any{jwk(t, h, "k1")}},
	}, changes...)
}

// documentDesk is a desk at which the document is linked to agent a1.
func documentDesk(t testing.TB, p *publisher, edit func(*desk, *oauth.Config)) *desk {
	d := newDesk(t, func(d *desk, c *oauth.Config) {
		roots := x509.NewCertPool()
		roots.AddCert(p.Certificate())
		c.Clients.Documents = true
		c.Clients.Fetch = outbound.New(outbound.Config{AllowPrivate: true, RootCAs: roots, Now: d.Now})
		if edit != nil {
			edit(d, c)
		}
	})
	d.book.set("a1", authz.AgentActive)
	d.book.add(&oauth.Credential{Agent: "a1", ID: p.url(), CreatedAt: d.Now()})
	return d
}

func TestDocument(t *testing.T) {
	for name, set := range map[string]func(p *publisher, h *holder){
		"keys inside": func(p *publisher, h *holder) { p.publish(t, h) },
		"keys beside": func(p *publisher, h *holder) {
			p.publish(t, h, "jwks", nil, "jwks_uri", p.URL+"/keys.json")
			p.keys = []any{jwk(t, h, "k1")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPublisher(t)
			d := documentDesk(t, p, nil)
			h := newHolder(t, "", "ES256")
			set(p, h)
			for _, head := range []map[string]any{{"alg": "ES256", "kid": "k1"}, {"alg": "ES256", "kid": h.pub.ID}, {"alg": "ES256"}} {
				got := d.assert(h.jws(t, head, d.claims(p.url())), "client_id", p.url())
				wantClient(t, got, "a1", p.url(), "private_key_jwt")
				if got.Key != h.pub.ID || !got.Use {
					t.Errorf("key %q, single use %v; want %q, true", got.Key, got.Use, h.pub.ID)
				}
			}
			if p.asked["/agent.json"] != 1 || p.asked["/keys.json"] > 1 {
				t.Errorf("asked for %v, want each once", p.asked)
			}
			// The agent rotates its key.
			next := newHolder(t, "", "ES256")
			set(p, next)
			p.mu.Lock()
			for _, list := range []any{p.keys, p.doc["jwks"]} {
				if keys, ok := list.([]any); ok && len(keys) > 0 {
					keys[0] = jwk(t, next, "k2")
				} else if m, ok := list.(map[string]any); ok {
					m["keys"] = []any{jwk(t, next, "k2")}
				}
			}
			p.mu.Unlock()
			text := func() string {
				return next.jws(t, map[string]any{"alg": "ES256", "kid": "k2"}, d.claims(p.url()))
			}
			wantRefused(t, d.assert(text()), 401, "invalid_client", "failed")
			d.advance(time.Minute)
			wantClient(t, d.assert(text()), "a1", p.url(), "private_key_jwt")
			wantRefused(t, d.assert(h.jws(t, map[string]any{"alg": "ES256", "kid": "k1"}, d.claims(p.url()))), 401, "invalid_client", "failed")
		})
	}
}

func TestDocumentRefused(t *testing.T) {
	p := newPublisher(t)
	h := newHolder(t, "", "ES256")
	never := newHolder(t, "", "ES256")
	for _, tt := range []struct {
		name    string
		changes []any
		prepare func(d *desk)
	}{
		{"client_id of another", []any{"client_id", p.URL + "/other.json"}, nil},
		{"client_id missing", []any{"client_id", nil}, nil},
		{"client_id in other words", []any{"client_id", strings.Replace(p.url(), "https", "HTTPS", 1)}, nil},
		{"method none", []any{"token_endpoint_auth_method", "none"}, nil},
		{"method missing", []any{"token_endpoint_auth_method", nil}, nil},
		{"method client_secret_basic", []any{"token_endpoint_auth_method", "client_secret_basic"}, nil},
		{"a secret", []any{"client_secret", "x"}, nil},
		{"an empty secret that expires", []any{"client_secret_expires_at", 0}, nil},
		{"no keys", []any{"jwks", nil}, nil},
		{"keys inside and beside", []any{"jwks_uri", p.URL + "/keys.json"}, nil},
		{"keys without TLS", []any{"jwks", nil, "jwks_uri", "http://127.0.0.1/keys"}, nil},
		{"keys in a file", []any{"jwks", nil, "jwks_uri", "file:///etc/passwd"}, nil},
		{"keys that are redirected", []any{"jwks", nil, "jwks_uri", p.URL + "/moved"}, nil},
		{"keys that are none", []any{"jwks", "x"}, nil},
		{"another's key", []any{"jwks", map[string]any{"keys": []any{jwk(t, never, "k1")}}}, nil},
		{"two keys of that name", []any{"jwks", map[string]any{"keys": []any{jwk(t, h, "k1"), jwk(t, never, "k1")}}}, nil},
		{"too large", []any{"client_name", strings.Repeat("x", 70_000)}, nil},
		{"suspended agent", nil, func(d *desk) { d.book.set("a1", authz.AgentSuspended) }},
		{"link that was revoked", nil, func(d *desk) {
			d.book.change(p.url(), func(c *oauth.Credential) { c.RevokedAt = d.Now() })
		}},
		{"key that was revoked", nil, func(d *desk) {
			d.book.add(&oauth.Credential{Agent: "a1", ID: h.pub.ID, Key: h.pub, RevokedAt: d.Now()})
		}},
		{"key of another agent", nil, func(d *desk) { d.book.add(&oauth.Credential{Agent: "a2", ID: h.pub.ID, Key: h.pub}) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := documentDesk(t, p, nil)
			p.publish(t, h, tt.changes...)
			if tt.prepare != nil {
				tt.prepare(d)
			}
			stranger := newHolder(t, "", "ES256")
			want := d.assert(stranger.jws(t, map[string]any{"alg": "ES256", "kid": "k1"}, d.claims("nobody")))
			got := d.assert(h.jws(t, map[string]any{"alg": "ES256", "kid": "k1"}, d.claims(p.url())))
			wantRefused(t, got, 401, "invalid_client", "client authentication failed")
			if !sameAnswer(got, want) {
				t.Errorf("answer %q, want the one of an unknown agent: %q", got.body, want.body)
			}
		})
	}
}

// TestDocumentIsNotFetched shows who cannot make us ask an address.
func TestDocumentIsNotFetched(t *testing.T) {
	p := newPublisher(t)
	h := newHolder(t, "", "ES256")
	p.publish(t, h)
	text := func(d *desk, id string) string { return h.jws(t, map[string]any{"alg": "ES256"}, d.claims(id)) }
	none := func(what string, d *desk, id string) {
		t.Helper()
		wantRefused(t, d.assert(text(d, id)), 401, "invalid_client", "client authentication failed")
		if len(p.asked) != 0 {
			t.Errorf("%s: asked for %v, want nothing", what, p.asked)
		}
	}
	none("not linked", documentDesk(t, p, nil), p.URL+"/other.json")
	none("documents are off", documentDesk(t, p, func(_ *desk, c *oauth.Config) { c.Clients.Documents = false }), p.url())
	none("private network", documentDesk(t, p, func(_ *desk, c *oauth.Config) { c.Clients.Fetch = nil }), p.url())
	d := documentDesk(t, p, nil)
	d.book.set("a1", authz.AgentSuspended)
	none("suspended agent", d, p.url())
}

func TestCheckDocumentURL(t *testing.T) {
	for _, good := range []string{"https://a.example/x", "https://a.example:8443/x/y.json", "https://a.example/"} {
		if err := oauth.CheckDocumentURL(good); err != nil {
			t.Errorf("check of %q = %v, want nil", good, err)
		}
	}
	for _, bad := range []string{
		"", "https://a.example", "http://a.example/x", "https://u@a.example/x", "https://u:p@a.example/x", "https://a.example/x#", "https://a.example/x#y",
		"https://a.example/./x", "https://a.example/../x", "https://a.example/%2e%2e/x", "https:///x", "https:a", "https://a.example/x\\y",
	} {
		if err := oauth.CheckDocumentURL(bad); err == nil {
			t.Errorf("check of %q = nil, want an error", bad)
		}
	}
}

func FuzzParseDocument(f *testing.F) {
	const address = "https://client.example/agent.json"
	h := newHolder(f, "", "ES256")
	f.Add([]byte(`{"client_id":"` + address + `","token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[` + string(h.pub.JWK()) + `]}}`))
	f.Add([]byte(`{"client_id":"` + address + `","token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://client.example/keys"}`))
	f.Add([]byte(`{"client_id":"` + address + `","client_id":"x"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		_, keysURL, err := oauth.ParseDocument(text, address)
		if err != nil {
			return
		}
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil || m["client_id"] != address || m["token_endpoint_auth_method"] != "private_key_jwt" || m["client_secret"] != nil {
			t.Errorf("ParseDocument(%q) passes", text)
		}
		if u, err := url.Parse(keysURL); keysURL != "" && (err != nil || u.Scheme != "https") {
			t.Errorf("ParseDocument(%q) = keys at %q", text, keysURL)
		}
	})
}
