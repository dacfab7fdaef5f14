package trust

import (
	"time"
	"unique"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// Good takes in an allowed act in a class that no monitor objects to. Session is conduct.Hash of the
// session, 0 if unknown. An act is worth a tenth of a session, as long as the session and the day have room. The
// levels of graver classes can move by it, too: see probation.
func (s *State) Good(r *catalog.TrustRules, p *Pool, c conduct.Class, session uint64, at time.Time) {
	if s.taken || c >= conduct.Classes {
		return
	}
	s.by(r)
	m := minute(at)
	s.today(m)
	session = s.known(session)
	w := s.gain(r, c, session, float64(r.Session/tenths))
	s.favour(r, p, c, w, m)
	if w > 0 && !s.ladder[c].lowered() {
		s.rise(r, c, m)
	}
	s.probation(r, c, session, m)
}

// favour adds what speaks for the agent.
func (s *State) favour(r *catalog.TrustRules, p *Pool, c conduct.Class, w float64, m uint32) {
	if !(w > 0) {
		return
	}
	s.settle(r, c, m)
	k := &s.class[c]
	k.good = max(k.good, down(min(float64(k.good)+w, most(r)))) // rules that allow less take nothing away at once
	k.scoredAt = 0
	if !s.ladder[c].lowered() {
		p.add(r, s.owner, c, w, 0, m) // whoever is on probation vouches for nobody
	}
}

// leastFall is how many levels a finding takes at least, by severity, however much speaks for the agent: what
// was earned buys no grave offence.
var leastFall = [...]Level{conduct.Low: 0, conduct.Medium: 0, conduct.High: 1, conduct.Critical: 2}

// Finding takes in a finding, or a repetition that is graver than before (was). It reports whether the agent falls into
// quarantine by it.
func (s *State) Finding(r *catalog.TrustRules, p *Pool, f *conduct.Finding, class conduct.Class, was *conduct.Severity, seq int64, at time.Time) (quarantine bool) {
	s.by(r)
	class, sev, m := min(class, conduct.Every), min(f.Severity, conduct.Critical), minute(at)
	w := s.more(r, f, class, was, seq, m)
	if !(w > 0) {
		return false
	}
	q := s.count(r, p, f, class, w, seq, m)
	return s.strike(r, q, leastFall[sev], sev >= conduct.Medium, sev == conduct.Critical, m)
}

// Told takes in a finding that a monitor drew from an outcome, after Outcome has taken in the outcome itself. It
// rests on what reporters say: so it counts in the class of the outcome only, within what the reporter can
// still move on the day, and by score alone. Otherwise a lie repeated would weigh more than a lie.
func (s *State) Told(r *catalog.TrustRules, p *Pool, f *conduct.Finding, was *conduct.Severity, o *conduct.Outcome, seq int64) {
	class, ok := conduct.ParseClass(o.Class)
	if !ok {
		return
	}
	s.by(r)
	m := minute(o.At)
	s.today(m)
	w := min(s.more(r, f, class, was, seq, m), s.told(r, o, class, false))
	if !(w > 0) {
		return
	}
	s.tell(r, o, class, false, w)
	s.strike(r, s.count(r, p, f, class, w, seq, m), 0, false, false, m)
}

// more returns what a finding, or its graver repetition, adds to what is known of it, within the bound of its session.
func (s *State) more(r *catalog.TrustRules, f *conduct.Finding, class conduct.Class, was *conduct.Severity, seq int64, m uint32) float64 {
	full := r.Severity[min(f.Severity, conduct.Critical)]
	w := full
	if was != nil {
		if q := s.find(keyOf(f, seq)); q != nil {
			w -= float64(float64(q.weight) * grain)
		} else {
			w -= r.Severity[min(*was, conduct.Critical)]
		}
	}
	return min(w, s.room(class, sessionOf(f.Session), full, m))
}

// count adds the weight of a finding to what speaks against the agent.
func (s *State) count(r *catalog.TrustRules, p *Pool, f *conduct.Finding, class conduct.Class, w float64, seq int64, m uint32) *cause {
	for c := range conduct.Class(conduct.Classes) {
		if c == class || class == conduct.Every {
			s.settle(r, c, m)
			p.add(r, s.owner, c, 0, w, m)
		}
	}
	key := keyOf(f, seq)
	q := s.find(key)
	if q == nil {
		q = s.list(r, cause{key: key, what: unique.Make(string(f.Kind)), minute: m, session: sessionOf(f.Session), where: uint8(class)}, m)
	}
	q.weight, q.minute = sum(q.weight, grains(w)), max(q.minute, m)
	return q
}

// strike lets the agent fall by a cause, in the classes that it concerns.
func (s *State) strike(r *catalog.TrustRules, q *cause, least Level, disturbs, quarantines bool, m uint32) (quarantine bool) {
	s.until = 0
	for c := range conduct.Class(conduct.Classes) {
		if !q.in(c) {
			continue
		}
		s.class[c].scoredAt = 0
		if s.fall(r, c, m, least, q.felled(c)) {
			q.fells(c)
		} else if disturbs {
			s.disturb(c, m)
		}
		if quarantines && r.Quarantine && !s.taken && s.ladder[c].level() == None {
			quarantine = true
		}
	}
	s.taken = s.taken || quarantine
	return quarantine
}

// Outcome takes in what somebody says came of a decision. It reports whether the agent falls into quarantine
// by it: harm that a person reports can take the last level.
//
// What an agent says of itself counts only against it. Praise counts only for acts that were allowed.
func (s *State) Outcome(r *catalog.TrustRules, p *Pool, o *conduct.Outcome, class conduct.Class) (quarantine bool) {
	if class >= conduct.Classes {
		return false
	}
	s.by(r)
	m := minute(o.At)
	s.today(m)
	word := wordOf(r, o.Reporter)
	var w float64
	switch o.Result {
	case conduct.ResultRight:
		if w = r.Right * word; s.taken || !o.Allowed || o.Reporter == conduct.ReporterAgent || !(w > 0) {
			return false
		}
		w = min(w, s.told(r, o, class, true))
		var session uint64
		if o.Session != "" {
			session = conduct.Hash(o.Session)
		}
		if w = s.gain(r, class, s.known(session), w); w > 0 {
			s.tell(r, o, class, true, w)
			s.favour(r, p, class, w, m)
			s.rise(r, class, m)
		}
		return false
	case conduct.ResultWrong:
		w = r.Wrong * word
	case conduct.ResultHarmful:
		w = r.Harmful * word
	case conduct.ResultReverted:
		w = r.Reverted * word
	}
	if w = min(w, s.told(r, o, class, false)); !(w > 0) {
		return false
	}
	s.tell(r, o, class, false, w)
	s.settle(r, class, m)
	p.add(r, s.owner, class, 0, w, m)
	person := o.Reporter == conduct.ReporterPerson
	harm := person && o.Result == conduct.ResultHarmful
	q := s.list(r, cause{
		key: uint64(o.Seq)<<8 | notFinding, what: unique.Make("outcome." + string(o.Result)), minute: m,
		weight: grains(w), session: sessionOf(o.Session), where: uint8(class),
	}, m)
	least := None
	if harm {
		least = 1
	}
	return s.strike(r, q, least, person, harm, m)
}

func sessionOf(name string) uint8 { return uint8(conduct.Hash(name) >> 23) }

// sum adds weights that stay within their bound.
func sum(a, b uint16) uint16 { return uint16(min(uint32(a)+uint32(b), 0xffff)) }
