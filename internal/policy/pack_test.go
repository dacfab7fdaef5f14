package policy_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// someRoute is a default route, which an operator has whose packs let persons decide.
const someRoute = `
approvers: {desk: {members: [{type: user, id: ann}]}}
approvals: {default: desk, routes: {desk: {approvers: [desk]}}}
`

// A pack needs nothing but the base schema, its own reasons and a default route, has no problems, and
// decides what it says.
func TestPacks(t *testing.T) {
	for _, p := range policy.Packs() {
		cat, err := catalog.Parse(p.Name+".catalog.yaml", []byte(p.Catalog+"\n"+someRoute))
		if err != nil {
			t.Fatal(err)
		}
		src := policy.Source{Files: []policy.File{{Name: p.Name + ".cedar", Text: p.Policies}}}
		if _, err := policy.Compile(src, cat); err != nil {
			t.Errorf("pack %s by itself: %v", p.Name, err)
		}
		src.Schema = conductSchema
		src.Files = append(src.Files, policy.File{Name: "own.cedar", Text: `@id("own") permit (principal, action, resource) when { context.observed.data.rank < 9 };`})
		if ps := policy.Check(src, cat, time.Unix(1e9, 0)); len(ps.List) > 0 {
			t.Errorf("pack %s has problems:\n%s", p.Name, ps)
		}
		for _, policy := range strings.Split(p.Policies, "\n@id(")[1:] {
			for _, has := range []string{"@title(", "@reason("} {
				if !strings.Contains(policy, has) {
					t.Errorf("pack %s: policy %.20s has no %s...)", p.Name, policy, has)
				}
			}
		}
		for _, r := range cat.Reasons() {
			if !strings.Contains(p.Policies, `@reason("`+r.ID+`")`) {
				t.Errorf("pack %s: nothing has the reason %s", p.Name, r.ID)
			}
		}
		inner := strings.ReplaceAll(p.Catalog[strings.Index(p.Catalog, "\nreasons:\n")+len("\nreasons:\n"):], "\n", "\n  ")
		if !strings.Contains(p.Cases, "  reasons: # those of "+p.Name+".catalog.yaml\n  "+strings.TrimRight(inner, " ")) {
			t.Errorf("pack %s: the reasons of its cases are not those of its catalog", p.Name)
		}
		rep, err := policy.RunCases(os.DirFS("packs"), p.Name+".test.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if rep.Failed() > 0 || len(rep.Unfired()) > 0 || len(rep.Cases) < 40 {
			t.Errorf("pack %s:\n%s", p.Name, rep)
		}
		if again, err := policy.PackNamed(p.Name); err != nil || again != p {
			t.Errorf("PackNamed(%s) = %v, %v", p.Name, again, err)
		}
	}
	if _, err := policy.PackNamed("trusty"); !errors.Is(err, authz.ErrNotFound) || !strings.Contains(err.Error(), `did you mean "trust"?`) {
		t.Errorf("PackNamed(trusty): %v, want not found and a hint", err)
	}
}

// trustPack compiles the pack with a policy that permits everything.
func trustPack(t testing.TB) *policy.Set {
	t.Helper()
	p, err := policy.PackNamed("trust")
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Parse("catalog.yaml", []byte(p.Catalog+"\ncapabilities: {f: {title: A function, class: read, actions: [use]}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Compile(policy.Source{Schema: conductSchema, Files: []policy.File{
		{Name: "trust.cedar", Text: p.Policies}, {Name: "own.cedar", Text: `permit (principal, action, resource);`},
	}}, cat)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

var (
	trustLevels = []string{"high", "medium", "low", "none"}
	actClasses  = []string{"read", "write", "egress", "money", "admin", ""}
	dataClasses = []authz.DataClass{authz.Public, authz.Internal, authz.Confidential, authz.Restricted}
)

