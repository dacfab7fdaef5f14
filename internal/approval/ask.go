package approval

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/token"
)

// Why an ask that is well formed is not taken. Both are authz.ErrConflict.
var (
	ErrKeyTaken     = authz.Errorf(authz.ErrConflict, "this Idempotency-Key was used for another submission")
	ErrDecisionUsed = authz.Errorf(authz.ErrConflict, "somebody has been asked about this refusal already: evaluate again, and ask about the new one")
)

var errTooMany = authz.Errorf(authz.ErrForbidden, "too many asks: wait until some are answered")

// Ask records an ask, or joins it to a pending one for the very same by the same requester, and reports
// whether it did. It sets ID, AskedAt, ExpiresAt, Status and the numbers; an ExpiresAt that is given bounds
// the one that is set. authz.ErrInvalid. authz.ErrForbidden: a bound was passed, of the desk or of the
// catalog's AskBudget, for which each act of an ask counts.
//
// Asks that are still retained count, whatever became of them: one of the same Key and Print is returned as
// it is, as one that was joined; one of the same Key and another Print is ErrKeyTaken; and one that names
// the decision of one of a's items already, and that a cannot be joined to, is ErrDecisionUsed, so that
// nobody is asked twice about one refusal. Apply judges so too, for replicas that are asked at once.
func (d *Desk) Ask(ctx context.Context, a Ask) (*Ask, bool, error) {
	now := d.cfg.Now().UTC()
	a.ID = newID("arq_")
	a.AskedAt, a.Status = now, Pending
	a.Seq, a.AsOf, a.Ended, a.Joined, a.ClosedAt, a.Escalated = 0, 0, 0, 0, time.Time{}, time.Time{}
	a.Answers, a.Views, a.Broken, a.Why, a.Also = nil, nil, nil, "", nil
	a.Items = slices.Clone(a.Items)
	for i := range a.Items {
		a.Items[i].Status, a.Items[i].Approval = Pending, nil
	}
	dr, err := draft(audit.ApprovalAsked, a.Requester, &a)
	if err != nil {
		return nil, false, err
	}
	// What is judged now is what is recorded.
	try := audit.Entry{Seq: 1<<63 - 1, At: now, Kind: dr.Kind, Actor: dr.Actor, Body: dr.Body}
	for range 3 {
		r, err := d.proposed(ctx, try)
		if err != nil {
			return nil, false, err
		}
		have, err := d.known(r, try)
		if err != nil {
			return nil, false, err
		}
		if have != nil {
			if _, submitted := have.print(a.Key); submitted {
				return have.at(now), true, nil
			}
			if err := d.join(ctx, have.ID, &a); errors.Is(err, authz.ErrConflict) || errors.Is(err, authz.ErrNotFound) {
				continue // it has ended meanwhile
			} else if err != nil {
				return nil, false, err
			}
			joined, err := d.Get(ctx, have.ID)
			return joined, true, err
		}
		c, err := d.catalogs.catalog(ctx, a.Catalog)
		if err != nil {
			return nil, false, err
		}
		done, err := d.book(r, c.AskBudget(), now)
		if err != nil {
			return nil, false, err
		}
		_, err = d.cfg.Log.Commit(ctx, dr)
		if done(); err != nil {
			return nil, false, fmt.Errorf("recording %s: %w", dr.Kind, err)
		}
		if made := d.record(a.ID); made != nil {
			return made.ask.at(d.cfg.Now()), false, nil
		}
		// Somebody asked the same before: the entry was joined to that one when it was applied. If that
		// one has ended since, look again.
		if have, err := d.known(r, try); err == nil && have != nil {
			return have.at(now), true, nil
		}
	}
	return nil, false, authz.Errorf(authz.ErrConflict, "what was asked changed at the same time: ask again")
}

