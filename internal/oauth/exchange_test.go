package oauth_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/token"
)

// The chain that RFC 8693, section 4.1, shows: the outermost act is who acts now, and those before it
// are nested.
func TestExchange(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	alice, bob, carol := h.member("alice", "pay", "read-mail"), h.member("bob", "pay", "read-mail"), h.member("carol", "pay")
	h.set(func() { h.trust["alice"], h.trust["bob"] = "high", "low" })

	first := alice.token(r, "may_act", "bob", "resource", mailServer, "resource", fileServer, "txn", "t-1")
	a := h.claims(first.Token)
	if a.MayAct == nil || a.MayAct.Subject != "bob" || a.ACR != "urn:safeconduct:trust:high" {
		t.Errorf("may_act = %+v, acr = %q", a.MayAct, a.ACR)
	}
	h.advance(10 * time.Second)
	second := bob.exchange(r, first.Token, "may_act", "carol", "resource", mailServer)
	if second.Status != 200 || second.Issued != tokenType || second.Type != "DPoP" || second.ExpiresIn != 289 {
		t.Fatalf("answer = %d %s", second.Status, second.Body)
	}
	b := h.claims(second.Token)
	want := &token.Passport{
		Issuer: houseIssuer, Subject: "alice", ClientID: "bob", Audience: []string{mailServer}, ID: b.ID,
		IssuedAt: a.IssuedAt.Add(10 * time.Second), NotBefore: b.IssuedAt, Expires: a.Expires, AuthTime: a.AuthTime,
		Scope: a.Scope, Details: a.Details, ACR: "urn:safeconduct:trust:low", Txn: "t-1",
		Actor: &token.Actor{Subject: "bob", ID: a.ID}, MayAct: &token.Actor{Subject: "carol"},
		Confirmation: token.Confirmation{JKT: bob.proof.Key().ID}, Status: b.Status, Conduct: b.Conduct,
	}
	if d := cmp.Diff(want, b); d != "" {
		t.Errorf("bob's claims (-want +got):\n%s", d)
	}
	third := carol.exchange(r, second.Token, "scope", "pay")
	c := h.claims(third.Token)
	if d := cmp.Diff(&token.Actor{Subject: "carol", ID: b.ID, Actor: &token.Actor{Subject: "bob", ID: a.ID}}, c.Actor); d != "" {
		t.Errorf("carol's act (-want +got):\n%s", d)
	}
	if c.Subject != "alice" || c.ClientID != "carol" || c.ACR != "urn:safeconduct:trust:low" || third.Scope != "pay" {
		t.Errorf("carol's claims = %+v", c)
	}

	es := h.of(audit.TokenIssued)
	rec, err := oauth.ParseIssued(es[len(es)-1].Body)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{b.ID, a.ID}, rec.Ancestors); d != "" || rec.Parent != token.AccessTokenHash(second.Token) || !cmp.Equal(rec.Actors, []string{"carol", "bob"}) {
		t.Errorf("recorded %+v", rec)
	}
	last := h.requests[len(h.requests)-1]
	if last.Subject.ID != "carol" || !cmp.Equal(last.OnBehalf, []authz.Ref{{Type: "agent", ID: "bob"}, {Type: "agent", ID: "alice"}}) || last.Observed.Passport.Depth != 2 {
		t.Errorf("the judge was asked %+v", last)
	}

	// The shapes of the claims are those of RFC 8693, section 4.
	jws, err := token.Parse(third.Token)
	if err != nil {
		t.Fatal(err)
	}
	var raw struct {
		Act struct {
			Sub string
			Act struct{ Sub string }
		}
	}
	if err := json.Unmarshal(jws.Payload, &raw); err != nil || raw.Act.Sub != "carol" || raw.Act.Act.Sub != "bob" {
		t.Errorf("act = %+v, %v", raw, err)
	}
}

