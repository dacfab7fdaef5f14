package server_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/feed"
	"github.com/safeconduct/safeconduct/internal/server"
)

// numbersOf returns the entries of an actor's records in a journal, by their numbers, as the log has them.
func (r *running) numbersOf(actor, journal string) map[int64][]int64 {
	r.Helper()
	all := map[int64][]int64{}
	for _, kind := range []string{"decision.made", "outcome.reported", "edge.refused"} {
		var page struct {
			Items []struct {
				Seq  int64
				Body struct {
					Edge struct {
						Journal string
						Number  int64
					}
				}
			}
		}
		r.into(r.do("GET", "/v1/audit/entries?limit=1000&kind="+kind+"&actor="+actor, adminToken, ""), &page)
		for _, e := range page.Items {
			if e.Body.Edge.Journal == journal {
				all[e.Body.Edge.Number] = append([]int64{e.Seq}, all[e.Body.Edge.Number]...)
			}
		}
	}
	return all
}

// However two replicas are sent the same, each record counts once, and both say the same of it.
func TestEdgeReplicas(t *testing.T) {
	a, b := replicasOf(t, trusting(t))
	a.party("clerk", "EdDSA")
	token := a.edge("gate")
	j := a.elsewhere(token, "J1", "clerk")
	eventually(t, "the other replica knows the caller", func() bool { return b.do("GET", "/v1/edge/policies/1", token, "").status == 200 })
	k := &journalist{b, token, "J1", j.model}
	before := a.decisionsOf("clerk")
	now := time.Now()
	const rounds, each = 25, 4
	for round := range int64(rounds) {
		first := 1 + round*each
		var records []feed.Record
		for i := range int64(each - 1) {
			records = append(records, j.decision(now, fmt.Sprint("l", first+i)))
		}
		records = append(records, came(first, `{"latency_ms":5}`))
		sides := []*journalist{j, k, j, k}
		acks := make([]feed.Acknowledged, len(sides))
		ready := make(chan struct{})
		var wg sync.WaitGroup
		for i, side := range sides {
			wg.Go(func() {
				<-ready
				acks[i] = side.upload(first, records...)
			})
		}
		close(ready)
		wg.Wait()
		for _, ack := range acks {
			if ack.Last != first+each-1 || fmt.Sprint(ack.Seqs) != fmt.Sprint(acks[0].Seqs) || ack.Seqs[0] == 0 {
				t.Fatalf("round %d: acknowledged %+v and %+v", round, ack, acks[0])
			}
		}
	}
	twice := 0
	numbers := a.numbersOf("edge:gate", "J1")
	for n := int64(1); n <= rounds*each; n++ {
		if len(numbers[n]) == 0 {
			t.Errorf("record %d is in no entry", n)
		}
		twice += max(0, len(numbers[n])-1)
	}
	t.Logf("%d records of %d stand in the log twice", twice, rounds*each)
	for _, r := range []*running{a, b} {
		if got := r.decisionsOf("clerk") - before; got != rounds*(each-1) {
			t.Errorf("monitors have taken in %d decisions, want %d", got, rounds*(each-1))
		}
	}
}

// decisionsOf returns how many decisions monitors have taken in of an agent.
func (r *running) decisionsOf(agent string) int64 {
	r.Helper()
	var s struct{ Decisions int64 }
	r.into(r.do("GET", "/v1/agents/"+agent+"/trust", adminToken, ""), &s)
	return s.Decisions
}

// A gate holds the store's answers, or its work, while it is shut, for batches of some entries: an upload, no heartbeat.
type gate struct {
	audit.Store
	mu    sync.Mutex
	shut  chan struct{} // nil if it is open
	after bool          // what is asked for is done, and only the answer is held
	held  chan struct{} // gets one for each that is held
}

