package secret_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway/secret"
)

var now = time.Date(2026, 11, 27, 15, 0, 0, 0, time.UTC)

func open(t testing.TB, file, key string, create bool) *secret.File {
	t.Helper()
	f, err := secret.Open(file, key, create)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	file, key := filepath.Join(dir, "sub", "secrets"), filepath.Join(dir, "key")
	if _, err := secret.Open(file, key, false); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("without a key: %v", err)
	}
	f := open(t, file, key, true)
	for name, value := range map[string]string{"github": "ghp_0123456789", "mail.client-1": "s3cret", "long": strings.Repeat("x", secret.MaxValue)} {
		if err := f.Put(name, value, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Put("github", "ghp_second", now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	again := open(t, file, key, false)
	if v, err := again.Value("github", now); v != "ghp_second" || err != nil {
		t.Errorf("github = %q, %v", v, err)
	}
	if v, err := again.Value("other", now); v != "" || !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("other = %q, %v", v, err)
	}
	items, err := secret.List(file)
	want := []secret.Item{{Name: "github", At: now.Add(time.Hour)}, {Name: "long", At: now}, {Name: "mail.client-1", At: now}}
	if diff := cmp.Diff(want, items); diff != "" || err != nil {
		t.Errorf("List: %v (-want +got):\n%s", err, diff)
	}
	if err := secret.Remove(file, "long"); err != nil {
		t.Fatal(err)
	}
	if err := secret.Remove(file, "long"); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("removing it again: %v", err)
	}
	text, err := os.ReadFile(file)
	if err != nil || bytes.Contains(text, []byte("ghp_")) || bytes.Contains(text, []byte("s3cret")) {
		t.Errorf("the file shows a secret: %s, %v", text, err)
	}
	if info, err := os.Stat(file); runtime.GOOS != "windows" && (err != nil || info.Mode().Perm() != 0o600) {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "sub", "*")); err != nil || len(names) != 1 {
		t.Errorf("beside the file: %v, %v", names, err)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	file, key := filepath.Join(dir, "secrets"), filepath.Join(dir, "key")
	f := open(t, file, key, true)
	for name, value := range map[string]string{"": "x", "-a": "x", "a b": "x", "ä": "x", "a/b": "x", "a\n": "x", strings.Repeat("a", 65): "x", "empty": "", "large": strings.Repeat("x", secret.MaxValue+1)} {
		if err := f.Put(name, value, now); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("Put(%q, %d bytes): %v", name, len(value), err)
		}
	}
	if err := f.Put("api", "the-value", now); err != nil {
		t.Fatal(err)
	}
	if err := f.Put("db", "another-value", now); err != nil {
		t.Fatal(err)
	}

	// Another key: told at once, with the names of both and the secret of neither; nothing is made in its place.
	other := filepath.Join(dir, "other")
	open(t, filepath.Join(dir, "others-secrets"), other, true)
	_, err := secret.Open(file, other, true)
	if !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), "sealed with the key") || strings.Contains(err.Error(), "sc_seal_") {
		t.Errorf("with another key: %v", err)
	}
	if _, err := secret.Open(file, filepath.Join(dir, "none"), true); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("with a key that is not there: %v", err)
	}

	// A value that is moved to another name does not open.
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	swapped := strings.NewReplacer(`"api"`, `"db"`, `"db"`, `"api"`).Replace(string(text))
	write := func(text string) error {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := secret.Open(file, key, false)
		return err
	}
	if err := write(swapped); !errors.Is(err, authz.ErrInvalid) {
		t.Errorf("values that changed places: %v", err)
	}
	for name, bad := range map[string]string{
		"no JSON": "secrets", "twice": strings.Replace(string(text), `"db"`, `"api"`, 1), "another version": strings.Replace(string(text), `"version": 1`, `"version": 2`, 1),
		"more members": strings.Replace(string(text), `"version"`, `"x": 1, "version"`, 1), "a bad name": strings.Replace(string(text), `"db"`, `"../db"`, 1),
		"empty": "", "cut": string(text[:len(text)/2]),
	} {
		if err := write(bad); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := write(string(text)); err != nil {
		t.Errorf("as it was: %v", err)
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := secret.Open(file, key, false); !errors.Is(err, authz.ErrInvalid) || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("a file that others may read: %v", err)
		}
	}
}

// Two who write at the same time do not lose what the other wrote.
func TestConflict(t *testing.T) {
	dir := t.TempDir()
	file, key := filepath.Join(dir, "secrets"), filepath.Join(dir, "key")
	a, b := open(t, file, key, true), open(t, file, key, true)
	if err := a.Put("one", "1", now); err != nil {
		t.Fatal(err)
	}
	if err := b.Put("two", "2", now); !errors.Is(err, authz.ErrConflict) {
		t.Errorf("the second: %v", err)
	}
	if err := b.Put("two", "2", now); err != nil {
		t.Errorf("the second, again: %v", err)
	}
	if items, err := secret.List(file); err != nil || len(items) != 2 {
		t.Errorf("List = %v, %v", items, err)
	}
}

func TestKeyFromEnvironment(t *testing.T) {
	dir := t.TempDir()
	file, key := filepath.Join(dir, "secrets"), filepath.Join(dir, "key")
	if err := open(t, file, key, true).Put("api", "v", now); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(secret.KeyVariable, string(text))
	if v, err := open(t, file, "", false).Value("api", now); v != "v" || err != nil {
		t.Errorf("Value = %q, %v", v, err)
	}
	t.Setenv(secret.KeyVariable, "sc_seal_short")
	if _, err := secret.Open(file, "", false); !errors.Is(err, authz.ErrInvalid) || strings.Contains(err.Error(), "short") {
		t.Errorf("a bad key: %v", err)
	}
}

// What is no file of secrets never opens as one.
func FuzzFile(f *testing.F) {
	f.Add([]byte(`{"version":1,"secrets":{"a":{"sealed":"AQID","at":"2026-11-27T15:00:00Z"}}}`))
	f.Add([]byte(`{"version":1,"secrets":{}}`))
	dir := f.TempDir()
	file := filepath.Join(dir, "secrets")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Skip(err)
		}
		items, err := secret.List(file)
		if err != nil && !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("List: %v", err)
		}
		for _, i := range items {
			if !secret.ValidName(i.Name) {
				t.Errorf("a secret of the name %q", i.Name)
			}
		}
	})
}
