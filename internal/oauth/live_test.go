package oauth_test

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/token"
)

const fetched = "https://mail.example/inbox"

// present returns a token as its bearer presents it to the mail server.
func (m *member) present(text string) authz.Presented {
	m.h.t.Helper()
	proof := m.prove(token.Proof{ID: rand.Text(), Method: "GET", URL: fetched, IssuedAt: m.h.Now()}, text)
	return authz.Presented{Token: text, Scheme: "dpop", Proof: proof, Method: "GET", URL: fetched + "?page=2", Audience: mailServer}
}

func TestPassport(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	alice, bob := h.member("alice", "pay", "read-mail"), h.member("bob", "pay", "read-mail")
	first := alice.token(r, "may_act", "bob", "resource", mailServer, "resource", fileServer, "scope", "read-mail",
		"authorization_details", `[{"type":"capability","identifier":"pay","locations":["`+fileServer+`"],"limits":{"amount":{"amount":"5"}}}]`).Token
	second := bob.exchange(r, first).Token
	p := h.claims(second)

	got, err := r.server.Passport(t.Context(), bob.present(second))
	want := authz.Bearer{Agent: "bob", OnBehalf: []authz.Ref{{Type: "agent", ID: "alice"}}, Passport: authz.Passport{
		ID: p.ID, Bound: "dpop", Depth: 1, Expires: p.Expires, Details: []authz.Detail{{Type: "capability", Identifier: "read-mail"}},
		Auth: authz.Authentication{ACR: "urn:safeconduct:trust:medium", Method: "private_key_jwt", Bound: "dpop", At: p.AuthTime}}}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("Passport = %v (-want +got):\n%s", err, d)
	}
	pr := bob.present(second)
	pr.Audience = fileServer
	got, err = r.server.Passport(t.Context(), pr)
	if err != nil || len(got.Passport.Details) != 2 || got.Passport.Details[0].Limits.Amount["amount"] != "5" {
		t.Errorf("at the file server: %+v, %v", got, err)
	}
	pr = bob.present(second)
	pr.Scheme = "" // forwarded by an enforcement point, perhaps more than once
	for range 2 {
		if _, err := r.server.Passport(t.Context(), pr); err != nil {
			t.Errorf("forwarded: %v", err)
		}
	}
}

// TestPassportShown has an enforcement point forward a passport again, minutes after it was shown there.
func TestPassportShown(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	alice := h.member("alice", "pay", "read-mail")
	text := alice.token(r, "resource", mailServer, "scope", "read-mail").Token
	pr := alice.present(text)
	pr.Scheme, pr.Shown = "", h.Now()
	h.advance(3 * time.Minute)
	if _, err := r.server.Passport(t.Context(), pr); err != nil {
		t.Errorf("three minutes after it was shown: %v", err)
	}
	pr.Shown = time.Time{}
	if _, err := r.server.Passport(t.Context(), pr); !errors.Is(err, authz.ErrUnauthenticated) {
		t.Errorf("a proof that is three minutes old, of which nobody says when it was shown: %v, want unauthenticated", err)
	}
	for _, at := range []time.Duration{-authz.MaxShown - time.Second, -time.Minute, 2 * time.Minute} {
		pr.Shown = h.Now().Add(at)
		if _, err := r.server.Passport(t.Context(), pr); !errors.Is(err, authz.ErrUnauthenticated) {
			t.Errorf("said to be shown %v from now: %v, want unauthenticated", at, err)
		}
	}
}

func TestPassportRefuses(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	alice := h.member("alice", "read-mail")
	text := alice.token(r).Token
	other := alice.token(r).Token
	thief := &member{h: h, id: "thief", proof: newSigner(t, "EdDSA")}
	edit := func(f func(*authz.Presented)) authz.Presented {
		pr := alice.present(text)
		f(&pr)
		return pr
	}
	for _, c := range []struct {
		name string
		pr   authz.Presented
		code string
	}{
		{"another audience", edit(func(p *authz.Presented) { p.Audience = fileServer }), "invalid_token"},
		{"no audience", edit(func(p *authz.Presented) { p.Audience = "" }), "invalid_token"},
		{"as a bearer token", edit(func(p *authz.Presented) { p.Scheme = "bearer" }), "invalid_token"},
		{"without proof", edit(func(p *authz.Presented) { p.Proof = "" }), "invalid_dpop_proof"},
		{"nonsense for a proof", edit(func(p *authz.Presented) { p.Proof = "x" }), "invalid_dpop_proof"},
		{"another method", edit(func(p *authz.Presented) { p.Method = "POST" }), "invalid_dpop_proof"},
		{"another URL", edit(func(p *authz.Presented) { p.URL = "https://mail.example/outbox" }), "invalid_dpop_proof"},
		{"proof of another token", edit(func(p *authz.Presented) { p.Token = other }), "invalid_dpop_proof"},
		{"proof of a thief", thief.present(text), "invalid_token"},
		{"a certificate for a proof", edit(func(p *authz.Presented) { p.Proof, p.Certificate = "", "x" }), "invalid_dpop_proof"},
		{"no nonce of ours", edit(func(p *authz.Presented) { p.OwnNonce = true }), "use_dpop_nonce"},
	} {
		_, err := r.server.Passport(t.Context(), c.pr)
		ch, ok := errors.AsType[*oauth.Challenge](err)
		if !ok || ch.Code != c.code || !errors.Is(err, authz.ErrUnauthenticated) {
			t.Errorf("%s: %v, want a challenge %s", c.name, err, c.code)
			continue
		}
		if want := `DPoP error="` + c.code + `", algs="EdDSA Ed25519 ES256 PS256 RS256"`; ch.Header() != want {
			t.Errorf("%s: header %s, want %s", c.name, ch.Header(), want)
		}
	}
	late := alice.present(text)
	h.advance(31 * time.Second)
	if _, err := r.server.Passport(t.Context(), late); err == nil {
		t.Error("an old proof is taken")
	}
	h.setState("alice", authz.AgentQuarantined)
	if _, err := r.server.Passport(t.Context(), alice.present(text)); !errors.Is(err, authz.ErrUnauthenticated) {
		t.Errorf("of a quarantined agent: %v", err)
	}
	h.set(func() { h.stale = true })
	if _, err := r.server.Passport(t.Context(), alice.present(text)); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("while nothing is known: %v", err)
	}
}

// What is presented to ourselves carries a nonce of ours, once.
func TestPassportWithOwnNonce(t *testing.T) {
	h := newHouse(t, 1, nil)
	r := h.replicas[0]
	alice := h.member("alice", "read-mail")
	text := alice.token(r, "resource", houseIssuer).Token
	own := houseIssuer + "/access/v1/evaluation"
	pr := authz.Presented{Token: text, Scheme: "dpop", Method: "POST", URL: own, Audience: houseIssuer, OwnNonce: true}
	pr.Proof = alice.prove(token.Proof{ID: rand.Text(), Method: "POST", URL: own, IssuedAt: h.Now()}, text)
	_, err := r.server.Passport(t.Context(), pr)
	ch, ok := errors.AsType[*oauth.Challenge](err)
	if !ok || ch.Nonce == "" {
		t.Fatalf("without a nonce: %v", err)
	}
	pr.Proof = alice.prove(token.Proof{ID: rand.Text(), Method: "POST", URL: own, IssuedAt: h.Now(), Nonce: ch.Nonce}, text)
	if _, err := r.server.Passport(t.Context(), pr); err != nil {
		t.Errorf("with the nonce: %v", err)
	}
	if _, err := r.server.Passport(t.Context(), pr); err == nil {
		t.Error("the proof is taken twice")
	}
}
