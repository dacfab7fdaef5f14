package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/stop"
)

var _ stop.Store = (*DB)(nil)

// StandingStops returns every stop that is not lifted, also those whose time is over, in the order of ids.
func (db *DB) StandingStops(ctx context.Context) ([]stop.Stop, error) {
	return many(ctx, db, scanRecord[stop.Stop], `
		select id, record
		from stop
		where not lifted
		order by id`)
}

// Stops returns up to limit stops, also lifted ones, whose AsOf is below before, newest first.
func (db *DB) Stops(ctx context.Context, before int64, limit int) ([]stop.Stop, error) {
	return many(ctx, db, scanRecord[stop.Stop], `
		select id, record
		from stop
		where as_of < $1
		order by as_of desc
		limit $2`,
		before, limit)
}

// Stop returns the stop of that id, or authz.ErrNotFound.
func (db *DB) Stop(ctx context.Context, id string) (stop.Stop, error) {
	s, err := one(ctx, db, scanRecord[stop.Stop], `
		select id, record
		from stop
		where id = $1`,
		id)
	if errors.Is(err, authz.ErrNotFound) {
		err = authz.Errorf(authz.ErrNotFound, "there is no stop %.128q", id)
	}
	return s, err
}

// PutStop keeps s if no stop of that id is kept; it returns authz.ErrConflict if another one is, by AsOf.
func (db *DB) PutStop(ctx context.Context, s stop.Stop) error {
	record, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding stop %q: %w", s.ID, err)
	}
	if _, err := db.exec(ctx, `
		insert into stop (id, record, lifted, as_of, lifted_by)
		values ($1, $2, $3, $4, $5)
		on conflict (id) do nothing`,
		s.ID, string(record), s.Lifted(), s.AsOf, s.LiftedSeq); err != nil {
		return err
	}
	kept, err := db.Stop(ctx, s.ID)
	if err == nil && kept.AsOf != s.AsOf {
		err = authz.Errorf(authz.ErrConflict, "there is a stop %.128q already", s.ID)
	}
	return err
}

// LiftStop keeps that s was lifted, if the one that is kept is not; it returns authz.ErrConflict if it was lifted by
// another entry.
func (db *DB) LiftStop(ctx context.Context, s stop.Stop) error {
	record, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding stop %q: %w", s.ID, err)
	}
	if _, err := db.exec(ctx, `
		update stop
		set record = $2, lifted = $3, lifted_by = $4
		where id = $1
		and not lifted`,
		s.ID, string(record), true, s.LiftedSeq); err != nil {
		return err
	}
	kept, err := db.Stop(ctx, s.ID)
	if err == nil && kept.LiftedSeq != s.LiftedSeq {
		err = authz.Errorf(authz.ErrConflict, "stop %.128q was lifted before", s.ID)
	}
	return err
}
