package server

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
)

// askNumbers count what persons are asked and how they answer, by entries of the log that took effect. It is
// an audit.Applier that stands behind the desk, and a prometheus.Collector. Every replica reads the whole log
// and so counts the same: their numbers are not to be added up.
type askNumbers struct {
	desk interface { // *approval.Desk
		Get(ctx context.Context, id string) (*approval.Ask, error)
		Stats(window time.Duration) approval.Stats
	}
	since time.Time // entries before this process started were counted by another

	asks    *prometheus.CounterVec // by kind
	joined  prometheus.Counter
	ended   *prometheus.CounterVec // by status
	answers *prometheus.CounterVec // by verdict and by who
	uses    prometheus.Counter
	waited  prometheus.Histogram
	read    prometheus.Histogram
	pending *prometheus.Desc
}

// newAskNumbers returns numbers that begin at 0.
func newAskNumbers(desk *approval.Desk, since time.Time) *askNumbers {
	n := &askNumbers{
		desk: desk, since: since,
		asks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "safeconduct_asks_total", Help: "Asks that persons were to answer, since this process started, by kind. Those that were joined to another do not count.",
		}, []string{"kind"}),
		joined: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "safeconduct_asks_joined_total", Help: "Asks for the very same that somebody was asked already.",
		}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "safeconduct_asks_ended_total", Help: "Asks that came to their end, by status.",
		}, []string{"status"}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "safeconduct_ask_answers_total", Help: "Answers that counted, by verdict and by who gave them.",
		}, []string{"verdict", "by"}),
		uses: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "safeconduct_approval_uses_total", Help: "Uses of approvals that were drawn for acts.",
		}),
		waited: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "safeconduct_ask_answer_seconds", Help: "Time from an ask to the answer that ended it.",
			Buckets: []float64{1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400},
		}),
		read: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "safeconduct_ask_reading_seconds", Help: "Time from looking at an ask to answering it.",
			Buckets: []float64{.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600},
		}),
		pending: prometheus.NewDesc("safeconduct_asks_pending", "Asks that wait for an answer.", nil, nil),
	}
	// Counters begin at 0, not with the first thing that they count, or its rate would be missed.
	for _, kind := range []approval.Kind{approval.Access, approval.CIBA} {
		n.asks.WithLabelValues(string(kind))
	}
	for _, st := range []approval.Status{approval.Approved, approval.Denied, approval.Expired, approval.Cancelled, approval.Failed, approval.Partial} {
		n.ended.WithLabelValues(string(st))
	}
	for _, verdict := range []string{"yes", "no", "broke_glass"} {
		for _, by := range []string{"person", "evaluator"} {
			n.answers.WithLabelValues(verdict, by)
		}
	}
	return n
}

// Apply counts an entry. It must be called after the desk has applied it, and it never fails: numbers are
// not worth stopping for.
func (n *askNumbers) Apply(ctx context.Context, e audit.Entry) error {
	switch e.Kind {
	case audit.ApprovalAsked, audit.ApprovalJoined, audit.ApprovalAnswer, audit.ApprovalMoved, audit.ApprovalUsed:
	default:
		return nil
	}
	if e.At.Before(n.since) {
		return nil
	}
	var body struct {
		ID    string `json:"id"`
		Ask   string `json:"ask"`
		Count int64  `json:"count"`
	}
	if json.Unmarshal(e.Body, &body) != nil {
		return nil
	}
	id := body.Ask
	if e.Kind == audit.ApprovalAsked {
		id = body.ID
	}
	a, err := n.desk.Get(ctx, id)
	if err != nil || a.AsOf != e.Seq {
		return nil // it changed nothing
	}
	switch e.Kind {
	case audit.ApprovalAsked:
		n.asks.WithLabelValues(string(a.Kind)).Inc()
	case audit.ApprovalJoined:
		n.joined.Add(float64(max(body.Count, 1)))
	case audit.ApprovalUsed:
		n.uses.Inc()
	case audit.ApprovalAnswer:
		n.answered(a, &e)
	}
	if a.ClosedAt.Equal(e.At) && e.Kind != audit.ApprovalUsed && a.Status != approval.Pending {
		n.ended.WithLabelValues(string(a.Status)).Inc()
		if e.Kind == audit.ApprovalAnswer {
			n.waited.Observe(e.At.Sub(a.AskedAt).Seconds())
		}
	}
	return nil
}

// answered counts the answer that an entry gave.
func (n *askNumbers) answered(a *approval.Ask, e *audit.Entry) {
	i := slices.IndexFunc(a.Answers, func(w approval.Answer) bool { return w.Seq == e.Seq })
	if i < 0 {
		return
	}
	w := &a.Answers[i]
	verdict, by := "no", "person"
	switch {
	case w.Broke:
		verdict = "broke_glass"
	case w.Yes:
		verdict = "yes"
	}
	if strings.HasPrefix(w.By, "evaluator:") {
		by = "evaluator"
	}
	n.answers.WithLabelValues(verdict, by).Inc()
	if w.View > 0 {
		n.read.Observe(float64(w.Read) / 1000)
	}
}

// collectors are what the numbers are made of, but for those that are worked out when they are read.
func (n *askNumbers) collectors() []prometheus.Collector {
	return []prometheus.Collector{n.asks, n.joined, n.ended, n.answers, n.uses, n.waited, n.read}
}

// Describe implements prometheus.Collector.
func (n *askNumbers) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range n.collectors() {
		c.Describe(ch)
	}
	ch <- n.pending
}

// Collect implements prometheus.Collector.
func (n *askNumbers) Collect(ch chan<- prometheus.Metric) {
	for _, c := range n.collectors() {
		c.Collect(ch)
	}
	ch <- prometheus.MustNewConstMetric(n.pending, prometheus.GaugeValue, float64(n.desk.Stats(0).Pending))
}
