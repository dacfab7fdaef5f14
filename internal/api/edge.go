package api

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/audit"
	"github.com/safeconduct/safeconduct/internal/caller"
	"github.com/safeconduct/safeconduct/internal/feed"
	"github.com/safeconduct/safeconduct/internal/token"
)

// Edge is the control plane of decision points elsewhere: what they are told, and how far their journals are recorded.
type Edge interface {
	// Feed tells everything that is decided by, and then what changes, until ctx ends or send fails; see package feed. A
	// send without a name keeps the connection alive. It returns authz.ErrUnavailable before it sends anything if the
	// service knows too little to be decided by.
	Feed(ctx context.Context, start feed.Start, send func(name string, seq int64, data any) error) error

	// Last returns the number of the newest record of a journal of an actor that is in the log, 0 if there is none.
	Last(actor, journal string) int64
	// Seq returns the number of the entry of a record, 0 if it is in none or that is not known any more.
	Seq(actor, journal string, number int64) int64
	// CatchUp waits until everything is applied that is in the log now.
	CatchUp(ctx context.Context) error
	// CommitAll records drafts as entries that follow one another, all or nothing, waits until they are applied, and returns
	// what the log's followers say against the first that does not count.
	CommitAll(ctx context.Context, drafts ...audit.Draft) (int64, error)

	// Bearer returns who holds a token that counts for an audience, and how it is bound. authz.ErrUnauthenticated: it does not count.
	Bearer(token, audience string) (authz.Bearer, token.Confirmation, error)
}

var errNoEdge = authz.Errorf(authz.ErrUnavailable, "this service tells nobody what it decides by")

// feedRoute is the route of the feed. Its answer goes on until the caller or the service ends it.
func (s *Server) feedRoute() route {
	rt := route{
		method: "GET", path: "/v1/edge/feed", roles: edges, lasts: true, summary: "Follow what is decided by: server-sent events for decision points elsewhere",
		doc: operationDoc{media: "text/event-stream", params: parameters(reflect.TypeFor[none]())},
	}
	rt.serve = func(w http.ResponseWriter, r *http.Request, c *call) error {
		if err := decode(r, c, nil, &none{}); err != nil {
			return err
		}
		if s.Edge == nil {
			return errNoEdge
		}
		again := func() bool { return s.admit(nil, r, &rt, &call{id: c.id}) == nil }
		return s.feed(w, r, c, again)
	}
	return rt
}

// Feeds returns how many feeds are open.
func (s *Server) Feeds() int { return s.feeds.count() }

var errGone = errors.New("the reader is gone, or may read no longer")

// feed writes events until the caller goes, is too slow or, says admitted, may read no longer, or until the
// service stops.
func (s *Server) feed(w http.ResponseWriter, r *http.Request, c *call, admitted func() bool) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if s.Stopping != nil {
		go func() {
			select {
			case <-s.Stopping:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	out := eventWriter{w: w, control: http.NewResponseController(w)}
	leave, err := s.feeds.join(c.who.ID, s.limits.Feeds, s.limits.FeedsEach, func() {
		cancel()
		_ = out.control.SetWriteDeadline(s.Now()) // who does not read must not keep it
	})
	if err != nil {
		return err
	}
	defer leave()
	if err := out.control.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	c.answered = s.Now()
	told := false
	send := func(name string, seq int64, data any) error {
		if ctx.Err() != nil || !admitted() {
			return errGone
		}
		text := []byte(":\n\n")
		if name != "" {
			var err error
			if text, err = event(name, seq, data); err != nil {
				s.Logger.ErrorContext(ctx, "event not told", "event", name, "entry", seq, "request_id", c.id, "err", err)
				return err
			}
		}
		if !told {
			told = true
			h := w.Header()
			h.Set("Content-Type", "text/event-stream")
			h.Set("X-Accel-Buffering", "no")
			if r.Method == http.MethodHead {
				return errGone
			}
			text = append([]byte("retry: 1000\n"), text...)
		}
		return out.write(text)
	}
	err = s.Edge.Feed(ctx, feed.Start{Service: s.PublicURL, Name: c.who.Point(), Limits: feed.Limits{Object: s.limits.Object, Depth: s.limits.Depth}}, send)
	if !told {
		return err
	}
	return nil // whoever is still there comes back
}

type edgeVersion struct {
	Version int64 `path:"version" json:"-" doc:"of the policies, as the feed tells it"`
}

func (s *Server) readEdgePolicies(r *http.Request, _ *caller.Identity, in edgeVersion) (v feed.Version, err error) {
	t, err := s.Policies.Version(r.Context(), in.Version)
	if err != nil {
		return v, err
	}
	v = feed.Version{Version: t.Number, Digest: feed.Digest(t.SourceDigest, t.CatalogDigest), Policies: []feed.File{}, Schema: t.Source.Schema, Catalog: t.Catalog}
	for _, f := range t.Source.Files {
		v.Policies = append(v.Policies, feed.File{Name: f.Name, Text: f.Text})
	}
	return v, nil
}

type lookAtPassport struct {
	Token    string `json:"token" doc:"the passport; its proof of possession is not needed, and not looked at"`
	Audience string `json:"audience" doc:"who must be among the token's audiences"`
}

// lookAtPassport says whose a token is. One that does not count is no error: the caller's own token is in order.
func (s *Server) lookAtPassport(r *http.Request, _ *caller.Identity, in lookAtPassport) (b feed.Bearer, err error) {
	switch {
	case s.Edge == nil:
		return b, errNoEdge
	case in.Token == "" || in.Audience == "":
		return b, invalid("token and audience are needed")
	case len(in.Token) > maxPassport || len(in.Audience) > maxAudience:
		return b, invalid("token has up to %d bytes, audience up to %d", maxPassport, maxAudience)
	}
	who, bound, err := s.Edge.Bearer(in.Token, in.Audience)
	if errors.Is(err, authz.ErrUnauthenticated) {
		s.refused(r, err)
		return feed.Bearer{Code: "invalid_token", Why: err.Error()}, nil
	}
	if err != nil {
		return b, err
	}
	return feed.Bearer{Active: true, Agent: who.Agent, OnBehalf: who.OnBehalf, Passport: who.Passport, KeyHash: bound.JKT, CertHash: bound.X5TS256}, nil
}
