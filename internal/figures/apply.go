package figures

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/gist"
)

const (
	secondsKept = 60
	maxRecent   = 8192
	maxTasks    = 16384
	taskIdle    = 30 * time.Minute // after which a task is over
	maxText     = 300              // bytes of a reason
)

type second struct {
	at int64
	Outcomes
}

// A task is a session of an agent.
type task struct {
	group     string
	disturbed bool // something was refused
	stopped   bool // the last act was
	at        int64
}

type taskKey uint64

// apply counts an entry. It has an effect only if it returns nil: any error is trouble of this process, and the entry
// comes again. The caller holds f.mu.
func (f *Figures) apply(ctx context.Context, e audit.Entry) error {
	if e.Seq <= f.seq {
		return nil
	}
	var err error
	switch {
	case e.Kind == audit.DecisionMade:
		f.decision(e)
	case e.Kind == audit.OutcomeReported:
		err = f.outcome(ctx, e)
	case e.Kind == audit.ApprovalAsked, e.Kind == audit.ApprovalAnswer, e.Kind == audit.ApprovalMoved:
		err = f.ask(ctx, e)
	case e.Kind == audit.PolicyPublish:
		err = f.publish(ctx, e)
	}
	if err != nil {
		return err
	}
	if e.Kind != audit.Heartbeat {
		f.changed++
	}
	f.seq = e.Seq
	return nil
}

// publish goes on by the organisation's zone, as of the next day.
func (f *Figures) publish(ctx context.Context, e audit.Entry) error {
	var body struct {
		Version int64 `json:"version"`
	}
	if json.Unmarshal(e.Body, &body) != nil || f.cfg.Catalog == nil {
		return nil
	}
	c, err := f.cfg.Catalog(ctx, body.Version)
	if errors.Is(err, authz.ErrNotFound) || errors.Is(err, authz.ErrInvalid) {
		return nil
	}
	if err != nil {
		return err
	}
	f.zone = c.Zone()
	if d := f.open[Day]; d == nil || d.Sum() == 0 && d.Asks == (Asks{}) && len(f.day) == 0 { // nothing was counted by another zone
		delete(f.open, Day)
	}
	return nil
}

// at returns the span of a length that a time is in: the newest, or the next.
func (f *Figures) at(l Length, t time.Time) *span {
	s := f.open[l]
	if s != nil && t.Before(s.until) {
		return s
	}
	next := &span{}
	switch l {
	case Minute:
		next.from = t.Truncate(time.Minute)
		next.until = next.from.Add(time.Minute)
	case Hour:
		next.from = t.Truncate(time.Hour)
		next.until = next.from.Add(time.Hour)
	default:
		y, m, d := t.In(f.zone).Date()
		next.from, next.until = time.Date(y, m, d, 0, 0, 0, 0, f.zone).UTC(), time.Date(y, m, d+1, 0, 0, 0, 0, f.zone).UTC()
	}
	if s != nil {
		if s.until.After(next.from) { // another zone
			next.from = s.until
		}
		f.close(l, s)
	}
	f.open[l] = next
	return next
}

// close puts a span that is over, and if it is a day its groups, among what is to be kept.
func (f *Figures) close(l Length, s *span) {
	if s.asOf > f.kept {
		f.dirty[rowKey{l, "", s.from.UnixMicro()}] = &row{Row{Length: l, From: s.from, Until: s.until, AsOf: s.asOf}, s}
	}
	if l != Day {
		return
	}
	for k, g := range f.day {
		if g.asOf > f.kept {
			f.dirty[rowKey{Day, k, s.from.UnixMicro()}] = &row{Row{Length: Day, Group: k, From: s.from, Until: s.until, AsOf: g.asOf}, g}
		}
	}
	clear(f.day)
}

// spans are those that an entry counts in.
func (f *Figures) spans(e audit.Entry) [3]*span {
	ss := [3]*span{f.at(Minute, e.At), f.at(Hour, e.At), f.at(Day, e.At)}
	for _, s := range ss {
		s.asOf = e.Seq
	}
	return ss
}

