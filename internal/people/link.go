package people

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// LinkPrefix begins every token of a sign-in link, so that one found in the wrong place can be told.
const LinkPrefix = "sc_link_"

// MaxLink is how long a sign-in link can be used at most, and if nothing else is said.
const MaxLink = 10 * time.Minute

// A Link lets a person sign in once, with a token and nothing else.
type Link struct {
	Token     string    `json:"-"` // only of a new one
	Hash      string    `json:"hash"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	AsOf      int64     `json:"as_of"` // number of the log entry that made it
}

// MakeLink makes a token with which a person can sign in once within ttl, MaxLink if it is 0. The token cannot
// be had again, and takes the place of an earlier one that waits. It returns authz.ErrInvalid, authz.ErrForbidden
// to the person themselves, authz.ErrNotFound, or authz.ErrConflict if the person is disabled.
func (r *Registry) MakeLink(ctx context.Context, actor, why, id string, ttl time.Duration) (Link, error) {
	if err := notSelf(actor, id); err != nil {
		return Link{}, err
	}
	if ttl == 0 {
		ttl = MaxLink
	}
	text := secret(LinkPrefix)
	c := &linkChange{Person: id, Hash: hash(text), TTL: int64(ttl / time.Second), Why: why}
	if _, err := r.commit(ctx, audit.PersonLink, actor, c); err != nil {
		return Link{}, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	a := r.byID[r.links[c.Hash]]
	if a == nil { // another one has taken its place already
		return Link{}, authz.Errorf(authz.ErrConflict, "making a link for person %q: somebody else did at the same time", id)
	}
	made := *a.Link
	made.Token = text
	return made, nil
}

// PendingLink returns the person who can sign in with a token at that time, or ErrToken. It does not use the
// token up. What it looks up is the hash of a secret of 256 bits, so its time tells nothing of a token.
func (r *Registry) PendingLink(text string, at time.Time) (*Person, error) {
	h := hash(text)
	r.mu.RLock()
	defer r.mu.RUnlock()
	a := r.byID[r.links[h]]
	if a == nil || a.Link == nil || a.Link.Hash != h || !at.Before(a.Link.ExpiresAt) || a.Person.Disabled {
		return nil, ErrToken
	}
	return &a.Person, nil
}

// SignInByLink begins a session with the token of a link, and uses it up. Of those who use one token at the same
// time one succeeds. It returns ErrToken, or authz.ErrForbidden if the person signs in too often.
func (r *Registry) SignInByLink(ctx context.Context, text string) (token string, _ *Session, err error) {
	p, err := r.PendingLink(text, r.cfg.Now())
	if err != nil {
		return "", nil, err
	}
	token, s, err := r.begin(ctx, &sessionChange{Person: p.ID, Method: ByLink, Challenge: hash(text)})
	if errors.Is(err, errSpent) || errors.Is(err, authz.ErrConflict) || errors.Is(err, authz.ErrUnauthenticated) {
		return "", nil, ErrToken
	}
	return token, s, err
}

// LinkURL is the address of a sign-in link, at a service that is known under public. The token is in the query:
// the page that it leads to has no script. It is used up by the button there, not by whoever opens the page.
func LinkURL(public, token string) string {
	return Reachable(public) + "/sign-in/link?token=" + url.QueryEscape(token)
}

// linkChange is the body of a person.link entry.
type linkChange struct {
	Person string `json:"person"`
	Hash   string `json:"hash"`        // SHA-256 of the token in hex
	TTL    int64  `json:"ttl_seconds"` // from the time of the entry
	Why    string `json:"why"`
}

func (c *linkChange) person() string { return c.Person }

func (c *linkChange) check() error {
	if !validHash(c.Hash) {
		return authz.Errorf(authz.ErrInvalid, "a link's hash is no SHA-256 in hex")
	}
	if c.TTL < 10 || c.TTL > int64(MaxLink/time.Second) {
		return authz.Errorf(authz.ErrInvalid, "a sign-in link can be used for at least 10 seconds and at most %d minutes", MaxLink/time.Minute)
	}
	return checkWhy(c.Why)
}

func (c *linkChange) alter(r *Registry, a *Account, at time.Time, seq int64) (bool, error) {
	if a.Person.Disabled {
		return false, authz.Errorf(authz.ErrConflict, "person %q is disabled", c.Person)
	}
	if r.links[c.Hash] != "" {
		return false, authz.Errorf(authz.ErrConflict, "the link was made before")
	}
	a.Link = &Link{Hash: c.Hash, CreatedAt: at, ExpiresAt: at.Add(time.Duration(c.TTL) * time.Second), AsOf: seq}
	return true, nil
}
