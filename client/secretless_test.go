package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth/extauth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// secretless returns what a library would use in place of its own client, and its token request.
func secretless(t *testing.T, s *authServer) (hc *http.Client, ask func(where string, basic bool, pairs ...string) (int, map[string]any, error)) {
	t.Helper()
	rt, err := s.agent("EdDSA").Secretless(rsURL)
	if err != nil {
		t.Fatal(err)
	}
	rt.Base = s
	hc = &http.Client{Transport: rt}
	return hc, func(where string, basic bool, pairs ...string) (int, map[string]any, error) {
		form := url.Values{"grant_type": {"client_credentials"}, "scope": {"a b"}}
		if !basic {
			form.Set("client_id", "bot")
			form.Set("client_secret", "hush")
		}
		for i := 0; i+1 < len(pairs); i += 2 {
			form.Set(pairs[i], pairs[i+1])
		}
		req, err := http.NewRequest("POST", where, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if basic {
			req.SetBasicAuth("bot", "hush")
		}
		resp, err := hc.Do(req)
		if err != nil {
			return 0, nil, err
		}
		defer resp.Body.Close()
		var answer map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		return resp.StatusCode, answer, nil
	}
}

func TestSecretless(t *testing.T) {
	s := newAuthServer(t)
	hc, ask := secretless(t, s)
	for _, basic := range []bool{false, true} {
		status, answer, err := ask(issuer+"/oauth2/token", basic)
		access, _ := answer["access_token"].(string)
		if err != nil || status != 200 || access == "" || answer["token_type"] != "DPoP" || answer["expires_in"].(float64) < 290 {
			t.Fatalf("basic %v: %d %v, %v", basic, status, answer, err)
		}
		form := s.forms[len(s.forms)-1]
		if form.Has("client_secret") || form.Has("client_id") || form.Get("client_assertion_type") == "" || form.Get("resource") != rsURL || form.Get("scope") != "a b" {
			t.Errorf("basic %v: sent %v", basic, form)
		}
		for _, scheme := range []string{"Bearer", "bearer", "DPoP"} {
			req, err := http.NewRequest("POST", rsURL+"/invoices?x=1", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", scheme+" "+access)
			resp, err := hc.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != 200 || !strings.HasSuffix(string(b), " body") || req.Header.Get("DPoP") != "" {
				t.Errorf("%s: %d %s", scheme, resp.StatusCode, b)
			}
		}
		// The token goes nowhere else.
		for _, u := range []string{"https://other.example.com/", "http://erp.example.com/", issuer + "/oauth2/introspect"} {
			req, err := http.NewRequest("GET", u, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+access)
			if _, err := hc.Do(req); !errors.Is(err, authz.ErrForbidden) {
				t.Errorf("%s: %v, want a refusal", u, err)
			}
		}
	}
}

// What the agent would not have asked for is refused as a server would, and what is refused by the
// server reaches the library.
func TestSecretlessRefuses(t *testing.T) {
	s := newAuthServer(t)
	_, ask := secretless(t, s)
	for name, tt := range map[string]struct {
		pairs  []string
		status int
		code   string
	}{
		"another client":   {[]string{"client_id", "other"}, 401, client.CodeInvalidClient},
		"another grant":    {[]string{"grant_type", "password"}, 400, client.CodeUnsupportedGrantType},
		"another resource": {[]string{"resource", "https://other.example.com"}, 400, client.CodeInvalidTarget},
	} {
		status, answer, err := ask(issuer+"/oauth2/token", false, tt.pairs...)
		if err != nil || status != tt.status || answer["error"] != tt.code {
			t.Errorf("%s: %d %v, %v; want %d %s", name, status, answer, err, tt.status, tt.code)
		}
	}
	if len(s.forms) != 0 {
		t.Errorf("%d forms were sent", len(s.forms))
	}
	s.fault = func(r *http.Request, _ int) (int, string) {
		if strings.HasSuffix(r.URL.Path, "/oauth2/token") {
			return 400, `{"error":"access_denied","error_description":"not now"}`
		}
		return 0, ""
	}
	if status, answer, err := ask(issuer+"/oauth2/token", false); err != nil || status != 400 || answer["error"] != "access_denied" || answer["error_description"] != "not now" {
		t.Errorf("denied: %d %v, %v", status, answer, err)
	}
	for _, resource := range []string{"", "erp.example.com", "http://erp.example.com", rsURL + "#x"} {
		if _, err := s.agent("EdDSA").Secretless(resource); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("resource %q: %v, want %v", resource, err, authz.ErrInvalid)
		}
	}
}

// A library that was led to another authorization server shows it nothing of the agent's.
func TestSecretlessElsewhere(t *testing.T) {
	s := newAuthServer(t)
	_, ask := secretless(t, s)
	var seen http.Header
	var body string
	s.fault = func(r *http.Request, _ int) (int, string) {
		if r.URL.Host == "evil.example.com" {
			b, _ := io.ReadAll(r.Body)
			seen, body = r.Header.Clone(), string(b)
			return 400, "{}"
		}
		return 0, ""
	}
	if status, _, err := ask("https://evil.example.com/token", false); err != nil || status != 400 || seen == nil {
		t.Fatalf("%d, %v", status, err)
	}
	if seen.Get("DPoP") != "" || strings.Contains(body, "assertion") {
		t.Errorf("sent %v %s", seen, body)
	}
}

// A library that knows clients with a secret only, such as the client credentials extension of MCP's Go
// SDK, acts as the agent: it is given the agent's id, any secret, and this client.
func ExampleAgent_Secretless() {
	agent, err := client.LoadAgent("invoice-bot.key")
	if err != nil {
		panic(err)
	}
	transport, err := agent.Secretless("https://tools.example.com/mcp")
	if err != nil {
		panic(err)
	}
	hc := &http.Client{Transport: transport}
	handler, err := extauth.NewClientCredentialsHandler(&extauth.ClientCredentialsHandlerConfig{
		Credentials: &oauthex.ClientCredentials{ClientID: agent.ID(), ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: "none"}},
		HTTPClient:  hc,
	})
	if err != nil {
		panic(err)
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "invoice-bot", Version: "1"}, nil).Connect(context.Background(),
		&mcp.StreamableClientTransport{Endpoint: "https://tools.example.com/mcp", HTTPClient: hc, OAuthHandler: handler}, nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(session.ListTools(context.Background(), nil))
}