// group returns the group of that key of the day that an entry is of, which spans has opened.
func (f *Figures) group(key string, e audit.Entry) *group {
	g := f.day[key]
	if g == nil && key != othersKey && len(f.day) >= maxGroups {
		key = othersKey
		g = f.day[key]
	}
	if g == nil {
		g = &group{Others: key == othersKey}
		if !g.Others {
			var names [2]string
			_ = json.Unmarshal([]byte(key), &names) // we made it
			g.Purpose, g.Owner = names[0], names[1]
		}
		f.day[key] = g
	}
	g.asOf = e.Seq
	return g
}

func (f *Figures) decision(e audit.Entry) {
	d, err := gist.Read(e)
	if err != nil || d.Listing || d.Number > 0 && f.uploads.Repeats(d.Journal, d.Number, &e) {
		return
	}
	took := e.At.Sub(d.Made)
	timed := !d.Edge && !d.Made.IsZero() && took >= 0
	for _, s := range f.spans(e) {
		s.add(d.Effect)
		if timed {
			s.Latency.add(took)
		}
	}
	sec := &f.seconds[e.At.Unix()%secondsKept]
	if sec.at != e.At.Unix() {
		*sec = second{at: e.At.Unix()}
	}
	sec.add(d.Effect)
	if minute := e.At.Unix() / 60; minute != f.swept {
		f.swept = minute
		f.sweep(e, e.At.Add(-taskIdle).Unix())
		f.uploads.Sweep(e.At)
	}
	if d.Action == authz.ActionIssue || d.Action == authz.ActionRegister {
		return // a question of ours, not an act on the world
	}
	key := groupKey(d.Purpose, d.Owner)
	f.remember(e.Seq, key)
	g := f.group(key, e)
	g.add(d.Effect)
	if d.Lifted {
		g.Lifted++
	}
	if d.Agent != "" {
		g.Agents.add(d.Agent, d.Effect)
	}
	for i, p := range d.Persons {
		if i < 4 {
			g.Persons.add(p, d.Effect)
		}
	}
	g.Actions.add(d.Action, d.Effect)
	if timed {
		g.Latency.add(took)
	}
	if d.Effect != authz.Allow {
		code, text := d.Code, ""
		if len(d.Reasons) > 0 {
			code, text = d.Reasons[0].Code, gist.Clip(d.Reasons[0].Message, maxText)
		}
		g.refuse(gist.Clip(code, gist.MaxName), text, 1, maxReasons)
	}
	if d.Session != "" && d.Agent != "" {
		f.act(d, key, e)
	}
}

// remember keeps the group of a decision, for outcomes and asks that name it.
func (f *Figures) remember(seq int64, key string) {
	if len(f.order) >= maxRecent {
		delete(f.recent, f.order[0])
		f.order = f.order[1:]
	}
	f.recent[seq] = key
	f.order = append(f.order, seq)
}

// act notes an act of a task.
func (f *Figures) act(d *gist.Decision, key string, e audit.Entry) {
	h := fnv.New64a()
	h.Write([]byte(d.Agent))
	h.Write([]byte{0})
	h.Write([]byte(d.Session))
	k := taskKey(h.Sum64())
	t := f.tasks[k]
	if t == nil {
		if len(f.tasks) >= maxTasks {
			f.crowd(e)
		}
		t = &task{group: key}
		f.tasks[k] = t
	}
	t.at, t.stopped = e.At.Unix(), d.Effect != authz.Allow
	t.disturbed = t.disturbed || t.stopped
}

// crowd ends the tasks of which nothing was heard for longest, to make room.
func (f *Figures) crowd(e audit.Entry) {
	oldest, newest := e.At.Unix(), int64(0)
	for _, t := range f.tasks {
		oldest, newest = min(oldest, t.at), max(newest, t.at)
	}
	f.sweep(e, oldest+(newest-oldest)/4)
}

