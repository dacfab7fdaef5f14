// Package server wires the service together: configuration, store, log, registries, policies, the
// decision point and its doors. It is the only place that knows everybody.
//
// A Server opens everything in New and starts nothing; Run serves until its context ends, and then
// stops in the order that loses nothing: no new connections, answers under way are finished, what
// was queued for the log is committed, and the database is closed last.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/activity"
	"github.com/safeconduct/safeconduct/internal/agent"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/approval"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/console"
	"github.com/safeconduct/safeconduct/internal/enforcement"
	"github.com/safeconduct/safeconduct/internal/figures"
	"github.com/safeconduct/safeconduct/internal/keyring"
	"github.com/safeconduct/safeconduct/internal/live"
	"github.com/safeconduct/safeconduct/internal/monitor"
	"github.com/safeconduct/safeconduct/internal/notify"
	"github.com/safeconduct/safeconduct/internal/oauth"
	"github.com/safeconduct/safeconduct/internal/pdp"
	"github.com/safeconduct/safeconduct/internal/people"
	"github.com/safeconduct/safeconduct/internal/policy"
	"github.com/safeconduct/safeconduct/internal/risk"
	"github.com/safeconduct/safeconduct/internal/signin"
	"github.com/safeconduct/safeconduct/internal/stop"
	"github.com/safeconduct/safeconduct/internal/store"
)

// Tokens are bearer tokens that were made at the first start. They can never be had again: show them.
type Tokens struct {
	Admin string // of the caller "admin"; "" if none was made
	PEP   string // of the caller "pep"; "" if none was made
}

// A Server is the service. Its exported methods may be called while it runs.
type Server struct {
	cfg     Config
	logger  *slog.Logger
	db      *store.DB
	key     *audit.Key
	former  []note.Verifier
	log     *audit.Log
	follow  *audit.Follower
	index   *audit.Index
	agents  *agent.Registry
	callers *caller.Registry
	risks   *risk.Book
	stops   *stop.Board
	library *policy.Library
	past    pastCatalogs
	geoip   *catalog.GeoIP
	keys    *keyring.Ring
	seal    *keyring.SealingKey
	tally   *pdp.Tally
	monitor *monitor.Monitor
	deeds   *activity.Book
	points  *enforcement.Points
	ledger  *enforcement.Ledger
	teller  *teller
	live    *live.Hub
	figures *figures.Figures
	census  cachedCensus
	pdp     *pdp.PDP
	oauth   *oauth.Server

	people   *people.Registry
	desk     *approval.Desk
	channels notify.Channels
	notifier *notify.Notifier
	asks     *askNumbers
	persons  *signin.Door
	console  *console.Console

	metrics *prometheus.Registry
	numbers *metrics
	version string

	door     atomic.Pointer[api.Server]
	listener net.Listener
	base     string // URL to reach the listener at
	tokens   Tokens
	born     time.Time
	up       chan struct{} // closed when the service can decide for the first time
	leaving  chan struct{} // closed when the service begins to stop
	once     sync.Once
	state    atomic.Value // of state
}

// A state says how far the service has come.
type state string

const (
	starting state = "starting: the log is being read and the organisation published"
	serving  state = ""
	stopping state = "stopping"
)

// New opens the store, the log and the listener of a valid Config. Version is what the service says
// it is. If it fails, everything is closed again.
func New(ctx context.Context, cfg Config, version string, logger *slog.Logger) (*Server, error) {
	cfg.fill()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, version: version, logger: logger, born: time.Now(), up: make(chan struct{}), leaving: make(chan struct{})}
	s.state.Store(starting)
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) (err error) {
	if err := os.MkdirAll(s.cfg.Data, 0o700); err != nil {
		return authz.Errorf(authz.ErrInvalid, "making the data directory: %w", err)
	}
	dbConfig := store.Config{Postgres: s.cfg.Postgres, Logger: s.logger}
	if s.cfg.Postgres == "" {
		dbConfig.SQLite = filepath.Join(s.cfg.Data, DatabaseFile)
	}
	if s.db, err = store.Open(ctx, dbConfig); err != nil {
		return err
	}
	if s.key, err = loadKey(ctx, s.cfg.Log, s.db); err != nil {
		return err
	}
	if s.former, err = verifiers(s.cfg.Log.FormerKeys); err != nil {
		return err
	}
	host, _ := os.Hostname()
	var logStore audit.Store = s.db
	if s.cfg.wrapLog != nil {
		logStore = s.cfg.wrapLog(s.db)
	}
	if s.log, err = audit.New(logStore, audit.Config{
		Key:             s.key,
		Former:          s.former,
		Writer:          host,
		Heartbeat:       s.cfg.Log.Heartbeat,
		CheckpointEvery: s.cfg.Log.CheckpointInterval,
		Now:             s.cfg.now,
		Logger:          s.logger,
	}); err != nil {
		return err
	}
	if s.cfg.Organisation.GeoIP != "" {
		if s.geoip, err = catalog.OpenGeoIP(s.cfg.Organisation.GeoIP); err != nil {
			return err
		}
	}
	if s.listener, err = net.Listen("tcp", s.cfg.Listen); err != nil {
		return authz.Errorf(authz.ErrUnavailable, "listening on %s: %w", s.cfg.Listen, err)
	}
	s.base = reachable(s.listener.Addr(), s.cfg.TLS.Cert != "")
	return s.wire(ctx)
}

