package oauth_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/outside"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A client that nobody here wrote (npm openid-client) asks a person and polls, and is told by a ping.
func TestCIBAClient(t *testing.T) {
	node, dir := outside.Node(t, filepath.Join("..", "server", "testdata", "interop"), "openid-client")
	for _, alg := range []string{"EdDSA", "ES256"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			own, pings := listen(t), listen(t)
			issuer := "http://" + own.Addr().String()
			port := pings.Addr().(*net.TCPAddr).Port
			pings.Close() // the client listens there when it wants to be told

			o := newOffice(t, 1, func(c *oauth.Config) {
				c.Issuer, c.Algorithm, c.Now = issuer, alg, time.Now
				c.Clients.Pings = map[authz.AgentID]string{"teller": "http://127.0.0.1:" + strconv.Itoa(port) + "/told"}
			})
			r := o.replicas[0]
			front := &http.Server{Handler: r.server.Handler(), ReadHeaderTimeout: time.Minute}
			go front.Serve(own)
			t.Cleanup(func() { front.Close() })
			stopped := make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			go func() { defer close(stopped); _ = r.server.Run(ctx) }()
			t.Cleanup(func() { cancel(); <-stopped })

			answers := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				var in struct {
					Ask string
					Yes bool
				}
				if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
					t.Error(err)
				}
				o.set(func() { o.now = time.Now() })
				o.answer(in.Ask, func(c *oauth.Consent) {
					if !in.Yes {
						c.Status = oauth.ConsentRefused
					}
				})
				w.WriteHeader(http.StatusNoContent)
			}))
			t.Cleanup(answers.Close)

			signer, private, err := token.GenerateSigner(alg, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			teller := o.member("teller", "read-mail")
			o.set(func() { // its key is the one that the client has
				o.creds[0] = &oauth.Credential{Agent: "teller", ID: signer.Key().ID, Key: signer.Key(), CreatedAt: o.creds[0].CreatedAt}
			})
			setup, err := json.Marshal(map[string]any{
				"issuer": issuer, "client": map[string]any{"id": teller.id, "kid": signer.Key().ID, "jwk": privateJWK(t, private)},
				"hint": "anna@example.com", "sub": "user:anna", "scope": "read-mail", "acr": annaSays, "answers": answers.URL, "port": port,
			})
			if err != nil {
				t.Fatal(err)
			}
			runChecks(t, node, dir, setup, 8)
		})
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// runChecks runs the script and reports each of its checks.
func runChecks(t *testing.T, node, dir string, setup []byte, want int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), node, "ciba.mjs")
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, bytes.NewReader(setup), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Errorf("the client ended with %v: %s", err, errs.Bytes())
	}
	checks := 0
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
	if checks != want {
		t.Errorf("%d checks were made, want %d", checks, want)
	}
}

// privateJWK returns the JWK of a private key (RFC 8037, section 2; RFC 7518, section 6.2).
func privateJWK(t *testing.T, key crypto.Signer) map[string]any {
	t.Helper()
	public, err := token.NewKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	jwk := map[string]any{}
	if err := json.Unmarshal(public.JWK(), &jwk); err != nil {
		t.Fatal(err)
	}
	var d []byte
	switch k := key.(type) {
	case ed25519.PrivateKey:
		d = k.Seed()
	case *ecdsa.PrivateKey:
		if d, err = k.Bytes(); err != nil {
			t.Fatal(err)
		}
	}
	jwk["d"] = base64.RawURLEncoding.EncodeToString(d)
	delete(jwk, "use")
	return jwk
}
