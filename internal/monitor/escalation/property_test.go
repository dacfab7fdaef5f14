package escalation_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/escalation"
)

// event draws anything that an agent may do. Names are few, so that acts have to do with each other, or strange.
func event(seq int64, at time.Time) *rapid.Generator[conduct.Event] {
	few := func(prefix string, n int) *rapid.Generator[string] {
		return rapid.Map(rapid.IntRange(0, n), func(i int) string { return fmt.Sprint(prefix, i) })
	}
	names := func(prefix string, n int) *rapid.Generator[string] {
		return rapid.OneOf(few(prefix, n), few(prefix, n), rapid.Just(""), rapid.String())
	}
	return rapid.Custom(func(t *rapid.T) conduct.Event {
		ev := conduct.Event{
			Seq: seq, At: at, Confidence: -1,
			Agent:    authz.AgentID(few("agent", 3).Draw(t, "agent")),
			Owner:    names("owner", 1).Draw(t, "owner"),
			Session:  names("session", 4).Draw(t, "session"),
			Action:   names("action", 3).Draw(t, "action"),
			Resource: authz.Ref{Type: rapid.SampledFrom([]string{"doc", "Agent", "policy", ""}).Draw(t, "type"), ID: names("agent", 5).Draw(t, "id")},
			Effect:   authz.Effect(rapid.IntRange(0, 3).Draw(t, "effect")),
			Code:     rapid.SampledFrom([]string{authz.CodeForbidden, authz.CodeNoPermit, authz.CodeUnavailable, "embargo"}).Draw(t, "code"),
			Class:    conduct.Class(rapid.IntRange(0, 4).Draw(t, "class")),
			Issuing:  rapid.IntRange(0, 20).Draw(t, "issuing") == 0,
			Args: []byte(rapid.OneOf(
				rapid.Map(rapid.IntRange(0, 9), func(i int) string { return fmt.Sprintf(`{"n": %d, "id": 77}`, i*i) }),
				rapid.SampledFrom([]string{"", "{}", `{"n": "12.50"}`, `{"n": 1e400}`, `{"n"`, `[1]`, `{"n": "9a"}`, `{"n": -1e38, "m": 3}`}),
			).Draw(t, "args")),
		}
		switch rapid.IntRange(0, 2).Draw(t, "covered") {
		case 1:
			ev.Classed, ev.Within = true, []string{"k"}
		case 2:
			ev.Classed, ev.Exceeded = true, []string{"k/amount.n"}
		}
		for range rapid.IntRange(0, 2).Draw(t, "chain") {
			id := few("agent", 3).Draw(t, "for")
			ev.OnBehalf = append(ev.OnBehalf, authz.Ref{Type: rapid.SampledFrom([]string{"agent", "user"}).Draw(t, "whom"), ID: id})
			b := conduct.Behalf{Agent: authz.AgentID(id)}
			if rapid.Bool().Draw(t, "has") {
				b.Within = []string{"k"}
			}
			ev.Behalf = append(ev.Behalf, b)
		}
		return ev
	})
}

// a watch is the state of all agents.
type watch struct {
	fleet  escalation.Fleet
	states map[authz.AgentID]*escalation.State
}

func (w *watch) observe(r *catalog.EscalationRules, ev *conduct.Event, learn bool) (all []conduct.Draft) {
	s := w.states[ev.Agent]
	if s == nil {
		s = new(escalation.State)
		w.states[ev.Agent] = s
	}
	s.Observe(&w.fleet, r, ev, learn, func(d conduct.Draft) { all = append(all, d) })
	return all
}

// Whatever agents do: their states stay small, findings are in order, and a watch that was written down and
// read again in between finds the same as one that was not.
func TestAnyStream(t *testing.T) {
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		r := catalog.DefaultConduct().Escalation
		r.Refusals, r.Probes = rapid.IntRange(2, 10).Draw(t, "refusals"), rapid.IntRange(3, 12).Draw(t, "probes")
		kept, stored := watch{states: map[authz.AgentID]*escalation.State{}}, watch{states: map[authz.AgentID]*escalation.State{}}
		at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
		for i := range rapid.IntRange(1, 60).Draw(t, "events") {
			at = at.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 1, 1, 30, -1, 1000}).Draw(t, "later")) * time.Second)
			ev := event(int64(i+1)<<20, at).Draw(t, "event")
			learn := rapid.IntRange(0, 4).Draw(t, "learn") > 0
			drafts := kept.observe(&r, &ev, learn)
			for _, d := range drafts {
				checkDraft(t, &ev, d)
				if found++; i == 0 && d.Severity != conduct.Low {
					t.Fatalf("a single act is found to be %v: %s", d.Severity, d.Sentence)
				}
			}
			s := kept.states[ev.Agent]
			if s.Size() > 400 {
				t.Fatalf("the state of an agent has %d bytes, want at most 400", s.Size())
			}
			if diff := cmp.Diff(drafts, stored.observe(&r, &ev, learn)); diff != "" {
				t.Fatalf("findings of a watch that was stored (-kept +stored):\n%s", diff)
			}
			if rapid.IntRange(0, 9).Draw(t, "store") == 0 {
				stored = restore(t, &stored)
			}
		}
	})
	if found == 0 && !testing.Short() {
		t.Error("nothing was ever found")
	}
}

