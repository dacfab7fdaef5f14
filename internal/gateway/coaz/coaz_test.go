package coaz_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway/coaz"
)

// The examples of COAZ-MCP draft 1.
const (
	exampleToken = `{"sub": "alice@example.com", "client_id": "http://agentprovider.com/agent-app-id", "iss": "https://auth.example.com", "aud": "https://mcp.example.com", "exp": 1750000000}`
	exampleCall  = `{"name": "get_customer", "arguments": { "id": "cust-12345", "case": "case-67890" }}`
	getCustomer  = `{"evaluation": {
		"subject": { "type": "identity", "id": "$token.sub" },
		"action": { "name": "get_customer" },
		"resource": { "type": "customer", "id": "$params.arguments.id" },
		"context": { "agent": "$token.?client_id", "case": "$params.arguments.case" }}}`
	copyObject = `{"evaluations": {
		"subject": { "type": "identity", "id": "$token.sub" },
		"context": { "agent": "$token.?client_id" },
		"evaluations": [
		  { "action": { "name": "read" },
			"resource": { "type": "storage_object", "id": "$params.arguments.source" } },
		  { "action": { "name": "write" },
			"resource": { "type": "storage_object", "id": "$params.arguments.destination" } }]}}`
	transferFunds = `{"evaluation": {
		"subject": {
		  "type": "$token.roles.exists(r, r == 'treasury') ? 'treasury_user' : 'standard_user'",
		  "id": "$token.sub"
		},
		"action": { "name": "$params.arguments.currency == 'USD' ? 'domestic_transfer' : 'international_transfer'" },
		"resource": {
		  "type": "account",
		  "id": "$params.arguments.from_account",
		  "properties": {
			"sensitivity": "$params.arguments.amount > 10000 ? 'high' : 'standard'"
		  }
		},
		"context": { "agent": "$token.?client_id", "target_account": "$params.arguments.to_account" }}}`
)

// input reads params and a token.
func input(t *testing.T, params, token string) coaz.Input {
	t.Helper()
	p, err := coaz.Variables([]byte(params))
	if err != nil {
		t.Fatalf("Variables(%s): %v", params, err)
	}
	claims, err := coaz.Variables([]byte(token))
	if err != nil {
		t.Fatalf("Variables(%s): %v", token, err)
	}
	return coaz.Input{Params: p, Token: claims}
}

// wire is a request as AuthZEN writes it.
func wire(req authz.Request) any {
	entity := func(e authz.Entity) map[string]any {
		m := map[string]any{"type": e.Type, "id": e.ID}
		if len(e.Properties) > 0 {
			m["properties"] = json.RawMessage(e.Properties)
		}
		return m
	}
	action := map[string]any{"name": req.Action.Name}
	if len(req.Action.Properties) > 0 {
		action["properties"] = json.RawMessage(req.Action.Properties)
	}
	m := map[string]any{"subject": entity(req.Subject), "action": action, "resource": entity(req.Resource)}
	if len(req.Context) > 0 {
		m["context"] = json.RawMessage(req.Context)
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return decoded(string(b))
}

func decoded(text string) (v any) {
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(err)
	}
	return v
}

// TestExamples resolves the examples of the draft to what it prints.
func TestExamples(t *testing.T) {
	tests := []struct {
		name, mapping, params, token string
		want                         []string
	}{
		{"single evaluation", getCustomer, exampleCall, exampleToken, []string{
			`{"subject": { "type": "identity", "id": "alice@example.com" }, "action": { "name": "get_customer" },
			  "resource": { "type": "customer", "id": "cust-12345" },
			  "context": { "agent": "http://agentprovider.com/agent-app-id", "case": "case-67890" }}`}},
		{"multiple evaluations", copyObject, `{"name": "copy_object", "arguments": {"source": "/bucket/reports/q1.pdf", "destination": "/bucket/archive/q1.pdf"}}`, exampleToken, []string{
			`{"subject": { "type": "identity", "id": "alice@example.com" }, "action": { "name": "read" },
			  "resource": { "type": "storage_object", "id": "/bucket/reports/q1.pdf" }, "context": { "agent": "http://agentprovider.com/agent-app-id" }}`,
			`{"subject": { "type": "identity", "id": "alice@example.com" }, "action": { "name": "write" },
			  "resource": { "type": "storage_object", "id": "/bucket/archive/q1.pdf" }, "context": { "agent": "http://agentprovider.com/agent-app-id" }}`}},
		{"conditional expressions", transferFunds, `{"name": "transfer_funds", "arguments": {"from_account": "a1", "to_account": "b2", "amount": 10000.5, "currency": "EUR"}}`,
			`{"sub": "bob", "roles": ["clerk", "treasury"]}`, []string{
				`{"subject": {"type": "treasury_user", "id": "bob"}, "action": {"name": "international_transfer"},
				  "resource": {"type": "account", "id": "a1", "properties": {"sensitivity": "high"}}, "context": {"target_account": "b2"}}`}},
		{"conditional expressions, the other way", transferFunds, `{"name": "transfer_funds", "arguments": {"from_account": "a1", "to_account": "b2", "amount": 10000, "currency": "USD"}}`,
			`{"sub": "bob", "roles": []}`, []string{
				`{"subject": {"type": "standard_user", "id": "bob"}, "action": {"name": "domestic_transfer"},
				  "resource": {"type": "account", "id": "a1", "properties": {"sensitivity": "standard"}}, "context": {"target_account": "b2"}}`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := coaz.Parse([]byte(test.mapping))
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.Resolve(input(t, test.params, test.token))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, got, test.want)
			if !got.Anchored || len(got.Warnings) != 0 {
				t.Errorf("Anchored = %v, Warnings = %q, want true and none", got.Anchored, got.Warnings)
			}
		})
	}
}

