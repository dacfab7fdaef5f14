// Package audittest has what tests of a log need: a store in memory, and a store that fails on cue.
// Nothing in it is durable.
package audittest

import (
	"context"
	"sort"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

var (
	_ audit.Store      = (*Memory)(nil)
	_ audit.LeafStore  = (*Memory)(nil)
	_ audit.IndexStore = (*Memory)(nil)

	_ audit.CheckpointStore = (*Memory)(nil)
)

// Memory is a store in memory. Its zero value is empty. It is safe for concurrent use; several logs
// on one Memory are replicas.
type Memory struct {
	mu     sync.Mutex
	head   audit.Head
	segs   []audit.Segment
	hashes []tlog.Hash
	size   int64
	note   []byte
	signed []audit.SignedNote // every checkpoint
	sizes  []int64            // of signed
	bells  []chan struct{}
	cursor int64
	blocks [2 * audit.IndexBuckets][]audit.IndexBlock
}

// Head implements audit.Store.
func (m *Memory) Head(ctx context.Context) (audit.Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.head, ctx.Err()
}

// Append implements audit.Store.
func (m *Memory) Append(ctx context.Context, old audit.Head, s audit.Segment) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if old != m.head {
		return authz.Errorf(authz.ErrConflict, "the head is %+v, not %+v", m.head, old)
	}
	if s.Batch != old.Batches || s.First != old.Entries+1 || s.Count < 1 ||
		int64(len(m.hashes)) != tlog.StoredHashIndex(0, s.Batch) {
		panic("audittest: segment does not follow the head")
	}
	m.hashes = append(m.hashes, s.Hashes...)
	s.Hashes = nil
	m.segs = append(m.segs, s)
	m.head = audit.Head{Entries: s.First + int64(s.Count) - 1, Batches: s.Batch + 1}
	for _, bell := range m.bells {
		select {
		case bell <- struct{}{}:
		default:
		}
	}
	return nil
}

// Segments implements audit.Store.
func (m *Memory) Segments(ctx context.Context, after int64, limit int) ([]audit.Segment, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := sort.Search(len(m.segs), func(i int) bool { return m.segs[i].First+int64(m.segs[i].Count)-1 > after })
	return append([]audit.Segment(nil), m.segs[i:min(len(m.segs), i+limit)]...), ctx.Err()
}

// Hashes implements audit.Store.
func (m *Memory) Hashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	hs := make([]tlog.Hash, 0, len(indexes))
	for _, i := range indexes {
		if i < 0 || i >= int64(len(m.hashes)) {
			return nil, authz.Errorf(authz.ErrNotFound, "no hash %d", i)
		}
		hs = append(hs, m.hashes[i])
	}
	return hs, ctx.Err()
}

// Leaves implements audit.LeafStore.
func (m *Memory) Leaves(ctx context.Context, batch int64, limit int) ([][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ls [][]byte
	for i := batch; i < int64(len(m.segs)) && len(ls) < limit; i++ {
		ls = append(ls, m.segs[i].Leaf)
	}
	return ls, ctx.Err()
}

// Checkpoint implements audit.Store.
func (m *Memory) Checkpoint(ctx context.Context) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.note == nil {
		return nil, authz.Errorf(authz.ErrNotFound, "no checkpoint")
	}
	return m.note, ctx.Err()
}

// PutCheckpoint implements audit.Store.
func (m *Memory) PutCheckpoint(ctx context.Context, size int64, note []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.note == nil || size > m.size {
		m.size, m.note = size, append([]byte(nil), note...)
		m.signed = append(m.signed, audit.SignedNote{At: time.Now(), Note: m.note})
		m.sizes = append(m.sizes, size)
	}
	return ctx.Err()
}

// Checkpoints implements audit.CheckpointStore.
func (m *Memory) Checkpoints(ctx context.Context, before int64, limit int) ([]audit.SignedNote, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ns []audit.SignedNote
	for i := len(m.signed) - 1; i >= 0 && len(ns) < limit; i-- {
		if m.sizes[i] < before {
			ns = append(ns, m.signed[i])
		}
	}
	return ns, ctx.Err()
}

// Changed implements audit.Store.
func (m *Memory) Changed(ctx context.Context) (<-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	bell := make(chan struct{}, 1)
	m.bells = append(m.bells, bell)
	return bell, ctx.Err()
}

// IndexCursor implements audit.IndexStore.
func (m *Memory) IndexCursor(ctx context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cursor, ctx.Err()
}

// AppendIndex implements audit.IndexStore.
func (m *Memory) AppendIndex(ctx context.Context, old, new int64, blocks []audit.IndexBlock) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.cursor != old {
		return authz.Errorf(authz.ErrConflict, "the index cursor is %d, not %d", m.cursor, old)
	}
	m.cursor = new
	for _, b := range blocks {
		m.blocks[b.Bucket] = append(m.blocks[b.Bucket], b)
	}
	return nil
}

// IndexBlocks implements audit.IndexStore.
func (m *Memory) IndexBlocks(ctx context.Context, bucket int, before int64, limit int) ([]audit.IndexBlock, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var bs []audit.IndexBlock
	for i := len(m.blocks[bucket]) - 1; i >= 0 && len(bs) < limit; i-- {
		if b := m.blocks[bucket][i]; b.First < before {
			bs = append(bs, b)
		}
	}
	return bs, ctx.Err()
}

// ResetIndex implements audit.IndexStore.
func (m *Memory) ResetIndex(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cursor, m.blocks = 0, [2 * audit.IndexBuckets][]audit.IndexBlock{}
	return ctx.Err()
}

// Mutate lets a test tamper with what is stored: f is called with every segment and the stored
// hashes, all of which it may change.
func (m *Memory) Mutate(f func(segs *[]audit.Segment, hashes *[]tlog.Hash)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.segs, &m.hashes)
	m.head = audit.Head{}
	if n := len(m.segs); n > 0 {
		m.head = audit.Head{Entries: m.segs[n-1].First + int64(m.segs[n-1].Count) - 1, Batches: int64(n)}
	}
}
