package route_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/internal/gateway/route"
)

// request returns what would be asked of a request, as text, or why it is refused.
func request(t *testing.T, rules string, in route.Input) (string, error) {
	t.Helper()
	table, err := route.Parse([]byte(rules))
	if err != nil {
		t.Fatal(err)
	}
	m, ok := table.Match(in.Method, in.Host, in.Path)
	if !ok {
		t.Fatalf("%s %s takes no route", in.Method, in.Path)
	}
	r, err := m.Request(&in)
	if e := new(route.Error); err != nil && !errors.As(err, &e) {
		t.Errorf("%+v: %v is no *route.Error", in, err)
	}
	return string(r.Action.Properties), err
}

// TestSaidTwice has a request say a value in one place that is decided about, and in another from which a server may take it.
func TestSaidTwice(t *testing.T) {
	const query = `routes: [{match: "POST,GET /pay", action: pay, resource: {type: A, id: {value: own}}, arguments: {amount: {from: "query:amount", type: decimal}}}]`
	const body = `routes: [{match: POST /pay, action: pay, resource: {type: A, id: {value: own}}, arguments: {amount: {from: "body:/amount", type: decimal, optional: true}, to: {from: "body:/to/iban", optional: true}}}]`
	const both = `routes: [{match: POST /pay, action: pay, resource: {type: A, id: {value: own}}, arguments: {page: {from: "query:page", optional: true}, amount: {from: "body:/amount", optional: true}, a: {from: "query:amount", optional: true}}}]`
	const form = `routes: [{match: POST /pay, action: pay, resource: {type: A, id: {value: own}}, arguments: {amount: {from: "form:amount", optional: true}}}]`
	for _, c := range []struct {
		rules, method, query, contentType, body string
		follows                                 bool
		want                                    string // "" if it is refused
	}{
		{query, "POST", "amount=1", "", "", false, `{"amount":1}`},
		{query, "POST", "amount=1", "application/octet-stream", "", true, `{"amount":1}`},
		{query, "POST", "amount=1", "application/json", "", true, `{"amount":1}`},
		{query, "POST", "amount=1", "application/x-www-form-urlencoded", "", true, ""},
		{query, "POST", "amount=1", "Application/X-WWW-Form-Urlencoded; charset=utf-8", "", true, ""},
		{query, "GET", "amount=1", "application/x-www-form-urlencoded", "", false, ""},
		{query, "POST", "amount=1", "multipart/form-data; boundary=x", "", true, ""},
		{query, "POST", "amount=1", "multipart/form-data; boundary", "", true, ""},
		{query, "POST", "amount=1", "", "", true, ""}, // some take it for a form
		{query, "POST", "amount=1&x%00=1", "", "", false, ""},
		{query, "POST", "amount=1&amount%00x=1000", "", "", false, ""},
		{body, "POST", "page=1", "application/json", `{"amount": 1}`, false, `{"amount":1}`},
		{body, "POST", "amount=1000", "application/json", `{"amount": 1}`, false, ""},
		{body, "POST", "Amount=1000", "application/json", `{"amount": 1}`, false, ""},
		{body, "POST", "amount[]=1000", "application/json", `{"amount": 1}`, false, ""},
		{body, "POST", "to.iban=DE1", "application/json", `{"amount": 1}`, false, ""},
		{body, "POST", "amount=1000", "", "", false, ""},
		{both, "POST", "page=1&amount=2", "application/json", `{"amount": 3}`, false, `{"a":"2","amount":3,"page":"1"}`},
		{both, "POST", "", "application/json", `{"page": 1}`, false, ""},
		{both, "POST", "", "application/json", `{"deep": {"page": 1}}`, false, `{}`},
		{form, "POST", "", "application/x-www-form-urlencoded", "amount=1&note%00=2", false, ""},
		{form, "POST", "", "application/x-www-form-urlencoded", "amount=1&_method=DELETE", false, ""},
		{form, "POST", "", "application/x-www-form-urlencoded", "amount=1&note=2", false, `{"amount":"1"}`},
	} {
		h := http.Header{}
		if c.contentType != "" {
			h.Set("Content-Type", c.contentType)
		}
		got, err := request(t, c.rules, route.Input{Method: c.method, Path: "/pay", RawQuery: c.query, Header: h, Body: []byte(c.body), Follows: c.follows})
		if (err == nil) != (c.want != "") || got != c.want {
			t.Errorf("%s ?%s with %q %q (follows: %v): %s, %v; want %q", c.method, c.query, c.contentType, c.body, c.follows, got, err, c.want)
		}
	}
}

