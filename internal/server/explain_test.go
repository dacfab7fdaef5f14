package server_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// explained is an organisation whose policies can refuse in every way that explanations tell of.
var explained = map[string]string{
	"safeconduct.yaml": `
organisation: {catalog: catalog.yaml, schema: s.cedarschema, policies: ["*.cedar"], agents: agents.yaml}
`,
	"catalog.yaml": `
zone: Asia/Tokyo
capabilities: {payments: {title: Pay, class: money, actions: [pay]}}
obligations:
  tell: {type: notification, properties: {to: owner, body: paid}}
  mark: {type: custom, properties: {action: watermark}}
reasons:
  closed: {message: This ledger is closed., detail: Ask finance to open it.}
types:
  Ledger: {class: internal, request_properties: [status, limit]}
entities:
  - {type: User, id: ann}
  - {type: User, id: ben}
  - {type: Ledger, id: main}
`,
	"s.cedarschema": `
entity Ledger { status?: String, limit?: Long };
action pay appliesTo {
  principal: [Agent, User], resource: Ledger,
  context: { observed: Observed, claimed: Claimed, args: { amount?: Long } }
};
action read, look appliesTo {
  principal: [Agent, User], resource: Ledger,
  context: { observed: Observed, claimed: Claimed, args: { amount?: Long } }
};
`,
	"p.cedar": `@id("agents-pay") @obligations("tell")
permit (principal is Agent, action == Action::"pay", resource)
when { context.observed.grant.within.contains("payments") };

@id("ann-pays")
permit (principal == User::"ann", action == Action::"pay", resource);

@id("large") @remedy("approval")
forbid (principal is Agent, action == Action::"pay", resource)
when { context has args && context.args has amount && context.args.amount > 100 };

@id("closed") @reason("closed")
forbid (principal, action, resource)
when { resource has status }
when { resource.status == "closed" };

@id("fragile")
forbid (principal, action == Action::"read", resource)
when { resource has limit && resource.limit + 9223372036854775807 > 0 };

@id("late")
forbid (principal, action == Action::"look", resource)
when { context.observed.time.hour < 0 };

@id("look-marked") @obligations("mark")
permit (principal is Agent, action == Action::"look", resource);
`,
	"agents.yaml": `
agents:
  - {id: payer, owner: o, purpose: p, version: "1", capabilities: [payments]}
  - {id: reader, owner: o, purpose: p, version: "1"}
`,
}

