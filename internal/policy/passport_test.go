package policy_test

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// testdata/passports.txtar has a case for everything that passports and credentials change.
func TestPassports(t *testing.T) {
	rep, err := policy.RunCases(os.DirFS("testdata"), "passports.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if rep.Failed() > 0 || len(rep.Unfired()) > 0 || len(rep.Cases) < 40 {
		t.Errorf("%s", rep)
	}
}

// A fact of a passport or a credential that changes is never answered from memory.
func TestPassportsAreNotConfused(t *testing.T) {
	set := compile(t, *source(`
permit (principal, action, resource) when {
  context.observed.passport.present && context.observed.passport.capabilities == ["a", "b"] &&
  context.observed.passport.bound == "dpop" && context.observed.passport.depth == 1 &&
  context.observed.credential.known && context.observed.credential.method == "dpop" && context.observed.credential.keys == 1 &&
  context.observed.credential.age_days == 3 && context.observed.credential has expires_in_days && context.observed.credential.expires_in_days == 4 };
`), "{}\n")
	const day = 24 * time.Hour
	good := func() (*authz.Request, *authz.Facts) {
		r := userReads("d")
		r.Observed.Passport = &authz.Passport{ID: "p", Bound: "dpop", Depth: 1, Details: []authz.Detail{{Identifier: "a"}, {Identifier: "b"}}}
		return r, &authz.Facts{At: noon, Credential: authz.Credential{Method: "dpop", Keys: 1, Since: noon.Add(-3*day - time.Hour), ExpiresAt: noon.Add(4*day + time.Hour)}}
	}
	for what, change := range map[string]struct {
		spoil   func(*authz.Request, *authz.Facts)
		allowed bool
	}{
		"absent":           {func(r *authz.Request, _ *authz.Facts) { r.Observed.Passport = nil }, false},
		"one capability":   {func(r *authz.Request, _ *authz.Facts) { r.Observed.Passport.Details = r.Observed.Passport.Details[:1] }, false},
		"other names":      {func(r *authz.Request, _ *authz.Facts) { r.Observed.Passport.Details[1].Identifier = "c" }, false},
		"bound":            {func(r *authz.Request, _ *authz.Facts) { r.Observed.Passport.Bound = "none" }, false},
		"depth":            {func(r *authz.Request, _ *authz.Facts) { r.Observed.Passport.Depth = 2 }, false},
		"method":           {func(_ *authz.Request, f *authz.Facts) { f.Credential.Method = "" }, false},
		"keys":             {func(_ *authz.Request, f *authz.Facts) { f.Credential.Keys = 2 }, false},
		"no keys":          {func(_ *authz.Request, f *authz.Facts) { f.Credential.Keys = 0 }, false},
		"age":              {func(_ *authz.Request, f *authz.Facts) { f.Credential.Since = noon.Add(-4 * day) }, false},
		"expiry":           {func(_ *authz.Request, f *authz.Facts) { f.Credential.ExpiresAt = noon.Add(5 * day) }, false},
		"no expiry":        {func(_ *authz.Request, f *authz.Facts) { f.Credential.ExpiresAt = time.Time{} }, false},
		"a day later":      {func(_ *authz.Request, f *authz.Facts) { f.At = noon.Add(day) }, false},
		"half an hour on":  {func(_ *authz.Request, f *authz.Facts) { f.At = noon.Add(30 * time.Minute) }, true},
		"another passport": {func(r *authz.Request, _ *authz.Facts) { r.Observed.Passport.ID = "q" }, true},
	} {
		req, f := good()
		if d := set.Evaluate(req, f); !d.Allowed() {
			t.Fatalf("before %s is changed: %v, %s", what, d.Effect, d.Detail)
		}
		change.spoil(req, f)
		if d := set.Evaluate(req, f); d.Allowed() != change.allowed {
			t.Errorf("with %s changed, allowed is %v, want %v", what, d.Allowed(), change.allowed)
		}
	}
}

