package server_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// codeOf returns what an evaluation is answered: the code of a refusal, "" if it is allowed.
func (r *running) codeOf(agent, action, args string) string {
	r.Helper()
	v := r.act(agent, action, args, "l1", "s1")
	if v.Decision {
		return ""
	}
	if len(v.Context.Reasons) == 0 {
		return "?"
	}
	return v.Context.Reasons[0].Code
}

func (r *running) stopped(id, scope string) {
	r.Helper()
	if rep := r.do("PUT", "/v1/stops/"+id, adminToken, `{"scope":`+scope+`,"why":"incident 7"}`); rep.status != 200 || !strings.Contains(rep.body, `"standing":true`) {
		r.Fatalf("stopping %s: %d %s", scope, rep.status, rep.body)
	}
}

func (r *running) lifted(id string) {
	r.Helper()
	if rep := r.do("POST", "/v1/stops/"+id+"/lift", adminToken, `{"why":"it is over"}`); rep.status != 200 || !strings.Contains(rep.body, `"standing":false`) {
		r.Fatalf("lifting %s: %d %s", id, rep.status, rep.body)
	}
}

// What is stopped is refused whatever the policies say, carries no passport, and is found by no search, until a person lifts it.
func TestStop(t *testing.T) {
	cfg := passports(t)
	r := start(t, cfg)
	clerk, helper := r.party("clerk", "EdDSA"), r.party("helper", "EdDSA")
	access, own := clerk.token("read-ledger", "may_act", "helper").Token, helper.token("read-ledger").Token
	onBehalf := helper.exchange(access, "read-ledger").token().Token
	may := func(what string, clerkMay, helperMay bool) {
		t.Helper()
		for token, want := range map[string]bool{access: clerkMay, onBehalf: clerkMay && helperMay, own: helperMay} {
			if got := r.active(token); got != want {
				t.Errorf("%s: the passport of %v is active: %v, want %v", what, claimsOf(t, token)["sub"], got, want)
			}
		}
		for agent, want := range map[string]bool{"clerk": clerkMay, "helper": helperMay} {
			if got := r.codeOf(agent, "list_entries", ""); (got == "") != want || !want && got != authz.CodeStopped {
				t.Errorf("%s: %s is answered %q, want that it may: %v", what, agent, got, want)
			}
			found := r.ask("/access/v1/search/subject", `{"subject":{"type":"agent"},"action":{"name":"list_entries"},"resource":{"type":"Ledger","id":"l1"}}`)
			if got := strings.Contains(found.body, `"`+agent+`"`); got != want {
				t.Errorf("%s: who may read is %s, want %s in it: %v", what, found.body, agent, want)
			}
		}
		for p, want := range map[*party]bool{clerk: clerkMay, helper: helperMay} {
			if rep := p.ask("read-ledger").send(); (rep.status == 200) != want {
				t.Errorf("%s: %s asks for a passport: %d %s, want one: %v", what, p.id, rep.status, rep.body, want)
			}
		}
	}
	may("at first", true, true)
	r.stopped("all", `{"everything":true}`)
	may("everything is stopped", false, false)
	v := r.ask("/access/v1/evaluation", `{"subject":{"type":"user","id":"ada"},"action":{"name":"list_entries"},"resource":{"type":"Ledger","id":"l1"}}`)
	if !strings.Contains(v.body, authz.CodeStopped) {
		t.Errorf("a person asks: %s", v.body)
	}
	r.lifted("all")
	may("everything goes on", true, true)
	r.stopped("c1", `{"agent":"clerk"}`)
	may("the clerk is stopped", false, true)
	r.lifted("c1")
	r.stopped("p1", `{"purpose":"bookkeeping","owner":"finance"}`)
	may("the purpose is stopped", false, false)
	r.lifted("p1")

	// A capability: what it lets do, and passports that carry it.
	both := clerk.token("read-ledger pay-invoices").Token
	r.stopped("pay", `{"capability":"pay-invoices"}`)
	may("paying is stopped, reading is not", true, true)
	if got := r.codeOf("clerk", "pay", `{"amount":10}`); got != authz.CodeStopped {
		t.Errorf("paying is answered %q, want %s", got, authz.CodeStopped)
	}
	if said := r.introspect(both); said["active"] != true || strings.Contains(object(said).json(), "pay-invoices") {
		t.Errorf("a passport that carries both says %v", said)
	}
	if rep := clerk.ask("pay-invoices").send(); rep.status == 200 {
		t.Errorf("a passport for what is stopped: %s", rep.body)
	}

	// It outlasts the process, and judging the record again says the same.
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, cfg)
	if got := r.codeOf("clerk", "pay", `{"amount":10}`); got != authz.CodeStopped {
		t.Errorf("after a restart, paying is answered %q, want %s", got, authz.CodeStopped)
	}
	var found struct{ Items []struct{ Seq int64 } }
	r.into(r.do("GET", "/v1/audit/entries?kind=decision.made&code=emergency_stop&limit=1", adminToken, ""), &found)
	var x struct {
		Again struct {
			Agrees bool
			Code   string
		} `json:"judged_again"`
		Record struct {
			Facts struct{ Stops []string }
		}
	}
	r.into(r.do("GET", "/v1/decisions/d"+strconv.FormatInt(found.Items[0].Seq, 10)+"/explain", adminToken, ""), &x)
	if !x.Again.Agrees || x.Again.Code != authz.CodeStopped || len(x.Record.Facts.Stops) != 1 || x.Record.Facts.Stops[0] != "pay" {
		t.Errorf("explained as %+v", x)
	}
	// No catalog lifts it by calling the capability otherwise.
	var active struct {
		Version int64           `json:"version"`
		Source  json.RawMessage `json:"source"`
		Catalog json.RawMessage `json:"catalog"`
	}
	r.into(r.do("GET", "/v1/policies/active", adminToken, ""), &active)
	renamed := strings.ReplaceAll(fmt.Sprintf(`{"source":%s,"catalog":%s,"if_version":%d,"why":"tidy"}`, active.Source, active.Catalog, active.Version), "pay-invoices", "pay-bills")
	if rep := r.do("POST", "/v1/policies", adminToken, renamed); rep.status != 409 || !strings.Contains(rep.body, `stop \"pay\" names it`) {
		t.Errorf("a catalog without what is stopped: %d %s", rep.status, rep.body)
	}
	r.lifted("pay")
	if got := r.codeOf("clerk", "pay", `{"amount":10}`); got != "" {
		t.Errorf("after it was lifted, paying is answered %q", got)
	}
	var all struct {
		Items []struct {
			ID       string
			Standing bool
			LiftedBy string `json:"lifted_by"`
			Agents   int
		}
	}
	r.into(r.do("GET", "/v1/stops?all=true", adminToken, ""), &all)
	if len(all.Items) != 4 || all.Items[0].ID != "pay" || all.Items[0].LiftedBy != "admin:admin" || all.Items[1].Agents != 0 {
		t.Errorf("all stops are %+v", all.Items)
	}
	r.into(r.do("GET", "/v1/stops", adminToken, ""), &all)
	if len(all.Items) != 0 {
		t.Errorf("%+v stand", all.Items)
	}
	for body, want := range map[string]int{
		`{"scope":{},"why":"w"}`:                               400,
		`{"scope":{"agent":"clark"},"why":"w"}`:                404,
		`{"scope":{"capability":"pay"},"why":"w"}`:             400,
		`{"scope":{"everything":true}}`:                        400,
		`{"scope":{"everything":true,"agent":"x"},"why":"w"}`:  400,
		`{"scope":{"everything":true,"planet":"x"},"why":"w"}`: 400,
	} {
		if rep := r.do("PUT", "/v1/stops/bad", adminToken, body); rep.status != want {
			t.Errorf("%s: %d %s, want %d", body, rep.status, rep.body, want)
		}
	}
	if rep := r.do("PUT", "/v1/stops/bad", pepToken, `{"scope":{"everything":true},"why":"w"}`); rep.status != 403 {
		t.Errorf("an enforcement point stops: %d", rep.status)
	}
}

