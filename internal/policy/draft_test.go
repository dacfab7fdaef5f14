package policy_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/policy"
)

const draftCatalog = `
zone: Europe/Berlin
schedules: {office: {windows: [{days: mon-fri, from: "08:00", to: "18:00"}]}}
capabilities: {reading: {title: Read things, class: read, actions: [read], limits: {schedules: [office]}}}
reasons: {closed: {message: It is closed.}}
obligations: {tell: {type: notification, properties: {to: owner, body: done}}}
approvers: {board: {members: [{type: user, id: ann}]}}
approvals: {default: board, routes: {board: {title: The board, approvers: [board]}}}
entities: [{type: user, id: ann}]
`

const draftSchema = `
entity Doc { owner?: User, size: Long };
action "looking";
action read in ["looking"] appliesTo { principal: [Agent, User], resource: Doc, context: { observed: Observed, args: { page?: Long } } };
`

func draftOf(policies ...string) policy.Source {
	src := policy.Source{Schema: draftSchema}
	for i, text := range policies {
		src.Files = append(src.Files, policy.File{Name: string(rune('a'+i)) + ".cedar", Text: text})
	}
	return src
}

// A problem says where the word that it speaks of begins and ends.
func TestProblemsEnd(t *testing.T) {
	src := draftOf(`@id("ö") @reason("gone")
forbid (principal is Agent, action == Action::"raed", resource)
when { resource.siz > 3 && "é" == resource.owner };
permit principal;`)
	got := map[string]string{}
	for _, p := range policy.Check(src, parseCatalog(t, draftCatalog), time.Now()).List {
		text := src.Schema
		if p.File != "schema.cedarschema" {
			text = src.Files[0].Text
		}
		if p.Line > 0 && p.EndColumn > 0 {
			r := []rune(strings.Split(text, "\n")[p.Line-1])
			got[p.Message] = string(r[p.Column-1 : p.EndColumn-1])
		}
	}
	for part, want := range map[string]string{
		"unknown reason": "reason", "unrecognized action": `"raed"`, "principal": "principal",
	} {
		found := false
		for msg, word := range got {
			found = found || strings.Contains(msg, part) && word == want
		}
		if !found {
			t.Errorf("no problem of %q ends with %q: %q", part, want, got)
		}
	}
}

// One slip in a policy about many actions is told once.
func TestProblemsOfManyActions(t *testing.T) {
	src := draftOf(`@id("x") @reason("closed") forbid (principal, action, resource) when { context.observed.trust.rnk > 3 };`)
	src.Schema += `action a, b, c appliesTo { principal: [Agent], resource: Doc, context: { observed: Observed } };`
	list := policy.Check(src, parseCatalog(t, draftCatalog), time.Now()).Errors()
	if len(list) != 1 || !strings.Contains(list[0].Message, `Action::"a" not found, and likewise for 3 other actions`) || list[0].Hint != `did you mean "rank"?` {
		t.Errorf("problems: %+v", list)
	}
}

