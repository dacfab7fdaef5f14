package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/safeconduct/safeconduct/authz"
)

// minPostgres is the oldest server that this is tested to run on, as server_version_num has it.
const minPostgres = 140000

// postgres is what only an open PostgreSQL database has.
type postgres struct {
	conf   *pgx.ConnConfig
	schema string
	ear    ear
}

func (db *DB) openPostgres(ctx context.Context) error {
	conf, err := pgx.ParseConfig(db.cfg.Postgres)
	if err != nil {
		return authz.Errorf(authz.ErrInvalid, "%w", err) // pgx hides the password
	}
	db.pg = &postgres{conf: conf}
	db.d = dialect{name: "postgres", isUnique: pgUnique, isDown: pgDown, isRace: pgRace, grown: db.notify, listen: db.listen}

	// A server that has vanished without a word is given up after some 20 s.
	dialer := &net.Dialer{
		Timeout:         5 * time.Second,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 2},
	}
	conf.DialFunc = dialer.DialContext
	if conf.ConnectTimeout == 0 {
		conf.ConnectTimeout = 5 * time.Second
	}
	timeout := db.cfg.StatementTimeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	for name, value := range map[string]string{
		"application_name":                    "safeconduct",
		"statement_timeout":                   strconv.FormatInt(max(1, timeout.Milliseconds()), 10),
		"idle_in_transaction_session_timeout": "60000",
	} {
		if _, ok := conf.RuntimeParams[name]; !ok {
			conf.RuntimeParams[name] = value
		}
	}
	if db.cfg.ReadOnly {
		conf.RuntimeParams["default_transaction_read_only"] = "on"
	}
	if conf.ValidateConnect == nil && !db.cfg.ReadOnly {
		conf.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite // a standby is no use
	}

	writers := db.cfg.Writers
	if writers <= 0 {
		writers = 4
	}
	db.w, db.r = db.pg.pool(writers), db.pg.pool(db.readers(8))
	return db.checkServer(ctx)
}

func (p *postgres) pool(n int) *sql.DB {
	pool := stdlib.OpenDB(*p.conf, stdlib.OptionAfterConnect(durable))
	pool.SetMaxOpenConns(n)
	pool.SetMaxIdleConns(n)
	pool.SetConnMaxLifetime(30 * time.Minute) // to notice a server that a name now stands for
	return pool
}

// durable makes commits of a session wait for the disk, whatever the server's default is. A
// default that waits for a standby as well (on does too, if one is named) stays as it is.
func durable(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `
		select set_config('synchronous_commit', 'on', false)
		where current_setting('synchronous_commit') not in ('on', 'remote_apply')`)
	return err
}

func (db *DB) checkServer(ctx context.Context) error {
	var version, fsync string
	var schema sql.NullString
	err := db.w.QueryRowContext(ctx, `
		select current_setting('server_version_num'), current_setting('fsync'), current_schema()`).Scan(&version, &fsync, &schema)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(version); err != nil || n < minPostgres {
		return authz.Errorf(authz.ErrInvalid, "PostgreSQL %d or newer is needed, the server has version number %s", minPostgres/10000, version)
	}
	if !schema.Valid {
		return authz.Errorf(authz.ErrInvalid, "no schema of the search_path exists")
	}
	if fsync == "off" {
		db.log.ErrorContext(ctx, "PostgreSQL runs with fsync off: a crash of its machine loses records")
	}
	db.pg.schema = schema.String
	return nil
}

// schemaConn returns a connection for changing the schema: without a timeout, and holding an
// advisory lock, so that replicas that start at once take turns.
func (p *postgres) schemaConn(ctx context.Context) (*sql.DB, func(), error) {
	conf := p.conf.Copy()
	conf.RuntimeParams["statement_timeout"] = "0"
	pool := stdlib.OpenDB(*conf)
	pool.SetMaxOpenConns(2) // one holds the lock, one works
	lock, err := pool.Conn(ctx)
	if err == nil {
		_, err = lock.ExecContext(ctx, `select pg_advisory_lock($1)`, p.lockID("schema"))
	}
	if err != nil {
		pool.Close()
		return nil, nil, fmt.Errorf("waiting for other replicas: %w", err)
	}
	return pool, func() {
		lock.Close()
		pool.Close() // ends the session, and with it the lock
	}, nil
}

func (p *postgres) lockID(what string) int64 {
	h := fnv.New64a()
	h.Write([]byte("safeconduct\x00" + what + "\x00" + p.schema))
	return int64(h.Sum64())
}

func pgCode(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func pgUnique(err error) bool { return pgCode(err) == "23505" }

// pgRace recognises a transaction that was undone for the sake of another: serialization failure,
// deadlock.
func pgRace(err error) bool { return pgCode(err) == "40001" || pgCode(err) == "40P01" }

// pgDown recognises a server that is out of reach, out of resources, shutting down or no longer
// the primary, by the classes of Appendix A of its manual.
func pgDown(err error) bool {
	code := pgCode(err)
	if code == "" {
		var ce *pgconn.ConnectError
		return errors.As(err, &ce) || pgconn.Timeout(err) || pgconn.SafeToRetry(err) ||
			strings.Contains(err.Error(), "conn closed") // pgx keeps this one to itself
	}
	switch code[:2] {
	case "08", "53", "57", "58", "XX", "28": // connection, resources, operator, system, corruption, credentials
		return true
	}
	return code == "25006" || code == "55P03" || pgRace(err) // read-only, lock not available
}
