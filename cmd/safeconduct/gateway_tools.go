package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/internal/gateway/secret"
	"github.com/safeconduct/safeconduct/internal/gateway/toolschema"
)

// A toolsCommand asks an MCP server for its tools.
type toolsCommand struct {
	cmd                 *cobra.Command
	name, url           string
	headers             []string
	secrets, secretsKey string
	prefix              bool
	schema, mapping     bool
	json                bool
}

func newGatewayTools() *cobra.Command {
	t := &toolsCommand{}
	c := &cobra.Command{
		Use:   "tools [flags] [-- SERVER ARGS...]",
		Short: "Draft a schema for policies about an MCP server's tools",
		Long: `List the tools of an MCP server, and draft what policies about them need.

--schema prints each tool as an action, with its arguments and their types, in two groups: tools that
change nothing by the server's own word, and the others. Put it beside the schema of examples/mcp.
--mapping prints the lines of a gateway's document by which a call of a tool is asked about as that action.
Without either, the tools are listed.

The server is started, or called, and asked once; nothing is decided about it.`,
		Example: `  $ safeconduct gateway tools --name files -- files-server /srv
  $ safeconduct gateway tools --name files --schema -- files-server /srv > files.cedarschema
  $ safeconduct gateway tools --name search --url https://mcp.example.com/mcp --mapping`,
		Args: cobra.ArbitraryArgs,
	}
	t.cmd = c
	f := c.Flags()
	f.StringVar(&t.name, "name", "", "`NAME` of the server: of the groups of its tools")
	f.StringVar(&t.url, "url", "", "`URL` of the server, in place of a command")
	f.StringArrayVar(&t.headers, "header", nil, "`NAME=VALUE` that the server at --url is sent; secret:NAME in it stands for a secret")
	f.StringVar(&t.secrets, "secrets", secret.DefaultFile(), "`FILE` of secrets")
	f.StringVar(&t.secretsKey, "secrets-key", secret.DefaultKey(), "`FILE` of the key to the secrets")
	f.BoolVar(&t.prefix, "prefix", false, "the gateway stands before several servers: tools are NAME__TOOL")
	f.BoolVar(&t.schema, "schema", false, "print a schema for policies")
	f.BoolVar(&t.mapping, "mapping", false, "print lines for the gateway's document")
	f.BoolVar(&t.json, "json", false, "print the tools as JSON")
	_ = c.MarkFlagRequired("name")
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case (t.url == "") == (len(args) == 0):
			return usageError{errors.New("name the server: its command behind --, or --url")}
		case t.schema && t.mapping, t.json && (t.schema || t.mapping):
			return usageError{errors.New("--schema, --mapping and --json are three texts: ask for one of them")}
		}
		return t.run(c.Context(), args)
	}
	return c
}

func (t *toolsCommand) run(ctx context.Context, command []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	transport, err := t.transport(ctx, command)
	if err != nil {
		return err
	}
	prefix := ""
	if t.prefix {
		prefix = t.name + "__"
	}
	tools, err := toolschema.List(ctx, transport, prefix)
	if err != nil {
		return err
	}
	w := t.cmd.OutOrStdout()
	switch {
	case t.schema:
		s, err := toolschema.Make(t.name, tools)
		if err != nil {
			return err
		}
		for _, n := range s.Notes {
			fmt.Fprintln(t.cmd.ErrOrStderr(), clip(n, 200))
		}
		_, err = io.WriteString(w, s.Cedar)
		return err
	case t.mapping:
		fmt.Fprintln(w, "tools:")
		for _, tool := range tools {
			// A literal of a mapping that begins with $ is written with two.
			action := tool.Name
			if strings.HasPrefix(action, "$") {
				action = "$" + action
			}
			fmt.Fprintf(w, "  %q: {action: %q}\n", tool.Name, action)
		}
		return nil
	case t.json:
		type item struct {
			Name        string `json:"name"`
			ReadOnly    bool   `json:"read_only"`
			Description string `json:"description,omitempty"`
			Input       any    `json:"input_schema"`
		}
		items := []item{}
		for _, tool := range tools {
			items = append(items, item{tool.Name, tool.ReadOnly, tool.Description, tool.Input})
		}
		return writeJSON(w, map[string]any{"items": items})
	}
	list := newTable("TOOL", "CHANGES", "WHAT")
	for _, tool := range tools {
		changes := "yes"
		if tool.ReadOnly {
			changes = "says no"
		}
		first, _, _ := strings.Cut(strings.TrimSpace(tool.Description), "\n")
		list.add(clip(tool.Name, 60), changes, clip(first, 80))
	}
	return list.print(w, "the server has no tools")
}

// transport returns the way to the server.
func (t *toolsCommand) transport(ctx context.Context, command []string) (mcp.Transport, error) {
	if t.url == "" {
		c := exec.CommandContext(ctx, command[0], command[1:]...)
		c.Stderr = t.cmd.ErrOrStderr()
		c.Env = serverEnvironment()
		return &mcp.CommandTransport{Command: c}, nil
	}
	u, err := url.Parse(t.url)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, usageError{fmt.Errorf("%.200q is no URL of an MCP server", t.url)}
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (err != nil || !ip.Unmap().IsLoopback()) {
		return nil, usageError{fmt.Errorf("%.200q is not https, and not on this host: what is sent there could be read on the way", t.url)}
	}
	header := http.Header{}
	var store *secret.File
	for _, h := range t.headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" {
			return nil, usageError{fmt.Errorf("--header is NAME=VALUE, not %.40q", h)}
		}
		if before, of, ok := strings.Cut(value, "secret:"); ok {
			var err error
			if store == nil {
				if store, err = secret.Open(t.secrets, t.secretsKey, false); err != nil {
					return nil, err
				}
			}
			if value, err = store.Value(of, time.Now()); err != nil {
				return nil, err
			}
			value = before + value
		}
		header.Add(name, value)
	}
	return &mcp.StreamableClientTransport{Endpoint: t.url, HTTPClient: &http.Client{
		Transport:     withHeader{header, http.DefaultTransport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, DisableStandaloneSSE: true}, nil
}

// serverEnvironment returns what a server that is started sees of the environment: not what is ours, by which one calls the service
// or opens secrets.
func serverEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(strings.ToUpper(v), "SAFECONDUCT_") })
}

// withHeader adds a header to every request.
type withHeader struct {
	header http.Header
	next   http.RoundTripper
}

func (t withHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, values := range t.header {
		r.Header[name] = values
	}
	return t.next.RoundTrip(r)
}
