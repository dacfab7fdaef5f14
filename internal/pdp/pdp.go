// Package pdp decides. A request goes through four steps, who asks, what is known of the moment,
// what the policies say, must a person be asked, and its answer is recorded before it leaves.
//
// An answer that cannot be recorded is a refusal. The decision path touches memory only, but for
// the one shared write of the record, and for that of the use of an approval where a decision stands on
// one.
package pdp

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// A PDP is a policy decision point. All exported fields are needed, but for Approvals. It is not to be
// copied once used.
type PDP struct {
	Agents interface { // *agent.Registry
		Agent(id authz.AgentID) (*authz.Agent, error)
		After(id authz.AgentID, limit int) []*authz.Agent
		// KeyFacts says how the agent proves who it is.
		KeyFacts(id authz.AgentID, at time.Time) authz.Credential
	}
	Policies interface { // *policy.Library
		Active() *policy.Set
	}
	Risks interface { // *risk.Book
		Assess(req *authz.Request, f *authz.Facts) authz.Risk
	}
	Conduct interface { // *monitor.Monitor
		// Conduct returns trust in an agent in a class of capability ("" for the lowest), and how it has behaved.
		Conduct(id authz.AgentID, class string, at time.Time) (authz.Trust, authz.Conduct)
		// Confidence returns what an agent's reported confidence, 0..1, has been worth, and whether that is known.
		Confidence(id authz.AgentID, reported float64) (float64, bool)
	}
	// Stops knows what persons have stopped.
	Stops Stops
	// Approvals knows what persons have approved. If it is nil no approval holds, and nobody has asked.
	Approvals Approvals
	Log       interface { // *audit.Log
		Record(ctx context.Context, drafts ...audit.Draft) (int64, error)
	}
	// Fresh returns authz.ErrUnavailable if what this process knows is too old to decide by.
	Fresh func() error
	Now   func() time.Time

	texts agentTexts
}

// Stops is what persons have stopped. *stop.Board is one. It touches memory only.
type Stops interface {
	// Some reports whether anything may be stopped.
	Some() bool
	// Holding returns the ids of the stops that concern a request at a moment, sorted. covers says whether a
	// capability covers the act.
	Holding(f *authz.Facts, at time.Time, covers func(capability string) bool) []string
}

// Approvals is what persons have approved, and how much they are asked. *approval.Desk is one. Holds and
// Asks touch memory only.
type Approvals interface {
	// Holds returns the approval that req refers to, if it holds for the act as of a moment; else nil and
	// why not: authz.ApprovalExpired, ApprovalOutOfScope or ApprovalUnverifiable. data and labels are those
	// of the resource.
	Holds(req *authz.Request, data authz.DataClass, labels []string, at time.Time) (*authz.Approval, string)
	// Use draws one use of an approval for the act, and returns the number of the entry that says so.
	// authz.ErrConflict: none is left. No decision may stand on an approval that Use did not draw.
	Use(ctx context.Context, a *authz.Approval, req *authz.Request) (int64, error)
	// Asks returns how much an agent has asked of late.
	Asks(agent authz.AgentID, session string, at time.Time) authz.Asks
}

// DecisionID returns the identifier of the decision that the log entry of that number records.
func DecisionID(seq int64) string { return "d" + strconv.FormatInt(seq, 10) }

// ParseDecisionID returns the number of the log entry that a decision identifier names.
func ParseDecisionID(id string) (int64, error) {
	if len(id) >= 2 && len(id) <= 20 && id[0] == 'd' && id[1] >= '1' && id[1] <= '9' {
		if n, err := strconv.ParseInt(id[1:], 10, 64); err == nil {
			return n, nil
		}
	}
	return 0, authz.Errorf(authz.ErrInvalid, "%.32q is no decision id: it looks like d123", id)
}

// Decide answers req and records the answer. The Decision can always be used: if Decide also
// returns an error, the Decision refuses and is not recorded. A decision that stands on an approval draws
// a use of it first; that is lost if the decision cannot be recorded. authz.ErrInvalid: the request does not
// fit the schema. authz.ErrUnavailable: no answer can be made or recorded.
func (p *PDP) Decide(ctx context.Context, req authz.Request) (authz.Decision, error) {
	rec := Record{Request: req}
	if err := p.answer(ctx, &rec); err != nil {
		return rec.Decision, err
	}
	seq, err := p.Log.Record(ctx, rec.draft(&p.texts))
	if err != nil {
		rec.Decision.Refuse(authz.CodeUnavailable, "The decision could not be recorded, so it is refused. Try again later.")
		return rec.Decision, fmt.Errorf("recording the decision: %w", err)
	}
	rec.Decision.Seq = seq
	return rec.Decision, nil
}

