package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// An Account is something that acts can be done to.
type Account struct {
	IBAN    string `json:"iban"`
	Balance int    `json:"balance"`
}

// closeAccount takes a *client.Permit, so nobody can call it with a decision, however it was come by. These do not
// compile, as TestPermitIsAType shows:
//
//	closeAccount(ctx, decision, "7")                  // an authz.Decision is no *client.Permit
//	closeAccount(ctx, answer, "7")                    // nor is a *client.Answer
//	closeAccount(ctx, &client.Permit{until: t}, "7")  // its fields are nobody's
//
// What compiles and is no permission, nil or new(client.Permit), does nothing.
func closeAccount(ctx context.Context, p *client.Permit, id string) (Account, error) {
	return client.Run(ctx, p, func(ctx context.Context) (Account, error) {
		fmt.Println("closing", id)
		return Account{IBAN: "DE02120300000000202051", Balance: 7}, nil
	})
}

// What does an act takes a *Permit. There is one only after the act was allowed and its obligations were met, and it is
// for one act.
func ExamplePermit() {
	pdp := standIn(`{"decision": true, "context": {"evaluation_id": "d7", "obligations": [
		{"id": "hide-iban", "type": "custom", "properties": {"obligation": "mask", "fields": ["iban"]}}]}}`)
	enforcer := &client.Enforcer{Guard: &client.Guard{Client: pdp}, Handlers: client.Handlers{"mask": client.MeetMask}}
	ctx := context.Background()

	permit, err := enforcer.Permit(ctx, client.Question{Requests: []authz.Request{{
		Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "support-bot"}},
		Action:   authz.Action{Name: "close"},
		Resource: authz.Entity{Ref: authz.Ref{Type: "account", ID: "7"}},
	}}}, false)
	if err != nil {
		panic(err) // a *client.RefusedError says why not
	}
	fmt.Println(closeAccount(ctx, permit, "7"))
	_, err = closeAccount(ctx, permit, "8")
	fmt.Println(err)
	_, err = closeAccount(ctx, new(client.Permit), "9")
	fmt.Println(err)
	// Output:
	// closing 7
	// {*** 7} <nil>
	// refused: the permit was used: it is for one act, once
	// nothing permits this: there is no permit, or it is a copy
}

