package figures_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/figures"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// A fixedLog is a log of entries that are there from the beginning.
type fixedLog struct {
	entries []audit.Entry
	mu      sync.Mutex
	from    []int64 // where it was followed from
	end     int64   // the last entry that there is
}

func (l *fixedLog) Follow(ctx context.Context, after int64, f func(context.Context, []audit.Entry) error) error {
	l.mu.Lock()
	l.from = append(l.from, after)
	end := l.end
	l.mu.Unlock()
	if after > end {
		return authz.Errorf(authz.ErrInvalid, "the log has %d entries, not %d", end, after)
	}
	for after < end {
		n := min(after+7, end)
		if err := f(ctx, l.entries[after:n]); err != nil {
			return err
		}
		after = n
	}
	<-ctx.Done()
	return ctx.Err()
}

func (l *fixedLog) Entry(_ context.Context, seq int64) (audit.Entry, error) {
	if seq < 1 || seq > int64(len(l.entries)) {
		return audit.Entry{}, authz.ErrNotFound
	}
	return l.entries[seq-1], nil
}

func (l *fixedLog) add(at time.Time, k audit.Kind, body any) int64 {
	b, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	l.entries = append(l.entries, audit.Entry{Seq: int64(len(l.entries) + 1), At: at, Kind: k, Actor: "pep:bank", Body: b})
	l.end = int64(len(l.entries))
	return l.end
}

// decide adds a decision, which took two milliseconds.
func (l *fixedLog) decide(at time.Time, agent, purpose, session string, effect authz.Effect) int64 {
	rec := pdp.Record{
		Request: authz.Request{Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: agent}}, OnBehalf: []authz.Ref{{Type: "user", ID: "anna"}},
			Action: authz.Action{Name: "pay"}, Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "1"}}, Observed: authz.Observed{Session: session, PEP: "bank"}},
		Facts:    authz.Facts{At: at, Agent: &authz.Agent{ID: authz.AgentID(agent), Owner: "ops", Purpose: purpose}},
		Decision: authz.Decision{At: at.Add(-2 * time.Millisecond), Effect: effect, Code: "c"},
	}
	if effect != authz.Allow {
		rec.Decision.Reasons = []authz.Reason{{Code: "too-much", Message: "The amount is above the limit."}}
	}
	return l.add(at, audit.DecisionMade, &rec)
}

type asks map[string]*approval.Ask

func (a asks) Get(_ context.Context, id string) (*approval.Ask, error) {
	if x := a[id]; x != nil {
		return x, nil
	}
	return nil, authz.ErrNotFound
}

// A world is a store, a log, asks and a catalog in Berlin.
type world struct {
	testing.TB
	store figures.Store
	log   *fixedLog
	asks  asks
	now   time.Time
}

