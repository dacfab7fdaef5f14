package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/token"
)

// What a credential.put entry does.
const (
	opRegister  = "register"   // a key, with an enrolment token
	opRotate    = "rotate"     // a key, in place of one that is active
	opLink      = "link"       // a document
	opManage    = "manage"     // a registration access token, in place of an earlier one
	opRevoke    = "revoke"     // one credential
	opRevokeAll = "revoke_all" // every active credential, a registration access token, and the pending enrolment
)

// Bounds of a change.
const (
	// maxRotations is how many keys an agent can rotate in within an hour. Every key is kept for
	// ever, and rotating is all that an agent can do about its keys without being asked to.
	maxRotations = 8

	maxURL      = 512
	maxLifetime = 10 * 365 * 24 * time.Hour
	maxOverlap  = 30 * 24 * time.Hour
)

// credentialChange is the body of a credential.put entry. Durations count from the time of the entry.
type credentialChange struct {
	Agent     authz.AgentID   `json:"agent"`
	Op        string          `json:"op"`
	ID        string          `json:"id,omitempty"`               // what is linked or revoked; of a registration access token its hash
	JWK       json.RawMessage `json:"jwk,omitempty"`              // what is registered or rotated in
	Enrolment string          `json:"enrolment,omitempty"`        // hash of the token that is used up
	Replaces  string          `json:"replaces,omitempty"`         // the key that is rotated out
	Lifetime  int64           `json:"lifetime_seconds,omitempty"` // 0: without end
	Overlap   int64           `json:"overlap_seconds,omitempty"`  // how long the replaced key goes on
	Why       string          `json:"why"`

	key *token.Key // of JWK
}

// check returns authz.ErrInvalid and what is wrong with c, whatever is registered. It reads the key.
func (c *credentialChange) check() (err error) {
	if !ValidID(c.Agent) {
		return authz.Errorf(authz.ErrInvalid, "%.128q is no agent's id", c.Agent)
	}
	if c.Lifetime < 0 || c.Lifetime > seconds(maxLifetime) {
		return authz.Errorf(authz.ErrInvalid, "a key lives at most %d days", maxLifetime/(24*time.Hour))
	}
	if c.Overlap < 0 || c.Overlap > seconds(maxOverlap) {
		return authz.Errorf(authz.ErrInvalid, "a replaced key goes on for at most %d days", maxOverlap/(24*time.Hour))
	}
	switch c.Op {
	case opRegister, opRotate:
		if c.key, err = token.ParseKey(c.JWK); err != nil {
			return fmt.Errorf("the key: %w", err)
		}
	case opLink:
		if err := checkDocument(c.ID); err != nil {
			return err
		}
	case opRevoke:
		if c.ID == "" || len(c.ID) > maxURL {
			return authz.Errorf(authz.ErrInvalid, "%.256q is no credential's id", c.ID)
		}
	case opManage:
		if b, err := hex.DecodeString(c.ID); err != nil || len(b) != sha256.Size || hex.EncodeToString(b) != c.ID {
			return authz.Errorf(authz.ErrInvalid, "a registration access token's hash is no SHA-256 in hex")
		}
	case opRevokeAll:
	default:
		return authz.Errorf(authz.ErrInvalid, "unknown change of a credential: %.32q", c.Op)
	}
	return checkWhy(c.Why)
}

// checkDocument returns authz.ErrInvalid unless text can name a client ID metadata document: an https
// URL with a path, without dot segments, fragment, user and password
// (draft-ietf-oauth-client-id-metadata-document, 3). The draft advises against a query; we refuse it.
func checkDocument(text string) error {
	u, err := url.Parse(text)
	switch {
	case len(text) > maxURL:
		return authz.Errorf(authz.ErrInvalid, "a document's URL has at most %d bytes", maxURL)
	case err != nil || u.Scheme != "https" || u.Host == "" || u.Host != strings.ToLower(u.Host) || u.User != nil || u.Opaque != "" || !printable(text) || u.String() != text:
		return authz.Errorf(authz.ErrInvalid, "%.256q is no https URL of a client ID metadata document", text)
	case u.Path == "" || u.Path == "/":
		return authz.Errorf(authz.ErrInvalid, "the URL of a client ID metadata document has a path: %.256q has none", text)
	case strings.ContainsAny(text, "?#"):
		return authz.Errorf(authz.ErrInvalid, "the URL of a client ID metadata document has neither query nor fragment: %.256q", text)
	}
	for s := range strings.SplitSeq(u.Path, "/") {
		if s == "." || s == ".." {
			return authz.Errorf(authz.ErrInvalid, "the URL of a client ID metadata document has no dot segments: %.256q", text)
		}
	}
	return nil
}

