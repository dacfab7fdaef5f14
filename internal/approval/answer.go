package approval

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// A Reply is an answer as it is given.
type Reply struct {
	Yes      bool
	Items    []int // indexes; none: all that wait
	Scope    Scope
	Comment  string
	View     int64
	Evidence json.RawMessage // verified by the caller over Digest
}

// Answer records a person's answer. authz.ErrForbidden: who may not answer; authz.ErrConflict: it has
// ended; authz.ErrInvalid: the scope is beyond what is permitted, or something else is.
func (d *Desk) Answer(ctx context.Context, p Person, id string, r Reply) (*Ask, error) {
	return d.answer(ctx, p, id, r, false)
}

// BreakGlass approves alone and at once: one use of the very act, for a reason.
func (d *Desk) BreakGlass(ctx context.Context, p Person, id, reason string, r Reply) (*Ask, error) {
	r.Yes, r.Comment = true, reason
	return d.answer(ctx, p, id, r, true)
}

func (d *Desk) answer(ctx context.Context, p Person, id string, r Reply, broke bool) (*Ask, error) {
	if err := checkName("the person", p.ID); err != nil {
		return nil, err
	}
	a, err := d.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	j, err := d.judge(ctx, a, 0, d.cfg.Now(), "")
	if err != nil {
		return nil, err
	}
	b := r.body(a)
	b.Broke, b.Claims, b.Names = broke, j.known(p.Claims), a.namesOf(&p)
	a, _, err = commit(ctx, d, audit.ApprovalAnswer, personActor+p.ID, id, b, d.answered)
	return a, err
}

// AnswerAs records the answer of an external evaluator.
func (d *Desk) AnswerAs(ctx context.Context, evaluator, id string, r Reply) (*Ask, error) {
	if err := checkName("the evaluator", evaluator); err != nil {
		return nil, err
	}
	a, err := d.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	a, _, err = commit(ctx, d, audit.ApprovalAnswer, evaluatorActor+evaluator, id, r.body(a), d.answered)
	return a, err
}

// body returns the entry's body. The ids of approvals are drawn here, because Apply knows no chance.
func (r *Reply) body(a *Ask) *answeredBody {
	b := &answeredBody{Ask: a.ID, Yes: r.Yes, Items: r.Items, Scope: r.Scope, Comment: r.Comment, View: r.View, Evidence: r.Evidence}
	if !b.Scope.Until.IsZero() {
		b.Scope.Until = b.Scope.Until.UTC()
	}
	if r.Yes {
		for range a.Items {
			b.Approvals = append(b.Approvals, newID("apr_"))
		}
	}
	return b
}

// answered is the step of an approval.answered entry.
func (d *Desk) answered(ctx context.Context, a *Ask, e audit.Entry, b *answeredBody) error {
	if !a.waits(e.Seq, e.At) {
		return authz.Errorf(authz.ErrConflict, "ask %s has ended", a.ID)
	}
	items, err := b.check(a)
	if err != nil {
		return err
	}
	id, person := strings.CutPrefix(e.Actor, personActor)
	j, err := d.judge(ctx, a, e.Seq, e.At, id)
	if err != nil {
		return err
	}
	w := Answer{By: e.Actor, Yes: b.Yes, Items: b.Items, Scope: b.Scope, Comment: b.Comment, At: e.At, Seq: e.Seq, Evidence: b.Evidence, Broke: b.Broke}
	if person {
		p := &Person{ID: id, Claims: b.Claims, Names: b.Names}
		if err := j.view(&w, b.View); err != nil {
			return err
		}
		if items, err = j.seated(&w, p, items); err != nil {
			return err
		}
	} else if items, err = j.evaluated(&w, items); err != nil {
		return err
	}
	if w.Yes {
		if err := j.scoped(&w, items); err != nil {
			return err
		}
	}
	if len(w.Items) == 0 && len(items) < len(a.Items) {
		w.Items = items
	}
	a.Answers = append(a.Answers, w)
	for _, i := range items {
		switch {
		case !w.Yes:
			a.Items[i].Status = Denied
			a.Why = w.Comment
		case w.Broke || j.complete(i):
			a.Items[i].Status = Approved
			a.Items[i].Approval = j.grant(i, b.Approvals[i], &w)
		}
	}
	if w.Broke {
		a.Broken = &Broken{By: w.By, Reason: w.Comment, At: e.At, Due: e.At.Add(j.review(items))}
	}
	a.aggregate()
	return nil
}

