// Package deviation finds what is unusual: the sequence of acts, things seen for the first time, rates, sizes, hours and places.
//
// Each act gets a score (Features): how surprising it is after what came before, in bits, together with what
// it can do, and where its arguments came from. The score is compared with the agent's own newest
// benign scores, or, while the agent has few sessions, with those of the agents of its purpose; what
// is rarer than the organisation's alpha is a finding. A sum of how rare acts were (CUSUM) finds drift
// that no single act shows.
//
// What an act is worth as evidence is bounded on every side: a session counts for at most 64 acts and each
// pair once, an agent for at most 64 sessions a day in what is known of it and 16 in what is known of its
// purpose. Acts that were refused, and all acts while trust is lowered, teach nothing. The package does not
// pretend that a surprising act is a bad one: a surprise alone is never graver than medium.
package deviation

import (
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/sequence"
	"github.com/safeconduct/safeconduct/internal/monitor/series"
)

// Kinds of findings.
const (
	Sequence  conduct.Kind = "deviation.sequence"   // an act that rarely follows what came before
	FirstSeen conduct.Kind = "deviation.first_seen" // a tool, destination, resource or pair of them
	Rate      conduct.Kind = "deviation.rate"       // many more acts a minute than ever
	Size      conduct.Kind = "deviation.size"       // far larger arguments than ever
	Hour      conduct.Kind = "deviation.hour"       // an hour of the week at which it never acts
	Zone      conduct.Kind = "deviation.zone"       // a network zone or country it never acted from
	Drift     conduct.Kind = "deviation.drift"      // over some sessions, acts are rarer than they were
)

// Bounds of what one session and one agent can teach.
const (
	sessionMost = 64   // acts of a session that count
	ownDaily    = 64   // sessions of an agent a day that count for itself
	sharedDaily = 16   // and for its purpose and the fleet
	newsMost    = 2048 // new entries in the shared tables that it can cause in the time that they are kept
)

// A State is what is remembered of one agent. The zero State remembers nothing. It is bounded for any
// stream, and not safe for concurrent use.
type State struct {
	own      sequence.Own
	seen     sequence.Seen // of the things of kinds, and places
	sessions [4]session    // the present ones, newest first
	record   series.Record
	drift    series.CUSUM
	odd      [2]int64      // numbers of the newest entries that moved drift up, oldest first
	fresh    [things]share // how often something was new to it
	hours    [2][24]uint8  // on how many days it acted at an hour: of working days, of weekends
	rate     series.EWMA   // of log2 of acts in a minute
	minute   uint32        // since 1970, and
	acts     uint16        // how many acts there were in it, and
	refused  uint16        // among them those whose refusal says something of the agent
	size     series.EWMA   // of log2 of the bytes of arguments
	sizes    series.Sketch
	learned  uint32 // acts that were learned from, and
	began    uint16 // their sessions
	day      uint16 // since 1970, and
	today    uint8  // how many sessions were learned from on it
	period   uint16 // day on which news was last set to 0
	news     uint16 // entries in the shared tables that it caused since
	doubts   uint8  // odd sessions, modulo doubtful
}

// A Fleet is what is remembered of all agents together. The zero Fleet remembers nothing. It is bounded.
type Fleet struct {
	all      sequence.Shared
	purposes map[string]*purpose
	surges   surges
	surged   uint32 // minute of the newest alarm of a purpose's surges; 0 if there was none
}

// purposesMost is how many purposes are kept apart; all others are one.
const purposesMost = 256

// others is the key of those; no purpose is called so.
const others = "\x00"

// A purpose is what is remembered of the agents of one purpose.
type purpose struct {
	counts sequence.Shared
	seen   sequence.Seen
	fresh  [things]share
	tail   tail
	names  map[sequence.Symbol]string // of actions, for sentences
	surges surges
}

// of returns what is remembered of a purpose, and with keep remembers it from now on.
func (f *Fleet) of(name string, keep bool) *purpose {
	p := f.purposes[name]
	if p != nil {
		return p
	}
	if len(f.purposes) >= purposesMost {
		if p = f.purposes[others]; p != nil {
			return p
		}
		name = others
	}
	p = new(purpose)
	if keep {
		if f.purposes == nil {
			f.purposes = map[string]*purpose{}
		}
		f.purposes[name] = p
	}
	return p
}

// Observe takes in an event of the agent and emits findings. Learn is false while the agent's trust is
// lowered: nothing of what it does becomes normal then.
func (s *State) Observe(f *Fleet, r *catalog.DeviationRules, ev *conduct.Event, learn bool, emit func(conduct.Draft)) {
	if r.Off || ev.Issuing {
		return
	}
	day := dayOf(ev)
	p := f.of(ev.Purpose, true)
	s.forget(f, p, r, day)
	now := s.session(ev, day)
	x := s.score(f, p, r, ev, now)

	s.judgeAct(p, r, ev, now, &x, emit)
	s.judgeDrift(r, ev, now, &x, emit)
	s.judgePlace(r, ev, day, emit)
	s.judgeHour(r, ev, learn, emit) // before judgeRate, which moves the minute on
	s.judgeRate(ev, learn, emit)
	s.surge(f, p, ev, learn, emit) // of all together, after judgeRate has counted the act
	s.judgeSize(ev, emit)

	if ev.Allowed() {
		if learn {
			s.learn(f, p, r, ev, now, &x, day)
		}
		now.advance(ev, &x)
	}
}

// Size returns about how many bytes of memory the state takes.
func (s *State) Size() int { return stateSize + s.own.Size() + s.seen.Size() }
