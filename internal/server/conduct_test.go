package server_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/server"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
	"github.com/safeconduct/safeconduct/internal/token"
)

// trusting is the organisation of testdata/passports, in which who is little trusted neither pays nor
// carries the right to, and who is trusted with nothing does nothing.
func trusting(t testing.TB) server.Config {
	t.Helper()
	cfg := passports(t)
	file := filepath.Join(t.TempDir(), "trust.cedar")
	if err := os.WriteFile(file, []byte(`
@id("little-trust")
forbid (principal is Agent, action == Action::"pay", resource)
when { context.observed.trust.rank < 2 };

@id("little-trust-carries-little")
forbid (principal is Agent, action == Action::"token.issue", resource == Capability::"pay-invoices")
when { context.observed.trust.rank < 2 };

@id("no-trust")
forbid (principal is Agent, action, resource)
when { context.observed.trust.rank == 0 };
`), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Organisation.Policies = append(slices.Clone(cfg.Organisation.Policies), file)
	return cfg
}

// A verdict is what the service answered to one question.
type verdict struct {
	Decision bool
	Context  struct {
		ID      string `json:"evaluation_id"`
		Reasons []struct{ Code, Message string }
	}
}

// act asks whether an agent may act on a resource, in a session.
func (r *running) act(agent, action, args, resource, session string) (v verdict) {
	r.Helper()
	r.into(r.ask("/access/v1/evaluation", asked(agent, action, args, resource, session)), &v)
	return v
}

func asked(agent, action, args, resource, session string) string {
	if args == "" {
		args = "{}"
	}
	return fmt.Sprintf(`{"subject":{"type":"agent","id":%q},"action":{"name":%q,"properties":%s},"resource":{"type":"Ledger","id":%q},`+
		`"context":{"observed":{"session":%q,"task":"closing"}}}`, agent, action, args, resource, session)
}

// outcome reports what came of a decision.
func (r *running) outcome(v verdict, token, result string) {
	r.Helper()
	if rep := r.do("POST", "/v1/decisions/"+v.Context.ID+"/outcome", token, object{"result": result, "why": "test"}.json()); rep.status != 200 {
		r.Fatalf("reporting %s of %s: %d %s", result, v.Context.ID, rep.status, rep.body)
	}
}

// A standing is what the service says of the trust in an agent.
type standing struct {
	AsOf        int64 `json:"as_of"`
	Quarantined bool
	Classes     []struct {
		Class, Level string
		Score        float64
	}
	Findings []struct{ ID, Kind, State string }
}

func (s standing) level(class string) string {
	for _, c := range s.Classes {
		if c.Class == class {
			return c.Level
		}
	}
	return ""
}

func (r *running) standing(agent string) (s standing) {
	r.Helper()
	r.into(r.do("GET", "/v1/agents/"+agent+"/trust", adminToken, ""), &s)
	return s
}

// What an agent has done wrong takes powers from it at the very next question, by class: decisions,
// passports that live, passports to come. A person can give them back.
func TestTrustDecides(t *testing.T) {
	r := start(t, trusting(t))
	p := r.party("clerk", "EdDSA")
	access := p.token("read-ledger pay-invoices").Token
	if got, want := p.introspect(access)["scope"], "pay-invoices read-ledger"; got != want {
		t.Fatalf("introspected as %v, want %q", got, want)
	}
	paid := r.act("clerk", "pay", `{"amount":10}`, "l1", "s1")
	if !paid.Decision {
		t.Fatalf("an agent without a past may not pay: %+v", paid)
	}

	r.outcome(paid, adminToken, "harmful")
	if v := r.act("clerk", "pay", `{"amount":10}`, "l1", "s2"); v.Decision {
		t.Errorf("after a harmful payment the agent pays again")
	} else {
		for _, reason := range v.Context.Reasons {
			if strings.Contains(strings.ToLower(reason.Message), "trust") {
				t.Errorf("the agent is told of its trust: %q", reason.Message)
			}
		}
	}
	if v := r.act("clerk", "list_entries", "", "l1", "s2"); !v.Decision {
		t.Errorf("after a harmful payment the agent may not even read: %+v", v)
	}
	if got, want := p.introspect(access)["scope"], "read-ledger"; got != want {
		t.Errorf("a passport from before is introspected as %v, want %q", got, want)
	}
	if acr, _ := p.introspect(access)["acr"].(string); strings.HasSuffix(acr, ":medium") || strings.HasSuffix(acr, ":high") {
		t.Errorf("introspection says %q of an agent that was lowered", acr)
	}
	claim, _ := p.introspect(access)[token.ConductClaim].(map[string]any)
	if score, _ := claim["score"].(float64); claim["level"] != "low" || score != math.Round(score*10)/10 {
		t.Errorf("introspection says of conduct %v, want low, and no more than the tenth of the score", claim)
	}
	if s := r.standing("clerk"); s.level("money") == "medium" || s.level("money") == "high" || s.level("read") != "medium" {
		t.Errorf("the agent's standing is %+v, want money lowered and read not", s)
	}

	set := object{"class": "money", "level": "medium", "restore": true, "why": "looked into"}
	if rep := r.do("POST", "/v1/agents/clerk/trust", adminToken, set.json()); rep.status != 200 {
		t.Fatalf("restoring: %d %s", rep.status, rep.body)
	}
	if v := r.act("clerk", "pay", `{"amount":10}`, "l1", "s3"); !v.Decision {
		t.Errorf("a person restored the agent, and it may not pay: %+v", v)
	}
	if got, want := p.introspect(access)["scope"], "pay-invoices read-ledger"; got != want {
		t.Errorf("a passport of an agent that was restored is introspected as %v, want %q", got, want)
	}
}

// In shadow nothing is decided by trust, and the report says what would be.
func TestTrustInShadow(t *testing.T) {
	cfg := trusting(t)
	text := string(must(os.ReadFile(cfg.Organisation.Catalog))) + "\nconduct:\n  mode: shadow\n"
	cfg.Organisation.Catalog = filepath.Join(t.TempDir(), "catalog.yaml")
	if err := os.WriteFile(cfg.Organisation.Catalog, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, cfg)
	r.outcome(r.act("clerk", "pay", `{"amount":10}`, "l1", "s1"), adminToken, "harmful")
	if v := r.act("clerk", "pay", `{"amount":10}`, "l1", "s2"); !v.Decision {
		t.Errorf("in shadow the agent may not pay: %+v", v)
	}
	if s := r.standing("clerk"); s.level("money") == "medium" || s.level("money") == "high" {
		t.Errorf("in shadow the standing is %+v, want money lowered", s)
	}
}

// After the monitor's tables are gone, its state is made again from the log: the same findings and the
// same trust.
func TestMonitorStateIsRebuilt(t *testing.T) {
	cfg := trusting(t)
	r := start(t, cfg)
	for i := range 12 {
		r.act("clerk", "lock", "", fmt.Sprintf("l%d", i), "s1")
		r.act("helper", "list_entries", "", "l1", "s2")
		r.act("third", "list_entries", "", "third", "s3") // itself
	}
	r.outcome(r.act("clerk", "pay", `{"amount":10}`, "l1", "s4"), adminToken, "harmful")
	r.outcome(r.act("helper", "pay", `{"amount":10}`, "l1", "s4"), pepToken, "wrong")
	before := map[string]standing{}
	for _, agent := range []string{"clerk", "helper", "third"} {
		before[agent] = r.standing(agent)
	}
	findings := func(r *running) string { return r.do("GET", "/v1/findings?limit=100", adminToken, "").body }
	eventually(t, "findings are listed", func() bool { return strings.Contains(findings(r), `"agent":"third"`) })
	listed := findings(r)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}

	forget(t, cfg)
	r = start(t, cfg)
	for agent, want := range before {
		got := r.standing(agent)
		if got.AsOf < want.AsOf {
			t.Errorf("%s is known up to entry %d after the start, want %d at least", agent, got.AsOf, want.AsOf)
		}
		got.AsOf = want.AsOf
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s after the tables were deleted:\n%+v\nwant\n%+v", agent, got, want)
		}
	}
	if got := findings(r); got != listed {
		t.Errorf("findings after the tables were deleted:\n%s\nwant\n%s", got, listed)
	}
}

