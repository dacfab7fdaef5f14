package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// state is what the log says of tokens and assertions. Nothing in it outlives a token by more than
// grace, so that it is not stored: whoever starts reads the last minutes of the log and knows it.
type state struct {
	now      func() time.Time
	mu       sync.RWMutex
	asOf     int64 // number of the newest entry that is in it
	pruned   int64 // minute, since 1970, of the entries up to which it has been pruned
	used     map[int64]map[[16]byte]struct{}
	revoked  map[tokenID]int64   // until when that matters
	children map[tokenID][]child // of tokens that were exchanged
	asks     map[string][]child  // of asks by which a person authorized a token
	taken    map[string]int64    // asks whose authorization was taken back, and until when that matters
	blocks   map[int64]*block    // of status indexes
	changes  atomic.Int64        // how often a token was revoked
}

// A child is a token that was exchanged for another.
type child struct {
	id  tokenID
	exp int64
}

// A block is what is known of the tokens of one status list.
type block struct {
	until int64 // when the last of its tokens expires
	pages [blockSize / pageSize]*[pageSize]origin
	set   []int // indexes of those that are revoked
}

const pageSize = 1024

// An origin is under what circumstances a token was issued: whether it still counts is judged as if
// it were asked for again under the same ones.
type origin struct {
	address netip.Addr
	method  string // by which the client authenticated
	grant   string // type of grant
	at      int64  // when it was recorded, in microseconds since 1970
}

// grace is how much longer than its token a fact is kept, for clocks that differ.
const grace = 2 * 60

// bucketSpan is for how many seconds assertions that expire are kept together.
const bucketSpan = 64

func (t *state) init(now func() time.Time) {
	t.now = now
	t.used = map[int64]map[[16]byte]struct{}{}
	t.revoked, t.children, t.blocks = map[tokenID]int64{}, map[tokenID][]child{}, map[int64]*block{}
	t.asks, t.taken = map[string][]child{}, map[string]int64{}
}

// Errors that Apply has against a token that was recorded and must not be given out.
var (
	errUsed    = authz.Errorf(authz.ErrConflict, "the assertion was used already")
	errRevoked = authz.Errorf(authz.ErrConflict, "what the token was granted by is revoked")
)

// Apply brings the entries of this package into effect. authz.ErrConflict: the token of the entry is
// not to be given out, because its assertion was used before or what it was exchanged from is revoked.
// All replicas judge so, because all have read the same entries before.
func (s *Server) Apply(_ context.Context, e audit.Entry) error {
	switch e.Kind {
	case audit.TokenIssued:
		h, ok := parseHead(e.Body)
		if !ok {
			return authz.Errorf(authz.ErrInvalid, "reading token.issued entry %d: not as it is written here", e.Seq)
		}
		return s.state.issued(&h, &e)
	case audit.AssertionUsed:
		uses, ok := parseUsed(e.Body)
		if !ok {
			return authz.Errorf(authz.ErrInvalid, "reading assertion.used entry %d: not as it is written here", e.Seq)
		}
		return s.state.spends(uses, &e)
	case audit.TokenRevoked:
		r, err := ParseRevoked(e.Body)
		if err != nil {
			return err
		}
		id, ok := parseTokenID(r.ID)
		if !ok {
			return authz.Errorf(authz.ErrInvalid, "reading token.revoked entry %d: jti %.40q", e.Seq, r.ID)
		}
		return s.state.revokes(id, r.Expires, &e)
	case audit.StatusBlock:
		if !json.Valid(e.Body) {
			return authz.Errorf(authz.ErrInvalid, "reading status.block entry %d", e.Seq)
		}
		return s.state.drawn(&e)
	case audit.ApprovalAnswer:
		s.pings.wake()
	case audit.ApprovalMoved: // the desk's to judge; what was taken back there counts no more here
		var moved struct{ Ask, To string }
		if err := json.Unmarshal(e.Body, &moved); err == nil && moved.To == "revoked" {
			s.state.takes(moved.Ask, &e)
		}
		s.pings.wake()
	}
	return nil
}

// begins reports whether e is new, and prunes. The caller holds t.mu.
func (t *state) begins(e *audit.Entry) bool {
	if t.asOf >= e.Seq {
		return false
	}
	t.asOf = e.Seq
	if minute := e.At.Unix() / 60; minute > t.pruned {
		t.pruned = minute
		// The log's time runs ahead if a clock of some replica does: what still matters by our own is
		// kept. Those whose clocks are right all keep what has not expired, and so judge alike.
		t.prune(min(e.At.Unix(), t.now().Unix()) - grace)
	}
	return true
}

// prune forgets what mattered only before a moment.
func (t *state) prune(before int64) {
	for span := range t.used {
		if (span+1)*bucketSpan <= before {
			delete(t.used, span)
		}
	}
	for id, until := range t.revoked {
		if until < before {
			delete(t.revoked, id)
		}
	}
	for id, list := range t.children {
		list = slices.DeleteFunc(list, func(c child) bool { return c.exp < before })
		if t.children[id] = list; len(list) == 0 {
			delete(t.children, id)
		}
	}
	for id, list := range t.asks {
		list = slices.DeleteFunc(list, func(c child) bool { return c.exp < before })
		if t.asks[id] = list; len(list) == 0 {
			delete(t.asks, id)
		}
	}
	for id, until := range t.taken {
		if until < before {
			delete(t.taken, id)
		}
	}
	for n, b := range t.blocks {
		if b.until < before {
			delete(t.blocks, n)
		}
	}
}

