package people

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// SessionPrefix begins every session token, so that one found in the wrong place can be told.
const SessionPrefix = "sc_sess_"

// How long a session lasts, and how many there are.
const (
	DefaultSession = 8 * time.Hour
	MaxSession     = 24 * time.Hour
	MaxSessions    = 10 // of a person: the oldest ends when another begins

	keepUsed = 15 * time.Minute // how long a challenge is remembered; no sign-in takes longer
	maxUsed  = 100              // sign-ins of a person within that time
)

// How a person signs in.
const (
	ByPasskey = "passkey"
	ByOIDC    = "oidc"
	ByLink    = "link"
)

// A Session is a person who has signed in.
type Session struct {
	Person    *Person
	Claims    map[string][]string // the person's own, and those of the identity provider
	Roles     []Role              // the person's own, and those that the identity provider gave
	Method    string              // passkey, oidc or link
	Passkey   string              // id of the passkey, if it was one
	At        time.Time           // of signing in
	ExpiresAt time.Time
	IdleAt    time.Time // when it ends if nobody is there; zero if whoever made this does not know
}

// A login is how a session is kept.
type login struct {
	Hash      string              `json:"hash"` // SHA-256 of the token in hex
	Method    string              `json:"method"`
	Passkey   string              `json:"passkey,omitempty"`
	Claims    map[string][]string `json:"claims,omitempty"` // those of the identity provider
	Roles     []Role              `json:"roles,omitempty"`  // likewise
	At        time.Time           `json:"at"`
	ExpiresAt time.Time           `json:"expires_at"`
}

func (s *login) session(p *Person) *Session {
	return &Session{Person: p, Claims: merged(p.Claims, s.Claims), Roles: withRoles(p.Granted(), s.Roles), Method: s.Method, Passkey: s.Passkey, At: s.At, ExpiresAt: s.ExpiresAt}
}

// A challenge is one that a session began with. It begins no other.
type challenge struct {
	Hash string    `json:"hash"`
	At   time.Time `json:"at"`
}

// A Login says how somebody proved who they are. Whoever makes one has verified it.
type Login struct {
	Person    string
	Challenge string // what the proof answers: the challenge of an assertion, the nonce of an ID token

	Passkey string // id of the passkey, or "" for the identity provider
	Count   int64  // signature counter of the assertion

	Issuer, Subject string              // of the ID token
	Claims          map[string][]string // of the ID token, those that count
	Names           []string            // of the ID token, by which records may know the person: see Person.Known
	Roles           []Role              // that the ID token gives, for as long as the session lasts
}

// SignIn begins a session, and returns its token, which cannot be had again. Each challenge begins one
// session in the whole installation. It returns authz.ErrInvalid, authz.ErrUnauthenticated if the person
// is disabled or has no such passkey or account (any more), authz.ErrConflict if the challenge was used,
// or if the signature counter did not grow, and authz.ErrForbidden if the person signs in too often, or was
// put by no administrator and is known by a name of somebody else.
func (r *Registry) SignIn(ctx context.Context, l Login) (token string, _ *Session, err error) {
	c := &sessionChange{Person: l.Person, Challenge: hash(l.Challenge), Method: ByPasskey, Passkey: l.Passkey, Count: l.Count}
	if l.Passkey == "" {
		c.Method, c.Issuer, c.Subject, c.Claims, c.Names, c.Roles, c.Count = ByOIDC, l.Issuer, l.Subject, l.Claims, l.Names, l.Roles, 0
	}
	return r.begin(ctx, c)
}

// begin records the sign-in that c describes, and returns the token of its session.
func (r *Registry) begin(ctx context.Context, c *sessionChange) (token string, _ *Session, err error) {
	token = secret(SessionPrefix)
	c.Op, c.Hash, c.TTL, c.Why = opIn, hash(token), int64(min(r.cfg.Session, MaxSession)/time.Second), "signed in"
	if _, err := r.commit(ctx, audit.SessionPut, "person:"+c.Person, c); err != nil {
		return "", nil, err
	}
	s, err := r.Authenticate(token)
	if err != nil {
		return "", nil, err
	}
	return token, s, nil
}

