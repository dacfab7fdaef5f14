package server

import (
	"context"

	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor"
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
