package store_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func TestLeaves(t *testing.T) {
	ctx := context.Background()
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		db := storetest.OpenConfig(t, config(t))
		log, _ := runLog(t, db, newKey(t))
		for range 5 {
			if _, err := log.Record(ctx, draft(decisionBody(1))); err != nil {
				t.Fatal(err)
			}
		}
		ss, err := db.Segments(ctx, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ batch, limit, from, to int }{{0, 10, 0, 5}, {2, 2, 2, 4}, {4, 3, 4, 5}, {5, 1, 5, 5}} {
			var want [][]byte
			for _, s := range ss[c.from:c.to] {
				want = append(want, s.Leaf)
			}
			got, err := db.Leaves(ctx, int64(c.batch), c.limit)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("Leaves(%d, %d) (-want +got):\n%s", c.batch, c.limit, d)
			}
		}
	})
}
