package monitor_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

// sink brings an agent low: findings on several days.
func (w *world) sink(g *registration) {
	w.t.Helper()
	w.publish(abroad)
	for range 8 {
		w.now = w.now.Add(2 * time.Hour)
		w.does(g, work)
	}
	w.publish(usual)
	if t, _ := w.m.Conduct(authz.AgentID(g.id), "write", w.now); t.Rank() > 1 {
		w.t.Fatalf("after 8 findings trust is %v", t)
	}
}

func (w *world) level(id authz.AgentID) string {
	w.t.Helper()
	t, _ := w.m.Conduct(id, "write", w.now)
	return t.Level
}

// Who is lowered starts no higher under another name, another version, or after it was retired.
func TestNoFreshStart(t *testing.T) {
	w := newWorld(t)
	g := bot("a", "team")
	w.put(g)
	w.sink(g)
	low := w.level("a")
	twin := bot("twin", "team")
	w.put(twin)
	if got := w.level("twin"); got != low {
		t.Errorf("another agent of the same owner starts %s, want %s", got, low)
	}
	stranger := bot("stranger", "others")
	stranger.purpose = "elsewhere"
	w.put(stranger)
	if got := w.level("stranger"); got != "medium" {
		t.Errorf("an agent of another owner starts %s, want medium", got)
	}
	g.version = "2"
	w.put(g)
	if got := w.level("a"); got > low && got != "low" {
		t.Errorf("a new version starts %s, was %s", got, low)
	}
	for _, gone := range []*registration{g, twin} {
		gone.state = authz.AgentRetired
		w.put(gone)
		if _, err := w.m.Report(authz.AgentID(gone.id), w.now); !errors.Is(err, authz.ErrNotFound) {
			t.Errorf("Report of a retired agent: %v, want authz.ErrNotFound", err)
		}
	}
	late := *g
	late.state, late.revision = authz.AgentActive, 2
	w.does(&late, work) // a decision that was under way
	if _, err := w.m.Report("a", w.now); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("Report of a retired agent, after a decision under way: %v, want authz.ErrNotFound", err)
	}
	w.now = w.now.Add(48 * time.Hour)
	w.put(bot("b", "team"))
	if got := w.level("b"); got == "medium" || got == "high" {
		t.Errorf("after all agents of an owner are retired its next starts %s", got)
	}
	// What was kept says so, too.
	if err := w.m.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.m = w.monitor()
	if err := w.m.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.put(bot("c", "team"))
	if got := w.level("c"); got == "medium" || got == "high" {
		t.Errorf("after a restart the owner's next agent starts %s", got)
	}
}

// What an agent's work and its confidence were worth is the version's own.
func TestNewVersionIsMeasuredAnew(t *testing.T) {
	w := newWorld(t)
	w.publish("\nconduct: {deviation: off, escalation: off, compliance: off}\n")
	g := bot("a", "team")
	w.put(g)
	told := func(n int, r conduct.Result) (last int64) {
		for range n {
			last = w.does(g, work)
			w.must(audit.OutcomeReported, "admin:anna", outcome(g, last, w.now, r))
		}
		return last
	}
	judged := func() int64 {
		_, c := w.m.Conduct("a", "write", w.now)
		return c.Judged
	}
	told(12, conduct.ResultRight)
	late := w.does(g, work)
	if got := judged(); got == 0 {
		t.Fatal("after twelve outcomes nothing is known of the agent's work")
	}
	g.version = "2"
	w.put(g)
	if got := judged(); got != 0 {
		t.Errorf("of a new version %d outcomes are known, want none", got)
	}
	before, _ := w.m.Conduct("a", "write", w.now)
	w.must(audit.OutcomeReported, "admin:anna", outcome(g, late, w.now, conduct.ResultRight))
	if after, _ := w.m.Conduct("a", "write", w.now); judged() != 0 || after != before {
		t.Errorf("praise of what the old version did moves the new one: %d known, trust %+v, was %+v", judged(), after, before)
	}
	told(12, conduct.ResultRight)
	if got := judged(); got == 0 {
		t.Error("of a new version's outcomes nothing is known")
	}
}