// TestClosedBody has a closed route be sent what is no object, of which nothing would be looked at.
func TestClosedBody(t *testing.T) {
	const closed = `routes: [{match: POST /a, action: a, closed: true, resource: {type: A, id: {value: own}}, arguments: {amount: {from: "body:/amount", optional: true}}}]`
	const whole = `routes: [{match: POST /a, action: a, closed: true, resource: {type: A, id: {value: own}}, arguments: {all: "body:"}}]`
	for _, c := range []struct {
		rules, body string
		ok          bool
	}{
		{closed, `{"amount": 1}`, true}, {closed, `{}`, true}, {closed, ` {} `, true}, {closed, `[{"amount": 5000}]`, false}, {closed, `[]`, false}, {closed, `5`, false}, {closed, `null`, false}, {closed, ` `, false},
		{whole, `[{"amount": 5000}]`, true}, {whole, `5`, true},
	} {
		_, err := request(t, c.rules, route.Input{Method: "POST", Path: "/a", Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(c.body)})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v, want it accepted: %v", c.body, err, c.ok)
		}
	}
}

// TestSlashes wants that a slash at the end, more or less, makes no other act of a request where another route takes it
// without or with that slash.
func TestSlashes(t *testing.T) {
	for _, c := range []struct {
		routes        []string
		request, want string
	}{
		{[]string{"admin: DELETE /users/admin", "all: * /users/{rest...}"}, "DELETE /users/admin/", ""},
		{[]string{"admin: DELETE /users/admin", "all: * /users/{rest...}"}, "DELETE /users/admin", "admin"},
		{[]string{"admin: DELETE /users/admin", "all: * /users/{rest...}"}, "POST /users/admin/", "all"},
		{[]string{"admin: DELETE /users/admin", "all: * /users/{rest...}"}, "DELETE /users/ann/", "all"},
		{[]string{"one: DELETE /users/{id}", "all: * /users/{rest...}"}, "DELETE /users/ann/", ""},
		{[]string{"admin: GET /users/admin", "one: GET /users/{id}/"}, "GET /users/admin/", ""},
		{[]string{"admin: GET /users/admin/", "one: GET /users/{id}"}, "GET /users/admin", ""},
		{[]string{"admin: GET /users/admin/", "one: GET /users/{id}"}, "GET /users/ann", "one"},
		{[]string{"one: GET /users/{id}", "slash: GET /users/{name}/"}, "GET /users/ann/", "slash"},
		{[]string{"one: GET /users/{id}", "slash: GET /users/{name}/"}, "GET /users/ann", "one"},
		{[]string{"accounts: GET /accounts", "list: GET /accounts/"}, "GET /accounts/", "list"},
		{[]string{"accounts: GET /accounts", "list: GET /accounts/"}, "GET /accounts", "accounts"},
		{[]string{"dir: GET /files", "all: GET /files/{rest...}"}, "GET /files/", ""},
		{[]string{"other: a.example GET /files", "all: GET /files/{rest...}"}, "GET /files/", "all"},
		{[]string{"root: GET /", "all: * /{rest...}"}, "GET /", "root"},
	} {
		table, err := parse(c.routes...)
		if err != nil {
			t.Fatal(err)
		}
		method, path, _ := strings.Cut(c.request, " ")
		got := ""
		if m, ok := table.Match(method, "x", path); ok {
			got = m.Route.Name
		}
		if got != c.want {
			t.Errorf("%v: %s takes %q, want %q", c.routes, c.request, got, c.want)
		}
	}
}

// TestMethods wants that "*" stands for methods that are known, and that none is taken which has a server send back what
// it was sent.
func TestMethods(t *testing.T) {
	table, err := parse("all: * /a", "dav: PROPFIND /a")
	if err != nil {
		t.Fatal(err)
	}
	for method, want := range map[string]string{
		"GET": "all", "HEAD": "all", "POST": "all", "PUT": "all", "PATCH": "all", "DELETE": "all", "OPTIONS": "all", "PROPFIND": "dav",
		"TRACE": "", "TRACK": "", "CONNECT": "", "DEBUG": "", "PURGE": "", "COPY": "", "get": "", "": "",
	} {
		got := ""
		if m, ok := table.Match(method, "x", "/a"); ok {
			got = m.Route.Name
		}
		if got != want {
			t.Errorf("%q takes %q, want %q", method, got, want)
		}
	}
	for _, method := range []string{"TRACE", "TRACK", "CONNECT", "GET,TRACE"} {
		if _, err := parse("a: " + method + " /a"); err == nil {
			t.Errorf("a route for %s is accepted", method)
		}
	}
}

