package server

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// countSignals counts what monitors conclude while the service runs.
func (s *Server) countSignals(ctx context.Context) {
	for ctx.Err() == nil { // one who counts too slowly is cut off, and begins again
		for sig := range s.monitor.Subscribe(ctx) {
			if f := sig.Finding; f != nil && f.Count == 1 && f.State == conduct.Open {
				s.numbers.findings.WithLabelValues(string(f.Kind), f.Severity.String()).Inc()
			}
		}
	}
}

// outcomes passes on what came of decisions, and counts it.
type outcomes struct {
	*monitor.Monitor
	numbers *metrics
}

// Tell implements api.Outcomes.
func (o outcomes) Tell(ctx context.Context, out conduct.Outcome) (int64, error) {
	seq, err := o.Monitor.Tell(ctx, out)
	if err == nil {
		result := string(out.Result)
		if result == "" {
			result = "none"
		}
		o.numbers.outcomes.WithLabelValues(result).Inc()
	}
	return seq, err
}

// conductNumbers count the agents by their trust; a scrape looks at each once.
type conductNumbers struct{ s *Server }

var (
	levelsDesc      = prometheus.NewDesc("safeconduct_agents_trust", "Agents by the lowest level of trust over the classes of capability.", []string{"level"}, nil)
	quarantinedDesc = prometheus.NewDesc("safeconduct_agents_quarantined", "Agents that are quarantined by their conduct.", nil, nil)
)

// Describe implements prometheus.Collector.
func (n *conductNumbers) Describe(ch chan<- *prometheus.Desc) {
	ch <- levelsDesc
	ch <- quarantinedDesc
}

// Collect implements prometheus.Collector.
func (n *conductNumbers) Collect(ch chan<- prometheus.Metric) {
	c := n.s.monitor.Census()
	for level, agents := range c.Levels {
		ch <- prometheus.MustNewConstMetric(levelsDesc, prometheus.GaugeValue, float64(agents), trust.Level(level).String())
	}
	ch <- prometheus.MustNewConstMetric(quarantinedDesc, prometheus.GaugeValue, float64(c.Quarantined))
}
