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
	rarer := x.P <= r.Alpha/4
	tainted := x.Untrusted > 0 && ev.Class >= conduct.Egress
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

// Drift. If acts are as usual as they were, the p-value is even between 0 and 1, its negative logarithm has the mean 1
// and the deviation 1 whatever the scores are, and the sum of what exceeds 1 and the slack seldom grows.
const (
	driftSlack   = 0.5
	driftLeast   = 1.0 / 256 // p-values below it count as it: one act alone is no drift
	driftSession = 4.0       // what one session adds at most
)

// judgeDrift finds that over several sessions acts have become rarer.
func (s *State) judgeDrift(r *catalog.DeviationRules, ev *conduct.Event, now *session, x *Features, emit func(conduct.Draft)) {
	if !s.grown(r) {
		return
	}
	z := ln(max(x.P, driftLeast)) - 1
	if up := z - driftSlack; up > 0 {
		if up = min(up, driftSession-float64(now.drift)); up <= 0 {
			return
		}
		now.drift += float32(up)
		z = up + driftSlack
		if up >= 1 {
			copy(s.odd[:], s.odd[1:])
			s.odd[len(s.odd)-1] = ev.Seq
		}
	}
	if s.drift.Add(z, driftSlack) < r.Drift {
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
	s.odd = [3]int64{}
	emit(d)
}
