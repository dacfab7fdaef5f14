package store

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/safeconduct/safeconduct/authz"
)

// Every file is one step, numbered without gaps. A released file never changes.
//
//go:embed schema/*.sql
var schemaFiles embed.FS

// versionTable records which steps a database has taken.
const versionTable = "schema_version"

// migrate brings the schema up to date. Replicas that start at once take turns; a step that fails
// leaves nothing behind.
func (db *DB) migrate(ctx context.Context) error {
	conn, unlock, err := db.schemaConn(ctx)
	if err != nil {
		return err
	}
	defer unlock()

	files, err := fs.Sub(schemaFiles, "schema")
	if err != nil {
		return err
	}
	dialect := goose.DialectPostgres
	if db.lite != nil {
		dialect, files = goose.DialectSQLite3, rowidFS{files}
	}
	p, err := goose.NewProvider(dialect, conn, files,
		goose.WithTableName(versionTable),
		goose.WithDisableGlobalRegistry(true),
		goose.WithSlog(slog.New(slog.DiscardHandler)))
	if err != nil {
		return fmt.Errorf("reading schema: %w", err)
	}
	newest := p.ListSources()[len(p.ListSources())-1].Version

	if db.cfg.ReadOnly { // goose would create its table
		var have int64
		err := conn.QueryRowContext(ctx, `select coalesce(max(version_id), 0) from `+versionTable).Scan(&have)
		if err != nil {
			return fmt.Errorf("reading version of schema: %w", err)
		}
		return checkVersion(have, newest)
	}
	have, _, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("reading version of schema: %w", err)
	}
	if err := checkVersion(have, newest); err != nil {
		return err
	}
	steps, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("changing schema: %w", err)
	}
	for _, s := range steps {
		db.log.InfoContext(ctx, "schema changed", "step", s.Source.Path, "took", s.Duration.Round(time.Millisecond))
	}
	return nil
}

func checkVersion(have, newest int64) error {
	if have > newest {
		return authz.Errorf(authz.ErrInvalid,
			"the database has schema version %d, this program knows versions up to %d: it was used by a newer program; use that one, or restore a backup", have, newest)
	}
	return nil
}

// schemaConn returns connections for changing the schema, held by nobody else until unlock.
func (db *DB) schemaConn(ctx context.Context) (conn *sql.DB, unlock func(), err error) {
	if db.lite != nil {
		return db.w, func() {}, nil // the lock file is ours already
	}
	return db.pg.schemaConn(ctx)
}

// rowidFS is the schema as SQLite gets it. There the words "integer primary key", and no others,
// make a column the row's own number, which saves a second tree in every table; in PostgreSQL the
// type integer has only 32 bits. Everything else is the same text: bigint is an integer to
// SQLite, and a column it has never heard of, such as bytea, keeps bytes as they are.
type rowidFS struct{ fs.FS }

// ReadFile returns the file as SQLite gets it.
func (r rowidFS) ReadFile(name string) ([]byte, error) {
	b, err := fs.ReadFile(r.FS, name)
	return bytes.ReplaceAll(b, []byte("bigint primary key"), []byte("integer primary key")), err
}

// Open opens the file as SQLite gets it.
func (r rowidFS) Open(name string) (fs.File, error) {
	f, err := r.FS.Open(name)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil || st.IsDir() {
		return f, err
	}
	f.Close()
	b, err := r.ReadFile(name)
	return &rowidFile{Reader: bytes.NewReader(b), info: st}, err
}

type rowidFile struct {
	*bytes.Reader
	info fs.FileInfo
}

func (f *rowidFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *rowidFile) Close() error               { return nil }
