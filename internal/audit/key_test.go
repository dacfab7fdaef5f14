package audit_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.key")
	if _, err := audit.LoadKey(path); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("LoadKey of no file = %v, want ErrNotFound", err)
	}
	// Base64 has plus signs of its own: many keys, so that some have them.
	for i := range 60 {
		k, err := audit.NewKey(newRand(byte(i)), "example.com/log")
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Save(path); err != nil {
			t.Fatal(err)
		}
		if err := k.Save(path); !errors.Is(err, authz.ErrConflict) {
			t.Errorf("Save over a key = %v, want ErrConflict", err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
		}
		got, err := audit.LoadKey(path)
		if err != nil || got.Public() != k.Public() || got.Origin() != "example.com/log" {
			t.Fatalf("LoadKey = %v, %v, want %v", got, err, k)
		}
		if _, err := note.NewVerifier(k.Public()); err != nil {
			t.Errorf("NewVerifier(%q): %v", k.Public(), err)
		}
		if s := fmt.Sprintf("%v %+v %#v %s", k, k, k, k); strings.Contains(s, "PRIVATE") {
			t.Errorf("a printed key shows its secret")
		}
		if i == 59 {
			break
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.LoadKey(path); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("LoadKey of a file that others can read = %v, want ErrInvalid", err)
	}
	for _, origin := range []string{"", "a b", "a+b", "a\nb"} {
		if _, err := audit.NewKey(newRand(1), origin); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("NewKey(%q) = %v, want ErrInvalid", origin, err)
		}
	}
	for _, s := range []string{"", "x", "PRIVATE+KEY+o+00000000+AAAA"} {
		if _, err := audit.ParseKey(s); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("ParseKey(%q) = %v, want ErrInvalid", s, err)
		}
	}
}

// The text of a public key is that key and nothing else.
func TestParseVerifier(t *testing.T) {
	for i := range 20 { // with and without signs that have a meaning elsewhere
		k, err := audit.NewKey(newRand(byte(i)), "example.com/log")
		if err != nil {
			t.Fatal(err)
		}
		text := k.Public()
		v, err := audit.ParseVerifier(text)
		if err != nil || v.Name() != k.Origin() || v.KeyHash() != k.Verifier().KeyHash() {
			t.Fatalf("ParseVerifier(%q) = %v, %v", text, v, err)
		}
		n := len("example.com/log+")
		for _, bad := range []string{"", text + "\n", "\n" + text, text + " ", text + "A", text + "\n" + text, text[:len(text)-1], text + "=",
			text[:len(text)-20] + "\n" + text[len(text)-20:], text[:len(text)-20] + "\r\n" + text[len(text)-20:],
			text[:n+9] + "\n" + text[n+9:], text[:n] + "0" + text[n:]} {
			if _, err := audit.ParseVerifier(bad); !errors.Is(err, authz.ErrInvalid) {
				t.Errorf("ParseVerifier(%q) = %v, want ErrInvalid", bad, err)
			}
		}
		if upper := text[:n] + strings.ToUpper(text[n:n+8]) + text[n+8:]; upper != text {
			if _, err := audit.ParseVerifier(upper); !errors.Is(err, authz.ErrInvalid) {
				t.Errorf("ParseVerifier(%q) = %v, want ErrInvalid", upper, err)
			}
		}
	}
}
