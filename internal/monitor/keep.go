package monitor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/conduct"
)

// Store keeps what a monitor remembers between starts, and its findings for searching. Replicas share it.
type Store interface {
	// MonitorHead returns the head, the zero Head if there is none, and how many findings of its format are
	// kept of entries up to its number.
	MonitorHead(ctx context.Context) (h Head, findings int64, err error)

	// PutMonitorHead makes next the head. It returns authz.ErrConflict, and does nothing, unless the head
	// has the epoch and the number of old. If next has the number 0, what is kept of agents is removed.
	PutMonitorHead(ctx context.Context, old, next Head) error

	// MonitorAgents returns what was kept newest in the head's epoch, but not after the head, of up to limit
	// agents whose ids follow the given one, in the order of ids.
	MonitorAgents(ctx context.Context, h Head, after authz.AgentID, limit int) ([]Kept, error)

	// PutMonitorAgents keeps agents, for heads of an epoch, beside what is kept of them as of other entries.
	PutMonitorAgents(ctx context.Context, epoch int64, agents []Kept) error

	// SweepMonitor removes what is kept of agents as of entries before the head, and of those of which
	// nothing is known any more, also as of it; what was written for other epochs stays.
	SweepMonitor(ctx context.Context, h Head, agents []Kept) error

	// PutFindings keeps findings, unless newer versions (by format, and then by AsOf) are kept already.
	PutFindings(ctx context.Context, format int64, fs []conduct.Finding) error

	// Findings returns up to limit findings that a query selects, newest first.
	Findings(ctx context.Context, q Query, limit int) ([]conduct.Finding, error)
}

// A Head says what is kept.
type Head struct {
	Epoch  int64 // grows whenever all is begun anew; what was written before does not count then
	Seq    int64 // number of the entry as of which agents are kept; 0 if none are
	Format int64
	State  []byte // of the fleet
}

// A Kept is an agent as of an entry.
type Kept struct {
	Agent authz.AgentID
	Seq   int64
	State []byte // empty: nothing is known any more
}

// A Query is a Filter and where to begin.
type Query struct {
	Agent    authz.AgentID
	Kind     string
	Severity conduct.Severity // this or graver
	State    conduct.Verdict
	Seq      int64 // with Nth, the id of a finding: only older ones; 0 for all
	Nth      int
}

func (f *Filter) query(before string) (q Query, err error) {
	q = Query{Agent: f.Agent, Kind: f.Kind, State: f.State}
	if f.Severity != "" {
		if err := q.Severity.UnmarshalText([]byte(f.Severity)); err != nil {
			return q, err
		}
	}
	switch f.State {
	case "", conduct.Open, conduct.Acknowledged, conduct.Dismissed, conduct.Confirmed:
	default:
		return q, authz.Errorf(authz.ErrInvalid, "unknown state %.32q: one of open, acknowledged, dismissed, confirmed", f.State)
	}
	if before != "" {
		var ok bool
		if q.Seq, q.Nth, ok = conduct.ParseID(before); !ok {
			return q, authz.Errorf(authz.ErrInvalid, "%.64q is no finding's id", before)
		}
	}
	return q, nil
}

const (
	keepEntries = 200_000         // between snapshots at most
	keepEvery   = 5 * time.Minute // likewise, if anything changed
	keepAtEnd   = 30 * time.Second
	flushRest   = 200 * time.Millisecond // findings are written together that come within it
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
	if old.Format > Format {
		return nil // a newer program uses the tables
	}
	m.mu.Lock()
	k := &m.keep
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

// Load reads what was kept. Seq then returns up to where of the log it knows: the follower must begin there. If
// what was kept is missing, damaged or of another version of this program, that is 0: conduct is
// worked out anew from the log. Load must return before the monitor is used.
func (m *Monitor) Load(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for try := 1; ; try++ {
		m.forget()
		head, findings, err := m.cfg.Store.MonitorHead(ctx)
		if err != nil {
			return fmt.Errorf("loading conduct: %w", err)
		}
		if head.Seq == 0 || head.Format != Format {
			return nil
		}
		err = m.load(ctx, head, findings)
		if err == nil {
			m.core.ready()
			m.keep.base, m.keep.whole = head.Seq, false
			m.seq.Store(head.Seq)
			m.changed()
			return nil
		}
		m.forget()
		if !errors.Is(err, authz.ErrInvalid) {
			return fmt.Errorf("loading conduct: %w", err)
		}
		if now, _, headErr := m.cfg.Store.MonitorHead(ctx); headErr == nil && try < 5 && (now.Seq != head.Seq || now.Epoch != head.Epoch) {
			continue // another replica has kept more meanwhile
		}
		m.cfg.Logger.WarnContext(ctx, "what was kept of conduct cannot be used: it is worked out anew from the log", "error", err)
		return nil
	}
}

// load reads everything as of a head.
func (m *Monitor) load(ctx context.Context, head Head, findings int64) error {
	b, err := unseal(head.State, "", head.Seq)
	if err != nil {
		return err
	}
	want, err := m.core.readFleet(ctx, b)
	if err != nil {
		return err
	}
	for after := authz.AgentID(""); ; {
		rows, err := m.cfg.Store.MonitorAgents(ctx, head, after, 256)
		if err != nil {
			return err
		}
		for _, k := range rows {
			after = k.Agent
			if len(k.State) == 0 {
				continue
			}
			b, err := unseal(k.State, string(k.Agent), k.Seq)
			if err != nil {
				return err
			}
			if err := m.core.readAgent(k.Agent, b); err != nil {
				return err
			}
		}
		if len(rows) < 256 {
			break
		}
	}
	if m.core.seq != head.Seq || int64(m.core.agents) != want.agents || m.core.sum != want.sum || findings != want.findings {
		return authz.Errorf(authz.ErrInvalid, "%d agents and %d findings are kept of %d and %d, or older ones", m.core.agents, findings, want.agents, want.findings)
	}
	return nil
}

// Run keeps what is remembered from time to time, and once more when ctx ends.
func (m *Monitor) Run(ctx context.Context) error {
	timer := time.NewTimer(keepEvery)
	defer timer.Stop()
	for due := false; ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-timer.C:
			timer.Reset(keepEvery)
			due = true
		case <-m.keep.wake:
			rest(ctx, flushRest)
		}
		if ctx.Err() != nil {
			break
		}
		m.mu.Lock()
		due = due || m.keep.entries >= keepEntries
		m.mu.Unlock()
		err := m.flushAll(ctx)
		if err == nil && due {
			err = m.Keep(ctx)
			due = err != nil
		}
		if err != nil && ctx.Err() == nil {
			m.cfg.Logger.WarnContext(ctx, "what is known of conduct cannot be kept", "error", err)
			rest(ctx, flushRetry)
			m.keep.again()
		}
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepAtEnd)
	defer cancel()
	if err := m.Keep(end); err != nil {
		m.cfg.Logger.WarnContext(end, "what is known of conduct is not kept: the next start reads more of the log", "error", err)
	}
	return nil
}

// again makes Run try again.
func (k *keep) again() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// rest waits, unless ctx ends.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
