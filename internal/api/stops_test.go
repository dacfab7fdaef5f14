package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/stop"
)

// A fixedBoard has stops of which the first stand.
type fixedBoard struct {
	api.StopAdmin
	stops    []stop.Stop
	standing int
}

func (b fixedBoard) Standing() []stop.Stop { return b.stops[:b.standing] }

func (b fixedBoard) Stops(context.Context, int64, int) ([]stop.Stop, error) { return b.stops, nil }

// walked are registered agents that count how often one looks at the first of them.
type walked struct {
	api.AgentAdmin
	api.Fleet
	agents []*authz.Agent
	looks  int
}

func (w *walked) Agents(f agent.Filter, after authz.AgentID, limit int) (page []*authz.Agent) {
	if after == "" {
		w.looks++
	}
	for _, a := range w.agents {
		if a.ID > after && len(page) < limit && (f.Owner == "" || f.Owner == a.Owner) && (f.Capability == "" || slices.Contains(a.Capabilities, f.Capability)) {
			page = append(page, a)
		}
	}
	return page
}

// Agents are counted for the stops that stand, and all of them looked at once for all stops.
func TestStopsCountAgents(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	agents := &walked{}
	for i := range agent.MaxPage + 10 {
		a := &authz.Agent{ID: authz.AgentID(fmt.Sprintf("bot-%06d", i)), Owner: fmt.Sprint("team-", i%2), State: authz.AgentActive}
		if i < 3 {
			a.Capabilities = []string{"pay"}
		}
		if i == 0 {
			a.State = authz.AgentRetired
		}
		agents.agents = append(agents.agents, a)
	}
	all := stop.Scope{Everything: true}
	board := fixedBoard{standing: 4, stops: []stop.Stop{
		{ID: "all", Scope: all},
		{ID: "one", Scope: stop.Scope{Agent: "bot-000001"}},
		{ID: "pay", Scope: stop.Scope{Capability: "pay", Owner: "team-0"}},
		{ID: "soon over", Scope: stop.Scope{Owner: "team-1"}, Until: now.Add(time.Hour)},
		{ID: "over", Scope: all, Until: now},
		{ID: "lifted", Scope: all, LiftedSeq: 7},
	}}
	d := openDoor(t, func(c *api.Config) {
		c.Now, c.Stops, c.Agents = func() time.Time { return now }, board, agents
	})
	want := map[string]int{"all": agent.MaxPage + 9, "one": 1, "pay": 1, "soon over": (agent.MaxPage + 10) / 2}
	for _, path := range []string{"/v1/stops", "/v1/stops?all=true"} {
		agents.looks = 0
		var list struct{ Items []api.StopView }
		r := d.send("GET", path, "", "Authorization", "Bearer admin-token")
		if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
			t.Fatalf("%s: %d, %v", path, r.StatusCode, err)
		}
		got := map[string]int{}
		for _, v := range list.Items {
			if v.Agents > 0 || v.Standing {
				got[v.ID] = v.Agents
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || agents.looks != 1 {
			t.Errorf("%s looked at all agents %d times, want once, and counted (-want +got):\n%s", path, agents.looks, diff)
		}
	}
}
