package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
)

const askCatalog = `
approvers: {desk: {members: [{type: user, id: ann}]}}
approvals:
  asks: {session: 2}
  routes: {a: {approvers: [desk]}, b: {approvers: [desk]}, c: {approvers: [desk]}}
assurance:
  low: {bound: [dpop]}
  high: {person: true, acr: "urn:example:high", amr: [user, mfa]}
obligations: {tell: {type: notification, properties: {to: owner, body: It was done.}}}
`

func parseCatalog(t interface{ Fatal(...any) }, text string) *catalog.Catalog {
	c, err := catalog.Parse("catalog.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What a policy says of its remedies is checked with the rest.
func TestRemedyProblems(t *testing.T) {
	for _, tt := range []struct{ name, policies, want string }{
		{"an unknown route", `@id("x") @remedy("approval") @approvers("a,d") forbid (principal, action, resource);`,
			"p.cedar:1:31: unknown approval route \"d\"\n\thint: did you mean \"a\"?\n"},
		{"a route twice", `@id("x") @remedy("approval") @approvers("a, b, a") forbid (principal, action, resource);`,
			"p.cedar:1:31: the approval route \"a\" is named twice\n"},
		{"an empty name", `@id("x") @remedy("approval") @approvers("a,") forbid (principal, action, resource);`,
			"p.cedar:1:31: @approvers has an empty name\n\thint: separate the ids of routes by commas\n"},
		{"too many routes", `@id("x") @remedy("approval") @approvers("` + strings.Repeat("a,", 16) + `b") forbid (principal, action, resource);`,
			"p.cedar:1:31: @approvers names more than 16 routes\n"},
		{"approvers without the remedy", `@id("x") @approvers("a") forbid (principal, action, resource);`,
			"p.cedar:1:11: @approvers without @remedy(\"approval\")\n\thint: write @remedy(\"approval\") beside it, or leave it out\n"},
		{"approvers of a permit", `@id("x") @approvers("a") permit (principal, action, resource);`,
			"p.cedar:1:11: @approvers without @remedy(\"approval\")\n\thint: write @remedy(\"approval\") beside it, or leave it out\n"},
		{"approvers of the other remedy", `@id("x") @approvers("a") @remedy("step_up") @assurance("low") forbid (principal, action, resource);`,
			"p.cedar:1:11: @approvers without @remedy(\"approval\")\n\thint: write @remedy(\"approval\") beside it, or leave it out\n"},
		{"an unknown level", `@id("x") @remedy("step_up") @assurance("hihg") forbid (principal, action, resource);`,
			"p.cedar:1:30: unknown level of assurance \"hihg\"\n\thint: did you mean \"high\"?\n"},
		{"assurance without the remedy", `@id("x") @remedy("approval") @assurance("low") @approvers("a") forbid (principal, action, resource);`,
			"p.cedar:1:31: @assurance without @remedy(\"step_up\")\n\thint: write @remedy(\"step_up\") beside it, or leave it out\n"},
		{"an unknown obligation of a forbid", `@id("x") @obligations("tel") forbid (principal, action, resource);`,
			"p.cedar:1:11: unknown obligation \"tel\"\n\thint: declare it in the catalog\n"},
	} {
		cat := parseCatalog(t, askCatalog)
		_, err := policy.Compile(*source(tt.policies), cat)
		ps, ok := err.(*policy.Problems)
		if !ok {
			t.Errorf("%s: Compile error = %v, want problems", tt.name, err)
			continue
		}
		got := (&policy.Problems{List: ps.Errors()}).String()
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: problems of %s (-want +got):\n%s", tt.name, tt.policies, d)
		}
	}
}

// A check warns of a remedy to which nothing leads, and of no other.
func TestRemedyWarnings(t *testing.T) {
	const routes = "  routes: {a: {approvers: [desk]}"
	for _, tt := range []struct{ name, policies, catalog, want string }{
		{"no route", `@remedy("approval")`, askCatalog, "nobody can be asked to lift this: the policy names no approvers, and the catalog no default route"},
		{"no route, in shadow", `@mode("shadow") @remedy("approval")`, askCatalog, "nobody can be asked"},
		{"no route, disabled", `@mode("disabled") @remedy("approval")`, askCatalog, ""},
		{"a route of its own", `@remedy("approval") @approvers("b")`, askCatalog, ""},
		{"a default route", `@remedy("approval")`, strings.Replace(askCatalog, routes, "  default: a\n"+routes, 1), ""},
		{"no level", `@remedy("step_up")`, askCatalog, "nothing lifts this: the policy names no level of assurance to step up to"},
		{"a level", `@remedy("step_up") @assurance("low")`, askCatalog, ""},
	} {
		src := source(`permit (principal is Agent, action, resource); ` + tt.policies + ` forbid (principal, action == Action::"read", resource);`)
		var got []string
		for _, p := range policy.Check(*src, parseCatalog(t, tt.catalog), noon).Warnings() {
			if p.Message != "forbid without @reason" {
				got = append(got, p.Message)
			}
		}
		if len(got) > 1 || strings.Join(got, "\n") != tt.want && (tt.want == "" || !strings.HasPrefix(strings.Join(got, "\n"), tt.want)) {
			t.Errorf("%s: warnings %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The obligation to step up is the one of the AuthZEN obligations profile.
func TestStepUpObligation(t *testing.T) {
	set := compile(t, *source(`
permit (principal, action, resource);
@remedy("step_up") @assurance("high") forbid (principal, action, resource == Doc::"high");
@remedy("step_up") @assurance("low") forbid (principal, action, resource == Doc::"low");
@remedy("step_up") forbid (principal, action, resource == Doc::"nowhere");
@remedy("step_up") @assurance("low") forbid (principal, action, resource == Doc::"nowhere");
`), askCatalog)
	for doc, want := range map[string]string{
		"high": `step-up step-up:high {"acr_value":"urn:example:high","amr_values":["mfa","user"]}`,
		"low":  `step-up step-up:low {"acr_value":"urn:safeconduct:assurance:low"}`,
		// A step that leads nowhere is asked of nobody.
		"nowhere": "",
	} {
		d := set.Evaluate(userReads(doc), &authz.Facts{At: noon})
		got := ""
		for _, o := range d.Obligations {
			got += fmt.Sprintf("%s %s %s", o.ProfileType(), o.ID, o.Properties)
		}
		if d.Effect != authz.StepUp || got != want {
			t.Errorf("%s: %v with obligations %q, want step_up with %q", doc, d.Effect, got, want)
		}
		if changes := set.Explain(userReads(doc), &authz.Facts{At: noon}, &d); (len(changes) == 1) != (want != "") {
			t.Errorf("%s: Explain = %v, want a step only if one leads to it", doc, changes)
		}
	}
}

// Where one forbid cannot be lifted by anybody, nobody is asked about the others.
func TestNobodyIsAskedInVain(t *testing.T) {
	set := compile(t, *source(`
permit (principal, action, resource);
@id("a") @remedy("approval") @approvers("a") forbid (principal, action, resource);
@id("dead") @remedy("approval") forbid (principal, action, resource == Doc::"nobody");
@id("level") @remedy("step_up") forbid (principal, action, resource == Doc::"nowhere");
`), askCatalog)
	for doc, dead := range map[string]string{"nobody": "dead", "nowhere": "level", "other": ""} {
		req, f := userReads(doc), &authz.Facts{At: noon, Asks: authz.Asks{Session: 1}}
		d := set.Evaluate(req, f)
		if d.Effect != authz.RequireApproval || (d.Routes == nil) != (dead != "") || strings.Contains(d.Detail, dead) != true {
			t.Errorf("%s: %v, routes %v, detail %q; want require_approval with routes unless %q is in the way", doc, d.Effect, d.Routes, d.Detail, dead)
		}
		if changes := set.Explain(req, f, &d); (changes == nil) != (dead != "") {
			t.Errorf("%s: Explain = %v, want nothing that is in vain", doc, changes)
		}
		f.Approval = &authz.Approval{Routes: []string{"a", "b", "c", ""}}
		if d := set.Evaluate(req, f); d.Allowed() != (dead == "") || d.Lifted != d.Allowed() {
			t.Errorf("%s, approved: %v, lifted %v; want it allowed unless %q is in the way", doc, d.Effect, d.Lifted, dead)
		}
	}
}

// The trace says what would lift a policy, and whether it was.
func TestTraceRemedies(t *testing.T) {
	set := compile(t, *source(`
@id("p") permit (principal, action, resource);
@id("a") @remedy("approval") @approvers("b,a") forbid (principal, action, resource);
@id("s") @remedy("step_up") @assurance("low") forbid (principal, action, resource);
@id("n") @remedy("approval") @approvers("a") forbid (principal, action, resource) when { context.observed.risk.rank > 2 };
`), askCatalog)
	f := &authz.Facts{At: noon, Risk: authz.Risk{Level: "low"}, Approval: &authz.Approval{Routes: []string{"a", "b"}}}
	got := map[string]string{}
	for _, tr := range set.Trace(userReads("d"), f) {
		got[tr.Policy] = fmt.Sprint(tr.Outcome, tr.Routes, tr.Level, tr.Lifted)
	}
	want := map[string]string{"p": "satisfied[]false", "a": "satisfied[a b]true", "s": "satisfied[]lowfalse", "n": "unsatisfied[a]false"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Trace (-want +got):\n%s", diff)
	}
}

// An ask goes by so many routes; where it would need more, none is offered.
func TestMostRoutes(t *testing.T) {
	var routes, policies strings.Builder
	for i := range 17 {
		fmt.Fprintf(&routes, "r%d: {approvers: [desk]}, ", i)
		doc := "most"
		if i == 16 {
			doc = "more"
		}
		fmt.Fprintf(&policies, "@remedy(\"approval\") @approvers(\"r%d\") forbid (principal, action, resource) when { resource == Doc::%q || resource == Doc::\"more\" };\n", i, doc)
	}
	set := compile(t, *source("permit (principal, action, resource);\n" + policies.String()),
		"approvers: {desk: {members: [{type: user, id: ann}]}}\napprovals: {routes: {"+routes.String()+"}}\n")
	for doc, want := range map[string]int{"most": 16, "more": 0} {
		d := set.Evaluate(userReads(doc), &authz.Facts{At: noon})
		if d.Effect != authz.RequireApproval || len(d.Routes) != want || strings.Contains(d.Detail, "routes") != (want == 0) {
			t.Errorf("%s: %v by %d routes, detail %q; want require_approval by %d", doc, d.Effect, len(d.Routes), d.Detail, want)
		}
	}
}

// An approval holds for the act that was approved: what is proposed to do instead is judged without it.
func TestNoProposalRestsOnAnApproval(t *testing.T) {
	set := payments(t, `@id("ask") @reason("large-sum") @remedy("approval") forbid (principal is Agent, action == Action::"pay", resource) when { context.args.amount.greaterThan(decimal("10.0")) };`)
	p := pay(set)
	p.says(`{"confidence":0.5}`)
	p.facts.Approval = &authz.Approval{Routes: []string{"finance"}}
	d := set.EvaluateAll(&p.req, &p.facts)
	if d.Effect != authz.Deny {
		t.Fatalf("Evaluate = %v %s, want deny", d.Effect, d.Code)
	}
	want := []string{"agent raise claimed.confidence 0.8", "person approve"}
	if got := brief(set.Explain(&p.req, &p.facts, &d)); !slices.Equal(got, want) {
		t.Errorf("Explain = %q, want %q", got, want)
	}
}

// For any policies: an act is allowed if and only if all forbids that fire are lifted; it is lifted if and
// only if it would not be allowed without the approval; more routes never refuse; and what is asked for
// suffices.
func TestRemediesSuffice(t *testing.T) {
	routes, levels := []string{"a", "b", "c"}, []string{"high", "low"}
	allowed, lifted, asked := 0, 0, 0
	check := func(t *rapid.T) {
		var text strings.Builder
		text.WriteString("@id(\"all\") permit (principal, action, resource);\n")
		type forbid struct {
			routes []string
			level  string
		}
		var forbids []forbid
		for i := range rapid.IntRange(0, 4).Draw(t, "forbids") {
			doc := rapid.SampledFrom([]string{"one", "other"}).Draw(t, "doc")
			var f forbid
			switch rapid.IntRange(0, 9).Draw(t, "remedy") {
			case 0:
				fmt.Fprintf(&text, "@id(\"f%d\") forbid (principal, action, resource == Doc::%q);\n", i, doc)
			case 1:
				fmt.Fprintf(&text, "@id(\"f%d\") @remedy(\"approval\") forbid (principal, action, resource == Doc::%q);\n", i, doc)
			case 2, 3, 4:
				f.level = rapid.SampledFrom(levels).Draw(t, "level")
				fmt.Fprintf(&text, "@id(\"f%d\") @remedy(\"step_up\") @assurance(%q) forbid (principal, action, resource == Doc::%q);\n", i, f.level, doc)
			default:
				f.routes = rapid.SliceOfNDistinct(rapid.SampledFrom(routes), 1, 2, rapid.ID).Draw(t, "routes")
				fmt.Fprintf(&text, "@id(\"f%d\") @remedy(\"approval\") @approvers(%q) forbid (principal, action, resource == Doc::%q);\n", i, strings.Join(f.routes, ","), doc)
			}
			if doc == "one" {
				forbids = append(forbids, f)
			}
		}
		set, err := policy.Compile(*source(text.String()), parseCatalog(t, strings.Replace(askCatalog, "asks: {session: 2}", "asks: {}", 1)))
		if err != nil {
			t.Fatal(err)
		}
		facts := authz.Facts{At: noon, Assured: rapid.SliceOfDistinct(rapid.SampledFrom(levels), rapid.ID).Draw(t, "assured")}
		gone := rapid.SliceOfDistinct(rapid.SampledFrom(routes), rapid.ID).Draw(t, "gone")
		open := func(gone []string) (left int) {
			for _, f := range forbids {
				byRoutes := len(f.routes) > 0 && !slices.ContainsFunc(f.routes, func(r string) bool { return !slices.Contains(gone, r) })
				if !byRoutes && (f.level == "" || !slices.Contains(facts.Assured, f.level)) {
					left++
				}
			}
			return left
		}
		judge := func(gone []string) authz.Decision {
			f := facts
			if gone != nil {
				f.Approval = &authz.Approval{ID: "x", Routes: gone}
			}
			return set.EvaluateAll(userReads("one"), &f)
		}
		d, bare := judge(gone), judge(nil)
		if d.Allowed() != (open(gone) == 0) || bare.Allowed() != (open(nil) == 0) {
			t.Fatalf("approved by %v, assured %v: %v, without approval %v\n%s", gone, facts.Assured, d.Effect, bare.Effect, text.String())
		}
		if d.Lifted != (d.Allowed() && !bare.Allowed()) || bare.Lifted {
			t.Fatalf("approved by %v, assured %v: lifted %v, without approval %v\n%s", gone, facts.Assured, d.Lifted, bare.Lifted, text.String())
		}
		if all := judge(routes); d.Allowed() && !all.Allowed() {
			t.Fatalf("approved by %v it is allowed, by all it is %v\n%s", gone, all.Effect, text.String())
		}
		if len(d.Routes) > 0 || d.Effect == authz.StepUp { // then everything that is asked for suffices
			asked++
			f := facts
			f.Assured = slices.Clone(f.Assured)
			for _, o := range d.Obligations {
				f.Assured = append(f.Assured, strings.TrimPrefix(o.ID, "step-up:"))
			}
			f.Approval = &authz.Approval{ID: "x", Routes: append(slices.Clone(gone), d.Routes...)}
			if then := set.EvaluateAll(userReads("one"), &f); !then.Allowed() {
				t.Fatalf("approved by %v and assured %v as it was asked for: %v\n%s", f.Approval.Routes, f.Assured, then.Effect, text.String())
			}
		}
		if d.Allowed() {
			allowed++
		}
		if d.Lifted {
			lifted++
		}
	}
	rapid.Check(t, check)
	if !testing.Short() && (allowed == 0 || lifted == 0 || asked == 0) {
		t.Errorf("%d were allowed, %d because of an approval, for %d something could be asked; want some of each", allowed, lifted, asked)
	}
}

// Approvals, levels and asks are facts like others: never answered from memory of other ones.
func TestAskFactsAreNotConfused(t *testing.T) {
	set := compile(t, *source(`
permit (principal, action, resource) when {
  context.observed.approvals == ["a"] && context.observed.assurance == ["low"] &&
  context.observed.asks.session == 1 && context.observed.asks.hour == 2 && context.observed.asks.pending == 3 };
`), askCatalog)
	good := func() *authz.Facts {
		return &authz.Facts{At: noon, Approval: &authz.Approval{Routes: []string{"a"}}, Assured: []string{"low"}, Asks: authz.Asks{Session: 1, Hour: 2, Pending: 3}}
	}
	for what, spoil := range map[string]func(*authz.Facts){
		"the approval":  func(f *authz.Facts) { f.Approval = nil },
		"its routes":    func(f *authz.Facts) { f.Approval = &authz.Approval{Routes: []string{"a", "b"}} },
		"another route": func(f *authz.Facts) { f.Approval = &authz.Approval{Routes: []string{"b"}} },
		"the level":     func(f *authz.Facts) { f.Assured = []string{"high"} },
		"no level":      func(f *authz.Facts) { f.Assured = nil },
		"session":       func(f *authz.Facts) { f.Asks.Session++ },
		"hour":          func(f *authz.Facts) { f.Asks.Hour++ },
		"pending":       func(f *authz.Facts) { f.Asks.Pending++ },
	} {
		if d := set.Evaluate(userReads("d"), good()); !d.Allowed() {
			t.Fatalf("before %s is spoiled: %v, %s", what, d.Effect, d.Detail)
		}
		f := good()
		spoil(f)
		if d := set.Evaluate(userReads("d"), f); d.Allowed() {
			t.Errorf("allowed although %s is spoiled", what)
		}
	}
}

// The refusal by the budget says which bound it is, and what the agent can do about it.
func TestAskBudget(t *testing.T) {
	set := compile(t, *source(`permit (principal, action, resource); @remedy("approval") @approvers("a") forbid (principal, action, resource);`), askCatalog)
	f := &authz.Facts{At: noon, Asks: authz.Asks{Session: 2, Hour: 1000}}
	d := set.EvaluateAll(userReads("d"), f)
	want := []authz.Reason{{Code: "ask_budget", Message: "A person could approve this, but enough has been asked in this session."}}
	if d.Code != authz.CodeAskBudget || d.Detail != "asked 2 of 2 (asks.session)" || len(d.Fired) == 0 {
		t.Errorf("Evaluate = %s, %q, fired %v; want ask_budget, the bound, and what fired", d.Code, d.Detail, d.Fired)
	}
	if diff := cmp.Diff(want, d.Reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	if changes := set.Explain(userReads("d"), f, &d); changes != nil {
		t.Errorf("Explain = %v, want nothing", changes)
	}
}
