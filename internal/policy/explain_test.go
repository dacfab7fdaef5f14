package policy_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// payments compiles testdata/payments, with more policies if any are given.
func payments(t testing.TB, more ...string) *policy.Set {
	t.Helper()
	read := func(name string) string {
		text, err := os.ReadFile("testdata/payments/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	cat, err := catalog.Parse("catalog.yaml", []byte(read("catalog.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	src := policy.Source{Schema: read("schema.cedarschema"), Files: []policy.File{
		{Name: "payments.cedar", Text: read("payments.cedar")},
		{Name: "guardrails.cedar", Text: read("guardrails.cedar")},
	}}
	if len(more) > 0 {
		src.Files = append(src.Files, policy.File{Name: "more.cedar", Text: strings.Join(more, "\n")})
	}
	s, err := policy.Compile(src, cat)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A paying is a request to pay, and its facts, which tests change.
type paying struct {
	req   authz.Request
	facts authz.Facts
}

// pay is what an agent does that may pay, on a Monday at noon in Berlin.
func pay(s *policy.Set) *paying {
	p := &paying{
		req: authz.Request{
			Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "payer"}},
			Action:   authz.Action{Name: "pay", Properties: authz.Claimed(`{"amount":20}`)},
			Resource: authz.Entity{Ref: authz.Ref{Type: "Account", ID: "acme"}},
			Context:  authz.Claimed(`{"confidence":0.9}`),
		},
		facts: authz.Facts{
			At:    time.Date(2026, 1, 5, 11, 0, 0, 0, time.UTC),
			Zone:  s.Catalog().Zone(),
			Class: authz.Internal, Labels: []string{}, Zones: []string{},
			Agent: &authz.Agent{ID: "payer", Owner: "ann", Purpose: "accounts-payable", State: authz.AgentActive, Capabilities: []string{"pay-suppliers"}},
			Trust: authz.NeutralTrust,
			Risk:  authz.Risk{Level: "low"},
		},
	}
	p.settle(s)
	return p
}

// settle derives the facts that follow from others.
func (p *paying) settle(s *policy.Set) {
	p.facts.Schedules = s.Catalog().Open(p.facts.At)
	if p.facts.Agent != nil {
		p.facts.Grant = s.Catalog().Grant(p.facts.Agent, catalog.Act{
			Action: p.req.Action.Name, Groups: s.ActionGroups(p.req.Action.Name), Arguments: p.req.Action.Properties,
			Class: p.facts.Class, Jurisdiction: p.facts.Region, Schedules: p.facts.Schedules,
		})
	}
}

func (p *paying) args(text string) { p.req.Action.Properties = authz.Claimed(text) }
func (p *paying) says(text string) { p.req.Context = authz.Claimed(text) }

// brief writes changes on one line each.
func brief(list []authz.Change) []string {
	out := []string{}
	for _, c := range list {
		s := c.Who + " " + c.Kind
		if c.Target != "" {
			s += " " + c.Target
		}
		if len(c.To) > 0 {
			s += " " + string(c.To)
		}
		out = append(out, s)
	}
	return out
}

func TestExplain(t *testing.T) {
	const reports = `@id("few") permit (principal is Agent, action == Action::"read", resource is Account)
		when { context.observed.time.hour >= 20 && ["sat", "sun"].contains(context.observed.time.weekday) };`
	for _, tt := range []struct {
		name  string
		more  string
		given func(*paying)
		want  []string // nil if nothing can be proposed
	}{
		{"raise confidence to what suffices", "", func(p *paying) { p.says(`{"confidence":0.5}`) },
			[]string{"agent raise claimed.confidence 0.8"}},
		{"state a confidence", "", func(p *paying) { p.says(`{}`) },
			[]string{"agent set claimed.confidence 0.8"}},
		{"wait for the office to open", "", func(p *paying) { p.facts.At = p.facts.At.Add(10 * time.Hour) },
			[]string{`time wait "2026-01-06T09:00:00+01:00"`}},
		{"wait over a weekend", "", func(p *paying) { p.facts.At = p.facts.At.AddDate(0, 0, 5) },
			[]string{`time wait "2026-01-12T09:00:00+01:00"`}},
		{"ask a person", "", func(p *paying) { p.args(`{"amount":600}`) },
			[]string{"person approve"}},
		{"ask a person, and authenticate", "", func(p *paying) {
			p.args(`{"amount":600}`)
			p.req.Observed.Provenance = &authz.Provenance{Untrusted: []string{"amount"}}
		}, []string{"person approve", "person step_up"}},
		{"lower an amount to the capability's limit, and ask a person", "", func(p *paying) { p.args(`{"amount":5000,"currency":"EUR"}`) },
			[]string{"agent lower action.amount 1000", "person approve"}},
		{"raise and wait", "", func(p *paying) {
			p.says(`{"confidence":0.1}`)
			p.facts.At = p.facts.At.Add(10 * time.Hour)
		}, []string{"agent raise claimed.confidence 0.8", `time wait "2026-01-06T09:00:00+01:00"`}},
		{"raise, lower and wait", "", func(p *paying) {
			p.says(`{"confidence":0.1}`)
			p.args(`{"amount":1001}`)
			p.facts.At = p.facts.At.Add(10 * time.Hour)
		}, []string{"agent raise claimed.confidence 0.8", "agent lower action.amount 1000", `time wait "2026-01-06T09:00:00+01:00"`, "person approve"}},
		{"be granted the capability", "", func(p *paying) { p.facts.Agent.Capabilities = []string{} },
			[]string{`operator grant agent.capabilities "pay-suppliers"`}},
		{"state another status", `@id("open-only") @reason("account-closed") forbid (principal, action == Action::"pay", resource is Account)
			unless { resource has status && resource.status == "open" };`,
			func(p *paying) { p.req.Resource.Properties = authz.Claimed(`{"status":"frozen"}`) },
			[]string{`agent set resource.status "open"`}},

		{"a strict bound", `@id("few") @reason("not-now") forbid (principal, action, resource) when { context has args && context.args has count && context.args.count >= 3 };`,
			func(p *paying) { p.args(`{"amount":20,"count":7}`) },
			[]string{"agent lower action.count 2"}},
		{"above a bound", `@id("some") @reason("not-now") forbid (principal, action == Action::"pay", resource) unless { context.args has count && context.args.count > 3 };`,
			func(p *paying) { p.args(`{"amount":20,"count":2}`) },
			[]string{"agent raise action.count 4"}},
		{"no longer below a bound", `@id("some") @reason("not-now") forbid (principal, action == Action::"pay", resource) when { context.args has count && context.args.count < 10 };`,
			func(p *paying) { p.args(`{"amount":20,"count":2}`) },
			[]string{"agent raise action.count 10"}},
		{"a bound that another value gives", `@id("limit") @reason("not-now") forbid (principal, action == Action::"pay", resource is Account) when { context.args.amount.greaterThan(resource.limit) };`,
			func(p *paying) {
				p.req.Resource.Properties = authz.Claimed(`{"limit":12.5}`)
			}, []string{"agent lower action.amount 12.5"}},
		{"the least of two bounds that suffices", `@id("a") @reason("not-now") forbid (principal, action == Action::"pay", resource) when { context.args.amount.greaterThan(decimal("10.0")) };
			@id("b") @reason("not-now") forbid (principal, action == Action::"pay", resource) when { context.args.amount.greaterThan(decimal("5.25")) };`,
			func(p *paying) {}, []string{"agent lower action.amount 5.25"}},
		{"one of several values", `@id("eur") @reason("not-now") forbid (principal, action == Action::"pay", resource) when { context.args has currency && !["CHF", "EUR"].contains(context.args.currency) };`,
			func(p *paying) { p.args(`{"amount":20,"currency":"USD"}`) },
			[]string{`agent set action.currency "CHF"`}},
		{"a flag", `@id("urgent") @reason("not-now") forbid (principal, action == Action::"pay", resource) when { context.args has urgent && context.args.urgent };`,
			func(p *paying) { p.args(`{"amount":20,"urgent":true}`) },
			[]string{`agent set action.urgent false`}},
		{"a mark that must be there", `@id("tags") @reason("not-now") forbid (principal, action == Action::"pay", resource) unless { context.args has tags && context.args.tags.contains("checked") };`,
			func(p *paying) { p.args(`{"amount":20,"tags":["a"]}`) },
			[]string{`agent set action.tags ["a","checked"]`}},
		{"an hour and a weekday at one moment", reports, func(p *paying) {
			p.req.Action = authz.Action{Name: "read"}
			p.facts.Class = authz.Restricted
		}, []string{`time wait "2026-01-10T20:00:00+01:00"`}},
		{"a permit that is not yet in force", `@id("soon") @not_before("2026-02-01T00:00:00Z") permit (principal is Agent, action == Action::"read", resource is Account);`,
			func(p *paying) {
				p.req.Action = authz.Action{Name: "read"}
				p.facts.Class = authz.Restricted
			}, []string{`time wait "2026-02-01T01:00:00+01:00"`}},
		{"a forbid that ends", `@id("freeze") @reason("not-now") @expires("2026-01-06T10:00:00Z") forbid (principal, action == Action::"pay", resource);`,
			func(p *paying) {}, []string{`time wait "2026-01-06T11:00:00+01:00"`}},
		{"a forbid while a schedule is open", `@id("lunch") @reason("not-now") forbid (principal, action == Action::"read", resource) when { context.observed.time.schedules.contains("office-hours") };`,
			func(p *paying) { p.req.Action = authz.Action{Name: "read"} },
			[]string{`time wait "2026-01-05T17:00:00+01:00"`}},

		{"risk is nobody's to change", "", func(p *paying) { p.facts.Risk = authz.Risk{Level: "high", Score: 80} }, nil},
		{"nor is trust", "", func(p *paying) { p.facts.Trust = authz.Trust{Level: "none"} }, nil},
		{"nor is either beside what could be changed", "", func(p *paying) {
			p.facts.Risk = authz.Risk{Level: "high"}
			p.says(`{"confidence":0.1}`)
		}, nil},
		{"a bound that risk gives is not told", `@id("r") @reason("not-now") forbid (principal, action == Action::"pay", resource) when { context.args has count && context.args.count > context.observed.risk.score };`,
			func(p *paying) { p.args(`{"amount":20,"count":7}`) }, nil},
		{"nor one that trust gives", `@id("r") @reason("not-now") forbid (principal, action == Action::"pay", resource) when { context.args.amount.greaterThan(context.observed.trust.score) };`,
			func(p *paying) {}, nil},
		{"a network is not proposed", `@id("net") @reason("not-now") forbid (principal, action == Action::"pay", resource) unless { context.observed.network.zones.contains("office") };`,
			func(p *paying) {}, nil},
		{"a property that no request may state", `@id("v") @reason("not-now") forbid (principal is Agent, action == Action::"pay", resource) when { principal.version == "" };`,
			func(p *paying) { p.facts.Agent.Version = "" }, nil},
		{"an allowed request", "", func(p *paying) {}, []string{}},
		{"a missing signal", "", func(p *paying) { p.facts.Missing = []string{"network.ip"} }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := payments(t, tt.more)
			p := pay(s)
			tt.given(p)
			p.settle(s)
			d := s.Evaluate(&p.req, &p.facts)
			if allowed := tt.want != nil && len(tt.want) == 0; d.Allowed() != allowed {
				t.Fatalf("Evaluate = %v %s (%s), want allowed %v", d.Effect, d.Code, d.Detail, allowed)
			}
			got := s.Explain(&p.req, &p.facts, &d)
			if diff := cmp.Diff(append([]string{}, tt.want...), brief(got)); diff != "" {
				t.Errorf("Explain (-want +got):\n%s", diff)
			}
			for _, c := range got {
				if !strings.HasSuffix(c.Hint, ".") {
					t.Errorf("hint %q is no sentence", c.Hint)
				}
				for _, word := range []string{"risk", "trust", "conduct", "zone", "threshold"} {
					if text, _ := json.Marshal(c); strings.Contains(strings.ToLower(string(text)), word) {
						t.Errorf("change %s speaks of %s", text, word)
					}
				}
			}
			if again := s.Explain(&p.req, &p.facts, &d); cmp.Diff(got, again) != "" {
				t.Errorf("Explain is not stable: %v, then %v", brief(got), brief(again))
			}
		})
	}
}

