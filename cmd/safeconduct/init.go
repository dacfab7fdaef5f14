package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/clientconfig"
	"github.com/safeconduct/safeconduct/internal/gateway/secret"
	"github.com/safeconduct/safeconduct/internal/keyfile"
)

// An initCommand has an MCP client start its servers behind the gateway, or undoes that.
type initCommand struct {
	cmd    *cobra.Command
	client clientconfig.Client

	file, program       string
	agent, key          string
	server, tokenFile   string
	secrets, secretsKey string
	yes, undo, json     bool
}

func newInit() *cobra.Command {
	in := &initCommand{}
	var names []string
	for _, c := range clientconfig.Clients() {
		names = append(names, c.Name)
	}
	c := &cobra.Command{
		Use:   "init CLIENT",
		Short: "Have an MCP client start its servers behind the gateway",
		Long: `Have an MCP client start its servers behind the gateway. CLIENT is one of
` + strings.Join(names, ", ") + `.

The client's configuration is rewritten so that each server in it is started by "safeconduct gateway mcp",
which has every call decided. What would change is shown first, as a diff, and nothing is written without
a yes. Comments, order, and whatever else stands in the file stay as they are.

Keys that stand in the environments and headers of servers are moved into the gateway's secret store
(see "safeconduct secret"). The old text is kept beside the file, as FILE.before-safeconduct, with the
names of the keys in place of their values. --undo takes everything back; what was changed since stays. A
server that was added later is taken in by running the command again.

The agent is the one whose acts are decided: --agent with the token of an enforcement point, which speaks
for it, or --key with the agent's own key, as "safeconduct token enroll" writes it.`,
		Example: `  $ safeconduct init cursor --agent assistant --token-file ~/.config/safeconduct/pep.token
  $ safeconduct init vscode --key ~/.config/safeconduct/assistant.key --file .vscode/mcp.json
  $ safeconduct init cursor --undo`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: names,
	}
	in.cmd = c
	f := c.Flags()
	f.StringVar(&in.file, "file", "", "the client's configuration `FILE` (default: where the client has it)")
	f.StringVar(&in.agent, "agent", "", "`ID` of the agent whose acts are decided")
	f.StringVar(&in.key, "key", "", "`FILE` of the agent's own key, in place of --agent")
	f.StringVar(&in.server, "server", "", "`URL` of the service (default: what the gateway uses)")
	f.StringVar(&in.tokenFile, "token-file", "", "`FILE` with the token of an enforcement point, needed with --agent")
	f.StringVar(&in.secrets, "secrets", secret.DefaultFile(), "`FILE` of secrets")
	f.StringVar(&in.secretsKey, "secrets-key", secret.DefaultKey(), "`FILE` of the key to the secrets")
	f.BoolVar(&in.undo, "undo", false, "take everything back")
	f.BoolVar(&in.yes, "yes", false, "do not ask before writing")
	f.BoolVar(&in.json, "json", false, "print what was done as JSON, and no diff")
	c.RunE = func(_ *cobra.Command, args []string) error { return in.run(args[0]) }
	return c
}

func (in *initCommand) run(name string) (err error) {
	if in.client, err = clientconfig.Find(name); err != nil {
		return usageError{err}
	}
	if in.json && !in.yes {
		return usageError{errors.New("--json asks nothing: add --yes")}
	}
	if in.program, err = os.Executable(); err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	if in.file == "" {
		if in.file, err = in.find(); err != nil {
			return err
		}
	}
	// A link to a file, as people keep their settings in, stays one.
	if in.file, err = filepath.EvalSymlinks(in.file); err != nil {
		return fmt.Errorf("looking for the client's configuration: %w", err)
	}
	current, err := os.ReadFile(in.file)
	if err != nil {
		return fmt.Errorf("reading the client's configuration: %w", err)
	}
	if in.undo {
		return in.restore(current)
	}
	return in.rewrite(current)
}

// find returns the client's configuration.
func (in *initCommand) find() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("finding your home directory: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the working directory: %w", err)
	}
	paths := in.client.Paths(clientconfig.Places{OS: runtime.GOOS, Home: home, Directory: dir, AppData: os.Getenv("APPDATA")})
	for _, p := range paths {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", hinted(authz.Errorf(authz.ErrNotFound, "%s has no configuration at %s", in.client.Title, strings.Join(paths, " or ")), "name it with --file")
}

