package monitor_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// However much one caller reports, what others do is not forgotten, and of what it reports itself not what fails open.
func TestEnforcingOfOne(t *testing.T) {
	w := newWorld(t)
	tell := func(actor, kind string, detail map[string]any) int64 {
		return w.must(audit.EnforcementTold, actor, map[string]any{"kind": kind, "gateway": "mcp-1", "detail": detail})
	}
	tool := func(name string) map[string]any { return map[string]any{"server": "files", "tool": name} }
	kept := map[string]int64{
		"a route of another":      tell("pep:gate", "fail_open", map[string]any{"route": "health"}),
		"a tool of another":       tell("pep:gate", "tool_changed", tool("read")),
		"a route of the reporter": tell("pep:stolen", "fail_open", map[string]any{"route": "all"}),
	}
	first := tell("pep:stolen", "tool_changed", tool("0"))
	for i := range 4200 {
		tell("pep:stolen", "tool_changed", tool(fmt.Sprint("t", i)))
	}
	if _, err := w.m.Judge(t.Context(), "admin:eve", "agreed", conduct.ID(first, 0), conduct.Acknowledged); !errors.Is(err, authz.ErrConflict) {
		t.Errorf("the oldest of 4200 tools is remembered: %v", err)
	}
	for what, seq := range kept {
		if _, err := w.m.Judge(t.Context(), "admin:eve", "agreed", conduct.ID(seq, 0), conduct.Acknowledged); err != nil {
			t.Errorf("%s is forgotten: %v", what, err)
		}
	}
}

