package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/internal/outside"
)

// Clients of the official TypeScript SDK, in both of its generations, find our authorization server by the gateway's
// challenge, read its metadata, get a token there by an agent's key, and call a tool with it. They know no DPoP: service and
// gateway are both told to let tokens through that are bound to nothing.
func TestGatewayAuthorizesForeignClients(t *testing.T) {
	node, scripts := outside.Node(t, "../../internal/gateway/streamable/testdata/node", "@modelcontextprotocol/client")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../examples/mcp")); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	addr := freeAddress(t)
	replace(t, file("safeconduct.yaml"), "127.0.0.1:8190", addr, "oauth:\n", "oauth:\n  allow_bearer: true\n")
	s, err := launch(os.Environ(), "--config", file("safeconduct.yaml"), "--data", file("data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	cli := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(exe, args...)
		cmd.Env = append(os.Environ(), runVar+"=1", envURL+"="+s.URL, envToken+"="+s.Admin)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("safeconduct %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
		}
		return string(out)
	}
	for name, text := range map[string]string{
		"gateway.token": cli("caller", "create", "desk", "--role", "pep", "--why", "test"),
		"enrolment":     cli("agent", "enroll", "assistant", "--why", "test"),
	} {
		if err := os.WriteFile(file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cli("token", "enroll", "--key", file("assistant.key"), "--algorithm", "ES256", "--enrolment-token-file", file("enrolment"))
	replace(t, file("mcp.yaml"),
		"127.0.0.1:8190", addr, "http://127.0.0.1:8180", s.URL,
		"authorization:\n  scopes", "authorization:\n  bearer: true\n  scopes",
		`command: [npx, -y, "@modelcontextprotocol/server-filesystem", files]`, fmt.Sprintf("command: [%q]\n    env: {%s: files}", exe, exampleServerVar),
		`command: [npx, -y, "@modelcontextprotocol/server-memory"]`, fmt.Sprintf("command: [%q]", exe),
		"MEMORY_FILE_PATH: /tmp/mcp/memory.jsonl", exampleServerVar+": memory")
	stop := startGateway(t, "serving MCP on", "mcp", "--config", file("mcp.yaml"))
	defer stop()

	cmd := exec.CommandContext(t.Context(), node, "authorized.mjs", "http://"+addr+"/mcp", s.URL, "assistant", file("assistant.key"), "memory__read_graph")
	cmd.Dir = scripts
	var talk bytes.Buffer
	cmd.Stderr = &talk
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("authorized.mjs: %v\n%s%s", err, b, talk.String())
	}
	type saw struct {
		Tools             []string
		Says, Type, Scope string
	}
	var got map[string]saw
	if err := json.Unmarshal(b, &got); err != nil || len(got) != 2 {
		t.Fatalf("authorized.mjs printed %q: %v", b, err)
	}
	for name, s := range got {
		if s.Says != "Anna likes bread" || !slices.Contains(s.Tools, "memory__read_graph") || slices.Contains(s.Tools, "memory__delete_entities") {
			t.Errorf("%s: %+v, want the tool called, and no other shown than what the agent may use", name, s)
		}
		if s.Type != "Bearer" || !strings.Contains(s.Scope, "read-context") {
			t.Errorf("%s: the token is a %q for %q, want a Bearer token for what the gateway has asked for", name, s.Type, s.Scope)
		}
	}
	if out := cli("audit", "find", "--agent", "assistant", "--action", "tools/call"); strings.Count(out, "tool:memory__read_graph: allow") < 2 {
		t.Errorf("the log says\n%s\nwithout both calls", out)
	}
}
