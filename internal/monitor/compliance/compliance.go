// Package compliance finds acts that break a rule of the organisation, whatever was decided.
package compliance

import (
	"time"

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
func (s *State) Observe(f *Fleet, r *catalog.ComplianceRules, ev *conduct.Event, learn bool, emit func(conduct.Draft)) {
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
func (s *State) Outcome(f *Fleet, r *catalog.ComplianceRules, o *conduct.Outcome, emit func(conduct.Draft)) {
}

// Due returns when Tick has something to say at the earliest; zero if never.
func (s *State) Due() time.Time { return time.Time{} }

// Tick emits what became overdue by a time.
func (s *State) Tick(f *Fleet, r *catalog.ComplianceRules, at time.Time, emit func(conduct.Draft)) {}
