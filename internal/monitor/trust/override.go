package trust

import (
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// An Override sets an agent's level by hand. It is the body of a trust.put entry, with the agent.
type Override struct {
	Agent   authz.AgentID `json:"agent"`
	Class   string        `json:"class"` // a class, or every
	Level   string        `json:"level"` // none, low, medium, high; "" to leave it to conduct again; restore: see Restore
	Expires time.Time     `json:"expires_at,omitzero"`
	Author  string        `json:"author,omitempty"` // set from the entry's actor
	Why     string        `json:"why"`
	// Restore ends a quarantine and lifts the agent to the level at once, on a person's word; the posterior
	// stays: the next thing that speaks against the agent takes what its score does not hold, and high is kept
	// only as long as the score holds it. It takes back levels that were set by hand.
	Restore bool `json:"restore,omitempty"`
}

// An override is an Override in effect.
type override struct {
	class   conduct.Class
	level   Level
	expires int64 // microseconds since 1970; 0 if it stays until it is taken back
	author  string
	why     string
}

// Override takes in a level set by hand. The newest word on a class holds: one on every class takes back
// those on single ones. An unknown level counts as none.
func (s *State) Override(r *catalog.TrustRules, o *Override, class conduct.Class, seq int64, at time.Time) {
	s.by(r)
	m := minute(at)
	class = min(class, conduct.Every)
	if s.further != nil {
		s.further.overrides = slices.DeleteFunc(s.further.overrides, func(v override) bool {
			return class == conduct.Every || v.class == class || v.over(at)
		})
	}
	level, _ := ParseLevel(o.Level)
	switch {
	case o.Restore:
		s.restore(r, class, level, m)
		s.note("restored", class, seq, m)
	case o.Level == "":
		s.note("left to conduct", class, seq, m)
	default:
		f := s.rest()
		v := override{class: class, level: level, author: o.Author, why: o.Why}
		if !o.Expires.IsZero() {
			v.expires = max(o.Expires.UnixMicro(), 1)
		}
		f.overrides = append(f.overrides, v)
		s.note("set by hand to "+level.String(), class, seq, m)
	}
}

// restore lifts the agent to a level, and out of quarantine.
func (s *State) restore(r *catalog.TrustRules, class conduct.Class, level Level, m uint32) {
	s.taken = false
	for c := range conduct.Class(conduct.Classes) {
		if class != c && class != conduct.Every {
			continue
		}
		s.settle(r, c, m)
		l := s.ladder[c]
		if level <= l.level() {
			continue
		}
		if level < l.was() {
			s.ladder[c] = step(level, l.was(), l.falls())
		} else {
			s.ladder[c] = step(level, level, 0)
			s.forgive(c)
		}
		s.class[c].since = m
		s.again(c)
	}
	s.until = 0
}

func (v *override) over(at time.Time) bool { return v.expires != 0 && at.UnixMicro() >= v.expires }

// hand returns the level set by hand that is in effect, or nil: that of the class before that of every class.
func (s *State) hand(c conduct.Class, at time.Time) (o *override) {
	if s.further == nil {
		return nil
	}
	for i := range s.further.overrides {
		v := &s.further.overrides[i]
		if v.over(at) || v.class != c && v.class != conduct.Every {
			continue
		}
		if o == nil || v.class == c {
			o = v
		}
	}
	return o
}

// open returns o as people see it.
func (v *override) open(who Who) *Override {
	o := &Override{Agent: who.Agent, Class: v.class.String(), Level: v.level.String(), Author: v.author, Why: v.why}
	if v.expires != 0 {
		o.Expires = time.UnixMicro(v.expires).UTC()
	}
	return o
}
