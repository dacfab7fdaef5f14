package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/safeconduct/safeconduct/internal/live"
)

// breath is how long a stream gathers before it writes: a thousand decisions a second are a few writes.
const breath = 50 * time.Millisecond

// afterNone says that a reader does not come back.
const afterNone = -1

// live returns what a reader of events asks for, and after which entry it goes on; nil if it asks for signals only.
func (in *streamQuery) live(r *http.Request) (f *live.Filter, after int64, err error) {
	if in.Types == "" {
		if in.Effects != "" || in.Rate != 0 || in.Last != 0 {
			return nil, 0, invalid("effects, rate and last go with types")
		}
		return nil, 0, nil
	}
	if in.Type != "" {
		return nil, 0, invalid("type and types do not go together")
	}
	f = &live.Filter{Agent: in.Agent}
	if in.Types != "all" {
		if f.Types, err = listed("types", in.Types, live.Types); err != nil {
			return nil, 0, err
		}
	}
	if in.Effects != "" {
		if f.Effects, err = listed("effects", in.Effects, []string{"deny", "require_approval", "step_up", "allow"}); err != nil {
			return nil, 0, err
		}
	}
	if in.Rate > live.MaxRate {
		return nil, 0, invalid("rate is at most %d", live.MaxRate)
	}
	if in.Last > live.MaxLast {
		return nil, 0, invalid("last is at most %d", live.MaxLast)
	}
	id := r.Header.Get("Last-Event-ID")
	if id == "" {
		return f, afterNone, nil
	}
	if after, err = strconv.ParseInt(id, 10, 64); err != nil || after < 0 || len(id) > 19 {
		return nil, 0, invalid("Last-Event-ID is the id of an event: a number")
	}
	return f, after, nil
}

// listed returns the values that text lists, each once, and each of which is among known.
func listed(name, text string, known []string) (vs []string, err error) {
	for v := range strings.SplitSeq(text, ",") {
		if !slices.Contains(known, v) {
			return nil, invalid("unknown %s %.64q: any of %s", name, v, strings.Join(known, ", "))
		}
		if !slices.Contains(vs, v) {
			vs = append(vs, v)
		}
	}
	return vs, nil
}

// streamLive writes events until the caller goes, does not take what is written or, says admitted, may read no longer,
// or until the service stops. Who is slow is not waited for: it is told how much it missed.
func (s *Server) streamLive(w http.ResponseWriter, r *http.Request, c *call, in streamQuery, f live.Filter, after int64, admitted func() bool) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	out := eventWriter{w: w, control: http.NewResponseController(w)}
	// The server's own deadlines are for requests that end. In HTTP/2 the one for reading would end the stream.
	if err := out.control.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	reader := s.Live.Read(f, in.Rate)
	text := []byte("retry: " + reconnect + "\n")
	begins := live.Text("start", StreamStart{reader.Seq()})
	var err error
	if after == afterNone {
		text = append(append(text, "id: "+strconv.FormatInt(reader.Seq(), 10)+"\n"...), begins...)
		text, err = reader.Last(ctx, text, s.Index, in.Last)
	} else {
		text, err = reader.Resume(ctx, append(text, begins...), s.Index, after)
	}
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
	if out.write(text) != nil {
		return nil // nobody is there any more
	}
	written, due := time.Now(), time.NewTimer(heartbeat)
	taken := written
	defer due.Stop()
	for {
		now := time.Now()
		wait, grown := written.Add(heartbeat).Sub(now), reader.Grown()
		if d := reader.Due(now); d > 0 {
			wait = min(wait, d)
		}
		due.Reset(max(wait, 0))
		select {
		case <-ctx.Done():
			return nil
		case <-s.Stopping:
			return nil
		case <-due.C:
		case <-grown:
			// What comes meanwhile is told with it.
			due.Reset(max(0, taken.Add(breath).Sub(now)))
			select {
			case <-ctx.Done():
				return nil
			case <-s.Stopping:
				return nil
			case <-due.C:
			}
		}
		now = time.Now()
		taken = now
		if text = reader.Take(text[:0], now); len(text) == 0 {
			if now.Sub(written) < heartbeat {
				continue
			}
			text = append(text, ":\n\n"...)
		}
		if !admitted() || out.write(text) != nil {
			return nil
		}
		written = now
		if cap(text) > 1<<20 { // of a burst
			text = nil
		}
	}
}
