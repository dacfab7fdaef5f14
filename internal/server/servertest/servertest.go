// Package servertest runs the service itself, for tests of those who talk to it: with an organisation, on the database that
// storetest gives, for as long as the test lasts.
package servertest

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/safeconduct/safeconduct/examples/agentdojo"
	"github.com/safeconduct/safeconduct/internal/server"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// Tokens of the service's first callers.
const (
	AdminToken = "test-administrator-token-0123456789"
	PEPToken   = "test-enforcement-token-0123456789"
)

// Example returns the configuration of a service with the example organisation of recorded agents.
func Example(t testing.TB) server.Config { return Files(t, agentdojo.Files) }

// Files returns the configuration of a service with the organisation that stands in files: as safeconduct.yaml says
// or, without one, catalog.yaml, schema.cedarschema, agents.yaml and every *.cedar.
func Files(t testing.TB, files fs.FS) server.Config {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, files); err != nil {
		t.Fatal(err)
	}
	cfg := server.Default()
	cfg.Organisation = server.Organisation{Catalog: filepath.Join(dir, "catalog.yaml"), Schema: filepath.Join(dir, "schema.cedarschema"),
		Policies: []string{filepath.Join(dir, "*.cedar")}, Agents: filepath.Join(dir, "agents.yaml")}
	if file := filepath.Join(dir, "safeconduct.yaml"); exists(file) {
		var err error
		if cfg, err = server.Load(file); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

// Texts is Files of texts, by their names.
func Texts(t testing.TB, texts map[string]string) server.Config {
	t.Helper()
	files := fstest.MapFS{}
	for name, text := range texts {
		files[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o600}
	}
	return Files(t, files)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// Start runs a service of a configuration, which gets an address, a directory, a database and the tokens of this package, and
// returns once it can decide. It stops with the test.
func Start(t testing.TB, cfg server.Config) *server.Server {
	t.Helper()
	cfg.Listen, cfg.Data, cfg.Log.Key, cfg.Postgres = "127.0.0.1:0", t.TempDir(), "", storetest.Config(t).Postgres
	cfg.AdminToken, cfg.PEPToken = AdminToken, PEPToken
	s, err := server.New(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stopping the service: %v", err)
		}
	})
	select {
	case <-s.Up():
	case <-time.After(30 * time.Second):
		t.Fatal("the service does not come up")
	}
	return s
}
