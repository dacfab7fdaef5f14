package store_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func mustHead(t *testing.T, db audit.Store) audit.Head {
	t.Helper()
	h, err := db.Head(context.Background())
	if err != nil {
		t.Fatalf("Head: %v", err)
	}
	return h
}

// A database that is gone is unavailable, and serves again by itself when it is back.
func TestOutage(t *testing.T) {
	ctx := context.Background()
	big := bytes.Repeat([]byte("x"), 20_000)
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		db, b := storetest.OpenBreakable(t, config(t))
		fill(t, db, 3, 1)
		for range 3 {
			h := mustHead(t, db)
			s, err := segment(ctx, db, h, 1, big)
			if err != nil {
				t.Fatal(err)
			}
			b.Break()
			wantKind(t, "Append", db.Append(ctx, h, s), authz.ErrUnavailable)
			err = db.AppendIndex(ctx, 0, 1, []audit.IndexBlock{{First: 1, Data: big}})
			wantKind(t, "AppendIndex", err, authz.ErrUnavailable)
			if db.Name() == "postgres" {
				wantKind(t, "Ping", db.Ping(ctx), authz.ErrUnavailable)
				_, err := db.Segments(ctx, 0, 1)
				wantKind(t, "Segments", err, authz.ErrUnavailable)
			}
			b.Mend()
			wantKind(t, "Ping", db.Ping(ctx), nil)
			if got := mustHead(t, db); got != h {
				t.Fatalf("afterwards, Head() = %+v, want %+v", got, h)
			}
			wantKind(t, "Append", db.Append(ctx, h, s), nil)
			if seq, err := db.IndexCursor(ctx); err != nil || seq != 0 {
				t.Errorf("IndexCursor() = %d, %v, want 0", seq, err)
			}
		}
	})
}

// An administrator ends the sessions; the server runs on.
func TestPostgresSessionsEnd(t *testing.T) {
	ctx := context.Background()
	cfg := storetest.Postgres(t)
	db := storetest.OpenConfig(t, cfg)
	listening, stop := context.WithCancel(ctx)
	defer stop()
	changed, err := db.Changed(listening)
	if err != nil {
		t.Fatal(err)
	}
	other := storetest.OpenConfig(t, cfg)
	for i := range int64(3) {
		storetest.Exec(t, cfg.Postgres, `
			select pg_terminate_backend(pid)
			from pg_stat_activity
			where application_name = current_schema() and pid <> pg_backend_pid()`)
		// database/sql drops a connection that was broken before it was used, and takes another;
		// one that breaks in use is an error of its statement, whose fate is unknown.
		for try := 0; ; try++ {
			h, err := other.Head(ctx)
			if err == nil {
				var s audit.Segment
				if s, err = segment(ctx, other, h, 1, nil); err == nil {
					err = other.Append(ctx, h, s)
				}
			}
			if err == nil {
				break
			}
			wantKind(t, "Append", err, authz.ErrUnavailable)
			if try == 20 {
				t.Fatal("it does not recover")
			}
		}
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Fatalf("round %d: the listener has not come back", i)
		}
	}
}

// A statement that takes too long is given up: by the server, or because its caller no longer waits.
func TestPostgresSlow(t *testing.T) {
	ctx := context.Background()
	cfg := storetest.Postgres(t)
	db := storetest.OpenConfig(t, cfg)
	h := fill(t, db, 1, 1)
	cfg.StatementTimeout = 50 * time.Millisecond
	hasty := storetest.OpenConfig(t, cfg)
	s, err := segment(ctx, db, h, 1, nil)
	if err != nil {
		t.Fatal(err)
	}

	conn, err := pgx.Connect(ctx, cfg.Postgres)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `begin; lock table log_segment`); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "Append with a timeout", hasty.Append(ctx, h, s), authz.ErrUnavailable)
	soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	wantKind(t, "Append with a deadline", db.Append(soon, h, s), context.DeadlineExceeded)
	if _, err := conn.Exec(ctx, `commit`); err != nil {
		t.Fatal(err)
	}
	// What was given up may have happened all the same.
	if err := db.Append(ctx, h, s); err != nil {
		wantKind(t, "Append afterwards", err, authz.ErrConflict)
	}
	if got := mustHead(t, db); got.Batches != 2 {
		t.Errorf("afterwards, Head() = %+v, want 2 batches", got)
	}
}
