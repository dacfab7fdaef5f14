package approval

import (
	"context"
	"fmt"
	"slices"

	"github.com/safeconduct/safeconduct/internal/audit"
)

// applyPerson ends what a person has lent and borrowed when a person.put entry disables it, or gives it roles among which
// is not that of an approver: its absence, and the absences in which it stands in. If it is disabled, each yes of it,
// or in its stead, to what is not approved yet ends, too. What is approved stays so. Who is enabled, or an approver,
// again begins anew.
//
// Whether the entry came too late to change the person, only the register of persons knows. Then it has
// this effect all the same: somebody meant to, and what ends can be said again.
func (d *Desk) applyPerson(ctx context.Context, e audit.Entry) error {
	var b struct {
		ID       string   `json:"id"`
		Disabled bool     `json:"disabled"`
		Roles    []string `json:"roles"` // none: an approver
	}
	if err := decode(e, &b); err != nil {
		return err
	}
	if b.ID == "" || !b.Disabled && (len(b.Roles) == 0 || slices.Contains(b.Roles, approver)) {
		return nil
	}
	absent, asks := d.concerns(b.ID, e)
	for _, person := range absent {
		a := Away{Person: person, AsOf: e.Seq}
		if err := d.cfg.Store.PutAway(ctx, a); err != nil {
			return fmt.Errorf("ending the absence of %q: %w", person, err)
		}
		d.mu.Lock()
		d.setAway(a)
		d.mu.Unlock()
	}
	if !b.Disabled {
		return nil
	}
	for _, id := range asks {
		err := d.change(ctx, e, id, true, func(a *Ask) error {
			for i := range a.Answers {
				if w := &a.Answers[i]; w.counts() && w.from(b.ID) {
					w.Void = e.At
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// approver is the role of those who answer. What else persons may do is not for this package.
const approver = "approver"

// concerns returns whose absences end when an entry disables a person, or they are no approver any more, and which pending
// asks have a yes of theirs.
func (d *Desk) concerns(id string, e audit.Entry) (absent, asks []string) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, p := range append([]string{id}, d.stood[id]...) {
		if a, ok := d.aways[p]; ok && a.AsOf < e.Seq && e.At.Before(a.Until) {
			absent = append(absent, p)
		}
	}
	for _, q := range d.open {
		a := d.records[q.id].ask
		if a.AsOf < e.Seq && slices.ContainsFunc(a.Answers, func(w Answer) bool { return w.counts() && w.from(id) }) {
			asks = append(asks, q.id)
		}
	}
	return absent, asks
}

// counts reports whether the answer is a yes that counts for what is not approved yet.
func (w *Answer) counts() bool { return w.Yes && w.Void.IsZero() }

// from reports whether a person has given the answer, or it was given in its stead.
func (w *Answer) from(person string) bool { return w.By == personActor+person || w.For == person }
