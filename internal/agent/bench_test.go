package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// A hole is a store that keeps nothing.
type hole struct{}

func (hole) Agents(context.Context, authz.AgentID, int) ([]authz.Agent, error) { return nil, nil }
func (hole) PutAgent(context.Context, authz.Agent) error                       { return nil }

// fill returns a registry of n agents, as the log would fill it: every value is freshly decoded.
func fill(t testing.TB, n int) *agent.Registry {
	t.Helper()
	r := agent.NewRegistry(agent.Config{Store: hole{}})
	for i := range n {
		a := authz.Agent{
			ID:      authz.AgentID(fmt.Sprintf("customer-order-agent-%08d", i)),
			Owner:   fmt.Sprintf("team-%d@example.org", i%500),
			Purpose: fmt.Sprintf("process-customer-orders-%d", i%50),
			Version: "2026.11." + fmt.Sprint(i%20), Creator: "admin:anna", State: authz.AgentActive,
			Labels: map[string]string{"environment": "production", "region": []string{"eu", "us"}[i%2], "model": "m-" + fmt.Sprint(i%7)},
		}
		for k := range 6 {
			a.Capabilities = append(a.Capabilities, fmt.Sprintf("capability-%d-%d", i%30, k))
		}
		body, err := json.Marshal(agent.Change{Agent: a, Why: "filling"})
		if err != nil {
			t.Fatal(err)
		}
		e := audit.Entry{Seq: int64(i + 1), At: start.Add(time.Duration(i) * time.Second), Kind: audit.AgentPut, Body: body}
		if err := r.Apply(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// An agent with six capabilities and three labels takes less than 2 KiB of memory.
func TestMemoryOfAnAgent(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a registry")
	}
	const n = 100_000
	before := heap()
	r := fill(t, n)
	each := (heap() - before) / n
	t.Logf("%d bytes an agent at %d agents", each, n)
	if each > 2048 {
		t.Errorf("%d bytes an agent, want at most 2048", each)
	}
	runtime.KeepAlive(r)
}

func BenchmarkAgent(b *testing.B) {
	r := fill(b, 100_000)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := r.Agent("customer-order-agent-00050000"); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkAgentsFiltered(b *testing.B) {
	r := fill(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		r.Agents(agent.Filter{Text: "no such text"}, "", 100)
	}
}
