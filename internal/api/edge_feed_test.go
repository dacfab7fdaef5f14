package api_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/safeconduct/safeconduct/authz"
	"github.com/safeconduct/safeconduct/internal/api"
	"github.com/safeconduct/safeconduct/internal/feed"
)

// A teller tells a start, a head a second, and what it is given.
type teller struct {
	*heap
	more  chan feed.Forget
	stale bool
	told  atomic.Int64 // feeds that are being told
}

func (e *teller) Feed(ctx context.Context, start feed.Start, send func(string, int64, any) error) error {
	if e.stale {
		return authz.Errorf(authz.ErrUnavailable, "the log was last read to its end long ago")
	}
	e.told.Add(1)
	defer e.told.Add(-1)
	start.Seq = 7
	err := send(feed.EventStart, 7, start)
	for err == nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-e.more:
			err = send(feed.EventForget, 8, f)
		case <-time.After(time.Second):
			err = send(feed.EventHead, 7, feed.Head{Seq: 7})
		}
	}
	return err
}

const (
	feedStart = "retry: 1000\nid: 7\nevent: start\ndata: {\"service\":\"https://pdp.example.com\",\"name\":\"edge:gate\",\"seq\":7,\"limits\":{\"object\":65536,\"depth\":32}}\n\n"
	feedHead  = "id: 7\nevent: head\ndata: {\"seq\":7,\"at\":\"0001-01-01T00:00:00Z\"}\n\n"
)

func serveFeeds(t *testing.T) (*streaming, *teller) {
	e := &teller{heap: &heap{}, more: make(chan feed.Forget)}
	return serveStreams(t, func(c *api.Config) { c.Edge, c.Limits.Feeds = e, 2 }), e
}

func TestFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := serveFeeds(t)
		r := s.get("/v1/edge/feed", "edge-token")
		if r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/event-stream" || r.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("GET /v1/edge/feed = %d, %v", r.StatusCode, r.Header)
		}
		next := blocks(t, r.Body)
		if got := next(); got != feedStart {
			t.Errorf("told %q, want %q", got, feedStart)
		}
		for range 200 { // longer than any deadline of the server
			if got := next(); got != feedHead {
				t.Fatalf("told %q, want %q", got, feedHead)
			}
		}
		e.more <- feed.Forget{ID: "bot"}
		if got, want := next(), "id: 8\nevent: forget\ndata: {\"id\":\"bot\"}\n\n"; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
		s.callers.revoked.Store(true)
		if got := next(); got != "" {
			t.Errorf("told %q after the token was revoked, want the end", got)
		}
		if synctest.Wait(); s.door.Feeds() != 0 || e.told.Load() != 0 {
			t.Errorf("%d feeds are open, %d told, want none", s.door.Feeds(), e.told.Load())
		}
	})
}

func TestFeedRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := serveFeeds(t)
		for _, tt := range []struct {
			query, token string
			status       int
			stale        bool
		}{
			{"", "nobody", 401, false}, {"", "pep-token", 403, false}, {"", "admin-token", 403, false}, {"", "audit-token", 403, false},
			{"?since=4", "edge-token", 400, false}, {"", "edge-token", 503, true},
			{"", "edge-token", 200, false}, {"", "edge-token", 200, false}, {"", "edge-token", 503, false},
		} {
			e.stale = tt.stale
			if r := s.get("/v1/edge/feed"+tt.query, tt.token); r.StatusCode != tt.status {
				t.Errorf("GET /v1/edge/feed%s by %s = %d, want %d", tt.query, tt.token, r.StatusCode, tt.status)
			}
		}
		if got := s.door.Feeds(); got != 2 {
			t.Errorf("%d feeds are open, want 2", got)
		}
	})
}

// Of the feeds of one caller the oldest is cut off, whether it is read or not, and those of others are not.
func TestFeedsOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveStreams(t, func(c *api.Config) {
			c.Edge, c.Limits.FeedsEach = &teller{heap: &heap{}, more: make(chan feed.Forget)}, 2
		})
		other := blocks(t, s.get("/v1/edge/feed", "edge-token-2").Body)
		first := blocks(t, s.get("/v1/edge/feed", "edge-token").Body)
		s.get("/v1/edge/feed", "edge-token") // nobody reads it
		if got := first(); got != feedStart {
			t.Errorf("told %q", got)
		}
		third := blocks(t, s.get("/v1/edge/feed", "edge-token").Body)
		for first() != "" {
		}
		time.Sleep(1500 * time.Millisecond) // the second is in the middle of telling a head
		fourth := blocks(t, s.get("/v1/edge/feed", "edge-token").Body)
		if synctest.Wait(); s.door.Feeds() != 3 {
			t.Errorf("%d feeds are open, want 3", s.door.Feeds())
		}
		for _, next := range []func() string{third, fourth} {
			if got := next(); got != feedStart {
				t.Errorf("told %q", got)
			}
		}
		for range 3 {
			if got := other(); got == "" {
				t.Error("the feed of another is cut off")
			}
		}
	})
}

// Who does not read is cut off, and takes no place any more; so is who has gone, and all when the service stops.
func TestFeedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := serveFeeds(t)
		blocks(t, s.get("/v1/edge/feed", "edge-token").Body)()
		time.Sleep(12 * time.Second) // nobody reads the first head
		if synctest.Wait(); s.door.Feeds() != 0 || e.told.Load() != 0 {
			t.Errorf("unread: %d feeds are open, %d told, want none", s.door.Feeds(), e.told.Load())
		}
		blocks(t, s.get("/v1/edge/feed", "edge-token").Body)()
		s.conn.Close()
		time.Sleep(2 * time.Second)
		if synctest.Wait(); s.door.Feeds() != 0 || e.told.Load() != 0 {
			t.Errorf("gone: %d feeds are open, %d told, want none", s.door.Feeds(), e.told.Load())
		}
		next := blocks(t, s.get("/v1/edge/feed", "edge-token").Body)
		next()
		ended := make(chan error)
		go func() { ended <- s.server.Shutdown(t.Context()) }()
		for next() != "" {
		}
		if err := <-ended; err != nil || s.door.Feeds() != 0 {
			t.Errorf("Shutdown = %v with %d feeds", err, s.door.Feeds())
		}
	})
}
