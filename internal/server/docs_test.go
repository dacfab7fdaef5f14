package server_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/internal/server"
)

// The documentation names every setting and every number, and nothing that is not there.
func TestDocumentation(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	configuration, operations := read("configuration.md"), read("operations.md")
	for _, name := range server.Settings() {
		if !strings.Contains(configuration, "`"+name+"`") {
			t.Errorf("docs/configuration.md does not name %s", name)
		}
	}
	block := configuration[strings.Index(configuration, "```yaml\n")+8:]
	if _, err := server.Parse("docs/configuration.md", []byte(block[:strings.Index(block, "```")])); err != nil {
		t.Errorf("the example of docs/configuration.md: %v", err)
	}

	s := start(t, organisation(t, testdata("search")))
	s.decide()
	page := s.do("GET", "/metrics", "", "").body
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (safeconduct_\w+)`).FindAllStringSubmatch(page, -1) {
		if !strings.Contains(operations, "`"+m[1]) {
			t.Errorf("docs/operations.md does not name %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile("`(safeconduct_\\w+)").FindAllStringSubmatch(operations, -1) {
		if !strings.Contains(page, "# TYPE "+m[1]+" ") {
			t.Errorf("docs/operations.md names %s, which is not served", m[1])
		}
	}
	for _, want := range []string{`safeconduct_decisions_total{code="allowed",effect="allow"} 1`, "safeconduct_policy_version 1", "safeconduct_fresh 1"} {
		if !strings.Contains(page, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}
