package extauthz_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/extauthz"
	"github.com/safeconduct/safeconduct/internal/gateway/route"
)

const hostileRules = `
routes:
  - {name: any, match: "* /any/{rest...}", action: any, resource: {type: A, id: "{rest}"}}
  - {name: admin, match: GET /x, host: admin.example.com, action: admin, resource: {type: A, id: {value: own}}}
  - {name: public, match: GET /x, action: public, resource: {type: A, id: {value: own}}}
  - {name: amount, match: GET /h, action: pay, resource: {type: A, id: {value: own}}, arguments: {amount: {from: "header:X-Amount", optional: true}}}
  - {name: query, match: "GET,POST /q", action: pay, resource: {type: A, id: {value: own}}, arguments: {amount: "query:amount"}}
  - {name: body, match: POST /b, action: pay, resource: {type: A, id: {value: own}}, arguments: {amount: {from: "body:/amount", optional: true}}}
  - {name: socket, match: GET /socket, action: watch, resource: {type: A, id: {value: own}}, websocket: true}
  - {name: panics, match: GET /panics, action: panic, resource: {type: A, id: {value: own}}}
`

// hostile returns a server of those rules that allows everything, and what it was asked last.
func hostile(t *testing.T, log *bytes.Buffer) (s *extauthz.Server, asked *authz.Request) {
	t.Helper()
	table, err := route.Parse([]byte(hostileRules))
	if err != nil {
		t.Fatal(err)
	}
	asked = new(authz.Request)
	cfg := extauthz.Config{Gate: &gate{}, Table: table, Logger: logger(log), Enforcer: &client.Enforcer{
		Guard: &client.Guard{Decider: decider(func(q *client.Question) authz.Decision {
			*asked = q.Requests[0]
			return authz.Decision{Effect: authz.Allow}
		})},
	}}
	return extauthz.New(cfg), asked
}

