package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// An agent is refused by a server, asks persons by itself, and is let in with what they approved, once.
func TestAgentAsksByItself(t *testing.T) {
	admin, pep, anna := askingService(t)
	clerk := enrolReal(t, admin, "clerk")
	paid := 0
	e := &client.Enforcer{Guard: &client.Guard{Client: pep}, Handlers: client.Handlers{"mask": client.MeetMask}}
	bank := httptest.NewServer(e.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paid++
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"iban":"DE1"}`)
	}), func(r *http.Request) (client.Question, error) {
		req := pays("900.0", r.URL.Path[1:])
		var err error
		req.Approval, err = client.PresentedApproval(r)
		return client.Question{Requests: []authz.Request{req}}, err
	}, client.HandlerOptions{Realm: client.Realm{TellRequests: true}}))
	defer bank.Close()
	try := func(account, approval string) (*http.Response, *client.RefusedError) {
		t.Helper()
		r, err := http.NewRequest("POST", bank.URL+"/"+account, nil)
		if err != nil {
			t.Fatal(err)
		}
		if approval != "" {
			r.Header.Set(client.ApprovalHeader, approval)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp, client.ParseRefusal(resp)
	}
	_, refused := try("acme", "")
	if refused == nil || len(refused.Acts()) != 1 || refused.Answer.Code != authz.CodeApprovalRequired || refused.Answer.ID == "" || !errors.Is(refused, authz.ErrForbidden) || paid != 0 {
		t.Fatalf("refused: %+v, paid %d times", refused, paid)
	}
	service, err := clerk.Client(client.TokenRequest{Scope: []string{"pay"}})
	if err != nil {
		t.Fatal(err)
	}
	task, err := service.RequestAccess(t.Context(), client.AccessRequest{Acts: refused.Acts(), Justification: "Invoice 7 is due.", Until: time.Now().Add(10 * time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	replies(t, anna, true, nil)
	if task, err = service.Task(t.Context(), task); err != nil || task.Approval(0) == nil {
		t.Fatalf("%+v, %v", task, err)
	}
	id := task.Approval(0).ID
	if resp, refused := try("globex", id); resp.StatusCode != 403 || refused.Answer.Reason != authz.ApprovalOutOfScope || paid != 0 {
		t.Errorf("another account: %d %+v", resp.StatusCode, refused)
	}
	resp, _ := try("acme", id)
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || string(body) != `{"iban":"***"}` || paid != 1 {
		t.Errorf("approved: %d %s, %v, paid %d times", resp.StatusCode, body, err, paid)
	}
	if resp, refused := try("acme", id); resp.StatusCode != 403 || refused.Answer.Reason != authz.ApprovalExpired || paid != 1 {
		t.Errorf("used up: %d %+v, paid %d times", resp.StatusCode, refused, paid)
	}
	for _, bad := range []string{"a b", strings.Repeat("x", 129), `"`} {
		if resp, _ := try("acme", bad); resp.StatusCode != 400 || paid != 1 {
			t.Errorf("approval %q: %d", bad, resp.StatusCode)
		}
	}
}

// What is no refusal of ours is left alone.
func TestParseRefusal(t *testing.T) {
	for name, tt := range map[string]struct {
		status    int
		typ, body string
	}{
		"success":    {200, "application/problem+json", `{"code":"no_permit"}`},
		"other type": {403, "application/json", `{"code":"no_permit"}`},
		"no code":    {403, "application/problem+json", `{"title":"Forbidden"}`},
		"no JSON":    {403, "application/problem+json", `{`},
		"a list":     {403, "application/problem+json", `[]`},
		"too long":   {403, "application/problem+json", `{"code":"no_permit","detail":"` + strings.Repeat("x", 300<<10) + `"}`},
	} {
		resp := &http.Response{StatusCode: tt.status, Header: http.Header{"Content-Type": {tt.typ}}, Body: io.NopCloser(strings.NewReader(tt.body))}
		if r := client.ParseRefusal(resp); r != nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	resp := &http.Response{StatusCode: 403, Header: http.Header{"Content-Type": {"application/problem+json"}}, Body: io.NopCloser(strings.NewReader(`{"decision":true,"code":"allowed","requests":[{}]}`))}
	if r := client.ParseRefusal(resp); r == nil || r.Answer.Allowed() || len(r.Acts()) != 0 {
		t.Errorf("one that would allow: %+v", r)
	}
}

// Whatever a server answers, a refusal never allows, and what it offers is to be had from the service only.
func FuzzParseRefusal(f *testing.F) {
	f.Add(`{"code":"approval_required","evaluation_id":"d7","access_request":{"expires_at":"2000-01-01T00:10:00Z","binding_token":"a"},"requests":[{"action":{"name":"pay"},"resource":{"type":"a","id":"b"}}]}`)
	f.Add(`{"code":"x","decision":true}`)
	f.Add(`{"code":"x"}}`)
	f.Fuzz(func(t *testing.T, body string) {
		r := client.ParseRefusal(&http.Response{StatusCode: 403, Header: http.Header{"Content-Type": {"application/problem+json"}}, Body: io.NopCloser(strings.NewReader(body))})
		if r == nil {
			return
		}
		if r.Answer == nil || r.Answer.Allowed() || r.Error() == "" || len(r.Answers) != len(r.Requests) {
			t.Errorf("%q: %+v", body, r)
		}
		for _, a := range r.Acts() {
			if a.Offer == nil {
				t.Errorf("%q: an act without an offer", body)
			}
		}
	})
}
