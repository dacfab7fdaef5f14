package oauth_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/stop"
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

// Decisions see no more of an exchanged token than its acr tells, also when the level is over.
func TestAssuranceOfExchangedTokens(t *testing.T) {
	o := newOffice(t, 1, func(c *oauth.Config) { c.AllowBearer = true })
	r := o.replicas[0]
	teller, filer := o.member("teller", "pay"), o.member("filer", "pay")
	for _, c := range []struct{ name, text, want string }{
		{"of one that is bound to nothing", r.post("/oauth2/token", teller.form("grant_type", "client_credentials", "may_act", "filer")).Token, "urn:safeconduct:trust:medium"},
		{"of one of a level", teller.token(r, "may_act", "filer").Token, "urn:example:keyed"},
	} {
		second := filer.exchange(r, c.text)
		if judged := o.requests[len(o.requests)-1].Observed.Passport; judged.Auth.ACR != c.want || judged.Depth != 1 {
			t.Errorf("%s: the judge was asked of %+v, want acr %s", c.name, judged, c.want)
		}
		b, err := r.server.Passport(t.Context(), present(filer, second.Token))
		if err != nil || b.Passport.Auth.ACR != c.want {
			t.Errorf("%s: authentication = %+v, %v, want acr %s", c.name, b.Passport.Auth, err, c.want)
		}
	}
	id := teller.asked(r, "scope", "pay", "acr_values", annaSays, "may_act", "filer")
	o.answer(id, nil)
	second := filer.exchange(r, teller.redeem(r, id).Token)
	for _, want := range []string{annaSays, "urn:safeconduct:trust:medium"} {
		if b, err := r.server.Passport(t.Context(), present(filer, second.Token)); err != nil || b.Passport.Auth.ACR != want {
			t.Errorf("of one of a person: authentication = %+v, %v, want acr %s", b.Passport.Auth, err, want)
		}
		o.advance(3 * time.Minute)
	}
}

// What is demanded of those who act for others only, nobody reaches by exchanging: neither agent did both of
// what the level demands.
func TestDecisionsReachNoMoreByExchange(t *testing.T) {
	o := newOffice(t, 0, nil)
	set, err := policy.Compile(policy.Source{Schema: houseSchema, Files: []policy.File{{Name: "issue.cedar", Text: `
@id("carry") permit (principal is Agent, action == Action::"token.issue", resource is Capability);
@id("keyed") @remedy("step_up") @assurance("keyed") forbid (principal, action == Action::"token.issue", resource == Capability::"pay")
  when { context.observed.passport.depth > 0 };`}}}, o.catalog)
	if err != nil {
		t.Fatal(err)
	}
	j := &judgeOf{house: o.house, set: set}
	j.PDP = &pdp.PDP{Agents: keyed{o.house}, Policies: j, Risks: j, Conduct: unjudged{}, Stops: stop.NewBoard(stop.Config{}), Fresh: o.Fresh, Now: o.Now}
	r := o.replica(func(c *oauth.Config) { c.Judge, c.AllowBearer = j, true })
	teller, filer := o.member("teller", "pay", "read-mail"), o.member("filer", "pay", "read-mail")
	loose := r.post("/oauth2/token", teller.form("grant_type", "client_credentials", "may_act", "filer"))
	for _, c := range []struct{ name, text, want string }{
		{"of one that is bound to nothing", loose.Token, "read-mail"},
		{"of one of the level", teller.token(r, "may_act", "filer").Token, "pay read-mail"},
	} {
		out := filer.exchange(r, c.text)
		if out.Scope != c.want {
			t.Errorf("%s: scope = %q, want %q: %s", c.name, out.Scope, c.want, out.Body)
		}
		if in := r.introspect(out.Token); in.Scope != c.want {
			t.Errorf("%s: introspected scope = %q, want %q", c.name, in.Scope, c.want)
		}
	}
}

// Levels can demand of persons what a passkey proves, all of it and nothing else.
func TestAssuranceByPasskey(t *testing.T) {
	parse := func(amr []string) (*catalog.Catalog, error) {
		return catalog.Parse("catalog.yaml", []byte("assurance: {l: {person: true, amr: ["+strings.Join(amr, ", ")+"]}}"))
	}
	cat, err := parse(oauth.PasskeyAMR)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	if got := cat.Assured(&authz.Authentication{Person: "anna", AMR: oauth.PasskeyAMR, At: now}, now); !cmp.Equal(got, []string{"l"}) {
		t.Errorf("a passkey reaches %q, want the level", got)
	}
	known := slices.Sorted(slices.Values(oauth.PasskeyAMR))
	if _, err := parse([]string{"hwk"}); err == nil || !strings.Contains(err.Error(), "one of "+strings.Join(known, ", ")) {
		t.Errorf("a method that nobody uses: %v, want it refused and %q named", err, known)
	}
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
