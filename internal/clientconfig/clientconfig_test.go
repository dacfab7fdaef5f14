package clientconfig_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/clientconfig"
)

var gateway = clientconfig.Gateway{
	Command: "/usr/local/bin/safeconduct",
	Args:    []string{"gateway", "mcp", "--agent", "assistant"},
	Secret:  func(server, variable, _ string) string { return server + "/" + variable },
}

const before = `// what my editor starts
{
  "theme": "dark", // stays
  "mcpServers": {
    "files": {
      "command": "npx",
      "args": ["-y", "@modelcontextprotocol/server-filesystem", "/home/ann"],
    },
    /* the one with a key */
    "search": {
      "command": "npx",
      "args": ["-y", "search-server"],
      "env": {"SEARCH_API_KEY": "abc \"def", "REGION": "eu", "PORT": 8080, "OTHER_KEY": "${env:OTHER}"},
      "disabled": false
    },
    "remote": {"type": "http", "url": "https://mcp.example.com/mcp", "headers": {"Authorization": "Bearer ghp_0123456789abcdefghij", "X-Region": "eu", "X-Key": "${env:KEY}"}},
    "open": {"url": "https://u.example/mcp?api_key=abc"},
    "mine": {"command": "/usr/local/bin/safeconduct", "args": ["gateway", "mcp", "--agent", "a", "--", "x"]},
    "old": {"url": "https://old.example.com/sse"},
    "odd": {"args": [1]},
  },
  "telemetry": false
}
`

const after = `// what my editor starts
{
  "theme": "dark", // stays
  "mcpServers": {
    "files": {
      "command": "/usr/local/bin/safeconduct",
      "args": [
        "gateway",
        "mcp",
        "--agent",
        "assistant",
        "--name",
        "files",
        "--",
        "npx",
        "-y",
        "@modelcontextprotocol/server-filesystem",
        "/home/ann"
      ]
    },
    /* the one with a key */
    "search": {
      "command": "/usr/local/bin/safeconduct",
      "args": [
        "gateway",
        "mcp",
        "--agent",
        "assistant",
        "--name",
        "search",
        "--secret",
        "SEARCH_API_KEY=search/SEARCH_API_KEY",
        "--",
        "npx",
        "-y",
        "search-server"
      ],
      "env": {
        "OTHER_KEY": "${env:OTHER}",
        "PORT": 8080,
        "REGION": "eu"
      },
      "disabled": false
    },
    "remote": {
      "type": "stdio",
      "command": "/usr/local/bin/safeconduct",
      "args": [
        "gateway",
        "mcp",
        "--agent",
        "assistant",
        "--name",
        "remote",
        "--url",
        "https://mcp.example.com/mcp",
        "--header",
        "Authorization=Bearer secret:remote/Authorization",
        "--header",
        "X-Region=secret:remote/X-Region",
        "--header",
        "X-Key=env:SAFECONDUCT_HEADER_1"
      ],
      "env": {
        "SAFECONDUCT_HEADER_1": "${env:KEY}"
      }
    },
    "open": {"url": "https://u.example/mcp?api_key=abc"},
    "mine": {"command": "/usr/local/bin/safeconduct", "args": ["gateway", "mcp", "--agent", "a", "--", "x"]},
    "old": {"url": "https://old.example.com/sse"},
    "odd": {"args": [1]},
  },
  "telemetry": false
}
`

func find(t *testing.T, name string) clientconfig.Client {
	t.Helper()
	c, err := clientconfig.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// undo returns what takes a change back.
func undo(ch *clientconfig.Change, asWritten bool) clientconfig.Undo {
	return clientconfig.Undo{Backup: ch.Backup, AsWritten: asWritten, Program: gateway.Command, Value: func(name string) (string, bool, error) {
		for _, s := range ch.Secrets {
			if s.Name == name {
				return s.Value, true, nil
			}
		}
		return "", false, nil
	}}
}

func TestRewrite(t *testing.T) {
	c := find(t, "claude")
	ch, err := c.Rewrite([]byte(before), gateway)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(after, string(ch.After)); diff != "" {
		t.Errorf("the new text (-want +got):\n%s", diff)
	}
	wantSecrets := []clientconfig.Secret{{"search/SEARCH_API_KEY", `abc "def`}, {"remote/Authorization", "ghp_0123456789abcdefghij"}, {"remote/X-Region", "eu"}}
	if diff := cmp.Diff(wantSecrets, ch.Secrets); diff != "" {
		t.Errorf("the secrets (-want +got):\n%s", diff)
	}
	for _, s := range wantSecrets[:2] {
		for name, text := range map[string][]byte{"new text": ch.After, "backup": ch.Backup} {
			if strings.Contains(string(text), s.Value) {
				t.Errorf("the %s has the secret %s in it", name, s.Name)
			}
		}
	}
	var wrapped []string
	for _, s := range ch.Servers {
		if s.Wrapped {
			wrapped = append(wrapped, s.Name)
		} else if s.Why == "" {
			t.Errorf("nothing says why %s stays as it is", s.Name)
		}
	}
	if want := []string{"files", "search", "remote"}; !slices.Equal(wrapped, want) {
		t.Errorf("behind the gateway: %q, want %q", wrapped, want)
	}

	again, err := c.Rewrite(ch.After, gateway)
	if err != nil {
		t.Fatal(err)
	}
	if again.Changed() || string(again.After) != string(ch.After) {
		t.Error("rewriting what was rewritten changes it")
	}
}

func TestRestore(t *testing.T) {
	c := find(t, "claude")
	ch, err := c.Rewrite([]byte(before), gateway)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Restore(ch.After, undo(ch, true))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, string(got.Text)); diff != "" {
		t.Errorf("undone (-want +got):\n%s", diff)
	}

	// Somebody has edited since: another theme, another server behind the gateway, one that only looks so.
	const more = `    "new": {"command": "/usr/local/bin/safeconduct", "args": ["gateway", "mcp", "--", "y"]},
    "odd one": {"command": "/evil/safeconduct", "args": ["gateway", "mcp", "--", "z"]},
    "old": {`
	edit := func(s string) string {
		s = strings.Replace(s, `"dark"`, `"light"`, 1)
		s = strings.Replace(s, `"telemetry": false`, `"telemetry": true`, 1)
		return strings.Replace(s, `    "old": {`, more, 1)
	}
	got, err = c.Restore([]byte(edit(string(ch.After))), undo(ch, false))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(edit(before), string(got.Text)); diff != "" {
		t.Errorf("undone after an edit (-want +got):\n%s", diff)
	}
	if want := []string{"files", "search", "remote", "mine"}; !slices.Equal(got.Back, want) || !slices.Equal(got.Left, []string{"new"}) {
		t.Errorf("Back = %q, Left = %q, want %q and [new]", got.Back, got.Left, want)
	}

	u := undo(ch, true)
	u.Value = func(string) (string, bool, error) { return "", false, authz.ErrNotFound }
	if _, err := c.Restore(ch.After, u); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("Restore without the secrets: %v, want not found", err)
	}
}

