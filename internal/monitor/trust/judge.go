package trust

import (
	"time"
	"unique"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// Judge takes in what a person said of a finding that was taken in before, in place of the verdict before.
//
// A finding that is dismissed gives its weight back, exactly, as long as it is listed (see maxCauses); and if by it and by nothing
// else the agent fell, the level returns without probation. One that is confirmed weighs twice, from now on and
// whatever its session had added, and fades from now.
func (s *State) Judge(r *catalog.TrustRules, f *conduct.Finding, class conduct.Class, before, now conduct.Verdict, seq int64, at time.Time) {
	if before == now {
		return
	}
	s.by(r)
	m, then := minute(at), minute(f.At)
	if !f.LastAt.IsZero() {
		then = minute(f.LastAt)
	}
	class = min(class, conduct.Every)
	sev := min(f.Severity, conduct.Critical)
	j := judgement{r: r, key: keyOf(f, seq), what: string(f.Kind), class: class, session: sessionOf(f.Session), weight: r.Severity[sev], m: m, then: then}
	if now != conduct.Dismissed { // by what is dismissed nothing has faded either
		s.settleAll(&j)
	}
	switch now {
	case conduct.Dismissed:
		s.dismiss(&j)
		if s.taken && sev == conduct.Critical {
			s.release()
		}
	case conduct.Confirmed:
		q := s.find(j.key)
		if q == nil {
			q = s.relist(&j)
		}
		q.weight, q.minute = grains(2*j.weight), m
		least := None
		if before == conduct.Dismissed { // which gave back what it had taken
			least = leastFall[sev]
		}
		s.strike(r, q, least, true, sev == conduct.Critical, m)
	default:
		switch q := s.find(j.key); {
		case before == conduct.Dismissed && q == nil:
			q = s.relist(&j)
			q.weight, q.minute = grains(j.weight), then
			s.strike(r, q, leastFall[sev], true, sev == conduct.Critical, m)
		case before == conduct.Confirmed && q != nil:
			q.weight, q.minute = grains(j.weight), then
		}
	}
	s.until = 0
	for c := range s.class {
		s.class[c].scoredAt = 0
	}
}

func (s *State) settleAll(j *judgement) {
	for c := range conduct.Class(conduct.Classes) {
		if j.in(c) {
			s.settle(j.r, c, j.m)
		}
	}
}

// A judgement is what Judge knows of a finding.
type judgement struct {
	r       *catalog.TrustRules
	key     uint64
	what    string
	class   conduct.Class
	session uint8
	weight  float64
	m, then uint32
}

func (j *judgement) in(c conduct.Class) bool { return j.class == c || j.class == conduct.Every }

func (s *State) relist(j *judgement) *cause {
	return s.list(j.r, cause{key: j.key, what: unique.Make(j.what), session: j.session, where: uint8(j.class), minute: j.then}, j.m)
}

// dismiss takes a finding's weight back, and levels with it.
func (s *State) dismiss(j *judgement) {
	for i := range s.listed {
		q := s.causes[i]
		if q.key != j.key {
			continue
		}
		s.unlist(int(i))
		s.until = 0
		s.settleAll(j)
		for c := range conduct.Class(conduct.Classes) {
			if q.in(c) && q.felled(c) {
				s.giveBack(j.r, c, j.m)
			}
		}
		return
	}
}

// giveBack undoes one fall. When it was the only one, the agent is again where it was, as far as its score holds that.
func (s *State) giveBack(r *catalog.TrustRules, c conduct.Class, m uint32) {
	l := s.ladder[c]
	n := l.falls() - 1
	if n > 0 {
		if l.falls() < 15 { // who fell more often than is counted gets nothing back
			s.ladder[c] = step(l.level(), l.was(), n)
		}
		return
	}
	if !l.lowered() {
		return
	}
	back := max(held(r, l.was(), s.score(r, c, m)), l.level())
	s.ladder[c] = step(back, back, 0)
	s.class[c].since = m
	s.again(c)
}

// release ends a quarantine if there is no class any more in which the agent is trusted with nothing.
func (s *State) release() {
	for _, l := range s.ladder {
		if l.level() == None {
			return
		}
	}
	s.taken = false
}