// arguments returns what starts the gateway.
func (in *initCommand) arguments() ([]string, error) {
	args := []string{"gateway", "mcp"}
	switch {
	case in.agent == "" && in.key == "", in.agent != "" && in.key != "":
		return nil, usageError{errors.New("say whose acts are decided: --agent, or --key")}
	case in.agent != "" && in.tokenFile == "":
		return nil, usageError{errors.New("--agent needs --token-file, with the token of an enforcement point")}
	case in.agent != "":
		args = append(args, "--agent", in.agent)
	}
	for _, f := range []struct{ flag, path string }{{"--key", in.key}, {"--token-file", in.tokenFile}} {
		if f.path == "" {
			continue
		}
		// The client starts the gateway in a directory of its own.
		path, err := filepath.Abs(f.path)
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			return nil, fmt.Errorf("looking for the file of %s: %w", f.flag, err)
		}
		args = append(args, f.flag, path)
	}
	if in.server != "" {
		args = append(args, "--server", in.server)
	}
	for _, f := range []struct{ flag, path, usual string }{{"--secrets", in.secrets, secret.DefaultFile()}, {"--secrets-key", in.secretsKey, secret.DefaultKey()}} {
		if f.path == f.usual {
			continue
		}
		path, err := filepath.Abs(f.path)
		if err != nil {
			return nil, fmt.Errorf("looking for the file of %s: %w", f.flag, err)
		}
		args = append(args, f.flag, path)
	}
	return args, nil
}

// secretName returns under which name a key is kept that was found in a server's environment or headers.
func (in *initCommand) secretName(server, variable string) string {
	name := strings.Map(func(r rune) rune {
		if secret.ValidName("a" + string(r)) {
			return r
		}
		return '-'
	}, in.client.Name+"."+server+"."+variable)
	return name[:min(len(name), secret.MaxName-8)] // the end may get a number
}

func (in *initCommand) backup() string  { return in.file + ".before-safeconduct" }
func (in *initCommand) written() string { return in.file + ".before-safeconduct.sum" }

func (in *initCommand) rewrite(current []byte) error {
	args, err := in.arguments()
	if err != nil {
		return err
	}
	ch, err := in.client.Rewrite(current, clientconfig.Gateway{Command: in.program, Args: args, Secret: in.secretName})
	if err != nil {
		return fmt.Errorf("reading %s: %w", in.file, err)
	}
	// What was rewritten before is in the older backup as it was before that.
	backup := ch.Backup
	if old, err := os.ReadFile(in.backup()); err == nil {
		keep := func(name string) (string, error) { return clientconfig.Reference(name), nil }
		if backup, _, err = in.client.Restore(backup, false, old, keep); err != nil {
			return fmt.Errorf("joining with the older backup %s: %w", in.backup(), err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("reading the older backup: %w", err)
	}
	in.tell(ch)
	if !ch.Changed() {
		in.say("Nothing is to be changed in %s.", in.file)
		return in.report(ch, false)
	}
	if !in.json {
		in.show(ch.Backup, ch.After)
	}
	if ok, err := in.ask(); !ok || err != nil {
		return errors.Join(err, in.report(ch, false))
	}
	// The order loses nothing: first the keys are kept, then the old text, and the client's file changes last.
	if len(ch.Secrets) > 0 {
		store, err := secret.Open(in.secrets, in.secretsKey, true)
		if err != nil {
			return fmt.Errorf("opening the secrets: %w", err)
		}
		for _, s := range ch.Secrets {
			if err := store.Put(s.Name, s.Value, time.Now()); err != nil {
				return fmt.Errorf("keeping the secret %s: %w", s.Name, err)
			}
		}
	}
	sum := sha256.Sum256(ch.After)
	for _, f := range []struct {
		path string
		text []byte
	}{{in.backup(), backup}, {in.written(), []byte(hex.EncodeToString(sum[:]) + "\n")}, {in.file, ch.After}} {
		if err := keyfile.Replace(f.path, f.text); err != nil {
			return err
		}
	}
	in.say("Written. %s starts its servers behind the gateway when it is started again; --undo takes that back.", in.client.Title)
	return in.report(ch, true)
}

func (in *initCommand) restore(current []byte) error {
	backup, err := os.ReadFile(in.backup())
	if err != nil {
		return hinted(fmt.Errorf("reading what was kept: %w", err), "without it there is nothing to take back; --file names another configuration")
	}
	sum := sha256.Sum256(current)
	was, err := os.ReadFile(in.written())
	same := err == nil && strings.TrimSpace(string(was)) == hex.EncodeToString(sum[:])
	var store *secret.File
	var used []string
	text, left, err := in.client.Restore(current, same, backup, func(name string) (string, error) {
		if store == nil {
			if store, err = secret.Open(in.secrets, in.secretsKey, false); err != nil {
				return "", fmt.Errorf("opening the secrets: %w", err)
			}
		}
		used = append(used, name)
		return store.Value(name, time.Now())
	})
	if err != nil {
		return err
	}
	for _, name := range left {
		in.say("%s stays behind the gateway: it was there before", name)
	}
	if !in.json {
		hidden, _, err := in.client.Restore(current, same, backup, func(name string) (string, error) { return clientconfig.Reference(name), nil })
		if err != nil {
			return err
		}
		in.show(current, hidden)
	}
	if ok, err := in.ask(); !ok || err != nil {
		return errors.Join(err, in.report(&clientconfig.Change{}, false))
	}
	if err := keyfile.Replace(in.file, text); err != nil {
		return err
	}
	for _, path := range []string{in.backup(), in.written()} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing what was kept: %w", err)
		}
	}
	in.say("Taken back. The keys stand in %s again.", in.file)
	if len(used) > 0 {
		in.say("They are in the secret store as well: safeconduct secret rm %s", strings.Join(used, " "))
	}
	return in.report(&clientconfig.Change{}, true)
}

