package api

import (
	"net/http"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

type decisionID struct {
	ID string `path:"id" json:"-" doc:"as evaluation_id gives it: d123"`
}

// A RecordedDecision is a decision as the log has it: the request, what was known, the answer.
type RecordedDecision struct {
	ID     string     `json:"id"`
	Seq    int64      `json:"seq"` // number of its log entry
	At     time.Time  `json:"at"`
	Actor  string     `json:"actor"`
	Record pdp.Record `json:"record"`
}

func (s *Server) readDecision(r *http.Request, _ *caller.Caller, in decisionID) (RecordedDecision, error) {
	var d RecordedDecision
	seq, err := pdp.ParseDecisionID(in.ID)
	if err != nil {
		return d, err
	}
	e, err := s.Log.Entry(r.Context(), seq)
	if err != nil {
		return d, err
	}
	if e.Kind != audit.DecisionMade {
		return d, authz.Errorf(authz.ErrNotFound, "entry %d is no decision", seq)
	}
	rec, err := pdp.ParseRecord(e.Body)
	if err != nil {
		return d, err
	}
	return RecordedDecision{ID: in.ID, Seq: e.Seq, At: e.At, Actor: e.Actor, Record: *rec}, nil
}

// An Explanation is the operator's view of a decision. None of it may be shown to the agent but what
// Agent holds.
type Explanation struct {
	RecordedDecision
	Agent    AgentView      `json:"agent_view"` // what the agent was told
	Policies []PolicyDetail `json:"policies"`   // those that took part, with their texts
}

// An AgentView is what the agent was told.
type AgentView struct {
	Reasons  []authz.Reason `json:"reasons"`
	Changes  []authz.Change `json:"changes"`
	Remedies []string       `json:"remedies"`
}

// A PolicyDetail is a policy that took part in a decision.
type PolicyDetail struct {
	authz.Fired
	Message string `json:"message,omitempty"` // of its reason, for the agent
	Detail  string `json:"detail,omitempty"`  // of its reason, for the operator
}

func (s *Server) explainDecision(r *http.Request, who *caller.Caller, in decisionID) (Explanation, error) {
	d, err := s.readDecision(r, who, in)
	if err != nil {
		return Explanation{}, err
	}
	made := &d.Record.Decision
	x := Explanation{RecordedDecision: d, Agent: AgentView{made.Reasons, made.Changes, made.Remedies}, Policies: []PolicyDetail{}}
	set, err := s.Policies.Compiled(r.Context(), made.PolicySet) // the version that decided
	for _, f := range made.Fired {
		p := PolicyDetail{Fired: f}
		if err == nil && f.Reason != "" {
			if reason, ok := set.Catalog().Reason(f.Reason); ok {
				p.Message, p.Detail = reason.Message, reason.Detail
			}
		}
		x.Policies = append(x.Policies, p)
	}
	return x, nil
}
