package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/gateway"
	"github.com/safeconduct/safeconduct/internal/gateway/mcp"
	"github.com/safeconduct/safeconduct/internal/gateway/secret"
)

// A stdioGateway is the gateway before one MCP server, on standard input and output.
type stdioGateway struct {
	cmd *cobra.Command

	config                      string
	agent, key                  string
	server, tokenFile           string
	name, pins, approvals, task string
	secrets, secretsKey         string
	env, headers                []string
	url                         string
	failOpen, json              bool
}

// newGatewayMCP returns the command that stands before MCP servers: over stdio if a server's command follows --, or
// its URL is given, else over HTTP.
func newGatewayMCP() *cobra.Command {
	g := &stdioGateway{}
	c := &cobra.Command{
		Use:   "mcp [flags] [-- SERVER ARGS...]",
		Short: "Stand before MCP servers",
		Long: `Stand before MCP servers: every request of a client is decided before the server sees it.

With a server's command behind --, or its address in --url, the gateway is what an MCP client starts in the
server's place: it speaks on standard input and output, and starts or calls the server. --agent says whose
acts are decided, by the token of an enforcement point; or --key, by the agent's own key.

Without one it serves many servers over HTTP, as --config says.

A call that is refused comes back as a tool's error that says why, what would change it, and whether a
person can be asked. Lists show what the agent could be allowed. What servers say of their tools is
remembered, and a tool that is described otherwise than before is refused until somebody approves it
("safeconduct gateway pins").`,
		Example: `  $ safeconduct gateway mcp --agent assistant --token-file pep.token -- npx -y some-mcp-server /srv
  $ safeconduct gateway mcp --key assistant.key --secret GITHUB_TOKEN=github -- github-mcp-server stdio
  $ safeconduct gateway mcp --key assistant.key --url https://mcp.example.com/mcp \
      --header "Authorization=Bearer secret:example"
  $ safeconduct gateway mcp --config mcp.yaml`,
		Args: cobra.ArbitraryArgs,
	}
	g.cmd = c
	f := c.Flags()
	f.StringVar(&g.config, "config", "", "`FILE` that says more than flags can (YAML)")
	f.StringVar(&g.agent, "agent", "", "`ID` of the agent whose acts are decided")
	f.StringVar(&g.key, "key", "", "`FILE` of the agent's own key, in place of --agent")
	f.StringVar(&g.server, "server", "", "`URL` of the service (default $"+envURL+", else "+defaultURL+"; with --key, the key's issuer)")
	f.StringVar(&g.tokenFile, "token-file", "", "`FILE` with the token of an enforcement point (default: the token in $SAFECONDUCT_TOKEN)")
	f.StringVar(&g.name, "name", "", "`NAME` of the server in decisions (default: its command)")
	f.StringVar(&g.url, "url", "", "`URL` of the server, in place of a command")
	f.StringArrayVar(&g.headers, "header", nil, "`NAME=VALUE` that the server at --url is sent; secret:NAME in it stands for a secret, env:NAME for a variable")
	f.StringArrayVar(&g.env, "secret", nil, "`VARIABLE=NAME`: the server's environment gets the secret of that name")
	f.StringVar(&g.secrets, "secrets", secret.DefaultFile(), "`FILE` of secrets")
	f.StringVar(&g.secretsKey, "secrets-key", secret.DefaultKey(), "`FILE` of the key to the secrets")
	f.StringVar(&g.pins, "pins", "", "`FILE` in which descriptors of tools are remembered (default: one for each server, with your configurations)")
	f.StringVar(&g.approvals, "approvals", "", "`MODE` for calls that a person could allow: refuse, wait or task (default refuse)")
	f.StringVar(&g.task, "task", "", "`NAME` of the kind of task that the agent does")
	f.BoolVar(&g.failOpen, "allow-fail-open", false, "permit on_unavailable: allow; what it lets pass was decided by nobody")
	f.BoolVar(&g.json, "json", false, "before one server: log JSON")
	for _, name := range []string{"config", "key", "token-file", "secrets", "secrets-key", "pins"} {
		_ = c.MarkFlagFilename(name)
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.ArgsLenAtDash() != 0 || len(args) == 0 {
			switch {
			case len(args) > 0:
				return usageError{hinted(errors.New("a server's command stands behind --"), "safeconduct gateway mcp [flags] -- %s", strings.Join(args, " "))}
			case g.url == "":
				return runGatewayMCPHTTP(cmd, args)
			}
		}
		return g.run(cmd.Context(), args)
	}
	return c
}

