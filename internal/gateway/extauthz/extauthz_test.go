package extauthz_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/goccy/go-yaml"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/extauthz"
	"github.com/safeconduct/safeconduct/internal/gateway/route"
	"github.com/safeconduct/safeconduct/internal/server"
	"github.com/safeconduct/safeconduct/internal/server/servertest"
)

const rules = `
routes:
  - name: balance
    match: GET /accounts/{id}/balance
    action: get_balance
    resource: {type: Account, id: "{id}"}
    upstream: bank
  - name: pay
    match: POST /accounts/{id}/payments
    action: send_money
    resource: {type: Account, id: "{id}"}
    arguments:
      recipient: body:/recipient
      amount: {from: "body:/amount", type: decimal}
      subject: body:/subject
      date: body:/date
    upstream: bank
  - name: open
    match: GET /open
    action: get_balance
    resource: {type: Account, id: {value: own}}
    upstream: bank
    on_unavailable: allow
`

const payer = "banking.gpt-4o-2024-05-13"

// service runs the service with the example organisation, and returns an enforcement point's client.
func service(t *testing.T) (*client.Client, *server.Server) {
	t.Helper()
	s := servertest.Start(t, servertest.Example(t))
	c, err := client.New(s.URL(), servertest.PEPToken)
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// A gate knows one agent by a token, and has one credential.
type gate struct {
	seen     *http.Request
	who      *gateway.Who
	failOpen bool
}

func (g *gate) Verify(r *http.Request) (*gateway.Who, error) {
	g.seen = r
	if r.Header.Get("Authorization") != "Bearer the-agents-token" {
		return nil, &gateway.Challenge{Status: http.StatusUnauthorized, Code: "invalid_token", Message: "who are you?"}
	}
	address, _ := netip.ParseAddrPort(r.RemoteAddr)
	g.who = &gateway.Who{Subject: authz.Entity{Ref: authz.Ref{Type: authz.AgentType, ID: payer}}, OnBehalf: []authz.Ref{{Type: "user", ID: "emma"}}, Address: address.Addr()}
	return g.who, nil
}

func (g *gate) Ask(w *gateway.Who, reqs ...authz.Request) client.Question {
	for i := range reqs {
		reqs[i].Subject, reqs[i].OnBehalf, reqs[i].Observed.Address = w.Subject, w.OnBehalf, w.Address
	}
	return client.Question{Requests: reqs}
}

func (g *gate) Apply(_ context.Context, name string, _ *gateway.Who, r *http.Request) error {
	if name != "bank" {
		return authz.Errorf(authz.ErrUnavailable, "no such credential")
	}
	r.Header.Del("Cookie")
	r.Header.Set("Authorization", "Bearer the-gateways-token")
	r.Header.Set("X-Api-Key", "k")
	return nil
}

func (g *gate) Unavailable(route string, err error) bool {
	return g.failOpen && route == "open" && errors.Is(err, authz.ErrUnavailable)
}

// dial serves an authorization server on a real connection, and returns Envoy's side of it.
func dial(t *testing.T, g *gate, d client.Decider, handlers client.Handlers, log *bytes.Buffer) (authv3.AuthorizationClient, *grpc.ClientConn) {
	t.Helper()
	table, err := route.Parse([]byte(rules))
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	if log != nil {
		logger = slog.New(slog.NewTextHandler(log, nil))
	}
	e := extauthz.Envoy{Listen: "127.0.0.1:0", Body: true}
	if err := e.Check(table); err != nil {
		t.Fatal(err)
	}
	l, creds, err := e.Open("", "", "")
	if err != nil {
		t.Fatal(err)
	}
	s := extauthz.New(extauthz.Config{
		Gate: g, Table: table, Logger: logger,
		Enforcer: &client.Enforcer{Guard: &client.Guard{Decider: d}, Handlers: extauthz.Handlers(handlers), Outcome: func(context.Context, string, client.Outcome) error { return nil }},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, creds) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	return authv3.NewAuthorizationClient(conn), conn
}

// request is what Envoy says of a request.
func request(method, path string, header map[string]string, body string) *authv3.CheckRequest {
	h := map[string]string{":method": method, ":path": path, ":authority": "bank.example.com", "authorization": "Bearer the-agents-token", "x-envoy-auth-partial-body": "false"}
	for name, v := range header {
		if v == "" {
			delete(h, name)
		} else {
			h[name] = v
		}
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: "10.20.0.7", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 40000}}}}},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: method, Path: path, Host: "bank.example.com", Scheme: "https", Protocol: "HTTP/1.1", Headers: h, RawBody: []byte(body), Size: int64(len(body))}},
	}}
}