func (t *state) issued(h *head, e *audit.Entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.begins(e) {
		return nil
	}
	if err := t.spend(h.uses); err != nil {
		return err
	}
	for _, id := range h.ancestors {
		if _, ok := t.revoked[id]; ok {
			return errRevoked
		}
	}
	if _, ok := t.taken[h.ask]; ok {
		return errRevoked
	}
	if h.ask != "" {
		t.asks[h.ask] = append(t.asks[h.ask], child{h.id, h.exp})
	}
	if len(h.ancestors) > 0 {
		parent := h.ancestors[0]
		t.children[parent] = append(t.children[parent], child{h.id, h.exp})
	}
	b := t.block(h.id.block(), h.exp)
	page := &b.pages[h.id.index()/pageSize]
	if *page == nil {
		*page = new([pageSize]origin)
	}
	from := &(*page)[h.id.index()%pageSize]
	*from = h.origin
	from.at = e.At.UnixMicro()
	return nil
}

// spends brings an assertion.used entry into effect.
func (t *state) spends(uses []Use, e *audit.Entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.begins(e) {
		return nil
	}
	return t.spend(uses)
}

// spend uses assertions up, all or none. The caller holds t.mu.
func (t *state) spend(uses []Use) error {
	for i := range uses {
		if t.isUsed(&uses[i]) {
			return errUsed
		}
	}
	for i := range uses {
		span := uses[i].Until.Unix() / bucketSpan
		if t.used[span] == nil {
			t.used[span] = map[[16]byte]struct{}{}
		}
		t.used[span][uses[i].Hash] = struct{}{}
	}
	return nil
}

// block returns the block of that number, which matters at least until a moment. The caller holds t.mu.
func (t *state) block(n, until int64) *block {
	b := t.blocks[n]
	if b == nil {
		b = new(block)
		t.blocks[n] = b
	}
	b.until = max(b.until, until)
	return b
}

func (t *state) revokes(id tokenID, exp int64, e *audit.Entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.begins(e) {
		t.kill(id, exp)
		t.changes.Add(1)
	}
	return nil
}

// kill revokes a token and all that was exchanged from it. The caller holds t.mu.
func (t *state) kill(id tokenID, exp int64) {
	if _, ok := t.revoked[id]; ok {
		return
	}
	t.revoked[id] = exp
	b := t.block(id.block(), exp)
	b.set = append(b.set, id.index())
	for _, c := range t.children[id] {
		t.kill(c.id, c.exp)
	}
}

// takes revokes the tokens that a person authorized by an ask, and those that may be recorded later.
func (t *state) takes(ask string, e *audit.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.begins(e) {
		return
	}
	t.taken[ask] = e.At.Add(redeemable).Unix()
	for _, c := range t.asks[ask] {
		t.kill(c.id, c.exp)
		t.changes.Add(1)
	}
}

func (t *state) drawn(e *audit.Entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.begins(e) {
		t.block(e.Seq, e.At.Add(maxLifetime).Unix())
	}
	return nil
}

// isUsed reports whether an assertion has been used. The caller holds t.mu.
func (t *state) isUsed(u *Use) bool {
	_, ok := t.used[u.Until.Unix()/bucketSpan][u.Hash]
	return ok
}

// check returns an error if one of the assertions has been used, as far as this process knows now.
// Nil assertions are none.
func (t *state) check(uses ...*Use) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, u := range uses {
		if u == nil {
			continue
		}
		if t.isUsed(u) {
			return errUsed
		}
	}
	return nil
}

// consume uses up assertions for something else than a token: whoever sees one later, also on another
// replica, cannot get a token by it, or anything else. A request that comes to nothing because of its
// form, or for want of a nonce, uses up none: clients send it again.
func (s *Server) consume(ctx context.Context, actor string, uses ...*Use) error {
	if err := s.state.check(uses...); err != nil {
		return clientReplayed
	}
	draft, ok := usedDraft(actor, uses)
	if !ok {
		return nil
	}
	_, err := s.cfg.Log.CommitAll(ctx, draft)
	if errors.Is(err, errUsed) {
		return clientReplayed
	}
	return err
}

// usedDraft returns the entry by which assertions are used up, if there are any.
func usedDraft(actor string, uses []*Use) (d audit.Draft, ok bool) {
	recorded := recordedUses(uses)
	if len(recorded) == 0 {
		return d, false
	}
	return audit.Draft{Kind: audit.AssertionUsed, Actor: actor, Body: append(appendUses(nil, recorded), '}')}, true
}

// clientReplayed answers a client assertion that was used before. It is the one answer of all clients
// that do not authenticate.
var clientReplayed = &Error{Status: 401, Code: invalidClient, Description: "client authentication failed", Cause: errUsed}

// standing returns whether one of the tokens is revoked, how the first of them came about, and when the
// last of them was recorded, zero if this process has not read of it.
func (t *state) standing(id tokenID, ancestors []tokenID) (revoked bool, from origin, began time.Time) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	_, revoked = t.revoked[id]
	for _, a := range ancestors {
		if _, ok := t.revoked[a]; ok {
			revoked = true
		}
	}
	from = t.origin(id)
	first := from
	if n := len(ancestors); n > 0 {
		first = t.origin(ancestors[n-1])
	}
	if first.at != 0 {
		began = time.UnixMicro(first.at)
	}
	return revoked, from, began
}

// origin returns how a token came about, as far as this process has read. The caller holds t.mu.
func (t *state) origin(id tokenID) (o origin) {
	if b := t.blocks[id.block()]; b != nil {
		if page := b.pages[id.index()/pageSize]; page != nil {
			o = page[id.index()%pageSize]
		}
	}
	return o
}
