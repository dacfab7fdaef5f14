package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// Answer answers as client.Decider says. What is decided here is in the journal before it is returned, and has ids such as
// e17; those of one question are written at once.
//
// The control plane is asked instead, and its answer returned, if the question refers to an approval, or if persons could lift
// a refusal: the control plane signs what they are asked by, and draws the uses of what they approved. While it cannot be
// reached, an approval does not count and a refusal comes without an offer.
//
// authz.ErrInvalid: a request could not be understood, or does not fit the schema. authz.ErrUnavailable: nothing can be
// decided, or what was decided cannot be recorded.
func (p *Point) Answer(ctx context.Context, q *client.Question) ([]*client.Answer, error) {
	if q == nil || len(q.Requests) == 0 || len(q.Requests) > maxRequests {
		n := 0
		if q != nil {
			n = len(q.Requests)
		}
		err := invalid("a question has from 1 to %d requests", maxRequests)
		return refuseAll(n, err), err
	}
	all, err := p.answer(ctx, q)
	if err != nil {
		return refuseAll(len(q.Requests), err), err
	}
	return all, nil
}

// A turn is what is known of a question that had to wait for the control plane, when it is looked at anew.
type turn struct {
	proved *bearer // whose binding was proved; nil if none was
	asked  bool    // whether the control plane was asked to decide
	cannot error   // why it has not
}

// errWaited says that a question has waited, and that what is known may be another thing since.
var errWaited = errors.New("waited")

// maxTurns bounds how often one question is looked at.
const maxTurns = 8

// answer looks at a question until it is answered without a wait: what was known before one is not what is decided by after it.
func (p *Point) answer(ctx context.Context, q *client.Question) ([]*client.Answer, error) {
	var t turn
	for range maxTurns {
		if all, err := p.turn(ctx, q, &t); err != errWaited {
			return all, err
		}
	}
	return nil, authz.Errorf(authz.ErrUnavailable, "what is known of the question changes faster than the control plane can be asked about it")
}

// turn looks at a question once. The error errWaited: it had to wait, and is to be looked at again.
func (p *Point) turn(ctx context.Context, q *client.Question, t *turn) ([]*client.Answer, error) {
	pic := p.picture.Load()
	if pic == nil {
		return nil, p.unknown()
	}
	if err := p.fresh(pic); err != nil {
		return nil, err
	}
	b, refused, err := p.present(ctx, pic, q, t)
	if refused != nil || err != nil {
		return refused, err
	}
	approved := q.Approved()
	for i := range q.Requests {
		approved = approved || q.Requests[i].Approval != nil
	}
	remote := ""
	if ps := pic.set.Load(); ps != nil {
		remote = ps.remote
	}
	if (approved || remote != "") && !t.asked {
		for _, r := range q.Requests { // what is refused here is not to be said there either
			if err := p.prepare(pic, b, &r); err != nil {
				return nil, err
			}
		}
		return p.ask(ctx, q, t)
	}
	if remote != "" {
		return nil, authz.Errorf(authz.ErrUnavailable, "%s, and that cannot be asked: %w", remote, t.cannot)
	}
	w := works.Get().(*work)
	defer w.free()
	all, requestable, err := p.judge(w, pic, b, q.Requests)
	if err != nil {
		return nil, err
	}
	if requestable && !t.asked {
		return p.ask(ctx, q, t)
	}
	if err := p.record(ctx, w, all); err != nil {
		return nil, err
	}
	if approved {
		for _, a := range all {
			if !a.Allowed() && a.ID != "" { // whether the approval holds, the control plane knows
				a.Reason, a.NextAction = authz.ApprovalPending, client.NextRetry
			}
		}
	}
	return all, nil
}

// A work is the scratch space of one question.
type work struct {
	rec     pdp.Record
	text    []byte
	ends    []int // of each record in text
	entries []entry
}

var works = sync.Pool{New: func() any { return new(work) }}

func (w *work) free() {
	w.rec = pdp.Record{}
	clear(w.entries)
	if w.text, w.ends, w.entries = w.text[:0], w.ends[:0], w.entries[:0]; cap(w.text) <= 64<<10 {
		works.Put(w)
	}
}

