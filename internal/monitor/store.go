package monitor

import (
	"context"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// Store keeps what a monitor remembers between starts, and its findings and how trust moved for reading. Replicas share it.
type Store interface {
	PointStore

	// MonitorHead returns the head, the zero Head if there is none, and how many findings of its format are
	// kept of entries up to its number.
	MonitorHead(ctx context.Context) (h Head, findings int64, err error)

	// PutMonitorHead makes next the head. It returns authz.ErrConflict, and does nothing, unless the head
	// has the epoch and the number of old. If next has the number 0, what is kept of agents is removed.
	PutMonitorHead(ctx context.Context, old, next Head) error

	// MonitorAgents returns what was kept newest in the head's epoch, but not after the head, of up to limit
	// agents whose ids follow the given one, in the order of ids.
	MonitorAgents(ctx context.Context, h Head, after authz.AgentID, limit int) ([]Kept, error)

	// PutMonitorAgents keeps agents, for heads of an epoch, beside what is kept of them as of other entries.
	PutMonitorAgents(ctx context.Context, epoch int64, agents []Kept) error

	// SweepMonitor removes what is kept of agents as of entries before the head; that nothing is known of
	// one any more stays, and so does what was written for other epochs.
	SweepMonitor(ctx context.Context, h Head, agents []Kept) error

	// PutFindings keeps findings, unless newer versions (by format, and then by AsOf) are kept already.
	PutFindings(ctx context.Context, format int64, fs []conduct.Finding) error

	// Findings returns up to limit findings that a query selects, newest first, without those of formats older
	// than the head's.
	Findings(ctx context.Context, q Query, limit int) ([]conduct.Finding, error)

	// CountFindings returns how many of these there are of each state, severity and kind.
	CountFindings(ctx context.Context) ([]Count, error)
}

// A Count is how many findings there are of a state, a severity and a kind.
type Count struct {
	State    conduct.Verdict  `json:"state"`
	Severity conduct.Severity `json:"severity"`
	Kind     conduct.Kind     `json:"kind"`
	Findings int64            `json:"findings"`
}

// A Head says what is kept.
type Head struct {
	Epoch  int64 // grows whenever all is begun anew; what was written before does not count then
	Seq    int64 // number of the entry as of which agents are kept; 0 if none are
	Format int64
	State  []byte // of the fleet
}

// A Kept is an agent as of an entry.
type Kept struct {
	Agent authz.AgentID
	Seq   int64
	State []byte // empty: nothing is known any more
}

// A Query is a Filter and where to begin.
type Query struct {
	Agent    authz.AgentID
	Kind     string
	Severity conduct.Severity // this or graver
	State    conduct.Verdict
	Seq      int64 // with Nth, the id of a finding: only older ones; 0 for all
	Nth      int
}

func (f *Filter) query(before string) (q Query, err error) {
	q = Query{Agent: f.Agent, Kind: f.Kind, State: f.State}
	if f.Severity != "" {
		if err := q.Severity.UnmarshalText([]byte(f.Severity)); err != nil {
			return q, err
		}
	}
	switch f.State {
	case "", conduct.Open, conduct.Acknowledged, conduct.Dismissed, conduct.Confirmed:
	default:
		return q, authz.Errorf(authz.ErrInvalid, "unknown state %.32q: one of open, acknowledged, dismissed, confirmed", f.State)
	}
	if before != "" {
		var ok bool
		if q.Seq, q.Nth, ok = conduct.ParseID(before); !ok {
			return q, authz.Errorf(authz.ErrInvalid, "%.64q is no finding's id", before)
		}
	}
	return q, nil
}
