// Package store keeps everything that must survive: in SQLite for one process, in PostgreSQL for
// many replicas. The SQL is one text for both; what differs is a dialect, a schema rule and how a
// database is opened.
//
// A feature declares the few methods that it calls as an interface in its own package; *DB has them
// all, in one file a feature, asserted at the head of that file. A method returns errors of these
// kinds and no others:
//
//   - authz.ErrNotFound: there is no such row; sql.ErrNoRows never leaves this package
//   - authz.ErrConflict: a key is taken, or a row is not in the version that the caller has read
//   - authz.ErrUnavailable: the database cannot serve now; nothing needs to be reopened when it can again
//   - the error of the context, if it ended first
//
// An error without a kind is a fault of this program.
//
// What was acknowledged survives the death of the process and of the machine, provided that the
// disk tells the truth about fsync. A write that returned authz.ErrUnavailable or the error of a
// context may or may not have happened.
//
// Not solved here: a PostgreSQL that fails over to a standby loses what the standby did not have
// yet, unless synchronous_standby_names says that commits wait for it. Replicas notice that the log
// has gone back, and stop.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// Config says which database to open. Exactly one of SQLite and Postgres must be set.
type Config struct {
	// SQLite is the path of the database file. The file and its directory are created, for the
	// owner alone. Beside it lie FILE-wal, FILE-shm and FILE.lock; the first is as much a part of
	// the database as the file itself: copy neither by hand, use Backup.
	SQLite string

	// Postgres is a connection string: postgres://user@host/name, or key=value pairs. With several
	// hosts the one that accepts writes is chosen. A search_path in it selects the schema. It needs
	// sessions of its own: a pooler in between must not share them between transactions.
	Postgres string

	// ReadOnly opens an existing database without writing to it and, on SQLite, without taking it
	// from the process that serves it.
	ReadOnly bool

	// Readers is how many connections may read at once: 4 by default on SQLite, 8 on PostgreSQL.
	Readers int

	// Writers is how many connections may write at once on PostgreSQL: 4 by default. SQLite has
	// one writer, always.
	Writers int

	// StatementTimeout bounds one statement on PostgreSQL: 10 s by default, at least 1 ms.
	StatementTimeout time.Duration

	// MaxBytes bounds the size of a SQLite database, without its write-ahead log, so that a full
	// disk is met here first. A write beyond it returns authz.ErrUnavailable. 0 means no bound.
	MaxBytes int64

	Now    func() time.Time // time.Now by default
	Logger *slog.Logger     // silent by default
}

// A DB is an open database. It is safe for concurrent use.
type DB struct {
	cfg  Config
	log  *slog.Logger
	now  func() time.Time
	w, r *sql.DB // connections that may write; connections that read. On SQLite w has one
	d    dialect

	wStmts, rStmts statements
	bell           bell
	lite           *sqlite   // nil on PostgreSQL
	pg             *postgres // nil on SQLite
	closed         atomic.Bool
	close          sync.Once
}

// A dialect is all that differs between the two databases once they are open.
type dialect struct {
	name     string
	isUnique func(error) bool            // a key is taken: authz.ErrConflict
	isDown   func(error) bool            // the database cannot serve now: authz.ErrUnavailable
	isRace   func(error) bool            // the transaction lost a race and may be tried again
	grown    func()                      // tells other processes that the log has grown; returns at once
	listen   func(context.Context) error // hears other processes until the context ends, and rings the bell
}

