package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/auth/extauth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// A toolServer is an MCP server of the go-sdk over streamable HTTP, in front of which stands an
// enforcement point: each request is shown to Safeconduct with the passport that it carries.
type toolServer struct {
	*httptest.Server
	url     string // of the endpoint, which is also the resource's name
	pep     atomic.Pointer[client.Client]
	issuer  atomic.Pointer[string]
	refused atomic.Int64 // requests whose passport did not count
	secrets atomic.Int64 // requests that carried anything else than a passport by DPoP
}

func newToolServer(t *testing.T) *toolServer {
	s := &toolServer{}
	type none struct{}
	type payment struct {
		Amount float64 `json:"amount"`
	}
	tools := mcp.NewServer(&mcp.Implementation{Name: "books", Version: "1"}, nil)
	say := func(text string) *mcp.CallToolResult {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}
	}
	mcp.AddTool(tools, &mcp.Tool{Name: "list_entries"}, func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
		return say("three entries"), nil, nil
	})
	mcp.AddTool(tools, &mcp.Tool{Name: "pay"}, func(context.Context, *mcp.CallToolRequest, payment) (*mcp.CallToolResult, any, error) {
		return say("paid"), nil, nil
	})
	endpoint := s.guard(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return tools }, nil))
	mux := http.NewServeMux()
	mux.Handle("/mcp", endpoint)
	mux.HandleFunc("/.well-known/oauth-protected-resource/mcp", func(w http.ResponseWriter, r *http.Request) { // RFC 9728
		auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
			Resource: s.url, AuthorizationServers: []string{*s.issuer.Load()}, ScopesSupported: []string{"read-ledger", "pay-invoices"},
		}).ServeHTTP(w, r)
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	s.url = s.URL + "/mcp"
	return s
}

