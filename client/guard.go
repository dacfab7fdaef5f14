package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A Guard stands before acts: it asks whether one may happen, meets the obligations, has persons asked, and
// lets the act happen only if all of that went well. It keeps what the AuthZEN profiles of obligations and of
// access requests demand of an enforcement point. It is safe for concurrent use; its fields are set before.
type Guard struct {
	Client *Client

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
}

// An Obliger meets one obligation, or returns why it could not.
type Obliger func(ctx context.Context, o authz.Obligation) error

// A RefusedError is why an act did not happen. It is authz.ErrForbidden, or of the kind of its cause.
type RefusedError struct {
	Answer *Answer
	Task   *Task // of the persons who were asked last; nil if nobody was
	Cause  error // what went wrong, nil if the service refused
}

// Error says why.
func (e *RefusedError) Error() string {
	text := "refused: " + e.Answer.Code
	if len(e.Answer.Reasons) > 0 {
		text = "refused: " + e.Answer.Reasons[0].Message
	}
	if e.Cause != nil {
		text = "refused: " + e.Cause.Error()
	}
	return text
}

// Unwrap returns the kinds.
func (e *RefusedError) Unwrap() []error {
	if e.Cause != nil {
		return []error{authz.ErrForbidden, e.Cause}
	}
	return []error{authz.ErrForbidden}
}

// Do lets act happen if req may, and returns what act returns, or a *RefusedError. The context of act ends when
// the approval does on which the permission stands, if it stands on one.
func (g *Guard) Do(ctx context.Context, req authz.Request, act func(context.Context) error) error {
	return g.do(ctx, req,
		func(ctx context.Context, ans *Answer) error { return g.meet(ctx, ans.Obligations) },
		func(ctx context.Context, _ *Answer) error { return act(ctx) })
}

// do is Do with meet, which meets the obligations of a decision, and an act that is told the decision which
// allows it.
func (g *Guard) do(ctx context.Context, req authz.Request, meet, act func(context.Context, *Answer) error) error {
	s := stand{g: g, req: req}
	for {
		ans, err := g.Client.Evaluate(ctx, req, s.approval)
		if err != nil {
			return &RefusedError{ans, s.task, err}
		}
		unmet := meet(ctx, ans)
		if ans.Allowed() && unmet == nil {
			return enforce(ctx, ans, s.task, func(ctx context.Context) error { return act(ctx, ans) })
		}
		if ans.Allowed() {
			return &RefusedError{ans, s.task, unmet}
		}
		again, err := s.next(ctx, ans, unmet == nil)
		if err != nil || !again {
			return &RefusedError{ans, s.task, errors.Join(err, unmet)}
		}
	}
}

// enforce lets the act happen, no longer than the approval lasts.
func enforce(ctx context.Context, ans *Answer, task *Task, act func(context.Context) error) error {
	if !ans.Until.IsZero() {
		if !time.Now().Before(ans.Until) {
			return &RefusedError{ans, task, errors.New("the approval ended before the act could begin")}
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, ans.Until)
		defer cancel()
	}
	return act(ctx)
}

// A stand is how far one Do has come.
type stand struct {
	g        *Guard
	req      authz.Request
	approval *Approval
	task     *Task
	asked    int
	retried  int
	stepped  bool
}

// next does what a refusal calls for, and reports whether it is worth asking for the decision again. Met is
// whether all obligations of the refusal were met.
func (s *stand) next(ctx context.Context, ans *Answer, met bool) (again bool, err error) {
	switch ans.Next() {
	case NextRequest:
		return s.ask(ctx, ans)
	case NextRetry:
		return s.retry(ctx, ans)
	}
	// Meeting a step-up obligation has changed who asks; that is worth one more question.
	for _, o := range ans.Obligations {
		if o.Type == "step-up" && met && !s.stepped {
			s.stepped = true
			return true, nil
		}
	}
	return false, nil
}

// ask has persons asked, and waits for them.
func (s *stand) ask(ctx context.Context, ans *Answer) (bool, error) {
	if s.g.Ask == nil || s.asked >= max(s.g.Asks, 1) {
		return false, nil
	}
	r := s.g.Ask(ctx, s.req, ans)
	if r == nil {
		return false, nil
	}
	s.asked++
	r.Acts = []Refused{{s.req, ans.Offer}}
	task, err := s.g.Client.RequestAccess(ctx, *r)
	if err != nil {
		return false, err
	}
	s.task = task
	if s.task, err = s.g.Client.AwaitApproval(ctx, task); err != nil {
		return false, err
	}
	s.approval = s.task.Approval(0)
	if s.approval == nil {
		return false, fmt.Errorf("the access request is %s", strings.ToValidUTF8(clipStatus(s.task.Status), ""))
	}
	return true, nil
}

// clipStatus bounds what is told of a status that we do not know.
func clipStatus(s string) string { return s[:min(len(s), 40)] }

// retry waits as long as the service says, or longer each time, while the approval lasts.
func (s *stand) retry(ctx context.Context, ans *Answer) (bool, error) {
	wait := ans.RetryAfter
	if wait <= 0 {
		wait = min(firstPoll<<min(s.retried, 5), maxPoll)
	}
	s.retried++
	if !s.approval.Usable(time.Now().Add(wait)) {
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
func (g *Guard) meet(ctx context.Context, all []authz.Obligation) error {
	var errs []error
	for _, o := range all {
		if err := g.meetOne(ctx, o); err != nil {
			errs = append(errs, fmt.Errorf("obligation %.64q of type %.64q is not met: %w", o.ID, o.Type, err))
		}
	}
	return errors.Join(errs...)
}

func (g *Guard) meetOne(ctx context.Context, o authz.Obligation) error {
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
	return g.meet(ctx, all)
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
