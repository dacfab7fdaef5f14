package client

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// An Enforcer is a Guard whose obligations also say how an act happens and what of its result is seen. It keeps
// the AuthZEN obligations profile (draft 1): it meets every obligation that it understands, of refusals too and
// also where it has to refuse; and it refuses if one is not understood, is malformed, or could not be met.
// It is safe for concurrent use; its fields are set before.
type Enforcer struct {
	// Guard asks, and has persons asked. Its Obligations are met too, where Handlers have none of the name.
	Guard *Guard

	// Handlers meet the obligations; see BuiltIn. Their names are sent with every question, so that the service
	// need not allow what would be refused here.
	Handlers Handlers

	// Timeout is how long meeting one obligation may take: 1 minute by default. Set it longer if persons
	// authenticate anew. One is met after the other.
	Timeout time.Duration

	// Fresh is how long a decision counts before its act begins, from the answer on: 1 minute by default. After that a Permit
	// permits nothing, since the decision may be another one by then. If meeting the obligations takes longer, a delay or a
	// person who authenticates anew, it is asked once more, and what is obliged to again with the same words is not met again, but for
	// what says how the act happens. A question with an approval draws another use of it then.
	Fresh time.Duration

	// Outcome is told what came of every act that happened, with the ids of the obligations that were met: it is
	// Client.Outcome by default, which is one more request for each act, at its end. Acts that were refused have
	// no outcome: to report one would mean that they happened all the same.
	Outcome func(ctx context.Context, decisionID string, o Outcome) error

	advertised atomic.Pointer[[]string] // by the service, of the profile's types; nil if that is not known
}

// An Act is what an enforcement point lets happen. The result is JSON, or nothing. An obligation may change the
// result, so nobody must see it but by what Enforcer.Do returns.
type Act struct {
	Do func(ctx context.Context) (json.RawMessage, error)

	// Try returns what Do would, and has no effect. If it is nil the act cannot be tried, and the obligation
	// dry-run refuses it.
	Try func(ctx context.Context) (json.RawMessage, error)
}

// A Done is an act that happened, or was tried.
type Done struct {
	Decision   string          // its id, "" if the service has not recorded it
	Result     json.RawMessage // as it may be seen
	Tried      bool            // it was tried only
	Met        []string        // ids of the obligations that were met
	Unreported error           // why the service does not know what came of the act; nil if it does
}

// A WithheldError is why the result of an act that happened is not shown. The message shows nothing of it either;
// the cause may.
type WithheldError struct{ Cause error }

// Error says that something is not shown.
func (e *WithheldError) Error() string {
	return "the act happened or failed, and what came of it is not shown: an obligation is to change it, and cannot"
}

// Unwrap returns the cause.
func (e *WithheldError) Unwrap() error { return e.Cause }

// Permit asks q, has persons asked if the Guard does, meets the obligations, and returns the permission to do the one
// act that q is about, or a *RefusedError. canTry is whether the act can be tried without being done.
func (e *Enforcer) Permit(ctx context.Context, q Question, canTry bool) (*Permit, error) {
	if e == nil {
		err := authz.Errorf(authz.ErrUnavailable, "there is nobody who decides")
		return nil, &RefusedError{Answer: &Answer{Decision: refused(err)}, Cause: err}
	}
	q.Requests = slices.Clone(q.Requests)
	types := e.declared(canTry)
	for i := range q.Requests {
		q.Requests[i] = e.with(q.Requests[i], types)
	}
	p, err := e.Guard.seek(ctx, q, e.fresh(), func(ctx context.Context, p *Permit) error {
		p.terms.canTry = canTry
		if err := e.meet(ctx, p); err != nil {
			return err
		}
		return ctx.Err() // nothing is done for who has gone
	})
	if err != nil {
		return nil, err
	}
	p.reporter = e
	return p, nil
}

// Do lets act happen if req may, as far as the obligations let it, and returns what came of it; Done is nil if it
// did not happen, and the error a *RefusedError. If the act fails its error is returned with Done, but a
// *WithheldError if obligations were to change the result: errors tell of results.
func (e *Enforcer) Do(ctx context.Context, req authz.Request, act Act) (*Done, error) {
	p, err := e.Permit(ctx, Question{Requests: []authz.Request{req}}, act.Try != nil)
	if err != nil {
		return nil, err
	}
	return p.Do(ctx, act)
}

