package enforcement_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/enforcement"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

func record(seq int64, actor, journal string, number int64) audit.Entry {
	body := fmt.Sprintf(`{"request":{"context":{"edge":{"journal":"lies","number":7}}},"decision":{},"edge":{"journal":%q,"number":%d}}`, journal, number)
	return audit.Entry{Seq: seq, Kind: audit.DecisionMade, Actor: actor, Body: json.RawMessage(body)}
}

func TestLedger(t *testing.T) {
	l := enforcement.NewLedger(storetest.Open(t))
	apply := func(e audit.Entry, want error) {
		t.Helper()
		if err := l.Apply(t.Context(), e); !errors.Is(err, want) {
			t.Errorf("entry %d: %v, want %v", e.Seq, err, want)
		}
		if void := want == authz.ErrConflict; l.Void(e.Seq) != void {
			t.Errorf("entry %d: void %v, want %v", e.Seq, !void, void)
		}
	}
	where := func(actor, journal string, number, seq int64) {
		t.Helper()
		if got := l.Seq(actor, journal, number); got != seq {
			t.Errorf("record %d of %s: entry %d, want %d", number, journal, got, seq)
		}
	}
	apply(record(5, "edge:a", "J", 1), nil)
	apply(record(6, "edge:a", "J", 2), nil)
	apply(record(7, "edge:b", "J", 1), nil)
	apply(record(8, "edge:a", "J", 3), nil)
	apply(record(8, "edge:a", "J", 3), nil) // seen before
	apply(record(6, "edge:a", "J", 2), nil)
	apply(record(9, "edge:a", "J", 3), authz.ErrConflict)  // twice
	apply(record(10, "edge:a", "J", 5), authz.ErrConflict) // a gap
	apply(record(11, "edge:a", "K", 2), authz.ErrConflict) // no beginning
	apply(record(12, "pep:a", "J", 4), nil)                // no edge: nothing of ours
	apply(audit.Entry{Seq: 13, Kind: audit.DecisionMade, Actor: "edge:a", Body: json.RawMessage(`{"decision":{}}`)}, nil)
	apply(audit.Entry{Seq: 14, Kind: audit.OutcomeReported, Actor: "edge:a", Body: json.RawMessage(`{"edge":{"journal":"J","number":4}}`)}, nil)
	apply(audit.Entry{Seq: 15, Kind: audit.EdgeRefused, Actor: "edge:a", Body: json.RawMessage(`{"edge":{"journal":"J","number":5}}`)}, nil)
	for number, seq := range map[int64]int64{0: 0, 1: 5, 2: 6, 3: 8, 4: 14, 5: 15, 6: 0} {
		where("edge:a", "J", number, seq)
	}
	where("edge:b", "J", 1, 7)
	where("edge:a", "lies", 7, 0)
	if got := l.Last("edge:a", "J"); got != 5 {
		t.Errorf("last record %d, want 5", got)
	}
	if got := l.Last("edge:c", "J"); got != 0 {
		t.Errorf("last record of nobody: %d", got)
	}
}

// breaking is a store that fails on cue.
type breaking struct {
	enforcement.LedgerStore
	broken bool
}

func (b *breaking) PutRuns(ctx context.Context, put []enforcement.Run, drop []enforcement.Drop) error {
	if b.broken {
		return authz.Errorf(authz.ErrUnavailable, "database unavailable")
	}
	return b.LedgerStore.PutRuns(ctx, put, drop)
}

// However uploads come, repeat and race, whatever is kept and when a process starts anew, each number is one entry, and all
// ledgers agree.
func TestLedgerReplays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		db := storetest.Open(t)
		store := &breaking{LedgerStore: db}
		l := enforcement.NewLedger(store)
		ctx := context.Background()
		var log []audit.Entry
		kept := int64(0) // what is noted to be kept
		first := map[string]int64{}
		last := map[string]int64{}
		for range rapid.IntRange(1, 120).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0:
				store.broken = rapid.Bool().Draw(rt, "broken")
				err := l.Keep(ctx)
				if (err != nil) && !store.broken {
					rt.Fatal(err)
				}
				kept = max(kept, l.Kept())
			case 1: // a start
				store.broken = false
				l = enforcement.NewLedger(store)
				if err := l.Load(ctx); err != nil {
					rt.Fatal(err)
				}
				for _, e := range log {
					if e.Seq > kept {
						_ = l.Apply(ctx, e)
					}
				}
			default:
				journal := rapid.SampledFrom([]string{"J", "K"}).Draw(rt, "journal")
				number := max(1, last[journal]+rapid.Int64Range(-2, 2).Draw(rt, "number"))
				e := record(int64(len(log)+1), "edge:a", journal, number)
				log = append(log, e)
				err := l.Apply(ctx, e)
				if ok := number == last[journal]+1; ok != (err == nil) {
					rt.Fatalf("record %d after %d: %v", number, last[journal], err)
				} else if ok {
					last[journal], first[fmt.Sprint(journal, number)] = number, e.Seq
				}
			}
		}
		for journal, n := range last {
			if got := l.Last("edge:a", journal); got != n {
				rt.Fatalf("last of %s: %d, want %d", journal, got, n)
			}
			for i := int64(1); i <= n; i++ {
				if got, want := l.Seq("edge:a", journal, i), first[fmt.Sprint(journal, i)]; got != want {
					rt.Fatalf("record %d of %s: entry %d, want %d", i, journal, got, want)
				}
			}
		}
	})
}

