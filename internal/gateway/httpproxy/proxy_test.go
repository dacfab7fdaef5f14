package httpproxy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/httpproxy"
	"github.com/safeconduct/safeconduct/internal/gateway/route"
)

// A judge answers as it is told, and remembers what it was asked and told.
type judge struct {
	mu       sync.Mutex
	answer   func(authz.Request) (*client.Answer, error)
	asked    []authz.Request
	shown    []*authz.Presented // with each of asked
	outcomes []client.Outcome
	told     chan client.Outcome
}

func (j *judge) Answer(_ context.Context, q *client.Question) ([]*client.Answer, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []*client.Answer
	for _, r := range q.Requests {
		j.asked, j.shown = append(j.asked, r), append(j.shown, q.Presented)
		a, err := j.answer(r)
		if err != nil {
			return nil, err
		}
		a.Seq = int64(len(j.asked))
		out = append(out, a)
	}
	return out, nil
}

func (j *judge) Outcome(_ context.Context, _ string, o client.Outcome) error {
	j.mu.Lock()
	j.outcomes = append(j.outcomes, o)
	j.mu.Unlock()
	j.told <- o
	return nil
}

func (j *judge) set(f func(authz.Request) (*client.Answer, error)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.answer = f
}

func (j *judge) last(t *testing.T) authz.Request {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.asked) == 0 {
		t.Fatal("nothing was asked")
	}
	return j.asked[len(j.asked)-1]
}

func (j *judge) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.asked)
}

// outcome waits for the next outcome.
func (j *judge) outcome(t *testing.T) client.Outcome {
	t.Helper()
	select {
	case o := <-j.told:
		return o
	case <-time.After(10 * time.Second):
		t.Fatal("no outcome was reported")
		panic("unreachable")
	}
}

func allow(obligations ...authz.Obligation) func(authz.Request) (*client.Answer, error) {
	return func(authz.Request) (*client.Answer, error) {
		return &client.Answer{Decision: authz.Decision{Effect: authz.Allow, Code: authz.CodeAllowed, Obligations: slices.Clone(obligations)}}, nil
	}
}

func mask(fields ...string) authz.Obligation {
	text, _ := json.Marshal(map[string]any{"obligation": "mask", "fields": fields})
	return authz.Obligation{ID: "hide", Type: "custom", Properties: text}
}

func deny(code string) func(authz.Request) (*client.Answer, error) {
	return func(authz.Request) (*client.Answer, error) {
		return &client.Answer{Decision: authz.Decision{
			Code: code, Reasons: []authz.Reason{{Code: "too-much", Message: "That is too much."}},
			Changes: []authz.Change{{Who: "agent", Kind: "lower", Target: "action.amount", To: json.RawMessage(`500`), Hint: "Pay less."}},
		}}, nil
	}
}

// A gate lets everybody in whose token is good, and shows upstreams one credential.
type gate struct {
	failOpen bool
	passport *authz.Presented
	expires  time.Time
	refused  func(*http.Response) bool
	apply    func(*http.Request) error
}

func (g *gate) Verify(r *http.Request) (*gateway.Who, error) {
	if r.Header.Get("Authorization") != "Bearer good" {
		return nil, &gateway.Challenge{Status: http.StatusUnauthorized}
	}
	if g.passport != nil {
		return &gateway.Who{Presented: g.passport, Key: "bot", Claims: map[string]any{
			"sub": "user:ann", "act": map[string]any{"sub": "bot", "act": map[string]any{"sub": "planner"}},
		}}, nil
	}
	return &gateway.Who{
		Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}}, Key: "bot", Address: netip.MustParseAddr("192.0.2.7"),
		Claims: map[string]any{"sub": "bot", "org": map[string]any{"id": "acme"}}, Expires: g.expires,
	}, nil
}

func (g *gate) Ask(w *gateway.Who, reqs ...authz.Request) client.Question {
	for i := range reqs {
		reqs[i].Subject, reqs[i].OnBehalf, reqs[i].Observed.Address = w.Subject, w.OnBehalf, w.Address
	}
	return client.Question{Requests: reqs, Presented: w.Presented}
}

func (g *gate) Apply(_ context.Context, name string, _ *gateway.Who, r *http.Request) error {
	gateway.Strip(r.Header)
	if g.apply != nil {
		return g.apply(r)
	}
	r.Header.Set("Authorization", "Bearer upstream-"+name)
	return nil
}

