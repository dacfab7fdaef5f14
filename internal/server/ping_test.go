package server_test

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// An agent whose address stands in the file of workloads is told there that a person has answered.
func TestPing(t *testing.T) {
	told := make(chan [2]string, 1)
	client := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusNoContent)
		told <- [2]string{r.Header.Get("Authorization"), string(body)}
	}))
	defer client.Close()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"ca.pem":         string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: client.Certificate().Raw})),
		"workloads.yaml": "private_networks: [127.0.0.0/8]\npings: {ca_file: ca.pem, agents: {clerk: \"" + client.URL + "/told\"}}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := personal(t)
	cfg.OAuth.Workloads = filepath.Join(dir, "workloads.yaml")
	s := start(t, cfg)
	anna := s.signedIn("anna")
	p := s.party("clerk", "EdDSA")
	const secret = "8d67dc78-7faa-4d41-aabd-67707b374255"
	var asked struct {
		ID string `json:"auth_req_id"`
	}
	s.into(p.form("/oauth2/bc-authorize", "login_hint", "anna", "scope", "read-ledger", "client_notification_token", secret), &asked)
	if rep := s.says(anna, asked.ID, false); rep.status != 200 {
		t.Fatalf("anna answers: %d %s", rep.status, rep.body)
	}
	if got, want := <-told, [2]string{"Bearer " + secret, `{"auth_req_id":"` + asked.ID + `"}`}; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if rep := p.ask("").set("grant_type", grantCIBA, "auth_req_id", asked.ID).send(); code(rep) != "access_denied" {
		t.Errorf("after the ping: %d %s", rep.status, rep.body)
	}
}
