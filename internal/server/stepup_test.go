package server_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An agent whose authentication is too old is told which acr would do, asks for it at the token endpoint, and
// goes on (RFC 9470 for agents).
func TestStepUpOfAnAgent(t *testing.T) {
	cfg := passports(t)
	dir := t.TempDir()
	catalog := string(must(os.ReadFile(cfg.Organisation.Catalog))) + `
assurance:
  fresh: {title: Authenticated just now, acr: "urn:example:fresh", methods: [private_key_jwt], bound: [dpop], max_age: 1m}
  attested: {title: Attested by the platform, acr: "urn:example:attested", methods: [spiffe_jwt]}
`
	const policy = `@id("fresh-books") @remedy("step_up") @assurance("fresh")
forbid (principal is Agent, action == Action::"list_entries", resource);
@id("attested-payments") @remedy("step_up") @assurance("attested")
forbid (principal is Agent, action == Action::"pay", resource);`
	for name, text := range map[string]string{"catalog.yaml": catalog, "stepup.cedar": policy} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Organisation.Catalog = filepath.Join(dir, "catalog.yaml")
	cfg.Organisation.Policies = append(cfg.Organisation.Policies, filepath.Join(dir, "stepup.cedar"))
	now := new(clock)
	cfg.SetNow(now.Now)
	s := start(t, cfg)
	p := s.party("clerk", "EdDSA")

	// demanded returns the acr that a refusal asks for, "" if it is none that stronger authentication lifts.
	demanded := func(rep reply) string {
		var d struct {
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
		s.into(rep, &d)
		if d.Decision || len(d.Context.Obligations) != 1 || d.Context.Obligations[0].Type != "step-up" {
			return ""
		}
		return d.Context.Obligations[0].Properties.ACR
	}
	first := p.token("read-ledger").Token
	if c := claimsOf(t, first); c["acr"] != "urn:example:fresh" {
		t.Errorf("acr = %v", c["acr"])
	}
	if rep := p.show(first, "list_entries", "").send(); !decided(t, rep) {
		t.Errorf("at once: %s", rep.body)
	}
	now.advance(2 * time.Minute)
	acr := demanded(p.show(first, "list_entries", "").send())
	if acr != "urn:example:fresh" {
		t.Fatalf("two minutes later the acr %q is demanded", acr)
	}
	second := p.token("read-ledger", "acr_values", acr, "max_age", "60").Token
	if rep := p.show(second, "list_entries", "").send(); !decided(t, rep) {
		t.Errorf("after the step: %s", rep.body)
	}

	acr = demanded(p.show(p.token("pay-invoices").Token, "pay", `{"amount":"1.5"}`).send())
	if acr != "urn:example:attested" {
		t.Fatalf("for a payment the acr %q is demanded", acr)
	}
	if rep := p.ask("pay-invoices", "acr_values", acr).send(); rep.status != 400 || code(rep) != "unmet_authentication_requirements" {
		t.Errorf("a level that a key does not reach: %d %s", rep.status, rep.body)
	}
}
