package live_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/live"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// decision is the body of an entry that records one about an agent.
func decision(agent string, effect authz.Effect) json.RawMessage {
	rec := pdp.Record{
		Request: authz.Request{
			Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: agent}},
			OnBehalf: []authz.Ref{{Type: "user", ID: "anna"}, {Type: "agent", ID: "chief"}},
			Action:   authz.Action{Name: "pay_invoice", Properties: authz.Claimed(`{"amount":"12"}`)},
			Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "2026-114"}},
			Observed: authz.Observed{Session: "s-1", PEP: "bank"},
		},
		Facts:    authz.Facts{At: noon, Agent: &authz.Agent{ID: authz.AgentID(agent), Owner: "ops", Purpose: "billing", State: authz.AgentActive}},
		Decision: authz.Decision{At: noon, Effect: effect, Code: authz.CodeAllowed},
	}
	if effect != authz.Allow {
		rec.Decision.Code = authz.CodeForbidden
		rec.Decision.Reasons = []authz.Reason{{Code: "too-much", Message: "The amount is above the limit."}}
		rec.Decision.Changes = []authz.Change{{Who: "agent", Kind: "lower", Hint: "Pay less."}}
		rec.Decision.Fired = []authz.Fired{{Policy: "p1", Effect: "forbid", Shadow: true}}
	}
	b, err := json.Marshal(&rec)
	if err != nil {
		panic(err)
	}
	return b
}

// A past is the log of a test.
type past []audit.Entry

func (p *past) add(k audit.Kind, actor string, body json.RawMessage) audit.Entry {
	n := int64(len(*p) + 1)
	e := audit.Entry{Seq: n, At: noon.Add(time.Duration(n) * time.Millisecond), Kind: k, Actor: actor, Body: body}
	*p = append(*p, e)
	return e
}

func (p *past) Find(_ context.Context, q audit.Query) (found []audit.Entry, _ error) {
	for i := len(*p) - 1; i >= 0 && len(found) < q.Limit; i-- {
		e := (*p)[i]
		if (q.Before == 0 || e.Seq < q.Before) && e.Seq > q.After && (q.Kind == "" || q.Kind == e.Kind) {
			found = append(found, e)
		}
	}
	return found, nil
}

// lines writes server-sent events as one line each: id type data, without times.
func lines(b []byte) []string {
	times := regexp.MustCompile(`,?"(at|created_at)":"[^"]*"`)
	out := []string{}
	for _, block := range strings.Split(strings.TrimSuffix(string(b), "\n\n"), "\n\n") {
		if block == "" {
			continue
		}
		var id, event, data string
		for _, l := range strings.Split(block, "\n") {
			name, value, _ := strings.Cut(l, ": ")
			switch name {
			case "id":
				id = value
			case "event":
				event = value
			case "data":
				data = times.ReplaceAllString(value, "")
			}
		}
		out = append(out, strings.TrimSpace(fmt.Sprint(id, " ", event, " ", data)))
	}
	return out
}

