package monitor

import (
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/asking"
	"github.com/safeconduct/safeconduct/internal/monitor/compliance"
	"github.com/safeconduct/safeconduct/internal/monitor/deviation"
	"github.com/safeconduct/safeconduct/internal/monitor/enforcing"
	"github.com/safeconduct/safeconduct/internal/monitor/escalation"
	"github.com/safeconduct/safeconduct/internal/monitor/performance"
)

// Kinds returns all kinds of findings that there are.
func Kinds() []conduct.Kind {
	return []conduct.Kind{
		deviation.Sequence, deviation.FirstSeen, deviation.Rate, deviation.Size, deviation.Hour, deviation.Zone, deviation.Drift, deviation.Surge,
		escalation.OverReach, escalation.ScopeCreep, escalation.Elsewhere, escalation.Delegation, escalation.Self, escalation.Probing, escalation.Laundering,
		performance.KindAccuracy, performance.KindCalibration, performance.KindErrors, performance.KindSchema, performance.KindLoop, performance.KindLatency, performance.KindSize,
		compliance.Purpose, compliance.Obligation, compliance.Receipt, compliance.Region, compliance.Retention,
		enforcing.FailOpen, enforcing.ToolChanged,
		asking.Many, asking.Refused, asking.RubberStamp, asking.OverdueReview,
	}
}