// What enforcement points say of themselves becomes findings about them: kept, judged, concluded again from the log.
func TestEnforcing(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	tell := func(actor, kind string, detail map[string]any) int64 {
		w.now = w.now.Add(time.Minute)
		return w.must(audit.EnforcementTold, actor, map[string]any{"kind": kind, "gateway": "mcp-1", "detail": detail})
	}
	hello := map[string]any{"decide": "remote", "fail_open": []string{"health", "docs"}}
	first := tell("pep:gate", "hello", hello)
	tell("pep:gate", "hello", hello) // again
	tell("pep:gate", "hello", map[string]any{"decide": "remote"})
	tell("edge:gate", "hello", hello) // another
	tell("pep:gate", "allowed_unavailable", map[string]any{"route": "health"})
	tell("pep:gate", "tool_changed", map[string]any{"server": "files", "tool": "read"})
	tell("pep:gate", "tool_changed", map[string]any{"server": "files", "tool": "write"})
	tell("pep:gate", "tool_approved", map[string]any{"server": "files", "tool": "write"})
	tell("pep:gate", "mapping_warning", map[string]any{"tool": "write", "warning": "w"})
	w.must(audit.EnforcementTold, "pep:gate", []byte(`{"kind":7}`)) // whoever records it complains
	points := func(m *monitor.Monitor) (got []string) {
		fs, err := m.Findings(ctx, monitor.Filter{}, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range slices.Backward(fs) {
			if f.Agent != "" || f.Person != "" || f.Class != "every" {
				t.Errorf("a finding about %q, %q in %s", f.Agent, f.Person, f.Class)
			}
			got = append(got, string(f.Kind)+" "+f.Severity.String()+" "+f.Point+" "+string(rune('0'+f.Count))+" "+f.Sentence)
		}
		return got
	}
	want := []string{
		`enforcement.fail_open medium pep:gate/mcp-1 2 Routes of "mcp-1" let acts through when no decision can be had: 2, of which one is "health".`,
		`enforcement.fail_open medium edge:gate/mcp-1 1 Routes of "mcp-1" let acts through when no decision can be had: 2, of which one is "health".`,
		`enforcement.fail_open high pep:gate/mcp-1 1 Route "health" of "mcp-1" let acts through that nobody had decided.`,
		`tool.changed high pep:gate/mcp-1 1 Tool "read" of server "files" behind "mcp-1" is not the one that was pinned.`,
		`tool.changed high pep:gate/mcp-1 1 Tool "write" of server "files" behind "mcp-1" is not the one that was pinned.`,
	}
	if diff := cmp.Diff(want, points(w.m)); diff != "" {
		t.Fatalf("findings (-want +got):\n%s", diff)
	}
	f, err := w.m.Judge(ctx, "admin:eve", "agreed", conduct.ID(first, 0), conduct.Acknowledged)
	if err != nil || f.Point != "pep:gate/mcp-1" || f.State != conduct.Acknowledged {
		t.Errorf("Judge = %+v, %v", f, err)
	}
	if err := w.m.Keep(ctx); err != nil {
		t.Fatal(err)
	}
	loaded := w.monitor()
	if err := loaded.Load(ctx); err != nil || loaded.Seq() != w.m.Seq() {
		t.Fatalf("Load: up to %d, %v; want %d", loaded.Seq(), err, w.m.Seq())
	}
	w.m = loaded
	tell("pep:gate", "tool_changed", map[string]any{"server": "files", "tool": "write"}) // within the cooldown
	want[4] = `tool.changed high pep:gate/mcp-1 2 Tool "write" of server "files" behind "mcp-1" is not the one that was pinned.`
	if diff := cmp.Diff(want, points(w.m)); diff != "" {
		t.Errorf("findings after a start (-want +got):\n%s", diff)
	}
}

// A record that stands in the log twice counts once, also for whoever starts in between; an outcome finds the decision with
// which it was recorded.
func TestElsewhere(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	bot := &registration{id: "bot", owner: "sales", purpose: "orders", version: "1"}
	w.put(bot)
	decided := func(journal string, number int64) ([]byte, error) {
		rec := decision(w.now, bot, act{session: "s", action: "order.pay", class: "money", resource: "o", effect: authz.Allow})
		d := rec.Elsewhere(pdp.Edge{Journal: journal, Number: number})
		_, err := w.record(d.Kind, "edge:gate", []byte(d.Body))
		return d.Body, err
	}
	made := func() int64 {
		t.Helper()
		rep, err := w.m.Report("bot", w.now)
		if err != nil {
			t.Fatal(err)
		}
		return rep.Decisions
	}
	count := func(want int64) {
		t.Helper()
		if got := made(); got != want {
			t.Errorf("%d decisions are taken in, want %d", got, want)
		}
	}
	for n := range int64(3) {
		if _, err := decided("J", n+1); err != nil {
			t.Fatal(err)
		}
	}
	count(3)
	if _, err := decided("J", 2); !errors.Is(err, authz.ErrConflict) {
		t.Errorf("a record twice: %v, want authz.ErrConflict", err)
	}
	count(3)
	if err := w.m.Keep(ctx); err != nil {
		t.Fatal(err)
	}
	loaded := w.monitor()
	if err := loaded.Load(ctx); err != nil || loaded.Seq() != w.m.Seq() {
		t.Fatalf("Load: up to %d, %v; want %d", loaded.Seq(), err, w.m.Seq())
	}
	w.m = loaded
	if _, err := decided("J", 3); !errors.Is(err, authz.ErrConflict) {
		t.Errorf("a record twice, after a start: %v, want authz.ErrConflict", err)
	}
	if _, err := decided("K", 1); err != nil {
		t.Errorf("another journal: %v", err)
	}
	count(4)

	before, _ := w.m.Conduct("bot", "money", w.now)
	told := func(number, back int64) error {
		o := outcome(bot, 0, w.now, conduct.ResultHarmful)
		o.Class, o.Reporter, o.By, o.Back, o.Edge = "money", conduct.ReporterPEP, "edge:gate", back, &conduct.Place{Journal: "K", Number: number}
		_, err := w.record(audit.OutcomeReported, "edge:gate", &o)
		return err
	}
	if err := told(2, 1); err != nil {
		t.Fatal(err)
	}
	after, _ := w.m.Conduct("bot", "money", w.now)
	if !(after.Score < before.Score) {
		t.Errorf("trust went from %+v to %+v by a harmful outcome", before, after)
	}
	if err := told(2, 1); !errors.Is(err, authz.ErrConflict) {
		t.Errorf("an outcome twice: %v, want authz.ErrConflict", err)
	}
	if err := told(3, 3); !errors.Is(err, authz.ErrConflict) { // of the decision of which it was told
		t.Errorf("a second outcome of a decision: %v, want authz.ErrConflict", err)
	}
	if err := told(4, 1<<40); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("an outcome of nothing: %v, want authz.ErrInvalid", err)
	}
}
