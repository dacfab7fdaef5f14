package oauth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/internal/token"
)

const (
	// nonceLife is how long a nonce is good for.
	nonceLife = 5 * 60
	// nonceFresh is for how long the same nonce is handed out.
	nonceFresh = 30
	// maxProofs bounds how many proofs are remembered.
	maxProofs = 1 << 20
)

// nonces are the DPoP nonces of this process (RFC 9449, section 8), and the proofs that were made
// with them. A nonce is bound to the process that minted it: the proof that a thief plays to another
// replica is answered there with a demand for a nonce of its own, so that no replica need know what
// the others have seen. A balancer that spreads the requests of a client makes it ask again; bind
// clients to replicas if there are many.
type nonces struct {
	node    [8]byte
	name    string // of the node, in hex
	key     [32]byte
	current atomic.Pointer[minted]

	mu    sync.Mutex
	floor int64 // nonces minted before are not good
	seen  map[int64]map[[16]byte]struct{}
	count int
}

type minted struct {
	at   int64
	text string
}

// nonceText is the form of a nonce: node, time, and the MAC of both.
const nonceSize = 8 + 8 + 16

func (n *nonces) init(rand io.Reader) error {
	for _, b := range [][]byte{n.node[:], n.key[:]} {
		if _, err := io.ReadFull(rand, b); err != nil {
			return fmt.Errorf("drawing the key of nonces: %w", err)
		}
	}
	n.name = hex.EncodeToString(n.node[:])
	n.seen = map[int64]map[[16]byte]struct{}{}
	return nil
}

// nonce returns a nonce for the next proof.
func (s *Server) nonce() string { return s.nonces.mint(s.cfg.Now()) }

func (n *nonces) mint(now time.Time) string {
	at := now.Unix()
	if c := n.current.Load(); c != nil && at >= c.at && at < c.at+nonceFresh {
		return c.text
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	// Whoever comes second finds the nonce of the first. A clock that goes back mints below the
	// floor otherwise.
	if c := n.current.Load(); c != nil && at >= c.at && at < c.at+nonceFresh {
		return c.text
	}
	at = max(at, n.floor)
	b := n.seal(at)
	c := &minted{at, base64.RawURLEncoding.EncodeToString(b[:])}
	n.current.Store(c)
	return c.text
}

func (n *nonces) seal(at int64) (b [nonceSize]byte) {
	copy(b[:], n.node[:])
	binary.BigEndian.PutUint64(b[8:], uint64(at))
	mac := hmac.New(sha256.New, n.key[:])
	mac.Write(b[:16])
	var sum [sha256.Size]byte
	copy(b[16:], mac.Sum(sum[:0]))
	return b
}

// open returns when a nonce was minted, if it is one of this process's.
func (n *nonces) open(text string) (at int64, ok bool) {
	var b [nonceSize]byte
	if len(text) != base64.RawURLEncoding.EncodedLen(nonceSize) {
		return 0, false
	}
	if _, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(text)); err != nil || [8]byte(b[:8]) != n.node {
		return 0, false
	}
	at = int64(binary.BigEndian.Uint64(b[8:]))
	want := n.seal(at)
	return at, hmac.Equal(want[16:], b[16:])
}

// Errors of proofs that are told apart by their codes.
type proofVerdict uint8

const (
	proofFine  proofVerdict = iota
	proofStale              // another nonce is needed
	proofSeen               // it was used before
)

// accept uses up a proof whose signature was checked.
func (n *nonces) accept(p *token.Proof, now time.Time) proofVerdict {
	at, ok := n.open(p.Nonce)
	if !ok || at > now.Unix()+1 || at <= now.Unix()-nonceLife {
		return proofStale
	}
	var room [512]byte
	sum := sha256.Sum256(append(append(append(room[:0], p.Key.ID...), 0), p.ID...))
	id := [16]byte(sum[:16])

	n.mu.Lock()
	defer n.mu.Unlock()
	if at < n.floor {
		return proofStale
	}
	bucket := n.seen[at]
	if _, again := bucket[id]; again {
		return proofSeen
	}
	if bucket == nil {
		n.prune(now.Unix() - nonceLife)
	}
	if n.count >= maxProofs {
		// What is forgotten must not come back: from here on only new nonces are good, and every
		// client is asked to take one.
		clear(n.seen)
		n.count, n.floor = 0, now.Unix()+1
		n.current.Store(nil)
		return proofStale
	}
	if bucket == nil {
		bucket = map[[16]byte]struct{}{}
		n.seen[at] = bucket
	}
	bucket[id] = struct{}{}
	n.count++
	return proofFine
}

// prune forgets the proofs of nonces that are not good any more. The caller holds n.mu.
func (n *nonces) prune(before int64) {
	for at, bucket := range n.seen {
		if at <= before {
			n.count -= len(bucket)
			delete(n.seen, at)
		}
	}
}

// proof checks the DPoP proof of a request to the token endpoint, and returns nil if there is none.
func (s *Server) proof(r *http.Request, now time.Time) (*token.Proof, error) {
	values := r.Header["Dpop"]
	if len(values) == 0 {
		return nil, nil
	}
	bad := func(description string, cause error) (*token.Proof, error) {
		return nil, &Error{Status: http.StatusBadRequest, Code: invalidProof, Description: description, Nonce: s.nonce(), Cause: cause}
	}
	if len(values) > 1 {
		return bad("there is more than one DPoP header", nil) // RFC 9449, section 4.3, check 1
	}
	p, err := token.ParseProof(values[0])
	if err != nil {
		return bad("the DPoP proof is not accepted", err)
	}
	if p.Nonce == "" {
		return nil, &Error{Status: http.StatusBadRequest, Code: useNonce, Description: "the DPoP proof needs a nonce of this server", Nonce: s.nonce()}
	}
	if err := p.Check(r.Method, s.tokenURL, "", now, s.cfg.Skew); err != nil {
		return bad("the DPoP proof is not for this request, or not of this time", err)
	}
	switch s.nonces.accept(p, now) {
	case proofStale:
		return nil, &Error{Status: http.StatusBadRequest, Code: useNonce, Description: "the DPoP proof needs another nonce of this server", Nonce: s.nonce()}
	case proofSeen:
		return bad("the DPoP proof was used before", nil)
	}
	return p, nil
}