func TestCheck(t *testing.T) {
	none := http.Header{}
	for _, c := range []struct {
		name, method, host, path, query string
		header                          http.Header
		ok                              bool
	}{
		{"plain", "GET", "a.example", "/a", "b=c&d=%20", http.Header{"X-A": {"1"}}, true},
		{"with a port", "GET", "a.example:443", "/a", "", none, true},
		{"an address", "GET", "[::1]:8443", "/a", "", none, true},
		{"a method of its own", "PROPFIND", "a.example", "/a", "", none, true},
		{"TRACE", "TRACE", "a.example", "/a", "", none, false},
		{"TRACK", "TRACK", "a.example", "/a", "", none, false},
		{"trace", "trace", "a.example", "/a", "", none, false},
		{"CONNECT", "CONNECT", "a.example", "/a", "", none, false},
		{"no method", "", "a.example", "/a", "", none, false},
		{"two methods", "GET /b", "a.example", "/a", "", none, false},
		{"no host", "GET", "", "/a", "", none, false},
		{"a dot at the end", "GET", "a.example.", "/a", "", none, false},
		{"a dot before the port", "GET", "a.example.:443", "/a", "", none, false},
		{"a user", "GET", "u@a.example", "/a", "", none, false},
		{"a path in the host", "GET", "a.example/b", "/a", "", none, false},
		{"dot segments", "GET", "a.example", "/a/../b", "", none, false},
		{"a byte in the query", "GET", "a.example", "/a", "b=\xff", none, false},
		{"_method", "POST", "a.example", "/a", "_method=DELETE", none, false},
		{"_METHOD", "POST", "a.example", "/a", "a=b&_METHOD=DELETE", none, false},
		{"%5fmethod", "POST", "a.example", "/a", "%5fmethod=DELETE", none, false},
		{"_method with a blank", "POST", "a.example", "/a", "+_method=DELETE", none, false},
		{"_method cut short", "POST", "a.example", "/a", "_method%00x=DELETE", none, false},
		{"a line end in a name", "POST", "a.example", "/a", "a%0ab=1", none, false},
		{"control characters in a value that nobody maps", "POST", "a.example", "/a", "a=%0a", none, true},
		{"another method", "POST", "a.example", "/a", "", http.Header{"X-Http-Method-Override": {"DELETE"}}, false},
		{"another path", "GET", "a.example", "/a", "", http.Header{"X-Original-Url": {"/admin"}}, false},
		{"another path, rewritten", "GET", "a.example", "/a", "", http.Header{"X-Rewrite-Url": {""}}, false},
	} {
		if err := route.Check(c.method, c.host, c.path, c.query, c.header); (err == nil) != c.ok {
			t.Errorf("%s: Check = %v, want it accepted: %v", c.name, err, c.ok)
		}
	}
	if got, err := route.HostName("A.example:443"); err != nil || got != "A.example" {
		t.Errorf("HostName = %q, %v", got, err)
	}
}

func TestForwarded(t *testing.T) {
	h := http.Header{}
	for _, name := range []string{"X-Amount", "X-Kept", "X-Gone", "Authorization", "Dpop", "Upgrade", "Te", "Safeconduct-Decision", "Safeconduct-Approval"} {
		h[name] = []string{"1"}
	}
	h["X_amount"], h["Safeconduct_decision"], h["Connection"] = []string{"1000"}, []string{"d1"}, []string{"Upgrade, x-gone"}
	names := func(h http.Header) []string {
		var all []string
		for name := range h {
			all = append(all, name)
		}
		slices.Sort(all)
		return all
	}
	if got, want := names(route.Forwarded(h)), []string{"X-Amount", "X-Kept"}; !slices.Equal(got, want) {
		t.Errorf("Forwarded = %q, want %q", got, want)
	}
	got := route.Trailers(http.Header{"Checksum": {"1"}, "X-A": nil, "Content-Type": nil, "Authorization": nil, "Cookie": nil, "Safeconduct-Decision": nil, "A_b": nil})
	if want := []string{"Checksum"}; !slices.Equal(names(got), want) || got["Checksum"] != nil {
		t.Errorf("Trailers = %v, want %q without values", got, want)
	}
	if got := route.Trailers(http.Header{"X-A": nil}); got != nil {
		t.Errorf("Trailers = %v, want nil", got)
	}
}
