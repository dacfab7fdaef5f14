package figures

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Latency says how long decisions took, from when a request was judged until its answer was sealed in the log; without the
// network, and without those that were made elsewhere.
type Latency struct {
	Decisions int64 `json:"decisions" doc:"how many were timed; 0: nothing is known"`
	P50       int64 `json:"p50_us" doc:"microseconds, off by a tenth at most"`
	P99       int64 `json:"p99_us"`
}

func (h histogram) latency() Latency {
	return Latency{h.count(), h.quantile(0.5).Microseconds(), h.quantile(0.99).Microseconds()}
}

// A Bucket holds the figures of a while.
type Bucket struct {
	At time.Time `json:"at"` // when it begins
	Outcomes
	Asks    Asks    `json:"asks"`
	Latency Latency `json:"latency"`
}

// A Totals holds figures of a while up to now.
type Totals struct {
	Outcomes
	Decisions int64   `json:"decisions"`
	Asks      Asks    `json:"asks"`
	Latency   Latency `json:"latency"`
}

// rows returns the rows of a length that begin in a while: what is kept, and what is newer.
func (f *Figures) rows(ctx context.Context, l Length, byGroup bool, from, to time.Time) (map[rowKey]any, error) {
	kept, err := f.cfg.Store.FigureRows(ctx, l, byGroup, from, to)
	if err != nil {
		return nil, err
	}
	all, asOf := make(map[rowKey]any, len(kept)), make(map[rowKey]int64, len(kept))
	for _, r := range kept {
		var v any
		if byGroup {
			v, err = groupFrom(r)
		} else {
			v, err = spanOf(r)
		}
		if err != nil {
			return nil, err
		}
		k := rowKey{l, r.Group, r.From.UnixMicro()}
		all[k], asOf[k] = v, r.AsOf
	}
	within := func(at time.Time) bool { return !at.Before(from) && at.Before(to) }
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, r := range f.dirty {
		if k.length == l && (k.group != "") == byGroup && within(r.From) && r.AsOf > asOf[k] {
			all[k] = r.made // is over, and never changed
		}
	}
	sp := f.open[l]
	if sp == nil || !within(sp.from) {
		return all, nil
	}
	if !byGroup {
		if k := (rowKey{l, "", sp.from.UnixMicro()}); sp.asOf > asOf[k] {
			c := *sp
			c.Latency = nil
			c.Latency.join(sp.Latency)
			all[k] = &c
		}
		return all, nil
	}
	for key, g := range f.day {
		if k := (rowKey{l, key, sp.from.UnixMicro()}); g.asOf > asOf[k] {
			c := &group{Purpose: g.Purpose, Owner: g.Owner, Others: g.Others}
			room := maxNamed
			c.join(g, &room)
			all[k] = c
		}
	}
	return all, nil
}

// Lately returns the figures of the last while, which is up to 24 h long.
func (f *Figures) Lately(ctx context.Context, d time.Duration) (t Totals, err error) {
	now := f.cfg.Now()
	rows, err := f.rows(ctx, Minute, false, now.Add(-d), now.Add(time.Minute))
	if err != nil {
		return t, err
	}
	var h histogram
	for _, v := range rows {
		s := v.(*span)
		t.Outcomes.join(s.Outcomes)
		t.Asks.join(s.Asks)
		h.join(s.Latency)
	}
	t.Decisions, t.Latency = t.Sum(), h.latency()
	return t, nil
}

// PerSecond returns how many decisions a second there were in the last ten whole seconds that this process has counted.
func (f *Figures) PerSecond() float64 {
	now := f.cfg.Now().Unix()
	f.mu.Lock()
	defer f.mu.Unlock()
	n := int64(0)
	for i := range f.seconds {
		if s := &f.seconds[i]; s.at < now && s.at >= now-10 {
			n += s.Sum()
		}
	}
	return float64(n) / 10
}

// Windows are the whiles of which Series tells.
var Windows = map[string]struct {
	Whole, Step time.Duration
	length      Length
}{
	"1h":  {time.Hour, time.Minute, Minute},
	"24h": {24 * time.Hour, 10 * time.Minute, Minute},
	"7d":  {7 * 24 * time.Hour, time.Hour, Hour},
	"30d": {30 * 24 * time.Hour, 6 * time.Hour, Hour},
}