// TestExplainHolds makes the changes that Explain proposes and judges again.
func TestExplainHolds(t *testing.T) {
	s := payments(t)
	tried, proposed := 0, 0
	for _, amount := range []string{"20", "500.0001", "999", "1200"} {
		for _, confidence := range []string{"{}", `{"confidence":0.2}`, `{"confidence":0.8}`} {
			for _, hours := range []int{0, 10, 130} {
				for _, caps := range [][]string{{}, {"pay-suppliers"}} {
					p := pay(s)
					p.args(`{"amount":` + amount + `}`)
					p.says(confidence)
					p.facts.At = p.facts.At.Add(time.Duration(hours) * time.Hour)
					p.facts.Agent.Capabilities = caps
					p.settle(s)
					d := s.Evaluate(&p.req, &p.facts)
					if d.Allowed() {
						continue
					}
					tried++
					changes := s.Explain(&p.req, &p.facts, &d)
					if changes == nil {
						continue
					}
					proposed++
					var asked []string
					for _, c := range changes {
						switch c.Kind {
						case "approve", "step_up":
							asked = append(asked, map[string]string{"approve": "approval", "step_up": "step_up"}[c.Kind])
						case "wait":
							var at time.Time
							if err := json.Unmarshal(c.To, &at); err != nil {
								t.Fatal(err)
							}
							p.facts.At = at
						case "grant":
							p.facts.Agent.Capabilities = []string{"pay-suppliers"}
						default:
							switch c.Target {
							case "action.amount":
								p.args(`{"amount":` + string(c.To) + `}`)
							case "claimed.confidence":
								p.says(`{"confidence":` + string(c.To) + `}`)
							default:
								t.Fatalf("unexpected change %+v", c)
							}
						}
					}
					agent := *p.facts.Agent
					p.facts.Agent = &agent
					p.settle(s)
					after := s.Evaluate(&p.req, &p.facts)
					if !after.Allowed() && !(len(asked) > 0 && slices.Equal(after.Remedies, asked)) || after.Allowed() && len(asked) > 0 {
						t.Errorf("amount %s, context %s, +%dh, %v: after %v Evaluate = %v %s %v", amount, confidence, hours, caps, brief(changes), after.Effect, after.Code, after.Remedies)
					}
				}
			}
		}
	}
	if tried < 50 || proposed < tried*8/10 {
		t.Errorf("proposed changes for %d of %d refusals, want four fifths: the others take four changes", proposed, tried)
	}
}

