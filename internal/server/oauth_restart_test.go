package server_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/safeconduct/safeconduct/internal/server"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// Tokens that were revoked and assertions that were used stay so when the service stops, and when it is
// killed: what is kept nowhere is known again from the log. What was not revoked goes on.
func TestPassportsOutliveTheService(t *testing.T) {
	for _, name := range []string{"stopped", "killed"} {
		t.Run(name, func(t *testing.T) {
			if name == "killed" && storetest.Config(t).Postgres != "" {
				t.Skip("a kill is a copy of the files, which are PostgreSQL's own")
			}
			cfg := passports(t)
			cfg.PublicURL = "http://localhost:8180" // whatever the port
			s := start(t, cfg)
			p, h := s.party("clerk", "EdDSA"), s.party("helper", "EdDSA")
			good, bad := p.token("read-ledger", "may_act", "helper").Token, p.token("read-ledger", "may_act", "helper").Token
			child := h.exchange(bad, "read-ledger").token().Token
			used := p.ask("read-ledger")
			used.token()
			if rep := p.form("/oauth2/revoke", "token", bad); rep.status != 200 {
				t.Fatalf("revoking: %d %s", rep.status, rep.body)
			}
			gone := h.token("read-ledger").Token
			if rep := s.do("POST", "/v1/agents/helper/keys/revoke", adminToken, object{"key": h.kid, "why": "test"}.json()); rep.status != 200 {
				t.Fatalf("revoking: %d %s", rep.status, rep.body)
			}
			pending := s.enrolment("helper")

			if name == "stopped" {
				if err := s.stop(); err != nil {
					t.Fatal(err)
				}
			} else { // the files as they are at this moment, while the service runs
				dir := t.TempDir()
				for _, f := range must(os.ReadDir(cfg.Data)) {
					if err := os.WriteFile(filepath.Join(dir, f.Name()), must(os.ReadFile(filepath.Join(cfg.Data, f.Name()))), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				cfg.Data = dir
			}
			cfg.Organisation = server.Organisation{}
			again := start(t, cfg)
			p, h = p.at(again), h.at(again)
			for what, access := range map[string]string{"revoked": bad, "exchanged for a revoked one": child, "of a revoked key": gone} {
				if again.active(access) {
					t.Errorf("a token that is %s is active again", what)
				}
				if rep := p.show(access, "list_entries", "").send(); rep.status != 401 {
					t.Errorf("a token that is %s is accepted: %d %s", what, rep.status, rep.body)
				}
			}
			carries(t, p, "after the start", good, "read-ledger")
			wantError(t, p.ask("read-ledger").with("jti", used.claims["jti"]).send(), 401, "invalid_client")
			wantError(t, h.ask("read-ledger").send(), 401, "invalid_client")
			// A proof from before is not good: this process has minted no nonce for it.
			wantError(t, p.ask("read-ledger").proving("nonce", used.proof["nonce"]).send(), 400, "use_dpop_nonce")
			carries(t, p, "got after the start", p.token("read-ledger").Token, "read-ledger")
			fresh := newKey("EdDSA")
			if rep := again.do("POST", "/oauth2/enroll", "", object{"token": pending, "proof": again.keyProof(fresh, "EdDSA", pending)}.json()); rep.status != 201 {
				t.Errorf("an enrolment token from before: %d %s", rep.status, rep.body)
			}
		})
	}
}
