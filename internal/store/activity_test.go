package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/activity"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func TestActivity(t *testing.T) {
	ctx := context.Background()
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		db := storetest.OpenConfig(t, config(t))
		row := func(id authz.AgentID, kind, name string, seq int64) activity.Row {
			return activity.Row{Agent: id, Kind: kind, Name: name, Seq: seq, Record: []byte(fmt.Sprintf(`{"n":%d}`, seq))}
		}
		is := func(what string, rs []activity.Row, err error, want ...string) {
			t.Helper()
			wantKind(t, what, err, nil)
			var got []string
			for _, r := range rs {
				got = append(got, fmt.Sprintf("%s %s %s %d %s", r.Agent, r.Kind, r.Name, r.Seq, r.Record))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		head := func(want activity.Head) {
			t.Helper()
			got, err := db.ActivityHead(ctx)
			wantKind(t, "ActivityHead", err, nil)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("head (-want +got):\n%s", diff)
			}
		}
		head(activity.Head{})
		_, err := db.Activity(ctx, 1, "a", "session", "s")
		wantKind(t, "Activity", err, authz.ErrNotFound)
		wantKind(t, "PutActivity", db.PutActivity(ctx, 1, []activity.Row{row("a", "session", "s1", 3), row("a", "session", "s2", 5), row("b", "session", "s1", 4), row("a", "use", "7", 5)}), nil)
		wantKind(t, "PutActivity", db.PutActivity(ctx, 1, []activity.Row{row("a", "session", "s1", 2)}), nil)
		wantKind(t, "MoveActivity", db.MoveActivity(ctx, activity.Head{Seq: 5, Format: 1, Uploads: []byte{1, 0, 2}}), nil)
		wantKind(t, "MoveActivity", db.MoveActivity(ctx, activity.Head{Seq: 4, Format: 1}), nil)
		head(activity.Head{Seq: 5, Format: 1, Uploads: []byte{1, 0, 2}})
		db = storetest.Reopen(t, db)
		head(activity.Head{Seq: 5, Format: 1, Uploads: []byte{1, 0, 2}})
		rs, err := db.ActivityOf(ctx, 1, "a", "session", 1<<62, 10)
		is("of a", rs, err, `a session s2 5 {"n":5}`, `a session s1 3 {"n":3}`)
		rs, err = db.ActivityOf(ctx, 1, "a", "session", 5, 10)
		is("before 5", rs, err, `a session s1 3 {"n":3}`)
		rs, err = db.ActivityOf(ctx, 1, "a", "session", 1<<62, 1)
		is("one", rs, err, `a session s2 5 {"n":5}`)
		rs, err = db.ActivityOf(ctx, 2, "a", "session", 1<<62, 10)
		is("another format", rs, err)
		rs, err = db.ActivityNamed(ctx, 1, "session", "s1", "", 10)
		is("named", rs, err, `a session s1 3 {"n":3}`, `b session s1 4 {"n":4}`)
		rs, err = db.ActivityNamed(ctx, 1, "session", "s1", "a", 10)
		is("named after a", rs, err, `b session s1 4 {"n":4}`)
		wantKind(t, "PruneActivity", db.PruneActivity(ctx, "a", "session", 1), nil)
		rs, err = db.ActivityOf(ctx, 1, "a", "session", 1<<62, 10)
		is("pruned", rs, err, `a session s2 5 {"n":5}`)
		rs, err = db.ActivityOf(ctx, 1, "a", "use", 1<<62, 10)
		is("other kinds stay", rs, err, `a use 7 5 {"n":5}`)
		wantKind(t, "MoveActivity", db.MoveActivity(ctx, activity.Head{Format: 2}), nil)
		head(activity.Head{Format: 2})
		rs, err = db.ActivityNamed(ctx, 1, "session", "s1", "", 10)
		is("after a new format", rs, err)
		db.Close()
		wantKind(t, "PutActivity after Close", db.PutActivity(ctx, 1, []activity.Row{row("a", "use", "7", 9)}), authz.ErrUnavailable)
	})
}

func TestTrustPoints(t *testing.T) {
	ctx := context.Background()
	start := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		db := storetest.OpenConfig(t, config(t))
		put := func(format int64, id authz.AgentID, nth, seq int64, drop ...int64) {
			t.Helper()
			p := monitor.KeptPoint{Agent: id, Drop: drop, Point: monitor.Point{Nth: nth, Seq: seq, At: start.Add(time.Duration(nth) * time.Hour)}}
			wantKind(t, "PutPoints", db.PutPoints(ctx, format, []monitor.KeptPoint{p}), nil)
		}
		is := func(what string, from, to time.Time, want ...int64) {
			t.Helper()
			ps, err := db.Points(ctx, "a", from, to)
			wantKind(t, what, err, nil)
			var got []int64
			for _, p := range ps {
				got = append(got, p.Seq)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		is("none", start, start.Add(24*time.Hour))
		put(1, "a", 1, 10)
		put(1, "b", 1, 11)
		put(1, "a", 2, 20)
		put(1, "a", 3, 30)
		is("all", start, start.Add(24*time.Hour), 10, 20, 30)
		is("some", start.Add(2*time.Hour), start.Add(2*time.Hour), 20)
		put(1, "a", 3, 30, 1)
		is("without what was dropped", start, start.Add(24*time.Hour), 20, 30)
		put(2, "a", 2, 21)
		put(1, "a", 2, 20)
		is("of the newer format", start, start.Add(24*time.Hour), 21, 30)
		wantKind(t, "PutMonitorHead", db.PutMonitorHead(ctx, monitor.Head{}, monitor.Head{Seq: 5, Format: 2}), nil)
		is("without those of the older", start, start.Add(24*time.Hour), 21)
	})
}
