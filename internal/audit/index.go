package audit

import "context"

// IndexBuckets is how many buckets the terms of the search index are spread over.
const IndexBuckets = 64

// IndexChunk is how many entries one chunk of the search index covers. Chunk k covers the entries
// numbered k*IndexChunk+1 to (k+1)*IndexChunk; the entries of a chunk that is not yet full are
// searched without the index.
const IndexChunk = 4096

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
