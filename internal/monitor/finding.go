package monitor

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

const (
	maxOpen     = 16  // findings of an agent that are remembered; the table has all
	maxSentence = 256 // bytes
	maxSession  = 64
)

// A findingKey is what the id of a finding says.
type findingKey struct {
	seq int64
	nth int32
}

func keyOf(f *conduct.Finding) findingKey {
	seq, n, _ := conduct.ParseID(f.ID)
	return findingKey{seq, int32(n)}
}

// classOf returns the class that f concerns.
func classOf(f *conduct.Finding) conduct.Class {
	if f.Class == conduct.Every.String() {
		return conduct.Every
	}
	class, _ := conduct.ParseClass(f.Class)
	return class
}

// conclude makes findings of an agent out of the drafts, and reports whether that moved trust. The caller
// holds the lock of the shard.
func (c *core) conclude(a *agent, session string) (moved bool) {
	for i := range c.drafts {
		if c.take(a, &c.drafts[i], session) {
			moved = true
		}
	}
	c.drafts = c.drafts[:0]
	return moved
}

// take makes a finding of d, or adds it to the one that takes up its repetitions.
func (c *core) take(a *agent, d *conduct.Draft, session string) (moved bool) {
	if f, graver := c.again(a.findings, d); f != nil {
		if was := f.Severity; graver {
			f.Severity, f.Sentence, f.Evidence = d.Severity, cut(d.Sentence, maxSentence), c.evidence(d)
			c.weigh(a, f, d.Class, &was)
			c.noteFinding("finding", f)
			c.sortKinds(a)
		}
		c.fadesAt(a)
		c.tell(f, graver || f.Count&(f.Count-1) == 0)
		return graver
	}
	f := c.fresh(a.id, d, session)
	c.open[keyOf(f)] = a
	if len(a.findings) >= maxOpen {
		c.drop(a, a.least())
	}
	a.findings = append(a.findings, f)
	c.weigh(a, f, d.Class, nil)
	c.noteFinding("finding", f)
	c.sortKinds(a)
	c.fadesAt(a)
	c.tell(f, true)
	return true
}

// again counts d on the one of some findings that takes up its repetitions, and reports whether d is graver. It
// returns nil if there is none.
func (c *core) again(fs []*conduct.Finding, d *conduct.Draft) (f *conduct.Finding, graver bool) {
	cooldown, class := c.rules.Load().conduct.Cooldown, d.Class.String()
	for _, f := range fs {
		if f.Kind != d.Kind || f.Class != class || c.at.Sub(f.At) >= cooldown || f.State == conduct.Dismissed && d.Severity > f.Severity {
			continue
		}
		f.Count, f.LastAt, f.AsOf = f.Count+1, c.at, c.seq
		graver := d.Severity > f.Severity
		if n := len(f.Evidence); !graver && (n == 0 || f.Evidence[n-1] != c.seq) {
			f.Evidence = append(slices.Clone(f.Evidence[:min(n, conduct.MaxEvidence-1)]), c.seq)
		}
		return f, graver
	}
	return nil, false
}

// fresh makes a finding of d, which the present entry completes.
func (c *core) fresh(agent authz.AgentID, d *conduct.Draft, session string) *conduct.Finding {
	f := &conduct.Finding{
		ID: conduct.ID(c.seq, c.nth), Agent: agent, Kind: d.Kind, Severity: d.Severity, Class: d.Class.String(), Sentence: cut(d.Sentence, maxSentence),
		Evidence: c.evidence(d), Session: cut(session, maxSession), At: c.at, LastAt: c.at, Count: 1, State: conduct.Open, AsOf: c.seq,
	}
	c.nth++
	c.made++
	return f
}

// weigh lets trust take in a finding: one that was drawn from an outcome within what its reporter can move.
// Whether it brings the agent into quarantine, review sees.
func (c *core) weigh(a *agent, f *conduct.Finding, class conduct.Class, was *conduct.Severity) {
	k := &c.rules.Load().conduct.Trust
	if c.told != nil {
		a.trust.Told(k, a.pool(c), f, was, c.told, c.seq)
		return
	}
	a.trust.Finding(k, a.pool(c), f, class, was, c.seq, c.at)
}

// evidence returns the entries that d names, which end with the present one.
func (c *core) evidence(d *conduct.Draft) []int64 {
	n := len(d.Evidence)
	if n == 0 {
		return []int64{c.seq}
	}
	return slices.Clone(d.Evidence[max(0, n-conduct.MaxEvidence):])
}

// tell hands f on: to be kept, and to subscribers.
func (c *core) tell(f *conduct.Finding, signal bool) {
	c.out.found(f)
	if signal {
		c.out.signal(Signal{Seq: c.seq, Type: SignalFinding, At: c.at, Agent: f.Agent, Finding: f})
	}
}

// least returns which finding an agent can best do without: a dismissed one, else the mildest, and of
// those the oldest; confirmed ones last. So many mild findings do not push out a grave one.
func (a *agent) least() int {
	best := 0
	for i, f := range a.findings {
		if weigh(f) < weigh(a.findings[best]) {
			best = i
		}
	}
	return best
}

func weigh(f *conduct.Finding) int {
	switch f.State {
	case conduct.Dismissed:
		return -1
	case conduct.Confirmed:
		return 8 + int(f.Severity)
	}
	return int(f.Severity)
}

// drop forgets a finding of an agent.
func (c *core) drop(a *agent, i int) {
	delete(c.open, keyOf(a.findings[i]))
	a.findings = slices.Delete(a.findings, i, i+1)
}

// fade drops findings that are not open any more by the present entry.
func (c *core) fade(a *agent) {
	before := len(a.findings)
	for i := before - 1; i >= 0; i-- {
		if end := c.end(a.findings[i]); end != 0 && end <= c.at.UnixMicro() {
			c.drop(a, i)
		}
	}
	if len(a.findings) != before {
		c.sortKinds(a)
	}
	c.fadesAt(a)
}

// end returns when a finding is no longer open, in microseconds since 1970; 0 for never: one that was
// confirmed is open until a person says otherwise.
func (c *core) end(f *conduct.Finding) int64 {
	if f.State == conduct.Confirmed {
		return 0
	}
	last := f.LastAt
	if f.JudgedAt.After(last) {
		last = f.JudgedAt
	}
	return last.Add(c.rules.Load().conduct.Keep).UnixMicro()
}

// fadesAt works out when the first finding of an agent is no longer open.
func (c *core) fadesAt(a *agent) {
	a.fades = 0
	for _, f := range a.findings {
		if end := c.end(f); end != 0 && (a.fades == 0 || end < a.fades) {
			a.fades = end
		}
	}
}

// sortKinds works out of which kinds an agent's findings are and how grave the gravest is, and says so if they are others.
func (c *core) sortKinds(a *agent) {
	if c.kindsOf(a) {
		c.out.changed()
	}
}

// kindsOf sets a.kinds and a.gravest, and reports whether they changed.
func (c *core) kindsOf(a *agent) bool {
	var kinds []string
	gravest := int64(0)
	for _, f := range a.findings {
		if f.State != conduct.Dismissed {
			kinds = append(kinds, string(f.Kind))
			gravest = max(gravest, int64(f.Severity)+1)
		}
	}
	slices.Sort(kinds)
	kinds = slices.Compact(kinds)
	if slices.Equal(kinds, a.kinds) && gravest == a.gravest {
		return false
	}
	a.gravest = gravest
	a.kinds = kinds // others may still read the old ones
	return true
}

// cut returns at most n bytes of s, as a copy of its own that is UTF-8 without control characters.
func cut(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return strings.Clone(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd")))
}
