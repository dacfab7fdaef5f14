package policy_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/policy"
)

func TestRunCases(t *testing.T) {
	rep, err := policy.RunCases(os.DirFS("testdata"), "payments/payments.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if rep.Failed() > 0 {
		t.Errorf("cases that describe the policies fail:\n%s", rep)
	}
	if got, want := len(rep.Cases), 18; got != want {
		t.Errorf("ran %d cases, want %d", got, want)
	}
	if got := rep.Unfired(); len(got) > 0 {
		t.Errorf("unfired = %+v, want none", got)
	}
	var got []policy.Coverage
	for _, c := range rep.Coverage {
		if c.Policy == "read-all" || c.Policy == "new-rule" {
			got = append(got, c)
		}
	}
	want := []policy.Coverage{
		{Policy: "new-rule", File: "payments/guardrails.cedar", Line: 34, Mode: "shadow", Evaluated: 14, Fired: 3},
		{Policy: "read-all", File: "payments/payments.cedar", Line: 17, Mode: "enforce", Evaluated: 3, Fired: 2},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("coverage (-want +got):\n%s", d)
	}
}

const tinyCases = `
-- p.cedar --
@id("all") permit (principal, action, resource);
@id("none") @reason("no") forbid (principal, action, resource) when { context.args.n > 3 };
@id("never") permit (principal is User, action, resource) when { context.args.n > 100 };
-- s.cedarschema --
entity Thing;
action act appliesTo { principal: [Agent, User], resource: Thing, context: { observed: Observed, args: { n: Long } } };
-- c.yaml --
reasons: {no: {message: "No."}}
-- one.test.yaml --
policies: p.cedar
schema: s.cedarschema
catalog: c.yaml
cases:
  - name: wrong on purpose
    request: {subject: "user:ann", action: {name: act, properties: {n: 4}}, resource: "Thing:1"}
    expect: {outcome: allow, reason: yes-indeed, obligations: [x], fired: [never], not_fired: [none]}
  - name: right
    request: {subject: "user:ann", action: {name: act, properties: {n: 3}}, resource: "Thing:1"}
    expect: allow
`

func TestRunCasesReport(t *testing.T) {
	fsys := fstest.MapFS{"dir/t.txtar": {Data: []byte(tinyCases)}}
	rep, err := policy.RunCases(fsys, "dir/t.txtar")
	if err != nil {
		t.Fatal(err)
	}
	const want = `dir/t.txtar/one.test.yaml:5: wrong on purpose: FAILED
	outcome: got deny (forbidden), want allow
	reason: got no, want yes-indeed
	obligations: got nothing, want x
	fired: got none, want never
	fired: got none, want not none
p.cedar:3: policy never fires in no case
1 of 2 cases passed; 2 of 3 policies fired
`
	if d := cmp.Diff(want, rep.String()); d != "" {
		t.Errorf("report (-want +got):\n%s", d)
	}
}

// A policy that errs has not fired, however often it was tried.
func TestRunCasesCountsNoErrors(t *testing.T) {
	text := strings.NewReplacer(
		"context.args.n > 3 }", "context.args.n * 9223372036854775807 > 3 }",
		"principal is User, action, resource) when { context.args.n > 100 }", "principal is User, action, resource) when { context.args.n + 9223372036854775807 > 100 }",
	).Replace(tinyCases)
	rep, err := policy.RunCases(fstest.MapFS{"t.txtar": {Data: []byte(text)}}, "t.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range rep.Coverage {
		want := 0
		if c.Policy == "all" {
			want = 2
		}
		if c.Fired != want || c.Evaluated != 2 {
			t.Errorf("policy %s: evaluated %d times and fired %d times, want 2 and %d", c.Policy, c.Evaluated, c.Fired, want)
		}
	}
}

func TestRunCasesLayers(t *testing.T) { // an archive may refer to files beside it
	archive := strings.NewReplacer("-- c.yaml --", "-- unused.yaml --").Replace(tinyCases)
	fsys := fstest.MapFS{
		"dir/t.txtar": {Data: []byte(archive)},
		"dir/c.yaml":  {Data: []byte(`reasons: {no: {message: "Not at all."}}`)},
	}
	rep, err := policy.RunCases(fsys, "dir/t.txtar")
	if err != nil || len(rep.Cases) != 2 {
		t.Fatalf("RunCases = %+v, %v, want 2 cases", rep, err)
	}
	if got, want := rep.Cases[0].Decision.Reasons, "Not at all."; len(got) == 0 || got[len(got)-1].Message != want {
		t.Errorf("reasons = %+v, want the message of the catalog beside the archive", got)
	}
}

