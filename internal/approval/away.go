package approval

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// MaxAway is how long an absence lasts at most.
const MaxAway = 90 * 24 * time.Hour

// Bounds of the claims that are kept of who is away.
const (
	maxAwayClaims = 64
	maxAwayValues = 256 // of one claim
)

// An Away says that a person's asks go to a deputy for a while. The deputy answers by the person's groups,
// in the person's stead; the deputy's own deputy does not.
type Away struct {
	Person string    `json:"person"`
	Deputy string    `json:"deputy"`
	Until  time.Time `json:"until,omitzero"`
	Why    string    `json:"why,omitempty"`
	// Claims are the person's, verified, without which groups that are known by claims do not know the
	// person while it is away.
	Claims map[string][]string `json:"claims,omitempty"`
	Names  []string            `json:"names,omitempty"` // as of a Person
	AsOf   int64               `json:"as_of,omitempty"` // number of the entry; set when it is applied
}

// check returns authz.ErrInvalid and what is wrong with an absence that begins at a moment.
func (a *Away) check(at time.Time) error {
	if err := checkName("the person", a.Person); err != nil {
		return err
	}
	if err := checkText("the reason", a.Why); err != nil {
		return err
	}
	if a.Until.IsZero() {
		return nil
	}
	if err := checkName("the deputy", a.Deputy); err != nil {
		return err
	}
	switch {
	case a.Deputy == a.Person:
		return authz.Errorf(authz.ErrInvalid, "nobody is deputy of oneself")
	case !a.Until.After(at):
		return authz.Errorf(authz.ErrInvalid, "the absence has ended before it begins")
	case a.Until.Sub(at) > MaxAway:
		return authz.Errorf(authz.ErrInvalid, "an absence lasts at most %d days", MaxAway/(24*time.Hour))
	case len(a.Names) > maxAwayValues || slices.ContainsFunc(a.Names, func(v string) bool { return len(v) > maxName }):
		return authz.Errorf(authz.ErrInvalid, "a person has at most %d other names, of %d bytes", maxAwayValues, maxName)
	case len(a.Claims) > maxAwayClaims:
		return authz.Errorf(authz.ErrInvalid, "a person has at most %d claims", maxAwayClaims)
	}
	for name, values := range a.Claims {
		if len(name) > maxName || len(values) > maxAwayValues || slices.ContainsFunc(values, func(v string) bool { return len(v) > maxName }) {
			return authz.Errorf(authz.ErrInvalid, "the claim %.64q has more than %d values, or one of more than %d bytes", name, maxAwayValues, maxName)
		}
	}
	return nil
}

// PutAway records an absence; a zero Until ends it. Who may, the caller has judged.
func (d *Desk) PutAway(ctx context.Context, actor string, a Away) error {
	a.AsOf = 0
	if a.Until = a.Until.UTC(); a.Until.IsZero() {
		a.Deputy, a.Claims, a.Names = "", nil, nil
	}
	if err := d.admitAway(&a, d.cfg.Now(), math.MaxInt64); err != nil {
		return err
	}
	dr, err := draft(audit.AwayPut, actor, &a)
	if err != nil {
		return err
	}
	if _, err := d.cfg.Log.Commit(ctx, dr); err != nil {
		return fmt.Errorf("recording %s: %w", dr.Kind, err)
	}
	return nil
}

// admitAway returns why an absence is not taken.
func (d *Desk) admitAway(a *Away, at time.Time, seq int64) error {
	if err := a.check(at); err != nil {
		return err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	n := 0
	for _, have := range d.aways {
		if have.AsOf < seq {
			n++
		}
	}
	if _, known := d.aways[a.Person]; !known && n >= maxAways {
		return authz.Errorf(authz.ErrConflict, "more than %d persons have been away", maxAways)
	}
	return nil
}

// applyAway brings an away.put entry into effect.
func (d *Desk) applyAway(ctx context.Context, e audit.Entry) error {
	var a Away
	if err := decode(e, &a); err != nil {
		return err
	}
	if err := d.admitAway(&a, e.At, e.Seq); err != nil {
		return err
	}
	d.mu.RLock()
	seen := d.aways[a.Person].AsOf >= e.Seq
	d.mu.RUnlock()
	if seen {
		return nil
	}
	a.AsOf = e.Seq
	if err := d.cfg.Store.PutAway(ctx, a); err != nil {
		return fmt.Errorf("keeping the absence of %q: %w", a.Person, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.setAway(a)
	return nil
}

// setAway keeps the newest absence of a person. The caller holds d.mu.
func (d *Desk) setAway(a Away) {
	if old, ok := d.aways[a.Person]; ok {
		if list := slices.DeleteFunc(d.stood[old.Deputy], func(p string) bool { return p == a.Person }); len(list) > 0 {
			d.stood[old.Deputy] = list
		} else {
			delete(d.stood, old.Deputy)
		}
	}
	d.aways[a.Person] = a
	if a.Deputy != "" {
		list := d.stood[a.Deputy]
		i, _ := slices.BinarySearch(list, a.Person)
		d.stood[a.Deputy] = slices.Insert(list, i, a.Person)
	}
}

// standsFor returns the absences, by entries before the given one, in which a person stands in for others at
// a moment, sorted by them.
func (d *Desk) standsFor(deputy string, seq int64, at time.Time) (all []Away) {
	if deputy == "" {
		return nil
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, p := range d.stood[deputy] {
		if a := d.aways[p]; a.AsOf < seq && at.Before(a.Until) {
			all = append(all, a)
		}
	}
	return all
}

// Aways returns the absences that have not ended, sorted by person.
func (d *Desk) Aways() []Away {
	now := d.cfg.Now()
	d.mu.RLock()
	defer d.mu.RUnlock()
	all := []Away{}
	for _, a := range d.aways {
		if now.Before(a.Until) {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b Away) int { return strings.Compare(a.Person, b.Person) })
	return all
}
