package oauth

import (
	"sync"
	"time"
)

// maxPolls bounds how many asks are remembered to have been polled, and how many assertions to have been
// used for it. What is forgotten makes the server milder, not wrong: the log says what was used up.
const maxPolls = 20_000

// polls is who polled when, and with which assertions. It is this process's own: a client that spreads its
// polls over replicas is told later that it is too fast.
type polls struct {
	mu   sync.Mutex
	last map[string]poll
	used map[[16]byte]time.Time // until when they would be accepted
}

type poll struct {
	at       time.Time
	interval time.Duration
	until    time.Time // when the ask expires
}

// lenient is by how much a poll may come early: clients count from the answer, and networks are uneven.
const lenient = time.Second

// tooSoon notes a poll and reports whether it came too soon. Whoever does has to wait longer from then on
// (CIBA Core 1.0, section 11: slow_down).
func (p *polls) tooSoon(ask string, now, until time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = map[string]poll{}
	}
	have, again := p.last[ask]
	if !again {
		if len(p.last) >= maxPolls {
			for id, old := range p.last {
				if !now.Before(old.until) {
					delete(p.last, id)
				}
			}
		}
		if len(p.last) >= maxPolls {
			return false
		}
		have.interval = pollInterval
	}
	soon := again && now.Sub(have.at) < have.interval-lenient
	if soon {
		have.interval = min(have.interval+pollInterval, time.Minute)
	}
	have.at, have.until = now, until
	p.last[ask] = have
	return soon
}

// spend uses assertions up at this process only.
func (s *Server) spend(uses []*Use, now time.Time) {
	p := &s.polls
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used == nil {
		p.used = map[[16]byte]time.Time{}
	}
	if len(p.used) >= maxPolls {
		for h, until := range p.used {
			if now.After(until.Add(s.cfg.Skew)) {
				delete(p.used, h)
			}
		}
	}
	for _, u := range uses {
		if u != nil && len(p.used) < maxPolls {
			p.used[u.Hash] = u.Until
		}
	}
}

// used reports whether one of the assertions has been used, as far as this process knows now. Nil ones
// are none.
func (s *Server) used(uses ...*Use) bool {
	if s.state.check(uses...) != nil {
		return true
	}
	s.polls.mu.Lock()
	defer s.polls.mu.Unlock()
	for _, u := range uses {
		if u == nil {
			continue
		}
		if _, ok := s.polls.used[u.Hash]; ok {
			return true
		}
	}
	return false
}
