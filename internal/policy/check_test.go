package policy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
)

const checkSchema = `entity Account { status?: String, balance: Long };
entity Card;
action "money";
action "pay" in ["money"] appliesTo { principal: [Agent], resource: [Account], context: { observed: Observed, claimed: Claimed, args: { amount: decimal, count?: Long } } };
`

const checkCatalog = `
reasons: {closed: {message: "It is closed."}}
obligations: {tell: {type: notification, properties: {to: owner, body: It was done.}}}
signals: {always: [confidence]}
`

var checkDay = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

func check(t *testing.T, policies, schema string) *policy.Problems {
	t.Helper()
	cat, err := catalog.Parse("catalog.yaml", []byte(checkCatalog))
	if err != nil {
		t.Fatal(err)
	}
	return policy.Check(policy.Source{Schema: schema, Files: []policy.File{{Name: "p.cedar", Text: policies}}}, cat, checkDay)
}

func TestCheck(t *testing.T) {
	// Every faulty policy stands beside a good one, so that the warning of no permit stays away.
	const good = "@id(\"good\") permit (principal is Agent, action, resource);\n"
	for _, tt := range []struct{ name, policies, want string }{
		{"nothing", `@id("x") @reason("closed") forbid (principal, action == Action::"pay", resource) when { resource.balance < 0 };`, ""},
		{"for any action", `@id("x") @reason("closed") forbid (principal, action, resource) when { resource.balance < 0 };`,
			"p.cedar:2:28: warning: this cannot be evaluated when an agent asks for a passport or to register a client, so that it may be denied: attribute `balance` on entity type `Agent` not found\n" +
				"\thint: name the actions or the types of resource that it is for\n"},
		{"for any action on a type", `@reason("closed") forbid (principal, action, resource) when { resource is Account && resource.balance < 0 };`, ""},
		{"for passports", `permit (principal is Agent, action == Action::"token.issue", resource) when { resource.class == "read" && context.observed.credential.age_days < 30 };`, ""},
		{"for whatever is done with capabilities", `permit (principal is Agent, action, resource is Capability) when { resource.class == "read" };`, ""},
		{"for passports, and mistaken", `permit (principal is Agent, action == Action::"token.issue", resource) when { resource.balance > 0 };`,
			"p.cedar:2:88: attribute `balance` on entity type `Capability` not found\n\thint: another value has an attribute of that name: compare what stands before it with the schema\n"},
		{"a missing semicolon", "permit (principal is Agent, action, resource)",
			"p.cedar:2:46: the policy ends where \";\" is expected\n\thint: every policy ends with a semicolon\n"},
		{"two parse errors", "permit (principal, action);\npermits (principal, action, resource);\n" + `@id("late") permit (principal is Agent, action, resource);`,
			"p.cedar:2:26: found \")\", expected \",\"\n" +
				"p.cedar:3:1: found \"permits\", expected permit or forbid\n\thint: a policy is annotations, then permit or forbid with (principal, action, resource), then when {...} and unless {...}\n"},
		{"a template", `permit (principal == ?principal, action, resource);`,
			"p.cedar:2:22: expected ident, found \"?\"\n\thint: templates are not supported; write the entity\n"},
		{"a string that does not end", "permit (principal, action, resource) when { \"a };\n",
			"p.cedar:2:45: literal not terminated\n"},
		{"an unknown annotation", `@ide("x") permit (principal is Agent, action, resource);`,
			"p.cedar:2:2: unknown annotation @ide\n\thint: did you mean \"id\"?\n"},
		{"an annotation beyond recognition", "\n  @severity(\"x\") permit (principal is Agent, action, resource);",
			"p.cedar:3:4: unknown annotation @severity\n\thint: one of @id, @title, @mode, @not_before, @expires, @remedy, @approvers, @assurance, @obligations, @reason\n"},
		{"bad values", "@id(\"x\") @mode(\"off\") @not_before(\"tomorrow\")\n@obligations(\"tel\") @reason(\"clsed\")\npermit (principal is Agent, action, resource);",
			"p.cedar:2:11: unknown mode \"off\"\n\thint: one of enforce, shadow, disabled\n" +
				"p.cedar:2:24: @not_before is not an RFC 3339 time: \"tomorrow\"\n\thint: write a date with time and zone, as in \"2026-01-31T18:00:00+01:00\"\n" +
				"p.cedar:3:2: unknown obligation \"tel\"\n\thint: declare it in the catalog\n" +
				"p.cedar:3:22: unknown reason \"clsed\"\n\thint: declare it in the catalog\n"},
		{"a remedy of a permit", `@id("x") @remedy("approval") permit (principal is Agent, action, resource);`,
			"p.cedar:2:11: @remedy on a permit\n\thint: a permit needs no remedy; put the condition into a forbid of its own\n"},
		{"an id given twice", `@id("good") permit (principal is Agent, action, resource);`,
			"p.cedar:2:2: policy id \"good\" is already taken at p.cedar:1\n\thint: ids name policies in the record, so that each must be given once\n"},
		{"a forbid without a reason", `@id("x") forbid (principal, action == Action::"pay", resource) when { resource.balance < 0 };`,
			"p.cedar:2:10: warning: forbid without @reason\n\thint: add @reason(\"...\") with a reason of the catalog, so that the refused learn why\n"},
		{"an expired policy", `@id("x") @expires("2026-11-22T00:00:00Z") permit (principal is Agent, action, resource);`,
			"p.cedar:2:11: warning: the policy expired at 2026-11-22T00:00:00Z\n\thint: remove the policy or move the date\n"},
		{"an unknown action", `permit (principal, action == Action::"pai", resource);`,
			"p.cedar:2:38: unrecognized action `Action::\"pai\"`\n\thint: did you mean \"pay\"?\n"},
		{"an unknown type", `permit (principal, action, resource is Acount);`,
			"p.cedar:2:40: unrecognized entity type `Acount`\n\thint: did you mean \"Account\"?\n"},
		{"an action that applies to no such thing", `permit (principal, action == Action::"pay", resource is Card);`,
			"p.cedar:2:1: no action applies to such a principal and resource: the policy can never fire\n\thint: compare the scope with appliesTo of the actions in the schema\n"},
		{"an unknown attribute", "permit (principal, action, resource)\nwhen { resource.balance > 0 &&\n       context.args.amont.lessThan(decimal(\"3.0\")) };",
			"p.cedar:4:21: attribute `amont` in context for Action::\"pay\" not found\n\thint: did you mean \"amount\"?\n"},
		{"an attribute that may be absent", `permit (principal, action, resource) when { resource.balance > 0 } when { resource.status == "open" };`,
			"p.cedar:2:84: unable to guarantee safety of access to optional attribute `status` on entity type `Account`\n\thint: the attribute may be absent: ask `... has status &&` before reading it\n"},
		{"an attribute asked for in the clause before", `permit (principal, action, resource) when { resource has status } when { resource.status == "open" };`, ""},
		{"a decimal compared with a number", `permit (principal, action, resource) when { context.args.amount < 3 };`,
			"p.cedar:2:38: unexpected type: expected datetime, or duration, or Long but saw decimal\n\thint: compare decimals with lessThan, lessThanOrEqual, greaterThan and greaterThanOrEqual\n"},
		{"two kinds compared", `permit (principal, action, resource) when { context.observed.time.at < resource.balance };`,
			"p.cedar:2:38: the types Long and datetime are not compatible\n"},
		{"a text that is no decimal", `permit (principal, action, resource) when { context.args.amount == decimal("lots") };`,
			"p.cedar:2:76: error during extension function argument validation: failed to parse as a decimal value: `\"lots\"`\n"},
		{"several faults of one policy", `permit (principal is Agnt, action, resource) when { resource.a == 1 } unless { resource.b == 2 };`,
			"p.cedar:2:22: unrecognized entity type `Agnt`\n\thint: did you mean \"Agent\"?\n"},
		{"faults of two clauses", "permit (principal, action, resource)\nwhen { resource.sttus == 1 }\nunless { resource.balnce == 2 };",
			"p.cedar:3:17: attribute `sttus` on entity type `Account` not found\n\thint: did you mean \"status\"?\n" +
				"p.cedar:4:19: attribute `balnce` on entity type `Account` not found\n\thint: did you mean \"balance\"?\n"},
		{"everything to everybody", `@id("x") permit (principal, action, resource) when { true };`,
			"p.cedar:2:10: warning: the policy permits everything to everybody that no forbid refuses\n\thint: name a principal, an action or a resource, or add a condition\n"},
		{"everything to everybody, disabled", `@id("x") @mode("disabled") permit (principal, action, resource);`, ""},
		{"everything to everybody, in the shadow", `@id("x") @mode("shadow") @reason("closed") forbid (principal, action, resource) unless { false };`,
			"p.cedar:2:44: warning: the policy forbids everything to everybody\n\thint: to stop everything for a while this serves; otherwise name a principal, an action or a resource, or add a condition\n"},
		{"a trial that is over", `@id("x") @mode("shadow") @expires("2026-11-23T00:00:00Z") permit (principal is Agent, action, resource);`,
			"p.cedar:2:27: warning: the policy expired at 2026-11-23T00:00:00Z\n\thint: its trial is over and nothing is recorded of it any more: enforce it, remove it, or move the date\n"},
		{"a forbid that silence escapes", `@reason("closed") forbid (principal, action == Action::"pay", resource) when { resource.balance > 1 && (context.claimed has purpose && context.claimed.purpose == "x") };`,
			"p.cedar:2:19: warning: a caller that does not state \"purpose\" escapes this forbid\n\thint: forbid it unless the claim is there and good: `unless { context.claimed has purpose && ... }`, or require the signal in the catalog if it is one\n"},
		{"a forbid that silence does not escape", `@reason("closed") forbid (principal, action, resource) unless { context.claimed has purpose && context.claimed.purpose == "x" };`, ""},
		{"a claim that the catalog requires", `@reason("closed") forbid (principal, action, resource) when { context.claimed has confidence && context.claimed.confidence.lessThan(decimal("0.5")) };`, ""},
		{"conditions that never hold", `permit (principal, action, resource) when { resource is Card };`,
			"p.cedar:2:38: warning: these conditions can never hold: the policy never fires\n"},
		{"after a comment and letters beyond ASCII", "// é\n/* ä\n */ permit (principal, action, resource) when { \"äöü\" == resource.balence };",
			"p.cedar:4:67: attribute `balence` on entity type `Account` not found\n\thint: did you mean \"balance\"?\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ps := check(t, good+tt.policies, checkSchema)
			if d := cmp.Diff(tt.want, ps.String()); d != "" {
				t.Errorf("problems of\n%s\n(-want +got):\n%s", tt.policies, d)
			}
		})
	}
}