func compare(t *testing.T, got *coaz.Resolved, want []string) {
	t.Helper()
	if len(got.Requests) != len(want) {
		t.Fatalf("%d requests, want %d", len(got.Requests), len(want))
	}
	for i := range want {
		if diff := cmp.Diff(decoded(want[i]), wire(got.Requests[i])); diff != "" {
			t.Errorf("request %d (-want +got):\n%s", i, diff)
		}
	}
}

// TestDefaults resolves every default mapping of the draft.
func TestDefaults(t *testing.T) {
	server := `{"type": "mcp_server", "id": "https://mcp.example.com"}`
	tests := []struct{ method, params, resource, context string }{
		{"initialize", `{"protocolVersion": "2025-11-25"}`, server, `, "protocol_version": "2025-11-25"`},
		{"server/discover", `{}`, server, ``},
		{"tools/list", `{}`, server, ``},
		{"tools/call", `{"name": "get_customer", "arguments": {}}`, `{"type": "tool", "id": "get_customer"}`, ``},
		{"resources/list", `{}`, server, ``},
		{"resources/templates/list", `{}`, server, ``},
		{"resources/read", `{"uri": "file:///x"}`, `{"type": "resource", "id": "file:///x"}`, ``},
		{"resources/subscribe", `{"uri": "file:///x"}`, `{"type": "resource", "id": "file:///x"}`, ``},
		{"resources/unsubscribe", `{"uri": "file:///x"}`, `{"type": "resource", "id": "file:///x"}`, ``},
		{"prompts/list", `{}`, server, ``},
		{"prompts/get", `{"name": "p"}`, `{"type": "prompt", "id": "p"}`, ``},
		{"completion/complete", `{"ref": {"type": "ref/prompt", "name": "p"}}`, `{"type": "prompt", "id": "p"}`, ``},
		{"completion/complete", `{"ref": {"type": "ref/resource", "uri": "file:///{x}"}}`, `{"type": "resource", "id": "file:///{x}"}`, ``},
		{"logging/setLevel", `{"level": "debug"}`, server, `, "level": "debug"`},
		{"tasks/get", `{"taskId": "t1"}`, `{"type": "task", "id": "t1"}`, ``},
		{"tasks/result", `{"taskId": "t1"}`, `{"type": "task", "id": "t1"}`, ``},
		{"tasks/cancel", `{"taskId": "t1"}`, `{"type": "task", "id": "t1"}`, ``},
		{"tasks/list", `{}`, server, ``},
	}
	for _, test := range tests {
		t.Run(test.method, func(t *testing.T) {
			m, known := coaz.Default(test.method)
			if m == nil || !known {
				t.Fatalf("Default(%q) = %v, %v, want a mapping", test.method, m, known)
			}
			got, err := m.Resolve(input(t, test.params, exampleToken))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, got, []string{`{"subject": {"type": "identity", "id": "alice@example.com"}, "action": {"name": "` + test.method + `"},
				"resource": ` + test.resource + `, "context": {"agent": "http://agentprovider.com/agent-app-id"` + test.context + `}}`})
		})
	}
	for _, method := range []string{"ping", "notifications/initialized", "notifications/anything"} {
		if m, known := coaz.Default(method); m != nil || !known {
			t.Errorf("Default(%q) = %v, %v, want a pass-through", method, m, known)
		}
	}
	for _, method := range []string{"", "tools/run", "Tools/call", "sampling/createMessage", "elicitation/create", "roots/list", "subscriptions/other", "notifications"} {
		if m, known := coaz.Default(method); m != nil || known {
			t.Errorf("Default(%q) = %v, %v, want unknown", method, m, known)
		}
	}
}

