package server_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/safeconduct/safeconduct/internal/server"
)

// A log that has entries never gets another key by accident: not if the file is lost, and not if a
// replica has one of its own.
func TestLostKey(t *testing.T) {
	cfg := load(t, "")
	s := start(t, cfg)
	public := s.Key()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cfg.Data, "log.key")
	if err := os.Rename(path, path+".lost"); err != nil {
		t.Fatal(err)
	}
	refused := func(want error) {
		t.Helper()
		s, err := server.New(t.Context(), cfg, "test", discardLogger)
		if err == nil {
			_ = s.Run(t.Context())
			t.Fatalf("the server starts, want %v", want)
		}
		if !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
	}
	refused(server.ErrKeyMissing)
	if _, err := os.Stat(path); err == nil {
		t.Error("a key was made all the same")
	}

	// Somebody else's key, of the same name.
	other := load(t, "")
	other.Postgres = ""
	foreign := start(t, other)
	foreignPublic := foreign.Key()
	if err := foreign.stop(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(other.Data, "log.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(server.ErrKeyDiffers)
	cfg.Log.FormerKeys = []string{foreignPublic}
	refused(server.ErrKeyDiffers)

	// Lost for good: whoever can name the former key gets a new one, and the log goes on.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	cfg.Log.FormerKeys = []string{public}
	s = start(t, cfg)
	if s.Key() == public {
		t.Error("the key is the lost one")
	}
	var st struct{ Checkpoint, Head int64 }
	if s.into(s.do("GET", "/v1/status", adminToken, ""), &st); st.Checkpoint == 0 || st.Head == 0 {
		t.Errorf("status %+v", st)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	cfg.Log.FormerKeys = nil // the newest checkpoint is signed with the new key
	if err := start(t, cfg).stop(); err != nil {
		t.Fatal(err)
	}
}

// A configuration needs no home directory, if something names the data directory.
func TestNoHome(t *testing.T) {
	t.Setenv("HOME", "")
	t.Setenv("XDG_STATE_HOME", "")
	cfg, err := server.Parse("f", []byte("data: /d\n"))
	if err != nil || cfg.Data != "/d" || cfg.Log.Key != "/d/log.key" {
		t.Errorf("data /d, and no home: %q, %q, %v", cfg.Data, cfg.Log.Key, err)
	}
	cfg, err = server.Parse("f", []byte("listen: 127.0.0.1:0\n"))
	if err != nil || cfg.Data != "" {
		t.Errorf("no data, and no home: %q, %v", cfg.Data, err)
	}
	if _, err := server.New(t.Context(), cfg, "test", discardLogger); err == nil || !strings.Contains(err.Error(), "data must name a directory") {
		t.Errorf("starting without a data directory: %v", err)
	}
	cfg.Data = t.TempDir()
	start(t, cfg)
	if _, err := os.Stat(filepath.Join(cfg.Data, "log.key")); err != nil {
		t.Error(err)
	}
}
