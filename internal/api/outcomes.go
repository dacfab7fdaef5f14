package api

import (
	"context"
	"net/http"
	"slices"
	"sync"

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

const maxOutcome = 16 << 10 // bytes of the body

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
func (s *Server) reportOutcome(r *http.Request, who *caller.Identity, in reportOutcome) (OutcomeReceipt, error) {
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
	o, err := in.outcome(who, &e)
	if err != nil {
		return receipt, err
	}
	receipt.Entry, err = s.Outcomes.Tell(r.Context(), o)
	return receipt, err
}

// check returns authz.ErrInvalid if in says nothing, and authz.ErrForbidden if who may not say it.
func (in *reportOutcome) check(who *caller.Identity) error {
	if who.Can(caller.Administrator) {
		if err := conduct.CheckWhy(in.Why); err != nil {
			return err
		}
	}
	switch {
	case in.Result == "" && in.Fault == "" && in.Latency == nil && in.Size == nil && in.Met == nil:
		return invalid("nothing is said of the outcome: at least one of result, fault, latency_ms, size_bytes, met")
	case in.Reporter != "" && in.Reporter != conduct.ReporterOperator:
		return invalid("reporter can only be operator, or be left out: who reports is known from the token")
	case in.Reporter != "" && !who.Can(caller.Administrator):
		return authz.Errorf(authz.ErrForbidden, "only an administrator may speak for an agent's owner")
	case who.Can(agentRole) && in.Result == conduct.ResultRight:
		return authz.Errorf(authz.ErrForbidden, "an agent may not say of itself that it was right")
	case who.Can(agentRole) && in.Met != nil:
		return authz.Errorf(authz.ErrForbidden, "an agent may not say of itself that it met obligations")
	}
	return nil
}

// eventReaders read decisions. One remembers strings, and is large.
var eventReaders = sync.Pool{New: func() any { return conduct.NewEventReader() }}

// outcome returns in with what the decision was about: the entry e.
func (in *reportOutcome) outcome(who *caller.Identity, e *audit.Entry) (o conduct.Outcome, err error) {
	if o, err = in.about(who, e); err == nil {
		err = o.Check()
	}
	return o, err
}

// about is outcome without its checks that look at no decision.
func (in *reportOutcome) about(who *caller.Identity, e *audit.Entry) (o conduct.Outcome, err error) {
	reader := eventReaders.Get().(*conduct.EventReader)
	defer eventReaders.Put(reader)
	var ev conduct.Event
	registered, err := reader.Read(e.Body, &ev)
	if err != nil {
		return o, err
	}
	switch {
	case who.Can(agentRole) && (!registered || string(ev.Agent) != who.Name):
		// As if there were none: an agent has no business to learn what is in the log.
		return o, authz.Errorf(authz.ErrNotFound, "d%d is no decision about this agent", e.Seq)
	case who.Enforces() && ev.PEP != who.Point():
		return o, authz.Errorf(authz.ErrForbidden, "d%d was asked for by somebody else: an enforcement point reports what came of its own questions", e.Seq)
	case !registered:
		return o, invalid("d%d is about no registered agent: outcomes are of what agents do", e.Seq)
	case ev.Issuing:
		return o, invalid("d%d is about a credential, which comes to nothing before it is used: report what was done with it", e.Seq)
	}
	o = conduct.Outcome{
		Decision: e.Seq, Agent: ev.Agent, Class: ev.Class.String(), Action: ev.Action, Session: ev.Session,
		Obliged: ev.Obligations, Decided: e.At, Allowed: ev.Allowed(), Reporter: in.reporter(who, &ev), By: who.Actor(),
		Result: in.Result, Fault: in.Fault, Met: slices.Compact(slices.Sorted(slices.Values(in.Met))), Why: in.Why,
	}
	if ev.Confidence >= 0 {
		o.Said = &ev.Confidence
	}
	if in.Latency != nil {
		o.Latency = *in.Latency
		if o.Latency == 0 { // which would say that it was not measured
			o.Latency = 1
		}
	}
	if in.Size != nil {
		o.Size = *in.Size
	}
	for _, id := range o.Met {
		if !slices.Contains(o.Obliged, id) {
			return o, invalid("d%d has no obligation %.64q", e.Seq, id)
		}
	}
	return o, nil
}

// reporter returns whose word it is. The agent's owner speaks as its operator, also if it does not say so.
func (in *reportOutcome) reporter(who *caller.Identity, ev *conduct.Event) conduct.Reporter {
	switch {
	case who.Enforces():
		return conduct.ReporterPEP
	case who.Can(agentRole):
		return conduct.ReporterAgent
	case in.Reporter == conduct.ReporterOperator, who.Name == ev.Owner:
		return conduct.ReporterOperator
	}
	return conduct.ReporterPerson
}
