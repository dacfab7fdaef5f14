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