func (g *gate) Refused(_ string, _ *gateway.Who, resp *http.Response) bool {
	return g.refused != nil && g.refused(resp)
}

func (g *gate) Unavailable(string, error) bool { return g.failOpen }

// A bench is a proxy before an upstream.
type bench struct {
	*httptest.Server
	judge *judge
	gate  *gate
	log   *logs
}

// logs keeps what was logged.
type logs struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func table(t testing.TB, rules string) *route.Table {
	t.Helper()
	tab, err := route.Parse([]byte(rules))
	if err != nil {
		t.Fatalf("Parse(%s): %v", rules, err)
	}
	return tab
}

// open starts a proxy with these rules before upstream.
func open(t testing.TB, rules, upstream string, more ...func(*httpproxy.Config)) *bench {
	t.Helper()
	b := &bench{judge: &judge{answer: allow(), told: make(chan client.Outcome, 1000)}, gate: new(gate), log: new(logs)}
	up, err := httpproxy.NewUpstream("api", upstream, httpproxy.TLSConfig{})
	if err != nil {
		t.Fatal(err)
	}
	up.Credential = "key"
	logger := slog.New(slog.NewTextHandler(b.log, nil))
	cfg := httpproxy.Config{
		Gate: b.gate, Table: table(t, rules), Upstreams: map[string]*httpproxy.Upstream{"api": up}, Logger: logger,
		Enforcer: &client.Enforcer{Guard: &client.Guard{Decider: b.judge}, Handlers: client.BuiltIn(logger)},
	}
	for _, f := range more {
		f(&cfg)
	}
	p, err := httpproxy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	b.Server = httptest.NewUnstartedServer(p)
	b.Config.ErrorLog = slog.NewLogLogger(logger.Handler(), slog.LevelDebug)
	b.Start()
	t.Cleanup(func() {
		b.Server.Close()
		cancel()
		wg.Wait()
	})
	return b
}

// upstream starts a server.
func upstream(t testing.TB, f http.HandlerFunc) string {
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

// do sends a request with a good token. Headers are "Name: value".
func (b *bench) do(t testing.TB, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, b.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer good")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading the response: %v", err)
	}
	return resp, string(text)
}

const payments = `
routes:
  - match: POST /accounts/{account}/payments
    action: make-payments
    resource: {type: Account, id: "{account}", properties: {owner: "claim:/org/id"}}
    arguments:
      amount: {from: "body:/amount", type: decimal}
      recipient: {from: "body:/to/iban", type: string}
      reference: {from: "query:ref", optional: true}
      channel: {from: "header:X-Channel", optional: true}
      kind: {value: transfer}
    task: pay-bills
    upstream: api
    dry_run: {header: "X-Dry-Run: true"}
  - match: GET /accounts/{account}
    action: see-accounts
    resource: {type: Account, id: "{account}"}
    upstream: api
  - match: "* /files/{rest...}"
    action: files
    resource: {type: File, id: "{rest}"}
    upstream: api
    masking: refuse
`

// echo tells in JSON what it received.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"method": r.Method, "uri": r.RequestURI, "header": r.Header, "body": string(body), "trailer": r.Trailer, "host": r.Host, "secret": "s3cret"})
}

