package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func TestMonitorAgents(t *testing.T) {
	ctx := context.Background()
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		db := storetest.OpenConfig(t, config(t))
		head := func(want monitor.Head) {
			t.Helper()
			got, _, err := db.MonitorHead(ctx)
			wantKind(t, "MonitorHead", err, nil)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("head (-want +got):\n%s", diff)
			}
		}
		move := func(old, next monitor.Head, want error) {
			t.Helper()
			wantKind(t, "PutMonitorHead", db.PutMonitorHead(ctx, old, next), want)
		}
		put := func(epoch, seq int64, state string, ids ...authz.AgentID) {
			t.Helper()
			var ks []monitor.Kept
			for _, id := range ids {
				ks = append(ks, monitor.Kept{Agent: id, Seq: seq, State: []byte(state)})
			}
			wantKind(t, "PutMonitorAgents", db.PutMonitorAgents(ctx, epoch, ks), nil)
		}
		is := func(what string, h monitor.Head, after authz.AgentID, limit int, want ...string) {
			t.Helper()
			ks, err := db.MonitorAgents(ctx, h, after, limit)
			wantKind(t, what, err, nil)
			var got []string
			for _, k := range ks {
				got = append(got, fmt.Sprintf("%s %d %s", k.Agent, k.Seq, k.State))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		h0 := monitor.Head{}
		h5 := monitor.Head{Epoch: 2, Seq: 5, Format: 1, State: []byte{0, 1, 0xff}}
		h7 := monitor.Head{Epoch: 2, Seq: 7, Format: 1, State: []byte("x")}
		head(h0)
		is("nothing", h0, "", 10)
		put(2, 5, "five", "a", "b", "c", "d")
		move(h0, h5, nil)
		head(h5)
		is("all", h5, "", 10, "a 5 five", "b 5 five", "c 5 five", "d 5 five")
		is("a page", h5, "a", 2, "b 5 five", "c 5 five")
		move(h0, h7, authz.ErrConflict)
		move(monitor.Head{Epoch: 3, Seq: 5}, h7, authz.ErrConflict)
		head(h5)

		put(2, 7, "seven", "b")
		put(2, 7, "", "c")
		put(3, 6, "of another epoch", "a")
		is("what is after the head does not count", h5, "", 10, "a 5 five", "b 5 five", "c 5 five", "d 5 five")
		move(h5, h7, nil)
		is("with the head they do", h7, "", 10, "a 5 five", "b 7 seven", "c 7 ", "d 5 five")
		is("another epoch", monitor.Head{Epoch: 3, Seq: 9}, "", 10, "a 6 of another epoch")
		wantKind(t, "SweepMonitor", db.SweepMonitor(ctx, h7, []monitor.Kept{{Agent: "b"}, {Agent: "c"}, {Agent: "x"}}), nil)
		is("after sweeping", h7, "", 10, "a 5 five", "b 7 seven", "c 7 ", "d 5 five")
		is("what was swept is gone", h5, "", 10, "a 5 five", "d 5 five")
		put(2, 6, "what a slower replica knew", "b", "c")
		is("a slower replica brings nobody back", h7, "", 10, "a 5 five", "b 7 seven", "c 7 ", "d 5 five")
		put(2, 7, "seven, again", "b")
		is("again", h7, "a", 1, "b 7 seven, again")

		many := make([]authz.AgentID, 100)
		for i := range many {
			many[i] = authz.AgentID(fmt.Sprintf("m-%03d", i))
		}
		put(2, 7, "m", many...)
		if ks, err := db.MonitorAgents(ctx, h7, "m", 1000); err != nil || len(ks) != 100 || ks[99].Agent != "m-099" {
			t.Errorf("of 100 agents there are %d, %v", len(ks), err)
		}

		db = storetest.Reopen(t, db)
		head(h7)
		anew := monitor.Head{Epoch: 3, Format: 3}
		move(h7, anew, nil)
		head(anew)
		is("begun anew", h7, "", 10)
		db.Close()
		wantKind(t, "PutMonitorAgents after Close", db.PutMonitorAgents(ctx, 2, []monitor.Kept{{Agent: "a"}}), authz.ErrUnavailable)
		wantKind(t, "PutMonitorHead after Close", db.PutMonitorHead(ctx, h0, h5), authz.ErrUnavailable)
	})
}

