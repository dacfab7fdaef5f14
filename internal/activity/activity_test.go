package activity_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/activity"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

var start = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC) // a Monday

// A past is a log that ends.
type past struct {
	t   testing.TB
	log []audit.Entry
	now time.Time
}

// Follow implements activity.Log: it waits at the end.
func (p *past) Follow(ctx context.Context, after int64, f func(context.Context, []audit.Entry) error) error {
	if after > int64(len(p.log)) {
		return authz.Errorf(authz.ErrInvalid, "the log has %d entries", len(p.log))
	}
	if err := f(ctx, p.log[after:]); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (p *past) add(kind audit.Kind, actor, body string) int64 {
	p.log = append(p.log, audit.Entry{Seq: int64(len(p.log)) + 1, At: p.now, Kind: kind, Actor: actor, Body: []byte(body)})
	return int64(len(p.log))
}

// An act is a decision to be.
type act struct {
	agent, session, action, args, effect, within, exceeded, behalf, untrusted string
}

func (p *past) does(a act) int64 {
	list := func(s string) string {
		if s == "" {
			return "[]"
		}
		return s
	}
	if a.effect == "" {
		a.effect = "allow"
	}
	if a.args == "" {
		a.args = "{}"
	}
	return p.add(audit.DecisionMade, "pep:gateway", fmt.Sprintf(
		`{"request":{"subject":{"type":"agent","id":%q},"on_behalf":%s,"action":{"name":%q,"properties":%s},"resource":{"type":"invoice","id":"1"},`+
			`"observed":{"session":%q,"task":"pay","pep":"gateway","provenance":{"untrusted":%s}}},`+
			`"facts":{"class":"internal","agent":{"id":%q,"owner":"finance","purpose":"p","version":"1","state":"active","revision":1},"grant":{"within":%s,"exceeded":%s,"class":"money"}},`+
			`"decision":{"effect":%q,"code":"c"}}`,
		a.agent, list(a.behalf), a.action, a.args, a.session, list(a.untrusted), a.agent, list(a.within), list(a.exceeded), a.effect))
}

func (p *past) outcome(agent, session string, decision int64, result string) int64 {
	return p.add(audit.OutcomeReported, "admin:bob", fmt.Sprintf(
		`{"decision":%d,"agent":%q,"class":"money","action":"pay","session":%q,"decided":"2026-11-23T08:00:00Z","allowed":true,"reporter":"person","by":"admin:bob","result":%q}`,
		decision, agent, session, result))
}

// open returns a book on a store that has taken in what is kept.
func open(t testing.TB, db activity.Store) *activity.Book {
	t.Helper()
	b := activity.New(activity.Config{Store: db})
	if err := b.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// take has b take in the entries up to a number.
func (p *past) take(b *activity.Book, to int64) {
	p.t.Helper()
	for seq := b.Seq(); seq < to; seq++ {
		if err := b.Take(p.t.Context(), &p.log[seq]); err != nil {
			p.t.Fatal(err)
		}
	}
}

func TestUse(t *testing.T) {
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		p := &past{t: t, now: start.Add(-21 * 24 * time.Hour)}
		db := storetest.OpenConfig(t, config(t))
		p.does(act{agent: "a", action: "old", within: `["read"]`})
		p.now = start
		p.does(act{agent: "a", action: "pay", args: `{"amount":"90.50","n":3,"x":-1,"text":"hello","y":1e9}`, within: `["pay"]`})
		p.does(act{agent: "a", action: "pay", args: `{"amount":"100","n":2}`, within: `["pay","admin"]`})
		p.does(act{agent: "a", action: "pay", args: `{"amount":"9999"}`, within: `["pay"]`, effect: "deny"})
		p.does(act{agent: "a", action: "pay", args: `{"amount":"10000"}`, exceeded: `["pay/amount.amount"]`, effect: "deny"})
		p.does(act{agent: "a", action: "hack", effect: "deny"})
		p.does(act{agent: "b", action: "pay", within: `["pay"]`})
		p.add(audit.DecisionMade, "admin:eve", string(p.log[1].Body))
		p.add(audit.DecisionMade, "pep:gateway", `{"damaged":`)
		b := open(t, db)
		p.take(b, int64(len(p.log)))

		got, err := b.Use(t.Context(), "a", start, start.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		one := func(name string, n int64) []activity.Count { return []activity.Count{{Name: name, Count: n}} }
		want := activity.Use{
			From: start.Add(-8 * time.Hour), AsOf: 9, First: start.Add(-21 * 24 * time.Hour), Decisions: 6,
			Capabilities: map[string]activity.CapabilityUse{
				"pay": {Used: 2, Alone: 1, Refused: 1, LastUsed: start, Ever: 2, EverLast: start, Actions: one("pay", 2), Types: one("invoice", 2),
					Classes: one("internal", 2), Exceeded: one("amount.amount", 1), Amounts: map[string]string{"amount": "100", "n": "3"}},
				"admin": {Used: 1, LastUsed: start, Ever: 1, EverLast: start, Actions: one("pay", 1), Types: one("invoice", 1), Classes: one("internal", 1),
					Amounts: map[string]string{"amount": "100", "n": "2"}},
				"read": {Ever: 1, EverLast: start.Add(-21 * 24 * time.Hour)},
			},
			Outside: activity.CapabilityUse{Used: 1, LastUsed: start, Actions: one("hack", 1), Types: one("invoice", 1), Classes: one("internal", 1)},
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("Use (-want +got):\n%s", diff)
		}
		if got, err := b.Use(t.Context(), "a", start.Add(-22*24*time.Hour), start.Add(time.Hour)); err != nil || got.Capabilities["read"].Used != 1 {
			t.Errorf("Use over four weeks = %+v, %v, want read used once", got.Capabilities["read"], err)
		}
		seen, err := b.Seen(t.Context(), []authz.AgentID{"a", "b", "nobody"}, start.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[authz.AgentID]activity.Seen{
			"a": {First: start.Add(-21 * 24 * time.Hour), At: start, Decisions: 5, Refusals: 3},
			"b": {First: start, At: start, Decisions: 1},
		}, seen); diff != "" {
			t.Errorf("Seen (-want +got):\n%s", diff)
		}
	})
}

func TestSessions(t *testing.T) {
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		ctx := t.Context()
		p := &past{t: t, now: start}
		db := storetest.OpenConfig(t, config(t))
		first := p.does(act{agent: "a", session: "s1", action: "read", within: `["read"]`, behalf: `[{"type":"person","id":"anna"},{"type":"agent","id":"boss"}]`})
		p.does(act{agent: "a", session: "s1", action: "pay", effect: "deny", untrusted: `["iban"]`})
		p.does(act{agent: "c", session: "s1", action: "look", behalf: `[{"type":"agent","id":"a"}]`})
		p.does(act{agent: "a", session: "s2", action: "pay", effect: "require_approval"})
		p.outcome("a", "s1", first, "wrong")
		p.outcome("a", "none", first, "wrong")
		p.does(act{agent: "a", action: "no session"})
		b := open(t, db)
		p.take(b, 4)
		if err := b.Keep(ctx); err != nil {
			t.Fatal(err)
		}
		p.take(b, int64(len(p.log)))
		for _, kept := range []bool{false, true} {
			if kept {
				if err := b.Keep(ctx); err != nil {
					t.Fatal(err)
				}
				b = open(t, db)
			}
			got, err := b.Sessions(ctx, "a", 0, 10)
			if err != nil {
				t.Fatal(err)
			}
			want := []activity.Session{
				{ID: "s1", Agent: "a", FirstAt: start, LastAt: start, Begun: 1, Seq: 5, Task: "pay", PEP: "gateway", Action: "pay", OnBehalf: authz.Ref{Type: "person", ID: "anna"},
					Calls: 2, Allowed: 1, Untrusted: 1, Outcomes: 1, Bad: 1, Entries: []int64{1, 2, 5}},
				{ID: "s2", Agent: "a", FirstAt: start, LastAt: start, Begun: 4, Seq: 4, Task: "pay", PEP: "gateway", Action: "pay", Calls: 1, Asked: 1, Entries: []int64{4}},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Sessions, kept %v (-want +got):\n%s", kept, diff)
			}
			if page, err := b.Sessions(ctx, "a", 5, 10); err != nil || len(page) != 1 || page[0].ID != "s2" {
				t.Errorf("Sessions before 5, kept %v = %v, %v, want s2", kept, page, err)
			}
			parties, err := b.Session(ctx, "s1")
			if err != nil || len(parties) != 2 || parties[0].Agent != "a" || parties[1].Agent != "c" || parties[1].Calls != 1 {
				t.Errorf("Session(s1), kept %v = %+v, %v, want a and c", kept, parties, err)
			}
			if _, err := b.Session(ctx, "s3"); !errors.Is(err, authz.ErrNotFound) {
				t.Errorf("Session(s3) = %v, want not found", err)
			}
			acts, err := b.ActsFor(ctx, "a")
			if err != nil || len(acts) != 2 {
				t.Fatalf("ActsFor(a), kept %v = %+v, %v, want two", kept, acts, err)
			}
			by, err := b.ActedBy(ctx, authz.Ref{Type: "agent", ID: "a"})
			if err != nil || len(by) != 1 || by[0].Agent != "c" || by[0].Calls != 1 || by[0].Depth != 1 {
				t.Errorf("ActedBy(a), kept %v = %+v, %v, want c", kept, by, err)
			}
			by, err = b.ActedBy(ctx, authz.Ref{Type: "agent", ID: "boss"})
			if err != nil || len(by) != 1 || by[0].Agent != "a" || by[0].Depth != 2 {
				t.Errorf("ActedBy(boss), kept %v = %+v, %v, want a at depth 2", kept, by, err)
			}
		}
	})
}

