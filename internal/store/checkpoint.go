package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/safeconduct/safeconduct/internal/audit"
)

var _ audit.CheckpointStore = (*DB)(nil)

// keepCheckpoints is how long checkpoints of the past are kept, of each minute the last one.
const keepCheckpoints = 30 * 24 * time.Hour

// Checkpoint returns the newest signed checkpoint.
func (db *DB) Checkpoint(ctx context.Context) ([]byte, error) {
	note, err := one(ctx, db, func(s scanner) (note string, err error) {
		return note, s.Scan(&note)
	}, `select note from log_checkpoint where id = 1`)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	return []byte(note), nil
}

// PutCheckpoint keeps a checkpoint, unless it has a newer one. One of the same size replaces it:
// it may have more signatures.
func (db *DB) PutCheckpoint(ctx context.Context, size int64, note []byte) error {
	now := db.now()
	minute := now.Unix() / 60
	err := db.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			insert into log_checkpoint (id, size, note)
			values (1, $1, $2)
			on conflict (id) do update
			set size = excluded.size, note = excluded.note
			where excluded.size >= log_checkpoint.size`, size, string(note))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			insert into log_checkpoint_past (minute, at, size, note)
			values ($1, $2, $3, $4)
			on conflict (minute) do update
			set at = excluded.at, size = excluded.size, note = excluded.note
			where excluded.size >= log_checkpoint_past.size`, minute, now.UnixMicro(), size, string(note))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			delete from log_checkpoint_past
			where minute < $1`, minute-int64(keepCheckpoints/time.Minute))
		return err
	})
	if err != nil {
		return fmt.Errorf("keeping checkpoint of size %d: %w", size, err)
	}
	return nil
}

// Checkpoints returns up to limit checkpoints of fewer than before batches, the largest first.
func (db *DB) Checkpoints(ctx context.Context, before int64, limit int) ([]audit.SignedNote, error) {
	ns, err := many(ctx, db, func(s scanner) (n audit.SignedNote, err error) {
		var at int64
		var note string
		err = s.Scan(&at, &note)
		n.At, n.Note = time.UnixMicro(at).UTC(), []byte(note)
		return n, err
	}, `
		select at, note
		from log_checkpoint_past
		where size < $1
		order by size desc, minute desc
		limit $2`, before, limit)
	if err != nil {
		return nil, fmt.Errorf("reading checkpoints: %w", err)
	}
	return ns, nil
}
