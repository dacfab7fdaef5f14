package server_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/internal/server"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// asking returns the configuration of the organisation whose people agree to larger sums.
func asking(t testing.TB) server.Config {
	t.Helper()
	cfg := load(t, "")
	dir := filepath.Join("testdata", "asking")
	cfg.Organisation = server.Organisation{
		Catalog:  filepath.Join(dir, "catalog.yaml"),
		Schema:   filepath.Join(dir, "schema.cedarschema"),
		Policies: []string{filepath.Join(dir, "*.cedar")},
		Agents:   filepath.Join(dir, "agents.yaml"),
	}
	return cfg
}

// payment is what the agent wants to do.
func payment(agent, account, amount, approval string) string {
	context := `"observed":{"session":"s1"}`
	if approval != "" {
		context += `,"approval":` + approval
	}
	return fmt.Sprintf(`{"subject":{"type":"agent","id":%q},"action":{"name":"pay","properties":{"amount":%q}},"resource":{"type":"Account","id":%q},"context":{%s}}`,
		agent, amount, account, context)
}

// A refusal is an answer of the decision point, as far as asking is concerned.
type refusal struct {
	Decision bool
	Context  struct {
		EvaluationID  string          `json:"evaluation_id"`
		EvaluatedAt   time.Time       `json:"evaluated_at"`
		Reason        string          `json:"reason"`
		NextAction    string          `json:"next_action"`
		Approval      json.RawMessage `json:"approval"`
		AccessRequest *struct {
			ExpiresAt    string `json:"expires_at"`
			BindingToken string `json:"binding_token"`
			Template     string `json:"template"`
		} `json:"access_request"`
	}
}

// evaluate asks the decision point.
func (r *running) evaluate(body string) (d refusal) {
	r.Helper()
	r.into(r.ask("/access/v1/evaluation", body), &d)
	return d
}

// request asks persons about a refusal, and returns the id of the task.
func (r *running) request(agent, account, amount string, d refusal) string {
	r.Helper()
	if d.Decision || d.Context.AccessRequest == nil {
		r.Fatalf("no refusal that can be asked about: %+v", d)
	}
	body := fmt.Sprintf(`{"subject":{"type":"agent","id":%q},"action":{"name":"pay","properties":{"amount":%q}},"resource":{"type":"Account","id":%q},
		"context":{"business_justification":"invoice 7"},"denial":{"evaluation_id":%q,"expires_at":%q,"binding_token":%q}}`,
		agent, amount, account, d.Context.EvaluationID, d.Context.AccessRequest.ExpiresAt, d.Context.AccessRequest.BindingToken)
	rep := r.ask("/access/v1/requests", body)
	var out struct{ Task struct{ ID, Status string } }
	if err := json.Unmarshal([]byte(rep.body), &out); err != nil || rep.status != 202 || out.Task.Status != "pending" {
		r.Fatalf("access request: status %d: %s", rep.status, rep.body)
	}
	return out.Task.ID
}

// answer lets a person look at an ask and answer it.
func (r *running) answer(person, ask string, yes bool, scope string) reply {
	r.Helper()
	var v struct{ View int64 }
	r.into(r.do("POST", "/v1/approvals/"+ask+"/view", person, `{}`), &v)
	return r.do("POST", "/v1/approvals/"+ask+"/answer", person, fmt.Sprintf(`{"yes":%t,"view":%d%s}`, yes, v.View, scope))
}

// approved returns the approval of a task.
func (r *running) approved(ask string) string {
	r.Helper()
	var out struct {
		Task   struct{ Status string }
		Result struct{ Approval json.RawMessage }
	}
	if r.into(r.do("GET", "/access/v1/requests/"+ask, pepToken, ""), &out); out.Task.Status != "approved" || len(out.Result.Approval) == 0 {
		r.Fatalf("task %s: %+v", ask, out)
	}
	return string(out.Result.Approval)
}

