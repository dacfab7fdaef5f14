package policy_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
)

func compile(t testing.TB, src policy.Source, cat string) *policy.Set {
	t.Helper()
	c, err := catalog.Parse("catalog.yaml", []byte(cat))
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Compile(src, c)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func userReads(id string) *authz.Request {
	return &authz.Request{
		Subject:  authz.Entity{Ref: authz.Ref{Type: "user", ID: "ann"}},
		Action:   authz.Action{Name: "read"},
		Resource: authz.Entity{Ref: authz.Ref{Type: "Doc", ID: id}},
	}
}

// A remedy that has been applied lifts the forbids that name it, and no others.
func TestAppliedRemedies(t *testing.T) {
	set := compile(t, *source(`
@obligations("tell") permit (principal, action, resource);
@id("a") @remedy("approval") forbid (principal, action, resource in Doc::"both");
@id("s") @remedy("step_up") forbid (principal, action, resource in Doc::"both");
@id("x") @remedy("approval") forbid (principal, action, resource == Doc::"bar");
@id("y") forbid (principal, action, resource == Doc::"bar");
`), "obligations: {tell: {type: notification, properties: {to: owner, body: It was done.}}}\n")
	for _, c := range []struct {
		doc      string
		applied  []string
		effect   authz.Effect
		remedies []string
	}{
		{"both", nil, authz.RequireApproval, []string{"approval", "step_up"}},
		{"both", []string{"approval"}, authz.StepUp, []string{"step_up"}},
		{"both", []string{"step_up"}, authz.RequireApproval, []string{"approval"}},
		{"both", []string{"approval", "step_up"}, authz.Allow, nil},
		{"bar", []string{"approval", "step_up"}, authz.Deny, nil},
		{"other", nil, authz.Allow, nil},
	} {
		d := set.EvaluateApplied(userReads(c.doc), &authz.Facts{At: noon}, c.applied...)
		if d.Effect != c.effect || !slices.Equal(d.Remedies, c.remedies) || (len(d.Obligations) == 1) != (c.effect == authz.Allow) {
			t.Errorf("%s with %v: %v, remedies %v, obligations %v; want %v, %v, and obligations only if allowed", c.doc, c.applied, d.Effect, d.Remedies, d.Obligations, c.effect, c.remedies)
		}
		if c.doc == "both" && len(d.Fired) != 3 {
			t.Errorf("%s with %v: fired %v, want also the forbids that were lifted", c.doc, c.applied, d.Fired)
		}
	}
}

// Without a time nothing is judged: dates of policies could not be.
func TestEvaluateWithoutTime(t *testing.T) {
	set := compile(t, *source(`permit (principal, action, resource);`), "{}\n")
	if d := set.Evaluate(userReads("d"), &authz.Facts{}); d.Effect != authz.Deny || d.Code != authz.CodeSignalMissing {
		t.Errorf("Evaluate without a time = %v, %s; want deny, signal_missing", d.Effect, d.Code)
	}
}

func TestAgentMustBeTheActingOne(t *testing.T) {
	set := compile(t, *source(`permit (principal, action, resource);`), "{}\n")
	req := userReads("d")
	req.Subject.Ref = authz.Ref{Type: "agent", ID: "bot"}
	for what, agent := range map[string]*authz.Agent{"no agent": nil, "another agent": {ID: "other"}} {
		if d := set.Evaluate(req, &authz.Facts{At: noon, Agent: agent}); d.Effect != authz.Deny || d.Code != authz.CodeAgentUnknown {
			t.Errorf("Evaluate with %s = %v, %s; want deny, agent_unknown", what, d.Effect, d.Code)
		}
	}
}

// What repeats is remembered by its content: a fact that changes is never answered from memory.
func TestFactsAreNotConfused(t *testing.T) {
	set := compile(t, *source(`
permit (principal, action, resource) when {
  context.observed.time.minute == 1 && context.observed.data.labels.contains("a") &&
  context.observed.grant.within.contains("b") && context.observed.risk.score < 5 && context.observed.trust.score.greaterThan(decimal("0.5")) &&
  !context.observed.provenance.known && !(context.observed has session) && context.observed.time.schedules.contains("c") };
`), "{}\n")
	good := func() (*authz.Request, *authz.Facts) {
		return userReads("d"), &authz.Facts{
			At: noon.Add(time.Minute), Labels: []string{"a"}, Grant: authz.Grant{Within: []string{"b"}},
			Trust: authz.Trust{Level: "high", Score: 0.6}, Risk: authz.Risk{Level: "low", Score: 4}, Schedules: []string{"c"},
		}
	}
	for what, spoil := range map[string]func(*authz.Request, *authz.Facts){
		"minute":     func(_ *authz.Request, f *authz.Facts) { f.At = noon.Add(2 * time.Minute) },
		"zone":       func(_ *authz.Request, f *authz.Facts) { f.Zone = time.FixedZone("odd", 17*60) },
		"labels":     func(_ *authz.Request, f *authz.Facts) { f.Labels = []string{"b"} },
		"within":     func(_ *authz.Request, f *authz.Facts) { f.Grant.Within, f.Grant.Exceeded = nil, []string{"b"} },
		"score":      func(_ *authz.Request, f *authz.Facts) { f.Risk.Score = 5 },
		"trust":      func(_ *authz.Request, f *authz.Facts) { f.Trust.Score = 0.5 },
		"provenance": func(r *authz.Request, _ *authz.Facts) { r.Observed.Provenance = &authz.Provenance{} },
		"session":    func(r *authz.Request, _ *authz.Facts) { r.Observed.Session = "s" },
		"schedules":  func(_ *authz.Request, f *authz.Facts) { f.Schedules = nil },
	} {
		req, f := good()
		if d := set.Evaluate(req, f); !d.Allowed() {
			t.Fatalf("before %s is spoiled: %v, %s", what, d.Effect, d.Detail)
		}
		spoil(req, f)
		if d := set.Evaluate(req, f); d.Allowed() {
			t.Errorf("allowed although %s is spoiled", what)
		}
	}
}

// Problems of the schema, the annotations and the catalog, each found with the others.
func TestCompileProblems(t *testing.T) {
	for _, c := range []struct{ schema, policies, catalog, want string }{
		{`entity Agent;`, ``, ``, "declared by the base schema"},
		{`entity agent;`, ``, ``, "registered agents"},
		{`entity D; action a appliesTo { principal: User, resource: D };`, ``, ``, "observed: Observed"},
		{`entity D; action a appliesTo { principal: User, resource: D, context: { observed?: Observed } };`, ``, ``, "observed: Observed"},
		{`entity D; action a appliesTo { principal: User, resource: D, context: { observed: { time: Long } } };`, ``, ``, "observed: Observed"},
		{`entity D; action a appliesTo { principal: User, resource: D, context: { observed: Observed, more: Long } };`, ``, ``, "nobody fills in"},
		{`entity D; action a appliesTo { principal: User, resource: D, context: { observed: Observed, args: Long } };`, ``, ``, "not a record"},
		{librarySchema, `@owner("x") permit (principal, action, resource);`, ``, "unknown annotation @owner"},
		{librarySchema, `@mode("off") permit (principal, action, resource);`, ``, "unknown mode"},
		{librarySchema, `@mode permit (principal, action, resource);`, ``, "has no value"},
		{librarySchema, `@expires("2026-01-01") permit (principal, action, resource);`, ``, "RFC 3339"},
		{librarySchema, `@not_before("2026-01-01T00:00:00Z") @expires("2026-01-01T00:00:00+00:00") permit (principal, action, resource);`, ``, "not after"},
		{librarySchema, `@remedy("approval") permit (principal, action, resource);`, ``, "@remedy on a permit"},
		{librarySchema, `@remedy("prayer") forbid (principal, action, resource);`, ``, "unknown remedy"},
		{librarySchema, `@obligations("tell") permit (principal, action, resource);`, ``, "unknown obligation"},
		{librarySchema, `@reason("x") forbid (principal, action, resource);`, ``, "unknown reason"},
		{librarySchema, `@id("x") permit (principal, action, resource); @id("x") permit (principal, action, resource);`, ``, "already taken"},
		{librarySchema, `permit (principal, action, resource) when { context.observed.confidence.lessThan(decimal("0.5")) };`, ``, "optional attribute"},
		{librarySchema, ``, "types: {Doc: {request_properties: [size]}}", "no attribute"},
		{librarySchema, ``, "entities: [{type: Doc, id: x, parents: [{type: user, id: u}]}, {type: user, id: u}]", "cannot be in"},
		{librarySchema, "permit (principal, action, resource) when { " + strings.Repeat("!", 100_000) + "true };", ``, "too large or nested too deeply"},
		{librarySchema, "permit (principal, action, resource) when { " + strings.Repeat("(", 60_000), ``, "too large or nested too deeply"},
		{librarySchema, "permit (principal, action, resource) when { true" + strings.Repeat(" && context.observed has session", 200) + "};", ``, "too large or nested too deeply"},
		{librarySchema, "permit (principal, action, resource); // \r forbid (principal, action, resource);", ``, "carriage return"},
		{billion(40), ``, ``, "too large when"},
		{"entity X { a: " + strings.Repeat("Set<", 50_000) + "};", ``, ``, "nested too deeply"},
	} {
		cat, err := catalog.Parse("catalog.yaml", []byte(c.catalog+"\nzone: UTC\n"))
		if err != nil {
			t.Fatalf("%q: %v", c.catalog, err)
		}
		_, err = policy.Compile(policy.Source{Schema: c.schema, Files: []policy.File{{Name: "p.cedar", Text: c.policies}}}, cat)
		if !errors.Is(err, authz.ErrInvalid) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%.80q, %.80q, %q:\n%v\nwant a problem that says %q", c.schema, c.policies, c.catalog, err, c.want)
		}
	}
}

