package policy_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
)

const scanSchema = `
entity Folder in [Folder];
entity Doc in [Folder] { size?: Long, near?: Doc };
entity Tool;
action all;
action reads in [all];
action writes in [all];
action both in [reads, writes];
type Said = { observed: Observed, claimed?: Claimed, args?: { n?: Long, text?: String } };
action read in [reads] appliesTo { principal: [Agent, User], resource: [Doc, Folder, Tool], context: Said };
action list in [reads, all] appliesTo { principal: [Agent, User], resource: [Doc, Folder, Tool], context: Said };
action write in [writes] appliesTo { principal: [Agent, User], resource: [Doc, Folder, Tool], context: Said };
action sync in [both] appliesTo { principal: [Agent, User], resource: [Doc, Folder, Tool], context: Said };
action ping appliesTo { principal: [Agent, User], resource: [Doc, Folder, Tool], context: Said };`

const scanCatalog = `
types:
  Doc: {request_properties: [size]}
entities:
  - {type: Folder, id: a}
  - {type: Folder, id: x}
  - {type: Folder, id: b, parents: [{type: Folder, id: a}]}
  - {type: Folder, id: c, parents: [{type: Folder, id: b}, {type: Folder, id: x}]}
  - {type: Doc, id: d1, parents: [{type: Folder, id: c}], properties: {near: d2}}
  - {type: Doc, id: d2, parents: [{type: Folder, id: a}], properties: {size: 9223372036854775807}}
  - {type: Doc, id: d3}
  - {type: Group, id: staff}
  - {type: user, id: ann, parents: [{type: Group, id: staff}], properties: {roles: [chief]}}
  - {type: user, id: bob}
`

// drawPolicy draws a policy: any scope, and conditions that read all sorts of things and may err.
func drawPolicy(t *rapid.T, n int) string {
	pick := func(label string, list ...string) string { return rapid.SampledFrom(list).Draw(t, label) }
	var b strings.Builder
	fmt.Fprintf(&b, "@id(\"p%d\")", n)
	if pick("mode", "enforce", "enforce", "enforce", "disabled") == "disabled" {
		b.WriteString(` @mode("disabled")`)
	}
	if pick("dated", "no", "no", "no", "yes") == "yes" {
		b.WriteString(pick("date", ` @expires("2026-03-04T12:00:00Z")`, ` @not_before("2026-03-04T12:00:00Z")`, ` @expires("2026-03-04T12:00:01Z")`))
	}
	fmt.Fprintf(&b, "\n%s (%s, %s, %s)",
		pick("effect", "permit", "permit", "forbid"),
		pick("principal", `principal`, `principal`, `principal is User`, `principal is Agent`, `principal == User::"ann"`,
			`principal in Group::"staff"`, `principal in User::"bob"`, `principal is User in Group::"staff"`,
			`principal in Purpose::"work"`, `principal is Agent in Purpose::"play"`, `principal == Agent::"bot"`),
		pick("action", `action`, `action == Action::"read"`, `action == Action::"sync"`, `action in Action::"all"`, `action in Action::"reads"`,
			`action in [Action::"reads", Action::"writes"]`, `action in [Action::"read", Action::"ping"]`, `action in Action::"list"`),
		pick("resource", `resource`, `resource`, `resource is Doc`, `resource is Folder`, `resource is Tool`, `resource == Doc::"d1"`,
			`resource in Folder::"a"`, `resource in Folder::"b"`, `resource in Folder::"x"`, `resource in Doc::"d2"`,
			`resource is Doc in Folder::"a"`, `resource is Folder in Folder::"b"`, `resource == Folder::"b"`, `resource in Folder::"nowhere"`))
	for range rapid.IntRange(0, 2).Draw(t, "conditions") {
		fmt.Fprintf(&b, "\n%s { %s }", pick("word", "when", "unless"), pick("condition",
			`context.observed.risk.rank > 1`,
			`context.observed.risk has level && context.observed.risk.level == "high"`,
			`context.observed.time.hour < 12 || context.observed.time.weekday == "wed"`,
			`context.observed.time.epoch + context.observed.time.hour > 0`,
			`context.observed.network has ip && context.observed.network.ip.isInRange(ip("10.0.0.0/8"))`,
			`context.observed has session && context.observed.session like "s*"`,
			`context.observed.time.epoch * 9223372036854775807 > 0`,
			`context.observed has session && context.observed.time.hour * 9223372036854775807 > 0`,
			`context.observed == context.observed`,
			`context.observed.network == context.observed.network && context.observed.data.rank == 3`,
			`(if context.observed.provenance.known then context.observed.trust else context.observed.trust).rank >= 2`,
			`[context.observed.data.class, context.observed.pep].contains("gateway")`,
			`context has claimed && context.claimed has purpose && context.claimed.purpose == "x"`,
			`context has args && context.args has n && context.args.n + 1 > 0`,
			`context has args`,
			`{a: context.observed.grant}.a.within.contains("cap")`,
			`context.observed has agent && context.observed.agent.state == "active"`,
			`context.observed has agent && context.observed.agent.hasTag("team") && context.observed.agent.getTag("team") == "red"`,
			`principal is User && principal has roles && principal.roles.contains("chief")`,
			`resource is Doc && resource has size && resource.size * 2 > 5`,
			`resource is Doc && resource has near && resource.near has size && resource.near.size + 1 > 5`,
			`action in Action::"writes"`,
			`resource in Folder::"a" && resource in [Folder::"b", Folder::"x"]`,
		))
	}
	b.WriteString(";\n")
	return b.String()
}