func TestWhatIsAskedAndPassedOn(t *testing.T) {
	b := open(t, payments, upstream(t, echo))
	const sent = `{"to": {"iban": "CH93", "name": "Ann"}, "amount": 12.50}`
	resp, text := b.do(t, "POST", "/accounts/CH12%20X/payments?ref=June&x=%41", sent, "Content-Type: application/json", "X-Channel: web", "Cookie: a=b", "X-Forwarded-For: 1.2.3.4")
	if resp.StatusCode != 200 || resp.Header.Get(httpproxy.DecisionHeader) != "d1" {
		t.Fatalf("POST = %d %v %s, want 200 and the decision d1", resp.StatusCode, resp.Header, text)
	}
	got := b.judge.last(t)
	want := authz.Request{
		Subject:  authz.Entity{Ref: authz.Ref{Type: "agent", ID: "bot"}},
		Action:   authz.Action{Name: "make-payments", Properties: authz.Claimed(`{"amount":12.50,"channel":"web","kind":"transfer","recipient":"CH93","reference":"June"}`)},
		Resource: authz.Entity{Ref: authz.Ref{Type: "Account", ID: "CH12 X"}, Properties: authz.Claimed(`{"owner":"acme"}`)},
		Observed: authz.Observed{Task: "pay-bills", Address: netip.MustParseAddr("192.0.2.7"), Obligations: []string{"cap", "delay", "dry-run", "log", "mask"}},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("what was asked (-want +got):\n%s", diff)
	}
	var received struct {
		URI    string
		Body   string
		Header http.Header
	}
	if err := json.Unmarshal([]byte(text), &received); err != nil {
		t.Fatal(err)
	}
	if received.URI != "/accounts/CH12%20X/payments?ref=June&x=%41" || received.Body != sent {
		t.Errorf("upstream received %q with body %q, want what was sent", received.URI, received.Body)
	}
	for name, want := range map[string]string{"Authorization": "Bearer upstream-key", "X-Forwarded-For": "192.0.2.7", "Cookie": "", "X-Channel": "web"} {
		if got := received.Header.Get(name); name != "Cookie" && got != want {
			t.Errorf("upstream received %s: %q, want %q", name, got, want)
		}
	}
	o := b.judge.outcome(t)
	if o.Fault != "" || o.Size != int64(len(text)) || o.Latency <= 0 {
		t.Errorf("outcome = %+v, want no fault, size %d and a latency", o, len(text))
	}
}

