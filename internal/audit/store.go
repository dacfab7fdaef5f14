package audit

import (
	"context"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// A Head is the end of a log: how many entries and batches it has.
type Head struct {
	Entries int64 // number of the newest entry; 0 if there is none
	Batches int64 // number of batches, which is the size of the Merkle tree
}

// A Segment is one batch as it is stored.
type Segment struct {
	Batch int64  // index of the batch's leaf in the tree, from 0
	First int64  // number of its first entry
	Count int    // how many entries it has, at least 1
	Data  []byte // the entries, compressed; the form is documented in docs/log-format.md
	Leaf  []byte // the leaf of the tree, in clear: its RFC 6962 hash is the tree's leaf hash
	// Hashes are the stored hashes (see tlog.StoredHashesForRecordHash) that the leaf adds to the tree.
	Hashes []tlog.Hash
}

// Store is the durable side of a Log. Everything that it has acknowledged survives a crash.
type Store interface {
	// Head returns the end of the log, the zero Head if it is empty.
	Head(ctx context.Context) (Head, error)

	// Append stores s and moves the head from old to {s.First+s.Count-1, s.Batch+1}, all or nothing.
	// It returns authz.ErrConflict if old is no longer the head, which is how replicas that share a
	// database take turns. After any other error the segment may or may not be stored.
	Append(ctx context.Context, old Head, s Segment) error

	// Segments returns, in order, up to limit segments that hold entries numbered above after.
	// Their Hashes are not filled in.
	Segments(ctx context.Context, after int64, limit int) ([]Segment, error)

	// Hashes returns the stored hashes of those indexes (tlog.HashReader's numbering).
	// It returns authz.ErrNotFound if the log has not got that far.
	Hashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error)

	// Checkpoint returns the newest signed checkpoint, authz.ErrNotFound if there is none.
	Checkpoint(ctx context.Context) ([]byte, error)

	// PutCheckpoint keeps a signed checkpoint of the given tree size; an older one than the newest
	// changes nothing.
	PutCheckpoint(ctx context.Context, size int64, note []byte) error

	// Changed returns a channel that is signalled after the log may have grown, by whatever process,
	// until ctx ends. Signals may be joined or lost: a reader also polls.
	Changed(ctx context.Context) (<-chan struct{}, error)
}

// A LeafStore is a Store that finds leaves by their index. Without it, serving entry bundles reads
// whole segments.
type LeafStore interface {
	// Leaves returns, in order, up to limit leaves from the batch of that index on.
	Leaves(ctx context.Context, batch int64, limit int) ([][]byte, error)
}

// A CheckpointStore is a Store that keeps some of the checkpoints of the past, for those who look back. Without
// it, only the newest is known.
type CheckpointStore interface {
	// Checkpoints returns up to limit checkpoints of fewer than before batches, the largest first.
	Checkpoints(ctx context.Context, before int64, limit int) ([]SignedNote, error)
}

// A SignedNote is a signed checkpoint as it is kept.
type SignedNote struct {
	At   time.Time // when it was kept, by the clock of who signed it; nothing signs that
	Note []byte
}
