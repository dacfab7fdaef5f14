package server_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// The AuthZEN Authorization API 1.0 certification scenario (certification/ of openid/authzen), every
// case under its number, over the service that examples/authzen-certification declares.

const (
	alice = `{"type":"user","id":"alice"}`
	bob   = `{"type":"user","id":"bob"}`
	boss  = `{"type":"user","id":"bob","properties":{"role":"admin"}}`
	rec1  = `{"type":"record","id":"record-1"}`
	gone  = `{"type":"record","id":"record-2","properties":{"status":"archived"}}`
	when  = `{"time":"2025-06-27T18:03-07:00","ip":"192.168.1.1"}` // no RFC 3339 time
)

func act(name string) string { return `{"name":"` + name + `"}` }

// q joins name, value pairs to an object.
func q(members ...string) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := 0; i+1 < len(members); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + members[i] + `":` + members[i+1])
	}
	b.WriteByte('}')
	return b.String()
}

// wellFormed checks what section 2.3 asks of every decision, and returns it.
func wellFormed(t *testing.T, raw json.RawMessage) bool {
	t.Helper()
	var d struct {
		Decision *bool
		Context  json.RawMessage
	}
	if err := json.Unmarshal(raw, &d); err != nil || d.Decision == nil {
		t.Fatalf("no decision: %v: %s", err, raw)
	}
	if len(d.Context) > 0 && d.Context[0] != '{' {
		t.Errorf("context is no object: %s", d.Context)
	}
	return *d.Decision
}

func TestCertificationBasic(t *testing.T) {
	s := start(t, load(t, certification))
	const path = "/access/v1/evaluation"
	decides := func(id, body string, want bool) {
		t.Run(id, func(t *testing.T) {
			r := s.ask(path, body)
			if r.status != 200 || r.header.Get("Content-Type") != "application/json" {
				t.Fatalf("status %d, %s: %s", r.status, r.header.Get("Content-Type"), r.body)
			}
			if got := wellFormed(t, json.RawMessage(r.body)); got != want {
				t.Errorf("%s: %v, want %v: %s", body, got, want, r.body)
			}
		})
	}
	refuses := func(id, body string, headers ...string) {
		t.Run(id, func(t *testing.T) {
			if r := s.do("POST", path, pepToken, body, headers...); r.status != 400 {
				t.Errorf("%s: status %d, want 400: %s", body, r.status, r.body)
			}
		})
	}
	permit := q("subject", alice, "action", act("read"), "resource", rec1)

	// Basic Core.
	decides("2.2.1", permit, true)
	decides("2.2.2", q("subject", bob, "action", act("write"), "resource", rec1), false)
	decides("2.2.3", q("subject", alice, "action", act("read"), "resource", rec1, "context", when), true)

	// Basic Properties.
	decides("2.2.4", q("subject", alice, "action", act("write"), "resource", gone), false)
	decides("2.2.5", q("subject", boss, "action", act("write"), "resource", gone), true)
	decides("2.2.6", q("subject", alice, "action", `{"name":"delete","properties":{"soft":true}}`, "resource", rec1), true)
	decides("2.2.7", q("subject", alice, "action", `{"name":"delete","properties":{"soft":false}}`, "resource", rec1), false)

	// Basic Core, continued.
	decides("2.2.8", q(
		"subject", `{"type":"user","id":"alice","properties":{"department":"Sales","role":"manager"}}`,
		"action", `{"name":"read","properties":{"method":"GET"}}`,
		"resource", `{"type":"record","id":"record-1","properties":{"status":"active","owner":"bob"}}`), true)
	decides("2.2.9", q("subject", alice, "action", act("read"), "resource", rec1, "foo", `"bar"`, "futureField", `{"nested":true}`), true)

	// The fixture's decision rules that no case above sends: 1.4, rules 2 and 3; and 1.6, with a context.
	decides("1.4.2", q("subject", alice, "action", act("write"), "resource", rec1), true)
	decides("1.4.3", q("subject", bob, "action", act("read"), "resource", rec1), true)
	decides("1.6", q("subject", bob, "action", act("write"), "resource", rec1, "context", when), false)

	decides("2.3.1", permit, true)
	decides("2.3.2", q("subject", bob, "action", act("write"), "resource", rec1), false)

	refuses("2.4.1/subject", q("action", act("read"), "resource", rec1))
	refuses("2.4.1/action", q("subject", alice, "resource", rec1))
	refuses("2.4.1/resource", q("subject", alice, "action", act("read")))
	refuses("2.4.2/subject.type", q("subject", `{"id":"alice"}`, "action", act("read"), "resource", rec1))
	refuses("2.4.2/subject.id", q("subject", `{"type":"user"}`, "action", act("read"), "resource", rec1))
	refuses("2.4.2/action.name", q("subject", alice, "action", `{}`, "resource", rec1))
	refuses("2.4.2/resource.type", q("subject", alice, "action", act("read"), "resource", `{"id":"record-1"}`))
	refuses("2.4.2/resource.id", q("subject", alice, "action", act("read"), "resource", `{"type":"record"}`))
	refuses("2.4.3", permit, "Content-Type", "text/plain")
	refuses("2.4.4", `{"subject": {"type": "user", "id"`)
	refuses("2.4.5", "")
	refuses("2.4.6/subject", q("subject", `"alice"`, "action", act("read"), "resource", rec1))
	refuses("2.4.6/action.name", q("subject", alice, "action", `{"name":123}`, "resource", rec1))

	t.Run("2.5.1", func(t *testing.T) {
		const id = "bfe9eb29-ab87-4ca3-be83-a1d5d8305716"
		for _, body := range []string{permit, "{}"} { // with an error, too
			if got := s.do("POST", path, pepToken, body, "X-Request-ID", id).header.Get("X-Request-ID"); got != id {
				t.Errorf("X-Request-ID %q, want %q", got, id)
			}
		}
	})
	t.Run("2.5.2", func(t *testing.T) {
		if r := s.ask(path, permit); r.status != 200 {
			t.Errorf("status %d without an X-Request-ID", r.status)
		}
	})
	t.Run("2.6", func(t *testing.T) {
		for range 10 {
			if !wellFormed(t, json.RawMessage(s.ask(path, permit).body)) {
				t.Fatal("the decision changed")
			}
		}
	})
}

