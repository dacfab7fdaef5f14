package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func TestSchema(t *testing.T) {
	ctx := context.Background()
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		t.Run("newer", func(t *testing.T) {
			cfg := config(t)
			db := storetest.OpenConfig(t, cfg)
			fill(t, db, 2, 1)
			db.Close()
			setVersion(t, cfg, `insert into schema_version (version_id, is_applied) values (9999, true)`)
			for _, cfg.ReadOnly = range []bool{false, true} {
				_, err := store.Open(ctx, cfg)
				wantKind(t, "Open", err, authz.ErrInvalid)
				if !strings.Contains(err.Error(), "schema version 9999") || !strings.Contains(err.Error(), "newer program") {
					t.Errorf("Open: error %q does not say what to do", err)
				}
			}
			setVersion(t, cfg, `delete from schema_version where version_id = 9999`)
			cfg.ReadOnly = false
			fill(t, storetest.OpenConfig(t, cfg), 3, 1)
		})

		// A database that an older program has left, at every step there ever was.
		t.Run("older", func(t *testing.T) {
			files := schemaSteps(t)
			for step := range int64(len(files)) {
				cfg := config(t)
				takeSteps(t, cfg, step)
				db := storetest.OpenConfig(t, cfg)
				fill(t, db, 2, 1)
				fill(t, storetest.Reopen(t, db), 3, 1)
			}
		})

		t.Run("read-only", func(t *testing.T) {
			cfg := config(t)
			cfg.ReadOnly = true
			_, err := store.Open(ctx, cfg) // of nothing
			if err == nil {
				t.Error("Open of an empty database for reading succeeded")
			}
			cfg.ReadOnly = false
			fill(t, storetest.OpenConfig(t, cfg), 2, 1)
			cfg.ReadOnly = true
			db := storetest.OpenConfig(t, cfg)
			if h := mustHead(t, db); h.Batches != 2 {
				t.Errorf("Head() = %+v, want 2 batches", h)
			}
			wantKind(t, "PutCheckpoint", db.PutCheckpoint(ctx, 1, nil), authz.ErrForbidden)
		})
	})
}

// schemaSteps returns the names of the schema's files, which are numbered without gaps.
func schemaSteps(t *testing.T) []string {
	t.Helper()
	files, err := os.ReadDir("schema")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i, f := range files {
		if want := fmt.Sprintf("%04d_", i+1); !strings.HasPrefix(f.Name(), want) {
			t.Fatalf("schema/%s does not begin with %s", f.Name(), want)
		}
		names = append(names, f.Name())
	}
	return names
}

// takeSteps makes a database that has taken only the first steps.
func takeSteps(t *testing.T, cfg store.Config, steps int64) {
	t.Helper()
	dialect, driver, dsn := goose.DialectPostgres, "pgx", cfg.Postgres
	if cfg.SQLite != "" {
		dialect, driver, dsn = goose.DialectSQLite3, "sqlite", "file:"+cfg.SQLite+"?_pragma=application_id(1397113668)"
	}
	raw, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	p, err := goose.NewProvider(dialect, raw, os.DirFS("schema"), goose.WithTableName("schema_version"), goose.WithSlog(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.GetVersions(context.Background()); err != nil {
		t.Fatal(err)
	}
	if steps == 0 {
		return
	}
	if _, err := p.UpTo(context.Background(), steps); err != nil {
		t.Fatal(err)
	}
}

// setVersion runs one statement behind the store's back.
func setVersion(t *testing.T, cfg store.Config, query string) {
	t.Helper()
	if cfg.Postgres != "" {
		storetest.Exec(t, cfg.Postgres, query)
		return
	}
	raw, err := sql.Open("sqlite", cfg.SQLite)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Exec(query); err != nil {
		t.Fatal(err)
	}
}

// Replicas that start at once on an empty database take turns.
func TestReplicasStartAtOnce(t *testing.T) {
	cfg := storetest.Postgres(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			db, err := store.Open(context.Background(), cfg)
			if err != nil {
				t.Error(err)
				return
			}
			db.Close()
		})
	}
	wg.Wait()
	fill(t, storetest.OpenConfig(t, cfg), 2, 1)
}

func TestPostgresUnfit(t *testing.T) {
	ctx := context.Background()
	cfg := storetest.Postgres(t)
	_, err := store.Open(ctx, store.Config{Postgres: "postgres://x:secret@127.0.0.1:bad/x"})
	wantKind(t, "Open of nonsense", err, authz.ErrInvalid)
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells the password: %v", err)
	}
	_, err = store.Open(ctx, store.Config{Postgres: "postgres://x:secret@127.0.0.1:1/x?connect_timeout=2"})
	wantKind(t, "Open of nobody", err, authz.ErrUnavailable)
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells the password: %v", err)
	}
	_, err = store.Open(ctx, store.Config{Postgres: strings.ReplaceAll(cfg.Postgres, "search_path=test_", "search_path=absent_")})
	wantKind(t, "Open of no schema", err, authz.ErrInvalid)
}
