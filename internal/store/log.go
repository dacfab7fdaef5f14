package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

var _ audit.Store = (*DB)(nil)

// Head returns the end of the log.
func (db *DB) Head(ctx context.Context) (audit.Head, error) {
	hs, err := many(ctx, db, func(s scanner) (h audit.Head, err error) {
		return h, s.Scan(&h.Entries, &h.Batches)
	}, `
		select last_seq, batch + 1
		from log_segment
		order by batch desc
		limit 1`)
	if err != nil || len(hs) == 0 {
		return audit.Head{}, err
	}
	return hs[0], nil
}

// Append stores s, if old is the head. There is no row for the head, which would be rewritten with
// every batch: the head is the newest segment, and a segment is stored only upon the one that
// precedes it. Of two that build on the same one the primary key lets only one in, the other waits
// for its fate. So one statement does it all, in a transaction of its own, and numbers are the
// order of commits: who sees a segment sees all before it.
//
// Bytes are bytea. SQLite does not know that type and therefore keeps bytes as they are, so that the
// text of the schema is still one; base64 in a text column would add a third to the disk writes
// that every caller waits for.
func (db *DB) Append(ctx context.Context, old audit.Head, s audit.Segment) error {
	if s.Batch != old.Batches || s.First != old.Entries+1 || s.Count < 1 || old.Batches == 0 && old.Entries != 0 {
		return authz.Errorf(authz.ErrInvalid, "segment %d with %d entries from %d does not follow %+v", s.Batch, s.Count, s.First, old)
	}
	hashes := make([]byte, 0, len(s.Hashes)*tlog.HashSize)
	for _, h := range s.Hashes {
		hashes = append(hashes, h[:]...)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if db.lite != nil {
		// A commit on a local disk is short, and watching a context costs the driver a goroutine
		// a statement.
		ctx = context.WithoutCancel(ctx)
	}
	n, err := db.exec(ctx, `
		insert into log_segment (batch, first_seq, last_seq, leaf, hashes, data)
		select cast($1 as bigint), cast($2 as bigint), cast($3 as bigint), $4, $5, $6
		where cast($1 as bigint) = 0
		or exists (
			select 1
			from log_segment
			where batch = cast($1 as bigint) - 1
			and last_seq = cast($2 as bigint) - 1
		)
		on conflict do nothing`,
		s.Batch, s.First, s.First+int64(s.Count)-1, notNil(s.Leaf), hashes, notNil(s.Data))
	if err != nil {
		return fmt.Errorf("appending to log: %w", err)
	}
	if n == 0 {
		return authz.Errorf(authz.ErrConflict, "appending to log: %d is not the newest batch", old.Batches-1)
	}
	db.bell.ring(db.d.grown)
	return nil
}

// notNil keeps an empty value from becoming null.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Segments returns up to limit segments that hold entries numbered above after.
func (db *DB) Segments(ctx context.Context, after int64, limit int) ([]audit.Segment, error) {
	ss, err := many(ctx, db, func(row scanner) (s audit.Segment, err error) {
		var last int64
		err = row.Scan(&s.Batch, &s.First, &last, &s.Leaf, &s.Data)
		s.Count = int(last - s.First + 1)
		return s, err
	}, `
		select batch, first_seq, last_seq, leaf, data
		from log_segment
		where last_seq > $1
		order by last_seq
		limit $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("reading log after %d: %w", after, err)
	}
	return ss, nil
}

// Hashes returns stored hashes of the tree. They lie with the segment whose leaf completed them.
func (db *DB) Hashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error) {
	var batches []int64
	for _, i := range indexes {
		if i < 0 {
			return nil, authz.Errorf(authz.ErrInvalid, "no hash has the number %d", i)
		}
		batch, _ := completedBy(i)
		batches = append(batches, batch)
	}
	slices.Sort(batches)
	batches = slices.Compact(batches)

	found := make(map[int64][]byte, len(batches))
	for len(batches) > 0 {
		query, n := hashesFew, few
		if len(batches) > few {
			query, n = hashesMany, tile
		}
		args := make([]any, n)
		for i := range args {
			args[i] = int64(-1)
			if i < len(batches) {
				args[i] = batches[i]
			}
		}
		_, err := many(ctx, db, func(row scanner) (struct{}, error) {
			var batch int64
			var hashes []byte
			err := row.Scan(&batch, &hashes)
			found[batch] = hashes
			return struct{}{}, err
		}, query, args...)
		if err != nil {
			return nil, fmt.Errorf("reading tree of the log: %w", err)
		}
		batches = batches[min(n, len(batches)):]
	}

	hashes := make([]tlog.Hash, len(indexes))
	for j, i := range indexes {
		batch, level := completedBy(i)
		b, at := found[batch], level*tlog.HashSize
		if len(b) < at+tlog.HashSize {
			return nil, authz.Errorf(authz.ErrNotFound, "the tree of the log has no hash number %d yet", i)
		}
		copy(hashes[j][:], b[at:])
	}
	return hashes, nil
}

// completedBy returns the leaf that completes the subtree of a stored hash, and which of the
// leaf's hashes it is.
func completedBy(index int64) (batch int64, level int) {
	level, n := tlog.SplitStoredHashIndex(index)
	return (n+1)<<level - 1, level
}

// Lists of two lengths, filled up with -1: a proof needs few, a tile of 256 hashes needs many.
const few, tile = 48, 256

var hashesFew, hashesMany = hashesIn(few), hashesIn(tile)

func hashesIn(n int) string {
	marks := make([]string, n)
	for i := range marks {
		marks[i] = fmt.Sprintf("$%d", i+1)
	}
	return `select batch, hashes from log_segment where batch in (` + strings.Join(marks, ", ") + `)`
}

// Changed returns a channel that is signalled after the log may have grown. On SQLite nobody but
// this process makes it grow.
func (db *DB) Changed(ctx context.Context) (<-chan struct{}, error) {
	if db.d.listen != nil {
		if err := db.listen(ctx); err != nil {
			return nil, err
		}
	}
	return db.bell.hear(ctx), nil
}
