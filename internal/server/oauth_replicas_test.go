package server_test

import (
	"crypto/rand"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/server"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// replicas runs two servers of one installation. They need PostgreSQL: a SQLite file has one server.
func replicas(t *testing.T) (a, b *running) {
	t.Helper()
	return replicasOf(t, passports(t))
}

// replicasOf is replicas of a certain organisation.
func replicasOf(t *testing.T, cfg server.Config) (a, b *running) {
	t.Helper()
	if storetest.Config(t).Postgres == "" {
		t.Skip("needs SAFECONDUCT_TEST_POSTGRES")
	}
	cfg.PublicURL = "http://localhost:8180"
	a = start(t, cfg)
	second := cfg
	second.Data = t.TempDir()
	for _, name := range []string{"log.key", "seal.key"} {
		if err := os.WriteFile(filepath.Join(second.Data, name), must(os.ReadFile(filepath.Join(cfg.Data, name))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return a, start(t, second)
}

// at returns the party as a client of another replica.
func (p *party) at(r *running) *party {
	q := *p
	q.running, q.nonce = r, ""
	return &q
}

// within waits until f holds and returns how long that took since the moment; it must be less than a second.
func within(t *testing.T, what string, since time.Time, f func() bool) time.Duration {
	t.Helper()
	for !f() {
		if time.Since(since) > 20*time.Second {
			t.Fatalf("waiting in vain: %s", what)
		}
	}
	took := time.Since(since)
	if took > time.Second {
		t.Errorf("%s after %v, want less than a second", what, took)
	}
	t.Logf("%s after %v", what, took.Round(10*time.Microsecond))
	return took
}

// An assertion is used once in an installation: what one replica has taken the other refuses, also if
// both are asked at the same moment.
func TestAssertionOnceForAllReplicas(t *testing.T) {
	a, b := replicas(t)
	p := a.party("clerk", "EdDSA")
	eventually(t, "the other replica knows the key", func() bool { return p.at(b).ask("read-ledger").send().status == 200 })

	sides := []*party{p, p.at(b)}
	for i, first := range sides {
		tr := first.ask("read-ledger")
		tr.token()
		other := sides[1-i]
		eventually(t, "the other replica refuses what was used", func() bool {
			return other.ask("read-ledger").with("jti", tr.claims["jti"]).send().status == 401
		})
	}

	const rounds = 150
	won := map[int]int{}
	for range rounds {
		jti := rand.Text()
		tries := make([]*try, 4) // two at each
		for i := range tries {
			tries[i] = sides[i%2].ask("read-ledger").with("jti", jti)
		}
		got := make([]reply, len(tries))
		ready := make(chan struct{})
		var wg sync.WaitGroup
		for i, tr := range tries {
			wg.Go(func() {
				<-ready
				got[i] = tr.send()
			})
		}
		close(ready)
		wg.Wait()
		var winners []int
		for i, rep := range got {
			switch {
			case rep.status == 200:
				winners = append(winners, i)
			case rep.status != 401 || code(rep) != "invalid_client":
				t.Errorf("%d %s", rep.status, rep.body)
			}
		}
		if len(winners) != 1 {
			t.Fatalf("%d of four took one assertion, want 1", len(winners))
		}
		won[winners[0]%2]++
	}
	t.Logf("of %d races one replica won %d, the other %d", rounds, won[0], won[1])
}

// A nonce is good where it was minted and nowhere else, so that a proof is used once without anybody
// having to tell the other.
func TestNoncesOfAnotherReplica(t *testing.T) {
	a, b := replicas(t)
	p := a.party("clerk", "EdDSA")
	q := p.at(b)
	access := p.token("read-ledger").Token
	eventually(t, "the other replica knows the key", func() bool { return q.ask("read-ledger").send().status == 200 })
	if p.nonce == q.nonce {
		t.Fatal("both mint the same nonces")
	}
	rep := p.ask("read-ledger").proving("nonce", q.nonce).send()
	wantError(t, rep, 400, "use_dpop_nonce")
	if fresh := rep.header.Get("DPoP-Nonce"); fresh == "" || fresh == q.nonce {
		t.Errorf("the nonce that came along is %q", fresh)
	}
	wantError(t, q.ask("read-ledger").proving("nonce", p.nonce).send(), 400, "use_dpop_nonce")

	// Likewise at the resource: the very request that one answered is not answered by the other.
	sh := p.show(access, "list_entries", "")
	text := compact(sh.proofHead.json(), sh.with.json(), sh.key)
	sh.text = func() string { return text }
	if rep := sh.send(); rep.status != 200 {
		t.Fatalf("%d %s", rep.status, rep.body)
	}
	sh = q.show(access, "list_entries", "")
	sh.text = func() string { return text }
	if rep := sh.send(); rep.status != 401 || rep.header.Get("DPoP-Nonce") == "" {
		t.Errorf("replayed to another replica: %d %s", rep.status, rep.body)
	}
}

// What is taken back at one replica is gone at the other within a second: a token with what was
// exchanged for it, a key, an agent.
func TestRevocationReachesAllReplicas(t *testing.T) {
	a, b := replicas(t)
	p, h := a.party("clerk", "EdDSA"), a.party("helper", "EdDSA")
	eventually(t, "the other replica knows the keys", func() bool {
		return p.at(b).ask("read-ledger").send().status == 200 && h.at(b).ask("read-ledger").send().status == 200
	})
	var took []time.Duration
	for range 5 {
		access := p.token("read-ledger", "may_act", "helper").Token
		eventually(t, "the other replica introspects a new token", func() bool { return b.active(access) })
		child := h.at(b).exchange(access, "read-ledger").token().Token
		since := time.Now()
		if rep := p.form("/oauth2/revoke", "token", access); rep.status != 200 {
			t.Fatalf("revoking: %d %s", rep.status, rep.body)
		}
		if a.active(access) {
			t.Error("a revoked token is active where it was revoked")
		}
		took = append(took, within(t, "revoked at one replica, a token is inactive at the other", since, func() bool { return !b.active(access) }))
		took = append(took, within(t, "and what was exchanged for it", since, func() bool { return !b.active(child) && !a.active(child) }))
	}
	slices.Sort(took)
	t.Logf("slowest %v, median %v", took[len(took)-1], took[len(took)/2])

	// A key that is revoked authenticates nowhere, and its tokens are gone.
	access := h.token("read-ledger").Token
	eventually(t, "the other replica introspects a new token", func() bool { return b.active(access) })
	since := time.Now()
	if rep := a.do("POST", "/v1/agents/helper/keys/revoke", adminToken, object{"key": h.kid, "why": "test"}.json()); rep.status != 200 {
		t.Fatalf("revoking: %d %s", rep.status, rep.body)
	}
	within(t, "a revoked key's token is inactive at the other", since, func() bool { return !b.active(access) })
	within(t, "a revoked key authenticates nowhere", since, func() bool {
		return h.ask("read-ledger").send().status == 401 && h.at(b).ask("read-ledger").send().status == 401
	})

	// The status list says so too.
	list, _ := claimsOf(t, access)["status"].(map[string]any)["status_list"].(map[string]any)
	if uri, err := url.Parse(list["uri"].(string)); err != nil {
		t.Error(err)
	} else if rep := b.do("GET", uri.Path, "", ""); rep.status != 200 {
		t.Errorf("the status list at the other replica: %d %s", rep.status, rep.body)
	}
}

// The kill switch stops an agent in every respect and at every replica in less than a second, with
// everything that others hold in its name.
func TestKillSwitch(t *testing.T) {
	a, b := replicas(t)
	p, h := a.party("clerk", "EdDSA"), a.party("helper", "EdDSA")
	both := []*running{a, b}
	eventually(t, "the other replica knows the keys", func() bool {
		return p.at(b).ask("read-ledger").send().status == 200 && h.at(b).ask("read-ledger").send().status == 200
	})
	access := p.token("read-ledger", "may_act", "helper").Token
	child := h.exchange(access, "read-ledger").token().Token
	for _, r := range both {
		eventually(t, "the tokens count everywhere", func() bool {
			return r.active(access) && r.active(child) && r.presented(p, access, "list_entries", "") && r.presented(h, child, "list_entries", "")
		})
	}
	sides := []*party{p, p.at(b)}
	for _, side := range sides {
		side.nonce = side.freshNonce()
	}

	since := time.Now()
	a.state("clerk", "suspended")
	t.Logf("suspended after %v", time.Since(since).Round(10*time.Microsecond))
	for i, r := range both {
		name := []string{"at the replica that was told", "at the other"}[i]
		within(t, "introspection "+name, since, func() bool { return !r.active(access) })
		within(t, "introspection of what was exchanged, "+name, since, func() bool { return !r.active(child) })
		within(t, "decisions with the passport "+name, since, func() bool { return !r.presented(p, access, "list_entries", "") })
		within(t, "decisions with a delegated passport "+name, since, func() bool { return !r.presented(h, child, "list_entries", "") })
		within(t, "decisions for itself "+name, since, func() bool { return sides[i].show(access, "list_entries", "").send().status == 401 })
		within(t, "issuing "+name, since, func() bool { return sides[i].ask("read-ledger").send().status == 401 })
		within(t, "exchanging "+name, since, func() bool { return h.at(r).exchange(access, "read-ledger").send().status == 400 })
	}

	// Restored, it goes on.
	a.state("clerk", "active")
	for _, side := range sides {
		eventually(t, "the agent is back", func() bool { return side.ask("read-ledger").send().status == 200 })
	}
}
