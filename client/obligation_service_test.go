package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// An enforcer before a real service: negotiated, obliged, masked, reported; with a person's approval too; and
// refused by the service itself if the enforcement point has not declared what it would have to do.
func TestEnforcerAgainstTheService(t *testing.T) {
	_, pep, anna := askingService(t)
	var log bytes.Buffer
	e := &client.Enforcer{
		Guard: &client.Guard{Client: pep, Ask: func(context.Context, authz.Request, *client.Answer) *client.AccessRequest {
			return &client.AccessRequest{Justification: "Invoice 7 is due.", Client: map[string]any{"name": "the test"}}
		}},
		Handlers: client.BuiltIn(slog.New(slog.NewTextHandler(&log, nil))),
	}
	if err := e.Negotiate(t.Context()); err != nil {
		t.Fatal(err)
	}
	pay := client.Act{Do: func(context.Context) (json.RawMessage, error) {
		return json.RawMessage(`{"paid":true,"from":{"iban":"DE02120300000000202051"}}`), nil
	}}
	const seen = `{"paid":true,"from":{"iban":"***"}}`
	done, err := e.Do(t.Context(), pays("100.0", "acme"), pay)
	if err != nil || string(done.Result) != seen || !slices.Equal(done.Met, []string{"masked"}) || done.Unreported != nil {
		t.Fatalf("a small sum: %+v, %v, want %s", done, err, seen)
	}
	if err := pep.Outcome(t.Context(), done.Decision, client.Outcome{Result: client.Right}); !errors.Is(err, authz.ErrConflict) {
		t.Errorf("reporting %s again: %v, want that it is reported", done.Decision, err)
	}

	answered := make(chan struct{})
	go func() { defer close(answered); replies(t, anna, true, nil) }()
	done, err = e.Do(t.Context(), pays("900.0", "acme"), pay)
	<-answered
	if err != nil || string(done.Result) != seen || done.Unreported != nil {
		t.Errorf("a larger sum, approved: %+v, %v", done, err)
	}

	var r *client.RefusedError
	delete(e.Handlers, "mask")
	if done, err := e.Do(t.Context(), pays("100.0", "acme"), pay); done != nil || !errors.As(err, &r) || r.Answer.Code != authz.CodeObligation {
		t.Errorf("who cannot mask: %+v, %v, want %s", done, err, authz.CodeObligation)
	}
}