func check(t *testing.T, c authv3.AuthorizationClient, in *authv3.CheckRequest) *authv3.CheckResponse {
	t.Helper()
	out, err := c.Check(t.Context(), in)
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	return out
}

// headers returns headers that are set, by name.
func headers(list []*corev3.HeaderValueOption) map[string]string {
	m := map[string]string{}
	for _, h := range list {
		if h.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			m["appended:"+h.GetHeader().GetKey()] = h.GetHeader().GetValue()
		}
		m[h.GetHeader().GetKey()] = h.GetHeader().GetValue()
	}
	return m
}

// TestCheck has the service itself decide what Envoy asks.
func TestCheck(t *testing.T) {
	pep, _ := service(t)
	g := &gate{}
	envoy, conn := dial(t, g, pep, client.BuiltIn(slog.New(slog.DiscardHandler)), nil)

	out := check(t, envoy, request("GET", "/accounts/own/balance?fresh=1", map[string]string{"cookie": "a=b", "safeconduct-decision": "d1"}, ""))
	ok := out.GetOkResponse()
	if out.GetStatus().GetCode() != int32(codes.OK) || ok == nil {
		t.Fatalf("Check(balance) = %v, want allowed", out)
	}
	set := headers(ok.GetHeaders())
	id := set["safeconduct-decision"]
	if !strings.HasPrefix(id, "d") || headers(ok.GetResponseHeadersToAdd())["safeconduct-decision"] != id || out.GetDynamicMetadata().GetFields()["decision_id"].GetStringValue() != id {
		t.Errorf("decision %q is not the same in request, response and metadata: %v", id, out)
	}
	if set["authorization"] != "Bearer the-gateways-token" || set["x-api-key"] != "k" {
		t.Errorf("headers that are set: %v, want the gateway's credentials", set)
	}
	for _, name := range []string{"dpop", "cookie", "proxy-authorization", "x-envoy-auth-partial-body"} {
		if !slices.Contains(ok.GetHeadersToRemove(), name) {
			t.Errorf("%s passes: %q are removed", name, ok.GetHeadersToRemove())
		}
	}
	if slices.Contains(ok.GetHeadersToRemove(), "authorization") {
		t.Error("the credential that is set is removed as well")
	}
	if g.seen.RemoteAddr != "10.20.0.7:40000" || g.seen.URL.String() != "https://bank.example.com/accounts/own/balance?fresh=1" {
		t.Errorf("seen: %s from %s", g.seen.URL, g.seen.RemoteAddr)
	}

	// A payment from untrusted words is left to a person; one that is too large is refused with what would do.
	out = check(t, envoy, request("POST", "/accounts/own/payments", map[string]string{"content-type": "application/json"},
		`{"recipient": "DE02120300000000202051", "amount": 98000, "subject": "Bill", "date": "2026-11-30"}`))
	denied := out.GetDeniedResponse()
	if out.GetStatus().GetCode() != int32(codes.PermissionDenied) || denied.GetStatus().GetCode() != 403 {
		t.Fatalf("Check(pay) = %v, want refused", out)
	}
	var p struct {
		Status       int
		Code         string
		EvaluationID string `json:"evaluation_id"`
		Reasons      []authz.Reason
	}
	if err := json.Unmarshal([]byte(denied.GetBody()), &p); err != nil || p.Status != 403 || p.EvaluationID == "" || len(p.Reasons) == 0 {
		t.Errorf("body = %s, %v, want a problem with a decision and reasons", denied.GetBody(), err)
	}
	if h := headers(denied.GetHeaders()); h["content-type"] != "application/problem+json" || h["safeconduct-decision"] != p.EvaluationID {
		t.Errorf("headers of the refusal: %v", h)
	}
	if out.GetDynamicMetadata().GetFields()["decision_id"].GetStringValue() != p.EvaluationID {
		t.Errorf("metadata of the refusal: %v", out.GetDynamicMetadata())
	}

	alive, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "envoy.service.auth.v3.Authorization"})
	if err != nil || alive.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", alive, err)
	}
}

