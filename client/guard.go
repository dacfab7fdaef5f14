package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A Guard stands before acts: it asks whether one may happen, meets the obligations, has persons asked, and
// lets the act happen only if all of that went well. It keeps what the AuthZEN profiles of obligations and of
// access requests demand of an enforcement point. It is safe for concurrent use; its fields are set before.
type Guard struct {
	// Client asks persons, and asks for decisions if there is no Decider. nil: nobody is asked.
	Client *Client

	// Decider answers the questions: Client by default. Without either everything is refused.
	Decider Decider

	// Obligations meet the types of obligations that this enforcement point knows: step-up, notification,
	// session_termination, and for custom ones the name in their property "obligation". One that nobody
	// meets refuses the act. What they are given comes from the service and may repeat what an agent wrote.
	Obligations map[string]Obliger

	// Ask fills in what persons are told when an act was refused that they can be asked about. If it is nil,
	// or returns nil, nobody is asked and the refusal stands.
	Ask func(ctx context.Context, req authz.Request, a *Answer) *AccessRequest

	// Asks is how often persons are asked about one act at most: 1 by default. More than one is of use if an
	// approval that was given may end before it is used.
	Asks int

	// Prove returns the passport that came with an act as it is presented once more, with a proof that was not
	// shown before: a proof counts once (RFC 9449 section 11.1), and after persons have approved, or whoever asked
	// has authenticated anew, the question is put once more. It is not asked for one that says when it was Shown, as
	// those of a Door do. If it is nil and the passport came with a proof, the first refusal stands, and nobody is asked.
	Prove func(ctx context.Context, p *authz.Presented) (*authz.Presented, error)
}

// An Obliger meets one obligation, or returns why it could not.
type Obliger func(ctx context.Context, o authz.Obligation) error

// A RefusedError is why an act did not happen. It is authz.ErrForbidden, and of the kind of its cause. A refusal because
// a request was not understood is authz.ErrInvalid as well.
type RefusedError struct {
	Answer *Answer // the first refusal, never nil; if all allow, the first of what was not carried out
	Task   *Task   // of the persons who were asked last; nil if nobody was
	Cause  error   // what went wrong, nil if the service refused

	// Answers are all that were given, one for each of Requests, which are as they were asked. Both are empty if it
	// did not come to that.
	Answers  []*Answer
	Requests []authz.Request

	judged bool // whoever decides has answered
}

// Undecided reports whether nobody has decided: whoever decides could not be reached, failed (5xx), or said nothing that can be
// read. It is false of every answer, one that says that it is unavailable too; of a permission with an obligation that
// could not be met; of what was refused and could not be asked about again; and if the service refuses to answer us (401,
// 403, 404, 409, 429), which Cause tells by its kind, or by the Status of an *Error in it.
func (e *RefusedError) Undecided() bool {
	if e.judged || e.Task != nil || !errors.Is(e.Cause, authz.ErrUnavailable) {
		return false
	}
	for _, a := range append(slices.Clip(e.Answers), e.Answer) {
		if a != nil && (a.DecisionID() != "" || a.Code != authz.CodeUnavailable) {
			return false
		}
	}
	for _, kind := range []error{authz.ErrInvalid, authz.ErrUnauthenticated, authz.ErrForbidden, authz.ErrNotFound, authz.ErrConflict} {
		if errors.Is(e.Cause, kind) {
			return false
		}
	}
	said, ok := errors.AsType[*Error](e.Cause)
	return !ok || said.Status >= http.StatusInternalServerError
}

// Error says why.
func (e *RefusedError) Error() string {
	if e.Cause != nil {
		return "refused: " + e.Cause.Error()
	}
	switch {
	case e.Answer == nil:
		return "refused"
	case len(e.Answer.Reasons) > 0:
		return "refused: " + e.Answer.Reasons[0].Message
	case e.Answer.Code != "":
		return "refused: " + e.Answer.Code
	}
	return "refused"
}

// Unwrap returns the kinds.
func (e *RefusedError) Unwrap() []error {
	kinds := []error{authz.ErrForbidden}
	if e.Cause != nil {
		kinds = append(kinds, e.Cause)
	}
	if e.Answer != nil {
		switch e.Answer.Code {
		case authz.CodeInvalid, authz.CodeTypeUnknown:
			kinds = append(kinds, authz.ErrInvalid)
		case authz.CodePassportInvalid:
			kinds = append(kinds, authz.ErrUnauthenticated)
		case authz.CodeUnavailable:
			kinds = append(kinds, authz.ErrUnavailable)
		}
	}
	return kinds
}

