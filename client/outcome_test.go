package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

func TestOutcomeSends(t *testing.T) {
	s, c := serve(t, says(200, `{"entry":43}`))
	for _, x := range []struct {
		o    client.Outcome
		want string
	}{
		{client.Outcome{}, `{"size_bytes":0}`},
		{client.Outcome{Result: client.Right, Latency: 1500 * time.Microsecond, Size: 12, Met: []string{"mask"}}, `{"result":"right","latency_ms":2,"size_bytes":12,"met":["mask"]}`},
		{client.Outcome{Fault: client.FaultTimeout, Latency: time.Minute}, `{"fault":"timeout","latency_ms":60000}`},
		{client.Outcome{Result: client.Wrong, Operator: true, Why: "x"}, `{"result":"wrong","reporter":"operator","why":"x"}`},
		{client.Outcome{Size: -1}, `{"size_bytes":-1}`}, // for the service to refuse
	} {
		if err := c.Outcome(t.Context(), "d42", x.o); err != nil {
			t.Errorf("Outcome(%+v): %v", x.o, err)
		}
		if s.path != "/v1/decisions/d42/outcome" || s.body != x.want || s.header.Get("Authorization") != "Bearer token-1" {
			t.Errorf("Outcome(%+v): sent %s to %s, want %s", x.o, s.body, s.path, x.want)
		}
	}
	for _, id := range []string{"", "d", "42", "d4/../x", "d-1"} {
		before := s.calls.Load()
		if err := c.Outcome(t.Context(), id, client.Outcome{}); !errors.Is(err, authz.ErrInvalid) || s.calls.Load() != before {
			t.Errorf("Outcome of %q: %v after %d requests, want it refused at home", id, err, s.calls.Load()-before)
		}
	}
	if got := client.DecisionID(authz.Decision{Seq: 42}); got != "d42" {
		t.Errorf("DecisionID of 42 = %q, want d42", got)
	}
	if got := client.DecisionID(authz.Decision{}); got != "" {
		t.Errorf("DecisionID of none = %q, want none", got)
	}
}

// A report whose answer was lost is sent again, and that it is there already is what was wanted.
func TestOutcomeCountsOnce(t *testing.T) {
	s, c := serve(t, func(n int64, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			w.WriteHeader(503)
			return
		}
		w.WriteHeader(409)
	})
	if err := c.Outcome(t.Context(), "d42", client.Outcome{}); err != nil || s.calls.Load() != 2 {
		t.Errorf("after an answer was lost: %v in %d calls, want none in 2", err, s.calls.Load())
	}
	if err := c.Outcome(t.Context(), "d42", client.Outcome{}); !errors.Is(err, authz.ErrConflict) {
		t.Errorf("a second report: %v, want a conflict", err)
	}
}

// Everybody reports what is its own to report, and nothing else.
func TestOutcomeAgainstTheService(t *testing.T) {
	admin, pep := realService(t)
	self, err := enrolReal(t, admin, payer).Client(client.TokenRequest{Scope: []string{"see-accounts"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	read := authz.Request{Action: authz.Action{Name: "get_balance"}, Resource: authz.Entity{Ref: authz.Ref{Type: "Account", ID: "own"}}}
	own, err := self.Decide(ctx, read)
	if err != nil {
		t.Fatal(err)
	}
	read.Subject.Ref = authz.Ref{Type: authz.AgentType, ID: payer}
	asked, err := pep.Decide(ctx, read)
	if err != nil {
		t.Fatal(err)
	}
	read.Subject.ID = helper
	other, err := pep.Decide(ctx, read)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		who  *client.Client
		of   authz.Decision
		o    client.Outcome
		want error
	}{
		{"the enforcement point's own", pep, asked, client.Outcome{Result: client.Right, Latency: time.Second}, nil},
		{"the same again", pep, asked, client.Outcome{Result: client.Wrong}, authz.ErrConflict},
		{"of what the agent asked itself", pep, own, client.Outcome{}, authz.ErrForbidden},
		{"a person's", admin, asked, client.Outcome{Result: client.Wrong, Why: "not asked for"}, nil},
		{"the agent's own", self, own, client.Outcome{Result: client.Wrong, Fault: client.FaultTool}, nil},
		{"the agent's praise", self, own, client.Outcome{Result: client.Right}, authz.ErrForbidden},
		{"the agent's, of itself, which somebody asked", self, asked, client.Outcome{Result: client.Reverted}, nil},
		{"the agent's of another", self, other, client.Outcome{Result: client.Harmful}, authz.ErrNotFound},
	} {
		if err := c.who.Outcome(ctx, client.DecisionID(c.of), c.o); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
}

// Whoever asked says what came of it: how long it took, what failed, and whether it was right.
func ExampleClient_Outcome() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/access/v1/evaluation" {
			io.WriteString(w, `{"decision":true,"context":{"evaluation_id":"d1042","code":"allowed"}}`)
			return
		}
		fmt.Println(r.URL.Path, string(b))
		io.WriteString(w, `{"entry":1043}`)
	}))
	defer service.Close()
	ctx := context.Background()
	c, err := client.New(service.URL, "sc_pep_...")
	if err != nil {
		panic(err)
	}
	d, err := c.Decide(ctx, authz.Request{
		Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "invoice-bot"}},
		Action:   authz.Action{Name: "pay", Properties: authz.Claimed(`{"amount": "120.00"}`)},
		Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "2026-114"}},
	})
	if err != nil || !d.Allowed() {
		return
	}
	// ... the act is done ...
	err = c.Outcome(ctx, client.DecisionID(d), client.Outcome{Fault: client.FaultTool, Latency: 340 * time.Millisecond})
	fmt.Println(err)
	// Output:
	// /v1/decisions/d1042/outcome {"fault":"tool","latency_ms":340}
	// <nil>
}
