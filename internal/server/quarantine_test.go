package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
)

// Whom conduct has taken everything from does nothing at any door until a person restores it: its live passport
// does not count, it gets no other, nobody acts for it, and what it asks is refused, whatever policies say.
func TestQuarantine(t *testing.T) {
	cfg := passports(t)
	text := string(must(os.ReadFile(cfg.Organisation.Catalog))) + "\nconduct: {trust: {reporters: {most: 1000}}}\n"
	cfg.Organisation.Catalog = filepath.Join(t.TempDir(), "catalog.yaml")
	if err := os.WriteFile(cfg.Organisation.Catalog, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, cfg)
	clerk, helper := r.party("clerk", "EdDSA"), r.party("helper", "EdDSA")
	access, own := clerk.token("read-ledger", "may_act", "helper").Token, helper.token("read-ledger").Token
	onBehalf := helper.exchange(access, "read-ledger").token().Token
	may := func(want bool) {
		t.Helper()
		for name, token := range map[string]string{"its passport": access, "one by which another acts for it": onBehalf} {
			if got := r.active(token); got != want {
				t.Errorf("%s is active: %v, want %v", name, got, want)
			}
		}
		if got := r.presented(clerk, access, "list_entries", ""); want && !got {
			t.Error("a presented passport is refused")
		}
		v := r.act("clerk", "list_entries", "", "l1", "s9")
		if v.Decision != want || !want && (len(v.Context.Reasons) == 0 || v.Context.Reasons[0].Code != authz.CodeAgentInactive) {
			t.Errorf("its question is answered %+v, want %v", v, want)
		}
		found := r.ask("/access/v1/search/subject", `{"subject":{"type":"agent"},"action":{"name":"list_entries"},"resource":{"type":"Ledger","id":"l1"}}`)
		if got := strings.Contains(found.body, `"clerk"`); found.status != 200 || got != want || !strings.Contains(found.body, `"third"`) {
			t.Errorf("who may read is %d %s, want the agent in it: %v", found.status, found.body, want)
		}
		if rep := clerk.ask("read-ledger").send(); (rep.status == 200) != want {
			t.Errorf("asking for another passport: %d %s, want one: %v", rep.status, rep.body, want)
		}
		if rep := helper.exchange(access, "read-ledger").send(); (rep.status == 200) != want {
			t.Errorf("exchanging its passport: %d %s, want one: %v", rep.status, rep.body, want)
		}
		if !r.active(own) {
			t.Error("another agent's passport does not count")
		}
	}
	may(true)
	for _, session := range []string{"s1", "s2"} {
		r.outcome(r.act("clerk", "pay", `{"amount":10}`, "l1", session), adminToken, "harmful")
	}
	if s := r.standing("clerk"); !s.Quarantined {
		t.Fatalf("after two harmful payments the agent is not quarantined: %+v", s)
	}
	may(false)
	if rep := clerk.form("/oauth2/keys", "proof", r.keyProof(newKey("EdDSA"), "EdDSA", "")); rep.status == 200 {
		t.Error("a quarantined agent registers a key that outlasts the quarantine")
	}
	enrolment := r.enrolment("clerk")
	proof := object{"token": enrolment, "proof": r.keyProof(newKey("EdDSA"), "EdDSA", enrolment)}.json()
	if rep := r.do("POST", "/oauth2/enroll", "", proof); rep.status != 401 {
		t.Errorf("a quarantined agent enrols: %d %s", rep.status, rep.body)
	}
	restore := object{"level": "medium", "restore": true, "why": "looked into"}
	if rep := r.do("POST", "/v1/agents/clerk/trust", pepToken, restore.json()); rep.status != 403 {
		t.Errorf("an enforcement point restores an agent: %d %s", rep.status, rep.body)
	}
	if rep := r.do("POST", "/v1/agents/clerk/trust", adminToken, restore.json()); rep.status != 200 {
		t.Fatalf("restoring: %d %s", rep.status, rep.body)
	}
	may(true)
}