func TestCheckNothingPermitted(t *testing.T) {
	ps := check(t, `@reason("closed") forbid (principal is Agent, action, resource);`, checkSchema)
	if got, want := ps.String(), "warning: no policy permits anything\n\thint: what no policy permits is denied\n"; got != want {
		t.Errorf("problems = %q, want %q", got, want)
	}
	if ps.Err() != nil {
		t.Errorf("Err = %v, want warnings only", ps.Err())
	}
}

// TestCompileTellsAll: the error of Compile is what Check finds, errors of all files at once.
func TestCompileTellsAll(t *testing.T) {
	src := policy.Source{Schema: checkSchema, Files: []policy.File{
		{Name: "b.cedar", Text: "permit (principal, action, resource) when { resource.x };\npermit (;"},
		{Name: "a.cedar", Text: "@mood(\"x\") forbid (principal, action, resource);"},
	}}
	_, err := policy.Compile(src, nil)
	var ps *policy.Problems
	if !errors.As(err, &ps) || !errors.Is(err, authz.ErrInvalid) {
		t.Fatalf("Compile = %v, want *Problems of authz.ErrInvalid", err)
	}
	var got []string
	for _, p := range ps.Errors() {
		got = append(got, fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column))
	}
	want := []string{"b.cedar:1:54", "b.cedar:2:9", "a.cedar:1:2"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("places (-want +got):\n%s\n%v", d, err)
	}
	if len(ps.Warnings()) != 1 {
		t.Errorf("warnings = %v, want the forbid without a reason", ps.Warnings())
	}

	text, err := json.Marshal(ps)
	if err != nil {
		t.Fatal(err)
	}
	var back policy.Problems
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(*ps, back); d != "" {
		t.Errorf("through JSON (-want +got):\n%s", d)
	}
	if !strings.Contains(string(text), `"severity":"warning"`) || !strings.Contains(string(text), `"severity":"error"`) {
		t.Errorf("JSON names no severities: %s", text)
	}
}

