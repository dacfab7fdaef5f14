package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
)

// The operator is told how each agent has behaved, as far as it was known when it was decided.
func TestKnownConduct(t *testing.T) {
	worth := 0.314
	f := &authz.Facts{
		Agent:      &authz.Agent{ID: "bot", State: authz.AgentActive},
		Grant:      authz.Grant{Within: []string{"pay"}, Class: "money", Essential: true},
		Trust:      authz.Trust{Level: "low", Score: 0.2},
		Conduct:    authz.Conduct{Lowest: authz.Trust{Level: "none", Score: 0.05}, Judged: 12, Accuracy: 0.714, ErrorRate: 0.08, Findings: []string{"deviation.drift", "performance.loop"}, Gravest: 3},
		Confidence: &worth,
		Behalf: []authz.Delegator{
			{Agent: &authz.Agent{ID: "boss", State: authz.AgentActive}, Trust: authz.Trust{Level: "low", Score: 0.2}, Conduct: authz.Conduct{Quarantined: true}},
			{Agent: &authz.Agent{ID: "old", State: authz.AgentRetired}}, // recorded before conduct was judged
		},
	}
	var got [][2]string
	for _, l := range known(f, &authz.Request{}) {
		switch l[0] {
		case "grant", "trust", "conduct", "confidence", "for agent", "":
			got = append(got, l)
		}
	}
	want := [][2]string{
		{"grant", "pay within limits, class money, essential"},
		{"trust", "low (0.20)"},
		{"conduct", "lowest trust none (0.05), accuracy 0.71, error rate 0.08 (12 outcomes), findings deviation.drift, performance.loop, the gravest high"},
		{"confidence", "0.31 is what the reported one has been worth"},
		{"for agent", "boss, active; grant none within limits, class none; trust low (0.20)"},
		{"", "  conduct quarantined"},
		{"for agent", "old, retired; grant none within limits, class none; trust none (0.00)"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("known (-want +got):\n%s", d)
	}
	if got := behaved(&authz.Conduct{}); got != "" {
		t.Errorf("of an agent of whom nothing is known: %q, want nothing", got)
	}
}