// From the entry that lowers trust to a decision that goes by it, under a load of 5,000 decisions a
// second. The bound is for the slowest of a hundred but one; the machine may be busy with other things,
// so that the best of three attempts counts.
func TestSignalsReachDecisionsInTime(t *testing.T) {
	if testing.Short() {
		t.Skip("measures under load")
	}
	const rate, batch, trials, bound = 5000, 50, 100, 250 * time.Millisecond
	cfg := trusting(t)
	agents := filepath.Join(t.TempDir(), "agents.yaml")
	var text strings.Builder
	text.WriteString("agents:\n")
	for i := range 3*trials + 50 {
		fmt.Fprintf(&text, "  - {id: a%d, owner: o%d, purpose: bookkeeping, version: \"1\", creator: finance, capabilities: [read-ledger, pay-invoices]}\n", i, i)
	}
	if err := os.WriteFile(agents, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Organisation.Agents = agents
	r := start(t, cfg)

	var wg sync.WaitGroup
	done := make(chan struct{})
	var made atomic.Int64
	for lane := range 2 {
		wg.Go(func() {
			tick := time.NewTicker(2 * batch * time.Second / (rate + rate/5)) // a tick may be lost
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				case <-tick.C:
				}
				var items []string
				for i := range batch {
					q := asked(fmt.Sprintf("a%d", 3*trials+(n+i)%50), "list_entries", "", fmt.Sprintf("l%d", (n*batch+i)%7), fmt.Sprintf("s%d-%d", lane, n/10))
					items = append(items, q)
				}
				if rep := r.ask("/access/v1/evaluations", `{"evaluations":[`+strings.Join(items, ",")+`]}`); rep.status != 200 {
					t.Errorf("load: %d %s", rep.status, rep.body)
					return
				}
				made.Add(batch)
			}
		})
	}
	best := time.Hour
	for attempt := range 3 {
		var took []time.Duration
		begin, before := time.Now(), made.Load()
		for i := range trials {
			agent := fmt.Sprintf("a%d", attempt*trials+i)
			v := r.act(agent, "pay", `{"amount":10}`, "l1", agent)
			if !v.Decision {
				t.Fatalf("%s may not pay: %+v", agent, v)
			}
			since := time.Now()
			r.outcome(v, adminToken, "harmful")
			for r.act(agent, "pay", `{"amount":10}`, "l1", agent).Decision {
				if time.Since(since) > 20*time.Second {
					t.Fatal("a harmful outcome does not lower trust")
				}
			}
			took = append(took, time.Since(since))
		}
		slices.Sort(took)
		p99 := took[trials-2]
		best = min(best, p99)
		t.Logf("attempt %d: from a harmful outcome to a decision that goes by it p50 %v, p99 %v, under %.0f decisions/s",
			attempt+1, took[trials/2].Round(10*time.Microsecond), p99.Round(10*time.Microsecond), float64(made.Load()-before)/time.Since(begin).Seconds())
		if p99 < bound {
			break
		}
	}
	close(done)
	wg.Wait()
	if best >= bound {
		t.Errorf("from a harmful outcome to a decision that goes by it p99 %v, want less than %v", best, bound)
	}
}

// What one replica heard takes powers away at the other.
func TestTrustReachesAllReplicas(t *testing.T) {
	a, b := replicasOf(t, trusting(t))
	v := a.act("clerk", "pay", `{"amount":10}`, "l1", "s1")
	since := time.Now()
	a.outcome(v, adminToken, "harmful")
	within(t, "a harmful outcome at one replica takes payments away at the other", since, func() bool {
		return !b.act("clerk", "pay", `{"amount":10}`, "l1", "s2").Decision
	})
	eventually(t, "both say the same of the agent", func() bool {
		x, y := a.standing("clerk"), b.standing("clerk")
		x.AsOf, y.AsOf = 0, 0
		return fmt.Sprint(x) == fmt.Sprint(y)
	})
}

// forget deletes everything that the monitor of a stopped service has kept.
func forget(t *testing.T, cfg server.Config) {
	t.Helper()
	c := store.Config{Postgres: cfg.Postgres}
	if c.Postgres == "" {
		c.SQLite = filepath.Join(cfg.Data, server.DatabaseFile)
	}
	db := storetest.OpenConfig(t, c)
	for _, table := range []string{"monitor_agent", "monitor_head", "finding"} {
		db = storetest.Empty(t, db, table)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
