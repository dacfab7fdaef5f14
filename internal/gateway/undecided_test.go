package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
)

// answers are a decider that gives one answer, or none.
type answers struct {
	a   client.Answer
	err error
}

func (d answers) Answer(_ context.Context, q *client.Question) ([]*client.Answer, error) {
	if d.err != nil {
		return nil, d.err
	}
	out := make([]*client.Answer, len(q.Requests))
	for i := range out {
		a := d.a
		out[i] = &a
	}
	return out, nil
}

func (answers) Outcome(context.Context, string, client.Outcome) error { return nil }

func question() client.Question {
	return client.Question{Requests: []authz.Request{{
		Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}}, Action: authz.Action{Name: "pay"}, Resource: authz.Entity{Ref: authz.Ref{Type: "Account", ID: "own"}},
	}}}
}

// TestUndecided wants that no answer of whoever decides is taken for none.
func TestUndecided(t *testing.T) {
	handlers := client.Handlers{"notify": func(context.Context, *client.Duty) error {
		return authz.Errorf(authz.ErrUnavailable, "mail is down")
	}}
	notify := []authz.Obligation{{ID: "n", Type: "custom", Properties: json.RawMessage(`{"obligation":"notify"}`)}}
	refuse := func(a client.Answer) client.Answer { a.Code = authz.CodeUnavailable; return a }
	for _, c := range []struct {
		name string
		d    client.Decider
		want bool
	}{
		{"no answer", answers{err: authz.Errorf(authz.ErrUnavailable, "nobody is there")}, true},
		{"who asks badly", answers{err: authz.Errorf(authz.ErrInvalid, "not understood")}, false},
		{"a proof that does not count", answers{err: authz.Errorf(authz.ErrUnauthenticated, "old proof")}, false},
		{"an error of no kind", answers{err: errors.New("it broke")}, false},
		{"a refusal", answers{a: client.Answer{ID: "d7", Decision: authz.Decision{Code: authz.CodeForbidden}}}, false},
		{"a refusal that says that it is unavailable", answers{a: refuse(client.Answer{ID: "d7"})}, false},
		{"one that was not recorded", answers{a: refuse(client.Answer{})}, false},
		{"one that was not recorded, with an obligation that is not met", answers{a: refuse(client.Answer{Decision: authz.Decision{Obligations: notify}})}, false},
		{"one that says to ask again", answers{a: refuse(client.Answer{NextAction: client.NextRetry})}, false},
		{"a permission with an obligation that is not met", answers{a: client.Answer{ID: "d7", Decision: authz.Decision{Effect: authz.Allow, Code: authz.CodeAllowed, Obligations: notify}}}, false},
		{"one that was not recorded", answers{a: client.Answer{Decision: authz.Decision{Effect: authz.Allow, Code: authz.CodeUnavailable, Obligations: notify}}}, false},
	} {
		e := &client.Enforcer{Guard: &client.Guard{Decider: c.d}, Handlers: handlers}
		permit, err := e.Permit(t.Context(), question(), false)
		if permit != nil || err == nil {
			t.Fatalf("%s: it is permitted", c.name)
		}
		if got := gateway.Undecided(err); got != c.want {
			t.Errorf("%s: Undecided(%v) = %v, want %v", c.name, err, got, c.want)
		}
	}

	// What has begun once was decided.
	e := &client.Enforcer{Guard: &client.Guard{Decider: answers{a: client.Answer{ID: "d7", Decision: authz.Decision{Effect: authz.Allow}}}}}
	permit, err := e.Permit(t.Context(), question(), false)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(authz.Errorf(authz.ErrUnavailable, "gone"))
	if _, _, err := permit.Begin(ended); err == nil || gateway.Undecided(err) {
		t.Errorf("Begin: %v counts as undecided", err)
	}
	if gateway.Undecided(nil) || gateway.Undecided(authz.ErrUnavailable) {
		t.Error("what is no refusal counts as undecided")
	}
}

// TestUndecidedStatus has the service answer with statuses: only that it failed is no answer.
func TestUndecidedStatus(t *testing.T) {
	status := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"error": {"code": "x", "message": "y"}}`))
	}))
	t.Cleanup(s.Close)
	c, err := client.New(s.URL, "token")
	if err != nil {
		t.Fatal(err)
	}
	c.Attempts = 1
	e := &client.Enforcer{Guard: &client.Guard{Decider: c}}
	try := func() error {
		_, err := e.Permit(t.Context(), question(), false)
		return err
	}
	for code, want := range map[int]bool{400: false, 401: false, 403: false, 404: false, 409: false, 413: false, 422: false, 429: false, 500: true, 502: true, 503: true, 504: true} {
		status = code
		if err := try(); gateway.Undecided(err) != want {
			t.Errorf("after the status %d: Undecided(%v) = %v, want %v", code, err, !want, want)
		}
	}
	s.Close()
	if err := try(); !gateway.Undecided(err) {
		t.Errorf("while nobody listens: Undecided(%v) = false", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Permit(ctx, question(), false); gateway.Undecided(err) {
		t.Errorf("of who has gone: Undecided(%v) = true", err)
	}
}