// publicURL is the address under which others know the service.
func (s *Server) publicURL() string {
	if s.cfg.PublicURL != "" {
		return strings.TrimRight(s.cfg.PublicURL, "/")
	}
	return s.base
}

// DatabaseFile is the name of the SQLite database in the data directory.
const DatabaseFile = "safeconduct.db"

// A committer passes changes to a follower that is made later than those who need it.
type committer struct{ *audit.Follower }

// wire makes the registries, loads them, and puts the follower and the decision point over them.
func (s *Server) wire(ctx context.Context) error {
	commit := &committer{}
	s.library = policy.NewLibrary(policy.LibraryConfig{Store: s.db, Log: commit, Catalog: catalog.Options{GeoIP: s.geoip}, Keeps: s.keepsStops})
	s.agents = agent.NewRegistry(agent.Config{Store: s.db, Log: commit, Known: s.declares,
		KeyLifetime: s.cfg.OAuth.KeyLifetime, Overlap: s.cfg.OAuth.KeyOverlap, Now: s.cfg.now, Logger: s.logger})
	s.callers = caller.NewRegistry(s.db, commit)
	s.risks = risk.NewBook(risk.Config{Store: s.db, Log: commit, Weights: s.weights, Now: s.cfg.now})

	s.stops = stop.NewBoard(stop.Config{Store: s.db, Log: commit, Two: s.cfg.Stops.SecondPerson, Now: s.cfg.now})

	s.monitor = monitor.New(monitor.Config{Store: s.db, Log: commit, Catalog: s.catalogOf, Now: s.cfg.now, Logger: s.logger})
	s.deeds = activity.New(activity.Config{Store: s.db, Logger: s.logger})
	s.points, s.ledger, s.teller = enforcement.NewPoints(s.db), enforcement.NewLedger(s.db), newTeller(s)
	s.tally = &pdp.Tally{Known: func(id authz.AgentID) bool { _, err := s.agents.Agent(id); return err == nil }}
	s.pdp = &pdp.PDP{Agents: s.agents, Policies: s.library, Risks: s.risks, Conduct: s.monitor, Stops: s.stops, Log: s.log, Fresh: s.fresh, Now: s.cfg.now}
	var err error
	if s.keys, err = s.newKeyring(ctx, commit); err != nil {
		return err
	}
	if err := s.newAsking(commit); err != nil {
		return err
	}
	s.pdp.Approvals = s.desk
	if s.oauth, err = s.newOAuth(commit); err != nil {
		return err
	}

	// The cursor first: whatever is loaded after it is at least as new.
	after, err := s.db.Applied(ctx)
	if err != nil {
		return fmt.Errorf("reading how far the log was applied: %w", err)
	}
	for _, load := range []func(context.Context) error{s.library.Load, s.agents.Load, s.callers.Load, s.risks.Load, s.stops.Load, s.keys.Load, s.people.Load, s.desk.Load, s.points.Load, s.ledger.Load, s.monitor.Load} {
		if err := load(ctx); err != nil {
			return err
		}
	}
	// What the monitor kept may be older than the tables, or gone: then it begins at the beginning.
	// To the others entries that they have applied before are nothing new.
	after = min(after, s.monitor.Seq())
	s.live = live.NewHub(live.Config{Asks: s.desk, Signals: s.monitor}, after)
	s.follow = audit.NewFollower(s.log, audit.FollowerConfig{
		Appliers: []audit.Applier{s.library, reach{s}, s.agents, s.callers, s.risks, s.stops, s.keys, s.people, s.desk, s.asks, s.notifier, s.oauth, s.points, s.ledger,
			countedTally{s.tally, s.ledger}, s.monitor, s.teller},
		After:  after,
		Stale:  s.cfg.Log.MaxAge,
		Watch:  s.live.Watch,
		Logger: s.logger,
	})
	commit.Follower = s.follow
	s.figures = figures.New(figures.Config{Store: s.db, Log: s.log, Wait: s.follow.Wait, Asks: s.desk, Catalog: s.catalogOf, Now: s.cfg.now, Logger: s.logger})
	s.index = audit.NewIndex(s.log, s.db)

	s.metrics = prometheus.NewRegistry()
	if s.numbers, err = newMetrics(s.metrics); err != nil {
		return fmt.Errorf("preparing metrics: %w", err)
	}
	return s.gauges()
}

