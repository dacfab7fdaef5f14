package oauth_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/oauth"
)

// An agent gets the level that its authentication reaches, and asks for one by acr_values (RFC 9470).
func TestAssurance(t *testing.T) {
	o := newOffice(t, 1, nil)
	r := o.replicas[0]
	teller, filer := o.member("teller", "pay", "read-mail"), o.member("filer", "pay", "read-mail")
	o.set(func() { o.trust["teller"], o.trust["filer"] = "high", "low" })

	first := teller.token(r, "may_act", "filer")
	p := o.claims(first.Token)
	if p.ACR != "urn:example:keyed" || p.Conduct.Level != "high" {
		t.Errorf("acr = %q, conduct = %+v: want the level, and trust in the conduct", p.ACR, p.Conduct)
	}
	if in := r.introspect(first.Token); in.Members["acr"] != "urn:example:keyed" {
		t.Errorf("introspection = %s", in.Body)
	}
	// The conduct of an exchanged token tells the least trust of its chain, and never rises above it.
	second := filer.exchange(r, first.Token)
	if q := o.claims(second.Token); q.ACR != "urn:example:keyed" || q.Conduct.Level != "low" {
		t.Errorf("exchanged: acr = %q, conduct = %+v", q.ACR, q.Conduct)
	}
	o.set(func() { o.trust["teller"], o.trust["filer"] = "high", "high"; o.risks++ })
	var in struct {
		Conduct struct{ Level string } `json:"urn:safeconduct:conduct"`
	}
	if out := r.introspect(second.Token); json.Unmarshal(out.Body, &in) != nil || in.Conduct.Level != "low" {
		t.Errorf("introspected conduct = %+v, want no more trust than when it was issued: %s", in.Conduct, out.Body)
	}
	b, err := r.server.Passport(t.Context(), teller.present(first.Token))
	if want := (authz.Authentication{ACR: "urn:example:keyed", Method: "private_key_jwt", Bound: "dpop", At: p.AuthTime}); err != nil || !cmp.Equal(b.Passport.Auth, want) {
		t.Errorf("authentication = %+v, %v, want %+v", b.Passport.Auth, err, want)
	}

	for _, c := range []struct {
		name, code string
		pairs      []string
	}{
		{"level reached", "", []string{"acr_values", "urn:example:attested urn:example:keyed"}},
		{"level not reached", "unmet_authentication_requirements", []string{"acr_values", "urn:example:attested"}},
		{"level of persons", "unmet_authentication_requirements", []string{"acr_values", annaSays}},
		{"trust is no level", "unmet_authentication_requirements", []string{"acr_values", "urn:safeconduct:trust:high"}},
		{"recent", "", []string{"max_age", "0"}},
		{"age no number", "invalid_request", []string{"max_age", "-1"}},
		{"two spaces", "invalid_request", []string{"acr_values", "a  b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := teller.ask(r, append([]string{"grant_type", "client_credentials"}, c.pairs...)...)
			if c.code == "" {
				if got := o.claims(out.Token); out.Status != 200 || got.ACR != "urn:example:keyed" {
					t.Errorf("%d %s, acr %q", out.Status, out.Body, got.ACR)
				}
				return
			}
			wantError(t, c.name, out, 400, c.code)
		})
	}

	o.advance(time.Minute)
	wantError(t, "exchange of an old authentication", filer.exchange(r, first.Token, "max_age", "59"), 400, "unmet_authentication_requirements")
	if out := filer.exchange(r, first.Token, "max_age", "61"); out.Status != 200 {
		t.Errorf("exchange of a younger one: %d %s", out.Status, out.Body)
	}
}

// A token that was exchanged reaches no level that the exchanged one did not.
func TestAssuranceIsNotGainedByExchange(t *testing.T) {
	bearer := func(c *oauth.Config) { c.AllowBearer = true }
	o := newOffice(t, 1, bearer)
	r := o.replicas[0]
	teller, filer := o.member("teller", "pay"), o.member("filer", "pay")
	first := r.post("/oauth2/token", teller.form("grant_type", "client_credentials", "may_act", "filer"))
	if p := o.claims(first.Token); p.ACR != "urn:safeconduct:trust:medium" {
		t.Errorf("bearer token: acr = %q", p.ACR)
	}
	second := filer.exchange(r, first.Token)
	if p := o.claims(second.Token); p.ACR != "urn:safeconduct:trust:medium" {
		t.Errorf("exchanged for a bound one: acr = %q", p.ACR)
	}
	wantError(t, "asked for", filer.exchange(r, first.Token, "acr_values", "urn:example:keyed"), 400, "unmet_authentication_requirements")
}

// The metadata names the levels of the catalog of now, and how persons are asked.
func TestAssuranceMetadata(t *testing.T) {
	o := newOffice(t, 1, nil)
	m := o.replicas[0].get("/.well-known/oauth-authorization-server").Members
	want := map[string]any{
		"acr_values_supported":                                            []any{"urn:example:attested", "urn:example:keyed", annaSays, "urn:example:somebody"},
		"backchannel_authentication_endpoint":                             houseIssuer + "/oauth2/bc-authorize",
		"backchannel_token_delivery_modes_supported":                      []any{"poll", "ping"},
		"backchannel_user_code_parameter_supported":                       false,
		"backchannel_authentication_request_signing_alg_values_supported": []any{"EdDSA", "Ed25519", "ES256", "PS256", "RS256"},
		"grant_types_supported":                                           []any{"client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer", exchange, grantCIBA},
	}
	for name, value := range want {
		if d := cmp.Diff(value, m[name]); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	for name := range newHouseReplica(t).get("/.well-known/openid-configuration").Members {
		if _, is := want[name]; is && name != "grant_types_supported" {
			t.Errorf("%s is there although nobody is asked", name)
		}
	}
}
