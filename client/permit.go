package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// A Permit is permission to do one act, once: a decision that allows it, all of whose obligations that come before
// the act were met. Only Enforcer.Permit makes one, so whatever takes a *Permit and not a Decision cannot be called
// without them. A nil or zero Permit, a copy of one, one that was used and one that is over permit nothing.
//
// The act is done by Run, by Permit.Do, or between Begin and Done. What it returns goes through Shape before anybody
// sees it.
type Permit struct {
	self     *Permit // the Permit itself; a copy is none
	reporter *Enforcer
	requests []authz.Request
	answers  []*Answer
	met      [][]string // ids of the obligations of each answer that were met; nil if there are none
	terms    terms
	task     *Task
	until    time.Time     // end of the approval
	answered time.Time     // when
	fresh    time.Duration // how long after that the act must have begun
	begun    atomic.Bool
	began    time.Time

	once   sync.Once
	report error // of Done

	mu    sync.Mutex // guards what follows
	unmet []string   // shapes that failed
}

// holds reports whether p was made by an Enforcer.
func (p *Permit) holds() bool { return p != nil && p.self == p }

var errNoPermit = authz.Errorf(authz.ErrForbidden, "nothing permits this: there is no permit, or it is a copy")

// Decisions returns the ids of the decisions on which p stands, one for each request; "" of one that was not recorded.
func (p *Permit) Decisions() []string {
	if !p.holds() {
		return nil
	}
	ids := make([]string, len(p.answers))
	for i, a := range p.answers {
		ids[i] = a.DecisionID()
	}
	return ids
}

// Requests returns what was asked. It is not to be changed.
func (p *Permit) Requests() []authz.Request {
	if !p.holds() {
		return nil
	}
	return p.requests
}

// Task returns the task of the persons who were asked last, nil if nobody was.
func (p *Permit) Task() *Task {
	if !p.holds() {
		return nil
	}
	return p.task
}

// Tried reports whether the act may only be tried, not done. Of what permits nothing it is true.
func (p *Permit) Tried() bool { return !p.holds() || p.terms.try }

// Whole reports whether the result must go through Shape as a whole before anybody sees any of it. If not, it
// may be streamed. Of what permits nothing it is true.
func (p *Permit) Whole() bool { return !p.holds() || len(p.terms.shapes) > 0 }

// Until returns the end of the approval on which p stands, zero if it stands on none. Of what permits nothing it is
// long ago.
func (p *Permit) Until() time.Time {
	if !p.holds() {
		return time.Unix(0, 0)
	}
	return p.until
}

// Met returns the ids of the obligations that were met, each once.
func (p *Permit) Met() []string {
	if !p.holds() {
		return nil
	}
	var ids []string
	for i := range p.met {
		for _, id := range p.metOf(i) {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// metOf returns the ids of the obligations of answer number i that were met.
func (p *Permit) metOf(i int) []string {
	if p.met == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.unmet) == 0 {
		return p.met[i]
	}
	return slices.DeleteFunc(slices.Clone(p.met[i]), func(id string) bool { return slices.Contains(p.unmet, id) })
}

// Begin uses p up and returns the context in which the act is to happen: it ends when the approval does on which p
// stands. The act then happens, or is tried if p says so, and Done is called after it. authz.ErrForbidden: p
// permits nothing, was used, or is over.
func (p *Permit) Begin(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if !p.holds() {
		return nil, nil, errNoPermit
	}
	now := time.Now()
	if !p.until.IsZero() && !now.Before(p.until) {
		return nil, nil, p.refuse(errors.New("the approval ended before the act could begin"))
	}
	if age(p.answered, now) >= p.fresh {
		return nil, nil, p.refuse(errStale)
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, p.refuse(err)
	}
	if !p.begun.CompareAndSwap(false, true) {
		return nil, nil, p.refuse(errors.New("the permit was used: it is for one act, once"))
	}
	p.began = now
	if p.until.IsZero() {
		return ctx, func() {}, nil
	}
	ctx, cancel := context.WithDeadline(ctx, p.until)
	return ctx, cancel, nil
}

func (p *Permit) refuse(cause error) error {
	return &RefusedError{Answer: p.answers[0], Task: p.task, Cause: cause, Answers: p.answers, Requests: p.requests, judged: true}
}

// Shape returns a result, JSON or nothing, as it may be seen: obligations such as masks change it. A *WithheldError
// says that one of them could not, and that nothing of the result may be seen.
func (p *Permit) Shape(result json.RawMessage) (json.RawMessage, error) {
	if !p.holds() {
		return nil, &WithheldError{errNoPermit}
	}
	for i, s := range p.terms.shapes {
		shaped, err := s.apply(result)
		if err != nil {
			p.withhold(i)
			return nil, &WithheldError{fmt.Errorf("obligation %.64q is not met: %w", s.id, err)}
		}
		result = shaped
	}
	return result, nil
}

// SameShape reports whether Shape of p and of other change a result alike, as far as that is known: who must heed both may then
// heed one. It is known of masks.
func (p *Permit) SameShape(other *Permit) bool {
	return p.holds() && other.holds() && slices.EqualFunc(p.terms.shapes, other.terms.shapes, func(a, b shape) bool {
		return a.mask != "" && a.mask == b.mask
	})
}

// withhold notes that the shapes from number i on are not met.
func (p *Permit) withhold(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.terms.shapes[i:] {
		p.unmet = append(p.unmet, s.id)
	}
}

// apply is f, which may panic: then it has failed.
func (s *shape) apply(result json.RawMessage) (out json.RawMessage, err error) {
	defer func() {
		if v := recover(); v != nil {
			out, err = nil, fmt.Errorf("changing the result panicked: %.200v", v)
		}
	}()
	return s.f(result)
}

// Done reports what came of the act, once: later calls do nothing and return what the first did. The obligations
// that were met are added, and how long it took since Begin if o does not say. It reports also if ctx has ended.
// Of an act that did not happen nothing is reported: Done is not called, and p is used up by it.
func (p *Permit) Done(ctx context.Context, o Outcome) error {
	if !p.holds() {
		return errNoPermit
	}
	p.once.Do(func() {
		began := !p.begun.CompareAndSwap(false, true)
		if p.reporter == nil {
			return
		}
		if o.Latency == 0 && began {
			o.Latency = time.Since(p.began)
		}
		var errs []error
		for i, a := range p.answers {
			o := o
			o.Met = append(slices.Clip(o.Met), p.metOf(i)...)
			errs = append(errs, p.reporter.report(ctx, a.DecisionID(), o))
		}
		p.report = errors.Join(errs...)
	})
	return p.report
}

// Do does or tries the act, changes its result, and reports the outcome; see Enforcer.Do.
func (p *Permit) Do(ctx context.Context, act Act) (*Done, error) {
	do := act.Do
	if p.Tried() {
		do = act.Try
	}
	if do == nil {
		return nil, authz.Errorf(authz.ErrForbidden, "nothing is done: nobody says how")
	}
	ctx2, cancel, err := p.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	began, returned := time.Now(), false
	defer func() {
		if !returned { // it panicked
			_ = p.Done(ctx, Outcome{Fault: FaultTool})
		}
	}()
	result, err := do(ctx2)
	returned = true
	o := Outcome{Latency: time.Since(began), Size: int64(len(result)), Fault: faultOf(err)}
	if err != nil && p.Whole() {
		err = &WithheldError{err}
	}
	done := &Done{Decision: p.answers[0].DecisionID(), Tried: p.Tried()}
	if err == nil {
		done.Result, err = p.Shape(result)
	}
	done.Met = p.Met()
	done.Unreported = p.Done(ctx, o)
	return done, err
}

// faultOf returns the fault of an act that failed with an error.
func faultOf(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.DeadlineExceeded):
		return FaultTimeout
	}
	return FaultTool
}

