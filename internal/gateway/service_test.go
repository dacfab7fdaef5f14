package gateway_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/server/servertest"
)

const (
	payer  = "banking.gpt-4o-2024-05-13"
	helper = "banking.gpt-4o-mini-2024-07-18"
	api    = "https://bank.example.com"

	adminToken = servertest.AdminToken
	pepToken   = servertest.PEPToken
)

// service runs the service itself, with the example organisation. Passports can be had for the audiences, too.
func service(t *testing.T, audiences ...string) (admin *client.Client) {
	t.Helper()
	cfg := servertest.Example(t)
	cfg.OAuth.Audiences = append([]string{resource, api}, audiences...)
	s := servertest.Start(t, cfg)
	var err error
	if admin, err = client.New(s.URL(), servertest.AdminToken); err != nil {
		t.Fatal(err)
	}
	return admin
}

// enrol enrols an agent and returns it with its key file.
func enrol(t *testing.T, admin *client.Client, id string) (*client.Agent, string) {
	t.Helper()
	var e struct{ Token string }
	if err := admin.Do(t.Context(), "POST", "/v1/agents/"+id+"/enrolment", map[string]any{"why": "test", "ttl_seconds": 3600}, &e); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	a, err := client.Enrol(t.Context(), client.Enrolment{Issuer: admin.URL(), Token: e.Token, File: file})
	if err != nil {
		t.Fatal(err)
	}
	return a, file
}

// shown is a request to the door with a passport and a proof.
func shownBy(t *testing.T, tok *client.Token) *http.Request {
	t.Helper()
	proof, err := tok.Proof("POST", resource, "")
	if err != nil {
		t.Fatal(err)
	}
	return request("POST", resource, "Authorization", tok.Type+" "+tok.Value, "DPoP", proof)
}

var readBalance = authz.Request{Action: authz.Action{Name: "get_balance"}, Resource: authz.Entity{Ref: authz.Ref{Type: "Account", ID: "own"}}}

// An agent's passport says who comes, and what it carries narrows what the service decides.
func TestPassports(t *testing.T) {
	admin := service(t)
	agent, _ := enrol(t, admin, payer)
	g := openAt(t, admin)

	tok, err := agent.Token(t.Context(), client.TokenRequest{Scope: []string{"see-accounts"}, Resource: resource})
	if err != nil {
		t.Fatal(err)
	}
	r := shownBy(t, tok)
	w, err := g.Verifier.Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	if w.Presented == nil || w.Presented.Audience != resource || w.Presented.URL != resource || !w.Subject.IsZero() || w.Claims["sub"] != payer || !slices.Equal(w.Scopes, []string{"see-accounts"}) {
		t.Errorf("%+v, %+v", w, w.Presented)
	}
	ask := func(w *gateway.Who, req authz.Request) (*client.Answer, error) {
		q := g.Ask(w, req)
		answers, err := g.Client.Answer(t.Context(), &q)
		return answers[0], err
	}
	if a, err := ask(w, readBalance); err != nil || !a.Allowed() {
		t.Errorf("what the passport carries: %+v, %v", a, err)
	}
	mail := authz.Request{Action: authz.Action{Name: "search_emails"}, Resource: authz.Entity{Ref: authz.Ref{Type: "Mailbox", ID: "own"}}}
	w2, err := g.Verifier.Verify(shownBy(t, tok))
	if err != nil {
		t.Fatal(err)
	}
	if a, err := ask(w2, mail); err != nil || a.Allowed() {
		t.Errorf("what it does not carry: %+v, %v", a, err)
	}
	if w2.Key != w.Key {
		t.Errorf("one agent has the keys %q and %q", w.Key, w2.Key)
	}
	if _, err := g.Verifier.Verify(r); challenge(t, err).Code != "invalid_dpop_proof" {
		t.Errorf("the same request again: %v", err)
	}
	bare := request("POST", resource, "Authorization", "Bearer "+tok.Value)
	if _, err := g.Verifier.Verify(bare); challenge(t, err).Code != "invalid_token" {
		t.Errorf("without its proof: %v", err)
	}
	elsewhere, err := agent.Token(t.Context(), client.TokenRequest{Scope: []string{"see-accounts"}, Resource: api})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Verifier.Verify(shownBy(t, elsewhere)); challenge(t, err).Code != "invalid_token" {
		t.Errorf("a passport for somebody else: %v", err)
	}

	// Taken back, the service says so, although the signature is good.
	if err := agent.Revoke(t.Context(), tok.Value); err != nil {
		t.Fatal(err)
	}
	w3, err := g.Verifier.Verify(shownBy(t, tok))
	if err != nil {
		t.Fatal(err)
	}
	if a, err := ask(w3, readBalance); err != nil || a.Allowed() || a.Code != "passport_invalid" {
		t.Errorf("revoked: %+v, %v", a, err)
	}
}

