package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/authz"
)

// write commits batches, one at a time, until ctx ends and the queue is empty.
func (l *Log) write(ctx context.Context) error {
	// A commit that has begun is finished even if ctx ends meanwhile.
	work := context.WithoutCancel(ctx)
	var (
		pace  pace
		beat  <-chan time.Time
		timer *time.Timer
	)
	if l.cfg.Heartbeat > 0 {
		timer = time.NewTimer(l.cfg.Heartbeat)
		defer timer.Stop()
		beat = timer.C
	}
	for {
		select {
		case <-l.queue.wake:
		case <-beat:
			l.beat()
		case <-ctx.Done():
			l.queue.close(errStopped)
		}
		for {
			pace.gather(&l.queue)
			b := l.queue.take()
			if b == nil {
				break
			}
			start := time.Now()
			err := l.commit(work, b)
			if isFault(err) {
				l.queue.stop(errStopped)
				return fmt.Errorf("appending to the log: %w", err)
			}
			pace.note(b, time.Since(start))
			if timer != nil {
				timer.Reset(l.cfg.Heartbeat)
			}
			if ctx.Err() != nil && l.failed.Load() {
				return nil // what is left is refused
			}
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// beat puts a heartbeat into the queue; nobody waits for it.
func (l *Log) beat() {
	body, err := json.Marshal(struct {
		Writer   string  `json:"writer"`
		Name     string  `json:"name,omitempty"`
		Recorded int64   `json:"recorded"`
		Interval float64 `json:"interval_seconds"`
	}{l.writer, l.cfg.Writer, l.tail.end().nth, l.cfg.Heartbeat.Seconds()})
	if err != nil {
		panic(err) // strings and numbers
	}
	d := Draft{Kind: Heartbeat, Actor: "safeconduct", Body: body}
	gone, cancel := context.WithCancel(context.Background())
	cancel() // if there is no room, there is no silence either
	_, _, _ = l.queue.join(gone, []Draft{d}, d.encodedSize())
}

// commit makes b durable and tells its callers. It returns an error only if the log is damaged.
//
// A batch is bound to the head that it was built for. As long as that head stands, it is offered
// again byte for byte, so that of all the attempts at most one can succeed; once the head has
// moved, the segment in the batch's place is read, and it is either this one, which is then
// acknowledged, or another's, and then no attempt can succeed any more and b is built anew.
func (l *Log) commit(ctx context.Context, b *batch) (fault error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Patience)
	defer cancel()
	var (
		base end
		seg  Segment
		blk  *block
		err  error
	)
	for wait := backoff(0); ; wait = wait.next() {
		if blk == nil {
			base = l.tail.end()
			if seg, blk, err = l.build(b, base); err != nil {
				break
			}
		}
		start := time.Now()
		if err = l.store.Append(ctx, base.head, seg); err == nil {
			_, err = l.tail.extend(blk, tlog.RecordHash(seg.Leaf), l.writer, start, l.cfg.MemoryBytes)
			if err != nil { // the store has accepted what does not follow
				b.finish(0, authz.Errorf(authz.ErrUnavailable, "recording: %w", err))
				return err
			}
			l.accept(b, seg.First)
			return nil
		}
		ours, moved, rerr := l.resolve(ctx, base.head, seg)
		if moved && !ours {
			blk = nil // only now: what the tail has seen meanwhile may be this very batch
		}
		switch {
		case ours:
			l.accept(b, seg.First)
			return nil
		case isFault(rerr):
			b.finish(0, authz.Errorf(authz.ErrUnavailable, "recording: %w", rerr))
			return rerr
		case rerr != nil:
			err = fmt.Errorf("%w; and its outcome is unknown: %w", err, rerr)
		case moved:
			wait = 0 // another replica was first: our turn is next
			continue
		}
		if l.failed.Load() || ctx.Err() != nil || wait.sleep(ctx) != nil {
			break
		}
	}
	if !l.failed.Load() {
		l.cfg.Logger.ErrorContext(ctx, "log not writable", "error", err)
	}
	l.failed.Store(true)
	b.finish(0, authz.Errorf(authz.ErrUnavailable, "recording: %w", err))
	return nil
}

// accept acknowledges a batch.
func (l *Log) accept(b *batch, first int64) {
	if l.failed.Load() {
		l.cfg.Logger.Info("log writable again", "entry", first)
		l.failed.Store(false)
	}
	b.behind = l.queue.waiting() // before they are told, and come again
	b.finish(first, nil)
}

// resolve finds out whether seg, which was built for head, is in the log, and if the head has
// moved reads the log up to the new one.
func (l *Log) resolve(ctx context.Context, head Head, seg Segment) (ours, moved bool, err error) {
	segs, err := l.segments(ctx, head.Entries, 1)
	if err != nil {
		return false, false, err
	}
	if len(segs) == 0 {
		return false, false, nil
	}
	if err := l.catchUp(ctx); err != nil {
		return same(segs[0], seg), true, err
	}
	return same(segs[0], seg), true, nil
}

// build stamps, hashes and compresses b as the batch that follows the given end. It may be called
// again for another end.
func (l *Log) build(b *batch, e end) (Segment, *block, error) {
	blk := &block{batch: e.head.Batches, entries: make([]Entry, len(b.entries)), size: len(b.data) + len(b.entries)*96}
	blk.leaf = Leaf{First: e.head.Entries + 1, Count: len(b.entries), Writer: l.writer, Nth: e.nth + 1}
	if _, err := io.ReadFull(l.cfg.Rand, blk.seed[:]); err != nil {
		return Segment{}, nil, fmt.Errorf("drawing a seed: %w", err)
	}
	data := b.data
	data[0] = segmentVersion
	copy(data[1:], blk.seed[:])
	micros := max(e.at.UnixMicro(), 0)
	for i := range b.entries {
		seq := blk.leaf.First + int64(i)
		micros = max(micros, b.entries[i].At.UnixMicro())
		stop := len(data)
		if i+1 < len(b.starts) {
			stop = b.starts[i+1]
		}
		stamp(data[b.starts[i]:], seq, micros)
		blk.entries[i] = Entry{Seq: seq, At: timeOf(micros), Kind: b.entries[i].Kind, Actor: b.entries[i].Actor,
			Body: data[b.bodies[i]:stop:stop]}
	}
	blk.leaf.At = timeOf(micros)

	var packed []byte
	compress := func() { packed = l.codec.enc.EncodeAll(data, make([]byte, 0, len(data)/3+1024)) }
	var tree rootBuilder
	hash := func() {
		var (
			scratch = make([]byte, 0, 2048)
			h       tlog.Hash
		)
		for i := range b.starts {
			stop := len(data)
			if i+1 < len(b.starts) {
				stop = b.starts[i+1]
			}
			h, scratch = entryHash(scratch, blk.seed.salt(blk.leaf.First+int64(i)), data[b.starts[i]:stop])
			tree.add(h)
		}
	}
	if len(data) < 32<<10 {
		hash()
		compress()
	} else { // side by side: it pays from about twenty microseconds
		hashed := make(chan struct{})
		go func() { hash(); close(hashed) }()
		compress()
		<-hashed
	}
	blk.leaf.Root = tree.root()

	s := Segment{Batch: blk.batch, First: blk.leaf.First, Count: blk.leaf.Count, Data: packed, Leaf: blk.leaf.Bytes()}
	s.Hashes = e.edge.stored(tlog.RecordHash(s.Leaf))
	return s, blk, nil
}
