package agent

import (
	"context"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// Rotate registers a key of an agent in place of one that is active, which goes on for Config.Overlap
// so that whoever still signs with it is not cut off. Whoever calls it has made sure that the agent
// holds both private keys. Doing the same again changes nothing. It returns authz.ErrNotFound if the
// agent has no such active key, or authz.ErrConflict if that was replaced already, if the new key is
// registered already, if the agent has MaxActive active ones, or if it rotated its keys eight times
// within an hour.
func (r *Registry) Rotate(ctx context.Context, actor string, id authz.AgentID, old string, key *token.Key) (*Credential, error) {
	c := &credentialChange{
		Agent: id, Op: opRotate, JWK: key.JWK(), Replaces: old,
		Lifetime: seconds(r.cfg.KeyLifetime), Overlap: seconds(r.cfg.Overlap), Why: "rotated",
	}
	err := r.change(ctx, actor, c)
	if have, e := r.Credential(key.ID); e == nil && have.Agent == id && have.Replaces == old && have.Active(r.cfg.Now()) {
		return have, nil // now, or at an earlier try whose answer was lost
	}
	return nil, err
}

// RevokeCredential refuses a credential of an agent from now on, and returns it as it then stands.
// If credential is "", every active one is refused, and a pending enrolment and a registration access
// token are withdrawn, in one step that nothing slips past; it then returns nil. Revoking twice changes nothing. It returns
// authz.ErrNotFound if the agent has no such credential, or authz.ErrInvalid.
func (r *Registry) RevokeCredential(ctx context.Context, actor, why string, id authz.AgentID, credential string) (*Credential, error) {
	if credential == "" {
		// Always recorded: another replica may have registered a key that is not known here yet.
		return nil, r.change(ctx, actor, &credentialChange{Agent: id, Op: opRevokeAll, Why: why})
	}
	if have, err := r.Credential(credential); err == nil && have.Agent == id && !have.RevokedAt.IsZero() {
		return have, nil
	}
	if err := r.change(ctx, actor, &credentialChange{Agent: id, Op: opRevoke, ID: credential, Why: why}); err != nil {
		return nil, err
	}
	return r.Credential(credential)
}

// LinkDocument lets an agent authenticate with the keys of a client ID metadata document, whose
// https URL is then a client_id of the agent. Whoever can write that document can act as the agent.
// It returns authz.ErrInvalid, authz.ErrNotFound, or authz.ErrConflict if the document is linked
// already, was ever another agent's, or if the agent is retired or has MaxActive credentials. What
// was revoked can be linked again, to the same agent.
func (r *Registry) LinkDocument(ctx context.Context, actor, why string, id authz.AgentID, url string) (*Credential, error) {
	if err := r.change(ctx, actor, &credentialChange{Agent: id, Op: opLink, ID: url, Why: why}); err != nil {
		return nil, err
	}
	return r.Credential(url)
}
