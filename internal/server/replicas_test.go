package server_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/safeconduct/safeconduct/internal/server"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// lockedBuffer is a program's log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// Replicas that start at once on an empty database agree on the first tokens and on one version of
// the organisation. They need PostgreSQL: a SQLite file has one server.
func TestReplicasStartAtOnce(t *testing.T) {
	dsn := storetest.Config(t).Postgres
	if dsn == "" {
		t.Skip("needs SAFECONDUCT_TEST_POSTGRES")
	}
	const n = 3
	org := organisation(t, testdata("search"))
	keys := map[string][]byte{"log.key": nil, "seal.key": nil} // which all share
	servers := make([]*server.Server, n)
	var logs lockedBuffer
	for i := range servers {
		cfg := org
		cfg.Postgres, cfg.Data, cfg.Log.Key, cfg.AdminToken, cfg.PEPToken = dsn, t.TempDir(), "", "", ""
		if i > 0 {
			for name, key := range keys {
				if err := os.WriteFile(filepath.Join(cfg.Data, name), key, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		s, err := server.New(t.Context(), cfg, "test", slog.New(slog.NewTextHandler(&logs, nil)))
		if err != nil {
			t.Fatal(err)
		}
		servers[i] = s
		if i == 0 {
			for name := range keys {
				if keys[name], err = os.ReadFile(filepath.Join(cfg.Data, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, s := range servers {
		wg.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Errorf("running a replica: %v", err)
			}
		})
	}
	defer func() { stop(); wg.Wait() }()
	var admin, pep []string
	for _, s := range servers {
		select {
		case <-s.Up():
		case <-time.After(30 * time.Second):
			t.Fatalf("a replica does not come up:\n%s", logs.String())
		}
		if made := s.Tokens(); made.Admin != "" {
			admin = append(admin, made.Admin)
		}
		if made := s.Tokens(); made.PEP != "" {
			pep = append(pep, made.PEP)
		}
	}
	if len(admin) != 1 || len(pep) != 1 {
		t.Fatalf("%d administrator's and %d enforcement point's tokens were made, want one of each", len(admin), len(pep))
	}
	for i, s := range servers {
		r := &running{TB: t, Server: s, http: &http.Client{Timeout: 20 * time.Second}}
		var st struct{ Policies int }
		if r.into(r.do("GET", "/v1/status", admin[0], ""), &st); st.Policies != 1 {
			t.Errorf("replica %d: version %d, want 1", i, st.Policies)
		}
		if rep := r.do("POST", "/access/v1/evaluation", pep[0], view); rep.status != 200 {
			t.Errorf("replica %d refuses the token that was made: %s", i, rep.body)
		}
	}
	if text := logs.String(); strings.Contains(text, admin[0]) || strings.Contains(text, pep[0]) {
		t.Error("a program's log holds a token")
	}
}