// billion returns a schema of a few lines whose types stand for 2^n attributes.
func billion(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "type T%d = { a: T%d, b: T%d };\n", i, i+1, i+1)
	}
	fmt.Fprintf(&b, "type T%d = { a: Long };\nentity X { x: T0 };\n", n)
	return b.String()
}

func TestSetAnswersForOthers(t *testing.T) {
	set := compile(t, policy.Source{Schema: scanSchema}, "{}\n")
	if diff := cmp.Diff([]string{"client.register", "list", "ping", "read", "sync", "token.issue", "write"}, set.Actions()); diff != "" {
		t.Errorf("Actions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"all", "both", "reads", "sync", "writes"}, set.ActionGroups("sync")); diff != "" {
		t.Errorf("ActionGroups (-want +got):\n%s", diff)
	}
	if set.ActionGroups("all") != nil || set.ActionGroups("none") != nil {
		t.Errorf("ActionGroups of what is no action: %v, %v, want none", set.ActionGroups("all"), set.ActionGroups("none"))
	}
	for typ, want := range map[string]bool{"Doc": true, "agent": true, "user": true, "User": true, "doc": false, "Action": false} {
		if got := set.KnowsType(typ); got != want {
			t.Errorf("KnowsType(%q) = %v, want %v", typ, got, want)
		}
	}
	if !set.Applies("read", "agent", "Doc") || set.Applies("read", "Doc", "Doc") || set.Applies("all", "agent", "Doc") {
		t.Errorf("Applies: agents read documents, documents do not, and a group is no action")
	}
}

var fence = regexp.MustCompile("(?s)```(cedar|cedarschema|yaml)\n(.*?)```")

// Every example of the manual compiles: its schemas together, its catalogs together, its policies
// each by itself.
func TestExamplesOfTheManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	var src policy.Source
	var cat string
	for i, m := range fence.FindAllStringSubmatch(string(text), -1) {
		switch m[1] {
		case "cedarschema":
			src.Schema += m[2]
		case "yaml":
			cat += m[2]
		case "cedar":
			src.Files = append(src.Files, policy.File{Name: fmt.Sprintf("example%d.cedar", i), Text: m[2]})
		}
	}
	if set := compile(t, src, cat); set.Len() < 6 {
		t.Errorf("the manual has %d policies, want at least 6", set.Len())
	}
	for _, key := range []string{"id", "title", "mode", "not_before", "expires", "remedy", "obligations", "reason"} {
		if !strings.Contains(string(text), "`@"+key) {
			t.Errorf("the manual does not describe @%s", key)
		}
	}
	for _, code := range []string{
		authz.CodeAllowed, authz.CodeNoPermit, authz.CodeForbidden, authz.CodePolicyError, authz.CodeSignalMissing, authz.CodeApprovalRequired,
		authz.CodeStepUpRequired, authz.CodeObligation, authz.CodeTypeUnknown, authz.CodeInvalid,
	} {
		if !strings.Contains(string(text), "`"+code+"`") {
			t.Errorf("the manual does not describe the code %s", code)
		}
	}
}

