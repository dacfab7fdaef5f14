package monitor

import (
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/asking"
	"github.com/safeconduct/safeconduct/internal/monitor/compliance"
	"github.com/safeconduct/safeconduct/internal/monitor/deviation"
	"github.com/safeconduct/safeconduct/internal/monitor/escalation"
	"github.com/safeconduct/safeconduct/internal/monitor/performance"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// An agent is what is known of one. It is read and changed under the lock of its shard.
type agent struct {
	id      authz.AgentID
	owner   *owner
	purpose string
	version string

	hash      uint64 // of the id
	seq       int64  // number of the entry that changed it last
	revision  int64  // of its registration
	begun     int64  // number of the entry by which the present version or purpose is known
	decisions int64
	due       int64                   // microseconds since 1970 when it must be looked at; 0 for never
	next      int64                   // likewise, because of its trust
	fades     int64                   // likewise, because a finding is no longer open
	place     int32                   // in the timetable, -1 if it is not there
	looked    uint32                  // minute in which a drift of its trust was looked for last
	points    int64                   // that were made of its trust
	shown     [conduct.Classes]uint16 // scores of the newest one, in parts of 10,000

	shard       uint8
	levels      [conduct.Classes]trust.Level // as subscribers know them
	lowered     bool                         // is in owner.lowered
	quarantined bool
	dirty       bool      // has changed since it was last kept
	snap        *snapshot // that it must be written to before it changes

	trust       *trust.State
	deviation   deviation.State
	escalation  escalation.State
	performance performance.State
	compliance  compliance.State
	asking      asking.State

	findings []*conduct.Finding // at most maxOpen, oldest first
	kinds    []string           // of those that are not dismissed, sorted; never changed in place
	gravest  int64              // see authz.Conduct
	reports  []uint32           // hashes of the newest reports, a ring once it is full
	report   uint8              // where the next goes
	judged   int64              // see authz.Conduct
	accuracy float64
	errors   float64
}

const maxReports = 32

// An identity is what conduct depends on of an agent's registration.
type identity struct {
	owner, purpose, version string
	revision                int64
}

// agent returns what is known of an agent, or nil.
func (c *core) agent(id authz.AgentID) *agent {
	return c.shards[shardOf(conduct.Hash(string(id)))].agents[id] // only this goroutine writes the map
}

func shardOf(hash uint64) uint8 { return uint8(hash >> 32) }

// who is the agent as bounds of trust know it.
func (a *agent) who() trust.Who { return trust.Who{Agent: a.id, Purpose: a.purpose} }

// pool returns where a's evidence is added up.
func (a *agent) pool(c *core) *trust.Pool { return &c.purpose(a.purpose).pool }

// purpose returns what is shared by agents of a purpose. Purposes beyond maxPurposes share one.
func (c *core) purpose(name string) *purpose {
	p := c.purposes[name]
	if p == nil {
		if len(c.purposes) >= maxPurposes && name != "" {
			return c.purpose("")
		}
		p = new(purpose)
		c.purposes[name] = p
	}
	return p
}

// enrol begins to watch an agent.
func (c *core) enrol(id authz.AgentID, who identity) *agent {
	k := &c.rules.Load().conduct
	a := c.join(id, who)
	a.seq, a.revision = c.seq, who.revision
	a.trust = trust.Start(&k.Trust, c.purpose(who.purpose).pool.Prior(&k.Trust, c.at), c.lowest(a.owner), c.at)
	a.trust.Owned(who.owner)
	a.levels = a.trust.Levels(&k.Trust, a.who(), c.at)
	c.sum += mix(a.hash, a.seq)
	c.forecast(a)
	s := &c.shards[a.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agents[id] = a
	c.out.touch(a)
	c.out.changed()
	c.note(Moved{What: "registered", Class: conduct.Every.String()})
	c.chart(a)
	c.settle(a)
	return a
}

// join makes an agent and gives it a place everywhere but in its shard.
func (c *core) join(id authz.AgentID, who identity) *agent {
	a := &agent{id: id, purpose: who.purpose, version: who.version, hash: conduct.Hash(string(id)), place: -1}
	a.shard = shardOf(a.hash)
	c.own(a, who.owner)
	c.agents++
	return a
}

// identify takes in what is known of an agent's registration, if it is newer than what was, and reports
// whether it was. A new version, or a new purpose, is a new agent until there is evidence. The caller
// holds the lock of the shard.
func (c *core) identify(a *agent, who identity) bool {
	if who.revision <= a.revision {
		return false
	}
	a.revision = who.revision
	if a.owner.name != who.owner {
		lowered := a.lowered
		c.leave(a)
		c.disown(a)
		c.own(a, who.owner)
		a.trust.Owned(who.owner)
		c.mark(a, lowered)
	}
	if a.version == who.version && a.purpose == who.purpose {
		return true
	}
	a.version, a.purpose = who.version, who.purpose
	k := &c.rules.Load().conduct.Trust
	a.trust.Renew(k, c.purpose(a.purpose).pool.Prior(k, c.at), c.at)
	c.note(Moved{What: "renewed", Class: conduct.Every.String()})
	a.deviation = deviation.State{}
	// What the old one's confidence was worth says nothing of the new one's.
	a.performance = performance.State{}
	a.begun = c.seq
	a.perform()
	c.review(a)
	return true
}

// retire forgets an agent, but not at once how low it was.
func (c *core) retire(a *agent) {
	s := &c.shards[a.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	c.out.touch(a)
	c.leave(a)
	c.disown(a)
	c.sum -= mix(a.hash, a.seq)
	c.agents--
	c.due.remove(a)
	for _, f := range a.findings {
		delete(c.open, keyOf(f))
	}
	delete(s.agents, a.id)
	c.retired[a.hash] = c.at.UnixMicro()
	c.out.gone(a)
	c.out.changed()
}

// touch notes that the present entry changes a. The caller holds the lock of the shard.
func (c *core) touch(a *agent) {
	c.out.touch(a)
	if a.seq != c.seq {
		c.sum += mix(a.hash, c.seq) - mix(a.hash, a.seq)
		a.seq = c.seq
	}
}

// mix joins an agent and the number of its last change to one number (the finalizer of SplitMix64).
func mix(hash uint64, seq int64) uint64 {
	x := hash ^ uint64(seq)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// review looks at all levels of an agent after something has moved its trust. The caller holds the lock
// of the shard.
func (c *core) review(a *agent) {
	for i := range a.levels {
		c.reviewClass(a, conduct.Class(i))
	}
	if q := a.trust.Quarantined(); q != a.quarantined {
		a.quarantined = q
		c.note(Moved{What: "quarantine", From: yes(!q), To: yes(q)})
		c.out.signal(Signal{Seq: c.seq, Type: SignalQuarantine, At: c.at, Agent: a.id, From: yes(!q), To: yes(q)})
		c.out.changed()
	}
	c.forecast(a)
}

// reviewClass looks at the level of an agent in a class.
func (c *core) reviewClass(a *agent, class conduct.Class) {
	l := a.trust.Stands(&c.rules.Load().conduct.Trust, a.who(), class, c.at)
	if was := a.levels[class]; was != l {
		a.levels[class] = l
		c.note(Moved{What: "level", Class: class.String(), From: was.String(), To: l.String()})
		c.out.signal(Signal{Seq: c.seq, Type: SignalTrust, At: c.at, Agent: a.id, Class: class.String(), From: was.String(), To: l.String()})
		c.out.changed()
	}
}

// forecast works out when a's trust must be looked at again even if nothing happens: within a day.
func (c *core) forecast(a *agent) {
	next := a.trust.Next(&c.rules.Load().conduct.Trust, a.who(), c.at)
	if !next.After(c.at) {
		next = c.at.Add(24 * time.Hour)
	}
	a.next = next.UnixMicro()
}

// settle is called last of all for every change of a: it brings up to date what follows from it. The
// caller holds the lock of the shard.
func (c *core) settle(a *agent) {
	c.mark(a, a.trust.Lowered(&c.rules.Load().conduct.Trust, c.at))
	if due := a.comesDue(); due != a.due || a.place < 0 {
		a.due = due
		c.due.put(a)
	}
}

// comesDue returns what a.due must be: it follows from the rest of a, so that it need not be kept.
func (a *agent) comesDue() (due int64) {
	for _, t := range [...]int64{micros(a.compliance.Due()), a.next, a.fades} {
		if t != 0 && (due == 0 || t < due) {
			due = t
		}
	}
	return due
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// perform brings up to date what decisions know of a's work.
func (a *agent) perform() {
	s := a.performance.Standing()
	a.judged, a.accuracy, a.errors = s.Judged, s.Accuracy, s.ErrorRate
}

// reportHash stands for a report of a decision by somebody.
func reportHash(decision int64, by string) uint32 {
	return uint32(mix(conduct.Hash(by), decision))
}

func (a *agent) remembers(report uint32) bool { return slices.Contains(a.reports, report) }

// remember notes a report, in place of the oldest if there are many.
func (a *agent) remember(report uint32) {
	if len(a.reports) < maxReports {
		a.reports = append(a.reports, report)
		return
	}
	a.reports[a.report] = report
	a.report = (a.report + 1) % maxReports
}