func TestRunCasesFaults(t *testing.T) {
	const head = `policies: "permit (principal, action, resource);"
schema: |
  entity Thing;
  action act appliesTo { principal: [Agent, User], resource: Thing, context: { observed: Observed } };
agents: {bot: {}}
`
	const ok = "request: {subject: \"user:a\", action: act, resource: \"Thing:1\"}"
	for _, tt := range []struct{ name, text, want string }{
		{"unknown member", head + "case:\n  - " + ok, `t.test.yaml:6:1: the file has no member "case": did you mean "cases"?`},
		{"unknown member of a case", head + "cases:\n  - " + ok + "\n    expects: deny\n", `t.test.yaml:8:5: a case has no member "expects": did you mean "expect"?`},
		{"unknown fact", head + "cases:\n  - " + ok + "\n    facts: {tim: 1}\n    expect: deny\n", `t.test.yaml:8:13: facts has no member "tim": did you mean "time"?`},
		{"no expectation", head + "cases:\n  - " + ok + "\n", `t.test.yaml:7:5: case "case 1" expects nothing`},
		{"no outcome", head + "cases:\n  - " + ok + "\n    expect: {code: x}\n", `t.test.yaml:8:14: expect needs an outcome`},
		{"bad outcome", head + "cases:\n  - " + ok + "\n    expect: alow\n", `t.test.yaml:8:13: outcome "alow" is unknown: did you mean "allow"?`},
		{"bad time", head + "cases:\n  - " + ok + "\n    facts: {time: noon}\n    expect: allow\n", `t.test.yaml:8:19: time "noon" is no time: write it as 2026-01-31T09:00:00Z`},
		{"an unknown route", head + "cases:\n  - " + ok + "\n    facts: {approval: [desk]}\n    expect: allow\n", `t.test.yaml:8:23: approval: unknown approval route "desk": the catalog does not declare it`},
		{"an unknown level", head + "cases:\n  - " + ok + "\n    facts: {assured: high}\n    expect: allow\n", `t.test.yaml:8:22: assured: unknown level of assurance "high": the catalog does not declare it`},
		{"asks of a week", head + "cases:\n  - " + ok + "\n    facts: {asks: {week: 3}}\n    expect: allow\n", `t.test.yaml:8:20: asks has no member "week": one of hour, pending, session`},
		{"less than no asks", head + "cases:\n  - " + ok + "\n    facts: {asks: {hour: -3}}\n    expect: allow\n", `t.test.yaml:8:26: asks.hour is no whole number from 0 to 100000`},
		{"lifted, perhaps", head + "cases:\n  - " + ok + "\n    expect: {outcome: allow, lifted: perhaps}\n", `t.test.yaml:8:38: lifted is`},
		{"bad address", head + "cases:\n  - " + ok + "\n    facts.ip: 1.2.3\n    expect: allow\n", `t.test.yaml:8:15: ip "1.2.3" is no IP address`},
		{"unknown agent", head + "cases:\n  - request: {subject: \"agent:bott\", action: act, resource: \"Thing:1\"}\n    expect: deny\n", `t.test.yaml:7:15: the agent "bott" is not among the agents of this file; did you mean "bot"?`},
		{"short row", head + "table:\n  columns: [name, expect]\n  rows:\n    - [a]\n", `t.test.yaml:9:7: this row has 1 cells, want 2`},
		{"no cases", head, `t.test.yaml:1:1: no cases`},
		{"given twice", head + "agents: {}\n", `t.test.yaml:6:1: mapping key "agents" already defined at [5:1]`},
		{"an anchor", head + "cases: &x\n  - " + ok + "\n", `t.test.yaml:6:8: anchor is not allowed here`},
		{"no policies", "cases:\n  - " + ok + "\n    expect: deny\n", `t.test.yaml:1:1: no policies: name the files, or write them here`},
		{"no such file", "policies: nowhere.cedar\ncases:\n  - " + ok + "\n    expect: deny\n", `t.test.yaml:1:11: policies: open nowhere.cedar: file does not exist`},
		{"policies that do not compile", strings.Replace(head, "resource);", "resource)", 1) + "cases:\n  - " + ok + "\n    expect: deny\n", `t.test.yaml: policies:`},
		{"not a document", "", `t.test.yaml:1:1: want one YAML document`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rep, err := policy.RunCases(fstest.MapFS{"t.test.yaml": {Data: []byte(tt.text)}}, "t.test.yaml")
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Fatalf("RunCases of\n%s\nerror %v, want %s", tt.text, err, tt.want)
			}
			if !errors.Is(err, authz.ErrInvalid) {
				t.Errorf("error %v is not authz.ErrInvalid", err)
			}
			if len(rep.Cases) > 0 {
				t.Errorf("ran %d cases of a faulty file", len(rep.Cases))
			}
		})
	}
}

func TestRunCasesTellsAll(t *testing.T) { // every fault of a file at once
	text := "policies: 7.cedar\ncase: []\nagents: [a]\ndefaults: {a..b: 1}\n"
	_, err := policy.RunCases(fstest.MapFS{"t.test.yaml": {Data: []byte(text)}}, "t.test.yaml", "gone.test.yaml")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"t.test.yaml:2:1: ", "t.test.yaml:3:", "t.test.yaml:4:", "t.test.yaml:1:11: ", "gone.test.yaml"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
}

func FuzzRunCases(f *testing.F) {
	text, err := os.ReadFile("testdata/payments/payments.test.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(tinyCases))
	f.Add([]byte("a: {b: [1, {c: *d}]}"))
	if text, err = os.ReadFile("testdata/approvals.txtar"); err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		slow := time.AfterFunc(10*time.Second, func() { panic(fmt.Sprintf("ten seconds and more for %q", text)) })
		defer slow.Stop()
		fsys := fstest.MapFS{"f.test.yaml": {Data: text}, "f.txtar": {Data: text}}
		rep, err := policy.RunCases(fsys, "f.test.yaml", "f.txtar")
		if err != nil && !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("error %v is not authz.ErrInvalid", err)
		}
		_ = rep.String()
	})
}
