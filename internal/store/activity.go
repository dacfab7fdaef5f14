package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/activity"
)

var _ activity.Store = (*DB)(nil)

// ActivityHead returns up to where what agents did is kept.
func (db *DB) ActivityHead(ctx context.Context) (activity.Head, error) {
	h, err := one(ctx, db, func(s scanner) (h activity.Head, err error) {
		return h, s.Scan(&h.Seq, &h.Format, &h.Uploads)
	}, `
		select seq, format, uploads
		from activity_head
		where id = 1`)
	if errors.Is(err, authz.ErrNotFound) {
		return activity.Head{}, nil
	}
	if err != nil {
		return h, fmt.Errorf("reading head of what agents did: %w", err)
	}
	return h, nil
}

// MoveActivity makes h the head, unless it stands at a later entry of the same format. Rows of other formats are removed
// when the format changes.
func (db *DB) MoveActivity(ctx context.Context, h activity.Head) error {
	err := db.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `
			insert into activity_head (id, seq, format, uploads)
			values (1, $1, $2, $3)
			on conflict (id) do update
			set seq = $1, format = $2, uploads = $3
			where activity_head.format <> $2`, h.Seq, h.Format, h.Uploads)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n > 0 {
			_, err := tx.ExecContext(ctx, `delete from activity where format <> $1`, h.Format)
			return err
		}
		_, err = tx.ExecContext(ctx, `
			update activity_head
			set seq = $1, uploads = $3
			where id = 1 and format = $2 and seq < $1`, h.Seq, h.Format, h.Uploads)
		return err
	})
	if err != nil {
		return fmt.Errorf("moving head of what agents did to entry %d: %w", h.Seq, err)
	}
	return nil
}

const putActivity = `
	insert into activity (agent, kind, name, format, seq, record)
	values ($1, $2, $3, $4, $5, $6)
	on conflict (agent, kind, name) do update
	set format = $4, seq = $5, record = $6
	where activity.format < $4 or activity.format = $4 and activity.seq < $5`

// PutActivity keeps rows, each unless it is kept as of a later entry already.
func (db *DB) PutActivity(ctx context.Context, format int64, rows []activity.Row) error {
	if len(rows) == 0 {
		return nil
	}
	err := db.write(ctx, func(tx *sql.Tx) error {
		st, err := tx.PrepareContext(ctx, putActivity)
		if err != nil {
			return err
		}
		defer st.Close()
		for i := range rows {
			r := &rows[i]
			if _, err := st.ExecContext(ctx, string(r.Agent), r.Kind, r.Name, format, r.Seq, string(r.Record)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keeping %d rows of what agents did: %w", len(rows), err)
	}
	return nil
}

func scanActivity(s scanner) (r activity.Row, err error) {
	var record string
	err = s.Scan(&r.Agent, &r.Kind, &r.Name, &r.Seq, &record)
	r.Record = []byte(record)
	return r, err
}

// Activity returns one row of a format.
func (db *DB) Activity(ctx context.Context, format int64, id authz.AgentID, kind, name string) (activity.Row, error) {
	return one(ctx, db, scanActivity, `
		select agent, kind, name, seq, record
		from activity
		where agent = $1
		and kind = $2
		and name = $3
		and format = $4`, string(id), kind, name, format)
}

// ActivityOf returns up to limit rows of an agent and a kind, the newest first, that were changed last by entries numbered below before.
func (db *DB) ActivityOf(ctx context.Context, format int64, id authz.AgentID, kind string, before int64, limit int) ([]activity.Row, error) {
	rs, err := many(ctx, db, scanActivity, `
		select agent, kind, name, seq, record
		from activity
		where agent = $1
		and kind = $2
		and seq < $3
		and format = $4
		order by seq desc
		limit $5`, string(id), kind, before, format, limit)
	if err != nil {
		return nil, fmt.Errorf("reading what agent %q did: %w", id, err)
	}
	return rs, nil
}

// ActivityNamed returns up to limit rows of a kind and a name, of agents whose ids follow the given one, by id.
func (db *DB) ActivityNamed(ctx context.Context, format int64, kind, name string, after authz.AgentID, limit int) ([]activity.Row, error) {
	rs, err := many(ctx, db, scanActivity, `
		select agent, kind, name, seq, record
		from activity
		where kind = $1
		and name = $2
		and agent > $3
		and format = $4
		order by agent
		limit $5`, kind, name, string(after), format, limit)
	if err != nil {
		return nil, fmt.Errorf("reading what agents did under %q: %w", name, err)
	}
	return rs, nil
}

// PruneActivity removes the rows of an agent and a kind but for the newest so many.
func (db *DB) PruneActivity(ctx context.Context, id authz.AgentID, kind string, keep int) error {
	_, err := db.exec(ctx, `
		delete from activity
		where agent = $1
		and kind = $2
		and seq < (
			select min(seq)
			from (
				select seq
				from activity
				where agent = $1
				and kind = $2
				order by seq desc
				limit $3
			) newest
		)`, string(id), kind, keep)
	if err != nil {
		return fmt.Errorf("forgetting what agent %q did long ago: %w", id, err)
	}
	return nil
}
