package edge_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/bench/fixture"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/edge"
	"github.com/safeconduct/safeconduct/internal/feed"
	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/stop"
)

const (
	edgeToken = "sc_edge_test-0123456789"
	edgeName  = "edge:test"
)

// A plane is a control plane made of words alone: it tells what a test has it tell.
type plane struct {
	testing.TB
	*httptest.Server

	mu       sync.Mutex
	changed  *sync.Cond
	version  feed.Version
	agents   map[authz.AgentID]*feed.Agent
	risk     []feed.Risk
	seq      int64
	streams  map[chan string]func() // what each is to be told, and how it is cut off
	silent   bool                   // tells no heads
	down     bool                   // answers nothing
	deaf     bool                   // takes records, and loses the answer
	journals map[string][]feed.Record
	uploads  int
	bearers  map[string]feed.Bearer
	inquired int
	answer   string // to evaluations
	asked    int
	behind   time.Duration // of its clock
	forgets  bool          // journals
	full     bool          // takes no records
	limits   feed.Limits
	stops    []stop.Stop
	older    bool // does not tell what is stopped
	tampered bool // gives other policies than were published
}

// newPlane returns the plane of the benchmark's organisation.
func newPlane(t testing.TB) *plane {
	p := &plane{
		TB: t, agents: map[authz.AgentID]*feed.Agent{}, streams: map[chan string]func(){}, journals: map[string][]feed.Record{},
		bearers: map[string]feed.Bearer{}, seq: 1,
	}
	p.changed = sync.NewCond(&p.mu)
	p.version = feed.Version{
		Version: 1, Schema: fixture.Schema, Catalog: string(fixture.Catalog()),
		Policies: []feed.File{{Name: "organisation.cedar", Text: fixture.Policies}},
	}
	for _, a := range fixture.Agents() {
		p.agents[authz.AgentID(a.ID)] = &feed.Agent{Agent: &authz.Agent{
			ID: authz.AgentID(a.ID), Owner: a.Owner, Purpose: a.Purpose, Version: a.Version, Creator: a.Creator,
			State: authz.AgentActive, Capabilities: a.Capabilities, CreatedAt: time.Unix(1, 0).UTC(), UpdatedAt: time.Unix(1, 0).UTC(), Revision: 1, AsOf: 1,
		}}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/edge/feed", p.feed)
	mux.HandleFunc("GET /v1/edge/policies/{version}", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if r.PathValue("version") != strconv.FormatInt(p.version.Version, 10) {
			http.Error(w, `{"error":{"code":"not_found","message":"no such version"}}`, http.StatusNotFound)
			return
		}
		v := p.version
		if p.tampered {
			v.Policies = append(slices.Clip(v.Policies), feed.File{Name: "more.cedar", Text: `@id("all") permit (principal, action, resource);`})
		}
		reply(w, v)
	})
	mux.HandleFunc("POST /v1/edge/records", p.records)
	mux.HandleFunc("POST /v1/edge/passport", func(w http.ResponseWriter, r *http.Request) {
		var in feed.Presented
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, `{}`, http.StatusBadRequest)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.inquired++
		b, ok := p.bearers[in.Token+" "+in.Audience]
		if !ok {
			b = feed.Bearer{Code: "invalid_token", Why: "the token is none of ours"}
		}
		reply(w, b)
	})
	mux.HandleFunc("POST /access/v1/evaluation", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.asked++; p.answer == "" {
			http.Error(w, `{}`, http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, p.answer)
	})
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		down := p.down
		p.mu.Unlock()
		switch {
		case down:
			http.Error(w, `{"error":{"code":"unavailable","message":"the control plane is gone"}}`, http.StatusServiceUnavailable)
		case r.Header.Get("Authorization") != "Bearer "+edgeToken:
			http.Error(w, `{"error":{"code":"unauthenticated","message":"who is this?"}}`, http.StatusUnauthorized)
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		p.cut()
		p.Server.Close()
	})
	return p
}

func reply(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.Write(b)
}

func line(name string, data any) string {
	b, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	return "event: " + name + "\ndata: " + string(b) + "\n\n"
}

// stopped is what is stopped. The caller holds p.mu.
func (p *plane) stopped() feed.Stops {
	list, err := json.Marshal(append([]stop.Stop{}, p.stops...))
	if err != nil {
		panic(err)
	}
	return feed.Stops{Stops: list}
}

