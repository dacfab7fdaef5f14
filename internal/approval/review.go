package approval

import (
	"context"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// Review says afterwards whether breaking the glass was justified. Not by who broke it. If it was not, what
// is left of the approvals is taken back.
func (d *Desk) Review(ctx context.Context, p Person, id string, justified bool, comment string) (*Ask, error) {
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
	b := &reviewedBody{Ask: id, Justified: justified, Comment: comment, Claims: j.known(p.Claims), Names: a.namesOf(&p)}
	a, _, err = commit(ctx, d, audit.ApprovalReview, personActor+p.ID, id, b, d.reviewed)
	return a, err
}

// reviewed is the step of an approval.reviewed entry.
func (d *Desk) reviewed(ctx context.Context, a *Ask, e audit.Entry, b *reviewedBody) error {
	id, ok := strings.CutPrefix(e.Actor, personActor)
	if !ok {
		return authz.Errorf(authz.ErrInvalid, "%.64q is no person", e.Actor)
	}
	if err := checkReason("why it was justified, or not", b.Comment); err != nil {
		return err
	}
	j, err := d.judge(ctx, a, e.Seq, e.At, id)
	if err != nil {
		return err
	}
	switch {
	case a.Broken == nil:
		return authz.Errorf(authz.ErrConflict, "no glass was broken for ask %s", a.ID)
	case a.Broken.Verdict != "":
		return authz.Errorf(authz.ErrConflict, "%s has reviewed it already", a.Broken.Reviewer)
	case !j.reviews(&Person{ID: id, Claims: b.Claims, Names: b.Names}):
		return authz.Errorf(authz.ErrForbidden, "%s may not review this", e.Actor)
	}
	a.Broken.Reviewer, a.Broken.Comment, a.Broken.Verdict = e.Actor, b.Comment, "justified"
	if !b.Justified {
		a.Broken.Verdict = "unjustified"
		a.revoke(e.At, "breaking the glass was not justified")
	}
	return nil
}

// review is how long a review of a broken glass may take.
func (j *judge) review(items []int) time.Duration {
	wait := 24 * time.Hour
	for _, i := range items {
		for _, r := range j.routes(j.ask.Items[i].Routes) {
			if r.Review > 0 && r.Review < wait {
				wait = r.Review
			}
		}
	}
	return wait
}
