package deviation

import (
	"time"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/series"
)

// Surge is a finding about the agent that did most when all agents of a purpose, or of the fleet, together did many
// more acts a minute than ever, or were refused far more of them.
const Surge conduct.Kind = "deviation.surge"

// Bounds of surges. That a series.Detector calls a minute new is not enough: it must be a multiple of what is usual, too.
const (
	surgeActs    = 60              // acts in a minute of which less is no surge: rateLeast of two agents
	surgeRefused = 10              // refused acts in a minute, likewise
	shareActs    = 10              // acts of which there must be so many for a share of them
	shareLeast   = 0.1             // the Detector sees no less: or the first refusal of all would be so new to it that it sees no surge after it
	surgeKnown   = 240             // minutes that must be known, and
	surgeAge     = 24 * 60         // for how many it must be watched: every hour of a day is to be seen once
	surgeTimes   = 3               // how many times what is usual
	surgeAlone   = 8               // from so many times on a minute that has twice the most before speaks for itself
	surgeHigh    = 0.9             // score at which one minute is enough: several views of the Detector are left far behind
	peakFade     = 0.9995          // of the most at each minute: half after a day
	idleMost     = 10              // minutes without an act that count; longer ones end the watching for the time being
	backMost     = 60              // minutes that time can go back before everything begins anew
	together     = 2               // minutes between a surge of acts and one of refusals that are one
	minutes      = 60              // seconds
	span         = uint8(1<<3 - 1) // the minutes of which two must be new
)

// A surges watches how many acts agents do in a minute, and which share of them is refused. It holds about 1,700 bytes.
// Acts of agents whose trust is lowered are left out of it altogether, so that what they do becomes usual for nobody; a
// minute is over when another agent acts in a later one.
type surges struct {
	minute  uint32 // since 1970; 0 before the first act
	began   uint32 // the first of them
	acts    uint32 // in that minute, and
	refused uint32 // among them those whose refusal says something of the agent
	rate    watch
	share   watch
	most    contenders // who did most in that minute,
	worst   contenders // and who was refused most
	alarm   alarm
}

// A watch is one number a minute.
type watch struct {
	detector series.Detector
	usual    series.EWMA
	peak     float32 // the most there was, fading
	hits     uint8   // which of the newest minutes were new, the newest in the lowest bit
	at       uint32  // minute of the newest alarm; 0 if there was none
}

// surge counts an act of an agent for all agents of its purpose and for the fleet, and emits what there is to say of it.
// It is called after judgeRate, which counts the agent's acts.
func (s *State) surge(f *Fleet, p *purpose, ev *conduct.Event, learn bool, emit func(conduct.Draft)) {
	if s.acts <= 1 {
		s.refused = 0
	}
	if ev.Blamed {
		s.refused = max(s.refused, s.refused+1) // stays at the most
	}
	now := uint32(max(1, ev.At.Unix()/minutes))
	agent := conduct.Hash(string(ev.Agent))

	if learn {
		f.turn(p, now)
	}
	if p.surges.alarm.minute != 0 {
		p.surges.alarm.tell(f.nameOf(p, ev), ev, agent, now, 1, emit)
	}
	if f.surges.alarm.minute != 0 { // a purpose may have more to say of it
		f.surges.alarm.tell("all purposes", ev, agent, now, 2, emit)
	}
	if learn {
		p.surges.count(s, ev, agent)
		f.surges.count(s, ev, agent)
	}
}

// turn goes on to a minute, for a purpose and for the fleet. What is a surge of a purpose is none of the fleet, too.
func (f *Fleet) turn(p *purpose, now uint32) {
	told := p.surges.turn(now)
	if told {
		f.surged = max(p.surges.rate.at, p.surges.share.at)
	}
	if f.surges.turn(now) || told {
		if a := &f.surges.alarm; near(a.minute, f.surged) {
			a.minute = 0
		}
	}
}

// near reports whether two minutes of alarms, if there were both, belong together.
func near(a, b uint32) bool { return a != 0 && b != 0 && max(a, b)-min(a, b) <= together }