// Do lets act happen if req may, and returns what act returns, or a *RefusedError. The context of act ends when
// the approval does on which the permission stands, if it stands on one.
func (g *Guard) Do(ctx context.Context, req authz.Request, act func(context.Context) error) error {
	p, err := g.seek(ctx, Question{Requests: []authz.Request{req}}, fresh, func(ctx context.Context, p *Permit) error {
		return g.meet(ctx, &p.terms, p.answers[0].Obligations)
	})
	if err != nil {
		return err
	}
	ctx, cancel, err := p.Begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	return act(ctx)
}

// seek asks q, again with what persons approved, and returns a Permit once all is allowed and met, or a
// *RefusedError. Meet meets the obligations of p.answers, whether these allow or not. If that has taken so long that the
// answer is no longer fresh it is asked once more, and what was met then is not met again, if only the time is another.
func (g *Guard) seek(ctx context.Context, q Question, fresh time.Duration, meet func(context.Context, *Permit) error) (*Permit, error) {
	s := stand{g: g, q: &q}
	var prior []metDuty
	renewed := false
	for {
		p := &Permit{requests: q.Requests, task: s.task, fresh: fresh}
		var err error
		if p.answers, err = g.answer(ctx, &q); err != nil {
			refusal := &RefusedError{Answer: &Answer{Decision: refused(err)}, Task: s.task, Cause: err, Answers: p.answers, Requests: q.Requests}
			if len(p.answers) > 0 {
				refusal.Answer = p.answers[0]
			}
			return nil, refusal
		}
		p.answered = time.Now()
		first := p.answers[0]
		allowed := true
		for _, a := range p.answers {
			if !a.Allowed() {
				first, allowed = a, false
				break
			}
		}
		if allowed { // a refusal is another matter
			p.terms.prior = prior
		}
		unmet := meet(ctx, p)
		refusal := &RefusedError{Answer: first, Task: s.task, Cause: unmet, Answers: p.answers, Requests: q.Requests, judged: true}
		switch {
		case allowed && unmet == nil && age(p.answered, time.Now()) >= fresh:
			if refusal.Cause = errStale; renewed {
				return nil, refusal
			}
			if s.once() {
				if _, err := s.prove(ctx); err != nil {
					refusal.Cause = err
					return nil, refusal
				}
			}
			renewed, prior = true, p.terms.lasting
		case allowed && unmet == nil:
			for _, a := range p.answers {
				if !a.Until.IsZero() && (p.until.IsZero() || a.Until.Before(p.until)) {
					p.until = a.Until
				}
			}
			p.self = p
			return p, nil
		case allowed:
			return nil, refusal
		default:
			again, err := s.next(ctx, p.answers, unmet == nil)
			if refusal.Task = s.task; err != nil || !again {
				refusal.Cause = errors.Join(err, unmet)
				return nil, refusal
			}
		}
	}
}

// fresh is how long a decision counts before its act begins, unless an Enforcer says otherwise.
const fresh = time.Minute

var errStale = errors.New("the act was permitted too long ago: ask again")

// age returns how much time has passed: by the wall clock if a machine that slept has stopped the other one.
func age(since, now time.Time) time.Duration {
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}

// answer asks the Decider, and believes it only if it answers as it should.
func (g *Guard) answer(ctx context.Context, q *Question) (all []*Answer, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = authz.Errorf(authz.ErrUnavailable, "deciding panicked: %.200v", v)
		}
		if err == nil && (len(all) == 0 || len(all) != len(q.Requests) || slices.Contains(all, nil)) {
			err = authz.Errorf(authz.ErrUnavailable, "%d answers were given to %d requests, or some of them were none", len(all), len(q.Requests))
		}
		if err == nil {
			return
		}
		if len(all) != len(q.Requests) || slices.Contains(all, nil) || slices.ContainsFunc(all, func(a *Answer) bool { return a.Allowed() }) {
			all = q.refuseAll(err)
		}
	}()
	if len(q.Requests) == 0 {
		return nil, authz.Errorf(authz.ErrInvalid, "a question has at least one request")
	}
	d, err := g.decider()
	if err != nil {
		return nil, err
	}
	return d.Answer(ctx, q)
}

