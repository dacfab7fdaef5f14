package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/safeconduct/safeconduct/internal/keyring"
)

var _ keyring.Store = (*DB)(nil)

// SigningKeys returns every key there ever was, in the order in which they were published.
func (db *DB) SigningKeys(ctx context.Context) ([]keyring.Record, error) {
	return many(ctx, db, scanSigningKey, `
		select record
		from signing_key
		order by seq`)
}

// PutSigningKeys keeps all of them, or none; a key of which a newer revision is kept stays as it is.
func (db *DB) PutSigningKeys(ctx context.Context, keys ...keyring.Record) error {
	return db.write(ctx, func(tx *sql.Tx) error {
		for _, k := range keys {
			record, err := json.Marshal(k)
			if err != nil {
				return fmt.Errorf("encoding signing key %s: %w", k.ID, err)
			}
			if _, err := tx.ExecContext(ctx, `
				insert into signing_key (id, record, seq, as_of)
				values ($1, $2, $3, $4)
				on conflict (id) do update
				set record = $2, as_of = $4
				where signing_key.as_of < $4`,
				k.ID, string(record), k.Published, k.AsOf); err != nil {
				return err
			}
		}
		return nil
	})
}

func scanSigningKey(s scanner) (k keyring.Record, err error) {
	var record string
	if err := s.Scan(&record); err != nil {
		return k, err
	}
	if err := json.Unmarshal([]byte(record), &k); err != nil {
		return k, fmt.Errorf("decoding a signing key: %w", err)
	}
	return k, nil
}

// SealedKeys returns the sealed private halves, in the order of their ids.
func (db *DB) SealedKeys(ctx context.Context) ([]keyring.Sealed, error) {
	return many(ctx, db, scanSealedKey, `
		select id, data, created_at
		from sealed_key
		order by id`)
}

// PutSealedKey keeps one. It returns authz.ErrConflict if one of that id is kept.
func (db *DB) PutSealedKey(ctx context.Context, s keyring.Sealed) error {
	_, err := db.exec(ctx, `
		insert into sealed_key (id, data, created_at)
		values ($1, $2, $3)`,
		s.ID, base64.StdEncoding.EncodeToString(s.Data), s.CreatedAt.UnixMicro())
	return err
}

// DeleteSealedKey forgets one; that there is none is no error. What the disk and older backups still
// hold of it is sealed.
func (db *DB) DeleteSealedKey(ctx context.Context, id string) error {
	_, err := db.exec(ctx, `
		delete from sealed_key
		where id = $1`, id)
	return err
}

func scanSealedKey(s scanner) (k keyring.Sealed, err error) {
	var (
		data    string
		created int64
	)
	if err := s.Scan(&k.ID, &data, &created); err != nil {
		return k, err
	}
	if k.Data, err = base64.StdEncoding.DecodeString(data); err != nil {
		return k, fmt.Errorf("decoding a sealed key: %w", err)
	}
	k.CreatedAt = time.UnixMicro(created).UTC()
	return k, nil
}
