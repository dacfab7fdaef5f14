package approval

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// Where approval.moved entries move an ask.
const (
	toEscalated = "escalated"
	toExpired   = "expired"
	toCancelled = "cancelled"
	toFailed    = "failed"
	toRevoked   = "revoked"
)

// Cancel ends a pending ask. authz.ErrConflict: it has ended. Who may, the caller has judged.
func (d *Desk) Cancel(ctx context.Context, actor, id, reason, comment string) (*Ask, error) {
	return d.move(ctx, actor, id, toCancelled, reason, comment)
}

// Fail ends a pending ask that cannot be answered. authz.ErrConflict: it has ended.
func (d *Desk) Fail(ctx context.Context, actor, id, why string) (*Ask, error) {
	return d.move(ctx, actor, id, toFailed, why, "")
}

// Revoke takes the approvals of an ask back. authz.ErrConflict: there is none that holds. Who may, the
// caller has judged.
func (d *Desk) Revoke(ctx context.Context, actor, id, why string) (*Ask, error) {
	return d.move(ctx, actor, id, toRevoked, why, "")
}

func (d *Desk) move(ctx context.Context, actor, id, to, why, comment string) (*Ask, error) {
	a, _, err := commit(ctx, d, audit.ApprovalMoved, actor, id, &movedBody{Ask: id, To: to, Why: why, Comment: comment}, d.moved)
	return a, err
}

// moved is the step of an approval.moved entry.
func (d *Desk) moved(ctx context.Context, a *Ask, e audit.Entry, b *movedBody) error {
	for _, s := range []string{b.Why, b.Comment} {
		if err := checkText("the reason", s); err != nil {
			return err
		}
	}
	if b.To == toRevoked {
		if err := checkReason("why the approval is revoked", b.Why); err != nil {
			return err
		}
		if !a.revoke(e.At, b.Why) {
			return authz.Errorf(authz.ErrConflict, "ask %s has no approval that holds", a.ID)
		}
		return nil
	}
	if a.Status != Pending {
		return authz.Errorf(authz.ErrConflict, "ask %s has ended: it is %s", a.ID, a.Status)
	}
	switch over := !e.At.Before(a.ExpiresAt); b.To {
	case toExpired:
		if !over {
			return authz.Errorf(authz.ErrConflict, "ask %s waits until %s", a.ID, a.ExpiresAt.Format(time.RFC3339))
		}
		a.end(Expired)
		return nil
	case toEscalated:
		c, err := d.catalogs.catalog(ctx, a.Catalog)
		if err != nil {
			return err
		}
		if over || !a.silent(c, e.At) {
			return authz.Errorf(authz.ErrConflict, "ask %s is not to be escalated now", a.ID)
		}
		a.Escalated = e.At
		return nil
	case toCancelled, toFailed:
		if over {
			return authz.Errorf(authz.ErrConflict, "ask %s has expired", a.ID)
		}
		a.Why = strings.TrimSpace(strings.Join([]string{b.Why, b.Comment}, " "))
		if b.To == toFailed {
			a.end(Failed)
		} else {
			a.end(Cancelled)
		}
		return nil
	}
	return authz.Errorf(authz.ErrInvalid, "an ask cannot be %.32q", b.To)
}

// revoke takes back the approvals that hold at a moment, and reports whether there was one.
func (a *Ask) revoke(at time.Time, why string) (any bool) {
	for i := range a.Items {
		if g := a.Items[i].Approval; g != nil && g.holds(at) {
			g.Revoked, g.Why, any = at, why, true
		}
	}
	return any
}

// silent reports whether the ask is to be escalated at a moment: a route says so, its time has come since
// the last escalation, and nobody has said yes to it.
func (a *Ask) silent(c *catalog.Catalog, at time.Time) bool {
	for i := range a.Items {
		if a.Items[i].Status != Pending {
			continue
		}
		for _, id := range a.Items[i].Routes {
			r, ok := c.Route(id)
			if !ok || r.After <= 0 || len(r.Escalate) == 0 {
				continue
			}
			due := a.AskedAt.Add(r.After)
			if !at.Before(due) && a.Escalated.Before(due) && !a.heard(i, id) {
				return true
			}
		}
	}
	return false
}