// TestRefused has what no decision point is asked about.
func TestRefused(t *testing.T) {
	asked := 0
	d := decider(func(*client.Question) authz.Decision { asked++; return authz.Decision{Effect: authz.Allow} })
	envoy, _ := dial(t, &gate{}, d, nil, nil)
	pay := func(header map[string]string, body string) *authv3.CheckRequest {
		return request("POST", "/accounts/own/payments", header, body)
	}
	const good = `{"recipient": "a", "amount": 1, "subject": "s", "date": "d"}`
	tests := []struct {
		name string
		in   *authv3.CheckRequest
		want int
	}{
		{"no HTTP request", &authv3.CheckRequest{}, 400},
		{"no route", request("GET", "/admin", nil, ""), 403},
		{"another method", request("DELETE", "/accounts/own/balance", nil, ""), 403},
		{"a dot segment", request("GET", "/accounts/../accounts/own/balance", nil, ""), 400},
		{"an encoded slash", request("GET", "/accounts/own%2fbalance", nil, ""), 400},
		{"a double encoding", request("GET", "/accounts/%252e%252e/balance", nil, ""), 400},
		{"a fragment", request("GET", "/accounts/own/balance#x", nil, ""), 400},
		{"a backslash", request("GET", `/accounts\own/balance`, nil, ""), 400},
		{"a header with a line break", request("GET", "/accounts/own/balance", map[string]string{"x": "a\r\nb: c"}, ""), 400},
		{"nobody", request("GET", "/accounts/own/balance", map[string]string{"authorization": ""}, ""), 401},
		{"somebody else", request("GET", "/accounts/own/balance", map[string]string{"authorization": "Bearer stolen"}, ""), 401},
		{"a body that was cut off", pay(map[string]string{"x-envoy-auth-partial-body": "true", "content-type": "application/json"}, good), 413},
		{"a body that Envoy does not send", pay(map[string]string{"x-envoy-auth-partial-body": "", "content-type": "application/json"}, good), 503},
		{"a body that is shorter than it says", pay(map[string]string{"content-length": "500", "content-type": "application/json"}, good), 400},
		{"a name that stands twice", pay(map[string]string{"content-type": "application/json"}, `{"recipient": "a", "recipient": "b", "amount": 1, "subject": "s", "date": "d"}`), 400},
	}
	for _, test := range tests {
		out := check(t, envoy, test.in)
		if got := int(out.GetDeniedResponse().GetStatus().GetCode()); got != test.want || out.GetStatus().GetCode() == int32(codes.OK) {
			t.Errorf("%s: status %d (%v), want %d", test.name, got, out.GetStatus(), test.want)
		}
	}
	if asked != 0 {
		t.Errorf("a decision point was asked %d times", asked)
	}
	if out := check(t, envoy, pay(map[string]string{"content-type": "application/json"}, good)); out.GetOkResponse() == nil || asked != 1 {
		t.Errorf("a good request: %v, asked %d times", out, asked)
	}
}