func explainedServer(t *testing.T) *running {
	t.Helper()
	dir := t.TempDir()
	for name, text := range explained {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return start(t, load(t, filepath.Join(dir, "safeconduct.yaml")))
}

// question is a request body of an agent or User:name; more goes into the context.
func question(subject, action, properties, args, more string) string {
	typ, id, ok := strings.Cut(subject, ":")
	if !ok {
		typ, id = "agent", subject
	}
	return fmt.Sprintf(`{"subject":{"type":%q,"id":%q},"action":{"name":%q,"properties":%s},"resource":{"type":"Ledger","id":"main","properties":%s},"context":{%s}}`,
		typ, id, action, args, properties, more)
}

// An answer is what the evaluation routes say, in one form or the other.
type answerBody struct {
	Decision *bool `json:"decision"`
	Context  struct {
		ID          string `json:"evaluation_id"`
		Code        string `json:"code"`
		Obligations []map[string]any
		Error       struct {
			Status  int
			Message string
		}
	} `json:"context"`
	Error struct{ Code, Message string } `json:"error"`
}

type explanationBody struct {
	Record struct {
		Facts struct{ At time.Time }
	}
	Agent struct {
		Reasons     []struct{ Code, Message, Party string }
		Obligations []struct{ ID string }
	} `json:"agent_view"`
	Again struct {
		Agrees  bool
		Problem string
		Code    string
		Detail  string
		Changes []struct{ Who, Kind, Target string }
	} `json:"judged_again"`
	Policies []struct {
		Policy, File, Effect, Outcome, Party string
		Line                                 int
		Message, Detail                      string
		Clauses                              []struct {
			Text, Outcome, Error string
			Line                 int
			Reads                []struct{ Path, Value string }
		}
	}
}

func TestExplain(t *testing.T) {
	s := explainedServer(t)
	ask := func(body, code string) string {
		t.Helper()
		var a answerBody
		if s.into(s.ask("/access/v1/evaluation", body), &a); a.Context.Code != code {
			t.Fatalf("%s: code %s, want %s", body, a.Context.Code, code)
		}
		return a.Context.ID
	}
	// The catalog's zone, which is not recorded, counts again.
	var x explanationBody
	s.into(s.do("GET", "/v1/decisions/"+ask(question("payer", "look", `{}`, `{}`, ""), "allowed")+"/explain", adminToken, ""), &x)
	for _, p := range x.Policies {
		if tokyo := fmt.Sprint((x.Record.Facts.At.UTC().Hour() + 9) % 24); p.Policy == "late" && p.Clauses[0].Reads[0].Value != tokyo {
			t.Errorf("policy late read hour %s, in Tokyo it was %s", p.Clauses[0].Reads[0].Value, tokyo)
		}
	}
	if len(x.Policies) < 3 || len(x.Agent.Obligations) != 1 {
		t.Errorf("explanation of what was allowed: %+v", x)
	}

	// Each: a question, its code, and what must be told of a policy: its party and outcome, and of
	// the clause that decided where it stands, what became of it, and what it read.
	tests := []struct {
		name, body, code         string
		policy, party, outcome   string
		line                     int
		clause, text, path, read string
	}{
		{"no permit", question("reader", "pay", `{}`, `{"amount":5}`, ""), "no_permit",
			"agents-pay", "", "unsatisfied", 3, "fails", `grant.within.contains("payments")`, "context.observed.grant.within", "[]"},
		{"forbidden", question("payer", "pay", `{"status":"closed"}`, `{"amount":5}`, ""), "forbidden",
			"closed", "", "satisfied", 15, "holds", `resource.status == "closed"`, "resource.status", `"closed"`},
		{"policy error", question("payer", "read", `{"limit":5}`, `{}`, ""), "policy_error",
			"fragile", "", "error", 19, "error", "resource.limit + 9223372036854775807", "resource.limit", "5"},
		{"held", question("payer", "pay", `{}`, `{"amount":500}`, ""), "approval_required",
			"large", "", "satisfied", 10, "holds", "context.args.amount > 100", "context.args.amount", "500"},
		{"agent and person", question("payer", "pay", `{}`, `{"amount":5}`, `"on_behalf_of":[{"type":"User","id":"ben"}]`), "no_permit",
			"agents-pay", "agent", "satisfied", 3, "holds", "grant.within", "context.observed.grant.within", `["payments"]`},
	}
	for _, tt := range tests {
		id := ask(tt.body, tt.code)
		var x explanationBody
		s.into(s.do("GET", "/v1/decisions/"+id+"/explain", adminToken, ""), &x)
		if !x.Again.Agrees || x.Again.Code != tt.code || x.Again.Problem != "" || len(x.Agent.Reasons) == 0 {
			t.Errorf("%s: judged again %+v, the agent was told %v", tt.name, x.Again, x.Agent.Reasons)
		}
		found := false
		for _, p := range x.Policies {
			if p.Policy != tt.policy || p.Party != tt.party {
				continue
			}
			found = true
			if p.File != "p.cedar" || p.Outcome != tt.outcome {
				t.Errorf("%s: policy %s of %s is %s, want %s", tt.name, p.Policy, p.File, p.Outcome, tt.outcome)
			}
			last := p.Clauses[len(p.Clauses)-1]
			read := ""
			for _, r := range last.Reads {
				if r.Path == tt.path {
					read = r.Value
				}
			}
			if last.Line != tt.line || last.Outcome != tt.clause || !strings.Contains(last.Text, tt.text) || read != tt.read || (last.Error != "") != (tt.clause == "error") {
				t.Errorf("%s: clause %+v, want line %d, %s, %q, and that it read %s = %s", tt.name, last, tt.line, tt.clause, tt.text, tt.path, tt.read)
			}
			if tt.policy == "closed" && (p.Message != "This ledger is closed." || p.Detail != "Ask finance to open it.") {
				t.Errorf("%s: reason %q, %q", tt.name, p.Message, p.Detail)
			}
		}
		if !found {
			t.Errorf("%s: nothing is told of policy %s for party %q: %+v", tt.name, tt.policy, tt.party, x.Policies)
		}
	}
}

// A decision is explained by the version that made it, and by what was known then.
func TestExplainByTheVersionThatDecided(t *testing.T) {
	s := explainedServer(t)
	var a answerBody
	s.into(s.ask("/access/v1/evaluation", question("payer", "pay", `{}`, `{"amount":500}`, "")), &a)
	source, err := json.Marshal(map[string]any{
		"if_version": 1, "why": "nothing is held any more",
		"source": map[string]any{"schema": explained["s.cedarschema"], "files": []map[string]string{
			{"name": "new.cedar", "text": `@id("all") permit (principal, action, resource);`}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := s.do("POST", "/v1/policies", adminToken, string(source)); r.status != 200 {
		t.Fatalf("publishing: %s", r.body)
	}
	if r := s.do("POST", "/v1/agents/payer/state", adminToken, `{"state":"suspended","if_revision":1,"why":"test"}`); r.status != 200 {
		t.Fatalf("suspending: %s", r.body)
	}
	explain := func(id string) (x explanationBody) {
		s.into(s.do("GET", "/v1/decisions/"+id+"/explain", adminToken, ""), &x)
		return x
	}
	x := explain(a.Context.ID)
	if !x.Again.Agrees || x.Again.Code != "approval_required" || len(x.Policies) == 0 || x.Policies[0].Policy != "large" {
		t.Errorf("explained by the version that decided: %+v, %+v", x.Again, x.Policies)
	}
	var b answerBody
	s.into(s.ask("/access/v1/evaluation", question("payer", "pay", `{}`, `{"amount":500}`, "")), &b)
	if x := explain(b.Context.ID); b.Context.Code != "agent_inactive" || !x.Again.Agrees || len(x.Policies) != 0 {
		t.Errorf("of a suspended agent: %s, %+v, %+v", b.Context.Code, x.Again, x.Policies)
	}
}

// Thresholds and facts of risk are in an explanation: nobody sees one who could tell an agent.
func TestExplainIsForReaders(t *testing.T) {
	s := explainedServer(t)
	var a answerBody
	s.into(s.ask("/access/v1/evaluation", question("payer", "pay", `{}`, `{"amount":500}`, "")), &a)
	var made struct{ Token string }
	s.into(s.do("POST", "/v1/callers", adminToken, `{"name":"rita","role":"auditor","why":"audit"}`), &made)
	for _, tt := range []struct {
		who, token string
		want       int
	}{{"an administrator", adminToken, 200}, {"an auditor", made.Token, 200}, {"an enforcement point", pepToken, 403}, {"nobody", "", 401}} {
		if r := s.do("GET", "/v1/decisions/"+a.Context.ID+"/explain", tt.token, ""); r.status != tt.want {
			t.Errorf("%s: status %d, want %d", tt.who, r.status, tt.want)
		}
	}
}

// Whatever does not fit the schema is no question: 400 with decision:false alone, an item with its
// error in a batch, and never an entry of the log.
func TestRequestsThatDoNotFitTheSchema(t *testing.T) {
	s := explainedServer(t)
	recorded := func() int {
		var found struct{ Items []struct{ Actor string } }
		s.into(s.do("GET", "/v1/audit/entries?kind=decision.made&limit=1000", adminToken, ""), &found)
		return len(found.Items)
	}
	tests := []struct{ name, body, code, message string }{
		{"unknown action", question("payer", "fly", `{}`, `{}`, ""), "type_unknown", "unknown action"},
		{"unknown type of the resource", strings.Replace(question("payer", "pay", `{}`, `{}`, ""), `"Ledger"`, `"Planet"`, 1), "type_unknown", "unknown resource type"},
		{"unknown type of the subject", question("Robot:r", "pay", `{}`, `{}`, ""), "type_unknown", "unknown subject type"},
		{"an argument of the wrong type", question("payer", "pay", `{}`, `{"amount":"much"}`, ""), "invalid_request", "action.amount"},
		{"a property of the wrong type", question("payer", "pay", `{"status":7}`, `{}`, ""), "invalid_request", "resource.status"},
		{"a fraction where Cedar has whole numbers", question("payer", "pay", `{}`, `{"amount":1.5}`, ""), "invalid_request", "action.amount"},
		{"a number that Cedar cannot hold", question("payer", "pay", `{}`, `{"amount":9223372036854775808}`, ""), "invalid_request", "action.amount"},
	}
	for _, tt := range tests {
		r := s.ask("/access/v1/evaluation", tt.body)
		var a answerBody
		if err := json.Unmarshal([]byte(r.body), &a); err != nil {
			t.Fatal(err)
		}
		if r.status != 400 || a.Decision == nil || *a.Decision || a.Error.Code != "invalid" || !strings.Contains(a.Error.Message, tt.message) || a.Context.ID != "" {
			t.Errorf("%s: %d %s, want 400, decision false and %q", tt.name, r.status, r.body, tt.message)
		}
		good := question("payer", "pay", `{}`, `{"amount":5}`, "")
		r = s.ask("/access/v1/evaluations", `{"evaluations":[`+good+`,`+tt.body+`,`+good+`]}`)
		var batch struct{ Evaluations []answerBody }
		if s.into(r, &batch); len(batch.Evaluations) != 3 {
			t.Fatalf("%s: %s", tt.name, r.body)
		}
		first, bad, last := batch.Evaluations[0], batch.Evaluations[1], batch.Evaluations[2]
		if !*first.Decision || !*last.Decision || first.Context.ID == "" || last.Context.ID == "" {
			t.Errorf("%s: it spoils the others: %s", tt.name, r.body)
		}
		if *bad.Decision || bad.Context.ID != "" || bad.Context.Code != tt.code || bad.Context.Error.Status != 400 || !strings.Contains(bad.Context.Error.Message, tt.message) {
			t.Errorf("%s: item %+v, want decision false, %s, and error 400 with %q", tt.name, bad, tt.code, tt.message)
		}
	}
	var one answerBody // read your writes: the index follows until this one
	s.into(s.ask("/access/v1/evaluation", question("payer", "pay", `{}`, `{"amount":5}`, "")), &one)
	if got, want := recorded(), 2*len(tests)+1; got != want {
		t.Errorf("%d decisions are recorded, want %d", got, want)
	}
}
