package approval

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// Fresh is how long before an answer the person must have viewed the ask, at most.
const Fresh = 10 * time.Minute

// Bounds of what is remembered of views.
const (
	maxViews       = 256
	maxPersonViews = 4
)

// A View is that somebody looked at an ask.
type View struct {
	Seq int64
	At  time.Time
}

// View records that the person looks at the ask. authz.ErrForbidden: the person has no part in it;
// authz.ErrConflict: it has ended, and there is no answer to prepare for.
func (d *Desk) View(ctx context.Context, p Person, id string) (View, error) {
	if err := checkName("the person", p.ID); err != nil {
		return View{}, err
	}
	a, err := d.Get(ctx, id)
	if err != nil {
		return View{}, err
	}
	s, err := d.Standing(ctx, a, p)
	if err != nil {
		return View{}, err
	}
	if a.Status != Pending && !s.Review {
		return View{}, authz.Errorf(authz.ErrConflict, "ask %s has ended: it is %s", id, a.Status)
	}
	if !s.any() && !a.took(p.ID) {
		return View{}, authz.Errorf(authz.ErrForbidden, "ask %s is not this person's to judge: %s", id, s.Why)
	}
	actor := personActor + p.ID
	a, seq, err := commit(ctx, d, audit.ApprovalViewed, actor, id, &viewedBody{id}, d.viewed)
	if err != nil {
		return View{}, err
	}
	for _, v := range a.Views {
		if v.Seq == seq {
			return View{seq, v.At}, nil
		}
	}
	return View{}, authz.Errorf(authz.ErrConflict, "too many look at ask %s at once", id)
}

// viewed is the step of an approval.viewed entry.
func (d *Desk) viewed(_ context.Context, a *Ask, e audit.Entry, _ *viewedBody) error {
	if id, ok := strings.CutPrefix(e.Actor, personActor); !ok || checkName("the person", id) != nil {
		return authz.Errorf(authz.ErrInvalid, "%.64q is no person", e.Actor)
	}
	own := 0
	for i := len(a.Views) - 1; i >= 0; i-- {
		if a.Views[i].By == e.Actor {
			if own++; own >= maxPersonViews {
				a.Views = slices.Delete(a.Views, i, i+1)
			}
		}
	}
	if len(a.Views) >= maxViews {
		a.Views = slices.Delete(a.Views, 0, 1)
	}
	a.Views = append(a.Views, Viewed{e.Actor, e.Seq, e.At})
	return nil
}