// An Item is one request of a batch. If Err is not nil the request could not be understood: its
// answer refuses, and it is not recorded as a decision. The same holds for a request that does not
// fit the schema.
type Item struct {
	Request authz.Request
	Err     error
}

// Semantics says when a batch ends before its last item (AuthZEN 1.0, section 7.1.2.1).
type Semantics string

const (
	ExecuteAll          Semantics = "execute_all"
	DenyOnFirstDeny     Semantics = "deny_on_first_deny"
	PermitOnFirstPermit Semantics = "permit_on_first_permit"
)

// DecideAll answers items in order until the semantics end the batch, and records the answers
// together. There are as many Decisions as items answered. If it returns an error, all of them refuse.
func (p *PDP) DecideAll(ctx context.Context, items []Item, sem Semantics) ([]authz.Decision, error) {
	decisions := make([]authz.Decision, 0, len(items))
	var drafts []audit.Draft
	var recorded []int // indexes of the decisions that drafts record
	refuse := func(err error) ([]authz.Decision, error) {
		for i := range decisions {
			decisions[i].Refuse(authz.CodeUnavailable, "The decision could not be recorded, so it is refused. Try again later.")
		}
		return decisions, err
	}
	for _, it := range items {
		rec := Record{Request: it.Request}
		if it.Err != nil {
			rec.Decision = authz.Decision{At: p.Now()}
			rec.Decision.Refuse(authz.CodeInvalid, it.Err.Error())
		} else if err := p.answer(ctx, &rec); errors.Is(err, authz.ErrInvalid) {
			// The item refuses, the others are judged.
		} else if err != nil {
			decisions = append(decisions, rec.Decision)
			return refuse(err)
		} else {
			recorded = append(recorded, len(decisions))
			drafts = append(drafts, rec.draft(&p.texts))
		}
		decisions = append(decisions, rec.Decision)
		if allowed := rec.Decision.Allowed(); sem == DenyOnFirstDeny && !allowed || sem == PermitOnFirstPermit && allowed {
			break
		}
	}
	if len(drafts) == 0 {
		return decisions, nil
	}
	first, err := p.Log.Record(ctx, drafts...)
	if err != nil {
		return refuse(fmt.Errorf("recording the decisions: %w", err))
	}
	for i, at := range recorded {
		decisions[at].Seq = first + int64(i)
	}
	return decisions, nil
}

// answer fills in rec's facts and decision, and draws the use of the approval on which it stands. An
// error means that nothing could be decided at all; the decision then refuses.
func (p *PDP) answer(ctx context.Context, rec *Record) error {
	d := &rec.Decision
	d.At = p.Now().UTC().Truncate(time.Microsecond)
	set, err := p.ready()
	if err != nil {
		d.Refuse(authz.CodeUnavailable, "No decision can be made at present. Try again later.")
		d.Detail = err.Error()
		return err
	}
	if err := p.answerBy(set, rec); err != nil {
		return err
	}
	if rec.Decision.Lifted {
		p.draw(ctx, set, rec)
	}
	return nil
}

// answerBy is answer by a set of policies, at the moment that the decision bears already. It draws nothing.
func (p *PDP) answerBy(set *policy.Set, rec *Record) (err error) {
	d := &rec.Decision

	// 1. Who asks? An agent that is not registered stays nil.
	var who *authz.Agent
	if id := rec.Request.Agent(); id != "" {
		who, err = p.Agents.Agent(id)
		if err != nil && !errors.Is(err, authz.ErrNotFound) {
			d.Refuse(authz.CodeUnavailable, "No decision can be made at present. Try again later.")
			return fmt.Errorf("finding agent %q: %w", id, err)
		}
	}

	// 2. What is known of the moment?
	p.assemble(&rec.Facts, set, &rec.Request, who, d.At)

	// 3. What follows?
	if rec.decide(set); d.Code == authz.CodeInvalid || d.Code == authz.CodeTypeUnknown {
		return authz.Errorf(authz.ErrInvalid, "%s", d.Detail)
	}
	return nil
}

