package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
)

// Judge records what a person says of a finding (finding.judged), waits until it is in effect, and returns it.
// authz.ErrNotFound if there is none of that id, authz.ErrConflict if it was judged so already or is too old.
func (m *Monitor) Judge(ctx context.Context, actor, why, id string, v conduct.Verdict) (conduct.Finding, error) {
	j := conduct.Judgement{Finding: id, Verdict: v, Why: why}
	if err := j.Check(); err != nil {
		return conduct.Finding{}, err
	}
	m.mu.Lock()
	_, _, err := m.core.judgeable(id, v)
	m.mu.Unlock()
	if err != nil {
		if _, missing := m.Finding(ctx, id); missing != nil {
			err = missing
		}
		return conduct.Finding{}, err
	}
	if _, err := m.commit(ctx, actor, audit.FindingJudged, &j); err != nil {
		return conduct.Finding{}, err
	}
	return m.Finding(ctx, id)
}

// Set records a level set by hand, or that there is none any more (trust.put), and waits until it is in effect.
// It returns authz.ErrInvalid, or authz.ErrNotFound if nothing is known of the agent.
func (m *Monitor) Set(ctx context.Context, actor string, o trust.Override) (*Report, error) {
	if _, err := checkOverride(&o, m.cfg.Now()); err != nil {
		return nil, err
	}
	if !m.look(o.Agent, func(*agent, *rules) {}) {
		return nil, authz.Errorf(authz.ErrNotFound, "nothing is known of the conduct of agent %.128q", o.Agent)
	}
	o.Author = "" // whoever the entry is by
	if _, err := m.commit(ctx, actor, audit.TrustPut, &o); err != nil {
		return nil, err
	}
	return m.Report(o.Agent, m.cfg.Now())
}

// Tell records what somebody says came of a decision (outcome.reported), waits until it is in effect, and
// returns the number of the entry. authz.ErrConflict: this reporter has reported that decision already, or it is too
// old. authz.ErrNotFound: nothing is known of the agent.
func (m *Monitor) Tell(ctx context.Context, o conduct.Outcome) (int64, error) {
	o.Seq, o.At = 0, m.cfg.Now()
	if err := o.Check(); err != nil {
		return 0, err
	}
	var err error
	if !m.look(o.Agent, func(a *agent, _ *rules) { err = m.core.admits(a, &o) }) {
		err = authz.Errorf(authz.ErrNotFound, "nothing is known of the conduct of agent %.128q", o.Agent)
	}
	if err != nil {
		return 0, err
	}
	return m.commit(ctx, o.By, audit.OutcomeReported, &o)
}

// commit records a change and waits until it is in effect.
func (m *Monitor) commit(ctx context.Context, actor string, kind audit.Kind, body any) (int64, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, fmt.Errorf("encoding %s: %w", kind, err)
	}
	seq, err := m.cfg.Log.Commit(ctx, audit.Draft{Kind: kind, Actor: actor, Body: text})
	if errors.Is(err, authz.ErrConflict) || errors.Is(err, authz.ErrNotFound) || errors.Is(err, authz.ErrInvalid) {
		return seq, err // what the entry met; its message is for people
	}
	if err != nil {
		return seq, fmt.Errorf("recording %s: %w", kind, err)
	}
	return seq, nil
}
