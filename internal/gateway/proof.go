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
// would let it count again. The room is shared out by keys, so that one agent's proofs fill a part of it.
type proofs struct {
	seed   maphash.Seed
	shards [proofShards]proofShard
}

const proofShards = 64

type proofShard struct {
	mu    sync.Mutex
	most  int
	count int
	seen  map[int64]map[[16]byte]struct{} // by the second of iat
}

func (p *proofs) init(most int) {
	p.seed = maphash.MakeSeed()
	for i := range p.shards {
		p.shards[i].most, p.shards[i].seen = max(most/proofShards, 1), map[int64]map[[16]byte]struct{}{}
	}
}

// Verdicts over proofs.
type proofVerdict uint8

const (
	proofFine proofVerdict = iota
	proofSeen              // it was used before
	proofFull              // it cannot be remembered now
)

// accept uses up a proof that was checked. Proofs that are older than skew are not accepted elsewhere.
func (p *proofs) accept(pr *token.Proof, now time.Time, skew time.Duration) proofVerdict {
	var room [512]byte
	sum := sha256.Sum256(append(append(append(room[:0], pr.Key.ID...), 0), pr.ID...))
	id, at := [16]byte(sum[:16]), pr.IssuedAt.Unix()
	sh := &p.shards[maphash.String(p.seed, pr.Key.ID)%proofShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	bucket := sh.seen[at]
	if _, again := bucket[id]; again {
		return proofSeen
	}
	if bucket == nil || sh.count >= sh.most {
		sh.prune(now.Add(-skew).Unix() - 1)
		bucket = sh.seen[at]
	}
	if sh.count >= sh.most {
		return proofFull
	}
	if bucket == nil {
		bucket = map[[16]byte]struct{}{}
		sh.seen[at] = bucket
	}
	bucket[id] = struct{}{}
	sh.count++
	return proofFine
}

// prune forgets the proofs that were made before.
func (sh *proofShard) prune(before int64) {
	for at, bucket := range sh.seen {
		if at < before {
			sh.count -= len(bucket)
			delete(sh.seen, at)
		}
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
