package risk

import (
	"slices"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
)

// maxScore is the highest score. What is added beyond it is listed and does not count.
const maxScore = 100

// bases are the risks of requests that no alert and no indicator concerns, which are few. Their
// lists are shared: nothing appends to them in place.
type bases struct {
	weights *catalog.Weights
	known   [4]authz.Risk // by class; the address is in a zone
	unknown [4]authz.Risk // likewise; it is in none
}

// base returns the bases for what is weighed now.
func (b *Book) base() *bases {
	var w *catalog.Weights
	if b.cfg.Weights != nil {
		w = b.cfg.Weights()
	}
	have := b.bases.Load()
	if have != nil && (have.weights == w || w == nil && *have.weights == catalog.DefaultWeights()) {
		return have
	}
	if w == nil {
		d := catalog.DefaultWeights()
		w = &d
	}
	next := &bases{weights: w}
	for c := authz.Restricted; c <= authz.Public; c++ {
		known := authz.Risk{Alerts: []string{}, Indicators: []string{}}
		add(&known, "class:"+c.String(), w.Class[c])
		unknown := known
		unknown.Contributions = slices.Clone(known.Contributions)
		add(&unknown, "zone:unknown", w.UnknownZone)
		next.known[c], next.unknown[c] = finish(w, known), finish(w, unknown)
	}
	b.bases.Store(next)
	return next
}

// Assess returns the risk of a request at f.At, by its class, zones and agent in f and by the
// alerts and indicators that concern it. It touches memory only. The lists of the answer may be
// shared: do not modify them.
//
// Contributions are in the order class, zone, alerts and indicators by their ids.
func (b *Book) Assess(req *authz.Request, f *authz.Facts) authz.Risk {
	base := b.base()
	class := min(f.Class, authz.Public)
	risk := base.known[class]
	if len(f.Zones) == 0 {
		risk = base.unknown[class]
	}
	if b.open.Load() == 0 {
		return risk
	}
	alerts, indicators := b.concerning(req, f)
	return weigh(base.weights, risk, alerts, indicators)
}

// AssessIf returns the risk that a request would have at a moment if an alert were raised then, or were not there: the one of
// the id without is left out, and raised, unless it is nil, is open. Everything else is as it is in the book.
func (b *Book) AssessIf(req *authz.Request, f *authz.Facts, at time.Time, without string, raised *Alert) authz.Risk {
	base := b.base()
	class := min(f.Class, authz.Public)
	risk := base.known[class]
	if len(f.Zones) == 0 {
		risk = base.unknown[class]
	}
	moment := *f
	moment.At = at
	alerts, indicators := b.concerning(req, &moment)
	alerts = slices.DeleteFunc(alerts, func(a *Alert) bool { return a.ID == without })
	if raised != nil && raised.Scope.concerns(req, f) {
		alerts = append(alerts, raised)
		slices.SortFunc(alerts, func(a, b *Alert) int { return strings.Compare(a.ID, b.ID) })
	}
	return weigh(base.weights, risk, alerts, indicators)
}

// weigh adds what alerts and indicators contribute to the risk of a request that none concerns.
func weigh(w *catalog.Weights, risk authz.Risk, alerts []*Alert, indicators []*Indicator) authz.Risk {
	if len(alerts) == 0 && len(indicators) == 0 {
		return risk
	}
	own := make([]authz.Contribution, 0, len(risk.Contributions)+len(alerts)+len(indicators))
	risk.Contributions = append(own, risk.Contributions...)
	for _, a := range alerts {
		add(&risk, "alert:"+a.ID, w.Alert[a.Severity.rank()])
	}
	for _, i := range indicators {
		add(&risk, "indicator:"+i.ID, w.Indicator[i.Severity.rank()])
	}
	risk.Alerts, risk.Indicators = make([]string, len(alerts)), make([]string, len(indicators))
	for i, a := range alerts {
		risk.Alerts[i] = a.Kind
	}
	slices.Sort(risk.Alerts)
	risk.Alerts = slices.Compact(risk.Alerts)
	for n, i := range indicators {
		risk.Indicators[n] = i.ID
	}
	return finish(w, risk)
}

// concerning returns the alerts and indicators that concern a request, sorted by id. The values are
// never changed once they are in the book.
func (b *Book) concerning(req *authz.Request, f *authz.Facts) (alerts []*Alert, indicators []*Indicator) {
	at := f.At
	if at.IsZero() {
		at = b.cfg.Now()
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, id := range b.alerts.ids {
		if a := b.alerts.at(id); open(a.ExpiresAt, at) && a.Scope.concerns(req, f) {
			alerts = append(alerts, a)
		}
	}
	b.index.match(req, func(i *Indicator) {
		if open(i.ExpiresAt, at) {
			indicators = append(indicators, i)
		}
	})
	slices.SortFunc(indicators, func(a, b *Indicator) int { return strings.Compare(a.ID, b.ID) })
	indicators = slices.Compact(indicators) // of an agent that is named twice
	return alerts, indicators
}

func open(expires, at time.Time) bool { return at.Before(expires) }

// add adds points and where they are from. Sources without points are not listed.
func add(r *authz.Risk, source string, points int64) {
	if points > 0 {
		r.Score += points
		r.Contributions = append(r.Contributions, authz.Contribution{Source: source, Points: points})
	}
}

// finish bounds the score and names its level.
func finish(w *catalog.Weights, r authz.Risk) authz.Risk {
	r.Score = min(r.Score, maxScore)
	r.Level = w.Level(r.Score)
	return r
}
