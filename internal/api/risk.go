package api

import (
	"context"
	"net/http"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/risk"
)

// RiskAdmin knows and changes alerts and threat indicators. *risk.Book is one.
type RiskAdmin interface {
	Alerts() []risk.Alert
	RaiseAlert(ctx context.Context, actor, why string, a risk.Alert) (risk.Alert, error)
	ClearAlert(ctx context.Context, actor, why, id string) error
	Indicators(typ risk.IndicatorType, after string, limit int) []risk.Indicator
	PutIndicator(ctx context.Context, actor, why string, i risk.Indicator) (risk.Indicator, error)
	ClearIndicator(ctx context.Context, actor, why, id string) error
	// AssessIf returns the risk that a request would have at a moment if an alert were raised, or one were not there.
	AssessIf(req *authz.Request, f *authz.Facts, at time.Time, without string, raised *risk.Alert) authz.Risk
}

func (s *Server) listAlerts(*http.Request, *caller.Identity, none) (List[risk.Alert], error) {
	return List[risk.Alert]{Items: s.Risks.Alerts()}, nil
}

// riskID is the id of an alert or an indicator in a path.
type riskID struct {
	ID string `path:"id" json:"-"`
}

type putAlert struct {
	riskID    `json:"-"`
	Kind      string        `json:"kind" doc:"a name that policies can read"`
	Severity  risk.Severity `json:"severity" doc:"low, medium, high or critical"`
	Scope     risk.Scope    `json:"scope,omitzero" doc:"what it concerns; everything, if left out"`
	Message   string        `json:"message,omitempty" doc:"for operators"`
	ExpiresAt time.Time     `json:"expires_at" doc:"at most a year ahead"`
	reason
}

func (s *Server) putAlert(r *http.Request, who *caller.Identity, in putAlert) (risk.Alert, error) {
	return s.Risks.RaiseAlert(r.Context(), who.Actor(), in.Why, risk.Alert{
		ID: in.ID, Kind: in.Kind, Severity: in.Severity, Scope: in.Scope, Message: in.Message, ExpiresAt: in.ExpiresAt,
	})
}

type clearRisk struct {
	riskID `json:"-"`
	reason
}

// Cleared says which alert or indicator holds no longer.
type Cleared struct {
	ID string `json:"id"`
}

func (s *Server) clearAlert(r *http.Request, who *caller.Identity, in clearRisk) (Cleared, error) {
	return Cleared{in.ID}, s.Risks.ClearAlert(r.Context(), who.Actor(), in.Why, in.ID)
}

type listIndicators struct {
	Type  string `query:"type" json:"-" doc:"only indicators of this type: ip, domain, agent, resource, sha256"`
	After string `query:"after" json:"-" doc:"begin after this id"`
	Limit int    `query:"limit" json:"-" doc:"at most so many, 100 by default and 1000 at most"`
}

func (s *Server) listIndicators(_ *http.Request, _ *caller.Identity, in listIndicators) (List[risk.Indicator], error) {
	n, err := pageSize(in.Limit)
	if err != nil {
		return List[risk.Indicator]{}, err
	}
	list := List[risk.Indicator]{Items: s.Risks.Indicators(risk.IndicatorType(in.Type), in.After, n)}
	if len(list.Items) == n {
		list.Next = list.Items[n-1].ID
	}
	return list, nil
}

type putIndicator struct {
	riskID    `json:"-"`
	Type      risk.IndicatorType `json:"type" doc:"ip, domain, agent, resource or sha256"`
	Value     string             `json:"value"`
	Severity  risk.Severity      `json:"severity" doc:"low, medium, high or critical"`
	Source    string             `json:"source,omitempty" doc:"the feed or the person it is from"`
	ExpiresAt time.Time          `json:"expires_at" doc:"at most a year ahead"`
	reason
}

func (s *Server) putIndicator(r *http.Request, who *caller.Identity, in putIndicator) (risk.Indicator, error) {
	return s.Risks.PutIndicator(r.Context(), who.Actor(), in.Why, risk.Indicator{
		ID: in.ID, Type: in.Type, Value: in.Value, Severity: in.Severity, Source: in.Source, ExpiresAt: in.ExpiresAt,
	})
}

func (s *Server) clearIndicator(r *http.Request, who *caller.Identity, in clearRisk) (Cleared, error) {
	return Cleared{in.ID}, s.Risks.ClearIndicator(r.Context(), who.Actor(), in.Why, in.ID)
}
