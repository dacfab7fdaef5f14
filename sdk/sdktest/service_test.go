package sdktest_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/server/servertest"
)

// The house whose agents the SDKs are: they pay, people agree to larger sums, and the largest nobody pays.
var house = map[string]string{
	"catalog.yaml": `
types: {Account: {class: internal}}
capabilities: {pay: {class: money, actions: [pay]}}
approvers: {finance: {members: [{type: user, id: anna}]}}
approvals:
  routes: {finance: {title: Larger payments, approvers: [finance], uses: 5}}
reasons: {too_large: {message: Nobody pays that much.}}
entities: [{type: Account, id: acme}, {type: Account, id: globex}]
obligations: {masked: {type: mask, properties: {fields: [iban]}}}
`,
	"schema.cedarschema": `entity Account {};
action "pay" appliesTo { principal: [Agent, User], resource: [Account], context: { observed: Observed, claimed: Claimed, args: { amount: decimal } } };
`,
	"policies.cedar": `@id("pay") @obligations("masked")
permit (principal is Agent, action == Action::"pay", resource) when { context.observed.grant.within.contains("pay") };
@id("carry") permit (principal is Agent, action == Action::"token.issue", resource);
@id("large") @remedy("approval") @approvers("finance")
forbid (principal, action == Action::"pay", resource) when { context.args.amount.greaterThan(decimal("500.0")) };
@id("too-large") @reason("too_large")
forbid (principal, action == Action::"pay", resource) when { context.args.amount.greaterThan(decimal("10000.0")) };
`,
	"agents.yaml": `agents:
  - {id: clerk, owner: olga, purpose: accounts-payable, version: "1", capabilities: [pay]}
  - {id: filer, owner: olga, purpose: filing, version: "1", capabilities: [pay]}
  - {id: stranger, owner: olga, purpose: nothing, version: "1", capabilities: []}
`,
}

// bank is a resource server for which tokens can be had. It does not exist.
const bank = "https://bank.example.com"

// setup is what an SDK's tests are told.
type setup struct {
	URL        string            `json:"url"`
	Admin      string            `json:"admin"`      // token of an administrator
	PEP        string            `json:"pep"`        // of an enforcement point
	Approver   string            `json:"approver"`   // of a person who may answer
	KeyFile    string            `json:"key_file"`   // of the agent clerk, which is enrolled
	Enrolments map[string]string `json:"enrolments"` // enrolment tokens, by agent
	Scratch    string            `json:"scratch"`    // a directory for what the tests write
	Bank       string            `json:"bank"`
}

// start runs the service itself and returns the name of a file that tells of it.
func start(t *testing.T) string {
	t.Helper()
	cfg := servertest.Texts(t, house)
	cfg.OAuth.Audiences = []string{bank}
	s := servertest.Start(t, cfg)

	admin, err := client.New(s.URL(), servertest.AdminToken)
	if err != nil {
		t.Fatal(err)
	}
	do := func(method, path string, in map[string]any) string {
		var made struct{ Token string }
		if err := admin.Do(t.Context(), method, path, in, &made); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		return made.Token
	}
	do("PUT", "/v1/people/anna", map[string]any{"name": "Anna", "why": "test"})
	enrolment := func(agent string) string {
		return do("POST", "/v1/agents/"+agent+"/enrolment", map[string]any{"why": "test", "ttl_seconds": 3600})
	}
	made := setup{
		URL: s.URL(), Admin: servertest.AdminToken, PEP: servertest.PEPToken, Scratch: t.TempDir(), Bank: bank,
		Approver: do("POST", "/v1/callers", map[string]any{"name": "anna", "role": "approver", "why": "test"}),
		KeyFile:  filepath.Join(t.TempDir(), "clerk.key"),
		Enrolments: map[string]string{
			"filer": enrolment("filer"), "stranger": enrolment("stranger"),
		},
	}
	if _, err := client.Enrol(t.Context(), client.Enrolment{Issuer: s.URL(), Token: enrolment("clerk"), File: made.KeyFile}); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "setup.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
