package mcp_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
)

// The draft's examples.
const (
	coazGetCustomer = `{
      "name": "get_customer",
      "description": "Get customer details",
      "inputSchema": {
        "type": "object",
        "properties": {
          "id":   { "type": "string", "description": "The customer identifier" },
          "case": { "type": "string", "description": "The case being worked on" }
        },
        "required": ["id"],
        "x-authzen-mapping": {
          "evaluation": {
            "subject": { "type": "identity", "id": "$token.sub" },
            "action": { "name": "get_customer" },
            "resource": { "type": "customer", "id": "$params.arguments.id" },
            "context": { "agent": "$token.?client_id", "case": "$params.arguments.case" }
          }
        }
      }
    }`
	coazWeather = `{
      "name": "get_local_weather",
      "description": "Get weather for the local area",
      "inputSchema": {
        "type": "object",
        "properties": { "zip": { "type": "string", "description": "Zip code" } },
        "required": ["zip"]
      }
    }`
	coazCopyObject = `{
  "name": "copy_object",
  "description": "Copy a storage object from one location to another",
  "inputSchema": {
    "type": "object",
    "properties": {
      "source":      { "type": "string", "description": "Source object location" },
      "destination": { "type": "string", "description": "Destination object location" }
    },
    "required": ["source", "destination"],
    "x-authzen-mapping": {
      "evaluations": {
        "subject": { "type": "identity", "id": "$token.sub" },
        "context": { "agent": "$token.?client_id" },
        "evaluations": [
          { "action": { "name": "read" },
            "resource": { "type": "storage_object", "id": "$params.arguments.source" } },
          { "action": { "name": "write" },
            "resource": { "type": "storage_object", "id": "$params.arguments.destination" } }
        ]
      }
    }
  }
}`
	coazTransferFunds = `{
  "name": "transfer_funds",
  "description": "Transfer funds between accounts",
  "inputSchema": {
    "type": "object",
    "properties": {
      "from_account": { "type": "string" },
      "to_account":   { "type": "string" },
      "amount":       { "type": "number" },
      "currency":     { "type": "string" }
    },
    "required": ["from_account", "to_account", "amount", "currency"],
    "x-authzen-mapping": {
      "evaluation": {
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
        "context": { "agent": "$token.?client_id", "target_account": "$params.arguments.to_account" }
      }
    }
  }
}`
	coazCall = `{
  "jsonrpc": "2.0",
  "id": 2,
  "method": "tools/call",
  "params": {
    "name": "get_customer",
    "arguments": { "id": "cust-12345", "case": "case-67890" }
  }
}`
)

// coazRig is a gate as COAZ-MCP has it: the subject is the token's identity, and what a server declares overrides the default.
func coazRig(t *testing.T, tools ...string) *rig {
	return newRig(t, mcp.Options{Declared: "honour", Subject: "coaz"}, append([]string{coazGetCustomer, coazWeather, coazCopyObject, coazTransferFunds}, tools...)...)
}

// declaring is a tool with a mapping.
func declaring(name, mapping string) string {
	return `{"name":"` + name + `","inputSchema":{"type":"object","x-authzen-mapping":` + mapping + `}}`
}

// told is what a decision point is told, as the draft writes it, without what this gateway adds of the tool.
func told(t *testing.T, r *authz.Request) map[string]any {
	t.Helper()
	out := map[string]any{
		"subject":  map[string]any{"type": r.Subject.Type, "id": r.Subject.ID},
		"action":   map[string]any{"name": r.Action.Name},
		"resource": map[string]any{"type": r.Resource.Type, "id": r.Resource.ID},
	}
	if len(r.Context) > 0 {
		var c map[string]any
		if err := json.Unmarshal(r.Context, &c); err != nil {
			t.Fatal(err)
		}
		delete(c, "tool")
		out["context"] = c
	}
	return out
}

