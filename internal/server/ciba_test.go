package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/safeconduct/safeconduct/internal/outside"
	"github.com/safeconduct/safeconduct/internal/server"
)

const grantCIBA = "urn:openid:params:grant-type:ciba"

// personal returns the configuration of the organisation whose agents pay in the name of persons.
func personal(t testing.TB) server.Config {
	t.Helper()
	cfg := load(t, "")
	dir := filepath.Join("testdata", "ciba")
	cfg.Organisation = server.Organisation{
		Catalog: filepath.Join(dir, "catalog.yaml"), Schema: filepath.Join(dir, "schema.cedarschema"),
		Policies: []string{filepath.Join(dir, "policies.cedar")}, Agents: filepath.Join(dir, "agents.yaml"),
	}
	return cfg
}

// signedIn makes a person and returns a token by which a program answers for it.
func (r *running) signedIn(id string) string {
	r.Helper()
	if rep := r.do("PUT", "/v1/people/"+id, adminToken, fmt.Sprintf(`{"name":%q,"email":"%s@example.com","why":"test"}`, id, id)); rep.status != 200 {
		r.Fatalf("person %s: %d %s", id, rep.status, rep.body)
	}
	var made struct{ Token string }
	r.into(r.do("POST", "/v1/callers", adminToken, fmt.Sprintf(`{"name":%q,"role":"approver","why":"test"}`, id)), &made)
	return made.Token
}

// says lets a person look at an ask and answer it.
func (r *running) says(person, ask string, yes bool) reply {
	r.Helper()
	var v struct{ View int64 }
	if rep := r.do("POST", "/v1/approvals/"+ask+"/view", person, `{}`); rep.status != 200 {
		return rep
	} else if err := json.Unmarshal([]byte(rep.body), &v); err != nil {
		r.Fatal(err)
	}
	return r.do("POST", "/v1/approvals/"+ask+"/answer", person, fmt.Sprintf(`{"yes":%t,"view":%d}`, yes, v.View))
}

// An agent that is refused for want of a person asks one, and acts in the person's name, until the person
// takes it back. What was redeemed is not redeemed again by a process that starts.
func TestPersonBehindAnAgent(t *testing.T) {
	do := browser(t)
	cfg := personal(t)
	s := start(t, cfg)
	anna, ben := s.signedIn("anna"), s.signedIn("ben")
	p := s.party("clerk", "EdDSA")

	refused := p.show(p.token("pay-invoices").Token, "pay", `{"amount":"12.5"}`).send()
	var why struct {
		Decision bool
		Context  struct {
			Obligations []struct {
				Type       string
				Properties struct {
					ACR string `json:"acr_value"`
				}
			}
		}
	}
	s.into(refused, &why)
	if why.Decision || len(why.Context.Obligations) != 1 || why.Context.Obligations[0].Type != "step-up" {
		t.Fatalf("without a person: %s", refused.body)
	}
	acr := why.Context.Obligations[0].Properties.ACR

	ask := func(pairs ...string) reply { return p.form("/oauth2/bc-authorize", pairs...) }
	if rep := ask("login_hint", "ben", "scope", "pay-invoices"); rep.status != 403 || code(rep) != "access_denied" {
		t.Errorf("ben, who may not authorize: %d %s", rep.status, rep.body)
	}
	if rep := ask("login_hint", "carl", "scope", "pay-invoices"); code(rep) != "unknown_user_id" {
		t.Errorf("carl, whom nobody knows: %d %s", rep.status, rep.body)
	}
	var asked struct {
		ID string `json:"auth_req_id"`
	}
	s.into(ask("login_hint", "anna@example.com", "scope", "openid pay-invoices", "acr_values", acr, "binding_message", "invoice 7"), &asked)
	redeem := func() reply { return p.ask("").set("grant_type", grantCIBA, "auth_req_id", asked.ID).send() }
	if rep := redeem(); code(rep) != "authorization_pending" {
		t.Errorf("not answered: %d %s", rep.status, rep.body)
	}
	if rep := s.says(ben, asked.ID, true); rep.status < 400 {
		t.Errorf("ben answers for anna: %d %s", rep.status, rep.body)
	}
	shown := s.do("GET", "/v1/approvals/"+asked.ID, anna, "")
	for _, want := range []string{"invoice 7", "pay-invoices", `"5000"`, "clerk", "does in your name what"} {
		if !strings.Contains(shown.body, want) {
			t.Errorf("anna is not shown %q: %s", want, shown.body)
		}
	}
	if rep := s.says(anna, asked.ID, true); rep.status != 403 {
		t.Errorf("a program says yes for anna: %d %s", rep.status, rep.body)
	}
	s.authorizes(do, "anna", asked.ID)
	got := redeem()
	var out struct {
		Token string `json:"access_token"`
		ID    string `json:"id_token"`
	}
	s.into(got, &out)
	if c := claimsOf(t, out.Token); c["sub"] != "user:anna" || c["acr"] != acr || c["act"].(map[string]any)["sub"] != "clerk" {
		t.Errorf("claims = %v", c)
	}
	if c := claimsOf(t, out.ID); c["sub"] != "user:anna" || c["aud"] != "clerk" {
		t.Errorf("ID token = %v", c)
	}
	if rep := p.show(out.Token, "pay", `{"amount":"12.5"}`).send(); !decided(t, rep) {
		t.Errorf("in anna's name: %s", rep.body)
	}
	if rep := p.show(out.Token, "pay", `{"amount":"5000.5"}`).send(); decided(t, rep) {
		t.Errorf("in anna's name, beyond what she authorized: %s", rep.body)
	}
	if rep := redeem(); code(rep) != "invalid_grant" {
		t.Errorf("redeemed again: %d %s", rep.status, rep.body)
	}

	// Where no level is demanded a program may say yes for her. Taken back, it counts no more.
	first := asked.ID
	s.into(ask("login_hint", "anna", "scope", "read-ledger"), &asked)
	if rep := s.says(anna, asked.ID, true); rep.status != 200 {
		t.Fatalf("anna answers again: %d %s", rep.status, rep.body)
	}
	s.into(redeem(), &out)
	if rep := p.show(out.Token, "list_entries", "").send(); !decided(t, rep) {
		t.Errorf("in anna's name again: %s", rep.body)
	}
	if rep := s.do("POST", "/v1/approvals/"+asked.ID+"/revoke", anna, `{"why":"a mistake"}`); rep.status != 200 {
		t.Errorf("taking it back: %d %s", rep.status, rep.body)
	}
	if rep := p.show(out.Token, "list_entries", "").send(); decided(t, rep) {
		t.Errorf("in anna's name, after it was taken back: %s", rep.body)
	}
	if rep := redeem(); code(rep) != "access_denied" {
		t.Errorf("redeemed after it was taken back: %d %s", rep.status, rep.body)
	}
	asked.ID = first

	// The same after a restart: from the minutes of the log that are read again.
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s = start(t, cfg)
	p.running = s
	p.nonce = ""
	if rep := redeem(); code(rep) != "invalid_grant" {
		t.Errorf("redeemed again after a restart: %d %s", rep.status, rep.body)
	}
}

