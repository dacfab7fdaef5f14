package token_test

import (
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func newSigner(t testing.TB, alg string) (*token.Signer, crypto.Signer) {
	t.Helper()
	s, private, err := token.GenerateSigner(alg, rand.Reader)
	if err != nil {
		t.Fatalf("GenerateSigner(%s): %v", alg, err)
	}
	return s, private
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// typical is the passport of a typical agent: four capabilities, one of them limited.
func typical() *token.Passport {
	return &token.Passport{
		Issuer: "https://auth.example.com", Subject: "billing-agent", ClientID: "billing-agent",
		Audience: []string{"https://erp.example.com"}, ID: "q3nWvXkHk9s2cLrT8yB1fA",
		IssuedAt: noon, Expires: noon.Add(5 * time.Minute),
		Scope: []string{"invoice.read", "invoice.write", "ledger.read", "payment.create"},
		Details: []authz.Detail{
			{Type: authz.DetailType, Identifier: "invoice.read"},
			{Type: authz.DetailType, Identifier: "invoice.write"},
			{Type: authz.DetailType, Identifier: "ledger.read"},
			{Type: authz.DetailType, Identifier: "payment.create", Limits: &authz.Limits{
				Amount: map[string]string{"amount": "5000"},
			}},
		},
		Confirmation: token.Confirmation{JKT: rfc9449ID},
		Status:       &token.StatusRef{Index: 51234, URI: "https://auth.example.com/oauth2/status/3"},
		Conduct: &token.Conduct{
			Level: "established", Score: 0.97, Window: "P30D", Decisions: 18231, Denied: 12, AsOf: 4182231,
			History: &token.History{
				URI: "/history/billing-agent", Digest: rfc8037ID, Size: 18231,
			},
		},
	}
}