func checkWhy(why string) error {
	if why == "" || len(why) > maxWhy || !printable(why) {
		return authz.Errorf(authz.ErrInvalid, "say why, in 1 to %d bytes of printable text", maxWhy)
	}
	return nil
}

// change records c, unless it is already plain that it will not take effect, and waits for Apply.
func (r *Registry) change(ctx context.Context, actor string, c *credentialChange) error {
	if err := c.check(); err != nil {
		return err
	}
	if _, _, err := r.judge(c, r.cfg.Now(), 0); err != nil {
		return err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding a credential: %w", err)
	}
	if _, err := r.cfg.Log.Commit(ctx, audit.Draft{Kind: audit.CredentialPut, Actor: actor, Body: body}); err != nil {
		return fmt.Errorf("changing a credential of agent %q: %w", c.Agent, err)
	}
	return nil
}

// applyCredential brings a credential.put entry into effect.
func (r *Registry) applyCredential(ctx context.Context, e audit.Entry) error {
	var c credentialChange
	if err := json.Unmarshal(e.Body, &c); err != nil {
		return authz.Errorf(authz.ErrInvalid, "entry %d: %w", e.Seq, err)
	}
	if err := c.check(); err != nil {
		return fmt.Errorf("entry %d: %w", e.Seq, err)
	}
	// An entry that changed nothing when it was new could do so now, if it were judged by what came
	// after it. Whatever the agent's epoch covers is in the tables already.
	if r.Epoch(c.Agent) >= e.Seq {
		return nil
	}
	enrolment, changed, err := r.judge(&c, e.At, e.Seq)
	if err != nil || enrolment == nil && len(changed) == 0 {
		return err
	}
	return r.keep(ctx, e, c.Agent, enrolment, changed)
}

