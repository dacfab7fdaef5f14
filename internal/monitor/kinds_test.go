package monitor_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/internal/monitor"
)

// Kinds has every kind that a monitor can find, and the documentation names each beside its family.
func TestKinds(t *testing.T) {
	files, err := filepath.Glob("*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var declared, listed []string
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`conduct\.Kind = "([^"]+)"`).FindAllSubmatch(text, -1) {
			declared = append(declared, string(m[1]))
		}
	}
	page, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	families := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+)` \\|(.*)$").FindAllStringSubmatch(string(page), -1) {
		families[m[1]] += m[2]
	}
	for _, k := range monitor.Kinds() {
		listed = append(listed, string(k))
		family, kind, _ := strings.Cut(string(k), ".")
		if !strings.Contains(families[family], "`"+kind+"`") {
			t.Errorf("docs/monitoring.md does not name %s in the line of its family", k)
		}
	}
	slices.Sort(declared)
	slices.Sort(listed)
	if diff := cmp.Diff(declared, listed); diff != "" {
		t.Errorf("kinds (-declared +listed):\n%s", diff)
	}
}