// TestAudience is the normative resolution of token.aud.
func TestAudience(t *testing.T) {
	m, _ := coaz.Default("tools/list")
	tests := []struct{ token, server, want string }{
		{`{"sub": "a", "aud": "https://one"}`, "", "https://one"},
		{`{"sub": "a", "aud": ["https://one", "https://two"]}`, "https://two", "https://two"},
		{`{"sub": "a", "aud": ["https://one"]}`, "", ""},
		{`{"sub": "a", "aud": ""}`, "", ""},
		{`{"sub": "a"}`, "", ""},
	}
	for _, test := range tests {
		in := input(t, `{}`, test.token)
		in.Server = test.server
		got, err := m.Resolve(in)
		switch {
		case test.want == "" && err == nil:
			t.Errorf("Resolve(%s) = %v, want an error", test.token, got.Requests)
		case test.want != "" && (err != nil || got.Requests[0].Resource.ID != test.want):
			t.Errorf("Resolve(%s) = %v, %v, want %s", test.token, got, err, test.want)
		}
	}
}

// TestSubject is the anchoring of the subject ("Declared Mappings").
func TestSubject(t *testing.T) {
	const rest = `"action": {"name": "a"}, "resource": {"type": "t", "id": "i"}`
	const token = `{"sub": "agent-7", "user": "alice", "client_id": "c"}`
	tests := []struct {
		name, subject, claim string
		want                 authz.Ref
		anchored             bool
	}{
		{"no subject: the token's is supplied", ``, "", authz.Ref{Type: "identity", ID: "agent-7"}, true},
		{"no id: the token's is supplied", `"subject": {"type": "robot"},`, "", authz.Ref{Type: "robot", ID: "agent-7"}, true},
		{"no type: identity is supplied", `"subject": {"id": "$token.sub"},`, "", authz.Ref{Type: "identity", ID: "agent-7"}, true},
		{"another claim is designated: token.sub is read as it", `"subject": {"id": "$token.sub"},`, "user", authz.Ref{Type: "identity", ID: "alice"}, true},
		{"the designated claim by its own name", `"subject": {"id": "$token.user"},`, "user", authz.Ref{Type: "identity", ID: "alice"}, true},
		{"a computed id that is the claim", `"subject": {"id": "$'agent-' + '7'"},`, "", authz.Ref{Type: "identity", ID: "agent-7"}, true},
		{"another claim than the designated one is an override", `"subject": {"id": "$token.user"},`, "", authz.Ref{Type: "identity", ID: "alice"}, false},
		{"a parameter is an override", `"subject": {"id": "$params.who"},`, "", authz.Ref{Type: "identity", ID: "mallory"}, false},
		{"a literal is an override", `"subject": {"id": "root"},`, "", authz.Ref{Type: "identity", ID: "root"}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := coaz.Parse([]byte(`{"evaluation": {` + test.subject + rest + `}}`))
			if err != nil {
				t.Fatal(err)
			}
			in := input(t, `{"who": "mallory"}`, token)
			in.Claim = test.claim
			got, err := m.Resolve(in)
			if err != nil {
				t.Fatal(err)
			}
			if got.Requests[0].Subject.Ref != test.want || got.Anchored != test.anchored || (len(got.Warnings) == 0) != test.anchored {
				t.Errorf("subject = %v, Anchored = %v, Warnings = %q, want %v, %v and a warning if not",
					got.Requests[0].Subject.Ref, got.Anchored, got.Warnings, test.want, test.anchored)
			}
			if ctx := string(got.Requests[0].Context); ctx != `{"agent":"c"}` {
				t.Errorf("context = %s, want the agent in it", ctx)
			}
		})
	}
}