// proposed reads and checks the ask of an approval.asked entry.
func (d *Desk) proposed(ctx context.Context, e audit.Entry) (*record, error) {
	var a Ask
	if err := decode(e, &a); err != nil {
		return nil, err
	}
	if len(e.Body) > maxBody {
		return nil, authz.Errorf(authz.ErrInvalid, "an ask has at most %d bytes", maxBody)
	}
	if a.Requester != e.Actor {
		return nil, authz.Errorf(authz.ErrInvalid, "the requester %.64q is not who recorded the ask", a.Requester)
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	r, err := d.newRecord(ctx, &a)
	if err != nil {
		return nil, err
	}
	c, err := d.catalogs.catalog(ctx, a.Catalog)
	if err != nil {
		return nil, err
	}
	end, err := a.expiry(c, e.At)
	if err != nil {
		return nil, err
	}
	a.AskedAt, a.ExpiresAt, a.Seq, a.AsOf = e.At, end, e.Seq, e.Seq
	a.Status, a.ClosedAt, a.Ended, a.Joined, a.Escalated, a.Why = Pending, time.Time{}, 0, 0, time.Time{}, ""
	a.Answers, a.Views, a.Broken, a.Also = nil, nil, nil, nil
	for i := range a.Items {
		a.Items[i].Status, a.Items[i].Approval = Pending, nil
	}
	return r, nil
}

// newRecord returns what follows from an ask that is checked.
func (d *Desk) newRecord(ctx context.Context, a *Ask) (*record, error) {
	c, err := d.catalogs.catalog(ctx, a.Catalog)
	if err != nil {
		return nil, err
	}
	r := &record{ask: a, volatile: c.Volatile(), size: int64(a.weight()) + 1024 + 512*int64(len(a.Items))}
	if a.Callback != nil {
		r.size += int64(len(a.Callback.Endpoint) + len(a.Callback.State))
	}
	h := sha256.New()
	enc := json.NewEncoder(h)
	for i := range a.Items {
		it := &a.Items[i]
		act, err := token.BindingHash(a.Bound.Subject, it.Action, it.Resource, a.Bound.Context, a.Bound.Members)
		if err != nil {
			return nil, err
		}
		r.acts = append(r.acts, act)
		routes, labels := slices.Sorted(slices.Values(it.Routes)), slices.Sorted(slices.Values(it.Labels))
		if err := enc.Encode([]any{act, routes, it.Data, labels}); err != nil {
			return nil, authz.Errorf(authz.ErrInvalid, "an act of the ask: %w", err)
		}
	}
	alone := "" // a person authorizes one token at a time
	if a.Kind == CIBA {
		alone = a.ID
	}
	// Whoever is judged by other rules, or may be answered by others, does not ask the same.
	if err := enc.Encode([]any{a.Catalog, a.Requester, a.Agent, a.Owner, a.Creator, a.Owners, a.Bound.OnBehalf, a.Bulk, a.Callback, alone}); err != nil {
		return nil, authz.Errorf(authz.ErrInvalid, "the ask: %w", err)
	}
	r.same = hex.EncodeToString(h.Sum(nil))
	return r, nil
}

// known returns the ask that a proposed one is joined to, nil if it is a new one, or why it is not taken.
func (d *Desk) known(r *record, e audit.Entry) (*Ask, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	a := r.ask
	if have := d.records[d.keys[a.Key]]; a.Key != "" && have != nil && have.ask.Seq < e.Seq && have.ask.retained(e.At) {
		if print, _ := have.ask.print(a.Key); print != a.Print {
			return nil, ErrKeyTaken
		}
		return have.ask, nil
	}
	for _, id := range d.same[r.same] {
		if have := d.records[id]; have.ask.waits(e.Seq, e.At) {
			return have.ask, nil
		}
	}
	for i := range a.Items {
		if n := a.Items[i].Decision; n != 0 {
			if have := d.records[d.decisions[n]]; have != nil && have.ask.Seq < e.Seq && have.ask.retained(e.At) {
				return nil, ErrDecisionUsed
			}
		}
	}
	if e.Seq <= d.covered {
		return nil, nil // whether it was one too many has been judged
	}
	all, own := d.waiting(accountOf(a), e.Seq)
	if all >= maxPending || own >= maxAgentPending {
		return nil, errTooMany
	}
	return nil, nil
}

// applyAsked brings an approval.asked entry into effect.
func (d *Desk) applyAsked(ctx context.Context, e audit.Entry) error {
	r, err := d.proposed(ctx, e)
	if err != nil {
		return err
	}
	if have := d.record(r.ask.ID); have != nil {
		if have.ask.AsOf >= e.Seq {
			return nil // seen before
		}
		return authz.Errorf(authz.ErrConflict, "there is an ask %s already", r.ask.ID)
	}
	have, err := d.known(r, e)
	if err != nil {
		return err
	}
	if have != nil {
		return d.change(ctx, e, have.ID, false, func(a *Ask) error {
			a.join(1, []Submission{{r.ask.Key, r.ask.Print}})
			return nil
		})
	}
	if e.Seq <= d.covered {
		return authz.Errorf(authz.ErrConflict, "ask %s was refused, or is forgotten, as what it was joined to may be", r.ask.ID)
	}
	if err := d.cfg.Store.PutAsk(ctx, *r.ask); err != nil {
		return fmt.Errorf("keeping ask %s: %w", r.ask.ID, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.insert(r)
	return nil
}

// applyJoined brings an approval.joined entry into effect.
func (d *Desk) applyJoined(ctx context.Context, e audit.Entry) error {
	var b joinedBody
	if err := decode(e, &b); err != nil {
		return err
	}
	if b.Count < 1 || b.Count > 1_000_000 || len(b.Keys) > MaxAlso {
		return authz.Errorf(authz.ErrInvalid, "%d asks are joined, by %d keys", b.Count, len(b.Keys))
	}
	for _, s := range b.Keys {
		if s.Key == "" || len(s.Key) > maxName || len(s.Print) > maxName {
			return authz.Errorf(authz.ErrInvalid, "a key of an ask that is joined has 1 to %d bytes", maxName)
		}
	}
	return d.change(ctx, e, b.Ask, false, func(a *Ask) error {
		if a.Status != Pending {
			return authz.Errorf(authz.ErrConflict, "ask %s has ended", a.ID)
		}
		if a.Requester != e.Actor {
			return authz.Errorf(authz.ErrForbidden, "ask %s is another requester's", a.ID)
		}
		a.join(b.Count, b.Keys)
		return nil
	})
}

// A line is of those who wait to be joined to one ask. What comes while one entry is recorded is the next
// entry, so that a flood of the same is a trickle in the log.
type line struct {
	next    *batch
	running bool
}

type batch struct {
	n    int64
	keys []Submission
	done chan struct{}
	err  error
}

// join records that the same was asked again, and waits until that is in effect.
func (d *Desk) join(ctx context.Context, id string, a *Ask) error {
	d.mu.Lock()
	l := d.lines[id]
	if l == nil {
		l = &line{}
		d.lines[id] = l
	}
	if l.next == nil {
		l.next = &batch{done: make(chan struct{})}
	}
	b := l.next
	b.n++
	if a.Key != "" && len(b.keys) < MaxAlso {
		b.keys = append(b.keys, Submission{a.Key, a.Print})
	}
	lead := !l.running
	l.running = true
	d.mu.Unlock()
	if lead {
		go d.lead(context.WithoutCancel(ctx), id, a.Requester, l)
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lead records the batches of a line until none is left.
func (d *Desk) lead(ctx context.Context, id, requester string, l *line) {
	for {
		d.mu.Lock()
		b := l.next
		if l.next = nil; b == nil {
			l.running = false
			delete(d.lines, id)
		}
		d.mu.Unlock()
		if b == nil {
			return
		}
		dr, err := draft(audit.ApprovalJoined, requester, joinedBody{id, b.n, b.keys})
		if err == nil {
			ctx, stop := context.WithTimeout(ctx, 30*time.Second)
			_, err = d.cfg.Log.Commit(ctx, dr)
			stop()
		}
		b.err = err
		close(b.done)
	}
}

// newID returns a name of 128 bits of chance.
func newID(prefix string) string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return prefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// isID reports whether s is a name that newID has made.
func isID(prefix, s string) bool {
	rest, ok := strings.CutPrefix(s, prefix)
	return ok && len(rest) == 26 && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz234567") == ""
}
