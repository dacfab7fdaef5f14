package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/examples/agentdojo"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/store"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// A promise is a decision that a client has received: what it asked in and what it was told.
type promise struct {
	session string
	effect  authz.Effect
	seq     int64
}

// The service is killed under load, again and again. Whatever a client was told is in the log, as it
// was told, and the log verifies.
func TestKilledUnderLoad(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	t.Run("sqlite", func(t *testing.T) {
		dir := t.TempDir()
		killed(t, rounds, dir, "", store.Config{SQLite: filepath.Join(dir, "data", "safeconduct.db")})
	})
	t.Run("postgres", func(t *testing.T) {
		cfg := storetest.Postgres(t)
		killed(t, rounds, t.TempDir(), fmt.Sprintf("postgres: %q\n", cfg.Postgres), cfg)
	})
}

func killed(t *testing.T, rounds int, dir, extra string, db store.Config) {
	config := filepath.Join(dir, "safeconduct.yaml")
	if err := os.CopyFS(dir, agentdojo.Files); err != nil {
		t.Fatal(err)
	}
	extra += fmt.Sprintf("data: %q\n", filepath.Join(dir, "data"))
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, append(text, extra...), 0o600); err != nil {
		t.Fatal(err)
	}
	const adminToken, pepToken = "an-administrators-token", "an-enforcement-points-token"
	env := append(os.Environ(), envToken+"="+adminToken, envPEPToken+"="+pepToken)

	var promises []promise
	for round := range rounds {
		s, err := launch(env, "--config", config)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		t.Cleanup(s.kill)
		got := load(t, s, pepToken, round)
		t.Logf("round %d: %d decisions received", round, len(got))
		if len(got) == 0 {
			t.Errorf("round %d: no decision was received", round)
		}
		promises = append(promises, got...)
	}

	// What the promises say is compared with the log as it is read from the database, by nobody's help.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	key, err := audit.LoadKey(filepath.Join(dir, "data", keyFile))
	if err != nil {
		t.Fatal(err)
	}
	var out, talk bytes.Buffer
	if code := run(ctx, []string{"audit", "verify", "--config", config, "--json"}, strings.NewReader(""), &out, &talk); code != 0 {
		t.Errorf("audit verify --config: exit status %d\n%s%s", code, out.String(), talk.String())
	}
	report, entries := readLog(ctx, t, db, key)
	if err := report.Err(); err != nil {
		t.Errorf("the log does not verify: %v", err)
	}
	seen := map[int64]bool{}
	for _, p := range promises {
		if seen[p.seq] {
			t.Errorf("two decisions have the number %d", p.seq)
		}
		seen[p.seq] = true
		e, ok := entries[p.seq]
		if !ok {
			t.Errorf("decision d%d was received, and the log has %d entries without it", p.seq, report.Entries)
			continue
		}
		var r record
		if err := json.Unmarshal(e.Body, &r); err != nil {
			t.Fatal(err)
		}
		if r.Request.Observed.Session != p.session || r.Decision.Effect != p.effect {
			t.Errorf("d%d: session %s was told %s; the log says session %s, %s", p.seq, p.session, p.effect, r.Request.Observed.Session, r.Decision.Effect)
		}
	}
	t.Logf("%d decisions received, %d entries in the log", len(promises), report.Entries)
}

// load asks from several clients until the service is killed under it, and returns what they were told.
func load(t *testing.T, s *service, token string, round int) []promise {
	var mu sync.Mutex
	var got []promise
	var wg sync.WaitGroup
	for n := range 8 {
		c, err := client.New(s.URL, token)
		if err != nil {
			t.Fatal(err)
		}
		c.Attempts = 1
		wg.Go(func() {
			for i := 0; ; i++ {
				session := fmt.Sprintf("%d-%d-%d", round, n, i)
				d, err := c.Decide(t.Context(), killQuestion(session, i))
				if err != nil {
					if !errors.Is(err, authz.ErrUnavailable) {
						t.Errorf("session %s: %v, want only authz.ErrUnavailable", session, err)
					}
					return
				}
				if d.Seq == 0 {
					t.Errorf("session %s: a decision without a number: %+v", session, d)
				}
				mu.Lock()
				got = append(got, promise{session, d.Effect, d.Seq})
				mu.Unlock()
			}
		})
	}
	time.Sleep(100*time.Millisecond + rand.N(300*time.Millisecond)) // the moment of the kill is chance
	s.kill()
	wg.Wait()
	return got
}

// killQuestion asks for a payment: every other one is held.
func killQuestion(session string, i int) authz.Request {
	p := &authz.Provenance{Prompt: []string{"recipient", "amount"}}
	if i%2 == 1 {
		p = &authz.Provenance{Untrusted: []string{"recipient", "amount"}}
	}
	return authz.Request{
		Subject:  authz.Entity{Ref: authz.Ref{Type: authz.AgentType, ID: "banking.gpt-4o-2024-05-13"}},
		OnBehalf: []authz.Ref{{Type: "user", ID: "emma"}},
		Action:   authz.Action{Name: "send_money", Properties: authz.Claimed(`{"recipient":"DE02120300000000202051","amount":98.70,"subject":"Bill","date":"2026-11-30"}`)},
		Resource: authz.Entity{Ref: authz.Ref{Type: "Account", ID: "own"}},
		Observed: authz.Observed{Session: session, Provenance: p, Address: netip.MustParseAddr("10.20.0.7")},
	}
}

// readLog verifies the log and returns its entries by number.
func readLog(ctx context.Context, t *testing.T, cfg store.Config, key *audit.Key) (*audit.Report, map[int64]audit.Entry) {
	db, err := store.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	report, err := audit.Verify(ctx, db, []note.Verifier{key.Verifier()}, audit.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := audit.New(db, audit.Config{Key: key, Writer: "reader"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	entries := map[int64]audit.Entry{}
	err = l.Follow(ctx, 0, func(_ context.Context, es []audit.Entry) error {
		for _, e := range es {
			entries[e.Seq] = e
		}
		if int64(len(entries)) >= report.Entries {
			return errRead
		}
		return nil
	})
	if !errors.Is(err, errRead) {
		t.Fatalf("reading the log: %v", err)
	}
	stop()
	<-done
	return report, entries
}

var errRead = errors.New("the log is read")
