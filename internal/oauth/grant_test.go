package oauth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/token"
)

func TestClientCredentials(t *testing.T) {
	h := newHouse(t, 1, nil)
	m := h.member("alice", "pay", "read-mail")
	out := m.token(h.replicas[0], "txn", "t-1")
	if out.Type != "DPoP" || out.ExpiresIn != 299 || out.Scope != "pay read-mail" || out.Header.Get("Cache-Control") != "no-store" || out.Header.Get("Pragma") != "no-cache" {
		t.Errorf("answer = %s, headers %v", out.Body, out.Header)
	}
	p := h.claims(out.Token)
	now := h.Now().Truncate(time.Second)
	want := &token.Passport{
		Issuer: houseIssuer, Subject: "alice", ClientID: "alice", Audience: []string{mailServer}, ID: p.ID,
		IssuedAt: now, NotBefore: now, Expires: now.Add(5 * time.Minute), AuthTime: now, Scope: []string{"pay", "read-mail"},
		Details: []authz.Detail{{Type: "capability", Identifier: "pay"}, {Type: "capability", Identifier: "read-mail"}}, // as it is read, not written
		ACR:     "urn:safeconduct:trust:medium", Txn: "t-1", Confirmation: token.Confirmation{JKT: m.proof.Key().ID}, Status: p.Status,
		Conduct: &token.Conduct{Level: "medium", Score: 0.5, Window: "P30D", Decisions: 12, Denied: 1, AsOf: 7},
	}
	if d := cmp.Diff(want, p); d != "" {
		t.Errorf("claims (-want +got):\n%s", d)
	}
	if p.Status == nil || !strings.HasPrefix(p.Status.URI, houseIssuer+"/oauth2/status/") || p.Status.Index >= 1<<16 {
		t.Errorf("status = %+v", p.Status)
	}
	if len(out.Token) > 1200 {
		t.Errorf("a typical passport has %d bytes, want at most 1200", len(out.Token))
	}

	es := h.of(audit.TokenIssued)
	if len(es) != 1 || es[0].Actor != "agent:alice" {
		t.Fatalf("%d token.issued entries: %+v", len(es), es)
	}
	rec, err := oauth.ParseIssued(es[0].Body)
	if err != nil {
		t.Fatal(err)
	}
	if rec.ID != p.ID || rec.Subject != "alice" || rec.Method != "private_key_jwt" || rec.Key != m.key.Key().ID || rec.Digest != token.AccessTokenHash(out.Token) ||
		rec.Decisions != 2 || len(rec.Uses) != 1 || rec.Address != "192.0.2.7" || rec.Signer != h.eddsa.Key().ID || rec.Expires != p.Expires.Unix() {
		t.Errorf("recorded %+v", rec)
	}
	if n := len(h.of(audit.DecisionMade)); n != 2 {
		t.Errorf("%d decisions are recorded, want 2", n)
	}
	if strings.Contains(string(es[0].Body), out.Token) {
		t.Error("the log holds the token")
	}
}

func TestSeveralTokens(t *testing.T) {
	h := newHouse(t, 1, nil)
	m := h.member("alice", "read-mail")
	seen := map[string]bool{}
	for range 5 {
		p := h.claims(m.token(h.replicas[0]).Token)
		if seen[p.ID] || seen[string(rune(p.Status.Index))] {
			t.Errorf("jti %s or index %d came twice", p.ID, p.Status.Index)
		}
		seen[p.ID], seen[string(rune(p.Status.Index))] = true, true
	}
	if n := len(h.of(audit.StatusBlock)); n != 1 {
		t.Errorf("%d blocks were drawn, want 1", n)
	}
}

func TestES256OnRequest(t *testing.T) {
	h := newHouse(t, 1, nil)
	m := h.member("alice", "read-mail")
	out := m.token(h.replicas[0], "access_token_signing_alg", "ES256")
	jws, err := token.Parse(out.Token)
	if err != nil || jws.Algorithm != "ES256" || jws.KeyID != h.es256.Key().ID {
		t.Errorf("token = %+v, %v; want one signed by ES256", jws, err)
	}
	if !h.replicas[0].introspect(out.Token).Active {
		t.Error("the token is not active")
	}
	wantError(t, "RS256", m.ask(h.replicas[0], "grant_type", "client_credentials", "access_token_signing_alg", "RS256"), 400, "invalid_request")
}

