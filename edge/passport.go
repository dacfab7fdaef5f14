package edge

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/feed"
	"github.com/safeconduct/safeconduct/internal/token"
)

const (
	// maxBearer is how long what the control plane said of a token counts.
	maxBearer = 10 * time.Second
	// maxRefusal is how long it counts that it refused one.
	maxRefusal = time.Second
	// inquiryTime is how long the control plane may take to say something of a token.
	inquiryTime = 5 * time.Second
	// proofSkew is how far another's clock may differ from ours.
	proofSkew = 30 * time.Second

	maxBearers  = 16 << 10
	maxProofs   = 1 << 19 // remembered in each half of the window
	maxToken    = 8 << 10
	maxAudience = 512
	maxURL      = 2048
)

// passports are what the control plane has said of tokens lately, and the proofs that were shown with them.
type passports struct {
	epoch atomic.Int64 // grows when what was said counts no more

	mu      sync.Mutex
	bearers map[bearerKey]*bearer
	asking  map[bearerKey]*inquiry

	proofs proofs
}

// A bearerKey is the hash of a token and who must be among its audiences.
type bearerKey [sha256.Size]byte

// A bearer is what was said of a token.
type bearer struct {
	feed.Bearer
	asked time.Time
	life  time.Duration // how long it counts from then on
	epoch int64
	chain []told
}

// told is what was known of an agent when something was said of it.
type told struct {
	id authz.AgentID
	at *known
}

// An inquiry is a question about a token that several wait for.
type inquiry struct {
	epoch int64 // when it began
	done  chan struct{}
	b     *bearer
	err   error
}

func (s *passports) init() {
	s.bearers, s.asking = map[bearerKey]*bearer{}, map[bearerKey]*inquiry{}
}

// drop forgets what was said of all tokens.
func (s *passports) drop() { s.epoch.Add(1) }

// holds reports whether what was said still counts.
func (b *bearer) holds(epoch int64, pic *picture, now time.Time) bool {
	if b.epoch != epoch || age(b.asked, now) >= b.life {
		return false
	}
	for _, a := range b.chain {
		if pic.known(a.id) != a.at {
			return false
		}
	}
	return true
}

// A passportError is why a token, or its proof, does not count. It is authz.ErrUnauthenticated.
type passportError struct{ why string }

func (e *passportError) Error() string { return e.why }
func (e *passportError) Unwrap() error { return authz.ErrUnauthenticated }

// bearer returns who presents a token. A *passportError: it does not count here. authz.ErrUnavailable: nobody can say.
// errWaited: the control plane was asked, and what it said is kept for as long as it counts.
func (p *Point) bearer(ctx context.Context, pic *picture, pr *authz.Presented, t *turn) (*bearer, error) {
	if err := checkPresented(pr); err != nil {
		return nil, err
	}
	now := p.cfg.Now()
	key := keyOf(pr)
	s := &p.passports
	epoch := s.epoch.Load()
	s.mu.Lock()
	b := s.bearers[key]
	s.mu.Unlock()
	if b == nil || !b.holds(epoch, pic, now) {
		var err error
		if b, err = p.inquire(ctx, key, epoch, pr); err != nil {
			return nil, err
		}
		if b.Active {
			return nil, errWaited
		}
	}
	if !b.Active {
		why := b.Why
		if why == "" {
			why = "the token does not count"
		}
		return nil, &passportError{why}
	}
	if !now.Before(b.Passport.Expires) {
		return nil, &passportError{"the token has expired"}
	}
	if t.proved != nil && t.proved.KeyHash == b.KeyHash && t.proved.CertHash == b.CertHash {
		return b, nil // the question waited since, and its proof counts once
	}
	if err := s.bound(b, pr, now); err != nil {
		return nil, err
	}
	t.proved = b
	return b, nil
}

