package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/examples/agentdojo"
)

// What the demonstration says of its gateway is so: the same part of it, before a service that is another process.
func TestDemoGateway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	if err := os.CopyFS(dir, agentdojo.Files); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "safeconduct.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, append(text, "oauth: {audiences: ['"+demoResource(l)+"']}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := launch(os.Environ(), "--config", config, "--data", filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)

	begin := time.Now()
	r, err := showGateway(t.Context(), s.URL, s.Admin, s.PEP, l)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %s, want at most 5 s", took)
	}
	if r.Agent != demoTeller || r.Tools != 5 || !slices.Equal(r.Hidden, []string{"update_user_info"}) || r.Result != "1810.00" {
		t.Errorf("%+v, want four of five tools, and an answer", r)
	}
	if !strings.HasPrefix(r.Told, "Access denied: ") || !strings.Contains(r.Told, "This cannot be done from where you are. Nothing was done.") {
		t.Errorf("of a refusal is read %q", r.Told)
	}
	if !strings.Contains(r.Why, "what the server says of the tool read_file is not what was approved") {
		t.Errorf("of a tool that was changed is read %q", r.Why)
	}
	if r.Direct <= 0 || r.Through <= r.Direct {
		t.Errorf("%v ms through the gateway, %v ms without it", r.Through, r.Direct)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the gateway still serves")
	}

	// What was decided there is in the log, and the gateway has told the service what it has found.
	var out bytes.Buffer
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"audit", "find", "--agent", string(demoTeller), "--action", "update_user_info"}, "update_user_info Profile:own: deny"},
		{[]string{"enforcement", "list"}, "tool read_file of bank is not the one that was pinned"},
	} {
		t.Setenv(envToken, s.Admin)
		out.Reset()
		if code := run(t.Context(), append(tt.args, "--server", s.URL), strings.NewReader(""), &out, &out); code != 0 || !strings.Contains(out.String(), tt.want) {
			t.Errorf("safeconduct %s: exit status %d\n%s\nwant %q", strings.Join(tt.args, " "), code, out.String(), tt.want)
		}
	}
}