// report reports the outcome of a decision that was recorded, also if whoever asked has gone.
func (e *Enforcer) report(ctx context.Context, decision string, o Outcome) (err error) {
	if decision == "" {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("reporting the outcome panicked: %.200v", v)
		}
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.timeout())
	defer cancel()
	if e.Outcome != nil {
		return e.Outcome(ctx, decision, o)
	}
	d, err := e.Guard.decider()
	if err != nil {
		return err
	}
	return d.Outcome(ctx, decision, o)
}

func (e *Enforcer) timeout() time.Duration {
	if e.Timeout > 0 {
		return e.Timeout
	}
	return time.Minute
}

func (e *Enforcer) fresh() time.Duration {
	if e.Fresh > 0 {
		return e.Fresh
	}
	return fresh
}

// obligers returns those of the Guard, which only searches can do without.
func (e *Enforcer) obligers() map[string]Obliger {
	if e.Guard == nil {
		return nil
	}
	return e.Guard.Obligations
}

// meetShown meets the obligations of what a search found. Those about an act cannot be met there.
func (e *Enforcer) meetShown(ctx context.Context, all []authz.Obligation, shown any) error {
	return (&round{e: e, shown: shown}).meet(ctx, all)
}

// Types returns the types of obligations that are met here, sorted.
func (e *Enforcer) Types() []string {
	obligers := e.obligers()
	types := make([]string, 0, len(e.Handlers)+len(obligers))
	types = slices.AppendSeq(types, maps.Keys(e.Handlers))
	types = slices.AppendSeq(types, maps.Keys(obligers))
	slices.Sort(types)
	return slices.Compact(types)
}

// Declare returns req with the types of obligations that can be met here: for searches, whose results have
// obligations too. Do declares by itself.
func (e *Enforcer) Declare(req authz.Request) authz.Request {
	types := e.Types()
	for _, typ := range []string{"mask", "cap", "dry-run", "delay"} { // which Show cannot meet
		types = slices.DeleteFunc(types, func(s string) bool { return s == typ && e.obligers()[s] == nil })
	}
	return e.with(req, types)
}

// declared returns the types that are declared for an act.
func (e *Enforcer) declared(canTry bool) []string {
	types := e.Types()
	if !canTry {
		types = slices.DeleteFunc(types, func(s string) bool { return s == "dry-run" && e.obligers()[s] == nil })
	}
	return types
}

// with returns req with types: all of them as our service wants to know them, and those that the service has
// advertised as the profile has it. What req says already stays.
func (e *Enforcer) with(req authz.Request, types []string) authz.Request {
	if c, err := e.Guard.decider(); err != nil || isSelf(c) { // an agent does not say what an enforcement point can do
		return req
	}
	if req.Observed.Obligations == nil {
		req.Observed.Obligations = types
	}
	known := e.advertised.Load()
	if known == nil {
		return req
	}
	listed := slices.DeleteFunc(slices.Clone(types), func(s string) bool { return !slices.Contains(*known, s) })
	members := map[string]json.RawMessage{}
	if len(req.Context) > 0 && json.Unmarshal(req.Context, &members) != nil || members[supported] != nil {
		return req
	}
	text, err := json.Marshal(listed)
	if err != nil { // texts always encode
		return req
	}
	members[supported] = text
	if text, err = json.Marshal(members); err == nil {
		req.Context = authz.Claimed(text)
	}
	return req
}

// isSelf reports whether d is the client of an agent that asks about itself.
func isSelf(d Decider) bool {
	if b, ok := d.(*Batcher); ok && b != nil {
		d = b.Client
	}
	c, ok := d.(*Client)
	return ok && c != nil && c.self
}

// supported is the member of a request's context, and of the service's metadata, that lists types.
const supported = "supported_obligations"

// Negotiate reads in the service's metadata which types of obligations it may issue. From then on the member
// supported_obligations of the profile goes with every question, and has of the types that are met here
// those that the service has advertised. Without it no such member is sent, which says nothing to the
// service; ours knows the types by what is observed.
func (e *Enforcer) Negotiate(ctx context.Context) error {
	if e.Guard == nil || e.Guard.Client == nil {
		return authz.Errorf(authz.ErrInvalid, "there is no client to read the service's metadata with")
	}
	answer, err := e.Guard.Client.send(ctx, http.MethodGet, "/.well-known/authzen-configuration", nil, true)
	var m struct {
		Supported []string `json:"supported_obligations"`
	}
	if err == nil {
		err = json.Unmarshal(answer, &m)
	}
	if err != nil {
		return authz.Errorf(authz.ErrUnavailable, "reading the service's metadata: %w", err)
	}
	if m.Supported == nil {
		m.Supported = []string{} // "its absence is equivalent to an empty array"
	}
	e.advertised.Store(&m.Supported)
	return nil
}
