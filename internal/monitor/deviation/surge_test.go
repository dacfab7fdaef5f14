package deviation_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/deviation"
)

// A crowd is the agents of a few purposes, who do as many acts a minute as a profile says, by chance.
type crowd struct {
	rules   catalog.DeviationRules
	fleet   deviation.Fleet
	agents  map[string]*deviation.State
	lowered map[string]bool
	rng     *rand.Rand
	minute  time.Time
	seq     int64
	by      map[int64]string // of entries in the newest minute of each purpose
	found   []told
}

// A told is a finding and whom it is about.
type told struct {
	conduct.Draft
	agent string
	at    time.Time
}

func newCrowd(seed uint64) *crowd {
	return &crowd{
		rules: catalog.DefaultConduct().Deviation, agents: map[string]*deviation.State{}, lowered: map[string]bool{},
		rng: rand.New(rand.NewPCG(seed, 3)), minute: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC), by: map[int64]string{},
	}
}

func (c *crowd) act(purpose, agent string, refused bool) {
	s := c.agents[agent]
	if s == nil {
		s = new(deviation.State)
		c.agents[agent] = s
	}
	c.seq++
	c.by[c.seq] = agent
	ev := &conduct.Event{
		Seq: c.seq, At: c.minute.Add(time.Duration(c.seq%59) * time.Second), Agent: authz.AgentID(agent), Purpose: purpose, Session: agent,
		Action: "read", Resource: authz.Ref{Type: "Thing", ID: "x"}, Effect: authz.Allow, Hour: c.minute.Hour(), Weekday: int(c.minute.Weekday()),
	}
	if refused {
		ev.Effect, ev.Blamed = authz.Deny, true
	}
	s.Observe(&c.fleet, &c.rules, ev, !c.lowered[agent], func(d conduct.Draft) { c.found = append(c.found, told{d, agent, ev.At}) })
}

// acts lets fifty agents of a purpose do n acts in the minute, of which a share is refused.
func (c *crowd) acts(purpose string, n int, refused float64) {
	for range n {
		c.act(purpose, fmt.Sprint(purpose, " ", c.rng.IntN(50)), c.rng.Float64() < refused)
	}
}

func (c *crowd) next() { c.minute = c.minute.Add(time.Minute) }

// days lets a purpose work for so many days: most acts in a minute at noon, least at midnight.
func (c *crowd) days(days float64, purpose string, least, most float64) {
	for range int(days * 24 * 60) {
		c.acts(purpose, c.usual(least, most), 0.02)
		c.next()
	}
}

func (c *crowd) usual(least, most float64) int {
	m := float64(c.minute.Hour()*60 + c.minute.Minute())
	return c.poisson(least + (most-least)*(1-math.Cos(2*math.Pi*m/1440))/2)
}

func (c *crowd) poisson(mean float64) (n int) {
	for p := c.rng.ExpFloat64(); p < mean; p += c.rng.ExpFloat64() {
		n++
	}
	return n
}

func (c *crowd) of(kind conduct.Kind) (found []told) {
	for _, d := range c.found {
		if d.Kind == kind {
			found = append(found, d)
		}
	}
	return found
}

// Ordinary days with their nights, and ordinary refusals, are no surges.
func TestNoSurge(t *testing.T) {
	if testing.Short() {
		t.Skip("computes days of series, by one goroutine")
	}
	const days = 3
	series, found := 0, 0
	for seed := range uint64(4) {
		c := newCrowd(seed)
		for range days * 24 * 60 {
			c.acts("small", c.usual(0, 4), 0.02)
			c.acts("medium", c.usual(2, 20), 0.05)
			if seed == 0 {
				c.acts("large", c.usual(10, 200), 0.01) // which are many to compute
			}
			office := 1.0
			if h := c.minute.Hour(); h >= 8 && h < 18 {
				office = 40
			}
			c.acts("office", c.poisson(office), 0.02)
			for range c.usual(0, 0.5) { // a session at once
				c.acts("sessions", 12, 0.02)
			}
			c.next()
		}
		series += 5 // four purposes and all together
		for _, d := range c.of(deviation.Surge) {
			found++
			t.Errorf("seed %d, %v: %v %s", seed, d.at, d.Severity, d.Sentence)
		}
	}
	if found > 0 {
		t.Errorf("%d surges in %d ordinary days of purposes, want none", found, days*series)
	}
}

