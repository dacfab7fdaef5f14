package keyring_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/keyring"
)

func newSeal(t testing.TB) *keyring.SealingKey {
	t.Helper()
	k, err := keyring.NewSealingKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSeal(t *testing.T) {
	k, other := newSeal(t), newSeal(t)
	plain, binding := []byte("a private key"), []byte("of this one")
	sealed, err := k.Seal(plain, binding)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := k.Seal(plain, binding); bytes.Equal(again, sealed) {
		t.Error("sealing is not random")
	}
	if got, err := k.Open(sealed, binding); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("Open = %q, %v", got, err)
	}
	refuses := func(what string, k *keyring.SealingKey, sealed, binding []byte, says string) {
		t.Helper()
		got, err := k.Open(sealed, binding)
		if !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), says) || got != nil {
			t.Errorf("%s: Open = %q, %v; want authz.ErrInvalid that says %q", what, got, err, says)
		}
	}
	refuses("another key", other, sealed, binding, other.Name())
	refuses("another binding", k, sealed, []byte("of that one"), "belongs to another key")
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		refuses(fmt.Sprintf("byte %d", i), k, bad, binding, "")
		refuses(fmt.Sprintf("%d bytes", i), k, sealed[:i], binding, "damaged")
	}
	other.Accept(k)
	if got, err := other.Open(sealed, binding); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("a former key: %q, %v", got, err)
	}
	for _, text := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v", k, k, k)} {
		if strings.Contains(text, "sc_seal_") || len(text) > 60 {
			t.Errorf("printing a sealing key gives %q", text)
		}
	}
}

// The wrong sealing key is told from damage, at the start, and nothing is made anew.
func TestWrongSealingKey(t *testing.T) {
	w := newWorld(t)
	w.ring(t)
	w.forget()
	right, wrong := w.seal, newSeal(t)
	n := len(w.tape.entries)
	w.seal = wrong
	_, err := w.make()
	if !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), right.Name()) || !strings.Contains(err.Error(), wrong.Name()) {
		t.Errorf("a wrong sealing key: %v; want authz.ErrInvalid that names both", err)
	}
	if len(w.tape.entries) != n || w.halves(t) != 3 {
		t.Error("a wrong sealing key has changed something")
	}
	w.seal = right
	r := w.ring(t)
	text := sign(t, r, keyring.Token, "")
	w.forget()

	// The former key opens what it sealed; what is new is sealed with the new one.
	w.seal = newSeal(t)
	w.seal.Accept(right)
	r = w.ring(t)
	if kidOf(t, sign(t, r, keyring.Token, "")) != kidOf(t, text) {
		t.Error("a new sealing key has changed the signing key")
	}
	if _, err := r.Rotate(t.Context(), "admin:root", "new sealing key", "", true); err != nil {
		t.Fatal(err)
	}
	w.forget()
	again := newSeal(t)
	w.seal, again = again, w.seal
	if _, err := w.make(); err == nil {
		t.Error("a third key opens")
	}
	w.seal = again
	w.ring(t)
}

// A replica that was started with a sealing key of its own does not serve, and disturbs nobody.
func TestReplicaWithAnotherSealingKey(t *testing.T) {
	w := newWorld(t)
	one, err := w.make()
	if err != nil {
		t.Fatal(err)
	}
	two, err := w.make(func(c *keyring.Config) { c.Seal = newSeal(t) }) // nothing is sealed yet
	if err != nil {
		t.Fatal(err)
	}
	ensure(t, one)
	if err := two.Ensure(t.Context()); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), "same sealing key") {
		t.Errorf("Ensure = %v, want authz.ErrInvalid that says what to do", err)
	}
	text := sign(t, one, keyring.Token, "")
	verify(t, two, keyring.Token, text)
	if _, err := two.Signer(keyring.Token, ""); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("Signer = %v, want authz.ErrUnavailable", err)
	}
	wantStates(t, []*keyring.Ring{one, two}, tokenEd, keyring.Active)
}

