package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/figures"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func TestFigures(t *testing.T) {
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		ctx := t.Context()
		db := storetest.OpenConfig(t, config(t))
		at := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
		head, err := db.FiguresHead(ctx)
		wantKind(t, "FiguresHead of nothing", err, nil)
		if head.Seq != 0 {
			t.Errorf("FiguresHead of nothing = %+v", head)
		}
		row := func(group string, from time.Time, asOf int64, record string) figures.Row {
			return figures.Row{Length: figures.Day, Group: group, From: from, Until: from.Add(24 * time.Hour), AsOf: asOf, Record: []byte(record)}
		}
		put := func(seq int64, rows ...figures.Row) error {
			return db.PutFigures(ctx, figures.Head{Seq: seq, Format: 1, State: []byte(`{}`)}, rows,
				figures.Forget{Before: map[figures.Length]time.Time{figures.Day: at.Add(-48 * time.Hour)}, Groups: at.Add(-time.Hour)})
		}
		wantKind(t, "PutFigures", put(5, row("", at, 5, `{"deny":1}`), row("g", at, 5, `{}`), row("", at.Add(-72*time.Hour), 1, `{}`), row("old", at.Add(-24*time.Hour), 2, `{}`)), nil)
		wantKind(t, "PutFigures as of the same entry", put(5, row("", at, 5, `{"deny":9}`)), authz.ErrConflict)
		wantKind(t, "PutFigures as of an earlier entry", put(4, row("", at, 4, `{"deny":9}`)), authz.ErrConflict)
		wantKind(t, "PutFigures as of a later entry", put(7, row("", at, 7, `{"deny":2}`), row("g", at, 4, `{"deny":9}`)), nil)
		db = storetest.Reopen(t, db)
		rows := func(byGroup bool, want ...figures.Row) {
			t.Helper()
			got, err := db.FigureRows(ctx, figures.Day, byGroup, at.Add(-100*time.Hour), at.Add(time.Hour))
			wantKind(t, "FigureRows", err, nil)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("FigureRows, by group %v (-want +got):\n%s", byGroup, diff)
			}
		}
		rows(false, row("", at, 7, `{"deny":2}`))
		rows(true, row("g", at, 5, `{}`))
		if head, err = db.FiguresHead(ctx); err != nil || head.Seq != 7 || head.Format != 1 || string(head.State) != `{}` {
			t.Errorf("FiguresHead = %+v, %v", head, err)
		}
		wantKind(t, "ResetFigures", db.ResetFigures(ctx), nil)
		rows(false)
		wantKind(t, "PutFigures after a reset", put(3), nil)
	})
}
