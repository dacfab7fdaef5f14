// Package compliance finds acts that break a rule of the organisation, whatever was decided: outside the
// agent's purpose (purpose limitation, GDPR article 5(1)(b)), with data used from where it must not be or for
// longer than it may be kept (article 5(1)(e)), with obligations that were not met, or without the receipt that
// is due. Only acts that were allowed can break a rule: a refused one was not done.
//
// What a rule needs to know and the log does not say (a country that is unknown, a date that a request does not
// state) is a low finding of its own: that the rule was kept cannot be shown. The monitor has only the words of
// others: what the property of a resource is comes from the request, and who must meet an obligation reports
// that it did. It finds what these admit, and what they leave out.
package compliance

import (
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// Kinds of finding.
const (
	Purpose    conduct.Kind = "compliance.purpose"    // an act outside what belongs to the purpose
	Obligation conduct.Kind = "compliance.obligation" // an obligation was not met
	Receipt    conduct.Kind = "compliance.receipt"    // no outcome was reported in time
	Region     conduct.Kind = "compliance.region"     // data used from where it must not be
	Retention  conduct.Kind = "compliance.retention"  // data used for longer than it may be kept
)

// A State is what is remembered of one agent: the receipts that are due. The zero State remembers nothing.
// It is bounded for any stream (250 bytes), and not safe for concurrent use.
type State struct {
	pending []group // oldest first, at most maxGroups
}

// A Fleet is what is remembered of all agents together: nothing.
type Fleet struct{}

// Observe takes in an event of the agent and emits findings. These rules do not learn.
func (s *State) Observe(_ *Fleet, r *catalog.ComplianceRules, ev *conduct.Event, _ bool, emit func(conduct.Draft)) {
	if r.Off || ev.Issuing || !ev.Allowed() {
		return
	}
	say := func(k conduct.Kind, severity conduct.Severity, sentence string) {
		emit(conduct.Draft{Kind: k, Severity: severity, Class: ev.Class, Evidence: []int64{ev.Seq}, Sentence: sentence})
	}
	if severity, why := purpose(r, ev); why != "" {
		say(Purpose, severity, why)
	}
	if severity, why := region(r, ev); why != "" {
		say(Region, severity, why)
	}
	if severity, why := retention(r, ev); why != "" {
		say(Retention, severity, why)
	}
	if due(r, ev.Class, len(ev.Obligations) > 0) {
		s.expect(r, ev, emit)
	}
}

// Outcome takes in what somebody says came of a decision of the agent, and emits findings.
//
// Obligations are met by enforcement points, so that they must say so of each, unless the act failed.
// What others say of obligations counts only against the agent. Only an enforcement point's report is a receipt.
func (s *State) Outcome(_ *Fleet, r *catalog.ComplianceRules, o *conduct.Outcome, emit func(conduct.Draft)) {
	if r.Off || !o.Allowed {
		return
	}
	class, ok := conduct.ParseClass(o.Class)
	if !ok {
		class = conduct.Write // as an Event has it
	}
	byPEP := o.Reporter == conduct.ReporterPEP
	if byPEP && o.Action != authz.ActionIssue && o.Action != authz.ActionRegister && due(r, class, len(o.Obliged) > 0) {
		s.receive(o.Decision)
	}
	i := slices.IndexFunc(o.Obliged, func(id string) bool { return !slices.Contains(o.Met, id) })
	if i < 0 || len(o.Met) == 0 && (!byPEP || o.Fault != conduct.FaultNone) {
		return
	}
	severity := conduct.Medium
	if !byPEP {
		severity = conduct.Low
	}
	emit(conduct.Draft{
		Kind: Obligation, Severity: severity, Class: class, Evidence: evidence(o.Decision, o.Seq),
		Sentence: fmt.Sprintf("%s was done without its obligation %s, as %s reports.", conduct.Quote(o.Action), conduct.Quote(o.Obliged[i]), conduct.Quote(o.By)),
	})
}

// Size returns about how many bytes of memory the state takes.
func (s *State) Size() int {
	return int(unsafe.Sizeof(*s)) + cap(s.pending)*int(unsafe.Sizeof(group{}))
}

// evidence puts the numbers of two entries in order.
func evidence(a, b int64) []int64 {
	if a == b {
		return []int64{b}
	}
	return []int64{min(a, b), max(a, b)}
}

// seconds are whole seconds since 1970, from 1 to what 32 bits hold.
func seconds(t time.Time) uint32 { return uint32(max(1, min(t.Unix(), 1<<32-1))) }
