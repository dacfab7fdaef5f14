package monitor

import (
	"context"
	"slices"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// look calls f with what is known of an agent, while it does not change, and reports whether there is
// anything known.
func (m *Monitor) look(id authz.AgentID, f func(a *agent, r *rules)) bool {
	s := &m.core.shards[shardOf(conduct.Hash(string(id)))]
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.agents[id]
	if a == nil {
		return false
	}
	f(a, m.core.rules.Load())
	return true
}

// Conduct returns trust in an agent in a class ("" for one that is not known: the lowest), and how it has behaved.
// It touches memory only. Of an agent that has not been seen yet nothing is known: what its purpose's others
// have earned counts for it from its first decision or registration on.
func (m *Monitor) Conduct(id authz.AgentID, class string, at time.Time) (authz.Trust, authz.Conduct) {
	t, c := authz.NeutralTrust, authz.Conduct{}
	m.look(id, func(a *agent, r *rules) {
		k := &r.conduct
		if k.Shadow {
			return
		}
		who := a.who()
		c.Lowest = a.trust.Level(&k.Trust, who, conduct.Every, at)
		t = c.Lowest
		if cl, ok := conduct.ParseClass(class); ok {
			t = a.trust.Level(&k.Trust, who, cl, at)
		}
		c.Judged, c.Accuracy, c.ErrorRate = a.judged, a.accuracy, a.errors
		c.Quarantined = a.trust.Quarantined()
		c.Findings, c.Gravest = a.kinds, a.gravest
		if a.fades != 0 && at.UnixMicro() >= a.fades {
			c.Findings, c.Gravest = m.core.kindsAt(a, at)
		}
	})
	return t, c
}

// Turns returns when what Conduct says of an agent changes next by time alone, after a time: a level, rounded up to the minute, or
// what findings are open. It is zero if that is not within a day. Scores fade all the while.
func (m *Monitor) Turns(id authz.AgentID, at time.Time) (next time.Time) {
	m.look(id, func(a *agent, r *rules) {
		if r.conduct.Shadow {
			return
		}
		next = a.trust.Next(&r.conduct.Trust, a.who(), at)
		for _, f := range a.findings {
			end := m.core.end(f)
			if end <= at.UnixMicro() || end > at.Add(24*time.Hour).UnixMicro() {
				continue
			}
			if t := time.UnixMicro(end); next.IsZero() || t.Before(next) {
				next = t
			}
		}
	})
	return next
}

// Quarantined reports whether conduct has taken everything from an agent, as Conduct says it.
func (m *Monitor) Quarantined(id authz.AgentID) (shut bool) {
	m.look(id, func(a *agent, r *rules) { shut = !r.conduct.Shadow && a.trust.Quarantined() })
	return shut
}

// kindsAt returns of which kinds an agent's findings are that are open at a time after the newest entry,
// and how grave the gravest is.
func (c *core) kindsAt(a *agent, at time.Time) (kinds []string, gravest int64) {
	for _, f := range a.findings {
		if end := c.end(f); f.State != conduct.Dismissed && (end == 0 || end > at.UnixMicro()) {
			kinds = append(kinds, string(f.Kind))
			gravest = max(gravest, int64(f.Severity)+1)
		}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds), gravest
}

// Confidence returns what an agent's reported confidence has been worth, and whether there is evidence.
func (m *Monitor) Confidence(id authz.AgentID, reported float64) (worth float64, ok bool) {
	m.look(id, func(a *agent, r *rules) {
		if !r.conduct.Shadow {
			worth, ok = a.performance.Confidence(&r.conduct.Performance, reported)
		}
	})
	return worth, ok
}

// Report explains the trust in an agent. It returns authz.ErrNotFound for one that nothing is known of.
func (m *Monitor) Report(id authz.AgentID, at time.Time) (*Report, error) {
	rep := &Report{Agent: id, AsOf: m.Seq(), Findings: []conduct.Finding{}}
	if !m.look(id, func(a *agent, r *rules) {
		k := &r.conduct
		rep.Purpose, rep.Version, rep.Decisions, rep.Shadow = a.purpose, a.version, a.decisions, k.Shadow
		rep.Quarantined, rep.Learning = a.trust.Quarantined(), !a.trust.Lowered(&k.Trust, at)
		for class := range conduct.Class(conduct.Classes) {
			rep.Classes = append(rep.Classes, a.trust.Standing(&k.Trust, a.who(), class, at))
		}
		rep.Performance = a.performance.Standing()
		for _, f := range slices.Backward(a.findings) {
			if end := m.core.end(f); f.State != conduct.Dismissed && (end == 0 || end > at.UnixMicro()) {
				rep.Findings = append(rep.Findings, *f)
			}
		}
	}) {
		return nil, authz.Errorf(authz.ErrNotFound, "nothing is known of the conduct of agent %.128q", id)
	}
	return rep, nil
}

// Findings returns up to limit findings, newest first, that are older than the one of the id before ("" for the
// newest). It returns authz.ErrInvalid for a filter or an id that is none.
func (m *Monitor) Findings(ctx context.Context, f Filter, before string, limit int) ([]conduct.Finding, error) {
	q, err := f.query(before)
	if err != nil || limit <= 0 {
		return nil, err
	}
	return m.queued(ctx, q, min(limit, maxPage))
}

// Count counts the findings that are kept, by state, severity and kind. What was found or judged a moment ago may be missing.
func (m *Monitor) Count(ctx context.Context) ([]Count, error) {
	return m.cfg.Store.CountFindings(ctx)
}

const maxPage = 1000 // findings

// Finding returns one. It returns authz.ErrNotFound if there is none of that id.
func (m *Monitor) Finding(ctx context.Context, id string) (conduct.Finding, error) {
	seq, n, ok := conduct.ParseID(id)
	if ok {
		fs, err := m.queued(ctx, Query{Seq: seq, Nth: n + 1}, 1)
		if err != nil {
			return conduct.Finding{}, err
		}
		if len(fs) == 1 && fs[0].ID == id {
			return fs[0], nil
		}
	}
	return conduct.Finding{}, authz.Errorf(authz.ErrNotFound, "there is no finding %.64q", id)
}