// outcome judges one act, or the issue of a passport for it.
func outcome(set *policy.Set, level, class string, data authz.DataClass, essential, passport bool) authz.Effect {
	agent := &authz.Agent{ID: "bot", State: authz.AgentActive}
	req := use("bot")
	if passport {
		req.Action.Name, req.Resource.Ref = authz.ActionIssue, authz.Ref{Type: authz.CapabilityType, ID: "f"}
	}
	d := set.EvaluateAll(req, &authz.Facts{
		At: time.Unix(1, 0), Agent: agent, Class: data, Risk: authz.Risk{Level: "low"}, Trust: authz.Trust{Level: level, Score: 0.5},
		Grant: authz.Grant{Within: []string{"f"}, Class: class, Essential: essential},
	})
	return d.Effect
}

// The tables of docs/policies.md are what the pack decides, for every level, class and data class.
func TestTrustPackTable(t *testing.T) {
	set := trustPack(t)
	words := map[authz.Effect]string{authz.Allow: "yes", authz.RequireApproval: "ask", authz.Deny: "no"}
	name := func(class string) string {
		if class == "" {
			return "no class"
		}
		return class
	}
	acts := "| act | data | high | medium | low | none | essential, at low and none |\n|---|---|---|---|---|---|---|\n"
	for _, class := range actClasses {
		type row struct {
			data  []string
			cells []string
		}
		var rows []row
		for _, data := range dataClasses {
			var cells []string
			for _, level := range trustLevels {
				cells = append(cells, words[outcome(set, level, class, data, false, false)])
			}
			low := outcome(set, "low", class, data, true, false)
			if none := outcome(set, "none", class, data, true, false); none != low {
				t.Errorf("%s of %s data that is essential: %s at low, %s at none", class, data, low, none)
			}
			if medium := outcome(set, "medium", class, data, true, false); medium != low {
				t.Errorf("%s of %s data that is essential: %s at low, %s at medium", class, data, low, medium)
			}
			if class == "" {
				cells = append(cells, "") // what nothing covers is no essential function
			} else {
				cells = append(cells, words[low])
			}
			if n := len(rows) - 1; n >= 0 && slices.Equal(rows[n].cells, cells) {
				rows[n].data = append(rows[n].data, data.String())
			} else {
				rows = append(rows, row{[]string{data.String()}, cells})
			}
		}
		for _, r := range rows {
			data := strings.Join(r.data, ", ")
			if len(r.data) == len(dataClasses) {
				data = "any"
			}
			acts += fmt.Sprintf("| %s | %s | %s |\n", name(class), data, strings.Join(r.cells, " | "))
		}
	}
	passports := "| passport with | high | medium | low | none | essential, at low and none |\n|---|---|---|---|---|---|\n"
	for _, class := range actClasses[:5] {
		var cells []string
		for _, level := range trustLevels {
			want := outcome(set, level, class, authz.Restricted, false, true)
			for _, data := range dataClasses {
				if got := outcome(set, level, class, data, false, true); got != want {
					t.Errorf("a passport with %s at %s: %s for %s data, %s for restricted", class, level, got, data, want)
				}
			}
			cells = append(cells, words[want])
		}
		cells = append(cells, words[outcome(set, "none", class, authz.Restricted, true, true)])
		passports += fmt.Sprintf("| %s | %s |\n", class, strings.Join(cells, " | "))
	}
	page, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{acts, passports} {
		if !strings.Contains(string(page), table) {
			t.Errorf("docs/policies.md does not have the table\n%s", table)
		}
	}
}

// Reasons are told to agents, their codes as well as their messages: none says that it is about trust.
func TestTrustPackTellsNothingOfTrust(t *testing.T) {
	pack, err := policy.PackNamed("trust")
	if err != nil {
		t.Fatal(err)
	}
	reasons, err := catalog.Parse("trust.catalog.yaml", []byte(pack.Catalog))
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, name := range regexp.MustCompile(`@reason\("([^"]*)"\)`).FindAllStringSubmatch(pack.Policies, -1) {
		r, ok := reasons.Reason(name[1])
		if told++; !ok {
			t.Errorf("reason %q is not declared", name[1])
		}
		for _, word := range []string{"trust", "level", "conduct", "monitor", "finding", "score"} {
			if strings.Contains(strings.ToLower(name[1]+" "+r.Message), word) {
				t.Errorf("the refused are told of %s: %s, %q", word, name[1], r.Message)
			}
		}
	}
	if told == 0 {
		t.Error("the pack has no reasons")
	}
}