// decider returns who answers.
func (g *Guard) decider() (Decider, error) {
	switch {
	case g == nil:
	case g.Decider != nil:
		return g.Decider, nil
	case g.Client != nil:
		return g.Client, nil
	}
	return nil, authz.Errorf(authz.ErrUnavailable, "there is nobody who decides")
}

// A stand is how far one act has come.
type stand struct {
	g       *Guard
	q       *Question
	task    *Task
	asked   int
	retried int
	stepped bool
}

// next does what refusals call for, and reports whether it is worth asking for the decisions again. Met is
// whether all obligations were met.
func (s *stand) next(ctx context.Context, all []*Answer, met bool) (again bool, err error) {
	var request []int // which persons can be asked about
	var wait time.Duration
	retry, steps, hopeless := false, false, false
	for i, a := range all {
		if a.Allowed() {
			continue
		}
		switch a.Next() {
		case NextRequest:
			request = append(request, i)
		case NextRetry:
			retry, wait = true, max(wait, a.RetryAfter)
		default:
			// Meeting a step-up obligation has changed who asks; that is worth one more question.
			if !s.stepped && met && slices.ContainsFunc(a.Obligations, func(o authz.Obligation) bool { return o.Type == "step-up" }) {
				steps = true
			} else {
				hopeless = true
			}
		}
	}
	once := s.once()
	switch {
	case hopeless:
		return false, nil
	case len(request) > 0 && (s.g.Ask == nil || s.g.Client == nil || s.asked >= max(s.g.Asks, 1)):
		return false, nil
	case once && s.g.Prove == nil:
		return false, errProofUsed
	case len(request) > 0:
		again, err = s.ask(ctx, all, request)
	case retry:
		again, err = s.retry(ctx, wait)
	case steps:
		s.stepped, again = true, true
	}
	if err != nil || !again || !once {
		return again, err
	}
	return s.prove(ctx)
}

// once reports whether the question's proof is good for one question.
func (s *stand) once() bool {
	p := s.q.Presented
	return p != nil && p.Proof != "" && p.Shown.IsZero()
}

var errProofUsed = authz.Errorf(authz.ErrUnauthenticated, "the proof that came with the passport counts once, and there is no other to ask again with")

// prove has the passport be presented once more.
func (s *stand) prove(ctx context.Context) (again bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			again, err = false, fmt.Errorf("getting another proof panicked: %.200v", v)
		}
	}()
	if s.g.Prove == nil {
		return false, errProofUsed
	}
	p, err := s.g.Prove(ctx, s.q.Presented)
	switch {
	case err != nil:
		return false, fmt.Errorf("getting another proof: %w", err)
	case p == nil || p.Proof == s.q.Presented.Proof:
		return false, errProofUsed
	}
	s.q.Presented = p
	return true, nil
}

// ask has persons asked about those acts, together, and waits for them.
func (s *stand) ask(ctx context.Context, all []*Answer, which []int) (bool, error) {
	r, err := s.say(ctx, all, which[0])
	if r == nil || err != nil {
		return false, err
	}
	s.asked++
	r.Acts = nil // only what was refused here
	for _, i := range which {
		req := s.q.Requests[i]
		if req.Subject.IsZero() && s.q.Presented != nil {
			req.Subject.Ref = authz.Ref{Type: authz.AgentType, ID: actorOf(s.q.Presented.Token)}
		}
		r.Acts = append(r.Acts, Refused{req, all[i].Offer})
	}
	task, err := s.g.Client.RequestAccess(ctx, *r)
	if err != nil {
		return false, err
	}
	s.task = task
	if s.task, err = s.g.Client.AwaitApproval(ctx, task); err != nil {
		return false, err
	}
	approvals := make([]*Approval, len(all))
	for i := range all {
		approvals[i] = s.q.ApprovalOf(i)
	}
	for n, i := range which {
		if approvals[i] = s.task.Approval(n); approvals[i] == nil {
			return false, fmt.Errorf("the access request is %s", strings.ToValidUTF8(clipStatus(s.task.Status), ""))
		}
	}
	if s.q.Approvals = approvals; len(all) == 1 {
		s.q.Approval, s.q.Approvals = approvals[0], nil
	}
	return true, nil
}

