package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/figures"
)

var _ figures.Store = (*DB)(nil)

// FiguresHead returns as of which entry figures are kept, the zero Head if none are.
func (db *DB) FiguresHead(ctx context.Context) (figures.Head, error) {
	h, err := one(ctx, db, func(s scanner) (h figures.Head, err error) {
		var state string
		err = s.Scan(&h.Seq, &h.Format, &state)
		h.State = []byte(state)
		return h, err
	}, `
		select seq, format, state
		from figure_head
		where id = 1`)
	if errors.Is(err, authz.ErrNotFound) {
		return figures.Head{}, nil
	}
	if err != nil {
		return figures.Head{}, fmt.Errorf("reading head of figures: %w", err)
	}
	return h, nil
}

// PutFigures keeps rows and makes next the head, all or nothing. It returns authz.ErrConflict, and does nothing, if the
// head is not before next.
func (db *DB) PutFigures(ctx context.Context, next figures.Head, rows []figures.Row, forget figures.Forget) error {
	err := db.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `
			insert into figure_head (id, seq, format, state)
			values (1, $1, $2, $3)
			on conflict (id) do update
			set seq = $1, format = $2, state = $3
			where figure_head.seq < $1`,
			next.Seq, next.Format, string(next.State))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return authz.Errorf(authz.ErrConflict, "figures are kept as of entry %d already, or a later one", next.Seq)
		}
		st, err := tx.PrepareContext(ctx, `
			insert into figure (length, name, begins, ends, as_of, record)
			values ($1, $2, $3, $4, $5, $6)
			on conflict (length, name, begins) do update
			set ends = $4, as_of = $5, record = $6
			where figure.as_of < $5`)
		if err != nil {
			return err
		}
		defer st.Close()
		for i := range rows {
			r := &rows[i]
			if _, err := st.ExecContext(ctx, string(r.Length), r.Group, r.From.UnixMicro(), r.Until.UnixMicro(), r.AsOf, string(r.Record)); err != nil {
				return err
			}
		}
		for l, before := range forget.Before {
			if _, err := tx.ExecContext(ctx, `
				delete from figure
				where length = $1
				and begins < $2`, string(l), before.UnixMicro()); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `
			delete from figure
			where length = 'day'
			and begins < $1
			and name <> ''`, forget.Groups.UnixMicro())
		return err
	})
	if err != nil {
		return fmt.Errorf("keeping figures as of entry %d: %w", next.Seq, err)
	}
	return nil
}

// ResetFigures forgets everything.
func (db *DB) ResetFigures(ctx context.Context) error {
	err := db.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `delete from figure`); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `delete from figure_head`)
		return err
	})
	if err != nil {
		return fmt.Errorf("removing figures: %w", err)
	}
	return nil
}

// FigureRows returns the rows of a length that begin in a while, by when they begin: of all together, or by group.
func (db *DB) FigureRows(ctx context.Context, l figures.Length, byGroup bool, from, to time.Time) ([]figures.Row, error) {
	query := `
		select name, begins, ends, as_of, record
		from figure
		where length = $1
		and begins >= $2
		and begins < $3
		and name = ''
		order by begins`
	if byGroup {
		query = `
		select name, begins, ends, as_of, record
		from figure
		where length = $1
		and begins >= $2
		and begins < $3
		and name <> ''
		order by begins, name`
	}
	rows, err := many(ctx, db, func(s scanner) (figures.Row, error) {
		r := figures.Row{Length: l}
		var begins, ends int64
		var record string
		err := s.Scan(&r.Group, &begins, &ends, &r.AsOf, &record)
		r.From, r.Until, r.Record = time.UnixMicro(begins).UTC(), time.UnixMicro(ends).UTC(), []byte(record)
		return r, err
	}, query, string(l), from.UnixMicro(), to.UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("reading figures: %w", err)
	}
	return rows, nil
}