// TestMalformed has mappings that are none.
func TestMalformed(t *testing.T) {
	const act = `"action": {"name": "a"}, "resource": {"type": "t", "id": "i"}`
	tests := []struct{ name, mapping string }{
		{"not JSON", `{`},
		{"no object", `[]`},
		{"no envelope", `{}`},
		{"two envelopes", `{"evaluation": {` + act + `}, "evaluations": {"evaluations": [{` + act + `}]}}`},
		{"an envelope that is not known", `{"search": {` + act + `}}`},
		{"a name twice", `{"evaluation": {` + act + `, "action": {"name": "b"}}}`},
		{"a member that no request has", `{"evaluation": {` + act + `, "observed": {}}}`},
		{"an attribute beside properties", `{"evaluation": {"action": {"name": "a"}, "resource": {"type": "t", "id": "i", "owner": "me"}}}`},
		{"a subject that is no object", `{"evaluation": {"subject": "$token.sub", ` + act + `}}`},
		{"a subject of an evaluation among several", `{"evaluations": {"evaluations": [{"subject": {"id": "root"}, ` + act + `}]}}`},
		{"no evaluations", `{"evaluations": {` + act + `}}`},
		{"an empty list of evaluations", `{"evaluations": {` + act + `, "evaluations": []}}`},
		{"too many evaluations", `{"evaluations": {"evaluations": [` + strings.TrimSuffix(strings.Repeat(`{`+act+`},`, 33), ",") + `]}}`},
		{"a semantic by which one permit is enough", `{"evaluations": {"options": {"evaluations_semantic": "permit_on_first_permit"}, "evaluations": [{` + act + `}]}}`},
		{"an expression that does not parse", `{"evaluation": {"action": {"name": "$params."}, "resource": {"type": "t", "id": "i"}}}`},
		{"an expression with a second $", `{"evaluation": {"action": {"name": "$params.a == 'x' ? $params.b : 'c'"}, "resource": {"type": "t", "id": "i"}}}`},
		{"another variable", `{"evaluation": {"action": {"name": "$request.x"}, "resource": {"type": "t", "id": "i"}}}`},
		{"a long expression", `{"evaluation": {"action": {"name": "$` + strings.Repeat("1+", 3000) + `1"}, "resource": {"type": "t", "id": "i"}}}`},
		{"deep nesting", `{"evaluation": {` + act + `, "context": {"a": ` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}}}`},
	}
	for _, test := range tests {
		if m, err := coaz.Parse([]byte(test.mapping)); err == nil {
			t.Errorf("%s: Parse = %v, want an error", test.name, m)
		} else if e := new(coaz.Error); !errors.As(err, &e) || !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: error %v is no *coaz.Error of kind ErrInvalid", test.name, err)
		}
	}
}

// TestUnresolved has mappings that cannot be resolved for a message.
func TestUnresolved(t *testing.T) {
	id := func(expression string) string {
		return `{"evaluation": {"action": {"name": "a"}, "resource": {"type": "t", "id": ` + expression + `}}}`
	}
	tests := []struct{ name, mapping, token, want string }{
		{"a missing key", id(`"$params.arguments.region"`), exampleToken, "COAZ mapping error: expression '$params.arguments.region' failed: no such key: region"},
		{"absent where something is required", id(`"$params.?region"`), exampleToken, "required"},
		{"null where something is required", id(`"$params.nothing"`), exampleToken, "required"},
		{"a number where a string is required", id(`"$params.number"`), exampleToken, "string"},
		{"a list where a string is required", id(`"$token.list"`), `{"sub": "a", "list": ["x"]}`, "string"},
		{"an empty string", id(`""`), exampleToken, "bytes"},
		{"no resource", `{"evaluation": {"action": {"name": "a"}}}`, exampleToken, "missing"},
		{"no action", `{"evaluation": {"resource": {"type": "t", "id": "i"}}}`, exampleToken, "missing"},
		{"a token without subject", id(`"x"`), `{"client_id": "c"}`, "sub"},
		{"a token whose subject is a list", id(`"x"`), `{"sub": ["a"]}`, "sub"},
		{"a division by zero", id(`"$string(1 / 0)"`), exampleToken, "division"},
		{"a value that JSON has not", `{"evaluation": {"action": {"name": "a"}, "resource": {"type": "t", "id": "i"}, "context": {"x": "$b'abc'"}}}`, exampleToken, "JSON"},
		{"an infinite number", `{"evaluation": {"action": {"name": "a"}, "resource": {"type": "t", "id": "i"}, "context": {"x": "$1.0 / 0.0"}}}`, exampleToken, "number"},
		{"properties that are no object", `{"evaluation": {"action": {"name": "a", "properties": "$params.number"}, "resource": {"type": "t", "id": "i"}}}`, exampleToken, "object"},
		{"a costly expression", id(`"$params.many.map(a, params.many.map(b, params.many.map(c, a + b + c)))[0][0][0]"`), exampleToken, "cost|interrupted"}, // whichever bound is met first
	}
	many := `[` + strings.TrimSuffix(strings.Repeat(`"aaaaaaaa",`, 300), ",") + `]`
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := coaz.Parse([]byte(test.mapping))
			if err != nil {
				if !says(err, test.want) {
					t.Fatalf("Parse: %v, want %q in it", err, test.want)
				}
				return
			}
			got, err := m.Resolve(input(t, `{"arguments": {}, "nothing": null, "number": 5, "many": `+many+`}`, test.token))
			if err == nil {
				t.Fatalf("Resolve = %v, want an error", got.Requests)
			}
			if e := new(coaz.Error); !errors.As(err, &e) || !says(err, test.want) {
				t.Errorf("error %q, want a *coaz.Error with %q in it", err, test.want)
			}
		})
	}
}

// says reports whether an error has one of the words in it, which bars separate.
func says(err error, words string) bool {
	return slices.ContainsFunc(strings.Split(words, "|"), func(w string) bool { return strings.Contains(err.Error(), w) })
}

// TestLiterals tells literals and expressions apart ("Expressions and Literals").
func TestLiterals(t *testing.T) {
	m, err := coaz.Parse([]byte(`{"evaluation": {"action": {"name": "$$50"}, "resource": {"type": "t", "id": "a$b"},
		"context": {"number": 10, "flag": true, "nothing": null, "list": ["x", "$params.n", "$$n", "$params.?none"], "deep": {"n": "$params.n", "none": "$params.?none"},
		"big": "$params.big", "map": "${'a': [1, 2.5, {'b': params.n}]}"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Resolve(input(t, `{"n": 7, "big": 9007199254740993}`, `{"sub": "s"}`))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, got, []string{`{"subject": {"type": "identity", "id": "s"}, "action": {"name": "$50"}, "resource": {"type": "t", "id": "a$b"},
		"context": {"number": 10, "flag": true, "nothing": null, "list": ["x", 7, "$n"], "deep": {"n": 7}, "big": 9007199254740993, "map": {"a": [1, 2.5, {"b": 7}]}}}`})
	if !strings.Contains(string(got.Requests[0].Context), "9007199254740993") {
		t.Errorf("context %s lost digits of a large integer", got.Requests[0].Context)
	}
}

// TestInheritance has an evaluation inherit what it leaves out, whole (AuthZEN 1.0, section 7.1.1).
func TestInheritance(t *testing.T) {
	m, err := coaz.Parse([]byte(`{"evaluations": {"action": {"name": "read"}, "resource": {"type": "t", "id": "shared"}, "context": {"a": 1},
		"options": {"evaluations_semantic": "deny_on_first_deny"},
		"evaluations": [{}, {"resource": {"type": "t", "id": "own"}, "context": {"b": 2}}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Resolve(input(t, `{}`, `{"sub": "s"}`))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, got, []string{
		`{"subject": {"type": "identity", "id": "s"}, "action": {"name": "read"}, "resource": {"type": "t", "id": "shared"}, "context": {"a": 1}}`,
		`{"subject": {"type": "identity", "id": "s"}, "action": {"name": "read"}, "resource": {"type": "t", "id": "own"}, "context": {"b": 2}}`,
	})
	if !got.Many {
		t.Error("Many = false, want true: the envelope is evaluations")
	}
}

// FuzzMapping has whatever a server declares and whatever a caller sends end in requests that name their subject,
// or in an *Error.
func FuzzMapping(f *testing.F) {
	for _, mapping := range []string{getCustomer, copyObject, transferFunds, `{"evaluation": {}}`} {
		f.Add([]byte(mapping), []byte(exampleCall), []byte(exampleToken))
	}
	f.Fuzz(func(t *testing.T, mapping, params, token []byte) {
		m, err := coaz.Parse(mapping)
		if err != nil {
			if e := new(coaz.Error); !errors.As(err, &e) {
				t.Fatalf("Parse: %v is no *coaz.Error", err)
			}
			return
		}
		p, err := coaz.Variables(params)
		if err != nil {
			return
		}
		claims, err := coaz.Variables(token)
		if err != nil {
			return
		}
		got, err := m.Resolve(coaz.Input{Params: p, Token: claims})
		if err != nil {
			if e := new(coaz.Error); !errors.As(err, &e) {
				t.Fatalf("Resolve: %v is no *coaz.Error", err)
			}
			return
		}
		if len(got.Requests) == 0 {
			t.Fatal("a mapping asks nothing")
		}
		for _, req := range got.Requests {
			if req.Subject.ID == "" || req.Action.Name == "" || req.Resource.ID == "" || req.Resource.Type == "" || req.Subject.Type == "" {
				t.Fatalf("%+v lacks something", req)
			}
			if got.Anchored && req.Subject.ID != claims["sub"] {
				t.Fatalf("subject %q is said to be the token's %q", req.Subject.ID, claims["sub"])
			}
			if !json.Valid(req.Context) && len(req.Context) > 0 {
				t.Fatalf("context %s is not JSON", req.Context)
			}
		}
	})
}

func BenchmarkDefaultCall(b *testing.B) {
	m, _ := coaz.Default("tools/call")
	p, _ := coaz.Variables([]byte(exampleCall))
	claims, _ := coaz.Variables([]byte(exampleToken))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Resolve(coaz.Input{Params: p, Token: claims}); err != nil {
			b.Fatal(err)
		}
	}
}

// What a mapping costs is bounded however many expressions it has.
func TestParseManyExpressions(t *testing.T) {
	mapping := func(n int) []byte {
		var context []string
		for i := range n {
			context = append(context, fmt.Sprintf(`"c%d":"$[1,2,3,4,5,6,7,8,9,10,11,12].map(a,[1,2,3,4,5,6,7,8,9,10,11].map(b,[1,2,3,4,5,6,7,8].map(c,a*b*c+%d))).size()"`, i, i))
		}
		return []byte(`{"evaluation":{"action":{"name":"a"},"resource":{"type":"t","id":"x"},"context":{` + strings.Join(context, ",") + `}}}`)
	}
	if _, err := coaz.Parse(mapping(101)); err == nil {
		t.Error("101 expressions are accepted")
	}
	for n, want := range map[int]bool{1: true, 100: false} {
		m, err := coaz.Parse(mapping(n))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Resolve(coaz.Input{Token: map[string]any{"sub": "a"}}); (err == nil) != want {
			t.Errorf("%d costly expressions: %v, want them to be evaluated: %t", n, err, want)
		}
	}
}

// A mapping says which params it reads, and resolves to the same by those alone.
func TestReads(t *testing.T) {
	one := func(method string) *coaz.Mapping { m, _ := coaz.Default(method); return m }
	parsed := func(text string) *coaz.Mapping {
		m, err := coaz.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	const body = `{"evaluations":{"action":{"name":"pay"},"resource":{"type":"account","id":"$params.to.account"},
		"evaluations":[{"context":{"list":["$params.amount","$token.scope"]}},{"context":{"why":"$params.?why"}}]}}`
	for name, tt := range map[string]struct {
		m    *coaz.Mapping
		want []string
		all  bool
	}{
		"tools/call":  {one("tools/call"), []string{"name"}, false},
		"tools/list":  {one("tools/list"), nil, false},
		"computed":    {one("completion/complete"), nil, true},
		"declared":    {parsed(body), []string{"amount", "to", "why"}, false},
		"whole":       {parsed(`{"evaluation":{"action":{"name":"a"},"resource":{"type":"t","id":"i"},"context":{"all":"$params"}}}`), nil, true},
		"all of them": {parsed(`{"evaluation":{"action":{"name":"a"},"resource":{"type":"t","id":"$params.exists(p, p == 'x') ? 'a' : 'b'"}}}`), nil, true},
	} {
		got, all := tt.m.Reads()
		slices.Sort(got)
		if !slices.Equal(got, tt.want) || all != tt.all {
			t.Errorf("%s reads %v, %v, want %v, %v", name, got, all, tt.want, tt.all)
		}
	}
	const token = `{"sub":"alice","scope":"pay"}`
	m := parsed(body)
	whole, err := m.Resolve(input(t, `{"to":{"account":"7"},"amount":3,"why":"rent","more":{"deep":[1]}}`, token))
	if err != nil {
		t.Fatal(err)
	}
	some, err := m.Resolve(input(t, `{"to":{"account":"7"},"amount":3,"why":"rent"}`, token))
	if err != nil {
		t.Fatal(err)
	}
	for i, req := range whole.Requests {
		if diff := cmp.Diff(wire(req), wire(some.Requests[i])); diff != "" {
			t.Errorf("by what it reads it resolves to another thing (-all +some):\n%s", diff)
		}
	}
}
