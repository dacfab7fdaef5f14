package oauth

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// A passport is a token of ours whose signature was checked. It does not change, but for what was last
// found out about it.
type passport struct {
	claims    *token.Passport
	kid       string
	id        tokenID
	ancestors []tokenID       // of the tokens it was exchanged from, nearest first
	chain     []authz.AgentID // who acts, then every agent it acts for, nearest first
	person    string          // id of the person for whom the last of them acts, "" if for nobody
	details   []authz.Detail  // all its capabilities, sorted by identifier
	view      atomic.Pointer[view]
}

// verify returns what a text says that is one of our tokens, was signed by a key that still counts, and
// has not expired. It returns authz.ErrUnauthenticated for anything else: RFC 9068, section 4, but for
// the audience, which is for whom it is presented to.
func (s *Server) verify(text string, now time.Time) (*passport, error) {
	if len(text) > token.MaxToken {
		return nil, errNotOurs
	}
	sum := sha256.Sum256([]byte(text))
	p := s.verified.get(&sum)
	if p == nil {
		var err error
		if p, err = s.read(text); err != nil {
			return nil, err
		}
		if !now.Before(p.claims.Expires) {
			return nil, errExpired
		}
		s.verified.put(&sum, p, now)
	} else if _, err := s.cfg.Keys.TokenKey(p.kid); err != nil {
		return nil, errNotOurs
	}
	if !now.Before(p.claims.Expires) {
		return nil, errExpired
	}
	if now.Add(s.cfg.Skew).Before(p.claims.NotBefore) {
		return nil, errNotYet
	}
	return p, nil
}

var (
	errNotOurs = authz.Errorf(authz.ErrUnauthenticated, "the token is none of ours, or its key counts no more")
	errExpired = authz.Errorf(authz.ErrUnauthenticated, "the token has expired")
	errNotYet  = authz.Errorf(authz.ErrUnauthenticated, "the token is not valid yet")
)

// read checks the signature of a token and reads its claims, whatever its age.
func (s *Server) read(text string) (*passport, error) {
	jws, err := token.Parse(text)
	if err != nil || !jws.Is(token.PassportType) || jws.JWK != nil || jws.KeyID == "" {
		return nil, errNotOurs
	}
	key, err := s.cfg.Keys.TokenKey(jws.KeyID)
	if err != nil || jws.Verify(key) != nil {
		return nil, errNotOurs
	}
	c, err := token.ParsePassport(jws.Payload)
	if err != nil || c.Issuer != s.cfg.Issuer {
		return nil, errNotOurs
	}
	p := &passport{claims: c, kid: jws.KeyID}
	var ok bool
	if p.id, ok = parseTokenID(c.ID); !ok {
		return nil, errNotOurs
	}
	for a := c.Actor; a != nil; a = a.Actor {
		p.chain = append(p.chain, authz.AgentID(a.Subject))
		if a.ID == "" && a.Actor == nil { // it exchanged nothing: a person was asked
			if p.person, ok = cutPerson(c.Subject); !ok {
				return nil, errNotOurs
			}
			break
		}
		id, ok := parseTokenID(a.ID)
		if !ok {
			return nil, errNotOurs
		}
		p.ancestors = append(p.ancestors, id)
	}
	if p.person == "" {
		p.chain = append(p.chain, authz.AgentID(c.Subject))
	}
	if len(p.chain)+p.persons() > maxDepth+1 {
		return nil, errNotOurs
	}
	p.details = make([]authz.Detail, 0, len(c.Scope))
	for _, id := range c.Scope {
		if d := findDetail(c.Details, id); d != nil {
			p.details = append(p.details, *d)
		} else {
			p.details = append(p.details, authz.Detail{Type: authz.DetailType, Identifier: id})
		}
	}
	return p, nil
}

// persons returns how many persons there are behind the agents of a token: one or none.
func (p *passport) persons() int {
	if p.person != "" {
		return 1
	}
	return 0
}

// verified keeps the tokens that were verified lately, by the SHA-256 of their texts. It saves the
// cryptography and nothing else: whether a token counts is looked at each time.
type verified struct{ shards [verifiedShards]verifiedShard }

const (
	verifiedShards = 64
	verifiedMost   = 512 // a shard
)

type verifiedShard struct {
	mu    sync.RWMutex
	known map[[32]byte]*passport
}

func (v *verified) init() {
	for i := range v.shards {
		v.shards[i].known = map[[32]byte]*passport{}
	}
}

func (v *verified) get(sum *[32]byte) *passport {
	sh := &v.shards[sum[0]%verifiedShards]
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.known[*sum]
}

// put keeps p. If there is no room, what has expired goes, and else something or other: a map is not
// walked in any order that a stranger could choose.
func (v *verified) put(sum *[32]byte, p *passport, now time.Time) {
	sh := &v.shards[sum[0]%verifiedShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(sh.known) >= verifiedMost {
		for k, old := range sh.known {
			if !now.Before(old.claims.Expires) {
				delete(sh.known, k)
			}
		}
		for k := range sh.known {
			if len(sh.known) < verifiedMost {
				break
			}
			delete(sh.known, k)
		}
	}
	sh.known[*sum] = p
}
