package audit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/safeconduct/safeconduct/authz"
)

// A Log is the append-only log. It is safe for concurrent use. Make one with New; Run must be
// running for Record, Follow and Checkpoint to get anywhere.
type Log struct {
	store  Store
	cfg    Config
	writer string // this process, in leaves
	codec  *codec
	queue  queue
	tail   tail
	catch  chan struct{} // holds a token while nobody reads the store up to the head
	failed atomic.Bool   // the last commit failed

	checkpoint atomic.Pointer[Checkpoint] // the newest that this process knows
	signing    chan struct{}              // holds a token while nobody signs
}

// New returns a log over a store. It starts nothing: see Run.
func New(store Store, cfg Config) (*Log, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configuring the log: %w", err)
	}
	var id [8]byte
	if _, err := io.ReadFull(cfg.Rand, id[:]); err != nil {
		return nil, fmt.Errorf("naming the writer: %w", err)
	}
	c, err := newCodec()
	if err != nil {
		return nil, fmt.Errorf("preparing compression: %w", err)
	}
	l := &Log{store: store, cfg: cfg, writer: hex.EncodeToString(id[:]), codec: c,
		catch: make(chan struct{}, 1), signing: make(chan struct{}, 1)}
	l.catch <- struct{}{}
	l.signing <- struct{}{}
	l.tail.grown, l.tail.ready = make(chan struct{}), make(chan struct{})
	l.queue.init(cfg)
	return l, nil
}

// Run does the log's work until ctx ends: it commits batches, looks for those of other replicas,
// and signs checkpoints. When ctx ends, Record refuses, what was queued is still committed if the
// store lets it, and a last checkpoint is signed. It returns an error if the log is damaged or is
// not the one that its checkpoint was signed for; an unreachable store it waits for.
func (l *Log) Run(ctx context.Context) error {
	defer l.queue.stop(errStopped)
	if err := l.open(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("opening the log: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.write(ctx) })
	g.Go(func() error { return l.watch(ctx) })
	g.Go(func() error { l.sign(ctx); return nil })
	if err := g.Wait(); err != nil {
		return err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.cfg.Patience)
	defer cancel()
	if _, err := l.Checkpoint(last); err != nil {
		l.cfg.Logger.WarnContext(last, "last checkpoint not signed", "error", err)
	}
	return nil
}

// Stats are figures of a log for those who watch it.
type Stats struct {
	Entries int64 // number of the newest entry that this process knows
	Batches int64 // size of the tree
	Signed  int64 // how many batches the newest checkpoint covers that this process knows
	Queued  int   // entries that wait for their commit
	Failing bool  // the last commit failed
}

// Stats returns the log's figures.
func (l *Log) Stats() Stats {
	e := l.tail.end()
	s := Stats{Entries: e.head.Entries, Batches: e.head.Batches, Failing: l.failed.Load()}
	if cp := l.checkpoint.Load(); cp != nil {
		s.Signed = cp.Size
	}
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	s.Queued = l.queue.entries
	return s
}

// open loads the end of the log, again and again until the store answers.
func (l *Log) open(ctx context.Context) error {
	for wait := backoff(0); ; wait = wait.next() {
		err := l.load(ctx)
		if err == nil || ctx.Err() != nil || isFault(err) || errors.Is(err, authz.ErrInvalid) {
			return err
		}
		l.cfg.Logger.WarnContext(ctx, "log not readable yet", "error", err)
		if err := wait.sleep(ctx); err != nil {
			return err
		}
	}
}

// load reads the end of the log and checks that it continues what was signed last.
func (l *Log) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*l.cfg.Patience)
	defer cancel()
	// The checkpoint first: the log may grow meanwhile, but only beyond it.
	cp, err := l.storedCheckpoint(ctx)
	if err != nil {
		return err
	}
	seen := time.Now()
	head, err := l.head(ctx)
	if err != nil {
		return err
	}
	var at time.Time
	if head.Entries > 0 {
		segs, err := l.segments(ctx, head.Entries-1, 1)
		if err != nil {
			return err
		}
		if len(segs) != 1 || segs[0].Batch != head.Batches-1 {
			return &Fault{Batch: -1, Seq: head.Entries, Err: authz.Errorf(authz.ErrInvalid, "the last segment is missing")}
		}
		b, err := l.codec.unpack(segs[0], false)
		if err != nil {
			return err
		}
		if b.leaf.Last() != head.Entries {
			return &Fault{Batch: b.batch, Seq: head.Entries, Err: authz.Errorf(authz.ErrInvalid, "the last segment ends with entry %d, the log with %d", b.leaf.Last(), head.Entries)}
		}
		at = b.leaf.At
	}
	edge, err := loadEdge(ctx, l.store, head.Batches)
	if err != nil {
		return err
	}
	if cp != nil {
		if err := cp.continuedBy(ctx, l.store, edge.n, edge.root()); err != nil {
			return err
		}
		l.checkpoint.Store(cp)
	}
	l.tail.load(head, at, edge, seen)
	return nil
}