func TestRefusals(t *testing.T) {
	reached := false
	b := open(t, payments, upstream(t, func(http.ResponseWriter, *http.Request) { reached = true }))
	b.judge.set(deny(authz.CodeForbidden))
	resp, text := b.do(t, "GET", "/accounts/7", "")
	var p struct {
		Status   int
		Code     string
		Detail   string
		Decision string `json:"evaluation_id"`
		Reasons  []authz.Reason
		Changes  []authz.Change
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%v: %s", err, text)
	}
	if resp.StatusCode != 403 || p.Status != 403 || p.Code != authz.CodeForbidden || p.Decision != "d1" || resp.Header.Get(httpproxy.DecisionHeader) != "d1" ||
		p.Detail != "That is too much." || len(p.Reasons) != 1 || len(p.Changes) != 1 {
		t.Errorf("refusal = %d %s", resp.StatusCode, text)
	}

	b.judge.set(func(authz.Request) (*client.Answer, error) {
		return &client.Answer{Decision: authz.Decision{Effect: authz.StepUp, Code: authz.CodeStepUpRequired, Obligations: []authz.Obligation{
			{ID: "s", Type: "step-up", Properties: json.RawMessage(`{"acr_value":"phr"}`)}}}}, nil
	})
	resp, _ = b.do(t, "GET", "/accounts/7", "")
	if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != 401 || !strings.HasPrefix(got, "Bearer ") || !strings.Contains(got, `error="insufficient_user_authentication"`) || !strings.Contains(got, `acr_values="phr"`) {
		t.Errorf("step-up = %d %q, want 401 and a challenge of RFC 9470", resp.StatusCode, got)
	}

	down := func(authz.Request) (*client.Answer, error) {
		return nil, authz.Errorf(authz.ErrUnavailable, "the service is down")
	}
	b.judge.set(down)
	resp, _ = b.do(t, "GET", "/accounts/7", "")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("unavailable = %d, Retry-After %q, want 503 and a time", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	if b.gate.failOpen = true; reached {
		t.Error("something was passed on")
	}
	if resp, _ = b.do(t, "GET", "/accounts/7", ""); resp.StatusCode != 503 || reached {
		t.Errorf("unavailable where the route does not allow it = %d, want 503", resp.StatusCode)
	}

	for _, path := range []string{"/", "/accounts", "/accounts/", "/accounts/7/payments/x"} {
		n := b.judge.count()
		if resp, text := b.do(t, "GET", path, ""); resp.StatusCode != 404 || !strings.Contains(text, `"no_route"`) || b.judge.count() != n || reached {
			t.Errorf("GET %s = %d %s, want 404, and nothing asked", path, resp.StatusCode, text)
		}
	}
	if !strings.Contains(b.log.String(), "no route, refused") {
		t.Error("the log does not say that there was no route")
	}
	r, err := http.Get(b.URL + "/accounts/7")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 401 {
		t.Errorf("without a token = %d, want 401", r.StatusCode)
	}
}

func TestUnavailableIsAllowedOnlyWhereTheRouteSaysSo(t *testing.T) {
	b := open(t, strings.Replace(payments, "    action: see-accounts", "    on_unavailable: allow\n    action: see-accounts", 1), upstream(t, echo))
	b.judge.set(func(authz.Request) (*client.Answer, error) {
		return nil, authz.Errorf(authz.ErrUnavailable, "the service is down")
	})
	if resp, _ := b.do(t, "GET", "/accounts/7", ""); resp.StatusCode != 503 {
		t.Errorf("without the flag = %d, want 503", resp.StatusCode)
	}
	b.gate.failOpen = true
	if resp, _ := b.do(t, "GET", "/accounts/7", ""); resp.StatusCode != 200 || resp.Header.Get(httpproxy.DecisionHeader) != "" {
		t.Errorf("with the flag = %d, want 200 without a decision", resp.StatusCode)
	}
	// A refusal is a decision, whatever its code, and so is an obligation that cannot be met.
	b.judge.set(deny(authz.CodeUnavailable))
	if resp, _ := b.do(t, "GET", "/accounts/7", ""); resp.StatusCode != 503 {
		t.Errorf("refused as unavailable = %d, want 503", resp.StatusCode)
	}
	b.judge.set(allow(authz.Obligation{ID: "x", Type: "custom", Properties: json.RawMessage(`{"obligation":"unheard-of"}`)}))
	if resp, text := b.do(t, "GET", "/accounts/7", ""); resp.StatusCode != 403 || !strings.Contains(text, client.CodeUnmet) {
		t.Errorf("unmet obligation = %d %s, want 403", resp.StatusCode, text)
	}
}

// TestServiceThatRefusesToAnswer wants that only a service that fails is one that does not decide.
func TestServiceThatRefusesToAnswer(t *testing.T) {
	status := 0
	service := upstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	b := open(t, strings.Replace(payments, "    action: see-accounts", "    on_unavailable: allow\n    action: see-accounts", 1), upstream(t, echo), func(c *httpproxy.Config) {
		asking, err := client.New(service, "token")
		if err != nil {
			t.Fatal(err)
		}
		asking.Attempts = 1
		c.Enforcer.Guard.Decider = asking
	})
	b.gate.failOpen = true
	for code, passes := range map[int]bool{403: false, 404: false, 409: false, 429: false, 503: true} {
		status = code
		if resp, text := b.do(t, "GET", "/accounts/7", ""); passes != (resp.StatusCode == 200) {
			t.Errorf("while the service answers %d: %d %s, want it passes: %v", code, resp.StatusCode, text, passes)
		}
	}
}

func TestBodies(t *testing.T) {
	b := open(t, payments, upstream(t, echo))
	const path = "/accounts/7/payments"
	for _, c := range []struct {
		name, body string
		status     int
		headers    []string
	}{
		{"twice", `{"amount": 1, "amount": 1000, "to": {"iban": "x"}}`, 400, nil},
		{"twice, deep and unmapped", `{"amount": 1, "to": {"iban": "x", "n": {"a": 1, "a": 2}}}`, 400, nil},
		{"twice, escaped", `{"amount": 1, "\u0061mount": 1000, "to": {"iban": "x"}}`, 400, nil},
		{"another case", `{"amount": 1, "Amount": 1000, "to": {"iban": "x"}}`, 400, nil},
		{"another case of an old letter", `{"amount": 1, "to": {"iban": "x", "İban": 1, "ıban": "y"}}`, 200, nil}, // other letters
		{"missing", `{"amount": 1, "to": {}}`, 400, nil},
		{"wrong type", `{"amount": "many", "to": {"iban": "x"}}`, 400, nil},
		{"exponent", `{"amount": 1e3, "to": {"iban": "x"}}`, 400, nil},
		{"two values", `{"amount": 1, "to": {"iban": "x"}} {}`, 400, nil},
		{"not JSON", `amount=1`, 400, nil},
		{"empty", ``, 400, nil},
		{"BOM", "\ufeff" + `{"amount": 1, "to": {"iban": "x"}}`, 400, nil},
		{"not UTF-8", "{\"amount\": 1, \"to\": {\"iban\": \"\xff\"}}", 400, nil},
		{"deep", strings.Repeat(`{"a":`, 20000), 400, nil},
		{"another charset", `{"amount": 1, "to": {"iban": "x"}}`, 415, []string{"Content-Type: application/json; charset=utf-7"}},
		{"another type", `{"amount": 1, "to": {"iban": "x"}}`, 415, []string{"Content-Type: text/plain"}},
		{"two types", `{"amount": 1, "to": {"iban": "x"}}`, 400, []string{"Content-Type: application/json", "Content-Type: text/plain"}},
		{"compressed", `{"amount": 1, "to": {"iban": "x"}}`, 415, []string{"Content-Type: application/json", "Content-Encoding: gzip"}},
		{"good", `{"amount": 1, "to": {"iban": "x"}}`, 200, nil},
		{"large", `{"amount": 1, "to": {"iban": "x"}, "pad": "` + strings.Repeat("a", 1<<20) + `"}`, 413, nil},
		{"channel twice", `{"amount": 1, "to": {"iban": "x"}}`, 400, []string{"Content-Type: application/json", "X-Channel: a", "X-Channel: b"}},
		{"method override", `{"amount": 1, "to": {"iban": "x"}}`, 400, []string{"Content-Type: application/json", "X-HTTP-Method-Override: DELETE"}},
	} {
		h := c.headers
		if h == nil {
			h = []string{"Content-Type: application/json"}
		}
		n := b.judge.count()
		resp, text := b.do(t, "POST", path, c.body, h...)
		if asked := b.judge.count() - n; resp.StatusCode != c.status || (asked > 0) != (c.status == 200) {
			t.Errorf("%s: %d, asked %d, want %d: %.200s", c.name, resp.StatusCode, asked, c.status, text)
		}
	}
	for _, query := range []string{"?ref=a&ref=b", "?ref=a&%72ef=b", "?ref=a&REF=b", "?REF=b", "?ref[]=b", "?ref=a;ref=b", "?ref=%zz", "?_method=DELETE", "?ref=%00"} {
		if resp, text := b.do(t, "POST", path+query, `{"amount": 1, "to": {"iban": "x"}}`, "Content-Type: application/json"); resp.StatusCode != 400 {
			t.Errorf("%s: %d, want 400: %.200s", query, resp.StatusCode, text)
		}
	}
}

func TestMask(t *testing.T) {
	type reply struct {
		status int
		header []string
		body   string
	}
	var next reply
	b := open(t, payments, upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			t.Error("a range was asked for of what must be whole")
		}
		for _, h := range next.header {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Add(name, value)
		}
		w.WriteHeader(next.status)
		_, _ = io.WriteString(w, next.body)
	}))
	b.judge.set(allow(mask("/secret", "iban")))
	for _, c := range []struct {
		name   string
		reply  reply
		status int
		want   string // of the body; "" stands for withheld
	}{
		{"JSON", reply{200, []string{"Content-Type: application/json", `ETag: "s3cret"`}, `{"secret": "s3cret", "a": [{"iban": "s3cret"}]}`}, 200, `{"secret":"***","a":[{"iban":"***"}]}`},
		{"an error too", reply{404, []string{"Content-Type: application/problem+json"}, `{"secret": "s3cret"}`}, 404, `{"secret":"***"}`},
		{"no JSON", reply{200, []string{"Content-Type: text/plain"}, `s3cret`}, 500, ""},
		{"no type", reply{200, []string{"Content-Type: "}, `{"secret":"s3cret"}`}, 500, ""},
		{"broken JSON", reply{200, []string{"Content-Type: application/json"}, `{"secret": "s3cret"`}, 500, ""},
		{"twice", reply{200, []string{"Content-Type: application/json"}, `{"x": 1, "x": "s3cret"}`}, 500, ""},
		{"brotli", reply{200, []string{"Content-Type: application/json", "Content-Encoding: br"}, `s3cret`}, 500, ""},
		{"another charset", reply{200, []string{"Content-Type: application/json; charset=utf-16"}, `{"secret":"s3cret"}`}, 500, ""},
		{"too large", reply{200, []string{"Content-Type: application/json"}, `{"secret": "s3cret` + strings.Repeat("x", 5<<20) + `"}`}, 500, ""},
		{"empty", reply{204, nil, ""}, 204, "-"},
	} {
		next = c.reply
		resp, text := b.do(t, "GET", "/accounts/7", "", "Range: bytes=0-3", "Accept-Encoding: br, gzip")
		o := b.judge.outcome(t)
		shown := fmt.Sprint(text, resp.Header)
		switch {
		case strings.Contains(shown, "s3cret"):
			t.Errorf("%s: the secret is shown: %s", c.name, shown)
		case resp.StatusCode != c.status:
			t.Errorf("%s: %d, want %d: %s", c.name, resp.StatusCode, c.status, text)
		case c.want == "" && !strings.Contains(text, client.CodeWithheld):
			t.Errorf("%s: %s, want it withheld", c.name, text)
		case c.want != "" && c.want != "-" && text != c.want:
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
		if c.want == "" && o.Size != 0 && strings.Contains(text, "s3cret") {
			t.Errorf("%s: outcome %+v", c.name, o)
		}
	}
	next = reply{200, []string{"Content-Type: application/json"}, `{"secret": "s3cret"}`}
	n := b.judge.count()
	if resp, text := b.do(t, "GET", "/files/a", ""); resp.StatusCode != 403 || !strings.Contains(text, client.CodeUnmet) {
		t.Errorf("a mask where the route cannot: %d %s, want 403", resp.StatusCode, text)
	}
	if b.judge.count() != n+1 || slices.Contains(b.judge.last(t).Observed.Obligations, "mask") {
		t.Error("the service was told that masks can be met where they cannot")
	}
}

