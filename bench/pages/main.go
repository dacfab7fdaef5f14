// Pages measures what the console's pages take when the log is large, beside a search (bench/logsearch): the overview, its
// curves, the report, the activity of agents.
//
//	go run ./bench/pages -n 10000000 -sqlite /tmp/large/pages.db
//	go run ./internal/store/storetest/cluster -fsync go run ./bench/pages -n 10000000
//
// Those pages do not read the log but what is counted of it, so that the log is only made up as it is followed, ninety days of 5,000
// agents' decisions, and is not kept. What is counted is, in the database. It prints what counting took, and for each page
// the first time it was asked for, and the slowest and the median of twenty more.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/activity"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/figures"
	"github.com/safeconduct/safeconduct/internal/store"
)

var (
	start = time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	end   = start.Add(90 * 24 * time.Hour)
)

const agents = 5000

func main() {
	n := flag.Int64("n", 10_000_000, "how many entries the log has")
	file := flag.String("sqlite", "", "file of the database, which must not be there; without it, the PostgreSQL that SAFECONDUCT_TEST_POSTGRES names")
	profile := flag.String("profile", "", "write a processor profile of all of it into this file")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "pages:", err)
			os.Exit(1)
		}
		defer pprof.StopCPUProfile()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	cfg := store.Config{SQLite: *file, StatementTimeout: time.Minute}
	if *file == "" {
		cfg.Postgres = os.Getenv("SAFECONDUCT_TEST_POSTGRES")
	}
	if err := run(ctx, cfg, *n); err != nil {
		fmt.Fprintln(os.Stderr, "pages:", err)
		pprof.StopCPUProfile()
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg store.Config, n int64) error {
	db, err := store.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer db.Close()
	log := past(n)
	counted := figures.New(figures.Config{Store: db, Log: log, Now: func() time.Time { return end },
		Catalog: func(context.Context, int64) (*catalog.Catalog, error) { return nil, authz.ErrNotFound }})
	book := activity.New(activity.Config{Store: db})
	for _, c := range []struct {
		name string
		run  func(context.Context) error
		seq  func() int64
	}{
		{"figures", counted.Run, counted.Seq},
		{"activity", func(ctx context.Context) error { return book.Run(ctx, log) }, book.Seq},
	} {
		began := time.Now()
		if err := until(ctx, c.run, func() bool { return c.seq() == n }); err != nil {
			return fmt.Errorf("counting %s: %w", c.name, err)
		}
		took := time.Since(began)
		fmt.Printf("%s of %d entries: %v, %v each\n", c.name, n, took.Round(time.Second), took/time.Duration(n))
	}
	return pages(ctx, counted, book, sessionOf(3, n-1))
}

// until runs something until it has come so far.
func until(ctx context.Context, run func(context.Context) error, far func() bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	for !far() {
		select {
		case err := <-done:
			return cmp.Or(err, errors.New("it ended too early"))
		case <-time.After(50 * time.Millisecond):
		}
	}
	cancel()
	return <-done
}

func pages(ctx context.Context, counted *figures.Figures, book *activity.Book, session string) error {
	id := func(i int) authz.AgentID { return authz.AgentID(fmt.Sprintf("agent-%d", i)) }
	page := make([]authz.AgentID, 100)
	for i := range page {
		page[i] = id(i * 37)
	}
	from, to := counted.Month(end.Add(-time.Hour))
	busy := id(3)
	var worst time.Duration
	fmt.Printf("%-44s %9s %9s %9s\n", "page", "first", "median", "slowest")
	for _, p := range []struct {
		name string
		ask  func() error
	}{
		{"overview: the last hour and day", func() error {
			_, err := counted.Lately(ctx, time.Hour)
			if err == nil {
				_, err = counted.Lately(ctx, 24*time.Hour)
			}
			return err
		}},
		{"curves of an hour", func() error { _, err := counted.Series(ctx, "1h"); return err }},
		{"curves of 30 days", func() error { _, err := counted.Series(ctx, "30d"); return err }},
		{"report of a month", func() error { _, err := counted.Report(ctx, from, to); return err }},
		{"report of ninety days", func() error { _, err := counted.Report(ctx, start, end); return err }},
		{"what 100 agents of a list did last", func() error { _, err := book.Seen(ctx, page, end); return err }},
		{"use of a busy agent's grants, ninety days", func() error { _, err := book.Use(ctx, busy, start, end); return err }},
		{"sessions of a busy agent", func() error { _, err := book.Sessions(ctx, busy, 1<<62, 50); return err }},
		{"sessions of another", func() error { _, err := book.Sessions(ctx, id(3210), 1<<62, 50); return err }},
		{"a session", func() error { _, err := book.Session(ctx, session); return err }},
		{"for whom a busy agent acted", func() error { _, err := book.ActsFor(ctx, busy); return err }},
		{"who acted for a person", func() error {
			_, err := book.ActedBy(ctx, authz.Ref{Type: "person", ID: "p7"})
			return err
		}},
	} {
		took := make([]time.Duration, 21)
		for i := range took {
			t := time.Now()
			if err := p.ask(); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			took[i] = time.Since(t)
		}
		ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
		first, rest := took[0], took[1:]
		slices.Sort(rest)
		worst = max(worst, first, rest[len(rest)-1])
		fmt.Printf("%-44s %9s %9s %9s\n", p.name, ms(first), ms(rest[len(rest)/2]), ms(rest[len(rest)-1]))
	}
	fmt.Printf("slowest page %v\n", worst.Round(100*time.Microsecond))
	return nil
}

