package store

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/safeconduct/safeconduct/internal/policy"
)

var _ policy.Store = (*DB)(nil)

// PutDocument keeps a text under its digest. A digest that is taken has the same text.
func (db *DB) PutDocument(ctx context.Context, digest, text string) error {
	_, err := db.exec(ctx, `
		insert into document (digest, text)
		values ($1, $2)
		on conflict (digest) do nothing`,
		digest, text)
	return err
}

// Document returns the text of a digest, or authz.ErrNotFound.
func (db *DB) Document(ctx context.Context, digest string) (string, error) {
	return one(ctx, db, func(s scanner) (text string, err error) {
		return text, s.Scan(&text)
	}, `
		select text
		from document
		where digest = $1`, digest)
}

// PutPolicyVersion keeps v unless its number is taken.
func (db *DB) PutPolicyVersion(ctx context.Context, v policy.Version) error {
	record, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding policy version %d: %w", v.Number, err)
	}
	_, err = db.exec(ctx, `
		insert into policy_version (number, record)
		values ($1, $2)
		on conflict (number) do nothing`,
		v.Number, string(record))
	return err
}

// PolicyVersions returns up to limit versions, the newest first, that come before the given number; 0
// means the newest of all.
func (db *DB) PolicyVersions(ctx context.Context, before int64, limit int) ([]policy.Version, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	return many(ctx, db, scanVersion, `
		select record
		from policy_version
		where number < $1
		order by number desc
		limit $2`,
		before, limit)
}

// PolicyVersion returns the version of that number, or authz.ErrNotFound.
func (db *DB) PolicyVersion(ctx context.Context, n int64) (policy.Version, error) {
	return one(ctx, db, scanVersion, `
		select record
		from policy_version
		where number = $1`, n)
}

func scanVersion(s scanner) (v policy.Version, err error) {
	var record string
	if err := s.Scan(&record); err != nil {
		return v, err
	}
	if err := json.Unmarshal([]byte(record), &v); err != nil {
		return v, fmt.Errorf("decoding a policy version: %w", err)
	}
	return v, nil
}