// declares reports whether the active catalog has a capability. Before there is one, any may be granted.
func (s *Server) declares(capability string) bool {
	set := s.library.Active()
	if set == nil {
		return true
	}
	_, ok := set.Catalog().Capability(capability)
	return ok
}

// keepsStops returns why a catalog cannot be published: it does not declare what is stopped.
func (s *Server) keepsStops(c *catalog.Catalog) error {
	return s.stops.Declared(func(capability string) bool { _, ok := c.Capability(capability); return ok })
}

// weights returns what the active catalog says of risk.
func (s *Server) weights() *catalog.Weights {
	if set := s.library.Active(); set != nil {
		return set.Catalog().Weights()
	}
	return nil
}

// fresh returns why no decision can be made now, if so.
func (s *Server) fresh() error {
	if st := s.state.Load().(state); st == starting {
		return authz.Errorf(authz.ErrUnavailable, "%s", string(st))
	}
	return s.follow.Fresh()
}

// Addr returns the address that the service listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// URL returns a URL at which the service can be reached from this machine.
func (s *Server) URL() string { return s.base }

// Up returns a channel that is closed once the service can decide for the first time; Tokens says
// the truth from then on.
func (s *Server) Up() <-chan struct{} { return s.up }

// Tokens returns the tokens that were made at this start. Call it after Up.
func (s *Server) Tokens() Tokens { return s.tokens }

// Key returns the text form of the key that verifies the log's checkpoints.
func (s *Server) Key() string { return s.key.Public() }

// close closes what open opened, the database last.
func (s *Server) close() error {
	var errs []error
	if s.listener != nil {
		if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.keys != nil {
		errs = append(errs, s.keys.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.geoip != nil {
		errs = append(errs, s.geoip.Close())
	}
	return errors.Join(errs...)
}

// drain is how long answers under way may take when the service stops.
const drain = 15 * time.Second

// Run serves until ctx ends, then stops and closes everything. It returns nil if it stopped because
// ctx ended. A Server runs once.
func (s *Server) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.close()) }()

	handler, shutdownTraces, err := s.handler(ctx)
	if err != nil {
		return err
	}
	httpServer := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	if s.cfg.TLS.Cert != "" {
		cert, err := tls.LoadX509KeyPair(s.cfg.TLS.Cert, s.cfg.TLS.Key)
		if err != nil {
			return authz.Errorf(authz.ErrInvalid, "loading the certificate: %w", err)
		}
		httpServer.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: tls12Suites, Certificates: []tls.Certificate{cert}}
		if s.cfg.TLS.ClientCertificates { // who it is that shows one is for the authorization server to say
			httpServer.TLSConfig.ClientAuth = tls.RequestClientCert
		}
	}

	// The log and those who follow it outlive the doors: their context ends after the doors' work.
	spineCtx, stopSpine := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSpine()
	spine, spineCtx := errgroup.WithContext(spineCtx)
	spine.Go(func() error { return s.log.Run(spineCtx) })
	spine.Go(func() error { return s.follow.Run(spineCtx) })
	spine.Go(func() error { return s.index.Run(spineCtx) })
	spine.Go(func() error { s.remember(spineCtx); return nil })
	spine.Go(func() error { return s.keys.Run(spineCtx) })
	spine.Go(func() error { return s.agents.Run(spineCtx) })
	spine.Go(func() error { return s.desk.Run(spineCtx) })
	spine.Go(func() error { return s.notifier.Run(spineCtx) })
	spine.Go(func() error { return s.oauth.Run(spineCtx) })
	spine.Go(func() error { return s.monitor.Run(spineCtx) })
	spine.Go(func() error { return s.deeds.Run(spineCtx, s.log) })
	spine.Go(func() error { s.countSignals(spineCtx); return nil })
	spine.Go(func() error {
		return s.ledger.Run(spineCtx, func(err error) { s.logger.WarnContext(spineCtx, "journals of decision points not kept", "err", err) })
	})
	spine.Go(func() error { s.teller.Run(spineCtx); return nil })
	spine.Go(func() error { s.live.Run(spineCtx); return nil })
	spine.Go(func() error { return s.figures.Run(spineCtx) })

	doors, doorsCtx := errgroup.WithContext(ctx)
	doors.Go(func() error {
		var err error
		if httpServer.TLSConfig != nil {
			err = httpServer.ServeTLS(s.listener, "", "")
		} else {
			err = httpServer.Serve(s.listener)
		}
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("serving: %w", err)
	})
	doors.Go(func() error { return s.begin(doorsCtx) })
	doors.Go(func() error { // a damaged log, or the end
		select {
		case <-spineCtx.Done():
			return context.Cause(spineCtx)
		case <-doorsCtx.Done():
			return nil
		}
	})
	doors.Go(func() error {
		<-doorsCtx.Done()
		s.state.Store(stopping)
		close(s.leaving)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		if err := httpServer.Shutdown(end); err != nil {
			s.logger.Warn("answers under way were cut off", "err", err)
			return httpServer.Close()
		}
		return nil
	})
	err = doors.Wait()
	if spineCtx.Err() == nil {
		s.farewell(context.WithoutCancel(ctx))
	}
	stopSpine()
	if spineErr := spine.Wait(); spineErr != nil && !errors.Is(err, spineErr) {
		err = errors.Join(err, spineErr)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, shutdownTraces())
}

