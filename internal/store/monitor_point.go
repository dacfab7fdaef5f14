package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

// PutPoints keeps points, each unless one of a newer format is kept under its number, and then forgets of its agent the
// numbers that it drops.
func (db *DB) PutPoints(ctx context.Context, format int64, ps []monitor.KeptPoint) error {
	err := db.write(ctx, func(tx *sql.Tx) error {
		put, err := tx.PrepareContext(ctx, `
			insert into trust_point (agent, nth, format, at, record)
			values ($1, $2, $3, $4, $5)
			on conflict (agent, nth) do update
			set format = $3, at = $4, record = $5
			where trust_point.format <= $3`)
		if err != nil {
			return err
		}
		defer put.Close()
		drop, err := tx.PrepareContext(ctx, `
			delete from trust_point
			where agent = $1
			and nth = $2
			and format <= $3`)
		if err != nil {
			return err
		}
		defer drop.Close()
		for i := range ps {
			p := &ps[i]
			record, err := json.Marshal(&p.Point)
			if err != nil {
				return err
			}
			if _, err := put.ExecContext(ctx, string(p.Agent), p.Point.Nth, format, p.Point.At.UnixMicro(), string(record)); err != nil {
				return err
			}
			for _, nth := range p.Drop {
				if _, err := drop.ExecContext(ctx, string(p.Agent), nth, format); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keeping %d points of trust: %w", len(ps), err)
	}
	return nil
}

// Points returns the points of an agent within a time, oldest first, without those of formats older than the head's. Their
// number is bounded by what PutPoints was told to drop.
func (db *DB) Points(ctx context.Context, id authz.AgentID, from, to time.Time) ([]monitor.Point, error) {
	ps, err := many(ctx, db, func(s scanner) (p monitor.Point, err error) {
		var record string
		if err := s.Scan(&record); err != nil {
			return p, err
		}
		if err := json.Unmarshal([]byte(record), &p); err != nil {
			return p, authz.Errorf(authz.ErrInvalid, "reading a point of trust: %w", err)
		}
		return p, nil
	}, `
		select record
		from trust_point
		where agent = $1
		and at >= $2
		and at <= $3
		and format >= coalesce((select format from monitor_head where id = 1), 0)
		order by nth
		limit 2048`,
		string(id), from.UnixMicro(), to.UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("reading points of trust: %w", err)
	}
	return ps, nil
}