func (p *plane) head() feed.Head { return feed.Head{Seq: p.seq, At: time.Now().Add(-p.behind).UTC()} }

// active publishes the version as it is. The caller holds p.mu.
func (p *plane) active() feed.Active {
	src := policy.Source{Schema: p.version.Schema}
	for _, f := range p.version.Policies {
		src.Files = append(src.Files, policy.File{Name: f.Name, Text: f.Text})
	}
	text, err := json.Marshal(src)
	if err != nil {
		panic(err)
	}
	p.version.Digest = feed.Digest(fmt.Sprintf("%x", sha256.Sum256(text)), fmt.Sprintf("%x", sha256.Sum256([]byte(p.version.Catalog))))
	return feed.Active{Version: p.version.Version, Digest: p.version.Digest}
}

func (p *plane) feed(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	tell := make(chan string, 1000)
	p.mu.Lock()
	var first strings.Builder
	first.WriteString("retry: 3000\n" + line(feed.EventStart, feed.Start{Service: "http://" + r.Host, Name: edgeName, Seq: p.seq, Limits: p.limits}))
	first.WriteString(line(feed.EventPolicies, p.active()))
	for _, a := range p.agents {
		first.WriteString(line(feed.EventAgent, a))
	}
	for _, risk := range p.risk {
		first.WriteString(line(feed.EventRisk, risk))
	}
	if !p.older {
		first.WriteString(line(feed.EventStops, p.stopped()))
	}
	first.WriteString(line(feed.EventReady, p.head()))
	p.streams[tell] = cancel
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.streams, tell)
		p.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	flush := w.(http.Flusher)
	io.WriteString(w, first.String())
	flush.Flush()
	beat := time.NewTicker(10 * time.Millisecond)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case text := <-tell:
			io.WriteString(w, text)
		case <-beat.C:
			p.mu.Lock()
			silent, head := p.silent, line(feed.EventHead, p.head())
			p.mu.Unlock()
			if silent {
				continue
			}
			io.WriteString(w, head)
		}
		flush.Flush()
	}
}

// front is the plane behind a proxy that hands requests of a path to f, with what the plane would answer.
func (p *plane) front(path string, f func(w http.ResponseWriter, r *http.Request, plane http.Handler)) string {
	back, err := url.Parse(p.URL)
	if err != nil {
		p.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(back)
	proxy.FlushInterval = -1
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	proxy.Transport = &http.Transport{}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path {
			f(w, r, proxy)
			return
		}
		defer func() { // a feed that was cut off
			if why := recover(); why != nil && why != http.ErrAbortHandler {
				panic(why)
			}
		}()
		proxy.ServeHTTP(w, r)
	}))
	p.Cleanup(func() {
		p.cut()
		front.CloseClientConnections()
		front.Close()
		proxy.Transport.(*http.Transport).CloseIdleConnections()
	})
	return front.URL
}

// tell tells all that listen. The caller holds p.mu.
func (p *plane) tell(name string, data any) {
	p.seq++
	for tell := range p.streams {
		tell <- line(name, data)
	}
}

// with does f while nothing is told.
func (p *plane) with(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// inquiries returns how often it was asked about a passport.
func (p *plane) inquiries() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inquired
}

// cut ends all feeds.
func (p *plane) cut() {
	p.with(func() {
		for _, cancel := range p.streams {
			cancel()
		}
	})
}

// put changes an agent and tells of it.
func (p *plane) put(id authz.AgentID, change func(*authz.Agent)) {
	p.with(func() {
		told := *p.agents[id]
		a := *told.Agent
		change(&a)
		a.Revision, a.AsOf = a.Revision+1, p.seq+1
		told.Agent = &a
		p.agents[id] = &told
		p.tell(feed.EventAgent, &told)
	})
}

func (p *plane) records(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	full := p.full
	p.mu.Unlock()
	if full {
		http.Error(w, `{"error":{"code":"unavailable","message":"no room"}}`, http.StatusServiceUnavailable)
		return
	}
	var in feed.Records
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, `{}`, http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.uploads++
	if p.forgets {
		p.forgets = false
		clear(p.journals)
	}
	have := p.journals[in.Journal]
	if next := int64(len(have)) + 1; in.First > next {
		w.WriteHeader(http.StatusConflict)
		var gap feed.Gap
		gap.Error.Next = next
		reply(w, gap)
		return
	} else if skip := next - in.First; skip < int64(len(in.Records)) {
		have = append(have, in.Records[skip:]...)
	}
	p.journals[in.Journal] = have
	p.changed.Broadcast()
	if p.deaf {
		p.deaf = false
		http.Error(w, `{}`, http.StatusBadGateway)
		return
	}
	reply(w, feed.Acknowledged{Last: int64(len(have)), Seqs: make([]int64, len(in.Records))})
}

