package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/pdp"
)

// Config is what a Point needs. URL, Token and Journal must be set.
type Config struct {
	// URL is the control plane's, and Token one of the role edge.
	URL, Token string
	// Journal is a directory for this Point alone; it is made if it is not there. It belongs on a disk that outlives
	// the process: what was decided and not sent yet is there and nowhere else.
	Journal string
	// MaxStale is how long it decides without having heard of the control plane: a minute by default. What has
	// changed there meanwhile, a suspended agent or a new policy, has no effect here for that long.
	MaxStale time.Duration
	// MaxPending is how many bytes of the journal may wait for the control plane: 256 MiB by default, and never less
	// than 1 MiB. With more it refuses.
	MaxPending int64
	// Obligations lists the types of obligation that can be met here, unless a question says something else; nil says
	// nothing. See client.Client.
	Obligations []string
	// GeoIP is a MaxMind DB file that has countries, the control plane's own if it has one. Without it questions are
	// sent to the control plane as soon as a policy reads a country.
	GeoIP string

	Logger *slog.Logger     // nowhere by default
	Now    func() time.Time // time.Now by default
	HTTP   *http.Client     // does the requests: by default it follows no redirect, and gives one 10 seconds
}

// A Point is a decision point in this process. It is a client.Decider, and safe for concurrent use.
type Point struct {
	cfg     Config
	remote  *client.Client
	service service
	stream  service // without a deadline
	own     bool    // whether cfg.HTTP is ours
	geoip   *catalog.GeoIP
	open    func(string) (file, error) // of the journal's files

	began     atomic.Bool
	ready     chan struct{}
	once      sync.Once // closes ready
	picture   atomic.Pointer[picture]
	journal   atomic.Pointer[journal]
	connected atomic.Bool
	trouble   troubles
	passports passports
}

var _ client.Decider = (*Point)(nil)

// heard is when the control plane was heard of last.
type heard struct {
	at  time.Time // by our clock, less what the word took to come here longer than others of its feed
	seq int64
}

// New returns a Point. It decides nothing before Run has been told everything. authz.ErrInvalid: the Config is wrong.
func New(cfg Config) (*Point, error) {
	remote, err := client.New(cfg.URL, cfg.Token)
	if err != nil {
		return nil, err
	}
	switch {
	case cfg.Token == "":
		return nil, authz.Errorf(authz.ErrInvalid, "the token of the decision point is missing: `safeconduct caller create --role edge` makes one")
	case cfg.Journal == "":
		return nil, authz.Errorf(authz.ErrInvalid, "the directory of the journal is missing")
	case cfg.MaxStale < 0 || cfg.MaxPending < 0:
		return nil, authz.Errorf(authz.ErrInvalid, "how old and how much may be cannot be less than nothing")
	}
	if cfg.MaxStale == 0 {
		cfg.MaxStale = time.Minute
	}
	if cfg.MaxPending == 0 {
		cfg.MaxPending = 256 << 20
	}
	cfg.MaxPending = max(cfg.MaxPending, 1<<20)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	own := cfg.HTTP == nil
	if own {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = 64
		cfg.HTTP = &http.Client{
			Transport: transport, Timeout: 10 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	remote.HTTP, remote.Attempts, remote.Obligations = cfg.HTTP, 1, cfg.Obligations
	endless := *cfg.HTTP
	endless.Timeout = 0
	p := &Point{
		cfg: cfg, own: own, remote: remote, ready: make(chan struct{}),
		service: service{remote.URL(), cfg.Token, cfg.HTTP}, stream: service{remote.URL(), cfg.Token, &endless},
	}
	if cfg.GeoIP != "" {
		if p.geoip, err = catalog.OpenGeoIP(cfg.GeoIP); err != nil {
			return nil, err
		}
	}
	p.passports.init()
	return p, nil
}

// Ready is closed once the Point can decide for the first time, which it never is if Run returns before. Until then
// everything is refused.
func (p *Point) Ready() <-chan struct{} { return p.ready }

// Run follows the control plane, and sends it what was decided, until ctx ends; then it tries once more to send
// what is left, for a few seconds. It is called once. It returns nil when ctx ends, authz.ErrConflict if another process has
// the journal, authz.ErrInvalid if the journal is damaged, and no error for a control plane that is gone:
// that is tried again for ever.
func (p *Point) Run(ctx context.Context) error {
	if p.began.Swap(true) {
		return authz.Errorf(authz.ErrConflict, "the decision point was run before")
	}
	j, err := openJournal(p.cfg.Journal, p.cfg.MaxPending, p.open, p.cfg.Logger.Warn)
	if err != nil {
		return err
	}
	if j.used {
		p.passports.proofs.begin(p.cfg.Now())
	}
	p.journal.Store(j)
	var all sync.WaitGroup
	all.Go(func() { p.follow(ctx) })
	all.Go(func() { p.upload(ctx) })
	all.Go(func() { p.syncing(ctx) })
	all.Wait()
	if p.own {
		p.cfg.HTTP.CloseIdleConnections()
	}
	return j.close() // a GeoIP file stays mapped: an answer may still be reading it
}

// syncing tells the disk from time to time to keep the journal.
func (p *Point) syncing(ctx context.Context) {
	j := p.journal.Load()
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.say(ctx, &p.trouble.disk, "journal not synced to disk", errors.Join(j.writeLater(ctx), j.sync()))
		}
	}
}

