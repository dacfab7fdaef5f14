package policy_test

import (
	"os"
	"testing"

	"github.com/safeconduct/safeconduct/internal/policy"
)

// testdata/rules.txtar has a case for every rule by which requests are judged.
func TestRules(t *testing.T) {
	rep, err := policy.RunCases(os.DirFS("testdata"), "rules.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if rep.Failed() > 0 {
		t.Errorf("%s", rep)
	}
	if got, least := len(rep.Cases), 65; got < least {
		t.Errorf("ran %d cases, want at least %d", got, least)
	}
}
