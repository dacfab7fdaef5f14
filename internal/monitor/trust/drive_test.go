package trust_test

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

var monday = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func defaults() *catalog.TrustRules { r := catalog.DefaultConduct().Trust; return &r }

var unknown = [conduct.Classes]trust.Level{trust.High, trust.High, trust.High, trust.High, trust.High}

// A life is an agent's trust, and what was taken in.
type life struct {
	r     *catalog.TrustRules
	p     *trust.Pool
	s     *trust.State
	now   time.Time
	seq   int64
	found []*conduct.Finding
}

func begin(r *catalog.TrustRules) *life {
	return &life{r: r, p: new(trust.Pool), s: trust.Start(r, trust.Prior{}, unknown, monday), now: monday, seq: 100}
}

func (l *life) good(c conduct.Class, session string) {
	h := uint64(0)
	if session != "" {
		h = conduct.Hash(session)
	}
	l.s.Good(l.r, l.p, c, h, l.now)
}

// work lets the agent do so many clean sessions of ten acts a day, evenly, for some days.
func (l *life) work(c conduct.Class, days, sessions int) {
	for range days {
		for range sessions {
			l.seq++
			for range 10 {
				l.good(c, fmt.Sprint("work ", l.seq))
			}
			l.now = l.now.Add(day / time.Duration(sessions))
		}
	}
}

func (l *life) find(c conduct.Class, sev conduct.Severity, session string) *conduct.Finding {
	l.seq++
	f := &conduct.Finding{
		ID: fmt.Sprintf("f%d.0", l.seq), Kind: conduct.Kind("test." + sev.String()), Severity: sev, Class: c.String(),
		Session: session, At: l.now, LastAt: l.now, State: conduct.Open,
	}
	l.found = append(l.found, f)
	l.s.Finding(l.r, l.p, f, c, nil, l.seq, l.now)
	return f
}

func (l *life) judge(f *conduct.Finding, v conduct.Verdict) {
	l.seq++
	c, ok := conduct.ParseClass(f.Class)
	if !ok {
		c = conduct.Every
	}
	l.s.Judge(l.r, f, c, f.State, v, l.seq, l.now)
	f.State = v
}

func (l *life) tell(c conduct.Class, who conduct.Reporter, by string, res conduct.Result, session string) {
	l.seq++
	l.s.Outcome(l.r, l.p, &conduct.Outcome{
		Seq: l.seq, At: l.now, Decided: l.now, Allowed: true, Class: c.String(), Reporter: who, By: by, Result: res, Session: session,
	}, c)
}

func (l *life) level(c conduct.Class) string {
	return l.s.Level(l.r, trust.Who{}, c, l.now).Level
}

func (l *life) levels() [conduct.Classes]trust.Level { return l.s.Levels(l.r, trust.Who{}, l.now) }

func (l *life) score(c conduct.Class) float64 {
	return l.s.Level(l.r, trust.Who{}, c, l.now).Score
}

func (l *life) standing(c conduct.Class) trust.Standing {
	return l.s.Standing(l.r, trust.Who{}, c, l.now)
}

// An act is something that can happen in a life.
type act struct {
	name string
	wait time.Duration
	do   func(l *life)
}

