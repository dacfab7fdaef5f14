package api

import (
	"errors"
	"reflect"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// decided returns the entry of a decision.
func (s *Server) decided(who *caller.Identity, text []byte, e pdp.Edge) (d audit.Draft, err error) {
	rec, err := pdp.ReadElsewhere(text)
	if err != nil {
		return d, err
	}
	if err := s.restate(rec, &e); err != nil {
		return d, err
	}
	if set := s.Policies.Active(); set == nil || rec.Decision.PolicySet > set.Version() {
		return d, invalid("version %d of the policies is not published", rec.Decision.PolicySet)
	}
	if age := s.Now().Sub(rec.Decision.At); age > late || age < -late {
		e.Late = true
	}
	rec.Request.Observed.PEP = who.Point()
	return s.fit(rec, &e)
}

// restate makes the agents of a decision those that are registered: monitors take a record for who its agents are, so what they
// are must not be for a decision point to say. That it knew an older revision it may say.
func (s *Server) restate(rec *pdp.Record, e *pdp.Edge) error {
	agents := make([]**authz.Agent, 0, 1+len(rec.Facts.Behalf))
	if rec.Facts.Agent != nil {
		agents = append(agents, &rec.Facts.Agent)
	}
	for i := range rec.Facts.Behalf {
		agents = append(agents, &rec.Facts.Behalf[i].Agent)
	}
	for _, a := range agents {
		said := *a
		have, err := s.Agents.Agent(said.ID)
		if errors.Is(err, authz.ErrNotFound) {
			return invalid("agent %.128q, about which it is, is not registered", said.ID)
		} else if err != nil {
			return err
		}
		same := said.Revision == have.Revision
		if said.Revision < 1 || said.Revision > have.Revision || same && (said.Owner != have.Owner || said.Purpose != have.Purpose || said.Version != have.Version) {
			return invalid("agent %.128q is not registered as it says: revision %d", said.ID, said.Revision)
		}
		if !same || !reflect.DeepEqual(bare(said), bare(have)) {
			e.Restated = append(e.Restated, pdp.Stated{Agent: said.ID, Revision: said.Revision})
		}
		*a = have
	}
	return nil
}

// bare returns a with one form for what has two.
func bare(a *authz.Agent) authz.Agent {
	b := *a
	b.CreatedAt, b.UpdatedAt = b.CreatedAt.UTC(), b.UpdatedAt.UTC()
	if len(b.Capabilities) == 0 {
		b.Capabilities = nil
	}
	if len(b.Labels) == 0 {
		b.Labels = nil
	}
	return b
}

// fit returns the entry of a decision, without what the log does not take: that an agent was allowed something must not be
// lost because of what was said beside. The error is authz.ErrInvalid if it does not fit without all that can be left out.
func (s *Server) fit(rec *pdp.Record, e *pdp.Edge) (d audit.Draft, err error) {
	if rec.Request.Approval != nil { // whoever follows the log takes one that stands there for looked at
		rec.Request.Approval = nil
		e.Cut = append(e.Cut, "request.approval")
	}
	cuts := cutters(rec)
	for i := range cuts[:claims] {
		c := &cuts[i]
		if text := c.claim(); len(text) > s.limits.Object || checkText(text, s.limits.Depth) != nil {
			c.leaveOut(e)
		}
	}
	for {
		d = rec.Elsewhere(*e)
		err = checkText(d.Body, s.limits.Depth+8)
		if len(d.Body) > audit.MaxBody {
			err = invalid("it has more than %d bytes", audit.MaxBody)
		}
		if err == nil || len(cuts) == 0 {
			return d, err
		}
		cuts[0].leaveOut(e)
		cuts = cuts[1:]
	}
}

// A refusedDecision is what a record that is not taken says was decided: whatever else is wrong with it, that an agent was allowed
// something must not be lost. It means nothing to the service.
type refusedDecision struct {
	Effect   string `json:"effect,omitempty"`
	Subject  string `json:"subject,omitempty"`
	Action   string `json:"action,omitempty"`
	Resource string `json:"resource,omitempty"`
}

// saidOf returns what can be read of a record's decision, nil if that is nothing.
func saidOf(text []byte) *refusedDecision {
	type ref struct{ Type, ID string }
	var in struct {
		Decision struct {
			Request struct {
				Subject, Resource ref
				Action            struct{ Name string }
			}
			Decision struct{ Effect string }
		}
	}
	// What was read before something was wrong counts.
	_ = json.Unmarshal(text, &in, json.MatchCaseInsensitiveNames(true), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	said := refusedDecision{Effect: plainText(in.Decision.Decision.Effect, 20), Action: plainText(in.Decision.Request.Action.Name, 200)}
	name := func(r ref) string {
		if r == (ref{}) {
			return ""
		}
		return plainText(r.Type+":"+r.ID, 200)
	}
	said.Subject, said.Resource = name(in.Decision.Request.Subject), name(in.Decision.Request.Resource)
	if said == (refusedDecision{}) {
		return nil
	}
	return &said
}

// A cutter leaves out a member of a record.
type cutter struct {
	name  string
	claim func() authz.Claimed // what it says; nil of what is no claim
	drop  func() bool          // reports whether it was there
}

func (c *cutter) leaveOut(e *pdp.Edge) {
	if c.drop() {
		e.Cut = append(e.Cut, c.name)
	}
}

const claims = 4 // of a request: the first cutters

// cutters returns what can be left out of a record, in the order in which it is missed the least.
func cutters(rec *pdp.Record) []cutter {
	r, f, d := &rec.Request, &rec.Facts, &rec.Decision
	claim := func(name string, c *authz.Claimed) cutter {
		return cutter{name, func() authz.Claimed { return *c }, cut(c)}
	}
	return []cutter{
		claim("request.context", &r.Context),
		claim("request.action.properties", &r.Action.Properties),
		claim("request.resource.properties", &r.Resource.Properties),
		claim("request.subject.properties", &r.Subject.Properties),
		{"request.observed.provenance", nil, forget(&r.Observed.Provenance)},
		{"request.observed.supported_obligations", nil, cut(&r.Observed.Obligations)},
		{"request.observed.passport", nil, forget(&r.Observed.Passport)},
		{"facts.schedules", nil, cut(&f.Schedules)},
		{"facts.zones", nil, cut(&f.Zones)},
		{"facts.labels", nil, cut(&f.Labels)},
		{"facts.missing", nil, cut(&f.Missing)},
		{"facts.assured", nil, cut(&f.Assured)},
		{"facts.risk.alerts", nil, cut(&f.Risk.Alerts)},
		{"facts.risk.indicators", nil, cut(&f.Risk.Indicators)},
		{"facts.risk.contributions", nil, cut(&f.Risk.Contributions)},
		{"decision.detail", nil, func() bool { was := d.Detail != ""; d.Detail = ""; return was }},
		{"decision.changes", nil, cut(&d.Changes)},
		{"decision.routes", nil, cut(&d.Routes)},
		{"decision.remedies", nil, cut(&d.Remedies)},
		{"decision.fired", nil, cut(&d.Fired)},
		{"decision.reasons", nil, cut(&d.Reasons)},
		{"decision.obligations", nil, cut(&d.Obligations)},
	}
}

// cut returns what makes a list empty.
func cut[L ~[]E, E any](list *L) func() bool {
	return func() bool {
		was := len(*list) > 0
		*list = nil
		return was
	}
}

// forget returns what makes a pointer nil.
func forget[E any](p **E) func() bool {
	return func() bool {
		was := *p != nil
		*p = nil
		return was
	}
}
