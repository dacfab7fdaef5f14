package server_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// What the AuthZEN Profile for Obligations, draft 1, asks of a policy decision point. "mark" is custom
// in the catalog of the explained organisation, and "tell" is a notification.

// "A PDP that implements this profile MUST include supported_obligations in its metadata document",
// each of which "MUST be either an Obligation Type registered [...] or the literal value custom".
func TestObligationsMetadata(t *testing.T) {
	s := explainedServer(t)
	var m struct {
		Supported []string `json:"supported_obligations"`
	}
	s.into(s.do("GET", "/.well-known/authzen-configuration", "", ""), &m)
	slices.Sort(m.Supported)
	if want := []string{"custom", "notification", "session_termination", "step-up"}; !slices.Equal(m.Supported, want) {
		t.Errorf("supported_obligations %v, want %v", m.Supported, want)
	}
}

// An obligation has id, type and properties, all REQUIRED, under context.obligations; the type is a
// registered one or custom; the id is unique "within the enclosing response context".
func TestObligationObject(t *testing.T) {
	s := explainedServer(t)
	publishMasks(t, s)
	var a answerBody
	s.into(s.ask("/access/v1/evaluation", question("payer", "look", `{}`, `{}`, "")), &a)
	got, err := json.Marshal(a.Context.Obligations)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"id":"bare","properties":{"obligation":"watermark"},"type":"custom"},` +
		`{"id":"mask","properties":{"fields":["iban"],"obligation":"mask"},"type":"custom"},` +
		`{"id":"own","properties":{"obligation":"mine"},"type":"custom"},` +
		`{"id":"tell","properties":{"body":"seen","to":"owner"},"type":"notification"}]`
	if string(got) != want {
		t.Errorf("obligations\n%s, want\n%s", got, want)
	}
}

// publishMasks publishes obligations of all kinds on the action look, named twice.
func publishMasks(t *testing.T, s *running) {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"if_version": 1, "why": "test",
		"catalog": `
obligations:
  tell: {type: notification, properties: {to: owner, body: seen}}
  mask: {type: mask, properties: {fields: [iban]}}
  bare: {type: watermark}
  own: {type: strange, properties: {obligation: mine}}
types: {Ledger: {class: internal}}
entities: [{type: Ledger, id: main}]
`,
		"source": map[string]any{"schema": explained["s.cedarschema"], "files": []map[string]string{{"name": "o.cedar", "text": `
@id("a") @obligations("bare mask") permit (principal is Agent, action == Action::"look", resource);
@id("b") @obligations("mask own tell") permit (principal is Agent, action == Action::"look", resource);
@id("c") permit (principal is Agent, action == Action::"read", resource);
`}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := s.do("POST", "/v1/policies", adminToken, string(body)); r.status != 200 {
		t.Fatalf("publishing: %s", r.body)
	}
}

// A PDP "that has nothing to say about obligations simply omits this key".
func TestObligationsOmitted(t *testing.T) {
	s := explainedServer(t)
	for name, r := range map[string]reply{
		"allowed": s.ask("/access/v1/evaluation", question("User:ann", "pay", `{}`, `{}`, "")),
		"denied":  s.ask("/access/v1/evaluation", question("reader", "pay", `{}`, `{}`, "")),
	} {
		if r.status != 200 || strings.Contains(r.body, "obligations") {
			t.Errorf("%s: %d %s, want no word of obligations", name, r.status, r.body)
		}
	}
}

// Negotiation. "A PDP MUST treat the absence of supported_obligations in a request as no information
// about PEP capability". It "MUST ignore any value in a request that it did not itself advertise as
// supported, treating the request as though that value were absent". What is left it MAY use "by
// issuing a DENY outright", which is what we do.
func TestObligationNegotiation(t *testing.T) {
	s := explainedServer(t)
	publishMasks(t, s)
	for _, tt := range []struct {
		name, context, code string
	}{
		{"absence is no information", ``, "allowed"},
		{"the types of all", `"supported_obligations":["custom","notification"]`, "allowed"},
		{"one type is not declared", `"supported_obligations":["custom"]`, "obligation_unsupported"},
		{"none", `"supported_obligations":[]`, "obligation_unsupported"},
		{"values that are not advertised are ignored: ids", `"supported_obligations":["bare","mask","own","tell"]`, "obligation_unsupported"},
		{"values that are not advertised are ignored: types", `"supported_obligations":["mask","watermark","strange","notification"]`, "obligation_unsupported"},
		{"values that are not advertised do no harm", `"supported_obligations":["x","custom","y","notification"]`, "allowed"},
		{"observed: the catalog's ids", `"observed":{"supported_obligations":["bare","mask","own","tell"]}`, "allowed"},
		{"observed: the catalog's types", `"observed":{"supported_obligations":["mask","watermark","strange","notification"]}`, "allowed"},
		{"observed: one is missing", `"observed":{"supported_obligations":["bare","mask","own"]}`, "obligation_unsupported"},
		{"both add up", `"supported_obligations":["notification"],"observed":{"supported_obligations":["bare","mask","own"]}`, "allowed"},
	} {
		var a answerBody
		if s.into(s.ask("/access/v1/evaluation", question("payer", "look", `{}`, `{}`, tt.context)), &a); a.Context.Code != tt.code {
			t.Errorf("%s: %s gives %s, want %s", tt.name, tt.context, a.Context.Code, tt.code)
		}
		// Where nothing is obliged, capabilities do not matter.
		if s.into(s.ask("/access/v1/evaluation", question("payer", "read", `{}`, `{}`, tt.context)), &a); a.Context.Code != "allowed" {
			t.Errorf("%s: without obligations %s gives %s, want allowed", tt.name, tt.context, a.Context.Code)
		}
	}
	// A search leaves out what the enforcement point could not make good.
	for context, want := range map[string]int{``: 1, `"supported_obligations":["custom","notification"]`: 1, `"supported_obligations":["custom"]`: 0} {
		var found struct{ Results []any }
		s.into(s.ask("/access/v1/search/resource", question("payer", "look", `{}`, `{}`, context)), &found)
		if len(found.Results) != want {
			t.Errorf("search with %q finds %d, want %d", context, len(found.Results), want)
		}
	}
}

// Who asked is recorded under the caller's own role, also if an administrator tries something out.
func TestActorsOfDecisions(t *testing.T) {
	s := explainedServer(t)
	body := question("reader", "look", `{}`, `{}`, "")
	for _, who := range [][2]string{{adminToken, "admin:admin"}, {pepToken, "pep:pep"}} {
		for path, kind := range map[string]string{"/access/v1/evaluation": "decision.made", "/access/v1/search/resource": "search.made"} {
			if r := s.do("POST", path, who[0], body); r.status != 200 {
				t.Fatalf("%s: %d %s", path, r.status, r.body)
			}
			var found struct{ Items []struct{ Actor string } }
			s.into(s.do("GET", "/v1/audit/entries?limit=1&kind="+kind, adminToken, ""), &found)
			if len(found.Items) != 1 || found.Items[0].Actor != who[1] {
				t.Errorf("%s by %s is recorded as %+v", path, who[1], found.Items)
			}
		}
	}
}
