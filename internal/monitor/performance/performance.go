// Package performance judges how well an agent does its work, and what its confidence is worth: by what
// people, enforcement points and its operator say came of its acts (outcomes), and by calls that it
// repeats.
//
// Invariants: what is remembered of an agent is bounded, whatever it or others send; what one reporter,
// or the outcomes of one session, can move in a day is bounded, however much is said; what an agent says of
// itself counts against it or not at all; and the same entries give the same state and findings, bit for
// bit. An agent of which too little is known is not judged.
//
// Outcomes of acts that were refused are not counted: such an act should not have been done, which is not
// a question of doing it well.
package performance

import (
	"fmt"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// Kinds of finding.
const (
	KindAccuracy    conduct.Kind = "performance.accuracy"    // too few acts are right
	KindCalibration conduct.Kind = "performance.calibration" // its confidence does not mean what it says
	KindLoop        conduct.Kind = "performance.loop"        // it repeats itself
	KindSchema      conduct.Kind = "performance.schema"      // its arguments do not fit, again and again
	KindErrors      conduct.Kind = "performance.errors"      // too many acts fail, or more than before
	KindLatency     conduct.Kind = "performance.latency"     // its acts take longer than they did
	KindSize        conduct.Kind = "performance.size"        // its results are larger than they were
)

// A State is what is remembered of one agent. The zero State remembers nothing. It is bounded for any
// stream, and not safe for concurrent use. It takes 64 bytes until an outcome is told, and 400 at most.
type State struct {
	calls calls
	work  *work // nil until an outcome is told
}

// work is what outcomes have told of an agent.
type work struct {
	judged  tally // weights of right and other outcomes
	tried   tally // weights of acts that worked and that failed
	brier   tally // weights of agreement and squared error of reported confidence: they add up to the number of outcomes
	since   int64 // up to when the tallies are faded, in microseconds; see fade
	said    *bins // nil until a confidence is judged
	measure *measures
	faults  faults
	today   today
	schema  uint8    // misfits lately, in quarters
	wrong   [2]int64 // numbers of the newest entries of outcomes that were not right, oldest first
	failed  [2]int64 // and of faults
}

// A Fleet is what is remembered of all agents together: nothing, for an agent's work is judged by what
// comes of it and by its own past, whatever others do.
type Fleet struct{}

// Observe takes in an event of the agent and emits findings. Whether it learns makes no difference:
// a call that is repeated stays one.
func (s *State) Observe(_ *Fleet, r *catalog.PerformanceRules, ev *conduct.Event, _ bool, emit func(conduct.Draft)) {
	if r.Off || ev.Issuing {
		return
	}
	n := s.calls.add(ev)
	if n < r.Loop || r.Loop < 1 {
		return
	}
	d := conduct.Draft{Kind: KindLoop, Severity: conduct.Low, Class: ev.Class, Evidence: []int64{ev.Seq}}
	if ev.Class > conduct.Read {
		d.Severity = conduct.Medium // what is repeated has an effect each time
	}
	d.Sentence = fmt.Sprintf("The agent repeats itself: it has asked for the same %s of %s, with the same arguments, %d times of late.",
		conduct.Quote(ev.Action), conduct.Quote(ev.Resource.Type), n)
	emit(d)
}

// Outcome takes in what somebody says came of a decision of the agent, and emits findings. While learn is
// false, no latency, size or fault becomes normal.
func (s *State) Outcome(_ *Fleet, r *catalog.PerformanceRules, o *conduct.Outcome, learn bool, emit func(conduct.Draft)) {
	if r.Off || !o.Allowed {
		return
	}
	if s.work == nil {
		s.work = new(work)
	}
	w := s.work
	w.fade(o.At, r.HalfLife)
	weight := w.today.weigh(r, o)
	w.judge(r, o, weight, emit)
	w.run(r, o, weight, learn, emit)
}

// judge takes in whether the act was right.
func (w *work) judge(r *catalog.PerformanceRules, o *conduct.Outcome, weight float64, emit func(conduct.Draft)) {
	right := o.Result == conduct.ResultRight
	if o.Result == conduct.ResultNone || right && o.Reporter == conduct.ReporterAgent {
		return
	}
	w.judged.add(right, weight)
	if !right {
		w.wrong = [2]int64{w.wrong[1], o.Seq}
		if w.judged.n() >= float64(r.Least) && w.judged.upper() < r.Accuracy {
			d := conduct.Draft{Kind: KindAccuracy, Severity: conduct.Medium, Class: conduct.Every, Evidence: numbers(w.wrong)}
			if w.judged.upper() < r.Accuracy/2 {
				d.Severity = conduct.High
			}
			d.Sentence = fmt.Sprintf("Of the agent's acts that were judged, %d %% were right; at least %d %% should be.",
				percent(w.judged.share()), percent(r.Accuracy))
			emit(d)
		}
	}
	if o.Said == nil || !(*o.Said >= 0 && *o.Said <= 1) {
		return
	}
	if w.said == nil {
		w.said = new(bins)
	}
	w.said.add(*o.Said, right, weight)
	miss := *o.Said
	if right {
		miss = 1 - miss
	}
	squared := float64(miss * miss)
	w.brier.bad = single(float64(w.brier.bad) + float64(weight*squared))
	w.brier.good = single(float64(w.brier.good) + float64(weight*(1-squared)))
	if squared > r.Brier && w.brier.n() >= float64(r.Least) && 1-w.brier.upper() > r.Brier {
		said, was := w.said.means()
		d := conduct.Draft{Kind: KindCalibration, Severity: conduct.Low, Class: conduct.Every, Evidence: []int64{o.Seq}}
		how := "less sure of itself than it could be"
		if said > was {
			d.Severity, how = conduct.Medium, "surer of itself than it should be"
		}
		d.Sentence = fmt.Sprintf("The agent is %s: it stated a confidence of %d %% on average, and was right in %d %% of cases.", how, percent(said), percent(was))
		emit(d)
	}
}

// run takes in how the act went technically. That it went well is only an enforcement point's to say,
// which was there.
func (w *work) run(r *catalog.PerformanceRules, o *conduct.Outcome, weight float64, learn bool, emit func(conduct.Draft)) {
	there := o.Reporter == conduct.ReporterPEP
	bad := o.Fault != conduct.FaultNone
	if !there && !bad {
		return
	}
	class, _ := conduct.ParseClass(o.Class)
	w.tried.add(!bad, weight)
	if bad {
		w.failed = [2]int64{w.failed[1], o.Seq}
	}
	drifts := there && w.faults.add(bad, r, learn)
	switch {
	case bad && w.tried.n() >= float64(r.Least) && 1-w.tried.upper() > r.Errors:
		emit(conduct.Draft{Kind: KindErrors, Severity: conduct.Medium, Class: class, Evidence: numbers(w.failed),
			Sentence: fmt.Sprintf("Of the agent's acts, %d %% failed; at most %d %% should.", percent(1-w.tried.share()), percent(r.Errors))})
	case drifts:
		emit(conduct.Draft{Kind: KindErrors, Severity: conduct.Low, Class: class, Evidence: numbers(w.failed),
			Sentence: fmt.Sprintf("More of the agent's acts fail than did: %d %% used to.", percent(w.faults.usual.Mean()))})
	}
	w.fit(r, o, class, emit)
	if there && !bad && o.Latency|o.Size != 0 {
		if w.measure == nil {
			w.measure = new(measures)
		}
		w.measure.add(r, o, class, learn, emit)
	}
}

// fit counts calls whose arguments did not fit; each that did takes a quarter of one away.
func (w *work) fit(r *catalog.PerformanceRules, o *conduct.Outcome, class conduct.Class, emit func(conduct.Draft)) {
	if o.Fault != conduct.FaultSchema {
		w.schema = max(w.schema, 1) - 1
		return
	}
	w.schema = min(w.schema, 250) + 4
	if r.Schema > 0 && int(w.schema) >= 4*r.Schema {
		emit(conduct.Draft{Kind: KindSchema, Severity: conduct.Low, Class: class, Evidence: numbers(w.failed),
			Sentence: fmt.Sprintf("The agent's arguments do not fit, again and again: now those of %s.", conduct.Quote(o.Action))})
	}
}

// numbers returns those of two numbers that are set.
func numbers(of [2]int64) []int64 {
	if of[0] == 0 {
		return []int64{of[1]}
	}
	return []int64{of[0], of[1]}
}

// percent returns a share in whole per cent.
func percent(x float64) int { return int(float64(x*100) + 0.5) }