func BenchmarkExplain20(b *testing.B) {
	s, err := policy.Compile(policy.Source{Schema: benchSchema(1), Files: []policy.File{{Name: "p.cedar", Text: benchPolicies(0)}}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	req, f := benchRequest()
	req.Action.Properties = authz.Claimed(`{"amount":20000,"to":"ACME"}`)
	d := s.Evaluate(req, f)
	if d.Allowed() || len(s.Explain(req, f, &d)) == 0 {
		b.Fatalf("Evaluate = %+v, want a refusal that can be explained", d)
	}
	b.Run("explain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Explain(req, f, &d)
		}
	})
	b.Run("evaluate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Evaluate(req, f)
		}
	})
}

// TestExplainParties explains a refusal of one party by what all parties would be answered.
func TestExplainParties(t *testing.T) {
	s := payments(t)
	p := pay(s)
	p.says(`{"confidence":0.1}`)
	p.req.OnBehalf = []authz.Ref{{Type: "user", ID: "tess"}}
	d := s.EvaluateAll(&p.req, &p.facts)
	if got, want := brief(s.Explain(&p.req, &p.facts, &d)), []string{"agent raise claimed.confidence 0.8"}; !slices.Equal(got, want) {
		t.Errorf("for the treasurer: %v, want %v", got, want)
	}
	p.req.OnBehalf = []authz.Ref{{Type: "user", ID: "ulf"}} // who may not pay, whatever the agent does
	d = s.EvaluateAll(&p.req, &p.facts)
	if got := s.Explain(&p.req, &p.facts, &d); got != nil {
		t.Errorf("for somebody who may not pay: %v, want nothing", brief(got))
	}
}

