package route_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/internal/gateway/route"
)

// FuzzPath wants that a path which is accepted is read alike by net/url, and that nothing is left in it that could be
// read in another way.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/", "/a/b", "/a%20b/", "/%2e%2e/x", "/a;b", "//x", "/%c0%ae", "/%25%32%66", "/ü", "/a/%2F"} {
		f.Add(s)
	}
	table, err := route.Parse([]byte(`routes: [{match: "* /{rest...}", action: a, resource: {type: T, id: path}}]`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		m, ok := table.Match("GET", "h", path)
		if ok != (route.CheckPath(path) == nil) {
			t.Fatalf("Match(%q) = %v, CheckPath = %v", path, ok, route.CheckPath(path))
		}
		if !ok {
			return
		}
		u, err := url.ParseRequestURI(path)
		if err != nil || u.EscapedPath() != path || u.RawQuery != "" || u.Host != "" {
			t.Fatalf("%q is accepted, and net/url reads %+v, %v", path, u, err)
		}
		if got := "/" + m.Path["rest"]; got != u.Path {
			t.Fatalf("%q: rest is %q, net/url decodes %q", path, got, u.Path)
		}
		for _, s := range strings.Split(u.Path, "/") {
			if s == "." || s == ".." || strings.ContainsAny(s, "\\;\x00\r\n") || !utf8.ValidString(s) {
				t.Fatalf("%q is accepted with segment %q", path, s)
			}
		}
	})
}

// FuzzRequest wants that what is asked is valid, and that a JSON body is read as encoding/json reads it, which minds
// neither case nor names that are there twice.
func FuzzRequest(f *testing.F) {
	table, err := route.Parse([]byte(`
routes:
  - match: POST /{id}
    action: a
    resource: {type: T, id: "{id}"}
    arguments: {amount: {from: "body:/amount", optional: true}, to: {from: "body:/to/name", type: string, optional: true}, q: {from: "query:q", optional: true}}
`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("", "application/json", `{"amount": 1, "to": {"name": "x"}}`)
	f.Add("q=1", "application/json", `{"amount": 1, "AMOUNT": 2}`)
	f.Add("q=1&Q=2", "application/json", `{"amount": 1, "amount": 2}`)
	f.Add("q=a%20b", "application/json", `[1, {"amount": 2}]`)
	f.Add("amount=1000", "application/json", `{"amount": 1}`)
	f.Add("to[name]=x&%61mount=2", "application/json", `{"q": 1}`)
	f.Fuzz(func(t *testing.T, query, contentType, body string) {
		m, ok := table.Match("POST", "h", "/7")
		if !ok {
			t.Fatal("no route")
		}
		r, err := m.Request(&route.Input{Method: "POST", Host: "h", Path: "/7", RawQuery: query, Header: http.Header{"Content-Type": {contentType}}, Body: []byte(body)})
		if err != nil {
			return
		}
		var asked struct {
			Amount json.RawMessage `json:"amount"`
			To     *string         `json:"to"`
			Q      *string         `json:"q"`
		}
		if len(r.Action.Properties) > 0 {
			if err := json.Unmarshal(r.Action.Properties, &asked); err != nil {
				t.Fatalf("what is asked is no JSON: %s: %v", r.Action.Properties, err)
			}
		}
		if route.CheckQuery(query) == nil {
			if values, err := url.ParseQuery(query); err == nil && asked.Q != nil && (len(values["q"]) != 1 || values.Get("q") != *asked.Q) {
				t.Fatalf("q is %q in the question, and %q to net/url", *asked.Q, values["q"])
			}
		}
		if values, err := url.ParseQuery(query); err == nil && (values.Has("amount") || values.Has("to")) {
			t.Fatalf("the query %q has what is decided about in the body", query)
		}
		if body == "" {
			return
		}
		var members map[string]json.RawMessage
		if json.Unmarshal([]byte(body), &members) == nil && members["q"] != nil {
			t.Fatalf("the body %s has what is decided about in the query", body)
		}
		var upstream struct {
			Amount any
			To     struct{ Name any }
		}
		if err := json.Unmarshal([]byte(body), &upstream); err != nil {
			return // a value of another type: the members that are mapped are not reached
		}
		var amount any
		if asked.Amount != nil {
			_ = json.Unmarshal(asked.Amount, &amount)
		}
		got, _ := json.Marshal(amount)
		want, _ := json.Marshal(upstream.Amount)
		if string(got) != string(want) {
			t.Fatalf("%s: amount is %s in the question, and %s to who reads it without minding case", body, got, want)
		}
		if name, _ := upstream.To.Name.(string); asked.To != nil && *asked.To != name || asked.To == nil && upstream.To.Name != nil {
			t.Fatalf("%s: the name is %v in the question, and %q upstream", body, asked.To, name)
		}
	})
}

// FuzzParse wants that no document makes the parser fall.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`routes: [{match: "POST /a/{id}", action: a, resource: {type: T, id: "{id}"}, arguments: {x: {from: "body:/a", type: decimal}}}]`))
	f.Add([]byte("routes:\n- {}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		table, err := route.Parse(text)
		if (table == nil) == (err == nil) {
			t.Fatalf("Parse = %v, %v", table, err)
		}
	})
}

// FuzzOpenAPI wants that no document makes the reader fall, and that what it makes of it can be matched.
func FuzzOpenAPI(f *testing.F) {
	text, err := os.ReadFile("testdata/bank.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"openapi": "3.0.0", "paths": {"/a": {"get": {"operationId": "x", "parameters": [{"name": "a", "in": "query", "schema": {"type": "array"}}]}}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		rules := route.Rules{OpenAPI: []route.OpenAPI{{File: "x"}}}
		table, problems := rules.Compile(func(string) ([]byte, error) { return text, nil })
		if (table == nil) != (len(problems) > 0) {
			t.Fatalf("Compile = %v, %v", table, problems)
		}
	})
}
