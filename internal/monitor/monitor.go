// Package monitor watches what agents do. It follows the log, concludes findings, and turns them into
// trust that the next decision reads.
package monitor

import (
	"context"
	"log/slog"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/performance"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// A Config is what a Monitor needs.
type Config struct {
	Store Store
	Log   interface { // *audit.Follower
		Commit(ctx context.Context, d audit.Draft) (int64, error)
	}
	// Catalog returns the catalog of a published version. *policy.Library has it.
	Catalog func(ctx context.Context, version int64) (*catalog.Catalog, error)
	Now     func() time.Time
	Logger  *slog.Logger
}

// Store keeps what a monitor remembers between starts, and its findings for searching.
type Store interface{}

// A Monitor is the state of all agents' conduct. It is safe for concurrent use.
type Monitor struct{ cfg Config }

// New returns a Monitor that knows nothing yet: see Load.
func New(cfg Config) *Monitor { return &Monitor{cfg: cfg} }

// Load reads what was kept. Seq then returns up to where of the log it knows: the follower must begin there.
func (m *Monitor) Load(ctx context.Context) error { return nil }

// Seq returns the number of the newest entry that is taken in.
func (m *Monitor) Seq() int64 { return 0 }

// Apply takes in an entry. See audit.Applier.
func (m *Monitor) Apply(ctx context.Context, e audit.Entry) error { return nil }

// Run keeps what is remembered from time to time, and once more when ctx ends.
func (m *Monitor) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Conduct returns trust in an agent in a class ("" for one that is not known: the lowest), and how it has behaved.
// It touches memory only.
func (m *Monitor) Conduct(id authz.AgentID, class string, at time.Time) (authz.Trust, authz.Conduct) {
	return authz.NeutralTrust, authz.Conduct{}
}

// Confidence returns what an agent's reported confidence has been worth, and whether there is evidence.
func (m *Monitor) Confidence(id authz.AgentID, reported float64) (float64, bool) { return 0, false }

// Generation changes whenever the level of some agent, its findings or its quarantine change.
func (m *Monitor) Generation() uint64 { return 0 }

// A Report explains the trust in an agent to a person.
type Report struct {
	Agent       authz.AgentID        `json:"agent"`
	Purpose     string               `json:"purpose"`
	Version     string               `json:"version"`
	AsOf        int64                `json:"as_of"`            // number of the newest entry that is taken in
	Shadow      bool                 `json:"shadow,omitempty"` // decisions do not go by it
	Quarantined bool                 `json:"quarantined,omitempty"`
	Learning    bool                 `json:"learning"` // false while trust is lowered
	Classes     []trust.Standing     `json:"classes"`  // by class, mildest first
	Performance performance.Standing `json:"performance"`
	Findings    []conduct.Finding    `json:"findings"`  // the open ones, newest first; at most 16
	Decisions   int64                `json:"decisions"` // that were taken in
}

// Report explains the trust in an agent. It returns authz.ErrNotFound for one that nothing is known of.
func (m *Monitor) Report(id authz.AgentID, at time.Time) (*Report, error) {
	return nil, authz.ErrNotFound
}

// A Filter selects findings. Empty members match everything.
type Filter struct {
	Agent    authz.AgentID
	Kind     string // a kind, or what stands before its dot
	Severity string // this or graver
	State    conduct.Verdict
}

// Findings returns up to limit findings, newest first, that are older than the one of the id before ("" for the newest).
func (m *Monitor) Findings(ctx context.Context, f Filter, before string, limit int) ([]conduct.Finding, error) {
	return nil, nil
}

// Finding returns one. It returns authz.ErrNotFound if there is none of that id.
func (m *Monitor) Finding(ctx context.Context, id string) (conduct.Finding, error) {
	return conduct.Finding{}, authz.ErrNotFound
}

// Judge records what a person says of a finding (finding.judged), waits until it is in effect, and returns it.
// authz.ErrNotFound, authz.ErrConflict if it was judged so already or is too old.
func (m *Monitor) Judge(ctx context.Context, actor, why, id string, v conduct.Verdict) (conduct.Finding, error) {
	return conduct.Finding{}, nil
}

// Set records a level set by hand, or that there is none any more (trust.put), and waits until it is in effect.
func (m *Monitor) Set(ctx context.Context, actor string, o trust.Override) (*Report, error) {
	return nil, nil
}

// Tell records what somebody says came of a decision (outcome.reported), waits until it is in effect, and
// returns the number of the entry. authz.ErrConflict: this reporter has reported that decision already, or it is too old.
func (m *Monitor) Tell(ctx context.Context, o conduct.Outcome) (int64, error) { return 0, nil }

// A Signal is something that subscribers are told at once.
type Signal struct {
	Seq     int64            `json:"seq"`  // number of the entry by which it came
	Type    string           `json:"type"` // finding (new, repeated or judged), trust (a level changed), quarantine
	At      time.Time        `json:"at"`
	Agent   authz.AgentID    `json:"agent"`
	Finding *conduct.Finding `json:"finding,omitempty"`
	Class   string           `json:"class,omitempty"` // of trust
	From    string           `json:"from,omitempty"`  // level before
	To      string           `json:"to,omitempty"`    // level now
}

// Subscribe returns signals from now on, until ctx ends. A subscriber that does not keep up is cut off: its channel is closed.
func (m *Monitor) Subscribe(ctx context.Context) <-chan Signal { return nil }

// A Comparison says what other rules would have concluded from a range of the log.
type Comparison struct {
	From, To int64               `json:"-"`
	Entries  int64               `json:"entries"`
	Findings []Difference        `json:"findings"` // found by one and not by the other
	Trust    []LevelDifference   `json:"trust"`    // agents whose level ends up otherwise
	Counts   map[string][2]int64 `json:"counts"`   // findings by kind: as it is, as it would be
}

// A Difference is a finding that only one of two sets of rules gives.
type Difference struct {
	Only    string          `json:"only"` // before, after
	Finding conduct.Finding `json:"finding"`
}

// A LevelDifference is an agent whose trust would be otherwise.
type LevelDifference struct {
	Agent  authz.AgentID `json:"agent"`
	Class  string        `json:"class"`
	Before authz.Trust   `json:"before"`
	After  authz.Trust   `json:"after"`
}

// Replay takes in the log from its beginning up to the entry to, once by the rules that held and once by other, and
// compares what was concluded from the entry from on. With other nil it only concludes again. It touches no state of the service.
func Replay(ctx context.Context, log Reader, catalogs func(context.Context, int64) (*catalog.Catalog, error), from, to int64, other *catalog.Conduct) (*Comparison, error) {
	return &Comparison{}, nil
}

// Reader reads the log. *audit.Log is one (see how internal/audit reads ranges; adapt).
type Reader interface {
	Follow(ctx context.Context, after int64, f func(context.Context, []audit.Entry) error) error
}
