package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/caller"
)

// introduction is the body of the entries by which a process says that it starts and stops.
func (s *Server) introduction() []byte {
	b, err := json.Marshal(struct {
		Version string `json:"version"`
		Go      string `json:"go"`
		Store   string `json:"store"`
		Listen  string `json:"listen"`
	}{s.version, runtime.Version(), s.db.Name(), s.listener.Addr().String()})
	if err != nil { // strings always encode
		return []byte(`{}`)
	}
	return b
}

// begin does what must be done before the first decision: the log is read to its end, the first
// callers exist, and what the configuration declares is published. Until then decisions refuse.
// While the store is away it waits.
func (s *Server) begin(ctx context.Context) error {
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"recording the start", func(ctx context.Context) error {
			seq, err := s.log.Record(ctx, audit.Draft{Kind: audit.ServiceStarted, Actor: "safeconduct", Body: s.introduction()})
			if err != nil {
				return err
			}
			return s.follow.Wait(ctx, seq)
		}},
		{"making the first callers", s.firstCallers},
		{"making signing keys", s.keys.Ensure},
		{"publishing the organisation", s.publish},
		{"registering agents", s.declareAgents},
	}
	for _, step := range steps {
		for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
			err := step.do(ctx)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return nil
			}
			if !errors.Is(err, authz.ErrUnavailable) {
				return fmt.Errorf("%s: %w", step.name, err)
			}
			s.logger.WarnContext(ctx, "service not ready yet", "step", step.name, "err", err)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return nil
			}
		}
	}
	reach{s}.look(ctx)
	s.state.CompareAndSwap(starting, serving)
	s.once.Do(func() { close(s.up) })
	return nil
}

// firstCallers makes sure that somebody can call. Their ids are fixed, so that a token given in the
// environment replaces the one before it, and the old one is refused from then on.
func (s *Server) firstCallers(ctx context.Context) error {
	for _, first := range []struct {
		id, name, given string
		role            caller.Role
		made            *string
	}{
		{"first-administrator", "admin", s.cfg.AdminToken, caller.Administrator, &s.tokens.Admin},
		{"first-pep", "pep", s.cfg.PEPToken, caller.PEP, &s.tokens.PEP},
	} {
		made, err := s.callers.Ensure(ctx, first.id, first.name, first.role, first.given)
		switch {
		case errors.Is(err, authz.ErrConflict) && s.callers.Any(first.role):
			s.logger.WarnContext(ctx, "another replica set the first token at the same time: that one counts, give all replicas the same",
				"caller", first.id, "role", string(first.role))
		case err != nil:
			return err
		case made != "":
			*first.made = made
		}
	}
	return nil
}

