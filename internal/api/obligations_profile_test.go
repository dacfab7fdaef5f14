package api_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// obligedPDP finds two resources, the first of which comes with an obligation.
type obligedPDP struct {
	*recordingPDP
	obligations []authz.Obligation
}

func (p obligedPDP) SearchResources(context.Context, authz.Request, pdp.Page) (pdp.Found[authz.Ref], error) {
	return pdp.Found[authz.Ref]{
		Results:     []authz.Ref{{Type: "account", ID: "123"}, {Type: "account", ID: "456"}},
		Obligations: [][]authz.Obligation{p.obligations, nil},
	}, nil
}

func (p obligedPDP) SearchActions(context.Context, authz.Request, pdp.Page) (pdp.Found[string], error) {
	return pdp.Found[string]{Results: []string{"read", "pay"}, Obligations: [][]authz.Obligation{nil, p.obligations}}, nil
}

// TestObligationsProfile has the sentences of the AuthZEN Profile for Obligations (draft 1) that say MUST or SHOULD
// of a decision point, as far as the form of answers goes; internal/server has those of metadata and negotiation
// over a published catalog, client those of enforcement points.
func TestObligationsProfile(t *testing.T) {
	stepUp := authz.Obligation{ID: "obl-1", Type: "step-up", Properties: json.RawMessage(`{"acr_value":"urn:com:example:loa:3","amr_values":["mfa","hwk"]}`)}
	notify := authz.Obligation{ID: "obl-2", Type: "notification", Properties: json.RawMessage(`{"to":"manager@example.com","body":"seen"}`)}
	mask := authz.Obligation{ID: "obl-3", Type: "mask", Properties: json.RawMessage(`{"fields":["iban"]}`)}
	const stepUpForm = `{"id":"obl-1","type":"step-up","properties":{"acr_value":"urn:com:example:loa:3","amr_values":["mfa","hwk"]}}`
	checkRules(t, []rule{
		{"The Obligation Object", "id, type and properties are REQUIRED; the type is registered or custom", func(t *testing.T) {
			d := openRequests(t)
			d.pdp.answer = func(authz.Request) (authz.Decision, error) {
				return authz.Decision{Seq: 1, Effect: authz.Allow, Code: authz.CodeAllowed, Obligations: []authz.Obligation{stepUp, notify, mask, {ID: "obl-4", Type: "session_termination"}}}, nil
			}
			got, _ := json.Marshal(d.evaluate(paymentRequest).at("context.obligations"))
			want := `[` + stepUpForm + `,{"id":"obl-2","type":"notification","properties":{"to":"manager@example.com","body":"seen"}},` +
				`{"id":"obl-3","type":"custom","properties":{"fields":["iban"],"obligation":"mask"}},{"id":"obl-4","type":"session_termination","properties":{}}]`
			if !sameJSON(t, string(got), want) {
				t.Errorf("obligations %s, want %s", got, want)
			}
		}},
		{"Obligations on DENY Decisions", "MAY be attached to decision false as well", func(t *testing.T) {
			d := openRequests(t)
			for _, effect := range []authz.Effect{authz.Deny, authz.StepUp, authz.RequireApproval} {
				d.pdp.answer = func(req authz.Request) (authz.Decision, error) {
					dec := d.refusal
					dec.Effect, dec.Obligations = effect, []authz.Obligation{stepUp, notify}
					return d.record(req, dec), nil
				}
				a := d.evaluate(paymentRequest)
				a.is("decision", false)
				a.is("context.obligations.0.properties.acr_value", "urn:com:example:loa:3")
				a.is("context.obligations.1.type", "notification")
			}
		}},
		{"Obligations on DENY Decisions", "an error obliges to nothing", func(t *testing.T) {
			d := openRequests(t)
			d.pdp.answer = func(authz.Request) (authz.Decision, error) {
				return authz.Decision{Code: authz.CodeUnavailable, Obligations: []authz.Obligation{notify}}, authz.Errorf(authz.ErrUnavailable, "the log is down")
			}
			if a := d.call("POST", "/access/v1/evaluation", paymentRequest); a.status != 503 || strings.Contains(a.text, "obligations") {
				t.Errorf("answered %d %s", a.status, a.text)
			}
		}},
		{"Obligations and Search Requests", "obligations of a result stand in the result", func(t *testing.T) {
			d := openRequests(t, func(c *api.Config) {
				c.PDP = obligedPDP{c.PDP.(*recordingPDP), []authz.Obligation{stepUp}}
			})
			a := d.call("POST", "/access/v1/search/resource", strings.Replace(paymentRequest, `,"id":"7"`, "", 1))
			if want := `{"results":[{"type":"account","id":"123","obligations":[` + stepUpForm + `]},{"type":"account","id":"456"}]}`; !sameJSON(t, a.text, want) {
				t.Errorf("found %s, want %s", a.text, want)
			}
			a = d.call("POST", "/access/v1/search/action", paymentRequest)
			if want := `{"results":[{"name":"read"},{"name":"pay","obligations":[` + stepUpForm + `]}]}`; !sameJSON(t, a.text, want) {
				t.Errorf("found %s, want %s", a.text, want)
			}
		}},
		{"Discovery", "MUST include supported_obligations in the metadata", func(t *testing.T) {
			openRequests(t).call("GET", "/.well-known/authzen-configuration", "").is("supported_obligations", []string{"step-up", "notification", "session_termination", "custom"})
		}},
		{"Negotiation", "MUST ignore any value that it did not itself advertise", func(t *testing.T) {
			d := openRequests(t)
			d.evaluate(strings.Replace(paymentRequest, `"tenant"`, `"supported_obligations":["notification","teleport","custom","mask"],"tenant"`, 1))
			if got := strings.Join(d.last().Observed.Obligations, " "); got != "notification custom" {
				t.Errorf("the enforcement point can meet %q, want notification and custom", got)
			}
		}},
		{"Negotiation", "MUST treat absence as no information; an empty list is some", func(t *testing.T) {
			d := openRequests(t)
			d.evaluate(paymentRequest)
			if got := d.last().Observed.Obligations; got != nil {
				t.Errorf("without the member it can meet %q, want nothing said", got)
			}
			d.evaluate(strings.Replace(paymentRequest, `"tenant"`, `"supported_obligations":["teleport"],"tenant"`, 1))
			if got := d.last().Observed.Obligations; got == nil || len(got) > 0 {
				t.Errorf("with values that are all ignored it can meet %#v, want none", got)
			}
		}},
	})
}
