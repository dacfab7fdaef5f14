// Package api is the service's door: the AuthZEN Authorization API 1.0 for enforcement points, with its
// profiles for obligations and for access requests; the administration API for people and programs; the
// inbox of those who answer; and what operators and auditors read.
//
// Every request is bounded in size, depth and time, authenticated by a bearer token (but for the
// public routes: health, metrics, metadata, the log's checkpoints and tiles), and answered with its
// X-Request-ID. What a caller says stays [authz.Claimed]; only an enforcement point may add what it
// observed. An error is never a permission: the evaluation routes say decision:false with every
// error.
//
// All routes are in one list (routes.go), from which the OpenAPI document is made too. The package
// decides nothing: it calls the interfaces that it declares.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/catalog"
	"github.com/safeconduct/safeconduct/internal/live"
)

// A PDP decides and searches. *pdp.PDP is one.
type PDP interface {
	Decider
	Searcher
}

// Authenticator knows the callers. *caller.Registry is one.
type Authenticator interface {
	// Authenticate returns the caller who holds the token, or authz.ErrUnauthenticated.
	Authenticate(token string) (*caller.Caller, error)
}

// A Config is what a Server needs. All fields are needed unless their comment says otherwise.
type Config struct {
	// PublicURL is the address under which enforcement points know the service: absolute, without
	// query and fragment, https unless on loopback. The metadata is made of it and of nothing that
	// a request says. If it has a path, the routes are served below the path as well.
	PublicURL string

	PDP     PDP
	Callers interface {
		Authenticator
		CallerAdmin
	}

	Agents interface {
		AgentAdmin
		Fleet
	}
	Policies PolicyAdmin
	Risks    RiskAdmin
	Stops    StopAdmin
	Keys     KeyAdmin
	Log      LogReader
	Index    Finder
	Conduct  interface {
		ConductAdmin
		ConductReader
	}
	Signals Signals
	// Live tells what happens while it happens. If it is nil, only Signals do.
	Live *live.Hub

	// Approvals is the desk where persons are asked. If it is nil, nobody can be.
	Approvals interface {
		AskReader
		AskAnswerer
		AskKeeper
	}
	// Door knows the persons who are signed in. If it is nil, they call by tokens only, and without passkeys.
	Door Door
	// Persons knows who the tokens of the role approver are for. If it is nil, none of them counts.
	Persons Persons
	// People looks after the persons who answer. If it is nil, there are none.
	People PeopleAdmin

	// Deliveries knows what was told of asks. If it is nil, nobody is told.
	Deliveries DeliveryAdmin

	// Stopping is closed when the service stops, so that streams end: http.Server.Shutdown waits for
	// them. If it is nil, they go on until their callers end them.
	Stopping <-chan struct{}

	// Requests takes access requests. If it is nil, no refusal can be asked about.
	Requests *Requests

	// Activity knows what agents did. If it is nil, nobody does.
	Activity Activity
	// Entries reads what Activity names. It is needed with it.
	Entries Picker

	// Outcomes takes in what came of decisions. If it is nil, nobody does.
	Outcomes Outcomes

	// Passports verifies the tokens of agents. If it is nil, none are accepted.
	Passports Passports

	// Edge is what decision points elsewhere are told and tell. If it is nil, there are none.
	Edge Edge
	// Enforcement knows what enforcement points say of themselves. If it is nil, they say it to nobody.
	Enforcement Enforcement

	// Catalog is how catalogs are parsed.
	Catalog catalog.Options

	// Tiles serves /checkpoint and /tile/. It is *audit.Log's handler.
	Tiles http.Handler
	// Key verifies what Tiles serves.
	Key VerifierKey

	// Ready returns nothing if the service can decide, else why not, for the operator.
	Ready func(context.Context) []error
	// Figures are numbers of what happened. If it is nil, nobody counts.
	Figures Figures
	// OverviewOf tells what one should see first. If it is nil, nobody knows.
	OverviewOf func(context.Context) (Overview, error)
	// StatusOf tells the state of the service.
	StatusOf func(context.Context) (Status, error)

	Metrics Metrics
	// MetricsPage serves the numbers at /metrics.
	MetricsPage http.Handler

	Limits Limits // optional
	Logger *slog.Logger
	Now    func() time.Time
}

// A Server answers HTTP requests. It is safe for concurrent use.
type Server struct {
	Config
	limits   Limits
	metadata []byte
	base     string // path of PublicURL, without a slash at its end
	failures allowance
	openapi  []byte
	open     atomic.Int64 // streams
	previews atomic.Int64 // under way
	feeds    openFeeds
	uploads  uploads
	joined   joinedKeys    // access requests
	drafting chan struct{} // has an element for each draft that is worked on
}

// New returns a server, or authz.ErrInvalid if PublicURL cannot be used.
func New(c Config) (*Server, error) {
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, authz.Errorf(authz.ErrInvalid, "public_url %q must be an absolute https URL without query or fragment", c.PublicURL)
	}
	if q := c.Requests; q != nil && (q.Signer == nil) != (q.KeySet == "") {
		return nil, authz.Errorf(authz.ErrInvalid, "what signs binding tokens, and the address of the keys that verify them, go together")
	}
	s := &Server{Config: c, limits: c.Limits.withDefaults(), base: strings.TrimRight(u.Path, "/"), drafting: make(chan struct{}, maxDrafting)}
	if s.metadata, err = makeMetadata(strings.TrimRight(c.PublicURL, "/"), c.Requests); err != nil {
		return nil, err
	}
	return s, nil
}

// Handler returns the handler of all routes.
func (s *Server) Handler() (http.Handler, error) {
	mux := http.NewServeMux()
	routes := s.routes()
	var err error
	if s.openapi, err = document(routes, s.PublicURL); err != nil {
		return nil, err
	}
	for i := range routes {
		rt := &routes[i]
		mux.HandleFunc(rt.method+" "+rt.path, s.handler(rt))
	}
	nothing := route{method: "*", path: "unknown", serve: func(http.ResponseWriter, *http.Request, *call) error {
		return authz.Errorf(authz.ErrNotFound, "there is nothing here; see /openapi.json")
	}}
	mux.HandleFunc("/", s.handler(&nothing))
	if s.base == "" {
		return mux, nil
	}
	// RFC 8615: the well-known part comes before the path of the identifier.
	wellKnown := route{method: "GET", path: wellKnownPath + s.base, serve: s.serveMetadata}
	mux.HandleFunc("GET "+wellKnownPath+s.base, s.handler(&wellKnown))
	below := http.StripPrefix(s.base, mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, s.base+"/") {
			below.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}), nil
}