// newPicture returns an empty picture by which can be decided.
func (p *Point) newPicture() *picture {
	v := newPicture(p.cfg.Now)
	v.pdp = &pdp.PDP{Agents: v, Policies: v, Risks: v, Conduct: v, Stops: v.stops, Log: noLog{}, Fresh: func() error { return p.fresh(v) }, Now: p.cfg.Now}
	return v
}

// noLog records nothing: what is judged here is recorded by the journal.
type noLog struct{}

func (noLog) Record(context.Context, ...audit.Draft) (int64, error) {
	return 0, authz.Errorf(authz.ErrUnavailable, "nothing is recorded here")
}

// fresh returns authz.ErrUnavailable, and what an operator should do, if too little is known to decide by a picture: it is told
// nothing more once its feed has ended, and another feed's heads do not make it any newer.
func (p *Point) fresh(pic *picture) error {
	h := pic.heard.Load()
	if h == nil {
		return p.unknown()
	}
	if age := age(h.at, p.cfg.Now()); age > p.cfg.MaxStale {
		return authz.Errorf(authz.ErrUnavailable, "nothing was heard of the control plane %s for %v, and no more than %v may pass: %s",
			p.remote.URL(), age.Round(time.Millisecond), p.cfg.MaxStale, p.trouble.feed.why("see whether it runs, and whether the network lets it be reached"))
	}
	return nil
}

func (p *Point) unknown() error {
	return authz.Errorf(authz.ErrUnavailable, "the control plane %s has not told yet what to decide by: %s",
		p.remote.URL(), p.trouble.feed.why("it is being asked"))
}

// age returns how long ago something was, by whichever clock says more: the monotonic one stands still while the machine sleeps,
// and the other one may be set back.
func age(at, now time.Time) time.Duration {
	return max(now.Sub(at), now.Round(0).Sub(at.Round(0)))
}

// A Status says how a Point is.
type Status struct {
	Ready     bool      // whether it has been told everything since it runs
	Connected bool      // whether the control plane is being heard
	Heard     time.Time // when it was heard of last; zero if it never was
	Seq       int64     // entry of the log up to which everything is known
	Version   int64     // of policies; 0 if there is none
	Agents    int       // how many are known
	// Remote says why every question goes to the control plane; "" if they are answered here.
	Remote string
	// Pending is how many records the control plane has not acknowledged, and PendingBytes how large they are.
	Pending, PendingBytes int64
	Oldest                time.Time // when the oldest of them was written, roughly; zero if there is none
	Err                   error     // why it refuses; nil if it decides
	Feed, Upload          error     // what went wrong there last; nil if all is well
}

// Status says how p is.
func (p *Point) Status() Status {
	s := Status{Connected: p.connected.Load(), Feed: p.trouble.feed.last(), Upload: p.trouble.upload.last()}
	select {
	case <-p.ready:
		s.Ready = true
	default:
	}
	s.Err = p.unknown()
	if v := p.picture.Load(); v != nil {
		if h := v.heard.Load(); h != nil {
			s.Heard, s.Seq = h.at, h.seq
		}
		s.Err = p.fresh(v)
		s.Agents = v.count()
		if ps := v.set.Load(); ps != nil {
			s.Version, s.Remote = ps.set.Version(), ps.remote
		} else if s.Err == nil {
			s.Err = authz.Errorf(authz.ErrUnavailable, "no policy is published: publish one with `safeconduct policy publish`")
		}
	}
	if j := p.journal.Load(); j != nil {
		var err error
		s.Pending, s.PendingBytes, s.Oldest, err = j.state()
		if s.Err == nil {
			s.Err = err
		}
	}
	return s
}

// troubles are what goes wrong in the background.
type troubles struct{ feed, upload, disk trouble }

// A trouble is what went wrong last, nil if nothing does.
type trouble struct {
	mu     sync.Mutex
	err    error
	logged time.Time
}

func (t *trouble) last() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// why returns what went wrong, or what to do if that is not known.
func (t *trouble) why(otherwise string) string {
	if err := t.last(); err != nil {
		return err.Error()
	}
	return otherwise
}

// say notes what went wrong, or that nothing does any more, and logs it: what is new at once, the same once a minute.
func (p *Point) say(ctx context.Context, t *trouble, msg string, err error) {
	if ctx.Err() != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.err
	t.err = err
	switch {
	case err == nil && was != nil:
		p.cfg.Logger.InfoContext(ctx, "no longer: "+msg, "service", p.remote.URL())
	case err == nil:
	case was == nil, was.Error() != err.Error() && age(t.logged, p.cfg.Now()) > time.Second, age(t.logged, p.cfg.Now()) > time.Minute:
		t.logged = p.cfg.Now()
		level := slog.LevelWarn
		if !errors.Is(err, authz.ErrUnavailable) {
			level = slog.LevelError // it will not pass by itself
		}
		p.cfg.Logger.Log(ctx, level, msg, "service", p.remote.URL(), "err", err)
	}
}

// pause waits for a while, longer after each failure, up to most. It reports false if ctx ends.
func pause(ctx context.Context, failures int, most time.Duration) bool {
	d := min(most, 100*time.Millisecond<<min(failures, 10))
	timer := time.NewTimer(d/2 + time.Duration(randomN(int64(d/2)+1)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// wrap says what was being done.
func wrap(doing string, err error) error { return fmt.Errorf("%s: %w", doing, err) }
