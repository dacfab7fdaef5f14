package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// An Explanation is the operator's view of a decision. None of it may be shown to the agent but what
// Agent holds.
type Explanation struct {
	RecordedDecision
	Agent    AgentView      `json:"agent_view"` // what the agent was told
	Again    Judgement      `json:"judged_again"`
	Policies []PolicyDetail `json:"policies" doc:"every policy that could have applied; those that decided come first"`
	Facts    []Fact         `json:"facts" doc:"what was known and what was said, one by one"`
	Shadow   []authz.Fired  `json:"shadow" doc:"policies in shadow that were satisfied: they decided nothing"`

	Session  *SessionPlace   `json:"session,omitempty" doc:"the decisions before and after it in its session"`
	Outcomes []OutcomeReport `json:"outcomes" doc:"what was said of what came of it, oldest first; the newest 50"`
	Earlier  bool            `json:"earlier_outcomes,omitempty" doc:"whether more was said before: the log has it"`
	Asks     []DecisionAsk   `json:"asks" doc:"what persons were asked because of it, or had agreed to before"`
}

// An AgentView is what the agent was told.
type AgentView struct {
	Reasons     []authz.Reason     `json:"reasons"`
	Changes     []authz.Change     `json:"changes"`
	Remedies    []string           `json:"remedies"`
	Obligations []authz.Obligation `json:"obligations,omitempty"`
}

// A Judgement is what comes out if the recorded request is judged again, by the recorded facts and
// the version of the policies that decided.
type Judgement struct {
	Agrees  bool           `json:"agrees" doc:"whether it is the recorded answer"`
	Problem string         `json:"problem,omitempty" doc:"why it could not be judged again; then nothing else is set"`
	Effect  authz.Effect   `json:"effect"`
	Code    string         `json:"code,omitempty"`
	Detail  string         `json:"detail,omitempty"`
	Changes []authz.Change `json:"changes,omitempty" doc:"the smallest verified set of changes with which it would be allowed"`
}

// A PolicyDetail says what became of a policy, and of each of its clauses.
type PolicyDetail struct {
	policy.Traced
	Message string `json:"message,omitempty"` // of its reason, for the agent
	Detail  string `json:"detail,omitempty"`  // of its reason, for the operator
}

func (s *Server) explainDecision(r *http.Request, c *call, in decisionID) (Explanation, error) {
	d, err := s.readDecision(r, c, in)
	if err != nil {
		return Explanation{}, err
	}
	x, err := s.judged(r.Context(), d)
	if err != nil {
		return x, err
	}
	x.Facts = facts(&d.Record, x.Policies)
	if x.Session, err = s.neighbours(r.Context(), &d); err != nil {
		return x, err
	}
	if x.Outcomes, x.Earlier, err = s.reports(r.Context(), d.Seq); err != nil {
		return x, err
	}
	x.Asks, err = s.asksAbout(r.Context(), c, &d)
	return x, err
}

// judged explains a decision from its record alone.
func (s *Server) judged(ctx context.Context, d RecordedDecision) (Explanation, error) {
	made := &d.Record.Decision
	x := Explanation{
		RecordedDecision: d,
		Agent:            AgentView{made.Reasons, made.Changes, made.Remedies, made.Obligations},
		Policies:         []PolicyDetail{},
		Shadow:           []authz.Fired{},
	}
	for _, f := range made.Fired {
		if f.Shadow {
			x.Shadow = append(x.Shadow, f)
		}
	}
	set, err := s.decidedBy(ctx, made.PolicySet)
	if err != nil {
		return x, err
	}
	if set == nil {
		x.Again.Problem = "the version of the policies that decided cannot be compiled by this program any more"
		return x, nil
	}
	again := d.Record.Again(set)
	x.Again = Judgement{
		Agrees: pdp.Agrees(made, &again),
		Effect: again.Effect, Code: again.Code, Detail: again.Detail, Changes: again.Changes,
	}
	if again.Code == authz.CodeAgentUnknown || again.Code == authz.CodeAgentInactive || again.Code == authz.CodeStopped {
		return x, nil // no policy was asked
	}
	for _, t := range d.Record.Trace(set) {
		p := PolicyDetail{Traced: t}
		if reason, ok := set.Catalog().Reason(t.Reason); ok && t.Reason != "" {
			p.Message, p.Detail = reason.Message, reason.Detail
		}
		x.Policies = append(x.Policies, p)
	}
	return x, nil
}

// decidedBy returns the set of a version, nil if this program cannot compile it.
func (s *Server) decidedBy(ctx context.Context, version int64) (*policy.Set, error) {
	set, err := s.Policies.Compiled(ctx, version)
	if errors.Is(err, authz.ErrInvalid) || errors.Is(err, authz.ErrNotFound) {
		return nil, nil
	}
	return set, err
}