// Series returns the figures of a window step by step, without holes: a step in which nothing happened is there, too.
func (f *Figures) Series(ctx context.Context, window string) ([]Bucket, error) {
	w, ok := Windows[window]
	if !ok {
		return nil, authz.Errorf(authz.ErrInvalid, "unknown window %.64q: one of 1h, 24h, 7d, 30d", window)
	}
	end := f.cfg.Now().UTC().Truncate(w.Step).Add(w.Step)
	begin := end.Add(-w.Whole)
	rows, err := f.rows(ctx, w.length, false, begin, end)
	if err != nil {
		return nil, err
	}
	bs := make([]Bucket, int(w.Whole/w.Step))
	hs := make([]histogram, len(bs))
	for i := range bs {
		bs[i].At = begin.Add(time.Duration(i) * w.Step)
	}
	for _, v := range rows {
		s := v.(*span)
		i := int(s.from.Sub(begin) / w.Step)
		if i < 0 || i >= len(bs) {
			continue
		}
		bs[i].Outcomes.join(s.Outcomes)
		bs[i].Asks.join(s.Asks)
		hs[i].join(s.Latency)
	}
	for i := range bs {
		bs[i].Latency = hs[i].latency()
	}
	return bs, nil
}

// A Named holds how requests were answered that have a name in common.
type Named struct {
	Name string `json:"name"`
	Outcomes
}

// A Refusal says how often a reason was told first.
type Refusal struct {
	Code string `json:"code"`
	Text string `json:"text" doc:"as agents were told last; empty if it has no words of its own"`
	N    int64  `json:"count"`
}

// Waits say how long persons took to answer.
type Waits struct {
	Answered int64 `json:"answered"`
	P50      int64 `json:"p50_seconds"`
	P90      int64 `json:"p90_seconds"`
	Sum      int64 `json:"sum_seconds" doc:"waited for persons, of all that were answered"`
}

// A Part holds the figures of the agents of one purpose and one owner, or of all.
type Part struct {
	Purpose string `json:"purpose"`
	Owner   string `json:"owner"`
	Others  bool   `json:"others,omitempty" doc:"purposes and owners that are not told apart, since there are more than 500 in a day, or 2000 in all"`
	Outcomes
	Decisions int64     `json:"decisions"`
	Lifted    int64     `json:"lifted" doc:"allowed because persons approved"`
	Agents    []Named   `json:"agents" doc:"the busiest"`
	AgentsN   int       `json:"agents_count"`
	Persons   []Named   `json:"persons" doc:"on whose behalf, the ones with most acts; empty if the enforcement points did not say"`
	PersonsN  int       `json:"persons_count"`
	Actions   []Named   `json:"actions" doc:"the most frequent"`
	Refusals  []Refusal `json:"refusals" doc:"the most frequent reasons"`
	Asks      Asks      `json:"asks"`
	Waits     Waits     `json:"waits"`
	Tasks     Tasks     `json:"tasks"`
	Results   Results   `json:"results"`
	Latency   Latency   `json:"latency"`
	More      bool      `json:"more,omitempty" doc:"some names are counted together with others: more than 64 of a kind in a day, or too many in all"`
}

// A Report holds the figures of whole days.
type Report struct {
	From    time.Time `json:"from"`
	To      time.Time `json:"to" doc:"the end of the last day; later than now if that is not over"`
	Zone    string    `json:"zone" doc:"in which days begin"`
	AsOf    int64     `json:"as_of" doc:"number of the newest entry that is counted"`
	Since   time.Time `json:"since,omitzero" doc:"the first day of which there are figures"`
	Running int       `json:"running_tasks" doc:"tasks that are not over, and so counted nowhere yet"`
	All     Part      `json:"all"`
	Parts   []Part    `json:"parts" doc:"by purpose and owner, the busiest first; at most 200"`
	Left    int       `json:"left_out,omitempty" doc:"how many parts are left out"`
	Days    []Bucket  `json:"days"`
}

// Bounds of a report.
const (
	maxReports = 2       // at once
	maxJoined  = 2000    // purposes with owners that are told apart, and names of each
	maxNamed   = 100_000 // names and reasons of all of them
	maxSpan    = 370 * 24 * time.Hour
	maxParts   = 200
	maxTop     = 10
)

// Month returns the month that a time is in, in the organisation's zone.
func (f *Figures) Month(t time.Time) (from, to time.Time) {
	f.mu.Lock()
	z := f.zone
	f.mu.Unlock()
	y, m, _ := t.In(z).Date()
	return time.Date(y, m, 1, 0, 0, 0, 0, z), time.Date(y, m+1, 1, 0, 0, 0, 0, z)
}

