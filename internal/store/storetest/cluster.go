package storetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ClusterConfig says how a throw-away PostgreSQL runs.
type ClusterConfig struct {
	// Fsync makes its commits durable, as in earnest. Without it, tests are faster, and survive the
	// death of any process, but not that of the machine.
	Fsync bool
	// Settings are further ones of postgresql.conf.
	Settings map[string]string
}

// A Cluster is a throw-away PostgreSQL that listens on a free port of the loopback address.
type Cluster struct {
	DSN string // of a superuser

	dir, data string
	port      int
}

// StartCluster starts a new PostgreSQL in a temporary directory. It needs initdb and pg_ctl in
// PATH or where distributions keep them. PostgreSQL refuses to run as root: then it runs as the
// user postgres.
func StartCluster(ctx context.Context, cfg ClusterConfig) (_ *Cluster, err error) {
	dir, err := os.MkdirTemp("", "safeconduct-postgres-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, data: filepath.Join(dir, "data")}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	if err := giveToPostgres(dir); err != nil {
		return nil, err
	}
	if err := c.run(ctx, "initdb", "-D", c.data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"); err != nil {
		return nil, err
	}
	if c.port, err = freePort(); err != nil {
		return nil, err
	}
	conf := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(c.port),
		"unix_socket_directories": "",
		"max_connections":         "400",
		"fsync":                   map[bool]string{true: "on", false: "off"}[cfg.Fsync],
		"log_min_messages":        "warning",
	}
	for k, v := range cfg.Settings {
		conf[k] = v
	}
	var b strings.Builder
	for k, v := range conf {
		fmt.Fprintf(&b, "%s = '%s'\n", k, strings.ReplaceAll(v, "'", "''"))
	}
	f, err := os.OpenFile(filepath.Join(c.data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(b.String())
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	u := url.URL{
		Scheme: "postgres", User: url.User("postgres"), Path: "/postgres",
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)), RawQuery: "sslmode=disable",
	}
	c.DSN = u.String()
	return c, c.Start(ctx)
}

// Start starts the server, and waits until it accepts connections.
func (c *Cluster) Start(ctx context.Context) error {
	return c.run(ctx, "pg_ctl", "-D", c.data, "-l", filepath.Join(c.dir, "log"), "-w", "-s", "start")
}

// Crash ends the server at once, as if it had been killed.
func (c *Cluster) Crash(ctx context.Context) error {
	return c.run(ctx, "pg_ctl", "-D", c.data, "-m", "immediate", "-w", "-s", "stop")
}

// Stop stops the server and removes its directory.
func (c *Cluster) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	if _, e := os.Stat(filepath.Join(c.data, "postmaster.pid")); e == nil {
		err = c.run(ctx, "pg_ctl", "-D", c.data, "-m", "fast", "-w", "-s", "stop")
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}

// run runs a program of PostgreSQL. Its output goes to a file: a server that it leaves behind
// would hold a pipe open.
func (c *Cluster) run(ctx context.Context, name string, args ...string) error {
	path, err := findProgram(name)
	if err != nil {
		return err
	}
	out, err := os.CreateTemp("", "safeconduct-"+name+"-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, out, out
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	asPostgres(cmd)
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
		return fmt.Errorf("%s: %w\n%s%s", name, err, said, log)
	}
	return nil
}

func findProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		return "", fmt.Errorf("%s is neither in PATH nor in /usr/lib/postgresql: install PostgreSQL's server", name)
	}
	return found[len(found)-1], nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
