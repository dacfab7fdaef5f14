package api_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/activity"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// manyAgents is a registry's store with the agents of a fleet.
type manyAgents struct {
	agent.Store
	agents []*authz.Agent
}

func (m manyAgents) Agents(_ context.Context, after authz.AgentID, limit int) ([]authz.Agent, error) {
	var page []authz.Agent
	for _, a := range m.agents {
		if a.ID > after && len(page) < limit {
			page = append(page, *a)
		}
	}
	return page, nil
}

func (manyAgents) Credentials(context.Context, authz.AgentID, authz.AgentID) ([]agent.Enrolment, []agent.Credential, error) {
	return nil, nil, nil
}

// BenchmarkFleetOfService is BenchmarkFleet over the registry, the monitors and the store of a service: 100,000 agents.
func BenchmarkFleetOfService(b *testing.B) {
	f := newFleet(100_000)
	registry := agent.NewRegistry(agent.Config{Store: manyAgents{agents: f.agents}})
	if err := registry.Load(b.Context()); err != nil {
		b.Fatal(err)
	}
	db := storetest.Open(b)
	m := monitor.New(monitor.Config{Store: db})
	for i, a := range f.agents {
		body, err := json.Marshal(agent.Change{Agent: *a, Why: "w"})
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Apply(b.Context(), audit.Entry{Seq: int64(i + 1), At: fleetNow, Kind: audit.AgentPut, Actor: "admin:anna", Body: body}); err != nil {
			b.Fatal(err)
		}
	}
	book := activity.New(activity.Config{Store: db})
	if err := book.Begin(b.Context()); err != nil {
		b.Fatal(err)
	}
	d := openDoor(b, func(c *api.Config) {
		c.Agents, c.Conduct, c.Activity, c.Now = registry, m, book, func() time.Time { return fleetNow.Add(time.Minute) }
	})
	for _, q := range []string{"limit=100", "limit=100&facets=true", "limit=100&order=findings&trust=medium&text=team", "limit=1000"} {
		b.Run(q, func(b *testing.B) {
			for b.Loop() {
				r := httptest.NewRequest("GET", "/v1/fleet?"+q, nil)
				r.Header.Set("Authorization", "Bearer admin-token")
				w := httptest.NewRecorder()
				if d.handler.ServeHTTP(w, r); w.Code != 200 {
					b.Fatal(w.Body)
				}
			}
		})
	}
}
