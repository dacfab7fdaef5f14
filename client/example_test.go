package client_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// An agent in ten lines: its key file says who it is and where it is known. The token is got when it
// is first needed, kept, replaced before it ends, and shown to the one server with a proof that only
// the agent can make; the key is replaced in the last week of its life.
func Example_agent() {
	agent, err := client.LoadAgent("invoice-bot.key") // made by `safeconduct token enroll`
	if err != nil {
		panic(err)
	}
	agent.RotateBefore = 7 * 24 * time.Hour
	tokens := agent.Tokens(client.TokenRequest{Scope: []string{"pay-invoices"}, Resource: "https://erp.example.com"})
	transport, err := client.NewTransport("https://erp.example.com", tokens)
	if err != nil {
		panic(err)
	}
	erp := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	fmt.Println(erp.Get("https://erp.example.com/invoices/2026-114"))
}

// An agent may ask for itself, before it tries.
func ExampleAgent_Client() {
	agent, err := client.LoadAgent("invoice-bot.key")
	if err != nil {
		panic(err)
	}
	service, err := agent.Client(client.TokenRequest{Scope: []string{"pay-invoices"}})
	if err != nil {
		panic(err)
	}
	d, err := service.Decide(context.Background(), authz.Request{
		Action:   authz.Action{Name: "pay", Properties: authz.Claimed(`{"amount": "120.00"}`)},
		Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "2026-114"}},
	})
	fmt.Println(d.Allowed(), d.Reasons, d.Changes, err)
}

// Who receives a token from another agent, got with MayAct: "archive-bot", acts for it by a token of
// its own.
func ExampleAgent_Delegated() {
	agent, err := client.LoadAgent("archive-bot.key")
	if err != nil {
		panic(err)
	}
	received := "eyJ..." // the token that the other agent showed
	tokens := agent.Delegated(received, client.TokenRequest{Scope: []string{"read-invoices"}, Resource: "https://archive.example.com"})
	fmt.Println(tokens.Token(context.Background()))
}

// A guard lets an act happen only if policy allows it, its obligations are met and, where policy wants one, a
// person has agreed.
func ExampleGuard() {
	pdp, err := client.New("https://pdp.example.com", "sc_pep_...")
	if err != nil {
		panic(err)
	}
	guard := &client.Guard{
		Client: pdp,
		Obligations: map[string]client.Obliger{
			"mask": func(ctx context.Context, o authz.Obligation) error { return nil /* hide the fields */ },
		},
		Ask: func(ctx context.Context, req authz.Request, a *client.Answer) *client.AccessRequest {
			return &client.AccessRequest{Justification: "Invoice 2026-114 is due today."}
		},
	}
	err = guard.Do(context.Background(), authz.Request{
		Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "invoice-bot"}},
		Action:   authz.Action{Name: "pay", Properties: authz.Claimed(`{"amount": "900.00"}`)},
		Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "2026-114"}},
	}, func(ctx context.Context) error { return nil /* pay it */ })
	fmt.Println(err) // a *client.RefusedError says why it did not happen
}
