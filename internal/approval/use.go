package approval

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/token"
)

// maxUsesNamed is how many of its uses an approval names.
const maxUsesNamed = 16

// left is how many more uses the approval is good for, -1 if there is no bound.
func (g *Grant) left() int64 {
	n := g.Scope.limit()
	if n < 0 {
		return -1
	}
	return max(n-g.Used, 0)
}

// holds reports whether the approval can be used at a moment.
func (g *Grant) holds(at time.Time) bool {
	return g.Revoked.IsZero() && at.Before(g.Until) && g.left() != 0
}

// Holds returns the approval that req refers to, if it holds for the act as of a moment; else nil and
// why not: authz.ApprovalExpired, ApprovalOutOfScope or ApprovalUnverifiable. data and labels are those of
// the resource. It touches memory only.
//
// The reference alone is worth nothing: an approval holds for whom it was asked, whichever enforcement
// point asks then, and for nobody else.
func (d *Desk) Holds(req *authz.Request, data authz.DataClass, labels []string, at time.Time) (*authz.Approval, string) {
	if req.Approval == nil {
		return nil, authz.ApprovalUnverifiable
	}
	d.mu.RLock()
	p, ok := d.grants[req.Approval.ID]
	r := d.records[p.ask]
	d.mu.RUnlock()
	if !ok || r == nil || r.unread || r.ask.Kind != Access || r.ask.Bound.Subject.Ref != req.Subject.Ref {
		return nil, authz.ApprovalUnverifiable
	}
	it := &r.ask.Items[p.item]
	g := it.Approval
	if !r.covers(p.item, &g.Scope, req, data, labels) {
		return nil, authz.ApprovalOutOfScope
	}
	if !g.holds(at) {
		return nil, authz.ApprovalExpired
	}
	a := &authz.Approval{ID: g.ID, Ask: r.ask.ID, Until: g.Until, Single: g.left() == 1}
	a.Routes = slices.Compact(slices.Sorted(slices.Values(it.Routes)))
	for i := range r.ask.Answers {
		if w := &r.ask.Answers[i]; w.Yes && w.about(p.item) && (w.Void.IsZero() || g.At.Before(w.Void)) {
			a.By = append(a.By, w.By)
		}
	}
	slices.Sort(a.By)
	return a, ""
}

// Use draws one use of an approval for the act, and returns the number of the entry. The first that draws
// the last use wins in the whole installation; the others get authz.ErrConflict.
func (d *Desk) Use(ctx context.Context, a *authz.Approval, req *authz.Request) (int64, error) {
	r := d.record(a.Ask)
	if r == nil {
		return 0, authz.Errorf(authz.ErrConflict, "approval %.64q is over", a.ID)
	}
	b := &r.ask.Bound
	act, err := token.BindingHash(req.Subject, req.Action, req.Resource, req.Context, b.Members)
	if err != nil {
		return 0, err
	}
	actor := "pep:" + req.Observed.PEP
	if id := req.Agent(); id != "" {
		actor = "agent:" + string(id)
	}
	body := &usedBody{
		Ask: a.Ask, Approval: a.ID, Act: act, Agent: req.Agent(), Session: req.Observed.Session,
		PEP: req.Observed.PEP, RequestID: req.Observed.RequestID,
	}
	dr, err := draft(audit.ApprovalUsed, actor, body)
	if err != nil {
		return 0, err
	}
	try := audit.Entry{Seq: math.MaxInt64, At: d.cfg.Now().UTC(), Kind: dr.Kind, Actor: actor, Body: dr.Body}
	if err := d.used(ctx, r.ask.clone(), try, body); err != nil {
		return 0, err
	}
	seq, err := d.cfg.Log.Commit(ctx, dr)
	if err != nil {
		return 0, fmt.Errorf("recording %s: %w", dr.Kind, err)
	}
	return seq, nil
}

// used is the step of an approval.used entry. Whether the approval covers the act has been judged by who
// recorded it; that it holds, and how often, is judged here.
func (d *Desk) used(_ context.Context, a *Ask, e audit.Entry, b *usedBody) error {
	for i := range a.Items {
		g := a.Items[i].Approval
		if g == nil || g.ID != b.Approval {
			continue
		}
		if !g.holds(e.At) {
			return authz.Errorf(authz.ErrConflict, "approval %s is used up, revoked or over", g.ID)
		}
		g.Used++
		g.Uses = append(g.Uses, e.Seq)
		if n := len(g.Uses); n > maxUsesNamed {
			g.Uses = g.Uses[n-maxUsesNamed:]
		}
		return nil
	}
	return authz.Errorf(authz.ErrNotFound, "ask %s has no approval %.64q", a.ID, b.Approval)
}