// Authenticate returns the session whose token this is, or authz.ErrUnauthenticated. What it looks up is
// the hash of a secret of 256 bits, so its time tells nothing of a token.
func (r *Registry) Authenticate(token string) (*Session, error) {
	h, now := hash(token), r.cfg.Now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	if a := r.byID[r.sessions[h]]; a != nil && !a.Person.Disabled {
		for i := range a.Sessions {
			if s := &a.Sessions[i]; s.Hash == h && now.Before(s.ExpiresAt) {
				return s.session(&a.Person), nil
			}
		}
	}
	return nil, authz.Errorf(authz.ErrUnauthenticated, "nobody is signed in, or the session has ended")
}

// Sessions returns the sessions of a person that have not ended at that time, the oldest first.
func (r *Registry) Sessions(id string, at time.Time) (all []*Session) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if a := r.byID[id]; a != nil {
		for i := range a.Sessions {
			if s := &a.Sessions[i]; at.Before(s.ExpiresAt) {
				all = append(all, s.session(&a.Person))
			}
		}
	}
	return all
}

// SignOut ends the session whose token this is, everywhere. It does nothing if the session has ended.
func (r *Registry) SignOut(ctx context.Context, token string) error {
	s, err := r.Authenticate(token)
	if err != nil {
		return nil // signed out already
	}
	_, err = r.commit(ctx, audit.SessionPut, s.Person.Actor(), &sessionChange{Person: s.Person.ID, Op: opOut, Hash: hash(token), Why: "signed out"})
	return err
}

// EndSessions ends every session of a person, and withdraws a sign-in link that waits. It returns authz.ErrInvalid, or authz.ErrNotFound.
func (r *Registry) EndSessions(ctx context.Context, actor, why, id string) (*Person, error) {
	return r.commit(ctx, audit.SessionPut, actor, &sessionChange{Person: id, Op: opOutAll, Why: why})
}

// What a session.put entry does.
const (
	opIn     = "in"
	opOut    = "out"
	opOutAll = "out_all"
)

// sessionChange is the body of a session.put entry.
type sessionChange struct {
	Person    string              `json:"person"`
	Op        string              `json:"op"`
	Hash      string              `json:"hash,omitempty"` // SHA-256 of the token in hex
	Method    string              `json:"method,omitempty"`
	Challenge string              `json:"challenge,omitempty"` // SHA-256 in hex; of a link, that of its token
	Passkey   string              `json:"passkey,omitempty"`
	Count     int64               `json:"count,omitempty"`
	Issuer    string              `json:"issuer,omitempty"`
	Subject   string              `json:"subject,omitempty"`
	Claims    map[string][]string `json:"claims,omitempty"`
	Names     []string            `json:"names,omitempty"`
	Roles     []Role              `json:"roles,omitempty"`       // that the identity provider gives
	TTL       int64               `json:"ttl_seconds,omitempty"` // from the time of the entry
	Why       string              `json:"why"`
}

func (c *sessionChange) person() string { return c.Person }

