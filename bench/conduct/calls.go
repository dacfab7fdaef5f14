package main

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/deviation"
)

// A World is a fleet and its agents, at a time.
type World struct {
	Rules  catalog.DeviationRules
	Fleet  deviation.Fleet
	Agents map[authz.AgentID]*deviation.State
	now    time.Time
	seq    int64
}

// NewWorld returns one that knows nothing, on a Monday morning.
func NewWorld() *World {
	return &World{
		Rules: catalog.DefaultConduct().Deviation, Agents: map[authz.AgentID]*deviation.State{},
		now: time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC),
	}
}

// pace is how long after one trace the next one of some agent begins: all work around the clock, so that hours mean nothing.
const pace = 20 * time.Minute

// Play lets an agent do a trace. See is told what each act was judged by and what was found.
func (w *World) Play(t *Trace, learn bool, see func(call int, x deviation.Features, found []conduct.Draft)) {
	s := w.Agents[t.Agent()]
	if s == nil {
		s = new(deviation.State)
		w.Agents[t.Agent()] = s
	}
	w.now = w.now.Add(pace)
	var found []conduct.Draft
	for i := range t.Events {
		ev := t.Events[i]
		w.seq++
		ev.Seq, ev.At = w.seq, w.now.Add(time.Duration(i)*2*time.Second)
		ev.Hour, ev.Weekday = ev.At.Hour(), int(ev.At.Weekday())
		var x deviation.Features
		if see != nil {
			x = s.Score(&w.Fleet, &w.Rules, &ev)
		}
		found = found[:0]
		s.Observe(&w.Fleet, &w.Rules, &ev, learn, func(d conduct.Draft) { found = append(found, d) })
		if see != nil {
			see(i, x, found)
		}
	}
}

// fold returns to which of so many folds a key belongs.
func fold(key string, folds int, seed uint64) int {
	h := fnv.New64a()
	h.Write([]byte(key))
	return int(rand.New(rand.NewPCG(h.Sum64(), seed)).Uint64() % uint64(folds))
}

// shuffled returns the traces in an order that a seed gives.
func shuffled(ts []*Trace, seed uint64) []*Trace {
	ts = slices.Clone(ts)
	rand.New(rand.NewPCG(seed, 1)).Shuffle(len(ts), func(i, j int) { ts[i], ts[j] = ts[j], ts[i] })
	return ts
}

// A Scored is a call that was not trained on.
type Scored struct {
	Trace *Trace
	Label string
	X     deviation.Features
}

// CrossValidate scores the calls of every trace in a world that was trained on the benign traces of the other
// folds. Key says which traces are kept together.
func CrossValidate(ts []*Trace, folds int, seed uint64, key func(*Trace) string) []Scored {
	var all []Scored
	for k := range folds {
		w := NewWorld()
		for _, t := range shuffled(ts, seed) {
			if !t.Attacked && fold(key(t), folds, seed) != k {
				w.Play(t, true, nil)
			}
		}
		for _, t := range ts {
			if fold(key(t), folds, seed) != k {
				continue
			}
			w.Play(t, false, func(call int, x deviation.Features, _ []conduct.Draft) {
				all = append(all, Scored{Trace: t, Label: t.Labels[call], X: x})
			})
		}
	}
	return all
}
