package monitor_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// stream makes the decisions of a fleet at work: each agent has a few kinds of tasks, sessions of about a
// dozen calls, and things of its own; every hundredth act is refused.
type stream struct {
	rng    *rand.Rand
	agents []registration
	calls  []int // of the agent's present session
	now    time.Time
	seq    int64
}

func newStream(agents int) *stream {
	s := &stream{rng: rand.New(rand.NewPCG(7, 8)), agents: make([]registration, agents), calls: make([]int, agents), now: start}
	for i := range s.agents {
		s.agents[i] = registration{
			id: fmt.Sprintf("order-bot-%06d", i), owner: fmt.Sprintf("team-%d", i%100), purpose: fmt.Sprintf("business-function-%d", i%50), version: "2026.11.2", revision: 1,
		}
	}
	return s
}

// next returns the next entry.
func (s *stream) next() audit.Entry {
	i := s.rng.IntN(len(s.agents))
	s.now = s.now.Add(time.Duration(s.rng.IntN(400)) * time.Microsecond)
	s.calls[i]++
	step := s.calls[i] % 12
	x := act{
		session: fmt.Sprintf("s-%06d-%d", i, s.calls[i]/12), task: fmt.Sprint("task-", (s.calls[i]/12)%3),
		action: fmt.Sprintf("tool-%d", (step*7+s.rng.IntN(3))%20), class: []string{"read", "read", "write", "egress", "money"}[step%5],
		resource: fmt.Sprintf("thing-%d-%d", i%1000, s.rng.IntN(40)), effect: authz.Allow,
		args:       `{"amount":"129.90","currency":"EUR","reason":"damaged on arrival","lines":[{"sku":"A-1","n":2},{"sku":"B-7","n":1}]}`,
		confidence: 0.5 + float64(s.rng.IntN(50))/100, untrusted: step%4 == 0, obliged: step%6 == 0,
	}
	if s.rng.IntN(100) == 0 {
		x.effect = authz.Deny
	}
	body, err := json.Marshal(decision(s.now, &s.agents[i], x))
	if err != nil {
		panic(err)
	}
	s.seq++
	return audit.Entry{Seq: s.seq, At: s.now, Kind: audit.DecisionMade, Actor: "pep:gateway", Body: body}
}

// BenchmarkApply takes in the decisions of 10,000 agents, through everything, on one core.
func BenchmarkApply(b *testing.B) {
	w := newWorld(b)
	s := newStream(10_000)
	const n = 50_000
	warm := make([]audit.Entry, n)
	for i := range warm {
		warm[i] = s.next()
	}
	take := func(e audit.Entry) {
		if err := w.m.Apply(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
	for _, e := range warm {
		take(e)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; {
		b.StopTimer()
		part := warm[:min(n, b.N-i)]
		for j := range part {
			part[j] = s.next()
		}
		b.StartTimer()
		for _, e := range part {
			take(e)
		}
		i += len(part)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkConduct asks for an agent that has findings and for one that has none.
func BenchmarkConduct(b *testing.B) {
	w := newWorld(b)
	s := newStream(1000)
	for range 100_000 {
		if err := w.m.Apply(b.Context(), s.next()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	ids := make([]authz.AgentID, len(s.agents))
	for i := range ids {
		ids[i] = authz.AgentID(s.agents[i].id)
	}
	for i := 0; b.Loop(); i++ {
		w.m.Conduct(ids[i%len(ids)], "write", s.now)
	}
}

// BenchmarkRestart loads 100,000 agents and takes in a tail of 10,000 entries.
func BenchmarkRestart(b *testing.B) {
	const agents, tail = 100_000, 10_000
	w := newWorld(b)
	s := newStream(agents)
	for range 4 * agents {
		if err := w.m.Apply(b.Context(), s.next()); err != nil {
			b.Fatal(err)
		}
	}
	began := time.Now()
	if err := w.m.Keep(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Logf("a snapshot of %d agents took %v", agents, time.Since(began).Round(time.Millisecond))
	var after []audit.Entry
	for range tail {
		after = append(after, s.next())
	}
	for b.Loop() {
		m := w.monitor()
		if err := m.Load(b.Context()); err != nil || m.Seq() != 4*agents {
			b.Fatal(err, m.Seq())
		}
		for _, e := range after {
			if err := m.Apply(b.Context(), e); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkMemory measures what agents with full states take, each after 400 acts and a few findings.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		perAgent, largest := memory(b, 10_000, 400)
		b.ReportMetric(perAgent, "B/agent")
		b.ReportMetric(float64(largest), "B/largest")
	}
}

// memory returns how many bytes of memory an agent takes, of so many after so many acts, and the largest.
func memory(tb testing.TB, agents, acts int) (perAgent float64, largest int) {
	var before, after runtime.MemStats
	w := newWorld(tb)
	s := newStream(agents)
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range agents * acts {
		if err := w.m.Apply(tb.Context(), s.next()); err != nil {
			tb.Fatal(err)
		}
		if s.seq%int64(agents) == 0 {
			s.now = s.now.Add(time.Hour)
		}
	}
	if err := w.m.Keep(tb.Context()); err != nil { // which writes findings that wait
		tb.Fatal(err)
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	largest, sum := w.m.Largest()
	tb.Logf("%d agents: heap %d MB, states %d MB, largest agent %d bytes, by part: %v", agents, (after.HeapAlloc-before.HeapAlloc)>>20, sum>>20, largest, w.m.Parts())
	runtime.KeepAlive(w)
	return float64(after.HeapAlloc-before.HeapAlloc) / float64(agents), largest
}
