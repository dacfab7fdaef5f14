package figures

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

const (
	keepEvery   = 5 * time.Second // if anything changed
	keepEntries = 50_000          // between keeping at most
	keepAtEnd   = 5 * time.Second
)

// state is what is kept of what is counted over longer than one row.
type state struct {
	Zone   string      `json:"zone"`
	Groups []string    `json:"groups,omitempty"` // of tasks
	Tasks  []keptTask  `json:"tasks,omitempty"`
	Open   []keptWhile `json:"open,omitempty"`
	Swept  int64       `json:"swept,omitempty"` // minute in which tasks and journals were looked at

	Uploads []byte `json:"uploads,omitempty"` // as conduct.Journals write them
}

type keptTask struct {
	Key   uint64 `json:"k"`
	Group int    `json:"g"`
	At    int64  `json:"t"`
	Flags int    `json:"f,omitempty"` // 1: disturbed, 2: stopped
}

// A keptWhile says which row of a length is still being counted.
type keptWhile struct {
	Length Length `json:"length"`
	From   int64  `json:"from"`
}

// Run counts until ctx ends. Replicas that do the same get in each other's way without harm. It returns an error only if the log
// is damaged.
func (f *Figures) Run(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(keepEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				f.keep(ctx)
			}
		}
	}()
	defer func() {
		<-ended
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepAtEnd)
		defer cancel()
		f.keep(last)
	}()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := f.load(ctx)
		if err == nil {
			err = f.follow(ctx)
		}
		var fault *audit.Fault
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &fault):
			return fmt.Errorf("counting: %w", err)
		case errors.Is(err, errAnew):
			wait = 10 * time.Millisecond
		default:
			f.cfg.Logger.WarnContext(ctx, "figures are not counted", "err", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

var errAnew = errors.New("figures are counted anew")

func (f *Figures) follow(ctx context.Context) error {
	err := f.cfg.Log.Follow(ctx, f.Seq(), func(ctx context.Context, es []audit.Entry) error {
		if f.cfg.Wait != nil {
			if err := f.cfg.Wait(ctx, es[len(es)-1].Seq); err != nil {
				return err
			}
		}
		f.mu.Lock()
		var err error
		for i := 0; i < len(es) && err == nil; i++ {
			err = f.apply(ctx, es[i])
		}
		much := f.changed >= keepEntries
		f.mu.Unlock()
		if err == nil && much {
			f.keep(ctx)
		}
		return err
	})
	if errors.Is(err, authz.ErrInvalid) && !isFault(err) { // what was kept is of another log
		f.cfg.Logger.WarnContext(ctx, "figures do not fit the log and are counted anew", "err", err)
		if err := f.cfg.Store.ResetFigures(ctx); err != nil {
			return err
		}
		f.mu.Lock()
		f.clear()
		f.mu.Unlock()
		return errAnew
	}
	return err
}

func isFault(err error) bool {
	var fault *audit.Fault
	return errors.As(err, &fault)
}

// load reads what is kept, once.
func (f *Figures) load(ctx context.Context) error {
	f.mu.Lock()
	loaded := f.loaded
	f.mu.Unlock()
	if loaded {
		return nil
	}
	for {
		head, err := f.cfg.Store.FiguresHead(ctx)
		if err != nil {
			return err
		}
		if head.Seq > 0 && head.Format != Format {
			if err := f.cfg.Store.ResetFigures(ctx); err != nil {
				return err
			}
			continue
		}
		f.mu.Lock()
		f.clear()
		err = f.restore(ctx, head)
		f.mu.Unlock()
		if err != nil {
			return fmt.Errorf("loading figures: %w", err)
		}
		// Rows are written together with the head: if it is the same, they are of it.
		again, err := f.cfg.Store.FiguresHead(ctx)
		if err != nil {
			return err
		}
		if again.Seq == head.Seq {
			f.mu.Lock()
			f.loaded = true
			f.mu.Unlock()
			return nil
		}
	}
}

// restore makes f what it was as of a head. The caller holds f.mu.
func (f *Figures) restore(ctx context.Context, head Head) error {
	f.seq, f.kept = head.Seq, head.Seq
	if head.Seq == 0 {
		return nil
	}
	var s state
	if err := json.Unmarshal(head.State, &s); err != nil {
		return fmt.Errorf("reading the state: %w", err)
	}
	if z, err := time.LoadLocation(s.Zone); err == nil {
		f.zone = z
	}
	for _, t := range s.Tasks {
		if t.Group < 0 || t.Group >= len(s.Groups) {
			continue
		}
		f.tasks[taskKey(t.Key)] = &task{group: s.Groups[t.Group], disturbed: t.Flags&1 != 0, stopped: t.Flags&2 != 0, at: t.At}
	}
	f.swept = s.Swept
	r := conduct.NewReader(s.Uploads)
	if f.uploads.Read(r); r.Err() != nil {
		return fmt.Errorf("reading the state: %w", r.Err())
	}
	for _, o := range s.Open {
		from := time.UnixMicro(o.From).UTC()
		rows, err := f.cfg.Store.FigureRows(ctx, o.Length, false, from, from.Add(time.Microsecond))
		if err != nil {
			return err
		}
		if len(rows) != 1 {
			continue
		}
		sp, err := spanOf(rows[0])
		if err != nil {
			return err
		}
		f.open[o.Length] = sp
		if o.Length != Day {
			continue
		}
		if rows, err = f.cfg.Store.FigureRows(ctx, Day, true, from, from.Add(time.Microsecond)); err != nil {
			return err
		}
		for _, r := range rows {
			g, err := groupFrom(r)
			if err != nil {
				return err
			}
			f.day[r.Group] = g
		}
	}
	return nil
}

func spanOf(r Row) (*span, error) {
	s := &span{}
	if err := json.Unmarshal(r.Record, s); err != nil {
		return nil, fmt.Errorf("reading figures of %s: %w", r.From, err)
	}
	s.from, s.until, s.asOf = r.From, r.Until, r.AsOf
	return s, nil
}

func groupFrom(r Row) (*group, error) {
	g := &group{}
	if err := json.Unmarshal(r.Record, g); err != nil {
		return nil, fmt.Errorf("reading figures of %s: %w", r.From, err)
	}
	g.asOf = r.AsOf
	return g, nil
}

// keep is Keep, whose error is told to the operator.
func (f *Figures) keep(ctx context.Context) {
	if err := f.Keep(ctx); err != nil && ctx.Err() == nil {
		f.cfg.Logger.WarnContext(ctx, "figures are not kept", "err", err)
	}
}

// Keep writes what has changed since it was kept last. Run calls it from time to time.
func (f *Figures) Keep(ctx context.Context) error {
	f.keeping.Lock()
	defer f.keeping.Unlock()
	f.mu.Lock()
	if !f.loaded || f.changed == 0 {
		f.mu.Unlock()
		return nil
	}
	next, rows, err := f.snapshot()
	f.mu.Unlock()
	if err != nil {
		return err
	}
	now := f.cfg.Now()
	forget := Forget{Before: map[Length]time.Time{}, Groups: now.Add(-keepsGroups)}
	for l, d := range keeps {
		forget.Before[l] = now.Add(-d)
	}
	err = f.cfg.Store.PutFigures(ctx, next, rows, forget)
	if errors.Is(err, authz.ErrConflict) {
		// Another replica has kept all of it, and more.
		var head Head
		if head, err = f.cfg.Store.FiguresHead(ctx); err != nil {
			return err
		}
		if head.Seq < next.Seq || head.Format != Format {
			return nil // a newer program, or begun anew: next time
		}
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = max(f.kept, next.Seq)
	if f.seq == next.Seq {
		f.changed = 0
	}
	for k, r := range f.dirty {
		if r.AsOf <= f.kept {
			delete(f.dirty, k)
		}
	}
	return nil
}

// snapshot returns what is to be kept now. The caller holds f.mu.
func (f *Figures) snapshot() (next Head, rows []Row, err error) {
	all := map[rowKey]*row{}
	for k, r := range f.dirty {
		all[k] = r
	}
	s := state{Zone: f.zone.String(), Swept: f.swept, Uploads: f.uploads.Append(nil)}
	for l, sp := range f.open {
		s.Open = append(s.Open, keptWhile{l, sp.from.UnixMicro()})
		if sp.asOf > f.kept {
			all[rowKey{l, "", sp.from.UnixMicro()}] = &row{Row{Length: l, From: sp.from, Until: sp.until, AsOf: sp.asOf}, sp}
		}
		if l != Day {
			continue
		}
		for k, g := range f.day {
			if g.asOf > f.kept {
				all[rowKey{Day, k, sp.from.UnixMicro()}] = &row{Row{Length: Day, Group: k, From: sp.from, Until: sp.until, AsOf: g.asOf}, g}
			}
		}
	}
	index := map[string]int{}
	for k, t := range f.tasks {
		g, ok := index[t.group]
		if !ok {
			g = len(s.Groups)
			index[t.group], s.Groups = g, append(s.Groups, t.group)
		}
		flags := 0
		if t.disturbed {
			flags |= 1
		}
		if t.stopped {
			flags |= 2
		}
		s.Tasks = append(s.Tasks, keptTask{uint64(k), g, t.at, flags})
	}
	next = Head{Seq: f.seq, Format: Format}
	if next.State, err = json.Marshal(&s); err != nil {
		return next, nil, fmt.Errorf("encoding figures: %w", err)
	}
	keys := make([]rowKey, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, rowKey.compare)
	for _, k := range keys {
		r := all[k].Row
		if r.Record, err = json.Marshal(all[k].made); err != nil {
			return next, nil, fmt.Errorf("encoding figures: %w", err)
		}
		rows = append(rows, r)
	}
	return next, rows, nil
}
