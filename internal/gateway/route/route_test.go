package route_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway/route"
)

// parse returns a table with a route for each line "name: host methods path".
func parse(lines ...string) (*route.Table, error) {
	text := "routes:\n"
	for _, l := range lines {
		f := strings.Fields(l)
		host := ""
		if len(f) == 4 {
			host = "host: \"" + f[1] + "\", "
			f = slices.Delete(f, 1, 2)
		}
		text += fmt.Sprintf("  - {name: %s, %smatch: \"%s %s\", action: a, resource: {type: T, id: path}}\n", strings.TrimSuffix(f[0], ":"), host, f[1], f[2])
	}
	return route.Parse([]byte(text))
}

func TestMatch(t *testing.T) {
	table, err := parse(
		"root: GET /", "accounts: GET /accounts", "list: GET /accounts/", "one: GET,PUT /accounts/{id}", "me: GET,PUT /accounts/me",
		"head: HEAD /accounts", "pay: POST /accounts/{id}/payments", "files: GET /files/{rest...}", "readme: GET /files/readme", "deep: GET /files/a/{b}/c",
		"umlaut: GET /m%C3%BCnze", "other: other.example GET /accounts/{id}", "wild: *.example.com GET /accounts/{id}", "exact: a.example.com GET /accounts/{id}",
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ request, want string }{
		{"GET x /", "root"}, {"POST x /", ""}, {"GET x /accounts", "accounts"}, {"GET x /accounts/", "list"}, {"GET x /accounts/7", "one id=7"}, {"PUT x /accounts/7", "one id=7"},
		{"HEAD x /accounts/7", "one id=7"}, {"HEAD x /accounts", "head"}, {"DELETE x /accounts/7", ""}, {"GET x /accounts/me", "me"}, {"DELETE x /accounts/me", ""},
		{"GET x /accounts/%6de", "me"}, {"GET x /accounts/Me", ""}, {"GET x /accounts/7/", ""}, {"POST x /accounts/me/payments", "pay id=me"}, {"POST x /accounts/a%20b/payments", "pay id=a b"},
		{"GET x /files/", "files rest="}, {"GET x /files", ""}, {"GET x /files/a/b/c", "deep b=b"}, {"GET x /files/a/b/d", "files rest=a/b/d"}, {"GET x /files/a/", "files rest=a/"},
		{"GET x /files/readme", "readme"}, {"GET x /files/README", ""}, {"GET x /files/readme/x", "files rest=readme/x"},
		{"GET x /m%c3%bcnze", "umlaut"}, {"GET other.example /accounts/7", "other id=7"}, {"GET OTHER.example /accounts/7", "other id=7"}, {"GET b.example.com /accounts/7", "wild id=7"},
		{"GET a.example.com /accounts/7", "exact id=7"}, {"GET a.b.example.com /accounts/7", "one id=7"}, {"PUT a.example.com /accounts/7", "one id=7"},
		{"GET x /accounts//7", ""}, {"GET x /accounts/../accounts/7", ""}, {"GET x /accounts/%2e", ""}, {"GET x accounts/7", ""}, {"get x /accounts/7", ""},
	} {
		f := strings.SplitN(c.request, " ", 3)
		got := ""
		if m, ok := table.Match(f[0], f[1], f[2]); ok {
			got = m.Route.Name
			for name, v := range m.Path {
				got += " " + name + "=" + v
			}
		}
		if got != c.want {
			t.Errorf("Match(%s) = %q, want %q", c.request, got, c.want)
		}
	}
}

