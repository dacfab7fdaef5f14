package audit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/safeconduct/safeconduct/authz"
)

// VerifyOptions say what Verify looks at beyond the log itself.
type VerifyOptions struct {
	// Checkpoints are signed notes that were kept elsewhere, by an auditor or a witness. The log
	// must continue each of them. Without one, Verify cannot notice that the whole log was
	// rewritten by somebody who has its key.
	Checkpoints [][]byte
	// Silence is how long at most no entry is expected; longer spans are reported. 30 s by default,
	// three heartbeats.
	Silence time.Duration
	// Progress is called now and then, from one goroutine, with the number of entries verified so
	// far and their total. It may be nil.
	Progress func(done, total int64)
}

// A Report says what Verify has found.
type Report struct {
	Entries     int64          `json:"entries"`
	Batches     int64          `json:"batches"`
	First       time.Time      `json:"first,omitzero"` // time of the first entry
	Last        time.Time      `json:"last,omitzero"`
	Stored      int64          `json:"stored_bytes"` // compressed segments
	Kinds       map[Kind]int64 `json:"kinds"`        // how many entries; rare kinds beyond a hundred count as "other"
	Writers     int            `json:"writers"`      // processes that wrote
	Root        string         `json:"root"`         // of the tree of all batches
	Origin      string         `json:"origin,omitempty"`
	Signed      int64          `json:"signed_batches"` // size of the newest checkpoint
	Checkpoints int            `json:"checkpoints"`    // how many were checked, those of the options included
	Gaps        []Gap          `json:"gaps,omitempty"` // missing entries
	Silences    []Silence      `json:"silences,omitempty"`
	Longest     time.Duration  `json:"longest_silence_ns"`
	Faults      []*Fault       `json:"faults,omitempty"` // the first of them, at most maxFaults
	FaultCount  int64          `json:"fault_count"`
	Seconds     float64        `json:"seconds"`
}

// A Gap is a run of numbers that no entry has.
type Gap struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// A Silence is a span in which nobody wrote, not even a heartbeat.
type Silence struct {
	After int64     `json:"after"` // number of the last entry before it
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	// Announced is whether the last entry before it, heartbeats aside, says that a service stops.
	Announced bool `json:"announced"`
}

// Err returns the first fault, nil if the log is whole.
func (r *Report) Err() error {
	if len(r.Faults) == 0 {
		return nil
	}
	return r.Faults[0]
}

const (
	maxFaults   = 100
	maxSilences = 1000
	maxKinds    = 100
	maxWriters  = 1 << 20
)

// Verify reads a whole log again and recomputes every hash: entries are numbered without gaps and
// their times never go back, each batch has the root that its leaf says, each process has counted
// its entries without gaps, the stored hashes of the tree are right, and the log continues every
// signed checkpoint. What is wrong is in the Report, whose Err is the first fault; Verify returns an
// error only if it could not finish. It needs memory for a few batches. A log that grows meanwhile
// is verified up to where it was at the start.
func Verify(ctx context.Context, store Store, verifiers []note.Verifier, opts VerifyOptions) (*Report, error) {
	if opts.Silence <= 0 {
		opts.Silence = 30 * time.Second
	}
	start := time.Now()
	v := &verification{opts: opts, store: store, r: &Report{Kinds: map[Kind]int64{}}, writers: map[string]int64{}}
	if err := v.begin(ctx, verifiers); err != nil {
		return nil, err
	}
	if err := v.run(ctx); err != nil {
		return nil, err
	}
	if err := v.finish(ctx); err != nil {
		return nil, err
	}
	v.r.Seconds = time.Since(start).Seconds()
	return v.r, nil
}

// A verification is one Verify under way.
type verification struct {
	opts  VerifyOptions
	store Store
	r     *Report

	head    Head
	signed  []*Checkpoint        // to compare with
	roots   map[int64]*tlog.Hash // of the trees whose sizes they have
	tree    rootBuilder
	stored  []tlog.Hash // computed and not yet compared
	from    int64       // index of the first of stored
	next    int64       // number of the entry that should come next
	last    Entry       // only its number and time
	word    Kind        // of the last entry that is not a heartbeat
	writers map[string]int64
}

// fault notes that something is wrong.
func (v *verification) fault(batch, seq int64, format string, args ...any) {
	v.note(&Fault{Batch: batch, Seq: seq, Err: authz.Errorf(authz.ErrInvalid, format, args...)})
}

func (v *verification) note(f *Fault) {
	if v.r.FaultCount++; len(v.r.Faults) < maxFaults {
		v.r.Faults = append(v.r.Faults, f)
	}
}

// begin reads what is claimed: checkpoints first, so that the head is not older than they are.
func (v *verification) begin(ctx context.Context, verifiers []note.Verifier) error {
	notes := v.opts.Checkpoints
	switch b, err := v.store.Checkpoint(ctx); {
	case err == nil:
		notes = append([][]byte{b}, notes...)
	case !errors.Is(err, authz.ErrNotFound):
		return fmt.Errorf("reading the checkpoint: %w", err)
	}
	v.roots = map[int64]*tlog.Hash{}
	for i, b := range notes {
		cp, err := ParseCheckpoint(b, verifiers...)
		if err != nil {
			v.fault(-1, 0, "checkpoint %d of %d: %w", i+1, len(notes), err)
			continue
		}
		v.signed = append(v.signed, cp)
		v.roots[cp.Size] = nil
		v.r.Signed, v.r.Origin = max(v.r.Signed, cp.Size), cp.Origin
	}
	v.r.Checkpoints = len(v.signed)
	var err error
	if v.head, err = v.store.Head(ctx); err != nil {
		return fmt.Errorf("reading the head: %w", err)
	}
	v.next = 1
	return nil
}

// A job is one segment on its way: done is closed when it has been unpacked, or could not be.
type job struct {
	seg   Segment
	block *block
	hash  tlog.Hash // of the leaf
	err   error
	done  chan struct{}
}

// run reads all segments, unpacks several at a time, and looks at them in order.
func (v *verification) run(ctx context.Context) error {
	workers := runtime.GOMAXPROCS(0)
	g, ctx := errgroup.WithContext(ctx)
	work, order := make(chan *job, workers), make(chan *job, 2*workers)
	g.Go(func() error {
		defer close(work)
		defer close(order)
		return v.read(ctx, func(j *job) error {
			for _, c := range []chan *job{order, work} {
				select {
				case c <- j:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	})
	for range workers {
		g.Go(func() error {
			c, err := newCodec()
			if err != nil {
				return err
			}
			defer c.dec.Close()
			for j := range work {
				j.block, j.err = c.unpack(j.seg, false)
				j.hash = tlog.RecordHash(j.seg.Leaf)
				close(j.done)
			}
			return nil
		})
	}
	g.Go(func() error {
		for j := range order {
			select {
			case <-j.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := v.take(ctx, j); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// read calls f with every segment up to the head.
func (v *verification) read(ctx context.Context, f func(*job) error) error {
	for after := int64(0); after < v.head.Entries; {
		segs, err := v.store.Segments(ctx, after, 8)
		if err != nil {
			return fmt.Errorf("reading segments after entry %d: %w", after, err)
		}
		if len(segs) == 0 {
			return nil // finish notices
		}
		for _, s := range segs {
			if s.First > v.head.Entries {
				return nil
			}
			if err := f(&job{seg: s, done: make(chan struct{})}); err != nil {
				return err
			}
			after = max(after+1, s.First+int64(s.Count)-1)
		}
	}
	return nil
}
