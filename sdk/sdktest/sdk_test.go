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
)

// setupVar is the environment variable that names the file which tells an SDK's tests of the service. Without it
// they leave out those that need it.
const setupVar = "SAFECONDUCT_SDKTEST"

// The Python SDK's own tests, against the service on a real database.
func TestPython(t *testing.T) {
	python := "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		if python, err = exec.LookPath("python3"); err != nil {
			missing(t, "THE PYTHON SDK IS NOT TRIED: no python3 in the path")
		}
	}
	if out, err := exec.Command(python, "-c", "import cryptography").CombinedOutput(); err != nil {
		missing(t, "THE PYTHON SDK IS NOT TRIED: %s has no cryptography (Debian: apt-get install python3-cryptography): %s", python, out)
	}
	out := run(t, filepath.Join("..", "python"), []string{"PYTHONPATH=src", "PYTHONDONTWRITEBYTECODE=1"}, python, "-m", "unittest", "discover", "-v", "-t", ".", "-s", "tests")
	names := regexp.MustCompile(`(?m)^(test_\w+) \(([\w.]+)\)(?: \.\.\. (\w+))?`).FindAllStringSubmatch(out, -1)
	modules := map[string]int{}
	for _, n := range names {
		modules[regexp.MustCompile(`tests\.(test_\w+)`).FindString(n[2])]++
	}
	ran := number(out, `(?m)^Ran (\d+) tests in `)
	if !regexp.MustCompile(`(?m)^OK$`).MatchString(out) { // "OK (skipped=1)" is not OK
		t.Errorf("the tests did not all pass, or some were skipped:\n%s", out)
	}
	counted(t, ran, map[string]int{"tests.test_agent": 32, "tests.test_guard": 49, "tests.test_service": 13, "tests.test_readme": 2}, modules, out)
}

// The TypeScript SDK's own tests, likewise, of what its compiler makes of it.
func TestTypeScript(t *testing.T) {
	dir := filepath.Join("..", "typescript")
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "THE TYPESCRIPT SDK IS NOT TRIED: no node in the path")
	}
	for _, name := range []string{"jose", "typescript"} {
		if _, err := os.Stat(filepath.Join(dir, "node_modules", name)); err != nil {
			missing(t, "THE TYPESCRIPT SDK IS NOT TRIED: run `npm ci --ignore-scripts` in sdk/typescript")
		}
	}
	run(t, dir, nil, node, filepath.Join("node_modules", "typescript", "bin", "tsc"), "-p", ".")
	run(t, dir, nil, node, filepath.Join("node_modules", "typescript", "bin", "tsc"), "-p", "test")
	suites := map[string]int{"agent": 1, "guard": 1, "service": 1, "readme": 1}
	got := map[string]int{}
	total := 0
	for name := range suites {
		out := run(t, dir, nil, node, "--test", "--test-reporter=tap", filepath.Join("test", name+".test.mjs"))
		if n := number(out, `(?m)^# skipped (\d+)$`) + number(out, `(?m)^# todo (\d+)$`) + number(out, `(?m)^# fail (\d+)$`); n != 0 {
			t.Errorf("%s: %d tests failed or were left out:\n%s", name, n, out)
		}
		got[name] = number(out, `(?m)^# pass (\d+)$`)
		total += got[name]
	}
	counted(t, total, suites, got, "")
}

// missing ends a test for which a tool is not there: in CI it must be.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// services are those of the tests that are running.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.WaitDelay = 5 * time.Second
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if strings.Contains(strings.Join(args, " "), "test") {
		cmd.Env = append(cmd.Env, setupVar+"="+start(t))
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

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

// counted holds the number of tests that ran against the least that there must be.
func counted(t *testing.T, ran int, want, got map[string]int, out string) {
	t.Helper()
	sum := 0
	for name, least := range want {
		sum += got[name]
		if got[name] < least {
			t.Errorf("%s: %d tests ran, want at least %d", name, got[name], least)
		}
	}
	if ran != sum || t.Failed() {
		t.Errorf("%d tests ran, of which %d are of the suites that are known\n%s", ran, sum, out)
	}
	t.Logf("%d tests ran: %v", ran, got)
}