// bound returns an error unless who presents a token is who it is bound to, as the control plane judges it. A proof counts once.
func (s *passports) bound(b *bearer, pr *authz.Presented, now time.Time) error {
	if b.CertHash != "" && subtle.ConstantTimeCompare([]byte(b.CertHash), []byte(pr.Certificate)) != 1 {
		return &passportError{"the token is bound to another certificate"} // RFC 8705, section 3
	}
	switch {
	case b.KeyHash == "" && pr.Scheme == "dpop":
		return &passportError{"the token is presented by the wrong scheme"}
	case b.KeyHash == "":
		return nil
	case pr.Scheme == "bearer": // RFC 9449, section 7.1: no downgrade
		return &passportError{"the token is presented by the wrong scheme"}
	case pr.Proof == "":
		return &passportError{"the token is bound to a key, and no DPoP proof came with it"}
	}
	proof, err := token.ParseProof(pr.Proof)
	if err != nil {
		return &passportError{err.Error()}
	}
	if subtle.ConstantTimeCompare([]byte(proof.Key.ID), []byte(b.KeyHash)) != 1 {
		return &passportError{"the token is bound to another key"}
	}
	at, ok := pr.ProofTime(now, proofSkew)
	if !ok {
		return &passportError{"the passport was shown too long ago, or is said to be shown in the future"}
	}
	if err := proof.Check(pr.Method, pr.URL, pr.Token, at, proofSkew); err != nil {
		return &passportError{err.Error()}
	}
	if !pr.Shown.IsZero() { // who forwards it, in this process, has used it up
		return nil
	}
	switch s.proofs.use(proof, now) {
	case proofSeen:
		return &passportError{"the DPoP proof was used before"}
	case proofOld:
		return &passportError{"whether the DPoP proof was used before is not known any more: make another"}
	case proofsFull:
		return tooManyProofs()
	}
	return nil
}

// tooManyProofs is a refusal, as that of the control plane is with 429: whoever can show many proofs must not make a decision be had
// by nobody, which some let pass (client.RefusedError.Undecided).
func tooManyProofs() error {
	e := &client.Error{
		Status:  http.StatusTooManyRequests,
		Message: fmt.Sprintf("more than %d proofs were shown within %v: no more are taken", maxProofs, 2*proofSkew),
	}
	return authz.Errorf(authz.ErrUnavailable, "%w", e)
}

// inquire asks the control plane about a token, once for all who want to know at the same time: an answer to a question of before
// the epoch may be older than what the epoch began with.
func (p *Point) inquire(ctx context.Context, key bearerKey, epoch int64, pr *authz.Presented) (*bearer, error) {
	s := &p.passports
	s.mu.Lock()
	q := s.asking[key]
	if q != nil && q.epoch >= epoch {
		s.mu.Unlock()
		select {
		case <-q.done:
			return q.b, q.err
		case <-ctx.Done():
			return nil, authz.Errorf(authz.ErrUnavailable, "waiting for what the control plane says of the token: %w", ctx.Err())
		}
	}
	q = &inquiry{epoch: s.epoch.Load(), done: make(chan struct{})}
	s.asking[key] = q
	s.mu.Unlock()
	q.b, q.err = p.inquireNow(ctx, key, q.epoch, pr)
	s.mu.Lock()
	if s.asking[key] == q {
		delete(s.asking, key)
	}
	s.mu.Unlock()
	close(q.done)
	return q.b, q.err
}

func (p *Point) inquireNow(ctx context.Context, key bearerKey, epoch int64, pr *authz.Presented) (*bearer, error) {
	pic := p.picture.Load()
	before := pic.changes.Load()
	body, err := json.Marshal(feed.Presented{Token: pr.Token, Audience: pr.Audience})
	if err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "encoding the question: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), inquiryTime) // others may be waiting for the answer
	defer cancel()
	b := &bearer{epoch: epoch, asked: p.cfg.Now(), life: maxBearer}
	if err := p.service.do(ctx, "POST", "/v1/edge/passport", body, &b.Bearer); err != nil {
		if errors.Is(err, authz.ErrInvalid) {
			return nil, &passportError{err.Error()}
		}
		return nil, authz.Errorf(authz.ErrUnavailable, "asking about a passport: %w", err)
	}
	if !b.Active {
		b.Bearer, b.life = feed.Bearer{Code: b.Code, Why: b.Why}, maxRefusal
		p.keep(key, b)
		return b, nil
	}
	if b.Agent == "" || b.Passport.Expires.IsZero() {
		return nil, authz.Errorf(authz.ErrUnavailable, "the control plane says neither who presents a passport nor until when that counts")
	}
	ids := []authz.AgentID{b.Agent}
	for _, ref := range b.OnBehalf {
		if ref.Type == authz.AgentType {
			ids = append(ids, authz.AgentID(ref.ID))
		}
	}
	for _, id := range ids {
		at := pic.known(id)
		if at != nil && at.change > before {
			at = changed // so that this counts for nobody
		}
		b.chain = append(b.chain, told{id, at})
	}
	p.keep(key, b)
	return b, nil
}

