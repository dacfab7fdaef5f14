package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/server"
)

// certificate writes a certificate for the loopback and returns its files and a pool that trusts it.
func certificate(t *testing.T) (server.TLS, *x509.CertPool) {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	dir := t.TempDir()
	files := server.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	write := func(path, kind string, b []byte) {
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(files.Cert, "CERTIFICATE", der)
	write(files.Key, "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key)))
	pool := x509.NewCertPool()
	pool.AddCert(must(x509.ParseCertificate(der)))
	return files, pool
}

func TestTLS(t *testing.T) {
	cfg := organisation(t, testdata("search"))
	var pool *x509.CertPool
	cfg.TLS, pool = certificate(t)
	s := start(t, cfg)
	if !strings.HasPrefix(s.URL(), "https://127.0.0.1:") {
		t.Errorf("URL %s", s.URL())
	}
	s.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	if seq, rep := s.decide(); seq == 0 {
		t.Errorf("status %d: %s", rep.status, rep.body)
	}
	var m map[string]any
	s.into(s.do("GET", "/.well-known/authzen-configuration", "", ""), &m)
	if m["policy_decision_point"] != s.URL() {
		t.Errorf("metadata %v", m)
	}
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11}}}
	if _, err := old.Get(s.URL() + "/healthz"); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

// The SDK against the real service: decisions, batches, searches, administration, kinds of error.
func TestClient(t *testing.T) {
	s := start(t, organisation(t, testdata("search")))
	ctx := t.Context()
	pep := must(client.New(s.URL(), pepToken))
	admin := must(client.New(s.URL(), adminToken))
	req := authz.Request{
		Subject:  authz.Entity{Ref: authz.Ref{Type: "user", ID: "alice"}},
		Action:   authz.Action{Name: "edit"},
		Resource: authz.Entity{Ref: authz.Ref{Type: "record", ID: "101"}},
		Observed: authz.Observed{Session: "s1", Obligations: []string{}},
	}
	d, err := pep.Decide(ctx, req)
	if err != nil || !d.Allowed() || d.Seq == 0 {
		t.Errorf("Decide = %+v, %v", d, err)
	}
	other := req
	other.Resource.ID = "102"
	ds, err := pep.DecideAll(ctx, []authz.Request{req, other, {}}, "")
	if err != nil || len(ds) != 3 || !ds[0].Allowed() || ds[1].Allowed() || ds[1].Code != authz.CodeNoPermit || ds[2].Code != authz.CodeInvalid {
		t.Errorf("DecideAll = %+v, %v", ds, err)
	}
	var found []string
	for page := (client.Page{Limit: 2}); ; {
		refs, next, err := pep.SearchResources(ctx, req, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range refs {
			found = append(found, r.ID)
		}
		if next == "" {
			break
		}
		page.Token = next
	}
	if got := strings.Join(found, " "); got != "101 107 110 113 119" {
		t.Errorf("alice edits %s", got)
	}
	if names, _, err := pep.SearchActions(ctx, req, client.Page{}); err != nil || strings.Join(names, " ") != "delete edit view" {
		t.Errorf("SearchActions = %v, %v", names, err)
	}
	if _, err := admin.Decide(ctx, req); !isKind(err, authz.ErrForbidden) {
		t.Errorf("an administrator who observes: %v", err)
	}
	var a authz.Agent
	body := map[string]any{"owner": "o", "purpose": "p", "version": "1", "if_revision": 0, "why": "test"}
	if err := admin.Do(ctx, "PUT", "/v1/agents/bot", body, &a); err != nil || a.Revision != 1 {
		t.Errorf("registering: %+v, %v", a, err)
	}
	if err := admin.Do(ctx, "PUT", "/v1/agents/bot", body, &a); !isKind(err, authz.ErrConflict) {
		t.Errorf("registering again: %v", err)
	}
	if err := pep.Do(ctx, "GET", "/v1/agents/bot", nil, &a); !isKind(err, authz.ErrForbidden) {
		t.Errorf("an enforcement point that administers: %v", err)
	}
	stranger := must(client.New(s.URL(), "sc_pep_unknown"))
	if d, err := stranger.Decide(ctx, req); d.Allowed() || !isKind(err, authz.ErrUnauthenticated) {
		t.Errorf("a stranger: %v, %v", d.Effect, err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if d, err := pep.Decide(ctx, req); d.Allowed() || !isKind(err, authz.ErrUnavailable) {
		t.Errorf("a service that has stopped: %v, %v", d.Effect, err)
	}
}

// Traces go where they are configured to, and hold no token and no body.
func TestTraces(t *testing.T) {
	var mu sync.Mutex
	var sent []byte
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, b...)
	}))
	defer collector.Close()
	cfg := organisation(t, testdata("search"))
	cfg.Telemetry = server.Telemetry{Endpoint: collector.URL, Sample: 1}
	s := start(t, cfg)
	if seq, _ := s.decide(); seq == 0 {
		t.Fatal("no decision")
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(string(sent), "safeconduct") {
		t.Errorf("%d bytes of traces do not name the service", len(sent))
	}
	for _, secret := range []string{pepToken, "alice"} {
		if strings.Contains(string(sent), secret) {
			t.Errorf("the traces hold %q", secret)
		}
	}
}

// If the public URL has a path, the routes are below it, and the metadata before it (RFC 8615).
func TestPublicPath(t *testing.T) {
	cfg := organisation(t, testdata("search"))
	cfg.PublicURL = "https://pdp.example.com/tenant1/"
	s := start(t, cfg)
	var m map[string]any
	s.into(s.do("GET", "/.well-known/authzen-configuration/tenant1", "", ""), &m)
	if m["policy_decision_point"] != "https://pdp.example.com/tenant1" || m["access_evaluation_endpoint"] != "https://pdp.example.com/tenant1/access/v1/evaluation" {
		t.Errorf("metadata %v", m)
	}
	for _, path := range []string{"/tenant1/access/v1/evaluation", "/access/v1/evaluation"} {
		if r := s.ask(path, view); r.status != 200 {
			t.Errorf("%s: status %d", path, r.status)
		}
	}
	if r := s.ask("/tenant2/access/v1/evaluation", view); r.status != 404 {
		t.Errorf("another tenant: status %d", r.status)
	}
}
