package agentdojo_test

import (
	"io/fs"
	"os"
	"testing"

	"github.com/safeconduct/safeconduct/examples/agentdojo"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// set compiles the organisation as the service would.
func set(t testing.TB) *policy.Set {
	t.Helper()
	read := func(name string) []byte {
		b, err := agentdojo.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	cat, err := catalog.Parse("catalog.yaml", read("catalog.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	src := policy.Source{Schema: string(read("schema.cedarschema"))}
	names, err := fs.Glob(agentdojo.Files, "policies/*.cedar")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		src.Files = append(src.Files, policy.File{Name: n, Text: string(read(n))})
	}
	s, err := policy.Compile(src, cat)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCompiles(t *testing.T) {
	if n := set(t).Len(); n < 25 {
		t.Errorf("%d policies, want at least 25", n)
	}
}

// The cases say what the policies must say, and every policy fires in one of them.
func TestCases(t *testing.T) {
	rep, err := policy.RunCases(os.DirFS("."), "organisation.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if rep.Failed() > 0 || len(rep.Unfired()) > 0 || len(rep.Cases) < 30 {
		t.Error(rep)
	}
}
