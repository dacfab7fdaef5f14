package gateway

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/safeconduct/safeconduct/authz"
)

// Metrics are the numbers that Prometheus reads at /metrics. No label holds what a stranger wrote.
type Metrics struct {
	registry    *prometheus.Registry
	challenges  *prometheus.CounterVec
	credentials *prometheus.CounterVec
	failedOpen  *prometheus.CounterVec
	reports     *prometheus.CounterVec
	requests    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
}

func newMetrics(g *Gateway) (*Metrics, error) {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		challenges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "safeconduct_gateway_challenges_total", Help: "Requests that did not say who sends them, or not well enough, by status and error.",
		}, []string{"status", "error"}),
		credentials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "safeconduct_gateway_credentials_total", Help: "Credentials put into requests, or why they could not be.",
		}, []string{"result"}),
		failedOpen: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "safeconduct_gateway_allowed_unavailable_total", Help: "Acts that happened without a decision, by route.",
		}, []string{"route"}),
		reports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "safeconduct_gateway_reports_total", Help: "Reports to the control plane: sent, or dropped.",
		}, []string{"result"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "safeconduct_gateway_requests_total", Help: "Requests, by route and what came of them.",
		}, []string{"route", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "safeconduct_gateway_request_seconds", Help: "How long requests took, with what the server behind took, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"route"}),
	}
	info := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "safeconduct_gateway_info", Help: "1, for the labels.",
		ConstLabels: prometheus.Labels{"door": g.opts.Door, "version": g.opts.Version, "decide": g.common.Decide},
	}, func() float64 { return 1 })
	ready := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "safeconduct_gateway_ready", Help: "1 if decisions can be had.",
	}, func() float64 {
		if g.notReady() == nil {
			return 1
		}
		return 0
	})
	pending := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "safeconduct_gateway_records_pending", Help: "Decisions made here that the control plane has not acknowledged.",
	}, func() float64 {
		if g.point == nil {
			return 0
		}
		return float64(g.point.Status().Pending)
	})
	for _, c := range []prometheus.Collector{m.challenges, m.credentials, m.failedOpen, m.reports, m.requests, m.seconds, newServerUp(g), info, ready, pending} {
		if err := m.registry.Register(c); err != nil {
			return nil, err
		}
	}
	// Counters begin at 0, not with the first thing that they count, or its rate would be missed.
	for _, route := range g.opts.FailOpen {
		m.failedOpen.WithLabelValues(route)
	}
	for _, result := range []string{"given", "refused", "unavailable"} {
		m.credentials.WithLabelValues(result)
	}
	for _, result := range []string{"sent", "dropped"} {
		m.reports.WithLabelValues(result)
	}
	return m, nil
}

// Register adds a door's own numbers.
func (m *Metrics) Register(cs ...prometheus.Collector) error {
	for _, c := range cs {
		if err := m.registry.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// Gauge adds a number of a door's own, which f returns whenever it is read.
func (m *Metrics) Gauge(name, help string, f func() float64) error {
	return m.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
}

// Requested counts a request by the route that it took, as the document names it, and by what came of it. How long it took is
// counted unless it is negative: what goes on until somebody ends it says nothing of how fast anything is.
func (m *Metrics) Requested(route, outcome string, took time.Duration) {
	m.requests.WithLabelValues(route, outcome).Inc()
	if took >= 0 {
		m.seconds.WithLabelValues(route).Observe(took.Seconds())
	}
}

func (m *Metrics) challenged(status int, code string) {
	m.challenges.WithLabelValues(strconv.Itoa(status), code).Inc()
}

func (m *Metrics) credential(err error) {
	result := "given"
	switch {
	case errors.Is(err, authz.ErrForbidden):
		result = "refused"
	case err != nil:
		result = "unavailable"
	}
	m.credentials.WithLabelValues(result).Inc()
}

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}