// Report returns the figures of the days that begin in a while.
func (f *Figures) Report(ctx context.Context, from, to time.Time) (*Report, error) {
	if !from.Before(to) || to.Sub(from) > maxSpan {
		return nil, authz.Errorf(authz.ErrInvalid, "a report is about 1 to 370 days")
	}
	if f.reports.Add(1) > maxReports {
		f.reports.Add(-1)
		return nil, authz.Errorf(authz.ErrUnavailable, "%d reports are being made: try again in a few seconds", maxReports)
	}
	defer f.reports.Add(-1)
	f.mu.Lock()
	rep := &Report{From: from, To: to, Zone: f.zone.String(), AsOf: f.seq, Running: len(f.tasks), Parts: []Part{}, Days: []Bucket{}}
	f.mu.Unlock()
	days, err := f.rows(ctx, Day, false, from, to)
	if err != nil {
		return nil, err
	}
	for _, v := range days {
		s := v.(*span)
		rep.Days = append(rep.Days, Bucket{At: s.from, Outcomes: s.Outcomes, Asks: s.Asks, Latency: s.Latency.latency()})
	}
	slices.SortFunc(rep.Days, func(a, b Bucket) int { return a.At.Compare(b.At) })
	if len(rep.Days) > 0 {
		rep.Since = rep.Days[0].At
	}
	j := joint{parts: map[string]*group{}, room: maxNamed}
	for next := from; next.Before(to); { // day by day, the newest last: its words stay
		begin := next
		if next = begin.Add(24 * time.Hour); next.After(to) {
			next = to
		}
		groups, err := f.rows(ctx, Day, true, begin, next)
		if err != nil {
			return nil, err
		}
		for _, k := range slices.SortedFunc(maps.Keys(groups), rowKey.compare) {
			j.add(k.group, groups[k].(*group))
		}
	}
	rep.All = j.all.part()
	for _, g := range j.parts {
		rep.Parts = append(rep.Parts, g.part())
	}
	slices.SortFunc(rep.Parts, func(a, b Part) int {
		return cmp.Or(cmp.Compare(b.Decisions, a.Decisions), cmp.Compare(a.Purpose, b.Purpose), cmp.Compare(a.Owner, b.Owner))
	})
	if len(rep.Parts) > maxParts {
		rep.Left, rep.Parts = len(rep.Parts)-maxParts, rep.Parts[:maxParts]
	}
	return rep, nil
}

// A joint is what a report knows of many days by group. It is bounded, however many and whatever they hold.
type joint struct {
	parts map[string]*group
	all   group
	room  int // for how many more names
}

func (j *joint) add(key string, g *group) {
	p := j.parts[key]
	if p == nil && len(j.parts) >= maxJoined {
		key = othersKey
		p = j.parts[key]
	}
	if p == nil {
		p = &group{Others: key == othersKey}
		if !p.Others {
			p.Purpose, p.Owner = g.Purpose, g.Owner
		}
		j.parts[key] = p
	}
	p.join(g, &j.room)
	j.all.join(g, &j.room)
}

func (g *group) part() Part {
	p := Part{Purpose: g.Purpose, Owner: g.Owner, Others: g.Others, Outcomes: g.Outcomes, Decisions: g.Sum(), Lifted: g.Lifted,
		Agents: g.Agents.top(), AgentsN: len(g.Agents.By), Persons: g.Persons.top(), PersonsN: len(g.Persons.By), Actions: g.Actions.top(),
		Refusals: []Refusal{}, Asks: g.Asks, Tasks: g.Tasks, Results: g.Results, Latency: g.Latency.latency(),
		Waits: Waits{g.Waits.count(), int64(g.Waits.quantile(0.5).Seconds()), int64(g.Waits.quantile(0.9).Seconds()), g.WaitedS},
		More:  g.Agents.Others != nil || g.Persons.Others != nil || g.Actions.Others != nil || g.Unnamed > 0}
	for code, r := range g.Reasons {
		p.Refusals = append(p.Refusals, Refusal{code, r.Text, r.N})
	}
	slices.SortFunc(p.Refusals, func(a, b Refusal) int { return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Code, b.Code)) })
	p.Refusals = p.Refusals[:min(maxTop, len(p.Refusals))]
	return p
}

func (t *tally) top() []Named {
	all := make([]Named, 0, len(t.By))
	for name, o := range t.By {
		all = append(all, Named{name, *o})
	}
	slices.SortFunc(all, func(a, b Named) int { return cmp.Or(cmp.Compare(b.Sum(), a.Sum()), cmp.Compare(a.Name, b.Name)) })
	return all[:min(maxTop, len(all))]
}