func TestCertificationBatch(t *testing.T) {
	s := start(t, load(t, certification))
	const path = "/access/v1/evaluations"
	// decides checks the decisions: t, f, or ? where the scenario leaves it open.
	decides := func(id, body, want string) {
		t.Run(id, func(t *testing.T) {
			r := s.ask(path, body)
			var answer struct{ Evaluations []json.RawMessage }
			s.into(r, &answer)
			if len(answer.Evaluations) != len(want) {
				t.Fatalf("%d evaluations, want %d: %s", len(answer.Evaluations), len(want), r.body)
			}
			for i, raw := range answer.Evaluations {
				if got := wellFormed(t, raw); want[i] != '?' && got != (want[i] == 't') {
					t.Errorf("evaluation %d: %v, want %c: %s", i, got, want[i], raw)
				}
			}
		})
	}

	// Batch Core and, 3.2.3, 3.2.4 and 3.2.7, Batch Properties.
	decides("3.2.1", q("subject", alice, "action", act("read"), "evaluations", `[{"resource":`+rec1+`},{"resource":{"type":"record","id":"record-2"}}]`), "t?")
	decides("3.2.2", q("subject", bob, "resource", rec1, "evaluations", `[{"action":{"name":"read"}},{"action":{"name":"write"}}]`), "tf")
	decides("3.2.3", q("subject", alice, "action", act("write"), "evaluations",
		`[{"resource":{"type":"record","id":"record-1","properties":{"status":"active"}}},{"resource":`+gone+`}]`), "tf")
	decides("3.2.4", q("action", act("write"), "resource", gone, "evaluations", `[{"subject":`+alice+`},{"subject":`+boss+`}]`), "ft")
	decides("3.2.5", q("evaluations", "["+q("subject", alice, "action", act("read"), "resource", rec1)+","+q("subject", bob, "action", act("write"), "resource", rec1)+"]"), "tf")
	decides("3.2.6", q("subject", alice, "action", act("read"), "context", `{"time":"2025-06-27T18:03-07:00"}`, "evaluations",
		`[{"resource":`+rec1+`},{"resource":{"type":"record","id":"record-2"},"context":{"time":"2025-06-27T19:00-07:00","source":"batch-override"}}]`), "t?")
	decides("3.2.7", q("subject", alice, "action", act("write"), "resource", `{"type":"record","id":"record-1","properties":{"status":"active"}}`,
		"evaluations", `[{},{"resource":`+gone+`}]`), "tf")

	// 3.3.1 to 3.3.3 are checked by decides; more of them at once.
	decides("3.3", q("subject", bob, "resource", rec1, "evaluations", `[{"action":{"name":"write"}},{"action":{"name":"read"}},{"action":{"name":"write"}},{"action":{"name":"read"}}]`), "ftft")
	t.Run("3.3.4", func(t *testing.T) {
		r := s.ask(path, q("subject", bob, "resource", rec1, "evaluations", `[{"action":{"name":"read"}}]`))
		var top map[string]json.RawMessage
		s.into(r, &top)
		if _, ok := top["decision"]; ok {
			t.Errorf("a decision beside evaluations: %s", r.body)
		}
	})

	decides("3.4.1", q("subject", alice, "action", act("read"), "options", `{"evaluations_semantic":"execute_all"}`, "evaluations", `[{"resource":`+rec1+`},{}]`), "tf")
	for id, extra := range map[string][]string{"3.4.2": nil, "3.4.3": {"evaluations", "[]"}} {
		t.Run(id, func(t *testing.T) {
			r := s.ask(path, q(append([]string{"subject", alice, "action", act("read"), "resource", rec1}, extra...)...))
			if r.status != 200 || !wellFormed(t, json.RawMessage(r.body)) {
				t.Errorf("status %d: %s", r.status, r.body)
			}
		})
	}
	t.Run("3.4/whole", func(t *testing.T) { // what is invalid as a whole stays an HTTP error (2.4)
		for _, body := range []string{"", "{", `{"subject":1}`, q("action", act("read"), "resource", rec1)} {
			if r := s.ask(path, body); r.status != 400 {
				t.Errorf("%q: status %d, want 400", body, r.status)
			}
		}
	})
}

