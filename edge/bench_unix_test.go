//go:build unix

package edge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/bench/fixture"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/edge"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/feed"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/stop"
)

// mixed returns requests of the mix, without those that persons could lift, which would be asked elsewhere.
func mixed(t testing.TB) []authz.Request {
	var all []authz.Request
	for _, c := range fixture.Mix(4000) {
		if c.Effect != "require_approval" {
			all = append(all, request(t, c.Body))
		}
	}
	return all
}

// BenchmarkAnswer answers the mix, journal included, beside BenchmarkDecide, which decides the same with a log in memory.
func BenchmarkAnswer(b *testing.B) {
	p := newPlane(b)
	p.full = true // its work is not ours, and is done elsewhere
	cfg := p.config()
	cfg.MaxPending = 16 << 30
	r := run(b, cfg)
	all := mixed(b)
	qs := make([]client.Question, len(all))
	for i := range all {
		qs[i].Requests = all[i : i+1]
	}
	b.Run("one", func(b *testing.B) {
		defer processor(b)()
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, err := r.Answer(b.Context(), &qs[i%len(qs)]); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	// An answer that refuses is also explained: what would change it is looked for, and tried.
	for name, allows := range map[string]bool{"allowed": true, "refused": false} {
		var some []client.Question
		for i := range qs {
			if a, err := r.Answer(b.Context(), &qs[i]); err == nil && a[0].Allowed() == allows {
				some = append(some, qs[i])
			}
		}
		b.Run(name, func(b *testing.B) {
			defer processor(b)()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := r.Answer(b.Context(), &some[i%len(some)]); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
	b.Run("many", func(b *testing.B) {
		defer processor(b)()
		b.ReportAllocs()
		var n atomic.Int64
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := r.Answer(context.Background(), &qs[n.Add(1)%int64(len(qs))]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// BenchmarkDecide is what an answer is measured by.
func BenchmarkDecide(b *testing.B) {
	p := decider(b)
	all := mixed(b)
	defer processor(b)()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := p.Decide(b.Context(), all[i%len(all)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkTell takes in agents, each with trust in five classes and two open findings, and reports how much memory one takes.
func BenchmarkTell(b *testing.B) {
	told := func(i int) []byte {
		a := feed.Agent{
			Agent: &authz.Agent{
				ID: authz.AgentID(fmt.Sprintf("agent-%06d", i)), Owner: fmt.Sprintf("team-%d@example.com", i%50), Purpose: "support", Version: "1.4.2",
				Creator: "admin:root", State: authz.AgentActive, Capabilities: []string{"handle-documents", "look-up-orders", "refund-customers"},
				CreatedAt: time.Unix(int64(i), 0).UTC(), UpdatedAt: time.Unix(int64(i), 0).UTC(), Revision: 1, AsOf: int64(i),
			},
			Credential: authz.Credential{Keys: 1, Since: time.Unix(1, 0).UTC()},
			Conduct:    authz.Conduct{Lowest: authz.NeutralTrust, Judged: 40, Findings: []string{"deviation.first_seen", "performance.loop"}, Gravest: 1},
			Trust:      map[string]authz.Trust{},
		}
		for _, class := range []string{"", "read", "write", "egress", "money", "admin"} {
			a.Trust[class] = authz.Trust{Level: "medium", Score: 0.5}
		}
		text, err := json.Marshal(a)
		if err != nil {
			b.Fatal(err)
		}
		return text
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const n = 100_000
	for b.Loop() {
		b.StopTimer()
		pic, before := edge.NewPicture(), heap()
		b.StartTimer()
		for i := range n {
			if err := pic.Tell(told(i)); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		b.ReportMetric(float64(heap()-before)/n, "B/agent")
		runtime.KeepAlive(pic)
		b.StartTimer()
	}
}

// processor reports the processor time of an operation, collection of garbage included, which a busy machine changes less than
// the time that passes.
func processor(b *testing.B) func() {
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

// decider is a decision point with a log in memory.
func decider(t testing.TB) *pdp.PDP {
	t.Helper()
	cat, err := catalog.Parse("catalog.json", fixture.Catalog())
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Compile(policy.Source{Schema: fixture.Schema, Files: []policy.File{{Name: "organisation.cedar", Text: fixture.Policies}}}, cat)
	if err != nil {
		t.Fatal(err)
	}
	agents := registry{}
	for _, a := range fixture.Agents() {
		agents[authz.AgentID(a.ID)] = &authz.Agent{
			ID: authz.AgentID(a.ID), Owner: a.Owner, Purpose: a.Purpose, Version: a.Version, Creator: a.Creator, State: authz.AgentActive,
			Capabilities: a.Capabilities, CreatedAt: time.Unix(1, 0).UTC(), UpdatedAt: time.Unix(1, 0).UTC(), Revision: 1, AsOf: 1,
		}
	}
	return &pdp.PDP{
		Agents: agents, Policies: active{set}, Risks: calm{}, Conduct: unjudged{}, Stops: stop.NewBoard(stop.Config{}), Log: &memory{},
		Fresh: func() error { return nil }, Now: time.Now,
	}
}

type unjudged struct{}

func (unjudged) Conduct(authz.AgentID, string, time.Time) (authz.Trust, authz.Conduct) {
	return authz.NeutralTrust, authz.Conduct{}
}
func (unjudged) Confidence(authz.AgentID, float64) (float64, bool) { return 0, false }

type registry map[authz.AgentID]*authz.Agent

func (r registry) Agent(id authz.AgentID) (*authz.Agent, error) {
	if a := r[id]; a != nil {
		return a, nil
	}
	return nil, authz.ErrNotFound
}
func (r registry) KeyFacts(authz.AgentID, time.Time) authz.Credential { return authz.Credential{} }
func (r registry) After(authz.AgentID, int) []*authz.Agent            { return nil }

type active struct{ set *policy.Set }

func (a active) Active() *policy.Set { return a.set }

type calm struct{}

func (calm) Assess(*authz.Request, *authz.Facts) authz.Risk { return authz.Risk{Level: "low"} }

// memory is a log that only counts.
type memory struct{ n atomic.Int64 }

func (m *memory) Record(_ context.Context, drafts ...audit.Draft) (int64, error) {
	n := int64(len(drafts))
	return m.n.Add(n) - n + 1, nil
}