// restore writes a watch down and reads it again.
func restore(t *rapid.T, w *watch) watch {
	out := watch{states: map[authz.AgentID]*escalation.State{}}
	for id, s := range w.states {
		again := new(escalation.State)
		same(t, s.Append(nil), again.Read, again.Append)
		out.states[id] = again
	}
	same(t, w.fleet.Append(nil), out.fleet.Read, out.fleet.Append)
	return out
}

func same(t *rapid.T, text []byte, read func(*conduct.Reader) error, write func([]byte) []byte) {
	r := conduct.NewReader(text)
	if err := read(r); err != nil || len(r.Rest()) > 0 {
		t.Fatalf("Read = %v, %d bytes left, want all of them read", err, len(r.Rest()))
	}
	if got := write(nil); !bytes.Equal(got, text) {
		t.Fatalf("what was read is written as %x, want %x", got, text)
	}
}

// FuzzRead reads what nobody wrote. What can be read is written as it was.
func FuzzRead(f *testing.F) {
	w := watch{states: map[authz.AgentID]*escalation.State{}}
	r := catalog.DefaultConduct().Escalation
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for i := range 20 {
		ev := conduct.Event{
			Seq: int64(i), At: at, Agent: "a", Session: fmt.Sprint(i), Action: "pay", Resource: authz.Ref{Type: "account", ID: fmt.Sprint(i)},
			Code: authz.CodeForbidden, Args: fmt.Appendf(nil, `{"n": %d}`, i),
		}
		w.observe(&r, &ev, true)
		ev.Effect, ev.Within, ev.Action = authz.Allow, []string{"k"}, "look"
		w.observe(&r, &ev, true)
	}
	f.Add(w.states["a"].Append(nil), w.fleet.Append(nil))
	f.Add([]byte{}, []byte{})
	f.Add([]byte{255, 1}, []byte{1, 0, 16})
	f.Fuzz(func(t *testing.T, state, fleet []byte) {
		var s escalation.State
		in := conduct.NewReader(state)
		if err := s.Read(in); err == nil {
			var again escalation.State
			text := s.Append(nil)
			if err := again.Read(conduct.NewReader(text)); err != nil || !bytes.Equal(again.Append(nil), text) {
				t.Errorf("a state of %x is read as another: %v", text, err)
			}
		}
		var fl, again escalation.Fleet
		if fl.Read(conduct.NewReader(fleet)) == nil {
			text := fl.Append(nil)
			if err := again.Read(conduct.NewReader(text)); err != nil || !bytes.Equal(again.Append(nil), text) {
				t.Errorf("a fleet of %x is read as another: %v", text, err)
			}
		}
		r := catalog.DefaultConduct().Escalation
		ev := conduct.Event{Seq: 1 << 40, At: at, Agent: "a", Action: "pay", Code: authz.CodeForbidden, Args: []byte(`{"n": 3}`)}
		s.Observe(&fl, &r, &ev, true, func(d conduct.Draft) {})
	})
}

// BenchmarkObserve measures an event of a fleet of a thousand agents: of work that is allowed, of a stream
// in which every tenth act is refused, and of one in which nothing else happens.
func BenchmarkObserve(b *testing.B) {
	for _, every := range []int{0, 10, 1} {
		b.Run(fmt.Sprint("refused-every-", every), func(b *testing.B) {
			r := catalog.DefaultConduct().Escalation
			var f escalation.Fleet
			states := make([]escalation.State, 1000)
			events := make([]conduct.Event, 10_000)
			at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
			for i := range events {
				events[i] = conduct.Event{
					Agent: authz.AgentID(fmt.Sprint("agent-", i%1000)), Owner: fmt.Sprint("team-", i%50), Session: fmt.Sprint("session-", i/10),
					Action: "tool.call", Resource: authz.Ref{Type: "tool", ID: fmt.Sprint("orders/", i%700)}, Effect: authz.Allow, Classed: true, Within: []string{"k"},
					Args: []byte(`{"order": 4711, "note": "to be sent before the end of the week", "sum": 99.5}`),
				}
				if every > 0 && i%every == 0 {
					events[i].Effect, events[i].Code = authz.Deny, authz.CodeForbidden
					events[i].Within, events[i].Exceeded = nil, []string{"k/amount.sum"}
				}
			}
			drafts := 0
			emit := func(conduct.Draft) { drafts++ }
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				ev := &events[i%len(events)]
				ev.Seq, ev.At = int64(i), at.Add(time.Duration(i)*time.Millisecond)
				states[i%1000].Observe(&f, &r, ev, true, emit)
			}
			b.ReportMetric(float64(drafts)/float64(b.N), "findings/op")
		})
	}
}