func berlin(t testing.TB) *catalog.Catalog {
	c, err := catalog.Options{}.Parse("test", []byte("zone: Europe/Berlin\n"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// count counts the log up to an entry and stops.
func (w *world) count(end int64) *figures.Figures {
	w.Helper()
	c := berlin(w)
	w.log.mu.Lock()
	w.log.end = end
	w.log.mu.Unlock()
	f := figures.New(figures.Config{Store: w.store, Log: w.log, Asks: w.asks, Now: func() time.Time { return w.now },
		Catalog: func(context.Context, int64) (*catalog.Catalog, error) { return c, nil }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	for f.Seq() != end {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		w.Fatal(err)
	}
	return f
}

func (w *world) report(f *figures.Figures) *figures.Report {
	w.Helper()
	from, to := f.Month(w.now)
	r, err := f.Report(w.Context(), from, to)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func newWorld(t testing.TB) *world {
	return &world{TB: t, store: storetest.Open(t), log: &fixedLog{}, asks: asks{}, now: time.Date(2026, 11, 27, 20, 0, 0, 0, time.UTC)}
}

func TestReport(t *testing.T) {
	w := newWorld(t)
	l := w.log
	day := time.Date(2026, 11, 26, 22, 50, 0, 0, time.UTC) // ten minutes to midnight in Berlin
	l.add(day, audit.PolicyPublish, map[string]any{"version": 1})
	l.decide(day.Add(time.Minute), "bot", "billing", "s1", authz.Allow) // s1: undisturbed
	l.decide(day.Add(2*time.Minute), "bot", "billing", "s1", authz.Allow)
	refused := l.decide(day.Add(3*time.Minute), "bot", "billing", "s2", authz.RequireApproval) // s2: goes on
	asked := l.add(day.Add(4*time.Minute), audit.ApprovalAsked, map[string]any{"id": "arq_1"})
	l.add(day.Add(5*time.Minute), audit.ApprovalAnswer, map[string]any{"ask": "arq_1"})
	ended := l.add(day.Add(6*time.Minute), audit.ApprovalAnswer, map[string]any{"ask": "arq_1"})
	w.asks["arq_1"] = &approval.Ask{ID: "arq_1", Seq: asked, Ended: ended, Status: approval.Approved, AskedAt: day, ClosedAt: day.Add(2 * time.Minute), Items: []approval.Item{{Decision: refused}}}
	done := l.decide(day.Add(7*time.Minute), "bot", "billing", "s2", authz.Allow)
	l.add(day.Add(8*time.Minute), audit.OutcomeReported, map[string]any{"decision": done, "result": "right"})
	next := day.Add(20 * time.Minute)                               // the next day
	l.decide(next, "cat", "support", "s3", authz.Deny)              // s3: stopped
	l.decide(next.Add(time.Hour), "cat", "support", "", authz.Deny) // of no task; s1 to s3 are over
	l.add(next.Add(time.Hour), audit.DecisionMade, map[string]any{"listing": true, "decision": map[string]any{"effect": "deny"}})
	l.add(next.Add(time.Hour), audit.DecisionMade, map[string]any{"decision": "damaged"})

	f := w.count(l.end)
	r := w.report(f)
	if r.Zone != "Europe/Berlin" || !r.From.Equal(time.Date(2026, 10, 31, 23, 0, 0, 0, time.UTC)) || r.AsOf != l.end || r.Running != 0 {
		t.Errorf("the report is of %s from %s as of %d, with %d tasks running", r.Zone, r.From, r.AsOf, r.Running)
	}
	if len(r.Days) != 2 || r.Days[0].Sum() != 4 || r.Days[1].Sum() != 2 || !r.Days[1].At.Equal(day.Add(10*time.Minute)) {
		t.Errorf("days: %+v", r.Days)
	}
	type figure struct {
		Purpose                  string
		Allow, Ask, Deny         int64
		Asks                     figures.Asks
		Tasks                    figures.Tasks
		Right, Answered, Waited  int64
		Persons, Actions, Agents int
		Reason                   string
	}
	var got []figure
	for _, p := range append(r.Parts, r.All) {
		g := figure{p.Purpose, p.Allow, p.Ask, p.Deny, p.Asks, p.Tasks, p.Results.Right, p.Waits.Answered, p.Waits.Sum, p.PersonsN, len(p.Actions), p.AgentsN, ""}
		if len(p.Refusals) > 0 {
			g.Reason = fmt.Sprint(p.Refusals[0].N, " ", p.Refusals[0].Text)
		}
		got = append(got, g)
	}
	want := []figure{
		{"billing", 3, 1, 0, figures.Asks{Asked: 1, Approved: 1}, figures.Tasks{Undisturbed: 1, WentOn: 1}, 1, 1, 120, 1, 1, 1, "1 The amount is above the limit."},
		{"support", 0, 0, 2, figures.Asks{}, figures.Tasks{Stopped: 1}, 0, 0, 0, 1, 1, 1, "2 The amount is above the limit."},
		{"", 3, 1, 2, figures.Asks{Asked: 1, Approved: 1}, figures.Tasks{Undisturbed: 1, WentOn: 1, Stopped: 1}, 1, 1, 120, 1, 1, 2, "3 The amount is above the limit."},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if us := r.All.Latency.P50; us < 1800 || us > 2200 {
		t.Errorf("decisions took %d µs, want 2000", us)
	}
	if s := r.All.Waits.P50; s < 108 || s > 132 {
		t.Errorf("persons took %d s, want 120", s)
	}
	b, err := f.Series(t.Context(), "24h")
	if err != nil || len(b) != 144 {
		t.Fatalf("24 hours are %d steps, %v", len(b), err)
	}
	n := int64(0)
	for i := range b {
		n += b[i].Sum()
	}
	if n != 6 {
		t.Errorf("the steps of 24 hours hold %d decisions, want 6", n)
	}
	if _, err := f.Series(t.Context(), "5y"); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("a series of 5y: %v", err)
	}
	if _, err := f.Report(t.Context(), w.now, w.now.AddDate(2, 0, 0)); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("a report of two years: %v", err)
	}
}

// scatter adds many decisions, asks and outcomes over three days.
func (w *world) scatter(n int) {
	r := rand.New(rand.NewPCG(1, 2))
	at := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	w.log.add(at, audit.PolicyPublish, map[string]any{"version": 1})
	effects := []authz.Effect{authz.Allow, authz.Allow, authz.Allow, authz.Deny, authz.RequireApproval, authz.StepUp}
	for i := range n {
		at = at.Add(time.Duration(r.IntN(int(2 * 60 * time.Hour / time.Duration(n)))))
		switch {
		case i%10 == 9:
			w.log.add(at, audit.OutcomeReported, map[string]any{"decision": max(2, w.log.end-int64(r.IntN(5))), "result": "wrong"})
		case i%17 == 16:
			id := fmt.Sprint("arq_", i)
			seq := w.log.add(at, audit.ApprovalAsked, map[string]any{"id": id})
			at = at.Add(time.Minute)
			end := w.log.add(at, audit.ApprovalMoved, map[string]any{"ask": id})
			w.asks[id] = &approval.Ask{ID: id, Seq: seq, Ended: end, Status: approval.Expired, AskedAt: at.Add(-time.Minute), ClosedAt: at, Items: []approval.Item{{Decision: 3}}}
		default:
			w.log.decide(at, fmt.Sprint("bot-", r.IntN(20)), fmt.Sprint("purpose-", r.IntN(5)), fmt.Sprint("s-", r.IntN(n/8+1)), effects[r.IntN(len(effects))])
		}
	}
	w.now = at.Add(time.Second)
}

// However often a process starts anew, and however many count at once, the figures are the same, and no entry is read again.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	w.scatter(600)
	end := w.log.end
	want := w.report(w.count(end))
	wantSeries, err := w.count(end).Series(t.Context(), "7d")
	if err != nil {
		t.Fatal(err)
	}
	if want.All.Decisions < 400 || want.All.Tasks == (figures.Tasks{}) || want.All.Results.Wrong == 0 || want.All.Asks.Expired == 0 {
		t.Fatalf("the world is too simple: %+v", want.All)
	}

	w.store = storetest.Open(t)
	for _, at := range []int64{1, 2, 50, 51, 200, 201, 399, 500, end - 1, end} {
		w.log.from = nil
		before, err := w.store.FiguresHead(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f := w.count(at)
		if len(w.log.from) != 1 || w.log.from[0] != before.Seq {
			t.Errorf("what is kept is as of %d, and the log was read after %d", before.Seq, w.log.from)
		}
		if at < end {
			continue
		}
		if diff := cmp.Diff(want, w.report(f)); diff != "" {
			t.Errorf("with restarts (-want +got):\n%s", diff)
		}
		got, err := f.Series(t.Context(), "7d")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wantSeries, got); diff != "" {
			t.Errorf("a series with restarts (-want +got):\n%s", diff)
		}
	}

	// Replicas that share a store, one behind the other.
	w.store = storetest.Open(t)
	a, b := w.count(300), w.count(450)
	if err := a.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = b
	c := w.count(end)
	for name, f := range map[string]*figures.Figures{"the last": c, "one that stopped early": a} {
		got := w.report(f)
		got.AsOf, got.Running = want.AsOf, want.Running // what it has counted itself
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s of three replicas (-want +got):\n%s", name, diff)
		}
	}

	// What was kept is of another log: it is counted anew.
	w.log.entries = w.log.entries[:100]
	if f := w.count(100); f.Seq() != 100 || w.report(f).All.Decisions > 100 {
		t.Errorf("figures of another log are left: %+v", w.report(f).All)
	}
}

// Names are bounded: what comes after the first of a day is counted together, and nothing is lost.
func TestBounds(t *testing.T) {
	w := newWorld(t)
	at := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	for i := range 700 {
		w.log.decide(at, fmt.Sprint("bot-", i), fmt.Sprint("purpose-", i), fmt.Sprint("s-", i), authz.Deny)
	}
	for i := range 200 {
		w.log.decide(at, fmt.Sprint("cat-", i), "purpose-0", "", authz.Allow)
	}
	r := w.report(w.count(w.log.end))
	if r.All.Decisions != 900 || len(r.Parts) != 200 || r.Left != 301 || r.Running != 700 {
		t.Errorf("of 900 decisions %d are counted, in %d parts and %d more, and %d of 700 tasks run", r.All.Decisions, len(r.Parts), r.Left, r.Running)
	}
	if p := r.Parts[0]; !(p.Others && p.Decisions == 200) && !(r.Parts[1].Others && r.Parts[1].Decisions == 200) {
		t.Errorf("others are %+v, %+v", r.Parts[0].Decisions, r.Parts[1].Decisions)
	}
	for _, p := range r.Parts {
		if p.Purpose == "purpose-0" && (p.Decisions != 201 || p.AgentsN != 64 || !p.More) {
			t.Errorf("a busy purpose: %d decisions of %d agents", p.Decisions, p.AgentsN)
		}
	}
}

// A crowd is a store with many days of many groups, all others than those of the day before, and with ever more decisions.
type crowd struct {
	figures.Store
	asked, answer chan struct{} // if it has them: told of what is asked, and closed once it is to be answered
}

const (
	crowdDays   = 5
	crowdGroups = 500
	crowdNames  = 64
)

func (c crowd) FigureRows(_ context.Context, l figures.Length, byGroup bool, from, to time.Time) (rows []figures.Row, err error) {
	if c.asked != nil {
		c.asked <- struct{}{}
		<-c.answer
	}
	for d := range crowdDays {
		at := time.Date(2026, 11, 1+d, 0, 0, 0, 0, time.UTC)
		if !byGroup || at.Before(from) || !at.Before(to) {
			continue
		}
		for i := range crowdGroups {
			n := d*crowdGroups + i
			agents := map[string]any{}
			for a := range crowdNames {
				agents[fmt.Sprint("agent-", n, "-", a)] = figures.Outcomes{Allow: 1}
			}
			record, err := json.Marshal(map[string]any{"purpose": fmt.Sprintf("purpose-%04d", n), "allow": n, "agents": map[string]any{"by": agents}})
			if err != nil {
				return nil, err
			}
			rows = append(rows, figures.Row{Length: l, Group: fmt.Sprintf("%04d", n), From: at, Until: at.AddDate(0, 0, 1), AsOf: 1, Record: record})
		}
	}
	return rows, nil
}

// However many purposes and names there are in how many days, a report holds so many of them by themselves, and loses nothing.
func TestReportBounds(t *testing.T) {
	f := figures.New(figures.Config{Store: crowd{}})
	from, to := f.Month(time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC))
	r, err := f.Report(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	const whole, apart = crowdDays * crowdGroups, 2000
	if n := len(r.Parts) + r.Left; n != apart+1 {
		t.Errorf("%d purposes are told apart as %d, want %d and others", whole, n, apart)
	}
	rest := int64((apart + whole - 1) * (whole - apart) / 2)
	if p := r.Parts[0]; !p.Others || p.Purpose != "" || p.Decisions != rest {
		t.Errorf("the first part is %q with %d decisions, want the others with %d", p.Purpose, p.Decisions, rest)
	}
	if p := r.Parts[1]; p.Purpose != "purpose-1999" || p.Decisions != 1999 || p.AgentsN != 0 || !p.More {
		t.Errorf("a purpose beyond the names that are kept is %q with %d decisions of %d agents, want purpose-1999 with 1999 of none by itself", p.Purpose, p.Decisions, p.AgentsN)
	}
	if want := int64(whole * (whole - 1) / 2); r.All.Decisions != want || r.All.AgentsN != apart || !r.All.More {
		t.Errorf("all have %d decisions of %d agents, want %d of %d and more", r.All.Decisions, r.All.AgentsN, want, apart)
	}
}

// Two reports are made at once, and no more.
func TestReportsAtOnce(t *testing.T) {
	c := crowd{asked: make(chan struct{}, 4), answer: make(chan struct{})}
	f := figures.New(figures.Config{Store: c})
	at := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC) // of which there is nothing
	report := func() error {
		_, err := f.Report(t.Context(), at, at.Add(time.Hour))
		return err
	}
	done := make(chan error)
	for range 2 {
		go func() { done <- report() }()
		<-c.asked
	}
	if err := report(); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("a third report at once: %v, want %v", err, authz.ErrUnavailable)
	}
	close(c.answer)
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("one of two reports at once: %v", err)
		}
	}
}