// A decision that an older revision made does not bring the older version back.
func TestRevisions(t *testing.T) {
	w := newWorld(t)
	w.publish(usual)
	g := bot("a", "team")
	w.put(g)
	older := *g
	g.version, g.owner = "2", "others"
	w.put(g)
	w.does(&older, work)
	rep, err := w.m.Report("a", w.now)
	if err != nil || rep.Version != "2" || rep.Decisions != 1 {
		t.Errorf("Report = %+v, %v, want version 2 and a decision", rep, err)
	}
	newer := *g
	newer.version, newer.revision = "3", 9
	w.does(&newer, work)
	if rep, _ := w.m.Report("a", w.now); rep.Version != "3" {
		t.Errorf("after a decision of revision 9 the version is %s, want 3", rep.Version)
	}
	if got, c := w.m.Conduct("nobody", "write", w.now); got != authz.NeutralTrust || !cmp.Equal(c, authz.Conduct{}) {
		t.Errorf("Conduct of nobody = %v, %v", got, c)
	}
}

func TestShadow(t *testing.T) {
	w := newWorld(t)
	g := bot("a", "team")
	w.put(g)
	w.sink(g)
	low := w.level("a")
	before := w.m.Generation()
	w.publish("conduct: {mode: shadow}")
	if w.m.Generation() == before {
		t.Error("Generation is the same after shadow mode began")
	}
	if got, c := w.m.Conduct("a", "write", w.now); got != authz.NeutralTrust || !cmp.Equal(c, authz.Conduct{}) {
		t.Errorf("in shadow mode, Conduct = %v, %v", got, c)
	}
	if _, ok := w.m.Confidence("a", 0.9); ok {
		t.Error("in shadow mode there is a confidence")
	}
	rep, err := w.m.Report("a", w.now)
	if err != nil || !rep.Shadow || rep.Learning || rep.Classes[1].Level != low || len(rep.Findings) == 0 {
		t.Errorf("in shadow mode, Report = %+v, %v", rep, err)
	}
}

// Publications that the library does not take have no effect, a catalog that cannot be had for good leaves
// the rules, and one that cannot be had now holds up the log.
func TestPublish(t *testing.T) {
	w := newWorld(t)
	g := bot("a", "team")
	w.put(g)
	publish := func(version, ifVersion, restores int64) error {
		_, err := w.record(audit.PolicyPublish, "admin:anna", map[string]any{"version": version, "if_version": ifVersion, "restores": restores})
		return err
	}
	w.yaml = map[int64]string{1: abroad, 2: usual, 3: abroad, 5: usual}
	found := func(what string, want bool) {
		t.Helper()
		w.now = w.now.Add(2 * time.Hour)
		before := len(all(t, w.m, 100))
		w.does(g, work)
		if got := len(all(t, w.m, 100)) > before; got != want {
			t.Errorf("%s: a finding is %v, want %v", what, got, want)
		}
	}
	found("nothing published", false)
	for _, c := range []struct {
		what                      string
		version, before, restores int64
		want                      bool
	}{
		{"the first", 1, 0, 0, true}, {"one that comes too late", 1, 0, 0, true}, {"one that comes too soon", 3, 2, 0, true},
		{"the second", 2, 1, 0, false}, {"back to the first", 3, 2, 1, true}, {"one from the future", 4, 3, 9, true},
	} {
		if err := publish(c.version, c.before, c.restores); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		found(c.what, c.want)
	}
	w.yaml[4] = "conduct: 7" // it was good for an older program
	if err := publish(4, 3, 0); err != nil {
		t.Fatal(err)
	}
	found("one that cannot be read", true)
	if err := w.m.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.m = w.monitor()
	if err := w.m.Load(t.Context()); err != nil || w.m.Seq() != int64(len(w.log)) {
		t.Fatalf("Load: %v, Seq() = %d, want %d", err, w.m.Seq(), len(w.log))
	}
	found("one that cannot be read, after a restart", true)

	down := errors.New("down")
	var fail error = down
	m := monitor.New(monitor.Config{Store: w.db, Log: w, Catalog: func(ctx context.Context, v int64) (*catalog.Catalog, error) {
		if fail != nil {
			return nil, fail
		}
		return w.catalog(ctx, v)
	}})
	for _, e := range w.log {
		if err := m.Apply(t.Context(), e); errors.Is(err, down) {
			if m.Seq() != e.Seq-1 {
				t.Fatalf("Seq() = %d while entry %d cannot be applied", m.Seq(), e.Seq)
			}
			fail = nil
			if err := m.Apply(t.Context(), e); err != nil {
				t.Fatalf("entry %d, once there are catalogs: %v", e.Seq, err)
			}
			fail = down
			if e.Kind == audit.PolicyPublish {
				fail = nil
			}
		}
	}
	if m.Seq() != int64(len(w.log)) {
		t.Errorf("Seq() = %d, want %d", m.Seq(), len(w.log))
	}
}