// sweep counts the tasks that are over: of which nothing was heard since a time.
func (f *Figures) sweep(e audit.Entry, since int64) {
	var over []taskKey
	for k, t := range f.tasks {
		if t.at <= since {
			over = append(over, k)
		}
	}
	slices.Sort(over)
	for _, k := range over {
		t := f.tasks[k]
		g := f.group(t.group, e)
		switch {
		case t.stopped:
			g.Tasks.Stopped++
		case t.disturbed:
			g.Tasks.WentOn++
		default:
			g.Tasks.Undisturbed++
		}
		delete(f.tasks, k)
	}
}

// groupOf returns the group of the decision that an entry records, "" if it records none that counts.
func (f *Figures) groupOf(ctx context.Context, seq int64) (string, error) {
	if key := f.recent[seq]; key != "" {
		return key, nil
	}
	e, err := f.cfg.Log.Entry(ctx, seq)
	if errors.Is(err, authz.ErrNotFound) || errors.Is(err, authz.ErrInvalid) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	d, err := gist.Read(e)
	if err != nil || e.Kind != audit.DecisionMade {
		return "", nil
	}
	return groupKey(d.Purpose, d.Owner), nil
}

func (f *Figures) outcome(ctx context.Context, e audit.Entry) error {
	var o conduct.Outcome
	if json.Unmarshal(e.Body, &o) != nil {
		return nil
	}
	if o.Back > 0 {
		o.Decision = e.Seq - o.Back
	}
	key, err := f.groupOf(ctx, o.Decision)
	if err != nil || key == "" || o.Edge != nil && f.uploads.Repeats(o.Edge.Journal, o.Edge.Number, &e) {
		return err // from here on nothing fails: what is noted as taken in is counted
	}
	f.spans(e)
	r := &f.group(key, e).Results
	switch {
	case o.Result == conduct.ResultRight:
		r.Right++
	case o.Result == conduct.ResultWrong:
		r.Wrong++
	case o.Result == conduct.ResultHarmful:
		r.Harmful++
	case o.Result == conduct.ResultReverted:
		r.Reverted++
	case o.Fault != "":
		r.Failed++
	default:
		r.Done++
	}
	return nil
}

// ask counts an ask that is made, or that an entry has ended. What became of it stands in the ask.
func (f *Figures) ask(ctx context.Context, e audit.Entry) error {
	var body struct {
		ID  string `json:"id"`
		Ask string `json:"ask"`
	}
	if json.Unmarshal(e.Body, &body) != nil || f.cfg.Asks == nil {
		return nil
	}
	id := body.Ask
	if e.Kind == audit.ApprovalAsked {
		id = body.ID
	}
	a, err := f.cfg.Asks.Get(ctx, id)
	if errors.Is(err, authz.ErrNotFound) || errors.Is(err, authz.ErrInvalid) {
		return nil
	}
	if err != nil {
		return err
	}
	asked, ended := e.Kind == audit.ApprovalAsked && a.Seq == e.Seq, a.Ended == e.Seq
	if !asked && !ended {
		return nil
	}
	key := ""
	if len(a.Items) > 0 && a.Items[0].Decision > 0 {
		if key, err = f.groupOf(ctx, a.Items[0].Decision); err != nil {
			return err
		}
	}
	if key == "" {
		key = groupKey("", gist.Clip(a.Owner, gist.MaxName))
	}
	var n Asks
	if asked {
		n.Asked = 1
	}
	if ended {
		switch a.Status {
		case approval.Approved, approval.Partial:
			n.Approved = 1
		case approval.Denied:
			n.Denied = 1
		case approval.Expired:
			n.Expired = 1
		default:
			n.Withdrawn = 1
		}
	}
	for _, s := range f.spans(e) {
		s.Asks.join(n)
	}
	g := f.group(key, e)
	g.Asks.join(n)
	if n.Approved+n.Denied > 0 {
		waited := a.ClosedAt.Sub(a.AskedAt)
		g.Waits.add(waited)
		g.WaitedS += int64(waited / time.Second)
	}
	return nil
}
