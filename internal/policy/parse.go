package policy

import (
	"fmt"

	"github.com/cedar-policy/cedar-go"
)

// parseOne parses the text of exactly one policy. Cedar's parser of one policy passes over whatever
// follows it, so that of lists is asked: a text that Cedar cuts otherwise than we do is refused.
func parseOne(text string) (*cedar.Policy, error) {
	if len(text) > maxPolicyText {
		return nil, fmt.Errorf("the policy is larger than %d bytes", maxPolicyText)
	}
	var list cedar.PolicyList
	if err := list.UnmarshalCedar([]byte(text)); err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("%d policies stand where one is expected", len(list))
	}
	return list[0], nil
}