// watch looks for what other replicas have written: when the store signals, and by polling.
func (l *Log) watch(ctx context.Context) error {
	var bell <-chan struct{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case _, ok := <-bell:
			if !ok {
				bell = nil
				continue
			}
			// Our own commits ring too. A short rest joins the rings of a burst.
			if rest := 10*time.Millisecond - time.Since(last); rest > 0 {
				timer.Reset(rest)
				continue
			}
		}
		if bell == nil {
			var err error
			if bell, err = l.store.Changed(ctx); err != nil && ctx.Err() == nil {
				l.cfg.Logger.WarnContext(ctx, "no signal when the log grows, polling", "error", err)
			}
		}
		last = time.Now()
		switch err := l.catchUp(ctx); {
		case isFault(err):
			return fmt.Errorf("reading the log: %w", err)
		case err != nil && ctx.Err() == nil:
			l.cfg.Logger.WarnContext(ctx, "log not readable", "error", err)
		}
		timer.Reset(l.cfg.Poll)
	}
}

// catchUp reads the log up to where its head is now.
func (l *Log) catchUp(ctx context.Context) error {
	select {
	case <-l.catch:
		defer func() { l.catch <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	before := l.tail.end().head
	seen := time.Now()
	head, err := l.head(ctx)
	if err != nil {
		return err
	}
	if head.Batches < before.Batches {
		return &Fault{Batch: head.Batches, Seq: head.Entries + 1, Err: authz.Errorf(authz.ErrInvalid,
			"the store has gone back: it had %d batches and has %d", before.Batches, head.Batches)}
	}
	for {
		known := l.tail.end().head
		if head.Batches <= known.Batches {
			l.tail.confirm(seen)
			return nil
		}
		segs, err := l.segments(ctx, known.Entries, 16)
		if err != nil {
			return err
		}
		if len(segs) == 0 {
			return &Fault{Batch: known.Batches, Seq: known.Entries + 1, Err: authz.Errorf(authz.ErrInvalid, "segment is missing: the log has %d batches", head.Batches)}
		}
		for _, s := range segs {
			b, err := l.codec.unpack(s, false)
			if err != nil {
				return err
			}
			if _, err := l.tail.extend(b, tlog.RecordHash(s.Leaf), l.writer, time.Time{}, l.cfg.MemoryBytes); err != nil {
				return err
			}
		}
	}
}

// head asks the store, not for longer than is to be waited for it.
func (l *Log) head(ctx context.Context) (Head, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Patience)
	defer cancel()
	head, err := l.store.Head(ctx)
	if err != nil {
		return Head{}, fmt.Errorf("reading the head: %w", err)
	}
	return head, nil
}

// segments asks the store, not for longer than is to be waited for it.
func (l *Log) segments(ctx context.Context, after int64, limit int) ([]Segment, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Patience)
	defer cancel()
	segs, err := l.store.Segments(ctx, after, limit)
	if err != nil {
		return nil, fmt.Errorf("reading segments after entry %d: %w", after, err)
	}
	return segs, nil
}

// A backoff is a wait that doubles, from 5 ms to 1 s.
type backoff time.Duration

func (b backoff) next() backoff {
	return min(max(2*b, backoff(5*time.Millisecond)), backoff(time.Second))
}

func (b backoff) sleep(ctx context.Context) error {
	if b == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(time.Duration(b))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
