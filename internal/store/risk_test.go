package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/risk"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func TestAlerts(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		db := storetest.OpenConfig(t, config(t))
		alert := func(id string, asOf int64, life time.Duration, cleared bool) risk.Alert {
			return risk.Alert{
				ID: id, Kind: "leaver", Severity: "high", Scope: risk.Scope{Agent: "bot", Zone: "office"}, Message: "it's \"odd\"",
				ExpiresAt: now.Add(life), Cleared: cleared, RaisedBy: "admin:anna", RaisedAt: now, AsOf: asOf,
			}
		}
		put := func(a risk.Alert) { t.Helper(); wantKind(t, "PutAlert", db.PutAlert(ctx, a), nil) }
		is := func(what, after string, limit int, want ...risk.Alert) {
			t.Helper()
			got, err := db.OpenAlerts(ctx, now, after, limit)
			wantKind(t, what, err, nil)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		is("an empty database", "", 10)
		put(alert("a", 1, time.Hour, false))
		put(alert("b", 2, time.Hour, false))
		put(alert("c", 3, 0, false))
		put(alert("d", 4, time.Microsecond, false))
		is("expired ones are not open", "", 10, alert("a", 1, time.Hour, false), alert("b", 2, time.Hour, false), alert("d", 4, time.Microsecond, false))
		is("a page", "a", 1, alert("b", 2, time.Hour, false))
		put(alert("a", 5, time.Hour, true))
		is("cleared ones are not open", "", 1, alert("b", 2, time.Hour, false))
		put(alert("a", 1, time.Hour, false))
		db = storetest.Reopen(t, db)
		is("a replay brings nothing back", "", 1, alert("b", 2, time.Hour, false))
		put(alert("a", 6, time.Hour, false))
		is("raised again", "", 1, alert("a", 6, time.Hour, false))
		db.Close()
		wantKind(t, "PutAlert after Close", db.PutAlert(ctx, alert("a", 7, 0, true)), authz.ErrUnavailable)
	})
}

func TestIndicators(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		db := storetest.OpenConfig(t, config(t))
		indicator := func(id string, asOf int64, life time.Duration, cleared bool) risk.Indicator {
			return risk.Indicator{
				ID: id, Type: risk.IndicatorIP, Value: "192.0.2.0/24", Severity: "critical", Source: "feed",
				ExpiresAt: now.Add(life), Cleared: cleared, RaisedBy: "admin:anna", RaisedAt: now, AsOf: asOf,
			}
		}
		put := func(i risk.Indicator) { t.Helper(); wantKind(t, "PutIndicator", db.PutIndicator(ctx, i), nil) }
		is := func(what, after string, limit int, want ...risk.Indicator) {
			t.Helper()
			got, err := db.OpenIndicators(ctx, now, after, limit)
			wantKind(t, what, err, nil)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		is("an empty database", "", 10)
		put(indicator("a", 1, time.Hour, false))
		put(indicator("b", 2, time.Hour, false))
		put(indicator("c", 3, -time.Hour, false))
		is("open ones", "", 10, indicator("a", 1, time.Hour, false), indicator("b", 2, time.Hour, false))
		put(indicator("b", 4, time.Hour, true))
		put(indicator("b", 2, time.Hour, false))
		db = storetest.Reopen(t, db)
		is("cleared ones stay so", "", 10, indicator("a", 1, time.Hour, false))
		is("a page after the last", "a", 10)
		db.Close()
		wantKind(t, "PutIndicator after Close", db.PutIndicator(ctx, indicator("a", 7, 0, true)), authz.ErrUnavailable)
	})
}
