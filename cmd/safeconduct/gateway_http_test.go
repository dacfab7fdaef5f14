package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestGatewayHTTP runs the HTTP gateway before a server that says what it received, with curl as the client. Beside
// "start" and "exits" of the other scripts there are "fill FILE", which puts variables into a file, "up URL", which waits
// until it answers, and "down", which kills the service.
func TestGatewayHTTP(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s\n", r.Method, r.RequestURI, body)
	}))
	t.Cleanup(up.Close)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/gatewayhttp",
		Setup: func(e *testscript.Env) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			defer l.Close()
			e.Setenv("GATEWAY", l.Addr().String())
			e.Setenv("UPSTREAM", up.URL)
			e.Setenv("XDG_STATE_HOME", e.WorkDir)
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start": start,
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
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
			"down": func(ts *testscript.TestScript, _ bool, _ []string) {
				s, ok := services.LoadAndDelete(ts)
				if !ok {
					ts.Fatalf("no service runs")
				}
				s.(*service).kill()
			},
			"fill": func(ts *testscript.TestScript, _ bool, args []string) {
				text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
			},
			"up": func(ts *testscript.TestScript, _ bool, args []string) {
				for end := time.Now().Add(15 * time.Second); ; {
					resp, err := http.Get(args[0])
					if err == nil {
						resp.Body.Close()
						if resp.StatusCode == http.StatusOK {
							return
						}
					}
					if time.Now().After(end) {
						ts.Fatalf("%s does not answer: %v", args[0], err)
					}
					time.Sleep(50 * time.Millisecond)
				}
			},
		},
	})
}