// persons makes persons and returns a token of each.
func (r *running) persons(ids ...string) map[string]string {
	r.Helper()
	tokens := map[string]string{}
	for _, id := range ids {
		rep := r.do("PUT", "/v1/people/"+id, adminToken, fmt.Sprintf(`{"name":%q,"why":"test"}`, id))
		if rep.status != 200 {
			r.Fatalf("person %s: status %d: %s", id, rep.status, rep.body)
		}
		var made struct{ Token string }
		r.into(r.do("POST", "/v1/callers", adminToken, fmt.Sprintf(`{"name":%q,"role":"approver","why":"test"}`, id)), &made)
		tokens[id] = made.Token
	}
	return tokens
}

// From a refusal to the act, through one person, and what does not follow from it.
func TestAskAPerson(t *testing.T) {
	s := start(t, asking(t))
	people := s.persons("anna", "ben", "cleo", "dan", "olga", "eve")

	if d := s.evaluate(payment("clerk", "acme", "100.0", "")); !d.Decision {
		t.Fatalf("a small sum: %+v", d)
	}
	d := s.evaluate(payment("clerk", "acme", "900.0", ""))
	if d.Decision || d.Context.Reason != "approval_required" || d.Context.EvaluatedAt.IsZero() {
		t.Fatalf("a larger sum: %+v", d)
	}
	ask := s.request("clerk", "acme", "900.0", d)
	if again := s.request("clerk", "acme", "900.0", s.evaluate(payment("clerk", "acme", "900.0", ""))); again != ask {
		t.Errorf("the very same ask became another: %s, %s", ask, again)
	}

	for who, want := range map[string]int{"olga": 403, "eve": 403} { // the owner, and somebody
		if rep := s.do("POST", "/v1/approvals/"+ask+"/answer", people[who], `{"yes":true,"view":1}`); rep.status != want && rep.status != 404 {
			t.Errorf("%s answers: status %d: %s", who, rep.status, rep.body)
		}
	}
	for _, token := range []string{adminToken, pepToken} {
		if rep := s.do("POST", "/v1/approvals/"+ask+"/answer", token, `{"yes":true,"view":1}`); rep.status != 403 {
			t.Errorf("no person answers: status %d: %s", rep.status, rep.body)
		}
	}
	if rep := s.answer(people["anna"], ask, true, ""); rep.status != 200 {
		t.Fatalf("anna: status %d: %s", rep.status, rep.body)
	}
	if rep := s.do("POST", "/v1/approvals/"+ask+"/answer", people["ben"], `{"yes":false,"view":1}`); rep.status != 409 {
		t.Errorf("an answer after the end: %s", rep.body)
	}
	approval := s.approved(ask)

	for name, c := range map[string]struct{ body, reason, next string }{
		"another account": {payment("clerk", "globex", "900.0", approval), "out_of_scope", "request"},
		"another sum":     {payment("clerk", "acme", "901.0", approval), "out_of_scope", "request"},
		"another agent":   {payment("other", "acme", "900.0", approval), "approval_unverifiable", "none"},
		"made up":         {payment("clerk", "acme", "900.0", `{"id":"apr_aaaaaaaaaaaaaaaaaaaaaaaaaa"}`), "approval_unverifiable", "none"},
	} {
		if d := s.evaluate(c.body); d.Decision || d.Context.Reason != c.reason {
			t.Errorf("%s: %v %s %s, want a refusal, %s", name, d.Decision, d.Context.Reason, d.Context.NextAction, c.reason)
		}
	}
	if d := s.evaluate(payment("clerk", "acme", "100.0", approval)); !d.Decision {
		t.Errorf("what needs no approval is refused with one: %+v", d)
	}
	used := s.evaluate(payment("clerk", "acme", "900.0", approval))
	if !used.Decision || len(used.Context.Approval) == 0 {
		t.Fatalf("the approved act: %+v", used)
	}
	if d := s.evaluate(payment("clerk", "acme", "900.0", approval)); d.Decision || d.Context.Reason != "approval_expired" || d.Context.NextAction != "request" || d.Context.AccessRequest == nil {
		t.Errorf("the second use: %+v", d)
	}

	// The whole story, from the log.
	var story struct {
		Steps []struct{ Kind string }
	}
	s.into(s.do("GET", "/v1/approvals/"+ask+"/story", adminToken, ""), &story)
	var kinds []string
	for _, step := range story.Steps {
		kinds = append(kinds, step.Kind)
	}
	want := []string{"decision.made", "approval.asked", "approval.joined", "approval.viewed", "approval.answered", "approval.used", "decision.made"}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("the story (-want +got):\n%s", diff)
	}
}

