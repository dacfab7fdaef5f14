package audit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/audit/audittest"
)

// A made entry knows what it can be found by.
type made struct {
	seq                                                     int64
	at                                                      time.Time
	kind, actor, agent, action, resource, outcome, code, id string
}

// The index, in any state of lag, finds what a plain walk over all entries finds.
func TestFindFindsAll(t *testing.T) {
	if testing.Short() {
		t.Skip("searches thousands of times, by one goroutine")
	}
	synctest.Test(t, func(t *testing.T) {
		store := &audittest.Memory{}
		l, _ := start(t, store, audit.Config{Heartbeat: -1, MemoryBytes: 50000})
		x := audit.NewIndex(l, store)
		audit.SetGroup(x, 2)
		rnd := rand.New(rand.NewPCG(3, 4))
		pick := func(s ...string) string { return s[rnd.IntN(len(s))] }
		var ms []made
		record := func(n int) {
			for len(ms) < n {
				m := made{kind: "decision.made", actor: "pep:" + pick("one", "two"), agent: fmt.Sprintf(pick("bot-%d", `b"o\%d{`), rnd.IntN(500)),
					action: pick("send_money", "read.file", "delete"), resource: fmt.Sprintf("file:doc %d", rnd.IntN(50)),
					outcome: pick("allow", "allow", "allow", "deny"), code: pick("allowed", "forbidden")}
				m.id = fmt.Sprintf("rare%d", rnd.IntN(4000))
				d := audit.Draft{Kind: audit.Kind(m.kind), Actor: m.actor}
				d.Body = fmt.Appendf(nil, `{"x":[{"request":{}}],"request":{"z":{"id":1},"subject":{"type":"agent","id":%q,"properties":{"id":"no"}},`+
					`"action":{"properties":{"name":"no"},"name":%q},"resource":{"type":"file","id":%q}},"facts":{"decision":{"code":"no"}},`+
					`"decision":{"effect":%q,"code":%q,"reasons":[]}}`, m.agent, m.action, strings.TrimPrefix(m.resource, "file:"), m.outcome, m.code)
				if rnd.IntN(20) == 0 {
					m = made{kind: "agent.put", actor: "admin:eve", agent: m.agent, id: m.id}
					d = draft("agent.put", `{"agent":{"id":%q,"owner":"Ünited %s","n":[1,true,null,{"a":"b"}]}}`, m.agent, m.id)
				}
				switch rnd.IntN(40) {
				case 0:
					m = made{kind: "credential.put", actor: "admin:eve", agent: m.agent, id: m.id}
					d = draft("credential.put", `{"agent":%q,"keys":[{"agent":"no","id":"%s"}]}`, m.agent, m.id)
				case 1:
					m = made{kind: "token.issued", actor: "admin:eve", agent: m.agent, id: m.id}
					d = draft("token.issued", `{"jti":%q,"x":{"sub":"no"},"sub":%q}`, m.id, m.agent)
				}
				m.at = time.Now()
				seq, err := l.Record(t.Context(), d)
				if err != nil {
					t.Fatal(err)
				}
				m.seq = seq
				ms = append(ms, m)
				time.Sleep(time.Duration(rnd.IntN(3)) * time.Second)
			}
		}
		check := func(queries int) {
			t.Helper()
			begin := ms[0].at
			for i := range queries {
				m := ms[rnd.IntN(len(ms))]
				q := audit.Query{Limit: 1 + rnd.IntN(300)}
				want := func(made) bool { return true }
				and := func(f func(made) bool) {
					w := want
					want = func(m made) bool { return w(m) && f(m) }
				}
				if rnd.IntN(2) == 0 {
					q.Agent = m.agent
					and(func(o made) bool { return o.agent == m.agent })
				}
				if rnd.IntN(3) == 0 {
					q.Kind = audit.Kind(m.kind)
					and(func(o made) bool { return o.kind == m.kind })
				}
				if rnd.IntN(3) == 0 {
					q.Actor = m.actor
					and(func(o made) bool { return o.actor == m.actor })
				}
				if m.action != "" && rnd.IntN(2) == 0 {
					q.Action, q.Resource = m.action, m.resource
					and(func(o made) bool { return o.action == m.action && o.resource == m.resource })
				}
				if m.action != "" && rnd.IntN(3) == 0 {
					q.Outcome, q.Code = m.outcome, m.code
					and(func(o made) bool { return o.outcome == m.outcome && o.code == m.code })
				}
				if m.kind == "agent.put" && rnd.IntN(2) == 0 {
					q.Text = "üNITED, " + strings.ToUpper(m.id)
					and(func(o made) bool { return o.kind == "agent.put" && o.id == m.id })
				}
				if rnd.IntN(3) == 0 {
					q.Before = m.seq
					and(func(o made) bool { return o.seq < m.seq })
				}
				if rnd.IntN(4) == 0 {
					q.From = begin.Add(time.Duration(rnd.IntN(len(ms))) * time.Second)
					q.To = m.at
					and(func(o made) bool { return !o.at.Before(q.From) && !o.at.After(q.To) })
				}
				var wanted []int64
				for _, o := range slices.Backward(ms) {
					if want(o) && len(wanted) < q.Limit {
						wanted = append(wanted, o.seq)
					}
				}
				es, err := x.Find(t.Context(), q)
				if err != nil {
					t.Fatalf("Find(%+v): %v", q, err)
				}
				var got []int64
				for _, e := range es {
					got = append(got, e.Seq)
				}
				if diff := cmp.Diff(wanted, got); diff != "" {
					t.Fatalf("query %d: Find(%+v) (-want +got):\n%s", i, q, diff)
				}
				// In haste, page by page, the same is found.
				got, q.Patience = nil, -1
				for stops := 0; ; stops++ {
					f, err := x.Search(t.Context(), q)
					if err != nil || stops > len(ms) {
						t.Fatalf("Search(%+v) after %d pages: %v", q, stops, err)
					}
					for _, e := range f.Entries {
						got = append(got, e.Seq)
					}
					if f.Next == 0 || len(got) >= q.Limit {
						break
					}
					q.Before = f.Next
				}
				if diff := cmp.Diff(wanted, got[:min(len(got), q.Limit)], cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("query %d: Search(%+v) (-want +got):\n%s", i, q, diff)
				}
			}
		}
		record(300)
		check(60) // nothing is indexed
		record(2*audit.IndexChunk + 100)
		check(4)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- x.Run(ctx) }()
		synctest.Wait()
		if c, _ := store.IndexCursor(ctx); c != 2*audit.IndexChunk {
			t.Fatalf("the index has got to %d, want %d", c, 2*audit.IndexChunk)
		}
		check(60)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		record(3*audit.IndexChunk + 1)
		check(10) // the index lags by more than a chunk
		if err := x.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(2)
	})
}
