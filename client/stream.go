package client

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// An Event is one event of a stream of the service.
type Event struct {
	ID   string // number of the log entry by which it came
	Type string // start, finding, trust, quarantine
	Data []byte // a JSON object
}

const (
	maxEvent = 1 << 20          // bytes of one event
	silence  = 45 * time.Second // three heartbeats
)

// Stream follows a stream of the administration API (GET /v1/stream), as the WHATWG HTML standard has
// server-sent events in section 9.2, and calls f with every event until ctx ends, f fails, or the service
// ends the stream: authz.ErrUnavailable. It does not come back by itself: what happened meanwhile is not
// told again. A stream that does not even send heartbeats is given up after 45 seconds.
func (c *Client) Stream(ctx context.Context, path string, f func(Event) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(silence, func() {
		cancel(authz.Errorf(authz.ErrUnavailable, "the service has said nothing for %s", silence))
	})
	defer silent.Stop()
	err := c.stream(ctx, path, func() { silent.Reset(silence) }, f)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// stream is Stream, which calls alive whenever there is a line.
func (c *Client) stream(ctx context.Context, path string, alive func(), f func(Event) error) error {
	_, base := c.replica()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return authz.Errorf(authz.ErrInvalid, "making the request: %w", err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "text/event-stream")
	endless := *c.HTTP
	endless.Timeout = 0
	resp, err := endless.Do(req)
	if err != nil {
		return transportError(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxEvent))
		if err != nil {
			return authz.Errorf(authz.ErrUnavailable, "reading the service's answer: %w", err)
		}
		return refusal(resp.StatusCode, answer)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEvent)
	var e Event
	for lines.Scan() {
		alive()
		line := lines.Bytes()
		if len(line) == 0 { // the end of an event, or of a comment
			if e.Data != nil {
				if err := f(e); err != nil {
					return err
				}
			}
			e = Event{}
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			e.ID = string(value)
		case "event":
			e.Type = string(value)
		case "data":
			if len(e.Data)+len(value) > maxEvent {
				return authz.Errorf(authz.ErrUnavailable, "an event has more than %d bytes", maxEvent)
			}
			if e.Data != nil {
				e.Data = append(e.Data, '\n')
			}
			e.Data = append(e.Data, value...)
		}
	}
	if err := lines.Err(); err != nil {
		return authz.Errorf(authz.ErrUnavailable, "reading the stream: %w", err)
	}
	return authz.Errorf(authz.ErrUnavailable, "the service ended the stream")
}