func TestCertificationSearch(t *testing.T) {
	s := start(t, load(t, certification))
	find := func(t *testing.T, target, body string) []string {
		t.Helper()
		var answer struct {
			Results []struct{ Type, ID, Name string }
			Page    *struct {
				NextToken *string `json:"next_token"`
			}
		}
		r := s.ask("/access/v1/search/"+target, body)
		s.into(r, &answer)
		if answer.Results == nil {
			t.Fatalf("results is no array: %s", r.body)
		}
		if answer.Page != nil && answer.Page.NextToken == nil {
			t.Errorf("page without next_token: %s", r.body)
		}
		names := []string{}
		for _, res := range answer.Results {
			want := map[string]string{"subject": "user", "resource": "record", "action": ""}[target]
			if res.Type != want || (target == "action") != (res.Name != "") || (target == "action") != (res.ID == "") {
				t.Errorf("result %+v of a search for %s", res, target)
			}
			names = append(names, res.ID+res.Name)
		}
		return names
	}
	includes := func(id, target, body string, want ...string) {
		t.Run(id, func(t *testing.T) {
			got := find(t, target, body)
			for _, w := range want {
				if !slices.Contains(got, w) {
					t.Errorf("%v lacks %s", got, w)
				}
			}
		})
	}
	same := func(id, target, one, other string) {
		t.Run(id, func(t *testing.T) {
			if a, b := find(t, target, one), find(t, target, other); !slices.Equal(a, b) || len(a) == 0 {
				t.Errorf("%v and %v, want the same, not empty", a, b)
			}
		})
	}
	empty := func(id, target, body string) {
		t.Run(id, func(t *testing.T) {
			if got := find(t, target, body); len(got) != 0 {
				t.Errorf("found %v, want nothing", got)
			}
		})
	}
	refuses := func(id, target, body string) {
		t.Run(id, func(t *testing.T) {
			if r := s.ask("/access/v1/search/"+target, body); r.status != 400 {
				t.Errorf("status %d, want 400: %s", r.status, r.body)
			}
		})
	}
	const user, record = `{"type":"user"}`, `{"type":"record"}`

	readers := q("subject", user, "action", act("read"), "resource", rec1)
	includes("4.2.1", "subject", readers, "alice", "bob")
	same("4.2.2", "subject", readers, q("subject", user, "action", act("read"), "resource", rec1, "context", when))
	same("4.2.3", "subject", readers, q("subject", alice, "action", act("read"), "resource", rec1))
	includes("4.2.4", "subject", q("subject", user, "action", act("write"), "resource", gone), "bob")

	readable := q("subject", alice, "action", act("read"), "resource", record)
	includes("4.3.1", "resource", readable, "record-1")
	same("4.3.2", "resource", readable, q("subject", alice, "action", act("read"), "resource", record, "context", when))
	same("4.3.3", "resource", readable, q("subject", alice, "action", act("read"), "resource", rec1))
	includes("4.3.4", "resource", q("subject", boss, "action", act("write"), "resource", record), "record-2")

	acts := q("subject", alice, "resource", rec1)
	includes("4.4.1", "action", acts, "read", "write")
	same("4.4.2", "action", acts, q("subject", alice, "resource", rec1, "context", when))
	includes("4.4.3", "action", q("subject", boss, "resource", gone), "write")

	t.Run("4.5", func(t *testing.T) { // 4.5.1 to 4.5.4
		var all []string
		token := ""
		for range 5 {
			page := `{"limit":1}`
			if token != "" {
				page = `{"token":"` + token + `"}`
			}
			var answer struct {
				Page struct {
					NextToken *string `json:"next_token"`
				}
				Results []struct{ ID string }
			}
			s.into(s.ask("/access/v1/search/subject", q("subject", user, "action", act("read"), "resource", rec1, "page", page)), &answer)
			if answer.Page.NextToken == nil || len(answer.Results) > 1 {
				t.Fatalf("page %s: %+v", page, answer)
			}
			for _, r := range answer.Results {
				all = append(all, r.ID)
			}
			if token = *answer.Page.NextToken; token == "" {
				break
			}
		}
		if want := find(t, "subject", readers); !slices.Equal(all, want) {
			t.Errorf("by pages %v, at once %v", all, want)
		}
	})

	const stranger, ship = `{"type":"user","id":"nonexistent-user"}`, `{"type":"spaceship"}`
	empty("4.6.1/action", "action", q("subject", stranger, "resource", rec1))
	empty("4.6.1/resource", "resource", q("subject", stranger, "action", act("read"), "resource", record))
	// The fixture's readers may read every record, also one that is not stored: an unknown
	// resource finds nobody for an action that depends on what is known of it.
	empty("4.6.1/subject", "subject", q("subject", user, "action", act("hover"), "resource", `{"type":"record","id":"nonexistent-record"}`))
	empty("4.6.2/subject", "subject", q("subject", ship, "action", act("read"), "resource", rec1))
	empty("4.6.2/resource", "resource", q("subject", alice, "action", act("read"), "resource", ship))
	empty("4.6.2/action", "action", q("subject", `{"type":"spaceship","id":"s"}`, "resource", rec1))
	empty("4.6.2/action/resource", "action", q("subject", alice, "resource", `{"type":"spaceship","id":"s"}`))

	refuses("4.7.1/subject", "subject", q("subject", user, "resource", rec1))
	refuses("4.7.1/resource", "resource", q("action", act("read"), "resource", record))
	refuses("4.7.1/action", "action", q("subject", alice))
	refuses("4.7.2/subject", "subject", q("subject", user, "action", act("read"), "resource", record))
	refuses("4.7.2/resource", "resource", q("subject", user, "action", act("read"), "resource", record))
	refuses("4.7.2/action", "action", q("subject", user, "resource", rec1))
}

