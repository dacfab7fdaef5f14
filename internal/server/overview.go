package server

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/conduct"
	"github.com/safeconduct/safeconduct/internal/monitor/trust"
	"github.com/safeconduct/safeconduct/internal/risk"
)

const (
	maxOverviewAlerts   = 10
	maxOverviewFindings = 1000            // of a severity: counting goes no further
	censusAge           = 2 * time.Second // after which agents are counted again, all of which is looked at
)

// A cachedCensus keeps how many agents there are of each kind for a little while, for all who look.
type cachedCensus struct {
	mu     sync.Mutex
	at     time.Time
	agents api.AgentsOverview
}

func (s *Server) countAgents() api.AgentsOverview {
	c := &s.census
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.at) < censusAge {
		return c.agents
	}
	a := api.AgentsOverview{States: map[string]int{}, Trust: map[string]int{}}
	for state, n := range s.agents.States() {
		a.States[string(state)] = n
		a.Total += n
	}
	known := s.monitor.Census()
	unseen := a.Total
	for level, n := range known.Levels {
		a.Trust[trust.Level(level).String()] = n
		unseen -= n
	}
	a.Trust["unseen"], a.Quarantined = max(0, unseen), known.Quarantined
	c.at, c.agents = time.Now(), a
	return a
}

// overview tells what one should see first.
func (s *Server) overview(ctx context.Context) (o api.Overview, err error) {
	o.At = time.Now().UTC()
	if o.Health, err = s.health(ctx); err != nil { // before the figures, which count at least what it says is counted
		return o, err
	}
	if o.Hour, err = s.figures.Lately(ctx, time.Hour); err != nil {
		return o, err
	}
	if o.Day, err = s.figures.Lately(ctx, 24*time.Hour); err != nil {
		return o, err
	}
	o.PerSecond = s.figures.PerSecond()
	o.Agents = s.countAgents()
	open, err := s.db.OpenFindings(ctx, maxOverviewFindings)
	if err != nil {
		return o, err
	}
	o.Findings = api.FindingsOverview{Open: map[string]int{}, Most: maxOverviewFindings}
	for sev, n := range open {
		o.Findings.Open[conduct.Severity(sev).String()] = n
	}
	o.Alerts = s.openAlerts()
	pending, oldest := s.desk.Waiting()
	o.Approvals = &api.ApprovalsOverview{Pending: pending, Oldest: oldest}
	return o, nil
}

func (s *Server) openAlerts() api.AlertsOverview {
	all := s.risks.Alerts()
	grave := func(a risk.Alert) int { return slices.Index(catalog.Severities, string(a.Severity)) }
	slices.SortStableFunc(all, func(a, b risk.Alert) int { return cmp.Compare(grave(b), grave(a)) })
	o := api.AlertsOverview{Open: len(all), Items: append([]risk.Alert{}, all[:min(maxOverviewAlerts, len(all))]...)}
	// Nothing of a request counts but that it is one: what is left are the alerts that concern everything.
	o.Risk = s.risks.Assess(&authz.Request{}, &authz.Facts{At: time.Now(), Class: authz.Public, Zones: []string{""}})
	return o
}

func (s *Server) health(ctx context.Context) (h api.HealthOverview, err error) {
	st, err := s.status(ctx)
	if err != nil {
		return h, err
	}
	log := s.log.Stats()
	h = api.HealthOverview{Ready: st.Ready, Reasons: st.Reasons, Version: st.Version, Store: st.Store, UptimeS: st.UptimeS,
		Head: max(log.Entries, st.Head), Applied: st.Head, Indexed: st.Indexed, Counted: s.figures.Seq(),
		Batches: log.Batches, Signed: st.Checkpoint, Policies: st.Policies,
		EnforcementPoints: st.EnforcementPoints, Embedded: st.Embedded, FailOpen: st.FailOpen}
	if h.Signed < h.Batches {
		if leaves, err := s.db.Leaves(ctx, h.Signed, 1); err == nil && len(leaves) == 1 {
			if l, err := audit.ParseLeaf(leaves[0]); err == nil {
				h.UnsignedS = max(0, int64(time.Since(l.At)/time.Second))
			}
		}
	}
	if st.Policies > 0 {
		if vs, err := s.library.Versions(ctx, st.Policies+1, 1); err == nil && len(vs) == 1 {
			h.PoliciesAt, h.PoliciesBy = vs[0].At, vs[0].Author
		}
	}
	if door := s.door.Load(); door != nil {
		h.Streams = door.Streams()
	}
	return h, nil
}
