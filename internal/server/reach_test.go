package server_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/internal/server"
)

// An operator hears at the start, and at a publication, that a route tells a channel that is not configured.
func TestUnreachedChannelsAreNamed(t *testing.T) {
	cfg := asking(t)
	text, err := os.ReadFile(cfg.Organisation.Catalog)
	if err != nil {
		t.Fatal(err)
	}
	named := strings.Replace(string(text), "quorum: 2,", "quorum: 2, notify: [chat], evaluator: robot,", 1)
	cfg.Organisation.Catalog = filepath.Join(t.TempDir(), "catalog.yaml")
	if err := os.WriteFile(cfg.Organisation.Catalog, []byte(named), 0o600); err != nil {
		t.Fatal(err)
	}
	var logs lockedBuffer
	s, err := server.New(t.Context(), cfg, "test", slog.New(slog.NewTextHandler(&logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Up()
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"channel chat of route board", "evaluator robot of route board"} {
		if n := strings.Count(logs.String(), want); n != 1 {
			t.Errorf("%q was said %d times, want once:\n%s", want, n, logs.String())
		}
	}
}
