package client_test

import (
	"errors"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/server/servertest"
)

const (
	payer  = "banking.gpt-4o-2024-05-13"
	helper = "banking.gpt-4o-mini-2024-07-18"
)

// realService runs the service itself, with the example organisation. It returns an administrator and an enforcement point.
func realService(t *testing.T) (admin, pep *client.Client) {
	t.Helper()
	cfg := servertest.Example(t)
	cfg.OAuth.Audiences = []string{"https://bank.example.com"}
	s := servertest.Start(t, cfg)
	var err error
	if admin, err = client.New(s.URL(), servertest.AdminToken); err != nil {
		t.Fatal(err)
	}
	if pep, err = client.New(s.URL(), servertest.PEPToken); err != nil {
		t.Fatal(err)
	}
	return admin, pep
}

// enrolReal enrols an agent with the service.
func enrolReal(t *testing.T, admin *client.Client, id string) *client.Agent {
	t.Helper()
	var e struct{ Token string }
	if err := admin.Do(t.Context(), "POST", "/v1/agents/"+id+"/enrolment", map[string]any{"why": "test", "ttl_seconds": 3600}, &e); err != nil {
		t.Fatal(err)
	}
	a, err := client.Enrol(t.Context(), client.Enrolment{Issuer: admin.URL(), Token: e.Token, File: filepath.Join(t.TempDir(), "key")})
	if err != nil {
		t.Fatal(err)
	}
	if a.ID() != id {
		t.Fatalf("enrolled as %s, want %s", a.ID(), id)
	}
	return a
}

// The agent's side and the service understand each other, from the first key to the last token.
func TestAgainstTheService(t *testing.T) {
	admin, pep := realService(t)
	a := enrolReal(t, admin, payer)
	ctx := t.Context()

	// Asking for itself: one token for many questions.
	self, err := a.Client(client.TokenRequest{Scope: []string{"see-accounts"}})
	if err != nil {
		t.Fatal(err)
	}
	read := authz.Request{Action: authz.Action{Name: "get_balance"}, Resource: authz.Entity{Ref: authz.Ref{Type: "Account", ID: "own"}}}
	for range 3 {
		if d, err := self.Decide(ctx, read); err != nil || !d.Allowed() {
			t.Errorf("asking for itself: %+v, %v", d, err)
		}
	}
	mail := authz.Request{Action: authz.Action{Name: "search_emails"}, Resource: authz.Entity{Ref: authz.Ref{Type: "Mailbox", ID: "own"}}}
	if d, err := self.Decide(ctx, mail); d.Allowed() {
		t.Errorf("beyond what the token carries: %+v, %v", d, err)
	}
	other := read
	other.Subject.Ref = authz.Ref{Type: authz.AgentType, ID: helper}
	if d, err := self.Decide(ctx, other); d.Allowed() || err == nil {
		t.Errorf("asking for another: %+v, %v", d, err)
	}

	// Presented to an enforcement point, with the proof for the request there.
	const rs, target = "https://bank.example.com", "https://bank.example.com/accounts?own"
	tok, err := a.Token(ctx, client.TokenRequest{Scope: []string{"see-accounts"}, Resource: rs, MayAct: helper})
	if err != nil {
		t.Fatal(err)
	}
	present := func(tok *client.Token, method string) (authz.Decision, error) {
		proof, err := tok.Proof("GET", target, "")
		if err != nil {
			t.Fatal(err)
		}
		return pep.DecidePresented(ctx, authz.Presented{Token: tok.Value, Proof: proof, Method: method, URL: target, Audience: rs}, read)
	}
	if d, err := present(tok, "GET"); err != nil || !d.Allowed() {
		t.Errorf("presented: %+v, %v", d, err)
	}
	if d, err := present(tok, "POST"); d.Allowed() {
		t.Errorf("presented with the proof of another request: %+v, %v", d, err)
	}

	// Exchanged by the agent that it names, and by nobody else.
	b := enrolReal(t, admin, helper)
	if _, err := a.Exchange(ctx, tok.Value, client.TokenRequest{}); err == nil {
		t.Error("an agent exchanged a token that does not name it")
	}
	delegated, err := b.Delegated(tok.Value, client.TokenRequest{Scope: []string{"see-accounts"}, Resource: rs}).Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := present(delegated, "GET"); err != nil || !d.Allowed() {
		t.Errorf("a delegated token, presented: %+v, %v", d, err)
	}

	// Taken back: the subtree, too, and at once.
	if err := a.Revoke(ctx, tok.Value); err != nil {
		t.Fatal(err)
	}
	for name, tok := range map[string]*client.Token{"revoked": tok, "made of a revoked one": delegated} {
		if i, err := pep.Introspect(ctx, tok.Value); err != nil || i.Active {
			t.Errorf("%s: introspected as %+v, %v", name, i, err)
		}
		if d, err := present(tok, "GET"); d.Allowed() {
			t.Errorf("%s: presented: %+v, %v", name, d, err)
		}
	}
	if i, err := b.Introspect(ctx, tok.Value); err != nil || i.Active {
		t.Errorf("another agent's token: introspected as %+v, %v", i, err)
	}

	// Another key, and what came before it goes on.
	first := a.KeyID()
	if err := a.Rotate(ctx, nil); err != nil || a.KeyID() == first {
		t.Fatalf("Rotate: %v", err)
	}
	if d, err := self.Decide(ctx, read); err != nil || !d.Allowed() {
		t.Errorf("with the token that is bound to the key before: %+v, %v", d, err)
	}
	if _, err := a.Token(ctx, client.TokenRequest{}); err != nil {
		t.Errorf("by the new key: %v", err)
	}

	// What policy or registry refuse, as typed errors.
	var e *client.Error
	if _, err := a.Token(ctx, client.TokenRequest{Scope: []string{"manage-team"}}); !errors.As(err, &e) || !errors.Is(err, authz.ErrForbidden) || e.Hint == "" {
		t.Errorf("what it was not granted: %v", err)
	}
	if err := admin.Do(ctx, http.MethodPost, "/v1/agents/"+payer+"/state", map[string]string{"state": "suspended", "why": "test"}, nil); err != nil {
		t.Fatal(err)
	}
	if d, err := self.Decide(ctx, read); d.Allowed() {
		t.Errorf("suspended: %+v, %v", d, err)
	}
	if _, err := a.Token(ctx, client.TokenRequest{}); !errors.As(err, &e) || e.Code != client.CodeInvalidClient {
		t.Errorf("suspended: %v", err)
	}
}