func TestAmbiguousRoutes(t *testing.T) {
	for _, c := range []struct {
		a, b string
		ok   bool
	}{
		{"GET /a/{x}", "GET /a/{y}", false},
		{"GET /a/{x}", "GET /a/b", true},
		{"GET /a/{x}/c", "GET /a/b/{y}", false},
		{"GET /a/{x}/c", "POST /a/b/{y}", true},
		{"GET /a/{x}/c", "GET /a/b/{y}/", true},
		{"GET /{r...}", "GET /a/{x}", true},
		{"GET /{r...}", "* /a/{x}", false},
		{"* /{r...}", "GET /a/{x}", true},
		{"GET,POST /a", "GET,PUT /a", false},
		{"GET,POST /a", "GET /a", true},
		{"HEAD /a", "GET /a", true},
		{"HEAD,POST /a", "GET /a", false},
		{"a.example GET /a/{x}", "GET /a/b", true},
		{"a.example GET /a/b", "GET /a/{x}", true},
		{"*.example GET /a/{x}", "a.example GET /a/{x}", true},
		{"*.example GET /a/{x}", "*.test GET /a/{x}", true},
		{"GET /a/{r...}", "GET /a/", true},
		{"GET /a/{r...}", "GET /{x}/{r...}", true},
		{"GET /a/{r...}", "GET /{x}/b", false},
	} {
		_, err := parse("one: "+c.a, "two: "+c.b)
		if _, swapped := parse("one: "+c.b, "two: "+c.a); (err == nil) != (swapped == nil) {
			t.Errorf("%s and %s: %v, in the other order %v", c.a, c.b, err, swapped)
		}
		if (err == nil) != c.ok {
			t.Errorf("%s and %s: %v, want them accepted: %v", c.a, c.b, err, c.ok)
		}
		if err != nil && (!errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), "routes[1].match") || !strings.Contains(err.Error(), "^")) {
			t.Errorf("%s and %s: %v, want the place with a caret", c.a, c.b, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	const good = `{match: "POST /a/{id}", action: a, resource: {type: T, id: "{id}"}%s}`
	for _, c := range []struct{ rule, want string }{
		{`{match: "POST /a/{id}", action: a, resource: {type: T, id: {id}}}`, `write it in quotes: "{id}"`},
		{`{match: "POST /a/{id}", action: a, resource: {type: T, id: "{ID}"}}`, "no parameter {ID}"},
		{`{match: "POST /a/{id}", action: a, resource: {type: T, id: id}}`, "says no place"},
		{`{match: "POST /a/{id}", action: a, resource: {type: T}}`, "resource.id: it is missing"},
		{`{match: "POST /a/{id}", resource: {type: T, id: path}}`, "action: it is missing"},
		{`{match: "/a", action: a, resource: {type: T, id: path}}`, "methods and a path"},
		{`{match: "post /a", action: a, resource: {type: T, id: path}}`, "no method"},
		{`{match: "CONNECT /a", action: a, resource: {type: T, id: path}}`, "tunnel"},
		{`{match: "GET /a/../b", action: a, resource: {type: T, id: path}}`, "dot segment"},
		{`{match: "GET /a/x{id}", action: a, resource: {type: T, id: path}}`, "whole segment"},
		{`{match: "GET /{a}/{a}", action: a, resource: {type: T, id: path}}`, "there twice"},
		{`{match: "GET /{a...}/b", action: a, resource: {type: T, id: path}}`, "only the last"},
		{`{match: "GET /a", action: a, resource: {type: T, id: path}, host: "a.example:80"}`, "no port"},
		{fmt.Sprintf(good, ", actoin: b"), "unknown field"},
		{fmt.Sprintf(good, ", arguments: {x: cookie}"), "says no place"},
		{fmt.Sprintf(good, ", arguments: {x: header:Cookie}"), "is a credential"},
		{fmt.Sprintf(good, ", arguments: {x: header:x-forwarded-user}"), "is written by proxies"},
		{fmt.Sprintf(good, ", arguments: {x: header:X_Y}"), "no name of a header"},
		{fmt.Sprintf(good, ", arguments: {x: body:amount}"), "no JSON pointer"},
		{fmt.Sprintf(good, ", arguments: {x: {from: body:/a, type: long}}"), "no type"},
		{fmt.Sprintf(good, ", arguments: {x: {from: query:a, type: json}}"), "json is what"},
		{fmt.Sprintf(good, ", arguments: {x: {value: 1, optional: true}}"), "value stands alone"},
		{fmt.Sprintf(good, ", arguments: {x: {from: query:a, optinal: true}}"), "unknown field"},
		{fmt.Sprintf(good, ", on_unavailable: pass"), "refuse or allow"},
		{fmt.Sprintf(good, ", approval: {mode: always}"), "offer or ask or wait"},
		{fmt.Sprintf(good, ", max_body: lots"), "a size is"},
		{fmt.Sprintf(good, ", max_body: 100MiB, arguments: {x: body:/a}"), "more than 64 MiB"},
		{fmt.Sprintf(good, ", dry_run: {header: X-Dry}"), "X-Dry-Run: true"},
		{fmt.Sprintf(good, ", websocket: true"), "opened by GET"},
		{fmt.Sprintf(good, ", context: {observed: path}"), "not for callers"},
		{fmt.Sprintf(good, ", action: b"), "already"},
	} {
		_, err := route.Parse([]byte("routes:\n  - " + c.rule + "\n"))
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), "^") {
			t.Errorf("%s: %v\nwant an error with a caret that says %q", c.rule, err, c.want)
		}
	}
	for _, text := range []string{"", "- a", "routes: 1", "routes: [&a {}, *a]", "a: !!str b", strings.Repeat("[", 1000), strings.Repeat("- ", 1000), "routes: []\nroutes: []", "\x00", "\xff"} {
		if table, err := route.Parse([]byte(text)); err == nil && len(table.Routes()) > 0 {
			t.Errorf("Parse(%.40q) = %d routes", text, len(table.Routes()))
		}
	}
}