// TestHostile has Envoy pass on requests that could be another act to the server than was decided about.
func TestHostile(t *testing.T) {
	s, asked := hostile(t, nil)
	type header = map[string]string
	for _, c := range []struct {
		name, method, path, host string
		header                   header
		want                     int // 0 if it passes
	}{
		{"plain", "GET", "/any/a", "", nil, 0},
		{"TRACE", "TRACE", "/any/a", "", nil, 400},
		{"TRACK", "TRACK", "/any/a", "", nil, 400},
		{"CONNECT", "CONNECT", "/any/a", "", nil, 400},
		{"a method of WebDAV", "PROPFIND", "/any/a", "", nil, 403},
		{"another method in a header", "POST", "/any/a", "", header{"x-http-method-override": "DELETE"}, 400},
		{"another method in another header", "POST", "/any/a", "", header{"x-method-override": "DELETE"}, 400},
		{"another path", "GET", "/any/a", "", header{"x-original-url": "/admin"}, 400},
		{"another path, rewritten", "GET", "/any/a", "", header{"x-rewrite-url": "/admin"}, 400},
		{"another method in the query", "POST", "/any/a?_method=DELETE", "", nil, 400},
		{"a name that is cut short", "POST", "/any/a?x%00y=1", "", nil, 400},
		{"a host", "GET", "/x", "admin.example.com", nil, 0},
		{"a host with a dot at its end", "GET", "/x", "admin.example.com.", nil, 400},
		{"and a port", "GET", "/x", "admin.example.com.:443", nil, 400},
		{"a slash at the end", "GET", "/x/", "", nil, 403},
		{"a WebSocket where there is none", "GET", "/any/a", "", header{"upgrade": "websocket", "connection": "Upgrade"}, 403},
		{"a WebSocket", "GET", "/socket", "", header{"upgrade": "websocket", "connection": "Upgrade"}, 0},
		{"another protocol on its route", "GET", "/socket", "", header{"upgrade": "h2c", "connection": "Upgrade"}, 403},
		{"a form beside the query", "POST", "/q?amount=1", "", header{"content-type": "application/x-www-form-urlencoded", "content-length": "11", "x-envoy-auth-partial-body": ""}, 415},
		{"several parts beside the query", "POST", "/q?amount=1", "", header{"content-type": "multipart/form-data; boundary=b", "x-envoy-auth-partial-body": ""}, 415},
		{"a body without a type", "POST", "/q?amount=1", "", header{"content-length": "11", "x-envoy-auth-partial-body": ""}, 415},
		{"a body of which nobody says how long it is", "POST", "/q?amount=1", "", header{"x-envoy-auth-partial-body": ""}, 415},
		{"a body of another type", "POST", "/q?amount=1", "", header{"content-type": "text/csv", "content-length": "11", "x-envoy-auth-partial-body": ""}, 0},
		{"no body", "POST", "/q?amount=1", "", header{"content-length": "0", "x-envoy-auth-partial-body": ""}, 0},
		{"no body, of a GET", "GET", "/q?amount=1", "", header{"x-envoy-auth-partial-body": ""}, 0},
		{"a mapped body that is not there", "POST", "/b", "", header{"content-length": "0", "x-envoy-auth-partial-body": ""}, 0},
		{"a member of the body in the query", "POST", "/b?amount=1", "", header{"content-length": "0"}, 400},
	} {
		in := request(c.method, c.path, c.header, "")
		if c.host != "" {
			in.Attributes.Request.Http.Host = c.host
		}
		out, err := s.Check(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if got := int(out.GetDeniedResponse().GetStatus().GetCode()); got != c.want || (out.GetOkResponse() != nil) != (c.want == 0) {
			t.Errorf("%s: %d %s, want %d", c.name, got, out.GetDeniedResponse().GetBody(), c.want)
		}
		if c.host != "" && c.want == 0 && asked.Action.Name != "admin" {
			t.Errorf("%s: it is decided about %s", c.name, asked.Action.Name)
		}
	}
}

// TestNothingElseIsPassedOn wants that a route without a credential keeps from the server what any other does, and that
// nothing a server could take for a mapped header, or for one of ours, goes beside it.
func TestNothingElseIsPassedOn(t *testing.T) {
	s, asked := hostile(t, nil)
	out, err := s.Check(t.Context(), request("GET", "/h", map[string]string{
		"x-amount": "1", "x_amount": "1000", "safeconduct_decision": "d1", "safeconduct-other": "1", "cookie": "a=b", "x-forwarded-user": "root", "x_forwarded_user": "root",
		"x-real-ip": "1.1.1.1", "connection": "x-named, te", "x-named": "1", "te": "trailers", "x-kept": "1", "content-length": "0", "dpop": "p",
	}, ""))
	if err != nil || out.GetOkResponse() == nil {
		t.Fatalf("Check = %v, %v", out, err)
	}
	removed := out.GetOkResponse().GetHeadersToRemove()
	for _, name := range []string{"authorization", "dpop", "x_amount", "safeconduct_decision", "safeconduct-other", "cookie", "x-forwarded-user", "x_forwarded_user", "x-real-ip", "x-named"} {
		if !slices.Contains(removed, name) {
			t.Errorf("%s is passed on", name)
		}
	}
	for _, name := range []string{"x-amount", "x-kept", "te", "connection", "content-length"} {
		if slices.Contains(removed, name) {
			t.Errorf("%s is not passed on", name)
		}
	}
	if got := string(asked.Action.Properties); got != `{"amount":"1"}` {
		t.Errorf("asked about %s", got)
	}
	// What the connection takes away is not there to be decided about.
	if _, err := s.Check(t.Context(), request("GET", "/h", map[string]string{"x-amount": "1", "connection": "X-Amount"}, "")); err != nil || string(asked.Action.Properties) != `{}` {
		t.Errorf("a header that Connection names: asked about %s, %v", asked.Action.Properties, err)
	}
}

// TestForgedWhole has an agent say for Envoy that a body has come whole.
func TestForgedWhole(t *testing.T) {
	s, _ := hostile(t, nil)
	for _, values := range [][]string{{"false", "true"}, {"false", "false"}, {"true"}, {"False"}, {}} {
		in := request("POST", "/b", nil, `{"amount": 1}`)
		in.Attributes.Request.Http.Headers = nil
		hm := &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "authorization", Value: "Bearer the-agents-token"}, {Key: "content-type", Value: "application/json"}}}
		for _, v := range values {
			hm.Headers = append(hm.Headers, &corev3.HeaderValue{Key: "x-envoy-auth-partial-body", Value: v})
		}
		in.Attributes.Request.Http.HeaderMap = hm
		if out, err := s.Check(t.Context(), in); err != nil || out.GetOkResponse() != nil {
			t.Errorf("partial %q: %v, %v, want it refused", values, out, err)
		}
	}
}

