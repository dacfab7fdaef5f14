package server

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/enforcement"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// An edgeDoor is what the API knows of decision points elsewhere.
type edgeDoor struct {
	*enforcement.Ledger
	*oauth.Server
	s *Server
}

// CatchUp implements api.Edge.
func (e *edgeDoor) CatchUp(ctx context.Context) error {
	if err := e.s.fresh(); err != nil {
		return err
	}
	head, err := e.s.db.Head(ctx)
	if err != nil {
		return fmt.Errorf("reading where the log ends: %w", err)
	}
	return e.s.follow.Wait(ctx, head.Entries)
}

// CommitAll implements api.Edge, and counts what came in.
func (e *edgeDoor) CommitAll(ctx context.Context, drafts ...audit.Draft) (int64, error) {
	seq, err := e.s.follow.CommitAll(ctx, drafts...)
	if err == nil {
		for _, d := range drafts {
			e.s.numbers.uploaded.WithLabelValues(uploadedAs[d.Kind]).Inc()
		}
	}
	return seq, err
}

// uploadedAs names the kinds of records.
var uploadedAs = map[audit.Kind]string{audit.DecisionMade: "decision", audit.OutcomeReported: "outcome", audit.EdgeRefused: "refused"}

// A counted tally counts no record that came into the log twice. It stands behind the ledger among those who follow the log.
type countedTally struct {
	*pdp.Tally
	ledger *enforcement.Ledger
}

// Apply implements audit.Applier.
func (c countedTally) Apply(ctx context.Context, e audit.Entry) error {
	if c.ledger.Void(e.Seq) {
		return nil
	}
	return c.Tally.Apply(ctx, e)
}

const maxOpenRoutes = 256 // that fail open, in a status

// An enforcementDoor takes in what enforcement points say of themselves.
type enforcementDoor struct{ s *Server }

// Tell implements api.Enforcement.
func (d enforcementDoor) Tell(ctx context.Context, actor string, r enforcement.Report) (int64, error) {
	return enforcement.Tell(ctx, d.s.follow, actor, r)
}

// Points implements api.Enforcement.
func (d enforcementDoor) Points() []enforcement.Point { return d.s.points.All() }

// pointNumbers count the enforcement points.
type pointNumbers struct{ points *enforcement.Points }

var (
	pointsDesc   = prometheus.NewDesc("safeconduct_enforcement_points", "Enforcement points that described themselves and have not said that they stop, by where decisions are made.", []string{"decide"}, nil)
	failOpenDesc = prometheus.NewDesc("safeconduct_enforcement_fail_open", "Routes of enforcement points that let through what cannot be decided.", nil, nil)
)

// Describe implements prometheus.Collector.
func (n pointNumbers) Describe(ch chan<- *prometheus.Desc) {
	ch <- pointsDesc
	ch <- failOpenDesc
}

// Collect implements prometheus.Collector.
func (n pointNumbers) Collect(ch chan<- prometheus.Metric) {
	points, embedded, open := n.points.Count()
	ch <- prometheus.MustNewConstMetric(pointsDesc, prometheus.GaugeValue, float64(points-embedded), "remote")
	ch <- prometheus.MustNewConstMetric(pointsDesc, prometheus.GaugeValue, float64(embedded), "local")
	ch <- prometheus.MustNewConstMetric(failOpenDesc, prometheus.GaugeValue, float64(open))
}