// run serves one client.
func (g *stdioGateway) run(ctx context.Context, command []string) error {
	switch {
	case g.url != "" && len(command) > 0:
		return usageError{errors.New("a server has a command or a --url, not both")}
	case len(g.headers) > 0 && g.url == "":
		return usageError{errors.New("--header is for a server at --url")}
	case len(g.env) > 0 && g.url != "":
		return usageError{errors.New("--secret is for a server that is started: a header of one at --url may hold secret:NAME")}
	}
	log := slog.New(slog.NewTextHandler(g.cmd.ErrOrStderr(), nil))
	if g.json {
		log = slog.New(slog.NewJSONHandler(g.cmd.ErrOrStderr(), nil))
	}
	var doc mcp.Document
	if g.config != "" {
		if err := gateway.Load(g.config, &doc); err != nil {
			return wrongDoor(err, g.config, "mcp")
		}
	}
	if err := g.override(&doc, command); err != nil {
		return err
	}
	gw, who, err := g.open(ctx, &doc, log)
	if err != nil {
		return err
	}
	pinFile, pinFlags := doc.Path(doc.PinFile), ""
	if pinFile == "" {
		pinFlags = "--name " + mcp.Quote(doc.Name)
		if pinFile, err = defaultPins(doc.Name); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(pinFile), 0o700); err != nil {
		return fmt.Errorf("making the directory of the pins: %w", err)
	}
	pins, err := mcp.OpenPins(pinFile)
	if err != nil {
		return err
	}
	link, err := g.link(command)
	if err != nil {
		return err
	}
	door, err := mcp.NewStdio(mcp.StdioConfig{
		Config: mcp.Config{Gateway: gw, Options: doc.Options, Pins: pins, PinsFlags: pinFlags, Resource: doc.Name, Logger: log, Self: gw.Reports == nil},
		Name:   doc.Name, Who: who, In: g.cmd.InOrStdin(), Out: g.cmd.OutOrStdout(), Link: link,
	})
	if err != nil {
		_ = link.Close(ctx)
		return err
	}
	if gw.Reports == nil { // an agent by itself reports nothing of a gateway
		return door.Run(ctx)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- gw.Run(background) }()
	err = door.Run(ctx)
	stop()
	if runErr := <-done; runErr != nil {
		log.Error("the gateway's background has failed", "error", runErr)
	}
	return err
}

// override has flags say what the document does not, or says otherwise.
func (g *stdioGateway) override(doc *mcp.Document, command []string) error {
	for _, o := range []struct {
		flag string
		into *string
	}{{g.name, &doc.Name}, {g.approvals, &doc.Approvals.Mode}, {g.task, &doc.Task}, {g.server, &doc.Service.URL}} {
		if o.flag != "" {
			*o.into = o.flag
		}
	}
	// What a flag names is relative to where the command was started, not to the document.
	for _, o := range []struct {
		flag string
		into *string
	}{{g.pins, &doc.PinFile}, {g.tokenFile, &doc.Service.TokenFile}} {
		if o.flag != "" {
			path, err := filepath.Abs(o.flag)
			if err != nil {
				return err
			}
			*o.into = path
		}
	}
	if doc.Name == "" {
		doc.Name = serverName(command, g.url)
	}
	switch m := doc.Approvals.Mode; m {
	case "", "refuse", "wait", "task":
	default:
		return usageError{fmt.Errorf("--approvals is refuse, wait or task, not %q", m)}
	}
	if g.agent != "" && g.key != "" {
		return usageError{errors.New("say whose acts are decided: --agent, or --key, not both")}
	}
	if g.agent != "" {
		doc.Authorization = gateway.Authorization{Type: "none", Subject: authz.Ref{Type: authz.AgentType, ID: g.agent}}
	}
	if g.key == "" && doc.Authorization.Subject.IsZero() {
		return usageError{hinted(errors.New("nobody says whose acts are decided"), "add --agent with the token of an enforcement point, or --key with the agent's own key")}
	}
	return nil
}

// open returns what asks, and who the client is.
func (g *stdioGateway) open(ctx context.Context, doc *mcp.Document, log *slog.Logger) (*gateway.Gateway, func(context.Context) (*gateway.Who, error), error) {
	var agent *client.Agent
	if g.key != "" {
		var err error
		if agent, err = client.LoadAgent(g.key); err != nil {
			return nil, nil, err
		}
		doc.Authorization = gateway.Authorization{Type: "none", Subject: authz.Ref{Type: authz.AgentType, ID: agent.ID()}}
		if doc.Service.TokenFile == "" && os.Getenv(gateway.TokenVariable) == "" {
			return selfGateway(agent, log)
		}
		if doc.Service.URL == "" {
			doc.Service.URL = agent.Issuer()
		}
	}
	gw, err := gateway.Open(ctx, &doc.Common, gateway.Options{Logger: log, Version: buildVersion().Version, Door: "mcp", Stdio: true,
		AllowFailOpen: g.failOpen, FailOpen: doc.FailOpen()})
	if err != nil {
		return nil, nil, err
	}
	if err := gw.Start(ctx); err != nil {
		return nil, nil, err
	}
	s := doc.Authorization.Subject
	if agent != nil {
		return gw, presenting(agent, s.String()), nil
	}
	return gw, fixed(&gateway.Who{Subject: authz.Entity{Ref: s}, OnBehalf: doc.Authorization.OnBehalf, Key: s.String()}), nil
}