// TestPanic has what is asked fall: Envoy is answered with a refusal, and not with an error that it may let pass.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	table, err := route.Parse([]byte(hostileRules))
	if err != nil {
		t.Fatal(err)
	}
	s := extauthz.New(extauthz.Config{Gate: falls{&gate{}}, Table: table, Logger: logger(&log), Enforcer: &client.Enforcer{}})
	out, err := s.Check(t.Context(), request("GET", "/panics", nil, ""))
	if err != nil || out.GetStatus().GetCode() == int32(codes.OK) || out.GetDeniedResponse().GetStatus().GetCode() != 500 || !strings.Contains(log.String(), "it falls") {
		t.Errorf("Check = %v, %v; logged %s", out, err, log.String())
	}
}

type falls struct{ *gate }

func (falls) Verify(*http.Request) (*gateway.Who, error) { panic("it falls") }

// TestChallenges wants that each of several challenges reaches the agent (RFC 9110, section 11.6.1).
func TestChallenges(t *testing.T) {
	t.Setenv(gateway.TokenVariable, "sc_pep_x")
	doc := load(t, "public_url: https://bank.example.com/api\n", "routes: [{match: GET /b, action: a, resource: {type: T, id: {value: own}}}]\n")
	g, err := gateway.Open(t.Context(), &doc.Common, gateway.Options{Door: "envoy"})
	if err != nil {
		t.Fatal(err)
	}
	table, problems := doc.Compile(nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	s := extauthz.New(extauthz.Config{Gate: whole{g.Verifier, g.Credentials, g}, Table: table, Enforcer: &client.Enforcer{}, Realm: g.Realm("")})
	in := request("GET", "/b", map[string]string{"authorization": ""}, "")
	out, err := s.Check(t.Context(), in)
	if err != nil || out.GetDeniedResponse().GetStatus().GetCode() != 401 {
		t.Fatalf("Check = %v, %v", out, err)
	}
	var schemes []string
	for _, h := range out.GetDeniedResponse().GetHeaders() {
		if h.GetHeader().GetKey() != "www-authenticate" {
			continue
		}
		want := corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
		if len(schemes) > 0 {
			want = corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
		}
		scheme, params, _ := strings.Cut(h.GetHeader().GetValue(), " ")
		if schemes = append(schemes, scheme); h.GetAppendAction() != want || !strings.Contains(params, "https://bank.example.com/.well-known/oauth-protected-resource/api") {
			t.Errorf("challenge %v, want %v", h, want)
		}
	}
	if !slices.Equal(schemes, []string{"Bearer", "DPoP"}) {
		t.Errorf("challenges %q, want Bearer and DPoP", schemes)
	}
}

type whole struct {
	*gateway.Verifier
	*gateway.Credentials
	*gateway.Gateway
}

// TestCredentialsOfDocuments refuses at the start what would be of no use later.
func TestCredentialsOfDocuments(t *testing.T) {
	t.Setenv(gateway.TokenVariable, "sc_pep_x")
	const routes = "routes: [{match: GET /b, action: a, resource: {type: T, id: {value: own}}, upstream: ledger}]\n"
	for _, c := range []struct{ credentials, want string }{
		{"", `routes[0].upstream is wrong: there is no credential "ledger"`},
		{"credentials: {ledger: {type: client_credentials, agent: gateway.key, resource: https://ledger.example.com}}\n", "proofs for the server's URL"},
		{"credentials: {ledger: {type: none}}\n", ""},
	} {
		file := filepath.Join(t.TempDir(), "envoy.yaml")
		if err := os.WriteFile(file, []byte(document+c.credentials+routes), 0o600); err != nil {
			t.Fatal(err)
		}
		var doc extauthz.Document
		err := gateway.Load(file, &doc)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.credentials, err, c.want)
		}
	}
}

const document = "name: x\nlisten: 127.0.0.1:9190\nservice: {url: \"http://127.0.0.1:1\"}\nenvoy: {listen: \"127.0.0.1:0\"}\n"

func load(t *testing.T, parts ...string) *extauthz.Document {
	t.Helper()
	file := filepath.Join(t.TempDir(), "envoy.yaml")
	if err := os.WriteFile(file, []byte(document+strings.Join(parts, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	doc := new(extauthz.Document)
	if err := gateway.Load(file, doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// logger writes to log, or nowhere.
func logger(log *bytes.Buffer) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(log, nil))
}
