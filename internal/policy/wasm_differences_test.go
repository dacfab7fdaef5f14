package policy_test

import (
	"encoding/json"
	"regexp"
	"testing"

	"github.com/cedar-policy/cedar-go"
	cedarast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/safeconduct/safeconduct/internal/policy"
)

// mixedEntities is the one fault that Cedar finds and we do not: sets or records of entities of
// different types are compared, which evaluates to false and never errs.
var mixedEntities = regexp.MustCompile(`^the types .* and .* are not compatible$`)

func knownDifference(messages []string) bool {
	for _, m := range messages {
		if !mixedEntities.MatchString(m) {
			return false
		}
	}
	return len(messages) > 0
}

// TestWasmDifferences holds every difference that generated cases have shown between cedar-go 1.9.0
// and Cedar 4.12.0, so that it is noticed when one goes away. None lets us allow what Cedar denies,
// but for datetimes before 1970.
func TestWasmDifferences(t *testing.T) {
	const schema = `
entity A { on?: Bool, since: datetime, wait: duration };
entity B;
action "act" appliesTo { principal: [A, B], resource: A, context: {} };`
	rs, err := resolveSchema([]byte(schema))
	if err != nil {
		t.Fatal(err)
	}
	whole := t
	var w *wasmCedar
	type verdict struct{ parsed, valid, fires bool }
	for _, tt := range []struct {
		name, policy string
		cedar        verdict
		cedarGo      verdict // its parser, its validator, its evaluator
		ours         bool    // whether our validation, which repairs two of them, accepts it
	}{
		{"a block comment", `permit (principal, action, resource) /* any */;`,
			verdict{}, verdict{true, true, true}, true},
		{"a string over two lines", "permit (principal, action, resource) when { \"a\nb\" != \"a\" };",
			verdict{true, true, true}, verdict{}, false},
		{"five negations", `permit (principal, action, resource) when { !!!!!false };`,
			verdict{}, verdict{true, true, true}, true},
		{"one condition asks, the next one reads", `permit (principal is A, action, resource) when { principal has on } when { principal.on };`,
			verdict{true, true, true}, verdict{true, false, true}, true},
		{"a comparison of two kinds", `permit (principal, action, resource) when { resource.since < resource.wait };`,
			verdict{true, false, false}, verdict{true, true, false}, false},
		{"sets of two entity types", `permit (principal, action, resource) unless { [A::"one"].containsAny([B::"one"]) };`,
			verdict{true, false, true}, verdict{true, true, true}, true},
		{"the time of day before 1970", `permit (principal, action, resource) when { datetime("1969-12-31T23:59:59Z").toTime() == duration("86399s") };`,
			verdict{true, true, true}, verdict{true, true, false}, true},
		{"the date before 1970", `permit (principal, action, resource) when { datetime("1969-12-31T23:59:59Z").toDate() == datetime("1969-12-31") };`,
			verdict{true, true, true}, verdict{true, true, false}, true},
	} {
		c := wasmCase{
			Schema:   schema,
			Policies: map[string]string{"p": tt.policy},
			Entities: json.RawMessage(`[{"uid": {"type": "A", "id": "one"}, "parents": [], "attrs": {"on": true,
				"since": {"__extn": {"fn": "datetime", "arg": "2024-01-01"}}, "wait": {"__extn": {"fn": "duration", "arg": "1d"}}}}]`),
			Requests: []wasmRequest{{wasmUID{"A", "one"}, wasmUID{"Action", "act"}, wasmUID{"A", "one"}, map[string]any{}}},
		}
		t.Run(tt.name, func(t *testing.T) {
			var got verdict
			var p cedar.Policy
			ours := false
			if got.parsed = p.UnmarshalCedar([]byte(tt.policy)) == nil; got.parsed {
				strict := validate.New(rs, validate.WithStrict())
				got.valid = strict.Policy("p", (*cedarast.Policy)(p.AST())) == nil
				ours = len(policy.ValidatePolicy(strict, (*cedarast.Policy)(p.AST()))) == 0
				ps := cedar.NewPolicySet()
				ps.Add("p", &p)
				req, err := cedarRequest(c.Requests[0])
				if err != nil {
					t.Fatal(err)
				}
				var em cedar.EntityMap
				if err := json.Unmarshal(c.Entities, &em); err != nil {
					t.Fatal(err)
				}
				decision, _ := cedar.Authorize(ps, em, req)
				got.fires = decision == cedar.Allow
			}
			if got != tt.cedarGo || ours != tt.ours {
				t.Errorf("cedar-go says %+v of %s, and we accept it: %v; want %+v, %v", got, tt.policy, ours, tt.cedarGo, tt.ours)
			}
			if findWasm(t); w == nil {
				w = startWasm(whole)
			}
			v := w.judge(t, c)
			is := verdict{parsed: v.Parsed["p"], valid: v.Valid["p"]}
			if len(v.Answers) == 1 {
				is.fires = v.Answers[0].Decision == "allow"
			}
			if is != tt.cedar {
				t.Errorf("Cedar says %+v of %s, want %+v (%v)", is, tt.policy, tt.cedar, v.Messages)
			}
		})
	}
}
