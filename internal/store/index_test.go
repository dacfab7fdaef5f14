package store_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func TestIndex(t *testing.T) {
	ctx := context.Background()
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		db := storetest.OpenConfig(t, config(t))
		cursor := func(want int64) {
			t.Helper()
			if got, err := db.IndexCursor(ctx); err != nil || got != want {
				t.Errorf("IndexCursor() = %d, %v, want %d", got, err, want)
			}
		}
		blocks := func(bucket int, before int64, limit int, want ...int64) {
			t.Helper()
			bs, err := db.IndexBlocks(ctx, bucket, before, limit)
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, b := range bs {
				got = append(got, b.First)
				if b.Bucket != bucket || string(b.Data) != string(rune('a'+bucket)) {
					t.Errorf("bucket %d has block %+v", bucket, b)
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("IndexBlocks(%d, %d, %d) (-want +got):\n%s", bucket, before, limit, d)
			}
		}
		add := func(old, new int64, kind error, bs ...audit.IndexBlock) {
			t.Helper()
			wantKind(t, "AppendIndex", db.AppendIndex(ctx, old, new, bs), kind)
		}
		a, b := []byte("a"), []byte("b")

		cursor(0)
		blocks(0, 1<<40, 10)
		add(0, 10, nil, audit.IndexBlock{Bucket: 0, First: 1, Data: a}, audit.IndexBlock{Bucket: 1, First: 1, Data: b})
		add(10, 20, nil, audit.IndexBlock{Bucket: 0, First: 11, Data: a})
		add(20, 30, nil, audit.IndexBlock{Bucket: 0, First: 21, Data: a}, audit.IndexBlock{Bucket: 1, First: 21, Data: b})
		cursor(30)

		// Behind, ahead, and a block that is there already: nothing of it happens.
		add(20, 40, authz.ErrConflict, audit.IndexBlock{Bucket: 1, First: 31, Data: b})
		add(40, 50, authz.ErrConflict, audit.IndexBlock{Bucket: 1, First: 31, Data: b})
		add(30, 40, authz.ErrConflict, audit.IndexBlock{Bucket: 1, First: 31, Data: b}, audit.IndexBlock{Bucket: 0, First: 21, Data: a})
		cursor(30)

		db = storetest.Reopen(t, db)
		cursor(30)
		blocks(0, 1<<40, 2, 21, 11)
		blocks(0, 11, 2, 1)
		blocks(0, 1, 2)
		blocks(1, 1<<40, 10, 21, 1)
		blocks(2, 1<<40, 10)

		if err := db.ResetIndex(ctx); err != nil {
			t.Fatal(err)
		}
		cursor(0)
		blocks(0, 1<<40, 10)
		add(0, 10, nil, audit.IndexBlock{Bucket: 0, First: 1, Data: a})
	})
}
