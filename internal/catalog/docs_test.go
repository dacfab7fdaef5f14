package catalog_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/safeconduct/safeconduct/internal/catalog"
)

// Every example of docs/catalog.md is a catalog.
func TestExamplesOfTheManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/catalog.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := examples(string(text))
	if len(examples) < 10 {
		t.Fatalf("found %d examples in the manual, want at least one a section", len(examples))
	}
	for i, e := range examples {
		if _, err := catalog.Parse(fmt.Sprintf("example-%d.yaml", i+1), []byte(e)); err != nil {
			t.Errorf("%v\nin:\n%s", err, e)
		}
	}
}

// The weights that the manual shows are those that hold without it.
func TestManualShowsDefaultWeights(t *testing.T) {
	text, err := os.ReadFile("../../docs/catalog.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range examples(string(text)) {
		if !strings.HasPrefix(e, "risk:") {
			continue
		}
		want := catalog.DefaultWeights()
		want.UnknownZone = 10
		if got := *parse(t, e).Weights(); got != want {
			t.Errorf("weights in the manual = %+v, want the defaults %+v", got, want)
		}
		if got := parse(t, "networks: {office: [10.0.0.0/8]}").Weights().UnknownZone; got != want.UnknownZone {
			t.Errorf("unknown_zone with networks = %d, want %d", got, want.UnknownZone)
		}
		return
	}
	t.Error("the manual has no example of risk")
}

// The rules of conduct that the manual shows are those that hold without it, and it shows all of them.
func TestManualShowsDefaultConduct(t *testing.T) {
	text, err := os.ReadFile("../../docs/catalog.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range examples(string(text)) {
		if !strings.HasPrefix(e, "conduct:\n  mode:") {
			continue
		}
		want := catalog.DefaultConduct()
		if diff := cmp.Diff(&want, parse(t, e).Conduct(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("conduct in the manual (-default +manual):\n%s", diff)
		}
		return
	}
	t.Error("the manual has no example of conduct")
}

// Every member of conduct has a line in the manual.
func TestManualNamesEveryMemberOfConduct(t *testing.T) {
	text, err := os.ReadFile("../../docs/catalog.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## conduct\n")
	if !ok {
		t.Fatal("the manual has no section conduct")
	}
	place := map[string]string{"trust": "", "deviation": "deviation.", "escalation": "escalation.", "performance": "performance.", "compliance": "", "asking": "asking.", "": ""}
	named := regexp.MustCompile(`it may have ([a-z_, ]+)`)
	for object, prefix := range place {
		doc := "conduct: {" + object + ": {nothing: 1}}"
		if object == "" {
			doc = "conduct: {nothing: 1}"
		}
		_, err := catalog.Parse("c", []byte(doc))
		if err == nil {
			t.Fatalf("%s is accepted", doc)
		}
		found := named.FindStringSubmatch(err.Error())
		if found == nil {
			t.Fatalf("%s is refused with %v, want its members named", doc, err)
		}
		for _, member := range strings.Split(found[1], ", ") {
			if _, whole := place[member]; !whole && !strings.Contains(section, "`"+prefix+member+"`") && !strings.Contains(section, "`"+member+".") {
				t.Errorf("the manual has no line of %q of %q", member, object)
			}
		}
	}
}

// Every member of a section of asking people has a line in the manual.
func TestManualNamesEveryMemberOfApprovals(t *testing.T) {
	text, err := os.ReadFile("../../docs/catalog.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`it may have ([a-z_, ]+)`)
	members := func(section, prefix, doc string, except ...string) {
		t.Helper()
		_, page, _ := strings.Cut(string(text), "\n## "+section+"\n")
		page, _, _ = strings.Cut(page, "\n## ")
		_, err := catalog.Parse("c", []byte(doc))
		if err == nil {
			t.Fatalf("%s is accepted", doc)
		}
		found := named.FindStringSubmatch(err.Error())
		if found == nil {
			t.Fatalf("%s is refused with %v, want its members named", doc, err)
		}
		for _, m := range strings.Split(found[1], ", ") {
			if !strings.Contains(page, "`"+prefix+m+"`") && !slices.Contains(except, m) {
				t.Errorf("the section %s has no line of %q", section, prefix+m)
			}
		}
	}
	members("approvals", "", "approvals: {nothing: 1}", "routes", "asks") // these are in its headings
	members("approvals", "asks.", "approvals: {asks: {nothing: 1}}")
	members("approvals", "", "approvals: {routes: {a: {nothing: 1}}}")
	members("assurance", "", "assurance: {a: {nothing: 1}}")
	budget := catalog.DefaultAskBudget()
	if line := fmt.Sprintf("| %d, %d, %d; to", budget.Session, budget.Hour, budget.Pending); !strings.Contains(string(text), line) {
		t.Errorf("the manual does not have the default budget %q", line)
	}
}

// examples returns the YAML blocks of a page.
func examples(page string) (all []string) {
	for {
		_, rest, ok := strings.Cut(page, "\n```yaml\n")
		if !ok {
			return all
		}
		e, rest, _ := strings.Cut(rest, "\n```\n")
		all, page = append(all, e+"\n"), rest
	}
}

func parse(t interface {
	Helper()
	Fatalf(string, ...any)
}, text string) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Parse("catalog.yaml", []byte(text))
	if err != nil {
		t.Fatalf("Parse: %v\nin:\n%s", err, text)
	}
	return c
}
