package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// Validated returns what the validator finds in each policy of the text: once by the schema that is
// narrowed to the policy, once by the whole. All policies share one narrower, as when compiling.
func Validated(schemaText, text string) (narrow, whole [][]string, err error) {
	ps := new(Problems)
	s := newSchema(schemaText, ps)
	rules := parsePolicies([]File{{Name: "p.cedar", Text: text}}, ps)
	if err := ps.Err(); err != nil {
		return nil, nil, err
	}
	messages := func(v *validate.Validator, r *rule) []string {
		out := []string{}
		for _, err := range validatePolicy(v, r.ast) {
			out = append(out, err.Error())
		}
		slices.Sort(out)
		return out
	}
	n, full := newNarrower(s, s.resolved), validate.New(s.resolved, validate.WithStrict())
	for _, r := range rules {
		narrow = append(narrow, messages(n.validator(r.ast), r))
		whole = append(whole, messages(full, r))
	}
	return narrow, whole, nil
}

var InParallel = inParallel
