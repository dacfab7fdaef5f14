package store

import (
	"context"
	"time"

	"github.com/safeconduct/safeconduct/internal/caller"
)

var _ caller.Store = (*DB)(nil)

// Callers returns every caller, also the revoked ones, in the order of their ids.
func (db *DB) Callers(ctx context.Context) ([]caller.Caller, error) {
	return many(ctx, db, scanCaller, `
		select id, name, role, hash, created_at, revoked_at, as_of
		from caller
		order by id`)
}

// PutCaller keeps c unless a newer revision (by AsOf) is kept already.
func (db *DB) PutCaller(ctx context.Context, c caller.Caller) error {
	_, err := db.exec(ctx, `
		insert into caller (id, name, role, hash, created_at, revoked_at, as_of)
		values ($1, $2, $3, $4, $5, $6, $7)
		on conflict (id) do update
		set name = $2, role = $3, hash = $4, created_at = $5, revoked_at = $6, as_of = $7
		where caller.as_of < $7`,
		c.ID, c.Name, string(c.Role), c.Hash, c.CreatedAt.UnixMicro(), revokedMicro(c.RevokedAt), c.AsOf)
	return err
}

func scanCaller(s scanner) (c caller.Caller, err error) {
	var created, revoked int64
	err = s.Scan(&c.ID, &c.Name, &c.Role, &c.Hash, &created, &revoked, &c.AsOf)
	c.CreatedAt = time.UnixMicro(created).UTC()
	if revoked != 0 {
		c.RevokedAt = time.UnixMicro(revoked).UTC()
	}
	return c, err
}

func revokedMicro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