func TestSources(t *testing.T) {
	table, err := route.Parse([]byte(`
routes:
  - match: POST /repos/{owner}/{repo}/{rest...}
    action: a
    resource:
      type: Repository
      id: "{owner}/{repo}"
      properties: {tenant: claim:tenant, first: "claim:/groups/0"}
    arguments:
      path: "{rest}"
      all: path
      method: method
      host: host
      tags: {from: query:tag, type: strings, optional: true}
      limit: {from: query:limit, type: integer, optional: true}
      dry: {from: query:dry, type: boolean, optional: true}
      note: {from: form:note, optional: true}
      deep: {from: "body:/a~1b/0/x", optional: true}
      whole: {from: "body:/list", optional: true}
      constant: {value: {a: [1, two]}}
    context: {confidence: {from: header:X-Confidence, type: decimal, optional: true}}
`))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(query, contentType, body string) (string, error) {
		m, ok := table.Match("POST", "api.example", "/repos/ann/x%20y/docs/a.md")
		if !ok {
			t.Fatal("no route")
		}
		h := http.Header{}
		if contentType != "" {
			h.Set("Content-Type", contentType)
		}
		r, err := m.Request(&route.Input{Method: "POST", Host: "API.example", Path: "/repos/ann/x%20y/docs/a.md", RawQuery: query, Header: h, Body: []byte(body),
			Claims: map[string]any{"tenant": "acme", "groups": []any{"staff"}}})
		if err == nil && (r.Resource.ID != "ann/x y" || string(r.Resource.Properties) != `{"first":"staff","tenant":"acme"}`) {
			t.Errorf("resource = %+v", r.Resource)
		}
		return string(r.Action.Properties), err
	}
	const fixed = `"host":"api.example","method":"POST","path":"docs/a.md"`
	for _, c := range []struct{ query, contentType, body, want string }{
		{"", "", "", `{"all":"/repos/ann/x y/docs/a.md","constant":{"a":[1,"two"]},` + fixed + `}`},
		{"tag=a&tag=b&limit=-7&dry=true&other=1&other=2", "", "", `{"all":"/repos/ann/x y/docs/a.md","constant":{"a":[1,"two"]},"dry":true,"host":"api.example","limit":-7,"method":"POST","path":"docs/a.md","tags":["a","b"]}`},
		{"", "application/json", `{"a/b": [{"x": "\u0041"}], "list": [ 1, {"z": 2} ]}`, `{"all":"/repos/ann/x y/docs/a.md","constant":{"a":[1,"two"]},"deep":"A",` + `"host":"api.example","method":"POST","path":"docs/a.md","whole":[1,{"z":2}]}`},
		{"", "application/json", `{"a/b": null}`, `{"all":"/repos/ann/x y/docs/a.md","constant":{"a":[1,"two"]},` + fixed + `}`},
		{"", "application/x-www-form-urlencoded", "note=a+b%0Ac&other=1", `{"all":"/repos/ann/x y/docs/a.md","constant":{"a":[1,"two"]},"host":"api.example","method":"POST","note":"a b\nc","path":"docs/a.md"}`},
	} {
		got, err := ask(c.query, c.contentType, c.body)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if diff := cmp.Diff(c.want, strings.ReplaceAll(got, `\u0041`, "A")); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c, diff)
		}
	}
	for _, c := range []struct{ query, contentType, body string }{
		{"limit=1&limit=2", "", ""}, {"limit=07", "", ""}, {"limit=1e3", "", ""}, {"limit=9223372036854775808", "", ""}, {"dry=TRUE", "", ""}, {"tag=a&TAG=b", "", ""},
		{"tag[]=a", "", ""}, {"note=a", "", ""}, {"limit=%ff", "", ""},
		{"", "application/x-www-form-urlencoded", "note=a&note=b"}, {"", "application/x-www-form-urlencoded", "note=%00"}, {"", "application/x-www-form-urlencoded", "limit=1"},
		{"", "application/json", `{"a/b": [{"x": 1, "X": 2}]}`}, {"", "application/json", `{"LIST": []}`}, {"", "application/json", `{"\u017fx": 1, "lift": 1, "li\u017ft": 1}`}, {"", "text/plain", "x"}, {"", "", "x"},
		{"", "application/json", `{"list": "` + strings.Repeat("x", 20000) + `"}`},
	} {
		if got, err := ask(c.query, c.contentType, c.body); err == nil {
			t.Errorf("%.100v: %s, want an error", c, got)
		} else if e := new(route.Error); !errors.As(err, &e) || e.Status < 400 {
			t.Errorf("%.100v: %v, want a *route.Error", c, err)
		}
	}
}

