package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// IndexBuckets is how many buckets the terms of the search index are spread over.
const IndexBuckets = 64

// IndexChunk is how many entries one chunk of the search index covers. Chunk k covers the entries
// numbered k*IndexChunk+1 to (k+1)*IndexChunk; the entries of a chunk that is not yet full are
// searched without the index.
const IndexChunk = 4096

// indexRest is how long the index lags on purpose: each batch would wake it, and a chunk is written
// when it is full.
const indexRest = 20 * time.Millisecond

// An IndexBlock is what one chunk of the log adds to one bucket of the search index.
type IndexBlock struct {
	Bucket int    // 0 to IndexBuckets-1
	First  int64  // number of the chunk's first entry; unique within a bucket
	Data   []byte // terms and numbers; only this package reads it
}

// IndexStore keeps the search index. It holds nothing that the log does not: it may be lost, and
// is then built again.
type IndexStore interface {
	// IndexCursor returns the number of the last entry that is indexed, 0 if none is.
	IndexCursor(ctx context.Context) (int64, error)

	// AppendIndex stores blocks and moves the cursor from old to new, all or nothing. It returns
	// authz.ErrConflict if old is no longer the cursor.
	AppendIndex(ctx context.Context, old, new int64, blocks []IndexBlock) error

	// IndexBlocks returns up to limit blocks of a bucket whose First is below before, in
	// descending order of First.
	IndexBlocks(ctx context.Context, bucket int, before int64, limit int) ([]IndexBlock, error)

	// ResetIndex removes all blocks and sets the cursor to 0.
	ResetIndex(ctx context.Context) error
}

// An Index finds entries by what they say. It follows the log, may lag behind it, and can be built
// again; what it has not got to is searched in the log itself, so that what it finds is complete. It
// is safe for concurrent use.
type Index struct {
	log    *Log
	store  IndexStore
	logger *slog.Logger
}

// NewIndex returns the index of l that store keeps. It starts nothing: see Run.
func NewIndex(l *Log, store IndexStore) *Index {
	return &Index{log: l, store: store, logger: l.cfg.Logger}
}

// Run indexes entries, a chunk at a time, until ctx ends. Replicas that do the same get in each
// other's way without harm: chunks are the same, and one of them is stored. It returns an error only
// if the log is damaged.
func (x *Index) Run(ctx context.Context) error {
	for wait := backoff(0); ; {
		err := x.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case isFault(err):
			return fmt.Errorf("indexing: %w", err)
		case errors.Is(err, authz.ErrConflict): // another replica was first, or the index was reset
			wait = wait.next()
		default:
			x.logger.WarnContext(ctx, "search index not written", "error", err)
			wait = wait.next()
		}
		if wait.sleep(ctx) != nil {
			return nil
		}
	}
}

// Rebuild throws the index away; Run builds it again.
func (x *Index) Rebuild(ctx context.Context) error {
	if err := x.store.ResetIndex(ctx); err != nil {
		return fmt.Errorf("resetting the search index: %w", err)
	}
	return nil
}

// follow indexes chunks from the cursor on.
func (x *Index) follow(ctx context.Context) error {
	cursor, err := x.store.IndexCursor(ctx)
	if err != nil {
		return fmt.Errorf("reading the cursor of the search index: %w", err)
	}
	if err := x.log.tail.wait(ctx); err != nil {
		return err
	}
	err = x.log.reached(ctx, cursor)
	if isFault(err) || ctx.Err() != nil {
		return err
	}
	if err != nil || cursor%IndexChunk != 0 { // the index is of another log
		x.logger.WarnContext(ctx, "search index does not fit the log, building it again", "cursor", cursor)
		if err := x.store.ResetIndex(ctx); err != nil {
			return fmt.Errorf("resetting the search index: %w", err)
		}
		cursor = 0
	}
	var (
		c chunk
		r termReader
	)
	c.first = cursor + 1
	return x.log.follow(ctx, cursor, indexRest, func(ctx context.Context, es []Entry) error {
		for i := range es {
			e := &es[i]
			c.add(e.Seq, r.read(e))
			if e.Seq%IndexChunk != 0 {
				continue
			}
			if err := x.store.AppendIndex(ctx, c.first-1, e.Seq, c.blocks()); err != nil {
				return fmt.Errorf("writing the search index: %w", err)
			}
			c.first, c.pairs = e.Seq+1, c.pairs[:0]
		}
		return nil
	})
}

