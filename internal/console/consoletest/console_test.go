package consoletest_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/demo"
	"github.com/safeconduct/safeconduct/internal/outside"
	"github.com/safeconduct/safeconduct/internal/server/servertest"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// specVar is the environment variable that names the specifications to run; all, if it is not set.
const specVar = "CONSOLE_SPEC"

// traces is how many recorded traces are played before the pages are looked at: enough that none is empty.
const traces = 80

// TestPages runs the Playwright specifications of app/tests against a service with the example organisation, to which recorded
// agents were played.
func TestPages(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser is slow")
	}
	node, app := outside.Node(t, filepath.Join("..", "app"), "@playwright/test")
	playwright := filepath.Join("node_modules", "@playwright", "test", "cli.js")
	chromium := outside.Chromium(t)

	// What the go command sees read here has the test run again when it changes.
	specs, err := filepath.Glob(filepath.Join(app, "tests", "*.ts"))
	if err != nil || len(specs) < 5 {
		t.Fatalf("%d specifications: %v", len(specs), err)
	}
	for _, name := range specs {
		if _, err := os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}

	s := servertest.Start(t, servertest.Example(t))
	play(t, s.URL())
	_, port, err := net.SplitHostPort(mustParse(t, s.URL()).Host)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, node, append([]string{playwright, "test"}, strings.Fields(os.Getenv(specVar))...)...)
	c.Dir = app
	c.WaitDelay = 10 * time.Second
	c.Env = append(os.Environ(), "CHROMIUM="+chromium, "CONSOLE_OUTPUT="+t.TempDir(), "CONSOLE_URL=http://localhost:"+port,
		"CONSOLE_ADMIN_TOKEN="+servertest.AdminToken, "CONSOLE_PEP_TOKEN="+servertest.PEPToken, "FORCE_COLOR=0")
	if storetest.Config(t).Postgres != "" {
		c.Env = append(c.Env, "CONSOLE_JOURNEYS=1") // pages were looked at on SQLite
	}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	if !regexp.MustCompile(`(?m)^\s+\d+ passed`).Match(out) || regexp.MustCompile(`(?m)^\s+\d+ (skipped|flaky|did not run)`).Match(out) {
		t.Error("some specifications did not run, or passed only when tried again")
	}
}

// play plays recorded agents to the service.
func play(t *testing.T, service string) {
	t.Helper()
	all, err := demo.Traces()
	if err != nil {
		t.Fatal(err)
	}
	all.Traces = all.Traces[:min(traces, len(all.Traces))]
	pep, err := client.New(service, servertest.PEPToken)
	if err != nil {
		t.Fatal(err)
	}
	replay := demo.Replay{Traces: all, Now: time.Now, Ask: func(ctx context.Context, req authz.Request) (demo.Answer, error) {
		a, err := pep.Decide(ctx, req)
		if errors.Is(err, authz.ErrInvalid) { // what the recorded agent wrote does not fit
			err = nil
		}
		return demo.Answer{Effect: a.Effect, Code: a.Code, Seq: a.Seq}, err
	}}
	if _, err := replay.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func mustParse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
