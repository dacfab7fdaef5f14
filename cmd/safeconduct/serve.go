package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/server"
)

// envSealKey names the variable that holds the key which seals signing keys, in place of a file.
const envSealKey = "SAFECONDUCT_SEAL_KEY"

func newServe() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the service",
		Long: `Run the service until it is interrupted. Without a file it keeps a SQLite database and the log's key
in --data, listens on loopback, and waits for policies to be published. With --config it reads a
configuration, which may name an organisation's files; what differs from the active version is
published at the start.

The first administrator's and the first enforcement point's bearer tokens are taken from
SAFECONDUCT_ADMIN_TOKEN and SAFECONDUCT_PEP_TOKEN. If one is not set, it is generated at the first
start and shown once, on standard output: the service keeps only its hash.`,
		Example: `  $ safeconduct serve --config examples/agentdojo/safeconduct.yaml --data /tmp/agentdojo
  Safeconduct listens on http://127.0.0.1:8180
  administrator's token (shown only now):      sc_admin_...
  enforcement point's token (shown only now):  sc_pep_...`,
		Args: cobra.NoArgs,
	}
	asJSON := c.Flags().Bool("json", false, "print the address and the tokens as JSON, and log JSON")
	config := c.Flags().String("config", "", "configuration `FILE` (YAML), or the directory of a "+server.FileName)
	data := c.Flags().String("data", "", "`DIRECTORY` of the database and the log's key (default $XDG_STATE_HOME/safeconduct)")
	listen := c.Flags().String("listen", "", "`ADDRESS` to listen on (default 127.0.0.1:8180); port 0 takes a free one")
	verbose := c.Flags().BoolP("verbose", "v", false, "log more")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	_ = c.MarkFlagDirname("data")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := serveConfig(*config, *data, *listen)
		if err != nil {
			return err
		}
		return serve(c, cfg, newLogger(c.ErrOrStderr(), *asJSON, *verbose), *asJSON)
	}
	return c
}

// keyFile is the name of the log's key in the data directory.
const keyFile = "log.key"

// serveConfig returns the configuration of a file, with what flags and the environment say instead.
func serveConfig(file, data, listen string) (server.Config, error) {
	cfg := server.Default()
	if file != "" {
		var err error
		if cfg, err = server.Load(file); err != nil {
			return server.Config{}, err
		}
	}
	if data != "" {
		if cfg.Log.Key == filepath.Join(cfg.Data, keyFile) {
			cfg.Log.Key = "" // where it is by default, in the directory
		}
		cfg.Data = data
	}
	if listen != "" {
		cfg.Listen = listen
	}
	cfg.AdminToken, cfg.PEPToken = os.Getenv(envToken), os.Getenv(envPEPToken)
	cfg.Keys.SealText = os.Getenv(envSealKey)
	return cfg, nil
}

func newLogger(w io.Writer, asJSON, verbose bool) *slog.Logger {
	opts := &slog.HandlerOptions{}
	if verbose {
		opts.Level = slog.LevelDebug
	}
	if asJSON {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// serve runs the service until the command's context ends, and says where it listens once it can
// decide.
func serve(c *cobra.Command, cfg server.Config, logger *slog.Logger, asJSON bool) error {
	s, err := server.New(c.Context(), cfg, buildVersion().String(), logger)
	if err != nil {
		return startHint(err)
	}
	ctx, stop := context.WithCancel(c.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case err := <-done:
		return startHint(err)
	case <-s.Up():
	}
	if err := introduce(c.OutOrStdout(), s, asJSON); err != nil {
		stop()
		return errors.Join(err, <-done)
	}
	return <-done
}

// introduce says where the service is, and the tokens that it made.
func introduce(w io.Writer, s *server.Server, asJSON bool) error {
	t := s.Tokens()
	if asJSON {
		return writeJSON(w, struct {
			URL   string `json:"url"`
			Key   string `json:"log_verifier"`
			Admin string `json:"admin_token,omitempty"`
			PEP   string `json:"pep_token,omitempty"`
		}{s.URL(), s.Key(), t.Admin, t.PEP})
	}
	_, err := fmt.Fprintf(w, "Safeconduct listens on %s\n", s.URL())
	if err == nil && t.Admin != "" {
		_, err = fmt.Fprintf(w, "administrator's token (shown only now):      %s\n", t.Admin)
	}
	if err == nil && t.PEP != "" {
		_, err = fmt.Fprintf(w, "enforcement point's token (shown only now):  %s\n", t.PEP)
	}
	return err
}

// startHint says what to do if the service does not start.
func startHint(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return hinted(err, "another program listens there; choose another port with --listen, or a free one with --listen 127.0.0.1:0")
	case errors.Is(err, server.ErrKeyMissing):
		return hinted(err, "restore log.key from its backup; replicas need the same file. If it is lost, name its public half (GET /v1/audit/key, or whatever was kept of it) under log.former_keys, and a new key is made")
	case errors.Is(err, server.ErrKeyDiffers):
		return hinted(err, "replicas share one log.key: copy the file that the others use. After a change of keys, name the public half of the one before under log.former_keys")
	case errors.Is(err, server.ErrSealMissing):
		return hinted(err, "restore seal.key from its backup, or give its text in %s; replicas need the same one. If it is lost, start once with keys.replace_lost: true", envSealKey)
	case errors.Is(err, authz.ErrConflict):
		return hinted(err, "another process serves this data directory; stop it, or choose another with --data")
	}
	return err
}
