package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// Outcomes takes in what came of decisions. *monitor.Monitor is one.
type Outcomes interface {
	// Tell records an outcome, waits until it is in effect, and returns the number of its entry.
	// authz.ErrConflict: this reporter has reported that decision already, or it is too old.
	// authz.ErrUnavailable: it could not be recorded.
	Tell(ctx context.Context, o conduct.Outcome) (int64, error)
}

// Bounds of what an outcome says.
const (
	maxOutcome = 16 << 10              // bytes of the body
	maxLatency = 30 * 24 * 3600 * 1000 // milliseconds
	maxSize    = int64(1) << 50        // bytes
)

// reportOutcome is what somebody says came of a decision. Who says it is the caller: nobody speaks in
// another's name.
type reportOutcome struct {
	decisionID `json:"-"`
	Result     conduct.Result   `json:"result,omitempty" doc:"what the act turned out to be: right, wrong, harmful, reverted"`
	Fault      conduct.Fault    `json:"fault,omitempty" doc:"how it failed technically: tool, schema, timeout"`
	Latency    *int64           `json:"latency_ms,omitempty" doc:"how long it took, in milliseconds, rounded up"`
	Size       *int64           `json:"size_bytes,omitempty" doc:"how many bytes its result has"`
	Met        []string         `json:"met,omitempty" doc:"ids of the decision's obligations that were met"`
	Reporter   conduct.Reporter `json:"reporter,omitempty" doc:"operator, of an administrator who speaks for the agent's owner"`
	Why        string           `json:"why,omitempty" doc:"why it is judged so, up to 1000 characters; administrators must say"`
}

// An OutcomeReceipt says where an outcome is recorded.
type OutcomeReceipt struct {
	Entry int64 `json:"entry" doc:"number of the log entry"`
}

// outcomeRoute is for whoever may ask, and for agents.
func (s *Server) outcomeRoute(path, summary string) route {
	rt := operation("POST", path, deciders, summary, maxOutcome, s.reportOutcome, nil)
	rt.agents = true
	return rt
}

// reportOutcome records what came of a decision. Whoever the caller is, it can only speak of what it
// knows: an enforcement point of what it asked itself, an agent of itself, and only against itself or
// technically; an administrator of everything.
func (s *Server) reportOutcome(r *http.Request, who *caller.Caller, in reportOutcome) (OutcomeReceipt, error) {
	var receipt OutcomeReceipt
	if err := in.check(who); err != nil {
		return receipt, err
	}
	seq, err := pdp.ParseDecisionID(in.ID)
	if err != nil {
		return receipt, err
	}
	if s.Outcomes == nil {
		return receipt, authz.Errorf(authz.ErrUnavailable, "nobody takes in outcomes here")
	}
	e, err := s.Log.Entry(r.Context(), seq)
	if err == nil && e.Kind != audit.DecisionMade {
		err = authz.Errorf(authz.ErrNotFound, "entry %d is no decision", seq)
	}
	if err != nil {
		return receipt, err
	}
	rec, err := pdp.ParseRecord(e.Body)
	if err != nil {
		return receipt, err
	}
	o, err := in.outcome(who, e, rec)
	if err != nil {
		return receipt, err
	}
	receipt.Entry, err = s.Outcomes.Tell(r.Context(), o)
	return receipt, err
}

