package edge

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/client"
)

// Config is what a Point needs. URL, Token and Journal must be set.
type Config struct {
	// URL is the control plane's, and Token one of the role edge.
	URL, Token string
	// Journal is a directory for this Point alone; it is made if it is not there.
	Journal string
	// MaxStale is how long it decides without having heard of the control plane: a minute by default. What has
	// changed there meanwhile, a suspended agent or a new policy, has no effect here for that long.
	MaxStale time.Duration
	// MaxPending is how many bytes of the journal may wait for the control plane: 256 MiB by default. With more it
	// refuses.
	MaxPending int64
	Logger     *slog.Logger     // of nothing by default
	Now        func() time.Time // time.Now by default
	HTTP       *http.Client     // like the default of client.Client by default
}

// A Point is a decision point in this process. It is a client.Decider, and safe for concurrent use.
type Point struct {
	cfg   Config
	ready chan struct{}
}

var _ client.Decider = (*Point)(nil)

// A Status says how a Point is.
type Status struct {
	Ready      bool          // whether it has had a complete picture since it runs
	Age        time.Duration // since the control plane was heard of last; 0 if it never was
	Seq        int64         // entry of the log up to which everything is known
	Version    int64         // of policies; 0 if there is none
	Agents     int           // that are known
	Pending    int64         // records that the control plane has not acknowledged
	PendingMem int64         // bytes of them
	Oldest     time.Time     // of the oldest of them; zero if there is none
	Err        error         // why it refuses; nil if it decides
}

// New returns a Point. It decides nothing before Run has been told everything.
func New(cfg Config) (*Point, error) {
	return &Point{cfg: cfg, ready: make(chan struct{})}, nil
}

// Run follows the control plane, and sends it what was decided, until ctx ends.
func (p *Point) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Ready is closed once the Point can decide for the first time.
func (p *Point) Ready() <-chan struct{} { return p.ready }

// Status says how p is.
func (p *Point) Status() Status { return Status{} }

// Answer answers as client.Decider says.
func (p *Point) Answer(ctx context.Context, q *client.Question) ([]*client.Answer, error) {
	err := authz.Errorf(authz.ErrUnavailable, "the decision point knows nothing yet")
	out := make([]*client.Answer, len(q.Requests))
	for i := range out {
		out[i] = new(client.Answer)
		out[i].Refuse(authz.CodeUnavailable, "No decision can be made at present. Try again later.")
	}
	return out, err
}

// Outcome reports what came of a decision, as client.Decider says.
func (p *Point) Outcome(ctx context.Context, id string, o client.Outcome) error {
	return authz.Errorf(authz.ErrUnavailable, "the decision point knows nothing yet")
}
