package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// asSaid runs a command line and returns its status and what it printed.
func asSaid(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return status, out.String(), errs.String()
}

// Everything that makes a token worth nothing shows in verify, and show shows it all the same.
func TestTokenVerify(t *testing.T) {
	const us, shop = "https://pdp.example.com", "https://shop.example.com"
	signer, _, err := token.GenerateSigner("EdDSA", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stranger, _, err := token.GenerateSigner("ES256", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwks := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(jwks, []byte(`{"keys":[`+string(signer.Key().JWK())+`]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	passport := func(change func(*token.Passport)) []byte {
		p := &token.Passport{
			Issuer: us, Subject: "invoices", ClientID: "orders-7", Audience: []string{shop}, ID: "8Qy1", IssuedAt: now, Expires: now.Add(5 * time.Minute),
			Scope: []string{"read-orders"}, ACR: "urn:safeconduct:trust:high", Actor: &token.Actor{Subject: "orders-7", ID: "x"}, Confirmation: token.Confirmation{JKT: token.AccessTokenHash("k")},
			Details: []authz.Detail{{Type: authz.DetailType, Identifier: "pay", Limits: &authz.Limits{Amount: map[string]string{"amount": "100"}}}},
		}
		if change != nil {
			change(p)
		}
		return p.Append(nil)
	}
	sign := func(s *token.Signer, typ string, payload []byte) string {
		text, err := s.Sign(typ, payload)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good := sign(signer, token.PassportType, passport(nil))
	parts := strings.Split(good, ".")
	for name, c := range map[string]struct {
		text   string
		status int
		want   string
	}{
		"good":            {good, 0, "valid\nagent      orders-7\nacts for   invoices\nissuer     " + us},
		"another's key":   {sign(stranger, token.PassportType, passport(nil)), 3, "not valid: the issuer has no key"},
		"another payload": {parts[0] + "." + strings.Split(sign(signer, token.PassportType, passport(func(p *token.Passport) { p.ID = "9" })), ".")[1] + "." + parts[2], 3, "not valid: "},
		"another type":    {sign(signer, "JWT", passport(nil)), 3, `not valid: it is no access token: its type is "JWT"`},
		"another issuer":  {sign(signer, token.PassportType, passport(func(p *token.Passport) { p.Issuer = "https://evil.example.com" })), 3, "not valid: its issuer is https://evil.example.com"},
		"expired":         {sign(signer, token.PassportType, passport(func(p *token.Passport) { p.Expires = now.Add(-time.Second) })), 3, "not valid: it expired at"},
		"from the future": {sign(signer, token.PassportType, passport(func(p *token.Passport) { p.IssuedAt = now.Add(time.Minute) })), 3, "not valid: it is not valid before"},
		"for another":     {sign(signer, token.PassportType, passport(func(p *token.Passport) { p.Audience = []string{"https://b"} })), 3, "not valid: it is for [https://b], not for " + shop},
		"no claims":       {sign(signer, token.PassportType, []byte(`{}`)), 3, "not valid: the passport lacks"},
		"no token":        {"eyJ.x", 3, "not valid: "},
	} {
		status, out, errs := asSaid(t, c.text+"\n", "token", "verify", "--jwks", jwks, "--issuer", us+"/", "--audience", shop)
		if status != c.status || !strings.HasPrefix(out, c.want) {
			t.Errorf("%s: status %d, %s%s; want %d, %s", name, status, out, errs, c.status, c.want)
		}
		status, out, _ = asSaid(t, c.text, "token", "verify", "--jwks", jwks, "--issuer", us, "--audience", shop, "--json")
		var shown shownToken
		if err := json.Unmarshal([]byte(out), &shown); err != nil || status != c.status || shown.Verified != (status == 0) || (shown.Reason == "") != shown.Verified {
			t.Errorf("%s: status %d, %s (%v)", name, status, out, err)
		}
		if name == "no token" {
			continue
		}
		status, out, errs = asSaid(t, c.text, "token", "show")
		if status != 0 || !strings.Contains(errs, "not verified") || !strings.Contains(out, "signed ") {
			t.Errorf("%s: show: status %d, %s%s", name, status, out, errs)
		}
	}
	_, out, _ := asSaid(t, good, "token", "show")
	for _, want := range []string{"carries    read-orders\n", `limits     pay: {"limits":{"amount":{"amount":"100"}}}` + "\n", "expires    ", " (in 5m0s)\n", "bound to   dpop ", "trust      high\n", "signed     EdDSA, key " + signer.Key().ID} {
		if !strings.Contains(strings.ReplaceAll(out, "4m59s", "5m0s"), want) {
			t.Errorf("show printed no %q:\n%s", want, out)
		}
	}
	if _, _, errs := asSaid(t, good, "token", "verify", "--jwks", jwks, "--issuer", us); !strings.Contains(errs, "give --audience") {
		t.Errorf("without --audience: %s", errs)
	}
}

// What a stranger wrote into a token does not steer the terminal.
func TestTokenShowIsTame(t *testing.T) {
	signer, _, err := token.GenerateSigner("EdDSA", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signer.Sign("x", []byte(`{"a":"\u001b[2J","b":"`+"\u202e"+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, out, _ := asSaid(t, text, "token", "show"); strings.ContainsAny(out, "\x1b\u202e") || !strings.HasPrefix(out, "type       x\nclaims     {") {
		t.Errorf("show printed %q", out)
	}
}
