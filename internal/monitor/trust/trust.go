// Package trust turns evidence into trust: for each class of capability a Beta posterior that forgets, a
// level that follows its lower credible bound, lost at once and regained by steps. It is arithmetic: no
// clock, no I/O, and the same evidence gives the same trust, bit for bit.
package trust

import (
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// A Level is how far an agent is trusted in a class.
type Level uint8

// The levels.
const (
	None Level = iota
	Low
	Medium
	High
)

var levelNames = [...]string{"none", "low", "medium", "high"}

// String returns the level's name, as authz.Trust has it.
func (l Level) String() string { return levelNames[min(l, High)] }

// ParseLevel returns the level of that name, and whether there is one.
func ParseLevel(s string) (Level, bool) {
	for i, n := range levelNames {
		if n == s {
			return Level(i), true
		}
	}
	return None, false
}

// Who is the agent that bounds (floors and ceilings) are looked up for.
type Who struct {
	Agent   authz.AgentID
	Purpose string
}

// A Prior is where a new agent starts, by class: what its purpose's other agents have earned.
type Prior [conduct.Classes]struct{ Good, Bad float64 }

// A Pool adds up what the agents of one purpose have earned, for the Prior of new ones. Bounded.
type Pool struct{}

// Prior returns where a new agent of the purpose starts, before the cap of r.PriorMost and of level medium.
func (p *Pool) Prior(r *catalog.TrustRules, at time.Time) Prior { return Prior{} }

// Append and Read keep the pool.
func (p *Pool) Append(b []byte) []byte       { return b }
func (p *Pool) Read(r *conduct.Reader) error { return r.Err() }

// A State is the trust in one agent. It is bounded, and not safe for concurrent use.
type State struct{}

// Start returns the state of an agent that begins at a time. Owner holds the lowest level, by class, of
// the agents of the same owner that are lowered: whoever registers again starts no higher. High where there is none.
func Start(r *catalog.TrustRules, prior Prior, owner [conduct.Classes]Level, at time.Time) *State {
	return &State{}
}

// Renew begins anew for a new version or model of the agent: what spoke for the old one is gone, what spoke
// against it and how far it was lowered stays.
func (s *State) Renew(r *catalog.TrustRules, prior Prior, at time.Time) {}

// Good takes in an allowed act in a class that no monitor objects to. Session is conduct.Hash of the session, 0 if unknown.
func (s *State) Good(r *catalog.TrustRules, p *Pool, c conduct.Class, session uint64, at time.Time) {}

// Finding takes in a finding, or, with again, a repetition that is graver than before (was). It reports whether the
// agent falls into quarantine by it.
func (s *State) Finding(r *catalog.TrustRules, p *Pool, f *conduct.Finding, class conduct.Class, was *conduct.Severity, seq int64, at time.Time) (quarantine bool) {
	return false
}

// Judge takes in what a person said of a finding that was taken in before, in place of the verdict before.
func (s *State) Judge(r *catalog.TrustRules, f *conduct.Finding, class conduct.Class, before, now conduct.Verdict, seq int64, at time.Time) {
}

// Outcome takes in what somebody says came of a decision.
func (s *State) Outcome(r *catalog.TrustRules, p *Pool, o *conduct.Outcome, class conduct.Class) (quarantine bool) {
	return false
}

// An Override sets an agent's level by hand. It is the body of a trust.put entry, with the agent.
type Override struct {
	Agent   authz.AgentID `json:"agent"`
	Class   string        `json:"class"` // a class, or every
	Level   string        `json:"level"` // none, low, medium, high; "" to leave it to conduct again; restore: see Restore
	Expires time.Time     `json:"expires_at,omitzero"`
	Author  string        `json:"author,omitempty"` // set from the entry's actor
	Why     string        `json:"why"`
	// Restore ends a quarantine and lifts the agent to the level at once, on a person's word; the posterior stays.
	Restore bool `json:"restore,omitempty"`
}

// Override takes in a level set by hand.
func (s *State) Override(r *catalog.TrustRules, o *Override, class conduct.Class, seq int64, at time.Time) {
}

// Level returns trust in a class at a time; with conduct.Every the lowest over the classes.
func (s *State) Level(r *catalog.TrustRules, who Who, c conduct.Class, at time.Time) authz.Trust {
	return authz.NeutralTrust
}

// Lowered reports whether the agent is, by its own conduct, below where it was in some class: it is on probation.
// Monitors learn nothing of it then.
func (s *State) Lowered(r *catalog.TrustRules, at time.Time) bool { return false }

// Quarantined reports whether conduct has taken everything from the agent until a person restores it.
func (s *State) Quarantined() bool { return false }

// A Standing explains trust in one class to a person.
type Standing struct {
	Class    string    `json:"class"`
	Level    string    `json:"level"`
	Score    float64   `json:"score"` // lower credible bound
	Mean     float64   `json:"mean"`
	Alpha    float64   `json:"alpha"`
	Beta     float64   `json:"beta"`
	Since    time.Time `json:"since,omitzero"` // when it came to this level
	Lowered  bool      `json:"lowered,omitempty"`
	Causes   []Cause   `json:"causes,omitempty"`  // what moved it most lately, newest first; at most 4
	Restore  []string  `json:"restore,omitempty"` // what would bring it a level up: sentences
	Earliest time.Time `json:"earliest,omitzero"` // and when at the earliest
	Override *Override `json:"override,omitempty"`
	Bound    string    `json:"bound,omitempty"` // the floor or ceiling that holds
}

// A Cause is one thing that moved trust.
type Cause struct {
	Seq   int64     `json:"seq"`
	At    time.Time `json:"at"`
	What  string    `json:"what"`  // finding kind, outcome right/wrong/..., override, new version
	Moved float64   `json:"moved"` // evidence: for the agent positive, against it negative
}

// Standing explains trust in a class.
func (s *State) Standing(r *catalog.TrustRules, who Who, c conduct.Class, at time.Time) Standing {
	return Standing{}
}

// Next returns when the agent's level in some class changes by itself at the earliest after a time (an
// override ends, evidence fades over a threshold), rounded up to the minute; zero if it will not within a day.
func (s *State) Next(r *catalog.TrustRules, who Who, at time.Time) time.Time { return time.Time{} }

// Append and Read keep the state; Size returns about how many bytes of memory it takes.
func (s *State) Append(b []byte) []byte       { return b }
func (s *State) Read(r *conduct.Reader) error { return r.Err() }
func (s *State) Size() int                    { return 0 }