func same(t *testing.T, what string, got []byte, want ...string) {
	t.Helper()
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, lines(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

const refused = `decision {"id":"d%[1]d","seq":%[1]d,"agent":"bot","purpose":"billing","owner":"ops","on_behalf":["user:anna","agent:chief"],"action":"pay_invoice",` +
	`"resource":{"type":"invoice","id":"2026-114"},"effect":"deny","code":"forbidden","reason":"The amount is above the limit.","pep":"bank","session":"s-1","changes":1,"shadow":true}`

// A monitor of a test tells what it is given.
type signals struct {
	c     chan monitor.Signal
	heard chan struct{} // closed when somebody has subscribed
}

func (s *signals) Subscribe(context.Context) <-chan monitor.Signal { close(s.heard); return s.c }

type asks map[string]*approval.Ask

func (a asks) Get(_ context.Context, id string) (*approval.Ask, error) {
	if x := a[id]; x != nil {
		return x, nil
	}
	return nil, authz.ErrNotFound
}

// Every kind of event is told as it is documented, once, in the order of the log; an attempt that changed nothing is not.
func TestEvents(t *testing.T) {
	var log past
	sigs := &signals{make(chan monitor.Signal, 8), make(chan struct{})}
	desk := asks{"arq_1": {ID: "arq_1", Agent: "bot", Owner: "ops", Seq: 3, Ended: 5, Status: approval.Approved, AskedAt: noon, ClosedAt: noon.Add(90 * time.Second),
		Items: []approval.Item{{Action: authz.Action{Name: "pay_invoice"}, Resource: authz.Entity{Ref: authz.Ref{Type: "invoice", ID: "1"}}}}}}
	h := live.NewHub(live.Config{Asks: desk, Signals: sigs}, 0)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { h.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	all, calm := h.Read(live.Filter{Reads: func(ask string) bool { return ask == "arq_1" }}, 0), h.Read(live.Filter{Types: []string{"finding", "agent"}, Agent: "bot"}, 0)
	outside := h.Read(live.Filter{Types: []string{"approval"}}, 0)

	<-sigs.heard
	sigs.c <- monitor.Signal{Seq: 1, Type: "trust", Agent: "bot", Class: "money", From: "high", To: "low"}
	h.Watch(log.add(audit.DecisionMade, "pep:bank", decision("bot", authz.Deny)), nil)
	h.Watch(log.add(audit.Heartbeat, "safeconduct", json.RawMessage(`{}`)), nil)
	h.Watch(log.add(audit.ApprovalAsked, "pep:bank", json.RawMessage(`{"id":"arq_1"}`)), nil)
	h.Watch(log.add(audit.ApprovalAnswer, "person:anna", json.RawMessage(`{"ask":"arq_1","yes":true}`)), nil)
	h.Watch(log.add(audit.ApprovalAnswer, "person:ben", json.RawMessage(`{"ask":"arq_1","yes":true}`)), nil)
	h.Watch(log.add(audit.AlertPut, "admin:root", json.RawMessage(`{"alert":{"id":"a1","kind":"leaver","severity":"high","message":"Look."},"why":"HR"}`)), nil)
	h.Watch(log.add(audit.PolicyPublish, "admin:root", json.RawMessage(`{"version":2,"message":"Tighter"}`)), nil)
	h.Watch(log.add(audit.AgentPut, "admin:root", json.RawMessage(`{"agent":{"id":"bot","purpose":"billing","owner":"ops","state":"suspended"},"if_revision":1,"why":"<b>it</b>"}`)), nil)
	h.Watch(log.add(audit.AgentPut, "admin:root", json.RawMessage(`{"agent":{"id":"bot"}}`)), authz.ErrConflict)
	sigs.c <- monitor.Signal{Seq: 10, Type: "finding", Agent: "bot"}
	h.Watch(log.add(audit.DecisionMade, "pep:bank", decision("bot", authz.Allow)), nil)

	same(t, "everything", all.Take(nil, noon),
		fmt.Sprintf(refused, 1),
		`1 trust {"seq":1,"type":"trust","agent":"bot","class":"money","from":"high","to":"low"}`,
		`3 approval {"seq":3,"what":"asked","ask":"arq_1","agent":"bot","owner":"ops","action":"pay_invoice","resource":{"type":"invoice","id":"1"},"acts":1,"by":"pep:bank"}`,
		`4 approval {"seq":4,"what":"answered","ask":"arq_1","agent":"bot","owner":"ops","action":"pay_invoice","resource":{"type":"invoice","id":"1"},"acts":1,"by":"person:anna","yes":true}`,
		`5 approval {"seq":5,"what":"approved","ask":"arq_1","agent":"bot","owner":"ops","action":"pay_invoice","resource":{"type":"invoice","id":"1"},"acts":1,"by":"person:ben","yes":true,"waited_seconds":90}`,
		`6 alert {"seq":6,"what":"raised","id":"a1","kind":"leaver","severity":"high","message":"Look.","by":"admin:root","why":"HR"}`,
		`7 policy {"seq":7,"version":2,"message":"Tighter","by":"admin:root"}`,
		`8 agent {"seq":8,"what":"changed","agent":"bot","purpose":"billing","owner":"ops","state":"suspended","by":"admin:root","why":"\u003cb\u003eit\u003c/b\u003e"}`,
		`decision {"id":"d10","seq":10,"agent":"bot","purpose":"billing","owner":"ops","on_behalf":["user:anna","agent:chief"],"action":"pay_invoice","resource":{"type":"invoice","id":"2026-114"},"effect":"allow","code":"allowed","pep":"bank","session":"s-1"}`,
		`10 finding {"seq":10,"type":"finding","agent":"bot"}`,
	)
	told := []string{
		`3 approval {"seq":3,"what":"asked","ask":"arq_1","agent":"bot","owner":"ops","action":"pay_invoice","resource":{"type":"invoice","id":"1"},"acts":1}`,
		`4 approval {"seq":4,"what":"answered","ask":"arq_1","agent":"bot","owner":"ops","action":"pay_invoice","resource":{"type":"invoice","id":"1"},"acts":1}`,
		`5 approval {"seq":5,"what":"approved","ask":"arq_1","agent":"bot","owner":"ops","action":"pay_invoice","resource":{"type":"invoice","id":"1"},"acts":1,"waited_seconds":90}`,
	}
	same(t, "who may not read the ask", outside.Take(nil, noon), told...)
	again := h.Read(live.Filter{Types: []string{"approval"}}, 0)
	b, err := again.Resume(t.Context(), nil, &log, 0)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "and comes back", again.Take(b, noon), told...)
	same(t, "findings and changes of an agent", calm.Take(nil, noon),
		`8 agent {"seq":8,"what":"changed","agent":"bot","purpose":"billing","owner":"ops","state":"suspended","by":"admin:root","why":"\u003cb\u003eit\u003c/b\u003e"}`,
		`10 finding {"seq":10,"type":"finding","agent":"bot"}`)
	same(t, "nothing new", all.Take(nil, noon))
}

// Who is too slow is told how much it missed, and goes on with what is still known.
func TestSlowReader(t *testing.T) {
	var log past
	h := live.NewHub(live.Config{}, 0)
	r := h.Read(live.Filter{}, 0)
	for range 5000 {
		h.Watch(log.add(audit.DecisionMade, "pep:bank", decision("bot", authz.Allow)), nil)
	}
	got := lines(r.Take(nil, noon))
	if len(got) != 4097 || got[0] != `904 gap {"from":1,"to":904,"entries":904}` || !strings.HasPrefix(got[1], "905 decision") {
		t.Errorf("a reader that missed 904 entries is told %d events, first %.100q", len(got), got[0])
	}
	huge := json.RawMessage(`{"x":"` + strings.Repeat("x", 1<<20-100) + `"}`)
	for range 100 {
		h.Watch(log.add(audit.DecisionMade, "pep:bank", huge), nil)
	}
	got = lines(r.Take(nil, noon))
	if len(got) != 17 || !strings.HasPrefix(got[0], `5084 gap {"from":5001,`) {
		t.Errorf("after 100 MB of entries the reader is told %d events, %.200q", len(got), got)
	}
}

// Who comes back is told what it missed: from memory, from the log, and beyond that how much it is not told.
func TestResume(t *testing.T) {
	var log past
	h := live.NewHub(live.Config{}, 0)
	for range 6000 {
		h.Watch(log.add(audit.DecisionMade, "pep:bank", decision("bot", authz.Deny)), nil)
	}
	for _, c := range []struct {
		after       int64
		first       string
		told        int
		types, what []string
	}{
		{after: 6000, told: 0},
		{after: 5999, told: 1, first: "6000 " + fmt.Sprintf(refused, 6000)},
		{after: 1904, told: 4096, first: "1905 " + fmt.Sprintf(refused, 1905)},
		{after: 1900, told: 4096 + 4 + 1, first: `gap {"from":1901,"to":1904,"entries":4,"types":["finding","trust","quarantine"]}`},
		{after: 1900, types: []string{"decision"}, told: 4096 + 4, first: "1901 " + fmt.Sprintf(refused, 1901)},
		{after: 10, types: []string{"decision"}, told: 1 + 1000 + 4096, first: `904 gap {"from":11,"to":904,"entries":894}`},
	} {
		r := h.Read(live.Filter{Types: c.types}, 0)
		b, err := r.Resume(t.Context(), nil, &log, c.after)
		if err != nil {
			t.Fatal(err)
		}
		got := lines(r.Take(b, noon))
		if len(got) != c.told || c.told > 0 && got[0] != c.first {
			t.Errorf("after %d %d events are told, want %d; the first is\n%s\nwant\n%s", c.after, len(got), c.told, got[:min(1, len(got))], c.first)
		}
		if n := len(got); n > 0 && !strings.HasPrefix(got[n-1], "6000 ") {
			t.Errorf("after %d the last event is %s", c.after, got[n-1])
		}
	}
	if _, err := h.Read(live.Filter{}, 0).Resume(t.Context(), nil, &log, 6001); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("resuming after an entry that is not there yet: %v", err)
	}
	r := h.Read(live.Filter{Effects: []string{"deny"}}, 0)
	b, err := r.Last(t.Context(), nil, &log, 3)
	if err != nil {
		t.Fatal(err)
	}
	if got := lines(b); len(got) != 3 || !strings.HasPrefix(got[0], "5998 ") || !strings.HasPrefix(got[2], "6000 ") {
		t.Errorf("the last 3 decisions: %v", got)
	}
}

// Who comes back is not told more than so many bytes of the log hold, and few entries are held at once.
func TestResumeOfLargeEntries(t *testing.T) {
	var log past
	h := live.NewHub(live.Config{}, 0)
	huge := json.RawMessage(`{"x":"` + strings.Repeat("x", 1<<20-100) + `"}`)
	for range 100 {
		h.Watch(log.add(audit.DecisionMade, "pep:bank", huge), nil)
	}
	few := &sparing{past: log}
	r := h.Read(live.Filter{Types: []string{"decision"}}, 0)
	b, err := r.Resume(t.Context(), nil, few, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := lines(r.Take(b, noon))
	if len(got) != 1+16+16 || got[0] != `68 gap {"from":1,"to":68,"entries":68}` || !strings.HasPrefix(got[1], "69 decision") || !strings.HasPrefix(got[32], "100 decision") {
		t.Errorf("of 100 MB that it missed a reader is told %d events, first %.100q", len(got), got[0])
	}
	if few.most > 50 {
		t.Errorf("%d entries are read at once", few.most)
	}
}

// A sparing past notes how many entries are found at once at most.
type sparing struct {
	past
	most int
}

func (s *sparing) Find(ctx context.Context, q audit.Query) ([]audit.Entry, error) {
	s.most = max(s.most, q.Limit)
	return s.past.Find(ctx, q)
}

// Of more decisions than a reader asks for it is told a part, refusals first, and how many there were. Other events are all told.
func TestSample(t *testing.T) {
	var log past
	h := live.NewHub(live.Config{}, 0)
	r := h.Read(live.Filter{}, 20)
	now, decisions, refusals, samples := noon, 0, 0, []string{}
	for range 3 {
		for range 20 {
			for i := range 50 {
				effect := authz.Allow
				if i%10 == 0 {
					effect = authz.Deny
				}
				h.Watch(log.add(audit.DecisionMade, "pep:bank", decision("bot", effect)), nil)
			}
			h.Watch(log.add(audit.PolicyPublish, "admin:root", json.RawMessage(`{"version":2}`)), nil)
			for _, l := range lines(r.Take(nil, now)) {
				switch {
				case strings.Contains(l, "sample"):
					samples = append(samples, l)
				case strings.Contains(l, "decision"):
					decisions++
					if strings.Contains(l, `"deny"`) {
						refusals++
					}
				}
			}
			now = now.Add(50 * time.Millisecond)
		}
	}
	if decisions < 55 || decisions > 60 || refusals < 45 || refusals > 60 {
		t.Errorf("of 3000 decisions in 3 seconds %d are told, %d of them refusals; want about 20 a second, 3 in 4 refusals", decisions, refusals)
	}
	if len(samples) != 2 || !strings.Contains(samples[1], `"told":20,"of":1000,"by":{"allow":{"told":`) || !strings.Contains(samples[1], `"deny":{"told":15,"of":100}`) {
		t.Errorf("samples: %q", samples)
	}
	few := h.Read(live.Filter{}, 20)
	h.Watch(log.add(audit.DecisionMade, "pep:bank", decision("bot", authz.Allow)), nil)
	if got := lines(few.Take(nil, now)); len(got) != 1 {
		t.Errorf("of one decision %d are told", len(got))
	}
}

// A second of a thousand decisions that fifty readers follow, a sample of twenty a second each: what the
// process pays for it.
func BenchmarkFiftyReaders(b *testing.B) { benchmarkReaders(b, 50, 20) }

// Likewise, told of every decision.
func BenchmarkFiftyReadersOfAll(b *testing.B) { benchmarkReaders(b, 50, 0) }

func benchmarkReaders(b *testing.B, n, rate int) {
	body := decision("bot", authz.Deny)
	h := live.NewHub(live.Config{}, 0)
	var rs []*live.Reader
	for range n {
		rs = append(rs, h.Read(live.Filter{}, rate))
	}
	var text []byte
	seq, now, told := int64(0), noon, 0
	b.ReportAllocs()
	for b.Loop() {
		for range 20 {
			for range 50 {
				seq++
				h.Watch(audit.Entry{Seq: seq, At: now, Kind: audit.DecisionMade, Actor: "pep:bank", Body: body}, nil)
			}
			now = now.Add(50 * time.Millisecond)
			for _, r := range rs {
				text = r.Take(text[:0], now)
				told += len(text)
			}
		}
	}
	b.ReportMetric(float64(told)/float64(b.N)/float64(n)/1000, "kB/reader/s")
}
