package policy_test

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/safeconduct/safeconduct/internal/policy"
)

// TestDocs runs the examples of docs/policy-testing.md.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/policy-testing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the page has no example")
	}
	fsys := fstest.MapFS{"payments.test.yaml": {Data: []byte(example)}}
	for _, name := range []string{"payments.cedar", "guardrails.cedar", "schema.cedarschema", "catalog.yaml"} {
		text, err := fs.ReadFile(os.DirFS("testdata/payments"), name)
		if err != nil {
			t.Fatal(err)
		}
		fsys[name] = &fstest.MapFile{Data: text}
	}
	rep, err := policy.RunCases(fsys, "payments.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if rep.Failed() > 0 || len(rep.Cases) != 6 {
		t.Errorf("the example: %s", rep)
	}

	if shown := "    " + strings.ReplaceAll(strings.TrimSpace(rep.String()), "\n", "\n    ") + "\n"; !strings.Contains(string(page), shown) {
		t.Errorf("the page does not show what comes out:\n%s", shown)
	}

	// Without the policy that asks for approval, the case fails as the page shows.
	without := strings.Replace(string(fsys["guardrails.cedar"].Data), "@id(\"large-sums\")", "@id(\"large-sums\") @mode(\"disabled\")", 1)
	fsys["guardrails.cedar"] = &fstest.MapFile{Data: []byte(without)}
	if rep, err = policy.RunCases(fsys, "payments.test.yaml"); err != nil || rep.Failed() != 1 {
		t.Fatalf("without a policy: %v, %v, want one failure", rep, err)
	}
	shown := "    " + strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(rep.Cases[1].String()), "\t", "        "), "\n", "\n    ") + "\n"
	if !strings.Contains(string(page), shown) {
		t.Errorf("the page does not show how a case fails:\n%s", shown)
	}

	_, rest, _ = strings.Cut(string(page), "    -- guard.cedar --\n")
	archive, _, ok := strings.Cut(rest, "\n\n")
	if !ok {
		t.Fatal("the page has no archive")
	}
	archive = "-- guard.cedar --\n" + strings.ReplaceAll("\n"+archive, "\n    ", "\n")
	rep, err = policy.RunCases(fstest.MapFS{"a.txtar": {Data: []byte(archive)}}, "a.txtar")
	if err != nil || rep.Failed() > 0 || len(rep.Cases) != 1 {
		t.Errorf("the archive: %v, %v\n%s", rep, err, archive)
	}
}
