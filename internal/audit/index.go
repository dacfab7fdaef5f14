package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
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

// indexGroup is how many chunks are summed up, once all of them are indexed: of each term, which of them have it. So
// a search for what is rare passes over many chunks at once.
const indexGroup = 64

// indexRest is how long the index lags on purpose: each batch would wake it, and a chunk is written
// when it is full.
const indexRest = 20 * time.Millisecond

// An IndexBlock is what one chunk of the log adds to one bucket of the search index; or what a group of chunks
// does, whose buckets are numbered after those of chunks.
type IndexBlock struct {
	Bucket int    // 0 to 2*IndexBuckets-1
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
	group  int64 // entries of a group
}

// NewIndex returns the index of l that store keeps. It starts nothing: see Run.
func NewIndex(l *Log, store IndexStore) *Index {
	return &Index{log: l, store: store, logger: l.cfg.Logger, group: indexGroup * IndexChunk}
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
		case errors.Is(err, errBlock), errors.Is(err, errVersion):
			x.logger.WarnContext(ctx, "search index cannot be read, building it again", "error", err)
			if err := x.Rebuild(ctx); err != nil {
				x.logger.WarnContext(ctx, "search index not reset", "error", err)
			}
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
	if cursor > 0 {
		if err := x.newest(ctx); err != nil {
			return err
		}
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
			blocks := c.blocks()
			if e.Seq%x.group == 0 {
				sums, err := x.sums(ctx, e.Seq-x.group+1, blocks)
				if err != nil {
					return err
				}
				blocks = append(blocks, sums...)
			}
			if err := x.store.AppendIndex(ctx, c.first-1, e.Seq, blocks); err != nil {
				return fmt.Errorf("writing the search index: %w", err)
			}
			c.first, c.pairs = e.Seq+1, c.pairs[:0]
		}
		return nil
	})
}

// newest looks at the newest block of each bucket: a program of another version may have written it, before an upgrade or
// beside it. An older one in between is noticed by whoever comes upon it.
func (x *Index) newest(ctx context.Context) error {
	for bucket := range 2 * IndexBuckets {
		bs, err := x.store.IndexBlocks(ctx, bucket, math.MaxInt64, 1)
		if err != nil {
			return fmt.Errorf("reading the search index: %w", err)
		}
		for _, b := range bs {
			if _, err := openBlock(b.Data); err != nil {
				return err
			}
		}
	}
	return nil
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
	// Version 1 was written with other terms, and with groups or without: what it lacks cannot be told from what there
	// is not, and an agent could have itself found by what is another's.
	blockVersion = 2
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
	var bs []IndexBlock
	for i := 0; i < len(c.pairs); {
		bucket := term(c.pairs[i]).bucket()
		j := i
		for j < len(c.pairs) && term(c.pairs[j]).bucket() == bucket {
			j++
		}
		bs = append(bs, IndexBlock{Bucket: bucket, First: c.first, Data: appendTerms([]byte{blockVersion}, c.pairs[i:j])})
		i = j
	}
	return bs
}

// appendTerms appends the terms of one bucket.
func appendTerms(b []byte, pairs []uint64) []byte {
	key := uint64(0)
	for i := 0; i < len(pairs); {
		t := pairs[i] >> placeBits
		j := i
		for j < len(pairs) && pairs[j]>>placeBits == t {
			j++
		}
		full := term(pairs[i])
		b = binary.AppendUvarint(b, full.key()-key)
		b = binary.AppendUvarint(b, uint64(j-i))
		key = full.key()
		if j-i >= bitmapFrom {
			var bitmap [bitmapBytes]byte
			for _, p := range pairs[i:j] {
				place := p & (1<<placeBits - 1)
				bitmap[place/8] |= 1 << (place % 8)
			}
			b = append(b, bitmap[:]...)
		} else {
			prev := uint64(0)
			for _, p := range pairs[i:j] {
				place := p & (1<<placeBits - 1)
				b = binary.AppendUvarint(b, place-prev)
				prev = place
			}
		}
		i = j
	}
	return b
}