// openAt opens a gateway before the real service, with the token of an enforcement point.
func openAt(t *testing.T, admin *client.Client, extra ...string) *gateway.Gateway {
	t.Helper()
	t.Setenv(gateway.TokenVariable, pepToken)
	doc := lines(append([]string{"name: gw-1", "listen: 127.0.0.1:0", "public_url: " + public, "service: {url: " + admin.URL() + "}"}, extra...)...)
	g, err := gateway.Open(t.Context(), load(t, doc), gateway.Options{Paths: []string{"/mcp"}, Version: "test", Door: "mcp"})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// The gateway exchanges the agent's passport for one of its own: the chain of actors grows by it, the proof is its own, and what
// the agent was not granted it does not get.
func TestExchangeAtTheService(t *testing.T) {
	admin := service(t)
	agent, _ := enrol(t, admin, payer)
	_, key := enrol(t, admin, helper) // the gateway's own agent
	g := openAt(t, admin, "credentials: {bank: {type: token_exchange, agent: "+key+", resource: "+api+", scopes: [see-accounts]}}")
	elsewhere := document("credentials: {bank: {type: token_exchange, agent: " + key + ", resource: " + api + "}}") // the service there has another issuer
	if _, err := gateway.Open(t.Context(), load(t, elsewhere), gateway.Options{}); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), "would be sent there to be exchanged") {
		t.Errorf("an agent of another service: %v", err)
	}
	// An exchange only narrows, the audience too: the agent's passport is for both servers.
	tok, err := agent.Token(t.Context(), client.TokenRequest{Scope: []string{"see-accounts"}, Resource: resource, Resources: []string{api}, MayAct: helper})
	if err != nil {
		t.Fatal(err)
	}
	w, err := g.Verifier.Verify(shownBy(t, tok))
	if err != nil {
		t.Fatal(err)
	}
	out := request("GET", api+"/accounts?own=1", "Authorization", "DPoP "+tok.Value)
	if err := g.Credentials.Apply(t.Context(), "bank", w, out); err != nil {
		t.Fatal(err)
	}
	scheme, value, _ := strings.Cut(out.Header.Get("Authorization"), " ")
	if scheme != "DPoP" || value == tok.Value {
		t.Fatalf("the server is shown %q", out.Header)
	}
	// The server at the other end asks the service what it thinks of it.
	pep, err := client.New(admin.URL(), pepToken)
	if err != nil {
		t.Fatal(err)
	}
	i, err := pep.Introspect(t.Context(), value)
	if err != nil || !i.Active {
		t.Fatalf("introspected as %+v, %v", i, err)
	}
	d, err := pep.DecidePresented(t.Context(), authz.Presented{Token: value, Proof: out.Header.Get("DPoP"), Method: "GET", URL: api + "/accounts", Audience: api}, readBalance)
	if err != nil || !d.Allowed() {
		t.Errorf("presented to the server: %+v, %v", d, err)
	}
	claims := payload(t, value)
	if act, _ := claims["act"].(map[string]any); claims["sub"] != payer || act["sub"] != helper {
		t.Errorf("the chain is %v for %v", claims["act"], claims["sub"])
	}
	again := request("GET", api+"/accounts")
	if err := g.Credentials.Apply(t.Context(), "bank", w, again); err != nil || again.Header.Get("Authorization") != out.Header.Get("Authorization") || again.Header.Get("DPoP") == out.Header.Get("DPoP") {
		t.Errorf("the next request shows %v, %v", again.Header, err)
	}

	// A passport that does not name the gateway cannot be exchanged.
	other, err := agent.Token(t.Context(), client.TokenRequest{Scope: []string{"see-accounts"}, Resource: resource})
	if err != nil {
		t.Fatal(err)
	}
	w, err = g.Verifier.Verify(shownBy(t, other))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Credentials.Apply(t.Context(), "bank", w, request("GET", api)); !errors.Is(err, authz.ErrForbidden) {
		t.Errorf("without may_act: %v", err)
	}
}

func payload(t *testing.T, jws string) map[string]any {
	t.Helper()
	parts := strings.Split(jws, ".")
	var m map[string]any
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ready waits until a gateway that runs says that it is ready.
func ready(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		rec := httptest.NewRecorder()
		if g.Handler().ServeHTTP(rec, request("GET", public+"/readyz")); rec.Code == 200 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not ready: %s", rec.Body)
		}
	}
}