// Judgements share scratch space and remembered records; none may see another's.
func TestConcurrentJudgements(t *testing.T) {
	set := compile(t, policy.Source{Schema: benchSchema(1), Files: []policy.File{{Name: "p.cedar", Text: benchPolicies(0)}}}, "{}\n")
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 500 {
				req, f := benchRequest()
				want := authz.CodeAllowed
				switch (i + worker) % 4 {
				case 1:
					f.Risk.Level, want = "critical", authz.CodeForbidden
				case 2:
					req.Action.Properties, want = authz.Claimed(`{}`), authz.CodeSignalMissing
				case 3:
					f.Grant.Within, f.Schedules, want = nil, nil, authz.CodeNoPermit
				}
				if d := set.Evaluate(req, f); d.Code != want {
					t.Errorf("Evaluate = %s, want %s", d.Code, want)
				}
			}
		})
	}
	wg.Wait()
}

// What is kept of one request answers no other that says something else, however alike they are.
func TestNoContextForAnother(t *testing.T) {
	long := strings.Repeat("x", 500)
	set := compile(t, policy.Source{
		Schema: `entity Doc;
			action count, ask, tell appliesTo { principal: [User], resource: [Doc],
				context: { observed: Observed, claimed: Claimed, args: { n?: Long, text?: String, more?: String } } };
			action weigh appliesTo { principal: [User], resource: [Doc],
				context: { observed: Observed, claimed: Claimed, args: { n?: decimal } } };`,
		Files: []policy.File{{Name: "p.cedar", Text: `
			permit (principal, action == Action::"count", resource) when { context.args has n && context.args.n == 5 };
			permit (principal, action == Action::"weigh", resource) when { context.args has n && context.args.n == decimal("5.0") };
			permit (principal, action == Action::"ask", resource) when { context.args has text && context.args.text == "` + long + `1" };
			permit (principal, action == Action::"tell", resource) when {
				context.args has text && context.args has more && context.args.text == "a" && context.args.more == "b" &&
				context.claimed has confidence && context.claimed.confidence == decimal("0.5") };`,
		}},
	}, "{}")
	for range 3 { // what is kept comes of one round
		for _, c := range []struct {
			action, args, says string
			allowed            bool
		}{
			{"count", `{"n":5}`, ``, true},
			{"weigh", `{"n":5}`, ``, true}, // the same text is another value
			{"weigh", `{"n":"5.0"}`, ``, true},
			{"count", `{"n":5,"text":"n"}`, ``, true},
			{"count", `{"n":null}`, ``, false},
			{"count", `{}`, ``, false},
			{"ask", `{"text":"` + long + `1"}`, ``, true},
			{"ask", `{"text":"` + long + `2"}`, ``, false}, // in what is too long to be kept
			{"ask", `{"text":"` + long + `"}`, ``, false},
			{"tell", `{"text":"a","more":"b"}`, `{"confidence":0.5}`, true},
			{"tell", `{"more":"b","text":"a","n":1}`, `{"confidence":"0.5","task":"t"}`, true},
			{"tell", `{"text":"b","more":"a"}`, `{"confidence":0.5}`, false},
			{"tell", `{"text":"a"}`, `{"confidence":0.5}`, false},
			{"tell", `{"text":"a","more":"b"}`, `{"confidence":0.51}`, false},
			{"tell", `{"text":"a","more":"b"}`, ``, false},
		} {
			req := userReads("d")
			req.Action = authz.Action{Name: c.action, Properties: authz.Claimed(c.args)}
			req.Context = authz.Claimed(c.says)
			if d := set.Evaluate(req, &authz.Facts{At: noon}); d.Allowed() != c.allowed {
				t.Errorf("%s %.40s, saying %s: %s (%s), want allowed: %v", c.action, c.args, c.says, d.Code, d.Detail, c.allowed)
			}
		}
	}
}

// A rule that could apply is told the exact time, whatever was kept for requests to which it could not.
func TestExactTime(t *testing.T) {
	set := compile(t, *source(`
permit (principal, action, resource in Doc::"both") when { context.observed.time.at >= datetime("2026-03-02T12:00:00.500Z") };
permit (principal, action, resource) when { resource == Doc::"bar" && context.observed.time.hour == 12 };
`), "{}")
	at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	for _, ms := range []int{498, 499, 500, 501, 499, 500} {
		f := &authz.Facts{At: at.Add(time.Duration(ms) * time.Millisecond)}
		for doc, want := range map[string]bool{"both": ms >= 500, "bar": true, "other": false} {
			if d := set.Evaluate(userReads(doc), f); d.Allowed() != want {
				t.Errorf("%s %d ms after: %s, want allowed: %v", doc, ms, d.Code, want)
			}
		}
	}
}