// heard reports whether somebody has said yes to an item by a route.
func (a *Ask) heard(item int, route string) bool {
	for i := range a.Answers {
		w := &a.Answers[i]
		for _, id := range w.Routes {
			if id == route && w.counts() && w.about(item) {
				return true
			}
		}
	}
	return false
}

// Run ends asks whose time is over, and escalates those that nobody answers, until ctx ends.
func (d *Desk) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := d.Sweep(ctx); err != nil && ctx.Err() == nil {
				d.cfg.Logger.WarnContext(ctx, "asks not swept", "err", err)
			}
		case <-ctx.Done():
			last, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer stop()
			if err := d.save(last); err != nil { // then it is read from the log again
				d.cfg.Logger.WarnContext(ctx, "asks not saved", "err", err)
			}
			return nil
		}
	}
}

// sweepers is how many entries are recorded at once.
const sweepers = 16

// Sweep records what is due now: expiries and escalations. It saves what is not saved yet, and forgets what
// is no longer retained. Every replica sweeps; the first entry counts.
func (d *Desk) Sweep(ctx context.Context) error {
	d.sweeping.Lock()
	defer d.sweeping.Unlock()
	now := d.cfg.Now()
	due, err := d.due(ctx, now)
	if err != nil {
		return err
	}
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		first error
		slots = make(chan struct{}, sweepers)
	)
	for _, b := range due {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if _, _, err := commit(ctx, d, audit.ApprovalMoved, serviceActor, b.Ask, &b, d.moved); err != nil && !errors.Is(err, authz.ErrConflict) {
				mu.Lock()
				first = errors.Join(first, err)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if err := d.save(ctx); first == nil {
		first = err
	}
	if seen := time.UnixMicro(d.seen.Load()); seen.Before(now) {
		now = seen // entries that are read again must find what they found
	}
	if now.Sub(d.lastForget) >= 10*time.Minute {
		d.forget(now)
		d.tidy()
		d.lastForget = now
	}
	if first != nil {
		return fmt.Errorf("sweeping asks: %w", first)
	}
	return nil
}

// due returns the moves that are due. An ask whose catalog cannot be read is not escalated: nobody knows to whom.
func (d *Desk) due(ctx context.Context, now time.Time) (all []movedBody, err error) {
	var open []*record
	d.mu.RLock()
	for _, q := range d.open {
		open = append(open, d.records[q.id])
	}
	d.mu.RUnlock()
	for _, r := range open {
		a := r.ask
		if !now.Before(a.ExpiresAt) {
			all = append(all, movedBody{Ask: a.ID, To: toExpired, Why: "nobody has answered in time"})
			continue
		}
		if r.unread {
			continue
		}
		c, err := d.catalogs.catalog(ctx, a.Catalog)
		if unreadable(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		if a.silent(c, now) {
			all = append(all, movedBody{Ask: a.ID, To: toEscalated})
		}
	}
	return all, nil
}

// save writes down the versions that Apply did not.
func (d *Desk) save(ctx context.Context) error {
	d.mu.RLock()
	var asks []*Ask
	for id := range d.unsaved {
		asks = append(asks, d.records[id].ask)
	}
	d.mu.RUnlock()
	for _, a := range asks {
		if err := d.cfg.Store.PutAsk(ctx, *a); err != nil {
			return fmt.Errorf("keeping ask %s: %w", a.ID, err)
		}
		d.mu.Lock()
		if r := d.records[a.ID]; r != nil && r.ask == a {
			delete(d.unsaved, a.ID)
		}
		d.mu.Unlock()
	}
	return nil
}
