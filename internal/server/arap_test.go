package server_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/internal/token"
)

// TestARAPWhole has those sentences of the AuthZEN Access Request and Approval Profile that say MUST or SHOULD of
// what only the whole service shows; internal/api has the others, by sections as here.
func TestARAPWhole(t *testing.T) {
	s := start(t, asking(t))
	anna := s.persons("anna")["anna"]
	// approval gets an approval of a payment, each of another sum.
	sum := 600
	approval := func() (amount, ask, reference string) {
		t.Helper()
		sum++
		amount = fmt.Sprintf("%d.0", sum)
		ask = s.request("clerk", "acme", amount, s.evaluate(payment("clerk", "acme", amount, "")))
		if r := s.answer(anna, ask, true, ""); r.status != 200 {
			t.Fatalf("answer: %d %s", r.status, r.body)
		}
		return amount, ask, s.approved(ask)
	}
	refused := func(d refusal, reason, next string) {
		t.Helper()
		if d.Decision || d.Context.Reason != reason || d.Context.NextAction != next {
			t.Errorf("decision %v, reason %q, next_action %q; want a refusal, %s, %s", d.Decision, d.Context.Reason, d.Context.NextAction, reason, next)
		}
	}

	t.Run("Access Request Response: task.id and approval.id MUST be unguessable", func(t *testing.T) {
		_, ask, reference := approval()
		_, other, _ := approval()
		if !regexp.MustCompile(`^arq_[a-z2-7]{26}$`).MatchString(ask) || ask == other || !regexp.MustCompile(`"id":"apr_[a-z2-7]{26}"`).MatchString(reference) {
			t.Errorf("tasks %s and %s, approval %s", ask, other, reference)
		}
	})
	t.Run("Discovery: jwks_uri has the keys of binding_token and approval.state, with kid and use", func(t *testing.T) {
		var m struct {
			KeySet string `json:"jwks_uri"`
		}
		s.into(s.do("GET", "/.well-known/authzen-configuration", "", ""), &m)
		var set struct{ Keys []json.RawMessage }
		s.into(s.do("GET", strings.TrimPrefix(m.KeySet, s.URL()), "", ""), &set)
		keys := map[string]*token.Key{}
		for _, raw := range set.Keys {
			var k struct{ Kid, Use string }
			if err := json.Unmarshal(raw, &k); err != nil || k.Kid == "" || k.Use != "sig" {
				t.Errorf("key %s: %v, want kid and use sig", raw, err)
			}
			key, err := token.ParseKey(raw)
			if err != nil {
				t.Fatal(err)
			}
			keys[k.Kid] = key
		}
		_, _, reference := approval()
		var a struct{ State string }
		if err := json.Unmarshal([]byte(reference), &a); err != nil {
			t.Fatal(err)
		}
		for typ, text := range map[string]string{
			token.BindingType:       s.evaluate(payment("clerk", "acme", "999.0", "")).Context.AccessRequest.BindingToken,
			token.ApprovalStateType: a.State,
		} {
			j, err := token.Parse(text)
			if err != nil || !j.Is(typ) || keys[j.KeyID] == nil {
				t.Fatalf("%s: %+v, %v", typ, j, err)
			}
			if err := j.Verify(keys[j.KeyID]); err != nil {
				t.Errorf("%s: %v", typ, err)
			}
		}
	})
	t.Run("Completion Semantics: the exact-match baseline is structural", func(t *testing.T) {
		amount, _, reference := approval()
		more := strings.Replace(payment("clerk", "acme", amount, reference), `"context":{`, `"context":{"dry_run":true,`, 1)
		refused(s.evaluate(more), "out_of_scope", "request")
		same := strings.Replace(payment("clerk", "acme", amount, reference), `"context":{`, `"context":{"confidence":0.5,`, 1)
		same = strings.Replace(same, `"amount"`, `"\u0061mount"`, 1)
		if d := s.evaluate(same); !d.Decision {
			t.Errorf("the same act, written otherwise: %+v", d)
		}
	})
	t.Run("Completion Semantics: a state without its id, or an id with another's state, is not verifiable", func(t *testing.T) {
		amount, _, reference := approval()
		_, _, other := approval()
		var a, b struct{ ID, State string }
		if json.Unmarshal([]byte(reference), &a) != nil || json.Unmarshal([]byte(other), &b) != nil || a.State == "" {
			t.Fatalf("approvals %s and %s", reference, other)
		}
		refused(s.evaluate(payment("clerk", "acme", amount, fmt.Sprintf(`{"id":%q,"state":%q}`, a.ID, b.State))), "approval_unverifiable", "none")
		if d := s.evaluate(payment("clerk", "acme", amount, fmt.Sprintf(`{"id":%q}`, a.ID))); !d.Decision {
			t.Errorf("by the id alone, which is looked up: %+v", d)
		}
	})
	t.Run("Completion Semantics: MUST check whether the approval was revoked", func(t *testing.T) {
		amount, ask, reference := approval()
		if r := s.do("POST", "/v1/approvals/"+ask+"/revoke", adminToken, `{"why":"too early"}`); r.status != 200 {
			t.Fatalf("revoke: %d %s", r.status, r.body)
		}
		refused(s.evaluate(payment("clerk", "acme", amount, reference)), "approval_expired", "request")
	})
	t.Run("PDP Processing Rules: approval MUST NOT override what remains mandatory: the subject's status", func(t *testing.T) {
		amount, _, reference := approval()
		for _, state := range []string{"suspended", "active"} {
			if r := s.do("POST", "/v1/agents/clerk/state", adminToken, fmt.Sprintf(`{"state":%q,"why":"a drill"}`, state)); r.status != 200 {
				t.Fatalf("%s: %d %s", state, r.status, r.body)
			}
			if state == "suspended" {
				refused(s.evaluate(payment("clerk", "acme", amount, reference)), "policy_denied", "none")
			}
		}
		if d := s.evaluate(payment("clerk", "acme", amount, reference)); !d.Decision {
			t.Errorf("after the agent was restored, with the approval that was not used: %+v", d)
		}
	})
	t.Run("Completion Semantics: MUST evaluate by current policy", func(t *testing.T) {
		amount, _, reference := approval()
		r := s.do("GET", "/v1/policies/active", adminToken, "")
		var active struct{ Version int64 }
		s.into(r, &active)
		body := fmt.Sprintf(`{"if_version":%d,"why":"closed","source":{"schema":%q,"files":[{"name":"closed.cedar","text":%q}]}}`, active.Version, contents(t, "testdata/asking/schema.cedarschema"),
			contents(t, "testdata/asking/policies.cedar")+"\n@id(\"closed\")\nforbid (principal, action == Action::\"pay\", resource);\n")
		if r := s.do("POST", "/v1/policies", adminToken, body); r.status != 200 {
			t.Fatalf("publish: %d %s", r.status, r.body)
		}
		refused(s.evaluate(payment("clerk", "acme", amount, reference)), "policy_denied", "none")
	})
}

func contents(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
