package server_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// caller returns what sends a request to s, checks both ways against the document, and returns the answer.
func (d *apiDoc) caller(t *testing.T, s *running) func(method, path, token, body string, want int) map[string]any {
	return func(method, path, token, body string, want int) map[string]any {
		t.Helper()
		what := method + " " + path
		op, at := d.operation(method, path)
		if body != "" && op["requestBody"] != nil && want < 300 {
			d.validate(at+"/requestBody/content/application~1json/schema", what+": request", body)
		}
		r := s.do(method, path, token, body)
		if r.status != want {
			t.Fatalf("%s: status %d, want %d: %s", what, r.status, want, r.body)
		}
		status, responses := fmt.Sprint(want), op["responses"].(map[string]any)
		if responses[status] == nil {
			status = "default"
		}
		media := r.header.Get("Content-Type")
		if responses[status].(map[string]any)["content"].(map[string]any)[media] == nil {
			t.Errorf("%s: answered %d %s, the document says %v", what, want, media, responses[status])
		} else if media != "application/schema+json" {
			d.validate(at+"/responses/"+status+"/content/"+strings.ReplaceAll(media, "/", "~1")+"/schema", what, r.body)
		}
		var out map[string]any
		if err := json.Unmarshal([]byte(r.body), &out); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return out
	}
}

// callRequests calls the routes of access requests.
func (d *apiDoc) callRequests(t *testing.T) {
	s := start(t, asking(t))
	checked := d.caller(t, s)
	call := func(method, path, body string, want int) map[string]any {
		t.Helper()
		return checked(method, path, pepToken, body, want)
	}
	ask := func(account string) (refused map[string]any, body string) {
		t.Helper()
		refused = call("POST", "/access/v1/evaluation", payment("clerk", account, "900.0", ""), 200)["context"].(map[string]any)
		offer := refused["access_request"].(map[string]any)
		return refused, fmt.Sprintf(`{"subject":{"type":"agent","id":"clerk"},"action":{"name":"pay","properties":{"amount":"900.0"}},"resource":{"type":"Account","id":%q},
			"context":{"business_justification":"invoice 7"},"requested_access":{"requested_until":"2099-01-01T00:00:00Z","emergency":true},"client":{"id":"app"},
			"denial":{"evaluation_id":%q,"evaluated_at":%q,"reason":"approval_required","template":%q,"expires_at":%q,"binding_token":%q}}`,
			account, refused["evaluation_id"], refused["evaluated_at"], offer["template"], offer["expires_at"], offer["binding_token"])
	}
	refused, body := ask("acme")
	offer := refused["access_request"].(map[string]any)
	call("GET", strings.TrimPrefix(offer["request_schema_url"].(string), s.URL()), "", 200)
	call("GET", "/access/v1/requests/schemas/nobody", "", 404)

	task := call("POST", "/access/v1/requests", body, 202)["task"].(map[string]any)
	path := strings.TrimPrefix(task["status_endpoint"].(string), s.URL())
	call("GET", path, "", 200)
	call("POST", "/access/v1/requests", strings.Replace(body, "900.0", "901.0", 1), 400)
	call("POST", path+"/cancel", `{"reason":"superseded","comment":"It was paid by hand."}`, 200)
	call("POST", path+"/cancel", "", 409)
	call("POST", "/access/v1/requests", body, 400) // asked about already
	call("GET", "/access/v1/requests/arq_none", "", 404)

	anna := s.persons("anna")["anna"]
	_, body = ask("globex")
	id := call("POST", "/access/v1/requests", body, 202)["task"].(map[string]any)["id"].(string)
	if r := s.answer(anna, id, true, ""); r.status != 200 {
		t.Fatalf("answer: %d %s", r.status, r.body)
	}
	done := call("GET", "/access/v1/requests/"+id, "", 200)
	approval, err := json.Marshal(done["result"].(map[string]any)["approval"])
	if err != nil {
		t.Fatal(err)
	}
	again := call("POST", "/access/v1/evaluation", payment("clerk", "globex", "900.0", string(approval)), 200)
	if again["decision"] != true || again["context"].(map[string]any)["approval"] == nil {
		t.Errorf("with the approval: %v", again)
	}
	again = call("POST", "/access/v1/evaluation", payment("clerk", "globex", "900.0", string(approval)), 200)
	if c := again["context"].(map[string]any); again["decision"] != false || c["reason"] != "approval_expired" || c["next_action"] != "request" {
		t.Errorf("with the approval a second time: %v", again)
	}
	d.operation("DELETE", path+"/cancel")
	if r := s.do("DELETE", path+"/cancel", pepToken, ""); r.status != 409 || r.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("DELETE of what has ended: %d %s", r.status, r.body)
	}

	// Several at once, each with a denial of its own.
	var items []string
	for _, account := range []string{"acme", "globex"} {
		refused, _ := ask(account)
		offer := refused["access_request"].(map[string]any)
		items = append(items, fmt.Sprintf(`{"resource":{"type":"Account","id":%q},"action":{"name":"pay","properties":{"amount":"900.0"}},"denial":{"evaluation_id":%q,"expires_at":%q,"binding_token":%q}}`,
			account, refused["evaluation_id"], offer["expires_at"], offer["binding_token"]))
	}
	task = call("POST", "/access/v1/requests", `{"subject":{"type":"agent","id":"clerk"},"items":[`+strings.Join(items, ",")+`]}`, 202)["task"].(map[string]any)
	if list := task["items"].([]any); len(list) != 2 {
		t.Errorf("the task of two acts: %v", task)
	}
}