// check returns authz.ErrInvalid if in does not say anything, or something that makes no sense, and
// authz.ErrForbidden if who may not say it.
func (in *reportOutcome) check(who *caller.Caller) error {
	switch {
	case len(in.Why) > 1000:
		return invalid("why has more than 1000 characters")
	case who.Role == caller.Administrator && in.Why == "":
		return invalid("why is missing: say why, in 1 to 1000 characters")
	case in.Result == "" && in.Fault == "" && in.Latency == nil && in.Size == nil && in.Met == nil:
		return invalid("nothing is said of the outcome: at least one of result, fault, latency_ms, size_bytes, met")
	case in.Latency != nil && (*in.Latency < 0 || *in.Latency > maxLatency):
		return invalid("latency_ms must be 0 to %d", int64(maxLatency))
	case in.Size != nil && (*in.Size < 0 || *in.Size > maxSize):
		return invalid("size_bytes must be 0 to %d", maxSize)
	case len(in.Met) > maxNames:
		return invalid("met has more than %d elements", maxNames)
	}
	switch in.Result {
	case conduct.ResultNone, conduct.ResultRight, conduct.ResultWrong, conduct.ResultHarmful, conduct.ResultReverted:
	default:
		return invalid("unknown result %.64q: one of right, wrong, harmful, reverted", in.Result)
	}
	switch in.Fault {
	case conduct.FaultNone, conduct.FaultTool, conduct.FaultSchema, conduct.FaultTime:
	default:
		return invalid("unknown fault %.64q: one of tool, schema, timeout", in.Fault)
	}
	switch {
	case in.Reporter != "" && in.Reporter != conduct.ReporterOperator:
		return invalid("reporter can only be operator, or be left out: who reports is known from the token")
	case in.Reporter != "" && who.Role != caller.Administrator:
		return authz.Errorf(authz.ErrForbidden, "only an administrator may speak for an agent's owner")
	case who.Role == agentRole && in.Result == conduct.ResultRight:
		return authz.Errorf(authz.ErrForbidden, "an agent may not say of itself that it was right")
	case who.Role == agentRole && in.Met != nil:
		return authz.Errorf(authz.ErrForbidden, "an agent may not say of itself that it met obligations")
	}
	return nil
}

// outcome returns in with what the decision was about.
func (in *reportOutcome) outcome(who *caller.Caller, e audit.Entry, rec *pdp.Record) (o conduct.Outcome, err error) {
	q, f := &rec.Request, &rec.Facts
	o = conduct.Outcome{
		Decision: e.Seq, Agent: q.Agent(), Class: f.Grant.Class, Action: q.Action.Name, Session: q.Observed.Session,
		Said: reported(q.Context), Decided: rec.Decision.At, Allowed: rec.Decision.Allowed(),
		By: who.Actor(), Result: in.Result, Fault: in.Fault, Met: slices.Compact(slices.Sorted(slices.Values(in.Met))), Why: in.Why,
	}
	switch {
	case who.Role == agentRole && o.Agent != authz.AgentID(who.Name):
		// As if there were none: an agent has no business to learn what is in the log.
		return o, authz.Errorf(authz.ErrNotFound, "d%d is no decision about this agent", e.Seq)
	case who.Role == caller.PEP && q.Observed.PEP != who.Name:
		return o, authz.Errorf(authz.ErrForbidden, "d%d was asked for by somebody else: an enforcement point reports what came of its own questions", e.Seq)
	case f.Agent == nil:
		return o, invalid("d%d is about no registered agent: outcomes are of what agents do", e.Seq)
	}
	switch who.Role {
	case caller.PEP:
		o.Reporter = conduct.ReporterPEP
	case agentRole:
		o.Reporter = conduct.ReporterAgent
	default:
		o.Reporter = conduct.ReporterPerson
		if in.Reporter == conduct.ReporterOperator || who.Name == f.Agent.Owner {
			o.Reporter = conduct.ReporterOperator
		}
	}
	if o.Class == "" {
		o.Class = conduct.Admin.String() // no capability covers it
	}
	if in.Latency != nil {
		o.Latency = max(*in.Latency, 1)
	}
	if in.Size != nil {
		o.Size = *in.Size
	}
	for _, d := range rec.Decision.Obligations {
		o.Obliged = append(o.Obliged, d.ID)
	}
	for _, id := range o.Met {
		if !slices.Contains(o.Obliged, id) {
			return o, invalid("d%d has no obligation %.64q", e.Seq, id)
		}
	}
	return o, nil
}

// reported returns the confidence that an agent stated in its context, 0 to 1, as a number or as text;
// nil if it stated none that can be understood.
func reported(c authz.Claimed) *float64 {
	var in struct {
		Confidence jsontext.Value `json:"confidence"`
	}
	if len(c) == 0 || json.Unmarshal(c, &in) != nil || len(in.Confidence) == 0 {
		return nil
	}
	text := string(in.Confidence)
	if text[0] == '"' && json.Unmarshal(in.Confidence, &text) != nil {
		return nil
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || !(x >= 0 && x <= 1) {
		return nil
	}
	return &x
}