// TestHeaderMap has Envoy send headers one by one (encode_raw_headers): a header that stands twice is seen twice.
func TestHeaderMap(t *testing.T) {
	g := &gate{}
	envoy, _ := dial(t, g, decider(func(*client.Question) authz.Decision { return authz.Decision{Effect: authz.Allow} }), nil, nil)
	in := request("GET", "/accounts/own/balance", nil, "")
	in.Attributes.Request.Http.Headers = nil
	in.Attributes.Request.Http.HeaderMap = &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
		{Key: "authorization", RawValue: []byte("Bearer the-agents-token")}, {Key: "x-a", RawValue: []byte("1")}, {Key: "x-a", RawValue: []byte("2")},
	}}
	if out := check(t, envoy, in); out.GetOkResponse() == nil {
		t.Fatalf("Check = %v, want allowed", out)
	}
	if got := g.seen.Header.Values("X-A"); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("x-a = %q, want both", got)
	}
}

// TestApproval presents an approval that was given before.
func TestApproval(t *testing.T) {
	var asked *authz.ApprovalRef
	envoy, _ := dial(t, &gate{}, decider(func(q *client.Question) authz.Decision {
		asked = q.Requests[0].Approval
		return authz.Decision{Effect: authz.Allow}
	}), nil, nil)
	out := check(t, envoy, request("GET", "/accounts/own/balance", map[string]string{"safeconduct-approval": "ap1"}, ""))
	if asked == nil || asked.ID != "ap1" || !slices.Contains(out.GetOkResponse().GetHeadersToRemove(), "safeconduct-approval") {
		t.Errorf("asked with the approval %+v, answered %v", asked, out)
	}
	for _, bad := range []string{"a,b", "a b", strings.Repeat("a", 200)} {
		if out := check(t, envoy, request("GET", "/accounts/own/balance", map[string]string{"safeconduct-approval": bad}, "")); out.GetDeniedResponse().GetStatus().GetCode() != 400 {
			t.Errorf("approval %q: %v, want 400", bad, out)
		}
	}
}

// decider answers every question by a function.
type decider func(*client.Question) authz.Decision

func (d decider) Answer(_ context.Context, q *client.Question) ([]*client.Answer, error) {
	out := make([]*client.Answer, len(q.Requests))
	for i := range out {
		out[i] = &client.Answer{Decision: d(q)}
	}
	return out, nil
}

func (d decider) Outcome(context.Context, string, client.Outcome) error { return nil }

// down answers nothing.
type down struct{ decider }

func (down) Answer(_ context.Context, q *client.Question) ([]*client.Answer, error) {
	err := authz.Errorf(authz.ErrUnavailable, "the service is down")
	out := make([]*client.Answer, len(q.Requests))
	for i := range out {
		d := authz.Decision{}
		d.Refuse(authz.CodeUnavailable, "No decision could be had.")
		out[i] = &client.Answer{Decision: d}
	}
	return out, err
}

// TestUnavailable refuses while nothing can be decided, but on the route that says otherwise and is permitted to.
func TestUnavailable(t *testing.T) {
	for _, failOpen := range []bool{false, true} {
		envoy, _ := dial(t, &gate{failOpen: failOpen}, down{}, nil, nil)
		if out := check(t, envoy, request("GET", "/accounts/own/balance", nil, "")); out.GetDeniedResponse().GetStatus().GetCode() != 503 || out.GetStatus().GetCode() != int32(codes.Unavailable) {
			t.Errorf("Check(balance) = %v, want 503", out)
		}
		out := check(t, envoy, request("GET", "/open", nil, ""))
		if failOpen != (out.GetOkResponse() != nil) {
			t.Errorf("Check(open) with permission %v = %v", failOpen, out)
		}
		if failOpen && (out.GetDynamicMetadata().GetFields()["code"].GetStringValue() != "unavailable" || headers(out.GetOkResponse().GetHeaders())["safeconduct-decision"] != "") {
			t.Errorf("what passes undecided says: %v", out)
		}
	}
}

