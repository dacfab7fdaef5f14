package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

type payment struct {
	To     string `json:"to"`
	Amount string `json:"amount"`
}

// pay asks about a payment.
func paymentQuestion(_ context.Context, p payment) (client.Question, error) {
	if p.To == "panic" {
		panic("no")
	}
	args, err := client.Claim(p)
	return client.Question{Requests: []authz.Request{{
		Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "buyer"}},
		Action:   authz.Action{Name: "pay", Properties: args},
		Resource: authz.Entity{Ref: authz.Ref{Type: "account", ID: p.To}},
	}}}, err
}

// A tool of an agent asks before every call, and nothing happens without an answer.
func TestTool(t *testing.T) {
	paid := 0
	pay := func(_ context.Context, p payment) (payment, error) { paid++; return p, nil }
	j := &judge{answer: func(q *client.Question) ([]*client.Answer, error) {
		a := allows("e1", maskDuty("to"))
		if string(q.Requests[0].Action.Properties) != `{"to":"acme","amount":"7"}` {
			a = refuses("e2")
		}
		return []*client.Answer{&a}, nil
	}}
	tool := client.Tool(before(j), paymentQuestion, pay)
	if got, err := tool(t.Context(), payment{"acme", "7"}); err != nil || got != (payment{"***", "7"}) || paid != 1 {
		t.Errorf("allowed: %+v, %v, paid %d times", got, err, paid)
	}
	if got, err := tool(t.Context(), payment{"acme", "8"}); !errors.Is(err, authz.ErrForbidden) || got != (payment{}) || paid != 1 {
		t.Errorf("refused: %+v, %v, paid %d times", got, err, paid)
	}
	if got, err := tool(t.Context(), payment{"panic", "8"}); err == nil || got != (payment{}) || paid != 1 {
		t.Errorf("the question panics: %+v, %v, paid %d times", got, err, paid)
	}
	for name, tool := range map[string]func(context.Context, payment) (payment, error){
		"no enforcer": client.Tool(nil, paymentQuestion, pay),
		"no question": client.Tool(before(j), nil, pay),
	} {
		if got, err := tool(t.Context(), payment{"acme", "7"}); err == nil || got != (payment{}) || paid != 1 {
			t.Errorf("%s: %+v, %v, paid %d times", name, got, err, paid)
		}
	}
}

func TestClaim(t *testing.T) {
	for _, v := range []any{nil, 7, "x", []int{1}, make(chan int), (*payment)(nil)} {
		if c, err := client.Claim(v); !errors.Is(err, authz.ErrInvalid) || c != nil {
			t.Errorf("Claim(%v) = %s, %v", v, c, err)
		}
	}
	if c, err := client.Claim(map[string]any{"a": 1}); err != nil || string(c) != `{"a":1}` {
		t.Errorf("Claim of a map = %s, %v", c, err)
	}
}

func TestRemoteAddress(t *testing.T) {
	for from, want := range map[string]string{"10.1.2.3:5": "10.1.2.3", "[::ffff:10.1.2.3]:5": "10.1.2.3", "[fe80::1%eth0]:5": "fe80::1", "": "invalid IP", "@": "invalid IP"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = from
		r.Header.Set("X-Forwarded-For", "1.2.3.4")
		if got := client.RemoteAddress(r).String(); got != want {
			t.Errorf("RemoteAddress of %q = %s, want %s", from, got, want)
		}
	}
}

// A tool is given to a framework of agents in place of the function that does it.
func ExampleTool() {
	pdp := standIn(`{"decision": false, "context": {"code": "approval_required", "reasons": [{"code": "approval_required", "message": "Payments above 100 need an approval."}]}}`)
	enforcer := &client.Enforcer{Guard: &client.Guard{Client: pdp}}
	pay := client.Tool(enforcer, paymentQuestion, func(ctx context.Context, p payment) (string, error) {
		return "paid", nil
	})
	fmt.Println(pay(context.Background(), payment{To: "acme", Amount: "900.00"}))
	// Output:
	//  refused: Payments above 100 need an approval.
}

// Whatever a service answers, there are as many answers as requests, and what is an error refuses.
func FuzzAnswer(f *testing.F) {
	f.Add(`{"evaluations":[{"decision":true},{"decision":false}]}`)
	f.Add(`{"evaluations":[{"decision":true},{"decision":true,"context":{"approval":{"id":"a","approved_until":"never"}}}]}`)
	f.Add(`{"evaluations":[{"decision":true}]}`)
	f.Add(`{"evaluations":[null,null]}`)
	f.Add(`[`)
	f.Fuzz(func(t *testing.T, body string) {
		s := &fleet{answer: func(int) (int, string) { return 200, body + " " }}
		c := s.batcher(t).Client
		c.Attempts = 1
		q := about("yes", "no")
		got, err := c.Answer(t.Context(), q)
		if len(got) != 2 || got[0] == nil || got[1] == nil || err != nil && (got[0].Allowed() || got[1].Allowed()) {
			t.Fatalf("%q: %v, %v", body, got, err)
		}
		e := &client.Enforcer{Guard: &client.Guard{Client: c}}
		p, err := e.Permit(t.Context(), *q, false)
		if (p == nil) == (err == nil) || p != nil && (!got[0].Allowed() || !got[1].Allowed()) {
			t.Errorf("%q: %v, %v", body, p, err)
		}
		if told := client.RefuseHTTP(err, client.Realm{}); err != nil && (told.Status < 400 || len(told.Body) == 0) {
			t.Errorf("%q: told as %+v", body, told)
		}
	})
}
