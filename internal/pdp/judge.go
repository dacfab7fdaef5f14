package pdp

import (
	"errors"
	"fmt"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// JudgeInto judges rec.Request as Judge does, into rec, and appends the body of the entry that records it to b. What rec held
// besides is gone; nothing of rec is kept, so that it can be used again. It returns authz.ErrInvalid, and appends
// nothing, if the request does not fit the schema; rec.Decision then says why. With authz.ErrUnavailable nothing
// can be decided, and rec.Decision refuses.
func (p *PDP) JudgeInto(b []byte, rec *Record, at time.Time) ([]byte, error) {
	set, err := p.ready()
	rec.Listing, rec.Edge, rec.Request.Approval, rec.Facts = false, nil, nil, authz.Facts{}
	rec.Decision = authz.Decision{At: at.UTC().Truncate(time.Microsecond)}
	if err == nil {
		err = p.answerBy(set, rec)
	} else {
		rec.Decision.Refuse(authz.CodeUnavailable, "No decision can be made at present. Try again later.")
	}
	if err != nil {
		return b, err
	}
	return rec.append(b, &p.texts), nil
}

// Judge answers requests as of a moment, by what is known now and by the schedules of that moment, and
// records nothing. The drafts record what was decided, one for each request; one that does not fit the
// schema is refused. It returns authz.ErrUnavailable, and no decisions, if nothing can be decided.
//
// Nobody may act upon a decision before its draft is recorded. No approval lifts anything here: its use
// would have to be drawn.
func (p *PDP) Judge(reqs []authz.Request, at time.Time) ([]authz.Decision, []audit.Draft, error) {
	set, err := p.ready()
	if err != nil {
		return nil, nil, err
	}
	decisions := make([]authz.Decision, 0, len(reqs))
	drafts := make([]audit.Draft, 0, len(reqs))
	for _, req := range reqs {
		req.Approval = nil
		rec := Record{Request: req, Decision: authz.Decision{At: at.UTC().Truncate(time.Microsecond)}}
		if err := p.answerBy(set, &rec); err != nil && !errors.Is(err, authz.ErrInvalid) {
			return nil, nil, fmt.Errorf("judging %s: %w", req.Action.Name, err)
		}
		decisions, drafts = append(decisions, rec.Decision), append(drafts, rec.draft(&p.texts))
	}
	return decisions, drafts, nil
}
