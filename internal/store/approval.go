package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
)

var _ approval.Store = (*DB)(nil)

// OpenAsks returns up to limit asks that are pending, or over after the given time, whose ids follow the
// given one, in the order of ids. If nothing has changed for long, they begin a day and an hour before the
// newest change at the latest.
func (db *DB) OpenAsks(ctx context.Context, since time.Time, after string, limit int) ([]approval.Ask, error) {
	newest, err := one(ctx, db, func(s scanner) (at int64, err error) {
		return at, s.Scan(&at)
	}, `
		select coalesce(max(changed_at), 0)
		from ask`)
	if err != nil {
		return nil, err
	}
	const margin = int64(approval.Retention+time.Hour) / int64(time.Microsecond)
	return many(ctx, db, scanRecord[approval.Ask], `
		select id, record
		from ask
		where id > $1
		and over_at > $2
		order by id
		limit $3`,
		after, min(since.UnixMicro(), newest-margin), limit)
}

// EndedAsks returns up to limit asks of an agent that have ended, and that an entry before the given one
// asked, newest first.
func (db *DB) EndedAsks(ctx context.Context, agent authz.AgentID, before int64, limit int) ([]approval.Ask, error) {
	return many(ctx, db, scanRecord[approval.Ask], `
		select id, record
		from ask
		where agent = $1
		and asked < $2
		and not pending
		order by asked desc
		limit $3`,
		string(agent), before, limit)
}

// Ask returns the ask of that id, or authz.ErrNotFound.
func (db *DB) Ask(ctx context.Context, id string) (approval.Ask, error) {
	a, err := one(ctx, db, scanRecord[approval.Ask], `
		select id, record
		from ask
		where id = $1`, id)
	if errors.Is(err, authz.ErrNotFound) {
		return approval.Ask{}, authz.Errorf(authz.ErrNotFound, "there is no ask %.64q", id)
	}
	return a, err
}

// PutAsk keeps a unless a newer version (by AsOf) is kept already.
func (db *DB) PutAsk(ctx context.Context, a approval.Ask) error {
	record, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encoding ask %s: %w", a.ID, err)
	}
	pending, over := a.Status == approval.Pending, int64(math.MaxInt64)
	if !pending {
		over = a.Over().UnixMicro()
	}
	_, err = db.exec(ctx, `
		insert into ask (id, record, agent, asked, pending, over_at, changed_at, as_of)
		values ($1, $2, $3, $4, $5, $6, $7, $8)
		on conflict (id) do update
		set record = $2, pending = $5, over_at = $6, changed_at = $7, as_of = $8
		where ask.as_of < $8`,
		a.ID, string(record), string(a.Agent), a.Seq, pending, over, a.Changed().UnixMicro(), a.AsOf)
	return err
}

// AsksAsOf returns the number of the newest entry that made a version of an ask or of an absence that is kept,
// 0 if none is.
func (db *DB) AsksAsOf(ctx context.Context) (int64, error) {
	return one(ctx, db, func(s scanner) (seq int64, err error) {
		return seq, s.Scan(&seq)
	}, `
		select coalesce(max(newest), 0)
		from (
			select max(as_of) as newest from ask
			union all
			select max(as_of) from away
		) as kept`)
}

// Aways returns the newest absence of each person, also those that have ended.
func (db *DB) Aways(ctx context.Context) ([]approval.Away, error) {
	return many(ctx, db, scanRecord[approval.Away], `
		select person, record
		from away
		order by person`)
}

// PutAway keeps a unless a newer one of that person (by AsOf) is kept already.
func (db *DB) PutAway(ctx context.Context, a approval.Away) error {
	record, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encoding the absence of %q: %w", a.Person, err)
	}
	_, err = db.exec(ctx, `
		insert into away (person, record, as_of)
		values ($1, $2, $3)
		on conflict (person) do update
		set record = $2, as_of = $3
		where away.as_of < $3`,
		a.Person, string(record), a.AsOf)
	return err
}
