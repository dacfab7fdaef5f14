package client

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/token"
)

// Proofs remembers proofs of possession as long as they could be shown again, in bounded memory: a proof counts
// once (RFC 9449 section 11.1). The zero value is ready for use, and safe for concurrent use. What one process
// has seen another does not know.
//
// Of what is forgotten no proof counts again, also if the clock is set back to where it would.
type Proofs struct {
	// Max is how many proofs are remembered at most, 1 048 576 by default. One key has
	// at most as many as there is room left, so alone half of them: 8 000 a second, if its clock is ours.
	// Further ones are refused: authz.ErrUnavailable.
	Max int

	mu    sync.Mutex                      // guards what follows
	seen  map[int64]map[proofID]*proofKey // by the second in which they were made
	keys  map[string]*proofKey            // by their thumbprints, of those that have proofs
	count int                             // of all proofs
	kept  time.Duration                   // how long after they were made
	swept int64                           // the second in which forgotten was last what could be
	floor int64                           // proofs that were made in this second or before are not taken
}

type proofID [16]byte

// A proofKey is who shows proofs.
type proofKey struct {
	thumbprint string
	count      int // of its proofs
}

const defaultProofs = 1 << 20

// take notes that a proof was shown, which is no older than skew. authz.ErrUnauthenticated: it was before.
// authz.ErrUnavailable: there is no room.
func (s *Proofs) take(p *token.Proof, now time.Time, skew time.Duration) (proofID, error) {
	var room [512]byte
	sum := sha256.Sum256(append(append(append(room[:0], p.Key.ID...), 0), p.ID...))
	id, at := proofID(sum[:16]), p.IssuedAt.Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen, s.keys = map[int64]map[proofID]*proofKey{}, map[string]*proofKey{}
		s.floor = -1 << 62
	}
	s.kept = max(s.kept, skew)
	if second := now.Unix(); second != s.swept {
		s.swept = second
		s.sweep(now.Add(-s.kept).Unix() - 1)
	}
	bucket := s.seen[at]
	if _, again := bucket[id]; again || at <= s.floor {
		return id, authz.Errorf(authz.ErrUnauthenticated, "the proof was shown before, or made before what is remembered: it counts once")
	}
	most := s.Max
	if most <= 0 {
		most = defaultProofs
	}
	k := s.keys[p.Key.ID]
	if k == nil {
		k = &proofKey{thumbprint: p.Key.ID}
	}
	if s.count >= most || k.count > 0 && k.count >= most-s.count {
		return id, authz.Errorf(authz.ErrUnavailable, "too many proofs were shown of late")
	}
	if bucket == nil {
		bucket = map[proofID]*proofKey{}
		s.seen[at] = bucket
	}
	bucket[id], s.keys[k.thumbprint] = k, k
	k.count++
	s.count++
	return id, nil
}

// sweep forgets the proofs that were made before that second, which are too old to be shown.
func (s *Proofs) sweep(before int64) {
	for at, bucket := range s.seen {
		if at >= before {
			continue
		}
		for id := range bucket {
			s.drop(at, id)
		}
		s.floor = max(s.floor, at)
	}
}

// drop forgets one proof.
func (s *Proofs) drop(at int64, id proofID) {
	bucket := s.seen[at]
	k := bucket[id]
	if k == nil {
		return
	}
	if delete(bucket, id); len(bucket) == 0 {
		delete(s.seen, at)
	}
	if k.count--; k.count == 0 {
		delete(s.keys, k.thumbprint)
	}
	s.count--
}

// giveBack forgets a proof that was taken.
func (s *Proofs) giveBack(id proofID, made time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(made.Unix(), id)
}

// HoldProofs returns a context for Door.Presented or Door.Complete, and settle, which is called with what came of the
// request: the error of the question, or of Enforcer.Permit, or nil. Proofs that were taken with the context are given
// back then, unless whoever decides has found the passport good: whoever makes up keys and tokens cannot fill Proofs. What
// is given back counts as not shown; nothing was permitted by it.
//
// A decision point that looks at no passports finds none bad.
func HoldProofs(ctx context.Context) (_ context.Context, settle func(err error)) {
	h := new(heldProofs)
	return context.WithValue(ctx, heldKey{}, h), func(err error) {
		if !passportGood(err) {
			h.giveBack()
		}
	}
}

// passportGood reports whether err, of Enforcer.Permit, says that the passport was judged and counts.
func passportGood(err error) bool {
	if err == nil {
		return true
	}
	e, ok := errors.AsType[*RefusedError](err)
	return ok && e.judged && slices.ContainsFunc(append(slices.Clip(e.Answers), e.Answer), func(a *Answer) bool {
		switch a.Code {
		case authz.CodePassportInvalid, authz.CodeInvalid, authz.CodeTypeUnknown, authz.CodeUnavailable:
			return false // the first says that it does not, the others nothing of it
		}
		return true
	})
}

type heldKey struct{}

// heldProofs are what was taken for one request that is not decided yet.
type heldProofs struct {
	mu  sync.Mutex
	all []heldProof
}

type heldProof struct {
	proofs *Proofs
	id     proofID
	made   time.Time
}

func (h *heldProofs) add(s *Proofs, id proofID, made time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, heldProof{s, id, made})
}

func (h *heldProofs) giveBack() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.all {
		p.proofs.giveBack(p.id, p.made)
	}
	h.all = nil
}
