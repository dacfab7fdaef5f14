package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// A service is a child process that runs `safeconduct serve`.
type service struct {
	URL   string `json:"url"`
	Admin string `json:"admin_token"`
	PEP   string `json:"pep_token"`

	cmd    *exec.Cmd
	stderr lockedBuffer
	ended  chan error
	once   sync.Once
}

// launch starts the service and waits until it can decide. Without tokens in env it makes some.
func launch(env []string, args ...string) (*service, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &service{ended: make(chan error, 1)}
	s.cmd = exec.Command(exe, append([]string{"serve", "--json", "--listen", "127.0.0.1:0"}, args...)...)
	s.cmd.Env = append(env, runVar+"=1")
	s.cmd.Stderr = &s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	said := make(chan error, 1)
	go func() {
		said <- json.NewDecoder(out).Decode(s)
		_, _ = io.Copy(io.Discard, out)
		s.ended <- s.cmd.Wait()
	}()
	select {
	case err = <-said:
	case <-time.After(30 * time.Second):
		err = errors.New("it said nothing for 30 s")
	}
	if err != nil {
		_ = s.cmd.Process.Kill()
		return nil, fmt.Errorf("starting the service: %w\n%s", errors.Join(err, <-s.ended), s.stderr.String())
	}
	return s, nil
}

// stop ends the service as an operator would. It must end well.
func (s *service) stop() (err error) {
	s.once.Do(func() {
		if err = s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return
		}
		select {
		case err = <-s.ended:
		case <-time.After(30 * time.Second):
			_ = s.cmd.Process.Kill()
			err = errors.New("the service did not end within 30 s")
		}
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, s.stderr.String())
		}
	})
	return err
}

// kill ends the service as a power cut would.
func (s *service) kill() {
	s.once.Do(func() {
		_ = s.cmd.Process.Kill()
		<-s.ended
	})
}

// lockedBuffer is a bytes.Buffer that a process may write while a test reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start is the script command of that name.
func start(ts *testscript.TestScript, neg bool, args []string) {
	env := []string{}
	for _, name := range []string{"HOME", "XDG_STATE_HOME", "TMPDIR", envToken, envPEPToken} {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "$WORK", ts.Getenv("WORK"))
	}
	s, err := launch(env, append([]string{"--data", ts.MkAbs("data")}, args...)...)
	if neg {
		if err == nil {
			s.kill()
			ts.Fatalf("the service started")
		}
		ts.Logf("%v", err)
		return
	}
	ts.Check(err)
	ts.Defer(s.kill)
	ts.Setenv(envURL, s.URL)
	if s.Admin != "" {
		ts.Setenv(envToken, s.Admin)
	}
	if s.PEP != "" {
		ts.Setenv(envPEPToken, s.PEP)
	}
	services.Store(ts, s)
}

// services are the services of the scripts that run now, by *testscript.TestScript.
var services sync.Map
