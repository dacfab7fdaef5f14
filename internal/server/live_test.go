package server_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// catalogClosingAt is the catalog of testdata/passports with a closing time that ends at a minute.
func catalogClosingAt(t *testing.T, at time.Time) string {
	t.Helper()
	const always = "windows: [{days: mon-sun}]"
	text := string(must(os.ReadFile("testdata/passports/catalog.yaml")))
	if !strings.Contains(text, always) {
		t.Fatalf("the catalog has no %q", always)
	}
	at = at.UTC()
	return strings.Replace(text, always, `windows: [{days: mon-sun, from: "`+at.Add(-2*time.Hour).Format("15:04")+`", to: "`+at.Format("15:04")+`"}]`, 1)
}

// publish makes a catalog or a policy file, or both, the active version.
func (r *running) publish(catalog, policies string) {
	r.Helper()
	var st struct{ Policies int64 }
	r.into(r.do("GET", "/v1/status", adminToken, ""), &st)
	in := object{"if_version": st.Policies, "why": "test"}
	if catalog != "" {
		in["catalog"] = catalog
	}
	if policies != "" {
		schema := string(must(os.ReadFile("testdata/passports/schema.cedarschema")))
		in["source"] = object{"schema": schema, "files": []object{{"name": "policies.cedar", "text": policies}}}
	}
	if rep := r.do("POST", "/v1/policies", adminToken, in.json()); rep.status != 200 {
		r.Fatalf("publishing: %d %s", rep.status, rep.body)
	}
}

// carries checks everything that is said of a token: what introspection leaves of it, and which acts an
// enforcement point and the agent itself may be allowed by it. No scope means that it does not count.
func carries(t *testing.T, p *party, when, access, scope string) {
	t.Helper()
	said := p.introspect(access)
	if got, _ := said["scope"].(string); got != scope || said["active"] != (scope != "") || scope == "" && len(said) != 1 {
		t.Errorf("%s: introspected as active %v with %q, want %q", when, said["active"], got, scope)
	}
	for capability, act := range map[string][2]string{"read-ledger": {"list_entries", ""}, "pay-invoices": {"pay", `{"amount":1}`},
		"close-books": {"close_day", ""}, "contain": {"lock", ""}} {
		want := slices.Contains(strings.Fields(scope), capability)
		if got := p.presented(p, access, act[0], act[1]); got != want {
			t.Errorf("%s: an enforcement point hears %v of %s, want %v", when, got, act[0], want)
		}
		rep := p.show(access, act[0], act[1]).send()
		if scope == "" && rep.status != 401 || scope != "" && (rep.status != 200 || decided(t, rep) != want) {
			t.Errorf("%s: the agent hears %d %s of %s, want %v", when, rep.status, rep.body, act[0], want)
		}
	}
}

func expiry(t *testing.T, access string) time.Time {
	t.Helper()
	return time.Unix(int64(claimsOf(t, access)["exp"].(float64)), 0)
}