func drawRequest(t *rapid.T) (*authz.Request, *authz.Facts) {
	pick := func(label string, list ...string) string { return rapid.SampledFrom(list).Draw(t, label) }
	ref := func(label string, list ...string) authz.Ref {
		typ, id, _ := strings.Cut(pick(label, list...), ":")
		return authz.Ref{Type: typ, ID: id}
	}
	req := &authz.Request{
		Subject:  authz.Entity{Ref: ref("subject", "agent:bot", "user:ann", "user:bob", "User:carl")},
		Action:   authz.Action{Name: pick("name", "read", "list", "write", "sync", "ping"), Properties: authz.Claimed(pick("args", ``, `{}`, `{"n":3}`, `{"n":9223372036854775807,"text":"t"}`))},
		Resource: authz.Entity{Ref: ref("on", "Doc:d1", "Doc:d2", "Doc:d3", "Doc:new", "Folder:a", "Folder:b", "Folder:x", "Folder:new", "Tool:t"), Properties: authz.Claimed(pick("props", ``, `{"size":1}`, `{"size":9,"near":"d3"}`))},
		Context:  authz.Claimed(pick("context", ``, `{"purpose":"x"}`, `{"confidence":0.5}`)),
		Observed: authz.Observed{Session: pick("session", "", "s1"), PEP: pick("pep", "gateway", "sdk")},
	}
	if pick("address", "yes", "no") == "yes" {
		req.Observed.Address = netip.MustParseAddr(pick("ip", "10.0.0.1", "::ffff:10.0.0.1", "192.0.2.1", "fe80::1%eth0"))
	}
	if pick("kept", "yes", "no") == "yes" {
		req.Observed.Provenance = &authz.Provenance{Untrusted: []string{"text"}}
	}
	f := &authz.Facts{
		At:        noon,
		Schedules: []string{"day"},
		Class:     authz.DataClass(rapid.IntRange(0, 3).Draw(t, "class")),
		Grant:     authz.Grant{Within: []string{pick("cap", "cap", "other")}},
		Trust:     authz.Trust{Level: pick("trust", "none", "medium", "high"), Score: 0.5},
		Risk:      authz.Risk{Level: pick("risk", "low", "high"), Score: 10},
	}
	if req.Subject.Type == "agent" || pick("acting", "yes", "no") == "yes" {
		f.Agent = &authz.Agent{ID: "bot", Purpose: pick("purpose", "work", "play", ""), State: authz.AgentActive, Labels: map[string]string{"team": "red"}}
	}
	if pick("zone", "utc", "tokyo") == "tokyo" {
		f.Zone = time.FixedZone("Tokyo", 9*3600)
	}
	return req, f
}

// Our judgement and Cedar's scan of all policies, with their scopes and over the whole context, must
// find the same policies satisfied and the same in error; and the outcome must follow the rules.
func TestAgainstScan(t *testing.T) {
	cat, err := catalog.Parse("catalog.yaml", []byte(scanCatalog))
	if err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		for n := range rapid.IntRange(1, 12).Draw(t, "policies") {
			text.WriteString(drawPolicy(t, n))
		}
		set, err := policy.Compile(policy.Source{Schema: scanSchema, Files: []policy.File{{Name: "p.cedar", Text: text.String()}}}, cat)
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			req, f := drawRequest(t)
			if _, err := set.Conforms(req, f); err != nil {
				t.Fatalf("what Cedar is given is not valid: %v", err)
			}
			satisfied, erring, ok := set.Scan(req, f)
			if !ok {
				t.Fatalf("the request has a fault: %+v", set.Evaluate(req, f))
			}
			d := set.Evaluate(req, f)
			outcomes[d.Code]++
			var got, gotErring []string
			forbidErrs, forbids, permits := false, false, false
			for _, fired := range d.Fired {
				if fired.Error != "" {
					gotErring = append(gotErring, fired.Policy)
					forbidErrs = forbidErrs || fired.Effect == "forbid"
					continue
				}
				got = append(got, fired.Policy)
				forbids = forbids || fired.Effect == "forbid"
				permits = permits || fired.Effect == "permit"
			}
			slices.Sort(got)
			slices.Sort(gotErring)
			if forbids { // then nothing is said of permits
				satisfied = slices.DeleteFunc(satisfied, func(id string) bool { return !slices.Contains(got, id) && isPermit(text.String(), id) })
			}
			if diff := cmp.Diff(satisfied, got) + cmp.Diff(erring, gotErring); diff != "" {
				t.Fatalf("satisfied, erring (-scan +Evaluate):\n%s", diff)
			}
			want := authz.CodeNoPermit
			switch {
			case forbidErrs:
				want = authz.CodePolicyError
			case forbids:
				want = authz.CodeForbidden
			case permits:
				want = authz.CodeAllowed
			}
			if d.Code != want || d.Allowed() != (want == authz.CodeAllowed) {
				t.Fatalf("Evaluate = %v, %s; want %s", d.Effect, d.Code, want)
			}
		}
	})
	for _, code := range []string{authz.CodeAllowed, authz.CodeNoPermit, authz.CodeForbidden, authz.CodePolicyError} {
		if outcomes[code] == 0 {
			t.Errorf("no request drawn came to %s: %v", code, outcomes)
		}
	}
}

func isPermit(text, id string) bool {
	_, rest, _ := strings.Cut(text, fmt.Sprintf("@id(%q)", id))
	permit, forbid := strings.Index(rest, "\npermit ("), strings.Index(rest, "\nforbid (")
	return permit >= 0 && (forbid < 0 || permit < forbid)
}
