package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
)

var _ agent.Store = (*DB)(nil)

// Agents returns up to limit agents whose ids follow the given one, in the order of ids.
func (db *DB) Agents(ctx context.Context, after authz.AgentID, limit int) ([]authz.Agent, error) {
	return many(ctx, db, scanRecord[authz.Agent], `
		select id, record
		from agent
		where id > $1
		order by id
		limit $2`,
		string(after), limit)
}

// PutAgent keeps a unless a newer revision (by AsOf) is kept already.
func (db *DB) PutAgent(ctx context.Context, a authz.Agent) error {
	record, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encoding agent %q: %w", a.ID, err)
	}
	_, err = db.exec(ctx, `
		insert into agent (id, record, as_of)
		values ($1, $2, $3)
		on conflict (id) do update
		set record = $2, as_of = $3
		where agent.as_of < $3`,
		string(a.ID), string(record), a.AsOf)
	return err
}
