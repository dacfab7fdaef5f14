package gateway_test

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/outside"
	"github.com/safeconduct/safeconduct/internal/token"
)

// An OAuth client that nobody here wrote finds out from the gateway where to get a token, gets one from the service, and shows it.
func TestForeignClient(t *testing.T) {
	node, dir := outside.Node(t, filepath.Join("..", "server", "testdata", "interop"), "oauth4webapi")
	modules := filepath.Join(dir, "node_modules")
	// The service must know the gateway's name before there is a gateway.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	name := "http://" + addr + "/mcp"
	admin := service(t, name)
	_, file := enrol(t, admin, payer)
	t.Setenv(gateway.TokenVariable, pepToken)
	var g *gateway.Gateway
	g, _, _ = serve(t, lines("listen: "+addr, "service: {url: "+admin.URL()+"}", "authorization: {nonce: true}"), gateway.Options{},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who, err := g.Verifier.Verify(r)
			if err != nil {
				challenge(t, err).WriteTo(w)
				return
			}
			fmt.Fprint(w, who.Claims["sub"])
		}))
	key, err := client.LoadKey(file)
	if err != nil {
		t.Fatal(err)
	}
	public, err := token.NewKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	var jwk map[string]any
	if err := json.Unmarshal(public.JWK(), &jwk); err != nil {
		t.Fatal(err)
	}
	delete(jwk, "alg")
	jwk["d"] = base64.RawURLEncoding.EncodeToString(key.(ed25519.PrivateKey).Seed())
	setup, err := json.Marshal(map[string]any{"modules": modules, "resource": name, "scope": "see-accounts", "client": map[string]any{"id": payer, "kid": public.ID, "jwk": jwk}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, filepath.Join("testdata", "interop.mjs"))
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(setup), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Errorf("the client ended with %v: %s", err, errs.Bytes())
	}
	checks := 0
	for scan := bufio.NewScanner(&out); scan.Scan(); checks++ {
		var c struct {
			Name, Error string
			OK          bool
		}
		if err := json.Unmarshal(scan.Bytes(), &c); err != nil {
			t.Fatalf("%v: %s", err, scan.Bytes())
		}
		if !c.OK {
			t.Errorf("%s: %s", c.Name, c.Error)
		}
	}
	if checks != 4 {
		t.Errorf("%d checks were made, want 4", checks)
	}
}
