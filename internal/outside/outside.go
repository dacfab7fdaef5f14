// Package outside finds what tests need that nobody here wrote: programs of the machine, and packages of npm.
package outside

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Missing ends a test because something is not there: it is skipped, or fails where CI is set, as there it must be tried.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	format = "NOT TRIED WITH WHAT OTHERS WROTE: " + format
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Node returns the path of Node, and that of a directory in which packages of npm were installed, one of which is named. If one
// of them is not there, that is Missing.
func Node(t testing.TB, dir, module string) (node, abs string) {
	t.Helper()
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if node, err = exec.LookPath("node"); err != nil {
		Missing(t, "no node in the path")
	}
	if _, err := os.Stat(filepath.Join(abs, "node_modules", filepath.FromSlash(module))); err != nil {
		Missing(t, "run `npm ci --ignore-scripts` in %s", abs)
	}
	return node, abs
}

// Chromium returns the path of a browser. If there is none, that is Missing.
func Chromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Missing(t, "no chromium in the path (Debian: apt-get install chromium)")
	return ""
}
