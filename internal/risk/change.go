package risk

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// AlertChange is the body of an alert.put entry: the whole alert, and why. RaisedBy, RaisedAt and
// AsOf are set when it is applied.
type AlertChange struct {
	Alert Alert  `json:"alert"`
	Why   string `json:"why"`
}

// IndicatorChange is the body of an indicator.put entry.
type IndicatorChange struct {
	Indicator Indicator `json:"indicator"`
	Why       string    `json:"why"`
}

// RaiseAlert raises an alert, or replaces the one of that id, and returns it. It returns
// authz.ErrInvalid and every problem.
func (b *Book) RaiseAlert(ctx context.Context, actor, why string, a Alert) (Alert, error) {
	a.Cleared = false
	problems := append(a.problems(), expiry(a.ExpiresAt, b.cfg.Now())...)
	if err := invalid("alert", a.ID, problems, why); err != nil {
		return Alert{}, err
	}
	b.mu.RLock()
	full := b.alerts.len() >= maxAlerts && b.alerts.at(a.ID) == nil
	b.mu.RUnlock()
	if full {
		return Alert{}, authz.Errorf(authz.ErrConflict, "there are %d alerts open already: clear some", maxAlerts)
	}
	if err := b.commit(ctx, actor, audit.AlertPut, AlertChange{a, why}); err != nil {
		return Alert{}, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if p := b.alerts.at(a.ID); p != nil {
		return *p, nil
	}
	return a, nil // somebody has cleared it already
}

// ClearAlert clears an alert. It returns authz.ErrNotFound if none of that id is open.
func (b *Book) ClearAlert(ctx context.Context, actor, why, id string) error {
	a, err := b.Alert(id)
	if err != nil {
		return err
	}
	if err := invalid("alert", id, nil, why); err != nil {
		return err
	}
	a.Cleared = true
	return b.commit(ctx, actor, audit.AlertPut, AlertChange{a, why})
}

// PutIndicator keeps a threat indicator, or replaces the one of that id, and returns it. It returns
// authz.ErrInvalid and every problem.
func (b *Book) PutIndicator(ctx context.Context, actor, why string, i Indicator) (Indicator, error) {
	i.Cleared = false
	i.normalise()
	problems := append(i.problems(), expiry(i.ExpiresAt, b.cfg.Now())...)
	if err := invalid("threat indicator", i.ID, problems, why); err != nil {
		return Indicator{}, err
	}
	b.mu.RLock()
	full := b.indicators.len() >= maxIndicators && b.indicators.at(i.ID) == nil
	b.mu.RUnlock()
	if full {
		return Indicator{}, authz.Errorf(authz.ErrConflict, "there are %d threat indicators already: clear some", maxIndicators)
	}
	if err := b.commit(ctx, actor, audit.IndicatorPut, IndicatorChange{i, why}); err != nil {
		return Indicator{}, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if p := b.indicators.at(i.ID); p != nil {
		return *p, nil
	}
	return i, nil // somebody has cleared it already
}

// ClearIndicator clears a threat indicator. It returns authz.ErrNotFound if there is none of that id.
func (b *Book) ClearIndicator(ctx context.Context, actor, why, id string) error {
	i, err := b.Indicator(id)
	if err != nil {
		return err
	}
	if err := invalid("threat indicator", id, nil, why); err != nil {
		return err
	}
	i.Cleared = true
	return b.commit(ctx, actor, audit.IndicatorPut, IndicatorChange{i, why})
}

// commit records a change and waits until it is in effect.
func (b *Book) commit(ctx context.Context, actor string, kind audit.Kind, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", kind, err)
	}
	if _, err := b.cfg.Log.Commit(ctx, audit.Draft{Kind: kind, Actor: actor, Body: text}); err != nil {
		return fmt.Errorf("recording %s: %w", kind, err)
	}
	return nil
}

// Apply brings alert.put and indicator.put entries into effect. See audit.Applier. The last entry
// about an id is the one that holds, so what it finds in memory does not matter to the outcome.
func (b *Book) Apply(ctx context.Context, e audit.Entry) error {
	switch e.Kind {
	case audit.AlertPut:
		var c AlertChange
		if err := decode(e, &c); err != nil {
			return err
		}
		a := c.Alert
		if err := invalid("alert", a.ID, a.problems(), c.Why); err != nil {
			return err
		}
		a.RaisedBy, a.RaisedAt, a.AsOf = e.Actor, e.At, e.Seq
		if err := b.cfg.Store.PutAlert(ctx, a); err != nil {
			return fmt.Errorf("keeping alert %q: %w", a.ID, err)
		}
		b.putAlert(&a, e.At)
	case audit.IndicatorPut:
		var c IndicatorChange
		if err := decode(e, &c); err != nil {
			return err
		}
		i := c.Indicator
		if err := invalid("threat indicator", i.ID, i.problems(), c.Why); err != nil {
			return err
		}
		i.RaisedBy, i.RaisedAt, i.AsOf = e.Actor, e.At, e.Seq
		if err := b.cfg.Store.PutIndicator(ctx, i); err != nil {
			return fmt.Errorf("keeping threat indicator %q: %w", i.ID, err)
		}
		b.putIndicator(&i, e.At)
	}
	return nil
}

func decode(e audit.Entry, into any) error {
	if err := json.Unmarshal(e.Body, into); err != nil {
		return authz.Errorf(authz.ErrInvalid, "entry %d: %w", e.Seq, err)
	}
	return nil
}

func (b *Book) putAlert(a *Alert, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.alerts.at(a.ID); old != nil {
		if old.AsOf >= a.AsOf {
			return
		}
		b.changes.remove(old.ExpiresAt)
	}
	if a.Cleared {
		b.alerts.remove(a.ID)
	} else {
		b.alerts.put(a.ID, a)
		b.changes.add(a.ExpiresAt)
	}
	b.sweep(at)
	b.changed()
}

func (b *Book) putIndicator(i *Indicator, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.indicators.at(i.ID); old != nil {
		if old.AsOf >= i.AsOf {
			return
		}
		b.index.remove(old)
		b.changes.remove(old.ExpiresAt)
	}
	if i.Cleared {
		b.indicators.remove(i.ID)
	} else {
		b.indicators.put(i.ID, i)
		b.index.add(i)
		b.changes.add(i.ExpiresAt)
	}
	b.sweep(at)
	b.changed()
}

// sweep forgets, once an hour, what had expired an hour before: nothing can ask for it any more. The
// caller holds b.mu.
func (b *Book) sweep(at time.Time) {
	if at.Sub(b.swept) < time.Hour {
		return
	}
	b.swept = at
	gone := at.Add(-time.Hour)
	b.alerts.drop(func(a *Alert) bool { return a.ExpiresAt.Before(gone) }, func(a *Alert) { b.changes.remove(a.ExpiresAt) })
	b.indicators.drop(func(i *Indicator) bool { return i.ExpiresAt.Before(gone) }, func(i *Indicator) {
		b.index.remove(i)
		b.changes.remove(i.ExpiresAt)
	})
}

// changed notes how much is open, and that it is not what it was. The caller holds b.mu.
func (b *Book) changed() {
	b.open.Store(int64(b.alerts.len() + b.indicators.len()))
	b.generation.Add(1)
}

func invalid(what, id string, problems []string, why string) error {
	switch {
	case why == "":
		problems = append(problems, "why is missing")
	case len(why) > maxMessage || !printable(why):
		problems = append(problems, "why is not printable text, or too long")
	}
	if len(problems) == 0 {
		return nil
	}
	return authz.Errorf(authz.ErrInvalid, "%s %.128q: %s", what, id, strings.Join(problems, "; "))
}
