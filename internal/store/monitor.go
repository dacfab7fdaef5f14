package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

var _ monitor.Store = (*DB)(nil)

// MonitorHead returns the head, the zero Head if there is none, and how many findings of its format are
// kept of entries up to its number.
func (db *DB) MonitorHead(ctx context.Context) (h monitor.Head, findings int64, err error) {
	h, err = one(ctx, db, func(s scanner) (h monitor.Head, err error) {
		return h, s.Scan(&h.Epoch, &h.Seq, &h.Format, &h.State)
	}, `
		select epoch, seq, format, state
		from monitor_head
		where id = 1`)
	if errors.Is(err, authz.ErrNotFound) {
		return monitor.Head{}, 0, nil
	}
	if err != nil {
		return monitor.Head{}, 0, fmt.Errorf("reading head of conduct: %w", err)
	}
	findings, err = one(ctx, db, func(s scanner) (n int64, err error) {
		return n, s.Scan(&n)
	}, `
		select count(*)
		from finding
		where format = $1
		and seq <= $2`, h.Format, h.Seq)
	if err != nil {
		return monitor.Head{}, 0, fmt.Errorf("counting findings: %w", err)
	}
	return h, findings, nil
}

// PutMonitorHead makes next the head, if the head has the epoch and the number of old. There is no row
// before there is a head.
func (db *DB) PutMonitorHead(ctx context.Context, old, next monitor.Head) error {
	err := db.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `
			insert into monitor_head (id, epoch, seq, format, state)
			values (1, 0, 0, 0, $1)
			on conflict (id) do nothing`, []byte{}); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `
			update monitor_head
			set epoch = $3, seq = $4, format = $5, state = $6
			where id = 1 and epoch = $1 and seq = $2`,
			old.Epoch, old.Seq, next.Epoch, next.Seq, next.Format, notNil(next.State))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return authz.Errorf(authz.ErrConflict, "conduct is not kept as of entry %d", old.Seq)
		}
		if next.Seq != 0 {
			return nil
		}
		_, err = tx.ExecContext(ctx, `delete from monitor_agent`)
		return err
	})
	if err != nil {
		return fmt.Errorf("moving head of conduct to entry %d: %w", next.Seq, err)
	}
	return nil
}

// MonitorAgents returns what was kept newest in the head's epoch, but not after the head, of up to limit agents whose ids
// follow the given one, in the order of ids.
func (db *DB) MonitorAgents(ctx context.Context, h monitor.Head, after authz.AgentID, limit int) ([]monitor.Kept, error) {
	ks, err := many(ctx, db, func(s scanner) (k monitor.Kept, err error) {
		return k, s.Scan(&k.Agent, &k.Seq, &k.State)
	}, `
		select a.agent, a.seq, a.state
		from monitor_agent a
		where a.agent > $1
		and a.epoch = $2
		and a.seq <= $3
		and not exists (
			select 1
			from monitor_agent b
			where b.agent = a.agent
			and b.epoch = $2
			and b.seq > a.seq
			and b.seq <= $3
		)
		order by a.agent
		limit $4`,
		string(after), h.Epoch, h.Seq, limit)
	if err != nil {
		return nil, fmt.Errorf("reading conduct of agents: %w", err)
	}
	return ks, nil
}

// monitorRows is how many rows one statement takes.
const monitorRows = 32

var (
	putAgents = `insert into monitor_agent (agent, epoch, seq, state) values ` + tuples(monitorRows, 4) + `
		on conflict (agent, epoch, seq) do update set state = excluded.state`
	putAgent = `insert into monitor_agent (agent, epoch, seq, state) values ` + tuples(1, 4) + `
		on conflict (agent, epoch, seq) do update set state = excluded.state`
)

// tuples returns ($1, $2), ($3, $4), ...
func tuples(rows, columns int) string {
	var b strings.Builder
	for i := range rows * columns {
		switch {
		case i == 0:
			b.WriteByte('(')
		case i%columns == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		b.WriteString("$" + strconv.Itoa(i+1))
	}
	return b.String() + ")"
}

// PutMonitorAgents keeps agents, for heads of an epoch, beside what is kept of them as of other entries.
func (db *DB) PutMonitorAgents(ctx context.Context, epoch int64, agents []monitor.Kept) error {
	err := db.inChunks(ctx, len(agents), putAgents, putAgent, func(args []any, i int) []any {
		k := &agents[i]
		return append(args, string(k.Agent), epoch, k.Seq, notNil(k.State))
	})
	if err != nil {
		return fmt.Errorf("keeping conduct of %d agents: %w", len(agents), err)
	}
	return nil
}

// inChunks runs statements for n rows in one transaction: many for monitorRows of them, single for one.
func (db *DB) inChunks(ctx context.Context, n int, many, single string, args func([]any, int) []any) error {
	if n == 0 {
		return nil
	}
	if db.cfg.ReadOnly {
		return errReadOnly
	}
	// Before the transaction, which has the one connection that writes to SQLite.
	one, err := db.wStmts.prepare(ctx, single)
	if err != nil {
		return db.kind(err)
	}
	several, err := db.wStmts.prepare(ctx, many)
	if err != nil {
		return db.kind(err)
	}
	return db.write(ctx, func(tx *sql.Tx) error {
		for i := 0; i < n; {
			st, rows := one, 1
			if n-i >= monitorRows {
				st, rows = several, monitorRows
			}
			var list []any
			for range rows {
				list = args(list, i)
				i++
			}
			if _, err := tx.StmtContext(ctx, st).ExecContext(ctx, list...); err != nil {
				return err
			}
		}
		return nil
	})
}

// SweepMonitor removes what is kept of agents as of entries before the head. That nothing is known of an agent
// any more stays written, one short row for each that was forgotten: a slower replica may still write what it
// knew as of an entry before, and must not bring the agent back by that. All goes when a new epoch begins.
func (db *DB) SweepMonitor(ctx context.Context, h monitor.Head, agents []monitor.Kept) error {
	err := db.write(ctx, func(tx *sql.Tx) error {
		st, err := tx.PrepareContext(ctx, `
			delete from monitor_agent
			where agent = $1
			and epoch = $2
			and seq < $3`)
		if err != nil {
			return err
		}
		defer st.Close()
		for i := range agents {
			if _, err := st.ExecContext(ctx, string(agents[i].Agent), h.Epoch, h.Seq); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("removing former conduct of %d agents: %w", len(agents), err)
	}
	return nil
}