// No token outlives the schedule that granted something in it, and when the schedule closes nothing
// is granted by it any more.
func TestPassportsAndSchedules(t *testing.T) {
	var clock clock
	closing := time.Now().Truncate(time.Minute).Add(8 * time.Minute)
	file := filepath.Join(t.TempDir(), "catalog.yaml")
	if err := os.WriteFile(file, []byte(catalogClosingAt(t, closing)), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := passports(t)
	cfg.SetNow(clock.Now)
	cfg.Organisation.Catalog = file
	s := start(t, cfg)
	p, h := s.party("clerk", "EdDSA"), s.party("helper", "EdDSA")
	until := func(before time.Duration) { // sets the clock to so long before the schedule closes
		clock.advance(closing.Add(-before).Sub(clock.Now()))
		p.nonce, h.nonce = "", ""
	}

	for _, before := range []time.Duration{7 * time.Minute, 301 * time.Second, 5 * time.Minute, 299 * time.Second, time.Minute, 20 * time.Second, 10 * time.Second} {
		until(before)
		g := p.token("read-ledger close-books", "may_act", "helper")
		exp := expiry(t, g.Token)
		if exp.After(closing) || exp.Sub(clock.Now()) > 5*time.Minute || before <= 5*time.Minute && !exp.Equal(closing) {
			t.Errorf("%v before closing: a token until %v, which closes at %v", before, exp, closing)
		}
		if g.Scope != "close-books read-ledger" || time.Duration(g.Expires)*time.Second > before {
			t.Errorf("%v before closing: %q for %d s", before, g.Scope, g.Expires)
		}
		if child := h.exchange(g.Token, "").token(); expiry(t, child.Token).After(exp) {
			t.Errorf("%v before closing: what is exchanged lives until %v, and what for until %v", before, expiry(t, child.Token), exp)
		}
		if alone := p.token("read-ledger"); expiry(t, alone.Token).Sub(clock.Now()) < 298*time.Second {
			t.Errorf("%v before closing: what has no schedule lives until %v", before, expiry(t, alone.Token))
		}
	}

	until(2 * time.Minute)
	access, alone := p.token("read-ledger close-books").Token, p.token("read-ledger").Token
	carries(t, p, "before closing", access, "close-books read-ledger")
	until(4900 * time.Millisecond)
	carries(t, p, "just before closing", access, "close-books read-ledger")
	// What would end at once is not given out.
	late := p.token("read-ledger close-books")
	if late.Scope != "read-ledger" || len(late.Refused) != 1 || late.Refused[0].Identifier != "close-books" {
		t.Errorf("just before closing: %q, refused %v", late.Scope, late.Refused)
	}
	until(0)
	carries(t, p, "after closing", access, "")
	carries(t, p, "after closing, without a schedule", alone, "read-ledger")
	carries(t, p, "after closing, late", late.Token, "read-ledger")
	wantError(t, p.ask("close-books").send(), 400, "access_denied")
	if g := p.token("read-ledger close-books"); g.Scope != "read-ledger" || len(g.Refused) != 1 || g.Refused[0].Identifier != "close-books" || g.Refused[0].Message == "" {
		t.Errorf("after closing: %q, refused %v", g.Scope, g.Refused)
	}

	// A schedule that is changed counts for tokens that are out, too.
	s.publish(catalogClosingAt(t, closing.Add(10*time.Minute)), "")
	reopened := p.token("read-ledger close-books").Token
	carries(t, p, "reopened", reopened, "close-books read-ledger")
	s.publish(catalogClosingAt(t, closing), "")
	carries(t, p, "closed early", reopened, "read-ledger")
	clock.advance(5*time.Minute + time.Second)
	p.nonce = ""
	carries(t, p, "expired", reopened, "")
}

// An alert opens what is meant for incidents, and closes it again, in tokens that are out as in new ones.
func TestPassportsAndAlerts(t *testing.T) {
	s := start(t, passports(t))
	p := s.party("clerk", "EdDSA")
	before := p.token("")
	if before.Scope != "close-books pay-invoices read-ledger" || len(before.Refused) != 1 || before.Refused[0].Code != "no-incident" || before.Refused[0].Message != "There is no incident." {
		t.Errorf("%q, refused %v", before.Scope, before.Refused)
	}
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	raise := func(id, scope string) {
		if rep := s.do("PUT", "/v1/alerts/"+id, adminToken, `{"kind":"incident","severity":"high","expires_at":"`+until+`","why":"test"`+scope+`}`); rep.status != 200 {
			t.Fatalf("raising an alert: %d %s", rep.status, rep.body)
		}
	}
	clear := func(id string) {
		if rep := s.do("POST", "/v1/alerts/"+id+"/clear", adminToken, `{"why":"test"}`); rep.status != 200 {
			t.Fatalf("clearing an alert: %d %s", rep.status, rep.body)
		}
	}
	raise("a", "")
	during := p.token("contain read-ledger")
	if during.Scope != "contain read-ledger" {
		t.Errorf("during an incident: %q, refused %v", during.Scope, during.Refused)
	}
	carries(t, p, "during an incident", during.Token, "contain read-ledger")
	carries(t, p, "a token from before", before.Token, "close-books pay-invoices read-ledger") // never more than it carried
	only := p.token("contain").Token
	clear("a")
	carries(t, p, "after it", during.Token, "read-ledger")
	carries(t, p, "with nothing else", only, "")
	wantError(t, p.ask("contain").send(), 400, "access_denied")
	raise("b", `,"scope":{"agent":"helper"}`)
	wantError(t, p.ask("contain").send(), 400, "access_denied") // another agent's incident
	raise("b", `,"scope":{"agent":"clerk"}`)
	carries(t, p, "at the next incident", only, "contain")
}

// A policy that is published counts for tokens that are out, and so does going back to the one before.
func TestPassportsAndPolicies(t *testing.T) {
	s := start(t, passports(t))
	p := s.party("clerk", "EdDSA")
	access := p.token("pay-invoices read-ledger").Token
	carries(t, p, "at first", access, "pay-invoices read-ledger")
	policies := string(must(os.ReadFile("testdata/passports/policies.cedar")))
	s.publish("", policies+"\n"+`@id("no-money") forbid (principal, action == Action::"token.issue", resource) when { resource.class == "money" };`)
	carries(t, p, "money is not carried", access, "read-ledger")
	if g := p.token("pay-invoices read-ledger"); g.Scope != "read-ledger" || len(g.Refused) != 1 {
		t.Errorf("%q, refused %v", g.Scope, g.Refused)
	}
	if rep := s.do("POST", "/v1/policies/1/rollback", adminToken, `{"why":"test"}`); rep.status != 200 {
		t.Fatalf("rolling back: %d %s", rep.status, rep.body)
	}
	carries(t, p, "rolled back", access, "pay-invoices read-ledger")
	// A capability that the catalog has no more is nobody's.
	catalog := string(must(os.ReadFile("testdata/passports/catalog.yaml")))
	begin, end := strings.Index(catalog, "  pay-invoices:"), strings.Index(catalog, "  close-books:")
	s.publish(catalog[:begin]+catalog[end:], policies)
	if got := s.introspect(access)["scope"]; got != "read-ledger" {
		t.Errorf("what the catalog has not: %v", got)
	}
}

// What is taken away from an agent is gone from its tokens; its keys may change under way.
func TestPassportsAndAgents(t *testing.T) {
	var clock clock
	cfg := passports(t)
	cfg.SetNow(clock.Now)
	cfg.OAuth.KeyOverlap = time.Minute
	s := start(t, cfg)
	p := s.party("clerk", "EdDSA")
	grant := func(capabilities ...string) {
		var a struct{ Revision int64 }
		s.into(s.do("GET", "/v1/agents/clerk", adminToken, ""), &a)
		if rep := s.do("PUT", "/v1/agents/clerk", adminToken, object{"owner": "finance", "purpose": "bookkeeping", "version": "1", "creator": "finance",
			"capabilities": capabilities, "if_revision": a.Revision, "why": "test"}.json()); rep.status != 200 {
			t.Fatalf("changing the agent: %d %s", rep.status, rep.body)
		}
	}
	access := p.token("pay-invoices read-ledger").Token
	carries(t, p, "at first", access, "pay-invoices read-ledger")
	grant("read-ledger")
	carries(t, p, "a capability is taken away", access, "read-ledger")
	wantError(t, p.ask("pay-invoices").send(), 400, "invalid_scope")
	if g := p.token(""); g.Scope != "read-ledger" {
		t.Errorf("all that it has: %q", g.Scope)
	}
	grant()
	carries(t, p, "all are taken away", access, "")
	grant("read-ledger", "pay-invoices")
	carries(t, p, "and given back", access, "pay-invoices read-ledger")
	for _, state := range []string{"suspended", "quarantined"} {
		s.state("clerk", state)
		carries(t, p, state, access, "")
		wantError(t, p.ask("read-ledger").send(), 401, "invalid_client")
		s.state("clerk", "active")
		carries(t, p, "active again", access, "pay-invoices read-ledger")
	}

	// Rotated: both keys count for a while, then the new one; tokens that are out go on.
	next := newKey("ES256")
	var made struct {
		Key string `json:"kid"`
	}
	s.into(p.form("/oauth2/keys", "proof", s.keyProof(next, "ES256", "")), &made)
	q := *p
	q.key, q.alg, q.kid = next, "ES256", made.Key
	p.token("read-ledger")
	byNew := q.token("read-ledger").Token
	clock.advance(61 * time.Second)
	p.nonce, q.nonce = "", ""
	wantError(t, p.ask("read-ledger").send(), 401, "invalid_client")
	q.token("read-ledger")
	if p.nonce = q.nonce; !s.active(access) || !s.active(byNew) {
		t.Error("a token counts no more because the key was rotated")
	}

	// Revoked: whatever was got before is gone at once, and what is got afterwards counts at once.
	third := newKey("EdDSA")
	s.into(q.form("/oauth2/keys", "proof", s.keyProof(third, "EdDSA", "")), &made)
	r := q
	r.key, r.alg, r.kid = third, "EdDSA", made.Key
	for range 3 {
		if rep := s.do("POST", "/v1/agents/clerk/keys/revoke", adminToken, object{"key": q.kid, "why": "test"}.json()); rep.status != 200 {
			t.Fatalf("revoking: %d %s", rep.status, rep.body)
		}
		carries(t, &r, "by the key that is revoked", byNew, "")
		wantError(t, q.ask("read-ledger").send(), 401, "invalid_client")
		carries(t, &r, "by the other key, at once", r.token("read-ledger").Token, "read-ledger")
	}
	access = r.token("read-ledger").Token
	if rep := s.do("POST", "/v1/agents/clerk/keys/revoke", adminToken, `{"all":true,"why":"test"}`); rep.status != 200 {
		t.Fatalf("revoking: %d %s", rep.status, rep.body)
	}
	carries(t, &r, "when all keys are revoked", access, "")
	wantError(t, r.ask("read-ledger").send(), 401, "invalid_client")
	again := s.party("clerk", "EdDSA")
	carries(t, again, "enrolled anew", again.token("read-ledger").Token, "read-ledger")
}

// The limits of a token bind besides those of the catalog, wherever it is presented.
func TestPassportLimits(t *testing.T) {
	s := start(t, passports(t))
	p, h := s.party("clerk", "EdDSA"), s.party("helper", "EdDSA")
	limit := func(most string) string {
		return object{"type": "capability", "identifier": "pay-invoices", "limits": object{"amount": object{"amount": most}}}.json()
	}
	access := p.ask("", "authorization_details", "["+limit("100")+"]", "may_act", "helper").token()
	child := h.exchange(access.Token, "", "authorization_details", "["+limit("50")+"]").token()
	var d struct {
		Limits struct{ Amount map[string]string }
	}
	if len(child.Details) != 1 {
		t.Fatalf("details %s", child.Details)
	}
	if err := json.Unmarshal(child.Details[0], &d); err != nil || d.Limits.Amount["amount"] != "50" {
		t.Errorf("details %s", child.Details[0])
	}
	for _, tt := range []struct {
		by     *party
		access string
		amount string
		want   bool
	}{
		{p, access.Token, "100", true}, {p, access.Token, "100.01", false},
		{h, child.Token, "50", true}, {h, child.Token, "50.5", false},
		{p, p.token("pay-invoices").Token, "5000", true}, {p, p.token("pay-invoices").Token, "5001", false},
	} {
		if got := s.presented(tt.by, tt.access, "pay", `{"amount":`+tt.amount+`}`); got != tt.want {
			t.Errorf("%s pays %s: %v, want %v", tt.by.id, tt.amount, got, tt.want)
		}
	}
}