// taken returns the records that were taken in, once there are n.
func (p *plane) taken(n int) []feed.Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	stop := context.AfterFunc(p.deadline(), func() { p.changed.Broadcast() })
	defer stop()
	for {
		var all []feed.Record
		for _, j := range p.journals {
			all = append(all, j...)
		}
		if len(all) >= n || p.deadline().Err() != nil {
			if len(all) != n {
				p.Errorf("%d records were taken in, want %d", len(all), n)
			}
			return all
		}
		p.changed.Wait()
	}
}

func (p *plane) deadline() context.Context {
	ctx, cancel := context.WithTimeout(p.Context(), 20*time.Second)
	p.Cleanup(cancel)
	return ctx
}

// config is that of a point in the test.
func (p *plane) config() edge.Config {
	return edge.Config{
		URL: p.URL, Token: edgeToken, Journal: p.TempDir(), HTTP: &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second},
		Logger: slog.New(slog.NewTextHandler(logWriter{p}, nil)),
	}
}

// logWriter writes the program's log to the test's.
type logWriter struct{ t testing.TB }

func (w logWriter) Write(b []byte) (int, error) {
	defer func() { _ = recover() }() // the test may be over
	w.t.Logf("%s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// A running is a point that runs.
type running struct {
	*edge.Point
	t    testing.TB
	stop func() error
}

// run runs a point until the test ends or stop is called.
func run(t testing.TB, cfg edge.Config, opens ...func(string) (edge.File, error)) *running {
	t.Helper()
	p, err := edge.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(opens) > 0 {
		edge.SetOpen(p, opens[0])
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		err := <-done
		cfg.HTTP.CloseIdleConnections()
		return err
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-p.Ready():
	case err := <-done:
		done <- err
		t.Fatalf("Run: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatalf("the point is not ready: %+v", p.Status())
	}
	return &running{p, t, stop}
}

// ask asks one request.
func (r *running) ask(req authz.Request) (*client.Answer, error) {
	r.t.Helper()
	all, err := r.Answer(r.t.Context(), &client.Question{Requests: []authz.Request{req}})
	if len(all) != 1 || all[0] == nil {
		r.t.Fatalf("Answer returned %d answers", len(all))
	}
	if err != nil && all[0].Allowed() {
		r.t.Fatalf("Answer returned %v and allows", err)
	}
	return all[0], err
}

// until asks until the answer is as wished.
func (r *running) until(what string, ok func() bool) {
	r.t.Helper()
	end := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			r.t.Fatalf("%s: not within 20 seconds: %+v", what, r.Status())
		case <-tick.C:
		}
	}
}

// request reads a body of the mix as the door would.
func request(t testing.TB, body []byte) authz.Request {
	t.Helper()
	var in struct {
		Subject  authz.Entity
		Action   authz.Action
		Resource authz.Entity
		Context  map[string]json.RawMessage
	}
	if err := json.Unmarshal(body, &in); err != nil {
		t.Fatal(err)
	}
	var seen struct {
		IP          netip.Addr `json:"ip"`
		Session     string
		Provenance  *authz.Provenance
		Obligations []string `json:"supported_obligations"`
	}
	if err := json.Unmarshal(in.Context["observed"], &seen); err != nil {
		t.Fatal(err)
	}
	delete(in.Context, "observed")
	claimed, err := json.Marshal(in.Context)
	if err != nil {
		t.Fatal(err)
	}
	return authz.Request{
		Subject: in.Subject, Action: in.Action, Resource: in.Resource, Context: claimed,
		Observed: authz.Observed{Address: seen.IP, Session: seen.Session, Provenance: seen.Provenance, Obligations: seen.Obligations},
	}
}

// handbook is a request that is allowed.
func handbook(t testing.TB) authz.Request {
	t.Helper()
	for _, c := range fixture.Mix(200) {
		if c.Effect == "allow" {
			return request(t, c.Body)
		}
	}
	t.Fatal("nothing in the mix is allowed")
	return authz.Request{}
}