func TestClosedRoutes(t *testing.T) {
	table, err := route.Parse([]byte(`
routes:
  - {match: "POST /a", action: a, resource: {type: T, id: path}, closed: true, arguments: {x: {from: "query:x", optional: true}, y: {from: "body:/y/z", optional: true}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	m, _ := table.Match("POST", "h", "/a")
	for _, c := range []struct {
		query, body string
		ok          bool
	}{
		{"", "", true}, {"x=1", `{"y": {"z": 1, "w": 2}}`, true}, {"x=1&force=true", "", false}, {"", `{"y": {"z": 1}, "force": true}`, false},
	} {
		_, err := m.Request(&route.Input{Method: "POST", Path: "/a", RawQuery: c.query, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(c.body)})
		if (err == nil) != c.ok {
			t.Errorf("%q %q: %v, want it accepted: %v", c.query, c.body, err, c.ok)
		}
	}
}

func TestOpenAPI(t *testing.T) {
	operators := "refuse"
	rules := route.Rules{OpenAPI: []route.OpenAPI{{File: "testdata/bank.yaml", Upstream: "bank", Operations: map[string]route.Hints{"getAccount": {OnUnavailable: operators, Task: "look"}}}}}
	table, problems := rules.Compile(os.ReadFile)
	if len(problems) > 0 {
		t.Fatalf("%v", problems)
	}
	got := map[string]string{}
	for _, r := range table.Routes() {
		text := fmt.Sprintf("%v %s %s %s(%s) %s", r.Methods, r.Path, r.Action, r.Resource.Type, r.Resource.ID.String(), r.Task)
		var args []string
		for name, s := range r.Arguments {
			args = append(args, name+"="+s.String())
		}
		slices.Sort(args)
		got[r.Name] = text + " " + strings.Join(args, ", ")
	}
	want := map[string]string{
		"getAccount":    "[GET] /v1/accounts/{account} see-accounts Account({account}) look X-Channel=header:X-Channel?, account={account}, fields=query:fields strings?, limit=query:limit integer",
		"createPayment": "[POST] /v1/accounts/{account}/payments createPayment Account({account}) banking account={account}, amount=body:/amount decimal, body_account=body:/account?, recipient=body:/recipient, tags=body:/tags?",
		"getToken":      "[POST] /v1/token getToken Account(path) banking grant_type=form:grant_type?",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}

	for _, c := range []struct{ doc, want string }{
		{"openapi: 2.0.0", "can be 3.0 or 3.1"},
		{"swagger: '2.0'", "can be 3.0 or 3.1"},
		{"openapi: 3.0.0", "there are none"},
		{`{"openapi": "3.0.0", "openapi": "3.0.0"}`, "twice"},
		{"openapi: 3.0.0\npaths: {/a: {get: {}}}", "no operationId"},
		{"openapi: 3.0.0\npaths: {/a: {get: {operationId: x, x-safeconduct: {actoin: y}}}}", "unknown field"},
		{"openapi: 3.0.0\npaths: {/a: {get: {operationId: x, x-safeconduct: {on_unavailable: allow}}}}", "operator"},
		{"openapi: 3.0.0\npaths: {/a: {$ref: 'http://evil.example/x'}}", "another document"},
		{"openapi: 3.0.0\npaths: {/a: {$ref: '#/paths/~1a'}}", "on and on"},
		{"openapi: 3.0.0\npaths: {/a: {get: {operationId: x}}, '/{b}': {get: {operationId: x}}}", "is the name of"},
		{"openapi: 3.0.0\npaths: {'/{a}/b': {get: {operationId: x}}, '/c/{d}': {get: {operationId: y}}}", "neither is the more specific"},
		{"openapi: 3.0.0\nservers: [{url: 'https://{host}/v1'}]\npaths: {/a: {get: {operationId: x}}}", "say prefix"},
	} {
		rules := route.Rules{OpenAPI: []route.OpenAPI{{File: "x", Upstream: "bank"}}}
		table, problems := rules.Compile(func(string) ([]byte, error) { return []byte(c.doc), nil })
		if table != nil || !strings.Contains(fmt.Sprint(problems), c.want) {
			t.Errorf("%s: %v, want a problem that says %q", c.doc, problems, c.want)
		}
	}
}
