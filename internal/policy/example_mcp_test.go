package policy_test

import (
	"os"
	"testing"

	"github.com/safeconduct/safeconduct/internal/policy"
)

// The organisation of the MCP example decides what its cases say, and every policy of it in one of them.
func TestExampleMCP(t *testing.T) {
	rep, err := policy.RunCases(os.DirFS("../../examples/mcp"), "organisation.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if rep.Failed() > 0 || len(rep.Unfired()) > 0 || len(rep.Cases) < 12 {
		t.Errorf("examples/mcp:\n%s", rep)
	}
}
