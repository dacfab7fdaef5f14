package httpproxy_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/httpproxy"
	"github.com/safeconduct/safeconduct/internal/server/servertest"
)

// bank is an organisation whose agents pay, and whose people agree to larger sums.
var bank = map[string]string{
	"catalog.yaml": `
types: {Account: {class: internal}}
capabilities: {pay: {class: money, actions: [pay, follow]}}
approvers: {finance: {members: [{type: user, id: anna}]}}
approvals:
  routes: {finance: {title: Larger payments, approvers: [finance], uses: 1}}
entities: [{type: Account, id: acme}]
`,
	"schema.cedarschema": `entity Account {};
action "pay" appliesTo { principal: [Agent, User], resource: [Account], context: { observed: Observed, claimed: Claimed, args: { amount: decimal } } };
action "follow" appliesTo { principal: [Agent, User], resource: [Account], context: { observed: Observed, claimed: Claimed, args: {} } };
`,
	"policies.cedar": `@id("pay")
permit (principal is Agent, action in [Action::"pay", Action::"follow"], resource) when { context.observed.grant.within.contains("pay") };
@id("carry") permit (principal is Agent, action == Action::"token.issue", resource);
@id("large") @remedy("approval") @approvers("finance")
forbid (principal, action == Action::"pay", resource) when { context.args.amount.greaterThan(decimal("500.0")) };
`,
	"agents.yaml": `agents: [{id: clerk, owner: olga, purpose: accounts-payable, version: "1", capabilities: [pay]}]`,
}

// A house is the service itself and a gateway before a bank.
type house struct {
	url   string // of the gateway
	anna  *client.Client
	agent *client.Agent
	log   *logs
	bank  *httptest.Server
}

const publicURL = "http://127.0.0.1:1" // by which agents know the gateway: nothing is sent there

