package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

var _ audit.IndexStore = (*DB)(nil)

// IndexCursor returns the number of the last entry that is indexed.
func (db *DB) IndexCursor(ctx context.Context) (int64, error) {
	return one(ctx, db, func(s scanner) (seq int64, err error) {
		return seq, s.Scan(&seq)
	}, `select seq from log_index_cursor where id = 1`)
}

// AppendIndex stores blocks and moves the cursor.
func (db *DB) AppendIndex(ctx context.Context, old, new int64, blocks []audit.IndexBlock) error {
	err := db.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `
			update log_index_cursor
			set seq = $2
			where id = 1 and seq = $1`, old, new)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return authz.Errorf(authz.ErrConflict, "%d is not the last indexed entry", old)
		}
		st, err := tx.PrepareContext(ctx, `insert into log_index (bucket, first_seq, data) values ($1, $2, $3)`)
		if err != nil {
			return err
		}
		defer st.Close()
		for _, b := range blocks {
			if _, err := st.ExecContext(ctx, b.Bucket, b.First, notNil(b.Data)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("indexing entries %d to %d: %w", old+1, new, err)
	}
	return nil
}

// IndexBlocks returns up to limit blocks of a bucket, newest first.
func (db *DB) IndexBlocks(ctx context.Context, bucket int, before int64, limit int) ([]audit.IndexBlock, error) {
	bs, err := many(ctx, db, func(s scanner) (b audit.IndexBlock, err error) {
		return b, s.Scan(&b.Bucket, &b.First, &b.Data)
	}, `
		select bucket, first_seq, data
		from log_index
		where bucket = $1 and first_seq < $2
		order by first_seq desc
		limit $3`, bucket, before, limit)
	if err != nil {
		return nil, fmt.Errorf("reading index: %w", err)
	}
	return bs, nil
}

// ResetIndex removes the whole index.
func (db *DB) ResetIndex(ctx context.Context) error {
	err := db.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `update log_index_cursor set seq = 0 where id = 1`); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `delete from log_index`)
		return err
	})
	if err != nil {
		return fmt.Errorf("removing index: %w", err)
	}
	return nil
}
