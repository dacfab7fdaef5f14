package server_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/server"
	"github.com/safeconduct/safeconduct/internal/token"
)

// page returns a page of the documentation.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fenced returns the first block of a language on a page that holds mark.
func fenced(t *testing.T, page, language, mark string) string {
	t.Helper()
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(page, -1) {
		if strings.Contains(m[1], mark) {
			return m[1]
		}
	}
	t.Fatalf("the page has no %s with %q", language, mark)
	return ""
}

// The table of docs/passports.md names every claim that a passport can have, its example has them all,
// and neither has another.
func TestPassportClaims(t *testing.T) {
	s := start(t, load(t, agentdojo))
	first := s.party(banker, "EdDSA").token("see-accounts read-files", "may_act", teller, "txn", "t-1",
		"authorization_details", `[{"type":"capability","identifier":"read-files","limits":{"class":"internal"}}]`).Token
	claims := map[string]json.RawMessage{}
	got := s.party(teller, "EdDSA").exchange(first, "", "may_act", clerk).send()
	var answer struct {
		Token string `json:"access_token"`
	}
	s.into(got, &answer)
	jws, err := token.Parse(answer.Token)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(jws.Payload, &claims); err != nil {
		t.Fatal(err)
	}
	text := page(t, "passports.md")
	var example map[string]json.RawMessage
	if err := json.Unmarshal([]byte(fenced(t, text, "json", `"iss"`)), &example); err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(text, "| claim | meaning | source |")
	table, _, _ = strings.Cut(table, "\n\n")
	for name := range claims {
		if !strings.Contains(table, "`"+name+"`") {
			t.Errorf("the table does not explain the claim %s", name)
		}
		if example[name] == nil {
			t.Errorf("the example has no claim %s", name)
		}
	}
	for name := range example {
		if claims[name] == nil {
			t.Errorf("the example has the claim %s, which no passport has", name)
		}
	}
	payload, err := json.Marshal(example)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.ParsePassport(payload); err != nil {
		t.Errorf("the example is no passport: %v", err)
	}
}

// What the metadata names stands on the page about passports.
func TestPassportEndpoints(t *testing.T) {
	cfg := load(t, agentdojo)
	cfg.OAuth.Registration = true
	s := start(t, cfg)
	text := page(t, "passports.md")
	var m map[string]any
	s.into(s.do("GET", "/.well-known/oauth-authorization-server", "", ""), &m)
	n := 0
	for name, v := range m {
		at, ok := v.(string)
		if path := strings.TrimPrefix(at, s.URL()); ok && path != at && path != "" {
			if n++; !strings.Contains(text, path+"`") {
				t.Errorf("docs/passports.md does not name %s, which is the %s", path, name)
			}
		}
	}
	if n < 8 {
		t.Errorf("the metadata names %d endpoints, want at least 8", n)
	}
	for _, list := range []string{"grant_types_supported", "token_endpoint_auth_methods_supported"} {
		for _, v := range m[list].([]any) {
			if !strings.Contains(text, v.(string)) {
				t.Errorf("docs/passports.md does not name %s of %s", v, list)
			}
		}
	}
}

// The workloads.yaml of docs/passports.md is read, and a token of the cluster that it trusts speaks of
// the agent that it says, and of nobody if a claim is another.
func TestWorkloadsExample(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "workloads.yaml")
	key, _, err := token.GenerateSigner("ES256", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk := string(key.Key().JWK())
	for name, text := range map[string]string{
		file:                                    fenced(t, page(t, "passports.md"), "yaml", "# workloads.yaml"),
		filepath.Join(dir, "cluster-keys.json"): `{"keys":[` + jwk + `]}`,
		filepath.Join(dir, "bundle.json"):       `{"keys":[` + strings.Replace(jwk, `"use":"sig"`, `"use":"jwt-svid"`, 1) + `]}`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := load(t, agentdojo)
	cfg.OAuth.Workloads = file
	s := start(t, cfg)
	agent := `{"owner":"shop","purpose":"household-banking","version":"1","capabilities":["see-accounts"],"why":"test"}`
	if got := s.do("PUT", "/v1/agents/reconciler", adminToken, agent); got.status != 200 {
		t.Fatalf("registering: %d %s", got.status, got.body)
	}
	for _, c := range []struct{ namespace, want string }{
		{"payments", "tokens are bound to a key"}, // it is known who asks; a proof is missing
		{"default", "invalid_grant"},
	} {
		now := time.Now().Unix()
		text, err := key.Sign("JWT", fmt.Appendf(nil, `{"iss":"https://kubernetes.default.svc.cluster.local","sub":"system:serviceaccount:%[1]s:reconciler",
			"aud":[%[2]q],"iat":%[3]d,"exp":%[4]d,"kubernetes.io":{"namespace":%[1]q,"serviceaccount":{"name":"reconciler"}}}`,
			c.namespace, s.URL(), now, now+600))
		if err != nil {
			t.Fatal(err)
		}
		form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {text}}
		got := s.do("POST", "/oauth2/token", "", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
		if got.status != 400 || !strings.Contains(got.body, c.want) {
			t.Errorf("a service account of the namespace %s: %d %s, want %s", c.namespace, got.status, got.body, c.want)
		}
	}
}

// The examples of configuration that docs/keys.md shows are configurations.
func TestKeysExamples(t *testing.T) {
	if _, err := server.Parse("docs/keys.md", []byte(fenced(t, page(t, "keys.md"), "yaml", "kms:"))); err != nil {
		t.Error(err)
	}
}

// docs/log-format.md names every member of the entry that records a passport.
func TestIssuedDocumented(t *testing.T) {
	text := page(t, "log-format.md")
	typ := reflect.TypeFor[oauth.Issued]()
	for i := range typ.NumField() {
		name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/log-format.md does not name %s", name)
		}
	}
	for _, kind := range []audit.Kind{audit.EnrolmentPut, audit.CredentialPut, audit.KeyPut, audit.TokenIssued, audit.TokenRevoked, audit.StatusBlock} {
		if !strings.Contains(text, "| `"+string(kind)+"` |") {
			t.Errorf("docs/log-format.md does not name %s", kind)
		}
	}
}

// The policies of docs/passports.md are policies of an organisation.
func TestPassportPolicies(t *testing.T) {
	dir := t.TempDir()
	n := 0
	for _, m := range regexp.MustCompile("(?s)```cedar\n(.*?)```").FindAllStringSubmatch(page(t, "passports.md"), -1) {
		n++
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.cedar", n)), []byte(m[1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n < 3 {
		t.Fatalf("the page has %d blocks of policies, want at least 3", n)
	}
	cfg := load(t, agentdojo)
	cfg.Organisation.Policies = []string{filepath.Join(dir, "*.cedar")}
	start(t, cfg)
}
