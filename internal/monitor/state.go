package monitor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// Format is the version of what is kept. It must grow with any change of the form, and of what is
// concluded from the same entries: then what is kept is worked out anew.
const Format = 7

// Bounds of lists that are read.
const (
	maxOwners = 1 << 20
	sealSize  = 8
)

// appendAgent appends what is known of an agent.
func appendAgent(b []byte, a *agent) []byte {
	b = binary.AppendVarint(b, a.seq)
	b = conduct.AppendText(b, a.owner.name)
	b = conduct.AppendText(b, a.purpose)
	b = conduct.AppendText(b, a.version)
	b = binary.AppendVarint(b, a.revision)
	b = binary.AppendVarint(b, a.begun)
	b = binary.AppendVarint(b, a.decisions)
	b = binary.AppendVarint(b, a.next)
	for _, l := range a.levels {
		b = append(b, byte(l))
	}
	b = append(b, flag(a.lowered), flag(a.quarantined))
	b = binary.AppendVarint(b, a.points)
	b = binary.AppendUvarint(b, uint64(a.looked))
	for _, s := range a.shown {
		b = binary.AppendUvarint(b, uint64(s))
	}
	b = append(b, byte(len(a.reports)), a.report)
	for _, r := range a.reports {
		b = binary.LittleEndian.AppendUint32(b, r)
	}
	b = append(b, byte(len(a.findings)))
	for _, f := range a.findings {
		b = appendFinding(b, f)
	}
	b = a.trust.Append(b)
	b = a.deviation.Append(b)
	b = a.escalation.Append(b)
	b = a.performance.Append(b)
	b = a.compliance.Append(b)
	return a.asking.Append(b)
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// readAgent reads what appendAgent wrote, and takes the agent in.
func (c *core) readAgent(id authz.AgentID, b []byte) error {
	r := conduct.NewReader(b)
	seq := r.Varint()
	who := identity{owner: r.Text(), purpose: r.Text(), version: r.Text(), revision: r.Varint()}
	if r.Err() != nil || c.agent(id) != nil {
		return damaged(id)
	}
	a := c.join(id, who)
	a.seq, a.revision, a.begun, a.decisions, a.next = seq, who.revision, r.Varint(), r.Varint(), r.Varint()
	for i := range a.levels {
		a.levels[i] = trust.Level(r.Byte())
	}
	lowered := r.Byte() != 0
	a.quarantined = r.Byte() != 0
	a.points, a.looked = r.Varint(), uint32(r.Uvarint())
	for i := range a.shown {
		a.shown[i] = uint16(r.Uvarint())
	}
	n := int(r.Byte())
	a.report = r.Byte()
	if n > maxReports || a.report >= maxReports {
		return damaged(id)
	}
	for range n {
		a.reports = append(a.reports, r.Uint32())
	}
	if n = int(r.Byte()); n > maxOpen {
		return damaged(id)
	}
	for range n {
		f := readFinding(r, id)
		a.findings = append(a.findings, f)
		c.open[keyOf(f)] = a
	}
	a.trust = new(trust.State)
	for _, s := range []interface{ Read(*conduct.Reader) error }{a.trust, &a.deviation, &a.escalation, &a.performance, &a.compliance, &a.asking} {
		if err := s.Read(r); err != nil {
			return damaged(id)
		}
	}
	if r.Err() != nil || len(r.Rest()) > 0 {
		return damaged(id)
	}
	c.mark(a, lowered)
	c.kindsOf(a)
	c.fadesAt(a)
	a.perform()
	c.shards[a.shard].agents[a.id] = a
	c.sum += mix(a.hash, a.seq)
	return nil
}

func damaged(id authz.AgentID) error {
	return authz.Errorf(authz.ErrInvalid, "what is kept of the conduct of agent %.128q is damaged", id)
}

func appendFinding(b []byte, f *conduct.Finding) []byte {
	b = conduct.AppendText(b, f.ID)
	b = conduct.AppendText(b, string(f.Kind))
	b = append(b, byte(f.Severity), byte(classOf(f)))
	b = conduct.AppendText(b, f.Sentence)
	b = binary.AppendUvarint(b, uint64(len(f.Evidence)))
	for _, e := range f.Evidence {
		b = binary.AppendVarint(b, e)
	}
	b = conduct.AppendText(b, f.Session)
	b = conduct.AppendTime(b, f.At)
	b = conduct.AppendTime(b, f.LastAt)
	b = binary.AppendVarint(b, f.Count)
	b = conduct.AppendText(b, string(f.State))
	b = conduct.AppendText(b, f.JudgedBy)
	b = conduct.AppendTime(b, f.JudgedAt)
	b = conduct.AppendText(b, f.Why)
	return binary.AppendVarint(b, f.AsOf)
}

func readFinding(r *conduct.Reader, id authz.AgentID) *conduct.Finding {
	f := &conduct.Finding{
		ID: r.Text(), Agent: id, Kind: conduct.Kind(r.Text()), Severity: conduct.Severity(r.Byte()),
		Class: conduct.Class(r.Byte()).String(), Sentence: r.Text(),
	}
	for range r.Count(conduct.MaxEvidence) {
		f.Evidence = append(f.Evidence, r.Varint())
	}
	f.Session, f.At, f.LastAt, f.Count = r.Text(), r.Time(), r.Time(), r.Varint()
	f.State, f.JudgedBy, f.JudgedAt, f.Why, f.AsOf = conduct.Verdict(r.Text()), r.Text(), r.Time(), r.Text(), r.Varint()
	return f
}

// appendFleet appends what is known of all agents together.
func (c *core) appendFleet(b []byte) []byte {
	b = binary.AppendVarint(b, c.seq)
	b = conduct.AppendTime(b, c.at)
	b = binary.AppendVarint(b, c.rules.Load().version)
	b = binary.AppendVarint(b, c.rules.Load().source)
	b = binary.AppendVarint(b, int64(c.agents))
	b = binary.LittleEndian.AppendUint64(b, c.sum)
	b = binary.AppendVarint(b, c.made)

	b = binary.AppendUvarint(b, uint64(len(c.classes)))
	for _, action := range slices.Sorted(maps.Keys(c.classes)) {
		b = append(binary.LittleEndian.AppendUint64(b, action), byte(c.classes[action]))
	}
	b = binary.AppendUvarint(b, uint64(len(c.retired)))
	for _, id := range slices.Sorted(maps.Keys(c.retired)) {
		b = binary.AppendVarint(binary.LittleEndian.AppendUint64(b, id), c.retired[id])
	}
	b = binary.AppendUvarint(b, uint64(len(c.purposes)))
	for _, name := range slices.Sorted(maps.Keys(c.purposes)) {
		b = c.purposes[name].pool.Append(conduct.AppendText(b, name))
	}
	var left []string
	for name, o := range c.owners {
		if c.at.Before(o.until) {
			left = append(left, name)
		}
	}
	slices.Sort(left)
	b = binary.AppendUvarint(b, uint64(len(left)))
	for _, name := range left {
		o := c.owners[name]
		b = conduct.AppendTime(conduct.AppendText(b, name), o.until)
		for _, l := range o.left {
			b = append(b, byte(l))
		}
	}
	b = c.deviation.Append(b)
	b = c.escalation.Append(b)
	b = c.performance.Append(b)
	b = c.compliance.Append(b)
	b = c.asking.Append(b)
	b = appendPeople(appendPeople(b, c.people), c.points)
	return c.journals.Append(b)
}

// A keptFleet is what the fleet says of the rest.
type keptFleet struct {
	agents, findings int64
	sum              uint64
}

// readFleet reads what appendFleet wrote into an empty core.
func (c *core) readFleet(ctx context.Context, b []byte) (k keptFleet, err error) {
	r := conduct.NewReader(b)
	c.seq, c.at = r.Varint(), r.Time()
	version, source := r.Varint(), r.Varint()
	k.agents = r.Varint()
	k.sum = uint64(r.Uint32()) | uint64(r.Uint32())<<32
	c.made = r.Varint()
	k.findings = c.made
	for range r.Count(maxClasses) {
		action := uint64(r.Uint32()) | uint64(r.Uint32())<<32
		c.classes[action] = conduct.Class(r.Byte())
	}
	for range r.Count(maxOwners) {
		id := uint64(r.Uint32()) | uint64(r.Uint32())<<32
		c.retired[id] = r.Varint()
	}
	for range r.Count(maxPurposes + 1) {
		p := new(purpose)
		c.purposes[r.Text()] = p
		if err := p.pool.Read(r); err != nil {
			return k, err
		}
	}
	for range r.Count(maxOwners) {
		o := &owner{name: r.Text(), until: r.Time()}
		for i := range o.left {
			o.left[i] = trust.Level(r.Byte())
		}
		c.owners[o.name] = o
	}
	for _, s := range []interface{ Read(*conduct.Reader) error }{&c.deviation, &c.escalation, &c.performance, &c.compliance, &c.asking} {
		if err := s.Read(r); err != nil {
			return k, err
		}
	}
	if err := c.readAccused(r); err != nil {
		return k, err
	}
	c.journals.Read(r)
	if err := r.Err(); err != nil || len(r.Rest()) > 0 || version < 0 || source < 0 || source > version {
		return k, authz.Errorf(authz.ErrInvalid, "what is kept of the conduct of all agents is damaged")
	}
	if source > 0 {
		rules, err := c.rulesOf(ctx, source)
		if err != nil {
			return k, err
		}
		if rules == nil || rules.source != source {
			return k, authz.Errorf(authz.ErrInvalid, "the catalog of version %d cannot be read", source)
		}
		rules.version = version
		c.rules.Store(rules)
	} else if version > 0 {
		rules := *c.rules.Load()
		rules.version = version
		c.rules.Store(&rules)
	}
	return k, nil
}

// ready is called when all agents are read: it puts them in the timetable.
func (c *core) ready() {
	for i := range c.shards {
		for _, a := range c.shards[i].agents {
			a.due = 0
			c.settle(a)
		}
	}
}

// seal appends what tells whether b was changed since. About says of what b is.
func seal(b []byte, about string, seq int64) []byte {
	h := sealOf(b, about, seq)
	return append(b, h[:]...)
}

// unseal returns what was sealed, or authz.ErrInvalid.
func unseal(b []byte, about string, seq int64) ([]byte, error) {
	if n := len(b) - sealSize; n >= 0 {
		if h := sealOf(b[:n], about, seq); bytes.Equal(h[:], b[n:]) {
			return b[:n], nil
		}
	}
	return nil, damaged(authz.AgentID(about))
}

func sealOf(b []byte, about string, seq int64) (s [sealSize]byte) {
	h := sha256.New()
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(seq))
	h.Write(n[:])
	binary.LittleEndian.PutUint64(n[:], uint64(len(about)))
	h.Write(n[:])
	h.Write([]byte(about))
	h.Write(b)
	copy(s[:], h.Sum(nil))
	return s
}
