package approval

import (
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// accountOf is whose asking an ask counts for: the agent's, or who asks if that is none.
func accountOf(a *Ask) string {
	if a.Agent != "" {
		return authz.AgentType + ":" + string(a.Agent)
	}
	return a.Bound.Subject.String()
}

// add keeps a new record. The caller holds d.mu.
func (d *Desk) add(r *record) {
	a := r.ask
	d.records[a.ID] = r
	d.order = append(d.order, a.ID)
	d.same[r.same] = append(d.same[r.same], a.ID)
	for i := range a.Items {
		if n := a.Items[i].Decision; n != 0 {
			d.decisions[n] = a.ID
		}
	}
	name := accountOf(a)
	c := d.accounts[name]
	if c == nil {
		c = &account{sessions: map[string]int64{}}
		d.accounts[name] = c
	}
	c.keep(a, r.size)
	own := d.requesters[a.Requester]
	d.requesters[a.Requester] = share{own.kept + 1, own.bytes + r.size}
	delete(d.booked, r.same)
	d.kept.Add(1)
	d.bytes += r.size
	d.count(a, 1)
	d.place(a)
}

// replace keeps the next version of a record. The caller holds d.mu.
func (d *Desk) replace(old, next *record) {
	d.count(old.ask, -1)
	d.records[next.ask.ID] = next
	d.count(next.ask, 1)
	d.place(next.ask)
}

// count counts a pending ask. The caller holds d.mu.
func (d *Desk) count(a *Ask, n int64) {
	if a.Status == Pending {
		c := d.accounts[accountOf(a)]
		d.pending += n
		c.open += n
		c.pending += n * a.waiting()
	}
}

// place remembers where approvals were given, and by which keys the ask was submitted. The caller holds d.mu.
func (d *Desk) place(a *Ask) {
	if a.Key != "" {
		d.keys[a.Key] = a.ID
	}
	for _, s := range a.Also {
		d.keys[s.Key] = a.ID
	}
	for i := range a.Items {
		if g := a.Items[i].Approval; g != nil {
			d.grants[g.ID] = place{a.ID, i}
		}
	}
}

// forget drops from memory what is no longer retained at a moment.
func (d *Desk) forget(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	gone := map[string]bool{}
	d.order = slices.DeleteFunc(d.order, func(id string) bool {
		r := d.records[id]
		if r.ask.retained(at) || d.unsaved[id] {
			return false
		}
		gone[id] = true
		d.drop(r)
		return true
	})
	if len(gone) == 0 {
		return
	}
	for name, c := range d.accounts {
		if c.prune(gone); len(c.asks) == 0 {
			delete(d.accounts, name)
		}
	}
}

// drop forgets a record, but for d.order and the list of its account. The caller holds d.mu.
func (d *Desk) drop(r *record) {
	a := r.ask
	delete(d.records, a.ID)
	if d.same[r.same] = slices.DeleteFunc(d.same[r.same], func(id string) bool { return id == a.ID }); len(d.same[r.same]) == 0 {
		delete(d.same, r.same)
	}
	for _, s := range append([]Submission{{Key: a.Key}}, a.Also...) {
		if d.keys[s.Key] == a.ID {
			delete(d.keys, s.Key)
		}
	}
	for i := range a.Items {
		if it := &a.Items[i]; d.decisions[it.Decision] == a.ID {
			delete(d.decisions, it.Decision)
		}
		if g := a.Items[i].Approval; g != nil {
			delete(d.grants, g.ID)
		}
	}
	d.accounts[accountOf(a)].leave(a, r.size)
	own := d.requesters[a.Requester]
	if own = (share{own.kept - 1, own.bytes - r.size}); own.kept > 0 {
		d.requesters[a.Requester] = own
	} else {
		delete(d.requesters, a.Requester)
	}
	d.kept.Add(-1)
	d.bytes -= r.size
	d.count(a, -1)
}

// waiting returns how many asks were pending just before an entry, of all and of one account. What was
// loaded may know more than the entries that are read again say so far; then it is counted, which happens
// for the few entries only that were written down while it was loaded. The caller holds d.mu.
func (d *Desk) waiting(name string, seq int64) (all, own int64) {
	if seq > d.horizon {
		if c := d.accounts[name]; c != nil {
			own = c.open
		}
		return d.pending, own
	}
	for _, r := range d.records {
		if a := r.ask; a.Seq < seq && (a.Ended == 0 || a.Ended >= seq) {
			all++
			if accountOf(a) == name {
				own++
			}
		}
	}
	return all, own
}

// waits reports whether the ask waited for an answer just before an entry of that number and time.
func (a *Ask) waits(seq int64, at time.Time) bool {
	return a.Seq < seq && (a.Ended == 0 || a.Ended >= seq) && at.Before(a.ExpiresAt)
}

// Over returns when the ask had ended and none of its approvals held any more, and a broken glass was
// reviewed or will not be: from then it is retained for Retention. It means nothing while a is pending.
func (a *Ask) Over() time.Time {
	over := a.ClosedAt
	for i := range a.Items {
		if g := a.Items[i].Approval; g != nil && g.Revoked.IsZero() && g.left() != 0 && g.Until.After(over) {
			over = g.Until
		}
	}
	if b := a.Broken; b != nil && b.Verdict == "" {
		if late := b.Due.Add(unreviewed); late.After(over) {
			over = late
		}
	}
	return over
}

// unreviewed is how long after it was due the review of a broken glass is waited for.
const unreviewed = 30 * 24 * time.Hour

// retained reports whether the ask is still retained at a moment.
func (a *Ask) retained(at time.Time) bool {
	return a.Status == Pending || at.Before(a.Over().Add(Retention))
}

// Changed returns when the ask changed last, as far as it says so itself.
func (a *Ask) Changed() time.Time {
	last := a.AskedAt
	for _, at := range []time.Time{a.ClosedAt, a.Escalated} {
		if at.After(last) {
			last = at
		}
	}
	if n := len(a.Answers); n > 0 && a.Answers[n-1].At.After(last) {
		last = a.Answers[n-1].At
	}
	return last
}

// at returns the ask as it stands at a moment: expired, if its time is over, though no entry says so yet.
func (a *Ask) at(now time.Time) *Ask {
	if a.Status != Pending || now.Before(a.ExpiresAt) {
		return a
	}
	b := a.clone()
	b.end(Expired)
	b.ClosedAt = a.ExpiresAt
	return b
}

// print returns the print of the submission of that key.
func (a *Ask) print(key string) (string, bool) {
	if key == "" {
		return "", false
	}
	if key == a.Key {
		return a.Print, true
	}
	for _, s := range a.Also {
		if s.Key == key {
			return s.Print, true
		}
	}
	return "", false
}

// join counts what was joined to the ask, and remembers its keys.
func (a *Ask) join(n int64, keys []Submission) {
	a.Joined += n
	for _, s := range keys {
		if _, known := a.print(s.Key); !known && s.Key != "" && len(a.Also) < MaxAlso {
			a.Also = append(a.Also, s)
		}
	}
}

// end ends all items that are pending, and so the ask.
func (a *Ask) end(s Status) {
	for i := range a.Items {
		if a.Items[i].Status == Pending {
			a.Items[i].Status = s
		}
	}
	a.aggregate()
}

// aggregate sets the status of the ask by those of its items (ARAP, Access Request Response): pending while
// one of them is; else the one that all of them have; else partial.
func (a *Ask) aggregate() {
	a.Status = a.Items[0].Status
	for i := range a.Items {
		switch s := a.Items[i].Status; {
		case s == Pending:
			a.Status = Pending
			return
		case s != a.Status:
			a.Status = Partial
		}
	}
}

// clone returns a copy of which everything can be changed that ever changes.
func (a *Ask) clone() *Ask {
	b := *a
	b.Items = slices.Clone(a.Items)
	for i := range b.Items {
		if g := b.Items[i].Approval; g != nil {
			c := *g
			c.Uses = slices.Clone(g.Uses)
			b.Items[i].Approval = &c
		}
	}
	b.Also = slices.Clone(a.Also)
	b.Answers, b.Views = slices.Clone(a.Answers), slices.Clone(a.Views)
	if a.Broken != nil {
		c := *a.Broken
		b.Broken = &c
	}
	return &b
}