func TestVocabulary(t *testing.T) {
	set, err := policy.Compile(draftOf(`permit (principal, action, resource);`), parseCatalog(t, draftCatalog))
	if err != nil {
		t.Fatal(err)
	}
	v := set.Vocabulary()
	find := func(list []policy.Attribute, path ...string) (a policy.Attribute) {
		for _, name := range path {
			a = policy.Attribute{}
			for _, b := range list {
				if b.Name == name {
					a = b
				}
			}
			list = a.Attributes
		}
		return a
	}
	want := policy.Attribute{Name: "schedules", Type: "Set<String>", Doc: "names of the schedules that are open", Values: []policy.Word{{Value: "office"}}}
	if diff := cmp.Diff(want, find(v.Observed, "time", "schedules")); diff != "" {
		t.Errorf("observed.time.schedules (-want +got):\n%s", diff)
	}
	if a := find(v.Observed, "network", "ip"); !a.Optional || a.Type != "ipaddr" || a.Doc == "" {
		t.Errorf("observed.network.ip = %+v", a)
	}
	if a := find(v.Observed, "asks", "hour"); a.Type != "Long" || a.Doc != "in the last hour" {
		t.Errorf("observed.asks.hour = %+v", a)
	}
	if a := find(v.Observed, "grant", "within"); len(a.Values) != 1 || a.Values[0] != (policy.Word{Value: "reading", Doc: "Read things"}) {
		t.Errorf("observed.grant.within = %+v", a)
	}
	if a := find(v.Observed, "trust", "level"); len(a.Values) != 4 {
		t.Errorf("observed.trust.level = %+v", a)
	}
	for _, a := range v.Actions {
		switch a.Name {
		case "read":
			want := policy.ActionWord{
				Name: "read", Cedar: `Action::"read"`, Groups: []string{`Action::"looking"`}, Principals: []string{"Agent", "User"}, Resources: []string{"Doc"},
				Args: []policy.Attribute{{Name: "page", Type: "Long", Optional: true}},
			}
			if diff := cmp.Diff(want, a); diff != "" {
				t.Errorf("action read (-want +got):\n%s", diff)
			}
		case "looking":
			if !a.Group || a.Base {
				t.Errorf("action looking = %+v", a)
			}
		case "token.issue":
			if !a.Base || a.Group {
				t.Errorf("action token.issue = %+v", a)
			}
		}
	}
	for _, w := range v.Types {
		if w.Name == "User" && (len(w.IDs) != 1 || w.IDs[0] != "ann") || w.Name == "Doc" && len(w.Attributes) != 2 {
			t.Errorf("type %+v", w)
		}
	}
	values := map[string]int{"mode": 3, "remedy": 2, "reason": 1, "obligations": 1, "approvers": 1}
	for _, a := range v.Annotations {
		if len(a.Values) != values[a.Key] || a.Doc == "" || a.On == "" {
			t.Errorf("annotation %+v, want %d values", a, values[a.Key])
		}
	}
	if b := policy.BaseVocabulary(); len(b.Actions) != 2 || len(b.Observed) != len(v.Observed) || b.Truncated {
		t.Errorf("the base schema has %d actions and %d observed facts", len(b.Actions), len(b.Observed))
	}
}

// What policies can name never exceeds its bound, whatever the schema is.
func TestVocabularyIsBounded(t *testing.T) {
	src := draftOf(`permit (principal, action, resource);`)
	var b strings.Builder
	b.WriteString("type A = {")
	for i := range 300 {
		b.WriteString("a" + strings.Repeat("x", i+1) + ": Long,")
	}
	b.WriteString("}; type B = {")
	for i := range 200 {
		b.WriteString("b" + strings.Repeat("x", i+1) + ": A,")
	}
	b.WriteString("}; entity Big { b: B };")
	src.Schema += b.String()
	set, err := policy.Compile(src, parseCatalog(t, draftCatalog))
	if err != nil {
		t.Fatal(err)
	}
	if v := set.Vocabulary(); !v.Truncated || len(v.Actions) != 4 {
		t.Errorf("truncated %v, %d actions", v.Truncated, len(v.Actions))
	}
}

func TestCompare(t *testing.T) {
	before := policy.Texts{Source: draftOf(
		`@id("same") permit (principal, action, resource);
@id("moved") permit (principal, action, resource) when { context.observed.trust.rank > 1 };
@id("changed") @reason("closed") forbid (principal is Agent, action, resource) when { resource.size > 3 };
@id("gone") permit (principal, action, resource);`), Catalog: draftCatalog}
	after := policy.Texts{Source: draftOf(
		`@id("same") permit (principal, action, resource);
// A comment.
@id("changed") @mode("shadow") forbid (principal, action, resource) when { resource.size > 4 };`,
		`@id("moved") permit (principal,action,resource)
when { context.observed.trust.rank>1 };
@id("new") @title("New") permit (principal, action, resource);`),
		Catalog: strings.Replace(draftCatalog, "It is closed.", "We are closed.", 1) + "networks: {home: [10.0.0.0/8]}\n"}
	after.Source.Schema = strings.Replace(draftSchema, "page?: Long", "page?: Long, sort?: String", 1) + "entity Extra;"

	c, err := policy.Compare(before, after)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range c.Policies {
		got = append(got, string(p.Change)+" "+p.ID+" "+strings.Join(p.Parts, ","))
	}
	for _, p := range append(c.Schema, c.Catalog...) {
		got = append(got, string(p.Change)+" "+p.Section+" "+p.ID)
	}
	want := []string{
		"changed changed scope,conditions,@mode,@reason", "added new ", "removed gone ", "rewritten moved ",
		"changed action read", "added type Extra", "changed reasons closed", "added networks home",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if c.Same != 1 {
		t.Errorf("same = %d, want 1", c.Same)
	}
	if p := c.Policies[0]; p.Before.Line != 3 || p.After.Mode != "shadow" || !strings.HasPrefix(p.After.Text, `@id("changed")`) {
		t.Errorf("changed: %+v to %+v", p.Before, p.After)
	}
	if c, err := policy.Compare(before, before); err != nil || len(c.Policies)+len(c.Schema)+len(c.Catalog) != 0 || c.Same != 4 {
		t.Errorf("compared with itself: %+v, %v", c, err)
	}
	for _, bad := range []policy.Texts{
		{Source: draftOf(`permit (`)}, {Source: policy.Source{Schema: "entity"}}, {Catalog: "{"},
	} {
		if _, err := policy.Compare(before, bad); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("compared with %+v: %v, want authz.ErrInvalid", bad, err)
		}
	}
}

