package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/safeconduct/safeconduct/internal/notify"
)

// deliveryNumbers say what this process has told of asks, and what it could not.
type deliveryNumbers struct{ notifier *notify.Notifier }

var (
	deliveriesDesc = prometheus.NewDesc("safeconduct_deliveries_total", "Deliveries that this process has brought to an end, by end.", []string{"end"}, nil)
	failuresDesc   = prometheus.NewDesc("safeconduct_delivery_failures_total", "Attempts at deliveries that failed and are repeated.", nil, nil)
)

// Describe implements prometheus.Collector.
func (n *deliveryNumbers) Describe(c chan<- *prometheus.Desc) {
	c <- deliveriesDesc
	c <- failuresDesc
}

// Collect implements prometheus.Collector.
func (n *deliveryNumbers) Collect(c chan<- prometheus.Metric) {
	told, failed, dead := n.notifier.Counts()
	c <- prometheus.MustNewConstMetric(deliveriesDesc, prometheus.CounterValue, float64(told), "told")
	c <- prometheus.MustNewConstMetric(deliveriesDesc, prometheus.CounterValue, float64(dead), "dead")
	c <- prometheus.MustNewConstMetric(failuresDesc, prometheus.CounterValue, float64(failed))
}