// check returns the indexes of the items that are answered, or what is wrong with the body.
func (b *answeredBody) check(a *Ask) (items []int, err error) {
	if err := checkText("the comment", b.Comment); err != nil {
		return nil, err
	}
	if err := checkEvidence(b.Evidence); err != nil {
		return nil, err
	}
	for n, i := range b.Items {
		switch {
		case i < 0 || i >= len(a.Items) || n > 0 && b.Items[n-1] >= i:
			return nil, authz.Errorf(authz.ErrInvalid, "the acts answered are named by growing indexes below %d", len(a.Items))
		case a.Items[i].Status != Pending:
			return nil, authz.Errorf(authz.ErrConflict, "act %d has ended", i)
		}
	}
	if items = b.Items; len(items) == 0 {
		for i := range a.Items {
			if a.Items[i].Status == Pending {
				items = append(items, i)
			}
		}
	}
	if !b.Yes {
		if b.Broke || b.Scope.beyond() || !b.Scope.Until.IsZero() || len(b.Approvals) > 0 {
			return nil, authz.Errorf(authz.ErrInvalid, "a refusal has no scope")
		}
		return items, nil
	}
	if b.Broke {
		if b.Scope.beyond() || !b.Scope.Until.IsZero() {
			return nil, authz.Errorf(authz.ErrInvalid, "whoever breaks the glass approves one use of the very act")
		}
		if err := checkReason("why the glass is broken", b.Comment); err != nil {
			return nil, err
		}
	}
	if len(b.Approvals) != len(a.Items) || slices.ContainsFunc(b.Approvals, func(id string) bool { return !isID("apr_", id) }) {
		return nil, authz.Errorf(authz.ErrInvalid, "a yes names an approval for each act")
	}
	return items, nil
}

// view checks that the person has seen what it answers, and says how long it read.
func (j *judge) view(w *Answer, seq int64) error {
	for _, v := range j.ask.Views {
		if v.Seq != seq || v.By != w.By {
			continue
		}
		if j.at.Sub(v.At) > Fresh {
			return authz.Errorf(authz.ErrForbidden, "look at the ask again: it was last seen more than %d minutes ago", Fresh/time.Minute)
		}
		w.View, w.Read = seq, j.at.Sub(v.At).Milliseconds()
		return nil
	}
	return authz.Errorf(authz.ErrForbidden, "a person answers what it has looked at, and names the view")
}

// seated checks that the person may answer, and returns the items for which its answer counts.
func (j *judge) seated(w *Answer, p *Person, items []int) ([]int, error) {
	if w.Broke {
		ids := j.ask.allRoutes(waiting)
		if !j.breaks(p, ids) {
			return nil, authz.Errorf(authz.ErrForbidden, "%s may not break the glass here", w.By)
		}
		w.Routes = ids
		return items, j.keyed(w, ids)
	}
	s := j.seat(p, j.ask.allRoutes(waiting))
	ids := s.no
	if w.Yes {
		ids = s.yes
	}
	if len(ids) == 0 && !(j.ask.Kind == CIBA && p.ID == j.ask.Person) {
		return nil, authz.Errorf(authz.ErrForbidden, "%s may not answer: %s", w.By, s.why)
	}
	w.For, w.Routes, w.Close = s.as, ids, s.close
	var counts []int
	again := false
	for _, i := range items {
		switch it := &j.ask.Items[i]; {
		case w.Yes && j.ask.said(i, p.ID, s.as):
			again = true
		case j.ask.Kind == CIBA || slices.ContainsFunc(it.Routes, func(id string) bool { return slices.Contains(ids, id) }):
			counts = append(counts, i)
		}
	}
	switch {
	case len(counts) == 0 && again:
		return nil, authz.Errorf(authz.ErrConflict, "%s, or whom it stands in for, has said yes already", w.By)
	case len(counts) < len(items) && len(w.Items) > 0:
		return nil, authz.Errorf(authz.ErrForbidden, "%s may not answer about all of these acts, or has done so", w.By)
	}
	for _, r := range j.routes(ids) {
		w.Fast = w.Fast || time.Duration(w.Read)*time.Millisecond < r.Reading
	}
	if !w.Yes {
		return counts, nil
	}
	return counts, j.keyed(w, ids)
}

