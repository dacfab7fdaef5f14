package server_test

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/safeconduct/safeconduct/internal/outside"
)

// The example organisation, and agents of it.
const (
	agentdojo = "../../examples/agentdojo/safeconduct.yaml"

	banker = "banking.gpt-4o-2024-05-13"
	teller = "banking.gpt-3.5-turbo-0125"
	clerk  = "workspace.gpt-4o-2024-05-13"
)

// privateJWK returns the JWK of a private key (RFC 8037, section 2; RFC 7518, section 6.2).
func privateJWK(key crypto.Signer) object {
	var d []byte
	switch k := key.(type) {
	case ed25519.PrivateKey:
		d = k.Seed()
	case *ecdsa.PrivateKey:
		d = must(k.Bytes())
	}
	return publicJWK(key).but("d", base64.RawURLEncoding.EncodeToString(d))
}

// OAuth clients that nobody here wrote (npm openid-client, oauth4webapi, jose) discover the server,
// authenticate, prove possession of keys, exchange, introspect, revoke and register.
func TestOAuthClients(t *testing.T) {
	node, dir := outside.Node(t, filepath.Join("testdata", "interop"), "openid-client")
	for _, alg := range []string{"EdDSA", "ES256"} {
		t.Run(alg, func(t *testing.T) {
			cfg := load(t, agentdojo)
			cfg.OAuth.Registration, cfg.OAuth.Algorithm = true, alg
			register := filepath.Join(t.TempDir(), "register.cedar")
			if err := os.WriteFile(register, []byte(`@id("register")
permit (principal is Agent, action == Action::"client.register", resource) when { principal == resource };`), 0o600); err != nil {
				t.Fatal(err)
			}
			// The example's guardrails let nobody register: what an agent was not granted it may not do.
			cfg.Organisation.Policies = []string{"../../examples/agentdojo/policies/10-functions.cedar", register}
			s := start(t, cfg)
			client := func(id string) map[string]any {
				p := s.party(id, alg)
				return map[string]any{"id": id, "jwk": privateJWK(p.key), "kid": p.kid}
			}
			setup, err := json.Marshal(map[string]any{
				"issuer": s.URL(), "alice": client(banker), "bob": client(teller), "carol": clerk, "enrolment": s.enrolment(clerk),
				"scope": "read-files see-accounts", "narrow": "see-accounts", "signed": alg,
				"delegation": map[string]string{"may_act": teller},
				"details": []any{map[string]any{"type": "capability", "identifier": "see-accounts",
					"limits": map[string]any{"class": "confidential"}}},
				"evaluation": map[string]any{"action": map[string]any{"name": "get_balance"},
					"resource": map[string]any{"type": "Account", "id": "current"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			checks := foreign(t, node, dir, "interop.mjs", setup)
			if want := 21; checks < want {
				t.Errorf("%d checks were made, want at least %d", checks, want)
			}
		})
	}
}

// foreign runs a script of clients that nobody here wrote, and reports each of its checks. It returns how many
// there were.
func foreign(t *testing.T, node, dir, script string, setup []byte) (checks int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), node, script)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, bytes.NewReader(setup), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Errorf("the clients ended with %v: %s", err, errs.Bytes())
	}
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		var check struct {
			Name, Error string
			OK          bool
		}
		if err := json.Unmarshal(lines.Bytes(), &check); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		checks++
		t.Run(check.Name, func(t *testing.T) {
			if !check.OK {
				t.Error(check.Error)
			}
		})
	}
	return checks
}