// In each respect an exchanged token is at most what it was exchanged from.
func TestExchangeOnlyNarrows(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	alice, bob := h.member("alice", "office", "pay", "read-mail"), h.member("bob", "office", "pay", "read-mail", "respond")
	subject := alice.token(r, "may_act", "bob", "scope", "read-mail", "resource", mailServer, "authorization_details",
		`[{"type":"capability","identifier":"pay","actions":["pay"],"locations":["`+mailServer+`"],"limits":{"class":"internal","amount":{"amount":"500"},"regions":["CH"]}}]`).Token
	detail := func(members string) []string {
		return []string{"authorization_details", `[{"type":"capability","identifier":"pay",` + members + `}]`}
	}
	for _, c := range []struct {
		name  string
		pairs []string
		code  string
	}{
		{"scope that the client has and the subject has not", []string{"scope", "read-mail respond"}, "invalid_scope"},
		{"scope that the subject has and its token has not", []string{"scope", "office"}, "invalid_scope"},
		{"detail of another capability", []string{"authorization_details", `[{"type":"capability","identifier":"respond"}]`}, "invalid_authorization_details"},
		{"amount", detail(`"limits":{"amount":{"amount":"500.01"}}`), "invalid_authorization_details"},
		{"class", detail(`"limits":{"class":"confidential"}`), "invalid_authorization_details"},
		{"region", detail(`"limits":{"regions":["CH","DE"]}`), "invalid_authorization_details"},
		{"actions", detail(`"actions":["pay","refund"]`), "invalid_authorization_details"},
		{"locations", detail(`"locations":["` + fileServer + `"]`), "invalid_authorization_details"},
		{"audience by resource", []string{"resource", fileServer}, "invalid_target"},
		{"audience by name", []string{"audience", fileServer}, "invalid_target"},
		{"one audience more", []string{"resource", mailServer, "resource", houseIssuer}, "invalid_target"},
	} {
		t.Run(c.name, func(t *testing.T) { wantError(t, c.name, bob.exchange(r, subject, c.pairs...), 400, c.code) })
	}

	// What is left out is as it was.
	for _, pairs := range [][]string{nil, {"scope", "pay"}, detail(`"limits":{"amount":{"amount":"500"}}`)} {
		out := bob.exchange(r, subject, pairs...)
		want := []authz.Detail{{Type: "capability", Identifier: "pay", Actions: []string{"pay"}, Locations: []string{mailServer},
			Limits: &authz.Limits{Class: "internal", Amount: map[string]string{"amount": "500"}, Regions: []string{"CH"}}}}
		if d := cmp.Diff(want, out.Details); d != "" {
			t.Errorf("%q: details (-want +got):\n%s", pairs, d)
		}
	}
	out := bob.exchange(r, subject, detail(`"limits":{"amount":{"amount":"20"}}`)...)
	if len(out.Details) != 1 || out.Details[0].Limits.Amount["amount"] != "20" || out.Details[0].Limits.Class != "internal" {
		t.Errorf("narrowed details = %s", out.Body)
	}

	// Expiry, and trust, which rises for nobody.
	h.advance(4*time.Minute + 50*time.Second)
	h.set(func() { h.trust["alice"], h.trust["bob"] = "high", "high" })
	out = bob.exchange(r, subject)
	if p := h.claims(out.Token); !p.Expires.Equal(h.claims(subject).Expires) || p.ACR != "urn:safeconduct:trust:medium" {
		t.Errorf("expires %v with acr %s, want %v with medium", p.Expires, p.ACR, h.claims(subject).Expires)
	}
	h.advance(6 * time.Second)
	wantError(t, "about to expire", bob.exchange(r, subject), 400, "access_denied")
	h.advance(4 * time.Second)
	wantError(t, "expired", bob.exchange(r, subject), 400, "invalid_request")
}

// The client's own grants bound what it can act with.
func TestExchangeNeedsTheActorsGrants(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	alice, bob := h.member("alice", "pay", "read-mail"), h.member("bob", "read-mail")
	subject := alice.token(r, "may_act", "bob").Token
	if out := bob.exchange(r, subject); out.Scope != "read-mail" || len(out.Refused) != 1 {
		t.Errorf("answer = %s", out.Body)
	}
	wantError(t, "what bob lacks", bob.exchange(r, subject, "scope", "pay"), 400, "access_denied")
}