// tls12Suites are those that RFC 9325, section 4.2, recommends for TLS 1.2, and FAPI 2.0 allows: forward
// secrecy and authenticated encryption. Those of TLS 1.3 cannot be chosen.
var tls12Suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
}

// farewell records that the service stops, if that can be done soon.
func (s *Server) farewell(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if _, err := s.log.Record(ctx, audit.Draft{Kind: audit.ServiceStopping, Actor: "safeconduct", Body: s.introduction()}); err != nil {
		s.logger.WarnContext(ctx, "end of service not recorded", "err", err)
	}
}

// handler returns what answers requests.
func (s *Server) handler(ctx context.Context) (http.Handler, func() error, error) {
	door, err := api.New(api.Config{
		PublicURL:   s.publicURL(),
		PDP:         s.pdp,
		Passports:   s.oauth,
		Callers:     s.callers,
		Agents:      s.agents,
		Policies:    s.library,
		Risks:       s.risks,
		Stops:       s.stops,
		Log:         s.log,
		Index:       s.index,
		Keys:        s.keys,
		Conduct:     s.monitor,
		Activity:    s.deeds,
		Entries:     s.log,
		Outcomes:    outcomes{s.monitor, s.numbers},
		Signals:     s.monitor,
		Live:        s.live,
		Approvals:   s.desk,
		Requests:    s.requests(),
		Door:        s.persons,
		Persons:     s.people,
		People:      s.people,
		Deliveries:  s.notifier,
		Edge:        &edgeDoor{s.ledger, s.oauth, s},
		Enforcement: enforcementDoor{s},
		Stopping:    s.leaving,
		Tiles:       audit.TileHandler(s.log),
		Key:         api.VerifierKey{Origin: s.key.Origin(), Key: s.key.Public()},
		Ready:       s.ready,
		Figures:     s.figures,
		OverviewOf:  s.overview,
		StatusOf:    s.status,
		Metrics:     s.numbers,
		MetricsPage: s.numbers.handler(),
		Limits:      s.cfg.Limits,
		Catalog:     catalog.Options{GeoIP: s.geoip},
		Logger:      s.logger,
		Now:         s.cfg.now,
	})
	if err != nil {
		return nil, nil, err
	}
	s.door.Store(door)
	if err := s.newConsole(); err != nil {
		return nil, nil, err
	}
	h, err := door.Handler()
	if err != nil {
		return nil, nil, err
	}
	return traced(ctx, s.cfg.Telemetry, s.version, s.besideOAuth(s.besidePersons(s.besideConsole(h))))
}

// reachable returns the URL of a listener from this machine.
func reachable(addr net.Addr, secure bool) string {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return scheme + "://" + addr.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}
