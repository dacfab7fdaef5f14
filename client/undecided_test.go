package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// What the service says of its own, and of the caller, is told from that nothing was decided.
func TestUndecided(t *testing.T) {
	for _, c := range []struct {
		status    int
		kind      error
		undecided bool
	}{
		{400, authz.ErrInvalid, false},
		{401, authz.ErrUnauthenticated, false},
		{403, authz.ErrForbidden, false},
		{404, authz.ErrNotFound, false},
		{409, authz.ErrConflict, false},
		{429, authz.ErrUnavailable, false},
		{500, authz.ErrUnavailable, true},
		{503, authz.ErrUnavailable, true},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(c.status) }))
		cl, err := client.New(s.URL, "t")
		if err != nil {
			t.Fatal(err)
		}
		cl.Attempts = 1
		_, err = (&client.Enforcer{Guard: &client.Guard{Client: cl}}).Permit(t.Context(), one, false)
		s.Close()
		refused, ok := errors.AsType[*client.RefusedError](err)
		if !ok {
			t.Fatalf("%d: error %v, want a *RefusedError", c.status, err)
		}
		if got := refused.Undecided(); got != c.undecided || !errors.Is(refused.Cause, c.kind) {
			t.Errorf("%d: Undecided = %v, want %v; the cause is %v, want %v", c.status, got, c.undecided, refused.Cause, c.kind)
		}
		for _, kind := range []error{authz.ErrUnauthenticated, authz.ErrForbidden, authz.ErrNotFound, authz.ErrConflict} {
			if kind != c.kind && errors.Is(refused.Cause, kind) {
				t.Errorf("%d: the cause is %v as well", c.status, kind)
			}
		}
	}

	// Nobody is there.
	s := httptest.NewServer(nil)
	s.Close()
	cl, err := client.New(s.URL, "t")
	if err != nil {
		t.Fatal(err)
	}
	cl.Attempts = 1
	gone := func(ctx context.Context) context.Context {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return ctx
	}
	unavailable := refuses("")
	unavailable.Code = authz.CodeUnavailable
	failing := client.Handlers{"custom": func(context.Context, *client.Duty) error { return authz.ErrUnavailable }}
	for name, c := range map[string]struct {
		e    *client.Enforcer
		ctx  context.Context
		want bool
	}{
		"nobody is there":               {&client.Enforcer{Guard: &client.Guard{Client: cl}}, t.Context(), true},
		"nobody decides":                {nil, t.Context(), true},
		"whoever asked has gone":        {&client.Enforcer{Guard: &client.Guard{Client: cl}}, gone(t.Context()), false},
		"a refusal":                     {before(judges(refuses("d1"))), t.Context(), false},
		"a refusal: unavailable":        {before(judges(unavailable)), t.Context(), false},
		"an obligation that is not met": {before(judges(allows("", duty("o", "custom", `{"obligation":"x"}`))), failing), t.Context(), false},
	} {
		_, err := c.e.Permit(c.ctx, one, false)
		refused, ok := errors.AsType[*client.RefusedError](err)
		if !ok {
			t.Fatalf("%s: error %v, want a *RefusedError", name, err)
		}
		if got := refused.Undecided(); got != c.want {
			t.Errorf("%s: Undecided = %v, want %v: %v", name, got, c.want, err)
		}
	}
}

// halfway has decided one of two questions when it fails.
type halfway struct{}

func (halfway) Answer(context.Context, *client.Question) ([]*client.Answer, error) {
	var none, forbidden client.Answer
	none.Refuse(authz.CodeUnavailable, "")
	forbidden.Refuse(authz.CodeForbidden, "")
	return []*client.Answer{&none, &forbidden}, authz.Errorf(authz.ErrUnavailable, "it failed")
}

func (halfway) Outcome(context.Context, string, client.Outcome) error { return nil }

// A refusal among questions that were asked together is an answer, whatever became of the others.
func TestUndecidedAmongOthers(t *testing.T) {
	q := one
	q.Requests = append(slices.Clone(one.Requests), one.Requests...)
	_, err := (&client.Enforcer{Guard: &client.Guard{Decider: halfway{}}}).Permit(t.Context(), q, false)
	refused, ok := errors.AsType[*client.RefusedError](err)
	if !ok || refused.Undecided() || !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("Permit: %v, want a *client.RefusedError that is not undecided", err)
	}
}