func (c *sessionChange) check() error {
	if c.Op != opOutAll && !validHash(c.Hash) {
		return authz.Errorf(authz.ErrInvalid, "a session's hash is no SHA-256 in hex")
	}
	switch c.Op {
	case opOut, opOutAll:
		return checkWhy(c.Why)
	case opIn:
	default:
		return authz.Errorf(authz.ErrInvalid, "unknown change of a session: %.32q", c.Op)
	}
	switch {
	case c.Method != ByPasskey && c.Method != ByOIDC && c.Method != ByLink:
		return authz.Errorf(authz.ErrInvalid, "unknown way to sign in: %.32q", c.Method)
	case (c.Method == ByPasskey) != (c.Passkey != "") || (c.Method == ByOIDC) != (c.Subject != ""):
		return authz.Errorf(authz.ErrInvalid, "a session begins with either a passkey, an account of the identity provider or a link")
	case !validHash(c.Challenge):
		return authz.Errorf(authz.ErrInvalid, "a challenge's hash is no SHA-256 in hex")
	case c.Method != ByOIDC && (len(c.Names) > 0 || len(c.Roles) > 0):
		return authz.Errorf(authz.ErrInvalid, "only the identity provider knows somebody by a name, and gives roles")
	case c.Count < 0 || c.Count > math.MaxUint32:
		return authz.Errorf(authz.ErrInvalid, "a passkey's signature counter is out of bounds")
	case c.TTL < 60 || c.TTL > int64(MaxSession/time.Second):
		return authz.Errorf(authz.ErrInvalid, "a session lasts at least a minute and at most %d hours", MaxSession/time.Hour)
	}
	if err := checkClaims(c.Claims); err != nil {
		return err
	}
	if err := checkNames(c.Names); err != nil {
		return err
	}
	if err := checkRoles(c.Roles); err != nil {
		return err
	}
	return checkWhy(c.Why)
}

func (c *sessionChange) alter(r *Registry, a *Account, at time.Time, _ int64) (bool, error) {
	if c.Op != opIn {
		before := len(a.Sessions)
		a.Sessions = slices.DeleteFunc(a.Sessions, func(s login) bool { return c.Op == opOutAll || s.Hash == c.Hash })
		waits := c.Op == opOutAll && a.Link != nil
		if waits {
			a.Link = nil
		}
		return len(a.Sessions) < before || waits, nil
	}
	p := &a.Person
	if p.Disabled {
		return false, authz.Errorf(authz.ErrUnauthenticated, "person %q is disabled", p.ID)
	}
	if slices.ContainsFunc(a.Used, func(u challenge) bool { return u.Hash == c.Challenge }) {
		return false, authz.Errorf(authz.ErrConflict, "somebody has signed in with the same proof already")
	}
	if r.sessions[c.Hash] != "" {
		return false, authz.Errorf(authz.ErrConflict, "the session began before")
	}
	if len(a.Used) >= maxUsed {
		return false, authz.Errorf(authz.ErrForbidden, "person %q has signed in %d times within %v, which is the most", p.ID, maxUsed, keepUsed)
	}
	switch c.Method {
	case ByLink:
		if a.Link == nil || a.Link.Hash != c.Challenge || !at.Before(a.Link.ExpiresAt) {
			return false, errSpent
		}
		a.Link = nil
	case ByPasskey:
		i := slices.IndexFunc(p.Passkeys, func(k Passkey) bool { return k.ID == c.Passkey && k.Active() })
		if i < 0 {
			return false, authz.Errorf(authz.ErrUnauthenticated, "the passkey is unknown or revoked")
		}
		// WebAuthn, 6.1.1: a counter that does not grow says that the passkey has a copy.
		if k := &p.Passkeys[i]; (k.Count != 0 || c.Count != 0) && c.Count <= k.Count {
			return false, authz.Errorf(authz.ErrConflict, "the passkey's signature counter did not grow: it may have been copied")
		}
		p.Passkeys[i].Count, p.Passkeys[i].UsedAt = c.Count, at
	default:
		if p.Issuer != c.Issuer || p.Subject != c.Subject {
			return false, authz.Errorf(authz.ErrUnauthenticated, "person %q has another account of the identity provider", p.ID)
		}
	}
	if p.provisioned() {
		if err := r.alone(p, append(p.Known(), c.Names...)); err != nil {
			return false, err
		}
	}
	p.Names = remember(p.Names, c.Names)
	a.Used = append(a.Used, challenge{c.Challenge, at})
	a.Sessions = append(a.Sessions, login{Hash: c.Hash, Method: c.Method, Passkey: c.Passkey, Claims: c.Claims, Roles: c.Roles, At: at,
		ExpiresAt: at.Add(time.Duration(c.TTL) * time.Second)})
	if n := len(a.Sessions); n > MaxSessions {
		a.Sessions = slices.Delete(a.Sessions, 0, n-MaxSessions)
	}
	return true, nil
}
