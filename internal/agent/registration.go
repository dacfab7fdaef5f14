package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// KeepRegistration lets whoever holds a registration access token (RFC 7592, section 3), of which this
// is the SHA-256, read and replace what an agent has registered. It takes the place of an earlier
// token, and RevokeCredential of everything withdraws it. It returns authz.ErrNotFound, or
// authz.ErrConflict if the agent is retired.
func (r *Registry) KeepRegistration(ctx context.Context, actor string, id authz.AgentID, hash [sha256.Size]byte) error {
	return r.change(ctx, actor, &credentialChange{Agent: id, Op: opManage, ID: hex.EncodeToString(hash[:]), Why: "registered as an OAuth client"})
}

// Registration returns the SHA-256 of the registration access token of an agent, or authz.ErrNotFound.
func (r *Registry) Registration(id authz.AgentID) (hash [sha256.Size]byte, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	a := r.accounts[id]
	if a == nil || a.registration == nil {
		return hash, authz.Errorf(authz.ErrNotFound, "agent %.128q has no registration access token", id)
	}
	if n, err := hex.Decode(hash[:], []byte(a.registration.ID)); err != nil || n != len(hash) {
		return [sha256.Size]byte{}, authz.Errorf(authz.ErrNotFound, "agent %.128q has no registration access token that can be read", id)
	}
	return hash, nil
}

// RegisteredSince returns since when somebody holds a registration access token of an agent, and as of
// which entry.
func (r *Registry) RegisteredSince(id authz.AgentID) (at time.Time, asOf int64, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if a := r.accounts[id]; a != nil && a.registration != nil {
		return a.registration.CreatedAt, a.registration.AsOf, true
	}
	return time.Time{}, 0, false
}
