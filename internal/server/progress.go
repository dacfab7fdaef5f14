package server

import (
	"context"
	"time"
)

// replayed is how far back a process that starts reads the log again, at least. What lives shorter
// than that (a passport, a used assertion) needs no table: it is known again from the log.
const replayed = 6 * time.Minute

// pace is how often progress is written down.
const pace = 10 * time.Second

// A trail remembers what was applied when, as far back as replayed.
type trail struct{ marks []trailMark }

type trailMark struct {
	seq int64
	at  time.Time
}

// note remembers that everything up to seq is applied at that time.
func (t *trail) note(seq int64, at time.Time) { t.marks = append(t.marks, trailMark{seq, at}) }

// settled returns the newest number that was applied at least so long before, 0 if there is none,
// and forgets what is older.
func (t *trail) settled(now time.Time) int64 {
	keep := 0
	for i, m := range t.marks {
		if now.Sub(m.at) < replayed {
			break
		}
		keep = i
	}
	t.marks = t.marks[keep:]
	if len(t.marks) == 0 || now.Sub(t.marks[0].at) < replayed {
		return 0
	}
	return t.marks[0].seq
}

// remember writes down from time to time how far the log was applied a while ago.
func (s *Server) remember(ctx context.Context) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	var t trail
	last := int64(0)
	for {
		now := time.Now()
		t.note(min(s.follow.Seq(), s.ledger.Kept()), now)
		if seq := t.settled(now); seq > last {
			if err := s.db.PutApplied(ctx, seq); err == nil {
				last = seq
			} else if ctx.Err() == nil {
				s.logger.WarnContext(ctx, "progress of the log not remembered", "err", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
