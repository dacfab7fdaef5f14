package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// runVar makes the test binary be safeconduct.
const runVar = "SAFECONDUCT_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(runVar) != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"safeconduct": main})
}

// TestScripts runs the command lines in testdata/script. A script has four commands of its own:
// "start ARGS" starts the service on a free port, with its data in $WORK/data, and sets the variables
// by which the command line finds it; "halt" ends it and wants it to end well; "report TOKENFILE
// JSON" says something of an enforcement point; "exits N ARGS" runs safeconduct and wants that exit status.
func TestScripts(t *testing.T) {
	example, err := filepath.Abs("../../examples/agentdojo")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("EXAMPLE", example)
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start":  start,
			"report": report,
			"exits": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: exits N ARGS")
				}
				got := 0
				if err := ts.Exec("safeconduct", args[1:]...); err != nil {
					var status *exec.ExitError
					if !errors.As(err, &status) {
						ts.Fatalf("%v", err)
					}
					got = status.ExitCode()
				}
				if strconv.Itoa(got) != args[0] {
					ts.Fatalf("exit status %d, want %s", got, args[0])
				}
			},
			"halt": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) > 0 {
					ts.Fatalf("usage: halt")
				}
				s, ok := services.LoadAndDelete(ts)
				if !ok {
					ts.Fatalf("no service runs")
				}
				ts.Check(s.(*service).stop())
			},
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}
