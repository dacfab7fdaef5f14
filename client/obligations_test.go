package client_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// The rules of the AuthZEN obligations profile (draft 1) for enforcement points.
func TestObligations(t *testing.T) {
	const (
		tell   = `{"id":"o1","type":"notification","properties":{"to":"boss","body":"look"}}`
		end    = `{"id":"o2","type":"session_termination","properties":{"subject":"alice"}}`
		stepUp = `{"id":"o3","type":"step-up","properties":{"acr_value":"high"}}`
		mask   = `{"id":"o4","type":"custom","properties":{"obligation":"mask","fields":["iban"]}}`
		own    = `{"id":"o5","type":"custom","properties":{"vendor":"x"}}`
		odd    = `{"id":"o6","type":"dance","properties":{}}`
	)
	answer := func(decision string, obligations ...string) string {
		return `{"decision":` + decision + `,"context":{"obligations":[` + strings.Join(obligations, ",") + `]}}`
	}
	for _, tt := range []struct {
		name    string // section: rule
		answers []string
		did     bool
		met     string
	}{
		{"Obligations on PERMIT: all are met, then the act happens", []string{answer("true", tell, mask)}, true, "o1 o4"},
		{"Obligations on PERMIT: one that fails refuses the act", []string{answer("true", tell, end)}, false, "o1"},
		{"Obligations on DENY: they are met, and the act does not happen", []string{answer("false", tell, mask)}, false, "o1 o4"},
		{"Obligations on DENY: also if one cannot be", []string{answer("false", odd, tell)}, false, "o1"},
		{"Non-Compliance: an unknown type refuses, and the others are met", []string{answer("true", odd, tell, mask)}, false, "o1 o4"},
		{"Non-Compliance: a custom one that is not recognised", []string{answer("true", own)}, false, ""},
		{"Non-Compliance: a malformed one, without a member it needs", []string{answer("true", `{"id":"o1","type":"notification","properties":{"to":"boss"}}`, mask)}, false, "o4"},
		{"Non-Compliance: a malformed one, without properties", []string{answer("true", `{"id":"o1","type":"custom"}`)}, false, ""},
		{"Non-Compliance: a malformed one, without an id", []string{answer("true", `{"type":"notification","properties":{"to":"boss","body":"x"}}`)}, false, ""},
		{"Non-Compliance: properties that are no object", []string{answer("true", `{"id":"o4","type":"custom","properties":["obligation","mask"]}`)}, false, ""},
		{"The Obligation Object: any order", []string{answer("true", mask, tell)}, true, "o4 o1"},
		{"step-up: met, the request is put again, once", []string{answer("false", stepUp), answer("true")}, true, "o3"},
		{"step-up: and not a second time", []string{answer("false", stepUp)}, false, "o3 o3"},
		{"Obligations: none", []string{answer("true")}, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var met []string
				meet := func(_ context.Context, o authz.Obligation) error { met = append(met, o.ID); return nil }
				did, err := guarded(t, &script{answers: map[string][]string{evaluateLine: tt.answers}}, func(g *client.Guard) {
					g.Obligations = map[string]client.Obliger{"notification": meet, "mask": meet, "step-up": meet,
						"session_termination": func(context.Context, authz.Obligation) error { return errors.New("the identity provider is away") }}
				})
				if got := strings.Join(met, " "); did != tt.did || got != tt.met {
					t.Errorf("the act happened: %v, want %v; met %q, want %q: %v", did, tt.did, got, tt.met, err)
				}
			})
		})
	}

	// Search Requests: only the result is left out.
	found := []client.Result[string]{{Value: "free"}, {Value: "told", Obligations: []authz.Obligation{{ID: "o1", Type: "notification", Properties: []byte(`{"to":"a","body":"b"}`)}}},
		{Value: "odd", Obligations: []authz.Obligation{{ID: "o2", Type: "dance", Properties: []byte(`{}`)}}}, {Value: "last"}}
	g := &client.Guard{Obligations: map[string]client.Obliger{"notification": func(context.Context, authz.Obligation) error { return nil }}}
	if got, want := client.Show(t.Context(), g, found), []string{"free", "told", "last"}; !slices.Equal(got, want) {
		t.Errorf("shown %q, want %q", got, want)
	}
	if got, want := client.Show(t.Context(), &client.Guard{}, found), []string{"free", "last"}; !slices.Equal(got, want) {
		t.Errorf("shown without knowing how to tell %q, want %q", got, want)
	}
}
