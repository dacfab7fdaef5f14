package audit

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/authz"
)

// Bounds of a batch, for writers and for readers of foreign segments.
const (
	MaxBatchEntries = 8192
	MaxBatchBytes   = 8 << 20 // of encoded entries

	segmentVersion = 1
	segmentHead    = 1 + seedSize // version and seed, before the entries
	maxSegmentData = MaxBatchBytes + MaxBatchBytes/8
)

// encoder and decoder have no state of their own between calls: they hold buffers.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newCodec() (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2),
		zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	dec, err := newDecoder()
	if err != nil {
		return nil, err
	}
	return &codec{enc, dec}, nil
}

// newDecoder returns a decoder that refuses what would unpack to more than a batch.
func newDecoder() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(segmentHead+MaxBatchBytes),
		zstd.WithDecoderMaxWindow(MaxBatchBytes))
}

// A block is one batch, unpacked.
type block struct {
	leaf    Leaf
	batch   int64 // index of the leaf in the tree
	entries []Entry
	seed    seed
	hashes  []tlog.Hash // leaf hashes of the entries; kept only where proofs are made
	size    int         // bytes of memory, about
}

// unpack decodes a stored segment and checks everything that can be checked of it alone: numbers,
// order of times, and that its entries are those of the leaf. A fault is a *Fault.
func (c *codec) unpack(s Segment, keepHashes bool) (*block, error) {
	fault := func(seq int64, format string, args ...any) error {
		return &Fault{Batch: s.Batch, Seq: seq, Err: authz.Errorf(authz.ErrInvalid, format, args...)}
	}
	leaf, err := ParseLeaf(s.Leaf)
	if err != nil {
		return nil, &Fault{Batch: s.Batch, Seq: s.First, Err: err}
	}
	if leaf.First != s.First || leaf.Count != s.Count {
		return nil, fault(s.First, "segment has %d entries from %d, its leaf %d from %d", s.Count, s.First, leaf.Count, leaf.First)
	}
	if len(s.Data) > maxSegmentData {
		return nil, fault(s.First, "segment has %d bytes", len(s.Data))
	}
	p, err := c.dec.DecodeAll(s.Data, nil)
	if err != nil {
		return nil, fault(s.First, "decompressing segment: %w", err)
	}
	if len(p) < segmentHead || p[0] != segmentVersion {
		return nil, fault(s.First, "segment is not of version %d", segmentVersion)
	}
	b := &block{leaf: leaf, batch: s.Batch, entries: make([]Entry, 0, min(s.Count, len(p)/entryFixed)), size: len(p) + s.Count*96}
	copy(b.seed[:], p[1:])
	var (
		rest    = p[segmentHead:]
		scratch []byte
		prev    int64
		tree    rootBuilder
	)
	for i := range s.Count {
		seq := s.First + int64(i)
		start := rest
		var e Entry
		if e, rest, err = ParseEntry(rest); err != nil {
			return nil, &Fault{Batch: s.Batch, Seq: seq, Err: err}
		}
		if e.Seq != seq {
			return nil, fault(seq, "entry is numbered %d", e.Seq)
		}
		at := e.At.UnixMicro()
		if at < prev {
			return nil, fault(seq, "entry is older than the one before it")
		}
		prev = at
		var h tlog.Hash
		h, scratch = entryHash(scratch, b.seed.salt(seq), start[:len(start)-len(rest)])
		tree.add(h)
		if keepHashes {
			b.hashes = append(b.hashes, h)
		}
		b.entries = append(b.entries, e)
	}
	if len(rest) != 0 {
		return nil, fault(leaf.Last(), "segment goes on for %d bytes after its last entry", len(rest))
	}
	if prev != leaf.At.UnixMicro() {
		return nil, fault(leaf.Last(), "leaf has another time than the last entry")
	}
	if tree.root() != leaf.Root {
		return nil, fault(s.First, "entries are not those that the leaf commits to")
	}
	return b, nil
}

// DecodeSegment unpacks one stored segment and checks it against its leaf.
func DecodeSegment(s Segment) ([]Entry, error) {
	dec, err := newDecoder()
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	b, err := (&codec{dec: dec}).unpack(s, false)
	if err != nil {
		return nil, err
	}
	return b.entries, nil
}

// A Fault is a place where a log is not what it should be. It wraps authz.ErrInvalid.
type Fault struct {
	Batch int64 // index of the batch, -1 if the fault is not in one
	Seq   int64 // number of the first entry that is wrong or missing; 0 if it is none of them
	Err   error
}

// Error returns where and what.
func (f *Fault) Error() string {
	if f.Batch < 0 {
		return f.Err.Error()
	}
	return fmt.Sprintf("batch %d, entry %d: %v", f.Batch, f.Seq, f.Err)
}

// Unwrap returns the fault itself.
func (f *Fault) Unwrap() error { return f.Err }

// isFault reports whether err says that the log is damaged, not that it could not be read.
func isFault(err error) bool {
	var f *Fault
	return errors.As(err, &f)
}

// follows checks that b comes right after the end of the log.
func (b *block) follows(head Head, at time.Time) error {
	if b.batch != head.Batches || b.leaf.First != head.Entries+1 {
		return &Fault{Batch: b.batch, Seq: head.Entries + 1, Err: authz.Errorf(authz.ErrInvalid,
			"batch %d with entry %d follows batch %d that ends with entry %d", b.batch, b.leaf.First, head.Batches-1, head.Entries)}
	}
	if b.entries[0].At.Before(at) {
		return &Fault{Batch: b.batch, Seq: b.leaf.First, Err: authz.Errorf(authz.ErrInvalid, "entry is older than the one before it")}
	}
	return nil
}

// same reports whether two segments are one and the same batch.
func same(a, b Segment) bool { return a.Batch == b.Batch && bytes.Equal(a.Leaf, b.Leaf) }