// changed is what is known of an agent that has changed while it was asked about.
var changed = new(known)

// keep keeps what was said, unless what was said later is. If there is no room, something else goes: a map is not walked in any order that a stranger
// could choose.
func (p *Point) keep(key bearerKey, b *bearer) {
	s, now := &p.passports, p.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.bearers[key]; have != nil && have.epoch > b.epoch {
		return
	}
	if len(s.bearers) >= maxBearers {
		for k, old := range s.bearers {
			if age(old.asked, now) >= old.life {
				delete(s.bearers, k)
			}
		}
		for k := range s.bearers {
			if len(s.bearers) < maxBearers {
				break
			}
			delete(s.bearers, k)
		}
	}
	s.bearers[key] = b
}

func keyOf(pr *authz.Presented) bearerKey {
	h := sha256.New()
	h.Write([]byte(pr.Token))
	h.Write([]byte{0}) // which no token has
	h.Write([]byte(pr.Audience))
	return bearerKey(h.Sum(nil))
}

// checkPresented refuses what the control plane would not look at.
func checkPresented(pr *authz.Presented) error {
	switch {
	case pr.Token == "" || len(pr.Token) > maxToken || len(pr.Proof) > maxToken:
		return invalid("the passport or its proof is missing, or larger than %d bytes", maxToken)
	case pr.Audience == "" || len(pr.Audience) > maxAudience || !text(pr.Audience):
		return invalid("the audience is missing: the enforcement point's own name, for which the passport must be")
	case pr.Proof != "" && (pr.Method == "" || len(pr.Method) > 32 || pr.URL == "" || len(pr.URL) > maxURL):
		return invalid("a proof needs the method and the URL of the request that it came with")
	case !slices.Contains([]string{"", "dpop", "bearer"}, pr.Scheme):
		return invalid("%.20q is no scheme of a passport: one of dpop, bearer", pr.Scheme)
	}
	for _, c := range []byte(pr.Token) {
		if c <= ' ' || c >= 0x7f {
			return &passportError{"the token has characters that no token has"}
		}
	}
	return nil
}

// proofs are those that were used within the time in which they could be used again: each is in one of two halves of the window,
// the older of which is forgotten when nothing in it can count any more. Of what is forgotten no proof is taken again,
// also if the clock is set back to where it would count.
type proofs struct {
	mu     sync.Mutex
	half   [2]used   // the younger first
	turned time.Time // when that began
	floor  time.Time // proofs that were made then or before are not taken
}

// used are proofs of one half of the window.
type used struct {
	ids    map[[16]byte]struct{}
	newest time.Time // when the newest of them was made
}

type proofVerdict uint8

const (
	proofFine proofVerdict = iota
	proofSeen
	proofOld
	proofsFull
)

// begin has no proof taken that may have been used in a process before this one: none that was made up to then. Proofs say
// when they were made in seconds.
func (s *proofs) begin(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.floor = later(s.floor, at)
}

// use uses a proof up that was checked: it is no older and no younger than proofSkew.
func (s *proofs) use(p *token.Proof, now time.Time) proofVerdict {
	sum := sha256.Sum256(append(append([]byte(p.Key.ID), 0), p.ID...))
	id := [16]byte(sum[:16])
	s.mu.Lock()
	defer s.mu.Unlock()
	// A proof can be used for twice the skew from its first use on.
	if s.half[0].ids == nil || age(s.turned, now) >= 2*proofSkew {
		s.floor = later(s.floor, s.half[1].newest)
		s.half[1], s.half[0], s.turned = s.half[0], used{ids: map[[16]byte]struct{}{}}, now
	}
	if !p.IssuedAt.After(s.floor) {
		return proofOld
	}
	for _, h := range s.half {
		if _, ok := h.ids[id]; ok {
			return proofSeen
		}
	}
	if len(s.half[0].ids) >= maxProofs {
		return proofsFull
	}
	s.half[0].ids[id] = struct{}{}
	s.half[0].newest = later(s.half[0].newest, p.IssuedAt)
	return proofFine
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