// Entries that are no business of monitors, or damaged, change nothing but the number; one that was
// seen is passed over; one that is left out is refused.
func TestEntries(t *testing.T) {
	w := newWorld(t)
	g := bot("a", "team")
	w.put(g)
	w.does(g, work)
	for kind, body := range map[audit.Kind]string{
		"some.kind": `{"x":1}`, audit.SearchMade: `{}`, audit.AgentPut: `{"agent":7}`, audit.PolicyPublish: `[]`, audit.TokenIssued: `{}`,
	} {
		w.must(kind, "safeconduct", []byte(body))
	}
	for kind, body := range map[audit.Kind]string{
		audit.DecisionMade: `{"facts":{"agent":{"id":7}}}`, audit.OutcomeReported: `{"decision":"x"}`, audit.FindingJudged: `{}`, audit.TrustPut: `{"agent":"a"}`,
	} {
		seq, err := w.record(kind, "safeconduct", []byte(body))
		if !errors.Is(err, authz.ErrInvalid) || w.m.Seq() != seq {
			t.Errorf("%s with a damaged body: %v, Seq() = %d, want authz.ErrInvalid and %d", kind, err, w.m.Seq(), seq)
		}
	}
	before := w.m.State()
	for _, e := range w.log {
		if err := w.m.Apply(t.Context(), e); err != nil {
			t.Errorf("entry %d again: %v", e.Seq, err)
		}
	}
	if string(w.m.State()) != string(before) {
		t.Error("entries that were seen before change something")
	}
	if err := w.m.Apply(t.Context(), audit.Entry{Seq: w.m.Seq() + 2, At: w.now, Kind: audit.Heartbeat, Body: []byte(`{}`)}); err == nil {
		t.Error("an entry can be left out")
	}
}

func TestSignals(t *testing.T) {
	w := newWorld(t)
	w.publish(abroad)
	g := bot("a", "team")
	w.put(g)
	ctx, cancel := context.WithCancel(t.Context())
	heard := w.m.Subscribe(ctx)
	slow := w.m.Subscribe(t.Context())
	seq := w.does(g, work)
	s := <-heard
	if s.Type != monitor.SignalFinding || s.Seq != seq || s.Agent != "a" || s.Finding == nil || s.Finding.Kind != "compliance.region" || !s.At.Equal(w.now) {
		t.Errorf("the first signal is %+v", s)
	}
	generation := w.m.Generation()
	for range 40 {
		w.now = w.now.Add(61 * time.Minute)
		w.does(g, work)
	}
	n, level := 0, "medium"
	for ; len(heard) > 0; n++ {
		if s := <-heard; s.Type == monitor.SignalTrust && s.Class == "write" {
			if s.From != level || s.To == level || s.Agent != "a" {
				t.Errorf("a signal of trust at level %s is %+v", level, s)
			}
			level = s.To
		}
	}
	if n < 41 || level == "medium" || level != w.level("a") || w.m.Generation() == generation {
		t.Errorf("%d signals of 40 findings, which end at level %s, not %s; generation %d, was %d", n, level, w.level("a"), w.m.Generation(), generation)
	}
	for range 400 {
		w.now = w.now.Add(61 * time.Minute)
		w.does(g, work)
		for len(heard) > 0 {
			<-heard
		}
	}
	n = 0
	for range slow { // until it is cut off
		n++
	}
	if n > 300 {
		t.Errorf("a subscriber that does not listen got %d signals", n)
	}
	cancel()
	for range heard {
		n++
	}
}

// Whoever reads meanwhile changes nothing, and sees whole agents.
func TestReaders(t *testing.T) {
	w := newWorld(t)
	w.live(rand.New(rand.NewPCG(9, 10)), 8, 600)
	want := w.m.State()
	m := w.monitor()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				for _, id := range []authz.AgentID{"bot-0", "bot-1", "bot-5", "nobody"} {
					if tr, c := m.Conduct(id, "write", w.now.Add(time.Duration(i)*time.Hour)); tr.Level == "" || c.Lowest.Rank() > tr.Rank() {
						t.Errorf("Conduct(%q) = %v, %v", id, tr, c)
					}
					m.Confidence(id, 0.5)
					if rep, err := m.Report(id, w.now); err == nil && len(rep.Classes) != conduct.Classes {
						t.Errorf("Report(%q) = %+v", id, rep)
					}
				}
				m.Generation()
				if _, err := m.Findings(ctx, monitor.Filter{}, "", 3); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := m.Keep(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	for _, e := range w.log {
		m.Apply(t.Context(), e)
	}
	cancel()
	wg.Wait()
	if string(m.State()) != string(want) {
		t.Error("reading and keeping change what is concluded")
	}
}