// present returns who presents the passport of a question, nil if there is none. If it does not count, that is the answer.
func (p *Point) present(ctx context.Context, pic *picture, q *client.Question, t *turn) (*bearer, []*client.Answer, error) {
	if q.Presented == nil {
		return nil, nil, nil
	}
	b, err := p.bearer(ctx, pic, q.Presented, t)
	bad, ok := errors.AsType[*passportError](err)
	if !ok {
		return b, nil, err
	}
	all := make([]*client.Answer, len(q.Requests))
	for i := range all {
		all[i] = new(client.Answer)
		all[i].Refuse(authz.CodePassportInvalid, bad.why)
	}
	return nil, all, nil
}

// judge judges requests into w, and reports whether persons could lift a refusal. What does not fit the schema is not recorded,
// as the control plane does not record it.
func (p *Point) judge(w *work, pic *picture, b *bearer, reqs []authz.Request) (all []*client.Answer, requestable bool, err error) {
	var known profiles
	if ps := pic.set.Load(); ps != nil {
		known = ps.profiles
	}
	all = make([]*client.Answer, len(reqs))
	for i := range reqs {
		w.rec.Request = reqs[i]
		if err := p.prepare(pic, b, &w.rec.Request); err != nil {
			return nil, false, err
		}
		begin := len(w.text)
		w.text, err = pic.pdp.JudgeInto(w.text, &w.rec, p.cfg.Now())
		d := &w.rec.Decision
		if n := len(w.text) - begin; err == nil && n > maxRecord {
			w.text, err = w.text[:begin], invalid("the request, with what is known of it, is a record of %d bytes, and one of at most %d fits into the log", n, maxRecord)
			*d = authz.Decision{}
			d.Refuse(authz.CodeInvalid, err.Error())
		}
		if errors.Is(err, authz.ErrInvalid) && len(reqs) > 1 {
			all[i] = new(client.Answer)
			all[i].Refuse(d.Code, d.Detail)
			continue
		} else if err != nil {
			return nil, false, err
		}
		w.ends = append(w.ends, len(w.text))
		requestable = requestable || d.Effect == authz.RequireApproval && len(d.Routes) > 0 && !reqs[i].Observed.Listing
		all[i] = &client.Answer{ID: unrecorded, Decision: authz.Decision{
			At: d.At, Effect: d.Effect, Code: d.Code, Reasons: d.Reasons, Changes: d.Changes,
			Obligations: known.of(d.Obligations), Remedies: d.Remedies, PolicySet: d.PolicySet, Catalog: d.Catalog,
		}}
	}
	return all, requestable, nil
}

// recordTime is how old what was decided may be when it is recorded: what is known may be another thing by then.
const recordTime = 5 * time.Second

// unrecorded is the id of an answer that is to be recorded.
const unrecorded = "?"

// prepare brings a request into the form in which it is judged. b is who presented a passport, nil if nobody did.
func (p *Point) prepare(pic *picture, b *bearer, r *authz.Request) error {
	if b != nil {
		who := authz.Ref{Type: authz.AgentType, ID: string(b.Agent)}
		if !r.Subject.Ref.IsZero() && r.Subject.Ref != who {
			return invalid("the subject is not the agent that the passport names: leave it out, or name the same")
		}
		r.Subject.Ref = who
	}
	o := &r.Observed
	if o.Obligations == nil {
		o.Obligations = p.cfg.Obligations
	}
	if err := check(r, pic.limits); err != nil {
		return err
	}
	o.PEP, o.Method, o.Passport = pic.name, "", nil
	if b != nil {
		o.Passport = &b.Passport
		chain := slices.Clip(b.OnBehalf)
		for _, ref := range r.OnBehalf { // whom is named besides can only narrow
			if !slices.Contains(chain, ref) {
				chain = append(chain, ref)
			}
		}
		r.OnBehalf = chain
	}
	return nil
}

// ask has the control plane decide, once. The error errWaited: it does not, and the question is to be looked at again.
func (p *Point) ask(ctx context.Context, q *client.Question, t *turn) ([]*client.Answer, error) {
	t.asked = true
	if !p.connected.Load() {
		t.cannot = authz.Errorf(authz.ErrUnavailable, "the control plane %s is not heard: %s", p.remote.URL(), p.trouble.feed.why("it is being asked"))
		return nil, errWaited
	}
	all, err := p.remote.Answer(ctx, q)
	if errors.Is(err, authz.ErrUnavailable) {
		t.cannot = err
		return nil, errWaited
	}
	return all, err
}

