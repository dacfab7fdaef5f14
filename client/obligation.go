package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Bounds of the obligations of one answer.
const (
	maxDuties     = 64
	maxProperties = 64 << 10 // bytes of one
)

// Handlers meet obligations: each those of one type. The types are step-up, notification, session_termination,
// for custom ones the name in their property "obligation" (mask, cap, ...), and custom for all of those that
// nobody else meets. Handlers are set before, and called concurrently.
type Handlers map[string]Handler

// A Handler meets one obligation, or returns why it could not; then the act is refused. It is called also
// where the decision is a refusal: what it is to do, it does then as well. What the obligation says comes from
// the service and may repeat what an agent wrote.
type Handler func(ctx context.Context, d *Duty) error

// BuiltIn returns handlers of the types that need nothing but this package: mask, cap, dry-run, delay of at most
// one minute, and log. To them those are added that only the enforcement point itself can write:
//
//	h := client.BuiltIn(logger)
//	h["notification"] = (&client.Notifier{Send: mail}).Meet
//	h["session_termination"] = client.MeetSessionTermination(endSessions)
//	h["step-up"] = client.MeetStepUp(authenticateAnew)
func BuiltIn(logger *slog.Logger) Handlers {
	return Handlers{
		"mask":    MeetMask,
		"cap":     MeetCap,
		"dry-run": MeetDryRun,
		"delay":   MeetDelay(time.Minute),
		"log":     MeetLog(logger),
	}
}

// A Duty is one obligation that is to be met. It is of use only while its Handler runs.
type Duty struct {
	authz.Obligation
	Request *authz.Request // what was asked; not to be changed. nil of a search
	Answer  *Answer        // the decision that obliges; not to be changed. nil of a search
	Shown   any            // the Value of the Result of a search; nil of a decision

	terms *terms
}

// errNoAct is why an obligation about an act cannot be met.
var errNoAct = errors.New("it is about an act, and nothing is done here")

// Act reports whether an act is to happen if all obligations are met: the decision is no refusal, and no result
// of a search.
func (d *Duty) Act() bool {
	return d.Answer != nil && d.Answer.Allowed() && (d.terms == nil || !d.terms.refused)
}

// Result has f change the result of the act before anybody sees it. If f fails, nobody sees it. Of a refusal there
// is no result, and f is never called. An error says that f cannot be, because something is shown that is
// the result of no act: that is then left out.
func (d *Duty) Result(f func(json.RawMessage) (json.RawMessage, error)) error {
	if d.terms == nil {
		return errNoAct
	}
	d.terms.shapes = append(d.terms.shapes, shape{id: d.ID, f: f})
	return nil
}

// mask is Result with what the properties alone say: the same is done by all that have the same ones.
func (d *Duty) mask(f func(json.RawMessage) (json.RawMessage, error)) error {
	if err := d.Result(f); err != nil {
		return err
	}
	d.terms.shapes[len(d.terms.shapes)-1].mask = string(d.Properties)
	return nil
}

// Try has the act be tried only. An error says that nobody knows how.
func (d *Duty) Try() error {
	switch {
	case d.terms == nil:
		return errNoAct
	case d.Act() && !d.terms.canTry:
		return errors.New("nobody here knows how to try this act without doing it")
	}
	d.terms.try = true
	return nil
}

// Wait has the act, or the refusal, wait until that moment. All that have to be waited for pass at once.
func (d *Duty) Wait(until time.Time) error {
	if d.terms == nil {
		return errNoAct
	}
	d.terms.waits = append(d.terms.waits, wait{d.ID, until})
	return nil
}

// decode reads the properties into v, which has no place for what it does not know: a member that is not
// understood is part of an obligation that is not understood.
func (d *Duty) decode(v any) error {
	dec := json.NewDecoder(bytes.NewReader(d.Properties))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("it is malformed: %w", err)
	}
	return nil
}

// terms are how an act may happen, as its obligations say.
type terms struct {
	refused     bool // by one of several decisions
	canTry, try bool
	shapes      []shape
	waits       []wait

	prior, lasting []metDuty // for an answer that is stale by now; for this one
}

// A metDuty is an obligation of answer number at that was met, and says nothing of how the act happens.
type metDuty struct {
	at int
	o  *authz.Obligation
}

// metBefore reports whether the same was met for an answer that is stale by now: then it is not met again.
func (t *terms) metBefore(at int, o *authz.Obligation) bool {
	return slices.ContainsFunc(t.prior, func(m metDuty) bool {
		return m.at == at && m.o.ID == o.ID && m.o.Type == o.Type && bytes.Equal(m.o.Properties, o.Properties)
	})
}

type shape struct {
	id   string
	mask string // all of what f depends on; "" if that is not known
	f    func(json.RawMessage) (json.RawMessage, error)
}

type wait struct {
	id    string
	until time.Time
}

// A round is the obligations of one answer on their way to be met.
type round struct {
	e     *Enforcer
	req   *authz.Request
	ans   *Answer
	at    int    // number of the answer
	terms *terms // nil of a search
	shown any    // by a search
	met   []string
	once  map[string]error // what came of those that are met once for several answers; nil of one answer
}

