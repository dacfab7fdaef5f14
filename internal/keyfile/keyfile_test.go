package keyfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/safeconduct/safeconduct/internal/keyfile"
)

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	read := func(want string) {
		t.Helper()
		if b, err := keyfile.Read(path, 10); string(b) != want || err != nil {
			t.Errorf("Read = %q, %v, want %q", b, err, want)
		}
	}
	if _, err := keyfile.Read(path, 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read of nothing: %v, want %v", err, fs.ErrNotExist)
	}
	if err := keyfile.Create(path, []byte("one")); err != nil {
		t.Fatal(err)
	}
	read("one")
	if err := keyfile.Create(path, []byte("two")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over a file: %v, want %v", err, fs.ErrExist)
	}
	read("one")
	if err := keyfile.Replace(path, []byte("three")); err != nil {
		t.Fatal(err)
	}
	read("three")
	if _, err := keyfile.Read(path, 4); !errors.Is(err, keyfile.ErrTooLarge) {
		t.Errorf("Read of 5 bytes where 4 are expected: %v, want %v", err, keyfile.ErrTooLarge)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("the directory holds %v, %v, want one file", names, err)
	}
	if err := keyfile.Create(filepath.Join(dir, "none", "key"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Create in a directory that is not there: %v", err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := keyfile.Read(path, 10); !errors.Is(err, keyfile.ErrExposed) {
		t.Errorf("Read of a file for others: %v, want %v", err, keyfile.ErrExposed)
	}
}
