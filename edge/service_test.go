package edge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/bench/fixture"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/edge"
	"github.com/safeconduct/safeconduct/examples/agentdojo"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/demo"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/server"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// A control is a real control plane.
type control struct {
	testing.TB
	cfg   server.Config
	url   string
	token string // of an edge
	admin *client.Client
	stop  func()
}

// serve runs the service with an organisation.
func serve(t testing.TB, org server.Organisation) *control {
	t.Helper()
	c := &control{TB: t, cfg: server.Config{Organisation: org}}
	c.cfg.Listen, c.cfg.Data = "127.0.0.1:0", t.TempDir()
	c.cfg.Postgres = storetest.Config(t).Postgres
	c.cfg.OAuth.Audiences = []string{door}
	c.cfg.AdminToken, c.cfg.PEPToken = "test-administrator-token-0123456789", "test-enforcement-token-0123456789"
	c.start()
	var made struct{ Token string }
	if err := c.admin.Do(t.Context(), "POST", "/v1/callers", map[string]any{"name": "gate", "role": "edge", "why": "test"}, &made); err != nil {
		t.Fatal(err)
	}
	c.token = made.Token
	return c
}

// start runs the service, on the address that it had before.
func (c *control) start() {
	c.Helper()
	s, err := server.New(c.Context(), c.cfg, "test", slog.New(slog.NewTextHandler(logWriter{c}, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		c.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			c.Errorf("stopping the service: %v", err)
		}
	})
	c.Cleanup(c.stop)
	select {
	case <-s.Up():
	case <-time.After(30 * time.Second):
		c.Fatal("the service does not come up")
	}
	c.url = s.URL()
	if u, err := url.Parse(c.url); err == nil {
		c.cfg.Listen = u.Host
	}
	c.admin = c.client(c.cfg.AdminToken)
}

// client returns a client of the service that leaves no connection behind.
func (c *control) client(token string) *client.Client {
	c.Helper()
	cl, err := client.New(c.url, token)
	if err != nil {
		c.Fatal(err)
	}
	cl.HTTP = &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	c.Cleanup(cl.HTTP.CloseIdleConnections)
	return cl
}

func (c *control) config() edge.Config {
	return edge.Config{
		URL: c.url, Token: c.token, Journal: c.TempDir(), HTTP: &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second},
		Logger: slog.New(slog.NewTextHandler(logWriter{c}, nil)),
	}
}

// do changes something as the administrator.
func (c *control) do(method, path string, in map[string]any) {
	c.Helper()
	in["why"] = "test"
	if err := c.admin.Do(c.Context(), method, path, in, nil); err != nil {
		c.Fatalf("%s %s: %v", method, path, err)
	}
}

// entries returns the entries of a kind.
func (c *control) entries(kind string) (all []audit.Entry) {
	c.Helper()
	for before := ""; ; {
		var page struct {
			Items []audit.Entry
			Next  int64
		}
		if err := c.admin.Do(c.Context(), "GET", "/v1/audit/entries?limit=1000&kind="+kind+before, nil, &page); err != nil {
			c.Fatal(err)
		}
		all = append(all, page.Items...)
		if page.Next == 0 {
			return all
		}
		before = fmt.Sprintf("&before=%d", page.Next)
	}
}

// bench is the benchmark's organisation.
func bench(t testing.TB) server.Organisation {
	t.Helper()
	dir := t.TempDir()
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return server.Organisation{
		Catalog: file("catalog.json", fixture.Catalog()), Schema: file("organisation.cedarschema", []byte(fixture.Schema)),
		Policies: []string{file("organisation.cedar", []byte(fixture.Policies))}, Agents: file("agents.json", fixture.AgentsDocument()),
	}
}

// example is the example organisation.
func example(t testing.TB) server.Organisation {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, agentdojo.Files); err != nil {
		t.Fatal(err)
	}
	cfg, err := server.Load(filepath.Join(dir, "safeconduct.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Organisation
}

// same returns how two answers differ in what an enforcement point goes by, "" if they do not.
func same(service, local *client.Answer) string {
	tell := func(a *client.Answer) string {
		text, err := json.Marshal(map[string]any{
			"effect": a.Effect, "code": a.Code, "reasons": append([]authz.Reason{}, a.Reasons...), "changes": append([]authz.Change{}, a.Changes...),
			"obligations": append([]authz.Obligation{}, a.Obligations...), "remedies": append([]string{}, a.Remedies...),
			"offered": a.Offer != nil, "retry": a.RetryAfter, "reason": a.Reason, "next": a.NextAction,
		})
		if err != nil {
			return err.Error()
		}
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			return err.Error()
		}
		if text, err = json.MarshalIndent(v, "", " "); err != nil { // members in their order
			return err.Error()
		}
		return string(text)
	}
	return cmp.Diff(tell(service), tell(local))
}

