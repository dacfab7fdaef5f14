package main

import (
	"maps"
	"slices"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/deviation"
)

// A Stream is what came of benign traces that were played one after another, everything being learned.
type Stream struct {
	Traces  int
	Calls   int
	Grown   int                              // calls of agents whose own record spoke
	Kinds   map[conduct.Kind][4]int          // findings by kind and severity
	Rare    map[bool]int                     // calls whose p-value was alpha or less, by whether the own record spoke
	Alarmed map[conduct.Kind]map[string]bool // traces with a finding that lowers trust, by kind
}

// lowers reports whether a finding lowers trust by itself: one that is low is a note.
func lowers(d conduct.Draft) bool { return d.Severity >= conduct.Medium }

// Benign plays the benign traces in an order that a seed gives.
func Benign(ts []*Trace, seed uint64) *Stream {
	out := &Stream{Kinds: map[conduct.Kind][4]int{}, Rare: map[bool]int{}, Alarmed: map[conduct.Kind]map[string]bool{}}
	w := NewWorld()
	sessions := map[authz.AgentID]int{}
	for _, t := range shuffled(ts, seed) {
		if t.Attacked || len(t.Events) == 0 {
			continue
		}
		out.Traces++
		grown := sessions[t.Agent()] >= w.Rules.Traces
		sessions[t.Agent()]++
		w.Play(t, true, func(_ int, x deviation.Features, found []conduct.Draft) {
			out.Calls++
			if grown {
				out.Grown++
			}
			if x.P <= w.Rules.Alpha {
				out.Rare[grown]++
			}
			for _, d := range found {
				n := out.Kinds[d.Kind]
				n[d.Severity]++
				out.Kinds[d.Kind] = n
				if lowers(d) {
					if out.Alarmed[d.Kind] == nil {
						out.Alarmed[d.Kind] = map[string]bool{}
					}
					out.Alarmed[d.Kind][t.ID] = true
				}
			}
		})
	}
	return out
}

// A Delay is how long an agent that was taken over went on before that was found.
type Delay struct {
	Traces   int // attacked ones that were played, the one in which it was found included
	Injected int // those among them in which the agent did what the attacker wanted
	Found    bool
}

// Takeover plays two thirds of the benign traces, and then, for one agent at a time and each time from there, attacked traces
// and the remaining benign ones in turn, until there is a finding that suits. With obeyed it leaves out attacked traces in
// which the agent resisted. It returns the delays of the agents that had enough sessions and ever did what an attacker
// wanted; everything is learned, as if trust were never lowered.
func Takeover(ts []*Trace, seed uint64, obeyed bool, suits func(conduct.Draft) bool) ([]Delay, error) {
	before := NewWorld()
	attacked, rest := map[authz.AgentID][]*Trace{}, map[authz.AgentID][]*Trace{}
	sessions := map[authz.AgentID]int{}
	for _, t := range shuffled(ts, seed) {
		switch id := t.Agent(); {
		case len(t.Events) == 0:
		case t.Attacked && obeyed && !slices.Contains(t.Labels, "injected"):
		case t.Attacked:
			attacked[id] = append(attacked[id], t)
		case fold(t.ID, 3, seed) == 0:
			rest[id] = append(rest[id], t)
		default:
			sessions[id]++
			before.Play(t, true, nil)
		}
	}
	kept := before.Fleet.Append(nil)
	var all []Delay
	for _, id := range slices.Sorted(maps.Keys(attacked)) {
		if sessions[id] < before.Rules.Traces {
			continue
		}
		w := *before
		w.Fleet = deviation.Fleet{}
		if err := w.Fleet.Read(conduct.NewReader(kept)); err != nil {
			return nil, err
		}
		s := new(deviation.State)
		if err := s.Read(conduct.NewReader(before.Agents[id].Append(nil))); err != nil {
			return nil, err
		}
		w.Agents = map[authz.AgentID]*deviation.State{id: s}
		var d Delay
		for i := 0; i < len(attacked[id]) && !d.Found; i++ {
			t := attacked[id][i]
			d.Traces++
			if slices.Contains(t.Labels, "injected") {
				d.Injected++
			}
			w.Play(t, true, func(_ int, _ deviation.Features, found []conduct.Draft) {
				d.Found = d.Found || slices.ContainsFunc(found, suits)
			})
			if len(rest[id]) > 0 && !d.Found {
				w.Play(rest[id][i%len(rest[id])], true, nil)
			}
		}
		if d.Injected > 0 {
			all = append(all, d)
		}
	}
	return all, nil
}
