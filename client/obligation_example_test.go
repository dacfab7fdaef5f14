package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// An enforcement point that meets obligations. Here the service, which is a stand-in, allows reading a customer if
// the IBAN is hidden and the owner of the agent is told.
func ExampleEnforcer() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"decision": true, "context": {"obligations": [
			{"id": "hide-iban", "type": "custom", "properties": {"obligation": "mask", "fields": ["iban", "/address/street"]}},
			{"id": "tell-owner", "type": "notification", "properties": {"to": "olga", "body": "Your agent reads customers."}}
		]}}`)
	}))
	defer service.Close()

	pdp, err := client.New(service.URL, "sc_pep_...")
	if err != nil {
		panic(err)
	}
	handlers := client.BuiltIn(slog.Default())
	handlers["notification"] = (&client.Notifier{
		Send: func(_ context.Context, n client.Notification) error {
			fmt.Printf("to %s: %s\n", n.To, n.Body)
			return nil
		},
	}).Meet
	enforcer := &client.Enforcer{Guard: &client.Guard{Client: pdp}, Handlers: handlers}

	done, err := enforcer.Do(context.Background(), authz.Request{
		Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "support-bot"}},
		Action:   authz.Action{Name: "read"},
		Resource: authz.Entity{Ref: authz.Ref{Type: "customer", ID: "7"}},
	}, client.Act{
		Do: func(context.Context) (json.RawMessage, error) {
			return json.RawMessage(`{"name":"Ann","iban":"DE02120300000000202051","address":{"street":"Am Ufer 1","town":"Kiel"}}`), nil
		},
	})
	if err != nil {
		panic(err) // a *client.RefusedError says why it did not happen
	}
	fmt.Println(string(done.Result))
	fmt.Println(done.Met)
	// Output:
	// to olga: Your agent reads customers.
	// {"name":"Ann","iban":"***","address":{"street":"***","town":"Kiel"}}
	// [hide-iban tell-owner]
}
