package policy_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/internal/policy"
)

// The validator finds the same in a policy whether it is given the whole schema or the part of it
// that the policy's scope leaves.
func TestNarrowing(t *testing.T) {
	const schema = scanSchema + `
namespace Bank {
  entity Safe in [Vault];
  entity Vault;
  action open appliesTo { principal: [Agent], resource: [Safe], context: { observed: Observed, args: { pin: Long } } };
  action look appliesTo { principal: [User], resource: [Safe, Vault], context: { observed: Observed } };
}
entity Lone;
action none;
`
	faults := strings.NewReplacer(
		"context.args.n + 1", "context.args.m + 1", `"read"`, `"raed"`, "resource.size", "resource.weight",
		"is Doc", "is Dock", "is Tool", "is Bank::Safe", `Folder::"b"`, `Bank::Vault::"b"`, `"ping"`, `"none"`,
		`Group::"staff"`, `Lone::"staff"`, `resource is Folder`, `resource is Lone`, `action in Action::"writes"`, `action == Bank::Action::"open" && context.args.pin > 3`,
		`context has args }`, `context has args && context.args.pin > 3 }`, `Action::"sync"`, `Bank::Action::"look"`,
	)
	sets, policies, faulty := 150, 0, 0
	if testing.Short() {
		sets = 30
	}
	for seed := range uint64(sets) {
		d := draws{rand.New(rand.NewPCG(seed, 3))}
		var b strings.Builder
		for n := range 12 {
			p := drawPolicy(d, n)
			if d.IntN(2) == 0 {
				p = faults.Replace(p)
			}
			b.WriteString(p)
		}
		narrow, whole, err := policy.Validated(schema, b.String())
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for i := range whole {
			policies++
			if len(whole[i]) > 0 {
				faulty++
			}
			if diff := cmp.Diff(whole[i], narrow[i]); diff != "" {
				t.Fatalf("seed %d, policy %d of\n%s\nthe validator differs (-whole schema +narrowed):\n%s", seed, i, b.String(), diff)
			}
		}
	}
	// The draws are the same in every run.
	if faulty < policies/10 || faulty > policies*9/10 {
		t.Errorf("%d of %d policies are faulty, which tells little", faulty, policies)
	}
}

// Problems come in the order of the text, however many cores look for them.
func TestProblemsAreInOrder(t *testing.T) {
	var b strings.Builder
	want := ""
	for n := range 200 {
		switch n % 3 {
		case 0:
			b.WriteString("permit (principal is Agent, action, resource is Acount);\n")
			want += fmt.Sprintf("p.cedar:%d:49: unrecognized entity type `Acount`\n\thint: did you mean \"Account\"?\n", n+1)
		case 1:
			b.WriteString("permit (principal is Agent, action, resource;\n")
			want += fmt.Sprintf("p.cedar:%d:45: found \";\", expected \")\"\n", n+1)
		default:
			b.WriteString("permit (principal is Agent, action, resource) when { resource.balance == \"\" };\n")
			want += fmt.Sprintf("p.cedar:%d:47: the types Long and String are not compatible\n", n+1)
		}
	}
	for range 5 {
		if d := cmp.Diff(want, check(t, b.String(), checkSchema).String()); d != "" {
			t.Fatalf("problems (-want +got):\n%s", d)
		}
	}
}