func TestMonitorFindings(t *testing.T) {
	ctx := context.Background()
	at := time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		db := storetest.OpenConfig(t, config(t))
		finding := func(id string, agent authz.AgentID, kind conduct.Kind, s conduct.Severity, state conduct.Verdict, asOf int64) conduct.Finding {
			return conduct.Finding{
				ID: id, Agent: agent, Kind: kind, Severity: s, Class: "write", Sentence: `it's "odd"`, Evidence: []int64{1, 2}, At: at, LastAt: at, Count: asOf, State: state, AsOf: asOf,
			}
		}
		put := func(format int64, fs ...conduct.Finding) {
			t.Helper()
			wantKind(t, "PutFindings", db.PutFindings(ctx, format, fs), nil)
		}
		is := func(what string, q monitor.Query, limit int, want ...string) {
			t.Helper()
			if q.Seq == 0 {
				q.Seq = 1 << 62
			}
			fs, err := db.Findings(ctx, q, limit)
			wantKind(t, what, err, nil)
			var got []string
			for _, f := range fs {
				got = append(got, fmt.Sprintf("%s %d", f.ID, f.AsOf))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		is("none", monitor.Query{}, 10)
		a := finding("f3.0", "a", "deviation.rate", conduct.Low, conduct.Open, 3)
		b := finding("f3.1", "b", "deviation.zone", conduct.High, conduct.Open, 3)
		c := finding("f10.0", "a", "deviations.x", conduct.Critical, conduct.Confirmed, 12)
		put(1, a, b, c)
		is("all", monitor.Query{}, 10, "f10.0 12", "f3.1 3", "f3.0 3")
		is("a page", monitor.Query{Seq: 10}, 1, "f3.1 3")
		counts, err := db.CountFindings(ctx)
		wantKind(t, "CountFindings", err, nil)
		if diff := cmp.Diff([]monitor.Count{{State: conduct.Confirmed, Severity: conduct.Critical, Kind: "deviations.x", Findings: 1},
			{State: conduct.Open, Severity: conduct.High, Kind: "deviation.zone", Findings: 1}, {State: conduct.Open, Severity: conduct.Low, Kind: "deviation.rate", Findings: 1}}, counts); diff != "" {
			t.Errorf("counts (-want +got):\n%s", diff)
		}
		is("the next", monitor.Query{Seq: 3, Nth: 1}, 1, "f3.0 3")
		is("an agent's", monitor.Query{Agent: "a"}, 10, "f10.0 12", "f3.0 3")
		is("a kind", monitor.Query{Kind: "deviation.zone"}, 10, "f3.1 3")
		is("a monitor's", monitor.Query{Kind: "deviation"}, 10, "f3.1 3", "f3.0 3")
		is("high or graver", monitor.Query{Severity: conduct.High}, 10, "f10.0 12", "f3.1 3")
		is("a state", monitor.Query{State: conduct.Confirmed}, 10, "f10.0 12")
		is("all of it", monitor.Query{Agent: "a", Kind: "deviation", State: conduct.Open, Severity: conduct.Low}, 10, "f3.0 3")
		got, err := db.Findings(ctx, monitor.Query{Seq: 3, Nth: 1}, 1)
		wantKind(t, "Findings", err, nil)
		if diff := cmp.Diff([]conduct.Finding{a}, got); diff != "" {
			t.Errorf("a finding (-want +got):\n%s", diff)
		}

		older, newer := a, a
		older.AsOf, newer.AsOf, newer.State = 2, 9, conduct.Dismissed
		put(1, older, b)
		is("an older version changes nothing", monitor.Query{}, 10, "f10.0 12", "f3.1 3", "f3.0 3")
		put(1, newer)
		is("a newer one does", monitor.Query{State: conduct.Dismissed}, 10, "f3.0 9")
		put(2, older)
		is("one of a newer format, too", monitor.Query{State: conduct.Open}, 10, "f3.1 3", "f3.0 2")
		put(1, newer)
		is("not one of an older format", monitor.Query{State: conduct.Open}, 10, "f3.1 3", "f3.0 2")

		wantKind(t, "PutMonitorHead", db.PutMonitorHead(ctx, monitor.Head{}, monitor.Head{Seq: 5, Format: 1}), nil)
		if _, n, err := db.MonitorHead(ctx); err != nil || n != 1 {
			t.Errorf("up to entry 5 there are %d findings of format 1, %v, want 1", n, err)
		}
		wantKind(t, "PutMonitorHead", db.PutMonitorHead(ctx, monitor.Head{Seq: 5}, monitor.Head{Epoch: 1, Seq: 10, Format: 2}), nil)
		is("after an upgrade only what the newer program found", monitor.Query{}, 10, "f3.0 2")
		wantKind(t, "PutMonitorHead", db.PutMonitorHead(ctx, monitor.Head{Epoch: 1, Seq: 10}, monitor.Head{Epoch: 2, Seq: 5, Format: 1}), nil)
		var many []conduct.Finding
		for i := range 100 {
			many = append(many, finding(conduct.ID(100, i), "m", "k", conduct.Low, conduct.Open, 100))
		}
		put(1, many...)
		if fs, err := db.Findings(ctx, monitor.Query{Agent: "m", Seq: 1 << 62}, 1000); err != nil || len(fs) != 100 || fs[0].ID != "f100.99" {
			t.Errorf("of 100 findings there are %d, %v", len(fs), err)
		}
		db.Close()
		wantKind(t, "PutFindings after Close", db.PutFindings(ctx, 1, many), authz.ErrUnavailable)
	})
}

func TestOpenFindings(t *testing.T) {
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		ctx := t.Context()
		db := storetest.OpenConfig(t, config(t))
		var fs []conduct.Finding
		for i, sev := range []conduct.Severity{conduct.Low, conduct.High, conduct.High, conduct.High} {
			fs = append(fs, conduct.Finding{ID: "f" + string(rune('1'+i)) + ".0", Severity: sev, State: conduct.Open})
		}
		fs[3].State = conduct.Dismissed
		wantKind(t, "PutFindings", db.PutFindings(ctx, 1, fs), nil)
		for most, want := range map[int][4]int{10: {1, 0, 2, 0}, 1: {1, 0, 1, 0}} {
			got, err := db.OpenFindings(ctx, most)
			wantKind(t, "OpenFindings", err, nil)
			if got != want {
				t.Errorf("OpenFindings(%d) = %v, want %v", most, got, want)
			}
		}
	})
}