// Fifty agents of which each stays within what an agent may do are found when they do ten times as much together.
func TestSurgeOfMany(t *testing.T) {
	c := newCrowd(1)
	c.days(2.5, "orders", 5, 50)
	c.found = nil
	start := c.minute
	for range 4 {
		c.acts("orders", 10*c.usual(5, 50), 0.02)
		c.next()
	}
	found := c.of(deviation.Surge)
	if len(found) == 0 {
		t.Fatalf("nothing was found of ten times as many acts: %+v", c.found)
	}
	d := found[0]
	if after := d.at.Sub(start); after > 3*time.Minute {
		t.Errorf("found after %v, want three minutes at most", after)
	}
	if d.Severity != conduct.Low || d.Class != conduct.Read || len(d.Evidence) < 2 || len(d.Evidence) > conduct.MaxEvidence {
		t.Errorf("found %+v, want low, of class read, with two to %d entries", d, conduct.MaxEvidence)
	}
	for _, seq := range d.Evidence {
		if c.by[seq] != d.agent {
			t.Errorf("evidence %d is of %s, want of %s", seq, c.by[seq], d.agent)
		}
	}
	if !strings.Contains(d.Sentence, `Agents of "orders" asked for`) || !strings.Contains(d.Sentence, "are usual; this one for") {
		t.Errorf("sentence %q", d.Sentence)
	}
	if n := len(c.of(deviation.Rate)); n > 0 {
		t.Errorf("%d findings of %s, want none: each agent is below its own rate", n, deviation.Rate)
	}
	if len(found) > 2 {
		t.Errorf("%d findings of one surge in 4 minutes, want 2 at most", len(found))
	}
}

// A small surge beforehand, below what is found, hides no large one.
func TestSurgeAfterPriming(t *testing.T) {
	c := newCrowd(2)
	c.days(2.5, "orders", 50, 50)
	c.found = nil
	c.acts("orders", 140, 0)
	c.next()
	c.acts("orders", 40, 0)
	c.acts("orders", 1, 1)
	c.next()
	if n := len(c.of(deviation.Surge)); n > 0 {
		t.Errorf("%d findings of less than three times as many acts, want none", n)
	}
	for range 2 {
		c.acts("orders", 500, 0)
		c.next()
	}
	c.acts("orders", 100, 0)
	if len(c.of(deviation.Surge)) == 0 {
		t.Error("nothing was found of ten times as many acts after a small surge")
	}
}

// What is refused surges without more acts; both together are medium, and about who is refused most.
func TestSurgeOfRefusals(t *testing.T) {
	for _, test := range []struct {
		name string
		acts int
		want conduct.Severity
	}{{"as many acts", 40, conduct.Low}, {"ten times as many", 400, conduct.Medium}} {
		c := newCrowd(3)
		c.days(2.5, "orders", 40, 40)
		c.found = nil
		for range 3 {
			c.acts("orders", test.acts/2, 0.02)
			for range test.acts / 2 {
				c.act("orders", fmt.Sprint("orders ", c.rng.IntN(5)), true)
			}
			c.next()
		}
		found := c.of(deviation.Surge)
		if len(found) == 0 {
			t.Errorf("%s: nothing was found of half of them refused", test.name)
			continue
		}
		if d := found[0]; d.Severity != test.want || !strings.Contains(d.Sentence, "refused") {
			t.Errorf("%s: found %v, %q, want %v", test.name, d.Severity, d.Sentence, test.want)
		}
		var n int
		fmt.Sscanf(found[0].agent, "orders %d", &n)
		if n >= 5 {
			t.Errorf("%s: found of %s, want one of the five that were refused", test.name, found[0].agent)
		}
	}
}

// A surge that is spread over purposes is one of the fleet, and told once.
func TestSurgeOfFleet(t *testing.T) {
	c := newCrowd(4)
	purposes := make([]string, 12)
	for i := range purposes {
		purposes[i] = fmt.Sprint("purpose ", i)
	}
	for range 36 * 60 {
		for _, p := range purposes {
			c.acts(p, c.poisson(2), 0)
		}
		c.next()
	}
	c.found = nil
	for range 4 {
		for _, p := range purposes {
			c.acts(p, 40, 0)
		}
		c.next()
	}
	for range 10 { // until one of those that did most acts again
		for _, p := range purposes {
			c.acts(p, c.poisson(2), 0)
		}
		c.next()
	}
	found := c.of(deviation.Surge)
	if len(found) == 0 || len(found) > 2 || !strings.Contains(found[0].Sentence, "all purposes") {
		t.Errorf("found %+v, want a surge of all purposes", found)
	}
}

