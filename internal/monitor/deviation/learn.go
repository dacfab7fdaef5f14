package deviation

import (
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/sequence"
)

// namesMost is how many names of actions are kept for a purpose, and nameMost how much of each, in bytes.
const (
	namesMost = 256
	nameMost  = 64
)

// learn takes an allowed act into what is usual.
func (s *State) learn(f *Fleet, p *purpose, r *catalog.DeviationRules, ev *conduct.Event, now *session, x *Features, day uint16) {
	if !now.flags.has(begun) {
		s.begin(now, day)
	}
	s.doubt(now)
	if now.n >= sessionMost || !now.flags.has(own) {
		return
	}
	now.n++
	s.learned = max(s.learned, s.learned+1) // stays at the most
	l := sequence.Lesson{
		First: !now.did(x.symbol), Pair: now.once(now.prev, x.symbol),
		Shared: now.flags.has(shared), Grow: s.news < newsMost,
	}
	if l.Pair {
		l.More = !now.once(now.prev, sequence.Start) // which follows nothing, and stands for anything
	}
	m := sequence.Model{Own: &s.own, Purpose: &p.counts, Fleet: &f.all}
	if news := m.Learn(sequence.Place{Task: taskOf(ev), Prev: now.prev}, x.symbol, l); l.Grow {
		s.news += uint16(news)
	}
	if l.First && l.Shared && x.origin != 0 {
		c := originContexts(ev, taskOf(ev), x)
		for i, c := range c {
			if i < 2 {
				f.all.Add(c, x.origin, sequence.SharedMost, l.Grow)
			}
			if i > 0 && (i < 3 || ev.Task != "") {
				p.counts.Add(c, x.origin, sequence.SharedMost, l.Grow)
			}
		}
	}
	s.note(p, r, ev, now, x, day)
	s.noteSize(ev)
	if l.Shared {
		p.name(x.symbol, ev.Action)
	}
	if now.flags.has(mute) {
		return
	}
	s.record.Add(x.Score)
	if l.Shared {
		p.tail.add(x.Score)
	}
}

// begin decides what a session teaches.
func (s *State) begin(now *session, day uint16) {
	if s.day != day {
		s.day, s.today = day, 0
	}
	now.flags |= begun
	if s.today < sharedDaily {
		now.flags |= shared
	}
	if s.today < ownDaily {
		now.flags |= own
		s.today++
		s.began = max(s.began, s.began+1)
	}
}

// doubt stops a session from teaching as soon as it is odd, but for every fourth such session: what an agent drifts to
// would otherwise be usual before it is found, and what it has been given to do lately would otherwise never be.
func (s *State) doubt(now *session) {
	if now.flags.has(doubted) || now.drift < driftDoubt {
		return
	}
	now.flags |= doubted
	if s.doubts = (s.doubts + 1) % doubtful; s.doubts != 0 {
		now.flags |= mute
	}
}

// note takes what an act had to do with among what was seen.
func (s *State) note(p *purpose, r *catalog.DeviationRules, ev *conduct.Event, now *session, x *Features, day uint16) {
	for i := range x.things[:x.n] {
		t := &x.things[i]
		s.fresh[t.kind].add(t.new)
		s.seen.Add(int(t.kind), kinds, t.id, day, ownSeen)
		if now.flags.has(shared) {
			_, known := p.seen.Age(int(t.kind), kinds, t.id, day, int(days(r)))
			p.fresh[t.kind].add(!known)
			p.seen.Add(int(t.kind), kinds, t.id, day, sharedSeen)
		}
	}
	for id := range placesOf(ev) {
		s.seen.Add(int(place), kinds, id, day, ownSeen)
	}
}

// name keeps the name of an action.
func (p *purpose) name(w sequence.Symbol, action string) {
	if _, ok := p.names[w]; ok || len(p.names) >= namesMost {
		return
	}
	if p.names == nil {
		p.names = map[sequence.Symbol]string{}
	}
	p.names[w] = printable(action)
}

// forget lets go of what was not used for long.
func (s *State) forget(f *Fleet, p *purpose, r *catalog.DeviationRules, day uint16) {
	after := days(r)
	s.own.Forget(day, after)
	p.counts.Forget(day, after)
	f.all.Forget(day, after)
	if day-s.period >= after {
		s.period, s.news = day, 0
	}
}