// A past is a log of so many entries that is made up as it is read.
type past int64

// Follow implements the follower's side of *audit.Log: it waits at the end.
func (n past) Follow(ctx context.Context, after int64, f func(context.Context, []audit.Entry) error) error {
	for seq := after + 1; seq <= int64(n); {
		es := make([]audit.Entry, 0, 512)
		for ; len(es) < cap(es) && seq <= int64(n); seq++ {
			es = append(es, n.entry(seq))
		}
		if err := f(ctx, es); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// Entry implements that of one.
func (n past) Entry(_ context.Context, seq int64) (audit.Entry, error) {
	if seq < 1 || seq > int64(n) {
		return audit.Entry{}, authz.ErrNotFound
	}
	return n.entry(seq), nil
}

// sessionOf names a session: of most agents it has some twenty decisions.
func sessionOf(agent int, seq int64) string { return fmt.Sprintf("s-%d-%x", agent, seq/(20*agents)) }

// entry makes up an entry. A thousandth of the agents do a tenth of the work; of ten decisions one is followed by what came of it.
func (n past) entry(seq int64) audit.Entry {
	at := start.Add(time.Duration(float64(end.Sub(start)) * float64(seq-1) / float64(n)))
	of := seq
	if seq%11 == 0 {
		of = seq - 1
	}
	r := mathrand.New(mathrand.NewPCG(uint64(of), 7))
	agent := r.IntN(agents)
	if r.IntN(10) == 0 {
		agent = r.IntN(agents / 1000)
	}
	effect, code := "allow", "allowed"
	switch p := r.IntN(1000); {
	case p < 60:
		effect, code = "deny", [...]string{"not_granted", "policy", "too_risky"}[r.IntN(3)]
	case p < 90:
		effect, code = "require_approval", "approval_required"
	case p < 95:
		effect, code = "step_up", "stepup_required"
	}
	session := sessionOf(agent, of)
	e := audit.Entry{Seq: seq, At: at, Kind: audit.DecisionMade, Actor: fmt.Sprintf("pep:gateway%d", agent%8)}
	if of != seq {
		e.Kind = audit.OutcomeReported
		e.Body = fmt.Appendf(nil, `{"decision":%d,"agent":"agent-%d","class":"money","action":"act_%d","session":%q,"decided":%q,"allowed":%t,"reporter":"pep","by":%q,"latency_ms":%d}`,
			of, agent, agent%199, session, at.Format(time.RFC3339Nano), effect == "allow", e.Actor, r.IntN(900))
		return e
	}
	e.Body = fmt.Appendf(nil, `{"request":{"subject":{"type":"agent","id":"agent-%d"},"on_behalf":[{"type":"person","id":"p%d"}],"action":{"name":"act_%d","properties":{"amount":%d}},`+
		`"resource":{"type":"account","id":"acc-%d"},"observed":{"ip":"10.1.%d.%d","session":%q,"pep":"gateway"}},`+
		`"facts":{"at":%q,"schedules":["business"],"class":"internal","agent":{"id":"agent-%d","owner":"team %d","purpose":"purpose %d","version":"1","state":"active","revision":1},`+
		`"grant":{"within":["cap-%d"],"class":"money"},"trust":{"level":"medium","score":0.5}},`+
		`"decision":{"effect":%q,"code":%q,"fired":[{"policy":"payments/small","effect":"permit"}],"policy_set":7}}`,
		agent, r.IntN(300), agent%199+r.IntN(3), r.IntN(100000), r.IntN(100000), r.IntN(250), r.IntN(250), session,
		at.Format(time.RFC3339Nano), agent, agent%60, agent%180, agent%199, effect, code)
	return e
}
