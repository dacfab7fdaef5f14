package monitor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

const (
	keepEntries = 200_000         // between snapshots at most
	keepEvery   = 5 * time.Minute // likewise, if anything changed
	keepAtEnd   = 30 * time.Second
	flushRest   = time.Second // findings are written together that come within it
	flushRetry  = time.Second
	chunk       = 128 // agents that are written together
)

// A keep is what must be kept: what changed since base, the number of the newest entry as of which the
// tables are known to hold everything.
//
// Replicas share the tables. Each concludes the same from the same entries, so it does not matter whose
// row is read, only that none is missing: an agent that changed after base is in dirty, so with the rows of
// the dirty ones the tables hold everything as of now, if they held everything as of a head at or after
// base. If the head is behind base, somebody has begun anew, and everything is written. If it is ahead of
// us, others have done the work, and base moves up to what we know, which is before the head.
type keep struct {
	base    int64
	whole   bool // nothing in the tables can be relied on
	dirty   []*agent
	gone    []authz.AgentID
	entries int
	wake    chan struct{} // Run has something to do
}

// count notes that an entry was taken in.
func (k *keep) count(findings int) {
	k.entries++
	if findings > 0 || k.entries >= keepEntries {
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
}

// A snapshot is what is being written. What it holds of an agent is taken when its turn comes or, if that is
// sooner, before the agent changes: so nothing waits for it.
type snapshot struct {
	head   Head
	base   int64
	whole  bool
	agents []*agent
	gone   []authz.AgentID
	early  []Kept // of agents that changed since
}

// touch notes that a is about to change. See sink.
func (m *Monitor) touch(a *agent) {
	if s := a.snap; s != nil {
		s.early = append(s.early, s.take(a))
	}
	if !a.dirty {
		a.dirty = true
		m.keep.dirty = append(m.keep.dirty, a)
	}
}

// gone notes that a is forgotten. See sink.
func (m *Monitor) gone(a *agent) { m.keep.gone = append(m.keep.gone, a.id) }

// take returns a as it must be kept. The caller holds m.mu and the lock of the shard.
func (s *snapshot) take(a *agent) Kept {
	a.snap = nil
	return Kept{Agent: a.id, Seq: s.head.Seq, State: seal(appendAgent(nil, a), string(a.id), s.head.Seq)}
}

// cut begins a snapshot of what is known now. The caller holds m.mu.
func (m *Monitor) cut(old Head) *snapshot {
	k := &m.keep
	s := &snapshot{
		head: Head{Epoch: old.Epoch, Seq: m.core.seq, Format: Format, State: seal(m.core.appendFleet(nil), "", m.core.seq)},
		base: k.base, whole: k.whole, gone: k.gone,
	}
	for _, a := range k.dirty {
		a.dirty = false
		if !s.whole && m.core.agent(a.id) == a {
			a.snap = s
			s.agents = append(s.agents, a)
		}
	}
	if s.whole {
		for i := range m.core.shards {
			for _, a := range m.core.shards[i].agents {
				a.snap = s
				s.agents = append(s.agents, a)
			}
		}
		s.gone = nil
	}
	k.dirty, k.gone, k.entries = nil, nil, 0
	return s
}

// restore makes what was to be kept by s to be kept still. The caller holds m.mu.
func (m *Monitor) restore(s *snapshot) {
	for _, a := range s.agents {
		a.snap = nil
		if !a.dirty {
			a.dirty = true
			m.keep.dirty = append(m.keep.dirty, a)
		}
	}
	m.keep.gone = append(m.keep.gone, s.gone...)
	m.keep.whole = m.keep.whole || s.whole
}

// Keep writes what has changed since it was kept last. Run calls it from time to time.
func (m *Monitor) Keep(ctx context.Context) error {
	m.keeping.Lock()
	defer m.keeping.Unlock()
	old, _, err := m.cfg.Store.MonitorHead(ctx)
	if err != nil {
		return fmt.Errorf("reading what is kept of conduct: %w", err)
	}
	m.mu.Lock()
	k := &m.keep
	if old.Format > Format { // a newer program uses the tables
		k.entries = 0
		m.mu.Unlock()
		return nil
	}
	k.whole = k.whole || old.Seq < k.base || old.Format != Format
	if !k.whole && old.Seq >= m.core.seq {
		for _, a := range k.dirty {
			a.dirty = false
		}
		k.base, k.dirty, k.gone, k.entries = m.core.seq, nil, nil, 0
		m.mu.Unlock()
		return nil
	}
	if m.core.seq == 0 {
		m.mu.Unlock()
		return nil
	}
	s := m.cut(old)
	m.mu.Unlock()

	// What the snapshot's entries found must be in the tables before it says that they were taken in.
	err = m.flushAll(ctx)
	if err == nil {
		err = m.write(ctx, old, s)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.restore(s)
		if errors.Is(err, authz.ErrConflict) {
			return nil // another replica was faster; next time
		}
		return fmt.Errorf("keeping conduct: %w", err)
	}
	k.base, k.whole = s.head.Seq, false
	return nil
}

// write writes a snapshot. Rows are added beside the ones before them, a few at a time so that the log,
// which may share the only connection that writes, never waits long. The head then makes them count.
func (m *Monitor) write(ctx context.Context, old Head, s *snapshot) error {
	if s.whole {
		next := Head{Epoch: old.Epoch + 1, Format: Format}
		if err := m.cfg.Store.PutMonitorHead(ctx, old, next); err != nil {
			return err
		}
		old, s.head.Epoch = next, next.Epoch
	}
	var written []Kept // without what they hold
	for next := 0; ; {
		var rows []Kept
		m.mu.Lock()
		rows, s.early = s.early, nil
		for ; next < len(s.agents) && len(rows) < chunk; next++ {
			if a := s.agents[next]; a.snap == s {
				shard := &m.core.shards[a.shard]
				shard.mu.Lock()
				rows = append(rows, s.take(a))
				shard.mu.Unlock()
			}
		}
		m.mu.Unlock()
		if next == len(s.agents) && len(rows) == 0 {
			break
		}
		if err := m.cfg.Store.PutMonitorAgents(ctx, s.head.Epoch, rows); err != nil {
			return err
		}
		for i := range rows {
			rows[i].State = nil
		}
		written = append(written, rows...)
	}
	var gone []Kept
	for _, id := range s.gone {
		gone = append(gone, Kept{Agent: id, Seq: s.head.Seq})
	}
	if err := m.cfg.Store.PutMonitorAgents(ctx, s.head.Epoch, gone); err != nil {
		return err
	}
	if err := m.cfg.Store.PutMonitorHead(ctx, old, s.head); err != nil {
		return err
	}
	// From here on the snapshot counts. Rows that are not swept are in nobody's way.
	for rows := append(written, gone...); len(rows) > 0; rows = rows[min(chunk, len(rows)):] {
		if err := m.cfg.Store.SweepMonitor(ctx, s.head, rows[:min(chunk, len(rows))]); err != nil {
			m.cfg.Logger.WarnContext(ctx, "what was kept of conduct before is not removed", "error", err)
			break
		}
	}
	return nil
}