// A record of a journal that two replicas were sent, and that stands in the log twice, counts once: also for who begins to count
// later, goes on after a restart, or counts again.
func TestRepeated(t *testing.T) {
	w := newWorld(t)
	at := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	edge := func(journal string, number int64) map[string]any {
		return map[string]any{"journal": journal, "number": number}
	}
	decide := func(journal string, number int64) {
		w.log.add(at, audit.DecisionMade, map[string]any{"edge": edge(journal, number), "decision": map[string]any{"effect": "allow"},
			"request": map[string]any{"subject": authz.Ref{Type: "agent", ID: "bot"}, "action": map[string]any{"name": "pay"}}})
	}
	report := func(journal string, number, back int64) {
		w.log.add(at, audit.OutcomeReported, map[string]any{"edge": edge(journal, number), "back": back, "result": "right"})
	}
	w.log.decide(at, "bot", "billing", "", authz.Allow)
	decide("J", 1) // by one replica
	report("J", 2, 1)
	decide("J", 1) // by another
	report("J", 2, 1)
	decide("K", 1) // another journal
	decide("J", 3)
	decide("J", 3)
	w.log.decide(at, "bot", "billing", "", authz.Allow)
	end := w.log.end
	for restart := range end { // after no entry, after the first, ...
		w.store = storetest.Open(t)
		if restart > 0 {
			w.count(restart)
		}
		r := w.report(w.count(end))
		if r.All.Decisions != 5 || r.All.Results.Right != 1 || r.Days[0].Sum() != 5 {
			t.Errorf("with a restart after entry %d, %d decisions are counted, want 5; %d outcomes, want 1", restart, r.All.Decisions, r.All.Results.Right)
		}
	}
}

// Whether a task is over is looked at once a minute, also by who was started in that minute.
func TestSweptOnce(t *testing.T) {
	w := newWorld(t)
	at := time.Date(2026, 11, 27, 10, 0, 30, 0, time.UTC)
	w.log.decide(at, "bot", "billing", "s", authz.Allow)
	first := w.log.decide(at.Add(30*time.Minute-10*time.Second), "cat", "billing", "", authz.Allow) // s is not over yet
	w.log.decide(at.Add(30*time.Minute+10*time.Second), "cat", "billing", "", authz.Allow)          // and now it is, in the same minute
	w.log.decide(at.Add(30*time.Minute+20*time.Second), "bot", "billing", "s", authz.Deny)
	want := w.report(w.count(w.log.end))
	w.store = storetest.Open(t)
	w.count(first)
	if diff := cmp.Diff(want, w.report(w.count(int64(len(w.log.entries))))); diff != "" {
		t.Errorf("with a restart (-want +got):\n%s", diff)
	}
}

// What counting one decision costs.
func BenchmarkCount(b *testing.B) {
	w := newWorld(b)
	w.scatter(20_000)
	for b.Loop() {
		w.store = storetest.Open(b)
		w.count(w.log.end)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(w.log.end), "ns/entry")
}
