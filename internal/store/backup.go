package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/safeconduct/safeconduct/authz"
)

// LimitSize bounds the size of a SQLite database from now on; 0 means no bound. A bound below the
// present size keeps the database from growing.
func (db *DB) LimitSize(ctx context.Context, bytes int64) error {
	if db.lite == nil {
		return authz.Errorf(authz.ErrInvalid, "only the size of a SQLite database can be bounded")
	}
	var pageSize int64
	if err := db.w.QueryRowContext(ctx, `pragma page_size`).Scan(&pageSize); err != nil {
		return db.kind(err)
	}
	pages := int64(maxPages)
	if bytes > 0 {
		pages = max(1, bytes/pageSize)
	}
	db.lite.maxPages.Store(pages)
	_, err := db.w.ExecContext(ctx, limitPages(pages))
	return db.kind(err)
}

const maxPages = 1<<32 - 2 // SQLite's own bound

func limitPages(n int64) string { return `pragma max_page_count = ` + strconv.FormatInt(n, 10) }

// Backup writes a copy of the database as it is now to a new file, while it is served. The copy
// is complete, or is not there. It is for SQLite; PostgreSQL has its own tools.
func (db *DB) Backup(ctx context.Context, path string) error {
	if db.lite == nil {
		return authz.Errorf(authz.ErrInvalid, "back up PostgreSQL with its own tools, such as pg_dump")
	}
	if _, err := os.Lstat(path); err == nil {
		return authz.Errorf(authz.ErrConflict, "%s already exists", path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return authz.Errorf(authz.ErrInvalid, "%w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".partial-*") // 0600
	if err != nil {
		return authz.Errorf(authz.ErrInvalid, "%w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := db.r.ExecContext(ctx, `vacuum into $1`, f.Name()); err != nil {
		return fmt.Errorf("writing %s: %w", path, db.kind(err))
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("writing %s: %w", path, db.kind(err))
	}
	if err := os.Link(f.Name(), path); err != nil { // unlike a rename, replaces nothing
		return authz.Errorf(authz.ErrConflict, "%w", err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
