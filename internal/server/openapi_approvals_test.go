package server_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// callApprovals calls the routes of asks, and checks both ways against the document.
func (d *apiDoc) callApprovals(t *testing.T) {
	s := start(t, asking(t))
	call := func(method, path, token, body string, want int) (out map[string]any) {
		t.Helper()
		what := method + " " + path
		op, at := d.operation(method, path)
		if body != "" && want == 200 {
			d.validate(at+"/requestBody/content/application~1json/schema", what+": request", body)
		}
		r := s.do(method, path, token, body)
		if r.status != want {
			t.Fatalf("%s: status %d, want %d: %s", what, r.status, want, r.body)
		}
		status := "200"
		if want != 200 {
			status = "default"
		}
		d.validate(at+"/responses/"+status+"/content/application~1json/schema", what+": answer", r.body)
		if err := json.Unmarshal([]byte(r.body), &out); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if want == 200 && op["x-roles"] == nil {
			t.Errorf("%s is open to everybody", what)
		}
		return out
	}
	people := s.persons("anna", "ben", "cleo", "dan")
	asked := func(account, amount string) string {
		t.Helper()
		return "/v1/approvals/" + s.request("clerk", account, amount, s.evaluate(payment("clerk", account, amount, "")))
	}
	view := func(path, person string) float64 {
		t.Helper()
		return call("POST", path+"/view", people[person], `{}`, 200)["view"].(float64)
	}

	one := asked("acme", "900.0")
	if list := call("GET", "/v1/approvals?mine=true", people["anna"], "", 200); len(list["items"].([]any)) != 1 {
		t.Errorf("anna's inbox: %v", list)
	}
	if got := call("GET", one, people["anna"], "", 200); got["standing"] == nil || len(got["acts"].([]any)) != 1 {
		t.Errorf("the ask: %v", got)
	}
	if got := call("GET", one, adminToken, "", 200); got["standing"] != nil {
		t.Errorf("the ask, to an administrator: %v", got)
	}
	v := view(one, "anna")
	answer := fmt.Sprintf(`{"yes":true,"view":%.0f,"items":[0],"scope":{"uses":3,"until":%q},"comment":"as agreed"}`, v, time.Now().Add(time.Minute).UTC().Format(time.RFC3339))
	if c := call("POST", one+"/challenge", people["anna"], answer, 200); len(c["digest"].(string)) != 43 {
		t.Errorf("challenge: %v", c)
	}
	call("POST", one+"/answer", adminToken, answer, 403)
	if got := call("POST", one+"/answer", people["anna"], answer, 200); got["status"] != "approved" {
		t.Errorf("answered: %v", got)
	}
	call("POST", one+"/answer", people["anna"], answer, 409)
	call("POST", one+"/revoke", adminToken, `{"why":"the account changed"}`, 200)

	two, three := asked("acme", "910.0"), asked("globex", "910.0")
	many := fmt.Sprintf(`{"asks":[{"id":%q,"view":%.0f},{"id":%q,"view":%.0f}],"yes":true}`,
		two[len("/v1/approvals/"):], view(two, "ben"), three[len("/v1/approvals/"):], view(three, "ben"))
	if got := call("POST", "/v1/approvals/answers", people["ben"], many, 200); len(got["results"].([]any)) != 2 {
		t.Errorf("answered together: %v", got)
	}

	four := asked("acme", "920.0")
	call("POST", four+"/break-glass", people["cleo"], fmt.Sprintf(`{"view":%.0f,"reason":"the plant stands still"}`, view(four, "cleo")), 200)
	call("GET", "/v1/approvals?review=true", people["dan"], "", 200)
	if n := call("GET", "/v1/approvals/counts", people["anna"], "", 200); n["statuses"] == nil {
		t.Errorf("counts: %v", n)
	}
	call("GET", "/v1/approvals/counts", adminToken, "", 200)
	call("GET", "/v1/approvals?urgent=true&route=none", adminToken, "", 200)
	call("POST", four+"/review", people["cleo"], `{"justified":true,"comment":"it was"}`, 403)
	call("POST", four+"/review", people["dan"], `{"justified":true,"comment":"it was"}`, 200)
	if story := call("GET", four+"/story", adminToken, "", 200); len(story["steps"].([]any)) < 5 {
		t.Errorf("the story: %v", story)
	}
	call("POST", asked("acme", "930.0")+"/cancel", adminToken, `{"why":"by mistake"}`, 200)
	call("GET", "/v1/approvals/arq_none", adminToken, "", 404)

	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	call("PUT", "/v1/approvals/away", people["anna"], fmt.Sprintf(`{"deputy":"ben","until":%q,"why":"holidays"}`, until), 200)
	call("GET", "/v1/approvals/away", adminToken, "", 200)
	if st := call("GET", "/v1/approvals/stats?window_seconds=600", adminToken, "", 200); st["asks"] != 5.0 {
		t.Errorf("numbers: %v", st)
	}
}