// Less trust never gives more, and nor does more sensitive data, or being less than essential.
func TestTrustPackIsMonotone(t *testing.T) {
	set := trustPack(t)
	for _, passport := range []bool{false, true} {
		for _, class := range actClasses {
			for _, essential := range []bool{false, true} {
				for i, data := range dataClasses {
					for j, level := range trustLevels {
						at := outcome(set, level, class, data, essential, passport)
						what := fmt.Sprintf("%s of %s data at %s, essential %v, passport %v: %s", class, data, level, essential, passport, at)
						if j > 0 && at > outcome(set, trustLevels[j-1], class, data, essential, passport) {
							t.Errorf("%s, more than with more trust", what)
						}
						if i > 0 && at > outcome(set, level, class, dataClasses[i-1], essential, passport) {
							t.Errorf("%s, more than with milder data", what)
						}
						if !essential && at > outcome(set, level, class, data, true, passport) {
							t.Errorf("%s, more than if it were essential", what)
						}
					}
				}
			}
		}
	}
}

// The pack stands beside an organisation's own policies, with its own catalog.
func TestTrustPackBesideOthers(t *testing.T) {
	p, err := policy.PackNamed("trust")
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		b, err := os.ReadFile("../../examples/agentdojo/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	_, reasons, ok := strings.Cut(p.Catalog, "\nreasons:\n")
	if !ok {
		t.Fatal("the pack's catalog has no reasons")
	}
	own := strings.Replace(read("catalog.yaml"), "\nreasons:\n", "\nreasons:\n"+reasons, 1)
	cat, err := catalog.Parse("catalog.yaml", []byte(own))
	if err != nil {
		t.Fatal(err)
	}
	src := policy.Source{Schema: read("schema.cedarschema"), Files: []policy.File{{Name: "trust.cedar", Text: p.Policies}}}
	for _, name := range []string{"10-functions", "20-people", "30-guardrails", "40-destinations"} {
		src.Files = append(src.Files, policy.File{Name: name + ".cedar", Text: read("policies/" + name + ".cedar")})
	}
	if ps := policy.Check(src, cat, time.Unix(1.8e9, 0)); len(ps.List) > 0 {
		t.Errorf("beside the example's policies:\n%s", ps)
	}
	if _, err := policy.Compile(src, cat); err != nil {
		t.Error(err)
	}
}

// Whoever copies the files of a pack into a directory of his own can test them there.
func TestPackFilesStandAlone(t *testing.T) {
	for _, p := range policy.Packs() {
		rep, err := policy.RunCases(fstest.MapFS{
			"org/" + p.Name + ".cedar":     {Data: []byte(p.Policies)},
			"org/" + p.Name + ".test.yaml": {Data: []byte(p.Cases)},
		}, "org/"+p.Name+".test.yaml")
		if err != nil || rep.Failed() > 0 {
			t.Errorf("pack %s in a directory of its own: %v\n%v", p.Name, err, rep)
		}
		// A case that the pack gets wrong fails, so that the cases are worth something.
		weak := strings.Replace(p.Policies, "@id(\"trust-none\")", "@id(\"trust-none\") @mode(\"disabled\")", 1)
		rep, err = policy.RunCases(fstest.MapFS{
			"trust.cedar": {Data: []byte(weak)}, "trust.test.yaml": {Data: []byte(p.Cases)},
		}, "trust.test.yaml")
		if d := cmp.Diff(nil, err); d != "" || rep.Failed() == 0 {
			t.Errorf("pack %s without a policy: %v, want failures", p.Name, err)
		}
	}
}
