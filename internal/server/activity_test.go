package server_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/internal/api"
)

// What agents did is told soon after, and the same after a stop and a start.
func TestActivity(t *testing.T) {
	cfg := trusting(t)
	r := start(t, cfg)
	paid := r.act("clerk", "pay", `{"amount":10,"note":"<script>alert(1)</script>"}`, "l1", "s1")
	r.act("clerk", "list_entries", "", "l1", "s1")
	r.act("clerk", "lock", "", "l1", "s2")
	r.outcome(paid, adminToken, "wrong")
	get := func(r *running, path string, into any) string {
		t.Helper()
		rep := r.do("GET", path, adminToken, "")
		if rep.status != 200 {
			return rep.body
		}
		if into != nil {
			if err := json.Unmarshal([]byte(rep.body), into); err != nil {
				t.Fatal(err)
			}
		}
		return rep.body
	}
	var story api.SessionStory
	eventually(t, "the session is told with what came of it", func() bool {
		story = api.SessionStory{}
		get(r, "/v1/sessions/s1?agent=clerk", &story)
		return len(story.Calls) == 2 && len(story.Calls[0].Outcomes) == 1
	})
	if c := story.Calls[0]; c.ID != paid.Context.ID || c.Action != "pay" || !strings.Contains(string(c.Arguments), "alert(1)") || c.Outcomes[0].Result != "wrong" || c.Capabilities[0] != "pay-invoices" {
		t.Errorf("the first call is told as %+v", c)
	}
	var page api.SessionStory
	if get(r, "/v1/sessions/s1?limit=1", &page); len(page.Calls) != 1 || page.Next != page.Calls[0].Seq || len(page.Calls[0].Outcomes) != 1 {
		t.Errorf("a page of one call: %+v", page)
	}
	var use api.AgentUse
	get(r, "/v1/agents/clerk/use", &use)
	for _, g := range use.Granted {
		if g.ID == "pay-invoices" && (g.Unused || g.Use.Used != 1 || g.Use.Amounts["amount"] != "10" || !g.Declared) {
			t.Errorf("pay-invoices was used so: %+v", g)
		}
	}
	var sessions api.AgentSessions
	if get(r, "/v1/agents/clerk/sessions?limit=1", &sessions); len(sessions.Items) != 1 || sessions.Next == "" {
		t.Errorf("a page of one session: %+v", sessions)
	}
	paths := []string{"/v1/sessions/s1", "/v1/sessions/s2", "/v1/agents/clerk/delegation"}
	before := map[string]string{}
	for _, p := range paths {
		before[p] = get(r, p, nil)
	}
	stable := func(body string) string { return strings.SplitN(body, `"as_of"`, 2)[0] }
	var fleet api.FleetList
	if get(r, "/v1/fleet?text=clerk&facets=true", &fleet); len(fleet.Items) != 1 || fleet.Items[0].Decisions < 3 || fleet.Items[0].Findings == 0 && fleet.Items[0].Trust == "high" {
		t.Errorf("the fleet tells of the clerk: %+v", fleet.Items)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, cfg)
	for _, p := range paths {
		if after := get(r, p, nil); stable(after) != stable(before[p]) {
			t.Errorf("after a start %s says\n%s\nwant\n%s", p, after, before[p])
		}
	}
}