// tell says what becomes of each server.
func (in *initCommand) tell(ch *clientconfig.Change) {
	for _, s := range ch.Servers {
		if !s.Wrapped {
			in.say("%s stays as it is: %s", clip(s.Name, 60), s.Why)
		}
		for _, n := range s.Notes {
			in.say("%s: %s", clip(s.Name, 60), clip(n, 200))
		}
	}
}

// show prints the diff of two texts that hold no secrets.
func (in *initCommand) show(before, after []byte) {
	for line := range strings.Lines(string(diff.Diff(in.file, before, in.file, after))) {
		fmt.Fprintln(in.cmd.OutOrStdout(), clip(strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", "    "), 400))
	}
}

// ask returns whether to write.
func (in *initCommand) ask() (bool, error) {
	if in.yes {
		return true, nil
	}
	fmt.Fprintf(in.cmd.ErrOrStderr(), "Write %s? [y/N] ", in.file)
	line, err := bufio.NewReader(io.LimitReader(in.cmd.InOrStdin(), 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("reading the answer: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(line)); a == "y" || a == "yes" {
		return true, nil
	}
	in.say("Nothing was written.")
	return false, nil
}

func (in *initCommand) say(format string, args ...any) {
	fmt.Fprintf(in.cmd.ErrOrStderr(), format+"\n", args...)
}

// report prints what was done as JSON, if that is wanted.
func (in *initCommand) report(ch *clientconfig.Change, written bool) error {
	if !in.json {
		return nil
	}
	type server struct {
		Name    string   `json:"name"`
		Wrapped bool     `json:"wrapped"`
		Why     string   `json:"why,omitempty"`
		Notes   []string `json:"notes,omitempty"`
	}
	out := struct {
		File    string   `json:"file"`
		Backup  string   `json:"backup,omitempty"`
		Written bool     `json:"written"`
		Secrets []string `json:"secrets"`
		Servers []server `json:"servers"`
	}{File: in.file, Written: written, Secrets: []string{}, Servers: []server{}}
	if written && !in.undo {
		out.Backup = in.backup()
	}
	for _, s := range ch.Secrets {
		out.Secrets = append(out.Secrets, s.Name)
	}
	for _, s := range ch.Servers {
		out.Servers = append(out.Servers, server{s.Name, s.Wrapped, s.Why, s.Notes})
	}
	return writeJSON(in.cmd.OutOrStdout(), out)
}