// guard is the enforcement point.
func (s *toolServer) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		challenge := func(code string) {
			s.refused.Add(1)
			w.Header().Set("WWW-Authenticate", `DPoP error="`+code+`", algs="EdDSA ES256", resource_metadata="`+s.URL+`/.well-known/oauth-protected-resource/mcp"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
		scheme, access, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if proofs := r.Header.Values("DPoP"); scheme != "DPoP" || len(proofs) != 1 {
			if scheme != "" {
				s.secrets.Add(1)
			}
			challenge("invalid_token")
			return
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		act := authz.Request{Action: authz.Action{Name: "list_entries"}, Resource: authz.Entity{Ref: authz.Ref{Type: "Ledger", ID: "main"}}}
		var call struct {
			Method string
			Params struct {
				Name      string
				Arguments json.RawMessage
			}
		}
		if json.Unmarshal(body, &call) == nil && call.Method == "tools/call" && call.Params.Name != "list_entries" {
			act.Action = authz.Action{Name: call.Params.Name, Properties: authz.Claimed(call.Params.Arguments)}
		}
		d, err := s.pep.Load().DecidePresented(r.Context(), authz.Presented{Token: access, Proof: r.Header.Get("DPoP"), Method: r.Method, URL: s.url, Audience: s.url}, act)
		switch {
		case err != nil:
			w.WriteHeader(http.StatusServiceUnavailable)
		case d.Code == authz.CodePassportInvalid:
			challenge("invalid_token")
		case !d.Allowed():
			http.Error(w, "refused: "+d.Code, http.StatusBadRequest) // 403 would ask for a wider token
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// A client of the go-sdk's client credentials extension, which knows secrets and bearer tokens only,
// finds the authorization server from the MCP server (RFC 9728, RFC 8414) and acts as the agent, without
// a secret, by tokens that are bound to the agent's key.
func TestModelContextProtocol(t *testing.T) {
	tools := newToolServer(t)
	cfg := passports(t)
	cfg.OAuth.Audiences = []string{"https://first.example", tools.url}
	s := start(t, cfg)
	issuer := s.URL()
	tools.issuer.Store(&issuer)
	tools.pep.Store(must(client.New(s.URL(), pepToken)))
	p := s.party("clerk", "EdDSA")
	agent, err := client.NewAgent(s.URL(), "clerk", p.key)
	if err != nil {
		t.Fatal(err)
	}
	secretless, err := agent.Secretless(tools.url)
	if err != nil {
		t.Fatal(err)
	}
	// What a library sends on its own: recorded below the transport that is tried.
	var sent recorder
	sent.next = secretless.Base
	secretless.Base = &sent
	hc := &http.Client{Transport: secretless}
	connect := func(id string) (*mcp.ClientSession, error) {
		handler, err := extauth.NewClientCredentialsHandler(&extauth.ClientCredentialsHandlerConfig{
			Credentials: &oauthex.ClientCredentials{ClientID: id, ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: "there is none"}}, HTTPClient: hc,
		})
		if err != nil {
			t.Fatal(err)
		}
		return mcp.NewClient(&mcp.Implementation{Name: "clerk", Version: "1"}, nil).Connect(t.Context(),
			&mcp.StreamableClientTransport{Endpoint: tools.url, HTTPClient: hc, OAuthHandler: handler, MaxRetries: -1, DisableStandaloneSSE: true}, nil)
	}
	session, err := connect("clerk")
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	defer session.Close()
	call := func(name string, args object) (string, error) {
		got, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: args})
		if err != nil {
			return "", err
		}
		if len(got.Content) != 1 || got.IsError {
			return "", errText(string(must(json.Marshal(got))))
		}
		return got.Content[0].(*mcp.TextContent).Text, nil
	}
	if list, err := session.ListTools(t.Context(), nil); err != nil || len(list.Tools) != 2 {
		t.Errorf("tools: %v, %v", list, err)
	}
	if got, err := call("list_entries", object{}); err != nil || got != "three entries" {
		t.Errorf("list_entries: %q, %v", got, err)
	}
	if got, err := call("pay", object{"amount": 120.5}); err != nil || got != "paid" {
		t.Errorf("pay: %q, %v", got, err)
	}

	// What left the machine: no secret, and tokens by DPoP only, each with a proof of its own.
	proofs := map[string]bool{}
	for _, h := range sent.headers() {
		if proof := h.Get("DPoP"); h.Get("Authorization") != "" {
			if !strings.HasPrefix(h.Get("Authorization"), "DPoP ") || proof == "" || proofs[proof] {
				t.Errorf("sent as %.30q with the proof %.20q", h.Get("Authorization"), proof)
			}
			proofs[proof] = true
		}
	}
	if len(proofs) < 4 || tools.secrets.Load() != 0 {
		t.Errorf("%d requests had a proof, %d something else", len(proofs), tools.secrets.Load())
	}
	access := sent.token()
	if claims := claimsOf(t, access); claims["aud"] != tools.url || claims["sub"] != "clerk" || claims["scope"] != "pay-invoices read-ledger" {
		t.Errorf("the token is %v", claims)
	}
	for name, header := range map[string]http.Header{
		"as a bearer token":    {"Authorization": {"Bearer " + access}},
		"by DPoP, unproved":    {"Authorization": {"DPoP " + access}},
		"with another's proof": {"Authorization": {"DPoP " + access}, "Dpop": {s.party("helper", "EdDSA").ask("").proof.json()}},
	} {
		req := must(http.NewRequest("POST", tools.url, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)))
		req.Header = header
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 401 {
			t.Errorf("stolen, shown %s: %d", name, resp.StatusCode)
		}
	}

	// A revoked token is replaced by the library itself; a suspended agent is out.
	refused := tools.refused.Load()
	if rep := p.form("/oauth2/revoke", "token", access); rep.status != 200 {
		t.Fatalf("revoking: %d %s", rep.status, rep.body)
	}
	if got, err := call("list_entries", object{}); err != nil || got != "three entries" {
		t.Errorf("after the token was revoked: %q, %v", got, err)
	}
	if tools.refused.Load() == refused || sent.token() == access {
		t.Error("the revoked token was not refused, or not replaced")
	}
	if _, err := connect("helper"); err == nil || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("a library that is set up as another: %v", err)
	}
	if _, err := call("pay", object{"amount": 6000}); err == nil || !strings.Contains(err.Error(), "Bad Request") {
		t.Errorf("beyond the limit: %v", err)
	}
	s.state("clerk", "suspended")
	if again, err := connect("clerk"); err == nil {
		again.Close()
		t.Error("a suspended agent connects")
	}
}

// errText is an error of its text.
type errText string

func (e errText) Error() string { return string(e) }

// A recorder keeps the headers of requests.
type recorder struct {
	next http.RoundTripper
	list atomic.Pointer[[]http.Header]
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	for h := req.Header.Clone(); ; {
		old := r.list.Load()
		var list []http.Header
		if old != nil {
			list = append(list, *old...)
		}
		if list = append(list, h); r.list.CompareAndSwap(old, &list) {
			return r.next.RoundTrip(req)
		}
	}
}

func (r *recorder) headers() []http.Header {
	if list := r.list.Load(); list != nil {
		return *list
	}
	return nil
}

// token returns the newest token that was shown.
func (r *recorder) token() (newest string) {
	for _, h := range r.headers() {
		if _, access, ok := strings.Cut(h.Get("Authorization"), " "); ok {
			newest = access
		}
	}
	return newest
}