// The same questions have the same answers here as there.
func TestSameAsTheService(t *testing.T) {
	c := serve(t, bench(t))
	r := run(t, c.config())
	service := c.client(c.token)
	kinds := map[string]int{}
	asked, here := 0, 0
	for _, m := range fixture.Mix(4000) {
		if kinds[m.Name]++; kinds[m.Name] > 3 {
			continue
		}
		asked++
		q := &client.Question{Requests: []authz.Request{request(t, m.Body)}}
		want, werr := service.Answer(t.Context(), q)
		got, gerr := r.Answer(t.Context(), q)
		if (werr == nil) != (gerr == nil) {
			t.Fatalf("%s: the service returns %v, the edge %v", m.Name, werr, gerr)
		}
		if diff := same(want[0], got[0]); diff != "" {
			t.Errorf("%s (-service +edge):\n%s", m.Name, diff)
		}
		if strings.HasPrefix(got[0].ID, "e") {
			here++
		}
	}
	if here < asked*3/4 {
		t.Errorf("of %d questions %d were answered here", asked, here)
	}
	t.Logf("%d questions of %d kinds, %d answered here", asked, len(kinds), here)
}

// So have the acts of recorded agents, those of batches, and those that nobody understands.
func TestSameOnTraces(t *testing.T) {
	if testing.Short() {
		t.Skip("replays all traces, by one goroutine")
	}
	c := serve(t, example(t))
	r := run(t, c.config())
	service := c.client(c.token)
	all, err := demo.Traces()
	if err != nil {
		t.Fatal(err)
	}
	var asked, here, again atomic.Int64
	ask := func(ctx context.Context, req authz.Request) (demo.Answer, error) {
		asked.Add(1)
		q := &client.Question{Requests: []authz.Request{req}}
		for try := 0; ; try++ {
			want, werr := service.Answer(ctx, q)
			got, gerr := r.Answer(ctx, q)
			if errors.Is(werr, authz.ErrInvalid) && errors.Is(gerr, authz.ErrInvalid) {
				return demo.Answer{Code: authz.CodeInvalid}, nil
			} else if werr != nil || gerr != nil {
				return demo.Answer{}, fmt.Errorf("the service: %w, the edge: %w", werr, gerr)
			}
			if strings.HasPrefix(got[0].ID, "e") && try == 0 {
				here.Add(1)
			}
			diff := same(want[0], got[0])
			if diff != "" && try < 20 { // what an agent does changes what is known of it, here a moment later
				again.Add(1)
				if !wait(ctx, 200*time.Millisecond) {
					return demo.Answer{}, ctx.Err()
				}
				continue
			}
			if diff != "" {
				t.Errorf("%s by %s (-service +edge):\n%s", req.Action.Name, req.Subject.ID, diff)
			}
			return demo.Answer{Effect: want[0].Effect, Code: want[0].Code}, nil
		}
	}
	replay := demo.Replay{Traces: all, Ask: ask, Now: time.Now}
	if _, err := replay.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d traces, %d acts, %d of them answered here, %d asked again", len(all.Traces), asked.Load(), here.Load(), again.Load())

	odd := authz.Request{Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "banking.gpt-4o-2024-05-13"}}, Action: authz.Action{Name: "no_such"}, Resource: authz.Entity{Ref: authz.Ref{Type: "Account", ID: "own"}}}
	good := odd
	good.Action.Name = "get_balance"
	batch := &client.Question{Requests: []authz.Request{good, odd, good}}
	want, werr := service.Answer(t.Context(), batch)
	got, gerr := r.Answer(t.Context(), batch)
	if werr != nil || gerr != nil || len(got) != 3 {
		t.Fatalf("a batch: the service %v, the edge %v, %d answers", werr, gerr, len(got))
	}
	for i := range got {
		if want[i].Effect != got[i].Effect || want[i].Code != got[i].Code {
			t.Errorf("request %d of a batch: the service says %s, the edge %s", i, want[i].Code, got[i].Code)
		}
	}
	_, werr = service.Answer(t.Context(), &client.Question{Requests: []authz.Request{odd}})
	_, gerr = r.Answer(t.Context(), &client.Question{Requests: []authz.Request{odd}})
	if !errors.Is(werr, authz.ErrInvalid) || !errors.Is(gerr, authz.ErrInvalid) {
		t.Errorf("what nobody understands: the service %v, the edge %v", werr, gerr)
	}
}

