package gateway

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/maphash"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/internal/token"
)

// proofs remembers DPoP proofs that were shown, so that none counts twice (RFC 9449 section 11.1). A proof is as old as its
// iat says, so it is forgotten once it would be too old anyway. If there is no room, proofs are refused: to forget one early
// would let it count again.
//
// All callers share the room. One may have as much of it as is left free, so that one alone has half of it, two a third each, and
// whoever comes finds some: what is free is never less than what the greediest of them has.
type proofs struct {
	seed maphash.Seed
	most int

	mu    sync.Mutex
	count int
	of    map[uint64]int         // proofs of each caller
	seen  map[int64]*proofSecond // by the second of iat
}

// A proofSecond is what is known of the proofs that were made in one second.
type proofSecond struct {
	ids map[[16]byte]struct{}
	of  map[uint64]int // proofs of each caller
}

func (p *proofs) init(most int) {
	p.seed, p.most, p.of, p.seen = maphash.MakeSeed(), most, map[uint64]int{}, map[int64]*proofSecond{}
}

// Verdicts over proofs.
type proofVerdict uint8

const (
	proofFine proofVerdict = iota
	proofSeen              // it was used before
	proofFull              // it cannot be remembered now
)

// accept uses up a proof that was checked, which a caller with that key shows. Proofs that are older than skew are not accepted
// elsewhere. Two callers whose keys have one hash share a share.
func (p *proofs) accept(pr *token.Proof, caller string, now time.Time, skew time.Duration) proofVerdict {
	var room [512]byte
	sum := sha256.Sum256(append(append(append(room[:0], pr.Key.ID...), 0), pr.ID...))
	id, at, who := [16]byte(sum[:16]), pr.IssuedAt.Unix(), maphash.String(p.seed, caller)
	p.mu.Lock()
	defer p.mu.Unlock()
	second := p.seen[at]
	if second != nil {
		if _, again := second.ids[id]; again {
			return proofSeen
		}
	}
	if second == nil || p.full(who) {
		p.prune(now.Add(-skew).Unix() - 1)
		second = p.seen[at]
	}
	if p.full(who) {
		return proofFull
	}
	if second == nil {
		second = &proofSecond{map[[16]byte]struct{}{}, map[uint64]int{}}
		p.seen[at] = second
	}
	second.ids[id] = struct{}{}
	second.of[who]++
	p.of[who]++
	p.count++
	return proofFine
}

// full reports whether a caller may have no more.
func (p *proofs) full(who uint64) bool { return p.of[who] >= p.most-p.count }

// prune forgets the proofs that were made before.
func (p *proofs) prune(before int64) {
	for at, second := range p.seen {
		if at >= before {
			continue
		}
		p.count -= len(second.ids)
		for who, n := range second.of {
			if p.of[who] -= n; p.of[who] <= 0 {
				delete(p.of, who)
			}
		}
		delete(p.seen, at)
	}
}

// nonces are demanded of proofs if the document says so (RFC 9449 section 9). One says when it was made, and that this
// process made it; nothing is kept.
type nonces struct{ key [32]byte }

const (
	nonceLife = 5 * time.Minute
	nonceSize = 8 + 16
)

func (n *nonces) init() error {
	_, err := rand.Read(n.key[:])
	return err
}

// mint returns a nonce; the same one within half a minute.
func (n *nonces) mint(now time.Time) string {
	b := n.seal(now.Unix() / 30 * 30)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func (n *nonces) seal(at int64) (b [nonceSize]byte) {
	binary.BigEndian.PutUint64(b[:], uint64(at))
	mac := hmac.New(sha256.New, n.key[:])
	mac.Write(b[:8])
	var sum [sha256.Size]byte
	copy(b[8:], mac.Sum(sum[:0]))
	return b
}

// good reports whether the nonce is one of this process's and not too old.
func (n *nonces) good(text string, now time.Time) bool {
	var b [nonceSize]byte
	if len(text) != base64.RawURLEncoding.EncodedLen(nonceSize) {
		return false
	}
	if _, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(text)); err != nil {
		return false
	}
	at := int64(binary.BigEndian.Uint64(b[:]))
	want := n.seal(at)
	age := now.Unix() - at
	return hmac.Equal(want[8:], b[8:]) && age >= -1 && age <= int64(nonceLife/time.Second)
}
