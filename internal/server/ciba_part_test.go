package server_test

import (
	"encoding/json"
	"fmt"
	"testing"
)

// What a person said yes to counts once everything is answered; who ends the ask before gives nothing away.
func TestHalfAnAuthorization(t *testing.T) {
	s := start(t, personal(t))
	anna := s.signedIn("anna")
	p := s.party("clerk", "EdDSA")
	for name, end := range map[string]func(ask string) reply{
		"cancelled": func(ask string) reply {
			return s.do("POST", "/v1/approvals/"+ask+"/cancel", adminToken, `{"why":"this looks like an attack"}`)
		},
		"answered": func(ask string) reply {
			var v struct{ View int64 }
			s.into(s.do("POST", "/v1/approvals/"+ask+"/view", anna, `{}`), &v)
			return s.do("POST", "/v1/approvals/"+ask+"/answer", anna, fmt.Sprintf(`{"yes":false,"items":[1],"view":%d}`, v.View))
		},
	} {
		var asked struct {
			ID string `json:"auth_req_id"`
		}
		s.into(p.form("/oauth2/bc-authorize", "login_hint", "anna", "scope", "pay-invoices read-ledger"), &asked)
		redeem := func() reply { return p.ask("").set("grant_type", grantCIBA, "auth_req_id", asked.ID).send() }
		var v struct{ View int64 }
		s.into(s.do("POST", "/v1/approvals/"+asked.ID+"/view", anna, `{}`), &v)
		if rep := s.do("POST", "/v1/approvals/"+asked.ID+"/answer", anna, fmt.Sprintf(`{"yes":true,"items":[0],"view":%d}`, v.View)); rep.status != 200 {
			t.Fatalf("%s: half a yes: %d %s", name, rep.status, rep.body)
		}
		if rep := redeem(); code(rep) != "authorization_pending" && code(rep) != "slow_down" {
			t.Errorf("%s: half answered: %d %s", name, rep.status, rep.body)
		}
		if rep := end(asked.ID); rep.status != 200 {
			t.Fatalf("%s: the end: %d %s", name, rep.status, rep.body)
		}
		rep := redeem()
		var got struct {
			Scope string
		}
		_ = json.Unmarshal([]byte(rep.body), &got)
		switch {
		case name == "cancelled" && code(rep) != "access_denied":
			t.Errorf("cancelled after half a yes: %d %s", rep.status, rep.body)
		case name == "answered" && (rep.status != 200 || got.Scope != "pay-invoices"):
			t.Errorf("one yes, one no: %d %s", rep.status, rep.body)
		}
	}
}