// wait waits on the clock of the service, which tells what has changed when it does.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// What is changed there has an effect here at once.
func TestServiceChanges(t *testing.T) {
	c := serve(t, bench(t))
	r := run(t, c.config())
	req := handbook(t)
	code := func() string {
		a, err := r.ask(req)
		if err != nil {
			return err.Error()
		}
		return a.Code
	}
	if got := code(); got != authz.CodeAllowed {
		t.Fatalf("at first: %s", got)
	}
	soon := func(what, want string, change func()) {
		t.Helper()
		change()
		begin := time.Now()
		r.until(what, func() bool { return code() == want })
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("%s takes effect after %v, want within 2 seconds", what, took)
		} else {
			t.Logf("%s takes effect after %v", what, took.Round(time.Millisecond))
		}
	}
	soon("suspending an agent", authz.CodeAgentInactive, func() {
		c.do("POST", "/v1/agents/"+req.Subject.ID+"/state", map[string]any{"state": "suspended", "if_revision": 1})
	})
	soon("restoring it", authz.CodeAllowed, func() {
		c.do("POST", "/v1/agents/"+req.Subject.ID+"/state", map[string]any{"state": "active", "if_revision": 2})
	})
	stop := map[string]any{"schema": fixture.Schema, "files": []map[string]any{
		{"name": "z.cedar", "text": fixture.Policies}, {"name": "a.cedar", "text": `@id("stop") forbid (principal, action, resource) when { context.observed.risk.alerts.contains("ransomware") };`},
	}}
	c.do("POST", "/v1/policies", map[string]any{"source": stop, "if_version": 1})
	r.until("the new policies", func() bool { return r.Status().Version == 2 })
	soon("an alert", authz.CodeForbidden, func() {
		c.do("PUT", "/v1/alerts/a-1", map[string]any{"kind": "ransomware", "severity": "low", "expires_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
	})
	soon("clearing it", authz.CodeAllowed, func() { c.do("POST", "/v1/alerts/a-1/clear", map[string]any{}) })
}

// A service that stops is missed for as long as may be, and what was decided meanwhile is recorded once.
func TestServiceStops(t *testing.T) {
	c := serve(t, bench(t))
	cfg := c.config()
	cfg.MaxStale = 3 * time.Second
	r := run(t, cfg)
	req := handbook(t)
	want := map[string]int{}
	ask := func() error {
		id := fmt.Sprint(len(want))
		req.Observed.RequestID = id
		a, err := r.ask(req)
		if err == nil {
			want[id] = 1
			err = r.Outcome(t.Context(), a.ID, client.Outcome{Latency: time.Second})
		}
		return err
	}
	for range 20 {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	c.stop()
	if err := ask(); err != nil {
		t.Fatalf("just after the service has stopped: %v", err)
	}
	r.until("it refuses", func() bool { return errors.Is(ask(), authz.ErrUnavailable) })
	c.start()
	r.until("it answers again", func() bool { return ask() == nil })
	r.until("all of it is recorded", func() bool { return r.Status().Pending == 0 })
	got := map[string]int{}
	for _, e := range c.entries("decision.made") {
		rec, err := pdp.ParseRecord(e.Body)
		if err != nil {
			t.Fatal(err)
		}
		if e.Actor != "edge:gate" {
			t.Errorf("entry %d is by %q", e.Seq, e.Actor)
		}
		got[rec.Request.Observed.RequestID]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("recorded, by request (-want +got):\n%s", diff)
	}
	if n := len(c.entries("outcome.reported")); n != len(want) {
		t.Errorf("%d outcomes are recorded, want %d", n, len(want))
	}
}

// A passport of the service's counts here as it does there, once for each proof, until it is revoked.
func TestServicePassport(t *testing.T) {
	const payer = "banking.gpt-4o-2024-05-13"
	c := serve(t, example(t))
	r := run(t, c.config())
	var e struct{ Token string }
	if err := c.admin.Do(t.Context(), "POST", "/v1/agents/"+payer+"/enrolment", map[string]any{"why": "test", "ttl_seconds": 3600}, &e); err != nil {
		t.Fatal(err)
	}
	a, err := client.Enrol(t.Context(), client.Enrolment{Issuer: c.url, Token: e.Token, File: filepath.Join(t.TempDir(), "key"), HTTP: c.admin.HTTP})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := a.Token(t.Context(), client.TokenRequest{Scope: []string{"see-accounts"}, Resource: door})
	if err != nil {
		t.Fatal(err)
	}
	show := func() *authz.Presented {
		proof, err := tok.Proof(method, target, "")
		if err != nil {
			t.Fatal(err)
		}
		return &authz.Presented{Token: tok.Value, Scheme: "dpop", Proof: proof, Method: method, URL: target, Audience: door}
	}
	req := authz.Request{Action: authz.Action{Name: "get_balance"}, Resource: authz.Entity{Ref: authz.Ref{Type: "Account", ID: "own"}}}
	mail := authz.Request{Action: authz.Action{Name: "search_emails"}, Resource: authz.Entity{Ref: authz.Ref{Type: "Mailbox", ID: "own"}}}
	service := c.client(c.token)
	for _, req := range []authz.Request{req, mail} {
		want, err := service.Answer(t.Context(), &client.Question{Requests: []authz.Request{req}, Presented: show()})
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Answer(t.Context(), &client.Question{Requests: []authz.Request{req}, Presented: show()})
		if err != nil {
			t.Fatal(err)
		}
		if diff := same(want[0], got[0]); diff != "" {
			t.Errorf("%s (-service +edge):\n%s", req.Action.Name, diff)
		}
	}
	shown := show()
	if code, err := r.present(shown, req); code != authz.CodeAllowed || err != nil {
		t.Errorf("a passport: %s, %v, want %s", code, err, authz.CodeAllowed)
	}
	if code, err := r.present(shown, req); code != authz.CodePassportInvalid || err != nil {
		t.Errorf("its proof replayed: %s, %v, want %s", code, err, authz.CodePassportInvalid)
	}
	c.do("POST", "/v1/agents/"+payer+"/keys/revoke", map[string]any{"all": true})
	begin := time.Now()
	r.until("its key is revoked", func() bool { code, _ := r.present(show(), req); return code == authz.CodePassportInvalid })
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("a revoked key counts for %v more", took)
	}
}

// An enforcer goes by what is decided here, and what came of an act reaches the log.
func TestServiceEnforcer(t *testing.T) {
	c := serve(t, bench(t))
	r := run(t, c.config())
	var req authz.Request
	for _, m := range fixture.Mix(4000) {
		if m.Name == "share a published answer" { // which obliges to notify the owner
			req = request(t, m.Body)
			req.Observed.Obligations = nil
			break
		}
	}
	notified := 0
	handlers := client.BuiltIn(slog.New(slog.DiscardHandler))
	handlers["notification"] = func(context.Context, *client.Duty) error { notified++; return nil }
	enforcer := &client.Enforcer{Guard: &client.Guard{Decider: r.Point}, Handlers: handlers}
	done, err := enforcer.Do(t.Context(), req, client.Act{Do: func(context.Context) (json.RawMessage, error) { return json.RawMessage(`"shared"`), nil }})
	if err != nil || done.Decision != "e1" || done.Unreported != nil || notified != 1 {
		t.Fatalf("Do = %+v, %v, after %d notifications, want e1 and one", done, err, notified)
	}
	r.until("it is sent", func() bool { return r.Status().Pending == 0 })
	all := c.entries("outcome.reported")
	if len(all) != 1 || !strings.Contains(string(all[0].Body), `"met":["notify-owner"]`) {
		t.Errorf("outcomes in the log: %v, want that the obligation was met", all)
	}

	refused := req
	refused.Subject.ID = "nobody"
	_, err = enforcer.Do(t.Context(), refused, client.Act{Do: func(context.Context) (json.RawMessage, error) {
		t.Error("a refused act happens")
		return nil, nil
	}})
	if why, ok := errors.AsType[*client.RefusedError](err); !ok || why.Answer.Code != authz.CodeAgentUnknown {
		t.Errorf("Do of an agent that nobody knows: %v, want a refusal", err)
	}
}
