package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/safeconduct/safeconduct/internal/people"
)

var _ people.Store = (*DB)(nil)

// Accounts returns every account of a person, in the order of the database. It is one statement, so what
// it returns stood at one moment.
func (db *DB) Accounts(ctx context.Context) ([]people.Account, error) {
	return many(ctx, db, func(s scanner) (a people.Account, err error) {
		var id, record string
		if err := s.Scan(&id, &record); err != nil {
			return a, err
		}
		if err := json.Unmarshal([]byte(record), &a); err != nil {
			return a, fmt.Errorf("decoding person %q: %w", id, err)
		}
		return a, nil
	}, `
		select id, record
		from person
		order by id`)
}

// PutAccount keeps a unless a newer version (by AsOf) is kept already.
func (db *DB) PutAccount(ctx context.Context, a people.Account) error {
	record, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encoding person %q: %w", a.Person.ID, err)
	}
	_, err = db.exec(ctx, `
		insert into person (id, record, as_of)
		values ($1, $2, $3)
		on conflict (id) do update
		set record = $2, as_of = $3
		where person.as_of < $3`,
		a.Person.ID, string(record), a.AsOf)
	return err
}
