package secret_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/gateway/secret"
)

// What is missing is told with the command that puts it there.
func TestHints(t *testing.T) {
	t.Setenv(secret.KeyVariable, "")
	dir := t.TempDir()
	file := filepath.Join(dir, "secrets")
	hint := func(err error) string {
		t.Helper()
		var h interface{ Hint() string }
		if !errors.Is(err, authz.ErrNotFound) || !errors.As(err, &h) {
			t.Fatalf("%v has no hint", err)
		}
		return h.Hint()
	}
	_, err := secret.Open(file, file+".key", false)
	if got := hint(err); !strings.Contains(got, "`safeconduct secret put NAME --file "+file+"`") {
		t.Errorf("no file: %s", got)
	}
	f, err := secret.Open(file, filepath.Join(dir, "other.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Value("bank", time.Now())
	if got := hint(err); !strings.Contains(got, "`safeconduct secret put bank --file "+file+" --key "+filepath.Join(dir, "other.key")+"`") {
		t.Errorf("no such secret: %s", got)
	}
	if err := f.Put("bank", "x", time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "other.key")); err != nil {
		t.Fatal(err)
	}
	_, err = secret.Open(file, filepath.Join(dir, "other.key"), false)
	if got := hint(err); !strings.Contains(got, "there are secrets in "+file) {
		t.Errorf("a key that is lost: %s", got)
	}
}