// Open opens the database, and brings its schema up to date unless it is read-only. It refuses a
// database of a newer version, one that is not ours and, on SQLite, one that another process has
// open: authz.ErrInvalid, authz.ErrInvalid, authz.ErrConflict.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	db := &DB{cfg: cfg, log: cfg.Logger, now: cfg.Now}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if db.now == nil {
		db.now = time.Now
	}
	var err error
	switch {
	case cfg.SQLite != "" && cfg.Postgres != "":
		return nil, authz.Errorf(authz.ErrInvalid, "both a SQLite file and a PostgreSQL database are configured")
	case cfg.SQLite != "":
		err = db.openSQLite(ctx)
	case cfg.Postgres != "":
		err = db.openPostgres(ctx)
	default:
		return nil, authz.Errorf(authz.ErrInvalid, "no database is configured")
	}
	if err == nil {
		err = db.migrate(ctx)
	}
	if err != nil {
		err = fmt.Errorf("opening database: %w", db.kind(err))
		db.Close()
		return nil, err
	}
	db.wStmts.db, db.rStmts.db = db.w, db.r
	return db, nil
}

// Close closes the database once writes under way have ended.
func (db *DB) Close() error {
	var errs []error
	db.close.Do(func() {
		db.closed.Store(true)
		if db.pg != nil {
			db.pg.ear.close()
		}
		db.bell.stop()
		if db.r != nil {
			errs = append(errs, db.r.Close())
		}
		if db.w != nil && db.w != db.r {
			errs = append(errs, db.w.Close())
		}
		if db.lite != nil {
			errs = append(errs, db.lite.close())
		}
	})
	return errors.Join(errs...)
}

// Ping reports whether the database can serve now.
func (db *DB) Ping(ctx context.Context) error {
	_, err := one(ctx, db, func(s scanner) (n int64, err error) {
		return n, s.Scan(&n)
	}, `select 1`)
	return err
}

// Name says what kind of database this is: "sqlite" or "postgres".
func (db *DB) Name() string { return db.d.name }

// write runs f in one transaction and commits it, unless f fails. It may call f more than once.
func (db *DB) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	if db.cfg.ReadOnly {
		return errReadOnly
	}
	for try := 1; ; try++ {
		err := db.try(ctx, f)
		if err == nil || try == 5 || !db.d.isRace(err) || ctx.Err() != nil {
			return db.kind(err)
		}
	}
}

func (db *DB) try(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := db.w.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		tx.Rollback() // the reason is err; a connection that cannot roll back is dropped
		return err
	}
	return tx.Commit()
}

// exec runs one statement that is a transaction of its own, and returns how many rows it changed.
func (db *DB) exec(ctx context.Context, query string, args ...any) (int64, error) {
	if db.cfg.ReadOnly {
		return 0, errReadOnly
	}
	st, err := db.wStmts.prepare(ctx, query)
	if err != nil {
		return 0, db.kind(err)
	}
	res, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, db.kind(err)
	}
	n, err := res.RowsAffected()
	return n, db.kind(err)
}

var errReadOnly = authz.Errorf(authz.ErrForbidden, "the database is open for reading only")

// A scanner is one row: *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// one returns the first row of a query, or authz.ErrNotFound.
func one[T any](ctx context.Context, db *DB, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	var zero T
	st, err := db.rStmts.prepare(ctx, query)
	if err != nil {
		return zero, db.kind(err)
	}
	v, err := scan(st.QueryRowContext(ctx, args...))
	if err != nil {
		return zero, db.kind(err)
	}
	return v, nil
}

// many returns all rows of a query, nil if there are none. The query bounds their number.
func many[T any](ctx context.Context, db *DB, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	st, err := db.rStmts.prepare(ctx, query)
	if err != nil {
		return nil, db.kind(err)
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return nil, db.kind(err)
	}
	defer rows.Close()
	var vs []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, db.kind(err)
		}
		vs = append(vs, v)
	}
	return vs, db.kind(rows.Err())
}

// statements are those of one pool, prepared at first use. Every query is a constant of this
// package, so their number is bounded.
type statements struct {
	db *sql.DB
	m  sync.Map // query to *sql.Stmt
}

func (ss *statements) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if st, ok := ss.m.Load(query); ok {
		return st.(*sql.Stmt), nil
	}
	st, err := ss.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if old, taken := ss.m.LoadOrStore(query, st); taken {
		st.Close()
		return old.(*sql.Stmt), nil
	}
	return st, nil
}