// meet meets the obligations of all answers, whatever these say, and returns why some could not be met. What has
// to be waited for passes at last.
func (e *Enforcer) meet(ctx context.Context, p *Permit) error {
	if !slices.ContainsFunc(p.answers, func(a *Answer) bool { return len(a.Obligations) > 0 }) {
		return nil
	}
	p.terms.refused = slices.ContainsFunc(p.answers, func(a *Answer) bool { return !a.Allowed() })
	p.met = make([][]string, len(p.answers))
	var once map[string]error
	if len(p.answers) > 1 {
		once = map[string]error{}
	}
	var errs []error
	for i, a := range p.answers {
		if len(a.Obligations) == 0 {
			continue
		}
		r := round{e: e, req: &p.requests[i], ans: a, at: i, terms: &p.terms, once: once}
		if err := r.meet(ctx, a.Obligations); err != nil {
			errs = append(errs, err)
		}
		p.met[i] = r.met
	}
	if late, err := p.terms.wait(ctx); err != nil {
		for _, id := range late {
			for i := range p.met {
				p.met[i] = slices.DeleteFunc(p.met[i], func(met string) bool { return met == id })
			}
			errs = append(errs, unmet(id, "delay", err))
		}
	}
	return errors.Join(errs...)
}

func unmet(id, typ string, err error) error {
	return fmt.Errorf("obligation %.64q of type %.64q is not met: %w", id, typ, err)
}

// meet meets all obligations that it can, and returns why it could not meet some. All of them are tried, also if
// one cannot be met, if the answer is a refusal, or if whoever asked has gone: else hanging up would be a way
// around being reported.
func (r *round) meet(ctx context.Context, all []authz.Obligation) error {
	var errs []error
	if len(all) > maxDuties {
		errs = append(errs, fmt.Errorf("the answer has %d obligations, more than %d", len(all), maxDuties))
		all = all[:maxDuties]
	}
	for i := range all {
		o := &all[i]
		if slices.ContainsFunc(all[:i], func(other authz.Obligation) bool { return other.ID == o.ID }) {
			errs = append(errs, unmet(o.ID, o.Type, errors.New("it is malformed: its id is that of another")))
			continue
		}
		if err := r.lastingly(ctx, o); err != nil {
			errs = append(errs, unmet(o.ID, o.Type, err))
			continue
		}
		r.met = append(r.met, o.ID)
	}
	return errors.Join(errs...)
}

// lastingly meets one obligation, but not one that was met before and lasts: all but those that say how the act happens.
func (r *round) lastingly(ctx context.Context, o *authz.Obligation) error {
	t := r.terms
	if t == nil {
		return r.onceOf(ctx, o)
	}
	shapes := len(t.shapes)
	if !t.metBefore(r.at, o) {
		if err := r.onceOf(ctx, o); err != nil {
			return err
		}
	}
	if len(t.shapes) == shapes && !t.try {
		t.lasting = append(t.lasting, metDuty{r.at, o})
	}
	return nil
}

// onceOf meets one obligation, but one that several answers have alike, and that says all of what is to be done, once: a
// notification, a step-up, the end of sessions. What it does not say is read in the request, so the others are met
// for each.
func (r *round) onceOf(ctx context.Context, o *authz.Obligation) error {
	if r.once == nil || o.ProfileType() == "custom" {
		return r.one(ctx, o)
	}
	key := o.ID + "\x00" + o.Type + "\x00" + string(o.Properties)
	if err, ok := r.once[key]; ok {
		return err
	}
	err := r.one(ctx, o)
	r.once[key] = err
	return err
}

// one meets one obligation. A handler that panics has not met it, and does not keep the others from being met:
// what an obligation says may be written by who would like that.
func (r *round) one(ctx context.Context, o *authz.Obligation) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("meeting it panicked: %.200v", p)
		}
	}()
	if len(o.Properties) > maxProperties {
		return fmt.Errorf("it has %d bytes, more than %d", len(o.Properties), maxProperties)
	}
	name, err := obligationName(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.e.timeout())
	defer cancel()
	h := r.e.Handlers[name]
	if f := r.e.obligers()[name]; h == nil && f != nil {
		return f(ctx, *o)
	}
	if h == nil && o.ProfileType() == "custom" {
		h = r.e.Handlers["custom"]
	}
	if h == nil {
		return errors.New("nobody here knows how")
	}
	if err := h(ctx, &Duty{Obligation: *o, Request: r.req, Answer: r.ans, Shown: r.shown, terms: r.terms}); err != nil {
		return err
	}
	return ctx.Err() // met too late is not met
}

// wait waits until all has passed that has to be waited for. With an error it returns what has not.
func (t *terms) wait(ctx context.Context) (late []string, err error) {
	slices.SortStableFunc(t.waits, func(a, b wait) int { return a.until.Compare(b.until) })
	for i, w := range t.waits {
		timer := time.NewTimer(time.Until(w.until))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			for _, w := range t.waits[i:] {
				late = append(late, w.id)
			}
			return late, ctx.Err()
		}
	}
	return nil, nil
}
