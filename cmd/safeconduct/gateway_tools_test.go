package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A server that is started in order to be asked for its tools learns nothing of what is ours.
func TestGatewayToolsEnvironment(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	seen := filepath.Join(t.TempDir(), "environment")
	cmd := exec.CommandContext(t.Context(), exe, "gateway", "tools", "--name", "s", "--", sh, "-c", `env > "$SEEN"`)
	cmd.Env = append(os.Environ(), runVar+"=1", "SEEN="+seen, "GITHUB_HOST=ghe.example", "SAFECONDUCT_TOKEN=pep-token", "SAFECONDUCT_SECRETS_KEY=sealing-key", "SAFECONDUCT_ADMIN_TOKEN=admin-token", "safeconduct_other=other")
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("a server that says nothing has tools: %s", out)
	}
	text, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"pep-token", "sealing-key", "admin-token", "other"} {
		if strings.Contains(string(text), "="+secret+"\n") {
			t.Errorf("the server's environment has the value %s", secret)
		}
	}
	if !strings.Contains(string(text), "GITHUB_HOST=ghe.example\n") {
		t.Errorf("the server's environment lacks what is not ours:\n%s", text)
	}
}

// What a header says is not sent where others can read it.
func TestGatewayToolsInsecure(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"http://mcp.example/mcp", "http://127.0.0.1.mcp.example/mcp", "http://192.0.2.1/mcp", "HTTP://mcp.example/mcp", "ftp://mcp.example/mcp", "mcp.example"} {
		cmd := exec.CommandContext(t.Context(), exe, "gateway", "tools", "--name", "s", "--url", url, "--header", "Authorization=Bearer x")
		cmd.Env = append(os.Environ(), runVar+"=1")
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "is not https, and not on this host") && !strings.Contains(string(out), "is no URL of an MCP server") {
			t.Errorf("--url %s: %v\n%s", url, err, out)
		}
	}
}
