package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// An apiDoc is the served OpenAPI document, with schemas made strict: an answer with a member that
// the document does not name is an error here.
type apiDoc struct {
	t        *testing.T
	raw      map[string]any
	compiler *jsonschema.Compiler
	called   map[string]bool
}

func readDoc(t *testing.T, s *running) *apiDoc {
	t.Helper()
	r := s.do("GET", "/openapi.json", "", "")
	raw, err := jsonschema.UnmarshalJSON(strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	doc := raw.(map[string]any)
	if doc["openapi"] != "3.1.0" {
		t.Errorf("openapi is %v", doc["openapi"])
	}
	for _, v := range doc["components"].(map[string]any)["schemas"].(map[string]any) {
		if schema := v.(map[string]any); schema["type"] == "object" && schema["properties"] != nil {
			schema["additionalProperties"] = false
		}
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	return &apiDoc{t: t, raw: doc, compiler: c, called: map[string]bool{}}
}

// operation finds the operation that a request is for.
func (d *apiDoc) operation(method, path string) (op map[string]any, pointer string) {
	d.t.Helper()
	segs := strings.Split(strings.SplitN(path, "?", 2)[0], "/")
	var best string
	for p, item := range d.raw["paths"].(map[string]any) {
		want := strings.Split(p, "/")
		ok := len(want) == len(segs) || strings.HasPrefix(p, "/tile/") && len(segs) > 2
		for i := 0; ok && i < len(want) && i < len(segs); i++ {
			ok = want[i] == segs[i] || strings.HasPrefix(want[i], "{")
		}
		if o, has := item.(map[string]any)[strings.ToLower(method)]; ok && has && (best == "" || strings.Count(p, "{") < strings.Count(best, "{")) {
			best, op = p, o.(map[string]any)
		}
	}
	if op == nil {
		d.t.Fatalf("the document has no %s %s", method, path)
	}
	d.called[method+" "+best] = true
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	return op, "openapi.json#/paths/" + url.PathEscape(escape.Replace(best)) + "/" + strings.ToLower(method)
}

func (d *apiDoc) validate(pointer, what, text string) {
	d.t.Helper()
	schema, err := d.compiler.Compile(pointer)
	if err != nil {
		d.t.Errorf("%s: compiling the schema at %s: %v", what, pointer, err)
		return
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err == nil {
		err = schema.Validate(v)
	}
	if err != nil {
		d.t.Errorf("%s: %v\n%s", what, err, text)
	}
}

// drafting are routes that take drafts of policies, alerts and stops, and change nothing.
var drafting = []string{"/v1/policies/check", "/v1/policies/test", "/v1/policies/backtest", "/v1/policies/diff", "/v1/alerts/preview", "/v1/stops/preview"}

// Every operation of the document is called, and requests and answers are as it says.
func TestOpenAPI(t *testing.T) {
	cfg := organisation(t, testdata("search"))
	s := start(t, cfg)
	doc := readDoc(t, s)

	// call sends a request, checks both ways against the document, and returns the answer.
	call := func(method, path, token, body string, want int) map[string]any {
		t.Helper()
		what := method + " " + path
		op, at := doc.operation(method, path)
		if body != "" {
			if op["requestBody"] == nil {
				t.Fatalf("%s: the document knows no body", what)
			}
			if want == 200 {
				doc.validate(at+"/requestBody/content/application~1json/schema", what+": request", body)
			}
		}
		r := s.do(method, path, token, body)
		if r.status != want {
			t.Errorf("%s: status %d, want %d: %s", what, r.status, want, r.body)
			return nil
		}
		var out map[string]any
		if want != 200 {
			status := strconv.Itoa(want)
			if op["responses"].(map[string]any)[status] == nil {
				status = "default"
			}
			if want != 503 { // of /readyz, which tells in its own form
				doc.validate(at+"/responses/"+status+"/content/application~1json/schema", what+": error", r.body)
			}
			json.Unmarshal([]byte(r.body), &out)
			return out
		}
		content := op["responses"].(map[string]any)["200"].(map[string]any)["content"].(map[string]any)
		media := strings.SplitN(r.header.Get("Content-Type"), ";", 2)[0]
		if content[media] == nil {
			t.Errorf("%s: answered %s, the document says %v", what, media, content)
			return nil
		}
		if media == "application/json" {
			doc.validate(at+"/responses/200/content/application~1json/schema", what+": answer", r.body)
			if err := json.Unmarshal([]byte(r.body), &out); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		return out
	}
	ok := func(method, path, body string) map[string]any {
		t.Helper()
		return call(method, path, adminToken, body, 200)
	}
	public := func(path string) map[string]any { t.Helper(); return call("GET", path, "", "", 200) }

	// AuthZEN.
	const ask = `{"subject":{"type":"user","id":"alice"},"action":{"name":"view"},"resource":{"type":"record","id":"101"},"context":{"x":1}}`
	decision := call("POST", "/access/v1/evaluation", pepToken, ask, 200)
	call("POST", "/access/v1/evaluation", pepToken, strings.Replace(ask, "alice", "felix", 1), 200) // a refusal
	call("POST", "/access/v1/evaluation", pepToken, strings.Replace(ask, `"view"`, `"fly"`, 1), 400)
	call("POST", "/access/v1/evaluations", pepToken, strings.Replace(ask, `"view"`, `"fly"`, 1), 400)
	call("POST", "/access/v1/evaluations", pepToken, ask, 200)
	call("POST", "/access/v1/evaluations", pepToken, strings.TrimSuffix(ask, "}")+`,"evaluations":[{},{"action":{"name":"edit"}},{"action":{"name":"fly"}}],"options":{"evaluations_semantic":"execute_all"}}`, 200)
	if r := s.ask("/access/v1/evaluations", strings.TrimSuffix(ask, "}")+`,"evaluations":[{"action":1}]}`); r.status == 200 {
		doc.validate("openapi.json#/components/schemas/EvaluationsResponse", "a bad item", r.body)
	}
	call("POST", "/access/v1/search/subject", pepToken, `{"subject":{"type":"user"},"action":{"name":"view"},"resource":{"type":"record","id":"101"},"page":{"limit":2}}`, 200)
	call("POST", "/access/v1/search/resource", pepToken, `{"subject":{"type":"user","id":"alice"},"action":{"name":"view"},"resource":{"type":"record"}}`, 200)
	call("POST", "/access/v1/search/action", pepToken, `{"subject":{"type":"user","id":"alice"},"resource":{"type":"record","id":"101"}}`, 200)

	// Public.
	for _, path := range []string{"/.well-known/authzen-configuration", "/healthz", "/readyz", "/metrics", "/v1/audit/key", "/openapi.json"} {
		public(path)
	}

	// Agents.
	agent := ok("PUT", "/v1/agents/bot-1", `{"owner":"ops","purpose":"billing","version":"1","creator":"eve","capabilities":[],"labels":{"team":"a"},"if_revision":0,"why":"new"}`)
	if agent["revision"] != 1.0 || agent["state"] != "active" {
		t.Errorf("registered agent: %v", agent)
	}
	ok("PUT", "/v1/agents/bot-1", `{"owner":"ops2","purpose":"billing","version":"1","if_revision":1,"why":"handed over"}`)
	if got := ok("GET", "/v1/agents/bot-1", ""); got["owner"] != "ops2" || got["creator"] != "eve" {
		t.Errorf("changed agent: %v", got)
	}
	call("PUT", "/v1/agents/bot-1", adminToken, `{"owner":"ops3","purpose":"billing","version":"1","if_revision":1,"why":"too late"}`, 409)
	ok("POST", "/v1/agents/bot-1/state", `{"state":"suspended","why":"odd"}`)
	if list := ok("GET", "/v1/agents?state=suspended&limit=5", ""); len(list["items"].([]any)) != 1 {
		t.Errorf("suspended agents: %v", list)
	}
	call("GET", "/v1/agents/nobody", adminToken, "", 404)
	if fleet := ok("GET", "/v1/fleet?state=suspended&facets=true", ""); len(fleet["items"].([]any)) != 1 || fleet["total"] != 1.0 {
		t.Errorf("the fleet has %v", fleet)
	}
	call("GET", "/v1/agents?state=asleep", adminToken, "", 400)
	call("GET", "/v1/agents?colour=red", adminToken, "", 400)
	call("GET", "/v1/agents?limit=5000", adminToken, "", 400)

	// What agents authenticate with.
	enrolment := ok("POST", "/v1/agents/bot-1/enrolment", `{"ttl_seconds":3600,"why":"new key"}`)
	if text, _ := enrolment["token"].(string); !strings.HasPrefix(text, "sc_enrol_") || enrolment["agent"] != "bot-1" {
		t.Errorf("enrolment: %v", enrolment)
	}
	if list := ok("GET", "/v1/agents/bot-1/keys", ""); len(list["items"].([]any)) != 0 || list["enrolment"] == nil {
		t.Errorf("keys before there is one: %v", list)
	}
	document := ok("POST", "/v1/agents/bot-1/document", `{"url":"https://bot.example/id.json","why":"keys in our KMS"}`)
	if document["kind"] != "document" || document["state"] != "active" {
		t.Errorf("linked document: %v", document)
	}
	if list := ok("POST", "/v1/agents/bot-1/keys/revoke", `{"all":true,"why":"stolen"}`); len(list["items"].([]any)) != 1 || list["enrolment"] != nil {
		t.Errorf("keys after all are revoked: %v", list)
	}
	ok("POST", "/v1/agents/bot-1/keys/revoke", `{"key":"https://bot.example/id.json","why":"again"}`)
	call("POST", "/v1/agents/bot-1/keys/revoke", adminToken, `{"why":"which?"}`, 400)
	call("POST", "/v1/agents/bot-1/keys/revoke", adminToken, `{"key":"x","all":true,"why":"which?"}`, 400)
	call("POST", "/v1/agents/bot-1/keys/revoke", adminToken, `{"key":"x","why":"unknown"}`, 404)
	call("POST", "/v1/agents/nobody/enrolment", adminToken, `{"why":"x"}`, 404)
	call("POST", "/v1/agents/bot-1/enrolment", adminToken, `{"ttl_seconds":9223372036854775807,"why":"x"}`, 400)
	call("GET", "/v1/agents/nobody/keys", adminToken, "", 404)
	call("POST", "/v1/agents/bot-1/document", adminToken, `{"url":"http://bot.example/id.json","why":"x"}`, 400)
	if due := ok("GET", "/v1/keys/due?within_days=30&limit=5", ""); due["total"] != 0.0 {
		t.Errorf("keys that are due: %v", due)
	}
	call("GET", "/v1/keys/due?within_days=5000", adminToken, "", 400)

	// How agents behave. Levels are set by hand before there is any conduct.
	ok("POST", "/v1/agents/bot-1/trust", `{"class":"money","level":"low","ttl_seconds":3600,"why":"a drill"}`)
	if report := ok("GET", "/v1/agents/bot-1/trust", ""); report["agent"] != "bot-1" || report["shadow"] == true {
		t.Errorf("trust: %v", report)
	}
	ok("POST", "/v1/agents/bot-1/trust", `{"class":"money","why":"the drill is over"}`)
	ok("POST", "/v1/agents/bot-1/trust", `{"level":"medium","restore":true,"why":"and all is well"}`)
	call("POST", "/v1/agents/bot-1/trust", adminToken, `{"level":"low","why":"for ever"}`, 400)
	call("POST", "/v1/agents/nobody/trust", adminToken, `{"level":"low","ttl_seconds":60,"why":"unknown"}`, 404)
	call("GET", "/v1/agents/nobody/trust", adminToken, "", 404)
	if h := ok("GET", "/v1/agents/bot-1/trust/history", ""); len(h["points"].([]any)) < 2 {
		t.Errorf("trust in bot-1 moved so: %v", h)
	}
	ok("GET", "/v1/agents/bot-1/use?days=14", "")
	ok("GET", "/v1/agents/bot-1/delegation", "")
	ok("GET", "/v1/agents/bot-1/sessions", "")
	for _, path := range []string{"/v1/agents/nobody/trust/history", "/v1/agents/nobody/use", "/v1/agents/nobody/delegation", "/v1/agents/nobody/sessions", "/v1/sessions/none"} {
		call("GET", path, adminToken, "", 404)
	}
	call("GET", "/v1/agents/bot-1/use?days=92", adminToken, "", 400)
	if list := ok("GET", "/v1/findings?agent=bot-1&kind=deviation&severity=low&state=open&limit=5", ""); len(list["items"].([]any)) != 0 {
		t.Errorf("findings about an agent that did nothing: %v", list)
	}
	ok("GET", "/v1/findings/counts", "")
	call("GET", "/v1/findings?severity=grave", adminToken, "", 400)
	call("GET", "/v1/findings/f1.0", adminToken, "", 404)
	call("POST", "/v1/findings/f1.0/judge", adminToken, `{"verdict":"dismissed","why":"unknown"}`, 404)
	ok("GET", "/v1/stream?agent=bot-1&type=trust", "")
	call("GET", "/v1/stream?type=love", adminToken, "", 400)

	// Policies. A version is what an organisation's files say; here the same with one more policy.
	active := ok("GET", "/v1/policies/active", "")
	source := active["source"].(map[string]any)
	files := append(source["files"].([]any), map[string]any{"name": "more.cedar", "text": `@id("more") permit (principal is user, action == Action::"delete", resource is record) when { principal.role == "manager" };`})
	form := func(members map[string]any) string {
		b, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	schema := source["schema"].(string) + `
action tidy appliesTo { principal: [Agent], resource: [record], context: { observed: Observed } };`
	more := map[string]any{"schema": schema, "files": files}
	if r := ok("POST", "/v1/policies/check", form(map[string]any{"source": more})); r["ok"] != true {
		t.Errorf("check: %v", r)
	}
	bad := map[string]any{"schema": source["schema"], "files": []any{map[string]any{"name": "bad.cedar", "text": "permit (principal, action, resource) when { resource.nonsense };"}}}
	if r := ok("POST", "/v1/policies/check", form(map[string]any{"source": bad})); r["ok"] != false || len(r["problems"].([]any)) == 0 {
		t.Errorf("check of a bad policy: %v", r)
	}
	if r := ok("POST", "/v1/policies/check", form(map[string]any{"catalog": "nonsense: 1"})); r["ok"] != false || len(r["problems"].([]any)) == 0 {
		t.Errorf("check of a bad catalog: %v", r)
	}
	if r := call("POST", "/v1/policies", adminToken, form(map[string]any{"source": bad, "if_version": 1, "why": "x"}), 400); len(r["error"].(map[string]any)["problems"].([]any)) == 0 {
		t.Errorf("publishing a bad policy: %v", r)
	}
	if r := ok("POST", "/v1/policies/diff", form(map[string]any{"source": more})); len(r["policies"].([]any)) != 1 {
		t.Errorf("diff of a draft: %v", r)
	}
	cases := []any{map[string]any{"name": "a.test.yaml", "text": `cases: [{request: {subject: "user:x", action: delete, resource: "record:101"}, expect: deny}]`}}
	if r := ok("POST", "/v1/policies/test", form(map[string]any{"source": more, "cases": cases})); r["ok"] != true {
		t.Errorf("cases: %v", r)
	}
	if r := ok("POST", "/v1/policies/backtest", `{"last":10}`); r["stopped"] == "" {
		t.Errorf("back-test: %v", r)
	}
	call("POST", "/v1/policies/backtest", adminToken, form(map[string]any{"source": bad}), 400)
	ok("GET", "/v1/policies/schema", "")
	v2 := ok("POST", "/v1/policies", form(map[string]any{"source": more, "if_version": 1, "why": "managers may delete"}))
	if v2["version"] != 2.0 || v2["author"] != "admin:admin" || v2["message"] != "managers may delete" {
		t.Errorf("published: %v", v2)
	}
	call("POST", "/v1/policies", adminToken, form(map[string]any{"source": more, "if_version": 1, "why": "again"}), 409)
	if got := ok("GET", "/v1/policies/1", ""); got["version"] != 1.0 || got["author"] != "config" {
		t.Errorf("version 1: %v", got)
	}

	// What came of a decision about an agent.
	act := call("POST", "/access/v1/evaluation", pepToken, `{"subject":{"type":"agent","id":"bot-1"},"action":{"name":"tidy"},"resource":{"type":"record","id":"101"}}`, 200)
	outcome := "/v1/decisions/" + act["context"].(map[string]any)["evaluation_id"].(string) + "/outcome"
	call("POST", outcome, pepToken, `{"result":"wrong","fault":"tool","latency_ms":120,"size_bytes":0}`, 200)
	if r := ok("POST", outcome, `{"result":"harmful","reporter":"operator","why":"it did so all the same"}`); r["entry"] == nil {
		t.Errorf("outcome: %v", r)
	}
	call("POST", outcome, pepToken, `{"result":"fine"}`, 400)
	call("POST", outcome, pepToken, `{"result":"right","reporter":"operator"}`, 403)
	call("POST", "/v1/decisions/d999999/outcome", pepToken, `{"result":"right"}`, 404)

	ok("POST", "/v1/policies/1/rollback", `{"why":"was wrong"}`)
	if list := ok("GET", "/v1/policies?limit=2", ""); list["active"] != 3.0 || len(list["items"].([]any)) != 2 || list["next"] == nil {
		t.Errorf("versions: %v", list)
	}
	call("GET", "/v1/policies/99", adminToken, "", 404)
	if r := ok("GET", "/v1/policies/1/diff/2", ""); r["after"] != 2.0 {
		t.Errorf("diff: %v", r)
	}
	if r := ok("GET", "/v1/catalog", ""); r["version"] != 3.0 {
		t.Errorf("catalog: %v", r)
	}
	call("GET", "/v1/catalog/schedules/none/calendar", adminToken, "", 404)

	// Risk.
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	ok("PUT", "/v1/alerts/a1", `{"kind":"ransomware","severity":"high","scope":{"resource_type":"record"},"message":"seen","expires_at":"`+until+`","why":"SOC says so"}`)
	ok("GET", "/v1/alerts", "")
	ok("POST", "/v1/alerts/a1/clear", `{"why":"over"}`)
	call("POST", "/v1/alerts/a1/clear", adminToken, `{"why":"again"}`, 404)
	ok("POST", "/v1/alerts/preview", `{"kind":"ransomware","severity":"high"}`)
	ok("POST", "/v1/stops/preview", `{"scope":{"everything":true}}`)
	ok("PUT", "/v1/stops/s1", `{"scope":{"everything":true},"why":"incident 7"}`)
	ok("GET", "/v1/stops", "")
	ok("POST", "/v1/stops/s1/lift", `{"why":"over"}`)
	call("POST", "/v1/stops/s1/lift", adminToken, `{"why":"again"}`, 409)
	ok("PUT", "/v1/indicators/i1", `{"type":"ip","value":"192.0.2.0/24","severity":"low","source":"feed","expires_at":"`+until+`","why":"feed"}`)
	ok("GET", "/v1/indicators?type=ip&limit=10", "")
	ok("POST", "/v1/indicators/i1/clear", `{"why":"stale"}`)

	// Decisions and the log.
	id := decision["context"].(map[string]any)["evaluation_id"].(string)
	if got := ok("GET", "/v1/decisions/"+id, ""); got["id"] != id {
		t.Errorf("decision: %v", got)
	}
	x := ok("GET", "/v1/decisions/"+id+"/explain", "")
	if len(x["policies"].([]any)) == 0 {
		t.Errorf("explanation without policies: %v", x)
	}
	call("GET", "/v1/decisions/d999999", adminToken, "", 404)
	call("GET", "/v1/decisions/d1", adminToken, "", 404) // an entry, but no decision
	call("GET", "/v1/decisions/one", adminToken, "", 400)
	found := ok("GET", "/v1/audit/entries?kind=decision.made&action=view&outcome=allow&limit=3", "")
	if len(found["items"].([]any)) == 0 {
		t.Errorf("found: %v", found)
	}
	ok("GET", "/v1/audit/entries/"+id[1:], "")
	ok("GET", "/v1/audit/entries/"+id[1:]+"/proof", "")
	call("GET", "/v1/audit/entries/999999", adminToken, "", 404)
	ok("GET", "/v1/audit/growth?old=1", "")
	if list := ok("GET", "/v1/audit/checkpoints?limit=5", ""); len(list["items"].([]any)) == 0 {
		t.Errorf("no checkpoints: %v", list)
	}
	call("GET", "/v1/audit/checkpoints?limit=201", adminToken, "", 400)
	ok("POST", "/v1/audit/bundle", `{"entries":[2,1],"why":"the auditor asked"}`)
	ok("POST", "/v1/audit/bundle", `{"search":{"kind":"decision.made","text":"101"},"limit":2,"why":"the auditor asked"}`)
	call("POST", "/v1/audit/bundle", adminToken, `{"entries":[1]}`, 400)
	call("POST", "/v1/audit/bundle", adminToken, `{"entries":[999999],"why":"x"}`, 404)
	call("POST", "/v1/audit/bundle", adminToken, `{"search":{"text":"nowhere"},"why":"x"}`, 404)
	public("/checkpoint")
	tile := fmt.Sprintf("/tile/0/000.p/%d", 1)
	public(tile)

	// What was told of asks.
	ok("GET", "/v1/deliveries?state=dead", "")
	call("GET", "/v1/deliveries/dlv_none", adminToken, "", 404)
	call("POST", "/v1/deliveries/dlv_none/retry", adminToken, `{"why":"it is back"}`, 404)

	// Our own signing keys.
	keys := ok("GET", "/v1/keys", "")["items"].([]any)
	if len(keys) != 3 {
		t.Errorf("%d signing keys, want one for each of 3 slots: %v", len(keys), keys)
	}
	ok("POST", "/v1/keys/rotate", `{"use":"status","why":"a drill"}`)
	call("POST", "/v1/keys/rotate", adminToken, `{"use":"love","why":"a drill"}`, 400)
	first := keys[0].(map[string]any)["kid"].(string)
	ok("POST", "/v1/keys/"+first+"/revoke", `{"why":"leaked"}`)
	call("POST", "/v1/keys/nosuch/revoke", adminToken, `{"why":"leaked"}`, 404)

	// The persons who answer.
	anna := ok("PUT", "/v1/people/anna", `{"name":"Anna","email":"anna@example.com","issuer":"https://idp.example","subject":"s-1","claims":{"groups":["finance"]},"if_as_of":0,"why":"new"}`)
	if anna["id"] != "anna" || len(anna["passkeys"].([]any)) != 0 || anna["enrolment"] != nil {
		t.Errorf("person: %v", anna)
	}
	call("PUT", "/v1/people/anna", adminToken, `{"name":"Anna","if_as_of":0,"why":"again"}`, 409)
	call("PUT", "/v1/people/ben", adminToken, `{"name":"Ben","issuer":"https://idp.example","subject":"s-1","why":"the same account"}`, 409)
	call("PUT", "/v1/people/a:b", adminToken, `{"name":"x","why":"no id"}`, 400)
	if link := ok("POST", "/v1/people/anna/enrolment", `{"ttl_seconds":3600,"why":"first passkey"}`); !strings.Contains(link["url"].(string), "/enrol#sc_person_") {
		t.Errorf("link: %v", link)
	}
	call("POST", "/v1/people/nobody/enrolment", adminToken, `{"why":"x"}`, 404)
	call("POST", "/v1/people/anna/enrolment", adminToken, `{"ttl_seconds":9223372036854775807,"why":"x"}`, 400)
	if link := ok("POST", "/v1/people/anna/link", `{"ttl_seconds":60,"why":"no passkey yet"}`); !strings.Contains(link["url"].(string), "/sign-in/link?token=sc_link_") {
		t.Errorf("the link: %v", link)
	}
	call("POST", "/v1/people/nobody/link", adminToken, `{"why":"x"}`, 404)
	call("POST", "/v1/people/anna/link", adminToken, `{"ttl_seconds":601,"why":"x"}`, 400)
	if me := ok("GET", "/v1/me", ""); me["kind"] != "token" || me["actor"] != "admin:admin" {
		t.Errorf("who calls: %v", me)
	}
	call("GET", "/v1/me", pepToken, "", 200)
	if got := ok("GET", "/v1/people/anna", ""); got["enrolment"] == nil || got["email"] != "anna@example.com" {
		t.Errorf("person: %v", got)
	}
	call("GET", "/v1/people/nobody", adminToken, "", 404)
	if list := ok("GET", "/v1/people?text=ANN&limit=5", ""); len(list["items"].([]any)) != 1 {
		t.Errorf("people: %v", list)
	}
	call("GET", "/v1/people?limit=5000", adminToken, "", 400)
	call("POST", "/v1/people/anna/passkeys/revoke", adminToken, `{"passkey":"YQ","why":"lost"}`, 404)
	ok("POST", "/v1/people/anna/sign-out", `{"why":"lost a laptop"}`)
	call("GET", "/v1/people", pepToken, "", 403)

	// Callers.
	made := ok("POST", "/v1/callers", `{"name":"sidecar","role":"pep","why":"new gateway"}`)
	token, _ := made["token"].(string)
	if !strings.HasPrefix(token, "sc_pep_") || made["hash"] != nil {
		t.Errorf("created caller: %v", made)
	}
	call("POST", "/access/v1/evaluation", token, ask, 200)
	call("POST", "/v1/callers", adminToken, `{"name":"sidecar","role":"pep","why":"twice"}`, 409)
	call("POST", "/v1/callers", adminToken, `{"name":"x","role":"king","why":"y"}`, 400)
	ok("POST", "/v1/callers/"+made["id"].(string)+"/revoke", `{"why":"gone"}`)
	call("POST", "/access/v1/evaluation", token, ask, 401)
	ok("GET", "/v1/callers", "")
	doc.callEdge(t, s, decision, call)
	if o := ok("GET", "/v1/overview", ""); o["health"].(map[string]any)["policies"] != 3.0 {
		t.Errorf("overview: %v", o)
	}
	if items := ok("GET", "/v1/overview/series?window=1h", "")["items"].([]any); len(items) != 60 {
		t.Errorf("an hour is %d steps", len(items))
	}
	call("GET", "/v1/overview/series?window=5y", adminToken, "", 400)
	ok("GET", "/v1/report", "")
	call("GET", "/v1/report?from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", adminToken, "", 400)
	if st := ok("GET", "/v1/status", ""); st["ready"] != true || st["policies"] != 3.0 {
		t.Errorf("status: %v", st)
	}

	doc.callRequests(t)
	doc.callApprovals(t)
	for path, item := range doc.raw["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			if name := strings.ToUpper(method) + " " + path; !doc.called[name] {
				t.Errorf("%s is documented and was never called", name)
			}
		}
	}
}

// Every route needs the role that it says, every change says why, and bodies are strict.
func TestRoutesAreGuarded(t *testing.T) {
	s := start(t, organisation(t, testdata("search")))
	doc := readDoc(t, s)
	var made struct{ Token string }
	s.into(s.do("POST", "/v1/callers", adminToken, `{"name":"reader","role":"auditor","why":"test"}`), &made)
	tokens := map[string]string{"administrator": adminToken, "pep": pepToken, "auditor": made.Token, "edge": s.edge("gate"), "approver": s.persons("anna")["anna"]}

	for path, item := range doc.raw["paths"].(map[string]any) {
		concrete := strings.NewReplacer("{id}", "x", "{seq}", "1", "{version}", "1", "{path}", "0/000").Replace(path)
		for method, o := range item.(map[string]any) {
			op := o.(map[string]any)
			method := strings.ToUpper(method)
			body := ""
			if op["requestBody"] != nil {
				body = `{}`
			}
			roles, guarded := op["x-roles"].([]any)
			if !guarded {
				if op["security"] == nil {
					t.Errorf("%s %s has neither roles nor the mark of a public route", method, path)
				}
				continue
			}
			if r := s.do(method, concrete, "", body); r.status != http.StatusUnauthorized || r.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s without a token: status %d, want 401", method, path, r.status)
			}
			for role, token := range tokens {
				may := false
				for _, r := range roles {
					may = may || r == role
				}
				if r := s.do(method, concrete, token, body); (r.status == http.StatusForbidden) == may {
					t.Errorf("%s %s as %s: status %d: %s", method, path, role, r.status, r.body)
				}
			}
			if body != "" && strings.HasPrefix(path, "/v1/") {
				able, administers := tokens["approver"], false
				for _, r := range roles {
					if r == "edge" && !administers {
						able = tokens["edge"]
					}
					if administers = administers || r == "administrator"; administers {
						able = adminToken
					}
				}
				if r := s.do(method, concrete, able, `{"unheard_of":1}`); r.status != 400 || !strings.Contains(r.body, "unheard_of") {
					t.Errorf("%s %s with an unknown member: status %d: %s", method, path, r.status, r.body)
				}
				if r := s.do(method, concrete, able, `{"why":"a","why":"b"}`); r.status != 400 {
					t.Errorf("%s %s with a member twice: status %d: %s", method, path, r.status, r.body)
				}
				if r := s.do(method, concrete, adminToken, `{}`); administers && !slices.Contains(drafting, path) && (r.status != 400 || !strings.Contains(r.body, "why")) {
					t.Errorf("%s %s without a why: status %d: %s", method, path, r.status, r.body)
				}
			}
		}
	}
	if r := s.do("GET", "/nowhere", "", ""); r.status != 404 || !strings.Contains(r.body, `"not_found"`) {
		t.Errorf("nowhere: status %d: %s", r.status, r.body)
	}
	if r := s.do("DELETE", "/v1/agents/x", adminToken, ""); r.status != 404 && r.status != 405 {
		t.Errorf("DELETE: status %d", r.status)
	}
}