// What a person authorized is redeemed once in the installation, also if it is redeemed at both replicas at the
// same moment, and taking it back ends the token at both.
func TestPersonForAllReplicas(t *testing.T) {
	a, b := replicasOf(t, personal(t))
	anna := a.signedIn("anna")
	p := a.party("clerk", "EdDSA")
	sides := []*party{p, p.at(b)}
	eventually(t, "the other replica knows the key", func() bool { return sides[1].ask("read-ledger").send().status == 200 })
	for range 20 {
		var asked struct {
			ID string `json:"auth_req_id"`
		}
		a.into(p.form("/oauth2/bc-authorize", "login_hint", "anna", "scope", "read-ledger"), &asked)
		if rep := a.says(anna, asked.ID, true); rep.status != 200 {
			t.Fatalf("anna answers: %d %s", rep.status, rep.body)
		}
		redeem := func(side *party) reply {
			return side.ask("").set("grant_type", grantCIBA, "auth_req_id", asked.ID).send()
		}
		got := make([]reply, 4) // two at each
		ready := make(chan struct{})
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				<-ready
				got[i] = redeem(sides[i%2])
			})
		}
		close(ready)
		wg.Wait()
		won := ""
		for _, rep := range got {
			switch {
			case rep.status == 200 && won == "":
				var out struct {
					Token string `json:"access_token"`
				}
				a.into(rep, &out)
				won = out.Token
			case rep.status == 200:
				t.Error("redeemed twice")
			case !slices.Contains([]string{"invalid_grant", "authorization_pending", "slow_down"}, code(rep)): // the other replica may not have read the answer yet
				t.Errorf("%d %s", rep.status, rep.body)
			}
		}
		if won == "" {
			t.Fatal("nobody redeemed it")
		}
		if rep := a.do("POST", "/v1/approvals/"+asked.ID+"/revoke", anna, `{"why":"test"}`); rep.status != 200 {
			t.Fatalf("taking it back: %d %s", rep.status, rep.body)
		}
		for _, side := range sides {
			eventually(t, "the token counts no more", func() bool { return !decided(t, side.show(won, "list_entries", "").send()) })
		}
	}
}

// The client that nobody here wrote, against the whole service.
func TestPersonBehindAClient(t *testing.T) {
	node, dir := outside.Node(t, filepath.Join("testdata", "interop"), "openid-client")
	s := start(t, personal(t))
	anna := s.signedIn("anna")
	p := s.party("clerk", "ES256")
	answers := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Ask string
			Yes bool
		}
		if body, err := io.ReadAll(r.Body); err != nil || json.Unmarshal(body, &in) != nil {
			t.Errorf("reading %q: %v", body, err)
		}
		if rep := s.says(anna, in.Ask, in.Yes); rep.status != 200 {
			http.Error(w, rep.body, rep.status)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer answers.Close()
	setup, err := json.Marshal(map[string]any{
		"issuer": s.URL(), "client": map[string]any{"id": "clerk", "kid": p.kid, "jwk": privateJWK(p.key)},
		"hint": "anna", "sub": "user:anna", "scope": "read-ledger", "acr": "urn:example:keyed", "answers": answers.URL, "port": 0,
	})
	if err != nil {
		t.Fatal(err)
	}
	checks := foreign(t, node, dir, "ciba.mjs", setup)
	if want := 7; checks != want {
		t.Errorf("%d checks were made, want %d", checks, want)
	}
}
