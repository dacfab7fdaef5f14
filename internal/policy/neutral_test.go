package policy_test

import (
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// What nobody has learned yet says so, and says nothing good of the agent.
func TestNeutralFacts(t *testing.T) {
	const schema = `
entity Thing;
action use appliesTo { principal: Agent, resource: Thing, context: { observed: Observed } };`
	holds := func(condition string) bool {
		t.Helper()
		cat, err := catalog.Parse("catalog.yaml", []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		text := `permit (principal, action, resource) when { ` + condition + ` };`
		set, err := policy.Compile(policy.Source{Schema: schema, Files: []policy.File{{Name: "p.cedar", Text: text}}}, cat)
		if err != nil {
			t.Fatalf("Compile(%s): %v", text, err)
		}
		agent := &authz.Agent{ID: "a", Owner: "o", Purpose: "p", Version: "1", Creator: "c", State: authz.AgentActive}
		req := authz.Request{
			Subject:  authz.Entity{Ref: authz.Ref{Type: authz.AgentType, ID: "a"}},
			Action:   authz.Action{Name: "use"},
			Resource: authz.Entity{Ref: authz.Ref{Type: "Thing", ID: "t"}},
		}
		d := set.Evaluate(&req, &authz.Facts{At: time.Unix(1, 0), Agent: agent, Trust: authz.NeutralTrust, Risk: authz.Risk{Level: "low"}})
		if d.Code != authz.CodeAllowed && d.Code != authz.CodeNoPermit {
			t.Fatalf("Evaluate(%s) = %s %s, want allowed or no_permit", condition, d.Code, d.Detail)
		}
		return d.Allowed()
	}
	for condition, want := range map[string]bool{
		`context.observed.trust.level == "medium" && context.observed.trust.rank == 2`:                                                   true,
		`context.observed.trust.score == decimal("0.5")`:                                                                                 true,
		`principal.conduct.trust.rank >= 3`:                                                                                              false,
		`principal.conduct has accuracy`:                                                                                                 false,
		`principal.conduct has error_rate`:                                                                                               false,
		`principal.conduct.findings.isEmpty() && principal.conduct.gravest == 0`:                                                         true,
		`context.observed has confidence`:                                                                                                false,
		`context.observed has history`:                                                                                                   false,
		`context.observed has history && context.observed.history.calls < 100`:                                                           false,
		`context.observed.approvals.isEmpty() && context.observed.assurance.isEmpty()`:                                                   true,
		`context.observed.asks.session == 0 && context.observed.asks.hour == 0 && context.observed.asks.pending == 0`:                    true,
		`!context.observed.passport.present && context.observed.passport.capabilities.isEmpty()`:                                         true,
		`context.observed.passport.bound == "none" && context.observed.passport.depth == 0`:                                              true,
		`context.observed.credential.known || context.observed.credential has expires_in_days`:                                           false,
		`context.observed.credential.age_days == 0 && context.observed.credential.keys == 0 && context.observed.credential.method == ""`: true,
		`context.observed.provenance.known`:                                                                                              false,
	} {
		if got := holds(condition); got != want {
			t.Errorf("%s = %v, want %v", condition, got, want)
		}
	}
}