// TestForeignReference has a text that speaks of a secret which was not taken from it.
func TestForeignReference(t *testing.T) {
	c := find(t, "cursor")
	text := `{"mcpServers": {"a": {"command": "x", "env": {"KEY": "v"}}}, "note": "` + clientconfig.Reference("bank") + `"}`
	ch, err := c.Rewrite([]byte(text), gateway)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Restore(ch.After, undo(ch, true))
	if err != nil || string(got.Text) != text {
		t.Errorf("Restore = %s, %v, want the text as it was", got.Text, err)
	}
}

// TestProjects is Claude Code's file, which has servers for each project as well, and VS Code's, which calls them servers.
func TestProjects(t *testing.T) {
	text := `{"mcpServers":{"a":{"command":"x"}},"projects":{"/p":{"mcpServers":{"a":{"command":"y","env":{"KEY":"1"}}},"history":["z"]},"/q":{"mcpServers":{"a":{"command":"y","env":{"KEY":"2"}}}}}}`
	ch, err := find(t, "claude-code").Rewrite([]byte(text), gateway)
	if err != nil {
		t.Fatal(err)
	}
	if len(ch.Servers) != 3 || !ch.Servers[0].Wrapped || !ch.Servers[1].Wrapped {
		t.Errorf("servers: %+v, want three behind the gateway", ch.Servers)
	}
	got, err := find(t, "claude-code").Restore([]byte(strings.Replace(string(ch.After), `"z"`, `"w"`, 1)), undo(ch, false))
	if want := strings.Replace(text, `"z"`, `"w"`, 1); err != nil || string(got.Text) != want {
		t.Errorf("undone: %s, %v, want %s", got.Text, err, want)
	}
	ch, err = find(t, "vscode").Rewrite([]byte(`{"servers":{"a":{"type":"stdio","command":"x"}},"inputs":[]}`), gateway)
	if err != nil || len(ch.Servers) != 1 || !ch.Servers[0].Wrapped {
		t.Errorf("Rewrite: %+v, %v, want one server behind the gateway", ch, err)
	}
}

func TestNoConfiguration(t *testing.T) {
	c := find(t, "cursor")
	for _, text := range []string{``, `[]`, `{"mcpServers": {"a": 1}}`, `{"mcpServers": {"a": {}, "a": {}}}`, `{"a": `, `{} {}`, `{"a": "` + "\xff" + `"}`, strings.Repeat(`{"a":`, 100), `{/* `} {
		if ch, err := c.Rewrite([]byte(text), gateway); !errors.Is(err, authz.ErrInvalid) {
			t.Errorf("Rewrite(%.40q) = %v, %v, want invalid", text, ch, err)
		}
	}
	for _, text := range []string{`{}`, `{"mcpServers": {}}`, "\ufeff{}", `{"mcpServers": null}`} {
		if ch, err := c.Rewrite([]byte(text), gateway); err != nil || ch.Changed() || string(ch.After) != text {
			t.Errorf("Rewrite(%q) = %v, %v, want nothing changed", text, ch, err)
		}
	}
	if _, err := clientconfig.Find("notepad"); !errors.Is(err, authz.ErrNotFound) {
		t.Errorf("Find(notepad): %v, want not found", err)
	}
}

// FuzzRewrite has every rewriting be undone, and no secret stay.
func FuzzRewrite(f *testing.F) {
	f.Add(before)
	f.Add(`{"mcpServers":{"a":{"command":"x","env":{"KEY":"v"}}}}`)
	c, err := clientconfig.Find("claude")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ch, err := c.Rewrite([]byte(text), gateway)
		if err != nil {
			return
		}
		back, err := c.Restore(ch.After, undo(ch, true))
		if err != nil {
			t.Fatalf("Restore: %v", err)
		}
		var a, b any
		if json.Unmarshal([]byte(text), &a) == nil && json.Unmarshal(back.Text, &b) == nil {
			if diff := cmp.Diff(a, b); diff != "" {
				t.Fatalf("not what it was (-want +got):\n%s", diff)
			}
		}
	})
}
