package policy_test

import (
	"testing"

	"github.com/safeconduct/safeconduct/internal/policy"
)

func TestReads(t *testing.T) {
	const schema = `entity Doc; action read, write appliesTo { principal: [Agent], resource: [Doc], context: { observed: Observed, claimed: Claimed, args: { country?: String } } };`
	asks, country := []string{"observed", "asks"}, []string{"observed", "network", "country"}
	for _, c := range []struct {
		condition     string
		asks, country bool
	}{
		{`context.observed.asks.hour > 3`, true, false},
		{`context.observed["\u{61}sks"].hour > 3`, true, false},
		{"context.observed. // of persons\n asks.hour > 3", true, false},
		{`context["observed"]["asks"]["pending"] > 3`, true, false},
		{`context.observed == context.observed`, true, true},
		{`context.observed.network has "\u{63}ountry"`, false, true},
		{"context.observed.network has // where\n country", false, true},
		{`context.observed.network == context.observed.network`, false, true},
		{`context.observed.network.zones.contains("asks") // context.observed.asks, country`, false, false},
		{`context.args has country && context.args.country == "asks"`, false, false},
	} {
		text := `@id("a") permit (principal, action == Action::"read", resource) when { ` + c.condition + "\n};"
		set, err := policy.Compile(policy.Source{Schema: schema, Files: []policy.File{{Name: "p.cedar", Text: text}}}, nil)
		if err != nil {
			t.Fatalf("%s: %v", c.condition, err)
		}
		if got := set.Reads(asks...); got != c.asks {
			t.Errorf("%s: Reads(%q) = %v, want %v", c.condition, asks, got, c.asks)
		}
		if got := set.Reads(country...); got != c.country {
			t.Errorf("%s: Reads(%q) = %v, want %v", c.condition, country, got, c.country)
		}
	}
	off, err := policy.Compile(policy.Source{Schema: schema, Files: []policy.File{{Name: "p.cedar", Text: `@id("a") @mode("disabled") permit (principal, action, resource) when { context.observed.asks.hour > 3 };`}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if off.Reads(asks...) {
		t.Errorf("Reads(%q) of a disabled policy, want false", asks)
	}
}
