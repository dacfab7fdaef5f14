package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// mcpServerVar makes the test binary be an MCP server. What begins with SAFECONDUCT_ does not reach servers.
const mcpServerVar = "TEST_MCP_SERVER"

// Before anything else: a script that has the gateway start a server starts this binary.
func init() {
	if what := os.Getenv(mcpServerVar); what != "" && os.Getenv(runVar) == "" {
		serveMCP(what)
		os.Exit(0)
	}
}

// serveMCP is a server as the official Go SDK makes it, whose word for read_file is what.
func serveMCP(what string) {
	type args struct {
		Path string `json:"path"`
	}
	s := sdk.NewServer(&sdk.Implementation{Name: "files", Version: "1"}, nil)
	sdk.AddTool(s, &sdk.Tool{Name: "read_file", Description: what, Annotations: &sdk.ToolAnnotations{ReadOnlyHint: true}},
		func(_ context.Context, _ *sdk.CallToolRequest, in args) (*sdk.CallToolResult, any, error) {
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "of " + in.Path + ", key " + os.Getenv("FILES_KEY") + ", token " + os.Getenv("SAFECONDUCT_TOKEN")}}}, nil, nil
		})
	sdk.AddTool(s, &sdk.Tool{Name: "write_file"}, func(_ context.Context, _ *sdk.CallToolRequest, in args) (*sdk.CallToolResult, any, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "wrote " + in.Path}}}, nil, nil
	})
	if err := s.Run(context.Background(), &sdk.StdioTransport{}); err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, err)
	}
}

// The official SDK's client before the command, before the official SDK's server, with a real service: three
// processes, by an enforcement point's token and by the agent's own key.
func TestGatewayMCP(t *testing.T) {
	example, err := filepath.Abs("../../examples/mcp/safeconduct.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s, err := launch(os.Environ(), "--config", example, "--data", filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), runVar+"=1", envURL+"="+s.URL, envToken+"="+s.Admin, "HOME="+dir, "XDG_CONFIG_HOME="+dir)
	self := func(args ...string) *exec.Cmd {
		c := exec.Command(exe, args...)
		c.Env = env
		return c
	}
	key := filepath.Join(dir, "assistant.key")
	out, err := self("agent", "enroll", "assistant", "--why", "test").Output()
	if err != nil {
		t.Fatal(err)
	}
	enrolment := filepath.Join(dir, "enrolment")
	if err := os.WriteFile(enrolment, out, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := self("token", "enroll", "--key", key, "--enrolment-token-file", enrolment).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pep := filepath.Join(dir, "pep.token")
	if err := os.WriteFile(pep, []byte(s.PEP), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, who := range [][]string{{"--agent", "assistant", "--token-file", pep}, {"--key", key, "--token-file", pep}, {"--key", key}} {
		t.Run(strings.Join(who[:1], "")+strings.Join(who[2:min(3, len(who))], ""), func(t *testing.T) {
			// The server must not be safeconduct: env takes the variable out that makes it so.
			args := append([]string{"gateway", "mcp", "--name", "files"}, who...)
			args = append(args, "--", "env", mcpServerVar+"=Reads a file.", exe)
			cmd := self(args...)
			var stderr lockedBuffer
			cmd.Stderr = &stderr
			c := sdk.NewClient(&sdk.Implementation{Name: "client", Version: "1"}, nil)
			session, err := c.Connect(t.Context(), &sdk.CommandTransport{Command: cmd}, nil)
			if err != nil {
				t.Fatalf("connecting: %v\n%s", err, stderr.String())
			}
			tools, err := session.ListTools(t.Context(), nil)
			if err != nil || len(tools.Tools) != 2 {
				t.Fatalf("the tools: %+v, %v\n%s", tools, err, stderr.String())
			}
			for _, tt := range []struct {
				tool, path string
				refused    bool
				says       string
			}{
				{"read_file", "/srv/a", false, "of /srv/a, key , token "},
				{"read_file", "/srv/.env", true, "Files that hold keys and passwords are not for agents."},
				{"write_file", "/srv/a", true, "A person can allow this."},
			} {
				res, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: tt.tool, Arguments: map[string]any{"path": tt.path}})
				if err != nil {
					t.Errorf("%s %s: %v", tt.tool, tt.path, err)
					continue
				}
				text := res.Content[0].(*sdk.TextContent).Text
				if res.IsError != tt.refused || !strings.Contains(text, tt.says) || !tt.refused && text != tt.says {
					t.Errorf("%s %s: %v, %q, want %v, %q", tt.tool, tt.path, res.IsError, text, tt.refused, tt.says)
				}
			}
			if err := session.Close(); err != nil {
				t.Errorf("ending: %v\n%s", err, stderr.String())
			}
		})
	}
}
