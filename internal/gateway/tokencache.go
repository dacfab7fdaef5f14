package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/safeconduct/safeconduct/authz"
)

// tokenCache keeps tokens until shortly before they end, and has each asked for once however many wait for it. Safe for
// concurrent use.
type tokenCache struct {
	most int
	now  func() time.Time

	mu    sync.Mutex
	slots map[string]*slot
}

// A slot is the token of one key, or the asking for it that is under way.
type slot struct {
	token   *issued // nil if there is none
	flight  *flight // nil if nothing is under way
	renew   bool    // the next one is got because the one before was refused
	err     error   // of the last flight, if it failed
	pausing time.Time
}

type flight struct {
	done  chan struct{}
	token *issued
	err   error
}

// fetchPause is for how long a failure is the answer, before the server is asked again.
const fetchPause = 2 * time.Second

func (c *tokenCache) init(most int, now func() time.Time) {
	c.most, c.now, c.slots = most, now, map[string]*slot{}
}

// get returns the token of a key, or what fetch makes of it within that time.
func (c *tokenCache) get(ctx context.Context, key string, timeout time.Duration, fetch func(context.Context) (*issued, error)) (*issued, error) {
	now := c.now()
	c.mu.Lock()
	s := c.slots[key]
	if s == nil {
		c.room(now)
		s = &slot{}
		c.slots[key] = s
	}
	if s.token != nil && now.Before(s.token.expires) {
		defer c.mu.Unlock()
		return s.token, nil
	}
	if s.flight == nil && s.err != nil && now.Before(s.pausing) {
		defer c.mu.Unlock()
		return nil, s.err
	}
	f := s.flight
	if f == nil {
		f = &flight{done: make(chan struct{})}
		s.flight = f
		// The asking is not its first caller's alone: it goes on if that one leaves.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		go func() {
			defer cancel()
			f.token, f.err = fetch(ctx)
			c.land(s, f)
		}()
	}
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return nil, authz.Errorf(authz.ErrUnavailable, "waiting for a token: %w", context.Cause(ctx))
	}
}

func (c *tokenCache) land(s *slot, f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.flight, s.err = nil, f.err
	if f.err == nil {
		f.token.renewed = s.renew
		s.token, s.renew = f.token, false
	} else if s.pausing = c.now().Add(fetchPause); errors.Is(f.err, context.Canceled) {
		s.err = nil
	}
	close(f.done)
}

// drop forgets a token that was refused, and reports whether another one may be had: not if the one that was shown is not the
// one that is kept (then there is another already, and that is worth a try), nor if it was got for the same reason just now.
func (c *tokenCache) drop(key, shown string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.slots[key]
	if s == nil || s.token == nil {
		return true
	}
	if s.token.value != shown {
		return true
	}
	if s.token.renewed && c.now().Sub(s.token.got) < retryRest {
		return false
	}
	s.token, s.renew = nil, true
	return true
}

// room makes room for one more: what has ended goes, and else something or other that nobody waits for.
func (c *tokenCache) room(now time.Time) {
	if len(c.slots) < c.most {
		return
	}
	for k, s := range c.slots {
		if s.flight == nil && (s.token == nil || !now.Before(s.token.expires)) {
			delete(c.slots, k)
		}
	}
	for k, s := range c.slots {
		if len(c.slots) < c.most {
			return
		}
		if s.flight == nil {
			delete(c.slots, k)
		}
	}
}
