package store_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func TestChanged(t *testing.T) {
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		t.Run("here", func(t *testing.T) {
			db := storetest.OpenConfig(t, config(t))
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			one, err := db.Changed(ctx)
			if err != nil {
				t.Fatal(err)
			}
			two, err := db.Changed(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for n := range int64(3) {
				fill(t, db, 10*(n+1), 1) // signals are joined
				hear(t, one)
				hear(t, two)
			}
		})
	})

	t.Run("other replica", func(t *testing.T) {
		cfg := storetest.Postgres(t)
		a, b := storetest.OpenConfig(t, cfg), storetest.OpenConfig(t, cfg)
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		changed, err := b.Changed(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for n := range int64(5) {
			fill(t, a, n+1, 1)
			hear(t, changed)
			// The last ring may have been heard before the batch it is for; no batch goes unheard.
			for mustHead(t, b).Batches < n+1 {
				hear(t, changed)
			}
		}
		drain(changed)
		fill(t, storetest.OpenConfig(t, storetest.Postgres(t)), 1, 1) // another schema
		select {
		case <-changed:
			t.Error("heard the log of another schema")
		case <-time.After(200 * time.Millisecond):
		}
	})

	t.Run("ends", func(t *testing.T) {
		before := goleak.IgnoreCurrent()
		cfg := storetest.Config(t)
		db, err := store.Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		if _, err := db.Changed(ctx); err != nil {
			t.Fatal(err)
		}
		fill(t, db, 3, 1)
		if err := db.Close(); err != nil { // although ctx has not ended
			t.Fatal(err)
		}
		if db.Name() == "postgres" {
			_, err := db.Changed(ctx)
			wantKind(t, "Changed after Close", err, authz.ErrUnavailable)
		}
		goleak.VerifyNone(t, before)
	})
}

func hear(t *testing.T, changed <-chan struct{}) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Fatal("not heard that the log has grown")
	}
}

func drain(c <-chan struct{}) {
	for {
		select {
		case <-c:
		case <-time.After(200 * time.Millisecond):
			return
		}
	}
}