// sums returns the blocks of the group that begins with first, of whose chunks all but the last are stored. They are
// written as those of chunks are; a place is that of a chunk in its group.
func (x *Index) sums(ctx context.Context, first int64, last []IndexBlock) ([]IndexBlock, error) {
	var (
		bs    []IndexBlock
		pairs []uint64
	)
	for bucket := range IndexBuckets {
		chunks, err := x.store.IndexBlocks(ctx, bucket, first+x.group-IndexChunk, int(x.group/IndexChunk)-1)
		if err != nil {
			return nil, fmt.Errorf("reading the search index: %w", err)
		}
		for i := range last {
			if last[i].Bucket == bucket {
				chunks = append(chunks, last[i])
			}
		}
		pairs = pairs[:0]
		for _, c := range chunks {
			if c.First < first {
				continue
			}
			place := uint64(c.First-first) / IndexChunk
			r, err := openBlock(c.Data)
			if err != nil {
				return nil, err
			}
			for r.next() {
				pairs = append(pairs, uint64(bucket)<<58|r.key<<placeBits|place)
				r.pass()
			}
			if r.bad {
				return nil, errBlock
			}
		}
		slices.Sort(pairs) // if there are none, a block says so: a group that has no blocks is not summed up
		bs = append(bs, IndexBlock{Bucket: IndexBuckets + bucket, First: first, Data: appendTerms([]byte{blockVersion}, pairs)})
	}
	return bs, nil
}

// Both say that the index is to be rebuilt. Run does so when it comes upon such a block.
var (
	errBlock   = authz.Errorf(authz.ErrInvalid, "the search index has a block that cannot be read: have it built again (safeconduct audit reindex)")
	errVersion = authz.Errorf(authz.ErrUnavailable, "the search index has a block of another version of the program: have it built again (safeconduct audit reindex), "+
		"once no other version runs")
)

// A blockReader reads the terms of a block.
type blockReader struct {
	rest  []byte
	key   uint64 // of the term that next has come to
	count uint64 // its places, which follow
	bad   bool
}

func openBlock(block []byte) (blockReader, error) {
	if len(block) == 0 {
		return blockReader{}, errBlock
	}
	if block[0] != blockVersion {
		return blockReader{}, errVersion
	}
	return blockReader{rest: block[1:]}, nil
}

func (r *blockReader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

// next goes to the next term. Its places must be read or passed before the one after it.
func (r *blockReader) next() bool {
	if len(r.rest) == 0 {
		return false
	}
	r.key += r.number()
	r.count = r.number()
	if r.count < 1 || r.count > IndexChunk || r.count >= bitmapFrom && len(r.rest) < bitmapBytes {
		r.bad = true
	}
	return !r.bad
}

// pass goes over the places of a term.
func (r *blockReader) pass() {
	if r.count >= bitmapFrom {
		r.rest = r.rest[bitmapBytes:]
		return
	}
	// A number ends with a byte below 0x80.
	for n, left := 0, r.count; left > 0; n++ {
		if n == len(r.rest) {
			r.bad, r.rest = true, nil
			return
		}
		if r.rest[n] < 0x80 {
			if left--; left == 0 {
				r.rest = r.rest[n+1:]
				return
			}
		}
	}
}

// places adds to set the places that a block has for a term. A block that cannot be read is
// authz.ErrInvalid, one of another version authz.ErrUnavailable: the index is to be rebuilt.
func places(block []byte, t term, set *[bitmapBytes]byte) error {
	r, err := openBlock(block)
	if err != nil {
		return err
	}
	for want := t.key(); r.next() && r.key <= want; {
		if r.key < want {
			r.pass()
			continue
		}
		if r.count >= bitmapFrom {
			for i := range set {
				set[i] |= r.rest[i]
			}
			return nil
		}
		place := uint64(0)
		for range r.count {
			if place += r.number(); r.bad || place >= IndexChunk {
				return errBlock
			}
			set[place/8] |= 1 << (place % 8)
		}
		return nil
	}
	if r.bad {
		return errBlock
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
