package storetest

import (
	"database/sql"
	"testing"

	_ "modernc.org/sqlite" // to write to a database that is closed

	"github.com/safeconduct/safeconduct/internal/store"
)

// Empty closes db, deletes all rows of a table, as somebody might with the database's own tools, and opens
// the same database again.
func Empty(t testing.TB, db *store.DB, table string) *store.DB {
	t.Helper()
	v, ok := configs.Load(db)
	if !ok {
		t.Fatal("storetest.Empty: storetest has not opened this database")
	}
	if err := db.Close(); err != nil {
		t.Fatalf("closing database: %v", err)
	}
	cfg := v.(store.Config)
	if cfg.Postgres != "" {
		Exec(t, cfg.Postgres, `delete from `+table)
		return open(t, cfg)
	}
	raw, err := sql.Open("sqlite", cfg.SQLite)
	if err != nil {
		t.Fatalf("opening database: %v", err)
	}
	defer raw.Close()
	if _, err := raw.Exec(`delete from ` + table); err != nil {
		t.Fatalf("emptying %s: %v", table, err)
	}
	if err := raw.Close(); err != nil {
		t.Fatalf("closing database: %v", err)
	}
	return open(t, cfg)
}