// An agent learns when it may carry a capability, or that it must be granted it, and nothing of what
// passports and credentials policies ask for.
func TestExplainPassports(t *testing.T) {
	cat, err := catalog.Parse("catalog.yaml", []byte(`
schedules: {office: {windows: [{days: mon-fri, from: "08:00", to: "18:00"}]}}
capabilities:
  open: {class: read, actions: [look]}
  shut: {class: read, actions: [look], limits: {schedules: [office]}}
types: {Thing: {class: internal}}
`))
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Compile(policy.Source{
		Schema: `entity Thing;
action look appliesTo { principal: Agent, resource: Thing, context: { observed: Observed, args: { depth?: Long } } };`,
		Files: []policy.File{{Name: "p.cedar", Text: `
permit (principal is Agent, action == Action::"token.issue", resource);
permit (principal is Agent, action == Action::"look", resource) when { !context.observed.grant.within.isEmpty() };
forbid (principal is Agent, action == Action::"look", resource) when { context.observed.credential.age_days > 90 };
forbid (principal is Agent, action == Action::"look", resource) when { context.args has depth && context.args.depth > context.observed.passport.depth };
`}},
	}, cat)
	if err != nil {
		t.Fatal(err)
	}
	evening := time.Date(2026, 5, 4, 20, 0, 0, 0, time.UTC)
	explain := func(action, id, args string, passport *authz.Passport, key authz.Credential, code string, want ...string) {
		t.Helper()
		agent := &authz.Agent{ID: "bot", State: authz.AgentActive, Capabilities: []string{"shut"}}
		req := authz.Request{
			Subject:  authz.Entity{Ref: authz.Ref{Type: authz.AgentType, ID: "bot"}},
			Action:   authz.Action{Name: action, Properties: authz.Claimed(args)},
			Resource: authz.Entity{Ref: authz.Ref{Type: authz.CapabilityType, ID: id}},
			Observed: authz.Observed{Passport: passport},
		}
		if id == "" {
			req.Resource.Ref = authz.Ref{Type: "Thing", ID: "t"}
		}
		f := authz.Facts{At: evening, Agent: agent, Schedules: cat.Open(evening), Trust: authz.NeutralTrust, Credential: key}
		f.Class, f.Labels, f.Region = cat.Classify(&req.Resource)
		f.Grant = set.Grant(&req, agent, &f)
		d := set.EvaluateAll(&req, &f)
		if d.Code != code {
			t.Errorf("%s of %q: %s, want %s", action, id, d.Code, code)
		}
		if diff := cmp.Diff(append([]string{}, want...), brief(set.Explain(&req, &f, &d))); diff != "" {
			t.Errorf("%s of %q with %+v: changes (-want +got):\n%s", action, id, passport, diff)
		}
	}
	carries := func(id string) *authz.Passport {
		return &authz.Passport{Bound: "dpop", Details: []authz.Detail{{Type: authz.DetailType, Identifier: id}}}
	}
	explain(authz.ActionIssue, "shut", "", nil, authz.Credential{}, authz.CodeNoPermit, `time wait "2026-05-05T08:00:00Z"`)
	explain(authz.ActionIssue, "open", "", nil, authz.Credential{}, authz.CodeNoPermit, `operator grant agent.capabilities "open"`)
	explain(authz.ActionIssue, "shut", "", carries("open"), authz.Credential{}, authz.CodePassport)
	explain("look", "", "", nil, authz.Credential{}, authz.CodeNoPermit, `time wait "2026-05-05T08:00:00Z"`)
	explain("look", "", "", carries("shut"), authz.Credential{}, authz.CodeNoPermit, `time wait "2026-05-05T08:00:00Z"`)
	explain("look", "", "", carries("open"), authz.Credential{}, authz.CodeNoPermit) // neither waiting nor granting helps
	explain("look", "", "", nil, authz.Credential{Keys: 1, Since: evening.AddDate(-1, 0, 0)}, authz.CodeForbidden)
	explain("look", "", `{"depth":5}`, nil, authz.Credential{}, authz.CodeForbidden)
}