// What one caller or journal takes is bounded, in memory and in the table.
func TestLedgerIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("fills the ledger, by one goroutine")
	}
	db := storetest.Open(t)
	l := enforcement.NewLedger(db)
	seq := int64(0)
	put := func(actor, journal string, number int64) {
		t.Helper()
		seq += 2 // nothing follows anything
		if err := l.Apply(t.Context(), record(seq, actor, journal, number)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1100 {
		put("edge:many", fmt.Sprint("j", i), 1)
	}
	for i := range int64(72_000) {
		put("edge:long", "J", i+1)
	}
	for j := range 5 {
		for i := range int64(60_000) {
			put("edge:wide", fmt.Sprint("J", j), i+1)
		}
	}
	if n := l.Journals(); n != 1024+1+4 {
		t.Errorf("%d journals are known, want 1029", n)
	}
	if got := l.Last("edge:wide", "J0"); got != 0 {
		t.Errorf("the oldest of too many long journals is known up to %d", got)
	}
	if got := l.Seq("edge:long", "J", 1); got != 0 {
		t.Errorf("the oldest record is known as entry %d", got)
	}
	if got := l.Last("edge:long", "J"); got != 72_000 {
		t.Errorf("last record %d, want 72000", got)
	}
	if err := l.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	runs, err := db.Runs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) < 1024+65_536+240_000 || len(runs) > 1024+65_536+4096+240_000 {
		t.Errorf("%d runs are kept", len(runs))
	}
	if kept := l.Kept(); kept != seq {
		t.Errorf("kept up to %d, want %d", kept, seq)
	}
}

func TestPoints(t *testing.T) {
	db := storetest.Open(t)
	ps := enforcement.NewPoints(db)
	seq, at := int64(0), time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	tell := func(actor, body string) {
		t.Helper()
		seq, at = seq+1, at.Add(time.Minute)
		if err := ps.Apply(t.Context(), audit.Entry{Seq: seq, At: at, Kind: audit.EnforcementTold, Actor: actor, Body: json.RawMessage(body)}); err != nil {
			t.Fatal(err)
		}
	}
	tell("pep:a", `{"kind":"hello","gateway":"g","version":"1","detail":{"decide":"remote","doors":["mcp","http","mcp"],"fail_open":["b","a"]}}`)
	opened := at
	tell("pep:a", `{"kind":"fail_open","gateway":"g","detail":{"route":"c"}}`)
	later := at
	tell("pep:a", `{"kind":"allowed_unavailable","gateway":"g","detail":{"route":"a","count":4}}`)
	tell("pep:a", `{"kind":"allowed_unavailable","gateway":"g","detail":{"route":"a"}}`)
	allowed := at
	tell("pep:a", `{"kind":"tool_changed","gateway":"g","detail":{"server":"s","tool":"y"}}`)
	changed := at
	tell("pep:a", `{"kind":"tool_changed","gateway":"g","detail":{"server":"s","tool":"x"}}`)
	tell("pep:a", `{"kind":"tool_approved","gateway":"g","detail":{"server":"s","tool":"x"}}`)
	tell("pep:a", `{"kind":"hello","gateway":"g","version":"2","detail":{"decide":"local","fail_open":["c","b"]}}`)
	hello := at
	tell("pep:a", `{"kind":"something_new","gateway":"g"}`)
	tell("edge:a", `{"kind":"hello","gateway":"g"}`)
	tell("edge:a", `{"kind":"bye","gateway":"g"}`)
	want := []enforcement.Point{
		{Caller: "edge:a", Gateway: "g", HelloAt: at.Add(-time.Minute), LastAt: at, Stopped: true, AsOf: seq},
		{Caller: "pep:a", Gateway: "g", Version: "2", Embedded: true, FailOpen: []enforcement.Route{{Name: "b", Since: opened}, {Name: "c", Since: later}},
			Allowed: 5, AllowedAt: allowed, Tools: []enforcement.Tool{{Server: "s", Tool: "y", Since: changed}}, HelloAt: hello, LastAt: hello.Add(time.Minute), AsOf: seq - 2},
	}
	check := func(ps *enforcement.Points) {
		t.Helper()
		if diff := cmp.Diff(want, ps.All()); diff != "" {
			t.Errorf("points (-want +got):\n%s", diff)
		}
		if points, embedded, open := ps.Count(); points != 1 || embedded != 1 || open != 2 {
			t.Errorf("Count() = %d, %d, %d", points, embedded, open)
		}
	}
	check(ps)
	again := enforcement.NewPoints(db)
	if err := again.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(again)
	if err := again.Apply(t.Context(), audit.Entry{Seq: 3, At: at, Kind: audit.EnforcementTold, Actor: "pep:a", Body: json.RawMessage(`{"kind":"allowed_unavailable","gateway":"g","detail":{"route":"a"}}`)}); err != nil {
		t.Error(err)
	}
	check(again) // seen before
}