func TestDryRun(t *testing.T) {
	b := open(t, payments, upstream(t, echo))
	b.judge.set(allow(authz.Obligation{ID: "try", Type: "custom", Properties: json.RawMessage(`{"obligation":"dry-run"}`)}))
	resp, text := b.do(t, "POST", "/accounts/7/payments", `{"amount": 1, "to": {"iban": "x"}}`, "Content-Type: application/json", "X-Dry-Run: false")
	if resp.StatusCode != 200 || !strings.Contains(text, `"X-Dry-Run":["true"]`) || resp.Header.Get(httpproxy.TriedHeader) != "?1" {
		t.Errorf("dry run = %d %v %s, want the upstream told so", resp.StatusCode, resp.Header, text)
	}
	if resp, text := b.do(t, "GET", "/accounts/7", ""); resp.StatusCode != 403 {
		t.Errorf("dry run of what cannot be tried = %d %s, want 403", resp.StatusCode, text)
	}
}

func TestApprovalIsPresented(t *testing.T) {
	b := open(t, payments, upstream(t, echo))
	if resp, _ := b.do(t, "GET", "/accounts/7", "", "Safeconduct-Approval: ap1"); resp.StatusCode != 200 {
		t.Errorf("= %d, want 200", resp.StatusCode)
	}
	if got := b.judge.last(t).Approval; got == nil || got.ID != "ap1" {
		t.Errorf("approval asked with = %+v, want ap1", got)
	}
	if resp, _ := b.do(t, "GET", "/accounts/7", "", "Safeconduct-Approval: a", "Safeconduct-Approval: b"); resp.StatusCode != 400 {
		t.Errorf("two approvals = %d, want 400", resp.StatusCode)
	}
}

func TestUpstreamRefusesTheCredential(t *testing.T) {
	tries := 0
	b := open(t, payments, upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if tries++; tries != 2 {
			w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="https://evil.example"`)
			w.WriteHeader(401)
			return
		}
		echo(w, r)
	}))
	b.gate.refused = func(*http.Response) bool { return true }
	const body = `{"amount": 1, "to": {"iban": "x"}}`
	if resp, text := b.do(t, "POST", "/accounts/7/payments", body, "Content-Type: application/json"); resp.StatusCode != 200 || !strings.Contains(text, `\"iban\"`) {
		t.Errorf("with a new credential = %d %s, want 200 and the same body", resp.StatusCode, text)
	}
	resp, _ := b.do(t, "GET", "/accounts/7", "")
	if resp.StatusCode != 502 || resp.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("refused twice = %d %q, want 502 without the upstream's challenge", resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
	}
}