func TestTrace(t *testing.T) {
	s := payments(t)
	p := pay(s)
	p.says(`{"confidence":0.5}`)
	p.args(`{"amount":700}`)
	var got []string
	for _, r := range s.Trace(&p.req, &p.facts) {
		got = append(got, r.Outcome+" "+r.Effect+" "+r.Policy+" "+r.Mode)
		if r.Policy != "unsure" {
			continue
		}
		want := policy.Traced{
			Policy: "unsure", File: "guardrails.cedar", Line: 5, Effect: "forbid", Mode: "enforce", Reason: "too-unsure", Outcome: "satisfied",
			Begins: 3,
			Text: `@id("unsure")
@reason("too-unsure")
forbid (principal is Agent, action in Action::"money", resource)
unless { context.claimed has confidence && context.claimed.confidence.greaterThanOrEqual(decimal("0.8")) };`,
			Clauses: []policy.TracedClause{{
				Text:    `unless { context.claimed has confidence && context.claimed.confidence.greaterThanOrEqual(decimal("0.8")) }`,
				Line:    6,
				Outcome: "holds",
				Reads:   []policy.TracedRead{{Path: "context.claimed.confidence", Value: `decimal("0.5")`}},
			}},
		}
		if d := cmp.Diff(want, r); d != "" {
			t.Errorf("trace (-want +got):\n%s", d)
		}
	}
	want := []string{
		"satisfied forbid unsure enforce",
		"satisfied forbid large-sums enforce",
		"satisfied forbid new-rule shadow",
		"satisfied permit pay-suppliers enforce",
		"unsatisfied forbid closed-accounts enforce",
		"unsatisfied forbid risky-moment enforce",
		"unsatisfied forbid untrusted-words enforce",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("trace (-want +got):\n%s", d)
	}
}

