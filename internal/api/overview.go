package api

import (
	"context"
	"net/http"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/figures"
	"github.com/safeconduct/safeconduct/internal/risk"
)

// Figures are numbers of what happened. *figures.Figures has them.
type Figures interface {
	// Series returns the figures of a window step by step; authz.ErrInvalid for an unknown window.
	Series(ctx context.Context, window string) ([]figures.Bucket, error)
	// Report returns the figures of the days that begin in a while; authz.ErrInvalid if that is too long.
	Report(ctx context.Context, from, to time.Time) (*figures.Report, error)
	// Month returns the month that a time is in, in the organisation's zone.
	Month(t time.Time) (from, to time.Time)
}

// An Overview is everything that one should see first.
type Overview struct {
	At        time.Time          `json:"at"`
	Hour      figures.Totals     `json:"hour" doc:"decisions of the last hour"`
	Day       figures.Totals     `json:"day" doc:"decisions of the last 24 hours"`
	PerSecond float64            `json:"per_second" doc:"decisions a second in the last ten seconds, as far as this process has counted"`
	Agents    AgentsOverview     `json:"agents"`
	Findings  FindingsOverview   `json:"findings"`
	Alerts    AlertsOverview     `json:"alerts"`
	Approvals *ApprovalsOverview `json:"approvals,omitempty" doc:"left out if nobody can be asked"`
	Health    HealthOverview     `json:"health"`
}

// AgentsOverview counts the agents.
type AgentsOverview struct {
	Total       int            `json:"total"`
	States      map[string]int `json:"states" doc:"by state"`
	Trust       map[string]int `json:"trust" doc:"by the lowest level over the classes: none, low, medium, high; unseen: of which nothing is known yet. Retired ones are among them"`
	Quarantined int            `json:"quarantined_by_conduct"`
}

// FindingsOverview counts the findings that nobody has judged.
type FindingsOverview struct {
	Open map[string]int `json:"open" doc:"by severity"`
	Most int            `json:"most" doc:"a count of so many stands for that and more"`
}

// AlertsOverview says what is going on.
type AlertsOverview struct {
	Open  int          `json:"open"`
	Items []risk.Alert `json:"items" doc:"the gravest, at most 10"`
	Risk  authz.Risk   `json:"risk" doc:"of a request that only what concerns every request bears on, with public data from a known network; score from 0 to 100"`
}

// ApprovalsOverview says how many asks wait.
type ApprovalsOverview struct {
	Pending int64     `json:"pending"`
	Oldest  time.Time `json:"oldest,omitzero" doc:"since when the oldest waits"`
}

// HealthOverview says how the service is.
type HealthOverview struct {
	Ready             bool      `json:"ready"`
	Reasons           []string  `json:"reasons" doc:"why it is not"`
	Version           string    `json:"version"`
	Store             string    `json:"store"`
	UptimeS           int64     `json:"uptime_seconds"`
	Head              int64     `json:"head" doc:"number of the newest entry of the log"`
	Applied           int64     `json:"applied" doc:"of the newest that is in effect in this process"`
	Indexed           int64     `json:"indexed" doc:"of the newest that the search index holds"`
	Counted           int64     `json:"counted" doc:"of the newest that the figures hold"`
	Batches           int64     `json:"batches"`
	Signed            int64     `json:"signed" doc:"batches under the newest checkpoint"`
	UnsignedS         int64     `json:"unsigned_seconds" doc:"since when the oldest batch waits for a checkpoint; 0 if none does"`
	Policies          int64     `json:"policies" doc:"the active version; 0 if there is none"`
	PoliciesAt        time.Time `json:"policies_at,omitzero"`
	PoliciesBy        string    `json:"policies_by,omitempty"`
	EnforcementPoints int       `json:"enforcement_points"`
	Embedded          int       `json:"enforcement_points_embedded"`
	FailOpen          []string  `json:"fail_open"`
	Streams           int64     `json:"streams" doc:"that are open at this process"`
}

func (s *Server) readOverview(r *http.Request, _ *caller.Identity, _ none) (Overview, error) {
	if s.OverviewOf == nil {
		return Overview{}, errNoFigures
	}
	return s.OverviewOf(r.Context())
}

var errNoFigures = authz.Errorf(authz.ErrUnavailable, "nobody counts here")

type seriesQuery struct {
	Window string `query:"window" json:"-" doc:"1h, in steps of a minute; 24h, of ten minutes; 7d, of an hour; 30d, of six hours. 24h, if left out"`
}

// A Series tells the figures of a window step by step.
type Series struct {
	Window string           `json:"window"`
	StepS  int64            `json:"step_seconds"`
	Items  []figures.Bucket `json:"items" doc:"oldest first; the last one is not over"`
}

func (s *Server) readSeries(r *http.Request, _ *caller.Identity, in seriesQuery) (Series, error) {
	if s.Figures == nil {
		return Series{}, errNoFigures
	}
	if in.Window == "" {
		in.Window = "24h"
	}
	items, err := s.Figures.Series(r.Context(), in.Window)
	if err != nil {
		return Series{}, err
	}
	return Series{in.Window, int64(figures.Windows[in.Window].Step / time.Second), items}, nil
}