// A server asks before its handler runs, by the passport that the agent presents.
func ExampleEnforcer_Handler() {
	pdp := standIn(`{"decision": false, "context": {"evaluation_id": "d8", "code": "no_permit", "reasons": [{"code": "no_permit", "message": "No policy permits this."}]}}`)
	enforcer := &client.Enforcer{Guard: &client.Guard{Client: pdp}, Handlers: client.Handlers{"mask": client.MeetMask}}
	door := &client.Door{URL: "https://bank.example.com", Proofs: new(client.Proofs), Bearer: true} // Bearer for the sake of the example

	mux := http.NewServeMux()
	mux.Handle("GET /accounts/{id}", enforcer.Handler(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"balance": 7}`) }),
		func(r *http.Request) (client.Question, error) {
			presented, err := door.Presented(r)
			return client.Question{Presented: presented, Requests: []authz.Request{{
				Action:   authz.Action{Name: "read"},
				Resource: authz.Entity{Ref: authz.Ref{Type: "account", ID: r.PathValue("id")}},
			}}}, err
		},
		client.HandlerOptions{}))

	for _, authorization := range []string{"", "Bearer eyJ..."} {
		r := httptest.NewRequest("GET", "/accounts/7", nil)
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header()["Www-Authenticate"])
		fmt.Print(w.Body)
	}
	// Output:
	// 401 [DPoP algs="EdDSA ES256"]
	// {"type":"about:blank","title":"Unauthorized","status":401,"detail":"the request presents no token","code":"unauthenticated"}
	// 403 []
	// {"type":"about:blank","title":"Forbidden","status":403,"detail":"No policy permits this.","code":"no_permit","reasons":[{"code":"no_permit","message":"No policy permits this."}],"evaluation_id":"d8"}
}

// A program of an agent asks before each request that it sends.
func ExampleGuarded() {
	pdp := standIn(`{"decision": false, "context": {"code": "forbidden", "reasons": [{"code": "frozen", "message": "Nothing is bought this week."}]}}`)
	shop := &http.Client{Transport: &client.Guarded{
		Enforcer: &client.Enforcer{Guard: &client.Guard{Client: pdp}},
		Question: func(r *http.Request) (client.Question, error) {
			return client.Question{Requests: []authz.Request{{
				Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "buyer"}},
				Action:   authz.Action{Name: "http." + r.Method},
				Resource: authz.Entity{Ref: authz.Ref{Type: "url", ID: r.URL.Host + r.URL.Path}},
			}}}, nil
		},
	}}
	_, err := shop.Get("https://shop.example.com/buy")
	if refused, ok := errors.AsType[*client.RefusedError](err); ok {
		fmt.Println(refused.Answer.Code, refused.Answer.Reasons[0].Message)
	}
	// Output:
	// forbidden Nothing is bought this week.
}

// Many goroutines ask at once, and the service gets one message.
func ExampleBatcher() {
	pdp := standIn(`{"decision": true}`)
	enforcer := &client.Enforcer{Guard: &client.Guard{
		Client:  pdp,                          // persons are asked through it
		Decider: &client.Batcher{Client: pdp}, // decisions come from here
	}}
	permit, err := enforcer.Permit(context.Background(), client.Question{Requests: []authz.Request{{
		Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "buyer"}},
		Action:   authz.Action{Name: "look"},
		Resource: authz.Entity{Ref: authz.Ref{Type: "shelf", ID: "7"}},
	}}}, false)
	fmt.Println(permit.Whole(), err)
	// Output:
	// false <nil>
}

// Outcomes are reported behind the acts.
func ExampleOutcomes() {
	pdp := standIn(`{"decision": true}`)
	outcomes := &client.Outcomes{Decider: pdp}
	enforcer := &client.Enforcer{Guard: &client.Guard{Client: pdp}, Outcome: outcomes.Outcome}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- outcomes.Run(ctx) }()

	_ = enforcer // is used

	cancel()
	fmt.Println(<-done) // what waited was reported
	// Output:
	// <nil>
}

// standIn returns a client of a service that always answers the same.
func standIn(answer string) *client.Client {
	c, err := client.New("https://pdp.example.com", "sc_pep_...")
	if err != nil {
		panic(err)
	}
	c.HTTP = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		fmt.Fprint(w, answer)
		return w.Result(), nil
	})}
	return c
}

// allowRead is a Decider for tests of programs: it allows reading, with what the policies will oblige to.
type allowRead struct{}

func (allowRead) Answer(_ context.Context, q *client.Question) ([]*client.Answer, error) {
	answers := make([]*client.Answer, len(q.Requests))
	for i := range answers {
		answers[i] = new(client.Answer) // the zero Answer refuses
		if q.Requests[i].Action.Name == "read" {
			answers[i].Effect = authz.Allow
			answers[i].Obligations = []authz.Obligation{{ID: "hide", Type: "custom", Properties: []byte(`{"obligation":"mask","fields":["iban"]}`)}}
		}
	}
	return answers, nil
}

func (allowRead) Outcome(context.Context, string, client.Outcome) error { return nil }

// A program whose acts take a *Permit is tested with a Decider of its own.
func ExampleDecider() {
	enforcer := &client.Enforcer{Guard: &client.Guard{Decider: allowRead{}}, Handlers: client.BuiltIn(nil)}
	for _, action := range []string{"read", "write"} {
		permit, err := enforcer.Permit(context.Background(), client.Question{Requests: []authz.Request{{Action: authz.Action{Name: action}}}}, false)
		if err != nil {
			fmt.Println(action, err)
			continue
		}
		fmt.Println(client.Run(context.Background(), permit, func(context.Context) (Account, error) {
			return Account{IBAN: "DE02120300000000202051", Balance: 7}, nil
		}))
	}
	// Output:
	// {*** 7} <nil>
	// write refused
}
