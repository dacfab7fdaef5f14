package agent_test

import (
	"context"
	"crypto/sha256"
	"testing"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/store/storetest"
)

// A registration access token is kept beside the keys, by its hash, is replaced by the next one, and
// goes when everything is revoked.
func TestRegistration(t *testing.T) {
	ctx := context.Background()
	s := &spine{}
	db := storetest.Open(t)
	r := agent.NewRegistry(agent.Config{Store: db, Log: s, Now: s.now})
	s.replicas = []audit.Applier{r}
	_, err := r.Put(ctx, "admin:anna", "new", bot("bot"), 0)
	wantKind(t, "Put", err, nil)
	key := newKey(t)
	enrol(t, r, "bot", key)
	one, two := sha256.Sum256([]byte("one")), sha256.Sum256([]byte("two"))

	_, err = r.Registration("bot")
	wantKind(t, "Registration before there is one", err, authz.ErrNotFound)
	if _, _, ok := r.RegisteredSince("bot"); ok {
		t.Error("RegisteredSince says that there is one")
	}
	wantKind(t, "KeepRegistration of nobody", r.KeepRegistration(ctx, "agent:x", "x", one), authz.ErrNotFound)
	wantKind(t, "KeepRegistration", r.KeepRegistration(ctx, "agent:bot", "bot", one), nil)
	wantKind(t, "KeepRegistration", r.KeepRegistration(ctx, "agent:bot", "bot", two), nil)
	if got, err := r.Registration("bot"); err != nil || got != two {
		t.Errorf("Registration = %x, %v, want %x", got, err, two)
	}
	wantActive(t, r, "bot", s.now(), key.ID) // no credential to authenticate with
	if at, asOf, ok := r.RegisteredSince("bot"); !ok || asOf != 5 || !at.Equal(s.now()) || r.Epoch("bot") != 5 {
		t.Errorf("RegisteredSince = %v, %d, %v with epoch %d, want now, 5, true, 5", at, asOf, ok, r.Epoch("bot"))
	}

	again := agent.NewRegistry(agent.Config{Store: db, Log: s, Now: s.now})
	wantKind(t, "Load", again.Load(ctx), nil)
	if got, err := again.Registration("bot"); err != nil || got != two {
		t.Errorf("Registration after a restart = %x, %v, want %x", got, err, two)
	}

	_, err = r.RevokeCredential(ctx, "admin:anna", "stolen", "bot", "")
	wantKind(t, "RevokeCredential", err, nil)
	_, err = r.Registration("bot")
	wantKind(t, "Registration after all is revoked", err, authz.ErrNotFound)
	_, err = r.SetState(ctx, "admin:anna", "old", "bot", authz.AgentRetired, 0)
	wantKind(t, "SetState", err, nil)
	wantKind(t, "KeepRegistration of a retired agent", r.KeepRegistration(ctx, "agent:bot", "bot", one), authz.ErrConflict)
}
