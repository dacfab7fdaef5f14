package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/pdp"
)

// TestListing asks in order to know what may be shown: it is recorded, and nobody takes it for what the agent does.
func TestListing(t *testing.T) {
	r := start(t, trusting(t))
	amounts := []int{10000, 4000, 7000, 4500, 6000, 4900, 5500, 4950, 5200}
	findings := func(agent string, listing bool) int {
		var last int64
		for _, amount := range amounts {
			question := asked(agent, "pay", fmt.Sprintf(`{"amount":%d}`, amount), "l1", "s1")
			if listing {
				question = strings.Replace(question, `"observed":{`, `"observed":{"listing":true,`, 1)
			}
			var v verdict
			r.into(r.ask("/access/v1/evaluation", question), &v)
			if listing && v.Decision != (amount <= 5000) || v.Context.ID == "" { // trust may fall on the way
				t.Fatalf("paying %d, listing %v: %+v", amount, listing, v)
			}
			var err error
			if last, err = pdp.ParseDecisionID(v.Context.ID); err != nil {
				t.Fatal(err)
			}
		}
		// The monitors read the log behind the decisions.
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if s := r.standing(agent); s.AsOf >= last {
				return len(s.Findings)
			}
			if time.Now().After(deadline) {
				t.Fatalf("the monitors have not read entry %d", last)
			}
		}
	}
	if n := findings("clerk", true); n != 0 {
		t.Errorf("%d findings about what was only listed", n)
	}
	if n := findings("helper", false); n == 0 {
		t.Error("no finding about an agent that probes a limit: the test shows nothing")
	}
	for _, bad := range []string{`"listing":1,`, `"listing":"true",`, `"listing":null,`} {
		question := strings.Replace(asked("clerk", "list_entries", "", "l1", "s1"), `"observed":{`, `"observed":{`+bad, 1)
		if rep := r.ask("/access/v1/evaluation", question); rep.status != 400 {
			t.Errorf("%s: %d %s, want 400", bad, rep.status, rep.body)
		}
	}
	withApproval := strings.Replace(asked("clerk", "list_entries", "", "l1", "s1"), `"context":{"observed":{`, `"context":{"approval":{"id":"ap1"},"observed":{"listing":true,`, 1)
	if rep := r.ask("/access/v1/evaluation", withApproval); rep.status != 400 {
		t.Errorf("with an approval: %d %s, want 400", rep.status, rep.body)
	}
}
