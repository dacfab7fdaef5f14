package catalog

import (
	"slices"

	"github.com/safeconduct/safeconduct/authz"
)

// Signals that a catalog can require. A request for which one is missing is refused.
const (
	SignalAddress      = "network.ip"        // the enforcement point said where the agent is
	SignalCountry      = "network.country"   // the address's country is known
	SignalSession      = "session"           // the enforcement point said to which task the act belongs
	SignalProvenance   = "provenance"        // the enforcement point keeps track of arguments
	SignalConfidence   = "confidence"        // the caller states a confidence
	SignalJurisdiction = "data.jurisdiction" // the resource's jurisdiction is known
)

var signalNames = []string{
	SignalConfidence, SignalJurisdiction, SignalCountry, SignalAddress, SignalProvenance, SignalSession,
}

// signals are required of every act, or of some.
type signals struct {
	always  []string            // sorted
	actions map[string][]string // those of the action and always, sorted
}

// Signals returns the signals that every act requires, sorted. The slice is shared: do not modify it.
func (c *Catalog) Signals() []string { return c.signals.always }

// RequiredSignals returns the signals that an action requires, sorted. The slice is shared: do not
// modify it.
func (c *Catalog) RequiredSignals(action string) []string {
	if s, ok := c.signals.actions[action]; ok {
		return s
	}
	return c.signals.always
}

// Missing returns the signals that the request's action requires and that are not there, sorted.
func (c *Catalog) Missing(req *authz.Request, f *authz.Facts) []string {
	var missing []string
	for _, s := range c.RequiredSignals(req.Action.Name) {
		if !present(s, req, f) {
			missing = append(missing, s)
		}
	}
	return missing
}

func present(signal string, req *authz.Request, f *authz.Facts) bool {
	switch signal {
	case SignalAddress:
		return req.Observed.Address.IsValid()
	case SignalCountry:
		return f.Country != ""
	case SignalSession:
		return req.Observed.Session != ""
	case SignalProvenance:
		return req.Observed.Provenance != nil
	case SignalConfidence:
		v, ok := member(req.Context, "confidence")
		if ok && len(v) > 2 && v[0] == '"' {
			v = v[1 : len(v)-1]
		}
		if ok {
			_, ok = parseDecimal(v)
		}
		return ok
	case SignalJurisdiction:
		return f.Region != ""
	}
	return false
}

// join returns the sorted union of two lists of names.
func join(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