// FuzzCheck feeds policies and schemas; every problem must stand in the text.
func FuzzCheck(f *testing.F) {
	f.Add("@id(\"x\") permit (principal, action, resource) when { resource.status == \"a\" && 1 < 2 };", checkSchema)
	f.Add("forbid (principal is Agent, action in [Action::\"pay\"], resource) unless { [1, {a: \"\\u{e9}\"}].isEmpty() };", "entity A;")
	f.Add("/* */ permit (", "action a appliesTo { principal: Agent, resource: Agent, context: { observed: Observed } };")
	cat, err := catalog.Parse("catalog.yaml", []byte(checkCatalog))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text, schema string) {
		src := policy.Source{Schema: schema, Files: []policy.File{{Name: "p.cedar", Text: text}}}
		ps := policy.Check(src, cat, checkDay)
		for _, p := range ps.List {
			if p.Message == "" || p.Line < 0 || p.Column < 0 || p.Line == 0 && p.Column > 0 {
				t.Errorf("problem %+v", p)
			}
			if p.File == "p.cedar" && p.Line > strings.Count(text, "\n")+1 {
				t.Errorf("problem %+v beyond the end", p)
			}
		}
		if _, err := policy.Compile(src, cat); (err == nil) != (ps.Err() == nil) {
			t.Errorf("Compile = %v, Check = %v", err, ps)
		}
	})
}
