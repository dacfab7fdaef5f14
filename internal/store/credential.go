package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
)

// Credentials returns what is kept of the agents whose ids follow after, up to and including last, in
// the order of the database. It is one statement, so what it returns stood at one moment.
func (db *DB) Credentials(ctx context.Context, after, last authz.AgentID) (es []agent.Enrolment, cs []agent.Credential, err error) {
	_, err = many(ctx, db, func(s scanner) (struct{}, error) {
		var what int
		var of, record string
		if err := s.Scan(&what, &of, &record); err != nil {
			return struct{}{}, err
		}
		var err error
		switch what {
		case 1:
			var e agent.Enrolment
			err = json.Unmarshal([]byte(record), &e)
			es = append(es, e)
		default:
			var c agent.Credential
			err = json.Unmarshal([]byte(record), &c)
			cs = append(cs, c)
		}
		if err != nil {
			return struct{}{}, fmt.Errorf("decoding what agent %q authenticates with: %w", of, err)
		}
		return struct{}{}, nil
	}, `
		select 1, agent, record
		from enrolment
		where agent > $1
		and agent <= $2
		union all
		select 2, agent, record
		from credential
		where agent > $1
		and agent <= $2`,
		string(after), string(last))
	return es, cs, err
}

// PutCredentials keeps an enrolment, unless it is nil, in place of the agent's earlier one, and each
// credential, all or nothing. What is kept in a newer revision (by AsOf) stays as it is.
func (db *DB) PutCredentials(ctx context.Context, e *agent.Enrolment, cs []agent.Credential) error {
	return db.write(ctx, func(tx *sql.Tx) error {
		if e != nil {
			record, err := json.Marshal(e)
			if err != nil {
				return fmt.Errorf("encoding an enrolment of agent %q: %w", e.Agent, err)
			}
			if _, err := tx.ExecContext(ctx, `
				insert into enrolment (agent, record, as_of)
				values ($1, $2, $3)
				on conflict (agent) do update
				set record = $2, as_of = $3
				where enrolment.as_of < $3`,
				string(e.Agent), string(record), e.AsOf); err != nil {
				return err
			}
		}
		for _, c := range cs {
			record, err := json.Marshal(c)
			if err != nil {
				return fmt.Errorf("encoding credential %q: %w", c.ID, err)
			}
			if _, err := tx.ExecContext(ctx, `
				insert into credential (agent, id, record, as_of)
				values ($1, $2, $3, $4)
				on conflict (agent, id) do update
				set record = $3, as_of = $4
				where credential.as_of < $4`,
				string(c.Agent), c.ID, string(record), c.AsOf); err != nil {
				return err
			}
		}
		return nil
	})
}
