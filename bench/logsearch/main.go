// Logsearch measures how long a page of a search of the audit log takes when the log is large:
//
//	go run ./bench/logsearch -n 10000000 -sqlite /tmp/large/log.db
//	go run ./internal/store/storetest/cluster -fsync go run ./bench/logsearch -n 10000000
//
// It first records what is missing up to n entries, ninety days of a service's work made up by a formula, and lets
// the index follow; a second run on the same file only searches. It prints the time of the first page, of which
// nothing was read before by that process, and the slowest and the median of up to seven that follow.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/store"
)

// start is when the made up log begins.
var start = time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)

const span = 90 * 24 * time.Hour

func main() {
	n := flag.Int64("n", 10_000_000, "how many entries the log has")
	file := flag.String("sqlite", "", "file of the database; without it, the PostgreSQL that SAFECONDUCT_TEST_POSTGRES names")
	limit := flag.Int("limit", 100, "entries a page")
	patience := flag.Duration("patience", 150*time.Millisecond, "how long a search goes on before it stops where it is, as the console asks; 0: to the end")
	reindex := flag.Bool("reindex", false, "build the index again first")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	cfg := store.Config{SQLite: *file, StatementTimeout: time.Minute}
	if *file == "" {
		cfg.Postgres = os.Getenv("SAFECONDUCT_TEST_POSTGRES")
	}
	if err := run(ctx, cfg, *n, audit.Query{Limit: *limit, Patience: *patience}, *reindex); err != nil {
		fmt.Fprintln(os.Stderr, "logsearch:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg store.Config, n int64, page audit.Query, reindex bool) error {
	db, err := store.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer db.Close()
	key, err := audit.NewKey(rand.Reader, "bench.example/log")
	if err != nil {
		return err
	}
	var made atomic.Int64 // entries so far: the clock
	now := func() time.Time { return start.Add(time.Duration(float64(span) * float64(made.Load()) / float64(n))) }
	if _, err := db.Checkpoint(ctx); err == nil {
		return search(ctx, db, n, page, reindex)
	}
	log, err := audit.New(db, audit.Config{Key: key, Now: now, Heartbeat: -1, CheckpointEvery: time.Hour})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 2)
	go func() { done <- log.Run(ctx) }()
	index := audit.NewIndex(log, db)
	go func() { done <- index.Run(ctx) }()

	began := time.Now()
	for made.Load() < n {
		ds := make([]audit.Draft, 0, 512)
		for i := made.Load(); len(ds) < cap(ds) && i < n; i++ {
			ds = append(ds, draft(i))
		}
		made.Add(int64(len(ds)))
		if _, err := log.Record(ctx, ds...); err != nil {
			cancel()
			return err
		}
		if made.Load()%(1<<20) < 512 {
			fmt.Fprintf(os.Stderr, "%d entries, %v\n", made.Load(), time.Since(began).Round(time.Second))
		}
	}
	err = indexed(ctx, db, n)
	fmt.Fprintf(os.Stderr, "recorded and indexed in %v\n", time.Since(began).Round(time.Second))
	_, signed := log.Checkpoint(ctx)
	cancel()
	err = errors.Join(err, signed, <-done, <-done)
	if err != nil {
		return err
	}
	return search(context.WithoutCancel(ctx), db, n, page, false)
}

// indexed waits until n entries are indexed.
func indexed(ctx context.Context, db *store.DB, n int64) error {
	for {
		c, err := db.IndexCursor(ctx)
		if err != nil || c >= n/audit.IndexChunk*audit.IndexChunk {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// draft makes up the i-th entry. A thousandth of the agents do a tenth of the work; every millionth entry has a word
// that no other has.
func draft(i int64) audit.Draft {
	r := mathrand.New(mathrand.NewPCG(uint64(i), 7))
	agent := r.IntN(5000)
	if r.IntN(10) == 0 {
		agent = r.IntN(5)
	}
	if r.IntN(40) == 0 {
		return audit.Draft{Kind: "agent.put", Actor: fmt.Sprintf("admin:a%d", r.IntN(9)), Body: fmt.Appendf(nil,
			`{"agent":{"id":"agent-%d","owner":"team %d","purpose":"pays the bills of customers","version":"%d"},"why":"ticket ops%d"}`,
			agent, r.IntN(60), r.IntN(9), i/7)}
	}
	effect, code := "allow", "allowed"
	switch p := r.IntN(1000); {
	case p < 60:
		effect, code = "deny", [...]string{"not_granted", "policy", "too_risky"}[r.IntN(3)]
	case p < 90:
		effect, code = "require_approval", "approval_required"
	case p == 90 && i < 2_000_000: // what has long since ended
		effect, code = "step_up", "stepup_required"
	}
	word := ""
	if i%1_000_000 == 123_456 {
		word = fmt.Sprintf(" rareword%d", i/1_000_000)
	}
	return audit.Draft{Kind: audit.DecisionMade, Actor: fmt.Sprintf("pep:gateway%d", agent%8), Body: fmt.Appendf(nil,
		`{"request":{"subject":{"type":"agent","id":"agent-%d"},"action":{"name":"act_%d","properties":{"amount":%d}},`+
			`"resource":{"type":"account","id":"acc-%d%s"},"observed":{"ip":"10.1.%d.%d","session":"s-%x","pep":"gateway"}},`+
			`"facts":{"at":"2026-11-23T10:00:00Z","schedules":["business"],"class":"internal","trust":{"level":"medium","score":0.5}},`+
			`"decision":{"effect":%q,"code":%q,"fired":[{"policy":"payments/small","effect":"permit"}],"policy_set":7}}`,
		agent, agent%199+r.IntN(3), r.IntN(100000), r.IntN(100000), word, r.IntN(250), r.IntN(250), i/40, effect, code)}
}

func search(ctx context.Context, db *store.DB, n int64, page audit.Query, reindex bool) error {
	key, err := audit.NewKey(rand.Reader, "bench.example/log")
	if err != nil {
		return err
	}
	// The log is only read, so another key will do, once the checkpoint is out of the way.
	log, err := audit.New(unsigned{db}, audit.Config{Key: key, Heartbeat: -1})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { _ = log.Run(ctx) }()
	index := audit.NewIndex(log, db)
	if reindex {
		began := time.Now()
		if err := index.Rebuild(ctx); err != nil {
			return err
		}
		go func() { _ = index.Run(ctx) }()
		if err := indexed(ctx, db, n); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "indexed in %v\n", time.Since(began).Round(time.Second))
	}
	day := func(d float64) time.Time { return start.Add(time.Duration(d * 24 * float64(time.Hour))) }
	var worst time.Duration
	fmt.Printf("%-44s %6s %6s %9s %9s %9s\n", "search", "pages", "found", "first", "median", "slowest")
	for _, c := range []struct {
		name string
		q    audit.Query
	}{
		{"everything", audit.Query{}},
		{"everything, 85 days ago", audit.Query{To: day(5)}},
		{"outcome=deny", audit.Query{Outcome: "deny"}},
		{"an agent", audit.Query{Agent: "agent-3210"}},
		{"an agent, refused", audit.Query{Agent: "agent-3210", Outcome: "deny"}},
		{"an agent, asked about, action", audit.Query{Agent: "agent-3210", Outcome: "require_approval", Action: "act_29"}},
		{"a resource", audit.Query{Resource: "account:acc-77777"}},
		{"a resource, refused", audit.Query{Resource: "account:acc-77777", Outcome: "deny"}},
		{"what ended 70 days ago", audit.Query{Outcome: "step_up"}},
		{"what ended 70 days ago, of an agent", audit.Query{Outcome: "step_up", Agent: "agent-3"}},
		{"two common ones that never meet", audit.Query{Kind: "agent.put", Outcome: "deny"}},
		{"three common ones that never meet", audit.Query{Actor: "pep:gateway1", Outcome: "allow", Code: "policy"}},
		{"rare word", audit.Query{Text: "rareword1"}},
		{"oldest word", audit.Query{Text: "ops17"}},
		{"word that is nowhere", audit.Query{Text: "nowhere"}},
		{"three words", audit.Query{Text: "pays bills ops900000"}},
		{"an agent that is nowhere", audit.Query{Agent: "nobody"}},
		{"an hour, 80 days ago", audit.Query{From: day(10), To: day(10.04)}},
		{"a day, 80 days ago, refused", audit.Query{From: day(10), To: day(11), Outcome: "deny"}},
		{"a day, 80 days ago, of an agent", audit.Query{From: day(10), To: day(11), Agent: "agent-3210"}},
		{"a day, 80 days ago, word that is nowhere", audit.Query{From: day(10), To: day(11), Text: "nowhere"}},
		{"before the beginning", audit.Query{To: day(-1)}},
	} {
		c.q.Limit, c.q.Patience = page.Limit, page.Patience
		var took []time.Duration
		found := 0
		for range 8 { // pages
			t := time.Now()
			f, err := index.Search(ctx, c.q)
			took = append(took, time.Since(t))
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			found += len(f.Entries)
			if c.q.Before = f.Next; f.Next == 0 {
				break
			}
		}
		ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
		first := took[0]
		rest := took[min(1, len(took)-1):]
		slices.SortFunc(rest, cmp.Compare)
		worst = max(worst, first, rest[len(rest)-1])
		fmt.Printf("%-44s %6d %6d %9s %9s %9s\n", c.name, len(took), found, ms(first), ms(rest[len(rest)/2]), ms(rest[len(rest)-1]))
	}
	fmt.Printf("%d entries, %d a page; slowest page %v\n", n, page.Limit, worst.Round(100*time.Microsecond))
	return nil
}

// unsigned hides the checkpoint: its key died with the process that recorded.
type unsigned struct{ *store.DB }

func (unsigned) Checkpoint(context.Context) ([]byte, error) { return nil, authz.ErrNotFound }

func (unsigned) PutCheckpoint(context.Context, int64, []byte) error { return nil }