// shelf is a store in memory.
type shelf map[string]enforcement.Point

func (s shelf) EnforcementPoints(context.Context) ([]enforcement.Point, error) {
	return slices.Collect(maps.Values(s)), nil
}

func (s shelf) PutEnforcementPoint(_ context.Context, p enforcement.Point) error {
	s[p.Name()] = p
	return nil
}

func (s shelf) DropEnforcementPoint(_ context.Context, caller, gateway string, _ int64) error {
	delete(s, enforcement.PointName(caller, gateway))
	return nil
}

func TestReportRefuses(t *testing.T) {
	for _, body := range []string{
		``, `{}`, `[]`, `{"kind":"hello"}`, `{"kind":"","gateway":"g"}`, `{"kind":"Hello","gateway":"g"}`, `{"kind":"hello","gateway":""}`, `{"kind":"hello","gateway":"a\nb"}`,
		`{"kind":"hello","gateway":"g","more":1}`, `{"kind":"hello","gateway":"g","gateway":"h"}`, `{"kind":"hello","gateway":"g","detail":[]}`,
		`{"kind":"hello","gateway":"g","detail":{"doors":"mcp"}}`, `{"kind":"hello","gateway":"g","detail":{"doors":["a\u0007"]}}`, `{"kind":"fail_open","gateway":"g"}`,
		`{"kind":"allowed_unavailable","gateway":"g","detail":{"route":"a","count":-1}}`, `{"kind":"tool_changed","gateway":"g","detail":{"server":"s"}}`,
		`{"kind":"hello","gateway":"g","detail":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{}}}}}}}}}}`, `{"kind":"hello","gateway":"g","detail":{"a":1,"a":2}}`, "{\"kind\":\"hello\",\"gateway\":\"\xff\"}",
	} {
		if r, err := enforcement.ParseReport([]byte(body)); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("ParseReport(%s) = %+v, %v, want authz.ErrInvalid", body, r, err)
		}
	}
}

// FuzzReport holds that whatever is taken can be told again, and that points take it.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"kind":"hello","gateway":"g","version":"1","detail":{"decide":"remote","doors":["mcp"],"fail_open":["b","a"]}}`))
	f.Add([]byte(`{"kind":"tool_changed","gateway":"g","detail":{"server":"s","tool":"x","was":"a","now":"b"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := enforcement.ParseReport(body)
		if err != nil {
			if !errors.Is(err, authz.ErrInvalid) {
				t.Fatalf("ParseReport(%q): %v is not authz.ErrInvalid", body, err)
			}
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		same, err := enforcement.ParseReport(again)
		if err != nil || same.Kind != r.Kind || same.Gateway != r.Gateway {
			t.Fatalf("ParseReport(%q) = %+v, %v", again, same, err)
		}
		ps := enforcement.NewPoints(shelf{})
		if err := ps.Apply(t.Context(), audit.Entry{Seq: 1, Kind: audit.EnforcementTold, Actor: "pep:a", Body: body}); err != nil || len(ps.All()) != 1 {
			t.Fatalf("Apply(%q): %v", body, err)
		}
	})
}
