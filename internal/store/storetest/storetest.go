// Package storetest opens real databases for tests: SQLite in a directory of the test, or a fresh
// schema on PostgreSQL when SAFECONDUCT_TEST_POSTGRES holds a connection string. There is no fake
// store. To run any tests on a PostgreSQL of their own:
//
//	go run ./internal/store/storetest/cluster go test ./...
package storetest

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/safeconduct/safeconduct/internal/store"
)

// PostgresVar is the environment variable that holds a connection string of a PostgreSQL on which
// tests may create and drop schemas.
const PostgresVar = "SAFECONDUCT_TEST_POSTGRES"

// Open opens an empty database and closes it when the test ends: on PostgreSQL if PostgresVar is
// set, otherwise on SQLite.
func Open(t testing.TB) *store.DB {
	t.Helper()
	return open(t, Config(t))
}

// Config returns what Open opens: a place for one empty database, removed when the test ends.
func Config(t testing.TB) store.Config {
	t.Helper()
	if os.Getenv(PostgresVar) != "" {
		return Postgres(t)
	}
	return SQLite(t)
}

// SQLite is Config on SQLite, always.
func SQLite(t testing.TB) store.Config {
	return store.Config{SQLite: filepath.Join(t.TempDir(), "safeconduct.db")}
}

// Postgres is Config on PostgreSQL; the test is skipped if PostgresVar is not set.
func Postgres(t testing.TB) store.Config {
	t.Helper()
	dsn := os.Getenv(PostgresVar)
	if dsn == "" {
		t.Skipf("%s is not set", PostgresVar)
	}
	schema := "test_" + strings.ToLower(rand.Text()[:16])
	Exec(t, dsn, `create schema `+schema)
	t.Cleanup(func() { Exec(t, dsn, `drop schema `+schema+` cascade`) })
	return store.Config{Postgres: with(dsn, "search_path", schema, "application_name", schema)}
}

// Each runs f once for each kind of database that is at hand: SQLite always, PostgreSQL if
// PostgresVar is set. config makes a place for one empty database at each call. It is for the
// suites of the store itself; other packages call Open.
func Each(t *testing.T, f func(t *testing.T, config func(testing.TB) store.Config)) {
	t.Run("sqlite", func(t *testing.T) { f(t, SQLite) })
	t.Run("postgres", func(t *testing.T) {
		if os.Getenv(PostgresVar) == "" {
			t.Skipf("%s is not set", PostgresVar)
		}
		f(t, Postgres)
	})
}

// OpenConfig opens the database of cfg and closes it when the test ends.
func OpenConfig(t testing.TB, cfg store.Config) *store.DB {
	t.Helper()
	return open(t, cfg)
}

// Reopen closes db and opens the same database again, as after a restart.
func Reopen(t testing.TB, db *store.DB) *store.DB {
	t.Helper()
	v, ok := configs.Load(db)
	if !ok {
		t.Fatal("storetest.Reopen: storetest has not opened this database")
	}
	if err := db.Close(); err != nil {
		t.Fatalf("closing database: %v", err)
	}
	return open(t, v.(store.Config))
}

var configs sync.Map // *store.DB to its store.Config

func open(t testing.TB, cfg store.Config) *store.DB {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := store.Open(ctx, cfg)
	if err != nil {
		t.Fatalf("opening database: %v", err)
	}
	configs.Store(db, cfg)
	t.Cleanup(func() {
		configs.Delete(db)
		if err := db.Close(); err != nil {
			t.Errorf("closing database: %v", err)
		}
	})
	return db
}

// Exec runs one statement on the PostgreSQL of a connection string, outside of any store.
func Exec(t testing.TB, dsn, query string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatalf("connecting to PostgreSQL: %v", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// with adds parameters to a connection string of either form.
func with(dsn string, params ...string) string {
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme == "" {
		for i := 0; i < len(params); i += 2 {
			dsn += " " + params[i] + "='" + params[i+1] + "'"
		}
		return dsn
	}
	q := u.Query()
	for i := 0; i < len(params); i += 2 {
		q.Set(params[i], params[i+1])
	}
	u.RawQuery = q.Encode()
	return u.String()
}