// A chunk gathers the terms of IndexChunk entries: in each pair the upper bits are a term's, the
// lower ones an entry's place in the chunk.
type chunk struct {
	first int64
	pairs []uint64
}

const placeBits = 12 // of a pair: log2 of IndexChunk

func (c *chunk) add(seq int64, terms []term) {
	place := uint64(seq - c.first)
	for _, t := range terms {
		c.pairs = append(c.pairs, uint64(t)&^(1<<placeBits-1)|place)
	}
}

func (t term) bucket() int { return int(t >> 58) }

// key is what a block knows a term by.
func (t term) key() uint64 { return uint64(t) << 6 >> (6 + placeBits) }

const (
	blockVersion = 1
	// From so many places on a set of bits is shorter than a list.
	bitmapFrom  = 512
	bitmapBytes = IndexChunk / 8
)

// blocks returns the chunk's blocks. A block is its version and then for each term, in ascending
// order of keys: the difference from the key before, the number of places, and the places, as
// differences or, if there are many, as bits. Numbers are unsigned varints.
func (c *chunk) blocks() []IndexBlock {
	slices.Sort(c.pairs)
	c.pairs = slices.Compact(c.pairs)
	var (
		bs     []IndexBlock
		key    uint64
		bucket = -1
	)
	for i := 0; i < len(c.pairs); {
		t := c.pairs[i] >> placeBits
		j := i
		for j < len(c.pairs) && c.pairs[j]>>placeBits == t {
			j++
		}
		full := term(c.pairs[i])
		if full.bucket() != bucket {
			bucket, key = full.bucket(), 0
			bs = append(bs, IndexBlock{Bucket: bucket, First: c.first, Data: []byte{blockVersion}})
		}
		b := &bs[len(bs)-1]
		b.Data = binary.AppendUvarint(b.Data, full.key()-key)
		b.Data = binary.AppendUvarint(b.Data, uint64(j-i))
		key = full.key()
		if j-i >= bitmapFrom {
			var bitmap [bitmapBytes]byte
			for _, p := range c.pairs[i:j] {
				place := p & (1<<placeBits - 1)
				bitmap[place/8] |= 1 << (place % 8)
			}
			b.Data = append(b.Data, bitmap[:]...)
		} else {
			prev := uint64(0)
			for _, p := range c.pairs[i:j] {
				place := p & (1<<placeBits - 1)
				b.Data = binary.AppendUvarint(b.Data, place-prev)
				prev = place
			}
		}
		i = j
	}
	return bs
}

// places adds to set the places that a block has for a term. A block that cannot be read is
// authz.ErrInvalid: the index is to be rebuilt.
func places(block []byte, t term, set *[bitmapBytes]byte) error {
	bad := func() error {
		return authz.Errorf(authz.ErrInvalid, "the search index has a block that cannot be read")
	}
	if len(block) == 0 || block[0] != blockVersion {
		return bad()
	}
	block = block[1:]
	number := func() (n uint64, ok bool) {
		n, size := binary.Uvarint(block)
		if size <= 0 {
			return 0, false
		}
		block = block[size:]
		return n, true
	}
	for key := uint64(0); len(block) > 0; {
		diff, ok1 := number()
		count, ok2 := number()
		if !ok1 || !ok2 || count < 1 || count > IndexChunk {
			return bad()
		}
		if key += diff; key > t.key() {
			return nil
		}
		if count >= bitmapFrom {
			if len(block) < bitmapBytes {
				return bad()
			}
			if key == t.key() {
				for i := range set {
					set[i] |= block[i]
				}
			}
			block = block[bitmapBytes:]
			continue
		}
		place := uint64(0)
		for range count {
			diff, ok := number()
			if place += diff; !ok || place >= IndexChunk {
				return bad()
			}
			if key == t.key() {
				set[place/8] |= 1 << (place % 8)
			}
		}
	}
	return nil
}

// descending calls f with the places of a set from the last to the first until f returns false.
func descending(set *[bitmapBytes]byte, f func(place int64) bool) bool {
	for i := len(set) - 1; i >= 0; i-- {
		for b := set[i]; b != 0; {
			top := bits.Len8(b) - 1
			if !f(int64(i*8 + top)) {
				return false
			}
			b &^= 1 << top
		}
	}
	return true
}