// A stuck store keeps rows and, now, no head.
type stuck struct {
	activity.Store
	now bool
}

func (s *stuck) MoveActivity(ctx context.Context, h activity.Head) error {
	if s.now {
		return nil
	}
	return s.Store.MoveActivity(ctx, h)
}

// A record of a journal that two replicas were sent, and that stands in the log twice, counts once: also for who goes on after a
// restart at any entry, and whatever was kept then.
func TestRepeated(t *testing.T) {
	ctx := t.Context()
	p := &past{t: t, now: start}
	from := func(journal string, number int) { // the entry added last is a record of
		e := &p.log[len(p.log)-1]
		e.Body = fmt.Appendf(nil, `{"edge":{"journal":%q,"number":%d},%s`, journal, number, e.Body[1:])
	}
	decide := func(journal string, number int) {
		p.does(act{agent: "a", session: "s", action: "pay", within: `["pay"]`, behalf: `[{"type":"person","id":"anna"}]`})
		from(journal, number)
	}
	report := func(session, journal string, number int) {
		p.outcome("a", session, 1, "wrong")
		from(journal, number)
	}
	report("s", "J", 1) // of a session that is not known yet
	decide("J", 2)      // by one replica
	report("s", "J", 3)
	report("s", "J", 1) // by another
	decide("J", 2)
	report("s", "J", 3)
	decide("K", 1) // another journal
	p.does(act{agent: "a", session: "s", action: "pay", within: `["pay"]`})
	end := int64(len(p.log))
	for restart := range end + 1 {
		for _, kept := range []int64{restart / 2, restart} { // what is in rows may be ahead of the head
			db := &stuck{Store: storetest.Open(t)}
			b := open(t, db)
			p.take(b, kept)
			if err := b.Keep(ctx); err != nil {
				t.Fatal(err)
			}
			p.take(b, restart)
			db.now = true
			if err := b.Keep(ctx); err != nil {
				t.Fatal(err)
			}
			b = open(t, db)
			p.take(b, end)
			parties, err := b.Session(ctx, "s")
			if err != nil || len(parties) != 1 {
				t.Fatalf("Session(s) = %v, %v, want that of a", parties, err)
			}
			use, err := b.Use(ctx, "a", start, start)
			if err != nil {
				t.Fatal(err)
			}
			acts, err := b.ActsFor(ctx, "a")
			if err != nil || len(acts) != 1 {
				t.Fatalf("ActsFor(a) = %v, %v, want anna", acts, err)
			}
			if s := parties[0]; s.Calls != 3 || s.Outcomes != 1 || use.Decisions != 3 || use.Capabilities["pay"].Used != 3 || acts[0].Calls != 2 {
				t.Errorf("with rows kept up to entry %d and the head at %d: %d calls, %d outcomes, %d decisions, %d uses, %d calls for anna; want 3, 1, 3, 3, 2",
					restart, kept, s.Calls, s.Outcomes, use.Decisions, use.Capabilities["pay"].Used, acts[0].Calls)
			}
		}
	}
}

