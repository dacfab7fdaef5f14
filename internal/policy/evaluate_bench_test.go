package policy_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// benchSchema is an organisation with several kinds of resources, each with its actions and groups.
func benchSchema(kinds int) string {
	var b strings.Builder
	for k := range kinds {
		fmt.Fprintf(&b, `
entity Folder%[1]d;
entity Document%[1]d in [Folder%[1]d] { status?: String };
action "read%[1]d", "write%[1]d";
action "list%[1]d", "open%[1]d" in ["read%[1]d"] appliesTo {
  principal: [Agent, User], resource: [Document%[1]d, Folder%[1]d],
  context: { observed: Observed, claimed: Claimed, args?: { amount?: decimal, count?: Long, to?: String } },
};
action "pay%[1]d", "edit%[1]d" in ["write%[1]d"] appliesTo {
  principal: [Agent, User], resource: [Document%[1]d, Folder%[1]d],
  context: { observed: Observed, claimed: Claimed, args: { amount: decimal, count?: Long, to?: String } },
};`, k)
	}
	return b.String()
}

// benchPolicies are 20 policies about one kind of resource: scopes with in and is, sets, decimals,
// addresses, times, unless.
func benchPolicies(k int) string {
	r := strings.NewReplacer("KIND", fmt.Sprint(k))
	return r.Replace(`
permit (principal in Purpose::"orders", action in Action::"readKIND", resource is DocumentKIND)
when { context.observed.grant.within.contains("read-orders") };
permit (principal in Purpose::"orders", action == Action::"payKIND", resource is DocumentKIND)
when { context.observed.grant.within.contains("pay-orders") && context.args.amount.lessThanOrEqual(decimal("500.00")) };
permit (principal is Agent, action in [Action::"editKIND", Action::"payKIND"], resource is DocumentKIND)
when { context.observed.time.schedules.contains("business-hours") }
unless { context.observed.data.rank > 2 };
permit (principal is User, action in Action::"readKIND", resource is DocumentKIND);
permit (principal == Agent::"auditor", action in Action::"readKIND", resource);
permit (principal, action in Action::"readKIND", resource is FolderKIND)
when { context.observed.data.class == "public" };
forbid (principal, action in Action::"writeKIND", resource is DocumentKIND)
when { context.observed has confidence && context.observed.confidence.lessThan(decimal("0.7")) };
forbid (principal, action in Action::"writeKIND", resource is DocumentKIND)
when { context.claimed has confidence && context.claimed.confidence.lessThan(decimal("0.3")) };
forbid (principal, action in Action::"writeKIND", resource is DocumentKIND)
unless { context.observed.network has ip && (context.observed.network.ip.isInRange(ip("10.0.0.0/8")) || context.observed.network.ip.isInRange(ip("192.168.0.0/16"))) };
forbid (principal, action == Action::"payKIND", resource)
when { context.observed.risk.rank >= 2 };
forbid (principal, action in Action::"writeKIND", resource)
when { context.observed.risk.alerts.containsAny(["exfiltration", "takeover"]) };
forbid (principal, action == Action::"payKIND", resource is DocumentKIND)
when { context.args.amount.greaterThan(decimal("10000.0")) };
forbid (principal is Agent, action, resource is DocumentKIND)
when { principal.state != "active" };
forbid (principal is Agent, action in Action::"writeKIND", resource is DocumentKIND)
unless { context.observed.trust.rank >= 1 };
forbid (principal is Agent, action in Action::"writeKIND", resource is DocumentKIND)
when { context.observed.provenance.known && context.observed.provenance.untrusted.contains("to") };
forbid (principal, action, resource is DocumentKIND)
when { context.observed.time.at > datetime("2099-01-01T00:00:00Z") };
forbid (principal, action in Action::"writeKIND", resource is DocumentKIND)
when { context.observed.time.weekday == "sun" || context.observed.time.hour >= 22 };
forbid (principal, action, resource in FolderKIND::"sealed");
forbid (principal, action in Action::"writeKIND", resource is DocumentKIND)
when { resource has status && resource.status == "archived" };
forbid (principal, action == Action::"payKIND", resource is DocumentKIND)
when { context.args has to && context.args.to like "*@example.net" };
`)
}

func benchRequest() (*authz.Request, *authz.Facts) {
	req := &authz.Request{
		Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "clerk-7"}},
		Action:   authz.Action{Name: "pay0", Properties: authz.Claimed(`{"amount":129.95,"count":3,"to":"ACME","note":"invoice 17"}`)},
		Resource: authz.Entity{Ref: authz.Ref{Type: "Document0", ID: "invoice-17"}},
		Context:  authz.Claimed(`{"confidence":0.92,"purpose":"pay an invoice","task":"t-1"}`),
		Observed: authz.Observed{Address: netip.MustParseAddr("10.1.2.3"), Session: "s-1", PEP: "gateway"},
	}
	f := &authz.Facts{
		At:        time.Date(2026, 3, 4, 10, 30, 0, 0, time.UTC),
		Schedules: []string{"business-hours"},
		Zones:     []string{"office"},
		Class:     authz.Internal,
		Labels:    []string{"financial"},
		Agent: &authz.Agent{ID: "clerk-7", Owner: "ann", Purpose: "orders", Version: "1", Creator: "ops",
			State: authz.AgentActive, Capabilities: []string{"pay-orders", "read-orders"}},
		Grant: authz.Grant{Within: []string{"pay-orders"}, Class: "money"},
		Trust: authz.NeutralTrust,
		Risk:  authz.Risk{Level: "low", Score: 5},
	}
	return req, f
}

func BenchmarkEvaluate(b *testing.B) {
	for _, kinds := range []int{1, 50, 500} {
		b.Run(fmt.Sprintf("policies=%d", kinds*20), func(b *testing.B) {
			src := policy.Source{Schema: benchSchema(kinds)}
			for k := range kinds {
				src.Files = append(src.Files, policy.File{Name: fmt.Sprintf("kind%d.cedar", k), Text: benchPolicies(k)})
			}
			start := time.Now()
			set, err := policy.Compile(src, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.Logf("compiled in %v", time.Since(start))
			req, f := benchRequest()
			if d := set.Evaluate(req, f); d.Effect != authz.Allow {
				b.Fatalf("%+v", d)
			}
			runtime.GC() // what compiling left behind is not the answer's cost
			at := f.At
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				f.At = at.Add(time.Duration(n) * 10 * time.Microsecond)
				set.Evaluate(req, f)
			}
		})
	}
}