// Sealed halves that have changed places are refused, whoever holds the sealing key.
func TestSwappedHalves(t *testing.T) {
	w := newWorld(t)
	w.ring(t)
	w.forget()
	ctx := t.Context()
	all, err := w.store.SealedKeys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	put := func(id string, data []byte) {
		t.Helper()
		if err := w.store.DeleteSealedKey(ctx, id); err != nil {
			t.Fatal(err)
		}
		if data == nil {
			return
		}
		if err := w.store.PutSealedKey(ctx, keyring.Sealed{ID: id, Data: data, CreatedAt: w.now()}); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(what, says string) {
		t.Helper()
		if _, err := w.make(); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want authz.ErrInvalid that says %q", what, err, says)
		}
	}
	a, b := all[0], all[1]
	put(a.ID, b.Data)
	put(b.ID, a.Data)
	refused("swapped", "belongs to another key")
	put(a.ID, a.Data)
	refused("one of two", "belongs to another key")
	put(b.ID, nil)
	refused("missing", "missing")
	put(b.ID, []byte("junk"))
	refused("junk", "damaged")
	put(b.ID, b.Data)
	w.ring(t)
}

// After the sealing key was lost, and only if somebody says so, new keys take the place of the old
// ones at once; what these signed still counts.
func TestReplaceLost(t *testing.T) {
	w := newWorld(t)
	r := w.ring(t)
	text := sign(t, r, keyring.Token, "")
	w.pass(29 * day)
	ensure(t, r) // the next ones are lost as well
	w.forget()
	w.seal = newSeal(t)
	replace := func(c *keyring.Config) { c.ReplaceLost = true }
	r = w.ring(t, replace)
	for _, slot := range slots {
		wantStates(t, []*keyring.Ring{r}, slot, keyring.VerifyOnly, keyring.Historical, keyring.Active)
	}
	if kidOf(t, sign(t, r, keyring.Token, "")) == kidOf(t, text) {
		t.Error("a key signs that nobody can open")
	}
	verify(t, r, keyring.Token, text)
	n := len(w.tape.entries)
	w.forget()
	w.ring(t)
	w.forget()
	w.ring(t, replace)
	if len(w.tape.entries) != n {
		t.Error("keys that can be opened were replaced")
	}
}

func TestSealingFile(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "keys.key")
	load := func(c keyring.SealConfig) (*keyring.SealingKey, error) {
		return keyring.LoadSealing(ctx, c, w.store, rand.Reader)
	}
	made, err := load(keyring.SealConfig{File: path})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file of the sealing key: %v, %v", info.Mode(), err)
	}
	again, err := load(keyring.SealConfig{File: path})
	if err != nil || again.Name() != made.Name() {
		t.Fatalf("loading again: %v, %v", again, err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.TrimSpace(string(b))
	if given, err := load(keyring.SealConfig{Text: text, File: "/nowhere"}); err != nil || given.Name() != made.Name() {
		t.Errorf("the text in the environment: %v, %v", given, err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := load(keyring.SealConfig{File: path}); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: %v, want authz.ErrInvalid that says what to do", mode, err)
		}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}

	w.seal = made
	w.ring(t)
	missing := filepath.Join(t.TempDir(), "keys.key")
	if _, err := load(keyring.SealConfig{File: missing}); !errors.Is(err, keyring.ErrSealMissing) || !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), missing) {
		t.Errorf("a file that is gone: %v, want ErrSealMissing that names it", err)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("a new sealing key was made beside sealed keys")
	}

	for _, bad := range []string{"", "sc_seal_", "sc_seal_AAAA", "sc_seal_" + strings.Repeat("A", 44), strings.TrimPrefix(text, "sc_"), text + "A", "sc_wrap_sha256_AAAA"} {
		if err := os.WriteFile(missing, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := load(keyring.SealConfig{File: missing}); !errors.Is(err, authz.ErrInvalid) || len(bad) > 8 && strings.Contains(err.Error(), bad) {
			t.Errorf("a file that holds %q: %v, want authz.ErrInvalid that does not repeat it", bad, err)
		}
	}

	newer, err := load(keyring.SealConfig{Text: "sc_seal_" + strings.Repeat("A", 43), Former: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	w.forget()
	w.seal = newer
	w.ring(t)
	if _, err := load(keyring.SealConfig{Text: text, Former: []string{missing}}); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("a bad former key: %v", err)
	}
	if _, err := load(keyring.SealConfig{File: filepath.Join(t.TempDir(), "no", "such", "keys.key")}); err == nil {
		t.Error("a directory that is not there")
	}
}

func FuzzOpen(f *testing.F) {
	k := newSeal(f)
	sealed, err := k.Seal([]byte("plain"), []byte("binding"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed, []byte("binding"))
	f.Add([]byte{1}, []byte{})
	f.Fuzz(func(t *testing.T, data, binding []byte) {
		plain, err := k.Open(data, binding)
		if err == nil && (!bytes.Equal(data, sealed) || string(binding) != "binding") {
			t.Errorf("Open(%x, %x) = %q", data, binding, plain)
		}
	})
}