// fixed is one caller for every request.
func fixed(w *gateway.Who) func(context.Context) (*gateway.Who, error) {
	return func(context.Context) (*gateway.Who, error) { return w, nil }
}

// selfGateway has an agent ask about itself, by passports that are bound to its key. It can say nothing of what was observed, nor of
// the gateway.
func selfGateway(agent *client.Agent, log *slog.Logger) (*gateway.Gateway, func(context.Context) (*gateway.Who, error), error) {
	c, err := agent.Client(client.TokenRequest{})
	if err != nil {
		return nil, nil, err
	}
	outcome := func(ctx context.Context, id string, o client.Outcome) error {
		o.Met = nil // which is not the agent's to say
		return c.Outcome(ctx, id, o)
	}
	s := authz.Ref{Type: authz.AgentType, ID: agent.ID()}
	return &gateway.Gateway{Client: c, Logger: log,
		Enforcer: &client.Enforcer{Guard: &client.Guard{Client: c}, Handlers: client.BuiltIn(log), Outcome: outcome},
	}, fixed(&gateway.Who{Subject: authz.Entity{Ref: s}, Key: s.String()}), nil
}

// presenting has an agent show a passport for every question, with a proof of its own.
func presenting(agent *client.Agent, key string) func(context.Context) (*gateway.Who, error) {
	tokens := agent.Tokens(client.TokenRequest{Resource: agent.Issuer()})
	return func(ctx context.Context) (*gateway.Who, error) {
		t, err := tokens.Token(ctx)
		if err != nil {
			return nil, err
		}
		proof, err := t.Proof(http.MethodPost, agent.Issuer(), "")
		if err != nil {
			return nil, err
		}
		return &gateway.Who{Key: key, Claims: map[string]any{"sub": agent.ID(), "client_id": agent.ID()}, Presented: &authz.Presented{
			Token: t.Value, Scheme: "dpop", Proof: proof, Method: http.MethodPost, URL: agent.Issuer(), Audience: agent.Issuer()}}, nil
	}
}

// link starts the server, or makes ready to call it.
func (g *stdioGateway) link(command []string) (mcp.Link, error) {
	var store *secret.File
	value := func(name string) (string, error) {
		if store == nil {
			var err error
			if store, err = secret.Open(g.secrets, g.secretsKey, false); err != nil {
				return "", fmt.Errorf("opening the secrets: %w", err)
			}
		}
		return store.Value(name, time.Now())
	}
	if g.url != "" {
		h := http.Header{}
		for _, line := range g.headers {
			// What an MCP client fills in comes in the environment, where nobody else sees it.
			if before, name, ok := strings.Cut(line, "env:"); ok {
				v, ok := os.LookupEnv(name)
				if !ok {
					return nil, usageError{fmt.Errorf("--header %s: there is no environment variable %q", before, name)}
				}
				line = before + v
			}
			if err := mcp.Header(h, line, value); err != nil {
				return nil, err
			}
		}
		return mcp.Dial(g.url, h)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = g.cmd.ErrOrStderr()
	cmd.Env = serverEnvironment()
	for _, line := range g.env {
		variable, name, ok := strings.Cut(line, "=")
		if !ok || variable == "" || name == "" {
			return nil, usageError{fmt.Errorf("--secret is VARIABLE=NAME, not %q", line)}
		}
		v, err := value(name)
		if err != nil {
			return nil, err
		}
		cmd.Env = append(cmd.Env, variable+"="+v)
	}
	return mcp.Start(cmd)
}

// serverName is what a server is called that nobody has named.
func serverName(command []string, url string) string {
	text := strings.Join(command, "\x00") + url
	sum := sha256.Sum256([]byte(text))
	base := "remote"
	if len(command) > 0 {
		base = filepath.Base(command[0])
	}
	return base + "-" + hex.EncodeToString(sum[:4])
}

// defaultPins is where the pins of a server are.
func defaultPins(name string) (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", hinted(fmt.Errorf("finding the directory of configurations: %w", err), "name a file with --pins")
	}
	safe := strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
	if safe != name || strings.HasPrefix(safe, ".") {
		sum := sha256.Sum256([]byte(name)) // two names that look alike are two files
		safe = "server-" + hex.EncodeToString(sum[:8])
	}
	return filepath.Join(dir, "safeconduct", "pins", safe+".json"), nil
}
