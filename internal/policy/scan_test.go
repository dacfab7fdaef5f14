package policy_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// draws are random choices that come out the same in every run.
type draws struct{ *rand.Rand }

func (d draws) pick(list ...string) string { return list[d.IntN(len(list))] }

// drawPolicy draws a policy: any scope, and conditions that read all sorts of things and may err.
func drawPolicy(d draws, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "@id(\"p%d\")", n)
	if d.pick("enforce", "enforce", "enforce", "disabled") == "disabled" {
		b.WriteString(` @mode("disabled")`)
	}
	if d.pick("no", "no", "no", "yes") == "yes" {
		b.WriteString(d.pick(` @expires("2026-03-04T12:00:00Z")`, ` @not_before("2026-03-04T12:00:00Z")`, ` @expires("2026-03-04T12:00:01Z")`))
	}
	fmt.Fprintf(&b, "\n%s (%s, %s, %s)",
		d.pick("permit", "permit", "forbid"),
		d.pick(`principal`, `principal`, `principal is User`, `principal is Agent`, `principal == User::"ann"`,
			`principal in Group::"staff"`, `principal in User::"bob"`, `principal is User in Group::"staff"`,
			`principal in Purpose::"work"`, `principal is Agent in Purpose::"play"`, `principal == Agent::"bot"`),
		d.pick(`action`, `action == Action::"read"`, `action == Action::"sync"`, `action in Action::"all"`, `action in Action::"reads"`,
			`action in [Action::"reads", Action::"writes"]`, `action in [Action::"read", Action::"ping"]`, `action in Action::"list"`),
		d.pick(`resource`, `resource`, `resource is Doc`, `resource is Folder`, `resource is Tool`, `resource == Doc::"d1"`,
			`resource in Folder::"a"`, `resource in Folder::"b"`, `resource in Folder::"x"`, `resource in Doc::"d2"`,
			`resource is Doc in Folder::"a"`, `resource is Folder in Folder::"b"`, `resource == Folder::"b"`, `resource in Folder::"nowhere"`))
	for range d.IntN(3) {
		fmt.Fprintf(&b, "\n%s { %s }", d.pick("when", "unless"), d.pick(`context.observed.risk.rank > 1`,
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

func drawRequest(d draws) (*authz.Request, *authz.Facts) {
	ref := func(list ...string) authz.Ref {
		typ, id, _ := strings.Cut(d.pick(list...), ":")
		return authz.Ref{Type: typ, ID: id}
	}
	req := &authz.Request{
		Subject:  authz.Entity{Ref: ref("agent:bot", "user:ann", "user:bob", "User:carl")},
		Action:   authz.Action{Name: d.pick("read", "list", "write", "sync", "ping"), Properties: authz.Claimed(d.pick(``, `{}`, `{"n":3}`, `{"n":9223372036854775807,"text":"t"}`))},
		Resource: authz.Entity{Ref: ref("Doc:d1", "Doc:d2", "Doc:d3", "Doc:new", "Folder:a", "Folder:b", "Folder:x", "Folder:new", "Tool:t"), Properties: authz.Claimed(d.pick(``, `{"size":1}`, `{"size":9,"near":"d3"}`))},
		Context:  authz.Claimed(d.pick(``, `{"purpose":"x"}`, `{"confidence":0.5}`)),
		Observed: authz.Observed{Session: d.pick("", "s1"), PEP: d.pick("gateway", "sdk")},
	}
	if d.pick("yes", "no") == "yes" {
		req.Observed.Address = netip.MustParseAddr(d.pick("10.0.0.1", "::ffff:10.0.0.1", "192.0.2.1", "fe80::1%eth0"))
	}
	if d.pick("yes", "no") == "yes" {
		req.Observed.Provenance = &authz.Provenance{Untrusted: []string{"text"}}
	}
	f := &authz.Facts{
		At:        noon,
		Schedules: []string{"day"},
		Class:     authz.DataClass(d.IntN(4)),
		Grant:     authz.Grant{Within: []string{d.pick("cap", "other")}},
		Trust:     authz.Trust{Level: d.pick("none", "medium", "high"), Score: 0.5},
		Risk:      authz.Risk{Level: d.pick("low", "high"), Score: 10},
	}
	if req.Subject.Type == "agent" || d.pick("yes", "no") == "yes" {
		f.Agent = &authz.Agent{ID: "bot", Purpose: d.pick("work", "play", ""), State: authz.AgentActive, Labels: map[string]string{"team": "red"}}
	}
	if d.pick("utc", "tokyo") == "tokyo" {
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
	sets := 400
	if testing.Short() {
		sets = 60
	}
	for seed := range uint64(sets) {
		d := draws{rand.New(rand.NewPCG(seed, 2))}
		var text strings.Builder
		for n := range 1 + d.IntN(12) {
			text.WriteString(drawPolicy(d, n))
		}
		set, err := policy.Compile(policy.Source{Schema: scanSchema, Files: []policy.File{{Name: "p.cedar", Text: text.String()}}}, cat)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		fatalf := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("seed %d: %s\nof\n%s", seed, fmt.Sprintf(format, args...), text.String())
		}
		for range 8 {
			req, f := drawRequest(d)
			if _, err := set.Conforms(req, f); err != nil {
				fatalf("what Cedar is given is not valid: %v", err)
			}
			satisfied, erring, ok := set.Scan(req, f)
			if !ok {
				fatalf("the request has a fault: %+v", set.Evaluate(req, f))
			}
			var got, gotErring []string
			answer := set.Evaluate(req, f)
			outcomes[answer.Code]++
			forbidErrs, forbids, permits := false, false, false
			for _, fired := range answer.Fired {
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
				fatalf("satisfied, erring (-scan +Evaluate):\n%s", diff)
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
			if answer.Code != want || answer.Allowed() != (want == authz.CodeAllowed) {
				fatalf("Evaluate = %v, %s; want %s", answer.Effect, answer.Code, want)
			}
		}
	}
	// The draws are the same in every run, so that this is certain.
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
