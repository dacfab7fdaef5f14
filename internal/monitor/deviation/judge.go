package deviation

import (
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// judgeAct finds an act whose score is rarer than alpha.
//
// What is found is low at first: a surprise. It is medium if it is an act that changes something and is rarer still, or
// one that leaves the organisation or moves money with arguments from untrusted sources. Only the latter, rarer still and surprising
// as a sequence too, is high.
func (s *State) judgeAct(p *purpose, r *catalog.DeviationRules, ev *conduct.Event, now *session, x *Features, emit func(conduct.Draft)) {
	if x.P > r.Alpha {
		return
	}
	rarer := x.P <= r.Alpha/8
	tainted := x.Untrusted > 0 && ev.Class >= conduct.Egress && x.P <= r.Alpha/4
	severity := conduct.Low
	switch {
	case tainted && rarer && x.odd():
		severity = conduct.High
	case tainted, rarer && ev.Class >= conduct.Write:
		severity = conduct.Medium
	}
	d := conduct.Draft{Kind: Sequence, Severity: severity, Class: ev.Class}
	if x.Novelty > x.Sequence {
		d.Kind, d.Sentence = FirstSeen, firstSentence(ev, x)
	} else {
		d.Sentence = s.sequenceSentence(p, ev, now, x)
	}
	if now.prevSeq != 0 {
		d.Evidence = append(d.Evidence, now.prevSeq)
	}
	d.Evidence = append(d.Evidence, ev.Seq)
	emit(d)
}

// Drift. A session is as rare as the rarest of its acts, times how many acts the agent's sessions have (Bonferroni). As long as
// acts are as usual as they were, that is about even between 0 and 1, whatever the scores are: its negative
// logarithm has the mean 1 and the deviation 1, and the sum of what exceeds 1 and the slack seldom grows.
const (
	driftSlack   = 0.5
	driftSession = 3.5 // what one session adds at most: one session is no drift
	driftDoubt   = 2.5 // from this on a session is odd
	doubtful     = 4   // and one in so many of those teaches
)

// judgeDrift finds that over several sessions acts have become rarer. A session takes its share off the sum when it
// begins, and adds to it when one of its acts is rarer than those before.
func (s *State) judgeDrift(r *catalog.DeviationRules, ev *conduct.Event, now *session, x *Features, emit func(conduct.Draft)) {
	if !s.grown(r) {
		return
	}
	if !now.flags.has(counted) {
		now.flags |= counted
		s.drift.Add(-1, driftSlack)
	}
	length := max(1, min(sessionMost, float64(s.learned)/float64(s.began)))
	rare := min(driftSession, ln(min(1, float64(x.P*length))))
	up := rare - float64(now.drift)
	if up <= 0 {
		return
	}
	now.drift = float32(rare)
	if rare >= 1 {
		copy(s.odd[:], s.odd[1:])
		s.odd[len(s.odd)-1] = ev.Seq
	}
	if s.drift.Add(up, 0) < r.Drift {
		return
	}
	s.drift.Reset()
	d := conduct.Draft{Kind: Drift, Severity: conduct.Medium, Class: conduct.Every, Sentence: driftSentence(x)}
	for _, seq := range s.odd {
		if seq != 0 && seq != ev.Seq {
			d.Evidence = append(d.Evidence, seq)
		}
	}
	d.Evidence = append(d.Evidence, ev.Seq)
	s.odd = [2]int64{}
	emit(d)
}