// keyed checks that there is a passkey assertion if the ask or a route demands one. Whoever recorded the answer has
// verified it.
func (j *judge) keyed(w *Answer, ids []string) error {
	if j.ask.Passkey && len(w.Evidence) == 0 {
		return authz.Errorf(authz.ErrForbidden, "a yes to this needs a passkey")
	}
	for _, r := range j.routes(ids) {
		if r.Passkey && len(w.Evidence) == 0 {
			return authz.Errorf(authz.ErrForbidden, "a yes by the route %s needs a passkey", r.ID)
		}
	}
	return nil
}

// evaluated checks that an external evaluator may answer, and returns the items for which its answer counts.
// It has no passkey, and so its yes counts for no route that demands one.
func (j *judge) evaluated(w *Answer, items []int) (counts []int, err error) {
	id, ok := strings.CutPrefix(w.By, evaluatorActor)
	if !ok {
		return nil, authz.Errorf(authz.ErrInvalid, "%.64q neither is a person nor evaluates", w.By)
	}
	if j.ask.Kind == Access {
		for _, r := range j.routes(j.ask.allRoutes(waiting)) {
			if r.Evaluator == id && !(w.Yes && r.Passkey) {
				w.Routes = append(w.Routes, r.ID)
			}
		}
	}
	for _, i := range items {
		mine := func(id string) bool { return slices.Contains(w.Routes, id) }
		again := slices.ContainsFunc(j.ask.Answers, func(o Answer) bool { return o.By == w.By && o.about(i) })
		if slices.ContainsFunc(j.ask.Items[i].Routes, mine) && !again {
			counts = append(counts, i)
		}
	}
	if len(counts) == 0 || len(w.Items) > 0 && len(counts) < len(items) {
		return nil, authz.Errorf(authz.ErrForbidden, "%.64q may not answer this, or has done so", w.By)
	}
	return counts, nil
}

// scoped checks that the scope of a yes is permitted for all items it is about.
func (j *judge) scoped(w *Answer, items []int) error {
	if j.ask.Kind == CIBA {
		if w.Scope.beyond() || !w.Scope.Until.IsZero() {
			return authz.Errorf(authz.ErrInvalid, "a token is authorized once, and as it was asked for")
		}
		return nil
	}
	for _, i := range items {
		it := &j.ask.Items[i]
		if err := w.Scope.permit(j.routes(it.Routes), []*Item{it}, j.at); err != nil {
			return err
		}
	}
	return nil
}

// grant returns the approval of an item: as far as everybody who said yes went, and the routes permit.
func (j *judge) grant(item int, id string, last *Answer) *Grant {
	g := &Grant{ID: id, At: j.at, Scope: last.Scope}
	if last.Broke {
		g.Scope = Scope{}
	} else {
		for i := range j.ask.Answers {
			if w := &j.ask.Answers[i]; w.counts() && w.about(item) {
				g.Scope = narrow(g.Scope, w.Scope)
			}
		}
	}
	if j.ask.Kind == CIBA {
		if g.Until = j.ask.ExpiresAt; g.Until.Before(j.at.Add(time.Minute)) {
			g.Until = j.at.Add(time.Minute)
		}
		return g
	}
	g.Until = j.at.Add(lasts(j.routes(j.ask.Items[item].Routes), g.Scope))
	for _, t := range []time.Time{g.Scope.Until, j.ask.RequestedUntil} {
		if !t.IsZero() && t.Before(g.Until) {
			g.Until = t
		}
	}
	return g
}
