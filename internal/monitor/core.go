package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/asking"
	"github.com/safeconduct/safeconduct/internal/monitor/compliance"
	"github.com/safeconduct/safeconduct/internal/monitor/deviation"
	"github.com/safeconduct/safeconduct/internal/monitor/enforcing"
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
	people   map[string]*person // of whom there are findings
	points   map[string]*person // enforcement points of which there are, and of what of them
	journals conduct.Journals
	blamed   map[findingKey]*person
	due      timetable
	made     int64   // findings
	moved    []Moved // by the present entry, of the agent that it changes, until chart

	deviation   deviation.Fleet
	escalation  escalation.Fleet
	performance performance.Fleet
	compliance  compliance.Fleet
	asking      asking.Fleet

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
	touch(a *agent)           // a is about to change
	gone(a *agent)            // a is forgotten
	found(f *conduct.Finding) // f is new, or has changed; it is good until found returns
	signal(s Signal)
	point(p KeptPoint) // where an agent's trust stands
	changed()          // a level, the kinds of an agent's findings, or a quarantine
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

// A purpose is what the agents of one purpose share.
type purpose struct{ pool trust.Pool }

func newCore(catalogs func(context.Context, int64) (*catalog.Catalog, error), out sink) *core {
	c := &core{
		catalogs: catalogs, out: out, purposes: map[string]*purpose{}, owners: map[string]*owner{},
		classes: map[uint64]conduct.Class{}, retired: map[uint64]int64{}, open: map[findingKey]*agent{},
		people: map[string]*person{}, points: map[string]*person{}, journals: conduct.Journals{}, blamed: map[findingKey]*person{}, reader: conduct.NewEventReader(),
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
	if c.asking.Due(e.At) {
		c.asking.Tick(&c.rules.Load().conduct.Asking, e.Seq, e.At, c.accuse)
	}
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
	case audit.ApprovalAsked, audit.ApprovalViewed, audit.ApprovalAnswer, audit.ApprovalMoved, audit.ApprovalReview:
		c.asked(e)
	case audit.EnforcementTold:
		enforcing.Reported(e.Actor, e.Body, c.expose)
	case audit.PolicyPublish:
		if next != nil {
			c.follow(next)
		}
	}
	return nil
}

var errRepeated = authz.Errorf(authz.ErrConflict, "the record of this number is in the log already")

// decision takes in a decision.made entry.
func (c *core) decision(e *audit.Entry) error {
	ev := &c.ev
	if strings.HasPrefix(e.Actor, "admin:") {
		return nil // an administrator tried a question out: the agent has done nothing
	}
	if ok, err := c.reader.Read(e.Body, ev); err != nil || !ok {
		return err
	}
	if ev.Number > 0 && c.journals.Repeats(ev.Journal, ev.Number, e) {
		return errRepeated
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
	ev.Blamed = escalation.Blames(&k.Escalation, ev, learn)
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
	if ev.Code == authz.CodeAskBudget {
		a.asking.Beyond(&k.Asking, ev, c.emit)
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
	c.chart(a)
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
				c.chart(a)
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
