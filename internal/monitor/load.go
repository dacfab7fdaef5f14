package monitor

import (
	"context"
	"errors"
	"fmt"

	"github.com/safeconduct/safeconduct/authz"
)

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