func TestWhoMayExchange(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	alice, bob, carol := h.member("alice", "read-mail"), h.member("bob", "read-mail"), h.member("carol", "read-mail")
	plain, forBob := alice.token(r).Token, alice.token(r, "may_act", "bob").Token
	bobs := bob.exchange(r, forBob, "may_act", "carol").Token
	for _, c := range []struct {
		name    string
		who     *member
		subject string
		pairs   []string
	}{
		{"nobody may act", bob, plain, nil},
		{"another may act", carol, forBob, nil},
		{"the subject itself", alice, forBob, nil},
		{"the actor again", bob, bobs, nil},
		{"the subject hands it back to itself", bob, forBob, []string{"may_act", "alice"}},
		{"the subject as a later actor", alice, bobs, nil},
		{"another transaction", bob, alice.token(r, "may_act", "bob", "txn", "t-1").Token, []string{"txn", "t-2"}},
		{"no token", bob, "", nil},
		{"nonsense", bob, "abc", nil},
		{"another requested type", bob, forBob, []string{"requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"}},
		{"an actor without its type", bob, forBob, []string{"actor_token", plain}},
		{"somebody else's actor token", bob, forBob, []string{"actor_token", carol.token(r).Token, "actor_token_type", tokenType}},
		{"a delegated actor token", bob, forBob, []string{"actor_token", bobs, "actor_token_type", tokenType}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantError(t, c.name, c.who.exchange(r, c.subject, c.pairs...), 400, "invalid_request")
		})
	}
	wantError(t, "another subject type", bob.ask(r, "grant_type", exchange, "subject_token", forBob, "subject_token_type", "urn:ietf:params:oauth:token-type:id_token"), 400, "invalid_request")
	own := bob.token(r).Token
	if out := bob.exchange(r, forBob, "actor_token", own, "actor_token_type", tokenType, "requested_token_type", tokenType); out.Status != 200 {
		t.Errorf("with its own actor token: %s", out.Body)
	}
	// Its own, bound to another key than the request is proved with.
	key := bob.proof
	bob.proof = newSigner(t, "EdDSA")
	wantError(t, "an actor token of another key", bob.exchange(r, forBob, "actor_token", own, "actor_token_type", tokenType), 400, "invalid_request")
	bob.proof = key
}

func TestExchangeDepth(t *testing.T) {
	h := newHouse(t, 1, func(c *oauth.Config) { c.Depth = 2 })
	r := h.replicas[0]
	names := []string{"a", "b", "c", "d"}
	var members []*member
	for _, n := range names {
		members = append(members, h.member(n, "read-mail"))
	}
	text := members[0].token(r, "may_act", "b").Token
	for i := 1; i < 3; i++ {
		out := members[i].exchange(r, text, "may_act", names[i+1])
		if out.Status != 200 {
			t.Fatalf("exchange %d: %s", i, out.Body)
		}
		text = out.Token
	}
	wantError(t, "third exchange", members[3].exchange(r, text), 400, "invalid_request")
	if _, err := oauth.New(oauth.Config{Issuer: houseIssuer, Depth: 9}); err == nil {
		t.Error("a depth of 9 is accepted")
	}
}

// Whoever of a chain falls, takes the tokens behind it along.
func TestChainIsLive(t *testing.T) {
	h := newHouse(t, 2, nil)
	r := h.replicas[0]
	alice, bob, carol := h.member("alice", "read-mail"), h.member("bob", "read-mail"), h.member("carol", "read-mail")
	first := alice.token(r, "may_act", "bob").Token
	second := bob.exchange(r, first, "may_act", "carol").Token
	third := carol.exchange(r, second).Token
	other := bob.token(r).Token
	active := func(text string) bool {
		h.settle()
		a, b := h.replicas[0].introspect(text).Active, h.replicas[1].introspect(text).Active
		if a != b {
			t.Errorf("replicas differ")
		}
		return a
	}
	for _, id := range []authz.AgentID{"alice", "bob", "carol"} {
		h.setState(id, authz.AgentSuspended)
		if active(third) {
			t.Errorf("the token is active though %s is suspended", id)
		}
		h.setState(id, authz.AgentActive)
		if !active(third) {
			t.Errorf("the token is not active though %s is active again", id)
		}
	}
	h.setState("alice", authz.AgentSuspended)
	wantError(t, "exchange of a suspended agent's token", carol.exchange(r, second), 400, "invalid_request")
	h.setState("alice", authz.AgentActive)

	if out := r.post("/oauth2/revoke", bob.form("token", second)); out.Status != 200 {
		t.Fatalf("revocation: %d %s", out.Status, out.Body)
	}
	if !active(first) || active(second) || active(third) || !active(other) {
		t.Errorf("after the second of three is revoked: %v %v %v, another %v; want true false false, true", active(first), active(second), active(third), active(other))
	}
	wantError(t, "exchange of a revoked token", carol.exchange(h.replicas[1], second), 400, "invalid_request")
}
