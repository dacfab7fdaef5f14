package audit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// FollowerConfig configures a Follower.
type FollowerConfig struct {
	// Appliers are called with every entry, one after the other in this order.
	Appliers []Applier
	// After is the number of the last entry that need not be applied: what the appliers loaded
	// from their tables at least covers it.
	After int64
	// Stale is how old at most the newest knowledge of the log's end may be for Fresh; 5 s by
	// default. A replica that is cut off decides by old rules for so long.
	Stale time.Duration
	// Watch, if it is not nil, is called with every entry once all appliers have it, and with the first verdict that one
	// of them has against it: before who waits for the entry goes on. It must return at once.
	Watch func(e Entry, verdict error)
	// Logger is told of trouble; none by default.
	Logger *slog.Logger
}

// A Follower applies the log's entries to the appliers, in order. It is safe for concurrent use.
type Follower struct {
	log *Log
	cfg FollowerConfig

	mu       sync.Mutex
	running  bool
	seq      int64 // the newest applied entry
	waiting  waiters
	verdicts map[int64]error // of entries that changed nothing, while somebody may ask
	asking   map[*int64]struct{}
	stuck    error     // why the next entry cannot be applied
	fresh    time.Time // everything that the log had by then is applied
	mark     mark
	applied  atomic.Int64 // seq, for readers in a hurry
}

// A mark remembers where the log ended at some time, until it is applied so far.
type mark struct {
	seq int64
	at  time.Time
}

// NewFollower returns a follower of l. It starts nothing: see Run.
func NewFollower(l *Log, cfg FollowerConfig) *Follower {
	if cfg.Stale <= 0 {
		cfg.Stale = 5 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Follower{log: l, cfg: cfg, seq: cfg.After, verdicts: map[int64]error{}, asking: map[*int64]struct{}{}}
	f.applied.Store(cfg.After)
	return f
}

// Run applies entries until ctx ends; it returns an error if the log is damaged.
func (f *Follower) Run(ctx context.Context) error {
	f.mu.Lock()
	f.running = true
	f.mu.Unlock()
	err := f.log.Follow(ctx, f.cfg.After, func(ctx context.Context, es []Entry) error {
		f.look()
		for i := range es {
			verdict, err := f.apply(ctx, es[i])
			if err != nil {
				return err
			}
			if f.cfg.Watch != nil {
				f.cfg.Watch(es[i], verdict)
			}
			f.advance(es[i].Seq, verdict, i == len(es)-1)
		}
		return nil
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// apply brings e into effect, however long it takes, and returns the verdict.
func (f *Follower) apply(ctx context.Context, e Entry) (verdict, err error) {
	for _, a := range f.cfg.Appliers {
		for wait := backoff(0); ; {
			err := a.Apply(ctx, e)
			if err == nil {
				break
			}
			if isVerdict(err) {
				if verdict == nil {
					verdict = err
				}
				break
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if wait == 0 {
				f.cfg.Logger.ErrorContext(ctx, "entry cannot be applied", "entry", e.Seq, "kind", e.Kind, "error", err)
			}
			f.stick(err)
			wait = wait.next()
			if err := wait.sleep(ctx); err != nil {
				return nil, err
			}
		}
	}
	return verdict, nil
}

// isVerdict reports whether an error says that an entry changes nothing, whoever applies it and however
// often. Every other is trouble of this process, and the entry is tried again.
func isVerdict(err error) bool {
	for _, kind := range []error{authz.ErrInvalid, authz.ErrNotFound, authz.ErrConflict, authz.ErrForbidden, authz.ErrUnauthenticated} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

func (f *Follower) stick(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stuck = err
}

// look remembers where the log ends now, unless an earlier mark is still ahead.
func (f *Follower) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle()
}

// settle takes over what is known of the log's end, as far as it is applied.
func (f *Follower) settle() {
	if f.seq < f.mark.seq || !f.running {
		return
	}
	before, now := f.log.tail.marks()
	for _, m := range [...]mark{f.mark, before, now} {
		if f.seq >= m.seq && m.at.After(f.fresh) {
			f.fresh = m.at
		}
	}
	f.mark = now
}

// advance notes that the entry numbered seq is applied, and wakes who waits for it.
func (f *Follower) advance(seq int64, verdict error, last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq, f.stuck = seq, nil
	f.applied.Store(seq)
	if verdict != nil && len(f.asking) > 0 {
		f.verdicts[seq] = verdict
	}
	if last {
		f.settle()
	}
	f.waiting.wake(seq)
}

// Seq returns the number of the newest entry that is applied.
func (f *Follower) Seq() int64 { return f.applied.Load() }

// Wait waits until the entry numbered seq is applied.
func (f *Follower) Wait(ctx context.Context, seq int64) error {
	f.mu.Lock()
	if f.seq >= seq {
		f.mu.Unlock()
		return nil
	}
	w := f.waiting.add(seq)
	f.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		f.waiting.remove(w)
		return ctx.Err()
	}
}

// Commit is CommitAll of one draft.
func (f *Follower) Commit(ctx context.Context, d Draft) (int64, error) { return f.CommitAll(ctx, d) }

// CommitAll records drafts as entries that follow one another, waits until this process has applied
// them, and returns the number of the first and the first verdict that an applier has against one.
// If it returns the number 0, see Log.Record; if it returns a number and ctx.Err, the entries are
// recorded and the verdict is not known yet.
func (f *Follower) CommitAll(ctx context.Context, drafts ...Draft) (int64, error) {
	f.mu.Lock()
	floor := f.seq
	f.asking[&floor] = struct{}{}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.asking, &floor)
		f.forget()
	}()
	first, err := f.log.Record(ctx, drafts...)
	if err != nil {
		return 0, err
	}
	last := first + int64(len(drafts)) - 1
	if err := f.Wait(ctx, last); err != nil {
		return first, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.verdicts) > 0 {
		for seq := first; seq <= last; seq++ {
			if err := f.verdicts[seq]; err != nil {
				return first, err
			}
		}
	}
	return first, nil
}

// forget drops the verdicts that nobody can ask for: an entry recorded by Commit has a number above
// what was applied when Commit began.
func (f *Follower) forget() {
	if len(f.verdicts) == 0 {
		return
	}
	if len(f.asking) == 0 {
		clear(f.verdicts)
		return
	}
	lowest := int64(1<<63 - 1)
	for p := range f.asking {
		lowest = min(lowest, *p)
	}
	for seq := range f.verdicts {
		if seq <= lowest {
			delete(f.verdicts, seq)
		}
	}
}

// Fresh returns nil if what this process has applied is recent enough to decide by, else
// authz.ErrUnavailable and why: an entry cannot be applied, the log could not be read for longer
// than the bound, or applying lags behind by more than it.
func (f *Follower) Fresh() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stuck != nil {
		return authz.Errorf(authz.ErrUnavailable, "entry %d cannot be applied: %w", f.seq+1, f.stuck)
	}
	if age := time.Since(f.fresh); age > f.cfg.Stale {
		if f.settle(); time.Since(f.fresh) <= f.cfg.Stale {
			return nil
		}
		if f.fresh.IsZero() {
			return authz.Errorf(authz.ErrUnavailable, "the log has not been read to its end yet")
		}
		return authz.Errorf(authz.ErrUnavailable, "the log was last read to its end %v ago", age.Round(time.Millisecond))
	}
	return nil
}
