package monitor_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/conduct"
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

// BenchmarkPause begins a snapshot of 10,000 agents that have changed, and measures for how long nothing is
// taken in meanwhile.
func BenchmarkPause(b *testing.B) {
	w := newWorld(b)
	s := newStream(10_000)
	for range 200_000 {
		if err := w.m.Apply(b.Context(), s.next()); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.m.Keep(b.Context()); err != nil {
		b.Fatal(err)
	}
	for range 200_000 {
		if err := w.m.Apply(b.Context(), s.next()); err != nil {
			b.Fatal(err)
		}
	}
	var cut, encode time.Duration
	var dirty, fleet int
	for b.Loop() {
		c, e, d, f := w.m.Pause()
		cut, encode, dirty, fleet = max(cut, c), max(encode, e), d, f
	}
	b.ReportMetric(float64(cut.Microseconds()), "µs/cut")
	b.ReportMetric(float64(encode.Microseconds()), "µs/chunk")
	b.ReportMetric(float64(dirty), "agents")
	b.ReportMetric(float64(fleet), "B/fleet")
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

// BenchmarkMemory measures what agents take: with full states, and of a large fleet.
func BenchmarkMemory(b *testing.B) {
	for _, c := range []struct{ agents, acts int }{{10_000, 400}, {100_000, 60}} {
		b.Run(fmt.Sprintf("agents=%d,acts=%d", c.agents, c.acts), func(b *testing.B) {
			for b.Loop() {
				perAgent, largest := memory(b, c.agents, c.acts)
				b.ReportMetric(perAgent, "B/agent")
				b.ReportMetric(float64(largest), "B/largest")
			}
		})
	}
}

// An agent takes less than 4 KiB as agents go, and is bounded whatever it does.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory")
	}
	w := newWorld(t)
	s := newStream(100)
	for range 30_000 {
		if err := w.m.Apply(t.Context(), s.next()); err != nil {
			t.Fatal(err)
		}
		s.now = s.now.Add(time.Duration(s.rng.IntN(60)) * time.Second)
	}
	if _, sum := w.m.Largest(); sum/len(s.agents) > 4096 {
		t.Errorf("an agent takes %d bytes, by part of all: %v", sum/len(s.agents), w.m.Parts())
	}
	g := &s.agents[0]
	for i := range 20_000 {
		s.now = s.now.Add(time.Duration(s.rng.IntN(1_000_000)) * time.Millisecond)
		random := func(n int) string { return fmt.Sprint(strings.Repeat("x", s.rng.IntN(300)), s.rng.IntN(n)) }
		x := act{
			session: random(1e6), task: random(1e6), action: random(1e6), resource: random(1e9), class: []string{"", "read", "write", "egress", "money", "admin"}[s.rng.IntN(6)],
			effect: authz.Effect(s.rng.IntN(4)), args: fmt.Sprintf(`{"amount":%d,"to":%q}`, s.rng.IntN(1e9), random(1e9)), confidence: s.rng.Float64(), untrusted: s.rng.IntN(2) == 0, obliged: true,
		}
		if s.rng.IntN(1000) == 0 {
			g.version = random(1e6)
			g.revision++
		}
		rec := decision(s.now, g, x)
		rec.Request.Resource.Type = []string{"order", "Agent", "Policy", "Capability"}[s.rng.IntN(4)]
		rec.Facts.Country, rec.Facts.Zones = random(1e3), []string{random(1e3), random(1e3)}
		body, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		s.seq++
		if err := w.m.Apply(t.Context(), audit.Entry{Seq: s.seq, At: s.now, Kind: audit.DecisionMade, Actor: "pep:gateway", Body: body}); err != nil {
			t.Fatal(err)
		}
		if i%7 == 0 {
			o := outcome(g, s.seq, s.now, []conduct.Result{"right", "wrong", "harmful"}[s.rng.IntN(3)])
			o.Fault, o.Latency, o.Size = []conduct.Fault{"", "tool", "schema", "timeout"}[s.rng.IntN(4)], s.rng.Int64N(1e9), s.rng.Int64N(1e12)
			o.Reporter, o.By = []conduct.Reporter{"person", "pep", "operator", "agent"}[s.rng.IntN(4)], random(1e6)
			body, err := json.Marshal(&o)
			if err != nil {
				t.Fatal(err)
			}
			s.seq++
			if err := w.m.Apply(t.Context(), audit.Entry{Seq: s.seq, At: s.now, Kind: audit.OutcomeReported, Actor: o.By, Body: body}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if largest, _ := w.m.Largest(); largest > 12<<10 {
		t.Errorf("an agent that does anything takes %d bytes, by part of all: %v", largest, w.m.Parts())
	} else {
		t.Logf("an agent that does anything takes %d bytes", largest)
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
