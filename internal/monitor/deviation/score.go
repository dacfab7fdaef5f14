package deviation

import (
	"math"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/sequence"
)

// Features are what an act is judged by.
type Features struct {
	Surprise  float64 // bits: how improbable it is after the act before
	Absence   float64 // bits: how rare it is in a session of this kind at all
	Trail     float64 // bits: the mean of both of the act before, up to trailMost
	Sequence  float64 // the mean of both, and a part of Trail: what the sequence of acts says alone
	Evidence  float64 // 0.25..1: how far the sequence is to be believed, by how many sessions of the task are known
	Pattern   float64 // bits: how improbable it is that arguments of such an act come from there; 0 if nobody says
	Untrusted float64 // 0..1: share of arguments that stem from untrusted sources; 0 if nobody says
	Effect    float64 // bits: what the class of the act weighs
	Novelty   float64 // bits: how rarely something is as new as the newest thing in it
	New       Thing   // which thing that is
	Score     float64 // all together, in bits
	P         float64 // how rare such a score is: a conformal p-value

	action uint64
	symbol sequence.Symbol
	origin sequence.Symbol
	things [thingsMost]thing
	n      int
}

// Weights, in bits. They say how much more an act is looked at for what it can do: four bits are
// sixteen times. They were set by hand, in steps of two, and hold for every organisation.
var effects = [conduct.Classes]float64{conduct.Read: 0, conduct.Write: 6, conduct.Egress: 8, conduct.Money: 10, conduct.Admin: 12}

const (
	untrusted = 8.0 // if all arguments are
	novelty   = 0.5
	trail     = 0.2  // of the act before: strange acts come in runs
	trailMost = 15.0 // of it
	oddBits   = 4.0  // from this surprise on, what follows is also compared with what came before it
)

// Levels of contexts in which origins of arguments are counted. See sequence.ContextOf.
const (
	levelOrigin       = iota + 32 // of all agents
	levelOriginClass              // by class, of all agents and of a purpose
	levelOriginAction             // by action, of a purpose
	levelOriginTask               // by task and action
)

// mean is what the act says without the one before.
func (x *Features) mean() float64 { return float64((x.Surprise + x.Absence) / 2) }

func (x *Features) odd() bool { return x.Surprise > oddBits }

// Score returns what an act is judged by, as things stand. It learns nothing.
func (s *State) Score(f *Fleet, r *catalog.DeviationRules, ev *conduct.Event) Features {
	now := session{id: hashOf(ev.Session)}
	if i := s.find(ev); i >= 0 {
		now = s.sessions[i]
	}
	return s.score(f, f.of(ev.Purpose, false), r, ev, &now)
}

func (s *State) score(f *Fleet, p *purpose, r *catalog.DeviationRules, ev *conduct.Event, now *session) (x Features) {
	x.action = conduct.Hash(ev.Action)
	x.symbol = sequence.Of(x.action, now.did(sequence.Of(x.action, false)))
	task := taskOf(ev)
	m := sequence.Model{Purpose: &p.counts, Fleet: &f.all}
	if s.grown(r) {
		m.Own = &s.own
	}
	x.Surprise = m.Surprise(sequence.Place{Task: task, Prev: now.prev}, x.symbol)
	if now.alt != now.prev {
		x.Surprise = min(x.Surprise, m.Surprise(sequence.Place{Task: task, Prev: now.alt}, x.symbol))
	}
	sessions := 0
	if task != 0 {
		sessions = m.Sessions(task)
	}
	if sessions == 0 {
		task = 0 // nothing is known of it
	}
	x.Absence = m.Absence(task, x.symbol)
	x.Trail = float64(now.trail) / trailUnit
	x.Sequence = x.mean() + float64(trail*x.Trail)
	x.Evidence = 0.25 + 0.75*float64(sessions)/float64(sessions+4)
	x.Effect = effects[min(ev.Class, conduct.Admin)]
	s.origins(f, p, ev, task, &x)
	s.newness(p, r, ev, &x)
	x.Score = float64(x.Evidence*x.Sequence) + x.Pattern + x.Effect + float64(untrusted*x.Untrusted) + float64(novelty*x.Novelty)
	x.P = s.rarity(p, r, x.Score)
	return x
}

