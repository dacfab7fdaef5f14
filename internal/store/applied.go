package store

import "context"

// Applied returns the number of an entry such that the tables of all features hold at least what
// the log says up to it.
func (db *DB) Applied(ctx context.Context) (int64, error) {
	return one(ctx, db, func(s scanner) (seq int64, err error) {
		return seq, s.Scan(&seq)
	}, `
		select seq
		from log_applied
		where id = 1`)
}

// PutApplied remembers that entry, unless a later one is remembered. Only who has applied every
// entry up to it, durably, may call it.
func (db *DB) PutApplied(ctx context.Context, seq int64) error {
	_, err := db.exec(ctx, `
		update log_applied
		set seq = $1
		where id = 1 and seq < $1`, seq)
	return err
}
