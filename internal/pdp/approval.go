package pdp

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/policy"
)

// consult sets what persons say of the act, and how much they were asked. Class and labels of the
// resource are known by then.
func (p *PDP) consult(req *authz.Request, f *authz.Facts) {
	switch {
	case req.Approval == nil:
	case p.Approvals == nil:
		f.Unapproved = authz.ApprovalUnverifiable
	default:
		if f.Approval, f.Unapproved = p.Approvals.Holds(req, f.Class, f.Labels, f.At); f.Approval != nil {
			f.Unapproved = ""
		} else if f.Unapproved == "" {
			f.Unapproved = authz.ApprovalUnverifiable
		}
	}
	if f.Agent != nil && p.Approvals != nil {
		f.Asks = p.Approvals.Asks(f.Agent.ID, req.Observed.Session, f.At)
	}
}

// draw draws a use of the approval on which rec's decision stands. The log says who was first; if that
// was somebody else, or nothing can be said, it judges again as if there were no approval.
func (p *PDP) draw(ctx context.Context, set *policy.Set, rec *Record) {
	seq, err := p.Approvals.Use(ctx, rec.Facts.Approval, &rec.Request)
	if err == nil {
		drawn := *rec.Facts.Approval
		drawn.Use = seq
		rec.Facts.Approval = &drawn
		rec.tell()
		return
	}
	rec.Facts.Approval = nil
	switch {
	case errors.Is(err, authz.ErrConflict):
		rec.Facts.Unapproved = authz.ApprovalExpired
	case errors.Is(err, authz.ErrNotFound):
		rec.Facts.Unapproved = authz.ApprovalUnverifiable
	case errors.Is(err, authz.ErrForbidden), errors.Is(err, authz.ErrInvalid):
		rec.Facts.Unapproved = authz.ApprovalOutOfScope
	default: // it may be drawn yet
		rec.Facts.Unapproved = authz.ApprovalPending
	}
	rec.decide(set)
	if rec.Decision.Detail == "" && !rec.Decision.Allowed() {
		rec.Decision.Detail = "drawing a use of the approval: " + err.Error()
	}
}

// tell says in the decision what became of the approval that the request refers to. It follows from what
// is recorded.
func (rec *Record) tell() {
	d := &rec.Decision
	d.Approval, d.Unapproved = nil, ""
	switch {
	case d.Allowed() && d.Lifted:
		d.Approval = rec.Facts.Approval
	case d.Allowed() || rec.Request.Approval == nil:
	case rec.Facts.Approval == nil:
		d.Unapproved = cmp.Or(rec.Facts.Unapproved, authz.ApprovalUnverifiable)
	case d.Effect == authz.StepUp:
		d.Unapproved = authz.ApprovalPending
	case d.Effect == authz.RequireApproval && len(d.Routes) > 0: // by other routes than were gone
		d.Unapproved = authz.ApprovalOutOfScope
	default:
		d.Unapproved = authz.ApprovalPolicyDenied
	}
}

// authentication returns how the bearer authenticated, if that is known: by the token that was presented,
// or to ourselves at this moment.
func authentication(o *authz.Observed, at time.Time) (a authz.Authentication, known bool) {
	switch {
	case o.Passport != nil:
		a = o.Passport.Auth
		a.Method, a.Bound = cmp.Or(a.Method, o.Method), cmp.Or(a.Bound, o.Passport.Bound)
	case o.Method != "":
		a.Method, a.At = o.Method, at
	default:
		return a, false
	}
	return a, true
}

// assured returns the levels of assurance that the bearer reaches, sorted. Of a token that was exchanged only
// the level that its acr tells counts: what the client did that exchanged it says nothing of who stood before
// it, and the two together would reach what neither did.
func assured(cat *catalog.Catalog, o *authz.Observed, at time.Time) []string {
	auth, known := authentication(o, at)
	if !known {
		return nil
	}
	ids := cat.Assured(&auth, at)
	if o.Passport == nil || o.Passport.Depth == 0 {
		return ids
	}
	ids = slices.DeleteFunc(ids, func(id string) bool {
		l, ok := cat.Assurance(id)
		return !ok || l.ACR == "" || l.ACR != auth.ACR
	})
	if len(ids) == 0 {
		return nil
	}
	return ids
}
