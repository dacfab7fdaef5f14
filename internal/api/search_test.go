package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const who = `{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"doc","id":"1","properties":{"a":1,"b":2}}`

func TestSearchPages(t *testing.T) {
	d := openDoor(t)
	d.pdp.found = []string{"a", "b", "c", "d", "e"}
	type page struct {
		NextToken *string `json:"next_token"`
		Count     int
	}
	search := func(body string) (ids []string, p *page) {
		t.Helper()
		r := d.post("/access/v1/search/subject", body)
		got := text(t, r)
		var answer struct {
			Page    *page
			Results []struct{ Type, ID string }
		}
		if err := json.Unmarshal([]byte(got), &answer); err != nil || r.StatusCode != 200 {
			t.Fatalf("%s: status %d: %s", body, r.StatusCode, got)
		}
		for _, r := range answer.Results {
			if r.Type != "user" {
				t.Errorf("result of type %q", r.Type)
			}
			ids = append(ids, r.ID)
		}
		return ids, answer.Page
	}
	if ids, p := search(who + "}"); len(ids) != 5 || p != nil {
		t.Errorf("unpaged: %v, %v", ids, p)
	}
	if ids, p := search(who + `,"page":{"limit":0}}`); len(ids) != 5 || p != nil {
		t.Errorf("limit 0: %v, %v", ids, p)
	}
	var all []string
	token := ""
	for i := 0; ; i++ {
		body := who + `,"page":{"limit":2}}`
		if token != "" { // the limit may be left out; the properties may be written otherwise
			body = strings.Replace(who, `{"a":1,"b":2}`, `{"b": 2, "a": 1}`, 1) + `,"page":{"token":"` + token + `"}}`
		}
		ids, p := search(body)
		all = append(all, ids...)
		if p == nil || p.NextToken == nil || p.Count != len(ids) {
			t.Fatalf("page %d: %+v with %v", i, p, ids)
		}
		if token = *p.NextToken; token == "" {
			break
		}
		if i > 5 {
			t.Fatal("the pages do not end")
		}
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "d", "e"}, all); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}

	_, p := search(who + `,"page":{"limit":2}}`)
	token = *p.NextToken
	for name, body := range map[string]string{
		"other subject":    strings.Replace(who, `"user"`, `"group"`, 1) + `,"page":{"token":"` + token + `"}}`,
		"other properties": strings.Replace(who, `"b":2`, `"b":3`, 1) + `,"page":{"token":"` + token + `"}}`,
		"other context":    who + `,"context":{"x":1},"page":{"token":"` + token + `"}}`,
		"other limit":      who + `,"page":{"limit":3,"token":"` + token + `"}}`,
		"not ours":         who + `,"page":{"token":"abc"}}`,
		"not base64":       who + `,"page":{"token":"%%%"}}`,
		"cut":              who + `,"page":{"token":"` + token[:len(token)-2] + `"}}`,
		"negative":         who + `,"page":{"limit":-1}}`,
		"fraction":         who + `,"page":{"limit":1.5}}`,
		"text":             who + `,"page":{"limit":"1"}}`,
		"array":            who + `,"page":[]}`,
	} {
		if r := d.post("/access/v1/search/subject", body); r.StatusCode != 400 {
			t.Errorf("%s: status %d, want 400: %s", name, r.StatusCode, text(t, r))
		}
	}
	if r := d.post("/access/v1/search/resource", strings.Replace(who, `{"type":"user"}`, `{"type":"user","id":"u"}`, 1)+`,"page":{"token":"`+token+`"}}`); r.StatusCode != 400 {
		t.Errorf("the token of another search: status %d, want 400", r.StatusCode)
	}
}

// What is searched for is ignored where it may not be.
func TestSearchIgnoresWhatIsSought(t *testing.T) {
	d := openDoor(t)
	d.pdp.found = []string{"x"}
	for path, wrong := range map[string]func() bool{
		"/access/v1/search/subject":  func() bool { return d.last().Subject.ID != "" },
		"/access/v1/search/resource": func() bool { return d.last().Resource.ID != "" },
		"/access/v1/search/action":   func() bool { return d.last().Action.Name != "" },
	} {
		if r := d.post(path, whole); r.StatusCode != 200 {
			t.Errorf("%s: status %d: %s", path, r.StatusCode, text(t, r))
		} else if wrong() {
			t.Errorf("%s: asked %+v", path, d.last())
		}
	}
}
