package policy_test

import (
	"os"
	"testing"

	"github.com/safeconduct/safeconduct/internal/policy"
)

// testdata has a case for every rule by which requests are judged.
func TestRules(t *testing.T) {
	for name, least := range map[string]int{"rules.txtar": 65, "approvals.txtar": 50} {
		rep, err := policy.RunCases(os.DirFS("testdata"), name)
		if err != nil {
			t.Fatal(err)
		}
		if rep.Failed() > 0 {
			t.Errorf("%s: %s", name, rep)
		}
		if got := len(rep.Cases); got < least {
			t.Errorf("%s: ran %d cases, want at least %d", name, got, least)
		}
	}
}