// actorOf returns who acts by a passport that the service has judged: the outermost actor (RFC 8693 section 4.1), or the
// subject; "" if it is none.
func actorOf(passport string) string {
	parts := strings.Split(passport, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	p, err := token.ParsePassport(payload)
	switch {
	case err != nil:
		return ""
	case p.Actor != nil:
		return p.Actor.Subject
	}
	return p.Subject
}

// say returns what persons are told about act number i, nil if they are not asked.
func (s *stand) say(ctx context.Context, all []*Answer, i int) (r *AccessRequest, err error) {
	defer func() {
		if v := recover(); v != nil {
			r, err = nil, fmt.Errorf("saying why persons are asked panicked: %.200v", v)
		}
	}()
	return s.g.Ask(ctx, s.q.Requests[i], all[i]), nil
}

// clipStatus bounds what is told of a status that we do not know.
func clipStatus(s string) string { return s[:min(len(s), 40)] }

// retry waits as long as the service says, or longer each time, while the approvals last.
func (s *stand) retry(ctx context.Context, wait time.Duration) (bool, error) {
	if wait <= 0 {
		wait = min(firstPoll<<min(s.retried, 5), maxPoll)
	}
	s.retried++
	usable, then := false, time.Now().Add(wait)
	for i := range s.q.Requests {
		usable = usable || s.q.ApprovalOf(i).Usable(then)
	}
	if !usable {
		return false, nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// meet meets all obligations that it can, and returns why it could not meet some: all of them are tried, also
// if one cannot be met, and also of a refusal.
func (g *Guard) meet(ctx context.Context, t *terms, all []authz.Obligation) error {
	var errs []error
	for i := range all {
		o := &all[i]
		if !t.metBefore(0, o) {
			if err := g.meetOne(ctx, *o); err != nil {
				errs = append(errs, unmet(o.ID, o.Type, err))
				continue
			}
		}
		t.lasting = append(t.lasting, metDuty{0, o})
	}
	return errors.Join(errs...)
}

func (g *Guard) meetOne(ctx context.Context, o authz.Obligation) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("meeting it panicked: %.200v", v)
		}
	}()
	name, err := obligationName(&o)
	if err != nil {
		return err
	}
	f := g.Obligations[name]
	if f == nil {
		return errors.New("nobody here knows how")
	}
	return f(ctx, o)
}

// obligationName returns by which name an obligation is met, or why it is malformed: a normative type has
// members that it must have.
func obligationName(o *authz.Obligation) (string, error) {
	properties := map[string]json.RawMessage{}
	if err := json.Unmarshal(o.Properties, &properties); err != nil || properties == nil || o.ID == "" || o.Type == "" {
		return "", errors.New("it is malformed: id, type and properties must be there")
	}
	text := func(member string) (s string) {
		if json.Unmarshal(properties[member], &s) != nil {
			return ""
		}
		return s
	}
	required := map[string][]string{"step-up": {"acr_value"}, "notification": {"to", "body"}, "session_termination": {"subject"}}
	for _, member := range required[o.Type] {
		if text(member) == "" {
			return "", fmt.Errorf("it is malformed: it lacks %s", member)
		}
	}
	if o.Type == "custom" {
		if name := text("obligation"); name != "" {
			return name, nil
		}
	}
	return o.Type, nil
}

// A Meeter meets the obligations of what a search found: a Guard, or an Enforcer.
type Meeter interface {
	meetShown(ctx context.Context, all []authz.Obligation, shown any) error
}

func (g *Guard) meetShown(ctx context.Context, all []authz.Obligation, _ any) error {
	return g.meet(ctx, new(terms), all)
}

// Show returns of what a search found the results that may be shown: those without obligations, and those
// whose obligations were all met. One whose obligations cannot be met is left out, and the others stay.
func Show[T any](ctx context.Context, m Meeter, found []Result[T]) []T {
	out := make([]T, 0, len(found))
	for _, r := range found {
		if m.meetShown(ctx, r.Obligations, r.Value) == nil {
			out = append(out, r.Value)
		}
	}
	return out
}
