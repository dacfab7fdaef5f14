// Package risk keeps the open alerts and threat indicators, and says how risky a request is.
//
// The score of a request is the sum of points whose sources are listed, so that an operator sees why
// it is what it is; the same facts give the same score. Alerts and indicators always expire, by the
// time of the request, without anybody having to act.
//
// The package raises nothing by itself and fetches no feeds. It matches indicators against what is
// observed of a request and what names its resource, not against the contents of arguments.
package risk

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// Store is the durable side of a Book.
type Store interface {
	// OpenAlerts returns up to limit alerts that are not cleared and expire after the given time,
	// whose ids follow the given one, in the order of ids.
	OpenAlerts(ctx context.Context, at time.Time, after string, limit int) ([]Alert, error)

	// PutAlert keeps a unless a newer version (by AsOf) is kept already.
	PutAlert(ctx context.Context, a Alert) error

	// OpenIndicators is to indicators what OpenAlerts is to alerts.
	OpenIndicators(ctx context.Context, at time.Time, after string, limit int) ([]Indicator, error)

	// PutIndicator keeps i unless a newer version (by AsOf) is kept already.
	PutIndicator(ctx context.Context, i Indicator) error
}

// A Committer records a change and waits until it is in effect. *audit.Follower is one.
type Committer interface {
	Commit(ctx context.Context, d audit.Draft) (int64, error)
}

// Config is what a Book needs. Store and Log must be set.
type Config struct {
	Store Store
	Log   Committer

	// Weights returns what the active catalog weighs. The defaults hold if it is nil or returns nil.
	Weights func() *catalog.Weights

	Now func() time.Time // time.Now by default
}

// A Book holds the open alerts and threat indicators. It is safe for concurrent use once loaded.
type Book struct {
	cfg   Config
	bases atomic.Pointer[bases]

	mu         sync.RWMutex
	alerts     shelf[Alert]
	indicators shelf[Indicator]
	index      index
	swept      time.Time
	changes    timetable
	generation atomic.Int64
	open       atomic.Int64 // how many alerts and indicators there are; 0 lets Assess skip the lock
}

// NewBook returns an empty book, to be loaded.
func NewBook(cfg Config) *Book {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Book{cfg: cfg}
}

// Load reads what is open. It must return before the book is used.
func (b *Book) Load(ctx context.Context) error {
	now := b.cfg.Now()
	alerts, err := all(func(after string, limit int) ([]Alert, error) {
		return b.cfg.Store.OpenAlerts(ctx, now, after, limit)
	}, func(a *Alert) string { return a.ID })
	if err != nil {
		return fmt.Errorf("loading alerts: %w", err)
	}
	indicators, err := all(func(after string, limit int) ([]Indicator, error) {
		return b.cfg.Store.OpenIndicators(ctx, now, after, limit)
	}, func(i *Indicator) string { return i.ID })
	if err != nil {
		return fmt.Errorf("loading threat indicators: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.alerts, b.indicators, b.index, b.changes = shelf[Alert]{}, shelf[Indicator]{}, index{}, timetable{}
	for i := range alerts {
		b.alerts.put(alerts[i].ID, &alerts[i])
		b.changes.add(alerts[i].ExpiresAt)
	}
	for i := range indicators {
		b.indicators.put(indicators[i].ID, &indicators[i])
		b.index.add(&indicators[i])
		b.changes.add(indicators[i].ExpiresAt)
	}
	b.changed()
	return nil
}

// all reads every page of a list.
func all[T any](page func(after string, limit int) ([]T, error), id func(*T) string) (list []T, err error) {
	const limit = 1000
	for after := ""; ; {
		p, err := page(after, limit)
		if err != nil {
			return nil, err
		}
		list = append(list, p...)
		if len(p) < limit {
			return list, nil
		}
		after = id(&p[len(p)-1])
	}
}

// Alert returns the open alert of that id, or authz.ErrNotFound.
func (b *Book) Alert(id string) (Alert, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if a := b.alerts.at(id); a != nil && a.ExpiresAt.After(b.cfg.Now()) {
		return *a, nil
	}
	return Alert{}, authz.Errorf(authz.ErrNotFound, "no alert %.128q is open", id)
}

// Alerts returns the open alerts, sorted by id.
func (b *Book) Alerts() []Alert {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.alerts.page("", maxAlerts, func(a *Alert) bool { return a.ExpiresAt.After(b.cfg.Now()) })
}

// Indicator returns the threat indicator of that id, or authz.ErrNotFound.
func (b *Book) Indicator(id string) (Indicator, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if i := b.indicators.at(id); i != nil && i.ExpiresAt.After(b.cfg.Now()) {
		return *i, nil
	}
	return Indicator{}, authz.Errorf(authz.ErrNotFound, "there is no threat indicator %.128q", id)
}

// Indicators returns up to limit threat indicators of a type, or of all if typ is "", whose ids
// follow the given one, sorted by id.
func (b *Book) Indicators(typ IndicatorType, after string, limit int) []Indicator {
	now := b.cfg.Now()
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.indicators.page(after, min(limit, maxPage), func(i *Indicator) bool {
		return (typ == "" || i.Type == typ) && i.ExpiresAt.After(now)
	})
}