// A replica that did not take the stop refuses within a second.
func TestStopReplicas(t *testing.T) {
	a, b := replicas(t)
	if got := b.codeOf("clerk", "list_entries", ""); got != "" {
		t.Fatalf("at first: %s", got)
	}
	for i, id := range []string{"s1", "s2", "s3"} {
		a, b := a, b
		if i%2 == 1 {
			a, b = b, a
		}
		since := time.Now()
		a.stopped(id, `{"everything":true}`)
		took := within(t, "the other refuses", since, func() bool { return b.codeOf("clerk", "list_entries", "") == authz.CodeStopped })
		since = time.Now()
		a.lifted(id)
		again := within(t, "the other goes on", since, func() bool { return b.codeOf("clerk", "list_entries", "") == "" })
		t.Logf("stopped elsewhere after %v, and lifted after %v", took, again)
	}
}

// A preview tells what would come out otherwise, and changes nothing.
func TestPreview(t *testing.T) {
	cfg := passports(t)
	text := `
@id("no-money-in-danger")
forbid (principal, action == Action::"pay", resource)
when { context.observed.risk.level == "critical" || context.observed.risk.alerts.contains("leaver") };`
	danger := filepath.Join(t.TempDir(), "danger.cedar")
	if err := os.WriteFile(danger, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Organisation.Policies = append(cfg.Organisation.Policies, danger)
	r := start(t, cfg)
	for range 3 {
		r.act("clerk", "pay", `{"amount":10}`, "l1", "s1")
		r.act("helper", "pay", `{"amount":10}`, "l1", "s1")
		r.act("helper", "list_entries", "", "l2", "s1")
	}
	type preview struct {
		Agents, InScope, Changed int
		LookedAt                 int `json:"looked_at"`
		Scope                    int `json:"in_scope"`
		Complete                 bool
		Affected                 []struct {
			ID                 string
			Decisions, Changed int
			Before             string `json:"risk_before"`
			After              string `json:"risk_after"`
		}
		Changes []struct {
			Before, After struct{ Effect, Code string }
			Decisions     int
		}
		Examples []struct{ Decision, Action string }
	}
	look := func(path, body string) (p preview) {
		t.Helper()
		var before, after struct{ Items []struct{ Seq int64 } }
		r.into(r.do("GET", "/v1/audit/entries?limit=1", adminToken, ""), &before)
		r.into(r.do("POST", path, adminToken, body), &p)
		r.into(r.do("GET", "/v1/audit/entries?limit=1", adminToken, ""), &after)
		if before.Items[0] != after.Items[0] {
			t.Errorf("%s %s was recorded as entry %d", path, body, after.Items[0].Seq)
		}
		return p
	}
	is := func(what string, p preview, agents, looked, scope, changed int) {
		t.Helper()
		if p.Agents != agents || p.LookedAt != looked || p.Scope != scope || p.Changed != changed || !p.Complete {
			t.Errorf("%s: %+v, want %d agents, %d decisions looked at, %d in scope, %d changed", what, p, agents, looked, scope, changed)
		}
	}
	is("an alert that policies read", look("/v1/alerts/preview", `{"kind":"leaver","severity":"low"}`), 5, 9, 9, 6)
	is("one that none reads", look("/v1/alerts/preview", `{"kind":"outage","severity":"low"}`), 5, 9, 9, 0)
	p := look("/v1/alerts/preview", `{"kind":"leaver","severity":"critical","scope":{"agent":"clerk"}}`)
	is("one agent", p, 1, 3, 3, 3)
	if len(p.Affected) != 1 || p.Affected[0].ID != "clerk" || p.Affected[0].Before != "low" || p.Affected[0].After != "high" || p.Affected[0].Changed != 3 ||
		len(p.Changes) != 1 || p.Changes[0].Before.Code != "allowed" || p.Changes[0].After.Code != "forbidden" || len(p.Examples) != 3 || p.Examples[0].Action != "pay" {
		t.Errorf("one agent: %+v", p)
	}
	is("a bound", look("/v1/alerts/preview", `{"kind":"leaver","severity":"low","decisions":4}`), 5, 4, 4, 2)
	is("a stop", look("/v1/stops/preview", `{"scope":{"capability":"pay-invoices"}}`), 5, 9, 6, 6)
	is("a stop of all", look("/v1/stops/preview", `{"scope":{"everything":true}}`), 5, 9, 9, 9)

	if rep := r.do("PUT", "/v1/alerts/a1", adminToken, `{"kind":"leaver","severity":"low","expires_at":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`","why":"w"}`); rep.status != 200 {
		t.Fatal(rep.body)
	}
	is("clearing it", look("/v1/alerts/preview", `{"clear":"a1"}`), 5, 9, 9, 6)
	is("narrowing it", look("/v1/alerts/preview", `{"id":"a1","kind":"leaver","severity":"low","scope":{"agent":"clerk"}}`), 5, 9, 9, 3)
	r.stopped("s1", `{"agent":"helper"}`)
	is("clearing it while something is stopped", look("/v1/alerts/preview", `{"clear":"a1"}`), 5, 9, 9, 3)
	is("lifting", look("/v1/stops/preview", `{"lift":"s1"}`), 1, 6, 6, 6)
	for body, want := range map[string]int{`{}`: 400, `{"kind":"x","severity":"dire"}`: 400, `{"clear":"a2"}`: 404, `{"clear":"a1","kind":"x"}`: 400,
		`{"kind":"x","severity":"low","decisions":2001}`: 400} {
		if rep := r.do("POST", "/v1/alerts/preview", adminToken, body); rep.status != want {
			t.Errorf("%s: %d %s, want %d", body, rep.status, rep.body, want)
		}
	}
}