// grown reports whether the agent has had enough sessions that its own record speaks.
func (s *State) grown(r *catalog.DeviationRules) bool { return int(s.began) >= r.Traces }

func taskOf(ev *conduct.Event) uint32 {
	if ev.Task == "" {
		return 0
	}
	return max(uint32(conduct.Hash(ev.Task)>>32), 1)
}

// origins says how usual it is for such an act to have arguments from where these come from.
func (s *State) origins(f *Fleet, p *purpose, ev *conduct.Event, task uint32, x *Features) {
	o := ev.Provenance
	if o == nil {
		return
	}
	n := len(o.Prompt) + len(o.Operator) + len(o.Untrusted) + len(o.Unknown)
	if n > 0 {
		x.Untrusted = float64(len(o.Untrusted)) / float64(n)
	}
	x.origin = 1
	for i, names := range [...][]string{o.Prompt, o.Unknown, o.Untrusted} {
		if len(names) > 0 {
			x.origin += 1 << i
		}
	}
	c := originContexts(ev, task, x)
	q := f.all.P(c[0], x.origin, 1.0/8)
	q = f.all.P(c[1], x.origin, q)
	q = p.counts.P(c[1], x.origin, q)
	q = p.counts.P(c[2], x.origin, q)
	if task != 0 {
		q = p.counts.P(c[3], x.origin, q)
	}
	x.Pattern = sequence.Bits(q)
}

func originContexts(ev *conduct.Event, task uint32, x *Features) [4]sequence.Context {
	return [4]sequence.Context{
		sequence.ContextOf(levelOrigin, 0),
		sequence.ContextOf(levelOriginClass, uint32(ev.Class)),
		sequence.ContextOf(levelOriginAction, uint32(sequence.Of(x.action, false))),
		sequence.ContextOf(levelOriginTask, task^uint32(x.symbol)),
	}
}

// rarity returns how rare a score is: the conformal p-value in the agent's own record. What is beyond the
// record's 64 scores is as rare as that, times how rarely its purpose's agents come so far, but for slack, if they come as
// far as the record. While the agent's own record does not speak, its purpose's does.
func (s *State) rarity(p *purpose, r *catalog.DeviationRules, score float64) float64 {
	if !s.grown(r) {
		return p.tail.p(score)
	}
	own, n := s.record.P(score), float64(s.record.N()+1)
	if float64(own*n) > 1.5 || p.tail.n < tailLeast {
		return own
	}
	low, high := 0, binOf(score) // the highest bin that is within the record
	for low < high {
		mid := (low + high + 1) / 2
		if float64(s.record.P(binFloor(mid))*n) > 1.5 {
			low = mid
		} else {
			high = mid - 1
		}
	}
	high = max(low, binOf(score-slack))
	return float64(own*float64(1+p.tail.above(high))) / float64(1+p.tail.above(low))
}

// A tail is how the scores of a purpose's agents are spread, the old ones counting less: a histogram in
// steps of a quarter of a bit whose counts are halved when there are tailFull.
type tail struct {
	bins [256]uint16
	n    uint32
}

const (
	tailLeast = 256
	tailFull  = 16384
)

// slack is by how many bits the same act may get another score because a table halved its counts.
const slack = 0.125

func binOf(score float64) int           { return int(max(0, min(255, score*4))) }
func binFloor(bin int) float64          { return float64(bin) / 4 }
func (t *tail) p(score float64) float64 { return float64(1+t.above(binOf(score))) / float64(t.n+1) }

// above returns how many scores are in a bin or above it.
func (t *tail) above(bin int) (n int) {
	for _, c := range t.bins[bin:] {
		n += int(c)
	}
	return n
}

func (t *tail) add(score float64) {
	if t.n == tailFull {
		t.n = 0
		for i := range t.bins {
			t.bins[i] /= 2
			t.n += uint32(t.bins[i])
		}
	}
	t.bins[binOf(score)]++
	t.n++
}

// ln returns -ln(p).
func ln(p float64) float64 { return float64(sequence.Bits(p) * math.Ln2) }