// TestDecidedUnavailable has the service answer, and what it answers count, also where what cannot be decided may pass.
func TestDecidedUnavailable(t *testing.T) {
	answer := func(d authz.Decision) decider { return func(*client.Question) authz.Decision { return d } }
	handlers := client.BuiltIn(slog.New(slog.DiscardHandler))
	handlers["notify"] = func(context.Context, *client.Duty) error { return authz.Errorf(authz.ErrUnavailable, "mail is down") }
	notify := []authz.Obligation{{ID: "n", Type: "custom", Properties: json.RawMessage(`{"obligation":"notify"}`)}}
	for name, d := range map[string]authz.Decision{
		"a refusal that says that it is unavailable":      {Seq: 7, Code: authz.CodeUnavailable, Reasons: []authz.Reason{{Code: "x", Message: "It could not be recorded."}}},
		"one that was not recorded":                       {Code: authz.CodeUnavailable, Reasons: []authz.Reason{{Code: "x", Message: "It could not be recorded."}}},
		"one with an obligation that is not met":          {Code: authz.CodeUnavailable, Obligations: notify},
		"a permission with an obligation that is not met": {Seq: 7, Effect: authz.Allow, Code: authz.CodeAllowed, Obligations: notify},
	} {
		envoy, _ := dial(t, &gate{failOpen: true}, answer(d), handlers, nil)
		if out := check(t, envoy, request("GET", "/open", nil, "")); out.GetOkResponse() != nil {
			t.Errorf("%s passes: %v", name, out)
		}
	}
}

// TestObligations meets what can be met before a request passes, and refuses what would change a response.
func TestObligations(t *testing.T) {
	oblige := func(typ, properties string) decider {
		return func(*client.Question) authz.Decision {
			return authz.Decision{Seq: 7, Effect: authz.Allow, Code: authz.CodeAllowed, Obligations: []authz.Obligation{{ID: "o", Type: typ, Properties: json.RawMessage(properties)}}}
		}
	}
	for _, test := range []struct {
		typ, properties string
		passes          bool
	}{
		{"log", `{}`, true},
		{"mask", `{"fields": ["iban"]}`, false},
		{"dry-run", `{}`, false},
		{"never-heard-of", `{}`, false},
	} {
		envoy, _ := dial(t, &gate{}, oblige(test.typ, test.properties), client.BuiltIn(slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil))), nil)
		out := check(t, envoy, request("GET", "/accounts/own/balance", nil, ""))
		if test.passes != (out.GetOkResponse() != nil) {
			t.Errorf("with the obligation %s: %v, want passes = %v", test.typ, out, test.passes)
		}
	}
}