// judge returns what c changes at that time, as the entry numbered seq, or why it cannot. It depends
// on the change and on the entries before it, on nothing else.
func (r *Registry) judge(c *credentialChange, at time.Time, seq int64) (spent *Enrolment, changed []Credential, err error) {
	if c.Op == opRevoke || c.Op == opRevokeAll {
		if _, err := r.Agent(c.Agent); err != nil {
			return nil, nil, err
		}
	} else if err := r.mayAuthenticate(c.Agent); err != nil {
		return nil, nil, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	var have account
	if a := r.accounts[c.Agent]; a != nil {
		have = *a
	}
	switch c.Op {
	case opRegister:
		p := have.enrolment
		if p == nil || p.Hash != c.Enrolment || !at.Before(p.ExpiresAt) {
			return nil, nil, errSpent
		}
		spent = p.spent(seq)
	case opRotate:
		old, err := have.replaceable(c.Replaces, at)
		if err != nil {
			return nil, nil, err
		}
		if have.rotatedSince(at.Add(-time.Hour)) >= maxRotations {
			return nil, nil, authz.Errorf(authz.ErrConflict, "agent %q has rotated its keys %d times within an hour, which is the most", c.Agent, maxRotations)
		}
		out := *old
		if until := at.Add(time.Duration(c.Overlap) * time.Second); out.ExpiresAt.IsZero() || until.Before(out.ExpiresAt) {
			out.ExpiresAt = until
		}
		out.Why, out.AsOf = c.Why, seq
		changed = append(changed, out)
	case opRevoke:
		for _, k := range have.all {
			if k.ID != c.ID {
				continue
			}
			if !k.RevokedAt.IsZero() {
				return nil, nil, nil
			}
			return nil, []Credential{k.revoked(c.Why, at, seq)}, nil
		}
		return nil, nil, authz.Errorf(authz.ErrNotFound, "agent %q has no credential %.256q", c.Agent, c.ID)
	case opManage:
		fresh := Credential{Agent: c.Agent, ID: c.ID, Kind: kindRegistration, CreatedAt: at, Why: c.Why, Since: seq, AsOf: seq}
		if k := have.registration; k != nil {
			if k.ID == c.ID {
				return nil, nil, nil
			}
			changed = append(changed, k.revoked(c.Why, at, seq))
		}
		return nil, append(changed, fresh), nil
	case opRevokeAll:
		for _, k := range have.live {
			if k.Active(at) {
				changed = append(changed, k.revoked(c.Why, at, seq))
			}
		}
		if k := have.registration; k != nil {
			changed = append(changed, k.revoked(c.Why, at, seq))
		}
		if have.enrolment != nil {
			spent = have.enrolment.spent(seq)
		}
		return spent, changed, nil
	}
	if err := r.admit(c, &have, at); err != nil {
		return nil, nil, err
	}
	fresh := Credential{Agent: c.Agent, ID: c.ID, Kind: KindDocument, CreatedAt: at, Replaces: c.Replaces, Why: c.Why, Since: seq, AsOf: seq}
	if c.key != nil {
		fresh.setKey(c.key)
		if c.Lifetime > 0 {
			fresh.ExpiresAt = at.Add(time.Duration(c.Lifetime) * time.Second)
		}
	}
	return spent, append(changed, fresh), nil
}

// admit returns authz.ErrConflict if the agent cannot have the credential that c brings. The caller
// holds r.mu.
func (r *Registry) admit(c *credentialChange, have *account, at time.Time) error {
	id, what := c.ID, "the document"
	if c.key != nil {
		id, what = c.key.ID, "the key"
	}
	switch k := r.credentials[id]; {
	case k == nil:
	case k.Agent != c.Agent:
		// Whose it is concerns nobody else.
		return authz.Errorf(authz.ErrConflict, "%s belongs to another agent, which is for good: use a fresh one", what)
	case k.Kind == KindKey:
		return authz.Errorf(authz.ErrConflict, "the key was registered before: use a fresh one")
	case k.Active(at):
		return authz.Errorf(authz.ErrConflict, "the document is linked already")
	}
	n := 0
	for _, k := range have.live {
		if k.Active(at) {
			n++
		}
	}
	if n >= MaxActive {
		return authz.Errorf(authz.ErrConflict, "agent %q has %d active credentials, which is the most: revoke one first", c.Agent, n)
	}
	return nil
}

// replaceable returns the active key of that id, if it can be rotated out. A key that was replaced
// already cannot be once more: whoever steals it while it overlaps cannot make itself a lasting one.
func (a *account) replaceable(id string, at time.Time) (*Credential, error) {
	var old *Credential
	for _, k := range a.live {
		switch {
		case !k.Active(at):
		case k.ID == id && k.Kind == KindKey:
			old = k
		case k.Replaces == id:
			return nil, authz.Errorf(authz.ErrConflict, "key %.64q was replaced already: rotate the one that took its place", id)
		}
	}
	if old == nil {
		return nil, authz.Errorf(authz.ErrNotFound, "the agent has no active key %.64q", id)
	}
	return old, nil
}

// rotatedSince returns how many keys were rotated in since then.
func (a *account) rotatedSince(then time.Time) (n int) {
	for _, k := range slices.Backward(a.all) {
		if k.CreatedAt.Before(then) {
			break
		}
		if k.Replaces != "" {
			n++
		}
	}
	return n
}

func (c *Credential) revoked(why string, at time.Time, seq int64) Credential {
	out := *c
	out.RevokedAt, out.Why, out.AsOf = at, why, seq
	return out
}

func (e *Enrolment) spent(seq int64) *Enrolment {
	out := *e
	out.Spent, out.AsOf = true, seq
	return &out
}

// keep stores what an entry changed of one agent, all or nothing, and then makes it so in memory.
func (r *Registry) keep(ctx context.Context, e audit.Entry, id authz.AgentID, enrolment *Enrolment, changed []Credential) error {
	if err := r.cfg.Store.PutCredentials(ctx, enrolment, changed); err != nil {
		return fmt.Errorf("keeping credentials of agent %q: %w", id, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a, id := r.account(id)
	a.asOf = e.Seq
	switch {
	case enrolment == nil:
	case enrolment.Spent:
		r.setPending(a, nil)
	default:
		enrolment.Agent = id
		r.setPending(a, enrolment)
	}
	for _, c := range changed {
		r.putCredential(c, e.At)
	}
	return nil
}

func seconds(d time.Duration) int64 { return int64(max(d, 0) / time.Second) }
