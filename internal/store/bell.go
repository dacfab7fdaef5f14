package store

import (
	"context"
	"sync"
	"time"
)

// ringEvery is the least time between two rings to other processes. A ring is a doorbell, not a
// message: one is enough for everything that was appended before it. It never rings inside the
// transaction that appends, since PostgreSQL takes a lock over the whole cluster to commit one.
const ringEvery = 50 * time.Millisecond

// A bell tells whoever follows the log that it may have grown.
type bell struct {
	mu     sync.Mutex
	heard  map[chan struct{}]bool
	timer  *time.Timer // of a ring to other processes that is due
	last   time.Time   // of the last such ring
	closed bool
	out    sync.WaitGroup // rings under way
}

// ring wakes the followers of this process now, and calls out, unless nil, for those of others:
// at most once every ringEvery, in a goroutine of its own.
func (b *bell) ring(out func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.heard {
		select {
		case c <- struct{}{}:
		default: // it has a signal that it has not taken yet
		}
	}
	if out == nil || b.closed || b.timer != nil {
		return
	}
	b.out.Add(1)
	b.timer = time.AfterFunc(max(0, ringEvery-time.Since(b.last)), func() {
		defer b.out.Done()
		b.mu.Lock()
		b.timer, b.last = nil, time.Now() // before the ring: what is appended during it rings again
		b.mu.Unlock()
		out()
	})
}

// hear returns a channel that is signalled by every ring until ctx ends.
func (b *bell) hear(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	b.mu.Lock()
	if b.heard == nil {
		b.heard = make(map[chan struct{}]bool)
	}
	b.heard[c] = true
	b.mu.Unlock()
	context.AfterFunc(ctx, func() {
		b.mu.Lock()
		delete(b.heard, c)
		b.mu.Unlock()
	})
	return c
}

// stop drops the ring that is due and waits for the one under way.
func (b *bell) stop() {
	b.mu.Lock()
	b.closed = true
	if b.timer != nil && b.timer.Stop() {
		b.out.Done()
	}
	b.mu.Unlock()
	b.out.Wait()
}
