package audit

import (
	"context"
	"sync"

	"github.com/safeconduct/safeconduct/authz"
)

// A batch is what is committed at once. While it is open, callers add to it under the queue's lock;
// once taken, it belongs to the committing goroutine until done is closed.
type batch struct {
	data    []byte  // segmentHead bytes of room, then the encoded entries
	starts  []int   // where each entry begins in data
	bodies  []int   // where each entry's body begins in data
	entries []Entry // kinds, actors, and the times they were handed in
	callers int
	behind  int // callers that waited for the next batch when this one was committed

	done  chan struct{} // closed when the outcome is known
	first int64         // number of the first entry
	err   error         // why nothing was recorded
}

// A queue gathers drafts into batches.
type queue struct {
	cfg Config

	mu      sync.Mutex
	batches []*batch // the last one is open
	entries int      // in all of them
	bytes   int
	last    struct{ data, entries int } // of the batch before, to make room for the next at once
	room    chan struct{}               // closed when something was taken; nil if nobody waits
	err     error                       // why nothing is accepted any more
	wake    chan struct{}               // tells the committing goroutine, holds one
	hoped   int                         // callers that the oldest batch is held for; 0 if it is not held
	ready   chan struct{}               // tells that it need not be held any longer, holds one
}

func (q *queue) init(cfg Config) {
	q.cfg = cfg
	q.wake, q.ready = make(chan struct{}, 1), make(chan struct{}, 1)
}

// join adds drafts to the open batch and returns it, and the place of the first of them in it. It
// waits for room in the queue.
func (q *queue) join(ctx context.Context, drafts []Draft, size int) (*batch, int, error) {
	for {
		q.mu.Lock()
		if q.err != nil {
			q.mu.Unlock()
			return nil, 0, q.err
		}
		if q.entries+len(drafts) <= q.cfg.QueueEntries && q.bytes+size <= q.cfg.QueueBytes {
			b, i := q.add(drafts, size)
			if b.callers >= q.hoped || len(q.batches) > 1 {
				q.unhold()
			}
			q.mu.Unlock()
			select {
			case q.wake <- struct{}{}:
			default:
			}
			return b, i, nil
		}
		if q.room == nil {
			q.room = make(chan struct{})
		}
		q.unhold() // nobody can join any more
		room := q.room
		q.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// add adds drafts to the open batch, or to a new one if they do not fit.
func (q *queue) add(drafts []Draft, size int) (*batch, int) {
	var b *batch
	if n := len(q.batches); n > 0 {
		b = q.batches[n-1]
	}
	if b == nil || len(b.entries)+len(drafts) > q.cfg.BatchEntries || len(b.data)-segmentHead+size > q.cfg.BatchBytes {
		b = &batch{
			data:    make([]byte, segmentHead, max(segmentHead+size, q.last.data)),
			starts:  make([]int, 0, max(len(drafts), q.last.entries)),
			bodies:  make([]int, 0, max(len(drafts), q.last.entries)),
			entries: make([]Entry, 0, max(len(drafts), q.last.entries)),
			done:    make(chan struct{}),
		}
		q.batches = append(q.batches, b)
	}
	i := len(b.entries)
	now := q.cfg.Now()
	for j := range drafts {
		d := &drafts[j]
		b.starts = append(b.starts, len(b.data))
		var body int
		b.data, body = appendDraft(b.data, d)
		b.bodies = append(b.bodies, body)
		b.entries = append(b.entries, Entry{At: now, Kind: d.Kind, Actor: d.Actor})
	}
	b.callers++
	q.entries += len(drafts)
	q.bytes += size
	return b, i
}

// take returns the oldest batch, nil if there is none.
func (q *queue) take() *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.batches) == 0 {
		return nil
	}
	b := q.batches[0]
	q.batches[0] = nil
	q.batches = q.batches[1:]
	q.entries -= len(b.entries)
	q.bytes -= len(b.data) - segmentHead
	q.last.data, q.last.entries = len(b.data)+len(b.data)/8, len(b.entries)+len(b.entries)/8
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
	return b
}

// waiting returns how many calls wait in the open batch.
func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.batches) == 0 {
		return 0
	}
	return q.batches[len(q.batches)-1].callers
}

// hold makes ready tell when the oldest batch has that many callers, or when no more can join it. It
// returns false if there is nothing to be waited for.
func (q *queue) hold(callers int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.batches) != 1 || q.batches[0].callers >= callers || len(q.batches[0].entries) >= q.cfg.BatchEntries || q.room != nil || q.err != nil {
		return false
	}
	q.hoped = callers
	return true
}

// unhold tells, once, that the batch that is held is ready. Callers have q.mu.
func (q *queue) unhold() {
	if q.hoped > 0 {
		q.hoped = 0
		q.ready <- struct{}{} // there is room: hold comes after the last was taken
	}
}

// release ends hold.
func (q *queue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.hoped == 0 { // it has just been told
		<-q.ready
	}
	q.hoped = 0
}

// close refuses what comes from now on; what is queued stays.
func (q *queue) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
	}
	q.unhold()
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// stop refuses what comes and what is queued.
func (q *queue) stop(err error) {
	q.close(err)
	for b := q.take(); b != nil; b = q.take() {
		b.finish(0, err)
	}
}

// finish tells the callers the outcome.
func (b *batch) finish(first int64, err error) {
	b.first, b.err = first, err
	close(b.done)
}

// Record appends the drafts, one after the other and in one batch, and returns the number of the
// first once all are durable. The numbers of the others follow it.
// If it returns an error (authz.ErrUnavailable, authz.ErrInvalid, ctx.Err), nothing may be said to
// have happened; the drafts may or may not be found in the log later.
func (l *Log) Record(ctx context.Context, drafts ...Draft) (int64, error) {
	size := 0
	for i := range drafts {
		if err := drafts[i].check(); err != nil {
			return 0, err
		}
		size += drafts[i].encodedSize()
	}
	if len(drafts) == 0 || len(drafts) > l.cfg.BatchEntries || size > l.cfg.BatchBytes {
		return 0, authz.Errorf(authz.ErrInvalid, "%d entries of %d bytes together: a batch has 1 to %d of at most %d bytes",
			len(drafts), size, l.cfg.BatchEntries, l.cfg.BatchBytes)
	}
	b, i, err := l.queue.join(ctx, drafts, size)
	if err != nil {
		return 0, err
	}
	select {
	case <-b.done:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if b.err != nil {
		return 0, b.err
	}
	return b.first + int64(i), nil
}