// ready returns why the service cannot decide now; nothing if it can.
func (s *Server) ready(ctx context.Context) (problems []error) {
	if st := s.state.Load().(state); st != serving {
		problems = append(problems, errors.New(string(st)))
	}
	if err := s.follow.Fresh(); err != nil {
		problems = append(problems, fmt.Errorf("log: %w", err))
	}
	if s.log.Stats().Failing {
		problems = append(problems, errors.New("log: the newest entries could not be written"))
	}
	if err := s.keys.Check(); err != nil {
		problems = append(problems, fmt.Errorf("keys: %w", err))
	}
	if s.library.Active() == nil {
		problems = append(problems, errors.New("policies: none is published; use `safeconduct policy publish`, or start with a --config that names an organisation"))
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := s.db.Ping(ctx); err != nil {
		problems = append(problems, fmt.Errorf("store: %w", err))
	}
	return problems
}

// status tells the state of the service.
func (s *Server) status(ctx context.Context) (api.Status, error) {
	st := api.Status{
		Version:     s.version,
		Store:       s.db.Name(),
		UptimeS:     int64(time.Since(s.born).Seconds()),
		Agents:      s.agents.Len(),
		Head:        s.follow.Seq(),
		LogOrigin:   s.key.Origin(),
		LogVerifier: s.key.Public(),
		Reasons:     []string{},
		FailOpen:    []string{},
	}
	for _, err := range s.ready(ctx) {
		st.Reasons = append(st.Reasons, err.Error())
	}
	st.Ready = len(st.Reasons) == 0
	if set := s.library.Active(); set != nil {
		st.Policies = set.Version()
	}
	st.EnforcementPoints, st.Embedded, _ = s.points.Count()
	more := 0
	for _, p := range s.points.All() {
		if p.Stopped {
			continue
		}
		for _, r := range p.FailOpen {
			if len(st.FailOpen) == maxOpenRoutes {
				more++
				continue
			}
			st.FailOpen = append(st.FailOpen, p.Name()+" "+r.Name)
		}
	}
	if more > 0 {
		st.FailOpen = append(st.FailOpen, fmt.Sprintf("and %d more", more))
	}
	if cp := s.newestCheckpoint(ctx); cp != nil {
		st.Checkpoint = cp.Size
	}
	var err error
	if st.Indexed, err = s.db.IndexCursor(ctx); err != nil {
		st.Indexed = 0
	}
	return st, nil
}

// newestCheckpoint returns the newest signed checkpoint, nil if there is none or it cannot be read.
func (s *Server) newestCheckpoint(ctx context.Context) *audit.Checkpoint {
	note, err := s.db.Checkpoint(ctx)
	if err != nil {
		return nil
	}
	cp, err := audit.ParseCheckpoint(note, append(slices.Clone(s.former), s.key.Verifier())...)
	if err != nil {
		return nil
	}
	return cp
}

// gauges registers the numbers that are read when somebody asks for them.
func (s *Server) gauges() error {
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		gauge("safeconduct_log_applied", "Number of the newest log entry that this process has applied.", func() float64 {
			return float64(s.follow.Seq())
		}),
		gauge("safeconduct_fresh", "1 if what this process knows is recent enough to decide by.", func() float64 {
			if s.fresh() == nil {
				return 1
			}
			return 0
		}),
		gauge("safeconduct_policy_version", "Active version of the policies; 0 if there is none.", func() float64 {
			if set := s.library.Active(); set != nil {
				return float64(set.Version())
			}
			return 0
		}),
		gauge("safeconduct_agents", "Registered agents.", func() float64 { return float64(s.agents.Len()) }),
		gauge("safeconduct_agent_keys_due", "Keys of agents that expire within two weeks and have no successor.", func() float64 { return float64(s.agents.DueSoon()) }),
		gauge("safeconduct_monitor_seq", "Number of the newest log entry that the monitors have taken in.", func() float64 { return float64(s.monitor.Seq()) }),
		gauge("safeconduct_streams", "Streams of findings and trust that are open.", func() float64 {
			if door := s.door.Load(); door != nil {
				return float64(door.Streams())
			}
			return 0
		}),
		gauge("safeconduct_edge_feeds", "Feeds of decision points elsewhere that are open.", func() float64 {
			if door := s.door.Load(); door != nil {
				return float64(door.Feeds())
			}
			return 0
		}),
		gauge("safeconduct_edge_journals", "Journals of decision points elsewhere of which it is known how far they have come.", func() float64 {
			return float64(s.ledger.Journals())
		}),
		pointNumbers{s.points},
		&conductNumbers{s: s},
		s.asks,
		&deliveryNumbers{s.notifier},
		&logNumbers{s: s},
	} {
		if err := s.metrics.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// logNumbers are those of the log that need the store; a scrape reads them once.
type logNumbers struct{ s *Server }

var (
	headDesc = prometheus.NewDesc("safeconduct_log_head", "Number of the newest log entry in the store.", nil, nil)
	lagDesc  = prometheus.NewDesc("safeconduct_log_lag", "Log entries in the store that this process has not applied yet.", nil, nil)
	sizeDesc = prometheus.NewDesc("safeconduct_log_batches", "Batches in the store, which is the size of the Merkle tree.", nil, nil)
	cpDesc   = prometheus.NewDesc("safeconduct_checkpoint_batches", "Batches under the newest signed checkpoint.", nil, nil)
	idxDesc  = prometheus.NewDesc("safeconduct_log_indexed", "Number of the newest log entry that the search index holds.", nil, nil)
)

// Describe implements prometheus.Collector.
func (n *logNumbers) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{headDesc, lagDesc, sizeDesc, cpDesc, idxDesc} {
		c <- d
	}
}

// Collect implements prometheus.Collector. What cannot be read is left out.
func (n *logNumbers) Collect(c chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	put := func(d *prometheus.Desc, v int64) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	if head, err := n.s.db.Head(ctx); err == nil {
		put(headDesc, head.Entries)
		put(lagDesc, max(0, head.Entries-n.s.follow.Seq()))
		put(sizeDesc, head.Batches)
	}
	if cp := n.s.newestCheckpoint(ctx); cp != nil {
		put(cpDesc, cp.Size)
	}
	if seq, err := n.s.db.IndexCursor(ctx); err == nil {
		put(idxDesc, seq)
	}
}