// TestListen has what a service that others reach must not be.
func TestListen(t *testing.T) {
	table, err := route.Parse([]byte(rules))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		envoy extauthz.Envoy
		want  string
	}{
		{extauthz.Envoy{Listen: "127.0.0.1:9191", Body: true}, ""},
		{extauthz.Envoy{Listen: "localhost:9191", Body: true}, ""},
		{extauthz.Envoy{Listen: "unix:/run/x", Body: true}, ""},
		{extauthz.Envoy{Listen: "0.0.0.0:9191", Body: true, ClientCA: "ca.pem"}, ""},
		{extauthz.Envoy{Listen: "0.0.0.0:9191", Body: true, Insecure: true}, ""},
		{extauthz.Envoy{Listen: "0.0.0.0:9191", Body: true}, "others can reach"},
		{extauthz.Envoy{Listen: ":9191", Body: true}, "others can reach"},
		{extauthz.Envoy{Listen: "gateway:9191", Body: true}, "others can reach"},
		{extauthz.Envoy{Listen: "127.0.0.1", Body: true}, "no address"},
		{extauthz.Envoy{Body: true}, "missing"},
		{extauthz.Envoy{Listen: "127.0.0.1:9191"}, "with_request_body"},
	} {
		err := test.envoy.Check(table)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("Check(%+v) = %v, want %q", test.envoy, err, test.want)
		}
	}
	socket := filepath.Join(t.TempDir(), "s")
	for range 2 { // the second finds the socket of the first, whose process was killed
		e := extauthz.Envoy{Listen: "unix:" + socket}
		l, _, err := e.Open("", "", "")
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzCheck has whatever Envoy says end in an answer; nothing is passed on that has no route.
func FuzzCheck(f *testing.F) {
	f.Add("GET", "/accounts/own/balance", "bank.example.com", "x-a", "1", []byte(""))
	f.Add("POST", "/accounts/own/payments?x=1", "bank.example.com:443", "content-type", "application/json", []byte(`{"recipient": "a", "amount": 1, "subject": "s", "date": "d"}`))
	table, err := route.Parse([]byte(rules))
	if err != nil {
		f.Fatal(err)
	}
	s := extauthz.New(extauthz.Config{
		Gate: &gate{}, Table: table, Logger: slog.New(slog.DiscardHandler),
		Enforcer: &client.Enforcer{Guard: &client.Guard{Decider: decider(func(q *client.Question) authz.Decision {
			if q.Requests[0].Action.Name == "" || q.Requests[0].Subject.ID != payer {
				panic("nothing is asked")
			}
			return authz.Decision{Effect: authz.Allow}
		})}},
	})
	f.Fuzz(func(t *testing.T, method, path, host, name, value string, body []byte) {
		in := request(method, path, map[string]string{name: value}, string(body))
		in.Attributes.Request.Http.Host = host
		out, err := s.Check(t.Context(), in)
		if err != nil || out.GetHttpResponse() == nil {
			t.Fatalf("Check = %v, %v", out, err)
		}
		if (out.GetOkResponse() != nil) != (out.GetStatus().GetCode() == 0) {
			t.Fatalf("status and answer disagree: %v", out)
		}
	})
}

// TestDocumentation has Envoy's own definition read the filter that the documentation shows, and ourselves the document.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../../docs/gateway-envoy.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```yaml\n")
	if len(blocks) != 3 {
		t.Fatalf("%d blocks of YAML, want 2", len(blocks)-1)
	}
	block := func(i int) []byte {
		b, _, _ := strings.Cut(blocks[i], "```")
		return []byte(b)
	}
	file := filepath.Join(t.TempDir(), "envoy.yaml")
	if err := os.WriteFile(file, block(1), 0o600); err != nil {
		t.Fatal(err)
	}
	var doc extauthz.Document
	if err := gateway.Load(file, &doc); err != nil {
		t.Fatal(err)
	}
	table, problems := doc.Compile(nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if err := doc.Envoy.Check(table); err != nil || len(table.Routes()) != 2 {
		t.Errorf("Check: %v, %d routes, want 2", err, len(table.Routes()))
	}

	var filter struct {
		Name  string         `json:"name"`
		Typed map[string]any `json:"typed_config"`
	}
	asJSON, err := yaml.YAMLToJSON(block(2))
	if err == nil {
		err = json.Unmarshal(asJSON, &filter)
	}
	if err != nil {
		t.Fatal(err)
	}
	if filter.Typed["@type"] != "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz" {
		t.Errorf("@type = %v", filter.Typed["@type"])
	}
	delete(filter.Typed, "@type")
	if asJSON, err = json.Marshal(filter.Typed); err != nil {
		t.Fatal(err)
	}
	var config extauthzv3.ExtAuthz
	if err := protojson.Unmarshal(asJSON, &config); err != nil {
		t.Fatal(err)
	}
	if err := config.ValidateAll(); err != nil {
		t.Error(err)
	}
}
