package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/audit"
)

func TestDue(t *testing.T) {
	ctx := context.Background()
	r, s := openBots(t, "first", "second", "rotated", "revoked", "retired", "document", "suspended")
	keys := map[authz.AgentID]string{}
	for _, id := range []authz.AgentID{"first", "rotated", "revoked", "retired", "suspended", "second"} {
		key := newKey(t)
		keys[id] = key.ID
		enrol(t, r, id, key)
		s.pass(time.Hour)
	}
	_, err := r.LinkDocument(ctx, "admin:anna", "link", "document", "https://agents.example/id")
	wantKind(t, "LinkDocument", err, nil)
	due := func(within time.Duration, want ...authz.AgentID) {
		t.Helper()
		got := []string{}
		for _, c := range r.Due(within, s.now()) {
			got = append(got, c.ID)
		}
		ids := []string{}
		for _, id := range want {
			ids = append(ids, keys[id])
		}
		if diff := cmp.Diff(ids, got); diff != "" {
			t.Errorf("Due(%v) (-want +got):\n%s", within, diff)
		}
	}
	due(14 * day)
	due(90*day, "first", "rotated", "revoked", "retired", "suspended", "second")
	s.pass(80 * day)
	_, err = r.Rotate(ctx, "agent:rotated", "rotated", keys["rotated"], newKey(t))
	wantKind(t, "Rotate", err, nil)
	_, err = r.RevokeCredential(ctx, "admin:anna", "lost", "revoked", keys["revoked"])
	wantKind(t, "RevokeCredential", err, nil)
	_, err = r.SetState(ctx, "admin:anna", "old", "retired", authz.AgentRetired, 0)
	wantKind(t, "SetState", err, nil)
	_, err = r.SetState(ctx, "admin:anna", "odd", "suspended", authz.AgentSuspended, 0)
	wantKind(t, "SetState", err, nil)
	due(day)
	due(14*day, "first", "suspended", "second")
	s.pass(10*day - 3*time.Hour)
	due(14*day, "suspended", "second")
	s.pass(day)
	due(14 * day)
}

// Run counts the keys that expire soon, and says of each once a day that it does.
func TestReminders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &clocked{}
		var out sayings
		r := agent.NewRegistry(agent.Config{Store: hole{}, Log: s, Logger: slog.New(slog.NewTextHandler(&out, nil))})
		s.r = r
		for i := range 3 {
			id := fmt.Sprintf("bot-%d", i)
			_, err := r.Put(ctx, "admin:anna", "new", bot(id), 0)
			wantKind(t, "Put", err, nil)
			enrol(t, r, authz.AgentID(id), newKey(t))
			time.Sleep(day)
		}
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		told := func(after time.Duration, count, lines int) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got := r.DueSoon(); got != count {
				t.Errorf("DueSoon = %d, want %d", got, count)
			}
			said := out.take()
			if got := strings.Count(said, "agent key expires soon"); got != lines || strings.Contains(said, "sc_enrol_") {
				t.Errorf("the log has %d reminders, want %d, and no token:\n%s", got, lines, said)
			}
		}
		told(0, 0, 0)
		told(73*day+time.Minute, 1, 1)
		told(12*time.Hour, 1, 0)
		told(12*time.Hour, 2, 2)
		told(day, 3, 3)
		_, err := r.RevokeCredential(ctx, "admin:anna", "gone", "bot-0", "")
		wantKind(t, "RevokeCredential", err, nil)
		told(day, 2, 2)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// sayings is a program's log that is read while it is written.
type sayings struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *sayings) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// take returns what was said since it was asked last.
func (s *sayings) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.b.Reset()
	return s.b.String()
}

// clocked is a log whose entries have the time of the test's clock.
type clocked struct {
	r   *agent.Registry
	seq int64
}

func (c *clocked) Commit(ctx context.Context, d audit.Draft) (int64, error) {
	c.seq++
	return c.seq, c.r.Apply(ctx, audit.Entry{Seq: c.seq, At: time.Now().UTC(), Kind: d.Kind, Actor: d.Actor, Body: d.Body})
}

// Many keys that expire at once do not fill the log.
func TestRemindersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &clocked{}
		var out sayings
		r := agent.NewRegistry(agent.Config{Store: hole{}, Log: s, KeyLifetime: day, Logger: slog.New(slog.NewTextHandler(&out, nil))})
		s.r = r
		for i := range 50 {
			id := fmt.Sprintf("bot-%d", i)
			_, err := r.Put(ctx, "admin:anna", "new", bot(id), 0)
			wantKind(t, "Put", err, nil)
			enrol(t, r, authz.AgentID(id), newKey(t))
		}
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		cancel()
		<-done
		said := out.take()
		if got := strings.Count(said, "\n"); got != 21 || !strings.Contains(said, "count=30") || r.DueSoon() != 50 {
			t.Errorf("%d lines for %d keys, want 20 and one that counts 30 more:\n%s", got, r.DueSoon(), said)
		}
	})
}
