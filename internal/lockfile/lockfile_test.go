package lockfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/safeconduct/safeconduct/internal/lockfile"
)

func TestTake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first, second := open(), open()
	defer second.Close()
	if err := lockfile.Take(first); err != nil {
		t.Fatal(err)
	}
	if err := lockfile.Take(second); !errors.Is(err, lockfile.ErrTaken) {
		t.Errorf("a file that somebody has: %v, want ErrTaken", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := lockfile.Take(second); err != nil {
		t.Errorf("a file that nobody has any more: %v", err)
	}
}
