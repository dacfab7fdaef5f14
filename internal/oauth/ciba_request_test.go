package oauth_test

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/token"
)

// signed returns a signed request with these changes; nil takes a claim out.
func (m *member) signed(by *token.Signer, changes map[string]any) string {
	m.h.t.Helper()
	now := m.h.Now().Unix()
	claims := map[string]any{
		"iss": m.id, "aud": houseIssuer, "jti": rand.Text(), "iat": now, "nbf": now, "exp": now + 60, "login_hint": "anna", "scope": "read-mail",
		"binding_message": "W4-SCT", "requested_expiry": 90, "resource": []string{mailServer}, "authorization_details": json.RawMessage(payFifty),
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	body, err := json.Marshal(claims)
	if err != nil {
		m.h.t.Fatal(err)
	}
	text, err := by.Sign("JWT", body)
	if err != nil {
		m.h.t.Fatal(err)
	}
	return text
}

// A signed request says all that is asked, by a key of the client, once (CIBA Core 1.0, section 7.1.1).
func TestSignedRequest(t *testing.T) {
	o := newOffice(t, 2, nil)
	r := o.replicas[0]
	teller, filer := o.member("teller", "pay", "read-mail"), o.member("filer", "pay")
	text := teller.signed(teller.key, nil)
	out := teller.inquire(r, "request", text)
	id, _ := out.Members["auth_req_id"].(string)
	c := o.asks[id]
	if out.Status != 200 || c == nil || c.Person != "anna" || c.Message != "W4-SCT" || len(c.Details) != 2 || c.Terms.Audience[0] != mailServer || out.Members["expires_in"] != 90.0 {
		t.Fatalf("%d %s: asked %+v", out.Status, out.Body, c)
	}
	if got := c.Details[0].Limits.Amount["amount"]; got != "50" {
		t.Errorf("amount = %s, want 50", got)
	}
	o.settle()
	for _, r := range o.replicas {
		wantError(t, "used twice", teller.inquire(r, "request", text), 400, "invalid_request")
	}
	now := o.Now().Unix()
	for _, c := range []struct {
		name  string
		pairs []string
	}{
		{"parameters beside it", []string{"request", teller.signed(teller.key, nil), "scope", "pay"}},
		{"another's key", []string{"request", teller.signed(filer.key, nil)}},
		{"nobody's key", []string{"request", teller.signed(newSigner(t, "EdDSA"), nil)}},
		{"no JWS", []string{"request", "eyJ"}},
		{"another issuer", []string{"request", teller.signed(teller.key, map[string]any{"iss": "filer"})}},
		{"another audience", []string{"request", teller.signed(teller.key, map[string]any{"aud": mailServer})}},
		{"two audiences", []string{"request", teller.signed(teller.key, map[string]any{"aud": []string{houseIssuer, mailServer}})}},
		{"no jti", []string{"request", teller.signed(teller.key, map[string]any{"jti": nil})}},
		{"no exp", []string{"request", teller.signed(teller.key, map[string]any{"exp": nil})}},
		{"no iat", []string{"request", teller.signed(teller.key, map[string]any{"iat": nil})}},
		{"no nbf", []string{"request", teller.signed(teller.key, map[string]any{"nbf": nil})}},
		{"expired", []string{"request", teller.signed(teller.key, map[string]any{"exp": now})}},
		{"not valid yet", []string{"request", teller.signed(teller.key, map[string]any{"nbf": now + 40})}},
		{"good for too long", []string{"request", teller.signed(teller.key, map[string]any{"exp": now + 400})}},
		{"valid for too long", []string{"request", teller.signed(teller.key, map[string]any{"nbf": now - 400})}},
		{"a parameter that is no text", []string{"request", teller.signed(teller.key, map[string]any{"scope": 1})}},
		{"two hints", []string{"request", teller.signed(teller.key, map[string]any{"id_token_hint": "x"})}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantError(t, c.name, teller.inquire(r, c.pairs...), 400, "invalid_request")
		})
	}
	if len(o.asks) != 1 {
		t.Errorf("%d persons were asked, want 1", len(o.asks))
	}
}

// Whatever a signed request holds, its parameters are texts that a form could hold.
func FuzzSignedRequest(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, `{"iss":"a","aud":["b"],"exp":1,"iat":1,"nbf":1,"jti":"x","login_hint":"anna","requested_expiry":"5"}`,
		`{"authorization_details":[{"type":"capability"}],"resource":["a","b"],"requested_expiry":1e3}`, `{"a":"\u0000"}`, `{"a":1,"a":2}`, `{"aud":1}`, `{"":"0"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		form, err := oauth.ParseSigned(payload)
		if err != nil {
			return
		}
		again, err := oauth.ParseForm(form.Encode())
		if err != nil {
			t.Fatalf("ParseSigned(%q) = %q, which is no form: %v", payload, form.Encode(), err)
		}
		for name := range again {
			if form.Get(name) != again.Get(name) {
				t.Fatalf("%s = %q as a form %q", name, form.Get(name), again.Get(name))
			}
		}
	})
}

// What is shown to a person is one line of what can be seen.
func FuzzMessage(f *testing.F) {
	for _, seed := range []string{"", "W4-SCT", "Überweisung 50 €", "a\u202eb", "a\u00a0b", " a", "\ufeff", "\x1b[31m", strings.Repeat("x", 129),
		"a\u3164", "\u115f", "\u1160", "\uffa0", "a\u034f", "a\ufe0f", "\u2800", "a\U000e0100", "a\u180b", "a\u17b4", "\U0001d159", "\u2003"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !oauth.IsMessage(s) {
			return
		}
		if n := len([]rune(s)); n > 128 || strings.TrimSpace(s) != s || strings.ContainsAny(s, "\r\n\t\x1b\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200e\u200f\ufeff"+
			"\u034f\u115f\u1160\u17b4\u17b5\u180b\u2003\u2065\u2800\u3164\ufe0f\uffa0\U0001d159\U000e0100") {
			t.Errorf("IsMessage(%q) = true", s)
		}
	})
}