func written(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Every rule of COAZ-MCP (draft 1) for enforcement points, by its section.
func TestCOAZ(t *testing.T) {
	code := func(t *testing.T, pa *mcp.Passage, want int, says string) {
		t.Helper()
		if pa.Answer == nil || pa.Answer.Error == nil || pa.Answer.Error.Code != want || !strings.Contains(pa.Answer.Error.Message, says) {
			t.Errorf("answered %+v, want code %d and %q", pa.Answer, want, says)
		}
	}
	unasked := func(t *testing.T, r *rig) {
		t.Helper()
		if q := r.judge.questions(); len(q) > 0 {
			t.Errorf("the decision point was asked %+v", q)
		}
	}
	one := func(t *testing.T, r *rig) *authz.Request {
		t.Helper()
		q := r.judge.questions()
		if len(q) != 1 || len(q[0].Requests) != 1 {
			t.Fatalf("the decision point was asked %+v, want one request", q)
		}
		return &q[0].Requests[0]
	}

	const server = `"resource":{"type":"mcp_server","id":"https://mcp.example.com"}`
	for _, tt := range []struct{ method, params, want string }{
		{"initialize", `{"protocolVersion":"2025-11-25"}`, server + `,"context":{"agent":"http://agentprovider.com/agent-app-id","protocol_version":"2025-11-25"}`},
		{"tools/list", `{}`, server},
		{"tools/call", `{"name":"get_local_weather","arguments":{"zip":"94103"}}`, `"resource":{"type":"tool","id":"get_local_weather"}`},
		{"resources/list", `{}`, server},
		{"resources/read", `{"uri":"file:///a"}`, `"resource":{"type":"resource","id":"file:///a"}`},
		{"resources/subscribe", `{"uri":"file:///a"}`, `"resource":{"type":"resource","id":"file:///a"}`},
		{"resources/unsubscribe", `{"uri":"file:///a"}`, `"resource":{"type":"resource","id":"file:///a"}`},
		{"prompts/list", `{}`, server},
		{"prompts/get", `{"name":"greet"}`, `"resource":{"type":"prompt","id":"greet"}`},
		{"completion/complete", `{"ref":{"type":"ref/prompt","name":"greet"}}`, `"resource":{"type":"prompt","id":"greet"}`},
		{"completion/complete", `{"ref":{"type":"ref/resource","uri":"file:///{p}"}}`, `"resource":{"type":"resource","id":"file:///{p}"}`},
		{"logging/setLevel", `{"level":"debug"}`, server + `,"context":{"agent":"http://agentprovider.com/agent-app-id","level":"debug"}`},
		{"tasks/get", `{"taskId":"t1"}`, `"resource":{"type":"task","id":"t1"}`},
		{"tasks/result", `{"taskId":"t1"}`, `"resource":{"type":"task","id":"t1"}`},
		{"tasks/cancel", `{"taskId":"t1"}`, `"resource":{"type":"task","id":"t1"}`},
		{"tasks/list", `{}`, server},
		// Not in the draft's table: the current revision's initialize, and the list of templates.
		{"server/discover", `{}`, server},
		{"resources/templates/list", `{}`, server},
	} {
		t.Run("Default Mappings: "+tt.method, func(t *testing.T) {
			r := coazRig(t)
			want := `{"subject":{"type":"identity","id":"alice@example.com"},"action":{"name":"` + tt.method + `"},` + tt.want
			if !strings.Contains(want, `"context"`) {
				want += `,"context":{"agent":"http://agentprovider.com/agent-app-id"}`
			}
			if pa := r.admit(t, `{"jsonrpc":"2.0","id":1,"method":"`+tt.method+`","params":`+tt.params+`}`); pa.Forward == nil {
				t.Fatalf("refused: %s", pa.Answer.Append(nil))
			}
			if diff := cmp.Diff(written(t, want+"}"), told(t, one(t, r))); diff != "" {
				t.Errorf("asked (-want +got)\n%s", diff)
			}
		})
	}
	t.Run("Default Mappings: aud is a list, and no server is configured", func(t *testing.T) {
		r := coazRig(t)
		r.peer.Who.Claims["aud"] = []any{"https://mcp.example.com", "https://other.example.com"}
		code(t, r.admit(t, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`), -32602, "")
		unasked(t, r)
	})
	t.Run("Default Mappings: the own resource identifier from the configuration", func(t *testing.T) {
		r := newRigWith(t, mcp.Options{Subject: "coaz"}, func(c *mcp.Config) { c.Resource = "https://mcp.example.com" })
		r.peer.Who.Claims["aud"] = []any{"https://mcp.example.com", "https://other.example.com"}
		r.admit(t, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		if got := one(t, r).Resource.ID; got != "https://mcp.example.com" {
			t.Errorf("asked about %q", got)
		}
	})
	t.Run("Pass-through: ping and notifications ask nobody", func(t *testing.T) {
		r := coazRig(t)
		r.judge.decide = only()
		for _, method := range []string{"ping", "notifications/cancelled", "notifications/anything"} {
			if pa := r.admit(t, `{"jsonrpc":"2.0","id":1,"method":"`+method+`"}`); pa.Forward == nil {
				t.Errorf("%s is refused", method)
			}
		}
		unasked(t, r)
	})
	t.Run("Unknown Methods are denied, and nobody is asked", func(t *testing.T) {
		r := coazRig(t)
		for _, method := range []string{"tools/execute", "subscriptions/other", "tasks/change", "sampling/createMessage", "elicitation/create", "roots/list", "Tools/call", "notifications", "x"} {
			code(t, r.admit(t, `{"jsonrpc":"2.0","id":1,"method":"`+method+`"}`), -32001, "not known")
		}
		unasked(t, r)
	})
	t.Run("Unknown Methods: what the operator maps is asked about", func(t *testing.T) {
		r := newRig(t, mcp.Options{Subject: "coaz", Methods: map[string]any{"subscriptions/listen": "initialize",
			"x/y": map[string]any{"evaluation": map[string]any{"action": map[string]any{"name": "y"}, "resource": map[string]any{"type": "x", "id": "$params.z"}}}}})
		if pa := r.admit(t, `{"jsonrpc":"2.0","id":1,"method":"x/y","params":{"z":"1"}}`); pa.Forward == nil || one(t, r).Resource.Ref.String() != "x:1" {
			t.Errorf("x/y: %+v", pa)
		}
	})
	t.Run("Expressions: the draft's example of one evaluation", func(t *testing.T) {
		r := coazRig(t)
		r.admit(t, coazCall)
		want := written(t, `{
  "subject": { "type": "identity", "id": "alice@example.com" },
  "action": { "name": "get_customer" },
  "resource": { "type": "customer", "id": "cust-12345" },
  "context": { "agent": "http://agentprovider.com/agent-app-id", "case": "case-67890" }
}`)
		if diff := cmp.Diff(want, told(t, one(t, r))); diff != "" {
			t.Errorf("asked (-want +got)\n%s", diff)
		}
	})
	t.Run("Declared Mappings: the draft's example of several evaluations, in one question", func(t *testing.T) {
		r := coazRig(t)
		r.call(t, "copy_object", `{"source": "/bucket/reports/q1.pdf", "destination": "/bucket/archive/q1.pdf"}`)
		q := r.judge.questions()
		if len(q) != 1 || len(q[0].Requests) != 2 {
			t.Fatalf("asked %+v, want one question of two requests", q)
		}
		shared := `{"subject":{"type":"identity","id":"alice@example.com"},"context":{"agent":"http://agentprovider.com/agent-app-id"},`
		for i, want := range []string{
			`"action": { "name": "read" }, "resource": { "type": "storage_object", "id": "/bucket/reports/q1.pdf" }}`,
			`"action": { "name": "write" }, "resource": { "type": "storage_object", "id": "/bucket/archive/q1.pdf" }}`,
		} {
			if diff := cmp.Diff(written(t, shared+want), told(t, &q[0].Requests[i])); diff != "" {
				t.Errorf("evaluation %d (-want +got)\n%s", i, diff)
			}
		}
	})
	t.Run("PEP Behavior 7: any denial refuses", func(t *testing.T) {
		for _, allowed := range [][]string{{"read"}, {"write"}, {}} {
			r := coazRig(t)
			r.judge.decide = only(allowed...)
			if pa := r.call(t, "copy_object", `{"source":"a","destination":"b"}`); pa.Forward != nil {
				t.Errorf("allowed only %q it passes", allowed)
			}
		}
		r := coazRig(t)
		r.judge.decide = only("read", "write")
		if pa := r.call(t, "copy_object", `{"source":"a","destination":"b"}`); pa.Forward == nil {
			t.Errorf("allowed both it is refused: %s", pa.Answer.Append(nil))
		}
	})
	t.Run("Declared Mappings: the draft's example of conditions", func(t *testing.T) {
		r := coazRig(t)
		r.peer.Who.Claims["roles"] = []any{"treasury"}
		r.call(t, "transfer_funds", `{"from_account":"a","to_account":"b","amount":20000,"currency":"USD"}`)
		q := one(t, r)
		if q.Subject.Type != "treasury_user" || q.Subject.ID != "alice@example.com" || q.Action.Name != "domestic_transfer" || !strings.Contains(string(q.Resource.Properties), `"high"`) {
			t.Errorf("asked %+v", q)
		}
	})
	t.Run("Declared Mappings: one overrides the default for its tool only", func(t *testing.T) {
		r := coazRig(t)
		r.call(t, "get_local_weather", `{"zip":"1"}`)
		if q := one(t, r); q.Action.Name != "tools/call" || q.Resource.Ref.String() != "tool:get_local_weather" {
			t.Errorf("asked %+v", q)
		}
	})
	t.Run("Declared Mappings: without subject, or its id or type, the defaults are supplied", func(t *testing.T) {
		for _, subject := range []string{``, `"subject":{},`, `"subject":{"type":"identity"},`, `"subject":{"id":"$token.sub"},`} {
			r := coazRig(t, declaring("x", `{"evaluation":{`+subject+`"action":{"name":"a"},"resource":{"type":"t","id":"i"}}}`))
			r.call(t, "x", `{}`)
			if q := one(t, r); q.Subject.Type != "identity" || q.Subject.ID != "alice@example.com" || !strings.Contains(string(q.Context), `"agent":"http://agentprovider.com/agent-app-id"`) {
				t.Errorf("with %q asked %+v", subject, q)
			}
		}
	})
	t.Run("Declared Mappings: a subject within evaluations is refused", func(t *testing.T) {
		r := coazRig(t, declaring("x", `{"evaluations":{"evaluations":[{"subject":{"type":"identity","id":"$token.sub"},"action":{"name":"a"},"resource":{"type":"t","id":"i"}}]}}`))
		code(t, r.call(t, "x", `{}`), -32602, "COAZ mapping error")
		unasked(t, r)
	})
	t.Run("Declared Mappings: an overridden subject is warned of", func(t *testing.T) {
		r := coazRig(t, declaring("x", `{"evaluation":{"subject":{"id":"$params.arguments.user"},"action":{"name":"a"},"resource":{"type":"t","id":"i"}}}`))
		r.call(t, "x", `{"user":"bob@example.com"}`)
		if q := one(t, r); q.Subject.ID != "bob@example.com" || !strings.Contains(r.log.String(), "mapping warning") {
			t.Errorf("asked %+v, logged %s", q, r.log)
		}
	})
	t.Run("Declared Mappings: toward our own service the subject is who shows the token, whatever a server declares", func(t *testing.T) {
		r := newRig(t, mcp.Options{Declared: "honour"}, declaring("x", `{"evaluation":{"subject":{"id":"$params.arguments.user"},"action":{"name":"a"},"resource":{"type":"t","id":"i"}}}`))
		r.peer.Who.Subject = authz.Entity{Ref: authz.Ref{Type: "agent", ID: "helper"}}
		r.call(t, "x", `{"user":"admin"}`)
		if q := one(t, r); q.Subject.ID != "helper" {
			t.Errorf("asked about %v", q.Subject)
		}
	})
	t.Run("The Subject-Identity Claim: another claim", func(t *testing.T) {
		r := newRig(t, mcp.Options{Subject: "coaz", IdentityClaim: "obo"})
		r.peer.Who.Claims["obo"] = "carol@example.com"
		r.admit(t, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		if got := one(t, r).Subject.ID; got != "carol@example.com" {
			t.Errorf("asked about %q", got)
		}
	})
	t.Run("The Subject-Identity Claim: a token without it", func(t *testing.T) {
		r := coazRig(t)
		delete(r.peer.Who.Claims, "sub")
		code(t, r.admit(t, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`), -32602, "COAZ mapping error")
		unasked(t, r)
	})
	t.Run("Expressions: an optional claim that is not there is left out", func(t *testing.T) {
		r := coazRig(t)
		delete(r.peer.Who.Claims, "client_id")
		r.call(t, "get_local_weather", `{}`)
		if q := one(t, r); strings.Contains(string(q.Context), "agent") {
			t.Errorf("the context is %s", q.Context)
		}
	})
	t.Run("Mapping Envelopes: anything but one of the two is refused", func(t *testing.T) {
		for _, m := range []string{`{}`, `[]`, `"x"`, `{"evaluation":{},"evaluations":{}}`, `{"search":{}}`, `{"evaluation":[]}`, `{"evaluations":{"evaluations":[]}}`} {
			r := coazRig(t, declaring("x", m))
			code(t, r.call(t, "x", `{}`), -32602, "COAZ mapping error")
			unasked(t, r)
		}
	})
	t.Run("Expressions: a list does not become several evaluations", func(t *testing.T) {
		r := coazRig(t, declaring("x", `{"evaluation":{"action":{"name":"a"},"resource":{"type":"t","id":"i","properties":{"all":"$params.arguments.all"}}}}`))
		r.call(t, "x", `{"all":["a","b"]}`)
		if q := one(t, r); string(q.Resource.Properties) != `{"all":["a","b"]}` {
			t.Errorf("asked %s", q.Resource.Properties)
		}
	})
	t.Run("Mapping Errors: -32602, its message, the request's id, and nobody is asked", func(t *testing.T) {
		r := coazRig(t, declaring("region", `{"evaluation":{"action":{"name":"a"},"resource":{"type":"t","id":"$params.arguments.region"}}}`))
		pa := r.admit(t, `{"jsonrpc":"2.0","id":456,"method":"tools/call","params":{"name":"region","arguments":{}}}`)
		code(t, pa, -32602, "COAZ mapping error: expression '$params.arguments.region' failed: no such key")
		if string(pa.Answer.ID) != "456" {
			t.Errorf("the id is %s", pa.Answer.ID)
		}
		unasked(t, r)
		for name, m := range map[string]string{
			"null for a required field": `{"evaluation":{"action":{"name":"a"},"resource":{"type":"t","id":null}}}`,
			"absent":                    `{"evaluation":{"action":{"name":"a"},"resource":{"type":"t","id":"$params.arguments.?region"}}}`,
			"a number":                  `{"evaluation":{"action":{"name":"a"},"resource":{"type":"t","id":"$1"}}}`,
			"no resource":               `{"evaluation":{"action":{"name":"a"}}}`,
			"no CEL":                    `{"evaluation":{"action":{"name":"$1 +"},"resource":{"type":"t","id":"i"}}}`,
			"no such variable":          `{"evaluation":{"action":{"name":"$env.HOME"},"resource":{"type":"t","id":"i"}}}`,
		} {
			r := coazRig(t, declaring("x", m))
			if pa := r.call(t, "x", `{}`); pa.Answer == nil || pa.Answer.Error == nil || pa.Answer.Error.Code != -32602 {
				t.Errorf("%s: %+v", name, pa.Answer)
			}
			unasked(t, r)
		}
	})
	t.Run("Authorization Denial: -32001 and the request's id; of a call, a tool's error", func(t *testing.T) {
		r := coazRig(t)
		r.judge.decide = only()
		pa := r.admit(t, `{"jsonrpc":"2.0","id":789,"method":"resources/read","params":{"uri":"a:b"}}`)
		code(t, pa, -32001, "Access denied: No policy permits that.")
		if string(pa.Answer.ID) != "789" || !strings.Contains(string(pa.Answer.Error.Data), `"code":"no_permit"`) {
			t.Errorf("answered %s", pa.Answer.Append(nil))
		}
		if got := refusedCall(t, r.admit(t, coazCall)); got.Meta.Refusal.Code != authz.CodeNoPermit {
			t.Errorf("a call: %+v", got)
		}
	})
	t.Run("PDP Communication Errors: -32603", func(t *testing.T) {
		r := coazRig(t)
		r.judge.err = authz.Errorf(authz.ErrUnavailable, "connection refused")
		pa := r.admit(t, strings.Replace(coazCall, `"id": 2`, `"id": 101`, 1))
		if got := string(pa.Answer.Append(nil)); got != `{"jsonrpc":"2.0","id":101,"error":{"code":-32603,"message":"Authorization service unavailable"}}` {
			t.Errorf("answered %s", got)
		}
	})
	t.Run("PDP Communication Errors: an answer that is none", func(t *testing.T) {
		r := coazRig(t)
		r.judge.decide = func(*authz.Request) *client.Answer { return &client.Answer{} }
		if pa := r.admit(t, coazCall); pa.Forward != nil {
			t.Error("the zero answer lets it pass")
		}
	})
	t.Run("Token: claims are the validated token's, and no request's", func(t *testing.T) {
		r := coazRig(t)
		r.admit(t, `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"token":{"sub":"admin"},"_meta":{"sub":"admin"}}}`)
		if got := one(t, r).Subject.ID; got != "alice@example.com" {
			t.Errorf("asked about %q", got)
		}
	})
	t.Run("tools/list carries the mappings through", func(t *testing.T) {
		r := coazRig(t)
		got := result(t, r.admit(t, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`), `{"tools":[`+coazGetCustomer+`,`+coazWeather+`]}`)
		var list struct {
			Result struct{ Tools []json.RawMessage }
		}
		if err := json.Unmarshal([]byte(got), &list); err != nil || len(list.Result.Tools) != 2 || !slices.ContainsFunc(list.Result.Tools, func(b json.RawMessage) bool { return strings.Contains(string(b), "x-authzen-mapping") }) {
			t.Errorf("seen %s: %v", got, err)
		}
	})
}
