package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// Answer answers as client.Decider says. What is decided here is in the journal before it is returned, and has ids such as
// e17; a batch is decided by one version of the policies and written at once.
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

func (p *Point) answer(ctx context.Context, q *client.Question) ([]*client.Answer, error) {
	pic := p.picture.Load()
	if pic == nil {
		return nil, p.unknown()
	}
	if err := p.fresh(); err != nil {
		return nil, err
	}
	var one [1]authz.Request // most questions have one, which then need not be allocated
	reqs := append(one[:0], q.Requests...)
	if done, err := p.prepare(ctx, pic, q, reqs); done != nil || err != nil {
		return done, err
	}
	approved := q.Approved() || slices.ContainsFunc(reqs, func(r authz.Request) bool { return r.Approval != nil })
	remote := ""
	if ps := pic.set.Load(); ps != nil {
		remote = ps.remote
	}
	if approved || remote != "" {
		all, err := p.ask(ctx, q)
		switch {
		case err == nil || !errors.Is(err, authz.ErrUnavailable):
			return all, err
		case remote != "":
			return nil, authz.Errorf(authz.ErrUnavailable, "%s, and that cannot be asked: %w", remote, err)
		}
	}
	decisions, drafts, err := pic.pdp.Judge(reqs, p.cfg.Now())
	if err != nil {
		return nil, err
	}
	if !approved && slices.ContainsFunc(decisions, requestable) {
		if all, err := p.ask(ctx, q); err == nil || !errors.Is(err, authz.ErrUnavailable) {
			return all, err
		}
	}
	return p.record(reqs, decisions, drafts, approved)
}

// requestable reports whether persons could lift a refusal.
func requestable(d authz.Decision) bool {
	return d.Effect == authz.RequireApproval && len(d.Routes) > 0
}

// prepare brings requests into the form in which they are judged. If a passport was presented that does not count, that is the
// answer.
func (p *Point) prepare(ctx context.Context, pic *picture, q *client.Question, reqs []authz.Request) ([]*client.Answer, error) {
	var b *bearer
	if q.Presented != nil {
		var err error
		b, err = p.bearer(ctx, pic, q.Presented)
		if bad, ok := errors.AsType[*passportError](err); ok {
			all := make([]*client.Answer, len(reqs))
			for i := range all {
				all[i] = new(client.Answer)
				all[i].Refuse(authz.CodePassportInvalid, bad.why)
			}
			return all, nil
		} else if err != nil {
			return nil, err
		}
	}
	for i := range reqs {
		r := &reqs[i]
		if b != nil {
			who := authz.Ref{Type: authz.AgentType, ID: string(b.Agent)}
			if !r.Subject.Ref.IsZero() && r.Subject.Ref != who {
				return nil, invalid("the subject is not the agent that the passport names: leave it out, or name the same")
			}
			r.Subject.Ref = who
		}
		if err := check(r); err != nil {
			return nil, err
		}
		o := &r.Observed
		o.PEP, o.Method, o.Passport = pic.name, "", nil
		if o.Obligations == nil {
			o.Obligations = p.cfg.Obligations
		}
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
	}
	return nil, nil
}

// ask asks the control plane.
func (p *Point) ask(ctx context.Context, q *client.Question) ([]*client.Answer, error) {
	if !p.connected.Load() {
		return nil, authz.Errorf(authz.ErrUnavailable, "the control plane %s is not heard: %s", p.remote.URL(), p.trouble.feed.why("it is being asked"))
	}
	return p.remote.Answer(ctx, q)
}

// record writes what was decided into the journal, and returns the answers. What does not fit the schema is not recorded, as
// the control plane does not record it.
func (p *Point) record(reqs []authz.Request, decisions []authz.Decision, drafts []audit.Draft, approved bool) ([]*client.Answer, error) {
	var few [4]entry
	entries := few[:0]
	for i := range decisions {
		d := &decisions[i]
		if notUnderstood(d) {
			if len(decisions) == 1 {
				return nil, authz.Errorf(authz.ErrInvalid, "%s", d.Detail)
			}
			continue
		}
		entries = append(entries, entry{kind: 'd', body: oneLine(drafts[i].Body)})
	}
	var first int64
	if len(entries) > 0 {
		j := p.journal.Load()
		var err error
		if first, err = j.append(entries...); err != nil {
			return nil, err
		}
	}
	all := make([]*client.Answer, len(decisions))
	for i := range decisions {
		d := &decisions[i]
		a := &client.Answer{Decision: authz.Decision{
			At: d.At, Effect: d.Effect, Code: d.Code, Reasons: d.Reasons, Changes: d.Changes,
			Obligations: profile(d.Obligations), Remedies: d.Remedies, PolicySet: d.PolicySet, Catalog: d.Catalog,
		}}
		all[i] = a
		if notUnderstood(d) {
			a.Refuse(d.Code, d.Detail)
			continue
		}
		a.ID = "e" + strconv.FormatInt(first, 10)
		first++
		if approved && !d.Allowed() {
			// Whether the approval holds, the control plane knows.
			a.Reason, a.NextAction = authz.ApprovalPending, client.NextRetry
		}
	}
	return all, nil
}

func notUnderstood(d *authz.Decision) bool {
	return d.Code == authz.CodeInvalid || d.Code == authz.CodeTypeUnknown
}

// oneLine returns JSON without line breaks, which between its tokens are nothing and within are escaped.
func oneLine(b []byte) []byte {
	if bytes.IndexByte(b, '\n') < 0 {
		return b
	}
	return bytes.ReplaceAll(b, []byte{'\n'}, []byte{' '})
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

// profile returns obligations as the AuthZEN obligations profile writes them, which is how enforcement points know them: of a
// type that it registers, or "custom", and then with the type of the catalog as the property "obligation".
func profile(list []authz.Obligation) []authz.Obligation {
	if len(list) == 0 {
		return nil
	}
	out := make([]authz.Obligation, len(list))
	for i, o := range list {
		if len(o.Properties) == 0 {
			o.Properties = json.RawMessage(`{}`)
		}
		if typ := o.ProfileType(); typ != o.Type {
			o.Properties, o.Type = named(o.Properties, o.Type), typ
		}
		out[i] = o
	}
	return out
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

// Outcome reports what came of a decision: of one that was made here, by its id, through the journal; of one that
// the control plane made, to the control plane. authz.ErrInvalid: there is no such decision, or nothing that can be said so.
// Whether the rest is as it should be, the control plane finds when it is sent; what it refuses is logged.
func (p *Point) Outcome(ctx context.Context, id string, o client.Outcome) error {
	number, ok := strings.CutPrefix(id, "e")
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
	return j.outcome(n, body)
}
