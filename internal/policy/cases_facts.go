package policy

import (
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// caseMoment is when a case happens that does not say: a Monday, noon in UTC.
var caseMoment = time.Date(2026, time.January, 5, 12, 0, 0, 0, time.UTC)

// facts reads what is known of a case into f, and what the edge saw into req. What the case does not
// state is what the catalog says of it: the schedules that are open, the zones of the address, the
// class of the resource, the grant of the agent, the signals that are missing. Risk is low, and trust is
// neutral; how agents have behaved is what the file says of them.
func (r *reader) facts(b *branch, req *authz.Request, agent *authz.Agent, c *caseFile) authz.Facts {
	set, cat := c.set, c.cat
	f := authz.Facts{
		At: caseMoment, Zone: cat.Zone(), Agent: agent, Trust: authz.NeutralTrust, Conduct: c.conductOf(agent),
		Risk: authz.Risk{Level: "low", Alerts: []string{}, Indicators: []string{}},
	}
	stated := make(map[string]bool)
	state := func(key string, read func(*branch)) func(*branch) {
		return func(v *branch) { stated[key] = true; read(v) }
	}
	observed := &req.Observed
	var key *branch // which speaks of days before and after the time
	r.members(b, "facts", map[string]func(*branch){
		"time":                  func(v *branch) { f.At = r.time(v, "time") },
		"ip":                    func(v *branch) { observed.Address = r.address(v, "ip") },
		"session":               func(v *branch) { observed.Session = r.text(v, "session") },
		"task":                  func(v *branch) { observed.Task = r.text(v, "task") },
		"pep":                   func(v *branch) { observed.PEP = r.text(v, "pep") },
		"supported_obligations": func(v *branch) { observed.Obligations = r.set(v, "supported_obligations") },
		"provenance":            func(v *branch) { observed.Provenance = r.provenance(v) },
		"passport":              func(v *branch) { observed.Passport = r.passport(v) },
		"credential":            func(v *branch) { key = v },
		"schedules":             state("schedules", func(v *branch) { f.Schedules = r.set(v, "schedules") }),
		"zones":                 state("zones", func(v *branch) { f.Zones = r.set(v, "zones") }),
		"country":               state("country", func(v *branch) { f.Country = r.text(v, "country") }),
		"labels":                state("labels", func(v *branch) { f.Labels = r.set(v, "labels") }),
		"region":                state("region", func(v *branch) { f.Region = r.text(v, "region") }),
		"class": state("class", func(v *branch) {
			f.Class, _ = authz.ParseDataClass(r.oneOf(v, "class", "public", "internal", "confidential", "restricted"))
		}),
		"grant":   state("grant", func(v *branch) { f.Grant = r.grant(v) }),
		"trust":   func(v *branch) { f.Trust = r.trust(v, "trust") },
		"conduct": func(v *branch) { f.Conduct = r.conduct(v) },
		"confidence": func(v *branch) {
			x := r.share(v, "confidence")
			f.Confidence = &x
		},
		"risk":     func(v *branch) { f.Risk = r.risk(v) },
		"approval": func(v *branch) { f.Approval = r.approval(v, set) },
		"asks":     func(v *branch) { f.Asks = r.asks(v) },
		"assured":  func(v *branch) { f.Assured = r.assured(v, set) },
		"missing":  state("missing", func(v *branch) { f.Missing = r.set(v, "missing") }),
	})

	if f.Conduct.Lowest == (authz.Trust{}) && f.Trust.Below(authz.NeutralTrust) {
		f.Conduct.Lowest = f.Trust // no class is trusted less than the lowest
	}
	if key != nil {
		f.Credential = r.credential(key, &f)
	}
	zones, country := []string{}, ""
	if observed.Address.IsValid() {
		zones, country = cat.Zones(observed.Address)
	}
	class, labels, region := cat.Classify(&req.Resource)
	for key, fill := range map[string]func(){
		"schedules": func() { f.Schedules = cat.Open(f.At) },
		"zones":     func() { f.Zones = zones },
		"country":   func() { f.Country = country },
		"class":     func() { f.Class = class },
		"labels":    func() { f.Labels = labels },
		"region":    func() { f.Region = region },
	} {
		if !stated[key] {
			fill()
		}
	}
	for _, ref := range req.OnBehalf {
		if a := c.agents[ref.ID]; ref.Type == authz.AgentType && a != nil {
			f.Behalf = append(f.Behalf, authz.Delegator{Agent: a, Grant: set.Grant(req, a, &f), Conduct: c.conductOf(a)})
		}
	}
	if agent != nil && !stated["grant"] {
		f.Grant = set.Grant(req, agent, &f)
	}
	if !stated["missing"] {
		f.Missing = cat.Missing(req, &f)
	}
	return f
}

func (r *reader) provenance(b *branch) *authz.Provenance {
	if b.kind == nullBranch {
		return nil
	}
	p := new(authz.Provenance)
	r.members(b, "provenance", map[string]func(*branch){
		"prompt":    func(v *branch) { p.Prompt = r.set(v, "prompt") },
		"operator":  func(v *branch) { p.Operator = r.set(v, "operator") },
		"untrusted": func(v *branch) { p.Untrusted = r.set(v, "untrusted") },
		"unknown":   func(v *branch) { p.Unknown = r.set(v, "unknown") },
	})
	return p
}

// passport reads what the agent's token carries: a list of capabilities, or a map.
func (r *reader) passport(b *branch) *authz.Passport {
	if b.kind == nullBranch {
		return nil
	}
	p := &authz.Passport{Bound: "dpop"}
	carry := func(v *branch) {
		for _, id := range r.set(v, "passport.capabilities") {
			p.Details = append(p.Details, authz.Detail{Type: authz.DetailType, Identifier: id})
		}
	}
	if b.kind != mapBranch {
		carry(b)
		return p
	}
	r.members(b, "passport", map[string]func(*branch){
		"capabilities": carry,
		"bound":        func(v *branch) { p.Bound = r.oneOf(v, "passport.bound", "dpop", "mtls", "none") },
		"depth":        func(v *branch) { p.Depth = r.count(v, "passport.depth") },
	})
	return p
}

// credential reads how the agent proves who it is, in days before and after the case's moment.
func (r *reader) credential(b *branch, f *authz.Facts) (c authz.Credential) {
	if b.kind == nullBranch {
		return c
	}
	c.Keys = 1
	r.members(b, "credential", map[string]func(*branch){
		"method":   func(v *branch) { c.Method = r.text(v, "credential.method") },
		"keys":     func(v *branch) { c.Keys = r.count(v, "credential.keys") },
		"age_days": func(v *branch) { c.Since = f.At.AddDate(0, 0, -r.count(v, "credential.age_days")) },
		"expires_in_days": func(v *branch) {
			c.ExpiresAt = f.At.AddDate(0, 0, r.count(v, "credential.expires_in_days"))
		},
	})
	return c
}

// count reads a whole number that is neither negative nor large.
func (r *reader) count(b *branch, what string) int {
	n := r.number(b, what)
	if n < 0 || n > 100_000 || n != float64(int(n)) {
		r.fail(b.errorf("%s is no whole number from 0 to 100000", what))
		return 0
	}
	return int(n)
}

func (r *reader) grant(b *branch) authz.Grant {
	g := authz.Grant{Within: []string{}}
	r.members(b, "grant", map[string]func(*branch){
		"within":   func(v *branch) { g.Within = r.set(v, "within") },
		"exceeded": func(v *branch) { g.Exceeded = r.set(v, "exceeded") },
		"class": func(v *branch) {
			g.Class = r.oneOf(v, "grant.class", "", "read", "write", "egress", "money", "admin")
		},
		"essential": func(v *branch) { g.Essential = r.truth(v, "grant.essential") },
	})
	return g
}

// conductOf returns how an agent of the file has behaved.
func (c *caseFile) conductOf(a *authz.Agent) authz.Conduct {
	if a == nil {
		return authz.Conduct{}
	}
	return c.conduct[string(a.ID)]
}

// conduct reads how an agent has behaved. Who states one of accuracy and error rate leaves the other at its best.
func (r *reader) conduct(b *branch) (c authz.Conduct) {
	if b.kind == nullBranch {
		return c
	}
	severities := []string{"none", "low", "medium", "high", "critical"}
	c.Accuracy = 1
	judge := func(into *float64, what string) func(*branch) {
		return func(v *branch) { *into, c.Judged = r.share(v, what), 1 }
	}
	r.members(b, "conduct", map[string]func(*branch){
		"trust":      func(v *branch) { c.Lowest = r.trust(v, "conduct.trust") },
		"accuracy":   judge(&c.Accuracy, "conduct.accuracy"),
		"error_rate": judge(&c.ErrorRate, "conduct.error_rate"),
		"findings":   func(v *branch) { c.Findings = r.set(v, "conduct.findings") },
		"gravest": func(v *branch) {
			c.Gravest = int64(slices.Index(severities, r.oneOf(v, "conduct.gravest", severities...)))
		},
		"quarantined": func(v *branch) {
			c.Quarantined = r.truth(v, "conduct.quarantined")
		},
	})
	if c.Judged == 0 {
		c.Accuracy = 0
	}
	if len(c.Findings) > 0 {
		c.Gravest = max(c.Gravest, 1)
	}
	return c
}

// trust reads a level, or a level with its score.
func (r *reader) trust(b *branch, what string) authz.Trust {
	levels := []string{"none", "low", "medium", "high"}
	scores := map[string]float64{"none": 0, "low": 0.25, "medium": 0.5, "high": 0.9}
	t := authz.NeutralTrust
	if b.kind == stringBranch {
		t.Level = r.oneOf(b, what, levels...)
		t.Score = scores[t.Level]
		return t
	}
	r.members(b, what, map[string]func(*branch){
		"level": func(v *branch) { t.Level = r.oneOf(v, what+".level", levels...) },
		"score": func(v *branch) { t.Score = r.share(v, what+".score") },
	})
	if b.field("score") == nil {
		t.Score = scores[t.Level]
	}
	return t
}

// risk reads a level, or a level with score, alerts and indicators.
func (r *reader) risk(b *branch) authz.Risk {
	levels := []string{"low", "elevated", "high", "critical"}
	scores := map[string]int64{"low": 0, "elevated": 40, "high": 70, "critical": 90}
	k := authz.Risk{Level: "low", Alerts: []string{}, Indicators: []string{}}
	if b.kind == stringBranch {
		k.Level = r.oneOf(b, "risk", levels...)
		k.Score = scores[k.Level]
		return k
	}
	r.members(b, "risk", map[string]func(*branch){
		"level": func(v *branch) { k.Level = r.oneOf(v, "risk.level", levels...) },
		"score": func(v *branch) {
			n := r.number(v, "risk.score")
			if k.Score = int64(n); n < 0 || n > 100 || float64(k.Score) != n {
				r.fail(v.errorf("risk.score is no whole number from 0 to 100"))
			}
		},
		"alerts":     func(v *branch) { k.Alerts = r.set(v, "risk.alerts") },
		"indicators": func(v *branch) { k.Indicators = r.set(v, "risk.indicators") },
	})
	if b.field("score") == nil {
		k.Score = scores[k.Level]
	}
	return k
}