func (g *gate) close(after bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.after = make(chan struct{}), after
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// Append implements audit.Store.
func (g *gate) Append(ctx context.Context, old audit.Head, s audit.Segment) (err error) {
	g.mu.Lock()
	shut, after := g.shut, g.after
	g.mu.Unlock()
	if shut == nil || s.Count < 2 {
		return g.Store.Append(ctx, old, s)
	}
	if after {
		err = g.Store.Append(ctx, old, s)
	}
	select {
	case g.held <- struct{}{}:
	default:
	}
	<-shut
	if !after {
		err = g.Store.Append(ctx, old, s)
	}
	return err
}

func gated(cfg server.Config) (server.Config, *gate) {
	g := &gate{held: make(chan struct{}, 1)}
	cfg.WrapLog(func(s audit.Store) audit.Store { g.Store = s; return g })
	return cfg, g
}

// One replica is held while it writes what another writes meanwhile: then the same stands in the log twice, and counts once.
func TestEdgeReplicasRace(t *testing.T) {
	cfg := trusting(t)
	a, b := replicasOf(t, cfg)
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	second, g := gated(b.cfg)
	b = start(t, second)
	a.party("clerk", "EdDSA")
	token := a.edge("gate")
	j := a.elsewhere(token, "J1", "clerk")
	eventually(t, "the other replica knows the caller", func() bool { return b.do("GET", "/v1/edge/policies/1", token, "").status == 200 })
	k := &journalist{b, token, "J1", j.model}
	before := a.decisionsOf("clerk")
	now := time.Now()
	records := []feed.Record{j.decision(now, "l1"), came(1, `{"result":"harmful"}`), j.decision(now, "l2")}

	g.close(false)
	defer g.open()
	slow := make(chan feed.Acknowledged, 1)
	go func() { slow <- k.upload(1, append(records, j.decision(now, "l3"))...) }()
	<-g.held
	fast := j.upload(1, records...)
	g.open()
	late := <-slow
	if fast.Last != 3 || late.Last != 4 || fmt.Sprint(late.Seqs[:3]) != fmt.Sprint(fast.Seqs) || late.Seqs[3] == 0 {
		t.Errorf("acknowledged %+v and %+v", fast, late)
	}
	numbers := b.numbersOf("edge:gate", "J1")
	if len(numbers[1]) != 2 || numbers[1][0] != fast.Seqs[0] || len(numbers[4]) != 1 {
		t.Errorf("entries by number: %v; want 1 to 3 twice, of which the first count: %v", numbers, fast.Seqs)
	}
	for _, r := range []*running{a, b} {
		eventually(t, "the replica has taken all in", func() bool { return r.decisionsOf("clerk")-before >= 3 })
		if got := r.decisionsOf("clerk") - before; got != 3 {
			t.Errorf("monitors have taken in %d decisions, want 3", got)
		}
		if ack := (&journalist{r, token, "J1", j.model}).upload(1, records...); ack.Last != 4 || fmt.Sprint(ack.Seqs) != fmt.Sprint(fast.Seqs) {
			t.Errorf("afterwards: %+v", ack)
		}
	}
}

// The process dies when the records are in the log and nobody has been told: what is sent again is not recorded again.
func TestEdgeRecordsKilled(t *testing.T) {
	cfg, g := gated(trusting(t))
	r := start(t, cfg)
	r.party("clerk", "EdDSA")
	token := r.edge("gate")
	j := r.elsewhere(token, "J1", "clerk")
	before := r.decisionsOf("clerk")
	now := time.Now()
	records := []feed.Record{j.decision(now, "l1"), came(1, `{"result":"wrong"}`), j.decision(now, "l2")}
	ack := j.upload(1, records...)

	records = append(records, j.decision(now, "l3"), came(4, `{"fault":"tool"}`))
	g.close(true)
	defer g.open()
	ctx, giveUp := context.WithCancel(t.Context())
	body := j.body(4, records[3:]...)
	sent := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, "POST", r.URL()+"/v1/edge/records", strings.NewReader(body))
		if err == nil {
			req.Header.Set("Authorization", "Bearer "+token)
			req.Header.Set("Content-Type", "application/json")
			_, err = r.http.Do(req)
		}
		sent <- err
	}()
	<-g.held // it is in the log
	// What another process finds that starts now is what one finds after a kill.
	second := cfg
	second.WrapLog(nil)
	second.Data = t.TempDir()
	if err := os.CopyFS(second.Data, os.DirFS(r.cfg.Data)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"log.key", "seal.key"} { // CopyFS makes them readable for all
		if err := os.Chmod(filepath.Join(second.Data, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	next := start(t, second)
	giveUp()
	if err := <-sent; err == nil {
		t.Error("there was an answer before the log had one")
	}
	k := &journalist{next, token, "J1", j.model}
	again := k.upload(1, records...)
	if again.Last != 5 || fmt.Sprint(again.Seqs[:3]) != fmt.Sprint(ack.Seqs) || again.Refused != nil {
		t.Errorf("acknowledged %+v after a kill, %+v before", again, ack)
	}
	for n, seqs := range next.numbersOf("edge:gate", "J1") {
		if len(seqs) != 1 || seqs[0] != again.Seqs[n-1] {
			t.Errorf("record %d stands in entries %v, and is acknowledged as %d", n, seqs, again.Seqs[n-1])
		}
	}
	if got := next.decisionsOf("clerk") - before; got != 3 {
		t.Errorf("monitors have taken in %d decisions, want 3", got)
	}
}

// A reader who does not read is cut off, and holds nothing up.
func TestEdgeFeedSlow(t *testing.T) {
	r := start(t, organisation(t, testdata("search")))
	token := r.edge("gate")
	const agent = `{"owner":"ops","purpose":"billing","version":"1","if_revision":0,"why":"new"}`
	r.do("PUT", "/v1/agents/bot", adminToken, agent)
	slow, quick := r.follow(token), r.follow(token)
	quick.until(feed.EventReady, nil)
	_ = slow // reads nothing
	a := quick.agent
	for i := range 3 {
		id := fmt.Sprint("bot-", i)
		if rep := r.do("PUT", "/v1/agents/"+id, adminToken, agent); rep.status != 200 {
			t.Fatal(rep.body)
		}
		if got := a(id, nil); got.Agent.Owner != "ops" {
			t.Errorf("told %+v", got.Agent)
		}
	}
	began := time.Now()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the service took %v to stop with feeds open", took)
	}
}

// A passport is looked at without its proof, and the decision point learns how it is bound.
func TestEdgePassport(t *testing.T) {
	r := start(t, trusting(t))
	p := r.party("clerk", "EdDSA")
	token := r.edge("gate")
	access := p.token("read-ledger").Token
	var claims struct {
		Aud any `json:"aud"`
		Cnf struct {
			JKT string `json:"jkt"`
		} `json:"cnf"`
	}
	parts := strings.Split(access, ".")
	if err := json.Unmarshal(must(base64.RawURLEncoding.DecodeString(parts[1])), &claims); err != nil {
		t.Fatal(err)
	}
	audience := claims.Aud
	if list, ok := audience.([]any); ok {
		audience = list[0]
	}
	look := func(text, audience string) (b feed.Bearer) {
		t.Helper()
		r.into(r.do("POST", "/v1/edge/passport", token, object{"token": text, "audience": audience}.json()), &b)
		return b
	}
	b := look(access, audience.(string))
	if !b.Active || b.Agent != "clerk" || b.KeyHash == "" || b.KeyHash != claims.Cnf.JKT || len(b.Passport.Details) != 1 || b.Passport.Expires.IsZero() {
		t.Errorf("the bearer: %+v", b)
	}
	for what, got := range map[string]feed.Bearer{
		"another audience": look(access, "https://elsewhere.example"),
		"another token":    look(parts[0]+"."+parts[1]+".AAAA", audience.(string)),
		"no token":         look("x", audience.(string)),
	} {
		if got.Active || got.Code != "invalid_token" || got.Why == "" || got.Agent != "" {
			t.Errorf("%s: %+v", what, got)
		}
	}
	f := r.follow(token)
	f.until(feed.EventReady, nil)
	if rep := r.do("POST", "/v1/agents/clerk/state", adminToken, `{"state":"suspended","why":"odd"}`); rep.status != 200 {
		t.Fatal(rep.body)
	}
	f.until(feed.EventStanding, nil)
	if b := look(access, audience.(string)); b.Active {
		t.Errorf("the bearer is suspended: %+v", b)
	}
}