// What agents do whose trust is lowered changes nothing of what is known of their purpose, and is no surge of it.
func TestSurgeLearnsNothingOfTheLowered(t *testing.T) {
	c := newCrowd(5)
	c.days(1.5, "orders", 5, 50)
	c.found = nil
	before := c.fleet.Append(nil)
	c.lowered["flooder"] = true
	for range 30 {
		for range 1000 {
			c.act("orders", "flooder", true)
		}
		c.next()
	}
	if string(before) != string(c.fleet.Append(nil)) {
		t.Error("an agent whose trust is lowered changed what is known of all")
	}
	c.days(0.1, "orders", 5, 50)
	if n := len(c.of(deviation.Surge)); n > 0 {
		t.Errorf("%d surges, want none of an agent that is lowered", n)
	}
}

// A fast replay, or a purpose that is new, has nothing to surge from.
func TestSurgeOfNewPurpose(t *testing.T) {
	c := newCrowd(6)
	c.acts("replay", 5000, 0.5)
	c.days(0.9, "orders", 20, 20)
	for range 5 {
		c.acts("orders", 1000, 0.5)
		c.next()
	}
	if n := len(c.of(deviation.Surge)); n > 0 {
		t.Errorf("%d surges within the first day, want none", n)
	}
}

// After a long pause what was usual still is.
func TestSurgeAfterPause(t *testing.T) {
	c := newCrowd(7)
	c.days(2, "orders", 50, 50)
	c.found = nil
	c.minute = c.minute.Add(60 * 24 * time.Hour)
	c.days(0.1, "orders", 50, 50)
	if n := len(c.of(deviation.Surge)); n > 0 {
		t.Errorf("%d surges after a pause, want none", n)
	}
	c.minute = c.minute.Add(-30 * 24 * time.Hour) // time went wrong
	c.days(0.1, "orders", 50, 50)
	for range 3 {
		c.acts("orders", 1000, 0)
		c.next()
	}
	if n := len(c.of(deviation.Surge)); n > 0 {
		t.Errorf("%d surges on the day after time went back, want none", n)
	}
}

// What is kept is the same state, also while a finding waits for its agent.
func TestSurgeIsKept(t *testing.T) {
	c := newCrowd(8)
	c.days(1.5, "orders", 10, 60)
	c.found = nil
	for range 3 {
		c.acts("orders", 600, 0.3)
		c.next()
		c.act("orders", "bystander", false) // ends the minute, and is none of those that did most
		raw := c.fleet.Append(nil)
		var read deviation.Fleet
		if err := read.Read(conduct.NewReader(raw)); err != nil {
			t.Fatal(err)
		}
		if string(read.Append(nil)) != string(raw) {
			t.Fatal("what is read back is written otherwise")
		}
		agents := map[string]*deviation.State{}
		for name, s := range c.agents {
			var other deviation.State
			if err := other.Read(conduct.NewReader(s.Append(nil))); err != nil {
				t.Fatal(err)
			}
			agents[name] = &other
		}
		other := *c
		other.fleet, other.agents, other.found = read, agents, nil
		before := len(c.found)
		seed := c.rng.Uint64()
		for _, w := range []*crowd{c, &other} {
			w.rng = rand.New(rand.NewPCG(seed, 1))
			w.acts("orders", 300, 0.3)
		}
		if diff := cmp.Diff(c.found[before:], other.found, cmp.AllowUnexported(told{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("findings after reading the state back:\n%s", diff)
		}
		if string(c.fleet.Append(nil)) != string(other.fleet.Append(nil)) {
			t.Error("after the same acts the states differ")
		}
	}
	if len(c.of(deviation.Surge)) == 0 {
		t.Error("nothing was found meanwhile")
	}
}

// BenchmarkSurge is what Observe takes when a minute has many acts, some, and one.
func BenchmarkSurge(b *testing.B) {
	for _, each := range []time.Duration{10 * time.Millisecond, time.Second, time.Minute} {
		b.Run(fmt.Sprint("every ", each), func(b *testing.B) {
			w := newWorld()
			w.ordinary(300)
			ev := w.event("steady", "read")
			ev.Agent, ev.Blamed = "an-agent-of-the-usual-length", true
			b.ReportAllocs()
			for b.Loop() {
				ev.Seq, ev.At = ev.Seq+1, ev.At.Add(each)
				w.agent.Observe(&w.fleet, &w.rules, ev, true, func(conduct.Draft) {})
			}
		})
	}
}
