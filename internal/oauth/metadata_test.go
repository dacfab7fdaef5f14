package oauth_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/internal/oauth"
)

// An agent needs one URL: the documents stand where RFC 8414, OpenID Connect Discovery and RFC 9728 look
// for them, for issuers with and without a path.
func TestMetadata(t *testing.T) {
	for _, c := range []struct {
		issuer string
		paths  []string
	}{
		{"https://as.example", []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"}},
		{"https://as.example/a/tenant", []string{
			"/.well-known/oauth-authorization-server/a/tenant", "/a/tenant/.well-known/oauth-authorization-server",
			"/.well-known/openid-configuration/a/tenant", "/a/tenant/.well-known/openid-configuration",
		}},
	} {
		h := newHouse(t, 1, func(cfg *oauth.Config) { cfg.Issuer = c.issuer })
		for _, path := range c.paths {
			out := h.replicas[0].get(path)
			if out.Status != 200 || out.Header.Get("Content-Type") != "application/json" || out.Header.Get("Cache-Control") != "public, max-age=300" {
				t.Errorf("GET %s: %d %v", path, out.Status, out.Header)
			}
			for member, want := range map[string]string{
				"issuer": c.issuer, "token_endpoint": c.issuer + "/oauth2/token", "introspection_endpoint": c.issuer + "/oauth2/introspect",
				"revocation_endpoint": c.issuer + "/oauth2/revoke", "jwks_uri": c.issuer + "/.well-known/jwks.json",
				"safeconduct_enrollment_endpoint": c.issuer + "/oauth2/enroll",
			} {
				if out.Members[member] != want {
					t.Errorf("GET %s: %s = %v, want %q", path, member, out.Members[member], want)
				}
			}
			if out.Members["registration_endpoint"] != nil {
				t.Errorf("GET %s names a registration endpoint that is not open", path)
			}
			for _, list := range []string{"grant_types_supported", "token_endpoint_auth_methods_supported", "dpop_signing_alg_values_supported", "response_types_supported", "authorization_details_types_supported"} {
				if _, ok := out.Members[list].([]any); !ok {
					t.Errorf("GET %s: %s = %v, want a list", path, list, out.Members[list])
				}
			}
		}
		suffix := c.issuer[len("https://as.example"):]
		out := h.replicas[0].get("/.well-known/oauth-protected-resource" + suffix)
		if out.Status != 200 || out.Members["resource"] != c.issuer || out.Members["dpop_bound_access_tokens_required"] != true {
			t.Errorf("protected resource: %d %s", out.Status, out.Body)
		}
		if out := h.replicas[0].get(suffix + "/oauth2/token"); out.Status != 405 {
			t.Errorf("the token endpoint below the issuer's path: %d, want 405 for GET", out.Status)
		}
	}
}

func TestKeyDocuments(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	out := r.get("/.well-known/jwks.json")
	if out.Status != 200 || out.Header.Get("Content-Type") != "application/jwk-set+json" || out.Header.Get("Etag") != `"tag"` || out.Header.Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("key set: %d %v", out.Status, out.Header)
	}
	if out := r.get("/.well-known/jwks.json", "If-None-Match", `"tag"`); out.Status != 304 || len(out.Body) > 0 {
		t.Errorf("key set that the client has: %d %q", out.Status, out.Body)
	}
	if out := r.get("/oauth2/keys/historical"); out.Status != 200 || !json.Valid(out.Body) {
		t.Errorf("historical keys: %d %s", out.Status, out.Body)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []oauth.Config{
		{Issuer: ""}, {Issuer: "as.example"}, {Issuer: "https://as.example/"}, {Issuer: "https://as.example?x"}, {Issuer: "https://u@as.example"},
		{Issuer: "ftp://as.example"}, {Issuer: houseIssuer, Lifetime: 1e9 * 301}, {Issuer: houseIssuer, Lifetime: 1}, {Issuer: houseIssuer, Depth: -1},
		{Issuer: houseIssuer, Skew: 1e9 * 61}, {Issuer: houseIssuer, Algorithm: "RS256"}, {Issuer: houseIssuer, Audiences: []string{"mail"}},
	} {
		if _, err := oauth.New(cfg); err == nil {
			t.Errorf("New accepts issuer %q, lifetime %v, depth %d, skew %v, algorithm %q, audiences %q", cfg.Issuer, cfg.Lifetime, cfg.Depth, cfg.Skew, cfg.Algorithm, cfg.Audiences)
		}
	}
}

// Clients that read no metadata without an authorization endpoint find one named. Whoever comes there is told why it is of no
// use, is redirected nowhere, and reads nothing of what was sent.
func TestAuthorizationEndpoint(t *testing.T) {
	for _, issuer := range []string{"https://as.example", "https://as.example/tenant"} {
		h := newHouse(t, 1, func(cfg *oauth.Config) { cfg.Issuer = issuer })
		r := h.replicas[0]
		out := r.get("/.well-known/oauth-authorization-server" + issuer[len("https://as.example"):])
		if got, want := out.Members["authorization_endpoint"], issuer+"/oauth2/authorize"; got != want {
			t.Errorf("authorization_endpoint = %v, want %s", got, want)
		}
		if types, ok := out.Members["response_types_supported"].([]any); !ok || len(types) != 0 {
			t.Errorf("response_types_supported = %v, want none", out.Members["response_types_supported"])
		}
		sent := url.Values{"response_type": {"code"}, "client_id": {"evil-client"}, "redirect_uri": {"https://evil.example/back"}, "state": {"evil-state"}, "scope": {"<script>evil"}}
		for what, out := range map[string]*outcome{
			"GET":                  r.get("/oauth2/authorize?" + sent.Encode()),
			"GET below the issuer": r.get(issuer[len("https://as.example"):] + "/oauth2/authorize?" + sent.Encode()),
			"GET of nothing":       r.get("/oauth2/authorize"),
			"GET by a browser":     r.get("/oauth2/authorize?%zz&state=evil", "Accept", "text/html", "Cookie", "evil=1"),
			"POST":                 r.post("/oauth2/authorize", sent),
		} {
			if out.Status != 400 || out.Members["error"] != "unsupported_response_type" || out.Header.Get("Location") != "" || out.Header.Get("Refresh") != "" {
				t.Errorf("%s: %d %v %s, want 400, and no redirection", what, out.Status, out.Header, out.Body)
			}
			if got := out.Header.Get("Content-Type"); got != "application/json" || out.Header.Get("X-Content-Type-Options") != "nosniff" || out.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %v, want JSON that is neither kept nor taken for anything else", what, out.Header)
			}
			if strings.Contains(string(out.Body), "evil") {
				t.Errorf("%s: the answer says what was sent: %s", what, out.Body)
			}
		}
	}
}
