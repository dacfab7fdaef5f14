package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/compliance"
	"github.com/safeconduct/safeconduct/internal/monitor/deviation"
	"github.com/safeconduct/safeconduct/internal/monitor/escalation"
	"github.com/safeconduct/safeconduct/internal/monitor/performance"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// A core concludes: it is what is known after an entry, and how the next one changes it. It has no clock
// and writes nothing; of the world it asks only for catalogs, which never change. It is used by one
// goroutine at a time, except that others may read an agent under the lock of its shard.
type core struct {
	seq int64
	at  time.Time

	catalogs func(context.Context, int64) (*catalog.Catalog, error)
	other    *catalog.Conduct // in place of what catalogs say
	rules    atomic.Pointer[rules]

	shards   [shards]shard
	agents   int
	sum      uint64 // over all agents, of mix of their last changes: tells whether one is missing
	purposes map[string]*purpose
	owners   map[string]*owner
	classes  map[uint64]conduct.Class // by the hash of an action, the gravest that a capability gave it
	retired  map[uint64]int64         // when, by the hash of the id: decisions under way then may still be recorded
	open     map[findingKey]*agent
	due      timetable
	made     int64 // findings

	deviation   deviation.Fleet
	escalation  escalation.Fleet
	performance performance.Fleet
	compliance  compliance.Fleet

	reader *conduct.EventReader
	ev     conduct.Event
	drafts []conduct.Draft
	emit   func(conduct.Draft) // adds to drafts
	nth    int                 // findings that the present entry has completed
	told   *conduct.Outcome    // that findings are drawn from; nil otherwise
	out    sink
}

// A sink is told what a core does, while the core does it.
type sink interface {
	touch(a *agent)           // a is about to change, for the first time by this entry
	gone(a *agent)            // a is forgotten
	found(f *conduct.Finding) // f is new, or has changed; it is good until found returns
	signal(s Signal)
	changed() // a level, the kinds of an agent's findings, or a quarantine
}

const (
	shards      = 256
	maxPurposes = 4096 // that are told apart; agents of all others count as of one
	maxClasses  = 4096 // actions whose class is known
)

// A shard holds some of the agents. Looking an agent's trust up may note what was worked out, so that
// readers exclude one another, too: for less than a microsecond.
type shard struct {
	mu     sync.Mutex
	agents map[authz.AgentID]*agent
}

// Rules are what a published version of the catalog says.
type rules struct {
	version int64
	source  int64 // the version whose catalog says so: version, unless its own cannot be read
	conduct catalog.Conduct
	zone    *time.Location
}

// A purpose is what the agents of one purpose share.
type purpose struct{ pool trust.Pool }

func newCore(catalogs func(context.Context, int64) (*catalog.Catalog, error), out sink) *core {
	c := &core{
		catalogs: catalogs, out: out, purposes: map[string]*purpose{}, owners: map[string]*owner{},
		classes: map[uint64]conduct.Class{}, retired: map[uint64]int64{}, open: map[findingKey]*agent{}, reader: conduct.NewEventReader(),
	}
	for i := range c.shards {
		c.shards[i].agents = map[authz.AgentID]*agent{}
	}
	c.emit = func(d conduct.Draft) { c.drafts = append(c.drafts, d) }
	c.rules.Store(&rules{conduct: catalog.DefaultConduct(), zone: time.UTC})
	return c
}

// apply takes in the entry that follows. If it returns an error and c.seq is not the entry's number,
// nothing was changed and the same entry must be tried again.
func (c *core) apply(ctx context.Context, e *audit.Entry) error {
	if e.Seq != c.seq+1 {
		return errors.New("monitor: an entry was left out") // a programmer got something wrong
	}
	var next *rules
	if e.Kind == audit.PolicyPublish {
		var err error
		if next, err = c.published(ctx, e); err != nil {
			return err
		}
	}
	day := c.at.Unix() / (24 * 60 * 60)
	c.seq, c.at, c.nth = e.Seq, e.At, 0
	if e.At.Unix()/(24*60*60) != day {
		c.sweep()
	}
	c.ticks()
	switch e.Kind {
	case audit.DecisionMade:
		return c.decision(e)
	case audit.AgentPut:
		c.agentPut(e)
	case audit.OutcomeReported:
		return c.outcome(e)
	case audit.FindingJudged:
		return c.judged(e)
	case audit.TrustPut:
		return c.override(e)
	case audit.PolicyPublish:
		if next != nil {
			c.follow(next)
		}
	}
	return nil
}

// published returns the rules that a policy.publish entry brings into effect, nil if it does not. It
// judges the entry as policy.Library does.
func (c *core) published(ctx context.Context, e *audit.Entry) (*rules, error) {
	var body struct {
		Version   int64 `json:"version"`
		IfVersion int64 `json:"if_version"`
		Restores  int64 `json:"restores"`
	}
	have := c.rules.Load().version
	if json.Unmarshal(e.Body, &body) != nil || body.IfVersion != have || body.Version != have+1 || body.Restores < 0 || body.Restores > have {
		return nil, nil // the library says so to whoever asked for it
	}
	return c.rulesOf(ctx, body.Version)
}

// rulesOf returns the rules of a version. If its catalog cannot be had for good, they are those before
// it, under the new number.
func (c *core) rulesOf(ctx context.Context, version int64) (*rules, error) {
	cat, err := c.catalogs(ctx, version)
	switch {
	case errors.Is(err, authz.ErrNotFound):
		return nil, nil
	case errors.Is(err, authz.ErrInvalid):
		r := *c.rules.Load()
		r.version = version
		return &r, nil
	case err != nil:
		return nil, err
	}
	r := &rules{version: version, source: version, conduct: *cat.Conduct(), zone: cat.Zone()}
	if c.other != nil {
		r.conduct = *c.other
	}
	if r.zone == nil {
		r.zone = time.UTC
	}
	return r, nil
}