// live fills p with n entries of several agents.
func (p *past) live(rng *rand.Rand, n int) {
	var decided [][3]string
	for len(p.log) < n {
		p.now = p.now.Add(time.Duration(rng.IntN(3600)) * time.Second)
		id := fmt.Sprintf("bot-%d", rng.IntN(5))
		switch k := rng.IntN(20); {
		case k < 15:
			a := act{agent: id, session: fmt.Sprintf("s-%d", len(p.log)/30), action: fmt.Sprint("act-", rng.IntN(50)), args: fmt.Sprintf(`{"amount":%d}`, rng.IntN(1000)),
				within: []string{`["a"]`, `["a","b"]`, ``, `["c"]`}[rng.IntN(4)], effect: []string{"allow", "allow", "deny", "require_approval"}[rng.IntN(4)],
				behalf: []string{``, `[{"type":"person","id":"anna"}]`, `[{"type":"agent","id":"bot-1"},{"type":"person","id":"bob"}]`}[rng.IntN(3)]}
			seq := p.does(a)
			decided = append(decided, [3]string{id, a.session, fmt.Sprint(seq)})
		case k < 18 && len(decided) > 0:
			d := decided[rng.IntN(len(decided))]
			var seq int64
			fmt.Sscan(d[2], &seq)
			p.outcome(d[0], d[1], seq, []string{"right", "wrong", ""}[rng.IntN(3)])
		default:
			p.add(audit.Heartbeat, "safeconduct", `{}`)
		}
	}
}

