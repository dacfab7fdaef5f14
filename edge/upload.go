package edge

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/feed"
)

const (
	// uploadBytes bounds the records of one request; feed.MaxUpload bounds it with all that is around them.
	uploadBytes = feed.MaxUpload / 2
	// gather is how long records are waited for that may go with the first one.
	gather = 20 * time.Millisecond
	// parting is how long sending may go on after the end.
	parting = 5 * time.Second
)

// wakeUpload says that the control plane can be reached.
func (p *Point) wakeUpload() {
	if j := p.journal.Load(); j != nil {
		j.wake()
	}
}

// upload sends the journal until ctx ends, and then what is left.
func (p *Point) upload(ctx context.Context) {
	j := p.journal.Load()
	failures := 0
	for ctx.Err() == nil {
		if failures == 0 {
			select {
			case <-ctx.Done():
			case <-j.more:
			}
		} else {
			pause(ctx, failures, maxPause)
		}
		if failures == 0 && !pauseFor(ctx, gather) {
			break
		}
		err := p.sendUpTo(ctx, j, j.writtenUpTo())
		p.say(ctx, &p.trouble.upload, "decisions not sent to the control plane", err)
		if failures++; err == nil {
			failures = 0
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), parting)
	defer cancel()
	if err := errors.Join(j.writeLater(last), p.sendUpTo(last, j, math.MaxInt64)); err != nil {
		n, _, _, _ := j.state()
		p.cfg.Logger.Warn("decisions stay in the journal until the decision point runs again", "records", n, "err", err)
	}
}

// pauseFor waits, and reports false if ctx ends.
func pauseFor(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// sendUpTo sends what there is up to that record, and what has come meanwhile only if it goes along: what comes while others are
// sent waits for those that may go with it, as the first did. A busy decision point would else never stop sending a few at a time.
func (p *Point) sendUpTo(ctx context.Context, j *journal, last int64) error {
	most := feed.MaxRecords
	for j.sentUpTo() < last {
		b, err := j.unsent(j.sentUpTo(), most, uploadBytes)
		if err != nil || len(b.records) == 0 {
			return err
		}
		ack, err := p.send(ctx, j.nameNow(), &b)
		gap, isGap := errors.AsType[*gapError](err)
		tooLarge, _ := errors.AsType[*statusError](err)
		switch {
		case isGap && gap.next < b.first:
			// The control plane has lost what it acknowledged, or has forgotten a journal of which it did not hear for long.
			p.cfg.Logger.ErrorContext(ctx, "journal is not known to the control plane any more, and begun anew", "journal", j.nameNow(), "record", b.first, "expected", gap.next)
			if err := j.renew(); err != nil {
				return wrap("beginning another journal", err)
			}
			continue
		case tooLarge != nil && tooLarge.status == http.StatusRequestEntityTooLarge && len(b.records) > 1:
			most = len(b.records) / 2
			continue
		case err != nil && !isGap:
			return wrap("sending decisions", err)
		case isGap:
			ack.Last = gap.next - 1
		}
		if ack.Last < b.first {
			return authz.Errorf(authz.ErrUnavailable, "the control plane has acknowledged records up to %d, after it was sent %d", ack.Last, b.first)
		}
		for _, r := range ack.Refused {
			p.cfg.Logger.ErrorContext(ctx, "record not taken by the control plane", "record", r.Number, "why", r.Why)
		}
		j.acknowledge(ack.Last, &b)
	}
	return nil
}

// A gapError says that other records were expected.
type gapError struct{ next int64 }

func (e *gapError) Error() string {
	return "the control plane expects record " + strconv.FormatInt(e.next, 10)
}

func (e *gapError) Unwrap() error { return authz.ErrConflict }

// send sends a batch.
func (p *Point) send(ctx context.Context, name string, b *batch) (ack feed.Acknowledged, err error) {
	size := 128
	for i := range b.records {
		size += 64 + len(b.records[i].body)
	}
	body := append(make([]byte, 0, size), `{"journal":"`...) // whose letters need no escape
	body = append(append(body, name...), `","first":`...)
	body = append(strconv.AppendInt(body, b.first, 10), `,"records":[`...)
	for i := range b.records {
		r := &b.records[i]
		if i > 0 {
			body = append(body, ',')
		}
		if r.kind == 'o' {
			body = strconv.AppendInt(append(body, `{"of":`...), r.of, 10)
			body = append(body, `,"outcome":`...)
		} else {
			body = append(body, `{"decision":`...)
		}
		body = append(append(body, r.body...), '}')
	}
	body = append(body, "]}"...)
	err = p.service.do(ctx, http.MethodPost, "/v1/edge/records", body, &ack)
	if status, ok := errors.AsType[*statusError](err); ok && status.status == http.StatusConflict {
		var gap feed.Gap
		if json.Unmarshal(status.body, &gap) == nil && gap.Error.Next > 0 {
			return ack, &gapError{gap.Error.Next}
		}
	}
	return ack, err
}
