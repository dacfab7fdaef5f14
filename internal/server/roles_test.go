package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// session signs a person in by a link, and returns the cookie.
func (r *running) session(id string) string {
	r.Helper()
	var link struct{ URL string }
	r.into(r.do("POST", "/v1/people/"+id+"/link", adminToken, `{"why":"test"}`), &link)
	u, err := url.Parse(link.URL)
	if err != nil {
		r.Fatal(err)
	}
	req, err := http.NewRequest("POST", r.URL()+"/sign-in/link", strings.NewReader(url.Values{"token": {u.Query().Get("token")}}.Encode()))
	if err != nil {
		r.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, err := r.http.Transport.RoundTrip(req)
	if err != nil {
		r.Fatal(err)
	}
	resp.Body.Close()
	cookies := resp.Cookies()
	if resp.StatusCode != http.StatusSeeOther || len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode {
		r.Fatalf("signing in: %d, %v", resp.StatusCode, cookies)
	}
	return cookies[0].Name + "=" + cookies[0].Value
}

// page sends a request of a page of ours, by a session.
func (r *running) page(cookie, method, path, body string, headers ...string) reply {
	r.Helper()
	return r.do(method, path, "", body, append([]string{"Cookie", cookie, "X-Safeconduct-Request", "1", "Sec-Fetch-Site", "same-origin"}, headers...)...)
}

// calls calls every route of the table, by a session or a token of one role, and compares what happens.
func (r *running) calls(who, role string, bySession bool, call func(method, path, body string) reply) {
	r.Helper()
	values := strings.NewReplacer("{id}", "none", "{kid}", "none", "{seq}", "1", "{version}", "1", "{a}", "1", "{b}", "1", "{template}", "none", "{path}", "none")
	for route, g := range admissions() {
		method, path, _ := strings.Cut(route, " ")
		body := ""
		if method != "GET" {
			body = "{}"
		}
		got := call(method, values.Replace(path), body).status
		refused := got == 401 || got == 403
		switch open := len(g.roles) == 0 || slices.Contains(g.roles, role); {
		case len(g.roles) > 0 && bySession && !g.sessions:
			if got != 401 {
				r.Errorf("%s: %s is for no session: %d", who, route, got)
			}
		case open && refused, !open && got != 403:
			r.Errorf("%s: %s is for %v: %d", who, route, g.roles, got)
		}
	}
}

// Every route is open to those who have a role that stands in the table, by a token or, where the table says so, by the session
// of a browser, and to nobody else; and its document says the same.
func TestAccess(t *testing.T) {
	s := start(t, asking(t))
	var doc struct {
		Paths map[string]map[string]struct {
			Roles    []string              `json:"x-roles"`
			Security []map[string][]string `json:"security"`
		}
	}
	s.into(s.do("GET", "/openapi.json", "", ""), &doc)
	want := admissions()
	for path, item := range doc.Paths {
		for method, op := range item {
			route := strings.ToUpper(method) + " " + path
			g, ok := want[route]
			if !ok {
				t.Errorf("%s is not in the table: who may call it?", route)
			}
			delete(want, route)
			open := slices.ContainsFunc(op.Security, func(m map[string][]string) bool { _, ok := m["session"]; return ok })
			if slices.Sort(op.Roles); open != g.sessions || !slices.Equal(op.Roles, slices.Sorted(slices.Values(g.roles))) {
				t.Errorf("the document says that %s is for %v, sessions: %v; want %v, %v", route, op.Roles, open, g.roles, g.sessions)
			}
		}
	}
	for route := range want {
		t.Errorf("%s is in the table, and is no route", route)
	}

	for _, role := range []string{"viewer", "operator", "author", "auditor", "approver", "administrator"} {
		id := "p-" + role
		s.into(s.do("PUT", "/v1/people/"+id, adminToken, fmt.Sprintf(`{"name":%q,"roles":[%q],"if_as_of":0,"why":"test"}`, id, role)), new(any))
		cookie := s.session(id)
		var me struct {
			Kind, Actor, Method string
			Roles               []string
		}
		s.into(s.page(cookie, "GET", "/v1/me", ""), &me)
		if me.Kind != "person" || me.Actor != "person:"+id || me.Method != "link" || !slices.Equal(me.Roles, []string{role}) {
			t.Errorf("%s: who calls: %+v", role, me)
		}
		s.calls("a session of the role "+role, role, true, func(method, path, body string) reply { return s.page(cookie, method, path, body) })
	}
	for _, role := range []string{"viewer", "operator", "author", "auditor", "approver", "administrator", "pep", "edge"} {
		var made struct{ Token string }
		s.into(s.do("POST", "/v1/callers", adminToken, fmt.Sprintf(`{"name":"p-approver","role":%q,"why":"test"}`, role)), &made)
		s.calls("a token of the role "+role, role, false, func(method, path, body string) reply { return s.do(method, path, made.Token, body) })
	}
}

// What is said of a person counts at once, in sessions that are open, too.
func TestRolesChange(t *testing.T) {
	s := start(t, asking(t))
	put := func(id, roles string, disabled bool, asOf float64) float64 {
		t.Helper()
		var p struct {
			AsOf float64 `json:"as_of"`
		}
		s.into(s.do("PUT", "/v1/people/"+id, adminToken, fmt.Sprintf(`{"name":"N","roles":%s,"disabled":%v,"if_as_of":%.0f,"why":"test"}`, roles, disabled, asOf)), &p)
		return p.AsOf
	}
	asOf := put("olga", `["administrator","approver"]`, false, 0)
	put("other", `["viewer"]`, false, 0)
	cookie := s.session("olga")
	status := func(what string, want int, r reply) {
		t.Helper()
		if r.status != want {
			t.Errorf("%s: %d, want %d: %s", what, r.status, want, r.body)
		}
	}
	status("an administrator", 200, s.page(cookie, "GET", "/v1/callers", ""))
	status("changing oneself", 403, s.page(cookie, "PUT", "/v1/people/olga", fmt.Sprintf(`{"name":"N","roles":["administrator","auditor"],"if_as_of":%.0f,"why":"x"}`, asOf)))
	status("a passkey for oneself", 403, s.page(cookie, "POST", "/v1/people/olga/enrolment", `{"why":"x"}`))
	status("a link for oneself", 403, s.page(cookie, "POST", "/v1/people/olga/link", `{"why":"x"}`))
	status("being the deputy of somebody", 403, s.page(cookie, "PUT", "/v1/approvals/away", `{"person":"other","deputy":"olga","until":"2099-01-01T00:00:00Z","why":"x"}`))
	status("another person", 200, s.page(cookie, "PUT", "/v1/people/third", `{"name":"N","if_as_of":0,"why":"x"}`))
	var found struct {
		Items []struct {
			Actor string
			Body  json.RawMessage
		}
	}
	s.into(s.do("GET", "/v1/audit/entries?kind=person.put&limit=1", adminToken, ""), &found)
	if len(found.Items) != 1 || found.Items[0].Actor != "person:olga" {
		t.Errorf("the record says %+v", found.Items)
	}

	for body, want := range map[string]int{
		`{"name":"olga","role":"approver","why":"x"}`:      403,
		`{"name":"olga","role":"administrator","why":"x"}`: 403,
		`{"name":"more","role":"administrator","why":"x"}`: 403,
		`{"name":"third","role":"approver","why":"x"}`:     200,
		`{"name":"olga","role":"auditor","why":"x"}`:       200,
	} {
		status("a token "+body, want, s.page(cookie, "POST", "/v1/callers", body))
	}
	// What is not solved, as docs/people.md has it: a session makes a second administrator, and who uses that makes more of the first.
	status("a second administrator", 200, s.page(cookie, "PUT", "/v1/people/second", `{"name":"N","roles":["administrator"],"if_as_of":0,"why":"x"}`))
	status("a passkey for the second", 200, s.page(cookie, "POST", "/v1/people/second/enrolment", `{"why":"x"}`))
	status("a sign-in link for the second", 200, s.page(cookie, "POST", "/v1/people/second/link", `{"why":"x"}`))
	status("a token of an enforcement point", 200, s.page(cookie, "POST", "/v1/callers", `{"name":"door","role":"pep","why":"x"}`))
	second := s.session("second")
	var olga struct {
		AsOf float64 `json:"as_of"`
	}
	s.into(s.page(second, "PUT", "/v1/people/olga", fmt.Sprintf(`{"name":"N","roles":["administrator","approver","auditor"],"if_as_of":%.0f,"why":"x"}`, asOf)), &olga)
	asOf = olga.AsOf

	var made struct{ Token string }
	s.into(s.do("POST", "/v1/callers", adminToken, `{"name":"olga","role":"approver","why":"x"}`), &made)
	status("an approver's token", 200, s.do("GET", "/v1/approvals?mine=true", made.Token, ""))

	status("without the header", 403, s.do("POST", "/v1/callers", "", `{"name":"x","role":"pep","why":"x"}`, "Cookie", cookie, "Sec-Fetch-Site", "same-origin"))
	for _, site := range []string{"cross-site", "same-site", "none"} {
		status("changing from "+site, 403, s.page(cookie, "POST", "/v1/callers", `{"name":"x","role":"pep","why":"x"}`, "Sec-Fetch-Site", site))
	}
	status("changing from another origin", 403, s.page(cookie, "POST", "/v1/callers", `{"name":"x","role":"pep","why":"x"}`, "Origin", "https://evil.example"))
	for _, site := range []string{"cross-site", "same-site"} {
		status("reading from "+site, 403, s.page(cookie, "GET", "/v1/callers", "", "Sec-Fetch-Site", site))
	}
	status("a form of another type", 400, s.page(cookie, "POST", "/v1/callers", `{"name":"x","role":"pep","why":"x"}`, "Content-Type", "text/plain"))
	status("a token beside the cookie", 401, s.page(cookie, "GET", "/v1/callers", "", "Authorization", "Bearer wrong"))
	status("two cookies", 401, s.page(cookie+"; "+cookie, "GET", "/v1/callers", ""))
	status("half a cookie", 401, s.page(strings.Split(cookie, ".")[0], "GET", "/v1/callers", ""))

	asOf = put("olga", `["viewer"]`, false, asOf)
	status("no administrator any more", 403, s.page(cookie, "GET", "/v1/callers", ""))
	status("a viewer", 200, s.page(cookie, "GET", "/v1/agents", ""))
	status("the token of somebody who is no approver any more", 403, s.do("GET", "/v1/approvals?mine=true", made.Token, ""))
	put("olga", `["viewer"]`, true, asOf)
	status("disabled", 401, s.page(cookie, "GET", "/v1/agents", ""))
}

// Who stands in for somebody is an approver: when they are named, and when they answer; and so is whom they stand in for.
func TestRolesOfDeputies(t *testing.T) {
	s := start(t, asking(t))
	asOf := map[string]float64{}
	put := func(id, roles string) {
		t.Helper()
		var p struct {
			AsOf float64 `json:"as_of"`
		}
		s.into(s.do("PUT", "/v1/people/"+id, adminToken, fmt.Sprintf(`{"name":"N","roles":%s,"if_as_of":%.0f,"why":"test"}`, roles, asOf[id])), &p)
		asOf[id] = p.AsOf
	}
	put("anna", `["approver"]`)
	put("ben", `["viewer"]`)
	put("eve", `["viewer"]`)
	anna, eve := s.session("anna"), s.session("eve")
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	away := func(what, person, deputy string, want int) {
		t.Helper()
		if r := s.do("PUT", "/v1/approvals/away", adminToken, fmt.Sprintf(`{"person":%q,"deputy":%q,"until":%q,"why":"x"}`, person, deputy, until)); r.status != want {
			t.Errorf("%s: %d, want %d: %s", what, r.status, want, r.body)
		}
	}
	answer := func(what string, want int) {
		t.Helper()
		ask := s.request("clerk", "acme", "900.0", s.evaluate(payment("clerk", "acme", "900.0", "")))
		var v struct{ View int64 }
		json.Unmarshal([]byte(s.page(eve, "POST", "/v1/approvals/"+ask+"/view", "{}").body), &v)
		if r := s.page(eve, "POST", "/v1/approvals/"+ask+"/answer", fmt.Sprintf(`{"yes":false,"view":%d}`, v.View)); r.status != want {
			t.Errorf("%s: %d, want %d: %s", what, r.status, want, r.body)
		}
	}
	away("a deputy who is no approver", "anna", "eve", 400)
	if r := s.page(anna, "PUT", "/v1/approvals/away", fmt.Sprintf(`{"deputy":"eve","until":%q,"why":"x"}`, until)); r.status != 400 {
		t.Errorf("by oneself: %d %s", r.status, r.body)
	}
	put("eve", `["viewer","approver"]`)
	away("of somebody who is no approver", "ben", "eve", 400)
	away("a deputy", "anna", "eve", 200)
	answer("as a deputy", 200)
	put("eve", `["viewer"]`)
	answer("as a deputy who is no approver any more", 403)
	put("eve", `["approver"]`)
	answer("as one who was a deputy", 404)
	away("a deputy again", "anna", "eve", 200)
	put("anna", `["viewer"]`)
	answer("as a deputy of one who is no approver any more", 404)
}