func TestCertificationDiscovery(t *testing.T) {
	s := start(t, load(t, certification))
	t.Run("6.1", func(t *testing.T) {
		// Whatever Host says, the metadata is the configured one.
		for _, host := range []string{"", "evil.example.com"} {
			r := s.do("GET", "/.well-known/authzen-configuration", "", "", "Host", host, "X-Forwarded-Host", host, "Forwarded", "host="+host)
			if r.status != 200 || r.header.Get("Content-Type") != "application/json" {
				t.Fatalf("status %d, %s", r.status, r.header.Get("Content-Type"))
			}
			var m map[string]any
			s.into(r, &m)
			const base = "https://localhost:8443"
			if m["policy_decision_point"] != base {
				t.Errorf("policy_decision_point %v, want %s", m["policy_decision_point"], base)
			}
			for _, name := range []string{"access_evaluation_endpoint", "access_evaluations_endpoint", "search_subject_endpoint", "search_resource_endpoint", "search_action_endpoint"} {
				text, _ := m[name].(string)
				if u, err := url.Parse(text); err != nil || u.Scheme != "https" || u.Host != "localhost:8443" {
					t.Errorf("%s %v is no https URL of ours", name, m[name])
				} else if r := s.ask(u.Path, "{}"); r.status != 400 {
					t.Errorf("%s: status %d for an empty request, want 400: is it served?", name, r.status)
				}
			}
			list, ok := m["capabilities"].([]any)
			if !ok {
				t.Errorf("capabilities is no array: %v", m["capabilities"])
			}
			for _, c := range list {
				if _, ok := c.(string); !ok {
					t.Errorf("capability %v is no string", c)
				}
			}
		}
	})
}