// all returns everything that a book tells.
func all(t testing.TB, b *activity.Book, now time.Time) map[string]any {
	t.Helper()
	out := map[string]any{}
	must := func(name string, v any, err error) {
		if err != nil {
			t.Fatal(err)
		}
		out[name] = v
	}
	for i := range 5 {
		id := authz.AgentID(fmt.Sprintf("bot-%d", i))
		u, err := b.Use(t.Context(), id, now.Add(-80*24*time.Hour), now)
		must(fmt.Sprint(id, " use"), u, err)
		ss, err := b.Sessions(t.Context(), id, 0, 1000)
		must(fmt.Sprint(id, " sessions"), ss, err)
		acts, err := b.ActsFor(t.Context(), id)
		must(fmt.Sprint(id, " acts for"), acts, err)
		seen, err := b.Seen(t.Context(), []authz.AgentID{id}, now)
		must(fmt.Sprint(id, " seen"), seen, err)
	}
	return out
}

// What is kept and gone on from, wherever a process stopped, whoever wrote in between, and whatever was lost, is what a
// full replay concludes.
func TestReplay(t *testing.T) {
	storetest.Each(t, func(t *testing.T, config func(testing.TB) store.Config) {
		p := &past{t: t, now: start}
		p.live(rand.New(rand.NewPCG(1, 2)), 1500)
		whole := open(t, storetest.OpenConfig(t, config(t)))
		p.take(whole, int64(len(p.log)))
		want := all(t, whole, p.now)

		rng := rand.New(rand.NewPCG(3, 4))
		db := storetest.OpenConfig(t, config(t))
		books := []*activity.Book{open(t, db), open(t, db)}
		for books[0].Seq() < int64(len(p.log)) {
			i := rng.IntN(2)
			switch b := books[i]; rng.IntN(4) {
			case 0:
				if err := b.Keep(t.Context()); err != nil {
					t.Fatal(err)
				}
			case 1:
				books[i] = open(t, db) // what it knew and had not kept is lost
			default:
				p.take(b, min(int64(len(p.log)), b.Seq()+rng.Int64N(150)))
			}
		}
		if diff := cmp.Diff(want, all(t, books[0], p.now)); diff != "" {
			t.Fatalf("after stops and starts (-want +got):\n%s", diff)
		}
		for _, b := range books {
			p.take(b, int64(len(p.log)))
			if err := b.Keep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		again := open(t, db)
		if again.Seq() != int64(len(p.log)) {
			t.Errorf("after all is kept Seq() = %d, want %d", again.Seq(), len(p.log))
		}
		if diff := cmp.Diff(want, all(t, again, p.now)); diff != "" {
			t.Errorf("from what is kept (-want +got):\n%s", diff)
		}
	})
}

// A process that runs follows, keeps when it ends, and begins anew with the log of another database.
func TestRun(t *testing.T) {
	db := storetest.Open(t)
	p := &past{t: t, now: start}
	p.does(act{agent: "a", session: "s", action: "x", within: `["c"]`})
	run := func(p *past, want int64) {
		t.Helper()
		b := activity.New(activity.Config{Store: db})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- b.Run(ctx, p) }()
		for deadline := time.Now().Add(10 * time.Second); b.Seq() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("Seq() = %d, want %d", b.Seq(), want)
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if h, err := db.ActivityHead(t.Context()); err != nil || h.Seq != want || h.Format != activity.Format {
			t.Errorf("head %+v, %v, want entry %d", h, err, want)
		}
	}
	run(p, 1)
	for range 9 {
		p.does(act{agent: "a", session: "s", action: "x"})
	}
	run(p, 10)
	other := &past{t: t, now: start}
	other.does(act{agent: "z", session: "s", action: "x"})
	run(other, 1)
	b := open(t, db)
	if ps, err := b.Session(t.Context(), "s"); err != nil || len(ps) != 1 || ps[0].Agent != "z" {
		t.Errorf("Session(s) = %+v, %v, want that of z alone", ps, err)
	}
}

