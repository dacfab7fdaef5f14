package asking

import (
	"fmt"
	"math/bits"
	"time"
	"unsafe"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// A State is what is remembered of one agent. The zero State remembers nothing, and of an agent that never asks
// nothing is. It is bounded (400 bytes), and not safe for concurrent use.
type State struct{ p *asker }

// An asker is what is remembered of an agent that asks.
type asker struct {
	asks   window // that it made
	beyond window // acts for which it could not ask any more, because of its budget
	recent ring   // numbers of the newest asks
	over   ring   // numbers of the newest such acts

	hour   int64   // since 1970, of the newest ask
	inHour uint16  // asks within it
	hours  uint8   // hours with asks that are known, at most usualHours
	usual  float64 // mean number of asks in them

	answers  uint8  // that are remembered, at most told
	refused  uint16 // which of them refused; the newest is the lowest bit
	refusals ring   // numbers of those
	by       [told]uint16
}

const (
	slot       = 10 * time.Minute
	slots      = 6
	usualHours = 24 // hours with asks by which the usual is judged at most
	knownHours = 3  // and at least
	insists    = 5  // acts within an hour, for which it cannot ask, that are too many
)

// A window counts what happened within the last hour, in slots.
type window struct {
	newest int64 // slot, since 1970
	counts [slots]uint16
	told   uint16 // how many times the threshold was told of
}

// add counts one, and returns how many there are.
func (w *window) add(at time.Time) (n int) {
	now := at.UnixMicro() / slot.Microseconds()
	for i := range w.counts { // entries of another clock may go back a little: they count as now
		if s := w.newest + 1 + int64(i); s <= now {
			w.counts[s%slots] = 0
		}
	}
	w.newest = max(w.newest, now)
	if c := &w.counts[w.newest%slots]; *c < 1<<16-1 {
		*c++
	}
	for _, c := range w.counts {
		n += int(c)
	}
	return n
}

// tells reports whether n is a higher multiple of the threshold than was told of.
func (w *window) tells(n, threshold int) bool {
	k := uint16(min(n/max(threshold, 1), 1<<16-1))
	more := k > w.told
	w.told = k
	return more
}

func (s *State) of() *asker {
	if s.p == nil {
		s.p = new(asker)
	}
	return s.p
}

// Asked takes in an ask of the agent. Only while it may learn is it part of what is usual.
func (s *State) Asked(r *catalog.AskingRules, a *Ask, learn bool, emit func(conduct.Draft)) {
	if r.Off {
		return
	}
	p := s.of()
	n := p.asks.add(a.At)
	p.recent.add(a.Seq)
	most := float64(r.Many)
	if p.hours >= knownHours {
		most = max(most, float64(r.Usual*p.usual))
	}
	p.learn(a.At, learn)
	if p.asks.tells(n, int(min(most, 1e6))+1) {
		severity := conduct.Low
		if float64(n) >= 2*most {
			severity = conduct.Medium
		}
		usually := ""
		if p.hours >= knownHours {
			usually = fmt.Sprintf(", where %.1f are usual in an hour in which it asks", p.usual)
		}
		emit(conduct.Draft{Kind: Many, Severity: severity, Class: a.Class, Evidence: p.recent.all(),
			Sentence: fmt.Sprintf("It asked persons %d times within an hour%s; lately for %s.", n, usually, a.What)})
	}
}

// learn brings the usual up to date by the first ask of another hour.
func (p *asker) learn(at time.Time, learn bool) {
	hour := at.Unix() / 3600
	if hour > p.hour {
		if p.inHour > 0 {
			p.hours = min(p.hours+1, usualHours)
			p.usual += (float64(p.inHour) - p.usual) / float64(p.hours)
		}
		p.hour, p.inHour = hour, 0
	}
	if learn && p.inHour < 1<<16-1 {
		p.inHour++
	}
}

// Beyond takes in a decision that would have led to an ask, had not too much been asked already.
func (s *State) Beyond(r *catalog.AskingRules, ev *conduct.Event, emit func(conduct.Draft)) {
	if r.Off {
		return
	}
	p := s.of()
	n := p.beyond.add(ev.At)
	p.over.add(ev.Seq)
	if p.beyond.tells(n, insists) {
		severity := conduct.Low
		if n >= 4*insists {
			severity = conduct.Medium
		}
		emit(conduct.Draft{Kind: Many, Severity: severity, Class: ev.Class, Evidence: p.over.all(),
			Sentence: fmt.Sprintf("It went on %d times within an hour after all that it may ask of persons was asked; lately with %s on %s.",
				n, conduct.Quote(ev.Action), conduct.Quote(ev.Resource.Type+":"+ev.Resource.ID))})
	}
}

// Answered takes in what a person said of an ask of the agent.
func (s *State) Answered(r *catalog.AskingRules, an *Answer, emit func(conduct.Draft)) {
	if r.Off {
		return
	}
	p := s.of()
	copy(p.by[1:], p.by[:told-1])
	p.by[0] = uint16(conduct.Hash(an.Person) >> 16)
	p.answers, p.refused = min(p.answers+1, told), p.refused<<1
	if an.Yes {
		return
	}
	p.refused |= 1
	p.refusals.add(an.Seq)
	n, of := share(p.refused, p.answers, r.Least)
	if of < r.Least || float64(n) < r.Refused*float64(of) {
		return
	}
	severity := conduct.Low
	if of >= judged && float64(n) >= grave*float64(of) && p.several(of) {
		severity = conduct.Medium
	}
	evidence := p.refusals.all()
	emit(conduct.Draft{Kind: Refused, Severity: severity, Class: an.Ask.Class, Evidence: evidence[max(0, len(evidence)-n):],
		Sentence: fmt.Sprintf("Persons refused %d of the last %d asks of it, lately %s.", n, of, an.Ask.What)})
}

// several reports whether more than one person refused, of so many answers: one alone must not be able to
// ruin an agent.
func (p *asker) several(of int) bool {
	first, any := uint16(0), false
	for m := p.refused & uint16(1<<of-1); m != 0; m &= m - 1 {
		switch by := p.by[bits.TrailingZeros16(m)]; {
		case !any:
			first, any = by, true
		case by != first:
			return true
		}
	}
	return false
}

// Size returns about how many bytes of memory the state takes.
func (s *State) Size() int {
	if s.p == nil {
		return int(unsafe.Sizeof(*s))
	}
	return int(unsafe.Sizeof(*s) + unsafe.Sizeof(*s.p))
}
