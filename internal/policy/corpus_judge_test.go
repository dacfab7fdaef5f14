package policy_test

import (
	"github.com/cedar-policy/cedar-go"

	"github.com/safeconduct/safeconduct/internal/policy"
)

// A twoSets is our answer, with the policies that decided and those that erred, as Cedar reports them.
type twoSets struct {
	allowed         bool
	reasons, errors []string
}

// judgeTwoSets judges by our index and our two sets.
func judgeTwoSets(b *policy.Bench, req cedar.Request) twoSets {
	allowed, forbids, permits, errs := b.Judge(req)
	out := twoSets{allowed: allowed, reasons: permits, errors: errs}
	if len(forbids) > 0 {
		out.reasons = forbids // Cedar names the policies of the side that won
	}
	return out
}
