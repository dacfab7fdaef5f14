package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/notify"
)

var _ notify.Store = (*DB)(nil)

// AddDeliveries keeps deliveries of which none of the same id is kept.
func (db *DB) AddDeliveries(ctx context.Context, ds []notify.Delivery) error {
	records := make([]string, len(ds))
	for i := range ds {
		record, err := json.Marshal(&ds[i])
		if err != nil {
			return fmt.Errorf("encoding delivery %q: %w", ds[i].ID, err)
		}
		records[i] = string(record)
	}
	return db.write(ctx, func(tx *sql.Tx) error {
		for i := range ds {
			d := &ds[i]
			if _, err := tx.ExecContext(ctx, `
				insert into delivery (id, ask, state, at, next_at, ended, as_of, version, record)
				values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
				on conflict (id) do nothing`,
				d.ID, d.Ask, string(d.State), d.At.UnixMicro(), d.NextAt.UnixMicro(), revokedMicro(d.EndedAt), d.AsOf, d.Version, records[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// Delivery returns the delivery of that id, or authz.ErrNotFound.
func (db *DB) Delivery(ctx context.Context, id string) (notify.Delivery, error) {
	return one(ctx, db, scanDelivery, `
		select version, record
		from delivery
		where id = $1`, id)
}

// Deliveries returns up to limit deliveries that q selects. It is authz.ErrNotFound if there is none of the
// id q.Before.
func (db *DB) Deliveries(ctx context.Context, q notify.Query, limit int) ([]notify.Delivery, error) {
	if !q.Due.IsZero() {
		return many(ctx, db, scanDelivery, `
			select version, record
			from delivery
			where state = 'waiting'
			and next_at <= $1
			order by next_at, id
			limit $2`,
			q.Due.UnixMicro(), limit)
	}
	at, id := int64(1<<62), ""
	if q.Before != "" {
		before, err := db.Delivery(ctx, q.Before)
		if err != nil {
			return nil, err
		}
		at, id = before.At.UnixMicro(), before.ID
	}
	return many(ctx, db, scanDelivery, `
		select version, record
		from delivery
		where (at, id) < ($1, $2)
		and ($3 = '' or ask = $3)
		and ($4 = '' or state = $4)
		order by at desc, id desc
		limit $5`,
		at, id, q.Ask, string(q.State), limit)
}

// ChangeDelivery keeps d, whose version is then one more, if the one that is kept is still of d's version;
// else it returns authz.ErrConflict.
func (db *DB) ChangeDelivery(ctx context.Context, d notify.Delivery) error {
	seen := d.Version
	d.Version++
	record, err := json.Marshal(&d)
	if err != nil {
		return fmt.Errorf("encoding delivery %q: %w", d.ID, err)
	}
	n, err := db.exec(ctx, `
		update delivery
		set state = $2, next_at = $3, ended = $4, as_of = $5, version = $6, record = $7
		where id = $1
		and version = $8`,
		d.ID, string(d.State), d.NextAt.UnixMicro(), revokedMicro(d.EndedAt), d.AsOf, d.Version, string(record), seen)
	if err == nil && n == 0 {
		return authz.Errorf(authz.ErrConflict, "delivery %q is not of version %d any more", d.ID, seen)
	}
	return err
}

// TellPerson notes that a person is told of an ask by an event, and returns the event by which the person
// was first told of it. It returns "" and notes nothing if the person was told of that many other asks
// since that time already; most is 0 for no bound. Replicas that ask at the very same moment may each find
// room for one.
func (db *DB) TellPerson(ctx context.Context, person, ask, event string, at, since time.Time, most int64) (first string, err error) {
	err = db.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `
			insert into delivery_person (person, ask, event, at)
			select $1, $2, $3, cast($4 as bigint)
			where cast($5 as bigint) = 0
			or cast($5 as bigint) > (select count(*) from delivery_person where person = $1 and at > $6)
			on conflict (person, ask) do nothing`,
			person, ask, event, at.UnixMicro(), most, since.UnixMicro()); err != nil {
			return err
		}
		err := tx.QueryRowContext(ctx, `
			select event
			from delivery_person
			where person = $1
			and ask = $2`, person, ask).Scan(&first)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return first, err
}

// ForgetDeliveries removes what has ended before a time, and who was told before it.
func (db *DB) ForgetDeliveries(ctx context.Context, before time.Time) error {
	if _, err := db.exec(ctx, `
		delete from delivery
		where state <> 'waiting'
		and ended < $1`, before.UnixMicro()); err != nil {
		return err
	}
	_, err := db.exec(ctx, `
		delete from delivery_person
		where at < $1`, before.UnixMicro())
	return err
}

func scanDelivery(s scanner) (d notify.Delivery, err error) {
	var version int64
	var record string
	if err := s.Scan(&version, &record); err != nil {
		return d, err
	}
	if err := json.Unmarshal([]byte(record), &d); err != nil {
		return d, fmt.Errorf("decoding a delivery: %w", err)
	}
	d.Version = version
	return d, nil
}
