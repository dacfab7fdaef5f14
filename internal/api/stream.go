package api

import (
	"context"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/monitor"
)

// Signals tells at once what changes in the conduct of agents. *monitor.Monitor does.
type Signals interface {
	// Subscribe returns signals from now on, until ctx ends. The channel of a subscriber that does not
	// keep up is closed.
	Subscribe(ctx context.Context) <-chan monitor.Signal
	// Seq returns the number of the newest entry that is taken in.
	Seq() int64
}

// The stream is server-sent events, as the WHATWG HTML standard has them in section 9.2.

const (
	// heartbeat is how often a comment is sent when there is nothing to say: often enough for proxies that
	// close what is silent for half a minute, and to notice that a reader is gone.
	heartbeat = 15 * time.Second
	// patience is how long a reader may take for one event before it is cut off.
	patience = 10 * time.Second
	// reconnect is after how many milliseconds a browser comes back.
	reconnect = "3000"
)

type streamQuery struct {
	Agent string `query:"agent" doc:"only signals about this agent"`
	Type  string `query:"type" doc:"only signals of this type: finding, trust, quarantine"`

	Types   string `query:"types" doc:"tell events of these types, separated by commas, and let the stream be resumed: decision, approval, alert, policy, agent, finding, trust, quarantine, or all"`
	Effects string `query:"effects" doc:"with types: only decisions with these effects, separated by commas: deny, require_approval, step_up, allow"`
	Rate    int    `query:"rate" doc:"with types: at most so many decisions a second, up to 1000; an event, sample, says of how many. All, if left out"`
	Last    int    `query:"last" doc:"with types: begin with so many of the newest decisions, up to 200"`
}

// A StreamStart is the data of the first event of a stream, start. Every signal of a later entry follows;
// one of an earlier entry is not told again, also if a Last-Event-ID asks for it: list the findings.
type StreamStart struct {
	Seq int64 `json:"seq"` // number of the newest entry that was taken in
}

// streamRoute is the route of the stream. Its answer goes on until the caller or the service ends it.
func (s *Server) streamRoute() route {
	rt := route{
		method: "GET", path: "/v1/stream", roles: readers, lasts: true, summary: "Follow what happens: decisions, approvals, alerts, policies, agents, findings and trust, as server-sent events",
		doc: operationDoc{media: "text/event-stream", params: parameters(reflect.TypeFor[streamQuery]())},
	}
	rt.serve = func(w http.ResponseWriter, r *http.Request, c *call) error {
		var in streamQuery
		if err := decode(r, c, rt.doc.params, &in); err != nil {
			return err
		}
		switch in.Type {
		case "", "finding", "trust", "quarantine":
		default:
			return invalid("unknown type %.64q: one of finding, trust, quarantine", in.Type)
		}
		f, after, err := in.live(r)
		if err != nil {
			return err
		}
		if f != nil && s.Live == nil {
			return authz.Errorf(authz.ErrUnavailable, "events of these types are told by nobody here")
		}
		if most := int64(s.limits.Streams); s.open.Add(1) > most {
			s.open.Add(-1)
			return authz.Errorf(authz.ErrUnavailable, "%d streams are open, and no more are served", most)
		}
		defer s.open.Add(-1)
		// A stream lasts: who reads, and by which roles, may change meanwhile.
		now := func() (*call, bool) {
			now := &call{id: c.id}
			return now, s.admit(nil, r, &rt, now) == nil
		}
		again := func() bool { _, ok := now(); return ok }
		if f != nil {
			f.Reads = func(ask string) bool {
				now, ok := now()
				if !ok {
					return false
				}
				ok, err := s.readsWhole(r.Context(), now, ask)
				return ok && err == nil
			}
			return s.streamLive(w, r, c, in, *f, after, again)
		}
		return s.stream(w, r, c, in, again)
	}
	return rt
}

// Streams returns how many streams are open.
func (s *Server) Streams() int64 { return s.open.Load() }

// stream writes events until the caller goes, falls behind or, says admitted, may read no longer, or until
// the service stops.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, c *call, in streamQuery, admitted func() bool) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	out := eventWriter{w: w, control: http.NewResponseController(w)}
	// The server's own deadlines are for requests that end. In HTTP/2 the one for reading would end the stream.
	if err := out.control.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	// First subscribed, then numbered: what comes between is told, if anything twice.
	signals := s.Signals.Subscribe(ctx)
	seq := s.Signals.Seq()
	start, err := event("start", seq, StreamStart{seq})
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would keep events until it has a page of them
	c.answered = s.Now()
	if r.Method == http.MethodHead {
		return nil
	}
	if out.write(append([]byte("retry: "+reconnect+"\n"), start...)) != nil {
		return nil // nobody is there any more
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		var text []byte
		select {
		case <-ctx.Done():
			return nil
		case <-s.Stopping:
			return nil
		case <-beat.C:
			text = []byte(":\n\n")
		case sig, ok := <-signals:
			if !ok {
				return nil
			}
			if in.Agent != "" && in.Agent != string(sig.Agent) || in.Type != "" && in.Type != sig.Type {
				continue
			}
			if text, err = event(sig.Type, sig.Seq, sig); err != nil {
				s.Logger.ErrorContext(ctx, "signal not told", "entry", sig.Seq, "request_id", c.id, "err", err)
				return nil
			}
		}
		if !admitted() || out.write(text) != nil {
			return nil
		}
	}
}

// event returns an event. JSON has no line breaks of its own, and types are ours.
func event(typ string, id int64, data any) ([]byte, error) {
	text, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	b := append([]byte("id: "), strconv.FormatInt(id, 10)...)
	b = append(append(b, "\nevent: "...), typ...)
	b = append(append(b, "\ndata: "...), text...)
	return append(b, "\n\n"...), nil
}

// An eventWriter writes whole events, each in its time.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// write sends b at once, or fails if the reader does not take it within patience. The deadline is taken
// away again: in HTTP/2 it would end a stream that is silent.
func (e *eventWriter) write(b []byte) error {
	if err := e.control.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := e.w.Write(b); err != nil {
		return err
	}
	if err := e.control.Flush(); err != nil {
		return err
	}
	return e.control.SetWriteDeadline(time.Time{})
}
