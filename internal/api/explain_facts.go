package api

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/safeconduct/safeconduct/internal/pdp"
)

// A Fact is one thing that was known, or said, when a decision was made.
type Fact struct {
	Name   string         `json:"name" doc:"the path under which policies read it, if they can; otherwise a path of the record"`
	Label  string         `json:"label" doc:"in words"`
	Value  jsontext.Value `json:"value"`
	Origin string         `json:"origin" doc:"claimed: the caller said so; observed: seen by the enforcement point or ourselves; registry; catalog; concluded: worked out from what happened before"`
	ReadBy []string       `json:"read_by" doc:"ids of the policies of which a clause that was reached read it, or a part of it"`
}

const (
	claimed   = "claimed"
	observed  = "observed"
	registry  = "registry"
	declared  = "catalog"
	concluded = "concluded"
)

// maxFacts bounds the properties of one kind that are listed one by one.
const maxFacts = 64

// facts lists what was known, and which policies read it.
func facts(rec *pdp.Record, policies []PolicyDetail) []Fact {
	l := factList{readBy: readPaths(policies)}
	q, f := &rec.Request, &rec.Facts
	l.each("context.args.", "Argument ", q.Action.Properties)
	l.each("resource.", "Said of the resource: ", q.Resource.Properties)
	l.each("principal.", "Said of the subject: ", q.Subject.Properties)
	l.each("context.claimed.", "Said of the moment: ", q.Context)

	o := &q.Observed
	l.add("context.observed.pep", "Enforcement point", observed, o.PEP, o.PEP != "")
	l.add("context.observed.session", "Session", observed, o.Session, o.Session != "")
	l.add("context.observed.task", "Kind of task", observed, o.Task, o.Task != "")
	l.add("context.observed.network.ip", "Address", observed, o.Address, o.Address.IsValid())
	l.add("context.observed.network.zones", "Network zones", declared, f.Zones, true)
	l.add("context.observed.network.country", "Country", declared, f.Country, f.Country != "")
	l.add("context.observed.provenance", "Where the arguments came from", observed, o.Provenance, o.Provenance != nil)
	l.add("context.observed.passport", "Passport", observed, o.Passport, o.Passport != nil)
	l.add("context.observed.assurance", "Levels of assurance", observed, f.Assured, len(f.Assured) > 0)
	l.add("request.observed.supported_obligations", "Obligations that can be met", observed, o.Obligations, o.Obligations != nil)
	l.add("request.on_behalf", "On behalf of", observed, q.OnBehalf, len(q.OnBehalf) > 0)

	l.add("context.observed.time.at", "Time", observed, f.At, true)
	l.add("context.observed.time.schedules", "Open schedules", declared, f.Schedules, true)
	l.add("context.observed.data.class", "Class of the data", declared, f.Class, true)
	l.add("context.observed.data.labels", "Labels of the data", declared, f.Labels, len(f.Labels) > 0)
	l.add("context.observed.data.jurisdiction", "Jurisdiction of the data", declared, f.Region, f.Region != "")

	if a := f.Agent; a != nil {
		l.add("principal.state", "State of the agent", registry, a.State, true)
		l.add("principal.purpose", "Purpose of the agent", registry, a.Purpose, true)
		l.add("principal.owner", "Owner of the agent", registry, a.Owner, true)
		l.add("principal.version", "Version of the agent", registry, a.Version, true)
		l.add("principal.capabilities", "Granted capabilities", registry, a.Capabilities, true)
		l.add("context.observed.credential", "Its keys", registry, f.Credential, f.Credential.Keys > 0)
	}
	l.add("context.observed.grant.within", "Capabilities that cover the act", registry, f.Grant.Within, true)
	l.add("context.observed.grant.exceeded", "Limits that are exceeded", registry, f.Grant.Exceeded, true)
	l.add("context.observed.grant.class", "Class of the capability", declared, f.Grant.Class, f.Grant.Class != "")
	l.add("context.observed.grant.essential", "Essential capability", declared, f.Grant.Essential, f.Grant.Essential)
	l.add("facts.behalf", "Agents for which it acts", registry, f.Behalf, len(f.Behalf) > 0)

	l.add("context.observed.trust.level", "Trust, in the class of the act", concluded, f.Trust.Level, true)
	l.add("context.observed.trust.score", "Trust, lower bound", concluded, f.Trust.Score, true)
	l.add("principal.conduct", "Conduct of the agent", concluded, f.Conduct, f.Conduct.Judged > 0 || len(f.Conduct.Findings) > 0 || f.Conduct.Quarantined)
	l.add("context.observed.risk.level", "Risk", concluded, f.Risk.Level, true)
	l.add("context.observed.risk.score", "Risk, points", concluded, f.Risk.Score, true)
	l.add("context.observed.risk.alerts", "Open alerts", concluded, f.Risk.Alerts, len(f.Risk.Alerts) > 0)
	l.add("context.observed.risk.indicators", "Threat indicators", concluded, f.Risk.Indicators, len(f.Risk.Indicators) > 0)
	l.add("facts.risk.contributions", "What makes the risk", concluded, f.Risk.Contributions, len(f.Risk.Contributions) > 0)
	l.add("context.observed.confidence", "What reported confidence has been worth", concluded, f.Confidence, f.Confidence != nil)
	l.add("context.observed.approvals", "Approval", observed, f.Approval, f.Approval != nil)
	l.add("facts.unapproved", "Why the approval does not hold", observed, f.Unapproved, f.Unapproved != "")
	l.add("context.observed.asks", "How much it has asked of late", observed, f.Asks, f.Asks.Session+f.Asks.Hour+f.Asks.Pending > 0)
	l.add("facts.missing", "Signals that are missing", observed, f.Missing, len(f.Missing) > 0)

	// What policies read and nobody was listed for.
	for _, p := range policies {
		for _, c := range p.Clauses {
			for _, r := range c.Reads {
				if !slices.ContainsFunc(l.list, func(f Fact) bool { return covers(f.Name, r.Path) }) {
					l.add(r.Path, r.Path, sourceOf(r.Path), r.Value, true)
				}
			}
		}
	}
	return l.list
}

