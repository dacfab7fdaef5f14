// Package clientconfig rewrites the configuration of MCP clients (Claude, Cursor, VS Code and others), so that the
// servers which a client starts are started behind the gateway, and back.
//
// It changes text, not documents: only the servers that are rewritten change, and comments, order and everything
// that it does not know stay, byte for byte. Static keys in environments and headers are taken out of the
// text; they are in neither the new text nor the backup, which names them.
//
// It reads and writes no files, and knows no secret store.
package clientconfig

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/safeconduct/safeconduct/authz"
)

// A Client is a program that has MCP servers in a JSON file, perhaps with comments.
type Client struct {
	Name  string
	Title string

	container string                  // name of the object of servers, by their names
	projects  string                  // name of an object of projects, each of which may have such an object; "" if there is none
	paths     func(p Places) []string // where its file is looked for, first found first
}

// Places are where files of a person are.
type Places struct {
	OS        string // runtime.GOOS
	Home      string
	Directory string // the working directory
	AppData   string // of Windows: %APPDATA%
}

// support returns the directory in which applications of a desktop keep their settings.
func (p Places) support() string {
	switch p.OS {
	case "darwin":
		return filepath.Join(p.Home, "Library", "Application Support")
	case "windows":
		return p.AppData
	}
	return filepath.Join(p.Home, ".config")
}

var clients = []Client{
	{"claude", "Claude Desktop", "mcpServers", "", func(p Places) []string {
		return []string{filepath.Join(p.support(), "Claude", "claude_desktop_config.json")}
	}},
	{"claude-code", "Claude Code", "mcpServers", "projects", func(p Places) []string {
		return []string{filepath.Join(p.Directory, ".mcp.json"), filepath.Join(p.Home, ".claude.json")}
	}},
	{"cursor", "Cursor", "mcpServers", "", func(p Places) []string {
		return []string{filepath.Join(p.Directory, ".cursor", "mcp.json"), filepath.Join(p.Home, ".cursor", "mcp.json")}
	}},
	{"gemini", "Gemini CLI", "mcpServers", "", func(p Places) []string {
		return []string{filepath.Join(p.Directory, ".gemini", "settings.json"), filepath.Join(p.Home, ".gemini", "settings.json")}
	}},
	{"vscode", "Visual Studio Code", "servers", "", func(p Places) []string {
		return []string{filepath.Join(p.Directory, ".vscode", "mcp.json"), filepath.Join(p.support(), "Code", "User", "mcp.json")}
	}},
	{"windsurf", "Windsurf", "mcpServers", "", func(p Places) []string {
		return []string{filepath.Join(p.Home, ".codeium", "windsurf", "mcp_config.json")}
	}},
}

// Clients returns the clients that are known, by name.
func Clients() []Client { return slices.Clone(clients) }

// Find returns the client of that name, or authz.ErrNotFound.
func Find(name string) (Client, error) {
	var names []string
	for _, c := range clients {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	return Client{}, authz.Errorf(authz.ErrNotFound, "no client %.64q: one of %s", name, strings.Join(names, ", "))
}

// Paths returns where the client's file may be, in the order in which they are looked for.
func (c Client) Paths(p Places) []string { return c.paths(p) }

// A Gateway is how a server is started behind the gateway.
type Gateway struct {
	Command string   // the program: an absolute path
	Args    []string // that come first, such as gateway mcp --agent NAME

	// Secret returns under which name a value is kept that was found in a server's environment or headers: of the server
	// and of the variable or header. No other value may be kept under that name.
	Secret func(server, variable, value string) string
}

// A Change is what a rewriting does.
type Change struct {
	After   []byte   // the new text
	Backup  []byte   // the old text, with the names of secrets in place of their values
	Secrets []Secret // that were taken out
	Servers []Server // all of them, in order
}

// Changed reports whether any server is rewritten.
func (c *Change) Changed() bool {
	return slices.ContainsFunc(c.Servers, func(s Server) bool { return s.Wrapped })
}

// A Secret is a key that was taken out of the text.
type Secret struct{ Name, Value string }

// A Server is what became of one server.
type Server struct {
	Name    string
	Wrapped bool
	Why     string   // if it was not: why
	Notes   []string // for who reads the diff
}

// reference is what stands in a backup in place of a secret's value.
const reference = "safeconduct-secret:"

// Reference returns what stands in a backup in place of the value of the secret of that name.
func Reference(name string) string { return reference + name }

// Rewrite has the client start its servers behind the gateway. Servers that are there already, and those that cannot be
// started so, stay as they are. authz.ErrInvalid: the text is no such configuration.
func (c Client) Rewrite(text []byte, g Gateway) (*Change, error) {
	doc, err := parse(text)
	if err != nil {
		return nil, err
	}
	ch := &Change{}
	var after, before edits
	for _, s := range c.servers(doc, text) {
		out := Server{Name: s.name}
		if err := g.wrap(s, &out, ch, &after, &before); err != nil {
			return nil, err
		}
		ch.Servers = append(ch.Servers, out)
	}
	ch.After, ch.Backup = after.apply(text), before.apply(text)
	return ch, nil
}

// An Undo is what is needed to take a rewriting back.
type Undo struct {
	Backup    []byte
	AsWritten bool // the current text is as it was written
	Program   string
	// Value returns the value of a secret, false if the name is none that was given here: the text then stays as it is.
	Value func(name string) (value string, ok bool, err error)
}

// Restored is what came of it.
type Restored struct {
	Text []byte
	Back []string // servers that are what they were before; nil if the whole text is
	Left []string // servers behind the gateway that the backup does not have
}

// Restore undoes a rewriting: servers of the current text that the gateway starts become again what they are in the
// backup, with the values of their secrets. What else has changed since stays. If nothing has, the old text comes back byte for
// byte.
func (c Client) Restore(current []byte, u Undo) (*Restored, error) {
	old, err := parse(u.Backup)
	if err != nil {
		return nil, fmt.Errorf("reading the backup: %w", err)
	}
	back, err := fill(old, u.Backup, u.Value)
	if err != nil {
		return nil, err
	}
	if u.AsWritten {
		return &Restored{Text: back}, nil
	}
	filled, err := parse(back)
	if err != nil {
		return nil, err
	}
	former := map[string]string{}
	for _, s := range c.servers(filled, back) {
		former[s.key()] = string(back[s.node.begin:s.node.end])
	}
	now, err := parse(current)
	if err != nil {
		return nil, err
	}
	out := &Restored{}
	var changes edits
	for _, s := range c.servers(now, current) {
		if program, ok := s.gateway(); !ok || program != u.Program {
			continue
		}
		if was, ok := former[s.key()]; ok {
			changes.replace(s.node.span, was)
			out.Back = append(out.Back, s.name)
		} else {
			out.Left = append(out.Left, s.name)
		}
	}
	out.Text = changes.apply(current)
	return out, nil
}

// fill puts the values of secrets into a backup.
func fill(doc *node, text []byte, secret func(string) (string, bool, error)) ([]byte, error) {
	var changes edits
	var walk func(n *node) error
	walk = func(n *node) error {
		if n.text != nil {
			at := strings.Index(*n.text, reference)
			if at < 0 {
				return nil
			}
			v, ok, err := secret((*n.text)[at+len(reference):])
			if err != nil || !ok {
				return err
			}
			changes.replace(n.span, quote((*n.text)[:at]+v))
		}
		for _, m := range n.members {
			if err := walk(m.value); err != nil {
				return err
			}
		}
		for _, e := range n.elements {
			if err := walk(e); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(doc); err != nil {
		return nil, err
	}
	return changes.apply(text), nil
}
