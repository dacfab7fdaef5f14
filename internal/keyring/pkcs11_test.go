//go:build cgo && !nopkcs11

package keyring_test

import (
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.step.sm/crypto/kms/apiv1"
	"go.step.sm/crypto/kms/pkcs11"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/keyring"
)

// softHSM makes a token of SoftHSM2 in a directory of the test, and returns the module's path and a
// URI. SAFECONDUCT_TEST_PKCS11 names another module of SoftHSM2 than Debian's.
func softHSM(t *testing.T) (uri string) {
	t.Helper()
	module := os.Getenv("SAFECONDUCT_TEST_PKCS11")
	for _, path := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so"} {
		if _, err := os.Stat(path); err == nil && module == "" {
			module = path
		}
	}
	util, err := exec.LookPath("softhsm2-util")
	if module == "" || err != nil {
		t.Skip("SKIPPED: SoftHSM2 is not installed (Debian: apt-get install softhsm2), so PKCS#11 is NOT TESTED here")
	}
	dir := t.TempDir()
	tokens, pin := filepath.Join(dir, "tokens"), filepath.Join(dir, "pin")
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := errors.Join(
		os.Mkdir(tokens, 0o700),
		os.WriteFile(pin, []byte("493817\n"), 0o600),
		os.WriteFile(conf, []byte("directories.tokendir = "+tokens+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	if out, err := exec.Command(util, "--init-token", "--free", "--label", "safeconduct", "--pin", "493817", "--so-pin", "5512345").CombinedOutput(); err != nil {
		t.Fatalf("softhsm2-util: %v\n%s", err, out)
	}
	return "pkcs11:module-path=" + module + ";token=safeconduct?pin-source=" + pin
}

// One test for all of it: the module reads its configuration once in a process.
func TestPKCS11(t *testing.T) {
	uri := softHSM(t)

	// The sealing key is encrypted to an RSA key of the module.
	kms, err := pkcs11.New(t.Context(), apiv1.Options{URI: uri})
	if err != nil {
		t.Fatal(err)
	}
	const rsaKey = "pkcs11:id=01;object=seal"
	if _, err := kms.CreateKey(&apiv1.CreateKeyRequest{Name: rsaKey, SignatureAlgorithm: apiv1.SHA256WithRSA, Bits: 2048}); err != nil {
		t.Fatal(err)
	}
	if err := kms.Close(); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	seal := keyring.SealConfig{File: filepath.Join(t.TempDir(), "keys.key"), KMS: uri, Key: rsaKey}
	made, err := keyring.LoadSealing(t.Context(), seal, w.store, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	again, err := keyring.LoadSealing(t.Context(), seal, w.store, rand.Reader)
	if err != nil || again.Name() != made.Name() {
		t.Fatalf("the sealing key again: %v, %v; want %v", again, err, made)
	}
	w.seal = made

	// ES256 keys are made in the module; Ed25519 keys stay in software, sealed.
	change := func(c *keyring.Config) {
		c.External = []keyring.External{{Use: keyring.Token, Algorithm: keyring.ES256, KMS: uri, Key: "pkcs11:id={id};object=safeconduct-{id}"}}
	}
	r := w.ring(t, change)
	first := sign(t, r, keyring.Token, keyring.ES256)
	sign(t, r, keyring.Token, keyring.EdDSA)
	if n := w.halves(t); n != 2 {
		t.Errorf("%d private halves in the store, want those of the two Ed25519 keys", n)
	}
	w.pass(29 * day)
	ensure(t, r)
	w.pass(day)
	ensure(t, r)
	wantStates(t, []*keyring.Ring{r}, tokenES, keyring.VerifyOnly, keyring.Active)
	second := sign(t, r, keyring.Token, keyring.ES256)
	if kidOf(t, second) == kidOf(t, first) {
		t.Error("the first key signs on")
	}
	verify(t, r, keyring.Token, first)
	if err := r.Close(); err != nil {
		t.Error(err)
	}

	// After a restart the key is found again by its name.
	w.forget()
	r = w.ring(t, change)
	if kidOf(t, sign(t, r, keyring.Token, keyring.ES256)) != kidOf(t, second) {
		t.Error("another key signs after a restart")
	}
	got, err := r.Revoke(t.Context(), "admin:root", "exercise", kidOf(t, second))
	if err != nil || got.State != keyring.Revoked {
		t.Errorf("Revoke = %+v, %v", got, err)
	}
	if kidOf(t, sign(t, r, keyring.Token, keyring.ES256)) == kidOf(t, second) {
		t.Error("a revoked key signs")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}

	// A wrong PIN and a module that is not there stop the start, and the PIN is not told.
	w.forget()
	open, _, _ := strings.Cut(uri, "?")
	for _, bad := range []string{open + "?pin-value=999111", "pkcs11:module-path=/no/such/module.so;token=safeconduct?pin-value=999111"} {
		_, err := w.make(func(c *keyring.Config) { change(c); c.External[0].KMS = bad })
		if !errors.Is(err, authz.ErrInvalid) || strings.Contains(err.Error(), "999111") {
			t.Errorf("%s: %v, want authz.ErrInvalid without the PIN", bad, err)
		}
	}
	w.ring(t, change)
}
