package store_test

import (
	"context"
	"errors"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// Every feature has its suite in a file of its own, on this pattern:
//
//	func TestAgents(t *testing.T) {
//		storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
//			t.Run("round trip", func(t *testing.T) {
//				db := storetest.OpenConfig(t, config(t))
//				...
//			})
//		})
//	}
//
// It shows at least: round trips, not found, conflict, paging, and that everything is still there
// after storetest.Reopen.

// wantKind fails the test unless err is of that kind; a nil kind wants no error.
func wantKind(t *testing.T, what string, err, kind error) {
	t.Helper()
	if kind == nil && err != nil || kind != nil && !errors.Is(err, kind) {
		t.Fatalf("%s: error %v, want %v", what, err, kind)
	}
}

func TestOpen(t *testing.T) {
	ctx := context.Background()
	for name, cfg := range map[string]store.Config{
		"neither": {},
		"both":    {SQLite: "x", Postgres: "host=x"},
	} {
		_, err := store.Open(ctx, cfg)
		wantKind(t, "Open with "+name, err, authz.ErrInvalid)
	}

	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		t.Run("again", func(t *testing.T) {
			db := storetest.OpenConfig(t, config(t))
			wantKind(t, "Ping", db.Ping(ctx), nil)
			db = storetest.Reopen(t, db)
			wantKind(t, "Ping", db.Ping(ctx), nil)
			db.Close()
			wantKind(t, "Ping after Close", db.Ping(ctx), authz.ErrUnavailable)
		})
	})
}
