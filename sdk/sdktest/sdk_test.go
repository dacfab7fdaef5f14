package sdktest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/outside"
)

// setupVar is the environment variable that names the file which tells an SDK's tests of the service. Without it
// they leave out those that need it.
const setupVar = "SAFECONDUCT_SDKTEST"

// The Python SDK's own tests, against the service on a real database.
func TestPython(t *testing.T) {
	t.Parallel()
	python := "/usr/bin/python3" // Debian's, which has Debian's cryptography
	if _, err := os.Stat(python); err != nil {
		if python, err = exec.LookPath("python3"); err != nil {
			outside.Missing(t, "no python3 in the path")
		}
	}
	if out, err := exec.Command(python, "-c", "import cryptography").CombinedOutput(); err != nil {
		outside.Missing(t, "%s has no cryptography (Debian: apt-get install python3-cryptography): %s", python, out)
	}
	env := []string{"PYTHONPATH=src", "PYTHONDONTWRITEBYTECODE=1", setupVar + "=" + start(t)}
	out := run(t, filepath.Join("..", "python"), env, python, "-W", "error::SyntaxWarning", "-m", "unittest", "discover", "-v", "-t", ".", "-s", "tests")
	got := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^test_\w+ \(tests\.test_(\w+)\.`).FindAllStringSubmatch(out, -1) {
		got[m[1]]++
	}
	if !regexp.MustCompile(`(?m)^OK$`).MatchString(out) { // "OK (skipped=1)" is another line
		t.Error("the tests did not all pass, or some were skipped")
	}
	counted(t, out, number(out, `(?m)^Ran (\d+) tests in `), map[string]int{"agent": 32, "guard": 56, "service": 13, "readme": 2}, got)
}

// The TypeScript SDK's own tests, likewise, of what its compiler makes of it; and what the compiler must refuse.
func TestTypeScript(t *testing.T) {
	t.Parallel()
	var node, dir string
	for _, name := range []string{"jose", "typescript", "@types/node"} {
		node, dir = outside.Node(t, filepath.Join("..", "typescript"), name)
	}
	tsc := filepath.Join("node_modules", "typescript", "bin", "tsc")
	run(t, dir, nil, node, tsc, "-p", ".")
	run(t, dir, nil, node, tsc, "-p", "test")
	env := []string{setupVar + "=" + start(t)}
	want := map[string]int{"agent": 25, "guard": 39, "service": 12, "readme": 2}
	args := []string{"--test", "--test-reporter=./test/count.mjs"}
	for name := range want {
		args = append(args, filepath.Join("test", name+".test.mjs"))
	}
	out := run(t, dir, env, node, args...)
	got := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^ok (\w+): `).FindAllStringSubmatch(out, -1) {
		got[m[1]]++
	}
	counted(t, out, number(out, `(?m)^(\d+) tests$`), want, got)
}

// run runs a command to its end and returns what it wrote.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, append(os.Environ(), env...), 5*time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// number returns the number that a pattern finds, 0 if it finds none.
func number(out, pattern string) int {
	m := regexp.MustCompile(pattern).FindStringSubmatch(out)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0
	}
	return n
}

// counted holds the tests that passed, by suite, against the least that there must be, and their sum against those that
// there were: then none failed, was skipped, or is in a suite that nobody knows of.
func counted(t *testing.T, out string, total int, want, got map[string]int) {
	t.Helper()
	sum := 0
	for name, n := range got {
		sum += n
		if want[name] == 0 {
			t.Errorf("there is a suite %s, of which is not known how many tests it has", name)
		}
	}
	for name, n := range want {
		if got[name] < n {
			t.Errorf("%s: %d tests passed, want at least %d", name, got[name], n)
		}
	}
	if total != sum {
		t.Errorf("there are %d tests, and %d passed", total, sum)
	}
	if t.Failed() {
		t.Log(out)
	}
	t.Logf("%d tests: %v", total, got)
}