// Run does act, which p permits, and returns what it returns, as it may be seen: if obligations are to change that, it
// goes through Shape as JSON and is read into a T again, and errors of the act are withheld. The outcome is
// reported; what became of that Done returns. A Permit for trying only, and one that permits nothing, runs
// nothing: authz.ErrForbidden.
func Run[T any](ctx context.Context, p *Permit, act func(context.Context) (T, error)) (T, error) {
	if p.holds() && p.Tried() {
		var none T
		return none, p.refuse(errors.New("the act may only be tried, not done"))
	}
	return run(ctx, p, act)
}

// Try is Run of an act that has no effect and returns what the act would, if p permits only that, or all of it.
func Try[T any](ctx context.Context, p *Permit, act func(context.Context) (T, error)) (T, error) {
	return run(ctx, p, act)
}

func run[T any](ctx context.Context, p *Permit, act func(context.Context) (T, error)) (result T, err error) {
	var none T
	if act == nil {
		return none, authz.Errorf(authz.ErrInvalid, "there is no act")
	}
	ctx2, cancel, err := p.Begin(ctx)
	if err != nil {
		return none, err
	}
	defer cancel()
	returned := false
	defer func() {
		if !returned { // it panicked
			_ = p.Done(ctx, Outcome{Fault: FaultTool})
		}
	}()
	result, err = act(ctx2)
	returned = true
	o := Outcome{Latency: time.Since(p.began), Fault: faultOf(err)}
	if p.Whole() {
		if err != nil {
			result, err = none, &WithheldError{err}
		} else {
			result, o.Size, err = reshape(p, result)
		}
	}
	_ = p.Done(ctx, o) // which says so when it is called again
	return result, err
}

// reshape returns a result as it may be seen, and how many bytes it had. Texts and bytes are taken for JSON: as
// texts in JSON nothing in them would be found that is to be hidden.
func reshape[T any](p *Permit, result T) (seen T, size int64, err error) {
	v := reflect.ValueOf(&result).Elem()
	if v.Kind() == reflect.Interface && !v.IsNil() {
		v = v.Elem()
	}
	_, writes := v.Interface().(json.Marshaler)
	text := v.Kind() == reflect.String || v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8
	var raw []byte
	switch {
	case text && v.Kind() == reflect.String:
		raw = []byte(v.String())
	case text && (!writes || v.Type() == reflect.TypeFor[json.RawMessage]()):
		raw = v.Bytes()
	default:
		text = false
		if raw, err = json.Marshal(result); err != nil {
			p.withhold(0)
			return seen, 0, &WithheldError{fmt.Errorf("the result cannot be written as JSON: %w", err)}
		}
	}
	size = int64(len(raw))
	if raw, err = p.Shape(raw); err != nil {
		return seen, size, err
	}
	if text {
		reflect.ValueOf(&seen).Elem().Set(reflect.ValueOf(raw).Convert(v.Type()))
		return seen, size, nil
	}
	var read T
	if err := json.Unmarshal(raw, &read); err != nil {
		p.withhold(0)
		return seen, size, &WithheldError{fmt.Errorf("what may be seen of the result does not fit its type: %w", err)}
	}
	return read, size, nil
}