// nameOf names a purpose for a person.
func (f *Fleet) nameOf(p *purpose, ev *conduct.Event) string {
	switch {
	case p == f.purposes[others]:
		return "other purposes"
	case ev.Purpose == "":
		return "no purpose"
	}
	return conduct.Quote(ev.Purpose)
}

// count counts an act in the present minute.
func (u *surges) count(s *State, ev *conduct.Event, agent uint64) {
	u.acts = max(u.acts, u.acts+1) // stays at the most
	u.most.add(agent, s.acts, ev)
	if ev.Blamed {
		u.refused = max(u.refused, u.refused+1)
		u.worst.add(agent, s.refused, ev)
	}
}

// turn goes on to a minute, if it is a later one, and reports whether there is now an alarm of the one before.
func (u *surges) turn(now uint32) (alarmed bool) {
	if now <= u.minute && u.minute-now <= backMost {
		return false
	}
	if now > u.minute && u.minute != 0 {
		alarmed = u.end()
		idle := min(now-u.minute-1, idleMost)
		for i := range idle {
			u.rate.take(u.minute+i+1, 0, 0, false, false)
			u.share.hits = u.share.hits << 1 & span
		}
	}
	if u.began == 0 || now < u.minute {
		u.began = now
	}
	u.minute, u.acts, u.refused = now, 0, 0
	u.most, u.worst = contenders{}, contenders{}
	return alarmed
}

// end takes in the minute that is over, and reports whether it is an alarm.
func (u *surges) end() bool {
	old := u.minute-u.began >= surgeAge
	n, before := float64(u.acts), u.rate.usual.Mean()
	acts := u.rate.take(u.minute, n, n, old && u.acts >= surgeActs, false)
	x, was, refused := 0.0, u.share.usual.Mean(), false
	if u.acts >= shareActs {
		x = float64(u.refused) / n
		seen := shareLeast
		if u.refused >= surgeRefused {
			seen = max(seen, x)
		}
		refused = u.share.take(u.minute, x, seen, old && seen > shareLeast, true)
	} else {
		u.share.hits = u.share.hits << 1 & span
	}
	if !acts && !refused {
		return false
	}
	a := alarm{minute: u.minute, acts: u.acts, refused: u.refused, usual: float32(before), usually: float32(was), rate: acts, share: refused, who: u.most}
	if near(u.rate.at, u.share.at) && beyond(n, before, surgeTimes, false) && u.refused >= surgeRefused && x > shareLeast && beyond(x, was, surgeTimes, true) {
		a.rate, a.share = true, true
	}
	if a.share {
		a.who = u.worst
	}
	u.alarm.raise(&a)
	return true
}

// take takes in the number of a minute, and as what the Detector sees it, and reports whether it is an alarm, as it can
// only be if it counts. Of shares it is odds that are compared.
func (w *watch) take(minute uint32, x, seen float64, counts, share bool) (alarm bool) {
	score := w.detector.Add(time.Unix(int64(minute)*minutes, 0), seen)
	usual, peak := w.usual.Mean(), float64(w.peak)
	w.hits = w.hits << 1 & span
	if counts && w.usual.N() >= surgeKnown && beyond(x, usual, surgeTimes, share) {
		if score >= series.DetectorAlarm {
			w.hits |= 1
		}
		alarm = score >= surgeHigh || w.hits&1 != 0 && w.hits > 1 || beyond(x, usual, surgeAlone, share) && beyond(x, peak, 2, share)
	}
	w.usual.Add(x, weight)
	w.peak = float32(max(seen, float64(peak*peakFade)))
	if alarm {
		w.at = minute
	}
	return alarm
}

// beyond reports whether x is at least so many times y; of shares, whether its odds are.
func beyond(x, y, times float64, share bool) bool {
	if share {
		return float64(x*(1-y)) >= float64(times*float64(y*(1-x)))
	}
	return x >= float64(times*y)
}
