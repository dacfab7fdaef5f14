package policy_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
)

const conductSchema = `
entity Thing;
action use appliesTo { principal: [Agent, User], resource: Thing, context: { observed: Observed, claimed: Claimed } };`

// permitWhen compiles one permit for everybody.
func permitWhen(t testing.TB, condition string) *policy.Set {
	t.Helper()
	cat, err := catalog.Parse("catalog.yaml", []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	text := `permit (principal, action, resource) when { ` + condition + ` };`
	set, err := policy.Compile(policy.Source{Schema: conductSchema, Files: []policy.File{{Name: "p.cedar", Text: text}}}, cat)
	if err != nil {
		t.Fatalf("Compile(%s): %v", text, err)
	}
	return set
}

func use(agent string, behalf ...authz.Ref) *authz.Request {
	return &authz.Request{
		Subject: authz.Entity{Ref: authz.Ref{Type: authz.AgentType, ID: agent}}, OnBehalf: behalf,
		Action: authz.Action{Name: "use"}, Resource: authz.Entity{Ref: authz.Ref{Type: "Thing", ID: "t"}},
	}
}

// How an agent has behaved is what the facts say, for every policy and every party.
func TestConductFacts(t *testing.T) {
	half := 0.12345
	facts := func() *authz.Facts {
		return &authz.Facts{
			At: time.Unix(1, 0), Risk: authz.Risk{Level: "low"},
			Agent: &authz.Agent{ID: "bot", State: authz.AgentActive},
			Grant: authz.Grant{Within: []string{"pay"}, Class: "money", Essential: true},
			Trust: authz.Trust{Level: "low", Score: 0.31239},
			Conduct: authz.Conduct{Lowest: authz.Trust{Level: "none", Score: 0.00019}, Judged: 3, Accuracy: 0.66666, ErrorRate: 0.25,
				Findings: []string{"deviation.drift", "escalation.probing"}, Gravest: 3},
			Confidence: &half,
			Behalf: []authz.Delegator{{
				Agent: &authz.Agent{ID: "boss", State: authz.AgentActive}, Grant: authz.Grant{Within: []string{"keep"}, Class: "write"},
				Conduct: authz.Conduct{Lowest: authz.Trust{Level: "high", Score: 0.9}},
			}},
		}
	}
	req := use("bot")
	req.Observed.Task = "closing"
	for _, tt := range []struct {
		condition   string
		actor, boss bool // whether it holds for each of them
	}{
		{`context.observed.trust.level == "low" && context.observed.trust.rank == 1`, true, true},
		{`context.observed.trust.score == decimal("0.3123")`, true, true},
		{`context.observed has confidence && context.observed.confidence == decimal("0.1234")`, true, true},
		{`context.observed has task && context.observed.task == "closing"`, true, true},
		{`context.observed has agent && context.observed.agent.conduct.trust.rank == 0`, true, true},
		{`context.observed.grant.essential`, true, false},
		{`context.observed.grant.class == "money"`, true, false},
		{`principal is Agent && principal.conduct.trust.level == "none" && principal.conduct.trust.rank == 0`, true, false},
		{`principal is Agent && principal.conduct.trust.score == decimal("0.0001")`, true, false},
		{`principal is Agent && principal.conduct has accuracy && principal.conduct.accuracy == decimal("0.6666")`, true, false},
		{`principal is Agent && principal.conduct has error_rate && principal.conduct.error_rate == decimal("0.25")`, true, false},
		{`principal is Agent && principal.conduct.findings == ["escalation.probing", "deviation.drift"]`, true, false},
		{`principal is Agent && principal.conduct.trust.rank == 3 && principal.conduct.findings.isEmpty()`, false, true},
		{`principal is Agent && principal.conduct.gravest == 3`, true, false},
		{`principal is Agent && principal.conduct.gravest == 0`, false, true},
		{`principal is Agent && principal.conduct has accuracy`, true, false},
	} {
		set := permitWhen(t, tt.condition)
		if d := set.Evaluate(req, facts()); d.Allowed() != tt.actor {
			t.Errorf("%s of the actor = %v (%s %s), want %v", tt.condition, d.Allowed(), d.Code, d.Detail, tt.actor)
		}
		other := *req
		other.Subject.ID = "boss"
		if d := set.Evaluate(&other, facts()); d.Allowed() != tt.boss {
			t.Errorf("%s of the agent it acts for = %v (%s %s), want %v", tt.condition, d.Allowed(), d.Code, d.Detail, tt.boss)
		}
	}
}

// Conduct changes more often than the agent does: nothing of what was known before is remembered.
func TestConductIsNotConfused(t *testing.T) {
	const condition = `principal is Agent && principal.conduct.trust.rank >= 2 && principal.conduct.trust.score.greaterThan(decimal("0.5")) &&
  principal.conduct has accuracy && principal.conduct.accuracy.greaterThan(decimal("0.8")) &&
  principal.conduct has error_rate && principal.conduct.error_rate.lessThan(decimal("0.2")) &&
  principal.conduct.findings.isEmpty() && principal.conduct.gravest < 2 && context.observed.trust.rank >= 2 && context.observed.trust.score.greaterThan(decimal("0.5")) &&
  context.observed has confidence && context.observed.confidence.greaterThan(decimal("0.7")) && context.observed.grant.essential &&
  context.observed has task && context.observed.task == "t"`
	set := permitWhen(t, condition)
	agent := &authz.Agent{ID: "bot", State: authz.AgentActive}
	good := func() (*authz.Request, *authz.Facts) {
		req, sure := use("bot"), 0.9
		req.Observed.Task = "t"
		return req, &authz.Facts{
			At: time.Unix(1, 0), Agent: agent, Risk: authz.Risk{Level: "low"}, Trust: authz.Trust{Level: "high", Score: 0.9}, Confidence: &sure,
			Conduct: authz.Conduct{Lowest: authz.Trust{Level: "medium", Score: 0.6}, Judged: 9, Accuracy: 0.9, ErrorRate: 0.1},
			Grant:   authz.Grant{Within: []string{"w"}, Essential: true},
		}
	}
	unsure := 0.7
	spoilers := map[string]func(*authz.Request, *authz.Facts){
		"lowest level":  func(_ *authz.Request, f *authz.Facts) { f.Conduct.Lowest.Level = "low" },
		"lowest score":  func(_ *authz.Request, f *authz.Facts) { f.Conduct.Lowest.Score = 0.5 },
		"lowest":        func(_ *authz.Request, f *authz.Facts) { f.Conduct.Lowest = authz.Trust{} }, // neutral, whose score is 0.5
		"judged":        func(_ *authz.Request, f *authz.Facts) { f.Conduct.Judged = 0 },
		"accuracy":      func(_ *authz.Request, f *authz.Facts) { f.Conduct.Accuracy = 0.8 },
		"error rate":    func(_ *authz.Request, f *authz.Facts) { f.Conduct.ErrorRate = 0.2 },
		"findings":      func(_ *authz.Request, f *authz.Facts) { f.Conduct.Findings = []string{"performance.loop"} },
		"gravest":       func(_ *authz.Request, f *authz.Facts) { f.Conduct.Gravest = 2 },
		"trust":         func(_ *authz.Request, f *authz.Facts) { f.Trust.Level = "low" },
		"score":         func(_ *authz.Request, f *authz.Facts) { f.Trust.Score = 0.5 },
		"confidence":    func(_ *authz.Request, f *authz.Facts) { f.Confidence = &unsure },
		"no confidence": func(_ *authz.Request, f *authz.Facts) { f.Confidence = nil },
		"not essential": func(_ *authz.Request, f *authz.Facts) { f.Grant.Essential = false },
		"another task":  func(r *authz.Request, _ *authz.Facts) { r.Observed.Task = "u" },
		"no task":       func(r *authz.Request, _ *authz.Facts) { r.Observed.Task = "" },
	}
	var wg sync.WaitGroup
	for what, spoil := range spoilers {
		wg.Go(func() { // at once, since what is remembered is shared
			for range 20 {
				req, f := good()
				if d := set.Evaluate(req, f); !d.Allowed() {
					t.Errorf("before %s is spoiled: %v, %s", what, d.Effect, d.Detail)
				}
				spoil(req, f)
				if d := set.Evaluate(req, f); d.Allowed() {
					t.Errorf("allowed although %s is spoiled", what)
				}
			}
		})
	}
	wg.Wait()
}

// What an agent is never told by a refusal: neither what trust, findings or accuracy would have to be, nor
// what its confidence would have to be worth. To raise it is proposed of the claimed confidence only.
func TestExplainKeepsConduct(t *testing.T) {
	low, sure := 0.3, 0.99
	for _, condition := range []string{
		`context.observed.trust.rank < 2`,
		`context.observed.trust.level == "low"`,
		`["none", "low"].contains(context.observed.trust.level)`,
		`context.observed.trust.score.lessThan(decimal("0.6"))`,
		`principal.conduct.trust.rank <= 1`,
		`context.observed has agent && context.observed.agent.conduct.trust.rank <= 1`,
		`!principal.conduct.findings.isEmpty()`,
		`principal.conduct.gravest > 1`,
		`principal.conduct.findings.contains("deviation.drift")`,
		`principal.conduct has accuracy && principal.conduct.accuracy.lessThan(decimal("0.8"))`,
		`principal.conduct has error_rate && principal.conduct.error_rate.greaterThan(decimal("0.1"))`,
		`context.observed has confidence && context.observed.confidence.lessThan(decimal("0.7"))`,
		`context.claimed has confidence && context.observed has confidence && context.claimed.confidence.greaterThan(context.observed.confidence)`,
		`context.claimed has purpose && principal.conduct.findings.contains(context.claimed.purpose)`,
		`!context.observed.grant.essential && context.observed.trust.rank < 3`,
		`context.observed has task && context.observed.task == "closing"`,
	} {
		cat, err := catalog.Parse("catalog.yaml", []byte("capabilities: {use: {title: Use, class: money, essential: true, actions: [use]}}"))
		if err != nil {
			t.Fatal(err)
		}
		text := `permit (principal, action, resource); @id("f") forbid (principal is Agent, action, resource) when { ` + condition + ` };`
		set, err := policy.Compile(policy.Source{Schema: conductSchema, Files: []policy.File{{Name: "p.cedar", Text: text}}}, cat)
		if err != nil {
			t.Fatalf("Compile(%s): %v", text, err)
		}
		req := use("bot")
		req.Context, req.Observed.Task = authz.Claimed(`{"confidence":0.9,"purpose":"deviation.drift"}`), "closing"
		f := &authz.Facts{
			At: time.Unix(1, 0), Agent: &authz.Agent{ID: "bot", State: authz.AgentActive}, Risk: authz.Risk{Level: "low"},
			Trust: authz.Trust{Level: "low", Score: 0.25}, Confidence: &low,
			Conduct: authz.Conduct{Lowest: authz.Trust{Level: "low", Score: 0.25}, Judged: 5, Accuracy: 0.5, ErrorRate: 0.5, Findings: []string{"deviation.drift"}, Gravest: 2},
		}
		d := set.EvaluateAll(req, f)
		if d.Code != authz.CodeForbidden {
			t.Fatalf("%s = %s %s, want forbidden", condition, d.Code, d.Detail)
		}
		for _, c := range set.Explain(req, f, &d) {
			text, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			t.Errorf("%s: proposed %s, want nothing", condition, text)
		}
		told := fmt.Sprint(d.Reasons)
		for _, secret := range []string{"0.", "rank", "trust", "finding", "accuracy"} {
			if strings.Contains(told, secret) {
				t.Errorf("%s: the agent is told %s, which speaks of %q", condition, told, secret)
			}
		}
		f.Confidence, f.Trust, f.Conduct = &sure, authz.Trust{Level: "high", Score: 0.95}, authz.Conduct{}
		req.Context, req.Observed.Task = authz.Claimed(`{"confidence":0.5}`), ""
		if d := set.EvaluateAll(req, f); !d.Allowed() {
			t.Errorf("%s with the best of conduct = %s %s, want allowed", condition, d.Code, d.Detail)
		}
	}
}

// The operator is told all of it.
func TestTraceTellsConduct(t *testing.T) {
	set := permitWhen(t, `principal is Agent && principal.conduct.trust.rank > 2 && context.observed.trust.score.greaterThan(decimal("0.6"))`)
	f := &authz.Facts{At: time.Unix(1, 0), Agent: &authz.Agent{ID: "bot"}, Risk: authz.Risk{Level: "low"}, Trust: authz.Trust{Level: "low", Score: 0.25}}
	var got []policy.TracedRead
	for _, r := range set.Trace(use("bot"), f) {
		got = append(got, r.Clauses[0].Reads...)
	}
	for _, want := range []policy.TracedRead{
		{Path: "principal.conduct.trust.rank", Value: "2"}, {Path: "context.observed.trust.score", Value: `decimal("0.25")`},
	} {
		if !slices.Contains(got, want) {
			t.Errorf("the operator is not told %+v: %+v", want, got)
		}
	}
}

// A file of cases states how agents have behaved.
func TestRunCasesConduct(t *testing.T) {
	const cases = `
policies: |
  permit (principal, action, resource);
  @id("trust") forbid (principal is Agent, action, resource) when { context.observed.trust.rank < 2 };
  @id("lowest") forbid (principal is Agent, action, resource) when { principal.conduct.trust.rank < 2 };
  @id("wrong") forbid (principal is Agent, action, resource) when { principal.conduct has accuracy && principal.conduct.accuracy.lessThan(decimal("0.8")) };
  @id("failing") forbid (principal is Agent, action, resource) when { principal.conduct has error_rate && principal.conduct.error_rate.greaterThan(decimal("0.3")) };
  @id("grave") forbid (principal is Agent, action, resource) when { principal.conduct.gravest >= 3 };
  @id("found") forbid (principal is Agent, action, resource) when { principal.conduct.findings.contains("deviation.drift") };
  @id("unsure") forbid (principal is Agent, action, resource) when { context.observed has confidence && context.observed.confidence.lessThan(decimal("0.7")) };
  @id("closing") forbid (principal is Agent, action, resource) when { context.observed has task && context.observed.task == "closing" };
  @id("essential") forbid (principal is Agent, action, resource) when { context.observed.grant.essential };
schema: |
` + "  entity Thing;\n  action use appliesTo { principal: [Agent, User], resource: Thing, context: { observed: Observed } };" + `
catalog: {capabilities: {use: {title: Use, class: read, actions: [use]}}}
agents:
  bot: {capabilities: [use]}
  odd: {conduct: {findings: [deviation.drift, compliance.late]}}
  shut: {conduct: {quarantined: true}}
defaults: {request: {subject: "agent:bot", action: use, resource: "Thing:1"}}
table:
  columns: [name, facts, request.subject, request.on_behalf, expect]
  rows:
    - [nothing is known, {}, null, null, allow]
    - [trust in the class, {trust: low}, null, null, {outcome: deny, only_fired: [trust, lowest]}]
    - [the lowest, {conduct: {trust: {level: low, score: 0.2}}}, null, null, {outcome: deny, only_fired: [lowest]}]
    - [the lowest of another class, {trust: high, conduct: {trust: none}}, null, null, {outcome: deny, only_fired: [lowest]}]
    - [accuracy, {conduct: {accuracy: 0.79}}, null, null, {outcome: deny, only_fired: [wrong]}]
    - [good accuracy, {conduct: {accuracy: 0.8}}, null, null, allow]
    - [errors, {conduct: {error_rate: 0.31}}, null, null, {outcome: deny, only_fired: [failing]}]
    - [few errors, {conduct: {error_rate: 0.3}}, null, null, allow]
    - [findings, {conduct: {findings: deviation.drift}}, null, null, {outcome: deny, only_fired: [found]}]
    - [mild findings, {conduct: {findings: performance.loop}}, null, null, allow]
    - [a grave finding, {conduct: {findings: performance.loop, gravest: high}}, null, null, {outcome: deny, only_fired: [grave]}]
    - [quarantine, {conduct: {quarantined: true}}, null, null, {outcome: deny, code: agent_inactive}]
    - [confidence, {confidence: 0.69}, null, null, {outcome: deny, only_fired: [unsure]}]
    - [more of it, {confidence: 1}, null, null, allow]
    - [a task, {task: closing}, null, null, {outcome: deny, only_fired: [closing]}]
    - [another task, {task: opening}, null, null, allow]
    - [essential, {grant: {within: [use], class: read, essential: true}}, null, null, {outcome: deny, only_fired: [essential]}]
    - [what the file says of the agent, {}, "agent:odd", null, {outcome: deny, fired: [found]}]
    - [unless the facts say otherwise, {conduct: {}}, "agent:odd", null, allow]
    - [whom it acts for, {}, null, "agent:odd", {outcome: deny, fired: [found]}]
    - [whom it acts for is shut, {}, null, "agent:shut", {outcome: deny, code: agent_inactive}]
    - [shut, {}, "agent:shut", null, {outcome: deny, code: agent_inactive}]
`
	rep, err := policy.RunCases(fstest.MapFS{"c.test.yaml": {Data: []byte(cases)}}, "c.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if rep.Failed() > 0 || len(rep.Unfired()) > 0 || len(rep.Cases) != 22 {
		t.Errorf("%d cases:\n%s", len(rep.Cases), rep)
	}
	for _, tt := range []struct{ fact, want string }{
		{`{conduct: {accuracy: 2}}`, "conduct.accuracy is not between 0 and 1"},
		{`{conduct: {quarantined: maybe}}`, "conduct.quarantined is a text, want true or false"},
		{`{conduct: {trust: full}}`, `conduct.trust "full" is unknown`},
		{`{conduct: {finding: x}}`, `conduct has no member "finding": did you mean "findings"?`},
		{`{trust: {level: low, score: 3}}`, "trust.score is not between 0 and 1"},
		{`{confidence: "0.5"}`, "confidence is a text, want a number"},
	} {
		text := strings.Replace(cases, "[nothing is known, {}", "[nothing is known, "+tt.fact, 1)
		_, err := policy.RunCases(fstest.MapFS{"c.test.yaml": {Data: []byte(text)}}, "c.test.yaml")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("facts %s: %v, want %s", tt.fact, err, tt.want)
		}
	}
}

// Scores that differ beyond the fourth digit are read alike, whoever asks first.
func TestConductIsRounded(t *testing.T) {
	set := permitWhen(t, `principal is Agent && principal.conduct.trust.score == decimal("0.5001") && context.observed.trust.score == decimal("0.5001")`)
	agent := &authz.Agent{ID: "bot"}
	got := []bool{}
	for _, score := range []float64{0.50009, 0.5001, 0.50015, 0.5001999, 0.5002} {
		trust := authz.Trust{Level: "medium", Score: score}
		d := set.Evaluate(use("bot"), &authz.Facts{At: time.Unix(1, 0), Agent: agent, Risk: authz.Risk{Level: "low"}, Trust: trust, Conduct: authz.Conduct{Lowest: trust}})
		got = append(got, d.Allowed())
	}
	if d := cmp.Diff([]bool{false, true, true, true, false}, got); d != "" {
		t.Errorf("scores rounded down to four digits (-want +got):\n%s", d)
	}
}