// sourceOf says where what a policy reads under a path comes from.
func sourceOf(path string) string {
	switch {
	case strings.HasPrefix(path, "context.observed."):
		return observed
	case strings.HasPrefix(path, "context."):
		return claimed
	case strings.HasPrefix(path, "resource"):
		return declared
	}
	return registry
}

// covers reports whether one of two paths is part of the other. A rank is the level, or the class, as a number.
func covers(a, b string) bool {
	a, b = ranks.Replace(a), ranks.Replace(b)
	return a == b || strings.HasPrefix(a, b+".") || strings.HasPrefix(b, a+".")
}

var ranks = strings.NewReplacer("data.rank", "data.class", "trust.rank", "trust.level", "risk.rank", "risk.level")

// readPaths returns for each path that was read which policies read it.
func readPaths(policies []PolicyDetail) map[string][]string {
	by := map[string][]string{}
	for _, p := range policies {
		for _, c := range p.Clauses {
			for _, r := range c.Reads {
				if ids := by[r.Path]; !slices.Contains(ids, p.Policy) {
					by[r.Path] = append(ids, p.Policy)
				}
			}
		}
	}
	return by
}

type factList struct {
	readBy map[string][]string
	list   []Fact
}

// add adds a fact, if there is one.
func (l *factList) add(name, label, origin string, value any, there bool) {
	text, err := json.Marshal(value)
	if !there || err != nil {
		return
	}
	f := Fact{Name: name, Label: label, Value: text, Origin: origin, ReadBy: []string{}}
	for path, ids := range l.readBy {
		if covers(name, path) {
			f.ReadBy = append(f.ReadBy, ids...)
		}
	}
	slices.Sort(f.ReadBy)
	f.ReadBy = slices.Compact(f.ReadBy)
	l.list = append(l.list, f)
}

// each adds the members of what was claimed, by their names.
func (l *factList) each(path, label string, said []byte) {
	if len(said) == 0 {
		return
	}
	var members map[string]jsontext.Value
	if json.Unmarshal(said, &members) != nil || len(members) > maxFacts {
		l.add(strings.TrimSuffix(path, "."), strings.TrimSuffix(label, ": "), claimed, jsontext.Value(said), true)
		return
	}
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		l.add(path+name, label+name, claimed, members[name], true)
	}
}
