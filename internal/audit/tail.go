package audit

import (
	"context"
	"sort"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/authz"
)

// A tail is what a process knows of the end of the log: where it is, the right edge of the tree, and
// the newest entries.
type tail struct {
	mu     sync.RWMutex
	head   Head
	at     time.Time   // of the newest entry
	edge   rootBuilder // of head.Batches leaves
	nth    int64       // how many entries of head this process has recorded
	ring   []*block    // the newest blocks, in order, without gaps up to head
	bytes  int         // of ring
	seen   time.Time   // at that time the log went no further than head; zero if never known
	before mark        // an older such place and time, for who has not applied the newest entries yet
	loaded bool
	grown  chan struct{} // closed when the log grows
	ready  chan struct{} // closed when the tail is loaded
}

// An end is a copy of what must agree when a batch is built.
type end struct {
	head Head
	at   time.Time
	edge rootBuilder
	nth  int64
}

func (t *tail) end() end {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return end{t.head, t.at, t.edge, t.nth}
}

// position returns the newest known number and when it was known to be the newest.
func (t *tail) position() (int64, time.Time) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.head.Entries, t.seen
}

// marks returns where the log ends as far as is known, and where it ended up to a second or the
// length of its last silence before.
func (t *tail) marks() (before, now mark) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.before, mark{t.head.Entries, t.seen}
}

// size returns how many batches are known, and a channel that is closed when there are more.
func (t *tail) size() (int64, <-chan struct{}) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.head.Batches, t.grown
}

// load starts the tail at a place in the log.
func (t *tail) load(head Head, at time.Time, edge rootBuilder, seen time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.head, t.at, t.edge, t.seen = head, at, edge, seen
	if !t.loaded {
		t.loaded = true
		close(t.ready)
	}
}

// confirm notes that at that time the log did not go further than the head that is known now.
func (t *tail) confirm(seen time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seen.After(t.seen) {
		t.seen = seen
	}
}

// extend adds the block that follows the head and returns whether it did: a block that is already
// known changes nothing. Seen is a time when the log went no further than b; zero if there is none.
func (t *tail) extend(b *block, leafHash tlog.Hash, writer string, seen time.Time, bound int) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b.batch < t.head.Batches {
		return false, nil
	}
	if err := b.follows(t.head, t.at); err != nil {
		return false, err
	}
	if t.seen.Sub(t.before.at) >= time.Second {
		t.before = mark{t.head.Entries, t.seen}
	}
	t.edge.add(leafHash)
	t.head = Head{Entries: b.leaf.Last(), Batches: b.batch + 1}
	t.at = b.leaf.At
	if b.leaf.Writer == writer {
		t.nth = b.leaf.Nth + int64(b.leaf.Count) - 1
	}
	if seen.After(t.seen) {
		t.seen = seen
	}
	t.ring = append(t.ring, b)
	t.bytes += b.size
	drop := 0
	for t.bytes > bound && drop < len(t.ring)-1 {
		t.bytes -= t.ring[drop].size
		t.ring[drop] = nil
		drop++
	}
	t.ring = t.ring[drop:]
	close(t.grown)
	t.grown = make(chan struct{})
	return true, nil
}

// after returns entries that follow the given number: from memory if they are there, and none if
// they must be read from the store (behind) or do not exist yet (grown is closed when they do).
func (t *tail) after(after int64) (es []Entry, behind bool, grown <-chan struct{}) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if after >= t.head.Entries {
		return nil, false, t.grown
	}
	if len(t.ring) == 0 || after+1 < t.ring[0].leaf.First {
		return nil, true, t.grown
	}
	i := sort.Search(len(t.ring), func(i int) bool { return t.ring[i].leaf.Last() > after })
	b := t.ring[i]
	return b.entries[after+1-b.leaf.First:], false, t.grown
}

// block returns the block that holds an entry if it is in memory.
func (t *tail) block(seq int64) *block {
	t.mu.RLock()
	defer t.mu.RUnlock()
	i := sort.Search(len(t.ring), func(i int) bool { return t.ring[i].leaf.Last() >= seq })
	if i < len(t.ring) && t.ring[i].leaf.First <= seq {
		return t.ring[i]
	}
	return nil
}

// wait waits until the tail is loaded.
func (t *tail) wait(ctx context.Context) error {
	select {
	case <-t.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errStopped = authz.Errorf(authz.ErrUnavailable, "the log is stopped")
