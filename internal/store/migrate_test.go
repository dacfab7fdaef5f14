package store_test

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"

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
