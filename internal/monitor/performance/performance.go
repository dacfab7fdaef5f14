// Package performance judges how well an agent does its work, and what its confidence is worth.
package performance

import (
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// A State is what is remembered of one agent. The zero State remembers nothing. It is bounded for any
// stream, and not safe for concurrent use.
type State struct{}

// A Fleet is what is remembered of all agents together. The zero Fleet remembers nothing. It is bounded.
type Fleet struct{}

// Observe takes in an event of the agent and emits findings. Learn is false while the agent's trust is
// lowered: nothing of what it does becomes normal then.
func (s *State) Observe(f *Fleet, r *catalog.PerformanceRules, ev *conduct.Event, learn bool, emit func(conduct.Draft)) {
}

// Append appends the state in the form that Read reads.
func (s *State) Append(b []byte) []byte { return b }

// Read reads what Append wrote.
func (s *State) Read(r *conduct.Reader) error { return r.Err() }

// Size returns about how many bytes of memory the state takes.
func (s *State) Size() int { return 0 }

// Append appends the fleet's state in the form that Read reads.
func (f *Fleet) Append(b []byte) []byte { return b }

// Read reads what Append wrote.
func (f *Fleet) Read(r *conduct.Reader) error { return r.Err() }

// Outcome takes in what somebody says came of a decision of the agent, and emits findings.
func (s *State) Outcome(f *Fleet, r *catalog.PerformanceRules, o *conduct.Outcome, learn bool, emit func(conduct.Draft)) {
}

// Standing is what is known of an agent's work.
type Standing struct {
	Judged    int64   `json:"judged"`     // outcomes that were right or wrong, weighted and rounded down
	Accuracy  float64 `json:"accuracy"`   // lower credible bound of being right, 0..1
	ErrorRate float64 `json:"error_rate"` // share of acts that failed technically, 0..1
	Brier     float64 `json:"brier"`      // of reported confidence; lower is better
	Bins      []Bin   `json:"bins"`       // reliability: what each level of confidence was worth
}

// A Bin is one bin of a reliability diagram.
type Bin struct {
	From  float64 `json:"from"` // of the reported confidence, inclusive
	To    float64 `json:"to"`
	Said  float64 `json:"said"`  // mean reported confidence
	Right float64 `json:"right"` // share that was right
	Count int64   `json:"count"`
}

// Standing returns what is known of the agent's work.
func (s *State) Standing() Standing { return Standing{} }

// Confidence returns what a reported confidence has been worth, and whether there is evidence.
func (s *State) Confidence(r *catalog.PerformanceRules, reported float64) (float64, bool) {
	return 0, false
}
