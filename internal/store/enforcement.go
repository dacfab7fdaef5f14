package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/enforcement"
)

var (
	_ enforcement.Store       = (*DB)(nil)
	_ enforcement.LedgerStore = (*DB)(nil)
)

// EnforcementPoints returns all points that enforcement points have described themselves as.
func (db *DB) EnforcementPoints(ctx context.Context) ([]enforcement.Point, error) {
	return many(ctx, db, func(s scanner) (p enforcement.Point, err error) {
		var record string
		if err := s.Scan(&record); err != nil {
			return p, err
		}
		if err := json.Unmarshal([]byte(record), &p); err != nil {
			return p, authz.Errorf(authz.ErrInvalid, "reading an enforcement point: %w", err)
		}
		return p, nil
	}, `
		select record
		from enforcement_point
		order by caller, gateway`)
}

// PutEnforcementPoint keeps p unless a newer version (by AsOf) is kept already.
func (db *DB) PutEnforcementPoint(ctx context.Context, p enforcement.Point) error {
	record, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encoding enforcement point %q: %w", p.Gateway, err)
	}
	_, err = db.exec(ctx, `
		insert into enforcement_point (caller, gateway, record, as_of)
		values ($1, $2, $3, $4)
		on conflict (caller, gateway) do update
		set record = $3, as_of = $4
		where enforcement_point.as_of < $4`,
		p.Caller, p.Gateway, string(record), p.AsOf)
	return err
}

// DropEnforcementPoint forgets a point, unless it has a newer version than one of that entry.
func (db *DB) DropEnforcementPoint(ctx context.Context, caller, gateway string, asOf int64) error {
	_, err := db.exec(ctx, `
		delete from enforcement_point
		where caller = $1
		and gateway = $2
		and as_of <= $3`,
		caller, gateway, asOf)
	return err
}

// Runs returns how far the journals of decision points elsewhere have come into the log.
func (db *DB) Runs(ctx context.Context) ([]enforcement.Run, error) {
	return many(ctx, db, func(s scanner) (r enforcement.Run, err error) {
		return r, s.Scan(&r.Caller, &r.Journal, &r.First, &r.Count, &r.Seq)
	}, `
		select caller, journal, begins, records, seq
		from edge_run
		order by caller, journal, begins`)
}

// PutRuns first forgets what drop names, and then keeps runs, each unless it is kept longer already. All or nothing.
func (db *DB) PutRuns(ctx context.Context, put []enforcement.Run, drop []enforcement.Drop) error {
	return db.write(ctx, func(tx *sql.Tx) error {
		for _, d := range drop {
			if _, err := tx.ExecContext(ctx, `
				delete from edge_run
				where caller = $1
				and journal = $2
				and begins < $3`,
				d.Caller, d.Journal, d.Before); err != nil {
				return err
			}
		}
		for _, r := range put {
			if _, err := tx.ExecContext(ctx, `
				insert into edge_run (caller, journal, begins, records, seq)
				values ($1, $2, $3, $4, $5)
				on conflict (caller, journal, begins) do update
				set records = $4, seq = $5
				where edge_run.records < $4`,
				r.Caller, r.Journal, r.First, r.Count, r.Seq); err != nil {
				return err
			}
		}
		return nil
	})
}