// decide judges the request, and says what became of the approval that it refers to.
func (rec *Record) decide(set *policy.Set) {
	rec.Decision = rec.judge(set)
	rec.tell()
}

// judge answers the request by the facts: is it stopped, may the agent act at all, what do the policies say of it and
// of everybody it acts for, and what would change a refusal?
func (rec *Record) judge(set *policy.Set) authz.Decision {
	d := authz.Decision{At: rec.Facts.At, PolicySet: set.Version(), Catalog: set.Version()}
	idle, shut := rec.Facts.Inactive(), rec.Facts.Quarantined()
	switch {
	case len(rec.Facts.Stops) > 0:
		d.Refuse(authz.CodeStopped, "This is stopped until a person lifts it.")
		d.Detail = "stopped by " + strings.Join(rec.Facts.Stops, ", ")
	case rec.Request.Agent() != "" && rec.Facts.Agent == nil:
		d.Refuse(authz.CodeAgentUnknown, "This agent is not registered.")
	case idle != nil && idle != rec.Facts.Agent:
		d.Refuse(authz.CodeAgentInactive, "An agent for which this one acts is "+string(idle.State)+".")
	case idle != nil && idle.State == authz.AgentRetired:
		d.Refuse(authz.CodeAgentInactive, "This agent is retired.")
	case idle != nil:
		d.Refuse(authz.CodeAgentInactive, "This agent is "+string(idle.State)+". Its owner or an administrator can restore it.")
	case shut != nil && shut != rec.Facts.Agent:
		d.Refuse(authz.CodeAgentInactive, "An agent for which this one acts is quarantined.")
	case shut != nil:
		d.Refuse(authz.CodeAgentInactive, "This agent is quarantined. An administrator can restore it.")
	default:
		d = set.Answer(&rec.Request, &rec.Facts)
	}
	return d
}

// ready returns the active policies, or authz.ErrUnavailable and what an operator should do.
func (p *PDP) ready() (*policy.Set, error) {
	if err := p.Fresh(); err != nil {
		return nil, err
	}
	set := p.Policies.Active()
	if set == nil {
		return nil, authz.Errorf(authz.ErrUnavailable, "no policy is loaded: publish one with `safeconduct policy publish`, or start the service with a --config that names an organisation")
	}
	return set, nil
}

// assemble sets f to what is known of a request. It reads memory only.
func (p *PDP) assemble(f *authz.Facts, set *policy.Set, req *authz.Request, who *authz.Agent, at time.Time) {
	cat := set.Catalog()
	*f = authz.Facts{
		At:        at,
		Zone:      cat.Zone(),
		Schedules: cat.Open(at),
		Agent:     who,
		Trust:     authz.NeutralTrust,
	}
	if req.Observed.Address.IsValid() {
		f.Zones, f.Country = cat.Zones(req.Observed.Address)
	}
	f.Class, f.Labels, f.Region = cat.Classify(&req.Resource)
	p.consult(req, f)
	f.Assured = assured(cat, &req.Observed, at)
	if who != nil {
		f.Grant = set.Grant(req, who, f)
		f.Credential = p.Agents.KeyFacts(who.ID, at)
		f.Credential.Method = req.Observed.Method
		f.Trust, f.Conduct = p.Conduct.Conduct(who.ID, f.Grant.Class, at)
		if said, ok := reported(req.Context); ok {
			if worth, ok := p.Conduct.Confidence(who.ID, said); ok {
				f.Confidence = &worth
			}
		}
	}
	for _, ref := range req.OnBehalf {
		if ref.Type != authz.AgentType {
			continue
		}
		// One that is not registered is missing here, and judging for it refuses.
		if a, err := p.Agents.Agent(authz.AgentID(ref.ID)); err == nil {
			d := authz.Delegator{Agent: a, Grant: set.Grant(req, a, f)}
			d.Trust, d.Conduct = p.Conduct.Conduct(a.ID, d.Grant.Class, at)
			if d.Trust.Below(f.Trust) {
				f.Trust = d.Trust
			}
			f.Behalf = append(f.Behalf, d)
		}
	}
	if p.Stops.Some() {
		f.Stops = p.Stops.Holding(f, at, func(capability string) bool { return set.Covers(capability, req) })
	}
	f.Risk = p.Risks.Assess(req, f)
	f.Missing = cat.Missing(req, f)
}
