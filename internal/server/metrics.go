package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

// metrics are the numbers that Prometheus reads. No label holds a name or an id: a label's values are
// few and known.
type metrics struct {
	registry  *prometheus.Registry
	decisions *prometheus.CounterVec
	latency   prometheus.Histogram
	batches   prometheus.Histogram
	requests  *prometheus.HistogramVec
	failures  prometheus.Counter
	findings  *prometheus.CounterVec
	outcomes  *prometheus.CounterVec
	uploaded  *prometheus.CounterVec
}

// newMetrics registers the door's numbers with reg and returns them.
func newMetrics(reg *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		registry: reg,
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "safeconduct_decisions_total", Help: "Decisions by effect and code.",
		}, []string{"effect", "code"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "safeconduct_decision_seconds", Help: "Time from a parsed request to its recorded decision.",
			Buckets: []float64{.0001, .00025, .0005, .001, .002, .005, .01, .025, .05, .1, .25, 1, 5},
		}),
		batches: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "safeconduct_evaluations_items", Help: "Items in one evaluations request.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "safeconduct_http_request_seconds", Help: "HTTP requests by route and status class.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5, 30},
		}, []string{"route", "status"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "safeconduct_authentication_failures_total", Help: "Requests without a token that is known.",
		}),
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "safeconduct_findings_total", Help: "Findings that monitors concluded since this process started, by kind and severity.",
		}, []string{"kind", "severity"}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "safeconduct_outcomes_total", Help: "Outcomes that were reported to this process, by result.",
		}, []string{"result"}),
		uploaded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "safeconduct_edge_records_total", Help: "Records that decision points elsewhere uploaded to this process, by what they are.",
		}, []string{"kind"}),
	}
	for _, c := range []prometheus.Collector{m.decisions, m.latency, m.batches, m.requests, m.failures, m.findings, m.outcomes, m.uploaded} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	// Counters begin at 0, not with the first thing that they count, or its rate would be missed.
	for _, kind := range monitor.Kinds() {
		for severity := conduct.Low; severity <= conduct.Critical; severity++ {
			m.findings.WithLabelValues(string(kind), severity.String())
		}
	}
	for _, result := range []string{"right", "wrong", "harmful", "reverted", "none"} {
		m.outcomes.WithLabelValues(result)
	}
	for _, kind := range uploadedAs {
		m.uploaded.WithLabelValues(kind)
	}
	return m, nil
}

// Route implements api.Metrics.
func (m *metrics) Route(method, path string) func(status int, took time.Duration) {
	var classes [6]prometheus.Observer
	for i := 1; i < len(classes); i++ {
		classes[i] = m.requests.WithLabelValues(method+" "+path, strconv.Itoa(i)+"xx")
	}
	return func(status int, took time.Duration) {
		if i := status / 100; i >= 1 && i < len(classes) {
			classes[i].Observe(took.Seconds())
		}
	}
}

// AuthFailed implements api.Metrics.
func (m *metrics) AuthFailed() { m.failures.Inc() }

// Asked implements api.Metrics.
func (m *metrics) Asked(took time.Duration, items int) {
	m.latency.Observe(took.Seconds())
	if items > 0 {
		m.batches.Observe(float64(items))
	}
}

// Decided implements api.Metrics.
func (m *metrics) Decided(effect authz.Effect, code string) {
	m.decisions.WithLabelValues(effect.String(), code).Inc()
}

// handler serves the numbers as Prometheus reads them.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}