// What a gateway says of itself is there for operators to see.
func TestReportsAtTheService(t *testing.T) {
	admin := service(t)
	t.Setenv(gateway.TokenVariable, pepToken)
	doc := lines("name: gw-1", "listen: 127.0.0.1:0", "public_url: "+public, "service: {url: "+admin.URL()+"}")
	g, err := gateway.Open(t.Context(), load(t, doc), gateway.Options{Version: "test", Door: "mcp", AllowFailOpen: true, FailOpen: []string{"search"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	g.Unavailable("search", authz.ErrUnavailable)
	var p client.EnforcementPoint
	for deadline := time.Now().Add(20 * time.Second); p.HelloAt.IsZero() || p.Allowed == 0; {
		points, err := admin.EnforcementPoints(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(points) == 1 {
			p = points[0]
		}
		if time.Now().After(deadline) {
			t.Fatalf("the service knows %+v", points)
		}
	}
	if p.Gateway != "gw-1" || p.Version != "test" || p.Embedded || !slices.Equal(p.Doors, []string{"mcp"}) || len(p.FailOpen) != 1 || p.FailOpen[0].Name != "search" || p.Allowed != 1 {
		t.Errorf("the service knows %+v", p)
	}
	ready(t, g)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Decisions are made in the gateway itself, by what the service tells it.
func TestDecideHere(t *testing.T) {
	admin := service(t)
	agent, _ := enrol(t, admin, payer)
	var made struct{ Token string }
	if err := admin.Do(t.Context(), "POST", "/v1/callers", map[string]any{"name": "gate", "role": "edge", "why": "test"}, &made); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(made.Token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	doc := lines("name: gw-1", "listen: 127.0.0.1:0", "public_url: "+public, "decide: local", "journal: "+filepath.Join(dir, "journal"),
		"service: {url: "+admin.URL()+", token_file: "+filepath.Join(dir, "token")+"}")
	var later atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	if _, err := gateway.Open(t.Context(), load(t, doc+"\ngeoip: "+filepath.Join(dir, "none.mmdb")+"\n"), gateway.Options{}); err == nil || !strings.Contains(err.Error(), "none.mmdb") {
		t.Errorf("with a file of countries that is not there: %v", err)
	}
	g, err := gateway.Open(t.Context(), load(t, doc), gateway.Options{Paths: []string{"/mcp"}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if rec := httptest.NewRecorder(); true {
		if g.Handler().ServeHTTP(rec, request("GET", public+"/readyz")); rec.Code != 503 {
			t.Errorf("before it knows anything: %d %s", rec.Code, rec.Body)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	ready(t, g)
	rec := httptest.NewRecorder()
	g.Handler().ServeHTTP(rec, request("GET", public+"/healthz"))
	if ok := regexp.MustCompile(`(?m)^decides here: by policies 1 and the log up to entry [1-9]\d*, heard of the service \d+\.\ds ago, 0 records to send$`).MatchString(rec.Body.String()); !ok {
		t.Errorf("/healthz: %s", rec.Body)
	}
	tok, err := agent.Token(t.Context(), client.TokenRequest{Scope: []string{"see-accounts"}, Resource: resource})
	if err != nil {
		t.Fatal(err)
	}
	w, err := g.Verifier.Verify(shownBy(t, tok))
	if err != nil {
		t.Fatal(err)
	}
	permit, err := g.Enforcer.Permit(t.Context(), g.Ask(w, readBalance), false)
	if err != nil {
		t.Fatal(err)
	}
	if ids := permit.Decisions(); len(ids) != 1 || !strings.HasPrefix(ids[0], "e") {
		t.Errorf("decided as %v, want by the gateway itself", ids)
	}
	// The proof has been used up by then: it is for the request, of which several things can be asked, and more than once.
	both, err := g.Enforcer.Permit(t.Context(), g.Ask(w, readBalance, readBalance), false)
	if err != nil {
		t.Fatalf("two questions of one request: %v", err)
	}
	if ids := both.Decisions(); len(ids) != 2 || ids[0] == ids[1] {
		t.Errorf("decided as %v, want two decisions", ids)
	}
	if elsewhere := new(gateway.Gateway); !g.Prompt(both) || elsewhere.Prompt(both) {
		t.Error("outcomes are recorded here, or are where nothing is decided")
	}
	if err := both.Done(t.Context(), client.Outcome{}); err != nil {
		t.Errorf("the outcome: %v", err)
	}
	mail := authz.Request{Action: authz.Action{Name: "search_emails"}, Resource: authz.Entity{Ref: authz.Ref{Type: "Mailbox", ID: "own"}}}
	w, err = g.Verifier.Verify(shownBy(t, tok))
	if err != nil {
		t.Fatal(err)
	}
	var refused *client.RefusedError
	if _, err := g.Enforcer.Permit(t.Context(), g.Ask(w, mail), false); !errors.As(err, &refused) || errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("what the passport does not carry: %v", err)
	}
	if err := permit.Done(t.Context(), client.Outcome{}); err != nil {
		t.Errorf("the outcome: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	later.Store(int64(2 * time.Minute)) // in which it has heard nothing
	rec = httptest.NewRecorder()
	if g.Handler().ServeHTTP(rec, request("GET", public+"/readyz")); rec.Code != 503 || !strings.Contains(rec.Body.String(), `{"name":"decisions","ok":false,"why":"`) {
		t.Errorf("when it decides no more: %d %s", rec.Code, rec.Body)
	}
}