func TestScopeAndDetails(t *testing.T) {
	h := newHouse(t, 1, nil)
	m := h.member("alice", "office", "pay", "read-mail")
	r := h.replicas[0]
	limits := &authz.Limits{Class: "confidential", Amount: map[string]string{"amount": "1000"}, Regions: []string{"CH", "DE"}}
	for _, c := range []struct {
		name, scope, details string
		wantScope            string
		want                 []authz.Detail
	}{
		{"some", "read-mail", "", "read-mail", nil},
		{"twice the same", "read-mail pay read-mail", "", "pay read-mail", nil},
		{"detail with the catalog's limits", "", `[{"type":"capability","identifier":"pay"}]`, "pay",
			[]authz.Detail{{Type: "capability", Identifier: "pay", Limits: limits}}},
		{"narrower", "", `[{"type":"capability","identifier":"pay","actions":["pay"],"limits":{"amount":{"amount":"99.50"},"regions":["CH"]}}]`, "pay",
			[]authz.Detail{{Type: "capability", Identifier: "pay", Actions: []string{"pay"}, Limits: &authz.Limits{Class: "confidential", Amount: map[string]string{"amount": "99.50"}, Regions: []string{"CH"}}}}},
		{"union", "read-mail pay", `[{"type":"capability","identifier":"pay","limits":{"class":"public"}}]`, "pay read-mail",
			[]authz.Detail{{Type: "capability", Identifier: "pay", Limits: &authz.Limits{Class: "public", Amount: limits.Amount, Regions: limits.Regions}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var pairs []string
			if c.scope != "" {
				pairs = append(pairs, "scope", c.scope)
			}
			if c.details != "" {
				pairs = append(pairs, "authorization_details", c.details)
			}
			out := m.token(r, pairs...)
			if out.Scope != c.wantScope {
				t.Errorf("scope = %q, want %q", out.Scope, c.wantScope)
			}
			if d := cmp.Diff(c.want, out.Details); d != "" {
				t.Errorf("authorization_details (-want +got):\n%s", d)
			}
			var claimed []authz.Detail
			for _, d := range h.claims(out.Token).Details {
				if d.Limits != nil || d.Actions != nil {
					claimed = append(claimed, d)
				}
			}
			if d := cmp.Diff(c.want, claimed); d != "" {
				t.Errorf("claim (-want +got):\n%s", d)
			}
		})
	}
}

// What is not granted is not to be had by naming it, and nobody learns what exists.
func TestScopeInjection(t *testing.T) {
	h := newHouse(t, 1, nil)
	m := h.member("alice", "read-mail")
	r := h.replicas[0]
	var whys []string
	for _, scope := range []string{"pay", "read-mail pay", "no-such-thing", "openid"} {
		out := m.ask(r, "grant_type", "client_credentials", "scope", scope)
		wantError(t, scope, out, 400, "invalid_scope")
		whys = append(whys, out.Why)
	}
	for _, why := range whys {
		if why != whys[0] {
			t.Errorf("descriptions differ: %q", whys)
		}
	}
	for _, scope := range []string{" read-mail", "read-mail ", "read-mail  read-mail", "read-mail\tpay", "read-mail\"", "lire-é"} {
		wantError(t, scope, m.ask(r, "grant_type", "client_credentials", "scope", scope), 400, "invalid_scope")
	}
}

func TestBadDetails(t *testing.T) {
	h := newHouse(t, 1, nil)
	m := h.member("alice", "office", "pay")
	for _, text := range []string{
		`{}`, `[]`, `[{}]`, `[`, `null`, `["pay"]`,
		`[{"type":"payment_initiation","identifier":"pay"}]`,
		`[{"type":"capability","identifier":"read-mail"}]`,
		`[{"type":"capability","identifier":"no-such-thing"}]`,
		`[{"type":"capability","identifier":"pay","privileges":["all"]}]`,
		`[{"type":"capability","identifier":"pay"},{"type":"capability","identifier":"pay"}]`,
		`[{"type":"capability","identifier":"pay","identifier":"office"}]`,
		`[{"type":"capability","identifier":"pay","limits":{"amount":{"amount":"1000.01"}}}]`,
		`[{"type":"capability","identifier":"pay","limits":{"amount":{"amount":"-1"}}}]`,
		`[{"type":"capability","identifier":"pay","limits":{"amount":{"amount":"NaN"}}}]`,
		`[{"type":"capability","identifier":"pay","limits":{"amount":{"amount":5}}}]`,
		`[{"type":"capability","identifier":"pay","limits":{"regions":["US"]}}]`,
		`[{"type":"capability","identifier":"pay","limits":{"regions":[]}}]`,
		`[{"type":"capability","identifier":"pay","limits":{"class":"restricted"}}]`,
		`[{"type":"capability","identifier":"pay","limits":{"class":"none"}}]`,
		`[{"type":"capability","identifier":"office","limits":{"schedules":["always"]}}]`,
		`[{"type":"capability","identifier":"pay","limits":{"schedules":["always"]}}]`,
		`[{"type":"capability","identifier":"pay","actions":[` + strings.Repeat(`"a",`, 6000) + `"a"]}]`,
		strings.Repeat("[", 1000),
	} {
		out := m.ask(h.replicas[0], "grant_type", "client_credentials", "authorization_details", text)
		wantError(t, text[:min(len(text), 100)], out, 400, "invalid_authorization_details")
	}
}

func TestResourceIndicators(t *testing.T) {
	h := newHouse(t, 1, nil)
	m := h.member("alice", "pay", "read-mail")
	r := h.replicas[0]
	for _, c := range []struct {
		resources []string
		want      []string
	}{
		{nil, []string{mailServer}},
		{[]string{fileServer}, []string{fileServer}},
		{[]string{houseIssuer}, []string{houseIssuer}},
		{[]string{fileServer, mailServer, fileServer}, []string{mailServer, fileServer}},
	} {
		pairs := []string{}
		for _, res := range c.resources {
			pairs = append(pairs, "resource", res)
		}
		if got := h.claims(m.token(r, pairs...).Token).Audience; !cmp.Equal(got, c.want) {
			t.Errorf("resources %q: audience = %q, want %q", c.resources, got, c.want)
		}
	}
	for _, bad := range []string{"https://evil.example", "mail", mailServer + "/", mailServer + "#x", strings.ToUpper(mailServer)} {
		wantError(t, bad, m.ask(r, "grant_type", "client_credentials", "resource", bad), 400, "invalid_target")
	}
	wantError(t, "elsewhere", m.ask(r, "grant_type", "client_credentials", "resource", mailServer,
		"authorization_details", `[{"type":"capability","identifier":"pay","locations":["`+fileServer+`"]}]`), 400, "invalid_target")
}

// What policy refuses is left out; if nothing is left there is no token, and the agent is told why.
func TestIssuingIsADecision(t *testing.T) {
	h := newHouse(t, 1, nil)
	m := h.member("alice", "read-mail", "respond")
	r := h.replicas[0]
	alert := false
	h.set(func() {
		h.refuse = func(req authz.Request, _ time.Time) string {
			if req.Resource.ID == "respond" && !alert {
				return "There is no incident."
			}
			return ""
		}
	})
	out := m.token(r)
	if out.Scope != "read-mail" || len(out.Refused) != 1 || out.Refused[0] != (oauth.Refusal{Identifier: "respond", Code: "forbidden", Message: "There is no incident."}) {
		t.Errorf("answer = %s", out.Body)
	}
	out = m.ask(r, "grant_type", "client_credentials", "scope", "respond")
	wantError(t, "everything refused", out, 400, "access_denied")
	if out.Why != "There is no incident." {
		t.Errorf("description = %q", out.Why)
	}
	if n := len(h.of(audit.DecisionMade)); n != 3 {
		t.Errorf("%d decisions are recorded, want 3: refusals count", n)
	}
	h.set(func() { alert = true })
	if out := m.token(r); out.Scope != "read-mail respond" {
		t.Errorf("during the incident scope = %q", out.Scope)
	}
	h.set(func() { h.agents["alice"].Capabilities = nil })
	wantError(t, "nothing granted", m.ask(r, "grant_type", "client_credentials"), 400, "access_denied")
}

// The judge is told what the token will be, and meets obligations of nobody.
func TestWhatTheJudgeIsAsked(t *testing.T) {
	h := newHouse(t, 1, nil)
	m := h.member("alice", "read-mail")
	h.claims(m.token(h.replicas[0], "resource", fileServer).Token)
	req := h.requests[0]
	if req.Subject.Ref != (authz.Ref{Type: "agent", ID: "alice"}) || req.Action.Name != "token.issue" || req.Resource.Ref != (authz.Ref{Type: "Capability", ID: "read-mail"}) ||
		string(req.Action.Properties) != `{"audience":"https://files.example","grant_type":"client_credentials"}` ||
		req.Observed.Address.String() != "192.0.2.7" || req.Observed.Method != "private_key_jwt" || req.Observed.Obligations == nil || len(req.Observed.Obligations) > 0 ||
		req.Observed.Passport == nil || req.Observed.Passport.Bound != "dpop" || req.Observed.Passport.Depth != 0 || len(req.Observed.Passport.Details) != 1 {
		t.Errorf("asked %+v, passport %+v", req, req.Observed.Passport)
	}
}

func TestExpiryIsClipped(t *testing.T) {
	h := newHouse(t, 1, nil)
	m := h.member("alice", "office", "read-mail")
	r := h.replicas[0]
	at := func(clock string) time.Time {
		day, err := time.Parse("2006-01-02T15:04:05.000", "2026-11-25T"+clock)
		if err != nil {
			t.Fatal(err)
		}
		return day
	}
	for _, c := range []struct {
		now, scope, want string // scope asked for, expiry
		got              string // scope
	}{
		{"17:00:00.000", "office", "17:05:00.000", "office"},
		{"17:57:00.250", "office", "18:00:00.000", "office"},
		{"17:59:54.999", "office", "18:00:00.000", "office"},
		{"17:57:00.250", "read-mail", "18:02:00.000", "read-mail"},
		{"17:57:00.250", "office read-mail", "18:00:00.000", "office read-mail"},
		{"17:59:56.000", "office read-mail", "18:04:56.000", "read-mail"},
		{"18:00:00.000", "office read-mail", "18:05:00.000", "read-mail"},
	} {
		h.set(func() { h.now = at(c.now) })
		out := m.token(r, "scope", c.scope)
		if p := h.claims(out.Token); !p.Expires.Equal(at(c.want)) || out.Scope != c.got {
			t.Errorf("at %s for %q: expires %v with %q, want %s with %q", c.now, c.scope, p.Expires, out.Scope, c.want, c.got)
		}
	}
	h.set(func() { h.now = at("17:59:56.000") })
	wantError(t, "about to close", m.ask(r, "grant_type", "client_credentials", "scope", "office"), 400, "access_denied")

	// A policy that reads the second is found out as well.
	h.set(func() {
		h.now = at("12:00:00.500")
		h.refuse = func(_ authz.Request, when time.Time) string {
			if when.Before(at("12:01:17.000")) {
				return ""
			}
			return "over"
		}
	})
	if p := h.claims(m.token(r, "scope", "read-mail").Token); !p.Expires.Equal(at("12:01:17.000")) {
		t.Errorf("expires %v, want 12:01:17", p.Expires)
	}
}

func TestTokenEndpointRefuses(t *testing.T) {
	h := newHouse(t, 1, nil)
	m := h.member("alice", "read-mail")
	r := h.replicas[0]
	wantError(t, "no grant type", m.ask(r), 400, "invalid_request")
	wantError(t, "empty grant type", m.ask(r, "grant_type", ""), 400, "invalid_request")
	wantError(t, "authorization code", m.ask(r, "grant_type", "authorization_code", "code", "x"), 400, "unsupported_grant_type")
	wantError(t, "password", m.ask(r, "grant_type", "password"), 400, "unsupported_grant_type")
	wantError(t, "may_act of oneself", m.ask(r, "grant_type", "client_credentials", "may_act", "alice"), 400, "invalid_request")
	wantError(t, "may_act of a strange name", m.ask(r, "grant_type", "client_credentials", "may_act", "a b"), 400, "invalid_request")
	h.setState("alice", authz.AgentSuspended)
	wantError(t, "suspended", m.ask(r, "grant_type", "client_credentials"), 401, "invalid_client")
	h.set(func() { h.stale = true })
	h.setState("alice", authz.AgentActive)
	out := m.ask(r, "grant_type", "client_credentials")
	wantError(t, "stale", out, 503, "temporarily_unavailable")
	if out.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// An assertion is used once in an installation, however many replicas there are and whoever is first.
func TestAssertionUsedOnce(t *testing.T) {
	h := newHouse(t, 2, nil)
	m := h.member("alice", "read-mail")
	for _, r := range h.replicas {
		m.token(r) // learns a nonce
	}
	form := m.form("grant_type", "client_credentials")
	got := make(chan *outcome, 2)
	for _, r := range h.replicas {
		go func() { got <- r.post("/oauth2/token", form, "DPoP", m.proofFor(m.nonce[r])) }()
	}
	a, b := <-got, <-got
	if a.Status != 200 {
		a, b = b, a
	}
	if a.Status != 200 {
		t.Fatalf("neither got a token: %s, %s", a.Body, b.Body)
	}
	wantError(t, "second", b, 401, "invalid_client")
	h.settle()
	for _, r := range h.replicas {
		wantError(t, "later", r.post("/oauth2/token", form, "DPoP", m.proofFor(m.nonce[r])), 401, "invalid_client")
	}
	// One that starts later knows it from the log.
	late := h.replica(nil)
	h.settle()
	m.token(late)
	wantError(t, "at a new replica", late.post("/oauth2/token", form, "DPoP", m.proofFor(m.nonce[late])), 401, "invalid_client")
}
