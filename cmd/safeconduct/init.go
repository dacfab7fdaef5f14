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

	mode  os.FileMode  // of the client's file
	store *secret.File // nil until it is needed
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
	current, err := in.read()
	if err != nil {
		return err
	}
	if in.undo {
		return in.restore(current)
	}
	return in.rewrite(current)
}

// maxConfig is the most bytes of a configuration.
const maxConfig = 32 << 20

// read returns the client's configuration.
func (in *initCommand) read() ([]byte, error) {
	info, err := os.Stat(in.file)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxConfig) {
		err = authz.Errorf(authz.ErrInvalid, "%s is no file, or larger than %d MiB", in.file, maxConfig>>20)
	}
	var text []byte
	if err == nil {
		in.mode = info.Mode().Perm()
		text, err = os.ReadFile(in.file)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the client's configuration: %w", err)
	}
	return text, nil
}

// replace writes the client's configuration, unless it is not what it was: clients write it, too.
func (in *initCommand) replace(before, after []byte) error {
	now, err := in.read()
	if err == nil && string(now) != string(before) {
		err = hinted(authz.Errorf(authz.ErrConflict, "%s has changed meanwhile, and was left as it is", in.file), "run the command again; end the client first if it writes the file all the time")
	}
	if err == nil {
		err = keyfile.Replace(in.file, after)
	}
	if err == nil {
		err = os.Chmod(in.file, in.mode)
	}
	return err
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

// open opens the secrets. With create they need not be there.
func (in *initCommand) open(create bool) (err error) {
	if in.store == nil {
		if in.store, err = secret.Open(in.secrets, in.secretsKey, create); err != nil {
			return fmt.Errorf("opening the secrets: %w", err)
		}
	}
	return nil
}

// prefix begins the names of all secrets of the client's file, and of no other file.
func (in *initCommand) prefix() string {
	path, err := filepath.Abs(in.file)
	if err != nil {
		path = in.file
	}
	sum := sha256.Sum256([]byte(path))
	return in.client.Name + "-" + hex.EncodeToString(sum[:4]) + "."
}

// secretName returns under which name a value is kept that was found in a server's environment or headers: one that
// has this value already, or none.
func (in *initCommand) secretName(server, variable, value string) string {
	base := in.prefix() + strings.Map(func(r rune) rune {
		if secret.ValidName("a" + string(r)) {
			return r
		}
		return '-'
	}, server+"."+variable)
	base = base[:min(len(base), secret.MaxName-8)] // the end may get a number
	name := base
	for n := 2; in.store != nil; n++ {
		if kept, err := in.store.Value(name, time.Now()); errors.Is(err, authz.ErrNotFound) || err == nil && kept == value {
			break
		}
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}

func (in *initCommand) backup() string  { return in.file + ".before-safeconduct" }
func (in *initCommand) written() string { return in.file + ".before-safeconduct.sum" }

func (in *initCommand) rewrite(current []byte) error {
	args, err := in.arguments()
	if err != nil {
		return err
	}
	if err := in.open(false); err != nil && !errors.Is(err, authz.ErrNotFound) {
		return err
	}
	ch, err := in.client.Rewrite(current, clientconfig.Gateway{Command: in.program, Args: args, Secret: in.secretName})
	if err != nil {
		return fmt.Errorf("reading %s: %w", in.file, err)
	}
	// What was rewritten before is in the older backup as it was before that.
	backup := ch.Backup
	if old, err := os.ReadFile(in.backup()); err == nil {
		joined, err := in.client.Restore(backup, in.taking(old, false, in.name))
		if err != nil {
			return fmt.Errorf("joining with the older backup %s: %w", in.backup(), err)
		}
		backup = joined.Text
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
		if err := in.open(true); err != nil {
			return err
		}
		for _, s := range ch.Secrets {
			if err := in.store.Put(s.Name, s.Value, time.Now()); err != nil {
				return fmt.Errorf("keeping the secret %s: %w", s.Name, err)
			}
		}
	}
	sum := sha256.Sum256(ch.After)
	for _, f := range []struct {
		path string
		text []byte
	}{{in.backup(), backup}, {in.written(), []byte(hex.EncodeToString(sum[:]) + " " + in.program + "\n")}} {
		if err := keyfile.Replace(f.path, f.text); err != nil {
			return err
		}
	}
	if err := in.replace(current, ch.After); err != nil {
		return err
	}
	in.say("Written. %s starts its servers behind the gateway when it is started again; --undo takes that back.", in.client.Title)
	return in.report(ch, true)
}

// name stands for the value of a secret of this file where values are not to be seen.
func (in *initCommand) name(name string) (string, bool, error) {
	return clientconfig.Reference(name), strings.HasPrefix(name, in.prefix()), nil
}

// taking returns how a rewriting is taken back, and knows by which program it was made.
func (in *initCommand) taking(backup []byte, same bool, value func(string) (string, bool, error)) clientconfig.Undo {
	u := clientconfig.Undo{Backup: backup, AsWritten: same, Program: in.program, Value: value}
	if text, err := os.ReadFile(in.written()); err == nil {
		if _, program, ok := strings.Cut(strings.TrimSpace(string(text)), " "); ok {
			u.Program = program
		}
	}
	return u
}

func (in *initCommand) restore(current []byte) error {
	backup, err := os.ReadFile(in.backup())
	if err != nil {
		return hinted(fmt.Errorf("reading what was kept: %w", err), "without it there is nothing to take back; --file names another configuration")
	}
	sum := sha256.Sum256(current)
	was, err := os.ReadFile(in.written())
	same := err == nil && strings.HasPrefix(string(was), hex.EncodeToString(sum[:]))
	var used []string
	back, err := in.client.Restore(current, in.taking(backup, same, func(name string) (string, bool, error) {
		if !strings.HasPrefix(name, in.prefix()) { // a text can speak of any secret; this file's are its own
			return "", false, nil
		}
		if err := in.open(false); err != nil {
			return "", false, err
		}
		used = append(used, name)
		v, err := in.store.Value(name, time.Now())
		return v, true, err
	}))
	if err != nil {
		return err
	}
	for _, name := range back.Left {
		in.say("%s stays behind the gateway: what was kept has no server of that name", clip(name, 60))
	}
	if !same && len(back.Back) == 0 {
		return hinted(authz.Errorf(authz.ErrConflict, "no server of %s is one that was put behind the gateway: nothing was changed", in.file), "the old text is in %s", in.backup())
	}
	if !in.json {
		hidden, err := in.client.Restore(current, in.taking(backup, same, in.name))
		if err != nil {
			return err
		}
		in.show(current, hidden.Text)
	}
	if ok, err := in.ask(); !ok || err != nil {
		return errors.Join(err, in.report(&clientconfig.Change{}, false))
	}
	if err := in.replace(current, back.Text); err != nil {
		return err
	}
	in.say("Taken back.")
	if len(used) > 0 {
		in.say("The keys stand in %s again.", in.file)
	}
	if len(back.Left) > 0 {
		in.say("What was kept stays, because something is left: %s", in.backup())
		return in.report(&clientconfig.Change{}, true)
	}
	for _, path := range []string{in.backup(), in.written()} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing what was kept: %w", err)
		}
	}
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
