package policy_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
)

const fuzzSchema = `
entity Folder;
entity Doc in [Folder] { owner?: User, size?: Long, status?: String, tags?: Set<String> };
action read appliesTo { principal: [Agent, User], resource: [Doc, Agent], context: { observed: Observed, claimed: Claimed, args: {
  amount?: decimal, count?: Long, flag?: Bool, day?: datetime, for?: duration, from?: ipaddr, to?: User, text?: String,
  names?: Set<String>, numbers?: Set<Set<Long>>, deep?: { inner: Bool, more?: { n?: Long } },
} } };`

// Whatever the policies say, compiling them ends with a set that can judge, or with problems.
func FuzzPolicies(f *testing.F) {
	for _, s := range []string{
		`permit (principal, action, resource);`,
		`@id("x") @mode("shadow") @expires("2026-01-01T00:00:00Z") forbid (principal is Agent in Purpose::"p", action in [Action::"read"], resource == Doc::"d") when { context.args has count && context.args.count + 1 > 2 } unless { resource is Doc };`,
		`permit (principal, action, resource) when { "a;b" like "a*" }; // ; forbid`,
		"permit (principal, action, resource) when { \"a\n;\" == \"\" };",
		`permit (principal, action, resource) when { ` + strings.Repeat("(", 100) + `true` + strings.Repeat(")", 100) + ` };`,
		`permit (principal, action, resource) when { ` + strings.Repeat("!", 3000) + `true };`,
		`@id("\u{0}") permit (principal, action, resource);`,
		`permit (principal, action, resource); @remedy("approval") @approvers("a, b") @obligations("tell") forbid (principal, action, resource);`,
		`permit (principal, action, resource); @remedy("step_up") @assurance("low") forbid (principal, action, resource) when { context.observed.asks.hour < 9 };`,
		`@approvers(",a,a") @assurance("") @remedy("approval") forbid (principal, action, resource) when { context.observed.approvals.contains("a") };`,
		"permit (principal, action, resource); // \r forbid (principal, action, resource);\n",
	} {
		f.Add(s)
	}
	req, facts := benchRequest()
	req.Action = authz.Action{Name: "read"}
	req.Resource = authz.Entity{Ref: authz.Ref{Type: "Doc", ID: "d"}}
	cat := parseCatalog(f, askCatalog)
	approved := *facts
	approved.Approval, approved.Assured = &authz.Approval{Routes: []string{"a", "b"}}, []string{"low"}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := policy.Compile(policy.Source{Schema: fuzzSchema, Files: []policy.File{{Name: "p.cedar", Text: text}}}, cat)
		checkCompiled(t, set, err)
		if set == nil {
			return
		}
		d := set.Evaluate(req, facts)
		for _, d := range []authz.Decision{d, set.Evaluate(req, &approved)} {
			for _, p := range d.Fired {
				if d.Allowed() && !p.Shadow && p.Effect == "forbid" && p.Remedy == "" {
					t.Errorf("allowed, though %s forbids, which nothing lifts", p.Policy)
				}
			}
			if len(d.Routes) > 0 && d.Effect != authz.RequireApproval || d.Lifted && !d.Allowed() {
				t.Errorf("%v with routes %v, lifted %v", d.Effect, d.Routes, d.Lifted)
			}
		}
		satisfied, erring, _ := set.Scan(req, facts)
		if d.Allowed() && (len(satisfied) == 0 || len(erring) > 0 && d.Code == authz.CodePolicyError) {
			t.Errorf("allowed, though Cedar finds %v satisfied and %v in error", satisfied, erring)
		}
	})
}