func BenchmarkExplain(b *testing.B) {
	s := payments(b)
	for _, bb := range []struct {
		name  string
		given func(*paying)
	}{
		{"one change", func(p *paying) { p.says(`{"confidence":0.5}`) }},
		{"three changes", func(p *paying) {
			p.says(`{"confidence":0.1}`)
			p.args(`{"amount":1001}`)
			p.facts.At = p.facts.At.Add(10 * time.Hour)
		}},
		{"nothing", func(p *paying) { p.facts.Risk = authz.Risk{Level: "high"} }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			p := pay(s)
			bb.given(p)
			p.settle(s)
			d := s.Evaluate(&p.req, &p.facts)
			b.ReportAllocs()
			for b.Loop() {
				s.Explain(&p.req, &p.facts, &d)
			}
		})
	}
}

// What a change would state may lie within something that is said to be null.
func TestExplainWithinNull(t *testing.T) {
	s, err := policy.Compile(policy.Source{
		Schema: `entity Doc; action "use" appliesTo {
			principal: [User], resource: [Doc], context: { observed: Observed, claimed: { plan?: { steps?: Long } } },
		};`,
		Files: []policy.File{{Name: "p.cedar", Text: `permit (principal, action, resource);
			forbid (principal, action, resource)
			unless { context.claimed has plan && context.claimed.plan has steps && context.claimed.plan.steps > 3 };`}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{`{}`, `{"plan":null}`, `{"plan":{}}`, `{"plan":{"steps":null}}`, `{"plan":{"steps":1}}`} {
		req := &authz.Request{
			Subject: authz.Entity{Ref: authz.Ref{Type: "User", ID: "u"}}, Action: authz.Action{Name: "use"},
			Resource: authz.Entity{Ref: authz.Ref{Type: "Doc", ID: "d"}}, Context: authz.Claimed(says),
		}
		f := &authz.Facts{At: time.Date(2026, 1, 5, 11, 0, 0, 0, time.UTC)}
		d := s.EvaluateAll(req, f)
		changes := s.Explain(req, f, &d)
		if len(changes) != 1 || changes[0].Target != "claimed.plan.steps" || string(changes[0].To) != "4" {
			t.Errorf("Explain of %s: %v, want that claimed.plan.steps be 4", says, brief(changes))
		}
	}
}

// An Answer says what EvaluateAll and Explain say one after the other, whatever was answered before it.
func TestAnswer(t *testing.T) {
	s := payments(t,
		`@id("later") @not_before("2026-01-06T00:00:00Z") permit (principal is Agent, action == Action::"pay", resource);`,
		`@id("over") @expires("2026-01-01T00:00:00Z") forbid (principal, action, resource);`,
		`@id("erring") forbid (principal, action == Action::"pay", resource) when { context.args has count && context.args.count + 9223372036854775807 > 0 };`)
	codes := map[string]bool{}
	for _, args := range []string{`{"amount":20}`, `{"amount":600}`, `{"amount":2000}`, `{"amount":20,"count":1}`, `{}`} {
		for _, says := range []string{`{"confidence":0.9}`, `{"confidence":0.1}`} {
			for _, hour := range []int{0, 12, 48} {
				for _, persons := range [][]authz.Ref{nil, {{Type: "user", ID: "tess"}}, {{Type: "user", ID: "tess"}, {Type: "user", ID: "ulf"}}} {
					p := pay(s)
					p.args(args)
					p.says(says)
					p.facts.At = p.facts.At.Add(time.Duration(hour) * time.Hour)
					p.req.OnBehalf = persons
					p.settle(s)
					want := s.EvaluateAll(&p.req, &p.facts)
					want.Changes = s.Explain(&p.req, &p.facts, &want)
					got := s.Answer(&p.req, &p.facts)
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("Answer to %s, %s, %d hours later, for %v (-want +got):\n%s", args, says, hour, persons, diff)
					}
					codes[got.Code] = true
				}
			}
		}
	}
	for _, code := range []string{
		authz.CodeAllowed, authz.CodeForbidden, authz.CodeNoPermit, authz.CodePolicyError, authz.CodeApprovalRequired, authz.CodeSignalMissing,
	} {
		if !codes[code] {
			t.Errorf("nothing was answered with %s", code)
		}
	}
}