// record writes what was decided into the journal, and gives the answers their ids.
func (p *Point) record(ctx context.Context, w *work, all []*client.Answer) error {
	if len(w.ends) == 0 {
		return nil
	}
	for i := bytes.IndexByte(w.text, '\n'); i >= 0; i = bytes.IndexByte(w.text, '\n') {
		w.text[i] = ' ' // between tokens, where it is nothing: within them it is escaped
	}
	begin := 0
	for _, end := range w.ends {
		w.entries = append(w.entries, entry{kind: 'd', body: w.text[begin:end]})
		begin = end
	}
	id, err := p.journal.Load().append(ctx, w.entries...)
	if err != nil {
		return err
	}
	if took := age(w.rec.Decision.At, p.cfg.Now()); took > recordTime {
		return authz.Errorf(authz.ErrUnavailable, "the journal is too slow: it took %v to record what was decided, and no more than %v may pass", took.Round(time.Millisecond), recordTime)
	}
	for _, a := range all {
		if a.ID == unrecorded {
			var room [24]byte
			a.ID = string(strconv.AppendInt(append(room[:0], ownPrefix...), id, 10))
			id++
		}
	}
	return nil
}

// refuseAll returns a refusal for each request that stands for an error.
func refuseAll(n int, err error) []*client.Answer {
	code, message := authz.CodeUnavailable, "No decision can be made at present. Try again later."
	if errors.Is(err, authz.ErrInvalid) {
		code, message = authz.CodeInvalid, err.Error()
	}
	all := make([]*client.Answer, n)
	for i := range all {
		all[i] = new(client.Answer)
		all[i].Refuse(code, message)
	}
	return all
}

// profiles are the obligations of a version by their ids, as they are and as profile writes them.
type profiles map[string]struct{ own, written authz.Obligation }

func newProfiles(list []authz.Obligation) profiles {
	ps := make(profiles, len(list))
	for _, o := range list {
		ps[o.ID] = struct{ own, written authz.Obligation }{o, profile(o)}
	}
	return ps
}

// of returns obligations as profile writes them. One that is not known, or is known otherwise, is written anew.
func (ps profiles) of(list []authz.Obligation) []authz.Obligation {
	if len(list) == 0 {
		return nil
	}
	out := make([]authz.Obligation, len(list))
	for i, o := range list {
		if known, ok := ps[o.ID]; ok && known.own.Type == o.Type && bytes.Equal(known.own.Properties, o.Properties) {
			out[i] = known.written
			continue
		}
		out[i] = profile(o)
	}
	return out
}

// profile returns an obligation as the AuthZEN obligations profile writes it, which is how enforcement points know it: of a
// type that it registers, or "custom", and then with the type of the catalog as the property "obligation".
func profile(o authz.Obligation) authz.Obligation {
	if len(o.Properties) == 0 {
		o.Properties = json.RawMessage(`{}`)
	}
	if typ := o.ProfileType(); typ != o.Type {
		o.Properties, o.Type = named(o.Properties, o.Type), typ
	}
	return o
}

// named returns properties with the type of their obligation among them, unless they say it already.
func named(properties json.RawMessage, typ string) json.RawMessage {
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(properties, &members); err != nil {
		return properties
	}
	if _, ok := members["obligation"]; ok {
		return properties
	}
	name, err := json.Marshal(typ)
	if err != nil {
		return properties
	}
	members["obligation"] = name
	out, err := json.Marshal(members)
	if err != nil {
		return properties
	}
	return out
}

// Own reports whether an id is one of a decision that was made here: of it Outcome waits for nothing.
func (p *Point) Own(id string) bool { return strings.HasPrefix(id, ownPrefix) }

// ownPrefix begins the ids of decisions that were made here.
const ownPrefix = "e"

// Outcome reports what came of a decision: of one that was made here, by its id, through the journal, into which it is written
// with the next decision or after 100 ms; of one that the control plane made, to the control plane. authz.ErrInvalid: there is no
// such decision, or nothing that can be said so. Whether the rest is as it should be, the control plane finds when it is sent; what
// it refuses is logged.
func (p *Point) Outcome(ctx context.Context, id string, o client.Outcome) error {
	number, ok := strings.CutPrefix(id, ownPrefix)
	if !ok {
		return p.remote.Outcome(ctx, id, o)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != number || n < 1 {
		return invalid("%.32q is no id of a decision: it looks like e17", id)
	}
	j := p.journal.Load()
	if j == nil {
		return p.unknown()
	}
	body, err := outcomeBody(&o)
	if err != nil {
		return err
	}
	return j.note(ctx, n, body)
}