// follow makes r the rules. Levels may change by them: every agent is looked at soon.
func (c *core) follow(r *rules) {
	c.rules.Store(r)
	for i := range c.due.agents {
		a := c.due.agents[i]
		c.change(a, func() { a.next, a.due = c.at.UnixMicro(), c.at.UnixMicro() })
	}
	c.due.sort()
	c.out.changed()
}

// decision takes in a decision.made entry.
func (c *core) decision(e *audit.Entry) error {
	ev := &c.ev
	if ok, err := c.reader.Read(e.Body, ev); err != nil || !ok {
		return err
	}
	r := c.rules.Load()
	ev.Seq, ev.At = e.Seq, e.At
	local := e.At.In(r.zone)
	ev.Hour, ev.Weekday = local.Hour(), int(local.Weekday())
	c.classify(ev)

	a := c.agent(ev.Agent)
	if a == nil {
		if _, ok := c.retired[conduct.Hash(string(ev.Agent))]; ok {
			return nil
		}
		a = c.enrol(ev.Agent, identity{ev.Owner, ev.Purpose, ev.Version, ev.Revision})
	}
	s := &c.shards[a.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	c.touch(a)
	c.identify(a, identity{ev.Owner, ev.Purpose, ev.Version, ev.Revision})
	a.decisions++

	k := &r.conduct
	learn := !a.trust.Lowered(&k.Trust, e.At)
	if !k.Deviation.Off {
		a.deviation.Observe(&c.deviation, &k.Deviation, ev, learn, c.emit)
	}
	if !k.Escalation.Off {
		a.escalation.Observe(&c.escalation, &k.Escalation, ev, learn, c.emit)
	}
	if !k.Performance.Off {
		a.performance.Observe(&c.performance, &k.Performance, ev, learn, c.emit)
	}
	if !k.Compliance.Off {
		a.compliance.Observe(&c.compliance, &k.Compliance, ev, learn, c.emit)
	}
	switch {
	case len(c.drafts) > 0:
		if c.conclude(a, ev.Session) {
			c.review(a)
		}
	case ev.Allowed() && !ev.Issuing:
		session := uint64(0)
		if ev.Session != "" {
			session = conduct.Hash(ev.Session)
		}
		a.trust.Good(&k.Trust, a.pool(c), ev.Class, session, e.At)
		if learn {
			c.reviewClass(a, ev.Class)
		} else { // a clean act can be a canary act of graver classes, too
			c.review(a)
		}
	}
	c.settle(a)
	return nil
}

// classify learns of which class an action is, and says so of acts that no capability covers. Actions
// that have a class are those of capabilities, so an agent cannot fill the table.
func (c *core) classify(ev *conduct.Event) {
	action := conduct.Hash(ev.Action)
	known, ok := c.classes[action]
	switch {
	case !ev.Classed && ok:
		ev.Class = known
	case ev.Classed && (ok && ev.Class > known || !ok && len(c.classes) < maxClasses):
		c.classes[action] = ev.Class
	}
}

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
		if !k.Performance.Off {
			a.performance.Outcome(&c.performance, &k.Performance, &o, learn, c.emit)
			a.perform()
		}
		if !k.Compliance.Off {
			a.compliance.Outcome(&c.compliance, &k.Compliance, &o, c.emit)
		}
		a.trust.Outcome(&k.Trust, a.pool(c), &o, class)
		c.told = &o
		c.conclude(a, o.Session)
		c.told = nil
		c.review(a)
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
	c.change(a, func() {
		before := f.State
		f.State, f.JudgedBy, f.JudgedAt, f.Why, f.AsOf = j.Verdict, e.Actor, e.At, j.Why, e.Seq
		a.trust.Judge(&c.rules.Load().conduct.Trust, f, classOf(f), before, f.State, e.Seq, e.At)
		c.sortKinds(a)
		c.fadesAt(a)
		c.tell(f, true)
		c.review(a)
		c.settle(a)
	})
	return nil
}

// judgeable returns the finding that a person may say that of, and its agent. Those that fell out of
// what is remembered of an agent are beyond judging: authz.ErrConflict.
func (c *core) judgeable(id string, v conduct.Verdict) (*agent, *conduct.Finding, error) {
	seq, n, _ := conduct.ParseID(id)
	a := c.open[findingKey{seq, int32(n)}]
	if a == nil {
		return nil, nil, authz.Errorf(authz.ErrConflict, "finding %.64q is not open any more", id)
	}
	for _, f := range a.findings {
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

// agentPut takes in an agent.put entry, as far as it concerns conduct. Whether it is valid the registry
// says; one that changes nothing there has no new revision.
func (c *core) agentPut(e *audit.Entry) {
	var body struct {
		Agent      authz.Agent `json:"agent"`
		IfRevision int64       `json:"if_revision"`
	}
	if json.Unmarshal(e.Body, &body) != nil || body.Agent.ID == "" {
		return
	}
	b := &body.Agent
	who := identity{b.Owner, b.Purpose, b.Version, body.IfRevision + 1}
	a := c.agent(b.ID)
	switch {
	case b.State == authz.AgentRetired:
		if a != nil && who.revision > a.revision {
			c.retire(a)
		}
	case a == nil:
		if body.IfRevision == 0 {
			c.enrol(b.ID, who)
		}
	default:
		c.change(a, func() {
			if c.identify(a, who) {
				c.settle(a)
			}
		})
	}
}

// change lets f change an agent, while nobody reads it.
func (c *core) change(a *agent, f func()) {
	s := &c.shards[a.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	c.touch(a)
	f()
}