// Likewise whatever the schema says.
func FuzzSchema(f *testing.F) {
	for _, s := range []string{
		fuzzSchema, librarySchema, scanSchema, benchSchema(1), "", "type A = {b: B}; type B = {a: A};",
		"type A = {a: B, b: B}; type B = {a: C, b: C}; type C = {a: D, b: D}; type D = { x: Long }; entity X { a: A };",
		`entity X enum ["a"]; namespace N { entity Y in [X]; action a appliesTo { principal: Y, resource: Y, context: { observed: Observed } }; }`,
		`action a appliesTo { principal: User, resource: User, context: { observed: {} } };`,
		"entity X { a: " + strings.Repeat("Set<", 100) + "Long" + strings.Repeat(">", 100) + " };",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := policy.Compile(policy.Source{Schema: text, Files: []policy.File{{Name: "p.cedar", Text: `permit (principal, action, resource);`}}}, nil)
		checkCompiled(t, set, err)
		if set == nil {
			return
		}
		req, facts := benchRequest()
		for _, name := range set.Actions() {
			req.Action.Name = name
			if _, err := set.Conforms(req, facts); err != nil {
				t.Errorf("action %q: what Cedar is given is not valid: %v", name, err)
			}
		}
	})
}

func checkCompiled(t *testing.T, set *policy.Set, err error) {
	t.Helper()
	if (set == nil) == (err == nil) {
		t.Fatalf("Compile = %v, %v; want one of them", set, err)
	}
	if err != nil && !errors.Is(err, authz.ErrInvalid) {
		t.Fatalf("Compile: error %v, want authz.ErrInvalid", err)
	}
}

// Whatever a request says, either it has a fault or Cedar's own validator finds nothing wrong with
// what our reading of it made.
func FuzzValues(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, `[]`, `{"amount":1}`, `{"amount":-0.5,"count":-1,"flag":true,"day":"2026-01-02","for":"1d","from":"::1","to":"ann"}`,
		`{"to":{"type":"user","id":"ann"},"names":["a","a"],"numbers":[[1],[]],"deep":{"inner":true,"more":{"n":1}}}`,
		`{"deep":{}}`, `{"deep":{"inner":1}}`, `{"count":1.0}`, `{"count":1e3}`, `{"amount":1e3}`, `{"amount":"1.23456"}`, `{"am\u006funt":2}`,
		`{"count":1,"count":2}`, `{"text":"\u0000"}`, `{"unknown":"\u0000"}`, `{"names":[null]}`, `{"count":null}`, `{"count":1}}`, `{"count":1`,
		`{"unknown":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`, `{"amount":-922337203685477.5808}`, `{"amount":922337203685477.5808}`,
		`{"text":"\ud800"}`, "{\"text\":\"\xff\"}", `{"from":"::ffff:1.2.3.4"}`, `{"from":"fe80::1%eth0"}`,
	} {
		f.Add(s, s)
	}
	cat, err := catalog.Parse("catalog.yaml", []byte("types: {Doc: {request_properties: [owner, size, status, tags]}}\n"))
	if err != nil {
		f.Fatal(err)
	}
	set, err := policy.Compile(policy.Source{Schema: fuzzSchema, Files: []policy.File{{Name: "p.cedar", Text: `permit (principal, action, resource);`}}}, cat)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, args, props string) {
		req, facts := benchRequest()
		req.Action = authz.Action{Name: "read", Properties: authz.Claimed(args)}
		req.Resource = authz.Entity{Ref: authz.Ref{Type: "Doc", ID: "d"}, Properties: authz.Claimed(props)}
		req.Context = authz.Claimed(args)
		code, err := set.Conforms(req, facts)
		if err != nil {
			t.Fatalf("what Cedar is given is not valid: %v", err)
		}
		d := set.Evaluate(req, facts)
		if d.Allowed() != (code == "") || code != "" && d.Code != code {
			t.Errorf("Evaluate = %v, %s; the request's fault is %q", d.Effect, d.Code, code)
		}
		if d.Allowed() && (args != "" && !json.Valid([]byte(args)) || len(d.Reasons) > 0) {
			t.Errorf("malformed arguments were allowed")
		}
	})
}