// What falls out of a session's list, or of an agent's sessions, is counted still.
func TestBounds(t *testing.T) {
	p := &past{t: t, now: start}
	for range 1500 {
		p.does(act{agent: "a", session: "long", action: "x"})
	}
	for i := range 40 {
		p.does(act{agent: "a", session: "s", action: fmt.Sprint("act-", i), within: `["c"]`})
	}
	b := open(t, storetest.Open(t))
	p.take(b, int64(len(p.log)))
	ps, err := b.Session(t.Context(), "long")
	if err != nil {
		t.Fatal(err)
	}
	if s := ps[0]; s.Calls != 1500 || len(s.Entries) != 1024 || s.Entries[0] != 477 || s.Entries[1023] != 1500 {
		t.Errorf("%d calls and %d entries, %d to %d, want 1500 and the newest 1024", s.Calls, len(s.Entries), s.Entries[0], s.Entries[len(s.Entries)-1])
	}
	u, err := b.Use(t.Context(), "a", start, start)
	if err != nil {
		t.Fatal(err)
	}
	if c := u.Capabilities["c"]; len(c.Actions) != 33 || c.Actions[0] != (activity.Count{Name: activity.Others, Count: 8}) {
		t.Errorf("actions %v, want 32 and 8 others", c.Actions)
	}
}

func BenchmarkTake(b *testing.B) {
	p := &past{t: b, now: start}
	p.live(rand.New(rand.NewPCG(1, 2)), 20_000)
	book := open(b, storetest.Open(b))
	b.ResetTimer()
	n := 0
	for b.Loop() {
		e := p.log[n%len(p.log)]
		n++
		e.Seq = int64(n)
		if err := book.Take(b.Context(), &e); err != nil {
			b.Fatal(err)
		}
	}
}
