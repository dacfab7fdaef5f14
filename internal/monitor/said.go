package monitor

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// outcome takes in an outcome.reported entry.
func (c *core) outcome(e *audit.Entry) error {
	var o conduct.Outcome
	if err := json.Unmarshal(e.Body, &o); err != nil {
		return authz.Errorf(authz.ErrInvalid, "entry %d: %w", e.Seq, err)
	}
	o.Seq, o.At, o.By = e.Seq, e.At, e.Actor
	if err := o.Check(); err != nil {
		return err
	}
	if o.Edge != nil && c.journals.Repeats(o.Edge.Journal, o.Edge.Number, e) {
		return errRepeated
	}
	if o.Back > 0 {
		o.Decision, o.Back = e.Seq-o.Back, 0
	}
	a := c.agent(o.Agent)
	if a == nil {
		return authz.Errorf(authz.ErrNotFound, "nothing is known of agent %.128q", o.Agent)
	}
	if err := c.admits(a, &o); err != nil {
		return err
	}
	class, _ := conduct.ParseClass(o.Class)
	c.change(a, func() {
		k := &c.rules.Load().conduct
		learn := !a.trust.Lowered(&k.Trust, e.At)
		a.remember(reportHash(o.Decision, o.By))
		// What an earlier version did measures not the present one. It speaks against it, as all that it left
		// behind does, and not for it.
		past := o.Decision < a.begun
		if !k.Performance.Off && !past {
			a.performance.Outcome(&c.performance, &k.Performance, &o, learn, c.emit)
			a.perform()
		}
		if !k.Compliance.Off {
			a.compliance.Outcome(&c.compliance, &k.Compliance, &o, c.emit)
		}
		if !past || o.Result != conduct.ResultRight {
			a.trust.Outcome(&k.Trust, a.pool(c), &o, class)
		}
		c.told = &o
		c.conclude(a, o.Session)
		c.told = nil
		c.review(a)
		if o.Result != conduct.ResultNone && o.Result != conduct.ResultRight {
			c.note(Moved{What: "outcome", Class: o.Class, Decision: o.Decision, To: string(o.Result)})
		}
		c.chart(a)
		c.settle(a)
	})
	return nil
}

// admits returns authz.ErrConflict if an outcome comes too late or was reported before. Of each agent
// the newest reports are remembered; whoever repeats an older one moves no more than TrustRules.Reporter.
func (c *core) admits(a *agent, o *conduct.Outcome) error {
	if o.At.Sub(o.Decided) > conduct.MaxAge {
		return authz.Errorf(authz.ErrConflict, "decision %d is more than %d days old", o.Decision, conduct.MaxAge/(24*time.Hour))
	}
	if a.remembers(reportHash(o.Decision, o.By)) {
		return authz.Errorf(authz.ErrConflict, "%.128q has reported what came of decision %d already", o.By, o.Decision)
	}
	return nil
}

// judged takes in a finding.judged entry.
func (c *core) judged(e *audit.Entry) error {
	var j conduct.Judgement
	if err := json.Unmarshal(e.Body, &j); err != nil {
		return authz.Errorf(authz.ErrInvalid, "entry %d: %w", e.Seq, err)
	}
	if err := j.Check(); err != nil {
		return err
	}
	a, f, err := c.judgeable(j.Finding, j.Verdict)
	if err != nil {
		return err
	}
	if a == nil {
		f.State, f.JudgedBy, f.JudgedAt, f.Why, f.AsOf = j.Verdict, e.Actor, e.At, j.Why, e.Seq
		c.tell(f, true)
		return nil
	}
	c.change(a, func() {
		before := f.State
		f.State, f.JudgedBy, f.JudgedAt, f.Why, f.AsOf = j.Verdict, e.Actor, e.At, j.Why, e.Seq
		a.trust.Judge(&c.rules.Load().conduct.Trust, f, classOf(f), before, f.State, e.Seq, e.At)
		c.sortKinds(a)
		c.fadesAt(a)
		c.tell(f, true)
		c.review(a)
		c.noteFinding(string(j.Verdict), f)
		c.chart(a)
		c.settle(a)
	})
	return nil
}

// judgeable returns the finding that a person may say that of, and its agent; nil if it is about a person. Those that fell out of
// what is remembered of an agent are beyond judging: authz.ErrConflict.
func (c *core) judgeable(id string, v conduct.Verdict) (*agent, *conduct.Finding, error) {
	seq, n, _ := conduct.ParseID(id)
	key := findingKey{seq, int32(n)}
	a := c.open[key]
	var fs []*conduct.Finding
	if p := c.blamed[key]; p != nil {
		fs = slices.DeleteFunc(slices.Clone(p.findings), c.over)
	}
	if a != nil {
		fs = a.findings
	}
	if !slices.ContainsFunc(fs, func(f *conduct.Finding) bool { return f.ID == id }) {
		return nil, nil, authz.Errorf(authz.ErrConflict, "finding %.64q is not open any more", id)
	}
	for _, f := range fs {
		if f.ID == id && f.State != v {
			return a, f, nil
		}
	}
	return nil, nil, authz.Errorf(authz.ErrConflict, "finding %.64q is %s already", id, v)
}

// override takes in a trust.put entry.
func (c *core) override(e *audit.Entry) error {
	var o trust.Override
	if err := json.Unmarshal(e.Body, &o); err != nil {
		return authz.Errorf(authz.ErrInvalid, "entry %d: %w", e.Seq, err)
	}
	o.Author = e.Actor
	class, err := checkOverride(&o, e.At)
	if err != nil {
		return err
	}
	a := c.agent(o.Agent)
	if a == nil {
		return authz.Errorf(authz.ErrNotFound, "nothing is known of agent %.128q", o.Agent)
	}
	c.change(a, func() {
		a.trust.Override(&c.rules.Load().conduct.Trust, &o, class, e.Seq, e.At)
		c.review(a)
		what := "override"
		if o.Restore {
			what = "restored"
		}
		c.note(Moved{What: what, Class: class.String(), To: o.Level})
		c.chart(a)
		c.settle(a)
	})
	return nil
}

// checkOverride returns the class that o is for, or authz.ErrInvalid and what is wrong with it.
func checkOverride(o *trust.Override, at time.Time) (conduct.Class, error) {
	class, ok := conduct.ParseClass(o.Class)
	if o.Class == conduct.Every.String() {
		class, ok = conduct.Every, true
	}
	_, level := trust.ParseLevel(o.Level)
	switch {
	case o.Agent == "":
		return class, authz.Errorf(authz.ErrInvalid, "say which agent's trust is set")
	case !ok:
		return class, authz.Errorf(authz.ErrInvalid, "unknown class %.32q: one of read, write, egress, money, admin, every", o.Class)
	case o.Level != "" && !level:
		return class, authz.Errorf(authz.ErrInvalid, "unknown level %.32q: one of none, low, medium, high, or nothing to leave it to conduct", o.Level)
	case !o.Expires.IsZero() && !o.Expires.After(at):
		return class, authz.Errorf(authz.ErrInvalid, "a level that is set must end in the future")
	case o.Restore && o.Level == "":
		return class, authz.Errorf(authz.ErrInvalid, "say to which level trust is restored")
	}
	return class, conduct.CheckWhy(o.Why)
}
