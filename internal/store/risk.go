package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/safeconduct/safeconduct/internal/risk"
)

var _ risk.Store = (*DB)(nil)

// OpenAlerts returns up to limit alerts that are not cleared and expire after the given time, whose
// ids follow the given one, in the order of ids.
func (db *DB) OpenAlerts(ctx context.Context, at time.Time, after string, limit int) ([]risk.Alert, error) {
	return many(ctx, db, scanRecord[risk.Alert], `
		select id, record
		from alert
		where id > $1
		and not cleared
		and expires_at > $2
		order by id
		limit $3`,
		after, at.UnixMicro(), limit)
}

// PutAlert keeps a unless a newer version (by AsOf) is kept already.
func (db *DB) PutAlert(ctx context.Context, a risk.Alert) error {
	record, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encoding alert %q: %w", a.ID, err)
	}
	_, err = db.exec(ctx, `
		insert into alert (id, record, cleared, expires_at, as_of)
		values ($1, $2, $3, $4, $5)
		on conflict (id) do update
		set record = $2, cleared = $3, expires_at = $4, as_of = $5
		where alert.as_of < $5`,
		a.ID, string(record), a.Cleared, a.ExpiresAt.UnixMicro(), a.AsOf)
	return err
}

// OpenIndicators returns up to limit threat indicators that are not cleared and expire after the
// given time, whose ids follow the given one, in the order of ids.
func (db *DB) OpenIndicators(ctx context.Context, at time.Time, after string, limit int) ([]risk.Indicator, error) {
	return many(ctx, db, scanRecord[risk.Indicator], `
		select id, record
		from indicator
		where id > $1
		and not cleared
		and expires_at > $2
		order by id
		limit $3`,
		after, at.UnixMicro(), limit)
}

// PutIndicator keeps i unless a newer version (by AsOf) is kept already.
func (db *DB) PutIndicator(ctx context.Context, i risk.Indicator) error {
	record, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("encoding threat indicator %q: %w", i.ID, err)
	}
	_, err = db.exec(ctx, `
		insert into indicator (id, record, cleared, expires_at, as_of)
		values ($1, $2, $3, $4, $5)
		on conflict (id) do update
		set record = $2, cleared = $3, expires_at = $4, as_of = $5
		where indicator.as_of < $5`,
		i.ID, string(record), i.Cleared, i.ExpiresAt.UnixMicro(), i.AsOf)
	return err
}

// scanRecord reads an id and a JSON record.
func scanRecord[T any](s scanner) (v T, err error) {
	var id, record string
	if err := s.Scan(&id, &record); err != nil {
		return v, err
	}
	if err := json.Unmarshal([]byte(record), &v); err != nil {
		return v, fmt.Errorf("decoding record %q: %w", id, err)
	}
	return v, nil
}