// acts draws what happens. Without hands no person judges, restores or sets a level.
func acts(t *rapid.T, label string, n int, hands bool) []act {
	one := rapid.Custom(func(t *rapid.T) act {
		wait := time.Duration(rapid.SampledFrom([]int{0, 0, 1, 30, 400, 1500, 4500, 30_000, 120_000}).Draw(t, "minutes")) * time.Minute
		c := conduct.Class(rapid.IntRange(0, 2).Draw(t, "class"))
		session := rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e"}).Draw(t, "session")
		sev := rapid.SampledFrom([]conduct.Severity{conduct.Low, conduct.Low, conduct.Medium, conduct.High, conduct.Critical}).Draw(t, "severity")
		pick := rapid.IntRange(0, 99).Draw(t, "pick")
		last := 7
		if hands {
			last = 11
		}
		switch k := rapid.IntRange(0, last).Draw(t, "act"); k {
		case 0, 1, 2:
			times := rapid.SampledFrom([]int{1, 10, 60}).Draw(t, "times")
			spread := rapid.Bool().Draw(t, "spread")
			return act{fmt.Sprintf("%d good acts in %v of %q, spread %v", times, c, session, spread), wait, func(l *life) {
				for i := range times {
					name := session
					if spread {
						name = fmt.Sprint(session, l.seq, i%7)
					}
					l.good(c, name)
				}
			}}
		case 3:
			return act{fmt.Sprintf("finding %v in %v of %q", sev, c, session), wait, func(l *life) { l.find(c, sev, session) }}
		case 4:
			return act{fmt.Sprintf("finding %v in every class", sev), wait, func(l *life) { l.find(conduct.Every, sev, session) }}
		case 5:
			return act{"a graver repetition", wait, func(l *life) {
				if len(l.found) == 0 {
					return
				}
				f := l.found[pick%len(l.found)]
				if f.State != conduct.Open || f.Severity >= sev {
					return
				}
				was := f.Severity
				f.Severity, f.LastAt = sev, l.now
				cl, ok := conduct.ParseClass(f.Class)
				if !ok {
					cl = conduct.Every
				}
				l.s.Finding(l.r, l.p, f, cl, &was, l.seq, l.now)
			}}
		case 6, 7:
			who := rapid.SampledFrom([]conduct.Reporter{conduct.ReporterPerson, conduct.ReporterPEP, conduct.ReporterOperator, conduct.ReporterAgent}).Draw(t, "reporter")
			res := rapid.SampledFrom([]conduct.Result{conduct.ResultRight, conduct.ResultWrong, conduct.ResultHarmful, conduct.ResultReverted}).Draw(t, "result")
			by := fmt.Sprint(who, pick%9)
			return act{fmt.Sprintf("%s says %s in %v", by, res, c), wait, func(l *life) { l.tell(c, who, by, res, session) }}
		case 8, 9:
			v := rapid.SampledFrom([]conduct.Verdict{conduct.Acknowledged, conduct.Dismissed, conduct.Confirmed}).Draw(t, "verdict")
			return act{fmt.Sprintf("judged %s", v), wait, func(l *life) {
				if len(l.found) > 0 {
					l.judge(l.found[pick%len(l.found)], v)
				}
			}}
		case 10:
			o := &trust.Override{Level: rapid.SampledFrom([]string{"", "none", "low", "medium", "high"}).Draw(t, "level"), Author: "admin:ada", Why: "because"}
			o.Restore = rapid.Bool().Draw(t, "restore")
			hours := rapid.IntRange(0, 50).Draw(t, "hours")
			cl := rapid.SampledFrom([]conduct.Class{c, conduct.Every}).Draw(t, "of")
			return act{fmt.Sprintf("set %v to %q, restore %v", cl, o.Level, o.Restore), wait, func(l *life) {
				o := *o
				if hours > 0 {
					o.Expires = l.now.Add(time.Duration(hours) * time.Hour)
				}
				l.seq++
				l.s.Override(l.r, &o, cl, l.seq, l.now)
			}}
		default:
			return act{"renewed", wait, func(l *life) { l.s.Renew(l.r, l.p.Prior(l.r, l.now), l.now) }}
		}
	})
	return rapid.SliceOfN(one, 0, n).Draw(t, label)
}

func (l *life) live(all []act, after func(act)) {
	for _, a := range all {
		l.now = l.now.Add(a.wait)
		a.do(l)
		if after != nil {
			after(a)
		}
	}
}

func (a act) String() string { return fmt.Sprintf("after %v: %s", a.wait, a.name) }

// copyOf returns the same life, by writing and reading its state.
func (l *life) copyOf() *life {
	n := *l
	n.s, n.p = new(trust.State), new(trust.Pool)
	if err := n.s.Read(conduct.NewReader(l.s.Append(nil))); err != nil {
		panic(err)
	}
	if err := n.p.Read(conduct.NewReader(l.p.Append(nil))); err != nil {
		panic(err)
	}
	n.found = slices.Clone(l.found)
	for i, f := range n.found {
		g := *f
		n.found[i] = &g
	}
	return &n
}
