package agent_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A hole is a store that keeps nothing.
type hole struct{}

func (hole) Agents(context.Context, authz.AgentID, int) ([]authz.Agent, error) { return nil, nil }
func (hole) PutAgent(context.Context, authz.Agent) error                       { return nil }
func (hole) Credentials(context.Context, authz.AgentID, authz.AgentID) ([]agent.Enrolment, []agent.Credential, error) {
	return nil, nil, nil
}
func (hole) PutCredentials(context.Context, *agent.Enrolment, []agent.Credential) error { return nil }

// fill returns a registry of n agents, as the log would fill it: every value is freshly decoded.
// They are of one organisation, in which owners, purposes and lists of capabilities repeat, or else
// have nothing in common.
func fill(t testing.TB, n int, alike bool) *agent.Registry {
	t.Helper()
	r := agent.NewRegistry(agent.Config{Store: hole{}})
	for i := range n {
		of := func(kinds int) int {
			if alike {
				return i % kinds
			}
			return i
		}
		a := authz.Agent{
			ID:      authz.AgentID(fmt.Sprintf("customer-order-agent-%08d", i)),
			Owner:   fmt.Sprintf("team-%d@example.org", of(500)),
			Purpose: fmt.Sprintf("process-customer-orders-%d", of(50)),
			Version: "2026.11." + fmt.Sprint(of(20)), Creator: "admin:anna", State: authz.AgentActive,
			Labels: map[string]string{"environment": "production", "region": []string{"eu", "us"}[i%2], "model": "m-" + fmt.Sprint(of(7))},
		}
		for k := range 6 {
			a.Capabilities = append(a.Capabilities, fmt.Sprintf("capability-%d-%d", of(30), k))
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

const memorySchema = `
entity Order;
action read appliesTo { principal: [Agent, User], resource: [Order], context: { observed: Observed, claimed: Claimed } };`

// An agent with six capabilities and three labels takes less than 2 KiB of memory, together with
// what the policy engine keeps of agents once every one of them has asked.
func TestMemoryOfAnAgent(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a registry")
	}
	set, err := policy.Compile(policy.Source{Schema: memorySchema, Files: []policy.File{{Name: "p.cedar", Text: `
permit (principal in Purpose::"process-customer-orders-1", action, resource)
when { principal.hasTag("region") && principal.getTag("region") == "us" && context.observed has agent && context.observed.agent.capabilities.contains("capability-1-1") };`}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what  string
		n     int
		alike bool
	}{
		{"agents of one organisation", 100_000, true},
		{"agents with nothing in common", 20_000, false},
	} {
		before := heap()
		r := fill(t, tt.n, tt.alike)
		registered := heap() - before
		askAll(t, r, set)
		whole := heap() - before
		n := uint64(tt.n)
		t.Logf("%d %s: %d bytes each, %d of the registry and %d of the policy engine", n, tt.what, whole/n, registered/n, (whole-registered)/n)
		if whole/n > 2048 {
			t.Errorf("%d %s: %d bytes each, want at most 2048", n, tt.what, whole/n)
		}
		runtime.KeepAlive(r)
	}
	runtime.KeepAlive(set)
}

// askAll has every agent ask once.
func askAll(t *testing.T, r *agent.Registry, set *policy.Set) {
	t.Helper()
	asked, allowed := 0, 0
	for page := r.Agents(agent.Filter{}, "", 1000); len(page) > 0; page = r.Agents(agent.Filter{}, page[len(page)-1].ID, 1000) {
		for _, a := range page {
			d := set.Evaluate(&authz.Request{
				Subject:  authz.Entity{Ref: authz.Ref{Type: authz.AgentType, ID: string(a.ID)}},
				Action:   authz.Action{Name: "read"},
				Resource: authz.Entity{Ref: authz.Ref{Type: "Order", ID: fmt.Sprint(asked)}},
			}, &authz.Facts{At: start.Add(time.Duration(asked) * time.Second), Agent: a, Trust: authz.NeutralTrust})
			if d.Code != authz.CodeAllowed && d.Code != authz.CodeNoPermit {
				t.Fatalf("agent %s: %s, want an answer without a fault", a.ID, d.Code)
			}
			asked++
			if d.Allowed() {
				allowed++
			}
		}
	}
	if allowed == 0 || allowed == asked {
		t.Fatalf("%d of %d requests are allowed, want some", allowed, asked)
	}
}

func BenchmarkAgent(b *testing.B) {
	r := fill(b, 100_000, true)
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
	r := fill(b, 100_000, true)
	b.ReportAllocs()
	for b.Loop() {
		r.Agents(agent.Filter{Text: "no such text"}, "", 100)
	}
}

// fillKeys registers a key for each of the first n agents of fill, as the log would.
func fillKeys(t testing.TB, r *agent.Registry, n int) (ids []string) {
	t.Helper()
	seq := int64(n)
	apply := func(kind audit.Kind, form string, args ...any) {
		seq++
		e := audit.Entry{Seq: seq, At: start.Add(time.Duration(seq) * time.Second), Kind: kind, Body: fmt.Appendf(nil, form, args...)}
		if err := r.Apply(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
	chance := chacha(n)
	ids = make([]string, n)
	for i := range n {
		signer, _, err := token.GenerateSigner("EdDSA", chance)
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = signer.Key().ID
		id := fmt.Sprintf("customer-order-agent-%08d", i)
		hash := fmt.Sprintf("%064x", i)
		apply(audit.EnrolmentPut, `{"agent":%q,"hash":%q,"ttl_seconds":86400,"why":"filling"}`, id, hash)
		apply(audit.CredentialPut, `{"agent":%q,"op":"register","jwk":%s,"enrolment":%q,"lifetime_seconds":7776000,"why":"registered with an enrolment token"}`,
			id, signer.Key().JWK(), hash)
	}
	return ids
}

func chacha(n int) *rand.ChaCha8 {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(n))
	return rand.NewChaCha8(seed)
}

// A key of an agent takes less than 1 KiB of memory beside the agent.
func TestMemoryOfAKey(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a registry")
	}
	const n = 100_000
	r := fill(t, n, true)
	before := heap()
	ids := fillKeys(t, r, n)
	for i := range ids {
		ids[i] = "" // what the registry holds of them is counted
	}
	each := (heap() - before) / n
	t.Logf("%d agents with a key: %d bytes a key", n, each)
	if each > 1024 {
		t.Errorf("%d agents with a key: %d bytes a key, want at most 1024", n, each)
	}
	if got := len(r.Due(90*24*time.Hour, start.Add(3*n*time.Second))); got != n {
		t.Errorf("%d keys are due, want %d", got, n)
	}
}

func BenchmarkCredential(b *testing.B) {
	r := fill(b, 100_000, true)
	ids := fillKeys(b, r, 100_000)
	at := start.Add(300_000 * time.Second)
	b.Run("by id", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if c, err := r.Credential(ids[i%len(ids)]); err != nil || !c.Active(at) {
				b.Fatal(c, err)
			}
		}
	})
	b.Run("facts", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if f := r.KeyFacts("customer-order-agent-00050000", at); f.Keys != 1 {
				b.Fatal(f)
			}
		}
	})
	b.Run("due", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Due(14*24*time.Hour, at)
		}
	})
}