// Two routes, a quorum, and a no.
func TestAskSeveral(t *testing.T) {
	s := start(t, asking(t))
	people := s.persons("anna", "ben", "cleo", "dan")

	d := s.evaluate(payment("clerk", "acme", "9000.0", ""))
	ask := s.request("clerk", "acme", "9000.0", d)
	if rep := s.answer(people["anna"], ask, true, ""); rep.status != 200 {
		t.Fatalf("anna: status %d: %s", rep.status, rep.body)
	}
	if rep := s.do("POST", "/v1/approvals/"+ask+"/answer", people["anna"], `{"yes":true,"view":1}`); rep.status == 200 {
		t.Errorf("anna is counted twice: %s", rep.body)
	}
	var task struct{ Task struct{ Status string } }
	if s.into(s.do("GET", "/access/v1/requests/"+ask, pepToken, ""), &task); task.Task.Status != "pending" {
		t.Fatalf("after one of two: %+v", task)
	}
	if rep := s.answer(people["dan"], ask, true, ""); rep.status != 200 {
		t.Fatalf("dan: status %d: %s", rep.status, rep.body)
	}
	if d := s.evaluate(payment("clerk", "acme", "9000.0", s.approved(ask))); !d.Decision {
		t.Errorf("agreed by two routes: %+v", d)
	}

	ask = s.request("clerk", "globex", "9000.0", s.evaluate(payment("clerk", "globex", "9000.0", "")))
	s.answer(people["anna"], ask, true, "")
	if rep := s.answer(people["cleo"], ask, false, `,"comment":"not this one"`); rep.status != 200 {
		t.Fatalf("cleo: status %d: %s", rep.status, rep.body)
	}
	if s.into(s.do("GET", "/access/v1/requests/"+ask, pepToken, ""), &task); task.Task.Status != "denied" {
		t.Errorf("one no: %+v", task)
	}
}

// Two replicas race for one use of an approval on PostgreSQL: one decision wins, however many ask.
func TestOneUseAcrossReplicas(t *testing.T) {
	cfg := asking(t)
	if storetest.Config(t).Postgres == "" {
		t.Skip("needs SAFECONDUCT_TEST_POSTGRES")
	}
	one := start(t, cfg)
	second := cfg
	second.Log.Key, second.Keys.Seal = filepath.Join(cfg.Data, "log.key"), filepath.Join(cfg.Data, "seal.key")
	second.Data = t.TempDir()
	two := start(t, second)
	people := one.persons("anna")
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	for round := range rounds {
		amount := fmt.Sprintf("%d.0", 600+round)
		ask := one.request("clerk", "acme", amount, one.evaluate(payment("clerk", "acme", amount, "")))
		uses := 1
		scope := ""
		if round%2 == 1 {
			uses, scope = 3, `,"scope":{"uses":3}`
		}
		if rep := one.answer(people["anna"], ask, true, scope); rep.status != 200 {
			t.Fatalf("round %d: status %d: %s", round, rep.status, rep.body)
		}
		approval := one.approved(ask)
		// The other replica may not have read of it yet: then it says so, and nothing is used.
		for until := time.Now().Add(10 * time.Second); two.do("GET", "/access/v1/requests/"+ask, pepToken, "").status != 200; {
			if time.Now().After(until) {
				t.Fatalf("round %d: the other replica does not hear of the ask", round)
			}
		}
		var won, ended atomic.Int64
		var wg sync.WaitGroup
		for i := range 8 {
			s := []*running{one, two}[i%2]
			wg.Go(func() {
				switch d := s.evaluate(payment("clerk", "acme", amount, approval)); {
				case d.Decision:
					won.Add(1)
				case slices.Contains([]string{"approval_expired", "approval_unverifiable"}, d.Context.Reason):
					ended.Add(1)
				default:
					t.Errorf("round %d: refused for %s", round, d.Context.Reason)
				}
			})
		}
		wg.Wait()
		if won.Load() != int64(uses) || won.Load()+ended.Load() != 8 {
			t.Fatalf("round %d: %d of 8 were allowed, want %d", round, won.Load(), uses)
		}
	}
}