// Whatever the texts are, comparing them ends, and a text is the same as itself.
func FuzzCompare(f *testing.F) {
	f.Add(`@id("a") permit (principal, action, resource);`, `@id("a") forbid (principal, action, resource);`, draftCatalog)
	f.Add(`permit (principal, action, resource); permit (principal, action, resource);`, ``, `{}`)
	f.Add("permit (principal, action, resource) when { \"\\u{0}\" like \"*\\*\" };", `@title("x")`, "a: [1]")
	f.Fuzz(func(t *testing.T, a, b, cat string) {
		x, y := policy.Texts{Source: draftOf(a), Catalog: cat}, policy.Texts{Source: draftOf(b), Catalog: cat}
		if _, err := policy.Compare(x, y); err != nil && !errors.Is(err, authz.ErrInvalid) {
			t.Fatalf("Compare: %v, want authz.ErrInvalid", err)
		}
		if _, err := policy.Compile(x.Source, nil); err != nil {
			return // ids may be given twice
		}
		if c, err := policy.Compare(x, x); err == nil && len(c.Policies)+len(c.Schema)+len(c.Catalog) > 0 {
			t.Fatalf("differs from itself: %+v", c)
		}
	})
}

const draftCases = `
policies: ["nowhere.cedar"]
schema: nowhere.cedarschema
agents: {bot: {capabilities: [reading]}}
defaults: {request: {subject: "agent:bot", action: read, resource: {type: Doc, id: "1"}}}
cases:
  - {name: at noon, expect: allow}
  - {name: at night, facts.time: 2026-01-05T23:00:00+01:00, expect: allow}
`

// A draft judges cases, whatever policies they name.
func TestRunCasesOf(t *testing.T) {
	set, err := policy.Compile(draftOf(`@id("within") permit (principal, action, resource) when { context.observed.grant.within.contains("reading") };
@id("idle") permit (principal == User::"ann", action, resource);`), parseCatalog(t, draftCatalog+"types: {Doc: {request_properties: [size]}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	cases := strings.Replace(draftCases, `id: "1"`, `id: "1", properties: {size: 1}`, 1)
	for name, text := range map[string]string{"a.test.yaml": cases, "all.txtar": "-- x.cedar --\npermit (\n-- a.test.yaml --\n" + cases} {
		rep, err := policy.RunCasesOf(t.Context(), set, []policy.File{{Name: name, Text: text}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(rep.Cases) != 2 || !rep.Cases[0].Passed || rep.Cases[1].Passed || rep.Cases[1].Decision.Code != authz.CodeNoPermit {
			t.Errorf("%s: %v", name, rep)
		}
		if un := rep.Unfired(); len(un) != 1 || un[0].Policy != "idle" {
			t.Errorf("%s: unfired %+v", name, un)
		}
	}
	for name, text := range map[string]string{"a.test.yaml": "cases: [", "b.test.yaml": "cases: [1]", "c.txtar": cases, "d.test.yaml": "cases: [{request: {subject: \"agent:x\", action: read, resource: \"Doc:1\"}, expect: allow}]"} {
		if _, err := policy.RunCasesOf(t.Context(), set, []policy.File{{Name: name, Text: text}}); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: %v, want authz.ErrInvalid", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := policy.RunCasesOf(ctx, set, []policy.File{{Name: "a.test.yaml", Text: cases}}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// Whatever a file of cases says, judging it ends.
func FuzzRunCasesOf(f *testing.F) {
	set, err := policy.Compile(draftOf(`permit (principal, action, resource);`), parseCatalog(f, draftCatalog))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("a.test.yaml", draftCases)
	f.Add("a.txtar", "-- a.test.yaml --\n"+draftCases)
	f.Add("x", "-- a.test.json --\n{}")
	f.Fuzz(func(t *testing.T, name, text string) {
		if _, err := policy.RunCasesOf(t.Context(), set, []policy.File{{Name: name, Text: text}}); err != nil && !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("RunCasesOf: %v, want authz.ErrInvalid", err)
		}
	})
}
