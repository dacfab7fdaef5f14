package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/internal/feed"
)

// edge makes a caller of the role edge and returns its token.
func (r *running) edge(name string) string {
	r.Helper()
	var made struct{ Token string }
	r.into(r.do("POST", "/v1/callers", adminToken, `{"name":"`+name+`","role":"edge","why":"test"}`), &made)
	if !strings.HasPrefix(made.Token, "sc_edge_") {
		r.Fatalf("the token of an edge begins with %.9s", made.Token)
	}
	return made.Token
}

// An edgeFeed is a feed that is read.
type edgeFeed struct {
	testing.TB
	body  *http.Response
	lines *bufio.Scanner
}

type edgeEvent struct {
	Name string
	Data json.RawMessage
}

// follow opens the feed.
func (r *running) follow(token string) *edgeFeed {
	r.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", r.URL()+"/v1/edge/feed", nil)
	if err != nil {
		r.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := (&http.Client{Transport: &http.Transport{}}).Do(req)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 {
		r.Fatalf("the feed: status %d", resp.StatusCode)
	}
	f := &edgeFeed{r, resp, bufio.NewScanner(resp.Body)}
	f.lines.Buffer(nil, 16<<20)
	return f
}

// next returns the next event, and false at the end.
func (f *edgeFeed) next() (e edgeEvent, ok bool) {
	for f.lines.Scan() {
		name, value, _ := strings.Cut(f.lines.Text(), ": ")
		switch name {
		case "event":
			e.Name = value
		case "data":
			e.Data = json.RawMessage(value)
		case "":
			if e.Name != "" {
				return e, true
			}
		}
	}
	return e, false
}

// until reads events until one of the name is there for which ok holds, and returns it and those before it. ok may be nil.
func (f *edgeFeed) until(name string, ok func(edgeEvent) bool) (e edgeEvent, before []edgeEvent) {
	f.Helper()
	late := time.Now().Add(20 * time.Second)
	for time.Now().Before(late) {
		e, more := f.next()
		if !more {
			break
		}
		if e.Name == name && (ok == nil || ok(e)) {
			return e, before
		}
		before = append(before, e)
	}
	f.Fatalf("the feed does not tell %s: %v", name, f.lines.Err())
	return e, nil
}

func (f *edgeFeed) agent(id string, ok func(*feed.Agent) bool) *feed.Agent {
	f.Helper()
	var got *feed.Agent
	f.until(feed.EventAgent, func(e edgeEvent) bool {
		a := new(feed.Agent)
		if err := json.Unmarshal(e.Data, a); err != nil {
			f.Fatalf("%v: %s", err, e.Data)
		}
		got = a
		return string(a.Agent.ID) == id && (ok == nil || ok(a))
	})
	return got
}

// The feed tells everything, then that it is ready, and then what changes; a head never comes before what it covers.
func TestEdgeFeed(t *testing.T) {
	s := start(t, organisation(t, testdata("search")))
	token := s.edge("gate")
	put := func(path, body string) {
		t.Helper()
		method := "PUT"
		if strings.HasSuffix(path, "/state") || strings.HasSuffix(path, "/trust") || strings.HasSuffix(path, "/clear") || strings.HasSuffix(path, "/policies") || strings.HasSuffix(path, "/revoke") {
			method = "POST"
		}
		if r := s.do(method, path, adminToken, body); r.status != 200 {
			t.Fatalf("%s %s: status %d: %s", method, path, r.status, r.body)
		}
	}
	const agent = `{"owner":"ops","purpose":"billing","version":"1","if_revision":0,"why":"new"}`
	for i := range 3 {
		put(fmt.Sprintf("/v1/agents/bot-%d", i), agent)
	}
	expires := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	put("/v1/alerts/a-1", `{"kind":"drill","severity":"high","scope":{"agent":"bot-1"},"expires_at":"`+expires+`","why":"drill"}`)
	put("/v1/indicators/i-1", `{"type":"ip","value":"192.0.2.0/24","severity":"high","expires_at":"`+expires+`","why":"drill"}`)

	f := s.follow(token)
	e, _ := f.until(feed.EventStart, nil)
	var begin feed.Start
	if err := json.Unmarshal(e.Data, &begin); err != nil || begin.Name != "edge:gate" || begin.Service == "" || begin.Seq == 0 {
		t.Errorf("start: %s, %v", e.Data, err)
	}
	e, before := f.until(feed.EventReady, nil)
	var ready feed.Head
	if err := json.Unmarshal(e.Data, &ready); err != nil || ready.Seq < begin.Seq || time.Since(ready.At) > time.Minute {
		t.Errorf("ready: %s, %v", e.Data, err)
	}
	agents, names := map[string]feed.Agent{}, map[string]int{}
	var active feed.Active
	var alerts, indicators []struct{ ID string }
	for _, e := range before {
		names[e.Name]++
		switch e.Name {
		case feed.EventAgent:
			var a feed.Agent
			if err := json.Unmarshal(e.Data, &a); err != nil {
				t.Fatal(err)
			}
			agents[string(a.Agent.ID)] = a
		case feed.EventPolicies:
			if err := json.Unmarshal(e.Data, &active); err != nil {
				t.Fatal(err)
			}
		case feed.EventRisk:
			var r feed.Risk
			if err := json.Unmarshal(e.Data, &r); err != nil {
				t.Fatal(err)
			}
			if r.Alerts != nil {
				json.Unmarshal(r.Alerts, &alerts)
			}
			if r.Indicators != nil {
				json.Unmarshal(r.Indicators, &indicators)
			}
		}
	}
	if len(agents) < 3 || agents["bot-1"].Agent.Owner != "ops" || len(alerts) != 1 || len(indicators) != 1 || active.Version != 1 {
		t.Errorf("the first picture: %d agents, %v alerts, %v indicators, %+v", len(agents), alerts, indicators, active)
	}
	if a := agents["bot-1"]; a.Trust[""].Level == "" || len(a.Trust) != 6 || a.Conduct.Lowest != a.Trust[""] {
		t.Errorf("an agent's trust: %+v", a)
	}
	var v feed.Version
	s.into(s.do("GET", "/v1/edge/policies/1", token, ""), &v)
	if v.Digest != active.Digest || len(v.Policies) == 0 || v.Catalog == "" {
		t.Errorf("version 1: %+v, want digest %s", v, active.Digest)
	}

	// What changes is told, before the head that covers it.
	change := func(what, name string, told func(json.RawMessage) bool, change func()) {
		t.Helper()
		change()
		var st struct{ Head int64 }
		s.into(s.do("GET", "/v1/status", adminToken, ""), &st)
		_, before := f.until(feed.EventHead, func(e edgeEvent) bool { return headOf(t, e) >= st.Head })
		for _, e := range before {
			if e.Name == name && told(e.Data) {
				return
			}
		}
		t.Errorf("%s: no %s that says so before the head of entry %d; told %v", what, name, st.Head, before)
	}
	has := func(text string) func(json.RawMessage) bool {
		return func(d json.RawMessage) bool { return strings.Contains(string(d), text) }
	}
	change("another agent", feed.EventAgent, has(`"bot-9"`), func() { put("/v1/agents/bot-9", agent) })
	change("a suspended agent", feed.EventAgent, has(`"state":"suspended"`), func() { put("/v1/agents/bot-9/state", `{"state":"suspended","why":"odd"}`) })
	change("trust set by hand", feed.EventAgent, has(`"money":{"level":"none"`), func() {
		put("/v1/agents/bot-2/trust", `{"class":"money","level":"none","ttl_seconds":60,"why":"a drill"}`)
	})
	change("an alert", feed.EventRisk, has(`"a-2"`), func() {
		put("/v1/alerts/a-2", `{"kind":"drill","severity":"low","expires_at":"`+expires+`","why":"drill"}`)
	})
	change("a cleared alert", feed.EventRisk, has(`"cleared":true`), func() { put("/v1/alerts/a-1/clear", `{"why":"over"}`) })
	change("a cleared indicator", feed.EventRisk, has(`"indicators":[{"id":"i-1"`), func() { put("/v1/indicators/i-1/clear", `{"why":"over"}`) })
	var now struct {
		Source  json.RawMessage
		Catalog string
	}
	s.into(s.do("GET", "/v1/policies/active", adminToken, ""), &now)
	text, _ := json.Marshal(now.Catalog)
	change("policies", feed.EventPolicies, has(`"version":2`), func() {
		put("/v1/policies", `{"catalog":`+string(text)+`,"if_version":1,"why":"the same again"}`)
	})
	if page := s.do("GET", "/metrics", "", ""); !strings.Contains(page.body, "\nsafeconduct_edge_feeds 1\n") {
		t.Error("the metrics do not say that one feed is open")
	}

	// One who is not admitted any more is told nothing more.
	var callers struct {
		Items []struct{ ID, Name string }
	}
	s.into(s.do("GET", "/v1/callers", adminToken, ""), &callers)
	for _, c := range callers.Items {
		if c.Name == "gate" {
			put("/v1/callers/"+c.ID+"/revoke", `{"why":"gone"}`)
		}
	}
	for {
		if _, more := f.next(); !more {
			break
		}
	}
	if r := s.do("GET", "/v1/edge/feed", token, ""); r.status != 401 {
		t.Errorf("a revoked edge: status %d", r.status)
	}
}

// A reader for whom something has always changed when he was told is told heads all the same, and of those who act once before
// each of them.
func TestEdgeFeedUnderLoad(t *testing.T) {
	s := start(t, organisation(t, testdata("search")))
	if r := s.do("PUT", "/v1/agents/busy", adminToken, `{"owner":"ops","purpose":"billing","version":"1","if_revision":0,"why":"new"}`); r.status != 200 {
		t.Fatalf("registering: %d: %s", r.status, r.body)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	heads, agents := 0, 0
	enough := errors.New("enough")
	err := s.FeedTo(ctx, func(name string, _ int64, data any) error {
		switch name {
		case feed.EventHead:
			if heads++; heads == 3 {
				return enough
			}
		case feed.EventAgent:
			if data.(*feed.Agent).Agent.ID == "busy" {
				agents++
			}
		}
		s.Acted("busy", "a-1")
		return ctx.Err()
	})
	if !errors.Is(err, enough) || agents > 2+heads {
		t.Errorf("told of %d heads, and %d times of the agent: %v", heads, agents, err)
	}
}

// What changes by time alone is told when its time has come, however many agents there are.
func TestEdgeFeedTurns(t *testing.T) {
	s := start(t, trusting(t))
	s.party("clerk", "EdDSA") // its key expires one day
	const agent = `{"owner":"finance","purpose":"bookkeeping","version":"1","capabilities":["read-ledger"],"if_revision":0,"why":"new"}`
	for _, id := range []string{"trusted", "calm"} {
		s.into(s.do("PUT", "/v1/agents/"+id, adminToken, agent), new(struct{}))
	}
	s.into(s.do("POST", "/v1/agents/trusted/trust", adminToken, `{"class":"money","level":"none","ttl_seconds":600,"why":"a drill"}`), new(struct{}))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	begin := time.Now()
	told, heads := map[string]int{}, 0
	enough := errors.New("enough")
	err := s.FeedTo(ctx, func(name string, _ int64, data any) error {
		switch name {
		case feed.EventReady, feed.EventHead:
			at := begin.Add([]time.Duration{5 * time.Minute, 12 * time.Minute, 10 * 365 * 24 * time.Hour, 0}[heads])
			if heads++; heads == 4 {
				return enough
			}
			s.TurnAt(at)
		case feed.EventAgent:
			if id := string(data.(*feed.Agent).Agent.ID); id == "clerk" || id == "trusted" || id == "calm" {
				told[fmt.Sprint(id, heads)]++
			}
		}
		return ctx.Err()
	})
	want := map[string]int{"clerk0": 1, "trusted0": 1, "calm0": 1, "trusted2": 1, "clerk3": 1, "trusted3": 1}
	if diff := cmp.Diff(want, told); !errors.Is(err, enough) || diff != "" {
		t.Errorf("told of agents after so many heads, %v (-want +got):\n%s", err, diff)
	}
}

func headOf(t *testing.T, e edgeEvent) int64 {
	t.Helper()
	var h feed.Head
	if err := json.Unmarshal(e.Data, &h); err != nil {
		t.Fatal(err)
	}
	return h.Seq
}
