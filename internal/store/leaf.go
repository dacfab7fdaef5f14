package store

import (
	"context"
	"fmt"

	"github.com/safeconduct/safeconduct/internal/audit"
)

var _ audit.LeafStore = (*DB)(nil)

// Leaves returns up to limit leaves of the log's tree from the batch of that index on, without
// reading the entries beside them.
func (db *DB) Leaves(ctx context.Context, batch int64, limit int) ([][]byte, error) {
	leaves, err := many(ctx, db, func(row scanner) (leaf []byte, err error) {
		return leaf, row.Scan(&leaf)
	}, `
		select leaf
		from log_segment
		where batch >= $1
		order by batch
		limit $2`, batch, limit)
	if err != nil {
		return nil, fmt.Errorf("reading leaves of the log from %d: %w", batch, err)
	}
	return leaves, nil
}