// newHouse starts a house. The clocks of its gateway and of its agent are late by so much: to the service a proof that
// is shown now is so old.
func newHouse(t *testing.T, late time.Duration, behind http.HandlerFunc) *house {
	t.Helper()
	cfg := servertest.Texts(t, bank)
	cfg.OAuth.Audiences = []string{publicURL}
	s := servertest.Start(t, cfg)
	h := &house{log: new(logs), bank: httptest.NewServer(behind)}
	t.Cleanup(h.bank.Close)
	admin, err := client.New(s.URL(), servertest.AdminToken)
	if err != nil {
		t.Fatal(err)
	}
	var made, enrolment struct{ Token string }
	for _, step := range []struct {
		method, path string
		in           map[string]any
		out          any
	}{
		{"PUT", "/v1/people/anna", map[string]any{"name": "Anna", "why": "test"}, nil},
		{"POST", "/v1/callers", map[string]any{"name": "anna", "role": "approver", "why": "test"}, &made},
		{"POST", "/v1/agents/clerk/enrolment", map[string]any{"why": "test", "ttl_seconds": 3600}, &enrolment},
	} {
		if err := admin.Do(t.Context(), step.method, step.path, step.in, step.out); err != nil {
			t.Fatalf("%s %s: %v", step.method, step.path, err)
		}
	}
	if h.anna, err = client.New(s.URL(), made.Token); err != nil {
		t.Fatal(err)
	}
	if h.agent, err = client.Enrol(t.Context(), client.Enrolment{Issuer: s.URL(), Token: enrolment.Token, File: filepath.Join(t.TempDir(), "key")}); err != nil {
		t.Fatal(err)
	}

	t.Setenv(gateway.TokenVariable, servertest.PEPToken)
	file := filepath.Join(t.TempDir(), "http.yaml")
	if err := os.WriteFile(file, []byte(`
listen: 127.0.0.1:0
public_url: `+publicURL+`
service: {url: `+s.URL()+`}
authorization: {skew: 4m}
upstreams: {bank: {url: `+h.bank.URL+`}}
routes:
  - match: POST /{account}/payments
    action: pay
    resource: {type: Account, id: "{account}"}
    arguments: {amount: {from: "body:/amount", type: decimal}}
    approval: {mode: wait, wait: 30s}
  - {match: "GET /{account}/events", action: follow, resource: {type: Account, id: "{account}"}, websocket: true, recheck: 1s}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	doc, err := httpproxy.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	at := make(chan string, 1)
	g, p, err := doc.Open(t.Context(), gateway.Options{
		Logger: slog.New(slog.NewTextHandler(h.log, nil)), Now: func() time.Time { return time.Now().Add(-late) },
		Listening: func(a net.Addr) { at <- a.String() },
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, "reports", p.Run)
	run(t, "the gateway", g.Run)
	run(t, "the door", func(ctx context.Context) error { return g.Serve(ctx, p) })
	h.url = "http://" + <-at
	return h
}

// run runs something until the test ends, which it must do well.
func run(t *testing.T, what string, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stopping %s: %v", what, err)
		}
	})
}

// shows returns the headers of a request with a passport, and a proof that was made so long ago.
func (h *house) shows(t *testing.T, tok *client.Token, late time.Duration, method, path string) http.Header {
	t.Helper()
	h.agent.Now = func() time.Time { return time.Now().Add(-late) }
	proof, err := tok.Proof(method, publicURL+path, "")
	if err != nil {
		t.Fatal(err)
	}
	h.agent.Now = nil
	return http.Header{"Authorization": {tok.Type + " " + tok.Value}, "Dpop": {proof}, "Content-Type": {"application/json"}}
}

func (h *house) passport(t *testing.T) *client.Token {
	t.Helper()
	tok, err := h.agent.Token(t.Context(), client.TokenRequest{Scope: []string{"pay"}, Resource: publicURL})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// yes waits for anna's ask and answers it.
func (h *house) yes(t *testing.T) {
	var inbox struct {
		Items []struct{ ID string }
	}
	for deadline := time.Now().Add(20 * time.Second); len(inbox.Items) == 0; {
		if err := h.anna.Do(t.Context(), "GET", "/v1/approvals?mine=true", nil, &inbox); err != nil || time.Now().After(deadline) {
			t.Errorf("anna's inbox: %+v, %v", inbox, err)
			return
		}
	}
	path := "/v1/approvals/" + inbox.Items[0].ID
	var v struct{ View int64 }
	if err := h.anna.Do(t.Context(), "POST", path+"/view", map[string]any{}, &v); err != nil {
		t.Error(err)
		return
	}
	if err := h.anna.Do(t.Context(), "POST", path+"/answer", map[string]any{"yes": true, "view": v.View, "comment": "as agreed"}, nil); err != nil {
		t.Error(err)
	}
}

// Persons take their time: the passport is shown to the service again with a proof that by then is two minutes old.
func TestPassportIsShownAgainOncePersonsHaveApproved(t *testing.T) {
	const late = 2 * time.Minute
	paid := make(chan string, 2)
	h := newHouse(t, late, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what came is compared
		paid <- string(body)
	})
	tok := h.passport(t)
	answered := make(chan struct{})
	go func() { defer close(answered); h.yes(t) }()
	const payment = `{"amount": 900}`
	r, err := http.NewRequest("POST", h.url+"/acme/payments", strings.NewReader(payment))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = h.shows(t, tok, late, "POST", "/acme/payments")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-answered
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 {
		t.Fatalf("= %d %s, %v, want the payment made\n%s", resp.StatusCode, text, err, h.log)
	}
	if got := <-paid; got != payment {
		t.Errorf("paid %s, want %s", got, payment)
	}

	// To others the same proof is of no use.
	again, err := http.NewRequest("POST", h.url+"/acme/payments", strings.NewReader(payment))
	if err != nil {
		t.Fatal(err)
	}
	again.Header = r.Header
	resp, err = http.DefaultClient.Do(again)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 401 || len(paid) != 0 {
		t.Errorf("the same proof once more = %d, paid %d times more, want 401 and none", resp.StatusCode, len(paid))
	}
}

// What came of requests, and which servers do not answer, stands on the pages for operators.
func TestPagesForOperators(t *testing.T) {
	h := newHouse(t, 0, func(http.ResponseWriter, *http.Request) {})
	tok := h.passport(t)
	pay := func() int {
		t.Helper()
		r, err := http.NewRequest("POST", h.url+"/acme/payments", strings.NewReader(`{"amount": 1}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = h.shows(t, tok, 0, "POST", "/acme/payments")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	page := func(path string) string {
		t.Helper()
		resp, err := http.Get(h.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if status := pay(); status != 200 {
		t.Fatalf("= %d\n%s", status, h.log)
	}
	if got := page("/healthz"); got != "ok\n" {
		t.Errorf("/healthz = %q", got)
	}
	h.bank.Close()
	if status := pay(); status != 502 {
		t.Errorf("without a server = %d, want 502", status)
	}
	if got := page("/healthz"); !strings.Contains(got, "warning: the server bank does not answer since ") {
		t.Errorf("/healthz = %q, want that the server does not answer", got)
	}
	numbers := page("/metrics")
	for _, want := range []string{
		`safeconduct_gateway_server_up{server="bank"} 0`,
		`safeconduct_gateway_requests_total{outcome="passed",route="POST /{account}/payments"} 1`,
		`safeconduct_gateway_requests_total{outcome="failed",route="POST /{account}/payments"} 1`,
		`safeconduct_gateway_request_seconds_count{route="POST /{account}/payments"} 2`,
	} {
		if !strings.Contains(numbers, want+"\n") {
			t.Errorf("/metrics does not say %s", want)
		}
	}
}

// A WebSocket goes on with the passport that opened it, and no longer than that counts.
func TestWebSocketIsClosedWhenItsPassportIsRevoked(t *testing.T) {
	const late = 2 * time.Minute
	h := newHouse(t, late, sockets)
	tok := h.passport(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, h.url+"/acme/events", &websocket.DialOptions{HTTPHeader: h.shows(t, tok, late, "GET", "/acme/events")})
	if err != nil {
		t.Fatalf("%v\n%s", err, h.log)
	}
	defer c.CloseNow()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < 2500*time.Millisecond; <-tick.C { // through two more decisions, by a proof that is old
		if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, []byte("hello")) {
			t.Fatalf("Read = %q, %v, want what was said\n%s", got, err, h.log)
		}
	}
	if err := h.agent.Revoke(ctx, tok.Value); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("Read = %v, want the connection to end", err)
	}
	if !strings.Contains(h.log.String(), "websocket closed: no longer allowed") {
		t.Errorf("the log does not say why it was closed:\n%s", h.log)
	}
}
