package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// A resource server of the SDK, the agent before it, and the service behind it: the passport is presented, checked and
// judged, the outcome is recorded, and what was overheard is of no use.
func TestDoorAgainstTheService(t *testing.T) {
	admin, pep := realService(t)
	agent := enrolReal(t, admin, payer)
	const rs = "https://bank.example.com"
	door := &client.Door{URL: rs, Proofs: new(client.Proofs)}
	e := &client.Enforcer{Guard: &client.Guard{Client: pep}, Handlers: client.Handlers{}}
	var decision string
	e.Outcome = func(ctx context.Context, id string, o client.Outcome) error {
		decision = id
		return pep.Outcome(ctx, id, o)
	}
	served := 0
	bank := httptest.NewServer(e.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served++
		fmt.Fprint(w, `{"balance":7}`)
	}), func(r *http.Request) (client.Question, error) {
		p, err := door.Presented(r)
		action := map[string]string{"/accounts": "get_balance", "/mail": "search_emails"}[r.URL.Path]
		typ := map[string]string{"/accounts": "Account", "/mail": "Mailbox"}[r.URL.Path]
		return client.Question{Presented: p, Requests: []authz.Request{{Action: authz.Action{Name: action, Properties: authz.Claimed(`{"query":"rent"}`)}, Resource: authz.Entity{Ref: authz.Ref{Type: typ, ID: "own"}}}}}, err
	}, client.HandlerOptions{}))
	defer bank.Close()

	// The agent believes that it speaks to rs; what stands before the server leads it here.
	transport, err := client.NewTransport(rs, agent.Tokens(client.TokenRequest{Scope: []string{"see-accounts"}, Resource: rs}))
	if err != nil {
		t.Fatal(err)
	}
	var overheard http.Header
	transport.Base = roundTripper(func(r *http.Request) (*http.Response, error) {
		overheard = r.Header.Clone()
		u := *r.URL
		u.Scheme, u.Host = "http", strings.TrimPrefix(bank.URL, "http://")
		out := r.Clone(r.Context())
		out.URL = &u
		return http.DefaultTransport.RoundTrip(out)
	})
	hc := &http.Client{Transport: transport}
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := hc.Get(rs + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	for n := 1; n <= 2; n++ {
		if status, body := get("/accounts"); status != 200 || body != `{"balance":7}` || served != n {
			t.Fatalf("%d %s, served %d", status, body, served)
		}
	}
	if err := pep.Outcome(t.Context(), decision, client.Outcome{}); !errors.Is(err, authz.ErrConflict) {
		t.Errorf("reporting %q again: %v, want that it is reported", decision, err)
	}
	if status, body := get("/mail"); status != 403 || !strings.Contains(body, `"code":"forbidden"`) || served != 2 {
		t.Errorf("beyond what it may: %d %s", status, body)
	}
	if status, body := get("/accounts"); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	for name, change := range map[string]func(*http.Request){
		"again":         func(r *http.Request) { r.Header = overheard },
		"without proof": func(r *http.Request) { r.Header.Set("Authorization", overheard.Get("Authorization")) },
		"as bearer": func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+strings.TrimPrefix(overheard.Get("Authorization"), "DPoP "))
		},
		"nothing": func(*http.Request) {},
	} {
		r, err := http.NewRequest("GET", bank.URL+"/accounts", nil)
		if err != nil {
			t.Fatal(err)
		}
		change(r)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 401 || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "DPoP") || served != 3 {
			t.Errorf("%s: %d %v", name, resp.StatusCode, resp.Header)
		}
	}

	// A whole batch for the bearer of one passport; and many questions at once, joined.
	tok, err := agent.Token(t.Context(), client.TokenRequest{Scope: []string{"see-accounts"}, Resource: rs})
	if err != nil {
		t.Fatal(err)
	}
	proof, err := tok.Proof("GET", rs+"/accounts", "")
	if err != nil {
		t.Fatal(err)
	}
	balance := authz.Request{Action: authz.Action{Name: "get_balance"}, Resource: authz.Entity{Ref: authz.Ref{Type: "Account", ID: "own"}}}
	mail := authz.Request{Action: authz.Action{Name: "search_emails", Properties: authz.Claimed(`{"query":"rent"}`)}, Resource: authz.Entity{Ref: authz.Ref{Type: "Mailbox", ID: "own"}}}
	q := client.Question{Requests: []authz.Request{balance, mail, balance}, Presented: &authz.Presented{Token: tok.Value, Proof: proof, Method: "GET", URL: rs + "/accounts", Audience: rs}}
	all, err := pep.Answer(t.Context(), &q)
	if err != nil || words(all) != "yes forbidden yes" || all[0].ID == "" || all[0].ID == all[2].ID {
		t.Errorf("%s, %v", words(all), err)
	}
	q.Presented.Audience = "https://other.example.com"
	if all, err := pep.Answer(t.Context(), &q); err != nil || words(all) != "passport_invalid passport_invalid passport_invalid" {
		t.Errorf("for another audience: %s, %v", words(all), err)
	}
	_, err = e.Permit(t.Context(), q, false)
	if told := client.RefuseHTTP(err, client.Realm{}); told.Status != 401 {
		t.Errorf("it is told as %d: %s", told.Status, told.Body)
	}
	b := &client.Batcher{Client: pep}
	var asking sync.WaitGroup
	for i := range 40 {
		asking.Go(func() {
			r, want := balance, "yes"
			if i%2 == 1 {
				r, want = mail, "forbidden"
			}
			r.Subject.Ref = authz.Ref{Type: authz.AgentType, ID: payer}
			if got, err := b.Answer(t.Context(), &client.Question{Requests: []authz.Request{r}}); err != nil || words(got) != want {
				t.Errorf("joined: %s, %v, want %s", words(got), err, want)
			}
		})
	}
	asking.Wait()
}

// Persons are asked about an act that came with a passport, which alone says who acts, and the same passport is judged again
// once they have approved.
func TestGuardAsksAboutAPassport(t *testing.T) {
	admin, pep, anna := askingService(t)
	clerk := enrolReal(t, admin, "clerk")
	rs := admin.URL()
	tok, err := clerk.Token(t.Context(), client.TokenRequest{Scope: []string{"pay"}, Resource: rs})
	if err != nil {
		t.Fatal(err)
	}
	proof, err := tok.Proof("POST", rs+"/payments", "")
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", rs+"/payments", nil)
	r.Header.Set("Authorization", "DPoP "+tok.Value)
	r.Header.Set("DPoP", proof)
	presented, err := (&client.Door{URL: rs, Proofs: new(client.Proofs)}).Presented(r)
	if err != nil {
		t.Fatal(err)
	}
	e := &client.Enforcer{Guard: &client.Guard{Client: pep, Ask: func(context.Context, authz.Request, *client.Answer) *client.AccessRequest {
		return &client.AccessRequest{Justification: "Invoice 7 is due."}
	}}, Handlers: client.Handlers{"mask": client.MeetMask}}
	req := pays("900.0", "acme")
	req.Subject = authz.Entity{}
	answered := make(chan struct{})
	go func() { defer close(answered); replies(t, anna, true, nil) }()
	permit, err := e.Permit(t.Context(), client.Question{Requests: []authz.Request{req}, Presented: presented}, false)
	if err != nil || permit.Until().IsZero() {
		t.Fatalf("Permit = %+v, %v, want one that stands on an approval", permit, err)
	}
	<-answered
}
