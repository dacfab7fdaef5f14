package catalog_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

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
